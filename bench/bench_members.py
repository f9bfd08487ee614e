"""A large exchange's members with IRR lists of their own: how long until the router could start.

In: an IX-F export of member sessions in the form of ARouteServer's clients.yml, such as
ixp-members.ams-ix.2017.yml (898 IPv4 and 762 IPv6 sessions), named by RS_MEMBERS or on the command
line. Out: seconds for reading TOML, loading sets, making the router; entries and
octets. The lists are made from a seed: as long as such lists are, some very long, 3.2 million
entries in all unless told otherwise.

    python -m bench.bench_members MEMBERS.yml [--entries 3200000] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from rs.configfile import load_config
from rs.irr import Sets, load_steps
from rs.router import Router

ENTRIES = 3_200_000
HEAD = """\
include = ["members.toml"]

[router]
asn = 4200000000
router_id = "10.0.0.1"
listen = ["10.0.0.1:1790", "[fd00::1]:1790"]

[filters]
preset = "arouteserver"
transit_free_asns = false
"""
_FIELD = re.compile(r"^(- |  +)(asn|ip|limit_ipv[46]): (\S+)$")
_AS_SET = re.compile(r"^ +- (AS\S*)$")


@dataclass
class Member:
    """One session."""

    asn: int = 0
    ip: str = ""
    as_set: str = ""
    limit_ipv4: int = 0
    limit_ipv6: int = 0


def read_members(path: Path) -> list[Member]:
    """Return the sessions of a file; of YAML it knows no more than this file needs."""
    members: list[Member] = []
    for line in path.read_text().splitlines():
        if line.startswith("- "):
            members.append(Member())
        if found := _FIELD.match(line):
            value = found[3].strip("'\"")
            setattr(members[-1], found[2], value if found[2] == "ip" else int(value))
        elif (found := _AS_SET.match(line)) and not members[-1].as_set:
            members[-1].as_set = re.sub(r"[^A-Za-z0-9_.:@-]", "_", found[1])
    return members


def write(folder: Path, members: list[Member], entries: int, seed: int = 1) -> None:
    """Write a configuration with a prefix list and an AS list for each AS-SET and family."""
    rng = random.Random(seed)
    names = sorted({m.as_set or f"AS{m.asn}" for m in members})
    # A few have hundreds of thousands of entries, most have a handful.
    weights = [rng.paretovariate(0.7) for _ in names]
    heavy = sorted(weights)[-8]
    weights = [min(weight, heavy) for weight in weights]
    scale = entries / sum(weights)
    out = []
    for name, weight in zip(names, weights, strict=True):
        n = max(2, round(weight * scale))
        n6 = n // 5
        for version, count in (("4", n - n6), ("6", n6 or 1)):
            items = ",\n".join(_item(rng, version) for _ in range(count))
            (folder / f"{name}.{version}.json").write_text(f'{{ "NN": [\n{items}\n] }}\n')
            out.append(f'[prefix_sets."{name}.{version}"]\nfiles = ["{name}.{version}.json"]\n')
        asns = {m.asn for m in members if (m.as_set or f"AS{m.asn}") == name}
        asns |= {rng.randrange(1, 400_000) for _ in range(max(1, n // 25))}
        (folder / f"{name}.asns").write_text(f'{{"NN": [\n  {",".join(map(str, asns))}\n]}}\n')
        out.append(f'[as_sets."{name}"]\nfiles = ["{name}.asns"]\n')
    for member in members:
        name, version = member.as_set or f"AS{member.asn}", "6" if ":" in member.ip else "4"
        out.append(
            f'[[neighbors]]\naddress = "{member.ip}"\nasn = {member.asn}\n[neighbors.filters]\n'
            f'irr_prefixes = "{name}.{version}"\nirr_origins = "{name}"\n'
            f"max_prefix_ipv4 = {member.limit_ipv4}\nmax_prefix_ipv6 = {member.limit_ipv6}\n"
        )
    (folder / "rs.toml").write_text(HEAD)
    (folder / "members.toml").write_text("\n".join(out))


def _item(rng: random.Random, version: str) -> str:
    if version == "4":
        plen = rng.choice((16, 19, 20, 21, 22, 22, 23, 24, 24, 24, 24))
        prefix = f"{IPv4Address(rng.randrange(0x01000000, 0xDF000000) >> 32 - plen << 32 - plen)}"
    else:
        plen = rng.choice((32, 32, 40, 44, 48, 48, 48))
        value = (0x2 << 124 | rng.getrandbits(124)) >> 128 - plen << 128 - plen
        prefix = str(IPv6Address(value))
    return f'    {{ "prefix": "{prefix}/{plen}", "exact": true }}'


def measure(folder: Path) -> dict[str, float]:
    """Load what `write` has written."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    at = time.perf_counter(), time.process_time()
    config = load_config(folder / "rs.toml")
    read = time.perf_counter()
    sets, longest, last = Sets(), 0.0, time.perf_counter()
    for _ in load_steps(config, sets):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    if sets.faults:
        raise SystemExit("\n".join(sets.faults))
    loaded = time.perf_counter()
    router = Router(config, clock=time.monotonic, sets=sets)
    done = time.perf_counter(), time.process_time()
    held = sum(one.stats()["bytes"] for one in sets.prefixes.values())
    return {
        "neighbors": len(router.peers),
        "prefix_entries": sum(map(len, sets.prefixes.values())),
        "as_entries": sum(map(len, sets.asns.values())),
        "toml_s": round(read - at[0], 3),
        "sets_s": round(loaded - read, 3),
        "sets_longest_step_ms": round(longest * 1e3, 1),
        "router_s": round(done[0] - loaded, 3),
        "total_s": round(done[0] - at[0], 3),
        "cpu_s": round(done[1] - at[1], 3),
        "prefix_sets_mib": round(held / 2**20, 1),
        "peak_growth_mib": round(
            (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1
        ),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("members", nargs="?", default=os.environ.get("RS_MEMBERS"), type=Path)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.members is None or not given.members.exists():
        sys.exit(f"{given.members}: no such file; name one, or set RS_MEMBERS")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own, so that the lists in memory do not count.
        if os.fork() == 0:
            write(folder, read_members(given.members), given.entries)
            os._exit(0)
        os.wait()
        found = measure(folder)
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:<22} {value}")


if __name__ == "__main__":
    main()
