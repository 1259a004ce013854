"""How payments went, counted by hand, and in a small simulated world with one outage."""

from datetime import UTC, datetime, timedelta

import pytest

from matinee.errors import MatineeError
from matinee.evaluation.intervals import wilson
from matinee.insights.processing import PROCESSORS, processing
from matinee.lake.billing import Attempt, Invoice, NetworkRule, Outage
from matinee.lake.records import Decision, Masked
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.payments.actions import SLOTS, STOP
from matinee.service.folder import Service
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import PaymentsSettings
from matinee.world.recovery import run
from renewing import Deciding

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DUE = NOW - timedelta(days=20)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows", {"lake.buckets": 2}) as service:
        yield service


def invoice(number, **more):
    told = {
        "invoice_id": f"i{number}",
        "member_id": f"m{number}",
        "amount": 1000,
        "currency": "EUR",
        "due_at": DUE,
        "grace_until": DUE + 28 * DAY,
        "instruments": ["c1"],
    }
    return Invoice(**{**told, **more})


def attempt(name, at, status, processor="gold", member="m1", **more):
    told = {
        "attempt_id": name,
        "member_id": member,
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": processor,
        "amount": 1000,
        "currency": "EUR",
        "at": at,
    }
    return Attempt(status=status, **{**told, **more})


def on(number, days, status, **more):
    """An attempt on the invoice of a number, so many days after it was due."""
    told = {"member": f"m{number}", "invoice_id": f"i{number}", **more}
    return attempt(f"a{number}-{days}", DUE + days * DAY, status, **told)


def decision(name, at, action, masks=(), removed=0):
    return Decision(
        decision_id=name,
        request_id=name,
        surface="payments",
        member_id="m1",
        at=at,
        policy="payments@1",
        actions=[] if action is None else [action],
        propensities=[] if action is None else [1.0],
        propensity_kind="joint",
        eligible="all",
        removed=list(range(removed)),
        segment=[],
        scores=[],
        seed=1,
        masks=[Masked(*mask) for mask in masks],
    )


def written(service, name, rows, known="at"):
    added = service.lake.append(name, frame_of_records(rows, SCHEMAS[name], known), source="test")
    assert added.rejected == 0


def read(service):
    return processing(service, now=NOW)


# From due to paid


def test_every_step_from_due_to_paid(service):
    """1 pays at once; 2 after 3 days; 3 after 15; 4 lapses untried; 5 is open; 6 was never tried;
    7 is on its way; 8 was paid at the desk; 9 is due tomorrow.
    """
    closed = {"closed_at": NOW - DAY}
    service.lake.put(
        [
            *(invoice(number) for number in (1, 2, 3, 5, 6, 7)),
            invoice(4, closed="lapsed", **closed),
            invoice(8, closed="paid", amount=3000, **closed),
            invoice(9, due_at=NOW + DAY),
            on(1, 0, "approved"),
            *(on(2, 0, "declined"), on(2, 1, "declined"), on(2, 3, "approved")),
            *(on(3, 0, "declined"), on(3, 15, "approved")),
            on(4, 0, "failed"),
            *(on(5, 0, "unknown"), on(5, 2, "declined")),
            on(7, 0, "sent"),
            *(on(8, 0, "declined"), on(8, 1, "declined")),
        ]
    )
    told = {one.name: (one.count, one.money, one.of) for one in read(service).funnel}
    assert told == {
        "due": (8, 100.0, ""),
        "tried": (7, 90.0, "due"),
        "approved": (1, 10.0, "tried"),
        "unanswered": (1, 10.0, "tried"),
        "failed": (5, 70.0, "tried"),
        "retried": (4, 60.0, "failed"),
        "soon": (1, 10.0, "retried"),
        "recovered": (2, 20.0, "retried"),
        "elsewhere": (1, 30.0, "failed"),
        "lost": (1, 10.0, "failed"),
        "open": (1, 10.0, "failed"),
    }
    shares = {one.name: one.share for one in read(service).funnel}
    assert shares["tried"] == 7 / 8
    assert shares["failed"] == 5 / 7
    assert shares["recovered"] == 2 / 4


def test_ids_that_two_members_share_are_told_apart(service):
    service.lake.put(
        [
            invoice(1),
            invoice(2, invoice_id="i1"),
            attempt("a", DUE, "declined", member="m1"),
            attempt("a", DUE, "approved", member="m2"),
        ]
    )
    told = {one.name: one.count for one in read(service).funnel}
    assert (told["due"], told["approved"], told["failed"], told["retried"]) == (2, 1, 1, 0)


def test_only_renewals_due_since_a_time_are_followed(service):
    service.lake.put([invoice(1), invoice(2, due_at=DUE - DAY)])
    found = processing(service, since=DUE, now=NOW)
    assert (found.invoices, found.funnel[0].count, found.since) == (1, 1, DUE)


def test_a_service_without_payments_has_nothing_and_no_error(service):
    found = read(service)
    assert (found.invoices, found.recovered, found.processors, found.outages) == (0, None, (), ())
    assert found.rules.ever.decisions == 0
    assert all(one.count == 0 for one in found.funnel)


def test_where_all_were_approved_there_is_a_funnel_and_nothing_recovered(service):
    service.lake.put([invoice(1), on(1, 0, "approved")])
    found = read(service)
    assert found.recovered is None
    assert {one.name: one.count for one in found.funnel}["approved"] == 1


def test_currencies_without_rates_are_told(service):
    service.lake.put([invoice(1), invoice(2, currency="JPY")])
    with pytest.raises(MatineeError, match="EUR, JPY"):
        read(service)


# Processors over time


def test_days_of_a_processor_with_their_shares_and_fees(service):
    written(
        service,
        "attempts",
        [
            attempt("a", DUE, "approved", fee=12),
            attempt("b", DUE, "declined", fee=3),
            attempt("c", DUE, "sent"),
            attempt("d", DUE + 4 * DAY, "unknown"),
            attempt("d", DUE + 4 * DAY + SECOND, "approved", fee=12),
            attempt("e", DUE, "failed", processor="moon"),
        ],
    )
    found = read(service)
    gold, moon = found.processors
    assert not found.hourly
    midnight = DUE.replace(hour=0)
    assert [(one.since, one.attempts, one.approved) for one in gold.spans] == [
        (midnight, 3, 1),
        (midnight + 4 * DAY, 1, 1),
    ]
    assert gold.spans[0].fees == pytest.approx(0.15)
    share = gold.spans[0].share
    # of 2 trials and 1 success: .5 +- z / (1 + z^2 / 2) * sqrt(1 / 8 + z^2 / 16)
    assert (share.value, share.low, share.high) == (
        0.5,
        pytest.approx(0.0945, abs=1e-4),
        pytest.approx(0.9055, abs=1e-4),
    )
    assert (gold.whole.attempts, gold.whole.approved, gold.whole.share.value) == (4, 2, 2 / 3)
    assert (moon.name, moon.whole.share.value, moon.whole.fees) == ("moon", 0.0, 0.0)


def test_shares_of_all_of_none_and_of_no_trials():
    for count, size in ((0, 10), (10, 10), (3, 10_000_000)):
        found = wilson(count, size)
        assert 0 <= found.low <= found.value == count / size <= found.high <= 1
    # nothing in 10: z^2 / (10 + z^2)
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_a_short_log_is_told_by_the_hour(service):
    times = (DUE, DUE + timedelta(minutes=59), DUE + timedelta(minutes=60))
    rows = [attempt(f"a{n}", at, "approved") for n, at in enumerate(times)]
    written(service, "attempts", rows)
    found = read(service)
    assert found.hourly
    assert [(one.since, one.attempts) for one in found.processors[0].spans] == [
        (DUE, 2),
        (DUE + timedelta(hours=1), 1),
    ]


def test_no_more_than_sixty_days_are_told_of_and_no_more_than_some_processors(service):
    rows = [attempt(f"a{n}", NOW - n * DAY, "approved") for n in range(70)]
    rows += [attempt(f"b{n}", NOW, "failed", processor=f"p{n}") for n in range(PROCESSORS + 3)]
    written(service, "attempts", rows)
    found = read(service)
    first = found.processors[0]
    assert (first.name, first.whole.attempts, len(first.spans)) == ("gold", 60, 60)
    assert first.spans[0].since == NOW.replace(hour=0) - 59 * DAY
    assert (len(found.processors), found.others) == (PROCESSORS, 4)


# Rules that bit


def test_rules_are_counted_by_decision_and_by_action(service):
    late, early = NOW - DAY, NOW - 40 * DAY
    limit = ("visa-30-days-2025", "visa: no more than 20 attempts", 3)
    written(
        service,
        "decisions",
        [
            decision("d1", late, "gold/1", [limit, ("down", "moon fails of late", 2)]),
            decision("d2", late, None, [limit, ("paid", "an attempt was approved", 9)]),
            decision("d3", early, STOP, [limit], removed=len(SLOTS)),
            decision("d4", early, STOP, removed=len(SLOTS) - 1),
            decision("d5", late, "gold/1"),
            decision("d6", NOW + DAY, "gold/1", [limit]),
        ],
    )
    rules = read(service).rules
    assert (rules.ever.decisions, rules.ever.nothing, rules.ever.stopped) == (5, 1, 1)
    assert (rules.month.decisions, rules.month.nothing, rules.month.stopped) == (3, 1, 0)
    visa, *own = rules.bit
    assert (visa.name, visa.kind, visa.since) == (
        "visa-30-days-2025",
        "limit",
        datetime(2025, 5, 25, tzinfo=UTC),
    )
    assert "TabaPay" in visa.source
    assert visa.said == ("visa: no more than 20 attempts",)
    assert (visa.month.decisions, visa.month.actions) == (2, 6)
    assert (visa.ever.decisions, visa.ever.actions) == (3, 9)
    assert [(one.name, one.kind, one.ever.actions) for one in own] == [
        ("down", "", 2),
        ("paid", "", 9),
    ]


def test_a_rule_says_the_reasons_it_gave_most_often(service):
    said = {"a": 1, "b": 3, "c": 2, "d": 4}
    rows = [
        decision(f"{word}{n}", NOW - DAY, None, [("down", word, 1)])
        for word, times in said.items()
        for n in range(times)
    ]
    written(service, "decisions", rows)
    (rule,) = read(service).rules.bit
    assert rule.said == ("d", "b", "c")
    assert (rule.ever.decisions, rule.ever.actions) == (10, 10)


def test_own_rules_and_final_reasons_have_their_sources(service):
    ours = NetworkRule(
        rule_id="ours", network="*", kind="limit", source="our lawyer", most=1, hours=24.0
    )
    service.lake.put([ours])
    before = read(service).rules.others
    final = ("hard_reason", "lost_or_stolen: never again with this instrument", 2)
    masks = [("ours", "no more than 1", 1), final, ("gone", "<script>", 1)]
    written(service, "decisions", [decision("d", NOW - DAY, None, masks)])
    rules = read(service).rules
    bit = {one.name: one for one in rules.bit}
    assert (bit["ours"].source, bit["ours"].since) == ("our lawyer", None)
    assert "Stripe" in bit["hard_reason"].source
    assert (bit["gone"].source, bit["gone"].kind, bit["gone"].said) == ("", "", ("<script>",))
    assert rules.others == before - 1


# Outages


def failing(start, times, processor="gold", status="failed"):
    return [
        attempt(f"{processor}{status}{n}-{start}", start + n * 10 * SECOND, status, processor)
        for n in range(times)
    ]


def test_answers_alone_tell_of_an_outage(service):
    """Three failures in a row are enough, and three that work bring it back."""
    there = failing(DUE, 20, status="approved")
    bad, good = failing(DUE + DAY, 3), failing(DUE + DAY + 600 * SECOND, 4, status="approved")
    written(service, "attempts", [*there, *bad, *good])
    (found,) = read(service).outages
    assert (found.processor, found.known, found.source) == ("gold", False, "")
    assert found.starts_at == bad[0].at
    assert found.noticed_at == bad[2].at
    assert found.ends_at == good[2].at
    assert (found.attempts, found.failed) == (5, 3)  # the last of three is its end


@pytest.mark.parametrize("between", ["approved", "declined"])
def test_failures_apart_are_no_outage(service, between):
    rows = []
    for n in range(20):
        rows += failing(DUE + 100 * n * SECOND, 1)
        rows += failing(DUE + (100 * n + 10) * SECOND, 9, status=between)
    written(service, "attempts", rows)
    assert read(service).outages == ()


def test_what_was_noticed_of_a_known_outage_is_told_with_it(service):
    known = Outage(processor="gold", starts_at=DUE - SECOND, ends_at=DUE + DAY, source="the bank")
    lasting = Outage(processor="moon", starts_at=NOW - DAY)
    planned = Outage(processor="gold", starts_at=NOW + DAY, ends_at=NOW + 2 * DAY)
    service.lake.put([known, lasting, planned])
    written(service, "attempts", [*failing(DUE, 3), *failing(NOW - DAY, 2, "moon")])
    found = read(service).outages
    assert [(one.processor, one.known, one.source) for one in found] == [
        ("gold", True, "measured"),
        ("moon", True, "measured"),
        ("gold", True, "the bank"),
    ]
    assert [one.noticed_at for one in found] == [None, None, DUE + 20 * SECOND]
    assert [one.attempts for one in found] == [0, 2, 3]
    assert found[1].ends_at is None


BEGINS = DUE + 1_000 * SECOND


def traffic(service, after, before=20):
    """Gold takes what comes every ten seconds before it fails for 80; then as `after` says:
    (seconds since it began to, processor).
    """
    rows = [attempt(f"b{n}", BEGINS - (n + 1) * 10 * SECOND, "approved") for n in range(before)]
    rows += [
        attempt(f"a{n}", BEGINS + seconds * SECOND, "approved", processor)
        for n, (seconds, processor) in enumerate(after)
    ]
    written(service, "attempts", rows)
    service.lake.put(
        [Outage(processor="gold", starts_at=BEGINS, ends_at=BEGINS + 80 * SECOND, source="us")]
    )
    (found,) = read(service).outages
    return found.left_after, found.back_after


ELSEWHERE = [(seconds, "moon") for seconds in range(25, 86, 10)]


def test_traffic_leaves_and_comes_back(service):
    back = [(seconds, "gold") for seconds in range(95, 136, 10)]
    assert traffic(service, [(5, "gold"), (15, "gold"), *ELSEWHERE, *back]) == (15.0, 15.0)


def test_a_probe_is_not_traffic(service):
    many = [(seconds, "moon") for seconds in range(20, 80)]
    probes = [(50.5, "gold"), (90, "gold")]
    assert traffic(service, [(5, "gold"), *many, *probes]) == (5.0, None)


def test_traffic_that_never_came_left_at_once(service):
    assert traffic(service, ELSEWHERE) == (0.0, None)


def test_traffic_that_stays_has_not_left(service):
    stays = [(seconds, "gold") for seconds in range(5, 200, 10)]
    assert traffic(service, stays) == (None, None)


def test_too_little_before_tells_nothing(service):
    assert traffic(service, ELSEWHERE, before=4) == (None, None)


def test_what_was_decided_instead(service):
    service.lake.put([Outage(processor="gold", starts_at=BEGINS, ends_at=BEGINS + 80 * SECOND)])
    actions = ["moon/1", "moon/2", "gold/1", None, "+024h", STOP]
    rows = [decision(f"d{n}", BEGINS + n * SECOND, one) for n, one in enumerate(actions)]
    rows += [decision("early", BEGINS - SECOND, "gold/1")]
    rows += [decision("late", BEGINS + 80 * SECOND, "gold/1")]
    written(service, "decisions", rows)
    (found,) = read(service).outages
    assert (found.routes, found.nowhere) == ({"moon": 2, "gold": 1}, 1)


# A small world


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Three weeks in which alder, where all first attempts go, is down on three days: what was
    read of them, and the attempts.
    """
    start = NOW.replace(hour=0) - 60 * DAY
    settings = PaymentsSettings(members=400, days=20, start=start, countries=(("NL", 1.0),))
    out = Outage(processor="alder", starts_at=start + 8 * DAY, ends_at=start + 11 * DAY)
    world = PaymentsWorld(settings).with_outage(out)
    with Service.create(tmp_path_factory.mktemp("world") / "shows") as service:
        for name in ("processors", "invoices", "instruments"):
            written(service, name, getattr(world, name)(), start)
        written(service, "outages", [out], start)
        deciding = Deciding(service, "payments@fallback")
        done = run(world, deciding, most=4)
        service.lake.append("attempts", done.attempts.with_columns(known_at="at"), source="test")
        written(service, "decisions", deciding.log)
        yield read(service), done, out


def test_a_world_is_counted_as_it_was(lived):
    found, done, _ = lived
    told = {one.name: one.count for one in found.funnel}
    assert told["failed"] == done.invoices.height
    assert told["recovered"] == (done.invoices["closed"] == "paid").sum()
    assert told["approved"] + told["failed"] == told["tried"] == told["due"]
    assert sum(one.whole.attempts for one in found.processors) == done.attempts.height


def test_an_outage_of_a_world_is_told_with_what_was_done_about_it(lived):
    found, done, out = lived
    told = next(one for one in found.outages if one.starts_at == out.starts_at)
    inside = done.attempts.filter(done.attempts["processor"] == "alder")
    inside = inside.filter(inside["at"].is_between(out.starts_at, out.ends_at, closed="left"))
    assert told.attempts == inside.height > 30
    assert told.failed == (inside["status"] == "failed").sum() > 0.9 * told.attempts
    assert out.starts_at < told.noticed_at < out.starts_at + DAY
    assert told.routes
    assert "alder" not in told.routes
    days = {one.since: one for one in found.processors[0].spans}
    assert found.processors[0].name == "alder"
    assert days[out.starts_at + DAY].share.high < 0.5 < days[out.starts_at - DAY].share.low


def test_the_rules_of_a_world_say_why(lived):
    found, _, _ = lived
    bit = {one.name: one for one in found.rules.bit}
    assert bit["outage"].said == ("alder does not work",)
    assert bit["outage"].ever.decisions >= 1
    assert bit["instrument"].ever.actions >= bit["instrument"].ever.decisions
    assert bit["outage"].month.decisions == 0  # it is two months ago
