"""The one SQLite file of metadata, and the migrations that keep its tables in step."""

from matinee.store.store import Schema, Store, append_only

__all__ = ["Schema", "Store", "append_only"]
