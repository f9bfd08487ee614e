"""Replay: a file's peers as BGP speakers.

In: an MRT file and options. Out: TCP sessions that say what was recorded, and a `Result` that says
what became of each. What is sent is made in `replay_plan` and below; sessions are `session`'s. Here
are the sockets, the clock and the order of things: connect all, send, wait until the last octet is
written, stay, end with Cease.

RIB files are read into a table first, and every session sends as fast as its socket takes. A file
of updates is read once while it is played, in its own order over all sessions: a peer that does
not read holds up the others, and memory stays bounded.

RFC 4271 8 (by `session`), RFC 4486 and 9003 (how sessions end).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol, cast

from rs._fastpath.mrt import parse_bgp4mp
from rs._fastpath.play import Sink
from rs.iana import (
    MAX_EXTENDED_MESSAGE_LEN,
    MAX_MESSAGE_LEN,
    CeaseSubcode,
    MessageType,
    RefreshSubtype,
)
from rs.replay_plan import PIECE_LEN, MessageFeed, Options, Plan, RouteFeed, make_plans
from rs.session import Session
from rs.session_types import Close, Connect, Down, Log, RefreshReceived, Send, Up

if TYPE_CHECKING:
    from collections.abc import Hashable

    from rs._fastpath.mrttable import Table
    from rs.capabilities import Negotiated
    from rs.mrt import MrtFile, Summary

READ_LEN = 1 << 18
"""Octets read from a socket at a time; one buffer serves all sessions."""
WRITE_HIGH = 1 << 20
"""Octets waiting for a socket at which a feed pauses."""
GATHER_LEN = 1 << 16
"""Octets of recorded UPDATEs written at a time when nothing presses."""
CLOSE_TIME = 5.0
"""Seconds that sessions have to end."""
RETRY_PAUSE = 0.25
"""Seconds between attempts to connect, where the user allows more than one."""


class Watcher(Protocol):
    """Who wants to see a replay while it runs."""

    def session(self, player: Player, text: str) -> None:
        """See a session go up, down, or fail to connect."""

    def warn(self, text: str) -> None:
        """See what is wrong with the file."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one session. Times in seconds."""

    plan: Plan
    established: bool
    complete: bool
    """Everything recorded was written to the socket before the session ended."""
    routes: int
    withdrawn: int
    updates: int
    skipped: int
    """Routes (of a RIB file) or UPDATEs that this session could not carry."""
    octets: int
    seconds: float
    """From Established to the last octet written."""
    received: int
    """UPDATEs that came back."""
    error: str | None
    """Why it ended early or never began."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a replay."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    """From the first session's Established to the last octet written, of all."""
    interrupted: bool
    warnings: tuple[str, ...]
    """What is wrong with the file."""

    @property
    def ok(self) -> bool:
        """Every session said all it had to."""
        return all(o.complete and o.error is None for o in self.outcomes)

    @property
    def routes(self) -> int:
        """Routes announced in all sessions."""
        return sum(o.routes for o in self.outcomes)


class Player(asyncio.BufferedProtocol):
    """One session: a Session, its socket and its feed."""

    def __init__(self, plan: Plan, replay: Replay) -> None:
        self.plan = plan
        self.feed: RouteFeed | MessageFeed | None = None
        self.error: str | None = None
        self.complete = False
        self.octets = 0
        self.up_at = 0.0
        self.done_at = 0.0
        self.settled = asyncio.Event()
        """Up, or never to come up."""
        self.ended = asyncio.Event()
        """No connection any more."""
        self.writable = asyncio.Event()
        self._replay = replay
        self._loop = asyncio.get_running_loop()
        self._session = Session(
            plan.session_config(),
            random.Random(),  # noqa: S311 - jitter
            on_up=self._on_up,
        )
        self._sink = Sink()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._stopping = False

    # ---- what the replay does with it

    @property
    def up(self) -> bool:
        """Whether routes can be sent."""
        return self.feed is not None and self.error is None and not self.ended.is_set()

    def start(self) -> None:
        """Begin to connect."""
        self._session.start(time.monotonic())
        self._carry_out()

    def stop(self, text: str) -> None:
        """End the session with a Cease that says `text`."""
        self._stopping = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._session.stop(time.monotonic(), CeaseSubcode.ADMIN_SHUTDOWN, text)
        self._carry_out()
        if self._transport is None:
            self._finish(None)

    def abort(self) -> None:
        """Drop the connection without waiting for what is not written yet."""
        if self._transport is not None:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Write whole messages."""
        if self._transport is not None and data:
            self._transport.write(data)
            self.octets += len(data)

    async def drain(self) -> None:
        """Wait until the socket has taken everything, or the session is over."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)  # pauses until nothing is left
            await self.writable.wait()
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def outcome(self) -> Outcome:
        """Return what has become of the session so far."""
        feed = self.feed
        return Outcome(
            plan=self.plan,
            established=feed is not None,
            complete=self.complete,
            routes=feed.routes if feed else 0,
            withdrawn=feed.withdrawn if isinstance(feed, MessageFeed) else 0,
            updates=feed.updates if feed else 0,
            skipped=feed.skipped if feed else 0,
            octets=self.octets,
            seconds=max(0.0, self.done_at - self.up_at) if feed else 0.0,
            received=self._sink.updates,
            error=self.error,
        )

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection that was made."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.writable.set()
        self._session.connected(self, time.monotonic(), outbound=True)
        self._carry_out()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer that all sessions share: it is read before anybody else writes to it."""
        del sizehint
        return self._replay.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._session.receive(self, self._replay.buffer[:nbytes], time.monotonic())
        self._carry_out()

    def pause_writing(self) -> None:
        """Hold the feed: the other side does not read as fast."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Let the feed go on."""
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._transport = None
        reason = "connection closed by the other side" if exc is None else str(exc)
        try:
            self._session.closed(self, time.monotonic(), reason)
            self._carry_out()
        finally:  # whatever happens, nobody waits for this session any more
            self._finish(self._session.last_error or reason)

    # ---- the session's side

    def _on_up(self, conn: Hashable, agreed: Negotiated) -> Sink:
        del conn
        assert self._transport is not None
        local = str(self._transport.get_extra_info("sockname")[0]).partition("%")[0]
        self._sink = Sink(MAX_EXTENDED_MESSAGE_LEN if agreed.extended_receive else MAX_MESSAGE_LEN)
        self.feed = self._replay.make_feed(self.plan, agreed, local)
        return self._sink

    def _carry_out(self) -> None:
        """Do what the session wants done, and set its timer."""
        for command in self._session.poll():
            match command:
                case Send(_, data):
                    if self._transport is not None:
                        self._transport.write(data)
                case Connect():
                    if self._connecting is None:
                        self._connecting = self._loop.create_task(self._connect())
                case Close():
                    if self._transport is not None:
                        self._transport.close()
                case Up(_, agreed):
                    self.up_at = self.done_at = time.monotonic()
                    self.settled.set()
                    self._replay.watcher.session(self, f"up with AS{agreed.peer_asn}")
                case Down(_, reason):
                    if not self._stopping:
                        self._fail(reason)
                case RefreshReceived(family, RefreshSubtype.REQUEST):
                    if isinstance(self.feed, RouteFeed):
                        self.feed.repeat(family)
                        self._replay.resume(self)
                case RefreshReceived() | Log():
                    pass
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._session.next_timer()
        if due is not None and not self.ended.is_set():
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._session.handle_timer(time.monotonic())
        self._carry_out()

    async def _connect(self) -> None:
        """Connect, again and again for as long as the user allows."""
        plan = self.plan
        until = time.monotonic() + plan.options.wait
        local = None if plan.local_address is None else (plan.local_address, 0)
        while True:
            try:
                await self._loop.create_connection(
                    lambda: self, plan.target.host, plan.target.port, local_addr=local
                )
            except OSError as e:
                if time.monotonic() >= until:
                    self._fail(_connect_error(plan, e))
                    self._finish(None)
                    return
                await asyncio.sleep(RETRY_PAUSE)
            else:
                return

    def _fail(self, reason: str) -> None:
        if self.error is None:
            self.error = reason
            self.writable.set()  # whoever waits for it finds the session gone
            self._replay.watcher.session(self, reason)

    def _finish(self, reason: str | None) -> None:
        """Settle for good: one connection is all a replay tries."""
        if reason is not None and not self._stopping:
            if self.feed is None and "Bad Peer AS" in reason:
                reason += f"; we are AS{self.plan.asn}"
            self._fail(reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.settled.set()
        self.ended.set()
        self.writable.set()


def _connect_error(plan: Plan, error: OSError) -> str:
    """Say what kept a connection from being made."""
    reason = (
        "cannot connect"
        if plan.local_address is None
        else (f"cannot connect from {plan.local_address}")
    )
    if isinstance(error, ConnectionRefusedError):
        return f"{reason}: refused; is a BGP speaker listening there?"
    return f"{reason}: {error.strerror or error}"


class Replay:
    """A whole replay; `run` does it."""

    def __init__(self, file: MrtFile, options: Options, watcher: Watcher) -> None:
        self.file = file
        self.options = options
        self.watcher = watcher
        self.buffer = memoryview(bytearray(READ_LEN))
        self.players: list[Player] = []
        self.summary: Summary
        self.table: Table | None = None
        self._interrupted = asyncio.Event()
        self._tasks: dict[Player, asyncio.Task[None]] = {}

    def load(self) -> list[Plan]:
        """Read the file as far as needed before connecting; PlanError or MrtError if it cannot."""
        one = self.options.peers[0] if len(self.options.peers) == 1 else ""
        table = self.file.read_all(int(one) if one.isdecimal() else None)
        self.summary = table.summary
        plans = make_plans(self.summary, self.options)
        if self.summary.is_rib:
            self.table = table
        for text in self.summary.warnings:
            self.watcher.warn(text)
        return plans

    def make_feed(self, plan: Plan, agreed: Negotiated, local: str) -> RouteFeed | MessageFeed:
        """Return what a session that has come up is to say."""
        if self.table is not None:
            return RouteFeed(self.table, plan, agreed, local)
        return MessageFeed(plan, agreed, local)

    def interrupt(self) -> None:
        """End early, in order."""
        self._interrupted.set()

    async def run(self, plans: list[Plan]) -> Result:
        """Play; return when all sessions have ended."""
        self.players = [Player(plan, self) for plan in plans]
        stop = asyncio.create_task(self._interrupted.wait())
        work = asyncio.create_task(self._play())
        try:
            await asyncio.wait((stop, work), return_when=asyncio.FIRST_COMPLETED)
            finished = work.done()
            if finished:
                work.result()
        finally:
            stop.cancel()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await self._end()
        begun = [p.up_at for p in self.players if p.up_at]
        ended = [p.done_at for p in self.players if p.up_at]
        return Result(
            outcomes=tuple(p.outcome() for p in self.players),
            seconds=max(ended) - min(begun) if begun else 0.0,
            interrupted=not finished,
            warnings=self.summary.warnings,
        )

    async def _play(self) -> None:
        for player in self.players:
            player.start()
        if self.table is None:
            await asyncio.gather(*(p.settled.wait() for p in self.players))
            await self._say_messages()
        else:
            await asyncio.gather(*(self._say_routes(p) for p in self.players))
        await self._stay()

    async def _stay(self) -> None:
        """Keep the sessions that are up for as long as the user wants."""
        ends = [asyncio.create_task(p.ended.wait()) for p in self.players if p.up]
        if ends and self.options.stay:
            limit = None if math.isinf(self.options.stay) else self.options.stay
            await asyncio.wait(ends, timeout=limit)
        for task in (*ends, *self._tasks.values()):
            task.cancel()

    async def _end(self) -> None:
        for player in self.players:
            player.stop("replay ended")
        waits = [asyncio.create_task(p.ended.wait()) for p in self.players]
        if waits:
            _, late = await asyncio.wait(waits, timeout=CLOSE_TIME)
            for player in self.players if late else ():
                player.abort()
            for task in late:
                task.cancel()

    # ---- RIB files

    async def _say_routes(self, player: Player) -> None:
        await player.settled.wait()
        feed = player.feed
        assert feed is None or isinstance(feed, RouteFeed)
        while player.up and feed is not None:
            await self._say(player, feed)
            await self._drain(player)
            if not self.options.loop or not player.up:
                return
            feed.repeat()
            await asyncio.sleep(0)

    async def _say(self, player: Player, feed: RouteFeed) -> None:
        """Send what the feed has, at the rate the user wants."""
        rate = self.options.rate
        began, sent = time.monotonic(), 0
        while player.up:
            if rate is not None:
                ahead = sent / rate - (time.monotonic() - began)
                if ahead > 0:
                    await asyncio.sleep(ahead)
            piece = feed.next(PIECE_LEN if rate is None else feed.least)
            if not piece:
                return
            player.write(piece)
            sent += 1
            await player.writable.wait()
            await asyncio.sleep(0)  # one piece each

    def resume(self, player: Player) -> None:
        """Send what a peer has asked for again, if its first transfer is over."""
        feed = player.feed
        running = self._tasks.get(player)
        if player.complete and isinstance(feed, RouteFeed) and (not running or running.done()):
            self._tasks[player] = asyncio.create_task(self._say(player, feed))

    async def _drain(self, player: Player) -> None:
        """Wait until the socket has taken everything; then the session has said all."""
        await player.drain()
        if player.up:
            player.done_at = time.monotonic()
            player.complete = True

    # ---- files of updates

    async def _say_messages(self) -> None:
        """Read the file and hand each recorded UPDATE to the sessions that play its peer."""
        while True:
            await self._say_file()
            await asyncio.gather(*(self._drain(p) for p in self.players))
            if not self.options.loop or not any(p.up for p in self.players):
                return

    async def _say_file(self) -> None:
        by_name: dict[tuple[int, str], list[tuple[Player, MessageFeed]]] = {}
        for player in self.players:
            if player.up and isinstance(player.feed, MessageFeed):
                key = player.plan.peer.asn, player.plan.peer.address
                by_name.setdefault(key, []).append((player, player.feed))
        by_octets: dict[tuple[int, bytes], list[tuple[Player, MessageFeed]]] = {}
        pace = _Pace(self.options)
        for n, record in enumerate(self.file.records()):
            found = parse_bgp4mp(record.type, record.subtype, record.body)
            if isinstance(found, int):
                continue
            asn, _, address, _, as4, add_path, sent, raw, _, _ = found
            if raw is None or sent:
                continue
            roles = by_octets.get((asn, address))
            if roles is None:
                roles = by_octets[asn, address] = by_name.get((asn, str(ip_address(address))), [])
            if roles and (due := pace.due(record.time + record.usec / 1e6, raw)) > 0:
                await self._flush(by_name)
                await asyncio.sleep(due)
            for player, feed in roles:
                feed.add(raw, as4=as4, add_path=add_path)
                if feed.pending >= GATHER_LEN:
                    player.write(feed.take())
                    await player.writable.wait()
            if n % 4096 == 0:
                await asyncio.sleep(0)  # KEEPALIVEs, and what the sockets have
                if by_name and not any(p.up for p in self.players):
                    return
        await self._flush(by_name)

    async def _flush(
        self, by_name: dict[tuple[int, str], list[tuple[Player, MessageFeed]]]
    ) -> None:
        for roles in by_name.values():
            for player, feed in roles:
                player.write(feed.take())
                await player.writable.wait()


class _Pace:
    """When the next recorded message is due, by recorded time or by rate over all sessions."""

    def __init__(self, options: Options) -> None:
        self._speed = options.speed
        self._rate = options.rate
        self._first: float | None = None
        self._began = 0.0
        self._sent = 0

    def due(self, recorded: float, raw: bytes) -> float:
        """Return how many seconds to wait before a message recorded at this time is sent."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = recorded, now
        due = 0.0
        if self._speed is not None:
            due = (recorded - self._first) / self._speed
        if self._rate is not None and raw[18] == MessageType.UPDATE:
            due = max(due, self._sent / self._rate)
            self._sent += 1
        return due - (now - self._began) if due else 0.0
