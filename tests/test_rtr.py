"""Conversations with caches, octet by octet and without sockets."""

from __future__ import annotations

import pytest

from rs import rtr
from rs.rtr import Closed, State, Synced

from . import rtrkit as kit
from .rtrtalk import NOW, A, B, C, Talk, failed, receiving, synced

# --- the usual ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_load_and_a_delta(version):
    talk = synced(version)
    assert talk.vrps() == sorted([A, B])
    assert talk.session.state is State.IDLE
    assert talk.say(kit.notify(version, 7, 6)) == []
    assert talk.sent == b""  # a second has to pass since the last query
    assert talk.session.next_timer() == talk.now + 1
    assert talk.wait(1) == []
    assert talk.sent == kit.serial_query(version, 7, 5)
    events = talk.say(kit.delta(version, 7, 6, [C], [A]))
    assert events == [Synced(False, 1, 1, 6, 7, version)]
    assert talk.vrps() == sorted([B, C])
    assert talk.cache.serial == 6


def test_octets_one_by_one():
    talk = Talk()
    data = kit.load(2, 7, 5, [A, B, C], kit.router_key(2) + kit.aspa(64496, [64497]))
    events = [event for i in range(len(data)) for event in talk.say(data[i : i + 1])]
    assert events == [Synced(True, 3, 0, 5, 7, 2)]
    assert talk.vrps() == sorted([A, B, C])
    assert talk.session.router_keys == 1
    assert talk.providers(64496) == (64497,)


def test_nothing_is_in_use_before_end_of_data():
    talk = synced(1)
    talk.wait(3600)
    talk.say(kit.response(1, 7) + kit.prefixes(1, [C]) + kit.prefixes(1, [A], announce=False))
    assert talk.vrps() == sorted([A, B])
    assert talk.session.state is State.RECEIVING
    events = talk.session.closed(talk.now)
    assert events == [Closed("connection closed by the cache")]
    talk.roas.drop_changes()
    assert talk.vrps() == sorted([A, B])
    assert talk.roas.stats()["prefixes"] == 2
    # The serial is as it was: the next connection takes up where this one began.
    assert talk.connect() == kit.serial_query(1, 7, 5)
    assert talk.say(kit.delta(1, 7, 6, [C], [A])) == [Synced(False, 1, 1, 6, 7, 1)]


def test_a_null_delta():
    talk = synced()
    talk.wait(3600)
    assert talk.say(kit.delta(2, 7, 5)) == [Synced(False, 0, 0, 5, 7, 2)]
    assert talk.roas.pending_changes == 2  # from the load


def test_the_refresh_interval():
    talk = synced(2, refresh=100, retry=50, expire=1000)
    assert talk.session.next_timer() == NOW + 100
    assert talk.wait(99) == []
    assert talk.sent == b""
    talk.wait(1)
    assert talk.sent == kit.serial_query(2, 7, 5)
    assert talk.cache.expires_at == NOW + 1000


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        # refresh, retry, expire; RFC 8210 6
        ((3600, 600, 7200), (3600, 600, 7200)),
        ((0, 0, 0), (1, 1, 600)),
        ((86401, 7201, 172801), (86400, 7200, 172800)),
        ((2**32 - 1,) * 3, (86400, 7200, 172800)),
        ((7200, 600, 7200), (3600, 600, 7200)),
        ((600, 600, 600), (300, 150, 600)),
    ],
)
def test_intervals_keep_within_bounds(sent, taken):
    talk = synced(1, refresh=sent[0], retry=sent[1], expire=sent[2])
    assert (talk.cache.refresh, talk.cache.retry, talk.cache.expire) == taken


def test_version_0_has_default_intervals():
    talk = synced(0)
    assert (talk.cache.refresh, talk.cache.retry, talk.cache.expire) == (3600, 600, 7200)


def test_our_intervals_win():
    talk = Talk()
    talk.cache.refresh_override, talk.cache.retry_override, talk.cache.expire_override = 10, 2, 5
    talk.say(kit.load(2, 7, 5, [A]))
    assert talk.session.next_timer() == NOW + 10
    assert talk.cache.expires_at == NOW + 5
    assert talk.cache.retry == 2


def test_cache_reset_asks_for_everything():
    talk = synced()
    talk.wait(3600)
    assert talk.say(kit.cache_reset(2)) == []
    assert talk.sent == kit.reset_query(2)
    assert talk.vrps() == sorted([A, B])
    assert talk.say(kit.load(2, 9, 1, [B, C])) == [Synced(True, 1, 1, 1, 9, 2)]
    assert talk.vrps() == sorted([B, C])
    assert (talk.cache.session_id, talk.cache.serial) == (9, 1)
    # Also as the first answer after a reconnection.
    talk.session.closed(talk.now)
    assert talk.connect() == kit.serial_query(2, 9, 1)
    talk.say(kit.cache_reset(2))
    assert talk.sent == kit.reset_query(2)


def test_changes_of_a_reload_are_only_what_differs():
    talk = synced()
    talk.roas.changes()
    talk.cache.forget_session()
    talk.wait(3600)
    talk.say(kit.load(2, 8, 1, [A, C]))
    assert [change[2] for change in talk.roas.changes()] == [24, 32]


def test_reserved_fields_are_ignored():
    talk = Talk()
    load = bytearray(kit.load(1, 7, 5, [A]).replace(b"\1\4\0\0", b"\1\4\xff\xff"))
    load[8 + 11] = 0x55  # the zero octet behind Max Length
    talk.cache.try_version = talk.cache.max_version = 1
    talk.connect()
    load[8 + 8] |= 0xFE  # reserved flags
    assert talk.say(bytes(load)) == [Synced(True, 1, 0, 5, 7, 1)]
    assert talk.vrps() == [A]


# --- notifications ------------------------------------------------------------------------------


def test_a_notification_during_an_answer_is_remembered():
    talk = synced()
    talk.wait(3600)
    assert talk.say(kit.response(2, 7) + kit.notify(2, 7, 7)) == []
    talk.say(kit.end(2, 7, 6))
    assert talk.session.next_timer() == talk.now + 1
    talk.wait(1)
    assert talk.sent == kit.serial_query(2, 7, 6)
    # And the one about the serial that we got anyway is not.
    talk.say(kit.response(2, 7) + kit.notify(2, 7, 8) + kit.end(2, 7, 8))
    assert talk.session.next_timer() == talk.now + 3600


def test_a_notification_of_our_serial_is_nothing_new():
    talk = synced()
    talk.say(kit.notify(2, 7, 5), after=10)
    assert talk.sent == b""
    talk.say(kit.notify(2, 7, 6), after=10)
    assert talk.sent == kit.serial_query(2, 7, 5)


def test_notifications_during_negotiation_are_ignored():
    talk = Talk()
    for version in (0, 1, 2, 77):
        assert talk.say(kit.notify(version, 99, 1)) == []
    assert talk.sent == b""
    assert talk.say(kit.load(2, 7, 5, [A])) == [Synced(True, 1, 0, 5, 7, 2)]


@pytest.mark.parametrize("negotiated", [False, True])
def test_a_flood_of_notifications_ends_the_session(negotiated):
    talk = synced() if negotiated else Talk()
    events = talk.say(kit.notify(2, 7, 5) * 1000)
    assert events == []
    assert "notifications" in failed(talk, talk.say(kit.notify(2, 7, 5)), 0)


def test_notifications_do_not_drive_queries():
    talk = synced()
    queries = 0
    for serial in range(6, 156):
        talk.say(kit.notify(2, 7, serial), after=0.01)
        if talk.sent:
            queries += 1
            talk.say(kit.delta(2, 7, serial))
    assert queries == 1


# --- versions -----------------------------------------------------------------------------------


def test_an_old_cache_answers_in_its_version():
    talk = Talk()
    assert talk.sent == kit.reset_query(2)
    assert talk.say(kit.load(1, 7, 5, [A])) == [Synced(True, 1, 0, 5, 7, 1)]
    assert talk.session.version == 1
    talk.say(kit.notify(1, 7, 6), after=5)
    assert talk.sent == kit.serial_query(1, 7, 5)
    talk.session.closed(talk.now)
    # A short while later the session is taken up, an hour later the version is asked for anew.
    assert talk.connect() == kit.serial_query(1, 7, 5)
    talk.session.closed(talk.now)
    talk.now += 3600
    assert talk.connect() == kit.reset_query(2)


@pytest.mark.parametrize("said", [1, 0])
def test_unsupported_version_names_the_next_one(said):
    talk = Talk()
    assert talk.say(kit.error(said, 4, kit.reset_query(2), "no")) == []
    assert talk.sent == kit.reset_query(said)
    assert talk.say(kit.load(said, 7, 5, [A])) == [Synced(True, 1, 0, 5, 7, said)]


def test_unsupported_version_and_the_connection_closed():
    talk = Talk()
    talk.say(kit.error(1, 4))
    (event,) = talk.session.closed(talk.now)
    assert event == Closed("connection closed by the cache", again=True)
    assert talk.connect() == kit.reset_query(1)


def test_no_version_in_common():
    talk = Talk()
    for version in (2, 1):
        assert talk.say(kit.error(version, 4)) == []
        assert talk.sent == kit.reset_query(version - 1)
    (event,) = talk.say(kit.error(0, 4))
    assert event.reason.startswith("no version in common")
    assert not event.again
    assert talk.sent == b""
    assert talk.connect() == kit.reset_query(2)


def test_a_cache_that_closes_on_what_it_does_not_know():
    talk = Talk()
    for version in (2, 1, 0):
        assert talk.sent == kit.reset_query(version)
        (event,) = talk.session.closed(talk.now)
        assert event.again is (version > 0)
        talk.connect()
    assert talk.sent == kit.reset_query(2)


@pytest.mark.parametrize("refusal", [b"", kit.error(2, 0, b"", "session"), kit.error(2, 3)])
def test_a_session_that_is_not_taken_up_is_begun_anew(refusal):
    talk = synced()
    talk.session.closed(talk.now)
    assert talk.connect() == kit.serial_query(2, 7, 5)
    (event,) = talk.say(refusal) if refusal else talk.session.closed(talk.now)
    assert event.again
    assert not event.flush
    assert talk.vrps() == sorted([A, B])
    assert talk.connect() == kit.reset_query(2)


def test_a_serial_query_answered_in_another_version():
    talk = synced()
    talk.session.closed(talk.now)
    talk.connect()
    (event,) = talk.say(kit.delta(1, 7, 6, [C]))
    assert event.again
    assert talk.vrps() == sorted([A, B])
    assert talk.connect() == kit.reset_query(1)


@pytest.mark.parametrize("version", [3, 255])
def test_unknown_versions(version):
    talk = Talk()
    assert "version" in failed(talk, talk.say(kit.response(version, 7)), 4)


def test_a_higher_version_than_asked_for():
    talk = Talk()
    talk.cache.try_version = talk.cache.max_version = 1
    talk.connect()
    failed(talk, talk.say(kit.response(2, 7)), 4)


@pytest.mark.parametrize(("version", "code"), [(0, 4), (1, 8), (2, 8)])
def test_a_pdu_of_another_version_in_a_session(version, code):
    other = (version + 1) % 3
    talk = synced(version)
    failed(talk, talk.say(kit.notify(other, 7, 6)), code)
    talk = synced(version)
    talk.wait(3600)
    talk.say(kit.response(version, 7))
    failed(talk, talk.say(kit.prefix(other, C)), code)


# --- sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_another_session_id_costs_the_data(version):
    """RFC 8210 5.1: terminate, and flush."""
    talk = synced(version)
    talk.wait(3600)
    events = talk.say(kit.response(version, 8))
    failed(talk, events, 0)
    assert events[0].flush
    assert talk.connect() == kit.reset_query(version)

    talk = synced(version)
    events = talk.say(kit.notify(version, 8, 6), after=5)
    failed(talk, events, 0)
    assert events[0].flush

    talk = Talk()
    events = talk.say(kit.response(2, 8) + kit.end(2, 9, 1))
    failed(talk, events, 0)
    assert events[0].flush
    assert talk.vrps() == []


def test_serial_arithmetic():
    """RFC 1982 3.2."""
    assert rtr.serial_newer(1, 0)
    assert rtr.serial_newer(0, 2**32 - 1)
    assert rtr.serial_newer(2**31 - 1, 0)
    assert not rtr.serial_newer(2**31, 0)
    assert not rtr.serial_newer(0, 2**31)
    assert not rtr.serial_newer(5, 5)
    assert not rtr.serial_newer(2**32 - 1, 0)


def test_a_serial_wraps():
    talk = synced(serial=2**32 - 1)
    talk.wait(3600)
    assert talk.sent == kit.serial_query(2, 7, 2**32 - 1)
    assert talk.say(kit.delta(2, 7, 0, [C])) == [Synced(False, 1, 0, 0, 7, 2)]


def test_changes_that_lead_backwards():
    talk = synced(serial=5)
    talk.wait(3600)
    assert "serial 5 lead to 4" in failed(talk, talk.say(kit.delta(2, 7, 4, [C])), 0)
    assert talk.vrps() == sorted([A, B])


# --- ASPA ---------------------------------------------------------------------------------------


def test_aspas_come_are_replaced_and_go():
    talk = Talk()
    talk.say(kit.load(2, 7, 5, [A], kit.aspa(1, [2, 3]) + kit.aspa(4, [0])))
    assert talk.providers(1) == (2, 3)
    assert talk.providers(4) == ()
    talk.wait(3600)
    talk.say(kit.delta(2, 7, 6, extra=kit.aspa(1, [3]) + kit.aspa(4, announce=False)))
    assert talk.providers(1) == (3,)
    assert talk.providers(4) is None
    talk.cache.forget_session()
    talk.wait(3600)
    talk.say(kit.load(2, 8, 1, [A], kit.aspa(9, [1])))
    assert talk.providers(1) is None
    assert talk.providers(9) == (1,)


def test_aspas_as_older_caches_send_them():
    talk = Talk()
    talk.say(kit.load(2, 7, 5, [], kit.old_aspa(1, [2, 3]) + kit.old_aspa(1, [4], ipv6=True)))
    assert talk.providers(1) == (2, 3, 4)
    talk.wait(3600)
    talk.say(kit.delta(2, 7, 6, extra=kit.old_aspa(1, announce=False)))
    assert talk.providers(1) == (4,)
    talk.wait(3600)
    talk.say(kit.delta(2, 7, 7, extra=kit.old_aspa(1, [4], announce=False, ipv6=True)))
    assert talk.providers(1) is None


def test_older_caches_withdraw_what_they_have_replaced():
    """As StayRTR 0.5 does: the new set first, then a withdrawal that names the old one."""
    talk = Talk()
    talk.say(kit.load(2, 7, 5, [], kit.old_aspa(1, [2, 3])))
    talk.wait(3600)
    both = kit.old_aspa(1, [3]) + kit.old_aspa(1, [2, 3], announce=False)
    talk.say(kit.delta(2, 7, 6, extra=both))
    assert talk.providers(1) == (3,)
    talk.wait(3600)
    other_way_round = kit.old_aspa(1, [3], announce=False) + kit.old_aspa(1, [4])
    talk.say(kit.delta(2, 7, 7, extra=other_way_round))
    assert talk.providers(1) == (4,)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (kit.aspa(1, []), 9),
        (kit.aspa(1, [0, 2]), 9),
        (kit.aspa(1, [2, 2]), 9),
        (kit.aspa(1, [3, 2]), 9),
        (kit.aspa(1, [2], announce=False), 9),
        (kit.aspa(1, announce=False), 6),
        (kit.aspa(0, [2]), 0),
        (kit.pdu(2, 11, 0x100, bytes(7)), 0),
        (kit.old_aspa(1, []), 9),
        (kit.old_aspa(1, [0, 2]), 9),
        (kit.old_aspa(1, announce=False), 6),
    ],
)
def test_faulty_aspas(data, code):
    talk = receiving()
    failed(talk, talk.say(data), code)
    assert talk.aspas.providers(1) is None
