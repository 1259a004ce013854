"""The inbox: durable once, in one order, whoever writes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from lake_rows import DAY, play

from matinee.errors import MatineeError
from matinee.lake.inbox import Inbox, Receipt
from matinee.lake.records import Decision, Event, Member, micros
from matinee.lake.rows import decode_record


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(tmp_path / "inbox.db")
    yield inbox
    inbox.close()


def test_a_receipt_names_the_row_and_the_row_comes_back(inbox: Inbox) -> None:
    (receipt,) = inbox.put([play(1, value=3.5)])
    assert receipt == Receipt(1, False, play(1, value=3.5))
    (row,) = inbox.rows("events")
    assert (row.seq, row.table) == (1, "events")
    assert decode_record(Event, row.values) == play(1, value=3.5)


def test_a_duplicate_returns_the_row_that_stands(inbox: Inbox) -> None:
    inbox.put([play(1, value=1.0), play(2)])
    again = inbox.put([play(3), play(1, value=9.0), play(3, value=9.0)])
    assert [(r.seq, r.duplicate) for r in again] == [(3, False), (1, True), (3, True)]
    assert again[1].record == play(1, value=1.0)
    assert again[2].record == play(3)
    assert len(inbox.rows("events")) == 3


def test_ids_that_could_run_together_are_different_rows(inbox: Inbox) -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("a\x1f", "b"), ("a", "\x1fb"), ("a/b", "c"), ("a", "b/c")]
    rows = [
        Event(event_id=event, member_id=member, kind="search", ts=DAY) for member, event in pairs
    ]
    assert not any(receipt.duplicate for receipt in inbox.put(rows))


def test_every_change_of_a_versioned_row_is_kept(inbox: Inbox) -> None:
    for country in ("NL", "US", "NL"):
        (receipt,) = inbox.put([Member(member_id="m1", country=country)])
        assert not receipt.duplicate
    assert [row.values["country"] for row in inbox.rows("members")] == ["NL", "US", "NL"]


def test_time_never_goes_back_and_is_later_for_a_later_commit(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put([play(1)])
    monkeypatch.setattr("matinee.lake.inbox.time.time_ns", lambda: 0)
    inbox.put([play(2)])
    inbox.reserve(10)
    inbox.put([play(3)])
    times = [row.known_at for row in inbox.rows()]
    assert times == sorted(set(times))
    assert [row.seq for row in inbox.rows()] == [1, 2, 13]


def test_numbers_start_behind_a_lake_that_outlived_its_inbox(inbox: Inbox) -> None:
    inbox.advance_to(500)
    inbox.advance_to(7)
    assert inbox.put([play(1)])[0].seq == 501


def test_settled_time_is_over(inbox: Inbox) -> None:
    inbox.put([play(1)])
    settled = inbox.rows()[0].known_at + 10
    inbox.settle(settled)
    inbox.put([play(2)])
    assert inbox.rows()[1].known_at > settled


def test_the_future_cannot_be_settled(inbox: Inbox) -> None:
    inbox.settle(micros(DAY + timedelta(days=365_000)))
    inbox.put([play(1)])
    assert inbox.rows()[0].known_at < micros(DAY + timedelta(days=36_500))


def test_rows_by_number_table_and_batch(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.put([*(play(n) for n in range(1, 6)), Member(member_id="m1"), play(7)])
    assert [row.seq for row in inbox.rows("events", after=2, until=5)] == [3, 4, 5]
    assert [row.seq for row in inbox.rows(after=4)] == [5, 6, 7]
    assert inbox.count("events", after=4) == 2
    monkeypatch.setattr("matinee.lake.inbox.BATCH_ROWS", 2)
    batches = inbox.batches("events", after=1, limit=5)
    assert [[row.seq for row in batch] for batch in batches] == [[2, 3], [4, 5], [7]]


def test_many_threads_share_commits_and_each_gets_its_own_receipts(inbox: Inbox) -> None:
    def report(thread: int) -> list[Receipt]:
        mine = [play(number, f"m{thread}") for number in range(20)]
        return [receipt for start in range(0, 20, 2) for receipt in inbox.put(mine[start:][:2])]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(report, range(16)))
    for thread, receipts in enumerate(answers):
        assert [r.record for r in receipts] == [play(n, f"m{thread}") for n in range(20)]
    numbers = [receipt.seq for receipts in answers for receipt in receipts]
    assert sorted(numbers) == list(range(1, 321))


def test_what_waits_together_is_committed_together(inbox: Inbox) -> None:
    answers = [inbox.submit([play(number)]) for number in range(300)]
    numbers = [answer.result()[0].seq for answer in answers]
    assert numbers == list(range(1, 301))
    assert len({row.known_at for row in inbox.rows()}) < 300


def test_one_bad_record_fails_its_own_caller_alone(inbox: Inbox) -> None:
    good = inbox.submit([play(1)])
    for bad in (
        Event(event_id="e", member_id="\ud800", kind="play", ts=DAY, title_id="t"),
        Event(event_id="e", member_id="m", kind="play", ts=DAY, position="first"),
        Event(event_id="e", member_id="who@where", kind="play", ts=DAY),
        _decision(seed=2**63),
    ):
        with pytest.raises(ValueError, match="not a row of"):
            inbox.submit([bad])
    assert good.result()[0].seq == 1
    assert inbox.put([play(2)])[0].seq == 2


def _decision(seed: int) -> Decision:
    return Decision(
        decision_id="d", request_id="r", surface="titles", member_id="m", at=DAY, policy="p",
        actions=[], propensities=[], propensity_kind="conditional", eligible="x", removed=[],
        segment=[], scores=[], seed=seed,
    )  # fmt: skip


def test_a_caller_who_gives_up_harms_nobody(inbox: Inbox) -> None:
    async def impatient() -> None:
        for number in range(50):
            waiting = asyncio.wrap_future(inbox.submit([play(number)]))
            waiting.cancel()
            await asyncio.sleep(0)

    asyncio.run(impatient())
    assert inbox.submit([play(99)]).result(timeout=30)[0].record == play(99)


def test_a_failed_commit_reaches_its_callers_and_the_next_one_works(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.put([play(1)])

    def broken(*_: object) -> None:
        raise SystemExit("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr("matinee.lake.inbox.tick", broken)
        with pytest.raises(SystemExit):
            inbox.submit([play(2)]).result(timeout=30)
    assert inbox.submit([play(2)]).result(timeout=30)[0].duplicate is False


def test_a_closed_inbox_says_so(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox.db")
    waiting = inbox.submit([play(1)])
    inbox.close()
    inbox.close()
    assert waiting.result(timeout=0)[0].seq == 1
    with pytest.raises(MatineeError, match="closed"):
        inbox.put([play(2)])


def test_a_submit_that_races_close_is_answered_or_refused(tmp_path: Path) -> None:
    for attempt in range(10):
        inbox = Inbox(tmp_path / f"{attempt}.db")
        start = threading.Barrier(5)

        def report(thread: int, inbox: Inbox = inbox, start: threading.Barrier = start) -> int:
            start.wait()
            done = 0
            try:
                for number in range(100):
                    inbox.submit([play(number, f"m{thread}")]).result(timeout=30)
                    done += 1
            except MatineeError:
                pass
            return done

        with ThreadPoolExecutor(4) as pool:
            counts = [pool.submit(report, thread) for thread in range(4)]
            start.wait()
            inbox.close()
        again = Inbox(tmp_path / f"{attempt}.db")
        assert len(again.rows()) == sum(count.result() for count in counts)
        again.close()


def _write_from_a_process(path: Path, process: int) -> None:
    inbox = Inbox(path)
    for number in range(40):
        receipts = inbox.put([play(number, f"m{process}"), play(number, "shared")])
        assert not receipts[0].duplicate
    inbox.close()


def test_several_processes_write_to_one_inbox(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    Inbox(path).close()
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_write_from_a_process, args=(path, n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    inbox = Inbox(path)
    rows = [(row.values["member_id"], row.values["event_id"]) for row in inbox.rows()]
    inbox.close()
    assert len(rows) == len(set(rows)) == 4 * 40


def test_a_file_that_is_no_inbox(tmp_path: Path) -> None:
    (tmp_path / "inbox.db").write_bytes(b"not a database, but long enough to be looked at" * 10)
    with pytest.raises(MatineeError, match=r"inbox\.db cannot be opened"):
        Inbox(tmp_path / "inbox.db")
