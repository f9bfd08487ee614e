"""The views of a router: what they say, and that long ones may be taken in any steps."""

import re
from pathlib import Path

import orjson
import pytest

import rs
from rs import show, showroutes
from rs.attrtext import (
    aigp_metric,
    as_path_text,
    attributes_json,
    communities_text,
    community_name,
    ext_community_text,
)
from rs.iana import AddPathMode, Decided, Family, RejectReason
from rs.reasons import WORDS, reject_words
from rs.show import (
    PeerWalk,
    parse_family,
    parse_target,
    prefix_text,
)
from rs.showroutes import LongerWalk, RoutesWalk
from tests.routerkit import Lab, communities, config_text, large_communities, med

A, B, C, D = "10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::4"
NEIGHBORS = (f"{A} 65001", f'address = "{B}"\nasn = 65002\ndescription = "Example"', f"{C} 65003")


def always() -> bool:
    return True


def never() -> bool:
    return False


def plain(value):
    """What a client gets: fragments are JSON that is encoded already."""
    return orjson.loads(orjson.dumps(value))


def steps(walk, spent) -> list:
    out = []
    while (more := walk.step(spent)) is not None:
        out += more
    return plain(out)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path, config_text(*NEIGHBORS))


@pytest.fixture
def full(lab):
    """Three neighbors; a prefix of two paths, a tagged one, a rejected one inside it, an IPv6 one."""
    lab.up(A, B, C)
    lab.announce(A, "20.0.0.0/8", "20.1.0.0/16", more=communities("0:65003", "65001:7"))
    lab.time += 60
    lab.announce(B, "20.0.0.0/8", path=(65002, 1, 2))
    lab.announce(C, "20.1.1.0/24", path=(65009, 1))
    lab.announce(C, "2001:db8::/32", hop="2001:db8::3")
    lab.settle()
    return lab


def look(lab, text, match="longest", *, names=False):
    target = parse_target(text)
    return plain(showroutes.route(lab.router, target, match, lab.time, names=names))


def listed(lab, view, address=None, spent=never, **more):
    peer = lab.peer(address) if address else None
    return steps(RoutesWalk(lab.router, view, peer=peer, **more), spent)


class TestTargets:
    @pytest.mark.parametrize(
        ("text", "family", "plen", "is_prefix"),
        [
            ("192.0.2.1", Family.IPV4_UNICAST, 32, False),
            ("192.0.2.0/24", Family.IPV4_UNICAST, 24, True),
            ("0.0.0.0/0", Family.IPV4_UNICAST, 0, True),
            ("2001:db8::1", Family.IPV6_UNICAST, 128, False),
            ("2001:DB8:0::/32", Family.IPV6_UNICAST, 32, True),
        ],
    )
    def test_read(self, text, family, plen, is_prefix):
        target = parse_target(text)
        assert (target.family, target.plen, target.is_prefix) == (family, plen, is_prefix)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nonsense", "'nonsense' is neither an address nor a prefix"),
            ("", "neither"),
            ("10.0.0", "neither"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/", "0 to 32"),
            ("10.0.0.0/-1", "0 to 32"),
            ("10.0.0.0/255.0.0.0", "0 to 32"),
            ("10.0.0.0/8/9", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.1.2.3/8", "host bits set; the prefix is 10.0.0.0/8"),
            ("fe80::1%eth0", "zone"),
        ],
    )
    def test_wrong(self, text, words):
        with pytest.raises(ValueError, match=re.escape(words)):
            parse_target(text)

    def test_family(self):
        assert parse_family("ipv6-unicast") is Family.IPV6_UNICAST
        with pytest.raises(ValueError, match="there are ipv4-unicast, ipv6-unicast"):
            parse_family("ipv4")

    @pytest.mark.parametrize("text", ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0"])
    def test_text_of_a_prefix(self, text):
        target = parse_target(text)
        assert prefix_text((target.addr, target.plen)) == text


class TestWords:
    def test_every_step_and_reason_has_words(self):
        for step in Decided:
            if step is not Decided.BEST:
                assert all(showroutes._DECIDED[step])
        for reason in RejectReason:
            if reason is not RejectReason.NONE:
                assert reject_words(reason)
                assert show.reject_label(reason) == reason.name.lower().replace("_", "-")
                assert reason in WORDS

    def test_a_reason_without_name(self):
        assert show.reject_label(250) == "reason-250"
        assert reject_words(250) == "reason 250"

    def test_flags_are_those_of_the_fast_path(self):
        text = (Path(rs.__file__).parent / "_fastpath" / "paths.pxd").read_text()
        found = dict(re.findall(r"^    (PATH_\w+) = (0x\d+)", text, re.MULTILINE))
        assert int(found["PATH_REJECTED"], 16) == showroutes.PATH_REJECTED
        assert int(found["PATH_NOT_USABLE"], 16) == showroutes.PATH_NOT_USABLE


class TestAttributes:
    def test_all(self):
        found = attributes_json(
            {
                "origin": 2,
                "as_path": ((2, (1, 70000)), (1, (3, 4)), (3, (5,)), (4, (6,))),
                "next_hop": "2001:db8::1",
                "link_local": "fe80::1",
                "med": 0,
                "local_pref": 100,
                "atomic_aggregate": True,
                "aggregator": (65000, "192.0.2.9"),
                "communities": (65000 << 16 | 1, 0xFFFF029A),
                "ext_communities": (
                    bytes.fromhex("0002fde800000064"),
                    bytes.fromhex("0103c00002010007"),
                    bytes.fromhex("020200011170000a"),
                    bytes.fromhex("4302fde800000064"),
                ),
                "large_communities": ((1, 2, 3),),
                "originator_id": "192.0.2.1",
                "cluster_list": ("192.0.2.2", "192.0.2.3"),
                "otc": 65001,
                "aigp": bytes.fromhex("01000b0000000000000005"),
                "unknown": ((0xE0, 99, b"\x01\xff"),),
            }
        )
        assert found == {
            "origin": "incomplete",
            "as_path": [
                1,
                70000,
                {"type": "set", "asns": [3, 4]},
                {"type": "confed-sequence", "asns": [5]},
                {"type": "confed-set", "asns": [6]},
            ],
            "next_hop": "2001:db8::1",
            "link_local": "fe80::1",
            "med": 0,
            "local_pref": 100,
            "atomic_aggregate": True,
            "aggregator": {"asn": 65000, "address": "192.0.2.9"},
            "communities": ["65000:1", "65535:666"],
            "ext_communities": [
                "rt:65000:100",
                "soo:192.0.2.1:7",
                "rt:70000:10",
                "4302fde800000064",
            ],
            "large_communities": ["1:2:3"],
            "originator_id": "192.0.2.1",
            "cluster_list": ["192.0.2.2", "192.0.2.3"],
            "otc": 65001,
            "aigp": 5,
            "unknown": [{"flags": 0xE0, "type": 99, "value": "01ff"}],
        }
        assert as_path_text(found["as_path"]) == "1 70000 {3 4} (5) [6]"
        assert communities_text(found).startswith("65000:1 blackhole 1:2:3 rt:65000:100")

    def test_little(self):
        found = attributes_json({"origin": 0, "as_path": (), "next_hop": "192.0.2.1"})
        assert found == {"origin": "IGP", "as_path": [], "next_hop": "192.0.2.1"}
        assert as_path_text([]) == ""
        assert communities_text({}) == ""

    def test_names(self):
        assert community_name("65535:65281") == "no-export"
        assert community_name("65000:1") == "65000:1"
        assert ext_community_text(bytes(8)) == "0" * 16

    @pytest.mark.parametrize(
        ("tlvs", "metric"),
        [
            ("01000b00000000000000ff", 255),
            ("020004aa01000b0000000000000001", 1),
            ("0100030100", None),
            ("01000b00", None),
            ("", None),
            ("020000", None),
        ],
    )
    def test_aigp(self, tlvs, metric):
        assert aigp_metric(bytes.fromhex(tlvs)) == metric


class TestRoute:
    def test_best_and_the_next_for_whom_it_is_not(self, full):
        (found,) = look(full, "20.0.0.0/8", names=True)
        assert found["prefix"] == "20.0.0.0/8"
        assert found["family"] == "ipv4-unicast"
        assert found["usable"] is True
        assert found["advertised_to"] == 3
        first, second = found["paths"]
        assert (first["neighbor"], first["state"], first["best"]) == (A, "best", True)
        assert (first["decided_by"], first["why"]) == ("as-path-length", "best: shorter AS path")
        assert first["members"] == [B]  # not to C, which its community excludes, nor back
        assert first["age_s"] == 60
        assert first["attributes"]["communities"] == ["0:65003", "65001:7"]
        assert (second["neighbor"], second["state"]) == (B, "usable")
        assert (second["asn"], second["description"]) == (65002, "Example")
        assert (second["decided_by"], second["why"]) == ("as-path-length", "longer AS path")
        assert second["members"] == [A, C]
        assert second["advertised_to"] == 2
        assert second["attributes"]["as_path"] == [65002, 1, 2]

    def test_an_address_and_the_rejected_path_in_front(self, full):
        inner, outer = look(full, "20.1.1.9")
        assert (inner["prefix"], inner["usable"], inner["advertised_to"]) == (
            "20.1.1.0/24",
            False,
            0,
        )
        (path,) = inner["paths"]
        assert (path["state"], path["reject_reason"]) == ("rejected", "first-as")
        assert path["why"] == (
            "AS_PATH does not begin with the neighbor's AS (reject code 6, RS:1101:7)"
        )
        assert path["decided_by"] is None
        assert "members" not in path
        assert (outer["prefix"], outer["usable"]) == ("20.1.0.0/16", True)
        assert outer["paths"][0]["why"] == "best: the only one"

    def test_only_one_is_usable(self, full):
        full.announce(C, "20.1.0.0/16", path=(1, 2))
        best, rejected = look(full, "20.1.0.0/16")[0]["paths"]
        assert best["why"] == "best: the only usable"
        assert best["decided_by"] is None
        assert rejected["state"] == "rejected"

    def test_exact(self, full):
        assert [r["prefix"] for r in look(full, "20.1.0.0/16", "exact")] == ["20.1.0.0/16"]
        assert look(full, "20.1.0.0/17", "exact") == []
        assert look(full, "20.1.0.1", "exact") == []
        assert look(full, "2001:db8::/32", "exact")[0]["family"] == "ipv6-unicast"

    def test_longest_of_a_prefix(self, full):
        assert [r["prefix"] for r in look(full, "20.1.128.0/17")] == ["20.1.0.0/16"]
        assert [r["prefix"] for r in look(full, "20.0.0.0/9")] == ["20.0.0.0/8"]
        assert look(full, "20.0.0.0/7") == []
        assert look(full, "21.0.0.0") == []

    def test_default_route(self, full):
        full.announce(A, "0.0.0.0/0")
        assert [r["prefix"] for r in look(full, "99.0.0.1")] == ["0.0.0.0/0"]
        assert [r["prefix"] for r in look(full, "0.0.0.0/0")] == ["0.0.0.0/0"]

    def test_every_path_rejected_up_to_the_top(self, full):
        full.withdraw(A, "20.0.0.0/8", "20.1.0.0/16")
        full.withdraw(B, "20.0.0.0/8")
        assert [r["prefix"] for r in look(full, "20.1.1.1")] == ["20.1.1.0/24"]

    def test_unreachable_next_hop(self, tmp_path):
        text = config_text(*NEIGHBORS) + '[[igp]]\nprefix = "10.1.0.0/24"\nmetric = 5\n'
        lab = Lab(tmp_path, text)
        lab.up(A, B)
        lab.announce(A, "20.0.0.0/8")
        lab.announce(B, "20.0.0.0/8", hop="192.0.2.77")
        lab.settle()
        best, other = look(lab, "20.0.0.0/8")[0]["paths"]
        assert best["why"] == "best: the only usable"
        assert (other["state"], other["reject_reason"]) == ("unreachable", "next-hop-unreachable")
        assert other["why"] == "NEXT_HOP is unreachable"

    def test_longer(self, full):
        for spent in (always, never):
            walk = LongerWalk(full.router, parse_target("20.0.0.0/8"), names=False)
            found = steps(walk, spent)
            assert [r["prefix"] for r in found] == ["20.0.0.0/8", "20.1.0.0/16", "20.1.1.0/24"]
        assert steps(LongerWalk(full.router, parse_target("21.0.0.0/8"), names=False), never) == []

    def test_rewritten_forms_find_their_path(self, tmp_path):
        """Towards plain eBGP neighbors AS path and next hop differ from what was received."""
        plain_ebgp = (
            f'address = "{B}"\nasn = 65002\nroute_server_client = false\nrequire_policy = false'
        )
        lab = Lab(tmp_path, config_text(f"{A} 65001", plain_ebgp, f"{C} 65003"))
        lab.up(A, B, C)
        lab.announce(A, "20.0.0.0/8", more=med(5))
        lab.settle()
        (found,) = look(lab, "20.0.0.0/8", names=True)
        assert found["paths"][0]["members"] == [B, C]
        (sent,) = listed(lab, "advertised", B)
        assert sent["neighbor"] == A
        assert sent["attributes"]["as_path"] == [64500, 65001]
        assert sent["attributes"]["next_hop"] == "10.0.0.1"
        assert "med" not in sent["attributes"]
        (sent,) = listed(lab, "advertised", C)
        assert sent["attributes"]["as_path"] == [65001]
        assert sent["attributes"]["med"] == 5

    def test_add_path(self, tmp_path):
        """A neighbor with ADD-PATH has all paths, and is counted once."""
        many = f'address = "{C}"\nasn = 65003\nadd_path = "send"'
        lab = Lab(tmp_path, config_text(f"{A} 65001", f"{B} 65002", many))
        lab.up(A, B)
        lab.up(C, addpath=dict.fromkeys(Family, AddPathMode.RECEIVE))
        lab.announce(A, "20.0.0.0/8")
        lab.announce(B, "20.0.0.0/8", path=(65002, 1))
        lab.settle()
        (found,) = look(lab, "20.0.0.0/8", names=True)
        assert [path["members"] for path in found["paths"]] == [[B, C], [A, C]]
        assert found["advertised_to"] == 3
        sent = listed(lab, "advertised", C)
        assert [item["neighbor"] for item in sent] == [A, B]
        assert len({item["path_id"] for item in sent}) == 2
        assert [item["path_id"] for item in listed(lab, "advertised", A)] == [0]

    def test_scrubbed_communities(self, full):
        (sent,) = [r for r in listed(full, "advertised", B) if r["prefix"] == "20.1.0.0/16"]
        assert sent["attributes"]["communities"] == ["65001:7"]
        assert sent["neighbor"] == A


class TestRoutes:
    def test_best(self, full):
        found = listed(full, "best")
        assert [(r["prefix"], r["neighbor"]) for r in found] == [
            ("20.0.0.0/8", A),
            ("20.1.0.0/16", A),
            ("2001:db8::/32", C),
        ]
        assert [r["prefix"] for r in listed(full, "best", C)] == ["2001:db8::/32"]
        assert listed(full, "best", B) == []

    def test_received_accepted_rejected(self, full):
        assert len(listed(full, "received")) == 5
        assert [r["prefix"] for r in listed(full, "received", C)] == [
            "20.1.1.0/24",
            "2001:db8::/32",
        ]
        assert [r["prefix"] for r in listed(full, "accepted", C)] == ["2001:db8::/32"]
        assert [r["reject_reason"] for r in listed(full, "rejected", C)] == ["first-as"]
        assert listed(full, "rejected", A) == []

    def test_advertised(self, full):
        assert [(r["prefix"], r["neighbor"]) for r in listed(full, "advertised", A)] == [
            ("20.0.0.0/8", B),
            ("2001:db8::/32", C),
        ]
        assert [(r["prefix"], r["neighbor"]) for r in listed(full, "advertised", C)] == [
            ("20.0.0.0/8", B)
        ]
        with pytest.raises(ValueError, match="needs a neighbor"):
            RoutesWalk(full.router, "advertised")

    def test_advertised_before_the_change_is_sent(self, full):
        full.withdraw(A, "20.1.0.0/16")
        (found,) = [r for r in listed(full, "advertised", B) if r["prefix"] == "20.1.0.0/16"]
        assert (found["state"], found["why"]) == ("outdated", "about to be replaced")
        assert found["neighbor"] is None
        assert found["attributes"]["as_path"] == [65001]
        full.settle()
        assert [r["prefix"] for r in listed(full, "advertised", B)] == [
            "20.0.0.0/8",
            "2001:db8::/32",
        ]

    def test_family_and_prefix(self, full):
        found = listed(full, "best", families=(Family.IPV6_UNICAST,))
        assert [r["prefix"] for r in found] == ["2001:db8::/32"]
        found = listed(full, "best", below=parse_target("20.1.0.0/16"))
        assert [r["prefix"] for r in found] == ["20.1.0.0/16"]
        below = parse_target("20.0.0.0/8")
        assert listed(full, "best", below=below, families=(Family.IPV6_UNICAST,)) == []

    def test_any_steps_give_the_same(self, big):
        whole = listed(big, "received")
        assert len(whole) == 1500
        assert listed(big, "received", spent=always) == whole
        turns = iter(range(10**9))
        assert listed(big, "received", spent=lambda: next(turns) % 7 == 0) == whole
        assert len(listed(big, "best")) == 1000

    def test_pages(self, big):
        whole = listed(big, "received")
        pages, cursor = [], None
        while True:
            page = listed(big, "received", limit=7, after=cursor)
            if not page:
                break
            assert len(page) in {7, 8} or page[-1] == whole[-1]
            pages += page
            cursor = parse_target(page[-1]["prefix"])
        assert pages == whole

    def test_cursor_in_the_other_family(self, full):
        after = parse_target("255.255.255.255/32")
        assert [r["prefix"] for r in listed(full, "best", after=after)] == ["2001:db8::/32"]
        after = parse_target("2001:db8::/32")
        assert listed(full, "best", after=after) == []
        # A cursor need not be in the table.
        after = parse_target("20.0.128.0/17")
        assert next(r["prefix"] for r in listed(full, "best", after=after)) == "20.1.0.0/16"

    def test_prefixes_go_and_come_during_a_walk(self, big):
        walk = RoutesWalk(big.router, "best")
        seen = plain(walk.step(always))
        gone = []
        for _ in range(100):
            seen += plain(walk.step(always))
            # The next prefix goes, and its handle comes to mean another one.
            following = int(seen[-1]["prefix"].split(".")[1]) * 256
            following += int(seen[-1]["prefix"].split(".")[2]) + 1
            prefix = f"30.{following >> 8}.{following & 255}.0/24"
            big.withdraw(A, prefix)
            if following % 2 == 0:
                big.withdraw(B, prefix)
            big.settle()
            big.announce(A, f"40.0.{following & 255}.0/24")
            big.settle()
            gone.append(prefix)
        seen += steps(walk, never)
        prefixes = [r["prefix"] for r in seen]
        assert len(set(prefixes)) == len(prefixes)
        remains = {r["prefix"]: r for r in listed(big, "best")}
        assert not set(prefixes) - set(remains) - set(gone)
        untouched = {f"30.{i >> 8}.{i & 255}.0/24" for i in range(1000)} - set(gone)
        assert untouched <= set(prefixes)
        # What was announced ahead of the walk is in it.
        assert sum(p.startswith("40.") for p in prefixes) == 100
        order = [parse_target(p) for p in prefixes]
        assert order == sorted(order)

    def test_a_peer_that_is_gone(self, full):
        full.down(A)
        found = listed(full, "received")
        assert {r["neighbor"] for r in found} == {A, B, C}
        del full.router.peers[full.peer(A).slot]
        assert {r["neighbor"] for r in listed(full, "received")} == {None, B, C}
        assert look(full, "20.1.0.0/16")[0]["paths"][0]["neighbor"] is None


@pytest.fixture
def big(lab):
    """1,000 prefixes of A, every other one of B too."""
    lab.up(A, B)
    prefixes = [f"30.{i >> 8}.{i & 255}.0/24" for i in range(1000)]
    lab.announce(A, *prefixes[:500])
    lab.announce(A, *prefixes[500:])
    lab.announce(B, *prefixes[::2], path=(65002, 9))
    lab.settle()
    return lab


class TestNeighbors:
    def test_up(self, full):
        found = show.neighbor(full.router, full.peer(A), full.time + 5, faults=True)
        assert found["address"] == A
        assert found["asn"] == 65001
        assert (found["state"], found["enabled"], found["type"]) == (
            "Established",
            True,
            "rs-client",
        )
        assert found["uptime_s"] == 65
        assert found["router_id"] == "192.0.0.1"
        assert found["negotiated"]["hold_time_s"] == 90
        assert "route-refresh" in found["capabilities"]
        assert found["messages"]["received"]["open"] == 1
        assert found["messages"]["received"]["total"] >= 3
        family = found["families"]["ipv4-unicast"]
        assert (family["received"], family["accepted"], family["rejected"]) == (2, 2, 0)
        assert family["advertised"] == 1
        assert family["sending"] == "live"
        assert family["negotiated"] is True
        assert found["faults"] == []

    def test_rejects(self, full):
        found = show.neighbor(full.router, full.peer(C), full.time)
        assert found["rejects"] == {"first-as": 1}
        assert found["families"]["ipv4-unicast"]["rejected"] == 1
        assert found["families"]["ipv6-unicast"]["accepted"] == 1
        assert "faults" not in found

    def test_never_up(self, lab):
        found = show.neighbor(lab.router, lab.peer(A), lab.time + 7, faults=True)
        assert found["state"] in {"Idle", "Connect", "Active"}
        assert found["uptime_s"] == 0
        assert found["state_s"] == 7
        assert found["negotiated"] is None
        assert found["router_id"] is None
        assert found["families"]["ipv4-unicast"]["sending"] == "down"
        assert found["updates"]["announced"] == 0

    def test_lost(self, full):
        full.down(A, "connection reset by peer")
        found = show.neighbor(full.router, full.peer(A), full.time)
        assert found["state"] != "Established"
        assert found["uptime_s"] == 0
        assert found["flaps"] == 1
        assert "connection reset by peer" in found["last_error"]
        assert found["families"]["ipv4-unicast"]["advertised"] == 0

    def test_malformed(self, full):
        # An ORIGIN of two octets: treat-as-withdraw (RFC 7606 7.1).
        bad = bytes.fromhex("0000000540010200 00") + bytes.fromhex("08 0b")
        full.feed(A, bad)
        found = show.neighbor(full.router, full.peer(A), full.time, faults=True)
        assert found["updates"]["treat_as_withdraw"] == 1
        (fault,) = found["faults"]
        assert (fault["outcome"], fault["attribute"]) == ("treat-as-withdraw", 1)
        assert fault["octets"] == bad.hex()

    def test_order_and_steps(self, tmp_path):
        names = [f"{D} 65004", f"{C} 65003", "10.1.0.10 65010", f"{A} 65001"]
        lab = Lab(tmp_path, config_text(*names))
        for spent in (always, never):
            walk = PeerWalk(lab.router, lambda peer: peer.address)
            assert steps(walk, spent) == [A, C, "10.1.0.10", D]

    def test_one_goes_during_the_walk(self, full):
        walk = PeerWalk(full.router, lambda peer: peer.address)
        assert walk.step(always) == [A]
        del full.router.peers[full.peer(B).slot]
        assert steps(walk, never) == [C]

    def test_one_on_its_way_out(self, full):
        full.router.retire(full.peer(B))
        assert steps(PeerWalk(full.router, lambda peer: peer.address), never) == [A, C]
        assert show.status(full.router, full.time, 1)["neighbors"]["total"] == 2

    def test_dynamic(self, tmp_path):
        lab = Lab(tmp_path, config_text('range = "10.2.0.0/16"\nasn = [65010, 65011]'))
        lab.up("10.2.0.7", asn=65011)
        lab.settle()
        (found,) = steps(PeerWalk(lab.router, lambda p: show.neighbor(lab.router, p, 0.0)), never)
        assert (found["address"], found["asn"], found["dynamic"]) == ("10.2.0.7", 65011, True)


def test_status(full):
    full.router.loop.note(0.003)
    found = show.status(full.router, full.time + 1, 12345)
    assert found["version"] == rs.__version__
    assert (found["asn"], found["role"]) == (64500, "route-server")
    assert found["uptime_s"] == 61
    assert found["rss_bytes"] == 12345
    assert (found["prefixes"], found["paths"]) == (4, 5)
    assert found["families"]["ipv4-unicast"]["usable"] == 2
    assert found["families"]["ipv6-unicast"]["prefixes"] == 1
    assert found["neighbors"] == {"total": 3, "established": 3}
    assert found["groups"] == 2
    assert found["longest_slice_ms"] == 3
    assert sum(bucket["slices"] for bucket in found["slices"]) == 1
    assert orjson.dumps(found)


def test_large_communities_are_shown(full):
    full.announce(B, "50.0.0.0/8", more=large_communities("65002:1:2"))
    (found,) = look(full, "50.0.0.0/8")
    assert found["paths"][0]["attributes"]["large_communities"] == ["65002:1:2"]
