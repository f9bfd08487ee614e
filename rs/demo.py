"""`rs demo`: a route server with simulated members, a generated table and some churn, on loopback.

In: options. Out: a live view on the terminal, or a line a second where there is none; a summary.
The daemon and the members are processes of their own (rs/demo_children.py); this one writes the
daemon's configuration, starts both, asks the daemon through its API as `rs show` does, and draws.
It owns them: when it ends, for whatever reason, they end.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live

from rs import demo_view
from rs.client import Client
from rs.demo_table import MAX_MEMBERS, MAX_PREFIXES, RS_ASN, Member
from rs.errors import ApiError, RsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

HOST = "127.0.0.1"
API_PORT = 8080
START_TIME = 15.0
"""Seconds that the daemon gets to answer its API for the first time."""
STOP_TIME = 0.9
"""Seconds that the members get to settle, and then both processes to end before they are killed."""
TICK = {True: 0.5, False: 1.0}
"""Seconds between two views: on a terminal, and without one."""
EXAMPLES_EVERY = 4
"""Ticks between two looks at the example routes."""


def _free_port(wanted: int = 0) -> int:
    """Return a port nobody listens on: the wanted one if it is, else any."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, wanted))
        except OSError:
            return _free_port()
        port: int = sock.getsockname()[1]
        return port


def configuration(members: int, bgp_port: int, api: str) -> str:
    """Return the daemon's configuration file."""
    lines = [
        "[router]",
        'role = "route-server"',
        f"asn = {RS_ASN}",
        'router_id = "127.0.0.1"',
        f'listen = ["{HOST}:{bgp_port}"]',
        "",
        "[api]",
        f'listen = "{api}"',
        "",
        "[defaults]",
        'families = ["ipv4-unicast", "ipv6-unicast"]',
        "passive = true",
    ]
    for member in map(Member, range(members)):
        lines += [
            "",
            "[[neighbors]]",
            f'address = "{member.address}"',
            f"asn = {member.asn}",
            f'description = "{member.name}"',
        ]
    return "\n".join(lines) + "\n"


class Demo:
    """The two processes and what is known of them."""

    def __init__(self, folder: Path, order: dict[str, Any], api: str) -> None:
        self.figures = demo_view.Figures(api=f"http://{api}")
        self._order = order
        self._log = folder / "daemon.log"
        self._config = folder / "demo.toml"
        self._config.write_text(configuration(order["members"], order["port"], api))
        self._daemon: subprocess.Popen[str] | None = None
        self._members: subprocess.Popen[str] | None = None
        self._reports: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._client = Client(self.figures.api)
        self._ticks = 0
        self._begun = time.monotonic()

    # --- starting and stopping

    @staticmethod
    def _start(*args: str, **streams: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - this very package
            [sys.executable, "-m", "rs.demo_children", *args],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends them in order
            **streams,
        )

    def start(self) -> None:
        """Start the daemon, and the members when it answers; RsError when it does not."""
        with self._log.open("w") as log:
            self._daemon = self._start(
                "daemon", str(self._config), stdout=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + START_TIME
        while True:
            try:
                self.figures.status = self._client.get("/v1/status")
                break
            except ApiError as error:
                if self._daemon.poll() is not None or time.monotonic() > deadline:
                    raise RsError(f"the daemon did not start: {error}{self._tail()}") from error
            time.sleep(0.05)
        self._members = self._start("members", stdout=subprocess.PIPE)
        self._tell(json.dumps(self._order))
        threading.Thread(target=self._listen, args=(self._members,), daemon=True).start()

    def _tail(self) -> str:
        lines = self._log.read_text().splitlines()[-5:]
        return "".join(f"\n  {line}" for line in lines)

    def _tell(self, line: str) -> None:
        if self._members is not None and self._members.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._members.stdin.write(line + "\n")
                self._members.stdin.flush()

    def _listen(self, members: subprocess.Popen[str]) -> None:
        """Queue the members' reports; in a thread of its own."""
        for line in members.stdout or ():
            self._reports.put(json.loads(line))

    def settle(self) -> None:
        """Have the members end the churn and say what they hold then."""
        self._tell("stop")
        deadline = time.monotonic() + STOP_TIME
        while self.figures.report.phase != "done" and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self.figures.report.take(self._reports.get(timeout=0.05))
        with contextlib.suppress(ApiError):
            self.figures.status = self._client.get("/v1/status")
        self._measure()

    def stop(self) -> None:
        """End both processes; returns when they are gone."""
        self._client.close()
        running = [p for p in (self._members, self._daemon) if p is not None]
        for process in running:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()  # which tells it to end
        deadline = time.monotonic() + STOP_TIME
        for process in running:
            try:
                process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- looking

    def look(self) -> None:
        """Bring the figures up to date; RsError when one of the two has ended."""
        figures = self.figures
        while not self._reports.empty():
            figures.report.take(self._reports.get())
        for name, process in (("daemon", self._daemon), ("members", self._members)):
            if process is not None and process.poll() is not None:
                raise RsError(f"the {name} ended with status {process.returncode}{self._tail()}")
        try:
            figures.status = self._client.get("/v1/status")
            figures.neighbors = list(self._client.records("/v1/neighbors"))
            if figures.report.load_s is not None and self._ticks % EXAMPLES_EVERY == 0:
                figures.routes = []
                for prefix in figures.report.examples[:3]:
                    answer = self._client.get(f"/v1/route/{prefix}", {"match": "exact"})
                    figures.routes += answer["routes"]
        except ApiError as error:
            raise RsError(f"{error}{self._tail()}") from error
        self._ticks += 1
        self._measure()

    def _measure(self) -> None:
        """Read the daemon's CPU time and memory, then work out rates."""
        if self._daemon is None:
            return
        with contextlib.suppress(OSError):
            proc = Path("/proc") / str(self._daemon.pid)
            times = (proc / "stat").read_text().rpartition(")")[2].split()
            self.figures.cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
            pages = int((proc / "statm").read_text().split()[1])
            self.figures.rss = pages * os.sysconf("SC_PAGE_SIZE")
        now = time.monotonic()
        self.figures.tick(now, now - self._begun)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM and a closed terminal end the demo as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _watch(demo: Demo, seconds: float, *, plain: bool) -> None:
    """Show the demo until its time is over or somebody has seen enough."""
    deadline = float("inf")
    due = time.monotonic()
    console = Console()
    live = None if plain else Live(console=console, screen=True, auto_refresh=False)
    with live or contextlib.nullcontext():
        while due < deadline:
            demo.look()
            if seconds and deadline == float("inf") and demo.figures.report.members:
                deadline = time.monotonic() + seconds
            if live is None:
                click.echo(demo_view.line(demo.figures))
            else:
                live.update(
                    demo_view.screen(demo.figures, console.height, console.width), refresh=True
                )
            due = max(due + TICK[not plain], time.monotonic())
            time.sleep(max(0.0, min(due, deadline) - time.monotonic()))


@click.command()
@click.option(
    "--members",
    type=click.IntRange(2, MAX_MEMBERS),
    default=20,
    show_default=True,
    help="Simulated members.",
)
@click.option(
    "--prefixes",
    type=click.IntRange(1, MAX_PREFIXES),
    default=200_000,
    show_default=True,
    help="Prefixes that they bring, all together.",
)
@click.option(
    "--churn",
    type=click.FloatRange(0, 100_000),
    default=100,
    show_default=True,
    help="Routes that change each second once all are there.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    default=0,
    help="End so long after the first session; 0: never.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed is another table.")
@click.option("--plain", is_flag=True, help="A line a second, even on a terminal.")
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=0,
    help=f"Port of the daemon's API. Default: {API_PORT} if it is free, else any.",
)
def main(
    *,
    members: int,
    prefixes: int,
    churn: float,
    seconds: float,
    seed: int,
    plain: bool,
    api_port: int,
) -> None:
    """Run a route server with simulated members, on loopback.

    The daemon is the one of `rs run`, in a process of its own; so are the members, who bring a
    generated table over real sessions and then change some of it all the time.
    """
    plain = plain or not sys.stdout.isatty()
    if api_port and _free_port(api_port) != api_port:
        raise RsError(f"--api-port: {HOST}:{api_port}: the port is in use by another process")
    api = f"{HOST}:{api_port or _free_port(API_PORT)}"
    order = {
        "host": HOST,
        "port": _free_port(),
        "members": members,
        "prefixes": prefixes,
        "churn": churn,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="rs-demo-") as folder, _interruptible():
        demo = Demo(Path(folder), order, api)
        try:
            click.echo(f"rs demo: starting; in another terminal: {demo.figures.command} neighbors")
            demo.start()
            _watch(demo, seconds, plain=plain)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                if demo.figures.report.members:
                    demo.settle()
            finally:
                demo.stop()
                signal.signal(signal.SIGINT, signal.default_int_handler)
        for text in demo_view.summary(demo.figures):
            click.echo(f"rs demo: {text}")
