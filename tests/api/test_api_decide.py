import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import polars as pl
import pytest
from api_service import logged

from matinee.lake.records import Title, Window
from matinee.service.folder import Service
from waiting import eventually

STRANGE = ['o\'brien "x"', "a/b/../c", "a/home", "🎬 é", "\x00", "..%2f"]


def body(member="m1", request="r1", **more):
    return {"request_id": request, "member_id": member, **more}


def test_a_decision_is_in_the_log_when_it_is_answered(client, service, member):
    answer = client.post("/v1/decide/titles", json=body(member, slots=7))
    assert answer.status_code == 200
    said = answer.json()
    assert len(said["actions"]) == len(set(said["actions"])) == len(said["propensities"]) == 7
    assert not said["duplicate"]
    row = service.lake.scan("decisions").filter(decision_id=said["decision_id"]).collect()
    assert row["actions"].to_list() == [said["actions"]]
    assert row["propensities"].to_list() == [said["propensities"]]
    stored = service.lake.scan("eligible").collect()["eligible"].to_list()
    assert row["eligible"][0] in stored


def test_the_same_request_gets_the_same_decision(client, member):
    first = client.post("/v1/decide/titles", json=body(member)).json()
    again = client.post("/v1/decide/titles", json=body(member, slots=3)).json()
    assert again == {**first, "duplicate": True}
    other = client.post("/v1/decide/titles", json=body(member, "r2")).json()
    assert other["decision_id"] != first["decision_id"]


def test_requests_at_once_get_one_decision(client, service, member):
    barrier = threading.Barrier(8)

    def ask(_):
        barrier.wait()
        return client.post("/v1/decide/titles", json=body(member)).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len({tuple(answer["actions"]) for answer in answers}) == 1
    assert sum(not answer["duplicate"] for answer in answers) == 1
    assert service.lake.scan("decisions").collect().height == 1


def test_only_new_decisions_are_counted(client, member):
    for _ in range(3):
        client.post("/v1/decide/titles", json=body(member))
    assert 'matinee_decisions_total{policy="titles@2",surface="titles"} 1.0' in (
        client.get("/metrics").text
    )


def test_a_stranger_gets_a_decision(client):
    said = client.post("/v1/decide/titles", json=body("nobody ever saw")).json()
    assert len(said["actions"]) == 20


def test_an_unknown_surface(client):
    answer = client.post("/v1/decide/prices", json=body())
    assert answer.status_code == 404
    assert "use one of: artwork, payments, titles" in answer.json()["next"]


def test_no_champion(tmp_path, client_of):
    with Service.create(tmp_path / "new") as service:
        client = client_of(service)
        for path in ("/v1/decide/titles", "/v1/decide"):
            answer = client.post(path, json=body())
            assert answer.status_code == 503
            assert "matinee promote" in answer.json()["next"]
        assert client.get("/v1/members/m1/home").status_code == 503
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_nothing_to_choose_from(service, client_of, member):
    for title in service.lake.current("titles")["title_id"]:
        service.lake.put([Window(title_id=title, country="FR")])
    said = client_of(service).post("/v1/decide/titles", json=body(member, country="NL")).json()
    assert said["actions"] == []
    assert said["reason"]
    assert service.lake.scan("decisions").collect().height == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": 101}, "slots"),
        ({"slots": "3"}, "slots"),
        ({"slots": True}, "slots"),
        ({"member_id": "a@b.nl"}, "member_id"),
        ({"member_id": ""}, "member_id"),
        ({"member_id": "m" * 201}, "member_id"),
        ({"country": "nl"}, "country"),
        ({"country": "NL\n"}, "country"),
        ({"other": 1}, "other"),
        ({"features": []}, "features"),
        ({"features": {"a": 2**70}}, ""),
    ],
)
def test_wrong_requests(client, service, wrong, says):
    answer = client.post("/v1/decide/titles", json={**body(), **wrong})
    assert answer.status_code == 422, answer.text
    assert says in answer.json()["why"]
    assert service.lake.scan("decisions").collect().height == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"request_id":"\xff","member_id":"m"}',
        b'{"request_id":"\\ud800","member_id":"m"}',
        b'{"request_id":"r","member_id":"m","features":{"a":NaN}}',
        b'{"request_id":"r","member_id":"m","features":{"a":' + b"[" * 7_000 + b"]" * 7_000 + b"}}",
        b'{"request_id":"r","member_id":"m","features":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
    ],
)
@pytest.mark.parametrize("path", ["/v1/decide", "/v1/decide/titles"])
def test_bodies_that_are_no_request(client, raw, path):
    answer = client.post(path, content=raw)
    assert answer.status_code in {200, 422}, answer.text
    assert (answer.status_code == 200) == (b"[" * 900 in raw and b"[" * 901 not in raw)


def test_features_have_a_limit(client):
    answer = client.post("/v1/decide/titles", json=body(features={"a": "x" * 20_000}))
    assert answer.status_code == 413


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_ids_in_a_body_and_in_a_path(client, service, strange):
    said = client.post("/v1/decide/titles", json=body(strange, strange)).json()
    assert (said["member_id"], said["request_id"]) == (strange, strange)
    assert service.lake.scan("decisions").collect()["member_id"].to_list() == [strange]
    page = client.get(f"/v1/members/{quote(strange, safe='')}/home").json()
    assert page["member_id"] == strange


def test_a_home_page_shows_no_title_twice_and_logs_every_row(client, service, member):
    page = client.post("/v1/decide", json=body(member, slots=10)).json()
    assert not page["preview"]
    shown = [title["title_id"] for row in page["rows"] for title in row["titles"]]
    assert len(page["rows"]) > 2
    assert len(shown) == len(set(shown))
    rows = service.lake.scan("decisions").filter(pl.col("actions").list.len() > 0).collect()
    by_id = dict(rows.select("decision_id", "actions").iter_rows())
    assert by_id == {
        row["decision_id"]: [title["title_id"] for title in row["titles"]] for row in page["rows"]
    }
    stored = set(service.lake.scan("eligible").collect()["eligible"])
    assert set(rows["eligible"]) <= stored
    assert client.post("/v1/decide", json=body(member, slots=4)).json() == page


def test_a_preview_is_marked_and_logs_nothing(client, service, member):
    page = client.get(f"/v1/members/{member}/home?policy=titles@1&slots=5").json()
    assert page["preview"]
    assert {row["policy"] for row in page["rows"]} == {"titles@1"}
    assert all(row["decision_id"] is None for row in page["rows"])
    assert all(len(row["titles"]) <= 5 for row in page["rows"])
    client.get("/desk/member", params={"id": member})
    assert service.lake.scan("decisions").collect().height == 0
    assert service.lake.scan("eligible").collect().height == 0


@pytest.mark.parametrize(
    "query",
    ["member_id=m2", "request_id=x", "slots=0", "slots=x", "policy=titles@99", "policy=x'--",
     "policy=../../etc@1", "country=xx", "policy=payments@1", "x=1&" * 5_000],
)  # fmt: skip
def test_what_a_preview_refuses(client, member, query):
    assert client.get(f"/v1/members/{member}/home?{query}").status_code == 422


def test_a_title_that_arrives_over_the_inbox_can_be_chosen(client, service):
    service.lake.put([Title(title_id="brand new", name="New")])
    assert eventually(
        lambda: "brand new" in client.api.runtime.champion("titles").surface.catalogue
    )
    assert logged(service.folder, "titles").filter(title_id="brand new").height == 1
