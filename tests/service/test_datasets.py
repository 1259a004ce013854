"""What models learn from and what a decision is made on are the same."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from matinee.decisions.sequences import sequences
from matinee.evaluation import leave_one_out
from matinee.features.watched import SIGNALS
from matinee.lake.lake import Lake
from matinee.lake.records import Event, Title
from matinee.models import Vocabulary
from matinee.service.datasets import encode, histories_of, training_set
from matinee.service.members import Members

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 5.0
KINDS = ["impression", "click", "play", "complete", "rating", "thumb", "search"]
VALUES = {"play": [1.0, 30.0, 200.0], "complete": [1.0], "rating": [1.0], "thumb": [-1.0, 0.0, 2.0]}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Events of every kind, 12 members, 9 titles of which 6 are in the catalogue."""
    rng = np.random.default_rng(5)
    events = []
    for number in range(400):
        kind = KINDS[rng.integers(len(KINDS))]
        values = VALUES.get(kind)
        events.append(
            Event(
                event_id=f"e{number}",
                member_id=f"m{rng.integers(12)}",
                kind=kind,
                title_id=f"t{rng.integers(9)}",
                ts=START + timedelta(hours=int(rng.integers(60))),
                value=None if values is None else values[rng.integers(len(values))],
                device=[None, "tv", "phone"][rng.integers(3)],
            )
        )
    titles = [
        Title(title_id=f"t{n}", name=f"T{n}", runtime_minutes=90.0 if n % 2 else None)
        for n in range(6)
    ]
    with Lake.create(tmp_path_factory.mktemp("datasets") / "lake", buckets=3) as made:
        made.put([*titles, *events])
        yield made


def rows_of(lake, as_of):
    return pl.concat([one.frame() for one in histories_of(lake, as_of, MINUTES)])


def test_training_and_serving_see_the_same(lake):
    """Bit for bit, whatever the member did."""
    data = training_set(lake, datetime.now(UTC), MINUTES)
    members = Members(lake, MINUTES)
    told = rows_of(lake, datetime.now(UTC))["member_id"].unique(maintain_order=True)
    served = sequences([members.history(m) for m in told], [None] * len(told), data.titles)
    row = 0
    for shard in data.shards:
        learned = shard.load()
        same = served.rows(row, row + len(learned))
        for name in ("offsets", "titles", "times", "weights", "signals"):
            np.testing.assert_array_equal(getattr(learned, name), getattr(same, name))
        row += len(learned)
    assert row == len(told) == 12
    assert set(np.unique(served.weights)) == {0.0, np.float32(30 / 90), 1.0}


def test_histories_say_how_and_where_titles_were_met(lake):
    data = training_set(lake, datetime.now(UTC), MINUTES)
    assert data.devices.ids == ("phone", "tv")
    parts = [shard.load() for shard in data.shards]
    signals = np.concatenate([part.signals for part in parts])
    assert np.bitwise_or.reduce(signals) == (1 << len(SIGNALS)) - 1
    assert set(np.concatenate([part.devices for part in parts])) == {-1, 0, 1}


def test_interactions_are_the_histories(lake):
    as_of = datetime.now(UTC)
    data = training_set(lake, as_of, MINUTES)
    rows = rows_of(lake, as_of)
    again = encode(rows, data.titles, data.devices)
    for name in ("titles", "times", "weights", "signals", "devices"):
        parts = [getattr(shard.load(), name) for shard in data.shards]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(again, name))
    split = leave_one_out(rows)
    assert split.train.devices == data.devices
    assert (split.test.targets.weights > 0).all()
    assert split.data["events"] == rows.filter(pl.col("weight") > 0).height < rows.height


def test_a_title_of_no_vocabulary_is_unknown():
    met = pl.DataFrame(
        {
            "member_id": ["a", "a"],
            "title_id": ["x", "y"],
            "ts": [START, START],
            "weight": [1.0, 0.0],
            "signals": [1, 32],
            "device": ["tv", None],
            "country": ["NL", "NL"],
        },
        schema_overrides={"weight": pl.Float32, "signals": pl.UInt8},
    )
    found = encode(met, Vocabulary(["y"]))
    assert found.titles.tolist() == [-1, 0]
    assert found.devices.tolist() == [-1, -1]
    assert found.countries == ("NL",)
