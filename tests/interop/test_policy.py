"""General policies end to end: BIRD and FRR behind a route server, and behind a reflector.

What import sets and export withholds is seen at the far ends; policies are exchanged with all
sessions up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Host, Lan

AS = 64500
ONE, TWO = "192.0.2.16/28", "192.0.2.32/28"

POLICIES = """
[[policies.mark.terms]]
name = "long"
match = { prefixes = "0.0.0.0/0 ge 28 le 28", as_path = "^64511$" }
set = { med = 77, local_pref = 70 }
add = { communities = ["64511:77", "64500:7:7"] }
[[policies.keep.terms]]
name = "own"
match = { communities = "64500:7:7", to = %(to)s }
action = "reject"
reason = "kept back"
"""


def driver(name: str) -> type[Daemon]:
    daemon = DAEMONS[name]
    if (reason := daemon.missing()) is not None:
        pytest.skip(reason)
    return daemon


def member(host: Host, asn: int, **options: Any) -> Member:
    return Member(host.address, asn, FAMILIES[:1], options=options)


def test_a_route_server_marks_and_keeps_back(lan: Lan, tmp_path: Path) -> None:
    hosts = [lan.host(i) for i in (1, 2, 3)]
    rs = Rs(hosts[0], tmp_path / "rs", AS)
    rs.router = {"import_policy": "mark", "export_policy": ["keep"]}
    rs.tables = POLICIES % {"to": "64599"}
    rs.members = [member(hosts[1], 64511), member(hosts[2], 64512)]
    to_rs = [Neighbor(hosts[0].address, AS, FAMILIES[:1])]
    bird = driver("bird")(hosts[1], tmp_path / "bird", 64511, to_rs)
    frr = driver("frr")(hosts[2], tmp_path / "frr", 64512, to_rs)
    with rs, bird, frr:
        bird.wait_established()
        frr.wait_established()
        bird.announce(ONE)
        frr.announce(TWO)
        seen = frr.wait_routes(ONE)[ONE]
        assert "64511:77" in seen.communities
        assert "64500:7:7" in seen.large_communities
        assert seen.med == 77
        bird.wait_routes(TWO)
        ((path,),) = [found["paths"] for found in rs.show("route", ONE)["routes"]]
        assert path["attributes"]["med"] == 77
        assert "med" not in path["received"]
        rs.tables = POLICIES % {"to": "64512"}
        rs.reload()
        frr.wait_gone(ONE)
        bird.wait_routes(TWO)
        rs.router = {}
        rs.reload()
        assert not frr.wait_routes(ONE)[ONE].communities


def test_a_reflector_prefers_by_policy(lan: Lan, tmp_path: Path) -> None:
    hosts = [lan.host(i) for i in (1, 2, 3)]
    rs = Rs(hosts[0], tmp_path / "rs", AS)
    rs.role = "route-reflector"
    rs.router = {"import_policy": "prefer"}
    rs.tables = "[[policies.prefer.terms]]\nset = { local_pref = 321 }\n"
    rs.members = [member(host, AS, route_reflector_client=True) for host in hosts[1:]]
    to_rs = [Neighbor(hosts[0].address, AS, FAMILIES[:1])]
    bird = driver("bird")(hosts[1], tmp_path / "bird", AS, to_rs)
    frr = driver("frr")(hosts[2], tmp_path / "frr", AS, to_rs)
    with rs, bird, frr:
        bird.wait_established()
        frr.wait_established()
        bird.announce(ONE)
        frr.wait_routes(ONE)
        frr.wait(lambda: [p.local_pref for p in frr.paths(ONE)] == [321], "prefer it")
