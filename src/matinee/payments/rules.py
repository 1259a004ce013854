"""What networks, laws and the service itself forbid: rows with their dates and sources.

The built-in rows stand in ``rules.csv``; ``docs/payment-rules.md`` says where they come from and
what is uncertain. A user's own rows go on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.errors import MatineeError
from matinee.lake.billing import NetworkRule
from matinee.lake.records import micros
from matinee.payments.actions import HOUR
from matinee.payments.csv_rows import read_rows
from matinee.payments.reasons import Reasons, plain

ALWAYS = np.iinfo(np.int64)
NEEDS: dict[str, tuple[str, ...]] = {
    "never": ("codes",),
    "wait": ("codes", "hours"),
    "limit": ("most", "hours"),
    "fee": ("currency",),
    "quiet": ("from_hour", "to_hour"),
}
"""The fields that a rule of each kind cannot do without. A fee also needs an amount,
and `codes` or `most`.
"""


class Term(NamedTuple):
    """A rule, ready to be counted with: times and the window in microseconds, codes as compared."""

    rule: NetworkRule
    starts: int
    ends: int
    window: int | None
    codes: frozenset[str]

    @classmethod
    def of(cls, rule: NetworkRule) -> Term:
        return cls(
            rule,
            ALWAYS.min if rule.starts_at is None else micros(rule.starts_at),
            ALWAYS.max if rule.ends_at is None else micros(rule.ends_at),
            None if rule.hours is None else round(rule.hours * HOUR),
            frozenset(plain(code) for code in rule.codes),
        )

    def in_force(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether it holds for an attempt at each time [H]."""
        return (self.starts <= at) & (at < self.ends)


@dataclass(frozen=True)
class RuleBook:
    """Rules, each under a name of its own, and the mapping that reads what attempts brought.

    Raises
    ------
    MatineeError
        If a rule lacks what its kind needs, or two have the same name.

    >>> book = RuleBook.built_in()
    >>> [(rule.most, rule.ends_at is None) for rule in book.rules
    ...  if rule.kind == "limit" and rule.network == "visa"]
    [(15, False), (20, True)]
    >>> len(book.extended(book.rules[:1]).rules) == len(book.rules)
    True
    """

    rules: tuple[NetworkRule, ...]
    reasons: Reasons = field(default_factory=Reasons.built_in)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))
        seen = set()
        for rule in self.rules:
            check(rule)
            if rule.rule_id in seen:
                raise MatineeError(
                    f"two rules have the name {rule.rule_id!r}",
                    next_step="give one of them another rule_id; to replace one, extend the book",
                )
            seen.add(rule.rule_id)

    @classmethod
    def built_in(cls) -> RuleBook:
        """Those of ``rules.csv``, with the built-in reasons."""
        return cls(_built_in())

    def extended(self, rules: Iterable[NetworkRule]) -> RuleBook:
        """With these rules too; one with the name of another takes its place."""
        named = {rule.rule_id: rule for rule in (*self.rules, *rules)}
        return RuleBook(tuple(named.values()), self.reasons)

    def in_force(self, at: int) -> tuple[NetworkRule, ...]:
        """The rules that hold for attempts at a time, in microseconds since 1970."""
        return tuple(term.rule for term in self.terms if term.starts <= at < term.ends)

    def of(self, network: str, country: str | None) -> list[Term]:
        """The rules for a network and the country of an issuer; where that is not known (`None`)
        the rules of single countries do not count.
        """
        found = self._found.get((network, country))
        if found is None:
            found = self._found[network, country] = [
                term
                for term in self.terms
                if term.rule.network in {"*", network} and term.rule.region in {"*", country}
            ]
        return found

    @cached_property
    def _found(self) -> dict[tuple[str, str | None], list[Term]]:
        return {}

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        return tuple(Term.of(rule) for rule in self.rules)


def read_rules(path: str | Path) -> list[NetworkRule]:
    """The rules of a CSV file with the columns of `NetworkRule`: `rule_id`, `network`, `kind`,
    `source`, and of the others those that are needed. Codes stand with blanks between them.

    Raises
    ------
    MatineeError
        Naming file, line and column, and what to write there.
    """
    rules = read_rows(Path(path), NetworkRule, check=check)
    twice = [name for name, times in Counter(rule.rule_id for rule in rules).items() if times > 1]
    if twice:
        raise MatineeError(
            f"{path}: two rows have the rule_id {twice[0]!r}",
            next_step="give one of them another, or take it out",
        )
    return rules


def check(rule: NetworkRule) -> None:
    """Raises `MatineeError` if a rule lacks what its kind needs, or can never hold.

    >>> check(NetworkRule(rule_id="r", network="visa", kind="limit", source="us", most=3))
    Traceback (most recent call last):
    matinee.errors.MatineeError: the rule 'r' is of the kind limit and has no hours. Next: fill in
    hours
    """
    told = f"the rule {rule.rule_id!r} is of the kind {rule.kind}"
    missing = [name for name in NEEDS[rule.kind] if getattr(rule, name) in (None, [])]
    if rule.kind == "fee" and not rule.fee:
        missing.append("fee")
    if rule.kind == "fee" and not rule.codes and rule.most is None:
        missing.append("codes or most")
    if missing:
        raise MatineeError(f"{told} and has no {missing[0]}", next_step=f"fill in {missing[0]}")
    if rule.kind == "quiet" and rule.from_hour == rule.to_hour:
        raise MatineeError(
            f"{told} from {rule.from_hour} to {rule.to_hour} o'clock",
            why="that may be a whole day or none of it",
            next_step="write two hours that differ",
        )
    if rule.starts_at and rule.ends_at and rule.starts_at >= rule.ends_at:
        raise MatineeError(
            f"{told} and ends before it starts", next_step="put ends_at after starts_at"
        )


@cache
def _built_in() -> tuple[NetworkRule, ...]:
    with (files("matinee.payments") / "rules.csv").open(encoding="utf-8") as file:
        return tuple(read_rows(file, NetworkRule, "rules.csv"))
