"""Members to whom everything happens: frozen, killed, cut off, reset, taken out of the configuration.

Twelve BIRDs of six kinds: behind TCP MD5, behind GTSM, connecting to `rs` while it connects to them,
waiting for it, with 2-octet AS numbers, out of a range. After each misfortune every member must
hold exactly what the others announce, prefix by prefix.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.mrtfiles import attrs, nlri, update

from .daemons.base import FAMILIES, WAIT, Neighbor
from .daemons.bird import Bird
from .daemons.collector import Collector
from .daemons.lan import ip, wait_until
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .daemons.lan import Lan

RS_ASN = 64500
V4 = FAMILIES[:1]
OWN = 40
"""Prefixes that only one member announces; every two neighboring ones share as many."""
HOLD = 3
KINDS: tuple[tuple[bool, dict[str, Any], tuple[str, ...]], ...] = (
    (True, {"password": "secret"}, ('password "secret"',)),
    (True, {"ttl_security": True}, ("ttl security on",)),
    (False, {}, ()),
    (False, {}, ("passive",)),
    (True, {}, ("enable as4 off",)),
)
"""Whether `rs` only waits, its keys, and BIRD's statements."""
RANGED = (21, 22)
RANGE = """\
[[neighbors]]
range = "10.99.0.16/28"
families = ["ipv4-unicast"]
"""
RAW = 31


class Site:
    """`rs` and its members."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        """Start everybody, and wait until all hold what they are due."""
        self.lan = lan
        self.rs = Rs(lan.host(1), directory / "rs", RS_ASN)
        self.rs.tables = RANGE
        self.birds: list[Bird] = []
        self.away: list[Bird] = []
        for i, number in enumerate((*range(2, 12), *RANGED)):
            passive, keys, words = KINDS[i % len(KINDS)] if number not in RANGED else (True, {}, ())
            host, asn = lan.host(number), 65000 + number
            if number not in RANGED:
                self.rs.members.append(Member(host.address, asn, V4, passive, keys))
            neighbor = Neighbor(self.rs.host.address, RS_ASN, V4, hold_time=HOLD, options=words)
            bird = Bird(host, directory / f"bird{number}", asn, [neighbor])
            for k in range(2 * OWN):
                bird.announce(f"20.{i + k // OWN}.{k}.0/24")
            self.birds.append(bird)
        self.rs.members.append(Member(lan.host(RAW).address, 65000 + RAW, V4))
        self.rs.start()
        for bird in self.birds:
            bird.start()
        self.settle("start")

    def due(self, member: Bird) -> set[str]:
        here = [b for b in self.birds if b is not member and b not in self.away]
        return {prefix for bird in here for prefix in bird.exported}

    def settle(self, what: str) -> None:
        """Wait until each member that is here holds exactly what the others announce."""
        waiting = [bird for bird in self.birds if bird not in self.away]

        def settled() -> bool:
            waiting[:] = [b for b in waiting if set(b.routes()) != self.due(b)]
            return not waiting

        try:
            wait_until(settled, timeout=WAIT, what=f"what is due after {what}")
        except AssertionError as error:
            bird = waiting[0]
            found, due = set(bird.routes()), self.due(bird)
            raise AssertionError(
                f"{error}: {len(waiting)} members, {bird.host.address} lacks {len(due - found)} and"
                f" has {len(found - due)} too many\n{self.rs.log_tail()}"
            ) from None

    def gone(self, birds: list[Bird], what: str) -> None:
        """Others must lose the routes of these."""
        self.away = birds
        self.settle(what)

    def back(self, what: str) -> None:
        self.away = []
        self.settle(what)


@pytest.fixture(scope="module")
def site(module_lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if (reason := Bird.missing()) is not None:
        pytest.skip(reason)
    found = Site(module_lan, tmp_path_factory.mktemp("misfortune"))
    yield found
    found.rs.stop()
    for bird in found.birds:
        bird.kill()


def plug(lan: Lan, bird: Bird, state: str) -> None:
    ip("-n", lan.switch, "link", "set", bird.host.port, state)


def test_frozen_and_cut_off_beyond_the_hold_time(site):
    """Some of each kind; who is frozen keeps its TCP connection, as the other side sees it."""
    frozen, cut = site.birds[:3], site.birds[3:6]
    for bird in frozen:
        bird.process.signal(signal.SIGSTOP)
    for bird in cut:
        plug(site.lan, bird, "down")
    try:
        site.gone([*frozen, *cut], "members have fallen silent")
    finally:
        for bird in frozen:
            bird.process.signal(signal.SIGCONT)
        for bird in cut:
            plug(site.lan, bird, "up")
    site.back("they are back")


def test_killed(site):
    dead = site.birds[6:]
    for bird in dead:
        bird.kill()
    site.gone(dead, "members have died")
    for bird in dead:
        bird.start()
    site.back("they have started again")


def test_taken_out_of_the_configuration(site):
    members, out = site.rs.members, site.birds[:4]
    ranged = site.birds[-len(RANGED) :]
    addresses = {bird.host.address for bird in out}
    site.rs.members = [m for m in members if m.address not in addresses]
    site.rs.tables = ""
    try:
        site.rs.reload()
        site.gone([*out, *ranged], "neighbors are no longer configured")
    finally:
        site.rs.members, site.rs.tables = members, RANGE
    site.rs.reload()
    site.back("they are again")


def test_reset_in_the_middle_of_an_update(site):
    """The member is back at once, and is not taken for a collision with itself."""
    host = site.lan.host(RAW)
    prefixes = b"".join(nlri(f"30.0.{i}.0/24") for i in range(200))
    whole = update(block=attrs(65000 + RAW, hop=host.address), announced=prefixes)
    for cut in (1, 400, len(whole) - 30, 5):
        collector = Collector(host, 65000 + RAW, site.rs.host.address)
        collector.connect()
        collector.wait_established()
        collector.send_bytes(whole + whole[:-cut])
        time.sleep(0.05)
        collector.kill()
    site.settle("resets")
