"""The renewals of the simulated world: what is due, when, and what hangs on it. Made up."""

from __future__ import annotations

import numpy as np

from matinee.lake.billing import Invoice
from matinee.world.paydays import ZONE_NAMES
from matinee.world.payers import Payers
from matinee.world.payments_settings import (
    CENTS,
    CURRENCY,
    DAY,
    GRACE_DAYS,
    MONTHS,
    PaymentsSettings,
    month_name,
)
from matinee.world.processors import LANDS

PRICES = {
    "US": (799, 1549, 2299),
    "NL": (599, 1199, 1799),
    "BR": (2090, 4490, 5990),
    "IN": (14900, 49900, 64900),
    "JP": (890, 1590, 2290),
}
"""What a month costs on each plan, in minor units of the country's currency."""
MARGIN = 0.35
"""Share of the price that is earned."""
RETURNED = 0.7
"""How long a member who comes back stays, as a share of what it had been."""


class Bills:
    """R renewals in order of time, as arrays [R]; cards are [R, 3].

    Attributes
    ----------
    member, month : int64, `month` counts those of the world.
    due, grace : int64, seconds after the start of day 0.
    amount, worth : int64, in minor units; `cents` float64, what one such unit is worth.
    leaves : int64, the second at which the member leaves if the bill stays open.
    cause, suspicion, means : int8 [R, 3], of the member's cards in this month.
    """

    def __init__(self, settings: PaymentsSettings, payers: Payers) -> None:
        first = np.datetime64(settings.start.date(), "M")
        starts = (np.arange(MONTHS) + first).astype("datetime64[D]")
        zero = np.datetime64(settings.start.date(), "D")
        dates = (starts - zero).astype(np.int64)[None, :] + payers.day[:, None] - 1
        due = dates * DAY + payers.second[:, None]
        member, month = np.nonzero((due >= 0) & (due < settings.days * DAY))
        order = np.lexsort((member, due[member, month]))
        self.payers, self.settings = payers, settings
        self.member, self.month = member[order], month[order]
        self.due = due[self.member, self.month]
        self.grace = self.due + GRACE_DAYS * DAY
        self.country = payers.country[self.member]
        prices = np.array([PRICES[land] for land in LANDS])
        self.amount = prices[self.country, payers.plan[self.member]]
        self.cents = np.array([CENTS[CURRENCY[land]] for land in LANDS])[self.country]
        stays, returns = payers.stays[self.member], payers.returns[self.member]
        worth = self.amount * MARGIN * stays * (1 - RETURNED * returns)
        self.worth = np.rint(worth).astype(np.int64)
        waits = -np.log1p(-payers.luck[self.member, self.month]) / payers.leaves[self.member]
        self.leaves = self.due + np.clip(waits * DAY, 1, 10_000 * DAY).astype(np.int64)
        self.cause = payers.cause[self.member, :, self.month]
        self.suspicion = payers.suspicion[self.member, :, self.month]
        self.means = payers.means[self.member, :, self.month]

    def __len__(self) -> int:
        return len(self.member)

    def invoice_id(self, row: int) -> str:
        """The id of a renewal: the member's, and the month."""
        month = month_name(self.payers.first + int(self.month[row]))
        return f"v{self.member[row]:06d}-{month}"

    def invoice(self, row: int) -> Invoice:
        """A renewal as an app would send it."""
        member, month = int(self.member[row]), int(self.month[row])
        country = LANDS[self.country[row]]
        places = range(int(self.payers.cards[member]))
        return Invoice(
            invoice_id=self.invoice_id(row),
            member_id=self.payers.member_id(member),
            amount=int(self.amount[row]),
            currency=CURRENCY[country],
            due_at=self.settings.time(self.due[row]),
            grace_until=self.settings.time(self.grace[row]),
            instruments=[self.payers.instrument_id(member, place, month) for place in places],
            country=country,
            timezone=ZONE_NAMES[self.payers.zone[member]],
            worth=int(self.worth[row]),
        )
