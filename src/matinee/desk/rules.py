"""The rules that took actions of payments away, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matinee.insights.bitten import Rule, Rules

KINDS = {
    "never": "An answer that is final stays final: networks charge for trying again.",
    "wait": "The network said how long to wait.",
    "limit": "Networks charge for, or refuse, more attempts than that.",
    "quiet": "Nobody is charged at night, where they are.",
}
OWN = {
    "closed": "What is settled is not charged.",
    "paid": "Nobody pays twice.",
    "in_flight": "What may have been charged already is not charged again.",
    "grace": "Trying ends when the service goes off.",
    "mandate": "Who took the mandate back is not charged.",
    "expired": "A card that has expired cannot bring the money.",
    "hard_reason": "An answer that is final stays final, by our own reading of codes.",
    "instrument": "There is nothing to charge under that rank.",
    "processor": "Somebody has to be able to charge it.",
    "disabled": "Processors that are switched off are not used.",
    "currency": "The processor does not charge that currency.",
    "country": "The processor does not charge there.",
    "network": "The processor does not reach that network.",
    "outage": "A processor that is reported as out is left alone.",
    "down": "A processor whose latest answers failed is left alone but for probes.",
    "promise": "Processors get the attempts that they were promised this month.",
}
"""What the rules are for that stand in no book: those of the service itself."""


def decided(rules: Rules) -> list[tuple[str, ...]]:
    """A row for each span of time: decisions, and those with nothing left."""
    return [
        (name, f"{one.decisions:,}", f"{one.nothing:,}", f"{one.stopped:,}")
        for name, one in (("the last 30 days", rules.month), ("ever", rules.ever))
    ]


def bitten(rules: Rules) -> Iterator[dict[str, Any]]:
    """Each rule that took something away: a row of the table, what it said and what it is for."""
    for rule in rules.bit:
        said = "; ".join(rule.said)
        yield {
            "name": rule.name,
            "cells": bites(rule),
            "words": f"{said}. {purpose(rule)}",
            "source": rule.source or ("a rule of the service itself" if rule.name in OWN else ""),
        }


def purpose(rule: Rule) -> str:
    """What a rule is for, in words."""
    return OWN.get(rule.name, "") if not rule.kind else KINDS.get(rule.kind, "")


def bites(rule: Rule) -> tuple[str, ...]:
    """Decisions and actions of the last 30 days, and ever; since when the rule is in force."""
    if not rule.kind:
        force = "always" if rule.name in OWN else "not in the rule book"
    else:
        force = f"{rule.since:%Y-%m-%d}" if rule.since else "always"
        force += f" until {rule.until:%Y-%m-%d}" if rule.until else ""
    numbers = (one for bite in (rule.month, rule.ever) for one in (bite.decisions, bite.actions))
    return *(f"{number:,}" for number in numbers), force
