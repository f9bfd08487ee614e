"""Reading configuration files: TOML text in, a checked `Config` out, or every fault at once.

In: the path of the main file. It and the files its `include` names are read (rs/configsource.py),
every value is parsed by its kind (rs/config.py, rs/configvalues.py), [defaults] are laid under each
neighbor, and rs/configcheck.py judges the values against each other. Faults are collected, not
raised, and leave together as one `ConfigError`, each with file, key, line and what would be right.
A key of [defaults] that cannot suit a neighbor, such as a local address of the other IP version, is
left out for that neighbor; the same key written in the neighbor itself is a fault.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from rs import configcheck
from rs.communityconfig import BlackHoles, Communities, black_hole_faults, read_communities
from rs.config import Api, Config, Neighbor, Router, Startup
from rs.configkeys import keys_of
from rs.configsource import Faults, Source, Where, read_octets, read_tables, reason_of, spell
from rs.configvalues import MAX_PASSWORD_LEN, MAX_SOCKET_PATH_LEN, BadValue, shown, suggestion
from rs.errors import ConfigError
from rs.filterconfig import (
    AsSetFiles,
    Filters,
    PrefixSetFiles,
    Rpki,
    complete_filters,
    filter_faults,
)
from rs.nexthopconfig import IgpRoute, NextHops, OrrGroup
from rs.policyconfig import Policy, exports_only, parse_policy, references

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = {
    "router": Router,
    "api": Api,
    "startup": Startup,
    "defaults": Neighbor,
    "filters": Filters,
    "rpki": Rpki,
    "next_hops": NextHops,
    "communities": Communities,
    "blackhole": BlackHoles,
}
ARRAYS = {"neighbors": Neighbor, "igp": IgpRoute, "orr": OrrGroup}
SETS = {"prefix_sets": PrefixSetFiles, "as_sets": AsSetFiles}
NAMED = {**SETS, "policies": Policy}
"""Tables of tables."""
NOT_DEFAULTS = frozenset({"address", "range", "filters", "mapped_asn"})
"""Keys of a neighbor that say which one it is, or whose defaults have their own table."""


def _elsewhere(name: str, model: type) -> str:
    """Return where a key belongs that is of another table than `model`'s; "" if it is of none."""
    places = [
        f"[{table}]"
        for table, other in TABLES.items()
        if other is not model and name in keys_of(other)
        if table != "defaults" or name not in NOT_DEFAULTS
    ]
    if model is not Neighbor and name in keys_of(Neighbor):
        places.append("[[neighbors]]")
    elif model is Neighbor and name in keys_of(Filters):
        places.append("[neighbors.filters]")
    return f"it belongs in {' or '.join(places)}" if places else ""


def _values(
    model: type,
    table: Mapping[str, Any],
    source: Source,
    where: Where,
    faults: Faults,
    *,
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the parsed values of a table by attribute name; what does not parse is noted."""
    keys = keys_of(model)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in keys:
            known = suggestion(name, frozenset(keys) - without)
            if not known.startswith("did you mean"):
                known = _elsewhere(name, model) or known
            if name == "include":
                known = "include stands at the top of the file, before the first table"
            faults.add(source, (*where, name), f"unknown key; {known}")
            continue
        if name in without:
            words = "tells neighbors apart; want it in [[neighbors]]"
            if name == "filters":
                words = "has its own table; want [filters]"
            faults.add(source, (*where, name), words)
            continue
        attribute, key = keys[name]
        try:
            values[attribute] = key.kind.parse(value)
        except BadValue as bad:
            for below, words in bad.faults:
                faults.add(source, (*where, name, *below), words)
    return values


def _included(main: Source, faults: Faults) -> list[Source]:
    """Return the files that `include` names, each once, in the order of the list, then by name."""
    patterns = main.data.get("include", [])
    if not isinstance(patterns, list):
        faults.add(main, ("include",), f"{shown(patterns)} does not fit; want a list of paths")
        return []
    folder = main.path.parent
    seen = {os.path.realpath(main.path)}
    found: list[Source] = []
    for index, pattern in enumerate(patterns):
        where = ("include", index)
        if not isinstance(pattern, str) or not pattern or "\0" in pattern:
            faults.add(main, where, f"{shown(pattern)} does not fit; want a path")
            continue
        paths = [folder / pattern]
        if any(char in pattern for char in "*?["):
            paths = _matches(folder, pattern)
            if not paths:
                faults.warn(main, where, f"{shown(pattern)} matches no file")
        for path in paths:
            # Not Path.resolve, which raises on a loop of links.
            resolved = os.path.realpath(path)
            if resolved in seen:
                continue
            seen.add(resolved)
            raw = read_octets(path)
            if isinstance(raw, str):
                faults.add(main, where, f"{path}: {raw}")
            elif (source := read_tables(path, raw, faults)) is not None:
                found.append(source)
    return found


def _matches(folder: Path, pattern: str) -> list[Path]:
    # Not Path.glob, which refuses absolute patterns.
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return sorted(folder / name for name in names)


def _shape(source: Source, main: Source, faults: Faults) -> None:
    """Note tables that do not exist, or are of the wrong form, and drop them."""
    allowed: list[str] = [*ARRAYS, *NAMED]
    if source is main:
        allowed += [*TABLES, "include"]
    for name in list(source.data):
        value = source.data[name]
        where = (name,)
        if name not in allowed:
            if name in TABLES or name == "include":
                words = f"belongs in the main file, {main.path}; want only "
                words += ", ".join(f"[[{array}]]" for array in ARRAYS)
                words += " and " + ", ".join(f"[{named}.NAME]" for named in NAMED)
            else:
                words = f"unknown {'table' if isinstance(value, (dict, list)) else 'key'}; "
                words += suggestion(name, frozenset(allowed))
            faults.add(source, where, words)
        elif name in TABLES and not isinstance(value, dict):
            faults.add(source, where, f"{shown(value)} does not fit; want a table, [{name}]")
        elif name in NAMED and not (
            isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())
        ):
            faults.add(source, where, f"want tables with a name, [{name}.NAME]")
        elif name in ARRAYS and isinstance(value, dict):
            faults.add(source, where, f"a single table; want [[{name}]], once for each")
        elif name in ARRAYS and not (
            isinstance(value, list) and all(isinstance(item, dict) for item in value)
        ):
            faults.add(source, where, f"{shown(value)} does not fit; want tables, [[{name}]]")
        else:
            continue
        del source.data[name]


def _complete_values(
    model: type,
    table: Mapping[str, Any],
    source: Source,
    where: Where,
    faults: Faults,
    *,
    required: tuple[str, ...] = (),
) -> dict[str, Any] | None:
    """Return the values of a table, or None when it cannot be used."""
    before = len(faults)
    values = _values(model, table, source, where, faults)
    for key in required:
        if key not in table:
            kind = keys_of(model)[key][1].kind
            faults.add(source, (*where, key), f"missing; want {kind.wants}")
    return values if len(faults) == before else None


@attrs.define
class _Reader:
    """The way from files to a Config."""

    main: Source
    faults: Faults
    router: Router | None = None
    defaults: dict[str, Any] = attrs.field(factory=dict)
    passwords: dict[Path, str | None] = attrs.field(factory=dict)
    filters: dict[str, Any] = attrs.field(factory=dict)
    """[filters], as far as it was given."""
    sets: dict[str, dict[str, Any]] = attrs.field(factory=lambda: {name: {} for name in NAMED})
    """Named sets, and policies, by the table they stand in."""
    broken: set[str] = attrs.field(factory=set)
    """Policies that there are, and that cannot be used."""
    orr: set[str] = attrs.field(factory=set)
    """Names of [[orr]]."""

    def read_router(self) -> None:
        """Read [router] and [defaults]."""
        if not self.main.has_router:
            self.faults.add_file(self.main.path, "no [router]; want at least asn and router_id")
        elif "router" in self.main.data:
            values = _complete_values(
                Router,
                self.main.data["router"],
                self.main,
                ("router",),
                self.faults,
                required=("asn", "router_id"),
            )
            if values is not None:
                self.router = Router(**values)
                for path, words in configcheck.router_faults(self.router):
                    self.faults.add(self.main, ("router", *path), words)
        table = self.main.data.get("defaults", {})
        values = _values(
            Neighbor, table, self.main, ("defaults",), self.faults, without=NOT_DEFAULTS
        )
        self.read_password(values, self.main, ("defaults",))
        for conflict in configcheck.contradictions(values):
            name = conflict.attributes[0]
            self.faults.add(self.main, ("defaults", name), conflict.words)
            values.pop(name)
        self.defaults = values

    def read_api(self) -> Api:
        """Read [api]; the socket's path is relative to the configuration file."""
        table = self.main.data.get("api", {})
        values = _complete_values(Api, table, self.main, ("api",), self.faults) or {}
        api = Api(**values)
        if api.socket is not None:
            path = str((self.main.path.parent / api.socket).absolute())
            if len(path.encode()) > MAX_SOCKET_PATH_LEN:
                self.faults.add(
                    self.main,
                    ("api", "socket"),
                    f"{shown(path)} has {len(path.encode())} octets; "
                    f"want a path of at most {MAX_SOCKET_PATH_LEN}",
                )
            api = attrs.evolve(api, socket=path)
        if self.router is not None:
            for words in configcheck.api_faults(api, self.router):
                self.faults.add(self.main, ("api", "listen"), words)
        if warning := configcheck.api_warning(api):
            self.faults.warn(self.main, ("api", "listen"), warning)
        return api

    def read_startup(self, api: Api) -> Startup:
        """Read [startup]; without a path of its own the state lies beside the API's socket."""
        table = self.main.data.get("startup", {})
        values = _complete_values(Startup, table, self.main, ("startup",), self.faults) or {}
        startup = Startup(**values)
        path = startup.state_file
        if path is not None:
            path = str((self.main.path.parent / path).absolute())
        elif api.socket is not None:
            path = f"{api.socket}.state"
        return attrs.evolve(startup, state_file=path)

    def read_password(self, values: dict[str, Any], source: Source, where: Where) -> None:
        """Put the first line of `password_file` in the place of `password`."""
        if "password" in values and "password_file" in values:
            self.faults.add(source, (*where, "password_file"), "beside password; want one of them")
            return
        if "password_file" not in values:
            return
        path = source.path.parent / values["password_file"]
        if path not in self.passwords:
            self.passwords[path] = self._password(path, source, (*where, "password_file"))
        values["password"] = self.passwords[path]

    def _password(self, path: Path, source: Source, where: Where) -> str | None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, OSError) else "not UTF-8 text"
            self.faults.add(source, where, f"{path}: {reason}")
            return None
        password = lines[0] if lines else ""
        if not 1 <= len(password.encode()) <= MAX_PASSWORD_LEN or len(lines) > 1:
            self.faults.add(
                source, where, f"{path}: want one line of 1 to {MAX_PASSWORD_LEN} octets"
            )
            return None
        return password

    def read_neighbor(
        self, table: Mapping[str, Any], source: Source, where: Where
    ) -> Neighbor | None:
        """Return one complete neighbor, or None with the reasons noted."""
        before = len(self.faults)
        own = _values(Neighbor, table, source, where, self.faults)
        self.read_password(own, source, where)
        if ("address" in table) == ("range" in table):
            words = "address and range together" if "address" in table else "no address"
            self.faults.add(source, where, f"{words}; want either address or range")
        elif "address" in table and "asn" not in table and "asns" not in self.defaults:
            self.faults.add(source, (*where, "asn"), "missing; want the neighbor's AS number")
        if len(self.faults) > before or self.router is None:
            return None

        self._check_policies(own, source, where)
        own_filters = own.pop("filters", None)
        values, conflicts = configcheck.layer(own, self.defaults, self.router)
        for conflict in conflicts:
            name = configcheck.key_name(conflict.attributes[0])
            self.faults.add(source, (*where, name), conflict.words)
        # [filters] is for external neighbors; of a range that is known when somebody comes.
        shared = self.filters if values.get("asns") != (self.router.asn,) else {}
        values["filters"] = complete_filters(own_filters, shared)
        if own_filters is not None:
            self._check_filters(values["filters"], own_filters, source, (*where, "filters"))
        if len(self.faults) > before:
            return None
        wanted = values.get("orr")
        if wanted is not None and wanted not in self.orr:
            known = f"; {suggestion(wanted, frozenset(self.orr))}" if self.orr else ""
            words = f'{shown(wanted)} is not there; want an [[orr]] with name = "{wanted}"{known}'
            self.faults.add(source, (*where, "orr"), words)
            return None
        return configcheck.complete(values, self.router, f"{source.path}: {spell(where)}")

    def _check_filters(
        self, filters: Filters, own: Mapping[str, Any], source: Source, where: Where
    ) -> None:
        """Note rules that cannot stand together, and sets that do not exist."""
        for name, words in filter_faults(filters):
            self.faults.add(source, (*where, name), words)
        for key, table in (("irr_prefixes", "prefix_sets"), ("irr_origins", "as_sets")):
            wanted: str | None = own.get(key)
            if wanted is not None and wanted not in self.sets[table]:
                self.faults.add(source, (*where, key), self._not_there(table, wanted))

    def read_filters(self, sources: list[Source]) -> None:
        """Read named sets, then [filters]."""
        for table, model in SETS.items():
            places: dict[str, tuple[Source, Where]] = {}
            for source in sources:
                for name, content in source.data.get(table, {}).items():
                    where: Where = (table, name)
                    if name in places:
                        first, at = places[name]
                        words = f"is there twice; first in {first.at(at)}"
                        self.faults.add(source, where, words)
                        continue
                    places[name] = (source, where)
                    self.sets[table][name] = self._read_set(model, content, source, where)
        self._read_policies(sources)
        values = _values(
            Filters, self.main.data.get("filters", {}), self.main, ("filters",), self.faults
        )
        self.filters = values
        self._check_filters(complete_filters(None, values), values, self.main, ("filters",))

    def _read_policies(self, sources: list[Source]) -> None:
        """Read [policies], and check those that [router] and [defaults] name."""
        places: dict[str, tuple[Source, Where]] = {}
        policies: dict[str, Policy] = self.sets["policies"]
        for source in sources:
            for name, content in source.data.get("policies", {}).items():
                where: Where = ("policies", name)
                if name in places:
                    first, at = places[name]
                    self.faults.add(source, where, f"is there twice; first in {first.at(at)}")
                    continue
                places[name] = (source, where)
                self.broken.add(name)
                try:
                    policies[name] = parse_policy(content)
                except BadValue as bad:
                    for below, words in bad.faults:
                        self.faults.add(source, (*where, *below), words)
                    continue
                self.broken.discard(name)
                for below, table, wanted in references(policies[name]):
                    if wanted not in self.sets[table]:
                        self.faults.add(source, (*where, *below), self._not_there(table, wanted))
        if self.router is not None:
            settings = attrs.asdict(self.router, recurse=False)
            self._check_policies(settings, self.main, ("router",))
        self._check_policies(self.defaults, self.main, ("defaults",))

    def _check_policies(self, values: Mapping[str, Any], source: Source, where: Where) -> None:
        """Note policies that do not exist, or are for the other direction."""
        policies: dict[str, Policy] = self.sets["policies"]
        for key in ("import_policy", "export_policy"):
            for name in values.get(key, ()):
                if name in self.broken:
                    continue
                if name not in policies:
                    self.faults.add(source, (*where, key), self._not_there("policies", name))
                elif key == "import_policy" and (place := next(exports_only(policies[name]), None)):
                    words = f"{shown(name)} matches by {spell(place)}; want that in export_policy"
                    self.faults.add(source, (*where, key), words)

    def _not_there(self, table: str, wanted: str) -> str:
        """Return the words for a name that stands for nothing."""
        known = suggestion(wanted, frozenset(self.sets[table])) if self.sets[table] else ""
        words = f"{shown(wanted)} is not there; want [{table}.{wanted}]"
        return f"{words}; {known}" if known else words

    def _read_set(
        self, model: type, content: Mapping[str, Any], source: Source, where: Where
    ) -> object:
        before = len(self.faults)
        values = _values(model, content, source, where, self.faults)
        inline = "prefixes" if model is PrefixSetFiles else "asns"
        if len(self.faults) == before and not content.keys() & {"files", inline}:
            self.faults.add(source, where, f"want files or {inline}, or both")
        values["files"] = tuple(source.path.parent / file for file in values.get("files", ()))
        return model(**values)

    def read_rpki(self) -> Rpki:
        """Read [rpki]."""
        values = _values(Rpki, self.main.data.get("rpki", {}), self.main, ("rpki",), self.faults)
        values["files"] = tuple(self.main.path.parent / file for file in values.get("files", ()))
        return Rpki(**values)

    def read_communities(self) -> tuple[Communities, BlackHoles]:
        """Read [communities] and [blackhole]."""
        table = self.main.data.get("communities", {})
        asn = self.router.asn if self.router is not None else None
        communities, faults = read_communities(table, asn)
        for fault in faults:
            words = fault.words
            if fault.other is not None:
                words += f": {self.main.at(('communities', *fault.other))}"
            self.faults.add(self.main, ("communities", *fault.where), words)
        where: Where = ("blackhole",)
        table = self.main.data.get("blackhole", {})
        holes = BlackHoles(**_values(BlackHoles, table, self.main, where, self.faults))
        for name, words in black_hole_faults(holes):
            self.faults.add(self.main, (*where, name), words)
        return communities, holes

    def read_igp(self, sources: list[Source]) -> tuple[IgpRoute, ...] | None:
        """Return the static metrics of all files, or None when there are none."""
        routes: list[IgpRoute] = []
        places: dict[str, tuple[Source, Where]] = {}
        present = False
        for source in sources:
            for index, table in enumerate(source.data.get("igp", [])):
                present = True
                where: Where = ("igp", index)
                values = _complete_values(
                    IgpRoute, table, source, where, self.faults, required=("prefix", "metric")
                )
                if values is None:
                    continue
                route = IgpRoute(**values)
                if route.prefix in places:
                    first, at = places[route.prefix]
                    self.faults.add(
                        source, where, f"{route.prefix} has a metric already: {first.at(at)}"
                    )
                places.setdefault(route.prefix, (source, where))
                routes.append(route)
        return tuple(routes) if present else None

    def read_next_hops(self, igp: tuple[IgpRoute, ...] | None) -> NextHops:
        """Read [next_hops]."""
        where: Where = ("next_hops",)
        table = self.main.data.get("next_hops", {})
        next_hops = NextHops(**_values(NextHops, table, self.main, where, self.faults))
        for name, words in configcheck.next_hop_faults(next_hops, igp):
            self.faults.add(self.main, (*where, name), words)
        return next_hops

    def read_orr(self, sources: list[Source]) -> tuple[OrrGroup, ...]:
        """Return the groups of optimal route reflection of all files."""
        groups: dict[str, OrrGroup] = {}
        places: dict[str, tuple[Source, Where]] = {}
        for source in sources:
            for index, table in enumerate(source.data.get("orr", [])):
                where: Where = ("orr", index)
                values = _complete_values(
                    OrrGroup, table, source, where, self.faults, required=("name",)
                )
                if values is None:
                    continue
                if not table.keys() & {"metrics", "file"}:
                    self.faults.add(source, where, "want metrics or file, or both")
                if "file" in values:
                    values["file"] = source.path.parent / values["file"]
                group = OrrGroup(**values)
                if group.name in places:
                    first, at = places[group.name]
                    words = f"{group.name} is there twice; first in {first.at(at)}"
                    self.faults.add(source, (*where, "name"), words)
                places.setdefault(group.name, (source, where))
                groups[group.name] = group
        return tuple(groups.values())


def _read_neighbors(reader: _Reader, sources: list[Source]) -> tuple[Neighbor, ...]:
    faults = reader.faults
    neighbors: list[Neighbor] = []
    places: dict[str, tuple[Source, Where]] = {}
    for source in sources:
        for index, table in enumerate(source.data.get("neighbors", [])):
            where: Where = ("neighbors", index)
            neighbor = reader.read_neighbor(table, source, where)
            if neighbor is None:
                continue
            if neighbor.name in places:
                first, at = places[neighbor.name]
                faults.add(
                    source, where, f"{neighbor.name} is configured twice; first in {first.at(at)}"
                )
                continue
            places[neighbor.name] = (source, where)
            neighbors.append(neighbor)
    for name, words in configcheck.mapped_faults(neighbors):
        source, where = places[name]
        faults.add(source, (*where, "mapped_asn"), words)
    for outer, inner in configcheck.nested_ranges(neighbors):
        source, where = places[inner]
        first, at = places[outer]
        faults.warn(
            source, where, f"{inner} lies in {outer} ({first.at(at)}); the longer prefix counts"
        )
    return tuple(neighbors)


def load_config(path: str | Path) -> Config:
    """Return the configuration in a file and the files it includes.

    Raises ConfigError with every fault found; a file that cannot be read or is not TOML hides
    only its own contents. Warnings are in the result.
    """
    path = Path(path)
    faults = Faults(paths=[path])
    raw = read_octets(path)
    if isinstance(raw, str):
        raise ConfigError([f"{path}: {raw}"])
    main = read_tables(path, raw, faults)
    if main is None:
        raise ConfigError(faults.problems)
    sources = [main, *_included(main, faults)]
    for source in sources:
        _shape(source, main, faults)
    reader = _Reader(main, faults)
    reader.read_router()
    api = reader.read_api()
    startup = reader.read_startup(api)
    reader.read_filters(sources)
    rpki = reader.read_rpki()
    communities, holes = reader.read_communities()
    igp = reader.read_igp(sources)
    next_hops = reader.read_next_hops(igp)
    orr = reader.read_orr(sources)
    # By what was written: a group with faults is not missing.
    reader.orr = {
        table["name"]
        for source in sources
        for table in source.data.get("orr", [])
        if isinstance(table.get("name"), str)
    }
    neighbors = _read_neighbors(reader, sources)
    faults.warnings += configcheck.filter_warnings(neighbors)
    faults.warnings += configcheck.rpki_warnings(neighbors, rpki)
    faults.warnings += configcheck.policy_warnings(neighbors)
    if not any("neighbors" in source.data for source in sources):
        faults.warnings.append(f"{main.path}: no [[neighbors]]; nobody can connect")
    if faults or reader.router is None:
        raise ConfigError(faults.problems)
    return Config(
        router=reader.router,
        api=api,
        startup=startup,
        defaults=reader.defaults,
        neighbors=neighbors,
        igp=igp,
        next_hops=next_hops,
        orr=orr,
        prefix_sets=reader.sets["prefix_sets"],
        as_sets=reader.sets["as_sets"],
        policies=reader.sets["policies"],
        rpki=rpki,
        communities=communities,
        blackhole=holes,
        path=main.path,
        files=tuple(source.path for source in sources),
        warnings=tuple(faults.warnings),
    )
