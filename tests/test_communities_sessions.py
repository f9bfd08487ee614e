"""Communities end to end: each rung and form with real sessions, and what a reload does to them."""

from __future__ import annotations

import socket
import struct

import pytest

from rs import reload, show, showroutes
from rs.configfile import load_config
from rs.sockopts import round_trip_time
from tests.configs import MEMBER, RS, Folder
from tests.farends import RS_ASN, SEQ, Speaker
from tests.reference.tags import KEYS, Far, Tags
from tests.routerkit import Lab, config_text, large_communities
from tests.routerkit import communities as standard
from tests.test_communities import (
    BLACKHOLE,
    FULL,
    GSHUT,
    NO_EXPORT,
    RUNGS,
    THRESHOLDS,
    WIDE,
    definitions_of,
)
from tests.updatekit import TRANSITIVE, attr


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    text = f'{RS}[communities]\npreset = "none"\n{FULL}{MEMBER}'
    return Folder(tmp_path_factory.mktemp("config")).load(text).communities


MEMBERS = {"10.1.0.1": 65001, "10.1.0.2": 65002, "10.1.0.3": 65003, "10.1.0.4": WIDE}
NEIGHBOR_KEYS = {
    "10.1.0.1": "rtt = 3",
    "10.1.0.2": "rtt = 12\nblackhole_receive = false",
    "10.1.0.3": "rtt = 120",
    "10.1.0.4": "mapped_asn = 64700",
}
HEAD = f"""
[router]
asn = {RS_ASN}
router_id = "10.0.0.1"
listen = ["10.0.0.1:1790"]
[filters]
graceful_shutdown = true
[blackhole]
policy_ipv4 = "rewrite-next-hop"
next_hop_ipv4 = "192.0.2.66"
[communities]
preset = "PRESET"
rtt_thresholds = [5, 20, 100]
"""


def exchange(tmp_path, *, preset="none", more=FULL, head=HEAD):
    neighbors = [f'address = "{a}"\nasn = {n}\n{NEIGHBOR_KEYS[a]}' for a, n in MEMBERS.items()]
    lab = Lab(tmp_path, config_text(*neighbors, head=head.replace("PRESET", preset) + more))
    lab.up(*MEMBERS)
    return lab


def tables(lab):
    """What each member has by now, decoded from its bytes."""
    lab.settle()
    found = {}
    for address, asn in MEMBERS.items():
        speaker = Speaker(address, asn, "10.9.9.9")
        speaker.take(lab.sent[address])
        found[address] = speaker.table()
    return found


def extended(*values):
    return attr(TRANSITIVE, 16, b"".join(values))


def on_the_wire(form, values):
    if form == "std":
        return standard(*(f"{v >> 16}:{v & 0xFFFF}" for v in values))
    if form == "ext":
        return extended(*values)
    return large_communities(*(":".join(map(str, v)) for v in values))


def test_every_rung_and_form_with_sessions(tmp_path, everything):
    """Each rung in each form is a route of the first member; the others have what is due."""
    lab = exchange(tmp_path)
    texts = definitions_of(everything)
    far = {
        1: Far(65001, rtt=3),
        2: Far(65002, rtt=12),
        3: Far(65003, rtt=120),
        4: Far(WIDE, mapped=64700),
    }
    tags = Tags(texts, RS_ASN, THRESHOLDS, far)
    routes = {}
    for i, (rung, form) in enumerate((r, f) for r in RUNGS for f in KEYS):
        values = []
        for item in RUNGS[rung][0]:
            name, number = item if isinstance(item, tuple) else (item, None)
            values.append(tags.spelled(form, texts[name][form], number))
        prefix = f"10.{100 + i // 250}.{i % 250}.0/24"
        routes[prefix] = {KEYS[form]: tuple(values)} if values else {}
        more = on_the_wire(form, values) if values else b""
        lab.announce("10.1.0.1", prefix, path=(65001, 64496), more=more)
    found = tables(lab)
    compared = 0
    for slot, address in enumerate(MEMBERS, 1):
        got = {p: a for p, a in found[address].items() if p in routes}
        due = {p for p, attrs in routes.items() if slot != 1 and tags.allows(attrs, slot)}
        assert set(got) == due, address
        for prefix in due:
            attrs = routes[prefix]
            asked = tags.asked(attrs, slot)
            n = tags.prepends(attrs, slot)
            assert got[prefix]["as_path"] == ((SEQ, (65001,) * (n + 1) + (64496,)),)
            well_known = set(got[prefix].get("communities", ()))
            assert (NO_EXPORT in well_known) == any(n.startswith("add_noexport") for n in asked)
            assert not got[prefix].keys() & {"ext_communities", "large_communities"}
            compared += 1
    assert compared > 100
    # Whatever they were sent of which route, they are one group.
    assert [len(views) for views in lab.router.exporter.views] == [1, 1]


def test_black_holes_with_sessions(tmp_path):
    lab = exchange(tmp_path)
    lab.announce("10.1.0.1", "10.1.2.3/32", more=standard("65535:666"))
    lab.announce("10.1.0.1", "10.1.2.4/32", more=large_communities(f"{RS_ASN}:300:1"))
    lab.announce("10.1.0.1", "10.1.0.0/16")
    found = tables(lab)
    assert set(found["10.1.0.2"]) == {"10.1.0.0/16"}  # it accepts none
    for prefix in ("10.1.2.3/32", "10.1.2.4/32"):
        assert found["10.1.0.3"][prefix]["next_hop"] == "192.0.2.66"
        assert set(found["10.1.0.3"][prefix]["communities"]) == {BLACKHOLE, NO_EXPORT}
    assert found["10.1.0.3"]["10.1.0.0/16"]["next_hop"] == "10.1.0.1"


def test_graceful_shutdown_with_sessions(tmp_path):
    """The next best takes over at once; ours is told by a reload, with no session lost."""
    lab = exchange(tmp_path)
    lab.announce("10.1.0.1", "10.9.0.0/16", path=(65001,))
    lab.announce("10.1.0.2", "10.9.0.0/16", path=(65002, 64496))
    assert tables(lab)["10.1.0.3"]["10.9.0.0/16"]["as_path"] == ((SEQ, (65001,)),)
    lab.announce("10.1.0.1", "10.9.0.0/16", path=(65001,), more=standard("65535:0"))
    found = tables(lab)
    assert found["10.1.0.3"]["10.9.0.0/16"]["as_path"] == ((SEQ, (65002, 64496)),)
    assert found["10.1.0.2"]["10.9.0.0/16"]["as_path"] == ((SEQ, (65001,)),)
    reconfigure(lab, tmp_path, HEAD.replace("[filters]", "graceful_shutdown = true\n[filters]"))
    found = tables(lab)
    assert all(a["communities"] == (GSHUT,) for t in found.values() for a in t.values())
    assert all(p.established for p in lab.router.peers.values())
    reconfigure(lab, tmp_path, HEAD.replace("[filters]\ngraceful_shutdown = true\n", ""))
    found = tables(lab)
    # Not honored any more, so the path of 65001 is the best again.
    assert found["10.1.0.3"]["10.9.0.0/16"]["as_path"] == ((SEQ, (65001,)),)
    assert "communities" not in found["10.1.0.1"]["10.9.0.0/16"]


def reconfigure(lab, tmp_path, head, *, preset="none", more=FULL, keys=NEIGHBOR_KEYS):
    neighbors = [f'address = "{a}"\nasn = {n}\n{keys[a]}' for a, n in MEMBERS.items()]
    path = tmp_path / "new.toml"
    path.write_text(config_text(*neighbors, head=head.replace("PRESET", preset) + more))
    return reload.apply(lab.router, load_config(path))


def test_other_communities_by_a_reload(tmp_path):
    """Definitions change in place: what meant something is passed on, what meant nothing works."""
    lab = exchange(tmp_path, preset="classic", more="")
    tag = f"{RS_ASN}:102:65002"
    lab.announce("10.1.0.1", "10.9.0.0/16", more=large_communities(tag, f"{RS_ASN}:0:65003"))
    found = tables(lab)
    assert "10.9.0.0/16" not in found["10.1.0.3"]
    assert found["10.1.0.2"]["10.9.0.0/16"]["large_communities"] == ((RS_ASN, 102, 65002),)
    done = reconfigure(lab, tmp_path, HEAD, preset="euro-ix", more="")
    assert done.reset == 0
    found = tables(lab)["10.1.0.2"]["10.9.0.0/16"]
    assert found["as_path"] == ((SEQ, (65001, 65001, 65001)),)
    assert set(found["large_communities"]) == {
        (RS_ASN, 1000, 3),
        (RS_ASN, 1010, 65001),
        (RS_ASN, 1011, 65001),
    }
    reconfigure(lab, tmp_path, HEAD, preset="none", more="")
    found = tables(lab)
    assert set(found["10.1.0.3"]["10.9.0.0/16"]["large_communities"]) == {
        (RS_ASN, 102, 65002),
        (RS_ASN, 0, 65003),
    }
    assert all(p.ups == 1 for p in lab.router.peers.values())


def test_what_communities_say_of_neighbors_changes_in_place(tmp_path):
    lab = exchange(tmp_path, preset="classic", more="")
    lab.announce("10.1.0.1", "10.9.0.0/16", more=standard("0:64701"))
    lab.announce("10.1.0.1", "10.8.0.0/16", more=standard("65535:666"))
    found = tables(lab)
    assert "10.9.0.0/16" in found["10.1.0.4"]
    assert "10.8.0.0/16" not in found["10.1.0.2"]
    keys = {
        **NEIGHBOR_KEYS,
        "10.1.0.2": "rtt = 12",
        "10.1.0.3": "blackhole_receive = false",
        "10.1.0.4": "mapped_asn = 64701",
    }
    reconfigure(lab, tmp_path, HEAD, preset="classic", more="", keys=keys)
    found = tables(lab)
    assert "10.9.0.0/16" not in found["10.1.0.4"]
    assert "10.8.0.0/16" in found["10.1.0.2"]
    assert "10.8.0.0/16" not in found["10.1.0.3"]


def test_control_communities_off_means_nothing_at_all(tmp_path):
    head = HEAD.replace("[filters]", "control_communities = false\n[filters]")
    lab = exchange(tmp_path, preset="arouteserver", more="", head=head)
    lab.announce("10.1.0.1", "10.9.0.0/16", more=large_communities(f"{RS_ASN}:103:0"))
    found = tables(lab)["10.1.0.2"]["10.9.0.0/16"]
    assert found["as_path"] == ((SEQ, (65001,)),)
    assert found["large_communities"] == ((RS_ASN, 103, 0),)


def measured(tmp_path) -> Lab:
    """10.1.0.2 and 10.1.0.3 are measured; a route of 10.1.0.1 goes to who is within 20 ms."""
    keys = {**NEIGHBOR_KEYS, "10.1.0.2": 'rtt = "measured"', "10.1.0.3": 'rtt = "measured"'}
    neighbors = [f'address = "{a}"\nasn = {n}\n{keys[a]}' for a, n in MEMBERS.items()]
    lab = Lab(tmp_path, config_text(*neighbors, head=HEAD.replace("PRESET", "euro-ix")))
    lab.rtt = {"10.1.0.2": 19}
    lab.up(*MEMBERS)
    tag = f"{RS_ASN}:2:20"
    lab.announce("10.1.0.1", "10.9.0.0/16", more=large_communities(tag))
    return lab


def test_measured_round_trip_times(tmp_path):
    """Of the connection, when a session comes up."""
    lab = measured(tmp_path)
    assert "10.9.0.0/16" in tables(lab)["10.1.0.2"]
    assert "10.9.0.0/16" in tables(lab)["10.1.0.3"]  # not known: neither near nor far
    for ms, due in ((20, True), (21, False), (1, True)):
        lab.down("10.1.0.2")
        lab.settle()
        lab.rtt["10.1.0.2"] = ms
        lab.sent.clear()
        lab.time += 60
        lab.up("10.1.0.2")
        lab.settle()
        speaker = Speaker("10.1.0.2", 65002, "10.9.9.9")
        speaker.take(lab.sent["10.1.0.2"])
        assert ("10.9.0.0/16" in speaker.table()) == due, ms
    assert lab.peer("10.1.0.2").rtt == 1


def pass_minutes(lab: Lab, n: int) -> None:
    for _ in range(60 * n):
        lab.time += 1
        lab.router.housekeeping(lab.time)
    lab.settle()


def test_only_a_shorter_round_trip_time_counts_until_it_is_asked_for(tmp_path):
    """So nobody goes to and fro over a threshold."""
    lab = measured(tmp_path)
    near = lab.peer("10.1.0.2")
    lab.settle()
    lab.sent.clear()
    for ms in (20, 21, 500, 19, None):
        near.conn.ms = ms
        pass_minutes(lab, 1)
        assert near.rtt == 19
    assert not any(lab.sent.values())
    lab.router.peer_action("10.1.0.2", "measure")
    assert near.rtt is None
    near.conn.ms = 30
    pass_minutes(lab, 1)
    assert near.rtt == 30, "what is not known yet is taken as it comes"
    assert "10.9.0.0/16" not in tables(lab)["10.1.0.2"]
    near.conn.ms = 12
    pass_minutes(lab, 1)
    assert near.rtt == 12
    assert "10.9.0.0/16" in tables(lab)["10.1.0.2"]


def test_who_cannot_be_measured(tmp_path):
    lab = measured(tmp_path)
    with pytest.raises(ValueError, match="not measured"):
        lab.router.peer_action("10.1.0.1", "measure")
    lab.down("10.1.0.2")
    with pytest.raises(ValueError, match="no session"):
        lab.router.peer_action("10.1.0.2", "measure")


def test_rejected_routes_are_shown_with_their_communities(tmp_path):
    head = HEAD.replace("[filters]", '[filters]\nreject_policy = "tag"')
    lab = exchange(tmp_path, preset="arouteserver", more="", head=head)
    lab.announce("10.1.0.1", "10.9.0.0/16", path=(65001, RS_ASN))
    lab.announce("10.1.0.2", "10.9.0.0/16", path=(65003,))
    lab.settle()
    target = show.parse_target("10.9.0.0/16")
    (route,) = showroutes.route(lab.router, target, "exact", lab.time, names=False)
    found = {p["neighbor"]: p["reject_communities"] for p in route["paths"]}
    assert found["10.1.0.1"] == ["65520:0", f"{RS_ASN}:65520:0"]
    assert found["10.1.0.2"] == ["65520:6", f"{RS_ASN}:65520:6", f"{RS_ASN}:1101:7"]


class Told:
    """A socket whose TCP_INFO is given."""

    def __init__(self, n: int, **words: int) -> None:
        self.info = bytearray(n)
        for at, word in words.items():
            struct.pack_into("=I", self.info, int(at[3:]), word)

    def getsockopt(self, level: int, option: int, n: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return bytes(self.info[:n])


def test_a_late_acknowledgment_is_no_distance():
    """Both sides have spoken in turn, so the smoothed time has one of 40 ms in it."""
    assert round_trip_time(Told(256, at_68=17_500, at_148=12_400)) == 12
    assert round_trip_time(Told(256, at_68=17_500, at_148=0xFFFFFFFF)) == 18, "none yet"
    assert round_trip_time(Told(104, at_68=17_500)) == 18, "an old kernel"
    assert round_trip_time(Told(60)) is None


def test_a_round_trip_time_is_read_from_the_kernel():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        near.sendall(b"x")
        far.recv(1)
        measured = round_trip_time(near)
        near.close()
        far.close()
    assert measured is not None
    assert 0 <= measured < 1000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert round_trip_time(other) is None
