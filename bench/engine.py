"""The engine without sessions and sockets: members with what each sends and is sent.

In: a table of `bench.tables`. Out: an Engine, whose parts the benchmarks drive one by one. It is
put together as `rs.router.Router` does it, with every member a route-server client.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from bench.tables import RS_ASN, member_address, member_asn
from rs._fastpath.attrs import AttrTable
from rs._fastpath.control import Control
from rs._fastpath.export import Exporter
from rs._fastpath.ingest import Ingest
from rs._fastpath.outbox import Outbox
from rs._fastpath.rewrite import Rewriter
from rs._fastpath.rib import Rib
from rs._fastpath.sets import MemberSets
from rs.communities import make_rules
from rs.communityconfig import Communities
from rs.groups import GroupKey, Groups, ViewKey
from rs.iana import MAX_MESSAGE_LEN, Family
from rs.peer import PeerKind

if TYPE_CHECKING:
    from bench.tables import Tables
    from rs._fastpath.group import Member

STEP = 1024
"""Prefixes evaluated between two looks at anything else, as rs.scheduler does."""


class Engine:
    """RIB, export and `members` members in slots 1 to `members`."""

    def __init__(self, members: int, families: tuple[Family, ...] = tuple(Family)) -> None:
        self.n_members = members
        self.families = families
        self.attrs = AttrTable()
        self.sets = MemberSets(max(64, members + 1))
        router_id = int(IPv4Address("10.0.0.1"))
        self.control = Control(
            self.attrs, self.sets, RS_ASN, router_id, router_id, make_rules(Communities(), RS_ASN)
        )
        self.rib = Rib(self.attrs, self.sets, self.control)
        self.exporter = Exporter(self.rib, Rewriter(self.rib))
        self.groups = Groups(self.exporter, RS_ASN, router_id)
        for m in range(members):
            address = str(IPv4Address(member_address(m)))
            self.rib.add_peer(m + 1, member_asn(m), address, PeerKind.RS_CLIENT)
            self.rib.set_router_id(m + 1, address)
        self.control.set_peers({member_asn(m): [m + 1] for m in range(members)})
        self.ingests = [Ingest(self.rib, m + 1) for m in range(members)]
        self.outboxes: list[Outbox] = []
        self.members: list[list[Member]] = []

    def join(self) -> None:
        """Have every member join its groups; each is to get the table and then every change."""
        for m in range(self.n_members):
            outbox = Outbox()
            members = []
            for family in self.families:
                view = ViewKey(family, PeerKind.RS_CLIENT, None, honor_well_known=False)
                group = GroupKey(
                    four_octet_as=True, max_len=MAX_MESSAGE_LEN, extended_next_hop=False
                )
                member = self.groups.join(m + 1, view, group)
                outbox.attach(member)
                members.append(member)
            self.outboxes.append(outbox)
            self.members.append(members)

    def feed(self, tables: Tables) -> None:
        """Enter every member's table."""
        for m in range(self.n_members):
            self.ingests[m].feed(tables.updates(m))

    def evaluate(self) -> int:
        """Evaluate every dirty prefix; return how many there were."""
        total = 0
        while done := self.exporter.step(STEP):
            total += done
        return total

    def walk(self) -> None:
        """Encode the table for those who have joined."""
        while self.exporter.walk(STEP):
            pass

    def take(self) -> int:
        """Have every member read all there is; return the octets."""
        return sum(len(outbox.take()) for outbox in self.outboxes)

    def advertised(self, m: int) -> int:
        """Return the prefixes that a member has been sent."""
        return sum(self.groups.view_of(member).adj.advertised(m + 1) for member in self.members[m])

    def memory(self) -> dict[str, int]:
        """Return octets in use, by part."""
        tables = [self.rib.tables[family].stats()["bytes"] for family in Family]
        views = [view for views in self.exporter.views for view in views]
        return {
            "prefixes and paths": sum(tables),
            "attribute sets": self.attrs.stats()["bytes"],
            "member sets": self.sets.stats()["bytes"],
            "Adj-RIB-Out": sum(view.adj.stats()["bytes"] for view in views),
        }
