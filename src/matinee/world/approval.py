"""The truth of the world of payments: how likely each outcome of an attempt is, and its worth.

An attempt passes gates, one after the other, and the first that shuts names the outcome:

1. **technical**: 1 - (1 - fault[p]) (1 - 0.98 [p is down]); 1 where p does not reach the network or
   the country;
2. **issuer_down**: 0.001, 0.95 while the issuer is down;
3. **dead**: 1 if the card is dead in this month, else 0;
4. **funds**: 1 - f, where ``f = sigmoid(level - fall * phase + 1.5 [credit])`` by how the account
   is filled and by the share of the time between two pay-days that has passed on the member's
   clock (:mod:`matinee.world.paydays`);
5. **refused**: 1 - s, where ``s = sigmoid(base + weight * (added[p, issuer, network] + hour) - 0.15
   * earlier)``; base and weight are 5.2 and 0.5 for a card in good standing, -1.0 and 1 for one
   under suspicion, and -4.5 and 0.5 for one that the issuer will not have charged in this month;
   `hour` is a cosine of the local hour, `earlier` the number of earlier attempts on the invoice.

Attempts are independent given this, but for one thing: what the issuer said last about funds or
risk it mostly says again until the next bank day, 06:00 on the member's clock. After a **funds**
decline f of that card is 0.1 f, after a **refused** one its log odds of s are 1.5 less. So the
truth needs no more of the past than the number of earlier attempts and the last soft decline, if it
is of this bank day. All of it, and every number, is made up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.world.behaviour import sigmoid
from matinee.world.bills import Bills
from matinee.world.declines import ALIVE, FUNDS, REFUSED
from matinee.world.paydays import Clock, Floats, Ints, Paydays, bank_day, funds
from matinee.world.payers import FUNDINGS
from matinee.world.payments_settings import DAY, PaymentsSettings
from matinee.world.processors import (
    FAULTS,
    LOST,
    LOST_AT_ISSUER,
    PROCESSORS,
    Curves,
    Spans,
)

ISSUER_FAULT = 0.001
BASE = np.array([5.2, -1.0, -4.5])
WEIGHT = np.array([0.5, 1.0, 0.5])
TIRED = 0.15
SAME_FUNDS, SAME_REFUSED = 0.1, 1.5

WORTH_LOST = 0.01
"""Rate a day at which what a member brings later shrinks while a bill is open."""
ANNOYED = 0.012
"""Probability that a member leaves over an attempt that the issuer declined."""
DISPUTE, DISPUTE_LATE, DISPUTE_BACKUP = 0.002, 7.0, 2.0
"""Probability that a charge is disputed: so much on the day that it is due, as much again for each
7 days that it is late, and twice that on a card that is not the preferred one."""
DISPUTE_FEE = 1_500
"""What a dispute costs beside the amount, in cents."""


class Charges(NamedTuple):
    """Attempts to charge, as integer arrays that broadcast together.

    `row` is a renewal's number, `place` that of the card among its cards, and `processor` that in
    `PROCESSORS`, all from 0; `second` counts from the start of day 0.
    """

    row: Ints
    place: Ints
    processor: Ints
    second: Ints


class Standing(NamedTuple):
    """How far invoices have come, as integer arrays [B]: all that the truth needs of their past.

    `earlier` is the number of attempts on the renewal `row`. The last soft decline is `outcome` (0
    if there was none), of the card in `place`, at `second`.
    """

    row: Ints
    earlier: Ints
    outcome: Ints
    place: Ints
    second: Ints


class Gates(NamedTuple):
    """P(technical), P(issuer_down), 1 if alive, f, and the log odds of s before any attempt."""

    technical: Floats
    issuer_down: Floats
    alive: Floats
    funds: Floats
    trust: Floats

    def odds(self, earlier: Ints | int, same: Ints | int) -> Floats:
        """The probabilities [..., 6] of `OUTCOMES`, from number of earlier attempts and `same`.

        `same` is the soft outcome that this card had last on this bank day, 0 if none.

        >>> none, sure = np.array(0.0), np.array(1.0)
        >>> Gates(none, none, sure, sure / 2, none).odds(0, 0).tolist()
        [0.25, 0.0, 0.0, 0.0, 0.5, 0.25]
        """
        funds = np.where(np.equal(same, FUNDS), SAME_FUNDS, 1.0) * self.funds
        again = SAME_REFUSED * np.equal(same, REFUSED)
        passes = sigmoid(np.asarray(self.trust - TIRED * np.asarray(earlier) - again))
        asked = 1 - self.technical
        answered = asked * (1 - self.issuer_down)
        open_ = answered * self.alive
        parts = (
            open_ * funds * passes,
            self.technical,
            asked * self.issuer_down,
            answered * (1 - self.alive),
            open_ * (1 - funds),
            open_ * funds * (1 - passes),
        )
        return np.stack(np.broadcast_arrays(*parts), axis=-1)


class Truth:
    """The formulas above, and what an attempt costs and brings.

    Every probability holds for a member who has not left.
    """

    def __init__(
        self, settings: PaymentsSettings, bills: Bills, outages: Spans, issuer_outages: Spans
    ) -> None:
        self.bills, self.payers = bills, bills.payers
        self.clock = Clock(settings.start, settings.days)
        self.paydays = Paydays(settings.start, settings.days)
        self.curves = Curves(settings.seed)
        self.outages, self.issuer_outages = outages, issuer_outages
        self._credit = self.payers.funding == FUNDINGS.index("credit")
        self._fees = np.array([[p.fee_approved, p.fee_declined] for p in PROCESSORS])
        self._shares = np.array([p.fee_share for p in PROCESSORS])

    def local(self, row: Ints, second: Ints) -> NDArray[np.int64]:
        """What the member's clock shows, in seconds after the midnight of day 0."""
        return self.clock.local(self.payers.zone[self.bills.member[row]], second)

    def bank_day(self, row: Ints, second: Ints) -> NDArray[np.int64]:
        """The number of the member's bank day at a second."""
        return bank_day(self.local(row, second))

    def technical(self, charge: Charges) -> Floats:
        """P(technical)."""
        row, place, processor, second = charge
        lost = 1 - (1 - FAULTS[processor]) * (1 - LOST * self.outages.cover(processor, second))
        network = self.payers.network[self.bills.member[row], place]
        reached = self.curves.reach[processor, self.bills.country[row], network]
        failed: Floats = np.where(reached, lost, 1.0)
        return failed

    def issuer_down(self, charge: Charges) -> Floats:
        """P(issuer_down), if the processor reaches the issuer."""
        issuer = self.payers.issuer[self.bills.member[charge.row], charge.place]
        down = self.issuer_outages.cover(issuer, charge.second)
        failed: Floats = np.where(down, LOST_AT_ISSUER, ISSUER_FAULT)
        return failed

    def alive(self, charge: Charges) -> Floats:
        """1 if the card is alive, else 0."""
        alive: Floats = (self.bills.cause[charge.row, charge.place] == ALIVE).astype(np.float64)
        return alive

    def funds(
        self, charge: Charges, schedule: Ints | None = None, means: Ints | None = None
    ) -> Floats:
        """f before any attempt: of the truth, or of another schedule and other means."""
        member = self.bills.member[charge.row]
        paid = self.payers.schedule[member] if schedule is None else schedule
        filled = self.bills.means[charge.row, charge.place] if means is None else means
        phase = self.paydays.phase(paid, self.local(charge.row, charge.second))
        return funds(filled, self._credit[member, charge.place], phase)

    def trust(self, charge: Charges, suspicion: Ints | None = None) -> Floats:
        """The log odds of s before any attempt: of the truth, or if suspicion were this."""
        row, place, processor, second = charge
        member = self.bills.member[row]
        held = self.bills.suspicion[row, place] if suspicion is None else suspicion
        issuer, network = self.payers.issuer[member, place], self.payers.network[member, place]
        hour = self.curves.hour(self.bills.country[row], self.local(row, second))
        added = self.curves.added[processor, issuer, network] + hour
        logit: Floats = BASE[held] + WEIGHT[held] * added
        return logit

    def gates(self, charge: Charges) -> Gates:
        """The gates that an attempt passes, each as it would be without earlier attempts."""
        return Gates(
            self.technical(charge),
            self.issuer_down(charge),
            self.alive(charge),
            self.funds(charge),
            self.trust(charge),
        )

    def odds(self, charge: Charges, standing: Standing) -> Floats:
        """The probabilities [..., 6] of `OUTCOMES` of attempts on invoices that stand so."""
        return self.gates(charge).odds(standing.earlier, self.again(charge, standing))

    def again(self, charge: Charges, standing: Standing) -> NDArray[np.int64]:
        """The soft outcome that counts against attempts: of this card and bank day, or 0."""
        today = self.bank_day(charge.row, charge.second)
        same = today == self.bank_day(standing.row, standing.second)
        return np.where(same & (charge.place == standing.place), standing.outcome, 0)

    def fee(self, row: Ints, processor: Ints, approved: bool) -> NDArray[np.int64]:
        """What an attempt costs, in minor units of the invoice."""
        cents = self._fees[processor, 0 if approved else 1] / self.bills.cents[row]
        share = self._shares[processor] * self.bills.amount[row] if approved else 0.0
        fee: NDArray[np.int64] = np.rint(cents + share).astype(np.int64)
        return fee

    def late(self, row: Ints, second: Ints) -> Floats:
        """Days since the invoice was due, 0 before."""
        late: Floats = np.maximum(second - self.bills.due[row], 0) / DAY
        return late

    def dispute(self, charge: Charges) -> Floats:
        """The probability that an approved charge is disputed."""
        late = 1 + self.late(charge.row, charge.second) / DISPUTE_LATE
        return DISPUTE * late * np.where(np.equal(charge.place, 0), 1.0, DISPUTE_BACKUP)

    def value(self, charge: Charges) -> Floats:
        """What an approval brings, in cents of EUR.

        amount + worth exp(-0.01 days late) - fee - P(dispute) (amount + 1500 cents).
        """
        row, bills = charge.row, self.bills
        worth = bills.worth[row] * np.exp(-WORTH_LOST * self.late(row, charge.second))
        earned = bills.amount[row] + worth - self.fee(row, charge.processor, True)
        lost = bills.cents[row] * bills.amount[row] + DISPUTE_FEE
        value: Floats = bills.cents[row] * earned - self.dispute(charge) * lost
        return value
