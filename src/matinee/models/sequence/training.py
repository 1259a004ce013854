"""Training: epochs of steps, looked at by validation, that can be interrupted and resumed.

All chance (batches, negatives, what is dropped) is drawn with NumPy from the seed and the numbers
of the epoch and the step, so a fit that was interrupted goes on to the same weights.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import matinee
from matinee.models.data import Indices
from matinee.models.run import Progress, Run
from matinee.models.sequence import checkpoint
from matinee.models.sequence.config import Config
from matinee.models.sequence.encoder import Array, Params
from matinee.models.sequence.step import (
    Chance,
    Proposal,
    State,
    begin,
    chance,
    copied,
    mesh,
    placed,
    pool,
    proposal,
    shape_of,
    step,
)
from matinee.models.sequence.windows import Batch, Buckets, Events, batches

WARM_UP = 200
"""Steps of the warm-up, or a tenth of all where that is less."""
FLOOR = 0.02
"""The learning rate at the end, as a share of its greatest."""
LOOKS = 7
"""How many times a whole fit is validated, at most."""
LISTENING = 2.0
"""Seconds between two reports of progress."""
SAVING = 300.0
"""Seconds between two checkpoints within an epoch."""

Validate = Callable[[Params], float]


class Best(NamedTuple):
    """The best weights that validation found, what they scored, and how many looks ago."""

    value: Array
    weights: Params
    looks: Array


@dataclass(frozen=True)
class Task:
    """What is learned from: events, codes of the members' countries [M], watches of titles [V]."""

    events: Events
    countries: Indices
    counts: NDArray[np.int64]


def train(
    config: Config,
    start: Params,
    task: Task,
    run: Run,
    *,
    validate: Validate | None = None,
    fingerprint: str = "",
) -> Params:
    """The moving average of the weights: where validation liked it best, or at the end.

    `fingerprint` names data and settings for the checkpoint, which is also of this number and kind
    of devices and of these versions. Where a weight becomes NaN training stops with the last good
    weights and a warning, or with `FloatingPointError` if there are none. Raises
    `KeyboardInterrupt` after an interruption, once the checkpoint is saved.
    """
    devices = f"{len(jax.devices())} of {jax.devices()[0].device_kind}"
    made = f"{devices}, matinee {matinee.__version__}, jax {jax.__version__}"
    loop = _Loop(config, task, run, validate, f"{fingerprint} {made}")
    return loop.go(start) if loop.steps else start


@dataclass
class _Loop:
    config: Config
    task: Task
    run: Run
    validate: Validate | None
    fingerprint: str
    begun: float = field(default_factory=time.perf_counter)
    seen: int = 0
    taken: int = 0
    told: float = 0.0
    kept: float = field(default_factory=time.perf_counter)
    loss: float = 0.0
    losses: list[Array] = field(default_factory=list)

    @cached_property
    def buckets(self) -> Buckets:
        return Buckets(self.config.window, self.config.batch, len(jax.devices()))

    @cached_property
    def drawn(self) -> Proposal:
        """What negatives are drawn from."""
        return proposal(self.config, self.task.counts)

    @cached_property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.buckets.steps(self.task.events.lengths - 1)

    def go(self, start: Params) -> Params:
        state = begin(start)
        best = Best(np.float64(-np.inf), start if self.validate else {}, np.int64(0))
        if self.run.resume and self.run.checkpoint and self.run.checkpoint.exists():
            state, best = checkpoint.restore(self.run.checkpoint, (state, best), self.fingerprint)
        shape, devices = shape_of(self.config), mesh()
        state, done = copied(state, devices), int(state.steps)
        with checkpoint.Interruption() as interrupted:
            for epoch in range(done // self.steps, self.config.epochs):
                if best.looks >= self.config.patience:
                    break
                good = _home(state.average) if done else None
                self.loss, self.losses, first = 0.0, [], done
                for batch, luck, factors in self._epoch(epoch, done % self.steps):
                    rate = self._rate(done)
                    state, loss = step(
                        state, placed(batch, devices), luck, factors, rate=rate, shape=shape
                    )
                    done += 1
                    self._note(batch, loss)
                    self._tell(done, done - first, best)
                    if not np.isfinite(self.loss):
                        break
                    if done % self.steps and interrupted():
                        self._leave(state, best)
                    if self._due() and _sane(state):
                        good = _home(state.average)
                        self._keep(state, best)
                if not (np.isfinite(self.loss) and _sane(state)):
                    return self._stop(epoch, best, good)
                best = self._look(state, best, epoch)
                self._tell(done, done - first, best, always=True)
                self._keep(state, best)
                if interrupted():
                    raise KeyboardInterrupt
        return best.weights if self.validate else _home(state.average)

    def _epoch(self, epoch: int, skip: int) -> Iterator[tuple[Batch, Chance, Array]]:
        """The batches of an epoch but the first `skip`, with what each needs of chance."""
        config, task = self.config, self.task
        rng = np.random.default_rng([config.seed, epoch])
        factors = pool(config, self.buckets, rng)
        order = batches(
            task.events,
            self.buckets,
            rng,
            query_time=config.query_time,
            countries=task.countries,
            horizon=config.horizon,
        )
        for number, batch in enumerate(order):
            if number >= skip:
                own = np.random.default_rng([config.seed, epoch, number])
                yield batch, chance(config, self.buckets, self.drawn, factors.size, own), factors

    def _rate(self, done: int) -> np.float32:
        """The learning rate: a warm-up, then half a cosine (Loshchilov and Hutter 2017)."""
        total = self.steps * self.config.epochs
        warm = min(WARM_UP, max(1, total // 10))
        if done < warm:
            return np.float32(self.config.learning_rate * (done + 1) / warm)
        cosine = 0.5 + 0.5 * np.cos(np.pi * (done - warm) / max(1, total - warm))
        return np.float32(self.config.learning_rate * (FLOOR + (1 - FLOOR) * cosine))

    def _look(self, state: State, best: Best, epoch: int) -> Best:
        """Validate now and then, and at the end."""
        every = -(-self.config.epochs // LOOKS)
        if self.validate is None or ((epoch + 1) % every and epoch + 1 < self.config.epochs):
            return best
        weights = _home(state.average)
        value = self.validate(weights)
        if value > best.value:
            return Best(np.float64(value), weights, np.int64(0))
        return best._replace(looks=best.looks + 1)

    def _stop(self, epoch: int, best: Best, good: Params | None) -> Params:
        why = (
            f"the loss or a weight became NaN or infinite in epoch {epoch + 1} of "
            f"{self.config.epochs}; try a learning_rate below {self.config.learning_rate}"
        )
        if good is None:
            raise FloatingPointError(why)
        warnings.warn(f"{why}. The last good weights are kept", RuntimeWarning, stacklevel=2)
        return best.weights if np.isfinite(best.value) else good

    def _leave(self, state: State, best: Best) -> NoReturn:
        """Stop at an interruption; what is no number is not kept."""
        if _sane(state):
            self._keep(state, best)
        raise KeyboardInterrupt

    def _due(self) -> bool:
        return time.perf_counter() - self.kept > SAVING

    def _keep(self, state: State, best: Best) -> None:
        """Save a checkpoint; where that cannot be, say so, and go on without."""
        self.kept = time.perf_counter()
        if not self.run.checkpoint:
            return
        try:
            checkpoint.save(self.run.checkpoint, (state, best), self.fingerprint)
        except OSError as error:
            why = f"the checkpoint {self.run.checkpoint} could not be written: {error.strerror}"
            warnings.warn(f"{why}. Make room for it", RuntimeWarning, stacklevel=2)

    def _note(self, batch: Batch, loss: Array) -> None:
        self.losses.append(loss)
        self.seen += int(np.count_nonzero(batch.weights))
        self.taken += 1

    def _tell(self, done: int, steps: int, best: Best, *, always: bool = False) -> None:
        """Tell of the progress after so many steps of this epoch."""
        now = time.perf_counter()
        if not always and now - self.told < LISTENING:
            return
        self.loss += float(np.sum(jax.device_get(self.losses)))
        self.losses.clear()
        self.told, spent = now, now - self.begun
        total = self.steps * self.config.epochs
        self.run.told(
            Progress(
                done=done / total,
                epoch=-(-done // self.steps),
                epochs=self.config.epochs,
                rate=self.seen / max(spent, 1e-9),
                loss=self.loss / max(steps, 1),
                left=spent / max(self.taken, 1) * (total - done),
                validation=float(best.value) if np.isfinite(best.value) else None,
            )
        )


def _sane(state: State) -> bool:
    """Whether every weight is a number."""
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.average))


def _home(params: Params) -> Params:
    """The weights as NumPy arrays."""
    home: Params = jax.tree.map(np.array, params)  # a copy: the step reuses the device's memory
    return home
