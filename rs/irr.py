"""Named sets of prefixes and AS numbers out of their files, shared by all neighbors that name them.

In: [prefix_sets] and [as_sets] of a configuration, and what was loaded before. Out: one PrefixSet
or AsnSet per name, faults in words, and which names have other contents than before. Reading goes
in steps of about a millisecond, so that the daemon can do it beside its work. RFC 7454 6.

A file that has not changed is not read again. One that cannot be read, is cut off, or is empty
without that being asked for, is a fault: at the start there is nothing to do but to say so, later
the last good contents stay in use.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from attrs import define, field

from rs._fastpath.asnset import AsnSet
from rs._fastpath.irrload import PrefixReader
from rs._fastpath.pfxset import PrefixSet
from rs.configvalues import ASN_RANGE, BadValue
from rs.errors import ConfigError
from rs.filestamp import file_stamp
from rs.filterconfig import Empty

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from rs.config import Config
    from rs.filterconfig import AsSetFiles, PrefixSetFiles

STEP = 4000
"""Entries read between two chances to do something else; about a millisecond."""
BLOCK = 1 << 20
"""Octets read from a file in between."""
ASN_STEP = 2000

_BRACKETS = re.compile(r"\A\s*(?:\S+\s*=\s*)?\[(.*)\]\s*;?\s*\Z", re.DOTALL)


@define
class _Loaded:
    """A set in use, and what it was made of."""

    config: PrefixSetFiles | AsSetFiles
    stats: tuple[tuple[int, ...], ...]
    """Of each file: what changes with its contents, as the file system tells it."""
    digest: bytes
    """Of everything that it was made of."""
    content: PrefixSet | AsnSet


@define
class Sets:
    """The named sets of a configuration."""

    prefixes: dict[str, PrefixSet] = field(factory=dict)
    asns: dict[str, AsnSet] = field(factory=dict)
    faults: list[str] = field(factory=list)
    """Why a set could not be loaded; its last good contents are in use, if there are any."""
    changed: set[tuple[str, str]] = field(factory=set)
    """(table, name) of sets with other contents than before, new ones included."""
    _loaded: dict[tuple[str, str], _Loaded] = field(factory=dict)

    @property
    def entries(self) -> int:
        """Entries of all sets."""
        return sum(map(len, self.prefixes.values())) + sum(map(len, self.asns.values()))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def parse_asns(data: bytes) -> Iterator[list[tuple[int, int]]]:
    """Yield batches of AS numbers, as ranges, out of a file of them.

    Forms: JSON as `bgpq4 -t -j` writes it, an object of lists or one list; `NAME = [ 1, 2 ];` as
    `bgpq4 -t -b`; or lines with a number or range each, with `AS` before or not, and comments after
    `#`. ValueError for anything else, and for a file that is cut off; it names the line where the
    form has lines.
    """
    text = data.decode("utf-8-sig")
    words: list[object]
    where: list[int] = []
    if text.lstrip().startswith(("{", "[")):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno}: not JSON, or cut off: {error.msg}") from None
        lists = list(found.values()) if isinstance(found, dict) else [found]
        if not all(isinstance(one, list) for one in lists):
            raise ValueError("want lists of AS numbers")
        words = [item for one in lists for item in one]
    elif bracketed := _BRACKETS.match(text):
        words = [word for word in re.split(r"[\s,]+", bracketed[1]) if word]
    else:
        if text and not text.endswith("\n"):
            raise ValueError("the last line has no end: the file is cut off")
        lines = (line.partition("#")[0].strip() for line in text.split("\n"))
        numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
        where = [number for number, _ in numbered]
        words = [line for _, line in numbered]
    for at in range(0, len(words), ASN_STEP):
        batch = []
        for index, word in enumerate(words[at : at + ASN_STEP], at):
            try:
                batch.append(_asns(word))
            except ValueError as error:
                raise ValueError(f"line {where[index]}: {error}" if where else str(error)) from None
        yield batch


def _asns(word: object) -> tuple[int, int]:
    if isinstance(word, str):
        word = re.sub(r"(?i)\bas(?=\d)", "", word)
        if word.isdigit() and len(word) <= 10:
            word = int(word)
    if isinstance(word, int) and not isinstance(word, bool) and 0 < word <= 0xFFFFFFFF:
        return word, word
    try:
        found: tuple[int, int] = ASN_RANGE.parse(word)
    except BadValue as bad:
        raise ValueError(str(bad)) from None
    return found


def _prefix_steps(
    config: PrefixSetFiles, blobs: list[tuple[Path, bytes]], into: PrefixSet
) -> Iterator[None]:
    for prefix, low, high in config.prefixes:
        into.add(prefix, low, high)
    for path, data in blobs:
        reader = PrefixReader(data, into)
        try:
            while not reader.step(STEP):
                yield
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    into.fit()


def _asn_steps(
    config: AsSetFiles, blobs: list[tuple[Path, bytes]], into: list[tuple[int, int]]
) -> Iterator[None]:
    into.extend(config.asns)
    for path, data in blobs:
        try:
            for batch in parse_asns(data):
                into.extend(batch)
                yield
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def load_steps(config: Config, into: Sets, before: Sets | None = None) -> Iterator[None]:
    """Load the sets of a configuration into an empty `Sets`; `before` is what is in use.

    Faults are left in `into.faults`; without anything good from before the set is then missing.
    """
    named: dict[tuple[str, str], PrefixSetFiles | AsSetFiles] = {}
    named |= {("prefix_sets", name): one for name, one in config.prefix_sets.items()}
    named |= {("as_sets", name): one for name, one in config.as_sets.items()}
    for key, one in named.items():
        known = None if before is None else before._loaded.get(key)  # noqa: SLF001
        found: _Loaded | None
        try:
            found = yield from _load(key[0], one, known)
        except (ValueError, OSError) as error:
            words = f"{key[0]}.{key[1]}: {error}"
            if isinstance(error, OSError):
                words = f"{key[0]}.{key[1]}: {error.filename}: {error.strerror}"
            into.faults.append(words)
            found = known
        if found is None:
            continue
        into._loaded[key] = found  # noqa: SLF001
        if known is None or found.content is not known.content:
            into.changed.add(key)
        if isinstance(found.content, PrefixSet):
            into.prefixes[key[1]] = found.content
        else:
            into.asns[key[1]] = found.content
        yield


def _load(
    table: str, config: PrefixSetFiles | AsSetFiles, known: _Loaded | None
) -> Generator[None, None, _Loaded]:
    """Return (as a generator does) a set as it is now; `known` if nothing has changed."""
    stats = tuple(map(file_stamp, config.files))
    same = known is not None and known.config == config
    if known is not None and same and known.stats == stats and all(stats):
        return known
    digest = hashlib.blake2b()
    blobs: list[tuple[Path, bytes]] = []
    for path in config.files:
        parts = []
        for block in _read(path):
            digest.update(block)
            parts.append(block)
            yield
        digest.update(b"\0")
        blobs.append((path, b"".join(parts)))
    if known is not None and same and known.digest == digest.digest():
        return _Loaded(config, stats, known.digest, known.content)
    content: PrefixSet | AsnSet
    if table == "prefix_sets":
        content = PrefixSet()
        yield from _prefix_steps(config, blobs, content)  # type: ignore[arg-type]
    else:
        ranges: list[tuple[int, int]] = []
        yield from _asn_steps(config, blobs, ranges)  # type: ignore[arg-type]
        content = AsnSet(
            [first for first, last in ranges if first == last],
            sorted({pair for pair in ranges if pair[0] != pair[1]}),
        )
    if not len(content) and config.empty is Empty.KEEP:
        files = ", ".join(map(str, config.files)) or "the list"
        raise ValueError(f'{files}: empty; want entries, or empty = "reject" to refuse everything')
    return _Loaded(config, stats, digest.digest(), content)


def load_sets(config: Config, before: Sets | None = None) -> Sets:
    """Load the sets of a configuration in one go; ConfigError if one has no contents at all."""
    found = Sets()
    for _ in load_steps(config, found, before):
        pass
    require(config, found)
    return found


def require(config: Config, sets: Sets) -> None:
    """Raise ConfigError with the faults of sets that have no contents, not even from before."""
    wanted = [("prefix_sets", name) for name in config.prefix_sets]
    wanted += [("as_sets", name) for name in config.as_sets]
    missing = [key for key in wanted if key not in sets._loaded]  # noqa: SLF001
    if missing:
        heads = tuple(f"{table}.{name}: " for table, name in missing)
        raise ConfigError([f"{config.path}: {f}" for f in sets.faults if f.startswith(heads)])
