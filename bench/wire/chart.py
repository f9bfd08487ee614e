"""`python -m bench.wire.chart IN.json... OUT.svg`: how daemons converge, as a picture.

In: the JSON files of `python -m bench.wire`. Out: SVG, or PNG or PDF by the name. A row for every
phase of every scenario: the time of the last member (median over the runs, whiskers from the
fastest run to the slowest) on a logarithmic scale, and beside it the daemon's CPU and memory. The
floor is a line, for nobody can be to its left. In phases of churn the bar is the median latency and
a tick its 99th percentile. Needs matplotlib, which is in the dependency group `bench`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.wire.figures import FLOOR, RS, Cell, Figures, FiguresError, Spread, read
from bench.wire.scenarios import SCENARIOS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {
    RS: "#0b6e4f",
    "bird": "#c8553d",
    "frr": "#4f6d9a",
    "openbgpd": "#b08900",
    "gobgp": "#7a5c8e",
}
OTHER = "#777777"
LINE = "#222222"
BAR_INCH = 0.23
HEAD_INCH = 0.62
"""Of each row: title and axis."""
WIDTHS = (2.6, 1, 1)
PANELS = (("cpu_s", 1.0, "CPU, s"), ("rss", 1e6, "RSS, MB"))


def matplotlib() -> Any:
    """Import it; ImportError says how to get it."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ImportError(
            "charts need matplotlib: pip install --group bench (pip 25.1 or newer), or"
            " pip install matplotlib"
        ) from error
    mpl.use("agg")
    return mpl


def draw(figures: Figures, file: Path) -> None:
    """Write a chart of all scenarios to `file`, whose suffix says which kind of picture."""
    mpl = matplotlib()
    from matplotlib import pyplot as plt

    rows = [(s, phase) for s in figures.scenarios for phase in figures.phases(s)]
    shown = {row: _labels(figures, row[0]) for row in rows}
    heights = [HEAD_INCH + BAR_INCH * len(labels) for labels in shown.values()]
    style = {
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        # The same figures make the same file.
        "svg.hashsalt": "rs",
        # Text as text: a tenth of the size, and it can be searched.
        "svg.fonttype": "none",
        "font.sans-serif": ["DejaVu Sans"],
    }
    with mpl.rc_context(style):
        picture, axes = plt.subplots(
            len(rows),
            3,
            figsize=(10, sum(heights) + 0.6),
            squeeze=False,
            gridspec_kw={"height_ratios": heights, "width_ratios": WIDTHS},
            layout="constrained",
        )
        for row, line in zip(rows, axes, strict=True):
            _row(figures, *row, shown[row], list(line))
        picture.suptitle(_title(figures), fontsize=8, color=OTHER, x=0.01, ha="left")
        metadata = {"Date": None} if file.suffix == ".svg" else None
        picture.savefig(file, metadata=metadata, dpi=110)
        plt.close(picture)
    if file.suffix == ".svg":
        file.write_text(_smaller(file.read_text()))


def _smaller(svg: str) -> str:
    """Leave out the indentation, and of coordinates what is below a hundredth of a point."""
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    return re.sub(r"\n\s+", "\n", svg)


def _title(figures: Figures) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in figures.daemons.values() if name != FLOOR
    )
    return (
        f"{versions}. {figures.machine['cpus']} CPUs ({figures.machine['cpu']}), "
        f"{max(figures.dates)[:10]}, scale {figures.scale:g}.\nBars: median of all runs, whiskers: "
        "least and most; hatched: ended before all had all. Dashed: the floor, bytes copied "
        "without a table."
    )


def _labels(figures: Figures, scenario: str) -> list[str]:
    """Daemons of a scenario with rs first, without the floor."""
    floor = figures.labels(FLOOR)
    found = [label for other, label in figures.cells if other == scenario and label not in floor]
    return sorted(found, key=lambda label: (figures.daemons[label][0] != RS, label))


def _row(figures: Figures, scenario: str, phase: str, labels: list[str], axes: list[Axes]) -> None:
    cells = [figures.cell(scenario, label, phase) for label in labels]
    floors = [figures.cell(scenario, label, phase) for label in figures.labels(FLOOR)]
    floor = next((cell for cell in floors if cell is not None), None)
    churn = any(cell is not None and cell.churn for cell in cells)
    scale, unit = (1e3, "ms") if churn else (1.0, "s")
    time, *others = axes
    for at, cell in enumerate(cells):
        if cell is not None:
            if cell.beyond is None:
                _bar(time, at, cell, cell.main, scale)
            else:
                _open_bar(time, at, cell, cell.beyond)
            if churn and (p99 := cell.get("p99_s")):
                time.plot([p99.median * scale], [at], "|", color=LINE, markersize=9)
    base = floor.main if floor else None
    if base:
        time.axvline(base.median * scale, color=LINE, linestyle="--", linewidth=0.9)
    time.set_xscale("log")
    time.set_xlim(*_limits(cells, base, scale))
    # 0.01, not 10^-2; and 2 and 5 between powers of ten where the axis is short.
    low, high = time.get_xlim()
    time.set_xscale("log", subs=(2, 5))
    time.xaxis.set_major_formatter("{x:g}")
    time.xaxis.set_minor_formatter("{x:g}" if high < 50 * low else "")
    title = SCENARIOS[scenario].title if scenario in SCENARIOS else ""
    time.set_title(f"{scenario} {phase}: {title}", loc="left", fontsize=8.5, fontweight="bold")
    what = "latency, median (tick: p99)" if churn else "last member has all"
    time.set_xlabel(f"{what}, {unit}", fontsize=7, loc="left", labelpad=1)
    time.set_yticks(range(len(labels)), labels)
    for axis, (name, divisor, text) in zip(others, PANELS, strict=True):
        for at, cell in enumerate(cells):
            if cell is not None:
                _bar(axis, at, cell, cell.get(name), 1 / divisor)
        base = floor.get(name) if floor else None
        if base:
            axis.axvline(base.median / divisor, color=LINE, linestyle="--", linewidth=0.9)
        axis.set_xlim(0, max(axis.get_xlim()[1] * 1.22, 1e-3))
        axis.locator_params(axis="x", nbins=4)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_xlabel(text, fontsize=7, loc="left", labelpad=1)
        axis.set_yticks([])
    for axis in axes:
        axis.set_ylim(len(labels) - 0.4, -0.6)
        axis.tick_params(axis="x", which="both", labelsize=7, length=2, pad=1)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)


def _bar(axis: Axes, at: int, cell: Cell, value: Spread | None, scale: float) -> None:
    if value is None:
        text = " failed" if cell.failed else " not exact" if not cell.exact else " -"
        # In data coordinates only downwards: a logarithmic axis has no zero to begin at.
        axis.text(
            0, at, text, va="center", fontsize=7, color=OTHER, transform=axis.get_yaxis_transform()
        )
        return
    middle = value.median * scale
    reach = [[(value.median - value.low) * scale], [(value.high - value.median) * scale]]
    axis.barh(at, middle, height=0.72, color=COLORS.get(cell.daemon, OTHER))
    axis.errorbar(middle, at, xerr=reach, color=LINE, linewidth=0.9, capsize=2)
    axis.annotate(
        _short(middle),
        (value.high * scale, at),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=7,
        bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
    )


def _open_bar(axis: Axes, at: int, cell: Cell, limit: float) -> None:
    """A run that was ended after `limit` s: a bar without an end."""
    color = COLORS.get(cell.daemon, OTHER)
    axis.barh(at, limit, height=0.72, color="white", edgecolor=color, hatch="////", linewidth=0)
    text = f"> {_short(limit)}"
    axis.annotate(text, (limit, at), (5, 0), textcoords="offset points", va="center", fontsize=7)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _limits(cells: list[Cell | None], base: Spread | None, scale: float) -> tuple[float, float]:
    """Ends of a logarithmic axis: half of the least figure, room for a number behind the most."""
    spreads = [cell.main for cell in cells if cell is not None] + [base]
    spreads += [cell.get("p99_s") for cell in cells if cell is not None and cell.churn]
    known = [s for s in spreads if s is not None and s.low > 0]
    ends = [cell.beyond for cell in cells if cell is not None and cell.beyond is not None]
    lows, highs = [s.low for s in known] + ends, [s.high for s in known] + ends
    if not lows:
        return 0.1, 1.0
    return min(lows) * scale / 2, max(highs) * scale * 2


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """Draw the figures in FILES, of which the last is the picture to write (.svg, .png, .pdf)."""
    *sources, picture = files
    if not sources or picture.suffix not in {".svg", ".png", ".pdf"}:
        raise click.UsageError("want IN.json... OUT.svg")
    try:
        draw(read(sources), picture)
    except (FiguresError, ImportError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
