"""What takes long to read is kept for a while, and taken from what was read ahead."""

import asyncio
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette

from matinee.desk.kept import Kept
from matinee.desk.pages import pages, views
from matinee.desk.views import View, follow
from matinee.errors import MatineeError
from matinee.insights.ahead import TODAY, Taken, look_ahead
from matinee.service.runtime import Runtime


def test_what_is_kept_is_made_once_and_then_anew():
    made = []
    kept = Kept(lambda: made.append(1) or len(made), seconds=0)

    async def look() -> list[int | None]:
        first = await kept.get(60)
        known = [first]
        while known[-1] == first:  # what stands is given at once, as long as the next one is made
            known.append(await kept.get(60))
            await asyncio.sleep(0)
        return [known[0], known[1], known[-1]]

    assert asyncio.run(asyncio.wait_for(look(), 60)) == [1, 1, 2]


def test_what_is_kept_is_not_made_again_before_its_time():
    made = []
    kept = Kept(lambda: made.append(1) or len(made), seconds=3_600)

    async def look() -> list[int | None]:
        return [*await asyncio.gather(kept.get(60), kept.get(60)), await kept.get(60)]

    assert asyncio.run(look()) == [1, 1, 1]


def test_after_a_change_nobody_is_shown_what_was_before():
    made, changes = [], [0]
    kept = Kept(lambda: made.append(1) or len(made), seconds=3_600, stamp=lambda: changes[0])

    async def look() -> list[int | None]:
        first = await kept.get(60)
        changes[0] += 1
        return [first, await kept.get(60), await kept.get(60)]

    assert asyncio.run(look()) == [1, 2, 2]


def test_what_takes_long_is_not_waited_for():
    ready = threading.Event()
    kept = Kept(lambda: ready.wait(60), seconds=60)

    async def look() -> list[bool | None]:
        before = await kept.get(0.01)
        ready.set()
        return [before, await kept.get(60)]

    assert asyncio.run(look()) == [None, True]


def test_what_fails_is_said_and_tried_again():
    answers = iter([ValueError("torn"), 7])

    def make() -> int:
        one = next(answers)
        if isinstance(one, Exception):
            raise one
        return one

    async def look() -> int | None:
        with pytest.raises(ValueError, match="torn"):
            await kept.get(60)
        return await kept.get(60)

    kept = Kept(make)
    assert asyncio.run(look()) == 7


def test_what_was_begun_before_a_change_is_not_shown_after_it():
    changes, ready, began = [0], threading.Event(), threading.Event()

    def make() -> int:
        seen = changes[0]
        began.set()
        if not seen:
            ready.wait(60)
        return seen

    kept = Kept(make, seconds=3_600, stamp=lambda: changes[0])

    async def look() -> list[int | None]:
        slow = asyncio.create_task(kept.get(0.01))
        first = await slow
        await asyncio.to_thread(began.wait, 60)
        changes[0] = 1
        ready.set()
        return [first, await kept.get(60)]

    assert asyncio.run(look()) == [None, 1]


def test_what_failed_after_a_page_went_on_is_told_at_the_next_look():
    made, ready = [], threading.Event()

    def make() -> int:
        made.append(1)
        ready.wait(60)
        raise ValueError("torn")

    kept = Kept(make)

    async def look() -> None:
        assert await kept.get(0.01) is None
        ready.set()
        with pytest.raises(ValueError, match="torn"):
            await kept.get(60)
        assert made == [1]

    asyncio.run(look())


def ahead(*known: Taken[str]):
    """What was read ahead, given to who asks for what is later."""
    return lambda after: next((one for one in known if after is None or one.at > after), None)


def minutes_old(minutes: float, found: str = "ahead", stamp: object = ()) -> Taken[str]:
    return Taken(found, datetime.now(UTC) - timedelta(minutes=minutes), stamp)


def test_what_was_read_ahead_is_given_at_once():
    made = []
    taken = minutes_old(0)
    kept = Kept(lambda: made.append(1) or "made", stamp=tuple, ahead=ahead(taken))
    assert asyncio.run(kept.get(60)) == "ahead"
    assert kept.at == taken.at
    assert not made


def test_of_what_was_read_some_minutes_ago_it_is_made_anew_for_the_next_one():
    kept = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(5)))

    async def look() -> list[str | None]:
        known = [await kept.get(60)]
        while known[-1] == "ahead":
            known.append(await kept.get(60))
            await asyncio.sleep(0)
        return [known[0], known[-1]]

    assert asyncio.run(asyncio.wait_for(look(), 60)) == ["ahead", "made"]


def test_what_was_read_longer_ago_than_is_fair_is_waited_for():
    kept = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(11)))
    assert asyncio.run(kept.get(60)) == "made"


def test_where_reading_takes_long_it_is_given_however_old():
    done = threading.Event()
    kept = Kept(lambda: done.wait(60) and "made", stamp=tuple, ahead=ahead(minutes_old(90)))

    async def look() -> str | None:
        await kept.follow()
        found = await kept.get(0.01)
        done.set()
        return found

    assert asyncio.run(look()) == "ahead"


def test_what_was_read_before_the_clock_was_set_back_is_not_taken_for_new():
    kept = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(-60)))
    assert asyncio.run(kept.get(60)) == "made"


def test_what_was_read_ahead_of_a_change_is_not_shown_after_it():
    before = minutes_old(0, stamp=(1,))
    kept = Kept(lambda: "made", stamp=lambda: (2,), ahead=ahead(before))
    assert asyncio.run(kept.get(60)) == "made"


def test_what_is_newer_ahead_takes_the_place_of_what_stands():
    known = [minutes_old(3, "first")]

    def newest(after: datetime | None) -> Taken[str] | None:
        return ahead(*known)(after)

    kept = Kept(lambda: "made", stamp=tuple, ahead=newest)

    async def look() -> list[datetime | None]:
        await kept.follow()
        first = kept.at
        await kept.follow()
        known.append(minutes_old(0, "second"))
        await kept.follow()
        assert await kept.get(0) == "second"
        return [first, kept.at]

    assert asyncio.run(look()) == [one.at for one in known]


def test_nobody_waits_longer_for_what_was_read_ahead_than_for_what_is_made():
    done = threading.Event()
    taken = minutes_old(0)
    kept = Kept(lambda: "made", stamp=tuple, ahead=lambda _: done.wait(60) and taken)

    async def look() -> list[str | None]:
        before = await asyncio.wait_for(kept.get(0.01), 30)
        done.set()
        return [before, await kept.get(60)]

    assert asyncio.run(look()) == [None, "ahead"]


def test_where_nothing_can_be_taken_it_is_made(caplog):
    def torn(_: datetime | None) -> Taken[str] | None:
        raise sqlite3.OperationalError("database is locked")

    kept = Kept(lambda: "made", stamp=tuple, ahead=torn)
    assert asyncio.run(kept.get(60)) == "made"
    assert "database is locked" in caplog.text


def test_what_could_not_be_said_is_tried_again_after_a_minute(monkeypatch):
    answers, passed = iter([MatineeError("not yet"), "made"]), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda began=time.monotonic: began() + passed[0])

    def make() -> str:
        one = next(answers)
        if isinstance(one, Exception):
            raise one
        return one

    kept = Kept(make, seconds=450, fair=0)

    async def look() -> str | None:
        for passed[0] in (0.0, 59.0):
            with pytest.raises(MatineeError, match="not yet"):
                await kept.get(30)
        passed[0] = 61.0
        return await kept.get(30)

    assert asyncio.run(look()) == "made"


def test_it_is_drawn_once_for_all_who_come_at_once():
    drawn = []
    kept = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(0)), then=drawn.append)

    async def look() -> list[str | None]:
        found = await asyncio.gather(kept.follow(), kept.get(60), kept.get(60))
        return found[1:]

    assert asyncio.run(look()) == ["ahead", "ahead"]
    assert drawn == ["ahead"]


def test_it_is_drawn_before_it_is_given_whoever_read_it():
    drawn = []
    made = Kept(lambda: "made", then=drawn.append)
    taken = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(0)), then=drawn.append)
    assert asyncio.run(made.get(60)) == "made"
    assert asyncio.run(taken.get(60)) == "ahead"
    assert drawn == ["made", "ahead"]


def test_a_page_shows_what_was_read_ahead(service):
    TODAY.put(service)
    read = TODAY.taken(service).found.at

    async def ask(app: Starlette) -> str:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return (await client.get("/v1/desk")).json()["at"]

    with service, Runtime(service) as runtime:
        shown = asyncio.run(ask(Starlette(routes=pages(runtime))))
    assert datetime.fromisoformat(shown) == read


def test_the_server_keeps_at_hand_what_is_read_ahead(service):
    with service, Runtime(service) as runtime:
        look_ahead(service)
        shown = views(runtime)
        kept = [one for view in shown for one in view.ahead]
        assert [one.at for one in kept] == [None] * 4

        async def until_all_is_there() -> None:
            following = asyncio.create_task(follow(shown))
            while sum(one.at is not None for one in kept) < 3:  # nothing is known of pictures yet
                await asyncio.sleep(0.01)
            following.cancel()

        asyncio.run(asyncio.wait_for(until_all_is_there(), 60))


def test_what_cannot_be_taken_does_not_keep_the_rest_from_it(caplog):
    class Torn:
        async def follow(self) -> None:
            raise ValueError("torn")

    whole = Kept(lambda: "made", stamp=tuple, ahead=ahead(minutes_old(0)))
    view = View("/x", "x.html", None, None, (Torn(), whole))

    async def until_it_is_there() -> None:
        following = asyncio.create_task(follow([view]))
        while whole.at is None:
            await asyncio.sleep(0.01)
        following.cancel()

    asyncio.run(asyncio.wait_for(until_it_is_there(), 60))
    assert "what was read ahead for the desk cannot be taken" in caplog.text
