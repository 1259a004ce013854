"""Vowpal Wabbit and MABWiser on rounds that benchmarks/bandits.py drew.

    python benchmarks/peers/bandits.py ROUNDS.npz PEER SETTING

Needs `pip install "vowpalwabbit==9.11.*" "mabwiser==2.7.*"` in an environment of its own. PEER is
`vw` (`--cb_explore_adf --squarecb -q UA`, text examples, SETTING is `--gamma_scale`) or `mabwiser`
(LinUCB on the numbers and a constant, SETTING is alpha; it decides a hundred at a time and learns
from them before the next). Prints JSON: the mean reward over the rounds, and decisions and choices
learned from a second: one at a time, and where it can, by 800 and by 1,000.
"""

import json
import sys
import time

import numpy as np


def vw(contexts, facets, chances, luck, setting):
    from vowpalwabbit import Workspace

    learner = Workspace(
        f"--cb_explore_adf --squarecb --gamma_scale {setting} -q UA --quiet --random_seed 1"
    )
    actions = [
        f"|A p{number} " + " ".join(f"f{place}" for place in np.flatnonzero(row))
        for number, row in enumerate(facets)
    ]
    rng, earned, deciding, learning = np.random.default_rng(1), 0.0, 0.0, 0.0
    for x, p, u in zip(contexts, chances, luck, strict=True):
        begin = time.perf_counter()
        shared = "shared |U " + " ".join(f"{place}:{value:.4f}" for place, value in enumerate(x))
        probabilities = np.array(learner.predict([shared, *actions]))
        action = int(rng.choice(len(actions), p=probabilities / probabilities.sum()))
        middle = time.perf_counter()
        reward = float(u < p[action])
        label = f"0:{-reward}:{probabilities[action]} "
        told = [(label if place == action else "") + line for place, line in enumerate(actions)]
        learner.learn([shared, *told])
        deciding, learning = deciding + middle - begin, learning + time.perf_counter() - middle
        earned += reward
    rates = {"deciding one": len(luck) / deciding, "learning one": len(luck) / learning}
    return {"reward": earned / len(luck)} | rates


def mabwiser(contexts, facets, chances, luck, setting):
    from mabwiser.mab import MAB, LearningPolicy

    learner = MAB(list(range(len(facets))), LearningPolicy.LinUCB(alpha=setting), seed=1)
    contexts = np.hstack([np.ones((len(contexts), 1)), contexts])
    earned = []
    for first in range(0, len(luck), 100):
        x, p, u = (each[first : first + 100] for each in (contexts, chances, luck))
        actions = np.array(learner.predict(x)) if first else np.arange(len(x)) % len(facets)
        rewards = (u < p[np.arange(len(x)), actions]).astype(float)
        (learner.partial_fit if first else learner.fit)(actions, rewards, x)
        earned.append(rewards)

    def rate(work, size, times):
        begin = time.perf_counter()
        for number in range(times):
            work(slice(number * size % 10_000, number * size % 10_000 + size))
        return size * times / (time.perf_counter() - begin)

    actions, rewards = np.arange(len(luck)) % len(facets), (luck < 0.3).astype(float)

    def learn(part):
        learner.partial_fit(actions[part], rewards[part], contexts[part])

    def decide(part):
        learner.predict(contexts[part])

    rates = {
        "deciding one": rate(decide, 1, 1_000),
        "deciding many": rate(decide, 800, 12),
        "learning one": rate(learn, 1, 500),
        "learning many": rate(learn, 1_000, 10),
    }
    return {"reward": float(np.concatenate(earned).mean())} | rates


if __name__ == "__main__":
    path, peer, setting = sys.argv[1:]
    with np.load(path, allow_pickle=False) as file:
        parts = [file[name] for name in ("contexts", "facets", "chances", "luck")]
    found = {"vw": vw, "mabwiser": mabwiser}[peer](*parts, float(setting))
    print(json.dumps(found))
