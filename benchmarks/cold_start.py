"""Titles that nobody has watched yet, ranked by what they are about: MovieLens-1M.

    MATINEE_DATA=... python -m benchmarks.cold_start [--seeds 3]
        [--model NAME] [--settings '{"epochs": 8}']

Of the 5-core titles a random tenth is hidden: from the training data, from the members' histories
and from the content that the model is fitted with. It then adopts the whole catalogue: genres and
year of MovieLens, words of the name, and the cast of ``wikidata-films/movies.db`` where a film of
that name and year stands there. Each member who watched a hidden title is asked twice: with the
whole of their other history, for all the hidden titles they watched; and at the moment when they
watched one, drawn at random, for that one. Ranked are the hidden titles among themselves, and among
all titles that the member has not watched.

The model has learned from the other watches of all members, those from after the question too, as
every leave-one-out does.

Beside it stand a random order and popularity by genre, ties broken at random: a title's score is
the sum, over its genres, of the share of the member's history in the genre times the mean number of
members who watched one of its titles. (The mean over a title's genres does worse.) The
last row, for comparison alone, is a singular value decomposition of what is watched by the same
members, its vectors mapped from content as the model's are.

Finished draws stand in benchmarks/results/cold_start.jsonl by seed, model and settings and are not
repeated.

recall@K is hits over min(K, targets), NDCG@10 as in ``matinee.evaluation``; both are means over
members. Intervals are Student's at 95 % over the seeds, which draw what is hidden. Bar: the 95 %
interval of the difference to each of the two others, seed by seed, lies above zero in every figure.
"""

import argparse
import copy
import json
import os
import platform
import re
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import rich
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from benchmarks import kept
from benchmarks.movielens import interactions
from matinee.evaluation import five_core
from matinee.evaluation.ranking import ranked
from matinee.features.content import about
from matinee.lake.importers.movielens import MovieLens
from matinee.models import Content, Context, Dataset, Histories, Model, Vocabulary, model_class
from matinee.models.attribute_map import AttributeMap

HIDDEN = 0.1
BATCH = 256
METRICS = ("recall@10", "recall@20", "recall@50", "ndcg@10")
OTHERS = ("random", "genre")
AT_THE_END, AS_WATCHED = "asked at the end of all", "asked as it is watched"

Figures = dict[str, NDArray[np.float64]]
Scores = Callable[[Context, NDArray[np.int32]], NDArray]


class CoWatch(Model):
    """Titles' vectors from the shifted positive PMI of being watched by the same members.

    A member is the mean of the vectors of their titles. Vectors known from content are stretched to
    lie as far from the mean as others.
    """

    name = "co-watch SVD"
    references = (
        "O. Levy, Y. Goldberg: Neural word embedding as implicit matrix factorization. NeurIPS "
        "2014.",
    )
    width, smoothing, trust = 64, 0.75, 10.0

    def settings(self):
        return {}

    def _fit(self, dataset, run):
        (shard,) = dataset.shards
        watched = shard.load().matrix(len(self.titles)).astype(float)
        information = self._information(watched)
        left, values, right = svds(information, k=self.width, v0=np.ones(len(self.titles)))
        self._before, self._after = left * np.sqrt(values), right.T * np.sqrt(values)
        counts = watched.sum(axis=0)
        weights = counts / (counts + self.trust)
        self.map = AttributeMap.fit(dataset.content, self.titles, self._after, weights)

    def _information(self, watched):
        """Positive pointwise mutual information [V, V] of two titles and one member."""
        pairs = (watched.T @ watched).tocoo()
        apart = pairs.row != pairs.col
        rows, columns, together = pairs.row[apart], pairs.col[apart], pairs.data[apart]
        totals = np.bincount(rows, together, minlength=len(self.titles))
        smooth = totals**self.smoothing
        value = np.log(together * smooth.sum() / (totals[rows] * smooth[columns]))
        cells = (value[value > 0], (rows[value > 0], columns[value > 0]))
        return csr_array(cells, shape=pairs.shape)

    def adopt(self, content):
        new = [title for title in content.titles.ids if title not in set(self.titles.ids)]
        model = copy.copy(self)
        model.titles = Vocabulary([*self.titles.ids, *new])
        model._before = np.concatenate([self._before, np.zeros((len(new), self.width))])
        known = self.map.predict(content, Vocabulary(new), stretch=self.map.spread)
        model._after = np.concatenate([self._after, known])
        return model

    def _scores(self, context, candidates):
        watched = context.histories.matrix(len(self.titles))
        lengths = np.maximum(watched.sum(axis=1), 1.0)
        wanted = (watched @ self._before) / lengths[:, None]
        return wanted @ self._after[candidates].T

    def _arrays(self):
        return {"before": self._before, "after": self._after, **self.map.arrays()}

    def _restore(self, arrays):
        self._before, self._after = arrays["before"], arrays["after"]
        self.map = AttributeMap.restore(arrays)


def catalogue(folder: Path, ids: list[str]) -> pl.DataFrame:
    """The titles table of these ids, with the cast where it is known."""
    titles = next(iter(MovieLens(folder / "ml-1m").batches())).frame
    casts = dict(known_casts(folder / "wikidata-films" / "movies.db"))
    named = [(plain(name), year) for name, year in titles.select("name", "year").iter_rows()]
    found = [
        next((casts[name, year + off] for off in (0, 1, -1) if (name, year + off) in casts), [])
        if year is not None
        else []
        for name, year in named
    ]
    cast = pl.Series("cast", found, dtype=pl.List(pl.String))
    return titles.with_columns(cast).filter(pl.col("title_id").is_in(ids))


def known_casts(database: Path) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """((plain name, year), cast) of each film; nothing, where there is no such file."""
    if not database.is_file():
        return
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    query = 'SELECT Title, Year, "Cast" FROM omdb WHERE Title != "" AND Year > 0 ORDER BY ID DESC'
    for name, year, cast in connection.execute(query.replace('""', "''")):
        yield (plain(name), year), [actor for actor in (cast or "").split(", ") if actor]
    connection.close()


def plain(name: str) -> str:
    """A name as small letters and digits alone, its article in front, nothing in brackets.

    >>> plain("American President, The"), plain("City of Lost Children, The (La cité)")
    ('theamericanpresident', 'thecityoflostchildren')
    """
    bare = re.sub(r"\([^)]*\)", "", name).strip()
    turned = re.sub(r"^(.*), (The|A|An|Les|La|Le|Il|Das|Der|Die|El|Los|L')$", r"\2 \1", bare)
    letters = unicodedata.normalize("NFKD", turned).casefold()
    return re.sub(r"[^a-z0-9]", "", letters)


@dataclass(frozen=True)
class Question:
    """Who is asked, and what they watched. targets : bool [members asked, hidden titles]."""

    context: Context
    targets: NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """One draw of what is hidden, and what is asked about it, by name."""

    warm: Vocabulary
    hidden: Vocabulary
    train: Dataset
    catalogue: Content
    asked: dict[str, Question]
    seed: int

    @classmethod
    def of(cls, log: pl.DataFrame, titles: pl.DataFrame, seed: int) -> "Trial":
        ids = log["title_id"].unique().sort()
        rng = np.random.default_rng(seed)
        drawn = set(ids.gather(rng.permutation(len(ids))[: round(HIDDEN * len(ids))]))
        hidden = Vocabulary(title for title in ids if title in drawn)
        warm = Vocabulary(title for title in ids if title not in drawn)
        rows = log.sort("member_id", "ts", "seq").group_by("member_id", maintain_order=True)
        members = [
            Watched(warm.encode(names), hidden.encode(names), np.array(times))
            for _, names, times in rows.agg("title_id", "ts").iter_rows()
        ]
        known = histories([member.before(len(member.times)) for member in members])
        of_warm = about(titles.filter(~pl.col("title_id").is_in(hidden.ids)))
        train = replace(Dataset.of(warm, known), content=Content.of(of_warm))
        some = [member for member in members if (member.hidden >= 0).any()]
        asked = {
            AT_THE_END: at_the_end(some, len(hidden)),
            AS_WATCHED: at_a_watch(some, len(hidden), rng),
        }
        return cls(warm, hidden, train, Content.of(about(titles)), asked, seed)


@dataclass(frozen=True)
class Watched:
    """What a member watched, oldest first: numbers among warm and hidden titles [N], -1 if not."""

    warm: NDArray[np.int32]
    hidden: NDArray[np.int32]
    times: NDArray[np.int64]

    def before(self, place: int) -> tuple[list[int], list[int]]:
        """The warm titles before a place, and their times."""
        known = np.flatnonzero(self.warm[:place] >= 0)
        return self.warm[known].tolist(), self.times[known].tolist()


def histories(rows: list[tuple[list[int], list[int]]]) -> Histories:
    return Histories.of([titles for titles, _ in rows], [times for _, times in rows])


def at_the_end(members: list[Watched], size: int) -> Question:
    """All that is known of a member's life, and every hidden title in it."""
    known = histories([member.before(len(member.times)) for member in members])
    targets = np.zeros((len(members), size), np.bool_)
    for row, member in enumerate(members):
        targets[row, member.hidden[member.hidden >= 0]] = True
    at = np.array([max(known.times_of(row), default=0) + 1 for row in range(len(members))])
    return Question(Context(known, at), targets)


def at_a_watch(members: list[Watched], size: int, rng: np.random.Generator) -> Question:
    """The moment at which a member watched a hidden title, one drawn of each member's."""
    places = [int(rng.choice(np.flatnonzero(member.hidden >= 0))) for member in members]
    both = list(zip(members, places, strict=True))
    targets = np.zeros((len(members), size), np.bool_)
    targets[np.arange(len(members)), [member.hidden[place] for member, place in both]] = True
    at = np.array([member.times[place] for member, place in both])
    return Question(
        Context(histories([member.before(place) for member, place in both]), at), targets
    )


def by_content(trial: Trial, model: Model) -> Scores:
    """Scores of the titles (numbers in warm + hidden) by a model that adopts the catalogue."""
    adopted = model.fit(trial.train).adopt(trial.catalogue)
    if set(trial.hidden.ids) - set(adopted.titles.ids):
        raise SystemExit(f"{model.name} adopts no titles by their content; choose another model")
    places = adopted.titles.encode([*trial.warm.ids, *trial.hidden.ids])
    assert (places[: len(trial.warm)] == np.arange(len(trial.warm))).all()
    return lambda context, titles: adopted.believe(context, places[titles]).mean


def by_genre(trial: Trial) -> Scores:
    kinds = [name.startswith("genre=") for name in trial.catalogue.features.ids]
    rows = trial.catalogue.titles.encode([*trial.warm.ids, *trial.hidden.ids])
    genres = trial.catalogue.matrix[rows].toarray()[:, kinds]
    (shard,) = trial.train.shards
    counts = shard.load().matrix(len(trial.warm)).sum(axis=0)
    of_warm = genres[: len(trial.warm)]
    popular = counts @ of_warm / np.maximum(of_warm.sum(axis=0), 1)
    rng = np.random.default_rng(trial.seed)

    def scores(context: Context, titles: NDArray[np.int32]) -> NDArray:
        watched = context.histories.matrix(len(trial.warm)) @ of_warm
        shares = watched / np.maximum(watched.sum(axis=1, keepdims=True), 1)
        ties = rng.random((len(context), len(titles)))
        return (shares * popular) @ genres[titles].T + 1e-7 * ties

    return scores


def at_random(trial: Trial) -> Scores:
    rng = np.random.default_rng(trial.seed)
    return lambda context, titles: rng.random((len(context), len(titles)))


def judge(
    trial: Trial, question: Question, scores: Scores, *, among_all: bool
) -> NDArray[np.float64]:
    """The mean of each of `METRICS`."""
    warm, hidden = len(trial.warm), len(trial.hidden)
    titles = np.arange(0 if among_all else warm, warm + hidden, dtype=np.int32)
    sums, members = np.zeros(len(METRICS)), len(question.context)
    for start in range(0, members, BATCH):
        stop = min(start + BATCH, members)
        context = question.context.rows(start, stop)
        seen = context.histories.matrix(warm + hidden).toarray()[:, titles] > 0
        targets = np.zeros_like(seen)
        targets[:, len(titles) - hidden :] = question.targets[start:stop]
        lists = ranked(scores(context, titles), seen, targets, 50)
        hits = np.take_along_axis(targets, np.maximum(lists, 0), axis=1) & (lists >= 0)
        sums += member_figures(hits, targets.sum(axis=1)).sum(axis=0)
    return sums / members


def member_figures(hits: NDArray[np.bool_], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """`METRICS` [M, 4] of members' lists.

    >>> member_figures(np.array([[True] + [False] * 49]), np.array([2])).round(3)
    array([[0.5  , 0.5  , 0.5  , 0.613]])
    """
    discounts = 1 / np.log2(np.arange(10) + 2)
    recalls = [hits[:, :k].sum(axis=1) / np.minimum(k, targets) for k in (10, 20, 50)]
    ideal = np.cumsum(discounts)[np.minimum(targets, 10) - 1]
    return np.stack([*recalls, hits[:, :10] @ discounts / ideal], axis=1)


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and half width [Q] over seeds [N, Q]."""
    size = len(values)
    spread = values.std(axis=0, ddof=1) / np.sqrt(size)
    return values.mean(axis=0), stats.t.ppf(0.975, size - 1) * spread


def report(figures: Figures, model: str, title: str) -> bool:
    table = Table("", *METRICS, title=title)
    for name, values in figures.items():
        mean, half = interval(values)
        table.add_row(name, *(f"{m:.4f} ± {h:.4f}" for m, h in zip(mean, half, strict=True)))
    met = True
    for other in OTHERS:
        mean, half = interval(figures[model] - figures[other])
        met &= bool((mean > half).all())
        cells = (f"{m:+.4f} ± {h:.4f}" for m, h in zip(mean, half, strict=True))
        table.add_row(f"{model} - {other}", *cells)
    rich.print(table)
    print(f"bar, above both others in every figure: {'met' if met else 'MISSED'}")
    return met


def draw(
    log: pl.DataFrame, titles: pl.DataFrame, seed: int, model: Model
) -> dict[str, dict[str, list[float]]]:
    """`METRICS` of each way to rank, for every question, with what this seed hides."""
    trial = Trial.of(log, titles, seed)
    ways = {
        "random": at_random(trial),
        "genre": by_genre(trial),
        CoWatch.name: by_content(trial, CoWatch()),
        model.name: by_content(trial, model),
    }
    found = {}
    for (name, question), among_all in product(trial.asked.items(), (False, True)):
        title = f"{name}, hidden titles among {'all' if among_all else 'themselves'}"
        found[title] = {
            way: judge(trial, question, scores, among_all=among_all).tolist()
            for way, scores in ways.items()
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="sequence", help="the name of one that adopts titles")
    parser.add_argument("--seeds", type=int, default=3, help="how many draws of what is hidden")
    parser.add_argument("--settings", type=json.loads, default={}, help="its settings, as JSON")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error(f"--seeds is {arguments.seeds}; give 2 or more, an interval needs them")
    if "MATINEE_DATA" not in os.environ:
        print("set MATINEE_DATA to the folder that holds ml-1m/, and wikidata-films/ for casts")
        return 2
    folder = Path(os.environ["MATINEE_DATA"])
    kind = model_class(arguments.model)
    log = five_core(interactions(folder))
    titles = catalogue(folder, log["title_id"].unique().to_list())
    share = (titles["cast"].list.len() > 0).mean()
    print(f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    print(f"{titles.height} titles, {share:.0%} of them with a cast; {log.height} events")
    model, draws = kind(**arguments.settings), []
    for seed in range(arguments.seeds):
        start = time.perf_counter()
        asked = {"seed": seed, "model": model.name, "settings": model.settings()}
        asked["casts"] = round(share, 2)
        find = partial(draw, log, titles, seed, model)
        draws.append(kept.once("cold_start", asked, find))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    met = True
    for title, ways in draws[0].items():
        each = {way: np.array([one[title][way] for one in draws]) for way in ways}
        met &= report(each, model.name, title)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
