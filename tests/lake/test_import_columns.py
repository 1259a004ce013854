import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.console import show_error
from matinee.errors import MatineeError
from matinee.lake.importers import Columns, Mapping, Tally, load
from matinee.lake.importers import files as files_module
from matinee.lake.lake import Lake

COLUMNS = {"member_id": "user", "title_id": "video", "ts": "when", "value": "minutes"}
PLAYS = Mapping(file="plays.csv", table="events", columns=COLUMNS, constants={"kind": "play"})
HEADER = "user,video,when,minutes\n"
ROW = "m1,heat,2026-01-01T10:00:00Z,42\n"


@pytest.fixture
def lake(tmp_path: Path):
    with Lake.create(tmp_path / "lake", buckets=4) as made:
        yield made


@pytest.fixture
def bring(tmp_path: Path, lake: Lake) -> Callable[..., Tally]:
    """Write a file and import it; what was added, doubled and refused."""

    def bring(text: str | bytes, mapping: Mapping = PLAYS) -> Tally:
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / mapping.file).write_bytes(data)
        importer = Columns("plays", mapping, tmp_path)
        heard: list[int] = []
        tallies = load(importer, lake, heard.append)
        assert sum(heard) == importer.total()
        return sum(tallies.values(), Tally())

    return bring


def variant(**changes: object) -> Mapping:
    return Mapping(
        **{
            "file": "plays.csv",
            "table": "events",
            "columns": COLUMNS,
            "constants": {"kind": "play"},
            **changes,
        }
    )  # type: ignore[arg-type]


def test_a_row_becomes_an_event_known_when_it_happened(bring, lake: Lake) -> None:
    assert bring(HEADER + ROW) == Tally(rows=1)
    event = lake.scan("events").collect().row(0, named=True)
    assert event["event_id"].startswith("row:")
    assert {name: event[name] for name in ("member_id", "title_id", "kind", "value")} == {
        "member_id": "m1", "title_id": "heat", "kind": "play", "value": 42.0,
    }  # fmt: skip
    assert event["ts"] == event["known_at"] == datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_importing_twice_adds_nothing(bring) -> None:
    text = HEADER + ROW + ROW + "m2,heat,2026-01-02T10:00:00Z,\n"
    assert bring(text) == Tally(rows=3)
    assert bring(text) == Tally(duplicates=3)


def test_rows_that_are_equal_in_one_file_are_several_events(bring, lake: Lake) -> None:
    assert bring(HEADER + ROW * 3) == Tally(rows=3)
    ids = sorted(lake.scan("events").collect()["event_id"])
    assert [name.removeprefix(ids[0]) for name in ids] == ["", ":2", ":3"]
    assert bring(HEADER + ROW * 4) == Tally(rows=1, duplicates=3)


def test_equal_rows_far_apart_are_told_apart_across_batches(
    bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "BATCH_ROWS", 2)
    others = "".join(f"m{n},heat,2026-01-01T10:00:00Z,1\n" for n in range(2, 9))
    text = HEADER + ROW + others + ROW
    assert bring(text) == Tally(rows=9)
    assert bring(text) == Tally(duplicates=9)


def test_the_same_rows_have_the_same_ids_in_every_format(bring, tmp_path: Path) -> None:
    assert bring(HEADER + ROW + ROW.replace("m1", "m2")) == Tally(rows=2)
    rows = [
        {"user": user, "video": "heat", "when": "2026-01-01 11:00:00+01:00", "minutes": 42.0}
        for user in ("m1", "m2")
    ]
    lines = "\n".join(map(json.dumps, rows))
    assert bring(lines, variant(file="plays.jsonl")) == Tally(duplicates=2)
    when = [datetime(2026, 1, 1, 10, tzinfo=UTC)] * 2
    frame = pl.DataFrame({"user": ["m1", "m2"], "video": ["heat"] * 2, "when": when,
                          "minutes": [42, 42]})  # fmt: skip
    frame.write_parquet(tmp_path / "plays.parquet")
    data = (tmp_path / "plays.parquet").read_bytes()
    assert bring(data, variant(file="plays.parquet")) == Tally(duplicates=2)


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="@\0"), min_size=1, max_size=50))
def test_ids_survive_whatever_they_hold(tmp_path_factory: pytest.TempPathFactory, name: str):
    folder = tmp_path_factory.mktemp("ids")
    row = {"user": name, "video": name, "when": "2026-01-01T00:00:00Z", "minutes": None}
    (folder / "plays.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    batches = list(Columns("plays", variant(file="plays.jsonl"), folder).batches())
    assert batches[0].frame.row(0, named=True)["member_id"] == name


@pytest.mark.parametrize("name", ['o"brien', "it's", "a/../b", "..", "🍿", "x;DROP TABLE y", "ß,é"])
def test_odd_ids_come_back_byte_for_byte(bring, lake: Lake, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    assert bring(HEADER + f"{quoted},{quoted},2026-01-01T10:00:00Z,1\n") == Tally(rows=1)
    event = lake.scan("events").collect().row(0, named=True)
    assert (event["member_id"], event["title_id"]) == (name, name)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("m1,heat,yesterday,42", "ts has the wrong type"),
        ("m1,heat,2026-01-01T10:00:00Z,long", "value has the wrong type"),
        ("m1,heat,2026-01-01T10:00:00Z,nan", "value is not finite"),
        ("m1,heat,2026-01-01T10:00:00Z,-1", "value is out of range for its kind"),
        ("m1,heat,1969-12-31T23:59:59Z,1", "ts is before 1970"),
        ("m1,heat,2999-01-01T00:00:00Z,1", "ts is in the future"),
        ("a@b.example,heat,2026-01-01T10:00:00Z,1",
         "member_id looks like an e-mail address; send a pseudonymous id"),
        (",heat,2026-01-01T10:00:00Z,1", "member_id is missing"),
        ("m1", "ts is missing"),
        ("m1,,2026-01-01T10:00:00Z,1", "title_id is missing"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_its_reason_and_number(
    bring, lake: Lake, row: str, reason: str
) -> None:
    assert bring(HEADER + ROW + row + "\n" + ROW.replace("m1", "m2")) == Tally(2, 0, 1)
    (refused,) = lake.quarantine().iter_rows(named=True)
    assert (refused["source"], refused["row"], refused["reason"]) == ("plays.csv", 2, reason)


def test_a_refused_row_is_listed_as_it_was_given(bring, lake: Lake) -> None:
    bring(HEADER + "m1,heat,yesterday,42\n")
    data = json.loads(lake.quarantine()["data"][0])
    assert (data["member_id"], data["ts"]) == ("m1", "yesterday")


def test_negative_epochs_and_epochs_in_the_wrong_unit_are_refused(bring, lake: Lake) -> None:
    text = HEADER + "m1,heat,-5,1\nm1,heat,1767261600000,1\nm1,heat,1767261600,1\n"
    assert bring(text, variant(time_format="s")) == Tally(rows=1, rejected=2)
    assert lake.quarantine()["reason"].to_list() == ["ts is before 1970", "ts is in the future"]


def test_titles_that_are_in_no_catalogue_are_kept(bring) -> None:
    assert bring(HEADER + "m1,no-such-title,2026-01-01T10:00:00Z,1\n") == Tally(rows=1)


def test_a_member_with_fifty_thousand_events(bring, lake: Lake) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    rows = (f"m1,t{n % 7},{(start + timedelta(minutes=n)).isoformat()},1\n" for n in range(50_000))
    assert bring(HEADER + "".join(rows)) == Tally(rows=50_000)
    sorted_times = lake.scan("events").sort("seq").collect()["ts"]
    assert sorted_times.is_sorted()


@pytest.mark.parametrize("file", ["plays.csv", "plays.jsonl", "plays.parquet"])
def test_an_empty_log_adds_nothing(bring, tmp_path: Path, file: str) -> None:
    frame = pl.DataFrame(schema=dict.fromkeys(COLUMNS.values(), pl.String))
    frame.write_parquet(tmp_path / "empty.parquet")
    empty = {"plays.csv": HEADER, "plays.jsonl": "\n",
             "plays.parquet": (tmp_path / "empty.parquet").read_bytes()}  # fmt: skip
    assert bring(empty[file], variant(file=file)) == Tally()


def test_catalogues_have_years_and_lists(bring, lake: Lake) -> None:
    titles = Mapping(
        file="titles.csv",
        table="titles",
        columns={"title_id": "id", "name": "title", "year": "year", "genres": "tags"},
        list_separator="/",
    )
    assert bring("id,title,year,tags\nh,Heat,1995.0,Crime/Drama\nx,X,soon,\n", titles) == Tally(
        1, 0, 1
    )
    title = lake.current("titles").row(0, named=True)
    assert (title["name"], title["year"], title["genres"]) == ("Heat", 1995, ["Crime", "Drama"])


INVOICES = Mapping(
    file="bills.csv",
    table="invoices",
    columns={
        "invoice_id": "bill", "member_id": "user", "amount": "cents", "currency": "currency",
        "due_at": "due", "grace_until": "end", "instruments": "cards", "known_at": "made",
    },
)  # fmt: skip
ATTEMPTS = Mapping(file="tries.csv", table="attempts", constants={"currency": "EUR"})


def test_invoices_are_known_when_the_file_says(bring, lake: Lake) -> None:
    text = (
        "bill,user,cents,currency,due,end,cards,made\n"
        "i1,m1,999,EUR,2026-01-05,2026-02-05,c1|c2,2026-01-01\n"
        "i2,m1,9.99,EUR,2026-01-05,2026-02-05,c1,2026-01-01\n"
        "i3,m1,999,EUR,2026-01-05,2026-02-05,4111-1111-1111-1111,2026-01-01\n"
        "4111111111111111,m1,999,EUR,2026-01-05,2026-02-05,c1,2026-01-01\n"
    )
    assert bring(text, INVOICES) == Tally(1, 0, 3)
    assert bring(text, INVOICES) == Tally(0, 1, 3)
    (invoice,) = lake.records("invoices")
    assert (invoice.invoice_id, invoice.amount, invoice.instruments) == ("i1", 999, ["c1", "c2"])
    before = datetime(2025, 12, 31, tzinfo=UTC)
    assert lake.current("invoices", as_of=before + timedelta(days=2)).height == 1
    assert lake.current("invoices", as_of=before).is_empty()
    refused = lake.quarantine()
    assert refused["reason"].to_list() == [
        "amount has the wrong type",
        "instruments seems to hold the number of a card: send a token or an id of your own instead",
        "invoice_id seems to hold the number of a card: send a token or an id of your own instead",
    ]
    assert json.loads(refused["data"][1])["instruments"] == ["4111-11**-****-1111"]
    assert json.loads(refused["data"][2])["invoice_id"] == "411111******1111"
    files = [path.read_bytes() for path in lake.folder.rglob("*") if path.is_file()]
    assert not any(b"4111111111111111" in data or b"1111-1111" in data for data in files)


def test_attempts_are_known_when_they_came_to_be_so(bring, lake: Lake) -> None:
    text = (
        "attempt_id,member_id,invoice_id,instrument_id,processor,status,at,amount,code,fee\n"
        "a1,m1,i1,c1,gold,sent,2026-01-05T09:00:00Z,999,,\n"
        "a1,m1,i1,c1,gold,declined,2026-01-05T09:00:02Z,999,51,12\n"
        "a2,m1,i1,c1,gold,lost,2026-01-06T09:00:00Z,999,,\n"
    )
    assert bring(text, ATTEMPTS) == Tally(2, 0, 1)
    assert bring(text, ATTEMPTS) == Tally(0, 2, 1)
    rows = lake.scan("attempts").sort("at").collect()
    assert rows["known_at"].to_list() == rows["at"].to_list()
    assert rows["code"].to_list() == [None, "51"]
    assert rows["fee"].to_list() == [0, 12]


def test_flags_of_processors_may_be_words(bring, lake: Lake) -> None:
    text = "processor,currency,enabled,networks\ngold,EUR,TRUE,visa|amex\nmoon,EUR,0,\n"
    assert bring(text, Mapping(file="who.csv", table="processors")) == Tally(2)
    enabled = {one.processor: one.enabled for one in lake.records("processors")}
    assert enabled == {"gold": True, "moon": False}


@pytest.mark.parametrize("table", ["attempts", "settlements"])
def test_what_was_charged_needs_an_id_of_its_own(tmp_path: Path, table: str) -> None:
    (tmp_path / "plays.csv").write_text("member_id,at\nm1,2026-01-01\n")
    with pytest.raises(MatineeError, match="does not say where"):
        list(Columns("plays", Mapping(file="plays.csv", table=table), tmp_path).batches())


def test_a_header_that_holds_a_number_is_not_printed(tmp_path: Path, capsys) -> None:
    (tmp_path / "plays.csv").write_text("4111111111111111,m1\n")
    with pytest.raises(MatineeError) as error:
        list(Columns("plays", PLAYS, tmp_path).batches())
    show_error(error.value)
    assert "411111******1111" in capsys.readouterr().err


def test_columns_of_equal_name_need_no_mapping(bring) -> None:
    mapping = Mapping(file="plays.csv", table="events", constants={"kind": "play"})
    text = "member_id,title_id,ts,kind,other\nm1,heat,2026-01-01,search,1\n"
    assert bring(text, mapping) == Tally(rows=1)


def test_an_empty_jsonl_log_has_no_names_to_miss(bring) -> None:
    assert bring("", Mapping(file="plays.jsonl", table="events")) == Tally()


def test_known_at_may_be_mapped_and_where_empty_is_the_time_of_the_event(bring, lake) -> None:
    mapping = variant(columns={**COLUMNS, "known_at": "loaded"})
    text = (
        "user,video,when,minutes,loaded\n"
        "m1,heat,2026-01-01,1,2026-01-05\n"
        "m2,heat,2026-01-01,1,\n"
        "m3,heat,2026-01-01,1,never\n"
    )
    assert bring(text, mapping) == Tally(2, 0, 1)
    known = lake.scan("events").sort("member_id").collect()["known_at"].dt.day().to_list()
    assert known == [5, 1]


def test_a_pattern_reads_every_file_in_order(tmp_path: Path) -> None:
    for day in (2, 1):
        (tmp_path / f"plays-{day}.csv").write_text(HEADER + ROW.replace("m1", f"m{day}"))
    batches = list(Columns("plays", variant(file="plays-*.csv"), tmp_path).batches())
    assert [batch.source for batch in batches] == ["plays-1.csv", "plays-2.csv"]


def test_keys_that_some_lines_lack_are_null_there(bring) -> None:
    lines = (
        '{"user": "m1", "video": "heat", "when": "2026-01-01"}\n\n'
        '{"user": "m2", "video": "heat", "when": "2026-01-01", "minutes": 3}\n'
    )
    assert bring(lines, variant(file="plays.jsonl")) == Tally(rows=2)


@pytest.mark.parametrize(
    ("text", "mapping", "told"),
    [
        ("", PLAYS, ["plays.csv is empty", "no header"]),
        ("usr,video,when,minutes\n", PLAYS,
         ["no column 'user'", "did you mean 'usr'", "columns.member_id of [import.plays]"]),
        (HEADER + 'm1,heat,2026-01-01,1,"extra"\n', PLAYS, ["line 2 has 5 fields", "names 4"]),
        (HEADER.encode() + b"m1,caf\xe9,2026-01-01,1\n", PLAYS,
         ["line 2 is not UTF-8", "0xe9", "iconv"]),
        ('{"user": "m1"}\n{"user": \n', variant(file="plays.jsonl"), ["line 2 is not a JSON"]),
        ('{"user": "m1"}\n["m1"]\n', variant(file="plays.jsonl"), ["line 2 is not a JSON"]),
        (b'{"user": "\xff"}\n', variant(file="plays.jsonl"), ["line 1 is not"]),
        (b"PAR1 and no more", variant(file="plays.parquet"), ["not a whole Parquet file"]),
        (HEADER, variant(file="plays.xlsx"), [".csv", ".parquet"]),
        (HEADER, variant(constants={"knd": "play"}), ["no column 'knd'", "did you mean 'kind'"]),
        (HEADER, variant(constants={"kind": "play", "value": 1}), ["fills value twice"]),
        (HEADER, variant(constants={}), ["where kind comes from", "constants"]),
    ],
)  # fmt: skip
def test_a_bad_file_is_told_with_the_next_step(
    bring, lake: Lake, text: str | bytes, mapping: Mapping, told: list[str]
) -> None:
    with pytest.raises(MatineeError) as error:
        bring(text, mapping)
    for part in told:
        assert part in str(error.value)
    assert error.value.next_step
    assert lake.scan("events").collect().is_empty()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MatineeError, match=r"cannot read .*plays\.csv"):
        list(Columns("plays", PLAYS, tmp_path).batches())
    with pytest.raises(MatineeError, match="finds no file"):
        list(Columns("plays", variant(file="plays-*.csv"), tmp_path).batches())


def test_a_nested_parquet_column_cannot_be_an_id(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [{"a": 1}], "video": ["h"], "when": ["x"], "minutes": [1]})
    frame.write_parquet(tmp_path / "plays.parquet")
    with pytest.raises(MatineeError, match=r"column 'user' .* cannot become member_id"):
        list(Columns("plays", variant(file="plays.parquet"), tmp_path).batches())
