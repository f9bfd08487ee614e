"""Work in slices: long jobs, dirty prefixes, walks, in this order, until a deadline.

In: a clock and a deadline. Out: messages in the logs; whether there is more to do. Nothing here
holds the loop longer than its budget plus one step of about a quarter of a millisecond.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rs._fastpath.export import Exporter

STEP = 1024
"""Prefixes evaluated, or encoded for joiners, between two looks at the clock."""
HOLD = 0.06
MAX_HOLD = 0.48
"""Seconds that a prefix waits for further paths while several peers bring the same ones."""


class LoopStats:
    """How long slices of work held the loop; seconds."""

    BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, float("inf"))

    def __init__(self) -> None:
        self.longest_slice = 0.0
        self.total = 0.0
        self.counts = [0] * len(self.BOUNDS)

    def note(self, seconds: float) -> None:
        """Take note of a slice."""
        self.total += seconds
        self.longest_slice = max(self.longest_slice, seconds)
        for i, bound in enumerate(self.BOUNDS):
            if seconds <= bound:
                self.counts[i] += 1
                return

    @property
    def histogram(self) -> list[tuple[float, int]]:
        """Slices by upper bound in seconds, not cumulated."""
        return list(zip(self.BOUNDS, self.counts, strict=True))


class Scheduler:
    """Whatever takes longer than a message, a slice at a time."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._jobs: deque[Iterator[bool]] = deque()
        self._added = False
        """Whether there are jobs that have not had a turn yet."""
        self._hold_ends = 0.0
        self._hold = HOLD
        self._seen = (0, 0, 0)
        self.holding = False
        """Whether prefixes wait that will be looked at without anything else happening: run again
        within a few milliseconds."""
        self.deferred = False
        """Nothing is evaluated or announced; jobs run all the same."""

    def add(self, job: Iterator[bool]) -> None:
        """Run a job beside the others: a generator that yields at least every millisecond.

        It yields True when it has done something, False when it waits for something else.
        """
        self._jobs.append(job)
        self._added = True

    @property
    def jobs(self) -> int:
        """Jobs not finished."""
        return len(self._jobs)

    @property
    def waiting(self) -> bool:
        """Whether a run that had nothing to do has left work, for members to read first.

        Then run again after a while: members who go on reading nothing are not waited for.
        """
        return not self.deferred and bool(self._exporter.dirty() or self._exporter.walking())

    def can_go_on(self, now: float) -> bool:
        """Whether a run that had nothing to do would have by now, as members have taken enough."""
        return (
            not self.deferred and bool(self._exporter.dirty()) and bool(self._exporter.ready(now))
        )

    def _regulate(self, now: float, *, loading: bool) -> None:
        """Decide whether new dirty prefixes wait a little.

        While tables are loaded that several peers have in common, the best path of a prefix moves
        with every one that brings it, and everybody would be told every time. Then a prefix is
        left alone for a while after its first path, once or twice HOLD, and longer if that turns
        out to be too short, because one of the peers lags behind. Nothing waits otherwise.
        """
        if not loading:
            self._exporter.release()
            self.holding = False
        elif now >= self._hold_ends:
            seen = self._exporter.changes()
            changes, contested, late = (n - was for n, was in zip(seen, self._seen, strict=True))
            self._seen = seen
            if late * 16 > contested:
                self._hold = min(2 * self._hold, MAX_HOLD)
            elif late * 64 < contested:
                self._hold = max(self._hold * 0.75, HOLD)
            self.holding = contested * 3 > changes
            self._hold_ends = now + self._hold
            if self.holding:
                self._exporter.hold()
            else:
                self._exporter.release()

    def run(self, deadline: float, clock: Callable[[], float], *, loading: bool = False) -> bool:
        """Work until `deadline`, or until there is nothing to do; return whether there is more.

        False also when all that is left waits for members to read: ask again when one has, or after
        a quarter of a second. See `waiting`.
        """
        exporter = self._exporter
        self._regulate(clock(), loading=loading and not self.deferred)
        while True:
            self._added = False
            idle = True
            now = clock()
            for _ in range(len(self._jobs)):
                job = self._jobs.popleft()
                try:
                    if next(job):
                        idle = False
                except StopIteration:
                    idle = False
                else:
                    self._jobs.append(job)
                if clock() >= deadline:
                    return True
            if self._added:
                idle = False  # by one of these, which may wait for it
            if self.deferred:
                if idle:
                    return False
                continue
            if exporter.ready(now) and exporter.step(STEP):
                idle = False
                if clock() >= deadline:
                    exporter.enforce()
                    return True
            if exporter.walk(STEP, now):
                idle = False
            exporter.enforce()
            if idle:
                return False
            if clock() >= deadline:
                return True
