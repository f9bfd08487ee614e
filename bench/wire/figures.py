"""Figures out of the JSON files of `python -m bench.wire`, as charts and reports want them.

In: one or several files of one machine and one scale. Out: cells: a phase of a scenario with a
daemon, all its runs from all files together. A daemon that is there in two versions is two daemons.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.wire.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FLOOR = "floor"
RS = "rs"
FAULTS = ("lost", "missing", "surplus", "wrong_next_hop", "unknown", "malformed")


class FiguresError(ValueError):
    """A file cannot be used, or not together with the others; says which and why."""


@dataclass(frozen=True)
class Spread:
    """A figure over all runs."""

    low: float
    median: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: list[float | None]) -> Spread | None:
        """Return nothing when a run has no figure: a median of the lucky runs would flatter."""
        known = [v for v in values if v is not None]
        if not known or len(known) < len(values):
            return None
        return cls(min(known), statistics.median(known), max(known), len(known))


@dataclass
class Cell:
    """What all runs of a daemon say about one phase of a scenario."""

    daemon: str
    version: str
    scenario: str
    phase: str
    at: int
    """Position of the phase in its scenario."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Why runs did not come to this phase."""

    @property
    def churn(self) -> bool:
        """Whether latency is the figure, not time."""
        return any("p50_ns" in row for row in self.rows)

    def get(self, name: str) -> Spread | None:
        """Return a figure in seconds, octets or what it was counted in; None without one."""
        if self.failed:
            return None
        if name in ("p50_s", "p99_s"):
            # Of changes that did not reach everybody, those that did say nothing.
            key = f"{name[:3]}_ns"
            return Spread.of(
                [r[key] / 1e9 if r["complete"] else None for r in self.rows if key in r]
            )
        return Spread.of([row.get(name) for row in self.rows])

    @property
    def main(self) -> Spread | None:
        """Return what the phase is about: median latency of churn, else the last member's time."""
        return self.get("p50_s" if self.churn else "last_s")

    @property
    def beyond(self) -> float | None:
        """Seconds after which every run was ended while members still waited: time is more."""
        limits = [row.get("beyond_s") for row in self.rows]
        known = [limit for limit in limits if limit is not None]
        if self.failed or self.churn or not known or len(known) < len(limits):
            return None
        return min(known)

    @property
    def exact(self) -> bool:
        """Whether in every run every member held exactly what it was due."""
        return not self.failed and all(self._exact(row) for row in self.rows)

    @staticmethod
    def _exact(row: dict[str, Any]) -> bool:
        return bool(row["exact"] == row["judged"] and not row["lost"])

    def held(self) -> str:
        """Say in words whether members held what they were due."""
        if self.failed:
            return "failed: " + "; ".join(sorted(set(self.failed)))
        if self.exact:
            return "exact"
        worst = {f: max(row.get(f, 0) for row in self.rows) for f in FAULTS}
        said = [f"{name.replace('_', ' ')} {n:,}" for name, n in worst.items() if n]
        exact = min(row["exact"] for row in self.rows)
        judged = max(row["judged"] for row in self.rows)
        ended = [row["beyond_s"] for row in self.rows if row.get("beyond_s")]
        if ended:
            # What is missing has no next hop either: there is nothing wrong about it yet.
            said = [words for words in said if not words.startswith("wrong next hop")]
            runs = (
                "" if len(ended) == len(self.rows) else f" in {len(ended)} of {len(self.rows)} runs"
            )
            said.insert(0, f"not converged in {min(ended):g} s{runs}")
        return ", ".join([*said, f"{exact} of {judged} members exact"])


@dataclass
class Figures:
    """All cells of some files, and where they were measured."""

    machine: dict[str, Any]
    scale: float
    dates: list[str]
    daemons: dict[str, tuple[str, str]]
    """Label -> (name, version): `rs`, or `bird 2.19.2` where there are several versions."""
    cells: dict[tuple[str, str], list[Cell]]
    """(scenario, label) -> a cell a phase."""

    @property
    def scenarios(self) -> list[str]:
        """Ids, in the order of the matrix; those it no longer has come last."""
        found = {scenario for scenario, _ in self.cells}
        return [s for s in SCENARIOS if s in found] + sorted(found - set(SCENARIOS))

    def labels(self, name: str) -> list[str]:
        """Return the labels of all versions of a daemon."""
        return [label for label, (other, _) in self.daemons.items() if other == name]

    def phases(self, scenario: str) -> list[str]:
        """Names of a scenario's phases, as far as any daemon came."""
        rows = [cells for (other, _), cells in self.cells.items() if other == scenario]
        return [cell.phase for cell in max(rows, key=len)]

    def cell(self, scenario: str, label: str, phase: str) -> Cell | None:
        """Return one cell, None where it was not measured."""
        cells = self.cells.get((scenario, label), ())
        return next((cell for cell in cells if cell.phase == phase), None)


def read(paths: Iterable[Path]) -> Figures:
    """Read files that belong together; FiguresError if they do not."""
    files = [(path, load(path)) for path in paths]
    if not files:
        raise FiguresError("no file given")
    first_path, first = files[0]
    for path, data in files[1:]:
        for key in ("machine", "scale"):
            if data[key] != first[key]:
                raise FiguresError(
                    f"{path}: {key} is {data[key]}, but {first[key]} in {first_path}; figures of"
                    " both cannot be compared"
                )
    versions: dict[str, list[str]] = {}
    for _, data in files:
        for name, version in data["versions"].items():
            if version not in versions.setdefault(name, []):
                versions[name].append(version)
    labels = {
        (name, version): name if len(known) == 1 else f"{name} {version}"
        for name, known in versions.items()
        for version in known
    }
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for _, data in files:
        for scenario, results in data["results"].items():
            for name, found in results.items():
                label = labels[name, data["versions"][name]]
                runs.setdefault((scenario, label), []).extend(found)
    daemons = {label: key for key, label in labels.items()}
    figures = Figures(
        first["machine"], first["scale"], [data["date"] for _, data in files], daemons, {}
    )
    for (scenario, label), found in runs.items():
        longest = max(
            (
                [phase["name"] for phase in run.get("phases", ())]
                for (other, _), all_runs in runs.items()
                if other == scenario
                for run in all_runs
            ),
            key=len,
        )
        if found:
            figures.cells[scenario, label] = [
                cell_of(Cell(*daemons[label], scenario, name, at), found)
                for at, name in enumerate(longest or ["load"])
            ]
    return figures


def cell_of(cell: Cell, runs: list[dict[str, Any]]) -> Cell:
    """Gather what runs say about one phase."""
    for run in runs:
        phases = run.get("phases", ())
        if len(phases) > cell.at:
            row = dict(phases[cell.at], idle_rss=run.get("idle_rss"))
            row["rss_path"] = row["rss"] / paths(cell.scenario, run["prefixes"])
            if cell.at == 0:
                row["up_s"] = run["up"]["last_s"]
                if "longest_slice_ms" in run:
                    row["slice_s"] = run["longest_slice_ms"] / 1e3
            cell.rows.append(row)
        elif "error" in run:
            cell.failed.append(str(run["error"]).splitlines()[0][:120])
        elif not phases:
            limit = run["up"].get("beyond_s")
            cell.failed.append(
                f"{run['up']['sessions']} of {run['members']} sessions up"
                + (f" in {limit:g} s" if limit else "")
            )
        else:
            cell.failed.append(f"not complete: {phases[-1]['name']}")
    return cell


def paths(scenario: str, prefixes: int) -> int:
    """Return how many paths a daemon holds once all members have brought their tables."""
    table = SCENARIOS[scenario].table
    return prefixes * (table.feeders or table.members) if table.same else prefixes


def load(path: Path) -> dict[str, Any]:
    """Read one file; FiguresError names it when it is none of ours."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        for key in ("machine", "scale", "date", "versions", "results"):
            data[key]
    except (OSError, ValueError) as error:
        raise FiguresError(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise FiguresError(
            f"{path}: no output of `python -m bench.wire --json`: {error}"
        ) from error
    return data
