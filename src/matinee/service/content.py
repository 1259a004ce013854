"""What the actions of a surface are about, for models that can make use of it."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from matinee.decisions.recent import Recent
from matinee.lake.lake import Lake
from matinee.models import Content, Model
from matinee.surfaces import Surface, Titles


def content_of(
    lake: Lake, as_of: datetime | None = None, surface: type[Surface] = Titles
) -> Content:
    """What the actions of a surface are about, as known at `as_of`; now by default."""
    return Content.of(surface.about(lake, as_of))


def reads_content(model: Model) -> bool:
    """Whether a model can make use of what titles are about."""
    return type(model).adopt is not Model.adopt


def informs(surface: type[Surface], model: Model) -> bool:
    """Whether a surface says what its actions are about, and a model can make use of it."""
    silent = getattr(surface.about, "__func__", None) is getattr(Surface.about, "__func__", 0)
    return reads_content(model) and not silent


CATALOGUE = "titles", "pictures"
"""The tables that say what actions are about."""
KEPT = 4
"""Models that have adopted a catalogue, kept at most."""


class Contents:
    """What the actions of surfaces are about now, worked out again only where that has changed."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: dict[type[Surface], tuple[tuple[pl.DataFrame, ...], Content]] = {}
        self._adopted = Recent[tuple[Model, Content, Model]](KEPT)

    def informed(self, model: Model, surface: Surface) -> Model:
        """`model`, which also knows the actions that came since it learned, if it can.

        The very same one as before while the catalogue stays the same, with what it keeps.
        """
        if not informs(type(surface), model):
            return model
        content = self._now(type(surface))
        which = id(model), id(content)  # of what the value holds, so that neither comes again
        *_, adopted = self._adopted.get(which, lambda: (model, content, model.adopt(content)))
        return adopted

    def _now(self, surface: type[Surface]) -> Content:
        tables = tuple(self._lake.current(name) for name in CATALOGUE)
        known = self._known.get(surface)
        if known is None or not all(map(pl.DataFrame.equals, tables, known[0])):
            known = self._known[surface] = tables, content_of(self._lake, surface=surface)
        return known[1]
