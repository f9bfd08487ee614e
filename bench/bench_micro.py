"""Micro benchmarks of the fast path's stages, with what a plain Python solution would cost beside.

`make bench`, or `pytest bench/bench_micro.py`. Rounds do many items; the section "nanoseconds an
item" at the end is the one to read. A group's benchmarks do the same thing by different means.
"""

from __future__ import annotations

import random
from functools import cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
import pytricia

from bench.engine import STEP, Engine
from bench.tables import Tables, TableSpec, generate, message
from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs._fastpath.encode import Encoder
from rs._fastpath.log import Log
from rs._fastpath.trie import Trie
from rs._fastpath.walks import mark_all
from rs.iana import Family

if TYPE_CHECKING:
    from collections.abc import Callable

    Measure = Callable[..., object]

PREFIXES = 50_000
MEMBERS = 50
V4 = (Family.IPV4_UNICAST,)


@cache
def plain() -> Tables:
    """A table of which each prefix comes from one member, five to an attribute set."""
    return generate(TableSpec(members=MEMBERS, prefixes=PREFIXES))


@cache
def contested() -> Tables:
    """A table with overlap, and a third of the routes closed to somebody."""
    return generate(TableSpec(members=MEMBERS, prefixes=PREFIXES, overlap=0.5, tagged=0.36))


@cache
def bodies() -> list[bytes]:
    """UPDATEs without their headers."""
    out = []
    for m in range(MEMBERS):
        octets = plain().updates(m)
        at = 0
        while at < len(octets):
            length = int.from_bytes(octets[at + 16 : at + 18])
            out.append(octets[at + 19 : at + length])
            at += length
    return out


def loaded(tables: Tables, *, join: bool = False) -> Engine:
    """An engine with every member's routes entered, and evaluated if anybody is to get them."""
    engine = Engine(MEMBERS, V4)
    if join:
        engine.join()
        engine.walk()
    engine.feed(tables)
    if join:
        engine.evaluate()
        engine.take()
    return engine


# --- decode and intern ----------------------------------------------------------------------------


@pytest.mark.benchmark(group="decode")
def test_update_with_known_attributes(per_item: Measure) -> None:
    """An attribute block seen before: a hash and a compare."""
    table = AttrTable()
    decoder = Decoder(table)
    held = [decoder.handles(body)[1] for body in bodies()]

    def work() -> None:
        handles, drop = decoder.handles, table.drop
        for body in bodies():
            h = handles(body)[1]
            if h:
                drop(h)

    per_item(len(held), "UPDATE", work)


@pytest.mark.benchmark(group="decode")
def test_update_with_new_attributes(per_item: Measure) -> None:
    """A new block: validated by RFC 7606, brought into canonical form, interned."""

    def work(decoder: Decoder) -> None:
        handles = decoder.handles
        for body in bodies():
            handles(body)

    per_item(len(bodies()), "UPDATE", work, lambda: (Decoder(AttrTable()),))


@pytest.mark.benchmark(group="decode")
def test_enter_a_route(per_item: Measure) -> None:
    """Bytes as read, up to the path in the RIB: a full table's first time."""
    octets = [plain().updates(m) for m in range(MEMBERS)]

    def work(engine: Engine) -> None:
        for m, data in enumerate(octets):
            engine.ingests[m].feed(data)

    per_item(PREFIXES, "route", work, lambda: (Engine(MEMBERS, V4),))


@pytest.mark.benchmark(group="decode")
def test_enter_a_route_again(per_item: Measure) -> None:
    """The same route once more: nothing changes."""
    engine = loaded(plain())
    octets = [plain().updates(m) for m in range(MEMBERS)]

    def work() -> None:
        for m, data in enumerate(octets):
            engine.ingests[m].feed(data)

    per_item(PREFIXES, "route", work)


@pytest.mark.benchmark(group="decode")
def test_withdraw_a_route(per_item: Measure) -> None:
    nlri = plain().nlri
    share = PREFIXES // MEMBERS
    octets = []
    for m in range(MEMBERS):
        mine = nlri[m * share : (m + 1) * share]
        parts = [b"".join(mine[at : at + 800]) for at in range(0, share, 800)]
        octets.append(b"".join(message(len(p).to_bytes(2) + p + b"\0\0") for p in parts))

    def work(engine: Engine) -> None:
        for m, data in enumerate(octets):
            engine.ingests[m].feed(data)

    per_item(PREFIXES, "route", work, lambda: (loaded(plain()),))


# --- the trie, against what Python has ------------------------------------------------------------


@cache
def keys() -> list[tuple[bytes, int]]:
    """Prefixes in an order that says nothing, as updates come."""
    prefixes = contested().prefixes4
    out = [(prefixes[5 * i : 5 * i + 4], prefixes[5 * i + 4]) for i in range(PREFIXES)]
    random.Random(1).shuffle(out)
    return out


@cache
def texts() -> list[str]:
    return [f"{IPv4Address(addr)}/{plen}" for addr, plen in keys()]


@pytest.mark.benchmark(group="insert")
def test_trie_insert(per_item: Measure) -> None:
    def work(trie: Trie) -> None:
        add = trie.add
        for addr, plen in keys():
            add(addr, plen)

    per_item(PREFIXES, "prefix", work, lambda: (Trie(4),))


@pytest.mark.benchmark(group="insert")
def test_pytricia_insert(per_item: Measure) -> None:
    def work(tree: pytricia.PyTricia) -> None:
        for text in texts():
            tree[text] = 1

    per_item(PREFIXES, "prefix", work, lambda: (pytricia.PyTricia(32),))


@pytest.mark.benchmark(group="insert")
def test_dict_insert(per_item: Measure) -> None:
    def work(table: dict[tuple[bytes, int], int]) -> None:
        for key in keys():
            table[key] = 1

    per_item(PREFIXES, "prefix", work, lambda: ({},))


@pytest.mark.benchmark(group="exact")
def test_trie_exact(per_item: Measure) -> None:
    trie = Trie(4)
    for addr, plen in keys():
        trie.add(addr, plen)

    def work() -> None:
        get = trie.get
        for addr, plen in keys():
            get(addr, plen)

    per_item(PREFIXES, "look-up", work)


@pytest.mark.benchmark(group="exact")
def test_pytricia_exact(per_item: Measure) -> None:
    tree = pytricia.PyTricia(32)
    for text in texts():
        tree[text] = 1

    def work() -> None:
        for text in texts():
            tree.has_key(text)

    per_item(PREFIXES, "look-up", work)


@pytest.mark.benchmark(group="exact")
def test_dict_exact(per_item: Measure) -> None:
    table = dict.fromkeys(keys(), 1)

    def work() -> None:
        for key in keys():
            table[key]

    per_item(PREFIXES, "look-up", work)


@pytest.mark.benchmark(group="longest")
def test_trie_longest(per_item: Measure) -> None:
    trie = Trie(4)
    for addr, plen in keys():
        trie.add(addr, plen)
    hosts = [addr[:3] + b"\x07" for addr, _ in keys()]

    def work() -> None:
        match = trie.match
        for host in hosts:
            match(host, 32)

    per_item(PREFIXES, "look-up", work)


@pytest.mark.benchmark(group="longest")
def test_pytricia_longest(per_item: Measure) -> None:
    tree = pytricia.PyTricia(32)
    for text in texts():
        tree[text] = 1
    hosts = [str(IPv4Address(addr[:3] + b"\x07")) for addr, _ in keys()]

    def work() -> None:
        for host in hosts:
            tree.get_key(host)

    per_item(PREFIXES, "look-up", work)


# --- decide, walk, encode -------------------------------------------------------------------------


def marked(engine: Engine, *, rank: bool) -> tuple[Engine]:
    """Every prefix queued for evaluation."""
    table = engine.rib.tables[Family.IPV4_UNICAST]
    at = 1
    while at:
        at = mark_all(table, at, 1 << 20, rank)
    return (engine,)


@pytest.mark.benchmark(group="decide")
@pytest.mark.parametrize("sources", [1, 2, 8])
def test_rank(per_item: Measure, sources: int) -> None:
    """The decision process over a prefix with so many paths; nobody is sent anything."""
    n = PREFIXES // sources
    tables = generate(TableSpec(members=MEMBERS, prefixes=n, feeders=sources, same=True))
    engine = loaded(tables)
    engine.evaluate()
    per_item(n, "prefix", Engine.evaluate, lambda: marked(engine, rank=True))


@pytest.mark.benchmark(group="export")
@pytest.mark.parametrize("kind", [plain, contested], ids=["plain", "contested"])
def test_first_time(per_item: Measure, kind: Callable[[], Tables]) -> None:
    """Rank, walk over member sets, store, encode: what every member is due of a new prefix."""

    def fresh() -> tuple[Engine]:
        engine = Engine(MEMBERS, V4)
        engine.join()
        engine.walk()
        engine.feed(kind())
        return (engine,)

    per_item(PREFIXES, "prefix", Engine.evaluate, fresh)


@pytest.mark.benchmark(group="export")
@pytest.mark.parametrize("kind", [plain, contested], ids=["plain", "contested"])
def test_nothing_changes(per_item: Measure, kind: Callable[[], Tables]) -> None:
    """The walk alone: the result is what was sent already."""
    engine = loaded(kind(), join=True)
    per_item(PREFIXES, "prefix", Engine.evaluate, lambda: marked(engine, rank=False))


@pytest.mark.benchmark(group="export")
def test_walk_for_joiners(per_item: Measure) -> None:
    """The stored Adj-RIB-Out encoded for those who join: once, however many they are."""

    def fresh() -> tuple[Engine]:
        engine = loaded(contested(), join=True)
        for members in engine.members:
            members[0].refresh()
        return (engine,)

    per_item(PREFIXES, "prefix", Engine.walk, fresh, rounds=3)


@pytest.mark.benchmark(group="encode")
@pytest.mark.parametrize("per_set", [1, 5, 200])
def test_encode(per_item: Measure, per_set: int) -> None:
    """Prefixes by handle into messages, so many at a time."""
    engine = loaded(plain())
    table = engine.rib.tables[Family.IPV4_UNICAST]
    encoder = Encoder(engine.attrs, table.trie, Family.IPV4_UNICAST)
    handles = [table.handle(addr, plen) for addr, plen in keys()]
    groups = [handles[at : at + per_set] for at in range(0, PREFIXES, per_set)]
    attrs_h = table.paths_of(handles[0])[0][2]

    def work(log: Log) -> None:
        encode = encoder.encode_all
        for group in groups:
            encode(log, attrs_h, 0, group)

    per_item(PREFIXES, "prefix", work, lambda: (Log(engine.sets),))


@pytest.mark.benchmark(group="deliver")
def test_read_by_all_members(per_item: Measure) -> None:
    """Members pass over what is not for them and take the rest, with a copy that sockets do."""

    def fresh() -> tuple[Engine]:
        engine = Engine(MEMBERS, V4)
        engine.join()
        engine.walk()
        engine.take()
        engine.feed(contested())
        engine.evaluate()
        return (engine,)

    per_item(PREFIXES * MEMBERS, "delivery", Engine.take, fresh, rounds=3)


@pytest.mark.benchmark(group="export")
def test_one_step_of_the_scheduler(per_item: Measure) -> None:
    """One call of Exporter.step as the scheduler makes it: it is to stay far below a slice."""

    def fresh() -> tuple[Engine]:
        engine = Engine(MEMBERS, V4)
        engine.join()
        engine.walk()
        engine.feed(contested())
        return (engine,)

    per_item(1, "step", lambda engine: engine.exporter.step(STEP), fresh)
