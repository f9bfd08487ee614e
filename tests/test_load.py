"""The load client against the floor on loopback, and its judgement against routes gone wrong.

A benchmark that cannot see a missing route measures nothing: so each fault it must see is made.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from bench.realtable import RealTables
from bench.tables import (
    RS_ASN,
    Tables,
    TableSpec,
    generate,
    member_address,
    member_asn,
    message,
)
from rs._fastpath.load import (
    ADDPATH,
    AS4,
    CHURN,
    CONVERGED,
    EXTENDED,
    IPV4,
    IPV6,
    QUIET,
    UP,
    LoadClient,
)
from rs._fastpath.splice import Splice
from tests import mrtfiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOPBACK = 0x7F000001
KEEPALIVE = b"\xff" * 16 + b"\0\x13\x04"


@pytest.fixture
def floor() -> Iterator[int]:
    """A floor in a thread of its own; gives its port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    listener.setblocking(False)
    splice = Splice(listener.fileno(), RS_ASN, 1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            splice.run(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    over.set()
    thread.join()
    listener.close()


def client_of(tables: Tables, port: int, options: int = AS4 | IPV4) -> LoadClient:
    """Members of a table, each due all that others bring, next hops checked on the first."""
    client = LoadClient(tables.prefixes4, tables.prefixes6)
    for m in range(tables.spec.members):
        table = tables.updates(m)
        client.add_member(LOOPBACK, port, 0, member_asn(m), member_address(m), options, table)
        client.set_due(m, tables.due(m), tables.own(m))
        client.watch(m, True)
    client.set_due_next_hops(0, tables.next_hops(0))
    return client


def up(client: LoadClient) -> None:
    everybody = range(client.members_total)
    client.connect(everybody)
    assert client.run(UP, 10), client.member(0)


def faults(seen: dict[str, Any]) -> dict[str, int]:
    names = ("missing", "surplus", "wrong_next_hop", "unknown", "malformed", "echoed")
    return {n: seen[n] for n in names if seen[n]}


@pytest.mark.parametrize("ipv6", [0.0, 0.5])
def test_everybody_gets_exactly_what_others_bring(floor: int, ipv6: float) -> None:
    tables = generate(TableSpec(5, 500, ipv6=ipv6))
    client = client_of(tables, floor, AS4 | IPV4 | IPV6)
    assert not client.member(0)["exact"]
    up(client)
    start = client.mark()
    client.start(range(5))
    assert client.run(CONVERGED, 10)
    client.run(QUIET, 2, 0.1)
    for m in range(5):
        seen = client.member(m)
        assert faults(seen) == {}
        assert seen["exact"]
        assert seen["announced"] == 400
        assert start < seen["t_first"] <= seen["t_exact"]
        assert client.holds(m) == tables.due(m)
        assert seen["end_of_rib"] == (0b11 if ipv6 else 0b01)
    assert client.counts == {"watched": 5, "up": 5, "exact": 5}


def test_a_member_with_a_prefix_too_few_is_not_exact(floor: int) -> None:
    tables = generate(TableSpec(3, 30))
    client = client_of(tables, floor)
    client.set_table(2, tables.updates(2, only=9))
    up(client)
    client.start(range(3))
    assert not client.run(CONVERGED, 0.5)
    assert faults(client.member(0)) == {"missing": 1, "wrong_next_hop": 1}
    assert faults(client.member(1)) == {"missing": 1}
    assert faults(client.member(2)) == {}
    assert client.counts["exact"] == 1


def test_a_prefix_that_is_not_due_is_surplus_until_withdrawn(floor: int) -> None:
    tables = generate(TableSpec(3, 30))
    client = client_of(tables, floor)
    # Member 1 is not due the first prefix of member 2, which is number 20.
    due = int.from_bytes(tables.due(1), "little") & ~(1 << 20)
    client.set_due(1, due.to_bytes(4, "little"), tables.own(1))
    up(client)
    client.start(range(3))
    assert not client.run(CONVERGED, 0.5)
    assert faults(client.member(1)) == {"surplus": 1}
    withdraw = message(b"\0\4" + tables.nlri[20] + b"\0\0")
    client.churn([(2, 20, withdraw)], 100, 2)
    assert client.run(CHURN, 5)
    assert client.member(1)["exact"]
    assert client.member(1)["withdrawn"] == 1
    assert faults(client.member(0)) == {"missing": 1, "wrong_next_hop": 1}


def test_somebody_elses_route_is_a_wrong_next_hop(floor: int) -> None:
    tables = generate(TableSpec(3, 30))
    client = client_of(tables, floor)
    wrong = array("I", tables.next_hops(0))
    wrong[25] = member_address(1)
    wrong[26] = 0  # anybody's
    client.set_due_next_hops(0, wrong.tobytes())
    up(client)
    client.start(range(3))
    assert not client.run(CONVERGED, 0.5)
    assert faults(client.member(0)) == {"wrong_next_hop": 1}


def test_a_prefix_outside_the_universe_is_seen(floor: int) -> None:
    tables = generate(TableSpec(2, 20))
    client = client_of(tables, floor)
    body = tables.updates(1)
    stranger = body.replace(tables.nlri[13], b"\x18\x09\x09\x09")
    client.set_table(1, stranger)
    up(client)
    client.start(range(2))
    assert not client.run(CONVERGED, 0.5)
    assert faults(client.member(0)) == {"missing": 1, "unknown": 1, "wrong_next_hop": 1}


def test_own_prefixes_that_come_back_are_counted_but_no_fault(floor: int) -> None:
    tables = generate(TableSpec(2, 20))
    client = client_of(tables, floor)
    client.set_table(1, tables.updates(0) + tables.updates(1))
    up(client)
    client.start([1])
    assert not client.run(CONVERGED, 0.5)  # member 1 gets nothing from the silent member 0
    assert faults(client.member(0)) == {"echoed": 10}
    assert client.member(0)["exact"]


def test_drop_return_and_a_late_joiner(floor: int) -> None:
    tables = generate(TableSpec(3, 30))
    client = client_of(tables, floor)
    client.watch(2, False)
    client.connect([0, 1])
    assert client.run(UP, 5)
    client.start([0, 1])
    client.set_due(0, tables.due(0, without=frozenset([2])), tables.own(0))
    client.set_due(1, tables.due(1, without=frozenset([2])), tables.own(1))
    client.set_due_next_hops(0, bytes(4 * 30))
    assert client.run(CONVERGED, 5)
    client.watch(2, True)
    client.connect([2])
    assert client.run(CONVERGED, 5)
    assert client.member(2)["announced"] == 20
    client.drop([1])
    assert client.member(1)["state"] == "idle"
    assert client.counts == {"watched": 3, "up": 2, "exact": 2}
    client.connect([1])
    assert not client.member(1)["exact"]
    client.start([1])
    assert client.run(CONVERGED, 5), [client.member(m) for m in range(3)]


def test_slow_members_hold_nobody_up_and_are_exact_in_the_end(floor: int) -> None:
    tables = generate(TableSpec(3, 3000))
    client = client_of(tables, floor)
    up(client)
    client.set_rate(1, 20_000)
    client.set_rate(2, 0)
    client.watch(1, False)
    client.watch(2, False)
    client.start(range(3))
    assert client.run(CONVERGED, 5)
    assert client.member(1)["missing"] > 1000
    assert client.member(2)["missing"] == 2000
    client.run(QUIET, 0.5, 10)
    # Half a second at 20 KB/s is some 10 KB of the 44 KB there are.
    assert 4_000 < client.member(1)["rx_bytes"] < 30_000
    for m in (1, 2):
        client.set_rate(m, -1)
        client.watch(m, True)
    assert client.run(CONVERGED, 5)
    assert faults(client.member(1)) == faults(client.member(2)) == {}


def test_churn_measures_each_receipt_once(floor: int) -> None:
    tables = generate(TableSpec(4, 400))
    client = client_of(tables, floor)
    up(client)
    client.start(range(4))
    assert client.run(CONVERGED, 5)
    changes = [(m, at, data) for m in range(4) for at, data in tables.changes(m, 25)]
    assert len(changes) == 100
    before = client.now()
    client.churn(changes, 1000, 300)
    assert client.run(CHURN, 5)
    took = client.now() - before
    client.run(QUIET, 2, 0.1)
    got = client.churn_result()
    client.churn_end()
    assert (got["sent"], got["receipts"]) == (100, 300)
    assert 0.09e9 < took < 1e9  # 100 changes at 1,000 a second
    assert 0 < got["p50_ns"] <= got["p99_ns"] <= 1.02 * got["max_ns"]
    assert got["max_ns"] < took
    with pytest.raises(ValueError, match="changed twice"):
        client.churn([changes[0], changes[0]], 1, 1)


def scripted(replies: list[bytes]) -> tuple[int, threading.Thread]:
    """A speaker that answers one session with fixed bytes after its OPEN."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.closing(listener):
            conn, _ = listener.accept()
            with conn:
                conn.recv(4096)
                for data in replies:
                    conn.sendall(data)
                with contextlib.suppress(OSError):
                    while conn.recv(4096):
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], thread


def opening(capabilities: bytes = b"") -> bytes:
    body = struct.pack(">BHHIB", 4, RS_ASN, 0, 1, len(capabilities) + 2 * bool(capabilities))
    if capabilities:
        body += bytes((2, len(capabilities))) + capabilities
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 1) + body


def single(replies: list[bytes], due: int, options: int = AS4 | IPV4) -> dict[str, Any]:
    """One member, ten /24s, a scripted daemon: give what the member has seen of it."""
    port, thread = scripted(replies)
    tables = generate(TableSpec(2, 20))
    client = LoadClient(tables.prefixes4)
    client.add_member(LOOPBACK, port, 0, member_asn(0), 1, options, b"")
    client.set_due(0, due.to_bytes(3, "little"))
    client.watch(0, True)
    client.connect([0])
    client.run(UP, 5)
    client.run(QUIET, 5, 0.3)
    seen = client.member(0)
    del client
    thread.join()
    return seen


def announce(nlri: bytes) -> bytes:
    attrs = b"\x40\x01\x01\0\x40\x02\0\x40\x03\4\x0a\1\0\1"
    return message(b"\0\0" + struct.pack(">H", len(attrs)) + attrs + nlri)


def test_a_member_offers_what_it_is_told_to() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = LoadClient(b"\x14\0\0\0\x18")
    options = AS4 | IPV4 | IPV6 | ADDPATH | EXTENDED
    port = listener.getsockname()[1]
    for opts in (options, IPV4):
        client.add_member(LOOPBACK, port, 0, 70000, 0x0A000001, opts, b"")
    client.connect([0, 1])
    client.run(QUIET, 1, 0.05)
    sent = []
    for _ in range(2):
        conn, _ = listener.accept()
        with conn:
            sent.append(conn.recv(4096))
    listener.close()
    sent.sort(key=len)
    head = b"\xff" * 16 + struct.pack(">HBBHHI", len(sent[1]), 1, 4, 23456, 240, 0x0A000001)
    assert sent[1].startswith(head)
    assert sent[1][28:] == bytes.fromhex(
        "22 02 20 0104 0001 0001 0104 0002 0001 0200 0600 4104 00011170"
        "4508 0001 01 01 0002 01 01".replace(" ", "")
    )
    assert sent[0][28:] == bytes.fromhex("0a 02 08 0104 0001 0001 0200".replace(" ", ""))


def test_messages_cut_anywhere_are_put_together() -> None:
    whole = (
        opening() + KEEPALIVE + announce(b"\x18\x14\0\0") + announce(b"\x18\x14\0\1\x18\x14\0\2")
    )
    seen = single([whole[i : i + 1] for i in range(len(whole))], 7)
    assert seen["exact"]
    assert (seen["updates"], seen["announced"]) == (2, 3)


def test_a_prefix_announced_twice_counts_once() -> None:
    for twice in (
        [announce(b"\x18\x14\0\0\x18\x14\0\0\x18\x14\0\1")],
        [announce(b"\x18\x14\0\0"), announce(b"\x18\x14\0\0\x18\x14\0\1")],
    ):
        seen = single([opening() + KEEPALIVE, *twice], 3)
        assert seen["exact"], seen
        seen = single([opening() + KEEPALIVE, *twice], 1)
        assert faults(seen) == {"surplus": 1}


def test_spans_of_any_prefixes_are_known_again() -> None:
    """Long and short ones, whole and in part, of a universe that needs hashing."""
    nlri = [struct.pack(">BI", 25, (20 << 24) + (i << 7)) for i in range(700)]
    universe = b"".join(n[1:] + n[:1] for n in nlri)
    sent = [b"".join(nlri), b"".join(nlri[100:650]), b"".join(nlri[:3]), b"\x19\x09\0\0\0"]
    port, thread = scripted([opening() + KEEPALIVE] + [announce(s) for s in [*sent, *sent]])
    client = LoadClient(universe)
    client.add_member(LOOPBACK, port, 0, member_asn(0), 1, AS4 | IPV4, b"")
    client.set_due(0, ((1 << 700) - 1).to_bytes(88, "little"))
    client.watch(0, True)
    client.connect([0])
    client.run(UP, 5)
    client.run(QUIET, 5, 0.3)
    seen = client.member(0)
    del client
    thread.join()
    assert faults(seen) == {"unknown": 2}
    assert seen["announced"] == 2 * (700 + 550 + 3 + 1)


def test_path_identifiers_are_read_where_they_are_agreed_on() -> None:
    both = bytes((69, 4, 0, 1, 1, 2))
    nlri = b"\0\0\0\x09\x18\x14\0\0"
    seen = single([opening(both) + KEEPALIVE + announce(nlri)], 1, AS4 | IPV4 | ADDPATH)
    assert seen["exact"]
    # A daemon that sends them unasked for is not excused.
    seen = single([opening() + KEEPALIVE + announce(nlri)], 1, AS4 | IPV4 | ADDPATH)
    assert not seen["exact"]


@pytest.mark.parametrize(
    "update",
    [
        message(b"\0\0\0"),
        message(b"\0\xff\0\0"),
        message(b"\0\0\0\xff"),
        announce(b"\x21\x14\0\0\0\0"),
        announce(b"\x18\x14\0"),
        message(b"\0\0\0\x0e\x40\x01\x01\0\x40\x02\0\x40\x03\xff\x0a\1\0\1\x18\x14\0\0")
        + message(b"\0\0\0\4\x80\x0e\xff\0"),
    ],
    ids=["short", "withdrawn", "attributes", "length", "cut", "attribute"],
)
def test_malformed_messages_are_counted(update: bytes) -> None:
    seen = single([opening() + KEEPALIVE + update], 0)
    assert seen["malformed"] == 1
    assert not seen["exact"]


def test_an_end_after_routes_have_passed_is_a_loss() -> None:
    cease = b"\xff" * 16 + b"\0\x15\x03\x06\x02"
    seen = single([opening() + KEEPALIVE + announce(b"\x18\x14\0\0") + cease], 3)
    assert seen["state"] == "lost"
    assert seen["error"] == "NOTIFICATION 6/2"


def test_an_end_before_any_route_is_tried_again_with_the_whole_table() -> None:
    tables = generate(TableSpec(2, 20))
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        for stay in (False, True):
            conn, _ = listener.accept()
            with conn:
                conn.sendall(opening() + KEEPALIVE)
                data = b""
                while len(data) < 64 + (len(tables.updates(0)) if stay else 0):
                    data += conn.recv(4096)
                got.append(data)
                if stay:
                    conn.sendall(announce(b"\x18\x14\0\0"))
                    conn.recv(4096)

    thread = threading.Thread(target=serve)
    thread.start()
    client = LoadClient(tables.prefixes4)
    port = listener.getsockname()[1]
    client.add_member(LOOPBACK, port, 0, 20000, 1, AS4 | IPV4, tables.updates(0))
    client.set_due(0, b"\1\0\0")
    client.watch(0, True)
    client.connect([0])
    client.start([0])
    assert client.run(CONVERGED, 5), client.member(0)
    assert client.member(0)["resets"] == 1
    del client
    thread.join()
    listener.close()
    assert got[1].endswith(tables.updates(0))


def test_bitmaps_of_another_size_are_refused() -> None:
    client = LoadClient(b"\x14\0\0\0\x18")
    client.add_member(LOOPBACK, 1, 0, 1, 1, AS4, b"")
    with pytest.raises(ValueError, match="want 1"):
        client.set_due(0, b"\0\0")
    with pytest.raises(ValueError, match="past the last"):
        client.set_due(0, b"\x02")
    with pytest.raises(ValueError, match="twice"):
        LoadClient(b"\x14\0\0\0\x18" * 2)
    with pytest.raises(IndexError):
        client.member(1)


class TestTables:
    """The generator's own arithmetic, against a slow reading of its blocks."""

    spec = TableSpec(7, 700, overlap=0.4, tagged=0.5, ipv6=0.3, seed=3)

    def test_equal_specs_give_equal_bytes(self) -> None:
        one, two = generate(self.spec), generate(self.spec)
        assert [one.updates(m) for m in range(7)] == [two.updates(m) for m in range(7)]
        assert one.updates(0) != generate(TableSpec(7, 700, seed=4)).updates(0)

    @pytest.mark.parametrize("away", [frozenset(), frozenset([1, 4])])
    def test_due_is_the_first_offer_that_is_open(self, away: frozenset[int]) -> None:
        tables = generate(self.spec)
        for member in range(7):
            due = int.from_bytes(tables.due(member, without=away), "little")
            hops = array("I", tables.next_hops(member, without=away))
            for block in tables.blocks:
                given = [
                    o.source
                    for o in block.offers
                    if member not in (o.source, o.closed_to) and o.source not in away
                ]
                for at in range(block.first, block.first + block.count):
                    assert bool(due >> at & 1) == bool(given)
                    assert hops[at] == (member_address(given[0]) if given else 0)

    def test_tags_and_overlap_come_as_often_as_asked(self) -> None:
        tables = generate(TableSpec(50, 50_000, overlap=0.3, tagged=0.36))
        offers = [o for b in tables.blocks for o in b.offers]
        assert len(offers) == pytest.approx(1.3 * len(tables.blocks), rel=0.05)
        closed = sum(o.closed_to >= 0 for o in offers)
        assert closed == pytest.approx(0.36 * 2 / 3 * len(offers), rel=0.05)

    def test_a_table_too_large_for_one_message_is_split(self) -> None:
        tables = generate(TableSpec(1, 5000, per_set=2500))
        stream = tables.updates(0)
        sizes = []
        while stream:
            size = struct.unpack_from(">H", stream, 16)[0]
            sizes.append(size)
            stream = stream[size:]
        assert max(sizes) <= 4096
        assert len(sizes) > 4


class TestRealTables:
    """Two feeds from an MRT file that the test writes, with everything that is to be left out."""

    spec = TableSpec(4, 100, feeders=2, same=True, ipv6=1.0)

    @pytest.fixture
    def tables(self, tmp_path: Path) -> RealTables:
        communities = mrtfiles.attr(8, struct.pack(">HH", 0, member_asn(1)), 0xC0)
        as_set = mrtfiles.attr(1, b"\0") + mrtfiles.attr(2, b"\1\1\0\0\0\x09")
        as_set += mrtfiles.attr(3, b"\xc0\0\2\1")
        near, far = mrtfiles.attrs(100, 200), mrtfiles.attrs(300, 400, 500)
        near6 = mrtfiles.attrs(100, hop=None, more=mrtfiles.mp_short("2001:db8::1"))
        rows = [
            ("5.0.0.0/8", (0, near), (1, far)),
            ("5.1.0.0/16", (0, far), (1, near)),
            ("6.0.0.0/8", (0, near), (1, near)),
            ("7.0.0.0/8", (0, near)),  # only one has it
            ("10.0.0.0/8", (0, as_set), (1, as_set)),
            ("11.0.0.0/8", (0, mrtfiles.attrs(100, member_asn(2))), (1, near)),
            ("12.0.0.0/8", (0, near + communities), (1, near)),
            ("224.0.0.0/8", (0, near), (1, near)),
            ("2001:db8::/32", (0, near6), (1, near6)),
        ]
        path = tmp_path / "rib.mrt"
        peers = mrtfiles.peer_index_table(("192.0.2.1", 100), ("192.0.2.2", 300))
        path.write_bytes(peers + b"".join(mrtfiles.rib(row[0], *row[1:]) for row in rows))
        return RealTables(self.spec, path)

    def test_what_every_daemon_takes_alike_is_left(self, tables: RealTables) -> None:
        assert sorted(tables.nlri[: tables.n4]) == [b"\x08\5", b"\x08\6", b"\x10\5\1"]
        assert tables.nlri[tables.n4 :] == [b"\x20\x20\1\x0d\xb8"]

    def test_next_hops_are_said_where_path_lengths_differ(self, tables: RealTables) -> None:
        hops = dict(zip(tables.nlri, array("I", tables.next_hops(3)), strict=True))
        assert hops[b"\x08\5"] == member_address(0)
        assert hops[b"\x10\5\1"] == member_address(1)
        assert hops[b"\x08\6"] == 0

    def test_the_floor_delivers_them(self, floor: int, tables: RealTables) -> None:
        client = LoadClient(tables.prefixes4, tables.prefixes6)
        for m in range(4):
            options = AS4 | IPV4 | IPV6
            table = tables.updates(m)
            client.add_member(LOOPBACK, floor, 0, member_asn(m), m + 1, options, table)
            client.set_due(m, tables.due(m), tables.own(m))
            client.watch(m, m >= 2)
        client.set_due_next_hops(3, struct.pack("I", member_address(0)) * len(tables))
        up(client)
        client.start([0])
        assert client.run(CONVERGED, 5), client.member(3)
        assert client.member(2)["announced"] == len(tables)
        assert client.member(3)["end_of_rib"] == 0b11
