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
from libc.errno cimport EAGAIN, EINTR, ETIMEDOUT, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strerror
from posix.time cimport CLOCK_MONOTONIC, itimerspec
from posix.unistd cimport close, read

from rs._fastpath.hello cimport OPT_ADDPATH, OPT_AS4, OPT_EXT_MSG, OPT_IPV4, OPT_IPV6
from rs._fastpath.judge cimport HIST_LEN, churn_t, hist_value, holding_t
from rs._fastpath.net cimport (
    EPOLL_CTL_ADD,
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    TFD_CLOEXEC,
    TFD_NONBLOCK,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    recv,
    timerfd_create,
    timerfd_settime,
)
from rs._fastpath.speakers cimport (
    KEEPALIVE_NS,
    ST_CONNECTING,
    ST_IDLE,
    ST_OPEN_SENT,
    ST_RETRY,
    ST_UP,
    Speakers,
    member_t,
    now_ns,
)
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport HEADER_LEN, MAX_EXT_MSG, MSG_UPDATE
from rs._fastpath.wire cimport load16, load64

check_abi(__name__)

cdef enum:
    GOAL_UP = 1
    GOAL_CONVERGED = 2
    GOAL_CHURN = 3
    GOAL_QUIET = 4

    READ_LEN = 262144       # octets a recv; four such buffers fit the second-level cache
    MAX_EVENTS = 512
    TIMER_ID = 0xFFFFFFFF
    TICK_NS = 20000000

# The same for Python.
AS4, EXTENDED, ADDPATH, IPV4, IPV6 = OPT_AS4, OPT_EXT_MSG, OPT_ADDPATH, OPT_IPV4, OPT_IPV6
UP, CONVERGED, CHURN, QUIET = GOAL_UP, GOAL_CONVERGED, GOAL_CHURN, GOAL_QUIET


@cython.final
cdef class LoadClient(Speakers):
    """Many BGP speakers and what they hold; see the stub for the interface."""

    cdef int timer
    cdef uint8_t *rbuf              # MAX_EXT_MSG octets for a carried start, then READ_LEN
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

    def __cinit__(self, bytes prefixes4, bytes prefixes6=b""):
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.timer < 0:
            raise OSError(errno, "no timer descriptor")
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
        free(self.rbuf)
        free(self.churned.hist)
        free(self.churned.sent_at)
        free(self.churn_off)
        free(self.churn_who)
        free(self.churn_idx)
        if self.timer > 0:
            close(self.timer)

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
