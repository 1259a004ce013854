"""Models and policies as the settings of a service want them."""

from __future__ import annotations

import msgspec

from matinee import models
from matinee.errors import MatineeError
from matinee.models import Model
from matinee.policies import PlackettLuce
from matinee.service.settings import PolicySettings, TrainSettings


def make_model(name: str, settings: TrainSettings) -> Model:
    """An unfitted model by name; `MatineeError` lists the names there are."""
    try:
        kind = models.model_class(name)
    except ValueError as unknown:
        raise MatineeError(str(unknown)) from None
    own = getattr(settings, name, None)
    return kind(**(msgspec.structs.asdict(own) if isinstance(own, msgspec.Struct) else {}))


def make_policy(settings: PolicySettings) -> PlackettLuce:
    """The policy that slates of titles are drawn with."""
    return PlackettLuce(**msgspec.structs.asdict(settings))
