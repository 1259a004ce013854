"""Why a log gives no number to judge a candidate by, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, inf, isfinite

from matinee.evaluation.evidence import Evidence, Rules

Finding = tuple[str, str]
"""A reason, and what to do about it."""

MIXED = 0.1
"""The share of a champion's decisions that is suggested to be drawn from a candidate."""


def lacking(evidence: Evidence, rules: Rules) -> Iterator[Finding]:
    """Why there is no number to judge."""
    if not evidence.decisions:
        yield (
            "there is no decision to judge on",
            "let the champion decide, and wait until the windows of its decisions are over",
        )
        return
    yield from _unsound(evidence)
    if not evidence.outside <= rules.most_outside:
        yield (
            f"{evidence.outside:.1%} of what the candidate would choose was never possible in the "
            f"log, more than {rules.most_outside:.1%}",
            _exploration(evidence, rules),
        )
    if not evidence.effective >= rules.least_effective:
        yield (
            f"the {evidence.decisions} decisions are worth {evidence.effective:.0f} effective ones,"
            f" below the floor of {rules.least_effective:.0f}",
            _more_support(evidence, rules),
        )
    if not (isfinite(evidence.difference.value) and isfinite(evidence.difference.low)):
        yield (
            f"the {evidence.difference.method} interval has no lower end on this log",
            "log more decisions, then judge again",
        )
    for guardrail in rules.guardrails:
        if not isfinite(evidence.guardrails.get(guardrail.name, inf)):
            yield (
                f"{guardrail.name} was not measured",
                f"measure {guardrail.name}, or take it out of the rules",
            )


def _unsound(evidence: Evidence) -> Iterator[Finding]:
    """Why the log cannot be used as it is."""
    if not evidence.later:
        yield (
            "some decisions are not later than the candidate's own data, tuning included",
            "judge on decisions after its data_as_of only",
        )
    if not evidence.closed:
        yield (
            "some rewards are still open: their attribution window is not over",
            "wait until it is, or judge on earlier decisions",
        )
    if not evidence.whole:
        yield (
            "some decisions have no reward though later ones have: what is left out may be what "
            "went well, or badly",
            "run matinee work; if they stay without, the surface gives them no finite reward for "
            "each position",
        )
    if evidence.difference.void:
        yield (
            "the bounds of the difference cross, as they seldom do with true propensities",
            "mend how propensities are logged, and judge on decisions after that",
        )
    if not evidence.varied:
        yield (
            "every reward in the log is the same: it cannot tell better from worse",
            "see that members' answers carry the id of the decision, and that the surface's "
            "reward counts them",
        )
    if evidence.drifted:
        yield (
            f"the mean weight is not 1 on {_listed(evidence.drifted)}: the propensities of "
            "those days were not their own, or what the candidate prefers was too rare to be drawn",
            "judge on other days, or let the champion explore more of what the candidate prefers",
        )
    if evidence.calibrated is None:
        yield (
            "the logged propensities could not be checked: too few choices of each action",
            "log more decisions, or let the champion explore more evenly",
        )
    elif not evidence.calibrated:
        yield (
            "the logged propensities are not the chances with which actions were chosen",
            "mend how propensities are logged, and judge on decisions after that",
        )


def _more_support(evidence: Evidence, rules: Rules) -> str:
    if not evidence.effective >= 1:
        return (
            "let the champion explore: nothing that the candidate would choose was logged; "
            + _mixing(rules)
        )
    wanted = ceil(evidence.decisions * rules.least_effective / evidence.effective)
    more = f"log about {wanted - evidence.decisions:,} decisions more (an estimate)"
    if wanted <= rules.least_effective / MIXED:
        return more
    return f"{more}, or let the champion explore: {_mixing(rules)}"


def _exploration(evidence: Evidence, rules: Rules) -> str:
    """Which exploration, of which actions, and how many decisions of it."""
    shares = [f"{action} ({share:.1%})" for action, share in evidence.missing]
    named = f", most of all {', '.join(shares)} of what the candidate would choose" * bool(shares)
    return f"let the champion explore what it gave no chance{named}: {_mixing(rules)}"


def _mixing(rules: Rules) -> str:
    """No weight is above 1 / MIXED then, so n decisions are worth at least n MIXED."""
    enough = ceil(rules.least_effective / MIXED)
    return (
        f"with {MIXED:.0%} of its decisions drawn from the candidate, {enough} decisions have the "
        "support that is needed"
    )


def _listed(days: tuple[str, ...]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(days) - 3} days more" * (len(days) > 3)
    return ", ".join(days[:3]) + more
