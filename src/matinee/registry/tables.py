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
        """
        CREATE TABLE registry_history_next (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            surface TEXT NOT NULL,
            at INTEGER NOT NULL,
            by TEXT NOT NULL,
            action TEXT NOT NULL CHECK (action IN
                ('register', 'challenge', 'judge', 'approve', 'override', 'promote', 'roll_back')),
            old INTEGER,
            new INTEGER NOT NULL,
            reason TEXT NOT NULL
        ) STRICT;
        INSERT INTO registry_history_next SELECT * FROM registry_history ORDER BY id;
        DROP TABLE registry_history;
        ALTER TABLE registry_history_next RENAME TO registry_history;
        CREATE TRIGGER registry_history_is_not_changed BEFORE UPDATE ON registry_history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        CREATE TRIGGER registry_history_is_not_deleted BEFORE DELETE ON registry_history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        CREATE TRIGGER registry_history_is_not_replaced BEFORE INSERT ON registry_history
        WHEN EXISTS (SELECT 1 FROM registry_history WHERE id = new.id)
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
        CREATE TABLE registry_verdicts (
            id INTEGER PRIMARY KEY REFERENCES registry_history (id),
            surface TEXT NOT NULL,
            number INTEGER NOT NULL,
            champion INTEGER NOT NULL,
            at INTEGER NOT NULL,
            by TEXT NOT NULL,
            turn INTEGER NOT NULL CHECK (turn >= 1),
            outcome TEXT NOT NULL
                CHECK (outcome IN ('passes', 'fails', 'insufficient support')),
            alpha REAL NOT NULL,
            evidence TEXT NOT NULL,
            reasons TEXT NOT NULL,
            FOREIGN KEY (surface, number) REFERENCES registry_versions (surface, number),
            FOREIGN KEY (surface, champion) REFERENCES registry_versions (surface, number)
        ) STRICT;
        CREATE TRIGGER registry_verdicts_is_not_changed BEFORE UPDATE ON registry_verdicts
        BEGIN SELECT raise(ABORT, 'verdicts are append-only'); END;
        CREATE TRIGGER registry_verdicts_is_not_deleted BEFORE DELETE ON registry_verdicts
        BEGIN SELECT raise(ABORT, 'verdicts are append-only'); END;
        CREATE TRIGGER registry_verdicts_is_not_replaced BEFORE INSERT ON registry_verdicts
        WHEN EXISTS (SELECT 1 FROM registry_verdicts WHERE id = new.id)
        BEGIN SELECT raise(ABORT, 'verdicts are append-only'); END;
        """,
    ),
)
