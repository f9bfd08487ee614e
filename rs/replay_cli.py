"""`rs replay`: play an MRT file into BGP speakers, or show what it holds.

In: arguments. Out: progress and a summary for people, or JSON; exit code 0 when every session has
said all it had, 1 when one has not, 2 for arguments that cannot be, 130 when interrupted before.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table as RichTable

from rs.iana import BGP_PORT, Family
from rs.mrt import open_mrt
from rs.replay import Replay, Result
from rs.replay_plan import Options, PlanError, RouteFeed, Target

if TYPE_CHECKING:
    from rs.mrt import MrtFile, PeerInfo, Summary
    from rs.replay import Outcome, Player

MAX_ROWS = 40
"""Sessions and peers shown one by one; a summary counts them all."""
EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


def parse_target(text: str) -> Target:
    """Read `HOST:PORT`, `[HOST]:PORT` or a host alone, which means port 179."""
    host, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        host, port = text[1:-1], str(BGP_PORT)
    elif not colon or (":" in host and not host.startswith("[")):
        host, port = text, str(BGP_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--to")
    return Target(host, int(port))


def parse_stay(text: str) -> float:
    """Read seconds or `forever`."""
    if text == "forever":
        return math.inf
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < math.inf:
            return seconds
    raise click.BadParameter(f"{text!r} is neither seconds nor forever", param_hint="--stay")


@click.command()
@click.argument("file", type=click.Path())
@click.option("--info", is_flag=True, help="Show what the file holds; play nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result (or --info) as JSON.")
@click.option("--to", multiple=True, metavar="HOST:PORT", help="BGP speaker to play into.")
@click.option("--asn", type=click.IntRange(1, 0xFFFFFFFF), help="Our AS number in every session.")
@click.option("--as-peer", is_flag=True, help="Use each peer's recorded AS number.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="N|ADDRESS|all",
    default=("all",),
    show_default=True,
    help="Peers to play, by number or address (see --info).",
)
@click.option("--local-address", metavar="ADDR", help="Connect from this address.")
@click.option(
    "--local-prefix",
    metavar="PREFIX",
    help="Connect from an address of its own for each peer, such as 127.0.1.0/24.",
)
@click.option(
    "--router-id", metavar="ID", help="BGP identifier [default: recorded, or by address]."
)
@click.option(
    "--families",
    metavar="LIST",
    help="ipv4-unicast, ipv6-unicast or both, by comma [default: what the file has].",
)
@click.option(
    "--next-hop",
    "next_hops",
    multiple=True,
    metavar="self|keep|ADDR",
    default=("keep",),
    show_default=True,
    help="Next hop of the routes; an address for each family.",
)
@click.option("--prepend", is_flag=True, help="Put --asn in front of each AS_PATH.")
@click.option("--valid-only", is_flag=True, help="Leave out RIB entries that RFC 7606 rules out.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="R",
    help="UPDATEs per second: of each session for a RIB file, in all for a file of updates.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Play X times as fast as recorded [default: as fast as possible].",
)
@click.option("--hold-time", type=click.IntRange(0, 65535), default=90, show_default=True)
@click.option(
    "--stay",
    default="0",
    show_default=True,
    metavar="SECONDS|forever",
    help="Keep the sessions up after the last message.",
)
@click.option("--loop", is_flag=True, help="Play again and again, until interrupted.")
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Try this long to connect.",
)
@click.option("--strict", is_flag=True, help="Refuse a file that is damaged or cut off.")
@click.pass_context
def replay(ctx: click.Context, /, file: str, **given: Any) -> None:
    """Play an MRT file into a BGP speaker.

    Each recorded peer becomes a BGP session of its own. The routes of a RIB file are packed into
    UPDATEs, with End-of-RIB behind them; the UPDATEs of a file of updates are sent in its order.
    """
    with open_mrt(file, tolerant=not given["strict"]) as mrt:
        if given["info"]:
            show_info(mrt.summary(), as_json=given["as_json"])
            return
        options = read_options(given)
        try:
            result = play(mrt, options, as_json=given["as_json"])
        except PlanError as e:
            raise click.UsageError(str(e), ctx) from e
    if given["as_json"]:
        click.echo(json.dumps(result_data(result), indent=2))
    else:
        show_result(result)
    if not result.ok:
        ctx.exit(EXIT_INTERRUPTED if result.interrupted else EXIT_FAILURE)


def read_options(given: dict[str, Any]) -> Options:
    """Turn the command line into Options; UsageError where it contradicts itself."""
    if not given["to"]:
        raise click.UsageError("nowhere to play to: give --to HOST:PORT, or --info")
    if (given["asn"] is None) == (not given["as_peer"]):
        raise click.UsageError("give either --asn or --as-peer")
    if given["local_address"] and given["local_prefix"]:
        raise click.UsageError("give --local-address or --local-prefix, not both")
    if given["hold_time"] in {1, 2}:
        raise click.UsageError("--hold-time is 0 or at least 3 seconds (RFC 4271 4.2)")
    families = tuple(Family)
    if given["families"]:
        try:
            families = tuple(Family.from_label(f.strip()) for f in given["families"].split(","))
        except KeyError as e:
            known = " and ".join(f.label for f in Family)
            raise click.UsageError(f"--families: {given['families']!r}; there are {known}") from e
    return Options(
        targets=tuple(map(parse_target, given["to"])),
        asn=given["asn"],
        peers=given["peers"],
        local_address=given["local_address"],
        local_prefix=given["local_prefix"],
        router_id=given["router_id"],
        families=families,
        next_hops=given["next_hops"],
        prepend=given["prepend"],
        valid_only=given["valid_only"],
        rate=given["rate"],
        speed=given["speed"],
        hold_time=given["hold_time"],
        stay=parse_stay(given["stay"]),
        loop=given["loop"],
        wait=given["wait"],
    )


# ------------------------------------------------------------------------------------- playing


def play(file: MrtFile, options: Options, *, as_json: bool) -> Result:
    """Play a file; Ctrl-C ends all sessions with Cease."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    watcher = _Watcher(console, quiet=as_json)

    async def main() -> Result:
        replay = Replay(file, options, watcher)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, replay.interrupt)
        plans = replay.load()
        shown = asyncio.create_task(watcher.show(replay))
        try:
            return await replay.run(plans)
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError):
                await shown

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


class _Watcher:
    """Shows a replay on a terminal: what happens to sessions as lines, how far they are as bars."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._lines = 0

    def session(self, player: Player, text: str) -> None:
        """Show what happened to a session."""
        self._lines += 1
        if self._quiet or (player.error is None and self._lines > MAX_ROWS):
            return
        self._console.print(f"{player.plan.name} to {player.plan.target}: {text}")

    def warn(self, text: str) -> None:
        """Show what is wrong with the file."""
        self._console.print(f"warning: {text}")

    async def show(self, replay: Replay) -> None:
        """Draw bars until cancelled."""
        if self._quiet or not self._console.is_terminal:
            return
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[sent]}"),
            console=self._console,
            transient=True,
        )
        with progress:
            bars: dict[Player, TaskID] = {}
            while True:
                for player in replay.players[:MAX_ROWS]:
                    feed = player.feed
                    if feed is None:
                        continue
                    if player not in bars:
                        total = feed.total if isinstance(feed, RouteFeed) else None
                        if total is None:
                            total = sum(player.plan.peer.announced.values())
                        bars[player] = progress.add_task(player.plan.name, total=total, sent="")
                    sent = f"{feed.routes:,} routes, {feed.updates:,} UPDATEs"
                    progress.update(bars[player], completed=feed.routes, sent=sent)
                await asyncio.sleep(0.1)


def outcome_data(o: Outcome) -> dict[str, Any]:
    """Return one session's outcome as JSON data."""
    return {
        "peer": o.plan.peer.index,
        "address": o.plan.peer.address,
        "peer_asn": o.plan.peer.asn,
        "to": str(o.plan.target),
        "local_address": o.plan.local_address,
        "asn": o.plan.asn,
        "established": o.established,
        "complete": o.complete,
        "routes": o.routes,
        "withdrawn": o.withdrawn,
        "updates": o.updates,
        "skipped": o.skipped,
        "octets": o.octets,
        "seconds": round(o.seconds, 4),
        "updates_received": o.received,
        "error": o.error,
    }


def result_data(result: Result) -> dict[str, Any]:
    """Return a replay's result as JSON data."""
    return {
        "ok": result.ok,
        "interrupted": result.interrupted,
        "sessions": [outcome_data(o) for o in result.outcomes],
        "routes": result.routes,
        "seconds": round(result.seconds, 4),
        "routes_per_second": _per_second(result.routes, result.seconds),
        "warnings": list(result.warnings),
    }


def _per_second(n: int, seconds: float) -> int:
    return round(n / seconds) if seconds > 0 else 0


def _console() -> Console:
    """Return standard output, at least wide enough for a table where it goes to a file."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    return console


def _table(*columns: str, left: int = 1) -> RichTable:
    table = RichTable(box=None, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", no_wrap=i >= left)
    return table


def show_result(result: Result) -> None:
    """Print what became of every session, and all of them in one line."""
    console = _console()
    table = _table("peer", "to", "routes", "withdrawn", "UPDATEs", "skipped", "seconds", left=2)
    for o in result.outcomes[:MAX_ROWS]:
        table.add_row(
            o.plan.name,
            str(o.plan.target),
            f"{o.routes:,}",
            f"{o.withdrawn:,}",
            f"{o.updates:,}",
            f"{o.skipped:,}",
            f"{o.seconds:.2f}",
        )
    console.print(table)
    if len(result.outcomes) > MAX_ROWS:
        console.print(f"... and {len(result.outcomes) - MAX_ROWS} more sessions")
    for o in result.outcomes:
        if o.error:
            console.print(f"{o.plan.name} to {o.plan.target}: {o.error}")
    failed = sum(not o.complete for o in result.outcomes)
    console.print(
        f"sessions: {len(result.outcomes)} ({failed} incomplete), {result.routes:,} routes sent in"
        f" {result.seconds:.2f} s, {_per_second(result.routes, result.seconds):,} routes/s"
        + (", interrupted" if result.interrupted else "")
    )


# ---------------------------------------------------------------------------------------- --info


def _labels(counts: dict[Family, int]) -> dict[str, int]:
    return {family.label: n for family, n in counts.items()}


def _peer_data(p: PeerInfo) -> dict[str, Any]:
    return {
        "peer": p.index,
        "address": p.address,
        "asn": p.asn,
        "router_id": p.router_id,
        "local_address": p.local_address,
        "local_asn": p.local_asn,
        "entries": _labels(p.entries),
        "announced": _labels(p.announced),
        "withdrawn": _labels(p.withdrawn),
        "messages": p.messages,
        "updates": p.updates,
        "sent": p.sent,
        "state_changes": p.state_changes,
        "four_octet_as": p.as4,
        "add_path": [f.label for f in p.add_path],
    }


def summary_data(s: Summary) -> dict[str, Any]:
    """Return a file's summary as JSON data."""
    return {
        "path": s.path,
        "compression": s.compression,
        "records": s.records,
        "kinds": s.kinds,
        "skipped": s.skipped,
        "prefixes": _labels(s.prefixes),
        "routes": _labels(s.routes),
        "announced": _labels(s.announced),
        "withdrawn": _labels(s.withdrawn),
        "view": s.view,
        "collector": s.collector,
        "first_time": s.first_time,
        "last_time": s.last_time,
        "truncated": s.truncated,
        "lost_bytes": s.lost_bytes,
        "damaged": s.damaged,
        "malformed": s.malformed,
        "warnings": list(s.warnings),
        "peers": [_peer_data(p) for p in s.peers],
    }


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _counts(counts: dict[Family, int]) -> str:
    return ", ".join(f"{n:,} {family.label}" for family, n in counts.items()) or "none"


def show_info(s: Summary, *, as_json: bool) -> None:
    """Print what a file holds."""
    if as_json:
        click.echo(json.dumps(summary_data(s), indent=2))
        return
    console = _console()
    rows = [
        ("file", f"{s.path} (compression: {s.compression})"),
        ("time", f"{_clock(s.first_time)} to {_clock(s.last_time)}"),
        ("records", ", ".join(f"{n:,} {kind}" for kind, n in s.kinds.items()) or "none"),
    ]
    if s.is_rib:
        rows.append(("prefixes", _counts(s.prefixes)))
        rows.append(("routes", _counts(s.routes)))
    if s.announced or s.withdrawn:
        rows.append(("announced", _counts(s.announced)))
        rows.append(("withdrawn", _counts(s.withdrawn)))
    if s.malformed:
        rows.append(("malformed", f"{s.malformed:,} UPDATEs"))
    for name, value in rows:
        console.print(f"{name:<10} {value}")
    for text in s.warnings:
        console.print(f"warning: {text}")
    sys.stdout.flush()
    said = [p for p in s.peers if p.families or p.messages]
    table = _table(
        "peer", "AS", "address", "router id", "IPv4", "IPv6", "withdrawn", "UPDATEs", left=4
    )
    for p in said:
        numbers = [p.entries.get(f, 0) + p.announced.get(f, 0) for f in Family]
        table.add_row(
            str(p.index),
            str(p.asn),
            p.address,
            p.router_id or "",
            *(f"{n:,}" for n in numbers),
            f"{sum(p.withdrawn.values()):,}",
            f"{p.updates:,}",
        )
    console.print()
    console.print(table)
    if silent := len(s.peers) - len(said):
        console.print(f"{silent} more peers without routes or messages")
