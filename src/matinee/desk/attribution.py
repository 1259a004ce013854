"""What pictures bring, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from matinee.console import say, show
from matinee.desk.proof import words
from matinee.insights.attributing import READINGS, Attributed


def show_attribution(found: Attributed) -> None:
    """Print the headline and what it stands on."""
    for reading, said in headlines(found):
        say(f"{reading}: {said}", "bold")
    show(("first choices", "units", "members", *READINGS.values()), arms(found))


def headlines(found: Attributed) -> Iterator[tuple[str, str]]:
    """Each reading, and what personal pictures bring there, in words."""
    for reading, name in READINGS.items():
        one = found.readings[reading]
        share = one.difference.value / one.single.value if one.single.value else 0.0
        yield (
            name,
            f"personal pictures of {found.version} bring {words(one.difference)} beside the best "
            f"single picture of each title ({share:+.1%}); {one.units:,} first choices for "
            f"{one.members:,} members and {one.titles:,} titles",
        )


def arms(found: Attributed) -> list[tuple[object, ...]]:
    """A row for each version and holdout: its first choices, and what came of them."""
    return [
        (arm.name, arm.units, arm.members, *(words(arm.means[reading]) for reading in READINGS))
        for arm in found.arms
    ]
