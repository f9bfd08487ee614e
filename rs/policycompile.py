"""Policies of the configuration into programs of the fast path.

In: the policies, the named sets, who the neighbor is, the names of the policies that it is given,
in order. Out: a `Program`: the fast path's Terms, and where each of them stands in the
configuration. What is known of the neighbor is settled here (on import where a route comes from,
on export where it goes to), so neighbors for whom the same is left share a program and a view.

Programs of equal content are one, from one configuration to the next as well: whoever has another
program after a reload is concerned by it, and nobody else.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import attrs

from rs._fastpath.asnset import AsnSet
from rs._fastpath.aspath import AsPath
from rs._fastpath.pfxset import PrefixSet
from rs._fastpath.terms import Terms
from rs.iana import AttrType, Origin
from rs.policyconfig import (
    EXT_ADDRESS,
    EXT_OCTETS,
    Action,
    AspaWord,
    CommunityKind,
    IrrWord,
    NeighborWord,
    OriginWord,
    Rest,
    RpkiWord,
    uses,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.edits import Edits
    from rs.aspathre import AsPathRegex
    from rs.irr import Sets
    from rs.policyconfig import Community, Match, Policy, Term

# Conditions and actions of the fast path, see terms.pxd.
ORIGIN, MED, LOCAL_PREF, PATH_LENGTH, PATH_ORIGIN, PATH_CONTAINS, PATH_REGEX = range(1, 8)
COMMUNITY, ALL_COMMUNITIES, NEXT_HOP, NEVER = range(8, 12)
FAMILY, PREFIX, RPKI, IRR, ASPA, SOURCE = range(16, 22)
NEXT, ACCEPT, REJECT = range(3)
IN_FAMILY = FAMILY
"""From here on a condition is about the route and not about its attributes."""

ORIGINS = {
    OriginWord.IGP: Origin.IGP,
    OriginWord.EGP: Origin.EGP,
    OriginWord.INCOMPLETE: Origin.INCOMPLETE,
}
# Positions of the states in the masks, see filter.pxd and roa.pxd.
RPKI_BITS = {
    RpkiWord.NOT_CHECKED: 0,
    RpkiWord.VALID: 1,
    RpkiWord.UNKNOWN: 2,
    RpkiWord.INVALID: 3,
}
IRR_BITS = {IrrWord.NOT_CHECKED: 0, IrrWord.VALID: 1, IrrWord.INVALID: 2}
ASPA_BITS = {AspaWord.UNKNOWN: 0, AspaWord.VALID: 1, AspaWord.INVALID: 2}
KINDS = tuple(NeighborWord)
"""In the order of PeerKind."""
ATTRIBUTES = {
    CommunityKind.STANDARD: AttrType.COMMUNITIES,
    CommunityKind.EXTENDED: AttrType.EXTENDED_COMMUNITIES,
    CommunityKind.LARGE: AttrType.LARGE_COMMUNITY,
}
BY_KIND = tuple(ATTRIBUTES)
DEFAULT = "default"
"""Name of what a policy says of the rest."""

Condition = tuple[int, int, int, tuple[Any, ...]]
"""What the fast path is given, but for objects: instead of these what they are made of."""
Pattern = tuple[int, int, int, tuple[tuple[int, int], ...]]
"""A community pattern as the fast path takes it."""
Neighbors = tuple[NeighborWord | tuple[int, int] | str, ...]


@attrs.frozen
class Facts:
    """What a policy may ask of a neighbor."""

    address: str
    asn: int
    kind: int
    """A PeerKind."""


@attrs.frozen
class Label:
    """Where a term of a program stands in the configuration."""

    policy: str
    term: str
    action: Action
    reason: str = ""

    def __str__(self) -> str:
        return f'"{self.policy}", term "{self.term}"'


@attrs.frozen(eq=False)
class Program:
    """The policies of one neighbor in one direction."""

    terms: Terms
    labels: tuple[Label, ...]
    """By number of the term."""

    def why(self, fired: Iterable[int]) -> Label | None:
        """Return the last term that fitted: the one that decided, if one did."""
        found = list(fired)
        return self.labels[found[-1]] if found else None


@attrs.define
class _Draft:
    """A term on its way."""

    label: Label
    on_set: list[Condition]
    on_route: list[Condition]
    unless: list[Condition]
    edit: int
    action: int
    policy_end: bool = False
    """It goes on with the next policy, not the next term."""
    of: int = 0
    """Number of its policy in the list."""


class Never(Exception):  # noqa: N818 - an answer, not an error
    """A condition that cannot hold for this neighbor."""


class Compiler:
    """The policies of one configuration."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        sets: Sets,
        edits: Edits,
        aspas: AspaTable | None,
        before: Compiler | None = None,
    ) -> None:
        """`before` made the programs in use, which stay where their content stays."""
        self._policies = policies
        self._sets = sets
        self._edits = edits
        self._aspas = aspas
        self._made: dict[object, Terms] = {}
        self._programs: dict[object, Program | None] = {}
        self._objects: dict[object, PrefixSet | AsnSet | AsPath] = {}
        self._before = before
        self._numbers: Iterator[int] = (
            before._numbers if before is not None else iter(range(1, 1 << 22))  # noqa: SLF001
        )

    def settle(self) -> None:
        """Forget the compiler before: everybody has a program of this one."""
        self._before = None

    def program(
        self,
        names: tuple[str, ...],
        *,
        source: Facts | None = None,
        target: Facts | None = None,
    ) -> Program | None:
        """Return the program of a list of policies, None for an empty list.

        `source` is the neighbor that routes come from, on import; `target` the one they are for, on
        export. What is not known is asked of each route, or for a target does not hold.
        """
        if not names:
            return None
        asks = uses(self._policies, names, "source", "target")
        key = (names, source if asks else None, target if asks else None)
        if key not in self._programs:
            self._programs[key] = self._compile(names, source, target)
        return self._programs[key]

    def uses(self, names: tuple[str, ...], *attributes: str) -> bool:
        """Whether these policies match by one of these attributes of Match."""
        return uses(self._policies, names, *attributes)

    # --- terms

    def _compile(
        self, names: tuple[str, ...], source: Facts | None, target: Facts | None
    ) -> Program:
        drafts: list[_Draft] = []
        for number, name in enumerate(names):
            policy = self._policies[name]
            for term in policy.terms:
                draft = self._draft(name, term, source, target)
                if draft is not None:
                    draft.of = number
                    drafts.append(draft)
            if policy.default is not Rest.NEXT_POLICY:
                action = Action(policy.default.value)
                label = Label(name, DEFAULT, action)
                kind = ACCEPT if action is Action.ACCEPT else REJECT
                drafts.append(_Draft(label, [], [], [], 0, kind, of=number))
        rows = []
        for at, draft in enumerate(drafts):
            jump = at + 1
            while draft.policy_end and jump < len(drafts) and drafts[jump].of == draft.of:
                jump += 1
            parts = (tuple(draft.on_set), tuple(draft.on_route), tuple(draft.unless))
            rows.append((*parts, draft.edit, draft.action, jump))
        return Program(self._terms(tuple(rows)), tuple(draft.label for draft in drafts))

    def _terms(self, rows: tuple[tuple[Any, ...], ...]) -> Terms:
        """Return the fast path's program of a content; the one there is, if there is one."""
        content = (self._aspas is not None, rows)
        found = self._made.get(content)
        if found is None and self._before is not None:
            found = self._before._made.get(content)  # noqa: SLF001
        if found is None:
            terms = [(*(self._conditions(part) for part in row[:3]), *row[3:]) for row in rows]
            found = Terms(next(self._numbers), self._edits, self._aspas, terms)
        self._made[content] = found
        return found

    def _draft(
        self, policy: str, term: Term, source: Facts | None, target: Facts | None
    ) -> _Draft | None:
        """Return a term as far as it is not settled; None if it cannot hold for this neighbor."""
        try:
            conditions = list(self._match(term.match, source, target))
        except Never:
            return None
        unless: list[Condition] = []
        if term.unless is not None:
            try:
                unless = list(self._match(term.unless, source, target))
            except Never:
                pass
            else:
                if not unless:
                    return None  # always
        return _Draft(
            Label(policy, term.name, term.action, term.reason),
            sorted((c for c in conditions if c[0] < IN_FAMILY), key=lambda c: c[0]),
            sorted((c for c in conditions if c[0] >= IN_FAMILY), key=lambda c: c[0]),
            sorted(unless, key=lambda c: -c[0]),
            self._edit(term) if term.changes else 0,
            {Action.ACCEPT: ACCEPT, Action.REJECT: REJECT}.get(term.action, NEXT),
            policy_end=term.action is Action.NEXT_POLICY,
        )

    def _match(
        self, match: Match, source: Facts | None, target: Facts | None
    ) -> Iterator[Condition]:
        """Yield what is left to be asked of a route; Never if it cannot hold."""
        if match.origin:
            yield ORIGIN, sum(1 << ORIGINS[word] for word in match.origin), 0, ()
        for op, span in (
            (MED, match.med),
            (LOCAL_PREF, match.local_pref),
            (PATH_LENGTH, match.as_path_length),
        ):
            if span is not None:
                yield op, *span, ()
        for op, asns in (
            (PATH_ORIGIN, match.as_path_origin),
            (PATH_CONTAINS, match.as_path_contains),
        ):
            if asns:
                yield op, 0, 0, tuple(_split("asns", "as_sets", asns, self._sets.asns))
        if match.as_path:
            yield PATH_REGEX, 0, 0, tuple(map(self._regex, match.as_path))
        if match.communities:
            yield COMMUNITY, 0, 0, tuple(map(pattern, match.communities))
        if match.all_communities:
            yield ALL_COMMUNITIES, 0, 0, tuple(map(pattern, match.all_communities))
        if match.next_hop:
            yield NEXT_HOP, 0, 0, (_nets(match.next_hop),)
        if match.family:
            yield FAMILY, sum(1 << family for family in match.family), 0, ()
        if match.prefixes:
            found = _split("prefixes", "prefix_sets", match.prefixes, self._sets.prefixes)
            yield PREFIX, 0, 0, tuple(found)
        if match.rpki:
            yield RPKI, sum(1 << RPKI_BITS[word] for word in match.rpki), 0, ()
        if match.irr:
            yield IRR, sum(1 << IRR_BITS[word] for word in match.irr), 0, ()
        if match.aspa:
            yield ASPA, sum(1 << ASPA_BITS[word] for word in match.aspa), 0, ()
        if match.target and (target is None or not is_one(target, match.target)):
            raise Never
        if match.source and source is not None and not is_one(source, match.source):
            raise Never
        if match.source and source is None:
            yield SOURCE, *_source(match.source)

    def _regex(self, regex: AsPathRegex) -> tuple[object, ...]:
        named = {name: self._sets.asns[name] for name in sorted(regex.names)}
        return "regex", regex, tuple((name, id(found)) for name, found in named.items())

    def _edit(self, term: Term) -> int:
        values = (*(term.set.communities or ()), *term.add.communities)
        add = tuple(
            tuple(octets(one) for one in dict.fromkeys(values) if one.kind is kind)
            for kind in BY_KIND
        )
        times = term.prepend
        return self._edits.define(
            origin=None if term.set.origin is None else int(ORIGINS[term.set.origin]),
            med=term.set.med,
            no_med=term.remove.med,
            local_pref=term.set.local_pref,
            hops=term.set.next_hop,
            replace=term.set.communities is not None,
            remove=tuple(map(pattern, term.remove.communities)),
            add=add,
            prepend=None if times is None else (times.asn or 0, times.times),
        )

    # --- objects of the fast path

    def _conditions(self, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        return tuple(
            (op, low, high, tuple(map(self._object, objects)))
            for op, low, high, objects in conditions
        )

    def _object(self, key: tuple[Any, ...]) -> object:
        """Return what stands for a key of a condition; patterns stand for themselves."""
        table, content = key[0], key[1]
        if table not in {"prefixes", "asns", "regex", "prefix_sets", "as_sets"}:
            return key
        if table == "prefix_sets":
            return self._sets.prefixes[content]
        if table == "as_sets":
            return self._sets.asns[content]
        if key not in self._objects:
            if table == "prefixes":
                made: PrefixSet | AsnSet | AsPath = PrefixSet()
                for one in content:
                    made.add(*one)  # type: ignore[union-attr]
            elif table == "asns":
                singles = [low for low, high in content if low == high]
                made = AsnSet(singles, [pair for pair in content if pair[0] != pair[1]])
            else:
                made = AsPath(content, {name: self._sets.asns[name] for name, _ in key[2]})
            self._objects[key] = made
        return self._objects[key]


def _split(
    inline: str, table: str, items: tuple[Any, ...], named: Mapping[str, object]
) -> Iterator[tuple[object, ...]]:
    """Yield keys of the sets that a list of entries and names stands for."""
    own = tuple(item for item in items if not isinstance(item, str))
    if own:
        yield inline, own
    for name in items:
        if isinstance(name, str):
            yield table, name, id(named[name])


def _nets(prefixes: tuple[str, ...]) -> tuple[object, ...]:
    """Return the key of a set of addresses: each prefix with all that is below it."""
    return "prefixes", tuple((prefix, -1, -1) for prefix in prefixes)


def _parts(wanted: Neighbors) -> tuple[int, tuple[tuple[int, int], ...], tuple[str, ...]]:
    kinds = sum(1 << KINDS.index(one) for one in wanted if isinstance(one, NeighborWord))
    asns = tuple(one for one in wanted if isinstance(one, tuple))
    nets = tuple(
        one for one in wanted if isinstance(one, str) and not isinstance(one, NeighborWord)
    )
    return kinds, asns, nets


def _source(wanted: Neighbors) -> tuple[int, int, tuple[Any, ...]]:
    kinds, asns, nets = _parts(wanted)
    return kinds, 0, (("asns", asns), _nets(nets))


def is_one(neighbor: Facts, wanted: Neighbors) -> bool:
    """Whether a neighbor is one of those that a policy names."""
    kinds, asns, nets = _parts(wanted)
    address = ipaddress.ip_address(neighbor.address)
    return (
        bool(kinds >> neighbor.kind & 1)
        or any(low <= neighbor.asn <= high for low, high in asns)
        or any(address in ipaddress.ip_network(net) for net in nets)
    )


# --- communities ----------------------------------------------------------------------------------


def pattern(community: Community) -> Pattern:
    """Return a pattern as the fast path takes it."""
    kind = int(ATTRIBUTES[community.kind])
    if community.kind is not CommunityKind.EXTENDED:
        return kind, 0, 0, community.parts
    return kind, community.parts[1][0], community.parts[0][0], community.parts[2:]


def octets(community: Community) -> bytes:
    """Return one community as it stands on the wire (RFC 1997, 4360, 5668, 8092)."""
    parts = [low for low, _ in community.parts]
    match community.kind:
        case CommunityKind.STANDARD:
            return bytes((*parts[0].to_bytes(2), *parts[1].to_bytes(2)))
        case CommunityKind.LARGE:
            return b"".join(part.to_bytes(4) for part in parts)
    subtype, form, first, second = parts
    if form == EXT_OCTETS:
        return first.to_bytes(4) + second.to_bytes(4)
    if form == EXT_ADDRESS:
        return bytes((1, subtype)) + first.to_bytes(4) + second.to_bytes(2)
    if first <= 0xFFFF:
        return bytes((0, subtype)) + first.to_bytes(2) + second.to_bytes(4)
    return bytes((2, subtype)) + first.to_bytes(4) + second.to_bytes(2)
