"""Writing TOML that people read: tables in the order given, a comment beside each key.

In: tables of values as the configuration takes them. Out: text. Long lists get a line an item.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any

import attrs

_BARE = re.compile(r"[A-Za-z0-9_-]+")
LIST_WIDTH = 70
"""Columns beyond which a list is written item by item."""


@attrs.frozen
class Line:
    """A key with its value and where that is from."""

    key: str
    value: Any
    comment: str = ""
    items: tuple[str, ...] = ()
    """For a list: a comment for each item."""


@attrs.define
class Table:
    """A table, or one of an array of tables."""

    header: str
    """With its brackets, as `[router]`; empty for keys at the top of the file."""
    lines: list[Line] = attrs.field(factory=list)
    comment: str = ""
    below: Table | None = None
    """A table that belongs to this one and stands right behind it."""

    def text(self) -> str:
        """Return the table as TOML."""
        out = [f"# {line}".rstrip() for line in self.comment.splitlines()]
        if self.header:
            out.append(self.header)
        for line in self.lines:
            note = f"  # {one_line(line.comment)}" if line.comment else ""
            whole = toml_value(line.value)
            if isinstance(line.value, (list, tuple)) and (
                len(whole) > LIST_WIDTH or any(line.items)
            ):
                out.append(f"{line.key} = [{note}")
                notes = line.items or ("",) * len(line.value)
                for item, said in zip(line.value, notes, strict=True):
                    beside = f"  # {one_line(said)}" if said else ""
                    out.append(f"  {toml_value(item)},{beside}")
                out.append("]")
            else:
                out.append(f"{line.key} = {whole}{note}")
        return "\n".join(out) + "\n" + (self.below.text() if self.below is not None else "")


def one_line(text: str) -> str:
    """Return text as it may stand in a comment."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def bare_or_quoted(name: str) -> str:
    """Return a name as a part of a key or of a table's header."""
    return name if _BARE.fullmatch(name) else toml_value(name)


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, StrEnum):
        value = value.value
    if isinstance(value, str):
        # JSON escapes all that TOML wants escaped but DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{bare_or_quoted(k)} = {toml_value(v)}" for k, v in value.items())
        return "{ " + inner + " }" if inner else "{}"
    return str(value)
