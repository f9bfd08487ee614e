"""Files of VRPs and ASPAs: JSON of rpki-client and Routinator, CSV, and lists by ROA.

In: a file, whole. Out: a `VrpFile`, or VrpError with file and entry; nothing in between, so that
whoever holds an older good one keeps it. A file that is cut off or empty is an error as well.

    JSON  {"roas": [{"prefix", "maxLength", "asn", "ta", "expires"}], "aspas": [...]}: rpki-client,
          Routinator (`json`, `jsonext`), StayRTR; AS numbers as 64496 or "AS64496"
    CSV   with a line of column names (Routinator `csv`, `csvcompat`, `csvext`, RIPE, rpki-client),
          or AS number, prefix, max length without
    list  a line per ROA: time, AS number, prefixes as 192.0.2.0/24 or 192.0.2.0/22-24

Half a million entries take about a second. So everything here is a generator of slices of about a
millisecond, which the daemon runs between other work, and `read` runs in one go.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from rs._fastpath.roa import STAGE_OK
from rs._fastpath.vrplist import VrpList
from rs.errors import VrpError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator

    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.roa import RoaTable

READ_LEN = 1 << 18
"""Octets read from the file at a time."""
WINDOW = 1 << 14
"""Octets parsed at a time: about 150 entries of JSON, 300 of CSV."""
STAGE = 4096
"""VRPs staged at a time."""
MAX_ENTRY = 1 << 20
"""Octets of one JSON value at most; the longest real ones have some thousand."""

ROA_KEYS = frozenset(("roas", "vrps"))
ASPA_KEYS = frozenset(("aspas",))
COLUMNS = {
    "asn": "asn",
    "as": "asn",
    "ip prefix": "prefix",
    "prefix": "prefix",
    "max length": "max_length",
    "maxlength": "max_length",
    "trust anchor": "ta",
    "ta": "ta",
    "expires": "expires",
}
"""Names of CSV columns, in lower case, that mean something here."""

_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]+")
_FIRST_LINE = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*([^\n]*)")
_ASN = re.compile(r"(?:AS)?([0-9]{1,10})", re.IGNORECASE | re.ASCII)


@dataclass(slots=True)
class VrpFile:
    """What a file says."""

    path: Path
    vrps: VrpList = field(default_factory=VrpList)
    aspas: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Providers by customer; several entries of a customer make a union."""
    expired: int = 0
    """Entries passed over because of their time."""
    other_anchors: int = 0
    """Entries passed over because of their trust anchor."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which entries count."""

    now: float | None
    anchors: frozenset[str] | None


def read(
    path: Path | str,
    *,
    now: float | None = None,
    trust_anchors: Collection[str] | None = None,
    allow_empty: bool = False,
) -> VrpFile:
    """Read a file in one go; see `steps`."""
    run = steps(path, now=now, trust_anchors=trust_anchors, allow_empty=allow_empty)
    while True:
        try:
            next(run)
        except StopIteration as stop:
            found: VrpFile = stop.value
            return found


def steps(
    path: Path | str,
    *,
    now: float | None = None,
    trust_anchors: Collection[str] | None = None,
    allow_empty: bool = False,
) -> Generator[None, None, VrpFile]:
    """Read a file in slices; the generator's value is the file.

    `now` in seconds since 1970: entries that expired before are passed over. `trust_anchors`: those
    of others are, where the file names them. VrpError for a file that cannot be read, is cut off,
    has a faulty entry, or holds no VRPs, unless `allow_empty`.
    """
    path = Path(path)
    anchors = None if trust_anchors is None else frozenset(a.lower() for a in trust_anchors)
    found = VrpFile(path)
    data = bytearray()
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_LEN):
                data += piece
                yield
    except OSError as error:
        raise VrpError(f"{path}: {error.strerror or error}") from error
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    start = _skip_space(data, at)
    if start == len(data):
        raise VrpError(f"{path}: the file is empty")
    wanted = _Wanted(now, anchors)
    if data[start] == ord("{"):
        said = yield from _Json(found, data, wanted).run(start)
    else:
        said = True
        if data[-1] != ord("\n"):
            raise VrpError(f"{path}: the last line has no end: the file is cut off")
        first = _FIRST_LINE.match(data, start)
        kind = _Csv if first and b"," in first[1] else _List
        yield from _lines(found, data, at, kind, wanted)
    if said and not found.vrps.count and not allow_empty:
        raise VrpError(f"{path}: the file holds no VRPs")
    return found


def load_steps(
    file: VrpFile, roas: RoaTable, aspas: AspaTable, source: int
) -> Generator[None, None, None]:
    """Stage a file's content as all that a source says, in slices; then commit.

    The commits are the caller's: `roas.commit(source, ...)` and `aspas.commit(source)`. If the
    generator is closed before its end, nothing stays staged.
    """
    roas.begin(source, reset=True)
    aspas.begin(source, reset=True)
    done = False
    try:
        at = 0
        while at < file.vrps.count:
            at = roas.stage(source, file.vrps, at, STAGE)
            yield
        for n, (customer, providers) in enumerate(file.aspas.items()):
            if aspas.stage(source, customer, providers) != STAGE_OK:
                raise VrpError(f"{file.path}: the ASPA of AS{customer} cannot be taken")
            if n % 512 == 511:
                yield
        done = True
    finally:
        if not done:
            roas.abort(source)
            aspas.abort(source)


# --- values -------------------------------------------------------------------------------------


def _asn(value: object) -> int:
    """Return an AS number given as a number, "64496" or "AS64496"."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and (match := _ASN.fullmatch(value.strip())):
        number = int(match[1])
    else:
        raise ValueError(f"{value!r} is not an AS number")
    if not 0 <= number <= 0xFFFFFFFF:
        raise ValueError(f"AS number {number} is out of range")
    return number


# --- JSON ---------------------------------------------------------------------------------------


def _skip_space(data: bytearray, pos: int) -> int:
    match = _SPACE.match(data, pos)
    return match.end() if match else pos


class _Json:
    """A JSON object of arrays, taken apart without ever being there as a whole."""

    def __init__(self, found: VrpFile, data: bytearray, wanted: _Wanted) -> None:
        self._found = found
        self._data = data
        self._wanted = wanted

    def _fault(self, what: str, pos: int) -> VrpError:
        if _skip_space(self._data, pos) >= len(self._data):
            what = "the file is cut off"
        return VrpError(f"{self._found.path}: octet {pos}: {what}")

    def _peek(self, pos: int) -> int:
        """Return the octet at `pos`, 0 past the end."""
        return self._data[pos] if pos < len(self._data) else 0

    def run(self, pos: int) -> Generator[None, None, bool]:
        """Take the object at `pos`; returns whether it speaks of VRPs."""
        data = self._data
        last = len(data)
        while data[last - 1] in b" \t\r\n":
            last -= 1
        if data[last - 1] != ord("}"):
            raise VrpError(f"{self._found.path}: no closing brace at the end: the file is cut off")
        said = False
        known = False
        pos = _skip_space(data, pos + 1)
        more = self._peek(pos) != ord("}")
        while more:
            match = _KEY.match(data, pos)
            if match is None:
                raise self._fault("a key and a colon are missing here", pos)
            key = self._loads(match.start(1), match.end(1))
            pos = match.end()
            if key in ROA_KEYS:
                said = known = True
                pos = yield from self._array(pos, key, self._roa)
            elif key in ASPA_KEYS:
                known = True
                pos = yield from self._array(pos, key, self._aspa)
            elif key == "provider_authorizations":
                known = True
                pos = yield from self._families(pos)
            else:
                pos = yield from self._skip(pos)
            pos = _skip_space(data, pos)
            if self._peek(pos) not in b",}":
                raise self._fault("a comma or a closing brace is missing here", pos)
            more = data[pos] == ord(",")
            pos += more
        if self._peek(pos) != ord("}"):
            raise self._fault("a closing brace is missing here", pos)
        pos = _skip_space(data, pos + 1)
        if pos != len(data):
            raise self._fault("there is more after the end", pos)
        if not known:
            raise VrpError(f'{self._found.path}: there are neither "roas" nor "aspas"')
        return said

    def _loads(self, start: int, end: int) -> Any:
        try:
            return orjson.loads(memoryview(self._data)[start:end])
        except orjson.JSONDecodeError as error:
            raise self._fault(f"no JSON: {error}", start) from error

    def _array(self, pos: int, key: str, take: Callable[[Any], None]) -> Generator[None, None, int]:
        """Give the array's entries to `take`; returns where it ends."""
        data = self._data
        if self._peek(pos) != ord("["):
            raise self._fault(f'"{key}" is no array', pos)
        pos = _skip_space(data, pos + 1)
        number = 0
        if self._peek(pos) == ord("]"):
            return pos + 1
        while True:
            entries, pos = self._entries(pos)
            for entry in entries:
                try:
                    take(entry)
                except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
                    what = f"{error} is missing" if isinstance(error, KeyError) else error
                    raise VrpError(f"{self._found.path}: {key}[{number}]: {what}") from error
                number += 1
            pos = _skip_space(data, pos)
            if self._peek(pos) not in b",]":
                raise self._fault(f'"{key}": a comma or a bracket is missing here', pos)
            if self._peek(pos) == ord("]"):
                return pos + 1
            pos = _skip_space(data, pos + 1)
            yield

    def _entries(self, pos: int) -> tuple[list[Any], int]:
        """Return the next entries of an array and where they end.

        Entries without objects in them end where a brace closes, so a stretch up to the last brace
        of the window is an array's inside. If it is none, one entry is cut out properly.
        """
        data = self._data
        end = data.rfind(b"}", pos, pos + WINDOW) + 1
        if end:
            try:
                entries = orjson.loads(b"[" + data[pos:end] + b"]")
            except orjson.JSONDecodeError:
                pass
            else:
                return entries, end
        found = []
        stop = pos + WINDOW // 4
        while True:
            end = self._end_of(pos)
            found.append(self._loads(pos, end))
            pos = _skip_space(data, end)
            if pos > stop or self._peek(pos) != ord(","):
                return found, end
            pos = _skip_space(data, pos + 1)

    def _end_of(self, pos: int) -> int:
        """Return where the value at `pos` ends."""
        data = self._data
        if self._peek(pos) not in b'[{"':
            match = _SCALAR.match(data, pos)
            if match is None:
                raise self._fault("a value is missing here", pos)
            return match.end()
        depth = 0
        for match in _WORD.finditer(data, pos, pos + MAX_ENTRY):
            first = data[match.start()]
            if first in b"[{":
                depth += 1
            elif first in b"]}":
                depth -= 1
            if depth == 0:
                return match.end()
        if pos + MAX_ENTRY < len(data):
            raise self._fault(f"a value of more than {MAX_ENTRY} octets", pos)
        raise self._fault("a value without end", len(data))

    def _skip(self, pos: int) -> Generator[None, None, int]:
        """Return where a value ends that nobody asks for, which may be a long array."""
        if self._peek(pos) != ord("["):
            end = self._end_of(pos)
            self._loads(pos, end)
            return end
        return (yield from self._array(pos, "a value", lambda _: None))

    def _families(self, pos: int) -> Generator[None, None, int]:
        """Take {"ipv4": [ASPAs], "ipv6": [ASPAs]} as earlier rpki-clients wrote it."""
        end = self._end_of(pos)
        value = self._loads(pos, end)
        if not isinstance(value, dict):
            raise self._fault('"provider_authorizations" is no object', pos)
        for family, entries in value.items():
            for number, entry in enumerate(entries if isinstance(entries, list) else ()):
                try:
                    self._aspa(entry)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    what = f"{error} is missing" if isinstance(error, KeyError) else error
                    raise VrpError(f"{self._found.path}: {family}[{number}]: {what}") from error
            yield
        return end

    def _passed_over(self, entry: dict[str, Any]) -> bool:
        wanted = self._wanted
        if wanted.anchors is not None:
            anchor = entry.get("ta")
            if isinstance(anchor, str) and anchor.lower() not in wanted.anchors:
                self._found.other_anchors += 1
                return True
        if wanted.now is not None:
            expires = entry.get("expires")
            if expires is not None and expires <= wanted.now:
                self._found.expired += 1
                return True
        return False

    def _roa(self, entry: Any) -> None:
        if self._passed_over(entry):
            return
        asn = entry["asn"]
        if type(asn) is not int:
            asn = _asn(asn)
        self._found.vrps.add(entry["prefix"], entry.get("maxLength"), asn)

    def _aspa(self, entry: Any) -> None:
        if self._passed_over(entry):
            return
        customer = _asn(entry["customer_asid"] if "customer_asid" in entry else entry["customer"])
        if customer == 0:
            raise ValueError("AS 0 cannot be a customer")
        providers = {_asn(provider) for provider in entry["providers"]}
        if not providers:
            raise ValueError(f"AS{customer} names no providers, not even AS 0")
        providers.update(self._found.aspas.get(customer, ()))
        self._found.aspas[customer] = tuple(sorted(providers))


# --- lines --------------------------------------------------------------------------------------


def _lines(
    found: VrpFile,
    data: bytearray,
    pos: int,
    kind: type[_Csv | _List],
    wanted: _Wanted,
) -> Generator[None, None, None]:
    """Give the lines of a file to a reader of its kind."""
    reader = kind(found, wanted)
    number = 1
    while pos < len(data):
        end = data.rfind(b"\n", pos, pos + WINDOW) + 1
        if not end:
            end = data.index(b"\n", pos) + 1
        try:
            lines = data[pos:end].decode("ascii").splitlines()
        except UnicodeDecodeError as error:
            raise VrpError(f"{found.path}: octet {pos + error.start}: not text in ASCII") from error
        pos = end
        reader.take(lines, number)
        number += len(lines)
        yield


def _line_error(found: VrpFile, number: int, what: object) -> VrpError:
    return VrpError(f"{found.path}: line {number}: {what}")


class _Csv:
    """Comma-separated values, with or without a line of column names."""

    def __init__(self, found: VrpFile, wanted: _Wanted) -> None:
        self._found = found
        self._wanted = wanted
        self._columns: dict[str, int] | None = None
        self._width = 0

    def _head(self, row: list[str], number: int) -> bool:
        """Learn the columns from the first row; returns whether it was their names."""
        names = [COLUMNS.get(cell.strip().lower(), "") for cell in row]
        if "asn" in names and "prefix" in names:
            self._columns = {name: i for i, name in enumerate(names) if name}
            self._width = len(row)
            return True
        if len(row) not in {3, 4} or _ASN.fullmatch(row[0].strip()) is None:
            raise _line_error(
                self._found, number, "neither names of columns nor AS number, prefix, max length"
            )
        self._columns = {"asn": 0, "prefix": 1, "max_length": 2}
        if len(row) == 4:
            self._columns["ta"] = 3
        self._width = len(row)
        return False

    def take(self, lines: list[str], number: int) -> None:
        """Take lines, the first of them with this number in the file."""
        found = self._found
        for at, row in enumerate(csv.reader(lines, skipinitialspace=True), number):
            if not row or row[0].startswith("#"):
                continue
            if self._columns is None and self._head(row, at):
                continue
            columns = self._columns
            if columns is None or len(row) != self._width:
                raise _line_error(found, at, f"{len(row)} columns instead of {self._width}")
            try:
                if self._passed_over(row, columns):
                    continue
                longest = row[columns["max_length"]].strip() if "max_length" in columns else ""
                found.vrps.add(
                    row[columns["prefix"]].strip(),
                    int(longest) if longest else None,
                    _asn(row[columns["asn"]]),
                )
            except (ValueError, OverflowError) as error:
                raise _line_error(found, at, error) from error

    def _passed_over(self, row: list[str], columns: dict[str, int]) -> bool:
        wanted = self._wanted
        if wanted.anchors is not None and "ta" in columns:
            anchor = row[columns["ta"]].strip().lower()
            if anchor and anchor not in wanted.anchors:
                self._found.other_anchors += 1
                return True
        if wanted.now is not None and "expires" in columns:
            expires = row[columns["expires"]].strip()
            if expires and int(expires) <= wanted.now:
                self._found.expired += 1
                return True
        return False


class _List:
    """A line per ROA: a time, an AS number, its prefixes."""

    def __init__(self, found: VrpFile, _wanted: _Wanted) -> None:
        self._found = found

    def take(self, lines: list[str], number: int) -> None:
        """Take lines, the first of them with this number in the file."""
        add = self._found.vrps.add
        for at, line in enumerate(lines, number):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 3:
                raise _line_error(self._found, at, "time, AS number and prefixes are wanted")
            try:
                asn = _asn(words[1])
                for word in words[2:]:
                    prefix, _, longest = word.partition("-")
                    add(prefix, int(longest) if longest else None, asn)
            except (ValueError, OverflowError) as error:
                raise _line_error(self._found, at, error) from error


def rows(file: VrpFile) -> Iterator[tuple[str, int, int]]:
    """Give the VRPs of a file as (prefix, max length, AS number)."""
    return iter(file.vrps)
