"""Policies: beliefs become probabilities, and a draw whose propensity is known exactly."""

from matinee.policies.base import (
    Choices,
    Policy,
    Preference,
    Preferences,
    PropensityKind,
    Slate,
    top,
)
from matinee.policies.epsilon_greedy import EpsilonGreedy
from matinee.policies.inverse_gap import InverseGap
from matinee.policies.plackett_luce import PlackettLuce
from matinee.policies.thompson import Thompson

POLICIES: dict[str, type[Policy]] = {
    policy.name: policy for policy in (EpsilonGreedy, InverseGap, PlackettLuce, Thompson)
}
"""Every policy by its name. A policy of your own is known by ``POLICIES[Mine.name] = Mine``."""


def policy_class(name: str) -> type[Policy]:
    """The class of the policy of that name; `ValueError` lists the names there are.

    >>> policy_class("plackett_luce")(temperature=0.5).temperature
    0.5
    """
    if name not in POLICIES:
        raise ValueError(
            f"there is no policy {name!r}; choose one of {', '.join(sorted(POLICIES))}"
        )
    return POLICIES[name]


__all__ = [
    "POLICIES",
    "Choices",
    "EpsilonGreedy",
    "InverseGap",
    "PlackettLuce",
    "Policy",
    "Preference",
    "Preferences",
    "PropensityKind",
    "Slate",
    "Thompson",
    "policy_class",
    "top",
]
