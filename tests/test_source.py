"""The source itself: lint, types, layers, numbers that stand in two places, and what must not be.

A tool that is missing skips its test, except in CI (see conftest.py); `make test` installs them all.
"""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

import rs
from rs import _fastpath as fastpath
from rs import iana
from rs.peer import PeerKind

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rs"
FASTPATH = PACKAGE / "_fastpath"
MODULES = sorted(PACKAGE.glob("*.py"))
EXTENSIONS = sorted(path.stem for path in FASTPATH.glob("*.pyx"))
SOURCES = sorted([*FASTPATH.glob("*.pyx"), *FASTPATH.glob("*.pxd")])


def run(*command: str) -> None:
    """Run a tool in the repository; its complaints are the failure."""
    # Its neighbors are found as well: cython-lint runs another tool.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(command[0], path=path)
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


# --- tools ----------------------------------------------------------------------------------------


def test_ruff() -> None:
    run("ruff", "check", ".")


def test_format() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.timeout(600)
def test_types() -> None:
    run("mypy")


@pytest.mark.timeout(600)
def test_stubs_are_what_the_extension_modules_hold(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("rs\\._fastpath\\..*\\.__pyx_capi__\n")  # what C callers find
    stubs = [f"rs._fastpath.{path.stem}" for path in sorted(FASTPATH.glob("*.pyi"))]
    run("stubtest", "--allowlist", str(allowed), "--ignore-unused-allowlist", *stubs)


def test_cython_lint() -> None:
    run("cython-lint", "--max-line-length", "100", "--ban-relative-imports", "rs/_fastpath")


# --- layers ---------------------------------------------------------------------------------------

OUTER = {
    *("__main__", "cli", "app", "transport", "sockopts", "api"),
    *("client", "show_cli", "control_cli", "replay", "replay_cli", "demo", "demo_children"),
    *("rtr_client", "kernel"),
}
"""Modules that may have to do with sockets, the event loop, other processes and the clock."""
WORLD = {
    *("asyncio", "uvloop", "uvicorn", "socket", "ssl", "select", "selectors", "http.client"),
    *("time", "threading", "subprocess", "signal", "multiprocessing", "resource"),
}


def imports(tree: ast.AST) -> set[str]:
    """Names of modules imported anywhere but for type checking, in full."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        else:
            found |= imports(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_outer_layer_knows_the_world(path: Path) -> None:
    if path.stem in OUTER:
        return
    names = imports(ast.parse(path.read_text()))
    names |= {name.partition(".")[0] for name in names}
    assert not names & WORLD, "pass `now` or bytes in"
    assert not names & {f"rs.{module}" for module in OUTER}, "an inner module knows no outer one"


def test_the_fast_path_knows_nothing_above_it() -> None:
    for path in SOURCES:
        for module in re.findall(r"^\s*(?:from|import) (rs[\w.]*)", path.read_text(), re.MULTILINE):
            assert module == "rs._fastpath" or module.startswith("rs._fastpath."), path.name


CIMPORTS = """
adjout: arena control decide edits encode orr paths rewrite rib sets terms types
arena:
asnset:
aspa: roa types wire
aspath: asnset wire
attrdict: text types wire
attrs: arena attrdict hashing text types wire
audit: attrs decode filter paths terms text types wire
backlog: decode log rib trie types wire
buckets:
commrules: types wire
control: arena attrs commrules directory sets types wire
decide: paths types
decode: attrs text types validate wire
directory: sets wire
edits: attrs memo pattern types wire
encode: attrs log trie types wire
export: adjout buckets group paths rewrite rib sets
filter: asnset aspa attrs pfxset roa types wire
group: adjout backlog buckets encode log rib sets trie wire
hashing:
hello: types wire
ingest: decode filter paths rib terms types wire
irrload: pfxset wire
judge: types wire
load: hello judge net speakers types wire
log: sets wire
memo:
mrt: types wire
mrtscan: hashing mrt mrttable types wire
mrttable: attrs decode hashing mrt types wire
net:
orr: arena attrs decide paths rib text types
outbox: group types wire
paths:
pattern: types wire
peers: control filter paths sets terms types
pfxset: text wire
play: mrttable recode types wire
recode: attrs decode types wire
rewrite: arena attrs commrules edits paths rib types wire
rib: arena attrs control decide filter memo paths peers sets terms trie types wire
roa: arena text trie types vrplist wire
sets:
speakers: hello judge net types
splice: hello net types wire
stamp:
terms: asnset aspa aspath attrs edits filter memo paths pattern pfxset types wire
text: types wire
trie: arena wire
types:
validate: attrs hashing types wire
vrplist: text types wire
walks: asnset attrs filter paths peers rib trie types wire
wire: types
withheld: adjout attrs commrules control directory paths types wire
"""
"""Who knows whose structs, stamp aside; a line for each module of the fast path."""


def cimports(sources: list[Path]) -> dict[str, set[str]]:
    """Name of a .pyx and .pxd -> names that they cimport from."""
    graph: dict[str, set[str]] = {}
    for path in sources:
        names = re.findall(r"^\s*from rs\._fastpath\.(\w+) cimport", path.read_text(), re.MULTILINE)
        graph.setdefault(path.stem, set()).update(names)
        graph[path.stem] -= {path.stem, "stamp"}
    return graph


def test_the_cimport_graph_is_the_one_agreed_on() -> None:
    """A new edge is a new dependence of one part on another's structs: to be meant, not to happen."""
    graph = cimports(SOURCES)
    lines = [f"{module}: {' '.join(sorted(graph[module]))}".strip() for module in sorted(graph)]
    assert lines == CIMPORTS.strip().splitlines()


def free_of_cycles(graph: dict[str, set[str]]) -> bool:
    left = graph
    while left:
        free = {module for module, names in left.items() if not names & left.keys()}
        if not free:
            return False
        left = {module: names for module, names in left.items() if module not in free}
    return True


def test_the_cimport_graph_has_no_cycle() -> None:
    """Neither among the .pxd files, nor among the modules as they import each other at run time."""
    assert not free_of_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})
    assert free_of_cycles(cimports([path for path in SOURCES if path.suffix == ".pxd"]))
    modules = cimports([path for path in SOURCES if path.stem in EXTENSIONS])
    assert free_of_cycles({name: names & {*EXTENSIONS} for name, names in modules.items()})


# --- extension modules ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXTENSIONS)
def test_every_extension_module_says_what_it_was_built_from(name: str) -> None:
    module = importlib.import_module(f"rs._fastpath.{name}")
    assert find_spec(module.__name__) is not None
    assert re.search(
        r"^check_abi\(__name__\)$", (FASTPATH / f"{name}.pyx").read_text(), re.MULTILINE
    )
    header = FASTPATH / f"{name}.pxd"
    if header.exists():
        assert name in fastpath._built_from


def test_modules_built_from_different_headers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastpath, "_built_from", {})
    fastpath.agree("rs._fastpath.rib", "rib:00000001 types:00000002")
    fastpath.agree("rs._fastpath.trie", "trie:00000003 types:00000002")
    with pytest.raises(
        ImportError, match=r"encode and rs\._fastpath\.rib .* types\.pxd.*make build"
    ):
        fastpath.agree("rs._fastpath.encode", "types:00000004")


def test_a_tree_that_is_not_built_says_so(tmp_path: Path) -> None:
    package = tmp_path / "rs" / "_fastpath"
    package.mkdir(parents=True)
    for name in ("__init__.py", "_fastpath/__init__.py"):
        (tmp_path / "rs" / name).write_text((PACKAGE / name).read_text())
    done = subprocess.run(
        [sys.executable, "-c", "import rs._fastpath.rib"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "are not built for this Python (make build, or pip install .)" in done.stderr


CALLBACKS = {"on_release", "drop_forms_of"}
"""Called from C with the GIL to take: they catch what they raise."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_noexcept_stands_with_nogil(path: Path) -> None:
    """An error raised in a function that is noexcept is printed and lost; without the GIL none is."""
    joined = re.sub(r",\n\s+", ", ", path.read_text())
    for line in joined.splitlines():
        if re.search(r"\bnoexcept\b", line.partition("#")[0]) and "nogil" not in line:
            name = re.search(r"(\w+)\(", line)
            assert name is not None, line
            assert name[1] in CALLBACKS, line


HOT = """
adjout: store
attrs: lookup
buckets: add
decode: decode_update
encode: announce
ingest: _withdraw
log: commit gather consume
rib: update withdraw rank
trie: insert find
"""
"""Functions that run per route or per prefix: no line of them may call Python."""


def body(lines: list[str], function: str) -> range:
    """Line numbers of a function's body, from 1."""
    for at, line in enumerate(lines):
        if re.match(rf"\s*(?:c?p?def) [^(]*\b{function}\(", line):
            depth = len(line) - len(line.lstrip())
            end = at + 1
            while end < len(lines) and (
                not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > depth
            ):
                end += 1
            start = at + 1
            while not lines[start - 1].rstrip().endswith(":"):
                start += 1
            return range(start + 1, end + 1)
    raise AssertionError(f"no function {function}")


@pytest.mark.parametrize("line", HOT.strip().splitlines(), ids=lambda line: line.partition(":")[0])
def test_hot_functions_do_not_call_python(line: str) -> None:
    """By Cython's annotation: a line without calls of the C-API has score 0."""
    name, _, functions = line.partition(": ")
    page = FASTPATH / f"{name}.html"
    if not page.exists():
        pytest.skip(f"{page.name} is not there: built without annotation")
    pattern = r'<pre class="cython line score-(\d+)".*?<span class="">0*(\d+)</span>'
    scores = {int(at): int(score) for score, at in re.findall(pattern, page.read_text())}
    lines = (FASTPATH / f"{name}.pyx").read_text().splitlines()
    slow = [
        f"{name}.pyx:{at}: {lines[at - 1].strip()}"
        for function in functions.split()
        for at in body(lines, function)
        if scores.get(at) and not re.match(r"\s*(?:raise|with gil|def |cdef )", lines[at - 1])
    ]
    assert not slow, "\n".join(slow)


# --- numbers --------------------------------------------------------------------------------------

OTHER_NAMES = {
    "ATTR_MED": "MULTI_EXIT_DISC",
    "ATTR_MP_REACH": "MP_REACH_NLRI",
    "ATTR_MP_UNREACH": "MP_UNREACH_NLRI",
    "ATTR_EXT_COMMUNITIES": "EXTENDED_COMMUNITIES",
    "ATTR_OTC": "ONLY_TO_CUSTOMER",
    "AFLAG_EXT_LEN": "EXTENDED_LENGTH",
    "FAM_IPV4": "IPV4_UNICAST",
    "FAM_IPV6": "IPV6_UNICAST",
    "SEG_SET": "AS_SET",
    "SEG_SEQUENCE": "AS_SEQUENCE",
    "SEG_CONFED_SEQUENCE": "AS_CONFED_SEQUENCE",
    "SEG_CONFED_SET": "AS_CONFED_SET",
}
"""Names that are shorter in C than in the registry."""
REGISTRIES = {
    "types.pxd": {
        "FAM_": iana.Family,
        "MSG_": iana.MessageType,
        "ATTR_": iana.AttrType,
        "AFLAG_": iana.AttrFlag,
        "SEG_": iana.SegmentType,
    },
    "decide.pxd": {"DECIDED_": iana.Decided},
    "paths.pxd": {"PEER_": PeerKind},
    "rib.pyx": {"REASON_": iana.RejectReason},
    "filter.pxd": {"FILTER_": iana.RejectReason, "REASON_": iana.RejectReason},
    "terms.pxd": {"POLICY_": iana.RejectReason},
    "control.pyx": {"NO_": iana.WellKnownCommunity},
}
KEEP_PREFIX = {"NO_", "FILTER_", "POLICY_"}
INTERNAL = {"FAM_NONE"}


def constants(path: Path) -> dict[str, int]:
    """Constants of the C enums in a file that are plain numbers."""
    found = re.findall(
        r"^ +([A-Z][A-Z0-9_]*) = (0x[0-9A-Fa-f]+|\d+)\b(?! *<<)", path.read_text(), re.MULTILINE
    )
    return {name: int(value, 0) for name, value in found}


@pytest.mark.parametrize("name", REGISTRIES)
def test_numbers_of_the_fast_path_are_those_of_iana(name: str) -> None:
    here = constants(FASTPATH / name)
    for prefix, registry in REGISTRIES[name].items():
        mine = {n: v for n, v in here.items() if n.startswith(prefix) and n not in INTERNAL}
        assert mine, f"{name} has no {prefix}*"
        for constant, value in mine.items():
            plain = constant if prefix in KEEP_PREFIX else constant.removeprefix(prefix)
            assert registry[OTHER_NAMES.get(constant, plain)] == value, constant


def test_sizes_of_the_fast_path_are_those_of_iana() -> None:
    here = constants(FASTPATH / "types.pxd")
    assert here["AS_TRANS"] == iana.AS_TRANS
    assert here["HEADER_LEN"] == iana.HEADER_LEN
    assert here["MAX_MSG"] == iana.MAX_MESSAGE_LEN
    assert here["MAX_EXT_MSG"] == iana.MAX_EXTENDED_MESSAGE_LEN
    assert here["N_FAMILIES"] == len(iana.Family)


def test_every_attribute_of_the_registry_is_known_to_the_fast_path() -> None:
    here = {v for n, v in constants(FASTPATH / "types.pxd").items() if n.startswith("ATTR_")}
    assert here == set(iana.AttrType)


# --- the repository -------------------------------------------------------------------------------


def tracked() -> list[Path]:
    """Text files of the repository; all files where there is no git."""
    skip = {".git", ".venv", "build", "dist", "__pycache__"}
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0 and done.stdout:
        names = [ROOT / name for name in done.stdout.split("\0") if name]
    else:
        names = [p for p in ROOT.rglob("*") if p.is_file() and not skip & {*p.parts}]
    binary = {".so", ".gz", ".bz2", ".xz", ".png", ".pyc", ".html", ".c"}
    return [path for path in names if path.exists() and path.suffix not in binary]


def test_no_path_of_somebodys_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|Users|mnt)/\w")
    for path in tracked():
        if path != Path(__file__).resolve():
            hit = pattern.search(path.read_text(errors="replace"))
            assert hit is None, f"{path.relative_to(ROOT)}: {hit and hit[0]}"


def test_nothing_is_left_to_be_done() -> None:
    pattern = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
    for path in tracked():
        if path != Path(__file__).resolve() and path.name != "LICENSE":
            assert not pattern.search(path.read_text(errors="replace")), path.relative_to(ROOT)


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version() -> None:
    assert project()["version"] == rs.__version__
    assert f"## [{rs.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_dependencies_are_what_is_imported() -> None:
    declared = {re.split(r"[^\w-]", entry)[0] for entry in project()["dependencies"]}
    used: set[str] = set()
    for path in MODULES:
        used |= {name.partition(".")[0] for name in imports(ast.parse(path.read_text()))}
    used -= {"rs", "", "compression", *sys.stdlib_module_names}
    named = {"attr": "attrs", "yaml": "PyYAML"}
    assert {named.get(name, name) for name in used} | {"httptools"} == declared


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"]
)
def test_links_of_a_document_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_test_names_are_unique_within_a_file() -> None:
    """A second function of the same name would replace the first, which would never run."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        names = Counter(
            n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
        )
        assert not [name for name, count in names.items() if count > 1], path.name
