"""Path attributes as JSON and as text.

In: an attribute dict, as `AttrTable.describe` gives it. Out: the same with numbers in the notation
of operators: AS numbers in asplain (RFC 5396), communities as `64500:1` (RFC 1997), `64500:1:2`
(RFC 8092) and `rt:64500:1` (RFC 4360, RFC 5668).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Literal

from rs.iana import Origin, SegmentType, WellKnownCommunity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rs.show_types import Attributes, Segment

_ORIGINS = {Origin.IGP: "IGP", Origin.EGP: "EGP", Origin.INCOMPLETE: "incomplete"}
_SEGMENTS: dict[int, Literal["set", "confed-sequence", "confed-set"]] = {
    SegmentType.AS_SET: "set",
    SegmentType.AS_CONFED_SEQUENCE: "confed-sequence",
    SegmentType.AS_CONFED_SET: "confed-set",
}
_BRACKETS = {"set": ("{", "}"), "confed-sequence": ("(", ")"), "confed-set": ("[", "]")}
_EXT_KINDS = {0x02: "rt", 0x03: "soo"}
"""Subtypes that all three forms of an AS- or address-specific extended community share."""
_EXT_FORMS = {0x00: "as2", 0x01: "ip", 0x02: "as4"}
_AIGP_METRIC = 1
_AIGP_LEN = 11
_PLAIN = ("next_hop", "link_local", "med", "local_pref", "atomic_aggregate", "originator_id", "otc")
_WELL_KNOWN = {c.value: c.name.lower().replace("_", "-") for c in WellKnownCommunity}


def community_text(value: int) -> str:
    """Return a community as `64500:1` (RFC 1997)."""
    return f"{value >> 16}:{value & 0xFFFF}"


def community_name(text: str) -> str:
    """Return the name of a well-known community given as `65535:666`, else the text itself."""
    high, _, low = text.partition(":")
    return _WELL_KNOWN.get(int(high) << 16 | int(low), text)


def ext_community_text(value: bytes) -> str:
    """Return a route target or origin as `rt:64500:1`, any other as 16 hexadecimal digits."""
    kind = _EXT_KINDS.get(value[1])
    # 0x40 is the bit for "not transitive" (RFC 4360 2); the text could not tell it.
    form = _EXT_FORMS.get(value[0])
    if kind is None or form is None:
        return value.hex()
    if form == "as2":
        return f"{kind}:{int.from_bytes(value[2:4])}:{int.from_bytes(value[4:])}"
    admin = IPv4Address(value[2:6]) if form == "ip" else int.from_bytes(value[2:6])
    return f"{kind}:{admin}:{int.from_bytes(value[6:])}"


def aigp_metric(tlvs: bytes) -> int | None:
    """Return the metric of the first AIGP TLV (RFC 7311 3), None where there is none."""
    at = 0
    while at + 3 <= len(tlvs):
        length = int.from_bytes(tlvs[at + 1 : at + 3])
        if tlvs[at] == _AIGP_METRIC and length == _AIGP_LEN and at + length <= len(tlvs):
            return int.from_bytes(tlvs[at + 3 : at + length])
        at += max(length, 3)
    return None


def _as_path(segments: Iterable[tuple[int, tuple[int, ...]]]) -> list[int | Segment]:
    out: list[int | Segment] = []
    for kind, asns in segments:
        if kind == SegmentType.AS_SEQUENCE:
            out.extend(asns)
        else:
            out.append({"type": _SEGMENTS[kind], "asns": list(asns)})
    return out


def community_list(attrs: Mapping[str, Any]) -> list[str]:
    """Return the communities of all three kinds of an attribute dict in the form of the API."""
    out = [community_text(c) for c in attrs.get("communities", ())]
    out += [f"{a}:{b}:{c}" for a, b, c in attrs.get("large_communities", ())]
    return out + [ext_community_text(c) for c in attrs.get("ext_communities", ())]


def attributes_json(attrs: Mapping[str, Any]) -> Attributes:
    """Return an attribute dict in the form of the API."""
    out: Attributes = {
        "origin": _ORIGINS[attrs["origin"]],  # type: ignore[typeddict-item]
        "as_path": _as_path(attrs["as_path"]),
    }
    for key in _PLAIN:
        if key in attrs:
            out[key] = attrs[key]  # type: ignore[literal-required]
    if "aggregator" in attrs:
        asn, address = attrs["aggregator"]
        out["aggregator"] = {"asn": asn, "address": address}
    if "communities" in attrs:
        out["communities"] = [community_text(c) for c in attrs["communities"]]
    if "large_communities" in attrs:
        out["large_communities"] = [f"{a}:{b}:{c}" for a, b, c in attrs["large_communities"]]
    if "ext_communities" in attrs:
        out["ext_communities"] = [ext_community_text(c) for c in attrs["ext_communities"]]
    if "cluster_list" in attrs:
        out["cluster_list"] = list(attrs["cluster_list"])
    if "aigp" in attrs:
        metric = aigp_metric(attrs["aigp"])
        if metric is not None:
            out["aigp"] = metric
    if "unknown" in attrs:
        out["unknown"] = [
            {"flags": flags, "type": kind, "value": value.hex()}
            for flags, kind, value in attrs["unknown"]
        ]
    return out


def as_path_text(path: Iterable[int | Segment]) -> str:
    """Return an `as_path` of the API as one line: sets in braces, confederations in brackets."""
    words = []
    for item in path:
        if isinstance(item, int):
            words.append(str(item))
        else:
            left, right = _BRACKETS[item["type"]]
            words.append(left + " ".join(map(str, item["asns"])) + right)
    return " ".join(words)


def communities_text(attributes: Attributes) -> str:
    """Return the communities of all three kinds as one line, well-known ones by name."""
    words = [community_name(text) for text in attributes.get("communities", [])]
    words += attributes.get("large_communities", [])
    words += attributes.get("ext_communities", [])
    return " ".join(words)
