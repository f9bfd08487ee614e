"""Attribute dicts to canonical attribute blocks, and back.

In: an attribute dict, from a test or for a locally originated route; or an attribute of a canonical
block (see attrset_t in types.pxd), to be shown. Out: the canonical bytes and the next hop, for
AttrTable.intern; or its entry in an attribute dict, for AttrTable.describe. Python speed is enough
here: nothing received from a peer, and nothing sent to one, comes this way.
"""

from libc.stdint cimport uint8_t, uint32_t

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport addr_text, parse_addr
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_PARTIAL,
    AFLAG_TRANSITIVE,
    ATTR_AGGREGATOR,
    ATTR_AIGP,
    ATTR_AS4_AGGREGATOR,
    ATTR_AS4_PATH,
    ATTR_AS_PATH,
    ATTR_ATOMIC_AGGREGATE,
    ATTR_CLUSTER_LIST,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    ATTR_ORIGIN,
    ATTR_ORIGINATOR_ID,
    ATTR_OTC,
    FAM_IPV4,
    FAM_IPV6,
    SEG_CONFED_SEQUENCE,
    SEG_CONFED_SET,
    SEG_SEQUENCE,
    SEG_SET,
)
from rs._fastpath.wire cimport load32

check_abi(__name__)


cdef enum:
    TRANSITIVE = AFLAG_OPTIONAL | AFLAG_TRANSITIVE
    MAX_BLOCK = 65535       # octets of a canonical block


cdef bytes u32(object v):
    return int(v).to_bytes(4, "big")


cdef bytes ipv4(object text):
    cdef uint8_t addr[16]
    if parse_addr(text, addr) != 4:
        raise ValueError(f"{text!r} is not an IPv4 address")
    return addr[:4]


cdef bytes encode_path(object segments):
    cdef list out = []
    for kind, asns in segments:
        if kind not in (SEG_SET, SEG_SEQUENCE, SEG_CONFED_SEQUENCE, SEG_CONFED_SET):
            raise ValueError(f"segment type {kind!r} is not 1 to 4")
        if not 1 <= len(asns) <= 255:
            raise ValueError(f"a segment has 1 to 255 AS numbers, not {len(asns)}")
        if 0 in asns:
            raise ValueError("AS 0 in the path")
        out.append(bytes((kind, len(asns))) + b"".join([u32(asn) for asn in asns]))
    return b"".join(out)


cdef bytes encode_origin(object v):
    if v not in (0, 1, 2):
        raise ValueError(f"{v!r} is not 0, 1 or 2")
    return bytes((v,))


cdef bytes encode_ext(object items):
    for item in items:
        if len(item) != 8:
            raise ValueError(f"{item!r} has not 8 octets")
    return b"".join(items)


cdef bytes encode_large(object items):
    # RFC 8092 3: a repeated value is dropped.
    return b"".join([b"".join([u32(part) for part in (a, b, c)])
                     for a, b, c in dict.fromkeys(map(tuple, items))])


cdef bytes filled(bytes value):
    if not value:
        raise ValueError("is empty; leave the key away instead")
    return value


cdef bytes encode_value(uint32_t type_, object v):
    """Return the value of one attribute; ValueError and its kin for what cannot be encoded."""
    if type_ == ATTR_ORIGIN:
        return encode_origin(v)
    if type_ == ATTR_AS_PATH:
        return encode_path(v)
    if type_ == ATTR_NEXT_HOP or type_ == ATTR_ORIGINATOR_ID:
        return ipv4(v)
    if type_ == ATTR_MED or type_ == ATTR_LOCAL_PREF or type_ == ATTR_OTC:
        return u32(v)
    if type_ == ATTR_ATOMIC_AGGREGATE:
        if v is not True:
            raise ValueError(f"{v!r} is not True; leave the key away instead")
        return b""
    if type_ == ATTR_AGGREGATOR:
        if v[0] == 0:
            raise ValueError("AS 0")
        return u32(v[0]) + ipv4(v[1])
    if type_ == ATTR_COMMUNITIES:
        return filled(b"".join([u32(item) for item in v]))
    if type_ == ATTR_CLUSTER_LIST:
        return filled(b"".join([ipv4(item) for item in v]))
    if type_ == ATTR_EXT_COMMUNITIES:
        return filled(encode_ext(v))
    if type_ == ATTR_LARGE_COMMUNITY:
        return filled(encode_large(v))
    return filled(bytes(v))  # AIGP: the TLVs as they are


cdef dict KEYS = {
    "origin": (ATTR_ORIGIN, AFLAG_TRANSITIVE),
    "as_path": (ATTR_AS_PATH, AFLAG_TRANSITIVE),
    "med": (ATTR_MED, AFLAG_OPTIONAL),
    "local_pref": (ATTR_LOCAL_PREF, AFLAG_TRANSITIVE),
    "atomic_aggregate": (ATTR_ATOMIC_AGGREGATE, AFLAG_TRANSITIVE),
    "aggregator": (ATTR_AGGREGATOR, TRANSITIVE),
    "communities": (ATTR_COMMUNITIES, TRANSITIVE),
    "originator_id": (ATTR_ORIGINATOR_ID, AFLAG_OPTIONAL),
    "cluster_list": (ATTR_CLUSTER_LIST, AFLAG_OPTIONAL),
    "ext_communities": (ATTR_EXT_COMMUNITIES, TRANSITIVE),
    "aigp": (ATTR_AIGP, AFLAG_OPTIONAL),
    "large_communities": (ATTR_LARGE_COMMUNITY, TRANSITIVE),
    "otc": (ATTR_OTC, TRANSITIVE),
}

cdef frozenset KNOWN = frozenset(type_ for type_, _ in KEYS.values()) | {
    ATTR_NEXT_HOP, ATTR_MP_REACH, ATTR_MP_UNREACH, ATTR_AS4_PATH, ATTR_AS4_AGGREGATOR,
}


cdef bytes encode_next_hop(dict attrs, uint32_t family):
    """Return the next hop's 4, 16 or 32 octets."""
    cdef uint8_t addr[32]
    cdef int n
    if "next_hop" not in attrs:
        raise ValueError("next_hop: missing")
    try:
        n = parse_addr(attrs["next_hop"], addr)
    except (ValueError, TypeError) as exc:
        raise ValueError(f"next_hop: {exc}") from exc
    if n == 4 and family != FAM_IPV4:
        raise ValueError("next_hop: IPv4 for another family")
    if "link_local" in attrs:
        try:
            if n == 4 or parse_addr(attrs["link_local"], addr + 16) != 16:
                raise ValueError("only an IPv6 next hop has one, in IPv6")
        except (ValueError, TypeError) as exc:
            raise ValueError(f"link_local: {exc}") from exc
        n = 32
    return addr[:n]


cdef int put_unknown(dict found, object items) except -1:
    """Put attributes of types this build does not know into `found`."""
    for flags, type_, raw in items:
        if not isinstance(raw, bytes):
            raise ValueError(f"value of type {type_} is not bytes")
        if type_ in KNOWN or type_ in found or not 0 <= type_ <= 255:
            raise ValueError(f"type {type_} is known, repeated or no type")
        if (flags & TRANSITIVE) != TRANSITIVE:
            raise ValueError(f"type {type_} is not optional transitive")
        found[type_] = (TRANSITIVE | AFLAG_PARTIAL, raw)
    return 0


cdef bytes with_head(uint32_t flags, uint32_t type_, bytes raw):
    if len(raw) > 255:
        return bytes((flags | AFLAG_EXT_LEN, type_)) + len(raw).to_bytes(2, "big") + raw
    return bytes((flags, type_, len(raw))) + raw


cdef tuple encode_attrs(dict attrs, uint32_t family):
    """Return (canonical block, next hop octets) of an attribute dict; ValueError names the key."""
    cdef dict found = {}
    cdef bytes nh
    if family != FAM_IPV4 and family != FAM_IPV6:
        raise ValueError(f"family {family} has no table")
    for key in ("origin", "as_path"):
        if key not in attrs:
            raise ValueError(f"{key}: missing")
    nh = encode_next_hop(attrs, family)
    for key, value in attrs.items():
        try:
            if key in KEYS:
                type_, flags = KEYS[key]
                found[type_] = (flags, encode_value(type_, value))
            elif key == "unknown":
                put_unknown(found, value)
            elif key not in ("next_hop", "link_local"):
                raise ValueError("no such attribute")
        except (ValueError, TypeError, OverflowError, IndexError, AttributeError) as exc:
            raise ValueError(f"{key}: {exc}") from exc
    if len(nh) == 4:
        found[ATTR_NEXT_HOP] = (AFLAG_TRANSITIVE, nh)
    if sum([4 + len(raw) for _, raw in found.values()]) > MAX_BLOCK:
        raise ValueError(f"all attributes together are longer than {MAX_BLOCK} octets")
    return b"".join([with_head(flags, type_, raw)
                     for type_, (flags, raw) in sorted(found.items())]), nh


# --- and back -------------------------------------------------------------------------------------

cdef tuple read_u32s(const uint8_t *p, uint32_t n):
    cdef uint32_t i
    return tuple([load32(p + 4 * i) for i in range(n)])


cdef bint describe_attr(dict out, uint32_t type, const uint8_t *p, uint32_t n) except -1:
    """Put one attribute into an attribute dict; False for a type this build does not know."""
    cdef const uint8_t *end = p + n
    cdef uint32_t i
    cdef list items = []
    if type == ATTR_ORIGIN:
        out["origin"] = p[0]
    elif type == ATTR_AS_PATH:
        while p < end:
            items.append((p[0], read_u32s(p + 2, p[1])))
            p += 2 + 4 * <uint32_t>p[1]
        out["as_path"] = tuple(items)
    elif type == ATTR_NEXT_HOP:
        pass  # the caller reads the interned next hop
    elif type == ATTR_MED:
        out["med"] = load32(p)
    elif type == ATTR_LOCAL_PREF:
        out["local_pref"] = load32(p)
    elif type == ATTR_ATOMIC_AGGREGATE:
        out["atomic_aggregate"] = True
    elif type == ATTR_AGGREGATOR:
        out["aggregator"] = (load32(p), addr_text(p + 4, 4))
    elif type == ATTR_COMMUNITIES:
        out["communities"] = read_u32s(p, n >> 2)
    elif type == ATTR_ORIGINATOR_ID:
        out["originator_id"] = addr_text(p, 4)
    elif type == ATTR_CLUSTER_LIST:
        out["cluster_list"] = tuple([addr_text(p + 4 * i, 4) for i in range(n >> 2)])
    elif type == ATTR_EXT_COMMUNITIES:
        out["ext_communities"] = tuple([p[8 * i:8 * i + 8] for i in range(n >> 3)])
    elif type == ATTR_AIGP:
        out["aigp"] = p[:n]
    elif type == ATTR_LARGE_COMMUNITY:
        while p < end:
            items.append(read_u32s(p, 3))
            p += 12
        out["large_communities"] = tuple(items)
    elif type == ATTR_OTC:
        out["otc"] = load32(p)
    else:
        return False
    return True
