"""The compiled engine: everything that runs per route, per prefix or per member and prefix.

In: nothing at import but the modules asked for. Each of them calls `agree` when it is imported, so
that modules which share structs by their .pxd files were all built from the same ones.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_built_from: dict[str, tuple[str, str]] = {}
"""Name of a .pxd file -> (its checksum, the first module that was built from it)."""


def agree(module: str, abi: str) -> None:
    """Take note of what a module was built from: "NAME:CHECKSUM" by spaces.

    ImportError if a module before it was built from something else.
    """
    for item in abi.split():
        name, _, checksum = item.partition(":")
        known, first = _built_from.setdefault(name, (checksum, module))
        if known != checksum:
            raise ImportError(
                f"{module} and {first} were built from different versions of {name}.pxd: "
                f"build everything again (make build, or pip install .)",
                name=module,
            )


if not any(Path(__path__[0]).glob(f"*{EXTENSION_SUFFIXES[0]}")):
    raise ImportError(
        f"the extension modules in {__path__[0]} are not built for this Python "
        f"(make build, or pip install .)",
        name=__name__,
    )
