from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.lake.importers.cells import read_cells
from matinee.lake.schemas import TIME

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T14:00:00+0200",
        "2026-03-01 12:00:00",
        "2026-03-01 12:00",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00.000000",
        " 2026-03-01T12:00:00Z ",
    ],
)
def test_every_usual_way_to_write_a_time_is_the_same_time(text: str) -> None:
    assert read_cells(pl.Series([text]), TIME).values.to_list() == [NOON]


def test_a_bare_date_is_its_midnight() -> None:
    midnight = [datetime(2026, 3, 1, tzinfo=UTC)]
    assert read_cells(pl.Series(["2026-03-01"]), TIME).values.to_list() == midnight
    assert read_cells(pl.Series([date(2026, 3, 1)]), TIME).values.to_list() == midnight


def test_times_of_parquet_keep_their_instant() -> None:
    naive = pl.Series([datetime(2026, 3, 1, 12)])
    tokyo = pl.Series([NOON]).dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ms")
    assert read_cells(naive, TIME).values.to_list() == [NOON]
    assert read_cells(tokyo, TIME).values.to_list() == [NOON]


@settings(max_examples=50)
@given(st.integers(0, 4_000_000_000_000_000), st.sampled_from(["s", "ms", "us"]))
def test_epochs_count_in_their_unit_as_numbers_and_as_text(us: int, unit: str) -> None:
    count = us // {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    whole = count * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    for raw in (pl.Series([count]), pl.Series([str(count)])):
        read = read_cells(raw, TIME, unit).values  # type: ignore[arg-type]
        assert read.to_physical().to_list() == [whole]


@pytest.mark.parametrize("misfit", ["yesterday", "2026-02-30", "nan", "1e400", "12/31/2026"])
@pytest.mark.parametrize("time_format", ["iso", "s"])
def test_what_is_no_time_is_handed_on_as_it_came(misfit: str, time_format: str) -> None:
    good = "2026-03-01T12:00:00Z" if time_format == "iso" else str(int(NOON.timestamp()))
    read = read_cells(pl.Series([good, misfit, None]), TIME, time_format)  # type: ignore[arg-type]
    assert read.values.to_list() == [NOON, None, None]
    assert read.given.to_list() == ["2026-03-01T12:00:00.000000Z", misfit, None]


@pytest.mark.parametrize(("text", "value"), [("1995", 1995), ("1995.0", 1995), ("", None)])
def test_whole_numbers(text: str, value: int | None) -> None:
    assert read_cells(pl.Series([text]), pl.Int64).given.to_list() == [value]


@pytest.mark.parametrize("misfit", ["1995.5", "many", "true"])
def test_what_is_no_whole_number_is_handed_on_as_it_came(misfit: str) -> None:
    assert read_cells(pl.Series(["7", misfit]), pl.Int64).given.to_list() == ["7", misfit]


def test_a_boolean_is_no_number() -> None:
    assert read_cells(pl.Series([True]), pl.Float64).given.to_list() == ["true"]


def test_true_and_false_may_stand_as_text_or_as_1_and_0() -> None:
    told = read_cells(pl.Series(["True", "false", "1", "0", "", None]), pl.Boolean)
    assert told.given.to_list() == [True, False, True, False, None, None]
    assert read_cells(pl.Series([1, 0]), pl.Boolean).given.to_list() == [True, False]
    assert read_cells(pl.Series([True, None]), pl.Boolean).given.to_list() == [True, None]
    misfits = read_cells(pl.Series(["true", "yes", "2"]), pl.Boolean)
    assert misfits.given.to_list() == ["true", "yes", "2"]


def test_lists_split_and_lists_as_they_are() -> None:
    genres = pl.List(pl.String)
    assert read_cells(pl.Series(["Drama| War ||", "", None]), genres).values.to_list() == [
        ["Drama", "War"],
        [],
        None,
    ]
    assert read_cells(pl.Series([["a|b"], None]), genres).values.to_list() == [["a|b"], None]
