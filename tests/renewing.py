"""Renewals of a simulated service that are tried again as its own surface decides."""

from datetime import timedelta

from matinee.decisions import Decider
from matinee.payments.actions import hours_of, route_of, slot_at
from matinee.service.charging.deciding import Nobody
from matinee.surfaces import Request
from matinee.world.recovery import Step


class Deciding:
    """A version, or the fixed schedule, decides when and where to try; what it decided is kept."""

    def __init__(self, service, version):
        self.surface = service.surface("payments")
        self.surface.ledger.load()
        fixed = version == "payments@fallback"
        model, policy = self.surface.fallback() if fixed else service.registry.load(version)
        self.decider = Decider(
            self.surface, model, policy, version=version, histories=Nobody(), salt=b"test"
        )
        self.log = []

    def next(self, invoice, tried, now, rng):
        at = now + timedelta(seconds=1)
        hours = hours_of(self._asked(invoice, len(tried), at, "when"))
        if hours is None:
            return None
        at = slot_at(at, hours)
        route = self._asked(invoice, len(tried), at, "route")
        return Step(at, *route_of(route)) if route else None

    def saw(self, attempt):
        self.surface.ledger.take(attempt)

    def _asked(self, invoice, number, at, step):
        request = Request(
            request_id=f"{invoice.invoice_id}:{number}:{step}",
            member_id=invoice.member_id,
            at=at,
            subject=invoice.invoice_id,
            country=invoice.country,
            features={"step": step},
        )
        decision = self.decider.propose(request)
        self.log.append(decision)
        return decision.actions[0] if decision.actions else None
