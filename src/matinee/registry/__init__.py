"""Policy versions with their lineage, and which of them is champion."""

from matinee.registry.registry import Change, Registry
from matinee.registry.version import Version, check_surface, parse_version

__all__ = ["Change", "Registry", "Version", "check_surface", "parse_version"]
