"""What the tests of the API share: a server in a process of its own, and ways to look at it."""

import asyncio
import json
import signal
import socket
import subprocess
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import httpx
import polars as pl

from matinee.api.app import Api
from matinee.service.folder import Service
from waiting import DEADLINE


class Client:
    """Requests to an API in this process, from any thread."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    def request(self, method, url, **more) -> httpx.Response:
        asked = self._http.request(method, url, **more)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(DEADLINE)

    def get(self, url, **more) -> httpx.Response:
        return self.request("GET", url, **more)

    def post(self, url, **more) -> httpx.Response:
        return self.request("POST", url, **more)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def event(number, member="m1", title="t1", **more):
    return {
        "event_id": f"e{number}",
        "member_id": member,
        "kind": "play",
        "title_id": title,
        "value": 60.0,
        "ts": datetime.now(UTC).isoformat(),
        **more,
    }


def logged(folder: Path, table: str = "decisions") -> pl.DataFrame:
    """A table as another process reads it."""
    with Service.open(folder) as service:
        return service.lake.scan(table).collect()


@dataclass
class Server:
    """`matinee serve` in a process of its own."""

    process: subprocess.Popen
    port: int
    log: Path

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and decoded body of one request on its own connection."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)) as connection:
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            is_json = answer.headers.get("content-type") == "application/json"
            return answer.status, answer.headers, json.loads(text) if is_json else text

    def post(self, path, body, headers=None):
        status, _, answer = self.ask("POST", path, body, headers)
        return status, answer

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def stop(self, number=signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)
