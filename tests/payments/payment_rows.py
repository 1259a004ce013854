"""Rows of payments to test with: one invoice, one card, and attempts on them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from matinee.lake.billing import Attempt, Instrument, Invoice, NetworkRule, Processor
from matinee.lake.records import micros

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
"""When the invoice is due: a Monday."""


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def at(*hours: float) -> list[int]:
    return [micros(after(one)) for one in hours]


def an_invoice(**more: Any) -> Invoice:
    usual = {
        "invoice_id": "i1",
        "member_id": "m1",
        "amount": 999,
        "currency": "EUR",
        "due_at": START,
        "grace_until": after(40_000),
        "instruments": ["c1"],
    }
    return Invoice(**usual | more)


def a_card(network: str = "visa", **more: Any) -> Instrument:
    usual = {"instrument_id": "c1", "member_id": "m1", "kind": "card", "network": network}
    return Instrument(**usual | more)


def a_report(name: str, when: datetime, status: str = "declined", **more: Any) -> Attempt:
    usual = {
        "attempt_id": name,
        "member_id": "m1",
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "goldcard",
        "status": status,
        "at": when,
        "amount": 999,
        "currency": "EUR",
    }
    return Attempt(**usual | more)


def declines(*hours: float, **more: Any) -> list[Attempt]:
    """One attempt at each of these hours, answered at once."""
    answer = {"code": "51"} | more
    return [
        report
        for hour in hours
        for report in (
            a_report(f"at {hour} {more}", after(hour), "sent", **_keys(more)),
            a_report(f"at {hour} {more}", after(hour), "declined", **answer),
        )
    ]


def _keys(more: dict[str, Any]) -> dict[str, Any]:
    return {key: more[key] for key in ("invoice_id", "instrument_id", "amount") if key in more}


def a_rule(kind: str, **more: Any) -> NetworkRule:
    usual = {"rule_id": "mine", "network": "*", "kind": kind, "source": "this test"}
    return NetworkRule(**usual | more)


def a_processor(name: str = "goldcard", **more: Any) -> Processor:
    return Processor(processor=name, currency="EUR", **more)
