"""The one SQLite file of metadata, and the migrations that keep its tables in step."""

from matinee.store.store import Schema, Store

__all__ = ["Schema", "Store"]
