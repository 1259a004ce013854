"""The contact sheet: one page with every candidate, which a person looks at before approving."""

from __future__ import annotations

from collections.abc import Sequence

from matinee.pictures.candidate import RATIOS, Candidate


def sheet(title: str, candidates: Sequence[Candidate], approve: str = "") -> str:
    """A page of HTML that needs nothing but the crops beside it.

    title : of the film. approve : the command that approves pictures, to be typed.

    >>> one = Candidate(1, 61.5, {"16:9": "01-16x9.jpg"}, {"overall": 0.7}, {})
    >>> page = sheet("Sintel", [one], "matinee artwork approve sintel 1")
    >>> "01-16x9.jpg" in page, "1:01.5" in page, "<script" in page
    (True, True, False)
    """
    import jinja2  # noqa: PLC0415 - slow to import, and of no use to the process that decodes

    surroundings = jinja2.Environment(
        loader=jinja2.PackageLoader("matinee.pictures"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    surroundings.filters["clock"] = clock
    page = surroundings.get_template("sheet.html")
    return page.render(title=title, candidates=candidates, approve=approve, ratios=RATIOS)


def clock(seconds: float) -> str:
    """A time in a film.

    >>> clock(61.54), clock(3_725)
    ('1:01.5', '1:02:05.0')
    """
    minutes, rest = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"
