"""Restarts of neighbors, without sockets: whose routes stay, how long, and what becomes of them."""

from __future__ import annotations

import struct

import pytest

from rs.iana import AddPathMode, CeaseSubcode, Decided, Family, NotifyCode, RefreshSubtype
from rs.messages import encode_notification
from rs.peer import end_of_rib, refresh_marker
from rs.restart import Phase
from rs.restart_caps import GracefulRestart, LongLived
from tests.farends import handle
from tests.reference import codec
from tests.routerkit import Lab, communities, config_text
from tests.sessions import open_message

A, B, C = "10.0.0.2", "10.0.0.3", "10.0.0.4"
V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
P = [f"198.51.{i}.0/24" for i in range(8)]
FORWARDING = {(1, 1): True, (2, 1): True}


def graceful(time: int = 60, families=FORWARDING, **more) -> GracefulRestart:
    """What a neighbor says that wants its routes kept."""
    return GracefulRestart(time=time, families=families, **more)


def keys(address: str, asn: int, **more) -> str:
    """A neighbor's table, with keys of its own."""
    lines = [f'address = "{address}"', f"asn = {asn}"]
    return "\n".join(lines + [f"{k} = {v}" for k, v in more.items()])


def make_lab(tmp_path, *, said=None, **more) -> Lab:
    """A and B are up, A has announced two prefixes and sent its End-of-RIB."""
    lab = Lab(tmp_path, config_text(keys(A, 64501, **more), f"{B} 64502", f"{C} 64503"))
    lab.up(A, graceful_restart=graceful() if said is None else said)
    lab.up(B)
    lab.announce(A, *P[:2])
    eor(lab, A)
    lab.settle()
    return lab


def eor(lab: Lab, address: str, family: Family = V4) -> None:
    receive(lab, address, end_of_rib(family))


def receive(lab: Lab, address: str, data: bytes) -> None:
    peer = lab.peer(address)
    lab.router.tick(lab.time)
    peer.session.receive(peer.conn, data, lab.time)
    lab._commands(peer)


def held(lab: Lab, address: str = A, family: Family = V4) -> tuple[int, int]:
    """Paths of a neighbor, and how many of them are stale."""
    slot = lab.peer(address).slot
    return lab.router.rib.peer_counts(slot, family)[0], lab.router.rib.stale(slot, family)


def sent_since(lab: Lab, address: str) -> bytes:
    """What a neighbor has been sent since it was asked last."""
    lab.settle()
    return lab.sent.pop(address, b"")


def wait(lab: Lab, seconds: float) -> None:
    """Let time pass, with the housekeeping of each second."""
    end = lab.time + seconds
    while lab.time < end:
        lab.time = min(end, lab.time + 1.0)
        lab.router.housekeeping(lab.time)
    lab.settle()


def phase(lab: Lab, address: str = A) -> Phase | None:
    kept = lab.peer(address).kept.get(V4)
    return kept.phase if kept is not None else None


# --- the session goes, and comes back ---------------------------------------------------------


def test_routes_stay_and_nobody_hears_of_the_restart(tmp_path):
    lab = make_lab(tmp_path)
    sent_since(lab, B)
    lab.down(A)
    assert sent_since(lab, B) == b""
    assert held(lab) == (2, 2)
    assert phase(lab) is Phase.RESTARTING
    wait(lab, 5)
    lab.up(A, graceful_restart=graceful(restarted=True))
    assert phase(lab) is Phase.SYNCHRONIZING
    lab.announce(A, P[0])
    assert held(lab) == (2, 1)
    lab.announce(A, P[1])
    eor(lab, A)
    assert held(lab) == (2, 0)
    assert phase(lab) is None
    assert sent_since(lab, B) == b""


def test_what_the_new_session_does_not_bring_goes_at_its_end_of_rib(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=graceful(restarted=True))
    lab.announce(A, P[1], P[2])
    lab.settle()
    assert held(lab) == (3, 1)
    sent_since(lab, B)
    eor(lab, A)
    out = sent_since(lab, B)
    assert held(lab) == (2, 0)
    assert struct.pack(">H4B", 4, 24, *map(int, P[0].split(".")[:3])) in out, "a withdrawal"


def test_without_the_capability_everything_goes_at_once(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A)
    lab.settle()
    assert held(lab) == (0, 0)
    lab.announce(A, P[0])
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)


@pytest.mark.parametrize("families", [{}, {(2, 1): True}, {(1, 1): False, (2, 1): True}])
def test_a_family_that_is_not_listed_or_not_usable_goes(tmp_path, families):
    """RFC 4724 4.2: no F bit in the new capability, or no such family."""
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=graceful(families=families, restarted=True))
    lab.announce(A, P[3])
    lab.settle()
    assert held(lab) == (1, 0)
    assert phase(lab) is None


def test_only_families_listed_before_are_kept(tmp_path):
    lab = make_lab(tmp_path, said=graceful(families={(2, 1): True}))
    lab.announce(A, "2001:db8:1::/48", hop="2001:db8::2")
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)
    assert held(lab, A, V6) == (1, 1)


def test_a_helper_keeps_nothing_of_us_and_we_nothing_of_it(tmp_path):
    lab = make_lab(tmp_path, said=graceful(time=0, families={}))
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)


def test_off_says_nothing_and_keeps_nothing(tmp_path):
    lab = make_lab(tmp_path, graceful_restart='"off"')
    assert lab.peer(A).agreed.graceful_restart is None
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)


def test_the_restart_time_ends_it(tmp_path):
    lab = make_lab(tmp_path, said=graceful(time=20))
    sent_since(lab, B)
    lab.down(A)
    wait(lab, 19)
    assert held(lab) == (2, 2)
    wait(lab, 2)
    assert held(lab) == (0, 0)
    assert sent_since(lab, B) != b""
    assert not lab.router.restarts.tick(lab.time)


def test_stale_time_bounds_the_restart_time(tmp_path):
    lab = make_lab(tmp_path, said=graceful(time=4000), stale_time=10)
    lab.down(A)
    wait(lab, 9)
    assert held(lab) == (2, 2)
    wait(lab, 2)
    assert held(lab) == (0, 0)


def test_stale_time_bounds_the_wait_for_the_end_of_rib(tmp_path):
    lab = make_lab(tmp_path, stale_time=10)
    lab.down(A)
    wait(lab, 5)
    lab.up(A, graceful_restart=graceful(restarted=True))
    lab.announce(A, P[0])
    wait(lab, 9)
    assert held(lab) == (2, 1)
    wait(lab, 2)
    assert held(lab) == (1, 0)
    eor(lab, A)
    assert held(lab) == (1, 0)


def test_what_was_stale_before_goes_when_the_session_is_lost_again(tmp_path):
    """RFC 4724 4.2: consecutive restarts."""
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=graceful(restarted=True))
    lab.announce(A, P[0])
    lab.down(A)
    lab.settle()
    assert held(lab) == (1, 1)
    assert phase(lab) is Phase.RESTARTING


def test_a_session_that_comes_back_while_stale_paths_go_waits_for_that(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=graceful(restarted=True))
    lab.announce(A, P[0])
    lab.down(A)
    lab.time += 2
    lab.up(A, graceful_restart=graceful(restarted=True))
    assert lab.router.restarts.settling(lab.peer(A))
    lab.announce(A, P[5])
    lab.settle()
    assert held(lab) == (2, 1)
    eor(lab, A)
    lab.settle()
    assert held(lab) == (1, 0)


def test_another_router_at_the_address_has_other_routes(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, router_id="192.0.9.9", graceful_restart=graceful(restarted=True))
    lab.settle()
    assert held(lab) == (0, 0)


def test_a_neighbor_that_is_shut_down_while_it_is_away_loses_its_routes(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.router.peer_action(A, "shutdown")
    lab.settle()
    assert held(lab) == (0, 0)


def test_stopped_by_hand_nothing_stays(tmp_path):
    lab = make_lab(tmp_path)
    lab.router.peer_action(A, "shutdown")
    lab.settle()
    assert held(lab) == (0, 0)


def test_a_neighbor_that_is_removed_while_it_is_away_leaves_nothing(tmp_path):
    lab = make_lab(tmp_path)
    peer = lab.peer(A)
    lab.down(A)
    peer.session.stop(lab.time)
    lab.router.retire(peer)
    lab.settle()
    assert peer.slot not in lab.router.peers
    assert lab.router.rib.tables[V4].stats()["paths"] == 0


def test_a_neighbor_of_a_range_stays_as_long_as_its_routes(tmp_path):
    text = config_text('range = "10.0.0.0/24"\nasn = 64501')
    lab = Lab(tmp_path, text)
    lab.up(A, asn=64501, graceful_restart=graceful(time=20))
    lab.announce(A, P[0])
    lab.down(A)
    lab.settle()
    assert held(lab) == (1, 1)
    wait(lab, 21)
    assert lab.router.peer_for(A) is None
    assert not lab.router.peers


def long_lived(tmp_path) -> Lab:
    """A has been away for nearly its restart time; it had three routes."""
    said = graceful(time=20, long_lived={(1, 1): LongLived(True, 600)})
    text = config_text(keys(A, 64501, long_lived_stale_time=300), f"{B} 64502", f"{C} 64503")
    lab = Lab(tmp_path, text)
    lab.up(A, graceful_restart=said)
    lab.up(B, graceful_restart=graceful(time=0, families={}, long_lived={}))
    lab.up(C)
    lab.announce(A, *P[:2])
    lab.announce(A, P[2], more=communities("65535:7"))
    lab.settle()
    lab.down(A)
    wait(lab, 19)
    assert phase(lab) is Phase.RESTARTING
    return lab


def advertised(lab: Lab, address: str) -> int:
    """Prefixes that a neighbor has been sent."""
    lab.settle()
    peer = lab.peer(address)
    return peer.view(V4).adj.advertised(peer.slot)


def test_away_for_long_its_routes_go_to_who_knows_what_they_are(tmp_path):
    """RFC 9494 4.2 and 4.3; NO_LLGR goes, and the shorter of both times counts."""
    lab = long_lived(tmp_path)
    assert (advertised(lab, B), advertised(lab, C)) == (3, 3)
    sent_since(lab, B)
    wait(lab, 2)
    assert phase(lab) is Phase.LONG_LIVED
    assert held(lab) == (2, 2)
    assert (advertised(lab, B), advertised(lab, C)) == (2, 0)
    assert b"\xc0\x08\x04\xff\xff\x00\x06" in sent_since(lab, B)
    wait(lab, 297)
    assert held(lab) == (2, 2)
    wait(lab, 3)
    assert held(lab) == (0, 0)
    assert advertised(lab, B) == 0


def test_any_other_path_is_better_than_a_long_lived_stale_one(tmp_path):
    lab = long_lived(tmp_path)
    wait(lab, 2)
    lab.announce(C, P[0], path=(64503, 1, 2, 3, 4, 5))
    lab.settle()
    table = lab.router.rib.tables[V4]
    first, second = table.paths_of(table.handle(bytes([198, 51, 0, 0]), 24))
    assert first[0] == lab.peer(C).slot
    assert second[4] == Decided.LLGR_STALE


def test_the_clock_alone_sets_the_work_going(tmp_path):
    lab = long_lived(tmp_path)
    woken = []
    lab.router.on_wake = lambda: woken.append(lab.time)
    lab.time += 2
    lab.router.housekeeping(lab.time)
    assert woken


def test_back_after_long_its_routes_are_as_before(tmp_path):
    lab = long_lived(tmp_path)
    wait(lab, 2)
    said = graceful(time=20, restarted=True, long_lived={(1, 1): LongLived(True, 600)})
    lab.up(A, graceful_restart=said)
    assert phase(lab) is Phase.SYNCHRONIZING
    lab.announce(A, P[0])
    eor(lab, A)
    assert (advertised(lab, B), advertised(lab, C)) == (1, 1)
    assert held(lab) == (1, 0)


def test_back_after_long_without_the_capability_all_goes(tmp_path):
    lab = long_lived(tmp_path)
    wait(lab, 2)
    lab.up(A, graceful_restart=graceful(restarted=True))
    lab.settle()
    assert held(lab) == (0, 0)


def test_a_neighbor_that_learns_of_long_lived_routes_gets_them(tmp_path):
    """What its next session says decides, before it joins."""
    lab = long_lived(tmp_path)
    wait(lab, 2)
    lab.down(C)
    lab.time += 5
    lab.up(C, graceful_restart=graceful(time=0, families={}, long_lived={}))
    assert advertised(lab, C) == 2
    lab.down(C)
    lab.time += 5
    lab.up(C)
    lab.settle()
    assert advertised(lab, C) == 0


# --- how it ended -------------------------------------------------------------------------------


def notified(lab: Lab, code: int, subcode: int, data: bytes = b"") -> tuple[int, int]:
    receive(lab, A, encode_notification(code, subcode, data))
    lab.settle()
    return held(lab)


def test_a_notification_takes_the_routes_along(tmp_path):
    """RFC 4724 4: normal procedures after a NOTIFICATION."""
    lab = make_lab(tmp_path, said=graceful(notification=True))
    assert notified(lab, NotifyCode.CEASE, CeaseSubcode.OUT_OF_RESOURCES) == (0, 0)


def test_a_notification_leaves_them_where_both_want_it(tmp_path):
    said = graceful(notification=True)
    lab = make_lab(tmp_path, said=said, graceful_notification="true")
    assert notified(lab, NotifyCode.CEASE, CeaseSubcode.OUT_OF_RESOURCES) == (2, 2)


def test_a_hard_reset_takes_them_along(tmp_path):
    said = graceful(notification=True)
    lab = make_lab(tmp_path, said=said, graceful_notification="true")
    assert notified(lab, NotifyCode.CEASE, CeaseSubcode.HARD_RESET, b"\x06\x02") == (0, 0)
    assert "Hard Reset (6/9): Cease/Administrative Shutdown" in lab.peer(A).session.last_error


@pytest.mark.parametrize(("both", "left"), [("true", (2, 2)), ("false", (0, 0))])
def test_the_hold_timer(tmp_path, both, left):
    said = graceful(notification=True)
    lab = make_lab(tmp_path, said=said, graceful_notification=both)
    peer = lab.peer(A)
    while peer.established:
        lab.time += 30
        peer.session.handle_timer(lab.time)
    lab._commands(peer)
    lab.settle()
    assert "Hold Timer" in peer.session.last_error
    assert held(lab) == left


def test_a_shutdown_is_told_as_a_hard_reset_where_routes_would_stay(tmp_path):
    """RFC 8538 3.1: the neighbor shall not keep our routes."""
    said = graceful(notification=True)
    lab = make_lab(tmp_path, said=said, graceful_notification="true")
    peer = lab.peer(A)
    peer.session.stop(lab.time, CeaseSubcode.ADMIN_SHUTDOWN, "bye")
    sent = b"".join(c.data for c in peer.session.poll() if hasattr(c, "data"))
    assert sent == encode_notification(6, 9, b"\x06\x02\x03bye")


def test_another_connection_of_a_neighbor_with_the_capability_ends_the_old_one(tmp_path):
    """RFC 4724 4.2: it has restarted, and its old connection says nothing any more."""
    lab = make_lab(tmp_path)
    sent_since(lab, B)
    old = lab.peer(A).conn
    lab.time += 10
    lab.up(A, graceful_restart=graceful(restarted=True))
    assert lab.peer(A).conn is not old
    assert held(lab) == (2, 2)
    lab.announce(A, P[0])
    eor(lab, A)
    lab.settle()
    assert held(lab) == (1, 0)


def test_another_connection_at_the_same_moment_is_a_collision(tmp_path):
    lab = make_lab(tmp_path)
    old = lab.peer(A).conn
    lab.time += 1
    lab.up(A, graceful_restart=graceful(restarted=True))
    assert lab.peer(A).conn is old
    assert held(lab) == (2, 0)


# --- what is said in the OPEN --------------------------------------------------------------------


def offered(lab: Lab, address: str) -> GracefulRestart | None:
    return lab.peer(address).session._context.config.graceful_restart


def test_a_helper_lists_no_family(tmp_path):
    lab = make_lab(tmp_path)
    assert offered(lab, A) == GracefulRestart()


def test_on_lists_all_families_as_usable(tmp_path):
    lab = make_lab(tmp_path, graceful_restart='"on"', restart_time=77, long_lived_stale_time=3600)
    assert offered(lab, A) == GracefulRestart(
        time=77,
        families=FORWARDING,
        long_lived={(1, 1): LongLived(True, 3600), (2, 1): LongLived(True, 3600)},
    )


# --- together with enhanced route refresh --------------------------------------------------------


def borr(family: Family = V4) -> bytes:
    return refresh_marker(family, RefreshSubtype.BORR)


def eorr(family: Family = V4) -> bytes:
    return refresh_marker(family, RefreshSubtype.EORR)


def test_a_borr_before_the_end_of_rib_is_ignored(tmp_path):
    """RFC 7313 4."""
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=graceful(restarted=True))
    receive(lab, A, borr())
    lab.announce(A, P[0])
    receive(lab, A, eorr())
    lab.settle()
    assert held(lab) == (2, 1)
    eor(lab, A)
    lab.settle()
    assert held(lab) == (1, 0)


def test_a_second_borr_begins_anew(tmp_path):
    lab = make_lab(tmp_path)
    receive(lab, A, borr())
    lab.announce(A, P[0])
    assert held(lab) == (2, 1)
    receive(lab, A, borr() + borr() + borr())
    lab.settle()
    assert held(lab) == (2, 2)
    lab.announce(A, P[1])
    receive(lab, A, eorr())
    lab.settle()
    assert held(lab) == (1, 0)


def test_a_borr_behind_an_eorr_waits_until_stale_paths_have_gone(tmp_path):
    lab = make_lab(tmp_path)
    receive(lab, A, borr() + eorr() + borr())
    assert lab.peer(A).ingest.stalled
    lab.announce(A, P[4])
    assert held(lab) == (2, 2), "what comes behind it waits"
    lab.settle()
    assert not lab.peer(A).ingest.stalled
    assert held(lab) == (1, 0)
    receive(lab, A, eorr())
    lab.settle()
    assert held(lab) == (1, 0)


def test_repeated_borrs_are_walked_in_slices(tmp_path):
    """One read full of markers must not hold the loop for a walk over the table each."""
    lab = make_lab(tmp_path)
    lab.announce(A, *[f"10.{i >> 8}.{i & 255}.0/24" for i in range(600)])
    before = lab.router.rib.tables[V4].stats()["paths"]
    receive(lab, A, (borr() + eorr()) * 50)
    lab.settle()
    assert before > 600
    assert held(lab) == (0, 0)


def test_a_session_lost_within_a_refresh_keeps_what_it_had(tmp_path):
    lab = make_lab(tmp_path)
    receive(lab, A, borr())
    lab.announce(A, P[0])
    lab.down(A)
    lab.settle()
    assert held(lab) == (2, 2)
    lab.up(A, graceful_restart=graceful(restarted=True))
    eor(lab, A)
    lab.settle()
    assert held(lab) == (0, 0)


def test_open_of_a_neighbor_with_the_capability(tmp_path):
    lab = make_lab(tmp_path, said=graceful(time=99))
    assert any(
        "graceful-restart 99 s ipv4-unicast, ipv6-unicast" in text
        for text in lab.peer(A).agreed.peer_capabilities
    )
    assert b"\x40\x0a" + struct.pack(">HHBBHBB", 99, 1, 1, 0x80, 2, 1, 0x80) in open_message(
        graceful_restart=graceful(time=99)
    )


def test_paths_under_other_identifiers(tmp_path):
    """A restarted neighbor may number its paths anew; its limit leaves room for them."""
    limited = keys(A, 64501, add_path='"receive"', add_path_receive_limit=2)
    lab = Lab(tmp_path, config_text(limited, f"{B} 64502"))
    said = {"addpath": {V4: AddPathMode.SEND}}
    attrs = {"origin": 0, "as_path": ((2, (64501,)),), "next_hop": A}

    def announce(*numbers):
        for number in numbers:
            lab.feed(A, codec.encode_update([(P[0], number)], attrs, addpath=(V4,)))

    lab.up(A, graceful_restart=graceful(), **said)
    announce(1, 2, 3)
    eor(lab, A)
    lab.down(A)
    lab.settle()
    assert held(lab) == (2, 2)
    lab.up(A, graceful_restart=graceful(restarted=True), **said)
    announce(11, 12, 13)
    assert held(lab) == (4, 2)
    eor(lab, A)
    lab.settle()
    assert held(lab) == (2, 0)
    table = lab.router.rib.tables[V4]
    found = {path[1] for path in table.paths_of(handle(table, P[0]))}
    assert found == {11, 12}
