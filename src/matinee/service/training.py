"""Training for any surface, and offline evaluation of the surface `titles`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from matinee import evaluation
from matinee.errors import MatineeError
from matinee.evaluation import Report, Split
from matinee.models import Model
from matinee.policies import Policy
from matinee.registry import Version
from matinee.service.datasets import interactions, training_set
from matinee.service.folder import Service
from matinee.service.make import make_model
from matinee.surfaces import Surface, Titles

Protocol = Literal["leave-one-out", "time-split"]
CORE = 5
HOLDOUT_SHARE = 0.1
"""The last part of the log that a time split asks for, where no time is named."""


def make_models(
    service: Service, names: Iterable[str] | None = None, surface: str = Titles.name
) -> list[Model]:
    """Unfitted models by name, by default the surface's usual ones.

    They have the settings that the surface gives them, else those of the service.
    """
    usual = {model.name: model for model in service.surface(surface).models()}
    train = service.settings.train
    return [usual.get(name) or make_model(name, train) for name in names or usual]


def usual_policy(surface: Surface, name: str | None = None) -> Policy:
    """One of the surface's usual policies by name, the first by default."""
    usual = surface.policies()
    if name is not None and name not in usual:
        raise MatineeError(
            f"{surface.name} has no policy {name!r}",
            why=f"its usual ones are {', '.join(map(repr, usual))}",
        )
    return usual[name or next(iter(usual))]


def split(
    service: Service, protocol: Protocol, as_of: datetime | None = None, at: datetime | None = None
) -> Split:
    """The interactions known at `as_of`, split by a protocol.

    Leave-one-out keeps members and titles of at least five events (5-core). A time split asks for
    what came at or after `at`, by default for the last tenth of the log. The split's `data` says
    when it was known and how many minutes count, so that it can be had again.
    """
    as_of = as_of_past(as_of)
    minutes = service.settings.surfaces.titles.min_minutes
    rows = interactions(service.lake, as_of, minutes)
    if rows.is_empty():
        raise MatineeError(
            "there is nothing to evaluate on",
            why="no member has watched anything yet",
            next_step="matinee import SOURCE",
        )
    with _told_plainly():
        found = _split(rows, protocol, at)
    known = {"as_of": as_of.isoformat(), "min_minutes": minutes}
    return replace(found, data={**found.data, **known})


def _split(rows: pl.DataFrame, protocol: Protocol, at: datetime | None) -> Split:
    if protocol == "time-split":
        return evaluation.global_time_split(rows, at or _late(rows))
    core = evaluation.five_core(rows, CORE)
    if core.is_empty():  # a log this small has none: all of it is asked
        return evaluation.leave_one_out(rows)
    found = evaluation.leave_one_out(core)
    return replace(found, protocol={**found.protocol, "core": CORE})


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except ValueError as impossible:
        raise MatineeError(
            "this log cannot be evaluated so",
            why=str(impossible),
            next_step="import more, or choose another --protocol or --at",
        ) from impossible


def _late(rows: pl.DataFrame) -> datetime:
    at = rows["ts"].sort()[int(rows.height * (1 - HOLDOUT_SHARE))]
    assert isinstance(at, datetime)  # noqa: S101
    return at


def evaluate(
    service: Service,
    names: Iterable[str] | None = None,
    *,
    protocol: Protocol = "leave-one-out",
    holdout: Literal["test", "validation"] = "test",
    as_of: datetime | None = None,
    at: datetime | None = None,
    seed: int = 0,
) -> Report:
    """Rank with each model and save the report in the service folder."""
    chosen = make_models(service, names)
    asked = split(service, protocol, as_of, at)
    with _told_plainly():
        report = evaluation.evaluate(chosen, asked, holdout=holdout, seed=seed)
    save_report(service, report)
    return report


def best_on_validation(
    service: Service, names: Iterable[str] | None = None, *, as_of: datetime | None = None
) -> str:
    """The model with the highest NDCG@10 on the validation targets; the test is not looked at."""
    chosen = make_models(service, names)
    asked = split(service, "leave-one-out", as_of)
    with _told_plainly():
        report = evaluation.evaluate(chosen, asked, holdout="validation", resamples=2)
    return max(report.rows, key=lambda row: row.metrics["ndcg@10"].value).model


def train(
    service: Service,
    names: Iterable[str] | None = None,
    *,
    surface: str = Titles.name,
    policy: str | None = None,
    as_of: datetime | None = None,
    by: str,
) -> list[Version]:
    """Fit models on everything known at `as_of` and register each with a policy of the surface.

    The metrics of the latest evaluation of the same model with the same settings go into its
    lineage, with the report that they come from.
    """
    as_of = as_of_past(as_of)
    chosen = make_models(service, names, surface)
    drawn = usual_policy(service.surface(surface), policy)
    minutes = service.settings.surfaces.titles.min_minutes
    watched = any(model.learns_from == "histories" for model in chosen)
    data = training_set(service.lake, as_of, minutes, surface, needs_histories=watched)
    champion = service.registry.alias(surface, "champion")
    return [
        service.registry.register(
            surface,
            model.fit(data),
            drawn,
            data_as_of=as_of,
            settings=model.settings(),
            metrics=_latest_metrics(service, surface, model),
            by=by,
            parent=champion.id if champion else None,
        )
        for model in chosen
    ]


def aware(time: datetime) -> datetime:
    """The time with its zone: UTC where it names none."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def as_of_past(as_of: datetime | None) -> datetime:
    """`as_of`, now by default. `MatineeError` for the future: nobody knows what will be known."""
    now = datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise MatineeError(f"{as_of:%Y-%m-%d %H:%M} lies in the future", next_step="leave it out")
    return as_of or now


def reports(service: Service, surface: str) -> list[Path]:
    """Saved evaluations of a surface, oldest first."""
    return sorted((service.folder / "reports").glob(f"{surface}-*.json"))


def save_report(service: Service, report: Report, surface: str = "titles") -> Path:
    """Write the report as JSON under the time it was made."""
    return write_report(service, surface, ".json", report.to_json() + "\n")


def write_report(service: Service, of: str, suffix: str, text: str) -> Path:
    """Write a report of something into the folder of reports, whole or not at all."""
    folder = service.folder / "reports"
    folder.mkdir(exist_ok=True)
    path = folder / f"{of}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{suffix}"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.replace(path)


def _latest_metrics(service: Service, surface: str, model: Model) -> dict[str, Any]:
    settings = json.loads(json.dumps(model.settings()))
    for path in reversed(reports(service, surface)):
        report = json.loads(path.read_text(encoding="utf-8"))
        for row in report["rows"]:
            if (row["model"], row["settings"]) == (model.name, settings):
                return {"report": path.name, **{k: v["value"] for k, v in row["metrics"].items()}}
    return {}
