"""One neighbor at run time: its configuration, its session, its paths in and its places out.

In: a session that comes up or goes down. Out: an Ingest for its bytes and Members in the groups it
belongs to. A peer owns its session; its slot in the RIB is given by the router.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol, cast

from rs.config import AddPath, AddPathSend, GracefulRestart, Rtt
from rs.configvalues import in_family
from rs.fsm import State
from rs.iana import AddPathMode, Family, MessageType
from rs.messages import RouteRefresh, encode_route_refresh
from rs.restart_caps import GracefulRestart as RestartCapability
from rs.restart_caps import LongLived
from rs.session import Session
from rs.session_types import SessionConfig

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from rs import session_types
    from rs._fastpath.export import View
    from rs._fastpath.group import Member
    from rs._fastpath.ingest import Ingest
    from rs._fastpath.outbox import Outbox
    from rs._fastpath.terms import Terms
    from rs.capabilities import Negotiated
    from rs.communityconfig import BlackHoles
    from rs.config import Neighbor
    from rs.groups import Groups
    from rs.restart import Kept


class Conn(Protocol):
    """What the routing side needs of a connection."""

    outbox: Outbox
    local_address: str
    """Our end, as text."""

    def rtt(self) -> int | None:
        """Return the round-trip time in ms, None if it is not known."""

    def pause_reading(self) -> None:
        """Read nothing from this connection for now."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def __hash__(self) -> int:
        """Tell connections apart by identity: the session keeps a machine for each."""


class PeerKind(IntEnum):
    """How a peer is spoken to; the numbers are those of the fast path (PEER_*, PROG_*)."""

    RS_CLIENT = 0
    EBGP = 1
    IBGP = 2
    RR_CLIENT = 3


class PathChoice(IntEnum):
    """Which paths are sent with ADD-PATH; the numbers are those of the fast path (PATHS_*)."""

    ALL = 0
    BEST_PER_AS = 1
    EQUAL = 2


def choice_of(neighbor: Neighbor, family: Family) -> PathChoice:
    """Return which paths of a prefix a neighbor is sent where it takes several."""
    chosen: AddPathSend = in_family(neighbor.add_path_send, family)
    return PathChoice[chosen.name]


def kind_of(neighbor: Neighbor) -> PeerKind:
    """Return how a neighbor is spoken to."""
    if neighbor.internal:
        return PeerKind.RR_CLIENT if neighbor.route_reflector_client else PeerKind.IBGP
    return PeerKind.RS_CLIENT if neighbor.route_server_client else PeerKind.EBGP


def role_of(neighbor: Neighbor) -> int:
    """Return what we are to a neighbor as the fast path has it (ROLE_*); 0 for no role."""
    role = neighbor.local_role.number
    return 0 if role is None else role + 1


def end_of_rib(family: Family) -> bytes:
    """Return the End-of-RIB marker of a family (RFC 4724 2)."""
    if family is Family.IPV4_UNICAST:
        return b"\xff" * 16 + b"\x00\x17\x02\x00\x00\x00\x00"
    # MP_UNREACH_NLRI with nothing but the family.
    attribute = b"\x80\x0f\x03" + family.afi.to_bytes(2, "big") + bytes([family.safi])
    length = 19 + 4 + len(attribute)
    return (
        b"\xff" * 16
        + length.to_bytes(2, "big")
        + b"\x02\x00\x00"
        + len(attribute).to_bytes(2, "big")
        + attribute
    )


def restart_capability(neighbor: Neighbor, *, restarted: bool) -> RestartCapability | None:
    """Return what our OPEN says of restarts (RFC 4724 3, 8538 2, 9494 3.1).

    We forward no packets, so what a neighbor does with our routes is as right after a restart as
    before: the F bit is set wherever a family is listed (RFC 9494 5).
    """
    if neighbor.graceful_restart is GracefulRestart.OFF:
        return None
    pairs = [(int(f.afi), int(f.safi)) for f in neighbor.families]
    if neighbor.graceful_restart is GracefulRestart.HELPER:
        pairs = []
    stale = {f: in_family(neighbor.long_lived_stale_time, f) for f in neighbor.families}
    return RestartCapability(
        restarted=restarted,
        notification=neighbor.graceful_notification,
        time=neighbor.restart_time if pairs else 0,
        families=dict.fromkeys(pairs, True),
        long_lived={
            (int(f.afi), int(f.safi)): LongLived(True, time)
            for f, time in stale.items()
            if time and pairs
        }
        if any(stale.values())
        else None,
    )


def session_config(neighbor: Neighbor, *, restarted: bool = False) -> SessionConfig:
    """Return what the session needs of a neighbor's configuration.

    `restarted`: we have, and have not sent our routes yet.
    """
    router = neighbor.router
    wanted = {f: in_family(neighbor.add_path, f) for f in neighbor.families}
    limits = {f: in_family(neighbor.add_path_receive_limit, f) for f in neighbor.families}
    host, _, domain = (router.hostname or "").partition(".")
    return SessionConfig(
        local_asn=router.asn,
        local_router_id=router.router_id,
        peer_asn=neighbor.asn,
        families=neighbor.families,
        hold_time=neighbor.hold_time,
        passive=neighbor.passive,
        connect_retry=float(neighbor.connect_retry),
        addpath={f: AddPathMode[w.name] for f, w in wanted.items() if w is not AddPath.OFF},
        paths_limit={f: limit for f, limit in limits.items() if limit},
        extended_message=neighbor.extended_messages,
        extended_next_hop=neighbor.extended_next_hop,
        route_refresh=neighbor.route_refresh,
        enhanced_route_refresh=neighbor.enhanced_refresh,
        graceful_restart=restart_capability(neighbor, restarted=restarted),
        hostname=host,
        domain=domain,
        role=neighbor.local_role.number,
        strict_role=neighbor.strict_role,
    )


class Peer:
    """One neighbor, configured or come from a range."""

    def __init__(
        self,
        slot: int,
        neighbor: Neighbor,
        address: str,
        rng: random.Random,
        on_up: Callable[[Peer, Conn, Negotiated], session_types.Ingest],
        *,
        dynamic: bool = False,
        restarted: bool = False,
    ) -> None:
        self.slot = slot
        self.neighbor = neighbor
        self.address = address
        self.dynamic = dynamic
        self.origin = neighbor.name
        """Name of the neighbor or range in the configuration."""
        self.retired = False
        """No longer configured; it goes when its paths have."""
        # To a session a connection is any key; here it is known what it is.
        self.restarted = restarted
        """Our OPEN says that we have restarted."""
        self.session = Session(
            session_config(neighbor, restarted=restarted),
            rng,
            lambda conn, agreed: on_up(self, cast("Conn", conn), agreed),
        )
        self.ingest: Ingest | None = None
        """Of the present session, or of the last one, for its counters."""
        self.members: dict[Family, Member] = {}
        self.up_since: float | None = None
        self.ups = 0
        """Sessions that came up."""
        self.conn: Conn | None = None
        """The connection of the established session."""
        self.agreed: Negotiated | None = None
        """What was agreed on in the present session, or in the last one."""
        self.kept: dict[Family, Kept] = {}
        """Families whose routes of a lost session are still there, see restart.py."""
        self.limit_stage = dict.fromkeys(Family, 0)
        """How far max_prefix is used: 0, 1 from the warning on, 2 beyond the limit."""
        self.limited = False
        """Shut down because it announced too much."""
        self.measured_rtt: int | None = None
        """Round-trip time of its last session in ms."""
        self.transit_seen: dict[int, int] = {}
        """How often import saw transit-free networks, where they are only warned of."""
        self.transit_logged: set[int] = set()
        self.shut_down = False
        """Shut down by an operator."""
        self.looked_at = False
        """Whether its session has been looked at by unwanted.py."""
        self.restart_at: float | None = None
        """When the session starts again after that; None for not by itself."""
        self.validated = False
        """Some policy asks for the RPKI state of its routes."""
        self.export_terms: Terms | None = None
        """The export policies that its groups go by; None while it is not up."""

    @property
    def asn(self) -> int:
        """The AS number of the session, else the configured one; 0 while a range leaves it open."""
        agreed = self.session.negotiated
        if agreed is not None:
            return agreed.peer_asn
        return self.neighbor.asn or 0

    @property
    def description(self) -> str:
        """The operator's name for it, else the host name from its OPEN."""
        if self.neighbor.description:
            return self.neighbor.description
        agreed = self.session.negotiated
        return agreed.peer_hostname if agreed is not None else ""

    @property
    def keeps_ours(self) -> bool:
        """Whether the neighbor keeps our routes while we restart (RFC 4724 4.2)."""
        agreed = self.session.negotiated
        return (
            self.established
            and agreed is not None
            and agreed.graceful_restart is not None
            and self.neighbor.graceful_restart is GracefulRestart.ON
        )

    def tell_restarted(self, *, restarted: bool) -> None:
        """Say in our next OPENs that we have restarted, or no longer (RFC 4724 3)."""
        if restarted is not self.restarted:
            self.restarted = restarted
            self.session.reconfigure(session_config(self.neighbor, restarted=restarted))

    @property
    def established(self) -> bool:
        """Whether its session is up."""
        return self.session.state is State.ESTABLISHED

    @property
    def rtt(self) -> int | None:
        """Round-trip time in ms as configured or measured, None where it is not known."""
        configured = self.neighbor.rtt
        return self.measured_rtt if isinstance(configured, Rtt) else configured

    def receives_black_holes(self, holes: BlackHoles) -> bool:
        """Whether it accepts routes whose traffic is to be dropped (RFC 7999)."""
        own = self.neighbor.blackhole_receive
        return holes.receive if own is None else own

    def count_sent(self) -> None:
        """Bring the session's counters up to date: UPDATEs go past it, from log to socket."""
        if self.conn is None:
            return
        updates, markers = self.conn.outbox.take_counts()
        sent = self.session.counters.sent
        sent[MessageType.UPDATE] += updates
        sent[MessageType.ROUTE_REFRESH] += markers

    def use(self, neighbor: Neighbor) -> None:
        """Take a changed configuration; what is said in the OPEN waits for the next session."""
        self.neighbor = neighbor
        self.session.reconfigure(session_config(neighbor, restarted=self.restarted))

    @property
    def groups(self) -> Groups | None:
        """The directory its members are in; None while it is not up."""
        return self._groups if self.members else None

    _groups: Groups | None = None

    def view(self, family: Family) -> View | None:
        """Return the view that is sent to this peer in a family."""
        member = self.members.get(family)
        return None if member is None or self._groups is None else self._groups.view_of(member)

    def __repr__(self) -> str:
        return f"<Peer {self.address} AS{self.asn} slot {self.slot}>"


def refresh_marker(family: Family, subtype: int) -> bytes:
    """Return a BoRR or EoRR message (RFC 7313 3.2)."""
    return encode_route_refresh(RouteRefresh(family.afi, family.safi, subtype))
