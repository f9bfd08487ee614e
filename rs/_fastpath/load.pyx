"""Load client: many BGP speakers in one process, and an exact judge of what each of them holds.

In: the universe of prefixes of a run, and per member its addresses, its table as ready UPDATE
bytes and a bitmap of the prefixes it is due. Out: per member, when its session came up, when its
first route came and when it held exactly what it is due, with counters; for churn, a histogram of
the time from a change's send to its receipt. Nothing is parsed that the judgement does not need.

The loop (epoll, one thread, no Python objects) runs without the GIL until a goal or a deadline.
A prefix is an index into the universe: IPv4 /24s by a flat array, everything else by hash. Routes
held are one bit per member and prefix; the numbers of missing and of surplus bits are kept while
bits change, so that "converged" is two comparisons. Sampled members also keep the next hop of
each prefix, which says *whose* route they were given.

LoadClient owns all C memory; tables and churn bytes are borrowed from Python `bytes` that it keeps
alive. RFC 4271 4, 4724 2 (End-of-RIB), 4760, 5492, 6793, 7911, 8654.
"""

cimport cython
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, ETIMEDOUT, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strerror
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport close, read

from rs._fastpath.hello cimport (
    HELLO_LEN,
    OPT_ADDPATH,
    OPT_AS4,
    OPT_EXT_MSG,
    OPT_IPV4,
    OPT_IPV6,
    addpath_sent,
    write_keepalive,
    write_open,
)
from rs._fastpath.judge cimport HIST_LEN, Universe, churn_t, hist_value, holding_ok, holding_t
from rs._fastpath.net cimport (
    AF_INET,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_MOD,
    EPOLLERR,
    EPOLLHUP,
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
    TFD_CLOEXEC,
    TFD_NONBLOCK,
    bind,
    connect,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    getsockopt,
    htonl,
    htons,
    recv,
    send,
    setsockopt,
    sockaddr,
    sockaddr_in,
    socket,
    timerfd_create,
    timerfd_settime,
)
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    HEADER_LEN,
    MAX_EXT_MSG,
    MSG_KEEPALIVE,
    MSG_NOTIFICATION,
    MSG_OPEN,
    MSG_UPDATE,
)
from rs._fastpath.wire cimport load16, load64

check_abi(__name__)

cdef enum:
    ST_IDLE = 0         # no socket
    ST_RETRY = 1        # no socket; connects again at retry_at
    ST_CONNECTING = 2
    ST_OPEN_SENT = 3
    ST_OPEN_CONFIRM = 4
    ST_UP = 5
    ST_LOST = 6         # was up and ended without being asked to; not reconnected

    GOAL_UP = 1
    GOAL_CONVERGED = 2
    GOAL_CHURN = 3
    GOAL_QUIET = 4

    READ_LEN = 262144       # octets a recv; four such buffers fit the second-level cache
    SEND_LEN = 262144       # octets a send
    MAX_EVENTS = 512
    TIMER_ID = 0xFFFFFFFF
    RETRY_NS = 200000000
    ANSWER_NS = 5000000000  # a connection without an OPEN after so long is tried again
    TICK_NS = 20000000
    KEEPALIVE_NS = 30000000000
    HOLD_TIME = 240         # s; long, for timers are not what is measured

# The same for Python.
AS4, EXTENDED, ADDPATH, IPV4, IPV6 = OPT_AS4, OPT_EXT_MSG, OPT_ADDPATH, OPT_IPV4, OPT_IPV6
UP, CONVERGED, CHURN, QUIET = GOAL_UP, GOAL_CONVERGED, GOAL_CHURN, GOAL_QUIET

cdef struct member_t:
    int fd
    uint8_t state           # ST_*
    uint8_t opts            # OPT_*
    uint8_t watched         # counts towards goals
    uint8_t ok              # holds exactly what it is due
    uint8_t sending         # its table may go out
    uint8_t armed           # EPOLLOUT is asked for
    uint16_t port
    uint32_t host           # daemon's address, host order
    uint32_t source         # our address, host order; 0 = any
    uint32_t asn
    uint32_t router_id
    uint32_t resets         # connections that ended before or after Established
    uint32_t error          # errno of the last failed connection, or code << 8 | subcode | 1 << 31
    int64_t rate            # octets a second to read when up; -1 = all there is
    int64_t budget          # octets that may be read now, when rate >= 0
    uint64_t retry_at       # ns
    uint64_t keepalive_at   # ns
    uint64_t t_connect      # ns, monotonic; 0 = not yet. First connect() of the current life
    uint64_t t_up
    uint64_t t_ok           # when it last became exact
    uint64_t t_sent         # table handed to the kernel in full
    const uint8_t *tx       # its table, borrowed
    uint64_t tx_len
    uint64_t tx_pos
    uint64_t announced_at   # NLRI received in all when this connection began
    uint8_t *ctl            # small messages: OPEN, KEEPALIVE, churn
    uint32_t ctl_len
    uint32_t ctl_cap
    uint8_t *carry          # start of a message that is not all here
    uint32_t carry_len
    uint32_t carry_cap
    uint64_t rx_bytes
    uint64_t tx_bytes
    holding_t holding       # its routes, and what is wrong with them


cdef inline uint64_t now_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * 1000000000 + <uint64_t>ts.tv_nsec


@cython.final
cdef class LoadClient:
    """Many BGP speakers and what they hold; see the stub for the interface."""

    cdef member_t *members
    cdef uint32_t n_members
    cdef uint32_t cap_members
    cdef int ep
    cdef int timer
    cdef Universe universe
    cdef uint8_t *rbuf              # MAX_EXT_MSG octets for a carried start, then READ_LEN
    cdef uint32_t n_watched
    cdef uint32_t n_up              # watched and up
    cdef uint32_t n_ok              # watched, exact and up
    cdef uint64_t t_last_update
    cdef uint64_t next_tick
    cdef uint64_t last_tick
    # Churn.
    cdef churn_t churned            # what came of it; arrays are ours
    cdef const uint8_t *churn_bytes
    cdef uint64_t *churn_off        # n_churn + 1
    cdef uint32_t *churn_who
    cdef uint32_t *churn_idx
    cdef uint32_t n_churn
    cdef uint32_t churn_next
    cdef uint64_t want_receipts
    cdef list keep                  # Python objects whose bytes we borrow

    def __cinit__(self, bytes prefixes4, bytes prefixes6=b""):
        self.keep = []
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.ep < 0 or self.timer < 0:
            raise OSError(errno, "no epoll or timer descriptor")
        self.universe = Universe(prefixes4, prefixes6)
        self.rbuf = <uint8_t *>malloc(MAX_EXT_MSG + READ_LEN)
        self.churned.hist = <uint64_t *>calloc(HIST_LEN, 8)
        if self.rbuf == NULL or self.churned.hist == NULL:
            raise MemoryError
        cdef epoll_event ev
        ev.events = EPOLLIN
        ev.data.u32 = TIMER_ID
        if epoll_ctl(self.ep, EPOLL_CTL_ADD, self.timer, &ev) < 0:
            raise OSError(errno, "cannot watch the timer")

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
        free(self.rbuf)
        free(self.churned.hist)
        free(self.churned.sent_at)
        free(self.churn_off)
        free(self.churn_who)
        free(self.churn_idx)
        if self.ep > 0:
            close(self.ep)
        if self.timer > 0:
            close(self.timer)

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

    cdef inline void _judge(self, member_t *m, uint64_t now) noexcept nogil:
        cdef uint8_t ok = holding_ok(&m.holding)
        if ok != m.ok:
            self._uncount(m)
            m.ok = ok
            if ok:
                m.t_ok = now
            self._count(m)

    cdef inline void _count(self, member_t *m) noexcept nogil:
        if m.watched:
            self.n_watched += 1
            if m.state == ST_UP:
                self.n_up += 1
                self.n_ok += m.ok

    cdef inline void _uncount(self, member_t *m) noexcept nogil:
        if m.watched:
            self.n_watched -= 1
            if m.state == ST_UP:
                self.n_up -= 1
                self.n_ok -= m.ok

    cdef void _set_state(self, member_t *m, uint8_t state) noexcept nogil:
        self._uncount(m)
        m.state = state
        self._count(m)

    # Phases.

    def connect(self, members):
        cdef uint64_t now = now_ns()
        cdef member_t *m
        for i in members:
            m = self._member(i)
            if m.fd >= 0:
                raise ValueError(f"member {i} is connected")
            m.t_connect = now
            m.t_up = m.t_ok = m.t_sent = 0
            m.tx_pos = 0
            m.sending = 0
            self.universe.forget(&m.holding)
            self._judge(m, now)
            self._connect(i, m, now)

    def start(self, members):
        cdef member_t *m
        for i in members:
            m = self._member(i)
            m.sending = 1
            m.tx_pos = 0
            m.t_sent = 0
            if m.state == ST_UP:
                self._write(i, m)

    def drop(self, members):
        cdef member_t *m
        for i in members:
            m = self._member(i)
            self._set_state(m, ST_IDLE)
            self._hang_up(m)

    def mark(self):
        """Begin a phase: t_first counts from here, and members that are exact are so from now."""
        cdef uint64_t now = now_ns()
        cdef uint32_t i
        for i in range(self.n_members):
            self.members[i].holding.t_first = 0
            self.members[i].t_ok = now if self.members[i].ok else 0
        return now

    def churn(self, list changes, double per_second, uint64_t receipts):
        cdef holding_t *h
        cdef uint32_t i
        cdef uint64_t gap
        cdef itimerspec its
        joined = b"".join([c[2] for c in changes])
        self.keep.append(joined)
        self.churn_bytes = joined
        self.n_churn = len(changes)
        free(self.churn_off)
        free(self.churn_who)
        free(self.churn_idx)
        free(self.churned.sent_at)
        self.churn_off = <uint64_t *>calloc(self.n_churn + 1, 8)
        self.churn_who = <uint32_t *>calloc(self.n_churn + 1, 4)
        self.churn_idx = <uint32_t *>calloc(self.n_churn + 1, 4)
        self.churned.sent_at = <uint64_t *>calloc(self.universe.n_prefixes, 8)
        if (self.churn_off == NULL or self.churn_who == NULL or self.churn_idx == NULL
                or self.churned.sent_at == NULL):
            raise MemoryError
        seen = set()
        for i in range(self.n_churn):
            who, idx, data = changes[i]
            self._member(who)
            if idx >= self.universe.n_prefixes or idx in seen:
                raise ValueError(f"change {i}: prefix {idx} is changed twice or is not there")
            seen.add(idx)
            self.churn_who[i] = who
            self.churn_idx[i] = idx
            self.churn_off[i + 1] = self.churn_off[i] + <uint64_t>len(data)
        for i in range(self.n_members):
            h = &self.members[i].holding
            if h.churned == NULL:
                h.churned = <uint64_t *>calloc(self.universe.n_words, 8)
                if h.churned == NULL:
                    raise MemoryError
            memset(h.churned, 0, self.universe.n_words * <size_t>8)
        memset(self.churned.hist, 0, HIST_LEN * 8)
        self.churned.longest = self.churned.receipts = 0
        self.want_receipts = receipts
        for i in range(self.n_churn):       # who makes a change does not receive it
            h = &self.members[self.churn_who[i]].holding
            h.churned[self.churn_idx[i] >> 6] |= <uint64_t>1 << (self.churn_idx[i] & 63)
        self.churn_next = 0
        self.universe.churn = &self.churned
        gap = <uint64_t>(1e9 / per_second)
        its.it_interval.tv_sec = its.it_value.tv_sec = gap // 1000000000
        its.it_interval.tv_nsec = its.it_value.tv_nsec = gap % 1000000000
        if timerfd_settime(self.timer, 0, &its, NULL) < 0:
            raise OSError(errno, "cannot set the churn timer")

    def churn_result(self):
        cdef uint64_t seen = 0
        cdef uint32_t i
        out = {"sent": self.churn_next, "receipts": self.churned.receipts,
               "max_ns": self.churned.longest}
        for name, share in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99),
                            ("p999_ns", 0.999)):
            seen = 0
            out[name] = 0
            for i in range(<uint32_t>HIST_LEN):
                seen += self.churned.hist[i]
                if self.churned.receipts and seen >= share * self.churned.receipts:
                    out[name] = hist_value(i)
                    break
        return out

    def churn_end(self):
        cdef itimerspec its
        memset(&its, 0, sizeof(its))
        timerfd_settime(self.timer, 0, &its, NULL)
        self.universe.churn = NULL

    def run(self, uint32_t goal, double seconds, double quiet_s=0.2):
        cdef uint64_t deadline = now_ns() + <uint64_t>(seconds * 1e9)
        cdef uint64_t quiet = <uint64_t>(quiet_s * 1e9)
        cdef uint64_t until, now
        cdef int met = 0
        if goal == GOAL_QUIET:
            self.t_last_update = now_ns()
        while not met:
            now = now_ns()
            if now >= deadline:
                return False
            until = now + 200000000         # back to Python now and then, for signals
            if until > deadline:
                until = deadline
            with nogil:
                met = self._loop(goal, until, quiet)
            if met < 0:
                raise OSError(errno, "epoll_wait failed")
        return True

    # What was seen.

    @property
    def members_total(self):
        return self.n_members

    @property
    def counts(self):
        return {"watched": self.n_watched, "up": self.n_up, "exact": self.n_ok}

    @property
    def last_update(self):
        return self.t_last_update

    def now(self):
        return now_ns()

    def member(self, uint32_t member):
        cdef member_t *m = self._member(member)
        cdef holding_t *h = &m.holding
        names = ("idle", "retry", "connecting", "open-sent", "open-confirm", "up", "lost")
        error = ""
        if m.error >> 31:
            error = f"NOTIFICATION {(m.error >> 8) & 0xFF}/{m.error & 0xFF}"
        elif m.error:
            error = strerror(<int>m.error).decode()
        return {
            "state": names[m.state], "error": error, "resets": m.resets, "exact": bool(m.ok),
            "missing": h.missing, "surplus": h.surplus, "echoed": h.echoed,
            "wrong_next_hop": h.nh_wrong, "unknown": h.unknown, "malformed": h.malformed,
            "t_connect": m.t_connect, "t_up": m.t_up, "t_first": h.t_first, "t_exact": m.t_ok,
            "t_sent": m.t_sent, "rx_bytes": m.rx_bytes, "tx_bytes": m.tx_bytes,
            "updates": h.updates, "announced": h.announced, "withdrawn": h.withdrawn,
            "end_of_rib": h.eor,
        }

    def holds(self, uint32_t member):
        cdef member_t *m = self._member(member)
        return self.universe.held(&m.holding)

    # The loop.

    cdef int _loop(self, uint32_t goal, uint64_t until, uint64_t quiet) noexcept nogil:
        """Run until the goal (1), the time `until` (0), or a fault of epoll_wait (-1)."""
        cdef epoll_event evs[MAX_EVENTS]
        cdef int n, i
        cdef uint32_t id
        cdef uint64_t now
        cdef member_t *m
        while True:
            if goal == GOAL_UP and self.n_up == self.n_watched:
                return 1
            if goal == GOAL_CONVERGED and self.n_ok == self.n_watched:
                return 1
            if (goal == GOAL_CHURN and self.churn_next == self.n_churn
                    and self.churned.receipts >= self.want_receipts):
                return 1
            n = epoll_wait(self.ep, evs, MAX_EVENTS, 20)
            if n < 0:
                if errno == EINTR:
                    return 0
                return -1
            for i in range(n):
                id = evs[i].data.u32
                if id == TIMER_ID:
                    self._churn_due()
                    continue
                m = &self.members[id]
                if m.fd < 0:
                    continue
                if m.state == ST_CONNECTING:
                    self._connected(id, m)
                    continue
                if evs[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP):
                    if m.rate < 0 or m.state != ST_UP or evs[i].events & (EPOLLERR | EPOLLHUP):
                        if self._read(id, m, READ_LEN) < 0:
                            continue
                if evs[i].events & EPOLLOUT:
                    self._write(id, m)
            now = now_ns()
            if now >= self.next_tick:
                self._tick(now)
            if now >= until:
                return 0
            if goal == GOAL_QUIET and now >= self.t_last_update + quiet:
                return 1

    cdef void _tick(self, uint64_t now) noexcept nogil:
        """Retries, keepalives and slow readers, every 20 ms."""
        cdef uint32_t i
        cdef uint64_t gap = now - self.last_tick
        cdef member_t *m
        if gap > 1000000000:
            gap = TICK_NS
        for i in range(self.n_members):
            m = &self.members[i]
            if m.state == ST_RETRY:
                if now >= m.retry_at:
                    self._connect(i, m, now)
            elif m.state == ST_CONNECTING or m.state == ST_OPEN_SENT:
                # A full listen queue drops handshakes without a word; TCP's own retries back off
                # for minutes.
                if now >= m.retry_at:
                    self._retry(m, ETIMEDOUT, now)
            elif m.state == ST_UP:
                if now >= m.keepalive_at:
                    m.keepalive_at = now + KEEPALIVE_NS
                    self._keepalive(i, m)
                if m.rate > 0 and m.state == ST_UP:
                    m.budget += <int64_t>(m.rate * gap // 1000000000)
                    if m.budget > m.rate:
                        m.budget = m.rate
                    if m.budget > 0:
                        self._read(i, m, m.budget if m.budget < READ_LEN else READ_LEN)
        self.last_tick = now
        self.next_tick = now + TICK_NS

    cdef void _churn_due(self) noexcept nogil:
        cdef uint64_t expired, now
        cdef uint32_t i, who
        cdef member_t *m
        if read(self.timer, &expired, 8) != 8:
            return
        while expired and self.churn_next < self.n_churn:
            i = self.churn_next
            who = self.churn_who[i]
            m = &self.members[who]
            self.churn_next += 1
            expired -= 1
            if m.state != ST_UP:
                continue
            now = now_ns()
            self.churned.sent_at[self.churn_idx[i]] = now
            self._control(m, self.churn_bytes + self.churn_off[i],
                          <uint32_t>(self.churn_off[i + 1] - self.churn_off[i]))
            self._write(who, m)

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

    cdef int _read(self, uint32_t id, member_t *m, uint64_t most) noexcept nogil:
        """Read once and digest whole messages; -1 when the session ended."""
        cdef uint8_t *p = self.rbuf + MAX_EXT_MSG
        cdef uint8_t *end
        cdef uint32_t n
        cdef uint64_t now
        cdef ssize_t got = recv(m.fd, p, most, 0)
        if got <= 0:
            if got < 0 and (errno == EAGAIN or errno == EINTR):
                return 0
            self._lost(m, errno if got < 0 else 0)
            return -1
        now = now_ns()
        if m.rate >= 0 and m.state == ST_UP:
            m.budget -= got
        m.rx_bytes += <uint64_t>got
        self.universe.warm(&m.holding, <size_t>got)
        end = p + got
        if m.carry_len:
            p -= m.carry_len
            memcpy(p, m.carry, m.carry_len)
            m.carry_len = 0
        while end - p >= HEADER_LEN:
            n = load16(p + 16)
            if n < HEADER_LEN or load64(p) != <uint64_t>-1 or load64(p + 8) != <uint64_t>-1:
                m.holding.malformed += 1
                self._lost(m, 0)
                return -1
            if end - p < n:
                break
            if p[18] == MSG_UPDATE:
                self.universe.digest(&m.holding, p + HEADER_LEN, n - HEADER_LEN, now)
                self.t_last_update = now
            elif self._other(id, m, p, n, now) < 0:
                return -1
            p += n
        if p < end:
            n = <uint32_t>(end - p)
            if n > m.carry_cap:
                free(m.carry)
                m.carry_cap = 0
                m.carry = <uint8_t *>malloc(n + 4096)
                if m.carry == NULL:
                    m.holding.malformed += 1
                    self._lost(m, 0)
                    return -1
                m.carry_cap = n + 4096
            memcpy(m.carry, p, n)
            m.carry_len = n
        self._judge(m, now)
        return 0

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
