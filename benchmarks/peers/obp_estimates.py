"""The estimators of obp 0.5.7 on arrays that benchmarks/off_policy.py wrote, and on its own data.

    python benchmarks/peers/obp_estimates.py FOLDER

Runs in an environment of its own, made from obp-requirements.txt. Reads FOLDER/*.npz, writes
the data that obp simulates beside them (slates.npz, synthetic.npz) and prints as JSON what its
estimators give and, on the synthetic data, how long a call takes at best.

obp imports torch for policies that are neural networks, which no estimator touches: a stand-in
takes its place, so that the environment needs none.
"""

import json
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

torch = MagicMock()
torch.utils.data.Dataset = object
for module in ("torch", "torch.nn", "torch.nn.functional", "torch.optim"):
    sys.modules[module] = torch

from obp import ope  # noqa: E402
from obp.dataset import (  # noqa: E402
    SyntheticBanditDataset,
    SyntheticSlateBanditDataset,
    linear_behavior_policy,
    linear_behavior_policy_logit,
    logistic_reward_function,
)

ROUNDS, ACTIONS, RESAMPLES, TRIES = 100_000, 10, 1_000, 30
SLATES, TITLES, SLOTS = 2_000, 6, 3

IPW = ope.InverseProbabilityWeighting
PLAIN = {
    "IPS": IPW(),
    "IPS, clip 5": IPW(lambda_=5.0),
    "SNIPS": ope.SelfNormalizedInverseProbabilityWeighting(),
    "DM": ope.DirectMethod(),
    "DR": ope.DoublyRobust(),
    "DR, clip 5": ope.DoublyRobust(lambda_=5.0),
    "SNDR": ope.SelfNormalizedDoublyRobust(),
    "Switch-DR, 2": ope.SwitchDoublyRobust(lambda_=2.0),
    "DRos, 1": ope.DoublyRobustWithShrinkage(lambda_=1.0),
    "DRos, 100": ope.DoublyRobustWithShrinkage(lambda_=100.0),
}


def tuned(grid):
    """Made anew for each log: once tuned, obp keeps what it chose."""
    return {
        "IPS, SLOPE": ope.InverseProbabilityWeightingTuning(lambdas=grid),
        "Switch-DR, SLOPE": ope.SwitchDoublyRobustTuning(lambdas=grid),
        "DRos, SLOPE": ope.DoublyRobustWithShrinkageTuning(lambdas=grid),
    }


def spread(table, rows):
    """A table [P, A] as obp wants a distribution: [N, A, P]."""
    return np.ascontiguousarray(np.broadcast_to(table.T, (rows, *table.T.shape)))


def on_log(log):
    pi, pi_b, q = (spread(log[name], len(log["reward"])) for name in ("pi", "pi_b", "q"))
    given = {name: log[name] for name in ("reward", "action", "position")}
    logged = {**given, "pscore": log["propensity"], "action_dist": pi}
    modelled = {**logged, "estimated_rewards_by_reg_model": q}
    values = {
        name: estimator.estimate_policy_value(**modelled)
        for name, estimator in (PLAIN | tuned(log["grid"].tolist())).items()
    }
    greedy = np.zeros_like(pi)
    np.put_along_axis(greedy, pi.argmax(axis=1)[:, None, :], 1.0, axis=1)
    values["Replay"] = ope.ReplayMethod().estimate_policy_value(**given, action_dist=greedy)
    category = log["category"]
    p_e_a = (category[:, None] == np.arange(category.max() + 1)).astype(float)[:, :, None]
    values["MIPS"] = ope.MarginalizedInverseProbabilityWeighting(
        n_actions=len(category), embedding_selection_method=None
    ).estimate_policy_value(
        **given,
        action_embed=category[log["action"]][:, None],
        pi_b=pi_b,
        action_dist=pi,
        p_e_a=p_e_a,
    )
    return values


def on_loggers(log):
    """Logs in one, each row with the propensity that the loggers have on average."""
    rows = len(log["reward"])
    average = (log["propensities"] * np.bincount(log["logger"]) / rows).sum(axis=1)
    given = {
        "reward": log["reward"],
        "action": log["action"],
        "position": log["position"],
        "action_dist": spread(log["pi"], rows),
        "pscore_avg": average,
        "estimated_rewards_by_reg_model": spread(log["q"], rows),
    }
    return {
        "balanced IPS": ope.MultiLoggersBalancedInverseProbabilityWeighting().estimate_policy_value(
            **given
        ),
        "balanced DR": ope.MultiLoggersBalancedDoublyRobust().estimate_policy_value(**given),
    }


def on_slates(folder):
    data = SyntheticSlateBanditDataset(
        TITLES,
        SLOTS,
        dim_context=4,
        reward_structure="cascade_additive",
        behavior_policy_function=linear_behavior_policy_logit,
        random_state=1,
    )
    log = data.obtain_batch_bandit_feedback(SLATES)
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(SLATES, TITLES))
    joint, marginal, cascade = data.obtain_pscore_given_evaluation_policy_logit(
        log["action"], logits
    )
    given = {
        "slate_id": log["slate_id"],
        "action": log["action"],
        "position": log["position"],
        "reward": log["reward"].astype(float),
        "pscore": log["pscore"],
        "pscore_item_position": log["pscore_item_position"],
        "pscore_cascade": log["pscore_cascade"],
        "evaluation_policy_pscore": joint,
        "evaluation_policy_pscore_item_position": marginal,
        "evaluation_policy_pscore_cascade": cascade,
        "evaluation_policy_action_dist": data.calc_evaluation_policy_action_dist(
            log["action"], logits.copy()
        ),
        "q_hat": rng.uniform(size=SLATES * SLOTS * TITLES),
    }
    np.savez(folder / "slates.npz", **given)
    estimators = {
        "slate IPS": ope.SlateStandardIPS(SLOTS),
        "slate IIPS": ope.SlateIndependentIPS(SLOTS),
        "slate RIPS": ope.SlateRewardInteractionIPS(SLOTS),
        "slate SNRIPS": ope.SelfNormalizedSlateRewardInteractionIPS(SLOTS),
        "cascade-DR": ope.SlateCascadeDoublyRobust(SLOTS, TITLES),
    }
    return {name: each.estimate_policy_value(**given) for name, each in estimators.items()}


def synthetic(folder):
    """Values, intervals and the best times of both on obp's own simulated log."""
    data = SyntheticBanditDataset(
        n_actions=ACTIONS,
        dim_context=5,
        reward_function=logistic_reward_function,
        behavior_policy_function=linear_behavior_policy,
        random_state=1,
    )
    log = data.obtain_batch_bandit_feedback(ROUNDS)
    scores = np.exp(3.0 * log["expected_reward"])
    pi = (scores / scores.sum(axis=1, keepdims=True))[:, :, None]
    noise = np.random.default_rng(2).normal(scale=0.05, size=pi.shape)
    given = {
        "reward": log["reward"].astype(float),
        "action": log["action"],
        "pscore": log["pscore"],
        "action_dist": pi,
        "estimated_rewards_by_reg_model": log["expected_reward"][:, :, None] + noise,
    }
    np.savez(folder / "synthetic.npz", **given)
    found = {}
    for name, each in PLAIN.items():
        seconds, value = best(each.estimate_policy_value, given, TRIES)
        slow, interval = best(
            each.estimate_interval,
            {**given, "n_bootstrap_samples": RESAMPLES, "random_state": 3},
            1,
        )
        low, high = (interval[f"95.0% CI ({side})"] for side in ("lower", "upper"))
        found[name] = {
            "value": value,
            "seconds": seconds,
            "interval": [low, high],
            "interval_seconds": slow,
        }
    return found


def best(call, arguments, times):
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        answer = call(**arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds), answer


def main() -> None:
    folder = Path(sys.argv[1])
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as log:
            arrays = dict(log)
        judge = on_loggers if "logger" in arrays else on_log
        found[path.stem] = judge(arrays)
    found["slates"] = on_slates(folder)
    found["synthetic"] = synthetic(folder)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
