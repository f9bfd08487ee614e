"""`python -m bench.wire`: run scenarios against daemons in turn, print a table, keep JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.tables import generate
from bench.wire.bed import DAEMON, Bed
from bench.wire.daemons import PORT, Daemon, Site, known
from bench.wire.filters import Filters
from bench.wire.process import MemoryGroup, end, listens
from bench.wire.scenarios import SCENARIOS, Scenario
from bench.wire.worker import Order

ROOT = Path(__file__).resolve().parent.parent.parent


def site_of(scenario: Scenario, *, filters: str = "") -> Site:
    """The exchange of a scenario, which is scaled already where filters are asked for."""
    members = scenario.table.members
    mixed = scenario.mixed
    return Site(
        members=members,
        reflector=scenario.reflector,
        ipv6=scenario.table.ipv6 > 0,
        next_best=scenario.next_best,
        tags=scenario.table.tagged > 0,
        addpath=frozenset(range(0, members, 10)) if mixed else frozenset(),
        extended=frozenset(range(2, members, 10)) if mixed else frozenset(),
        filters=Filters(generate(scenario.table), filters == "all") if filters else None,
    )


def run_once(
    daemon: Daemon,
    scenario: Scenario,
    scale: float,
    *,
    filters: str = "",
    limit_s: float | None = None,
) -> dict[str, Any]:
    """One run: bed, daemon, client; everything is gone afterwards."""
    site = site_of(scenario.scaled(scale), filters=filters)
    with tempfile.TemporaryDirectory(prefix="rsbench-") as name, Bed(site.members) as bed:
        folder = Path(name)
        folder.chmod(0o755)
        command = daemon.command(site, folder)
        inside = ["ip", "netns", "exec", bed.daemon_ns, "taskset", "-c", "0"]
        env = os.environ | daemon.env
        memory = MemoryGroup(f"rsbench-{os.getpid()}")
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                inside + command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT
            )
        memory.add(process.pid)
        result: dict[str, Any] = {}
        try:
            begun = time.monotonic()
            while not listens(process.pid, PORT):
                if process.poll() is not None or time.monotonic() - begun > daemon.ready_s:
                    said = (folder / "output").read_text(errors="replace").strip()
                    raise RuntimeError(f"does not listen: {said.splitlines()[-1:]}")
                time.sleep(0.02)
            ready = time.monotonic() - begun
            time.sleep(0.5)
            order = Order(
                scenario=scenario.id,
                scale=scale,
                host=DAEMON,
                port=PORT,
                pid=process.pid,
                as_floor=daemon.judge_as_floor,
                next_best=daemon.can_next_best and scenario.next_best,
                plain=not daemon.can_addpath,
                limit_s=limit_s,
            )
            worker = subprocess.run(
                [
                    "ip",
                    "netns",
                    "exec",
                    bed.client_ns,
                    "taskset",
                    "-c",
                    "1",
                    sys.executable,
                    "-m",
                    "bench.wire.worker",
                ],
                input=json.dumps(asdict(order)),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if worker.returncode:
                raise RuntimeError(f"the client ended with {worker.returncode}")
            result |= json.loads(worker.stdout)
            result["ready_s"] = ready
            result["cgroup_peak"] = memory.peak
            result["daemon_alive"] = process.poll() is None
            if not all(p["complete"] for p in result["phases"]):
                result["said"] = (folder / "output").read_text(errors="replace")
            return result
        finally:
            end(process, daemon.stop_signal_s)
            memory.remove()
            # What rs says of itself when it ends: how long it ever held its loop.
            slices = re.findall(
                r"longest slice ([0-9.]+) ms", (folder / "output").read_text(errors="replace")
            )
            if slices:
                result["longest_slice_ms"] = float(slices[-1])


def spread(values: list[float | None], digits: int = 2) -> str:
    """Median and range, or a dash when a run has no figure."""
    if not values or any(v is None for v in values):
        return "-"
    known_values = [v for v in values if v is not None]
    text = f"{statistics.median(known_values):.{digits}f}"
    if len(known_values) > 1:
        text += f" ({min(known_values):.{digits}f}-{max(known_values):.{digits}f})"
    return text


def beyond(phases: list[dict[str, Any]]) -> str:
    """`> 150` where every run was ended after 150 s, else nothing."""
    limits = [p["beyond_s"] for p in phases]
    return f"> {min(limits):g}" if all(limits) else ""


def verdict(phases: list[dict[str, Any]]) -> str:
    """Whether members held what they were due, or what was wrong, over all runs."""
    words = []
    for p in phases:
        if p["beyond_s"]:
            words.append(f"{p['exact']} of {p['judged']} exact in {p['beyond_s']:g} s")
            continue
        if p["exact"] == p["judged"] and not p["lost"]:
            words.append("exact" + (f", echoes {p['echoed']}" if p["echoed"] else ""))
        else:
            faults = {k: p[k] for k in ("lost", "missing", "surplus", "wrong_next_hop", "unknown")}
            words.append(
                " ".join(f"{k} {v}" for k, v in faults.items() if v) + str(p["errors"] or "")
            )
    return "; ".join(sorted(set(words)))


def show(
    console: Console,
    scenario: Scenario,
    results: dict[str, list[dict[str, Any]]],
    versions: dict[str, str],
) -> None:
    """Print one scenario: a row per daemon and phase."""
    table = Table(title=f"{scenario.id}: {scenario.title}", title_justify="left")
    for column in (
        "daemon",
        "version",
        "phase",
        "last s",
        "median s",
        "x floor",
        "up s",
        "CPU s",
        "waited s",
    ):
        table.add_column(column, justify="left" if column in ("daemon", "phase") else "right")
    for column in ("RSS MB", "peak MB", "client CPU s", "UPDATEs", "MB sent", "p50/p99/max ms"):
        table.add_column(column, justify="right")
    for column in ("cgroup MB", "slice ms"):
        table.add_column(column, justify="right")
    table.add_column("held")
    floor = results.get("floor", [])
    for name, runs in results.items():
        good = [r for r in runs if "phases" in r]
        for at, phase in enumerate(scenario.phases):
            rows = [r["phases"][at] for r in good if len(r["phases"]) > at]
            if not rows:
                why = sorted({str(r.get("error") or r["up"])[:300] for r in runs})
                cells = [name, versions[name], phase.name, *["-"] * 14, "; ".join(why)]
                table.add_row(*cells)
                continue
            base = [f["phases"][at]["last_s"] for f in floor if len(f.get("phases", ())) > at]
            lasts = [p["last_s"] for p in rows]
            ratio = "-"
            if base and all(lasts) and all(base):
                ratio = f"{statistics.median(lasts) / statistics.median(base):.2f}"
            latency = "-"
            if "p50_ns" in rows[0] and all(p["complete"] for p in rows):
                mid = [
                    statistics.median([p[k] for p in rows]) / 1e6
                    for k in ("p50_ns", "p99_ns", "max_ns")
                ]
                latency = "/".join(f"{v:.2f}" for v in mid)
            table.add_row(
                name if at == 0 else "",
                versions[name] if at == 0 else "",
                phase.name,
                beyond(rows) or spread(lasts),
                spread([p["median_s"] for p in rows]),
                ratio,
                spread([r["up"]["last_s"] for r in good]) if at == 0 else "",
                spread([p["cpu_s"] for p in rows]),
                spread([p["waited_s"] for p in rows]),
                spread([p["rss"] / 1e6 for p in rows], 0),
                spread([p["peak_rss"] / 1e6 for p in rows], 0),
                spread([p["client_cpu_s"] for p in rows]),
                f"{statistics.median([p['updates'] for p in rows]):,.0f}",
                f"{statistics.median([p['rx_bytes'] for p in rows]) / 1e6:,.0f}",
                latency,
                spread([(r.get("cgroup_peak") or 0) / 1e6 for r in good], 0) if at == 0 else "",
                spread([r.get("longest_slice_ms") for r in good], 1) if at == 0 else "",
                verdict(rows),
            )
    console.print(table)


@click.command()
@click.option("--scenario", "ids", default="W1,W2,W12", show_default=True, help="Ids, or `all`.")
@click.option("--daemon", "names", default="floor,rs,bird,frr", show_default=True)
@click.option("--path", "paths", multiple=True, help="name=FILE: another build of a daemon.")
@click.option("--runs", default=1, show_default=True, help="Runs of each daemon, in turn.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies prefixes.")
@click.option(
    "--timeout",
    "limit_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End a phase, and waiting for sessions, that needs longer: its figure is then '> S'.",
)
@click.option(
    "--filters",
    is_flag=True,
    help="Beside rs also rs+rules, with all import rules on, and rs+all, with communities too.",
)
@click.option("--skip-missing", is_flag=True, help="Leave out daemons that are not installed.")
@click.option("--json", "keep", type=click.Path(path_type=Path), help="Keep all figures here.")
def main(
    ids: str,
    names: str,
    *,
    paths: tuple[str, ...],
    runs: int,
    scale: float,
    limit_s: float | None,
    filters: bool,
    skip_missing: bool,
    keep: Path | None,
) -> None:
    """Measure how daemons converge. Needs root: it makes network namespaces."""
    if os.geteuid():
        raise click.ClickException("network namespaces need root")
    daemons = known()
    wanted = names.split(",")
    for one in paths:
        name, _, file = one.partition("=")
        if name not in daemons or not file:
            raise click.ClickException(f"--path {one!r}: want DAEMON=FILE")
        daemons[name].path = file
    for name in list(wanted):
        if name not in daemons:
            raise click.ClickException(f"unknown daemon {name!r}; known: {', '.join(daemons)}")
        if daemons[name].available():
            continue
        if not skip_missing:
            raise click.ClickException(f"{name} is not installed at {daemons[name].path}")
        click.echo(f"{name} is not installed at {daemons[name].path}: left out", err=True)
        wanted.remove(name)
    chosen = list(SCENARIOS) if ids == "all" else ids.split(",")
    for one in chosen:
        if one not in SCENARIOS:
            raise click.ClickException(f"unknown scenario {one!r}; known: {', '.join(SCENARIOS)}")
    filtered: dict[str, str] = {}
    for name in [name for name in wanted if filters and daemons[name].can_filter]:
        for kind in ("all", "rules"):
            filtered[f"{name}+{kind}"] = kind
            daemons[f"{name}+{kind}"] = daemons[name]
            wanted.insert(wanted.index(name) + 1, f"{name}+{kind}")
    if filtered and any(SCENARIOS[one].real for one in chosen):
        raise click.ClickException("--filters is for synthetic tables: not for W4 and W5")
    console = Console(width=None if sys.stdout.isatty() else 230)
    versions = {name: daemons[name].version() for name in wanted}
    kept: dict[str, Any] = {
        "machine": {"kernel": platform.release(), "cpus": os.cpu_count(), "cpu": cpu_model()},
        "versions": versions,
        "scale": scale,
        "timeout": limit_s,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "results": {},
    }
    for one in chosen:
        scenario = SCENARIOS[one]
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
        for _ in range(runs):
            for name in wanted:
                try:
                    run = run_once(
                        daemons[name],
                        scenario,
                        scale,
                        filters=filtered.get(name, ""),
                        limit_s=limit_s,
                    )
                    results[name].append(run)
                except RuntimeError as error:
                    results[name].append({"error": str(error)})
                    console.print(f"{one} {name}: {error}", style="red")
        kept["results"][one] = results
        show(console, scenario, results, versions)
        if keep:
            keep.write_text(json.dumps(kept, indent=1) + "\n")


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
