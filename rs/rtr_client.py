"""Connections to RPKI caches: which ones to use, when to connect, what to do when they go.

In: a list of caches with preferences, octets from their connections. Out: VRPs and ASPAs in the two
tables, and calls that say what changed. RFC 8210 6, 9 and 10; draft-ietf-sidrops-8210bis-27 4, 10.

Caches with the same preference are used together and their data make a union. Those with the
lowest number are asked first; while none of them is in sync, the next number's are asked as well.
As soon as a group has a cache in sync, groups behind it are left and their data dropped, and what
a lost cache in front of it had said goes too, since there is a full set. A cache that is lost keeps
its data in use until then or until they expire. Nobody is told of a change that the union does not
show.

Everything runs on the event loop: reads of 16 KB, changes handed over a slice at a time by a
`Publisher`, which whoever loads VRP files uses as well. A name instead of an address is resolved by
the loop's resolver.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rs import rtr, sockopts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.roa import RoaTable
    from rs.show_types import RpkiCache

RTR_PORT = 323
READ_LEN = 16384
"""Octets a read: 800 VRPs or 1,000 ASPAs, at most 3 ms of work."""
SLICE = 1000
"""Changed prefixes handed over in one turn of the loop; half a millisecond before the consumer."""
ASPA_SLICE = 500
CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
"""Seconds that a last Error Report has to leave."""
QUICK_RETRIES = 4
"""Connections one after the other for another version or session: 2, 1, 0 and a Reset Query."""
FIRST_BACKOFF = 1.0
STEADY = 60.0
"""Seconds in sync after which a lost connection is no failure of the cache."""
EMPTY_RETRY = 60.0
"""Seconds between attempts at most while no cache's data are in use."""

log = logging.getLogger("rs.rtr")

Prefixes = list[tuple[int, bytes, int]]


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """A cache as configured. Intervals are seconds and override what the cache says."""

    host: str
    port: int = RTR_PORT
    preference: int = 100
    """Lower is asked first; caches with the same number are used together."""
    bind: str | None = None
    """Address that we connect from."""
    password: str | None = None
    """TCP MD5 key (RFC 8210 9.3)."""
    refresh: int | None = None
    retry: int | None = None
    expire: int | None = None
    max_version: int = rtr.MAX_VERSION

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a connection depends on; the rest may change while it stands."""
        return (self.host, self.port, self.bind, self.password, self.max_version)

    @property
    def name(self) -> str:
        """The cache in logs and output."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pace:
    """Waiting times, seconds."""

    fallback_cold: float = 5.0
    """Until the next group is asked while no data are in use."""
    fallback_warm: float = 30.0
    """The same while data of a lost cache still are."""
    first_backoff: float = FIRST_BACKOFF
    steady: float = STEADY
    empty_retry: float = EMPTY_RETRY


class Publisher:
    """Tells one consumer what changed in the tables, a slice in a turn of the loop.

    on_change(prefixes, customers, ready): the prefixes at or below which paths have to be looked at
    again, the customer ASes whose providers changed, and whether there are data at all. With None
    for prefixes everything has to be: when data are there for the first time, or all are gone.

    Whoever commits to the tables calls `filled` or `emptied` afterwards, and commits with
    `report=publisher.ready`.
    """

    def __init__(
        self,
        roas: RoaTable,
        aspas: AspaTable,
        on_change: Callable[[Prefixes | None, set[int], bool], None],
    ) -> None:
        self.roas = roas
        self.aspas = aspas
        self.ready = False
        """Whether the consumer was told that there are data."""
        self._on_change = on_change
        self._holding: set[int] = set()
        self._pumping = False

    def filled(self, source: int) -> None:
        """Take note that a source has data, and of changes in the tables."""
        self._holding.add(source)
        self._pump_soon()

    def emptied(self, source: int) -> None:
        """Take note that a source has none any longer, and of changes in the tables."""
        self._holding.discard(source)
        if not self._holding and self.ready:
            self.ready = False
            log.error("no RPKI data left: routes are no longer validated")
            # Not from here: a consumer that fails must not take the cache's task with it.
            asyncio.get_running_loop().call_soon(self._on_change, None, set(), False)
        self._pump_soon()

    def tidy(self) -> None:
        """Free, in slices, what an aborted transaction has left in the tables."""
        if self.roas.pending_changes:
            self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Hand over one slice of changes."""
        self._pumping = False
        roas = self.roas
        aspas = self.aspas
        if self.ready:
            prefixes = roas.changes(SLICE)
            customers = aspas.changes(ASPA_SLICE)
            if roas.pending_changes or aspas.pending_changes:
                self._pump_soon()
            if prefixes or customers:
                self._on_change(prefixes, customers, True)
            return
        roas.drop_changes(10 * SLICE)
        aspas.changes(ASPA_SLICE)
        if roas.pending_changes or aspas.pending_changes:
            self._pump_soon()
        elif self._holding:
            self.ready = True
            self._on_change(None, set(), True)


class _Member:
    """One cache and what we do about it."""

    def __init__(self, config: CacheConfig, source: int) -> None:
        self.config = config
        self.cache = rtr.Cache(
            config.name,
            source,
            config.refresh,
            config.retry,
            config.expire,
            config.max_version,
            config.max_version,
        )
        self.task: asyncio.Task[None] | None = None
        self.connection: _Connection | None = None
        self.failures = 0
        self.last_error = ""
        self.live = False
        """Connected and in sync."""
        self.expiry: asyncio.TimerHandle | None = None

    def configure(self, config: CacheConfig) -> None:
        """Take a configuration with the same endpoint; intervals count from the next update on."""
        self.config = config
        self.cache.refresh_override = config.refresh
        self.cache.retry_override = config.retry
        self.cache.expire_override = config.expire

    @property
    def session(self) -> rtr.Session | None:
        return self.connection.session if self.connection else None


class _Connection(asyncio.BufferedProtocol):
    """One TCP connection; feeds its session, and the session's events to the client."""

    def __init__(self, client: RtrClient, member: _Member) -> None:
        self._client = client
        self._member = member
        self._buffer = bytearray(READ_LEN)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.session: rtr.Session | None = None
        self.done: asyncio.Future[rtr.Closed] = client.loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        client = self._client
        self.session = rtr.Session(
            self._member.cache, client.roas, client.aspas, client.loop.time(), client.limits
        )
        self._after([])

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.session is not None:
            now = self._client.loop.time()
            self._member.cache.report = self._client.publisher.ready
            data = bytes(memoryview(self._buffer)[:nbytes])
            self._after(self.session.receive(data, now))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.session is not None:
            reason = f"connection lost: {exc}" if exc else "connection closed by the cache"
            self._after(self.session.closed(self._client.loop.time(), reason))
        self.finish(rtr.Closed("connection lost"))

    def _on_timer(self) -> None:
        self._timer = None
        if self.session is not None:
            self._after(self.session.handle_timer(self._client.loop.time()))

    def _after(self, events: list[rtr.Event]) -> None:
        """Send what there is, tell the client, set the clock."""
        session = self.session
        transport = self._transport
        if session is None or transport is None:
            return
        data = session.take_output()
        if data and not transport.is_closing():
            transport.write(data)
        for event in events:
            if isinstance(event, rtr.Closed):
                self.finish(event)
            else:
                self._client.note(self._member, event)
        due = session.next_timer()
        if session.over or due == float("inf"):
            return
        # A timer that fires too early is set anew; that is cheaper than one per read.
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._client.loop.call_at(due, self._on_timer)

    def finish(self, event: rtr.Closed) -> None:
        """End the connection; whoever waits for `done` gets the event."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.session is not None:
            self.session.stop()
            self._client.publisher.tidy()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._client.loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
        if not self.done.done():
            self.done.set_result(event)


class RtrClient:
    """All caches of a router; fills the publisher's tables. ValueError for a cache named twice."""

    def __init__(
        self,
        caches: Sequence[CacheConfig],
        publisher: Publisher,
        *,
        limits: rtr.Limits | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.publisher = publisher
        self.roas = publisher.roas
        self.aspas = publisher.aspas
        self.limits = limits or rtr.Limits()
        self.loop: asyncio.AbstractEventLoop
        self._pace = pace or Pace()
        self._groups: list[list[_Member]] = []
        self._leaving: list[_Member] = []
        self._level = 0
        self._fallback: asyncio.TimerHandle | None = None
        self._started = False
        self._random = random.Random()  # noqa: S311 - jitter
        self._set_caches(caches)

    # --- for the daemon ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting; needs a running event loop."""
        self.loop = asyncio.get_running_loop()
        self._started = True
        self._reconsider()

    async def stop(self) -> None:
        """Close all connections; the tables stay as they are."""
        self._started = False
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None
        tasks = []
        for member in self._members() + self._leaving:
            if member.expiry is not None:
                member.expiry.cancel()
            if member.task is not None:
                tasks.append(member.task)
            self._halt(member)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def configure(self, caches: Sequence[CacheConfig]) -> None:
        """Use other caches. Those that stay as they are keep their connections.

        Data of a cache that goes stay in use until another one is in sync, or until they expire;
        without any cache left they go at once.
        """
        self._set_caches(caches)
        if not self._groups:
            for member in tuple(self._leaving):
                self._leave(member)
        if self._started:
            self._reconsider()

    def status(self) -> list[RpkiCache]:
        """Return every cache's state, by preference."""
        now = self.loop.time() if self._started else 0.0
        rows: list[RpkiCache] = []
        for member in self._members() + self._leaving:
            cache = member.cache
            if member.session is not None:
                state = "in sync" if member.live else member.session.state.name.lower()
            else:
                state = "waiting" if member.task is not None else "not needed"
            rows.append(
                {
                    "name": cache.name,
                    "preference": member.config.preference,
                    "state": "leaving" if member in self._leaving else state,  # type: ignore[typeddict-item]
                    "version": member.session.version if member.session else None,
                    "session_id": cache.session_id,
                    "serial": cache.serial if cache.holds_data else None,
                    "vrps": self.roas.held(cache.source),
                    "aspas": self.aspas.held(cache.source),
                    "updated_s": round(now - cache.synced_at, 1) if cache.holds_data else None,
                    "expires_s": round(cache.expires_at - now, 1) if cache.holds_data else None,
                    "refresh_s": cache.refresh,
                    "last_error": member.last_error,
                }
            )
        return rows

    # --- caches -----------------------------------------------------------------------------------

    def _members(self) -> list[_Member]:
        return [member for group in self._groups for member in group]

    def _set_caches(self, caches: Sequence[CacheConfig]) -> None:
        """Make groups by preference; ValueError for a cache named twice or more than 16."""
        names = [config.name for config in caches]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"RPKI cache configured twice: {', '.join(sorted(twice))}")
        old = {member.config.endpoint: member for member in self._members()}
        groups: dict[int, list[_Member]] = {}
        added: list[_Member] = []
        try:
            for config in caches:
                member = old.get(config.endpoint)
                if member is None:
                    member = _Member(config, self.roas.add_source(config.name))
                    added.append(member)
                groups.setdefault(config.preference, []).append(member)
        except ValueError:
            for member in added:
                self.roas.remove_source(member.cache.source)
            raise
        for config in caches:
            if member := old.pop(config.endpoint, None):
                member.configure(config)
        self._groups = [groups[preference] for preference in sorted(groups)]
        self._level = 0
        for member in old.values():
            self._halt(member)
            self._leaving.append(member)

    def _leave(self, member: _Member) -> None:
        self._leaving.remove(member)
        self._flush(member, "no longer configured")
        self.roas.remove_source(member.cache.source)

    def _halt(self, member: _Member) -> None:
        """Disconnect from a cache, keeping its data."""
        member.live = False
        if member.task is not None:
            member.task.cancel()
            member.task = None
        if member.connection is not None:
            member.connection.finish(rtr.Closed("stopped"))
            member.connection = None

    # --- choosing ---------------------------------------------------------------------------------

    def _reconsider(self) -> None:
        """Decide which caches to be connected to, and whose data to keep."""
        if not self._started:
            return
        best = next((i for i, group in enumerate(self._groups) if any(m.live for m in group)), None)
        if best is not None:
            self._level = best
            self._no_fallback()
            for group in self._groups[best + 1 :]:
                for member in group:
                    self._halt(member)
                    self._flush(member, "a preferred cache is in sync")
            for group in self._groups[:best]:
                for member in group:
                    # One that is about to come back keeps what it has to come back to.
                    if member.connection is None:
                        self._flush(member, "another cache is in sync")
            for member in tuple(self._leaving):
                self._leave(member)
        elif self._level + 1 < len(self._groups) and self._fallback is None:
            pace = self._pace
            delay = pace.fallback_warm if self._any_data() else pace.fallback_cold
            self._fallback = self.loop.call_later(delay, self._fall_back)
        for group in self._groups[: self._level + 1]:
            for member in group:
                if member.task is None:
                    member.task = self.loop.create_task(self._keep(member))

    def _no_fallback(self) -> None:
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None

    def _fall_back(self) -> None:
        self._fallback = None
        self._level = min(self._level + 1, len(self._groups) - 1)
        names = ", ".join(member.cache.name for member in self._groups[self._level])
        log.warning("no preferred RPKI cache is in sync: asking %s", names)
        self._reconsider()

    def _any_data(self) -> bool:
        return any(m.cache.holds_data for m in self._members() + self._leaving)

    # --- connections ------------------------------------------------------------------------------

    async def _keep(self, member: _Member) -> None:
        """Stay connected with a cache until cancelled."""
        quick = 0
        while True:
            began = self.loop.time()
            try:
                end = await self._converse(member)
            except TimeoutError:
                end = rtr.Closed(f"cannot connect within {CONNECT_TIMEOUT:.0f} s")
            except (OSError, ValueError) as error:
                end = rtr.Closed(f"cannot connect: {error}")
            was_live, member.live = member.live, False
            member.connection = None
            member.last_error = end.reason
            if end.again and quick < QUICK_RETRIES:
                quick += 1
                log.info("RPKI cache %s: %s; trying again at once", member.cache.name, end.reason)
                continue
            quick = 0
            if was_live and self.loop.time() - began >= self._pace.steady:
                member.failures = 0
            member.failures += 1
            delay = self._backoff(member)
            log.warning(
                "RPKI cache %s: %s; next attempt in %.0f s", member.cache.name, end.reason, delay
            )
            if end.flush:
                self._flush(member, end.reason)
            self._reconsider()
            await asyncio.sleep(delay)

    def _backoff(self, member: _Member) -> float:
        """Return the seconds until the next attempt: doubling, and not the same for all routers."""
        pace = self._pace
        longest: float = member.cache.retry
        if not self._any_data():
            longest = min(longest, pace.empty_retry)
        delay: float = min(pace.first_backoff * 2 ** min(member.failures - 1, 20), longest)
        return delay * self._random.uniform(0.75, 1.25)

    async def _converse(self, member: _Member) -> rtr.Closed:
        """Connect and wait for the end of the conversation."""
        sock = await asyncio.wait_for(self._connect(member.config), CONNECT_TIMEOUT)
        connection = _Connection(self, member)
        try:
            await self.loop.create_connection(lambda: connection, sock=sock)
        except BaseException:
            connection.finish(rtr.Closed("stopped"))
            sock.close()
            raise
        member.connection = connection
        log.info("RPKI cache %s: connected", member.cache.name)
        try:
            return await asyncio.shield(connection.done)
        finally:
            connection.finish(rtr.Closed("stopped"))

    async def _connect(self, config: CacheConfig) -> socket.socket:
        """Return a connected socket; OSError of the last address tried."""
        try:
            address = str(ipaddress.ip_address(config.host))
            found = [(sockopts.family_of(address), (address, config.port))]
        except ValueError:
            infos = await self.loop.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
            found = [(info[0], info[4]) for info in infos]  # type: ignore[misc]
        failure: OSError = OSError(f"{config.host} has no address")
        for family, address_of in found:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                # RFC 8210 9: keep-alives, since an idle connection may be quiet for hours.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                if config.password:
                    sockopts.set_md5(sock, address_of[0], config.password)
                if config.bind:
                    sock.bind((config.bind, 0))
                await self.loop.sock_connect(sock, address_of)
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    # --- events of sessions -----------------------------------------------------------------------

    def note(self, member: _Member, event: rtr.Synced | rtr.NoData) -> None:
        """Take an event of a connection."""
        cache = member.cache
        if isinstance(event, rtr.NoData):
            member.last_error = "no data available"
            log.warning("RPKI cache %s: no data available yet", cache.name)
            member.live = False
            self._reconsider()
            return
        first = not member.live
        member.live = True
        log.log(
            logging.INFO if first or event.reset else logging.DEBUG,
            "RPKI cache %s: in sync at serial %d of session %d, version %d: %d VRPs, %d ASPAs "
            "(%d VRPs new, %d gone)",
            cache.name,
            event.serial,
            event.session_id,
            event.version,
            self.roas.held(cache.source),
            self.aspas.held(cache.source),
            event.added,
            event.removed,
        )
        if member.expiry is not None:
            member.expiry.cancel()
        member.expiry = self.loop.call_at(cache.expires_at, self._expired, member)
        self.publisher.filled(cache.source)
        if first:
            self._reconsider()

    def _expired(self, member: _Member) -> None:
        member.expiry = None
        if member.cache.holds_data:
            self._flush(member, f"expired after {member.cache.expire} s without an update")
            if member in self._leaving:
                self._leave(member)
            self._reconsider()

    def _flush(self, member: _Member, why: str) -> None:
        """Drop what a cache has said."""
        cache = member.cache
        if member.expiry is not None:
            member.expiry.cancel()
            member.expiry = None
        if not cache.holds_data:
            return
        if member.connection is not None and not member.connection.done.done():
            member.live = False
            member.connection.finish(rtr.Closed(why))
        self.roas.begin(cache.source, reset=True)
        _, gone = self.roas.commit(cache.source, self.publisher.ready)
        self.aspas.begin(cache.source, reset=True)
        self.aspas.commit(cache.source)
        cache.forget_data()
        log.warning(
            "RPKI cache %s: its data are no longer used (%s): %d VRPs gone", cache.name, why, gone
        )
        self.publisher.emptied(cache.source)
