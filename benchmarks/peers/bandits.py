"""Vowpal Wabbit and MABWiser on rounds that benchmarks/bandits.py drew.

    python benchmarks/peers/bandits.py ROUNDS.npz PEER SETTING

Needs `pip install "vowpalwabbit==9.11.*" "mabwiser==2.7.*"` in an environment of its own. PEER is
`vw` (`--cb_explore_adf --squarecb -q UA`, text examples, SETTING is `--gamma_scale`) or `mabwiser`
(LinUCB, SETTING is alpha; it learns in batches of 100 and decides one at a time). Prints JSON: the
mean reward over the rounds, and seconds of deciding and of learning.
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
    return earned / len(luck), deciding, learning


def mabwiser(contexts, facets, chances, luck, setting):
    from mabwiser.mab import MAB, LearningPolicy

    learner = MAB(list(range(len(facets))), LearningPolicy.LinUCB(alpha=setting), seed=1)
    actions, rewards, deciding, learning = [], [], 0.0, 0.0
    for number, (x, p, u) in enumerate(zip(contexts, chances, luck, strict=True)):
        begin = time.perf_counter()
        action = learner.predict(x[None]) if number >= 100 else number % len(facets)
        deciding += time.perf_counter() - begin
        actions.append(action)
        rewards.append(float(u < p[action]))
        if number % 100 == 99:
            begin = time.perf_counter()
            part = slice(number - 99, number + 1)
            learn = learner.fit if number == 99 else learner.partial_fit
            learn(actions[part], rewards[part], contexts[part])
            learning += time.perf_counter() - begin
    return float(np.mean(rewards)), deciding, learning


if __name__ == "__main__":
    path, peer, setting = sys.argv[1:]
    with np.load(path, allow_pickle=False) as file:
        parts = [file[name] for name in ("contexts", "facets", "chances", "luck")]
    earned, deciding, learning = {"vw": vw, "mabwiser": mabwiser}[peer](*parts, float(setting))
    print(json.dumps({"reward": earned, "deciding": deciding, "learning": learning}))
