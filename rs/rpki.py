"""VRP files of [rpki]: read at the start and on reload, beside whatever caches say.

In: paths. Out: VRPs and ASPAs in the tables, each file a source of its own, and a publisher that is
told. Everything is a generator of slices of about a millisecond. A file that cannot be read, is cut
off or empty leaves what it said before in use. RFC 6811, RFC 8210 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rs import vrps
from rs.errors import VrpError
from rs.filestamp import file_stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.roa import RoaTable
    from rs.show_types import RpkiFile


class Publisher(Protocol):
    """Whoever tells the router of changes; see rtr_client.Publisher."""

    roas: RoaTable
    aspas: AspaTable
    ready: bool

    def filled(self, source: int) -> None:
        """Take note that a source has data."""

    def emptied(self, source: int) -> None:
        """Take note that a source has none any longer."""


def file_faults(paths: Sequence[Path]) -> Iterator[str]:
    """Read VRP files and yield what is wrong with them; the daemon would start all the same."""
    for path in paths:
        try:
            vrps.read(path)
        except VrpError as error:
            yield str(error)


class RpkiFiles:
    """The VRP files in use."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._sources: dict[Path, int] = {}
        self._stats: dict[Path, tuple[int, ...]] = {}
        """What changes with a file's contents, as the file system tells it."""
        self._paths: tuple[Path, ...] = ()
        self._read: dict[Path, tuple[float, float]] = {}
        """When the contents in use were written and read, seconds since 1970."""
        self._errors: dict[Path, str] = {}
        self.faults: list[str] = []
        """What was wrong at the last loading, by file."""

    def load_steps(self, paths: Sequence[Path], wall_time: float) -> Iterator[None]:
        """Read files that have changed, forget those that are not named any more.

        `wall_time` in seconds since 1970 is what expiry times are compared with.
        """
        self.faults = []
        self._paths = tuple(paths)
        for path in [path for path in self._sources if path not in paths]:
            yield from self._drop(path)
        for path in paths:
            stats = file_stamp(path)
            if stats and self._stats.get(path) == stats:
                continue
            try:
                yield from self._load(path, wall_time)
            except (VrpError, ValueError) as error:
                self.faults.append(str(error))
                self._errors[path] = str(error)
            else:
                self._stats[path] = stats
                self._read[path] = (stats[0] / 1e9 if stats else wall_time, wall_time)
                self._errors.pop(path, None)

    def status(self, wall_time: float) -> list[RpkiFile]:
        """Return what is to be known of every file; `wall_time` in seconds since 1970."""
        roas, aspas = self._publisher.roas, self._publisher.aspas
        rows: list[RpkiFile] = []
        for path in self._paths:
            source = self._sources.get(path)
            written, read = self._read.get(path, (None, None))
            rows.append(
                {
                    "path": str(path),
                    "vrps": 0 if source is None else roas.held(source),
                    "aspas": 0 if source is None else aspas.held(source),
                    "age_s": None if written is None else round(wall_time - written, 1),
                    "read_s": None if read is None else round(wall_time - read, 1),
                    "last_error": self._errors.get(path, ""),
                }
            )
        return rows

    def _load(self, path: Path, wall_time: float) -> Iterator[None]:
        found = yield from vrps.steps(path, now=wall_time)
        roas, aspas = self._publisher.roas, self._publisher.aspas
        if path not in self._sources:
            self._sources[path] = roas.add_source(str(path))
        source = self._sources[path]
        yield from vrps.load_steps(found, roas, aspas, source)
        self._commit(source)
        self._publisher.filled(source)

    def _drop(self, path: Path) -> Iterator[None]:
        source = self._sources.pop(path)
        self._stats.pop(path, None)
        self._read.pop(path, None)
        roas, aspas = self._publisher.roas, self._publisher.aspas
        roas.begin(source, reset=True)
        aspas.begin(source, reset=True)
        self._commit(source)
        self._publisher.emptied(source)
        roas.remove_source(source)
        yield

    def _commit(self, source: int) -> None:
        self._publisher.roas.commit(source, report=self._publisher.ready)
        self._publisher.aspas.commit(source)
