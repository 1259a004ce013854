"""Pictures over HTTP: chosen for titles, shown on the home page, and served as images."""

from datetime import UTC, datetime

import pytest
from api_service import logged

from matinee.lake.records import Picture
from matinee.lake.rows import frame_of_records
from matinee.lake.schemas import SCHEMAS
from matinee.service import training

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 3"><script>alert(1)</script></svg>'


@pytest.fixture
def pictured(service):
    """The service with two pictures of each title, and a champion that knows nothing yet."""
    folder = service.folder / "artwork"
    folder.mkdir()
    (folder / "one.svg").write_text(SVG)
    (service.folder / "secret.svg").write_text("secret")
    titles = service.lake.current("titles")["title_id"].to_list()
    pictures = [
        Picture(
            picture_id=f"{title}.{number}",
            title_id=title,
            features={"dark": number / 2},
            files={"2:3": "one.svg"},
            fixed=number == 1,
        )
        for title in titles
        for number in (1, 2)
    ]
    odd = [
        Picture(picture_id="out", title_id="odd", files={"2:3": "../secret.svg"}),
        Picture(picture_id="none", title_id="odd"),
        Picture(picture_id="gone", title_id="odd", files={"2:3": "gone.jpg"}),
        Picture(picture_id="text", title_id="odd", files={"2:3": "notes.txt"}),
        Picture(picture_id="a/b c%?", title_id="odd", files={"1:1": "one.svg"}),
        Picture(picture_id="nul", title_id="odd", files={"1:1": "one\0.svg"}),
        Picture(picture_id="long", title_id="odd", files={"1:1": "x" * 300 + ".svg"}),
        Picture(picture_id="barred", title_id="odd", files={"1:1": "one.svg"}, barred="consent"),
    ]
    (folder / "notes.txt").write_text("mine")
    frame = frame_of_records([*pictures, *odd], SCHEMAS["pictures"], datetime.now(UTC))
    service.lake.append("pictures", frame, source="test")
    service.refresh()
    (made,) = training.train(service, surface="artwork", by="test")
    service.registry.promote("artwork", made.id, by="test", reason="")
    return service


@pytest.fixture
def client(pictured, client_of):
    return client_of(pictured)


@pytest.fixture
def titles(pictured):
    return pictured.lake.current("titles")["title_id"].to_list()


def body(member="m1", request="r1", **more):
    return {"request_id": request, "member_id": member, **more}


def test_a_picture_for_each_title_durable_and_standing(client, service, titles):
    asked = [*titles[:5], "unknown", titles[0]]
    answer = client.post("/v1/decide/artwork", json=body(subjects=asked)).json()
    assert [one["subject"] for one in answer["assignments"]] == titles[:5]
    records = {one["decision_id"]: one for one in logged(service.folder).to_dicts()}
    for one in answer["assignments"]:
        record = records[one["decision_id"]]
        assert (record["subject"], record["actions"]) == (one["subject"], [one["action"]])
        assert record["propensities"] == [one["propensity"]]
        assert record["policy"] == one["policy"]
    again = client.post("/v1/decide/artwork", json=body(request="r2", subjects=asked)).json()
    assert again["assignments"] == answer["assignments"]
    assert logged(service.folder).height == 5


def test_the_home_page_shows_the_picture_that_stands(client, service, titles, member):
    first = client.post("/v1/decide/artwork", json=body(member, subjects=titles)).json()
    stands = {one["subject"]: one for one in first["assignments"]}
    page = client.post("/v1/decide", json=body(member, "home", slots=5)).json()
    shown = [title for row in page["rows"] for title in row["titles"]]
    assert shown
    for title in shown:
        picture, one = title["picture"], stands[title["title_id"]]
        assert picture["picture_id"] == one["action"]
        assert picture["decision_id"] == one["decision_id"]


def test_a_home_page_draws_its_pictures_and_a_repeat_gets_the_same(client, service, member):
    page = client.post("/v1/decide", json=body(member, "home", slots=5)).json()
    shown = {title["title_id"] for row in page["rows"] for title in row["titles"]}
    drawn = logged(service.folder)
    assert set(drawn["subject"].drop_nulls()) == shown
    assert client.post("/v1/decide", json=body(member, "home", slots=5)).json() == page
    assert logged(service.folder).height == drawn.height
    later = client.post("/v1/decide", json=body(member, "later", slots=5)).json()
    before = {
        title["title_id"]: title["picture"] for row in page["rows"] for title in row["titles"]
    }
    for row in later["rows"]:
        for title in row["titles"]:
            assert title["picture"] == before.get(title["title_id"], title["picture"])


def test_a_preview_draws_nothing(client, service, member):
    page = client.get(f"/v1/members/{member}/home").json()
    pictures = [title["picture"] for row in page["rows"] for title in row["titles"]]
    assert all(picture["decision_id"] is None for picture in pictures)
    assert logged(service.folder).height == 0


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({}, 422, "subjects"),
        ({"subjects": []}, 422, "subjects"),
        ({"subjects": [f"t{n}" for n in range(1_001)]}, 422, "subjects"),
        ({"subjects": [""]}, 422, "subjects"),
        ({"subjects": "t1"}, 422, "subjects"),
        ({"subjects": ["t"], "features": {"a": "x" * 3_000}}, 413, "2048"),
        ({"subjects": ["x" * 150] * 1_000}, 413, "bytes"),
    ],
)
def test_what_cannot_be_asked(client, service, more, status, says):
    answer = client.post("/v1/decide/artwork", json=body(**more))
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert logged(service.folder).height == 0


def test_a_surface_of_members_takes_no_subjects(client):
    answer = client.post("/v1/decide/titles", json=body(subjects=["t1"]))
    assert (answer.status_code, "leave them out" in answer.text) == (422, True)


def test_a_title_with_nothing_to_show_has_no_picture(client, service):
    answer = client.post("/v1/decide/artwork", json=body(subjects=["unknown"]))
    assert (answer.status_code, answer.json()["assignments"]) == (200, [])
    assert logged(service.folder).height == 0


def test_an_image_is_served_and_never_run(client, titles):
    for ratio in ("", "?ratio=2:3", "?ratio=9:9"):
        answer = client.get(f"/v1/pictures/{titles[0]}.1{ratio}")
        assert answer.status_code == 200
        assert answer.text == SVG
    assert answer.headers["content-type"].startswith("image/svg+xml")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/v1/pictures/a%2Fb%20c%25%3F").text == SVG


NO_IMAGES = ["out", "none", "gone", "text", "unknown", "nul", "long", "barred"]


@pytest.mark.parametrize("name", [*NO_IMAGES, "../secret.svg", "%00"])
def test_what_is_no_image_of_the_service(client, name):
    answer = client.get(f"/v1/pictures/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("../secret.svg", "")


def test_without_a_champion_there_are_pages_and_no_pictures(service, client_of, member):
    plain = client_of(service)
    page = plain.post("/v1/decide", json=body(member, "home", slots=5)).json()
    assert {title["picture"] for row in page["rows"] for title in row["titles"]} == {None}
    answer = plain.post("/v1/decide/artwork", json=body(subjects=["t1"]))
    assert answer.status_code == 503
    assert "matinee train artwork" in answer.json()["next"]


def test_metrics_count_each_picture_once(client, titles):
    for _ in range(2):
        client.post("/v1/decide/artwork", json=body(subjects=titles[:7]))
    lines = client.get("/metrics").text.splitlines()
    counts = [line.split()[-1] for line in lines if line.startswith("matinee_decisions_total{")]
    assert sum(map(float, counts)) == 7
