"""What a daemon's processes use: memory and CPU of a process and all its descendants.

In: the process id of the first one. Out: octets and seconds; and how all of them end. Reads /proc;
no descendant is assumed to end while it is measured (none of the daemons works that way).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Sums over a process tree."""

    rss: int
    """Resident octets now."""
    peak: int
    """Sum of the processes' own peaks, octets."""
    cpu: float
    """Seconds of CPU since the start."""
    waited: float
    """Seconds in which a thread could have run, but its core was taken by somebody else."""


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def usage(pid: int) -> Usage:
    """Memory and CPU of a tree; zeros for a process that has ended."""
    rss = peak = 0
    cpu = waited = 0.0
    for one in tree(pid):
        base = Path("/proc") / str(one)
        try:
            for line in (base / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    rss += int(line.split()[1]) * 1024
                elif line.startswith("VmHWM:"):
                    peak += int(line.split()[1]) * 1024
            for task in (base / "task").iterdir():
                ran, queued, _ = (task / "schedstat").read_text().split()
                cpu += int(ran) / 1e9
                waited += int(queued) / 1e9
        except OSError:
            continue
    return Usage(rss, peak, cpu, waited)


def alive(pid: int) -> bool:
    """Whether a process is there, and more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End a process and all its descendants, by force those who are still there after `seconds`."""
    others = tree(process.pid)[1:]
    deadline = time.monotonic() + seconds
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Children end when they notice, which may be after their parent.
    for pid in others:
        while alive(pid):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


class MemoryGroup:
    """A cgroup for a daemon's processes: its peak also counts page cache and kernel memory.

    `peak` is None where this machine has no memory controller that we may use.
    """

    def __init__(self, name: str) -> None:
        self._folder: Path | None = None
        # Version 1 has a tree per controller, version 2 one for all.
        for base, self._file in (
            (Path("/sys/fs/cgroup/memory"), "memory.max_usage_in_bytes"),
            (Path("/sys/fs/cgroup"), "memory.peak"),
        ):
            folder = base / name
            try:
                folder.mkdir()
            except OSError:
                continue
            if (folder / self._file).exists():
                self._folder = folder
                return
            folder.rmdir()

    def add(self, pid: int) -> None:
        """Count a process, and what it starts from now on."""
        if self._folder is not None:
            (self._folder / "cgroup.procs").write_text(str(pid))

    @property
    def peak(self) -> int | None:
        """Octets."""
        if self._folder is None:
            return None
        return int((self._folder / self._file).read_text())

    def remove(self) -> None:
        """Remove the cgroup; its processes must have ended."""
        if self._folder is not None:
            self._folder.rmdir()


def listens(pid: int, port: int) -> bool:
    """Whether the network namespace of `pid` has a TCP socket that listens on `port`."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            part = line.split()
            if part[3] == "0A" and int(part[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False
