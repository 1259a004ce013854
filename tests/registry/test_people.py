"""People are let in by a history that nobody can change, and are known by what was never kept."""

import sqlite3

import pytest

from matinee.errors import MatineeError
from matinee.registry import People, Person
from matinee.store import Store


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "matinee.db") as store:
        yield store


@pytest.fixture
def people(store):
    return People(store)


def grant(people, name="ann", role="viewer", **more):
    return people.grant(name, role, by="root", reason="a test", **more)


def test_a_token_is_known_and_stands_nowhere(people, store):
    token = grant(people)
    assert people.of_token(token) == Person("ann", "viewer")
    assert len(token) > 40
    assert grant(people, "bob") != token
    for file in store.path.parent.iterdir():
        assert token.encode() not in file.read_bytes()


@pytest.mark.parametrize("guess", ["", "mat_", "mat_x", "\x00", "é" * 300])
def test_no_guess_is_known(people, guess):
    grant(people)
    assert people.of_token(guess) is None


def test_the_latest_grant_holds(people):
    first = grant(people)
    second = grant(people, role="approver")
    assert people.of_token(first) is None
    assert people.of_token(second) == Person("ann", "approver")
    people.revoke("ann", by="root", reason="left")
    assert people.of_token(second) is None
    assert people.named("ann") is None
    third = grant(people)
    assert people.of_token(third) == Person("ann", "viewer")
    assert [one.action for one in people.history()] == ["grant", "grant", "revoke", "grant"]


def test_signing_in_is_remembered_and_changes_nothing(people):
    token = grant(people, role="operator")
    people.signed_in(people.of_token(token))
    assert people.of_token(token) == Person("ann", "operator")
    assert [(one.by, one.action) for one in people.history()] == [
        ("root", "grant"),
        ("ann", "sign_in"),
    ]


def test_another_process_knows_within_its_time(people, store):
    other = People(store)
    assert not other.has_tokens()
    other._until = 0.0  # a second has passed
    token = grant(people)
    assert other.of_token(token) == Person("ann", "viewer")


def test_whom_a_proxy_names_needs_no_token(people):
    assert grant(people, role="approver", token=False) == ""
    assert people.named("ann") == Person("ann", "approver")
    assert not people.has_tokens()


def test_the_beginning_of_a_digest_must_be_long(people):
    grant(people)
    (granted,) = people.all()
    assert people.of_digest(granted.digest[:32]) == Person("ann", "viewer")
    assert people.of_digest(granted.digest[:8]) is None
    assert people.of_digest("") is None


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 201, " ann", "a\nb", "a\x00b", "\u202eann", "MATINEE_TOKEN"]
)
def test_names_that_nobody_has(people, name):
    with pytest.raises(MatineeError, match="cannot be a person's name"):
        grant(people, name)


def test_nobody_of_that_name(people):
    with pytest.raises(MatineeError, match="nobody is called"):
        people.revoke("ann", by="root", reason="left")
    for reason in ("", "  "):
        with pytest.raises(MatineeError, match="say why"):
            people.grant("ann", "viewer", by="root", reason=reason)
    with pytest.raises(MatineeError, match="there is no role"):
        grant(people, role="owner")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE people_history SET role = 'approver'",
        "DELETE FROM people_history",
        "INSERT OR REPLACE INTO people_history SELECT id, name, at, by, action, 'approver', token,"
        " reason FROM people_history",
    ],
)
def test_nobody_changes_what_was_done(people, store, sql):
    grant(people)
    with (
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
        store.transaction() as connection,
    ):
        connection.execute(sql)
    assert people.all()[0].person.role == "viewer"
