"""What processors answer: an outcome put into words, with its fees and what networks charge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from math import log1p
from typing import Literal

import msgspec
import numpy as np

from matinee.lake.billing import Attempt, Invoice, NetworkRule
from matinee.world.approval import ANNOYED, Charges, Truth
from matinee.world.declines import APPROVED, DEAD, LEFT, OUTCOMES, SOFT, TECHNICAL, words
from matinee.world.paydays import Floats
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.processors import NAMES, NETWORKS

LUCK = 4
"""Uniform draws of an attempt: for its outcome, its words, its latency, and a member who leaves."""
TIMEOUT = 30.0
"""Seconds until a processor that is not there is given up."""


class Answer(msgspec.Struct, frozen=True):
    """What a processor answers to an attempt, as it reaches the service.

    `fee` and `penalty` are in minor units of the invoice's currency, `latency` in seconds. The last
    two are of the truth, and a service does not see them: `outcome` is one of `OUTCOMES`, and
    `leaves` says whether the member leaves over it, upon which the invoice is void.
    """

    status: Literal["failed", "declined", "approved"]
    code: str | None
    category: str | None
    advice: str | None
    processor_code: str
    fee: int
    penalty: int
    latency: float
    outcome: str
    leaves: bool

    def attempt(
        self, invoice: Invoice, place: int, processor: str, attempt_id: str, at: datetime
    ) -> Attempt:
        """As a report on the attempt, on the card in a place (from 0) of the invoice's list."""
        return Attempt(
            attempt_id=attempt_id,
            member_id=invoice.member_id,
            invoice_id=invoice.invoice_id,
            instrument_id=invoice.instruments[place],
            processor=processor,
            status=self.status,
            at=at,
            amount=invoice.amount,
            currency=invoice.currency,
            code=self.code,
            category=self.category,
            advice=self.advice,
            processor_code=self.processor_code,
            fee=self.fee,
            penalty=self.penalty,
        )


def luck(seed: int, name: str, ids: Sequence[str]) -> Floats:
    """`LUCK` uniform draws [N, 4] in [0, 1) for each id, of the seed, a purpose and the id alone.

    >>> luck(7, "answer", ["a", "b", "a"])[:, 0].round(3).tolist()
    [0.819, 0.753, 0.819]
    """
    key = f"{seed} {name}".encode()
    drawn = (blake2b(text.encode(), digest_size=8 * LUCK, key=key).digest() for text in ids)
    bits = np.frombuffer(b"".join(drawn), ">u8").reshape(-1, LUCK)
    uniform: Floats = (bits >> np.uint64(11)) * np.float64(2.0**-53)
    return uniform


class Answers:
    """The answers of a world's processors, and what networks charge for attempts."""

    def __init__(self, settings: PaymentsSettings, truth: Truth) -> None:
        self.settings, self.truth = settings, truth

    def told(
        self, charge: Charges, outcome: int, luck: Floats, tried: Iterable[Attempt] = ()
    ) -> Answer:
        """The answer that an outcome makes of one attempt; `tried` are earlier ones on the card."""
        bills, payers = self.truth.bills, self.truth.payers
        cause = int(bills.cause[charge.row, charge.place])
        if charge.second >= bills.leaves[charge.row] and outcome != TECHNICAL:
            outcome, cause = DEAD, LEFT
        network = NETWORKS[payers.network[bills.member[charge.row], charge.place]]
        said = words(outcome, cause, network, float(luck[1]))
        failed, approved = outcome == TECHNICAL, outcome == APPROVED
        at, rules = self.settings.time(int(charge.second)), self.settings.penalties
        cents = 0 if failed else penalty(rules, network, at, tried)
        return Answer(
            status="failed" if failed else "approved" if approved else "declined",
            code=said.code,
            category=said.category,
            advice=said.advice,
            processor_code=f"{NAMES[int(charge.processor)]}-{said.code or 'unavailable'}",
            fee=int(self.truth.fee(charge.row, charge.processor, approved)),
            penalty=round(cents / float(bills.cents[charge.row])),
            latency=TIMEOUT if failed else round(0.4 - 0.9 * log1p(-luck[2]), 3),
            outcome=OUTCOMES[outcome],
            leaves=outcome in (DEAD, *SOFT) and bool(luck[3] < ANNOYED),
        )


def penalty(
    rules: Iterable[NetworkRule], network: str, at: datetime, tried: Iterable[Attempt]
) -> int:
    """What networks charge for an attempt on a card, in cents: the sum over rules that it meets.

    `tried` are earlier reports on attempts on the same card. Only what reached the network counts:
    approvals and declines.

    >>> never = NetworkRule(rule_id="n", network="visa", kind="fee", source="s", codes=["41"],
    ...                     fee=10, currency="EUR")
    >>> penalty([never], "visa", datetime(2025, 1, 1), [])
    0
    """
    asked = {a.attempt_id: a for a in tried if a.status in ("approved", "declined")}
    if not asked:
        return 0
    return sum(
        rule.fee
        for rule in rules
        if rule.network in (network, "*") and _meets(rule, at, asked.values())
    )


def _meets(rule: NetworkRule, at: datetime, asked: Iterable[Attempt]) -> bool:
    if rule.codes:
        return any(getattr(attempt, rule.field) in rule.codes for attempt in asked)
    since = at - timedelta(hours=rule.hours or 0.0)
    return sum(since < attempt.at <= at for attempt in asked) >= (rule.most or 0)
