"""What an evaluation found: a table to read, and JSON that says how it came about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

import matinee


@dataclass(frozen=True)
class Estimate:
    """A metric and its 95 % interval, where it has one.

    >>> str(Estimate(0.1234, 0.11, 0.14)), str(Estimate(0.5, None, None))
    ('0.1234 [0.1100, 0.1400]', '0.5000')
    """

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def cell(self) -> str:
        """The value over its interval, for a narrow column."""
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f}\n[dim]{_brief(self.low)}-{_brief(self.high)}[/]"


def _brief(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}".removeprefix("0")


def _lines(settings: Mapping[str, Any]) -> Iterator[str]:
    """One setting a line; those of a model within come in their place."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _lines(value)
        else:
            yield f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"


@dataclass(frozen=True)
class Row:
    """One model: its settings, metrics by name, and how long it took."""

    model: str
    settings: dict[str, Any]
    metrics: dict[str, Estimate]
    fit_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class Report:
    """The rows of an evaluation with protocol, data, seed and code version; Rich can print it."""

    rows: tuple[Row, ...]
    protocol: dict[str, Any]
    data: dict[str, Any]
    seed: int
    resamples: int
    version: str = matinee.__version__

    def __rich__(self) -> Table:
        title = f"{self.protocol['name']}, {self.protocol['holdout']}"
        facts = (
            f"{self.data['members_asked']:,} members asked, {self.data['titles']:,} titles, "
            f"{self.data['events']:,} events\ndata {self.data['fingerprint'][:12]}, "
            f"seed {self.seed}, 95 % intervals by member"
        )
        table = Table(title=title, caption=facts, box=SIMPLE_HEAD, padding=0, show_edge=False)
        table.add_column("model", no_wrap=True)
        names = list(self.rows[0].metrics)
        for name in names:
            table.add_column(name.replace("@", "\n@"), justify="right", no_wrap=True)
        table.add_column("fit s\nrank s", justify="right", no_wrap=True)
        for row in self.rows:
            settings = "\n".join(_lines(row.settings))
            metrics = [row.metrics[name].cell() for name in names]
            times = f"{row.fit_seconds:.2f}\n{row.score_seconds:.2f}"
            table.add_row(f"{row.model}\n[dim]{settings}[/]", *metrics, times)
        return table

    def to_json(self) -> str:
        """All of it as JSON text, keys sorted, for the registry and for comparing runs."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)
