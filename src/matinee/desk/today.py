"""The first page of the desk: what the service earned, what waits for a person, what is unwell, and
what exploring cost and bought.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from math import isfinite
from typing import Any, NamedTuple

from matinee.desk.kept import LOOK_AGAIN, PATIENCE, Kept
from matinee.desk.numbers import NOT_YET, between, moment, percent
from matinee.desk.views import Query, View
from matinee.evaluation import plots
from matinee.insights.ahead import EXPLORED, TODAY
from matinee.insights.bought import Bought
from matinee.insights.earned import Beside, Earned, Measured, Standing
from matinee.insights.exploration import Explored
from matinee.insights.notes import Note, link
from matinee.insights.spent import Spent
from matinee.insights.today import Today
from matinee.service.changes import ACTIONS
from matinee.service.folder import Service

SOON = 1.0
"""Seconds that the page waits for it before it goes on without."""
COLUMNS = ("", "decisions", "one brought", "all together", "beside", "difference", "comes to")


class Unit(NamedTuple):
    """How a measure is written: of one decision, and of all, in units of their own."""

    each: str
    total: str
    scale: float = 1.0
    share: bool = False


def unit_of(surface: str, measure: str, currency: str | None) -> Unit:
    """The unit of a measure.

    >>> unit_of("titles", "minutes", None).total
    'hours watched'
    >>> unit_of("payments", "money", "EUR").each
    'EUR an invoice'
    """
    money = currency or "money"
    known = {
        ("titles", "minutes"): Unit("minutes a decision", "hours watched", 1 / 60),
        ("titles", "reward"): Unit("plays a decision", "plays that count"),
        ("artwork", "reward"): Unit("of choices taken", "titles taken", share=True),
        ("payments", "money"): Unit(f"{money} an invoice", money),
        ("payments", "reward"): Unit(
            f"{money} an invoice, with what is to come", f"{money} with what is to come"
        ),
    }
    return known.get((surface, measure), Unit("reward a decision", "reward"))


class Line(NamedTuple):
    """A row of the table of a surface."""

    span: str
    cells: tuple[str, ...]


class Card(NamedTuple):
    """What is shown of a surface."""

    surface: str
    link: str
    champion: str
    since: str
    gain: str
    said: str
    way: str
    tables: list[tuple[str, list[Line]]]
    caption: str
    picture: str


class Told(NamedTuple):
    """A note with the words of its button, if there is one."""

    note: Note
    button: str
    weight: str


def today_view(service: Service) -> View[Today]:
    """All of it, as it was read ahead, and anew after every change; what exploring cost, which is
    of many decisions and takes long, may be missing for a while.
    """
    quick = Kept.of(service, TODAY, then=shown)
    slow = Kept.of(service, EXPLORED)

    async def read(_: Query) -> Today | None:
        found = await quick.get(PATIENCE)
        return found and replace(found, explored=await slow.get(SOON))

    return View("/desk", "today.html", read, shown, (quick, slow))


def shown(found: Today) -> dict[str, Any]:
    """What the template shows."""
    return {
        "found": found,
        "columns": COLUMNS,
        "cards": [card(one, found.currency) for one in found.standings],
        "groups": (
            ("Waits for you", told(found.waiting), "Nothing waits for a person."),
            ("Unwell", told(found.unwell), WELL),
        ),
        "explored": [explained(one, found.currency) for one in found.explored or ()],
        "known": moment(found.explored[0].at) if found.explored else "",
        "again": LOOK_AGAIN if found.explored is None else 0,
    }


WELL = (
    "Nothing was found of jobs, champions, propensities, experiments, processors and imports; and "
    "nothing has moved since last week, where there is enough to tell."
)


def told(notes: Sequence[Note]) -> list[Told]:
    """Notes with what their buttons say."""
    return [Told(note, *_button(note.change)) for note in notes]


def _button(change: tuple[str, str] | None) -> tuple[str, str]:
    found = next((ACTIONS[name] for name in ACTIONS if change and name == change[0]), None)
    return (found.label, found.weight) if found else ("", "")


def card(one: Standing, currency: str | None) -> Card:
    """A surface: the week in one number, then all of it."""
    first = one.measures[0]
    unit = unit_of(one.surface, first.measure, currency)
    gain, said, way = headline(first.week, unit)
    return Card(
        one.surface,
        link("/desk/surface", {"name": one.surface}),
        one.champion or "nobody yet",
        f"since {one.since:%Y-%m-%d}" if one.since else "",
        gain,
        said,
        way,
        [
            (table.total, list(_lines(measured, table)))
            for measured, table in _units(one, currency)
            if measured.ever.decisions
        ],
        *_picture(first, unit),
    )


def _units(one: Standing, currency: str | None) -> Iterator[tuple[Measured, Unit]]:
    for measured in one.measures:
        yield measured, unit_of(one.surface, measured.measure, currency)


def headline(week: Earned, unit: Unit) -> tuple[str, str, str]:
    """The week in one number, what it is, and whether it is more or less than nothing.

    >>> headline(Earned(12, 0.25, 3.0), Unit("plays a decision", "plays that count"))
    ('3 plays that count', 'this week, with no holdout to hold it against', '')
    """
    if not week.decisions:
        return "Nothing closed yet", "this week", ""
    if not week.beside:
        total = f"{amount(week.total, unit)} {unit.total}"
        return total, "this week, with no holdout to hold it against", ""
    first = week.beside[0]
    if not isfinite(first.total.low):
        total = f"{amount(week.total, unit)} {unit.total}"
        return total, f"this week; {NOT_YET} to hold it against the holdout {first.holdout}", ""
    low, high = (amount(end, unit, signed=True) for end in (first.total.low, first.total.high))
    way = "more" if first.total.low > 0 else "less" if first.total.high < 0 else ""
    value = amount(first.total.value, unit, signed=True)
    beside = f"this week, beside the holdout {first.holdout}"
    if not way:
        said = f"{beside}: {value} {unit.total}, which may be anything from {low} to {high}"
        return "No difference shown yet", said, way
    return f"About {value} {unit.total}", f"{beside}: between {low} and {high}", way


def amount(value: float, unit: Unit, *, signed: bool = False) -> str:
    """What all decisions brought, to read.

    >>> amount(7_200.0, Unit("minutes", "hours", 1 / 60)), amount(-0.5, Unit("", ""), signed=True)
    ('120', '−0.5')
    """
    scaled = value * unit.scale
    digits = 0 if abs(scaled) >= 100 or scaled == round(scaled) else 1 if abs(scaled) >= 10 else 2
    text = f"{scaled:+,.{digits}f}" if signed and scaled else f"{scaled:,.{digits}f}"
    bare = text.rstrip("0").rstrip(".") if "." in text else text
    return ("0" if bare in {"+0", "-0", "+", "-", ""} else bare).replace("-", "−")


def each(value: float, unit: Unit, *, signed: bool = False) -> str:
    """What one decision brought, to read: a share, or a number.

    >>> each(0.0849, Unit("", "", share=True)), each(0.01, Unit("", ""), signed=True)
    ('8.5%', '+0.01')
    >>> each(-0.004, Unit("", "", share=True), signed=True), each(12_345.6, Unit("", ""))
    ('−0.4 points', '12,346')
    >>> each(999.7, Unit("", "")), each(-999.7, Unit("", ""), signed=True)
    ('1,000', '−1,000')
    """
    if not isfinite(value):
        return "none yet"
    if unit.share:
        return f"{100 * value:+.2g} points".replace("-", "−") if signed else percent(value)
    if abs(value) >= 999.5:  # three digits would be told with a power of ten
        return amount(value, unit._replace(scale=1.0), signed=signed)
    return (f"{value:+.3g}" if signed else f"{value:.3g}").replace("-", "−")


def _lines(measured: Measured, unit: Unit) -> Iterator[Line]:
    """A row for the week and one for all time, of each holdout."""
    for span, earned in (("this week", measured.week), ("since launch", measured.ever)):
        so_far = (
            f"{earned.decisions:,}",
            f"{each(earned.value, unit)} {unit.each}" if earned.decisions else "nothing closed yet",
            amount(earned.total, unit),
        )
        if not earned.beside:
            yield Line(span, (*so_far, "no holdout", "", ""))
        for place, beside in enumerate(earned.beside):
            said, shown = (f"{span}, {beside.holdout}", ("", "", "")) if place else (span, so_far)
            yield Line(said, (*shown, *_difference(beside, unit)))


def _difference(one: Beside, unit: Unit) -> tuple[str, str, str]:
    held = f"{one.holdout}: {each(one.held, unit)} ({one.members:,} members)"
    return (
        held,
        between(one.difference, lambda value: each(value, unit, signed=True)),
        between(one.total, lambda value: amount(value, unit, signed=True)),
    )


@lru_cache(maxsize=32)
def _picture(first: Measured, unit: Unit) -> tuple[str, str]:
    """A caption and a plot: the difference over time, or what those who decided earned."""
    if first.looks:
        ends, intervals = zip(*first.looks, strict=True)
        name = first.ever.beside[0].holdout if first.ever.beside else "the holdout"
        caption = f"Beside {name} since it began; the band holds however often one looks"
        return caption, plots.over_time(ends, intervals, f"{unit.each}, difference")
    points = [
        plots.Point(one.name, one.value.value, one.value.low, one.value.high)
        for one in first.arms
        if isfinite(one.value.value) and isfinite(one.value.low)
    ]
    if not points:
        return "", ""
    return "By who decided, since launch; 95 % of one look", plots.values(points, unit.each)


def explained(one: Explored, currency: str | None) -> dict[str, Any]:
    """What exploring cost and bought on a surface, in words."""
    unit = unit_of(one.surface, "reward", currency)
    cost = one.spent
    gain, said = _cost(cost, unit)
    return {
        "surface": one.surface,
        "link": link("/desk/surface", {"name": one.surface}),
        "gain": gain,
        "said": said,
        "bought": list(_bought(one.bought, unit)),
    }


def _cost(cost: Spent, unit: Unit) -> tuple[str, str]:
    """What drawing cost in one number, and what that is."""
    if cost.each is None or cost.total is None:
        return "No number", cost.why
    value, low, high = (
        amount(end, unit, signed=True)
        for end in (cost.total.value, cost.total.low, cost.total.high)
    )
    gain = "No cost shown yet"
    if cost.total.low > 0:
        gain = f"Cost about {value.removeprefix('+')} {unit.total}"
    elif cost.total.high < 0:
        gain = f"Brought about {value.removeprefix('−')} {unit.total}"
    said = (
        f"{cost.version} would have brought {value} {unit.total} more ({low} to {high}) in its "
        f"{cost.decisions:,} decisions, had it always taken what it held for the best: "
        f"{between(cost.each, lambda one: each(one, unit, signed=True))} {unit.each}, read from "
        f"the latest {cost.judged:,}, which are worth {cost.effective:,.0f} to tell it."
    )
    return gain, said


def _bought(one: Bought, unit: Unit) -> Iterator[str]:
    """What the log made possible, one sentence each."""
    if isfinite(one.uniform):
        yield f"{percent(one.uniform)} of the log is left to judge a version by that draws evenly."
    if one.judged:
        candidates = "1 candidate was" if one.judged == 1 else f"{one.judged:,} candidates were"
        yield (
            f"{candidates} judged on the log. Of the verdicts {one.passed:,} passed, "
            f"{one.failed:,} failed, and {one.lacking:,} lacked support."
        )
        if one.latest and isfinite(one.left):
            yield f"{percent(one.left)} of it was left to judge {one.latest} by, the latest."
    else:
        yield "No candidate was judged on the log yet."
    for promotion in one.promotions:
        said = f"{promotion.version} became champion on {promotion.at:%Y-%m-%d}"
        if promotion.gain is None:
            yield f"{said}."
            continue
        summed = promotion.unit == "member"  # over their decisions, and so no share
        write = partial(amount if summed else each, unit=unit, signed=True)
        gain = between(promotion.gain, write)
        of = f"{unit.total}, a member" if summed else unit.each
        yield f"{said}, measured to bring {gain} {of} more."
