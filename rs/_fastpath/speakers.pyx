"""Many BGP speakers in one process: their connections, sessions and tables to send.

In: per member its addresses, its table as ready UPDATE bytes, and what it is due. Out: sessions
that come up and are tried again, tables sent as sockets take them, and how many of those who are
watched are up and hold exactly what they are due. What is received is the load client's
(load.pyx), which extends this class and has the loop; it hands in what is no UPDATE.

Speakers owns the members; tables are borrowed from Python `bytes` that it keeps alive. RFC 4271 4.
"""

from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close

from rs._fastpath.hello cimport HELLO_LEN, OPT_ADDPATH, addpath_sent, write_keepalive, write_open
from rs._fastpath.judge cimport Universe, holding_ok
from rs._fastpath.net cimport (
    AF_INET,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    IP_BIND_ADDRESS_NO_PORT,
    IPPROTO_IP,
    IPPROTO_TCP,
    MSG_NOSIGNAL,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    bind,
    connect,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    getsockopt,
    htonl,
    htons,
    send,
    setsockopt,
    sockaddr,
    sockaddr_in,
    socket,
)
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport HEADER_LEN, MSG_KEEPALIVE, MSG_NOTIFICATION, MSG_OPEN

check_abi(__name__)

cdef enum:
    SEND_LEN = 262144       # octets a send
    RETRY_NS = 200000000
    ANSWER_NS = 5000000000  # a connection without an OPEN after so long is tried again
    HOLD_TIME = 240         # s; long, for timers are not what is measured


cdef class Speakers:
    """Members and their sessions; `LoadClient` is the class to use."""

    def __cinit__(self, bytes prefixes4, bytes prefixes6=b""):
        self.keep = []
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        if self.ep < 0:
            raise OSError(errno, "no epoll descriptor")
        self.universe = Universe(prefixes4, prefixes6)

    def __dealloc__(self):
        cdef uint32_t i
        cdef member_t *m
        for i in range(self.n_members):
            m = &self.members[i]
            if m.fd >= 0:
                close(m.fd)
            self.universe.free_holding(&m.holding)
            free(m.ctl)
            free(m.carry)
        free(self.members)
        if self.ep > 0:
            close(self.ep)

    # Members.

    def add_member(self, uint32_t host, uint16_t port, uint32_t source, uint32_t asn,
                   uint32_t router_id, uint32_t opts, bytes table):
        cdef member_t *m
        cdef uint32_t cap
        cdef void *grown
        if self.n_members == self.cap_members:
            cap = self.cap_members * 2 + 64
            grown = realloc(self.members, cap * sizeof(member_t))
            if grown == NULL:
                raise MemoryError
            self.members = <member_t *>grown
            self.cap_members = cap
        m = &self.members[self.n_members]
        memset(m, 0, sizeof(member_t))
        m.fd = -1
        m.rate = -1
        m.host = host
        m.port = port
        m.source = source
        m.asn = asn
        m.router_id = router_id
        m.opts = <uint8_t>opts
        self.n_members += 1         # from here __dealloc__ frees it
        self.universe.new_holding(&m.holding)
        m.ok = 1                    # has nothing, is due nothing
        self._set_table(m, table)
        return self.n_members - 1

    cdef _set_table(self, member_t *m, bytes table):
        self.keep.append(table)
        m.tx = table
        m.tx_len = len(table)
        m.tx_pos = 0

    cdef member_t *_member(self, uint32_t i) except NULL:
        if i >= self.n_members:
            raise IndexError(f"member {i} of {self.n_members}")
        return &self.members[i]

    def set_table(self, uint32_t member, bytes table):
        cdef member_t *m = self._member(member)
        if m.tx_pos and m.tx_pos < m.tx_len and m.state == ST_UP:
            raise ValueError(f"member {member} is in the middle of sending its table")
        self._set_table(m, table)
        m.sending = 0

    def set_due(self, uint32_t member, bytes due, bytes own=None):
        cdef member_t *m = self._member(member)
        self.universe.load_due(&m.holding, due)
        if own is not None:
            self.universe.load_own(&m.holding, own)
        self.universe.recount(&m.holding)
        self._judge(m, now_ns())

    def set_due_next_hops(self, uint32_t member, bytes next_hops):
        cdef member_t *m = self._member(member)
        self.universe.load_next_hops(&m.holding, next_hops)
        self.universe.recount(&m.holding)
        self._judge(m, now_ns())

    def set_rate(self, uint32_t member, int64_t octets_per_s):
        cdef member_t *m = self._member(member)
        m.rate = octets_per_s
        m.budget = 0
        if m.fd >= 0:
            self._arm(member, m)

    def watch(self, uint32_t member, bint watched):
        cdef member_t *m = self._member(member)
        self._uncount(m)
        m.watched = watched
        self._count(m)

    cdef void _judge(self, member_t *m, uint64_t now) noexcept nogil:
        cdef uint8_t ok = holding_ok(&m.holding)
        if ok != m.ok:
            self._uncount(m)
            m.ok = ok
            if ok:
                m.t_ok = now
            self._count(m)

    cdef void _count(self, member_t *m) noexcept nogil:
        if m.watched:
            self.n_watched += 1
            if m.state == ST_UP:
                self.n_up += 1
                self.n_ok += m.ok

    cdef void _uncount(self, member_t *m) noexcept nogil:
        if m.watched:
            self.n_watched -= 1
            if m.state == ST_UP:
                self.n_up -= 1
                self.n_ok -= m.ok

    cdef void _set_state(self, member_t *m, uint8_t state) noexcept nogil:
        self._uncount(m)
        m.state = state
        self._count(m)

    # Connections.

    cdef void _connect(self, uint32_t id, member_t *m, uint64_t now) noexcept nogil:
        cdef sockaddr_in sa
        cdef epoll_event ev
        cdef int one = 1
        m.carry_len = m.ctl_len = 0
        m.tx_pos = 0
        m.announced_at = m.holding.announced
        m.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if m.fd < 0:
            self._retry(m, errno, now)
            return
        setsockopt(m.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        memset(&sa, 0, sizeof(sa))
        sa.sin_family = AF_INET
        if m.source:
            setsockopt(m.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
            sa.sin_addr.s_addr = htonl(m.source)
            if bind(m.fd, <sockaddr *>&sa, sizeof(sa)) < 0:
                self._retry(m, errno, now)
                return
        sa.sin_port = htons(m.port)
        sa.sin_addr.s_addr = htonl(m.host)
        if connect(m.fd, <sockaddr *>&sa, sizeof(sa)) < 0 and errno != EINPROGRESS:
            self._retry(m, errno, now)
            return
        ev.events = EPOLLIN | EPOLLOUT
        ev.data.u32 = id
        if epoll_ctl(self.ep, EPOLL_CTL_ADD, m.fd, &ev) < 0:
            self._retry(m, errno, now)
            return
        m.armed = 1
        m.retry_at = now + ANSWER_NS
        self._set_state(m, ST_CONNECTING)

    cdef void _hang_up(self, member_t *m) noexcept nogil:
        if m.fd >= 0:
            close(m.fd)             # leaves the epoll set with it
        m.fd = -1

    cdef void _retry(self, member_t *m, int error, uint64_t now) noexcept nogil:
        """A connection attempt failed: try again soon."""
        self._hang_up(m)
        if error:
            m.error = <uint32_t>error
        m.resets += 1
        m.retry_at = now + RETRY_NS
        self._set_state(m, ST_RETRY)

    cdef void _lost(self, member_t *m, int error) noexcept nogil:
        """The other side ended it: tried again while no route has come, a fault later."""
        if m.state == ST_UP and m.holding.announced > m.announced_at:
            if error:
                m.error = <uint32_t>error
            m.resets += 1
            self._set_state(m, ST_LOST)
            self._hang_up(m)
        else:
            self._retry(m, error, now_ns())

    cdef void _connected(self, uint32_t id, member_t *m) noexcept nogil:
        cdef int error = 0
        cdef unsigned int n = sizeof(error)
        cdef uint8_t msg[HELLO_LEN]
        if getsockopt(m.fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0:
            error = errno
        if error:
            self._retry(m, error, now_ns())
            return
        self._set_state(m, ST_OPEN_SENT)
        self._control(m, msg, write_open(msg, m.asn, HOLD_TIME, m.router_id, m.opts))
        self._write(id, m)

    cdef void _keepalive(self, uint32_t id, member_t *m) noexcept nogil:
        cdef uint8_t msg[HEADER_LEN]
        # Who is sending its table needs none, and none may come into the middle of a message.
        if m.state == ST_UP and m.sending and m.tx_pos < m.tx_len:
            return
        self._control(m, msg, write_keepalive(msg))
        self._write(id, m)

    # Sending.

    cdef void _control(self, member_t *m, const uint8_t *data, uint32_t n) noexcept nogil:
        """Queue small messages; they go out before a table starts, or after it is out."""
        cdef uint8_t *grown
        if m.ctl_len + n > m.ctl_cap:
            grown = <uint8_t *>realloc(m.ctl, 2 * (m.ctl_len + n) + 256)
            if grown == NULL:
                m.holding.malformed += 1    # this member can no longer be exact
                return
            m.ctl = grown
            m.ctl_cap = 2 * (m.ctl_len + n) + 256
        memcpy(m.ctl + m.ctl_len, data, n)
        m.ctl_len += n

    cdef int _send(self, member_t *m, const uint8_t *data, uint64_t n) noexcept nogil:
        """Return octets taken, 0 when the socket is full, -1 when the connection is gone."""
        cdef ssize_t done = send(m.fd, data, n if n < SEND_LEN else SEND_LEN, MSG_NOSIGNAL)
        if done >= 0:
            m.tx_bytes += <uint64_t>done
            return <int>done
        if errno == EAGAIN or errno == EINTR:
            return 0
        self._lost(m, errno)
        return -1

    cdef void _write(self, uint32_t id, member_t *m) noexcept nogil:
        cdef int done
        cdef bint table = m.sending and m.state == ST_UP and m.tx_pos < m.tx_len
        if m.ctl_len and (m.tx_pos == 0 or m.tx_pos == m.tx_len):
            done = self._send(m, m.ctl, m.ctl_len)
            if done < 0:
                return
            m.ctl_len -= done
            if m.ctl_len:
                memcpy_down(m.ctl, done, m.ctl_len)
                table = False
        if table:
            done = self._send(m, m.tx + m.tx_pos, m.tx_len - m.tx_pos)
            if done < 0:
                return
            m.tx_pos += <uint64_t>done
            if m.tx_pos == m.tx_len:
                m.t_sent = now_ns()
        self._arm(id, m)

    cdef void _arm(self, uint32_t id, member_t *m) noexcept nogil:
        """Ask for the readiness that this member can use."""
        cdef epoll_event ev
        cdef bint out = m.ctl_len > 0 or (m.sending and m.state == ST_UP and m.tx_pos < m.tx_len)
        cdef bint slow = m.rate >= 0 and m.state == ST_UP
        cdef uint8_t want = out | (slow << 1)
        if want == m.armed:
            return
        ev.events = 0 if slow else EPOLLIN
        if out:
            ev.events |= EPOLLOUT
        ev.data.u32 = id
        epoll_ctl(self.ep, EPOLL_CTL_MOD, m.fd, &ev)
        m.armed = want

    # Receiving.

    cdef int _other(self, uint32_t id, member_t *m, const uint8_t *p, uint32_t n,
                    uint64_t now) noexcept nogil:
        """OPEN, KEEPALIVE, NOTIFICATION; all else is passed over. -1 when the session ended."""
        if p[18] == MSG_OPEN and m.state == ST_OPEN_SENT and n >= 29:
            m.holding.addpath = addpath_sent(p, n) if m.opts & OPT_ADDPATH else 0
            self._set_state(m, ST_OPEN_CONFIRM)
            self._keepalive(id, m)
        elif p[18] == MSG_KEEPALIVE and m.state == ST_OPEN_CONFIRM:
            m.t_up = now
            m.keepalive_at = now + KEEPALIVE_NS
            self._set_state(m, ST_UP)
            self._write(id, m)
        elif p[18] == MSG_NOTIFICATION:
            self._lost(m, 0)
            m.error = <uint32_t>0x80000000
            if n >= 21:
                m.error |= (<uint32_t>p[19] << 8) | p[20]
        return 0 if m.fd >= 0 else -1


cdef inline void memcpy_down(uint8_t *base, uint32_t off, uint32_t n) noexcept nogil:
    """Move `n` octets at `off` to the start of `base`."""
    cdef uint32_t i
    for i in range(n):
        base[i] = base[off + i]
