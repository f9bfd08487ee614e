"""ARouteServer's files as a whole: who the clients are, and which options are in force for each.

In: trees of rs/yamlfile.py. Out: a `Site`: what was given, each value with its place. An option
that is not known, does not fit or cannot stand beside another is a fault that names
file, key and line. The options themselves are in rs/arouteserver.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from rs import configvalues as kinds
from rs.arouteserver import (
    ALIASES,
    CLIENT_KEYS,
    IRR,
    OPTIONS,
    BadItem,
    Given,
    Option,
    asn,
    list_of,
    of_kind,
    prefix_entries,
    scalar,
    whole,
)
from rs.configvalues import shown, suggestion

if TYPE_CHECKING:
    from rs.yamlfile import Item, Place


@attrs.define
class Settings:
    """The options in force: a client's own over the general ones over the defaults."""

    own: dict[str, Given]
    shared: dict[str, Given] = attrs.field(factory=dict)

    def __getitem__(self, name: str) -> Any:
        found = self.given(name)
        return OPTIONS[name].default if found is None else found.value

    def given(self, name: str) -> Given | None:
        """Return what was written for an option, None where nothing was."""
        return self.own.get(name) or self.shared.get(name)


@attrs.frozen
class Client:
    """One session of a client: an entry of clients.yml with one of its addresses."""

    asn: int
    address: str
    place: Place
    description: str
    password: Given | None
    mapped_asn: Given | None
    settings: Settings

    @property
    def is_ipv6(self) -> bool:
        """Whether the session runs over IPv6."""
        return ":" in self.address


@attrs.define
class Site:
    """What the files say."""

    general: Settings
    clients: list[Client] = attrs.field(factory=list)
    as_sets: dict[int, Given] = attrs.field(factory=dict)
    """AS-SETs of an AS, from the section `asns`."""
    bogons: Given | None = None


@attrs.define
class SiteReader:
    """From trees to a Site; what does not fit is in `faults`."""

    faults: list[str] = attrs.field(factory=list)
    _addresses: dict[str, Place] = attrs.field(factory=dict)
    _mapped: dict[int, tuple[int, Place]] = attrs.field(factory=dict)

    def _fault(self, place: Place, words: str) -> None:
        self.faults.append(f"{place}: {words}")

    def read(self, general: Item, clients: Item, bogons: Item | None) -> Site:
        """Return what the files say; it is of use only if there are no faults."""
        top = self._mapping(general, frozenset({"cfg", "custom_communities"}))
        shared: dict[str, Given] = {}
        if "cfg" not in top:
            self._fault(general.place, "no cfg; want the general options below it")
        else:
            shared = self._options(top["cfg"], "general")
        if "custom_communities" in top and "custom_communities" not in shared:
            found = self._parsed(OPTIONS["custom_communities"], top["custom_communities"])
            if found is not None:
                shared["custom_communities"] = found
        for name in ("rs_as", "router_id"):
            if "cfg" in top and name not in shared and not self.faults:
                self._fault(top["cfg"].place, f"no {name}; want it")
        site = Site(Settings(shared))
        below = self._mapping(clients, frozenset({"asns", "clients"}))
        if "asns" in below:
            self._read_asns(below["asns"], site)
        if "clients" not in below:
            self._fault(clients.place, "no clients; want a list of them")
        elif not isinstance(below["clients"].value, list):
            self._fault(below["clients"].place, "want a list of clients")
        else:
            for item in below["clients"].value:
                self._read_client(item, site)
        if bogons is not None:
            lists = self._mapping(bogons, frozenset({"bogons"}))
            if "bogons" not in lists:
                self._fault(bogons.place, "no bogons; want a list of prefixes")
            else:
                site.bogons = self._parsed(Option(prefix_entries), lists["bogons"])
        self._check(site)
        return site

    def _mapping(self, item: Item, known: frozenset[str]) -> dict[str, Item]:
        """Return what is in a mapping, without keys that have no value."""
        if item.value is None:
            return {}
        if not isinstance(item.value, dict):
            self._fault(item.place, f"want a mapping with {', '.join(sorted(known))}")
            return {}
        for name, one in item.value.items():
            if name not in known:
                self._fault(one.place, f"unknown key; {suggestion(name, known)}")
        return {k: v for k, v in item.value.items() if k in known and v.value is not None}

    def _parsed(self, option: Option, item: Item) -> Given | None:
        try:
            return Given(option.parse(item), item.place)
        except BadItem as bad:
            self._fault(bad.place, str(bad))
            return None

    def _options(self, item: Item, of: str, path: str = "") -> dict[str, Given]:
        """Return the options below a mapping, by their paths."""
        found: dict[str, Given] = {}
        if item.value is None:
            return found
        if not isinstance(item.value, dict):
            self._fault(item.place, "want a mapping of options")
            return found
        for name, one in item.value.items():
            full = f"{path}.{name}" if path else name
            full = ALIASES.get(full, full)
            option = OPTIONS.get(full)
            if option is not None:
                if not getattr(option, of):
                    where = "clients.yml" if of == "general" else "general.yml"
                    self._fault(one.place, f"is an option of {where}")
                elif one.value is not None:
                    given = self._parsed(option, one)
                    if given is not None:
                        found[full] = given
            elif any(known.startswith(f"{full}.") for known in OPTIONS):
                found |= self._options(one, of, full)
            else:
                start = f"{path}." if path else ""
                beside = frozenset(
                    known[len(start) :].partition(".")[0]
                    for known, option in OPTIONS.items()
                    if known.startswith(start) and getattr(option, of)
                )
                self._fault(one.place, f"unknown option; {suggestion(name, beside)}")
        return found

    def _read_asns(self, item: Item, site: Site) -> None:
        if not isinstance(item.value, dict):
            self._fault(item.place, "want a mapping of AS numbers, as AS64500")
            return
        for name, one in item.value.items():
            number = re.fullmatch(r"AS(\d{1,10})", name)
            if number is None:
                self._fault(one.place, f"{shown(name)} is no AS number; want it as AS64500")
                continue
            fields = self._mapping(one, frozenset({"as_sets"}))
            if "as_sets" in fields:
                given = self._parsed(OPTIONS[f"{IRR}as_sets"], fields["as_sets"])
                if given is not None:
                    site.as_sets[int(number[1])] = given

    def _read_client(self, item: Item, site: Site) -> None:
        fields = self._mapping(item, CLIENT_KEYS)
        before = len(self.faults)
        for name in ("asn", "ip"):
            if name not in fields:
                self._fault(item.place, f"no {name}; want it")
        if len(self.faults) > before or not isinstance(item.value, dict):
            return
        number = self._parsed(Option(asn), fields["asn"])
        addresses = self._parsed(Option(list_of(of_kind(kinds.HOST))), fields["ip"])
        settings = Settings({}, site.general.own)
        if "cfg" in fields:
            settings.own = self._options(fields["cfg"], "client")
        if number is None or addresses is None:
            return
        text = {name: self._text(fields, name) for name in ("description", "password")}
        mapped = None
        if "16bit_mapped_asn" in fields:
            mapped = self._parsed(Option(whole(64512, 65534)), fields["16bit_mapped_asn"])
            if mapped is not None:
                self._map(number.value, mapped)
        for address in addresses.value:
            if address in self._addresses:
                first = self._addresses[address]
                self._fault(fields["ip"].place, f"{address} is there twice; first in {first}")
                continue
            self._addresses[address] = fields["ip"].place
            description = text["description"]
            site.clients.append(
                Client(
                    asn=number.value,
                    address=address,
                    place=item.place,
                    description="" if description is None else " ".join(description.value.split()),
                    password=text["password"],
                    mapped_asn=mapped,
                    settings=settings,
                )
            )

    def _text(self, fields: dict[str, Item], name: str) -> Given | None:
        parse = of_kind(kinds.PASSWORD) if name == "password" else scalar
        return self._parsed(Option(parse), fields[name]) if name in fields else None

    def _map(self, number: int, mapped: Given) -> None:
        other, place = self._mapped.setdefault(mapped.value, (number, mapped.place))
        if other != number:
            self._fault(mapped.place, f"{mapped.value} stands for AS{other} already: {place}")

    def _check(self, site: Site) -> None:
        """Note what cannot stand together."""
        general = site.general
        thresholds = general["rtt_thresholds"]
        given = general.given("rtt_thresholds")
        if given is not None and list(thresholds) != sorted(thresholds):
            self._fault(given.place, "not in ascending order; want the lowest first")
        for family in ("ipv4", "ipv6"):
            if general[f"blackhole_filtering.policy_{family}"] == "rewrite-next-hop":
                policy = general.given(f"blackhole_filtering.policy_{family}")
                hop = general[f"blackhole_filtering.rewrite_next_hop_{family}"]
                if policy is not None and (hop is None or (":" in hop) != (family == "ipv6")):
                    words = f"wants an address of the family in rewrite_next_hop_{family}"
                    self._fault(policy.place, words)
        numbers = {client.asn for client in site.clients}
        for mapped, (number, at) in self._mapped.items():
            if mapped in numbers:
                self._fault(at, f"{mapped} is a client's AS number; want another for AS{number}")
        custom = general["custom_communities"]
        seen: set[int] = set()
        for client in site.clients:
            settings = client.settings
            if id(settings) in seen:
                continue
            seen.add(id(settings))
            names = settings.own.get("attach_custom_communities")
            for name in () if names is None else names.value:
                if names is not None and name not in custom and not self.faults:
                    known = suggestion(name, frozenset(custom)) if custom else "there are none"
                    self._fault(names.place, f"{shown(name)}: no such custom community; {known}")
            policy = settings.given("filtering.next_hop.policy")
            listed = settings.own.get("filtering.next_hop.authorized_addresses_list")
            wanted = policy is not None and policy.value == "authorized_addresses"
            if wanted and not (listed and listed.value):
                self._fault(client.place, "next_hop.policy wants authorized_addresses_list here")
            if listed is not None and not wanted:
                self._fault(listed.place, "is for next_hop.policy authorized_addresses")
        for family, bits in (("ipv4", 32), ("ipv6", 128)):
            for settings in (general, *(client.settings for client in site.clients)):
                low = settings[f"filtering.{family}_pref_len.min"]
                high = settings[f"filtering.{family}_pref_len.max"]
                place = settings.given(f"filtering.{family}_pref_len.min") or settings.given(
                    f"filtering.{family}_pref_len.max"
                )
                if low > high and place is not None:
                    words = f"min {low} is above max {high}; want 0 <= min <= max <= {bits}"
                    self._fault(place.place, words)
                    break
