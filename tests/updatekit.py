"""UPDATE bodies by hand: builders, good values of each attribute, and what tests ask of results."""

import ipaddress
import struct

OK, DISCARD, WITHDRAW, RESET = range(4)
WELL_KNOWN, TRANSITIVE, OPTIONAL, PARTIAL, EXTENDED = 0x40, 0xC0, 0x80, 0x20, 0x10
SET, SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4
S, C = SEQUENCE, CONFED_SEQUENCE
TRANS = 23456


def attr(flags, kind, value, *, extended=False):
    if extended or len(value) > 255:
        return struct.pack(">BBH", flags | EXTENDED, kind, len(value)) + value
    return struct.pack(">BBB", flags, kind, len(value)) + value


def update(attrs=b"", nlri=b"", withdrawn=b""):
    parts = (struct.pack(">H", len(withdrawn)), withdrawn, struct.pack(">H", len(attrs)))
    return b"".join((*parts, attrs, nlri))


def segments(*items, width=4):
    """AS_PATH value of (type, AS numbers) pairs."""
    return b"".join(
        struct.pack(">BB", kind, len(asns)) + b"".join(n.to_bytes(width, "big") for n in asns)
        for kind, asns in items
    )


def prefix(text, path_id=None):
    net = ipaddress.ip_network(text)
    head = b"" if path_id is None else path_id.to_bytes(4, "big")
    octets = net.network_address.packed[: (net.prefixlen + 7) // 8]
    return head + bytes((net.prefixlen,)) + octets


def reach(nlri, next_hop="2001:db8::1", afi=2, safi=1, link_local=None):
    hop = ipaddress.ip_address(next_hop).packed
    if link_local:
        hop += ipaddress.ip_address(link_local).packed
    return attr(OPTIONAL, 14, struct.pack(">HBB", afi, safi, len(hop)) + hop + b"\0" + nlri)


def unreach(nlri, afi=2, safi=1):
    return attr(OPTIONAL, 15, struct.pack(">HB", afi, safi) + nlri)


ORIGIN = attr(WELL_KNOWN, 1, b"\0")
PATH = attr(WELL_KNOWN, 2, segments((SEQUENCE, (64500, 65551))))
NEXT_HOP = attr(WELL_KNOWN, 3, bytes((192, 0, 2, 1)))
BASE = ORIGIN + PATH + NEXT_HOP
N4 = prefix("10.1.0.0/16")
N6 = prefix("2001:db8:1::/48")
LOCAL_PREF = attr(WELL_KNOWN, 5, b"\0\0\0\x64")
ORIGINATOR = attr(OPTIONAL, 9, bytes((10, 0, 0, 9)))
CLUSTER = attr(OPTIONAL, 10, bytes((10, 0, 0, 1, 10, 0, 0, 2)))
AIGP = attr(OPTIONAL, 26, b"\x01\x00\x0b" + bytes(7) + b"\x05")

# type: (flags, a good value)
GOOD = {
    1: (WELL_KNOWN, b"\0"),
    2: (WELL_KNOWN, segments((SEQUENCE, (64500,)))),
    3: (WELL_KNOWN, bytes((192, 0, 2, 1))),
    4: (OPTIONAL, bytes(4)),
    5: (WELL_KNOWN, bytes(4)),
    6: (WELL_KNOWN, b""),
    7: (TRANSITIVE, b"\0\0\xfb\xf4\xc0\0\x02\x01"),
    8: (TRANSITIVE, bytes(8)),
    9: (OPTIONAL, bytes(4)),
    10: (OPTIONAL, bytes(8)),
    16: (TRANSITIVE, bytes(16)),
    26: (OPTIONAL, b"\x01\x00\x0b" + bytes(8)),
    32: (TRANSITIVE, bytes(24)),
    35: (TRANSITIVE, bytes(4)),
}


def with_attr(kind, flags, value):
    """Mandatory attributes and one more, or in place of the mandatory one."""
    parts = {1: ORIGIN, 2: PATH, 3: NEXT_HOP}
    parts[kind] = attr(flags, kind, value)
    return update(b"".join(part for _, part in sorted(parts.items())), N4)


def fault(result):
    return result["outcome"], result["err_subcode"], result["err_attr"]


def same_set(table, decoder, *bodies):
    """Whether all bodies give one attribute set."""
    found = [decoder.handles(body) for body in bodies]
    for _, *handles in found:
        for h in filter(None, handles):
            table.drop(h)
    assert all(a or b for _, a, b in found), found
    return len({a or b for _, a, b in found}) == 1


def aggregator(asn, address="192.0.2.9"):
    return attr(TRANSITIVE, 7, asn.to_bytes(2, "big") + ipaddress.ip_address(address).packed)


def aggregator4(asn, address="192.0.2.8"):
    return attr(TRANSITIVE, 18, asn.to_bytes(4, "big") + ipaddress.ip_address(address).packed)
