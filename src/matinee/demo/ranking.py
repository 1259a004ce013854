"""The titles of the demonstration: the first champion, who follows it, who does not, and what is
tried on members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from matinee.console import progress, say, show_report, working
from matinee.decisions import Decider
from matinee.desk import proof
from matinee.experiments.plan import Holdout
from matinee.policies import PlackettLuce, Policy
from matinee.registry import Approvals, Version, against_champion
from matinee.service import judging, readings, training
from matinee.service.folder import Service
from matinee.service.outcomes import close_windows
from matinee.service.runtime import Runtime
from matinee.surfaces import Request, Titles
from matinee.world import World

SURFACE = Titles.name
BY = "demo"
"""Who trains, promotes and approves here, unattended."""
EXPLORING = PlackettLuce(temperature=0.4, epsilon=0.5, segment=150)
"""What the first champion draws with: half of its slots at random, so that its log can tell."""
USUAL = PlackettLuce(temperature=0.4, epsilon=0.15, segment=120)
"""What is usual afterwards."""
HOTTER = replace(EXPLORING, temperature=2 * EXPLORING.temperature)
"""What the one draws with that is refused."""
MEASURED = 250
"""Members over whom what versions are truly worth is taken."""
EXPERIMENT, HOLDOUT = "fresh", "before"
HELD = 0.15
"""Share of the members who keep the first champion."""


def begin(service: Service, as_of: datetime | None = None) -> Version:
    """Evaluate, train, and say which is best on the validation targets."""
    say("Evaluating: each member's last title, ranked against the whole catalogue ...")
    with working("Fitting and ranking"):
        best = training.best_on_validation(service, as_of=as_of)
        report = training.evaluate(service, as_of=as_of)
    show_report(report)
    say("Training on everything ...")
    with working("Training"):
        made = training.train(service, as_of=as_of, by=BY)
    return {version.model: version for version in made}[best]


def promote(service: Service, version: Version, how: str = "") -> None:
    """Make a version the first champion."""
    reason = f"highest NDCG@10 on the validation targets{how}"
    service.registry.promote(SURFACE, version.id, by=BY, reason=reason)
    say(f"{version.id} ({version.model}) is the champion: {reason}")


def explore(service: Service, best: Version) -> None:
    """Let the best model decide at first with much exploration, and hold some members for good."""
    first = varied(service, best, EXPLORING)
    share = f"{EXPLORING.epsilon:.0%} of its slots are drawn at random"
    promote(service, first, f"; {share}, for a log to learn from")
    held = Holdout(name=HOLDOUT, share=HELD, surface=SURFACE, serves=first.id)
    service.trials.hold(held, BY, "what everything since has brought is read off beside them")


def varied(service: Service, version: Version, policy: Policy) -> Version:
    """The model of a version with another policy, as a version of its own."""
    model, _ = service.registry.load(version.id)
    return service.registry.register(
        version.surface,
        model,
        policy,
        data_as_of=version.data_as_of,
        settings=version.settings,
        metrics=version.metrics,
        by=BY,
        parent=version.id,
    )


def candidates(service: Service, as_of: datetime) -> dict[str, str]:
    """What may follow the champion, and why: its model on all that is known by then, exploring as
    is usual; and the model as it is, exploring more.
    """
    champion = service.registry.alias(SURFACE, "champion")
    assert champion is not None  # noqa: S101
    (made,) = training.train(service, [champion.model], as_of=as_of, by=BY)
    return {
        made.id: "learned from more days, and explores less",
        varied(service, champion, HOTTER).id: "the same model, twice as hot: would it find more?",
    }


def settle(service: Service, world: World, found: Mapping[str, str], at: datetime) -> None:
    """Judge candidates on the champion's log as of a time, and approve the one that passes."""
    say(f"What came of its decisions: {close_windows(service, at, SURFACE)}")
    approvals = Approvals(service.registry)
    for version, why in found.items():
        service.registry.challenge(SURFACE, version, by=BY, reason=why)
        say(f"{version} challenges the champion: {why}")
        judgement = judged(service, version, at)
        gain = _gain(service, world, judgement, at)
        say(f"the truth, known only because this service is simulated: {gain:+.4f}")
        say(f"the page with plots: {proof.save(judgement, service, truth=gain)}")
    for passed in approvals.passed(SURFACE):
        approvals.approve(SURFACE, passed.candidate, by=BY, reason=passed.reasons[0])
        say(f"{passed.candidate} is the champion of {SURFACE}: approved by '{BY}'")


def judged(service: Service, version: str, at: datetime) -> judging.Judgement:
    """Hold a version against the champion on the log as of a time, and show the verdict."""
    with progress("Weighing", service.lake.bucket_count, "parts") as advance:
        found = judging.judge(service, version, by=BY, now=at, advance=advance)
    proof.show_judgement(found)
    return found


def _gain(service: Service, world: World, found: judging.Judgement, at: datetime) -> float:
    """What the candidate truly brings more, which only a simulated service can say."""
    with Runtime(service) as runtime:
        mine, theirs = (
            world.value(slates(runtime.decider(one.id), at), at, measured(world), draws=2)[0]
            for one in (found.candidate, found.champion)
        )
    return mine - theirs


def start(service: Service, at: datetime) -> None:
    """Try what was learned from all days until then on half of the members."""
    champion = service.registry.alias(SURFACE, "champion")
    assert champion is not None  # noqa: S101
    (made,) = training.train(service, [champion.model], as_of=at, by=BY)
    one = against_champion(EXPERIMENT, SURFACE, made.id, start=at)
    service.trials.start(one, BY, "does learning again bring more?")
    say(f"{EXPERIMENT} compares {made.id} with {champion.id} on members, since {at:%Y-%m-%d}")


def read(service: Service, at: datetime) -> None:
    """Read the experiment as of a time, as the job does, which halts what harms."""
    close_windows(service, at, SURFACE)
    found = readings.read(service, EXPERIMENT, now=at)
    found.remember(service, by="matinee")
    if found.breached or found.outcome == "broken":
        service.trials.halt(EXPERIMENT, by="matinee", reason=found.reasons[0])


def tell_truth(service: Service, world: World, at: datetime) -> None:
    """What each version is truly worth, which only a simulated service can say."""
    with Runtime(service) as runtime:
        policies = {"chance": world.uniform(), "the policy that wrote the log": world.logging()}
        for version in service.registry.versions(SURFACE):
            policies[f"{version.id} ({version.model})"] = slates(runtime.decider(version.id), at)
        policies["the best possible"] = world.oracle(at)
        members = measured(world)
        say(
            f"True plays per decision of {world.settings.slots} titles, over {len(members)} members"
        )
        say("(known only because this service is simulated):")
        for name, policy in policies.items():
            value, error = world.value(policy, at, members, draws=2)
            say(f"  {name:30} {value:.3f}  (standard error {error:.3f})")


def measured(world: World) -> list[str]:
    """The members over whom the truth is taken."""
    return [member.member_id for member in world.members()][:MEASURED]


def slates(decider: Decider[Any], at: datetime) -> Any:
    """A version as the world asks it: member, eligible ids and random numbers to a slate."""

    def draw(member_id: str, _: Sequence[str], rng: np.random.Generator) -> list[str]:
        request = Request(request_id=str(rng.integers(2**62)), member_id=member_id, at=at)
        return decider.propose(request).actions

    return draw
