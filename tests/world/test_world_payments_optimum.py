from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pytest

from matinee.lake.billing import Attempt, Invoice
from matinee.world.approval import ANNOYED, Charges, Standing
from matinee.world.declines import DEAD, FUNDS, OF_CODE, OUTCOMES, REFUSED, TECHNICAL
from matinee.world.optimum import Best, Problem, optimum, problem_of, recoverable, solve
from matinee.world.payments import PaymentsWorld
from matinee.world.payments_settings import CENTS, HOUR, PaymentsSettings
from matinee.world.processors import NAMES
from matinee.world.recovery import Run, Step, run

CODES = {TECHNICAL: None, 2: "91", DEAD: "41", FUNDS: "51", REFUSED: "05"}


@pytest.fixture(scope="module")
def world() -> PaymentsWorld:
    return PaymentsWorld(PaymentsSettings(members=500, days=40, seed=21))


def report(invoice: Invoice, card: str, processor: str, at: datetime, outcome: int) -> Attempt:
    return Attempt(
        attempt_id=f"{invoice.invoice_id} at {at}",
        member_id=invoice.member_id,
        invoice_id=invoice.invoice_id,
        instrument_id=card,
        processor=processor,
        status="failed" if outcome == TECHNICAL else "declined",
        at=at,
        amount=invoice.amount,
        currency=invoice.currency,
        code=CODES[outcome],
    )


class ByHand:
    """The best of all plans on a few hours, by trying each, of what the world says in public."""

    def __init__(self, world: PaymentsWorld, invoice: Invoice, hours: Sequence[datetime]) -> None:
        self.world, self.invoice, self.hours = world, invoice, hours
        member = world.bills.member[world.row(invoice.invoice_id)]
        self.stays = float(np.exp(-world.payers.leaves[member] / 24))
        self.fees = {row.processor: row.fee_declined for row in world.processors()}

    def best(self, hour: int, tried: list[Attempt], left: int) -> float:
        if hour == len(self.hours) or not left:
            return 0.0
        values = [self.stays * self.best(hour + 1, tried, left)]
        for card in self.invoice.instruments:
            values += [self.attempt(hour, tried, left, card, name) for name in NAMES]
        return max(values)

    def attempt(
        self, hour: int, tried: list[Attempt], left: int, card: str, processor: str
    ) -> float:
        invoice, at = self.invoice, self.hours[hour]
        charge = (invoice.invoice_id, card, processor, at)
        odds, cents = self.world.odds(*charge, tried), CENTS[invoice.currency]
        fee = round(self.fees[processor] / cents) * cents
        value = odds["approved"] * self.world.value(*charge) - (1 - odds["approved"]) * fee
        for outcome in range(1, len(OUTCOMES)):
            stays = self.stays * (1 - ANNOYED * (outcome in {DEAD, FUNDS, REFUSED}))
            chance = odds[OUTCOMES[outcome]]
            if chance:
                one = report(invoice, card, processor, at, outcome)
                value += chance * stays * self.best(hour + 1, [*tried, one], left - 1)
        return value


def few_hours(problem: Problem, count: int) -> Problem:
    """The first hours of a problem."""
    gates = problem.gates._replace(
        **{
            name: gate[:count]
            for name, gate in problem.gates._asdict().items()
            if gate.shape[0] > 1
        }
    )
    first = {
        name: getattr(problem, name)[:count] for name in ("brings", "hours", "days", "allowed")
    }
    return problem._replace(gates=gates, **first)


def tight(world: PaymentsWorld, cards: int) -> list[int]:
    bills, payers = world.bills, world.payers
    fits = (bills.means[:, 0] == 1) & (bills.cause[:, 0] == 0) & (bills.suspicion[:, 0] == 1)
    fits |= (bills.means[:, 0] == 1) & (bills.suspicion[:, 0] == 0)
    return np.flatnonzero(fits & (payers.cards[bills.member] == cards)).tolist()


@pytest.mark.parametrize(("cards", "hours", "most"), [(1, 3, 3), (1, 4, 2), (2, 2, 2)])
@pytest.mark.parametrize("outcome", [TECHNICAL, FUNDS, REFUSED])
def test_it_is_the_best_of_all_plans_tried_one_by_one(
    world: PaymentsWorld, cards: int, hours: int, most: int, outcome: int
) -> None:
    """Around 06:00 of the member's clock, where a soft decline stops to count."""
    row = tight(world, cards)[0]
    invoice, rows = world.bills.invoice(row), np.array([row])
    day = world.settings.seconds(invoice.due_at) // HOUR * HOUR + 3 * 24 * HOUR
    turns = [
        day + h * HOUR
        for h in range(25)
        if not h
        or world.truth.bank_day(rows, np.array(day + h * HOUR))
        != world.truth.bank_day(rows, np.array(day + (h - 1) * HOUR))
    ]
    now = np.array([turns[-1] - HOUR - 1_000 - (hours > 2) * HOUR])
    problem = few_hours(problem_of(world.truth, rows, now, cards), hours)
    assert len(set(problem.days[:, 0].tolist())) == 2
    said = world.settings.time(int(now[0]))
    tried = [report(invoice, invoice.instruments[0], "alder", said, outcome)]
    standing = Standing(
        *(np.array([int(part)]) for part in world.standing(invoice.invoice_id, tried))
    )
    found = solve(problem, standing, now, world.truth.bank_day(rows, now), most)
    times = [world.settings.time(int(second)) for second in problem.hours[:, 0]]
    hand = ByHand(world, invoice, times)
    ahead = hand.stays ** ((times[0] - said) / timedelta(hours=1))
    assert found.value[0] == pytest.approx(ahead * hand.best(0, tried, most), rel=1e-12)
    assert found.value[0] > 0


def plan_value(
    world: PaymentsWorld, standing: Standing, now: int, plan: list[tuple[int, int, int]]
) -> float:
    """What a fixed list of (second, place, processor) brings, on the mean: stop when it is paid."""
    if not plan:
        return 0.0
    truth, (second, place, processor) = world.truth, plan[0]
    row = np.array(standing.row)
    charge = Charges(row, np.array(place), np.array(processor), np.array(second))
    odds = truth.odds(charge, standing)
    rate = truth.payers.leaves[truth.bills.member[row]] / 86_400
    fee = float(truth.fee(row, np.array(processor), False) * truth.bills.cents[row])
    value = odds[0] * float(truth.value(charge)) - (1 - odds[0]) * fee
    for outcome in range(1, len(OUTCOMES)):
        if odds[outcome]:
            soft = outcome in OF_CODE.values()
            said = (outcome, place, second) if soft else standing[2:]
            after = Standing(*map(np.array, (row, standing.earlier + 1, *said)))
            stays = 1 - ANNOYED * (soft or outcome == DEAD)
            value += odds[outcome] * stays * plan_value(world, after, second, plan[1:])
    return float(np.exp(-rate * (second - now)) * value)


def failed(world: PaymentsWorld, count: int) -> tuple[Standing, np.ndarray]:
    """Invoices that a funds decline of the first card stands on."""
    rows = np.flatnonzero((world.bills.means > 0).any(axis=1))[:count]
    due = world.bills.due[rows]
    return Standing(rows, 0 * rows + 1, 0 * rows + FUNDS, 0 * rows, due), due


def test_no_random_plan_is_better(world: PaymentsWorld) -> None:
    standing, now = failed(world, 40)
    best = optimum(world.truth, standing, now, 3).value
    rng = np.random.default_rng(5)
    for number in range(200):
        at = number % len(now)
        one = Standing(*(part[at] for part in standing))
        cards = int(world.payers.cards[world.bills.member[one.row]])
        hours = np.sort(rng.choice(np.arange(1, 600), rng.integers(1, 4), replace=False))
        first = now[at] // HOUR * HOUR
        plan = [
            (int(first + h * HOUR), int(rng.integers(cards)), int(rng.integers(len(NAMES))))
            for h in hours
        ]
        assert plan_value(world, one, int(now[at]), plan) <= best[at] + 1e-9


def test_the_plan_begins_with_what_it_says(world: PaymentsWorld) -> None:
    """With one attempt left the value is that of the attempt that the plan begins with."""
    standing, now = failed(world, 40)
    best = optimum(world.truth, standing, now, 1)
    for at in range(len(now)):
        one = Standing(*(part[at] for part in standing))
        if best.second[at] < 0:
            assert best.value[at] == 0.0
            continue
        plan = [(int(best.second[at]), int(best.place[at]), int(best.processor[at]))]
        assert plan_value(world, one, int(now[at]), plan) == pytest.approx(
            best.value[at], rel=1e-12
        )


def test_more_attempts_are_never_worse_and_none_bring_nothing(world: PaymentsWorld) -> None:
    standing, now = failed(world, 60)
    none = optimum(world.truth, standing, now, 0)
    assert not none.value.any()
    assert (none.second == -1).all()
    values = [optimum(world.truth, standing, now, most).value for most in (1, 2, 4)]
    assert (values[0] <= values[1] + 1e-9).all()
    assert (values[1] <= values[2] + 1e-9).all()
    assert values[2].mean() > 1.02 * values[0].mean()


def test_invoices_together_are_as_each_alone(world: PaymentsWorld) -> None:
    standing, now = failed(world, 6)
    together = optimum(world.truth, standing, now, 2)
    for at in range(len(now)):
        alone = optimum(world.truth, Standing(*(p[[at]] for p in standing)), now[[at]], 2)
        for field in Best.__dataclass_fields__:
            assert getattr(alone, field)[0] == getattr(together, field)[at]


def test_a_dead_card_alone_is_given_up_at_once(world: PaymentsWorld) -> None:
    bills, payers = world.bills, world.payers
    rows = np.flatnonzero((bills.cause[:, 0] > 0) & (payers.cards[bills.member] == 1))[:20]
    standing = Standing(rows, 0 * rows + 1, 0 * rows, 0 * rows, 0 * rows)
    best = optimum(world.truth, standing, bills.due[rows], 4)
    assert (best.second == -1).all()
    assert not best.value.any()
    assert not recoverable(world.truth, standing, bills.due[rows], 4).any()


class Knowing:
    """Follow the best plan, asked anew after every attempt."""

    def __init__(self, world: PaymentsWorld, most: int) -> None:
        self.world, self.most = world, most

    def next(
        self, invoice: Invoice, tried: Sequence[Attempt], now: datetime, rng: np.random.Generator
    ) -> Step | None:
        parts = self.world.standing(invoice.invoice_id, tried)
        standing = Standing(*(np.array([int(part)]) for part in parts))
        second = np.array([self.world.settings.seconds(now)])
        best = optimum(self.world.truth, standing, second, self.most + 1 - len(tried))
        if best.second[0] < 0:
            return None
        at = self.world.settings.time(int(best.second[0]))
        return Step(at, NAMES[best.processor[0]], int(best.place[0]) + 1)

    def saw(self, attempt: Attempt) -> None:
        pass


def standing_of(world: PaymentsWorld, done: Run) -> tuple[Standing, np.ndarray]:
    """The failed invoices of a run as they stood after their first attempts."""
    codes = dict(done.attempts.select("attempt_id", "code").iter_rows())
    said = [OF_CODE.get(codes[f"{name}-1"], 0) for name in done.invoices["invoice_id"]]
    rows = np.array([world.row(name) for name in done.invoices["invoice_id"]])
    due = world.bills.due[rows]
    return Standing(rows, 0 * rows + 1, np.array(said), 0 * rows, due), due


@pytest.mark.slow
def test_following_the_best_plan_brings_on_the_mean_what_it_promised() -> None:
    world = PaymentsWorld(PaymentsSettings(members=1_800, days=40, seed=22))
    done = run(world, Knowing(world, 3), most=3)
    standing, due = standing_of(world, done)
    promised = optimum(world.truth, standing, due, 3).value
    found = done.invoices["net"].to_numpy()
    error = (found - promised).std(ddof=1) / np.sqrt(len(found))
    assert abs((found - promised).mean()) < 3.5 * error
    assert error < 0.05 * promised.mean()
    assert done.invoices["penalties"].sum() == 0.0
