"""Values of path attributes: octets to Python data, or why they are malformed.

The rules are those of update.py, which says what follows from a fault.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from rs.iana import Family, Origin, SegmentType, UpdateSubcode

Segments = tuple[tuple[int, tuple[int, ...]], ...]
"""(type, AS numbers) of each segment."""


@dataclass(frozen=True)
class Context:
    """What the session has negotiated and who the peer is."""

    as4: bool = True
    ibgp: bool = False
    families: frozenset[Family] = frozenset(Family)
    addpath: frozenset[Family] = frozenset()
    ext_next_hop: bool = False


class Malformed(Exception):  # noqa: N818 - the word of the RFC
    """A value that its specification calls malformed."""

    def __init__(self, subcode: int) -> None:
        super().__init__(subcode)
        self.subcode = subcode


def want_length(value: bytes, length: int) -> None:
    """Attribute Length Error unless it is exactly `length` octets."""
    if len(value) != length:
        raise Malformed(UpdateSubcode.ATTRIBUTE_LENGTH)


def want_multiple(value: bytes, unit: int) -> None:
    """Attribute Length Error unless it is a non-zero multiple of `unit`."""
    if not value or len(value) % unit:
        raise Malformed(UpdateSubcode.ATTRIBUTE_LENGTH)


def chunks(value: bytes, size: int) -> list[bytes]:
    """Equal pieces of `value`."""
    return [value[i : i + size] for i in range(0, len(value), size)]


def address_text(packed: bytes) -> str:
    """IPv4 or IPv6 text (RFC 5952; IPv4-mapped ones in mixed notation, its section 5)."""
    address = ipaddress.ip_address(packed)
    if address.version == 6 and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def decode_origin(value: bytes, _ctx: Context) -> int:
    """RFC 7606 7.1."""
    want_length(value, 1)
    if value[0] not in {int(o) for o in Origin}:
        raise Malformed(UpdateSubcode.INVALID_ORIGIN)
    return value[0]


def parse_segments(value: bytes, asn_size: int) -> Segments:
    """Read AS path segments; RFC 7606 7.2 says what is malformed, RFC 7607 adds AS 0."""
    segments = []
    at = 0
    while at < len(value):
        if len(value) - at < 2:
            raise Malformed(UpdateSubcode.MALFORMED_AS_PATH)
        kind, count = value[at], value[at + 1]
        numbers = value[at + 2 : at + 2 + count * asn_size]
        if kind not in {int(s) for s in SegmentType}:
            raise Malformed(UpdateSubcode.MALFORMED_AS_PATH)
        if count == 0 or len(numbers) < count * asn_size:
            raise Malformed(UpdateSubcode.MALFORMED_AS_PATH)
        asns = tuple(int.from_bytes(n, "big") for n in chunks(numbers, asn_size))
        if 0 in asns:
            raise Malformed(UpdateSubcode.MALFORMED_AS_PATH)
        segments.append((kind, asns))
        at += 2 + len(numbers)
    return tuple(segments)


def decode_as_path(value: bytes, ctx: Context) -> Segments:
    """RFC 7606 7.2, RFC 6793 4.1."""
    return parse_segments(value, 4 if ctx.as4 else 2)


def is_confed(kind: int) -> bool:
    """Whether a segment is of a confederation (RFC 5065 3)."""
    return kind in {SegmentType.AS_CONFED_SEQUENCE, SegmentType.AS_CONFED_SET}


def decode_as4_path(value: bytes, _ctx: Context) -> Segments:
    """RFC 6793 6: at least one AS number; confederation segments are taken out."""
    if len(value) < 6 or len(value) % 2:
        raise Malformed(UpdateSubcode.ATTRIBUTE_LENGTH)
    try:
        segments = parse_segments(value, 4)
    except Malformed:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE) from None
    return tuple(s for s in segments if not is_confed(s[0]))


def decode_aggregator(value: bytes, ctx: Context) -> tuple[int, str]:
    """RFC 7606 7.7, RFC 7607."""
    want_length(value, 8 if ctx.as4 else 6)
    asn = int.from_bytes(value[:-4], "big")
    if asn == 0:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
    return asn, address_text(value[-4:])


def decode_as4_aggregator(value: bytes, _ctx: Context) -> tuple[int, str]:
    """RFC 6793 6, RFC 7607."""
    return decode_aggregator(value, Context(as4=True))


def decode_address(value: bytes, _ctx: Context) -> str:
    """NEXT_HOP, ORIGINATOR_ID: four octets (RFC 7606 7.3, 7.9)."""
    want_length(value, 4)
    return address_text(value)


def decode_u32(value: bytes, _ctx: Context) -> int:
    """MULTI_EXIT_DISC, LOCAL_PREF, OTC: four octets (RFC 7606 7.4, 7.5; RFC 9234 5)."""
    want_length(value, 4)
    return int.from_bytes(value, "big")


def decode_empty(value: bytes, _ctx: Context) -> bool:
    """ATOMIC_AGGREGATE (RFC 7606 7.6)."""
    want_length(value, 0)
    return True


def decode_communities(value: bytes, _ctx: Context) -> tuple[int, ...]:
    """RFC 7606 7.8; order and repetitions stay as they are."""
    want_multiple(value, 4)
    return tuple(int.from_bytes(c, "big") for c in chunks(value, 4))


def decode_ext_communities(value: bytes, _ctx: Context) -> tuple[bytes, ...]:
    """RFC 7606 7.14."""
    want_multiple(value, 8)
    return tuple(chunks(value, 8))


def decode_large_communities(value: bytes, _ctx: Context) -> tuple[tuple[int, int, int], ...]:
    """RFC 8092 6; repeated values are removed silently (RFC 8092 3), the first one stays."""
    want_multiple(value, 12)
    return tuple(dict.fromkeys(struct.unpack("!III", c) for c in chunks(value, 12)))


def decode_cluster_list(value: bytes, _ctx: Context) -> tuple[str, ...]:
    """RFC 7606 7.10."""
    want_multiple(value, 4)
    return tuple(address_text(c) for c in chunks(value, 4))


def decode_aigp(value: bytes, _ctx: Context) -> bytes:
    """RFC 7311 3 and 3.2: whole TLVs; an AIGP TLV has 11 octets, the first one is not all ones."""
    if not value:
        raise Malformed(UpdateSubcode.ATTRIBUTE_LENGTH)
    at = 0
    first = True
    while at < len(value):
        if len(value) - at < 3:
            raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
        kind, length = struct.unpack_from("!BH", value, at)
        if length < 3 or at + length > len(value):
            raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
        if kind == 1:
            if length != 11:
                raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
            if first and value[at + 3 : at + 11] == b"\xff" * 8:
                raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
            first = False
        at += length
    return value
