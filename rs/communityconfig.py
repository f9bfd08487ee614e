"""The configuration of communities and black holes: what values mean here, and what we add.

In: parsed values, and our AS number. Out: frozen objects, as in rs/config.py; `Communities` is
complete: what the file defines lies over the preset. A definition is a value with macros: `rs_as`
is our AS number, `peer_as` that of any member, `dyn_val` any number. rs/communities.py makes of it
what the fast path looks values up in.

RFC 1997, 4360, 8092 (forms); 7999 (black holes); 8326 (graceful shutdown). The names of definitions
are those that users of ARouteServer know; `euro-ix` is version 1.1 of its large communities.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.configkeys import Effect, key, keys_of
from rs.configvalues import BadValue, Kind, shown, suggestion
from rs.filterconfig import lengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_STANDARD = 0xFFFF
MAX_LARGE = 0xFFFF_FFFF
MACROS = ("rs_as", "peer_as", "dyn_val")
FORMS = ("std", "ext", "lrg")

Field = int | str
"""A number, or the name of a macro."""
Where = tuple[int | str, ...]


class Preset(StrEnum):
    """Definitions that are there without being written down."""

    CLASSIC = "classic"
    EURO_IX = "euro-ix"
    AROUTESERVER = "arouteserver"
    NONE = "none"


class BlackHolePolicy(StrEnum):
    """What becomes of a route whose traffic is to be dropped (RFC 7999)."""

    NONE = "none"
    UNCHANGED = "propagate-unchanged"
    REWRITE = "rewrite-next-hop"


# --- values ---------------------------------------------------------------------------------------


@attrs.frozen
class Value:
    """One form of a definition: numbers and macros, in the order in which they are written."""

    fields: tuple[Field, ...]
    type: str = ""
    """Of an extended community: "rt" or "ro"."""

    def __str__(self) -> str:
        return ":".join([*([self.type] if self.type else []), *map(str, self.fields)])

    @property
    def macros(self) -> tuple[str, ...]:
        """The macros in it, without rs_as."""
        return tuple(f for f in self.fields if isinstance(f, str) and f != "rs_as")

    def widths(self, rs_asn: int) -> tuple[tuple[int, ...], ...]:
        """Octets of each field; of an extended community of any AS number there are two layouts."""
        if self.type:
            head = rs_asn if self.fields[0] == "rs_as" else self.fields[0]
            if isinstance(head, str):
                return ((2, 4), (4, 2))
            return ((2, 4),) if head <= MAX_STANDARD else ((4, 2),)
        return ((2, 2),) if len(self.fields) == 2 else ((4, 4, 4),)

    def fault(self, rs_asn: int) -> str | None:
        """Return in words why there is no such value, None when there is."""
        for widths in self.widths(rs_asn):
            for field, width in zip(self.fields, widths, strict=True):
                number = rs_asn if field == "rs_as" else field
                if isinstance(number, int) and number >= 1 << 8 * width:
                    return f"{number} does not fit in {8 * width} bits"
        return None


def _field(text: str, wants: str) -> Field:
    if text in MACROS:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_LARGE):
        raise BadValue(f"{shown(text)} is no number; want {wants}")
    return int(text)


def _form(n: int, example: str, highest: int) -> Kind:
    wants = f'{n} numbers or macros, such as "{example}"'

    def parse(value: object) -> Value:
        parts = value.split(":") if isinstance(value, str) else []
        if len(parts) != n:
            raise BadValue(f"{shown(value)} does not fit; want {wants}")
        fields = tuple(_field(part, wants) for part in parts)
        for field in fields:
            if isinstance(field, int) and field > highest:
                raise BadValue(f"{field} does not fit; want at most {highest}")
        return Value(fields)

    return Kind(wants, parse)


def _extended() -> Kind:
    wants = '"rt" or "ro" and 2 numbers or macros, such as "rt:0:peer_as"'

    def parse(value: object) -> Value:
        parts = value.split(":") if isinstance(value, str) else []
        if len(parts) != 3 or parts[0] not in {"rt", "ro", "soo"}:
            raise BadValue(f"{shown(value)} does not fit; want {wants}")
        fields = tuple(_field(part, wants) for part in parts[1:])
        return Value(fields, "rt" if parts[0] == "rt" else "ro")

    return Kind(wants, parse)


STANDARD = _form(2, "0:peer_as", MAX_STANDARD)
EXTENDED = _extended()
LARGE = _form(3, "rs_as:0:peer_as", MAX_LARGE)


@attrs.frozen(kw_only=True)
class Definition:
    """[communities.NAME]: the forms of one community."""

    std: Value | None = attrs.field(default=None, metadata=key(STANDARD, Effect.REEVALUATE, "none"))
    ext: Value | None = attrs.field(default=None, metadata=key(EXTENDED, Effect.REEVALUATE, "none"))
    lrg: Value | None = attrs.field(default=None, metadata=key(LARGE, Effect.REEVALUATE, "none"))

    def forms(self) -> Iterator[tuple[str, Value]]:
        """Yield ("std", "ext" or "lrg", value)."""
        for form in FORMS:
            value = getattr(self, form)
            if value is not None:
                yield form, value


# --- names ----------------------------------------------------------------------------------------

TIMES = ("once", "twice", "thrice")
CONTROL: dict[str, str | None] = {
    "blackholing": None,
    "graceful_shutdown": None,
    "do_not_announce_to_any": None,
    "do_not_announce_to_peer": "peer_as",
    "announce_to_peer": "peer_as",
    "do_not_announce_to_peers_with_rtt_lower_than": "dyn_val",
    "do_not_announce_to_peers_with_rtt_higher_than": "dyn_val",
    "announce_to_peers_with_rtt_lower_than": "dyn_val",
    "announce_to_peers_with_rtt_higher_than": "dyn_val",
    **{f"prepend_{times}_to_any": None for times in TIMES},
    **{f"prepend_{times}_to_peer": "peer_as" for times in TIMES},
    **{f"prepend_{times}_to_peers_with_rtt_lower_than": "dyn_val" for times in TIMES},
    **{f"prepend_{times}_to_peers_with_rtt_higher_than": "dyn_val" for times in TIMES},
    "add_noexport_to_any": None,
    "add_noadvertise_to_any": None,
    "add_noexport_to_peer": "peer_as",
    "add_noadvertise_to_peer": "peer_as",
}
"""Communities that members set -> the macro that each needs."""
INFORMATIONAL: dict[str, str | None] = {
    "rpki_bgp_origin_validation_not_performed": None,
    "rpki_bgp_origin_validation_valid": None,
    "rpki_bgp_origin_validation_unknown": None,
    "rpki_bgp_origin_validation_invalid": None,
    "prefix_present_in_as_set": None,
    "prefix_not_present_in_as_set": None,
    "origin_present_in_as_set": None,
    "origin_not_present_in_as_set": None,
    "prefix_validated_via_rpki_roas": None,
    "route_validated_via_white_list": None,
    "learnt_from": "peer_as",
    "origin": "dyn_val",
    "prefix_validated_via_arin_whois_db_dump": None,
    "prefix_validated_via_registrobr_whois_db_dump": None,
}
"""Communities that we set; the last two only belong to us, and are never set."""
INTERNAL: dict[str, str | None] = {
    "reject_cause": "dyn_val",
    "rejected_route_announced_by": "dyn_val",
}
NAMES: dict[str, str | None] = {**CONTROL, **INFORMATIONAL, **INTERNAL}
CAUSE_MAP = "reject_cause_map"
MAX_CODE = 65535


# --- presets --------------------------------------------------------------------------------------


def _define(**forms: str) -> Definition:
    parsed = {"std": STANDARD, "ext": EXTENDED, "lrg": LARGE}
    return Definition(**{form: parsed[form].parse(text) for form, text in forms.items()})


def _causes(codes: dict[int, int]) -> dict[int, Definition]:
    return {code: _define(lrg=f"rs_as:1101:{to}") for code, to in codes.items()}


_CLASSIC = {
    "do_not_announce_to_any": _define(std="0:rs_as", lrg="rs_as:0:0"),
    "do_not_announce_to_peer": _define(std="0:peer_as", lrg="rs_as:0:peer_as"),
    "announce_to_peer": _define(std="rs_as:peer_as", lrg="rs_as:1:peer_as"),
}
_RPKI = {
    "rpki_bgp_origin_validation_valid": _define(lrg="rs_as:1000:1"),
    "rpki_bgp_origin_validation_unknown": _define(lrg="rs_as:1000:2"),
    "rpki_bgp_origin_validation_not_performed": _define(lrg="rs_as:1000:3"),
    "rpki_bgp_origin_validation_invalid": _define(lrg="rs_as:1000:4"),
}
PRESETS: dict[Preset, dict[str, Definition]] = {
    Preset.NONE: {},
    Preset.CLASSIC: _CLASSIC,
    Preset.EURO_IX: {
        **_CLASSIC,
        "do_not_announce_to_peers_with_rtt_higher_than": _define(lrg="rs_as:2:dyn_val"),
        "announce_to_peers_with_rtt_lower_than": _define(lrg="rs_as:3:dyn_val"),
        **{
            f"prepend_{times}_to_{whom}": _define(lrg=f"rs_as:{101 + i}:{value}")
            for i, times in enumerate(TIMES)
            for whom, value in (("any", "0"), ("peer", "peer_as"))
        },
        **_RPKI,
        "prefix_not_present_in_as_set": _define(lrg="rs_as:1001:0"),
        "prefix_present_in_as_set": _define(lrg="rs_as:1001:1"),
        "learnt_from": _define(lrg="rs_as:1010:peer_as"),
        "origin": _define(lrg="rs_as:1011:dyn_val"),
    },
    Preset.AROUTESERVER: {
        **_CLASSIC,
        **{
            f"prepend_{times}_to_any": _define(std=f"6550{i + 1}:rs_as", lrg=f"rs_as:{101 + i}:0")
            for i, times in enumerate(TIMES)
        },
        **{
            f"prepend_{times}_to_peer": _define(
                std=f"6551{i + 1}:peer_as", lrg=f"rs_as:{101 + i}:peer_as"
            )
            for i, times in enumerate(TIMES)
        },
        "add_noexport_to_peer": _define(std="65281:peer_as", lrg="rs_as:65281:peer_as"),
        "add_noadvertise_to_peer": _define(std="65282:peer_as", lrg="rs_as:65282:peer_as"),
        **_RPKI,
        "prefix_not_present_in_as_set": _define(lrg="rs_as:64512:10"),
        "prefix_present_in_as_set": _define(lrg="rs_as:64512:11"),
        "origin_not_present_in_as_set": _define(lrg="rs_as:64512:20"),
        "origin_present_in_as_set": _define(lrg="rs_as:64512:21"),
        "prefix_validated_via_rpki_roas": _define(lrg="rs_as:64512:31"),
        "route_validated_via_white_list": _define(lrg="rs_as:64512:41"),
        "reject_cause": _define(std="65520:dyn_val", lrg="rs_as:65520:dyn_val"),
    },
}
CAUSES: dict[Preset, dict[int, Definition]] = {
    Preset.NONE: {},
    Preset.CLASSIC: {},
    Preset.EURO_IX: _causes(
        {
            1: 5,
            2: 3,
            3: 3,
            5: 8,
            6: 7,
            7: 4,
            8: 14,
            9: 10,
            10: 3,
            11: 3,
            12: 9,
            13: 1,
            14: 13,
            16: 15,
        }
    ),
    Preset.AROUTESERVER: _causes(
        {1: 5, 2: 3, 5: 8, 6: 7, 7: 4, 8: 14, 9: 10, 10: 3, 12: 9, 14: 13}
    ),
}
"""Reject code -> what also says so; the codes are those of rs/reasons.py."""


# --- tables ---------------------------------------------------------------------------------------

THRESHOLDS = (5, 10, 15, 20, 30, 50, 100, 200, 500)


@attrs.frozen(kw_only=True)
class Communities:
    """[communities]: every community that means something here."""

    preset: Preset = attrs.field(
        default=Preset.CLASSIC,
        metadata=key(kinds.choice(Preset), Effect.REEVALUATE, '"classic"'),
    )
    rtt_thresholds: tuple[int, ...] = attrs.field(
        default=THRESHOLDS,
        metadata=key(
            kinds.list_of(kinds.integer(1, 65535, "milliseconds"), empty=True),
            Effect.REEVALUATE,
            "[5, 10, 15, 20, 30, 50, 100, 200, 500]",
        ),
    )
    """Round-trip times in ms that communities may name."""
    own: Mapping[str, Definition] = attrs.field(factory=dict)
    """Definitions of the file by name."""
    own_causes: Mapping[int, Definition] = attrs.field(factory=dict)
    """Its reject_cause_map."""

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """Every definition by name: the file's over the preset's."""
        return {**PRESETS[self.preset], **self.own}

    @property
    def causes(self) -> Mapping[int, Definition]:
        """Every entry of the reject_cause_map."""
        return {**CAUSES[self.preset], **self.own_causes}


@attrs.frozen(kw_only=True)
class BlackHoles:
    """[blackhole]: what becomes of routes whose traffic is to be dropped (RFC 7999)."""

    policy_ipv4: BlackHolePolicy = attrs.field(
        default=BlackHolePolicy.NONE,
        metadata=key(kinds.choice(BlackHolePolicy), Effect.REEVALUATE, '"none"'),
    )
    policy_ipv6: BlackHolePolicy = attrs.field(
        default=BlackHolePolicy.NONE,
        metadata=key(kinds.choice(BlackHolePolicy), Effect.REEVALUATE, '"none"'),
    )
    next_hop_ipv4: str | None = attrs.field(
        default=None, metadata=key(kinds.HOST, Effect.REEVALUATE, "none")
    )
    next_hop_ipv6: str | None = attrs.field(
        default=None, metadata=key(kinds.HOST, Effect.REEVALUATE, "none")
    )
    add_noexport: bool = attrs.field(
        default=True, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    receive: bool = attrs.field(
        default=True, metadata=key(kinds.BOOLEAN, Effect.REEVALUATE, "true")
    )
    """Whether neighbors who do not say so themselves are sent black holes."""
    prefix_length_ipv4: tuple[int, int] = attrs.field(
        default=(8, 32), metadata=key(lengths(32), Effect.REEVALUATE, "[8, 32]")
    )
    prefix_length_ipv6: tuple[int, int] = attrs.field(
        default=(12, 128), metadata=key(lengths(128), Effect.REEVALUATE, "[12, 128]")
    )

    def policy(self, family: int) -> BlackHolePolicy:
        """Return what becomes of black holes of a family."""
        return self.policy_ipv6 if family else self.policy_ipv4

    def next_hop(self, family: int) -> str | None:
        """Return the next hop of black holes of a family, None where it stays."""
        if self.policy(family) is not BlackHolePolicy.REWRITE:
            return None
        return self.next_hop_ipv6 if family else self.next_hop_ipv4

    def lengths(self, family: int) -> tuple[int, int]:
        """Return the shortest and the longest prefix of a family that is a black hole."""
        return self.prefix_length_ipv6 if family else self.prefix_length_ipv4


def black_hole_faults(holes: BlackHoles) -> Iterator[tuple[str, str]]:
    """Yield (key, words) for values of [blackhole] that cannot stand together."""
    for version, hop, policy in (
        (4, holes.next_hop_ipv4, holes.policy_ipv4),
        (6, holes.next_hop_ipv6, holes.policy_ipv6),
    ):
        if hop is not None and (":" in hop) != (version == 6):
            yield (
                f"next_hop_ipv{version}",
                f"{hop} is of the other version; want an IPv{version} one",
            )
        elif hop is None and policy is BlackHolePolicy.REWRITE:
            words = f'"{policy.value}" wants next_hop_ipv{version} beside it'
            yield f"policy_ipv{version}", words
        elif hop is not None and policy is not BlackHolePolicy.REWRITE:
            words = f'is for policy_ipv{version} = "rewrite-next-hop"; want that beside it'
            yield f"next_hop_ipv{version}", words


# --- reading --------------------------------------------------------------------------------------


@attrs.frozen
class Fault:
    """What is wrong below [communities]."""

    where: Where
    words: str
    other: Where | None = None
    """Another definition that has to do with it."""


def read_communities(
    table: Mapping[str, Any], rs_asn: int | None
) -> tuple[Communities, list[Fault]]:
    """Return what [communities] says, and everything that is wrong with it."""
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    own: dict[str, Definition] = {}
    causes: dict[int, Definition] = {}
    known = frozenset({*keys_of(Communities), *NAMES, CAUSE_MAP})
    for name, value in table.items():
        if name in keys_of(Communities):
            attribute, found = keys_of(Communities)[name]
            try:
                values[attribute] = found.kind.parse(value)
            except BadValue as bad:
                faults += [Fault((name, *path), words) for path, words in bad.faults]
        elif name not in known:
            faults.append(Fault((name,), f"unknown key; {suggestion(name, known)}"))
        elif not isinstance(value, dict):
            faults.append(Fault((name,), f"{shown(value)} does not fit; want a table"))
        elif name == CAUSE_MAP:
            causes = _read_causes(value, faults)
        else:
            own[name] = _read_definition(value, (name,), NAMES[name], faults)
    read = Communities(**values, own=own, own_causes=causes)
    if rs_asn is not None:
        faults += _misfits(read, rs_asn)
        faults += _overlaps(read, rs_asn)
    return read, faults


def _read_causes(table: Mapping[str, Any], faults: list[Fault]) -> dict[int, Definition]:
    found: dict[int, Definition] = {}
    for name, value in table.items():
        where: Where = (CAUSE_MAP, name)
        if not (name.isascii() and name.isdigit() and int(name) <= MAX_CODE):
            faults.append(Fault(where, f"no reject code; want 0 to {MAX_CODE}"))
        elif not isinstance(value, dict):
            faults.append(Fault(where, f"{shown(value)} does not fit; want a table"))
        else:
            found[int(name)] = _read_definition(value, where, None, faults)
    return found


def _read_definition(
    table: Mapping[str, Any], where: Where, macro: str | None, faults: list[Fault]
) -> Definition:
    keys = keys_of(Definition)
    values: dict[str, Value] = {}
    for name, value in table.items():
        if name not in keys:
            words = f"unknown key; {suggestion(name, frozenset(keys))}"
            faults.append(Fault((*where, name), words))
            continue
        try:
            parsed: Value = keys[name][1].kind.parse(value)
        except BadValue as bad:
            faults += [Fault((*where, name), words) for _, words in bad.faults]
            continue
        wanted = () if macro is None else (macro,)
        if parsed.macros != wanted:
            words = f"want {macro} in it, once, and" if macro else "want"
            words = f"{shown(value)} does not fit; {words} no macro but rs_as"
            faults.append(Fault((*where, name), words))
            continue
        values[name] = parsed
    return Definition(**values)


def _misfits(read: Communities, rs_asn: int) -> Iterator[Fault]:
    for name, definition in read.own.items():
        for form, value in definition.forms():
            if words := value.fault(rs_asn):
                yield Fault((name, form), f'"{value}" cannot be: {words}; want another form')
    for code, definition in read.own_causes.items():
        for form, value in definition.forms():
            if words := value.fault(rs_asn):
                where = (CAUSE_MAP, str(code), form)
                yield Fault(where, f'"{value}" cannot be: {words}; want another form')


def may_equal(one: Value, other: Value, rs_asn: int) -> bool:
    """Return whether some community is both; a member's AS number is neither 0 nor ours."""
    if one.type != other.type or not {*one.widths(rs_asn)} & {*other.widths(rs_asn)}:
        return False
    for pair in zip(one.fields, other.fields, strict=True):
        first, second = (rs_asn if field == "rs_as" else field for field in pair)
        numbers = [field for field in (first, second) if isinstance(field, int)]
        if len(numbers) == 2 and numbers[0] != numbers[1]:
            return False
        if numbers and "peer_as" in {first, second} and numbers[0] in {0, rs_asn}:
            return False
    return True


def _overlaps(read: Communities, rs_asn: int) -> Iterator[Fault]:
    """Yield a fault for each two definitions that some value would fall under."""
    entries: list[tuple[str, Where, bool, Definition]] = [
        (name, (name,), name in read.own, definition)
        for name, definition in read.definitions.items()
    ]
    entries += [
        (CAUSE_MAP, (CAUSE_MAP, str(code)), code in read.own_causes, definition)
        for code, definition in read.causes.items()
    ]
    for (name, where, own, one), (other_name, other_where, other_own, other) in combinations(
        entries, 2
    ):
        if name == other_name or not (own or other_own):
            continue
        for form in FORMS:
            first, second = getattr(one, form), getattr(other, form)
            if first is None or second is None or first.fault(rs_asn) or second.fault(rs_asn):
                continue
            if not may_equal(first, second, rs_asn):
                continue
            if other_own:
                words = f'"{second}" overlaps {".".join(map(str, where))}, "{first}"'
                source = where if own else None
                at = (*other_where, form)
            else:
                words = f'"{first}" overlaps {".".join(map(str, other_where))}, "{second}"'
                source, at = None, (*where, form)
            if source is None:
                words += f' of preset "{read.preset.value}"'
            yield Fault(at, words, source)
