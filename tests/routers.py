"""A router in memory, its neighbors played by script, and the oracle beside it.

In: neighbors, what they announce, how much of what is sent to them they read, and in which slices
the work is done. Out: each neighbor's table, decoded from its bytes by the reference codec, and what
the oracle says it must be. `Lab` does what the transport does, without sockets: it carries out the
commands of the sessions and moves bytes; whatever a socket would decide (how much is taken, when) is
in the hands of the test.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rs._fastpath.outbox import Outbox
from rs._fastpath.withheld import sources, verdicts
from rs.communityconfig import BlackHolePolicy, BlackHoles, Communities
from rs.config import Config, IgpRoute, MedRule, Neighbor, role_defaults
from rs.config import Router as RouterConfig
from rs.configvalues import Endpoint, in_family
from rs.fsm import State
from rs.iana import (
    HEADER_LEN,
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    AddPathMode,
    BgpRole,
    Decided,
    Family,
    MessageType,
    RefreshSubtype,
    RejectReason,
)
from rs.messages import KEEPALIVE, decode_notification, decode_route_refresh, encode_open
from rs.peer import refresh_marker
from rs.reasons import Withheld
from rs.router import Router
from rs.session_types import (
    Close,
    Connect,
    Down,
    EndOfRib,
    Log,
    RefreshReceived,
    Send,
    SessionConfig,
    Up,
)
from tests.reference import codec, export, policy
from tests.reference.rib import (
    Held,
    ReferenceRouter,
    RouterOptions,
    added_otc,
    reject_reason,
    reject_reasons,
)
from tests.reference.rib import Peer as ReferencePeer
from tests.reference.tags import Far, Tags
from tests.reference.update import Context, Outcome, decode_update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rs.peer import Peer
    from rs.restart_caps import GracefulRestart

Attrs = dict[str, Any]
V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
BOTH = (V4, V6)
RS_ASN = 64500
POLICY_KINDS = {
    export.Kind.RS_CLIENT: "rs-client",
    export.Kind.EBGP: "ebgp",
    export.Kind.RR_CLIENT: "rr-client",
    export.Kind.IBGP: "ibgp",
}
LOCAL = {V4: "10.0.0.1", V6: "2001:db8::1"}
"""Our own addresses, by family."""
HOLES = {V4: "192.0.2.66", V6: "2001:db8::66"}
"""Next hops of black holes, where they are served."""
SEQ = 2
EVERYTHING = 1 << 40
MAX_ROUNDS = 20_000
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


def tags_of(config: Config) -> Tags | None:
    """What communities mean by a configuration, as the oracle reads it; None for the usual."""
    if config.communities == Communities() and config.blackhole == BlackHoles():
        return None
    holes = config.blackhole
    assert holes.policy_ipv4 is holes.policy_ipv6
    return Tags(
        definitions={
            name: {form: str(value) for form, value in definition.forms()}
            for name, definition in config.communities.definitions.items()
        },
        rs_asn=config.router.asn,
        thresholds=config.communities.rtt_thresholds,
        holes=holes.policy_ipv4 is BlackHolePolicy.REWRITE,
        holes_no_export=holes.add_noexport,
    )


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


# --- the oracle -----------------------------------------------------------------------------------


class Oracle(ReferenceRouter):
    """The reference router, with what a configuration may say of each neighbor on its own."""

    def __init__(self, options: RouterOptions) -> None:
        super().__init__(options)
        self.neighbors: dict[int, Neighbor] = {}
        self.tags: Tags | None = None
        """What communities mean, where that is not the usual."""
        self.next_hops: dict[int, dict[Family, str]] = {}
        """Our own address where it replaces the next hop, by member and family."""
        self.many: dict[int, tuple[Family, ...]] = {}
        """Families in which a member gets several paths (RFC 7911)."""
        self.asked: dict[int, int] = {}
        """How many paths of a prefix a member wants at most (PATHS-LIMIT), 0 for any number."""
        self.policies: dict[str, Any] = {}
        """Policies by name, as TOML would give them; see tests/reference/policy.py."""
        self.world = policy.World(local_asn=options.asn)
        self.import_policy: tuple[str, ...] = ()
        """Those of [router]."""
        self.export_policy: tuple[str, ...] = ()

    def admit(self, index: int, prefix: str, attrs: Attrs) -> tuple[Attrs, RejectReason]:
        """Run a neighbor's import policies."""
        neighbor = self.neighbors[index]
        names = [*self.import_policy, *neighbor.import_policy]
        route = policy.Route(prefix, attrs, self.facts(index))
        found = policy.run(self.policies, names, route, self.world)
        if not found.accepted:
            return attrs, RejectReason.POLICY_REJECT
        return policy.apply(attrs, found.edits, self.world), RejectReason.NONE

    def judge_again(self) -> None:
        """Judge every path anew, because policies have changed."""
        for index, table in self.adj_rib_in.items():
            for key, held in table.items():
                reason = reject_reason(held.raw, self.peers[index], self.options)
                used = held.raw
                if reason is RejectReason.NONE:
                    used, reason = self.admit(index, key[0], held.raw)
                table[key] = Held(dict(used), held.received, reason, held.raw)

    def facts(self, index: int) -> policy.Neighbor:
        """What a policy may ask of a neighbor."""
        peer = self.peers[index]
        return policy.Neighbor(peer.address, peer.asn, POLICY_KINDS[peer.kind])

    def verdict(self, prefix: str, path: Any, index: int) -> policy.Verdict:
        """What a member's export policies say of a path."""
        neighbor = self.neighbors[index]
        names = [*self.export_policy, *neighbor.export_policy]
        route = policy.Route(prefix, path.attrs, self.facts(path.peer), self.facts(index))
        return policy.run(self.policies, names, route, self.world)

    def due(self, prefix: str, ranked: Sequence[Any]) -> dict[int, list[Attrs]]:
        """What every member must have of one prefix, in order of preference."""
        family = codec.family_of(prefix)
        found: dict[int, list[Attrs]] = {}
        ours = ranked
        for member in self.members(family):
            neighbor = self.neighbors[member.index]
            ranked = self.ranked_for(member.index, list(ours))
            options = self.options_for(member.index)
            judged = {id(p): self.verdict(prefix, p, member.index) for p in ranked}
            many = family in self.many.get(member.index, ())
            if not many and member.kind is not export.Kind.RS_CLIENT:
                ranked = ranked[:1]  # the best path or nothing
            ranked = [p for p in ranked if judged[id(p)].accepted]
            if many:
                choice = export.Choice(in_family(neighbor.add_path_send, family).value)
                limits = in_family(neighbor.add_path_limit, family), self.asked.get(member.index, 0)
                limit = min(filter(None, limits), default=0)
                decision = self.options.decision()
                paths = export.chosen(choice, limit, member, ranked, options, decision)
            else:
                best = export.best_for(member, ranked, options)
                paths = [] if best is None else [best]
            if paths:
                sent = [(self.output(p, member, family, options), judged[id(p)]) for p in paths]
                found[member.index] = [
                    self.edited(attrs, verdict, internal=member.kind.internal)
                    for attrs, verdict in sent
                ]
        return found

    def reasons(
        self, prefix: str, ranked: Sequence[Any], index: int
    ) -> dict[tuple[int, int], set[Withheld]]:
        """Why a member does not get each usable path of a prefix, by (peer, path identifier): any
        reason that holds; NOT for one that it gets."""
        family = codec.family_of(prefix)
        (member,) = [m for m in self.members(family) if m.index == index]
        ranked = self.ranked_for(index, list(ranked))
        neighbor, options = self.neighbors[index], self.options_for(index)
        found: dict[tuple[int, int], set[Withheld]] = {}
        several = family in self.many.get(index, ())
        single = not several and member.kind is not export.Kind.RS_CLIENT
        decision = self.options.decision()
        given: list[Any] = []
        for place, path in enumerate(ranked):
            why = export.hindrances(path, member, options)
            if not self.verdict(prefix, path, index).accepted:
                why.add(Withheld.POLICY)
            if neighbor.lacks_export_policy:
                why.add(Withheld.NO_EXPORT_POLICY)
            if single and place and not why:
                why.add(Withheld.BETTER_PATH if given else Withheld.NOT_BEST)
            elif not why and not several and given:
                why.add(Withheld.BETTER_PATH)
            elif not why and several:
                choice = export.Choice(in_family(neighbor.add_path_send, family).value)
                limits = in_family(neighbor.add_path_limit, family), self.asked.get(index, 0)
                limit = min(filter(None, limits), default=0)
                if path not in export.chosen(choice, 0, member, [*given, path], options, decision):
                    per_as = choice is export.Choice.BEST_PER_AS
                    why.add(Withheld.SAME_AS if per_as else Withheld.NOT_EQUAL)
                elif limit and len(given) >= limit:
                    why.add(Withheld.LIMIT)
            if not why:
                given.append(path)
                why = {Withheld.NOT}
            found[path.peer, path.path_id] = why
        return found

    def edited(self, attrs: Attrs, verdict: policy.Verdict, *, internal: bool) -> Attrs:
        """Attributes after export policies; LOCAL_PREF is for internal members (RFC 4271 5.1.5)."""
        out = policy.apply(attrs, verdict.edits, self.world)
        return out if internal else export.without(out, "local_pref")

    def options_for(self, index: int) -> export.ExportOptions:
        """How one member is exported to."""
        honor = self.neighbors[index].honor_well_known
        return replace(self.options.export(), honor_well_known=honor, tags=self.tags)

    def output(self, path: Any, member: Any, family: Family, options: Any) -> Attrs:
        """Attributes as a member gets them, with the next hop that its neighbor's keys ask for."""
        attrs = export.output_attrs(path, member, options)
        own = self.next_hops[member.index].get(family)
        for key in ("next_hop", "link_local"):
            attrs.pop(key, None)
            if key in path.attrs:
                attrs[key] = path.attrs[key]
        if own is not None and not (member.kind.internal and path.ibgp):
            attrs.pop("link_local", None)
            attrs["next_hop"] = own
        elif self.tags is not None and self.tags.holes and self.tags.is_hole(path.attrs):
            attrs.pop("link_local", None)
            attrs["next_hop"] = HOLES[family]
        return attrs

    def all_paths(self) -> dict[int, dict[str, list[Attrs]]]:
        """For every peer that is up the exact table it must hold."""
        tables: dict[int, dict[str, list[Attrs]]] = {index: {} for index in sorted(self.up)}
        for prefix, ranked in self.loc_rib().items():
            for index, paths in self.due(prefix, [path for path, _ in ranked]).items():
                tables[index][prefix] = paths
        return tables


@dataclass
class SentPath:
    """As much of a path as deciding who may have it takes."""

    peer: int
    attrs: Attrs
    ibgp: bool
    client: bool = False
    router_id: int = 0
    otc: int = 0
    cluster_id: str = ""
    last_choice: bool = False


class Metrics(dict[str, "int | None"]):
    """IGP metrics as the oracle asks for them: by next hop, from a table by prefix."""

    def __init__(self, routes: Iterable[IgpRoute] | None) -> None:
        super().__init__()
        self._routes = None if routes is None else tuple(routes)

    def get(self, next_hop: str, _default: int | None = None) -> int | None:  # type: ignore[override]
        if self._routes is None:
            return 0
        address = ipaddress.ip_address(next_hop)
        found = [
            (net.prefixlen, route.metric)
            for route in self._routes
            if address in (net := ipaddress.ip_network(route.prefix))
        ]
        return max(found)[1] if found else None


KINDS = {
    (False, False): export.Kind.EBGP,
    (False, True): export.Kind.RS_CLIENT,
    (True, False): export.Kind.IBGP,
    (True, True): export.Kind.RR_CLIENT,
}


def oracle_kind(neighbor: Neighbor) -> export.Kind:
    client = neighbor.route_reflector_client if neighbor.internal else neighbor.route_server_client
    return KINDS[neighbor.internal, client]


def message_len(prefix: str, attrs: Attrs, *, as4: bool) -> int:
    """Octets of the shortest message that announces one prefix."""
    classic = codec.family_of(prefix) is V4 and ":" not in attrs["next_hop"]
    parts = codec.encode_attributes(attrs, as4=as4, next_hop=classic)
    n = HEADER_LEN + 4 + sum(map(len, parts.values())) + len(codec.encode_nlri([prefix]))
    return n if classic else n + 3 + 5 + len(codec.encode_next_hop(attrs))


def deliverable(speaker: Speaker, prefix: str, attrs: Attrs) -> bool:
    """Whether a route can be put into a message that this speaker understands."""
    v6_hop = codec.family_of(prefix) is V4 and ":" in attrs["next_hop"]
    if v6_hop and not speaker.extended_next_hop:
        return False
    return message_len(prefix, attrs, as4=speaker.four_octet_as) <= speaker.max_len


# --- the lab --------------------------------------------------------------------------------------


class CallClock:
    """A clock that moves with every look at it: a deadline in looks, not in seconds."""

    def __init__(self, start: float = 0.0, step: float = 1.0) -> None:
        self.start = start
        self.step = step
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.start + self.looks * self.step


class Lab:
    """A router, its neighbors and the oracle."""

    def __init__(
        self, config: Config, *, seed: int = 1, log_bound: int | None = None, oracle: bool = True
    ) -> None:
        self.now = 1000.0
        self.rng = random.Random(seed)
        self.log_bound = log_bound
        self.router = Router(config, clock=lambda: self.now, rng=random.Random(seed))
        self.wakes = 0
        self.router.on_wake = self._wake
        self.router.on_commands = self.after
        self.router.start()
        self.speakers: list[Speaker] = []
        self.logs: list[str] = []
        self.config = config
        self.oracle: Oracle | None = None
        self.history: dict[str, list[tuple[Speaker, Attrs]]] | None = None
        """Every route ever accepted, by prefix, where that is watched; see watch()."""
        settings = config.router
        if oracle:
            options = RouterOptions(
                role=export.Role(settings.role.value),
                asn=settings.asn,
                router_id=settings.router_id,
                cluster_id=settings.cluster_id,
                clusters=frozenset(n.cluster for n in config.neighbors if n.route_reflector_client),
                own_addresses=frozenset(LOCAL.values()),
                med_always=settings.med is MedRule.ALWAYS,
                deterministic_med=settings.deterministic_med,
                prefer_oldest=settings.prefer_oldest,
                metrics=Metrics(config.igp),
                orr={
                    group.name: Metrics(
                        IgpRoute(prefix=p, metric=m) for p, m in group.metrics.items()
                    )
                    for group in config.orr
                },
            )
            self.oracle = Oracle(options)
            self.oracle.tags = tags_of(config)
        self.tick(0)

    # --- time

    def _wake(self) -> None:
        self.wakes += 1

    def tick(self, sixteenths: int = 1) -> None:
        """Let time pass, in the unit in which paths are stamped."""
        self.now += sixteenths / 16
        self.router.tick(self.now)
        if self.oracle is not None:
            self.oracle.clock = self.router.rib.ticks

    # --- sessions

    def connect(self, speaker: Speaker, *, local: str | None = None) -> Conn:
        """Open a TCP connection; the speaker has said nothing yet."""
        peer, why = self.router.accept(speaker.address)
        assert peer is not None, why
        conn = Conn(speaker, local or LOCAL[V6 if ":" in speaker.address else V4])
        speaker.conn, speaker.peer = conn, peer
        speaker.partial = b""
        speaker.tables = {}
        speaker.events = []
        if speaker not in self.speakers:
            self.speakers.append(speaker)
        if self.history is not None:
            speaker.watch = lambda prefix, attrs: self._judge(speaker, prefix, attrs)
        peer.session.connected(conn, self.now, False)
        self.after(peer)
        return conn

    def up(self, speaker: Speaker, *, extra: bytes = b"") -> Speaker:
        """Connect and bring the session up; `extra` comes in the same read as the KEEPALIVE."""
        self.connect(speaker)
        self.now += 2.0  # past the pause for those who fail again and again
        assert speaker.peer is not None
        speaker.peer.session.handle_timer(self.now)
        self.after(speaker.peer)
        return self.open(speaker, extra=extra)

    def open(self, speaker: Speaker, *, extra: bytes = b"") -> Speaker:
        """Let a speaker that has connected say its part, until the session is up."""
        conn, peer = speaker.conn, speaker.peer
        assert conn is not None
        assert peer is not None
        peer.session.receive(conn, speaker.open_message(), self.now)
        self.after(peer)
        peer.session.receive(conn, KEEPALIVE + extra, self.now)
        self.after(peer)
        assert peer.session.state is State.ESTABLISHED, peer.session.last_error
        self.tick(0)
        self._bound()
        if self.oracle is not None:
            self._describe(speaker)
            self.oracle.peer_up(peer.slot)
        return speaker

    def _describe(self, speaker: Speaker) -> None:
        peer, conn = speaker.peer, speaker.conn
        assert self.oracle is not None
        assert peer is not None
        assert conn is not None
        neighbor = peer.neighbor
        self.oracle.neighbors[peer.slot] = neighbor
        if self.oracle.tags is not None:
            own = neighbor.blackhole_receive
            self.oracle.tags.far[peer.slot] = Far(
                asn=speaker.asn,
                mapped=neighbor.mapped_asn,
                rtt=neighbor.rtt if isinstance(neighbor.rtt, int) else None,
                holes=self.router.config.blackhole.receive if own is None else own,
            )
        self.oracle.next_hops[peer.slot] = LOCAL if neighbor.next_hop_self else {}
        agreed = peer.session.negotiated
        assert agreed is not None
        self.oracle.many[peer.slot] = tuple(agreed.addpath_send)
        self.oracle.asked[peer.slot] = speaker.paths_limit
        self.oracle.peers[peer.slot] = ReferencePeer(
            index=peer.slot,
            asn=speaker.asn,
            address=speaker.address,
            router_id=speaker.router_id,
            kind=oracle_kind(neighbor),
            enforce_first_as=neighbor.first_as_check,
            local_address=LOCAL[V4],
            families=frozenset(speaker.families) & frozenset(neighbor.families),
            role=neighbor.local_role.number,
            prepend=neighbor.prepend_own_as,
            cluster_id=neighbor.cluster,
            client_to_client=neighbor.client_to_client,
            path_limit=in_family(neighbor.add_path_receive_limit, V4),
            orr=neighbor.orr if neighbor.internal else None,
            long_lived_said=agreed.long_lived_said,
            long_lived_heard=speaker.graceful is not None
            and speaker.graceful.long_lived is not None,
            long_lived_partial=neighbor.long_lived_partial,
        )

    def down(self, speaker: Speaker, reason: str = "closed by the peer") -> None:
        """The far end closes the connection."""
        conn, peer = speaker.conn, speaker.peer
        assert conn is not None
        assert peer is not None
        was_up = speaker.up
        long_gone = any(kept.long_lived_until is not None for kept in peer.kept.values())
        agreed = peer.agreed
        lasting = agreed is not None and (agreed.long_lived or agreed.notification_restart)
        self._drop(conn, peer)
        peer.session.closed(conn, self.now, reason)
        self.after(peer)
        if was_up and self.oracle is not None:
            if peer.kept:
                self.oracle.peer_lost(peer.slot, long_gone=long_gone, lasting=lasting)
            else:
                self.oracle.peer_down(peer.slot)
        speaker.tables = {}

    def _drop(self, conn: Conn, peer: Peer) -> None:
        """As the transport does when a socket is gone."""
        if not conn.open:
            return
        conn.open = False
        conn.waiting.clear()
        conn.outbox.close()
        if conn.speaker.conn is conn:
            conn.speaker.conn = None
        if peer.dynamic:
            self.router.forget(peer)

    def after(self, peer: Peer) -> None:
        """Carry out what the session wants."""
        while commands := peer.session.poll():
            for command in commands:
                self._carry_out(peer, command)

    def _carry_out(self, peer: Peer, command: object) -> None:
        match command:
            case Send(Conn() as conn, data):
                if conn.open:
                    conn.outbox.push(data)
            case Connect():
                peer.session.connect_failed(self.now, "nobody there")
            case Close(Conn() as conn):
                if conn.open:
                    self.read_from(conn)
                    self._drop(conn, peer)
            case Up():
                pass
            case Down() as down:
                self.router.on_down(peer, down)
                if peer.dynamic:
                    self.router.forget(peer)
            case RefreshReceived(family, subtype):
                self.router.on_refresh(peer, family, subtype)
            case EndOfRib(family):
                self.router.on_end_of_rib(peer, family)
            case Log(_, text):
                self.logs.append(f"{peer.address}: {text}")
            case _:
                raise AssertionError(command)

    def _bound(self) -> None:
        if self.log_bound is not None:
            for group in self.groups():
                group.log_bound = self.log_bound

    def groups(self) -> Iterator[Any]:
        """Every group there is."""
        for views in self.router.exporter.views:
            for view in views:
                yield from view.groups

    # --- bytes in

    def feed(self, speaker: Speaker, data: bytes, *, pieces: int = 1) -> None:
        """Let bytes arrive from a speaker, in pieces if wanted."""
        conn, peer = speaker.conn, speaker.peer
        assert conn is not None
        assert peer is not None
        cuts = sorted(self.rng.randint(0, len(data)) for _ in range(pieces - 1))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            peer.session.receive(conn, memoryview(data)[start:end], self.now)
            self.after(peer)

    def deliver(self, speaker: Speaker, data: bytes) -> None:
        """Let bytes arrive, behind those that wait while the router does not read."""
        conn = speaker.conn
        assert conn is not None
        if not conn.reading or conn.waiting:
            conn.waiting.append(lambda: self.feed(speaker, data))
        else:
            self.feed(speaker, data)

    def update(self, speaker: Speaker, *bodies: bytes, pieces: int = 1) -> None:
        """Let UPDATEs arrive, and tell the oracle. They wait while the router does not read."""
        conn = speaker.conn
        assert conn is not None
        if not conn.reading or conn.waiting:
            conn.waiting.append(lambda: self._update(speaker, bodies, pieces))
        else:
            self._update(speaker, bodies, pieces)

    def _update(self, speaker: Speaker, bodies: tuple[bytes, ...], pieces: int) -> None:
        self.feed(speaker, b"".join(map(codec.update_message, bodies)), pieces=pieces)
        if self.oracle is not None:
            for body in bodies:
                ticks = self.router.rib.ticks
                result = self.oracle.update(speaker.slot, body, speaker.sending(), now=ticks)
                if self.history is not None:
                    for (_, prefix, _), attrs in result.routes():
                        self.history.setdefault(prefix, []).append((speaker, attrs))

    def watch(self) -> None:
        """From now on see to it that nobody is sent, even for a moment, what it was never due.

        Whether a route may go to a member depends on the route and the member only, so each route
        a member is sent must be one that was accepted once, and that this member may have.
        """
        self.history = {}

    def _judge(self, speaker: Speaker, prefix: str, got: Attrs) -> None:
        assert self.oracle is not None
        assert self.history is not None
        family = codec.family_of(prefix)
        (member,) = [m for m in self.oracle.members(family) if m.index == speaker.slot]
        options = self.oracle.options_for(speaker.slot)
        for source, attrs in self.history.get(prefix, ()):
            otc = added_otc(attrs, self.oracle.peers[source.slot])
            mine = speaker.slot if source is speaker else -1
            path = SentPath(mine, attrs, source.ibgp, otc=otc)
            if export.eligible(path, member, options) and plain(
                self.oracle.output(path, member, family, options)
            ) == plain(got):
                return
        raise AssertionError(f"{speaker.address} AS{speaker.asn} was sent {prefix} {got}")

    def announce(self, speaker: Speaker, *prefixes: str, **attrs: Any) -> None:
        """Announce prefixes of one family with these attributes, and the mandatory ones."""
        for prefix in prefixes:
            given = default_attrs(speaker, prefix, **attrs)
            body = codec.encode_update([prefix], given, as4=speaker.four_octet_as)
            self.update(speaker, body)

    def withdraw(self, speaker: Speaker, *prefixes: str) -> None:
        """Withdraw prefixes."""
        for prefix in prefixes:
            self.update(speaker, codec.encode_update((), None, [prefix]))

    def refresh(self, speaker: Speaker, family: Family) -> None:
        """Let a speaker ask for its table again."""
        self.feed(speaker, refresh_marker(family, RefreshSubtype.REQUEST))

    def _flush_waiting(self) -> bool:
        done = False
        for speaker in self.speakers:
            conn = speaker.conn
            while conn is not None and conn.open and conn.reading and conn.waiting:
                conn.waiting.pop(0)()
                done = True
        return done

    # --- work and bytes out

    def work(self, looks: int = 0) -> bool:
        """Run the scheduler until it is idle, or for so many looks at the clock."""
        if looks:
            more = self.router.scheduler.run(self.now + looks / 1000, CallClock(self.now, 0.001))
        else:
            more = self.router.scheduler.run(self.now + 1.0, lambda: self.now)
        self._bound()
        return bool(self._flush_waiting() or more)

    def read_from(self, conn: Conn, room: int = EVERYTHING) -> int:
        """Take up to `room` octets of what is for a connection, as the pump would."""
        data = b""
        while len(data) < room and conn.outbox.pending():
            some = conn.outbox.take(room - len(data))
            if not some:
                break
            data += some
        conn.speaker.take(data)
        return len(data)

    def read(self, speaker: Speaker, room: int = EVERYTHING) -> int:
        """Let a speaker read."""
        return self.read_from(speaker.conn, room) if speaker.conn is not None else 0

    def settle(self, *, everybody: bool = True) -> None:
        """Work and let the speakers read until nothing happens any more."""
        for _ in range(MAX_ROUNDS):
            more = self.work()
            for speaker in self.speakers:
                if everybody or not speaker.slow:
                    more = self.read(speaker) > 0 or more
            if more:
                continue
            if not self.router.scheduler.waiting:
                break
            self.now += 0.25  # those who read nothing are not waited for any longer
        else:
            raise AssertionError("no end of work")
        if everybody:
            assert self.router.scheduler.jobs == 0
            assert self.router.exporter.dirty() == 0
            assert not self.router.exporter.walking()

    # --- what must be true

    def check(self, what: str = "") -> int:
        """Compare everything with the oracle; return the number of routes compared."""
        assert self.oracle is not None
        want = self.oracle.all_paths()
        n = 0
        for speaker in self.speakers:
            if not speaker.up:
                continue
            due = want[speaker.slot]
            self._check_stored(speaker, due, what)
            sent = {}
            for prefix, paths in due.items():
                if fitting := [a for a in paths if deliverable(speaker, prefix, a)]:
                    sent[prefix] = fitting
            got = speaker.paths()
            for prefix, paths in got.items():
                if prefix in sent:
                    # Identifiers say nothing of preference.
                    sent[prefix] = sorted(sent[prefix], key=repr_of)
                    got[prefix] = sorted(paths, key=repr_of)
            compare_tables(f"{what} {speaker.address} is sent", got, sent)
            assert not speaker.partial
            self._check_markers(speaker, what)
            n += sum(map(len, sent.values()))
            self._check_reasons(speaker, what)
        self._check_loc_rib(what)
        return n

    def _check_reasons(self, speaker: Speaker, what: str) -> None:
        """What is said of each path for a member: a reason that holds, or that it is sent."""
        assert self.oracle is not None
        peer = speaker.peer
        assert peer is not None
        loc_rib = self.oracle.loc_rib()
        for family in speaker.families:
            view = peer.view(family)
            if view is None:
                continue
            table = self.router.rib.tables[family]
            for prefix in self.prefixes(family):
                h = handle(table, prefix)
                raw = table.paths_of(h)
                ranked = [path for path, _ in loc_rib.get(prefix, ())]
                said = verdicts(view.adj, h, peer.slot)
                assert sorted(place for place, _ in said) == list(range(len(raw)))
                named = {raw[place][:2]: Withheld(code) for place, code in said}
                order = [raw[place][:2] for place, _ in said]
                reasons = self.oracle.reasons(prefix, ranked, peer.slot)
                for key, code in named.items():
                    wanted = reasons.get(key, {Withheld.REJECTED, Withheld.UNREACHABLE})
                    if key[0] == peer.slot:
                        wanted = {Withheld.OWN}
                    told = f"{what} {prefix} of {key} to {speaker.address}: {code!r}"
                    assert code in wanted, f"{told}, not {wanted}"
                sent = [at for _, _, _, at in sources(view.adj, h, peer.slot)]
                assert [raw[at][:2] for at in sent] == [
                    key for key in order if named[key] is Withheld.NOT
                ]

    def _check_markers(self, speaker: Speaker, what: str) -> None:
        """One End-of-RIB a family, and each refresh begun and ended in turn (RFC 7313 4)."""
        peer = speaker.peer
        assert peer is not None
        if not speaker.keep_events:
            return
        for family in peer.members:
            marks = [e[0] for e in speaker.events if e[0] in MARKS and e[1] is family]
            assert marks.count("eor") == 1, f"{what} {speaker.address}: {marks}"
            marks.remove("eor")
            assert marks == ["borr", "eorr"] * (len(marks) // 2), f"{what} {speaker.address}"

    def _check_stored(self, speaker: Speaker, due: dict[str, list[Attrs]], what: str) -> None:
        peer = speaker.peer
        assert peer is not None
        for family in speaker.families:
            view = peer.view(family)
            if view is None:
                continue
            table = self.router.rib.tables[family]
            stored = {}
            for prefix in self.prefixes(family):
                paths = view.adj.sent_paths(handle(table, prefix), peer.slot)
                assert len({path_id for path_id, _ in paths}) == len(paths)
                if paths:
                    stored[prefix] = [self.router.attrs.describe(h) for _, h in paths]
            want = {p: a for p, a in due.items() if codec.family_of(p) is family}
            compare_tables(f"{what} Adj-RIB-Out of {speaker.address}", stored, want)
            assert view.adj.advertised(peer.slot) == sum(map(len, want.values())), what

    def prefixes(self, family: Family) -> list[str]:
        """Every prefix in a table, in order."""
        return prefixes_of(self.router.rib.tables[family])

    def _check_loc_rib(self, what: str) -> None:
        assert self.oracle is not None
        want = self.oracle.loc_rib()
        rejected = self.oracle.rejected()
        seen: dict[tuple[int, str, int], RejectReason] = {}
        prefixes = set()
        for family in BOTH:
            table = self.router.rib.tables[family]
            for prefix in self.prefixes(family):
                prefixes.add(prefix)
                usable = []
                for slot, path_id, attrs_h, flags, reason, ticks in table.paths_of(
                    handle(table, prefix)
                ):
                    if flags & (0x01 | 0x04):
                        seen[slot, prefix, path_id] = RejectReason(reason)
                        continue
                    attrs = plain(self.router.attrs.describe(attrs_h))
                    usable.append((slot, path_id, attrs, ticks, Decided(reason)))
                ranked = [
                    (p.peer, p.path_id, plain(p.attrs), p.received, step)
                    for p, step in want.get(prefix, ())
                ]
                assert usable == ranked, f"{what} Loc-RIB of {prefix}"
        missing = set(want) - prefixes
        assert not missing, f"{what} Loc-RIB lacks {missing}"
        for key in set(seen) | set(rejected):
            slot, prefix, path_id = key
            assert key in rejected, f"{what} {key} is rejected as {seen[key]!r}"
            held = self.oracle.adj_rib_in[slot][prefix, path_id]
            # Where several checks fail, any of them is a reason.
            reasons = reject_reasons(held.raw, self.oracle.peers[slot], self.oracle.options)
            reasons = reasons or [held.reason]
            assert seen.get(key) in reasons, f"{what} {key}: {seen.get(key)!r}, not {reasons}"

    def check_empty(self) -> None:
        """Nothing is left: every peer is gone and everything is drained."""
        rib = self.router.rib
        for table in rib.tables:
            stats = table.stats()
            assert (stats["prefixes"], stats["paths"], stats["usable"], stats["dirty"]) == (0,) * 4
        assert not list(self.groups())
        stats = self.router.attrs.stats()
        assert (stats["sets"], stats["next_hops"], stats["wire_bytes"]) == (0, 0, 0), stats
        assert self.router.exporter.rewriter.stats()["forms"] == 0
        self.router.sets.drop_cache()
        assert self.router.sets.stats()["sets"] == 2


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


def compare_tables(what: str, got: dict[str, list[Attrs]], want: dict[str, list[Attrs]]) -> None:
    """Compare two tables, attribute by attribute; name the first difference."""
    for prefix in sorted(set(got) | set(want)):
        one, two = got.get(prefix, []), want.get(prefix, [])
        assert len(one) == len(two), f"{what}: {prefix}: got {one}, want {two}"
        for a, b in zip(map(plain, one), map(plain, two), strict=True):
            for key in sorted(set(a) | set(b)):
                assert a.get(key) == b.get(key), (
                    f"{what}: {prefix}: {key}: got {a.get(key)}, want {b.get(key)}\n{a}\n{b}"
                )


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
