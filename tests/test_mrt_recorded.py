"""Real MRT files, and what bgpdump reads in them."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import ip_address, ip_network

import pytest

from rs.iana import Family
from rs.mrt import load_table, open_mrt
from tests.mrtfiles import data_file, summary

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST


# ------------------------------------------------------------------------------- real files


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "routes", "prefixes", "peers"),
    [
        ("full-table.mrt.gz", {V4: 1_803_798, V6: 320_294}, {V4: 901_899, V6: 160_147}, 4),
        ("rib.20140523.0600_firstMB.bz2", {V4: 270_005}, {V4: 9_072}, 35),
        ("rib6.20151101.0600_firstMB.bz2", {V6: 149_578}, {V6: 6_870}, 27),
        ("rib.add-path.ipv4.mrt.gz", {V4: 62}, {V4: 31}, 3),
        ("rib.add-path.ipv6.mrt.gz", {V6: 62}, {V6: 31}, 3),
        ("rib.record-over-64k.mrt.gz", {V6: 23}, {V6: 1}, 23),
    ],
)
def test_real_tables(name, routes, prefixes, peers):
    file = data_file(name)
    s = summary(file)
    assert (s.routes, s.prefixes) == (routes, prefixes)
    assert sum(1 for p in s.peers if p.entries) == peers
    assert s.damaged == 0
    assert s.truncated == name.endswith("bz2")
    assert s.truncated == bool(s.lost_bytes)
    table = load_table(file)
    assert table.n_routes + table.n_unusable == sum(routes.values())


@pytest.mark.data
def test_the_full_table_by_peer():
    table = load_table(data_file("full-table.mrt.gz"))
    by_asn = {}
    for p in table.summary.peers:
        for family in p.entries:
            by_asn[p.asn, family] = table.count(p.index, family)
    assert by_asn[206479, V4] == (901_899, 93_538)
    assert by_asn[206479, V6][0] == 160_147
    assert by_asn[211380, V4][0] == 901_899
    assert by_asn[211380, V6][0] == 160_147


@pytest.mark.data
def test_real_sessions():
    s = summary(data_file("session.full-table.2015.mrt.gz"))
    assert sum(p.updates for p in s.peers) == 89_679
    assert s.announced == {V4: 577_737}
    s = summary(data_file("updates.20190101.mrt.gz"))
    assert sum(s.announced.values()) == 159_948
    assert sum(s.withdrawn.values()) == 2_626
    assert sum(1 for p in s.peers if p.messages) == 69
    s = summary(data_file("updates.long-withdrawal.mrt.gz"))
    assert s.withdrawn == {V6: 4096}
    s = summary(data_file("updates.nlri-trailing-bits.mrt.gz"))
    assert (s.announced, s.malformed) == ({V4: 1}, 1)


def bgpdump(file):
    if shutil.which("bgpdump") is None:
        pytest.skip("bgpdump is not installed")
    done = subprocess.run(
        ["bgpdump", "-m", str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    return [line.split("|") for line in done.stdout.splitlines()]


def path_text(as_path) -> str:
    signs = {1: ("{", ",", "}"), 2: ("", " ", ""), 3: ("(", " ", ")"), 4: ("[", ",", "]")}
    texts = []
    for kind, asns in as_path:
        left, between, right = signs[kind]
        texts.append(left + between.join(map(str, asns)) + right)
    return " ".join(texts)


ORIGINS = ("IGP", "EGP", "INCOMPLETE")


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["rib.record-over-64k.mrt.gz", "rib6.20151101.0600_firstMB.bz2", "rib.add-path.ipv4.mrt.gz"],
)
def test_tables_as_bgpdump_reads_them(name):
    file = data_file(name)
    lines = bgpdump(file)
    with open_mrt(file) as m:
        peers = m.summary().peers
        found = list(m.rib_entries())
    # bgpdump's own decompression of a cut-off file may end some records earlier
    assert len(lines) == len(found) or (name.endswith("bz2") and 0 < len(found) - len(lines) < 50)
    for line, e in zip(lines, found, strict=False):
        if e.path_id is not None:
            assert line.pop(6) == str(e.path_id)
        peer = peers[e.peer]
        assert (ip_address(line[3]), line[4]) == (ip_address(peer.address), str(peer.asn))
        assert ip_network(line[5]) == ip_network(e.prefix)
        if e.attrs is None:
            assert line[6] == ""  # an entry without attributes
            continue
        assert line[6:8] == [path_text(e.attrs["as_path"]), ORIGINS[e.attrs["origin"]]]
        assert ip_address(line[8]) == ip_address(e.attrs["next_hop"])
        assert line[9:11] == [str(e.attrs.get(key, 0)) for key in ("local_pref", "med")]


@pytest.mark.data
def test_updates_as_bgpdump_reads_them():
    file = data_file("updates.20190101.mrt.gz")
    lines = bgpdump(file)
    s = summary(file)
    kinds = [line[2] for line in lines]
    assert kinds.count("A") == sum(s.announced.values())
    assert kinds.count("W") == sum(s.withdrawn.values())
    assert kinds.count("STATE") == sum(p.state_changes for p in s.peers)
