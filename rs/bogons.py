"""Lists that the import filters bring along: what has no place in a table of routes.

Prefixes as (prefix, shortest, longest length matched), AS numbers as (first, last). Sources: the
IANA special-purpose registries (RFC 6890, with RFC 6598, 6666, 7343, 8190, 9637), RFC 7607 (AS 0),
RFC 6793 (AS_TRANS), RFC 5398 and 6996 (documentation and private AS numbers), RFC 7300 (last AS
numbers), the IANA registry of AS numbers (65552 to 131071 are reserved).
"""

from __future__ import annotations


def _below(*prefixes: str) -> tuple[tuple[str, int, int], ...]:
    """Return prefixes with everything below them."""
    return tuple(
        (prefix, int(prefix.partition("/")[2]), 128 if ":" in prefix else 32) for prefix in prefixes
    )


BOGON_PREFIXES = (
    ("0.0.0.0/0", 0, 0),
    *_below(
        "0.0.0.0/8",  # this network (RFC 1122)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # shared address space (RFC 6598)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local (RFC 3927)
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/3",  # multicast and reserved
    ),
    ("::/0", 0, 0),
    *_below(
        "::/8",  # loopback, mapped and translated IPv4
        "100::/8",  # discard-only (RFC 6666)
        "200::/7",
        "400::/6",
        "800::/5",
        "1000::/4",
        "2001:2::/48",  # benchmarks (RFC 5180)
        "2001:10::/28",  # ORCHID
        "2001:20::/28",  # ORCHIDv2 (RFC 7343)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4
        "3ffe::/16",  # 6bone
        "3fff::/20",  # documentation (RFC 9637)
        "4000::/2",
        "8000::/1",  # with unique local, link-local, multicast
    ),
)

BOGON_ASNS = (
    (0, 0),
    (23456, 23456),
    (64496, 131071),  # documentation, private, 65535, documentation, reserved
    (4200000000, 4294967295),  # private, and the last one
)

TRANSIT_FREE_ASNS = tuple(
    (asn, asn)
    for asn in (
        174,  # Cogent
        701,  # Verizon
        1299,  # Arelion
        2914,  # NTT
        3257,  # GTT
        3320,  # Deutsche Telekom
        3356,  # Lumen
        5511,  # Orange
        6453,  # Tata
        6461,  # Zayo
        6762,  # Sparkle
        6830,  # Liberty Global
        7018,  # AT&T
        12956,  # Telxius
    )
)
