"""A contextual bandit beside Vowpal Wabbit and MABWiser: reward and speed on the same rounds.

    python -m benchmarks.bandits --peer-python PYTHON [--rounds 20000] [--seeds 5]

PYTHON is an interpreter with both (see benchmarks/peers/bandits.py). Ten pictures with five facets
each, members of twenty numbers; a picture is clicked on with a chance that is linear in the member,
by what pictures of its facets share and by what is its own. All are given the same members and, for
every picture, the same luck. Each policy's one setting is chosen on a seed that is not judged.

`Linear` with `InverseGap` decides a hundred at a time and learns from them before the next, as
MABWiser does; Vowpal Wabbit decides and learns one at a time, as it is made to. Speeds are of
deciding alone and of learning alone: one at a time, by pages of 800 decisions, and from 1,000
choices at a time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import rich
from rich.table import Table

from matinee.models import (
    Content,
    Context,
    Dataset,
    Histories,
    InMemory,
    Linear,
    Responses,
    Vocabulary,
)
from matinee.policies import InverseGap

PICTURES, FACETS, NUMBERS, BATCH, PAGE = 10, 5, 20, 100, 800
TITLES = Vocabulary([f"picture {number}" for number in range(PICTURES)])
SETTINGS = {
    "matinee": (800.0, 3_200.0, 12_800.0, 51_200.0),
    "vw": (10.0, 100.0, 1_000.0),
    "mabwiser": (0.003, 0.01, 0.03, 0.1, 0.3),
}
RATES = dict.fromkeys(("deciding one", "deciding many", "learning one", "learning many"))
BAR, TIMES = 0.99, 20.0
"""Reward at least, of the best; ours of many at least, of theirs one at a time."""


def rounds(count: int, seed: int) -> dict[str, np.ndarray]:
    """contexts [N, 20], facets [10, 5], chances [N, 10] of a click, luck [N]."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(count, NUMBERS))
    facets = (rng.random((PICTURES, FACETS)) < 0.4).astype(float)
    shared = rng.normal(0, 0.02, (FACETS, NUMBERS))
    own = facets @ shared + rng.normal(0, 0.01, (PICTURES, NUMBERS))
    chances = np.clip(0.15 + rng.normal(0, 0.02, PICTURES) + contexts @ own.T, 0.0, 1.0)
    return {"contexts": contexts, "facets": facets, "chances": chances, "luck": rng.random(count)}


def content(facets: np.ndarray) -> Content:
    about = {
        title: [f"f{place}" for place in np.flatnonzero(row)]
        for title, row in zip(TITLES.ids, facets, strict=True)
    }
    return Content.of(about)


def context(numbers: np.ndarray) -> Context:
    told = tuple({"taste": row} for row in numbers.tolist())
    return Context(Histories.of([[]] * len(told)), np.zeros(len(told), np.int64), (), told)


def dataset(about: Content, asked: Context, actions: Any, rewards: Any, chances: Any) -> Dataset:
    responses = Responses(actions, rewards, chances, asked)
    return Dataset(TITLES, [], 0, responses=[InMemory(responses)], content=about)


def ours(drawn: dict[str, np.ndarray], gamma: float) -> dict[str, float]:
    rng, policy, about = np.random.default_rng(1), InverseGap(gamma=gamma), content(drawn["facets"])
    nothing = np.zeros(0)
    empty = dataset(
        about, context(np.zeros((0, NUMBERS))), nothing.astype(np.int32), *[nothing] * 2
    )
    model, earned = Linear(by=["taste"], strength=20.0).fit(empty), 0.0
    for first in range(0, len(drawn["luck"]), BATCH):
        part = slice(first, first + BATCH)
        asked = context(drawn["contexts"][part])
        found = policy.choose(model.believe(asked).mean, rng)
        chances = drawn["chances"][part][np.arange(len(found.actions)), found.actions]
        rewards = (drawn["luck"][part] < chances).astype(float)
        earned += rewards.sum()
        model = model.update(dataset(about, asked, found.actions, rewards, found.propensities))
    return {"reward": earned / len(drawn["luck"])} | speed(model, drawn, policy, about)


def speed(
    model: Linear, drawn: dict[str, np.ndarray], policy: InverseGap, about: Content
) -> dict[str, float]:
    """Decisions and choices learned from a second, one at a time and many."""
    rng = np.random.default_rng(2)

    def part(first: int, size: int) -> Dataset:
        return dataset(
            about,
            context(drawn["contexts"][first : first + size]),
            rng.integers(0, PICTURES, size).astype(np.int32),
            rng.random(size),
            np.full(size, 1 / PICTURES),
        )

    def rate(work: Callable[[Any], object], asked: list[Any], size: int) -> float:
        begin = time.perf_counter()
        for one in asked:
            work(one)
        return size * len(asked) / (time.perf_counter() - begin)

    def decide(page: Context) -> object:
        return policy.choose(model.believe(page).mean, rng)

    ones = [context(drawn["contexts"][at : at + 1]) for at in range(1_000)]
    pages = [context(drawn["contexts"][at : at + PAGE]) for at in range(0, 12 * PAGE, PAGE)]
    return {
        "deciding one": rate(decide, ones, 1),
        "deciding many": rate(decide, pages, PAGE),
        "learning one": rate(model.update, [part(at, 1) for at in range(200)], 1),
        "learning many": rate(model.update, [part(1_000 * at, 1_000) for at in range(10)], 1_000),
    }


def run(who: str, drawn: dict[str, np.ndarray], setting: float, python: str) -> dict[str, float]:
    if who == "matinee":
        return ours(drawn, setting)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rounds.npz"
        np.savez(path, **drawn)
        script = Path(__file__).parent / "peers" / "bandits.py"
        command = [python, "-W", "ignore", str(script), str(path), who, str(setting)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(answer.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    tuned, judged = rounds(given.rounds, 100), [rounds(given.rounds, k) for k in range(given.seeds)]
    best_possible = np.mean([drawn["chances"].max(axis=1).mean() for drawn in judged])
    uniform = np.mean([drawn["chances"].mean() for drawn in judged])
    print(
        f"mean reward of uniform choice {uniform:.4f}, of the best {best_possible:.4f}", flush=True
    )
    columns = ("setting", "reward by seed", "mean", *RATES)
    table, rewards, rates = Table("who", *columns), {}, {}
    for who, settings in SETTINGS.items():
        tried = [run(who, tuned, setting, given.peer_python)["reward"] for setting in settings]
        setting = settings[int(np.argmax(tried))]
        found = [run(who, drawn, setting, given.peer_python) for drawn in judged]
        each = np.array([one["reward"] for one in found])
        rewards[who] = each.mean()
        rates[who] = {
            name: float(np.median([one[name] for one in found]))
            for name in RATES.keys() & found[0].keys()
        }
        cells = (f"{setting:g}", " ".join(f"{one:.4f}" for one in each), f"{each.mean():.4f}")
        speeds = (f"{rates[who][name]:,.0f}" if name in rates[who] else "" for name in RATES)
        table.add_row(who, *cells, *speeds)
    rich.print(table)
    share = rewards["matinee"] / max(rewards.values())
    met = share >= BAR
    print(f"reward, of the best of them: {share:.3f}, bar {BAR}: {'met' if met else 'MISSED'}")
    for (name, peer), what in product(rates.items(), ("deciding", "learning")):
        if name != "matinee":
            times = rates["matinee"][f"{what} many"] / peer[f"{what} one"]
            met &= times >= TIMES
            verdict = "met" if times >= TIMES else "MISSED"
            figure = f"ours of many to {name} one at a time: {times:.1f}"
            print(f"{what}, {figure}, bar {TIMES:g}: {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
