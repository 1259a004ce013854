"""`matinee serve` in processes of its own."""

import json
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_service import event, logged

from matinee.api import server as serving
from matinee.api.server import listen
from matinee.errors import MatineeError
from waiting import DEADLINE, eventually

FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
"""


def decide(server, number, member="m1", **more):
    body = {"request_id": f"r{number}", "member_id": member, **more}
    return server.post("/v1/decide/titles", body)


def test_what_was_answered_survives_a_kill(folder, serve):
    server = serve(folder)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: decide(server, n, f"m{n % 7}"), range(200)))
    status, said = server.post("/v1/events", {"events": [event(n) for n in range(500)]})
    server.stop(signal.SIGKILL)
    assert (status, said["accepted"]) == (200, 500)
    rows = logged(folder)
    assert sorted(rows["decision_id"]) == sorted(answer["decision_id"] for _, answer in answers)
    stored = set(logged(folder, "eligible")["eligible"])
    assert set(rows["eligible"]) <= stored
    events = logged(folder, "events").filter(member_id="m1")["event_id"].to_list()
    assert sorted(events) == sorted(f"e{n}" for n in range(500))


def test_two_servers_on_one_folder_agree(folder, serve):
    servers = [serve(folder), serve(folder)]
    assert servers[0].port != servers[1].port
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: decide(servers[n % 2], n // 8)[1], range(80)))
    assert len({answer["decision_id"] for answer in answers}) == 10
    assert len({(a["decision_id"], tuple(a["actions"])) for a in answers}) == 10
    assert sum(not answer["duplicate"] for answer in answers) == 10

    _, first = decide(servers[0], "before", slots=100)
    watched = first["actions"][0]
    servers[1].post("/v1/events", {"events": [event(0, title=watched)]})
    asked = iter(range(1_000))
    assert eventually(
        lambda: watched not in decide(servers[0], f"x{next(asked)}", slots=100)[1]["actions"]
    )


def test_sigterm_answers_what_is_under_way(folder, serve):
    server = serve(folder, work=True)
    body = json.dumps({"events": [event(0)]}).encode()
    with server.connect() as slow:
        head = f"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:10])
        assert eventually(lambda: b"under_way 2.0" in server.ask("GET", "/metrics")[2])
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: not _accepts(server.port))
        slow.sendall(body[10:])
        assert slow.recv(65_536).startswith(b"HTTP/1.1 200")
    assert server.process.wait(DEADLINE) == 0
    assert logged(folder, "events").filter(member_id="m1").height == 1


def _accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _large(server, pieces, head):
    """The status of a request that goes on and on, and how many bytes were taken from it."""
    sent = 0
    with server.connect() as client:
        client.sendall(head)
        answer = bytearray()
        reader = threading.Thread(target=lambda: answer.extend(client.recv(65_536)))
        reader.start()
        try:
            for piece in pieces:
                client.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        reader.join()
    return int(answer[9:12]), sent


def test_a_body_of_100_mb_is_refused_early(folder, serve):
    server = serve(folder)
    piece = b"x" * 2**20
    head = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    declared = head + b"content-length: 104857600\r\n\r\n"
    status, sent = _large(server, [piece] * 100, declared)
    assert status == 413
    assert sent < 64 * 2**20
    chunk = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    status, sent = _large(server, [chunk] * 100, head + b"transfer-encoding: chunked\r\n\r\n")
    assert status == 413
    assert sent < 64 * 2**20
    assert decide(server, 1)[0] == 200


BAD_HEADS = (
    b"content-length: 2\r\ncontent-length: 20\r\n\r\n{}",
    b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    b"content-length: 99999999999999999999999\r\n\r\n{}",
    b"content-length: -1\r\n\r\n{}",
    b"x: " + b"y" * 200_000,
    b"".join(b"x%d: y\r\n" % n for n in range(20_000)),
)


def test_heads_that_mean_no_good(folder, serve):
    server = serve(folder)
    for number, smuggled in enumerate(BAD_HEADS):
        with server.connect() as client:
            client.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n" + smuggled)
            assert client.recv(65_536)[9:12] in {b"400", b"431"}, number
        assert decide(server, number)[0] == 200


def test_slow_clients_are_cut_off(folder, serve):
    toml = folder / "matinee.toml"
    toml.write_text(toml.read_text().replace('#timeout = "10s"', 'timeout = "1s"'))
    code = "import matinee.api.connection as c; c.HEAD_SECONDS = 0.5"
    server = serve(folder, code=code)
    with server.connect() as silent, server.connect() as half, server.connect() as no_body:
        half.sendall(b"POST /v1/events HTTP/1.1\r\nhost:")
        no_body.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n")
        assert silent.recv(100) == b""
        assert half.recv(100) == b""
        answer = b"".join(iter(lambda: no_body.recv(65_536), b""))  # until it is closed
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_full_disk(folder, serve):
    server = serve(folder, code=FULL)
    statuses, kept = [], []
    for number in range(400):
        status, answer = decide(server, number, slots=100)
        statuses.append(status)
        if status == 200:
            kept.append(answer["decision_id"])
        elif len(statuses) - len(kept) > 3:
            break
    assert set(statuses) == {200, 503}
    assert "disk" in answer["next"]
    assert str(folder) not in json.dumps(answer)
    assert server.ask("GET", "/healthz")[0] == 200
    server.stop()
    assert sorted(logged(folder)["decision_id"]) == sorted(kept)


def test_overload_is_told_at_once_and_loses_nothing(folder, serve):
    toml = folder / "matinee.toml"
    toml.write_text(toml.read_text().replace("#max_waiting = 64", "max_waiting = 2"))
    server = serve(folder)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: decide(server, n), range(300)))
    server.stop(signal.SIGKILL)
    assert {status for status, _ in answers} == {200, 429}
    kept = {answer["decision_id"] for status, answer in answers if status == 200}
    assert kept == set(logged(folder)["decision_id"])


def test_the_worker_seals_and_ends_with_its_server(folder, serve):
    server = serve(folder, work=True)
    children = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
    assert eventually(lambda: _children(server.process.pid)), children
    (worker,) = _children(server.process.pid)
    assert eventually(lambda: b'job_lag_seconds{job="seal"}' in server.ask("GET", "/metrics")[2])
    server.stop(signal.SIGKILL)
    assert eventually(lambda: not _alive(worker))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_server_and_worker_end_in_good_order(folder, serve, number):
    server = serve(folder, work=True)
    assert eventually(lambda: b'job_lag_seconds{job="seal"}' in server.ask("GET", "/metrics")[2])
    (worker,) = _children(server.process.pid)
    assert server.stop(number) == 0
    assert not _alive(worker)
    said = server.log.read_text()
    assert "Fatal" not in said, said
    assert "Traceback" not in said, said


def test_several_processes_answer_on_one_socket(folder, serve):
    toml = folder / "matinee.toml"
    toml.write_text(toml.read_text().replace("#workers = 1", "workers = 2"))
    server = serve(folder)
    assert eventually(lambda: _children(server.process.pid))
    (other,) = _children(server.process.pid)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: decide(server, n), range(200)))
    assert {status for status, _ in answers} == {200}
    os.kill(other, signal.SIGKILL)  # begun anew
    assert eventually(lambda: _children(server.process.pid) not in ([], [other]))
    assert decide(server, "after")[0] == 200
    (other,) = _children(server.process.pid)
    assert server.stop() == 0
    assert eventually(lambda: not _alive(other))
    assert not _accepts(server.port)


@pytest.mark.slow
def test_processes_on_one_socket_end_with_the_first(folder, serve):
    toml = folder / "matinee.toml"
    toml.write_text(toml.read_text().replace("#workers = 1", "workers = 3"))
    server = serve(folder)
    assert eventually(lambda: len(_children(server.process.pid)) == 2)
    others = _children(server.process.pid)
    server.stop(signal.SIGKILL)
    assert eventually(lambda: not any(map(_alive, others)))
    assert eventually(lambda: not _accepts(server.port))


def _children(pid):
    """The processes that any thread of `pid` began."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for t in tasks for child in (t / "children").read_text().split())


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_a_token_over_the_network(folder, serve):
    server = serve(folder, "--host", "0.0.0.0", MATINEE_TOKEN="first,second")  # noqa: S104,S106
    assert server.ask("GET", "/readyz")[0] == 200
    assert server.ask("GET", "/metrics")[0] == 401
    assert server.ask("GET", "/metrics", headers={"authorization": "Bearer second"})[0] == 200


def test_where_a_server_may_listen():
    with pytest.raises(MatineeError, match="can be reached by others"):
        listen("0.0.0.0", 0, guarded=False)  # noqa: S104
    with listen("127.0.0.1", 0, guarded=False) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MatineeError, match=r"cannot listen.*in use.*--port 0"):
            listen("127.0.0.1", port, guarded=False)
    for host, number in (("127.0.0.1", 70_000), ("no.such.host.invalid", 0), ("a..b", 0)):
        with pytest.raises(MatineeError, match="cannot listen"):
            listen(host, number, guarded=True)


def test_a_port_is_free_again_at_once(folder, serve):
    server = serve(folder)
    decide(server, 1)
    assert server.stop() == 0
    listen("127.0.0.1", server.port, guarded=False).close()


def test_a_process_that_dies_begins_anew_ever_more_slowly(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(serving, "FIRST_PAUSE", 0.01)
    command = [sys.executable, "-c", "import sys; print(1, file=open(sys.argv[1], 'a'))", "x"]
    command[3] = str(tmp_path / "lives")
    with serving._beside(command):
        assert eventually(lambda: caplog.text.count("begins anew") >= 4)
    pauses = [record.args[1] for record in caplog.records]
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]
    assert len((tmp_path / "lives").read_text().split()) >= 4


LOUD = """
import uvicorn
from matinee.service.reports import Reports
make = uvicorn.Config.__init__
def loud(self, *told, **how):
    make(self, *told, **{**how, "access_log": True, "log_level": "trace"})
uvicorn.Config.__init__ = loud
judge = Reports.judge
def judged(self, records):
    if records and records[0].network == "broken":
        raise RuntimeError(f"cannot judge {records[0]!r} 4111 1111 1111 1111")
    return judge(self, records)
Reports.judge = judged
"""


def test_no_number_of_a_card_reaches_the_log(folder, serve):
    """Not by the access log, nor by what a broken server says of itself."""
    server = serve(folder, code=LOUD)
    number = "4111111111111111"
    instrument = {"instrument_id": "c1", "member_id": "m1", "kind": "card", "network": "visa"}
    for body in (
        {"instruments": [{**instrument, "instrument_id": number}]},
        {"instruments": [{**instrument, number: 1}]},
        {"instruments": [{**instrument, "network": "broken"}]},
        {number: 1},
    ):
        status, answer = server.post("/v1/payments", body)
        assert status in {422, 500}
        assert number not in json.dumps(answer)
    decide(server, number)
    for path in (
        f"/v1/members/{number}/home?policy={number}",
        "/4111%201111%2D1111.1111",
        "/%34%31%31%31111111111111",
        f"/v1/pictures/x?card=4111-1111-1111-1111&again={number}",
    ):
        server.ask("GET", path)
    with server.connect() as client:
        client.sendall(f"GET /{number} HTTP/9.9\r\n{number}\r\n\r\n".encode())
        client.recv(65_536)
    assert server.stop() == 0
    said = server.log.read_text()
    assert "411111******1111/home?policy=411111******1111" in said  # the access log is on
    assert "RuntimeError: cannot judge" in said
    assert "/4111%2011**%2D****.1111" in said
    for shape in (number, "1111 1111", "1111-1111", "1111%2D1111", "%31111111"):
        assert shape not in said, said
    stored = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in stored if number.encode() in path.read_bytes()]
