"""What a round of charging did, counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Charged:
    """What one round did, in numbers of invoices or attempts.

    `asked` are decisions, `refused` those that could not be carried out, by reason; `unknown`
    questions to processors that were not answered; `busy` invoices that another scheduler has;
    `twice` those with two approved attempts, which should never be; `left` those there was no time
    for; `open` and `in_flight` those that remain, and of these the ones with an attempt that is not
    settled.
    """

    asked: int = 0
    sent: int = 0
    approved: int = 0
    declined: int = 0
    failed: int = 0
    unknown: int = 0
    paid: int = 0
    lapsed: int = 0
    busy: int = 0
    errors: int = 0
    twice: int = 0
    left: int = 0
    in_flight: int = 0
    open: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """What happened, in words.

        >>> str(Charged(sent=3, approved=2, in_flight=1, open=7, refused={"grace is over": 2}))
        '3 sent, 2 approved, 1 in flight, 2 refused (grace is over)'
        """
        told = {name.replace("_", " "): n for name, n in vars(self).items() if name != "open"}
        told[f"refused ({'; '.join(self.refused)})"] = sum(told.pop("refused").values())
        return ", ".join(f"{n} {name}" for name, n in told.items() if n)


class Tally:
    """Counts what threads do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def count(self, name: str) -> None:
        """One more, of a name that `Charged` has."""
        with self._lock:
            self._counts[name] += 1

    def refuse(self, reason: str) -> None:
        """One more decision that could not be carried out."""
        with self._lock:
            self._refused[reason] += 1

    def charged(self, *, in_flight: int, open_: int) -> Charged:
        """All since the last call, and what remains."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            refused, self._refused = self._refused, Counter()
        return Charged(**counts, in_flight=in_flight, open=open_, refused=dict(refused))
