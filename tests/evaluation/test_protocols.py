"""Splits: what is learned from, what is asked, and that nothing leaks between them."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.evaluation import (
    Holdout,
    Split,
    fingerprint,
    five_core,
    global_time_split,
    leave_one_out,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def frame(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """(member, title, day) in the order of `seq`."""
    return pl.DataFrame(
        {
            "member_id": [member for member, _, _ in rows],
            "title_id": [title for _, title, _ in rows],
            "ts": [START + timedelta(days=day) for _, _, day in rows],
            "seq": range(len(rows)),
        },
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def asked(split: Split, holdout: Holdout) -> dict[str, tuple[list[str], list[str]]]:
    """By member, the titles that were known and those that are asked for."""
    ids = np.array(split.train.titles.ids, object)
    return {
        member: (
            ids[holdout.context.histories.titles_of(row)].tolist(),
            ids[holdout.targets.titles_of(row)].tolist(),
        )
        for row, member in enumerate(holdout.members)
    }


def trained(split: Split) -> list[list[str]]:
    ids = np.array(split.train.titles.ids, object)
    (shard,) = split.train.shards
    histories = shard.load()
    return [ids[histories.titles_of(row)].tolist() for row in range(len(histories))]


logs = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from([f"t{n}" for n in range(8)]), st.integers(0, 9)
    ),
    min_size=1,
    max_size=60,
).map(frame)


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(
        frame([("a", "z", 3), ("a", "w", 0), ("a", "y", 2), ("a", "x", 1), ("b", "w", 5)])
    )
    assert split.validation is not None
    assert asked(split, split.test) == {"a": (["w", "x", "y"], ["z"])}
    assert asked(split, split.validation) == {"a": (["w", "x"], ["y"])}
    assert trained(split) == [["w", "x"], ["w"]]
    assert split.test.context.at.tolist() == split.test.targets.times.tolist()


def test_equal_times_keep_the_order_of_seq_however_the_rows_lie() -> None:
    log = frame([("a", title, 0) for title in "qwertyuiop"])
    for seed in range(5):
        split = leave_one_out(log.sample(fraction=1.0, shuffle=True, seed=seed))
        assert asked(split, split.test) == {"a": (list("qwertyuio"), ["p"])}


def test_a_title_seen_before_is_no_question() -> None:
    split = leave_one_out(frame([("a", title, 0) for title in "xyzx"]))
    assert split.validation is not None
    assert asked(split, split.test) == {}
    assert asked(split, split.validation) == {"a": (["x", "y"], ["z"])}


@given(logs)
@settings(max_examples=50, deadline=None)
def test_leave_one_out_neither_leaks_nor_loses(log: pl.DataFrame) -> None:
    split = leave_one_out(log)
    assert split.validation is not None
    learned = sum(len(row) for row in trained(split))
    long_enough = log.group_by("member_id").len().filter(pl.col("len") >= 3).height
    assert learned == log.height - 2 * long_enough
    for holdout in (split.validation, split.test):
        for known, wanted in asked(split, holdout).values():
            assert len(wanted) == 1
            assert wanted[0] not in known
    before, after = asked(split, split.validation), asked(split, split.test)
    for member in before.keys() & after.keys():
        assert after[member][0] == before[member][0] + before[member][1]


def test_a_cut_in_time_by_hand() -> None:
    log = frame([
        ("old", "x", 0), ("old", "y", 4), ("old", "x", 5), ("old", "y", 6), ("old", "z", 7),
        ("old", "z", 8), ("new", "fresh", 9), ("gone", "x", 1),
    ])  # fmt: skip
    split = global_time_split(log, at=day(5))
    assert split.validation is None
    assert trained(split) == [["x"], ["x", "y"]]
    assert asked(split, split.test) == {"new": ([], ["fresh"]), "old": (["x", "y"], ["z"])}
    assert "fresh" in split.train.titles.ids
    assert set(split.test.context.at) == {split.train.as_of}


def test_validation_lies_between_training_and_test() -> None:
    log = frame([("a", title, number) for number, title in enumerate("uvwxyz")])
    split = global_time_split(log, at=day(4), validate_from=day(2))
    assert split.validation is not None
    assert trained(split) == [["u", "v"]]
    assert asked(split, split.validation) == {"a": (["u", "v"], ["w", "x"])}
    assert asked(split, split.test) == {"a": (["u", "v", "w", "x"], ["y", "z"])}


@given(logs, st.integers(0, 10))
@settings(max_examples=50, deadline=None)
def test_a_cut_in_time_never_looks_ahead(log: pl.DataFrame, number: int) -> None:
    try:
        split = global_time_split(log, at=day(number))
    except ValueError as refusal:
        times = log["ts"]
        assert "choose a time" in str(refusal)  # noqa: PT017
        assert not (times < day(number)).any() or not (times >= day(number)).any()
        return
    cut = split.train.as_of
    (shard,) = split.train.shards
    assert (shard.load().times < cut).all()
    assert (split.test.context.histories.times < cut).all()
    assert (split.test.targets.times >= cut).all()
    for known, wanted in asked(split, split.test).values():
        assert wanted
        assert len(set(wanted)) == len(wanted)
        assert not set(known) & set(wanted)


def test_the_last_known_country_goes_with_the_member() -> None:
    log = frame([("a", title, 0) for title in "wxyz"]).with_columns(
        country=pl.Series(["NL", "US", None, None])
    )
    assert leave_one_out(log).test.context.histories.countries == ("US",)


@given(logs, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_the_core_is_the_greatest_set_where_everyone_has_k(log: pl.DataFrame, k: int) -> None:
    core = five_core(log, k)
    rows = set(log["seq"])
    while True:  # take one offender away at a time: another road to the same core
        left = log.filter(pl.col("seq").is_in(list(rows)))
        few = [
            left.filter(pl.col(column) == value)
            for column in ("member_id", "title_id")
            for value, count in left[column].value_counts().iter_rows()
            if count < k
        ]
        if not few:
            break
        rows -= set(few[0]["seq"])
    assert set(core["seq"]) == rows


def met(rows: list[tuple[str, str, int, float]]) -> pl.DataFrame:
    """(member, title, day, weight) with signals and devices."""
    count = len(rows)
    return frame([row[:3] for row in rows]).with_columns(
        weight=pl.Series([float(row[3]) for row in rows]),
        signals=pl.Series([1 + n % 2 for n in range(count)]),
        device=pl.Series([["tv", None, "phone"][n % 3] for n in range(count)]),
    )


def test_what_was_only_met_is_known_and_never_asked_for() -> None:
    split = leave_one_out(met([
        ("a", "c0", 0, 0), ("a", "w0", 1, 0.5), ("a", "w1", 2, 1), ("a", "c1", 3, 0),
        ("a", "w2", 4, 1), ("a", "c2", 5, 0), ("a", "w3", 6, 0.25), ("a", "c3", 7, 0),
        ("b", "w0", 0, 1), ("b", "c0", 1, 0),
    ]))  # fmt: skip
    assert split.validation is not None
    assert asked(split, split.test) == {"a": (["c0", "w0", "w1", "c1", "w2", "c2"], ["w3"])}
    assert asked(split, split.validation) == {"a": (["c0", "w0", "w1", "c1"], ["w2"])}
    assert trained(split) == [["c0", "w0", "w1", "c1"], ["w0", "c0"]]
    assert split.data["events"] == 5
    (shard,) = split.train.shards
    learned = shard.load()
    assert learned.weights.tolist() == [0, 0.5, 1, 0, 1, 0]
    assert learned.signals.tolist() == [1, 2, 1, 2, 1, 2]
    assert split.train.devices.ids == ("phone", "tv")
    assert learned.devices.tolist() == [1, -1, 0, 1, 0, 1]
    assert split.test.context.devices == ("tv",)
    assert split.validation.context.devices == (None,)


def test_a_cut_in_time_asks_for_watches_alone() -> None:
    rows = [
        ("a", "x", 0, 1),
        ("a", "c", 1, 0),
        ("a", "y", 5, 1),
        ("a", "d", 6, 0),
        ("b", "c", 7, 0),
    ]
    split = global_time_split(met(rows), at=day(5))
    assert trained(split) == [["x", "c"]]
    assert asked(split, split.test) == {"a": (["x", "c"], ["y"])}
    assert split.test.context.devices == ()
    with pytest.raises(ValueError, match="leaves 1 events to learn from and 0 to ask for"):
        global_time_split(met([rows[0], rows[1], rows[3]]), at=day(5))


def test_a_title_that_was_clicked_before_it_was_watched_is_a_question() -> None:
    log = met([("a", title, 0, 1) for title in "wxy"] + [("a", "z", 1, 0), ("a", "z", 2, 1)])
    assert asked(leave_one_out(log), leave_one_out(log).test) == {
        "a": (["w", "x", "y", "z"], ["z"])
    }


def test_the_core_counts_watches_alone() -> None:
    log = met([
        ("a", "x", 0, 1), ("a", "y", 0, 1), ("a", "z", 0, 0), ("b", "x", 0, 1), ("b", "y", 0, 1),
        ("b", "z", 0, 0), ("c", "x", 0, 1), ("c", "y", 0, 0), ("a", "x", 1, 0),
    ])  # fmt: skip
    core = five_core(log, 2)
    assert core.select("member_id", "title_id", "weight").rows() == [
        ("a", "x", 1), ("a", "y", 1), ("b", "x", 1), ("b", "y", 1), ("a", "x", 0),
    ]  # fmt: skip


@given(logs)
@settings(max_examples=30, deadline=None)
def test_watches_of_weight_1_are_split_as_if_nothing_more_was_said(log: pl.DataFrame) -> None:
    said = log.with_columns(weight=1.0, signals=pl.lit(4), device=pl.lit(None, pl.String))
    plain, told = leave_one_out(log), leave_one_out(said)
    assert plain.data == told.data
    assert trained(plain) == trained(told)
    assert asked(plain, plain.test) == asked(told, told.test)
    assert told.test.context.devices == ()


def test_the_fingerprint_knows_weights_signals_and_devices() -> None:
    log = met([("a", "x", 0, 1), ("a", "y", 1, 0.5), ("b", "x", 1, 0)])
    others = [
        log.with_columns(weight=pl.Series([1.0, 0.5, 0.5])),
        log.with_columns(signals=pl.Series([1, 2, 3])),
        log.with_columns(device=pl.Series(["tv", "phone", None])),
    ]
    assert len({fingerprint(one) for one in (log, *others)}) == 4
    assert fingerprint(log) == fingerprint(log.reverse())


def test_the_fingerprint_knows_the_data_and_not_its_layout() -> None:
    log = frame([("a", "x", 0), ("a", "y", 0), ("b", "x", 1)])
    assert fingerprint(log) == fingerprint(log.reverse().select(reversed(log.columns)))
    assert fingerprint(log) == fingerprint(log.with_columns(pl.col("ts").dt.timestamp("us")))
    swapped = log.with_columns(seq=pl.Series([1, 0, 2]))
    assert fingerprint(log) != fingerprint(swapped), "the order of events at one time matters"
    assert fingerprint(frame([("ab", "c", 0)])) != fingerprint(frame([("a", "bc", 0)]))


def test_the_fingerprint_is_the_same_on_every_machine() -> None:
    expected = "4c96282e97c727ecde76a8396b1eff4a028014dfe52b392808d0e22a95dbeec0"
    assert fingerprint(frame([("a", "x", 0), ("b", "\N{CLAPPER BOARD}", 1)])) == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda log: log.drop("ts", "seq"), "lack the columns ts, seq"),
        (lambda log: log.clear(), "no interactions"),
        (
            lambda log: log.with_columns(title_id=pl.lit(None, pl.String)),
            "empty cells in title_id",
        ),
        (lambda log: log.with_columns(ts=pl.lit(1.5)), "ts is Float64"),
        (lambda log: log.with_columns(weight=pl.lit(None, pl.Float32)), "empty cells in weight"),
    ],
)
def test_bad_frames_are_refused_with_the_reason(spoil, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        leave_one_out(spoil(frame([("a", "x", 0)])))


def test_times_without_a_zone_and_cuts_in_the_wrong_order_are_refused() -> None:
    log = frame([("a", "x", 0), ("a", "y", 9)])
    with pytest.raises(ValueError, match="no time zone"):
        global_time_split(log, at=datetime(2026, 1, 5))
    with pytest.raises(ValueError, match="is after at"):
        global_time_split(log, at=day(3), validate_from=day(4))


@pytest.mark.data
def test_the_five_core_of_movielens_1m() -> None:
    folder = os.environ.get("MATINEE_DATA")
    path = Path(folder or "") / "ml-1m" / "ratings.parquet"
    if folder is None or not path.exists():
        pytest.skip("needs ml-1m/ratings.parquet under MATINEE_DATA")
    ratings = pl.read_parquet(path).with_row_index("seq")
    core = five_core(
        ratings.select(
            pl.col("user_id").cast(pl.String).alias("member_id"),
            pl.col("movie_id").cast(pl.String).alias("title_id"),
            (pl.col("timestamp") * 1_000_000).alias("ts"),
            "seq",
        )
    )
    split = leave_one_out(core)
    assert split.data["events"] == 999_611
    assert split.data["members"] == len(split.test.members) == 6_040
    assert split.data["titles"] == 3_416
