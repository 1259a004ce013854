"""What a person should know of a service, and on which page it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
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


def link(path: str, query: Mapping[str, str | int | None] = MappingProxyType({})) -> str:
    """The address of a page that is asked for what is not empty.

    >>> link("/desk/title", {"id": "a/b & c"}), link("/desk/artwork", {"q": "", "page": None})
    ('/desk/title?id=a%2Fb+%26+c', '/desk/artwork')
    """
    asked = urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{asked}" if asked else path
