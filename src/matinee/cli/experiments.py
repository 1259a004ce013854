"""Commands of experiments: start, read, halt, resume, widen, end, win, hold, release, list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from matinee.cli.app import HERE, Reason, ServiceFolder, app, examples, opening, whoever
from matinee.console import say, show, working
from matinee.desk.experiments import show_reading, state_said
from matinee.errors import MatineeError
from matinee.experiments.plan import RULE, Holdout
from matinee.registry import against_champion, parse_version
from matinee.service.readings import read as read_experiment

experiments = App(
    name="experiments",
    help="What logs cannot settle: versions beside the champion, on members drawn by chance.",
    help_epilogue=examples(
        "experiments start fresh titles@4 --reason 'the log has too little support'",
        "experiments read fresh",
        "experiments win fresh --reason 'more plays, no fewer minutes'",
    ),
)
app.command(experiments)

Name = Annotated[str, Parameter(help="The experiment's name.")]
By = Annotated[str | None, Parameter(help="Who; the user name by default.")]


@experiments.command(
    help_epilogue=examples(
        "experiments start fresh titles@4 --reason 'passed the gate'",
        "experiments start fresh titles@4 --share 0.1 --slice 0 0.5 --reason 'a first look'",
    )
)
def start(
    name: Name,
    version: str,
    /,
    *,
    reason: Reason,
    share: float = 0.5,
    slice: tuple[float, float] = (0.0, 1.0),  # noqa: A002 - as the option is called
    by: By = None,
    service: ServiceFolder = HERE,
) -> None:
    """Give a version to a share of the members, from now on; the others have the champion.

    Running servers do so within a second. Who is in it stays in it, in the same arm.

    Parameters
    ----------
    version
        Such as titles@4.
    share
        Of the members in the slice; the others are the control.
    slice
        Which part of all members takes part, from and to: 0 0.1 is a tenth. It can be widened.
    """
    with opening(service) as opened:
        surface, _ = parse_version(version)
        try:
            one = against_champion(name, surface, version, share=share, to=slice)
        except ValueError as wrong:
            raise MatineeError(
                "this can be no experiment", why=str(wrong), next_step="mend it"
            ) from wrong
        control = opened.trials.start(one, by or whoever(), reason).arms[0].serves
        say(f"{name} compares {version} with {control}, the champion of {surface}")
        say(f"next: matinee experiments read {name}")


@experiments.command(name="list", help_epilogue=examples("experiments list"))
def list_(*, service: ServiceFolder = HERE) -> None:
    """List the experiments and holdouts of a service."""
    with opening(service) as opened:
        plan, now = opened.trials.plan(), datetime.now(UTC)
        show(
            ("experiment", "surface", "arms", "slice", "since", "state"),
            [
                (
                    one.name,
                    one.surface,
                    ", ".join(f"{arm.name} {arm.share:.0%} {arm.serves}" for arm in one.arms),
                    f"{one.slice[0]:g} to {one.slice[1]:g}",
                    f"{one.start:%Y-%m-%d}",
                    state_said(one, now),
                )
                for one in opened.trials.all()
            ],
        )
        if plan.holdouts:
            show(
                ("holdout", "surface", "share", "serves"),
                [
                    (one.name, one.surface or "all", f"{one.share:.1%}", one.serves)
                    for one in plan.holdouts
                ],
            )


@experiments.command(help_epilogue=examples("experiments read fresh"))
def read(name: Name, /, *, service: ServiceFolder = HERE) -> None:
    """Say what an experiment shows by now; it may be read as often as you like.

    The reading goes on record. matinee work reads those that run every hour, and halts one that was
    not run as planned or under which a metric falls by more than experiments.tolerance.
    """
    with opening(service) as opened:
        with working("Reading the log"):
            found = read_experiment(opened, name)
        found.remember(opened, by=whoever())
        show_reading(found)


@experiments.command(help_epilogue=examples("experiments halt fresh --reason 'complaints'"))
def halt(name: Name, /, *, reason: Reason, by: By = None, service: ServiceFolder = HERE) -> None:
    """Give all of its members the champion, at once: the kill switch.

    What a member was shown already stays as long as the surface lets it stand (pictures: 14 days).
    """
    with opening(service) as opened:
        opened.trials.halt(name, by or whoever(), reason)
        say(f"{name} is halted; next: matinee experiments resume {name}, or end {name}")


@experiments.command(help_epilogue=examples("experiments resume fresh --reason 'it was not us'"))
def resume(name: Name, /, *, reason: Reason, by: By = None, service: ServiceFolder = HERE) -> None:
    """Give its members their arms again."""
    with opening(service) as opened:
        opened.trials.resume(name, by or whoever(), reason)
        say(f"{name} goes on")


@experiments.command(help_epilogue=examples("experiments widen fresh 0 0.5 --reason 'all is well'"))
def widen(
    name: Name,
    begins: float,
    ends: float,
    /,
    *,
    reason: Reason,
    by: By = None,
    service: ServiceFolder = HERE,
) -> None:
    """Let more members in; who was in it stays in it.

    Parameters
    ----------
    begins, ends
        The part of all members that takes part, which holds the present one.
    """
    with opening(service) as opened:
        opened.trials.widen(name, (begins, ends), by or whoever(), reason)
        say(f"{name} has the members from {begins:g} to {ends:g} now")


@experiments.command(help_epilogue=examples("experiments end fresh --reason 'nothing came of it'"))
def end(name: Name, /, *, reason: Reason, by: By = None, service: ServiceFolder = HERE) -> None:
    """End it: all its members have the champion."""
    with opening(service) as opened:
        opened.trials.end(name, by or whoever(), reason)
        say(f"{name} is over")


@experiments.command(help_epilogue=examples("experiments win fresh --reason 'more plays'"))
def win(name: Name, /, *, reason: Reason, by: By = None, service: ServiceFolder = HERE) -> None:
    """Make its version the champion, where its latest reading says that it is better."""
    with opening(service) as opened:
        version = opened.trials.win(name, by or whoever(), reason)
        surface, _ = parse_version(version)
        say(f"{version} is the champion of {surface}; {name} is over")
        say(f"next: matinee roll-back {surface} undoes it")


@experiments.command(
    help_epilogue=examples(
        "experiments hold before titles@1 --share 0.02 --reason 'what all of it brings'"
    )
)
def hold(
    name: Annotated[str, Parameter(help="The holdout's name.")],
    version: str = RULE,
    /,
    *,
    share: float,
    reason: Reason,
    by: By = None,
    service: ServiceFolder = HERE,
) -> None:
    """Keep a share of members out of all experiments, with one version for good.

    What everything since has brought is read off beside them. A share may grow later.

    Parameters
    ----------
    version
        What they get, such as titles@1; without one the rule of surfaces that have one (payments).
    share
        Of all members.
    """
    with opening(service) as opened:
        surface = None if version == RULE else parse_version(version)[0]
        ruled = [name for name, each in opened.surfaces.items() if each.fallback()]
        if surface is None and not ruled:
            raise MatineeError(
                "no surface here has a rule",
                next_step=f"name what they keep: matinee experiments hold {name} titles@1",
            )
        try:
            one = Holdout(name=name, share=share, surface=surface, serves=version)
        except ValueError as wrong:
            raise MatineeError("this can be no holdout", why=str(wrong)) from wrong
        opened.trials.hold(one, by or whoever(), reason)
        where = surface or ", ".join(ruled)
        say(f"{share:.1%} of the members have {version} on {where} from now on")


@experiments.command(help_epilogue=examples("experiments release before --reason 'a new one'"))
def release(
    name: Annotated[str, Parameter(help="The holdout's name.")],
    /,
    *,
    reason: Reason,
    by: By = None,
    service: ServiceFolder = HERE,
) -> None:
    """Let the members of a holdout go."""
    with opening(service) as opened:
        opened.trials.release(name, by or whoever(), reason)
        say(f"{name} is released")
