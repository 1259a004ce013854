"""How pages are made from templates: escaped, and with no name left undefined."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import jinja2


@cache
def templates() -> jinja2.Environment:
    """The templates of the desk, each compiled once."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("matinee.desk"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def alone(template: str, **values: Any) -> str:
    """A page that opens without a server or a network, from a template that takes a `style`."""
    style = files("matinee.desk").joinpath("static/matinee.css").read_text(encoding="utf-8")
    return templates().get_template(template).render(style=style, **values)
