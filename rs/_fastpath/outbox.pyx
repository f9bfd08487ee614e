"""What goes out on one TCP connection: messages of the session, and the logs of its groups.

In: control messages as bytes, members. Out: writes to a non-blocking socket, straight from the
logs' memory. Control messages (KEEPALIVE, NOTIFICATION, End-of-RIB) go ahead of routes, at the next
message boundary. An outbox owns nothing but the queue of control messages.

`send` is the only place below the transport that makes a system call, because the bytes must not
become Python objects on the way; `take` is the same without a socket, for tests.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec, writev

from rs._fastpath.group cimport MEMBER_LIVE, Member
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport MSG_ROUTE_REFRESH, MSG_UPDATE
from rs._fastpath.wire cimport load16

from collections import deque

check_abi(__name__)

cdef enum:
    IOV_MAX = 128
    WRITE_MAX = 262144      # octets a writev: more fits no socket buffer, less costs system calls


@cython.final
cdef class Outbox:
    """The sending side of one connection; `fd` is a non-blocking socket, borrowed."""

    cdef readonly int fd
    cdef readonly list members
    cdef object control             # deque of bytes
    cdef uint32_t control_off       # octets of its first message already sent
    cdef Member current             # whose bytes were sent last; it may stand inside a message
    cdef dict epilogues             # Member -> bytes to send when its walk is over
    cdef object refreshes           # deque of (Member, BoRR, EoRR) that wait for their turn
    cdef public bint blocked        # the socket took no more; cleared by the transport
    cdef readonly uint64_t bytes_sent
    cdef readonly uint64_t writes
    cdef uint64_t updates           # of members that have left, and our own, as an End-of-RIB
    cdef uint64_t markers           # ROUTE-REFRESH before and after a walk
    cdef uint64_t told_updates      # what take_counts() has returned in all
    cdef uint64_t told_markers

    def __cinit__(self, int fd=-1):
        self.fd = fd
        self.members = []
        self.control = deque()
        self.epilogues = {}
        self.refreshes = deque()

    def push(self, bytes message):
        """Queue a whole message of the session."""
        self.control.append(message)

    def attach(self, Member member, bytes epilogue=b""):
        """Send what this member gets; `epilogue` goes out when it has got the table."""
        self.members.append(member)
        if epilogue:
            self.epilogues[member] = epilogue

    def replace(self, Member old, Member new):
        """Send what `new` gets from now on instead of `old`, whose begun message is ended first."""
        cdef uint32_t n = old.to_boundary()
        cdef iovec iov[IOV_MAX]
        cdef uint32_t i, k
        if self.current is old and n:
            k = old.gather(iov, IOV_MAX, n)
            rest = b"".join([(<char *>iov[i].iov_base)[:iov[i].iov_len] for i in range(k)])
            self.control.appendleft(rest)
            self.updates += 1
            self.current = None
        self.updates += old.read_whole()
        self.members[self.members.index(old)] = new
        epilogue = self.epilogues.pop(old, None)
        if epilogue:
            self.epilogues[new] = epilogue
        self.refreshes = deque((new if m is old else m, a, b) for m, a, b in self.refreshes)

    def refresh(self, Member member, bytes begin=b"", bytes end=b""):
        """Send a member the table again, with the messages `begin` before and `end` after it.

        One family is refreshed at a time, and none before its End-of-RIB is out: there are speakers
        that lose track of two at once.
        """
        if not begin:
            member.refresh()
            return
        self.refreshes.append((member, begin, end))
        self._next_refresh()

    cdef int _next_refresh(self) except -1:
        cdef Member m
        while self.refreshes and not self.epilogues:
            m, begin, end = self.refreshes.popleft()
            if m in self.members and m.refresh():
                self._count(begin)
                self.control.append(begin)
                self.epilogues[m] = end
        return 0

    def pending(self):
        """Whether there may be something to send."""
        return self._pending()

    cdef bint _pending(self) except? True:
        cdef Member m
        if self.control:
            return True
        for m in self.members:
            if m.pending():
                return True
        return False

    cdef uint32_t _gather(self, iovec *iov, uint64_t room, bint *is_control) except? 0xFFFFFFFF:
        """Fill `iov` from the one source whose turn it is; 0 when there is nothing to send."""
        cdef Member m
        cdef uint32_t n
        cdef bytes message
        is_control[0] = False
        if self.control:
            n = 0
            if self.control_off == 0 and self.current is not None:
                n = self.current.to_boundary()
            if n:
                return self.current.gather(iov, IOV_MAX, n)
            is_control[0] = True
            n = 0
            for message in self.control:
                iov[n].iov_base = <char *>message + (self.control_off if n == 0 else 0)
                iov[n].iov_len = len(message) - (self.control_off if n == 0 else 0)
                n += 1
                if n == IOV_MAX:
                    break
            return n
        if self.current is not None and self.current in self.members:
            n = self._from(self.current, iov, room)
            if n or self.control:
                return n if n else self._gather(iov, room, is_control)
        for m in self.members:
            if m is not self.current:
                self.current = m
                n = self._from(m, iov, room)
                if n:
                    return n
                if self.control:
                    return self._gather(iov, room, is_control)
        return 0

    cdef uint32_t _from(self, Member m, iovec *iov, uint64_t room) except? 0xFFFFFFFF:
        cdef uint32_t n = m.gather(iov, IOV_MAX, room)
        if n == 0 and m.state == MEMBER_LIVE and self.epilogues:
            # Everything up to here is sent, so the socket stands between two messages.
            epilogue = self.epilogues.pop(m, None)
            if epilogue:
                self._count(epilogue)
                self.control.append(epilogue)
                self._next_refresh()
            else:
                # The walk has just ended: go on with the log.
                n = m.gather(iov, IOV_MAX, room)
        elif n == 0 and m.state == MEMBER_LIVE:
            n = m.gather(iov, IOV_MAX, room)
        return n

    cdef int _count(self, bytes messages) except -1:
        """Count whole messages that the session does not know of."""
        cdef const uint8_t *p = messages
        cdef const uint8_t *end = p + len(messages)
        while p < end:
            if p[18] == MSG_UPDATE:
                self.updates += 1
            elif p[18] == MSG_ROUTE_REFRESH:
                self.markers += 1
            p += load16(p + 16)
        return 0

    def take_counts(self):
        """Return (UPDATEs, BoRRs and EoRRs) sent since the last call, whole ones.

        What was pushed is the session's and counted there.
        """
        cdef Member m
        cdef uint64_t updates = self.updates
        for m in self.members:
            updates += m.read_whole()
        found = updates - self.told_updates, self.markers - self.told_markers
        self.told_updates = updates
        self.told_markers = self.markers
        return found

    cdef int _sent(self, uint64_t n, bint is_control) except -1:
        cdef uint64_t left
        self.bytes_sent += n
        if not is_control:
            self.current.sent(n)
            return 0
        while n:
            left = len(self.control[0]) - self.control_off
            if n < left:
                self.control_off += <uint32_t>n
                return 0
            n -= left
            self.control.popleft()
            self.control_off = 0
        return 0

    def send(self, uint64_t room=WRITE_MAX):
        """Write up to about `room` octets; return 0, or the errno of a broken connection.

        Afterwards `blocked` says whether the socket is full: call again when it is writable.
        Without `blocked` and with pending() there is more to send now.
        """
        return self._send(room)

    cdef int _send(self, uint64_t room) except -1:
        cdef iovec iov[IOV_MAX]
        cdef uint32_t n, i
        cdef uint64_t total
        cdef ssize_t r
        cdef bint is_control
        while room:
            n = self._gather(iov, room if room < WRITE_MAX else WRITE_MAX, &is_control)
            if n == 0:
                return 0
            total = 0
            for i in range(n):
                total += iov[i].iov_len
            r = writev(self.fd, iov, n)
            self.writes += 1
            if r < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    self.blocked = True
                    return 0
                return errno
            self._sent(r, is_control)
            if <uint64_t>r < total:
                self.blocked = True
                return 0
            room -= total if total < room else room
        return 0

    def take(self, uint64_t room=1 << 40):
        """Return the next octets and move on, as a socket would that takes `room` of them."""
        cdef iovec iov[IOV_MAX]
        cdef uint32_t n, i
        cdef uint64_t total, k
        cdef bint is_control
        out = []
        while room:
            n = self._gather(iov, room, &is_control)
            if n == 0:
                break
            total = 0
            for i in range(n):
                k = iov[i].iov_len
                if total + k > room:
                    k = room - total
                out.append((<char *>iov[i].iov_base)[:k])
                total += k
            self._sent(total, is_control)
            room -= total
        return b"".join(out)

    def close(self):
        """Leave every group."""
        cdef Member m
        for m in list(self.members):
            m.leave()
            self.updates += m.read_whole()
        self.members.clear()
        self.current = None
        self.epilogues.clear()
        self.refreshes.clear()
        self.control.clear()


def pump(list outboxes, uint64_t room, uint64_t most):
    """Send from each outbox that has something and is not blocked, until `most` octets are sent.

    Returns (seen, busy, blocked, broken): how many outboxes it came to; which of these have more to
    send now, became blocked in this call, are broken, as [(outbox, errno)].
    """
    cdef Outbox o
    cdef uint64_t before, sent = 0
    cdef uint32_t seen = 0
    busy = []
    blocked = []
    broken = []
    for o in outboxes:
        if sent >= most:
            break
        seen += 1
        if o.blocked or not o._pending():
            continue
        before = o.bytes_sent
        error = o._send(room)
        sent += o.bytes_sent - before
        if error:
            broken.append((o, error))
        elif o.blocked:
            blocked.append(o)
        elif o._pending():
            busy.append(o)
    return seen, busy, blocked, broken
