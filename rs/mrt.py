"""MRT files: open, decompress, read.

In: a path. Out: records, RIB entries, BGP messages and a summary as Python data, and a RIB file's
routes as a `Table` of the fast path. Compression is told by the file's first octets, not by its
name. Files are streamed: memory is bounded by the largest record, not by the file.

By default a damaged or cut-off file gives what can be had of it, and says in `warnings` what is
missing; with `tolerant=False` the first fault is an `MrtError`.

RFC 6396 (format), RFC 8050 (ADD-PATH). Framing and counting are in `_fastpath.mrt` and `mrtscan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from rs._fastpath.mrt import PEER_OUT_OF_RANGE, STATUS_TEXT, Framer, parse_bgp4mp, parse_rib
from rs._fastpath.mrtscan import Scan
from rs._fastpath.mrttable import Table
from rs.decompress import Decompressed
from rs.errors import MrtError
from rs.iana import Family

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike
    from types import TracebackType
    from typing import BinaryIO

__all__ = [
    "Event",
    "Message",
    "MrtFile",
    "PeerInfo",
    "Record",
    "RibEntry",
    "Summary",
    "Table",
    "load_table",
    "open_mrt",
]

MRT_HEADER_LEN = 12
MAX_RECORD_LEN = 1 << 26
"""A record that claims more is damage; equals MRT_MAX_RECORD of mrt.pxd."""
MAX_WARNINGS = 8
"""Faults described one by one; further ones are counted."""

TYPE_NAMES = {
    11: "OSPFv2",
    12: "TABLE_DUMP",
    13: "TABLE_DUMP_V2",
    16: "BGP4MP",
    17: "BGP4MP_ET",
    32: "ISIS",
    33: "ISIS_ET",
    48: "OSPFv3",
    49: "OSPFv3_ET",
}
"""MRT types (RFC 6396 4)."""

_V2_NAMES = {
    1: "PEER_INDEX_TABLE",
    2: "RIB_IPV4_UNICAST",
    3: "RIB_IPV4_MULTICAST",
    4: "RIB_IPV6_UNICAST",
    5: "RIB_IPV6_MULTICAST",
    6: "RIB_GENERIC",
    7: "GEO_PEER_TABLE",
    8: "RIB_IPV4_UNICAST_ADDPATH",
    9: "RIB_IPV4_MULTICAST_ADDPATH",
    10: "RIB_IPV6_UNICAST_ADDPATH",
    11: "RIB_IPV6_MULTICAST_ADDPATH",
    12: "RIB_GENERIC_ADDPATH",
}
_BGP4MP_NAMES = {
    0: "STATE_CHANGE",
    1: "MESSAGE",
    4: "MESSAGE_AS4",
    5: "STATE_CHANGE_AS4",
    6: "MESSAGE_LOCAL",
    7: "MESSAGE_AS4_LOCAL",
    8: "MESSAGE_ADDPATH",
    9: "MESSAGE_AS4_ADDPATH",
    10: "MESSAGE_LOCAL_ADDPATH",
    11: "MESSAGE_AS4_LOCAL_ADDPATH",
}
SUBTYPE_NAMES = {
    12: {1: "AFI_IPv4", 2: "AFI_IPv6"},
    13: _V2_NAMES,
    16: _BGP4MP_NAMES,
    17: _BGP4MP_NAMES,
}
"""MRT subtypes by type (RFC 6396 4, RFC 6397, RFC 8050 6)."""


PeerRow: TypeAlias = tuple[
    int, bytes, int, int, bytes, tuple[int, int], tuple[int, int], tuple[int, int],
    int, int, int, int, bool, int,
]  # fmt: skip
"""What Scan knows of a peer: ASN, address, router id, local ASN, local address; entries, announced
and withdrawn by family; messages, UPDATEs, messages sent, state changes; whether there are 4-octet
AS numbers, and the families with path identifiers as a bit mask."""


def kind_name(kind: int, subtype: int) -> str:
    """Return the name of an MRT type and subtype, with numbers where there is none."""
    name = TYPE_NAMES.get(kind, f"type {kind}")
    return f"{name}/{SUBTYPE_NAMES.get(kind, {}).get(subtype, f'subtype {subtype}')}"


# --------------------------------------------------------------------------------- what is read


class Record(NamedTuple):
    """One MRT record as it stands in the file."""

    number: int
    """1 for the file's first record."""
    offset: int
    """Of the MRT header, in octets of the uncompressed data."""
    time: int
    """Seconds since 1970."""
    usec: int
    """Microseconds; 0 unless the type is one of the *_ET ones."""
    type: int
    subtype: int
    body: bytes
    """What follows the header, and the microseconds of the *_ET types."""


class RibEntry(NamedTuple):
    """One route of a RIB file."""

    prefix: str
    peer: int
    """Index in the summary's `peers`."""
    originated: int
    """Seconds since 1970."""
    path_id: int | None
    """None where the record has no path identifiers."""
    attrs: dict[str, Any] | None
    """The attribute set as Python data; None when no route can have it (RFC 7606)."""


class Message(NamedTuple):
    """One BGP message of a BGP4MP file that the peer had sent."""

    time: float
    """Seconds since 1970."""
    peer_asn: int
    local_asn: int
    peer_ip: str
    local_ip: str
    as4: bool
    """Whether AS_PATH and AGGREGATOR of the message have 4-octet AS numbers."""
    raw: bytes
    """The whole message, from its marker on."""


class Event(NamedTuple):
    """One BGP4MP record, whatever its subtype."""

    time: float
    """Seconds since 1970."""
    peer_asn: int
    local_asn: int
    peer_ip: str
    local_ip: str
    as4: bool
    add_path: bool
    """Whether the message's NLRI carry path identifiers (RFC 8050)."""
    sent: bool
    """Whether the collector sent the message (the *_LOCAL subtypes)."""
    raw: bytes | None
    """The BGP message; None in a state change."""
    old_state: int
    """RFC 4271 8.2.2 from 1 = Idle to 6 = Established; 0 in a message."""
    new_state: int


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One peer of a file and how much it brought. Counts by family, families with none left out."""

    index: int
    """Position in the file: the peer index of its (first) PEER_INDEX_TABLE, if it has one."""
    address: str
    asn: int
    router_id: str | None
    """From the PEER_INDEX_TABLE or a recorded OPEN; None where the file does not say."""
    local_address: str | None
    local_asn: int | None
    entries: dict[Family, int]
    """RIB entries."""
    announced: dict[Family, int]
    """NLRI announced in recorded UPDATEs."""
    withdrawn: dict[Family, int]
    messages: int
    """BGP messages recorded from this peer, of any type."""
    updates: int
    sent: int
    """Messages recorded that the collector sent to this peer."""
    state_changes: int
    as4: bool
    """Whether some recorded message has 4-octet AS numbers."""
    add_path: tuple[Family, ...]
    """Families of which some NLRI has a path identifier."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Families of which there is anything."""
        seen = self.entries.keys() | self.announced.keys() | self.withdrawn.keys()
        return tuple(sorted(seen))


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds, after reading all of it."""

    path: str
    compression: str
    """none, gzip, bzip2, xz or zstd."""
    records: int
    kinds: dict[str, int]
    """Records by type and subtype, such as `TABLE_DUMP_V2/RIB_IPV4_UNICAST`."""
    skipped: int
    """Whole records of types or families that are not read."""
    prefixes: dict[Family, int]
    """RIB records: the prefixes of a RIB file, each once."""
    routes: dict[Family, int]
    """RIB entries."""
    announced: dict[Family, int]
    """NLRI announced in recorded UPDATEs."""
    withdrawn: dict[Family, int]
    other_nlri: int
    """MP_REACH_NLRI and MP_UNREACH_NLRI of families without a table here."""
    peers: tuple[PeerInfo, ...]
    view: str
    """View name of the PEER_INDEX_TABLE."""
    collector: str | None
    """Collector BGP ID of the PEER_INDEX_TABLE."""
    first_time: float | None
    """Earliest and latest record, seconds since 1970; None in an empty file."""
    last_time: float | None
    truncated: bool
    """The file ends within a record or within its compressed data."""
    lost_bytes: int
    """Octets of an incomplete last record."""
    damaged: int
    """Records that are whole but make no sense."""
    malformed: int
    """UPDATEs that cannot be read to their end: recorded faithfully, but bad BGP."""
    warnings: tuple[str, ...]

    @property
    def is_rib(self) -> bool:
        """Whether there are RIB entries."""
        return bool(self.routes)


# ------------------------------------------------------------------------------------- MrtFile


class MrtFile:
    """An MRT file. Every method reads it anew from the start.

    `warnings` is about the last complete reading: what was cut off, damaged or left out.
    """

    def __init__(self, path: str | PathLike[str], *, tolerant: bool = True) -> None:
        """Open `path`; MrtError names what is wrong with it."""
        self.path = str(path)
        self.tolerant = tolerant
        self.warnings: list[str] = []
        try:
            self._file: BinaryIO = Path(path).open("rb")  # noqa: SIM115 - closed by close()
        except OSError as e:
            raise MrtError(f"{self.path}: {e.strerror or e}") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; no reading can go on after this."""
        self._file.close()

    # ---- readings

    def records(self) -> Iterator[Record]:
        """Yield every whole record, of whatever type."""
        framer = Framer()
        stream = self._start()
        for piece in self._pieces(stream, framer):
            framer.feed(piece)
            while (found := framer.read()) is not None:
                if isinstance(found, int):
                    self._fault(framer.number + 1, framer.offset, found)
                    return
                yield Record(*found)
        self._finish(stream, framer)

    def rib_entries(self) -> Iterator[RibEntry]:
        """Yield the routes of a RIB file in its order. Made for tests and tools, not for speed."""
        scan = Scan()
        table = Table()  # for its attribute decoding
        damaged = 0
        for record in self.records():
            if record.type == 13 and record.subtype == 1:
                if status := scan.read_index(record.body):
                    damaged += self._fault(record.number, record.offset, status)
                continue
            found = parse_rib(record.type, record.subtype, record.body)
            if isinstance(found, int):
                if found in STATUS_TEXT:
                    damaged += self._fault(record.number, record.offset, found)
                continue
            family, nlri, rows, status = found
            prefix = _prefix(family, nlri)
            for who, originated, path_id, block in rows:
                peer = scan.mapped(who) if isinstance(who, int) else scan.peer_number(*who)
                if peer < 0:
                    status = PEER_OUT_OF_RANGE
                    break
                attrs = table.describe_block(family, nlri, record.type == 13, block)
                yield RibEntry(prefix, peer, originated, path_id, attrs)
            if status:
                damaged += self._fault(record.number, record.offset, status)
        self._count_further(damaged)

    def events(self) -> Iterator[Event]:
        """Yield every BGP4MP record: messages of both directions, and state changes."""
        damaged = 0
        for record in self.records():
            found = parse_bgp4mp(record.type, record.subtype, record.body)
            if isinstance(found, int):
                if found in STATUS_TEXT:
                    damaged += self._fault(record.number, record.offset, found)
                continue
            asn, local_asn, peer, local, as4, add_path, sent, raw, old, new = found
            yield Event(
                record.time + record.usec / 1e6,
                asn,
                local_asn,
                str(ip_address(peer)),
                str(ip_address(local)),
                as4,
                add_path,
                sent,
                raw,
                old,
                new,
            )
        self._count_further(damaged)

    def messages(self) -> Iterator[Message]:
        """Yield the BGP messages that the peers had sent, in the file's order."""
        for e in self.events():
            if e.raw is not None and not e.sent:
                yield Message(e.time, e.peer_asn, e.local_asn, e.peer_ip, e.local_ip, e.as4, e.raw)

    def summary(self) -> Summary:
        """Read the whole file and count what is in it."""
        return self._scan(None)

    def load_table(self, peer: int | None = None) -> Table:
        """Read a RIB file into a table; `peer` keeps the routes of this peer index alone.

        The table's `summary` is about the whole file. MrtError where there is no RIB entry.
        """
        table = self.read_all(peer)
        summary = table.summary
        if not summary.is_rib:
            raise MrtError(f"{self.path}: holds no RIB entry; is it a file of updates?")
        if peer is not None and not 0 <= peer < len(summary.peers):
            raise MrtError(
                f"{self.path}: has no peer {peer}; they are numbered 0 to {len(summary.peers) - 1}"
            )
        return table

    def read_all(self, peer: int | None = None) -> Table:
        """Read a file of any kind: its summary, and its RIB entries where it has any."""
        table = Table(only=-1 if peer is None else peer)
        table.summary = self._scan(table)
        return table

    # ---- common parts

    def _start(self) -> Decompressed:
        self.warnings = []
        self._file.seek(0)
        return Decompressed(self._file)

    def _pieces(self, stream: Decompressed, framer: Framer) -> Iterator[bytes]:
        """Yield the decompressed octets; refuse a file that does not begin like MRT."""
        head = b""
        try:
            for piece in stream:
                if not framer.number and len(head) < MRT_HEADER_LEN:
                    head += piece[:MRT_HEADER_LEN]
                    self._check_head(head)
                yield piece
        except OSError as e:
            raise MrtError(f"{self.path}: {e.strerror or e}") from e

    def _check_head(self, head: bytes) -> None:
        """Refuse what is no MRT header; MRT has no magic number, so look at type and length."""
        if len(head) >= MRT_HEADER_LEN:
            kind = int.from_bytes(head[4:6])
            if kind > max(TYPE_NAMES) or int.from_bytes(head[8:12]) > MAX_RECORD_LEN:
                raise MrtError(f"{self.path}: not an MRT file: it begins {head[:12]!r}")

    def _finish(self, stream: Decompressed, framer: Framer) -> int:
        """Say what is missing at the end; return the octets of an incomplete record."""
        lost = framer.pending
        where = f"record {framer.number + 1} at offset {framer.offset:,}"
        if stream.fault:
            self._warn(f"{stream.fault}; {lost:,} octets of {where} are lost")
        elif lost:
            self._warn(f"the file ends within {where}: {lost:,} octets are lost")
        return lost

    def _fault(self, number: int, offset: int, status: int) -> int:
        """Note a damaged record. Returns 1: how many there were."""
        self._warn(f"record {number} at offset {offset:,}: {STATUS_TEXT[status]}")
        return 1

    def _warn(self, text: str) -> None:
        if not self.tolerant:
            raise MrtError(f"{self.path}: {text}")
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)

    def _count_further(self, damaged: int) -> None:
        if damaged > MAX_WARNINGS:
            self.warnings.append(f"{damaged:,} damaged records in all")

    def _scan(self, table: Table | None) -> Summary:
        scan = Scan(table)
        framer = scan.framer
        stream = self._start()
        for piece in self._pieces(stream, framer):
            more = scan.feed(piece)
            if scan.n_faults and not self.tolerant:
                self._fault(*scan.fault_list()[0])
            if not more:
                break
        for fault in scan.fault_list():
            self._fault(*fault)
        self._count_further(scan.n_faults)
        lost = self._finish(stream, framer)
        return self._summary(scan, stream, lost)

    def _summary(self, scan: Scan, stream: Decompressed, lost: int) -> Summary:
        prefixes, routes, other = scan.totals()
        peers = tuple(_peer_info(i, row) for i, row in enumerate(scan.peer_list()))
        kinds = {kind_name(t, s): n for t, s, n in scan.kind_counts()}
        if scan.n_other:
            kinds["other"] = scan.n_other
        empty = not scan.framer.number
        return Summary(
            path=self.path,
            compression=stream.compression,
            records=scan.framer.number,
            kinds=kinds,
            skipped=scan.n_skipped,
            prefixes=_by_family(prefixes),
            routes=_by_family(routes),
            announced=_add_up(p.announced for p in peers),
            withdrawn=_add_up(p.withdrawn for p in peers),
            other_nlri=other,
            peers=peers,
            view=scan.view,
            collector=str(IPv4Address(scan.collector)) if scan.indexed else None,
            first_time=None if empty else scan.first_usec / 1e6,
            last_time=None if empty else scan.last_usec / 1e6,
            truncated=bool(stream.fault or lost),
            lost_bytes=lost,
            damaged=scan.n_faults,
            malformed=scan.n_malformed,
            warnings=tuple(self.warnings),
        )


def _by_family(counts: tuple[int, int]) -> dict[Family, int]:
    return {family: counts[family] for family in Family if counts[family]}


def _add_up(counts: Iterable[dict[Family, int]]) -> dict[Family, int]:
    total = [0, 0]
    for by_family in counts:
        for family, n in by_family.items():
            total[family] += n
    return _by_family((total[0], total[1]))


def _prefix(family: int, nlri: bytes) -> str:
    width = 4 if family == Family.IPV4_UNICAST else 16
    return f"{ip_address(nlri[1:].ljust(width, bytes(1)))}/{nlri[0]}"


def _peer_info(index: int, row: PeerRow) -> PeerInfo:
    (
        asn, address, router_id, local_asn, local, entries, announced, withdrawn,
        messages, updates, sent, state_changes, as4, add_path,
    ) = row  # fmt: skip
    return PeerInfo(
        index=index,
        address=str(ip_address(address)),
        asn=asn,
        router_id=str(IPv4Address(router_id)) if router_id else None,
        local_address=str(ip_address(local)) if local else None,
        local_asn=local_asn or None,
        entries=_by_family(entries),
        announced=_by_family(announced),
        withdrawn=_by_family(withdrawn),
        messages=messages,
        updates=updates,
        sent=sent,
        state_changes=state_changes,
        as4=as4,
        add_path=tuple(f for f in Family if add_path >> f & 1),
    )


def open_mrt(path: str | PathLike[str], *, tolerant: bool = True) -> MrtFile:
    """Open an MRT file, compressed or not; MrtError when it cannot be opened."""
    return MrtFile(path, tolerant=tolerant)


def load_table(
    path: str | PathLike[str], peer: int | None = None, *, tolerant: bool = True
) -> Table:
    """Read the routes of a RIB file; `peer` keeps those of one peer index.

    MrtError where there is none, and with `tolerant=False` at the first fault.
    """
    with open_mrt(path, tolerant=tolerant) as file:
        return file.load_table(peer)
