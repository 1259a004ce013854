"""`matinee people` lets in, shows a token once, and lets out."""

import pytest

from matinee.cli import run
from matinee.service.folder import Service


@pytest.fixture
def folder(tmp_path):
    Service.create(tmp_path / "shows").close()
    return tmp_path / "shows"


def told(capsys, folder, *words):
    code = run(["people", *words, "--service", str(folder)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_person_from_grant_to_revoke(folder, capsys):
    code, token, said = told(
        capsys, folder, "grant", "ann", "--role", "approver", "--reason", "runs ML"
    )
    assert code == 0
    assert "not shown again" in said
    with Service.open(folder) as service:
        assert service.people.of_token(token.strip()).role == "approver"
    _, listed, _ = told(capsys, folder, "list")
    assert "ann\tapprover\tyes" in listed
    assert token.strip() not in listed
    assert told(capsys, folder, "revoke", "ann", "--reason", "left")[0] == 0
    assert "ann" not in told(capsys, folder, "list")[1]
    assert told(capsys, folder, "revoke", "ann", "--reason", "left")[0] == 1


def test_whom_a_proxy_names_gets_no_token(folder, capsys):
    words = ("grant", "bob", "--role", "viewer", "--reason", "looks", "--no-token")
    code, out, _ = told(capsys, folder, *words)
    assert (code, out) == (0, "")
    assert "bob\tviewer\tnamed by a proxy" in told(capsys, folder, "list")[1]


def test_a_role_that_there_is_not(folder, capsys):
    code, _, said = told(capsys, folder, "grant", "ann", "--role", "owner", "--reason", "x")
    assert code == 2
    assert "approver" in said
