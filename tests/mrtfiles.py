"""Writing MRT records, reading them in one go, and where the shared routing data are."""

from __future__ import annotations

import os
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from rs.mrt import open_mrt

DATA = Path(os.environ.get("RS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def data_file(name: str) -> Path:
    """The path of a file of the shared routing data; skips the test where it is not there."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no shared routing data: {path} is missing (set RS_DATA)")
    return path


def record(kind: int, subtype: int, body: bytes, time: int = 1_000_000, usec: int | None = None):
    if usec is not None:
        body = struct.pack("!I", usec) + body
    return struct.pack("!IHHI", time, kind, subtype, len(body)) + body


def address(text: str) -> bytes:
    return ip_address(text).packed


def nlri(prefix: str, path_id: int | None = None) -> bytes:
    net = ip_network(prefix)
    n = (net.prefixlen + 7) // 8
    head = b"" if path_id is None else struct.pack("!I", path_id)
    return head + bytes([net.prefixlen]) + net.network_address.packed[:n]


def attr(kind: int, value: bytes, flags: int = 0x40) -> bytes:
    if len(value) > 255:
        return struct.pack("!BBH", flags | 0x10, kind, len(value)) + value
    return bytes([flags, kind, len(value)]) + value


def path(*asns: int, width: int = 4) -> bytes:
    return bytes([2, len(asns)]) + b"".join(a.to_bytes(width, "big") for a in asns)


def attrs(*asns: int, hop: str | None = "192.0.2.1", width: int = 4, more: bytes = b"") -> bytes:
    """ORIGIN, AS_PATH and NEXT_HOP, then whatever is in `more`."""
    block = attr(1, b"\0") + attr(2, path(*asns, width=width) if asns else b"")
    if hop is not None:
        block += attr(3, address(hop))
    return block + more


def mp_short(hop: str) -> bytes:
    """MP_REACH_NLRI as RFC 6396 4.3.4 has it."""
    packed = address(hop)
    return attr(14, bytes([len(packed)]) + packed, 0x80)


def mp_full(hop: str, *prefixes: str) -> bytes:
    packed = address(hop)
    afi = 2 if ":" in (prefixes[0] if prefixes else hop) else 1
    value = struct.pack("!HBB", afi, 1, len(packed)) + packed + b"\0"
    return attr(14, value + b"".join(nlri(p) for p in prefixes), 0x80)


def mp_unreach(*prefixes: str) -> bytes:
    return attr(15, b"\0\2\1" + b"".join(nlri(p) for p in prefixes), 0x80)


def peer_index_table(*peers: tuple[str, int], view: str = "", as2: bool = False) -> bytes:
    body = address("10.9.9.9") + struct.pack("!H", len(view)) + view.encode()
    body += struct.pack("!H", len(peers))
    for i, (addr, asn) in enumerate(peers):
        packed = address(addr)
        kind = (1 if len(packed) == 16 else 0) | (0 if as2 else 2)
        body += bytes([kind]) + address(f"10.0.0.{i + 1}") + packed
        body += asn.to_bytes(2 if as2 else 4, "big")
    return record(13, 1, body)


def rib(prefix: str, *entries: tuple, subtype: int | None = None) -> bytes:
    """TABLE_DUMP_V2; an entry is (peer index, attributes) or (peer index, attributes, path id)."""
    with_ids = any(len(e) == 3 for e in entries)
    if subtype is None:
        subtype = (4 if ":" in prefix else 2) + (6 if with_ids else 0)
    body = struct.pack("!I", 7) + nlri(prefix) + struct.pack("!H", len(entries))
    return record(13, subtype, body + b"".join(map(rib_entry, entries)))


def rib_entry(entry: tuple) -> bytes:
    path_id = struct.pack("!I", entry[2]) if len(entry) == 3 else b""
    block = entry[1]
    return struct.pack("!HI", entry[0], 999) + path_id + struct.pack("!H", len(block)) + block


def update(withdrawn: bytes = b"", block: bytes = b"", announced: bytes = b"") -> bytes:
    body = struct.pack("!H", len(withdrawn)) + withdrawn
    body += struct.pack("!H", len(block)) + block + announced
    return message(2, body)


def message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def bgp4mp(
    raw: bytes,
    subtype: int = 4,
    *,
    peer: str = "10.0.0.1",
    asn: int = 65001,
    local: str = "10.0.0.9",
    local_asn: int = 65009,
    **when,
) -> bytes:
    """BGP4MP; BGP4MP_ET when `usec` is given. `raw` is a message or two states."""
    width = "I" if subtype in (4, 5, 7, 9, 11) else "H"
    packed = address(peer)
    body = struct.pack(f"!{width}{width}HH", asn, local_asn, 0, 1 if len(packed) == 4 else 2)
    body += packed + address(local) + raw
    return record(17 if "usec" in when else 16, subtype, body, **when)


def entries(file, **how):
    """RIB entries of a file, and warnings."""
    with open_mrt(file, **how) as m:
        return list(m.rib_entries()), m.warnings


def summary(file, **how):
    """What is in a file."""
    with open_mrt(file, **how) as m:
        return m.summary()
