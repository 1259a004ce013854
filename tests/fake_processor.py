"""A processor on this machine that speaks the protocol of `HttpGateway`, and fails as it is told.

It charges a key once, whatever comes, and counts by invoice what it approved: that is the truth
which tests of charging are held to.
"""

import json
import random
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

APPROVED = {"status": "approved", "code": "00", "fee": 12}
DECLINED = {"status": "declined", "code": "51", "processor_code": "insufficient_funds", "fee": 3}
FAILED = {"status": "failed", "processor_code": "try_elsewhere"}

BEFORE = ("refuse", "busy", "late")
"""Faults before anything is charged: the connection is cut, the answer is 503, or the request is
lost on the way and arrives later (`deliver_late`)."""
AFTER = ("drop", "error", "nonsense", "truncated", "other", "pending", "redirect", "slow")
"""Faults after: the connection is cut, or the answer is 503, no JSON, half, about another attempt,
not final, elsewhere, or does not come."""
HARMLESS = ("twice", "repeat")
"""The request comes twice; the answer is sent twice."""


class FakeProcessor:
    """Serves at `url`. `answer(body)` says what becomes of a charge, `fault(method, key)` what goes
    wrong with a request, by a name from above or "".
    """

    def __init__(self, answer=lambda body: APPROVED, fault=lambda method, key: "", name="goldcard"):
        self.answer, self.fault, self.name = answer, fault, name
        self.requests: list[tuple[str, str]] = []
        self.charges: dict[str, dict] = {}
        self.answers: dict[str, dict] = {}
        self.late: list[tuple[str, dict]] = []
        self.lock = threading.Lock()
        self.holds: dict[str, tuple[threading.Event, threading.Event]] = {}
        self.ended = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for _, go in self.holds.values():
            go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def charge(self, key, body):
        """Charge once; the answer that stands."""
        with self.lock:
            if key not in self.charges:
                self.charges[key] = body
                self.answers[key] = dict(self.answer(body))
            assert self.charges[key] == body, "one key for two charges"
            return {"attempt_id": key, **self.answers[key]}

    def deliver_late(self):
        """Let what was lost on the way arrive."""
        with self.lock:
            arriving, self.late = self.late, []
        for key, body in arriving:
            self.charge(key, body)

    def approved(self):
        """How often each invoice was charged."""
        with self.lock:
            found = [key for key, told in self.answers.items() if told["status"] == "approved"]
            return Counter(self.charges[key]["invoice_id"] for key in found)

    def approved_keys(self):
        with self.lock:
            return {key for key, told in self.answers.items() if told["status"] == "approved"}

    def posts(self):
        return [key for method, key in self.requests if method == "POST"]

    @contextmanager
    def holding(self, where):
        """Hold every charge `before` it is made or `after`; yields (it has come, let it go)."""
        self.holds[where] = events = threading.Event(), threading.Event()
        try:
            yield events
        finally:
            del self.holds[where]
            events[1].set()

    def wait_if_held(self, where):
        if where in self.holds:
            came, go = self.holds[where]
            came.set()
            go.wait(60)


class Lottery:
    """What a processor answers and does wrong: drawn, the same for the same key and how often it
    came. Every third charge is approved.
    """

    def __init__(self, chance, faults, seed=0):
        self.chance, self.faults, self.seed = chance, faults, seed
        self.came = Counter()

    def answer(self, body):
        rng = random.Random(f"{self.seed}/{body['attempt_id']}")
        return rng.choice([APPROVED, DECLINED, DECLINED if rng.random() < 0.8 else FAILED])

    def fault(self, method, key):
        self.came[method, key] += 1
        rng = random.Random(f"{self.seed}/{method}/{key}/{self.came[method, key]}")
        return rng.choice(self.faults) if rng.random() < self.chance else ""


def _handler(processor):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            key = unquote(self.headers["Idempotency-Key"])
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["attempt_id"] == key
            fault = self._begin("POST", key)
            if fault == "late":
                with processor.lock:
                    processor.late.append((key, body))
                return
            if fault in BEFORE:
                self._fail(fault, key)
                return
            processor.wait_if_held("before")
            told = processor.charge(key, body)
            if fault == "twice":
                told = processor.charge(key, body)
            processor.wait_if_held("after")
            self._finish(fault, 200, told)

        def do_GET(self):
            key = unquote(self.path.rpartition("/")[2])
            fault = self._begin("GET", key)
            if fault in BEFORE:
                self._fail(fault, key)
                return
            with processor.lock:
                found = processor.answers.get(key)
            told = {"attempt_id": key, **(found or {"status": "absent"})}
            self._finish(fault, 200 if found else 404, told)

        def _begin(self, method, key):
            with processor.lock:
                processor.requests.append((method, key))
            return processor.fault(method, key)

        def _fail(self, fault, key):
            if fault == "busy":
                self._send(503, b"{}")

        def _finish(self, fault, status, told):
            whole = json.dumps(told).encode()
            if fault == "error":
                self._send(503, whole)
            elif fault == "nonsense":
                self._send(status, b"<html>all is well</html>")
            elif fault == "truncated":
                self._send(status, whole, cut=len(whole) // 2)
            elif fault == "other":
                self._send(200, json.dumps({**APPROVED, "attempt_id": "another"}).encode())
            elif fault == "pending":
                self._send(202, json.dumps({**told, "status": "pending"}).encode())
            elif fault == "redirect":
                self._send(307, whole, location=processor.url)
            elif fault == "slow":
                self.connection.settimeout(60)
                while not processor.ended.is_set() and self.connection.recv(1):
                    pass  # until the other side hangs up
            elif fault != "drop":
                self._send(status, whole, times=2 if fault == "repeat" else 1)

        def _send(self, status, body, *, cut=None, times=1, location=None):
            for _ in range(times):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body[:cut])

    return Handler


def closed_port():
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
