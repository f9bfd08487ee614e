"""The router without sockets: peers that come, go, and come back at the worst moment."""

from __future__ import annotations

import pytest

from rs.filterconfig import Filters, MaxPrefixAction
from rs.iana import RefreshSubtype
from rs.messages import KEEPALIVE
from rs.peer import refresh_marker
from tests.farends import (
    RS_ASN,
    SEQ,
    V4,
    V6,
    Speaker,
    default_attrs,
    make_config,
    make_neighbor,
    make_router,
)
from tests.reference import codec
from tests.routers import Lab


def lab_of(n=3, **router):
    section = make_router(**router)
    speakers = [Speaker(f"10.1.0.{i}", 65000 + i, f"10.2.0.{i}") for i in range(1, n + 1)]
    neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
    return Lab(make_config(section, neighbors)), speakers


def test_peer_goes_again_before_its_old_paths_have_gone():
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.up(two)
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    lab.down(one)
    lab.up(one)
    lab.down(one)
    lab.up(one)
    lab.announce(one, "10.2.0.0/16")
    lab.settle()
    lab.check()
    assert set(two.table()) == {"10.2.0.0/16"}


def test_message_that_comes_with_the_session_waits_for_the_old_paths_to_go():
    """And what it asks for is done: here the NOTIFICATION for a broken UPDATE."""
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.up(two)
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    lab.down(one)
    broken = b"\xff" * 16 + b"\x00\x17\x02\xff\xff\x00\x00"
    lab.up(one, extra=broken)
    lab.settle()
    assert not one.up
    assert one.count("notification", 3, 1) == 1


# --- enhanced route refresh towards us (RFC 7313) -------------------------------------------------


def borr(family):
    return refresh_marker(family, RefreshSubtype.BORR)


def eorr(family):
    return refresh_marker(family, RefreshSubtype.EORR)


def with_routes():
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.up(two)
    lab.announce(one, "10.1.0.0/16", "10.2.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48")
    lab.settle()
    return lab, one, two


def test_routes_not_sent_again_go_with_eorr():
    lab, one, two = with_routes()
    lab.feed(one, borr(V4))
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    assert len(two.table()) == 4
    lab.feed(one, eorr(V4))
    lab.settle()
    assert set(two.table()) == {"10.1.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"}


def test_refresh_that_comes_in_one_read():
    """The markers count where they stand among the UPDATEs, not when the read is done."""
    lab, one, two = with_routes()
    before = two.count("announce", "10.1.0.0/16")
    update = codec.encode_update(["10.1.0.0/16"], default_attrs(one, "10.1.0.0/16"))
    lab.feed(one, borr(V4) + codec.update_message(update) + eorr(V4))
    lab.settle()
    assert set(two.table()) == {"10.1.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"}
    assert two.count("withdraw", "10.1.0.0/16") == 0
    assert two.count("announce", "10.1.0.0/16") == before


def test_refresh_of_both_families_interleaved():
    lab, one, two = with_routes()
    lab.feed(one, borr(V4) + borr(V6))
    lab.announce(one, "10.1.0.0/16", "2001:db8:2::/48")
    lab.feed(one, eorr(V6))
    lab.feed(one, eorr(V4))
    lab.settle()
    assert set(two.table()) == {"10.1.0.0/16", "2001:db8:2::/48"}


def test_refresh_of_one_family_after_the_other():
    lab, one, two = with_routes()
    lab.feed(one, borr(V4))
    lab.announce(one, "10.1.0.0/16")
    lab.feed(one, eorr(V4))
    lab.settle()
    lab.feed(one, borr(V6))
    lab.announce(one, "2001:db8:1::/48")
    lab.feed(one, eorr(V6))
    lab.settle()
    assert set(two.table()) == {"10.1.0.0/16", "2001:db8:1::/48"}


def test_refresh_that_begins_again_before_its_end():
    """RFC 7313 4: the second BoRR makes everything stale, as the first one did."""
    lab, one, two = with_routes()
    lab.announce(one, "10.3.0.0/16")
    lab.feed(one, borr(V4))
    lab.announce(one, "10.1.0.0/16")
    lab.feed(one, borr(V4))
    lab.announce(one, "10.2.0.0/16")
    lab.feed(one, eorr(V4))
    lab.settle()
    assert set(two.table()) == {"10.2.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"}


def test_refresh_begun_before_the_last_one_is_cleared_up():
    lab, one, two = with_routes()
    lab.feed(one, borr(V4))
    lab.announce(one, "10.1.0.0/16")
    lab.feed(one, eorr(V4) + borr(V4))
    lab.settle()
    lab.announce(one, "10.1.0.0/16")
    lab.feed(one, eorr(V4))
    lab.settle()
    assert two.count("withdraw", "10.1.0.0/16") == 0
    assert set(two.table()) == {"10.1.0.0/16", "2001:db8:1::/48", "2001:db8:2::/48"}


def test_eorr_without_borr_changes_nothing():
    lab, one, two = with_routes()
    lab.feed(one, eorr(V4))
    lab.settle()
    assert len(two.table()) == 4


# --- dynamic neighbors ----------------------------------------------------------------------------


def range_lab(n_static=0, *, oracle=True):
    section = make_router()
    neighbors = [make_neighbor(section, None, range="10.9.0.0/16", max_peers=3)]
    statics = [Speaker(f"10.1.{i >> 8}.{i & 255}", 64600 + i, "10.2.0.1") for i in range(n_static)]
    neighbors += [make_neighbor(section, s.asn, address=s.address) for s in statics]
    return Lab(make_config(section, neighbors), oracle=oracle), statics


def test_range_takes_no_more_than_its_max_peers():
    lab, _ = range_lab()
    for i in range(1, 4):
        lab.up(Speaker(f"10.9.0.{i}", 65000 + i, f"10.2.0.{i}"))
    peer, why = lab.router.accept("10.9.0.4")
    assert peer is None
    assert "max_peers" in why
    lab.down(lab.speakers[0])
    lab.settle()
    assert lab.router.accept("10.9.0.4")[0] is not None


def test_dynamic_neighbor_that_is_shut_down_stays_down():
    lab, _ = range_lab(oracle=False)
    one = lab.up(Speaker("10.9.0.1", 65001, "10.2.0.1"))
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    assert lab.router.peer_action(one.address, "shutdown")
    lab.settle()
    assert one.count("notification", 6, 2) == 1
    lab.check_empty()
    again = Speaker(one.address, 65001, "10.2.0.1")
    lab.connect(again)
    lab.settle()
    assert again.count("notification", 6, 5) == 1
    # There is no connection to wait for: it goes, and may come.
    assert lab.router.peer_action(one.address, "enable")
    lab.settle()
    assert not lab.router.peers
    last = lab.up(Speaker(one.address, 65001, "10.2.0.1"))
    lab.down(last)
    lab.settle()
    assert not lab.router.peers


@pytest.mark.parametrize("pause", [0, 2])
def test_dynamic_neighbor_with_too_many_prefixes_stays_down(pause):
    rules = Filters(
        max_prefix_ipv4=1,
        max_prefix_action=MaxPrefixAction.RESTART if pause else MaxPrefixAction.SHUTDOWN,
        max_prefix_restart=pause or 15,
    )
    section = make_router()
    neighbor = make_neighbor(section, None, range="10.9.0.0/16", max_peers=3, filters=rules)
    lab = Lab(make_config(section, [neighbor]), oracle=False)
    one = lab.up(Speaker("10.9.0.1", 65001, "10.2.0.1"))
    lab.announce(one, "10.1.0.0/16", "10.2.0.0/16")
    lab.router.check_limits(one.peer)
    lab.after(one.peer)
    lab.settle()
    assert one.count("notification", 6, 1) == 1
    again = Speaker(one.address, 65001, "10.2.0.1")
    lab.connect(again)
    lab.settle()
    assert again.count("notification", 6, 5) == 1
    lab.now += 60 * pause
    lab.router.housekeeping(lab.now)
    lab.settle()
    assert len(lab.router.peers) == (0 if pause else 1)


def test_connection_that_survives_the_loss_of_another_one():
    """A dynamic neighbor opens two connections; the first one goes while the second is opening."""
    lab, _ = range_lab(oracle=False)
    first = Speaker("10.9.0.1", 65001, "10.2.0.1")
    second = Speaker("10.9.0.1", 65001, "10.2.0.1")
    lab.connect(first)
    lab.connect(second)  # the first one is given up for it
    assert first.count("notification", 6, 7) == 1
    lab.settle()
    other = lab.up(Speaker("10.9.0.2", 65002, "10.2.0.2"))
    lab.feed(second, second.open_message())
    lab.feed(second, KEEPALIVE)
    lab.settle()
    assert second.up
    assert lab.router.peer_for("10.9.0.1") is second.peer
    assert second.slot != other.slot
    lab.announce(second, "10.1.0.0/16")
    lab.settle()
    assert set(other.table()) == {"10.1.0.0/16"}
    lab.down(second)
    lab.down(other)
    lab.settle()
    lab.check_empty()
    assert not lab.router.peers


def test_slots_beyond_the_words_of_the_member_sets():
    """The 64th slot makes every bitmap longer, also those that communities are looked up in."""
    lab, statics = range_lab(62)
    for speaker in statics[:3]:
        lab.up(speaker)
    dynamic = [Speaker(f"10.9.0.{i}", 65000 + i, f"10.3.0.{i}") for i in range(1, 4)]
    lab.up(dynamic[0])
    lab.settle()
    for speaker in dynamic[1:]:
        lab.up(speaker)
        for i, tagged in enumerate(statics[:3]):
            lab.announce(statics[1], f"10.{i}.{speaker.slot}.0/24", communities=(tagged.asn,))
        lab.announce(statics[2], f"10.4.{speaker.slot}.0/24", communities=(speaker.asn,))
        lab.settle()
        lab.check()
    assert dynamic[2].slot > 63


# --- a neighbor that stored communities know before it comes --------------------------------------


def check_never_due(speaker, forbidden):
    """Fail at once when a speaker is sent a prefix that it must never have."""

    def watch(prefix, attrs):
        assert prefix not in forbidden, f"{speaker.address} was sent {prefix}: {attrs}"

    speaker.watch = watch


TAGS = {
    "10.1.0.0/16": {"communities": (65009,)},
    "10.2.0.0/16": {"large_communities": ((RS_ASN, 0, 65009),)},
    "10.3.0.0/16": {"communities": (RS_ASN,)},
    "10.4.0.0/16": {"as_path": ((SEQ, (64601, 65009)),)},
    "10.5.0.0/16": {"communities": (RS_ASN, RS_ASN << 16 | 65008)},
}


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_new_neighbor_never_sees_what_excludes_it(looks):
    """Its AS number is known only from its OPEN; the communities naming it are in the RIB already."""
    lab, (one, two) = range_lab(2)
    one.asn = two.asn = 0
    one.asn, two.asn = 64600, 64601
    lab.up(one)
    lab.up(two)
    for prefix, attrs in TAGS.items():
        lab.announce(two, prefix, **attrs)
    lab.announce(two, "10.6.0.0/16", communities=(RS_ASN, RS_ASN << 16 | 65009))
    lab.announce(two, "10.7.0.0/16")
    lab.settle()
    new = Speaker("10.9.0.1", 65009, "10.3.0.1")
    check_never_due(new, TAGS)
    lab.up(new)
    for n in range(40):
        lab.work(looks)
        lab.read(new)
        if n == 2:
            lab.announce(two, *TAGS, communities=(65009,))
    lab.settle()
    lab.check()
    assert set(new.table()) == {"10.6.0.0/16", "10.7.0.0/16"}
    # Another one takes its slot, for whom the same communities mean nothing, or the contrary.
    lab.down(new)
    lab.settle()
    for prefix, attrs in TAGS.items():
        lab.announce(two, prefix, **attrs)
    lab.settle()
    other = Speaker("10.9.0.2", 65008, "10.3.0.2")
    check_never_due(other, {"10.3.0.0/16", "10.6.0.0/16"})
    lab.up(other)
    for _ in range(40):
        lab.work(looks)
        lab.read(other)
    lab.settle()
    assert other.slot == new.slot
    lab.check()
    assert set(other.table()) == {
        "10.1.0.0/16",
        "10.2.0.0/16",
        "10.4.0.0/16",
        "10.5.0.0/16",
        "10.7.0.0/16",
    }


def test_neighbor_that_has_not_come_up_yet_beyond_the_words_of_the_member_sets():
    """A range of one AS number: who is in the directory before its session is up has no bit yet."""
    section = make_router()
    neighbors = [
        make_neighbor(section, 65009, range="10.9.0.0/16"),
        make_neighbor(section, None, range="10.8.0.0/16"),
    ]
    lab = Lab(make_config(section, neighbors))
    for i in range(1, 66):
        lab.connect(Speaker(f"10.9.0.{i}", 65009, f"10.2.0.{i}"))
    assert lab.speakers[-1].slot == 65
    first = lab.up(Speaker("10.8.0.1", 65001, "10.3.0.1"))
    lab.settle()
    lab.announce(first, "10.1.0.0/16", communities=(65009,))
    lab.open(lab.speakers[64])
    lab.open(lab.speakers[3])
    lab.settle()
    lab.check()


def test_same_address_comes_back_with_another_as():
    """Before the paths of its last session have gone, and as a neighbor that is excluded."""
    lab, (one, two) = range_lab(2)
    lab.up(one)
    lab.up(two)
    new = Speaker("10.9.0.1", 65008, "10.3.0.1")
    lab.up(new)
    lab.settle()
    lab.announce(new, "10.8.0.0/16")
    lab.announce(two, "10.1.0.0/16", communities=(65009,))
    lab.settle()
    assert set(new.table()) == {"10.1.0.0/16"}
    lab.down(new)
    again = Speaker("10.9.0.1", 65009, "10.3.0.1")
    check_never_due(again, {"10.1.0.0/16"})
    lab.up(again)
    lab.announce(again, "10.9.0.0/16")
    lab.settle()
    lab.check()
    assert again.table() == {}
    assert set(one.table()) == {"10.1.0.0/16", "10.9.0.0/16"}


def test_second_connection_of_a_neighbor_brings_another_as():
    """It is open already when the first one ends, so that the neighbor stays the same."""
    lab, (one, two) = range_lab(2)
    lab.up(one)
    lab.up(two)
    new = Speaker("10.9.0.1", 65008, "10.3.0.1")
    lab.up(new)
    lab.announce(new, "10.8.0.0/16")
    lab.announce(two, "10.1.0.0/16", communities=(65009,))
    lab.announce(two, "10.2.0.0/16", communities=(65008,))
    lab.settle()
    assert set(new.table()) == {"10.1.0.0/16"}
    again = Speaker("10.9.0.1", 65009, "10.3.0.1")
    check_never_due(again, {"10.1.0.0/16"})
    lab.connect(again)
    assert again.peer is new.peer
    lab.down(new)
    lab.settle()
    lab.open(again)
    lab.announce(again, "10.9.0.0/16")
    lab.settle()
    assert again.peer is new.peer
    lab.check()
    assert set(again.table()) == {"10.2.0.0/16"}
    assert set(one.table()) == {"10.1.0.0/16", "10.2.0.0/16", "10.9.0.0/16"}
