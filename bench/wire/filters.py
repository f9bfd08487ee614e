"""All import filters of rs for a synthetic exchange, so that their cost shows in a scenario.

In: the tables that members will bring, a folder. Out: files in the folder, and lines of
configuration: every rule is on, each member is held to lists of its own prefixes and origins, and
VRPs cover half of the prefixes; and communities too, if asked for. Nothing is refused, so that what
members are due stays the same and only the work differs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bench.tables import Tables

RULES = """\
[filters]
next_hop = "strict"
max_as_path_length = 32
bogon_asns = true
transit_free_asns = true
never_via_route_server_asns = [64000, 64001, 64002]
max_communities = 100
ipv6_global_unicast_only = true
black_list = ["10.1.0.0/16 le 32"]
bogon_prefixes = true
irr_enforce_origin = true
irr_enforce_prefix = true
rpki = "reject"
roas_as_route_objects = true
prefix_length_ipv4 = [8, 24]
prefix_length_ipv6 = [12, 48]
max_prefix_ipv4 = 1000000
max_prefix_ipv6 = 1000000
[rpki]
files = ["vrps.json"]
"""
COMMUNITIES = """\
[communities]
preset = "euro-ix"
"""
"""Members steer by communities, and are told by others what was found out of each route."""


@dataclass
class Filters:
    """The lists of an exchange's members."""

    tables: Tables
    communities: bool = False

    def shared(self, folder: Path) -> list[str]:
        """Write the VRPs, and the rules for everybody."""
        vrps = []
        for member in range(self.tables.spec.members):
            for block, offer in self.tables.offers(member):
                if block.first % 2:
                    continue
                # A ROA for the whole block would cover its neighbors too, so each prefix has one.
                for at in range(block.first, block.first + block.count):
                    prefix = self.prefix(at)
                    vrps.append(
                        {"prefix": prefix, "maxLength": int(prefix.partition("/")[2]),
                         "asn": offer.as_path[-1]}
                    )  # fmt: skip
        (folder / "vrps.json").write_text(json.dumps({"roas": vrps}))
        return (RULES + (COMMUNITIES if self.communities else "")).splitlines()

    def of_member(self, member: int, folder: Path) -> list[str]:
        """Write the lists of one member, as bgpq4 does; return its own rules and its sets."""
        prefixes, origins = [], set()
        for block, offer in self.tables.offers(member):
            prefixes += [self.prefix(at) for at in range(block.first, block.first + block.count)]
            origins.add(offer.as_path[-1])
        items = ",\n".join(f'{{"prefix": "{one}", "exact": true}}' for one in prefixes)
        (folder / f"m{member}.json").write_text(f'{{"NN": [\n{items}\n]}}\n')
        (folder / f"m{member}.asns").write_text(json.dumps({"NN": sorted(origins)}))
        return [f'filters = {{ irr_prefixes = "m{member}", irr_origins = "m{member}" }}']

    def sets(self) -> list[str]:
        """Return the named sets of all members."""
        lines = []
        for member in range(self.tables.spec.members):
            for table, ending in (("prefix_sets", "json"), ("as_sets", "asns")):
                lines += [f"[{table}.m{member}]", f'files = ["m{member}.{ending}"]']
                lines.append('empty = "reject"')
        return lines

    def prefix(self, at: int) -> str:
        """Return a prefix of the universe as text."""
        if at < self.tables.n4:
            raw = self.tables.prefixes4[5 * at : 5 * at + 5]
            return f"{IPv4Address(raw[:4])}/{raw[4]}"
        raw = self.tables.prefixes6[17 * (at - self.tables.n4) :][:17]
        return f"{IPv6Address(raw[:16])}/{raw[16]}"
