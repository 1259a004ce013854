"""Home pages of real members."""

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from matinee.decisions import Decider, Home, rebuild
from matinee.lake.records import Title
from matinee.models import CoVisitation, Dataset, Histories, Vocabulary
from matinee.surfaces import History, Request, Titles

RATINGS = Path(os.environ.get("MATINEE_DATA", "")) / "ml-1m" / "ratings.parquet"
MOVIES = RATINGS.with_name("movies.dat")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        "MATINEE_DATA" not in os.environ or not RATINGS.is_file(),
        reason="needs ml-1m under MATINEE_DATA",
    ),
]


def catalogue():
    for line in MOVIES.read_text(encoding="latin-1").splitlines():
        movie, name, genres = line.split("::")
        yield Title(title_id=movie, name=name, genres=genres.split("|"))


@pytest.fixture(scope="module")
def watched():
    """Member id to title ids, oldest first, of the first 300 members."""
    ratings = pl.scan_parquet(RATINGS).filter(pl.col("user_id") <= 300)
    rows = ratings.sort("user_id", "timestamp", maintain_order=True).select(
        pl.col("user_id", "movie_id").cast(pl.String), pl.col("timestamp") * 1_000_000
    )
    return {
        member: History(tuple(frame["movie_id"]), tuple(frame["timestamp"]), 1)
        for (member,), frame in rows.collect().group_by("user_id", maintain_order=True)
    }


def test_pages_of_real_members(watched, log, histories_of):
    titles = Titles(catalogue())
    vocabulary = Vocabulary(sorted(titles.catalogue))
    log_of_views = Histories.of(
        [vocabulary.encode(history.titles).tolist() for history in watched.values()],
        [history.times for history in watched.values()],
    )
    model = CoVisitation().fit(Dataset.of(vocabulary, log_of_views))
    source = histories_of(watched)
    policy = next(iter(titles.policies().values()))
    decider = Decider(titles, model, policy, version="titles@1", histories=source, salt=b"s")
    at = datetime(2003, 3, 1, tzinfo=UTC)
    for member in list(watched)[:30]:
        page = Home(decider).decide(
            Request(request_id=f"r {member}", member_id=member, at=at, country="US"), log
        )
        shown = [title.title_id for row in page.rows for title in row.titles]
        assert len(shown) == len(set(shown)) >= 100
        assert set(shown).isdisjoint(watched[member].titles)
        assert set(shown) <= set(titles.catalogue)
    for decision in log.decisions():
        ids = log.rows[decision.eligible].candidates
        slate = rebuild(decision, policy)
        assert [ids[position] for position in slate.actions] == decision.actions
        assert all(0 < propensity <= 1 for propensity in decision.propensities)
