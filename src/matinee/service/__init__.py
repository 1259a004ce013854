"""A service: one folder with its settings, its lake, and what runs on them."""

from matinee.service.folder import Service
from matinee.service.runtime import Runtime

__all__ = ["Runtime", "Service"]
