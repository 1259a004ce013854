"""Off-policy estimates beside obp 0.5.7: the same values, and how fast.

    MATINEE_DATA=... python -m benchmarks.off_policy [--peer-python PYTHON]

1. On Open Bandit's sample (random to bts and back, campaigns `all` and `men`) and on the slates
   that obp simulates, both get the same arrays. The candidate is the other policy's choices,
   counted by position and Laplace-smoothed; the outcome model is smoothed click rates by position.
   Bar: every value within 1e-9.
2. On obp's simulated log of 100,000 rounds and 10 actions, from the same arrays, in one run. Bars:
   no point estimate slower; intervals of 1,000 i.i.d. resamples at least 20 times faster.

SNIPS's intervals differ by more than chance, and obp's is not that of the estimator: it normalises
once and resamples what comes of it, which leaves out that the mean weight varies along with the
rewards. Ours normalises in every resample. (SNDR's residuals hardly move with the weights.)

obp runs in .bench/obp, an environment made here on first use from peers/obp-requirements.txt, or
under `--peer-python`. It is no dependency.
"""

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import rich
from rich.table import Table

from matinee.evaluation.intervals import bootstrap
from matinee.evaluation.off_policy import (
    DR,
    IPS,
    SNIPS,
    ActionEstimator,
    Batch,
    CascadeDR,
    DirectMethod,
    DRos,
    IndependentIPS,
    Replay,
    RewardInteractionIPS,
    SelfNormalisedDR,
    SelfNormalisedRewardInteractionIPS,
    SlateIPS,
    Slates,
    Slope,
    SwitchDR,
    balanced,
    marginal_batch,
)

AGREEMENT, FASTER, TRIES = 1e-9, 20.0, 30
GRID = [0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1000.0]
PEERS = Path(__file__).parent / "peers"

ROWS = ("reward", "action", "propensity", "position")

Arrays = dict[str, np.ndarray]

PLAIN: dict[str, ActionEstimator] = {
    "IPS": IPS(),
    "IPS, clip 5": IPS(clip=5.0),
    "SNIPS": SNIPS(),
    "DM": DirectMethod(),
    "DR": DR(),
    "DR, clip 5": DR(clip=5.0),
    "SNDR": SelfNormalisedDR(),
    "Switch-DR, 2": SwitchDR(2.0),
    "DRos, 1": DRos(1.0),
    "DRos, 100": DRos(100.0),
}
TUNED = {
    "IPS, SLOPE": Slope(tuple(IPS(clip) for clip in GRID)),
    "Switch-DR, SLOPE": Slope(tuple(SwitchDR(threshold) for threshold in GRID)),
    "DRos, SLOPE": Slope(tuple(DRos(shrinkage) for shrinkage in GRID)),
}
WITHOUT_MODEL = {"IPS", "IPS, clip 5", "SNIPS"}


def verdict(what: str, figure: str, bar: str, met: bool) -> bool:
    print(f"{what}: {figure}, bar {bar}: {'met' if met else 'MISSED'}", flush=True)
    return met


# 1. The same values


def sample(policy: str, campaign: str) -> Arrays:
    path = Path(os.environ["MATINEE_DATA"]) / "obd-sample" / policy / campaign
    frame = pl.read_csv(path / f"{campaign}.csv")
    items = pl.read_csv(path / "item_context.csv").sort("item_id")["item_feature_1"]
    return {
        "reward": frame["click"].to_numpy().astype(float),
        "action": frame["item_id"].to_numpy(),
        "position": frame["position"].to_numpy() - 1,
        "propensity": frame["propensity_score"].to_numpy(),
        "category": (items.rank("dense") - 1).to_numpy().astype(np.int64),
    }


def counts(log: Arrays, weights: np.ndarray | None = None) -> np.ndarray:
    """How often each action stood at each position, [3, A]."""
    table = np.zeros((3, len(log["category"])))
    np.add.at(table, (log["position"], log["action"]), 1.0 if weights is None else weights)
    return table


def choices(log: Arrays) -> np.ndarray:
    smoothed = counts(log) + 1.0
    return smoothed / smoothed.sum(axis=1, keepdims=True)


def clicks(log: Arrays) -> np.ndarray:
    return (counts(log, log["reward"]) + log["reward"].mean()) / (counts(log) + 1.0)


def logs() -> dict[str, Arrays]:
    """What both sides are fed. Tables are [3, A] by position."""
    found = {}
    for campaign in ("all", "men"):
        of = {policy: sample(policy, campaign) for policy in ("random", "bts")}
        tables = {policy: choices(log) for policy, log in of.items()}
        for logger, candidate in (("random", "bts"), ("bts", "random")):
            found[f"{campaign}, {logger} to {candidate}"] = of[logger] | {
                "pi": tables[candidate],
                "pi_b": tables[logger],
                "q": clicks(of[logger]),
                "grid": np.array(GRID),
            }
        found[f"{campaign}, both loggers"] = both_loggers(of["random"], of["bts"])
    return found


def both_loggers(random: Arrays, bts: Arrays) -> Arrays:
    """The two logs in one, with what either policy would have given; the candidate likes clicks."""
    tables = [choices(log) for log in (random, bts)]
    whole = {name: np.concatenate([random[name], bts[name]]) for name in ROWS}
    q = clicks(whole | {"category": random["category"]})
    logged = (whole["position"], whole["action"])
    return whole | {
        "logger": np.repeat([0, 1], [len(random["reward"]), len(bts["reward"])]),
        "propensities": np.column_stack([table[logged] for table in tables]),
        "pi": q / q.sum(axis=1, keepdims=True),
        "q": q,
    }


def on_log(log: Arrays) -> dict[str, float]:
    reward, action, propensity, position = (log[name] for name in ROWS)
    pi, pi_b, q = (log[name][position] for name in ("pi", "pi_b", "q"))
    batch = Batch.of_distributions(reward, action, propensity, pi, q=q)
    greedy = np.eye(pi.shape[1])[pi.argmax(axis=1)]
    deterministic = Batch.of_distributions(reward, action, propensity, greedy)
    marginal = marginal_batch(reward, action, log["category"], pi, pi_b)
    return {name: value(each, batch) for name, each in (PLAIN | TUNED).items()} | {
        "Replay": value(Replay(), deterministic),
        "MIPS": value(IPS(), marginal),
    }


def on_loggers(log: Arrays) -> dict[str, float]:
    propensity = balanced(log["propensities"], log["logger"])
    pi, q = (log[name][log["position"]] for name in ("pi", "q"))
    batch = Batch.of_distributions(log["reward"], log["action"], propensity, pi, q=q)
    return {"balanced IPS": value(IPS(), batch), "balanced DR": value(DR(), batch)}


def on_slates(log: Arrays) -> dict[str, float]:
    """obp gives the probability of all slots down to one; ours is that of one given those above."""
    slots = int(log["position"].max()) + 1
    deep = ("q_hat", "evaluation_policy_action_dist")
    q, pi = (log[name].reshape(-1, slots, log[name].size // log["action"].size) for name in deep)
    shaped = {name: log[name].reshape(-1, slots) for name in log if name not in deep}
    slates = Slates.of(
        shaped["reward"],
        conditional(shaped["pscore_cascade"]),
        conditional(shaped["evaluation_policy_pscore_cascade"]),
        marginal=shaped["pscore_item_position"],
        marginal_target=shaped["evaluation_policy_pscore_item_position"],
        predicted=np.take_along_axis(q, shaped["action"][:, :, None], axis=2)[:, :, 0],
        expected=(pi * q).sum(axis=2),
    )
    estimators = {
        "slate IPS": SlateIPS(),
        "slate IIPS": IndependentIPS(),
        "slate RIPS": RewardInteractionIPS(),
        "slate SNRIPS": SelfNormalisedRewardInteractionIPS(slots),
        "cascade-DR": CascadeDR(),
    }
    return {name: value(each, slates) for name, each in estimators.items()}


def conditional(cascade: np.ndarray) -> np.ndarray:
    above = np.hstack([np.ones((len(cascade), 1)), cascade[:, :-1]])
    return cascade / above


def value(estimator: Any, batch: Any) -> float:
    return float(estimator.add(batch).result().value)


def agree(ours: dict[str, dict[str, float]], peer: dict[str, dict[str, float]]) -> bool:
    table = Table("data", "estimator", "Matinee", "obp", "difference", title="The same values")
    apart = []
    for data, values in ours.items():
        for name, one in values.items():
            other = peer[data][name]
            apart.append(abs(one - other))
            table.add_row(data, name, f"{one:.6g}", f"{other:.6g}", f"{apart[-1]:.1e}")
    rich.print(table)
    worst = float(np.max(apart))
    figure = f"at most {worst:.1e} apart"
    return verdict(f"{len(apart)} values", figure, f"{AGREEMENT}", worst <= AGREEMENT)


# 2. How fast


def best(call: Callable[[], Any], times: int) -> tuple[float, Any]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), answer


def fast(log: Arrays, peer: dict[str, dict[str, Any]]) -> bool:
    """Both from the raw arrays to the answer; where an estimator takes no model, ours gets none."""
    reward, action, propensity = (log[name] for name in ("reward", "action", "pscore"))
    pi, q = (log[name][:, :, 0] for name in ("action_dist", "estimated_rewards_by_reg_model"))
    points = Table(
        "estimator", "Matinee ms", "obp ms", "ratio", title=f"Point estimates, best of {TRIES}"
    )
    spans = Table("estimator", "Matinee", "obp", "Matinee ms", "obp ms", "ratio")
    spans.title = "Intervals of 1,000 resamples, ours the best of 3"
    faster, far_faster = [], []
    for name, each in PLAIN.items():
        model = None if name in WITHOUT_MODEL else q
        batch = partial(Batch.of_distributions, reward, action, propensity, pi, q=model)
        theirs = peer[name]
        seconds, found = best(lambda each=each, batch=batch: value(each, batch()), TRIES)
        assert abs(found - theirs["value"]) <= AGREEMENT
        faster.append(theirs["seconds"] / seconds)
        points.add_row(name, *milliseconds(seconds, theirs["seconds"]))
        seconds, interval = best(lambda each=each, batch=batch: bootstrap(each, batch()), 3)
        far_faster.append(theirs["interval_seconds"] / seconds)
        spans.add_row(
            name,
            f"{interval.low:.4f} to {interval.high:.4f}",
            "{:.4f} to {:.4f}".format(*theirs["interval"]),
            *milliseconds(seconds, theirs["interval_seconds"]),
        )
    rich.print(points, spans)
    slowest, nearest = min(faster), min(far_faster)
    met = verdict("point estimates", f"{slowest:.2f} times as fast or more", "1", slowest >= 1)
    return met & verdict(
        "intervals", f"{nearest:.1f} times as fast or more", f"{FASTER:.0f}", nearest >= FASTER
    )


def milliseconds(ours: float, theirs: float) -> tuple[str, str, str]:
    return f"{ours * 1e3:.1f}", f"{theirs * 1e3:.1f}", f"{theirs / ours:.2f}"


def load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def ask(python: Path, folder: Path) -> dict[str, Any]:
    """What obp makes of the logs in a folder."""
    script = PEERS / "obp_estimates.py"
    answer = subprocess.run(
        [python, "-W", "ignore", script, folder],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TQDM_DISABLE": "1"},
    )
    return json.loads(answer.stdout)


def environment() -> Path:
    """The interpreter of obp's own environment, made where it is not there or of other versions."""
    wanted, folder = PEERS / "obp-requirements.txt", PEERS.parents[1] / ".bench" / "obp"
    python, made = folder / "bin" / "python", folder / "made-from.txt"
    if not made.exists() or made.read_text() != wanted.read_text():
        print(f"making {folder} for obp (a minute) ...", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "--ignore-requires-python", "-r", wanted], check=True)
        made.write_text(wanted.read_text())
    return python


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer-python", type=Path)
    arguments = parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds obd-sample/")
        return 2
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    given = logs()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for data, log in given.items():
            np.savez(folder / f"{data}.npz", **log)
        peer = ask(arguments.peer_python or environment(), folder)
        simulated, slates = (load(folder / f"{data}.npz") for data in ("synthetic", "slates"))
    ours = {name: (on_loggers if "logger" in log else on_log)(log) for name, log in given.items()}
    ours["slates"] = on_slates(slates)
    met = agree(ours, peer)
    met &= fast(simulated, peer["synthetic"])
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
