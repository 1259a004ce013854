"""Both doors, one verdict: a row sent over HTTP and the same row in a file."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matinee.lake.schemas import SCHEMAS
from matinee.lake.validate import problem, split

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CARDS = [
    "4111111111111111", "4111 1111 1111 1111", "378282246310005", "pan=5555-5555-5555-4444;",
    "４１１１１１１１１１１１１１１１", "\u0664\u0661\u0661\u0661" + "1" * 12,
    "4111\n1111\n1111\n1111", "6304000000000000 x", "4%311111111111111%31",
    "a\\u0034111111111111111", "2221000000000009",
]  # fmt: skip
NOT_CARDS = [
    "4111111111111112", "41111111111111111111", "4111a1111b1111c1111", "4111", "1" * 40,
    "4111 1111 1111   ,  1111", "2026-01-30 09:12:04.123456", "00000000000000", "4111½1111",
    "3f2504e0-4f89-41d3-9a0c-030545555555",
]  # fmt: skip
STRANGE = st.sampled_from(
    ["", "m1", "O'Brien", 'a"b', "a/../b", "..", "🎬", "a\nb", "NL\n", "*\n", "a\x00b", " ", "%s",
     "who@where.example", "@", "x" * 200, "x" * 201, "🎬" * 200, "🎬" * 201, "ﬀ", "\u202e", "null"]
)  # fmt: skip
TEXT = STRANGE | st.text(max_size=8) | st.sampled_from([*CARDS, *NOT_CARDS])
TIMES = st.sampled_from(
    [
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 5, 31, 23, 59, tzinfo=UTC),
        NOW + timedelta(minutes=5),
        NOW + timedelta(minutes=5, microseconds=1),
        datetime(2262, 4, 12, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ]
)
NUMBERS = st.sampled_from([-2.0, -1.0, -0.0, 0.5, 1.0, 2.5, 5.0, 5.5, 1e5, 1e5 + 1, math.nan])
REAL = NUMBERS | st.just(math.inf) | st.just(-math.inf) | st.floats(-3, 7)
COUNTRY = st.sampled_from(["NL", "nl", "N", "NLD", "N1", "NL\n", "*", "*\n", "ÑL", ""])
KINDS = st.sampled_from(["impression", "play", "complete", "rating", "thumb", "search", "Play", ""])
AMOUNTS = st.sampled_from([-(10**13), -1, 0, 1, 999, 10**12, 10**12 + 1, 4111111111111111])
CURRENCY = st.sampled_from(["EUR", "eur", "EU", "EUR\n", "E1R", "EURO", ""])
CODES = st.sampled_from(["05", "R0", "N-7", "", "0 5", "05\n", "x" * 41, "é", *CARDS])
NETWORKS = st.sampled_from(["visa", "Visa", "visa\n", "*", "*\n", "", "a" * 41, "v1"])
FLAGS = st.booleans()
COUNTS = st.sampled_from([-1, 0, 23, 24, 10_000, 10_001, 10**9, 10**9 + 1])
LEAVES = st.none() | FLAGS | st.integers(-10, 10) | st.floats(0, 1) | st.sampled_from(
    [4111111111111111, -4111111111111111, 4111111111111112, 4.2e15, 0.4111111111111111,
     4111111111111111.5, 1e300, 2**70, *CARDS, *NOT_CARDS]
)  # fmt: skip
CONTEXTS = st.dictionaries(
    st.sampled_from(["a", "b", *CARDS]),
    st.recursive(LEAVES, lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXT, one)),
    max_size=3,
)
LISTS = st.lists(st.sampled_from(["drama", "", "🎬"]) | st.none(), max_size=3)

ROWS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "events": {
        "event_id": TEXT, "member_id": TEXT, "kind": KINDS, "ts": TIMES,
        "title_id": st.none() | TEXT, "value": st.none() | REAL, "decision_id": st.none() | TEXT,
        "position": st.none() | st.sampled_from([-1, 0, 10_000, 10_001, 2**40]),
        "country": st.none() | COUNTRY, "device": st.none() | STRANGE,
    },
    "members": {
        "member_id": TEXT, "country": st.none() | COUNTRY, "joined_at": st.none() | TIMES,
    },
    "titles": {
        "title_id": TEXT, "name": TEXT, "year": st.none() | st.integers(1868, 2202),
        "genres": LISTS, "cast": LISTS, "synopsis": st.none() | STRANGE,
        "runtime_minutes": st.none() | REAL,
    },
    "windows": {
        "title_id": TEXT, "country": COUNTRY, "starts_at": st.none() | TIMES,
        "ends_at": st.none() | TIMES,
    },
    "outcomes": {
        "decision_id": TEXT, "member_id": TEXT, "surface": TEXT,
        "position": st.sampled_from([-1, 0, 2**31 - 1, 2**31]), "action": TEXT, "reward": REAL,
        "decided_at": TIMES, "closed_at": TIMES,
    },
    "decisions": {
        "decision_id": TEXT, "request_id": TEXT, "surface": TEXT, "member_id": TEXT, "at": TIMES,
        "policy": TEXT, "actions": LISTS,
        "propensities": st.lists(st.sampled_from([-0.1, 0.0, 0.5, 1.0, 1.1]), max_size=3),
        "propensity_kind": st.sampled_from(["joint", "marginal", "odd", ""]), "eligible": TEXT,
        "removed": st.lists(st.sampled_from([-1, 0, 2**31 - 1]), max_size=3),
        "segment": st.just([]), "scores": st.lists(st.floats(-2, 2), max_size=3),
        "seed": st.sampled_from([-1, 0, 4111111111111111]), "row": st.none() | TEXT,
        "subject": st.none() | TEXT, "context": CONTEXTS,
    },
    "invoices": {
        "invoice_id": TEXT, "member_id": TEXT, "amount": AMOUNTS, "currency": CURRENCY,
        "due_at": TIMES, "grace_until": TIMES,
        "instruments": st.lists(TEXT | st.none(), max_size=3),
        "country": st.none() | COUNTRY, "worth": st.none() | AMOUNTS,
        "timezone": st.none() | st.sampled_from(["Europe/Amsterdam", "Europe/Amsterdam\n", *CARDS]),
        "closed": st.none() | st.sampled_from(["paid", "Paid", "void", ""]),
        "closed_at": st.none() | TIMES,
    },
    "instruments": {
        "instrument_id": TEXT, "member_id": TEXT, "network": NETWORKS,
        "kind": st.sampled_from(["card", "direct_debit", "wallet", "cash", ""]),
        "issuer": st.none() | TEXT | CODES, "issuer_country": st.none() | COUNTRY,
        "funding": st.none() | st.sampled_from(["credit", "debit", "x"]),
        "expires": st.none() | st.sampled_from(["2027-03", "2027-13", "2027-3", "2027-03\n", ""]),
        "tokenised": st.none() | FLAGS, "fingerprint": st.none() | TEXT,
        "revoked_at": st.none() | TIMES,
    },
    "attempts": {
        "attempt_id": TEXT, "member_id": TEXT, "invoice_id": TEXT, "instrument_id": TEXT,
        "processor": TEXT, "at": TIMES, "amount": AMOUNTS, "currency": CURRENCY,
        "status": st.sampled_from(["sent", "unknown", "approved", "ok", ""]),
        "decision_id": st.none() | TEXT, "code": st.none() | CODES, "advice": st.none() | CODES,
        "initiator": st.none() | st.sampled_from(["merchant", "member", "Member"]),
        "fee": st.none() | AMOUNTS, "penalty": st.none() | AMOUNTS,
    },
    "settlements": {
        "settlement_id": TEXT, "member_id": TEXT, "attempt_id": TEXT, "amount": AMOUNTS,
        "kind": st.sampled_from(["capture", "refund", "gift"]), "currency": CURRENCY, "at": TIMES,
        "fee": st.none() | AMOUNTS,
    },
    "processors": {
        "processor": TEXT, "currency": CURRENCY, "fee_share": st.none() | REAL,
        "currencies": st.lists(CURRENCY | st.none(), max_size=3),
        "countries": st.lists(COUNTRY, max_size=3), "networks": st.lists(NETWORKS, max_size=3),
        "least": st.none() | COUNTS, "enabled": st.none() | FLAGS,
    },
    "outages": {
        "processor": TEXT, "starts_at": TIMES, "ends_at": st.none() | TIMES,
        "source": st.none() | TEXT | st.sampled_from(["x" * 500, "x" * 501]),
    },
    "rules": {
        "rule_id": TEXT, "network": NETWORKS, "source": TEXT, "region": COUNTRY,
        "kind": st.sampled_from(["never", "wait", "limit", "fee", "quiet", "no"]),
        "field": st.none() | st.sampled_from(["code", "reason", "x"]),
        "codes": st.lists(TEXT | st.none(), max_size=3), "most": st.none() | COUNTS,
        "hours": st.none() | REAL, "per": st.none() | st.sampled_from(["card", "invoice", "y"]),
        "from_hour": st.none() | COUNTS, "starts_at": st.none() | TIMES,
    },
}  # fmt: skip


def enters_as_a_record(table: str, row: dict[str, Any]) -> bool:
    schema = SCHEMAS[table]
    try:
        record = msgspec.convert({k: v for k, v in row.items() if v is not None}, schema.record)
    except msgspec.ValidationError:
        return False
    return problem(record, schema, NOW) is None


def frame_of_rows(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """As a file would bring them: nested values as JSON."""
    schema = SCHEMAS[table]
    names = sorted({name for row in rows for name in row})
    told = [
        [
            msgspec.json.encode(row[name]).decode()
            if name in schema.nested and name in row
            else row.get(name)
            for name in names
        ]
        for row in rows
    ]
    types = {name: schema.columns[name] for name in names}
    return pl.DataFrame(told, schema=types, orient="row")


def enters_in_a_frame(table: str, row: dict[str, Any]) -> bool:
    good, bad = split(frame_of_rows(table, [row]), SCHEMAS[table], NOW)
    assert good.height + bad.height == 1
    return good.height == 1


def same_verdicts(table: str, rows: list[dict[str, Any]]) -> None:
    """All rows in one frame, and each by itself."""
    one_by_one = [n for n, row in enumerate(rows, 1) if enters_as_a_record(table, row)]
    good, bad = split(frame_of_rows(table, rows), SCHEMAS[table], NOW)
    refused = dict(bad.select("source_row", "reason").iter_rows())
    assert good.height + bad.height == len(rows)
    assert [n for n in range(1, len(rows) + 1) if n not in refused] == one_by_one, refused


@pytest.mark.parametrize("table", ["events", "members", "titles", "windows", "outcomes"])
def test_both_doors_give_the_same_verdict(table: str) -> None:
    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.fixed_dictionaries(ROWS[table]), min_size=20, max_size=40))
    def agree(rows: list[dict[str, Any]]) -> None:
        same_verdicts(table, rows)

    agree()


SOUND: dict[str, dict[str, Any]] = {
    "decisions": {
        "decision_id": "d", "request_id": "r", "surface": "payments", "member_id": "m", "at": NOW,
        "policy": "payments@1", "actions": ["gold/1"], "propensities": [1.0],
        "propensity_kind": "joint", "eligible": "e", "removed": [], "segment": [], "scores": [],
        "seed": 1, "context": {},
    },
    "invoices": {
        "invoice_id": "i", "member_id": "m", "amount": 999, "currency": "EUR", "due_at": NOW,
        "grace_until": NOW, "instruments": ["c"],
    },
    "instruments": {"instrument_id": "c", "member_id": "m", "kind": "card", "network": "visa"},
    "attempts": {
        "attempt_id": "a", "member_id": "m", "invoice_id": "i", "instrument_id": "c",
        "processor": "gold", "status": "sent", "at": NOW, "amount": 999, "currency": "EUR",
    },
    "settlements": {
        "settlement_id": "s", "member_id": "m", "attempt_id": "a", "kind": "capture",
        "amount": 999, "currency": "EUR", "at": NOW,
    },
    "processors": {"processor": "gold", "currency": "EUR"},
    "outages": {"processor": "gold", "starts_at": NOW},
    "rules": {"rule_id": "r", "network": "*", "kind": "never", "source": "a page, 2026"},
}  # fmt: skip


@pytest.mark.parametrize("table", sorted(SOUND))
def test_sound_rows_with_a_strange_thing_or_two(table: str) -> None:
    changes = st.dictionaries(st.sampled_from(sorted(ROWS[table])), st.none(), max_size=2)

    @st.composite
    def rows(draw: st.DrawFn) -> dict[str, Any]:
        return {**SOUND[table], **{name: draw(ROWS[table][name]) for name in draw(changes)}}

    @settings(max_examples=12, deadline=None)
    @given(st.lists(rows(), min_size=20, max_size=40))
    @example([SOUND[table]])
    def agree(drawn: list[dict[str, Any]]) -> None:
        same_verdicts(table, drawn)

    agree()


@pytest.mark.parametrize("table", sorted(SOUND))
def test_a_sound_row_enters(table: str) -> None:
    assert enters_as_a_record(table, SOUND[table])
    assert enters_in_a_frame(table, SOUND[table])


def texts_of(table: str) -> list[str]:
    """Columns that may hold any text: where the number of a card may stray into."""
    schema = SCHEMAS[table]
    given_by_others = {"request_id", "subject", "context"}
    return [
        name
        for name, dtype in schema.columns.items()
        if dtype in (pl.String, pl.List(pl.String))
        and name not in {"kind", "status", "closed", "funding", "field", "per", "initiator"}
        and name not in {"currency", "currencies", "country", "countries", "issuer_country"}
        and name not in {"network", "networks", "expires", "region", "timezone"}
        and (table != "decisions" or name in given_by_others)
    ]


@pytest.mark.parametrize(
    ("table", "column"), [(table, name) for table in sorted(SOUND) for name in texts_of(table)]
)
def test_no_text_of_payments_holds_the_number_of_a_card(table: str, column: str) -> None:
    number = "4111-1111-1111-1111"
    nested, listed = {"deep": [{number: 1}]}, [number]
    is_list = isinstance(SCHEMAS[table].columns[column], pl.List)
    value = nested if column == "context" else listed if is_list else number
    row = {**SOUND[table], column: value}
    record = msgspec.convert(row, SCHEMAS[table].record)
    told = f"{column} seems to hold the number of a card: send a token or an id of your own instead"
    assert problem(record, SCHEMAS[table], NOW) == told
    _, bad = split(frame_of_rows(table, [row]), SCHEMAS[table], NOW)
    assert bad["reason"].to_list() == [told]


def test_what_matinee_makes_itself_and_typed_numbers_are_no_cards() -> None:
    number = "4111111111111111"
    made = dict.fromkeys(["decision_id", "eligible", "policy", "context_hash", "arm"], number)
    row = {**SOUND["decisions"], **made, "seed": int(number), "scores": [float(number)]}
    assert enters_as_a_record("decisions", row)
    assert enters_in_a_frame("decisions", row)
    invoice = {**SOUND["invoices"], "amount": 630400000000, "worth": 630400000000}
    assert enters_as_a_record("invoices", invoice)
    assert enters_in_a_frame("invoices", invoice)


def test_a_number_in_a_column_of_text_is_read_as_text() -> None:
    row = pl.DataFrame({**SOUND["attempts"], "attempt_id": 4111111111111111})
    _, bad = split(row, SCHEMAS["attempts"], NOW)
    assert "attempt_id seems to hold the number of a card" in bad["reason"][0]


GOOD = {"event_id": "e", "member_id": "m", "kind": "play", "ts": NOW, "title_id": "t"}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: ROWS["events"][name] for name in ROWS["events"]}))
@example({"country": "NL\n"})
@example({"member_id": "who@where.example"})
@example({"value": math.nan})
def test_a_good_event_with_one_strange_thing(changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        row = {**GOOD, name: value}
        assert enters_as_a_record("events", row) == enters_in_a_frame("events", row)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"member_id": "who@where.example"}, "member_id looks like an e-mail address"),
        ({"member_id": ""}, "member_id is empty"),
        ({"event_id": "x" * 201}, "event_id is longer than 200 characters"),
        ({"ts": NOW + timedelta(days=1)}, "ts is in the future"),
        ({"ts": datetime(1969, 1, 1, tzinfo=UTC)}, "ts is before 1970"),
        ({"ts": None}, "ts is missing"),
        ({"kind": "Play"}, "kind is not one of click, complete"),
        ({"kind": "play", "title_id": None}, "title_id is missing"),
        ({"value": math.inf}, "value is not finite"),
        ({"kind": "rating", "value": 6.0}, "value is out of range for its kind"),
        ({"position": -1}, "position is out of range"),
        ({"country": "nl"}, "country does not match"),
    ],
)
def test_the_reason_is_told(changes: dict[str, Any], reason: str) -> None:
    row = {**GOOD, **changes}
    types = {name: SCHEMAS["events"].columns[name] for name in row}
    _, bad = split(pl.DataFrame([row], schema=types, orient="row"), SCHEMAS["events"], NOW)
    (told,) = bad["reason"]
    assert reason in told


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ts", [1_700_000_000]),
        ("ts", [1_700_000_000.0]),
        ("ts", ["yesterday"]),
        ("ts", ["2026-01-01 10:00"]),
        ("position", [1.5]),
        ("position", ["one"]),
        ("value", ["much"]),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_not_bent(column: str, values: list[Any]) -> None:
    frame = pl.DataFrame({**{name: [value] for name, value in GOOD.items()}, column: values})
    good, bad = split(frame, SCHEMAS["events"], NOW, first_row=41)
    assert good.height == 0
    assert bad["reason"].to_list() == [f"{column} has the wrong type"]
    assert bad["source_row"].to_list() == [42]
    assert bad[column].to_list() == values


def test_a_flag_may_be_text_and_nothing_but_true_and_false() -> None:
    frame = pl.DataFrame({**SOUND["processors"], "enabled": ["true", "0", "maybe", None]})
    good, bad = split(frame, SCHEMAS["processors"], NOW)
    assert good["enabled"].to_list() == [True, False, True]  # one by default
    assert bad["reason"].to_list() == ["enabled has the wrong type"]


def test_text_that_holds_the_right_type_is_taken() -> None:
    frame = pl.DataFrame(
        {**GOOD, "ts": "2026-01-01T10:00:00+02:00", "position": "3", "value": "42.5"}
    )
    good, bad = split(frame, SCHEMAS["events"], NOW)
    assert bad.height == 0
    assert good["ts"].to_list() == [datetime(2026, 1, 1, 8, tzinfo=UTC)]
    assert (good["position"][0], good["value"][0]) == (3, 42.5)


@pytest.mark.parametrize(
    ("known_at", "reason"),
    [
        (None, "known_at is missing"),
        (NOW + timedelta(hours=1), "known_at is in the future"),
        (NOW - timedelta(days=9), "known_at is before it happened"),
    ],
)
def test_when_a_row_became_known_must_make_sense(known_at: datetime | None, reason: str) -> None:
    frame = pl.DataFrame({**GOOD, "known_at": [known_at]})
    _, bad = split(frame, SCHEMAS["events"], NOW)
    assert bad["reason"].to_list() == [reason]


def test_absent_values_get_the_record_s_defaults() -> None:
    good, _ = split(pl.DataFrame({"title_id": ["t"], "name": ["Heat"]}), SCHEMAS["titles"], NOW)
    (row,) = good.to_dicts()
    assert (row["genres"], row["cast"], row["year"]) == ([], [], None)


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(ValueError, match="events has no column 'surname'"):
        split(pl.DataFrame({**GOOD, "surname": "x"}), SCHEMAS["events"], NOW)


def test_of_several_faults_the_first_column_that_has_one_is_told():
    """The reason is part of what tells refused rows apart: each process has to give the same."""
    nothing = pl.DataFrame({name: [None] for name in ("ts", "kind", "member_id", "event_id")})
    _, bad = split(nothing, SCHEMAS["events"], NOW)
    assert bad["reason"].to_list() == ["event_id is missing"]
    _, bad = split(nothing.with_columns(event_id=pl.lit("e1")), SCHEMAS["events"], NOW)
    assert bad["reason"].to_list() == ["member_id is missing"]
