"""Extension modules only; every other fact about the project is in pyproject.toml."""

import os
import re
import sys
import zlib
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# RS_BUILD picks one named build; there are no other build switches.
MODE = os.environ.get("RS_BUILD", "release")
CFLAGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-fno-strict-aliasing"]
LDFLAGS: list[str] = []
MACROS: list[tuple[str, str | None]] = []
DIRECTIVES: dict[str, object] = {
    "language_level": 3,
    "auto_pickle": False,  # no __reduce_cython__ on every class
    "autotestdict": False,  # no __test__ in every module
    "embedsignature": True,
    "embedsignature.format": "python",
    "cdivision": True,  # sizes are unsigned; a C division is what is meant
}

if MODE == "release":
    CFLAGS += ["-O3", "-g1"]
elif MODE == "debug":  # for gdb; None checks cannot be had, for they need the GIL
    CFLAGS += ["-O0", "-g3", "-UNDEBUG"]
elif MODE == "trace":  # coverage.py over .pyx
    CFLAGS += ["-O0", "-g1"]
    DIRECTIVES["linetrace"] = True
    MACROS += [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
elif MODE == "asan":
    CFLAGS += ["-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"]
    LDFLAGS += ["-fsanitize=address,undefined"]
else:
    raise SystemExit(f"RS_BUILD={MODE!r}: want release, debug, trace or asan")

FASTPATH = Path("rs/_fastpath")

# The mode of the .so files beside the sources; empty while they may be of two. Compilers look at
# times only, so that without it a change of mode would leave the old objects.
STAMP = Path(".build-mode")
force = not STAMP.exists() or STAMP.read_text().strip() != MODE
if force:
    STAMP.write_text("")


def abi(path: Path, found: dict[str, int] | None = None) -> dict[str, int]:
    """Return checksums of the .pxd files that a module is built from; see stamp.pxd."""
    found = {} if found is None else found
    names = re.findall(r"^\s*from rs\._fastpath\.(\w+) cimport", path.read_text(), re.MULTILINE)
    for name in [path.stem, *names]:
        header = FASTPATH / f"{name}.pxd"
        if name not in found and header.exists():
            found[name] = zlib.crc32(header.read_bytes())
            abi(header, found)
    return found


def stamp(path: Path) -> str:
    """Return the macro RS_ABI: "NAME:CHECKSUM" by spaces, as a C string."""
    return '"' + " ".join(f"{name}:{value:08x}" for name, value in sorted(abi(path).items())) + '"'


setup(
    ext_modules=cythonize(
        [
            Extension(
                ".".join(path.with_suffix("").parts),
                [str(path)],
                define_macros=[*MACROS, ("RS_ABI", stamp(path))],
                extra_compile_args=CFLAGS,
                extra_link_args=LDFLAGS,
            )
            for path in sorted(FASTPATH.glob("*.pyx"))
        ],
        compiler_directives=DIRECTIVES,
        annotate=True,  # rs/_fastpath/*.html, read by tests/test_source.py
        force=force,
        nthreads=os.cpu_count() or 1,
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
if "--inplace" in sys.argv:
    STAMP.write_text(MODE + "\n")
