"""The rows of payments: what is due, what it may be charged to, what was tried, and what it cost.

Amounts are whole numbers of the minor unit of their currency (ISO 4217: cents of EUR, yen of JPY).
A card's number never stands in any of them: instruments have ids of their own, and text that looks
like a number is refused (:mod:`matinee.lake.cards`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from matinee.lake.records import Country, Id, MemberId, Time

Amount = Annotated[
    int, Meta(ge=0, le=10**12, description="in minor units of the currency (cents, yen)")
]
Price = Annotated[
    int, Meta(gt=0, le=10**12, description="in minor units of the currency, more than none")
]
Balance = Annotated[
    int, Meta(ge=-(10**12), le=10**12, description="in minor units, below 0 where it is a loss")
]
Currency = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=3,
        pattern="^[A-Z]{3}$",
        description="ISO 4217 code",
        examples=["EUR", "JPY"],
    ),
]
Code = Annotated[
    str, Meta(min_length=1, max_length=40, pattern=r"^[0-9A-Za-z_.-]+$", description="a raw code")
]
Network = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=40,
        pattern="^[a-z][a-z0-9_-]*$",
        description="the scheme: visa, mastercard, amex, discover, jcb, unionpay, sepa, ...",
    ),
]

Status = Literal["sent", "unknown", "failed", "declined", "approved"]

STATUSES: dict[str, str] = {
    "sent": "on its way to the processor: written before it goes out",
    "unknown": "no answer came: it may have been charged",
    "failed": "surely not charged: the processor refused it or could not be reached",
    "declined": "the issuer said no",
    "approved": "charged",
}
"""What an attempt's status means; of several reports on one the last in this order holds."""


class Invoice(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a member is to pay for one period; the latest row known at a time counts.

    `instruments` may be charged for it, the one that the member prefers first. At `grace_until` the
    service goes off and trying ends. `worth` is what the member is expected to bring later if the
    service stays on, less that if it goes off, without this invoice.
    """

    invoice_id: Annotated[Id, Meta(description="the bill")]
    member_id: MemberId
    amount: Price
    currency: Currency
    due_at: Annotated[Time, Meta(description="when it is charged for the first time")]
    grace_until: Annotated[Time, Meta(description="when trying ends and the service goes off")]
    instruments: Annotated[
        list[Id], Meta(description="what may be charged, the preferred one first")
    ]
    country: Country | None = None
    timezone: (
        Annotated[
            str,
            Meta(
                max_length=64,
                pattern=r"^[A-Za-z0-9_+/-]+$",
                description="the member's, as IANA names it: Europe/Amsterdam",
            ),
        ]
        | None
    ) = None
    worth: Annotated[Balance, Meta(description="of the member later, on less off service")] = 0
    closed: (
        Annotated[Literal["paid", "lapsed", "void"], Meta(description="how it ended, if it has")]
        | None
    ) = None
    closed_at: Annotated[Time, Meta(description="when it ended")] | None = None


class Instrument(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What may be charged: a card, a mandate, a wallet; the latest row known at a time counts.

    `fingerprint` is the same for the same card on several accounts: the limits of networks are
    counted by it, and by `instrument_id` where it is not known.
    """

    instrument_id: Annotated[Id, Meta(description="an id of its own; never the number of a card")]
    member_id: MemberId
    kind: Annotated[
        Literal["card", "direct_debit", "wallet"], Meta(description="card, mandate or wallet")
    ]
    network: Network
    issuer: (
        Annotated[
            str, Meta(min_length=1, max_length=40, description="a name, or the first 6 to 8 digits")
        ]
        | None
    ) = None
    issuer_country: Annotated[Country, Meta(description="of who issued it")] | None = None
    funding: (
        Annotated[Literal["credit", "debit", "prepaid"], Meta(description="where the money is")]
        | None
    ) = None
    expires: (
        Annotated[
            str,
            Meta(
                min_length=7,
                max_length=7,
                pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$",
                description="the last month in which it is good: 2027-03",
            ),
        ]
        | None
    ) = None
    tokenised: Annotated[bool, Meta(description="whether it is a token of the network")] = False
    fingerprint: Annotated[Id, Meta(description="the same for the same card")] | None = None
    revoked_at: (
        Annotated[Time, Meta(description="when the member took the mandate back")] | None
    ) = None


class Attempt(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A report on one attempt to charge: one row for each status that it had.

    `attempt_id` is the idempotency key that goes to the processor. What it answered stands as it
    came (`code`, `category`, `advice`, `processor_code`), and beside it the one of our reasons that
    it was read as, by which version of the mapping. Fees may be reported again with a later status.
    """

    attempt_id: Annotated[Id, Meta(description="the idempotency key of the charge")]
    member_id: MemberId
    invoice_id: Annotated[Id, Meta(description="the bill")]
    instrument_id: Annotated[Id, Meta(description="what is charged")]
    processor: Annotated[Id, Meta(description="who charges")]
    status: Status
    at: Annotated[Time, Meta(description="when it came to have this status")]
    amount: Price
    currency: Currency
    decision_id: Annotated[Id, Meta(description="the decision that it carries out")] | None = None
    initiator: Annotated[
        Literal["merchant", "member"], Meta(description="whether the member was there")
    ] = "merchant"
    code: Annotated[Code, Meta(description="field 39 of ISO 8583, raw")] | None = None
    category: Annotated[Code, Meta(description="the scheme's category of the code")] | None = None
    advice: Annotated[Code, Meta(description="merchant advice code")] | None = None
    processor_code: Annotated[Code, Meta(description="the processor's own code")] | None = None
    reason: Annotated[Code, Meta(description="what all that was read as")] | None = None
    mapping: Annotated[Code, Meta(description="the version of the mapping")] | None = None
    fee: Annotated[Amount, Meta(description="of the processor, in minor units")] = 0
    penalty: Annotated[Amount, Meta(description="of the network, in minor units")] = 0


class Settlement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Money that moved, or moved back, after an attempt was approved."""

    settlement_id: Annotated[Id, Meta(description="the report's own id")]
    member_id: MemberId
    attempt_id: Annotated[Id, Meta(description="the attempt that was approved")]
    kind: Annotated[
        Literal["capture", "refund", "chargeback", "reversal"], Meta(description="what happened")
    ]
    amount: Price
    currency: Currency
    at: Annotated[Time, Meta(description="when it happened")]
    fee: Annotated[Amount, Meta(description="of a dispute, in minor units")] = 0


class Processor(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Who can charge, for how much; the latest row known at a time counts.

    A fee is `fee_approved` or `fee_declined`, in minor units of `currency`, and `fee_share` of an
    approved amount. `least` is how many attempts a calendar month (UTC) it is promised.
    """

    processor: Annotated[Id, Meta(description="its name, as attempts have it")]
    currency: Annotated[Currency, Meta(description="of its fees")]
    fee_approved: Annotated[Amount, Meta(description="of an approved attempt, in minor units")] = 0
    fee_declined: Annotated[Amount, Meta(description="of any other, in minor units")] = 0
    fee_share: Annotated[float, Meta(ge=0, le=1, description="of an approved amount")] = 0.0
    currencies: Annotated[list[Currency], Meta(description="it charges; empty: all")] = (
        msgspec.field(default_factory=list)
    )
    countries: Annotated[list[Country], Meta(description="of invoices; empty: all")] = (
        msgspec.field(default_factory=list)
    )
    networks: Annotated[list[Network], Meta(description="it reaches; empty: all")] = msgspec.field(
        default_factory=list
    )
    least: Annotated[int, Meta(ge=0, le=10**9, description="attempts a month, as promised")] = 0
    enabled: Annotated[bool, Meta(description="whether it is used at all")] = True


class Outage(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """When a processor did not work: nothing is sent there, and nothing is learned from it."""

    processor: Annotated[Id, Meta(description="its name, as attempts have it")]
    starts_at: Annotated[Time, Meta(description="from then on")]
    ends_at: Annotated[Time, Meta(description="works again from then on; empty: lasts")] | None = (
        None
    )
    source: Annotated[str, Meta(max_length=500, description="who says so")] = "measured"


class NetworkRule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A rule of a network, a law or the service itself, from when to when, and who says so.

    By `kind`: **never** again after one of `codes`; **wait** `hours` after one of them; **limit**:
    at most `most` attempts in `hours`, with the same `per`; **fee** of `fee` for each attempt
    beyond `most` in `hours`, or after one of `codes`; **quiet** from `from_hour` to `to_hour` of
    the member's day. A rule holds for attempts at ``starts_at <= at < ends_at``.
    """

    rule_id: Annotated[Id, Meta(description="a name of its own")]
    network: Annotated[
        str, Meta(pattern=r"^([a-z][a-z0-9_-]*|\*)$", description="'*' is every network")
    ]
    kind: Annotated[
        Literal["never", "wait", "limit", "fee", "quiet"], Meta(description="what it says")
    ]
    source: Annotated[
        str, Meta(min_length=1, max_length=500, description="document or page, and its date")
    ]
    region: Annotated[
        str, Meta(pattern=r"^([A-Z]{2}|\*)$", description="of the issuer; '*' is everywhere")
    ] = "*"
    starts_at: Annotated[Time, Meta(description="from then on; empty: always was")] | None = None
    ends_at: Annotated[Time, Meta(description="no longer from then on; empty: stays")] | None = None
    field: Annotated[
        Literal["code", "category", "advice", "reason"],
        Meta(description="which column of attempts the codes are of"),
    ] = "code"
    codes: Annotated[list[str], Meta(description="raw codes, or reasons")] = msgspec.field(
        default_factory=list
    )
    most: Annotated[int, Meta(ge=0, le=10_000, description="attempts")] | None = None
    hours: Annotated[float, Meta(gt=0, le=20_000, description="hours")] | None = None
    per: Annotated[
        Literal["card", "card_amount", "invoice"],
        Meta(description="what attempts have in common that are counted together"),
    ] = "card"
    fee: Annotated[Amount, Meta(description="for each such attempt, in minor units")] = 0
    currency: Annotated[Currency, Meta(description="of the fee")] | None = None
    from_hour: Annotated[int, Meta(ge=0, le=23, description="of the member's day")] | None = None
    to_hour: Annotated[int, Meta(ge=0, le=23, description="of the member's day")] | None = None
