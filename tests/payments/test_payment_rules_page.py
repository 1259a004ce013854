"""docs/payment-rules.md is true: its example prints what it says, and its words are all of them."""

import re
from pathlib import Path

from matinee.payments.reasons import Reasons
from matinee.payments.rules import RuleBook

PAGE = (Path(__file__).parents[2] / "docs" / "payment-rules.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example, said = re.search(
        r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", PAGE, re.S
    ).groups()
    exec(compile(example, "payment-rules.md", "exec"), {})  # noqa: S102 - our own document
    assert capsys.readouterr().out == said


def test_the_page_names_every_reason_under_its_kind():
    kinds = Reasons.built_in().kinds
    for kind in ("hard", "technical", "soft"):
        told = re.search(rf"^- \*\*{kind}\*\*(.*?)(?=^- |^`|^$)", PAGE, re.M | re.S).group(1)
        expected = {word for word, its in kinds.items() if its == kind}
        expected |= {"unknown"} if kind == "soft" else set()
        assert set(re.findall(r"`(\w+)`", told)) == expected


def test_the_page_names_every_code_that_a_network_says_never_after():
    for rule in RuleBook.built_in().rules:
        if rule.kind == "never" and rule.field == "code":
            assert " ".join(rule.codes) in PAGE
