"""Instructions a route, stage by stage, compared with a stored baseline: a guard without a clock.

In: the extension modules as built, and valgrind. Out: a table, and whether any stage needs more
than 5 % more instructions than bench/instructions.json says. Counts do not depend on what else the
machine does: the same code, compiler and workload give the same figure to about 0.1 %.

A child process under callgrind runs the stages on tables of N and of 2 N prefixes, with
`os.getppid()` before and after each: callgrind is told to write down and clear its counters there.
Instructions a unit are (I(2N) - I(N)) / (units(2N) - units(N)), so that what a stage costs once
does not count. Nothing in the workload is random: prefixes, attributes and the seed of the
attribute table are fixed, and the garbage collector is off.

Another compiler, Cython, Python, C library or kind of CPU gives other counts, and so does another
workload. Where any of these is not the baseline's, figures are only reported.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.tables import RS_ASN, Tables, TableSpec, generate, member_address, member_asn
from rs._fastpath import attrs as compiled
from rs._fastpath.adjout import AdjOut
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.decode import Decoder
from rs._fastpath.encode import Encoder
from rs._fastpath.export import Exporter, View
from rs._fastpath.group import Group
from rs._fastpath.ingest import Ingest
from rs._fastpath.outbox import Outbox
from rs._fastpath.rewrite import Program, Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import purge_step
from rs.communities import make_rules
from rs.communityconfig import Communities
from rs.iana import Family
from rs.peer import PeerKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "instructions.json"
TOLERANCE = 0.05
"""Share by which a stage may differ from its baseline."""
MEMBERS = 100
PREFIXES = 2000
"""N; the second table has twice as many."""
READ = 65536
"""Octets a read."""
SEED = 20
"""Of the attribute table's hash."""
ENVIRONMENT = {
    **{k: os.environ[k] for k in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if k in os.environ},
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    # memcpy for any x86-64, and large blocks apart from the heap.
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable,-AVX2,-AVX512VL,-AVX_Fast_Unaligned_Load:"
    "glibc.malloc.mmap_threshold=65536",
}
"""Of the child: nothing that differs from shell to shell."""
LIMIT_S = 300
"""Time after which the child is given up; it takes about ten seconds."""

BOTH = "export + encode"
"""A stage only for the difference."""

STAGES = {
    "decode": ("route", "UPDATEs parsed, their attribute sets interned"),
    "import": ("route", "Ingest.feed into an empty RIB, decoding included"),
    "import again": ("route", "the same bytes once more: nothing changes"),
    "export": ("prefix", "ranked, walked, compared with what was sent"),
    "encode": ("prefix", "into messages of one group, beyond `export`"),
    "send": ("member x message", "log to writev, every member reads all"),
    "late join": ("prefix", "the table encoded for a joiner"),
    "replace": ("route", "other attributes for all: import, export, encode"),
    "withdraw": ("route", "all members lost: purge, export, encode"),
}


# --- the workload, in the child -------------------------------------------------------------------


class Engine:
    """The fast path put together as the router does it, for one family, without sessions."""

    def __init__(self, *, grouped: bool) -> None:
        attrs, sets = AttrTable(seed=SEED), MemberSets(MEMBERS + 1)
        control = Control(attrs, sets, RS_ASN, 1, 1, make_rules(Communities(), RS_ASN))
        self.rib = Rib(attrs, sets, control)
        self.slots = list(range(1, MEMBERS + 1))
        for slot in self.slots:
            address = ".".join(str(octet) for octet in member_address(slot - 1).to_bytes(4))
            self.rib.add_peer(slot, member_asn(slot - 1), address, PeerKind.RS_CLIENT)
        control.set_peers({member_asn(slot - 1): [slot] for slot in self.slots})
        self.table = self.rib.tables[Family.IPV4_UNICAST]
        rewriter = Rewriter(self.rib)
        self.exporter = Exporter(self.rib, rewriter)
        program = Program(1, PeerKind.RS_CLIENT, RS_ASN)
        view = View(AdjOut(self.rib, Family.IPV4_UNICAST, rewriter, program))
        self.exporter.views[Family.IPV4_UNICAST].append(view)
        self.ingests = [Ingest(self.rib, slot) for slot in self.slots]
        self.group = Group(view.adj, Encoder(attrs, self.table.trie, Family.IPV4_UNICAST))
        if grouped:
            view.groups.append(self.group)

    def feed(self, reads: list[list[bytes]]) -> None:
        for ingest, pieces in zip(self.ingests, reads, strict=True):
            for piece in pieces:
                if ingest.feed(piece) < 0:
                    raise RuntimeError(f"the workload is refused: {ingest.take_events()}")

    def export(self) -> None:
        while self.exporter.step(1000):
            pass

    def walk(self) -> None:
        while self.exporter.walking():
            self.exporter.walk(1000)

    def purge(self) -> None:
        pos = 1
        while pos:
            pos = purge_step(self.table, self.slots, pos, 1000)


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + READ] for at in range(0, len(data), READ)]


def bodies(data: bytes) -> list[bytes]:
    """Cut messages; give them without their headers."""
    out, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at + 16 : at + 18])
        out.append(data[at + 19 : at + length])
        at += length
    return out


def workload(prefixes: int) -> Tables:
    """A server's everyday table: second sources, and routes closed to single members."""
    return generate(TableSpec(MEMBERS, prefixes, overlap=0.3, tagged=0.36))


def checksum(size: int = 200) -> int:
    """Tell tables of one generator from those of another."""
    tables = workload(size)
    data = [tables.updates(m, longer=longer) for longer in (0, 1) for m in range(MEMBERS)]
    return zlib.crc32(b"".join(data))


class Stages:
    """One table through all stages, in their order."""

    def __init__(self, prefixes: int) -> None:
        tables = workload(prefixes)
        data = [tables.updates(m) for m in range(MEMBERS)]
        self.prefixes = prefixes
        self.reads = [pieces(d) for d in data]
        self.longer = [pieces(tables.updates(m, longer=1)) for m in range(MEMBERS)]
        self.updates = [body for d in data for body in bodies(d)]
        self.interned = AttrTable(seed=SEED)
        self.decoder = Decoder(self.interned)
        self.plain = Engine(grouped=False)
        self.full = Engine(grouped=True)
        self.null = os.open(os.devnull, os.O_WRONLY)
        self.outboxes = [Outbox(self.null) for _ in self.full.slots]
        for outbox, slot in zip(self.outboxes, self.full.slots, strict=True):
            outbox.attach(self.full.group.join(slot))
        self.full.walk()
        # All memory has been grown once before anything is counted: whether a block can grow where
        # it is or must be copied depends on its neighbors in the heap, down to the length of PATH.
        for body in self.updates:
            for h in self.decoder.handles(body)[1:]:
                if h:
                    self.interned.drop(h)
        for engine in (self.plain, self.full):
            engine.feed(self.reads)
            engine.export()
            self._send()
            engine.feed(self.longer)
            engine.export()
            engine.purge()
            engine.export()
            self._send()

    def run(self) -> Iterator[tuple[str, int]]:
        """Run every stage between two marks; yield (stage, units)."""
        for name, call, units in self._stages():
            os.getppid()
            call()
            os.getppid()
            yield name, units()
        os.close(self.null)

    def _stages(self) -> Iterator[tuple[str, Callable[[], object], Callable[[], int]]]:
        full, plain = self.full, self.plain
        routes = sum(i.announced for i in plain.ingests) // 2
        yield "import", lambda: plain.feed(self.reads), lambda: routes
        yield "decode", self._decode, lambda: routes
        yield "export", plain.export, lambda: self.prefixes
        yield "import again", lambda: plain.feed(self.reads), lambda: routes
        full.feed(self.reads)
        before = full.group.log.messages
        yield BOTH, full.export, lambda: self.prefixes
        messages = full.group.log.messages - before
        yield "send", self._send, lambda: messages * MEMBERS
        full.group.join(1)
        yield "late join", full.walk, lambda: self.prefixes
        yield "replace", self._replace, lambda: routes
        yield "withdraw", self._withdraw, lambda: routes
        if not messages or full.table.usable or full.rib.attrs.stats()["sets"]:
            raise RuntimeError("the workload does not do what it is for")

    def _decode(self) -> None:
        handles = self.decoder.handles
        for body in self.updates:
            handles(body)

    def _send(self) -> None:
        for outbox in self.outboxes:
            while outbox.pending():
                if outbox.send():
                    raise RuntimeError(f"{os.devnull} cannot be written to")

    def _replace(self) -> None:
        self.full.feed(self.longer)
        self.full.export()

    def _withdraw(self) -> None:
        self.full.purge()
        self.full.export()


def child() -> None:
    """Run both tables; print what was run, for the parent to lay beside callgrind's files."""
    gc.disable()
    ran = [[*row] for size in (PREFIXES, 2 * PREFIXES) for row in Stages(size).run()]
    print(json.dumps(ran))


# --- counting, in the parent ----------------------------------------------------------------------


def count() -> dict[str, float]:
    """Run the child under callgrind; return instructions a unit by stage.

    RuntimeError says why there are none: valgrind is missing, or the child failed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeError("valgrind is not installed (Debian, Ubuntu: apt install valgrind)")
    with tempfile.TemporaryDirectory(prefix="rs-guard-") as name:
        out = Path(name) / "out"
        done = subprocess.run(
            [
                "timeout",
                str(LIMIT_S),
                valgrind,
                "--tool=callgrind",
                "--dump-before=getppid",
                f"--callgrind-out-file={out}",
                sys.executable,
                "-m",
                "bench.instructions",
                "--child",
            ],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 124:
            raise RuntimeError(f"the workload was not done after {LIMIT_S} s under callgrind")
        if done.returncode:
            raise RuntimeError(f"the workload failed under callgrind:\n{done.stderr[-2000:]}")
        ran = json.loads(done.stdout)
        # A file for every mark: what ran up to it since the mark before.
        parts = len(list(Path(name).glob("out.*")))
        if parts != 2 * len(ran):
            raise RuntimeError(f"callgrind saw {parts} marks where {2 * len(ran)} were set")
        totals = [total(Path(f"{out}.{at + 1}")) for at in range(parts)]
    return per_unit(ran, totals[1::2])


def total(file: Path) -> int:
    """Return the instructions that one of callgrind's files adds up to."""
    found = re.search(r"^(?:totals|summary): (\d+)$", file.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{file}: callgrind wrote no total")
    return int(found[1])


def per_unit(ran: list[tuple[str, int]], counts: list[int]) -> dict[str, float]:
    """Return instructions a unit from what two runs of all stages took, the shorter one first."""
    half = len(ran) // 2
    found = {}
    for at, (name, units) in enumerate(ran[:half]):
        found[name] = (counts[half + at] - counts[at]) / (ran[half + at][1] - units)
    found["encode"] = found.pop(BOTH) - found["export"]
    return {name: round(found[name], 1) for name in STAGES}


# --- the baseline ---------------------------------------------------------------------------------


def conditions() -> dict[str, str]:
    """Return everything but our own code that counts depend on, as far as it can be known."""
    binary = Path(compiled.__file__).read_bytes()
    cython = re.search(rb"_cython_(\d+_\d+_\d+\w*)", binary)
    compilers = {c.decode() for c in re.findall(rb"(?:GCC: |clang version )[ -~]+", binary)}
    mode = ROOT / ".build-mode"
    try:
        vector = "avx2" if " avx2 " in Path("/proc/cpuinfo").read_text() else "plain"
    except OSError:
        vector = "unknown"
    return {
        "compiler": ", ".join(sorted(compilers)),
        "cython": cython[1].decode().replace("_", ".") if cython else "unknown",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libc": " ".join(platform.libc_ver()),
        "cpu": f"{platform.machine()} {vector}",
        "build": mode.read_text().strip() if mode.exists() else "release",
        "workload": f"{MEMBERS} x {PREFIXES}, {checksum():08x}",
    }


@dataclass(frozen=True)
class Comparison:
    """Figures beside their baseline, and what follows from that."""

    now: dict[str, float]
    baseline: dict[str, float]
    other: dict[str, tuple[str, str]]
    """What is not as it was when the baseline was made: name -> (then, now)."""

    def change(self, stage: str) -> float | None:
        """Return the difference as a share of the baseline, None for a stage without one."""
        before = self.baseline.get(stage)
        return None if not before else self.now[stage] / before - 1

    def _beyond(self, sign: int) -> list[str]:
        changes = {s: self.change(s) for s in self.now}
        return [s for s, c in changes.items() if c is not None and c * sign > TOLERANCE]

    @property
    def slower(self) -> list[str]:
        """Stages that need too many instructions; none where the baseline does not apply."""
        return [] if self.other else self._beyond(1)

    @property
    def faster(self) -> list[str]:
        """Stages whose baseline should be brought down; none where it does not apply."""
        return [] if self.other else self._beyond(-1)

    @property
    def new(self) -> list[str]:
        """Stages without a baseline."""
        return [s for s in self.now if s not in self.baseline]

    def table(self) -> str:
        """Return a row a stage: now, baseline, difference."""
        rows = [f"{'stage':13} {'instructions':>12} {'baseline':>10} {'change':>8}  a"]
        for stage, value in self.now.items():
            before, change = self.baseline.get(stage), self.change(stage)
            rows.append(
                f"{stage:13} {value:12,.1f} {'-' if before is None else f'{before:,.1f}':>10} "
                f"{'-' if change is None else f'{change:+.1%}':>8}  "
                f"{STAGES[stage][0]}: {STAGES[stage][1]}"
            )
        return "\n".join(rows)

    def verdict(self) -> str:
        """Say in words what the table means."""
        if self.other:
            what = "; ".join(f"{k} was {a}, is {b}" for k, (a, b) in self.other.items())
            return f"Only reported, not compared, for the baseline was made elsewhere: {what}."
        said = []
        if self.slower:
            said.append(
                f"More than {TOLERANCE:.0%} above the baseline: {', '.join(self.slower)}. Find out"
                " why; if it is worth it, say so in the change and run"
                " `python -m bench.instructions --update`."
            )
        if self.faster or self.new:
            said.append(
                f"Better than the baseline, or without one: {', '.join(self.faster + self.new)}."
                " Keep it: `python -m bench.instructions --update`."
            )
        return "\n".join(said) or f"All within {TOLERANCE:.0%} of the baseline."


def compare(now: dict[str, float], present: dict[str, str], file: Path = BASELINE) -> Comparison:
    """Lay figures beside the baseline kept in `file`; without one all stages are new."""
    if not file.exists():
        return Comparison(now, {}, {})
    kept: dict[str, Any] = json.loads(file.read_text())
    then = kept["conditions"]
    other = {
        k: (str(then.get(k)), str(present.get(k)))
        for k in sorted({*then, *present})
        if then.get(k) != present.get(k)
    }
    return Comparison(now, kept["instructions"], other)


@click.command()
@click.option("--update", is_flag=True, help="Make the figures of this run the baseline.")
@click.option("--child", "as_child", is_flag=True, hidden=True)
def main(*, update: bool, as_child: bool) -> None:
    """Count instructions a route by stage; status 1 if a stage needs 5 % more than it did."""
    if as_child:
        child()
        return
    try:
        now, present = count(), conditions()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    result = compare(now, present)
    click.echo(result.table())
    if update:
        kept = {"conditions": present, "instructions": now}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n")
        click.echo(f"Kept in {BASELINE.relative_to(ROOT)}.")
        return
    click.echo(result.verdict())
    sys.exit(1 if result.slower else 0)


if __name__ == "__main__":
    main()
