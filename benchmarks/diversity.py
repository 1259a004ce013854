"""What re-ordering for diversity costs on MovieLens-1M, leave-one-out.

    MATINEE_DATA=... python -m benchmarks.diversity [--model NAME ...] [--validation]

Each model is fitted once; its best 100 unwatched titles are re-ordered by `Diverse` at each
strength (5-core, whole catalogue, seen titles masked, no sampled negatives). Every column is of the
list of ten. "genres" is the mean over members and pairs of titles of one minus the cosine of their
genres, which no model here sees; diversity is the same of who watched them. The last column is
milliseconds a member, the list included, in batches of 256.
``--validation`` asks for the validation targets, on which the default strength was chosen.
"""

import argparse
import os
import platform
import time
from copy import copy
from pathlib import Path

import numpy as np
import rich
from rich.table import Table

from benchmarks.movielens import interactions
from matinee.evaluation import five_core, leave_one_out
from matinee.evaluation.diversity import diversity
from matinee.evaluation.ranking import best_lists, member_metrics, self_information
from matinee.models import MODELS, Diverse

MODELS_TRIED = ("ease", "covisitation")
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
COLUMNS = ("ndcg@10", "hr@10", "coverage", "diversity", "genres", "novelty")
SHOWN = 10


def genres(folder: Path, titles: tuple[str, ...]) -> np.ndarray:
    """Rows of length 1 [V, G], 1 / sqrt(genres) where the title has the genre."""
    lines = (folder / "ml-1m" / "movies.dat").read_text(encoding="latin-1").splitlines()
    of = {line.split("::")[0]: line.split("::")[2].split("|") for line in lines}
    names = sorted({genre for found in of.values() for genre in found})
    cells = np.array([[genre in of.get(title, ()) for genre in names] for title in titles], float)
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1.0)


def differ(shown: np.ndarray, vectors: np.ndarray) -> float:
    """The mean over lists and their pairs of one minus the cosine of two vectors of length 1."""
    left, right = (vectors[shown[:, places]] for places in np.triu_indices(SHOWN, 1))
    return float(1 - (left * right).sum(axis=2).mean())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    parser.add_argument("--validation", action="store_true")
    arguments = parser.parse_args()
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/ratings.parquet")
        return 2
    folder = Path(os.environ["MATINEE_DATA"])
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    split = leave_one_out(five_core(interactions(folder)))
    asked = split.validation if arguments.validation else split.test
    members = len(asked.members)
    about = genres(folder, split.train.titles.ids)
    information = self_information(split.train)
    for name in arguments.model or MODELS_TRIED:
        begin = time.perf_counter()
        fitted = Diverse(name).fit(split.train)
        print(f"{name} and its vectors: {time.perf_counter() - begin:.1f} s to fit")
        table = Table("strength", *COLUMNS, "ms", title=f"diverse over {name}, {members:,} members")
        for strength in STRENGTHS:
            model = copy(fitted)
            model.strength = strength
            begin = time.perf_counter()
            shown, hits = best_lists(
                lambda context, of=model: of.believe(context).mean, asked, SHOWN
            )
            seconds = time.perf_counter() - begin
            each = member_metrics(hits, np.ones(members, int))
            row = [each["ndcg@10"].mean(), each["hr@10"].mean()]
            row += [len(np.unique(shown)) / len(information)]
            row += [diversity(shown, split.train).mean(), differ(shown, about)]
            row += [information[shown].mean()]
            cells = [f"{value:.4f}" for value in row]
            table.add_row(f"{strength:g}", *cells, f"{1000 * seconds / members:.2f}")
        rich.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
