"""Sessions with 2-octet AS numbers: AS4_PATH and AS4_AGGREGATOR."""

import pytest

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from tests.updatekit import (
    BASE,
    CONFED_SET,
    DISCARD,
    N4,
    NEXT_HOP,
    OK,
    ORIGIN,
    SET,
    TRANS,
    TRANSITIVE,
    WELL_KNOWN,
    WITHDRAW,
    C,
    S,
    aggregator,
    aggregator4,
    attr,
    fault,
    segments,
    update,
)


@pytest.fixture
def table():
    table = AttrTable()
    yield table
    stats = table.stats()
    assert (stats["sets"], stats["wire_bytes"], stats["next_hop_refs"]) == (0, 0, 0)


@pytest.fixture
def external(table):
    return Decoder(table)


# --- RFC 6793: sessions with 2-octet AS numbers ------------------------------------------------


def old_decode(table, path, path4=None, *more):
    parts = [ORIGIN, attr(WELL_KNOWN, 2, segments(*path, width=2)), NEXT_HOP]
    if path4 is not None:
        parts.append(attr(TRANSITIVE, 17, segments(*path4)))
    return Decoder(table, as4=False).decode(update(b"".join((*parts, *more)), N4))


@pytest.mark.parametrize(
    ("path", "path4", "merged"),
    [
        # no AS4_PATH
        ([(S, (1, 2))], None, [(S, (1, 2))]),
        ([], None, []),
        # the same length: AS4_PATH alone
        ([(S, (TRANS, 2))], [(S, (70000, 2))], [(S, (70000, 2))]),
        # leading AS numbers added by 2-octet speakers; one sequence stays one
        ([(S, (1, 2, TRANS, 4))], [(S, (70000, 4))], [(S, (1, 2, 70000, 4))]),
        ([(S, (1, 2)), (S, (TRANS, 4))], [(S, (70000, 4))], [(S, (1, 2, 70000, 4))]),
        # AS_PATH is shorter: AS4_PATH is ignored
        ([(S, (1,))], [(S, (70000, 4))], [(S, (1,))]),
        ([], [(S, (70000,))], []),
        # a set counts one
        ([(S, (1,)), (SET, (2, 3)), (S, (TRANS,))], [(S, (70000,))], [(S, (1,)), (SET, (2, 3)), (S, (70000,))]),
        ([(S, (1, TRANS)), (SET, (TRANS, 3))], [(S, (70000,)), (SET, (70001, 3))], [(S, (1, 70000)), (SET, (70001, 3))]),
        ([(SET, (1, 2)), (S, (TRANS,))], [(S, (70000,))], [(SET, (1, 2)), (S, (70000,))]),
        ([(SET, (1, 2))], [(SET, (70000, 70001, 70002))], [(SET, (70000, 70001, 70002))]),
        # confederation segments of AS_PATH: leading or beside a segment that stays whole
        ([(C, (9,)), (S, (TRANS, 4))], [(S, (70000, 4))], [(C, (9,)), (S, (70000, 4))]),
        ([(S, (1,)), (C, (9,)), (S, (TRANS,))], [(S, (70000,))], [(S, (1,)), (C, (9,)), (S, (70000,))]),
        ([(C, (8,)), (C, (9,)), (S, (1, TRANS))], [(S, (70000,))], [(C, (8,)), (C, (9,)), (S, (1, 70000))]),
        ([(S, (1, TRANS)), (C, (9,)), (S, (3,))], [(S, (70000, 3))], [(S, (1, 70000, 3))]),
        ([(CONFED_SET, (8, 9)), (S, (TRANS,))], [(S, (70000,))], [(CONFED_SET, (8, 9)), (S, (70000,))]),
    ],
)  # fmt: skip
def test_as4_path_merging(table, path, path4, merged):
    r = old_decode(table, path, path4)
    assert r["outcome"] == OK
    assert r["attrs"]["as_path"] == tuple(merged)


def test_a_merged_path_gives_the_set_of_a_4_octet_speaker(table):
    native = attr(WELL_KNOWN, 2, segments((S, (1, 70000, 3))))
    held = Decoder(table).handles(update(ORIGIN + native + NEXT_HOP, N4))[1]
    old = update(
        ORIGIN
        + attr(WELL_KNOWN, 2, segments((S, (1, TRANS, 3)), width=2))
        + NEXT_HOP
        + attr(TRANSITIVE, 17, segments((S, (70000, 3)))),
        N4,
    )
    again = Decoder(table, as4=False).handles(old)[1]
    assert again == held
    table.drop(held)
    table.drop(again)


def test_a_sequence_that_would_pass_255_stays_two(table):
    four = (S, (7,) * 100 + (70000,))
    r = old_decode(table, [(S, (1,) * 255), (S, (2, TRANS))], [four])
    assert r["attrs"]["as_path"] == ((S, (1,) * 156), four)


def test_confederation_segments_of_as4_path_are_left_out(table):
    r = old_decode(table, [(S, (1, TRANS))], [(C, (9,)), (S, (70000,))])
    assert (r["outcome"], r["attrs"]["as_path"]) == (OK, ((S, (1, 70000)),))
    r = old_decode(table, [(S, (1, TRANS))], [(C, (9,))])
    assert (r["outcome"], r["attrs"]["as_path"]) == (OK, ((S, (1, TRANS)),))


@pytest.mark.parametrize(
    ("value", "subcode"),
    [
        (b"", 5),
        (b"\x02\x01\0\0", 5),
        (segments((S, (70000,))) + b"\x02", 5),
        (b"\x02\0" * 3, 9),
        (b"\x02\x02\0\x01\x11\x70", 9),
        (b"\x05\x01\0\x01\x11\x70", 9),
        (segments((S, (70000,))) + b"\x02\0", 9),
        (segments((S, (0,))), 9),
    ],
)
def test_malformed_as4_path_is_discarded(table, value, subcode):
    r = old_decode(table, [(S, (1, TRANS))], None, attr(TRANSITIVE, 17, value))
    assert (*fault(r), r["discarded"]) == (DISCARD, subcode, 17, 1)
    assert r["attrs"]["as_path"] == ((S, (1, TRANS)),)


def test_a_malformed_2_octet_path_withdraws(table):
    for path in ([(S, (1, 0))], [(7, (1,))]):
        assert fault(old_decode(table, path, [(S, (70000,))])) == (WITHDRAW, 11, 2)
    body = update(ORIGIN + attr(WELL_KNOWN, 2, b"\x02\x02\0\x01\0") + NEXT_HOP, N4)
    assert fault(Decoder(table, as4=False).decode(body)) == (WITHDRAW, 11, 2)


def test_missing_as_path_with_as4_path_withdraws(table):
    body = update(ORIGIN + NEXT_HOP + attr(TRANSITIVE, 17, segments((S, (70000,)))), N4)
    assert fault(Decoder(table, as4=False).decode(body)) == (WITHDRAW, 3, 2)


def test_aggregator_of_as_trans_takes_as4_aggregator(table):
    r = old_decode(table, [(S, (1, TRANS))], [(S, (70000,))], aggregator(TRANS), aggregator4(70000))
    assert r["outcome"] == OK
    assert r["attrs"]["aggregator"] == (70000, "192.0.2.8")
    assert r["attrs"]["as_path"] == ((S, (1, 70000)),)


def test_another_aggregator_means_that_both_as4_attributes_are_stale(table):
    r = old_decode(table, [(S, (1, TRANS))], [(S, (70000,))], aggregator(1), aggregator4(70000))
    assert r["outcome"] == OK
    assert r["attrs"]["aggregator"] == (1, "192.0.2.9")
    assert r["attrs"]["as_path"] == ((S, (1, TRANS)),)


def test_one_aggregator_alone(table):
    r = old_decode(table, [(S, (1, TRANS))], [(S, (70000,))], aggregator(5))
    assert r["attrs"]["aggregator"] == (5, "192.0.2.9")
    assert r["attrs"]["as_path"] == ((S, (1, 70000)),)
    r = old_decode(table, [(S, (1, TRANS))], [(S, (70000,))], aggregator4(70000))
    assert (r["outcome"], "aggregator" in r["attrs"]) == (OK, False)
    assert r["attrs"]["as_path"] == ((S, (1, 70000)),)


@pytest.mark.parametrize("value", [b"", bytes(6), bytes(8), b"\0\x01\x11\x70" + bytes(5)])
def test_malformed_as4_aggregator_is_discarded(table, value):
    r = old_decode(table, [(S, (1,))], None, aggregator(TRANS), attr(TRANSITIVE, 18, value))
    assert (r["outcome"], r["err_attr"], r["discarded"]) == (DISCARD, 18, 1)
    assert r["attrs"]["aggregator"] == (TRANS, "192.0.2.9")


@pytest.mark.parametrize("length", [5, 7, 8])
def test_aggregator_length_of_2_octet_sessions(table, length):
    r = old_decode(table, [(S, (1,))], None, attr(TRANSITIVE, 7, b"\x01" * length))
    assert fault(r) == (DISCARD, 5, 7)


def test_as4_attributes_from_a_4_octet_speaker_are_discarded(table, external):
    more = attr(TRANSITIVE, 17, segments((S, (70000,)))) + aggregator4(70000)
    r = external.decode(update(BASE + more, N4))
    assert (r["outcome"], r["discarded"]) == (DISCARD, 2)
    assert r["attrs"]["as_path"] == ((S, (64500, 65551)),)
    assert "aggregator" not in r["attrs"]
