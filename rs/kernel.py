"""The kernel's routing table over netlink, on the event loop: no threads, nothing that blocks.

In: readiness of two netlink sockets. Out: changes in a KernelRoutes, and word to NextHops that it
has changed. One socket gets what happens as it happens, the other one answers dumps. Whatever goes
wrong here is logged and tried again: the table as it was last known stays in use, and no session
notices.

Changes are gathered for SETTLE seconds before next hops are looked up anew, and for longer, up to
SETTLE_MOST, while they keep coming, as when an IGP converges. Where the kernel loses changes
because we did not read fast enough (ENOBUFS), or drops routes without saying which, the table is
read again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mmap
import os
import select
import socket
from typing import TYPE_CHECKING

from rs import netlink
from rs.kernelroutes import Note

if TYPE_CHECKING:
    from rs.kernelroutes import KernelRoutes
    from rs.nexthops import NextHops

SETTLE = 0.05
SETTLE_MOST = 0.4
"""Seconds between a change and the round that deals with it."""
QUIET = 2.0
"""Seconds without changes after which the next one waits for SETTLE only."""
DUMP_PAUSE = 0.5
"""Seconds between the end of a dump and the next one."""
RETRY = 5.0
"""Seconds before netlink is tried again after it failed."""
RECV_LEN = min(mmap.PAGESIZE, 8192)
"""Octets a read, 1.5 to 3 ms of work. The kernel makes parts of a dump this large at least."""
RECV_MOST = 32768
"""The same once there has been a larger message: a route with hundreds of hops."""
READ_BUDGET = 0.003
"""Seconds of reading changes in one turn of the loop."""
RECV_BUFFER = 4 << 20
"""Octets that the kernel keeps for us; about 5,000 changes."""

_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33
_CHANGES_LOST = {errno.ENOBUFS, errno.EMSGSIZE}

log = logging.getLogger("rs.kernel")


class KernelWatch:
    """Keeps `NextHops.kernel` in step with the kernel, where the configuration asks for it."""

    def __init__(self, next_hops: NextHops, loop: asyncio.AbstractEventLoop) -> None:
        self._next_hops = next_hops
        self._loop = loop
        self._table: KernelRoutes | None = None
        self._events: socket.socket | None = None
        self._poll: select.epoll | None = None
        """What the loop watches for it: libuv gives up a socket with an error, as ENOBUFS is."""
        self._dump: socket.socket | None = None
        self._parts: list[bytes] = []
        self._dump_again = False
        self._recv_len = RECV_LEN
        self._failed = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._settle = SETTLE
        self._changed_at = self._dumped_at = -QUIET
        self._first = asyncio.Event()
        self.dumps = 0
        """Dumps begun."""

    async def start(self, patience: float) -> None:
        """Begin, and wait up to `patience` seconds for the table to be there.

        Without it every next hop counts as reachable, at metric 0, until it is.
        """
        self.configure()
        if self._table is not None:
            try:
                await asyncio.wait_for(self._first.wait(), patience)
            except TimeoutError:
                log.error("the kernel's routes are not there after %g s; going on", patience)

    def configure(self) -> None:
        """Watch what the configuration asks for now."""
        if self._next_hops.kernel is self._table:
            return
        self.close()
        self._first.clear()
        self._table = self._next_hops.kernel
        if self._table is not None:
            self._open()

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._close_dump()
        if self._poll is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._table is not None:
            self._table.in_step = False

    # --- sockets

    def _open(self) -> None:
        try:
            self._events = _netlink_socket()
            for group in netlink.GROUPS:
                _join(self._events, group)
            self._poll = select.epoll()
            self._poll.register(self._events, select.EPOLLIN)
        except OSError as error:
            self._lost(error)
            return
        self._loop.add_reader(self._poll.fileno(), self._on_events, self._events)
        self._begin_dump()

    def _lost(self, error: OSError | ValueError) -> None:
        """Give up for a while; what is known stays in use."""
        assert self._table is not None
        if not self._failed:
            held = (
                "routes as they were stay in use"
                if self._table.ready
                else ("next hops count as reachable")
            )
            log.error("no routes from the kernel: %s; %s, next try in %g s", error, held, RETRY)
        if isinstance(error, OSError) and error.errno == errno.EMSGSIZE:
            self._recv_len = RECV_MOST  # the kernel could not put a route into what we read
        self._failed = True
        self._first.set()
        self.close()
        self._later("open", RETRY, self._open)

    def _receive(self, sock: socket.socket) -> bytes:
        """Return what there is in one piece; EMSGSIZE if a part of it is lost, but only once."""
        data, _, flags, _ = sock.recvmsg(self._recv_len)
        if flags & socket.MSG_TRUNC:
            self._recv_len = RECV_MOST
            raise _os_error(errno.EMSGSIZE)
        return data

    def _later(self, name: str, delay: float, what: object) -> None:
        """Call something once after a delay, however often it is asked for meanwhile."""
        if name not in self._timers:
            self._timers[name] = self._loop.call_later(delay, self._due, name, what)

    def _due(self, name: str, what: object) -> None:
        del self._timers[name]
        what()  # type: ignore[operator]

    # --- dumps

    def _begin_dump(self) -> None:
        assert self._table is not None
        self.dumps += 1
        self._dump_again = False
        table = self._table.table
        self._parts = [
            netlink.links_request(1),
            netlink.routes_request(2, socket.AF_INET, table),
            netlink.routes_request(3, socket.AF_INET6, table),
        ]
        try:
            self._dump = _netlink_socket()
            self._dump.send(self._parts.pop(0))
        except OSError as error:
            self._lost(error)
            return
        self._table.begin_dump()
        self._loop.add_reader(self._dump.fileno(), self._on_dump, self._dump)

    def _on_dump(self, sock: socket.socket) -> None:
        if sock is not self._dump or self._table is None:
            return
        try:
            items = list(netlink.decode(self._receive(sock)))
            self._table.dumped(items)
            notes = {item.what: item for item in items if isinstance(item, Note)}
            self._dump_again = self._dump_again or "again" in notes
            if "error" in notes:
                self._lost(_os_error(notes["error"].error))
            elif "done" in notes and self._parts:
                sock.send(self._parts.pop(0))
            elif "done" in notes:
                self._end_dump()
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self._lost(error)

    def _end_dump(self) -> None:
        assert self._table is not None
        self._table.end_dump()
        self._close_dump()
        self._dumped_at = self._loop.time()
        if self._failed or not self._first.is_set():
            log.info("%d prefixes in the kernel's table %d", len(self._table), self._table.table)
        self._failed = False
        self._first.set()
        self._resolve()
        if self._dump_again:
            self._later("dump", DUMP_PAUSE, self._begin_dump)

    def _close_dump(self) -> None:
        if self._dump is not None:
            self._loop.remove_reader(self._dump.fileno())
            self._dump.close()
            self._dump = None
        if self._table is not None:
            self._table.drop_dump()

    # --- changes

    def _on_events(self, sock: socket.socket) -> None:
        if sock is not self._events or self._table is None:
            return
        until = self._loop.time() + READ_BUDGET
        matters = again = False
        try:
            while self._loop.time() < until:
                one, other = self._table.changed(netlink.decode(self._receive(sock)))
                matters, again = matters or one, again or other
        except BlockingIOError:
            pass
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError) or error.errno not in _CHANGES_LOST:
                self._lost(error)
                return
            again = True
        if again:
            self._dump_soon()
        if matters:
            self._resolve_soon()

    def _dump_soon(self) -> None:
        if self._dump is not None:
            self._dump_again = True
        else:
            pause = self._dumped_at + DUMP_PAUSE - self._loop.time()
            self._later("dump", max(SETTLE, pause), self._begin_dump)

    def _resolve_soon(self) -> None:
        now = self._loop.time()
        if now - self._changed_at > QUIET:
            self._settle = SETTLE
        self._changed_at = now
        self._later("resolve", self._settle, self._resolve)

    def _resolve(self) -> None:
        """Have next hops looked up anew, one round at a time."""
        self._settle = min(self._settle * 2, SETTLE_MOST)
        if self._next_hops.busy:
            self._later("resolve", self._settle, self._resolve)
        else:
            self._next_hops.resolve()


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _netlink_socket() -> socket.socket:
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError(errno.EAFNOSUPPORT, "this system has no netlink")
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECV_BUFFER)
        except OSError:  # without CAP_NET_ADMIN; net.core.rmem_max bounds this one
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECV_BUFFER)
        try:
            # Dumps of one table only. A kernel before 4.20 sends all of them.
            sock.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        except OSError:
            log.debug("the kernel has no strict checking of netlink requests")
        sock.bind((0, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _join(sock: socket.socket, group: int) -> None:
    try:
        sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel without next-hop objects has no such group
            raise
