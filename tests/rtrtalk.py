"""One conversation with a cache: a session, its tables, and what a test wants to say and see."""

from __future__ import annotations

from rs import rtr
from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import RoaTable
from rs.rtr import Closed, Limits, State, Synced

from . import rtrkit as kit

A = ("192.0.2.0/24", 24, 64496)
B = ("198.51.100.0/24", 28, 64497)
C = ("2001:db8::/32", 48, 64498)
NOW = 1000.0


class Talk:
    """A session with its tables, and what a test wants to say and see."""

    def __init__(self, cache: rtr.Cache | None = None, limits: Limits | None = None) -> None:
        self.roas = RoaTable()
        self.aspas = AspaTable()
        self.cache = cache or rtr.Cache("cache", self.roas.add_source("cache"))
        self.limits = limits
        self.now = NOW
        self.connect()

    def connect(self) -> bytes:
        self.session = rtr.Session(self.cache, self.roas, self.aspas, self.now, self.limits)
        self.sent = self.session.take_output()
        return self.sent

    def say(self, data: bytes, after: float = 0.0) -> list[rtr.Event]:
        self.now += after
        events = self.session.receive(data, self.now)
        self.sent = self.session.take_output()
        return events

    def wait(self, seconds: float) -> list[rtr.Event]:
        self.now += seconds
        events = self.session.handle_timer(self.now)
        self.sent = self.session.take_output()
        return events

    def vrps(self):
        return self.roas.snapshot()

    def providers(self, customer: int):
        self.aspas.changes()
        return self.aspas.providers(customer)


def synced(version: int = 2, vrps=(A, B), serial: int = 5, **intervals: int) -> Talk:
    """A session of id 7 in sync."""
    talk = Talk()
    talk.cache.try_version = talk.cache.max_version = version
    assert talk.connect() == kit.reset_query(version)
    events = talk.say(kit.load(version, 7, serial, vrps, **intervals))
    assert events == [Synced(True, len(vrps), 0, serial, 7, version)]
    return talk


def failed(talk: Talk, events: list[rtr.Event], code: int) -> str:
    """Assert that the session ended with an Error Report; returns its reason."""
    assert len(events) == 1
    assert isinstance(events[0], Closed)
    assert kit.error_of(talk.sent)[:2] == (talk.session.version, code)
    assert talk.session.state is State.CLOSED
    return events[0].reason


def receiving(version: int = 2) -> Talk:
    """A session in sync that is being told of changes."""
    talk = synced(version)
    talk.wait(3600)
    talk.say(kit.response(version, 7))
    return talk
