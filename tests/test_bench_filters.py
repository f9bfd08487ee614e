"""The filters of the wire benchmark: all are on, and they refuse nothing that members bring."""

from __future__ import annotations

import json
import sys

import pytest

from bench.tables import TableSpec, generate
from bench.wire.daemons import Rs, Site
from bench.wire.filters import Filters
from tests.routerkit import Lab


@pytest.mark.parametrize("communities", [False, True])
def test_everything_is_checked_and_nothing_refused(tmp_path, communities):
    tables = generate(TableSpec(members=4, prefixes=400, overlap=0.5))
    site = Site(members=4, filters=Filters(tables, communities))
    Rs(sys.executable).command(site, tmp_path)
    lab = Lab(tmp_path, (tmp_path / "rs.toml").read_text())
    router = lab.router
    rows = json.loads((tmp_path / "vrps.json").read_text())["roas"]
    vrps = [(row["prefix"], row["maxLength"], row["asn"]) for row in rows]
    assert len(vrps) > 100
    router.roas.replace(vrps, router.roas.add_source("file"))
    router.rpki_changed(None, set(), True)
    lab.settle()
    addresses = [site.address(member) for member in range(4)]
    lab.up(*addresses)
    for member, address in enumerate(addresses):
        peer = lab.peer(address)
        peer.session.receive(peer.conn, tables.updates(member), lab.time)
    lab.settle()
    seen = set()
    for address in addresses:
        received, accepted, rejected = router.rib.peer_counts(lab.peer(address).slot, 0)
        assert received == accepted >= 100
        assert rejected == 0
    for at in range(400):
        prefix, plen = Filters(tables).prefix(at).split("/")
        packed = bytes(map(int, prefix.split(".")))
        for path in router.rib.tables[0].paths_of(router.rib.tables[0].handle(packed, int(plen))):
            seen.add(path[3] >> 3)
    rpki_states = {state & 3 for state in seen}
    assert rpki_states == {1, 2}  # valid and unknown
    assert {state >> 2 for state in seen} == {7}  # looked for and found in both lists
