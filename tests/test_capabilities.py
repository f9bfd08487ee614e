"""Capabilities: offered, understood, agreed upon; and what is refused, with which NOTIFICATION."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs.capabilities import decode_capabilities, encode_capabilities, negotiate
from rs.errors import NotifyError
from rs.iana import AddPathMode, Family
from rs.messages import OpenMessage, decode_open, encode_open
from rs.restart_caps import GracefulRestart, LongLived
from tests.sessions import BOTH, config

V4, V6 = BOTH
MP4 = (1, bytes.fromhex("00010001"))
MP6 = (1, bytes.fromhex("00020001"))


def offer(**changes):
    return config(**changes).offer()


def heard(*capabilities, asn=64501, hold=90, router_id="10.0.0.2"):
    return OpenMessage(asn, hold, router_id, tuple(capabilities))


def agree(ours, theirs, peer_asn=None, **changes):
    return negotiate(ours, theirs, peer_asn=peer_asn, **changes)


def fault(*args, **kwargs):
    with pytest.raises(NotifyError) as info:
        agree(*args, **kwargs)
    assert info.value.reason
    return info.value.code, info.value.subcode, info.value.data


# --- what we send


def test_everything_offered():
    ours = offer(
        asn=100001,
        extended_next_hop=True,
        addpath={V4: AddPathMode.SEND, V6: AddPathMode.BOTH},
        hostname="rs1",
        domain="example.net",
    )
    assert encode_capabilities(ours) == (
        MP4,
        MP6,
        (2, b""),
        (5, bytes.fromhex("000100010002")),
        (6, b""),
        (65, bytes.fromhex("000186a1")),
        (69, bytes.fromhex("00010102 00020103")),
        (70, b""),
        (73, b"\x03rs1\x0bexample.net"),
    )
    assert ours.message().my_as == 23456


def test_nothing_offered():
    ours = offer(
        families=(V6,),
        route_refresh=False,
        enhanced_route_refresh=True,  # means nothing without route refresh
        extended_message=False,
        extended_next_hop=True,  # means nothing without IPv4
        four_octet_as=False,
        addpath={V4: AddPathMode.BOTH},
        domain="example.net",
    )
    assert encode_capabilities(ours) == (MP6,)


def test_plain_offer_has_no_parameters():
    ours = config().offer(plain=True)
    assert ours.message() == OpenMessage(64500, 90, "10.0.0.1")
    assert len(encode_open(ours.message())) == 29


def test_long_names_are_cut_at_a_character():
    ours = offer(hostname="ü" * 40, domain="x" * 100)
    value = dict(encode_capabilities(ours))[73]
    assert value == b"\x40" + ("ü" * 32).encode() + b"\x40" + b"x" * 64


# --- what the peer sends


def test_all_capabilities_in_words():
    known = decode_capabilities(
        (
            MP4,
            (1, bytes.fromhex("0019ff41")),  # reserved octet is ignored
            (2, b""),
            (5, bytes.fromhex("000100010002 000100040002 000100010001")),
            (6, b""),
            (9, b"\x02"),
            (64, b"\x00\x78"),
            (64, bytes.fromhex("c05a 00010180 00190100")),
            (64, b"\x00"),
            (65, bytes.fromhex("000186a1")),
            (69, bytes.fromhex("00010101 00190102")),
            (70, b""),
            (71, b""),
            (71, bytes.fromhex("00010180000e10 00020100000001")),
            (71, b"\x00"),
            (73, b"\x02ab\x01c"),
            (128, b""),
            (131, b"\x01"),
        )
    )
    assert known.names == (
        "multiprotocol ipv4-unicast",
        "multiprotocol 25/65",
        "route-refresh",
        "extended-next-hop ipv4-unicast via ipv6",
        "extended-next-hop 1/4 via ipv6",
        "extended-next-hop ipv4-unicast via ipv4",
        "extended-message",
        "role rs-client",
        "graceful-restart 120 s helper",
        "graceful-restart 90 s restarted notification ipv4-unicast, 25/1 not forwarding",
        "graceful-restart not understood (00)",
        "4-octet-as 100001",
        "add-path ipv4-unicast receive",
        "add-path 25/1 send",
        "enhanced-route-refresh",
        "long-lived-graceful-restart helper",
        "long-lived-graceful-restart ipv4-unicast 3600 s, ipv6-unicast 1 s not forwarding",
        "long-lived-graceful-restart not understood (00)",
        "fqdn ab.c",
        "route-refresh-cisco",
        "unknown-131 (01)",
    )
    assert known.multiprotocol == {(1, 1), (25, 65)}
    assert known.asn == 100001
    assert (known.hostname, known.domain) == ("ab", "c")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (1, b"\x00\x01\x00"),
        (1, b"\x00\x01\x00\x01\x00"),
        (2, b"\x00"),
        (5, b"\x00\x01\x00\x01\x00"),
        (5, b""),
        (6, b"\x00"),
        (65, b"\x00\x01"),
        (65, bytes(5)),
        (69, b"\x00\x01\x01"),
        (69, b""),
        (70, b"\x00"),
        (128, b"\x00"),
    ],
)
def test_malformed_capability(code, value):
    assert fault(offer(), heard(MP4, (code, value))) == (2, 0, b"")


@pytest.mark.parametrize("mode", [0, 4, 255])
def test_addpath_mode_that_does_not_exist_is_not_understood(mode):
    known = decode_capabilities(((69, b"\x00\x01\x01\x03\x00\x02\x01" + bytes([mode])),))
    assert known.addpath == {}
    assert known.names[0].startswith("add-path not understood")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (b"\x03rs1\x00", ("rs1", "")),
        (b"\x03rs1", ("rs1", "")),
        (b"", ("", "")),
        (b"\x05rs1", ("", "")),
        (b"\x02\xff\xfe\x00", ("", "")),
        (b"\x02a\n\x00", ("", "")),
        (b"\x01a\x09b", ("", "")),
        (b"\x01a\x01b\x01c", ("a", "b")),
    ],
)
def test_host_name(value, names):
    known = decode_capabilities(((73, value),))
    assert (known.hostname, known.domain) == names
    assert agree(offer(), heard((73, value))).peer_hostname == names[0]


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=8).map(tuple),
    st.integers(0, 65535),
    st.integers(0, 65535),
)
def test_any_open_is_accepted_or_refused_by_an_open_error(capabilities, asn, hold):
    try:
        found = agree(offer(), OpenMessage(asn, hold, "10.0.0.2", capabilities))
    except NotifyError as error:
        found = (error.code, error.subcode)
    if isinstance(found, tuple):
        assert found in {(2, 0), (2, 2), (2, 6), (2, 7)}
    else:
        assert found.families
        assert len(found.peer_capabilities) >= len(capabilities)


# --- what both agree on


def test_two_full_speakers():
    every = {
        "extended_next_hop": True,
        "addpath": {V4: AddPathMode.BOTH, V6: AddPathMode.RECEIVE},
        "hostname": "h",
        "domain": "d",
    }
    theirs = offer(asn=100001, router_id="10.0.0.2", hold_time=30, **every).message()
    found = agree(offer(**every), decode_open(encode_open(theirs)[19:]), 100001)
    assert found.families == BOTH
    assert found.four_octet_as
    assert found.hold_time == 30
    assert found.keepalive == 10.0
    assert found.extended_message
    assert found.extended_receive
    assert found.route_refresh
    assert found.enhanced_route_refresh
    assert found.addpath_receive == {V4}
    assert found.addpath_send == {V4}
    assert found.extended_next_hop == {V4}
    assert (found.peer_asn, found.peer_router_id) == (100001, "10.0.0.2")
    assert (found.peer_hostname, found.peer_domain) == ("h", "d")
    assert not found.ibgp


def test_a_speaker_without_capabilities():
    found = agree(offer(), heard(), 64501)
    assert found.families == (V4,)
    assert found.peer_capabilities == ()
    assert not found.four_octet_as
    assert not found.extended_message
    assert found.extended_receive  # we have said so, whatever the peer says (RFC 8654 4)
    assert not found.route_refresh
    assert not found.enhanced_route_refresh
    assert not found.addpath_receive
    assert not found.extended_next_hop


def test_nothing_is_agreed_that_a_plain_open_did_not_offer():
    ours = config(extended_next_hop=True, addpath={V4: AddPathMode.BOTH}, families=(V6, V4)).offer(
        plain=True
    )
    theirs = offer(
        asn=64501,
        router_id="10.0.0.2",
        extended_next_hop=True,
        addpath={V4: AddPathMode.BOTH},
    ).message()
    found = agree(ours, theirs)
    assert found.families == (V4,)
    assert not found.four_octet_as
    assert not found.route_refresh
    assert not found.enhanced_route_refresh
    assert not found.extended_message
    assert not found.extended_receive
    assert not found.addpath_receive | found.addpath_send | found.extended_next_hop


@pytest.mark.parametrize(
    ("ours", "theirs", "receive", "send"),
    [
        (1, 1, 0, 0),
        (1, 2, 1, 0),
        (2, 1, 0, 1),
        (2, 2, 0, 0),
        (3, 1, 0, 1),
        (3, 2, 1, 0),
        (3, 3, 1, 1),
    ],
)
def test_addpath_directions(ours, theirs, receive, send):
    value = b"\x00\x01\x01" + bytes([theirs])
    found = agree(offer(addpath={V4: AddPathMode(ours)}), heard(MP4, MP6, (69, value)))
    assert found.addpath_receive == ({V4} if receive else set())
    assert found.addpath_send == ({V4} if send else set())


LIMITS = b"\x00\x01\x01\x00\x03" + b"\x00\x02\x01\x00\x00" + b"\x00\x19\x41\x00\x07"


@pytest.mark.parametrize(("theirs", "limits"), [(1, {V4: 3}), (2, {}), (3, {V4: 3})])
def test_limits_of_paths(theirs, limits):
    """Only where it receives several, only families with a table, and 0 is no limit."""
    ours = offer(addpath={V4: AddPathMode.BOTH, V6: AddPathMode.BOTH})
    modes = b"\x00\x01\x01" + bytes([theirs]) + b"\x00\x02\x01\x03"
    message = heard(MP4, MP6, (69, modes), (76, LIMITS))
    assert agree(ours, message).paths_limit == limits
    names = agree(ours, message).peer_capabilities
    assert {"paths-limit ipv4-unicast 3", "paths-limit 25/65 7"} <= set(names)


@pytest.mark.parametrize("value", [b"", b"\x00\x01\x01\x00", bytes(6)])
def test_a_limit_of_paths_that_is_not_understood(value):
    ours = offer(addpath={V4: AddPathMode.BOTH})
    found = agree(ours, heard(MP4, (69, b"\x00\x01\x01\x03"), (76, value)))
    assert found.paths_limit == {}
    assert f"paths-limit not understood ({value.hex()})" in found.peer_capabilities


def test_our_limit_of_paths_is_for_families_of_which_we_receive_several():
    modes = {V4: AddPathMode.RECEIVE, V6: AddPathMode.SEND}
    codes = dict(encode_capabilities(offer(addpath=modes, paths_limit={V4: 300, V6: 5})))
    assert codes[76] == b"\x00\x01\x01\x01\x2c"
    assert 76 not in dict(encode_capabilities(offer(paths_limit={V4: 300})))


@pytest.mark.parametrize("code", [2, 128])
def test_both_codes_of_route_refresh(code):
    assert agree(offer(), heard((code, b""))).route_refresh
    assert not agree(offer(), heard((70, b""))).enhanced_route_refresh


def test_extended_next_hop_of_other_families_is_not_ours():
    ours = offer(extended_next_hop=True)
    other = (5, bytes.fromhex("000100040002 000200010001"))
    assert not agree(ours, heard(MP4, other)).extended_next_hop
    same = (5, bytes.fromhex("000100040002 000100010002"))
    assert agree(ours, heard(MP4, same)).extended_next_hop == {V4}
    assert not agree(ours, heard(MP6, same)).extended_next_hop
    assert not agree(offer(), heard(MP4, same)).extended_next_hop


def test_extended_messages_only_where_both_want():
    assert agree(offer(), heard((6, b""))).extended_message
    found = agree(offer(extended_message=False), heard((6, b"")))
    assert not found.extended_message
    assert not found.extended_receive


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        (BOTH, (MP4, MP6), BOTH),
        ((V6, V4), (MP4, MP6), (V6, V4)),
        (BOTH, (MP6,), (V6,)),
        (BOTH, ((2, b""),), (V4,)),
        (BOTH, (MP4, MP4), (V4,)),
    ],
)
def test_common_families_in_our_order(ours, theirs, common):
    assert agree(offer(families=ours), heard(*theirs)).families == common


@pytest.mark.parametrize(
    ("ours", "theirs", "data"),
    [
        ((V6,), (), "01040002 0001"),
        ((V6,), (MP4,), "01040002 0001"),
        ((V4,), (MP6,), "01040001 0001"),
        (BOTH, ((1, bytes.fromhex("00190041")),), "01040001 0001 01040002 0001"),
    ],
)
def test_no_common_family_lists_what_is_missing(ours, theirs, data):
    assert fault(offer(families=ours), heard(*theirs)) == (2, 7, bytes.fromhex(data))


# --- hold time


@pytest.mark.parametrize(
    ("ours", "theirs", "hold", "keepalive"),
    [(90, 180, 90, 30.0), (180, 90, 90, 30.0), (0, 90, 0, 0.0), (90, 0, 0, 0.0), (90, 3, 3, 1.0)],
)
def test_hold_time_is_the_smaller(ours, theirs, hold, keepalive):
    found = agree(offer(hold_time=ours), heard(hold=theirs))
    assert (found.hold_time, found.keepalive) == (hold, keepalive)


@pytest.mark.parametrize(("theirs", "least"), [(1, 3), (2, 3), (1, 0), (2, 0), (9, 10), (29, 30)])
def test_unacceptable_hold_time(theirs, least):
    assert fault(offer(), heard(hold=theirs), min_hold_time=least) == (2, 6, b"")


# --- AS number and identifier


def as4(asn):
    return (65, asn.to_bytes(4))


@pytest.mark.parametrize(
    ("my_as", "capabilities", "expected", "asn"),
    [
        (64501, (), 64501, 64501),
        (64501, (), None, 64501),
        (64501, (as4(64501),), 64501, 64501),
        (23456, (as4(100001),), 100001, 100001),
        (23456, (as4(64501),), None, 64501),
        (23456, (), 100001, 100001),  # an old speaker in a large AS is known to us by number
        (23456, (), 23456, 23456),
    ],
)
def test_peer_as(my_as, capabilities, expected, asn):
    found = agree(offer(), heard(*capabilities, asn=my_as), expected)
    assert found.peer_asn == asn


@pytest.mark.parametrize(
    ("my_as", "capabilities", "expected"),
    [
        (64502, (), 64501),
        (0, (), None),
        (0, (), 64501),
        (64501, (as4(0),), None),
        (23456, (as4(0),), None),
        (64501, (as4(64502),), 64502),  # contradicts itself
        (64501, (as4(64502),), 64501),
        (23456, (), None),
        (23456, (as4(23456),), None),
        (23456, (), 64501),
        (23456, (as4(100002),), 100001),
    ],
)
def test_bad_peer_as(my_as, capabilities, expected):
    assert fault(offer(), heard(*capabilities, asn=my_as), expected) == (2, 2, b"")


@pytest.mark.parametrize("plain", [False, True])
def test_a_two_octet_speaker_knows_its_peer_by_the_open(plain):
    ours = config(four_octet_as=plain).offer(plain=plain)
    peer = heard(as4(100001), asn=23456)
    assert agree(ours, peer, 23456).peer_asn == 23456
    assert agree(ours, peer, 100001).peer_asn == 100001
    assert agree(ours, peer).peer_asn == 100001
    assert fault(ours, peer, 100002) == (2, 2, b"")


@pytest.mark.parametrize(
    ("ours", "theirs", "ok"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_four_octet_as(ours, theirs, ok):
    capabilities = (as4(64501),) if theirs else ()
    assert agree(offer(four_octet_as=ours), heard(*capabilities)).four_octet_as is ok


def test_ibgp_and_identifiers():
    assert agree(offer(), heard(asn=64500)).ibgp
    # RFC 6286 2.2: the same identifier is wrong inside an AS, and right between two.
    assert fault(offer(), heard(asn=64500, router_id="10.0.0.1")) == (2, 3, b"")
    assert not agree(offer(), heard(router_id="10.0.0.1")).ibgp
    assert fault(offer(), heard(router_id="0.0.0.0")) == (2, 3, b"")
    # RFC 6286 2.1: any other value will do, class or no class.
    assert agree(offer(), heard(router_id="255.255.255.255")).peer_router_id == "255.255.255.255"


def test_negotiated_is_a_value():
    first = agree(offer(), heard())
    assert first == agree(offer(), heard())
    assert replace(first, hold_time=1) != first
    assert isinstance(hash(first), int)
    assert Family.IPV4_UNICAST in first.families


# --- restarts


def restart_offer(**changes):
    said = GracefulRestart(
        restarted=True,
        notification=True,
        time=90,
        families={(1, 1): True, (2, 1): False},
        long_lived={(1, 1): LongLived(True, 3600), (2, 1): LongLived(False, 0xFFFFFF)},
    )
    return offer(graceful_restart=replace(said, **changes))


def test_what_is_said_of_restarts_comes_back():
    ours = restart_offer()
    capabilities = encode_capabilities(ours)
    assert dict(capabilities)[64] == bytes.fromhex("c05a 00010180 00020100")
    assert dict(capabilities)[71] == bytes.fromhex("00010180000e10 00020100ffffff")
    assert [code for code, _ in capabilities] == sorted(code for code, _ in capabilities)
    assert decode_capabilities(capabilities).graceful_restart == ours.graceful_restart


def test_the_last_of_several_counts_and_the_long_lived_only_beside_it():
    """RFC 4724 3, RFC 9494 4.5."""
    two = decode_capabilities(((64, b"\x00\x05"), (64, b"\x80\x07"))).graceful_restart
    assert two == GracefulRestart(restarted=True, time=7)
    assert decode_capabilities(((71, b"\x00\x01\x01\x80\0\0\1"),)).graceful_restart is None
    assert decode_capabilities(((64, b"\x00"),)).graceful_restart is None


@pytest.mark.parametrize("side", ["both", "ours", "theirs"])
def test_restarts_are_negotiated_where_both_have_them(side):
    plain = offer()
    ours = restart_offer() if side != "theirs" else plain
    theirs = restart_offer() if side != "ours" else plain
    message = replace(theirs, asn=64501, router_id="10.0.0.2").message()
    agreed = negotiate(ours, message, peer_asn=None)
    both = side == "both"
    assert (agreed.graceful_restart == theirs.graceful_restart) is (both or side == "ours")
    assert agreed.notification_restart is both
    assert agreed.long_lived is both
    half = negotiate(restart_offer(notification=False, long_lived=None), message, peer_asn=None)
    assert not half.notification_restart
    assert not half.long_lived
