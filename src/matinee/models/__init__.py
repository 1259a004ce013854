"""Models: what is likely. One algorithm a file, one contract for all."""

from pathlib import Path

from matinee.models import files
from matinee.models.base import Belief, Model
from matinee.models.boosted import Boosted
from matinee.models.covisitation import CoVisitation
from matinee.models.data import (
    Content,
    Context,
    Dataset,
    Histories,
    HistoryShard,
    Holdout,
    InMemory,
    Responses,
    ResponseShard,
    Vocabulary,
)
from matinee.models.diverse import Diverse
from matinee.models.ease import EASE
from matinee.models.linear import Linear
from matinee.models.popularity import Popularity
from matinee.models.recovery import Cascade, Recovery
from matinee.models.response import Response
from matinee.models.run import Progress, Run
from matinee.models.sequence import Sequence

MODELS: dict[str, type[Model]] = {
    model.name: model
    for model in (
        Popularity,
        EASE,
        CoVisitation,
        Response,
        Linear,
        Boosted,
        Sequence,
        Diverse,
        Recovery,
        Cascade,
    )
}
"""Every model by its name. A model of your own is known by ``MODELS[Mine.name] = Mine``."""


def model_class(name: str) -> type[Model]:
    """The class of the model of that name; `ValueError` lists the names there are.

    >>> model_class("ease")(l2=100.0).settings()
    {'l2': 100.0}
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; choose one of {', '.join(sorted(MODELS))}")
    return MODELS[name]


def load_model(path: Path) -> Model:
    """The model that `Model.save` wrote to `path`, of whichever class it is.

    Raises `ValueError`, saying what is wrong and what to do, for a file that is no whole model.
    """
    header, _ = files.read(Path(path))
    return model_class(header["name"]).load(path)


__all__ = [
    "EASE",
    "MODELS",
    "Belief",
    "Boosted",
    "Cascade",
    "CoVisitation",
    "Content",
    "Context",
    "Dataset",
    "Diverse",
    "Histories",
    "HistoryShard",
    "Holdout",
    "InMemory",
    "Linear",
    "Model",
    "Popularity",
    "Progress",
    "Recovery",
    "Response",
    "ResponseShard",
    "Responses",
    "Run",
    "Sequence",
    "Vocabulary",
    "load_model",
    "model_class",
]
