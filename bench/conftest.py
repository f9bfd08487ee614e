"""Nanoseconds an item, for benchmarks that do many items a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    rows = [
        (bench.group or "", bench.name.removeprefix("test_"), bench.extra_info)
        for bench in getattr(session, "benchmarks", [])
        if "items" in bench.extra_info and bench.stats.rounds
    ]
    if not rows:
        return
    terminalreporter.section("nanoseconds an item, fastest round")
    times = {
        bench.name.removeprefix("test_"): bench.stats.min / bench.extra_info["items"] * 1e9
        for bench in session.benchmarks
        if "items" in bench.extra_info
    }
    for group, name, extra in sorted(rows, key=lambda row: row[:2]):
        terminalreporter.write_line(
            f"{group:<10} {name:<28} {times[name]:10.1f} ns per {extra['item']}"
        )


@pytest.fixture
def per_item(benchmark: BenchmarkFixture) -> Callable[..., object]:
    """Time rounds of many items: `per_item(count, name, work, fresh)`.

    `fresh`, called before every round outside of the time, gives the arguments of `work`.
    """

    def measure(
        count: int,
        item: str,
        work: Callable[..., object],
        fresh: Callable[[], tuple[object, ...]] | None = None,
        rounds: int = 7,
    ) -> object:
        benchmark.extra_info.update(items=count, item=item)
        if fresh is None:
            return benchmark.pedantic(work, rounds=rounds, warmup_rounds=1)
        return benchmark.pedantic(work, setup=lambda: (fresh(), {}), rounds=rounds, warmup_rounds=1)

    return measure
