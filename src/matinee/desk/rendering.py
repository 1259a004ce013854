"""How pages are made from templates: escaped, and with no name left undefined."""

from __future__ import annotations

import jinja2


def templates() -> jinja2.Environment:
    """The templates of the desk."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("matinee.desk"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
