"""The whole engine without sockets: bytes in, RIB, member sets, encoding, bytes out.

`python -m bench.bench_pipeline` lets members bring a table and every one of them read what it is
due, the way rs.scheduler does it, and prints what a prefix costs in each step, and memory. Nothing
of it depends on the network, so that it shows small changes; bench.wire is the whole truth.

In: the shape of the table. Out: figures; exit code 1 if a member was sent something else than it is
due. A step's time is CPU time of this process.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.engine import Engine
from bench.tables import Tables, TableSpec, generate

READ_LEN = 65536
"""Octets a read, as rs.transport reads."""


@dataclass
class Result:
    """What one run took; times in seconds of CPU, sizes in octets."""

    prefixes: int
    routes: int
    deliveries: int
    octets: int
    feed_s: float = 0.0
    evaluate_s: float = 0.0
    take_s: float = 0.0
    rss: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    exact: bool = True

    @property
    def total_s(self) -> float:
        return self.feed_s + self.evaluate_s + self.take_s


def resident() -> int:
    """Resident memory of this process in octets."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def pieces(tables: Tables, members: int) -> list[list[bytes]]:
    """What the members send, in reads: all first reads, all second ones, and so on."""
    whole = [tables.updates(m) for m in range(members)]
    rounds = max(map(len, whole)) // READ_LEN + 1
    return [[data[r * READ_LEN : (r + 1) * READ_LEN] for data in whole] for r in range(rounds)]


def run(tables: Tables) -> Result:
    """One run from nothing to everybody having everything."""
    members = tables.spec.members
    rounds = pieces(tables, members)
    gc.collect()
    before = resident()
    engine = Engine(members)
    engine.join()
    engine.walk()
    clock = time.process_time
    feed = evaluate = take = 0.0
    octets = 0
    for reads in rounds:
        for m, data in enumerate(reads):
            if data:
                begun = clock()
                engine.ingests[m].feed(data)
                feed += clock() - begun
        begun = clock()
        engine.evaluate()
        evaluate += clock() - begun
        begun = clock()
        octets += engine.take()
        take += clock() - begun
    begun = clock()
    engine.walk()
    octets += engine.take()
    take += clock() - begun
    due = [int.from_bytes(tables.due(m), "little").bit_count() for m in range(members)]
    return Result(
        prefixes=len(tables),
        routes=sum(ingest.announced for ingest in engine.ingests),
        deliveries=sum(due),
        octets=octets,
        feed_s=feed,
        evaluate_s=evaluate,
        take_s=take,
        rss=resident() - before,
        memory=engine.memory(),
        exact=[engine.advertised(m) for m in range(members)] == due,
    )


def show(result: Result) -> None:
    """Print a result for people."""
    n, routes, given = result.prefixes, result.routes, result.deliveries
    print(f"{n:,} prefixes, {routes:,} routes in, {given:,} out, {result.octets / 1e6:,.0f} MB out")
    rows = [
        ("in: decode, intern, check, enter", result.feed_s, routes, "route"),
        ("out: rank, walk, compare, encode", result.evaluate_s, n, "prefix"),
        ("read by members (with a copy)", result.take_s, given, "delivery"),
        ("in all", result.total_s, given, "delivery"),
    ]
    for name, seconds, count, unit in rows:
        print(f"  {name:<34} {seconds:7.3f} s  {seconds / count * 1e9:8.1f} ns a {unit}")
    for name, size in result.memory.items():
        print(f"  {name:<34} {size / 1e6:7.1f} MB {size / routes:8.1f} B a route")
    print(
        f"  {'resident, more than before':<34} {result.rss / 1e6:7.1f} MB "
        f"{result.rss / routes:8.1f} B a route"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.bench_pipeline", description=__doc__)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--prefixes", type=int, default=200_000)
    parser.add_argument("--per-set", type=int, default=5, help="prefixes that share attributes")
    parser.add_argument("--overlap", type=float, default=0.3, help="share brought by two members")
    parser.add_argument("--tagged", type=float, default=0.36, help="share with 0:X")
    parser.add_argument("--ipv6", type=float, default=0.1, help="share of IPv6")
    parser.add_argument("--runs", type=int, default=3, help="the fastest one counts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    spec = TableSpec(
        members=args.members,
        prefixes=args.prefixes,
        per_set=args.per_set,
        overlap=args.overlap,
        tagged=args.tagged,
        ipv6=args.ipv6,
    )
    tables = generate(spec)
    results = [run(tables) for _ in range(args.runs)]
    best = min(results, key=lambda result: result.total_s)
    # The first run alone sees memory grow; later ones use again what the first gave back.
    best.rss = results[0].rss
    if args.json:
        print(json.dumps({"spec": asdict(spec), **asdict(best)}))
    else:
        show(best)
    if not all(result.exact for result in results):
        sys.exit("a member was sent something else than it is due")


if __name__ == "__main__":
    main()
