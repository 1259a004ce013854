"""Training for any surface, and offline evaluation of the surface `titles`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl

from matinee import evaluation
from matinee.errors import MatineeError
from matinee.evaluation import Report, Split
from matinee.models import Dataset, Model, Progress, Run
from matinee.policies import Policy
from matinee.registry import Version, check_together
from matinee.service.checkpoints import Checkpoint, Started, interrupted_models
from matinee.service.content import content_of, informs, reads_content
from matinee.service.datasets import (
    NOTHING,
    HistoriesOfBucket,
    Learned,
    histories_of,
    training_set,
)
from matinee.service.folder import Service
from matinee.service.make import make_model
from matinee.service.outcomes import close_windows
from matinee.surfaces import Surface, Titles

Protocol = Literal["leave-one-out", "time-split"]
Told = Callable[[str, Progress], None]
CHECKPOINTS = "checkpoints"
THROUGH = "through"
"""What the registry calls how far in the log a training came."""
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
    buckets = histories_of(service.lake, as_of, minutes)
    watched = pl.concat([one.first_watches() for one in buckets])
    if watched.is_empty():
        raise MatineeError(
            "there is nothing to evaluate on",
            why="no member has watched anything yet",
            next_step="matinee import SOURCE",
        )
    with _told_plainly():
        found = _split(buckets, watched, protocol, at)
    known = {"as_of": as_of.isoformat(), "min_minutes": minutes}
    return replace(found, data={**found.data, **known})


def _split(
    buckets: list[HistoriesOfBucket],
    watched: pl.DataFrame,
    protocol: Protocol,
    at: datetime | None,
) -> Split:
    """Rows before what is asked are as they were known then."""
    if protocol == "time-split":
        at = at or _late(watched)
        cuts = watched.select(pl.col("member_id").unique(), cut=pl.lit(at))
        return evaluation.global_time_split(_rows(buckets, cuts), at)
    core = evaluation.five_core(watched, CORE)
    kept = watched if core.is_empty() else core  # a log this small has none: all of it is asked
    cuts = kept.group_by("member_id").agg(cut=pl.col("ts").sort().get(-2, null_on_oob=True))
    rows = _rows(buckets, cuts)
    for column in ("member_id", "title_id"):
        rows = rows.join(kept.select(pl.col(column).unique()), on=column, how="semi")
    found = evaluation.leave_one_out(rows)
    return found if core.is_empty() else replace(found, protocol={**found.protocol, "core": CORE})


def _rows(buckets: list[HistoriesOfBucket], cuts: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([one.frame(cuts) for one in buckets])


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except FloatingPointError as failure:
        raise MatineeError(
            "a model could not be trained on this log",
            why=str(failure),
            next_step="change its settings in matinee.toml",
        ) from failure
    except ValueError as impossible:
        raise MatineeError(
            "this log cannot be evaluated so",
            why=str(impossible),
            next_step="import more, or choose another --protocol or --at",
        ) from impossible


def _late(watched: pl.DataFrame) -> datetime:
    at = watched["ts"].sort()[int(watched.height * (1 - HOLDOUT_SHARE))]
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
    told: Told = lambda _model, _progress: None,
) -> Report:
    """Rank with each model and save the report in the service folder.

    `told` hears of a long fit, by the model's name, how far it is.
    """
    chosen = make_models(service, names)
    asked = _with_content(service, chosen, split(service, protocol, as_of, at), as_of)
    with _told_plainly():
        report = evaluation.evaluate(chosen, asked, holdout=holdout, seed=seed, told=told)
    save_report(service, report)
    return report


def best_on_validation(
    service: Service, names: Iterable[str] | None = None, *, as_of: datetime | None = None
) -> str:
    """The model with the highest NDCG@10 on the validation targets; the test is not looked at."""
    chosen = make_models(service, names)
    asked = _with_content(service, chosen, split(service, "leave-one-out", as_of), as_of)
    with _told_plainly():
        report = evaluation.evaluate(chosen, asked, holdout="validation", resamples=2)
    return max(report.rows, key=lambda row: row.metrics["ndcg@10"].value).model


def _with_content(
    service: Service, models: list[Model], asked: Split, as_of: datetime | None
) -> Split:
    """The split with what titles are about, if any of the models reads it."""
    if not any(map(reads_content, models)):
        return asked
    return replace(asked, train=replace(asked.train, content=content_of(service.lake, as_of)))


def train(
    service: Service,
    names: Iterable[str] | None = None,
    *,
    surface: str = Titles.name,
    policy: str | None = None,
    as_of: datetime | None = None,
    by: str,
    resume: bool = False,
    told: Told = lambda _model, _progress: None,
) -> list[Version]:
    """Fit models on everything known at `as_of` and register each with a policy of the surface.

    `told` hears of a long fit, by the model's name, how far it is. One that is cut short is kept
    in ``checkpoints/`` of the service folder; Ctrl-C raises `Interrupted`. With `resume` such fits
    go on, of `names` or of all models, on what was known when they began. One process at a time
    trains a model for a surface.

    The metrics of the latest evaluation of the same model with the same settings go into its
    lineage, with the report that they come from.
    """
    if resume:
        names = list(names or _interrupted(service, surface))
    known, chosen = as_of_past(as_of), make_models(service, names, surface)
    usual_policy(service.surface(surface), policy)  # one that there is, before anything is done
    training = _Training(service, surface, policy, by, told)
    if not resume:
        return [training.begin(model, known) for model in chosen]
    if as_of is not None:
        raise MatineeError(
            "what was interrupted goes on with what was known when it began",
            next_step="leave --as-of out, or leave out --resume to begin anew",
        )
    return [training.go_on(model) for model in chosen]


@dataclass(frozen=True)
class _Training:
    """What is the same for all models that are trained together."""

    service: Service
    surface: str
    policy: str | None
    by: str
    told: Told

    def begin(self, model: Model, as_of: datetime) -> Version:
        check_together(self.surface, model, self._policy(self.policy))
        with self._kept(model).held() as kept:
            # What was kept before is forgotten only if there is anything to learn from.
            data, through = data_for(self.service, self.surface, model, as_of)
            began = Started(as_of, _plain(model.settings()), self.policy)
            kept.begin(began)
            fitted = self._fitted(model, data, kept, resume=False)
            return self._end(fitted, through, kept, began)

    def go_on(self, model: Model) -> Version:
        with self._kept(model).held() as kept:
            began = kept.started(_plain(model.settings()))
            data, through = data_for(self.service, self.surface, model, began.as_of)
            fitted = self._fitted(model, data, kept, resume=True)
            return self._end(fitted, through, kept, began)

    def _policy(self, name: str | None) -> Policy:
        return usual_policy(self.service.surface(self.surface), name)

    def _kept(self, model: Model) -> Checkpoint:
        return Checkpoint(self.service.folder / CHECKPOINTS, self.surface, model.name)

    def _fitted(self, model: Model, data: Dataset, kept: Checkpoint, *, resume: bool) -> Model:
        with kept.told_plainly():
            return model.fit(data, Run(partial(self.told, model.name), kept.path, resume))

    def _end(self, model: Model, through: int, kept: Checkpoint, began: Started) -> Version:
        """Register; what is kept is forgotten once the version stands."""
        metrics = _latest_metrics(self.service, self.surface, model)
        champion = self.service.registry.alias(self.surface, "champion")
        version = self.service.registry.register(
            self.surface,
            model,
            self._policy(self.policy or began.policy),
            data_as_of=began.as_of,
            settings=model.settings(),
            metrics={**metrics, **learned(model, through)},
            by=self.by,
            parent=champion.id if champion else None,
        )
        kept.forget()
        return version


def data_for(
    service: Service, surface: str, model: Model, as_of: datetime, since: Learned = NOTHING
) -> tuple[Dataset, int]:
    """What a model learns from on a surface, and up to which number of arrival that is: all that
    was known at `as_of`, of what came of its decisions only what was not learned `since`. Windows
    that were over by then are closed first.
    """
    if model.learns_from == "responses":
        close_windows(service, as_of, surface)
    through, kind = service.lake.inbox.last_seq(), type(service.surface(surface))
    data = training_set(
        service.lake,
        as_of,
        service.settings.surfaces.titles.min_minutes,
        surface,
        needs_histories=model.learns_from == "histories",
        since=since,
        through=through,
        kind=kind,
    )
    if informs(kind, model):
        data = replace(data, content=content_of(service.lake, as_of, kind))
    return data, through


def learned(model: Model, through: int) -> dict[str, Any]:
    """What the registry keeps of a version that learned from what came of decisions: up to which
    number of arrival, so that it can go on from there.
    """
    return {THROUGH: through} if model.learns_from == "responses" else {}


def _interrupted(service: Service, surface: str) -> list[str]:
    found = interrupted_models(service.folder / CHECKPOINTS, surface)
    if not found:
        raise MatineeError(
            f"no training for {surface} was interrupted", next_step=f"matinee train {surface}"
        )
    return found


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
    settings = _plain(model.settings())
    for path in reversed(reports(service, surface)):
        report = json.loads(path.read_text(encoding="utf-8"))
        for row in report["rows"]:
            if (row["model"], row["settings"]) == (model.name, settings):
                return {"report": path.name, **{k: v["value"] for k, v in row["metrics"].items()}}
    return {}


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are read again from JSON: lists where there were tuples."""
    read: dict[str, Any] = json.loads(json.dumps(settings))
    return read
