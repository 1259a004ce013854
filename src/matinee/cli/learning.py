"""Commands of models and versions: train, evaluate, promote, approve, override, roll-back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter

from matinee.cli.app import HERE, ServiceFolder, app, examples, opening, whoever
from matinee.console import fitting, progress, say, show, show_report
from matinee.desk import proof
from matinee.errors import MatineeError
from matinee.registry import Approvals, Version, parse_version
from matinee.service import judging, training, updating
from matinee.service.folder import Service
from matinee.service.forgetting import tombstones
from matinee.surfaces import Titles

SurfaceName = Annotated[str, Parameter(help="A surface: titles, or one of your own.")]
ModelNames = Annotated[
    list[str] | None,
    Parameter(name="--model", negative="", help="A model, by name; may stand several times."),
]


@app.command(
    help_epilogue=examples(
        "train titles",
        "train titles --model ease",
        "train titles --model sequence --resume",
        "train notifications --policy explore",
        "train artwork --update",
    )
)
def train(
    surface: SurfaceName,
    /,
    *,
    model: ModelNames = None,
    policy: str | None = None,
    as_of: datetime | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    update: Annotated[bool, Parameter(negative="")] = False,
    service: ServiceFolder = HERE,
) -> None:
    """Fit models on everything known and register each as a version.

    Nothing that is served changes: a version decides once it is the champion. A long fit says how
    far it is; Ctrl-C keeps what it has learned, and --resume goes on from there to the same
    result. Without --resume it begins anew.

    Parameters
    ----------
    policy
        Which of the surface's usual policies draws; the first by default.
    as_of
        Learn only from what was known at this time (UTC unless it says otherwise).
    resume
        Go on with what was interrupted, on what was known when it began.
    update
        Let the champion learn what has come to be known since it learned, and nothing else: the
        same as training anew, in a moment. For models that can, such as linear.
    """
    known = as_of and training.aware(as_of)
    with opening(service) as opened:
        if update:
            if model or resume:
                raise MatineeError(
                    "--update goes on from the champion, without --model or --resume"
                )
            made = updating.update(opened, surface, policy=policy, as_of=known, by=whoever())
            _list(opened, [made])
            say(f"next: matinee evaluate {surface} --candidate {made.id}, on later decisions")
            return
        with fitting() as told:
            trained = training.train(
                opened,
                model,
                surface=surface,
                policy=policy,
                as_of=known,
                by=whoever(),
                resume=resume,
                told=told,
            )
        _list(opened, trained)
        version = trained[-1].id
        if opened.registry.alias(surface, "champion") is None:
            ranked = "matinee evaluate titles, or " if surface == Titles.name else ""
            say(f"next: {ranked}matinee promote {version}")
        else:
            say(f"next: matinee evaluate {surface} --candidate {version}, on later decisions")


@app.command(
    help_epilogue=examples(
        "evaluate titles",
        "evaluate titles --protocol time-split",
        "evaluate titles --candidate titles@3",
    )
)
def evaluate(
    surface: SurfaceName,
    /,
    *,
    candidate: str | None = None,
    model: ModelNames = None,
    protocol: training.Protocol = "leave-one-out",
    at: datetime | None = None,
    as_of: datetime | None = None,
    seed: int = 0,
    service: ServiceFolder = HERE,
) -> None:
    """Judge a candidate on the log, or rank held-out titles with each model.

    With --candidate the version is held against the champion, off-policy, on the decisions that
    the champion made after both were trained. The gate says passes, fails or insufficient support,
    and why; the verdict goes on record, and a page with plots to reports/. A pass waits for
    matinee approve.

    Without it (for titles) the whole catalogue is ranked, popularity is always in the table, and
    intervals are bootstrapped by member. The report goes to reports/ with its data, seed, settings
    and version.

    Parameters
    ----------
    candidate
        A version to hold against the champion, such as titles@3. The options below are not for it.
    protocol
        leave-one-out asks for each member's last title; time-split for all after a time.
    at
        Where a time split cuts; the last tenth of the log by default.
    as_of
        Use only what was known at this time.
    seed
        Of the bootstrap.
    """
    with opening(service) as opened:
        if candidate is not None:
            _judge(opened, surface, candidate)
            return
        if opened.surface(surface).name != Titles.name:
            raise MatineeError(
                f"{surface} is evaluated on its log alone",
                why="only titles has held-out views to rank",
                next_step=_candidate(opened, surface),
            )
        with fitting() as told:
            report = training.evaluate(
                opened,
                model,
                protocol=protocol,
                at=at and training.aware(at),
                as_of=as_of and training.aware(as_of),
                seed=seed,
                told=told,
            )
        show_report(report)
        say(f"saved in {training.reports(opened, surface)[-1]}")


@app.command(help_epilogue=examples("versions titles"))
def versions(surface: SurfaceName = Titles.name, /, *, service: ServiceFolder = HERE) -> None:
    """List the versions of a surface with their lineage, and who did what with them."""
    with opening(service) as opened:
        if not (known := opened.registry.versions(surface)):
            having = opened.registry.surfaces()
            steps = [f"matinee train {surface}", *(f"matinee versions {one}" for one in having)]
            raise MatineeError(
                f"{surface} has no versions yet",
                why=f"there are versions of {', '.join(having)}" if having else "",
                next_step=", or ".join(steps),
            )
        _list(opened, known)
        show(
            ("when", "who", "did", "from", "to", "why"),
            [
                (change.at, change.by, change.action, change.old, change.new, change.reason)
                for change in opened.registry.history(surface)
                if change.action != "register"
            ],
        )


@app.command(help_epilogue=examples("promote titles@3 --reason 'highest NDCG on validation'"))
def promote(
    version: str, /, *, reason: str = "", by: str | None = None, service: ServiceFolder = HERE
) -> None:
    """Make a version the first champion of its surface: the first that decides.

    Where there is a champion, a version that passed the gate follows it: matinee evaluate
    --candidate, then matinee approve. Without a pass there is matinee override.

    Parameters
    ----------
    version
        Such as titles@3.
    reason
        Why; it stands in the history.
    by
        Who; the user name by default.
    """
    with opening(service) as opened:
        surface, _ = parse_version(version)
        opened.registry.promote(surface, version, by or whoever(), reason)
        say(f"{version} is the champion of {surface}")
        say("next: matinee serve")


@app.command(help_epilogue=examples("approve titles@3 --reason 'read the report'"))
def approve(
    version: str, /, *, reason: str = "", by: str | None = None, service: ServiceFolder = HERE
) -> None:
    """Make a version that passed the gate the champion.

    Running servers decide with it within a second. The pass must be its latest verdict against the
    present champion (matinee evaluate --candidate), and is good for one approval.

    Parameters
    ----------
    version
        Such as titles@3.
    reason
        Why; it stands in the history.
    by
        Who; the user name by default.
    """
    with opening(service) as opened:
        surface, _ = parse_version(version)
        Approvals(opened.registry).approve(surface, version, by or whoever(), reason)
        say(f"{version} is the champion of {surface}")
        say(f"next: matinee serve, or matinee roll-back {surface} to undo")


@app.command(help_epilogue=examples("override titles@3 --reason 'the log cannot judge it'"))
def override(
    version: str, /, *, reason: str, by: str | None = None, service: ServiceFolder = HERE
) -> None:
    """Make a version the champion without a pass of the gate: the history shows it for ever.

    Running servers decide with it within a second.

    Parameters
    ----------
    version
        Such as titles@3.
    reason
        Why no proof is needed.
    by
        Who; the user name by default.
    """
    with opening(service) as opened:
        surface, _ = parse_version(version)
        Approvals(opened.registry).override(surface, version, by or whoever(), reason)
        say(f"{version} is the champion of {surface}, by override")
        say(f"next: matinee serve, or matinee roll-back {surface} to undo")


@app.command(name="roll-back", help_epilogue=examples("roll-back titles --reason 'fewer plays'"))
def roll_back(
    surface: SurfaceName,
    /,
    *,
    reason: str = "",
    by: str | None = None,
    service: ServiceFolder = HERE,
) -> None:
    """Make the champion before this one the champion again.

    Parameters
    ----------
    reason
        Why; it stands in the history.
    by
        Who; the user name by default.
    """
    with opening(service) as opened:
        version = opened.registry.roll_back(surface, by or whoever(), reason)
        say(f"{version.id} is the champion of {surface} again")


def _judge(service: Service, surface: str, candidate: str) -> None:
    if parse_version(candidate)[0] != surface:
        raise MatineeError(
            f"{candidate} is not a version of {surface}", next_step=f"matinee versions {surface}"
        )
    with progress("Weighing", service.lake.tables["decisions"].bucket_count, "parts") as advance:
        found = judging.judge(service, candidate, by=whoever(), advance=advance)
    proof.show_judgement(found)
    say(f"the page with plots: {proof.save(found, service)}")


def _candidate(service: Service, surface: str) -> str:
    """What to type to judge the latest version, or to have one that is not the champion."""
    known = service.registry.versions(surface)
    if not known or known[-1] == service.registry.alias(surface, "champion"):
        return f"matinee train {surface}"
    return f"matinee evaluate {surface} --candidate {known[-1].id}"


def _list(service: Service, listed: list[Version]) -> None:
    aliases = {
        version.id: alias
        for alias in ("champion", "challenger")
        if (version := service.registry.alias(listed[0].surface, alias))
    }
    show(
        ("version", "model", "policy", "data as of", "ndcg@10", "by", "alias", "forgotten since"),
        [
            (
                version.id,
                version.model,
                version.policy,
                version.data_as_of,
                _brief(version.metrics.get("ndcg@10")),
                version.by,
                aliases.get(version.id),
                tombstones(service.store, version.data_as_of) or None,
            )
            for version in listed
        ],
    )


def _brief(metric: float | None) -> str:
    return "" if metric is None else f"{metric:.4f}"
