"""Commands that stay: serve, work, demo."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from matinee import demo as demonstration
from matinee.api import server
from matinee.api.access import Access
from matinee.cli.app import HERE, ServiceFolder, app, examples, opening
from matinee.console import say, show
from matinee.errors import MatineeError
from matinee.insights.ahead import chores, work_until
from matinee.lake.cards import MaskingFormatter
from matinee.service.folder import Service
from matinee.service.jobs import Worker

NICENESS = 19
"""Jobs give way to answers."""

Hidden = Parameter(show=False)


@app.command(help_epilogue=examples("serve", "serve --port 0", "serve --host 0.0.0.0"))
def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    work: bool = True,
    fd: Annotated[int | None, Hidden] = None,
    while_stdin_is_open: Annotated[bool, Hidden] = False,
    service: ServiceFolder = HERE,
) -> None:
    """Answer over HTTP: decisions, events, and the pages.

    Everything listens on this machine alone unless told otherwise. Elsewhere whoever comes must say
    who they are: applications by a token in MATINEE_TOKEN (several are separated by commas), people
    by one of matinee people grant, or by a proxy that [access] in matinee.toml trusts. Ctrl-C or
    SIGTERM finishes what is under way.

    Parameters
    ----------
    host
        The address; server.host by default.
    port
        The port; server.port by default, 0 takes a free one.
    work
        Run matinee work beside it.
    """
    _log_to_stderr()
    if while_stdin_is_open:
        _at_end_of_stdin(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with opening(service) as opened:
        told = (token.strip() for token in os.environ.get("MATINEE_TOKEN", "").split(","))
        tokens = [token for token in told if token]
        if fd is not None:
            _run(opened, socket.socket(fileno=fd), tokens)
            return
        settings = opened.settings.server
        port = settings.port if port is None else port
        guarded = Access(opened, tokens).configured()
        listener = server.listen(host or settings.host, port, guarded=guarded)
        _say_where(opened, listener)
        with (
            server.working(opened) if work else nullcontext(),
            server.answering(opened, listener, settings.workers - 1),
        ):
            _run(opened, listener, tokens)


def _run(service: Service, listener: socket.socket, tokens: Collection[str]) -> None:
    """Answer on a socket. Nobody is the owner who may be on another machine."""
    local = server.is_loopback(listener.getsockname()[0])
    server.run(service, listener, Access(service, tokens, local=local))


def _say_where(service: Service, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say(f"{service.name}: the desk at {url}/desk and the API at {url}/openapi.json")
    say("Ctrl-C ends it")


@app.command(help_epilogue=examples("work", "work --once"))
def work(
    *,
    once: bool = False,
    while_stdin_is_open: Annotated[bool, Hidden] = False,
    service: ServiceFolder = HERE,
) -> None:
    """Run the jobs that keep a service well: sealing, outcomes, compaction, expiry, repair; and
    read ahead what the desk shows.

    Several workers may run; each job has a lease, so one does it, and another takes over when
    that one dies.

    Parameters
    ----------
    once
        Run every job once and end; with 1 where one of them failed.
    """
    _log_to_stderr()
    stop = threading.Event()
    with opening(service) as opened:
        if once:
            done = Worker(opened, chores(opened)).run_once()
            show(("job", "did"), done.items())
            if failed := [name for name, did in done.items() if did.startswith("failed: ")]:
                raise MatineeError(
                    f"{', '.join(failed)} failed",
                    why="the table says of what",
                    next_step="mend that, then matinee work --once",
                )
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if while_stdin_is_open:
            os.nice(NICENESS)
            _at_end_of_stdin(stop.set)
        work_until(opened, stop)


def _at_end_of_stdin(end: Callable[[], None]) -> None:
    """Call `end` once whoever started this process is gone."""

    def wait() -> None:
        while os.read(0, 4_096):  # not sys.stdin: its lock would be held at the interpreter's end
            pass
        end()

    threading.Thread(target=wait, daemon=True).start()


@app.command(help_epilogue=examples("demo", "demo --no-serve", "demo --movielens ~/ml-1m"))
def demo(
    folder: Path | None = None,
    /,
    *,
    movielens: Path | None = None,
    serve_it: Annotated[bool, Parameter(name="--serve", negative="--no-serve")] = True,
    port: int | None = None,
) -> None:
    """Make a service that has lived 60 days, and serve it: the desk stands at /desk.

    A simulated streaming service, which is said to be simulated wherever it is shown: its first
    champion, who followed it by way of the gate, who was refused, what is tried on members,
    pictures, payments and an outage; approvals are those of an unattended 'demo'. On a data set of
    your own: imported, evaluated, trained, promoted.

    Parameters
    ----------
    folder
        Where the service is made: demo-service, or demo-movielens.
    movielens
        A MovieLens folder of your own: ratings, movies and, if there, users.
    serve_it
        Serve the pages and the API at the end.
    port
        The port to serve at.
    """
    if movielens is None:
        made = demonstration.simulated(folder or Path("demo-service"))
    else:
        made = demonstration.movielens(folder or Path("demo-movielens"), movielens)
    made.close()
    if serve_it:
        serve(port=port, service=made.folder)
    else:
        say(f"next: matinee serve --service {quote(str(made.folder))}")


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
