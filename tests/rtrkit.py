"""PDUs of the RPKI to Router protocol, written as a cache writes them (RFC 8210 5)."""

from __future__ import annotations

import ipaddress
import struct

Vrp = tuple[str, int, int]


def pdu(
    version: int, kind: int, number: int = 0, body: bytes = b"", length: int | None = None
) -> bytes:
    return (
        struct.pack("!BBHI", version, kind, number, 8 + len(body) if length is None else length)
        + body
    )


def notify(version: int, session: int, serial: int) -> bytes:
    return pdu(version, 0, session, struct.pack("!I", serial))


def serial_query(version: int, session: int, serial: int) -> bytes:
    return pdu(version, 1, session, struct.pack("!I", serial))


def reset_query(version: int) -> bytes:
    return pdu(version, 2)


def response(version: int, session: int) -> bytes:
    return pdu(version, 3, session)


def prefix(version: int, vrp: Vrp, *, announce: bool = True) -> bytes:
    network, max_length, asn = vrp
    address, _, length = network.partition("/")
    packed = ipaddress.ip_address(address).packed
    body = struct.pack("!BBBx", announce, int(length), max_length) + packed + struct.pack("!I", asn)
    return pdu(version, 4 if len(packed) == 4 else 6, 0, body)


def prefixes(version: int, vrps, *, announce: bool = True) -> bytes:
    return b"".join(prefix(version, vrp, announce=announce) for vrp in vrps)


def end(
    version: int,
    session: int,
    serial: int,
    *,
    refresh: int = 3600,
    retry: int = 600,
    expire: int = 7200,
) -> bytes:
    body = struct.pack("!I", serial)
    if version:
        body += struct.pack("!III", refresh, retry, expire)
    return pdu(version, 7, session, body)


def cache_reset(version: int) -> bytes:
    return pdu(version, 8)


def router_key(version: int) -> bytes:
    return pdu(version, 9, 0x100, bytes(20) + struct.pack("!I", 64496) + bytes(91))


def error(version: int, code: int, echo: bytes = b"", text: str = "") -> bytes:
    words = text.encode()
    body = struct.pack("!I", len(echo)) + echo + struct.pack("!I", len(words)) + words
    return pdu(version, 10, code, body)


def aspa(customer: int, providers=(), *, announce: bool = True, version: int = 2) -> bytes:
    body = struct.pack(f"!I{len(providers)}I", customer, *providers)
    return pdu(version, 11, 0x100 if announce else 0, body)


def old_aspa(customer: int, providers=(), *, announce: bool = True, ipv6: bool = False) -> bytes:
    """As draft-ietf-sidrops-8210bis-10 had it."""
    body = struct.pack(
        f"!BBHI{len(providers)}I", announce, ipv6, len(providers), customer, *providers
    )
    return pdu(2, 11, 0, body)


def load(
    version: int, session: int, serial: int, vrps, extra: bytes = b"", **intervals: int
) -> bytes:
    """A whole answer."""
    return (
        response(version, session)
        + prefixes(version, vrps)
        + extra
        + end(version, session, serial, **intervals)
    )


def delta(
    version: int, session: int, serial: int, announced=(), withdrawn=(), *, extra: bytes = b""
) -> bytes:
    return (
        response(version, session)
        + prefixes(version, announced)
        + prefixes(version, withdrawn, announce=False)
        + extra
        + end(version, session, serial)
    )


def split(data: bytes) -> list[bytes]:
    """The PDUs of a stream that ends with one."""
    found = []
    while data:
        length = int.from_bytes(data[4:8], "big")
        found.append(data[:length])
        data = data[length:]
    return found


def error_of(data: bytes) -> tuple[int, int, bytes, str]:
    """Version, code, echoed PDU and text of the Error Report that a stream ends with."""
    last = split(data)[-1]
    version, kind, code, length = struct.unpack_from("!BBHI", last)
    assert kind == 10, f"no Error Report but PDU type {kind}"
    assert length == len(last)
    n = int.from_bytes(last[8:12], "big")
    text = last[16 + n :]
    assert int.from_bytes(last[12 + n : 16 + n], "big") == len(text)
    return version, code, last[12 : 12 + n], text.decode()
