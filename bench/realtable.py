"""Real tables to load a daemon with: the peers of an MRT file, each feeder with its own next hop.

In: a RIB file with full feeds. Out: the same interface as `tables.Tables`: UPDATEs per feeder, the
universe of prefixes, and what each member is due. Attribute sets, and which prefixes share one, are
those of the file. Left out is what daemons treat differently, or what means somebody here by
accident: AS_SETs (RFC 9774), prefixes outside of what may be routed, AS paths with AS numbers of
the test bed, communities that would keep a route from one of its members. So are prefixes that only
some of the peers have.

Feeder f plays the file's peer f modulo `peers`, with its own AS in front unless it is iBGP. Whose
route a member must hold is said only where the AS paths differ in length: after that, daemons break
ties by rules of their own.
"""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.tables import (
    MEMBER_ASN,
    NEXT_HOP6,
    RS_ASN,
    TableSpec,
    member_address,
    member_asn,
    message,
)
from rs._fastpath.play import Packer
from rs._fastpath.recode import Rewriter
from rs.iana import Family
from rs.mrt import load_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs._fastpath.mrttable import Table

DATA = Path(os.environ.get("RS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
FULL_TABLE = DATA / "full-table.mrt.gz"


OURS = frozenset((*range(MEMBER_ASN, MEMBER_ASN + 3000), RS_ASN))
"""AS numbers of the test bed; a real path or community that has one of them means somebody else."""


class Update(NamedTuple):
    """One UPDATE in parts."""

    attrs: bytes
    """Path attributes, MP_REACH_NLRI as it was."""
    prefixes: list[bytes]
    """NLRI as they stand on the wire."""
    family: int
    path_len: int


class RealTables:
    """The full feeds of a RIB file for `spec.members` members, `spec.feeders` of whom bring them.

    `spec.prefixes` is how many IPv4 prefixes of each peer to take, `ipv6` times that the IPv6 ones.
    """

    def __init__(self, spec: TableSpec, path: Path = FULL_TABLE, peers: int = 2) -> None:
        self.spec = spec
        table = load_table(path)
        played = min(peers, spec.feeders)
        index: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        # By peer and family: AS path length by index, 0 where the peer has no route.
        lengths: list[tuple[array[int], array[int]]] = []
        streams = self._in_all([list(self._read(table, peer)) for peer in range(played)])
        for updates in streams:
            lengths.append((array("H"), array("H")))
            for update in updates:
                of, known = index[update.family], lengths[-1][update.family]
                for nlri in update.prefixes:
                    at = of.setdefault(nlri, len(of))
                    if at >= len(known):
                        known.frombytes(bytes(2 * (at + 1 - len(known))))
                    known[at] = update.path_len
        self.n4 = len(index[0])
        self.nlri = [*index[0], *index[1]]
        self.prefixes4 = b"".join(n[1:].ljust(4, b"\0") + n[:1] for n in index[0])
        self.prefixes6 = b"".join(n[1:].ljust(16, b"\0") + n[:1] for n in index[1])
        self._hops = array("I")
        for family in range(2):
            self._hops += self._choose([peer[family] for peer in lengths], len(index[family]))
        ends = message(b"\0\0\0\0") + message(b"\0\0\0\x06\x80\x0f\x03\0\x02\x01")
        self._updates = [
            b"".join(self._encode(update, feeder) for update in streams[feeder % played]) + ends
            for feeder in range(spec.feeders)
        ]

    def __len__(self) -> int:
        return len(self.nlri)

    def _read(self, table: Table, peer: int) -> Iterator[Update]:
        """Cut a peer's UPDATEs into parts, without what is left out."""
        # Next hops and our AS are put in by _encode: feeders of one peer share these parts.
        rewriter = Rewriter(
            ibgp=self.spec.ibgp,
            prepend=0 if self.spec.ibgp else member_asn(0),
            next_hop4=b"\0\0\0\0",
            next_hop6=bytes(16),
        )
        for family in Family:
            # Collectors have a session, and so a peer entry, for each family.
            speaking = [p.index for p in table.summary.peers if p.entries.get(family)]
            left = int(self.spec.prefixes * (self.spec.ipv6 if family else 1))
            packer = Packer(table, speaking[peer], family, rewriter, valid_only=True)
            while left > 0 and (piece := packer.next(1 << 18)):
                at = 0
                while at < len(piece) and left > 0:
                    n = int.from_bytes(piece[at + 16 : at + 18])
                    update = self._cut(piece[at + 19 : at + n], family)
                    at += n
                    if update is not None:
                        del update.prefixes[left:]
                        left -= len(update.prefixes)
                        yield update

    @staticmethod
    def _in_all(streams: list[list[Update]]) -> list[list[Update]]:
        """Leave out prefixes that not every peer has: any one feeder is to be enough."""
        if len(streams) < 2:
            return streams
        common = [
            set.intersection(
                *(
                    {n for u in updates if u.family == family for n in u.prefixes}
                    for updates in streams
                )
            )
            for family in Family
        ]
        return [
            [
                u._replace(prefixes=kept)
                for u in updates
                if (kept := [n for n in u.prefixes if n in common[u.family]])
            ]
            for updates in streams
        ]

    @staticmethod
    def _cut(body: bytes, family: int) -> Update | None:
        """Take an UPDATE apart; None for one that not every member would be given."""
        a_len = int.from_bytes(body[2:4])
        at, end = 4, 4 + a_len
        path_len = 0
        span = body[end:]
        while at < end:
            flags, kind = body[at], body[at + 1]
            wide = flags & 0x10
            size = int.from_bytes(body[at + 2 : at + 4]) if wide else body[at + 2]
            value = at + (4 if wide else 3)
            if kind == 2:
                seg = value
                while seg < value + size:
                    asns = struct.unpack_from(f">{body[seg + 1]}I", body, seg + 2)
                    if body[seg] != 2 or not OURS.isdisjoint(asns[1:]):
                        return None
                    path_len += len(asns)
                    seg += 2 + 4 * len(asns)
            elif kind == 8:
                pairs = struct.unpack_from(f">{size // 2}H", body, value)
                if any(
                    a in (0, RS_ASN) and b in OURS
                    for a, b in zip(pairs[::2], pairs[1::2], strict=True)
                ):
                    return None
            elif kind == 14:
                span = body[value + 5 + body[value + 3] : value + size]
            at = value + size
        prefixes = []
        at = 0
        while at < len(span):
            n = 1 + (span[at] + 7) // 8
            nlri = span[at : at + n]
            first = nlri[1] if n > 1 else 0
            if (0x20 <= first < 0x40) if family else (0 < first < 224 and first != 127):
                prefixes.append(nlri)
            at += n
        return Update(body[4:end], prefixes, family, path_len) if prefixes else None

    def _encode(self, update: Update, feeder: int) -> bytes:
        """Put an UPDATE together for a feeder."""
        attrs = update.attrs
        address = struct.pack(">I", member_address(feeder))
        out = b""
        at = 0
        while at < len(attrs):
            flags, kind = attrs[at], attrs[at + 1]
            wide = flags & 0x10
            size = int.from_bytes(attrs[at + 2 : at + 4]) if wide else attrs[at + 2]
            value = at + (4 if wide else 3)
            if kind == 14:
                hop = NEXT_HOP6.to_bytes(16)[:12] + address
                reach = b"\0\x02\x01\x10" + hop + b"\0" + b"".join(update.prefixes)
                out += b"\x90\x0e" + struct.pack(">H", len(reach)) + reach
            elif kind == 3:
                out += b"\x40\x03\x04" + address
            elif kind == 2 and not self.spec.ibgp:
                path = bytearray(attrs[at : value + size])
                struct.pack_into(">I", path, value - at + 2, member_asn(feeder))
                out += path
            else:
                out += attrs[at : value + size]
            at = value + size
        nlri = b"" if update.family else b"".join(update.prefixes)
        return message(b"\0\0" + struct.pack(">H", len(out)) + out + nlri)

    def _choose(self, lengths: list[array[int]], n: int) -> array[int]:
        """Next hops that all but the feeders must hold, where these are beyond dispute."""
        hops = array("I", bytes(4 * n))
        if self.spec.feeders > len(lengths):
            return hops  # several feeders have the very same routes
        for peer in lengths:
            peer.frombytes(bytes(2 * (n - len(peer))))
        addresses = [member_address(m) for m in range(len(lengths))]
        for at, of in enumerate(zip(*lengths, strict=True)):
            offers = [length for length in of if length]
            best = min(offers)
            if offers.count(best) == 1:
                hops[at] = addresses[of.index(best)]
        return hops

    def updates(self, member: int, *, as4: bool = True) -> bytes:
        """A feeder's whole table; nothing for others."""
        if not as4:
            raise ValueError("real tables have 4-octet AS numbers")
        return self._updates[member] if member < self.spec.feeders else b""

    def due(self, member: int, *, without: frozenset[int] = frozenset()) -> bytes:
        """Bitmap of what a member must hold: everything, as long as any feeder is there."""
        del member
        if without:
            raise ValueError("no feeder of real tables goes away")
        return ((1 << len(self)) - 1).to_bytes((len(self) + 7) // 8, "little")

    covered = due

    def own(self, member: int) -> bytes:
        """Nothing is brought by one member only, as far as receivers go."""
        del member
        return bytes((len(self) + 7) // 8)

    def next_hops(self, member: int, *, without: frozenset[int] = frozenset()) -> bytes:
        """Next hop a member must hold per prefix, native order; 0 = not said."""
        del without
        return bytes(4 * len(self)) if member < self.spec.feeders else self._hops.tobytes()
