import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from matinee.api.guard import Guard, Limits, Metrics
from matinee.registry import Person
from matinee.service.visitors import Visitor

JSON_BODY = {"request_id": "r", "member_id": "m"}


class Everybody:
    """Whoever asks is let in."""

    def visitor(self, scope):
        return Visitor(Person("somebody", "approver"))

    def configured(self):
        return False

    def foreign(self, scope):
        return False


def guarded(app, **limits):
    return Guard(app, Limits(**limits), Metrics(), Everybody())


async def answer(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(guard, *requests):
    """Requests at once; their answers."""

    async def run():
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(client.request(**request) for request in requests))

    return asyncio.run(run())


def test_too_many_at_once_are_told_to_come_back():
    async def slow(scope, receive, send):
        await asyncio.sleep(0.2)
        await answer(send)

    guard = guarded(slow, max_waiting=2)
    request = {"method": "GET", "url": "/x"}
    answers = ask(guard, *[request] * 5, {"method": "GET", "url": "/healthz"})
    assert sorted(a.status_code for a in answers) == [200, 200, 200, 429, 429, 429]
    refused = [a for a in answers if a.status_code == 429]
    assert {a.headers["retry-after"] for a in refused} == {"1"}
    assert guard.waiting == 0


def test_the_kill_switch_has_a_place_of_its_own():
    async def slow(scope, receive, send):
        await asyncio.sleep(0.2)
        await answer(send)

    guard = guarded(slow, max_waiting=1)
    crowd = [{"method": "GET", "url": "/x"}] * 3
    answers = ask(guard, *crowd, {"method": "POST", "url": "/desk/change"})
    assert [one.status_code for one in answers] == [200, 429, 429, 200]


@pytest.mark.parametrize(("body_came", "status"), [(True, 504), (False, 408)])
def test_what_takes_too_long(body_came, status):
    async def forever(scope, receive, send):
        while body_came and (await receive())["more_body"]:
            pass
        await asyncio.Event().wait()

    guard = guarded(forever, timeout=0.05)
    (late,) = ask(guard, {"method": "GET", "url": "/x"})
    assert (late.status_code, late.headers["connection"]) == (status, "close")
    assert guard.waiting == 0


def test_while_shutting_down_only_health_is_answered():
    async def fine(scope, receive, send):
        await answer(send)

    guard = guarded(fine)
    guard.draining = True
    refused, health = ask(
        guard, {"method": "GET", "url": "/x"}, {"method": "GET", "url": "/healthz"}
    )
    assert (refused.status_code, health.status_code) == (503, 200)


def test_a_body_over_the_limit(service, client_of):
    client = client_of(service, max_body=2_000)

    async def pieces():
        for _ in range(100):
            yield b"x" * 1_000

    for content in (b"x" * 3_000, pieces()):
        refused = client.post("/v1/events", content=content)
        assert refused.status_code == 413
        assert "too large" in refused.json()["error"]


def test_a_token_where_one_is_set(service, client_of):
    client = client_of(service, tokens=["first", "sécond"])
    assert client.get("/healthz").status_code == 200
    for path in ("/", "/metrics", "/openapi.json", "/desk", "/nothing"):
        for given in (None, "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Basic first"):
            headers = {} if given is None else {"authorization": given}
            refused = client.get(path, headers=headers)
            assert refused.status_code == 401, (path, given)
            assert refused.headers["www-authenticate"] == "Bearer"
    for token in ("first", "sécond"):
        headers = {"authorization": f"Bearer {token}".encode(), "host": "shows.example"}
        assert client.get("/openapi.json", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "localhost.x"])
def test_names_that_anyone_may_point_here_are_refused_without_a_token(client, host):
    assert client.get("/metrics", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8", "localhost", "localhost:8765", "[::1]:80"])
def test_the_machines_own_addresses_are_answered(client, host):
    assert client.get("/openapi.json", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
def test_pages_from_elsewhere_cannot_write(client, origin):
    sent = {"origin": origin, "content-type": "text/plain"}
    assert client.post("/v1/events", json={"events": []}, headers=sent).status_code == 403
    own = {"origin": "http://127.0.0.1"}
    assert client.post("/v1/events", json={"events": []}, headers=own).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/decide/titles", 405),
        ("OPTIONS", "/v1/decide", 405),
        ("TRACE", "/", 405),
        ("HEAD", "/healthz", 200),
        ("POST", "/v1/events/", 404),
        ("GET", "/v2", 404),
        ("GET", "/static/../pages.py", 404),
        ("GET", "/static/%2e%2e/pages.py", 404),
        ("GET", "/static/..%2fpages.py", 404),
        ("GET", "/static//etc/passwd", 404),
        ("GET", "/static/%00", 404),
    ],
)
def test_methods_and_paths(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    if status == 405:
        assert answer.headers["allow"]


def test_pages_say_what_a_browser_may_do(client, member):
    for path in ("/desk/members", f"/desk/member?id={member}", "/desk/member?id=a@b"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_metrics_are_prometheus_text_and_bounded_in_labels(client, member):
    client.post("/v1/decide/titles", json={**JSON_BODY, "member_id": member})
    client.post("/v1/events", json={"events": [{}]})
    for number in range(20):
        client.get(f"/unknown/{number}")
        client.get(f"/v1/members/{number}/home")
    families = {
        family.name: family
        for family in text_string_to_metric_families(client.get("/metrics").text)
    }
    assert {
        "matinee_decisions", "matinee_events", "matinee_job_lag_seconds", "matinee_unsealed_rows",
        "matinee_members", "matinee_champion", "matinee_http_seconds",
    } <= families.keys()  # fmt: skip
    endpoints = {s.labels["endpoint"] for s in families["matinee_http_requests"].samples}
    assert endpoints == {"decide", "events", "preview_home", "none"}
    unsealed = {s.labels["table"]: s.value for s in families["matinee_unsealed_rows"].samples}
    assert unsealed["decisions"] == 1
