import io
import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from matinee import __version__
from matinee.cli import run
from matinee.console import safe, show
from matinee.service.folder import Service

MAPPING = """
[import.plays]
file = "plays.csv"
table = "events"
columns = { member_id = "user", title_id = "video", ts = "when", value = "minutes" }
constants = { kind = "play" }
"""
PLAYS = """\
user,video,when,minutes
m1,heat,2026-01-01T10:00:00Z,42
m2,heat,2026-01-01T11:00:00Z,7
m2,heat,yesterday,7
"""


@pytest.fixture
def shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Path:
    """A service folder with a mapping, named by the environment."""
    folder = tmp_path / "shows"
    assert run(["init", str(folder)]) == 0
    with (folder / "matinee.toml").open("a") as toml:
        toml.write(MAPPING)
    (folder / "plays.csv").write_text(PLAYS)
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    capsys.readouterr()
    return folder


def table(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_init_tells_what_to_type_next(tmp_path: Path, capsys) -> None:
    assert run(["init", str(tmp_path / "my shows")]) == 0
    said = capsys.readouterr().err
    assert f"next: matinee import SOURCE --service '{tmp_path / 'my shows'}'" in said
    assert (tmp_path / "my shows" / "matinee.toml").is_file()


def test_import_counts_and_tells_how_to_list_the_refused(shows: Path, capsys) -> None:
    assert run(["import", "plays"]) == 0
    printed = capsys.readouterr()
    assert table(printed.out) == [
        ["table", "added", "duplicates", "rejected"],
        ["events", "2", "0", "1"],
    ]
    assert f"matinee quarantine --service {shows}" in printed.err


def test_importing_twice_adds_nothing(shows: Path, capsys) -> None:
    for _ in range(2):
        assert run(["import", "plays"]) == 0
    assert table(capsys.readouterr().out)[-1] == ["events", "0", "2", "1"]


def test_quarantine_lists_each_refused_row_once(shows: Path, capsys) -> None:
    run(["import", "plays"])
    run(["import", "plays"])
    capsys.readouterr()
    assert run(["quarantine"]) == 0
    header, *rows = table(capsys.readouterr().out)
    assert header == ["table", "source", "row", "reason", "data"]
    assert [row[:4] for row in rows] == [["events", "plays.csv", "3", "ts has the wrong type"]]
    assert "yesterday" in rows[0][4]


@pytest.mark.parametrize(
    ("options", "listed"),
    [([], 20), (["--limit", "0"], 30), (["--reason", "1970"], 10), (["--reason", "x"], 0)],
)
def test_quarantine_filters_and_limits(shows: Path, capsys, options, listed: int) -> None:
    wrong = ["m1,heat,soon,1\n"] * 20 + ["m1,heat,1950-01-01,1\n"] * 10
    (shows / "plays.csv").write_text(PLAYS.splitlines(True)[0] + "".join(wrong))
    run(["import", "plays"])
    capsys.readouterr()
    assert run(["quarantine", *options]) == 0
    assert len(table(capsys.readouterr().out)) == 1 + listed


def test_forget_removes_a_member_and_says_what(shows: Path, capsys) -> None:
    run(["import", "plays"])
    capsys.readouterr()
    assert run(["forget", "m2", "--yes"]) == 0
    removed = dict(table(capsys.readouterr().out)[1:])
    assert (removed["events"], removed["quarantine"]) == ("1", "1")
    assert run(["forget", "m2", "--yes"]) == 0
    assert "Nothing was known of member 'm2'" in capsys.readouterr().err


def test_forget_without_anyone_to_ask_needs_yes(shows: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run(["forget", "m1"]) == 1
    assert "next: add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "left"), [("y\n", 1), ("yes\n", 1), ("n\n", 2), ("\n", 2)])
def test_forget_asks_first(shows: Path, capsys, monkeypatch, answer: str, left: int) -> None:
    run(["import", "plays"])
    keyboard, terminal = pty.openpty()
    os.write(keyboard, answer.encode())
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run(["forget", "m1"]) == 0
    monkeypatch.undo()
    capsys.readouterr()
    os.close(keyboard)
    run(["tables", "--service", str(shows)])
    rows = {row[0]: row[1] for row in table(capsys.readouterr().out)}
    assert rows["events"] == str(left)


def test_tables_shows_rows_and_for_one_table_its_units(shows: Path, capsys) -> None:
    run(["import", "plays"])
    capsys.readouterr()
    assert run(["tables"]) == 0
    header, *rows = table(capsys.readouterr().out)
    events = dict(zip(header, next(row for row in rows if row[0] == "events"), strict=True))
    assert (events["rows"], events["members"], events["first"]) == ("2", "2", "2026-01-01")
    assert run(["tables", "events"]) == 0
    columns = {row[0]: row[1:] for row in table(capsys.readouterr().out)}
    assert columns["ts"][:2] == ["UTC time", "yes"]
    assert "play: minutes watched" in columns["value"][2]
    assert "impression" in columns["kind"][2]
    assert run(["tables", "event"]) == 1
    assert "the tables are members, titles" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["import", "x"], ["quarantine"], ["forget", "m", "--yes"], ["tables"]]
)
def test_a_folder_that_is_no_service(tmp_path: Path, capsys, command: list[str]) -> None:
    assert run([*command, "--service", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert f"error: {tmp_path} is not a service folder" in printed.err
    assert f"next: matinee init {tmp_path}" in printed.err
    assert printed.out == ""


def test_mistakes_in_the_settings_are_told_without_a_traceback(shows: Path, capsys) -> None:
    with (shows / "matinee.toml").open("a") as toml:
        toml.write("\n[import.ratings]\nfile = 5\n")
    assert run(["import", "ratings"]) == 1
    said = capsys.readouterr().err
    assert "import.ratings.file: Expected `str`, got `int`" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [["imprt"], ["import"], ["tables", "--nope"], ["init"]])
def test_usage_errors(capsys, command: list[str]) -> None:
    assert run(command) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_help_teaches_by_example(capsys) -> None:
    assert run(["--help"]) == 0
    assert "matinee import ~/ml-1m --service shows" in capsys.readouterr().out
    for command in ("init", "import", "quarantine", "forget", "tables"):
        assert run([command, "--help"]) == 0
        assert f"matinee {command} " in capsys.readouterr().out.split("Examples")[1] + " "


def test_the_installed_command(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("matinee"))]
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.strip() == __version__
    failed = subprocess.run([*command, "tables"], cwd=tmp_path, capture_output=True, text=True,
                            check=False)  # fmt: skip
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "\x1b" not in failed.stderr


def test_a_reader_that_leaves_early_is_no_error(shows: Path) -> None:
    command = [str(Path(sys.executable).with_name("matinee")), "tables", "events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


def test_on_a_terminal_there_are_a_bar_and_a_table(shows: Path) -> None:
    keyboard, terminal = pty.openpty()
    command = [str(Path(sys.executable).with_name("matinee")), "import", "plays"]
    subprocess.run(command, stdout=terminal, stderr=terminal, stdin=terminal, check=True)
    os.close(terminal)
    seen = b""
    with suppress(OSError):  # Linux: the end of a terminal nobody writes to any more
        while part := os.read(keyboard, 4096):
            seen += part
    os.close(keyboard)
    screen = seen.decode()
    assert "3/3" in screen
    assert "\t" not in screen
    assert "\x1b[" in screen


def test_an_interrupt_says_how_to_go_on(shows: Path, capsys, monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("matinee.cli.data.load", interrupted)
    assert run(["import", "plays"]) == 130
    said = "What was acknowledged is kept; the same command can be given again."
    assert said in capsys.readouterr().err


def test_an_empty_log_is_told(shows: Path, capsys) -> None:
    (shows / "plays.csv").write_text(PLAYS.splitlines(keepends=True)[0])
    assert run(["import", "plays"]) == 0
    assert "There were no rows to import." in capsys.readouterr().err


def test_a_data_set_is_recognised_and_its_notes_are_told(shows: Path, tmp_path: Path, capsys):
    folder = tmp_path / "ml"
    folder.mkdir()
    (folder / "movies.dat").write_text("1::Heat (1995)::Crime\n")
    (folder / "ratings.dat").write_text("1::1::5::978300760\n")
    assert run(["import", str(folder)]) == 0
    printed = capsys.readouterr()
    assert table(printed.out)[1:] == [[name, "1", "0", "0"] for name in
                                      ("titles", "members", "events")]  # fmt: skip
    assert "note: Titles and members count as known from the first rating on." in printed.err


def test_control_characters_do_not_reach_the_terminal(capsys) -> None:
    show(["a", "b"], [["x\ty\n", "\x1b[31mred [bold]"]])
    assert capsys.readouterr().out == "a\tb\nx\\ty\\n\t\\x1b[31mred [bold]\n"
    assert safe("🍿 é") == "🍿 é"


@pytest.mark.parametrize("tear", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_torn_file_stops_what_reads_it_with_the_way_out(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, tear
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "made"))
    monkeypatch.setenv("MATINEE_SERVICE", str(folder))
    with Service.open(folder) as service:
        service.lake.seal()
    torn = list((folder / "lake" / "tables" / "events").rglob("*.parquet"))
    assert torn
    for path in torn:
        tear(path)
    to = str(tmp_path / "scores.parquet")
    one = ["titles", "--model", "popularity"]
    for command in (["train", *one], ["evaluate", *one], ["score", "titles", "--to", to]):
        capsys.readouterr()
        assert run(command) == 1
        said = capsys.readouterr().err
        assert "events cannot be read" in said
        assert "matinee repair" in said
