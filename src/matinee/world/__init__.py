"""A simulated streaming service with known truth, for tests, demonstrations and teaching.

Everything here is simulated: members, tastes, outcomes and the log. Only the facts about films are
real (Wikidata contributors, CC0 1.0, by way of `bokeh_sampledata`; see NOTICE). The room imports
nothing of Matinee but the public record types, and speaks to the platform as an app would.

- :class:`Settings` says how large a world is, and its seed;
- :class:`World` gives the catalogue, the members, a log of days, reactions, and the truth;
- :func:`matinee.world.posters.poster` draws the pictures of its titles.
"""

from matinee.world.frames import Day, Visit
from matinee.world.policies import SlatePolicy
from matinee.world.settings import Settings
from matinee.world.world import World

__all__ = ["Day", "Settings", "SlatePolicy", "Visit", "World"]
