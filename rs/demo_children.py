"""The two processes that `rs demo` starts: the daemon, and the members that bring it routes.

`python -m rs.demo_children daemon CONFIG` is `rs run CONFIG`; `... members` is told in one line of
JSON on its standard input what to simulate, and reports as JSON lines on its standard output.
Both end when their standard input is closed, so that none outlives the demo however that ends.
The daemon has its process to itself, so its memory, CPU time and loop times are those that
`rs run` would have.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from rs._fastpath.load import AS4, CHURN, CONVERGED, EXTENDED, IPV4, IPV6, UP, LoadClient
from rs.demo_table import DemoTable, Member, generate

SLICE = 0.2
"""Seconds between two reports."""
BATCH = 2.0
"""Seconds of churn prepared at a time."""
WITHDRAWN = 0.4
"""Share of the changes that withdraw a route; the others make its AS path longer."""
SETTLE = 0.6
"""Seconds that members get at the end to take everything back to where it was."""


class Members:
    """Simulated members: connect, bring their routes, then change some of them again and again."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._rng = random.Random(order["seed"])  # noqa: S311 - a simulation
        self._stopping = threading.Event()
        self._undo: dict[int, tuple[int, int, bytes]] = {}
        """What takes back the changes made so far, by prefix: (member, prefix, UPDATE)."""
        self._latency: dict[str, int] = {}
        self._load_s: float | None = None
        self._changes = 0
        self._table: DemoTable
        self._client: LoadClient

    def stop(self) -> None:
        """Have `run` come to an end; from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Play the whole part."""
        order = self._order
        table = self._table = generate(order["members"], order["prefixes"], order["seed"])
        due, own = table.due()
        client = self._client = LoadClient(table.prefixes4, table.prefixes6)
        everybody = range(table.n_members)
        for m in everybody:
            member = Member(m)
            source = int(IPv4Address(member.address))
            client.add_member(
                int(IPv4Address(order["host"])),
                order["port"],
                source,
                member.asn,
                source,
                AS4 | EXTENDED | IPV4 | IPV6,
                table.updates(m),
            )
            client.set_due(m, due[m], own[m])
            client.watch(m, True)
        self._say(
            phase="ready",
            prefixes=len(table),
            offered=table.offered,
            due=sum(int.from_bytes(bits, "little").bit_count() for bits in due),
            examples=table.examples(8, order["seed"]),
        )
        client.connect(everybody)
        self._until(UP, "connecting")
        begin = client.mark()
        client.start(everybody)
        self._until(CONVERGED, "loading")
        if not self._stopping.is_set():
            exact_at = max(client.member(m)["t_exact"] for m in everybody)
            self._load_s = (exact_at - begin) / 1e9
        while not self._stopping.is_set():
            self._churn()
        self._settle()

    def _until(self, goal: int, phase: str) -> None:
        while not self._stopping.is_set():
            met = self._client.run(goal, SLICE)
            self._report(phase)
            if met:
                return

    def _churn(self) -> None:
        """Take back the last batch of changes and make another one."""
        client, per_second = self._client, self._order["churn"]
        if not per_second:
            client.run(CHURN, SLICE)
            self._report("watching")
            return
        batch = list(self._undo.values())
        undone = set(self._undo)
        batch += self._disturb(max(1, int(per_second * BATCH) - len(batch)))
        self._rng.shuffle(batch)
        client.churn(batch, per_second, 1 << 62)
        while client.churn_result()["sent"] < len(batch):
            if self._stopping.is_set():
                self._changes += client.churn_result()["sent"]
                return
            client.run(CHURN, SLICE)
            self._report("churn")
        client.run(CHURN, SLICE / 4)
        self._latency = client.churn_result()
        self._changes += self._latency["sent"]
        client.churn_end()
        for at in undone:
            del self._undo[at]

    def _disturb(self, count: int) -> list[tuple[int, int, bytes]]:
        """Return up to `count` changes, and remember how to take them back."""
        table, rng = self._table, self._rng
        changes = []
        for _ in range(min(count, len(table) // 2)):
            block = rng.choice(table.blocks)
            at = rng.randrange(block.first, block.first + block.size)
            if at in self._undo:
                continue
            offer = rng.choice(block.offers)
            if rng.random() < WITHDRAWN:
                changed = table.withdraw(at)
            else:
                changed = table.announce(block, offer, only=at, prepend=rng.randrange(1, 4))
            changes.append((offer.member, at, changed))
            self._undo[at] = offer.member, at, table.announce(block, offer, only=at)
        return changes

    def _settle(self) -> None:
        """Take back what is left, so that the end can be judged."""
        if self._load_s is not None:
            if self._undo:
                self._client.churn(list(self._undo.values()), 2 * len(self._undo) / SETTLE, 1 << 62)
            self._client.run(CONVERGED, SETTLE)
        self._report("done")

    def _report(self, phase: str) -> None:
        client = self._client
        underway = client.churn_result()["sent"] if phase == "churn" else 0
        seen = [client.member(m) for m in range(client.members_total)]
        keys = ("state", "error", "announced", "withdrawn", "missing", "surplus", "exact")
        self._say(
            phase=phase,
            now=client.now() / 1e9,
            load_s=self._load_s,
            changes=self._changes + underway,
            latency=self._latency,
            members=[{key: m[key] for key in keys} for m in seen],
        )

    @staticmethod
    def _say(**what: Any) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


def members() -> None:
    """Be the members."""
    simulation = Members(json.loads(sys.stdin.readline()))

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                simulation.stop()
        os._exit(0)  # whoever watched is gone; the kernel closes the sessions

    threading.Thread(target=listen, daemon=True).start()
    simulation.run()


def daemon(config: Path) -> None:
    """Be the daemon."""
    from rs import app  # noqa: PLC0415 - the members do without the event loop

    def listen() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()
    app.run(config)


if __name__ == "__main__":
    if sys.argv[1] == "daemon":
        daemon(Path(sys.argv[2]))
    else:
        members()
