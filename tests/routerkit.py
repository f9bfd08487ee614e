"""A Router in memory whose neighbors are brought up by hand: no sockets, no real clock."""

from __future__ import annotations

import ipaddress
import itertools
import random
import struct
from typing import TYPE_CHECKING

from rs._fastpath.outbox import Outbox
from rs.configfile import load_config
from rs.messages import KEEPALIVE
from rs.router import Router
from rs.session_types import Down, EndOfRib, RefreshReceived, Send
from tests.sessions import open_message
from tests.updatekit import (
    OPTIONAL,
    SEQUENCE,
    TRANSITIVE,
    WELL_KNOWN,
    attr,
    prefix,
    reach,
    segments,
    unreach,
    update,
)

if TYPE_CHECKING:
    from pathlib import Path

    from rs.startup import Before

ROUTER = '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nlisten = ["10.0.0.1:1790"]\n'


def config_text(*neighbors: str, head: str = ROUTER, api: str = "") -> str:
    """Return a configuration; a neighbor is "ADDRESS ASN", or TOML keys."""
    parts = [head, api]
    for item in neighbors:
        address, _, asn = item.partition(" ")
        keys = item if "=" in item else f'address = "{address}"\nasn = {asn}'
        parts.append(f"[[neighbors]]\n{keys}\n")
    return "\n".join(parts)


class Conn:
    """A connection without a socket."""

    ms: int | None = None
    """Round-trip time as measured."""

    def __init__(self, local_address: str) -> None:
        self.outbox = Outbox(-1)
        self.local_address = local_address

    def rtt(self) -> int | None:
        return self.ms

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Lab:
    """A router, its time, and its neighbors' ends of the sessions."""

    def __init__(self, folder: Path, text: str, *, before: Before | None = None) -> None:
        path = folder / "rs.toml"
        path.write_text(text)
        self.time = 1000.0
        self.router = Router(
            load_config(path), clock=lambda: self.time, rng=random.Random(1), before=before
        )
        self.router.on_commands = self._commands
        self.router.start()
        self.sent: dict[str, bytes] = {}
        self.said: dict[str, list[bytes]] = {}
        """Messages of the sessions themselves that the transport has been given, by neighbor."""
        self.rtt: dict[str, int] = {}
        """Round-trip times in ms that new sessions have, by neighbor."""

    def peer(self, address: str):
        found = self.router.peer_for(address)
        assert found is not None
        return found

    def up(self, *addresses: str, asn: int | None = None, **changes) -> None:
        """Bring sessions up, each by a connection of the neighbor's."""
        for address in addresses:
            peer, why = self.router.accept(address)
            assert peer is not None, why
            local = "10.0.0.1" if "." in address else "2001:db8::1"
            conn = Conn(local)
            conn.ms = self.rtt.get(address)
            number = int(ipaddress.ip_address(address)) & 0xFFFF
            values = {
                "asn": asn or peer.neighbor.asn,
                "router_id": f"192.0.{number >> 8}.{number & 255}",
                **changes,
            }
            peer.session.connected(conn, self.time, False)
            peer.session.receive(conn, open_message(**values), self.time)
            peer.session.receive(conn, KEEPALIVE, self.time)
            self._commands(peer)
            assert peer.established, peer.session.last_error

    def down(self, address: str, reason: str = "connection reset") -> None:
        """Lose a session's connection."""
        peer = self.peer(address)
        peer.session.closed(peer.conn, self.time, reason)
        self._commands(peer)

    def _commands(self, peer) -> None:
        for command in peer.session.poll():
            if isinstance(command, Down):
                self.router.on_down(peer, command)
                if peer.dynamic:
                    self.router.forget(peer)
            elif isinstance(command, EndOfRib):
                self.router.on_end_of_rib(peer, command.family)
            elif isinstance(command, RefreshReceived):
                self.router.on_refresh(peer, command.family, command.subtype)
            elif isinstance(command, Send):
                self.said.setdefault(peer.address, []).append(command.data)

    def feed(self, address: str, body: bytes) -> None:
        """Receive one UPDATE from a neighbor."""
        self.router.tick(self.time)
        peer = self.peer(address)
        message = b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body
        peer.session.receive(peer.conn, message, self.time)
        self.router.check_limits(peer)
        self._commands(peer)

    def announce(self, address: str, *prefixes: str, path=None, hop=None, more=b"") -> None:
        """Receive prefixes of one family with the attributes of a usual route."""
        asns = path or (self.peer(address).asn,)
        attrs = attr(WELL_KNOWN, 1, b"\0") + attr(WELL_KNOWN, 2, segments((SEQUENCE, asns)))
        nlri = b"".join(map(prefix, prefixes))
        if ":" in prefixes[0]:
            body = update(reach(nlri, hop or address) + attrs + more)
        else:
            host = ipaddress.ip_address(hop or address).packed
            body = update(attrs + attr(WELL_KNOWN, 3, host) + more, nlri)
        self.feed(address, body)

    def withdraw(self, address: str, *prefixes: str) -> None:
        nlri = b"".join(map(prefix, prefixes))
        wide = ":" in prefixes[0]
        self.feed(address, update(unreach(nlri)) if wide else update(withdrawn=nlri))

    def settle(self) -> None:
        """Work until nothing is left to do and everybody has read everything."""
        for _ in range(10_000):
            # A slice of a few steps, so that jobs which wait for the export see it move.
            steps = itertools.count()
            more = self.router.scheduler.run(8.0, lambda steps=steps: float(next(steps)))
            for address, peer in ((p.address, p) for p in self.router.peers.values()):
                if peer.conn is not None:
                    data = peer.conn.outbox.take()
                    self.sent[address] = self.sent.get(address, b"") + data
                    more = more or bool(data)
            if not more:
                return
        raise AssertionError("the router never comes to rest")


def communities(*values: str) -> bytes:
    """Return a COMMUNITIES attribute of values such as `64500:1`."""
    packed = b"".join(struct.pack(">HH", *map(int, text.split(":"))) for text in values)
    return attr(TRANSITIVE, 8, packed)


def large_communities(*values: str) -> bytes:
    packed = b"".join(struct.pack(">III", *map(int, text.split(":"))) for text in values)
    return attr(TRANSITIVE, 32, packed)


def med(value: int) -> bytes:
    return attr(OPTIONAL, 4, struct.pack(">I", value))
