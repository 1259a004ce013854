from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from matinee.lake.billing import Attempt, Invoice
from matinee.world.approval import Charges, Standing
from matinee.world.declines import OF_CODE
from matinee.world.knowing import chance_known
from matinee.world.optimum import optimum, recoverable
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, NEVER, STOP_ADVICE, PaymentsSettings
from matinee.world.processors import NAMES
from matinee.world.recovery import Run, Step, run


class Schedule:
    """So many days after it was due, by one processor, unless the issuer says never."""

    def __init__(self, days: Sequence[int], rank: int = 1, obey: bool = True) -> None:
        self.days, self.rank, self.obey = days, rank, obey
        self.heard: list[Attempt] = []

    def next(
        self, invoice: Invoice, tried: Sequence[Attempt], now: datetime, rng: np.random.Generator
    ) -> Step | None:
        assert now == tried[-1].at
        assert tried[-1].status in {"declined", "failed"}
        if self.obey and (tried[-1].code in NEVER or tried[-1].advice in STOP_ADVICE):
            return None
        if len(tried) > len(self.days):
            return None
        return Step(invoice.due_at + timedelta(days=self.days[len(tried) - 1]), "alder", self.rank)

    def saw(self, attempt: Attempt) -> None:
        self.heard.append(attempt)


@pytest.fixture(scope="module")
def world() -> PaymentsWorld:
    return PaymentsWorld(PaymentsSettings(members=3_000, days=60, seed=31))


@pytest.fixture(scope="module")
def heard() -> Schedule:
    return Schedule((1, 3, 5, 7))


@pytest.fixture(scope="module")
def done(world: PaymentsWorld, heard: Schedule) -> Run:
    return run(world, heard)


def after_first(world: PaymentsWorld, done: Run) -> tuple[Standing, np.ndarray]:
    codes = dict(done.attempts.select("attempt_id", "code").iter_rows())
    said = [OF_CODE.get(codes[f"{name}-1"], 0) for name in done.invoices["invoice_id"]]
    rows = np.array([world.row(name) for name in done.invoices["invoice_id"]])
    due = world.bills.due[rows]
    return Standing(rows, 0 * rows + 1, np.array(said), 0 * rows, due), due


def test_a_run_is_the_same_each_time(done: Run, world: PaymentsWorld, heard: Schedule) -> None:
    again = Schedule((1, 3, 5, 7))
    repeated = run(PaymentsWorld(world.settings), again)
    assert repeated.attempts.equals(done.attempts)
    assert repeated.invoices.equals(done.invoices)
    assert again.heard == heard.heard


def test_every_attempt_is_heard_once_in_order_of_time(
    done: Run, world: PaymentsWorld, heard: Schedule
) -> None:
    assert [a.attempt_id for a in heard.heard] == done.attempts["attempt_id"].to_list()
    assert done.attempts["attempt_id"].n_unique() == len(done.attempts)
    assert done.attempts["at"].is_sorted()
    firsts = done.attempts.filter(pl.col("attempt_id").str.ends_with("-1"))
    assert set(firsts["invoice_id"]) == {i.invoice_id for i in world.invoices()}


def test_a_run_asks_what_the_world_answers(done: Run, world: PaymentsWorld) -> None:
    """Each report is what `answer` says to the same question: the fast way is the slow way."""
    reports: dict[str, list[dict[str, object]]] = {}
    for row in done.attempts.iter_rows(named=True):
        reports.setdefault(row["invoice_id"], []).append(row)
    fresh, fields = PaymentsWorld(world.settings), ("status", "code", "advice", "fee", "penalty")
    for name in done.invoices["invoice_id"].to_list()[:150]:
        tried: list[Attempt] = []
        for row in reports[name]:
            attempt = Attempt(**row)  # type: ignore[arg-type]
            charge = (name, attempt.instrument_id, attempt.processor, attempt.at)
            answer = fresh.answer(*charge, attempt_id=attempt.attempt_id, tried=tried)
            assert all(getattr(answer, field) == row[field] for field in fields)
            tried.append(attempt)


def test_what_fails_at_first_is_what_is_handed_over(done: Run) -> None:
    firsts = done.attempts.filter(pl.col("attempt_id").str.ends_with("-1"))
    failed = firsts.filter(pl.col("status") != "approved")
    assert set(failed["invoice_id"]) == set(done.invoices["invoice_id"])
    assert 0.08 < len(failed) / len(firsts) < 0.12


def test_the_totals_of_invoices_are_those_of_their_attempts(done: Run) -> None:
    cents = pl.col("currency").replace_strict(CENTS, return_dtype=pl.Float64)
    later = done.attempts.filter(~pl.col("attempt_id").str.ends_with("-1"))
    sums = later.group_by("invoice_id").agg(
        paid=(pl.col("status") == "approved").sum(),
        fees=(pl.col("fee") * cents).filter(pl.col("status") != "approved").sum(),
        penalties=(pl.col("penalty") * cents).sum(),
        count=pl.len(),
    )
    both = done.invoices.join(sums, on="invoice_id", how="left", suffix="_sum").fill_null(0)
    assert (both["attempts"] == both["count"]).all()
    assert ((both["closed"] == "paid") == (both["paid"] == 1)).all()
    assert both["paid"].max() == 1
    for name in ("fees", "penalties"):
        np.testing.assert_allclose(both[name], both[f"{name}_sum"], atol=1e-9)
    net = both["value"] - both["fees"] - both["penalties"]
    np.testing.assert_allclose(both["net"], net, atol=1e-9)
    assert (both["value"].to_numpy()[both["closed"].to_numpy() != "paid"] == 0).all()
    assert done.net()[0] == pytest.approx(net.mean())


def test_nobody_is_charged_who_has_left(done: Run, world: PaymentsWorld) -> None:
    leaves = {name: world.leaves_at(name) for name in done.invoices["invoice_id"]}
    later = done.attempts.filter(~pl.col("attempt_id").str.ends_with("-1"))
    assert all(at < leaves[name] for name, at in later.select("invoice_id", "at").iter_rows())
    closed = done.invoices["closed"].value_counts()
    shares = dict(closed.iter_rows())
    assert set(shares) == {"paid", "lapsed", "void"}
    assert shares["void"] < shares["paid"]


def test_going_on_after_a_hard_decline_costs_penalties_and_brings_nothing(
    done: Run, world: PaymentsWorld
) -> None:
    reckless = run(world, Schedule((1, 3, 5, 7), obey=False))
    assert done.invoices["penalties"].sum() == 0.0
    assert reckless.invoices["penalties"].sum() > 0.0
    assert (reckless.invoices["closed"] == "paid").sum() <= (
        done.invoices["closed"] == "paid"
    ).sum()
    assert reckless.net()[0] < done.net()[0]


def test_half_to_two_thirds_of_what_failed_could_be_had_and_the_schedule_gets_less(
    done: Run, world: PaymentsWorld
) -> None:
    standing, due = after_first(world, done)
    some, now = Standing(*(part[:120] for part in standing)), due[:120]
    assert 0.5 < recoverable(world.truth, some, now, 8).mean() < 0.75
    better = optimum(world.truth, some, now, 4).value - done.invoices["net"].to_numpy()[:120]
    assert better.mean() > 3 * better.std() / np.sqrt(len(better))
    assert 0.3 < (done.invoices["closed"] == "paid").mean() < 0.5


def test_waiting_for_pay_day_is_worth_a_lot(world: PaymentsWorld) -> None:
    """One more attempt after a funds decline: at the best of all hours, or a day later."""
    bills = world.bills
    rows = np.flatnonzero((bills.means[:, 0] == 1) & (bills.cause[:, 0] == 0))
    late = world.truth.paydays.phase(
        world.payers.schedule[bills.member[rows]], world.truth.local(rows, bills.due[rows])
    )
    rows = rows[late > 0.6]
    hours = bills.due[rows][:, None] + 3_600 * np.arange(1, 28 * 24)
    chance = world.truth.funds(Charges(rows[:, None], np.array(0), np.array(0), hours))
    assert chance[:, 23].mean() < 0.4
    assert chance.max(axis=1).mean() > 0.9


def test_first_attempts_can_be_drawn_over_processors(world: PaymentsWorld) -> None:
    drawn = run(world, Schedule(()), default=None, last=10)
    shares = drawn.attempts["processor"].value_counts()
    assert set(shares["processor"]) == set(NAMES)
    assert shares["count"].min() > 0.15 * shares["count"].sum()
    assert drawn.invoices["attempts"].sum() == 0
    assert drawn.attempts["at"].max() < world.settings.start + timedelta(days=10)


def test_no_more_than_most_attempts_follow(world: PaymentsWorld) -> None:
    few = run(world, Schedule(tuple(range(1, 20))), most=2, last=20)
    assert few.invoices["attempts"].max() == 2


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda i, now: Step(now, "alder"), "is not after"),
        (lambda i, now: Step(now - timedelta(days=1), "alder"), "is not after"),
        (lambda i, now: Step(i.grace_until, "alder"), "is not after"),
        (lambda i, now: Step(now + timedelta(hours=1), "elm"), "cannot be charged by"),
        (lambda i, now: Step(now + timedelta(hours=1), "alder", 0), "cannot be charged by"),
        (lambda i, now: Step(now + timedelta(hours=1), "alder", 4), "cannot be charged by"),
    ],
)
def test_steps_that_cannot_be_taken_are_refused(world: PaymentsWorld, step, told: str) -> None:
    class Wrong(Schedule):
        def next(self, invoice, tried, now, rng):
            return step(invoice, now)

    with pytest.raises(ValueError, match=told):
        run(world, Wrong(()), last=10)


def test_what_can_be_known_is_right_on_the_mean(done: Run, world: PaymentsWorld) -> None:
    """The truth is as often as large as the posterior says: at three times, over processors."""
    firsts = done.attempts.filter(pl.col("attempt_id").str.ends_with("-1"))
    by_name = {row["invoice_id"]: Attempt(**row) for row in firsts.iter_rows(named=True)}
    gaps, spread = [], []
    for name in done.invoices["invoice_id"].to_list()[:500]:
        first = by_name[name]
        at = [first.at + timedelta(days=d) for d in (1, 6, 16)]
        asked = (name, first.instrument_id, NAMES, at)
        known = chance_known(world, *asked, tried=[first])
        truth = world.chance(*asked, [first])
        assert (known >= 0).all()
        assert (known <= 1).all()
        gaps.append(truth - known)
        spread.append(known[:, 1] - known.mean(axis=1))
    mean, error = np.mean(gaps, axis=0), np.std(gaps, axis=0) / np.sqrt(len(gaps))
    assert (np.abs(mean) < 4 * error + 0.002).all()
    assert np.std(spread) > 0.02


def test_what_was_answered_tells_something(world: PaymentsWorld) -> None:
    """After a funds decline the next pay-day is worth more; after a hard one nothing is."""
    row = int(np.flatnonzero((world.bills.means[:, 0] == 1) & (world.bills.cause[:, 0] == 0))[0])
    invoice = world.bills.invoice(row)
    card = invoice.instruments[0]
    base = {
        "attempt_id": "a",
        "member_id": invoice.member_id,
        "invoice_id": invoice.invoice_id,
        "instrument_id": card,
        "processor": "alder",
        "at": invoice.due_at,
        "amount": invoice.amount,
        "currency": invoice.currency,
    }
    at = [invoice.due_at + timedelta(days=d) for d in (2, 9)]

    def known(status: str, code: str | None) -> np.ndarray:
        tried = [Attempt(**base, status=status, code=code)]  # type: ignore[arg-type]
        return chance_known(world, invoice.invoice_id, card, ["alder", "birch"], at, tried=tried)

    nothing = chance_known(world, invoice.invoice_id, card, ["alder", "birch"], at)
    assert (nothing > 0.8).all()
    assert (known("declined", "51") < 0.8 * nothing).all()
    assert (known("declined", "05") < 0.8 * nothing).all()
    assert not known("declined", "41").any()
    np.testing.assert_allclose(known("failed", None), nothing, rtol=0.03)
