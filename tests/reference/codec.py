"""Attribute dicts and prefixes to UPDATE bodies, in all the forms a peer may send them.

In: attribute dicts, prefixes as text. Out: bytes. Encoders do what they are told, valid or not
(several path ids, odd flags, any order of attributes), because they build test inputs; `update.py`
is the judge of what such bytes mean. RFC 4271 4.1-4.3, RFC 4760 3-5, RFC 6793 4.2.2, RFC 7911 3.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

from rs.iana import AS_TRANS, HEADER_LEN, AttrFlag, AttrType, Family, MessageType, SegmentType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Attrs = dict[str, Any]
Nlri = str | tuple[str, int]
"""A prefix, or (prefix, path id)."""

MARKER = b"\xff" * 16

WELL_KNOWN = int(AttrFlag.TRANSITIVE)
OPT_TRANS = int(AttrFlag.OPTIONAL | AttrFlag.TRANSITIVE)
OPT_NONTRANS = int(AttrFlag.OPTIONAL)

FLAGS: dict[int, int] = {
    AttrType.ORIGIN: WELL_KNOWN,
    AttrType.AS_PATH: WELL_KNOWN,
    AttrType.NEXT_HOP: WELL_KNOWN,
    AttrType.MULTI_EXIT_DISC: OPT_NONTRANS,
    AttrType.LOCAL_PREF: WELL_KNOWN,
    AttrType.ATOMIC_AGGREGATE: WELL_KNOWN,
    AttrType.AGGREGATOR: OPT_TRANS,
    AttrType.COMMUNITIES: OPT_TRANS,
    AttrType.ORIGINATOR_ID: OPT_NONTRANS,
    AttrType.CLUSTER_LIST: OPT_NONTRANS,
    AttrType.MP_REACH_NLRI: OPT_NONTRANS,
    AttrType.MP_UNREACH_NLRI: OPT_NONTRANS,
    AttrType.EXTENDED_COMMUNITIES: OPT_TRANS,
    AttrType.AS4_PATH: OPT_TRANS,
    AttrType.AS4_AGGREGATOR: OPT_TRANS,
    AttrType.AIGP: OPT_NONTRANS,
    AttrType.LARGE_COMMUNITY: OPT_TRANS,
    AttrType.ONLY_TO_CUSTOMER: OPT_TRANS,
}
"""Optional and Transitive as each attribute's specification has them."""


# --- messages -----------------------------------------------------------------------------------


def encode_message(kind: int, body: bytes) -> bytes:
    """Put the header of RFC 4271 4.1 before `body`."""
    return MARKER + struct.pack("!HB", HEADER_LEN + len(body), kind) + body


def decode_stream(stream: bytes) -> list[tuple[int, bytes]]:
    """Cut a whole byte stream into (type, body); ValueError where it is no BGP (RFC 4271 6.1)."""
    messages = []
    at = 0
    while at < len(stream):
        header = stream[at : at + HEADER_LEN]
        if len(header) < HEADER_LEN:
            raise ValueError(f"offset {at}: {len(header)} octets are no message header")
        if header[:16] != MARKER:
            raise ValueError(f"offset {at}: marker is not all ones")
        length, kind = struct.unpack("!HB", header[16:])
        if length < HEADER_LEN:
            raise ValueError(f"offset {at}: message length {length} is below {HEADER_LEN}")
        body = stream[at + HEADER_LEN : at + length]
        if len(body) < length - HEADER_LEN:
            raise ValueError(f"offset {at}: message of {length} octets is cut off")
        messages.append((kind, body))
        at += length
    return messages


# --- NLRI ---------------------------------------------------------------------------------------


def family_of(prefix: str) -> Family:
    """IPv6 text has a colon, IPv4 text has none."""
    return Family.IPV6_UNICAST if ":" in prefix else Family.IPV4_UNICAST


def encode_nlri(items: Iterable[Nlri], *, addpath: bool = False) -> bytes:
    """Encode prefixes one after the other (RFC 4271 4.3, RFC 7911 3). Path id 0 where none is given."""
    out = b""
    for item in items:
        prefix, path_id = (item, 0) if isinstance(item, str) else item
        address, _, length = prefix.partition("/")
        packed = ipaddress.ip_address(address).packed
        if addpath:
            out += struct.pack("!I", path_id)
        out += bytes([int(length)]) + packed[: (int(length) + 7) // 8]
    return out


# --- attributes ---------------------------------------------------------------------------------


def encode_attribute(
    kind: int, value: bytes, flags: int | None = None, *, extended: bool = False
) -> bytes:
    """One attribute. Extended Length where the value needs it, or where `extended` asks for it."""
    if flags is None:
        flags = FLAGS[kind]
    if extended or len(value) > 255:
        return struct.pack("!BBH", flags | AttrFlag.EXTENDED_LENGTH, kind, len(value)) + value
    return struct.pack("!BBB", flags & ~AttrFlag.EXTENDED_LENGTH, kind, len(value)) + value


def encode_as_path(segments: Iterable[tuple[int, Sequence[int]]], *, as4: bool = True) -> bytes:
    """AS_PATH's value; without `as4` an AS number above 65535 is sent as AS_TRANS."""
    out = b""
    for kind, asns in segments:
        out += bytes([kind, len(asns)])
        for asn in asns:
            out += struct.pack("!I", asn) if as4 else struct.pack("!H", mappable(asn))
    return out


def mappable(asn: int) -> int:
    """Return the 2-octet form of an AS number (RFC 6793 3)."""
    return asn if asn <= 0xFFFF else AS_TRANS


def ip4(text: str) -> bytes:
    """Four octets of dotted-quad text."""
    return ipaddress.IPv4Address(text).packed


def encode_next_hop(attrs: Attrs) -> bytes:
    """Encode the next hop as MP_REACH_NLRI has it: 4, 16 or, with a link-local address, 32 octets."""
    packed = ipaddress.ip_address(attrs["next_hop"]).packed
    if "link_local" in attrs:
        packed += ipaddress.IPv6Address(attrs["link_local"]).packed
    return packed


def encode_mp_reach(
    family: Family, next_hop: bytes, nlri: bytes, flags: int | None = None
) -> bytes:
    """Encode MP_REACH_NLRI (RFC 4760 3)."""
    value = struct.pack("!HBB", family.afi, family.safi, len(next_hop)) + next_hop + b"\0" + nlri
    return encode_attribute(AttrType.MP_REACH_NLRI, value, flags)


def encode_mp_unreach(family: Family, nlri: bytes, flags: int | None = None) -> bytes:
    """Encode MP_UNREACH_NLRI (RFC 4760 4); with empty `nlri` the End-of-RIB of a family."""
    value = struct.pack("!HB", family.afi, family.safi) + nlri
    return encode_attribute(AttrType.MP_UNREACH_NLRI, value, flags)


def encode_attributes(attrs: Attrs, *, as4: bool = True, next_hop: bool = True) -> dict[int, bytes]:
    """Every attribute of the dict on its own, by type code, in rising order.

    Without `as4` the form for a 2-octet speaker: AS_TRANS in AS_PATH and AGGREGATOR, and AS4_PATH
    and AS4_AGGREGATOR only where a number does not fit (RFC 6793 4.2.2). `next_hop=False` leaves
    NEXT_HOP out, for UPDATEs that have it in MP_REACH_NLRI.
    """
    values: dict[int, bytes] = {}
    flags: dict[int, int] = {}
    if "origin" in attrs:
        values[AttrType.ORIGIN] = bytes([attrs["origin"]])
    if "as_path" in attrs:
        segments = attrs["as_path"]
        values[AttrType.AS_PATH] = encode_as_path(segments, as4=as4)
        if not as4 and any(asn > 0xFFFF for _, asns in segments for asn in asns):
            plain = [s for s in segments if s[0] in (SegmentType.AS_SEQUENCE, SegmentType.AS_SET)]
            if plain:
                values[AttrType.AS4_PATH] = encode_as_path(plain)
    if next_hop and "next_hop" in attrs:
        values[AttrType.NEXT_HOP] = ip4(attrs["next_hop"])
    for key, kind in (
        ("med", AttrType.MULTI_EXIT_DISC),
        ("local_pref", AttrType.LOCAL_PREF),
        ("otc", AttrType.ONLY_TO_CUSTOMER),
    ):
        if key in attrs:
            values[kind] = struct.pack("!I", attrs[key])
    if attrs.get("atomic_aggregate"):
        values[AttrType.ATOMIC_AGGREGATE] = b""
    if "aggregator" in attrs:
        asn, address = attrs["aggregator"]
        if as4:
            values[AttrType.AGGREGATOR] = struct.pack("!I", asn) + ip4(address)
        else:
            values[AttrType.AGGREGATOR] = struct.pack("!H", mappable(asn)) + ip4(address)
            if asn > 0xFFFF:
                values[AttrType.AS4_AGGREGATOR] = struct.pack("!I", asn) + ip4(address)
    if "communities" in attrs:
        values[AttrType.COMMUNITIES] = b"".join(struct.pack("!I", c) for c in attrs["communities"])
    if "ext_communities" in attrs:
        values[AttrType.EXTENDED_COMMUNITIES] = b"".join(attrs["ext_communities"])
    if "large_communities" in attrs:
        values[AttrType.LARGE_COMMUNITY] = b"".join(
            struct.pack("!III", *c) for c in attrs["large_communities"]
        )
    if "originator_id" in attrs:
        values[AttrType.ORIGINATOR_ID] = ip4(attrs["originator_id"])
    if "cluster_list" in attrs:
        values[AttrType.CLUSTER_LIST] = b"".join(ip4(c) for c in attrs["cluster_list"])
    if "aigp" in attrs:
        values[AttrType.AIGP] = attrs["aigp"]
    for flag, kind, value in attrs.get("unknown", ()):
        flags[kind] = flag
        values[kind] = value
    return {k: encode_attribute(k, values[k], flags.get(k)) for k in sorted(values)}


# --- UPDATE -------------------------------------------------------------------------------------


def assemble(withdrawn: bytes = b"", attributes: bytes = b"", nlri: bytes = b"") -> bytes:
    """Join the three fields of an UPDATE body, with honest lengths (RFC 4271 4.3)."""
    return (
        struct.pack("!H", len(withdrawn))
        + withdrawn
        + struct.pack("!H", len(attributes))
        + attributes
        + nlri
    )


def encode_update(
    announced: Sequence[Nlri] = (),
    attrs: Attrs | None = None,
    withdrawn: Sequence[Nlri] = (),
    *,
    as4: bool = True,
    addpath: Iterable[Family] = (),
    mp: bool = False,
    order: Callable[[list[int]], Sequence[int]] | None = None,
) -> bytes:
    """One UPDATE body.

    IPv4 goes into the classic fields, or into MP_REACH_NLRI and MP_UNREACH_NLRI with `mp`; IPv6
    always into these. Both families may be mixed in `withdrawn`; `announced` is of one family, that
    of the next hop in `attrs` being free (RFC 8950). `order` gets the type codes in rising order,
    MP_UNREACH_NLRI and MP_REACH_NLRI among them, and returns the order wanted; by default MP_* come
    first (RFC 7606 5.1).
    """
    paths = frozenset(addpath)

    def pick(items: Sequence[Nlri], family: Family) -> bytes:
        chosen = [i for i in items if family_of(i if isinstance(i, str) else i[0]) == family]
        return encode_nlri(chosen, addpath=family in paths)

    v4, v6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
    reach = {f: pick(announced, f) for f in Family}
    unreach = {f: pick(withdrawn, f) for f in Family}
    classic = bool(reach[v4]) and not mp
    parts: dict[int, bytes] = {}
    if attrs is not None:
        parts = encode_attributes(attrs, as4=as4, next_hop=classic)
        mp_family = v6 if reach[v6] else v4 if reach[v4] and mp else None
        if mp_family is not None:
            parts[AttrType.MP_REACH_NLRI] = encode_mp_reach(
                mp_family, encode_next_hop(attrs), reach[mp_family]
            )
    mp_gone = v6 if unreach[v6] else v4 if unreach[v4] and mp else None
    if mp_gone is not None:
        parts[AttrType.MP_UNREACH_NLRI] = encode_mp_unreach(mp_gone, unreach[mp_gone])
    kinds = sorted(parts)
    if order is not None:
        kinds = list(order(kinds))
    else:
        first = (AttrType.MP_REACH_NLRI, AttrType.MP_UNREACH_NLRI)
        kinds.sort(key=lambda k: (k not in first, k))
    return assemble(
        unreach[v4] if not mp else b"",
        b"".join(parts[k] for k in kinds),
        reach[v4] if classic else b"",
    )


def end_of_rib(family: Family) -> bytes:
    """Encode the UPDATE body that ends a family's first table transfer (RFC 4724 2)."""
    if family is Family.IPV4_UNICAST:
        return assemble()
    return assemble(attributes=encode_mp_unreach(family, b""))


def update_message(body: bytes) -> bytes:
    """Make a whole UPDATE message of a body."""
    return encode_message(MessageType.UPDATE, body)


# --- vectors ------------------------------------------------------------------------------------


def attrs_to_json(value: Any) -> Any:
    """Turn an attribute dict, or a part of one, into what JSON can hold (tests/vectors)."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {k: attrs_to_json(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [attrs_to_json(v) for v in value]
    return value


def attrs_from_json(value: Any) -> Any:
    """Inverse of `attrs_to_json`."""
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {k: attrs_from_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(attrs_from_json(v) for v in value)
    return value
