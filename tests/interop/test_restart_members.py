"""kill -9 of `rs` between 50 members of four kinds with a table: nobody loses a route.

Two BIRDs announce the same table, so that there is something to choose from. RS_RESTART_PREFIXES
makes it larger than what `make test` has time for.
"""

from __future__ import annotations

import ipaddress
import os
import time
from typing import TYPE_CHECKING

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor
from .daemons.light import LightMembers
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Lan

RS_ASN = 64500
LIGHT = 44
PREFIXES = int(os.environ.get("RS_RESTART_PREFIXES", "3000"))
KINDS = (("bird", 11), ("bird", 12), ("frr", 13), ("frr", 14), ("gobgp", 15), ("gobgp", 16))
V4 = FAMILIES[:1]
ON = {"graceful_restart": "on", "restart_time": 120}
WITHIN = 10.0
"""Seconds from the restart to fresh paths everywhere."""


def table(n: int) -> list[str]:
    """Return `n` prefixes."""
    base = int(ipaddress.IPv4Address("20.0.0.0"))
    return [f"{ipaddress.IPv4Address(base + (i << 8))}/24" for i in range(n)]


def make(lan: Lan, tmp_path: Path) -> tuple[Rs, list[Daemon], LightMembers]:
    """Configure everybody."""
    rs = Rs(lan.host(1), tmp_path / "rs", RS_ASN)
    # GoBGP takes no connection for up to ten seconds after it has lost one, and has nothing to say:
    # the others need not wait for it.
    rs.startup = {"timeout": 6}
    # Which BIRD's path is older is another matter after the restart than it was before.
    rs.router = {"prefer_oldest": False}
    daemons: list[Daemon] = []
    for name, number in KINDS:
        host, asn = lan.host(number), 65000 + number
        rs.members.append(Member(host.address, asn, V4, passive=False, options=ON))
        neighbor = Neighbor(rs.host.address, RS_ASN, V4, graceful=True)
        daemon = DAEMONS[name](host, tmp_path / f"{name}{number}", asn, [neighbor])
        if name == "bird":
            for prefix in table(PREFIXES):
                daemon.announce(prefix)
        daemons.append(daemon)
    crowd = lan.host(50)
    rs.host.run(["ip", "route", "add", "10.98.0.0/24", "via", crowd.address])
    light = LightMembers(crowd, 65100, LIGHT, rs.host.address, RS_ASN)
    rs.members += [
        Member(address, asn, V4, passive=True, options=ON) for address, asn in light.members.items()
    ]
    return rs, daemons, light


@pytest.mark.timeout(120 + PREFIXES // 200)
def test_kill_9_with_fifty_members(lan: Lan, tmp_path: Path) -> None:
    for name, _ in KINDS:
        if (reason := DAEMONS[name].missing()) is not None:
            pytest.skip(reason)
    rs, daemons, light = make(lan, tmp_path)
    receivers = [daemon for daemon in daemons if not daemon.exported]
    want = set(table(PREFIXES))
    try:
        rs.start()
        for daemon in daemons:
            daemon.start()
        light.start()
        for daemon in daemons:
            daemon.wait_established(timeout=30)
        patience = 30 + PREFIXES / 2000
        rs.wait(lambda: all(h.paths == PREFIXES for h in light.holdings()), "fill all", patience)
        for daemon in receivers:
            daemon.wait(lambda: daemon.routes().keys() >= want, "have all", patience)  # noqa: B023
        time.sleep(2.5)  # the state file is looked after every two seconds
        before = light.holdings()
        rs.kill()
        rs.wait(lambda: all(h.stale == PREFIXES for h in light.holdings()), "be missed")
        rs.start()
        begun = time.monotonic()
        rs.wait(
            lambda: all(h.established and h.stale == 0 for h in light.holdings()),
            "make everything fresh",
            WITHIN,
        )
        took = time.monotonic() - begun
        for daemon in receivers:
            assert daemon.routes().keys() >= want, daemon.name
            daemon.wait_established(timeout=30)
            assert daemon.routes().keys() >= want, daemon.name
        after = light.holdings()
        assert [h.changes for h in after] == [h.changes for h in before], "nothing was withdrawn"
        assert took < WITHIN
        print(f"{PREFIXES} prefixes, {LIGHT + len(KINDS)} members: fresh after {took:.1f} s")
    finally:
        light.stop()
        rs.stop()
        for daemon in daemons:
            daemon.kill()
