"""Surfaces: the places where a service chooses."""

from matinee.surfaces.artwork import Artwork
from matinee.surfaces.base import (
    Candidates,
    Choice,
    Holdout,
    Mask,
    Request,
    Situation,
    Surface,
    check,
)
from matinee.surfaces.history import History, Met
from matinee.surfaces.masks import Age, Availability, DailyCap, FewDifferent, Only, OnPage, Watched
from matinee.surfaces.payments import Payments
from matinee.surfaces.titles import Titles

SURFACES: dict[str, type[Surface]] = {}
"""Surfaces of your own by name: ``SURFACES[Mine.name] = Mine``; others are built in."""

__all__ = [
    "SURFACES",
    "Age",
    "Artwork",
    "Availability",
    "Candidates",
    "Choice",
    "DailyCap",
    "FewDifferent",
    "History",
    "Holdout",
    "Mask",
    "Met",
    "OnPage",
    "Only",
    "Payments",
    "Request",
    "Situation",
    "Surface",
    "Titles",
    "Watched",
    "check",
]
