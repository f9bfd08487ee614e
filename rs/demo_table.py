"""The routing table of `rs demo`: what simulated members bring, and what each of them is due.

In: numbers of members and prefixes, and a seed. Out: prefixes, every member's UPDATEs, and who is
due what. Equal arguments give equal tables. The mix is that of a large exchange: prefix lengths as
in the global table, a tenth of IPv6, few members with most of the routes, about seven prefixes an
attribute set, a third of the routes from more than one member, and a sixth of them closed to
somebody by a community (RFC 7947 2.3.2).

AS numbers are from the private ranges (RFC 6996) and next hops from those for benchmarks and
documentation (RFC 2544, 3849), so that nothing here can be taken for somebody's.
"""

from __future__ import annotations

import random
import struct
from bisect import bisect
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

RS_ASN = 64500
MEMBER_ASN = 64512
"""AS number of the first member; two octets, so that `0:AS` can name it."""
MAX_MEMBERS = 1000
MAX_PREFIXES = 1_000_000
FAR_ASN = 4_200_000_000
"""AS numbers of networks behind the members begin here."""

_LENGTHS = {24: 590, 23: 95, 22: 120, 21: 55, 20: 50, 19: 33, 18: 17, 17: 8, 16: 10}
"""IPv4 prefix lengths by frequency, as in the global table."""
_LENGTHS6 = {48: 470, 44: 110, 40: 100, 36: 50, 32: 170, 46: 30, 47: 30, 33: 20, 29: 20}
_SPECIAL = """10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/16
    192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"""
_AVOID = [
    (int(net.network_address), int(net.broadcast_address))
    for net in map(ip_network, _SPECIAL.split())
]
_MAX_BODY = 4096 - 19
_END_OF_RIB = (b"\0\0\0\0", b"\0\0\0\x06\x80\x0f\x03\0\x02\x01")
"""IPv4 and IPv6 (RFC 4724 2)."""
_PER_SET = 7
"""Prefixes that share an attribute set, on average."""


class Member(NamedTuple):
    """One simulated member."""

    number: int

    @property
    def asn(self) -> int:
        """Its AS number."""
        return MEMBER_ASN + self.number

    @property
    def address(self) -> str:
        """Where it connects from: every address of 127/8 is this machine."""
        return f"127.64.{self.number // 250}.{self.number % 250 + 1}"

    @property
    def next_hop(self) -> IPv4Address:
        """Its address on the exchange that is not there."""
        return IPv4Address("198.18.0.1") + self.number

    @property
    def name(self) -> str:
        """Its description in the configuration."""
        names, kinds = _NAMES.split(), _KINDS.split()
        return f"{names[self.number % len(names)]} {kinds[self.number // len(names) % len(kinds)]}"


_NAMES = """Alder Birch Cedar Dogwood Elm Fir Ginkgo Hazel Ivy Juniper Kapok Larch Maple Nutmeg Oak
    Pine Quince Rowan Spruce Teak Umbrella Viburnum Willow Yew Zelkova"""
_KINDS = """Net Telecom Fiber Hosting Transit Wireless Cloud Cable Research Mobile Broadband Carrier
    Media Games Voice Video Data Access Metro Lambda Peering Backbone Optics Campus City Labs
    Networks Internet Online Digital Systems Services Rural Village Island Harbor Valley Coast
    River Mountain"""


class Offer(NamedTuple):
    """A member's route for the prefixes of a block."""

    member: int
    as_path: tuple[int, ...]
    communities: tuple[int, ...]
    closed_to: frozenset[int]
    """Members that must not get it."""


class Block(NamedTuple):
    """Prefixes `first` to `first + size - 1` and who offers them."""

    first: int
    size: int
    offers: tuple[Offer, ...]


@dataclass
class DemoTable:
    """A generated table."""

    n_members: int
    prefixes4: bytes
    """4 + 1 octets a prefix: address, length."""
    prefixes6: bytes
    """16 + 1 octets a prefix; they follow the IPv4 ones in the numbering."""
    blocks: list[Block]
    by_member: list[list[tuple[Block, Offer]]] = field(init=False, repr=False)
    """What each member brings."""

    def __post_init__(self) -> None:
        self.by_member = [[] for _ in range(self.n_members)]
        for block in self.blocks:
            for offer in block.offers:
                self.by_member[offer.member].append((block, offer))

    def __len__(self) -> int:
        return len(self.prefixes4) // 5 + len(self.prefixes6) // 17

    @property
    def n4(self) -> int:
        """Number of IPv4 prefixes."""
        return len(self.prefixes4) // 5

    @property
    def offered(self) -> int:
        """Routes that the members bring, all together."""
        return sum(block.size * len(block.offers) for block in self.blocks)

    def prefix(self, at: int) -> str:
        """Return a prefix as text."""
        if at < self.n4:
            octets = self.prefixes4[5 * at : 5 * at + 5]
            return f"{IPv4Address(octets[:4])}/{octets[4]}"
        at = 17 * (at - self.n4)
        octets = self.prefixes6[at : at + 17]
        return f"{IPv6Address(octets[:16])}/{octets[16]}"

    def nlri(self, at: int) -> bytes:
        """Return a prefix as it stands in an UPDATE (RFC 4271 4.3)."""
        if at < self.n4:
            octets = self.prefixes4[5 * at : 5 * at + 5]
        else:
            at = 17 * (at - self.n4)
            octets = self.prefixes6[at : at + 17]
        return octets[-1:] + octets[: (octets[-1] + 7) // 8]

    def updates(self, member: int) -> bytes:
        """Return everything that a member brings, with an End-of-RIB per family."""
        out = [self.announce(block, offer) for block, offer in self.by_member[member]]
        return b"".join([*out, *map(_message, _END_OF_RIB)])

    def announce(self, block: Block, offer: Offer, *, only: int = -1, prepend: int = 0) -> bytes:
        """Return UPDATEs that announce a block, or of it the prefix number `only`.

        `prepend` puts the member's AS in front so many times more.
        """
        path = offer.as_path[:1] * prepend + offer.as_path
        hop = Member(offer.member).next_hop
        attrs = b"\x40\x01\x01\0" + struct.pack(
            f">5B{len(path)}I", 0x40, 2, 4 * len(path) + 2, 2, len(path), *path
        )
        tail = b""
        if offer.communities:
            n = len(offer.communities)
            tail = struct.pack(f">3B{n}I", 0xC0, 8, 4 * n, *offer.communities)
        span = range(block.first, block.first + block.size) if only < 0 else range(only, only + 1)
        if block.first < self.n4:
            attrs += b"\x40\x03\x04" + hop.packed + tail
            head = struct.pack(">HH", 0, len(attrs)) + attrs
            return b"".join(_message(head + nlri) for nlri in self._packed(span, len(head)))
        reach = b"\0\x02\x01\x10" + bytes.fromhex("20010db8" + "00" * 8) + hop.packed + b"\0"
        out = []
        for nlri in self._packed(span, len(attrs) + len(tail) + len(reach) + 8):
            mp_reach = struct.pack(">2BH", 0x90, 14, len(reach) + len(nlri)) + reach + nlri
            head = mp_reach + attrs + tail
            out.append(_message(struct.pack(">HH", 0, len(head)) + head))
        return b"".join(out)

    def withdraw(self, at: int) -> bytes:
        """Return an UPDATE that withdraws a prefix."""
        nlri = self.nlri(at)
        if at < self.n4:
            return _message(struct.pack(">H", len(nlri)) + nlri + b"\0\0")
        attr = struct.pack(">2BH", 0x90, 15, len(nlri) + 3) + b"\0\x02\x01" + nlri
        return _message(struct.pack(">HH", 0, len(attr)) + attr)

    def _packed(self, span: range, taken: int) -> Iterator[bytes]:
        """NLRI of a span in pieces that fit a message of which `taken` octets are used."""
        pieces: list[bytes] = []
        size = taken
        for at in span:
            nlri = self.nlri(at)
            if size + len(nlri) > _MAX_BODY:
                yield b"".join(pieces)
                pieces, size = [], taken
            pieces.append(nlri)
            size += len(nlri)
        yield b"".join(pieces)

    def due(self) -> tuple[list[bytes], list[bytes]]:
        """Return two bitmaps a member, lowest bit first: what it is due, and what is its own.

        It is due a prefix that another member brings and does not keep from it. Whose path that is
        does not matter here. *Own* is what nobody else brings.
        """
        size = (len(self) + 7) // 8
        everything = bytearray(b"\xff" * size)
        for at in range(len(self), 8 * size):
            everything[at >> 3] &= ~(1 << (at & 7))
        due = [bytearray(everything) for _ in range(self.n_members)]
        own = [bytearray(size) for _ in range(self.n_members)]
        for block in self.blocks:
            sources = {offer.member for offer in block.offers}
            for member in sources.union(*(offer.closed_to for offer in block.offers)):
                if any(o.member != member and member not in o.closed_to for o in block.offers):
                    continue
                _set_bits(due[member], block.first, block.size, on=False)
                if sources == {member}:
                    _set_bits(own[member], block.first, block.size, on=True)
        return [bytes(bits) for bits in due], [bytes(bits) for bits in own]

    def examples(self, n: int, seed: int = 0) -> list[str]:
        """Return prefixes worth a look: with several offers, and with members left out."""
        rng = random.Random(seed)  # noqa: S311 - a simulation
        many = [b for b in self.blocks if len(b.offers) > 1]
        closed = [b for b in many if any(o.closed_to for o in b.offers)]
        chosen = rng.sample(many, min(n, len(many))) if len(closed) < n else rng.sample(closed, n)
        return [self.prefix(block.first) for block in chosen]


def _set_bits(bits: bytearray, first: int, count: int, *, on: bool) -> None:
    for at in range(first, first + count):
        if on:
            bits[at >> 3] |= 1 << (at & 7)
        else:
            bits[at >> 3] &= ~(1 << (at & 7))


def _message(body: bytes) -> bytes:
    """Return an UPDATE with its header (RFC 4271 4.1)."""
    return b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body


class _Draw:
    """Draws from a distribution given as value -> weight."""

    def __init__(self, rng: random.Random, weights: dict[int, float]) -> None:
        self._rng = rng
        self._values = list(weights)
        self._sums = list(accumulate(weights.values()))

    def __call__(self) -> int:
        at = bisect(self._sums, self._rng.random() * self._sums[-1])
        return self._values[min(at, len(self._values) - 1)]


def _prefixes4(rng: random.Random, count: int) -> bytes:
    """Make prefixes that do not overlap, in rising order from 1.0.0.0; MAX_PREFIXES fit."""
    draw = _Draw(rng, dict(_LENGTHS))
    out = bytearray()
    at = 1 << 24
    for _ in range(count):
        length = draw()
        size = 1 << (32 - length)
        at = (at + size - 1) & -size
        for first, last in _AVOID:
            if at <= last and at + size > first:
                at = (last + size) & -size
        if at + size > 0xE0000000:
            raise ValueError(f"{count} prefixes do not fit into IPv4")
        out += struct.pack(">IB", at, length)
        at += size
    return bytes(out)


def _prefixes6(rng: random.Random, count: int) -> bytes:
    """Do the same for IPv6, from 2a00:: on."""
    draw = _Draw(rng, dict(_LENGTHS6))
    out = bytearray()
    at = 0x2A00 << 112
    for _ in range(count):
        length = draw()
        size = 1 << (128 - length)
        at = (at + size - 1) & -size
        out += at.to_bytes(16) + bytes((length,))
        at += size
    return bytes(out)


def generate(members: int, prefixes: int, seed: int = 1) -> DemoTable:
    """Generate a table; takes about 2 s for 200,000 prefixes.

    ValueError for fewer than 2 or more than MAX_MEMBERS members, or more than MAX_PREFIXES.
    """
    if not 2 <= members <= MAX_MEMBERS:
        raise ValueError(f"{members} members: 2 to {MAX_MEMBERS} are possible")
    if not 1 <= prefixes <= MAX_PREFIXES:
        raise ValueError(f"{prefixes} prefixes: 1 to {MAX_PREFIXES} are possible")
    rng = random.Random(seed)  # noqa: S311 - a simulation
    n6 = prefixes // 10
    prefixes4, prefixes6 = _prefixes4(rng, prefixes - n6), _prefixes6(rng, n6)
    blocks: list[Block] = []
    # A few members bring most of the routes, as transit networks do at an exchange.
    brings = _Draw(rng, {m: 1 / (m + 1.5) for m in range(members)})
    for first, last in ((0, prefixes - n6), (prefixes - n6, prefixes)):
        at = first
        while at < last:
            # Networks announce their prefixes in a few sets of attributes.
            origin = FAR_ASN + rng.randrange(90_000)
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                count = min(1 + int(rng.expovariate(1 / (_PER_SET - 0.5))), last - at)
                if count:
                    blocks.append(Block(at, count, _offers(rng, brings, members, origin)))
                    at += count
    return DemoTable(members, prefixes4, prefixes6, blocks)


def _offers(rng: random.Random, brings: _Draw, members: int, origin: int) -> tuple[Offer, ...]:
    sources = {brings()}
    while rng.random() < 0.3 and len(sources) < min(members, 4):
        sources.add(brings())
    prepends = rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 2, 3))
    return tuple(
        _offer(rng, members, member, (origin,) * (1 + prepends)) for member in sorted(sources)
    )


def _offer(rng: random.Random, members: int, member: int, tail: tuple[int, ...]) -> Offer:
    asn = MEMBER_ASN + member
    between = tuple(
        FAR_ASN + 90_000 + member * 40 + rng.randrange(40)
        for _ in range(rng.choice((0, 1, 1, 2, 3)))
    )
    # What members tell themselves and each other: where a route was learned, of which kind.
    communities = {asn << 16 | rng.randrange(100, 130) for _ in range(rng.randrange(4))}
    closed: set[int] = set()
    draw = rng.random()
    if draw < 0.15:
        closed = {rng.randrange(members) for _ in range(rng.choice((1, 1, 2)))} - {member}
        communities |= {MEMBER_ASN + m for m in closed}
    elif draw < 0.17:
        only = rng.randrange(members)
        closed = set(range(members)) - {only}
        communities |= {RS_ASN, RS_ASN << 16 | (MEMBER_ASN + only)}
    return Offer(member, (asn, *between, *tail), tuple(sorted(communities)), frozenset(closed))
