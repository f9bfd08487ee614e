"""What the loader knows of a configuration key, beside its value.

In: attributes of the model's classes, made with `key` in their metadata. Out: the keys of a table
by their names in the file. The model is in rs/config.py and rs/filterconfig.py.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rs.configvalues import Kind


class Effect(IntEnum):
    """What a changed key asks of a running session; the highest of several counts."""

    INSTANT = 0
    """Used at once; the session stays as it is."""
    NEXT_SESSION = 1
    """Said in the OPEN or set on the socket, but not worth a reset: used by the next session."""
    REEVALUATE = 2
    """Paths are judged or sent again in place; the session stays up."""
    RESET = 3
    """The session ends and starts again."""


@attrs.frozen
class Key:
    """What the loader knows of a key; kept in the metadata of the model's attributes."""

    kind: Kind
    effect: Effect
    default: str
    """The default in the words of the documentation."""
    name: str | None = None
    """Name in the file, where the attribute has another."""


def key(kind: Kind, effect: Effect, default: str, name: str | None = None) -> dict[str, Key]:
    """Return the metadata of an attribute that is a key of the file."""
    return {"key": Key(kind, effect, default, name)}


@cache
def keys_of(model: type) -> Mapping[str, tuple[str, Key]]:
    """Return the keys of a section: name in the file -> (attribute of the model, key)."""
    found: dict[str, tuple[str, Key]] = {}
    for field in attrs.fields(model):
        if "key" in field.metadata:
            known: Key = field.metadata["key"]
            found[known.name or field.name] = (field.name, known)
    return found
