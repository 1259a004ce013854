"""Policy versions with their lineage, which of them is champion, and who judged and approved it."""

from matinee.registry.approvals import Approvals, Judged
from matinee.registry.changes import Change
from matinee.registry.people import People, Person, Role
from matinee.registry.registry import Registry, check_together
from matinee.registry.trials import Trials, against_champion
from matinee.registry.version import Version, check_surface, parse_version

__all__ = [
    "Approvals",
    "Change",
    "Judged",
    "People",
    "Person",
    "Registry",
    "Role",
    "Trials",
    "Version",
    "against_champion",
    "check_surface",
    "check_together",
    "parse_version",
]
