"""A peering LAN made of network namespaces: one bridge, and one namespace for each host.

Every speaker gets a network stack of its own, so that all of them use port 179, an address on a
shared subnet and a link-local address, as at an exchange; nothing leaves the namespaces. A capture
at a host's switch port sees all that the host sends and receives.

In: the number of a host. Out: `Host`, which runs commands and opens sockets inside its namespace.
The `Lan` owns the namespaces and deletes them in `close`. Needs root and iproute2.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLONE_NEWNET = 0x40000000
NETNS_DIR = Path("/run/netns")
NAME = "rs-test-"
BRIDGE = "br0"
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
"""From util-linux: a killed test run leaves no daemon behind."""

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str, batch: str | None = None) -> None:
    """Run iproute2's `ip`, with a batch of commands on standard input where one is given."""
    command = ["ip", *arguments, *(["-batch", "-"] if batch is not None else [])]
    done = subprocess.run(command, input=batch, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{batch or ''}")


def unavailable() -> str | None:
    """Return why namespaces cannot be made here, or None when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed (Debian package iproute2)"
    name = f"{NAME}{os.getpid()}-probe"
    try:
        ip("netns", "add", name)
        try:
            ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
            ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        finally:
            ip("netns", "delete", name)
    except RuntimeError as error:
        return f"network namespaces cannot be made here: {error}"
    return None


def remove_stale() -> None:
    """Delete the namespaces of test runs which are no longer alive."""
    for path in NETNS_DIR.glob(f"{NAME}*"):
        owner = path.name.removeprefix(NAME).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            ip("netns", "delete", path.name)


class Process:
    """A child in a process group of its own, with its output in a file."""

    def __init__(
        self, argv: list[str], log: Path, *, cwd: Path, env: dict[str, str] | None
    ) -> None:
        """Start `argv`; standard output and error are appended to `log`."""
        self.argv = argv
        self.log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                [*DIE_WITH_PARENT, *argv],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def alive(self) -> bool:
        return self._child.poll() is None

    def returncode(self) -> int | None:
        return self._child.poll()

    def wait(self, timeout: float) -> int:
        return self._child.wait(timeout)

    def signal(self, number: int) -> None:
        """Signal the whole group; one that has ended is left alone."""
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return

    def stop(self, timeout: float = 3.0) -> int:
        """End it with SIGTERM, and with SIGKILL after `timeout` seconds; return its status."""
        if self.alive():
            self.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """End it, and whatever it started, with SIGKILL; return its status."""
        self.signal(signal.SIGKILL)
        return self._child.wait(5)


class Host:
    """One machine on the LAN: a namespace with `eth0`, an IPv4 and an IPv6 address."""

    def __init__(self, lan: Lan, number: int) -> None:
        """Make the namespace and plug it into the bridge; `number` is the last octet, 1-254."""
        self.lan = lan
        self.number = number
        self.namespace = f"{lan.name}-{number}"
        self.port = f"port{number}"
        self.address = f"10.99.0.{number}"
        self.address6 = f"2001:db8:99::{number:x}"
        ip("netns", "add", self.namespace)
        # Duplicate address detection would keep the link-local address unusable for a second.
        with self.entered():
            for scope in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        ip(
            "-n",
            lan.switch,
            batch=f"link add {self.port} type veth peer name eth0 netns {self.namespace}\n"
            f"link set {self.port} master {BRIDGE} up\n",
        )
        ip(
            "-n",
            self.namespace,
            batch="link set lo up\nlink set eth0 up\n"
            f"address add {self.address}/24 dev eth0\n"
            f"address add {self.address6}/64 dev eth0 nodad\n",
        )

    def command(self, argv: list[str]) -> list[str]:
        """Return the command line which runs `argv` inside (by exec: the process id is its own)."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def start(
        self, argv: list[str], log: Path, *, cwd: Path, env: dict[str, str] | None = None
    ) -> Process:
        """Start a long-running program inside."""
        process = Process(self.command(argv), log, cwd=cwd, env=env)
        self.lan.processes.append(process)
        return process

    def run(self, argv: list[str], *, timeout: float = 10.0) -> str:
        """Run a program inside to its end and return its standard output."""
        done = subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(argv)}: status {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace; a socket made meanwhile stays there."""
        with _namespace(self.namespace):
            yield

    def connect(self, address: str, port: int, *, timeout: float) -> socket.socket:
        """Open a TCP connection from this host's own address of the same family."""
        six = ":" in address
        with self.entered():
            sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
        sock.settimeout(timeout)
        try:
            sock.bind((self.address6 if six else self.address, 0))
            sock.connect((address, port))
        except OSError:
            sock.close()
            raise
        return sock

    def listen(self, port: int, *, six: bool = False) -> socket.socket:
        """Return a listening TCP socket on this host."""
        with self.entered():
            sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.address6 if six else self.address, port))
        sock.listen(16)
        return sock


class Capture:
    """Packets at one host's switch port, written to a file until `stop`."""

    def __init__(self, host: Host, path: Path, *, capture_filter: str = "tcp port 179") -> None:
        """Start dumpcap and return when it is listening."""
        self.path = path
        self._log = path.with_suffix(".log")
        argv = [
            "dumpcap",
            "-q",
            "-i",
            host.port,
            "-f",
            capture_filter,
            "-w",
            str(path),
            "-a",
            "duration:900",
        ]
        command = ["ip", "netns", "exec", host.lan.switch, *argv]
        self._process = Process(command, self._log, cwd=path.parent, env=None)
        host.lan.processes.append(self._process)
        wait_until(
            lambda: path.exists() or not self._process.alive(), timeout=10, what="dumpcap to start"
        )
        if not self._process.alive():
            raise RuntimeError(f"dumpcap: {self._log.read_text()}")

    def stop(self) -> Path:
        """End the capture, with everything seen written out."""
        if self._process.alive():
            time.sleep(0.2)  # dumpcap takes packets from the kernel in blocks
            self._process.signal(signal.SIGINT)
            self._process.wait(10)
        return self.path


class Lan:
    """A bridge in a namespace of its own, and its hosts."""

    def __init__(self, tag: str) -> None:
        """Make the bridge; `tag` tells apart the LANs of one test run."""
        self.name = f"{NAME}{os.getpid()}-{tag}"
        self.switch = f"{self.name}-switch"
        self.hosts: dict[int, Host] = {}
        self.processes: list[Process] = []
        ip("netns", "add", self.switch)
        with _namespace(self.switch):
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        ip(
            "-n",
            self.switch,
            batch=f"link add {BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n"
            f"link set {BRIDGE} up\n",
        )

    def host(self, number: int) -> Host:
        """Return the host with this number, making it at the first call."""
        if number not in self.hosts:
            self.hosts[number] = Host(self, number)
        return self.hosts[number]

    def close(self) -> None:
        """End every process that was started on the LAN, then delete the namespaces."""
        for process in self.processes:
            process.kill()
        for host in self.hosts.values():
            ip("netns", "delete", host.namespace)
        ip("netns", "delete", self.switch)


def _setns(namespace: BinaryIO) -> None:
    # os.setns is new in Python 3.12.
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {namespace.name}")


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    with (
        open(f"/proc/self/task/{threading.get_native_id()}/ns/net", "rb") as home,  # noqa: PTH123
        open(NETNS_DIR / name, "rb") as there,  # noqa: PTH123
    ):
        _setns(there)
        try:
            yield
        finally:
            _setns(home)


def wait_until(
    condition: Callable[[], object], *, timeout: float, what: str, interval: float = 0.05
) -> None:
    """Return when `condition` is true; AssertionError naming `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(interval)
