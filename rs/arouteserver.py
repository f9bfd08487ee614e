"""The options of ARouteServer's general.yml and clients.yml: names, kinds of values, defaults.

In: values as rs/yamlfile.py gives them. Out: parsed ones; a value that does not fit raises
`BadItem`, which knows where it stands. rs/arsite.py reads whole files by this table, and what
becomes of an option is the business of rs/arimport.py.

Written from ARouteServer's documentation (release 1.23); none of its code is used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.configvalues import BadValue, shown, suggestion
from rs.yamlfile import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rs.yamlfile import Place


class BadItem(ValueError):  # noqa: N818 - a value, not an error of the program
    """A value that does not fit, and where."""

    def __init__(self, place: Place, words: str) -> None:
        super().__init__(words)
        self.place = place


@attrs.frozen
class Option:
    """One option: how it is read, what is in force without it, and in which files it may stand."""

    parse: Callable[[Item], Any]
    default: Any = None
    general: bool = True
    client: bool = False


@attrs.frozen
class Given:
    """A value that was written, and where."""

    value: Any
    place: Place


@attrs.frozen
class PrefixEntry:
    """An entry of a list of prefixes: with what is below, unless it is exact."""

    prefix: str
    low: int
    high: int
    asn: int | None = None
    """Only in white_list_route: the origin that it is for."""
    comment: str = ""

    @property
    def text(self) -> str:
        """The entry as our configuration writes it."""
        plen = int(self.prefix.partition("/")[2])
        bits = 128 if ":" in self.prefix else 32
        origin = f" AS{self.asn}" if self.asn is not None else ""
        if self.low == self.high == plen:
            return self.prefix + origin
        ge = f" ge {self.low}" if self.low != plen else ""
        le = f" le {self.high}" if self.high != bits or not ge else ""
        return f"{self.prefix}{ge}{le}{origin}"


# --- kinds of values -----------------------------------------------------------------------------


def scalar(item: Item) -> str:
    """Return the text of a scalar."""
    if not isinstance(item.value, str):
        what = "a mapping" if isinstance(item.value, dict) else "a list"
        raise BadItem(item.place, f"{what} does not fit; want one value")
    return item.value.strip()


def of_kind(kind: kinds.Kind) -> Callable[[Item], Any]:
    """Return a parser that takes text as one of our own kinds does."""

    def parse(item: Item) -> Any:
        try:
            return kind.parse(scalar(item))
        except BadValue as bad:
            raise BadItem(item.place, str(bad)) from None

    return parse


def boolean(item: Item) -> bool:
    """Read what YAML 1.1 takes for a boolean."""
    word = scalar(item).lower()
    if word in {"true", "yes", "on", "y"}:
        return True
    if word in {"false", "no", "off", "n"}:
        return False
    raise BadItem(item.place, f"{shown(word)} does not fit; want True or False")


def whole(low: int, high: int) -> Callable[[Item], int]:
    """Return a parser of whole numbers."""

    def parse(item: Item) -> int:
        word = scalar(item)
        if re.fullmatch(r"\d{1,10}", word) and low <= int(word) <= high:
            return int(word)
        raise BadItem(item.place, f"{shown(word)} does not fit; want {low} to {high}")

    return parse


def word(*options: str) -> Callable[[Item], str]:
    """Return a parser of one word out of several."""

    def parse(item: Item) -> str:
        found = scalar(item)
        if found not in options:
            wants = " or ".join(f'"{option}"' for option in options)
            raise BadItem(item.place, f"{shown(found)} does not fit; want {wants}")
        return found

    return parse


def asn(item: Item) -> int:
    """Read an AS number, with or without AS in front."""
    text = re.sub(r"(?i)^as(?=\d)", "", scalar(item))
    try:
        return kinds.parse_asn(text)
    except BadValue as bad:
        raise BadItem(item.place, str(bad)) from None


def items_of(item: Item) -> list[Item]:
    """Return a list's items; commas separate values in text, so that one is a list of one."""
    if item.value is None:
        return []
    if isinstance(item.value, list):
        return [one for one in item.value if one.value is not None]
    if isinstance(item.value, dict):
        raise BadItem(item.place, "a mapping does not fit; want a list")
    return [Item(part, item.place) for part in re.split(r"[\s,]+", item.value.strip()) if part]


def list_of(parse: Callable[[Item], Any]) -> Callable[[Item], tuple[Any, ...]]:
    """Return a parser of lists; what is in the list twice counts once."""

    def read(item: Item) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(parse(one) for one in items_of(item)))

    return read


def _fields(item: Item, known: frozenset[str]) -> dict[str, Item]:
    if not isinstance(item.value, dict):
        raise BadItem(item.place, f"want a mapping with {', '.join(sorted(known))}")
    for name, one in item.value.items():
        if name not in known:
            raise BadItem(one.place, f"unknown key; {suggestion(name, known)}")
    return {name: one for name, one in item.value.items() if one.value is not None}


PREFIX_KEYS = frozenset({"prefix", "length", "ge", "le", "exact", "max_length", "comment"})


def prefix_entry(item: Item, more: frozenset[str] = frozenset()) -> PrefixEntry:
    """Read an entry of a list of prefixes."""
    fields = _fields(item, PREFIX_KEYS | more)
    if "prefix" not in fields:
        raise BadItem(item.place, "no prefix; want prefix and length")
    address = scalar(fields["prefix"])
    if "length" in fields:
        address = f"{address.partition('/')[0]}/{whole(0, 128)(fields['length'])}"
    try:
        prefix: str = kinds.PREFIX.parse(address)
    except BadValue as bad:
        raise BadItem(fields["prefix"].place, str(bad)) from None
    plen, bits = int(prefix.partition("/")[2]), 128 if ":" in prefix else 32
    low, high = plen, bits
    if "exact" in fields and boolean(fields["exact"]):
        high = plen
        if "ge" in fields or "le" in fields:
            raise BadItem(fields["exact"].place, "beside ge or le; want one of them")
    if "ge" in fields:
        low = whole(plen, bits)(fields["ge"])
    upper = fields.get("le", fields.get("max_length"))
    if upper is not None:
        high = whole(low, bits)(upper)
    origin: int | None = None
    if "asn" in fields:
        origin = asn(fields["asn"])
    comment = scalar(fields["comment"]) if "comment" in fields else ""
    return PrefixEntry(prefix, low, high, origin, " ".join(comment.split()))


def prefix_entries(item: Item) -> tuple[PrefixEntry, ...]:
    """Read a list of prefixes."""
    return _entries(item, frozenset())


def route_entries(item: Item) -> tuple[PrefixEntry, ...]:
    """Read a list of prefixes, each perhaps with the AS number of its origin."""
    return _entries(item, frozenset({"asn"}))


def _entries(item: Item, more: frozenset[str]) -> tuple[PrefixEntry, ...]:
    if not isinstance(item.value, list):
        raise BadItem(item.place, "want a list of prefixes")
    return tuple(prefix_entry(one, more) for one in item.value if one.value is not None)


AS_SET = re.compile(
    r"(?:(?P<source>[A-Za-z][A-Za-z0-9-]*)::)?"
    r"(?P<name>(?:AS\d{1,10}|AS-[A-Z0-9_-]+)(?::(?:AS\d{1,10}|AS-[A-Z0-9_-]+))*)",
    re.IGNORECASE,
)


def as_set(item: Item) -> str:
    """Read the name of an AS-SET, perhaps with the source of the IRR that it is from."""
    name = scalar(item)
    if not AS_SET.fullmatch(name) or len(name) > 200:
        raise BadItem(
            item.place, f"{shown(name)} does not fit; want an AS-SET such as AS-FOO or RIPE::AS-FOO"
        )
    return name.upper()


@attrs.frozen
class CommunityForms:
    """The forms of one community, each as it was written, such as `rs_as:0:peer_as`."""

    std: Given | None = None
    lrg: Given | None = None
    ext: Given | None = None

    def __bool__(self) -> bool:
        return any((self.std, self.lrg, self.ext))


def _part(word: str) -> bool:
    return word in {"rs_as", "peer_as", "dyn_val"} or bool(re.fullmatch(r"\d{1,10}", word))


def community(item: Item) -> CommunityForms:
    """Read the forms of a community."""
    if item.value is None:
        return CommunityForms()
    fields = _fields(item, frozenset({"std", "lrg", "ext"}))
    forms: dict[str, Given] = {}
    for name, one in fields.items():
        text = scalar(one)
        parts = text.split(":")
        kind = parts.pop(0) if name == "ext" else "rt"
        if (
            len(parts) != (3 if name == "lrg" else 2)
            or kind not in {"rt", "ro"}
            or not all(map(_part, parts))
        ):
            wants = {"std": "x:x", "lrg": "x:x:x", "ext": "rt:x:x or ro:x:x"}[name]
            raise BadItem(one.place, f"{shown(text)} does not fit; want {wants}")
        forms[name] = Given(text, one.place)
    return CommunityForms(**forms)


def communities_by_name(item: Item) -> dict[str, CommunityForms]:
    """Read communities that have names of the site's own."""
    if not isinstance(item.value, dict):
        raise BadItem(item.place, "want a mapping of names")
    for name, one in item.value.items():
        if name in COMMUNITIES:
            raise BadItem(one.place, "is the name of a built-in community; want another one")
    return {name: _attachable(community(one)) for name, one in item.value.items()}


def _attachable(forms: CommunityForms) -> CommunityForms:
    """Return the forms of a community that is one value, not a pattern."""
    for name, widths in (("std", (16, 16)), ("lrg", (32, 32, 32)), ("ext", (32, 32))):
        given: Given | None = getattr(forms, name)
        if given is None:
            continue
        parts = given.value.split(":")[-len(widths) :]
        for part, bits in zip(parts, widths, strict=True):
            if part in {"peer_as", "dyn_val"} or (part != "rs_as" and int(part) >= 1 << bits):
                words = f"{shown(given.value)} does not fit; want numbers of {bits} bits, or rs_as"
                raise BadItem(given.place, words)
        if name == "ext" and all(part != "rs_as" and int(part) > 0xFFFF for part in parts):
            raise BadItem(given.place, "want one number of 16 bits, and one of 32")
    return forms


def reject_causes(item: Item) -> dict[int, CommunityForms]:
    """Read which communities stand for which reject code."""
    if not isinstance(item.value, dict):
        raise BadItem(item.place, "want a mapping of reject codes")
    found = {}
    for code, one in item.value.items():
        if not re.fullmatch(r"\d{1,5}", code):
            raise BadItem(one.place, f"{shown(code)} is no reject code; want a number")
        found[int(code)] = community(one)
    return found


def anything(item: Item) -> Item:
    """Take a value as it is: nothing here depends on it."""
    return item


def texts(item: Item) -> tuple[str, ...]:
    """Read a list of lines of text; commas mean nothing."""
    if isinstance(item.value, list):
        return tuple(scalar(one) for one in item.value if one.value is not None)
    return (scalar(item),)


def identifiers(item: Item) -> tuple[str, ...]:
    """Read one router id, or a list of them."""
    found = []
    for one in items_of(item):
        try:
            found.append(kinds.IDENTIFIER.parse(scalar(one)))
        except BadValue as bad:
            raise BadItem(one.place, str(bad)) from None
    if not found:
        raise BadItem(item.place, "the list is empty; want a router id")
    return tuple(found)


# --- options -------------------------------------------------------------------------------------

INFORMATIONAL = (
    *("prefix_present_in_as_set", "prefix_not_present_in_as_set"),
    *("origin_present_in_as_set", "origin_not_present_in_as_set"),
    "prefix_validated_via_rpki_roas",
    "prefix_validated_via_arin_whois_db_dump",
    "prefix_validated_via_registrobr_whois_db_dump",
    "route_validated_via_white_list",
    *(
        f"rpki_bgp_origin_validation_{state}"
        for state in ("not_performed", "valid", "unknown", "invalid")
    ),
)
IRR_TAGS = frozenset(name for name in INFORMATIONAL if not name.startswith("rpki_"))
"""Those that tag_as_set turns on."""
_RTT = ("rtt_lower_than", "rtt_higher_than")
_TIMES = ("once", "twice", "thrice")
CONTROL = (
    "blackholing",
    *("do_not_announce_to_any", "do_not_announce_to_peer", "announce_to_peer"),
    *(f"{what}_to_peers_with_{rtt}" for what in ("do_not_announce", "announce") for rtt in _RTT),
    *(f"prepend_{times}_to_{whom}" for whom in ("any", "peer") for times in _TIMES),
    *(f"prepend_{times}_to_peers_with_{rtt}" for rtt in _RTT for times in _TIMES),
    *(f"add_{what}_to_{whom}" for whom in ("any", "peer") for what in ("noexport", "noadvertise")),
)
REJECTED = ("reject_cause", "rejected_route_announced_by")
COMMUNITIES = frozenset((*INFORMATIONAL, *CONTROL, *REJECTED))
"""Names of the communities that mean something."""

_LIMIT = whole(0, 100_000_000)
IRR = "filtering.irrdb."
_MAX = "filtering.max_prefix."
_DUMP = ("use_arin_bulk_whois_data", "use_registrobr_bulk_whois_data")

OPTIONS: Mapping[str, Option] = {
    "rs_as": Option(asn),
    "router_id": Option(identifiers),
    "prepend_rs_as": Option(boolean, default=False, client=True),
    "path_hiding": Option(boolean, default=True),
    "passive": Option(boolean, default=True, client=True),
    "multihop": Option(whole(0, 255), default=0, client=True),
    "gtsm": Option(boolean, default=False, client=True),
    "add_path": Option(boolean, default=False, client=True),
    "rfc8950": Option(boolean, default=False, client=True),
    "filtering.next_hop.policy": Option(
        word("strict", "same-as", "authorized_addresses"), default="strict", client=True
    ),
    "filtering.next_hop.authorized_addresses_list": Option(
        list_of(of_kind(kinds.HOST)), default=(), general=False, client=True
    ),
    "filtering.ipv4_pref_len.min": Option(whole(0, 32), default=8, client=True),
    "filtering.ipv4_pref_len.max": Option(whole(0, 32), default=24, client=True),
    "filtering.ipv6_pref_len.min": Option(whole(0, 128), default=12, client=True),
    "filtering.ipv6_pref_len.max": Option(whole(0, 128), default=48, client=True),
    "filtering.global_black_list_pref": Option(prefix_entries, default=()),
    "filtering.black_list_pref": Option(prefix_entries, default=(), general=False, client=True),
    "filtering.max_as_path_len": Option(whole(1, 2000), default=32, client=True),
    "filtering.reject_invalid_as_in_as_path": Option(boolean, default=True, client=True),
    "filtering.transit_free.action": Option(word("reject", "warning")),
    "filtering.transit_free.asns": Option(list_of(asn), default=()),
    "filtering.never_via_route_servers.peering_db": Option(boolean, default=True),
    "filtering.never_via_route_servers.asns": Option(list_of(asn), default=()),
    f"{IRR}as_sets": Option(list_of(as_set), default=(), general=False, client=True),
    f"{IRR}enforce_origin_in_as_set": Option(boolean, default=True, client=True),
    f"{IRR}enforce_prefix_in_as_set": Option(boolean, default=True, client=True),
    f"{IRR}allow_longer_prefixes": Option(boolean, default=False),
    f"{IRR}tag_as_set": Option(boolean, default=True),
    f"{IRR}peering_db": Option(boolean, default=False),
    f"{IRR}white_list_route": Option(route_entries, default=(), general=False, client=True),
    f"{IRR}white_list_pref": Option(prefix_entries, default=(), general=False, client=True),
    f"{IRR}white_list_asn": Option(list_of(asn), default=(), general=False, client=True),
    f"{IRR}use_rpki_roas_as_route_objects.enabled": Option(boolean, default=False),
    **{f"{IRR}{name}.enabled": Option(boolean, default=False) for name in _DUMP},
    **{f"{IRR}{name}.source": Option(scalar, default="") for name in _DUMP},
    "filtering.rpki_bgp_origin_validation.enabled": Option(boolean, default=False, client=True),
    "filtering.rpki_bgp_origin_validation.reject_invalid": Option(
        boolean, default=True, client=True
    ),
    f"{_MAX}action": Option(word("shutdown", "restart", "block", "warning"), client=True),
    f"{_MAX}restart_after": Option(whole(1, 10_000), default=15, client=True),
    f"{_MAX}count_rejected_routes": Option(boolean, default=True, client=True),
    f"{_MAX}peering_db.enabled": Option(boolean, default=True, client=True),
    f"{_MAX}peering_db.increment.absolute": Option(_LIMIT, default=100, client=True),
    f"{_MAX}peering_db.increment.relative": Option(whole(0, 10_000), default=15, client=True),
    f"{_MAX}general_limit_ipv4": Option(_LIMIT, default=170_000),
    f"{_MAX}general_limit_ipv6": Option(_LIMIT, default=12_000),
    f"{_MAX}limit_ipv4": Option(_LIMIT, general=False, client=True),
    f"{_MAX}limit_ipv6": Option(_LIMIT, general=False, client=True),
    "filtering.roles.enabled": Option(boolean, default=False, client=True),
    "filtering.roles.strict_mode": Option(boolean, default=False, client=True),
    "filtering.roles.local_role": Option(
        word("provider", "rs", "rs-client", "customer", "peer"),
        default="rs",
        general=False,
        client=True,
    ),
    "filtering.reject_policy.policy": Option(
        word("reject", "tag", "tag_and_reject"), default="reject", client=True
    ),
    "rpki_roas.source": Option(
        word("ripe-rpki-validator-cache", "rtr"), default="ripe-rpki-validator-cache"
    ),
    "rpki_roas.ripe_rpki_validator_url": Option(
        texts,
        default=(
            "https://console.rpki-client.org/vrps.json",
            "https://rpki.gin.ntt.net/api/export.json",
            "https://rpki-validator.ripe.net/api/export.json",
        ),
    ),
    "rpki_roas.allowed_trust_anchors": Option(texts, default=()),
    "rpki_roas.ignore_cache_files_older_than": Option(_LIMIT, default=21_600),
    **{
        f"blackhole_filtering.policy_{family}": Option(
            word("propagate-unchanged", "rewrite-next-hop")
        )
        for family in ("ipv4", "ipv6")
    },
    **{
        f"blackhole_filtering.rewrite_next_hop_{family}": Option(of_kind(kinds.HOST))
        for family in ("ipv4", "ipv6")
    },
    "blackhole_filtering.announce_to_client": Option(boolean, default=True, client=True),
    "blackhole_filtering.add_noexport": Option(boolean, default=True),
    "graceful_shutdown.enabled": Option(boolean, default=False, client=True),
    "graceful_shutdown.local_pref": Option(whole(0, 0xFFFFFFFF), default=0),
    "rfc1997_wellknown_communities.policy": Option(word("pass", "rfc1997"), default="pass"),
    "rtt_thresholds": Option(
        list_of(whole(1, 65535)), default=(5, 10, 15, 20, 30, 50, 100, 200, 500)
    ),
    **{
        f"communities.{name}": Option(community, default=CommunityForms())
        for name in (*INFORMATIONAL, *CONTROL, *REJECTED)
    },
    "communities.reject_cause_map": Option(reject_causes, default={}),
    "custom_communities": Option(communities_by_name, default={}),
    "attach_custom_communities": Option(list_of(scalar), default=(), general=False, client=True),
    "custom_options": Option(anything, general=False, client=True),
}
"""Every option below `cfg`, by its path."""
ALIASES = {"filtering.rpki": "filtering.rpki_bgp_origin_validation"}
"""Names of earlier releases that may still stand in clients.yml."""
CLIENT_KEYS = frozenset({"asn", "ip", "description", "password", "16bit_mapped_asn", "cfg"})
