"""The client's side of one run, in a process of its own, pinned and in the client's namespace.

In: a JSON object on standard input (scenario id, scale, the daemon's process id, how to judge).
Out: a JSON object on standard output: per phase, times, what the daemon used, what was wrong.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from bench.realtable import RealTables
from bench.tables import RS_ASN, Tables, generate, member_address, member_asn
from bench.wire.process import Usage, usage
from bench.wire.scenarios import (
    SCENARIOS,
    SLOW_RATE,
    CatchUp,
    Churn,
    Drop,
    Join,
    Load,
    Phase,
    Return,
    Scenario,
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

GIVE_UP_S = 35.0
"""A phase in which an idle daemon has sent nothing for so long will not be completed.

Our KEEPALIVEs, one each 30 s, have woken daemons that had stopped.
"""
IDLE_SHARE = 0.1
"""Whoever uses less of a core than this is idle."""
SETTLE_S = 0.3
"""After convergence, nothing may change for so long."""


@dataclass(frozen=True)
class Order:
    """What the runner asks for."""

    scenario: str
    scale: float
    host: str
    port: int
    pid: int
    as_floor: bool
    """Judge by coverage only: everybody gets everything that others bring."""
    next_best: bool
    """A best path's source gets the next best; else such sources are not judged."""
    plain: bool
    """All members alike, for a daemon that cannot tell them apart."""
    limit_s: float | None = None
    """Ends a phase after so long, if the scenario does not do it sooner."""


class Before(NamedTuple):
    """The state of things when a phase begins."""

    usage: Usage
    totals: dict[str, int]
    client_cpu: float


def half_s(times: list[float], members: int) -> float | None:
    """When half of `members` had arrived, of whom only those in `times` ever did."""
    median = statistics.median([*times, *[math.inf] * (members - len(times))] or [math.inf])
    return None if math.isinf(median) else median


class Run:
    """One client, one daemon, one scenario."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.scenario: Scenario = SCENARIOS[order.scenario].scaled(order.scale)
        self.tables = self._tables()
        self.members = self.scenario.table.members
        self.feeders = self.scenario.table.feeders or self.members
        self.client = LoadClient(self.tables.prefixes4, self.tables.prefixes6)
        self.up_s = min(self.scenario.up_s, order.limit_s or math.inf)
        self.phase_s = min(self.scenario.timeout_s, order.limit_s or math.inf)
        self.late = list(range(self.members - self.scenario.late, self.members))
        slow_end = self.members - self.scenario.late
        slow_start = slow_end - self.scenario.slow
        self.slow = list(range(slow_start, slow_end))
        self.stalled = list(range(slow_start - self.scenario.stalled, slow_start))
        self.present = list(range(slow_end))
        self.away: list[int] = []
        self.idle: set[int] = set()
        mixed = self.scenario.mixed and not order.plain
        # Whose route it is can only be said of a daemon that gives everybody the best one due.
        self.sampled = range(0)
        if not order.as_floor and (order.next_best or not self._hidden()):
            step = max(1, self.members // self.scenario.sampled)
            self.sampled = range(0, self.members, step)
        for m in range(self.members):
            as4 = not (mixed and m % 10 == 1)
            options = IPV4 | (IPV6 if self.scenario.table.ipv6 else 0) | (AS4 if as4 else 0)
            if mixed and m % 10 == 0:
                options |= ADDPATH
            if mixed and m % 10 == 2:
                options |= EXTENDED
            source = member_address(m)
            asn = RS_ASN if self.scenario.reflector else member_asn(m)
            table = self.tables.updates(m, as4=as4)
            host = int(IPv4Address(order.host))
            self.client.add_member(host, order.port, source, asn, member_address(m), options, table)
            self._expect(m)
            self.client.watch(m, self._watched(m))

    def _tables(self) -> Tables | RealTables:
        if self.scenario.real:
            return RealTables(self.scenario.table, peers=self.scenario.real)
        return generate(self.scenario.table)

    def _hidden(self) -> bool:
        """Whether someone is due a path that is not the best one."""
        table = self.scenario.table
        return table.overlap > 0 or table.tagged > 0

    def _expect(self, member: int) -> None:
        away = frozenset(self.away)
        if self.order.as_floor:
            due = self.tables.covered(member)
        else:
            due = self.tables.due(member, without=away)
        if not any(due):
            self.idle.add(member)
        self.client.set_due(member, due, self.tables.own(member))
        if member in self.sampled:
            hops = self.tables.next_hops(member, without=away)
            self.client.set_due_next_hops(member, hops)

    def _watched(self, member: int) -> bool:
        if member in self.late or member in self.slow or member in self.stalled:
            return False
        # With one table from several feeders, these get the next best, or nothing.
        return self.order.next_best or not (self.scenario.table.same and member < self.feeders)

    def run(self) -> dict[str, Any]:
        out: dict[str, Any] = {"prefixes": len(self.tables), "members": self.members}
        out["idle_rss"] = usage(self.order.pid).rss
        out["up"] = self._connect(self.present)
        out["phases"] = []
        if out["up"]["complete"]:
            for m in self.slow:
                self.client.set_rate(m, SLOW_RATE)
            for m in self.stalled:
                self.client.set_rate(m, 0)
            for phase in self.scenario.phases:
                result = self._phase(phase)
                out["phases"].append(result)
                if not result["complete"]:
                    break
        out["peak_rss"] = usage(self.order.pid).peak
        return out

    def _connect(self, members: list[int]) -> dict[str, Any]:
        before = usage(self.order.pid)
        watched = {m: self._watched(m) for m in range(self.members)}
        for m in range(self.members):
            self.client.watch(m, m in members)
        self.client.connect(members)
        complete = self.client.run(UP, self.up_s)
        seen = [self.client.member(m) for m in members]
        for m, value in watched.items():
            self.client.watch(m, value)
        times = sorted((s["t_up"] - s["t_connect"]) / 1e9 for s in seen if s["state"] == "up")
        return {
            "name": "up",
            "complete": complete,
            "beyond_s": None if complete else self.up_s,
            "sessions": len(times),
            "last_s": times[-1] if times else None,
            "median_s": statistics.median(times) if times else None,
            "cpu_s": usage(self.order.pid).cpu - before.cpu,
            "states": sorted({s["state"] for s in seen}),
            "resets": sum(s["resets"] for s in seen),
            "errors": sorted({s["error"] for s in seen if s["error"]}),
        }

    def _phase(self, phase: Phase) -> dict[str, Any]:
        before = Before(usage(self.order.pid), self._totals(), time.process_time())
        start = self.client.mark()
        goal, judged = CONVERGED, self.present
        if isinstance(phase, Load):
            # Several feeders of one table come to one path a prefix: the floor copies just that.
            feeders = 1 if self.order.as_floor and self.scenario.table.same else self.feeders
            self.client.start([m for m in self.present if m < feeders])
        elif isinstance(phase, Join):
            judged, self.late = self.late[: phase.count], self.late[phase.count :]
            self.present = self.present + judged
            for m in judged:
                self.client.watch(m, True)
            self.client.connect(judged)
        elif isinstance(phase, Drop):
            self.away, self.present = self.present[: phase.count], self.present[phase.count :]
            judged, start = self.present, self._drop()
        elif isinstance(phase, Return):
            start = self._return()
            judged = self.present
        elif isinstance(phase, CatchUp):
            judged, self.slow, self.stalled = self.slow + self.stalled, [], []
            for m in judged:
                self.client.watch(m, True)
                self.client.set_rate(m, -1)
        else:
            goal = CHURN
            self._churn(phase)
        end = self._until(goal)
        ended = self.client.now()
        # The last word: what comes after the goal counts too.
        self.client.run(QUIET, 5.0, SETTLE_S)
        out = {"name": phase.name, "complete": end == "goal"}
        out |= self._report(judged, start, before)
        # Whoever was exact while we looked at what else came was so too late, but at a known time.
        out["beyond_s"] = self.phase_s if end == "late" and out["last_s"] is None else None
        if self.order.as_floor and isinstance(phase, Drop):
            out["last_s"] = out["median_s"] = None  # it withdraws nothing
        if goal == CHURN:
            self.client.churn_end()
            out |= self.client.churn_result() | {"last_s": (ended - start) / 1e9, "median_s": None}
        return out

    def _until(self, goal: int) -> str:
        """Run to the goal, or until the time is over or nothing comes any more: which of them."""
        deadline = time.monotonic() + self.phase_s
        heard, cpu = self.client.now(), -1.0
        while time.monotonic() < deadline:
            if self.client.run(goal, 1.0):
                return "goal"
            heard = max(self.client.last_update, heard)
            silence = (self.client.now() - heard) / 1e9
            if silence < GIVE_UP_S / 5:
                cpu = -1.0
            elif cpu < 0:
                # Looked at only in silence: it takes time that the client needs.
                cpu, since = usage(self.order.pid).cpu, self.client.now()
            elif silence > GIVE_UP_S:
                idle = (usage(self.order.pid).cpu - cpu) * 1e9 < IDLE_SHARE * (
                    self.client.now() - since
                )
                if idle:
                    return "silent"
                heard = self.client.now()
        return "late"

    def _drop(self) -> int:
        for m in self.away:
            self.client.watch(m, False)
        for m in self.present:
            self._expect(m)
        start = self.client.mark()
        self.client.drop(self.away)
        return start

    def _return(self) -> int:
        back, self.away = self.away, []
        for m in back + self.present:
            self._expect(m)
        start = self.client.mark()
        for m in back:
            self.client.watch(m, True)
        self.client.connect(back)
        self.client.start(back)
        self.present = sorted(back + self.present)
        return start

    def _churn(self, phase: Churn) -> int:
        total = int(phase.rate * phase.seconds)
        feeders = [m for m in self.present if m < self.feeders]
        if isinstance(self.tables, RealTables):
            raise TypeError("churn needs synthetic tables")
        each = -(-total // len(feeders))
        per = [[(m, at, data) for at, data in self.tables.changes(m, each)] for m in feeders]
        changes = [c for turn in zip(*per, strict=False) for c in turn][:total]
        wanted = len(changes) * (len(self.present) - 1)
        self.client.churn(changes, phase.rate, wanted)
        return wanted

    def _totals(self) -> dict[str, int]:
        seen = [self.client.member(m) for m in range(self.members)]
        names = ("rx_bytes", "tx_bytes", "updates", "announced", "withdrawn")
        return {n: sum(s[n] for s in seen) for n in names}

    def _report(self, judged: list[int], start: int, before: Before) -> dict[str, Any]:
        after = usage(self.order.pid)
        members = [m for m in judged if self._watched(m)]
        seen = [self.client.member(m) for m in members]
        # Who is due nothing is exact from the start, and says nothing about speed.
        times = sorted(
            (s["t_exact"] - start) / 1e9
            for m, s in zip(members, seen, strict=True)
            if s["exact"] and m not in self.idle
        )
        exact = sum(s["exact"] for s in seen)
        faults = ("missing", "surplus", "wrong_next_hop", "unknown", "malformed", "echoed")
        return {
            "judged": len(members),
            "exact": exact,
            "lost": sum(s["state"] != "up" for s in seen),
            "errors": sorted({s["error"] for s in seen if s["error"]}),
            "first_s": times[0] if times else None,
            "median_s": half_s(times, sum(m not in self.idle for m in members)),
            "last_s": times[-1] if times and exact == len(members) else None,
            "cpu_s": after.cpu - before.usage.cpu,
            "waited_s": after.waited - before.usage.waited,
            "client_cpu_s": time.process_time() - before.client_cpu,
            "rss": after.rss,
            "peak_rss": after.peak,
            **{name: sum(s[name] for s in seen) for name in faults},
            **{name: value - before.totals[name] for name, value in self._totals().items()},
        }


def main() -> None:
    order = Order(**json.load(sys.stdin))
    json.dump(Run(order).run(), sys.stdout)


if __name__ == "__main__":
    main()
