"""What can be known of the truth without seeing into accounts: the posterior given what was tried.

Whoever knows every formula and every number of the world, but of a member only the country, the
clock, the cards and what processors answered on this invoice, does not know the pay-day, how the
account is filled, whether the issuer is suspicious, whether the card is dead, or when something is
down. Those are summed over with their probabilities by Bayes' rule; cards depend on each other
through the member's pay-day alone. Other months of the member would tell more; they are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from matinee.lake.billing import Attempt
from matinee.world.approval import ISSUER_FAULT, Charges, Gates, Standing
from matinee.world.declines import APPROVED, DEAD, ISSUER_DOWN, OF_CODE, TECHNICAL
from matinee.world.paydays import BAD_MONTH, MEANS, MEANS_SHARES, SCHEDULES, TIGHT, Floats, usual
from matinee.world.payers import BACKUP, DIE, EXPIRE, SUSPICION
from matinee.world.payments import PaymentsWorld
from matinee.world.processors import (
    FAULTS,
    ISSUER_OUTAGES_A_MONTH,
    LANDS,
    LOST,
    LOST_AT_ISSUER,
    OUTAGE_HOURS,
    OUTAGES_A_MONTH,
)

HOURS_OUT = sum(OUTAGE_HOURS) / 2
DOWN = OUTAGES_A_MONTH * HOURS_OUT / 720
ISSUER_AWAY = ISSUER_OUTAGES_A_MONTH * HOURS_OUT / 720
"""Share of the time that a processor, and an issuer, is down."""
PENDING = ("sent", "unknown")
# A tight account is broke in some months.
MEANS_IN_A_MONTH = np.array(MEANS_SHARES) + MEANS_SHARES[TIGHT] * BAD_MONTH * np.array([0, -1, 1])


def chance_known(
    world: PaymentsWorld,
    invoice_id: str,
    instrument_id: str,
    processors: Sequence[str],
    at: Sequence[datetime],
    *,
    tried: Sequence[Attempt] = (),
) -> Floats:
    """The probability [P, H] of approval by what can be known; by the truth it is `world.chance`.

    Attempts in `tried` count if they are on this invoice. Raises `ValueError` as `world.odds`.

    >>> from matinee.world.payments_settings import PaymentsSettings
    >>> world = PaymentsWorld(PaymentsSettings(members=50, days=30))
    >>> due = world.invoices()[0]
    >>> asked = due.invoice_id, due.instruments[0], ["alder", "birch"], [due.due_at]
    >>> chance_known(world, *asked).round(2).tolist()
    [[0.9], [0.9]]
    """
    charge = world.charges(invoice_id, instrument_id, processors, at)
    posterior = posteriors(world, invoice_id, tried)[int(charge.place)]
    standing = world.standing(invoice_id, tried)
    approved = supposed(world, charge, standing)[..., APPROVED]
    known: Floats = np.einsum("smq,smqph->ph", posterior, approved)
    return known


def supposed(world: PaymentsWorld, charge: Charges, standing: Standing) -> Floats:
    """The probabilities [S, M, Q, P, H, 6] of `OUTCOMES` for a card that is alive.

    For each of `SCHEDULES`, each way that the account is filled, and each level of suspicion.
    """
    truth = world.truth
    schedule = np.arange(len(SCHEDULES))[:, None, None, None, None]
    means, suspicion = np.arange(len(MEANS))[:, None, None, None], np.arange(len(SUSPICION))
    reached = truth.technical(charge) < 1
    gates = Gates(
        np.where(reached, 1 - (1 - FAULTS[charge.processor]) * (1 - LOST * DOWN), 1.0),
        np.array(ISSUER_FAULT + (LOST_AT_ISSUER - ISSUER_FAULT) * ISSUER_AWAY),
        np.array(1.0),
        truth.funds(charge, schedule, means),
        truth.trust(charge, suspicion[:, None, None]),
    )
    return gates.odds(standing.earlier, truth.again(charge, standing))


def posteriors(world: PaymentsWorld, invoice_id: str, tried: Sequence[Attempt]) -> list[Floats]:
    """For each card of an invoice the probability [S, M, Q] that it is alive and all that is so."""
    row = world.row(invoice_id)
    cards = range(int(world.payers.cards[world.bills.member[row]]))
    dead = [_dead(world, row, place) for place in cards]
    prior = np.multiply.outer(MEANS_IN_A_MONTH, np.array(SUSPICION))
    alive = [(1 - dies) * np.tile(prior, (len(SCHEDULES), 1, 1)) for dies in dead]
    answered = [a for a in tried if a.invoice_id == invoice_id and a.status not in PENDING]
    ours = sorted(answered, key=lambda attempt: attempt.at)
    for number, attempt in enumerate(ours):
        charge = world.charges(invoice_id, attempt.instrument_id, [attempt.processor], [attempt.at])
        place, outcome = int(charge.place), _outcome(attempt)
        if outcome == DEAD:
            alive[place], dead[place] = 0.0 * alive[place], 1.0
        elif outcome not in (TECHNICAL, ISSUER_DOWN):
            standing = world.standing(invoice_id, ours[:number])
            alive[place] *= supposed(world, charge, standing)[..., 0, 0, outcome]
            dead[place] = 0.0
    shares = [some.sum(axis=(1, 2)) + rest for some, rest in zip(alive, dead, strict=True)]
    together = usual(LANDS[world.bills.country[row]]) * np.prod(shares, axis=0)
    together /= together.sum()
    each = zip(alive, shares, strict=True)
    return [some * (together / share)[:, None, None] for some, share in each]


def _dead(world: PaymentsWorld, row: int, place: int) -> float:
    """The probability that a card is dead before it is tried: it has expired, or one cannot see."""
    card, often = world.card(row, place), BACKUP if place else 1.0
    due = f"{world.settings.time(world.bills.due[row]):%Y-%m}"
    if card.expires is not None and card.expires < due:
        return 1.0
    return DIE * often / (1 - EXPIRE * often * (not card.tokenised))


def _outcome(attempt: Attempt) -> int:
    if attempt.status != "declined":
        return APPROVED if attempt.status == "approved" else TECHNICAL
    code = attempt.code or ""
    return ISSUER_DOWN if code == "91" else OF_CODE.get(code, DEAD)
