"""How large a simulated world of payments is, what money is worth in it, and what is penalised."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial

from matinee.lake.billing import NetworkRule, Outage
from matinee.lake.records import Member
from matinee.world.settings import COUNTRIES

DAY = 86_400
"""Seconds in a day."""
HOUR = 3_600
"""Seconds in an hour."""
GRACE_DAYS = 28
"""Days from when an invoice is due until trying ends: no two invoices of a member overlap."""
LONGEST = 365
"""The most days that a world has."""

CENTS = {"EUR": 1.0, "USD": 0.92, "BRL": 0.16, "INR": 0.011, "JPY": 0.62}
"""What one minor unit of a currency is worth in cents of EUR. Made up, of the right size."""
CURRENCY = {"US": "USD", "NL": "EUR", "BR": "BRL", "IN": "INR", "JP": "JPY"}
"""The currency of a country's invoices; a world has no other countries."""

NEVER = ("04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3")
"""Visa's category 1, "issuer will never approve": Visa Core Rules, 18 April 2026, table 7-2."""
STOP_ADVICE = ("03", "21")
"""Mastercard's merchant advice codes for "do not try again" and "payment cancelled"."""


_fee = partial(
    NetworkRule, kind="fee", currency="EUR", source="simulated; of the size that acquirers publish"
)
PENALTIES = (
    _fee(rule_id="v-month", network="visa", fee=10, most=20, hours=720.0),
    _fee(rule_id="v-never", network="visa", fee=10, codes=list(NEVER)),
    _fee(rule_id="m-day", network="mastercard", fee=50, most=10, hours=24.0),
    _fee(rule_id="m-month", network="mastercard", fee=50, most=35, hours=720.0),
    _fee(rule_id="m-never", network="mastercard", fee=50, field="advice", codes=[*STOP_ADVICE]),
)
"""What the networks of a world charge for, in cents: each attempt beyond `most` on one card in
`hours`, and each attempt on a card after one of `codes`. Rows of kind ``fee``, per card."""


@dataclass(frozen=True, kw_only=True)
class PaymentsSettings:
    """The size and the seed of a simulated world of payments. Equal settings give equal worlds.

    Parameters
    ----------
    members : M, how many are billed every month.
    days : renewals are due on days 0 to `days` - 1. Day d is the same whatever `days` is.
    seed : the root of all randomness.
    start : midnight UTC at which day 0 begins.
    countries : (ISO 3166-1 code, share of the members) pairs; the shares sum to 1. They bring the
        mix of currencies, clocks, networks and pay-days.
    billed : the M members that are billed, in the countries where they are, such as those of a
        :class:`~matinee.world.World`; none: M of its own, by `countries`.
    outages : rows of outages beside those that come of the seed.
    outages_a_month : how often a processor is down by the seed.
    penalties : what networks charge for, as rows of kind ``fee`` in EUR, counted per card.

    >>> PaymentsSettings(members=100).days
    120
    """

    members: int = 2_000
    days: int = 120
    seed: int = 7
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC)
    countries: tuple[tuple[str, float], ...] = COUNTRIES
    billed: tuple[Member, ...] = ()
    outages: tuple[Outage, ...] = ()
    outages_a_month: float = 0.8
    penalties: tuple[NetworkRule, ...] = PENALTIES

    def __post_init__(self) -> None:
        _require(self.members >= 1, "members must be at least 1")
        _require(1 <= self.days <= LONGEST, f"days must lie in [1, {LONGEST}]")
        _require(self.outages_a_month >= 0, "outages_a_month must not be negative")
        _require(
            not self.billed or len(self.billed) == self.members,
            "members must be as many as are billed",
        )
        _require({one.country for one in self.billed} <= {*CURRENCY}, "no prices where one is")
        _require(self.seed >= 0, "seed must not be negative")
        midnight = self.start.utcoffset() == timedelta(0) and self.start.time() == time()
        _require(midnight, "start must be a midnight in UTC, as 2025-01-01T00:00:00Z")
        codes, shares = zip(*self.countries, strict=True) if self.countries else ((), ())
        known = ", ".join(CURRENCY)
        _require(set(codes) <= set(CURRENCY), f"countries must be some of {known}")
        _require(len(set(codes)) == len(codes), "countries must be distinct")
        whole = all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-9
        _require(whole, "the shares of countries must not be negative and must sum to 1")
        for rule in self.penalties:
            fits = rule.kind == "fee" and rule.currency == "EUR" and rule.per == "card"
            limit = rule.most is not None and rule.hours is not None
            _require(fits and limit != bool(rule.codes), f"penalty {rule.rule_id!r} cannot be read")

    def seconds(self, at: datetime) -> int:
        """Whole seconds from the start of day 0 to a time; `ValueError` for one without zone.

        >>> PaymentsSettings().seconds(datetime(2025, 1, 2, tzinfo=UTC))
        86400
        """
        _require(at.utcoffset() is not None, f"{at} needs a time zone")
        return (at - self.start) // timedelta(seconds=1)

    def time(self, second: int) -> datetime:
        """The time in UTC so many seconds after the start of day 0."""
        return self.start + timedelta(seconds=int(second))


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(f"settings of a simulated world of payments: {problem}")


MONTHS = LONGEST // 30 + 3
"""Months that are drawn of every world, whatever its `days`."""


def month_of(start: datetime) -> int:
    """Months since 1970 in which a world begins.

    >>> month_of(datetime(1971, 2, 1, tzinfo=UTC))
    13
    """
    return (start.year - 1970) * 12 + start.month - 1


def month_name(month: int) -> str:
    """
    >>> month_name(13)
    '1971-02'
    """
    return f"{1970 + month // 12}-{month % 12 + 1:02d}"
