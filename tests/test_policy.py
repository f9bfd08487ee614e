"""Import filters from the configuration to what members are sent, end to end through a Router."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from rs import reload
from rs.configfile import load_config
from rs.iana import Family, NotifyCode, RejectReason
from rs.reasons import irr_state, rpki_state
from tests.routerkit import ROUTER, Lab, communities, config_text, large_communities

A, B, C = "10.1.0.1", "10.1.0.2", "10.1.0.3"
ASN_A, ASN_B = 1001, 1002
R = RejectReason


def text(filters: str = "", own: str = "", more: str = "") -> str:
    """Return a configuration with two members; `own` are the first one's rules."""
    first = f'address = "{A}"\nasn = {ASN_A}'
    if own:
        first += f"\n[neighbors.filters]\n{own}"
    shared = f"[filters]\n{filters}\n" if filters else ""
    return config_text(first, f"{B} {ASN_B}", head=ROUTER + shared + more)


@pytest.fixture
def lab(tmp_path):
    def make(*args: str, **kwargs: str) -> Lab:
        found = Lab(tmp_path, text(*args, **kwargs))
        found.folder = tmp_path
        found.up(A, B)
        found.settle()
        found.sent.clear()  # End-of-RIB
        return found

    return make


def row(lab: Lab, prefix: str, family: int = 0) -> tuple[int, ...]:
    """Return the only path of a prefix."""
    net = ipaddress.ip_network(prefix)
    table = lab.router.rib.tables[family or (net.version == 6)]
    (found,) = table.paths_of(table.handle(net.network_address.packed, net.prefixlen))
    return found


def reason(lab: Lab, prefix: str) -> int:
    """Return why the only path of a prefix is rejected, 0 if it is used."""
    found = row(lab, prefix)
    return found[4] if found[3] & 1 else 0


def sent(lab: Lab, address: str) -> bytes:
    """Return what a member has been sent since the last time, after everything is done."""
    lab.settle()
    return lab.sent.pop(address, b"")


def change(lab: Lab, new: str) -> reload.Reloaded:
    """Reload with another configuration."""
    path = lab.folder / "rs.toml"
    path.write_text(new)
    done = reload.apply(lab.router, load_config(path))
    lab.settle()
    return done


RULES = [
    # rules, prefix, attributes, reason
    ('next_hop = "strict"', "8.8.0.0/16", {"hop": B}, R.FILTER_NEXT_HOP),
    ('next_hop = "strict"', "8.8.0.0/16", {}, 0),
    ('next_hop = "same-as"', "8.8.0.0/16", {"hop": B}, R.FILTER_NEXT_HOP),
    ('next_hop = "same-as"', "8.8.0.0/16", {}, 0),
    (f'next_hop = "authorized"\nnext_hop_addresses = ["{C}"]', "8.8.0.0/16", {"hop": C}, 0),
    (f'next_hop = "authorized"\nnext_hop_addresses = ["{C}"]', "8.8.0.0/16", {}, R.FILTER_NEXT_HOP),
    ("max_as_path_length = 2", "8.8.0.0/16", {"path": (ASN_A, 1, 2)}, R.FILTER_AS_PATH_LENGTH),
    ("max_as_path_length = 2", "8.8.0.0/16", {"path": (ASN_A, 1)}, 0),
    ("bogon_asns = true", "8.8.0.0/16", {"path": (ASN_A, 64512)}, R.FILTER_BOGON_ASN),
    ("bogon_asns = true", "8.8.0.0/16", {"path": (ASN_A, 4294967295)}, R.FILTER_BOGON_ASN),
    ('bogon_asns = ["7-9"]', "8.8.0.0/16", {"path": (ASN_A, 8)}, R.FILTER_BOGON_ASN),
    ('bogon_asns = ["7-9"]', "8.8.0.0/16", {"path": (ASN_A, 64512)}, 0),
    ("transit_free_asns = true", "8.8.0.0/16", {"path": (ASN_A, 174)}, R.FILTER_TRANSIT_FREE),
    ("transit_free_asns = [5]", "8.8.0.0/16", {"path": (ASN_A, 174)}, 0),
    ("transit_free_asns = [5]", "8.8.0.0/16", {"path": (ASN_A, 5)}, R.FILTER_TRANSIT_FREE),
    ("never_via_route_server_asns = [5]", "8.8.0.0/16", {"path": (ASN_A, 5)},
     R.FILTER_NEVER_VIA_ROUTE_SERVER),
    ("max_communities = 2", "8.8.0.0/16",
     {"more": communities("1:1", "1:2") + large_communities("1:2:3")}, R.FILTER_COMMUNITIES),
    ("max_communities = 2", "8.8.0.0/16", {"more": communities("1:1", "1:2")}, 0),
    ("ipv6_global_unicast_only = true", "fd00::/32", {"hop": "2001:db8::1"},
     R.FILTER_NOT_GLOBAL_UNICAST),
    ("ipv6_global_unicast_only = true", "2a00::/32", {"hop": "2001:db8::1"}, 0),
    ('black_list = ["8.8.0.0/16"]', "8.8.0.0/16", {}, R.FILTER_BLACK_LIST),
    ('black_list = ["8.8.0.0/16"]', "8.8.8.0/24", {}, 0),
    ('black_list = ["8.8.0.0/16 ge 24"]', "8.8.8.0/24", {}, R.FILTER_BLACK_LIST),
    ('neighbor_black_list = ["8.8.0.0/16 le 24"]', "8.8.8.0/24", {}, R.FILTER_NEIGHBOR_BLACK_LIST),
    ("bogon_prefixes = true", "192.168.1.0/24", {}, R.FILTER_BOGON_PREFIX),
    ("bogon_prefixes = true", "0.0.0.0/0", {}, R.FILTER_BOGON_PREFIX),
    ("bogon_prefixes = true", "2001:db8:1::/48", {"hop": "2001:db8::1"}, R.FILTER_BOGON_PREFIX),
    ("bogon_prefixes = true", "8.8.0.0/16", {}, 0),
    ('bogon_prefixes = ["8.0.0.0/8 le 32"]', "8.8.0.0/16", {}, R.FILTER_BOGON_PREFIX),
    ("prefix_length_ipv4 = [8, 24]", "8.8.8.0/25", {}, R.FILTER_PREFIX_LENGTH),
    ("prefix_length_ipv4 = [8, 24]", "8.8.8.0/24", {}, 0),
    ("prefix_length_ipv6 = [12, 48]", "2a00::/49", {"hop": "2001:db8::1"}, R.FILTER_PREFIX_LENGTH),
    ('preset = "arouteserver"', "10.0.0.0/8", {}, R.FILTER_BOGON_PREFIX),
    ('preset = "arouteserver"', "8.8.0.0/16", {}, 0),
    ('preset = "arouteserver"\nbogon_prefixes = false', "10.0.0.0/8", {}, 0),
]  # fmt: skip


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize(("rules", "prefix", "attributes", "expected"), RULES)
def test_rule(lab, *, rules, prefix, attributes, expected, everybody):
    found = lab(rules) if everybody else lab(own=rules)
    found.announce(A, prefix, **attributes)
    assert reason(found, prefix) == expected
    assert bool(sent(found, B)) is (expected == 0)


def test_a_neighbors_own_rules_lie_over_the_shared_ones(lab):
    found = lab("max_as_path_length = 1\nbogon_prefixes = true", own="bogon_prefixes = false")
    found.announce(A, "10.0.0.0/8")
    found.announce(A, "8.0.0.0/8", path=(ASN_A, 5))
    found.announce(B, "10.0.0.0/9")
    assert reason(found, "10.0.0.0/8") == 0
    assert reason(found, "8.0.0.0/8") == R.FILTER_AS_PATH_LENGTH
    assert reason(found, "10.0.0.0/9") == R.FILTER_BOGON_PREFIX


def test_internal_neighbors_have_only_their_own_rules(tmp_path):
    lab = Lab(
        tmp_path,
        config_text(
            f'address = "{A}"\nasn = 64500',
            f'address = "{B}"\nasn = 64500\nfilters = {{ bogon_prefixes = true }}',
            'range = "10.2.0.0/16"',
            head=ROUTER + "[filters]\nbogon_prefixes = true\n",
        ),
    )
    inside, outside = "10.2.0.1", "10.2.0.2"
    lab.up(A, B)
    lab.up(inside, asn=64500)
    lab.up(outside, asn=ASN_A)
    filters = {p.address: p.neighbor.filters.bogon_prefixes for p in lab.router.peers.values()}
    assert filters == {A: False, B: True, inside: False, outside: True}
    lab.announce(outside, "10.0.0.0/8", path=(ASN_A,))
    assert reason(lab, "10.0.0.0/8") == R.FILTER_BOGON_PREFIX


def test_same_as_next_hops_follow_the_neighbors_there_are(tmp_path):
    rules = ROUTER + '[filters]\nnext_hop = "same-as"\n'
    alone = config_text(f"{A} {ASN_A}", f"{B} {ASN_B}", head=rules)
    both = config_text(f"{A} {ASN_A}", f"{B} {ASN_B}", f"{C} {ASN_A}", head=rules)
    lab = Lab(tmp_path, alone)
    lab.folder = tmp_path
    lab.up(A, B)
    lab.announce(A, "8.0.0.0/8", hop=C)
    lab.announce(A, "9.0.0.0/8", hop=B)
    assert reason(lab, "8.0.0.0/8") == R.FILTER_NEXT_HOP
    change(lab, both)
    assert reason(lab, "8.0.0.0/8") == 0
    assert reason(lab, "9.0.0.0/8") == R.FILTER_NEXT_HOP
    change(lab, alone)
    assert reason(lab, "8.0.0.0/8") == R.FILTER_NEXT_HOP


# --- reload -------------------------------------------------------------------------------------


def test_changed_rules_judge_again_in_place(lab):
    found = lab("max_as_path_length = 5")
    found.announce(A, "10.0.0.0/8")
    found.announce(A, "8.0.0.0/8")
    assert sent(found, B)
    sent(found, A)
    done = change(found, text("max_as_path_length = 5\nbogon_prefixes = true"))
    assert (done.changed, done.reset) == (2, 0)
    assert found.peer(A).established
    assert reason(found, "10.0.0.0/8") == R.FILTER_BOGON_PREFIX
    assert b"\x08\x0a" in sent(found, B)  # the withdrawal
    assert not sent(found, A)  # nobody is asked for anything
    change(found, text("max_as_path_length = 5"))
    assert reason(found, "10.0.0.0/8") == 0
    assert sent(found, B)


def test_reload_without_a_change_sends_nothing(lab):
    found = lab('preset = "arouteserver"')
    found.announce(A, "8.0.0.0/8")
    sent(found, B)
    change(found, text('preset = "arouteserver"'))
    assert not sent(found, B)
    assert not found.router.scheduler.jobs


IRR = 'irr_prefixes = "a"\nirr_origins = "o"\nirr_enforce_prefix = true\nirr_enforce_origin = true'
SETS = '[prefix_sets.a]\nfiles = ["a.txt"]\n[as_sets.o]\nfiles = ["o.txt"]\n'


def write(folder, prefixes: str, asns: str = f"AS{ASN_A}\nAS7\n") -> None:
    (folder / "a.txt").write_text(prefixes)
    (folder / "o.txt").write_text(asns)


def test_irr(lab, tmp_path):
    write(tmp_path, "8.0.0.0/8\n9.0.0.0/8 le 16\n")
    found = lab(own=IRR, more=SETS)
    for prefix, path in (
        ("8.0.0.0/8", (ASN_A, 7)),
        ("9.1.0.0/16", (ASN_A,)),
        ("8.1.0.0/16", (ASN_A,)),
        ("9.0.0.0/8", (ASN_A, 8)),
    ):
        found.announce(A, prefix, path=path)
    assert reason(found, "8.0.0.0/8") == reason(found, "9.1.0.0/16") == 0
    assert reason(found, "8.1.0.0/16") == R.FILTER_IRR_PREFIX
    assert reason(found, "9.0.0.0/8") == R.FILTER_IRR_ORIGIN
    assert irr_state(row(found, "8.0.0.0/8")[3]) == "valid"
    assert irr_state(row(found, "9.0.0.0/8")[3]) == "invalid"
    found.announce(B, "5.0.0.0/8")
    assert irr_state(row(found, "5.0.0.0/8")[3]) == "not-checked"
    change(found, text(own=IRR + "\nirr_allow_longer = true\nirr_white_list_asns = [8]", more=SETS))
    assert reason(found, "8.1.0.0/16") == reason(found, "9.0.0.0/8") == 0


def test_a_changed_set_file_is_judged_in_place_and_others_stay_as_they_are(lab, tmp_path):
    write(tmp_path, "8.0.0.0/8\n")
    found = lab(own=IRR, more=SETS)
    found.announce(A, "8.0.0.0/8")
    found.announce(A, "9.0.0.0/8")
    sent(found, B)
    used = found.router.rules.sets
    write(tmp_path, "9.0.0.0/8\n8.8.0.0/16\n")
    done = change(found, text(own=IRR, more=SETS))
    assert (done.sets, done.changed) == (1, 0)
    assert found.router.rules.sets.asns["o"] is used.asns["o"]
    assert reason(found, "8.0.0.0/8") == R.FILTER_IRR_PREFIX
    assert reason(found, "9.0.0.0/8") == 0
    assert sent(found, B)
    # Another time stamp, the same contents: nothing to do.
    used = found.router.rules.sets
    write(tmp_path, "9.0.0.0/8\n8.8.0.0/16\n")
    assert change(found, text(own=IRR, more=SETS)).sets == 0
    assert found.router.rules.sets.prefixes["a"] is used.prefixes["a"]


@pytest.mark.parametrize("broken", ["", "9.0.0.0/8\n8.", "<html>\n", None])
def test_a_broken_set_file_keeps_what_was_there(lab, tmp_path, broken):
    write(tmp_path, "8.0.0.0/8\n")
    found = lab(own=IRR, more=SETS)
    found.announce(A, "8.0.0.0/8")
    if broken is None:
        (tmp_path / "a.txt").unlink()
    else:
        write(tmp_path, broken)
    assert change(found, text(own=IRR, more=SETS)).sets == 0
    assert reason(found, "8.0.0.0/8") == 0
    (fault,) = found.router.rules.sets.faults
    assert fault.startswith("prefix_sets.a: ")
    assert "a.txt" in fault


def test_empty_refuses_everything_where_that_is_asked_for(lab, tmp_path):
    write(tmp_path, "")
    sets = SETS.replace("[as_sets", 'empty = "reject"\n[as_sets')
    found = lab(own=IRR, more=sets)
    found.announce(A, "8.0.0.0/8")
    assert reason(found, "8.0.0.0/8") == R.FILTER_IRR_PREFIX


# --- RPKI ---------------------------------------------------------------------------------------


def roas(lab: Lab, announced=(), withdrawn=()) -> None:
    """Change VRPs as an RTR update does."""
    changes = lab.router.roas.apply(announced, withdrawn)
    lab.router.rpki_changed(changes, set(), True)


@pytest.fixture
def validating(lab):
    found = lab('rpki = "reject"')
    found.router.roas.add_source("test")
    found.router.rpki_changed(None, set(), True)
    found.settle()
    return found


def test_a_roa_that_appears_changes_and_goes_moves_only_what_it_touches(validating):
    found = validating
    ours = [f"8.{i}.0.0/16" for i in range(100)]
    found.announce(A, *ours)
    found.announce(A, "9.0.0.0/8", "8.0.0.0/7")
    found.announce(A, "2a00::/32", hop="2001:db8::1")
    assert sent(found, B)
    assert rpki_state(row(found, "8.5.0.0/16")[3]) == "unknown"
    # Valid: nothing is sent.
    roas(found, [("8.5.0.0/16", 16, ASN_A)])
    assert not sent(found, B)
    assert rpki_state(row(found, "8.5.0.0/16")[3]) == "valid"
    assert rpki_state(row(found, "8.6.0.0/16")[3]) == "unknown"
    # It goes over to another AS: one withdrawal.
    roas(found, [("8.5.0.0/16", 16, 7)], [("8.5.0.0/16", 16, ASN_A)])
    withdrawal = b"\xff" * 16 + struct.pack(">HBHBBBH", 26, 2, 3, 16, 8, 5, 0)
    assert sent(found, B) == withdrawal
    assert reason(found, "8.5.0.0/16") == R.FILTER_RPKI_INVALID
    assert not sent(found, A)
    # A ROA for all of them, and not for what is above or beside.
    roas(found, [("8.0.0.0/8", 16, 7)])
    assert sent(found, B)
    assert sum(reason(found, prefix) == R.FILTER_RPKI_INVALID for prefix in ours) == 100
    assert reason(found, "9.0.0.0/8") == reason(found, "8.0.0.0/7") == 0
    # Both go.
    roas(found, [], [("8.0.0.0/8", 16, 7), ("8.5.0.0/16", 16, 7)])
    assert sent(found, B)
    assert not any(reason(found, prefix) for prefix in ours)
    assert rpki_state(row(found, "8.5.0.0/16")[3]) == "unknown"
    assert not sent(found, A)


def test_more_paths_below_a_roa_than_one_step_takes(validating):
    found = validating
    for i in range(4):
        found.announce(A, *[f"8.{i}.{j}.0/24" for j in range(200)])
    roas(found, [("8.0.0.0/8", 24, 7)])
    found.settle()
    assert found.router.rib.peer_counts(found.peer(A).slot, 0) == (800, 0, 800)


def test_without_data_nothing_is_validated(validating):
    found = validating
    roas(found, [("8.0.0.0/8", 8, 7)])
    found.announce(A, "8.0.0.0/8")
    assert reason(found, "8.0.0.0/8") == R.FILTER_RPKI_INVALID
    found.router.rpki_changed(None, set(), False)
    found.settle()
    assert reason(found, "8.0.0.0/8") == 0
    assert rpki_state(row(found, "8.0.0.0/8")[3]) == "not-checked"


def test_accept_notes_the_state_and_no_more(lab):
    found = lab('rpki = "accept"')
    found.router.roas.add_source("test")
    found.router.rpki_changed(None, set(), True)
    roas(found, [("8.0.0.0/8", 8, 7)])
    found.settle()
    found.announce(A, "8.0.0.0/8")
    assert reason(found, "8.0.0.0/8") == 0
    assert rpki_state(row(found, "8.0.0.0/8")[3]) == "invalid"


# --- limits -------------------------------------------------------------------------------------


def fill(lab: Lab, n: int, start: int = 0) -> None:
    for i in range(start, start + n):
        lab.announce(A, f"8.{i}.0.0/16")


def test_max_prefix_ends_the_session_and_says_why(lab):
    found = lab(own="max_prefix_ipv4 = 10")
    sent(found, A)
    conn = found.peer(A).conn
    commands = []
    poll = found.peer(A).session.poll
    found.peer(A).session.poll = lambda: commands.extend(got := poll()) or got
    fill(found, 10)
    assert found.peer(A).established
    fill(found, 1, 10)
    peer = found.peer(A)
    assert not peer.established
    assert "11 received ipv4-unicast prefixes, limit 10" in peer.session.last_error
    notification = next(c.data for c in commands if getattr(c, "conn", None) is conn
                        and getattr(c, "data", b"")[18:19] == b"\x03")  # fmt: skip
    assert notification[19:] == bytes([NotifyCode.CEASE, 1]) + struct.pack(">HBI", 1, 1, 10)
    found.settle()
    assert found.router.rib.peer_counts(peer.slot, 0) == (0, 0, 0)
    found.time += 100_000
    found.router.housekeeping(found.time)
    assert not peer.session.enabled
    found.router.peer_action(A, "enable")
    assert peer.session.enabled


def test_a_higher_limit_starts_the_session_again(lab):
    found = lab(own="max_prefix_ipv4 = 1")
    fill(found, 2)
    assert not found.peer(A).session.enabled
    change(found, text(own="max_prefix_ipv4 = 5"))
    assert found.peer(A).session.enabled


def test_restart_after_a_while(lab):
    found = lab(own='max_prefix_ipv4 = 1\nmax_prefix_action = "restart"\nmax_prefix_restart = 2')
    fill(found, 2)
    assert not found.peer(A).session.enabled
    found.time += 119
    found.router.housekeeping(found.time)
    assert not found.peer(A).session.enabled
    found.time += 2
    found.router.housekeeping(found.time)
    assert found.peer(A).session.enabled


def test_counted_after_the_filters(lab):
    found = lab(own='max_prefix_ipv4 = 2\nmax_prefix_count = "accepted"\nbogon_prefixes = true')
    found.announce(A, "10.0.0.0/8", "10.0.0.0/9", "192.168.0.0/16")
    fill(found, 2)
    assert found.peer(A).established
    fill(found, 1, 2)
    assert not found.peer(A).established


def test_warnings_are_said_once(lab):
    found = lab(own='max_prefix_ipv4 = 10\nmax_prefix_action = "warning"')
    said = []
    found.peer(A).session.log = lambda level, words: said.append((level, words))
    fill(found, 7)
    assert not said
    fill(found, 6, 7)
    assert said == [
        ("warning", "8 received ipv4-unicast prefixes, limit 10"),
        ("warning", "11 received ipv4-unicast prefixes, limit 10"),
    ]
    assert found.peer(A).established


def test_block_keeps_further_prefixes_rejected(lab):
    rules = 'max_prefix_ipv4 = 3\nmax_prefix_action = "block"'
    found = lab(own=rules)
    fill(found, 5)
    slot = found.peer(A).slot
    assert found.peer(A).established
    assert found.router.rib.peer_counts(slot, 0) == (5, 3, 2)
    assert found.router.rib.reject_counts(slot) == {R.FILTER_MAX_PREFIX: 2}
    # What is in use may be announced anew, what is kept out may not while there is no room.
    found.announce(A, "8.0.0.0/16", path=(ASN_A, 5))
    found.announce(A, "8.4.0.0/16", path=(ASN_A, 5))
    assert reason(found, "8.0.0.0/16") == 0
    assert reason(found, "8.4.0.0/16") == R.FILTER_MAX_PREFIX
    found.withdraw(A, "8.0.0.0/16")
    found.announce(A, "8.4.0.0/16")
    assert reason(found, "8.4.0.0/16") == 0
    assert reason(found, "8.3.0.0/16") == R.FILTER_MAX_PREFIX
    change(found, text(own=rules.replace("3", "9")))
    assert found.router.rib.peer_counts(slot, 0) == (4, 4, 0)
    found.announce(A, "2a00::/32", hop="2001:db8::1")
    assert reason(found, "2a00::/32") == 0


def test_block_by_accepted_paths(lab):
    found = lab(
        own='max_prefix_ipv4 = 2\nmax_prefix_action = "block"\nmax_prefix_count = "accepted"\n'
        "max_as_path_length = 2"
    )
    found.announce(A, "8.0.0.0/16", path=(ASN_A, 1, 2))
    fill(found, 3, 1)
    slot = found.peer(A).slot
    assert found.router.rib.reject_counts(slot) == {
        R.FILTER_AS_PATH_LENGTH: 1,
        R.FILTER_MAX_PREFIX: 1,
    }
    # A refused one that would pass now has no room either.
    found.announce(A, "8.0.0.0/16")
    assert reason(found, "8.0.0.0/16") == R.FILTER_MAX_PREFIX
    assert found.router.rib.peer_counts(slot, Family.IPV4_UNICAST) == (4, 2, 2)
