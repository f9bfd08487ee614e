"""Graceful restart with other daemons: theirs while we help, and ours while they do.

One LAN: `rs`, BIRD, FRR, GoBGP, all with graceful restart, and a collector without it, which sees
whether anything is said while somebody restarts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor
from .daemons.bird import Bird
from .daemons.collector import Collector
from .daemons.gobgp import Gobgp
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .daemons.lan import Lan

RS_ASN = 64500
NAMES = {"bird": 11, "frr": 12, "gobgp": 13}
V4 = FAMILIES[:1]
LONG = 600
"""Seconds of long-lived graceful restart."""
ON: dict[str, Any] = {"graceful_restart": "on", "restart_time": 60}


class Scene:
    """Everybody on IPv4, each daemon with one route of its own."""

    def __init__(
        self, lan: Lan, directory: Path, *, long_lived: bool = False, **more: object
    ) -> None:
        """With `long_lived` BIRD and GoBGP have that too, and `rs` soon loses patience.

        `more` are keys of all neighbors in its configuration.
        """
        self.rs = Rs(lan.host(1), directory / "rs", RS_ASN)
        self.daemons: dict[str, Daemon] = {}
        self.prefixes = {name: f"198.51.{n}.0/24" for name, n in NAMES.items()}
        for name, number in NAMES.items():
            host = lan.host(number)
            lasting = LONG if long_lived and name != "frr" else 0
            options = {**ON, **more}
            if lasting:
                options |= {"stale_time": 3, "long_lived_stale_time": lasting}
            self.rs.members.append(
                Member(host.address, 65000 + number, V4, passive=False, options=options)
            )
            neighbor = Neighbor(
                self.rs.host.address,
                RS_ASN,
                V4,
                graceful=True,
                long_lived=lasting,
                notification="graceful_notification" in more,
            )
            self.daemons[name] = DAEMONS[name](host, directory / name, 65000 + number, [neighbor])
            self.daemons[name].announce(self.prefixes[name])
        watcher = lan.host(21)
        self.rs.members.append(Member(watcher.address, 65021, V4))
        self.watcher = Collector(watcher, 65021, self.rs.host.address)

    def start(self) -> None:
        self.rs.start()
        for daemon in self.daemons.values():
            daemon.start()
        self.watcher.connect()
        for daemon in self.daemons.values():
            daemon.wait_established()
        self.watcher.wait_routes(*self.prefixes.values())

    def stop(self) -> None:
        self.watcher.stop()
        self.rs.stop()
        for daemon in self.daemons.values():
            daemon.kill()

    def family(self, name: str) -> dict:
        """What `rs` says of a member's IPv4 routes."""
        neighbor = self.rs.neighbors()[self.daemons[name].host.address]
        return {**neighbor["families"]["ipv4-unicast"], "state": neighbor["state"]}

    def others(self, name: str) -> set[str]:
        """What a daemon has from the others."""
        return {prefix for owner, prefix in self.prefixes.items() if owner != name}


@pytest.fixture(scope="module")
def scene(module_lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    for name in NAMES:
        if (reason := DAEMONS[name].missing()) is not None:
            pytest.skip(reason)
    found = Scene(module_lan, tmp_path_factory.mktemp("restart"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize("name", ["bird", "frr", "gobgp"])
def test_a_member_restarts_and_nobody_hears_of_it(scene: Scene, name: str) -> None:
    daemon, rs = scene.daemons[name], scene.rs
    rs.wait(lambda: scene.family(name)["end_of_rib"], f"have all of {name}")
    said = len(scene.watcher.updates())
    daemon.kill()
    rs.wait(lambda: scene.family(name)["restart"] == "restarting", f"lose {name}")
    assert scene.family(name)["stale"] == 1
    if isinstance(daemon, Bird | Gobgp):
        daemon.restarts = True
    daemon.start()
    daemon.wait_established()
    rs.wait(lambda: scene.family(name)["end_of_rib"], f"have all of {name} again")
    found = scene.family(name)
    assert (found["received"], found["stale"], found["restart"]) == (1, 0, None)
    assert len(scene.watcher.updates()) == said
    daemon.wait_routes(*scene.others(name))


def test_a_member_that_brings_less_loses_the_rest(scene: Scene) -> None:
    daemon = scene.daemons["bird"]
    assert isinstance(daemon, Bird)
    more = daemon.announce("203.0.113.0/24")
    scene.watcher.wait_route(more)
    daemon.kill()
    del daemon.exported[more.prefix]
    daemon.restarts = True
    daemon.start()
    scene.watcher.wait_gone(more.prefix)
    assert scene.prefixes["bird"] in scene.watcher.routes()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGUSR1"])
def test_we_restart_and_no_member_loses_a_route(scene: Scene, how: str) -> None:
    rs, daemons = scene.rs, scene.daemons
    for name, daemon in daemons.items():
        daemon.wait_routes(*scene.others(name))
    time.sleep(2.5)  # the state file is looked after every two seconds
    lost: dict[str, set[str]] = {name: set() for name in daemons}
    fresh: set[str] = set()

    def look() -> bool:
        for name, daemon in daemons.items():
            lost[name] |= scene.others(name) - daemon.routes().keys()
        return fresh == daemons.keys()

    if how == "SIGKILL":
        rs.kill()
    else:
        assert rs.end_for_a_restart() == 0
    look()
    rs.start()
    begun = time.monotonic()
    deadline = begun + 20
    while not look() and time.monotonic() < deadline:
        status = rs.show("status")
        if status["startup"] is None:
            fresh |= {
                name
                for name in daemons
                if scene.family(name)["end_of_rib"] and scene.family(name)["sending"] == "live"
            }
    assert not any(lost.values()), lost
    assert fresh == daemons.keys(), rs.log_tail()
    assert time.monotonic() - begun < 15
    look()
    assert not any(lost.values()), lost
    assert "restarted: nothing is announced before" in rs.log_tail()
    scene.watcher.stop()
    scene.watcher.connect()
    scene.watcher.wait_routes(*scene.prefixes.values())


def test_a_plain_stop_takes_our_routes_along(scene: Scene) -> None:
    assert scene.rs.stop() == 0
    for daemon in scene.daemons.values():
        daemon.wait(lambda: not daemon.routes(), "drop what it had from rs")  # noqa: B023
    assert not (scene.rs.workdir / "rs.sock.state").exists()


def skip_unless_all() -> None:
    for name in NAMES:
        if (reason := DAEMONS[name].missing()) is not None:
            pytest.skip(reason)


def marked(daemon: Daemon, *prefixes: str) -> bool:
    """Whether a daemon has these with LLGR_STALE, for which FRR has words."""
    routes = daemon.routes()
    words = {"65535:6", "llgr-stale"}
    return all(p in routes and words & routes[p].communities for p in prefixes)


@pytest.mark.parametrize("name", ["bird", "gobgp"])
def test_a_member_that_stays_away_is_the_last_choice(lan: Lan, tmp_path: Path, name: str) -> None:
    """RFC 9494: marked, for the other one and FRR, who know; withdrawn from the collector."""
    skip_unless_all()
    scene = Scene(lan, tmp_path, long_lived=True)
    daemon, prefix = scene.daemons[name], scene.prefixes[name]
    others = [other for other in scene.daemons.values() if other is not daemon]
    assert isinstance(daemon, Bird | Gobgp)
    try:
        scene.start()
        for other in others:
            other.wait_routes(prefix)
        daemon.kill()
        scene.watcher.wait_gone(prefix)
        for other in others:
            other.wait(lambda: marked(other, prefix), "have it marked as stale")  # noqa: B023
        assert scene.family(name)["restart"] == "long-lived"
        daemon.restarts = True
        daemon.start()
        scene.watcher.wait_routes(prefix)
        for other in others:
            other.wait(lambda: not marked(other, prefix), "have it fresh again")  # noqa: B023
    finally:
        scene.stop()


def test_we_stay_away_and_our_routes_are_the_last_choice(lan: Lan, tmp_path: Path) -> None:
    """RFC 9494, the other way round: BIRD and GoBGP keep and mark them, FRR soon drops them."""
    skip_unless_all()
    scene = Scene(lan, tmp_path, long_lived=True, restart_time=2)
    bird, frr, gobgp = (scene.daemons[name] for name in ("bird", "frr", "gobgp"))
    try:
        scene.start()
        for name, daemon in scene.daemons.items():
            daemon.wait_routes(*scene.others(name))
        time.sleep(2.5)  # the state file is looked after every two seconds
        scene.rs.kill()
        for name, daemon in (("bird", bird), ("gobgp", gobgp)):
            theirs = scene.others(name)
            daemon.wait(lambda: marked(daemon, *theirs), "mark what rs has left")  # noqa: B023
        frr.wait_gone(*scene.others("frr"))
        scene.rs.start()
        for name, daemon in scene.daemons.items():
            daemon.wait_routes(*scene.others(name))
            for prefix in scene.others(name):
                daemon.wait(lambda: not marked(daemon, prefix), "have it fresh again")  # noqa: B023
    finally:
        scene.stop()


def test_notifications_of_gobgp(lan: Lan, tmp_path: Path) -> None:
    """RFC 8538: a reset leaves its routes with us; we stop with a Hard Reset, which does not.

    GoBGP 3.10 has no Hard Reset for a shutdown of its own, so then we keep its routes, as we must;
    and it sets no F bit after a reset, so then they go when it is back, and come anew.
    """
    skip_unless_all()
    scene = Scene(lan, tmp_path, graceful_notification=True)
    gobgp, prefix = scene.daemons["gobgp"], scene.prefixes["gobgp"]
    assert isinstance(gobgp, Gobgp)
    us = scene.rs.host.address
    try:
        scene.start()
        gobgp.wait_routes(*scene.others("gobgp"))
        scene.rs.wait(lambda: scene.family("gobgp")["end_of_rib"], "have all of gobgp")
        said = len(scene.watcher.updates())
        gobgp.gobgp("neighbor", us, "reset")
        scene.rs.wait(lambda: scene.family("gobgp")["stale"], "keep what gobgp had sent")
        assert len(scene.watcher.updates()) == said
        gobgp.wait_established(timeout=50)  # it pauses for half a minute
        scene.rs.wait(lambda: scene.family("gobgp")["end_of_rib"], "have all of gobgp again")
        assert scene.family("gobgp")["stale"] == 0
        gobgp.wait_routes(*scene.others("gobgp"))
        scene.watcher.wait_routes(prefix)
        assert scene.rs.stop() == 0
        gobgp.wait(lambda: not gobgp.routes(), "drop what it had from rs")
        assert "Reason=hard-reset" in gobgp.log.read_text()
    finally:
        scene.stop()
