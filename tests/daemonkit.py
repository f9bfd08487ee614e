"""`rs run` and `rs replay` as processes on loopback, and listeners that hold what they are sent.

For tests of the whole daemon with real sessions and much data. Everything is bounded in time and
ended by process id. Listeners decode with the reference codec and find no fault.
"""

from __future__ import annotations

import gzip
import itertools
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rs.client import Client
from rs.messages import KEEPALIVE
from rs.mrt import open_mrt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.farends import Speaker

ROOT = Path(__file__).parent.parent
END_TIME = 20.0
"""Seconds that a process has to end in order."""
READ_LEN = 1 << 16


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """A command of ours in a process of its own; ended by its id."""

    def __init__(self, folder: Path, name: str, *arguments: object) -> None:
        self.log = folder / f"{name}.log"
        argv = [sys.executable, "-m", "rs", *map(str, arguments)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> int:
        """End it in order, by SIGINT; return its exit code."""
        if self.alive():
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(END_TIME)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_TIME)
            raise

    def tail(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(errors="replace")[-4000:]


class Rs(Process):
    """A running daemon; `text` is its configuration but for `listen` and [api]."""

    def __init__(self, folder: Path, text: str, name: str = "rs") -> None:
        self.port = free_port()
        self.folder = folder
        path = folder / f"{name}.toml"
        socket_path = folder / f"{name}.sock"
        path.write_text(
            text.replace("[router]\n", f'[router]\nlisten = ["127.0.0.1:{self.port}"]\n')
            + f'\n[api]\nsocket = "{socket_path}"\n'
        )
        super().__init__(folder, name, "run", path)
        self._api = str(socket_path)
        self.wait(socket_path.exists, "the API")

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        """Wait until something is true while the daemon lives."""
        until = time.monotonic() + seconds
        while not condition():
            assert self.alive(), self.tail()
            assert time.monotonic() < until, f"waited in vain for {what}\n{self.tail()}"
            time.sleep(0.02)

    def neighbors(self) -> dict[str, Any]:
        """What `rs show neighbors` tells, by address."""
        return {n["address"]: n for n in self._ask("/v1/neighbors")}

    def status(self) -> Any:
        """What `rs show status` tells."""
        return self._ask("/v1/status")

    def _ask(self, path: str) -> Any:
        with closing(Client(self._api)) as client:
            return client.get(path)

    def replay(self, file: Path, *options: object) -> Process:
        """Play a file into this daemon, for as long as the process is let live."""
        target = f"127.0.0.1:{self.port}"
        number = len(list(self.folder.glob("replay*.log")))
        arguments = ("replay", file, "--to", target, "--stay", "forever", *options)
        return Process(self.folder, f"replay{number}", *arguments)


class Listener:
    """A neighbor on a socket: a Speaker that holds what it is sent, decoded."""

    def __init__(self, speaker: Speaker, port: int) -> None:
        self.speaker = speaker
        speaker.keep_events = False
        self.heard = 0.0
        """When something came last, by the monotonic clock."""
        self.raw: list[bytes] | None = None
        """UPDATEs as they came, where they are wanted."""
        self.sock = socket.create_connection(
            ("127.0.0.1", port), timeout=10, source_address=(speaker.address, 0)
        )
        self.sock.sendall(speaker.open_message() + KEEPALIVE)
        self._alive = time.monotonic()

    def read(self) -> None:
        """Take what has come, and keep the session alive."""
        data = self.sock.recv(READ_LEN)
        assert data, f"{self.speaker.address}: closed by the daemon"
        self.heard = time.monotonic()
        if self.heard - self._alive > 10:
            self.sock.sendall(KEEPALIVE)
            self._alive = self.heard
        self.speaker.take(data)

    def routes(self) -> int:
        """How many paths it holds."""
        return sum(map(len, self.speaker.tables.values()))


def listen(*listeners: Listener, until: Callable[[], object], seconds: float) -> None:
    """Let listeners read until something is true and nothing has come for a while."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            selector.register(listener.sock, selectors.EVENT_READ, listener)
        while True:
            ready = selector.select(0.2)
            for key, _ in ready:
                key.data.read()
            if not ready and until():
                return
            now = time.monotonic()
            held = [listener.routes() for listener in listeners]
            assert now < end, f"waited in vain; the listeners hold {held}"
            for listener in listeners:
                if now - listener.heard > 10:
                    listener.sock.sendall(KEEPALIVE)
                    listener.heard = now


def settled(rs: Rs, sources: int, received: int, *listeners: Listener) -> Callable[[], bool]:
    """A condition: so many paths have come from so many sources, and all is told to the listeners."""
    own = [listener.speaker.address for listener in listeners]

    def found() -> bool:
        neighbors = rs.neighbors()
        said = [n for a, n in neighbors.items() if a not in own]
        return (
            len(said) == sources
            and sum(f["received"] for n in said for f in n["families"].values()) == received
            and not any(table["dirty"] for table in rs.status()["families"].values())
            and all(f["lag_bytes"] == 0 for a in own for f in neighbors[a]["families"].values())
        )

    return found


def cut(file: Path, to: Path, records: int) -> Path:
    """Write the first records of an MRT file to a new one; of less than that, all."""
    with open_mrt(file) as mrt, gzip.open(to, "wb", compresslevel=1) as out:
        for record in itertools.islice(mrt.records(), records):
            body = record.body
            if record.type == 17:  # BGP4MP_ET: microseconds stand before the rest
                body = struct.pack("!I", record.usec) + body
            out.write(struct.pack("!IHHI", record.time, record.type, record.subtype, len(body)))
            out.write(body)
    return to


def frames(data: Iterable[bytes]) -> list[bytes]:
    """Pack messages into pieces fit for a socket."""
    out, piece = [], b""
    for message in data:
        piece += message
        if len(piece) > READ_LEN:
            out.append(piece)
            piece = b""
    return [*out, piece]
