"""One step of training: a pure, compiled function of weights, a batch and a little chance.

Sampled softmax (Bengio and Senecal 2008; Jean et al. 2015): the title that followed is held against
K titles drawn from q, and the logits of those are lowered by log(K q), so that in expectation the
whole softmax is learned without ever making it. Optimised by AdamW (Loshchilov and Hutter 2019)
with an exponential moving average of the weights (Polyak and Juditsky 1992).

On several devices each batch is split by members and the weights are copies: the compiler adds what
is exchanged, and the step stays the same function.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from matinee.models.sequence.config import Config
from matinee.models.sequence.encoder import (
    Array,
    Drop,
    Params,
    distance_bias,
    embed,
    finish,
    folded,
    look_back,
    remember,
    respond,
    rms,
    untouched,
)
from matinee.models.sequence.windows import Batch, Buckets

ADAM = optax.scale_by_adam(b1=0.9, b2=0.98)
POOL = 1 << 22
"""Kept-or-dropped factors that an epoch draws at least; each use takes a slice somewhere in it."""


class State(NamedTuple):
    """All that a step changes: the weights, Adam's moments, the moving average, steps done."""

    params: Params
    moments: Any
    average: Params
    steps: Array


class Proposal(NamedTuple):
    """What negatives are drawn from: the running sum of q [V], None where all titles are alike, and
    the share of log(K q) [V] that logits are lowered by.
    """

    below: NDArray[np.float64] | None
    log_q: NDArray[np.float32]


class Chance(NamedTuple):
    """What a step needs of chance: the negatives [K], log(K q) of each, and where each use of the
    pool begins.
    """

    negatives: Array
    log_q: Array
    offsets: Array


class Shape(NamedTuple):
    """What a compiled step is made for."""

    heads: int
    precision: str
    decay: float
    average: float
    dropout: bool


def shape_of(config: Config) -> Shape:
    return Shape(config.heads, config.precision, config.decay, config.average, config.dropout > 0)


def begin(params: Params) -> State:
    """The state before the first step."""
    moments = ADAM.init(jax.tree.map(jnp.asarray, params))
    return State(params, moments, params, np.zeros((), np.int32))


def pool(config: Config, buckets: Buckets, rng: np.random.Generator) -> Array:
    """Factors 0 or 1 / (1 - dropout), kept for an epoch: a slice costs less than fresh chance."""
    widest = 2 * buckets.tokens * 2 * config.width
    factors = (rng.random(max(POOL, widest), np.float32) >= config.dropout).astype(np.float32)
    return jnp.asarray(factors / np.float32(1 - config.dropout))


def proposal(config: Config, counts: NDArray[np.int64]) -> Proposal:
    """q(j) ~ n(j)^smoothing, of watches of titles [V]."""
    share = (counts + 1.0) ** config.smoothing
    share /= share.sum()
    log_q = config.correction * np.log(share * config.negatives)
    return Proposal(np.cumsum(share) if config.smoothing else None, log_q.astype(np.float32))


def chance(
    config: Config, buckets: Buckets, drawn: Proposal, size: int, rng: np.random.Generator
) -> Chance:
    """Negatives from a proposal, and places in a pool of `size`."""
    titles, number = len(drawn.log_q), config.negatives
    if drawn.below is None:
        negatives = rng.integers(0, titles, number)
    else:
        negatives = np.searchsorted(drawn.below, rng.random(number)).clip(max=titles - 1)
    uses = 1 + 3 * config.blocks
    offsets = rng.integers(0, size - buckets.tokens * 2 * config.width, uses)
    return Chance(negatives.astype(np.int32), drawn.log_q[negatives], offsets.astype(np.int32))


def mesh() -> Mesh:
    """All devices, in one row."""
    return Mesh(np.array(jax.devices()), ("members",))


def copied(state: State, devices: Mesh) -> State:
    """The state on every device."""
    whole = NamedSharding(devices, PartitionSpec())  # type: ignore[no-untyped-call]
    on_devices: State = jax.tree.map(lambda leaf: jax.device_put(np.array(leaf), whole), state)
    return on_devices


def placed(batch: Batch, devices: Mesh) -> Batch:
    """The batch spread over the devices by member."""
    spread = NamedSharding(devices, PartitionSpec("members"))  # type: ignore[no-untyped-call]
    on_devices: Batch = jax.device_put(batch, spread)
    return on_devices


@partial(jax.jit, static_argnames="shape", donate_argnames="state")
def step(
    state: State, batch: Batch, luck: Chance, factors: Array, *, rate: Array, shape: Shape
) -> tuple[State, Array]:
    """The state after learning from a batch at a learning rate, and the loss before, in nats."""
    loss, gradient = jax.value_and_grad(_loss)(state.params, batch, luck, factors, shape)
    change, moments = ADAM.update(gradient, state.moments)
    params = jax.tree.map(
        lambda old, new: old - rate * (new + shape.decay * old), state.params, change
    )
    steps = state.steps + 1
    keep = jnp.minimum(shape.average, steps / (steps + 9.0))
    average = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, state.average, params)
    return State(params, moments, average, steps), loss


def _loss(params: Params, batch: Batch, luck: Chance, factors: Array, shape: Shape) -> Array:
    """The mean over targets of -log p(target), each times its weight."""
    cast = partial(jnp.asarray, dtype=shape.precision)
    drops = _drops(luck, factors, shape)
    wanted = hidden(jax.tree.map(cast, folded(params)), batch, shape.heads, drops)
    wanted = wanted.reshape(-1, wanted.shape[-1])
    targets, weights = batch.targets.reshape(-1), batch.weights.reshape(-1)
    titles, bias = params["titles"], params["bias"]
    right = (wanted * cast(titles[targets])).sum(-1).astype(jnp.float32) + bias[targets]
    wrong = (wanted @ cast(titles[luck.negatives]).T).astype(jnp.float32)
    wrong = wrong + (bias[luck.negatives] - luck.log_q)
    wrong = jnp.where(luck.negatives[None, :] == targets[:, None], -1e9, wrong)
    wrong = _spared(wrong, batch.unwatched, luck.negatives)
    nats = jnp.logaddexp(jax.nn.logsumexp(wrong, axis=-1), right) - right
    return (nats * weights).sum() / jnp.maximum((weights > 0).sum(), 1)


def _spared(wrong: Array, unwatched: Array, negatives: Array) -> Array:
    """Logits of negatives [B L, K] without those of titles that the member met and did not watch.

    A title that was met and then watched stands in a history as watched, so one that stands there
    as met was never watched later. To hold it against a target would teach that what was clicked on
    is not watched next.
    """
    members, most = unwatched.shape
    if not most:
        return wrong
    own = (unwatched[:, :, None] == negatives).any(axis=1)
    apart = wrong.reshape(members, -1, len(negatives))
    return jnp.where(own[:, None], -1e9, apart).reshape(wrong.shape)


def hidden(params: Params, batch: Batch, heads: int, drops: list[Drop]) -> Array:
    """What is wanted after each token [B, L, D], by folded weights."""
    length = batch.tokens.titles.shape[1]
    x = drops[0](embed(params, batch.tokens, jnp))
    for number, block in enumerate(params["blocks"]):
        h = rms(x, jnp)
        bias = distance_bias(block["distance"], length, jnp)
        chosen = (drops[3 * number + 1], drops[3 * number + 2], drops[3 * number + 3])
        seen = partial(look_back, past=remember(block, h), bias=bias, xp=jnp)
        x = respond(block, x, h, seen, xp=jnp, drops=chosen)
    context = params["countries"][batch.countries][:, None] + params["devices"][batch.devices]
    return finish(params, x, context, jnp)


def _drops(luck: Chance, factors: Array, shape: Shape) -> list[Drop]:
    if not shape.dropout:
        return [untouched] * len(luck.offsets)

    def drop(offset: Array, x: Array) -> Array:
        drawn = jax.lax.dynamic_slice(factors, (offset,), (x.size,))
        return x * drawn.reshape(x.shape).astype(x.dtype)

    return [partial(drop, offset) for offset in luck.offsets]
