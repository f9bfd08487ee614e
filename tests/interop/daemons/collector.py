"""A BGP speaker inside the test, for exact checks: it keeps every message as it came.

It shares no code with `rs` but the registry numbers; UPDATEs are read by the reference decoder,
whose verdict on each must be that nothing is wrong with it. One thread per session reads; whatever
else it does, the test asks for. No timers run, but KEEPALIVEs are answered by KEEPALIVEs.

RFC 4271 4 and 8 (as far as needed), 4760 8, 6793, 2918, 7313, 8654.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from rs.iana import (
    AS_TRANS,
    HEADER_LEN,
    CapabilityCode,
    Family,
    MessageType,
    RefreshSubtype,
    SegmentType,
)
from tests.reference import codec
from tests.reference.update import Context, Outcome, decode_update, split_attributes

from .base import BGP_PORT, WAIT, Route, ext_community_text
from .lan import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .lan import Host

ORIGINS = ("igp", "egp", "incomplete")


class Collector:
    """One BGP session, from a host of the LAN to the speaker at `address`."""

    def __init__(
        self,
        host: Host,
        asn: int,
        address: str,
        *,
        families: Iterable[Family] = tuple(Family),
        as4: bool = True,
        hold_time: int = 90,
        port: int = BGP_PORT,
    ) -> None:
        """Set up; nothing happens before `connect` or `accept`."""
        self.host = host
        self.asn = asn
        self.address = address
        self.port = port
        self.families = frozenset(families)
        self.as4 = as4
        self.hold_time = hold_time
        self.context = Context(as4=as4, families=self.families)
        self.messages: list[tuple[int, bytes]] = []
        """Every message received, oldest first: type and body."""
        self.attributes: dict[str, dict[str, Any]] = {}
        """What is announced to us: prefix -> attribute dict, AS4_PATH merged."""
        self.end_of_rib: set[Family] = set()
        self.notification: tuple[int, int, bytes] | None = None
        self.faults: list[str] = []
        """UPDATEs in which the reference decoder found something wrong."""
        self.closed = False
        self._established = False
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.connect()
        self.wait_established()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # -- life ------------------------------------------------------------------------------------

    def connect(self, timeout: float = WAIT) -> None:
        """Connect and send the OPEN; retries while nobody listens."""

        def connected() -> bool:
            try:
                sock = self.host.connect(self.address, self.port, timeout=timeout)
            except ConnectionRefusedError:
                return False
            self._run(sock)
            return True

        wait_until(connected, timeout=timeout, what=f"{self.address} to accept a connection")

    def accept(self, timeout: float = WAIT) -> None:
        """Wait for the neighbor to connect, and answer with an OPEN."""
        with self.host.listen(self.port, six=":" in self.address) as listener:
            listener.settimeout(timeout)
            while True:
                sock, (address, *_) = listener.accept()
                if ipaddress.ip_address(address) == ipaddress.ip_address(self.address):
                    break
                sock.close()
        self._run(sock)

    def _run(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        self.messages.clear()
        self.attributes.clear()
        self.end_of_rib.clear()
        self.notification = None
        self.closed = self._established = False
        self._socket = sock
        self._send(MessageType.OPEN, self._open())
        self._reader = threading.Thread(target=self._read, args=(sock,), daemon=True)
        self._reader.start()

    def _open(self) -> bytes:
        capabilities = [
            (CapabilityCode.MULTIPROTOCOL, struct.pack("!HBB", family.afi, 0, family.safi))
            for family in sorted(self.families)
        ]
        capabilities += [
            (CapabilityCode.ROUTE_REFRESH, b""),
            (CapabilityCode.ENHANCED_ROUTE_REFRESH, b""),
            (CapabilityCode.EXTENDED_MESSAGE, b""),
        ]
        if self.as4:
            capabilities.append((CapabilityCode.FOUR_OCTET_AS, struct.pack("!I", self.asn)))
        block = b"".join(
            struct.pack("!BB", code, len(value)) + value for code, value in capabilities
        )
        asn = self.asn if self.asn <= 0xFFFF else AS_TRANS
        return (
            struct.pack("!BHH", 4, asn, self.hold_time)
            + ipaddress.IPv4Address(self.host.address).packed
            + struct.pack("!BBB", len(block) + 2, 2, len(block))
            + block
        )

    def stop(self) -> None:
        """End the session with Cease / Administrative Shutdown."""
        if self._socket is not None:
            if not self.closed:
                self._send(MessageType.NOTIFICATION, bytes([6, 2]))
            self._close()

    def kill(self) -> None:
        """End the TCP connection by a reset, without a word."""
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close()

    def _close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is None:
            return
        with suppress(OSError):  # the neighbor may have been faster
            sock.shutdown(socket.SHUT_RD)  # wakes the reader
        if self._reader is not None:
            self._reader.join(WAIT)
        sock.close()

    # -- receiving, in the reader's thread -------------------------------------------------------

    def _read(self, sock: socket.socket) -> None:
        # A reset ends the session like any other end.
        with suppress(OSError), sock.makefile("rb") as stream:
            for kind, body in _messages(stream):
                self._message(kind, body)
        self.closed = True
        self._established = False

    def _message(self, kind: int, body: bytes) -> None:
        match kind:
            case MessageType.OPEN:
                self._send(MessageType.KEEPALIVE, b"")
            case MessageType.KEEPALIVE:
                if self._established:
                    self._send(MessageType.KEEPALIVE, b"")
                self._established = True
            case MessageType.NOTIFICATION:
                self.notification = (body[0], body[1], body[2:])
            case MessageType.UPDATE:
                self._update(body)
        self.messages.append((kind, body))

    def _update(self, body: bytes) -> None:
        result = decode_update(body, self.context)
        if result.outcome is not Outcome.OK or result.discarded:
            self.faults.append(f"{result} {body.hex()}")
            return
        if result.eor is not None:
            self.end_of_rib.add(result.eor)
        for _, prefix, _ in result.withdrawn:
            self.attributes.pop(prefix, None)
        for (_, prefix, _), attributes in result.routes():
            self.attributes[prefix] = attributes

    # -- sending ---------------------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are, in one piece."""
        if self._socket is not None:
            with suppress(OSError):  # the reader sees the end
                self._socket.sendall(data)

    def _send(self, kind: MessageType, body: bytes) -> None:
        self.send_bytes(codec.encode_message(kind, body))

    def announce(self, prefixes: Iterable[str], **attributes: Any) -> dict[str, Any]:
        """Announce prefixes of one family; return the attribute dict as sent."""
        prefixes = list(prefixes)
        self._send(MessageType.UPDATE, self.announcement(prefixes, **attributes))
        return self.complete(prefixes, attributes)

    def announcement(self, prefixes: list[str], **attributes: Any) -> bytes:
        """Return the body of an UPDATE which announces prefixes of one family."""
        return codec.encode_update(prefixes, self.complete(prefixes, attributes), as4=self.as4)

    def complete(self, prefixes: list[str], attributes: dict[str, Any]) -> dict[str, Any]:
        """Return an attribute dict with our own AS, our address and IGP where nothing is said."""
        own = self.host.address6 if ":" in prefixes[0] else self.host.address
        path = ((int(SegmentType.AS_SEQUENCE), (self.asn,)),)
        return {"origin": 0, "as_path": path, "next_hop": own, **attributes}

    def withdraw(self, *prefixes: str) -> None:
        """Withdraw prefixes."""
        for family in Family:
            mine = [prefix for prefix in prefixes if codec.family_of(prefix) is family]
            if mine:
                self._send(MessageType.UPDATE, codec.encode_update(withdrawn=mine))

    def route_refresh(self, family: Family) -> None:
        """Ask for a family's routes again."""
        self.send_bytes(self.refresh_message(family, RefreshSubtype.REQUEST))

    @staticmethod
    def refresh_message(family: Family, subtype: RefreshSubtype) -> bytes:
        """Return a ROUTE-REFRESH message (RFC 2918 3, RFC 7313 3.2)."""
        body = struct.pack("!HBB", family.afi, subtype, family.safi)
        return codec.encode_message(MessageType.ROUTE_REFRESH, body)

    # -- looking ---------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """Whether OPEN and KEEPALIVE were exchanged and the connection stands."""
        return self._established and not self.closed

    def routes(self) -> dict[str, Route]:
        """Return what is announced to us in the drivers' shape."""
        return {prefix: to_route(prefix, found) for prefix, found in dict(self.attributes).items()}

    def updates(self) -> list[bytes]:
        """Return the bodies of all UPDATEs received."""
        return [body for kind, body in list(self.messages) if kind == MessageType.UPDATE]

    def raw_attributes(self, prefix_update: bytes) -> dict[int, bytes]:
        """Return type -> value of the attributes of an UPDATE body, undecoded."""
        withdrawn = int.from_bytes(prefix_update[:2], "big")
        length = int.from_bytes(prefix_update[2 + withdrawn : 4 + withdrawn], "big")
        raw, fault = split_attributes(prefix_update[4 + withdrawn : 4 + withdrawn + length])
        assert fault is None, fault
        return {attribute.type: attribute.value for attribute in raw}

    # -- waiting ---------------------------------------------------------------------------------

    def wait(self, condition: Any, what: str, timeout: float = WAIT) -> None:
        """Wait until the callable is true; the failure says what was received last."""
        try:
            wait_until(condition, timeout=timeout, what=f"AS{self.asn} to {what}", interval=0.02)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nclosed: {self.closed}, notification: {self.notification}\n"
                f"routes: {self.routes()}\nfaults: {self.faults}"
            ) from None

    def wait_established(self, timeout: float = WAIT) -> None:
        """Wait until the session is up."""
        self.wait(lambda: self.established, "establish", timeout)

    def wait_closed(self, timeout: float = WAIT) -> None:
        """Wait until the neighbor has ended the connection."""
        self.wait(lambda: self.closed, "be disconnected", timeout)

    def wait_routes(self, *prefixes: str, timeout: float = WAIT) -> dict[str, Route]:
        """Wait until all of these are announced to us."""
        wanted = set(prefixes)
        self.wait(
            lambda: self.attributes.keys() >= wanted, f"receive {', '.join(prefixes)}", timeout
        )
        return self.routes()

    def wait_gone(self, *prefixes: str, timeout: float = WAIT) -> None:
        """Wait until none of these is there."""
        gone = set(prefixes)
        self.wait(lambda: not self.attributes.keys() & gone, f"lose {', '.join(prefixes)}", timeout)

    def wait_route(self, expected: Route, timeout: float = WAIT) -> None:
        """Wait for a route equal to `expected`."""
        self.wait(
            lambda: self.routes().get(expected.prefix) == expected, f"receive {expected}", timeout
        )


def to_route(prefix: str, attributes: dict[str, Any]) -> Route:
    """Turn an attribute dict into the drivers' shape."""
    path: list[int | frozenset[int]] = []
    for kind, asns in attributes["as_path"]:
        path += [frozenset(asns)] if kind == SegmentType.AS_SET else asns
    return Route(
        prefix,
        next_hop=attributes["next_hop"],
        as_path=tuple(path),
        origin=ORIGINS[attributes["origin"]],
        med=attributes.get("med"),
        local_pref=attributes.get("local_pref"),
        communities=frozenset(
            f"{value >> 16}:{value & 0xFFFF}" for value in attributes.get("communities", ())
        ),
        large_communities=frozenset(
            ":".join(map(str, parts)) for parts in attributes.get("large_communities", ())
        ),
        ext_communities=frozenset(
            ext_community_text(value) for value in attributes.get("ext_communities", ())
        ),
    )


def _messages(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield (type, body) until the stream ends."""
    while len(header := stream.read(HEADER_LEN)) == HEADER_LEN:
        marker, length, kind = struct.unpack("!16sHB", header)
        assert marker == codec.MARKER, header
        body = stream.read(length - HEADER_LEN)
        if len(body) < length - HEADER_LEN:
            return
        yield kind, body
