"""The route server without I/O: RIB, export, peers, and what happens when a session comes or goes.

In: a configuration, sessions that come up and down, their bytes through Ingest, and time. Out:
bytes in the outboxes of connections. The router owns the peers and everything in the fast path;
the transport owns sockets and calls in here.

Here are peers and their sessions coming and going. What that asks for is done by those whom the
router owns: Membership knows who is there, Joining gives sessions their places in groups, Rules
has filters and policies, Revalidation judges and evaluates again, Restarts keeps routes of those
who come back. Long work is given to the scheduler as jobs.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from rs._fastpath.aspa import AspaTable
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.export import Exporter
from rs._fastpath.ingest import Ingest
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.roa import RoaTable
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import purge_step
from rs.communities import make_rules
from rs.communityconfig import BlackHolePolicy
from rs.config import AsSetRule, MedRule, Rtt
from rs.configvalues import identifier_number, in_family
from rs.fsm import Event
from rs.groups import Groups
from rs.iana import CeaseSubcode, Family, RefreshSubtype
from rs.irr import Sets, load_sets
from rs.joining import Joining
from rs.limits import check_limits, restart_limited
from rs.membership import Membership
from rs.nexthops import NextHops
from rs.peer import Peer, kind_of, refresh_marker, role_of
from rs.prefixset import NeighborIndex
from rs.restart import Restarts
from rs.revalidate import Revalidation
from rs.rules import Rules, black_holes
from rs.scheduler import LoopStats, Scheduler
from rs.session_types import Down
from rs.startup import Startup
from rs.transitfree import note_transit
from rs.unwanted import note_unwanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rs import session_types
    from rs.capabilities import Negotiated
    from rs.config import Config, Neighbor
    from rs.peer import Conn
    from rs.show_types import RpkiCache, RpkiFile
    from rs.startup import Before

TICKS_PER_SECOND = 16
"""Resolution of a path's age; see path_t.ticks."""
PURGE_STEP = 4096
"""Prefixes looked at between two looks at the clock when a peer's paths go."""

log = logging.getLogger("rs")


class Gate:
    """Stands in for an Ingest while the paths of the peer's last session are still going."""

    def __init__(self) -> None:
        self.pending_events: list[tuple[object, ...]] = []
        self.held: list[bytes] = []
        self.updates = 0
        self.keepalives = 0

    def feed(self, data: bytes | memoryview) -> int:
        """Keep what came with the message that brought the session up."""
        self.held.append(bytes(data))
        return 0

    def take_events(self) -> list[tuple[object, ...]]:
        """Nothing has happened."""
        return []


class Router:
    """A route server or reflector: everything but sockets."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        sets: Sets | None = None,
        before: Before | None = None,
    ) -> None:
        """Make the peers of a configuration; without its named sets given, load them.

        `before` makes it a restart, see startup.py. ConfigError if the sets cannot be had.
        """
        self.config = config
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self.started = clock()
        self.loop = LoopStats()
        settings = config.router
        self.attrs = AttrTable()
        slots = 1 + sum(1 for n in config.neighbors if not n.is_range)
        self.sets = MemberSets(max(64, slots))
        cluster_id = identifier_number(settings.cluster_id)
        self.control = Control(
            self.attrs,
            self.sets,
            settings.asn,
            settings.identifier,
            cluster_id,
            as_loop=settings.is_route_server,
        )
        self._use_communities(config)
        self.rib = Rib(self.attrs, self.sets, self.control)
        self.rib.set_options(
            med_always=settings.med is MedRule.ALWAYS,
            med_deterministic=settings.deterministic_med,
            prefer_oldest=settings.prefer_oldest,
        )
        self.exporter = Exporter(self.rib, Rewriter(self.rib))
        self.scheduler = Scheduler(self.exporter)
        self.next_hops = NextHops(self.rib, self.scheduler, config, wake=self._wake)
        self.joining = Joining(self)
        self.groups = Groups(
            self.exporter, settings.asn, cluster_id, self.next_hops.vantage, self.joining.release
        )
        sources = config.rpki.caches or config.rpki.files
        self.startup = Startup(self, config.startup, before, rpki=bool(sources))
        self.scheduler.deferred = self.startup.holding
        self.peers: dict[int, Peer] = {}
        """By slot."""
        self._by_address: dict[str, Peer] = {}
        self._index = NeighborIndex(config.neighbors)
        self._free_slots: list[int] = []
        self._top_slot = 0
        self.roas = RoaTable()
        self.aspas = AspaTable()
        self.revalidation = Revalidation(self)
        self.rules = Rules(self, load_sets(config) if sets is None else sets)
        self._purging: set[int] = set()
        """Slots whose paths of a lost session have not all gone yet."""
        self.restarts = Restarts(self.rib, self.scheduler, self._purge_lost, self._feed_held)
        self.membership = Membership(self)
        self.on_wake: Callable[[], None] = lambda: None
        """Called when there is new work for the scheduler; the transport sets it."""
        self.on_commands: Callable[[Peer], None] = lambda _: None
        """Called when a session may want something from the transport outside of its own calls."""
        self.rpki_sources: Callable[[], tuple[list[RpkiCache], list[RpkiFile]]] = lambda: ([], [])
        """Where RPKI data come from, for those who look; the daemon sets it."""
        self.reload: Callable[[], Awaitable[str]] | None = None
        """Reads the configuration file again, as SIGHUP does; the daemon sets it."""
        self.ask_to_stop: Callable[..., None] | None = None
        """Has the daemon end, with `graceful` for a restart; the daemon sets it."""
        for neighbor in config.neighbors:
            if not neighbor.is_range:
                self._add_peer(neighbor, str(neighbor.address))
        self.membership.update_directory()

    def _wake(self) -> None:
        self.on_wake()

    # --- time

    def now(self) -> float:
        """Seconds of the clock that everything here runs on."""
        return self._clock()

    def tick(self, now: float) -> None:
        """Set the time that paths received from now on are stamped with."""
        self.rib.ticks = int((now - self.started) * TICKS_PER_SECOND) & 0xFFFFFFFF

    def age(self, ticks: int, now: float) -> float:
        """Seconds since a path with these ticks was received."""
        passed = int((now - self.started) * TICKS_PER_SECOND) - ticks
        return (passed & 0xFFFFFFFF) / TICKS_PER_SECOND

    # --- peers

    def peer_for(self, address: str) -> Peer | None:
        """Return the peer with this address, if there is one."""
        return self._by_address.get(address)

    def knows(self, address: str) -> bool:
        """Whether a neighbor with this address is configured, or may come from a range."""
        return address in self._by_address or self._index.find(address) is not None

    def accept(self, address: str) -> tuple[Peer | None, str]:
        """Return the peer that a connection from `address` is for, made now if it is from a range.

        Where there is none, None and why.
        """
        peer = self._by_address.get(address)
        if peer is not None:
            return peer, ""
        neighbor = self._index.find(address)
        if neighbor is None:
            return None, "no neighbor has this address"
        if not neighbor.enabled:
            return None, f"the range {neighbor.range} is not enabled"
        used = sum(p.dynamic and p.origin == neighbor.name for p in self.peers.values())
        if used >= neighbor.max_peers:
            return None, f"the range {neighbor.range} has its {used} neighbors (max_peers)"
        peer = self._add_peer(neighbor, address, dynamic=True)
        peer.session.start(self.now())
        return peer, ""

    def _add_peer(self, neighbor: Neighbor, address: str, *, dynamic: bool = False) -> Peer:
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            self._top_slot += 1
            slot = self._top_slot
        peer = Peer(
            slot,
            neighbor,
            address,
            self._rng,
            self._on_up,
            dynamic=dynamic,
            restarted=self.startup.restarted,
        )
        self.peers[slot] = peer
        self._by_address[address] = peer
        if not dynamic:
            self._describe(peer, neighbor)
        return peer

    def _describe(self, peer: Peer, neighbor: Neighbor, *, again: bool = False) -> None:
        if again:
            self.rib.change_peer(peer.slot, neighbor.asn or 0, kind_of(neighbor))
            self.rib.set_checks(
                peer.slot,
                first_as=neighbor.first_as_check,
                reject_as_set=neighbor.as_set is AsSetRule.REJECT,
                allow_own_as=neighbor.allow_own_as,
            )
        else:
            self.rib.add_peer(
                peer.slot,
                neighbor.asn or 0,
                peer.address,
                kind_of(neighbor),
                first_as=neighbor.first_as_check,
                reject_as_set=neighbor.as_set is AsSetRule.REJECT,
                allow_own_as=neighbor.allow_own_as,
            )
        self.rib.set_role(peer.slot, role_of(neighbor))
        self.rib.set_cluster(peer.slot, identifier_number(neighbor.cluster))
        for family in Family:
            limit = in_family(neighbor.add_path_receive_limit, family)
            self.rib.set_path_limit(peer.slot, family, limit)
        self.rules.set_filter(peer)
        self.rules.policies.set_import(peer)

    def forget(self, peer: Peer) -> None:
        """Drop a dynamic peer that has no connection any more.

        Who has been shut down stays known, or it would come again at once.
        """
        if not peer.dynamic or peer.retired or peer.kept or peer.shut_down or peer.limited:
            return
        if peer.session.connected_at_all:
            self.scheduler.add(self._forget_unless_connected(peer))
            self.on_wake()
        else:
            self.retire(peer)

    def _forget_unless_connected(self, peer: Peer) -> Iterator[bool]:
        # One round first: the session has yet to be told of the loss.
        yield True
        if not peer.session.connected_at_all and not peer.kept:
            self.retire(peer)

    def retire(self, peer: Peer) -> None:
        """Drop a peer, stopped already, when its paths have gone; its address is free at once."""
        if peer.retired:
            return
        peer.retired = True
        self.restarts.forget(peer)
        if self._by_address.get(peer.address) is peer:
            del self._by_address[peer.address]
        self.scheduler.add(self._forget(peer))
        self.on_wake()

    def _forget(self, peer: Peer) -> Iterator[bool]:
        # One round first: the transport is about to carry out what the session wants.
        yield True
        while self._gone_paths_left(peer) or peer.conn is not None:
            yield False
        del self.peers[peer.slot]
        if peer.ups or not peer.dynamic:
            self.rib.remove_peer(peer.slot)
            self.membership.renew()
            while self.membership.runs:
                yield False
        self._free_slots.append(peer.slot)

    # --- sessions

    def _on_up(self, peer: Peer, conn: Conn, agreed: Negotiated) -> session_types.Ingest:
        """Answer a session that has come up with what its bytes are fed to."""
        now = self.now()
        if peer.conn is not None:
            # The old connection is closed, and that is still on its way to us.
            self.on_down(peer, Down(peer.conn, "replaced", Event.TCP_CONNECTION_FAILS))
        if peer.dynamic:
            # Only now the AS number is known, and with it what kind of neighbor it is. Of two
            # connections of one neighbor the second may have another one.
            neighbor = self._index.find(peer.address) or peer.neighbor
            known = peer.ups > 0 and peer.neighbor.asn == agreed.peer_asn
            peer.neighbor = neighbor.instance(peer.address, agreed.peer_asn)
            if not known:
                self._describe(peer, peer.neighbor, again=peer.ups > 0)
                self.membership.renew()
        peer.up_since = now
        peer.looked_at = False
        peer.ups += 1
        peer.conn = conn
        peer.tell_restarted(restarted=False)
        before, peer.agreed = peer.agreed, agreed
        same = before is not None and (
            (before.peer_asn, before.peer_router_id) == (agreed.peer_asn, agreed.peer_router_id)
        )
        self.restarts.returned(peer, agreed, now, same=same)
        self.rib.set_router_id(peer.slot, agreed.peer_router_id)
        self._note_long_lived(peer, agreed)
        ingest = self._ingest(peer, agreed)
        peer.ingest = ingest
        self.membership.measure(peer, conn)
        self.joining.join(peer, conn, agreed)
        self.on_wake()
        if not self._gone_paths_left(peer):
            return ingest
        gate = Gate()
        conn.pause_reading()
        self.scheduler.add(self._open_gate(peer, conn, gate, ingest))
        return gate

    def _note_long_lived(self, peer: Peer, agreed: Negotiated) -> None:
        """Let long-lived stale routes go to who knows what they are, and be the last choice."""
        said = agreed.graceful_restart
        changed = self.rib.set_long_lived(
            peer.slot,
            said=agreed.long_lived_said,
            heard=said is not None and said.long_lived is not None,
            partial=peer.neighbor.long_lived_partial,
        )
        if changed:
            self.membership.everything = True
            self.membership.renew()

    def _ingest(self, peer: Peer, agreed: Negotiated) -> Ingest:
        return Ingest(
            self.rib,
            peer.slot,
            as4=agreed.four_octet_as,
            ibgp=agreed.ibgp,
            families=sum(1 << f for f in agreed.families),
            addpath=sum(1 << f for f in agreed.addpath_receive),
            ext_next_hop=bool(agreed.extended_next_hop),
            extended_message=agreed.extended_receive,
            enhanced_refresh=agreed.enhanced_route_refresh,
        )

    def _open_gate(self, peer: Peer, conn: Conn, gate: Gate, ingest: Ingest) -> Iterator[bool]:
        while self._gone_paths_left(peer):
            yield False
        if peer.conn is conn:
            peer.session.ingest = ingest
            for data in gate.held:
                peer.session.receive(conn, data, self.now())
            conn.resume_reading()
            self.on_commands(peer)

    def _gone_paths_left(self, peer: Peer) -> bool:
        """Whether paths of a lost session stand in the way of another one's."""
        return peer.slot in self._purging or self.restarts.settling(peer)

    def on_down(self, peer: Peer, down: Down | None = None) -> None:
        """Take back what a session that went down had brought, and its places in the groups.

        What is kept because the neighbor may come back is up to restart.py; without `down`
        nothing is.
        """
        if down is not None and peer.conn is not None and down.conn is not peer.conn:
            return  # of a connection that has been replaced since
        peer.up_since = None
        if peer.conn is not None:
            peer.conn.outbox.close()
            peer.count_sent()
            peer.conn = None
        for member in peer.members.values():
            self.groups.left(member)
        peer.members.clear()
        if down is None:
            peer.kept.clear()
        else:
            self.restarts.lost(peer, down, self.now())
        for family in Family:
            if family not in peer.kept:
                self.rib.refreshed(peer.slot, family)
        self._purge_lost(peer)

    def _purge_lost(self, peer: Peer) -> None:
        """Remove a lost session's paths, in the families that are not kept."""
        if any(self.rib.peer_counts(peer.slot, f)[0] for f in Family if f not in peer.kept):
            first = not self._purging
            self._purging.add(peer.slot)
            if first:
                self.scheduler.add(self._purge())
        if peer.dynamic and not peer.kept and peer.up_since is None:
            self.forget(peer)
        self.on_wake()

    def _purge(self) -> Iterator[bool]:
        """Remove the paths of lost peers: of all who went down before a round began, in one go."""
        while self._purging:
            slots = sorted(self._purging)
            for family in Family:
                table = self.rib.tables[family]
                going = [s for s in slots if family not in self.peers[s].kept]
                at = 1
                while at and any(self.rib.peer_counts(s, family)[0] for s in going):
                    at = purge_step(table, going, at, PURGE_STEP)
                    yield True
            self._purging.difference_update(slots)
            yield True

    def _feed_held(self, peer: Peer, conn: Conn, data: bytes) -> None:
        """Receive what was held back behind a BoRR."""
        peer.session.receive(conn, data, self.now())
        self.on_commands(peer)

    def on_end_of_rib(self, peer: Peer, family: Family) -> None:
        """Take note that a neighbor has sent all its routes (RFC 4724 4.2)."""
        self.restarts.end_of_rib(peer, family)
        self.check_startup()
        self.on_wake()

    def on_refresh(self, peer: Peer, family: Family, subtype: int) -> None:
        """Answer ROUTE-REFRESH (RFC 2918, 7313)."""
        member = peer.members.get(family)
        agreed = peer.session.negotiated
        if subtype == RefreshSubtype.BORR:
            # Ingest has acted on it, in its place among the UPDATEs, or waits until it can.
            if peer.ingest is not None and peer.ingest.stalled and peer.conn is not None:
                self.restarts.unstall(peer, peer.conn, family)
                self.on_wake()
            elif family in peer.kept:
                text = (
                    f"{family.label}: a refresh begins before the End-of-RIB: ignored (RFC 7313 4)"
                )
                peer.session.complain(text)
        elif subtype == RefreshSubtype.EORR:
            self.restarts.remove_stale(peer, family)
            self.on_wake()
        elif member is not None and agreed is not None and peer.conn is not None:
            outbox = peer.conn.outbox
            if agreed.enhanced_route_refresh:
                outbox.refresh(
                    member,
                    refresh_marker(family, RefreshSubtype.BORR),
                    refresh_marker(family, RefreshSubtype.EORR),
                )
            else:
                outbox.refresh(member)
            self.on_wake()

    # --- a new configuration, see reload.py

    def use_config(self, config: Config) -> None:
        """Make a configuration the one that new connections are judged by."""
        self.config = config
        self._index = NeighborIndex(config.neighbors)

    def add(self, neighbor: Neighbor) -> None:
        """Add a configured neighbor and start it."""
        peer = self._add_peer(neighbor, str(neighbor.address))
        if neighbor.enabled:
            peer.session.start(self.now())

    def use_identity(self, config: Config) -> None:
        """Become another speaker; every session is about to end, and its paths with it."""
        settings = config.router
        cluster_id = identifier_number(settings.cluster_id)
        self.control.use_identity(settings.asn, settings.identifier, cluster_id)
        self.control.as_loop = settings.is_route_server
        self._use_communities(config)
        self.membership.everything = True
        self.groups.use_identity(settings.asn, cluster_id)

    def use_decision(self, config: Config) -> None:
        """Take over [router] as far as sessions do not depend on it; rank anew."""
        settings = config.router
        self.rib.set_options(
            med_always=settings.med is MedRule.ALWAYS,
            med_deterministic=settings.deterministic_med,
            prefer_oldest=settings.prefer_oldest,
        )
        self.scheduler.add(self.revalidation.evaluate(rank=True))

    def _use_communities(self, config: Config) -> None:
        settings = config.router
        steers = settings.control_communities and settings.is_route_server
        self.control.use_rules(make_rules(config.communities, settings.asn) if steers else None)
        self.control.shut_down_gracefully(settings.graceful_shutdown)
        holes = black_holes(config)
        for family in Family:
            on = holes is not None and holes.policy(family) is not BlackHolePolicy.NONE
            hop = config.blackhole.next_hop(family)
            no_export = config.blackhole.add_noexport
            self.control.set_black_holes(family, on, hop, no_export)

    def use_communities(self, config: Config) -> None:
        """Take over [communities], [blackhole] and what [router] says of either.

        What is there is compiled, judged and evaluated again in place.
        """
        self._use_communities(config)
        self.membership.everything = True
        self.membership.renew()

    def described(self) -> list[Peer]:
        """Return the peers that the RIB knows."""
        return [p for p in self.peers.values() if p.ups or not p.dynamic]

    def rpki_changed(
        self, prefixes: list[tuple[int, bytes, int]] | None, customers: set[int], ready: bool
    ) -> None:
        """Judge again what a change of RPKI data concerns, in place; see Rules.rpki_changed."""
        self.rules.rpki_changed(prefixes, customers, ready)
        self.check_startup()
        self.on_wake()

    def check_limits(self, peer: Peer) -> None:
        """Do what max_prefix asks for; call after each read of the peer's."""
        check_limits(self.rib, peer, self.now())

    def housekeeping(self, now: float) -> None:
        """Start sessions whose pause is over; call about once a second."""
        for peer in restart_limited(self.peers.values(), now):
            self.on_commands(peer)
            self.forget(peer)
        for fault in self.next_hops.reread():
            log.error("%s", fault)
        for peer in self.restarts.tick(now):
            self.on_commands(peer)
            self.on_wake()
        self.membership.measure_again(now)
        for peer in note_transit(self.rib, self.peers.values()):
            self.on_commands(peer)
        for peer in note_unwanted(self.rib, self.peers.values(), now):
            self.on_commands(peer)
        self.check_startup()

    def check_startup(self) -> None:
        """Begin to choose and announce routes, if nothing that is waited for is missing."""
        if self.startup.check(self.now()):
            self.scheduler.deferred = False
            self.on_wake()

    # --- operator

    def start(self) -> None:
        """Start the sessions of all enabled neighbors."""
        now = self.now()
        for peer in self.peers.values():
            if peer.neighbor.enabled:
                peer.session.start(now)

    def stop(self, communication: str = "") -> None:
        """End every session by Cease / Administrative Shutdown (RFC 9003)."""
        now = self.now()
        for peer in list(self.peers.values()):
            peer.session.stop(now, CeaseSubcode.ADMIN_SHUTDOWN, communication)

    def peer_action(self, address: str, action: str, communication: str = "") -> bool:
        """Do `reset`, `shutdown`, `enable`, `refresh` or `measure` to a peer; False without one.

        ValueError for another action, or for one that cannot be done with the peer.
        """
        peer = self._by_address.get(address)
        if peer is None:
            return False
        now = self.now()
        match action:
            case "reset":
                self.restarts.forget(peer)
                peer.session.reset(now, CeaseSubcode.ADMIN_RESET, communication)
            case "shutdown":
                self.restarts.forget(peer)
                peer.restart_at = None
                peer.shut_down = True
                peer.session.stop(now, CeaseSubcode.ADMIN_SHUTDOWN, communication)
            case "enable":
                peer.restart_at = None
                peer.limited = peer.shut_down = False
                peer.session.start(now)
                self.forget(peer)
            case "refresh":
                agreed = peer.session.negotiated
                families = agreed.families if agreed is not None else ()
                sent = [peer.session.send_refresh(f, RefreshSubtype.REQUEST, now) for f in families]
                if not any(sent):
                    raise ValueError(f"{address} has no session that can be refreshed")
            case "measure":
                if peer.neighbor.rtt is not Rtt.MEASURED:
                    raise ValueError(f'{address} is not measured: its rtt is not "measured"')
                if peer.conn is None:
                    raise ValueError(f"{address} has no session that can be measured")
                self.membership.measure(peer, peer.conn)
            case _:
                known = "reset, shutdown, enable, refresh or measure"
                raise ValueError(f"unknown action {action!r}: {known}")
        self.on_commands(peer)
        self.on_wake()
        return True
