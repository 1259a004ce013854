"""Running the server: where it listens, its worker process, and how it stops."""

from __future__ import annotations

import ipaddress
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from matinee.api.app import Api
from matinee.api.guard import Limits
from matinee.errors import MatineeError
from matinee.service.folder import Service
from matinee.service.runtime import Runtime

BACKLOG = 2048


def limits(service: Service, tokens: Collection[str]) -> Limits:
    """The limits of the service's settings."""
    server = service.settings.server
    return Limits(server.max_body, server.max_waiting, server.timeout.seconds, tokens)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int, tokens: Collection[str]) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises `MatineeError` where the port is taken, the host is not one of this machine's, or where
    others could come in without a token.
    """
    if not is_loopback(host) and not tokens:
        raise MatineeError(
            f"{host} can be reached by others",
            why="and no token is set, so anyone could read and write",
            next_step="MATINEE_TOKEN=$(openssl rand -hex 32) matinee serve --host ...",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise MatineeError(
            f"cannot listen on {host}:{port}",
            why=error.strerror or str(error),
            next_step="matinee serve --port 0 takes any free port",
        ) from error
    listener.listen(BACKLOG)
    return listener


def run(service: Service, listener: socket.socket, tokens: Collection[str]) -> None:
    """Answer on `listener` until SIGTERM or SIGINT, then finish what is under way."""
    runtime = Runtime(service)
    api = Api(runtime, limits(service, tokens), service.settings.server.max_batch)
    server = _Server(api, service.settings.server.timeout.seconds)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn that tells the guard as soon as it is asked to stop."""

    def __init__(self, api: Api, timeout: int) -> None:
        self._api = api
        super().__init__(
            uvicorn.Config(
                api.app,
                loop="uvloop",
                http="httptools",
                lifespan="on",
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=timeout,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._api.app.draining = True
        super().handle_exit(sig, frame)


def answering(service: Service, listener: socket.socket) -> subprocess.Popen[bytes]:
    """One more process that answers on the same socket."""
    command = _command("serve", service, "--fd", str(listener.fileno()))
    return subprocess.Popen(command, pass_fds=[listener.fileno()])  # noqa: S603 - our own module


@contextmanager
def working(service: Service) -> Iterator[None]:
    """`matinee work` beside the block, begun anew if it dies, ended with it.

    It ends by itself when this process dies: its standard input closes.
    """
    stop = threading.Event()
    keeper = threading.Thread(target=_keep_working, args=(service, stop), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _keep_working(service: Service, stop: threading.Event) -> None:
    command = _command("work", service, "--while-stdin-is-open")
    while not stop.is_set():
        worker = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own module
        while worker.poll() is None and not stop.wait(0.2):
            pass
        assert worker.stdin is not None  # noqa: S101
        worker.stdin.close()
        worker.wait()
        stop.wait(1.0)


def _command(name: str, service: Service, *options: str) -> list[str]:
    return [sys.executable, "-m", "matinee", name, "--service", str(service.folder), *options]


def stop_all(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Ask processes to finish, and wait until they have."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait()
