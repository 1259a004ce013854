"""What a person should know of a service, and on which page it stands."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Note:
    """Something that a person should know: about what, what it is, and what to type.

    `link` is the address of its page. `change` is what may be done about it here: the action and
    what it is about, such as ("approve", "titles@2").
    """

    about: str
    what: str
    step: str = ""
    link: str = ""
    change: tuple[str, str] | None = None


def page(path: str, **asked: str) -> str:
    """The address of a page.

    >>> page("surface", name="titles")
    '/desk/surface?name=titles'
    """
    return f"/desk/{path}?{urlencode(asked)}" if asked else f"/desk/{path}"
