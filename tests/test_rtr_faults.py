"""Caches that send what they must not, or report what we have sent; and any octets at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs import rtr
from rs.iana import RtrError
from rs.rtr import Closed, Limits, NoData, State, Synced

from . import rtrkit as kit
from .rtrtalk import NOW, A, B, C, Talk, failed, receiving, synced

# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    ("vrp", "announce", "code"),
    [(A, True, 7), (C, False, 6), (("192.0.2.0/24", 25, 64496), False, 6)],
)
def test_duplicates_and_withdrawals_of_the_unknown(version, vrp, announce, code):
    talk = receiving(version)
    bad = kit.prefix(version, vrp, announce=announce)
    good = kit.prefix(version, ("203.0.113.0/24", 24, 1))
    events = talk.say(good + bad + good)
    failed(talk, events, code)
    assert kit.error_of(talk.sent)[2] == bad
    assert events[0].flush is (version == 2)  # 8210bis 12
    assert talk.vrps() == sorted([A, B])
    assert talk.connect() == kit.reset_query(version)


def test_duplicates_in_a_load():
    talk = Talk()
    failed(talk, talk.say(kit.response(2, 7) + kit.prefixes(2, [A, B, A])), 7)
    talk = Talk()
    failed(talk, talk.say(kit.response(2, 7) + kit.prefix(2, A, announce=False)), 0)


@pytest.mark.parametrize(
    "vrp",
    [
        ("10.0.0.0/33", 33, 1),
        ("10.0.0.0/8", 7, 1),
        ("10.0.0.0/8", 33, 1),
        ("2001:db8::/32", 129, 1),
    ],
)
def test_lengths_that_cannot_be(vrp):
    talk = receiving(1)
    failed(talk, talk.say(kit.prefix(1, vrp)), 0)


def test_host_bits():
    vrp = ("10.0.0.1/8", 8, 1)
    talk = receiving(2)
    failed(talk, talk.say(kit.prefix(2, vrp)), 0)
    talk = receiving(1)
    assert talk.say(kit.prefix(1, vrp)) == []


@pytest.mark.parametrize("length", [0, 7, 65536, 2**31, 2**32 - 1])
@pytest.mark.parametrize("kind", [0, 3, 4, 7, 9, 10, 11])
def test_a_length_out_of_all_bounds_needs_no_more_octets(kind, length):
    talk = receiving()
    failed(talk, talk.say(kit.pdu(2, kind, 7, length=length)), 0)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("kind", [0, 3, 4, 6, 7, 8])
@pytest.mark.parametrize("off", [-4, -1, 1, 4, 60000])
def test_a_length_of_another_pdu_needs_no_more_octets(version, kind, off):
    right = {0: 12, 3: 8, 4: 20, 6: 32, 7: 24 if version else 12, 8: 8}[kind]
    talk = receiving(version)
    if right + off < 8:
        off = 4
    failed(talk, talk.say(kit.pdu(version, kind, 7, length=right + off)), 0)
    assert kit.error_of(talk.sent)[2] == kit.pdu(version, kind, 7, length=right + off)


@pytest.mark.parametrize(
    ("version", "kind"), [(2, 5), (2, 12), (2, 255), (1, 11), (0, 11), (0, 9), (2, 1), (2, 2)]
)
def test_pdus_that_no_cache_sends(version, kind):
    talk = receiving(version)
    failed(talk, talk.say(kit.pdu(version, kind, 0, bytes(60))), 5)


ORDER = {
    "idle": [
        kit.response(2, 7),
        kit.prefix(2, C),
        kit.end(2, 7, 6),
        kit.cache_reset(2),
        kit.router_key(2),
        kit.aspa(1, [2]),
    ],
    "asked for everything": [
        kit.prefix(2, C),
        kit.end(2, 7, 6),
        kit.cache_reset(2),
        kit.router_key(2),
        kit.aspa(1, [2]),
    ],
    "receiving": [kit.response(2, 7), kit.cache_reset(2)],
}


@pytest.mark.parametrize(("where", "data"), [(w, d) for w, ds in ORDER.items() for d in ds])
def test_pdus_out_of_order(where, data):
    talk = {"idle": synced, "asked for everything": Talk, "receiving": receiving}[where]()
    assert "out of order" in failed(talk, talk.say(data), 0)


def test_faults_are_echoed_in_part_only():
    talk = receiving()
    failed(talk, talk.say(kit.pdu(2, 11, 0, bytes(4) + b"\0\0\0\1" * 16000)), 9)
    assert len(kit.error_of(talk.sent)[2]) == 512


def test_records_are_counted():
    vrps = [(f"10.{i}.0.0/16", 16, 1) for i in range(11)]
    talk = Talk(limits=Limits(vrps=10, aspas=5))
    assert "more IPV4_PREFIX PDUs" in failed(talk, talk.say(kit.load(2, 7, 5, vrps)), 1)
    talk.roas.drop_changes()
    assert talk.roas.stats()["prefixes"] == 0
    talk = Talk(limits=Limits(vrps=10, aspas=5))
    failed(talk, talk.say(kit.response(2, 7) + kit.router_key(2) * 11), 1)
    talk = Talk(limits=Limits(vrps=10, aspas=5))
    failed(talk, talk.say(kit.response(2, 7) + b"".join(kit.aspa(i, [9]) for i in range(1, 7))), 1)
    talk = Talk(limits=Limits(vrps=10, aspas=5))
    assert len(talk.say(kit.load(2, 7, 5, vrps[:10]))) == 1
    talk.wait(3600)
    failed(talk, talk.say(kit.response(2, 7) + kit.prefix(2, vrps[10])), 1)
    assert len(talk.vrps()) == 10


def test_a_query_without_an_answer():
    talk = Talk()
    assert talk.session.next_timer() == NOW + 60
    assert talk.wait(59) == []
    (event,) = talk.wait(1)
    assert event == Closed("no answer within 60 s", again=True)  # perhaps it is the version
    talk = synced()
    talk.wait(3600)
    events = talk.wait(60)
    failed(talk, events, 10)
    assert not events[0].flush
    assert talk.connect() == kit.serial_query(2, 7, 5)


@pytest.mark.parametrize(("version", "code"), [(0, 1), (1, 1), (2, 10)])
def test_an_answer_that_stalls(version, code):
    talk = receiving(version)
    talk.say(kit.prefix(version, C), after=50)
    talk.say(b"\1", after=50)
    assert talk.session.next_timer() == talk.now + 60
    assert "no End of Data" in failed(talk, talk.wait(60), code)
    assert talk.vrps() == sorted([A, B])


def test_an_answer_without_end():
    talk = receiving()
    began = talk.now
    for i in range(100):
        talk.say(kit.prefix(2, (f"10.0.{i}.0/24", 24, 1)), after=10)
        if talk.wait(0):
            break
    assert talk.now - began == pytest.approx(900, abs=11)
    assert talk.session.state is State.CLOSED


# --- Error Reports of the cache -----------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2])
def test_no_data_available(version):
    talk = Talk()
    talk.cache.try_version = talk.cache.max_version = version
    talk.connect()
    assert talk.say(kit.error(version, 2, b"", "not yet")) == [NoData()]
    assert talk.session.next_timer() == NOW + 60
    assert talk.wait(60) == []
    assert talk.sent == kit.reset_query(version)
    assert len(talk.say(kit.load(version, 7, 5, [A]))) == 1
    talk.wait(3600)
    assert talk.say(kit.error(version, 2)) == [NoData()]
    assert talk.vrps() == [A]
    talk.wait(60)
    assert talk.sent == kit.serial_query(version, 7, 5)


def test_no_data_available_in_a_lower_version():
    talk = Talk()
    assert talk.say(kit.error(1, 2)) == [NoData()]
    talk.wait(60)
    assert talk.sent == kit.reset_query(1)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("code", [0, 1, 3, 5, 6, 7, 8, 9, 11, 200, 65535])
def test_fatal_errors_of_the_cache(version, code):
    talk = synced(version)
    (event,) = talk.say(kit.error(version, code, b"xyz", "because"))
    assert event.reason.endswith(f"({code}): because")
    assert event.flush is (version == 2)
    assert talk.sent == b""  # never an answer to an Error Report
    assert talk.connect() == kit.reset_query(version)


def test_restart_and_shutdown():
    talk = synced()
    assert talk.say(kit.error(2, 12)) == [Closed("the cache reports cache restart (12)")]
    assert talk.connect() == kit.serial_query(2, 7, 5)
    talk = synced()
    assert talk.say(kit.error(2, 13)) == [
        Closed("the cache reports cache shutdown (13)", flush=True)
    ]


def test_unsupported_version_in_a_session():
    talk = synced()
    (event,) = talk.say(kit.error(2, 4))
    assert not event.flush


@pytest.mark.parametrize(
    "data",
    [
        kit.pdu(2, 10, 0, struct.pack("!II", 1, 0)),
        kit.pdu(2, 10, 0, struct.pack("!II", 2**32 - 1, 0)),
        kit.pdu(2, 10, 0, struct.pack("!II", 0, 1)),
        kit.pdu(2, 10, 0, struct.pack("!II", 0, 2**32 - 1)),
        kit.pdu(2, 10, 0, struct.pack("!II", 0, 0) + b"x"),
    ],
)
def test_error_reports_that_lie(data):
    talk = synced()
    assert talk.say(data) == [Closed("unreadable Error Report", flush=True)]
    assert talk.sent == b""


def test_error_texts_are_fit_for_a_log():
    talk = synced()
    (event,) = talk.say(kit.error(2, 0, b"", "a\n\x1b[31mb" + "x" * 5000))
    assert "\n" not in event.reason
    assert "\x1b" not in event.reason
    assert len(event.reason) < 300
    talk = synced()
    data = bytearray(kit.error(2, 0, b"", "abc"))
    data[-2] = 0xFF
    (event,) = talk.say(bytes(data))
    assert event.reason.endswith("a\ufffdc")


# --- anything -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *ORDER["idle"],
        kit.response(1, 7),
        kit.response(0, 7),
        kit.notify(2, 7, 6),
        kit.notify(2, 8, 6),
        kit.prefixes(2, [A]),
        kit.prefixes(2, [A], announce=False),
        kit.prefixes(1, [B, C]),
        kit.prefixes(2, [B, C]),
        kit.end(1, 7, 1),
        kit.end(0, 7, 1),
        kit.end(2, 9, 1),
        kit.error(2, 2),
        kit.error(1, 4),
        kit.error(0, 4),
        kit.error(2, 0),
        kit.aspa(1, announce=False),
        kit.old_aspa(1, [2]),
    ]
)


@settings(deadline=None)
@given(st.lists(st.one_of(PIECES, PIECES, PIECES, st.binary(max_size=40)), max_size=30), st.data())
def test_whatever_a_cache_sends(pieces, data):
    """No exception, no growth; the tables hold what the last End of Data left."""
    talk = Talk(limits=Limits(vrps=50, aspas=10))
    known: list = []
    for piece in pieces:
        cut = data.draw(st.integers(0, len(piece)))
        for part in (piece[:cut], piece[cut:]):
            events = talk.say(part, after=data.draw(st.sampled_from([0, 0.5, 61, 4000])))
            events += talk.wait(0)
            if any(isinstance(e, Synced) for e in events):
                known = talk.vrps()
            assert talk.vrps() == known
            assert len(talk.session._partial) <= rtr.MAX_PDU
            if talk.session.over:
                assert isinstance(events[-1], Closed)
                assert talk.session.receive(b"xx", talk.now) == []
                assert talk.session.next_timer() == float("inf")
                # As the client does.
                if events[-1].flush:
                    talk.roas.replace([])
                    talk.aspas.replace({})
                    talk.cache.forget_data()
                    known = []
                talk.connect()
                assert talk.sent[1] in {1, 2}


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([A, B, C, ("10.0.0.0/8", 8, 0)]), unique=True),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 2),
    st.data(),
)
def test_a_cache_that_keeps_the_rules_is_followed(states, version, data):
    talk = Talk()
    talk.cache.try_version = talk.cache.max_version = version
    talk.connect()
    before: set = set()
    for serial, vrps in enumerate(states):
        after = set(vrps)
        if serial == 0 or data.draw(st.booleans()):
            if serial:
                talk.say(kit.cache_reset(version))
            answer = kit.load(version, 7, serial, vrps)
        else:
            answer = kit.delta(version, 7, serial, after - before, before - after)
        (event,) = talk.say(answer)
        assert (event.added, event.removed) == (len(after - before), len(before - after))
        assert set(talk.vrps()) == after
        talk.wait(3600)
        assert talk.sent == kit.serial_query(version, 7, serial)
        before = after


def test_every_code_sent_is_one_of_its_version():
    for version, highest in enumerate(rtr.HIGHEST_CODE):
        for code in RtrError:
            talk = synced(version)
            talk.session._report(code, b"", "x")
            assert kit.error_of(talk.session.take_output())[1] <= highest
