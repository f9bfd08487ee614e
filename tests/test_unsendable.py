"""What fits no message of a neighbor, or has a next hop that it does not understand, is not sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs import showroutes
from rs.iana import Family
from rs.show import parse_target
from tests.deliverykit import (
    I1,
    A,
    B,
    C,
    P,
    keys,
    lab_of,
    look,
    only,
    withheld,
)
from tests.updatekit import OPTIONAL, TRANSITIVE, attr

if TYPE_CHECKING:
    from tests.routerkit import Lab


def filler(n: int) -> bytes:
    """An attribute of so many octets that nobody knows."""
    return attr(OPTIONAL | TRANSITIVE, 200, bytes(n))


class TestTooLong:
    """What fits no message of a member is not sent to it, and nothing says that it is."""

    def lab(self, tmp_path) -> Lab:
        lab = lab_of(tmp_path, f"{A} 65001", f"{B} 65002", f"{C} 65003", f"{I1} 65008")
        lab.up(A, C, I1, extended_message=True)
        lab.up(B, extended_message=False)
        return lab

    def stored(self, lab, address) -> tuple[int, int]:
        """Routes that the Adj-RIB-Out counts for a neighbor, and how many it shows."""
        peer = lab.peer(address)
        adj = peer.view(Family.IPV4_UNICAST).adj
        walk = showroutes.RoutesWalk(lab.router, "advertised", peer=peer)
        shown = sum(len(items) for items in iter(lambda: walk.step(lambda: False), None))
        return adj.advertised(peer.slot), shown

    def test_the_adj_rib_out_knows(self, tmp_path):
        lab = self.lab(tmp_path)
        lab.announce(A, P, more=filler(5000))
        lab.announce(A, "21.0.0.0/8")
        lab.settle()
        assert withheld(lab, B, "too-long")["why"] == "no message of the session can hold it"
        assert only(lab, C)["state"] == "sent"
        assert (self.stored(lab, B), self.stored(lab, C)) == ((1, 1), (2, 2))
        (found,) = showroutes.route(lab.router, parse_target(P), "exact", 0, names=True)
        assert (found["advertised_to"], found["paths"][0]["members"]) == (2, [C, I1])

    def test_the_next_best_is_sent(self, tmp_path):
        lab = self.lab(tmp_path)
        lab.announce(A, P, more=filler(5000))
        lab.announce(I1, P, path=(65008, 1))
        lab.settle()
        route, paths = look(lab, B)
        assert (route["state"], paths[A]["reason"], paths[I1]["state"]) == (
            "sent",
            "too-long",
            "sent",
        )
        assert look(lab, C)[1][I1]["reason"] == "better-path"

    def test_it_grows_and_shrinks(self, tmp_path):
        lab = self.lab(tmp_path)
        for more, count in ((b"", 1), (filler(5000), 0), (filler(100), 1), (filler(4050), 0)):
            lab.announce(A, P, more=more)
            lab.settle()
            assert self.stored(lab, B) == (count, count)
            assert self.stored(lab, C) == (1, 1)

    def test_who_comes_later(self, tmp_path):
        """Whether it fits is asked again for whoever joins, in the place of another as well."""
        lab = self.lab(tmp_path)
        lab.announce(A, P, more=filler(5000))
        lab.settle()
        lab.down(C)
        lab.down(B)
        lab.settle()
        lab.up(B, extended_message=True)
        lab.up(C, extended_message=False)
        lab.settle()
        assert only(lab, B)["state"] == "sent"
        withheld(lab, C, "too-long")
        assert (self.stored(lab, B), self.stored(lab, C)) == ((1, 1), (0, 0))

    def test_an_ipv6_next_hop_for_ipv4(self, tmp_path):
        four = "extended_next_hop = true"
        lab = lab_of(tmp_path, keys(A, 65001, four), keys(B, 65002, four), keys(C, 65003, four))
        rich = {"extended_next_hop": (Family.IPV4_UNICAST,)}
        lab.up(A, B, **rich)
        hop = bytes.fromhex("20010db8" + "00" * 11 + "09")
        body = b"\0\x01\x01\x10" + hop + b"\0" + bytes((8, 20))
        attrs = attr(0x40, 1, b"\0") + attr(0x40, 2, b"\x02\x01" + (65001).to_bytes(4))
        attrs = attr(0x80, 14, body) + attrs
        lab.feed(A, b"\0\0" + len(attrs).to_bytes(2) + attrs)
        lab.settle()
        lab.up(C)
        lab.settle()
        assert only(lab, B)["state"] == "sent"
        assert "RFC 8950" in withheld(lab, C, "extended-next-hop")["why"]
        assert (self.stored(lab, B), self.stored(lab, C)) == ((1, 1), (0, 0))
