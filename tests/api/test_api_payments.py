"""Reports of payments over HTTP, as hostile as they may come."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from matinee.lake.billing import STATUSES, Invoice, Processor
from matinee.lake.records import Decision
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service import forgetting
from matinee.service.folder import Service
from waiting import eventually

NOW = datetime.now(UTC).replace(microsecond=0)
FOUR = "4111111111111111"


def invoice(number=1, member="ann", **more):
    told = {
        "invoice_id": f"i{number}",
        "member_id": member,
        "amount": 999,
        "currency": "EUR",
        "due_at": (NOW - timedelta(days=1)).isoformat(),
        "grace_until": (NOW + timedelta(days=27)).isoformat(),
        "instruments": ["c1"],
    }
    return {**told, **more}


def instrument(number=1, member="ann", **more):
    told = {"instrument_id": f"c{number}", "member_id": member, "kind": "card", "network": "visa"}
    return {**told, **more}


def attempt(number=1, status="sent", member="ann", **more):
    told = {
        "attempt_id": f"a{number}",
        "member_id": member,
        "invoice_id": "i1",
        "instrument_id": "c1",
        "processor": "gold",
        "status": status,
        "at": (NOW - timedelta(minutes=9)).isoformat(),
        "amount": 999,
        "currency": "EUR",
    }
    return {**told, **more}


def settlement(number=1, member="ann", **more):
    told = {
        "settlement_id": f"s{number}",
        "member_id": member,
        "attempt_id": "a1",
        "kind": "capture",
        "amount": 999,
        "currency": "EUR",
        "at": NOW.isoformat(),
    }
    return {**told, **more}


def processor(name="gold", **more):
    return {"processor": name, "currency": "EUR", **more}


def outage(name="gold", **more):
    return {"processor": name, "starts_at": (NOW - timedelta(hours=2)).isoformat(), **more}


ROWS = {
    "invoices": invoice,
    "instruments": instrument,
    "attempts": attempt,
    "settlements": settlement,
    "processors": processor,
    "outages": outage,
}


@pytest.fixture
def service(tmp_path):
    with Service.create(tmp_path / "shows") as service:
        yield service


@pytest.fixture
def client(service, client_of):
    return client_of(service)


def report(client, **tables):
    answer = client.post("/v1/payments", json=tables)
    assert answer.status_code == 200, answer.text
    return answer.json()


def odd(said):
    return [said[name] for name in ("unknown_decisions", "unknown_attempts", "out_of_order")]


def counted(said, table):
    return said["tables"][table]["accepted"], said["tables"][table]["duplicates"]


def test_one_row_of_every_table_is_durable_and_twice_is_once(client, service):
    tables = {table: [row()] for table, row in ROWS.items()}
    said = report(client, **tables)
    assert said["tables"] == {name: {"accepted": 1, "duplicates": 0} for name in ROWS}
    assert said["errors"] == []
    assert odd(said) == [0, 0, 0]
    assert {name: service.lake.scan(name).collect().height for name in ROWS} == dict.fromkeys(
        ROWS, 1
    )
    again = report(client, **tables)
    assert again["tables"] == {name: {"accepted": 0, "duplicates": 1} for name in ROWS}
    waiting = {name: service.lake.tables[name].waiting() for name in ROWS}
    assert waiting == dict.fromkeys(ROWS, 1)


def test_nothing_is_nothing(client):
    assert report(client)["tables"]["attempts"] == {"accepted": 0, "duplicates": 0}
    assert report(client, attempts=[])["errors"] == []


def test_good_rows_are_kept_and_bad_ones_told_by_table_and_place(client, service):
    said = report(
        client,
        invoices=[invoice(1), invoice(2, amount=-5), invoice(3, currency="eur"), 7],
        attempts=[
            attempt(1, status="lost"),
            attempt(2, at="2091-01-01T00:00:00Z"),
            attempt(3, at="2020-01-01T00:00:00"),
            attempt(4),
            attempt(5, colour="red"),
            attempt(6, member="ann@example.com"),
            attempt(7, amount=10**13),
            attempt(8, code="5 1"),
        ],
        outages=[{}, outage()],
    )
    assert [(one["table"], one["row"]) for one in said["errors"]] == [
        *(("invoices", row) for row in (1, 2, 3)),
        *(("attempts", row) for row in (0, 1, 2, 4, 5, 6, 7)),
        ("outages", 0),
    ]
    assert counted(said, "invoices") == counted(said, "attempts") == (1, 0)
    reasons = [one["reason"] for one in said["errors"]]
    assert "in the future" in reasons[4]
    assert "colour" in reasons[6]
    assert service.lake.scan("attempts").collect()["attempt_id"].to_list() == ["a4"]


def test_bad_rows_alone_are_refused(client):
    answer = client.post("/v1/payments", json={"invoices": [{}, 1]})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 2


def test_a_change_is_kept_and_the_same_again_is_not(client, service):
    paid = invoice(closed="paid", closed_at=NOW.isoformat())
    said = report(client, invoices=[invoice(), invoice(), paid, paid, invoice()])
    assert counted(said, "invoices") == (3, 2)
    assert counted(report(client, invoices=[paid]), "invoices") == (1, 0)
    same_moment = paid | {"closed_at": NOW.astimezone().isoformat(), "worth": 0}
    assert counted(report(client, invoices=[same_moment]), "invoices") == (0, 1)
    (stands,) = service.lake.records("invoices")
    assert stands.closed == "paid"


def test_the_same_ids_of_another_member_are_others(client):
    said = report(client, invoices=[invoice(), invoice(member="ben")])
    assert counted(said, "invoices") == (2, 0)
    said = report(client, attempts=[attempt(), attempt(member="ben", status="approved")])
    assert counted(said, "attempts") == (2, 0)
    assert odd(said) == [0, 1, 0]


@pytest.mark.parametrize("order", list(permutations(["sent", "declined", "approved"])))
def test_whatever_the_order_every_status_is_kept_and_the_last_one_holds(client, service, order):
    oddities = [odd(report(client, attempts=[attempt(status=status)])) for status in order]
    before = [order[:place] for place in range(3)]
    places = list(STATUSES)
    assert oddities == [
        [
            0,
            int(status != "sent" and "sent" not in seen),
            int(any(places.index(other) > places.index(status) for other in seen)),
        ]
        for status, seen in zip(order, before, strict=True)
    ]
    together = report(client, attempts=[attempt(2, status=status) for status in order])
    assert odd(together) == [sum(counts) for counts in zip(*oddities, strict=True)]
    again = report(client, attempts=[attempt(status=status) for status in order])
    assert counted(again, "attempts") == (0, 3)
    assert odd(again) == [0, 0, 0]
    report(client, invoices=[invoice()])
    first, second = service.ledger.account("ann", "i1").tried
    assert first.status == second.status == "approved"


def decision(member="ann", surface="payments", name="d1"):
    return Decision(
        decision_id=name, request_id="i1/1", surface=surface, member_id=member, at=NOW,
        policy="payments@fallback", actions=["gold/1"], propensities=[1.0],
        propensity_kind="conditional", eligible="e", removed=[], segment=[0], scores=[0.0], seed=1,
        subject="i1",
    )  # fmt: skip


def test_decisions_that_a_member_never_had_are_counted(client, service):
    service.lake.put(
        [decision(), decision("ben", name="d2"), decision(surface="titles", name="d3")]
    )
    named = [attempt(n, decision_id=name) for n, name in enumerate(["d1", "d2", "d3", "d4", None])]
    said = report(client, attempts=named)
    assert counted(said, "attempts") == (5, 0)
    assert odd(said) == [3, 0, 0]
    late = report(client, attempts=[attempt(0, "declined")])
    assert odd(late) == [0, 0, 0]
    row = service.lake.scan("attempts").filter(pl.col("status") == "declined").collect()
    assert row["decision_id"].to_list() == ["d1"]


def test_a_decision_of_the_api_is_known(client):
    report(client, invoices=[invoice()], instruments=[instrument()], processors=[processor()])
    asked = {"request_id": "r", "member_id": "ann", "subject": "i1", "features": {"step": "route"}}
    decided = client.post("/v1/decide/payments", json=asked)
    assert decided.status_code == 200, decided.text
    said = decided.json()
    assert said["actions"] == ["gold/1"]
    told = report(client, attempts=[attempt(decision_id=said["decision_id"])])
    assert odd(told) == [0, 0, 0]
    flying = client.post("/v1/decide/payments", json={**asked, "request_id": "r2"}).json()
    assert flying["actions"] == []


def test_a_report_that_contradicts_what_was_sent_is_refused(client, service):
    report(client, attempts=[attempt()])
    changed = [{"amount": 1}, {"currency": "USD"}, {"invoice_id": "i2"}, {"processor": "moon"}]
    told = [attempt(status="approved", **change) for change in changed]
    answer = client.post("/v1/payments", json={"attempts": told})
    assert answer.status_code == 422
    assert [one["row"] for one in answer.json()["errors"]] == [0, 1, 2, 3]
    assert all("another" in one["reason"] for one in answer.json()["errors"])
    assert service.lake.scan("attempts").collect()["status"].to_list() == ["sent"]


def test_attempts_have_their_reason_by_the_mapping(client, service):
    report(client, attempts=[attempt(), attempt(status="declined", code="51", fee=12)])
    row = service.lake.scan("attempts").filter(pl.col("status") == "declined").collect()
    assert (row["code"][0], row["reason"][0], row["fee"][0]) == ("51", "insufficient_funds", 12)
    assert row["mapping"][0]


def test_what_other_processes_and_imports_bring_is_known(client, service):
    other = report(client, attempts=[attempt(7, "declined")])
    assert odd(other) == [0, 1, 0]
    with Service.open(service.folder) as beside:
        beside.lake.put([Processor(**processor()), decision()])
        frame = frame_of_records([Invoice(**_typed(invoice()))], SCHEMAS["invoices"], NOW)
        assert beside.lake.append("invoices", frame, source="test").rows == 1
    said = report(client, processors=[processor()], attempts=[attempt(8, decision_id="d1")])
    assert counted(said, "processors") == (0, 1)
    assert odd(said) == [0, 0, 0]
    ledger = client.api.runtime.service.ledger
    assert eventually(lambda: ledger.account("ann", "i1") is not None)
    assert counted(report(client, invoices=[invoice()]), "invoices") == (0, 1)


def _typed(row):
    times = {name: datetime.fromisoformat(row[name]) for name in ("due_at", "grace_until")}
    return {**row, **times}


def test_a_server_that_starts_knows_what_stands(client, client_of, service):
    service.lake.put([decision()])
    report(client, attempts=[attempt()], invoices=[invoice()])
    service.lake.seal()
    anew = client_of(service)
    said = report(anew, attempts=[attempt(1, "declined", decision_id="d1")], invoices=[invoice()])
    assert odd(said) == [0, 0, 0]
    assert counted(said, "invoices") == (0, 1)


def test_a_forgotten_member_leaves_nothing(client, service):
    tables = {
        table: [row(), row(member="ben")] for table, row in ROWS.items() if SCHEMAS[table].bucketed
    }
    report(client, **tables)
    service.lake.seal()
    report(client, attempts=[attempt(status="declined"), attempt(status="lost")])
    removed = forgetting.forget(service, "ann")
    assert {table: removed[table] for table in tables} == {
        "invoices": 1, "instruments": 1, "attempts": 2, "settlements": 1,
    }  # fmt: skip
    for table in tables:
        assert set(service.lake.scan(table).collect()["member_id"]) == {"ben"}
    ledger = client.api.runtime.service.ledger
    assert eventually(lambda: not ledger.reports("ann", "a1"))
    said = report(client, attempts=[attempt(status="approved")])
    assert odd(said) == [0, 1, 0]


@pytest.mark.parametrize("number", [FOUR, "4111-1111-1111-1111", "４" + "１" * 15])
def test_the_number_of_a_card_enters_no_field_and_is_never_told(client, service, number):
    for table, row in ROWS.items():
        for name, dtype in SCHEMAS[table].columns.items():
            if dtype in (pl.String, pl.List(pl.String)):
                value = [number] if isinstance(dtype, pl.List) else number
                answer = client.post("/v1/payments", json={table: [row(**{name: value})]})
                assert answer.status_code == 422
                assert name in answer.text
                assert number not in answer.text
        assert service.lake.scan(table).collect().is_empty()


def test_the_number_of_a_card_is_masked_wherever_a_request_is_quoted(client):
    for body in (
        {FOUR: []},
        {"attempts": [{FOUR: 1}]},
        {"attempts": [attempt(status=FOUR)]},
        {"attempts": [attempt(amount=int(FOUR))]},
        {"attempts": FOUR},
    ):
        answer = client.post("/v1/payments", json=body)
        assert answer.status_code == 422
        assert FOUR not in answer.text
    asked = {"request_id": "r", "member_id": "ann", "subject": "i1", "features": {"step": "route"}}
    report(client, invoices=[invoice()], instruments=[instrument()], processors=[processor()])
    for change in (
        {"request_id": FOUR},
        {"member_id": FOUR},
        {"subject": FOUR},
        {"features": {"step": "route", "note": [{"pan": int(FOUR)}]}},
        {"features": {"step": "route", FOUR: 1}},
        {FOUR: 1},
    ):
        answer = client.post("/v1/decide/payments", json={**asked, **change})
        assert answer.status_code == 422, answer.text
        assert FOUR not in answer.text
    assert client.post(f"/v1/decide/{FOUR}", json=asked).status_code == 404
    assert FOUR not in client.post(f"/v1/decide/{FOUR}", json=asked).text
    refused = client.post("/v1/events", json={"events": [{"kind": FOUR}, {FOUR: 1}]})
    assert FOUR not in refused.text
    assert FOUR not in client.get("/metrics").text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'{"attempts": 1}',
        b'{"attempts": null}',
        b'{"attempts": [1',
        b'{"rules": []}',
        b'{"attempts": [], "x": 1}',
        b'{"attempts": [NaN]}',
        b'{"attempts": ["\xff"]}',
        b'{"attempts": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}",
        b'{"' + b"x" * 10**6 + b'": []}',
    ],
)
def test_bodies_that_are_no_report(client, raw):
    answer = client.post("/v1/payments", content=raw)
    assert answer.status_code == 422, answer.text
    assert "matinee/" not in answer.text
    assert len(answer.content) < 5_000


@pytest.mark.parametrize(
    ("table", "field", "values"),
    [
        ("attempts", "amount", ["NaN", "Infinity", "1e400", "9" * 400, "-1", "0", "1.5", '"1"']),
        ("invoices", "worth", ["NaN", "1e400", "9" * 20, "-" + "9" * 20, "true"]),
        ("processors", "fee_share", ["NaN", "Infinity", "1e400", "1.0000001", "-0.1"]),
        ("attempts", "attempt_id", ['""', '"' + "x" * 201 + '"', "null", "1", r'"\ud800"']),
        ("attempts", "at", ['"1969-01-01T00:00:00Z"', '"now"', "0", "1e9", '"2026-01-01"']),
        ("invoices", "instruments", ["[1]", '"c1"', '[""]', '["' + "x" * 201 + '"]', "[null]"]),
    ],
)
def test_values_that_cannot_be(client, service, table, field, values):
    for value in values:
        row = json.dumps({**ROWS[table](), field: 0}).replace(
            f'"{field}": 0', f'"{field}": {value}'
        )
        answer = client.post("/v1/payments", content=f'{{"{table}": [{row}]}}'.encode())
        assert answer.status_code == 422, (value, answer.text)
    assert service.lake.scan(table).collect().is_empty()


def test_strange_ids_come_back_byte_for_byte(client, service):
    names = ["'\"", "a/../b", "🎬", "\n", "\x00", "x;DROP TABLE y", "\u202e", " "]
    rows = [attempt(member=name, attempt_id=name) for name in names]
    assert counted(report(client, attempts=rows), "attempts") == (len(names), 0)
    assert set(service.lake.scan("attempts").collect()["attempt_id"]) == set(names)
    assert counted(report(client, attempts=rows), "attempts") == (0, len(names))


def test_a_report_has_a_limit_over_all_tables(service, client_of):
    client = client_of(service, max_batch=3)
    assert report(client, invoices=[invoice(1), invoice(2)], attempts=[attempt()])["errors"] == []
    rows = {"invoices": [invoice(3), invoice(4)], "attempts": [attempt(3), attempt(4)]}
    answer = client.post("/v1/payments", json=rows)
    assert answer.status_code == 422
    assert "smaller" in answer.json()["next"]
    assert service.lake.scan("invoices").collect().height == 2


def test_a_million_rows_are_turned_away(client, service):
    body = b'{"attempts": [' + b",".join([b"{}"] * 10**6) + b"]}"
    assert client.post("/v1/payments", content=body).status_code == 422
    body = b'{"attempts": [' + b",".join([json.dumps(attempt()).encode()] * 50_000) + b"]}"
    assert client.post("/v1/payments", content=body).status_code == 413
    assert service.lake.scan("attempts").collect().is_empty()


def test_a_token_is_needed_here_too(service, client_of):
    client = client_of(service, tokens=["secret"])
    body = {"attempts": [attempt()]}
    assert client.post("/v1/payments", json=body).status_code == 401
    headers = {"authorization": "Bearer secret"}
    assert client.post("/v1/payments", json=body, headers=headers).status_code == 200
    assert client.get("/v1/payments", headers=headers).status_code == 405


def test_reports_are_metrics(client):
    report(
        client,
        attempts=[attempt(1, "approved"), attempt(1, "sent"), attempt(1, "sent"), {}],
        invoices=[invoice()],
    )
    families = {
        family.name: family
        for family in text_string_to_metric_families(client.get("/metrics").text)
    }
    rows = {
        (one.labels["table"], one.labels["fate"]): one.value
        for one in families["matinee_payment_rows"].samples
        if one.name.endswith("_total")
    }
    assert rows["attempts", "accepted"] == 2
    assert rows["attempts", "duplicate"] == rows["attempts", "refused"] == 1
    assert rows["invoices", "accepted"] == 1
    assert {table for table, _ in rows} == set(ROWS)
    why = {
        one.labels["why"]: one.value
        for one in families["matinee_odd_attempts"].samples
        if one.name.endswith("_total")
    }
    assert why == {"unknown_decision": 0, "unknown_attempt": 1, "out_of_order": 1}
