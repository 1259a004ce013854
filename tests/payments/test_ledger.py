"""The ledger tells invoices by member and id, and counts what was tried on a card for anyone."""

from datetime import UTC, datetime, timedelta

from matinee.lake.billing import Attempt, Instrument, Invoice, Processor
from matinee.lake.records import micros
from matinee.payments.bars import bars
from matinee.payments.ledger import Ledger
from matinee.payments.rules import RuleBook

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def rows(member, status="declined", count=0):
    """An invoice that others have under the same id, on a card that others have too."""
    card = Instrument(
        instrument_id=f"c-{member}", member_id=member, kind="card", network="visa", fingerprint="f"
    )
    invoice = Invoice(
        invoice_id="2026-03",
        member_id=member,
        amount=999,
        currency="EUR",
        due_at=NOW - timedelta(days=9),
        grace_until=NOW + timedelta(days=19),
        instruments=[card.instrument_id],
    )
    tried = [
        Attempt(
            attempt_id=f"{member}{number}",
            member_id=member,
            invoice_id="2026-03",
            instrument_id=card.instrument_id,
            processor="gold",
            status=status,
            at=NOW - timedelta(hours=number + 1),
            amount=999,
            currency="EUR",
            code="51",
        )
        for number in range(count)
    ]
    return [card, invoice, *tried]


def barred(*records):
    """The rules by which ann's card may not be charged now."""
    ledger = Ledger.of([Processor(processor="gold", currency="EUR"), *records])
    account = ledger.account("ann", "2026-03")
    assert account is not None
    (case,) = account.cases
    return {bar.name for bar in bars(case, RuleBook.built_in(), [micros(NOW)])}


def test_what_was_tried_on_the_card_counts_even_on_an_invoice_of_the_same_id():
    assert "visa-30-days-2025" in barred(*rows("ann"), *rows("bob", count=25))
    assert barred(*rows("ann"), *rows("bob", count=1)) == set()


def test_what_another_member_paid_pays_for_nobody_else():
    assert "paid" not in barred(*rows("ann"), *rows("bob", "approved", 1))
    assert "paid" in barred(*rows("ann", "approved", 1))
