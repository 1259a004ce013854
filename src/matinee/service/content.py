"""What the titles of a service are about, for models that can make use of it."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from matinee.decisions.recent import Recent
from matinee.features.content import about
from matinee.lake.lake import Lake
from matinee.models import Content, Model
from matinee.surfaces import Surface, Titles


def content_of(lake: Lake, as_of: datetime | None = None) -> Content:
    """What the catalogue that is known at `as_of` says of its titles; now by default."""
    return Content.of(about(lake.current("titles", as_of=as_of)))


def reads_content(model: Model) -> bool:
    """Whether a model can make use of what titles are about."""
    return type(model).adopt is not Model.adopt


KEPT = 4
"""Models that have adopted a catalogue, kept at most."""


class Contents:
    """The content of the present catalogue, worked out again only where that has changed."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._known: tuple[pl.DataFrame, Content] | None = None
        self._adopted = Recent[tuple[Model, Content, Model]](KEPT)

    def informed(self, model: Model, surface: Surface) -> Model:
        """`model`, which on titles also knows those that came since it learned, if it can.

        The very same one as before while the catalogue stays the same, with what it keeps.
        """
        if not isinstance(surface, Titles) or not reads_content(model):
            return model
        content = self._now()
        which = id(model), id(content)  # of what the value holds, so that neither comes again
        *_, adopted = self._adopted.get(which, lambda: (model, content, model.adopt(content)))
        return adopted

    def _now(self) -> Content:
        titles = self._lake.current("titles")
        known = self._known
        if known is None or not titles.equals(known[0]):
            known = self._known = titles, Content.of(about(titles))
        return known[1]
