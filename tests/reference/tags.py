"""What communities ask for and tell, read from their definitions value by value and member by member.

In: definitions as text with macros (`rs_as:0:peer_as`), members with AS number, 16-bit stand-in and
round-trip time. Out: for one member and one path whether it goes there, and how it looks there. Slow
and without any compiling: each value is compared with each definition each time.

Interpretations:

 1. A form that has no room for our AS number does not exist. `peer_as` and `dyn_val` stand for any
    number in what is ours (and so is taken out), also for 0 and for what no member has.
 2. The forms of a definition are equal; all values of all definitions are taken out on the way to a
    route server client, and what we add comes behind what is left, unless it is there already.
 3. Of informational communities a 16-bit field cannot tell of a larger AS number: then it is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rs.iana import SegmentType, WellKnownCommunity

if TYPE_CHECKING:
    from collections.abc import Mapping

Attrs = dict[str, Any]
KEYS = {"std": "communities", "ext": "ext_communities", "lrg": "large_communities"}
COUNTS = {"once": 1, "twice": 2, "thrice": 3}
STATES = ("not_performed", "valid", "unknown", "invalid")


@dataclass(frozen=True)
class Far:
    """A member, as communities speak of it."""

    asn: int
    mapped: int | None = None
    rtt: int | None = None
    holes: bool = True
    """It accepts black holes."""


def parts_of(form: str, value: Any) -> tuple[tuple[int, int], ...] | None:
    """(number, bits) of a community's fields; of an extended one behind its subtype."""
    if form == "std":
        return ((value >> 16, 16), (value & 0xFFFF, 16))
    if form == "lrg":
        return tuple((number, 32) for number in value)
    if value[0] not in {0, 2} or value[1] not in {2, 3}:
        return None
    cut = 4 if value[0] == 0 else 6
    fields = (value[2:cut], value[cut:])
    return ((value[1], 8), *((int.from_bytes(f, "big"), 8 * len(f)) for f in fields))


@dataclass
class Tags:
    """All definitions, and who is there."""

    definitions: Mapping[str, Mapping[str, str]]
    """Name -> form ("std", "ext", "lrg") -> text."""
    rs_asn: int
    thresholds: tuple[int, ...] = ()
    far: dict[int, Far] = field(default_factory=dict)
    """By peer."""
    holes: bool = False
    """Black holes are served."""
    holes_no_export: bool = True

    def matches(self, form: str, text: str, value: Any) -> tuple[bool, int | None, int]:
        """Whether a value falls under a text; its variable number and that one's bits."""
        wanted = text.split(":")
        found = parts_of(form, value)
        if found is None:
            return False, None, 0
        if form == "ext":
            if {"rt": 2, "ro": 3, "soo": 3}[wanted[0]] != found[0][0]:
                return False, None, 0
            wanted, found = wanted[1:], found[1:]
            head = self.rs_asn if wanted[0] == "rs_as" else wanted[0]
            if str(head).isdigit() and found[0][1] != (16 if int(head) <= 0xFFFF else 32):
                return False, None, 0
        variable, width = None, 0
        for want, (number, bits) in zip(wanted, found, strict=True):
            if want in {"peer_as", "dyn_val"}:
                variable, width = number, bits
            elif number != (self.rs_asn if want == "rs_as" else int(want)):
                return False, None, 0
        return True, variable, width

    def found(self, attrs: Attrs) -> list[tuple[str, int | None, int]]:
        """(name, number, bits of it) of every value that is ours."""
        out = []
        for form, key in KEYS.items():
            for value in attrs.get(key, ()):
                exact = [
                    (name, number, bits)
                    for name, forms in self.definitions.items()
                    if form in forms
                    for fits, number, bits in [self.matches(form, forms[form], value)]
                    if fits
                ]
                # `0:rs_as` is `0:peer_as` as well, and no member has our AS number.
                exact.sort(key=lambda item: item[1] is not None)
                out += exact[:1]
        return out

    @staticmethod
    def names(far: Far, number: int | None, bits: int) -> bool:
        """Whether a number in a community means this member."""
        return number == far.asn or (bits == 16 and number == far.mapped and number is not None)

    def asked(self, attrs: Attrs, index: int) -> set[str]:
        """What is asked for that concerns a member: names without whom they are for."""
        far = self.far[index]
        out = set()
        for name, number, bits in self.found(attrs):
            if name.endswith("_to_peer"):
                if self.names(far, number, bits):
                    out.add(name)
            elif "_with_rtt_" in name:
                if number not in self.thresholds or far.rtt is None:
                    continue
                if far.rtt < number if "lower" in name else far.rtt > number:
                    out.add(f"{name} {number}")
            else:
                out.add(name)
        return out

    def is_hole(self, attrs: Attrs) -> bool:
        """Whether a path asks for traffic to be dropped."""
        names = {name for name, _, _ in self.found(attrs)}
        communities = attrs.get("communities", ())
        return WellKnownCommunity.BLACKHOLE in communities or "blackholing" in names

    def allows(self, attrs: Attrs, index: int) -> bool:
        """Whether a member may have a path, apart from loops."""
        asked = self.asked(attrs, index)
        if self.holes and self.is_hole(attrs) and not self.far[index].holes:
            return False
        if "do_not_announce_to_peer" in asked:
            return False
        if "announce_to_peer" in asked:
            return True
        if any(name.startswith("do_not_announce_to_peers_with_rtt") for name in asked):
            return False
        if any(name.startswith("announce_to_peers_with_rtt") for name in asked):
            return True
        return "do_not_announce_to_any" not in asked

    def prepends(self, attrs: Attrs, index: int) -> int:
        """How often the source's AS number is put in front for a member."""
        asked = self.asked(attrs, index)
        for_peer = [n for word, n in COUNTS.items() if f"prepend_{word}_to_peer" in asked]
        if for_peer:
            return min(for_peer)
        for side, turn in (("higher", -1), ("lower", 1)):
            timed = [
                (turn * int(name.split()[1]), COUNTS[name.split("_")[1]])
                for name in asked
                if name.startswith("prepend_") and f"rtt_{side}" in name
            ]
            if timed:
                return min(timed)[1]
        return min(
            (n for word, n in COUNTS.items() if f"prepend_{word}_to_any" in asked), default=0
        )

    def scrub(self, attrs: Attrs) -> Attrs:
        """Take out what is ours."""
        out = dict(attrs)
        for form, key in KEYS.items():
            texts = [forms[form] for forms in self.definitions.values() if form in forms]
            kept = tuple(
                value
                for value in attrs.get(key, ())
                if not any(self.matches(form, text, value)[0] for text in texts)
            )
            out.pop(key, None)
            if kept:
                out[key] = kept
        return out

    def told(self, source_asn: int, origin: int | None) -> dict[str, list[Any]]:
        """Informational communities of a path without any state, by key of an attribute dict."""
        out: dict[str, list[Any]] = {key: [] for key in KEYS.values()}
        for name, number in (
            ("rpki_bgp_origin_validation_not_performed", None),
            ("learnt_from", source_asn),
            ("origin", origin),
        ):
            if name != "rpki_bgp_origin_validation_not_performed" and not number:
                continue
            for form, text in self.definitions.get(name, {}).items():
                value = self.spelled(form, text, number)
                if value is not None:
                    out[KEYS[form]].append(value)
        return out

    def spelled(self, form: str, text: str, number: int | None) -> Any:
        """The community of a text, None when a number does not fit."""
        fields = text.split(":")
        kind = fields.pop(0) if form == "ext" else ""
        numbers = [
            self.rs_asn if f == "rs_as" else number if f in {"peer_as", "dyn_val"} else int(f)
            for f in fields
        ]
        if any(n is None or n >= 1 << (16 if form == "std" else 32) for n in numbers):
            return None
        if form == "ext":
            wide = numbers[0] > 0xFFFF
            if wide and numbers[1] > 0xFFFF:
                return None
            head = bytes([2 if wide else 0, 2 if kind == "rt" else 3])
            cut = 4 if wide else 2
            return head + numbers[0].to_bytes(cut, "big") + numbers[1].to_bytes(6 - cut, "big")
        if form == "std":
            return numbers[0] << 16 | numbers[1]
        return tuple(numbers)

    def output(self, attrs: Attrs, path_attrs: Attrs, source_asn: int, index: int) -> Attrs:
        """What a route server client is sent instead of `attrs`; `path_attrs` are as received."""
        out = self.scrub(attrs)
        asked = self.asked(path_attrs, index)
        n = self.prepends(path_attrs, index)
        if n:
            segments = tuple(out["as_path"])
            sequence = int(SegmentType.AS_SEQUENCE)
            mine = (source_asn,) * n
            if segments and segments[0][0] == sequence and len(segments[0][1]) + n <= 255:
                out["as_path"] = ((sequence, mine + tuple(segments[0][1])), *segments[1:])
            else:
                out["as_path"] = ((sequence, mine), *segments)
        origin = None
        if attrs.get("as_path"):
            kind, asns = attrs["as_path"][-1]
            origin = asns[-1] if kind == SegmentType.AS_SEQUENCE else None
        more = self.told(source_asn, origin)
        hole = self.holes and self.is_hole(path_attrs)
        well_known = more["communities"]
        if {"add_noexport_to_any", "add_noexport_to_peer"} & asked or (
            hole and self.holes_no_export
        ):
            well_known.append(int(WellKnownCommunity.NO_EXPORT))
        if {"add_noadvertise_to_any", "add_noadvertise_to_peer"} & asked:
            well_known.append(int(WellKnownCommunity.NO_ADVERTISE))
        if hole:
            well_known.append(int(WellKnownCommunity.BLACKHOLE))
        for key, values in more.items():
            had = out.get(key, ())
            added = tuple(value for value in values if value not in had)
            if had or added:
                out[key] = (*had, *added)
        return out
