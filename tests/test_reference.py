"""The oracle itself: handmade bytes and worked examples, so that it can be trusted as the judge."""

from __future__ import annotations

import json
import struct
from pathlib import Path as File

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rs.iana import AttrType, Family, MessageType
from tests import strategies
from tests.reference import codec
from tests.reference.codec import attrs_from_json, attrs_to_json, encode_attribute, encode_update
from tests.reference.update import (
    Context,
    Outcome,
    Result,
    count_ases,
    decode_update,
    merge_as4_path,
)

VECTORS = File(__file__).parent / "vectors"
V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
SET, SEQ, CSEQ, CSET = 1, 2, 3, 4
OK, DISCARD, WITHDRAW, RESET = Outcome

EXTERNAL = Context()
IBGP = Context(ibgp=True)
OLD = Context(as4=False)

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def hexed(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


ORIGIN = hexed("400101 00")
AS_PATH = hexed("400206 0201 0000fbf0")
NEXT_HOP = hexed("400304 c0000201")
BASE = ORIGIN + AS_PATH + NEXT_HOP
NLRI = hexed("18 0a0001")
ROUTE = (V4, "10.0.1.0/24", 0)
DEFAULT6 = (V6, "::/0", 0)
HOP6 = hexed("20010db8000000000000000000000001")
ATTRS = {"origin": 0, "as_path": ((SEQ, (64496,)),), "next_hop": "192.0.2.1"}


def announced(*extra: str | bytes, ctx: Context = EXTERNAL) -> Result:
    """A good announcement of one prefix with more attributes, as hex."""
    more = b"".join(hexed(e) if isinstance(e, str) else e for e in extra)
    as_path = AS_PATH if ctx.as4 else hexed("400204 0201 fbf0")
    return decode_update(codec.assemble(b"", ORIGIN + as_path + NEXT_HOP + more, NLRI), ctx)


def instead(kind: int, attribute: str, ctx: Context = EXTERNAL, nlri: bytes = NLRI) -> Result:
    """A good announcement with one attribute replaced."""
    parts = {1: ORIGIN, 2: AS_PATH, 3: NEXT_HOP, kind: hexed(attribute)}
    return decode_update(codec.assemble(b"", b"".join(parts.values()), nlri), ctx)


def fault(result: Result) -> tuple[int, int, int]:
    return result.outcome, result.err_subcode, result.err_attr


# --- vectors ------------------------------------------------------------------------------------


def vectors(name: str) -> list[object]:
    cases = json.loads((VECTORS / name).read_text())
    return [pytest.param(case, id=case["name"]) for case in cases]


def vector_context(case: dict) -> Context:
    given_ctx = dict(case.get("context", {}))
    for key in ("families", "addpath"):
        if key in given_ctx:
            given_ctx[key] = frozenset(Family.from_label(f) for f in given_ctx[key])
    return Context(**given_ctx)


def as_json(result: Result) -> dict:
    """The parts of a result that are not empty."""
    routes = {
        "withdrawn": [[f.label, p, i] for f, p, i in result.withdrawn],
        "announced": [[f.label, p, i] for f, p, i in result.announced],
    }
    numbers = {k: getattr(result, k) for k in ("err_subcode", "err_attr", "discarded")}
    out = {"outcome": int(result.outcome)}
    out |= {k: v for k, v in (routes | numbers).items() if v}
    if result.eor is not None:
        out["eor"] = result.eor.label
    for key in ("attrs", "mp_attrs"):
        if getattr(result, key) is not None:
            out[key] = attrs_to_json(getattr(result, key))
    return out


@pytest.mark.parametrize("case", vectors("update-valid.json") + vectors("update-faults.json"))
def test_vectors_decode(case):
    result = as_json(decode_update(hexed(*case["hex"]), vector_context(case)))
    want = {k: v for k, v in case["expect"].items() if k == "outcome" or v}
    assert result == want


@pytest.mark.parametrize("case", vectors("update-valid.json"))
def test_vectors_encode(case):
    ctx = vector_context(case)
    given_args = dict(case["encode"])
    attrs = given_args.pop("attrs", None)
    body = encode_update(
        [tuple(n) for n in given_args.pop("announced", ())],
        attrs_from_json(attrs) if attrs else None,
        [tuple(n) for n in given_args.pop("withdrawn", ())],
        as4=ctx.as4,
        addpath=ctx.addpath,
        **given_args,
    )
    assert body.hex(" ") == hexed(*case["hex"]).hex(" ")


# --- frame and NLRI -----------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "00", "0000", "000000"])
def test_a_body_below_four_octets_resets(body):
    assert fault(decode_update(hexed(body), Context())) == (RESET, 1, 0)


def test_a_reset_applies_nothing():
    result = decode_update(hexed("0002 08 0a", "0000", "21 0a00000000"), Context())
    assert fault(result) == (RESET, 10, 0)
    assert (result.withdrawn, result.announced, result.eor) == ([], [], None)


def test_nlri_of_a_family_that_is_not_negotiated_is_checked_but_not_used():
    ctx = Context(families=frozenset({V6}))
    assert announced(ctx=ctx) == Result()
    assert fault(decode_update(hexed("0001 21 0000"), ctx)) == (RESET, 10, 0)
    assert decode_update(hexed("0000 0000"), ctx).eor is None


def test_a_prefix_in_both_fields_is_in_both_lists():
    result = decode_update(codec.assemble(NLRI, BASE, NLRI), Context())
    assert (result.withdrawn, result.announced) == ([ROUTE], [ROUTE])


def test_path_ids_that_are_cut_off():
    ctx = Context(addpath=frozenset({V4}))
    for tail in ("000000", "00000001", "00000001 18 0a00"):
        assert fault(decode_update(codec.assemble(nlri=hexed(tail)), ctx)) == (RESET, 10, 0)


@pytest.mark.parametrize("tail", ["40", "4001", "50 01 00", "c0", "400502 00"])
def test_attributes_that_end_early_take_the_routes(tail):
    result = announced(tail)
    assert result.outcome is WITHDRAW
    assert result.err_subcode == 1
    assert (result.withdrawn, result.announced, result.attrs) == ([ROUTE], [], None)
    without_nlri = decode_update(codec.assemble(b"", BASE + hexed(tail)), Context())
    assert (without_nlri.outcome, without_nlri.err_subcode) == (RESET, 1)


@pytest.mark.parametrize("head", ["800e20 0002 01", "800f04 0002 01"])
def test_an_mp_attribute_that_overruns_cannot_be_withdrawn(head):
    kind = int(head[2:4], 16)
    assert fault(announced(head)) == (RESET, 9, kind)


def test_extended_length_below_256_is_fine():
    assert announced("900400 04 0000000a").attrs == ATTRS | {"med": 10}


def test_low_flag_bits_and_partial_mean_nothing():
    assert announced("ef0804 00000064").attrs == ATTRS | {"communities": (100,)}
    assert instead(1, "6f0101 00").attrs == ATTRS


# --- attribute by attribute ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "attribute", "subcode"),
    [
        (1, "400100", 5),
        (1, "400102 0000", 5),
        (1, "400101 03", 6),
        (1, "c00101 00", 4),
        (1, "000101 00", 4),
        (2, "400205 0201 0000fb", 11),
        (2, "400207 0201 0000fbf0 02", 11),
        (2, "400202 0200", 11),
        (2, "400206 0501 0000fbf0", 11),
        (2, "400206 0001 0000fbf0", 11),
        (2, "40020a 0202 0000fbf0 00000000", 11),
        (2, "c00206 0201 0000fbf0", 4),
        (3, "400303 c00002", 5),
        (3, "400300", 5),
        (3, "c00304 c0000201", 4),
        (4, "800403 000000", 5),
        (4, "c00404 00000000", 4),
        (8, "c00800", 5),
        (8, "c00806 000000640000", 5),
        (8, "800804 00000064", 4),
        (16, "c01007 00000000000000", 5),
        (16, "c01000", 5),
        (32, "c0200b 0000000000000000000000", 5),
        (32, "c02000", 5),
        (32, "802000", 4),
        (35, "c02303 000000", 5),
        (35, "802304 00000001", 4),
    ],
)
def test_treat_as_withdraw(kind, attribute, subcode):
    result = instead(kind, attribute)
    assert fault(result) == (WITHDRAW, subcode, kind)
    assert (result.withdrawn, result.announced) == ([ROUTE], [])
    # Without reachable NLRI the same fault ends the session (RFC 7606 5.2).
    alone = decode_update(codec.assemble(b"", hexed(attribute)), Context())
    assert fault(alone) == (RESET, subcode, kind)
    assert alone.err_data == hexed(attribute)


@pytest.mark.parametrize(
    ("ctx", "attribute", "subcode"),
    [
        (Context(), "400601 00", 5),
        (Context(), "c00600", 4),
        (Context(), "c00706 fbf0 c0000201", 5),
        (OLD, "c00708 0000fbf0 c0000201", 5),
        (Context(), "c00708 00000000 c0000201", 9),
        (Context(), "400708 0000fbf0 c0000201", 4),
        (Context(), "400504 00000064", 0),
        (Context(), "800904 0a000001", 0),
        (Context(), "800a04 0a000001", 0),
        (Context(), "c00903 000000", 0),
        (Context(), "c01106 0201 0000fbf0", 0),
        (Context(), "c01208 0000fbf0 c0000201", 0),
        (OLD, "c01105 0201 0000fb", 5),
        (OLD, "c01106 0200 0201 0000", 9),
        (OLD, "c01106 0202 0000fbf0", 9),
        (OLD, "c01106 0501 0000fbf0", 9),
        (OLD, "c01106 0201 00000000", 9),
        (OLD, "c01207 0000fbf0 c00002", 5),
        (OLD, "c01208 00000000 c0000201", 9),
        (IBGP, "801a00", 5),
        (IBGP, "801a0b 01 000b ffffffffffffffff", 9),
        (IBGP, "801a0a 01 000a 00000000000000", 9),
        (IBGP, "801a03 02 0002", 9),
        (IBGP, "801a05 02 0003 0000", 9),
        (IBGP, "c01a0b 01 000b 0000000000000001", 4),
    ],
)
def test_attribute_discard(ctx, attribute, subcode):
    result = announced(attribute, ctx=ctx)
    assert fault(result) == (DISCARD, subcode, hexed(attribute)[1])
    assert (result.announced, result.attrs, result.discarded) == ([ROUTE], ATTRS, 1)
    # It needs no NLRI to be survived.
    assert decode_update(codec.assemble(b"", hexed(attribute)), ctx).outcome is DISCARD


@pytest.mark.parametrize(
    ("attribute", "subcode"),
    [
        ("400503 000000", 5),
        ("c00504 00000064", 4),
        ("800903 000000", 5),
        ("800a06 000000000000", 5),
    ],
)
def test_internal_attributes_are_checked_where_they_are_meant(attribute, subcode):
    assert fault(announced(attribute, ctx=IBGP)) == (WITHDRAW, subcode, hexed(attribute)[1])


def test_as4_attributes_with_wrong_flags():
    assert fault(announced("801106 0201 0000fbf0", ctx=OLD)) == (WITHDRAW, 4, 17)
    assert fault(announced("401208 0000fbf0 c0000201", ctx=OLD)) == (WITHDRAW, 4, 18)


def test_aigp_is_for_internal_sessions():
    good = "801a11 01 000b 000000000000000a 07 0006 010203"
    assert announced(good, ctx=IBGP).attrs == ATTRS | {"aigp": hexed(good)[3:]}
    assert announced(good) == announced()
    assert announced("c01a01 00") == announced()


def test_local_pref_may_be_missing_from_an_internal_peer():
    assert announced(ctx=IBGP).attrs == ATTRS


def test_unknown_attributes():
    result = announced("c0c802 0102", "80c903 000000", "e00b00", "dfca 0001 07")
    assert result.outcome is OK
    assert result.attrs["unknown"] == ((0xE0, 11, b""), (0xE0, 200, b"\1\2"), (0xE0, 202, b"\7"))
    result = announced("606301 00")
    assert fault(result) == (RESET, 2, 99)
    assert result.err_data == hexed("606301 00")


def test_duplicates_are_dropped_unread():
    result = announced("c0c801 01", "c0c801 02", "400101 07", "000300")
    assert fault(result) == (DISCARD, 1, 200)
    assert result.discarded == 3
    assert result.attrs == ATTRS | {"unknown": ((0xE0, 200, b"\1"),)}


def test_the_strongest_approach_wins_and_the_first_of_its_kind_is_named():
    result = announced("c00706 fbf0 c0000201", "c00801 00", "800401 00")
    assert fault(result) == (WITHDRAW, 5, 8)
    assert result.discarded == 1
    assert fault(announced("c00801 00", "406301 00")) == (RESET, 2, 99)


def test_mandatory_attributes_are_for_routes_only():
    assert decode_update(codec.assemble(NLRI, ORIGIN), Context()).withdrawn == [ROUTE]
    result = decode_update(codec.assemble(b"", AS_PATH + NEXT_HOP, NLRI), Context())
    assert fault(result) == (WITHDRAW, 3, 1)


# --- MP_REACH_NLRI and MP_UNREACH_NLRI ----------------------------------------------------------


def mp_update(value: str, *, flags: str = "80", nlri: bytes = b"", ctx: Context = EXTERNAL):
    mp = encode_attribute(AttrType.MP_REACH_NLRI, hexed(value), hexed(flags)[0])
    return decode_update(codec.assemble(b"", mp + BASE, nlri), ctx)


def test_both_nlri_fields_in_one_update():
    result = mp_update("0002 01 10" + HOP6.hex() + "00 00", nlri=NLRI)
    assert result.announced == [ROUTE, DEFAULT6]
    assert result.attrs == ATTRS
    assert result.mp_attrs == ATTRS | {"next_hop": "2001:db8::1"}
    assert result.routes() == [(ROUTE, result.attrs), (DEFAULT6, result.mp_attrs)]


def test_a_fault_takes_both():
    mp = encode_attribute(14, hexed("0002 01 10", HOP6.hex(), "00 00"))
    gone = encode_attribute(15, hexed("0002 01 08 20"))
    result = decode_update(codec.assemble(NLRI, gone + mp + ORIGIN + AS_PATH, NLRI), Context())
    assert fault(result) == (WITHDRAW, 3, 3)
    assert result.withdrawn == [ROUTE, (V6, "2000::/8", 0), ROUTE, DEFAULT6]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0002",
        "0002 01 00",
        "0002 01 04 c0000201 00 00",
        "0001 01 10" + HOP6.hex() + "00 00",
        "0002 01 10" + HOP6.hex(),
        "0002 01 10 20010db8",
        "0002 01 10" + HOP6.hex() + "00 81" + "00" * 17,
        "0002 01 10" + HOP6.hex() + "00 40 20010db8",
    ],
)
def test_a_malformed_mp_reach_resets(value):
    assert fault(mp_update(value, nlri=NLRI)) == (RESET, 9, 14)


@pytest.mark.parametrize("flags", ["40", "c0", "00"])
def test_mp_flags(flags):
    assert fault(mp_update("0002 01 10" + HOP6.hex() + "00 00", flags=flags)) == (RESET, 9, 14)
    unreach = encode_attribute(15, hexed("0002 01 00"), hexed(flags)[0])
    assert fault(decode_update(codec.assemble(b"", unreach), Context())) == (RESET, 9, 15)


def test_next_hop_lengths_of_ipv4_with_and_without_extended_next_hop():
    ext = Context(ext_next_hop=True)
    for size, allowed in ((4, True), (16, True), (32, True), (8, False), (24, False)):
        value = f"0001 01 {size:02x}" + "20" * size + "00 18 0a0001"
        assert mp_update(value, ctx=ext).outcome is (OK if allowed else RESET)
        assert mp_update(value).outcome is (OK if size == 4 else RESET)
    both = mp_update("0001 01 20" + HOP6.hex() + "fe80" + "00" * 13 + "01" + "00 00", ctx=ext)
    assert both.mp_attrs["next_hop"] == "2001:db8::1"
    assert both.mp_attrs["link_local"] == "fe80::1"


def test_families_not_negotiated_are_ignored_unread():
    for value in ("0002 02 ff", "0002 80 00", "0019 41 00 00 ff"):
        assert mp_update(value) == Result()
    v4_only = Context(families=frozenset({V4}))
    assert mp_update("0002 01 03", flags="c0", ctx=v4_only) == Result()
    # ... but they still carry routes: what is wrong beside them does not reset.
    mp = encode_attribute(14, hexed("0002 02 00 00"))
    result = decode_update(codec.assemble(b"", mp + hexed("400101 09")), Context())
    assert fault(result) == (WITHDRAW, 6, 1)


def test_an_empty_mp_reach_encodes_no_routes():
    value = "0002 01 10" + HOP6.hex() + "00"
    assert mp_update(value) == Result()
    mp = encode_attribute(14, hexed(value))
    assert fault(decode_update(codec.assemble(b"", mp + hexed("400101 09")), Context())) == (
        RESET,
        6,
        1,
    )


def test_add_path_is_per_family():
    ctx = Context(addpath=frozenset({V6}))
    value = "0002 01 10" + HOP6.hex() + "00 00000005 08 20 00000006 00"
    result = mp_update(value, nlri=NLRI, ctx=ctx)
    assert result.announced == [ROUTE, (V6, "2000::/8", 5), (V6, "::/0", 6)]


def test_end_of_rib():
    assert decode_update(hexed("0000 0000"), Context()) == Result(eor=V4)
    assert decode_update(codec.end_of_rib(V6), Context()) == Result(eor=V6)
    assert decode_update(hexed("0000 0006 800f03 0001 01"), Context()) == Result(eor=V4)
    with_more = codec.assemble(b"", hexed("800f03 0002 01") + ORIGIN)
    assert decode_update(with_more, Context()) == Result()
    other = decode_update(hexed("0000 0006 800f03 0002 80"), Context())
    assert other == Result()


# --- RFC 6793 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_path", "as4_path", "merged"),
    [
        # All of it in AS4_PATH.
        (((SEQ, (23456, 64496)),), ((SEQ, (100001, 64496)),), ((SEQ, (100001, 64496)),)),
        # Old speakers after the last new one have put themselves in front.
        (
            ((SEQ, (275, 250, 225, 23456, 23456, 200, 23456, 175)),),
            ((SEQ, (100001, 100002, 200, 100003, 175)),),
            ((SEQ, (275, 250, 225, 100001, 100002, 200, 100003, 175)),),
        ),
        # AS4_PATH longer than AS_PATH: ignored.
        (((SEQ, (64496,)),), ((SEQ, (100001, 100002)),), ((SEQ, (64496,)),)),
        # A set counts 1 on either side.
        (
            ((SEQ, (64496, 23456)), (SET, (23456, 23456))),
            ((SEQ, (100001,)), (SET, (100002, 100003, 100004))),
            ((SEQ, (64496, 100001)), (SET, (100002, 100003, 100004))),
        ),
        # A set in front is prepended whole.
        (
            ((SET, (1, 2)), (SEQ, (23456,))),
            ((SEQ, (100001,)),),
            ((SET, (1, 2)), (SEQ, (100001,))),
        ),
        # Sequences are joined only as far as 255 go.
        (
            ((SEQ, (1,)), (SEQ, (23456,) * 255)),
            ((SEQ, (100001,) * 255),),
            ((SEQ, (1,)), (SEQ, (100001,) * 255)),
        ),
        # Confederation segments count nothing; leading ones and their neighbors are kept ...
        (
            ((CSEQ, (65001, 65002)), (CSET, (65003,)), (SEQ, (64496, 23456))),
            ((SEQ, (64496, 100001)),),
            ((CSEQ, (65001, 65002)), (CSET, (65003,)), (SEQ, (64496, 100001))),
        ),
        # ... adjacent to a segment that is prepended whole too ...
        (
            ((SEQ, (1,)), (CSEQ, (65001,)), (SEQ, (23456,))),
            ((SEQ, (100001,)),),
            ((SEQ, (1,)), (CSEQ, (65001,)), (SEQ, (100001,))),
        ),
        # ... but not after one of which a part stands in AS4_PATH.
        (
            ((SEQ, (1, 23456)), (CSEQ, (65001,)), (SEQ, (2,))),
            ((SEQ, (100001, 2)),),
            ((SEQ, (1, 100001, 2)),),
        ),
        (((SEQ, (1, 2)),), (), ((SEQ, (1, 2)),)),
    ],
)
def test_merging_as4_path(as_path, as4_path, merged):
    assert merge_as4_path(as_path, as4_path) == merged
    if count_ases(as4_path) <= count_ases(as_path):
        assert count_ases(merged) == count_ases(as_path)


AS4_PATH = "c01106 0201 000186a1"
OLD_PATH = hexed("400206 0202 fbf0 5ba0")


def old_update(*extra: str) -> Result:
    attrs = ORIGIN + OLD_PATH + NEXT_HOP + b"".join(hexed(e) for e in extra)
    return decode_update(codec.assemble(b"", attrs, NLRI), OLD)


def test_as4_path_is_merged():
    assert old_update(AS4_PATH).attrs["as_path"] == ((SEQ, (64496, 100001)),)
    assert old_update().attrs["as_path"] == ((SEQ, (64496, 23456)),)


def test_confederation_segments_leave_as4_path():
    result = old_update("c0110c 0301 0000fde9 0201 000186a1")
    assert result.outcome is OK
    assert result.attrs["as_path"] == ((SEQ, (64496, 100001)),)
    only = old_update("c01106 0301 0000fde9")
    assert only.outcome is OK
    assert only.attrs["as_path"] == ((SEQ, (64496, 23456)),)


def test_as4_aggregator():
    as4_aggregator = "c01208 000186a1 c0000263"
    result = old_update(AS4_PATH, "c00706 5ba0 c0000201", as4_aggregator)
    assert result.attrs["aggregator"] == (100001, "192.0.2.99")
    assert result.attrs["as_path"] == ((SEQ, (64496, 100001)),)
    # An old speaker has aggregated after: neither AS4 attribute is about this route any more.
    result = old_update(AS4_PATH, "c00706 fbf1 c0000201", as4_aggregator)
    assert result.attrs["aggregator"] == (64497, "192.0.2.1")
    assert result.attrs["as_path"] == ((SEQ, (64496, 23456)),)
    assert result.outcome is OK
    # Without AGGREGATOR it says nothing, and AS4_PATH stays in force.
    result = old_update(AS4_PATH, as4_aggregator)
    assert "aggregator" not in result.attrs
    assert result.attrs["as_path"] == ((SEQ, (64496, 100001)),)
    result = old_update("c00706 5ba0 c0000201")
    assert result.attrs["aggregator"] == (23456, "192.0.2.1")


# --- codec --------------------------------------------------------------------------------------


def test_message_stream():
    bodies = [(MessageType.UPDATE, b"\0\0\0\0"), (MessageType.KEEPALIVE, b"")]
    stream = b"".join(codec.encode_message(kind, body) for kind, body in bodies)
    assert codec.decode_stream(stream) == bodies
    for broken in (stream[:-1], b"\0" + stream[1:], stream[:16] + b"\0\x12" + stream[18:]):
        with pytest.raises(ValueError, match="offset"):
            codec.decode_stream(broken)


@quick
@given(strategies.updates())
def test_valid_updates_are_ok(case):
    ctx, body = case
    result = decode_update(body, ctx)
    assert fault(result) == (OK, 0, 0)


@quick
@given(st.data())
def test_what_is_encoded_is_decoded(data):
    ctx = data.draw(strategies.contexts())
    family = data.draw(st.sampled_from(sorted(ctx.families)))
    attrs = data.draw(strategies.attribute_dicts(family, ibgp=ctx.ibgp))
    mp = data.draw(st.booleans())
    order = data.draw(st.randoms(use_true_random=False))
    prefix = data.draw(strategies.prefixes(family))
    body = encode_update(
        [(prefix, 7)],
        attrs,
        as4=ctx.as4,
        addpath=ctx.addpath,
        mp=mp,
        order=lambda kinds: order.sample(kinds, len(kinds)),
    )
    result = decode_update(body, ctx)
    assert result.outcome is OK
    assert result.announced == [(family, prefix, 7 if family in ctx.addpath else 0)]
    found = result.mp_attrs if family is V6 or mp else result.attrs
    if ctx.as4:
        assert found == attrs
    else:
        # Confederation segments and AS_TRANS itself may stay 2-octet; the rest is exact.
        assert count_ases(found["as_path"]) == count_ases(attrs["as_path"])
        assert {**found, "as_path": 0} == {**attrs, "as_path": 0}


def flat(segments):
    """Segments with neighboring sequences joined: what the path says, not how it is cut."""
    out = []
    for kind, asns in segments:
        if out and kind == SEQ and out[-1][0] == SEQ:
            out[-1] = (SEQ, out[-1][1] + asns)
        else:
            out.append((kind, asns))
    return out


@quick
@given(strategies.as_paths())
def test_a_path_survives_a_two_octet_session(path):
    path = tuple(s for s in path if s[0] in {SET, SEQ})
    attrs = ATTRS | {"as_path": path}
    result = decode_update(encode_update(["10.0.0.0/8"], attrs, as4=False), OLD)
    assert flat(result.attrs["as_path"]) == flat(path)


@quick
@given(strategies.mutated_updates())
def test_mutated_updates_have_a_defined_outcome(case):
    ctx, body = case
    result = decode_update(body, ctx)
    assert result.outcome in set(Outcome)
    if result.outcome is RESET:
        assert not result.withdrawn
    if result.outcome >= WITHDRAW:
        assert (result.announced, result.attrs, result.mp_attrs) == ([], None, None)
        assert result.err_subcode
    assert len(result.routes()) == len(result.announced)


def test_struct_is_used_as_the_codec_says():
    assert encode_attribute(8, struct.pack("!I", 1) * 64)[:4] == hexed("d0080100")


def test_a_two_octet_path_that_fits_no_message_any_more():
    path = ((SEQ, (64496,) * 255),) * 100
    attrs = ATTRS | {"as_path": path}
    fits = decode_update(
        encode_update(["10.0.1.0/24"], attrs | {"as_path": path[:60]}, as4=False), OLD
    )
    assert fits.outcome is OK
    for more in ({}, {"next_hop": "2001:db8::1"}):
        prefix = "2001:db8::/32" if more else "10.0.1.0/24"
        result = decode_update(encode_update([prefix], attrs | more, as4=False), OLD)
        assert fault(result) == (WITHDRAW, 5, 2)
        assert len(result.withdrawn) == 1
