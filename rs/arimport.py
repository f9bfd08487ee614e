"""From ARouteServer's options to a configuration of ours: what each becomes, what is not honored.

In: a `Site` (rs/arsite.py) and what is known beside it. Out: tables for rs/tomlwrite.py, the
AS-SETs and VRPs to be fetched (rs/irrfetch.py), and a `Report` in which every option that was given
stands, either with the key that honors it or with the reason why nothing does. Defaults of
ARouteServer that are in force and not honored stand there too.

What a client inherits goes into [defaults] and [filters]; its own entry has what differs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from rs import arcommunities
from rs.arouteserver import OPTIONS
from rs.arreport import Report
from rs.filterconfig import NO_FILTERS, Filters
from rs.iana import Family
from rs.irrfetch import Bundle, Fetch
from rs.tomlwrite import Line, Table, bare_or_quoted

if TYPE_CHECKING:
    from rs.arextras import Extras
    from rs.arouteserver import PrefixEntry
    from rs.arsite import Client, Settings, Site

DESCRIPTION_LEN = 255
"""Octets of a description that the configuration takes."""


class Value(NamedTuple):
    """A value of ours, and the comment that says where it is from."""

    value: Any
    comment: str = ""
    items: tuple[str, ...] = ()


Keys = dict[str, Value]


@attrs.define
class Result:
    """The configuration, in two files, and what has to be fetched for it."""

    main: list[Table]
    members: list[Table]
    fetch: Fetch
    report: Report
    secrets: bool = False
    """Whether passwords stand in the members' file."""


def _entries(entries: tuple[PrefixEntry, ...], comment: str) -> Value:
    texts = {entry.text: entry.comment for entry in entries}
    return Value(list(texts), comment, tuple(texts.values()))


def _lines(keys: Keys, without: dict[str, Any] | None = None) -> list[Line]:
    """Return keys as lines; those with a value of `without` are left out."""
    skip = without or {}
    return [
        Line(key, found.value, found.comment, found.items)
        for key, found in keys.items()
        if key not in skip or found.value != skip[key]
    ]


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


_FILTER_DEFAULTS: dict[str, Any] = {
    name: _plain(getattr(NO_FILTERS, name)) for name in attrs.fields_dict(Filters)
}
"""What is in force where [filters] says nothing."""


_SESSION_DEFAULTS = {
    "ttl_security": False,
    "multihop": False,
    "prepend_own_as": False,
    "add_path": "off",
    "honor_well_known": False,
    "local_role": "none",
    "strict_role": False,
    "blackhole_receive": None,
}
"""What is in force for a route server's clients where [defaults] says nothing."""


def client_families(client: Client) -> tuple[str, ...]:
    """Return the families of a client's session: that of its address, both with RFC 8950."""
    if not client.is_ipv6:
        return ("ipv4",)
    return ("ipv4", "ipv6") if client.settings["rfc8950"] else ("ipv6",)


def _set_tables(bundle: Bundle) -> list[Table]:
    name = bare_or_quoted(bundle.name)
    lines = [Line("files", bundle.asn_files)] if bundle.asn_files else []
    if bundle.plain_asns:
        lines.append(Line("asns", list(bundle.plain_asns)))
    return [
        Table(
            f"[prefix_sets.{name}]",
            [Line("files", bundle.prefix_files), Line("empty", "reject")],
            comment=f"{', '.join(bundle.names)}{f' ({bundle.comment})' if bundle.comment else ''}",
        ),
        Table(f"[as_sets.{name}]", [*lines, Line("empty", "reject")]),
    ]


@attrs.define
class Importer:
    """One import."""

    site: Site
    extras: Extras
    report: Report = attrs.field(factory=Report)
    fetch: Fetch = attrs.field(factory=Fetch)
    _bundles: dict[tuple[int, tuple[str, ...]], Bundle] = attrs.field(factory=dict)

    @property
    def general(self) -> Settings:
        """The general options."""
        return self.site.general

    def run(self) -> Result:
        """Convert everything."""
        shared_session = self._session(self.general)
        shared_filters = self._filters(self.general, None)
        main = [self._router(), Table("[defaults]", _lines(shared_session, _SESSION_DEFAULTS))]
        main.append(Table("[filters]", _lines(shared_filters, _FILTER_DEFAULTS)))
        members = [
            self._member(client, shared_session, shared_filters) for client in self.site.clients
        ]
        main.append(self._rpki())
        main += arcommunities.community_tables(self.general, self.report)
        main.append(arcommunities.blackhole_table(self.general, self.report))
        main += arcommunities.policy_tables(self.general, self.report)
        self._unsupported()
        sets = [table for bundle in self._bundles.values() for table in _set_tables(bundle)]
        for given in self.site.as_sets.values():
            self.report.honor("asns.as_sets", given, "nothing: no client needs it")
        self.report.rest(self.general.own)
        for client in self.site.clients:
            self.report.rest(client.settings.own)
        self.fetch.bundles = list(self._bundles.values())
        return Result(
            main=[table for table in main if table.lines],
            members=[*sets, *members],
            fetch=self.fetch,
            report=self.report,
            secrets=any(client.password for client in self.site.clients),
        )

    # --- options, one after the other

    def _take(self, settings: Settings, option: str, becomes: str) -> tuple[Any, str]:
        """Return an option's value and a comment, noted as honored by a key."""
        given = settings.given(option)
        self.report.honor(option, given, becomes)
        if given is None:
            return OPTIONS[option].default, "ARouteServer's default"
        return given.value, given.place.short

    def _value(self, settings: Settings, option: str, becomes: str) -> Value:
        return Value(*self._take(settings, option, becomes))

    def _router(self) -> Table:
        number, comment = self._take(self.general, "rs_as", "router.asn")
        lines = [Line("asn", number, comment)]
        ids, comment = self._take(self.general, "router_id", "router.router_id")
        router_id = self.extras.router_id or ids[0]
        lines.append(Line("router_id", router_id, comment))
        if len(ids) > 1:
            self.report.notes.append(
                f"router_id has {len(ids)} values; this configuration is for {router_id}, "
                "the others are written with --router-id"
            )
        return Table("[router]", lines)

    def _session(self, settings: Settings) -> Keys:
        """Return what does not depend on a client's address."""
        keys: Keys = {}
        keys["passive"] = self._value(settings, "passive", "neighbors.passive")
        gtsm, comment = self._take(settings, "gtsm", "neighbors.ttl_security")
        hops, of_hops = self._take(settings, "multihop", "neighbors.multihop")
        if hops and gtsm:
            self.report.notes.append(f"gtsm is left out beside multihop ({of_hops})")
            gtsm = False
        keys["ttl_security"] = Value(gtsm, comment)
        keys["multihop"] = Value(hops or False, of_hops)
        keys["prepend_own_as"] = self._value(settings, "prepend_rs_as", "neighbors.prepend_own_as")
        several, comment = self._take(settings, "add_path", "neighbors.add_path")
        keys["add_path"] = Value("send" if several else "off", comment)
        rule, comment = self._take(
            settings, "rfc1997_wellknown_communities.policy", "neighbors.honor_well_known"
        )
        keys["honor_well_known"] = Value(rule == "rfc1997", comment)
        section = "filtering.roles."
        enabled, comment = self._take(settings, f"{section}enabled", "neighbors.local_role")
        role = settings[f"{section}local_role"]
        given = settings.given(f"{section}local_role")
        if enabled and role != "rs":
            why = f'{role}: a route server is "rs" to its clients, so these say no role'
            self.report.miss(f"{section}local_role", given, why)
            enabled = False
        self.report.honor(f"{section}local_role", given, "neighbors.local_role")
        keys["local_role"] = Value("rs" if enabled else "none", comment)
        strict, comment = self._take(settings, f"{section}strict_mode", "neighbors.strict_role")
        keys["strict_role"] = Value(strict and enabled, comment)
        if self.extras.rtts is None and arcommunities.uses_rtt(self.general):
            keys["rtt"] = Value("measured", "no --rtt was given")
        receive, comment = self._take(
            settings, "blackhole_filtering.announce_to_client", "neighbors.blackhole_receive"
        )
        # In [blackhole] for everybody.
        shared = self.general["blackhole_filtering.announce_to_client"]
        keys["blackhole_receive"] = Value(None if receive == shared else receive, comment)
        return keys

    def _filters(self, settings: Settings, client: Client | None) -> Keys:
        """Return the import rules of the general options, or those in force for a client."""
        keys: Keys = {}
        self._next_hops(settings, client, keys)
        for family in ("ipv4", "ipv6"):
            low, comment = self._take(
                settings, f"filtering.{family}_pref_len.min", f"filters.prefix_length_{family}"
            )
            high, other = self._take(
                settings, f"filtering.{family}_pref_len.max", f"filters.prefix_length_{family}"
            )
            comment = comment if comment == other else f"{comment}, {other}"
            keys[f"prefix_length_{family}"] = Value([low, high], comment)
        for option, key in (
            ("filtering.max_as_path_len", "max_as_path_length"),
            ("filtering.reject_invalid_as_in_as_path", "bogon_asns"),
            ("filtering.irrdb.enforce_origin_in_as_set", "irr_enforce_origin"),
            ("filtering.irrdb.enforce_prefix_in_as_set", "irr_enforce_prefix"),
            ("filtering.irrdb.allow_longer_prefixes", "irr_allow_longer"),
            ("filtering.irrdb.use_rpki_roas_as_route_objects.enabled", "roas_as_route_objects"),
        ):
            keys[key] = self._value(settings, option, f"filters.{key}")
        keys["ipv6_global_unicast_only"] = Value(True, "ARouteServer has no option for it")
        validates, comment = self._take(
            settings, "filtering.rpki_bgp_origin_validation.enabled", "filters.rpki"
        )
        # Without reject_invalid they are kept and not announced either, as rejected ones are here.
        self._take(settings, "filtering.rpki_bgp_origin_validation.reject_invalid", "filters.rpki")
        keys["rpki"] = Value("reject" if validates else "off", comment)
        option = "filtering.reject_policy.policy"
        policy, comment = self._take(settings, option, "filters.reject_policy")
        keys["reject_policy"] = Value(policy.replace("_", "-"), comment)
        option = "graceful_shutdown.enabled"
        keys["graceful_shutdown"] = self._value(settings, option, "filters.graceful_shutdown")
        self._lists(settings, client, keys)
        self._limits(settings, client, keys)
        if client is not None:
            self._irr(client, keys)
        return keys

    def _next_hops(self, settings: Settings, client: Client | None, keys: Keys) -> None:
        rule, comment = self._take(settings, "filtering.next_hop.policy", "filters.next_hop")
        if rule == "authorized_addresses":
            rule = "authorized" if client is not None else "strict"
        keys["next_hop"] = Value(rule, comment)
        addresses, comment = self._take(
            settings,
            "filtering.next_hop.authorized_addresses_list",
            "filters.next_hop_addresses",
        )
        if addresses:
            keys["next_hop_addresses"] = Value(list(addresses), comment)

    def _lists(self, settings: Settings, client: Client | None, keys: Keys) -> None:
        entries, comment = self._take(
            settings, "filtering.global_black_list_pref", "filters.black_list"
        )
        keys["black_list"] = _entries(entries, comment)
        if self.site.bogons is None:
            keys["bogon_prefixes"] = Value(True, "the built-in list")
        else:
            place = self.site.bogons.place.short
            keys["bogon_prefixes"] = _entries(self.site.bogons.value, place)
        asns, comment = self._take(
            settings,
            "filtering.never_via_route_servers.asns",
            "filters.never_via_route_server_asns",
        )
        found = set(asns)
        option = "filtering.never_via_route_servers.peering_db"
        if settings[option] and self.extras.networks is not None:
            self._take(settings, option, "filters.never_via_route_server_asns")
            found |= {n for n, one in self.extras.networks.items() if one.never_via_route_servers}
        elif settings[option]:
            self._no_peeringdb(option, settings)
        else:
            self.report.honor(option, settings.given(option), "filters.never_via_route_server_asns")
        keys["never_via_route_server_asns"] = Value(sorted(found), comment)
        self._transit_free(settings, keys)
        if client is None:
            return
        for option, key in (
            ("filtering.black_list_pref", "neighbor_black_list"),
            ("filtering.irrdb.white_list_pref", "irr_white_list_prefixes"),
        ):
            entries, comment = self._take(settings, option, f"filters.{key}")
            keys[key] = _entries(entries, comment)
        entries, comment = self._take(
            settings, "filtering.irrdb.white_list_route", "filters.irr_white_list_routes"
        )
        keys["irr_white_list_routes"] = _entries(entries, comment)
        asns, comment = self._take(
            settings, "filtering.irrdb.white_list_asn", "filters.irr_white_list_asns"
        )
        keys["irr_white_list_asns"] = Value(list(asns), comment)

    def _transit_free(self, settings: Settings, keys: Keys) -> None:
        option = "filtering.transit_free.action"
        action, comment = self._take(settings, option, "filters.transit_free_action")
        keys["transit_free_action"] = Value(action or "reject", comment)
        asns, _ = self._take(settings, "filtering.transit_free.asns", "filters.transit_free_asns")
        keys["transit_free_asns"] = Value((list(asns) or True) if action else False, comment)

    def _no_peeringdb(self, option: str, settings: Settings) -> None:
        why = "PeeringDB is not asked; name a file of it with --peeringdb"
        self.report.miss(option, settings.given(option), why)

    def _limits(self, settings: Settings, client: Client | None, keys: Keys) -> None:
        section = "filtering.max_prefix."
        action, comment = self._take(settings, f"{section}action", "filters.max_prefix_action")
        if action:
            keys["max_prefix_action"] = Value(action, comment)
            keys["max_prefix_restart"] = self._value(
                settings, f"{section}restart_after", "filters.max_prefix_restart"
            )
            rejected, comment = self._take(
                settings, f"{section}count_rejected_routes", "filters.max_prefix_count"
            )
            keys["max_prefix_count"] = Value("received" if rejected else "accepted", comment)
        else:
            for option in (f"{section}restart_after", f"{section}count_rejected_routes"):
                self.report.honor(option, settings.given(option), "nothing: there is no action")
        for family in ("ipv4", "ipv6"):
            limit = self._limit(settings, client, family) if action else Value(0)
            keys[f"max_prefix_{family}"] = limit
            if client is None:
                option = f"{section}general_limit_{family}"
                self._take(settings, option, f"filters.max_prefix_{family}")
            elif action:
                option = f"{section}limit_{family}"
                self._take(settings, option, f"filters.max_prefix_{family}")
            else:
                option = f"{section}limit_{family}"
                self.report.honor(option, settings.given(option), "nothing: there is no action")
        if not action:
            for name in ("enabled", "increment.absolute", "increment.relative"):
                option = f"{section}peering_db.{name}"
                self.report.honor(option, settings.given(option), "nothing: there is no action")

    def _limit(self, settings: Settings, client: Client | None, family: str) -> Value:
        section = "filtering.max_prefix."
        becomes = f"filters.max_prefix_{family}"
        general = self._value(self.general, f"{section}general_limit_{family}", becomes)
        if client is None:
            return general
        if family not in client_families(client):
            return general
        given = settings.given(f"{section}limit_{family}")
        asks = f"{section}peering_db.enabled"
        increments = [f"{section}peering_db.increment.{kind}" for kind in ("absolute", "relative")]
        if given is not None or not settings[asks]:
            for option in (asks, *increments):
                self.report.honor(option, settings.own.get(option), becomes)
            return general if given is None else Value(given.value, given.place.short)
        if self.extras.networks is None:
            for option in (asks, *increments):
                if option == asks or settings.given(option):
                    self._no_peeringdb(option, settings)
            return general
        for option in (asks, *increments):
            self.report.honor(option, settings.given(option), becomes)
        network = self.extras.networks.get(client.asn)
        count = getattr(network, f"prefixes_{family}") if network is not None else 0
        if not count:
            return general
        absolute, relative = (settings[option] for option in increments)
        limit = int((count + absolute) * (1 + relative / 100))
        return Value(limit, f"PeeringDB's {count} and the increment")

    def _irr(self, client: Client, keys: Keys) -> None:
        """Name the sets that the client's routes must be in."""
        settings = client.settings
        used = any(
            settings[f"filtering.irrdb.{name}"]
            for name in ("enforce_origin_in_as_set", "enforce_prefix_in_as_set", "tag_as_set")
        )
        option = "filtering.irrdb.as_sets"
        given = settings.own.get(option)
        names: tuple[str, ...] = given.value if given is not None else ()
        self.report.honor(option, given, "filters.irr_prefixes, filters.irr_origins")
        if not names and client.asn in self.site.as_sets:
            given = self.site.as_sets[client.asn]
            names = given.value
            self.report.honor("asns.as_sets", given, "filters.irr_prefixes, filters.irr_origins")
        comment = given.place.short if given is not None else ""
        asks = "filtering.irrdb.peering_db"
        if settings[asks] and self.extras.networks is None:
            self._no_peeringdb(asks, settings)
        else:
            self.report.honor(asks, settings.given(asks), "filters.irr_prefixes")
            if settings[asks] and not names and self.extras.networks is not None:
                network = self.extras.networks.get(client.asn)
                names = network.as_sets if network is not None else ()
                comment = "PeeringDB" if names else ""
        if not used:
            return
        # The AS itself counts in any case.
        names = tuple(dict.fromkeys((*names, f"AS{client.asn}")))
        bundle = self._bundle(client.asn, names)
        bundle.comment = bundle.comment or comment
        bundle.families.update(client_families(client))
        keys["irr_prefixes"] = keys["irr_origins"] = Value(bundle.name, ", ".join(names))

    def _bundle(self, asn: int, names: tuple[str, ...]) -> Bundle:
        key = (asn, names)
        if key not in self._bundles:
            count = sum(1 for other, _ in self._bundles if other == asn)
            name = f"AS{asn}" if not count else f"AS{asn}-{count + 1}"
            self._bundles[key] = Bundle(name, names)
        return self._bundles[key]

    def _rpki(self) -> Table:
        general, table = self.general, Table("[rpki]")
        section = "rpki_roas."
        needed = general["filtering.irrdb.use_rpki_roas_as_route_objects.enabled"] or any(
            settings["filtering.rpki_bgp_origin_validation.enabled"]
            for settings in (general, *(client.settings for client in self.site.clients))
        )
        names = ("source", "ripe_rpki_validator_url", "allowed_trust_anchors")
        options = [section + name for name in (*names, "ignore_cache_files_older_than")]
        if not needed:
            for option in options:
                self.report.honor(option, general.given(option), "nothing: no rule looks at ROAs")
            return table
        if self.extras.caches:
            table.lines.append(
                Line("caches", [{"host": host, "port": port} for host, port in self.extras.caches])
            )
            for option in options:
                self.report.honor(option, general.given(option), "rpki.caches, by --rtr")
            return table
        source = general.given(options[0])
        if source is not None and source.value == "rtr":
            why = "the caches stand in files of BIRD or OpenBGPD; name them with --rtr HOST:PORT"
            self.report.miss(options[0], source, why)
            for option in options[1:]:
                self.report.honor(option, general.given(option), "nothing: the source is RTR")
            return table
        self.report.honor(options[0], source, "rpki.files")
        urls, comment = self._take(general, options[1], "rpki.files, irr/fetch.sh")
        if all("://" not in url for url in urls):
            table.lines.append(Line("files", [urls[0]], comment))
            if len(urls) > 1:
                why = "files are used together, so only the first is named"
                self.report.miss(options[1], general.given(options[1]), why)
        else:
            self.fetch.vrps = tuple(urls)
            table.lines.append(
                Line("files", [self.fetch.vrp_file], f"{comment}, by {self.fetch.script}")
            )
        for option, why in (
            (options[2], "VRPs are used whatever their trust anchor; the validator has the choice"),
            (options[3], "a file's VRPs count until they expire by themselves"),
        ):
            given = general.given(option)
            if given is not None:
                self.report.miss(option, given, why)
        return table

    def _unsupported(self) -> None:
        """Note options in force that nothing here honors."""
        general = self.general
        for name in ("enabled", "increment.absolute", "increment.relative"):
            option = f"filtering.max_prefix.peering_db.{name}"
            self.report.honor(option, general.given(option), "nothing: no client needs it")
        for client in self.site.clients:
            why = "lines for BIRD or OpenBGPD"
            if "custom_options" in client.settings.own:
                self.report.miss("custom_options", client.settings.given("custom_options"), why)
        self._miss_if("path_hiding", [False], "a member always gets the best path that it may have")
        option = "graceful_shutdown.local_pref"
        given = general.given(option)
        if general[option]:
            self.report.miss(option, given, "such paths count as having LOCAL_PREF 0")
        self.report.honor(option, given, "filters.graceful_shutdown")
        for name in ("use_arin_bulk_whois_data", "use_registrobr_bulk_whois_data"):
            option = f"filtering.irrdb.{name}.enabled"
            self._miss_if(option, [True], "dumps of whois databases are not read")
            source = general.given(f"filtering.irrdb.{name}.source")
            if source is not None and general[option]:
                self.report.miss(f"filtering.irrdb.{name}.source", source, "see enabled")
            self.report.honor(f"filtering.irrdb.{name}.source", source, "nothing: not enabled")

    def _miss_if(self, option: str, values: list[Any], why: str) -> None:
        """Note an option as not honored where it has one of these values, else as honored."""
        for settings in (self.general, *(client.settings for client in self.site.clients)):
            given = settings.given(option)
            if settings[option] in values:
                self.report.miss(option, given, why)
            else:
                self.report.honor(option, given, "nothing: it is how rs is")

    # --- clients

    def _member(self, client: Client, session: Keys, filters: Keys) -> Table:
        lines = [Line("address", client.address), Line("asn", client.asn)]
        if client.description:
            lines.append(Line("description", self._description(client)))
        if client.password is not None:
            lines.append(Line("password", client.password.value))
            self.report.honor("password", client.password, "neighbors.password")
        wide, comment = self._take(client.settings, "rfc8950", "neighbors.extended_next_hop")
        families = client_families(client)
        lines.append(Line("families", [Family[f"{one.upper()}_UNICAST"].label for one in families]))
        if wide and client.is_ipv6:
            lines.append(Line("extended_next_hop", True, comment))
        if client.mapped_asn is not None:
            place = client.mapped_asn.place.short
            self.report.honor("16bit_mapped_asn", client.mapped_asn, "neighbors.mapped_asn")
            lines.append(Line("mapped_asn", client.mapped_asn.value, place))
        if self.extras.rtts is not None and client.address in self.extras.rtts:
            # Thresholds are whole numbers, so that this changes neither <= nor >.
            lines.append(Line("rtt", math.ceil(self.extras.rtts[client.address]), "by --rtt"))
        policies, given = arcommunities.attached(client.settings)
        if given is not None:
            becomes = "neighbors.import_policy, policies"
            self.report.honor("attach_custom_communities", given, becomes)
            lines += [Line("import_policy", policies, given.place.short)] if policies else []
        own = self._session(client.settings)
        lines += _lines({k: v for k, v in own.items() if v.value != session[k].value})
        rules = self._filters(client.settings, client)
        differing: Keys = {}
        for key, found in rules.items():
            inherited = filters[key].value if key in filters else _FILTER_DEFAULTS[key]
            if found.value != inherited:
                differing[key] = found
        table = Table("[[neighbors]]", lines, comment=client.place.short)
        if differing:
            table.below = Table("[neighbors.filters]", _lines(differing))
        return table

    def _description(self, client: Client) -> str:
        text = "".join(char if char.isprintable() else " " for char in client.description)
        octets = text.encode()
        if len(octets) <= DESCRIPTION_LEN:
            return text
        self.report.notes.append(
            f"{client.place}: description: shortened to {DESCRIPTION_LEN} octets"
        )
        return octets[:DESCRIPTION_LEN].decode(errors="ignore")
