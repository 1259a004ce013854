"""Writers and sealers are killed at random moments; what was acknowledged is there exactly once."""

from __future__ import annotations

import multiprocessing
import random
import time
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from lake_rows import ids, play

from matinee.lake.lake import Lake


def write(folder: Path, acknowledged: Path, writer: str, seed: int) -> None:
    """Report new events, and now and then an old one, and note each id after its receipt."""
    rng = random.Random(seed)
    number = 0
    with Lake.open(folder / "lake") as lake, acknowledged.open("a") as notes:
        (folder / f"ready-{writer}").touch()
        while True:
            size = rng.choice([1, 1, 5, 100])
            batch = [play(n, writer) for n in range(number, number + size)]
            number += size
            if number > size and rng.random() < 0.3:
                batch.append(play(rng.randrange(number), writer))
            lake.put(batch)
            notes.writelines(f"{event.member_id}/{event.event_id}\n" for event in batch)
            notes.flush()


def seal(folder: Path, sealer: str, keeps_house: bool) -> None:
    with Lake.open(folder / "lake") as lake:
        (folder / f"ready-{sealer}").touch()
        while True:
            lake.tables["events"].seal(limit=700)
            if keeps_house:
                lake.tables["events"].compact(least=3)
                lake.expire(timedelta(seconds=1))


def one_round(folder: Path, number: int, rng: random.Random) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [f"w{number}-{n}" for n in range(3)]
    sealers = [f"s{number}-{n}" for n in range(2)]
    workers: list[BaseProcess] = [
        *(
            spawn.Process(
                target=write, args=(folder, folder / f"{name}.acks", name, rng.randrange(2**32))
            )
            for name in writers
        ),
        *(spawn.Process(target=seal, args=(folder, name, name.endswith("0"))) for name in sealers),
    ]
    for worker in workers:
        worker.start()
    patience = time.monotonic() + 60
    while not all((folder / f"ready-{name}").exists() for name in writers + sealers):
        assert time.monotonic() < patience, "a worker did not start"
        assert all(worker.is_alive() for worker in workers), "a worker died by itself"
        time.sleep(0.01)
    rng.shuffle(workers)
    for worker in workers:
        time.sleep(rng.uniform(0.0, 0.25))
        assert worker.is_alive(), "a worker died by itself"
        worker.kill()
    for worker in workers:
        worker.join()


def killed_in_rounds(folder: Path, rounds: int) -> None:
    rng = random.Random(20)
    Lake.create(folder / "lake", buckets=4).close()
    for number in range(rounds):
        one_round(folder, number, rng)
    acknowledged = {
        name for notes in folder.glob("*.acks") for name in notes.read_text().splitlines()
    }
    assert len(acknowledged) > 10 * rounds
    with Lake.open(folder / "lake") as lake:
        for _ in range(2):
            held = ids(lake.scan("events"))
            assert len(held) == len(set(held)), "an event is there twice"
            assert acknowledged <= set(held), "an acknowledged event is lost"
            lake.seal()
            lake.compact(least=2)
        assert lake.repair() == []
        numbers = lake.scan("events").collect()["seq"]
        assert numbers.n_unique() == len(numbers)


def test_three_rounds_of_killing(tmp_path: Path) -> None:
    killed_in_rounds(tmp_path, rounds=3)


@pytest.mark.slow
def test_twenty_four_rounds_of_killing(tmp_path: Path) -> None:
    killed_in_rounds(tmp_path, rounds=24)
