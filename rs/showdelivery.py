"""Why a neighbor has a path of a prefix, or why not: the question that operators ask most.

In: a running router, a neighbor, a prefix. Out: for each path of it whether the neighbor is sent
it, and if not, the first thing that stands against it, with the policy, the community or the
number that says so. What the fast path makes of the paths is asked there (withheld.pyx), so that
the answer is what is done; here it is put into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rs._fastpath.withheld import excluding, sources, verdicts
from rs.attrtext import attributes_json, community_list, community_name
from rs.communities import ACTIONS, ATTRIBUTES, KINDS, decoded
from rs.config import LocalRole
from rs.iana import Family, WellKnownCommunity
from rs.reasons import Withheld

if TYPE_CHECKING:
    from collections.abc import Callable

    from rs._fastpath.export import View
    from rs._fastpath.group import Member
    from rs.peer import Peer
    from rs.router import Router
    from rs.show_types import Delivery, DeliveryState, PathDelivery
    from rs.showroutes import RawPath

WALK, LIVE = 0, 1
"""States of a Member, see group.pxd."""
PATH_NOT_USABLE = 0x04
"""Flag of a path, see paths.pxd."""
FORMS = {number: form for form, number in KINDS.items()}
DENIALS = {
    int(action): name for name, (action, _) in ACTIONS.items() if name.startswith("do_not_announce")
}
"""ACT_* -> name of the definition."""
STAY = (WellKnownCommunity.NO_EXPORT, WellKnownCommunity.NO_EXPORT_SUBCONFED)
SOURCES = {
    LocalRole.CUSTOMER: "a provider",
    LocalRole.PEER: "a peer",
    LocalRole.RS_CLIENT: "a route server",
}
"""Our role -> what the neighbor is, of those whose routes go to customers only."""
WORDS = {
    Withheld.OWN: "it is its own",
    Withheld.UNREACHABLE: "its next hop is unreachable",
    Withheld.NO_EXPORT_POLICY: "no export policy is configured for the neighbor (RFC 8212)",
    Withheld.NON_CLIENT: "neither the neighbor that it came from nor this one is a client of the "
    "reflector (RFC 4456)",
    Withheld.CLIENT_TO_CLIENT: "client_to_client is off: it came from another client of the "
    "cluster",
    Withheld.LLGR_STALE: "it is long-lived stale, and the neighbor has not said that it knows what "
    "that is (RFC 9494)",
    Withheld.BLACK_HOLE: "it is a black hole, and the neighbor accepts none",
    Withheld.NOT_BEST: "only the best path is announced, and that one is withheld",
    Withheld.SAME_AS: "add_path_send: a better one of the same neighboring AS is sent",
    Withheld.NOT_EQUAL: "add_path_send: it is not as good as the best",
    Withheld.TOO_LONG: "no message of the session can hold it",
    Withheld.FULL: "the prefix has too many different forms",
    Withheld.EXTENDED_NEXT_HOP: "its next hop is an IPv6 address, which the neighbor has not "
    "agreed to for IPv4 (RFC 8950)",
}
"""Those that need nothing else to be said; `Recipient` has the others."""


class Hindrance(NamedTuple):
    """Why something is not simply sent."""

    reason: str
    words: str


def withheld_label(code: int) -> str:
    """Return the name of a reason in the API, such as `as-loop`."""
    return Withheld(code).name.lower().replace("_", "-")


class Recipient:
    """A neighbor, as the one that is asked about; for as long as the loop is held."""

    def __init__(self, router: Router, peer: Peer) -> None:
        self._router = router
        self._peer = peer

    def route(
        self,
        family: Family,
        h: int,
        prefix: str,
        raw: list[RawPath],
        *,
        rejected: Callable[[int], str],
    ) -> tuple[Delivery, list[PathDelivery]]:
        """Return what becomes of a prefix for the neighbor, and of each path in `raw`.

        `rejected` gives in words why import has refused the i-th one.
        """
        view, member = self._peer.view(family), self._peer.members.get(family)
        if view is None or member is None:
            lacks = self._not_up(family)
            found: list[PathDelivery] = [_withheld(*lacks) for _ in raw]
            return self._delivery("withheld", *lacks), found
        look = _Look(self._router, self._peer, view, member, prefix, raw, rejected)
        return look.answer(h)

    def _delivery(self, state: DeliveryState, reason: str | None, why: str) -> Delivery:
        return {"neighbor": self._peer.address, "state": state, "reason": reason, "why": why}

    def _not_up(self, family: Family) -> Hindrance:
        """Say why there is nothing at all that the neighbor is sent."""
        peer, session = self._peer, self._peer.session
        agreed = session.negotiated
        if not peer.established or agreed is None:
            words = f"its session is {session.state.label}"
            words += "" if session.enabled else ", shut down"
            error = f": {session.last_error}" if session.last_error else ""
            return Hindrance("session-down", words + error)
        if family not in peer.neighbor.families:
            return Hindrance("family", f"{family.label} is not configured for it")
        if family not in agreed.families:
            return Hindrance("family", f"it has not agreed to {family.label}")
        return Hindrance("joining", "its session has just come up")


@dataclass(frozen=True, slots=True)
class _Look:
    """One prefix, for a neighbor that is sent routes of its family."""

    router: Router
    peer: Peer
    view: View
    member: Member
    prefix: str
    raw: list[RawPath]
    rejected: Callable[[int], str]

    def answer(self, h: int) -> tuple[Delivery, list[PathDelivery]]:
        """Return what becomes of the prefix, and of each path."""
        adj, slot = self.view.adj, self.peer.slot
        judged = verdicts(adj, h, slot)
        has = {place: attrs_h for _, attrs_h, _, place in sources(adj, h, slot)}
        due = [i for i, code in judged if code == Withheld.NOT]
        found: dict[int, PathDelivery] = {}
        passed_over = False
        for i, code in judged:
            if code == Withheld.NOT:
                state, reason, why = self._on_its_way(h, has_it=i in has)
                if passed_over and not adj.addpath:
                    why += "; a better one is withheld"
                found[i] = {"state": state, "reason": reason, "why": why}
            else:
                found[i] = self._explain(i, Withheld(code), due)
                if i in has:
                    found[i]["state"] = "withdrawing"
                    found[i]["why"] = f"about to be withdrawn: {found[i]['why']}"
                passed_over = passed_over or code not in {Withheld.REJECTED, Withheld.UNREACHABLE}
            if i in has:
                attrs = self.router.attrs.describe(has[i])
                found[i]["attributes"] = attributes_json(attrs)
        return self._sum_up([found[i] for i, _ in judged], gone=-1 in has), [
            found[i] for i in range(len(self.raw))
        ]

    def _sum_up(self, ranked: list[PathDelivery], *, gone: bool) -> Delivery:
        """Return what the paths, in the order of preference, come to."""
        out: Delivery = {
            "neighbor": self.peer.address,
            "state": "withheld",
            "reason": "no-usable-path",
            "why": "no path can be used",
        }
        unused = {"rejected", "unreachable"}
        usable = [one for one in ranked if one["reason"] not in unused]
        order = ("sent", "sending", "waiting", "withdrawing", "withheld")
        for one in sorted(usable, key=lambda one: order.index(one["state"]))[:1]:
            out["state"], out["reason"], out["why"] = one["state"], one["reason"], one["why"]
        if gone and out["state"] == "withheld":
            out["state"], out["why"] = "withdrawing", f"about to be withdrawn: {out['why']}"
        return out

    def _on_its_way(self, h: int, *, has_it: bool) -> tuple[DeliveryState, str | None, str]:
        """Return how far a path is that the neighbor is due."""
        ahead, unread = self.member.progress(h)
        if self.router.startup.holding and not has_it:
            missing = ", ".join(self.router.startup.missing())
            return "waiting", "held-back", f"nothing is sent yet after the start, for {missing}"
        if ahead and self.member.state == WALK:
            return "waiting", "table", "the table is being sent, and not as far as here"
        if ahead:
            return "waiting", "behind", "the neighbor reads slowly, and is sent it when it can be"
        if not has_it:
            return "waiting", "changing", "about to be sent"
        if unread:
            return "sending", "backlog", f"on its way: {unread} octets are not read yet"
        return "sent", None, "sent"

    def _explain(self, i: int, code: Withheld, due: list[int]) -> PathDelivery:
        """Say why the i-th path is withheld; `due` are those that are not."""
        slot, _, attrs_h, flags, _, _ = self.raw[i]
        label = withheld_label(code)
        if code is Withheld.REJECTED:
            return _withheld(label, f"rejected: {self.rejected(i)}")
        if code is Withheld.POLICY:
            return self._policy(self.router.peers.get(slot), attrs_h, flags)
        if code is Withheld.COMMUNITY:
            return self._community(attrs_h)
        if code in {Withheld.NO_EXPORT, Withheld.NO_ADVERTISE}:
            return self._well_known(label, attrs_h)
        if code is Withheld.ROLE:
            return _withheld(label, self._role(slot, attrs_h))
        if code is Withheld.AS_LOOP:
            return _withheld(label, f"AS{self.peer.asn}, the neighbor's AS, is in AS_PATH")
        if code is Withheld.BETTER_PATH:
            return _withheld(label, self._better(due))
        if code is Withheld.UNREACHABLE and not flags & PATH_NOT_USABLE:
            group = self.peer.neighbor.orr
            return _withheld(label, f"its next hop is unreachable for the group {group} of [[orr]]")
        if code is Withheld.LIMIT:
            limit = self.view.adj.max_paths
            return _withheld(label, f"the neighbor gets at most {limit} paths of a prefix")
        return _withheld(label, WORDS[code])

    def _better(self, due: list[int]) -> str:
        source = self.router.peers.get(self.raw[due[0]][0]) if due else None
        return "a better one is due" + (f", of {source.address}" if source is not None else "")

    def _policy(self, source: Peer | None, attrs_h: int, flags: int) -> PathDelivery:
        """Name the term that withholds a path."""
        label = withheld_label(Withheld.POLICY)
        term = None
        if source is not None:
            policies = self.router.rules.policies
            term = policies.why_withheld(self.peer, source, self.prefix, attrs_h, flags)
        if term is None:
            # The policy has changed, and what follows from that is about to be sent.
            return _withheld(label, "refused by export policy")
        words = f"refused by export policy {term}"
        out = _withheld(label, f"{words}: {term.reason}" if term.reason else words)
        out["policy"], out["term"] = term.policy, term.term
        return out

    def _community(self, attrs_h: int) -> PathDelivery:
        """Name the community value that excludes the neighbor."""
        label = withheld_label(Withheld.COMMUNITY)
        value = excluding(self.router.control, attrs_h, self.peer.slot)
        if value is None:
            return _withheld(label, "communities exclude the neighbor")
        action, kind, octets = value
        form = FORMS[kind]
        (text,) = community_list({ATTRIBUTES[form]: (decoded(form, octets),)})
        out = _withheld(label, f"community {text}: {DENIALS[action]}")
        out["community"] = text
        return out

    def _well_known(self, label: str, attrs_h: int) -> PathDelivery:
        communities = self.router.attrs.describe(attrs_h).get("communities", ())
        wanted = STAY if label == "no-export" else (WellKnownCommunity.NO_ADVERTISE,)
        values = [value for value in wanted if value in communities]
        (text, *_) = community_list({"communities": values})
        name = community_name(text)
        out = _withheld(label, f"community {text}: {name}, which honor_well_known obeys (RFC 1997)")
        out["community"] = text
        return out

    def _role(self, slot: int, attrs_h: int) -> str:
        otc = self.router.attrs.describe(attrs_h).get("otc")
        if otc is not None:
            return f"it has ONLY_TO_CUSTOMER {otc}, and the neighbor is no customer (RFC 9234)"
        source = self.router.peers.get(slot)
        what = "above" if source is None else SOURCES.get(source.neighbor.local_role, "above")
        return f"it came from {what}, and the neighbor is no customer (RFC 9234)"


def _withheld(reason: str, why: str) -> PathDelivery:
    return {"state": "withheld", "reason": reason, "why": why}
