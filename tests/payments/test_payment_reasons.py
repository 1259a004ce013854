"""Raw signals and the words that they are read as."""

import msgspec
import pytest
from payment_rows import START, a_report

from matinee.errors import MatineeError
from matinee.payments.reasons import Reasons, Signal, read_reasons

BUILT_IN = Reasons.built_in()


@pytest.mark.parametrize(
    ("signals", "word", "kind"),
    [
        ({"code": "51"}, "insufficient_funds", "soft"),
        ({"code": "05"}, "do_not_honor", "soft"),
        ({"code": "41"}, "lost_or_stolen", "hard"),
        ({"code": "43"}, "lost_or_stolen", "hard"),
        ({"code": "04"}, "pick_up_card", "hard"),
        ({"code": "46"}, "closed_account", "hard"),
        ({"code": "14"}, "invalid_account", "hard"),
        ({"code": "54"}, "expired_card", "soft"),
        ({"code": "R0"}, "stop_payment", "hard"),
        ({"code": "R1"}, "revoked_mandate", "hard"),
        ({"code": "59"}, "suspected_fraud", "soft"),
        ({"code": "1A"}, "authentication_required", "soft"),
        ({"code": "61"}, "limit_exceeded", "soft"),
        ({"code": "91"}, "issuer_unavailable", "technical"),
        ({"code": "96"}, "processor_error", "technical"),
        ({"code": "AM04"}, "insufficient_funds", "soft"),
        ({"code": "AC04"}, "closed_account", "hard"),
        ({"code": "MD01"}, "revoked_mandate", "hard"),
        ({"code": "R01"}, "insufficient_funds", "soft"),
        ({"code": "R02"}, "closed_account", "hard"),
        ({"advice": "03"}, "never_approved", "hard"),
        ({"advice": "21"}, "revoked_mandate", "hard"),
        ({"advice": "24"}, "try_again_later", "soft"),
        ({"category": "1"}, "never_approved", "hard"),
        ({"processor_code": "stolen_card"}, "lost_or_stolen", "hard"),
        ({"code": "QQ"}, "unknown", "soft"),
        ({}, "unknown", "soft"),
    ],
)
def test_the_words_for_single_signals(signals, word, kind):
    assert BUILT_IN.word(**signals) == word
    assert BUILT_IN.kind(word) == kind


@pytest.mark.parametrize(
    ("signals", "word"),
    [
        ({"advice": "03", "category": "1", "code": "51"}, "never_approved"),
        ({"advice": "21", "category": "1", "code": "51"}, "revoked_mandate"),
        ({"category": "1", "code": "51"}, "never_approved"),
        ({"code": "51", "processor_code": "expired_card"}, "insufficient_funds"),
        ({"code": "QQ", "processor_code": "expired_card"}, "expired_card"),
        ({"advice": "99", "category": "9", "code": "51"}, "insufficient_funds"),
        # signals that say little leave the word to those that say more
        ({"advice": "26", "category": "2", "code": "51"}, "insufficient_funds"),
        ({"code": "05", "processor_code": "lost_card"}, "lost_or_stolen"),
        ({"advice": "02", "code": "05"}, "try_again_later"),
        ({"category": "3", "code": "05"}, "wrong_details"),
    ],
)
def test_the_most_specific_signal_wins(signals, word):
    assert BUILT_IN.word(**signals) == word


def test_codes_are_compared_without_leading_zeros_and_case():
    assert {BUILT_IN.word(code=one) for one in ("04", "4", "004")} == {"pick_up_card"}
    assert BUILT_IN.word(code="r1") == "revoked_mandate"
    assert BUILT_IN.word(code="R01") == "insufficient_funds"


def test_some_15_to_25_words_with_a_source_in_each_row():
    assert 15 <= len(BUILT_IN.kinds) <= 25
    assert set(BUILT_IN.kinds.values()) == {"hard", "technical", "soft"}
    assert all(len(row.source) > 8 for row in BUILT_IN.signals.values())


def test_a_report_gets_its_word_and_keeps_what_came():
    raw = a_report("a1", START, code="51", category="2", advice="25", processor_code="x-1")
    noted = BUILT_IN.noted(raw)
    assert (noted.reason, noted.mapping) == ("insufficient_funds", BUILT_IN.version)
    assert msgspec.structs.replace(noted, reason=None, mapping=None) == raw


def test_only_what_brought_no_money_has_a_reason():
    said = {
        status: BUILT_IN.of(a_report("a1", START, status))
        for status in ("sent", "unknown", "failed", "declined", "approved")
    }
    assert said == {
        "sent": None,
        "unknown": "unknown",
        "failed": "processor_error",
        "declined": "unknown",
        "approved": None,
    }
    assert BUILT_IN.noted(a_report("a1", START, "approved", code="00")).mapping is None


def row(**more):
    usual = {"field": "processor_code", "value": "E17", "reason": "expired_card", "source": "us"}
    return Signal(**usual | more)


def test_own_rows_go_on_top_and_change_the_version():
    own = BUILT_IN.extended([row(), row(field="code", value="05", reason="strike", kind="hard")])
    assert own.word(processor_code="E17") == "expired_card"
    assert own.word(code="5") == "strike"
    assert own.kind("strike") == "hard"
    assert BUILT_IN.word(code="05") == "do_not_honor"
    assert own.version != BUILT_IN.version
    assert BUILT_IN.extended([]).version == BUILT_IN.version


def test_a_word_can_be_given_another_kind():
    own = BUILT_IN.extended([row(field="code", value="57", reason="not_permitted", kind="soft")])
    assert own.kind(own.word(code="57")) == own.kind(own.word(code="R20")) == "soft"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(reason="strike")], "processor_code E17: the reason 'strike' has no kind"),
        (
            [row(reason="strike", kind="hard"), row(value="E18", reason="strike", kind="soft")],
            "processor_code E18: the reason 'strike' is soft here and hard in another row",
        ),
        (
            [row(), row(reason="do_not_honor")],
            "processor_code E17 is read as two reasons, 'expired_card' and 'do_not_honor'",
        ),
    ],
)
def test_rows_that_contradict_each_other_are_refused(rows, said):
    with pytest.raises(MatineeError, match="^" + said):
        BUILT_IN.extended(rows)


def test_a_file_of_own_reasons(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "field,value,reason,kind,weak,source\n"
        'processor_code,E17,expired_card,,,"our contract, page 4"\n'
        "code,92,no_route,technical,yes,us\n"
    )
    own = Reasons.read(path)
    assert own.word(processor_code="E17") == "expired_card"
    assert own.word(code="92", processor_code="E17") == "expired_card"
    assert own.kind(own.word(code="92")) == "technical"
    assert own.word(code="51") == "insufficient_funds"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("field,value\ncode,51\n", "line 1: the column 'reason' is missing"),
        ("field,value,reason,source\nkode,51,x,us\n", "line 2: 'kode' in the column 'field'"),
        ("field,value,reason,source\ncode,5 1,x,us\n", "line 2: '5 1' in the column 'value'"),
        ("field,value,reason,source\ncode,51,x,\n", "line 2: object missing required field"),
        ("field,value,reason,source,weak\ncode,51,x,us,si\n", "line 2: 'si' in the column 'weak'"),
        ("field,value,reason,source\ncode,51,strike,us\n", "code 51: the reason 'strike' has no"),
    ],
)
def test_a_file_that_is_wrong_says_where(text, said, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(MatineeError) as caught:
        Reasons.read(path)
    assert str(caught.value).startswith(f"{path}, {said}")
    assert caught.value.next_step


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MatineeError, match="cannot be read"):
        read_reasons(tmp_path / "none.csv")
