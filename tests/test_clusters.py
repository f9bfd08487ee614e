"""Several clusters on one reflector, and clients among themselves; RFC 4456."""

from __future__ import annotations

import attrs
import pytest

from rs.config import Role
from rs.iana import RejectReason
from rs.show import neighbor
from tests.farends import RS_ASN, Speaker, make_neighbor, make_router
from tests.test_reload import Reloading

PREFIX = "10.1.0.0/16"
A, B = "10.7.0.1", "10.7.0.2"


def reflector(*kinds, **changes):
    """A reflector whose neighbors are in these clusters; None is no client, "" the router's own."""
    section = make_router(role=Role.ROUTE_REFLECTOR)
    speakers = [Speaker(f"10.1.0.{i}", RS_ASN, f"10.2.0.{i}") for i, _ in enumerate(kinds, start=1)]
    neighbors = [
        make_neighbor(
            section,
            RS_ASN,
            address=s.address,
            route_reflector_client=kind is not None,
            cluster_id=kind or None,
            **(changes if kind is not None else {}),
        )
        for s, kind in zip(speakers, kinds, strict=True)
    ]
    lab = Reloading(0, router=section, neighbors=neighbors)
    lab.all = speakers
    return lab, lab.start()


def lists(lab, *speakers, prefix=PREFIX):
    """The CLUSTER_LISTs with which speakers have a prefix; None for who has not got it."""
    lab.settle()
    lab.check()
    return [s.table().get(prefix, {}).get("cluster_list") for s in speakers]


def test_the_clusters_that_a_route_passes():
    lab, (a1, a2, b, own, other) = reflector(A, A, B, "", None)
    lab.announce(a1, PREFIX, local_pref=7, med=5, next_hop="192.0.2.77")
    assert lists(lab, a1, a2, b, own, other) == [None, (A,), (B, A), ("10.0.0.1", A), (A,)]
    for speaker in (a2, b, own, other):
        found = speaker.table()[PREFIX]
        assert (found["local_pref"], found["med"], found["next_hop"]) == (7, 5, "192.0.2.77")
        assert found["originator_id"] == a1.router_id
    lab.withdraw(a1, PREFIX)
    lab.announce(other, PREFIX, local_pref=100)
    assert lists(lab, a1, a2, b, own, other) == [(A,), (A,), (B,), ("10.0.0.1",), None]


def test_a_loop_is_one_through_any_of_our_clusters():
    lab, (a, b, other) = reflector(A, B, None)
    for i, cluster in enumerate((A, B, "10.0.0.1", "10.7.0.3")):
        prefix = f"10.{i}.0.0/16"
        lab.announce(a, prefix, local_pref=100, originator_id="10.3.0.1", cluster_list=(cluster,))
    lab.settle()
    lab.check()
    assert set(other.table()) == {"10.3.0.0/16"}
    assert lab.router.rib.reject_counts(a.slot) == {RejectReason.CLUSTER_LOOP: 3}
    assert b.table()["10.3.0.0/16"]["cluster_list"] == (B, A, "10.7.0.3")


def test_clients_that_are_fully_meshed():
    """Within a cluster nothing is reflected, between clusters and to all others it is."""
    lab, (a1, a2, b, own, other) = reflector(A, A, B, "", None, client_to_client=False)
    lab.announce(a1, PREFIX, local_pref=100)
    assert lists(lab, a2, b, own, other) == [None, (B, A), ("10.0.0.1", A), (A,)]
    lab.withdraw(a1, PREFIX)
    lab.announce(other, PREFIX, local_pref=100)
    assert lists(lab, a1, a2, b, own) == [(A,), (A,), (B,), ("10.0.0.1",)]


def test_client_to_client_is_the_receivers():
    lab, (one, two, three) = reflector(A, A, A)
    lab.announce(one, PREFIX, local_pref=100)
    assert lists(lab, two, three) == [(A,), (A,)]
    lab.change(2, client_to_client=False)
    assert lab.undisturbed(one, two, three)
    assert lists(lab, two, three) == [(A,), None]
    lab.change(2, client_to_client=True)
    assert lists(lab, two, three) == [(A,), (A,)]


def test_clusters_that_come_and_go():
    """A path through a cluster is refused as soon as that is ours, and used again when it is not."""
    lab, (one, two, other) = reflector(A, "", None)
    lab.announce(one, PREFIX, local_pref=100, originator_id="10.3.0.1", cluster_list=(B,))
    assert lists(lab, other) == [(A, B)]
    before = list(lab.neighbors)
    after = [before[0], attrs.evolve(before[1], cluster_id=B), before[2]]
    done = lab.reload(*after)
    assert done.reset == 1
    assert not two.up
    assert lists(lab, other) == [None]
    assert lab.router.rib.reject_counts(one.slot) == {RejectReason.CLUSTER_LOOP: 1}
    lab.reload(*before)
    assert lists(lab, other) == [(A, B)]


@pytest.mark.parametrize("cluster", [A, None])
def test_a_range_of_clients(cluster):
    section = make_router(role=Role.ROUTE_REFLECTOR)
    pods = make_neighbor(
        section, RS_ASN, range="10.4.0.0/16", route_reflector_client=True, cluster_id=cluster
    )
    lab = Reloading(0, router=section, neighbors=[pods])
    lab.all = [Speaker(f"10.4.0.{i}", RS_ASN, f"10.5.0.{i}") for i in (1, 2)]
    one, two = lab.start()
    lab.announce(one, PREFIX, local_pref=100)
    assert lists(lab, two) == [(cluster or "10.0.0.1",)]


def test_clusters_are_shown():
    lab, speakers = reflector(A, "", None)
    shown = [neighbor(lab.router, s.peer, lab.now)["cluster_id"] for s in speakers]
    assert shown == [A, "10.0.0.1", None]
