"""One row of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matinee.surfaces import History, Only


@dataclass(frozen=True)
class Row:
    """What is particular to one row of a page: a slot of its own name, and how it is chosen.

    `only` narrows the eligible set; `history` is what the model sees in place of the member's own,
    made of it (`History.only`). `because` says of titles, by id, which watched title raised them
    most; what it says of those that are chosen goes on record.
    """

    slot: str
    name: str
    why: str
    only: Only | None = None
    history: History | None = None
    because: Mapping[str, str] = field(default_factory=dict)

    def told(self, actions: Sequence[str]) -> dict[str, Any]:
        """The row as it stands in the record of a decision for those actions.

        >>> Row("picks", "For you", "", because={"heat": "ronin"}).told(["up", "heat"])
        {'name': 'For you', 'why': '', 'because': {'heat': 'ronin'}}
        """
        said: dict[str, Any] = {"name": self.name, "why": self.why}
        if self.history is not None:
            said["history"] = list(self.history.titles)
        if because := {title: self.because[title] for title in actions if title in self.because}:
            said["because"] = because
        return said
