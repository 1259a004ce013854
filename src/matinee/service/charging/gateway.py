"""The contract of a gateway: what charges an instrument at a processor."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from matinee.lake.billing import Attempt, Instrument


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor says came of a charge. Codes stand as they came; amounts in minor units.

    *failed* says that it was surely not charged and that the key will not be charged later.

    >>> Answer(status="declined", code="51").fee
    0
    """

    status: Literal["approved", "declined", "failed"]
    code: str | None = None
    category: str | None = None
    advice: str | None = None
    processor_code: str | None = None
    fee: int = 0
    penalty: int = 0


class NoAnswerError(Exception):
    """Nobody knows what came of it: it may have been charged."""


class Gateway(Protocol):
    """Charges at one processor. Called from several threads.

    Whatever either method raises means that it may have been charged: only an `Answer` settles an
    attempt, and only `None` says that the processor never heard of it.
    """

    def charge(self, attempt: Attempt, instrument: Instrument) -> Answer:
        """Charge the attempt's amount. `attempt.attempt_id` is the idempotency key: the same again
        charges nothing and brings the same answer.
        """
        ...

    def find(self, attempt_id: str) -> Answer | None:
        """What came of the charge with that key; `None` where the processor never heard of it."""
        ...
