"""The router's side of the RPKI to Router protocol, versions 0 to 2, without sockets.

In: octets from a cache and `now` in seconds (monotonic). Out: octets for the cache, events, and
VRPs and ASPAs in the tables of `rs._fastpath.roa`, which own them. RFC 6810 (version 0), RFC 8210
(version 1), draft-ietf-sidrops-8210bis-27 (version 2, with ASPA).

A `Cache` is what outlives a connection: whose data it is, the session's identity and serial, the
timers. A `Session` is one connection. Prefix PDUs go straight into the table, where they are staged
out of sight until End of Data puts the whole response into use in one go; whatever goes wrong
before that leaves the table as it was.

What a cache can do to us is bounded: a PDU is at most 65,535 octets, a wrong length is refused from
its header on, records are counted, responses have to start, to go on and to end in time, queries
are at least a second apart and so are not driven by notifications. The price of a fault is the
connection, and where the documents say so the cache's data (8210bis 12).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import TYPE_CHECKING

from rs._fastpath.roa import (
    STAGE_DUPLICATE,
    STAGE_LIMIT,
    STAGE_OK,
    STAGE_UNKNOWN,
)
from rs.iana import RtrError, RtrPdu

if TYPE_CHECKING:
    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.roa import RoaTable

MAX_VERSION = 2
HEADER = struct.Struct("!BBHI")
MAX_PDU = 65535
"""Octets (8210bis 5.1); the longest PDU of versions 0 and 1 is far below it."""
ECHO = 512
"""Octets of a faulty PDU that go back in an Error Report."""
MAX_TEXT = 200
"""Characters of a cache's error text that are kept."""

REFRESH = (1, 86400, 3600)
RETRY = (1, 7200, 600)
EXPIRE = (600, 172800, 7200)
"""Lowest, highest and default interval in seconds (RFC 8210 6)."""

RESPONSE_TIMEOUT = 60.0
"""Seconds from a query to the first PDU of its answer, and between octets of an answer."""
TRANSFER_TIMEOUT = 900.0
"""Seconds from a query to End of Data."""
QUERY_GAP = 1.0
"""Seconds between two queries that notifications ask for."""
MAX_NOTIFICATIONS = 1000
"""Serial Notifies between two answers; a cache may send one a minute (RFC 8210 8.2)."""
UPGRADE_INTERVAL = 3600.0
"""Seconds after which a connection asks for the highest version again, giving up the serial."""

NO_DATA_RETRY = 60
"""Seconds after which a cache that has no data yet is asked again (8210bis 8.4)."""
_NEVER = float("inf")

MAX_VRPS = 3_000_000
MAX_ASPAS = 200_000
"""Records of one cache: several times what there is, and some 100 MB for a cache that lies."""

_LENGTHS_0: dict[int, tuple[int, int]] = {
    RtrPdu.SERIAL_NOTIFY: (12, 12),
    RtrPdu.CACHE_RESPONSE: (8, 8),
    RtrPdu.IPV4_PREFIX: (20, 20),
    RtrPdu.IPV6_PREFIX: (32, 32),
    RtrPdu.END_OF_DATA: (12, 12),
    RtrPdu.CACHE_RESET: (8, 8),
    RtrPdu.ERROR_REPORT: (16, MAX_PDU),
}
_LENGTHS_1 = _LENGTHS_0 | {RtrPdu.END_OF_DATA: (24, 24), RtrPdu.ROUTER_KEY: (33, MAX_PDU)}
_LENGTHS_2 = _LENGTHS_1 | {RtrPdu.ASPA: (12, MAX_PDU)}
LENGTHS = (_LENGTHS_0, _LENGTHS_1, _LENGTHS_2)
"""By version: the PDUs that a cache may send, with their shortest and longest length in octets."""

NON_FATAL = frozenset(
    (RtrError.NO_DATA_AVAILABLE, RtrError.UNSUPPORTED_VERSION, RtrError.CACHE_RESTART)
)
RESUME_REFUSED = frozenset((RtrError.CORRUPT_DATA, RtrError.INVALID_REQUEST))
"""What caches say to a Serial Query for a session that they do not know."""
HIGHEST_CODE = (7, 8, 13)
"""The last error code that each version defines; no other may be sent (8210bis 12)."""


def serial_newer(a: int, b: int) -> bool:
    """Whether serial `a` comes after `b` (RFC 1982 3.2); false if that is undefined."""
    return 0 < (a - b) & 0xFFFFFFFF < 0x80000000


@dataclass(slots=True)
class Cache:
    """What is known of a cache beyond one connection. Times are monotonic seconds."""

    name: str
    source: int
    """Its number in the tables."""
    refresh_override: int | None = None
    retry_override: int | None = None
    expire_override: int | None = None
    """Intervals in seconds from our configuration, instead of what the cache says."""
    max_version: int = MAX_VERSION
    try_version: int = MAX_VERSION
    """The version that the next connection starts with."""
    upgrade_at: float = 0.0
    """From when on it starts with max_version again."""

    holds_data: bool = False
    version: int = MAX_VERSION
    session_id: int | None = None
    """Together with the version: whose serial it is. None: the next query is a Reset Query."""
    serial: int = 0
    synced_at: float = 0.0
    expires_at: float = _NEVER

    refresh: int = REFRESH[2]
    retry: int = RETRY[2]
    expire: int = EXPIRE[2]
    report: bool = True
    """Whether changed prefixes are kept for RoaTable.changes."""

    def __post_init__(self) -> None:
        self.take_intervals(None, None, None)

    def take_intervals(self, refresh: int | None, retry: int | None, expire: int | None) -> None:
        """Take what End of Data says within the bounds of RFC 8210 6; None for the default."""

        def bounded(value: int | None, bounds: tuple[int, int, int], own: int | None) -> int:
            if own is not None:
                return own
            low, high, default = bounds
            return default if value is None else min(max(value, low), high)

        self.expire = bounded(expire, EXPIRE, self.expire_override)
        self.refresh = bounded(refresh, REFRESH, self.refresh_override)
        self.retry = bounded(retry, RETRY, self.retry_override)
        # "Caches MUST set Expire Interval to a value larger than" both. If not, poll in time.
        if self.refresh >= self.expire and self.refresh_override is None:
            self.refresh = max(1, self.expire // 2)
        if self.retry >= self.expire and self.retry_override is None:
            self.retry = max(1, self.expire // 4)

    def forget_session(self) -> None:
        """Make the next query a Reset Query; the data stay until they are replaced or expire."""
        self.session_id = None

    def forget_data(self) -> None:
        """Take note that the tables hold nothing of it any longer."""
        self.holds_data = False
        self.session_id = None
        self.expires_at = _NEVER


@dataclass(frozen=True, slots=True)
class Synced:
    """End of Data: the tables hold what the cache has at `serial`.

    `added` and `removed` count VRPs of the union of all sources; ASPAs are put into use by
    AspaTable.changes.
    """

    reset: bool
    added: int
    removed: int
    serial: int
    session_id: int
    version: int


@dataclass(frozen=True, slots=True)
class NoData:
    """The cache has nothing to give yet (RFC 8210 8.4); it is asked again."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The conversation is over: send what `take_output` gives, then close the connection.

    With `flush` the cache's data have to go. With `again` the next connection may follow at once,
    since it will ask for something else.
    """

    reason: str
    flush: bool = False
    again: bool = False


Event = Synced | NoData | Closed


class State(Enum):
    """Where a conversation is."""

    ASKED = auto()
    """A query was sent; Cache Response, Cache Reset or an error is next."""
    RECEIVING = auto()
    """Between Cache Response and End of Data."""
    IDLE = auto()
    CLOSED = auto()


class _FaultError(Exception):
    """A fault of the cache, answered with an Error Report about `pdu`."""

    def __init__(self, code: RtrError, reason: str, pdu: bytes, *, flush: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.pdu = pdu
        self.flush = flush


@dataclass(slots=True)
class Limits:
    """Bounds on what a cache may do; seconds and records."""

    response_timeout: float = RESPONSE_TIMEOUT
    transfer_timeout: float = TRANSFER_TIMEOUT
    query_gap: float = QUERY_GAP
    vrps: int = MAX_VRPS
    aspas: int = MAX_ASPAS


class Session:
    """One connection with a cache, from the first query on."""

    def __init__(
        self,
        cache: Cache,
        roas: RoaTable,
        aspas: AspaTable,
        now: float,
        limits: Limits | None = None,
    ) -> None:
        self.cache = cache
        self.router_keys = 0
        """Router Key PDUs passed over."""
        self._roas = roas
        self._aspas = aspas
        self._limits = limits or Limits()
        self._out = bytearray()
        self._partial = b""
        self._events: list[Event] = []
        self._negotiated = False
        self._told_version = False
        self._reset = False
        self._open = False
        self._records = 0
        self._session_id = 0
        self._notified: int | None = None
        self._n_notified = 0
        self._asked_at = now
        self._heard_at = now
        self._next_query = _NEVER
        if cache.try_version < cache.max_version and now >= cache.upgrade_at:
            cache.try_version = cache.max_version
        self.version = cache.try_version
        if cache.version != self.version:
            cache.forget_session()
        self.state = State.ASKED
        self._query(now)

    # --- for the transport ------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether a Closed was given, or `stop` called."""
        return self.state is State.CLOSED

    def take_output(self) -> bytes:
        """Return the octets to send, once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take octets from the cache; about 0.2 us a Prefix PDU, 3 us an ASPA."""
        if self.over:
            return []
        self._heard_at = now
        data = self._partial + data if self._partial else data
        pos = 0
        try:
            while not self.over:
                if self.state is State.RECEIVING:
                    pos = self._stage_prefixes(data, pos)
                if len(data) - pos < HEADER.size:
                    break
                length = self._check_header(data, pos, now)
                if len(data) - pos < length:
                    break
                pos += length
                if length:
                    self._take(data[pos - length : pos], now)
        except _FaultError as fault:
            self._fail(fault)
        self._partial = b"" if self.over else data[pos:]
        return self._take_events()

    def closed(self, now: float, reason: str = "connection closed by the cache") -> list[Event]:
        """Take note that the connection is gone; the event says how to go on."""
        if self.state is State.CLOSED:
            return []
        again = False
        cache = self.cache
        if not self._negotiated:
            # No answer. Some caches close on a session or a version they do not know (RFC 8210 7).
            again = True
            if cache.session_id is not None:
                cache.forget_session()
            elif self._told_version:
                pass
            elif self.version > 0:
                self._downgrade(self.version - 1, now)
            else:
                cache.try_version = cache.max_version
                again = False
        self._close(reason, again=again)
        return self._take_events()

    def next_timer(self) -> float:
        """Return when `handle_timer` wants to be called, at the latest."""
        if self.state is State.CLOSED:
            return _NEVER
        if self.state is State.IDLE:
            return self._next_query
        return min(
            self._heard_at + self._limits.response_timeout,
            self._asked_at + self._limits.transfer_timeout,
        )

    def handle_timer(self, now: float) -> list[Event]:
        """Do what is due."""
        if now < self.next_timer():
            return []
        if self.state is State.IDLE:
            self._query(now)
            return []
        what = "End of Data" if self.state is State.RECEIVING else "answer"
        reason = f"no {what} within {now - self._asked_at:.0f} s"
        if not self._negotiated:
            return self.closed(now, reason)
        self._report(RtrError.TRANSPORT_FAILURE, b"", reason)
        self._close(reason)
        return self._take_events()

    def stop(self) -> None:
        """End the conversation from our side, without an event."""
        if self.state is not State.CLOSED:
            self._close("stopped")
            self._events.clear()

    # --- queries ----------------------------------------------------------------------------------

    def _query(self, now: float) -> None:
        cache = self.cache
        self._reset = cache.session_id is None
        if cache.session_id is None:
            self._out += HEADER.pack(self.version, RtrPdu.RESET_QUERY, 0, 8)
        else:
            self._out += HEADER.pack(self.version, RtrPdu.SERIAL_QUERY, cache.session_id, 12)
            self._out += cache.serial.to_bytes(4, "big")
        self.state = State.ASKED
        self._asked_at = self._heard_at = now
        self._next_query = _NEVER
        self._notified = None
        self._n_notified = 0

    def _query_soon(self, now: float) -> None:
        due = self._asked_at + self._limits.query_gap
        if now >= due:
            self._query(now)
        else:
            self._next_query = min(self._next_query, due)

    def _downgrade(self, version: int, now: float) -> None:
        """Use a lower version from the next query on; a session is one version's (RFC 8210 5.1)."""
        self.cache.try_version = version
        self.cache.upgrade_at = now + UPGRADE_INTERVAL
        self.cache.forget_session()

    # --- headers ----------------------------------------------------------------------------------

    def _check_header(self, data: bytes, pos: int, now: float) -> int:
        """Return the length of the PDU at `pos`, 0 if the conversation has ended with it."""
        version, kind, _, length = HEADER.unpack_from(data, pos)
        head = data[pos : pos + HEADER.size]
        if not HEADER.size <= length <= MAX_PDU:
            raise _FaultError(RtrError.CORRUPT_DATA, f"PDU of type {kind}, length {length}", head)
        if version != self.version and kind != RtrPdu.ERROR_REPORT:
            # Serial Notify before there is a version is ignored, whatever its own (RFC 8210 7).
            if self._negotiated or kind != RtrPdu.SERIAL_NOTIFY:
                self._check_version(version, kind, head, now)
            if self.state is State.CLOSED:
                return 0
        lengths = LENGTHS[min(version, MAX_VERSION)].get(kind)
        if lengths is None:
            raise _FaultError(
                RtrError.UNSUPPORTED_PDU_TYPE, f"PDU of type {kind} in version {version}", head
            )
        if not lengths[0] <= length <= lengths[1]:
            raise _FaultError(
                RtrError.CORRUPT_DATA, f"{RtrPdu(kind).name} PDU with length {length}", head
            )
        return int(length)

    def _check_version(self, version: int, kind: int, head: bytes, now: float) -> None:
        """Judge a PDU of another version than ours (RFC 8210 7)."""
        if self._negotiated:
            raise _FaultError(
                RtrError.UNEXPECTED_VERSION,
                f"PDU of version {version} in a session of version {self.version}",
                head,
            )
        if version > self.version or kind != RtrPdu.CACHE_RESPONSE:
            raise _FaultError(RtrError.UNSUPPORTED_VERSION, f"PDU of version {version}", head)
        self._downgrade(version, now)
        if self._reset:
            self.version = version
        else:
            # Changes since a serial of another version's session are of no use (RFC 8210 5.1).
            self._close(f"the cache answers in version {version}", again=True)

    # --- PDUs -------------------------------------------------------------------------------------

    def _stage_prefixes(self, data: bytes, pos: int) -> int:
        """Stage the Prefix PDUs that stand at `pos`; returns where they end."""
        pos, code = self._roas.stage_pdus(self.cache.source, data, pos, self.version)
        if code != STAGE_OK:
            pdu = data[pos : pos + int.from_bytes(data[pos + 4 : pos + 8], "big")]
            self._staged(code, RtrPdu(pdu[1]).name, pdu)
        return pos

    def _staged(self, code: int, what: str, pdu: bytes) -> None:
        """Raise what a table's verdict on a record amounts to (RFC 8210 12)."""
        if code == STAGE_DUPLICATE:
            raise _FaultError(RtrError.DUPLICATE_ANNOUNCEMENT, f"{what} announced twice", pdu)
        if code == STAGE_UNKNOWN:
            raise _FaultError(
                RtrError.WITHDRAWAL_OF_UNKNOWN_RECORD, f"{what} withdrawn that we do not have", pdu
            )
        if code == STAGE_LIMIT:
            raise _FaultError(RtrError.INTERNAL_ERROR, f"more {what} PDUs than we take", b"")
        if code != STAGE_OK:
            raise _FaultError(RtrError.CORRUPT_DATA, f"{what} that cannot be", pdu)

    def _take(self, pdu: bytes, now: float) -> None:
        version, kind, number, _ = HEADER.unpack_from(pdu)
        if kind == RtrPdu.ERROR_REPORT:
            self._take_error(version, number, pdu, now)
        elif kind == RtrPdu.SERIAL_NOTIFY:
            self._take_notify(number, pdu, now)
        elif kind == RtrPdu.CACHE_RESPONSE and self.state is State.ASKED:
            self._take_response(number, pdu)
        elif kind == RtrPdu.CACHE_RESET and self.state is State.ASKED and not self._reset:
            self._negotiated = True
            self.cache.forget_session()
            self._query(now)
        elif kind == RtrPdu.END_OF_DATA and self.state is State.RECEIVING:
            self._take_end(number, pdu, now)
        elif kind == RtrPdu.ROUTER_KEY and self.state is State.RECEIVING:
            # For BGPsec, which we do not speak. Counted, so that they come to an end.
            self.router_keys += 1
            self._count(pdu)
        elif kind == RtrPdu.ASPA and self.state is State.RECEIVING:
            self._count(pdu)
            self._take_aspa(pdu)
        else:
            raise _FaultError(
                RtrError.CORRUPT_DATA,
                f"{RtrPdu(kind).name} PDU out of order ({self.state.name.lower()})",
                pdu,
            )

    def _count(self, pdu: bytes) -> None:
        self._records += 1
        if self._records > self._limits.vrps:
            self._staged(STAGE_LIMIT, RtrPdu(pdu[1]).name, pdu)

    def _take_response(self, session_id: int, pdu: bytes) -> None:
        """Cache Response (RFC 8210 5.5)."""
        self._negotiated = True
        if not self._reset and session_id != self.cache.session_id:
            raise _FaultError(
                RtrError.CORRUPT_DATA,
                f"session {session_id} answers for session {self.cache.session_id}",
                pdu,
                flush=True,
            )
        self._session_id = session_id
        self._roas.begin(self.cache.source, self._reset, self._limits.vrps)
        self._aspas.begin(self.cache.source, self._reset, self._limits.aspas)
        self._open = True
        self._records = 0
        self.state = State.RECEIVING

    def _take_end(self, session_id: int, pdu: bytes, now: float) -> None:
        """End of Data (RFC 8210 5.8): everything since Cache Response comes into use."""
        cache = self.cache
        serial = int.from_bytes(pdu[8:12], "big")
        if session_id != self._session_id:
            raise _FaultError(
                RtrError.CORRUPT_DATA,
                f"END_OF_DATA of session {session_id} in session {self._session_id}",
                pdu,
                flush=True,
            )
        if not self._reset and serial_newer(cache.serial, serial):
            raise _FaultError(
                RtrError.CORRUPT_DATA, f"changes since serial {cache.serial} lead to {serial}", pdu
            )
        self._open = False
        added, removed = self._roas.commit(cache.source, cache.report)
        self._aspas.commit(cache.source)
        if self.version == 0:
            cache.take_intervals(None, None, None)
        else:
            cache.take_intervals(*struct.unpack_from("!III", pdu, 12))
        cache.version = self.version
        cache.session_id = session_id
        cache.serial = serial
        cache.holds_data = True
        cache.synced_at = now
        cache.expires_at = now + cache.expire
        self.state = State.IDLE
        self._events.append(Synced(self._reset, added, removed, serial, session_id, self.version))
        self._next_query = now + cache.refresh
        if self._notified is not None and self._notified != serial:
            self._query_soon(now)

    def _take_notify(self, session_id: int, pdu: bytes, now: float) -> None:
        """Take a Serial Notify (RFC 8210 5.2): a hint to ask."""
        self._n_notified += 1
        if self._n_notified > MAX_NOTIFICATIONS:
            raise _FaultError(
                RtrError.CORRUPT_DATA, f"more than {MAX_NOTIFICATIONS} notifications", pdu
            )
        if not self._negotiated:
            return
        cache = self.cache
        if cache.session_id is not None and session_id != cache.session_id:
            raise _FaultError(
                RtrError.CORRUPT_DATA,
                f"SERIAL_NOTIFY of session {session_id} in session {cache.session_id}",
                pdu,
                flush=True,
            )
        serial = int.from_bytes(pdu[8:12], "big")
        if self.state is not State.IDLE:
            self._notified = serial
        elif cache.session_id is None or serial != cache.serial:
            self._query_soon(now)

    def _take_aspa(self, pdu: bytes) -> None:
        """ASPA (8210bis 5.12), also as revisions up to 10 had it, which caches in use still send.

        There the flags follow the header, then one octet for the address family, two that count
        the providers, the customer and the providers. An announcement in it would be a withdrawal
        with a provider list today, which may not be; so there is no mistaking one for the other.
        Withdrawals name the providers there, and follow the announcement that replaces them.
        """
        flags = pdu[2]
        at = 8
        afi = 0
        count = (len(pdu) - 16) // 4
        if not flags & 1 and count >= 0 and count == int.from_bytes(pdu[10:12], "big"):
            flags = pdu[8]
            afi = 2 if pdu[9] & 1 else 1
            at = 12
        if len(pdu) % 4:
            raise _FaultError(RtrError.CORRUPT_DATA, "ASPA cut within a number", pdu)
        customer, *providers = struct.unpack_from(f"!{(len(pdu) - at) // 4}I", pdu, at)
        if not flags & 1:
            if providers and not afi:
                raise _FaultError(
                    RtrError.ASPA_PROVIDER_LIST, f"withdrawal of AS{customer} names providers", pdu
                )
            said = self._aspas.said(self.cache.source, customer, afi)
            if providers and said is not None and set(said) != set(providers):
                return
            code = self._aspas.stage(self.cache.source, customer, None, afi)
        else:
            if (
                not providers
                or (len(providers) > 1 and 0 in providers)
                or (not afi and any(a >= b for a, b in pairwise(providers)))
            ):
                raise _FaultError(
                    RtrError.ASPA_PROVIDER_LIST,
                    f"providers of AS{customer} are none, not in order, or AS 0 among others",
                    pdu,
                )
            code = self._aspas.stage(self.cache.source, customer, providers, afi)
        self._staged(code, "ASPA", pdu)

    # --- errors -----------------------------------------------------------------------------------

    def _take_error(self, version: int, code: int, pdu: bytes, now: float) -> None:
        """Error Report (RFC 8210 5.11, 12); no answer to any."""
        cache = self.cache
        said = self._read_error(code, pdu)
        if said is None:
            self._close("unreadable Error Report", flush=self.version >= 2)
            return
        if code == RtrError.UNSUPPORTED_VERSION and not self._negotiated:
            lower = version if version < self.version else self.version - 1
            if lower < 0:
                cache.try_version = cache.max_version
                self._close(f"no version in common: {said}")
                return
            self._downgrade(lower, now)
            self.version = lower
            self._told_version = True
            self._query(now)
        elif not self._negotiated and not self._reset and code in RESUME_REFUSED:
            # It does not know the session that the Serial Query named.
            cache.forget_session()
            self._close(f"session not resumed: {said}", again=True)
        elif code == RtrError.NO_DATA_AVAILABLE and self.state is State.ASKED:
            if version < self.version and not self._negotiated:
                self._downgrade(version, now)
                self.version = version
            self._negotiated = True
            self.state = State.IDLE
            self._next_query = now + min(cache.retry, NO_DATA_RETRY)
            self._events.append(NoData())
        else:
            fatal = code not in NON_FATAL
            if fatal:
                cache.forget_session()
            self._close(f"the cache reports {said}", flush=fatal and self.version >= 2)

    @staticmethod
    def _read_error(code: int, pdu: bytes) -> str | None:
        """Return an Error Report in words, None if its lengths do not fit."""
        echoed = int.from_bytes(pdu[8:12], "big")
        if 16 + echoed > len(pdu):
            return None
        at = 12 + echoed
        n_text = int.from_bytes(pdu[at : at + 4], "big")
        if at + 4 + n_text != len(pdu):
            return None
        text = pdu[at + 4 :][: 4 * MAX_TEXT].decode("utf-8", "replace")[:MAX_TEXT]
        text = "".join(c if c.isprintable() else "?" for c in text)
        try:
            name = RtrError(code).name.replace("_", " ").lower()
        except ValueError:
            name = "unknown error"
        return f"{name} ({code})" + (f": {text}" if text else "")

    def _report(self, code: RtrError, pdu: bytes, text: str) -> None:
        """Send an Error Report, with a code that our version defines (8210bis 12)."""
        if code > HIGHEST_CODE[self.version]:
            code = (
                RtrError.UNSUPPORTED_VERSION
                if code == RtrError.UNEXPECTED_VERSION
                else RtrError.INTERNAL_ERROR
            )
        echo = pdu[:ECHO]
        words = text.encode()
        self._out += HEADER.pack(
            self.version, RtrPdu.ERROR_REPORT, code, 16 + len(echo) + len(words)
        )
        self._out += len(echo).to_bytes(4, "big") + echo
        self._out += len(words).to_bytes(4, "big") + words

    def _fail(self, fault: _FaultError) -> None:
        self._report(fault.code, fault.pdu, str(fault))
        self.cache.forget_session()
        fatal = self.version >= 2 and fault.code not in NON_FATAL
        self._close(str(fault), flush=fault.flush or fatal)

    def _close(self, reason: str, *, flush: bool = False, again: bool = False) -> None:
        if self._open:
            self._open = False
            self._roas.abort(self.cache.source)
            self._aspas.abort(self.cache.source)
        self.state = State.CLOSED
        self._events.append(Closed(reason, flush, again))

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events
