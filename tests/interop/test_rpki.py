"""A ROA that appears, changes and goes, end to end: a cache, a route server, three members.

What the members are sent is counted message by message: what does not follow from the ROA must not
move (RFC 9324).
"""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from rs.iana import Family, MessageType
from tests.reference.update import decode_update

from .daemons.base import FAMILIES
from .daemons.collector import Collector
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Host, Lan

RS_ASN = 64500
SOON = 1.0
"""Seconds from the cache's update to the last message that follows from it."""
PORT = 8282
Vrp = tuple[str, int, int]
ORIGIN = 100021
BYSTANDERS = tuple(f"198.51.{i}.0/24" for i in range(50))
BELOW = ("192.0.2.0/25", "192.0.2.128/25")
WIDE = "192.0.2.0/24"


class Cache:
    """A StayRTR on the route server's host."""

    def __init__(self, host: Host, workdir: Path) -> None:
        binary = shutil.which("stayrtr")
        if binary is None:
            pytest.skip("stayrtr is not installed")
        self._path = workdir / "vrps.json"
        self.serve([])
        argv = [binary, "-bind", f"{host.address}:{PORT}", "-metrics.addr", f"{host.address}:0"]
        argv += ["-cache", str(self._path), "-export.path", ""]
        argv += ["-checktime=false", "-refresh", "1"]
        self.process = host.start(argv, workdir / "stayrtr.log", cwd=workdir)

    def serve(self, vrps: list[Vrp]) -> None:
        """Say these; StayRTR looks at the file once a second."""
        vrps = [*vrps, ("203.0.113.0/24", 24, 1)]  # an empty file is none
        rows = [
            {"prefix": p, "maxLength": m, "asn": a, "ta": "t", "expires": 4102444800}
            for p, m, a in vrps
        ]
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"metadata": {}, "roas": rows}))
        new.replace(self._path)


def touched(collector: Collector, since: int) -> set[str]:
    """Return the prefixes of all UPDATEs that a member was sent after so many messages."""
    found: set[str] = set()
    for kind, body in collector.messages[since:]:
        if kind == MessageType.UPDATE:
            result = decode_update(body, collector.context)
            found |= {prefix for _, prefix, _ in result.withdrawn}
            found |= {prefix for (_, prefix, _), _ in result.routes()}
    return found


def test_a_roa_appears_changes_and_goes(lan: Lan, tmp_path: Path) -> None:
    ours = lan.host(1)
    hosts = {asn: lan.host(i) for i, asn in enumerate((ORIGIN, 100022, 100023), 2)}
    rs = Rs(ours, tmp_path / "rs", RS_ASN)
    rs.members = [Member(host.address, asn, FAMILIES[:1]) for asn, host in hosts.items()]
    rs.tables = (
        '[filters]\nrpki = "reject"\n'
        f'[rpki]\ncaches = [{{ host = "{ours.address}", port = {PORT} }}]'
    )
    members = {
        asn: Collector(host, asn, ours.address, families=(Family.IPV4_UNICAST,))
        for asn, host in hosts.items()
    }
    origin, *others = members.values()
    cache = Cache(ours, tmp_path)

    def serial() -> int:
        return int(rs.show("rpki")["caches"][0]["serial"])

    def follow(vrps: list[Vrp], due: set[str], moved: set[str]) -> None:
        """Serve VRPs; see what members hold within a second, and what they were sent."""
        marks = {collector: len(collector.messages) for collector in members.values()}
        before = serial()
        cache.serve(vrps)
        rs.wait(lambda: serial() != before, "hear of the update")
        heard = time.monotonic()
        for collector in others:
            collector.wait(lambda: collector.attributes.keys() == due, "follow", SOON)  # noqa: B023
        assert time.monotonic() - heard < SOON
        time.sleep(0.2)  # nothing more may come, and nothing says when that is certain
        for collector in others:
            assert touched(collector, marks[collector]) == moved
        assert not touched(origin, marks[origin])

    try:
        with rs:
            for collector in members.values():
                collector.connect()
                collector.wait_established()
            rs.wait(lambda: rs.show("rpki")["ready"], "have RPKI data")
            everything = {WIDE, *BELOW, *BYSTANDERS}
            origin.announce(everything)
            for collector in others:
                collector.wait_routes(*everything)
            follow([(WIDE, 24, ORIGIN)], everything - set(BELOW), set(BELOW))
            follow([(WIDE, 25, ORIGIN)], everything, set(BELOW))
            one = BYSTANDERS[0]
            follow(
                # One more VRP for a prefix that is valid changes nothing.
                [(WIDE, 25, ORIGIN), (BELOW[0], 25, 1), (one, 24, 5)],
                everything - {one},
                {one},
            )
            follow([], everything, {one})
            (shown,) = rs.show("rpki")["caches"]
            assert (shown["state"], shown["vrps"], shown["last_error"]) == ("in sync", 1, "")
    finally:
        for collector in members.values():
            collector.stop()
        cache.process.stop()
