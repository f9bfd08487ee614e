"""PATHS-LIMIT with FRR 10: it asks us for so many paths of a prefix, and we ask it.

draft-abraitis-idr-addpath-paths-limit, capability 76. Four members bring us a prefix, of which FRR
wants three; three neighbors bring FRR another, of which we want two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rs.iana import Family

from .daemons.base import FAMILIES, Neighbor
from .daemons.collector import Collector
from .daemons.frr import Frr
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Lan

RS_ASN, FRR_ASN = 64500, 65011
FROM_US, FROM_FRR = "198.51.100.0/24", "203.0.113.0/24"
WANTED_BY_FRR, WANTED_BY_US = 3, 2
V4 = FAMILIES[:1]


class Limited(Frr):
    """FRR that asks `rs` for some paths, and sends it all it has."""

    rs = ""

    def write_config(self) -> None:
        super().write_config()
        path = self.workdir / "bgpd.conf"
        text = path.read_text()
        before = f"  neighbor {self.rs} activate\n"
        assert before in text
        more = (f"addpath-rx-paths-limit {WANTED_BY_FRR}", "addpath-tx-all-paths")
        more = (*more, "prefix-list THEIRS out")
        lines = "".join(f"  neighbor {self.rs} {words}\n" for words in more)
        text = text.replace(before, before + lines)
        text = text.replace(f"  neighbor {self.rs} route-map OUT out\n", "")
        path.write_text(f"ip prefix-list THEIRS permit {FROM_FRR}\n{text}")


def test_both_ways(lan: Lan, tmp_path: Path) -> None:
    if (release := Limited.release()) < (10,):
        # No skip: that fails where all daemons are required, and no Debian package has it.
        pytest.xfail(f"FRR {'.'.join(map(str, release))} has no PATHS-LIMIT; set RS_FRR")
    rs = Rs(lan.host(1), tmp_path / "rs", RS_ASN)
    options = {"add_path": "both", "add_path_receive_limit": WANTED_BY_US}
    host = lan.host(11)
    rs.members.append(Member(host.address, FRR_ASN, V4, passive=False, options=options))
    ours = [
        Collector(lan.host(n), 65000 + n, rs.host.address, families=[Family.IPV4_UNICAST])
        for n in range(21, 25)
    ]
    rs.members += [Member(c.host.address, c.asn, V4) for c in ours]
    theirs = [
        Collector(lan.host(n), 65000 + n, host.address, families=[Family.IPV4_UNICAST])
        for n in range(31, 34)
    ]
    neighbors = [Neighbor(c.host.address, c.asn, V4, passive=True) for c in theirs]
    frr = Limited(
        host, tmp_path / "frr", FRR_ASN, [Neighbor(rs.host.address, RS_ASN, V4), *neighbors]
    )
    frr.rs = rs.host.address
    try:
        rs.start()
        frr.start()
        for collector in ours + theirs:
            collector.connect()
        for collector in ours:
            collector.announce([FROM_US])
        for collector in theirs:
            collector.announce([FROM_FRR])
        frr.wait_established()

        def has_all() -> bool:
            found = rs.neighbors()
            counts = [found[c.host.address]["families"]["ipv4-unicast"]["accepted"] for c in ours]
            return counts == [1] * len(ours)

        rs.wait(has_all, "have all paths")

        def families() -> dict[str, int]:
            found: dict[str, int] = rs.neighbors()[host.address]["families"]["ipv4-unicast"]
            return found

        frr.wait(lambda: len(frr.paths(FROM_US)) == WANTED_BY_FRR, "have some paths of ours")
        rs.wait(lambda: families()["received"] == WANTED_BY_US, "have some paths of FRR's")
        assert len(frr.paths(FROM_FRR)) == len(theirs)
        agreed = rs.neighbors()[host.address]["negotiated"]
        assert agreed["paths_limit"] == {"ipv4-unicast": WANTED_BY_FRR}
        assert families()["refused"] == 0, "FRR sends no more than we want"
    finally:
        for collector in ours + theirs:
            collector.stop()
        frr.kill()
        rs.stop()
