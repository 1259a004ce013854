"""Rules as data: the built-in table, a user's own, and what is wrong with a file."""

from datetime import UTC, datetime

import pytest
from payment_rows import a_rule

from matinee.errors import MatineeError
from matinee.lake.records import micros
from matinee.payments.rules import RuleBook, read_rules

HEADER = "rule_id,network,kind,field,codes,most,hours,per,starts_at,source\n"


def test_every_built_in_rule_names_a_source_with_a_date_or_says_that_it_has_none():
    rules = RuleBook.built_in().rules
    assert {rule.network for rule in rules} == {
        "visa", "mastercard", "amex", "discover", "sepa", "ach"
    }  # fmt: skip
    for rule in rules:
        assert any(char.isdigit() for char in rule.source) or "undated" in rule.source, rule.rule_id
    unsure = {rule.rule_id for rule in rules if rule.source.startswith(("NOT CONF", "NO RULE"))}
    assert unsure == {"amex-30-days", "discover-30-days", "sepa-invoice"}


def test_rules_hold_from_their_first_moment_up_to_their_last():
    book = RuleBook.built_in()

    def most(*day):
        now = micros(datetime(*day, tzinfo=UTC))
        held = [one for one in book.in_force(now) if (one.network, one.kind) == ("visa", "limit")]
        return [rule.most for rule in held]

    assert most(2021, 6, 30) == []
    assert most(2021, 7, 1) == [15]
    assert most(2025, 5, 24, 23, 59, 59) == [15]
    assert most(2025, 5, 25) == [20]


def test_a_rule_of_the_same_name_takes_the_place_of_the_other():
    book = RuleBook([a_rule("limit", most=3, hours=24), a_rule("never", rule_id="b", codes=["1"])])
    again = book.extended([a_rule("limit", most=2, hours=24)])
    assert [(rule.rule_id, rule.most) for rule in again.rules] == [("mine", 2), ("b", None)]
    assert [rule.most for rule in book.rules] == [3, None]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (a_rule("never"), "has no codes"),
        (a_rule("wait", codes=["25"]), "has no hours"),
        (a_rule("limit", hours=24), "has no most"),
        (a_rule("limit", most=0), "has no hours"),
        (a_rule("fee", codes=["41"], fee=10), "has no currency"),
        (a_rule("fee", codes=["41"], currency="EUR"), "has no fee"),
        (a_rule("fee", fee=10, currency="EUR"), "has no codes or most"),
        (a_rule("quiet", from_hour=0), "has no to_hour"),
        (a_rule("quiet", from_hour=8, to_hour=8), "from 8 to 8"),
        (
            a_rule(
                "never",
                codes=["41"],
                starts_at=datetime(2026, 1, 1, tzinfo=UTC),
                ends_at=datetime(2026, 1, 1, tzinfo=UTC),
            ),
            "ends before it starts",
        ),
    ],
)
def test_a_rule_that_lacks_something_is_refused(rule, said):
    with pytest.raises(MatineeError, match=said) as caught:
        RuleBook([rule])
    assert "'mine'" in str(caught.value)
    assert caught.value.next_step


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(MatineeError, match="two rules have the name 'mine'"):
        RuleBook([a_rule("limit", most=3, hours=24), a_rule("limit", most=2, hours=24)])


def test_a_file_of_own_rules(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "\ufeffrule_id,network,kind,codes,most,hours,per,starts_at,source\n"
        'two-a-day,*,limit,,2,24,invoice,2026-04-01,"our terms, §7"\n'
        "\n"
        "lost,visa,never,41 43,,,,2026-04-01T09:00:00+02:00,us\n"
    )
    two, lost = read_rules(path)
    assert (two.most, two.hours, two.per, two.source) == (2, 24.0, "invoice", "our terms, §7")
    assert two.starts_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert lost.codes == ["41", "43"]
    assert lost.starts_at == datetime(2026, 4, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("rule_id,network,kind,sauce\n", "line 1: 'sauce' is no column", "write 'source'"),
        ("rule_id,network,kind,kind\n", "line 1: 'kind' is no column", "take it out"),
        ("rule_id,network,kind\n", "line 1: the column 'source' is missing", "write rule_id"),
        (HEADER + "a,visa,limit,,,2,24,,\n", "line 2 has 9 cells", "count its commas"),
        (HEADER + "a,visa,limits,,,2,24,,,us\n", "line 2: 'limits' in the column 'kind'", "never"),
        (HEADER + "a,visa,limit,,,2.5,24,,,us\n", "line 2: '2.5' in the column", "a whole number"),
        (HEADER + "a,visa,limit,,,2,nan,,,us\n", "line 2: 'nan' in the column", "write a number"),
        (HEADER + "a,visa,limit,,,2,inf,,,us\n", "line 2: 'inf' in the column", "write a number"),
        (HEADER + "a,visa,limit,,,2,24,,2026,us\n", "line 2: '2026' in the column", "2026-04-18"),
        (HEADER + "a,visa,limit,,,2,24,,2026-02-30,us\n", "line 2: '2026-02-30' in", "2026-04-18"),
        (HEADER + "a,VISA,limit,,,2,24,,,us\n", "line 2: 'VISA' in the column 'network'", "mend"),
        (HEADER + "a,visa,limit,,,2,24,,,\n", "line 2: object missing required field", "fill in"),
        (HEADER + "\na,visa,limit,,,2,,,,us\n", "line 3: the rule 'a' is of the kind", "hours"),
        (HEADER + 'a,visa,limit,,,2,24,,,"us\n', "line 2: this is no row of a CSV", "quotes"),
        ("", "line 1: the column 'rule_id' is missing", "write"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_what_to_type(text, said, advice, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(MatineeError) as caught:
        read_rules(path)
    assert str(caught.value).startswith(f"{path}, {said}")
    assert advice in caught.value.next_step


def test_one_name_twice_in_a_file_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + "a,visa,limit,,,2,24,,,us\n" * 2)
    with pytest.raises(MatineeError, match="two rows have the rule_id 'a'"):
        read_rules(path)


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("mine.csv", "none.csv"):
        with pytest.raises(MatineeError, match="cannot be read"):
            read_rules(tmp_path / name)
