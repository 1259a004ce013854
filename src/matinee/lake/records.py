"""The rows that enter and leave Matinee: one `msgspec.Struct` a table.

These are the public types of the platform. The HTTP API decodes them, importers produce them,
the simulated world speaks in them, and the lake derives its columns from them
(:mod:`matinee.lake.schemas`). Times are timezone-aware; ids are opaque text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Id = Annotated[
    str, Meta(min_length=1, max_length=200, description="an opaque id, compared byte for byte")
]
MemberId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=r"^[^@]*$",
        description="a pseudonymous id of a member; never a name or an e-mail address",
    ),
]
Country = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=2,
        pattern="^[A-Z]{2}$",
        description="ISO 3166-1 alpha-2 code",
        examples=["NL", "US"],
    ),
]
Device = Annotated[
    str, Meta(min_length=1, max_length=40, description="device class: tv, phone, web")
]
Time = Annotated[datetime, Meta(tz=True, description="RFC 3339 time with its offset")]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Index = Annotated[int, Meta(ge=0, le=2**31 - 1, description="a position in a list, from 0")]

Kind = Literal["impression", "click", "play", "complete", "rating", "thumb", "search"]

VALUE_UNITS: dict[str, str] = {
    "impression": "none",
    "click": "none",
    "play": "minutes watched",
    "complete": "share of the runtime, 0 to 1",
    "rating": "stars, 0.5 to 5",
    "thumb": "-1 down, 1 up, 2 two thumbs up",
    "search": "none",
}
"""What `Event.value` measures, by kind."""


class Event(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Something a member did, or was shown.

    `event_id` makes a report idempotent: a second event of the same member and id is acknowledged
    and dropped. `decision_id` and `position` say which decision the event answers to. Unless it is
    a search it names a title, or a decision: which may be of something else, such as a message.

    >>> Event(event_id="e1", member_id="m1", kind="play", title_id="t1",
    ...       ts=datetime(2026, 1, 1, tzinfo=UTC), value=42.0).value
    42.0
    """

    event_id: Annotated[
        Id, Meta(description="the report's own id: the same again of one member is dropped")
    ]
    member_id: MemberId
    kind: Kind
    ts: Annotated[Time, Meta(description="when it happened")]
    title_id: Annotated[Id, Meta(description="the title that it is about")] | None = None
    value: float | None = None
    decision_id: Annotated[Id, Meta(description="the decision that it answers to")] | None = None
    position: Annotated[int, Meta(ge=0, le=10_000, description="0 is the first slot")] | None = None
    country: Country | None = None
    device: Device | None = None


class Member(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A member of the service; the latest row known at a time is the member at that time."""

    member_id: MemberId
    country: Country | None = None
    joined_at: Annotated[Time, Meta(description="when the member joined")] | None = None


class Title(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A film or a series in the catalogue; the latest row known at a time counts."""

    title_id: Id
    name: Annotated[str, Meta(description="as members see it", min_length=1, max_length=500)]
    year: Annotated[int, Meta(description="year of release", ge=1870, le=2200)] | None = None
    genres: Annotated[list[str], Meta(description="genres, the main one first")] = msgspec.field(
        default_factory=list
    )
    cast: Annotated[list[str], Meta(description="actors, by billing")] = msgspec.field(
        default_factory=list
    )
    synopsis: Annotated[str, Meta(description="what it is about")] | None = None
    runtime_minutes: Annotated[float, Meta(description="minutes", gt=0, le=100_000)] | None = None


class Window(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """When a title may be shown in a country. A title without any window is always available."""

    title_id: Annotated[Id, Meta(description="the title that may be shown")]
    country: Annotated[
        str, Meta(pattern=r"^([A-Z]{2}|\*)$", description="'*' is every country")
    ] = "*"
    starts_at: Annotated[Time, Meta(description="from then on; empty: always was")] | None = None
    ends_at: Annotated[Time, Meta(description="no longer from then on; empty: stays")] | None = None


class Picture(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A picture that may stand for a title; the latest row known at a time counts.

    `features` say what is in it, who, and how it looks: the more of it, the nearer to 1
    (``{"Romance": 1.0, "cast: Kate Winslet": 1.0, "dark": 0.7}``). `files` names its crops by their
    ratio (``{"16:9": "heat/7-16x9.jpg"}``), in the folder `artwork` of the service. What may be
    shown to whom: `countries` (none: everywhere), `min_age` in years, from `starts_at` and before
    `ends_at`, and never while `barred` gives a reason.

    >>> Picture(picture_id="heat-7", title_id="heat", features={"Crime": 1.0}).fixed
    False
    """

    picture_id: Annotated[Id, Meta(description="an id of its own, not that of a title's other one")]
    title_id: Annotated[Id, Meta(description="the title that it stands for")]
    features: Annotated[
        dict[str, float], Meta(description="what is in it, who, and how it looks; 0 to 1, as JSON")
    ] = {}
    files: Annotated[
        dict[str, str], Meta(description="its crops by ratio, in the folder artwork, as JSON")
    ] = {}
    fixed: Annotated[bool, Meta(description="the one that a title has where nothing is chosen")] = (
        False
    )
    countries: Annotated[
        list[Country], Meta(description="where it may be shown; empty: everywhere")
    ] = msgspec.field(default_factory=list)
    min_age: Annotated[int, Meta(description="years, from which it may be seen", ge=0, le=21)] = 0
    starts_at: Annotated[Time, Meta(description="from then on; empty: always was")] | None = None
    ends_at: Annotated[Time, Meta(description="no longer from then on; empty: stays")] | None = None
    barred: Annotated[str, Meta(description="why it may not be shown at all")] | None = None


class Masked(msgspec.Struct, frozen=True):
    """A mask that took candidates away, why, and how many."""

    name: str
    reason: str
    count: int


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision, with all that is needed to judge it later and to ask any policy for its own.

    The eligible set stands once in the lake under its content hash (`eligible`); `removed` lists
    the positions in it that this decision could not use (already on the page, already watched).
    `segment` and `scores` hold what the policy drew from: positions in the eligible set and the
    logits there. With `policy`, `seed` and these the logging distribution can be rebuilt exactly.

    `propensities[j]` is the probability of `actions[j]` given the actions before it when
    `propensity_kind` is "conditional", of that action in that slot when "marginal"; "joint" has
    one entry, the probability of the whole list. `subject` is what the decision is about where a
    surface chooses for a member and something else together, such as a picture for a title.
    """

    decision_id: Annotated[Id, Meta(description="made from surface, member, request and row")]
    request_id: Annotated[Id, Meta(description="the app's id of its request")]
    surface: Annotated[Id, Meta(description="where it was decided")]
    member_id: MemberId
    at: Annotated[Time, Meta(description="when it was decided")]
    policy: Annotated[Id, Meta(description="the version that decided, such as titles@3")]
    actions: Annotated[list[str], Meta(description="what was chosen, in order of slot")]
    propensities: Annotated[
        list[Probability], Meta(description="the probability of each action, 0 to 1")
    ]
    propensity_kind: Literal["conditional", "marginal", "joint"]
    eligible: Annotated[str, Meta(description="content hash of the eligible set")]
    removed: Annotated[
        list[Index], Meta(description="positions in the eligible set that masks took away")
    ]
    segment: Annotated[
        list[Index], Meta(description="positions in the eligible set that the draw was made from")
    ]
    scores: Annotated[list[float], Meta(description="logits of the segment")]
    seed: Annotated[int, Meta(description="of the draw", ge=0, le=2**63 - 1)]
    row: Annotated[str, Meta(description="the row of a page")] | None = None
    arm: Annotated[str, Meta(description="the arm of an experiment")] | None = None
    subject: Annotated[Id, Meta(description="what it is about, a title")] | None = None
    context: Annotated[dict[str, Any], Meta(description="what was known, as JSON")] = {}
    context_hash: Annotated[str, Meta(description="BLAKE2b of the context")] = ""
    masks: Annotated[
        list[Masked], Meta(description="what was taken away, why and how many, as JSON")
    ] = []


class Eligible(msgspec.Struct, frozen=True, kw_only=True):
    """A set of candidates stored once under its content hash, in ascending order of id."""

    eligible: Annotated[str, Meta(description="content hash of the set")]
    candidates: Annotated[list[str], Meta(description="ids, ascending")]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one position of one decision, once its attribution window has closed."""

    decision_id: Annotated[Id, Meta(description="the decision")]
    member_id: MemberId
    surface: Annotated[Id, Meta(description="where it was decided")]
    position: Annotated[Index, Meta(description="the slot, from 0")]
    action: Annotated[str, Meta(description="what stood in the slot")]
    reward: Annotated[
        float,
        Meta(description="in the surface's reward range; titles: 1 for a play that counts, else 0"),
    ]
    decided_at: Annotated[Time, Meta(description="when it was decided")]
    closed_at: Annotated[Time, Meta(description="when the window and the grace after it ended")]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def micros(time: datetime) -> int:
    """Microseconds since 1970-01-01 UTC.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    delta = time - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(us: int) -> datetime:
    """The UTC time of that many microseconds since 1970-01-01.

    >>> from_micros(1_000_005)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=datetime.timezone.utc)
    """
    seconds, rest = divmod(us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
