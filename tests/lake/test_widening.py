"""A lake that was made before a table or a column was there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
from deltalake import DeltaTable
from lake_rows import DAY

from matinee.lake import schemas
from matinee.lake.files import Files
from matinee.lake.lake import Lake
from matinee.lake.records import Decision, Member, Picture
from matinee.lake.schemas import SCHEMAS, Schema


class OnlyId(msgspec.Struct, frozen=True, kw_only=True):
    member_id: str


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake without the table `pictures`, whose members have no country and no time."""
    narrow = Schema("members", OnlyId, ("member_id",), versioned=True)
    with monkeypatch.context() as before:
        before.setitem(schemas.SCHEMAS, "members", narrow)
        before.delitem(schemas.SCHEMAS, "pictures")
        with Lake.create(tmp_path / "lake", buckets=2) as lake:
            rows = pl.DataFrame({"member_id": ["m1", "m2"]})
            lake.append("members", rows, source="before")
    return tmp_path / "lake"


def test_old_rows_have_nothing_in_a_new_column(old: Path) -> None:
    with Lake.open(old) as lake:
        assert lake.current("members")["country"].to_list() == [None, None]
        lake.put([Member(member_id="m1", country="NL")])
        lake.seal()
        found = dict(lake.current("members").select("member_id", "country").iter_rows())
        assert found == {"m1": "NL", "m2": None}
        lake.compact(least=2)
        assert lake.scan("members").collect().height == 3


def test_other_readers_of_the_table_see_the_column_too(old: Path) -> None:
    Lake.open(old).close()
    delta = DeltaTable(str(old / "tables" / "members"))
    assert {"country", "joined_at"} <= {field.name for field in delta.schema().fields}
    version = delta.version()
    Lake.open(old).close()
    assert DeltaTable(str(old / "tables" / "members")).version() == version


def test_a_new_table_is_made(old: Path) -> None:
    with Lake.open(old) as lake:
        picture = Picture(
            picture_id="heat.1", title_id="heat", features={"Crime": 1.0}, fixed=True, min_age=12
        )
        lake.put([picture])
        lake.seal()
        (row,) = lake.current("pictures").to_dicts()
        assert (row["picture_id"], row["fixed"], row["min_age"]) == ("heat.1", True, 12)
        assert row["features"] == '{"Crime":1.0}'


def test_a_decision_says_what_it_is_about(tmp_path: Path) -> None:
    about = Decision(
        decision_id="d",
        request_id="r",
        surface="artwork",
        member_id="m",
        at=DAY,
        policy="artwork@1",
        actions=["heat.1"],
        propensities=[1.0],
        propensity_kind="conditional",
        eligible="e",
        removed=[],
        segment=[0],
        scores=[0.0],
        seed=1,
        subject="heat",
    )
    with Lake.create(tmp_path / "lake") as lake:
        lake.put([about])
        lake.seal()
        assert lake.scan("decisions").collect()["subject"].to_list() == ["heat"]
    assert Files(tmp_path / "lake" / "tables" / "decisions", SCHEMAS["decisions"]).snapshot().files
