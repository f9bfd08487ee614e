"""reject_policy, transit-free warnings and white-listed routes, through a Router."""

from __future__ import annotations

import pytest

from rs import transitfree
from rs.configfile import load_config
from rs.errors import ConfigError
from rs.iana import RejectReason
from rs.show import neighbor
from rs.showroutes import Glance
from tests.test_policy import ASN_A, ASN_B, A, B, change, lab, reason, row, sent, text

R = RejectReason
__all__ = ["lab"]


# --- reject_policy ------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "up"), [("reject", 1), ("tag", 0), ("tag-and-reject", 1)])
def test_tagged_routes_count_as_accepted(lab, policy, up):
    found = lab(
        own=f'reject_policy = "{policy}"\nmax_prefix_ipv4 = 2\nmax_prefix_count = "accepted"\n'
        "bogon_prefixes = true"
    )
    found.announce(A, "8.0.0.0/16", "10.0.0.0/8", "192.168.0.0/16")
    assert found.peer(A).established is bool(up)
    if up:
        assert reason(found, "10.0.0.0/8") == R.FILTER_BOGON_PREFIX
        assert b"\x08\x0a" not in sent(found, B)  # whatever the policy, it goes to nobody


def test_a_loop_is_no_tagged_route(lab):
    own = 'reject_policy = "tag"\nmax_prefix_ipv4 = 1\nmax_prefix_count = "accepted"'
    found = lab(own=own)
    found.announce(A, "8.0.0.0/16", path=(ASN_A, 64500))
    found.announce(A, "8.1.0.0/16")
    assert found.peer(A).established
    slot = found.peer(A).slot
    assert found.router.rib.filtered_count(slot, 0) == 0


def test_tagged_routes_take_the_room_of_a_limit_that_blocks(lab):
    own = (
        'max_prefix_ipv4 = 2\nmax_prefix_action = "block"\nmax_prefix_count = "accepted"\n'
        'bogon_prefixes = true\nreject_policy = "tag"'
    )
    found = lab(own=own)
    found.announce(A, "10.0.0.0/8", "8.0.0.0/16", "8.1.0.0/16")
    assert reason(found, "8.1.0.0/16") == R.FILTER_MAX_PREFIX
    change(found, text(own=own.replace('"tag"', '"tag-and-reject"')))
    assert reason(found, "8.1.0.0/16") == 0
    change(found, text(own=own))
    found.withdraw(A, "8.1.0.0/16")
    found.announce(A, "8.1.0.0/16")
    assert reason(found, "8.1.0.0/16") == R.FILTER_MAX_PREFIX
    # What was refused and passes now has been counted before.
    change(found, text(own=own.replace("bogon_prefixes = true\n", "")))
    assert reason(found, "10.0.0.0/8") == 0
    slot = found.peer(A).slot
    assert found.router.rib.filtered_count(slot, 0) == 0
    found.withdraw(A, "10.0.0.0/8", "8.0.0.0/16", "8.1.0.0/16")
    assert found.router.rib.peer_counts(slot, 0) == (0, 0, 0)


# --- transit-free networks ------------------------------------------------------------------------


def test_transit_free_networks_are_counted_and_logged_once(lab):
    found = lab('transit_free_asns = true\ntransit_free_action = "warning"')
    peer = found.peer(A)
    said = []
    peer.session.log = lambda level, words: said.append((level, words))
    found.announce(A, "8.0.0.0/16", path=(ASN_A, 174, 3356))
    found.announce(A, "8.1.0.0/16", path=(ASN_A, 174, 174, 5))
    found.announce(A, "8.2.0.0/16", path=(ASN_A, 1299))
    assert reason(found, "8.0.0.0/16") == 0
    assert not said
    found.router.housekeeping(found.time)
    assert sorted(said) == [
        ("warning", "transit-free AS1299 in AS_PATH, accepted all the same"),
        ("warning", "transit-free AS174 in AS_PATH, accepted all the same"),
    ]
    found.announce(A, "8.3.0.0/16", path=(ASN_A, 174))
    found.router.housekeeping(found.time)
    assert len(said) == 2
    shown = neighbor(found.router, peer, found.time)
    assert shown["transit_free"] == {"174": 3, "1299": 1}
    change(found, text("transit_free_asns = true"))
    assert reason(found, "8.0.0.0/16") == R.FILTER_TRANSIT_FREE


def test_a_neighbors_own_number_and_a_refused_route_are_no_warning(lab):
    found = lab(
        f'transit_free_asns = [{ASN_A}, 7]\ntransit_free_action = "warning"\nmax_as_path_length = 3'
    )
    found.announce(A, "8.0.0.0/16", path=(ASN_A, ASN_A))
    found.announce(A, "8.1.0.0/16", path=(ASN_A, 5, 7, 8))
    found.router.housekeeping(found.time)
    assert found.peer(A).transit_seen == {}


def test_few_lines_at_a_time(lab):
    found = lab('transit_free_asns = ["100-199"]\ntransit_free_action = "warning"')
    said = []
    for address, asn in ((A, ASN_A), (B, ASN_B)):
        found.peer(address).session.log = lambda *line: said.append(line)
        for i in range(30):
            found.announce(address, f"8.{i}.0.0/16", path=(asn, 100 + i))
    found.router.housekeeping(found.time)
    assert len(said) == transitfree.LINES
    for _ in range(10):
        found.router.housekeeping(found.time)
    # A filter counts 16 networks between two looks; those beyond are not missed in what follows.
    assert len(said) == 32
    found.announce(A, "8.99.0.0/16", path=(ASN_A, 199))
    found.router.housekeeping(found.time)
    assert len(said) == 33


# --- white-listed routes --------------------------------------------------------------------------

SETS = '[prefix_sets.none]\nprefixes = ["8.0.0.0/8"]\n[as_sets.some]\nasns = [7]\n'
IRR = (
    'irr_prefixes = "none"\nirr_origins = "some"\n'
    "irr_enforce_prefix = true\nirr_enforce_origin = true\n"
)


@pytest.mark.parametrize(
    ("entry", "prefix", "path", "expected"),
    [
        ("9.0.0.0/16", "9.0.0.0/16", (ASN_A,), 0),
        ("9.0.0.0/16", "9.0.0.0/17", (ASN_A,), R.FILTER_IRR_ORIGIN),
        ("9.0.0.0/16 le 24", "9.0.1.0/24", (ASN_A,), 0),
        ("9.0.0.0/16 ge 20", "9.0.0.0/16", (ASN_A,), R.FILTER_IRR_ORIGIN),
        ("9.0.0.0/16 le 24", "9.1.1.0/24", (ASN_A,), R.FILTER_IRR_ORIGIN),
        ("9.0.0.0/15 le 24", "9.1.1.0/24", (ASN_A,), 0),
        (f"9.0.0.0/16 AS{ASN_A}", "9.0.0.0/16", (ASN_A,), 0),
        ("9.0.0.0/16 le 24 AS5", "9.0.0.0/24", (ASN_A, 5), 0),
        ("9.0.0.0/16 AS5", "9.0.0.0/16", (ASN_A, 7), R.FILTER_IRR_PREFIX),
        ("9.0.0.0/16 AS5", "9.0.0.0/16", (ASN_A,), R.FILTER_IRR_ORIGIN),
        ("2a00::/31 le 33 AS5", "2a00:1:8000::/33", (ASN_A, 5), 0),
        ("2a00::/31 le 33 AS5", "2a00:2::/33", (ASN_A, 5), R.FILTER_IRR_ORIGIN),
    ],
)
def test_routes_that_no_irr_rule_looks_at(lab, entry, prefix, path, expected):
    found = lab(own=f'{IRR}irr_white_list_routes = ["1.0.0.0/8", "{entry}"]', more=SETS)
    hop = "2001:db8::1" if ":" in prefix else None
    found.announce(A, prefix, path=path, hop=hop)
    assert reason(found, prefix) == expected


def test_a_white_listed_route_is_looked_at_by_the_other_rules(lab):
    own = f'{IRR}irr_white_list_routes = ["9.0.0.0/8 le 32"]\nprefix_length_ipv4 = [8, 24]'
    found = lab(own=own, more=SETS)
    found.announce(A, "9.0.0.0/25")
    assert reason(found, "9.0.0.0/25") == R.FILTER_PREFIX_LENGTH


@pytest.mark.parametrize(
    "entry", ['"9.0.0.0/8 AS"', '"9.0.0.0/8 ASx"', '"AS5"', "5", '"9.0.0.1/8"']
)
def test_routes_that_make_no_sense(tmp_path, entry):
    path = tmp_path / "rs.toml"
    path.write_text(text(own=f"irr_white_list_routes = [{entry}]"))
    with pytest.raises(ConfigError, match="irr_white_list_routes"):
        load_config(path)


# --- tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["reject", "tag", "tag-and-reject"])
def test_the_communities_of_a_rejected_route_are_shown(lab, policy):
    found = lab(
        own=f'reject_policy = "{policy}"\nbogon_prefixes = true\nmax_as_path_length = 2',
        more='[communities]\npreset = "arouteserver"\n',
    )
    found.announce(A, "10.0.0.0/8")
    found.announce(A, "8.0.0.0/16", path=(ASN_A, 1, 2))
    found.announce(A, "9.0.0.0/16")
    glance = Glance(found.router, found.time)
    shown = {}
    for prefix in ("10.0.0.0/8", "8.0.0.0/16", "9.0.0.0/16"):
        item = glance.item(prefix, [row(found, prefix)], 0)
        path = glance.path(prefix, [row(found, prefix)], 0, members=[], names=False)
        shown[prefix] = item.get("reject_communities")
        assert path.get("reject_communities") == shown[prefix]
    if policy == "reject":
        assert set(shown.values()) == {None}
        return
    # ARouteServer's code, and the euro-ix community that its map has for it.
    assert {"65520:2", "64500:65520:2", "64500:1101:3"} <= set(shown["10.0.0.0/8"])
    assert {"65520:1", "64500:1101:5"} <= set(shown["8.0.0.0/16"])
    assert shown["9.0.0.0/16"] is None
