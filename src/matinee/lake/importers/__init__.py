"""Importers: logs and catalogues from outside, as batches for `Lake.append`."""

from __future__ import annotations

from pathlib import Path

from matinee.errors import MatineeError
from matinee.lake.importers.base import Batch, Importer, Tally, load
from matinee.lake.importers.columns import Columns, Mapping
from matinee.lake.importers.kuairand import KuaiRand
from matinee.lake.importers.movielens import MovieLens

__all__ = [
    "Batch",
    "Columns",
    "Importer",
    "KuaiRand",
    "Mapping",
    "MovieLens",
    "Tally",
    "load",
    "recognise",
]


def recognise(folder: Path) -> Importer:
    """The importer for a folder of a known data set.

    Raises `MatineeError` where the folder is of none.
    """
    found = MovieLens.recognise(folder) or KuaiRand.recognise(folder)
    if found is None:
        raise MatineeError(
            f"{folder} is no data set that Matinee knows",
            why="it knows MovieLens (ratings and movies) and KuaiRand-Pure (processed)",
            next_step="write an [import.NAME] in matinee.toml for its files: matinee import NAME",
        )
    return found
