"""What `rs demo` shows: figures gathered once a tick, and two ways to write them.

In: the daemon's answers (rs/show_types.py), the members' reports (rs/demo_children.py) and the
times of the daemon's process. Out: a screen for `rich`, or one line of text. No sockets and no
clock here: whoever gathers gives both.
"""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rs.demo_table import RS_ASN, Member

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rs.show_types import Neighbor, Route, Status

HISTORY = 60
"""Ticks that a sparkline shows."""
BARS = " ▁▂▃▄▅▆▇█"


@dataclass
class Report:
    """The members' last report."""

    phase: str = "starting"
    prefixes: int = 0
    offered: int = 0
    due: int = 0
    load_s: float | None = None
    changes: int = 0
    latency: dict[str, int] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def take(self, record: dict[str, Any]) -> None:
        """Take over what a report says."""
        for name, value in record.items():
            if hasattr(self, name):
                setattr(self, name, value)

    @property
    def up(self) -> int:
        """Members whose session is up."""
        return sum(m["state"] == "up" for m in self.members)

    @property
    def exact(self) -> int:
        """Members that hold exactly what they are due."""
        return sum(m["exact"] for m in self.members)

    @property
    def held(self) -> int:
        """Prefixes that members hold and are due, all together."""
        return self.due - sum(m["missing"] for m in self.members) if self.members else 0

    @property
    def delivered(self) -> int:
        """Announcements and withdrawals that members have received."""
        return sum(m["announced"] + m["withdrawn"] for m in self.members)


@dataclass
class Figures:
    """Everything that is shown, as of one moment."""

    api: str = ""
    elapsed: float = 0.0
    report: Report = field(default_factory=Report)
    status: Status | None = None
    neighbors: list[Neighbor] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    cpu_s: float = 0.0
    """CPU seconds of the daemon's process."""
    cpu_share: float = 0.0
    """Of one core, since the tick before."""
    rss: int = 0
    peak_rss: int = 0
    rate_in: float = 0.0
    rate_out: float = 0.0
    """Prefixes a second into the daemon and out of it, withdrawn ones included."""
    history_in: list[float] = field(default_factory=list)
    history_out: list[float] = field(default_factory=list)
    _last: tuple[float, int, int, float] = (0.0, 0, 0, 0.0)

    def tick(self, now: float, elapsed: float) -> None:
        """Work out rates at time `now` from what has been put in since the last call."""
        taken = sum(n["updates"]["announced"] + n["updates"]["withdrawn"] for n in self.neighbors)
        given = self.report.delivered
        then, last_in, last_out, last_cpu = self._last
        passed = now - then
        if then and passed > 0:
            self.rate_in = max(0, taken - last_in) / passed
            self.rate_out = max(0, given - last_out) / passed
            self.cpu_share = max(0.0, self.cpu_s - last_cpu) / passed
            for history, rate in (
                (self.history_in, self.rate_in),
                (self.history_out, self.rate_out),
            ):
                history.append(rate)
                del history[:-HISTORY]
        self._last = (now, taken, given, self.cpu_s)
        self.elapsed = elapsed
        self.peak_rss = max(self.peak_rss, self.rss)

    @property
    def command(self) -> str:
        """The beginning of a command that asks this daemon."""
        return f"{_program()} show --api {self.api}"


def _program() -> str:
    """Return how `rs` is called: `make run` puts it into a virtual environment, not into PATH."""
    beside, here = Path(sys.executable).parent / "rs", Path.cwd()
    if shutil.which("rs") is None and beside.exists() and beside.is_relative_to(here):
        return str(beside.relative_to(here))
    return "rs"


# --- in words -----------------------------------------------------------------------------------


def rate(value: float) -> str:
    """Return a number per second, three digits long."""
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{value:.0f}{unit}" if unit == "" or value >= 99.5 else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}G"


def megabytes(octets: int) -> str:
    """Return octets in megabytes."""
    return f"{octets / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Return a duration in milliseconds if it is short, else in seconds."""
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def milliseconds(ns: int) -> str:
    """Return nanoseconds in milliseconds."""
    return f"{ns / 1e6:.2f} ms"


def sparkline(history: list[float]) -> str:
    """Return a line of bars, on a logarithmic scale: the load is thousands of times the churn."""
    top = math.log1p(max(history, default=0.0))
    if top <= 0:
        return " " * len(history)
    return "".join(BARS[math.ceil(8 * math.log1p(value) / top - 1e-9)] for value in history)


def line(figures: Figures) -> str:
    """Return everything that matters in one line, for where there is no terminal."""
    report = figures.report
    parts = [
        f"{figures.elapsed:6.1f} s",
        f"{report.phase:<10}",
        f"up {report.up}/{len(report.members)}",
        f"in {rate(figures.rate_in)}/s",
        f"out {rate(figures.rate_out)}/s",
        f"held {report.held:,}/{report.due:,}",
    ]
    if report.load_s is not None:
        parts.append(f"loaded in {duration(report.load_s)}")
    if report.latency.get("receipts"):
        parts.append(f"change p99 {milliseconds(report.latency['p99_ns'])}")
    parts += [f"rss {megabytes(figures.rss)}", f"cpu {figures.cpu_share:.0%}"]
    if figures.status is not None:
        parts.append(f"longest slice {figures.status['longest_slice_ms']:.1f} ms")
    return "  ".join(parts)


def summary(figures: Figures) -> list[str]:
    """Return what the demo has shown, in a few lines for its end."""
    report, status = figures.report, figures.status
    out = [f"{figures.elapsed:.0f} s, {report.up} of {len(report.members)} sessions up at the end"]
    if report.load_s is not None:
        out.append(
            f"initial load: {report.offered:,} routes in, {report.due:,} out, until every member "
            f"had exactly what it was due: {duration(report.load_s)}"
        )
    if report.changes:
        out.append(
            f"churn: {report.changes:,} changes; from a member's change to the others, "
            f"median {milliseconds(report.latency.get('p50_ns', 0))}, "
            f"99 % {milliseconds(report.latency.get('p99_ns', 0))}"
        )
    if report.load_s is not None and report.phase == "done":
        out.append(f"at the end {report.exact} of {len(report.members)} held exactly what is due")
    if status is not None:
        out.append(
            f"daemon: {figures.cpu_s:.1f} s of CPU, {megabytes(figures.peak_rss)} at most, "
            f"longest slice {status['longest_slice_ms']:.1f} ms"
        )
    return out


# --- the screen ---------------------------------------------------------------------------------


def screen(figures: Figures, height: int, width: int) -> RenderableType:
    """Return the screen, at most `height` lines of it."""
    routes = figures.routes[: 3 if height >= 30 else 1]
    # Header 1, figures 10, hints 2, and the members' header 1.
    room = height - 14 - (len(routes) + 2 if routes else 0)
    panels = Table.grid(expand=True)
    panels.add_column(ratio=1)
    panels.add_column(ratio=1)
    panels.add_row(_daemon(figures), _traffic(figures, max(8, min(24, width // 2 - 28))))
    parts: list[RenderableType] = [_header(figures), panels]
    if figures.report.members and room >= 2:
        parts.append(_members(figures, room, width))
    if routes:
        parts.append(_examples(routes))
    parts.append(_hints(figures))
    return Group(*parts)


def _header(figures: Figures) -> RenderableType:
    report = figures.report
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" rs demo ", "bold reverse")
    text.append(f"  AS{RS_ASN}, {len(report.members) or '-'} members, ")
    text.append(f"{report.prefixes:,} prefixes in {report.offered:,} routes   ")
    text.append(
        report.phase, "bold green" if report.phase in {"churn", "watching"} else "bold yellow"
    )
    text.append(f"   {figures.elapsed:.0f} s")
    return text


def _grid(rows: list[tuple[str, RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    for name, value in rows:
        grid.add_row(name, value)
    return grid


def _daemon(figures: Figures) -> RenderableType:
    status = figures.status
    rows: list[tuple[str, RenderableType]] = []
    if status is None:
        rows.append(("", "starting"))
    else:
        there = status["neighbors"]
        slow = sum(
            s["slices"] for s in status["slices"] if s["up_to_ms"] is None or s["up_to_ms"] > 10
        )
        rows = [
            ("sessions", f"{there['established']} of {there['total']}, {status['groups']} groups"),
            ("prefixes", f"{status['prefixes']:,}"),
            ("paths", f"{status['paths']:,}"),
            ("attribute sets", f"{status['attribute_sets']:,}"),
            ("memory", megabytes(figures.rss)),
            ("CPU", f"{figures.cpu_share:.0%}, {figures.cpu_s:.1f} s in all"),
            ("longest slice", f"{status['longest_slice_ms']:.1f} ms"),
            ("over 10 ms", f"{slow} slices"),
        ]
    return Panel(_grid(rows), title="daemon", title_align="left", height=10)


def _traffic(figures: Figures, bars: int) -> RenderableType:
    report = figures.report
    latency = report.latency
    load: RenderableType = "-"
    if report.load_s is not None:
        load = Text(duration(report.load_s), "bold green")
    elif report.due:
        load = ProgressBar(report.due, report.held, width=20)
    exact = f"{report.exact} of {len(report.members)} members"
    if report.load_s is not None and report.phase != "done":
        exact = f"all {len(report.members)}; then churn"
    change = "-"
    if latency.get("receipts"):
        change = f"{milliseconds(latency['p50_ns'])}, 99% {milliseconds(latency['p99_ns'])}"
    rows: list[tuple[str, RenderableType]] = [
        ("in", f"{rate(figures.rate_in):>6}/s {sparkline(figures.history_in[-bars:])}"),
        ("out", f"{rate(figures.rate_out):>6}/s {sparkline(figures.history_out[-bars:])}"),
        ("due", f"{report.due:,}"),
        ("held", f"{report.held:,}"),
        ("initial load", load),
        ("exact", exact),
        ("changes", f"{report.changes:,}"),
        ("until others", change),
    ]
    return Panel(_grid(rows), title="prefixes", title_align="left", height=10)


def _members(figures: Figures, room: int, width: int) -> RenderableType:
    wide = width >= 110
    counts = ("received", "rejected", "advertised") if wide else ("received", "advertised")
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    for name in ("member", "AS", "address", "session") if wide else ("member", "AS", "session"):
        table.add_column(name, no_wrap=True)
    for name in (*counts, "holds"):
        table.add_column(name, justify="right", no_wrap=True)
    by_address = {n["address"]: n for n in figures.neighbors}
    total = len(figures.report.members)
    shown = total if total <= room else room - 1
    for m in range(shown):
        member, seen = Member(m), figures.report.members[m]
        known = by_address.get(member.address)
        sums = [""] * len(counts)
        if known is not None:
            families = list(known["families"].values())
            sums = [
                f"{sum(f[key] for f in families):,}"  # type: ignore[literal-required]
                for key in counts
            ]
        state = known["state"] if known is not None else seen["error"]
        color = "green" if state == "Established" else "red"
        if seen["exact"]:
            mark = Text("exact", "green")
        elif figures.report.load_s is None:
            mark = Text(f"{seen['missing']:,} to come")
        else:
            mark = Text(f"{seen['missing']:,} flapping", "dim")
        place = [str(member.asn), member.address] if wide else [str(member.asn)]
        table.add_row(member.name, *place, Text(state, color), *sums, mark)
    if shown < total:
        table.add_row(Text(f"and {total - shown} more", "dim"))
    return table


def _examples(routes: list[Route]) -> RenderableType:
    rows: list[RenderableType] = []
    for route in routes:
        paths = route["paths"]
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{route['prefix']:<20}", "bold")
        if not paths:
            text.append(" no path")
        else:
            best = paths[0]
            text.append(f" via {best['description']} AS{best['asn']}")
            text.append(f", {best['why']}" if best["why"] else "", "cyan")
            text.append(f"; {len(paths)} paths, to {best['advertised_to']} members")
            others = [p for p in paths[1:] if p["advertised_to"]]
            if others:
                text.append(f", and to {others[0]['advertised_to']} by {others[0]['description']}")
        rows.append(text)
    return Panel(Group(*rows), title="best paths", title_align="left")


def _hints(figures: Figures) -> RenderableType:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("In another terminal:  ", "dim")
    text.append(f"{figures.command} neighbors", "bold")
    if figures.report.examples:
        text.append("   or   ")
        text.append(f"... route {figures.report.examples[0]}", "bold")
    text.append("\nCtrl-C ends it.", "dim")
    return text
