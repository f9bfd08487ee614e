"""Recorded data through a whole daemon: `rs replay` into `rs run`, and what neighbors hold then.

A route reflector between a recorded internal session and its clients (RFC 4456), and a route server
between all peers of a recorded table and members that take several paths of a prefix (RFC 7911).
Each is compared with the reference, path by path. A part of the data is played by default, all of
it with RS_LONG=1.
"""

from __future__ import annotations

import os
from collections import Counter
from ipaddress import IPv4Address

import pytest

from rs.iana import MessageType
from rs.mrt import open_mrt
from tests.daemonkit import Listener, Rs, cut, frames, listen, settled
from tests.farends import V4, V6, Speaker, repr_of
from tests.mrtfiles import data_file
from tests.reference import codec, export
from tests.reference.decision import Options, Path, rank
from tests.reference.export import Choice, ExportOptions, Member
from tests.reference.rib import Peer, RouterOptions, reject_reasons
from tests.reference.update import Context, decode_update
from tests.routers import compare_tables

LONG = os.environ.get("RS_LONG", "") not in {"", "0"}
SECONDS = 1200.0 if LONG else 60.0
pytestmark = [pytest.mark.data, pytest.mark.timeout(2 * SECONDS)]

# --- a recorded internal session, reflected -------------------------------------------------------

AS = 3856
OWN, OTHER = "10.7.0.1", "10.7.0.2"
SESSION = "session.full-table.2015.mrt.gz"


def reflector(router_id, *, clusters=True):
    """A reflector for the recorded session's AS: clients in two clusters, and one that is none."""
    text = f"""[router]
role = "route-reflector"
asn = {AS}
router_id = "{router_id}"
cluster_id = "{OWN}"
[defaults]
as_set = "accept"
[[neighbors]]
range = "127.0.1.0/24"
route_reflector_client = true
"""
    if clusters:
        text += f"""[[neighbors]]
range = "127.0.2.0/24"
route_reflector_client = true
cluster_id = "{OTHER}"
[[neighbors]]
range = "127.0.3.0/24"
asn = {AS}
"""
    return text


def recorded(file):
    """The table that the UPDATEs of a recorded session lead to, by the reference codec."""
    table = {}
    with open_mrt(file) as mrt:
        for event in mrt.events():
            if event.raw is None or event.sent or event.raw[18] != MessageType.UPDATE:
                continue
            result = decode_update(event.raw[19:], Context(as4=event.as4, ibgp=True))
            for _, prefix, _ in result.withdrawn:
                table.pop(prefix, None)
            for (_, prefix, _), attrs in result.routes():
                table[prefix] = attrs
    return table


def test_a_recorded_session_reflected(tmp_path):
    """CLUSTER_LIST is extended, all else is as it was; looped back, it is refused."""
    file = data_file(SESSION) if LONG else cut(data_file(SESSION), tmp_path / "part", 2500)
    table = recorded(file)
    assert len(table) > (500_000 if LONG else 5000)
    addresses = {"127.0.1.2": (OWN,), "127.0.2.1": (OTHER, OWN), "127.0.3.1": (OWN,)}
    with Rs(tmp_path, reflector("10.0.0.1")) as rs:
        listeners = [Listener(Speaker(a, AS, a, families=(V4,)), rs.port) for a in addresses]
        play = ("--asn", AS, "--peer", 0, "--local-address", "127.0.1.1")
        with rs.replay(file, *play):
            done = settled(rs, 1, len(table), *listeners)
            listen(*listeners, until=done, seconds=SECONDS)
            for listener, passed in zip(listeners, addresses.values(), strict=True):
                want = {
                    prefix: {**attrs, "cluster_list": (*passed, *attrs["cluster_list"])}
                    for prefix, attrs in table.items()
                }
                got = listener.speaker.table()
                assert got.keys() == want.keys()
                wrong = [(got[p], want[p]) for p in want if got[p] != want[p]]
                assert not wrong, wrong[0]
                assert not any(a["originator_id"] == listener.speaker.address for a in got.values())
        # What the client in the other cluster has was in its own and in that of the source.
        loop = Listener(Speaker("127.0.1.9", AS, "127.0.1.9", families=(V4,)), rs.port)
        looped(rs, loop, listeners[1].speaker.table(), "cluster-loop")
    # A speaker that is the originator of some of it refuses these (RFC 4456 8).
    originators = Counter(attrs["originator_id"] for attrs in table.values())
    (originator, own), *_ = originators.most_common(1)
    with (
        Rs(tmp_path, reflector(originator, clusters=False), "originator") as rs,
        rs.replay(file, *play),
    ):
        rs.wait(
            lambda: counted(rs, "127.0.1.1") == (len(table), own, {"originator-loop": own}),
            f"{own} routes with ORIGINATOR_ID {originator}",
            SECONDS,
        )


def counted(rs, address):
    """Paths received and rejected of a neighbor, and why."""
    found = rs.neighbors().get(address)
    if found is None:
        return None
    family = found["families"]["ipv4-unicast"]
    return family["received"], family["rejected"], found["rejects"]


def looped(rs, loop, table, why):
    """Send a table back; all of it must be refused for one reason, and nobody be told of it."""
    groups = {}
    for prefix, attrs in table.items():
        groups.setdefault(repr_of(attrs), (attrs, []))[1].append(prefix)
    bodies = [
        codec.encode_update(prefixes[i : i + 200], attrs)
        for attrs, prefixes in groups.values()
        for i in range(0, len(prefixes), 200)
    ]
    for piece in frames(codec.update_message(body) for body in bodies):
        loop.sock.sendall(piece)
    address = loop.speaker.address
    n = len(table)
    rs.wait(lambda: counted(rs, address) == (n, n, {why: n}), f"{n} paths with {why}", SECONDS)


# --- all peers of a recorded table, several paths -------------------------------------------------

RS_ASN = 64500
TABLES = {V4: "rib.20140523.0600_firstMB.bz2", V6: "rib6.20151101.0600_firstMB.bz2"}
SERVER = f"""[router]
asn = {RS_ASN}
router_id = "10.0.0.1"
prefer_oldest = false
[defaults]
as_set = "accept"
[[neighbors]]
range = "127.0.1.0/24"
[[neighbors]]
range = "127.0.2.0/24"
add_path = "send"
[[neighbors]]
range = "127.0.3.0/24"
add_path = "send"
add_path_limit = 3
[[neighbors]]
range = "127.0.4.0/24"
add_path = "send"
add_path_send = "best-per-as"
"""
LISTENERS = {"127.0.2.1": (Choice.ALL, 0), "127.0.3.1": (Choice.ALL, 3),
             "127.0.4.1": (Choice.BEST_PER_AS, 0)}  # fmt: skip


def expected(file, family):
    """What each listener is due, by prefix, and how many paths there are at all."""
    options = RouterOptions(asn=RS_ASN, accept_as_sets=True, prefer_oldest=False)
    exported = ExportOptions(rs_asn=RS_ASN)
    decision = Options(RS_ASN, prefer_oldest=False)
    members = [Member(1000 + i, 64600 + i) for i in range(len(LISTENERS))]
    due = [{} for _ in LISTENERS]
    total = 0
    with open_mrt(file) as mrt:
        speaking = [p for p in mrt.summary().peers if p.entries.get(family)]
        sources = {
            p.index: Peer(p.index, p.asn, f"127.0.1.{i}", p.router_id)
            for i, p in enumerate(speaking, start=1)
        }
        by_prefix = {}
        for entry in mrt.rib_entries():
            by_prefix.setdefault(entry.prefix, []).append((sources[entry.peer], entry.attrs))
    for prefix, offers in by_prefix.items():
        total += len(offers)
        paths = [
            Path(
                peer=source.index,
                peer_asn=source.asn,
                ibgp=False,
                router_id=int(IPv4Address(source.router_id)),
                address=source.address,
                attrs=attrs,
            )
            for source, attrs in offers
            if not reject_reasons(attrs, source, options)
        ]
        ranked = [path for path, _ in rank(paths, decision)]
        for found, member, (choice, limit) in zip(due, members, LISTENERS.values(), strict=True):
            chosen = export.chosen(choice, limit, member, ranked, exported, decision)
            if chosen:
                found[prefix] = [export.output_attrs(p, member, exported) for p in chosen]
    return sources, total, due


@pytest.mark.parametrize("family", [V4, V6])
def test_all_peers_of_a_recorded_table(tmp_path, family):
    """Send-all holds exactly all paths, best-3 the reference's three, best-per-as its first ones."""
    file = data_file(TABLES[family])
    if not LONG:
        file = cut(file, tmp_path / "part", 120)
    sources, total, due = expected(file, family)
    assert len(sources) == {V4: 35, V6: 27}[family]
    assert len(due[0]) > 100
    with Rs(tmp_path, SERVER) as rs:
        listeners = [
            Listener(
                Speaker(address, 64600 + i, address, families=(family,), hears_paths=(family,)),
                rs.port,
            )
            for i, address in enumerate(LISTENERS)
        ]
        with rs.replay(file, "--as-peer", "--local-prefix", "127.0.1.0/24"):
            done = settled(rs, len(sources), total, *listeners)
            listen(*listeners, until=done, seconds=SECONDS)
            for listener, want in zip(listeners, due, strict=True):
                held = listener.speaker.paths()
                for paths in (*held.values(), *want.values()):
                    paths.sort(key=repr_of)
                compare_tables(listener.speaker.address, held, want)
            shown = rs.neighbors()
            for address, want in zip(LISTENERS, due, strict=True):
                advertised = sum(f["advertised"] for f in shown[address]["families"].values())
                assert advertised == sum(map(len, want.values()))
        # All sources go, and so does all they have brought.
        listen(*listeners, until=lambda: not any(li.routes() for li in listeners), seconds=SECONDS)


# --- recorded path identifiers --------------------------------------------------------------------

MANY = """[router]
asn = 64500
router_id = "10.0.0.1"
[defaults]
as_set = "accept"
first_as_check = false
[[neighbors]]
range = "127.0.1.0/24"
add_path = "receive"
[[neighbors]]
range = "127.0.2.0/24"
add_path = "send"
"""


def test_recorded_path_identifiers(tmp_path):
    """Paths told apart by RFC 8050 alone are played as such, and all sent on.

    The file's first peer is the collector itself, whose routes have no next hop.
    """
    file = data_file("rib.add-path.ipv4.mrt.gz")
    offers = {}
    with open_mrt(file) as mrt:
        for entry in mrt.rib_entries():
            if entry.peer:
                offers[entry.peer, entry.prefix, entry.path_id] = entry.attrs
    assert len(offers) == 60
    assert max(Counter((peer, prefix) for peer, prefix, _ in offers).values()) == 2
    options, exported = RouterOptions(asn=RS_ASN), ExportOptions(RS_ASN)
    source, member = Peer(1, 64700, "127.0.1.1", enforce_first_as=False), Member(1000, 64600)
    want = {}
    for (peer, prefix, number), attrs in offers.items():
        if not reject_reasons(attrs, source, options):
            path = Path(peer, source.asn, False, 1, source.address, attrs, path_id=number)
            want.setdefault(prefix, []).append(export.output_attrs(path, member, exported))
    assert want
    with Rs(tmp_path, MANY) as rs:
        speaker = Speaker("127.0.2.1", 64600, "127.0.2.1", families=(V4,), hears_paths=(V4,))
        listener = Listener(speaker, rs.port)
        chosen = ("--peer", 1, "--peer", 2, "--asn", 64700, "--local-prefix", "127.0.1.0/24")
        with rs.replay(file, *chosen):
            listen(listener, until=settled(rs, 2, 60, listener), seconds=SECONDS)
            held = speaker.paths()
            for paths in (*held.values(), *want.values()):
                paths.sort(key=repr_of)
            compare_tables(speaker.address, held, want)
