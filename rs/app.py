"""The daemon: configuration, router, transport and API put together on one event loop.

In: the path of a configuration file and signals. Out: exit by return. SIGTERM and SIGINT end it
cleanly: sessions get a Cease, and what can be sent is sent. SIGUSR1 ends it for a restart: those
who keep our routes meanwhile (RFC 4724) get none. SIGHUP reads the configuration again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import resource
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from rs import __version__, irr, reload, statefile
from rs.config import GracefulRestart
from rs.configfile import load_config
from rs.errors import ConfigError, RsError
from rs.nexthops import check_orr
from rs.router import Router
from rs.rpki import RpkiFiles
from rs.rtr_client import CacheConfig, Publisher, RtrClient
from rs.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rs.config import Api, Config
    from rs.kernel import KernelWatch
    from rs.show_types import RpkiCache, RpkiFile
    from rs.startup import Before

SPARE_FILES = 256
"""Descriptors beside those of sessions: listening sockets, the API and its clients, files."""
LOAD_BUDGET = 0.003
"""Seconds of reading sets at a time while sessions are up."""
ROUTES_PATIENCE = 5.0
"""Seconds that sessions wait at the start for the kernel's routes."""
SHUTDOWN_TIME = 2.0
"""Seconds that sessions get to take their NOTIFICATION."""
STATE_EVERY = 2.0
"""Seconds between looks at what the state file should say."""

log = logging.getLogger("rs")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON: time, level, logger, message."""
        return json.dumps(
            {
                "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": record.getMessage(),
            }
        )


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def raise_file_limit(neighbors: int) -> None:
    """Use as many descriptors as the system lets us: each session is one, each collision two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < 2 * neighbors + SPARE_FILES:
        log.warning(
            "%d open files are allowed, and %d neighbors may need %d: raise LimitNOFILE, ulimit -n",
            hard,
            neighbors,
            2 * neighbors + SPARE_FILES,
        )


class Daemon:
    """A running route server; also what `rs demo` and the tests start in their own loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.router = Router(config, clock=time.monotonic, before=_before(config))
        self.transport = Transport(self.router, asyncio.get_running_loop())
        publisher = Publisher(self.router.roas, self.router.aspas, self.router.rpki_changed)
        self._kernel: KernelWatch | None = None
        self._rtr = RtrClient(_caches(config), publisher)
        self._vrp_files = RpkiFiles(publisher)
        self._reloading = asyncio.Lock()
        self._api: contextlib.AsyncExitStack | None = None
        self._state: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()
        """Set when the daemon shall end."""
        self.graceful = False
        """The end is for a restart."""

    def ask_to_stop(self, *, graceful: bool = False) -> None:
        """Have the daemon end soon; `graceful` for a restart, see docs/restart.md."""
        self.graceful = graceful
        self.stopping.set()

    async def start(self) -> None:
        """Listen, serve the API, start the sessions; RsError when a place to listen is taken."""
        self.transport.listen()
        await self._serve(self.config.api)
        self.router.reload = self.reload
        self.router.ask_to_stop = self.ask_to_stop
        self.router.rpki_sources = self._rpki_sources
        async with self._reloading:
            await self._load_vrp_files(self.config)
        self._rtr.start()
        if (kernel := self._kernel_watch()) is not None:
            await kernel.start(ROUTES_PATIENCE)
        self.transport.start()
        self._state = asyncio.create_task(self._keep_state())
        startup = self.router.startup
        if startup.holding:
            log.info("restarted: nothing is announced before %s", ", ".join(startup.missing()))

    def _kernel_watch(self) -> KernelWatch | None:
        """Return what follows the kernel's routes, from the first configuration on that wants it.

        It comes with pyroute2: 8 MB, and 0.06 to 0.2 s once, in a reload as well.
        """
        if self._kernel is None and self.router.next_hops.kernel is not None:
            from rs.kernel import KernelWatch  # noqa: PLC0415

            self._kernel = KernelWatch(self.router.next_hops, asyncio.get_running_loop())
        return self._kernel

    async def _keep_state(self) -> None:
        """Keep the state file true: who is up, in case that we are killed."""
        known: frozenset[str] | None = None
        written, failed = 0.0, False
        while True:
            path = self.config.startup.state_file
            startup = self.router.startup
            up = frozenset(self._awaited_next())
            now = time.time()
            # While we wait for those who were up before, they are the ones to wait for again.
            due = up != known or not 0 <= now - written < statefile.EVERY
            if path is not None and due and not startup.holding:
                try:
                    statefile.write(path, up, now)
                    known, written, failed = up, now, False
                except OSError as error:
                    if not failed:
                        log.error("startup.state_file: %s: %s", path, error.strerror)
                    failed = True
            await asyncio.sleep(STATE_EVERY)

    async def reload(self) -> str:
        """Read the configuration again and apply what differs; return what was done.

        ConfigError if it has faults, RsError if a place to listen cannot be had; then nothing has
        changed.
        """
        async with self._reloading:
            done = await self._reload()
        log.info("configuration read again: %s", done)
        return done

    async def _reload(self) -> str:
        config = load_config(self.config.path)
        for warning in config.warnings:
            log.warning("%s", warning)
        sets = await self._load_sets(config)
        check_orr(config)
        try:
            if config.api != self.config.api:
                await self._serve(config.api)
            if config.router.listen != self.config.router.listen:
                self.transport.relisten(config)
        except RsError:
            if config.api != self.config.api:
                await self._serve(self.config.api)
            raise
        done = reload.apply(self.router, config, sets)
        if (kernel := self._kernel_watch()) is not None:
            kernel.configure()
        self.transport.settle()
        if config.rpki != self.config.rpki:
            self._rtr.configure(_caches(config))
        await self._load_vrp_files(config)
        self.config = config
        return str(done)

    async def _load_sets(self, config: Config) -> irr.Sets:
        """Read the named sets again, in slices; ConfigError if one has no contents at all."""
        sets = irr.Sets()
        await _in_slices(irr.load_steps(config, sets, self.router.rules.sets))
        irr.require(config, sets)
        for fault in sets.faults:
            log.error("%s; what was read before stays in use", fault)
        return sets

    async def _load_vrp_files(self, config: Config) -> None:
        """Read VRP files that have changed; faults are logged, and data from before stay."""
        await _in_slices(self._vrp_files.load_steps(config.rpki.files, time.time()))
        for fault in self._vrp_files.faults:
            log.error("%s", fault)

    def _rpki_sources(self) -> tuple[list[RpkiCache], list[RpkiFile]]:
        return self._rtr.status(), self._vrp_files.status(time.time())

    async def _serve(self, api: Api) -> None:
        """Serve the API where the configuration says, and nowhere else any more."""
        if self._api is not None:
            await self._api.aclose()
            self._api = None
        if api.listen is not None or api.socket is not None:
            from rs.api import serve  # noqa: PLC0415 - the HTTP library only where it is wanted

            self._api = contextlib.AsyncExitStack()
            await self._api.enter_async_context(serve(self.router, api))

    async def stop(self, communication: str = "", *, graceful: bool = False) -> None:
        """End the sessions, wait until they are gone or SHUTDOWN_TIME is over, close everything.

        `graceful`: neighbors that keep our routes while we restart are not told.
        """
        if self._kernel is not None:
            self._kernel.close()
        await self._rtr.stop()
        self._leave_state(graceful=graceful)
        self.transport.stop(communication, graceful=graceful)
        deadline = time.monotonic() + SHUTDOWN_TIME
        while self.transport.busy and time.monotonic() < deadline:  # noqa: ASYNC110 - rare, short
            await asyncio.sleep(0.02)
        self.transport.close()
        if self._api is not None:
            await self._api.aclose()

    def _awaited_next(self) -> list[str]:
        """Return the neighbors whose End-of-RIB a restart would wait for (RFC 4724 4.1)."""
        return [
            peer.address
            for peer in self.router.peers.values()
            if peer.established and peer.agreed is not None and peer.agreed.graceful_restart
        ]

    def _leave_state(self, *, graceful: bool) -> None:
        """Let the next process know of a restart, or not; nothing if we have never run."""
        if self._state is None:
            return
        self._state.cancel()
        path = self.config.startup.state_file
        if path is None:
            return
        if not graceful:
            statefile.remove(path)
        elif not self.router.startup.holding:
            with contextlib.suppress(OSError):
                statefile.write(path, self._awaited_next(), time.time())


def _before(config: Config) -> Before | None:
    """Return what the process before this one left, if it asked anybody to keep our routes.

    Where nobody keeps them there is nothing to be careful of, and waiting would only be longer
    without routes.
    """
    on = [n for n in config.neighbors if n.graceful_restart is GracefulRestart.ON]
    if config.startup.state_file is None or not on:
        return None
    patience = max(neighbor.restart_time for neighbor in on)
    return statefile.read(config.startup.state_file, time.time(), patience)


async def _in_slices(steps: Iterator[None]) -> None:
    """Run a generator, and everything else after each LOAD_BUDGET of it."""
    until = time.monotonic() + LOAD_BUDGET
    for _ in steps:
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + LOAD_BUDGET


def _caches(config: Config) -> list[CacheConfig]:
    return [
        CacheConfig(
            c.host,
            c.port,
            c.preference,
            bind=c.local_address,
            password=c.password,
            refresh=c.refresh,
            retry=c.retry,
            expire=c.expire,
            max_version=c.version,
        )
        for c in config.rpki.caches
    ]


async def _main(config: Config) -> None:
    loop = asyncio.get_running_loop()
    daemon = Daemon(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.ask_to_stop)
    loop.add_signal_handler(signal.SIGUSR1, partial(daemon.ask_to_stop, graceful=True))
    reloads: set[asyncio.Task[None]] = set()

    def on_hangup() -> None:
        task = loop.create_task(_reload(daemon))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        await daemon.start()
        router = config.router
        log.info(
            "rs %s: %s AS%d, router id %s, %d neighbors, listening on %s",
            __version__,
            router.role.value,
            router.asn,
            router.router_id,
            len(config.neighbors),
            ", ".join(map(str, router.listen)),
        )
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        await daemon.stopping.wait()
        log.info("stopping; longest slice %.1f ms", daemon.router.loop.longest_slice * 1e3)
    finally:
        await daemon.stop("rs is stopping", graceful=daemon.graceful)


async def _reload(daemon: Daemon) -> None:
    """Answer SIGHUP: a configuration with faults is reported, and the old one goes on."""
    try:
        await daemon.reload()
    except ConfigError as error:
        for problem in error.problems:
            log.error("%s", problem)
        log.error("the configuration has faults; the old one goes on")
    except RsError as error:
        log.error("%s; the old configuration goes on", error)


def run(path: Path, *, log_level: str = "info", log_json: bool = False) -> None:
    """Run the daemon of a configuration file until SIGTERM or SIGINT.

    ConfigError for a configuration with faults; RsError for a port that cannot be had.
    """
    config = load_config(path)
    set_up_logging(log_level, as_json=log_json)
    for warning in config.warnings:
        log.warning("%s", warning)
    raise_file_limit(len(config.neighbors))
    uvloop.run(_main(config))
