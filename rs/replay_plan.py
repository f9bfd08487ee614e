"""What a replay sends, and as whom: plans and feeds, without sockets and without a clock.

In: a file's summary, its table, or its messages one by one; the user's options. Out: a `Plan` per
session and, once that session is up, a feed of octets for it, whole messages only. Per route the
work is in `_fastpath.play` and `_fastpath.recode`.

RFC 4724 2 (End-of-RIB), RFC 2918 (a peer may ask for the routes again).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import islice
from typing import TYPE_CHECKING

from rs._fastpath.play import Packer
from rs._fastpath.recode import Rewriter
from rs.errors import RsError
from rs.iana import MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, AddPathMode, Family, MessageType
from rs.session_types import SessionConfig

if TYPE_CHECKING:
    from rs._fastpath.mrttable import Table
    from rs.capabilities import Negotiated
    from rs.mrt import PeerInfo, Summary

PIECE_LEN = 1 << 18
"""Octets a feed gives at a time: large writes are what sockets like best."""


class PlanError(RsError):
    """Options that contradict each other, or the file."""


@dataclass(frozen=True, slots=True)
class Target:
    """A BGP speaker to play into."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user wants. Times in seconds."""

    targets: tuple[Target, ...]
    asn: int | None = None
    """Our AS number in every session; None = the recorded peer's."""
    peers: tuple[str, ...] = ("all",)
    """Peer indices or addresses, or `all`."""
    local_address: str | None = None
    local_prefix: str | None = None
    """Each peer connects from an address of its own in this prefix, the first from host 1."""
    router_id: str | None = None
    families: tuple[Family, ...] = tuple(Family)
    next_hops: tuple[str, ...] = ("keep",)
    """`keep`, `self`, or addresses, one for each family; `self` is for the transport's family."""
    prepend: bool = False
    """Put our AS in front of each AS_PATH."""
    valid_only: bool = False
    """Leave out routes that a receiver may not use (RFC 7606)."""
    rate: float | None = None
    """UPDATEs per second and session; None = as fast as possible."""
    speed: float | None = None
    """Multiple of the recorded time, for files of updates; None = as fast as possible."""
    hold_time: int = 90
    stay: float = 0.0
    """How long sessions stay up after the last message; inf = until interrupted."""
    loop: bool = False
    wait: float = 0.0
    """How long to try again where a connection is refused."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One session to be: a recorded peer played into one target."""

    peer: PeerInfo
    target: Target
    asn: int
    router_id: str
    families: tuple[Family, ...]
    local_address: str | None
    """None lets the system choose."""
    options: Options = field(repr=False)

    @property
    def name(self) -> str:
        """The peer and where it is played to, for people."""
        return f"AS{self.peer.asn} {self.peer.address}"

    def session_config(self) -> SessionConfig:
        """Return what the session offers. It sends routes and wants none."""
        return SessionConfig(
            local_asn=self.asn,
            local_router_id=self.router_id,
            peer_asn=None,
            families=self.families,
            hold_time=self.options.hold_time,
            addpath={f: AddPathMode.SEND for f in self.peer.add_path if f in self.families},
            extended_next_hop=Family.IPV4_UNICAST in self.families,
            enhanced_route_refresh=False,
        )

    def rewriter(self, agreed: Negotiated, local_address: str) -> Rewriter:
        """Return what turns recorded routes into those of a session that is up."""
        hop4, hop6 = _next_hops(self.options, local_address)
        return Rewriter(
            as4=agreed.four_octet_as,
            ibgp=agreed.ibgp,
            prepend=self.asn if self.options.prepend and not agreed.ibgp else 0,
            max_len=MAX_EXTENDED_MESSAGE_LEN if agreed.extended_message else MAX_MESSAGE_LEN,
            families=sum(1 << f for f in agreed.families),
            addpath=sum(1 << f for f in agreed.addpath_send),
            ext_next_hop=Family.IPV4_UNICAST in agreed.extended_next_hop,
            next_hop4=hop4,
            next_hop6=hop6,
        )


def make_plans(summary: Summary, options: Options) -> list[Plan]:
    """Return every session of a replay; PlanError names the option that cannot be."""
    peers = _chosen(summary, options)
    if options.speed is not None and summary.is_rib:
        raise PlanError("--speed needs a file of updates: the routes of a RIB file have no times")
    if options.asn is None:
        nameless = [p for p in peers if not p.asn]
        if nameless:
            raise PlanError(f"peer {nameless[0].index} has no recorded AS number: give --asn")
    addresses = _local_addresses(options, len(peers))
    if options.router_id is not None and len(peers) > 1:
        raise PlanError(f"--router-id names one peer, but {len(peers)} are to be played")
    _next_hops(options, "0.0.0.0")  # noqa: S104 - only to see that they can be read
    plans = []
    for target in options.targets:
        for peer, local in zip(peers, addresses, strict=True):
            plans.append(
                Plan(
                    peer=peer,
                    target=target,
                    asn=peer.asn if options.asn is None else options.asn,
                    router_id=options.router_id or _router_id(peer, local, options),
                    families=tuple(f for f in peer.families if f in options.families),
                    local_address=local,
                    options=options,
                )
            )
    return plans


def _chosen(summary: Summary, options: Options) -> list[PeerInfo]:
    """Return the peers to play: those with something to say in the chosen families."""
    if summary.is_rib:
        speaking = {p.index for p in summary.peers if p.entries.keys() & set(options.families)}
    else:
        speaking = {p.index for p in summary.peers if p.updates}
        speaking &= {p.index for p in summary.peers if set(p.families) & set(options.families)}
    if "all" in options.peers:
        chosen = [p for p in summary.peers if p.index in speaking]
        if not chosen:
            what = " and ".join(f.label for f in options.families)
            raise PlanError(f"{summary.path}: no peer has anything of {what}")
        return chosen
    chosen = []
    for name in options.peers:
        found = [p for p in summary.peers if name in {str(p.index), p.address}]
        if not found:
            raise PlanError(
                f"--peer {name}: {summary.path} has no such peer;"
                f" they are numbered 0 to {len(summary.peers) - 1}, see --info"
            )
        silent = [p for p in found if p.index not in speaking]
        if silent:
            raise PlanError(f"--peer {name}: the file has nothing of it in the chosen families")
        chosen += [p for p in found if p not in chosen]
    return chosen


def _local_addresses(options: Options, n: int) -> list[str | None]:
    if options.local_prefix is not None:
        try:
            prefix = ip_network(options.local_prefix)
        except ValueError as e:
            raise PlanError(f"--local-prefix: {e}") from e
        hosts = [str(host) for host in islice(prefix.hosts(), n)]
        if len(hosts) < n:
            raise PlanError(
                f"--local-prefix {prefix} has {len(hosts)} addresses,"
                f" but {n} peers are to be played"
            )
        return [*hosts]
    if n > 1:
        raise PlanError(
            f"{n} peers are to be played: each needs an address of its own, give --local-prefix"
            " (127.0.1.0/24 on loopback) or choose one --peer"
        )
    return [options.local_address]


def _router_id(peer: PeerInfo, local: str | None, options: Options) -> str:
    """Return the recorded identifier of a peer played under its own AS, else one for its address.

    Peers of one AS number must differ in it (RFC 6286 2.1).
    """
    if peer.router_id is not None and (options.asn is None or local is None):
        return peer.router_id
    for address in (local, peer.address):
        if address is not None and isinstance(ip_address(address), IPv4Address):
            return address if address != "0.0.0.0" else "10.255.0.1"  # noqa: S104 - no listening
    return str(IPv4Address("10.255.0.1") + peer.index)


def _next_hops(options: Options, local_address: str) -> tuple[bytes, bytes]:
    """Return what replaces IPv4 and IPv6 next hops; empty for what stays as recorded."""
    hop4 = hop6 = b""
    for text in options.next_hops:
        if text == "keep":
            continue
        try:
            address = ip_address(local_address if text == "self" else text)
        except ValueError as e:
            raise PlanError(f"--next-hop {text}: neither keep, self nor an address") from e
        if isinstance(address, IPv6Address):
            hop6 = hop6 or address.packed
        else:
            hop4 = hop4 or address.packed
    return hop4, hop6


def end_of_rib(family: Family) -> bytes:
    """Return the UPDATE that ends a table's first transfer (RFC 4724 2)."""
    body = bytes(4)
    if family is not Family.IPV4_UNICAST:
        mp_unreach = family.afi.to_bytes(2) + family.safi.to_bytes(1)
        body = b"\0\0\0\x06\x80\x0f\x03" + mp_unreach
    return b"\xff" * 16 + (19 + len(body)).to_bytes(2) + bytes([MessageType.UPDATE]) + body


class RouteFeed:
    """A RIB file's peer for one session: its routes by family, End-of-RIB behind each."""

    def __init__(self, table: Table, plan: Plan, agreed: Negotiated, local: str) -> None:
        self._table = table
        self._plan = plan
        self._agreed = agreed
        self._rewriter = plan.rewriter(agreed, local)
        self._queue: list[Family] = list(agreed.families)
        self._packer: Packer | None = None
        self.routes = 0
        self.updates = 0
        self.skipped = 0
        """Routes that cannot be sent in this session."""

    @property
    def total(self) -> int:
        """Routes there are to send."""
        families = self._agreed.families
        return sum(self._table.count(self._plan.peer.index, family)[0] for family in families)

    @property
    def least(self) -> int:
        """Smallest room that `next` accepts; asked for that, it gives one UPDATE."""
        return self._rewriter.max_len

    def next(self, room: int = PIECE_LEN) -> bytes:
        """Return the next whole messages in up to `room` octets; empty when all is said."""
        while True:
            packer = self._packer
            if packer is None:
                if not self._queue:
                    return b""
                packer = self._packer = Packer(
                    self._table,
                    self._plan.peer.index,
                    self._queue[0],
                    self._rewriter,
                    valid_only=self._plan.options.valid_only,
                )
            routes, messages = packer.n_routes, packer.n_messages
            piece = packer.next(room)
            self.routes += packer.n_routes - routes
            self.updates += packer.n_messages - messages
            if piece:
                return piece
            self.skipped += packer.n_skipped
            self._packer = None
            self.updates += 1
            return end_of_rib(self._queue.pop(0))

    def repeat(self, family: Family | None = None) -> None:
        """Say everything again, or one family: it was asked for, or a replay goes round."""
        for again in self._agreed.families if family is None else (family,):
            if again not in self._queue[1:]:
                self._queue.append(again)


class MessageFeed:
    """A file of updates for one session: recorded UPDATEs, gathered to large pieces."""

    def __init__(self, plan: Plan, agreed: Negotiated, local: str) -> None:
        self._rewriter = plan.rewriter(agreed, local)
        self._pieces: list[bytes] = []
        self.pending = 0
        """Octets gathered."""
        self.updates = 0

    @property
    def routes(self) -> int:
        """NLRI announced."""
        return self._rewriter.n_announced

    @property
    def withdrawn(self) -> int:
        """NLRI withdrawn."""
        return self._rewriter.n_withdrawn

    @property
    def skipped(self) -> int:
        """UPDATEs that cannot be sent in this session."""
        return self._rewriter.n_filtered + self._rewriter.n_too_long

    def add(self, raw: bytes, *, as4: bool, add_path: bool) -> None:
        """Take a recorded message; whatever is no UPDATE is passed over."""
        if raw[18] == MessageType.UPDATE and (out := self._rewriter.convert(raw, as4, add_path)):
            self._pieces.append(out)
            self.pending += len(out)
            self.updates += 1

    def take(self) -> bytes:
        """Return and forget what has been gathered."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self.pending = 0
        return data
