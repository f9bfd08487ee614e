"""Which peers get the same bytes: the keys of views and groups, and who is in which.

In: what a peer's configuration and its session say. Out: Members of groups. A *view* is an
Adj-RIB-Out: peers with the same export program by content share it. A *group* is a view in one
encoding: 4-octet AS numbers, message size, next-hop form. Everything that differs from member to
member (split horizon, exclusion, what it has been sent) is in member sets, never in these keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rs._fastpath.adjout import AdjOut
from rs._fastpath.encode import Encoder
from rs._fastpath.export import Exporter, View
from rs._fastpath.group import Group, Member
from rs._fastpath.rewrite import Program
from rs.iana import MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from rs._fastpath.orr import Vantage
    from rs._fastpath.terms import Terms
    from rs.capabilities import Negotiated


@dataclass(frozen=True, slots=True)
class ViewKey:
    """Everything that decides what is sent, and with which attributes."""

    family: Family
    kind: int
    """How the peer is spoken to: a `PeerKind`."""
    next_hop: str | None
    """Our own address where it replaces the next hop, else None."""
    honor_well_known: bool
    """NO_EXPORT and NO_ADVERTISE bind us (RFC 1997)."""
    addpath: bool = False
    """Several paths of a prefix, with identifiers (RFC 7911)."""
    choice: int = 0
    """Which ones: a `PathChoice`."""
    max_paths: int = 0
    """Of these at most so many; 0 = all."""
    role: int = 0
    """What we are to the peer (RFC 9234), 0 for no role; see `role_of`."""
    closed: bool = False
    """Nothing is announced: there is no export policy (RFC 8212)."""
    prepend: bool = False
    """A route-server client sees our AS in front of AS_PATH (RFC 7947 2.2.2.1)."""
    cluster_id: int = 0
    """Cluster of the clients of a reflector; 0 = the router's own."""
    client_to_client: bool = True
    """They get the routes of other clients of their cluster."""
    orr: str | None = None
    """The group of [[orr]] whose metrics the best paths are chosen with (RFC 9107)."""
    policy: Terms | None = None
    """Export policies; of equal content there is one program."""


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Everything else that the bytes depend on."""

    four_octet_as: bool
    max_len: int
    """Octets a message."""
    extended_next_hop: bool

    @classmethod
    def of(cls, negotiated: Negotiated, family: Family) -> GroupKey:
        """Return the encoding that a session has agreed on."""
        return cls(
            four_octet_as=negotiated.four_octet_as,
            max_len=MAX_EXTENDED_MESSAGE_LEN if negotiated.extended_message else MAX_MESSAGE_LEN,
            extended_next_hop=family in negotiated.extended_next_hop,
        )


class Groups:
    """The directory of views and groups; they come with their first member, go with their last."""

    def __init__(
        self,
        exporter: Exporter,
        local_asn: int,
        cluster_id: int,
        vantage_of: Callable[[str | None], Vantage | None] = lambda _: None,
        release: Callable[[AdjOut], None] = lambda _: None,
    ) -> None:
        """`vantage_of` gives what ranks for a group of [[orr]].

        `release` is called with the Adj-RIB-Out that nobody has any more: it may be large.
        """
        self._vantage_of = vantage_of
        self._release = release
        self._exporter = exporter
        self._local_asn = local_asn
        self._cluster_id = cluster_id
        self._views: dict[ViewKey, View] = {}
        self._groups: dict[tuple[ViewKey, GroupKey], Group] = {}
        self._keys: dict[Member, tuple[ViewKey, GroupKey]] = {}
        # A number stands for one program for good: attribute sets keep forms derived by it.
        self._numbers: dict[tuple[object, ...], int] = {}

    def __len__(self) -> int:
        return len(self._groups)

    def use_identity(self, local_asn: int, cluster_id: int) -> None:
        """Export as this AS and cluster from the next view on; the members of the old ones go."""
        self._local_asn = local_asn
        self._cluster_id = cluster_id

    def join(self, slot: int, view_key: ViewKey, group_key: GroupKey) -> Member:
        """Add a peer; it gets the table, then every change."""
        member = self._group(view_key, group_key).join(slot)
        self._keys[member] = (view_key, group_key)
        return member

    def move(self, member: Member, view_key: ViewKey, group_key: GroupKey) -> Member:
        """Return a place for a peer in another group, where it is brought to what it is due now.

        The old member must leave afterwards, and left() be called for it.
        """
        new = self._group(view_key, group_key).join_all(member.slot, member)
        self._keys[new] = (view_key, group_key)
        return new

    def _group(self, view_key: ViewKey, group_key: GroupKey) -> Group:
        view = self._views.get(view_key) or self._make_view(view_key)
        group = self._groups.get((view_key, group_key))
        if group is None:
            encoder = Encoder(
                self._exporter.rib.attrs,
                view.adj.table.trie,
                view_key.family,
                as4=group_key.four_octet_as,
                max_len=group_key.max_len,
                ext_next_hop=group_key.extended_next_hop,
                addpath=view_key.addpath,
            )
            group = Group(view.adj, encoder)
            view.groups.append(group)
            self._groups[view_key, group_key] = group
        return group

    def left(self, member: Member) -> None:
        """Forget a member that has left; the last one takes group and view with it."""
        view_key, group_key = self._keys.pop(member)
        group = self._groups[view_key, group_key]
        if group.members:
            return
        view = self._views[view_key]
        view.groups.remove(group)
        del self._groups[view_key, group_key]
        if not view.groups:
            self._exporter.views[view_key.family].remove(view)
            del self._views[view_key]
            self._release(view.adj)

    def view_of(self, member: Member) -> View:
        """Return the view that a member is sent."""
        return self._views[self._keys[member][0]]

    def _make_view(self, key: ViewKey) -> View:
        cluster_id = key.cluster_id or self._cluster_id
        speaker = (self._local_asn, cluster_id)
        content = (*speaker, key.kind, key.next_hop, key.honor_well_known, key.role, key.prepend)
        number = self._numbers.setdefault(content, len(self._numbers) + 1)
        program = Program(
            number,
            key.kind,
            self._local_asn,
            cluster_id,
            key.next_hop,
            honor_well_known=key.honor_well_known,
            role=key.role,
            closed=key.closed,
            prepend=key.prepend,
        )
        view = View(
            AdjOut(
                self._exporter.rib,
                key.family,
                self._exporter.rewriter,
                program,
                client_to_client=key.client_to_client,
                addpath=key.addpath,
                choice=key.choice,
                max_paths=key.max_paths,
                vantage=self._vantage_of(key.orr),
                policy=key.policy,
            )
        )
        self._exporter.views[key.family].append(view)
        self._views[key] = view
        return view
