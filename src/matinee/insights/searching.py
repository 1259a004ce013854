"""Decisions of the log that were asked for, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import msgspec
import polars as pl
from msgspec import Meta

from matinee.errors import MatineeError
from matinee.lake.records import Id, MemberId, Time, Title
from matinee.lake.table import collect
from matinee.lake.validate import EARLIEST
from matinee.service.folder import Service
from matinee.surfaces import Titles

PAGE = 50
"""Decisions of a page."""
DAYS = timedelta(days=7)
"""How much of the log is searched where neither a member nor its first day is given."""
ORDER = ["at", "decision_id", "member_id"]
"""Two decisions never agree in all of these."""
COLUMNS = [*ORDER, "surface", "subject", "policy", "arm", "row", "actions", "propensities"]
HINTS = {
    "member": "an id has 1 to 200 characters and no @: it is never an e-mail address",
    "title": "an id, or a name in the catalogue, has 1 to 500 characters",
    "from": "it is a date or a time in UTC since 1970, such as 2026-11-24 or 2026-11-24T18:30",
    "before": "it is what the page before this one gave",
}
HINTS["until"] = HINTS["from"]
LONG = "it has more than 200 characters"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of decisions; all of it holds of each that is found.

    `title` is one of the actions or the subject, by its id, or by its name in the catalogue. They
    were made from `since` on (called ``from`` outside) and before `until`. A page goes on behind
    the decision `before`: its time, its member and its id.
    """

    member: MemberId | None = None
    title: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    surface: Id | None = None
    policy: Id | None = None
    arm: Annotated[str, Meta(min_length=1, max_length=401)] | None = None
    since: Time | None = msgspec.field(default=None, name="from")
    until: Time | None = None
    before: Annotated[str, Meta(pattern=r"^[^@]+@[^@]+@")] | None = None

    @classmethod
    def asked(cls, fields: Mapping[str, str]) -> Query:
        """That of a form or an address; what is empty, or has another name, plays no part.

        A date as `until` counts whole. Raises `MatineeError` for what cannot be meant.

        >>> Query.asked({"member": " m1 ", "until": "2026-11-24", "page": "3"}).until.isoformat()
        '2026-11-25T00:00:00+00:00'
        """
        known = msgspec.structs.fields(cls)
        values = {one.encode_name: fields.get(one.encode_name, "").strip() for one in known}
        return cls(
            **{
                one.name: _value(one.encode_name, values[one.encode_name], one.type)
                for one in known
                if values[one.encode_name]
            }
        )


@dataclass(frozen=True)
class Made:
    """A decision in brief: `actions` and `propensities` as they stand in its record."""

    decision_id: str
    member_id: str
    at: datetime
    surface: str
    subject: str | None
    policy: str
    arm: str | None
    row: str | None
    actions: tuple[str, ...]
    propensities: tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """A page of decisions, newest first.

    They were made from `since` on and before `until`, as far as there is a bound. `total` is how
    many there are on all pages: the first one says it, unless a title was searched for among all
    members. `earlier` is the `Query.before` of the next page, if there is one. `names` are those of
    titles by id, where the catalogue knows them.
    """

    asked: Query
    since: datetime | None
    until: datetime | None
    made: tuple[Made, ...]
    total: int | None
    earlier: str | None
    names: dict[str, str]


def search(service: Service, query: Query) -> Found:
    """The decisions that are asked for, sealed or not, newest first, a page of 50.

    With a member their rows alone are read, all of them. Otherwise, where `query.since` is not
    given, the last 7 days before `query.until`, or of the log.
    """
    table = service.lake.tables["decisions"]
    log = table.of_member(query.member).scan() if query.member else table.scan()
    since = query.since if query.member or query.since else _week(log, query.until)
    rows = log.filter(_wanted(service, query), _between(since, query.until))
    counted = not query.before and (query.member or not query.title)
    total = int(_only(rows.select(pl.len()))) if counted else None
    page = rows if query.before is None else rows.filter(_behind(*_place(query.before)))
    top = collect(page.select(COLUMNS).top_k(PAGE + 1, by=ORDER), "decisions")
    made = tuple(map(_made, top.sort(ORDER, descending=True).head(PAGE).iter_rows(named=True)))
    named = [one for each in made for one in (*each.actions, each.subject)]
    earlier = _cursor(made[-1]) if top.height > PAGE else None
    return Found(query, since, query.until, made, total, earlier, names_of(service, named))


def _value(name: str, text: str, kind: Any) -> Any:
    """What a field of a form says, or `MatineeError`."""
    value: Any = text
    try:
        if name in {"from", "until"}:
            value = _time(text, whole=name == "until")
        if name == "before":
            _place(text)
        return msgspec.convert(value, kind)
    except (ValueError, OverflowError):  # of which msgspec's own is one
        raise MatineeError(
            f"{name} cannot be {text[:40]!r}",
            why=HINTS.get(name, LONG),
            next_step=f"mend {name}, or leave it out",
        ) from None


def _time(text: str, *, whole: bool = False) -> datetime:
    """A time in UTC; of a date its beginning, or its end where it counts `whole`."""
    try:
        day = date.fromisoformat(text) + timedelta(days=whole)
        moment = datetime.combine(day, time.min)
    except ValueError:
        moment = datetime.fromisoformat(text)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment < EARLIEST:
        raise ValueError(f"{text} is before 1970")
    return moment


def _place(text: str) -> tuple[datetime, str, str]:
    """The time, the member and the id of a decision: only the id may hold an @."""
    at, member, decision_id = text.split("@", 2)
    return _time(at), member, decision_id


def _cursor(last: Made) -> str:
    at = last.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{at}@{last.member_id}@{last.decision_id}"


def _behind(at: datetime, member: str, decision_id: str) -> pl.Expr:
    """Whether a decision comes after that one, the newest being first."""
    same = (pl.col("at") == at) & (pl.col("decision_id") <= decision_id)
    other = (pl.col("decision_id") < decision_id) | (pl.col("member_id") < member)
    return (pl.col("at") < at) | (same & other)


def _only(rows: pl.LazyFrame) -> Any:
    return collect(rows, "decisions").item()


def _week(log: pl.LazyFrame, until: datetime | None) -> datetime | None:
    """The beginning of what is searched; `None` where the log is empty."""
    end = until or _only(log.select(pl.col("at").max()))
    return None if end is None else end - DAYS


def _between(since: datetime | None, until: datetime | None) -> pl.Expr:
    at = pl.col("at")
    bounds = [at >= since if since else None, at < until if until else None]
    return pl.all_horizontal([pl.lit(value=True), *(one for one in bounds if one is not None)])


def _wanted(service: Service, query: Query) -> pl.Expr:
    """Whether a decision is as asked, but for its time."""
    columns = {
        "member_id": query.member,
        "surface": query.surface,
        "policy": query.policy,
        "arm": query.arm,
    }
    asked = [pl.col(name) == value for name, value in columns.items() if value is not None]
    if query.title is not None:
        asked.append(_shows(_ids_of(service, query.title)))
    return pl.all_horizontal([pl.lit(value=True), *asked])


def _shows(titles: Iterable[str]) -> pl.Expr:
    """Whether one of them is among the actions, or the subject."""
    about = [(pl.col("subject") == title).fill_null(value=False) for title in titles]
    return pl.any_horizontal(*about, *(pl.col("actions").list.contains(one) for one in titles))


def _ids_of(service: Service, title: str) -> list[str]:
    """The id that is meant, and those of the titles that have it as their name."""
    name, known = title.casefold(), _catalogue(service).items()
    return [title, *(one for one, about in known if about.name.casefold() == name)]


def _catalogue(service: Service) -> Mapping[str, Title]:
    titles = service.surfaces[Titles.name]
    assert isinstance(titles, Titles)  # noqa: S101
    return titles.catalogue


def names_of(service: Service, ids: Iterable[str | None]) -> dict[str, str]:
    """The names of those that are titles of the catalogue."""
    known = _catalogue(service)
    return {one: known[one].name for one in ids if one is not None and one in known}


def _made(row: Mapping[str, Any]) -> Made:
    lists = {name: tuple(row[name]) for name in ("actions", "propensities")}
    return Made(**{**row, **lists})
