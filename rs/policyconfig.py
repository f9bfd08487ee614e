"""The configuration of general policies: named lists of terms.

In: parsed values. Out: frozen objects, as in rs/config.py. A policy is a list of terms; a term says
which routes it is for (`match`, `unless`), what it changes (`remove`, `set`, `add`, `prepend`) and
what follows (`action`). Sets are known by their names here; what they hold is rs/irr.py's business,
and what becomes of a route rs/policycompile.py's.

RFC 1997, 4360, 8092 (communities), 4271 5.1 (attributes).
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.aspathre import AsPathRegex, parse_regex
from rs.configkeys import Effect, key
from rs.configvalues import BadValue, Kind, shown
from rs.filterconfig import parse_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rs.filterconfig import PrefixRange
    from rs.iana import Family

MAX = 0xFFFF_FFFF
MAX_COMMUNITIES = 1000
"""Communities in one list."""


class Action(StrEnum):
    """What follows when a term fits."""

    ACCEPT = "accept"
    REJECT = "reject"
    NEXT = "next"
    NEXT_POLICY = "next-policy"


class Rest(StrEnum):
    """What becomes of routes that no term of a policy accepts or rejects."""

    NEXT_POLICY = "next-policy"
    ACCEPT = "accept"
    REJECT = "reject"


class RpkiWord(StrEnum):
    """State of a route by origin validation (RFC 6811)."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    NOT_CHECKED = "not-checked"


class AspaWord(StrEnum):
    """State of a route by ASPA path verification."""

    VALID = "valid"
    UNKNOWN = "unknown"
    INVALID = "invalid"


class IrrWord(StrEnum):
    """Whether the neighbor's IRR data hold prefix and origin."""

    VALID = "valid"
    INVALID = "invalid"
    NOT_CHECKED = "not-checked"


class OriginWord(StrEnum):
    """ORIGIN (RFC 4271 5.1.1)."""

    IGP = "igp"
    EGP = "egp"
    INCOMPLETE = "incomplete"


class NeighborWord(StrEnum):
    """How a neighbor is spoken to."""

    RS_CLIENT = "rs-client"
    EBGP = "ebgp"
    IBGP = "ibgp"
    RR_CLIENT = "rr-client"


# --- communities ----------------------------------------------------------------------------------


class CommunityKind(StrEnum):
    """The attribute that a community stands in."""

    STANDARD = "standard"
    EXTENDED = "extended"
    LARGE = "large"


@attrs.frozen
class Community:
    """A community, or with a range that holds several numbers a pattern of them.

    Standard ones have two parts, large ones three. Extended ones have the octet of their subtype,
    whether their first part is an address (1), a number (0) or the octets are meant (2), and the
    two parts after; or with 2 the upper and the lower half of the octets.
    """

    kind: CommunityKind
    parts: tuple[tuple[int, int], ...]


WELL_KNOWN = {
    "no-export": 0xFFFFFF01,
    "no-advertise": 0xFFFFFF02,
    "no-export-subconfed": 0xFFFFFF03,
    "no-peer": 0xFFFFFF04,
    "blackhole": 0xFFFF029A,
    "graceful-shutdown": 0xFFFF0000,
    "llgr-stale": 0xFFFF0006,
    "no-llgr": 0xFFFF0007,
}
EXT_SUBTYPES = {"rt": 0x02, "soo": 0x03}
EXT_NUMBER, EXT_ADDRESS, EXT_OCTETS = 0, 1, 2
_COMMUNITY_WANTS = (
    '"64500:1", "64500:1:2" (large), "rt:64500:1" or "soo:64500:1" (extended), 16 hexadecimal '
    'digits, or a name such as "no-export"'
)
_PATTERN_WANTS = _COMMUNITY_WANTS + '; a part may be "*" or a range, "64500:100-199"'


def _part(text: str, most: int, whole: str) -> tuple[int, int]:
    if text == "*":
        return 0, most
    found = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", text)
    if found is None:
        raise BadValue(f"{shown(whole)} does not fit; want {_PATTERN_WANTS}")
    low, high = int(found[1]), int(found[2] or found[1])
    if not low <= high <= most:
        raise BadValue(f"{shown(whole)}: {text} does not fit; want 0 to {most}")
    return low, high


def _extended(words: list[str], whole: str) -> Community:
    subtype = EXT_SUBTYPES[words[0]]
    head: tuple[tuple[int, int], ...] = ((subtype, subtype),)
    try:
        address = int(ipaddress.IPv4Address(words[1]))
    except ValueError:
        low, high = _part(words[1], MAX, whole)
        # One octet string has a number of 4 octets and a value of 2, or the other way round.
        value = _part(words[2], MAX if low <= 0xFFFF else 0xFFFF, whole)
        parts = ((EXT_NUMBER, EXT_NUMBER), (low, high), value)
    else:
        parts = ((EXT_ADDRESS, EXT_ADDRESS), (address, address), _part(words[2], 0xFFFF, whole))
    return Community(CommunityKind.EXTENDED, head + parts)


def parse_pattern(value: object) -> Community:
    """Return a community or a pattern of them; BadValue for what is neither."""
    if isinstance(value, str):
        if value in WELL_KNOWN:
            number = WELL_KNOWN[value]
            value = f"{number >> 16}:{number & 0xFFFF}"
        words = value.split(":")
        if words[0] in EXT_SUBTYPES and len(words) == 3:
            return _extended(words, value)
        if re.fullmatch(r"[0-9A-Fa-f]{16}", value):
            halves = int(value[:8], 16), int(value[8:], 16)
            return Community(
                CommunityKind.EXTENDED,
                ((0, 255), (EXT_OCTETS, EXT_OCTETS), *((half, half) for half in halves)),
            )
        if value == "ext:*":
            return Community(
                CommunityKind.EXTENDED, ((0, 255), (EXT_OCTETS, EXT_OCTETS), (0, MAX), (0, MAX))
            )
        if len(words) == 2:
            return Community(
                CommunityKind.STANDARD, tuple(_part(word, 0xFFFF, value) for word in words)
            )
        if len(words) == 3:
            return Community(CommunityKind.LARGE, tuple(_part(word, MAX, value) for word in words))
    raise BadValue(f"{shown(value)} does not fit; want {_PATTERN_WANTS}")


def parse_community(value: object) -> Community:
    """Return one community; BadValue for what is none, and for a pattern."""
    found = parse_pattern(value)
    numbers = found.parts[2:] if found.kind is CommunityKind.EXTENDED else found.parts
    if any(low != high for low, high in numbers):
        raise BadValue(f"{shown(value)} stands for several; want {_COMMUNITY_WANTS}")
    return found


# --- kinds of values ------------------------------------------------------------------------------


def one_or_list(item: Kind) -> Kind:
    """Return the kind of one value, or of a list of them."""
    several = kinds.list_of(item)

    def parse(value: object) -> tuple[Any, ...]:
        return several.parse(value) if isinstance(value, list) else (item.parse(value),)

    return Kind(f"{item.wants}, or a list of them", parse)


def _span(high: int, low: int = 0) -> Kind:
    wants = f"a number of {low} to {high}, or [LOWEST, HIGHEST]"
    number = kinds.integer(low, high)

    def parse(value: object) -> tuple[int, int]:
        both = value if isinstance(value, list) else [value, value]
        if len(both) != 2:
            raise BadValue(f"{shown(value)} does not fit; want {wants}")
        found = (number.parse(both[0]), number.parse(both[1]))
        if found[0] > found[1]:
            raise BadValue(f"{found[0]} to {found[1]} is no range; want {wants}")
        return found

    return Kind(wants, parse)


def _prefixes(value: object) -> PrefixRange | str:
    if isinstance(value, str) and "/" not in value:
        name: str = kinds.SET_NAME.parse(value)
        return name
    found: PrefixRange = kinds.PREFIX_RANGE.parse(value)
    return found


def _asns(value: object) -> tuple[int, int] | str:
    if isinstance(value, str) and not re.fullmatch(r"[\d.\-]+", value):
        name: str = kinds.SET_NAME.parse(value)
        return name
    found: tuple[int, int] = kinds.ASN_RANGE.parse(value)
    return found


def _network(value: object) -> str:
    """Return an address as a prefix, and a prefix for all the addresses in it."""
    if isinstance(value, str) and "/" in value:
        prefix: str = kinds.PREFIX.parse(value)
        return prefix
    try:
        address = ipaddress.ip_address(value)  # type: ignore[arg-type]
    except ValueError:
        raise BadValue(f"{shown(value)} does not fit; want an address or a prefix") from None
    return f"{address}/{address.max_prefixlen}"


def _neighbor(value: object) -> NeighborWord | tuple[int, int] | str:
    if isinstance(value, str):
        for word in NeighborWord:
            if word.value == value:
                return word
        if "/" in value or ":" in value or value.count(".") == 3:
            return _network(value)
    try:
        found: tuple[int, int] = kinds.ASN_RANGE.parse(value)
    except BadValue:
        raise BadValue(f"{shown(value)} does not fit; want {NEIGHBOR.wants}") from None
    return found


def _regex(value: object) -> AsPathRegex:
    if not isinstance(value, str):
        raise BadValue(f"{shown(value)} does not fit; want {REGEX.wants}")
    try:
        return parse_regex(value)
    except ValueError as error:
        raise BadValue(f"{shown(value)}: {error}") from None


def _true(value: object) -> bool:
    if value is not True:
        raise BadValue(f"{shown(value)} does not fit; want true, or leave the key away")
    return True


def _next_hops(value: object) -> tuple[str, ...]:
    found: tuple[str, ...] = one_or_list(kinds.HOST).parse(value)
    if len({":" in address for address in found}) < len(found):
        raise BadValue("want one address for each IP version")
    return found


@attrs.frozen
class Prepend:
    """AS numbers to put in front of AS_PATH."""

    times: int
    asn: int | None = None
    """None repeats the leftmost AS number that is there, our own where there is none."""


def _prepend(value: object) -> Prepend:
    times = kinds.integer(1, 32)
    if not isinstance(value, dict):
        return Prepend(times.parse(value))
    for name in value:
        if name not in {"asn", "times"}:
            raise BadValue(((name,), "unknown key; want asn and times"))
    if "asn" not in value:
        raise BadValue(((), "want asn, or only a number of times"))
    return Prepend(times.parse(value.get("times", 1)), kinds.parse_asn(value["asn"]))


PREFIXES = one_or_list(Kind('a prefix with "ge N" or "le N" or neither, or a set', _prefixes))
ASNS = one_or_list(Kind("an AS number, a range, or a set", _asns))
NETWORKS = one_or_list(Kind("an address or a prefix", _network))
REGEX = Kind("an expression over AS numbers", _regex)
COMMUNITY = Kind("a community", parse_community)
PATTERN = Kind("a community or a pattern", parse_pattern)
NEIGHBOR = Kind(
    'an address, a prefix, an AS number or a range, "rs-client", "ebgp", "ibgp" or "rr-client"',
    _neighbor,
)
COMMUNITIES = kinds.list_of(COMMUNITY)
_NAME = r"[A-Za-z0-9_.:@-]+"
POLICIES = one_or_list(kinds.text("the name of a policy", 255, _NAME))


def _words(options: type[StrEnum]) -> Kind:
    return one_or_list(kinds.choice(options))


def _key(kind: Kind, name: str | None = None) -> dict[str, Any]:
    return key(kind, Effect.REEVALUATE, "any", name)


def _change(kind: Kind, name: str | None = None) -> dict[str, Any]:
    return key(kind, Effect.REEVALUATE, "none", name)


def _table_of(model: Callable[..., Any], wants: str) -> Kind:
    return Kind(wants, lambda value: model(**parse_table(model, value)))  # type: ignore[arg-type]


# --- the model ------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Match:
    """[policies.NAME.terms.match]: all of these that are given must hold; () and None are any."""

    family: tuple[Family, ...] = attrs.field(default=(), metadata=_key(one_or_list(kinds.FAMILY)))
    prefixes: tuple[PrefixRange | str, ...] = attrs.field(default=(), metadata=_key(PREFIXES))
    as_path: tuple[AsPathRegex, ...] = attrs.field(default=(), metadata=_key(one_or_list(REGEX)))
    as_path_length: tuple[int, int] | None = attrs.field(default=None, metadata=_key(_span(65535)))
    """As the decision process counts it: an AS_SET is 1 (RFC 4271 9.1.2.2 a)."""
    as_path_origin: tuple[tuple[int, int] | str, ...] = attrs.field(default=(), metadata=_key(ASNS))
    as_path_contains: tuple[tuple[int, int] | str, ...] = attrs.field(
        default=(), metadata=_key(ASNS)
    )
    communities: tuple[Community, ...] = attrs.field(
        default=(), metadata=_key(one_or_list(PATTERN))
    )
    """One of these is there."""
    all_communities: tuple[Community, ...] = attrs.field(
        default=(), metadata=_key(one_or_list(PATTERN))
    )
    """Each of these is there."""
    next_hop: tuple[str, ...] = attrs.field(default=(), metadata=_key(NETWORKS))
    """Prefixes."""
    origin: tuple[OriginWord, ...] = attrs.field(default=(), metadata=_key(_words(OriginWord)))
    med: tuple[int, int] | None = attrs.field(default=None, metadata=_key(_span(MAX)))
    local_pref: tuple[int, int] | None = attrs.field(default=None, metadata=_key(_span(MAX)))
    """A route without counts as 100."""
    rpki: tuple[RpkiWord, ...] = attrs.field(default=(), metadata=_key(_words(RpkiWord)))
    aspa: tuple[AspaWord, ...] = attrs.field(default=(), metadata=_key(_words(AspaWord)))
    irr: tuple[IrrWord, ...] = attrs.field(default=(), metadata=_key(_words(IrrWord)))
    source: tuple[NeighborWord | tuple[int, int] | str, ...] = attrs.field(
        default=(), metadata=_key(one_or_list(NEIGHBOR), "from")
    )
    """Neighbors that the route came from."""
    target: tuple[NeighborWord | tuple[int, int] | str, ...] = attrs.field(
        default=(), metadata=_key(one_or_list(NEIGHBOR), "to")
    )
    """Neighbors that the route is for; only on export."""


@attrs.frozen(kw_only=True)
class Set:
    """[policies.NAME.terms.set]: attributes to replace."""

    local_pref: int | None = attrs.field(default=None, metadata=_change(kinds.integer(0, MAX)))
    med: int | None = attrs.field(default=None, metadata=_change(kinds.integer(0, MAX)))
    origin: OriginWord | None = attrs.field(
        default=None, metadata=_change(kinds.choice(OriginWord))
    )
    next_hop: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_change(Kind("an address, or one of each IP version", _next_hops)),
    )
    communities: tuple[Community, ...] | None = attrs.field(
        default=None, metadata=_change(kinds.list_of(COMMUNITY, empty=True))
    )
    """In the place of all communities of all kinds."""


@attrs.frozen(kw_only=True)
class Add:
    """[policies.NAME.terms.add]: values to add to attributes."""

    communities: tuple[Community, ...] = attrs.field(default=(), metadata=_change(COMMUNITIES))


@attrs.frozen(kw_only=True)
class Remove:
    """[policies.NAME.terms.remove]: values to take out of attributes."""

    communities: tuple[Community, ...] = attrs.field(
        default=(), metadata=_change(kinds.list_of(PATTERN))
    )
    med: bool = attrs.field(default=False, metadata=_change(Kind("true", _true)))


@attrs.frozen(kw_only=True)
class Term:
    """[[policies.NAME.terms]]: which routes, what is changed in them, and what follows."""

    name: str = attrs.field(
        default="",
        metadata=key(kinds.text("a name", 255, _NAME), Effect.INSTANT, "its number"),
    )
    match: Match = attrs.field(
        default=Match(),
        metadata=key(_table_of(Match, "a table"), Effect.REEVALUATE, "every route"),
    )
    unless: Match | None = attrs.field(
        default=None, metadata=key(_table_of(Match, "a table"), Effect.REEVALUATE, "none")
    )
    """Not for routes for which all of this holds."""
    remove: Remove = attrs.field(default=Remove(), metadata=_change(_table_of(Remove, "a table")))
    set: Set = attrs.field(default=Set(), metadata=_change(_table_of(Set, "a table")))
    add: Add = attrs.field(default=Add(), metadata=_change(_table_of(Add, "a table")))
    prepend: Prepend | None = attrs.field(
        default=None,
        metadata=_change(Kind("1 to 32, or a table with asn and times", _prepend)),
    )
    action: Action = attrs.field(
        default=Action.NEXT,
        metadata=key(kinds.choice(Action), Effect.REEVALUATE, '"next"'),
    )
    reason: str = attrs.field(
        default="", metadata=key(kinds.text("one line", 255), Effect.INSTANT, '""')
    )

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.prepend is not None or bool(
            self.remove != Remove() or self.set != Set() or self.add != Add()
        )


def _terms(value: object) -> tuple[Term, ...]:
    if not isinstance(value, list):
        raise BadValue(f"{shown(value)} does not fit; want {TERMS.wants}")
    found: list[Term] = []
    faults: list[tuple[tuple[int | str, ...], str]] = []
    names: dict[str, int] = {}
    for index, one in enumerate(value):
        try:
            term = Term(**parse_table(Term, one))
        except BadValue as bad:
            faults += [((index, *path), words) for path, words in bad.faults]
            continue
        if not term.name:
            term = attrs.evolve(term, name=str(index + 1))
        faults += [((index, *path), words) for path, words in _term_faults(term)]
        if term.name in names:
            words = f"{shown(term.name)} is the name of term {names[term.name] + 1} already"
            faults.append(((index, "name"), words))
        names.setdefault(term.name, index)
        found.append(term)
    if faults:
        raise BadValue(*faults)
    return tuple(found)


def _term_faults(term: Term) -> Iterator[tuple[tuple[str, ...], str]]:
    if term.action is Action.NEXT and not term.changes:
        yield ((), "does nothing; want an action, or something to change")
    if term.action is Action.REJECT and term.changes:
        yield (("action",), "what is rejected is not changed; want either")
    if term.reason and term.action is not Action.REJECT:
        yield (("reason",), 'is for action = "reject"; want that beside it')
    if term.remove.med and term.set.med is not None:
        yield (("remove", "med"), "beside set.med; want one of them")


TERMS = Kind("tables, [[policies.NAME.terms]]", _terms)


@attrs.frozen(kw_only=True)
class Policy:
    """[policies.NAME]: terms, tried in order."""

    default: Rest = attrs.field(
        default=Rest.NEXT_POLICY,
        metadata=key(kinds.choice(Rest), Effect.REEVALUATE, '"next-policy"'),
    )
    """For routes that no term accepts or rejects; accepted where there is no next policy."""
    description: str = attrs.field(
        default="", metadata=key(kinds.text("one line", 255), Effect.INSTANT, '""')
    )
    terms: tuple[Term, ...] = attrs.field(default=(), metadata=key(TERMS, Effect.REEVALUATE, "[]"))


def parse_policy(value: object) -> Policy:
    """Return [policies.NAME]; BadValue with all that is wrong in it."""
    return Policy(**parse_table(Policy, value))


# --- what a policy refers to ----------------------------------------------------------------------


def references(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield (place in the policy, table, name) of every named set that a policy asks for."""
    for index, term in enumerate(policy.terms):
        for part, match in (("match", term.match), ("unless", term.unless)):
            if match is None:
                continue
            where: tuple[str | int, ...] = ("terms", index, part)
            for name in match.prefixes:
                if isinstance(name, str):
                    yield (*where, "prefixes"), "prefix_sets", name
            for word, asns in (
                ("as_path_origin", match.as_path_origin),
                ("as_path_contains", match.as_path_contains),
            ):
                for one in asns:
                    if isinstance(one, str):
                        yield (*where, word), "as_sets", one
            for regex in match.as_path:
                for name in sorted(regex.names):
                    yield (*where, "as_path"), "as_sets", name


def exports_only(policy: Policy) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of what makes sense only on export."""
    for index, term in enumerate(policy.terms):
        for part, match in (("match", term.match), ("unless", term.unless)):
            if match is not None and match.target:
                yield ("terms", index, part, "to")


def uses(policies: Mapping[str, Policy], names: tuple[str, ...], *attributes: str) -> bool:
    """Whether some term of these policies matches by one of the attributes of Match."""
    return any(
        getattr(match, attribute)
        for name in names
        for term in policies[name].terms
        for match in (term.match, term.unless)
        if match is not None
        for attribute in attributes
    )
