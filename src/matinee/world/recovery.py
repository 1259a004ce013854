"""Run a way of recovering failed renewals against the simulated world, in order of time.

Every renewal is charged when it is due, its first card by one processor; what fails is handed to a
policy, attempt by attempt, until it is paid, given up, or left by the member. Invoices stand each
for themselves: a member who leaves or lapses is billed again next month.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.lake.billing import Attempt, Invoice
from matinee.world.answers import luck
from matinee.world.approval import Charges, Standing
from matinee.world.declines import APPROVED, SOFT, drawn
from matinee.world.paydays import Floats
from matinee.world.payments import PaymentsWorld
from matinee.world.processors import DEFAULT, NAMES, number_of
from matinee.world.settings import stream


class Step(NamedTuple):
    """One more attempt: when, by which processor, on which card, by its rank from 1."""

    at: datetime
    processor: str
    rank: int = 1


class Policy(Protocol):
    """A way of recovering failed renewals, of what a service can see."""

    def next(
        self, invoice: Invoice, tried: Sequence[Attempt], now: datetime, rng: np.random.Generator
    ) -> Step | None:
        """The next attempt after those in `tried`, later than `now` and within the grace, or none.

        Asked as soon as the last attempt has failed, which is `now`.
        """
        ...

    def saw(self, attempt: Attempt) -> None:
        """Hear what became of an attempt, first ones too: called for each, in order of time."""
        ...


@dataclass(frozen=True)
class Run:
    """What became of the failed renewals of a run.

    attempts : the columns of `Attempt`, one row for each in order of time, first ones too.
    invoices : one row for each failed invoice: `invoice_id`, `due_at`, `closed` (paid, lapsed, or
        void if the member left), `closed_at`, `processor` and `rank` of the approval, `attempts`
        after the first, and in cents of EUR: `value` of the approval (see `Truth.value`: the
        dispute is a mean in it), `fees` and `penalties` of those attempts that were not approved,
        and the `net` of these.
    """

    attempts: pl.DataFrame
    invoices: pl.DataFrame

    def net(self) -> tuple[float, float]:
        """Net recovered per failed invoice, in cents of EUR, and its standard error."""
        net = self.invoices["net"].to_numpy()
        return float(net.mean()), float(net.std(ddof=1) / np.sqrt(len(net)))


@dataclass
class _Open:
    """A failed invoice on its way."""

    row: int
    invoice: Invoice
    tried: list[Attempt] = field(default_factory=list)
    said: tuple[int, int, int] = (0, 0, 0)
    value: float = 0.0
    closed: str = "lapsed"
    closed_at: int = 0

    def standing(self) -> tuple[int, int, int, int, int]:
        """As a row of `Standing`."""
        return self.row, len(self.tried), *self.said


def run(
    world: PaymentsWorld,
    policy: Policy,
    *,
    first: int = 0,
    last: int | None = None,
    most: int = 8,
    default: str | None = DEFAULT,
    seed: int = 0,
) -> Run:
    """Charge the renewals due on days `first` to `last` - 1, and recover what fails by a policy.

    Parameters
    ----------
    most : further attempts on an invoice after the first; then it is given up.
    default : the processor of first attempts; `None` draws one of those that reach the card.
    seed : of the generator that the policy is given, and of that draw.

    Attempts are named ``<invoice>-<number>``, so that two policies meet the same luck. Raises
    `ValueError` for a step that is not after now and before the grace ends, or of an unknown
    processor or card.

    >>> from datetime import timedelta
    >>> from matinee.world.payments_settings import PaymentsSettings
    >>> class Tomorrow:
    ...     def next(self, invoice, tried, now, rng):
    ...         return Step(now + timedelta(days=1), "alder") if len(tried) < 2 else None
    ...     def saw(self, attempt):
    ...         pass
    >>> done = run(PaymentsWorld(PaymentsSettings(members=300, days=30)), Tomorrow())
    >>> done.invoices["attempts"].max(), done.invoices["closed"].unique().sort().to_list()
    (1, ['lapsed', 'paid', 'void'])
    """
    return _Runner(world, policy, most, seed).run(world.rows(first, last), default)


class _Runner:
    def __init__(self, world: PaymentsWorld, policy: Policy, most: int, seed: int) -> None:
        self.world, self.policy, self.most = world, policy, most
        self.rng = stream(world.settings.seed, "recovery", seed)
        self.failed: list[_Open] = []
        self.made: list[Attempt] = []
        self.of_card: dict[str, list[Attempt]] = defaultdict(list)
        self.queue: list[tuple[int, int, _Open, Step]] = []

    def run(self, rows: NDArray[np.int64], default: str | None) -> Run:
        bills = self.world.bills
        if default is None:
            network = self.world.payers.network[bills.member[rows], 0]
            reached = self.world.truth.curves.reach[:, bills.country[rows], network]
            processor = (self.rng.random(reached.shape) * reached).argmax(axis=0)
        else:
            processor = np.full(len(rows), number_of(default))
        ids = [f"{bills.invoice_id(row)}-1" for row in rows.tolist()]
        charges = Charges(rows, np.zeros_like(rows), processor, bills.due[rows])
        draws = luck(self.world.settings.seed, "answer", ids)
        outcomes = drawn(self.world.truth.gates(charges).odds(0, 0), draws[:, 0])
        for at, row in enumerate(rows.tolist()):
            charge = Charges(*(part[at] for part in charges))
            self._until(int(charge.second))
            opened = _Open(row, bills.invoice(row))
            self._answered(opened, charge, ids[at], int(outcomes[at]), draws[at])
        self._until(None)
        return Run(_frame(self.made), self._invoices())

    def _until(self, second: int | None) -> None:
        """Make all attempts that are planned before a second, those of one second together."""
        while self.queue and (second is None or self.queue[0][0] < second):
            together = [heappop(self.queue)]
            while self.queue and self.queue[0][0] == together[0][0]:
                together.append(heappop(self.queue))
            self._attempt([(opened, step) for _, _, opened, step in together], together[0][0])

    def _attempt(self, steps: list[tuple[_Open, Step]], second: int) -> None:
        here = []
        for opened, step in steps:
            left = int(self.world.bills.leaves[opened.row])
            if left <= second:
                opened.closed, opened.closed_at = "void", left
            else:
                here.append((opened, step))
        if not here:
            return
        standing = Standing(*np.array([opened.standing() for opened, _ in here]).T)
        place = np.array([step.rank - 1 for _, step in here])
        processor = np.array([NAMES.index(step.processor) for _, step in here])
        charges = Charges(standing.row, place, processor, np.full(len(here), second))
        ids = [f"{o.invoice.invoice_id}-{len(o.tried) + 1}" for o, _ in here]
        draws = luck(self.world.settings.seed, "answer", ids)
        outcomes = drawn(self.world.truth.odds(charges, standing), draws[:, 0])
        for at, (opened, _) in enumerate(here):
            charge = Charges(*(part[at] for part in charges))
            self._answered(opened, charge, ids[at], int(outcomes[at]), draws[at])

    def _answered(
        self, opened: _Open, charge: Charges, attempt_id: str, outcome: int, draws: Floats
    ) -> None:
        """Report one attempt, and ask the policy for the next if it failed."""
        invoice, place = opened.invoice, int(charge.place)
        card = self.of_card[self.world.payers.fingerprint(invoice.instruments[place])]
        answer = self.world.answers.told(charge, outcome, draws, card)
        at = self.world.settings.time(int(charge.second))
        attempt = answer.attempt(invoice, place, NAMES[int(charge.processor)], attempt_id, at)
        self.made.append(attempt)
        card.append(attempt)
        opened.tried.append(attempt)
        self.policy.saw(attempt)
        if len(opened.tried) == 1:
            if outcome == APPROVED:
                return
            self.failed.append(opened)
            opened.closed_at = int(self.world.bills.grace[opened.row])
        if outcome == APPROVED:
            opened.closed, opened.closed_at = "paid", int(charge.second)
            opened.value = float(self.world.truth.value(charge))
        elif answer.leaves:
            opened.closed, opened.closed_at = "void", int(charge.second)
        else:
            if outcome in SOFT:
                opened.said = outcome, place, int(charge.second)
            self._ask(opened, attempt.at)

    def _ask(self, opened: _Open, now: datetime) -> None:
        invoice = opened.invoice
        if len(opened.tried) > self.most:
            return
        step = self.policy.next(invoice, opened.tried, now, self.rng)
        if step is None:
            return
        if not now < step.at < invoice.grace_until:
            raise ValueError(f"{step.at} is not after {now} and before {invoice.grace_until}")
        if step.processor not in NAMES or not 1 <= step.rank <= len(invoice.instruments):
            raise ValueError(f"{invoice.invoice_id} cannot be charged by {step}")
        second = self.world.settings.seconds(step.at)
        heappush(self.queue, (second, len(self.made), opened, step))

    def _invoices(self) -> pl.DataFrame:
        cents = self.world.bills.cents
        rows = []
        for opened in self.failed:
            later, paid = opened.tried[1:], opened.closed == "paid"
            last = later[-1] if paid else None
            fees = sum(a.fee for a in later if a.status != "approved") * float(cents[opened.row])
            penalties = sum(a.penalty for a in later) * float(cents[opened.row])
            rows.append(
                {
                    "invoice_id": opened.invoice.invoice_id,
                    "due_at": opened.invoice.due_at,
                    "closed": opened.closed,
                    "closed_at": self.world.settings.time(opened.closed_at),
                    "processor": last and last.processor,
                    "rank": last and opened.invoice.instruments.index(last.instrument_id) + 1,
                    "attempts": len(later),
                    "value": opened.value,
                    "fees": fees,
                    "penalties": penalties,
                    "net": opened.value - fees - penalties,
                }
            )
        return pl.DataFrame(rows, schema=INVOICES)


INVOICES = pl.Schema(
    {
        "invoice_id": pl.String(),
        "due_at": pl.Datetime("us", "UTC"),
        "closed": pl.String(),
        "closed_at": pl.Datetime("us", "UTC"),
        "processor": pl.String(),
        "rank": pl.Int64(),
        "attempts": pl.Int64(),
        "value": pl.Float64(),
        "fees": pl.Float64(),
        "penalties": pl.Float64(),
        "net": pl.Float64(),
    }
)


def _frame(attempts: Sequence[Attempt]) -> pl.DataFrame:
    """Attempts with the columns of `Attempt`, in the given order."""
    names = Attempt.__struct_fields__
    times = {"at": pl.Datetime("us", "UTC")}
    empty = dict.fromkeys(("decision_id", "advice", "category", "reason", "mapping"), pl.String())
    columns = {name: [getattr(attempt, name) for attempt in attempts] for name in names}
    return pl.DataFrame(columns, schema_overrides={**times, **empty})
