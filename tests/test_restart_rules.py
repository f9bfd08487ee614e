"""Graceful restart against the letter of RFC 4724, RFC 8538 and RFC 9494: what other tests leave.

No sockets. A test is named for the rule, and its docstring has the section.
"""

from __future__ import annotations

import pytest

from rs.errors import ConfigError
from rs.iana import CeaseSubcode, NotifyCode
from rs.messages import encode_notification
from rs.restart import Phase
from rs.restart_caps import GracefulRestart, LongLived, decode_restart, encode_restart
from tests.farends import handle
from tests.routerkit import Lab, communities, config_text
from tests.test_restart import (
    V4,
    V6,
    A,
    B,
    P,
    advertised,
    eor,
    graceful,
    held,
    keys,
    make_lab,
    phase,
    receive,
    wait,
)

LONG = {(1, 1): LongLived(True, 600)}
NOTED = {"said": graceful(notification=True), "graceful_notification": "true"}


def again(**more) -> GracefulRestart:
    """What A says when it is back."""
    return graceful(restarted=True, **more)


def long_lived_lab(tmp_path, said: GracefulRestart, **more) -> Lab:
    """A has announced two prefixes, and knows of long-lived restarts as B does; C does not."""
    lab = make_lab(tmp_path, said=said, **{"long_lived_stale_time": 300, **more})
    lab.down(B)
    lab.time += 5
    lab.up(B, graceful_restart=graceful(time=0, families={}, long_lived={}))
    lab.settle()
    return lab


# --- RFC 4724 -------------------------------------------------------------------------------------


def test_reserved_bits_are_zero_and_mean_nothing():
    """RFC 4724 3, RFC 8538 2: R and N are all there is, and F of a family."""
    full = GracefulRestart(True, True, 0xFFF, {(1, 1): True, (2, 1): False})
    wire = encode_restart(full)
    assert wire == b"\xcf\xff\x00\x01\x01\x80\x00\x02\x01\x00"
    noisy = b"\xff\xff\x00\x01\x01\xff\x00\x02\x01\x7f"
    assert decode_restart(noisy) == full


def test_the_family_of_a_lost_session_counts_however_its_f_bit_was(tmp_path):
    """RFC 4724 4.2: kept are families that were listed; F is asked of the next session."""
    lab = make_lab(tmp_path, said=graceful(families={(1, 1): False}))
    lab.down(A)
    lab.settle()
    assert held(lab) == (2, 2)


def test_another_end_of_rib_is_none_of_this_familys(tmp_path):
    lab = make_lab(tmp_path)
    lab.down(A)
    lab.up(A, graceful_restart=again())
    eor(lab, A, V6)
    lab.settle()
    assert held(lab) == (2, 2)


@pytest.mark.parametrize("time", [0, 60])
def test_everybody_is_sent_an_end_of_rib(tmp_path, time):
    """RFC 4724 4: also neighbors without the capability, and where there is nothing to send."""
    lab = Lab(tmp_path, config_text(f"{A} 64501"))
    lab.up(A, graceful_restart=graceful(time=time) if time else None)
    lab.settle()
    sent = lab.sent[A]
    assert b"\xff" * 16 + b"\x00\x17\x02\x00\x00\x00\x00" in sent
    assert b"\x80\x0f\x03\x00\x02\x01" in sent


# --- RFC 8538 -------------------------------------------------------------------------------------


def test_with_notifications_what_was_stale_before_stays_too(tmp_path):
    """RFC 8538 4.1, against the "consecutive restarts" of RFC 4724 4.2."""
    lab = make_lab(tmp_path, **NOTED)
    lab.down(A)
    lab.up(A, graceful_restart=again(notification=True))
    lab.announce(A, P[0])
    lab.down(A)
    lab.settle()
    assert held(lab) == (2, 2)
    lab.time += 2
    lab.up(A, graceful_restart=again(notification=True))
    lab.announce(A, P[1])
    lab.down(A)
    lab.time += 5
    lab.up(A, graceful_restart=again(notification=True))
    eor(lab, A)
    lab.settle()
    assert held(lab) == (0, 0)


def test_lost_again_before_anything_could_come_in(tmp_path):
    lab = make_lab(tmp_path, **NOTED)
    lab.down(A)
    lab.up(A, graceful_restart=again(notification=True))
    lab.announce(A, P[0])
    lab.down(A)
    lab.time += 2
    lab.up(A, graceful_restart=again(notification=True))
    assert lab.router.restarts.settling(lab.peer(A))
    lab.down(A)
    lab.settle()
    assert held(lab) == (2, 2)
    assert phase(lab) is Phase.RESTARTING


def test_restarts_without_end_do_not_keep_routes_without_end(tmp_path):
    """RFC 8538 4.1: until the upper bound of RFC 4724 4.2 is reached, which begins once."""
    lab = make_lab(tmp_path, stale_time=30, **NOTED)
    begun = lab.time
    while lab.time < begun + 55:
        lab.down(A)
        wait(lab, 5)
        assert held(lab) == (2, 2), lab.time - begun
        lab.up(A, graceful_restart=again(notification=True))
        wait(lab, 5)
    wait(lab, 5)
    assert held(lab) == (0, 0)


def test_a_new_capability_without_the_n_bit_changes_nothing(tmp_path):
    """RFC 8538 4.1: that is no reason to delete stale routes."""
    lab = make_lab(tmp_path, **NOTED)
    lab.down(A)
    lab.up(A, graceful_restart=again())
    lab.settle()
    assert held(lab) == (2, 2)


@pytest.mark.parametrize("data", [b"", b"\x06", b"\x03\x01", b"\x06\x09\x06\x09\x06\x09"])
def test_a_hard_reset_is_one_whatever_it_carries(tmp_path, data):
    """RFC 8538 3.2."""
    lab = make_lab(tmp_path, **NOTED)
    receive(lab, A, encode_notification(NotifyCode.CEASE, CeaseSubcode.HARD_RESET, data))
    lab.settle()
    assert held(lab) == (0, 0)


def test_who_has_no_n_bit_is_told_no_hard_reset(tmp_path):
    """RFC 8538 4."""
    lab = make_lab(tmp_path, graceful_notification="true")
    peer = lab.peer(A)
    peer.session.stop(lab.time, CeaseSubcode.ADMIN_SHUTDOWN)
    sent = b"".join(c.data for c in peer.session.poll() if hasattr(c, "data"))
    assert sent == encode_notification(6, 2)


@pytest.mark.parametrize(
    ("code", "subcode"),
    [
        (NotifyCode.UPDATE_MESSAGE, 1),
        (NotifyCode.CEASE, CeaseSubcode.OUT_OF_RESOURCES),
        (NotifyCode.FSM, 3),
    ],
)
def test_who_sends_a_notification_keeps_routes_as_well(tmp_path, code, subcode):
    """RFC 8538 4: the rules for the receiving speaker are those of both."""
    lab = make_lab(tmp_path, **NOTED)
    peer = lab.peer(A)
    peer.session.notify(lab.time, code, subcode)
    lab._commands(peer)
    lab.settle()
    assert held(lab) == (2, 2)


# --- RFC 9494 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [graceful(time=0), graceful(families={(2, 1): True})])
def test_without_a_restart_time_the_long_time_begins_at_once(tmp_path, said):
    """RFC 9494 4.2: also where the capability of RFC 4724 does not list the family."""
    said = graceful(time=said.time, families=said.families, long_lived=LONG)
    lab = long_lived_lab(tmp_path, said)
    lab.down(A)
    lab.settle()
    assert phase(lab) is Phase.LONG_LIVED
    assert advertised(lab, B) == 2
    lab.up(A, graceful_restart=graceful(time=0, families={}, long_lived=LONG))
    lab.settle()
    assert held(lab) == (2, 2), "what counts now is the F bit of the long-lived capability"
    assert phase(lab) is Phase.SYNCHRONIZING


def test_a_family_that_forwards_no_more_goes_whatever_the_long_lived_bit_says(tmp_path):
    """RFC 9494 5: without the F bit of RFC 4724 for a family listed there, state is cleared."""
    lab = long_lived_lab(tmp_path, graceful(time=0, long_lived=LONG))
    lab.down(A)
    lab.settle()
    lab.up(A, graceful_restart=again(families={(1, 1): False}, long_lived=LONG))
    lab.settle()
    assert held(lab) == (0, 0)


def test_with_long_lived_what_was_stale_before_stays_too(tmp_path):
    """RFC 9494 4.2: consecutive restarts, though the long time has not begun."""
    lab = long_lived_lab(tmp_path, graceful(time=60, long_lived=LONG))
    for _ in range(3):
        lab.down(A)
        wait(lab, 10)
        lab.up(A, graceful_restart=again(long_lived=LONG))
        lab.announce(A, P[0])
        lab.settle()
        assert held(lab) == (2, 1)
    lab.down(A)
    lab.settle()
    wait(lab, 61)
    assert held(lab) == (2, 2)
    assert phase(lab) is Phase.LONG_LIVED


def test_a_session_lost_before_its_end_of_rib_when_the_long_time_is_over_leaves_nothing(tmp_path):
    """RFC 9494 4.2: any remaining routes MUST be removed immediately."""
    lab = long_lived_lab(tmp_path, graceful(time=0, long_lived=LONG), stale_time=200)
    lab.down(A)
    wait(lab, 150)
    lab.up(A, graceful_restart=again(long_lived=LONG))
    lab.announce(A, P[0])
    wait(lab, 151)
    assert held(lab) == (1, 0), "what it has not brought again goes with the long time"
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)


def test_an_end_of_rib_ends_that(tmp_path):
    lab = long_lived_lab(tmp_path, graceful(time=0, long_lived=LONG), stale_time=200)
    lab.down(A)
    wait(lab, 150)
    lab.up(A, graceful_restart=again(long_lived=LONG))
    lab.announce(A, P[0])
    wait(lab, 151)
    eor(lab, A)
    lab.down(A)
    lab.settle()
    assert held(lab) == (1, 1)


def test_the_time_of_a_second_restart_is_what_is_left_of_the_first(tmp_path):
    """RFC 9494 4.2: the timer is not updated before the session has synchronized."""
    lab = long_lived_lab(tmp_path, graceful(time=0, long_lived=LONG))
    lab.down(A)
    wait(lab, 200)
    lab.up(A, graceful_restart=again(time=0, long_lived={(1, 1): LongLived(True, 100_000)}))
    lab.announce(A, P[0])
    lab.down(A)
    wait(lab, 95)
    assert held(lab) == (2, 2)
    wait(lab, 6)
    assert held(lab) == (0, 0)


def test_long_lived_is_configured_by_family(tmp_path):
    """RFC 9494 5: affirmative configuration per AFI/SAFI."""
    both = {(1, 1): LongLived(True, 600), (2, 1): LongLived(True, 600)}
    time = "{ ipv6-unicast = 300 }"
    lab = make_lab(
        tmp_path,
        said=graceful(time=0, long_lived=both),
        graceful_restart='"on"',
        long_lived_stale_time=time,
    )
    offered = lab.peer(A).session.config.graceful_restart
    assert offered.long_lived == {(2, 1): LongLived(True, 300)}
    lab.announce(A, "2001:db8:1::/48", hop="2001:db8::2")
    lab.down(A)
    lab.settle()
    assert held(lab) == (0, 0)
    assert held(lab, A, V6) == (1, 1)
    assert lab.peer(A).kept[V6].phase is Phase.LONG_LIVED


def test_without_graceful_restart_nothing_is_long_lived(tmp_path):
    """RFC 9494 4.3 asks it of routes from neighbors to whom we have offered the capability."""
    more = {"graceful_restart": '"off"', "long_lived_stale_time": 300}
    lab = make_lab(tmp_path, **more)
    lab.announce(A, P[0], more=communities("65535:6"))
    lab.announce(B, P[0], path=(64502, 1, 2, 3, 4, 5))
    lab.settle()
    table = lab.router.rib.tables[V4]
    first, _ = table.paths_of(handle(table, P[0]))
    assert first[0] == lab.peer(A).slot


# --- RFC 9494 4.3 and 4.6: who is sent such routes ------------------------------------------------

STALE, PREF, NO_EXPORT = b"\xff\xff\x00\x06", b"\x40\x05\x04", b"\xff\xff\xff\x01"


def policy_lab(tmp_path, policies: str, **more) -> Lab:
    """A, long gone, with two routes; B knows of that. `more` are keys of A or, by `export`, B."""
    export = more.pop("export", None)
    given = {"long_lived_stale_time": 300, **more}
    other = keys(B, 64502, **({"export_policy": export} if export else {}))
    lab = Lab(tmp_path, config_text(keys(A, 64501, **given), other, api=policies))
    lab.up(A, graceful_restart=graceful(time=0, long_lived=LONG))
    lab.up(B, graceful_restart=graceful(time=0, families={}, long_lived={}))
    lab.announce(A, P[0], more=communities("64501:1"))
    lab.announce(A, P[1], more=communities("65535:7"))
    lab.settle()
    lab.sent.clear()
    lab.down(A)
    lab.settle()
    return lab


def term(what: str) -> str:
    return f"[policies.p]\nterms = [{{ {what} }}]\n"


@pytest.mark.parametrize(
    "what", ['remove = { communities = ["*:*"] }', "set = { communities = [] }"]
)
def test_no_policy_takes_the_mark_away_in_passing(tmp_path, what):
    """RFC 9494 4.3: LLGR_STALE MUST NOT be removed when the route is advertised further."""
    for more in ({"import_policy": '["p"]'}, {"export": '["p"]'}):
        lab = policy_lab(tmp_path, term(what), **more)
        assert advertised(lab, B) == 1
        assert b"\xc0\x08\x04" + STALE in lab.sent[B]


def test_who_names_the_mark_takes_it_away(tmp_path):
    """RFC 9494 3.2: policies may modify routes by this community."""
    what = term('remove = { communities = ["llgr-stale", "64501:*"] }')
    lab = policy_lab(tmp_path, what, export='["p"]')
    assert advertised(lab, B) == 1
    assert STALE not in lab.sent[B]
    assert b"\xc0\x08" not in lab.sent[B]


def test_no_llgr_counts_as_sent_and_as_policy_makes_it(tmp_path):
    """RFC 9494 4.2."""
    lab = policy_lab(tmp_path, term('set = { communities = ["no-llgr"] }'), import_policy='["p"]')
    assert held(lab) == (0, 0)
    lab = policy_lab(tmp_path, term("set = { communities = [] }"), import_policy='["p"]')
    assert held(lab) == (1, 1)


INTERNAL = ["10.0.0.11", "10.0.0.12", "10.0.0.13"]


def partial_lab(tmp_path, *, head: str = "") -> Lab:
    """A, long gone; internal neighbors: one who knows, one who does not, one who is sent it."""
    knowing, other, partial = INTERNAL
    neighbors = [
        keys(A, 64501, long_lived_stale_time=300),
        keys(knowing, 64500),
        keys(other, 64500),
        keys(partial, 64500, long_lived_partial="true"),
    ]
    lab = Lab(tmp_path, config_text(*neighbors, **({"head": head} if head else {})))
    lab.up(A, graceful_restart=graceful(time=0, long_lived=LONG))
    lab.up(knowing, graceful_restart=graceful(time=0, families={}, long_lived={}))
    lab.up(other, partial)
    lab.announce(A, *P[:2], more=communities("64501:1"))
    lab.settle()
    lab.sent.clear()
    lab.down(A)
    lab.settle()
    return lab


def test_partial_deployment(tmp_path):
    """RFC 9494 4.6: NO_EXPORT and LOCAL_PREF 0, to internal neighbors, where that is asked for."""
    lab = partial_lab(tmp_path)
    knowing, _, partial = INTERNAL
    assert [advertised(lab, who) for who in INTERNAL] == [2, 0, 2]
    assert PREF + b"\0\0\0\x64" in lab.sent[knowing]
    assert b"\xc0\x08\x08\xfb\xf5\x00\x01" + STALE in lab.sent[knowing]
    assert PREF + b"\0\0\0\0" in lab.sent[partial]
    assert b"\xc0\x08\x0c\xfb\xf5\x00\x01" + STALE + NO_EXPORT in lab.sent[partial]
    lab.sent.clear()
    lab.up(A, graceful_restart=again(long_lived=LONG))
    lab.announce(A, *P[:2], more=communities("64501:1"))
    eor(lab, A)
    lab.settle()
    assert [advertised(lab, who) for who in INTERNAL] == [2, 2, 2]
    for who in INTERNAL:
        assert PREF + b"\0\0\0\x64" in lab.sent[who]
        assert NO_EXPORT not in lab.sent[who]
        assert STALE not in lab.sent[who]


def test_partial_deployment_ends_where_the_neighbor_knows(tmp_path):
    lab = partial_lab(tmp_path)
    partial = INTERNAL[2]
    lab.down(partial)
    lab.time += 5
    lab.sent.clear()
    lab.up(partial, graceful_restart=graceful(time=0, families={}, long_lived={}))
    lab.settle()
    assert advertised(lab, partial) == 2
    assert PREF + b"\0\0\0\x64" in lab.sent[partial]
    assert NO_EXPORT not in lab.sent[partial]


def test_partial_deployment_is_internal(tmp_path):
    with pytest.raises(ConfigError, match=r"RFC 9494 4\.6"):
        Lab(tmp_path, config_text(keys(A, 64501, long_lived_partial="true")))
