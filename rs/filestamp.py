"""Whether a file may have changed since it was read, for readers of lists, VRPs and metrics.

In: a path. Out: values to keep beside what was read, and to compare before it is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_stamp(path: Path) -> tuple[int, ...]:
    """Return what changes with the contents of a file; nothing while there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
