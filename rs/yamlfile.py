"""YAML files with the place of every value: text in, a tree of `Item` out, or faults in words.

In: the path of a file. Before YAML sees it, a line that consists of `!include FILE` is replaced by
the lines of that file as they are, and `${NAME}` by an environment variable; `key: !include FILE`
takes the other file as a value of its own. Out: mappings, lists and scalars. A scalar stays the
text that was written: what it means is up to whoever knows the key, so that `65500:10` is not a
number in base 60 and `no` not a boolean where a name is wanted.

PyYAML's SafeLoader composes the nodes; nothing is constructed from tags.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_ITEMS = 5_000_000
"""Values of one file, repeated ones counted: an alias of an alias may stand for any number."""
MAX_DEPTH = 60
"""Levels of nesting, and of files that include each other."""
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C where PyYAML was built with it: it is ten times as fast."""
_NULL = "tag:yaml.org,2002:null"
_INCLUDE = re.compile(r"^\s*!include\s+(\S.*?)\s*$")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@attrs.frozen
class Place:
    """Where a value stands."""

    file: Path
    line: int
    keys: tuple[str | int, ...] = ()

    def below(self, key: str | int, line: int | None = None, file: Path | None = None) -> Place:
        """Return the place of a value inside this one."""
        return Place(file or self.file, line or self.line, (*self.keys, key))

    @property
    def key(self) -> str:
        """The path of keys, as `clients[3].asn`."""
        text = ""
        for part in self.keys:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text

    @property
    def short(self) -> str:
        """File and line, for a comment."""
        return f"{self.file.name}:{self.line}"

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.keys else str(self.file)
        return f"{where} (line {self.line})"


@attrs.frozen(eq=False)
class Item:
    """A value: text, None (nothing was written), a mapping or a list."""

    value: str | dict[str, Item] | list[Item] | None
    place: Place


@attrs.define
class _Text:
    """The text of a file with everything it includes, and where each of its lines is from."""

    lines: list[str] = attrs.field(factory=list)
    origins: list[tuple[Path, int]] = attrs.field(factory=list)

    def origin(self, line: int) -> tuple[Path, int] | None:
        """Return file and line of a line, counted from 0; the last one's beyond the end."""
        return self.origins[min(line, len(self.origins) - 1)] if self.origins else None


class YamlFault(ValueError):  # noqa: N818 - a fault of a file, not of the program
    """What is wrong with a file, in words that name it."""


@attrs.define
class YamlReader:
    """Reads files; the faults of all of them are in `faults`, one line each."""

    env: Mapping[str, str]
    faults: list[str] = attrs.field(factory=list)
    files: list[Path] = attrs.field(factory=list)
    """Every file that was read."""
    _count: int = 0

    def read(self, path: Path) -> Item | None:
        """Return what is in a file; None with the reason in `faults` if that cannot be told."""
        self._count = 0
        try:
            return self._read(path, Place(path, 1), 0)
        except YamlFault as fault:
            self.faults.append(str(fault))
            return None

    def _read(self, path: Path, at: Place, depth: int) -> Item:
        text = _Text()
        self._expand(path, text, (), str(at) if depth else "")
        loader = _LOADER("\n".join(text.lines) + "\n")
        try:
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark is not None else 0
            file, number = text.origin(line) or (path, 1)
            words = error.problem or error.context or "cannot be read"
            raise YamlFault(f"{file}: line {number}: not YAML: {words}") from None
        except yaml.YAMLError as error:
            words = str(error).partition("\n")[0]
            raise YamlFault(f"{path}: not YAML: {words}") from None
        except RecursionError:
            raise YamlFault(f"{path}: nested too deeply") from None
        finally:
            loader.dispose()
        if node is None:
            return Item(None, attrs.evolve(at, file=path, line=1))
        return self._item(node, attrs.evolve(at, file=path, line=1), text, depth)

    def _expand(self, path: Path, text: _Text, chain: tuple[Path, ...], asked: str) -> None:
        """Append the lines of a file and of those that it includes."""
        before = f"{asked}: " if asked else ""
        if path in chain:
            raise YamlFault(f"{before}{path} includes itself")
        if len(chain) > MAX_DEPTH:
            raise YamlFault(f"{before}{path}: too many files that include each other")
        try:
            content = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise YamlFault(f"{before}{path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise YamlFault(f"{before}{path}: not UTF-8 text") from None
        self.files.append(path)
        for number, written in enumerate(content.splitlines(), 1):
            line = written
            if not line.lstrip().startswith("#"):
                line = self._expand_variables(line, path, number)
            if found := _INCLUDE.match(line):
                other = path.parent / found[1].strip("\"'")
                self._expand(other, text, (*chain, path), f"{path}: line {number}")
                continue
            text.lines.append(line)
            text.origins.append((path, number))

    def _expand_variables(self, line: str, path: Path, number: int) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name not in self.env:
                self.faults.append(
                    f"{path}: line {number}: ${{{name}}}: no such environment variable; want it set"
                )
                return ""
            return self.env[name]

        return _VARIABLE.sub(value, line)

    def _item(self, node: yaml.Node, at: Place, text: _Text, depth: int) -> Item:
        """Return the tree of a node; `at` has its keys."""
        self._count += 1
        if self._count > MAX_ITEMS:
            raise YamlFault(f"{at}: too many values; want at most {MAX_ITEMS}")
        if depth > MAX_DEPTH:
            raise YamlFault(f"{at}: nested too deeply")
        file, number = text.origin(node.start_mark.line) or (at.file, at.line)
        at = Place(file, number, at.keys)
        if node.tag == "!include" and isinstance(node, yaml.ScalarNode):
            return self._read(file.parent / node.value, at, depth + 1)
        if isinstance(node, yaml.ScalarNode):
            return Item(None if node.tag == _NULL else node.value, at)
        if isinstance(node, yaml.SequenceNode):
            return Item(
                [
                    self._item(one, at.below(index), text, depth + 1)
                    for index, one in enumerate(node.value)
                ],
                at,
            )
        if isinstance(node, yaml.MappingNode):
            return Item(self._mapping(node, at, text, depth), at)
        raise YamlFault(f"{at}: neither a value nor a list nor a mapping")

    def _mapping(
        self, node: yaml.MappingNode, at: Place, text: _Text, depth: int
    ) -> dict[str, Item]:
        own: dict[str, Item] = {}
        merged: dict[str, Item] = {}
        for key, value in node.value:
            file, number = text.origin(key.start_mark.line) or (at.file, at.line)
            if not isinstance(key, yaml.ScalarNode):
                raise YamlFault(f"{file}: {at.key} (line {number}): a key that is no word")
            if key.tag == "tag:yaml.org,2002:merge":
                found = self._item(value, at, text, depth + 1)
                several = found.value if isinstance(found.value, list) else [found]
                for one in several:
                    if not isinstance(one.value, dict):
                        raise YamlFault(f"{one.place}: << wants a mapping")
                    merged = one.value | merged
                continue
            place = at.below(key.value, number, file)
            if key.value in own:
                first = own[key.value].place
                raise YamlFault(f"{place}: is there twice; first in line {first.line}")
            item = self._item(value, place, text, depth + 1)
            # A mapping or list begins below its key; the key is what an operator looks for.
            own[key.value] = Item(item.value, attrs.evolve(item.place, file=file, line=number))
        return merged | own
