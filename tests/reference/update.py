"""Decode one UPDATE by the RFCs: routes, attribute dicts, and what RFC 7606 makes of its faults.

In: the body of an UPDATE (what follows the 19-octet header) and what the session has negotiated.
Out: a `Result`. Nothing is kept between calls. RFC 4271 4.3, 5, 6.3 and 9; RFC 4760; RFC 6793;
RFC 7606; RFC 7607; RFC 7911; RFC 8950; RFC 8092; RFC 9234; RFC 7311; RFC 4724 2.

Each attribute is one row of `RULES`: its flags, how its value is read, and which RFC 7606 approach
a fault calls for. Everything else is the frame around it. Faults are collected, and the severest
one met first gives the outcome (RFC 7606 3.h).

Interpretations, where the RFCs leave room:

 1.  A body below 4 octets is RESET 3/1. (The session never passes one on: RFC 4271 6.1 ends it with
     Bad Message Length.)
 2.  Classic fields whose lengths fit are always checked for syntax (RFC 7606 3.i), also where IPv4
     unicast is not negotiated; then their routes are ignored.
 3.  MP_REACH_NLRI and MP_UNREACH_NLRI of a family that is not negotiated are ignored unread: RFC
     7606 5.3 and 7.11 allow "AFI/SAFI disable" for whatever may be wrong with them, and to ignore
     a family is just that. AFI and SAFI must be there to know it: below 3 octets is RESET.
 4.  A second MP_REACH_NLRI or MP_UNREACH_NLRI is RESET whatever its family (RFC 7606 3.g).
 5.  Faults in MP_REACH_NLRI and MP_UNREACH_NLRI are 3/9 Optional Attribute Error (RFC 4760 7), their
     NLRI included; faults in classic NLRI and Withdrawn Routes are 3/10 (RFC 4271 6.3).
 6.  Attributes that end early (RFC 7606 4) are WITHDRAW, subcode 1; but if the one that overruns is
     an MP_REACH_NLRI or MP_UNREACH_NLRI, its NLRI cannot be parsed, so RFC 7606 3.j makes it RESET.
 7.  An unrecognized attribute without the Optional bit is RESET 3/2: RFC 4271 6.3 says so, and RFC
     7606 leaves it as it was. Only such a sender's own session ends.
 8.  The mandatory attributes are required where routes are announced that we use (RFC 4271 5, 6.3
     "An UPDATE message that contains correct path attributes, but no NLRI, SHALL be treated as a
     valid UPDATE message"). LOCAL_PREF may be missing from an internal peer: the decision takes 100.
 9.  "Encodes reachable NLRI" (RFC 7606 5.2) is a non-empty NLRI field, or an MP_REACH_NLRI with NLRI,
     or one of an ignored family. Without any, a WITHDRAW fault becomes RESET with its own subcode.
 10. Wrong Optional/Transitive bits are WITHDRAW (RFC 7606 3.c), except: ATOMIC_AGGREGATE and
     AGGREGATOR are DISCARD (3.f: "any of the cases that specify a session reset" in RFC 4271, which
     flags are), AIGP is DISCARD (RFC 7311 3.2), MP_* are RESET (RFC 7606 5.3). Partial and the low
     four bits are no fault anywhere (RFC 4271 4.3, RFC 7606 3.c names two bits).
 11. LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST from an external peer, AS4_PATH and AS4_AGGREGATOR
     from a 4-octet speaker are DISCARD before anybody looks at their flags or value.
 12. AIGP on an external session is quietly ignored, OK: AIGP_SESSION is "disabled" there by default
     (RFC 7311 3.3). A malformed one on an internal session is DISCARD ("attribute discard", 3.2);
     so is one whose first AIGP TLV is all ones. No length but 11 is right for an AIGP TLV.
 13. NEXT_HOP beside MP_REACH_NLRI without classic NLRI is ignored, well-formed or not (RFC 4760 3).
     Any 4 octets are well-formed (RFC 7606 7.3); whether they are a usable host address is asked
     when the route is imported, where it is kept with its reason.
 14. Duplicates (RFC 7606 3.g) of whatever kind count as DISCARD, subcode 1, and are not looked at.
 15. AS 0 (RFC 7607): AS_PATH WITHDRAW; AGGREGATOR, AS4_PATH, AS4_AGGREGATOR DISCARD. OTC may be any
     number (RFC 9234 6).
 16. Confederation segments in AS_PATH are well-formed here; a neighbor outside a confederation that
     sends them is dealt with at import (same effect as RFC 5065 4: the route is not used). In
     AS4_PATH they are removed without counting as DISCARD (RFC 6793 6).
 17. AS4_AGGREGATOR without a (well-formed) AGGREGATOR is ignored. What RFC 6793 4.2.3 says to
     ignore is no DISCARD. A discarded AGGREGATOR counts as absent.
 18. Merging prepends leading AS numbers to AS4_PATH in the same segment where both are sequences
     and 255 fit, as RFC 4271 5.1.2 does for one's own AS.
 19. Zero length (RFC 7606 4) is a fault of recognized attributes only; an unrecognized optional
     transitive one may be empty.
 20. End-of-RIB is only for a negotiated family; IPv4 unicast may also use the MP_UNREACH_NLRI form.
     Both want nothing else in the message.
 21. err_subcode and err_attr name the first of the severest faults. 0 as subcode: dropped because of
     who sent it (11), for which no subcode exists. err_attr is 0 for faults of the frame.
 22. An AS_PATH of a 2-octet speaker that makes the attributes with 4-octet AS numbers longer than
     65,471 octets (an extended message less what an export may add) could be passed on to nobody:
     WITHDRAW, subcode 5, so that nobody keeps it.
 23. A prefix both withdrawn and announced is in both lists: apply `withdrawn` first (RFC 4271 4.3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from rs.iana import AS_TRANS, AttrFlag, AttrType, Family, SegmentType, UpdateSubcode

from .codec import encode_attributes
from .values import (
    Context,
    Malformed,
    Segments,
    address_text,
    decode_address,
    decode_aggregator,
    decode_aigp,
    decode_as4_aggregator,
    decode_as4_path,
    decode_as_path,
    decode_cluster_list,
    decode_communities,
    decode_empty,
    decode_ext_communities,
    decode_large_communities,
    decode_origin,
    decode_u32,
    is_confed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Attrs = dict[str, Any]
Route = tuple[Family, str, int]

OPTIONAL = int(AttrFlag.OPTIONAL)
TRANSITIVE = int(AttrFlag.TRANSITIVE)
PARTIAL = int(AttrFlag.PARTIAL)
EXTENDED = int(AttrFlag.EXTENDED_LENGTH)
MP_TYPES = (AttrType.MP_REACH_NLRI, AttrType.MP_UNREACH_NLRI)


class Outcome(IntEnum):
    """RFC 7606 2, in rising severity."""

    OK = 0
    DISCARD = 1
    WITHDRAW = 2
    RESET = 3


@dataclass(frozen=True)
class Fault:
    """One fault: the approach it calls for and how a NOTIFICATION would name it."""

    approach: Outcome
    subcode: int
    attr: int = 0
    data: bytes = b""


@dataclass
class Result:
    """What an UPDATE means. Lists are in the order of the message; path id 0 without ADD-PATH."""

    outcome: Outcome = Outcome.OK
    err_subcode: int = 0
    err_attr: int = 0
    err_data: bytes = b""
    """With RESET: the Data field of the NOTIFICATION, where RFC 4271 6.3 says what it holds."""
    discarded: int = 0
    eor: Family | None = None
    withdrawn: list[Route] = field(default_factory=list)
    announced: list[Route] = field(default_factory=list)
    attrs: Attrs | None = None
    """For the announced routes of the NLRI field."""
    mp_attrs: Attrs | None = None
    """For the announced routes of MP_REACH_NLRI."""
    n_classic: int = 0
    """That many of `announced`, from the first on, are of the NLRI field."""
    faults: list[Fault] = field(default_factory=list)
    """Every fault met, in the order of the message."""

    def routes(self) -> list[tuple[Route, Attrs]]:
        """Every announced route with its attributes."""
        classic = [(r, self.attrs) for r in self.announced[: self.n_classic]]
        other = [(r, self.mp_attrs) for r in self.announced[self.n_classic :]]
        return [(route, attrs) for route, attrs in classic + other if attrs is not None]


@dataclass(frozen=True)
class RawAttr:
    """One attribute as it stands in the message."""

    flags: int
    type: int
    value: bytes
    octets: bytes


# --- the attributes, as data --------------------------------------------------------------------


class Scope(Enum):
    """From whom an attribute is meant; from others it is dropped before it is looked at."""

    ANY = "any peer"
    INTERNAL = "internal peers"
    OLD = "2-octet speakers"
    AIGP_SESSION = "sessions with AIGP enabled"


@dataclass(frozen=True)
class Rule:
    """One attribute: its place in the attribute dict, its flags, its value, its faults."""

    key: str
    flags: int
    decode: Callable[[bytes, Context], Any]
    malformed: Outcome
    bad_flags: Outcome
    scope: Scope = Scope.ANY


WITHDRAW, DISCARD = Outcome.WITHDRAW, Outcome.DISCARD
_WELL_KNOWN = TRANSITIVE
_TRANS = OPTIONAL | TRANSITIVE
_NONTRANS = OPTIONAL

RULES: dict[int, Rule] = {
    # RFC 7606 7.1 - 7.10
    AttrType.ORIGIN: Rule("origin", _WELL_KNOWN, decode_origin, WITHDRAW, WITHDRAW),
    AttrType.AS_PATH: Rule("as_path", _WELL_KNOWN, decode_as_path, WITHDRAW, WITHDRAW),
    AttrType.NEXT_HOP: Rule("next_hop", _WELL_KNOWN, decode_address, WITHDRAW, WITHDRAW),
    AttrType.MULTI_EXIT_DISC: Rule("med", _NONTRANS, decode_u32, WITHDRAW, WITHDRAW),
    AttrType.LOCAL_PREF: Rule(
        "local_pref", _WELL_KNOWN, decode_u32, WITHDRAW, WITHDRAW, Scope.INTERNAL
    ),
    AttrType.ATOMIC_AGGREGATE: Rule(
        "atomic_aggregate", _WELL_KNOWN, decode_empty, DISCARD, DISCARD
    ),
    AttrType.AGGREGATOR: Rule("aggregator", _TRANS, decode_aggregator, DISCARD, DISCARD),
    AttrType.COMMUNITIES: Rule("communities", _TRANS, decode_communities, WITHDRAW, WITHDRAW),
    AttrType.ORIGINATOR_ID: Rule(
        "originator_id", _NONTRANS, decode_address, WITHDRAW, WITHDRAW, Scope.INTERNAL
    ),
    AttrType.CLUSTER_LIST: Rule(
        "cluster_list", _NONTRANS, decode_cluster_list, WITHDRAW, WITHDRAW, Scope.INTERNAL
    ),
    # RFC 7606 7.14
    AttrType.EXTENDED_COMMUNITIES: Rule(
        "ext_communities", _TRANS, decode_ext_communities, WITHDRAW, WITHDRAW
    ),
    # RFC 6793 6; flags are not named there, so RFC 7606 3.c
    AttrType.AS4_PATH: Rule("as4_path", _TRANS, decode_as4_path, DISCARD, WITHDRAW, Scope.OLD),
    AttrType.AS4_AGGREGATOR: Rule(
        "as4_aggregator", _TRANS, decode_as4_aggregator, DISCARD, WITHDRAW, Scope.OLD
    ),
    # RFC 7311 3.2
    AttrType.AIGP: Rule("aigp", _NONTRANS, decode_aigp, DISCARD, DISCARD, Scope.AIGP_SESSION),
    # RFC 8092 6
    AttrType.LARGE_COMMUNITY: Rule(
        "large_communities", _TRANS, decode_large_communities, WITHDRAW, WITHDRAW
    ),
    # RFC 9234 5
    AttrType.ONLY_TO_CUSTOMER: Rule("otc", _TRANS, decode_u32, WITHDRAW, WITHDRAW),
}
"""Every attribute but the two of RFC 4760, which carry routes and are read by `decode_update`."""


# --- AS path arithmetic -------------------------------------------------------------------------


def count_ases(segments: Iterable[tuple[int, tuple[int, ...]]]) -> int:
    """Path length: a set counts 1 (RFC 4271 9.1.2.2), confederation segments 0 (RFC 5065 5.3)."""
    return sum(
        0 if is_confed(kind) else 1 if kind == SegmentType.AS_SET else len(asns)
        for kind, asns in segments
    )


def merge_as4_path(as_path: Segments, as4_path: Segments) -> Segments:
    """Build the exact path of a 2-octet speaker's AS_PATH and AS4_PATH (RFC 6793 4.2.3)."""
    missing = count_ases(as_path) - count_ases(as4_path)
    if missing < 0:
        return as_path
    leading: list[tuple[int, tuple[int, ...]]] = []
    previous_taken = True  # a confederation segment that leads is taken
    for kind, asns in as_path:
        if is_confed(kind):
            if not previous_taken:
                break
            leading.append((kind, asns))
        elif missing == 0:
            break
        elif kind == SegmentType.AS_SET:
            leading.append((kind, asns))
            missing -= 1
        else:
            leading.append((kind, asns[:missing]))
            previous_taken = len(asns) <= missing
            missing -= min(missing, len(asns))
    if not leading or not as4_path:
        return (*leading, *as4_path)
    (last_kind, last), (first_kind, first) = leading[-1], as4_path[0]
    both = SegmentType.AS_SEQUENCE
    if last_kind == both and first_kind == both and len(last) + len(first) <= 255:
        return (*leading[:-1], (int(both), last + first), *as4_path[1:])
    return (*leading, *as4_path)


def apply_as4(attrs: Attrs) -> Attrs:
    """Fold AS4_PATH and AS4_AGGREGATOR into the attributes they stand for (RFC 6793 4.2.3)."""
    merged = dict(attrs)
    as4_path = merged.pop("as4_path", None)
    as4_aggregator = merged.pop("as4_aggregator", None)
    if "aggregator" in merged and as4_aggregator is not None:
        if merged["aggregator"][0] != AS_TRANS:
            return merged
        merged["aggregator"] = as4_aggregator
    if as4_path is not None and "as_path" in merged:
        merged["as_path"] = merge_as4_path(merged["as_path"], as4_path)
    return merged


# --- NLRI ---------------------------------------------------------------------------------------


def parse_nlri(data: bytes, family: Family, *, addpath: bool) -> list[Route]:
    """Read prefixes; Malformed(INVALID_NETWORK_FIELD) by RFC 7606 5.3. Trailing bits are cleared."""
    octets = 4 if family is Family.IPV4_UNICAST else 16
    routes = []
    at = 0
    while at < len(data):
        path_id = 0
        if addpath:
            if len(data) - at < 4:
                raise Malformed(UpdateSubcode.INVALID_NETWORK_FIELD)
            path_id = int.from_bytes(data[at : at + 4], "big")
            at += 4
            if at == len(data):
                raise Malformed(UpdateSubcode.INVALID_NETWORK_FIELD)
        length = data[at]
        size = (length + 7) // 8
        packed = data[at + 1 : at + 1 + size]
        if length > 8 * octets or len(packed) < size:
            raise Malformed(UpdateSubcode.INVALID_NETWORK_FIELD)
        routes.append((family, prefix_text(packed, length, octets), path_id))
        at += 1 + size
    return routes


def prefix_text(packed: bytes, length: int, octets: int) -> str:
    """`10.0.0.0/8` of the octets on the wire."""
    number = int.from_bytes(packed.ljust(octets, b"\0"), "big")
    host_bits = 8 * octets - length
    number = number >> host_bits << host_bits
    return f"{address_text(number.to_bytes(octets, 'big'))}/{length}"


def next_hop_lengths(family: Family, ctx: Context) -> tuple[int, ...]:
    """Lengths of next hop that MP_REACH_NLRI may have (RFC 4760 3, RFC 2545 3, RFC 8950 3)."""
    if family is Family.IPV6_UNICAST:
        return (16, 32)
    return (4, 16, 32) if ctx.ext_next_hop else (4,)


# --- the frame ----------------------------------------------------------------------------------


def split_attributes(data: bytes) -> tuple[list[RawAttr], Fault | None]:
    """Cut the Path Attributes field; the fault says why the rest could not be cut (RFC 7606 4)."""
    attrs: list[RawAttr] = []
    at = 0
    cut_off = UpdateSubcode.MALFORMED_ATTRIBUTE_LIST
    while at < len(data):
        left = len(data) - at
        header = 4 if data[at] & EXTENDED else 3
        if left < header:
            return attrs, Fault(WITHDRAW, cut_off)
        flags, kind = data[at], data[at + 1]
        length = int.from_bytes(data[at + 2 : at + header], "big")
        if left < header + length:
            if kind in MP_TYPES:
                return attrs, Fault(Outcome.RESET, UpdateSubcode.OPTIONAL_ATTRIBUTE, kind)
            return attrs, Fault(WITHDRAW, cut_off, kind)
        octets = data[at : at + header + length]
        attrs.append(RawAttr(flags, kind, octets[header:], octets))
        at += len(octets)
    return attrs, None


@dataclass
class Reach:
    """A decoded MP_REACH_NLRI of a negotiated family."""

    family: Family
    next_hop: bytes
    routes: list[Route]


def decode_mp_reach(raw: RawAttr, ctx: Context) -> Reach | None:
    """RFC 4760 3; None for a family that is not negotiated."""
    value = raw.value
    family = mp_family(raw, ctx)
    if family is None:
        return None
    if raw.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL or len(value) < 5:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
    size = value[3]
    if size not in next_hop_lengths(family, ctx) or len(value) < 4 + size + 1:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
    routes = mp_nlri(value[4 + size + 1 :], family, ctx)
    return Reach(family, value[4 : 4 + size], routes)


def decode_mp_unreach(raw: RawAttr, ctx: Context) -> tuple[Family, list[Route]] | None:
    """RFC 4760 4; None for a family that is not negotiated."""
    family = mp_family(raw, ctx)
    if family is None:
        return None
    if raw.flags & (OPTIONAL | TRANSITIVE) != OPTIONAL:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
    return family, mp_nlri(raw.value[3:], family, ctx)


def mp_family(raw: RawAttr, ctx: Context) -> Family | None:
    """Return the family an MP attribute is about if it is negotiated."""
    if len(raw.value) < 3:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE)
    afi, safi = struct.unpack_from("!HB", raw.value)
    family = Family.from_wire(afi, safi)
    return family if family in ctx.families else None


def mp_nlri(data: bytes, family: Family, ctx: Context) -> list[Route]:
    """NLRI inside an MP attribute: what is wrong there is an Optional Attribute Error."""
    try:
        return parse_nlri(data, family, addpath=family in ctx.addpath)
    except Malformed:
        raise Malformed(UpdateSubcode.OPTIONAL_ATTRIBUTE) from None


def decode_update(body: bytes, ctx: Context) -> Result:
    """Decode one UPDATE body; see the head of this file for the rules."""
    # The frame: without it nothing can be located (RFC 7606 3.b).
    reset_frame = Fault(Outcome.RESET, UpdateSubcode.MALFORMED_ATTRIBUTE_LIST)
    if len(body) < 4:
        return verdict([reset_frame])
    withdrawn_len = int.from_bytes(body[:2], "big")
    if 2 + withdrawn_len + 2 > len(body):
        return verdict([reset_frame])
    withdrawn_field, rest = body[2 : 2 + withdrawn_len], body[2 + withdrawn_len :]
    attrs_len = int.from_bytes(rest[:2], "big")
    if 2 + attrs_len > len(rest):
        return verdict([reset_frame])
    attrs_field, nlri_field = rest[2 : 2 + attrs_len], rest[2 + attrs_len :]

    faults: list[Fault] = []
    v4 = Family.IPV4_UNICAST
    withdrawn = classic_nlri(withdrawn_field, ctx, faults)

    raws, cut_off = split_attributes(attrs_field)
    has_reach = any(raw.type == AttrType.MP_REACH_NLRI for raw in raws)
    attrs: Attrs = {}
    unknown: list[tuple[int, int, bytes]] = []
    reach: Reach | None = None
    unreach: tuple[Family, list[Route]] | None = None
    encodes_reachable = bool(nlri_field)
    seen: set[int] = set()
    for raw in raws:
        if raw.type in seen:
            approach = Outcome.RESET if raw.type in MP_TYPES else DISCARD
            faults.append(Fault(approach, UpdateSubcode.MALFORMED_ATTRIBUTE_LIST, raw.type, b""))
            continue
        seen.add(raw.type)
        try:
            if raw.type == AttrType.MP_REACH_NLRI:
                reach = decode_mp_reach(raw, ctx)
                encodes_reachable |= reach is None or bool(reach.routes)
                continue
            if raw.type == AttrType.MP_UNREACH_NLRI:
                unreach = decode_mp_unreach(raw, ctx)
                continue
        except Malformed as bad:
            faults.append(Fault(Outcome.RESET, bad.subcode, raw.type, raw.octets))
            continue
        rule = RULES.get(raw.type)
        if rule is None:
            if not raw.flags & OPTIONAL:
                subcode = UpdateSubcode.UNRECOGNIZED_WELL_KNOWN
                faults.append(Fault(Outcome.RESET, subcode, raw.type, raw.octets))
            elif raw.flags & TRANSITIVE:
                unknown.append((OPTIONAL | TRANSITIVE | PARTIAL, raw.type, raw.value))
            continue
        if raw.type == AttrType.NEXT_HOP and has_reach and not nlri_field:
            continue
        if rule.scope is Scope.AIGP_SESSION and not ctx.ibgp:
            continue
        fault = check_attribute(raw, rule, ctx, attrs)
        if fault is not None:
            faults.append(fault)
    if cut_off is not None:
        faults.append(cut_off)

    announced = classic_nlri(nlri_field, ctx, faults)
    n_classic = len(announced)
    if reach is not None:
        announced = announced + reach.routes
    faults += missing_attributes(attrs, classic=n_classic > 0, any_route=bool(announced))

    if unknown:
        attrs["unknown"] = tuple(sorted(unknown, key=lambda u: u[1]))
    attrs = apply_as4(attrs)
    mp_attrs = dict(attrs)
    if reach is not None:
        mp_attrs["next_hop"] = address_text(reach.next_hop[:16])
        if len(reach.next_hop) == 32:
            mp_attrs["link_local"] = address_text(reach.next_hop[16:])
    may_grow = not ctx.as4 and len(attrs_field) > 65535 // 2
    if may_grow and announced and too_long(mp_attrs if reach else attrs):
        faults.append(Fault(WITHDRAW, UpdateSubcode.ATTRIBUTE_LENGTH, AttrType.AS_PATH))

    result = verdict(faults, encodes_reachable=encodes_reachable)
    if result.outcome is Outcome.RESET:
        return result
    result.withdrawn = withdrawn + (unreach[1] if unreach else [])
    if result.outcome is Outcome.WITHDRAW:
        result.withdrawn += announced
        return result
    result.announced = announced
    result.n_classic = n_classic
    if n_classic:
        result.attrs = attrs
    if reach is not None and reach.routes:
        result.mp_attrs = mp_attrs
    if not nlri_field and not withdrawn_field:
        if not attrs_field and v4 in ctx.families:
            result.eor = v4
        elif len(raws) == 1 and unreach is not None and not unreach[1]:
            result.eor = unreach[0]
    return result


def classic_nlri(data: bytes, ctx: Context, faults: list[Fault]) -> list[Route]:
    """Withdrawn Routes or NLRI: IPv4 unicast; checked always, meant only where negotiated."""
    v4 = Family.IPV4_UNICAST
    try:
        routes = parse_nlri(data, v4, addpath=v4 in ctx.addpath)
    except Malformed as bad:
        faults.append(Fault(Outcome.RESET, bad.subcode))
        return []
    return routes if v4 in ctx.families else []


def check_attribute(raw: RawAttr, rule: Rule, ctx: Context, attrs: Attrs) -> Fault | None:
    """Put one attribute into `attrs`, or return its fault."""
    internal_only = rule.scope is Scope.INTERNAL and not ctx.ibgp
    old_only = rule.scope is Scope.OLD and ctx.as4
    if internal_only or old_only:
        return Fault(DISCARD, 0, raw.type, raw.octets)
    if raw.flags & (OPTIONAL | TRANSITIVE) != rule.flags:
        return Fault(rule.bad_flags, UpdateSubcode.ATTRIBUTE_FLAGS, raw.type, raw.octets)
    try:
        attrs[rule.key] = rule.decode(raw.value, ctx)
    except Malformed as bad:
        return Fault(rule.malformed, bad.subcode, raw.type, raw.octets)
    return None


def too_long(attrs: Attrs) -> bool:
    """Whether the attributes fit no message with 4-octet AS numbers, MP_REACH_NLRI apart."""
    classic = "next_hop" in attrs and ":" not in attrs["next_hop"]
    try:
        octets = b"".join(encode_attributes(attrs, next_hop=classic).values())
    except struct.error:  # one attribute alone is too long
        return True
    return len(octets) > 65535 - 64


def missing_attributes(attrs: Attrs, *, classic: bool, any_route: bool) -> list[Fault]:
    """RFC 7606 3.d, RFC 4760 3: ORIGIN and AS_PATH always, NEXT_HOP for the NLRI field."""
    needed = []
    if any_route:
        needed += [AttrType.ORIGIN, AttrType.AS_PATH]
    if classic:
        needed.append(AttrType.NEXT_HOP)
    return [
        Fault(WITHDRAW, UpdateSubcode.MISSING_WELL_KNOWN, kind, bytes([kind]))
        for kind in needed
        if RULES[kind].key not in attrs
    ]


def verdict(faults: list[Fault], *, encodes_reachable: bool = True) -> Result:
    """RFC 7606 3.h and 5.2: the strongest approach called for, and whose fault it was."""
    discarded = sum(f.approach is DISCARD for f in faults)
    result = Result(discarded=discarded, faults=faults)
    if not faults:
        return result
    strongest = max(f.approach for f in faults)
    worst = next(f for f in faults if f.approach is strongest)
    if strongest is WITHDRAW and not encodes_reachable:
        strongest = Outcome.RESET
    result.outcome = strongest
    result.err_subcode = int(worst.subcode)
    result.err_attr = int(worst.attr)
    if strongest is Outcome.RESET:
        result.err_data = worst.data
    return result
