"""Neighbors of a router in memory: their configuration, and speakers that play them.

In: what a test has a neighbor announce, and how much it reads. Out: octets for the router's sessions
(tests/routers.py carries them), and tables decoded from what came back, by the reference codec.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rs._fastpath.outbox import Outbox
from rs.config import Config, IgpRoute, Neighbor, role_defaults
from rs.config import Router as RouterConfig
from rs.configvalues import Endpoint
from rs.iana import (
    HEADER_LEN,
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    AddPathMode,
    BgpRole,
    Family,
    MessageType,
    RefreshSubtype,
)
from rs.messages import decode_notification, decode_route_refresh, encode_open
from rs.session_types import SessionConfig
from tests.reference import codec
from tests.reference.update import Context, Outcome, decode_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rs.peer import Peer
    from rs.restart_caps import GracefulRestart

Attrs = dict[str, Any]
V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
BOTH = (V4, V6)
RS_ASN = 64500
LOCAL = {V4: "10.0.0.1", V6: "2001:db8::1"}
"""Our own addresses, by family."""
HOLES = {V4: "192.0.2.66", V6: "2001:db8::66"}
"""Next hops of black holes, where they are served."""
SEQ = 2
EVERYTHING = 1 << 40
MARKS = ("eor", "borr", "eorr")


# --- configuration --------------------------------------------------------------------------------


def make_router(**changes: Any) -> RouterConfig:
    """A [router] section: a route server of AS 64500 that listens on its own addresses."""
    values: dict[str, Any] = {
        "asn": RS_ASN,
        "router_id": "10.0.0.1",
        "listen": tuple(Endpoint(LOCAL[f], 1790) for f in BOTH),
        **changes,
    }
    return RouterConfig(**values)


def make_neighbor(router: RouterConfig, asn: int | None, **changes: Any) -> Neighbor:
    """A neighbor as the loader completes it; without `asn` any AS number may come.

    But nobody needs a policy (RFC 8212): what that does is tested for itself.
    """
    internal = asn == router.asn
    given = changes.get("route_server_client")
    derived = role_defaults(router, internal=internal, route_server_client=given)
    values: dict[str, Any] = {
        "asns": () if asn is None else (asn,),
        "passive": True,
        "router": router,
        "derived": frozenset(derived) - set(changes),
        **derived,
        "require_policy": False,
        **changes,
    }
    return Neighbor(**values)


def make_config(
    router: RouterConfig,
    neighbors: Iterable[Neighbor],
    igp: dict[str, int] | None = None,
    **more: Any,
) -> Config:
    """A configuration; `igp` maps prefixes of next hops to metrics."""
    routes = None if igp is None else tuple(IgpRoute(prefix=p, metric=m) for p, m in igp.items())
    return Config(router=router, neighbors=tuple(neighbors), igp=routes, **more)


# --- the far ends ---------------------------------------------------------------------------------


class Conn:
    """What the router sees of a connection, and what the far end has sent and not got through."""

    def __init__(self, speaker: Speaker, local_address: str) -> None:
        self.speaker = speaker
        self.outbox = Outbox()
        self.local_address = local_address
        self.reading = True
        self.open = True
        self.waiting: list[Callable[[], None]] = []
        """What arrived while the router does not read."""

    def rtt(self) -> int | None:
        return self.speaker.rtt

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass
class Speaker:
    """A neighbor's router: what it offers, what it has received."""

    address: str
    asn: int
    router_id: str
    families: tuple[Family, ...] = BOTH
    four_octet_as: bool = True
    extended_message: bool = True
    enhanced_refresh: bool = True
    extended_next_hop: bool = False
    add_path: tuple[Family, ...] = ()
    """Families in which it sends several paths of a prefix."""
    graceful: GracefulRestart | None = None
    """What it says of its restarts."""
    hears_paths: tuple[Family, ...] = ()
    """Families in which it can receive them."""
    role: BgpRole | None = None
    """What it says that it is to the router (RFC 9234)."""
    paths_limit: int = 0
    """How many paths of a prefix it wants at most (PATHS-LIMIT), 0 for any number."""
    rtt: int | None = None
    """Round-trip time to it in ms, as measured."""
    slow: bool = False
    """It reads nothing when the lab lets everybody read."""

    conn: Conn | None = None
    peer: Peer | None = None
    partial: bytes = b""
    tables: dict[Family, dict[tuple[str, int], Attrs]] = field(default_factory=dict)
    """By prefix and path identifier, which is 0 without ADD-PATH."""
    events: list[tuple[Any, ...]] = field(default_factory=list)
    """("announce", prefix, attrs), ("withdraw", prefix), ("eor", family), ("borr", family),
    ("eorr", family), ("notification", code, subcode), in the order of arrival."""
    messages: int = 0
    longest: int = 0
    octets: int = 0
    watch: Callable[[str, Attrs], None] | None = None
    """Called with every route it is sent."""
    keep_events: bool = True

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def up(self) -> bool:
        """Whether its session is established."""
        return self.conn is not None and self.peer is not None and self.peer.conn is self.conn

    @property
    def slot(self) -> int:
        assert self.peer is not None
        return self.peer.slot

    @property
    def ibgp(self) -> bool:
        return self.asn == RS_ASN

    def open_message(self) -> bytes:
        config = SessionConfig(
            local_asn=self.asn,
            local_router_id=self.router_id,
            peer_asn=None,
            families=self.families,
            four_octet_as=self.four_octet_as,
            extended_message=self.extended_message,
            enhanced_route_refresh=self.enhanced_refresh,
            graceful_restart=self.graceful,
            extended_next_hop=self.extended_next_hop,
            role=self.role,
            addpath={
                f: AddPathMode(2 * (f in self.add_path) + (f in self.hears_paths))
                for f in self.families
                if f in self.add_path or f in self.hears_paths
            },
            paths_limit=dict.fromkeys(self.hears_paths, self.paths_limit),
        )
        return encode_open(config.offer().message())

    @property
    def max_len(self) -> int:
        return MAX_EXTENDED_MESSAGE_LEN if self.extended_message else MAX_MESSAGE_LEN

    def sending(self) -> Context:
        """How the router reads what this speaker sends."""
        return Context(
            as4=self.four_octet_as,
            ibgp=self.ibgp,
            families=frozenset(self.families),
            addpath=frozenset(self.add_path),
            ext_next_hop=self.extended_next_hop,
        )

    def receiving(self) -> Context:
        """How this speaker reads what it is sent: as an internal peer, so that it sees everything
        that should not have been sent to an external one."""
        return replace(self.sending(), ibgp=True, addpath=frozenset(self.hears_paths))

    def take(self, data: bytes) -> None:
        """Take bytes from the connection; every whole message is decoded and must be flawless."""
        self.octets += len(data)
        self.partial += data
        while len(self.partial) >= HEADER_LEN:
            assert self.partial[:16] == b"\xff" * 16, f"{self.address}: {self.partial[:64].hex()}"
            n = int.from_bytes(self.partial[16:18], "big")
            if len(self.partial) < n:
                break
            message, self.partial = self.partial[:n], self.partial[n:]
            self.messages += 1
            self._message(message[18], message[HEADER_LEN:], n)

    def _note(self, *event: Any) -> None:
        if self.keep_events:
            self.events.append(event)

    def _message(self, kind: int, body: bytes, n: int) -> None:
        if kind == MessageType.UPDATE:
            assert n <= self.max_len, f"{self.address}: a message of {n} octets"
            self.longest = max(self.longest, n)
            self._update(body)
        elif kind == MessageType.ROUTE_REFRESH:
            refresh = decode_route_refresh(body, enhanced=True)
            family = Family.from_wire(refresh.afi, refresh.safi)
            self._note(RefreshSubtype(refresh.subtype).name.lower(), family)
        elif kind == MessageType.NOTIFICATION:
            found = decode_notification(body)
            self._note("notification", found.code, found.subcode)
        else:
            assert kind in {MessageType.OPEN, MessageType.KEEPALIVE}, kind

    def _update(self, body: bytes) -> None:
        result = decode_update(body, self.receiving())
        told = f"{self.address}: {result} in {len(body)} octets: {body[:500].hex()}"
        assert result.outcome is Outcome.OK, told
        assert result.discarded == 0, told
        if result.eor is not None:
            self._note("eor", result.eor)
        for family, prefix, path_id in result.withdrawn:
            assert family in self.families
            self.tables.setdefault(family, {}).pop((prefix, path_id), None)
            self._note("withdraw", prefix)
        for (family, prefix, path_id), attrs in result.routes():
            assert family in self.families
            self.tables.setdefault(family, {})[prefix, path_id] = attrs
            self._note("announce", prefix, attrs)
            if self.watch is not None:
                self.watch(prefix, attrs)

    def table(self) -> dict[str, Attrs]:
        """Everything it has, both families, where it has one path a prefix."""
        return {p: a for table in self.tables.values() for (p, _), a in table.items()}

    def paths(self) -> dict[str, list[Attrs]]:
        """Everything it has: for each prefix its paths, by identifier."""
        found: dict[str, list[Attrs]] = {}
        for table in self.tables.values():
            for (prefix, _), attrs in sorted(table.items(), key=lambda item: item[0]):
                found.setdefault(prefix, []).append(attrs)
        return found

    def count(self, kind: str, *values: Any) -> int:
        return sum(1 for e in self.events if e[: 1 + len(values)] == (kind, *values))


# --- attributes and prefixes ---------------------------------------------------------------------


def default_attrs(speaker: Speaker, prefix: str, **changes: Any) -> Attrs:
    """The mandatory attributes as a speaker sends them, and more."""
    v4 = codec.family_of(prefix) is V4
    attrs: Attrs = {
        "origin": 0,
        "as_path": () if speaker.ibgp else ((SEQ, (speaker.asn,)),),
        "next_hop": next_hop_of(speaker, V4 if v4 else V6),
    }
    attrs.update(changes)
    return {k: v for k, v in attrs.items() if v is not None}


def next_hop_of(speaker: Speaker, family: Family) -> str:
    """An address of the speaker's own."""
    low = int(speaker.address.rpartition(".")[2]) if "." in speaker.address else 1
    return f"192.0.2.{low % 250 + 1}" if family is V4 else f"2001:db8:1::{low + 1:x}"


def plain(attrs: Attrs) -> Attrs:
    """Attributes with only the flags that mean something."""
    if "unknown" not in attrs:
        return attrs
    unknown = tuple((flags & 0xE0, kind, value) for flags, kind, value in attrs["unknown"])
    return {**attrs, "unknown": unknown}


def repr_of(attrs: Attrs) -> str:
    """Something to sort attributes by."""
    return repr(sorted(plain(attrs).items()))


def prefix_key(prefix: str) -> tuple[bytes, int]:
    """Octets and length of a prefix."""
    nlri = codec.encode_nlri([prefix])
    width = 4 if codec.family_of(prefix) is V4 else 16
    return nlri[1:].ljust(width, b"\0"), nlri[0]


def handle(table: Any, prefix: str) -> int:
    """Handle of a prefix in a table, 0 where it is not."""
    return int(table.handle(*prefix_key(prefix)))


def prefixes_of(table: Any) -> list[str]:
    """Every prefix of a table as text, in order."""
    from tests.reference.update import prefix_text

    width = 4 if table.family == 0 else 16
    found: list[str] = []
    after = None
    while True:
        handles = table.trie.below(bytes(width), 0, after, 1000)
        for h in handles:
            octets, plen = table.trie.key(h)
            found.append(prefix_text(octets, plen, width))
            after = (octets, plen)
        if len(handles) < 1000:
            return found
