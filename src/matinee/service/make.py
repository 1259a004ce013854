"""Models and policies as the settings of a service want them."""

from __future__ import annotations

from typing import Any

import msgspec

from matinee import models
from matinee.errors import MatineeError
from matinee.models import Diverse, Model
from matinee.policies import PlackettLuce
from matinee.service.settings import PolicySettings, TrainSettings


def make_model(name: str, settings: TrainSettings) -> Model:
    """An unfitted model by name; `MatineeError` lists the names there are."""
    own = _section(name, settings)
    if name == Diverse.name:
        own["settings"] = _section(own["model"], settings)
    try:
        return models.model_class(name)(**own)
    except ValueError as impossible:
        raise MatineeError(str(impossible)) from None


def _section(name: str, settings: TrainSettings) -> dict[str, Any]:
    """What the settings say of a model: nothing, if they have no section of its name."""
    own = getattr(settings, name, None)
    return msgspec.structs.asdict(own) if isinstance(own, msgspec.Struct) else {}


def make_policy(settings: PolicySettings) -> PlackettLuce:
    """The policy that slates of titles are drawn with."""
    return PlackettLuce(**msgspec.structs.asdict(settings))
