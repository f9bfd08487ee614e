"""An example of deploy/examples as it is: its machines in namespaces, its files, real daemons.

In: which machines an example has, how they are wired, and the configuration of each, by its path in
the example's directory. Out: speakers that were started as a user would start them, and what each
holds, as `Seen`. Every machine has a /run of its own, a directory below `workdir`, so that daemons
find and make their sockets where they do by default. Nothing in the files is rewritten.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rs.client import Client
from rs.errors import ApiError

from .daemons import bird as bird_driver
from .daemons import frr as frr_driver
from .daemons import gobgp as gobgp_driver
from .daemons import openbgpd as openbgpd_driver
from .daemons.base import WAIT
from .daemons.lan import BRIDGE, Lan, Process, _namespace, ip, wait_until
from .daemons.rs import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .daemons.base import Daemon, Route

EXAMPLES = REPOSITORY / "deploy" / "examples"
PRIVATE_RUN = 'mount --bind "$0" /run && exec "$@"'
"""Shell: `ip netns exec` has made the mount namespace private already."""
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
}
ECHO_PORT = 7007


@dataclass(frozen=True)
class Seen:
    """One path of a speaker's table: the route, who sent it, and what reflectors have added."""

    route: Route
    source: str
    """The neighbor's address, or the protocol's name (BIRD)."""
    best: bool = False
    originator: str | None = None
    clusters: tuple[str, ...] = ()


class Machine:
    """A namespace with interfaces of any addresses, and a /run of its own."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.namespace = f"{site.name}-{name}"
        self.run_dir = site.workdir / name
        self.run_dir.mkdir(parents=True)
        ip("netns", "add", self.namespace)
        site.namespaces.append(self.namespace)
        with self.entered():
            for key, value in SYSCTLS.items():
                Path("/proc/sys", key).write_text(value)
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def add(self, device: str, *addresses: str) -> None:
        """Give an interface addresses, with their lengths."""
        lines = [f"address add {address} dev {device}\n" for address in addresses]
        nodad = [line.replace("\n", " nodad\n") if ":" in line else line for line in lines]
        ip("-n", self.namespace, batch="".join(nodad))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace; a socket made meanwhile stays there."""
        with _namespace(self.namespace):
            yield

    def argv(self, argv: Iterable[str]) -> list[str]:
        """Return the command line that runs `argv` inside, by exec."""
        private = ["sh", "-c", PRIVATE_RUN, str(self.run_dir)]
        return ["ip", "netns", "exec", self.namespace, *private, *argv]

    def start(self, argv: Iterable[str], log: str) -> Process:
        """Start a program that runs on, in the example's directory."""
        return self.site.start(self.argv(argv), self.run_dir / log)

    def run(self, *argv: str) -> str:
        """Run a program to its end and return its standard output."""
        done = subprocess.run(
            self.argv(argv),
            cwd=self.site.example,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def kernel_routes(self, prefix: str) -> list[str]:
        """Return the kernel's next hops for exactly this prefix."""
        version = "-6" if ":" in prefix else "-4"
        bare = prefix.removesuffix("/32").removesuffix("/128")
        text = self.run("ip", version, "-json", "route", "show", "exact", bare)
        hops: list[str] = []
        for route in json.loads(text or "[]"):
            several = route.get("nexthops") or [route]
            hops += [hop["gateway"] for hop in several if "gateway" in hop]
        return sorted(hops)

    def watch_routes(self) -> Path:
        """Return the file that `ip monitor` writes, where each route deleted has a line `Deleted`."""
        log = self.run_dir / "monitor.log"
        self.start(["ip", "-4", "monitor", "route"], log.name)
        marker = "192.0.2.254"
        wait_until(lambda: self._marked(log, marker), timeout=WAIT, what="ip monitor to begin")
        return log

    def _marked(self, log: Path, marker: str) -> bool:
        self.run("ip", "route", "replace", "blackhole", marker)
        self.run("ip", "route", "delete", "blackhole", marker)
        return log.exists() and marker in log.read_text()

    def reaches(self, source: str, other: Machine, target: str) -> bool:
        """Tell whether packets get from an address here to one of another machine, and back."""
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with other.entered():
            listener = socket.socket(family, socket.SOCK_DGRAM)
        with self.entered():
            caller = socket.socket(family, socket.SOCK_DGRAM)
        with listener, caller:
            listener.bind((target, ECHO_PORT))
            caller.bind((source, 0))
            for sock in (listener, caller):
                sock.settimeout(0.3)
            try:
                caller.sendto(b"there", (target, ECHO_PORT))
                data, back = listener.recvfrom(100)
                listener.sendto(data + b" and back", back)
                return caller.recv(100) == b"there and back"
            except OSError:
                return False


class Site:
    """The machines of one example."""

    def __init__(self, example: str, workdir: Path) -> None:
        """Make nothing yet but the switch."""
        self.example = EXAMPLES / example
        self.workdir = workdir
        self.machines: dict[str, Machine] = {}
        self.speakers: list[Speaker] = []
        self._lan = Lan(example)
        self.name = self._lan.name
        self.switch = self._lan.switch
        self.namespaces: list[str] = []
        self.ports = 0
        # A process dies with the thread that has started it (PR_SET_PDEATHSIG): these stay.
        self._threads = ThreadPoolExecutor(16)

    def machine(self, name: str, *addresses: str) -> Machine:
        """Return a machine, made at the first call, with these addresses on the common network."""
        if name not in self.machines:
            self.machines[name] = Machine(self, name)
        machine = self.machines[name]
        if addresses:
            self.ports += 1
            port = f"port{self.ports}"
            ip(
                "-n",
                self.switch,
                batch=f"link add {port} type veth peer name eth0 netns {machine.namespace}\n"
                f"link set {port} master {BRIDGE} up\n",
            )
            ip("-n", machine.namespace, "link", "set", "eth0", "up")
            machine.add("eth0", *addresses)
        return machine

    def cable(self, one: str, other: str, ends: dict[str, tuple[str, ...]]) -> None:
        """Connect two machines; each interface is named after the machine at its other end."""
        left, right = self.machine(one), self.machine(other)
        peer = f"peer name {one} netns {right.namespace}"
        ip("-n", left.namespace, batch=f"link add {other} type veth {peer}\n")
        for machine, device in ((left, other), (right, one)):
            ip("-n", machine.namespace, "link", "set", device, "up")
            machine.add(device, *ends[machine.name])

    def start(self, argv: list[str], log: Path) -> Process:
        """Start a program outside of all machines' control; `close` ends it."""
        process = Process(argv, log, cwd=self.example, env={"PYTHONPATH": str(REPOSITORY)})
        self._lan.processes.append(process)
        return process

    def start_all(self, *speakers: Speaker) -> None:
        """Start speakers together, and return when all answer."""
        list(self._threads.map(_start, speakers))

    def close(self) -> None:
        """End every process by its id, then delete the namespaces."""
        for process in self._lan.processes:
            process.kill()
        self._threads.shutdown()
        for namespace in self.namespaces:
            ip("netns", "delete", namespace)
        self._lan.close()


def _start(speaker: Speaker) -> None:
    speaker.launch()
    speaker.wait_ready()


def need(*daemons: type[Daemon]) -> None:
    """Skip the test where a daemon is missing."""
    for daemon in daemons:
        if (reason := daemon.missing()) is not None:
            pytest.skip(reason)


class Speaker(ABC):
    """A BGP daemon on a machine, with a configuration of the example."""

    def __init__(self, machine: Machine, config: str) -> None:
        self.machine = machine
        self.config = machine.site.example / config
        self.processes: list[Process] = []
        machine.site.speakers.append(self)

    def __repr__(self) -> str:
        return self.machine.name

    @abstractmethod
    def launch(self) -> None:
        """Start what there is to start."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it can be asked."""

    @abstractmethod
    def up(self) -> set[str]:
        """Return its neighbors whose sessions are established: addresses, or names in BIRD."""

    @abstractmethod
    def table(self) -> dict[str, list[Seen]]:
        """Return all paths that neighbors have sent, by prefix."""

    def wait_ready(self) -> None:
        """Wait until it answers."""
        self.wait(lambda: self.answers() or not self._alive(), "answer")
        assert self._alive(), f"{self}: ended at once\n{self.log_tail()}"

    def _alive(self) -> bool:
        return all(process.alive() for process in self.processes)

    def stop(self) -> None:
        """End it in the regular way."""
        for process in self.processes:
            process.stop()
        self.processes.clear()

    def kill(self) -> None:
        """End it with SIGKILL."""
        for process in self.processes:
            process.kill()
        self.processes.clear()

    def log_tail(self) -> str:
        """Return the end of what it has printed."""
        logs = sorted(self.machine.run_dir.glob("*.log"))
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:])
            for path in logs
        )

    def wait(self, condition: Callable[[], object], what: str, timeout: float = 2 * WAIT) -> None:
        """Wait until the callable is true; on failure the daemon's output is in the message."""
        try:
            wait_until(condition, timeout=timeout, what=f"{self} to {what}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def wait_up(self, *neighbors: str) -> None:
        """Wait until the sessions with these are established."""
        self.wait(lambda: self.up() >= set(neighbors), f"reach {', '.join(neighbors)}")

    def wait_paths(
        self,
        prefix: str,
        wanted: Callable[[list[Seen]], object],
        what: str,
        timeout: float = 2 * WAIT,
    ) -> None:
        """Wait until what is known of a prefix pleases the callable."""
        seen: list[Seen] = []

        def pleases() -> object:
            seen[:] = self.table().get(prefix, [])
            return wanted(seen)

        try:
            self.wait(pleases, f"have {prefix} {what}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{prefix}: {seen}") from None

    def wait_count(self, prefix: str, count: int) -> list[Seen]:
        """Wait until there are exactly so many paths for a prefix; return them."""
        self.wait_paths(prefix, lambda seen: len(seen) == count, f"by {count} paths")
        return self.table().get(prefix, [])


class RsSpeaker(Speaker):
    """`rs run CONFIG`; the API is at the socket that the examples name."""

    def launch(self) -> None:
        (self.machine.run_dir / "rs").mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "rs", "run", str(self.config)]
        site = self.machine.site
        process = site.start(self.machine.argv(argv), self.machine.run_dir / "rs.log")
        self.processes = [process]

    def get(self, path: str, **query: str) -> Any:
        """Return an answer of the API."""
        client = Client(str(self.machine.run_dir / "rs" / "rs.sock"))
        try:
            return client.get(path, query)
        finally:
            client.close()

    def answers(self) -> bool:
        try:
            self.get("/v1/status")
        except (ApiError, OSError):
            return False
        return True

    def neighbors(self) -> dict[str, dict[str, Any]]:
        """Return what `rs show neighbors` shows, by address."""
        return {neighbor["address"]: neighbor for neighbor in self.get("/v1/neighbors")}

    def up(self) -> set[str]:
        return {a for a, n in self.neighbors().items() if n["state"] == "Established"}

    def rejected(self) -> dict[tuple[str, str], str]:
        """Return the rejected routes: (neighbor, prefix) to the reason's name."""
        return {
            (address, route["prefix"]): route["reject_reason"]
            for address in self.up()
            for route in self.get("/v1/routes", neighbor=address, view="rejected")
        }

    def table(self) -> dict[str, list[Seen]]:
        raise NotImplementedError  # the others' tables are what counts


class BirdSpeaker(Speaker):
    """BIRD 2."""

    def __init__(self, machine: Machine, config: str, *options: str) -> None:
        super().__init__(machine, config)
        self.options = options

    def launch(self) -> None:
        (self.machine.run_dir / "bird").mkdir(exist_ok=True)
        argv = [bird_driver.Bird.programs[0], "-f", *self.options, "-c", str(self.config)]
        self.processes = [self.machine.start(argv, "bird.log")]

    def birdc(self, command: str) -> list[tuple[str, str]]:
        """Return (code, text) of each line of the answer."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as stream:
            sock.settimeout(10)
            sock.connect(str(self.machine.run_dir / "bird" / "bird.ctl"))
            bird_driver._reply(stream)
            stream.write(command + "\n")
            stream.flush()
            return bird_driver._reply(stream)

    def answers(self) -> bool:
        try:
            self.birdc("show status")
        except OSError:
            return False
        return True

    def up(self) -> set[str]:
        words = [text.split() for code, text in self.birdc("show protocols") if code == "1002"]
        return {line[0] for line in words if line[1] == "BGP" and line[-1] == "Established"}

    def withdrawals(self) -> int:
        """Count the withdrawals received from all neighbors in their present sessions."""
        lines = [text.split() for _, text in self.birdc("show protocols all")]
        return sum(int(w[2]) for w in lines if w[:2] == ["Import", "withdraws:"] and w[2].isdigit())

    def table(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for table in ("master4", "master6"):
            for prefix, source, best, attributes in _bird_paths(
                self.birdc(f"show route all table {table}")
            ):
                if attributes.get("Type", "").startswith("BGP"):
                    seen = Seen(
                        bird_driver._route(prefix, attributes),
                        source,
                        best,
                        attributes.get("BGP.originator_id"),
                        tuple(attributes.get("BGP.cluster_list", "").split()),
                    )
                    found.setdefault(prefix, []).append(seen)
        return found


def _bird_paths(reply: list[tuple[str, str]]) -> Iterator[tuple[str, str, bool, dict[str, str]]]:
    """Yield (prefix, protocol, best, attributes) of `show route all`."""
    prefix, source, best = "", "", False
    attributes: dict[str, str] | None = None
    for code, text in reply:
        head = re.match(r"(\S*)\s+\w+ \[(\S+) [^\]]*\](.*)", text) if code == "1007" else None
        if head is not None:
            if attributes is not None:
                yield prefix, source, best, attributes
            prefix, source = head[1] or prefix, head[2]
            best, attributes = " * " in f"{head[3]} ", {}
        elif code in {"1008", "1012"} and ":" in text and attributes is not None:
            name, _, value = text.strip().partition(": ")
            attributes.setdefault(name.rstrip(":"), value)
    if attributes is not None:
        yield prefix, source, best, attributes


class FrrSpeaker(Speaker):
    """FRR: zebra and bgpd, configured by `vtysh -b` from the frr.conf of a directory."""

    def launch(self) -> None:
        run = self.machine.run_dir / "frr"
        run.mkdir(exist_ok=True)
        for name in ("zserv.api", "zebra.vty", "bgpd.vty"):
            (run / name).unlink(missing_ok=True)
        (run / "empty.conf").write_text("")
        options = ["--log", "stdout", "--user", "root", "--group", "frrvty"]
        options += ["--config_file", "/run/frr/empty.conf"]
        bgpd, zebra = frr_driver.Frr.programs[:2]
        self.processes = [self.machine.start([zebra, *options], "zebra.log")]
        self.wait((run / "zserv.api").exists, "have zebra listening")
        self.processes.append(self.machine.start([bgpd, *options], "bgpd.log"))
        self.wait(lambda: (run / "bgpd.vty").exists() or not self._alive(), "have bgpd listening")
        self.machine.run("vtysh", "-b", "--config_dir", str(self.config.parent))

    def answers(self) -> bool:
        return self._alive()

    def bgpd(self, command: str) -> Any:
        """Run a command that answers in JSON, by the socket that vtysh uses.

        A command ends with an octet 0, an answer with three and its status.
        """
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT)
            sock.connect(str(self.machine.run_dir / "frr" / "bgpd.vty"))
            for line in ("enable", command):
                sock.sendall(line.encode() + b"\0")
                answer = b""
                while answer[-4:-1] != b"\0\0\0":
                    data = sock.recv(1 << 16)
                    if not data:
                        raise OSError(f"{self}: bgpd closed its socket")
                    answer += data
        return json.loads(answer[:-4].rstrip(b"\0"))

    def up(self) -> set[str]:
        return {
            address
            for address, neighbor in self.bgpd("show bgp neighbors json").items()
            if isinstance(neighbor, dict) and neighbor.get("bgpState") == "Established"
        }

    def table(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for family in ("ipv4", "ipv6"):
            answer = self.bgpd(f"show bgp {family} json detail")
            for prefix, paths in answer["routes"].items():
                for path in paths:
                    if path.get("peer", {}).get("type") not in {"internal", "external"}:
                        continue
                    seen = Seen(
                        frr_driver._route(prefix, path),
                        path["peer"]["peerId"],
                        path.get("bestpath", {}).get("overall", False),
                        path.get("originatorId"),
                        tuple(path.get("clusterList", {}).get("list", ())),
                    )
                    found.setdefault(prefix, []).append(seen)
        return found


class GobgpSpeaker(Speaker):
    """GoBGP 3; routes are added by its command."""

    def launch(self) -> None:
        argv = ["gobgpd", "-f", str(self.config), "--log-plain", "--pprof-disable"]
        self.processes = [self.machine.start(argv, "gobgpd.log")]

    def gobgp(self, *words: str) -> Any:
        """Run `gobgp -j` and decode."""
        text = self.machine.run("gobgp", "-j", *words)
        return json.loads(text) if text.strip().startswith(("{", "[")) else text

    def answers(self) -> bool:
        try:
            self.gobgp("global")
        except RuntimeError:
            return False
        return True

    def up(self) -> set[str]:
        states = [neighbor["state"] for neighbor in self.gobgp("neighbor") or ()]
        return {
            state["neighbor_address"]
            for state in states
            if gobgp_driver._state(state.get("session_state", 0)) == "established"
        }

    def table(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for family in ("ipv4", "ipv6"):
            answer = self.gobgp("global", "rib", "-a", family)
            for prefix, paths in (answer if isinstance(answer, dict) else {}).items():
                for path in paths:
                    if path.get("neighbor-ip", "<nil>") == "<nil>":
                        continue
                    by_type = {attribute["type"]: attribute for attribute in path["attrs"]}
                    seen = Seen(
                        gobgp_driver._route(prefix, path["attrs"]),
                        path["neighbor-ip"],
                        path.get("best", False),
                        by_type.get(9, {}).get("value"),
                        tuple(by_type.get(10, {}).get("value") or ()),
                    )
                    found.setdefault(prefix, []).append(seen)
        return found


class OpenbgpdSpeaker(Speaker):
    """OpenBGPD, which takes no configuration that others may read: `install -m 600`."""

    def launch(self) -> None:
        (self.machine.run_dir / "openbgpd").mkdir(exist_ok=True, mode=0o755)
        config = self.machine.run_dir / "bgpd.conf"
        shutil.copyfile(self.config, config)
        config.chmod(0o600)
        argv = [openbgpd_driver.Openbgpd.programs[0], "-d", "-v", "-f", "/run/bgpd.conf"]
        self.processes = [self.machine.start(argv, "bgpd.log")]

    def bgpctl(self, *words: str) -> Any:
        """Run `bgpctl -j` and decode."""
        return json.loads(self.machine.run("/usr/sbin/bgpctl", "-j", *words))

    def answers(self) -> bool:
        try:
            self.bgpctl("show", "summary")
        except (RuntimeError, ValueError):
            return False
        return True

    def up(self) -> set[str]:
        neighbors = self.bgpctl("show", "neighbor").get("neighbors", [])
        return {n["remote_addr"] for n in neighbors if n["state"].lower() == "established"}

    def table(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = {}
        for entry in self.bgpctl("show", "rib", "detail").get("rib", []):
            source = entry["neighbor"]["remote_addr"]
            if source not in {"???", "LOCAL"}:  # its own networks
                route = openbgpd_driver._route(entry)
                seen = Seen(route, source, entry.get("best", False))
                found.setdefault(route.prefix, []).append(seen)
        return found
