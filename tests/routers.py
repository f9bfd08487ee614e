"""A router in memory, its neighbors played by script, and the oracle beside it.

In: neighbors, what they announce, how much of what is sent to them they read, and in which slices
the work is done. Out: each neighbor's table, decoded from its bytes by the reference codec, and what
the oracle says it must be. `Lab` does what the transport does, without sockets: it carries out the
commands of the sessions and moves bytes; whatever a socket would decide (how much is taken, when) is
in the hands of the test.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from rs._fastpath.withheld import sources, verdicts
from rs.config import Config, IgpRoute, MedRule
from rs.configvalues import in_family
from rs.fsm import State
from rs.iana import Decided, Family, RefreshSubtype, RejectReason
from rs.messages import KEEPALIVE
from rs.peer import refresh_marker
from rs.reasons import Withheld
from rs.router import Router
from rs.session_types import Close, Connect, Down, EndOfRib, Log, RefreshReceived, Send, Up
from tests.farends import (
    BOTH,
    EVERYTHING,
    LOCAL,
    MARKS,
    V4,
    V6,
    Attrs,
    Conn,
    Speaker,
    default_attrs,
    handle,
    plain,
    prefixes_of,
    repr_of,
)
from tests.oracle import Metrics, Oracle, SentPath, oracle_kind, tags_of
from tests.reference import codec, export
from tests.reference.rib import Peer as ReferencePeer
from tests.reference.rib import RouterOptions, added_otc, reject_reasons
from tests.reference.tags import Far

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.peer import Peer

MAX_ROUNDS = 20_000


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
        self.oracle.speakers[peer.slot] = speaker
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
            sent = dict(want[speaker.slot])
            self._check_stored(speaker, sent, what)
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
