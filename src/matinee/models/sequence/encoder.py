r"""The encoder: a stack of pre-norm blocks that turns a history into what is wanted next.

Written once over an array namespace `xp`: `jax.numpy` to train, `numpy` to serve. Each block is

.. math:: x &\leftarrow x + \big(\mathrm{softmax}(q k^\top / \sqrt d + b)\, v
              \odot \mathrm{silu}(h W_g)\big) W_o, & h &= \mathrm{rms}(x) \\
          x &\leftarrow x + \big(\mathrm{silu}(h W_1) \odot h W_3\big) W_2, & h &= \mathrm{rms}(x)

with a bias b for each head and distance in places (Shaw et al. 2018; Raffel et al. 2020), a gate on
what is attended to (as in HSTU, Zhai et al. 2024, and LiGR, Borisyuk et al. 2025), SwiGLU (Shazeer
2020) and RMS norms (Zhang and Sennrich 2019) before each half.

Shapes: B sequences of L tokens, Q of them asked, D width, H heads, V titles, G knots of a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array of either namespace."""
Params = dict[str, Any]
"""Weights by name; under "blocks" a list of them."""
Drop = Callable[[Array], Array]
Seen = Callable[[Array], Array]
Floats = NDArray[np.float32]

KNOTS = 16
"""Places at which the effect of a gap in time is learned; it is linear in between."""
LONGEST = float(np.log1p(1e8))
"""log(1 + seconds) of the last knot: about three years."""
AT_KNOTS = np.arange(KNOTS, dtype=np.float32)
SIGNAL_BITS = 8
BITS = np.arange(SIGNAL_BITS, dtype=np.uint8)
PIECE = 100
"""Tokens that look back at a time, at most."""
STEEPEST = 60.0
"""The greatest attention score: exp of it, times any window, fits in float32."""


class Tokens(NamedTuple):
    """A history as the encoder sees it, one token an event.

    titles : int32 [B, L], V for the start of a history. gaps : float32 [B, L], in knots, from
    `knots`. signals : uint8 [B, L], bits.
    """

    titles: Array
    gaps: Array
    signals: Array


def knots(seconds: Array) -> Array:
    """Where a gap in time stands among the knots, 0 to KNOTS - 1, evenly in its logarithm.

    >>> knots(np.array([-5.0, 0.0, 1e9])).tolist()
    [0.0, 0.0, 15.0]
    """
    place = np.log1p(np.maximum(seconds, 0)) * ((KNOTS - 1) / LONGEST)
    return np.minimum(place, KNOTS - 1).astype(np.float32)


def embed(params: Params, tokens: Tokens, xp: Any) -> Array:
    """Tokens [B, L, D]: the title, the time to its neighbour, the signals."""
    width = params["titles"].shape[-1]
    x = params["titles"][tokens.titles] * (0.5 * width**0.5)
    hats = xp.maximum(1 - xp.abs(tokens.gaps[..., None] - AT_KNOTS), 0)
    bits = (tokens.signals[..., None] >> BITS) & 1
    x = x + hats.astype(x.dtype) @ params["gaps"]
    return x + bits.astype(x.dtype) @ params["signals"]


def folded(params: Params) -> Params:
    """The weights with the scales of the norms within the blocks in the matrices that follow them.

    So a norm is a pass less over the tokens. Everything below takes folded weights.
    """
    follow = {"kv": "norm1", "qg": "norm1", "up": "norm2"}
    blocks = [
        block | {name: block[norm][:, None] * block[name] for name, norm in follow.items()}
        for block in params["blocks"]
    ]
    return {**params, "blocks": blocks}


def remember(block: Params, h: Array) -> Array:
    """Keys and values [B, L, 2 D] of normed tokens."""
    return h @ block["kv"]


def respond(
    block: Params, x: Array, h: Array, seen: Seen, *, xp: Any, drops: tuple[Drop, Drop, Drop]
) -> Array:
    """Tokens [B, Q, D] after they have looked back; `h` are the same tokens, normed, and `seen`
    makes of their queries [B, Q, D] what they saw.
    """
    q, gate = halves(h @ block["qg"])
    after, inner, last = drops
    x = x + after((seen(q) * silu(gate, xp)) @ block["mix"])
    up, opened = halves(rms(x, xp) @ block["up"])
    return x + last(inner(silu(up, xp) * opened) @ block["down"])


def look_back(q: Array, past: Array, bias: Array, xp: Any) -> Array:
    """What queries [B, Q, D] see of keys and values [B, L, 2 D]; bias [H, Q, L]."""
    heads = bias.shape[0]
    keys, values = (split_heads(one, heads) for one in halves(past))
    return merge_heads(attend(split_heads(q, heads), keys, values, bias, xp))


def attend(q: Array, k: Array, v: Array, bias: Array, xp: Any) -> Array:
    """Softmax attention of the last tokens [B, H, Q, d] of L over all [B, H, L, d] up to each.

    They look a piece at a time, no further than the last of the piece: most of what is ahead of a
    token is not worked out, and serving a long window takes no square of memory.
    """
    length, asked = k.shape[-2], q.shape[-2]
    count = -(-asked // PIECE)
    edges = [asked * part // count for part in range(count + 1)]
    pieces = []
    for begin, end in pairwise(edges):
        known = length - asked + end
        past = k[..., :known, :], v[..., :known, :]
        pieces.append(look(q[..., begin:end, :], *past, bias[..., begin:end, :known], xp))
    return pieces[0] if count == 1 else xp.concatenate(pieces, axis=-2)


def look(q: Array, k: Array, v: Array, bias: Array, xp: Any) -> Array:
    """The same of a piece; a huge negative bias [H, Q, L] forbids a look.

    Scores are held below `STEEPEST` rather than below their greatest: a pass less over [Q, L], and
    below a row of it, since NumPy's minimum with a single number takes three times as long.
    """
    scores = (q * q.shape[-1] ** -0.5) @ xp.swapaxes(k, -1, -2) + bias
    steepest = np.full(k.shape[-2], STEEPEST, np.float32)
    weights = xp.exp(xp.minimum(scores, steepest)).astype(v.dtype, copy=False)
    ones = np.ones((k.shape[-2], 1), v.dtype)
    return (weights @ v) / (weights @ ones + 1e-30)


def distance_bias(table: Array, length: int, xp: Any) -> Array:
    """Bias [H, L, L] of L tokens from a table [H, W] by distance; a huge negative one ahead.

    It is float32, and so are attention scores and their exponentials whatever the products are.
    """
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    bias = table[:, np.clip(distance, 0, table.shape[1] - 1)]
    return xp.where(distance >= 0, bias, np.float32(-1e9))


def finish(params: Params, x: Array, context: Array, xp: Any) -> Array:
    """What is wanted next [B, Q, D], given the context [B, Q, D] of the request."""
    return rms(x + context, xp) * params["norm"]


def rms(x: Array, xp: Any) -> Array:
    """Each token at unit mean square."""
    squares = xp.vecdot(x, x)[..., None] * (1 / x.shape[-1])
    return x * (1 / xp.sqrt(squares + 1e-6))


def silu(x: Array, xp: Any) -> Array:
    """x / (1 + exp(-x)), and 0 where the exp overflows: its gradient must be kept from that."""
    if xp is np:
        with np.errstate(over="ignore"):
            return x / (1 + np.exp(-x))
    return x / (1 + xp.exp(-xp.maximum(x, -80)))


def halves(x: Array) -> tuple[Array, Array]:
    """[..., 2 D] as two of [..., D]."""
    middle = x.shape[-1] // 2
    return x[..., :middle], x[..., middle:]


def split_heads(x: Array, heads: int) -> Array:
    """[B, L, D] as [B, H, L, d]."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def merge_heads(x: Array) -> Array:
    """[B, H, L, d] as [B, L, D]."""
    x = x.swapaxes(-2, -3)
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def untouched(x: Array) -> Array:
    """Nothing is dropped."""
    return x


SERVING = (untouched, untouched, untouched)
