"""The best that can be done about failed renewals when the truth is known, on an hour grid.

Backward induction (Bellman 1957, "Dynamic Programming") over the whole hours from now to the end of
the grace, over how many further attempts were made, and over what the issuer last said. Exact for
plans that begin attempts on whole hours, but for this: attempts take no time, penalties are left
out (a best plan asks no dead card, and `most` is below the networks' limits), and the waits that
merchant advice codes ask for are not kept. The last makes it an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.world.approval import (
    ANNOYED,
    SAME_FUNDS,
    SAME_REFUSED,
    TIRED,
    Charges,
    Gates,
    Standing,
    Truth,
)
from matinee.world.declines import REFUSED
from matinee.world.paydays import Floats, Ints
from matinee.world.payments_settings import DAY, GRACE_DAYS, HOUR
from matinee.world.processors import PROCESSORS

CHUNK = 256
"""Invoices that are solved together."""


@dataclass(frozen=True)
class Best:
    """What the best plans of B invoices bring, and how each begins; all arrays are [B].

    value : what it brings from now on, on the mean: in cents of EUR, net of fees.
    second, place, processor : the first attempt of the plan, `second` -1 where it is to stop.
    """

    value: Floats
    second: NDArray[np.int64]
    place: NDArray[np.int64]
    processor: NDArray[np.int64]


class Problem(NamedTuple):
    """B invoices with I cards each, over K whole hours and P processors.

    gates : each broadcasts to [K, B, 1, I, P]. brings : float64, broadcasts to the same, cents of
    an approval. fee : float64 [B, 1, 1, P], cents of an attempt that is not approved.
    hours : int64 [K, B], seconds. days : int64 [K, B], bank days. allowed : bool [K, B].
    stays : float64 [B], the probability that a member does not leave in an hour.
    """

    gates: Gates
    brings: Floats
    fee: Floats
    hours: NDArray[np.int64]
    days: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    stays: Floats


def optimum(truth: Truth, standing: Standing, now: Ints, most: int) -> Best:
    """The best plans for invoices [B] that stand so at seconds `now` [B].

    A plan chooses hour, card and processor of each of at most `most` further attempts, knowing what
    came of those before, and may stop. All that the truth knows is known to it: pay-days, accounts,
    suspicion, outages to come, and how likely the member is to leave; but not the draws.
    """
    return _each(truth, standing, now, most, lambda problem: problem)


def recoverable(truth: Truth, standing: Standing, now: Ints, most: int) -> Floats:
    """The probability [B] that the invoice is paid by the plan that makes it most likely."""

    def paid(problem: Problem) -> Problem:
        return problem._replace(brings=np.ones_like(problem.brings), fee=0 * problem.fee)

    return _each(truth, standing, now, most, paid).value


def _each(
    truth: Truth,
    standing: Standing,
    now: Ints,
    most: int,
    change: Callable[[Problem], Problem],
) -> Best:
    """Solve in chunks of invoices with equally many cards."""
    cards, parts, order = truth.payers.cards[truth.bills.member[standing.row]], [], []
    for count in np.unique(cards):
        alike = np.flatnonzero(cards == count)
        for some in np.split(alike, range(CHUNK, len(alike), CHUNK)):
            here = Standing(*(np.asarray(numbers)[some] for numbers in standing))
            problem = change(problem_of(truth, here.row, now[some], int(count)))
            said = truth.bank_day(here.row, here.second)
            parts.append(solve(problem, here, now[some], said, most))
            order.append(some)
    back = np.argsort(np.concatenate(order))
    columns = [[getattr(part, field.name) for part in parts] for field in fields(Best)]
    return Best(*(np.concatenate(column)[back] for column in columns))


def problem_of(truth: Truth, row: Ints, now: Ints, cards: int) -> Problem:
    """Invoices [B] at seconds [B] as a problem: from the next whole hour to the end of grace."""
    hours = now // HOUR * HOUR + HOUR + HOUR * np.arange(GRACE_DAYS * 24)[:, None]
    processors = np.arange(len(PROCESSORS))
    place, at = np.arange(cards)[:, None], hours[:, :, None, None, None]
    charge = Charges(row[None, :, None, None, None], place, processors, at)
    one = charge._replace(processor=np.array(0))
    fee: Floats = truth.bills.cents[row][:, None] * truth.fee(row[:, None], processors, False)
    rate = truth.payers.leaves[truth.bills.member[row]]
    return Problem(
        gates=truth.gates(one)._replace(
            technical=truth.technical(charge), trust=truth.trust(charge)
        ),
        brings=truth.value(charge),
        fee=fee[:, None, None, :],
        hours=hours,
        days=truth.bank_day(row, hours),
        allowed=hours < truth.bills.grace[row],
        stays=np.exp(-rate * HOUR / DAY),
    )


def solve(problem: Problem, standing: Standing, now: Ints, said: Ints, most: int) -> Best:
    """The best plans of a problem, by backward induction.

    A state is (further attempts so far, what was said): 0, nothing that still counts, or the soft
    outcome s of card i, as 1 + 2 i + [s is `REFUSED`]. `said` is the bank day [B] of the last one.
    """
    hours, count, _, cards, processors = np.broadcast_shapes(*(g.shape for g in problem.gates))
    start = np.where(standing.outcome == 0, 0, _state(standing.place, standing.outcome))
    each, second, route = np.arange(count), np.full(count, -1), np.zeros(count, np.int64)
    values = np.zeros((count, most + 1, 1 + 2 * cards))
    turns = np.ones((hours, count, 1, 1), np.bool_)
    turns[:-1, :, 0, 0] = problem.days[:-1] != problem.days[1:]
    tired = np.exp(TIRED * (standing.earlier[:, None, None, None] + np.arange(most)[:, None, None]))
    doubt = np.exp(-problem.gates.trust)
    for hour in reversed(range(hours)):
        waits = problem.stays[:, None, None] * np.where(turns[hour], values[:, :, :1], values)
        acts = _acts(problem, doubt, tired, hour, waits)
        acts = acts.reshape(count, most, 1 + 2 * cards, cards * processors)
        best = acts.max(axis=3)
        best[~problem.allowed[hour]] = -np.inf
        values = waits
        state = np.where(problem.days[hour] == said, start, 0)
        if most:
            begins = best[each, 0, state] > waits[each, 0, state]
            second = np.where(begins, problem.hours[hour], second)
            route = np.where(begins, acts[each, 0, state].argmax(axis=1), route)
            values[:, :-1] = np.maximum(best, waits[:, :-1])
    reached = problem.stays ** ((problem.hours[0] - now) / HOUR)
    value = reached * values[each, 0, state]
    return Best(value, second, route // processors, route % processors)


def _state(place: Ints, outcome: Ints) -> NDArray[np.int64]:
    return np.asarray(1 + 2 * place + np.equal(outcome, REFUSED), np.int64)


def _acts(problem: Problem, doubt: Floats, tired: Floats, hour: int, waits: Floats) -> Floats:
    """What each attempt at an hour brings from each state, [B, most, 1 + 2 I, I, P].

    `waits` [B, most + 1, 1 + 2 I] is what it is worth to be in a state in the next hour. An outcome
    that ends nothing leads to the same state one attempt on, a soft decline to a state of its own;
    a member stays after a decline with probability 1 - `ANNOYED`. The products of
    :meth:`matinee.world.approval.Gates.odds`, with exp(-trust) as `doubt` [K, B, 1, I, P] and
    exp(0.15 earlier) as `tired`.
    """
    technical, down, alive, funds = (g[min(hour, len(g) - 1)] for g in problem.gates[:4])
    then, stay = waits[:, 1:], 1 - ANNOYED
    poor, refused = (stay * then[:, :, 1 + s :: 2, None] for s in range(2))
    answered = (1 - technical) * (1 - down)
    open_ = answered * alive
    gains = problem.brings[hour] + problem.fee - refused
    unsure = tired * doubt[hour]
    ways = []
    for money, care in ((1.0, 1.0), (SAME_FUNDS, 1.0), (1.0, np.exp(SAME_REFUSED))):
        passed = gains / (1 + care * unsure)
        ways.append(open_ * (poor + money * funds * (passed + refused - poor)) - problem.fee)
    idle = 1 - answered + stay * (answered - open_)
    own = np.arange(problem.brings.shape[3])[:, None]
    states = [ways[0]]
    for place in range(len(own)):
        states += [np.where(own == place, ways[1 + s], ways[0]) for s in range(2)]
    acts: Floats = np.stack(states, axis=2) + idle[:, :, None] * then[:, :, :, None, None]
    return acts
