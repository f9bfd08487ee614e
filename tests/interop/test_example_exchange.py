"""deploy/examples/exchange: a route server with filters, IRR and RPKI, and three kinds of members."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .daemons import Bird, Frr, Openbgpd
from .site import BirdSpeaker, FrrSpeaker, OpenbgpdSpeaker, RsSpeaker, Site, need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .site import Speaker

BIRD, FRR, OPENBGPD = "192.0.2.11", "192.0.2.12", "192.0.2.13"
STAYRTR = ("stayrtr", "-bind", "127.0.0.1:3323", "-cache", "rpki/vrps.json")
STAYRTR_OPTIONS = ("-checktime=false", "-metrics.addr", "")


class Exchange:
    def __init__(self, site: Site) -> None:
        def host(name: str, number: int) -> tuple[str, str]:
            return f"192.0.2.{number}/24", f"2001:db8:1::{number:x}/64"

        self.rs = RsSpeaker(site.machine("rs", *host("rs", 1)), "rs.toml")
        self.bird = BirdSpeaker(site.machine("bird", *host("bird", 11)), "bird.conf")
        self.frr = FrrSpeaker(site.machine("frr", *host("frr", 12)), "frr/frr.conf")
        self.openbgpd = OpenbgpdSpeaker(
            site.machine("openbgpd", *host("openbgpd", 13)), "bgpd.conf"
        )
        self.validator = self.rs.machine.start([*STAYRTR, *STAYRTR_OPTIONS], "stayrtr.log")
        self.members: dict[int, Speaker] = {64496: self.bird, 64497: self.frr, 64498: self.openbgpd}


@pytest.fixture
def exchange(_namespaces: None, tmp_path: Path) -> Iterator[Exchange]:
    need(Bird, Frr, Openbgpd)
    if shutil.which("stayrtr") is None:
        pytest.skip("stayrtr not found (Debian package stayrtr)")
    site = Site("exchange", tmp_path)
    try:
        exchange = Exchange(site)
        site.start_all(exchange.rs)  # OpenBGPD waits for two minutes if it finds nobody
        site.start_all(*exchange.members.values())
        addresses = [f"192.0.2.{n}" for n in (11, 12, 13)]
        exchange.rs.wait_up(*addresses, *(f"2001:db8:1::{n:x}" for n in (11, 12, 13)))
        yield exchange
    finally:
        site.close()


DROPPED = "198.18.48.66/32"
REJECTED = {
    (BIRD, "198.18.2.0/24"): "filter-rpki-invalid",
    (BIRD, "198.18.3.0/24"): "filter-irr-prefix",
    (BIRD, "198.19.0.128/25"): "filter-prefix-length",
    (BIRD, "10.1.0.0/24"): "filter-bogon-prefix",
    (BIRD, "192.0.2.0/24"): "filter-black-list",
    (FRR, "198.18.64.0/24"): "filter-transit-free",
}
DUE = {
    64496: {
        "198.18.16.0/20": (64497,),
        "198.18.32.0/24": (64497, 64510),
        "198.18.48.0/24": (64498,),
        "198.18.49.0/24": (64498,),
        "198.18.48.66/32": (64498,),
        "2001:db8:12::/48": (64497,),
        "2001:db8:13::/48": (64498,),
    },
    64497: {
        "198.18.0.0/20": (64496,),
        "198.18.48.0/24": (64498,),
        "198.18.48.66/32": (64498,),
        "2001:db8:11::/48": (64496,),
        "2001:db8:13::/48": (64498,),
    },
    64498: {
        "198.18.0.0/20": (64496, 64496, 64496),
        "198.18.1.0/24": (64496,),
        "198.18.16.0/20": (64497,),
        "198.18.32.0/24": (64497, 64510),
        "2001:db8:11::/48": (64496,),
        "2001:db8:12::/48": (64497,),
    },
}
"""AS number -> prefix -> AS_PATH, complete."""


def holds(member: Speaker, due: dict[str, tuple[int, ...]]) -> bool:
    return {p: seen[0].route.as_path for p, seen in member.table().items()} == due


def test_exchange(exchange: Exchange) -> None:
    rs = exchange.rs
    rs.wait(lambda: rs.rejected() == REJECTED, "refuse what it must")
    for asn, member in exchange.members.items():
        member.wait(lambda m=member, a=asn: holds(m, DUE[a]), "have exactly what it is due")
        for prefix, seen in member.table().items():
            number = DUE[asn][prefix][0] - 64496 + 11
            if prefix == DROPPED:
                assert seen[0].route.next_hop == "192.0.2.66"
                assert "65535:666" in seen[0].route.communities
                continue
            hop = f"2001:db8:1::{number:x}" if ":" in prefix else f"192.0.2.{number}"
            assert seen[0].route.next_hop == hop
    # Steering communities have done their work and are gone; members are told what is known.
    [steered] = exchange.openbgpd.table()["198.18.1.0/24"]
    assert steered.route.large_communities == {
        "64500:1000:1",  # valid by RPKI
        "64500:1001:1",  # in the IRR
        "64500:1010:64496",  # learnt from
        "64500:1011:64496",  # originated by
    }

    # The validator dies: its data hold on, so nothing changes.
    exchange.validator.kill()
    # A member dies: its routes go from all others.
    exchange.frr.kill()
    left = {a: {p: w for p, w in due.items() if w[0] != 64497} for a, due in DUE.items()}
    for asn in (64496, 64498):
        member = exchange.members[asn]
        member.wait(lambda m=member, a=asn: holds(m, left[a]), "lose the routes of AS64497")
    assert rs.rejected() == {route: why for route, why in REJECTED.items() if route[0] != FRR}
