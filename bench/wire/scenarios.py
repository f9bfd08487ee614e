"""The scenarios, as data: who the members are, what they bring, and what happens then.

In: an id and a scale. Out: a `Scenario`; `scale` multiplies prefixes, members stay (their number
is what most scenarios are about).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.tables import TableSpec


@dataclass(frozen=True)
class Load:
    """Feeders send their tables; until every watched member holds exactly what it is due."""

    name: str = "load"


@dataclass(frozen=True)
class Churn:
    """`rate` changes a second for `seconds`; latency from send to receipt."""

    rate: float
    seconds: float
    name: str = "churn"


@dataclass(frozen=True)
class Join:
    """The next `count` late members connect; until they hold what they are due."""

    count: int
    name: str = "join"


@dataclass(frozen=True)
class Drop:
    """The first `count` members' connections end; until it is withdrawn everywhere."""

    count: int
    name: str = "drop"


@dataclass(frozen=True)
class Return:
    """The dropped members come back with their tables; until everybody has all again."""

    name: str = "return"


@dataclass(frozen=True)
class CatchUp:
    """Slow members read at full speed again; until they too are exact."""

    name: str = "catch-up"


Phase = Load | Churn | Join | Drop | Return | CatchUp


@dataclass(frozen=True)
class Scenario:
    """One cell of the matrix."""

    id: str
    title: str
    table: TableSpec
    phases: tuple[Phase, ...] = (Load(),)
    real: int = 0
    """Tables are those of so many peers of the full-table MRT file; `table.prefixes` is a limit."""
    reflector: bool = False
    next_best: bool = False
    late: int = 0
    """The last so many members connect only when a Join says so."""
    slow: int = 0
    """Members before the late ones that read 10 KB/s."""
    stalled: int = 0
    """Members before the slow ones that read nothing."""
    mixed: bool = False
    """One in ten ADD-PATH, one in ten without 4-octet AS numbers, one in ten extended messages."""
    sampled: int = 10
    """Members whose next hops are checked too."""
    up_s: float = 300.0
    """Sessions must be up by then."""
    timeout_s: float = 600.0

    def scaled(self, scale: float) -> Scenario:
        """The same with `scale` times the prefixes."""
        least = self.table.feeders or self.table.members
        prefixes = max(int(self.table.prefixes * scale), least)
        return replace(self, table=replace(self.table, prefixes=prefixes))


SLOW_RATE = 10_000
"""Octets a second that a slow member reads."""

_ALL = (
    Scenario("W1", "100 members bring 1,000,000 in all, to all", TableSpec(100, 1_000_000)),
    Scenario("W2", "500 members x 200", TableSpec(500, 100_000)),
    Scenario("W2b", "700 members x 572", TableSpec(700, 400_400)),
    Scenario(
        "W3",
        "W2 with 30 % overlap, 36 % of routes tagged 0:X, next best due",
        TableSpec(500, 100_000, overlap=0.30, tagged=0.36),
        next_best=True,
        sampled=50,
    ),
    Scenario(
        "W4",
        "2 real full tables, IPv4 and IPv6, to 50 receivers",
        TableSpec(52, 900_000, feeders=2, same=True, ipv6=1.0),
        real=2,
    ),
    Scenario(
        "W5",
        "reflector: 4 clients bring the same real full table, 100 clients receive",
        TableSpec(104, 900_000, feeders=4, same=True, ipv6=1.0, ibgp=True),
        real=1,
        reflector=True,
    ),
    Scenario(
        "W6",
        "2 members bring the same 1,000,000; 1 joins late, then 50 at once",
        TableSpec(63, 1_000_000, feeders=2, same=True),
        phases=(Load(), Join(1), Join(50, name="join-50")),
        late=51,
    ),
    Scenario(
        "W7a",
        "12 members, 1,000,000 prefixes, churn 1,000/s",
        TableSpec(12, 1_000_000),
        phases=(Load(), Churn(1000, 10)),
    ),
    Scenario(
        "W7b",
        "500 members x 200, churn 1,000/s",
        TableSpec(500, 100_000),
        phases=(Load(), Churn(1000, 10)),
    ),
    Scenario(
        "W8",
        "50 of 500 members drop, and return",
        TableSpec(500, 100_000),
        phases=(Load(), Drop(50), Return()),
    ),
    Scenario(
        "W9",
        "W1 with 2 members that read 10 KB/s and 1 that reads nothing",
        TableSpec(100, 1_000_000),
        phases=(Load(), CatchUp()),
        slow=2,
        stalled=1,
    ),
    Scenario(
        "W10",
        "W2, mixed: 10 % ADD-PATH, 10 % 2-octet AS, 10 % extended messages",
        TableSpec(500, 100_000),
        mixed=True,
    ),
    Scenario("W11", "2,000 members x 100", TableSpec(2000, 200_000)),
    Scenario("W12", "one feeder, one receiver, 1,000,000", TableSpec(2, 1_000_000, feeders=1)),
)

SCENARIOS = {s.id: s for s in _ALL}
