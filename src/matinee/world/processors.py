"""The processors of the simulated world: their fees, whom they reach, their curves and outages.

Processors, issuers, fees and curves are made up. Which processor is best depends on who issued the
card and on its network, and is drawn anew with each seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from matinee.lake.billing import Outage, Processor
from matinee.world.paydays import Floats, Ints
from matinee.world.payments_settings import CURRENCY, DAY, HOUR, PaymentsSettings
from matinee.world.settings import stream

LANDS = tuple(CURRENCY)
"""The countries that there are, whether or not a world has members in them."""
NETWORKS = ("visa", "mastercard", "amex", "discover", "jcb", "elo", "rupay")
NETWORK_SHARES = {
    "US": {"visa": 0.53, "mastercard": 0.30, "amex": 0.11, "discover": 0.06},
    "NL": {"visa": 0.40, "mastercard": 0.57, "amex": 0.03},
    "BR": {"visa": 0.42, "mastercard": 0.43, "elo": 0.15},
    "IN": {"visa": 0.50, "mastercard": 0.35, "rupay": 0.15},
    "JP": {"visa": 0.50, "mastercard": 0.20, "jcb": 0.30},
}
BANKS = 5
"""Issuers in each country, the first ones with most cards."""
ISSUERS = tuple(f"{land.lower()}-bank-{number + 1}" for land in LANDS for number in range(BANKS))
BANK_SHARES = np.array([0.35, 0.25, 0.18, 0.13, 0.09])

PROCESSORS = (
    Processor(processor="alder", currency="EUR", fee_approved=18, fee_declined=8, fee_share=0.014),
    Processor(processor="birch", currency="EUR", fee_approved=12, fee_declined=12, fee_share=0.019),
    Processor(
        processor="cedar",
        currency="EUR",
        fee_approved=10,
        fee_declined=4,
        fee_share=0.011,
        networks=["visa", "mastercard", "amex", "discover", "jcb"],
    ),
    Processor(
        processor="dogwood",
        currency="EUR",
        fee_approved=22,
        fee_declined=15,
        fee_share=0.022,
        countries=["US", "BR", "IN", "JP"],
    ),
)
"""Who can charge: fees in cents of EUR and as a share of what is captured."""
DEFAULT = "alder"
"""The processor that reaches everybody and is tried first unless something else is said."""
NAMES = tuple(row.processor for row in PROCESSORS)


def number_of(processor: str) -> int:
    """The position of a processor among `PROCESSORS`; `ValueError` if it is not one of them.

    >>> number_of("birch")
    1
    """
    if processor not in NAMES:
        raise ValueError(f"no processor {processor!r}; there are {', '.join(NAMES)}")
    return NAMES.index(processor)


FAULTS = np.array([0.003, 0.005, 0.008, 0.004])
"""Share of the attempts that a processor loses on an ordinary day."""
OVERALL = np.array([0.25, 0.0, -0.15, 0.1])
"""What a processor adds to the log odds that an issuer lets an attempt pass, on the whole."""
LAND_SPREAD, NETWORK_SPREAD, BANK_SPREAD = 0.75, 0.55, 0.45
"""Standard deviations of what it adds by country of the issuer, by network, and by issuer."""
HOUR_SWING = 0.3
"""How much more, at the best hour of the local day, than on average."""
BEST_HOUR = {"US": 10, "NL": 9, "BR": 11, "IN": 13, "JP": 8}

OUTAGES_A_MONTH = PaymentsSettings.outages_a_month
OUTAGE_HOURS = (0.5, 6.0)
"""How often a processor usually is down, and the least and most hours that it lasts."""
ISSUER_OUTAGES_A_MONTH = 0.5
LOST, LOST_AT_ISSUER = 0.98, 0.95
"""Share of the attempts that fail while a processor, or an issuer, is down."""


class Curves:
    """What processors add to the log odds by whom they ask, and whom they reach.

    Attributes
    ----------
    added : float64 [P, issuers, networks].
    reach : bool [P, countries of invoices, networks].
    """

    def __init__(self, seed: int) -> None:
        shape = (len(PROCESSORS), len(ISSUERS), len(NETWORKS))
        rng = stream(seed, "curves")
        lands = rng.normal(scale=LAND_SPREAD, size=(shape[0], len(LANDS)))
        networks = rng.normal(scale=NETWORK_SPREAD, size=(shape[0], shape[2]))
        banks = rng.normal(scale=BANK_SPREAD, size=shape[:2])
        issuers = OVERALL[:, None] + np.repeat(lands, BANKS, axis=1) + banks
        self.added = issuers[:, :, None] + networks[:, None, :]
        self.reach = np.array(
            [
                [
                    [_in(land, row.countries) and _in(name, row.networks) for name in NETWORKS]
                    for land in LANDS
                ]
                for row in PROCESSORS
            ]
        )

    def hour(self, country: Ints, local: Ints) -> Floats:
        """What the hour of the local day adds: a cosine that peaks at the country's best hour."""
        best = np.array([BEST_HOUR[land] for land in LANDS])[country]
        swing: Floats = HOUR_SWING * np.cos(2 * np.pi * (local / HOUR - best) / 24)
        return swing


def _in(name: str, names: Sequence[str]) -> bool:
    return not names or name in names


class Spans:
    """Spans of time of several things, as ``starts <= second < ends``.

    >>> spans = Spans([(0, 10, 20), (0, 15, 30), (1, 10, 20)])
    >>> spans.cover(np.array([0, 0, 0, 1]), np.array([9, 10, 29, 20])).tolist()
    [False, True, True, False]
    """

    _FAR = 1 << 40
    LASTS = _FAR // 4
    """The end of what has no end."""

    def __init__(self, spans: Iterable[tuple[int, int, int]]) -> None:
        bounds: list[int] = []
        for key, start, end in sorted(spans):
            begins, ends = (key * self._FAR + bound for bound in (start, end))
            if bounds and begins <= bounds[-1]:
                bounds[-1] = max(bounds[-1], ends)
            else:
                bounds += [begins, ends]
        self._bounds = np.array(bounds, np.int64)

    def cover(self, key: Ints, second: Ints) -> NDArray[np.bool_]:
        """Whether a second lies in a span of the thing with this number."""
        at = np.searchsorted(self._bounds, key * self._FAR + second, side="right")
        covered: NDArray[np.bool_] = at % 2 == 1
        return covered


def planned_outages(settings: PaymentsSettings) -> list[Outage]:
    """When processors are down by the seed, and by the settings, in order of time."""
    spans = _poisson(settings, "outages", len(PROCESSORS), settings.outages_a_month)
    rows = [
        Outage(
            processor=NAMES[key],
            starts_at=settings.time(start),
            ends_at=settings.time(end),
            source="simulated",
        )
        for key, start, end in spans
    ]
    return sorted([*rows, *settings.outages], key=lambda row: (row.starts_at, row.processor))


def outage_spans(settings: PaymentsSettings, outages: Iterable[Outage]) -> Spans:
    """Rows of outages as spans by processor; one without end lasts. `ValueError` if unknown."""
    spans = []
    for row in outages:
        ends = Spans.LASTS if row.ends_at is None else settings.seconds(row.ends_at)
        spans.append((number_of(row.processor), settings.seconds(row.starts_at), ends))
    return Spans(spans)


def issuer_spans(settings: PaymentsSettings) -> list[tuple[int, int, int]]:
    """When issuers are down: (position in `ISSUERS`, first second, the second that it is back)."""
    return _poisson(settings, "issuer outages", len(ISSUERS), ISSUER_OUTAGES_A_MONTH)


def _poisson(
    settings: PaymentsSettings, name: str, count: int, a_month: float
) -> list[tuple[int, int, int]]:
    """Outages of `count` things as a Poisson process over all days and their grace."""
    spans = []
    for key in range(count if a_month else 0):
        rng, start = stream(settings.seed, name, key), 0.0
        while (start := start + rng.exponential(30 * DAY / a_month)) < (settings.days + 40) * DAY:
            end = start + HOUR * rng.uniform(*OUTAGE_HOURS)
            spans.append((key, int(start), int(end)))
            start = end
    return spans
