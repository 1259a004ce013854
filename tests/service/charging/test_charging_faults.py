"""Schedulers that die anywhere, processors that fail in every way, and a clock that jumps about.

Two schedulers charge a few hundred invoices at three processors. Each call to the store, the lake
or a processor may be the last of a scheduler, before or after it has had its effect; the rest of
its threads then end too, and another takes its place. Reports come late, twice and in any order.
Draws are seeded; which thread comes first is not.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from charging_service import (
    DUE,
    GRACE,
    HOUR,
    PROCESSORS,
    Clock,
    anywhere,
    attempt,
    check_truth,
    new_charger,
    new_service,
)

from fake_processor import AFTER, BEFORE, HARMLESS, FakeProcessor, Lottery
from matinee.service.charging.http_gateway import HttpGateway
from matinee.service.folder import Service
from matinee.service.reports import Reports

FAULTS = [*BEFORE, *HARMLESS, *(fault for fault in AFTER if fault != "slow")]
ARRIVES = timedelta(minutes=30)
"""After so long a request that was lost has arrived, or never will: `abandon_after` is longer."""


class Noting(HttpGateway):
    """Notes at what times charges are sent."""

    times: list

    def charge(self, attempt, instrument):
        self.times.append(self.clock.at)
        return super().charge(attempt, instrument)


class KilledError(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Mortal:
    """A scheduler that dies at some call, with all its threads."""

    def __init__(self, service, gateways, clock, rng, chance):
        self.rng, self.chance, self.lock = rng, chance, threading.Lock()
        self.dead = False
        ways = {name: _Way(gateway, self.passes) for name, gateway in gateways.items()}
        self.charger = new_charger(service, ways, clock, anywhere)
        for part, names in {
            self.charger._claims: ("take", "stamp", "leave", "release"),
            self.charger._sender: ("write",),
        }.items():
            for name in names:
                setattr(part, name, self.passes(getattr(part, name)))

    def passes(self, call):
        def mortal(*args, **named):
            self.come_to_die()
            said = call(*args, **named)
            self.come_to_die()
            return said

        return mortal

    def come_to_die(self):
        with self.lock:
            self.dead = self.dead or self.rng.random() < self.chance
        if self.dead:
            raise KilledError

    def charge_due(self):
        """A round; whether it was lived through."""
        try:
            self.charger.charge_due()
        except KilledError:
            return False
        return True


class _Way:
    """A way to a processor that a scheduler may die on."""

    def __init__(self, gateway, passes):
        self.charge, self.find = passes(gateway.charge), passes(gateway.find)


def reports_of(processor, at):
    """What a processor reports of all its charges."""
    return [
        attempt(
            key,
            processor.answers[key]["status"],
            at=at,
            number=int(body["invoice_id"][1:]),
            instrument_id=body["instrument_id"],
            processor=processor.name,
            decision_id=None,
        )
        for key, body in list(processor.charges.items())
    ]


class Passing:
    """Lets time pass, and the clock jump; what was lost on the way arrives sooner or later."""

    def __init__(self, rng, clock, processors):
        self.rng, self.clock, self.processors = rng, clock, processors
        self.since = timedelta(0)

    def on(self):
        step = self.rng.choice([timedelta(minutes=1), timedelta(minutes=10), HOUR, 8 * HOUR])
        self.since += step
        if self.since >= ARRIVES or self.rng.random() < 0.3:
            self.since = timedelta(0)
            for processor in self.processors:
                processor.deliver_late()
        self.clock.go(step)
        if self.rng.random() < 0.25:
            self.clock.jump(self.rng.choice([-9, -2, 3, 30]) * HOUR)


def live_through(folder, seed, *, invoices, rounds, die):
    """Let everything go wrong for some rounds, then nothing until all is settled; check the truth.
    How many schedulers died, and how many charges reached a processor.
    """
    rng, clock, deaths = random.Random(seed), Clock(), 0
    lottery = Lottery(0.25, FAULTS, seed)
    with ExitStack() as stack:
        service = stack.enter_context(new_service(folder, *range(1, invoices + 1)))
        services = [service, stack.enter_context(Service.open(folder))]
        processors = [FakeProcessor(lottery.answer, lottery.fault, name) for name in PROCESSORS]
        gateways = {one.name: Noting(one.name, one.url) for one in processors}
        for processor in processors:
            stack.enter_context(processor)
        Noting.clock, Noting.times = clock, []
        schedulers = [Mortal(one, gateways, clock, rng, die) for one in services]
        pool = stack.enter_context(ThreadPoolExecutor(2))
        passing = Passing(rng, clock, processors)
        for _ in range(rounds):
            for place, lived in enumerate(pool.map(Mortal.charge_due, schedulers)):
                if not lived:
                    deaths += 1
                    schedulers[place] = Mortal(services[place], gateways, clock, rng, die)
            told = [one for each in processors for one in reports_of(each, clock.at)]
            few = [one for one in told if rng.random() < 0.05] * rng.randint(0, 2)
            judged = Reports(service).judge(rng.sample(few, len(few)))
            service.lake.put([one.row for one in judged if not (one.repeated or one.wrong)])
            passing.on()
        lottery.chance, clock.at = 0.0, max(clock.at, GRACE)
        last = new_charger(service, gateways, clock, anywhere)
        for _ in range(2):
            for processor in processors:
                processor.deliver_late()
            clock.go(2 * HOUR)
            done = last.charge_due()
        assert (done.open, done.in_flight) == (0, 0)
        check_truth(service, *processors)
        assert DUE <= min(Noting.times) <= max(Noting.times) < GRACE
        return deaths, sum(len(one.charges) for one in processors)


def test_no_invoice_is_charged_twice_whatever_fails(tmp_path):
    deaths, charges = live_through(tmp_path / "shows", 1, invoices=100, rounds=30, die=0.01)
    assert deaths > 3
    assert charges > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_no_invoice_is_charged_twice_whatever_fails_for_longer(tmp_path, seed):
    deaths, charges = live_through(tmp_path / "shows", seed, invoices=300, rounds=80, die=0.005)
    assert deaths > 10
    assert charges > 300
