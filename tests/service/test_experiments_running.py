"""Experiments decide: members get their arm, records say so, and a halt is heard within moments."""

import shutil
from datetime import UTC, datetime

import pytest

from matinee.experiments.plan import Holdout
from matinee.registry import Approvals, against_champion
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from matinee.surfaces import Request
from waiting import eventually

MEMBERS = [f"m{number}" for number in range(200)]


@pytest.fixture
def service(made, tmp_path):
    with Service.open(shutil.copytree(made, tmp_path / "shows")) as opened:
        yield opened


def asked(member, request="r"):
    return Request(request_id=request, member_id=member, at=datetime.now(UTC), slots=1)


def arms(runtime, request="r"):
    """Which arm, and which version, decides for each member; nothing is logged."""
    found = {}
    for member in MEMBERS:
        decision = runtime.deciding("titles", asked(member)).propose(asked(member, request))
        found[member] = decision.arm, decision.policy
    return found


def test_members_get_their_arm_and_their_records_say_so(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    service.trials.start(against_champion("fresh", "titles", other, share=0.3), "ann", "")
    with Runtime(service) as runtime:
        found = arms(runtime)
        assert set(found.values()) == {("fresh:control", champion), ("fresh:treatment", other)}
        treated = [member for member, (arm, _) in found.items() if arm == "fresh:treatment"]
        assert 30 < len(treated) < 90  # of 200 at .3: far beyond five standard deviations
        kept = runtime.decide("titles", asked(treated[0]))
        assert (kept.arm, kept.policy) == ("fresh:treatment", other)
    row = service.lake.scan("decisions").filter(decision_id=kept.decision_id).collect()
    assert row["arm"].to_list() == ["fresh:treatment"]


def test_starting_halting_and_ending_are_heard_by_who_serves(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    with Runtime(service) as runtime:
        assert set(arms(runtime).values()) == {(None, champion)}
        service.trials.start(against_champion("fresh", "titles", other), "ann", "")
        assert eventually(lambda: len(set(arms(runtime).values())) == 2)
        before = arms(runtime)
        service.trials.halt("fresh", "ann", "complaints")
        assert eventually(lambda: set(arms(runtime).values()) == {(None, champion)})
        service.trials.resume("fresh", "ann", "it was not us")
        assert eventually(lambda: arms(runtime) == before)
        service.trials.end("fresh", "ann", "enough")
        assert eventually(lambda: set(arms(runtime).values()) == {(None, champion)})


def test_a_request_that_was_answered_keeps_its_answer(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    with Runtime(service) as runtime:
        first = {member: runtime.decide("titles", asked(member)) for member in MEMBERS[:20]}
        service.trials.start(against_champion("fresh", "titles", other), "ann", "")
        assert eventually(lambda: len(set(arms(runtime).values())) == 2)
        for member, decision in first.items():
            again = runtime.decide("titles", asked(member))
            assert again.decision_id == decision.decision_id
            assert (again.arm, again.policy) == (None, champion)


def test_a_holdout_keeps_its_version_and_is_in_no_experiment(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    held = Holdout(name="before", share=0.3, surface="titles", serves=other)
    service.trials.hold(held, "ann", "")
    service.trials.start(against_champion("fresh", "titles", other), "ann", "")
    with Runtime(service) as runtime:
        found = arms(runtime)
    assert {arm for arm, _ in found.values()} == {"before", "fresh:control", "fresh:treatment"}
    assert {version for arm, version in found.values() if arm == "before"} == {other}


def test_the_control_keeps_its_version_when_another_becomes_champion(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    service.trials.start(against_champion("fresh", "titles", other, to=(0.0, 0.5)), "ann", "")
    with Runtime(service) as runtime:
        before = arms(runtime)
        Approvals(service.registry).override("titles", other, "ann", "it is urgent")
        assert eventually(lambda: (None, other) in arms(runtime).values())
        after = arms(runtime)
    assert {m: found for m, found in before.items() if found[0]} == {
        m: found for m, found in after.items() if found[0]
    }
    assert ("fresh:control", champion) in after.values()


def test_where_a_version_cannot_be_read_the_champion_decides(service):
    champion = service.registry.alias("titles", "champion").id
    other = next(v.id for v in service.registry.versions("titles") if v.id != champion)
    service.trials.start(against_champion("fresh", "titles", other), "ann", "")
    file = service.folder / "models" / "titles" / other.rpartition("@")[2] / "model.npz"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:50])
    with Runtime(service) as runtime:
        assert set(arms(runtime).values()) == {(None, champion)}  # no arm without the other
