"""What the drivers of all BGP daemons have in common.

A driver writes its daemon's configuration into a directory of its own, starts it on a host of the
LAN, changes what it announces while it runs, and reads back what it has received in one shape,
`Route`, whatever the daemon prints. Nothing here knows what is tested.

Common behavior, so that a route server can be the neighbor: import policy accepts everything, the
first AS of a path need not be the neighbor's, timers for reconnecting are as short as they go, and
the only routes exported are those from `announce`.
"""

from __future__ import annotations

import ipaddress
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

from .lan import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .lan import Host, Process

BGP_PORT = 179
FAMILIES = ("ipv4-unicast", "ipv6-unicast")
WAIT = 20.0
"""Seconds after which anything that is waited for counts as missing."""

WELL_KNOWN = {
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "local-as": "65535:65283",
    "no-peer": "65535:65284",
    "nopeer": "65535:65284",
    "blackhole": "65535:666",
    "graceful-shutdown": "65535:0",
}


@dataclass(frozen=True)
class Route:
    """A route as one daemon sees it.

    Communities are text: "64500:1", large "64500:1:2", extended "rt:64500:1" or "ro:64500:1".
    An AS_SET in `as_path` is a frozenset. `med` and `local_pref` are None where not present or not
    shown. `path_id` is the ADD-PATH identifier, 0 without.
    """

    prefix: str
    next_hop: str | None = None
    as_path: tuple[int | frozenset[int], ...] = ()
    origin: str = "igp"
    med: int | None = None
    local_pref: int | None = None
    communities: frozenset[str] = frozenset()
    large_communities: frozenset[str] = frozenset()
    ext_communities: frozenset[str] = frozenset()

    @property
    def family(self) -> str:
        """Name of the family, as in `FAMILIES`."""
        return FAMILIES[":" in self.prefix]


@dataclass(frozen=True)
class Seen:
    """One path of a prefix as one daemon sees it: what a reflector and ADD-PATH are about."""

    med: int | None = None
    local_pref: int | None = None
    next_hop: str | None = None
    originator: str | None = None
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Neighbor:
    """A neighbor to configure; `passive` means that the daemon only listens for it."""

    address: str
    asn: int
    families: tuple[str, ...] = FAMILIES
    passive: bool = False
    port: int = BGP_PORT
    hold_time: int = 90
    graceful: bool = False
    """Graceful restart, as helper and as restarting speaker, where it is off otherwise."""
    long_lived: int = 0
    """Seconds of long-lived graceful restart (RFC 9494)."""
    notification: bool = False
    """Routes are kept after a NOTIFICATION, too (RFC 8538); only GoBGP."""
    role: str | None = None
    """What the daemon is to the neighbor (RFC 9234), as `rs` spells it; only BIRD and FRR know."""
    strict_role: bool = False
    receives_paths: bool = False
    """Takes several paths of a prefix (RFC 7911)."""
    sends_paths: bool = False
    """Sends several; only BIRD and GoBGP."""
    options: tuple[str, ...] = ()
    """Statements of the session in the daemon's own words; only BIRD."""

    @property
    def version(self) -> int:
        """4 or 6: the transport's IP version."""
        return ipaddress.ip_address(self.address).version

    @property
    def label(self) -> str:
        """A name made of letters, digits and underscores."""
        return "n_" + self.address.replace(".", "_").replace(":", "_")


@dataclass
class Exported:
    """A route to announce: `Route` plus what cannot be read back."""

    route: Route
    raw_attributes: tuple[tuple[int, int, bytes], ...] = field(default=())
    """(type, flags, value) of attributes which the daemon sends without knowing them."""


class Daemon(ABC):
    """One daemon on one host. Use `start`, then the rest in any order, then `stop`."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """Executables that must exist, as absolute paths or names on PATH."""
    package: ClassVar[str]
    """Debian package with those programs."""

    # What a driver cannot do, so that tests ask for no more.
    sends_as_path: ClassVar[bool] = True
    """Can put other AS numbers behind its own."""
    sends_ext: ClassVar[tuple[str, ...]] = ("rt", "ro")
    """Kinds of extended community it can send."""
    sends_unknown: ClassVar[bool] = False
    """Can attach attributes of unassigned type."""
    default_med: ClassVar[int | None] = None
    """MED of a route announced without one."""
    asks_refresh: ClassVar[bool] = True
    """Can send a ROUTE-REFRESH."""
    mixes_families: ClassVar[bool] = True
    """Can announce IPv6 routes over IPv4 transport."""

    def __init__(
        self, host: Host, workdir: Path, asn: int, neighbors: Iterable[Neighbor] = ()
    ) -> None:
        """Configure for `host`; `workdir` is created. Nothing runs before `start`."""
        self.host = host
        self.workdir = workdir
        self.asn = asn
        self.router_id = host.address
        self.neighbors = {neighbor.address: neighbor for neighbor in neighbors}
        self.exported: dict[str, Exported] = {}
        self.more: dict[str, list[str]] = {}
        """Prefix -> standard communities; one more path of it for each (BIRD and GoBGP)."""
        self.process: Process | None = None
        workdir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @classmethod
    def missing(cls) -> str | None:
        """Return the reason why the daemon cannot run here, or None."""
        for program in cls.programs:
            if shutil.which(program) is None:
                return f"{cls.name}: {program} not found (Debian package {cls.package})"
        return None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the version as the daemon states it."""

    # -- life ------------------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        """The file with the daemon's own output."""
        return self.workdir / f"{self.name}.log"

    @abstractmethod
    def write_config(self) -> None:
        """Write the configuration, with all of `neighbors` and `exported`."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that runs the daemon in the foreground."""

    def environment(self) -> dict[str, str]:
        """Return variables to add to the daemon's environment."""
        return {}

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the daemon's control interface is up."""

    def start(self) -> None:
        """Start, and return when the daemon answers."""
        self.write_config()
        process = self.host.start(
            self.command(), self.log, cwd=self.workdir, env=self.environment()
        )
        self.process = process
        self.wait(lambda: not process.alive() or self.answers(), "answer")
        if not process.alive():
            status = process.returncode()
            raise AssertionError(f"{self.name} ended with status {status}:\n{self.log_tail()}")

    def stop(self) -> None:
        """End it in the regular way (peers get a NOTIFICATION if the daemon sends one)."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def kill(self) -> None:
        """End it with SIGKILL: peers see the TCP connection end, and no NOTIFICATION."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def reconnect(self, address: str) -> None:
        """Connect now, for daemons which pause longer than a test after a lost session."""
        del address  # most need no telling

    def restart(self) -> None:
        """Kill it and start it again with what it announced before."""
        self.kill()
        self.start()

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the daemon's output."""
        if not self.log.exists():
            return "(no output)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # -- what it announces -----------------------------------------------------------------------

    def announce(
        self,
        prefix: str,
        *,
        next_hop: str | None = None,
        as_path: tuple[int, ...] = (),
        origin: str = "igp",
        med: int | None = None,
        communities: Iterable[str] = (),
        large_communities: Iterable[str] = (),
        ext_communities: Iterable[str] = (),
        raw_attributes: Iterable[tuple[int, int, bytes]] = (),
    ) -> Route:
        """Announce to all neighbors; return the route as an eBGP neighbor should see it.

        `as_path` follows the daemon's own AS number. Before `start` this only fills in the
        configuration.
        """
        route = Route(
            prefix,
            next_hop=next_hop,
            as_path=as_path,
            origin=origin,
            med=med,
            communities=frozenset(communities),
            large_communities=frozenset(large_communities),
            ext_communities=frozenset(ext_communities),
        )
        self.exported[prefix] = Exported(route, tuple(raw_attributes))
        if self.process is not None:
            self.apply(prefix)
        if next_hop is None:
            next_hop = self.host.address6 if ":" in prefix else self.host.address
        med = self.default_med if med is None else med
        return replace(route, next_hop=next_hop, as_path=(self.asn, *as_path), med=med)

    def withdraw(self, prefix: str) -> None:
        """Stop announcing."""
        del self.exported[prefix]
        if self.process is not None:
            self.apply(prefix)

    @abstractmethod
    def apply(self, prefix: str) -> None:
        """Make the running daemon announce `exported[prefix]`, or withdraw it if not there."""

    # -- what it sees ----------------------------------------------------------------------------

    @abstractmethod
    def states(self) -> dict[str, str]:
        """Return each neighbor's session state in lower case, such as "established"."""

    @abstractmethod
    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        """Return the routes received, from one neighbor or all, by prefix."""

    def paths(self, prefix: str) -> list[Seen]:
        """Return every path received for an IPv4 prefix; where a driver can tell."""
        raise NotImplementedError(f"{self.name}: paths of {prefix}")

    @abstractmethod
    def route_refresh(self, neighbor: str) -> None:
        """Send the neighbor a ROUTE-REFRESH for each family of the session."""

    @abstractmethod
    def updates_received(self) -> int:
        """Return a counter that rises with every UPDATE with routes received from any neighbor."""

    # -- waiting ---------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], object], what: str, timeout: float = WAIT) -> None:
        """Wait until the callable is true; on failure the daemon's output is in the message."""
        try:
            wait_until(condition, timeout=timeout, what=f"{self.name} to {what}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def established(self, address: str | None = None) -> bool:
        """Tell whether the session with the neighbor (default: every session) is up."""
        states = self.states()
        wanted = self.neighbors if address is None else (address,)
        return all(states.get(peer) == "established" for peer in wanted)

    def wait_established(self, address: str | None = None, timeout: float = WAIT) -> None:
        """Wait until the session with the neighbor, or every session, is up."""
        self.wait(lambda: self.established(address), f"reach {address or 'everybody'}", timeout)

    def wait_down(self, address: str, timeout: float = WAIT) -> None:
        """Wait until the session with the neighbor is not up."""
        self.wait(lambda: not self.established(address), f"lose {address}", timeout)

    def wait_routes(self, *prefixes: str, timeout: float = WAIT) -> dict[str, Route]:
        """Wait until all of these were received; return everything received."""
        seen: dict[str, Route] = {}

        def received() -> bool:
            nonlocal seen
            seen = self.routes()
            return seen.keys() >= set(prefixes)

        try:
            self.wait(received, f"receive {', '.join(prefixes)}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nreceived: {seen}") from None
        return seen

    def wait_gone(self, *prefixes: str, timeout: float = WAIT) -> None:
        """Wait until none of these is there."""
        what = f"lose {', '.join(prefixes)}"
        self.wait(lambda: not self.routes().keys() & set(prefixes), what, timeout)

    def wait_route(self, expected: Route, timeout: float = WAIT) -> None:
        """Wait for a route equal to `expected`, except LOCAL_PREF, which eBGP does not carry."""
        seen: Route | None = None

        def received() -> bool:
            nonlocal seen
            seen = self.routes().get(expected.prefix)
            return seen is not None and replace(seen, local_pref=None) == expected

        try:
            self.wait(received, f"receive {expected.prefix} as announced", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\nexpected: {expected}\nreceived: {seen}") from None


def communities_from_text(words: Iterable[str]) -> frozenset[str]:
    """Standard communities with well-known names turned into numbers."""
    return frozenset(WELL_KNOWN.get(word.lower().replace("_", "-"), word) for word in words)


def ext_community_text(octets: bytes) -> str:
    """Name an extended community (RFC 4360 3, RFC 5668): "rt:64500:1", "ro:64500:1"."""
    name = {2: "rt", 3: "ro"}.get(octets[1], f"{octets[1]:#04x}")
    split = 6 if octets[0] & 0x3F == 2 else 4  # a 4-octet or a 2-octet AS number
    high, low = octets[2:split], octets[split:]
    return f"{name}:{int.from_bytes(high, 'big')}:{int.from_bytes(low, 'big')}"
