"""Decisions: a request becomes a drawn slate and the record that proves it."""

from matinee.decisions.assigner import Assigner
from matinee.decisions.chosen import NoChoices, choices_of
from matinee.decisions.contracts import ChoiceSource, DecisionLog, HistorySource
from matinee.decisions.counterfactual import Counterfactual
from matinee.decisions.decider import Decider
from matinee.decisions.home import Home, HomePage, HomeRow, ShownPicture, ShownTitle
from matinee.decisions.ids import context_hash, decision_id, generator, seed_of
from matinee.decisions.reasons import Reasons
from matinee.decisions.rebuild import rebuild
from matinee.decisions.row import Row

__all__ = [
    "Assigner",
    "ChoiceSource",
    "Counterfactual",
    "Decider",
    "DecisionLog",
    "HistorySource",
    "Home",
    "HomePage",
    "HomeRow",
    "NoChoices",
    "Reasons",
    "Row",
    "ShownPicture",
    "ShownTitle",
    "choices_of",
    "context_hash",
    "decision_id",
    "generator",
    "rebuild",
    "seed_of",
]
