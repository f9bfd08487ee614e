"""Communities out of the configuration: what the fast path looks values up in, and reject tags.

In: definitions with macros, our AS number. Out: rules of octets under masks, the most specific
first; the communities of a rejected path. RFC 1997, 4360 (types 0x00 and 0x02, RFC 5668), 8092.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from rs._fastpath.commrules import CommunityRules
from rs.reasons import reject_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.communityconfig import Communities, Definition, Value
    from rs.iana import RejectReason

KINDS = {"std": 0, "ext": 1, "lrg": 2}
"""Forms as the fast path numbers them (KIND_*)."""
ATTRIBUTES = {"std": "communities", "ext": "ext_communities", "lrg": "large_communities"}
"""Forms as the keys of an attribute dict."""
SUBTYPES = {"rt": 2, "ro": 3}


class Action(IntEnum):
    """What a community asks for (ACT_*)."""

    NONE = 0
    DENY_ANY = 1
    DENY_PEER = 2
    ALLOW_PEER = 3
    DENY_LOWER = 4
    DENY_HIGHER = 5
    ALLOW_LOWER = 6
    ALLOW_HIGHER = 7
    PREPEND_ANY = 8
    PREPEND_PEER = 9
    PREPEND_LOWER = 10
    PREPEND_HIGHER = 11
    NO_EXPORT_ANY = 12
    NO_EXPORT_PEER = 13
    NO_ADVERTISE_ANY = 14
    NO_ADVERTISE_PEER = 15
    BLACKHOLE = 16
    GSHUT = 17


class Inform(IntEnum):
    """What an informational community tells (INFORM_*)."""

    RPKI_NOT_CHECKED = 0
    RPKI_VALID = 1
    RPKI_UNKNOWN = 2
    RPKI_INVALID = 3
    PREFIX_PRESENT = 4
    PREFIX_NOT_PRESENT = 5
    ORIGIN_PRESENT = 6
    ORIGIN_NOT_PRESENT = 7
    BY_ROA = 8
    BY_WHITE_LIST = 9
    LEARNT_FROM = 10
    ORIGIN = 11


_RTT = {"lower_than": "LOWER", "higher_than": "HIGHER"}
ACTIONS: dict[str, tuple[Action, int]] = {
    "blackholing": (Action.BLACKHOLE, 0),
    "graceful_shutdown": (Action.GSHUT, 0),
    "do_not_announce_to_any": (Action.DENY_ANY, 0),
    "do_not_announce_to_peer": (Action.DENY_PEER, 0),
    "announce_to_peer": (Action.ALLOW_PEER, 0),
    "add_noexport_to_any": (Action.NO_EXPORT_ANY, 0),
    "add_noexport_to_peer": (Action.NO_EXPORT_PEER, 0),
    "add_noadvertise_to_any": (Action.NO_ADVERTISE_ANY, 0),
    "add_noadvertise_to_peer": (Action.NO_ADVERTISE_PEER, 0),
    **{
        f"{words}_to_peers_with_rtt_{side}": (Action[f"{verb}_{short}"], 0)
        for words, verb in (("do_not_announce", "DENY"), ("announce", "ALLOW"))
        for side, short in _RTT.items()
    },
    **{
        f"prepend_{times}_to_{whom}": (Action[f"PREPEND_{short}"], i)
        for i, times in enumerate(("once", "twice", "thrice"), 1)
        for whom, short in (
            ("any", "ANY"),
            ("peer", "PEER"),
            *((f"peers_with_rtt_{side}", short) for side, short in _RTT.items()),
        )
    },
}
"""Communities that members set -> what is done, and how often."""
TELLS = {
    "rpki_bgp_origin_validation_not_performed": Inform.RPKI_NOT_CHECKED,
    "rpki_bgp_origin_validation_valid": Inform.RPKI_VALID,
    "rpki_bgp_origin_validation_unknown": Inform.RPKI_UNKNOWN,
    "rpki_bgp_origin_validation_invalid": Inform.RPKI_INVALID,
    "prefix_present_in_as_set": Inform.PREFIX_PRESENT,
    "prefix_not_present_in_as_set": Inform.PREFIX_NOT_PRESENT,
    "origin_present_in_as_set": Inform.ORIGIN_PRESENT,
    "origin_not_present_in_as_set": Inform.ORIGIN_NOT_PRESENT,
    "prefix_validated_via_rpki_roas": Inform.BY_ROA,
    "route_validated_via_white_list": Inform.BY_WHITE_LIST,
    "learnt_from": Inform.LEARNT_FROM,
    "origin": Inform.ORIGIN,
}
"""Communities that we set on what we announce."""


class Pattern:
    """One layout of a value: its octets, which of them count, and where a macro stands."""

    def __init__(self, value: Value, widths: tuple[int, ...], rs_asn: int) -> None:
        head = bytes([0 if widths[0] == 2 else 2, SUBTYPES[value.type]]) if value.type else b""
        octets, mask = bytearray(head), bytearray(b"\xff" * len(head))
        self.var_at = self.var_len = 0
        for field, width in zip(value.fields, widths, strict=True):
            number = rs_asn if field == "rs_as" else field
            if isinstance(number, str):
                self.var_at, self.var_len = len(octets), width
                number = 0
                mask += bytes(width)
            else:
                mask += b"\xff" * width
            octets += number.to_bytes(width, "big")
        self.octets, self.mask = bytes(octets), bytes(mask)

    def filled(self, number: int) -> bytes | None:
        """Return the octets with a number in the place of the macro; None if it does not fit."""
        if not self.var_len:
            return self.octets
        if number >= 1 << 8 * self.var_len:
            return None
        end = self.var_at + self.var_len
        return self.octets[: self.var_at] + number.to_bytes(self.var_len, "big") + self.octets[end:]


def patterns(definition: Definition, rs_asn: int) -> Iterator[tuple[str, Pattern]]:
    """Yield ("std", "ext" or "lrg", layout) of a definition, without those that cannot be."""
    for form, value in definition.forms():
        if value.fault(rs_asn) is None:
            for widths in value.widths(rs_asn):
                yield form, Pattern(value, widths, rs_asn)


def make_rules(communities: Communities, rs_asn: int) -> CommunityRules:
    """Return what the fast path acts on, takes out and adds."""
    rules = CommunityRules()
    found: list[tuple[int, Pattern, Action, int]] = []
    for name, definition in communities.definitions.items():
        action, amount = ACTIONS.get(name, (Action.NONE, 0))
        told: set[str] = set()
        for form, pattern in patterns(definition, rs_asn):
            found.append((KINDS[form], pattern, action, amount))
            if name in TELLS and form not in told:
                told.add(form)
                where = (pattern.var_at, pattern.var_len)
                rules.inform(TELLS[name], KINDS[form], pattern.octets, *where)
    for definition in communities.causes.values():
        for form, pattern in patterns(definition, rs_asn):
            found.append((KINDS[form], pattern, Action.NONE, 0))
    found.sort(key=lambda item: item[1].var_len)
    for kind, pattern, action, amount in found:
        where = (pattern.var_at, pattern.var_len)
        rules.add(kind, pattern.octets, pattern.mask, action, amount, *where)
    return rules


def reject_communities(
    communities: Communities, rs_asn: int, reason: RejectReason | int, peer_asn: int
) -> dict[str, Any]:
    """Return the communities of a path of `peer_asn` that import rejects, as in an attribute dict.

    They are those of reject_cause, of its map, and of rejected_route_announced_by.
    """
    code = reject_code(reason)
    wanted: list[tuple[Definition | None, int]] = [
        (communities.definitions.get("reject_cause"), code),
        (communities.causes.get(code), 0),
        (communities.definitions.get("rejected_route_announced_by"), peer_asn),
    ]
    out: dict[str, Any] = {}
    for definition, number in wanted:
        done: set[str] = set()
        for form, pattern in patterns(definition, rs_asn) if definition is not None else ():
            octets = pattern.filled(number)
            if octets is not None and form not in done:
                done.add(form)
                key = ATTRIBUTES[form]
                out[key] = (*out.get(key, ()), decoded(form, octets))
    return out


def decoded(form: str, octets: bytes) -> Any:
    """Return one value as in an attribute dict."""
    if form == "std":
        return int.from_bytes(octets, "big")
    if form == "ext":
        return octets
    return tuple(int.from_bytes(octets[i : i + 4], "big") for i in (0, 4, 8))
