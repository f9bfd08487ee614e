"""A scene for tests: `rs` between all five daemons and two collectors, on one LAN.

Every daemon is an external member; which side connects, and whether a member has one session for
each family or one for both, is up to the test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor
from .daemons.collector import Collector
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .daemons.lan import Host, Lan

RS_ASN = 64500
ASNS = {"bird": 65011, "frr": 100012, "gobgp": 65013, "openbgpd": 100014, "exabgp": 65015}
HOSTS = {"bird": 11, "frr": 12, "gobgp": 13, "openbgpd": 14, "exabgp": 15}
NAMES = tuple(DAEMONS)
WRONG_HOSTS = {"bird": 31, "frr": 32, "gobgp": 33, "openbgpd": 34, "exabgp": 35}
"""Members whom `rs` connects to, for tests with wrong AS numbers; nobody lives there otherwise.

Each daemon has a host of its own, because `rs` waits longer after each failure.
"""
WIDE_ASN, NARROW_ASN, OLD_ASN, WRONG_ASN = 100021, 65022, 65023, 65031


class Exchange:
    """`rs`, its members and two collectors: one with a 4-octet AS number, one with a 2-octet one.

    The collectors carry both families over one session, the wide one over IPv4 and the narrow one
    over IPv6. With `rs_connects` everybody else waits for `rs` to connect; with `mixed` the daemons
    have both families on one session over IPv4, as far as they can.
    """

    def __init__(
        self, lan: Lan, directory: Path, *, rs_connects: bool = False, mixed: bool = False
    ) -> None:
        """Write the configurations; `start` starts everybody."""
        self.lan = lan
        self.host = lan.host(1)
        self.rs_connects = rs_connects
        self.rs = Rs(self.host, directory / "rs", RS_ASN)
        self.daemons: dict[str, Daemon] = {}
        for name, number in HOSTS.items():
            host = lan.host(number)
            one_session = mixed and DAEMONS[name].mixes_families
            self.rs.members += members(
                host, ASNS[name], passive=not rs_connects, one_session=one_session
            )
            neighbors = sessions(self.host, passive=rs_connects, one_session=one_session)
            self.daemons[name] = DAEMONS[name](host, directory / name, ASNS[name], neighbors)
        wide, narrow, old = (lan.host(number) for number in (21, 22, 23))
        self.rs.members += [
            Member(wide.address, WIDE_ASN, passive=not rs_connects),
            Member(narrow.address6, NARROW_ASN, passive=not rs_connects),
            Member(old.address, OLD_ASN),
        ]
        for number in () if rs_connects else WRONG_HOSTS.values():
            self.rs.members += members(lan.host(number), WRONG_ASN, passive=False)
        self.wide = Collector(wide, WIDE_ASN, self.host.address)
        self.narrow = Collector(narrow, NARROW_ASN, self.host.address6)

    @property
    def everybody(self) -> dict[str, Daemon | Collector]:
        """All members, by name."""
        return {**self.daemons, "wide": self.wide, "narrow": self.narrow}

    def others(self, *names: str) -> list[Daemon | Collector]:
        """All members but these."""
        return [member for name, member in self.everybody.items() if name not in names]

    def start(self) -> None:
        """Start everybody and wait until all sessions are up."""
        self.rs.start()
        for daemon in self.daemons.values():
            daemon.start()
        self.start_collectors()
        for daemon in self.daemons.values():
            daemon.wait_established()

    def start_collectors(self) -> None:
        """Connect the collectors, or wait for them to be connected to."""
        for collector in (self.wide, self.narrow):
            if self.rs_connects:
                collector.accept()
            else:
                collector.connect()
            collector.wait_established()

    def stop(self) -> None:
        """Stop everybody, `rs` first, so that it is ended even if a daemon hangs."""
        self.wide.stop()
        self.narrow.stop()
        self.rs.stop()
        for daemon in self.daemons.values():
            daemon.kill()


def members(
    host: Host, asn: int, *, passive: bool = True, one_session: bool = False
) -> list[Member]:
    """Return the sessions of a member as `rs` has them: one for each family, or one for both."""
    if one_session:
        return [Member(host.address, asn, FAMILIES, passive=passive)]
    return [
        Member(host.address, asn, FAMILIES[:1], passive=passive),
        Member(host.address6, asn, FAMILIES[1:], passive=passive),
    ]


def sessions(host: Host, *, passive: bool = False, one_session: bool = False) -> list[Neighbor]:
    """Return the same sessions as the member has them; `host` is that of `rs`."""
    if one_session:
        return [Neighbor(host.address, RS_ASN, FAMILIES, passive=passive)]
    return [
        Neighbor(host.address, RS_ASN, FAMILIES[:1], passive=passive),
        Neighbor(host.address6, RS_ASN, FAMILIES[1:], passive=passive),
    ]


def run_exchange(exchange: Exchange) -> Iterator[Exchange]:
    """Be a fixture's body: start, yield, stop; skip where a daemon is missing."""
    for daemon in DAEMONS.values():
        if (reason := daemon.missing()) is not None:
            pytest.skip(reason)
    try:
        exchange.start()
        yield exchange
    finally:
        exchange.stop()


def prefixes(name: str, block: int = 0) -> tuple[str, str]:
    """Return an IPv4 and an IPv6 prefix of a member's own."""
    number = HOSTS[name] * 16 + block
    return f"192.0.{number >> 8}.{number & 0xFF}/32", f"2001:db8:{number:x}::/48"
