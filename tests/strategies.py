"""Test inputs: prefixes, attribute dicts, UPDATE bodies valid and broken, churn of a whole router.

Everything is generated from a `Source` of integers. One kind of source draws from hypothesis, so
that failures shrink; the other is a seeded `random.Random`, for loops of a hundred thousand. Both
go through the same generators, so what the loop finds can be looked for with hypothesis.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

from rs.iana import AS_TRANS, AttrFlag, AttrType, Family, SegmentType, WellKnownCommunity
from tests.reference import codec
from tests.reference.export import Kind
from tests.reference.rib import Peer
from tests.reference.update import Context, prefix_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.reference.codec import Attrs

T = TypeVar("T")

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
RS_ASN = 64500
CLUSTERS = ("10.7.0.1", "10.7.0.2")
"""Of reflectors' clients that have one of their own."""


class Source:
    """Choices, all made of `integers(low, high)`, both ends included."""

    def __init__(self, integers: Callable[[int, int], int]) -> None:
        self.integers = integers

    @classmethod
    def seeded(cls, seed: int) -> Source:
        """Make a fast and repeatable source."""
        return cls(random.Random(seed).randint)

    def chance(self, percent: int) -> bool:
        """Be true that often; the simple case, for shrinking, is false."""
        return self.integers(0, 99) >= 100 - percent

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`; the first is the simplest."""
        return items[self.integers(0, len(items) - 1)]

    def octets(self, n: int) -> bytes:
        """Any `n` octets."""
        return bytes(self.integers(0, 255) for _ in range(n))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in any order."""
        left = list(items)
        return [left.pop(self.integers(0, len(left) - 1)) for _ in range(len(left))]


# --- prefixes and addresses ---------------------------------------------------------------------

_LENGTHS = {
    V4: (24, 16, 23, 22, 20, 25, 8, 32, 31, 17, 9, 1, 0),
    V6: (48, 32, 44, 47, 49, 64, 20, 128, 127, 65, 1, 0),
}
_HEADS = {
    V4: (b"\x0a\x00", b"\x0a\x01", b"\xc0\xa8", b"\xcb\x00", b"\x00\x00", b"\xff\xff"),
    V6: (b"\x20\x01\x0d\xb8", b"\x2a\x00\x00\x01", b"\xfd\x00\x00\x00", b"\0\0\0\0"),
}


def make_prefix(src: Source, family: Family) -> str:
    """Make a prefix out of few octet values, so that prefixes repeat, nest and overlap."""
    octets = 4 if family is V4 else 16
    head = src.pick(_HEADS[family])
    tail = b""
    for at in range(octets - len(head)):
        # Beyond the third octet of the tail IPv6 is mostly zero, as in life.
        tail += bytes([src.pick((0, 1, 2, 128, 255)) if at < 3 or src.chance(5) else 0])
    length = src.pick(_LENGTHS[family])
    if src.chance(10):
        length = src.integers(0, 8 * octets)
    return prefix_text(head + tail, length, octets)


def make_host(src: Source) -> str:
    """Make an IPv4 address fit for a next hop."""
    return f"192.0.2.{src.integers(1, 12)}"


def make_ipv4(src: Source) -> str:
    """Make a host address, rarely one that is none."""
    if src.chance(3):
        return src.pick(("0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"))
    return f"192.0.2.{src.integers(1, 12)}"


def make_ipv6(src: Source) -> str:
    """Make a global address, rarely an odd one."""
    if src.chance(3):
        return src.pick(("::", "ff02::1", "::ffff:192.0.2.1", "::1"))
    return f"2001:db8::{src.integers(1, 12):x}"


# --- attributes ---------------------------------------------------------------------------------


def make_asn(src: Source) -> int:
    """Make an AS number, small and large ones, the special ones among them."""
    special = (AS_TRANS, 1, 65535, 65536, 4200000000, 0xFFFFFFFF, RS_ASN)
    return src.pick(special) if src.chance(20) else src.integers(64496, 64511)


def make_as_path(src: Source) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Make AS path segments: mostly one sequence; sets, confederations and long ones happen."""
    if src.chance(5):
        return ()
    sequence = int(SegmentType.AS_SEQUENCE)
    segments = [(sequence, tuple(make_asn(src) for _ in range(src.integers(1, 5))))]
    while src.chance(25):
        kind = int(src.pick((SegmentType.AS_SET, *SegmentType)))
        segments.append((kind, tuple(make_asn(src) for _ in range(src.integers(1, 4)))))
    if src.chance(2):
        segments.append((sequence, (64496,) * src.pick((255, 64, 63))))
    return tuple(src.shuffled(segments)) if src.chance(20) else tuple(segments)


def make_community(src: Source, asns: Sequence[int]) -> int:
    """Make a standard community: control forms, well-known ones, anything."""
    kind = src.integers(0, 9)
    if kind < 5:
        asn = src.pick(asns) & 0xFFFF
        return src.pick((asn, RS_ASN << 16 | asn, RS_ASN, asn << 16 | 100))
    if kind < 7:
        return int(src.pick(list(WellKnownCommunity)))
    return src.integers(0, 0xFFFFFFFF)


def make_large(src: Source, asns: Sequence[int]) -> tuple[int, int, int]:
    """Make a large community: control forms mostly."""
    if src.chance(70):
        return (RS_ASN, src.pick((0, 1, 2)), src.pick((*asns, 0)))
    return (src.pick(asns), src.integers(0, 3), src.integers(0, 0xFFFFFFFF))


def make_unknown(src: Source) -> tuple[tuple[int, int, bytes], ...]:
    """Make unknown optional transitive attributes as an attribute dict has them."""
    kinds = sorted({src.pick((200, 11, 20, 99, 128, 255)) for _ in range(src.integers(1, 2))})
    return tuple((0xE0, kind, src.octets(src.pick((3, 0, 1, 20)))) for kind in kinds)


def make_aigp(src: Source) -> bytes:
    """Make whole TLVs, an AIGP TLV first."""
    out = b"\x01\x00\x0b" + struct.pack("!Q", src.integers(0, 10**6))
    if src.chance(20):
        value = src.octets(src.integers(0, 3))
        out += b"\x02" + struct.pack("!H", 3 + len(value)) + value
    return out


def make_attrs(
    src: Source,
    family: Family = V4,
    *,
    ibgp: bool = False,
    asns: Sequence[int] = (64496, 64497, 100001),
    next_hop: str | None = None,
) -> Attrs:
    """Make a valid attribute dict; internal-only attributes only with `ibgp`."""
    attrs: dict[str, Any] = {
        "origin": src.integers(0, 2),
        "as_path": make_as_path(src),
        "next_hop": next_hop or (make_host(src) if family is V4 else make_ipv6(src)),
    }
    if ":" in attrs["next_hop"] and src.chance(30):
        attrs["link_local"] = f"fe80::{src.integers(1, 9):x}"
    if src.chance(40):
        attrs["med"] = src.pick((0, 10, 100, 0xFFFFFFFF))
    if src.chance(40):
        attrs["communities"] = tuple(make_community(src, asns) for _ in range(src.integers(1, 4)))
    if src.chance(30):
        large = [make_large(src, asns) for _ in range(src.integers(1, 3))]
        attrs["large_communities"] = tuple(dict.fromkeys(large))
    if src.chance(15):
        attrs["ext_communities"] = tuple(src.octets(8) for _ in range(src.integers(1, 3)))
    if src.chance(10):
        attrs["atomic_aggregate"] = True
    if src.chance(15):
        attrs["aggregator"] = (make_asn(src), make_ipv4(src))
    if src.chance(10):
        attrs["otc"] = make_asn(src)
    if src.chance(15):
        attrs["unknown"] = make_unknown(src)
    if ibgp:
        if src.chance(70):
            attrs["local_pref"] = src.pick((100, 0, 50, 200, 0xFFFFFFFF))
        if src.chance(30):
            attrs["originator_id"] = make_ipv4(src)
            attrs["cluster_list"] = tuple(make_ipv4(src) for _ in range(src.integers(1, 3)))
        if src.chance(20):
            attrs["aigp"] = make_aigp(src)
    return attrs


# --- contexts and UPDATE bodies -----------------------------------------------------------------


def make_context(src: Source) -> Context:
    """Make any combination of what a session may have negotiated."""
    both = frozenset(Family)
    return Context(
        as4=not src.chance(35),
        ibgp=src.chance(40),
        families=src.pick((both, both, both, frozenset({V4}), frozenset({V6}))),
        addpath=src.pick((frozenset(), frozenset(), both, frozenset({V4}), frozenset({V6}))),
        ext_next_hop=src.chance(30),
    )


def make_nlri(src: Source, family: Family, *, low: int = 1, high: int = 5) -> list[Any]:
    """Some prefixes with path ids."""
    return [
        (make_prefix(src, family), src.pick((0, 1, 2, 0xFFFFFFFF)))
        for _ in range(src.integers(low, high))
    ]


def make_update(src: Source, ctx: Context) -> bytes:
    """Make an UPDATE body that a correct peer may send, in one of many forms.

    It announces IPv4 in the classic fields or in MP_REACH_NLRI (IPv6 next hop where negotiated),
    IPv6, both at once; withdraws; ends a RIB; carries attributes in any order.
    """
    kind = src.integers(0, 11)
    if kind == 0:
        return codec.end_of_rib(src.pick((V4, V6)))
    withdrawn = make_nlri(src, src.pick((V4, V6)), low=0 if kind > 2 else 1)
    if kind > 4 and not src.chance(25):
        withdrawn = []
    mp_v4 = src.chance(25)
    order = src.shuffled if src.chance(30) else None
    if kind <= 2:
        return codec.encode_update((), None, withdrawn, as4=ctx.as4, addpath=ctx.addpath, mp=mp_v4)
    family = src.pick((V4, V6))
    next_hop = make_ipv6(src) if family is V4 and mp_v4 and ctx.ext_next_hop else None
    attrs = make_attrs(src, family, ibgp=ctx.ibgp, next_hop=next_hop)
    mp = mp_v4 or ":" in attrs["next_hop"]
    body = codec.encode_update(
        make_nlri(src, family),
        attrs,
        withdrawn,
        as4=ctx.as4,
        addpath=ctx.addpath,
        mp=mp,
        order=order,
    )
    if family is V6 and src.chance(10):  # classic NLRI beside MP_REACH_NLRI
        fields = split_body(body)
        assert fields is not None
        gone, parts, _ = fields
        hop = codec.encode_attribute(AttrType.NEXT_HOP, codec.ip4(make_host(src)))
        nlri = codec.encode_nlri(make_nlri(src, V4), addpath=V4 in ctx.addpath)
        body = codec.assemble(gone, b"".join([*parts, hop]), nlri)
    return body


def make_huge(src: Source, ctx: Context) -> bytes:
    """Make a body near what an extended message holds (RFC 8654): long paths, many communities."""
    family = src.pick((V4, V6))
    attrs = make_attrs(src, family, ibgp=ctx.ibgp)
    room = src.pick((60000, 30000, 3000))
    kind = src.integers(0, 3)
    if kind == 0:
        size = 255 * (4 if ctx.as4 else 2) + 2
        segment = (int(SegmentType.AS_SEQUENCE), (src.integers(1, 65535),) * 255)
        attrs["as_path"] = (segment,) * (room // size)
    elif kind == 1:
        attrs["communities"] = tuple(src.integers(0, 65535) for _ in range(room // 4))
    elif kind == 2:  # repeated values among them, which `encode_update` does not remove
        attrs["large_communities"] = tuple(
            (64496, src.integers(0, 50), src.integers(0, 50)) for _ in range(room // 12)
        )
    else:
        attrs["unknown"] = ((0xE0, 222, bytes(room)),)
    return codec.encode_update(
        make_nlri(src, family), attrs, as4=ctx.as4, addpath=ctx.addpath, mp=src.chance(30)
    )


# --- breaking them ------------------------------------------------------------------------------


def split_body(body: bytes) -> tuple[bytes, list[bytes], bytes] | None:
    """Withdrawn Routes, attributes one by one, NLRI; None where the lengths do not allow it."""
    if len(body) < 4:
        return None
    gone = int.from_bytes(body[:2], "big")
    if gone + 4 > len(body):
        return None
    total = int.from_bytes(body[2 + gone : 4 + gone], "big")
    block = body[4 + gone : 4 + gone + total]
    if len(block) < total:
        return None
    parts = []
    while block:
        wide = bool(block[0] & AttrFlag.EXTENDED_LENGTH)
        head = 4 if wide else 3
        if len(block) < head:
            return None
        size = head + int.from_bytes(block[2:head], "big")
        if len(block) < size:
            return None
        parts.append(block[:size])
        block = block[size:]
    return body[2 : 2 + gone], parts, body[4 + gone + total :]


def odd_attribute(src: Source) -> bytes:
    """Make one attribute with something wrong, or at least unusual, about it."""
    known = list(codec.FLAGS)
    choice = src.integers(0, 7)
    if choice == 0:  # any known one, random value
        return codec.encode_attribute(src.pick(known), src.octets(src.integers(0, 12)))
    if choice == 1:  # any flags
        return codec.encode_attribute(src.pick(known), src.octets(4), src.integers(0, 255))
    if choice == 2:  # unknown
        flags = src.pick((0xC0, 0x80, 0xE0, 0xCF, 0x40, 0x00))
        return codec.encode_attribute(src.pick((0, 200, 99, 255)), src.octets(3), flags)
    if choice == 3:  # AS paths
        value = src.pick(
            (
                b"\x02\x01\x00\x00\x00\x00",
                b"\x02\x00",
                b"\x05\x01\x00\x00\xfb\xf0",
                b"\x02",
                b"\x02\x02\x00\x00\xfb\xf0",
                b"\x03\x01\x00\x00\xfb\xf0\x02\x01\x00\x01\x86\xa1",
                codec.encode_as_path(make_as_path(src)),
                codec.encode_as_path(make_as_path(src), as4=False),
            )
        )
        return codec.encode_attribute(src.pick((AttrType.AS_PATH, AttrType.AS4_PATH)), value)
    if choice == 4 and src.chance(30):  # next hops
        hop = codec.ip4(make_ipv4(src)) if src.chance(80) else src.octets(src.integers(0, 5))
        return codec.encode_attribute(AttrType.NEXT_HOP, hop)
    if choice == 4:  # aggregators
        value = src.pick((b"\0\0", b"\x5b\xa0", b"\0\0\x5b\xa0", b"\0\x01\x86\xa1", b"\0\0\0\0"))
        kind = src.pick((AttrType.AGGREGATOR, AttrType.AS4_AGGREGATOR))
        return codec.encode_attribute(kind, value + src.octets(4))
    if choice == 5:  # MP attributes
        return odd_mp(src)
    if choice == 6:  # AIGP
        value = src.pick(
            (
                make_aigp(src),
                b"\x01\x00\x0b" + b"\xff" * 8,
                b"\x01\x00\x0a" + bytes(7),
                b"\x01\x00\x02",
                b"\x02\x00\x03",
                b"\x01\x00\x0b" + bytes(7),
                b"",
            )
        )
        return codec.encode_attribute(AttrType.AIGP, value, src.pick((0x80, 0x80, 0xC0, 0x40)))
    return codec.encode_attribute(  # Extended Length where none is needed
        AttrType.MULTI_EXIT_DISC, src.octets(src.pick((4, 4, 3))), extended=True
    )


def odd_mp(src: Source) -> bytes:
    """Make an MP_REACH_NLRI or MP_UNREACH_NLRI with any AFI, next hop length, NLRI and flags."""
    afi, safi = src.pick(((1, 1), (2, 1), (2, 1), (1, 2), (2, 128), (25, 65), (0, 0)))
    nlri = src.pick((b"", codec.encode_nlri([make_prefix(src, V6)]), src.octets(3), b"\x81"))
    flags = src.pick((0x80, 0x80, 0x80, 0x90, 0xC0, 0xA0, 0x40))
    if src.chance(40):
        value = struct.pack("!HB", afi, safi) + nlri
        kind = AttrType.MP_UNREACH_NLRI
    else:
        size = src.pick((16, 32, 4, 0, 8, 24, 255))
        value = struct.pack("!HBB", afi, safi, size) + src.octets(min(size, 32)) + b"\0" + nlri
        kind = AttrType.MP_REACH_NLRI
    if src.chance(10):
        value = value[: src.integers(0, 5)]
    return codec.encode_attribute(kind, value, flags)


_MUTATIONS = (0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5, 6, 6, 7, 8, 8, 9, 9, 10, 10, 10, 11, 11, 11)
"""Kinds of `mutate` by weight: those that break the frame (2, 3, 4) hide everything else."""


def mutate(src: Source, body: bytes) -> bytes:
    """Break a body in one way: bits, lengths, attributes doubled, moved, dropped, spliced in."""
    if not body:
        return src.octets(src.integers(0, 6))
    kind = src.pick(_MUTATIONS)
    if kind == 0:
        at = src.integers(0, len(body) - 1)
        return body[:at] + bytes([body[at] ^ 1 << src.integers(0, 7)]) + body[at + 1 :]
    if kind == 1:
        at = src.integers(0, len(body) - 1)
        return body[:at] + src.octets(1) + body[at + 1 :]
    if kind == 2:
        return body[: src.integers(0, len(body))]
    if kind == 3:
        return body + src.octets(src.integers(1, 5))
    fields = split_body(body)
    if fields is None:
        return src.octets(src.integers(0, 40))
    gone, parts, nlri = fields
    if kind == 4:  # a field length that lies
        lie = src.pick((-1, 1, 2, -2, 255, 0x7FFF))
        if src.chance(50):
            wrong = struct.pack("!H", max(0, len(gone) + lie) & 0xFFFF)
            return wrong + body[2:]
        at = 2 + len(gone)
        size = int.from_bytes(body[at : at + 2], "big")
        return body[:at] + struct.pack("!H", max(0, size + lie) & 0xFFFF) + body[at + 2 :]
    if kind == 5:
        parts.append(odd_attribute(src))
    elif not parts:
        parts = [odd_attribute(src)]
    elif kind == 6:
        parts.insert(src.integers(0, len(parts)), src.pick(parts))
    elif kind == 7:
        parts = src.shuffled(parts)
    elif kind == 8:
        parts.pop(src.integers(0, len(parts) - 1))
    else:
        at = src.integers(0, len(parts) - 1)
        part = bytearray(parts[at])
        if kind == 9:  # an attribute length that lies
            low = 3 if part[0] & AttrFlag.EXTENDED_LENGTH else 2
            part[low] = (part[low] + src.pick((-1, 1, -4, 4, 100))) & 0xFF
            parts[at] = bytes(part)
        elif kind == 10:
            part[0] ^= src.pick((0x80, 0x40, 0x20, 0xC0, 0x0F))
            parts[at] = bytes(part)
        else:  # replaced, the value of one by another
            parts[at] = odd_attribute(src)
    if src.chance(10):
        parts = src.shuffled(parts)
    return codec.assemble(gone, b"".join(parts), nlri)


def make_mutated(src: Source, ctx: Context) -> bytes:
    """Make a valid body and break it one to four times."""
    body = make_update(src, ctx)
    for _ in range(src.pick((1, 1, 1, 2, 2, 3, 4))):
        body = mutate(src, body)
    return body


# --- churn --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Op:
    """One thing that happens: `announce` and `withdraw` have a prefix, `down` and `up` have not."""

    kind: str
    peer: int
    prefix: str = ""
    attrs: Attrs | None = None
    path_id: int = 0

    def body(self, *, as4: bool = True, addpath: frozenset[Family] = frozenset()) -> bytes:
        """Encode announce and withdraw as an UPDATE body."""
        route = (self.prefix, self.path_id)
        if self.kind == "announce":
            return codec.encode_update([route], self.attrs, as4=as4, addpath=addpath)
        return codec.encode_update((), None, [route], as4=as4, addpath=addpath)


def route_server_peers(n: int) -> list[Peer]:
    """Members of a route server, every fourth with a 4-octet AS; two share one AS."""
    asns = [64512 + i if i % 4 else 100000 + i for i in range(n)]
    if n > 2:
        asns[2] = asns[1]
    return [
        Peer(
            index=i + 1,
            asn=asns[i],
            address=f"10.1.{i // 200}.{1 + i % 200}",
            router_id=f"10.2.{i // 200}.{1 + (n - i) % 200}",
        )
        for i in range(n)
    ]


def reflector_peers(n: int) -> list[Peer]:
    """Peers of a reflector: clients, non-clients and external neighbors in turn."""
    kinds = (Kind.RR_CLIENT, Kind.IBGP, Kind.EBGP, Kind.RR_CLIENT)
    return [
        Peer(
            index=i,
            asn=64512 + i if kinds[i % 4] is Kind.EBGP else RS_ASN,
            address=f"10.1.0.{i}" if i % 5 else f"2001:db8:1::{i:x}",
            router_id=f"10.2.0.{n + 1 - i}",
            kind=kinds[i % 4],
        )
        for i in range(1, n + 1)
    ]


def prefix_pool(src: Source, n: int) -> list[str]:
    """Make `n` different prefixes of both families."""
    pool: dict[str, None] = {}
    while len(pool) < n:
        pool[make_prefix(src, src.pick((V4, V4, V6)))] = None
    return list(pool)


def member_attrs(src: Source, peer: Peer, peers: Sequence[Peer], prefix: str) -> Attrs:
    """Attributes as a member sends them: mostly in order, tagged now and then, sometimes refused."""
    family = codec.family_of(prefix)
    asns = [p.asn for p in peers]
    own = ":" not in peer.address and peer.address
    hop = own or make_host(src) if family is V4 else f"2001:db8:1::{peer.index:x}"
    attrs = make_attrs(src, family, asns=asns, next_hop=hop)
    sequence = int(SegmentType.AS_SEQUENCE)
    others = tuple(
        src.pick(asns) if src.chance(10) else src.integers(65000, 65020)
        for _ in range(src.integers(0, 3))
    )
    attrs["as_path"] = ((sequence, (peer.asn, *others)),)
    if src.chance(8):  # to be refused: loop, first AS, set
        attrs["as_path"] = src.pick(
            (
                ((sequence, (peer.asn, RS_ASN)),),
                ((sequence, (65000, peer.asn)),),
                ((sequence, (peer.asn,)), (int(SegmentType.AS_SET), (65001, 65002))),
                (),
            )
        )
    if not src.chance(35):
        attrs.pop("communities", None)
        attrs.pop("large_communities", None)
    return attrs


def fat_attrs(src: Source, peer: Peer, peers: Sequence[Peer], prefix: str) -> Attrs:
    """Attributes as a member sends them, with much to carry."""
    attrs = member_attrs(src, peer, peers, prefix)
    return {**attrs, "unknown": ((0xE0, 200, bytes(src.pick((3000, 1000)))),)}


def reflector_attrs(src: Source, peer: Peer, peers: Sequence[Peer], prefix: str) -> Attrs:
    """Attributes as a peer of a reflector sends them."""
    if peer.kind is Kind.EBGP:
        return member_attrs(src, peer, peers, prefix)
    family = codec.family_of(prefix)
    attrs = make_attrs(src, family, ibgp=True)
    if src.chance(5):
        attrs["originator_id"] = "10.0.0.1"
    if src.chance(5):
        attrs["cluster_list"] = ("10.9.9.9", src.pick(("10.0.0.1", *CLUSTERS)))
    return attrs


def make_churn(
    src: Source,
    peers: Sequence[Peer],
    *,
    n_ops: int,
    prefixes: Sequence[str],
    attrs_of: Callable[[Source, Peer, Sequence[Peer], str], Attrs] = member_attrs,
) -> list[Op]:
    """Make a script that can be played from "every peer up, nothing announced"."""
    up = {p.index for p in peers}
    script = []
    for _ in range(n_ops):
        peer = src.pick(peers)
        if peer.index not in up:
            up.add(peer.index)
            script.append(Op("up", peer.index))
            continue
        kind = src.integers(0, 99)
        prefix = src.pick(prefixes)
        path_id = src.pick((0, 0, 1, 7))
        if kind < 68:
            attrs = attrs_of(src, peer, peers, prefix)
            script.append(Op("announce", peer.index, prefix, attrs, path_id))
        elif kind < 96:
            script.append(Op("withdraw", peer.index, prefix, path_id=path_id))
        else:
            up.discard(peer.index)
            script.append(Op("down", peer.index))
    return script


# --- hypothesis ---------------------------------------------------------------------------------


def drawing(draw: Callable[[st.SearchStrategy[int]], int]) -> Source:
    """Make a source that draws from hypothesis."""
    return Source(lambda low, high: draw(st.integers(low, high)))


@st.composite
def prefixes(draw: Any, family: Family | None = None) -> str:
    """Prefixes as text."""
    src = drawing(draw)
    return make_prefix(src, family if family is not None else src.pick((V4, V6)))


@st.composite
def as_paths(draw: Any) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """AS path segments."""
    return make_as_path(drawing(draw))


@st.composite
def attribute_dicts(draw: Any, family: Family = V4, *, ibgp: bool = False) -> Attrs:
    """Attribute dicts."""
    return make_attrs(drawing(draw), family, ibgp=ibgp)


@st.composite
def contexts(draw: Any) -> Context:
    """Session contexts."""
    return make_context(drawing(draw))


@st.composite
def updates(draw: Any) -> tuple[Context, bytes]:
    """Contexts with a valid UPDATE body."""
    src = drawing(draw)
    ctx = make_context(src)
    return ctx, make_update(src, ctx)


@st.composite
def mutated_updates(draw: Any) -> tuple[Context, bytes]:
    """Contexts with a broken UPDATE body."""
    src = drawing(draw)
    ctx = make_context(src)
    return ctx, make_mutated(src, ctx)


@st.composite
def churn_scripts(
    draw: Any, n_members: int = 6, n_prefixes: int = 6, max_ops: int = 40
) -> tuple[list[Peer], list[Op]]:
    """Route server members and what they do."""
    src = drawing(draw)
    peers = route_server_peers(n_members)
    pool = prefix_pool(Source.seeded(src.integers(0, 999)), n_prefixes)
    n_ops = src.integers(1, max_ops)
    return peers, make_churn(src, peers, n_ops=n_ops, prefixes=pool)


__all__ = [
    "RS_ASN",
    "Op",
    "Peer",
    "Source",
    "as_paths",
    "attribute_dicts",
    "churn_scripts",
    "contexts",
    "fat_attrs",
    "make_attrs",
    "make_churn",
    "make_context",
    "make_huge",
    "make_mutated",
    "make_update",
    "mutate",
    "mutated_updates",
    "prefix_pool",
    "prefixes",
    "reflector_attrs",
    "reflector_peers",
    "route_server_peers",
    "updates",
]
