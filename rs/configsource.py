"""Files of a configuration before values are understood: tables, places, faults by place.

In: TOML text. Out: its tables (tomllib), the line of each key in it, and faults in words, each with
file, key and line, in the order in which the operator finds them. Faults are collected, not raised:
whoever reads a configuration gets all of them at once.

Line numbers come from a plain scan of the text that runs only when there is something to report.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

Where = tuple[str | int, ...]
"""The path of a key: names, and indexes in arrays."""


def spell(where: Where) -> str:
    """Return a path of keys and indexes as `neighbors[3].asn`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@attrs.define
class Source:
    """One file: its name for messages, its text and its tables."""

    path: Path
    text: str
    data: dict[str, Any]
    """Top-level tables and keys; those of the wrong shape are taken out by configfile."""
    has_router: bool = attrs.field(
        default=attrs.Factory(lambda self: "router" in self.data, takes_self=True)
    )
    _lines: dict[Where, int] | None = None

    def line(self, where: Where) -> int | None:
        """Return the line of a key, else of the table it is (or should be) in."""
        if self._lines is None:
            self._lines = _scan_lines(self.text)
        while where:
            if where in self._lines:
                return self._lines[where]
            where = where[:-1]
        return None

    def at(self, where: Where) -> str:
        """Return file, key and line in words."""
        line = self.line(where)
        return f"{self.path}: {spell(where)}" + (f" (line {line})" if line else "")


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\s\"']+?)\s*\]")
_PART = re.compile(r"\"[^\"]*\"|'[^']*'|[^.\s]+")
_ASSIGNED = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*[=.]")


def _scan_lines(text: str) -> dict[Where, int]:
    """Return the lines of tables and keys, by a scan that knows no more of TOML than it must."""
    lines: dict[Where, int] = {}
    counts: dict[Where, int] = {}
    table: Where = ()
    quote = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not quote:
            if header := _HEADER.match(line):
                table = ()
                for part in _PART.findall(header[2]):
                    # The last one of an array of tables is the one that a key below it is in.
                    table = (*table, counts[table]) if table in counts else table
                    table = (*table, part.strip("\"'"))
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    lines.setdefault(table, number)
                    table = (*table, counts[table])
                elif table in counts:
                    table = (*table, counts[table])
                lines.setdefault(table, number)
            elif assigned := _ASSIGNED.match(line):
                lines.setdefault((*table, assigned[1].strip("\"'")), number)
        for mark in re.findall(r'"""|\'\'\'', line):
            quote = mark if not quote else "" if mark == quote else quote
    return lines


@attrs.define
class Faults:
    """What has been found so far."""

    found: list[tuple[int, int, str]] = attrs.field(factory=list)
    """(number of the file, line, words)."""
    warnings: list[str] = attrs.field(factory=list)
    paths: list[Path] = attrs.field(factory=list)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def problems(self) -> list[str]:
        """What was found, file by file and from top to bottom."""
        return [words for _, _, words in sorted(self.found, key=lambda fault: fault[:2])]

    def _number(self, path: Path) -> int:
        if path not in self.paths:
            self.paths.append(path)
        return self.paths.index(path)

    def add(self, source: Source, where: Where, words: str) -> None:
        """Note a fault of a key."""
        place = self._number(source.path), source.line(where) or 0
        self.found.append((*place, f"{source.at(where)}: {words}"))

    def add_file(self, path: Path, words: str) -> None:
        """Note a fault of a whole file."""
        self.found.append((self._number(path), 0, f"{path}: {words}"))

    def warn(self, source: Source, where: Where, words: str) -> None:
        """Note what is allowed and probably not meant."""
        self.warnings.append(f"{source.at(where)}: {words}")


def reason_of(error: OSError) -> str:
    """Return in words why a file cannot be read."""
    return {
        "FileNotFoundError": "no such file",
        "IsADirectoryError": "is a directory; want a file",
        "PermissionError": "may not be read by this user",
    }.get(type(error).__name__, error.strerror or str(error))


_POSITION = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)


def read_octets(path: Path) -> bytes | str:
    """Return what is in a file, or in words why that cannot be had."""
    try:
        return path.read_bytes()
    except OSError as error:
        return reason_of(error)


def read_tables(path: Path, raw: bytes, faults: Faults) -> Source | None:
    """Return a file's tables, or None with the reason noted."""
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        faults.add_file(path, f"line {line}: not UTF-8 text (octet 0x{raw[error.start]:02x})")
        return None
    try:
        return Source(path, text, tomllib.loads(text))
    except ValueError as error:  # TOMLDecodeError, and int() for a number of thousands of digits
        words = f"not TOML: {error}"
        if found := _POSITION.match(str(error)):
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
            line, column = int(found[2] or line), int(found[3] or column)
            words = f"line {line}, column {column}: not TOML: {found[1]}"
        faults.add_file(path, words)
    except RecursionError:
        faults.add_file(path, "not usable: lists or tables nested too deeply")
    return None
