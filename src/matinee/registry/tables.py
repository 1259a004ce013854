"""The registry's tables in the store. Numbers are versions, times are microseconds since 1970."""

from matinee.store import Schema

SCHEMA = Schema(
    "registry",
    (
        """
        CREATE TABLE registry_versions (
            surface TEXT NOT NULL,
            number INTEGER NOT NULL,
            model TEXT NOT NULL,
            policy TEXT NOT NULL,
            data_as_of INTEGER NOT NULL,
            code TEXT NOT NULL,
            settings TEXT NOT NULL,
            metrics TEXT NOT NULL,
            by TEXT NOT NULL,
            registered_at INTEGER NOT NULL,
            parent INTEGER,
            PRIMARY KEY (surface, number),
            FOREIGN KEY (surface, parent) REFERENCES registry_versions (surface, number)
        ) STRICT;
        CREATE TABLE registry_aliases (
            surface TEXT NOT NULL,
            alias TEXT NOT NULL CHECK (alias IN ('champion', 'challenger')),
            number INTEGER NOT NULL,
            PRIMARY KEY (surface, alias),
            FOREIGN KEY (surface, number) REFERENCES registry_versions (surface, number)
        ) STRICT;
        CREATE TABLE registry_history (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            surface TEXT NOT NULL,
            at INTEGER NOT NULL,
            by TEXT NOT NULL,
            action TEXT NOT NULL
                CHECK (action IN ('register', 'challenge', 'promote', 'roll_back')),
            old INTEGER,
            new INTEGER NOT NULL,
            reason TEXT NOT NULL
        ) STRICT;
        CREATE TRIGGER registry_history_is_not_changed BEFORE UPDATE ON registry_history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        CREATE TRIGGER registry_history_is_not_deleted BEFORE DELETE ON registry_history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        """,
    ),
)
