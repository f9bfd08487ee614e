"""The guard against more instructions a route: what it says of made-up figures, and of today's."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from typing import TYPE_CHECKING

import pytest

from bench import instructions
from bench.instructions import BOTH, STAGES, compare, conditions, count, per_unit

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = os.environ.get("RS_REQUIRE_PEERS", "") not in {"", "0"}
HERE = {"compiler": "a", "python": "b"}


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "instructions.json"
    kept = {"conditions": HERE, "instructions": {"decode": 100.0, "import": 200.0}}
    file.write_text(json.dumps(kept))
    return file


def test_within_tolerance_nothing_is_said_against_it(baseline: Path) -> None:
    result = compare({"decode": 104.9, "import": 190.1}, HERE, baseline)
    assert (result.slower, result.faster, result.new) == ([], [], [])
    assert result.verdict() == "All within 5% of the baseline."


def test_more_instructions_are_a_fault_and_fewer_ask_for_an_update(baseline: Path) -> None:
    result = compare({"decode": 105.2, "import": 189.0}, HERE, baseline)
    assert (result.slower, result.faster) == (["decode"], ["import"])
    assert "above the baseline: decode." in result.verdict()
    assert "import. Keep it: `python -m bench.instructions --update`" in result.verdict()
    assert "+5.2%" in result.table()


def test_a_stage_without_baseline_asks_for_one(baseline: Path) -> None:
    result = compare({"decode": 100.0, "send": 3.0}, HERE, baseline)
    assert (result.slower, result.new) == ([], ["send"])
    assert "send" in result.verdict()


def test_another_compiler_only_reports(baseline: Path) -> None:
    result = compare({"decode": 300.0, "import": 20.0}, {**HERE, "compiler": "c"}, baseline)
    assert (result.slower, result.faster) == ([], [])
    assert result.verdict().endswith("compiler was a, is c.")


def test_what_a_stage_costs_once_does_not_count() -> None:
    names = [BOTH if name == "encode" else name for name in STAGES]
    price = {name: 10 * (at + 1) for at, name in enumerate(names)}
    ran = [(name, units) for units in (100, 210) for name in names]
    counts = [5000 + price[name] * units for name, units in ran]
    wanted = {name: price[name] for name in names if name != BOTH}
    assert per_unit(ran, counts) == wanted | {"encode": price[BOTH] - price["export"]}


def test_a_workload_that_fails_is_told_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("valgrind") is None and not REQUIRED:
        pytest.skip("valgrind is not installed (Debian, Ubuntu: apt install valgrind)")
    monkeypatch.setitem(instructions.ENVIRONMENT, "PYTHONHASHSEED", "of no use")
    with pytest.raises(RuntimeError, match=r"(?s)failed under callgrind.*PYTHONHASHSEED"):
        count()


@pytest.mark.timeout(400)
def test_no_stage_needs_more_instructions_than_it_did() -> None:
    if shutil.which("valgrind") is None and not REQUIRED:
        pytest.skip("valgrind is not installed (Debian, Ubuntu: apt install valgrind)")
    result = compare(count(), conditions())
    assert set(result.now) == set(STAGES)
    assert min(result.now.values()) > 0
    print(result.table())
    assert not result.slower, result.verdict()
    if result.other or result.faster or result.new:
        warnings.warn(result.verdict(), stacklevel=1)
