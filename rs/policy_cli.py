"""`rs policy test`: policies over given routes, or over an MRT file, without a daemon.

In: a configuration, names of policies or a neighbor, routes as text or recorded ones. Out: for each
route whether it is accepted, what is changed in it, and which terms of which policies fitted; or
only how often each did. Exit code 0, 2 for what cannot be tried.
"""

from __future__ import annotations

import json
import re
import shlex
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from rs._fastpath.attrs import AttrTable
from rs._fastpath.audit import Audit
from rs._fastpath.control import Control
from rs._fastpath.edits import Edits
from rs._fastpath.play import Packer
from rs._fastpath.recode import Rewriter as Recoder
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs.attrtext import attributes_json
from rs.configfile import load_config
from rs.configvalues import BadValue
from rs.iana import MAX_EXTENDED_MESSAGE_LEN, Family, Origin, SegmentType
from rs.irr import load_sets
from rs.mrt import open_mrt
from rs.peer import kind_of
from rs.policycompile import IRR_BITS, RPKI_BITS, Compiler, Facts, octets
from rs.policyconfig import CommunityKind, IrrWord, RpkiWord, parse_community
from rs.reasons import reject_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rs.config import Config, Neighbor
    from rs.mrt import PeerInfo
    from rs.policycompile import Program

NOBODY = Facts("192.0.2.0", 0, 31)
"""A neighbor that no policy can mean."""
HOPS = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Next hops of routes that name none."""
PIECE = 1 << 20
"""Octets of recorded UPDATEs at a time."""
IRR_STATES = {0: 0, 1: 0x1C, 2: 0x10}
"""Bits of the import filter by IRR state, see filter.pxd."""
KEYS = {
    CommunityKind.STANDARD: "communities",
    CommunityKind.EXTENDED: "ext_communities",
    CommunityKind.LARGE: "large_communities",
}


@attrs.define
class Route:
    """A route given as text."""

    prefix: str
    attributes: dict[str, Any]
    state: int = 0
    """RPKI and IRR state, in the filter's bits."""


class Trial:
    """Policies, ready to be run."""

    def __init__(
        self, config: Config, names: tuple[str, ...], neighbor: Neighbor | None, *, export: bool
    ) -> None:
        """Compile policies; `neighbor` is who sends the routes, or with `export` who gets them."""
        self.table = AttrTable()
        members = MemberSets(64)
        settings = config.router
        control = Control(self.table, members, settings.asn, settings.identifier, 0)
        self._rib = Rib(self.table, members, control)
        self._rewriter = Rewriter(self._rib)  # tells when sets go
        self.export = export
        self.asn = settings.asn
        edits = Edits(self._rib.memo, settings.asn)
        compiler = Compiler(config.policies, load_sets(config), edits, None)
        self.facts = facts_of(neighbor) if neighbor is not None else None
        found = compiler.program(
            names,
            source=None if export else self.facts,
            target=self.facts if export else None,
        )
        if found is None:
            raise click.UsageError("there is no policy to run")
        self.program: Program = found
        self.program.terms.count()

    def judge(self, route: Route) -> dict[str, Any]:
        """Return what becomes of one route."""
        family = Family.IPV6_UNICAST if ":" in route.prefix else Family.IPV4_UNICAST
        source = NOBODY if self.export or self.facts is None else self.facts
        h = self.table.intern_attrs(route.attributes, family)
        reason, out_h, fired = self.program.terms.judge(
            self.table,
            h,
            route.prefix,
            state=route.state,
            asn=source.asn,
            address=source.address,
            kind=source.kind,
        )
        before, after = self.table.describe(h), self.table.describe(out_h)
        self.table.drop(out_h)
        self.table.drop(h)
        return self.told(route.prefix, reason, fired, before, after)

    def told(
        self,
        prefix: str,
        reason: int,
        fired: list[int],
        before: dict[str, Any],
        after: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Return what became of a route, ready for JSON."""
        labels = [self.program.labels[i] for i in fired]
        found: dict[str, Any] = {
            "prefix": prefix,
            "accepted": not reason,
            "terms": [
                {"policy": one.policy, "term": one.term, "action": one.action.value}
                for one in labels
            ],
            "attributes": attributes_json(before),
        }
        if reason:
            found["reason"] = labels[-1].reason or reject_words(reason) if labels else ""
        elif after is not None and after != before:
            found["changed"] = attributes_json(after)
        return found

    def counts(self) -> list[dict[str, Any]]:
        """Return how often each term has fitted."""
        counted = self.program.terms.counted()
        return [
            {"policy": label.policy, "term": label.term, "routes": routes}
            for label, routes in zip(self.program.labels, counted, strict=False)
        ] + [{"policy": None, "term": None, "routes": counted[-1]}]


def facts_of(neighbor: Neighbor) -> Facts:
    """Return what policies may ask of a configured neighbor."""
    address = neighbor.address or str(ip_network(neighbor.range or "192.0.2.0/32")[0])
    return Facts(address, neighbor.asn or 0, int(kind_of(neighbor)))


# --- routes as text -------------------------------------------------------------------------------


def parse_path(text: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Read AS numbers by spaces, members of an AS_SET in braces."""
    segments: list[tuple[int, tuple[int, ...]]] = []
    for part in re.findall(r"\{[^}]*\}|[^{}]+", text):
        asns = tuple(int(word) for word in re.findall(r"\d+", part))
        if re.sub(r"[\d\s,{}]", "", part) or any(asn > 0xFFFF_FFFF or not asn for asn in asns):
            raise ValueError(f"as_path: {part.strip()!r} is not AS numbers")
        kind = SegmentType.AS_SET if part.startswith("{") else SegmentType.AS_SEQUENCE
        if asns:
            segments.append((int(kind), asns))
    return tuple(segments)


def parse_communities(text: str) -> dict[str, tuple[Any, ...]]:
    """Read communities of all kinds, by spaces."""
    found: dict[str, tuple[Any, ...]] = {}
    for word in text.split():
        try:
            one = parse_community(word)
        except BadValue as bad:
            raise ValueError(f"communities: {bad}") from None
        raw = octets(one)
        value: Any = raw
        if one.kind is CommunityKind.STANDARD:
            value = int.from_bytes(raw)
        elif one.kind is CommunityKind.LARGE:
            value = tuple(int.from_bytes(raw[at : at + 4]) for at in (0, 4, 8))
        key = KEYS[one.kind]
        found[key] = (*found.get(key, ()), value)
    return found


def parse_route(text: str) -> Route:
    """Read `PREFIX KEY=VALUE ...`; ValueError in words."""
    words = shlex.split(text)
    if not words:
        raise ValueError("empty; want a prefix and attributes")
    network = ip_network(words[0])
    attributes: dict[str, Any] = {
        "origin": int(Origin.IGP),
        "as_path": (),
        "next_hop": HOPS[network.version],
    }
    state = 0
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} is not KEY=VALUE")
        match key:
            case "as_path":
                attributes[key] = parse_path(value)
            case "communities":
                attributes |= parse_communities(value)
            case "next_hop":
                attributes[key] = value
            case "med" | "local_pref":
                attributes[key] = int(value)
            case "origin":
                attributes[key] = int(Origin[value.upper()])
            case "rpki":
                state |= RPKI_BITS[RpkiWord(value)]
            case "irr":
                state |= IRR_STATES[IRR_BITS[IrrWord(value)]]
            case _:
                raise ValueError(
                    f"{key!r} is no key of a route; want as_path, communities, next_hop, med, "
                    "local_pref, origin, rpki or irr"
                )
    return Route(str(network), attributes, state)


# --- recorded routes ------------------------------------------------------------------------------


def _audit(trial: Trial, peer: PeerInfo, addpath: int) -> Audit:
    facts = trial.facts if trial.facts is not None and not trial.export else None
    internal = peer.asn == trial.asn
    if facts is None:
        facts = Facts(peer.address, peer.asn, 2 if internal else 0)
    return Audit(
        trial.table,
        trial.program.terms,
        asn=facts.asn,
        address=facts.address,
        kind=facts.kind,
        ibgp=internal,
        addpath=addpath,
    )


def _recoder(trial: Trial, peer: PeerInfo, addpath: int) -> Recoder:
    return Recoder(
        ibgp=peer.asn == trial.asn,
        max_len=MAX_EXTENDED_MESSAGE_LEN,
        addpath=addpath,
        ext_next_hop=True,
    )


def pieces(path: str, trial: Trial) -> Iterator[tuple[Audit, bytes]]:
    """Yield UPDATEs of an MRT file, each time with the Audit of the peer that they came from."""
    with open_mrt(path) as file:
        table = file.read_all()
        peers = table.summary.peers
        if table.summary.is_rib:
            for peer in peers:
                for family in peer.entries:
                    addpath = int(table.has_path_ids(peer.index, family)) << family
                    audit = _audit(trial, peer, addpath)
                    packer = Packer(table, peer.index, family, _recoder(trial, peer, addpath))
                    while piece := packer.next(PIECE):
                        yield audit, piece
            return
        known: dict[tuple[str, int], tuple[Audit, Recoder]] = {}
        for peer in peers:
            addpath = sum(1 << family for family in peer.add_path)
            known[peer.address, peer.asn] = (
                _audit(trial, peer, addpath),
                _recoder(trial, peer, addpath),
            )
        for event in file.events():
            if event.raw is not None and not event.sent and event.raw[18] == 2:
                audit, recoder = known[event.peer_ip, event.peer_asn]
                yield audit, recoder.convert(event.raw, event.as4, event.add_path)


# --- output ---------------------------------------------------------------------------------------


def show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print what became of one route."""
    if as_json:
        click.echo(json.dumps(found))
        return
    words = "accepted" if found["accepted"] else f"refused: {found['reason']}"
    if "changed" in found:
        words += ", changed"
    click.echo(f"{found['prefix']}  {words}")
    for term in found["terms"]:
        click.echo(f'    policy "{term["policy"]}", term "{term["term"]}": {term["action"]}')
    if "changed" in found:
        before, after = found["attributes"], found["changed"]
        for key in {**before, **after}:
            if before.get(key) != after.get(key):
                click.echo(f"    {key}: {_value(before.get(key))} -> {_value(after.get(key))}")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(one if isinstance(one, str) else json.dumps(one) for one in value)
    return "none" if value is None else str(value)


def show_summary(totals: dict[str, int], trial: Trial, *, as_json: bool) -> None:
    """Print totals and the counts of terms."""
    counts = trial.counts()
    if as_json:
        click.echo(json.dumps({**totals, "terms": counts}))
        return
    for name, number in totals.items():
        click.echo(f"{name:<10} {number:>12,}")
    for one in counts:
        where = f'policy "{one["policy"]}", term "{one["term"]}"'
        click.echo(f"{one['routes']:>12,}  {where if one['policy'] else 'the end: accepted'}")


@click.group()
def policy() -> None:
    """Try policies out."""


@policy.command("test")
@click.argument("names", nargs=-1, metavar="[POLICY]...")
@click.option(
    "-c", "--config", required=True, type=click.Path(path_type=Path), help="Configuration file."
)
@click.option("--neighbor", metavar="ADDRESS", help="Whose policies, or whom they are about.")
@click.option("--export", is_flag=True, help="For what the neighbor is sent.")
@click.option("--route", "routes", multiple=True, metavar="ROUTE", help="PREFIX KEY=VALUE ...")
@click.option("--mrt", "mrt_file", type=click.Path(), help="Recorded routes.")
@click.option("--summary", is_flag=True, help="Only count.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each route.")
def test(  # noqa: PLR0917 - what click gives
    names: tuple[str, ...],
    config: Path,
    neighbor: str | None,
    export: bool,
    routes: tuple[str, ...],
    mrt_file: str | None,
    summary: bool,
    as_json: bool,
) -> None:
    """Run policies over given routes, or over an MRT file."""
    loaded = load_config(config)
    if bool(routes) == bool(mrt_file):
        raise click.UsageError("want --route, or --mrt with a file")
    for name in names:
        if name not in loaded.policies:
            raise click.UsageError(f"no policy {name!r}; there are {', '.join(loaded.policies)}")
    whom = None
    if neighbor is not None:
        whom = next((n for n in loaded.neighbors if n.name == neighbor), None)
        if whom is None:
            raise click.UsageError(f"no neighbor {neighbor}")
    if not names and whom is not None:
        kind = "export_policy" if export else "import_policy"
        names = getattr(loaded.router, kind) + getattr(whom, kind)
    trial = Trial(loaded, names, whom, export=export)
    totals = dict.fromkeys(("routes", "accepted", "changed", "refused"), 0)
    for text in routes:
        try:
            found = trial.judge(parse_route(text))
        except (ValueError, KeyError) as error:
            raise click.UsageError(f"--route {text!r}: {error}") from None
        totals["routes"] += 1
        totals["accepted" if found["accepted"] else "refused"] += 1
        totals["changed"] += "changed" in found
        if not summary:
            show(found, as_json=as_json)
    if mrt_file is not None:
        audits: set[Audit] = set()
        for audit, piece in pieces(mrt_file, trial):
            audits.add(audit)
            seen: list[Any] | None = None if summary else []
            totals["routes"] += audit.feed(piece, seen)
            for one in seen or ():
                show(trial.told(*one), as_json=as_json)
        for audit in audits:
            totals["accepted"] += audit.accepted
            totals["changed"] += audit.changed
            totals["refused"] += audit.refused
    if summary:
        show_summary(totals, trial, as_json=as_json)
