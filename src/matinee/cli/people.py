"""Commands of people: grant, revoke, list."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from matinee.cli.app import HERE, Reason, ServiceFolder, app, examples, opening, whoever
from matinee.console import say, show
from matinee.registry import Role

people = App(
    name="people",
    help="Who may come in from outside this machine, and what they may do.",
    help_epilogue=examples(
        "people grant ann --role approver --reason 'runs ML'",
        "people grant app --role operator --reason 'the app asks for decisions'",
        "people revoke ann --reason 'left'",
    ),
)
app.command(people)

Name = Annotated[str, Parameter(help="What they are called in the history of changes.")]


@people.command(help_epilogue=examples("people grant ann --role approver --reason 'runs ML'"))
def grant(
    name: Name,
    /,
    *,
    role: Role,
    reason: Reason,
    token: bool = True,
    service: ServiceFolder = HERE,
) -> None:
    """Let somebody in, or give them another role and a new token.

    The token is printed once and kept nowhere. With it they sign in to the desk, or send it as
    Authorization: Bearer TOKEN. From the first one on everybody has to say who they are, on this
    machine too.

    Parameters
    ----------
    role
        viewer looks; operator sends events and asks for decisions as well; approver changes what
        decides as well.
    token
        --no-token for somebody whom a proxy names (see [access] in matinee.toml).
    """
    with opening(service) as opened:
        made = opened.people.grant(name, role, whoever(), reason, token=token)
    say(f"{name} is {role} from now on")
    if made:
        say("their token, which is not shown again:")
        sys.stdout.write(f"{made}\n")


@people.command(help_epilogue=examples("people revoke ann --reason 'left'"))
def revoke(name: Name, /, *, reason: Reason, service: ServiceFolder = HERE) -> None:
    """Let somebody in no more; within a second they are signed out everywhere."""
    with opening(service) as opened:
        named = bool(opened.settings.access.header)
        opened.people.revoke(name, whoever(), reason, named=named)
    say(f"{name} is let in no more")


@people.command(name="list", help_epilogue=examples("people list"))
def list_(*, service: ServiceFolder = HERE) -> None:
    """List who is let in."""
    with opening(service) as opened:
        show(
            ("name", "role", "token", "since", "granted by"),
            [
                (
                    one.person.name,
                    one.person.role,
                    "yes" if one.digest else "named by a proxy",
                    one.at,
                    one.by,
                )
                for one in opened.people.all()
            ],
        )
