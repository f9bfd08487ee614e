"""`python -m bench.wire.report IN.json...`: figures as Markdown, so that none is typed by hand.

In: the JSON files of `python -m bench.wire`, of one machine and scale. Out: a table for every
scenario with all daemons, the goals with their verdicts, and where rs is not the best. With
`--into FILE` it goes between two marks in a file, and the text around them is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.wire.figures import FLOOR, RS, FiguresError, read
from bench.wire.goals import judge
from bench.wire.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.wire.figures import Cell, Figures, Spread

BEGIN = "<!-- figures of bench.wire.report: begin -->"
END = "<!-- figures of bench.wire.report: end -->"
COLUMNS = ("last_s", 1.0), ("median_s", 1.0), ("up_s", 1.0), ("cpu_s", 1.0)
MEMORY = ("rss", 1e6), ("peak_rss", 1e6)
HEAD = (
    "daemon",
    "phase",
    "last s",
    "x floor",
    "x rs",
    "median s",
    "up s",
    "CPU s",
    "RSS MB",
    "peak MB",
    "held",
)
LATENCY = "p50 ms", "p99 ms"
WORSE = 1.02
"""Above this ratio of medians somebody else is ahead; below, it is a draw."""
COMPARED = {
    "last_s": "time",
    "p50_s": "latency p50",
    "p99_s": "latency p99",
    "up_s": "sessions up",
    "cpu_s": "CPU",
    "rss": "RSS",
}


def number(value: float) -> str:
    """Three digits that count, and no exponent."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:,.0f}"
    digits = 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.01 else 5
    return f"{value:.{digits}f}"


def spread(value: Spread | None, divisor: float = 1.0) -> str:
    """Median and, with several runs, the range."""
    if value is None:
        return "-"
    text = number(value.median / divisor)
    if value.runs > 1:
        text += f" ({number(value.low / divisor)}-{number(value.high / divisor)})"
    return text


def ratio(value: Spread | None, base: Spread | None) -> str:
    """Median by median."""
    if value is None or base is None or not base.median:
        return "-"
    return f"{value.median / base.median:.2f}"


def times(cell: Cell, base: Cell | None) -> str:
    """What the phase is about as a multiple of another daemon's; `>` where it was cut off."""
    if base is not None and base.main and base.main.median and cell.beyond:
        return f"> {cell.beyond / base.main.median:.2f}"
    return ratio(cell.main, base.main if base else None)


def row(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def report(figures: Figures) -> str:
    """Return all of it, in Markdown."""
    lines = list(_head(figures))
    for scenario in figures.scenarios:
        lines += _scenario(figures, scenario)
    lines += _goals(figures)
    lines += _not_ahead(figures)
    return "\n".join(lines) + "\n"


def _head(figures: Figures) -> Iterator[str]:
    machine = figures.machine
    runs = {spread.runs for spread in _mains(figures)}
    counted = "-".join(str(n) for n in sorted({min(runs), max(runs)})) if runs else "no"
    days = sorted({date[:10] for date in figures.dates})
    yield (
        f"{machine['cpus']} CPUs ({machine['cpu']}), Linux {machine['kernel']}; "
        f"{' to '.join(dict.fromkeys((days[0], days[-1])))}; runs of each daemon: {counted}; "
        f"scale {figures.scale:g}."
    )
    yield ""
    yield row(["daemon", "version"])
    yield row(["---", "---"])
    for name, version in figures.daemons.values():
        yield row([name, version])
    yield ""
    yield (
        "Medians, and in brackets the range. `last s`: until the last member held exactly what it"
        " was due; `median s`: half of them. `x floor`, `x rs`: `last s` as a multiple of the"
        " floor's and of rs's; of churn, p50. `> 150`: ended after 150 s, while members still"
        " waited. RSS is what it was once the phase had settled."
    )
    yield ""


def _mains(figures: Figures) -> list[Spread]:
    found = [cell.main for cells in figures.cells.values() for cell in cells]
    return [spread for spread in found if spread is not None]


def _first(figures: Figures, name: str, scenario: str, phase: str) -> Cell | None:
    """Return the cell of a daemon's last version that has one: the one to compare with."""
    cells = [figures.cell(scenario, label, phase) for label in figures.labels(name)]
    return next((cell for cell in reversed(cells) if cell is not None), None)


def _scenario(figures: Figures, scenario: str) -> Iterator[str]:
    title = SCENARIOS[scenario].title if scenario in SCENARIOS else ""
    yield f"### {scenario}: {title}" if title else f"### {scenario}"
    yield ""
    churn = any(
        cell.churn
        for (other, _), cells in figures.cells.items()
        if other == scenario
        for cell in cells
    )
    head = [*HEAD[:-1], *(LATENCY if churn else ()), HEAD[-1]]
    yield row(head)
    yield row(["---" if name in ("daemon", "phase", "held") else "--:" for name in head])
    for (other, label), cells in figures.cells.items():
        if other != scenario:
            continue
        for cell in cells:
            bases = [_first(figures, name, scenario, cell.phase) for name in (FLOOR, RS)]
            columns = [spread(cell.get(name), divisor) for name, divisor in COLUMNS]
            if cell.churn:
                columns[0] = "-"  # as long as the changes take to be sent
            elif cell.beyond:
                columns[0] = f"> {number(cell.beyond)}"
            columns[1:1] = [times(cell, base) for base in bases]
            columns += [spread(cell.get(name), divisor) for name, divisor in MEMORY]
            if churn:
                columns += [
                    spread(cell.get(name), 1e-3) if cell.churn else "-"
                    for name in ("p50_s", "p99_s")
                ]
            yield row([label, cell.phase, *columns, cell.held()])
    yield ""


def _goals(figures: Figures) -> Iterator[str]:
    verdicts = judge(figures)
    words = {True: "met", False: "**not met**", None: "no figure"}
    met = sum(v.met is True for v in verdicts)
    missed = sum(v.met is False for v in verdicts)
    yield "### Goals"
    yield ""
    yield f"{met} met, {missed} not met, {len(verdicts) - met - missed} without a figure."
    if figures.scale != 1:
        yield ""
        yield f"Measured at scale {figures.scale:g}: the goals are for scale 1."
    yield ""
    yield row(["scenario", "goal", "against", "figure", "verdict"])
    yield row(["---", "---", "---", "--:", "---"])
    for v in verdicts:
        yield row([v.goal.scenario, v.goal.text(), v.against, v.figure, words[v.met]])
    yield ""


def _not_ahead(figures: Figures) -> Iterator[str]:
    """Name every figure in which another daemon has the better median."""
    yield "### Where rs is not ahead"
    yield ""
    found = []
    for scenario in figures.scenarios:
        for phase in figures.phases(scenario):
            ours = _first(figures, RS, scenario, phase)
            if ours is None:
                continue
            for (other, label), cells in figures.cells.items():
                cell = next((c for c in cells if c.phase == phase), None)
                if other == scenario and cell is not None and cell.daemon not in (RS, FLOOR):
                    found += _behind(f"{scenario} {phase}", label, ours, cell)
    yield from found or ["Nowhere in these figures."]
    yield ""


def _behind(where: str, label: str, ours: Cell, theirs: Cell) -> Iterator[str]:
    for name, word in COMPARED.items():
        if name == "last_s" and theirs.churn:
            continue
        mine, other = ours.get(name), theirs.get(name)
        if name in ("last_s", "p50_s", "p99_s") and other is not None and not ours.exact:
            yield f"* {where}: rs {ours.held()}; {label} has {word} {number(other.median)} s"
            continue
        if mine is None or other is None or mine.median <= WORSE * other.median:
            continue
        divisor, unit = {"rss": (1e6, "MB"), "p50_s": (1e-3, "ms"), "p99_s": (1e-3, "ms")}.get(
            name, (1.0, "s")
        )
        yield (
            f"* {where}, {word}: {label} {number(other.median / divisor)} {unit}, "
            f"rs {number(mine.median / divisor)} {unit}"
            + ("" if theirs.exact else f" (but {label}: {theirs.held()})")
        )


def put(text: str, file: Path) -> None:
    """Replace what stands between the marks in `file`, or add it at the end."""
    old = file.read_text() if file.exists() else "# Results\n"
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and not end:
        raise FiguresError(f"{file}: there is {BEGIN!r} but no {END!r}")
    if not begin:
        before = before.rstrip("\n") + "\n\n"
        after = "\n"
    file.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), help="Replace the figures in this file.")
def main(files: tuple[Path, ...], *, into: Path | None) -> None:
    """Write the figures in FILES as Markdown."""
    try:
        text = report(read(files))
        if into:
            put(text, into)
        else:
            click.echo(text, nl=False)
    except FiguresError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
