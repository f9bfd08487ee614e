"""How far next hops are: from which source, for whom, and what is ranked again when that changes.

In: the configuration's [next_hops], [[igp]] and [[orr]], routes of the kernel. Out: metrics, asked
for by the attribute table when it meets a next hop for the first time; and, when something has
changed, prefixes to be ranked or evaluated again. What is changed is found in two steps, in slices:
every next hop is asked for anew (2 microseconds each), then the prefixes are walked for paths with
one that has moved (35 ms for 1,000,000 prefixes). Changes that come meanwhile wait for the
next round, so that however many there are, rounds do not pile up.

RFC 4271 9.1.2.1 (resolvability), 9.1.2.2 e (metric), RFC 9107 (optimal route reflection).
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import attrs

from rs._fastpath.orr import Vantage
from rs._fastpath.walks import mark_hops
from rs.configvalues import BadValue
from rs.errors import ConfigError
from rs.filestamp import file_stamp
from rs.kernelroutes import KernelRoutes
from rs.nexthopconfig import NextHopSource, parse_metrics
from rs.prefixset import NextHopMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from rs._fastpath.rib import Rib
    from rs.config import Config
    from rs.nexthopconfig import OrrGroup
    from rs.scheduler import Scheduler

HOP_STEP = 256
"""Next hops asked for between two looks at the clock."""
MARK_STEP = 4096
"""Prefixes looked at in between."""
UNREACHABLE = 0xFFFF_FFFF
"""A metric in the engine's tables: no metric."""


def read_metrics(path: Path) -> dict[str, int]:
    """Return the metrics in a file: JSON if its name says so, else TOML.

    One table of addresses or prefixes and their metrics. ValueError, with the file, for what does
    not fit or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return parse_metrics(value)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except BadValue as bad:
        words = "; ".join(
            f"{'.'.join(map(str, where))}: {what}" if where else what for where, what in bad.faults
        )
        raise ValueError(f"{path}: {words}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


@attrs.define(eq=False)
class Group:
    """A group of [[orr]] that runs."""

    config: OrrGroup
    vantage: Vantage
    table: NextHopMetrics
    from_file: Mapping[str, int]
    stat: tuple[int, ...]
    """Of the file that `from_file` is from."""
    fault: str = ""
    """Why the file cannot be used now; what it said before is."""

    def use(self, config: OrrGroup, from_file: Mapping[str, int]) -> None:
        """Take other metrics; the caller has next hops resolved again."""
        self.config, self.from_file = config, from_file
        self.table = NextHopMetrics({**config.metrics, **from_file})
        self.vantage.use_metrics(self.table.find)


def check_orr(config: Config) -> dict[str, tuple[dict[str, int], tuple[int, ...]]]:
    """Return what is in the files of [[orr]] by group, with their stats.

    ConfigError if one cannot be used.
    """
    found: dict[str, tuple[dict[str, int], tuple[int, ...]]] = {}
    problems: list[str] = []
    for group in config.orr:
        if group.file is None:
            found[group.name] = {}, ()
            continue
        stat = file_stamp(group.file)
        try:
            found[group.name] = read_metrics(group.file), stat
        except ValueError as error:
            problems.append(f"orr {group.name}: {error}")
    if problems:
        raise ConfigError(problems)
    return found


class NextHops:
    """The metrics of every next hop, for us and for each group of clients."""

    def __init__(
        self, rib: Rib, scheduler: Scheduler, config: Config, wake: Callable[[], None]
    ) -> None:
        """Use a configuration; ConfigError if a file of [[orr]] cannot be used.

        `wake` is called when there is new work for the scheduler.
        """
        self._rib = rib
        self._wake = wake
        self._scheduler = scheduler
        self.kernel: KernelRoutes | None = None
        """What rs/kernel.py keeps in step; None where the kernel is not asked."""
        self.groups: dict[str, Group] = {}
        self.changes = 0
        """Metrics that have changed so far, over next hops and groups."""
        self.rounds = 0
        """Times that all next hops have been asked for anew."""
        self.source = NextHopSource.NONE
        self.static = NextHopMetrics(None)
        self._before: Callable[[str], int | None] = self.static.find
        """What counts until the kernel's table is there: everything, or what did before."""
        self._due = False
        self._runs = False
        self._use(config)

    def _use(self, config: Config) -> None:
        found = check_orr(config)
        before: Callable[[str], int | None] = self.static.find
        if self.kernel is not None:
            before = self.kernel.find if self.kernel.ready else self._before
        self.source = config.next_hop_source
        metrics = None if config.igp is None else {r.prefix: r.metric for r in config.igp}
        self.static = NextHopMetrics(metrics)
        if self.source is not NextHopSource.KERNEL:
            self.kernel = None
        elif self.kernel is None or self.kernel.table != config.next_hops.table:
            self._before = before
            self.kernel = KernelRoutes(config.next_hops.table)
        if self.kernel is not None:
            self.kernel.default_route = config.next_hops.default_route
        asks = self.source is not NextHopSource.NONE
        self._rib.attrs.use_metrics(self.find if asks else None)
        for name in self.groups.keys() - found.keys():
            del self.groups[name]
        for orr in config.orr:
            from_file, stat = found[orr.name]
            group = self.groups.get(orr.name)
            if group is None:
                table = NextHopMetrics({**orr.metrics, **from_file})
                vantage = Vantage(self._rib.attrs, table.find)
                self.groups[orr.name] = Group(orr, vantage, table, from_file, stat)
            else:
                group.use(orr, from_file)
                group.stat, group.fault = stat, ""

    def use(self, config: Config) -> None:
        """Take over another configuration and have what it changes ranked again.

        ConfigError if a file of [[orr]] cannot be used; then nothing has changed.
        """
        self._use(config)
        self.resolve()

    def find(self, next_hop: str) -> int | None:
        """Return our metric to a next hop, None if it is unreachable.

        With the kernel's table, what [[igp]] covers goes before it.
        """
        if self.kernel is None:
            return self.static.find(next_hop)
        if self.static.match(next_hop) is not None:
            return self.static.find(next_hop)
        return self.kernel.find(next_hop) if self.kernel.ready else self._before(next_hop)

    def vantage(self, group: str | None) -> Vantage | None:
        """Return what ranks for a group of [[orr]]; None for the ranking of everybody else."""
        return None if group is None else self.groups[group].vantage

    def reread(self) -> list[str]:
        """Read files of [[orr]] that have changed; return new faults in words.

        A file that cannot be used leaves what it said before in use.
        """
        faults: list[str] = []
        for group in self.groups.values():
            if group.config.file is None or file_stamp(group.config.file) == group.stat:
                continue
            group.stat = file_stamp(group.config.file)
            try:
                group.use(group.config, read_metrics(group.config.file))
            except ValueError as error:
                group.fault = str(error)
                faults.append(f"orr {group.config.name}: {error}; what it said before stays in use")
                continue
            group.fault = ""
            self.resolve()
        return faults

    def resolve(self) -> None:
        """Have every next hop asked for anew, and what that changes ranked again, in slices."""
        self._due = True
        if not self._runs:
            self._runs = True
            self._scheduler.add(self._rounds())
            self._wake()

    @property
    def busy(self) -> bool:
        """Whether a round is under way."""
        return self._runs

    def _rounds(self) -> Iterator[bool]:
        while self._due:
            self._due = False
            self.rounds += 1
            ours, theirs = bytearray(), bytearray()
            yield from self._moved(self._rib.attrs.resolve_step, ours)
            for group in list(self.groups.values()):
                yield from self._moved(group.vantage.resolve_step, theirs)
            if ours:
                yield from self._mark(bytes(ours), rank=True)
            if theirs:
                yield from self._mark(bytes(theirs), rank=False)
        self._runs = False

    def _moved(
        self, step: Callable[[int, int], tuple[int, list[int]]], into: bytearray
    ) -> Iterator[bool]:
        """Ask for all next hops; note the handles of those that have another metric now."""
        at = 1
        while at:
            at, handles = step(at, HOP_STEP)
            self.changes += len(handles)
            for handle in handles:
                if handle >= len(into):
                    into.extend(bytes(handle + 1 - len(into)))
                into[handle] = 1
            yield True

    def _mark(self, hops: bytes, *, rank: bool) -> Iterator[bool]:
        for table in self._rib.tables:
            at = 1
            while at:
                at = mark_hops(table, hops, at, MARK_STEP, rank)
                yield True
