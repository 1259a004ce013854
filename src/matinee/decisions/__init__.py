"""Decisions: a request becomes a drawn slate and the record that proves it."""

from matinee.decisions.contracts import ChoiceSource, DecisionLog, HistorySource
from matinee.decisions.counterfactual import Counterfactual
from matinee.decisions.decider import Decider, Row
from matinee.decisions.home import Home, HomePage, HomeRow, ShownTitle
from matinee.decisions.ids import context_hash, decision_id, generator, seed_of
from matinee.decisions.rebuild import rebuild

__all__ = [
    "ChoiceSource",
    "Counterfactual",
    "Decider",
    "DecisionLog",
    "HistorySource",
    "Home",
    "HomePage",
    "HomeRow",
    "Row",
    "ShownTitle",
    "context_hash",
    "decision_id",
    "generator",
    "rebuild",
    "seed_of",
]
