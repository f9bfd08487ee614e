"""The engine without sessions: RIB, export and groups as the router puts them together.

In: paths by slot, joins, leaves, and slices of work. Out: what each member has made of its bytes.
For tests of one module; tests/routers.py has whole routers.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.export import Exporter
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs._fastpath.walks import purge_step
from rs.communities import make_rules
from rs.communityconfig import Communities
from rs.groups import GroupKey, Groups, ViewKey
from rs.iana import MAX_MESSAGE_LEN, Family
from rs.peer import PeerKind
from tests.farends import (
    BOTH,
    EVERYTHING,
    LOCAL,
    RS_ASN,
    SEQ,
    V4,
    Attrs,
    Speaker,
    handle,
    prefix_key,
)
from tests.reference import codec

if TYPE_CHECKING:
    from collections.abc import Callable


class Engine:
    """RIB, export and groups as the router puts them together, for tests of one module."""

    def __init__(
        self,
        *,
        slots: int = 64,
        asn: int = RS_ASN,
        communities: bool = True,
        definitions: Communities = Communities(),  # noqa: B008 - frozen
        as_loop: bool = True,
        metric_of: Callable[[str], int | None] | None = None,
    ) -> None:
        self.attrs = AttrTable(metric_of)
        self.sets = MemberSets(slots)
        router_id = int(ipaddress.IPv4Address("10.0.0.1"))
        self.control = Control(
            self.attrs,
            self.sets,
            asn,
            router_id,
            router_id,
            make_rules(definitions, asn) if communities else None,
            as_loop=as_loop,
        )
        self.rib = Rib(self.attrs, self.sets, self.control)
        self.exporter = Exporter(self.rib, Rewriter(self.rib))
        self.groups = Groups(self.exporter, asn, router_id)
        self.asns: dict[int, list[int]] = {}
        self.members: list[Any] = []
        """For tests to keep them in."""

    def peer(
        self, slot: int, asn: int | None = None, kind: int = PeerKind.RS_CLIENT, **checks: Any
    ):
        """Describe a peer, by default AS 65000 + slot at 10.1.0.slot."""
        number = 65000 + slot if asn is None else asn
        address = f"10.1.{slot >> 8}.{slot & 255}"
        self.rib.add_peer(slot, number, address, kind, **{"first_as": False, **checks})
        self.rib.set_router_id(slot, address)
        if kind == PeerKind.RS_CLIENT:
            self.asns.setdefault(number, []).append(slot)
            self.control.set_peers(self.asns, list(LOCAL.values()))

    def peers(self, *slots: int, **options: Any) -> None:
        for slot in slots:
            self.peer(slot, **options)

    def intern(self, family: Family = V4, **changes: Any) -> int:
        """Return a new reference to an attribute set; the caller drops it."""
        hop = "192.0.2.1" if family is V4 else "2001:db8:1::1"
        attrs = {"origin": 0, "as_path": ((SEQ, (64496,)),), "next_hop": hop, **changes}
        return int(
            self.attrs.intern_attrs({k: v for k, v in attrs.items() if v is not None}, family)
        )

    def announce(self, slot: int, *prefixes: str, ticks: int = 0, path_id: int = 0, **attrs: Any):
        """Enter paths as import would."""
        for prefix in prefixes:
            family = codec.family_of(prefix)
            h = self.intern(family, **attrs)
            key = prefix_key(prefix)
            self.rib.tables[family].set_path(*key, slot, h, path_id, ticks)
            self.attrs.drop(h)

    def withdraw(self, slot: int, *prefixes: str, path_id: int = 0) -> None:
        for prefix in prefixes:
            table = self.rib.tables[codec.family_of(prefix)]
            table.drop_path(*prefix_key(prefix), slot, path_id)

    def join(
        self,
        slot: int,
        family: Family = V4,
        *,
        kind: int = PeerKind.RS_CLIENT,
        next_hop: str | None = None,
        honor: bool = False,
        as4: bool = True,
        max_len: int = MAX_MESSAGE_LEN,
        ext_next_hop: bool = False,
        addpath: bool = False,
        choice: int = 0,
        max_paths: int = 0,
        cluster_id: int = 0,
        client_to_client: bool = True,
    ) -> Any:
        view = ViewKey(
            family=family,
            kind=kind,
            next_hop=next_hop,
            honor_well_known=honor,
            addpath=addpath,
            choice=choice,
            max_paths=max_paths,
            cluster_id=cluster_id,
            client_to_client=client_to_client,
        )
        return self.groups.join(slot, view, GroupKey(as4, max_len, ext_next_hop))

    def leave(self, member: Any) -> None:
        member.leave()
        self.groups.left(member)

    def flush(self, step: int = 1000) -> None:
        """Evaluate what is dirty and finish every walk; nobody reads."""
        while self.exporter.dirty():
            self.exporter.step(step)
        for group in self.all_groups():
            while group.walkers and group.walk_ready(0.0):
                self.exporter.walk(1000, 0.0)

    def withdraw_all(self) -> None:
        """Remove every path and tell everybody."""
        for table in self.rib.tables:
            purge_step(table, list(range(1, self.rib.n_slots)), 1, 1 << 30)
        self.flush()

    def all_groups(self) -> list[Any]:
        return [g for views in self.exporter.views for v in views for g in v.groups]

    def handle(self, prefix: str) -> int:
        return handle(self.rib.tables[codec.family_of(prefix)], prefix)


class Reader:
    """Bytes of one member to a table: a far end without a session."""

    def __init__(
        self,
        member: Any,
        *,
        as4: bool = True,
        ext_next_hop: bool = False,
        max_len: int = 4096,
        addpath: bool = False,
    ) -> None:
        self.member = member
        self.speaker = Speaker("10.1.0.1", 1, "10.1.0.1", four_octet_as=as4)
        self.speaker.hears_paths = BOTH if addpath else ()
        self.speaker.extended_next_hop = ext_next_hop
        self.speaker.extended_message = max_len > MAX_MESSAGE_LEN

    def read(self, room: int = EVERYTHING) -> int:
        """Take up to `room` octets. A walk's end gives none once, and the log goes on after it."""
        data = self.member.take(room) or self.member.take(room)
        self.speaker.take(data)
        return len(data)

    @property
    def table(self) -> dict[str, Attrs]:
        return self.speaker.table()

    @property
    def events(self) -> list[tuple[Any, ...]]:
        return self.speaker.events
