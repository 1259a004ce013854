"""Real processes: two schedulers at once, and one that is killed at the worst moments."""

import multiprocessing
import os
import random
import signal
import threading
import time
from datetime import timedelta

import pytest
from charging_service import (
    DUE,
    GRACE,
    PROCESSORS,
    QUICK,
    Decider,
    anywhere,
    check_truth,
    first,
    new_service,
    statuses,
)

from fake_processor import FakeProcessor, Lottery
from matinee.service.charging.charger import Charger
from matinee.service.charging.http_gateway import HttpGateway
from matinee.service.charging.sender import Terms
from matinee.service.folder import Service
from waiting import eventually

spawn = multiprocessing.get_context("spawn")


def patient():
    """The clock of a machine on which every claim of the dead has run out."""
    return time.monotonic() + 10_000


class Stops(HttpGateway):
    """Stands still for ever when it is to charge the first invoice."""

    folder = None

    def charge(self, attempt, instrument):
        if attempt.invoice_id == "i1":
            (self.folder / "on-record").touch()
            threading.Event().wait()
        return super().charge(attempt, instrument)


def charge_and_stop(folder, url):
    """Charge three invoices, and stand still with each at another place."""
    Stops.folder = folder

    def stands_still(invoice, *_):
        if invoice.invoice_id == "i3":
            (folder / "claimed").touch()
            threading.Event().wait()

    with Service.open(folder) as service:
        terms = Terms(QUICK, stands_still, now=lambda: DUE)
        gateways = {"goldcard": Stops("goldcard", url, timeout=600.0)}
        Charger(service, Decider(service.lake, first), gateways, terms).charge_due()


def test_killed_with_a_claim_with_a_record_and_before_the_answer(tmp_path):
    """i3 is claimed and no more; i1 is on record and not sent; i2 is charged and not answered."""
    with new_service(tmp_path / "shows", 1, 2, 3) as service, FakeProcessor() as processor:
        worker = spawn.Process(target=charge_and_stop, args=(service.folder, processor.url))
        with processor.holding("after") as (came, _):
            worker.start()
            places = [service.folder / name for name in ("on-record", "claimed")]
            assert eventually(lambda: came.is_set() and all(one.exists() for one in places))
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        gateways = {"goldcard": HttpGateway("goldcard", processor.url)}
        decide = Decider(service.lake, first)
        early = Charger(service, decide, gateways, Terms(QUICK, now=lambda: DUE))
        assert early.charge_due().busy == 3  # its holder may live
        late = Charger(service, decide, gateways, Terms(QUICK, now=lambda: DUE, clock=patient))
        assert late.charge_due().paid == 3
        assert processor.approved() == {"i1": 1, "i2": 1, "i3": 1}
        told = [
            (method, processor.charges[key]["invoice_id"]) for method, key in processor.requests
        ]
        assert sorted(told) == [
            ("GET", "i1"), ("GET", "i2"), ("POST", "i1"), ("POST", "i2"), ("POST", "i3"),
        ]  # fmt: skip
        assert [statuses(service, f"i{n}") for n in (1, 2, 3)] == [[["sent", "approved"]]] * 3


def charge_for_days(folder, urls, step, ready):
    """Go through the days of grace in a pace of its own: the other's clock says something else."""
    with Service.open(folder) as service:
        at = [DUE]
        gateways = {name: HttpGateway(name, url) for name, url in urls.items()}
        terms = Terms(QUICK, now=lambda: at[0])
        charger = Charger(service, Decider(service.lake, anywhere), gateways, terms)
        ready.wait(120)
        while at[0] < GRACE:
            charger.charge_due()
            at[0] += step


def settle(service, urls):
    """Find out what is open, after grace, when all claims have run out."""
    gateways = {name: HttpGateway(name, url) for name, url in urls.items()}
    terms = Terms(QUICK, now=lambda: GRACE, clock=patient)
    last = Charger(service, Decider(service.lake, anywhere), gateways, terms)
    assert last.charge_due().open == 0


def test_two_schedulers_at_once(tmp_path):
    lottery = Lottery(0.3, ["drop", "error", "twice", "repeat", "other", "refuse", "busy"])
    with new_service(tmp_path / "shows", *range(1, 21)) as service, FakeProcessor() as processor:
        processor.answer, processor.fault = lottery.answer, lottery.fault
        urls = dict.fromkeys(PROCESSORS, processor.url)
        ready = spawn.Barrier(2)
        workers = [
            spawn.Process(
                target=charge_for_days, args=(service.folder, urls, timedelta(hours=hours), ready)
            )
            for hours in (19, 29)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)
            assert worker.exitcode == 0
        lottery.chance = 0.0
        settle(service, urls)
        check_truth(service, processor)
        assert sum(processor.approved().values()) > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_two_schedulers_that_are_killed_again_and_again(tmp_path, seed):
    rng = random.Random(seed)
    lottery = Lottery(0.2, ["drop", "error", "twice", "repeat", "other", "refuse", "busy"], seed)
    with new_service(tmp_path / "shows", *range(1, 201)) as service, FakeProcessor() as processor:
        processor.answer, processor.fault = lottery.answer, lottery.fault
        urls = dict.fromkeys(PROCESSORS, processor.url)
        for _ in range(3):
            ready = spawn.Barrier(2)
            steps = [timedelta(hours=rng.randint(5, 50)) for _ in range(2)]
            workers = [
                spawn.Process(target=charge_for_days, args=(service.folder, urls, step, ready))
                for step in steps
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                enough = len(processor.requests) + rng.randint(1, 30)
                assert eventually(lambda many=enough: len(processor.requests) >= many)
                worker.kill()
            for worker in workers:
                worker.join()
        lottery.chance = 0.0
        settle(service, urls)
        check_truth(service, processor)
        assert sum(processor.approved().values()) > 5
