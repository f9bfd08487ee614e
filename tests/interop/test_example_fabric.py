"""deploy/examples/fabric: eBGP between leaves and spines (RFC 7938); packets go through the spines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import Bird, Frr
from .site import BirdSpeaker, FrrSpeaker, RsSpeaker, Site, need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASNS = {1: 65001, 2: 65002, 3: 65002}
SHARED = "10.10.23.0/24"
"""Behind leaf2 and leaf3."""


def server(leaf: int) -> tuple[str, str]:
    return f"10.10.{leaf}.1", f"2001:db8:10:{leaf}::1"


class Fabric:
    def __init__(self, site: Site) -> None:
        self.site = site
        for spine in (1, 2):
            for leaf in ASNS:
                port = 2 * leaf
                site.cable(
                    f"spine{spine}",
                    f"leaf{leaf}",
                    {
                        f"spine{spine}": (
                            f"10.64.{spine}.{port}/31",
                            f"2001:db8:64:{spine}::{port:x}/127",
                        ),
                        f"leaf{leaf}": (
                            f"10.64.{spine}.{port + 1}/31",
                            f"2001:db8:64:{spine}::{port + 1:x}/127",
                        ),
                    },
                )
        for leaf in ASNS:
            four, six = server(leaf)
            site.machine(f"leaf{leaf}").add("lo", f"{four}/24", f"{six}/64")
        for leaf in (2, 3):
            site.machine(f"leaf{leaf}").add("lo", f"10.10.23.{leaf}/24")
        self.spines = [RsSpeaker(site.machine(f"spine{n}"), f"spine{n}.toml") for n in (1, 2)]
        self.kernels = [
            BirdSpeaker(site.machine(f"spine{n}"), f"spine{n}-kernel.conf") for n in (1, 2)
        ]
        self.leaves = {
            leaf: FrrSpeaker(site.machine(f"leaf{leaf}"), f"leaf{leaf}/frr.conf") for leaf in ASNS
        }

    def reaches(self, one: int, other: int, version: int = 0) -> bool:
        """Tell whether packets get from a server of one leaf to that of another and back."""
        there = self.leaves[other].machine
        return self.leaves[one].machine.reaches(server(one)[version], there, server(other)[version])


@pytest.fixture
def fabric(_namespaces: None, tmp_path: Path) -> Iterator[Fabric]:
    need(Bird, Frr)
    site = Site("fabric", tmp_path)
    try:
        fabric = Fabric(site)
        site.start_all(*fabric.spines, *fabric.kernels, *fabric.leaves.values())
        yield fabric
    finally:
        site.close()


def test_fabric(fabric: Fabric) -> None:
    leaves = fabric.leaves
    for leaf, speaker in leaves.items():
        for other in ASNS.keys() - {leaf}:
            for prefix in (f"10.10.{other}.0/24", f"2001:db8:10:{other}::/64"):
                seen = speaker.wait_count(prefix, 2)
                assert {path.route.as_path for path in seen} == {(64600, ASNS[other])}
                if "." in prefix:
                    hops = [f"10.64.{spine}.{2 * leaf}" for spine in (1, 2)]
                    assert sorted(path.route.next_hop or "" for path in seen) == hops
                    speaker.wait(
                        lambda s=speaker, p=prefix, h=hops: s.machine.kernel_routes(p) == h,
                        f"use both spines to {prefix}",
                    )
    # The leaves' own next hops in the spines' kernels, all of them.
    for number, kernel in enumerate(fabric.kernels, 1):
        seen = kernel.wait_count(SHARED, 2)
        assert {path.route.as_path for path in seen} == {(65002,)}
        hops = [f"10.64.{number}.5", f"10.64.{number}.7"]
        kernel.wait(lambda k=kernel, h=hops: k.machine.kernel_routes(SHARED) == h, "share the load")
    for version in (0, 1):
        for one, other in ((1, 2), (1, 3), (2, 3)):
            leaves[one].wait(
                lambda o=one, t=other, v=version: fabric.reaches(o, t, v), f"reach leaf{other}"
            )
    # What one spine has sent down, and a leaf sends up to the other, is refused there.
    for spine in fabric.spines:
        assert set(spine.rejected().values()) == {"as-loop"}

    # A cable is cut: the spine says so long before a hold time is over.
    spine = fabric.spines[0]
    spine.machine.run("ip", "link", "set", "leaf3", "down")
    leaves[1].wait_paths("10.10.3.0/24", lambda seen: len(seen) == 1, "by one spine", timeout=8)
    leaves[1].wait_count(SHARED, 2)
    leaves[1].wait(lambda: fabric.reaches(1, 3), "reach leaf3 by spine2")
    spine.machine.run("ip", "link", "set", "leaf3", "up")
    spine.machine.add("leaf3", "2001:db8:64:1::6/127")  # the kernel has dropped it with the port
    leaves[1].wait_count("10.10.3.0/24", 2)

    # A spine dies: everything by the other one.
    fabric.spines[0].kill()
    for leaf, speaker in leaves.items():
        for other in ASNS.keys() - {leaf}:
            speaker.wait_count(f"10.10.{other}.0/24", 1)
    leaves[1].wait(lambda: fabric.reaches(1, 3) and fabric.reaches(1, 2, 1), "use spine2")

    # A leaf of a pair dies: what is behind both stays.
    leaves[2].kill()
    leaves[1].wait_count("10.10.2.0/24", 0)
    kernel = fabric.kernels[1]
    kernel.wait(lambda: kernel.machine.kernel_routes(SHARED) == ["10.64.2.7"], "use leaf3 only")
    leaves[1].wait_count(SHARED, 1)

    fabric.spines[0].launch()
    leaves[1].wait_count("10.10.3.0/24", 2)
