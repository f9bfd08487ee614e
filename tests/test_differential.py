"""The fast path's decoder against the oracle, on valid and on broken UPDATEs of every context.

RS_FUZZ is the number of broken UPDATEs of the seeded loop (100,000 by default); RS_FUZZ_SEED its
first seed, so that a failure can be run again alone. All contexts share one attribute table, and
every body is decoded again while its sets are held: what is in the table must not change an answer
(the second one comes from the table, without parsing).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from tests import strategies
from tests.reference.update import Context, Outcome, decode_update
from tests.strategies import Source, make_context, make_huge, make_mutated, make_update

if TYPE_CHECKING:
    from rs.iana import Family

FUZZ = int(os.environ.get("RS_FUZZ", "100000"))
SEED = int(os.environ.get("RS_FUZZ_SEED", "0"))
BATCH = 1000
"""Bodies a seed; the table must be empty after each batch."""

WITH_DATA = (2, 3, 4, 5, 6, 8, 9)
"""Subcodes for which RFC 4271 6.3 says what the Data field holds."""

thorough = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def bits(families: frozenset[Family]) -> int:
    return sum(1 << f for f in families)


def decoder(table: AttrTable, ctx: Context) -> Decoder:
    return Decoder(
        table,
        as4=ctx.as4,
        ibgp=ctx.ibgp,
        families=bits(ctx.families),
        addpath=bits(ctx.addpath),
        ext_next_hop=ctx.ext_next_hop,
    )


def plain(attrs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Attribute dicts with only the flags that mean something."""
    if attrs is None or "unknown" not in attrs:
        return attrs
    unknown = tuple((flags & 0xE0, kind, value) for flags, kind, value in attrs["unknown"])
    return {**attrs, "unknown": unknown}


def reference_answer(body: bytes, ctx: Context) -> tuple[dict[str, Any], Any]:
    """What the fast path has to say, and the reference's own result."""
    result = decode_update(body, ctx)
    return {
        "outcome": int(result.outcome),
        "err_subcode": result.err_subcode,
        "err_attr": result.err_attr,
        "discarded": None if result.outcome is Outcome.RESET else result.discarded,
        "eor": None if result.eor is None else int(result.eor),
        "withdrawn": result.withdrawn,
        "announced": result.announced,
        "attrs": plain(result.attrs),
        "mp_attrs": plain(result.mp_attrs),
    }, result


def fast_answer(raw: dict[str, Any]) -> dict[str, Any]:
    """The fast path's answer in the same shape."""
    announced = [(0, *route) for route in raw["announced"]] + raw["reach"]
    withdrawn = [(0, *route) for route in raw["withdrawn"]] + raw["unreach"]
    if raw["outcome"] >= Outcome.WITHDRAW:
        withdrawn, announced = withdrawn + announced, []
    return {
        "outcome": raw["outcome"],
        "err_subcode": raw["err_subcode"],
        "err_attr": raw["err_attr"],
        "discarded": None if raw["outcome"] == Outcome.RESET else raw["discarded"],
        "eor": None if raw["eor"] is None else int(raw["eor"]),
        "withdrawn": withdrawn,
        "announced": announced,
        "attrs": plain(raw["attrs"]),
        "mp_attrs": plain(raw["mp_attrs"]),
    }


def check(table: AttrTable, ctx: Context, body: bytes) -> Outcome:
    """Decode with either, and again while the attribute table holds the sets of this body."""
    fast = decoder(table, ctx)
    raw = fast.decode(body)
    held = [h for h in fast.handles(body)[1:] if h]
    again = fast.decode(body)
    for h in held:
        table.drop(h)
    want, result = reference_answer(body, ctx)
    context = f"\n{ctx}\nbody {body.hex()}\nfast {raw}\nreference {result}"
    assert again == raw, f"the second answer {again}{context}"
    assert raw["outcome"] in set(Outcome), f"outcome{context}"
    got = fast_answer(raw)
    for key, value in want.items():
        assert got[key] == value, f"{key}{context}"
    if result.outcome is Outcome.RESET and result.err_subcode in WITH_DATA:
        assert raw["err_data"] == result.err_data, f"err_data{context}"
    return result.outcome


def assert_empty(table: AttrTable) -> None:
    stats = table.stats()
    live = {k: stats[k] for k in ("sets", "next_hops", "next_hop_refs", "wire_bytes")}
    assert not any(live.values()), live


@pytest.fixture(scope="module")
def table() -> AttrTable:
    return AttrTable(seed=1)


@thorough
@given(strategies.updates())
def test_valid_updates(table, case):
    assert check(table, *case) is Outcome.OK
    assert_empty(table)


@thorough
@given(strategies.mutated_updates())
def test_broken_updates(table, case):
    check(table, *case)
    assert_empty(table)


def batches(n: int) -> list[int]:
    return list(range(SEED, SEED + max(1, n // BATCH)))


def test_many_broken_updates():
    table = AttrTable()
    met = set()
    for seed in batches(FUZZ):
        src = Source.seeded(seed)
        for _ in range(BATCH):
            ctx = make_context(src)
            body = make_mutated(src, ctx)
            try:
                met.add(check(table, ctx, body))
            except AssertionError as exc:
                raise AssertionError(f"RS_FUZZ_SEED={seed} RS_FUZZ={BATCH}: {exc}") from None
        assert_empty(table)
    assert met == set(Outcome)


def test_huge_updates():
    src = Source.seeded(SEED)
    table = AttrTable()
    for i in range(300):
        ctx = make_context(src)
        body = make_huge(src, ctx)
        check(table, ctx, body if i % 2 else strategies.mutate(src, body))
        assert_empty(table)


def test_sets_kept_by_others_change_no_answer():
    """Contexts differ in what they keep: a set held by one must not answer for another."""
    src = Source.seeded(SEED)
    table = AttrTable()
    held = []
    for _ in range(2000):
        ctx = make_context(src)
        body = make_update(src, ctx)
        _, classic, mp = decoder(table, ctx).handles(body)
        held += [h for h in (classic, mp) if h]
        check(table, ctx, body)
        check(table, make_context(src), body)
        check(table, ctx, strategies.mutate(src, body))
    # Bodies with 2-octet AS numbers or attributes out of order are always parsed.
    assert table.stats()["hits"] > 1000
    for h in held:
        table.drop(h)
    assert_empty(table)
