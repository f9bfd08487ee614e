"""The floor: a BGP speaker without a table, that copies every session's UPDATEs to all others.

In: sessions as they come, any AS. Out: each session gets, in order of arrival, the UPDATE bytes of
every other session since the start (so a late joiner gets the whole history). It does what no
route server can do without: one read and one log append per UPDATE, one kernel copy per receiver.
How close a daemon comes to it says what that daemon's own work costs.

The log is append-only blocks of whole messages, one entry per run of UPDATEs of one source; a
session is a cursor and sends up to 64 entries with one writev. Splice owns log and sessions.
RFC 4271 4.2; nothing is checked, for the load client is the only peer it is meant for.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.unistd cimport close

from rs._fastpath.hello cimport (
    HELLO_LEN,
    OPT_AS4,
    OPT_IPV4,
    OPT_IPV6,
    write_keepalive,
    write_open,
)
from rs._fastpath.net cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    IPPROTO_TCP,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    accept4,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    iovec,
    recv,
    setsockopt,
    writev,
)
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    HEADER_LEN,
    MAX_EXT_MSG,
    MSG_KEEPALIVE,
    MSG_OPEN,
    MSG_UPDATE,
)
from rs._fastpath.wire cimport load16

check_abi(__name__)

cdef enum:
    GATHER = 64             # log entries a write
    READ_LEN = 262144
    BLOCK_LEN = 1 << 22
    MAX_EVENTS = 512
    LISTEN_ID = 0xFFFFFFFF

cdef struct entry_t:
    const uint8_t *data
    uint32_t len
    uint32_t source

cdef struct conn_t:
    int fd                  # -1 = ended; slots are not reused
    uint8_t up              # UPDATEs may be sent
    uint8_t armed           # EPOLLOUT is asked for
    uint8_t ctl[HELLO_LEN + HEADER_LEN]     # OPEN and KEEPALIVE on their way; before all else
    uint32_t ctl_len
    uint32_t next           # log entry
    uint32_t off            # octets of it that are out
    uint8_t *carry
    uint32_t carry_len


@cython.final
cdef class Splice:
    """Copies UPDATEs between the sessions of one listening socket; see the stub."""

    cdef int ep
    cdef int listener
    cdef uint32_t asn
    cdef uint32_t router_id
    cdef conn_t *conns
    cdef uint32_t n_conns
    cdef uint32_t cap_conns
    cdef entry_t *log
    cdef uint32_t n_log
    cdef uint32_t cap_log
    cdef uint8_t *block             # the log's last; each begins with a pointer to the one before
    cdef uint32_t block_used
    cdef uint8_t *rbuf

    def __cinit__(self, int listener, uint32_t asn, uint32_t router_id):
        cdef epoll_event ev
        self.block_used = BLOCK_LEN
        self.asn = asn
        self.router_id = router_id
        self.listener = listener
        self.rbuf = <uint8_t *>malloc(MAX_EXT_MSG + READ_LEN)
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        if self.rbuf == NULL:
            raise MemoryError
        ev.events = EPOLLIN
        ev.data.u32 = LISTEN_ID
        if self.ep < 0 or epoll_ctl(self.ep, EPOLL_CTL_ADD, listener, &ev) < 0:
            raise OSError(errno, "cannot watch the listening socket")

    def __dealloc__(self):
        cdef uint32_t i
        cdef uint8_t *before
        for i in range(self.n_conns):
            if self.conns[i].fd >= 0:
                close(self.conns[i].fd)
            free(self.conns[i].carry)
        while self.block != NULL:
            before = (<uint8_t **>self.block)[0]
            free(self.block)
            self.block = before
        free(self.conns)
        free(self.log)
        free(self.rbuf)
        if self.ep > 0:
            close(self.ep)

    def run(self, double seconds):
        """Serve for about `seconds`."""
        cdef int turns = <int>(seconds * 50) + 1
        cdef int _i, got
        for _i in range(turns):
            with nogil:
                got = self._turn()
            if got == -1:
                raise MemoryError

    cdef int _turn(self) noexcept nogil:
        """Serve until the sockets have been quiet for 20 ms; -1 when memory is out."""
        cdef epoll_event evs[MAX_EVENTS]
        cdef int n, i
        cdef uint32_t id, sent_to
        while True:
            n = epoll_wait(self.ep, evs, MAX_EVENTS, 20)
            if n <= 0:
                return 0
            sent_to = self.n_log
            for i in range(n):
                id = evs[i].data.u32
                if id == LISTEN_ID:
                    if self._accept() < 0:
                        return -1
                elif self.conns[id].fd >= 0:
                    if evs[i].events & ~<uint32_t>EPOLLOUT and self._read(id) < 0:
                        return -1
                    if evs[i].events & EPOLLOUT and self.conns[id].fd >= 0:
                        self._write(id)
            if self.n_log != sent_to:
                for id in range(self.n_conns):
                    if self.conns[id].fd >= 0 and not self.conns[id].armed:
                        self._write(id)

    cdef int _accept(self) noexcept nogil:
        cdef int one = 1, unsent = 32 << 10
        cdef int fd
        cdef conn_t *c
        cdef conn_t *grown
        cdef epoll_event ev
        while True:
            fd = accept4(self.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                return 0
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            # As rs does: hundreds of full send buffers would bring the kernel's TCP to a stand.
            setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent))
            if self.n_conns == self.cap_conns:
                grown = <conn_t *>realloc(self.conns, (self.cap_conns * 2 + 64) * sizeof(conn_t))
                if grown == NULL:
                    return -1
                self.conns = grown
                self.cap_conns = self.cap_conns * 2 + 64
            c = &self.conns[self.n_conns]
            memset(c, 0, sizeof(conn_t))
            c.fd = fd
            ev.events = EPOLLIN
            ev.data.u32 = self.n_conns
            self.n_conns += 1
            epoll_ctl(self.ep, EPOLL_CTL_ADD, fd, &ev)

    cdef void _end(self, conn_t *c) noexcept nogil:
        close(c.fd)
        c.fd = -1
        free(c.carry)
        c.carry = NULL

    cdef void _hello(self, conn_t *c) noexcept nogil:
        """Queue OPEN and KEEPALIVE; no hold timer, so no further keepalives either."""
        if c.ctl_len == 0:
            c.ctl_len = write_open(c.ctl, self.asn, 0, self.router_id,
                                   OPT_AS4 | OPT_IPV4 | OPT_IPV6)
            c.ctl_len += write_keepalive(c.ctl + c.ctl_len)

    cdef int _read(self, uint32_t id) noexcept nogil:
        cdef conn_t *c = &self.conns[id]
        cdef uint8_t *p = self.rbuf + MAX_EXT_MSG
        cdef uint8_t *end
        cdef uint8_t *run
        cdef uint32_t n
        cdef ssize_t got = recv(c.fd, p, READ_LEN, 0)
        if got <= 0:
            if got == 0 or (errno != EAGAIN and errno != EINTR):
                self._end(c)
            return 0
        end = p + got
        if c.carry_len:
            p -= c.carry_len
            memcpy(p, c.carry, c.carry_len)
            c.carry_len = 0
        run = p
        while end - p >= HEADER_LEN and end - p >= load16(p + 16):
            n = load16(p + 16)
            if n < HEADER_LEN:
                self._end(c)
                return 0
            if p[18] != MSG_UPDATE:
                if p > run and self._append(id, run, <uint32_t>(p - run)) < 0:
                    return -1
                run = p + n
                if p[18] == MSG_OPEN:
                    self._hello(c)
                    self._write(id)
                elif p[18] == MSG_KEEPALIVE and not c.up:
                    c.up = 1
                    self._write(id)
                if c.fd < 0:
                    return 0
            p += n
        if p > run and self._append(id, run, <uint32_t>(p - run)) < 0:
            return -1
        if p < end:
            if c.carry == NULL:
                c.carry = <uint8_t *>malloc(MAX_EXT_MSG)
                if c.carry == NULL:
                    return -1
            c.carry_len = <uint32_t>(end - p)
            memcpy(c.carry, p, c.carry_len)
        return 0

    cdef int _append(self, uint32_t source, const uint8_t *data, uint32_t n) noexcept nogil:
        cdef entry_t *grown
        cdef uint8_t *block
        if self.n_log == self.cap_log:
            grown = <entry_t *>realloc(self.log, (self.cap_log * 2 + 1024) * sizeof(entry_t))
            if grown == NULL:
                return -1
            self.log = grown
            self.cap_log = self.cap_log * 2 + 1024
        if BLOCK_LEN - self.block_used < n:
            block = <uint8_t *>malloc(BLOCK_LEN)
            if block == NULL:
                return -1
            (<uint8_t **>block)[0] = self.block
            self.block = block
            self.block_used = sizeof(void *)
        memcpy(self.block + self.block_used, data, n)
        self.log[self.n_log].data = self.block + self.block_used
        self.log[self.n_log].len = n
        self.log[self.n_log].source = source
        self.block_used += n
        self.n_log += 1
        return 0

    cdef void _write(self, uint32_t id) noexcept nogil:
        """Send what is there and what the socket takes; ask for readiness when it is full."""
        cdef conn_t *c = &self.conns[id]
        cdef iovec iov[GATHER]
        cdef epoll_event ev
        cdef uint32_t at, off
        cdef int n
        cdef size_t want
        cdef ssize_t done
        cdef bint full = False
        while not full:
            n = 0
            want = 0
            at = c.next
            off = c.off
            if c.ctl_len:
                iov[0].iov_base = c.ctl
                iov[0].iov_len = want = c.ctl_len
                n = 1
            elif c.up:
                while n < GATHER and at < self.n_log:
                    if self.log[at].source != id:
                        iov[n].iov_base = <void *>(self.log[at].data + off)
                        iov[n].iov_len = self.log[at].len - off
                        want += iov[n].iov_len
                        n += 1
                    at += 1
                    off = 0
            if n == 0:
                c.next = at
                break
            done = writev(c.fd, iov, n)
            if done < 0:
                if errno != EAGAIN and errno != EINTR:
                    self._end(c)
                    return
                done = 0
            full = <size_t>done < want
            if c.ctl_len:
                c.ctl_len -= <uint32_t>done
                for at in range(c.ctl_len):
                    c.ctl[at] = c.ctl[at + done]
                continue
            while done or (c.next < self.n_log and self.log[c.next].source == id):
                if self.log[c.next].source == id:
                    c.next += 1
                elif done >= self.log[c.next].len - c.off:
                    done -= self.log[c.next].len - c.off
                    c.next += 1
                    c.off = 0
                else:
                    c.off += <uint32_t>done
                    done = 0
        if full != c.armed:
            ev.events = EPOLLIN | (EPOLLOUT if full else 0)
            ev.data.u32 = id
            epoll_ctl(self.ep, EPOLL_CTL_MOD, c.fd, &ev)
            c.armed = full
