"""The wire benchmark and the processes of a daemon: nobody is left when a run is over."""

from __future__ import annotations

import subprocess
import time

import pytest

from bench.wire.process import alive, end, tree


def started(script: str, processes: int) -> subprocess.Popen[bytes]:
    """Run a shell script, and wait until it has so many processes."""
    process = subprocess.Popen(["sh", "-c", script])
    deadline = time.monotonic() + 30
    while len(tree(process.pid)) < processes:
        assert time.monotonic() < deadline, "it does not start"
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    "script",
    [
        "sleep 600 & sleep 600 & wait",  # children do not notice that their parent is gone
        "trap '' TERM; (trap '' TERM; sleep 600) & (trap '' TERM; sleep 600) & wait",
    ],
)
def test_children_end_with_their_daemon_whether_they_like_it_or_not(script: str) -> None:
    process = started(script, 3)
    family = tree(process.pid)
    end(process, 0.2)
    assert process.returncode is not None
    assert not [pid for pid in family if alive(pid)]


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    deadline = time.monotonic() + 30
    while alive(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.wait() == 0
