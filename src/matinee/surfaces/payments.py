"""The surface `payments`: where an invoice is charged, when it is tried again, and when not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.lake.billing import Invoice, Outage, Processor
from matinee.lake.lake import Lake
from matinee.lake.records import from_micros, micros
from matinee.models import Cascade, Model, Recovery, Vocabulary
from matinee.payments.actions import SLOTS, STOP, Route, Step, route_id, slot_id
from matinee.payments.bars import Bar, allowed, bars, penalty, processor_bar, promised
from matinee.payments.case import Case
from matinee.payments.facts import FACTS, RANKS, Facts, Price, Try, runs, slot_times
from matinee.payments.ledger import Account, Ledger
from matinee.payments.lessons import LEARNS_IN, lessons
from matinee.payments.money import unit
from matinee.payments.rules import RuleBook
from matinee.policies import EpsilonGreedy, InverseGap, Policy
from matinee.surfaces.base import Candidates, Mask, Request, Situation, Surface

STEP = "step"
"""The feature of a request that says which step of an invoice is asked for: route, or when."""
STEPS: Mapping[object, Step] = {"route": "route", "when": "when"}
WHEN = Candidates.of([*map(slot_id, SLOTS), STOP])
EXPLORE = InverseGap(gamma=500.0, epsilon=0.02, segment=48)
NO_RATES: Mapping[str, float] = {}


class Barred(Mask):
    """The actions that one rule takes away."""

    def __init__(self, name: str, reason: str, taken: frozenset[str]) -> None:
        self.name, self.reason, self.taken = name, reason, taken  # type: ignore[misc]

    def allowed(self, situation: Situation, candidates: Candidates) -> NDArray[np.bool_]:
        return candidates.without(self.taken)


@dataclass
class _Taken:
    """What rules take away, by name of the rule."""

    reasons: dict[str, str] = field(default_factory=dict)
    actions: dict[str, set[str]] = field(default_factory=dict)

    def add(self, bar: Bar, actions: Iterable[str]) -> None:
        self.reasons.setdefault(bar.name, bar.reason)
        self.actions.setdefault(bar.name, set()).update(actions)

    def masks(self) -> list[Mask]:
        return [
            Barred(name, self.reasons[name], frozenset(taken))
            for name, taken in self.actions.items()
            if taken
        ]


class Payments(Surface):
    """What is charged for invoices, by whom and when.

    A request names a member and, as its `subject`, one of their invoices. Its feature "step" says
    what is asked: the *route* of an attempt that is made now, or *when* to try again after one
    that failed. What rules take away is gone before anything is chosen: those of networks (`book`,
    and the rules of the lake on top), and those of the ledger: one attempt in flight, an invoice
    that is paid or whose grace is over, a mandate that was taken back, a processor that is down,
    what processors were promised. Stopping is always allowed.

    The reward is what the invoice brought after the decision, in the money of the service: the
    amount and what the member is worth, if it was paid, less fees, penalties and the expected
    `dispute`; at most `limit` either way. `rates` say what a whole unit of each currency is worth;
    without any there is one currency.

    >>> import tempfile; from pathlib import Path
    >>> lake = Lake.create(Path(tempfile.mkdtemp()) / "lake")
    >>> sorted(Payments.open(lake).policies())
    ['best first', 'explore by gap']
    >>> lake.close()
    """

    name: ClassVar[str] = "payments"
    reads: ClassVar[str] = "attempts"
    learns_in: ClassVar[tuple[str, ...]] = LEARNS_IN

    def __init__(
        self,
        ledger: Ledger,
        book: RuleBook | None = None,
        *,
        rates: Mapping[str, float] = NO_RATES,
        dispute: float = 0.002,
        most: int = 8,
        effort: float = 0.12,
        limit: float = 10_000.0,
        window: timedelta = timedelta(days=30),
        within: timedelta = timedelta(milliseconds=50),
        slack: float = 0.1,
        policy: Policy = EXPLORE,
    ) -> None:
        self.ledger, self._book = ledger, book or RuleBook.built_in()
        self.rates, self.dispute, self.most, self.effort = rates, dispute, most, effort
        self.reward_range = (-limit, limit)  # type: ignore[misc]
        self.window, self.within, self.slack, self._policy = window, within, slack, policy
        self._steps: dict[tuple[Any, ...], _Step] = {}
        self._renew()
        self._opened = self._routes.ids

    @classmethod
    def open(cls, lake: Lake, **settings: Any) -> Self:
        """That of a lake, whose tables it goes on reading."""
        return cls(Ledger(lake), **settings)

    def follow(self) -> bool:
        """Take in what was reported since; whether there are other routes than when it was made."""
        if self.ledger.follow():
            self._steps.clear()
        if self._knew != (self.ledger.processors, self.ledger.rules):
            self._renew()
        return self._routes.ids != self._opened

    def _renew(self) -> None:
        """Look at processors and rules anew."""
        self._knew = self.ledger.processors, self.ledger.rules
        self.book = self._book.extended(self.ledger.rules)
        self._routes = Candidates.of(_routes(self.ledger.processors))

    @classmethod
    def actions(cls, lake: Lake, as_of: datetime | None = None) -> frozenset[str]:
        processors = [one.processor for one in lake.records("processors", as_of=as_of)]
        return frozenset([*_routes(processors), *WHEN.ids])

    @classmethod
    def lessons(cls, tables: Mapping[str, pl.LazyFrame]) -> pl.DataFrame | None:
        return lessons(tables)

    def eligible(self, request: Request) -> Candidates:
        """All routes, or all slots. `ValueError` where the request says of no invoice which step is
        asked for.
        """
        return WHEN if _step(request) == "when" else self._routes

    def told(self, situation: Situation) -> Mapping[str, Any]:
        return {FACTS: self._asked(situation.request).facts.told()}

    def masks(self, situation: Situation) -> Sequence[Mask]:
        return self._asked(situation.request).masks

    def reward(self, decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        low, high = self.reward_range
        return self.brought(decisions, events).select(
            "decision_id",
            pl.lit(0, pl.Int64).alias("position"),
            pl.col("net").clip(low, high).alias("reward"),
        )

    def brought(self, decisions: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
        """decision_id, money, net of each decision: what its invoice brought, less what that cost,
        and the same with what the member is worth, if it was paid; neither is cut at `limit`.
        """
        facts = pl.col("context")
        told = decisions.select(
            "decision_id",
            *(
                facts.str.json_path_match(f"$.features.{FACTS}.{name}")
                .cast(pl.Float64)
                .fill_null(usual)
                .alias(name)
                for name, usual in (("worth", 0.0), ("unit", 0.01))
            ),
        )
        each = events.group_by("answers_to", "attempt_id").agg(
            paid=(pl.col("status") == "approved").any(),
            amount=pl.col("amount").first(),
            cost=pl.col("fee").max() + pl.col("penalty").max(),
        )
        whole = each.group_by(decision_id="answers_to").agg(
            paid=pl.col("paid").any(),
            brought=(pl.col("paid") * pl.col("amount")).sum() * (1 - self.dispute),
            cost=pl.col("cost").sum(),
        )
        money = pl.col("brought") - pl.col("cost")
        net = pl.col("brought") + pl.col("paid") * pl.col("worth") - pl.col("cost")
        return told.join(whole, on="decision_id", how="left").select(
            "decision_id",
            money=(money * pl.col("unit")).fill_null(0.0),
            net=(net * pl.col("unit")).fill_null(0.0),
        )

    def policies(self) -> Mapping[str, Policy]:
        return {"explore by gap": self._policy, "best first": EpsilonGreedy(epsilon=0.05)}

    def models(self) -> Sequence[Model]:
        high = self.reward_range[1]
        ours = Recovery(dispute=self.dispute, most=self.most, effort=self.effort, limit=high)
        return ours, Cascade(window=125)

    def fallback(self) -> tuple[Model, Policy]:
        """The fixed schedule, by whichever processor was down least of late."""
        actions = Vocabulary([*self._routes.ids, *WHEN.ids])
        rates = dict.fromkeys(self.ledger.processors, 0.0)
        return Cascade.of(actions, rates), EpsilonGreedy(epsilon=0.0, segment=1)

    def forbidden(
        self, invoice: Invoice, instrument_id: str, processor: str, at: datetime, attempt_id: str
    ) -> str | None:
        """Why an attempt that was decided on may not go out at a time after all, or `None`; its own
        reports aside.
        """
        self.follow()
        account = self.ledger.account(invoice.member_id, invoice.invoice_id)
        cases = account.cases if account else ()
        case = next((c for c in cases if c and c.instrument.instrument_id == instrument_id), None)
        who = self.ledger.processors.get(processor)
        if case is None or who is None:
            return "the instrument, or the processor, is not known"
        others = [one for one in case.tried if one.attempt_id != attempt_id]
        now = np.array([micros(at)], np.int64)
        found = bars(replace(case, tried=others), self.book, now)
        lacking = self._lacking(who, case, now)
        reasons = [bar.reason for bar in (*found, *([lacking] if lacking else []))]
        return "; ".join(reasons) or None

    def _asked(self, request: Request) -> _Step:
        """The step that a request is about, worked out once for all that is asked of it."""
        key = (request.member_id, request.subject, request.request_id, request.at, _step(request))
        known = self._steps.get(key)
        if known is None:
            if len(self._steps) > 64:
                self._steps.clear()
            known = self._steps[key] = self._step(request)
        return known

    def _step(self, request: Request) -> _Step:
        account = self.ledger.account(request.member_id, request.subject or "")
        if account is None:
            raise MatineeError(
                f"{request.member_id} has no invoice {request.subject!r}",
                why="none was reported",
                next_step="report it by POST /v1/payments, or matinee import, then ask again",
            )
        step, at = _step(request), micros(request.at)
        return self._route(account, at) if step == "route" else self._when(account, at)

    def _route(self, account: Account, at: int) -> _Step:
        """Charge it now: what each processor and instrument may not."""
        taken, now = _Taken(), np.array([at], np.int64)
        processors = list(self.ledger.processors.values())
        usable = np.zeros((len(processors), RANKS), bool)
        for rank in range(1, RANKS + 1):
            ids = [route_id(Route(one.processor, rank)) for one in processors]
            case = account.cases[rank - 1] if rank <= len(account.cases) else None
            if case is None:
                taken.add(Bar("instrument", "there is no such instrument", now < 0), ids)
                continue
            found = bars(case, self.book, now)
            for bar in found:
                taken.add(bar, ids)
            for number, one in enumerate(processors):
                lacking = self._lacking(one, case, now)
                if lacking is not None:
                    taken.add(lacking, ids[number : number + 1])
                usable[number, rank - 1] = not found and lacking is None
        some = np.asarray(usable.any(axis=1))
        bar = promised(processors, self.ledger.sent(from_micros(at)), at, some, self.slack)
        late = np.flatnonzero(~bar.allowed).tolist()
        taken.add(bar, _routes(processors[number].processor for number in late))
        penalties = tuple(self._penalty(account, case, now) for case in account.cases)
        return _Step(self._facts("route", account, at, penalties=penalties), taken.masks())

    def _when(self, account: Account, at: int) -> _Step:
        """Try it again: in which slots no instrument may be charged, or by nobody."""
        taken, slots = _Taken(), slot_times(at)
        none = [Bar("instrument", "there is no instrument to charge", slots < 0)]
        left, open_, reached = np.zeros(len(slots), bool), {}, {}
        preferred = list[Bar]()
        for rank, case in _cases(account):
            found = bars(case, self.book, slots)
            served = {one.processor: self._lacking(one, case, slots) for one in self._processors()}
            nobody = [bar.allowed for bar in served.values() if bar is not None]
            if served and len(nobody) == len(served):
                works = np.logical_or.reduce(nobody)
                found.append(Bar("processor", "no processor can charge it then", works))
            may = allowed(found, len(slots))
            open_[str(rank)] = runs(may)
            reached[str(rank)] = [who for who, b in served.items() if b is None or b.allowed.any()]
            left |= may
            preferred = preferred or found
        _explain(taken, preferred or none, ~left)
        penalties = tuple(self._penalty(account, case, slots[:1]) for case in account.cases)
        facts = self._facts("when", account, at, open=open_, reached=reached, penalties=penalties)
        return _Step(facts, taken.masks())

    def _processors(self) -> list[Processor]:
        return list(self.ledger.processors.values())

    def _lacking(self, one: Processor, case: Case, at: NDArray[np.int64]) -> Bar | None:
        """Why a processor cannot charge an instrument at some of the times; an outage whose end is
        not known bars what is now, and not what comes later.
        """
        now = len(at) == 1
        outages: list[Outage] = [
            outage for outage in self.ledger.outages if now or outage.ends_at is not None
        ]
        bar = processor_bar(one, case.invoice, case.instrument, outages, at)
        if bar is None and now and self.ledger.down(one.processor, int(at[0])):
            return Bar("down", f"{one.processor} fails of late", np.zeros(1, bool))
        return bar

    def _penalty(self, account: Account, case: Case | None, at: NDArray[np.int64]) -> float:
        """What a network takes for an attempt, in minor units of the invoice."""
        found = {} if case is None else penalty(case, self.book, at)
        mine = self._unit(account.invoice.currency)
        return sum(float(fees[0]) * self._unit(currency) / mine for currency, fees in found.items())

    def _facts(self, step: Step, account: Account, at: int, **more: Any) -> Facts:
        invoice = account.invoice
        mine = self._unit(invoice.currency)
        prices = {
            one.processor: Price.of(one, self._unit(one.currency) / mine)
            for one in self._processors()
            if one.enabled
        }
        tried = [Try.of(one, invoice, self.book.reasons) for one in account.tried]
        return Facts.of(
            step, at, invoice, account.instruments, tried, prices=prices, unit=mine, **more
        )

    def _unit(self, currency: str) -> float:
        try:
            return unit(currency, self.rates)
        except KeyError:
            raise MatineeError(
                f"nobody said what {currency} is worth",
                next_step=f"add {currency} = ... to [surfaces.payments.rates] in matinee.toml",
            ) from None


@dataclass(frozen=True)
class _Step:
    """A step of an invoice: what is known, and what rules take away."""

    facts: Facts
    masks: list[Mask]


def _step(request: Request) -> Step:
    if request.subject is None:
        raise MatineeError(
            "a payment is decided for an invoice", next_step="name it as the subject"
        )
    step = request.features.get(STEP, "route")
    if step in STEPS:
        return STEPS[step]
    raise MatineeError(
        f"there is no step {step!r}", next_step="ask for the step route, or for when"
    )


def _routes(processors: Iterable[str]) -> Iterator[str]:
    return (
        route_id(Route(one, rank)) for one in sorted(processors) for rank in range(1, RANKS + 1)
    )


def _cases(account: Account) -> Iterator[tuple[int, Case]]:
    """The instruments that may be charged, by rank."""
    for rank, case in enumerate(account.cases[:RANKS], start=1):
        if case is not None:
            yield rank, case


def _explain(taken: _Taken, found: Sequence[Bar], lost: NDArray[np.bool_]) -> None:
    """Each slot [H] that is lost goes to the first rule that bars the preferred instrument."""
    for bar in found:
        mine = lost & ~bar.allowed
        taken.add(bar, [WHEN.ids[place] for place in np.flatnonzero(mine).tolist()])
        lost = lost & bar.allowed
