"""Routing tables to load a daemon with: synthetic ones from a seed, or the peers of an MRT file.

In: a `TableSpec`. Out: `Tables`: the universe of prefixes, every member's table as UPDATE bytes,
and what each member is due: a bitmap over the universe and, per prefix, whose route it is. The
oracle is deliberately small: an ordered list of offers per block of prefixes, and the first offer
that is neither the member's own nor closed to it wins (RFC 7947 2.3).

A *block* is a run of prefixes with one attribute set per source. Of each block the owner's offer
has the shortest AS path and a second source's is one hop longer, so that every decision process
ranks them alike, whatever its tie-breaks.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST_ADDR = 20 << 24
"""Synthetic IPv4 prefixes are the /24s from 20.0.0.0 on."""
FIRST_ADDR6 = 0x2A00 << 112
"""Synthetic IPv6 prefixes are the /48s from 2a00:: on."""
MEMBER_ASN = 20000
"""AS number of member 0; 16 bits, for `0:AS` communities must be able to name it."""
RS_ASN = 64500
"""AS number of the daemon under test."""
NEXT_HOP6 = 0xFD00_0000_0000_0000_0000_0000_0000_0000
"""IPv6 next hop of a member: its IPv4 address under this prefix."""
MAX_BODY = 4096 - 19


@dataclass(frozen=True)
class TableSpec:
    """What to generate; equal specs give equal bytes.

    `prefixes` is the number in all. `feeders` members bring them, split evenly and in runs of
    `per_set` prefixes per attribute set; with `same` every feeder brings all of them. `overlap` is
    the share of blocks that a second member brings too, `tagged` the share of routes that carry
    `0:X` ("do not announce to X"), `absent` the share of these X who are no members. `ipv6` is the
    share of prefixes that are IPv6. `ibgp` adds LOCAL_PREF.
    """

    members: int
    prefixes: int
    feeders: int = 0
    same: bool = False
    per_set: int = 5
    overlap: float = 0.0
    tagged: float = 0.0
    absent: float = 1 / 3
    ipv6: float = 0.0
    ibgp: bool = False
    seed: int = 1


class Offer(NamedTuple):
    """One source's route for a block of prefixes."""

    source: int
    as_path: tuple[int, ...]
    communities: tuple[int, ...]
    closed_to: int
    """Member that must not get it; -1 = nobody."""


class Block(NamedTuple):
    """Prefixes `first` to `first + count - 1` of the universe and who offers them, best first."""

    first: int
    count: int
    offers: tuple[Offer, ...]


def member_asn(member: int) -> int:
    """AS number of a member."""
    return MEMBER_ASN + member


def member_address(member: int) -> int:
    """IPv4 address of a member as an integer: 10.1.0.1 and on, no last octet 0 or 255."""
    return (10 << 24) + (1 << 16) + (member // 250 << 8) + member % 250 + 1


@dataclass
class Tables:
    """A generated universe: prefixes, blocks, and what follows from them."""

    spec: TableSpec
    prefixes4: bytes
    """4 + 1 octets a prefix: address, length."""
    prefixes6: bytes
    """16 + 1 octets a prefix."""
    blocks: list[Block]
    nlri: list[bytes] = field(repr=False)
    """Wire form of each prefix, IPv4 first."""
    _special: dict[int, list[Block]] = field(default_factory=dict, repr=False)
    _by_source: dict[int, list[tuple[Block, Offer]]] = field(default_factory=dict, repr=False)
    _hops: array[int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.n4 = len(self.prefixes4) // 5
        for block in self.blocks:
            best = block.offers[0]
            for offer in block.offers:
                self._by_source.setdefault(offer.source, []).append((block, offer))
            # Everybody is due the best offer but its source and whom it is closed to.
            for member in {best.source, best.closed_to} - {-1}:
                self._special.setdefault(member, []).append(block)

    @staticmethod
    def _source(block: Block, member: int, without: frozenset[int]) -> int:
        """Source of the offer of `block` that `member` is due, -1 for none."""
        for offer in block.offers:
            if member not in (offer.source, offer.closed_to) and offer.source not in without:
                return offer.source
        return -1

    def __len__(self) -> int:
        return len(self.nlri)

    def offers(self, member: int) -> list[tuple[Block, Offer]]:
        """What a member brings: blocks, and its offer for each."""
        return self._by_source.get(member, [])

    def updates(self, member: int, *, as4: bool = True, only: int = 0, longer: int = 0) -> bytes:
        """Encode a member's table, with one End-of-RIB per family at its end.

        `only` > 0 stops after that many prefixes and leaves the End-of-RIB out; `longer` prepends
        the member's AS that many times more.
        """
        out: list[bytes] = []
        left = only or len(self)
        for block, offer in self._by_source.get(member, ()):
            count = min(block.count, left)
            out += self.encode(
                offer, range(block.first, block.first + count), as4=as4, longer=longer
            )
            left -= count
            if not left:
                break
        if not only:
            out.append(message(b"\0\0\0\0"))
            if self.prefixes6:
                out.append(message(b"\0\0\0\x06\x80\x0f\x03\0\x02\x01"))
        return b"".join(out)

    def changes(self, member: int, count: int, *, as4: bool = True) -> list[tuple[int, bytes]]:
        """Give (prefix, UPDATE) for `count` of a member's best routes, one hop longer than before.

        Only blocks that nobody else brings and that are open to all are taken, so that each change
        is due to every other member.
        """
        out: list[tuple[int, bytes]] = []
        for block, offer in self._by_source.get(member, ()):
            if len(block.offers) > 1 or offer.closed_to >= 0:
                continue
            for at in range(block.first, block.first + block.count):
                out.append((at, b"".join(self.encode(offer, range(at, at + 1), as4=as4, longer=1))))
                if len(out) == count:
                    return out
        return out

    def encode(
        self, offer: Offer, span: range, *, as4: bool = True, longer: int = 0
    ) -> list[bytes]:
        """UPDATEs that announce the prefixes of `span`, all of one family."""
        path = (member_asn(offer.source),) * longer + offer.as_path
        hops = struct.pack(f">{len(path)}{'I' if as4 else 'H'}", *path)
        address = struct.pack(">I", member_address(offer.source))
        head = b"\x40\x01\x01\0\x40\x02" + bytes((len(hops) + 2, 2, len(path))) + hops
        tail = b"\x40\x05\x04\0\0\0\x64" if self.spec.ibgp else b""
        if offer.communities:
            tail += (
                b"\xc0\x08"
                + bytes((4 * len(offer.communities),))
                + struct.pack(f">{len(offer.communities)}I", *offer.communities)
            )
        if span.start < self.n4:
            attrs = head + b"\x40\x03\x04" + address + tail
            return [
                message(b"\0\0" + struct.pack(">H", len(attrs)) + attrs + nlri)
                for nlri in self._pack(span, MAX_BODY - 4 - len(attrs))
            ]
        next_hop = b"\0\x02\x01\x10" + NEXT_HOP6.to_bytes(16)[:12] + address + b"\0"
        out = []
        for nlri in self._pack(span, MAX_BODY - 8 - len(head) - len(tail) - len(next_hop)):
            reach = b"\x90\x0e" + struct.pack(">H", len(next_hop) + len(nlri)) + next_hop + nlri
            attrs = reach + head + tail
            out.append(message(b"\0\0" + struct.pack(">H", len(attrs)) + attrs))
        return out

    def _pack(self, span: range, room: int) -> list[bytes]:
        """Wire form of the prefixes of `span` in pieces of at most `room` octets."""
        whole = b"".join(self.nlri[span.start : span.stop])
        if len(whole) <= room:
            return [whole]
        middle = (span.start + span.stop) // 2
        return self._pack(range(span.start, middle), room) + self._pack(
            range(middle, span.stop), room
        )

    def due(self, member: int, *, without: frozenset[int] = frozenset()) -> bytes:
        """Bitmap of what a member must hold; with `without`, when those members are away."""
        closed = (block for block, source in self._exceptions(member, without) if source < 0)
        return self._bytes(((1 << len(self)) - 1) & ~self._mask(closed))

    def next_hops(self, member: int, *, without: frozenset[int] = frozenset()) -> bytes:
        """Next hop a member must hold per prefix: last four octets, native order; 0 = none."""
        out = array("I", self._best_hops())
        for block, source in self._exceptions(member, without):
            hop = member_address(source) if source >= 0 else 0
            for at in range(block.first, block.first + block.count):
                out[at] = hop
        return out.tobytes()

    def _best_hops(self) -> array[int]:
        if self._hops is None:
            self._hops = array("I", bytes(4 * len(self)))
            for block in self.blocks:
                hop = member_address(block.offers[0].source)
                for at in range(block.first, block.first + block.count):
                    self._hops[at] = hop
        return self._hops

    def _exceptions(self, member: int, without: frozenset[int]) -> Iterator[tuple[Block, int]]:
        """Blocks that may come to a member by another offer than the best, and whose; -1 = none."""
        yield from ((b, self._source(b, member, without)) for b in self._special.get(member, ()))
        for away in without:
            for block, _ in self._by_source.get(away, ()):
                yield block, self._source(block, member, without)

    def own(self, member: int) -> bytes:
        """Bitmap of what only this member brings; who sends it back has no split horizon."""
        return self._bytes(self._only(member))

    def covered(self, member: int) -> bytes:
        """Bitmap of what others bring, tags and best path aside: what the floor delivers."""
        return self._bytes(((1 << len(self)) - 1) & ~self._only(member))

    def _only(self, member: int) -> int:
        return self._mask(
            block
            for block, _ in self._by_source.get(member, ())
            if all(offer.source == member for offer in block.offers)
        )

    def _mask(self, blocks: Iterable[Block]) -> int:
        bits = bytearray(len(self) // 8 + 1)
        for block in blocks:
            for at in range(block.first, block.first + block.count):
                bits[at >> 3] |= 1 << (at & 7)
        return int.from_bytes(bits, "little")

    def _bytes(self, bits: int) -> bytes:
        return bits.to_bytes((len(self) + 7) // 8, "little")


def message(body: bytes) -> bytes:
    """An UPDATE around a body (RFC 4271 4.3)."""
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body


def generate(spec: TableSpec) -> Tables:
    """Make the tables of a spec."""
    rng = Random(spec.seed)
    feeders = spec.feeders or spec.members
    n6 = int(spec.prefixes * spec.ipv6)
    n4 = spec.prefixes - n6
    if n4 > (224 - 20) << 16 or n6 > 1 << 32:
        raise ValueError(f"{spec.prefixes} prefixes do not fit the synthetic ranges")
    prefixes4 = b"".join(struct.pack(">IB", FIRST_ADDR + (i << 8), 24) for i in range(n4))
    nlri = [struct.pack(">I", 24 << 24 | (FIRST_ADDR >> 8) + i) for i in range(n4)]
    addresses6 = [(FIRST_ADDR6 + (i << 80)).to_bytes(16) for i in range(n6)]
    nlri += [b"\x30" + a[:6] for a in addresses6]
    prefixes6 = b"".join(a + b"\x30" for a in addresses6)

    def offer(source: int, extra: int) -> Offer:
        path = (member_asn(source), *(24000 + rng.getrandbits(15) for _ in range(3 + extra)))
        # Of the members own making: none of them means anything to a route server.
        communities = [(30000 + source) << 16 | rng.getrandbits(16) for _ in range(8)]
        closed_to = -1
        if spec.tagged and rng.random() < spec.tagged:
            if rng.random() < spec.absent:
                communities[0] = 19000 + rng.randrange(900)
            else:
                closed_to = rng.randrange(spec.members)
                communities[0] = member_asn(closed_to)
        return Offer(source, path, tuple(communities), closed_to)

    blocks = []
    for low, high in ((0, n4), (n4, n4 + n6)):
        at = low
        while at < high:
            source = (at - low) * feeders // (high - low)
            # A block ends where the next member's share begins.
            end = min(at + spec.per_set, -(-(source + 1) * (high - low) // feeders) + low, high)
            offers = [offer(source, 0)]
            if spec.same:
                offers = [offer(s, s) for s in range(feeders)]
            elif spec.overlap and rng.random() < spec.overlap:
                offers.append(offer((source + 1 + rng.randrange(feeders - 1)) % feeders, 1))
            blocks.append(Block(at, end - at, tuple(offers)))
            at = end
    return Tables(spec, prefixes4, prefixes6, blocks, nlri)
