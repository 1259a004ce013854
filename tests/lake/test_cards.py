"""Numbers of cards: known ones, made ones, and what only looks like one."""

from __future__ import annotations

import json
import logging
import random
import re
import unicodedata
import uuid
from hashlib import blake2b, sha256

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from matinee.lake import cards
from matinee.lake.cards import (
    ISSUERS,
    MaskingFormatter,
    find_cards,
    holding,
    holds_card,
    masked,
    masked_json,
    masked_value,
)

PUBLISHED = {
    "visa": "4111111111111111",
    "visa, 13 digits": "4222222222222",
    "mastercard": "5555555555554444",
    "mastercard, 2 series": "2223003122003222",
    "american express": "378282246310005",
    "discover": "6011111111111117",
    "diners club, 14": "30569309025904",
    "diners club": "36227206271667",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
    "maestro": "6759649826438453",
    "maestro, 12 digits": "501800000009",
}
"""Numbers for trials that Stripe, PayPal and Adyen publish; the last one is made."""
FOUR = "4111111111111111"


def luhn_digit(head: str) -> str:
    """The digit that makes the sum a multiple of ten, by trying all."""
    for last in "0123456789":
        total = 0
        for place, char in enumerate(reversed(head + last)):
            value = int(char) * (2 if place % 2 else 1)
            total += value - 9 if value > 9 else value
        if total % 10 == 0:
            return last
    raise AssertionError


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A number of one of the issuers, drawn from its ranges."""
    issuer = draw(st.sampled_from(ISSUERS))
    low, _, high = draw(st.sampled_from(issuer.prefixes)).partition("-")
    first = str(draw(st.integers(int(low), int(high or low))))
    rest = draw(st.sampled_from(list(issuer.lengths))) - len(first) - 1
    head = first + draw(st.text("0123456789", min_size=rest, max_size=rest))
    return head + luhn_digit(head)


ZEROS = st.sampled_from(["0", "０", "\u0660", "\u0966", "𝟎"])
GAPS = st.sampled_from(
    ["", " ", "-", ".", "/", "_", "\t", "\n", "\u2009", "\u200b", " - ", ", ", "|"]
)


@st.composite
def written(draw: st.DrawFn, number: str) -> str:
    """The number with gaps between its digits, in the digits of some script."""
    zero = ord(draw(ZEROS))
    chars = [chr(zero + int(digit)) for digit in number]
    cuts = draw(st.sets(st.integers(1, len(number) - 1), max_size=4))
    return "".join((draw(GAPS) if at in cuts else "") + char for at, char in enumerate(chars))


@pytest.mark.parametrize("number", PUBLISHED.values(), ids=PUBLISHED)
@pytest.mark.parametrize(
    "dressed", ["{}", "pan={};", "Paid with {}, thanks", '{{"card":"{}"}}', "xX{}Xx", "id-7: {}"]
)
def test_published_numbers_are_found_and_masked(number: str, dressed: str) -> None:
    text = dressed.format(number)
    at = dressed.replace("{{", "{").index("{}")
    assert find_cards(text) == [(at, at + len(number))]
    assert holds_card(text)
    kept = masked(text)
    assert kept.count("*") >= 6
    assert number[-4:] in kept
    assert number not in kept


@pytest.mark.parametrize("number", PUBLISHED.values(), ids=PUBLISHED)
def test_any_other_last_digit_is_no_number(number: str) -> None:
    others = [number[:-1] + last for last in "0123456789" if last != number[-1]]
    assert [find_cards(other) for other in others] == [[]] * 9


@settings(max_examples=150, deadline=None)
@given(numbers(), st.data())
def test_a_number_is_found_however_it_is_written(number: str, data: st.DataObject) -> None:
    text = data.draw(written(number))
    before, after = data.draw(st.tuples(st.sampled_from(["", "x", "a: ", "é"]), GAPS))
    spans = find_cards(before + text + after)
    assert (len(before), len(before + text)) in spans
    kept = masked(before + text + after)
    assert len(kept) == len(before + text + after)
    shown = [a for a, b in zip(text, kept[len(before) :], strict=False) if a == b and a.isdigit()]
    assert len(shown) <= min(10, len(number) - 6)
    assert find_cards(kept) == []


@settings(max_examples=60, deadline=None)
@given(numbers())
def test_urls_and_escapes_are_read(number: str) -> None:
    url = "".join(f"%{ord(char):02X}" for char in number)
    spaced = "%20".join([number[:4], number[4:9], number[9:]])
    escaped = "".join(f"\\u{ord(char):04x}" for char in number)
    lines = "\\n".join([number[:4], number[4:9], number[9:]])
    for text in (url, spaced, escaped, lines):
        assert (0, len(text)) in find_cards(text)
        assert find_cards(masked(text)) == []
        assert masked(text).count("*") >= 6


def oracle(text: str) -> bool:
    """Every way to take whole groups of digits that lie at most three separators apart."""
    for run in re.findall(r"[0-9](?:[ .-]{0,3}[0-9])*", text):
        groups = re.findall("[0-9]+", run)
        for first in range(len(groups)):
            for last in range(first, len(groups)):
                digits = "".join(groups[first : last + 1])
                if any(_fits(digits, issuer) for issuer in ISSUERS):
                    return True
    return False


def _fits(digits: str, issuer) -> bool:
    if len(digits) not in issuer.lengths or luhn_digit(digits[:-1]) != digits[-1]:
        return False
    return any(
        int(low) <= int(digits[: len(low)]) <= int(high or low)
        for low, _, high in (prefix.partition("-") for prefix in issuer.prefixes)
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text("0123456789", min_size=1, max_size=20)
        | st.sampled_from(["4111", "1111", "4", "1", "x", "51", "501800000009"]),
        max_size=12,
    ),
    st.lists(st.sampled_from(["", " ", "-", ".", " - ", " -- ", "x"]), min_size=12, max_size=12),
)
def test_the_same_as_trying_every_way(groups: list[str], gaps: list[str]) -> None:
    text = "".join(a + b for a, b in zip(groups, gaps, strict=False))
    assert bool(find_cards(text)) == holds_card(text) == oracle(text)


def test_longer_runs_digests_uuids_and_times_are_no_numbers() -> None:
    chance = random.Random(7)
    for _ in range(1_000):
        bits = chance.getrandbits(256)
        texts = [
            str(uuid.UUID(int=bits >> 128)),
            blake2b(str(bits).encode(), digest_size=16).hexdigest(),
            sha256(str(bits).encode()).hexdigest(),
            str(10**20 + bits % 10**20),
            "2026-01-30 " + f"0{bits % 10}:{10 + bits % 50}:{10 + bits % 49}.{bits % 10**6:06}",
        ]
        assert [text for text in texts if find_cards(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111",
        "4111 1111 1111 111",
        "4111x1111x1111x1111",
        "4111    1111    1111    1111",
        "0.4111111111111112",
        "call 020 7946 0018 or +44 20 7946 0018",
        "INV-2026-000123-0045",
        "½¾" * 20,
        "一二三四五六七八九十一二三四五六",
        "2026-11-29T09:12:04.123456+00:00",
        "10.0.0.1:8765",
        "0000000000000000",
        "%" * 50,
        "\\" * 50,
        "\\u12",
    ],
)
def test_what_is_no_number_stays_as_it_is(text: str) -> None:
    assert find_cards(text) == []
    assert masked(text) == text


@settings(max_examples=80, deadline=None)
@given(st.text())
@example("\ud800" * 3)
@example(FOUR + " " + FOUR)
def test_text_without_numbers_is_left_alone(text: str) -> None:
    kept = masked(text)
    assert (kept == text) == (not find_cards(text))
    assert len(kept) == len(text)


def test_of_two_numbers_that_begin_at_one_place_the_longer_is_meant() -> None:
    short = PUBLISHED["visa, 13 digits"]
    long = f"{short} 00{luhn_digit(short + '00')}"
    assert find_cards(long) == [(0, 17)]
    assert masked(long) == "422222******2 00" + long[-1]


def test_numbers_side_by_side_and_one_in_another_are_all_masked() -> None:
    assert masked(f"{FOUR} {FOUR},378282246310005") == (
        "411111******1111 411111******1111,37828******0005"
    )
    first, second = "4999 4111 1111 1111", "1111 1111 1111"  # they share three groups
    kept = masked(f"{first} {second}")
    assert not find_cards(kept)


def test_long_texts_are_read_in_one_go() -> None:
    long = "4 1 1 1 " * 500
    assert find_cards(masked(long)) == []
    assert masked("1" * 10**6) == "1" * 10**6
    assert masked("1 " * 5_000) == "1 " * 5_000


def test_values_are_searched_at_any_depth() -> None:
    deep: object = FOUR
    for _ in range(5_000):
        deep = [deep]
    assert holds_card(deep)
    assert holds_card({FOUR: 1})
    assert holds_card({"a": [{"b": -int(FOUR)}]})
    assert holds_card([float(FOUR)])
    assert not holds_card([True, None, 1e300, float("nan"), float("inf"), 10**400, 0.5])
    assert not holds_card(["4111", "1111", "1111", "1111"])


@given(
    st.lists(
        st.floats()
        | st.integers(-(10**20), 10**20)
        | st.sampled_from([int(FOUR), [int(FOUR)], FOUR])
    )
)
def test_a_list_holds_what_one_of_its_values_holds(values):
    assert holds_card(values) == any(holds_card([one]) for one in values)


def test_masked_values_keep_their_shape() -> None:
    value = {"a": [FOUR, 1, None, {"b": int(FOUR)}], FOUR: 0.5, "c": float(FOUR)}
    hidden = "411111******1111"
    assert masked_value(value) == {"a": [hidden, 1, None, {"b": hidden}], hidden: 0.5, "c": hidden}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f'{{"a": {FOUR}}}', '{"a":"411111******1111"}'),
        (f'{{"a":  "{FOUR}"}}', '{"a":"411111******1111"}'),
        ('{"a":  1.50}', '{"a":  1.50}'),
        ('["4111\\n1111\\n1111\\n1111"]', '["4111\\n11**\\n****\\n1111"]'),
        ('["\\u0034111111111111111"]', '["411111******1111"]'),
        (f"not JSON {FOUR}", "not JSON 411111******1111"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_json_stays_json(text: str, kept: str) -> None:
    assert masked_json(text) == kept


SOME = st.sampled_from([FOUR, "4111 1111 1111 1111", "x", "", "４" + "１" * 15, "1" * 30, "a%b"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | SOME | st.text(max_size=30) | numbers().flatmap(written), max_size=8))
def test_columns_hold_what_their_texts_hold(texts: list[str | None]) -> None:
    wanted = [text is not None and holds_card(text) for text in texts]
    assert holding(pl.Series(texts, dtype=pl.String)).to_list() == wanted
    listed = pl.Series([texts, [], None, texts[:1]], dtype=pl.List(pl.String))
    assert holding(listed).to_list() == [any(wanted), False, False, any(wanted[:1])]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.recursive(
            st.none() | SOME | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.sampled_from([int(FOUR), float(FOUR), 4.2e15, 0.4111111111111111]),
            lambda one: st.lists(one, max_size=3) | st.dictionaries(SOME, one, max_size=3),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_json_columns_hold_what_their_values_hold(values: list[object]) -> None:
    column = pl.Series(list(map(json.dumps, values)), dtype=pl.String)
    assert holding(column, nested=True).to_list() == [holds_card(value) for value in values]


def test_the_regular_expression_for_columns_knows_every_digit() -> None:
    digits = [
        chr(code) for code in range(0x110000) if unicodedata.digit(chr(code), None) is not None
    ]
    assert {unicodedata.category(digit) for digit in digits} == {"Nd", "No"}
    column = pl.Series([digit * 12 for digit in digits])
    assert column.str.contains(cards._SUSPECT).all()


def test_columns_are_searched_for_escapes_and_exponents() -> None:
    texts = ["4111%2D1111%2D1111%2D1111", "4111\\n1111\\n1111\\n1111", "4.2e15", "5%"]
    assert holding(pl.Series(texts)).to_list() == [True, True, False, False]
    values = ['{"a": 4.2e15}', '{"a": 4.3E15}', '["4111\\n1111\\n1111\\n1111"]']
    assert holding(pl.Series(values), nested=True).to_list() == [True, False, True]


def test_broken_json_is_searched_as_text() -> None:
    column = pl.Series([f'{{"a": "{FOUR}', "{", None])
    assert holding(column, nested=True).to_list() == [True, False, False]


def test_log_lines_and_tracebacks_are_masked() -> None:
    try:
        raise ValueError(f"bad row {FOUR}")
    except ValueError as error:
        record = logging.LogRecord("m", logging.INFO, "f", 1, "got %s", (FOUR,), None)
        record.exc_info = (ValueError, error, error.__traceback__)
    line = MaskingFormatter("%(name)s: %(message)s").format(record)
    assert line.startswith("m: got 411111******1111\nTraceback")
    assert line.endswith("ValueError: bad row 411111******1111")
    assert FOUR not in line
