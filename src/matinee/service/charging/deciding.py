"""Decisions on invoices, for whoever carries them out: by the champion, or by the fallback."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from matinee.decisions import Decider
from matinee.decisions.recent import Recent
from matinee.errors import MatineeError
from matinee.lake.billing import Instrument, Invoice
from matinee.lake.records import Decision
from matinee.models import Model
from matinee.payments.actions import Step
from matinee.policies import Policy
from matinee.service.arms import THE_CHAMPION, Arms
from matinee.service.charging.charger import Charger
from matinee.service.charging.http_gateway import gateways_of
from matinee.service.charging.sender import Terms
from matinee.service.folder import Service
from matinee.surfaces import History, Payments, Request, Surface
from matinee.surfaces.payments import STEP

log = logging.getLogger("matinee.charging")


class Nobody:
    """What members watched plays no part in how they are charged."""

    def history(self, member_id: str) -> History:
        return History()

    def generation(self, member_id: str) -> int:
        return 0


class Deciding:
    """Decides on the invoices of a service. The champion may change between two decisions."""

    def __init__(self, service: Service) -> None:
        self._service, self._salt = service, service.salt()
        self._loaded, self._known = Recent[Decider[Any]](8), Recent[Arms](1)

    def __call__(self, request_id: str, invoice: Invoice, step: Step, at: datetime) -> Decision:
        """The durable decision on a step; the same again for the same request."""
        surface = self.surface
        surface.follow()
        request = Request(
            request_id=request_id,
            member_id=invoice.member_id,
            at=at,
            subject=invoice.invoice_id,
            country=invoice.country,
            features={STEP: step},
        )
        champion = self._service.registry.alias(Payments.name, "champion")
        serves = self._arms().of(Payments.name, request) if champion else THE_CHAMPION
        if champion is not None and not serves.rule:
            version = serves.version or champion.id
            if decider := self._read(version, serves.arm):
                try:
                    return decider.decide(request, self._service.lake)
                except MatineeError:
                    raise
                except Exception:  # a broken model stops no payment
                    log.exception("%s failed; the fallback decides", version)
        fallback = f"{Payments.name}@fallback"
        decider = self._decider(surface, *surface.fallback(), fallback, arm=serves.arm)
        return decider.decide(request, self._service.lake)

    @property
    def surface(self) -> Payments:
        """The service's own, which knows its ledger."""
        found = self._service.surfaces[Payments.name]
        assert isinstance(found, Payments)  # noqa: S101
        return found

    def forbidden(
        self,
        invoice: Invoice,
        instrument: Instrument,
        processor: str,
        at: datetime,
        attempt_id: str,
    ) -> str | None:
        """Why an attempt may not go out now, as `Payments.forbidden` says."""
        who = instrument.instrument_id
        return self.surface.forbidden(invoice, who, processor, at, attempt_id)

    def _arms(self) -> Arms:
        """The experiments as they are now."""
        generation = self._service.trials.generation()
        return self._known.get(generation, lambda: Arms(self._service))

    def _read(self, version: str, arm: str | None) -> Decider[Any] | None:
        """The decider of a version; `None` where it cannot be read."""

        def made() -> Decider[Any]:
            model, policy = self._service.registry.load(version)
            return self._decider(self.surface, model, policy, version, arm=arm)

        try:
            return self._loaded.get((version, arm), made)
        except MatineeError:
            log.exception("%s cannot be read; the fallback decides", version)
            return None

    def _decider(
        self, surface: Surface, model: Model, policy: Policy, version: str, *, arm: str | None
    ) -> Decider[Any]:
        return Decider(
            surface,
            model,
            policy,
            version=version,
            histories=Nobody(),
            salt=self._salt,
            arm=arm,
        )


class Charging:
    """The job of charging what is due; what it needs is opened when it first runs."""

    def __init__(self) -> None:
        self._charger: Charger | None = None

    def __call__(self, service: Service) -> str:
        """One round; what was done, in a few words."""
        if self._charger is None:
            deciding = Deciding(service)
            terms = Terms(service.settings.payments, deciding.forbidden)
            self._charger = Charger(
                service, deciding, gateways_of(service.settings.payments), terms
            )
        return str(self._charger.charge_due())
