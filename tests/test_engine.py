"""Exactness: after any churn every member holds exactly what the oracle says, and so does the engine.

The whole engine without sockets: UPDATE bytes in any pieces into `Ingest`, evaluation in slices of
any size, each member reading its bytes when and as far as it likes. What members hold is what their
bytes say, decoded by the oracle. Compared are these tables, the stored Adj-RIB-Out, the ranking
with its reasons, and what was rejected. RS_ENGINE is the number of scripts (more of them for a long
run), RS_ENGINE_SEED the first one's seed.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.export import Exporter
from rs._fastpath.ingest import Ingest
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import purge_step
from rs.communities import make_rules
from rs.communityconfig import Communities
from rs.groups import GroupKey, Groups, ViewKey
from rs.iana import Decided, Family, MessageType
from tests.reference import codec
from tests.reference.export import Kind, Role
from tests.reference.rib import Peer, ReferenceRouter, RouterOptions, reject_reasons
from tests.reference.update import Context, Outcome, decode_update
from tests.strategies import (
    Source,
    fat_attrs,
    make_churn,
    mutate,
    prefix_pool,
    reflector_attrs,
    reflector_peers,
    route_server_peers,
)

RUNS = int(os.environ.get("RS_ENGINE", "8"))
SEED = int(os.environ.get("RS_ENGINE_SEED", "0"))

KINDS = {Kind.RS_CLIENT: 0, Kind.EBGP: 1, Kind.IBGP: 2, Kind.RR_CLIENT: 3}


def number(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def split(prefix: str) -> tuple[Family, bytes, int]:
    address, _, length = prefix.partition("/")
    return codec.family_of(prefix), ipaddress.ip_address(address).packed, int(length)


def joined(attrs: dict[str, Any], *, exact: bool) -> dict[str, Any]:
    """Attributes as compared. Towards a 2-octet speaker AS_PATH may be cut into other segments,

    and confederation segments, which AS4_PATH has not, may get lost (RFC 6793 4.2.3).
    """
    if exact:
        return attrs
    path: list[tuple[int, tuple[int, ...]]] = []
    for kind, asns in attrs["as_path"]:
        if kind > 2:
            continue
        if path and kind == 2 and path[-1][0] == 2:
            path[-1] = (2, path[-1][1] + asns)
        else:
            path.append((kind, asns))
    return {**attrs, "as_path": tuple(path)}


class Session:
    """One established session: what we are fed by it, and the table its bytes to the peer make."""

    def __init__(self, engine: Engine, peer: Peer, form: GroupKey) -> None:
        self.engine = engine
        self.peer = peer
        self.form = form
        self.hears = engine.hears[peer.index]
        self.ingest = Ingest(
            engine.rib,
            peer.index,
            as4=self.hears.as4,
            ibgp=peer.ibgp,
            addpath=sum(1 << f for f in self.hears.addpath),
            extended_message=True,
        )
        self.members = []
        for family in sorted(peer.families):
            local = peer.local_address6 if family is Family.IPV6_UNICAST else peer.local_address
            key = ViewKey(
                family=family,
                kind=KINDS[peer.kind],
                next_hop=local if peer.kind is Kind.EBGP else None,
                honor_well_known=engine.options.honor_well_known,
            )
            member = engine.groups.join(peer.index, key, form)
            if engine.log_bound:
                member.group.log_bound = engine.log_bound
            self.members.append(member)
        self.unread = dict.fromkeys(self.members, b"")
        self.table: dict[str, dict[str, Any]] = {}
        self.ctx = Context(as4=form.four_octet_as, ibgp=peer.ibgp)

    def read(self, room: int) -> None:
        """Let the peer read up to `room` octets of each of its groups."""
        for member in self.members:
            data = self.unread[member] + member.take(room)
            whole = 0
            while len(data) - whole >= 19:
                length = int.from_bytes(data[whole + 16 : whole + 18], "big")
                if len(data) - whole < length:
                    break
                whole += length
            for kind, body in codec.decode_stream(data[:whole]):
                assert kind == MessageType.UPDATE
                assert len(body) + 19 <= self.form.max_len
                self.hear(body)
            self.unread[member] = data[whole:]

    def hear(self, body: bytes) -> None:
        result = decode_update(body, self.ctx)
        assert result.outcome is Outcome.OK, (body.hex(), result)
        for _, prefix, _ in result.withdrawn:
            self.table.pop(prefix, None)
        for (_, prefix, _), attrs in result.routes():
            self.table[prefix] = attrs

    def close(self) -> None:
        for member in self.members:
            member.leave()
            self.engine.groups.left(member)


class Engine:
    """The fast path put together as `rs.router` does it, and the oracle beside it."""

    def __init__(
        self, src: Source, peers: list[Peer], options: RouterOptions, *, log_bound: int = 0
    ) -> None:
        self.src = src
        self.options = options
        self.peers = {p.index: p for p in peers}
        self.log_bound = log_bound
        self.resyncs = 0
        self.attrs = AttrTable(lambda hop: options.metrics.get(hop, 0))
        self.sets = MemberSets(64)
        server = options.role is Role.ROUTE_SERVER
        self.control = Control(
            self.attrs,
            self.sets,
            options.asn,
            number(options.router_id),
            number(options.cluster_id),
            make_rules(Communities(), options.asn) if server else None,
            as_loop=server and options.exclude_as_loop,
        )
        self.rib = Rib(self.attrs, self.sets, self.control)
        self.rib.set_options(
            med_always=options.med_always,
            med_deterministic=options.deterministic_med,
            prefer_oldest=options.prefer_oldest,
        )
        self.exporter = Exporter(self.rib, Rewriter(self.rib))
        self.groups = Groups(self.exporter, options.asn, number(options.cluster_id))
        directory: dict[int, list[int]] = {}
        for peer in peers:
            self.rib.add_peer(
                peer.index,
                peer.asn,
                peer.address,
                KINDS[peer.kind],
                first_as=peer.enforce_first_as,
                reject_as_set=not options.accept_as_sets,
                allow_own_as=options.allow_own_as,
            )
            if peer.kind is Kind.RS_CLIENT:
                directory.setdefault(peer.asn, []).append(peer.index)
        self.control.set_peers(directory, sorted(options.own_addresses))
        self.oracle = ReferenceRouter(options)
        for peer in peers:
            self.oracle.add_peer(peer, up=False)
        self.sessions: dict[int, Session] = {}
        self.forms = {
            p.index: GroupKey(
                four_octet_as=not src.chance(30),
                max_len=65535 if src.chance(30) else 4096,
                extended_next_hop=False,
            )
            for p in peers
        }
        self.hears = {
            p.index: Context(
                as4=not src.chance(25),
                ibgp=p.ibgp,
                addpath=frozenset(Family) if src.chance(25) else frozenset(),
            )
            for p in peers
        }
        """How the peers speak to us."""
        self.clock = 0

    # --- what happens ---------------------------------------------------------------------------

    def up(self, index: int) -> None:
        self.rib.set_router_id(index, self.peers[index].router_id)
        self.sessions[index] = Session(self, self.peers[index], self.forms[index])
        self.oracle.peer_up(index)

    def down(self, index: int) -> None:
        self.sessions.pop(index).close()
        self.oracle.peer_down(index)
        for table in self.rib.tables:
            at = 1
            while at:
                at = purge_step(table, [index], at, self.src.integers(1, 50))
                if self.src.chance(50):
                    self.exporter.step(self.src.integers(1, 10))

    def feed(self, index: int, op: Any) -> None:
        """Feed an UPDATE in one or two pieces, now and then a broken one."""
        ctx = self.hears[index]
        body = op.body(as4=ctx.as4, addpath=ctx.addpath)
        if self.src.chance(10):
            broken = mutate(self.src, body)
            if decode_update(broken, ctx).outcome is not Outcome.RESET:
                body = broken
        self.clock += 1
        self.rib.ticks = self.clock
        message = codec.update_message(body)
        cut = self.src.integers(0, len(message))
        ingest = self.sessions[index].ingest
        for piece in (message[:cut], message[cut:]):
            assert ingest.feed(piece) >= 0, ingest.take_events()
        assert self.oracle.update(index, body, ctx, self.clock).outcome is not Outcome.RESET

    def work(self) -> None:
        """Do a random share of what there is to do."""
        if self.src.chance(60):
            self.exporter.step(self.src.integers(1, 20))
        if self.src.chance(60):
            self.exporter.walk(self.src.integers(1, 20))
        self.exporter.enforce()
        for group in {m.group for s in self.sessions.values() for m in s.members}:
            self.resyncs += group.stats()["resync"]
        for session in self.sessions.values():
            if self.src.chance(20):
                session.read(self.src.pick((1 << 20, 1, 50, 500)))
            if self.src.chance(1):
                self.src.pick(session.members).refresh()

    def finish(self) -> None:
        """Do everything there is to do."""
        for _ in range(1000):
            busy = self.exporter.step(1000) + self.exporter.walk(1000)
            self.exporter.enforce()
            for session in self.sessions.values():
                session.read(1 << 30)
            if not busy and not self.exporter.walking():
                break
        for session in self.sessions.values():
            session.read(1 << 30)
            assert not any(session.unread.values())

    # --- what must be true ----------------------------------------------------------------------

    def check(self) -> None:
        self.check_ranking()
        self.check_rejected()
        due = self.oracle.tables()
        for index, session in self.sessions.items():
            exact = session.form.four_octet_as
            want = {p: joined(a, exact=exact) for p, a in due[index].items()}
            held = {p: joined(a, exact=exact) for p, a in session.table.items()}
            assert held == want, f"member {index} {session.peer}"
            for member in session.members:
                self.check_stored(session, member, due[index])

    def check_stored(self, session: Session, member: Any, due: dict[str, Any]) -> None:
        """The Adj-RIB-Out is exact too, and counts right."""
        adj = self.groups.view_of(member).adj
        family = self.groups._keys[member][0].family
        table = self.rib.tables[family]
        want = {p: a for p, a in due.items() if codec.family_of(p) is family}
        for prefix in self.oracle.prefixes():
            if codec.family_of(prefix) is not family:
                continue
            _, packed, length = split(prefix)
            handle = table.handle(packed, length)
            sent = adj.sent_to(handle, session.peer.index) if handle else 0
            stored = self.attrs.describe(sent) if sent else None
            assert stored == want.get(prefix), f"Adj-RIB-Out of {session.peer}: {prefix}"
        assert adj.advertised(session.peer.index) == len(want)

    def check_ranking(self) -> None:
        ranked = self.oracle.loc_rib()
        for prefix in self.oracle.prefixes():
            family, packed, length = split(prefix)
            table = self.rib.tables[family]
            paths = table.paths_of(table.handle(packed, length))
            usable = [p for p in paths if not p[3] & 5]
            got = [(slot, path_id, Decided(reason)) for slot, path_id, _, _, reason, _ in usable]
            want = [(p.peer, p.path_id, why) for p, why in ranked.get(prefix, [])]
            assert got == want, prefix
        assert sum(t.stats()["usable"] for t in self.rib.tables) == len(ranked)

    def check_rejected(self) -> None:
        got = set()
        for prefix in self.oracle.prefixes():
            family, packed, length = split(prefix)
            table = self.rib.tables[family]
            for slot, path_id, _, flags, reason, _ in table.paths_of(table.handle(packed, length)):
                if flags & 1:
                    held = self.oracle.adj_rib_in[slot][prefix, path_id]
                    peer = self.peers[slot]
                    assert reason in reject_reasons(held.attrs, peer, self.options), prefix
                    got.add((slot, prefix, path_id))
        unreachable = {k for k, v in self.oracle.rejected().items() if v == 5}
        assert got | unreachable == set(self.oracle.rejected())

    def check_empty(self) -> None:
        """With everybody gone nothing is left."""
        for index in list(self.sessions):
            self.down(index)
        self.finish()
        for table in self.rib.tables:
            stats = table.stats()
            assert (stats["prefixes"], stats["paths"], stats["dirty"]) == (0, 0, 0)
        stats = self.attrs.stats()
        assert (stats["sets"], stats["next_hops"], stats["next_hop_refs"]) == (0, 0, 0)


def play(engine: Engine, script: list[Any], *, checks: int) -> None:
    """Play a script with work in between; check a few times on the way and at the end."""
    for index in engine.peers:
        engine.up(index)
    every = max(1, len(script) // checks)
    for i, op in enumerate(script):
        if op.kind == "up":
            engine.up(op.peer)
        elif op.kind == "down":
            engine.down(op.peer)
        else:
            engine.feed(op.peer, op)
        engine.work()
        if i % every == every - 1:
            engine.finish()
            engine.check()
    engine.finish()
    engine.check()
    engine.check_empty()


def options(src: Source, role: Role) -> RouterOptions:
    return RouterOptions(
        role=role,
        own_addresses=frozenset({"192.0.2.250", "10.1.0.250"}),
        accept_as_sets=src.chance(30),
        allow_own_as=int(src.chance(20)),
        metrics={"10.1.0.3": 7, "10.1.0.4": None, "192.0.2.4": 9, "192.0.2.5": None},
        med_always=src.chance(30),
        deterministic_med=not src.chance(30),
        prefer_oldest=not src.chance(40),
        exclude_as_loop=not src.chance(20),
        honor_well_known=src.chance(30),
    )


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_route_server(seed):
    src = Source.seeded(seed)
    peers = route_server_peers(50 if seed % 4 == 0 else src.integers(2, 12))
    pool = prefix_pool(src, src.integers(1, 60))
    script = make_churn(src, peers, n_ops=600, prefixes=pool)
    play(Engine(src, peers, options(src, Role.ROUTE_SERVER)), script, checks=4)


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_route_reflector(seed):
    src = Source.seeded(seed)
    peers = reflector_peers(src.integers(2, 12))
    pool = prefix_pool(src, src.integers(1, 40))
    script = make_churn(src, peers, n_ops=500, prefixes=pool, attrs_of=reflector_attrs)
    play(Engine(src, peers, options(src, Role.ROUTE_REFLECTOR)), script, checks=4)


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_slow_members(seed):
    """A log of next to nothing: who does not read at once falls off it and is sent what is left."""
    src = Source.seeded(seed)
    peers = route_server_peers(src.integers(2, 8))
    pool = prefix_pool(src, src.integers(1, 40))
    script = make_churn(src, peers, n_ops=400, prefixes=pool, attrs_of=fat_attrs)
    engine = Engine(src, peers, options(src, Role.ROUTE_SERVER), log_bound=1)
    play(engine, script, checks=2)
    if seed == 0:
        assert engine.resyncs


def test_a_path_that_only_just_fits_is_sent_on_or_not_at_all():
    """AS_PATH grows by 4-octet AS numbers, then by what an export adds; nobody else may suffer."""
    src = Source.seeded(SEED)
    for room in range(1380, 1540, 5):
        engine = Engine(src, reflector_peers(4), RouterOptions(role=Role.ROUTE_REFLECTOR))
        engine.hears[1] = Context(as4=False, ibgp=True)
        engine.hears[4] = Context(ibgp=True)
        for index in engine.peers:
            engine.up(index)
        path = ((2, (64600,) * 255),) * 62 + ((2, (64600,) * 160),)
        attrs = {"origin": 0, "as_path": path, "next_hop": "192.0.2.1"}
        attrs["unknown"] = ((0xE0, 200, bytes(room)),)
        body = codec.encode_update(["10.0.0.0/8"], attrs, as4=False)
        engine.sessions[1].ingest.feed(codec.update_message(body))
        engine.exporter.step(10)
        other = codec.encode_update(["10.1.0.0/16"], {**attrs, "as_path": path[:1]})
        engine.sessions[4].ingest.feed(codec.update_message(other))
        engine.exporter.step(10)
        table = engine.rib.tables[0]
        handle = table.handle(bytes([10, 1, 0, 0]), 16)
        assert all(view.adj.sent(handle) for view in engine.exporter.views[0])
