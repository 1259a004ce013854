"""What is known of an invoice when a step is decided: what goes on record, and what models read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from matinee.lake.billing import Instrument, Invoice, Processor
from matinee.lake.records import micros
from matinee.payments.actions import HOUR, SLOTS, Step
from matinee.payments.attempts import Tried
from matinee.payments.reasons import Reasons
from matinee.ready import ready

FACTS = "payment"
"""The feature of a request under which the facts of its invoice stand."""
RANKS = 3
"""How many of an invoice's instruments may be charged, the preferred ones."""
HOURS = np.array(SLOTS, np.int64)
"""When slots begin [H], in whole hours from now."""
LATEST = 12
"""How many earlier attempts go on record, the latest ones."""


class Means(msgspec.Struct, frozen=True, omit_defaults=True):
    """An instrument, as far as issuers treat it alike."""

    network: str
    kind: str = "card"
    issuer: str | None = None
    issuer_country: str | None = None
    funding: str | None = None
    tokenised: bool = False

    @classmethod
    def of(cls, one: Instrument) -> Self:
        return cls(
            one.network, one.kind, one.issuer, one.issuer_country, one.funding, one.tokenised
        )


UNKNOWN = Means("unknown", "unknown")
"""An instrument that was never reported."""


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a processor takes: in minor units of the invoice's currency, and a share of it."""

    approved: float = 0.0
    declined: float = 0.0
    share: float = 0.0

    @classmethod
    def of(cls, processor: Processor, rate: float = 1.0) -> Self:
        """`rate` is what a minor unit of its currency is worth in those of the invoice's."""
        return cls(
            processor.fee_approved * rate, processor.fee_declined * rate, processor.fee_share
        )


class Try(msgspec.Struct, frozen=True, omit_defaults=True):
    """An earlier attempt on the invoice: when it was sent (microseconds since 1970), by whom, with
    the instrument of which rank (0: none of those), and what came of it.
    """

    at: int
    processor: str
    rank: int
    status: str
    reason: str | None = None

    @classmethod
    def of(cls, one: Tried, invoice: Invoice, reasons: Reasons) -> Self:
        """What is known of an attempt on an invoice, with its reason as it is read."""
        held, ids = one.held, invoice.instruments
        rank = ids.index(held.instrument_id) + 1 if held.instrument_id in ids else 0
        return cls(one.sent_at, held.processor, rank, one.status, reasons.of(held))


@ready
class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invoice at a step.

    Times are microseconds since 1970; amounts minor units of its currency. `means` are its
    instruments by rank, `tried` the earlier attempts, oldest first, `number` how many there were.
    `prices` are those of the processors that may be used. `open` says in which slots each
    instrument may be charged, as far as is known now: by rank, runs of first and last hour; and
    `reached` by which processors it can be.
    `penalties` are what a network takes for an attempt now, by rank. `unit` is what a minor unit is
    worth in the money of the service.

    >>> facts = Facts("route", 0, 999, "EUR", 0, 28 * 24 * HOUR, (Means("visa"),))
    >>> Facts.read(facts.told()) == facts
    True
    """

    step: Step
    at: int
    amount: int
    currency: str
    due_at: int
    grace_until: int
    means: tuple[Means, ...]
    worth: int = 0
    country: str | None = None
    timezone: str | None = None
    number: int = 0
    tried: tuple[Try, ...] = ()
    prices: dict[str, Price] = {}
    open: dict[str, list[tuple[int, int]]] = {}
    reached: dict[str, list[str]] = {}
    penalties: tuple[float, ...] = ()
    unit: float = 0.01

    @classmethod
    def of(
        cls,
        step: Step,
        at: int,
        invoice: Invoice,
        instruments: Sequence[Instrument | None],
        tried: Sequence[Try] = (),
        **more: Any,
    ) -> Self:
        """What an invoice, its instruments by rank and the attempts on it, oldest first, say."""
        return cls(
            step,
            at,
            invoice.amount,
            invoice.currency,
            micros(invoice.due_at),
            micros(invoice.grace_until),
            tuple(UNKNOWN if one is None else Means.of(one) for one in instruments[:RANKS]),
            worth=invoice.worth,
            country=invoice.country,
            timezone=invoice.timezone,
            number=len(tried),
            tried=tuple(tried[-LATEST:]),
            **more,
        )

    def told(self) -> dict[str, Any]:
        """As plain values, for a record."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """What `told` says; `ValueError` where it is something else."""
        try:
            return msgspec.convert(told, cls)
        except msgspec.ValidationError as wrong:
            raise ValueError(f"these are not the facts of an invoice: {wrong}") from wrong

    def allowed(self, rank: int) -> NDArray[np.bool_]:
        """Whether the instrument of a rank may be charged in each slot [H]."""
        allowed = np.zeros(len(HOURS), bool)
        for first, last in self.open.get(str(rank), ()):
            allowed |= (first <= HOURS) & (last >= HOURS)
        return allowed


def runs(allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Of the slots [H] that are allowed, the first and last hour of each unbroken run.

    >>> allowed = np.zeros(len(SLOTS), bool)
    >>> allowed[[0, 1, 5]] = True
    >>> runs(allowed)
    [(1, 2), (6, 6)]
    """
    padded = np.concatenate([[False], allowed, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return [(SLOTS[a], SLOTS[b - 1]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def slot_times(at: int) -> NDArray[np.int64]:
    """When each slot [H] begins, of a decision at `at`; microseconds since 1970.

    >>> int(slot_times(HOUR // 2)[0]) // HOUR
    2
    """
    whole = -(-at // HOUR)
    times: NDArray[np.int64] = (whole + HOURS) * HOUR
    return times
