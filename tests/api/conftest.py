"""Servers on copies of a small trained service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from api_service import Client, Server

from matinee.api.access import Access
from matinee.api.app import Api
from matinee.api.guard import Limits
from matinee.service.folder import Service
from matinee.service.runtime import Runtime
from waiting import eventually


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A service folder of the test's own: 200 members, 120 titles, EASE as champion."""
    return Path(shutil.copytree(made, tmp_path / "shows"))


@pytest.fixture
def service(folder: Path):
    with Service.open(folder) as opened:
        yield opened


@pytest.fixture
def member(service: Service) -> str:
    return service.lake.current("members")["member_id"][0]


@pytest.fixture
def client_of():
    """Make a client of an API in this process."""
    opened = []

    def make(service: Service, max_batch: int = 5_000, tokens=(), **limits) -> Client:
        runtime = Runtime(service)
        api = Api(runtime, Limits(**limits), max_batch, Access(service, tokens))
        opened.append((Client(api), runtime))
        return opened[-1][0]

    yield make
    for client, runtime in opened:
        client.close()
        runtime.close()


@pytest.fixture
def client(service: Service, client_of) -> Client:
    return client_of(service)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch):
    """Start servers; all are ended after the test."""
    monkeypatch.delenv("MATINEE_TOKEN", raising=False)
    servers = []

    def start(folder: Path, *options: str, work: bool = False, code: str = "", **env) -> Server:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        program = ["-m", "matinee"]
        if code:
            program = ["-c", f"{code}\nfrom matinee.cli import main\nmain()"]
        log = tmp_path / f"server-{len(servers)}.log"
        command = [sys.executable, *program, "serve", "--service", str(folder), "--port", "0"]
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*command, *([] if work else ["--no-work"]), *options],
                stderr=stderr,
                stdout=stderr,
            )
        server = Server(process, 0, log)
        servers.append(server)
        eventually(lambda: "http://" in log.read_text() or process.poll() is not None)
        found = re.search(r"http://[^/]*:(\d+)/", log.read_text())
        assert found, log.read_text()
        server.port = int(found[1])
        assert server.ask("GET", "/healthz")[0] == 200
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()
