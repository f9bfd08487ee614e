"""OPEN, NOTIFICATION, KEEPALIVE and ROUTE-REFRESH: bytes to values and back. The cold path.

In: whole messages, header included where a function says so. Out: frozen dataclasses, or bytes that
are ready to send. Nothing is kept. UPDATE is the fast path's, see `_fastpath/decode.pyx`.
A fault raises NotifyError with the code, subcode and Data field that the peer is due.

RFC 4271 4 and 6.1, 6.2, 6.4; 2918 and 7313 (route refresh); 5492 (capabilities parameter); 8538
(hard reset); 8654 (message size); 9003 and 8203 (shutdown communication); 9072 (long OPEN).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from rs.errors import NotifyError
from rs.iana import (
    BGP_VERSION,
    HEADER_LEN,
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    CeaseSubcode,
    FsmSubcode,
    HeaderSubcode,
    MessageType,
    NotifyCode,
    OpenSubcode,
    RefreshSubcode,
    RefreshSubtype,
    UpdateSubcode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKER = b"\xff" * 16
KEEPALIVE = MARKER + HEADER_LEN.to_bytes(2) + bytes([MessageType.KEEPALIVE])
"""The only KEEPALIVE there is (RFC 4271 4.4)."""

MIN_LEN = {
    MessageType.OPEN: 29,
    MessageType.UPDATE: 23,
    MessageType.NOTIFICATION: 21,
    MessageType.KEEPALIVE: HEADER_LEN,
    MessageType.ROUTE_REFRESH: 23,
}
"""Smallest length of each message, header included (RFC 4271 4, RFC 2918 3)."""

PARAM_CAPABILITIES = 2
PARAM_EXTENDED_LENGTH = 255
"""As the first parameter's type: the two-octet lengths of RFC 9072 follow."""

MAX_COMMUNICATION = 255
"""Octets of a shutdown communication (RFC 9003 2); 128 in RFC 8203."""


# --- header -----------------------------------------------------------------------------------


def read_header(
    buffer: bytes | bytearray | memoryview, offset: int = 0, limit: int = MAX_MESSAGE_LEN
) -> tuple[int, MessageType]:
    """Check the header at `offset` and return the message's length and type (RFC 4271 6.1).

    19 octets must be there. `limit` is the longest message that we accept: 65,535 where we have
    advertised extended messages (RFC 8654 6); OPEN and KEEPALIVE never exceed 4,096.
    NotifyError 1/1, 1/2 with the Length field, or 1/3 with the Type field.
    """
    if buffer[offset : offset + 16] != MARKER:
        raise NotifyError(
            NotifyCode.MESSAGE_HEADER,
            HeaderSubcode.NOT_SYNCHRONIZED,
            reason=f"marker is {bytes(buffer[offset : offset + 16]).hex()}, not all ones",
        )
    size = bytes(buffer[offset + 16 : offset + 18])
    length = int.from_bytes(size)
    number = buffer[offset + 18]
    if not HEADER_LEN <= length <= limit:
        raise _bad_length(size, f"message length {length} is not {HEADER_LEN} to {limit}")
    try:
        kind = MessageType(number)
    except ValueError:
        raise NotifyError(
            NotifyCode.MESSAGE_HEADER,
            HeaderSubcode.BAD_TYPE,
            bytes([number]),
            f"message type {number} is not known",
        ) from None
    if length < MIN_LEN[kind]:
        raise _bad_length(size, f"{kind.name} of {length} octets, at least {MIN_LEN[kind]} needed")
    if kind is MessageType.KEEPALIVE and length != HEADER_LEN:
        raise _bad_length(size, f"KEEPALIVE of {length} octets instead of {HEADER_LEN}")
    if kind is MessageType.OPEN and length > MAX_MESSAGE_LEN:
        raise _bad_length(size, f"OPEN of {length} octets, at most {MAX_MESSAGE_LEN} allowed")
    return length, kind


def _bad_length(size: bytes, reason: str) -> NotifyError:
    return NotifyError(NotifyCode.MESSAGE_HEADER, HeaderSubcode.BAD_LENGTH, size, reason)


def _frame(kind: MessageType, body: bytes) -> bytes:
    return b"".join((MARKER, (HEADER_LEN + len(body)).to_bytes(2), bytes([kind]), body))


# --- OPEN -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """One OPEN (RFC 4271 4.2)."""

    my_as: int
    """The 2-octet field; AS_TRANS where the AS number does not fit (RFC 6793 4.1)."""
    hold_time: int
    """Proposed hold time in seconds."""
    router_id: str
    """BGP Identifier in dotted form."""
    capabilities: tuple[tuple[int, bytes], ...] = ()
    """(code, value) in wire order, from however many Capabilities parameters there were."""
    version: int = BGP_VERSION


def encode_open(message: OpenMessage) -> bytes:
    """Encode an OPEN, header included.

    All capabilities go into one parameter. RFC 9072's form is used where, and only where, the
    parameters exceed 255 octets. ValueError if the message exceeds 4,096 octets.
    """
    capabilities = b"".join(
        bytes([code, len(value)]) + value for code, value in message.capabilities
    )
    if not capabilities:
        parameters = b"\x00"
    elif len(capabilities) + 2 <= MAX_COMMUNICATION:
        size = len(capabilities)
        parameters = bytes([size + 2, PARAM_CAPABILITIES, size]) + capabilities
    else:
        size = len(capabilities)
        parameters = b"".join(
            (
                bytes([255, PARAM_EXTENDED_LENGTH]),
                (size + 3).to_bytes(2),
                bytes([PARAM_CAPABILITIES]),
                size.to_bytes(2),
                capabilities,
            )
        )
    body = b"".join(
        (
            bytes([message.version]),
            message.my_as.to_bytes(2),
            message.hold_time.to_bytes(2),
            IPv4Address(message.router_id).packed,
            parameters,
        )
    )
    if HEADER_LEN + len(body) > MAX_MESSAGE_LEN:
        raise ValueError(f"OPEN of {HEADER_LEN + len(body)} octets exceeds {MAX_MESSAGE_LEN}")
    return _frame(MessageType.OPEN, body)


def decode_open(body: bytes) -> OpenMessage:
    """Decode an OPEN's body (at least 10 octets; `read_header` has seen to that).

    NotifyError 2/1 for another version, 2/4 for an optional parameter that is not Capabilities,
    2/0 for parameters whose lengths do not add up (RFC 4271 6.2).
    """
    version = body[0]
    if version != BGP_VERSION:
        raise NotifyError(
            NotifyCode.OPEN_MESSAGE,
            OpenSubcode.UNSUPPORTED_VERSION,
            BGP_VERSION.to_bytes(2),
            f"BGP version {version}",
        )
    return OpenMessage(
        my_as=int.from_bytes(body[1:3]),
        hold_time=int.from_bytes(body[3:5]),
        router_id=str(IPv4Address(body[5:9])),
        capabilities=tuple(_capabilities(body[9], body[10:])),
        version=version,
    )


def _malformed_open(reason: str) -> NotifyError:
    return NotifyError(NotifyCode.OPEN_MESSAGE, 0, reason=reason)


def _capabilities(declared: int, rest: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the optional parameters; `declared` is the one-octet Optional Parameters Length."""
    width = 1
    if declared and rest[:1] == bytes([PARAM_EXTENDED_LENGTH]):
        if len(rest) < 3:
            raise _malformed_open("extended optional parameters end in their length")
        width = 2
        declared = int.from_bytes(rest[1:3])
        rest = rest[3:]
    if declared != len(rest):
        raise _malformed_open(
            f"optional parameters of {len(rest)} octets where their length says {declared}"
        )
    offset = 0
    while offset < len(rest):
        start = offset + 1 + width
        end = start + int.from_bytes(rest[offset + 1 : start])
        kind = rest[offset]
        if start > len(rest) or end > len(rest):
            raise _malformed_open(f"optional parameter {kind} runs past the end of the OPEN")
        if kind != PARAM_CAPABILITIES:
            raise NotifyError(
                NotifyCode.OPEN_MESSAGE,
                OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER,
                reason=f"optional parameter of type {kind}",
            )
        yield from _capability_values(rest[start:end])
        offset = end


def _capability_values(block: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(block):
        start = offset + 2
        if start > len(block) or start + block[offset + 1] > len(block):
            raise _malformed_open(f"capability {block[offset]} runs past its parameter")
        end = start + block[offset + 1]
        yield block[offset], block[start:end]
        offset = end


# --- NOTIFICATION -----------------------------------------------------------------------------


_CODE_NAMES = {
    NotifyCode.MESSAGE_HEADER: "Message Header Error",
    NotifyCode.OPEN_MESSAGE: "OPEN Message Error",
    NotifyCode.UPDATE_MESSAGE: "UPDATE Message Error",
    NotifyCode.HOLD_TIMER_EXPIRED: "Hold Timer Expired",
    NotifyCode.FSM: "Finite State Machine Error",
    NotifyCode.CEASE: "Cease",
    NotifyCode.ROUTE_REFRESH: "ROUTE-REFRESH Message Error",
    NotifyCode.SEND_HOLD_TIMER_EXPIRED: "Send Hold Timer Expired",
}

_SUBCODE_NAMES: dict[int, dict[int, str]] = {
    NotifyCode.MESSAGE_HEADER: {
        HeaderSubcode.NOT_SYNCHRONIZED: "Connection Not Synchronized",
        HeaderSubcode.BAD_LENGTH: "Bad Message Length",
        HeaderSubcode.BAD_TYPE: "Bad Message Type",
    },
    NotifyCode.OPEN_MESSAGE: {
        OpenSubcode.UNSUPPORTED_VERSION: "Unsupported Version Number",
        OpenSubcode.BAD_PEER_AS: "Bad Peer AS",
        OpenSubcode.BAD_BGP_IDENTIFIER: "Bad BGP Identifier",
        OpenSubcode.UNSUPPORTED_OPTIONAL_PARAMETER: "Unsupported Optional Parameter",
        5: "Authentication Failure",  # deprecated by RFC 4271, still sent by old speakers
        OpenSubcode.UNACCEPTABLE_HOLD_TIME: "Unacceptable Hold Time",
        OpenSubcode.UNSUPPORTED_CAPABILITY: "Unsupported Capability",
        OpenSubcode.ROLE_MISMATCH: "Role Mismatch",
    },
    NotifyCode.UPDATE_MESSAGE: {
        UpdateSubcode.MALFORMED_ATTRIBUTE_LIST: "Malformed Attribute List",
        UpdateSubcode.UNRECOGNIZED_WELL_KNOWN: "Unrecognized Well-known Attribute",
        UpdateSubcode.MISSING_WELL_KNOWN: "Missing Well-known Attribute",
        UpdateSubcode.ATTRIBUTE_FLAGS: "Attribute Flags Error",
        UpdateSubcode.ATTRIBUTE_LENGTH: "Attribute Length Error",
        UpdateSubcode.INVALID_ORIGIN: "Invalid ORIGIN Attribute",
        7: "AS Routing Loop",  # deprecated by RFC 4271, still sent by old speakers
        UpdateSubcode.INVALID_NEXT_HOP: "Invalid NEXT_HOP Attribute",
        UpdateSubcode.OPTIONAL_ATTRIBUTE: "Optional Attribute Error",
        UpdateSubcode.INVALID_NETWORK_FIELD: "Invalid Network Field",
        UpdateSubcode.MALFORMED_AS_PATH: "Malformed AS_PATH",
    },
    NotifyCode.FSM: {
        FsmSubcode.IN_OPEN_SENT: "Receive Unexpected Message in OpenSent State",
        FsmSubcode.IN_OPEN_CONFIRM: "Receive Unexpected Message in OpenConfirm State",
        FsmSubcode.IN_ESTABLISHED: "Receive Unexpected Message in Established State",
    },
    NotifyCode.CEASE: {
        CeaseSubcode.MAX_PREFIXES: "Maximum Number of Prefixes Reached",
        CeaseSubcode.ADMIN_SHUTDOWN: "Administrative Shutdown",
        CeaseSubcode.PEER_DECONFIGURED: "Peer De-configured",
        CeaseSubcode.ADMIN_RESET: "Administrative Reset",
        CeaseSubcode.CONNECTION_REJECTED: "Connection Rejected",
        CeaseSubcode.OTHER_CONFIG_CHANGE: "Other Configuration Change",
        CeaseSubcode.COLLISION: "Connection Collision Resolution",
        CeaseSubcode.OUT_OF_RESOURCES: "Out of Resources",
        CeaseSubcode.HARD_RESET: "Hard Reset",
        CeaseSubcode.BFD_DOWN: "BFD Down",
    },
    NotifyCode.ROUTE_REFRESH: {RefreshSubcode.INVALID_LENGTH: "Invalid Message Length"},
}

_WITH_COMMUNICATION = (CeaseSubcode.ADMIN_SHUTDOWN, CeaseSubcode.ADMIN_RESET)


def notify_name(code: int, subcode: int) -> str:
    """Name a NOTIFICATION by the registry: `Cease/Administrative Shutdown (6/2)`."""
    name = _CODE_NAMES.get(code)  # type: ignore[call-overload]
    if name is None:
        return f"unknown error ({code}/{subcode})"
    detail = _SUBCODE_NAMES.get(code, {}).get(subcode)
    return f"{name}/{detail} ({code}/{subcode})" if detail else f"{name} ({code}/{subcode})"


@dataclass(frozen=True, slots=True)
class Notification:
    """One NOTIFICATION (RFC 4271 4.5)."""

    code: int
    subcode: int
    data: bytes = b""

    @property
    def communication(self) -> str | None:
        """The shutdown communication (RFC 9003), fit for one line of log; None without one.

        Control characters are escaped, because the text is the peer's and ends up in our syslog.
        Invalid UTF-8 is not interpreted but shown as a hex dump (RFC 9003 4).
        """
        if not self._may_communicate or not self.data or not self.data[0]:
            return None
        size = self.data[0]
        try:
            text = self.data[1 : 1 + size].decode()
        except UnicodeDecodeError:
            text = ""
        if not text or len(self.data) <= size:
            return f"malformed: {self.data.hex()}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

    def describe(self) -> str:
        """Everything known about it in one line."""
        name = notify_name(self.code, self.subcode)
        if (self.code, self.subcode) == (NotifyCode.CEASE, CeaseSubcode.HARD_RESET):
            # RFC 8538 3.1: the real reason stands in the data. Once only: the data is the peer's.
            inner = tuple(self.data[:2])
            if len(inner) == 2 and inner != (self.code, self.subcode):
                return f"{name}: {Notification(*inner, self.data[2:]).describe()}"
            return name
        text = self.communication
        if text is not None:
            return f'{name}: "{text}"'
        if self.data and not self._may_communicate:
            return f"{name}, data {self.data[:64].hex()}"
        return name

    @property
    def _may_communicate(self) -> bool:
        return self.code == NotifyCode.CEASE and self.subcode in _WITH_COMMUNICATION


def encode_notification(
    code: int, subcode: int = 0, data: bytes = b"", limit: int = MAX_MESSAGE_LEN
) -> bytes:
    """Encode a NOTIFICATION, header included; data beyond `limit` octets of message is cut off."""
    limit = min(limit, MAX_EXTENDED_MESSAGE_LEN)
    return _frame(MessageType.NOTIFICATION, bytes([code, subcode]) + data[: limit - HEADER_LEN - 2])


def decode_notification(body: bytes) -> Notification:
    """Decode a NOTIFICATION's body (at least 2 octets); never fails (RFC 4271 6.4)."""
    return Notification(body[0], body[1], body[2:])


def encode_communication(text: str) -> bytes:
    """Encode a shutdown communication as Data field; cut at a character to 255 octets (RFC 9003).

    Empty for an empty text: peers that know neither RFC 9003 nor 8203 then see a plain Cease.
    """
    raw = text.encode(errors="replace")
    if not raw:
        return b""
    if len(raw) > MAX_COMMUNICATION:
        raw = raw[:MAX_COMMUNICATION].decode(errors="ignore").encode()
    return bytes([len(raw)]) + raw


# --- ROUTE-REFRESH ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """One ROUTE-REFRESH (RFC 2918 3, RFC 7313 3.2)."""

    afi: int
    safi: int
    subtype: int = RefreshSubtype.REQUEST


def encode_route_refresh(message: RouteRefresh) -> bytes:
    """Encode a ROUTE-REFRESH, header included."""
    body = message.afi.to_bytes(2) + bytes([message.subtype, message.safi])
    return _frame(MessageType.ROUTE_REFRESH, body)


def decode_route_refresh(body: bytes, *, enhanced: bool) -> RouteRefresh:
    """Decode a ROUTE-REFRESH's body (at least 4 octets).

    `enhanced`: the peer has advertised enhanced route refresh; then BoRR and EoRR of another
    length are answered by 7/1 with the whole message (RFC 7313 5). A request that is longer
    carries outbound route filters (RFC 5291), which we have not offered, so they are passed over.
    """
    subtype = body[2]
    marks = (RefreshSubtype.BORR, RefreshSubtype.EORR)
    if enhanced and subtype in marks and len(body) != 4:
        raise NotifyError(
            NotifyCode.ROUTE_REFRESH,
            RefreshSubcode.INVALID_LENGTH,
            _frame(MessageType.ROUTE_REFRESH, body),
            f"ROUTE-REFRESH of subtype {subtype} with {len(body)} octets instead of 4",
        )
    return RouteRefresh(int.from_bytes(body[:2]), body[3], subtype)


def split_messages(
    data: bytes, limit: int = MAX_MESSAGE_LEN
) -> Sequence[tuple[MessageType, bytes]]:
    """Cut whole messages apart: (type, body) each. ValueError for a piece left over."""
    found: list[tuple[MessageType, bytes]] = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < HEADER_LEN:
            raise ValueError(f"{len(data) - offset} octets are left at {offset}")
        length, kind = read_header(data, offset, limit)
        if offset + length > len(data):
            raise ValueError(f"{kind.name} at {offset} needs {length} octets")
        found.append((kind, data[offset + HEADER_LEN : offset + length]))
        offset += length
    return found
