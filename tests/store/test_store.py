"""The store: migrations, transactions, threads and processes."""

import sqlite3
import subprocess
import sys
import threading

import pytest

from matinee.errors import MatineeError
from matinee.store import Schema, Store

NOTES = Schema("notes", ("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);",))
LATER = Schema(
    "notes",
    (
        *NOTES.steps,
        "ALTER TABLE notes ADD COLUMN stars INTEGER; UPDATE notes SET stars = 3;"
        " CREATE TRIGGER notes_stay BEFORE DELETE ON notes"
        " BEGIN SELECT raise(ABORT, 'no; never'); END;",
    ),
)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "matinee.db") as opened:
        yield opened


def add(store, body):
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes (body) VALUES (?)", (body,))


def test_migrations_run_once_and_in_order(store):
    store.migrate(NOTES)
    add(store, "before")
    store.migrate(LATER)
    store.migrate(LATER)
    assert [tuple(row) for row in store.rows("SELECT body, stars FROM notes")] == [("before", 3)]
    recorded = store.rows("SELECT schema, step FROM migrations")
    assert [tuple(row) for row in recorded] == [("notes", 1), ("notes", 2)]
    with pytest.raises(sqlite3.IntegrityError, match="no; never"):
        store.rows("DELETE FROM notes")


def test_a_step_that_fails_leaves_nothing(store):
    broken = Schema("notes", (*NOTES.steps, "CREATE TABLE half (x); SELECT nonsense FROM nowhere"))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        store.migrate(broken)
    tables = {row["name"] for row in store.rows("SELECT name FROM sqlite_master")}
    assert "notes" in tables
    assert "half" not in tables
    store.migrate(LATER)


def test_a_file_from_a_newer_version_is_refused(store):
    store.migrate(LATER)
    with pytest.raises(MatineeError, match=r"newer Matinee.*notes tables are at step 2.*pip"):
        store.migrate(NOTES)


def test_a_transaction_is_all_or_nothing(store):
    store.migrate(NOTES)

    def fail_halfway():
        with store.transaction() as connection:
            connection.execute("INSERT INTO notes (body) VALUES ('lost')")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert store.rows("SELECT * FROM notes") == []


def test_durable_settings(store):
    assert store.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert store.rows("PRAGMA synchronous")[0][0] == 2
    assert store.rows("PRAGMA foreign_keys")[0][0] == 1


def test_what_is_written_is_there_after_reopening(tmp_path):
    with Store(tmp_path / "matinee.db") as store:
        store.migrate(NOTES)
        add(store, "it's 🎬; /etc")
    with Store(tmp_path / "matinee.db") as store:
        assert store.rows("SELECT body FROM notes")[0]["body"] == "it's 🎬; /etc"


def test_threads_write_and_read_together(store):
    store.migrate(NOTES)

    def work():
        for turn in range(20):
            add(store, f"{threading.get_ident()} {turn}")
            store.rows("SELECT count(*) FROM notes")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.rows("SELECT count(*) FROM notes")[0][0] == 80


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(MatineeError, match=r"no folder.*matinee init"):
        Store(tmp_path / "nowhere" / "matinee.db")


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "matinee.db").write_text("not a database, but long enough to be read as one" * 40)
    with pytest.raises(MatineeError, match=r"not a database.*restore matinee.db"):
        Store(tmp_path / "matinee.db")


OPEN = """
import sys
from matinee.store import Schema, Store
sys.stdin.readline()
steps = tuple(f"CREATE TABLE notes_{n} (x INTEGER) STRICT" for n in range(20))
with Store(sys.argv[1]) as store:
    store.migrate(Schema("notes", steps))
    with store.transaction() as connection:
        connection.execute("INSERT INTO notes_19 VALUES (1)")
"""


def test_processes_opening_a_new_file_at_once(tmp_path):
    path = tmp_path / "matinee.db"
    command = [sys.executable, "-c", OPEN, str(path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate() for process in processes]
    assert [stderr for _, stderr in answers] == [""] * 4
    with Store(path) as store:
        assert store.rows("SELECT count(*) FROM notes_19")[0][0] == 4
        assert store.rows("SELECT count(*) FROM migrations")[0][0] == 20


def test_a_step_that_another_process_was_quicker_with(tmp_path):
    class Late(Store):
        """Finds a step missing, and another store has done it before the lock is taken."""

        def transaction(self):
            if hasattr(self, "rival"):
                self.rival.migrate(NOTES)
            return super().transaction()

    with Late(tmp_path / "matinee.db") as late, Store(tmp_path / "matinee.db") as rival:
        late.rival = rival
        late.migrate(NOTES)
        assert late.rows("SELECT count(*) FROM migrations")[0][0] == 1


def test_a_file_that_cannot_be_reached_is_not_said_to_be_broken(tmp_path):
    broken, unreached = tmp_path / "broken.db", tmp_path / "unreached.db"
    broken.write_text("no database " * 100)
    (tmp_path / "unreached.db-wal").mkdir()
    for path, step in ((broken, "restore broken.db"), (unreached, "may be written")):
        with pytest.raises(MatineeError, match="cannot be opened") as told, Store(path) as store:
            store.rows("SELECT 1")
        assert step in told.value.next_step
