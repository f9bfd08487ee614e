"""Fixtures of the interoperability tests.

Where a daemon is missing or namespaces cannot be made, tests are skipped, and say why. With
RS_REQUIRE_PEERS=1 in the environment, as in CI, such a skip is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .daemons import lan as lan_module
from .daemons.lan import Lan

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = os.environ.get("RS_REQUIRE_PEERS", "") not in {"", "0"}
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.interop)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: RS_REQUIRE_PEERS is set, and yet: {reason}"


@pytest.fixture(scope="session")
def _namespaces() -> None:
    reason = lan_module.unavailable()
    if reason is not None:
        pytest.skip(reason)
    lan_module.remove_stale()


@pytest.fixture(scope="module")
def module_lan(_namespaces: None) -> Iterator[Lan]:
    """A LAN that the tests of one module share."""
    lan = Lan("shared")
    try:
        yield lan
    finally:
        lan.close()


@pytest.fixture
def lan(_namespaces: None) -> Iterator[Lan]:
    """A LAN of the test's own."""
    lan = Lan("own")
    try:
        yield lan
    finally:
        lan.close()
