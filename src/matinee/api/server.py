"""Running the server: where it listens, the processes beside it, and how it stops."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

import uvicorn

from matinee.api.access import Access
from matinee.api.app import Api
from matinee.api.connection import Connection
from matinee.api.guard import Limits
from matinee.desk.views import follow
from matinee.errors import MatineeError
from matinee.service.folder import Service
from matinee.service.runtime import Runtime

log = logging.getLogger("matinee.serve")

BACKLOG = 2048
GC_THRESHOLD = (20_000, 50, 100)
"""What is cached holds no cycles: collecting seldom costs little memory and saves long pauses."""
SWITCH = 0.0005
"""Seconds until a thread that thinks lets the one go on that answers; Python's own are ten times
as many, and a request would wait as long at each of its steps.
"""
FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds before a process that died is begun anew: doubled each time, until one has lived long."""
LIFELINE = "--while-stdin-is-open"
PATIENCE = 30.0
"""Seconds that a process beside the server gets to finish what it does."""


def limits(service: Service) -> Limits:
    """The limits of the service's settings."""
    server = service.settings.server
    return Limits(server.max_body, server.max_waiting, server.timeout.seconds)


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


def listen(host: str, port: int, *, guarded: bool) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises `MatineeError` where the port is taken, the host is not one of this machine's, or where
    others can reach it and it is not `guarded`: nobody has to say who they are.
    """
    if not is_loopback(host) and not guarded:
        raise MatineeError(
            f"{host} can be reached by others",
            why="and nobody has to sign in, so anyone could read and write",
            next_step="for an application MATINEE_TOKEN=$(openssl rand -hex 32) matinee serve "
            "--host ...; for people matinee people grant NAME --role approver --reason '...', or "
            "[access] header in matinee.toml behind a proxy",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        listener.close()
        raise MatineeError(
            f"cannot listen on {host}:{port}",
            why=getattr(error, "strerror", None) or str(error),
            next_step="matinee serve --port 0 takes any free port",
        ) from error
    return listener


def run(service: Service, listener: socket.socket, access: Access) -> None:
    """Answer on `listener` until SIGTERM or SIGINT, then finish what is under way."""
    with closing(Runtime(service)) as runtime:
        _settle_memory()
        sys.setswitchinterval(SWITCH)
        api = Api(runtime, limits(service), service.settings.server.max_batch, access)
        with closing(api):
            _Server(api, service.settings.server.timeout.seconds).run(sockets=[listener])


def _settle_memory() -> None:
    """Keep the collector from walking the histories and models again and again while it answers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


class _Server(uvicorn.Server):
    """uvicorn that tells the guard as soon as it is asked to stop, and then ends in good order."""

    def __init__(self, api: Api, timeout: int) -> None:
        self._api = api
        super().__init__(
            uvicorn.Config(
                api.app,
                loop="uvloop",
                http=Connection,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,  # its lines go where ours do, which masks numbers of cards
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=timeout,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer, and keep at hand what the desk shows."""
        following = asyncio.create_task(follow(self._api.shown))
        try:
            await super().serve(sockets)
        finally:
            following.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; whoever asks a second time does not want to wait.

        uvicorn's own raises the signal again once all is answered, which would end the process
        before what stands beside it is stopped.
        """
        self.force_exit = self.should_exit
        self._api.app.draining = self.should_exit = True


@contextmanager
def working(service: Service) -> Iterator[None]:
    """`matinee work` beside the block."""
    with _beside(_command("work", service)):
        yield


@contextmanager
def answering(service: Service, listener: socket.socket, processes: int) -> Iterator[None]:
    """More processes beside the block that answer on the same socket."""
    if not processes:
        yield
        return
    handle = os.dup(listener.fileno())
    command = _command("serve", service, "--fd", str(handle))
    with ExitStack() as stack:
        stops = [stack.enter_context(_beside(command, [handle])) for _ in range(processes)]
        stack.callback(os.close, handle)  # before they end, or who calls late is never refused
        try:
            yield
        finally:
            for stop in stops:
                stop.set()


def _command(name: str, service: Service, *options: str) -> list[str]:
    folder = str(service.folder)
    return [sys.executable, "-m", "matinee", name, "--service", folder, LIFELINE, *options]


@contextmanager
def _beside(command: Sequence[str], handles: Collection[int] = ()) -> Iterator[threading.Event]:
    """A process beside the block, begun anew if it dies, ended with it or by the event.

    It ends by itself when this process dies: its standard input closes.
    """
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(command, handles, stop), daemon=True)
    keeper.start()
    try:
        yield stop
    finally:
        stop.set()
        keeper.join()


def _keep(command: Sequence[str], handles: Collection[int], stop: threading.Event) -> None:
    pause = FIRST_PAUSE
    while not stop.is_set():
        began = time.monotonic()
        with subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, pass_fds=handles, process_group=0
        ) as process:
            while process.poll() is None and not stop.wait(0.2):
                pass
            _end(process)
        if not stop.is_set():
            pause = FIRST_PAUSE if time.monotonic() - began > LAST_PAUSE else pause
            log.warning("%s ended and begins anew in %.0f s", command[3], pause)
            stop.wait(pause)
            pause = min(2 * pause, LAST_PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to finish; it may be killed at any time without harm, and is if it takes too long."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
