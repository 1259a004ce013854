"""Learning on: a version takes in what has come to be known since it learned."""

from __future__ import annotations

from datetime import datetime

from matinee.errors import MatineeError
from matinee.models import Model
from matinee.registry import Version
from matinee.service.datasets import ALL, Learned
from matinee.service.folder import Service
from matinee.service.forgetting import tombstones
from matinee.service.training import as_of_past, data_for, learned, usual_policy


def update(
    service: Service,
    surface: str,
    *,
    version: str | None = None,
    policy: str | None = None,
    as_of: datetime | None = None,
    by: str,
) -> Version:
    """Let a version, the champion by default, learn what came to be known after it had learned, up
    to `as_of`, and register what it then is, with its policy or another usual one.

    It is what training anew on everything would give: the sums of what is new are added to those of
    what is old, however often. Raises `MatineeError` for a model that cannot go on, and where there
    is no version, nothing can be new, or a member was forgotten since it learned.
    """
    old, known = _begun(service, surface, version), as_of_past(as_of)
    model, own = service.registry.load(old.id)
    if not goes_on(model):
        raise MatineeError(
            f"{old.id} cannot go on learning",
            why=f"{model.name} learns everything anew",
            next_step=f"matinee train {surface}",
        )
    if known <= old.data_as_of:
        raise MatineeError(
            f"{old.id} has learned later things than those of {known:%Y-%m-%d %H:%M}",
            next_step="leave --as-of out",
        )
    if tombstones(service.store, old.data_as_of):
        raise MatineeError(
            f"{old.id} has learned from members who were forgotten since",
            why="going on from it would keep what they did",
            next_step=f"matinee train {surface}",
        )
    chosen = own if policy is None else usual_policy(service.surface(surface), policy)
    before = Learned(old.data_as_of, int(old.metrics.get("through", ALL)))
    data, through = data_for(service, surface, model, known, before)
    try:
        more = model.update(data)
    except ValueError as wrong:
        raise MatineeError(
            f"{old.id} cannot go on learning", why=str(wrong), next_step=f"matinee train {surface}"
        ) from wrong
    return service.registry.register(
        surface,
        more,
        chosen,
        data_as_of=known,
        settings=old.settings,
        metrics=learned(more, through),
        by=by,
        parent=old.id,
    )


def goes_on(model: Model) -> bool:
    """Whether a model can go on learning."""
    return type(model).update is not Model.update


def _begun(service: Service, surface: str, version: str | None) -> Version:
    if version is not None:
        return service.registry.get(version)
    champion = service.registry.alias(surface, "champion")
    if champion is None:
        raise MatineeError(
            f"{surface} has no champion that could go on", next_step=f"matinee train {surface}"
        )
    return champion
