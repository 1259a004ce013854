import json
from datetime import datetime

import polars as pl
import pytest
from api_service import event

from matinee.lake.records import Event
from matinee.registry import Approvals
from waiting import eventually


def played(client, member):
    return client.api.runtime.members.history(member).titles


def test_good_rows_of_a_batch_are_kept_and_bad_ones_explained(client, service):
    rows = [
        event(0),
        event(1, kind="played"),
        event(2),
        event(3, ts="2091-01-01T00:00:00Z"),
        event(4, ts="2020-01-01T00:00:00"),
        event(5, value=-1),
        event(6, member="a@b.nl"),
        "not an event",
        event(7, colour="red"),
        {},
        event(0),
    ]
    answer = client.post("/v1/events", json={"events": rows})
    assert answer.status_code == 200
    said = answer.json()
    assert (said["accepted"], said["duplicates"]) == (2, 1)
    assert [error["row"] for error in said["errors"]] == [1, 3, 4, 5, 6, 7, 8, 9]
    reasons = {error["row"]: error["reason"] for error in said["errors"]}
    assert "future" in reasons[3]
    assert "timezone" in reasons[4]
    assert "colour" in reasons[8]
    stored = service.lake.scan("events").filter(pl.col("event_id").str.len_chars() == 2).collect()
    assert set(stored["event_id"]) >= {"e0", "e2"}
    assert not {"e1", "e3", "e5"} & set(stored["event_id"])


def test_a_batch_of_bad_rows_alone_is_refused(client):
    answer = client.post("/v1/events", json={"events": [{}, 1]})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 2


def test_an_empty_batch(client):
    answer = client.post("/v1/events", json={"events": []})
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)


def test_a_batch_has_a_limit(service, client_of):
    client = client_of(service, max_batch=3)
    assert client.post("/v1/events", json={"events": [event(n) for n in range(3)]}).is_success
    answer = client.post("/v1/events", json={"events": [event(n) for n in range(4)]})
    assert answer.status_code == 422
    assert "smaller" in answer.json()["next"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"events": 1}',
        b'{"events": [1',
        b'{"events": [], "x": 1}',
        b'{"events": [NaN]}',
        b'{"events": ["\xff"]}',
        b'{"events": [' + b"[" * 200_000 + b"]" * 200_000 + b"]}",
    ],
)
def test_bodies_that_are_no_batch(client, raw):
    answer = client.post("/v1/events", content=raw)
    assert answer.status_code == 422, answer.text
    assert "matinee/" not in answer.text


def test_strange_ids(client, service):
    rows = [event(n, member=id_, title=id_) for n, id_ in enumerate(["'\"", "a/../b", "🎬", "\n"])]
    assert client.post("/v1/events", json={"events": rows}).json()["accepted"] == 4
    assert {"'\"", "a/../b", "🎬", "\n"} <= set(service.lake.scan("events").collect()["title_id"])


def test_a_fresh_event_changes_the_next_decision(client, member):
    ask = {"member_id": member, "slots": 100}
    first = client.post("/v1/decide/titles", json={"request_id": "r1", **ask}).json()
    watched = first["actions"][0]
    client.post("/v1/events", json={"events": [event(0, member, watched)]})
    second = client.post("/v1/decide/titles", json={"request_id": "r2", **ask}).json()
    assert watched not in second["actions"]


def test_events_of_others_arrive_too(client, service, member):
    """Over the inbox, as another server writes, and past it, as an import does."""
    service.lake.put([Event(**_record(member, "by another process"))])
    assert eventually(lambda: "by another process" in played(client, member))
    columns = service.lake.tables["events"].schema.columns
    record = _record(member, "imported")
    frame = pl.DataFrame({"ts": [record["ts"]]}, {"ts": columns["ts"]}).with_columns(
        pl.lit(value).alias(name) for name, value in record.items() if name != "ts"
    )
    assert service.lake.append("events", frame, source="test").rows == 1
    assert eventually(lambda: "imported" in played(client, member))
    assert "by another process" in played(client, member)


def _record(member, title):
    made = event(title, member, title)
    return {**made, "ts": datetime.fromisoformat(made["ts"])}


def test_a_new_champion_swaps_in(client, service, member):
    Approvals(service.registry).override("titles", "titles@1", "test", "a new one")
    runtime = client.api.runtime
    assert eventually(lambda: runtime.champions() == {"titles": "titles@1"})
    said = client.post("/v1/decide/titles", json={"request_id": "r", "member_id": member}).json()
    assert said["policy"] == "titles@1"


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_until_it_can(client, service):
    model = next((service.folder / "models" / "titles" / "1").glob("model*"))
    model.rename(model.with_name("away"))
    Approvals(service.registry).override("titles", "titles@1", "test", "a new one")
    service.lake.put([Event(**_record("m1", "meanwhile"))])
    runtime = client.api.runtime
    assert eventually(lambda: "meanwhile" in played(client, "m1"))
    assert runtime.champions() == {"titles": "titles@2"}
    model.with_name("away").rename(model)
    assert eventually(lambda: runtime.champions() == {"titles": "titles@1"})


def test_a_large_answer_is_json(client):
    rows = [{}] * 5_000
    answer = client.post("/v1/events", content=json.dumps({"events": rows}).encode())
    assert len(answer.json()["errors"]) == 5_000
