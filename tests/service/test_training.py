"""What models learn from, what an evaluation asks, and what a version says of itself."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import matinee
from matinee import evaluation
from matinee.errors import MatineeError
from matinee.evaluation import five_core, leave_one_out
from matinee.lake.importers import MovieLens, load
from matinee.lake.records import micros
from matinee.models import EASE, Context, CoVisitation, Popularity
from matinee.service import training
from matinee.service.datasets import training_set
from matinee.service.folder import Service

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = 5.0


def random_log(seed=0, events=600):
    """Events of 25 members on 12 titles over some days, some of them known only much later."""
    rng = np.random.default_rng(seed)
    ts = [T0 + timedelta(hours=int(hour)) for hour in rng.integers(0, 240, events)]
    late = rng.random(events) < 0.2
    known = [at + timedelta(days=20 * bool(is_late)) for at, is_late in zip(ts, late, strict=True)]
    kind = rng.choice(["play", "complete", "impression", "rating"], events)
    return pl.DataFrame(
        {
            "event_id": [f"{seed}-{number}" for number in range(events)],
            "member_id": [f"m{number}" for number in rng.integers(0, 25, events)],
            "kind": kind,
            "title_id": [f"t{number:02d}" for number in rng.integers(0, 12, events)],
            "ts": ts,
            "value": np.where(rng.random(events) < 0.2, 0.7, 1.0) * np.where(kind == "play", 6, 1),
            "known_at": known,
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
    )


def countries():
    """Where members are; every third moved, which was known on the fifth day."""
    first = [{"member_id": f"m{n}", "country": "NL", "known_at": T0} for n in range(20)]
    moved = [
        {"member_id": f"m{n}", "country": "US", "known_at": T0 + timedelta(days=5)}
        for n in range(0, 20, 3)
    ]
    return pl.DataFrame(first + moved, schema_overrides={"known_at": pl.Datetime("us", "UTC")})


def make(folder: Path, buckets=4) -> Service:
    service = Service.create(folder, {"lake.buckets": buckets})
    assert service.lake.append("events", random_log(), source="log").rejected == 0
    service.lake.append("members", countries(), source="members")
    return service


@pytest.fixture
def service(tmp_path: Path):
    with make(tmp_path / "shows") as made:
        yield made


def by_hand(log: pl.DataFrame, as_of: datetime):
    """Each member's titles, times and country, read row by row."""
    where = {}
    for row in countries().iter_rows(named=True):
        if row["known_at"] <= as_of:
            where[row["member_id"]] = row["country"]
    found: dict = {}
    rows = [row for row in log.iter_rows(named=True) if row["known_at"] <= as_of]
    for row in sorted(rows, key=lambda row: row["ts"]):
        watched = row["kind"] in {"complete", "rating"} or (
            row["kind"] == "play" and row["value"] >= MINUTES
        )
        if watched:
            history = found.setdefault(row["member_id"], {})
            history.pop(row["title_id"], None)
            history[row["title_id"]] = micros(row["ts"])
    return sorted((tuple(history.items()), where.get(member)) for member, history in found.items())


def as_read(dataset):
    found = []
    for shard in dataset.shards:
        histories = shard.load()
        for member in range(len(histories)):
            ids = [dataset.titles.ids[title] for title in histories.titles_of(member)]
            times = histories.times_of(member).tolist()
            found.append((tuple(zip(ids, times, strict=True)), histories.countries[member]))
    return sorted(found)


@pytest.mark.parametrize("days", [2, 6, 12, 40])
def test_a_training_set_is_what_reading_the_log_row_by_row_gives(service, days):
    as_of = T0 + timedelta(days=days)
    dataset = training_set(service.lake, as_of, MINUTES)
    assert as_read(dataset) == by_hand(random_log(), as_of)
    assert dataset.as_of == micros(as_of)


def test_the_vocabulary_is_the_catalogue_and_what_was_watched(service):
    known = {"known_at": [T0]}
    titles = pl.DataFrame({"title_id": ["unseen"], "name": ["U"], **known})
    service.lake.append("titles", titles, source="titles")
    dataset = training_set(service.lake, T0 + timedelta(days=40), MINUTES)
    assert dataset.titles.ids == (*(f"t{number:02d}" for number in range(12)), "unseen")


@pytest.mark.parametrize("model", [Popularity, EASE, CoVisitation])
def test_it_does_not_matter_how_members_are_spread_over_buckets(tmp_path, model):
    as_of = T0 + timedelta(days=40)
    with make(tmp_path / "one", 1) as one, make(tmp_path / "many", 7) as many:
        whole, sharded = (training_set(one_of.lake, as_of, MINUTES) for one_of in (one, many))
        assert len(whole.shards) == 1
        assert len(sharded.shards) == 7
        asked = whole.shards[0].load()
        context = Context(asked, np.full(len(asked), micros(as_of)))
        first = model().fit(whole).believe(context).mean
        second = model().fit(sharded).believe(context).mean
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_what_is_imported_later_does_not_change_what_was_known(service):
    as_of = T0 + timedelta(days=6)
    before = as_read(training_set(service.lake, as_of, MINUTES))
    asked = training.split(service, "leave-one-out", as_of).data
    service.lake.append("events", random_log(seed=1).drop("known_at"), source="later")
    assert as_read(training_set(service.lake, as_of, MINUTES)) == before
    assert training.split(service, "leave-one-out", as_of).data == asked
    assert as_read(training_set(service.lake, datetime.now(UTC), MINUTES)) != before


def test_a_split_says_what_it_is_of(service):
    as_of = T0 + timedelta(days=40)
    dense = training.split(service, "leave-one-out", as_of)
    assert dense.protocol == {"name": "leave_one_out", "core": 5}
    assert dense.data["as_of"] == as_of.isoformat()
    assert dense.data["min_minutes"] == MINUTES
    again = training.split(service, "leave-one-out", as_of)
    assert dense.data["fingerprint"] == again.data["fingerprint"]
    earlier = training.split(service, "leave-one-out", T0 + timedelta(days=6))
    assert dense.data["fingerprint"] != earlier.data["fingerprint"]


def first_watches(log):
    """When each member first watched each title: {member: {title: time}}."""
    found: dict = {}
    for row in log.sort("ts").iter_rows(named=True):
        watched = row["kind"] in {"complete", "rating"}
        if watched or (row["kind"] == "play" and row["value"] >= MINUTES):
            own = found.setdefault(row["member_id"], {})
            own.setdefault(row["title_id"], micros(row["ts"]))
    return found


def test_a_time_split_asks_for_the_last_tenth_of_the_log(service):
    as_of = T0 + timedelta(days=40)
    split = training.split(service, "time-split", as_of)
    cut = micros(datetime.fromisoformat(split.protocol["at"]))
    times = [at for own in first_watches(random_log()).values() for at in own.values()]
    assert sum(at >= cut for at in times) / len(times) == pytest.approx(0.1, abs=0.05)
    given = training.split(service, "time-split", as_of, T0 + timedelta(days=3))
    assert given.protocol["at"] == (T0 + timedelta(days=3)).isoformat()


def test_a_time_split_learns_what_could_be_learned_then(service, tmp_path):
    """From the rows of a log that ends at the cut, bit for bit, and asks for first watches."""
    as_of, at = T0 + timedelta(days=40), T0 + timedelta(days=2)
    split = training.split(service, "time-split", as_of, at)
    with Service.create(tmp_path / "then") as then:
        before = random_log().filter(pl.col("ts") < at)
        then.lake.append("events", before, source="log")
        then.lake.append("members", countries(), source="members")
        assert as_read(split.train) == as_read(training_set(then.lake, as_of, MINUTES))
    firsts = first_watches(random_log())
    wanted = {
        (member, title)
        for member, own in firsts.items()
        for title, first in own.items()
        if first >= micros(at)
    }
    assert asked_for(split.test, split.train.titles) == wanted


def asked_for(holdout, titles):
    rows = ((member, holdout.targets.titles_of(row)) for row, member in enumerate(holdout.members))
    return {(member, titles.ids[title]) for member, own in rows for title in own}


def test_leave_one_out_asks_for_the_last_new_title_and_knows_nothing_later(service):
    split = training.split(service, "leave-one-out", T0 + timedelta(days=40))
    log, ids = random_log(), split.train.titles.ids
    firsts = first_watches(log)
    for row, member in enumerate(split.test.members):
        own = sorted(firsts[member].values())
        (target,) = split.test.targets.titles_of(row)
        assert firsts[member][ids[target]] == own[-1] == split.test.context.at[row]
        known = split.test.context.histories
        for title, at in zip(known.titles_of(row), known.times_of(row), strict=True):
            if at < own[-2]:
                seen = log.filter(
                    pl.col("member_id") == member,
                    pl.col("title_id") == ids[title],
                    (pl.col("kind") != "play") | (pl.col("value") >= MINUTES),
                    pl.col("kind") != "impression",
                    pl.col("ts").dt.epoch("us") < own[-2],
                )
                assert at == micros(seen["ts"].max())
            else:
                assert at == firsts[member][ids[title]]
    assert len(split.test.members) == 25


def test_what_comes_of_a_title_after_the_question_does_not_show_before_it(service):
    """Everybody gives every title a thumb and watches it again, after all that is asked."""
    before = training.split(service, "leave-one-out", datetime.now(UTC))
    pairs = [
        (member, title) for member, own in first_watches(random_log()).items() for title in own
    ]
    later = pl.DataFrame(
        [
            {
                "event_id": f"later {member} {title} {kind}",
                "member_id": member,
                "title_id": title,
                "kind": kind,
                "value": 1.0,
                "ts": T0 + timedelta(days=15),
                "known_at": T0 + timedelta(days=15),
            }
            for member, title in pairs
            for kind in ("thumb", "complete")
        ],
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("ts", "known_at")},
    )
    assert service.lake.append("events", later, source="later").rejected == 0
    after = training.split(service, "leave-one-out", datetime.now(UTC))
    assert after.data["fingerprint"] == before.data["fingerprint"]
    assert asked_for(after.test, after.train.titles) == asked_for(before.test, before.train.titles)


def test_a_report_is_saved_with_what_it_takes_to_have_it_again(service):
    as_of = T0 + timedelta(days=40)
    report = training.evaluate(service, ["ease"], as_of=as_of, seed=3)
    (path,) = training.reports(service, "titles")
    saved = json.loads(path.read_text())
    assert saved == json.loads(report.to_json())
    assert (saved["seed"], saved["version"]) == (3, matinee.__version__)
    assert saved["data"]["as_of"] == as_of.isoformat()
    assert [row["model"] for row in saved["rows"]] == ["popularity", "ease"]
    assert saved["rows"][1]["settings"] == {"l2": 200.0}
    again = training.evaluate(service, ["ease"], as_of=as_of, seed=3)
    assert again.data == report.data
    assert [row.metrics for row in again.rows] == [row.metrics for row in report.rows]


def test_versions_carry_their_lineage(service):
    as_of = T0 + timedelta(days=30)
    report = training.evaluate(service, ["popularity", "ease"], as_of=as_of)
    popularity, ease = training.train(service, ["popularity", "ease"], as_of=as_of, by="ann")
    assert (ease.id, ease.model, ease.data_as_of, ease.by) == ("titles@2", "ease", as_of, "ann")
    assert ease.settings == {"l2": 200.0}
    assert ease.code == matinee.__version__
    (path,) = training.reports(service, "titles")
    assert ease.metrics["report"] == path.name
    assert ease.metrics["ndcg@10"] == report.rows[1].metrics["ndcg@10"].value
    assert popularity.parent is None
    service.registry.promote("titles", ease.id, "ann", "")
    (child,) = training.train(service, ["popularity"], as_of=as_of, by="ann")
    assert child.parent == ease.id
    model, _ = service.registry.load(ease.id)
    again = EASE().fit(training_set(service.lake, as_of, MINUTES))
    np.testing.assert_array_equal(model._arrays()["weights"], again._arrays()["weights"])


def test_metrics_of_other_settings_are_not_taken_over(service):
    training.evaluate(service, ["ease"])
    text = (service.folder / "matinee.toml").read_text() + "\n[train.ease]\nl2 = 7.0\n"
    changed = text.replace("[train.ease]\n#", "#", 1)
    (service.folder / "matinee.toml").write_text(changed)
    with Service.open(service.folder) as other:
        (version,) = training.train(other, ["ease"], by="ann")
    assert version.settings == {"l2": 7.0}
    assert version.metrics == {}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda service: training.train(service, by="a"), "nothing to learn from"),
        (training.evaluate, "nothing to evaluate on"),
        (training.best_on_validation, "nothing to evaluate on"),
    ],
)
def test_an_empty_log_is_said_to_be_empty(tmp_path, what, why):
    with Service.create(tmp_path / "empty") as service, pytest.raises(MatineeError, match=why):
        what(service)


@pytest.mark.parametrize("protocol", ["leave-one-out", "time-split"])
def test_a_log_too_small_to_evaluate_is_said_to_be(tmp_path, protocol):
    with Service.create(tmp_path / "small") as service:
        service.lake.append("events", random_log().filter(kind="complete").head(1), source="log")
        with pytest.raises(MatineeError, match="cannot be evaluated so"):
            training.evaluate(service, protocol=protocol)
        assert training.reports(service, "titles") == []


def test_nobody_knows_the_future(service):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for ask in (training.train, training.evaluate):
        with pytest.raises(MatineeError, match="lies in the future"):
            ask(service, as_of=tomorrow, **({"by": "a"} if ask is training.train else {}))


@pytest.mark.parametrize("ask", ["train", "evaluate"])
def test_an_unknown_model_is_named_before_anything_is_done(service, ask):
    with pytest.raises(MatineeError, match="'nope'"):
        getattr(training, ask)(service, ["nope"], **({"by": "a"} if ask == "train" else {}))
    assert service.registry.versions("titles") == []


@pytest.fixture
def movielens() -> Path:
    folder = Path(os.environ.get("MATINEE_DATA", "")) / "ml-1m"
    if not (folder / "ratings.parquet").is_file():
        pytest.skip("needs ml-1m/ratings.parquet under MATINEE_DATA")
    return folder


@pytest.mark.data
def test_the_lake_evaluates_as_the_file_does(tmp_path, movielens):
    frame = pl.read_parquet(movielens / "ratings.parquet").with_row_index("seq")
    straight = frame.select(
        pl.col("user_id").cast(pl.String).alias("member_id"),
        pl.col("movie_id").cast(pl.String).alias("title_id"),
        (pl.col("timestamp").cast(pl.Int64) * 1_000_000).alias("ts"),
        pl.col("seq").cast(pl.Int64),
    )
    expected = evaluation.evaluate([], leave_one_out(five_core(straight)), resamples=20)
    with Service.create(tmp_path / "ml") as service:
        load(MovieLens(movielens), service.lake, lambda _: None)
        asked = training.split(service, "leave-one-out")
        found = evaluation.evaluate([], asked, resamples=20)
    assert asked.data["fingerprint"] == expected.data["fingerprint"]
    assert found.rows[0].metrics == expected.rows[0].metrics
