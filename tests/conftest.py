"""Settings for all tests.

With RS_REQUIRE_PEERS=1 in the environment, as in CI, nothing may be skipped: a test that would be
is a failure. Only recorded data, which are not in the repository, are not CI's to bring: a test that
needs them is marked `data`, or names the folder that is missing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.mrtfiles import DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# No test is timed: a busy machine, or the address sanitizer, must not fail one.
settings.register_profile("rs", deadline=None)
settings.load_profile("rs")

STRICT = os.environ.get("RS_REQUIRE_PEERS", "") not in {"", "0"}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not STRICT or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if item.get_closest_marker("data") is None and (str(DATA) not in reason or DATA.exists()):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: nothing may be skipped here, and yet: {reason}"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes octets, as many pieces as there are, into an MRT file and returns its path."""

    def write(*records: bytes, name: str = "file.mrt") -> Path:
        file = tmp_path / name
        file.write_bytes(b"".join(records))
        return file

    return write
