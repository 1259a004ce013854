"""Surfaces: the places where a service chooses."""

from matinee.surfaces.base import (
    Candidates,
    Choice,
    Mask,
    Request,
    Situation,
    Surface,
    check,
)
from matinee.surfaces.history import History, Met
from matinee.surfaces.masks import Availability, DailyCap, Only, OnPage, Watched
from matinee.surfaces.titles import Titles

SURFACES: dict[str, type[Surface]] = {}
"""Surfaces of your own by name: ``SURFACES[Mine.name] = Mine``. They stand beside `titles`."""

__all__ = [
    "SURFACES",
    "Availability",
    "Candidates",
    "Choice",
    "DailyCap",
    "History",
    "Mask",
    "Met",
    "OnPage",
    "Only",
    "Request",
    "Situation",
    "Surface",
    "Titles",
    "Watched",
    "check",
]
