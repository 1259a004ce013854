"""Who comes in, what they may do, and what nobody can make another's browser do."""

import html
import re
from urllib.parse import urlencode

import pytest

from matinee.api.access import Access
from matinee.registry import Approvals, Person, against_champion
from matinee.service.changes import Change, change
from matinee.service.visitors import LASTS, Sessions, Visitor

FORM = {"content-type": "application/x-www-form-urlencoded"}
HTML = {"accept": "text/html,*/*"}
APPROVE = {"action": "roll_back", "about": "titles", "reason": "it is worse"}


@pytest.fixture
def granted(service):
    """Grant roles; the header of each one's token."""

    def make(name: str, role: str) -> dict[str, str]:
        token = service.people.grant(name, role, by="root", reason="a test")
        return {"authorization": f"Bearer {token}"}

    return make


def another_reigns(service) -> str:
    """Put another version in the champion's place; the one that was before."""
    before = service.registry.alias("titles", "champion").id
    (other, *_) = (one.id for one in service.registry.versions("titles") if one.id != before)
    Approvals(service.registry).override("titles", other, by="root", reason="a test")
    return before


def form(client, url, fields, **headers):
    return client.post(url, content=urlencode(fields), headers={**FORM, **headers})


def signed_in(client, service, role="approver", name="ann"):
    """The cookie of somebody who signed in with a token."""
    token = service.people.grant(name, role, by="root", reason="a test")
    answer = form(client, "/sign-in", {"token": token, "next": "/desk/changes"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/changes")
    return answer.headers["set-cookie"]


def proof_in(page) -> str:
    return re.search(r'name="proof" value="([^"]+)"', page.text)[1]


def test_each_role_may_do_what_those_before_it_may(service, client_of, granted, member):
    client = client_of(service)
    ask = {"request_id": "r", "member_id": member}
    for role, decides, changes in (
        ("viewer", 403, 403),
        ("operator", 200, 403),
        ("approver", 200, 200),
    ):
        headers = granted(role, role)
        assert client.get("/v1/desk/changes", headers=headers).status_code == 200
        asked = client.post("/v1/decide/titles", json=ask, headers=headers)
        assert asked.status_code == decides, asked.text
        reigned = another_reigns(service)
        changed = client.post("/v1/desk/change", json=APPROVE, headers=headers)
        assert changed.status_code == changes, changed.text
        if changes == 403:
            assert f"theirs is {role}" in changed.json()["why"]
            service.registry.roll_back("titles", by="root", reason="as before")
    assert service.registry.alias("titles", "champion").id == reigned
    last = service.registry.history("titles")[-1]
    assert (last.by, last.action, last.reason) == ("approver", "roll_back", "it is worse")


def test_a_token_ends_with_its_grant(service, client_of, granted):
    client = client_of(service)
    first, second = granted("ann", "viewer"), granted("ann", "viewer")
    assert client.get("/v1/desk/changes", headers=first).status_code == 401
    assert client.get("/v1/desk/changes", headers=second).status_code == 200
    service.people.revoke("ann", by="root", reason="left")
    assert client.get("/v1/desk/changes", headers=second).status_code == 401
    assert client.get("/v1/desk/changes").status_code == 401  # nobody is let in by that


def test_nobody_else_comes_in_once_somebody_has_a_token(service, client_of, granted):
    client = client_of(service)
    assert client.get("/v1/desk/changes").status_code == 200
    granted("ann", "viewer")
    service.people.grant("proxied", "viewer", by="root", reason="a test", token=False)
    for headers in (
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer mat_guess"},
        {"cookie": "matinee_session=x.9999999999.y"},
        {"cookie": "matinee_session=\xff".encode("latin-1")},
        {"x-forwarded-user": "ann"},
    ):
        assert client.get("/v1/desk/changes", headers=headers).status_code == 401, headers


def test_a_browser_is_shown_where_to_sign_in_and_goes_on_from_there(service, client_of, granted):
    granted("ann", "viewer")
    client = client_of(service)
    sent = client.get("/desk/log?member=a%26b", headers=HTML)
    assert sent.status_code == 303
    assert sent.headers["location"] == "/sign-in?next=%2Fdesk%2Flog%3Fmember%3Da%2526b"
    page = client.get(sent.headers["location"], headers=HTML)
    assert page.status_code == 200
    assert 'name="next" value="/desk/log?member=a%26b"' in page.text
    assert client.get("/static/matinee.css").status_code == 200


def test_a_browser_is_told_on_a_page_what_was_not_done(service, client_of, granted):
    client = client_of(service)
    viewer = {"cookie": signed_in(client, service, "viewer", "bob").partition(";")[0]}
    mine = {"cookie": signed_in(client, service).partition(";")[0]}
    nobody = {"cookie": "matinee_session="}
    old = {**APPROVE, "proof": "1.x"}
    for answer, status, said in (
        (
            form(client, "/desk/change", old, **HTML, **nobody),
            401,
            '<a href="/sign-in">Sign in</a>',
        ),
        (form(client, "/desk/change", old, **HTML, **viewer), 403, "bob may not do this"),
        (form(client, "/desk/change", old, **HTML, **mine), 403, "the form is too old"),
        (client.get("/desk/nope", headers={**HTML, **mine}), 404, "Not Found"),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert said in answer.text
        assert "openapi" not in answer.text
        assert answer.text.count("<h1>") == 1
    assert client.get("/v1/desk/nope", headers={**HTML, **mine}).json()["error"] == "Not Found"
    assert client.get("/desk/nope", headers=mine).json()["error"] == "Not Found"


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(service, client_of):
    client = client_of(service)
    cookie = signed_in(client, service)
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # over plain HTTP on this machine it would not be kept
    headers = {"cookie": cookie.partition(";")[0]}
    page = client.get("/desk/changes", headers={**headers, **HTML})
    assert page.status_code == 200
    assert "sign in" in page.text
    assert "ann, approver" in page.text
    assert form(client, "/sign-in", {"token": "wrong"}).status_code == 401
    gone = client.post("/sign-out", headers=headers)
    assert 'matinee_session=""' in gone.headers["set-cookie"]


def test_a_cookie_ends_with_the_token_it_was_given_for(service, client_of, granted):
    client = client_of(service)
    headers = {"cookie": signed_in(client, service).partition(";")[0]}
    assert client.get("/v1/desk/changes", headers=headers).status_code == 200
    granted("ann", "approver")
    assert client.get("/v1/desk/changes", headers=headers).status_code == 401


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_leads_nowhere_else(service, client_of, address):
    client = client_of(service)
    token = service.people.grant("ann", "viewer", by="root", reason="a test")
    answer = form(client, "/sign-in", {"token": token, "next": address})
    assert answer.headers["location"] == "/desk"


def test_a_change_needs_a_form_of_ours_made_for_who_sends_it(service, client_of):
    client = client_of(service)
    another_reigns(service)
    mine = {"cookie": signed_in(client, service).partition(";")[0]}
    other = {"cookie": signed_in(client, service, name="bob").partition(";")[0]}
    proof = proof_in(client.get("/desk/change?action=roll_back&about=titles", headers=mine))
    for fields, headers, status in (
        (APPROVE, mine, 403),
        ({**APPROVE, "proof": "1.x"}, mine, 403),
        ({**APPROVE, "proof": "\u0661.x"}, mine, 403),
        ({**APPROVE, "proof": proof}, other, 403),
        ({**APPROVE, "proof": proof}, {**mine, "origin": "http://evil.example"}, 403),
        ({**APPROVE, "proof": proof}, {**mine, "origin": "null"}, 403),
        ({**APPROVE, "proof": proof}, {**mine, "sec-fetch-site": "cross-site"}, 403),
        ({**APPROVE, "proof": proof}, {"cookie": "matinee_session="}, 401),
        ({**APPROVE, "reason": "  ", "proof": proof}, mine, 409),
        ({**APPROVE, "reason": "x" * 1_001, "proof": proof}, mine, 409),
        ({**APPROVE, "about": "../x", "proof": proof}, mine, 404),
        ({**APPROVE, "action": "override", "proof": proof}, mine, 404),
        ({**APPROVE, "padding": "x" * 40_000, "proof": proof}, mine, 413),
    ):
        refused = form(client, "/desk/change", fields, **headers)
        assert refused.status_code == status, (fields, refused.text)
    assert service.registry.history("titles")[-1].action == "override"
    done = form(client, "/desk/change", {**APPROVE, "proof": proof}, **mine)
    assert (done.status_code, done.headers["location"]) == (
        303,
        "/desk/surface?name=titles&done=roll_back",
    )
    last = service.registry.history("titles")[-1]
    assert (last.by, last.action, last.reason) == ("ann", "roll_back", "it is worse")


def test_what_cannot_be_done_keeps_the_reason_that_was_typed(service, client_of):
    client = client_of(service)
    asked = {"action": "approve", "about": "titles@1", "reason": '"<b>why</b>'}
    page = client.get("/desk/change?action=approve&about=titles@1")
    refused = form(client, "/desk/change", {**asked, "proof": proof_in(page)})
    assert refused.status_code == 409
    assert "cannot be approved" in refused.text
    assert "&#34;&lt;b&gt;why&lt;/b&gt;</textarea>" in refused.text


def test_what_cannot_be_started_keeps_the_share_that_was_typed(service, client_of):
    client = client_of(service)
    about = service.registry.versions("titles")[0].id
    page = client.get(f"/desk/change?action=start&about={about}")
    assert 'name="share" type="number" min="0.01" max="0.99" step="0.01" value="0.5"' in page.text
    asked = {"action": "start", "about": about, "share": "0.1", "reason": "  "}
    refused = form(client, "/desk/change", {**asked, "proof": proof_in(page)})
    assert refused.status_code == 409
    assert 'step="0.01" value="0.1"' in refused.text


def test_programs_send_changes_as_json_that_no_form_can_send(service, client_of, granted):
    headers = granted("ann", "approver")
    client = client_of(service)
    text = {**headers, "content-type": "text/plain"}
    refused = client.post("/v1/desk/change", content='{"action": "stop"}', headers=text)
    assert refused.status_code == 415
    for body, status in (
        ({"action": "stop", "about": "titles", "reason": "x"}, 422),  # nothing runs
        ({"action": "stop", "about": "nowhere", "reason": "x"}, 422),
        ({"action": "stop", "about": "titles", "reason": " "}, 422),
        ({"action": "explode", "about": "titles", "reason": "x"}, 422),
        ({"action": "start", "about": "titles@1", "reason": "x", "share": 0.25}, 200),
        ({"action": "stop", "about": "titles", "reason": "complaints"}, 200),
        ({"action": "end", "about": "titles-1", "reason": "no use"}, 200),
    ):
        answer = client.post("/v1/desk/change", json=body, headers=headers)
        assert answer.status_code == status, answer.text
    trail = client.get("/v1/desk/changes?about=titles-1", headers=headers).json()
    assert [(line["action"], line["by"], line["reason"]) for line in trail] == [
        ("end", "ann", "no use"),
        ("halt", "ann", "complaints"),
        ("start", "ann", "x"),
    ]


def behind_a_proxy(service, role="viewer"):
    path = service.folder / "matinee.toml"
    told = f'\n[access]\nheader = "X-Forwarded-User"\nrole = "{role}"\n'
    path.write_text(path.read_text().replace("\n[access]\n", told, 1), encoding="utf-8")
    service.__dict__.pop("settings", None)


def test_a_proxy_names_people(service, client_of):
    behind_a_proxy(service)
    service.people.grant("ann", "approver", by="root", reason="runs ML", token=False)
    client = client_of(service)
    assert client.get("/desk/changes").status_code == 401
    for name, role in (("ann", "approver"), ("bob", "viewer")):
        page = client.get("/desk/changes", headers={"x-forwarded-user": name})
        assert f"{name}, {role}" in page.text
    for name in ("", " ", "x" * 201, "a\tb"):
        assert client.get("/desk/changes", headers={"x-forwarded-user": name}).status_code == 401


def test_nobody_is_named_twice(service, client_of):
    behind_a_proxy(service)
    client = client_of(service)
    twice = [("x-forwarded-user", "eve"), ("x-forwarded-user", "ann")]
    assert client.get("/v1/desk/changes", headers=twice).status_code == 401
    assert client.get("/v1/desk/changes", headers=twice[1:]).status_code == 200


def test_the_proxy_is_believed_under_the_names_of_the_service_alone(service, client_of):
    behind_a_proxy(service)
    path = service.folder / "matinee.toml"
    told = path.read_text().replace("[access]", '[access]\nhosts = ["desk.example"]', 1)
    path.write_text(told, encoding="utf-8")
    service.__dict__.pop("settings", None)
    client = client_of(service)
    for host, status in (
        ("desk.example", 200),
        ("Desk.example:443", 200),
        ("evil.example", 401),
        ("desk.example.evil.example", 401),
        ("evil@desk.example", 401),
    ):
        headers = {"x-forwarded-user": "ann", "host": host}
        assert client.get("/v1/desk/changes", headers=headers).status_code == status, host


@pytest.mark.parametrize("told", ["Desk.Example", "desk.example:443"])
def test_a_name_of_the_service_may_be_written_as_a_browser_shows_it(service, client_of, told):
    behind_a_proxy(service)
    path = service.folder / "matinee.toml"
    text = path.read_text().replace("[access]", f'[access]\nhosts = ["{told}"]', 1)
    path.write_text(text, encoding="utf-8")
    service.__dict__.pop("settings", None)
    client = client_of(service)
    for host, status in (("desk.example", 200), ("desk.example:443", 200), ("", 401)):
        headers = {"x-forwarded-user": "ann", "host": host}
        assert client.get("/v1/desk/changes", headers=headers).status_code == status, host


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "[::1]evil.example", "127.0.0.1:80@evil", ""]
)
def test_no_name_that_somebody_pointed_here_is_this_machine(service, client_of, host):
    client = client_of(service)
    assert client.get("/v1/desk/changes", headers={"host": host}).status_code == 403
    assert client.get("/v1/desk/changes", headers={"host": "[::1]:8765"}).status_code == 200


def test_only_the_proxy_is_believed(service, client_of):
    behind_a_proxy(service)
    path = service.folder / "matinee.toml"
    path.write_text(path.read_text().replace("[access]", '[access]\nproxies = ["10.0.0.1"]', 1))
    service.__dict__.pop("settings", None)
    client = client_of(service)
    assert client.get("/desk/changes", headers={"x-forwarded-user": "ann"}).status_code == 401


def test_cookies_and_proofs_end_after_their_time():
    sessions, other = Sessions(b"one secret"), Sessions(b"another")
    cookie = sessions.cookie("a" * 64, now=1_000)
    assert sessions.opened(cookie, now=1_000 + LASTS - 1) == "a" * 32
    assert sessions.opened(cookie, now=1_000 + LASTS) is None
    assert other.opened(cookie, now=1_000) is None
    assert sessions.opened(cookie.replace("a", "b", 1), now=1_000) is None
    ann, bob = Visitor(Person("ann", "viewer")), Visitor(Person("bob", "viewer"))
    proof = sessions.proof(ann, now=1_000)
    assert sessions.proves(proof, ann, now=1_000 + LASTS - 1)
    assert not sessions.proves(proof, ann, now=1_000 + LASTS)
    assert not sessions.proves(proof, bob, now=1_000)
    assert not sessions.proves(proof, Visitor(ann.person, session="another"), now=1_000)
    for guess in ("", ".", "1000.", f"{10**13}.x", "-5.x", proof + "x"):
        assert not sessions.proves(guess, ann, now=1_000)


@pytest.mark.parametrize("path", ["/v1/desk/change", "/v1/desk/change%0A", "/desk/change"])
def test_an_operator_changes_nothing_by_any_spelling(service, client_of, granted, path):
    another_reigns(service)
    client = client_of(service, tokens=["secret"])
    for headers in (granted("bob", "operator"), {"authorization": "Bearer secret"}):
        assert client.post(path, json=APPROVE, headers=headers).status_code in {403, 404}
    assert service.registry.history("titles")[-1].action == "override"


def test_of_two_who_roll_back_what_they_saw_the_second_is_told(service, client_of):
    another_reigns(service)
    Approvals(service.registry).override("titles", "titles@2", by="root", reason="a third reign")
    client = client_of(service)
    page = client.get("/desk/change?action=roll_back&about=titles").text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    sent = [form(client, "/desk/change", {**fields, "reason": "worse"}) for _ in range(2)]
    assert [answer.status_code for answer in sent] == [303, 409]
    assert "somebody was quicker" in sent[1].text
    assert [one.action for one in service.registry.history("titles")].count("roll_back") == 1


def test_who_resumes_what_was_halted_anew_meanwhile_is_told(service, client_of):
    other = another_reigns(service)
    service.trials.start(against_champion("left", "titles", other), "ann", "a look")
    service.trials.halt("left", "ann", 'complaints of "many"\nmembers')
    client = client_of(service)
    page = client.get("/desk/change?action=resume&about=left").text
    assert "<p>complaints of" in page
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
    fields = {name: html.unescape(value) for name, value in found}
    service.trials.halt("left", "matinee", "takes fell")
    late = form(client, "/desk/change", {**fields, "reason": "it was not us"})
    assert late.status_code == 409
    assert "halted for another reason by now: takes fell" in late.text
    service.trials.halt("left", "ann", 'complaints of "many"\nmembers')
    assert form(client, "/desk/change", {**fields, "reason": "not us"}).status_code == 303
    assert service.trials.get("left").halted is None


def test_what_was_halted_with_many_words_is_resumed_with_as_many(service, client_of):
    service.trials.start(against_champion("left", "titles", another_reigns(service)), "ann", "")
    client = client_of(service)
    for action in ("halt", "resume"):
        page = client.get(f"/desk/change?action={action}&about=left").text
        found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
        fields = {name: html.unescape(value) for name, value in found}
        answer = form(client, "/desk/change", {**fields, "reason": "😀" * 1_000})
        assert answer.status_code == 303, action
    assert service.trials.get("left").halted is None


def test_the_page_of_a_change_says_what_stands_after_it_and_claims_nothing_else(service, client_of):
    client = client_of(service)
    before = another_reigns(service)
    now = service.registry.alias("titles", "champion").id

    def said(action, about):
        page = client.get(f"/desk/change?action={action}&about={about}").text
        return " ".join(re.sub("<[^>]+>", " ", page.partition("<main")[2]).split())

    assert f"Champion now {now} Champion then {before}" in said("roll_back", "titles")
    assert "It halts nothing: none runs" in said("stop", "titles")
    service.trials.start(against_champion("fresh", "titles", before), "ann", "a look")
    assert "It halts fresh" in said("stop", "titles")
    service.trials.read("fresh", "open", "ann", champion=now, reasons=["nothing shown yet"])
    won = said("win", "fresh")
    assert f"Champion then {before}" in won
    assert "What is on record open nothing shown yet" in won
    assert "Its treatment was shown to be better" not in won
    assert "It passed the gate" not in said("approve", before)


def test_only_what_was_done_is_said_to_be_done(service, client_of):
    service.trials.start(against_champion("fresh", "titles", another_reigns(service)), "ann", "")
    client = client_of(service)
    forged = "/desk/surface?name=titles&done=stop"
    assert "Done: halt all experiments" not in client.get(forged).text
    page = client.get("/desk/change?action=stop&about=titles")
    fields = {"action": "stop", "about": "titles", "reason": "complaints", "proof": proof_in(page)}
    answer = form(client, "/desk/change", fields)
    assert "Done: halt all experiments" in client.get(answer.headers["location"]).text
    assert "Done: roll back" not in client.get("/desk/surface?name=titles&done=roll_back").text


def test_the_kill_switch_halts_the_others_where_one_ended_meanwhile(service, monkeypatch):
    other = another_reigns(service)
    for name, part in (("left", (0.0, 0.5)), ("right", (0.5, 1.0))):
        service.trials.start(against_champion(name, "titles", other, to=part), "ann", "a look")
    halt = service.trials.halt

    def late(name, by, reason):
        if name == "left":
            service.trials.end(name, "bob", "enough")
        halt(name, by, reason)

    monkeypatch.setattr(service.trials, "halt", late)
    change(service, Change(action="stop", about="titles", reason="complaints"), "ann")
    assert service.trials.get("right").halted == "complaints"


def test_whoever_is_revoked_stays_out_whatever_the_proxy_says(service, client_of):
    behind_a_proxy(service, role="operator")
    service.people.revoke("eve", by="root", reason="left", named=True)
    client = client_of(service)
    assert client.get("/desk/changes", headers={"x-forwarded-user": "eve"}).status_code == 401
    assert client.get("/desk/changes", headers={"x-forwarded-user": "bob"}).status_code == 200


@pytest.mark.parametrize("origin", ["null", "file://", "http://evil.example"])
def test_pages_from_elsewhere_send_nothing_through_a_proxy(service, client_of, origin):
    behind_a_proxy(service, role="operator")
    client = client_of(service)
    headers = {"x-forwarded-user": "bob", "origin": origin}
    assert client.post("/v1/events", json={"events": []}, headers=headers).status_code == 403
    headers["origin"] = "http://127.0.0.1"
    assert client.post("/v1/events", json={"events": []}, headers=headers).status_code == 200


def test_a_proxy_may_pass_on_how_somebody_signed_in_there(service, client_of):
    behind_a_proxy(service)
    headers = {"x-forwarded-user": "bob", "authorization": "Basic Ym9iOnNlY3JldA=="}
    assert client_of(service).get("/desk/changes", headers=headers).status_code == 200


def test_over_tls_the_cookie_goes_nowhere_else(service, client_of):
    token = service.people.grant("ann", "viewer", by="root", reason="a test")
    client = client_of(service)
    answer = form(client, "/sign-in", {"token": token}, **{"x-forwarded-proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_viewer_may_sign_out(service, client_of):
    client = client_of(service)
    headers = {"cookie": signed_in(client, service, role="viewer").partition(";")[0]}
    assert client.post("/sign-out", headers=headers).status_code == 303


def test_nothing_of_the_desk_is_kept_by_caches_or_read_by_other_sites(service, client_of, member):
    client = client_of(service)
    home, of_member = f"/v1/members/{member}/home", f"/v1/desk/member?id={member}"
    for path in ("/desk/changes", "/v1/desk/changes", of_member, home):
        headers = client.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
        assert client.get(path, headers=elsewhere).status_code == 403
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert client.get(path, headers=link).status_code == 200


def test_a_change_is_sent_as_a_form(service, client_of):
    client = client_of(service)
    assert client.post("/desk/change", json=APPROVE).status_code == 415


def test_strangers_are_few_and_say_little(service, client_of, granted):
    granted("ann", "viewer")
    client = client_of(service)
    assert form(client, "/sign-in", {"token": "x" * 20_000}).status_code == 413

    async def pieces():
        for _ in range(100):
            yield b"x" * 1_000

    assert client.post("/sign-in", content=pieces(), headers=FORM).status_code == 413


def test_sign_ins_do_not_push_out_what_was_changed(service, client_of, granted):
    headers = granted("ann", "viewer")
    person = service.people.named("ann")
    for _ in range(600):
        service.people.signed_in(person)
    told = client_of(service).get("/v1/desk/changes", headers=headers).json()
    kinds = [line["action"] for line in told]
    assert kinds.count("sign_in") == 100
    assert "promote" in kinds


def test_who_may_be_on_another_machine_is_never_the_owner(service):
    scope = {"type": "http", "method": "GET", "headers": [], "client": ("192.0.2.2", 9)}
    assert Access(service, local=False).visitor(scope) is None
    assert Access(service).visitor(scope).person.role == "approver"
