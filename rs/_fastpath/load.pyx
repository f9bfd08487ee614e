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

from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, ETIMEDOUT, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strerror
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport close, read

from rs._fastpath.types cimport (
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    HEADER_LEN,
    MAX_EXT_MSG,
    MAX_MSG,
    MSG_KEEPALIVE,
    MSG_NOTIFICATION,
    MSG_OPEN,
    MSG_UPDATE,
)
from rs._fastpath.wire cimport load16, load32, load64, plen_bytes, prefix_load, store16, store32

cdef extern from "<netinet/in.h>" nogil:
    enum:
        AF_INET
        IPPROTO_IP
        IPPROTO_TCP
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    enum:
        IP_BIND_ADDRESS_NO_PORT
    uint32_t htonl(uint32_t)
    uint16_t htons(uint16_t)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    enum:
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
        MSG_NOSIGNAL
    int socket(int, int, int)
    int bind(int, const sockaddr *, unsigned int)
    int connect(int, const sockaddr *, unsigned int)
    int getsockopt(int, int, int, void *, unsigned int *)
    int setsockopt(int, int, int, const void *, unsigned int)
    ssize_t recv(int, void *, size_t, int)
    ssize_t send(int, const void *, size_t, int)

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CLOEXEC
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_NONBLOCK
        TFD_CLOEXEC
    int timerfd_create(int, int)
    int timerfd_settime(int, int, const itimerspec *, itimerspec *)

cdef extern from *:
    int __builtin_popcountll(unsigned long long) nogil
    int __builtin_clzll(unsigned long long) nogil

cdef enum:
    ST_IDLE = 0         # no socket
    ST_RETRY = 1        # no socket; connects again at retry_at
    ST_CONNECTING = 2
    ST_OPEN_SENT = 3
    ST_OPEN_CONFIRM = 4
    ST_UP = 5
    ST_LOST = 6         # was up and ended without being asked to; not reconnected

    # Options of a member, as add_member takes them.
    OPT_AS4 = 1
    OPT_EXT_MSG = 2
    OPT_ADDPATH = 4     # receive several paths a prefix
    OPT_IPV4 = 8
    OPT_IPV6 = 16

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
    HIST_LEN = 4096         # 64 buckets an octave: 1.6 % wide
    DIRECT_LEN = 1 << 24    # every IPv4 /24
    IDX_BITS = 26           # prefixes of a run: 67 million at most

# The same for Python.
AS4, EXTENDED, ADDPATH, IPV4, IPV6 = OPT_AS4, OPT_EXT_MSG, OPT_ADDPATH, OPT_IPV4, OPT_IPV6
UP, CONVERGED, CHURN, QUIET = GOAL_UP, GOAL_CONVERGED, GOAL_CHURN, GOAL_QUIET

cdef struct member_t:
    int fd
    uint8_t state           # ST_*
    uint8_t opts            # OPT_*
    uint8_t rx_addpath      # OPT_IPV4 | OPT_IPV6: families in which NLRI to us carry path ids
    uint8_t watched         # counts towards goals
    uint8_t ok              # holds exactly what it is due
    uint8_t sending         # its table may go out
    uint8_t armed           # EPOLLOUT is asked for
    uint8_t eor             # End-of-RIB seen: bit per family
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
    uint64_t t_first        # first NLRI since the last mark()
    uint64_t t_ok           # when it last became exact
    uint64_t t_sent         # table handed to the kernel in full
    const uint8_t *tx       # its table, borrowed
    uint64_t tx_len
    uint64_t tx_pos
    uint8_t *ctl            # small messages: OPEN, KEEPALIVE, churn
    uint32_t ctl_len
    uint32_t ctl_cap
    uint8_t *carry          # start of a message that is not all here
    uint32_t carry_len
    uint32_t carry_cap
    uint64_t *have          # bit per prefix
    uint64_t *due           # bit per prefix
    uint64_t *own           # bit per prefix that only this member brings, or NULL
    uint64_t *churned       # bit per prefix: its change came; NULL outside churn
    uint32_t *nh            # next hop (last 4 octets) per prefix; NULL = not sampled
    uint32_t *nh_due        # 0 = any
    uint64_t missing        # due and not had
    uint64_t surplus        # had, neither due nor own
    uint64_t echoed         # own prefixes that came back
    uint64_t nh_wrong       # due prefixes whose next hop is not the right one
    uint64_t unknown        # NLRI outside the universe
    uint64_t malformed
    uint64_t rx_bytes
    uint64_t tx_bytes
    uint64_t updates
    uint64_t announced      # NLRI
    uint64_t withdrawn


cdef inline uint64_t now_ns() noexcept nogil:
    cdef timespec ts
    clock_gettime(CLOCK_MONOTONIC, &ts)
    return <uint64_t>ts.tv_sec * 1000000000 + <uint64_t>ts.tv_nsec


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    x ^= x >> 32
    x *= <uint64_t>0x9E3779B97F4A7C15
    return x ^ (x >> 29)


cdef inline uint32_t hist_slot(uint64_t v) noexcept nogil:
    cdef uint32_t e
    if v < 128:
        return <uint32_t>v
    e = 63 - __builtin_clzll(v)
    return ((e - 5) << 6) + <uint32_t>((v >> (e - 6)) & 63)


cdef uint64_t hist_value(uint32_t slot) noexcept nogil:
    cdef uint32_t e
    if slot < 128:
        return slot
    e = (slot >> 6) + 5
    return ((<uint64_t>64 + (slot & 63)) << (e - 6)) + ((<uint64_t>1 << (e - 6)) >> 1)


cdef class LoadClient:
    """Many BGP speakers and what they hold; see the stub for the interface."""

    cdef member_t *members
    cdef uint32_t n_members
    cdef uint32_t cap_members
    cdef int ep
    cdef int timer
    cdef uint32_t n4                # IPv4 prefixes; index n4 is the first IPv6 prefix
    cdef uint32_t n_prefixes
    cdef uint32_t n_words           # 64-bit words of a bitmap
    cdef uint32_t *direct           # index + 1 by the upper 24 bits, for /24s
    cdef uint64_t *slots4           # key << IDX_BITS | index + 1; key = length << 32 | address
    cdef uint64_t mask4
    cdef uint32_t *slots6           # index + 1
    cdef uint64_t mask6
    cdef const uint8_t *keys6       # 17 octets a prefix
    cdef uint8_t *rbuf              # MAX_EXT_MSG octets for a carried start, then READ_LEN
    cdef uint32_t n_watched
    cdef uint32_t n_up              # watched and up
    cdef uint32_t n_ok              # watched, exact and up
    cdef uint64_t t_last_update
    cdef uint64_t next_tick
    cdef uint64_t last_tick
    # Churn.
    cdef uint64_t *sent_at          # ns by prefix, 0 = not changed
    cdef uint64_t *hist
    cdef const uint8_t *churn_bytes
    cdef uint64_t *churn_off        # n_churn + 1
    cdef uint32_t *churn_who
    cdef uint32_t *churn_idx
    cdef uint32_t n_churn
    cdef uint32_t churn_next
    cdef uint64_t n_receipts
    cdef uint64_t want_receipts
    cdef uint64_t lat_max
    cdef bint churning
    cdef list keep                  # Python objects whose bytes we borrow

    def __cinit__(self, bytes prefixes4, bytes prefixes6=b""):
        self.keep = [prefixes4, prefixes6]
        self.ep = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.ep < 0 or self.timer < 0:
            raise OSError(errno, "no epoll or timer descriptor")
        if len(prefixes4) % 5 or len(prefixes6) % 17:
            raise ValueError("prefixes are 4 + 1 octets (IPv4) and 16 + 1 octets (IPv6) each")
        self.n4 = len(prefixes4) // 5
        self.n_prefixes = self.n4 + len(prefixes6) // 17
        if self.n_prefixes == 0 or self.n_prefixes >= (1 << IDX_BITS) - 1:
            raise ValueError(f"{self.n_prefixes} prefixes; want 1 to {(1 << IDX_BITS) - 2}")
        self.n_words = (self.n_prefixes + 63) >> 6
        self.rbuf = <uint8_t *>malloc(MAX_EXT_MSG + READ_LEN)
        self.hist = <uint64_t *>calloc(HIST_LEN, 8)
        if self.rbuf == NULL or self.hist == NULL:
            raise MemoryError
        self._index(prefixes4, prefixes6)
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
            for p in (<size_t>m.ctl, <size_t>m.carry, <size_t>m.have, <size_t>m.due,
                      <size_t>m.own, <size_t>m.churned, <size_t>m.nh, <size_t>m.nh_due):
                free(<void *><size_t>p)
        free(self.members)
        free(self.direct)
        free(self.slots4)
        free(self.slots6)
        free(self.rbuf)
        free(self.hist)
        free(self.sent_at)
        free(self.churn_off)
        free(self.churn_who)
        free(self.churn_idx)
        if self.ep > 0:
            close(self.ep)
        if self.timer > 0:
            close(self.timer)

    # The universe of prefixes.

    cdef int _index(self, bytes prefixes4, bytes prefixes6) except -1:
        cdef const uint8_t *p = prefixes4
        cdef uint32_t i
        cdef uint64_t key, at, want = 16
        while want < 2 * <uint64_t>self.n4:
            want <<= 1
        self.mask4 = want - 1
        self.slots4 = <uint64_t *>calloc(want, 8)
        self.direct = <uint32_t *>calloc(DIRECT_LEN, 4)     # pages are touched as they are used
        if self.slots4 == NULL or self.direct == NULL:
            raise MemoryError
        for i in range(self.n4):
            if p[4] == 24:
                if self.direct[load32(p) >> 8]:
                    raise ValueError(f"IPv4 prefix {i} is there twice")
                self.direct[load32(p) >> 8] = i + 1
            else:
                key = (<uint64_t>p[4] << 32) | load32(p)
                at = mix(key) & self.mask4
                while self.slots4[at]:
                    if self.slots4[at] >> IDX_BITS == key:
                        raise ValueError(f"IPv4 prefix {i} is there twice")
                    at = (at + 1) & self.mask4
                self.slots4[at] = (key << IDX_BITS) | (i + 1)
            p += 5
        want = 16
        while want < 2 * <uint64_t>(self.n_prefixes - self.n4):
            want <<= 1
        self.mask6 = want - 1
        self.slots6 = <uint32_t *>calloc(want, 4)
        if self.slots6 == NULL:
            raise MemoryError
        self.keys6 = prefixes6
        p = self.keys6
        for i in range(self.n_prefixes - self.n4):
            at = mix(load64(p) ^ mix(load64(p + 8) + p[16])) & self.mask6
            while self.slots6[at]:
                if memcmp(self.keys6 + 17 * (self.slots6[at] - 1), p, 17) == 0:
                    raise ValueError(f"IPv6 prefix {i} is there twice")
                at = (at + 1) & self.mask6
            self.slots6[at] = i + 1
            p += 17
        return 0

    cdef inline uint32_t _find4(self, uint32_t plen, uint32_t addr) noexcept nogil:
        """Index + 1, or 0 for a prefix outside the universe."""
        cdef uint64_t key = (<uint64_t>plen << 32) | addr
        cdef uint64_t at = mix(key) & self.mask4
        while self.slots4[at]:
            if self.slots4[at] >> IDX_BITS == key:
                return <uint32_t>(self.slots4[at] & ((1 << IDX_BITS) - 1))
            at = (at + 1) & self.mask4
        return 0

    cdef uint32_t _find6(self, const uint8_t *key) noexcept nogil:
        cdef uint64_t at = mix(load64(key) ^ mix(load64(key + 8) + key[16])) & self.mask6
        while self.slots6[at]:
            if memcmp(self.keys6 + 17 * (self.slots6[at] - 1), key, 17) == 0:
                return self.n4 + self.slots6[at]
            at = (at + 1) & self.mask6
        return 0

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
        m.have = <uint64_t *>calloc(self.n_words, 8)
        m.due = <uint64_t *>calloc(self.n_words, 8)
        self.n_members += 1         # from here __dealloc__ frees it
        if m.have == NULL or m.due == NULL:
            raise MemoryError
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

    cdef int _bits(self, bytes given, uint64_t **out) except -1:
        """Copy a bitmap (least significant bit first) into `out`, which is allocated when NULL."""
        if len(given) != (self.n_prefixes + 7) // 8:
            raise ValueError(f"bitmap of {len(given)} octets; want {(self.n_prefixes + 7) // 8}")
        if self.n_prefixes & 7 and given[len(given) - 1] >> (self.n_prefixes & 7):
            raise ValueError("bitmap has bits past the last prefix")
        if out[0] == NULL:
            out[0] = <uint64_t *>calloc(self.n_words, 8)
            if out[0] == NULL:
                raise MemoryError
        memset(out[0], 0, self.n_words * 8)
        memcpy(out[0], <const uint8_t *>given, len(given))
        return 0

    def set_due(self, uint32_t member, bytes due, bytes own=None):
        cdef member_t *m = self._member(member)
        self._bits(due, &m.due)
        if own is not None:
            self._bits(own, &m.own)
        self._recount(m)

    def set_due_next_hops(self, uint32_t member, bytes next_hops):
        cdef member_t *m = self._member(member)
        if len(next_hops) != 4 * self.n_prefixes:
            raise ValueError(f"{len(next_hops)} octets of next hops; want {4 * self.n_prefixes}")
        if m.nh == NULL:
            m.nh = <uint32_t *>calloc(self.n_prefixes, 4)
            m.nh_due = <uint32_t *>calloc(self.n_prefixes, 4)
            if m.nh == NULL or m.nh_due == NULL:
                raise MemoryError
        memcpy(m.nh_due, <const uint8_t *>next_hops, len(next_hops))
        self._recount(m)

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

    cdef void _recount(self, member_t *m) noexcept nogil:
        """Count a member's faults from its bitmaps."""
        cdef uint32_t w, i
        cdef uint64_t own
        m.missing = m.surplus = m.echoed = m.nh_wrong = 0
        for w in range(self.n_words):
            own = m.own[w] if m.own != NULL else 0
            m.missing += __builtin_popcountll(m.due[w] & ~m.have[w])
            m.surplus += __builtin_popcountll(m.have[w] & ~m.due[w] & ~own)
            m.echoed += __builtin_popcountll(m.have[w] & ~m.due[w] & own)
        if m.nh != NULL:
            for i in range(self.n_prefixes):
                if m.nh_due[i] and m.nh[i] != m.nh_due[i]:
                    m.nh_wrong += 1
        self._judge(m, now_ns())

    cdef inline void _judge(self, member_t *m, uint64_t now) noexcept nogil:
        cdef uint8_t ok = (m.missing | m.surplus | m.nh_wrong | m.unknown | m.malformed) == 0
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
            m.t_up = m.t_first = m.t_ok = m.t_sent = 0
            m.tx_pos = 0
            m.sending = 0
            m.eor = 0
            memset(m.have, 0, self.n_words * 8)
            if m.nh != NULL:
                memset(m.nh, 0, 4 * <size_t>self.n_prefixes)
            self._recount(m)
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
            self.members[i].t_first = 0
            self.members[i].t_ok = now if self.members[i].ok else 0
        return now

    def churn(self, list changes, double per_second, uint64_t receipts):
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
        free(self.sent_at)
        self.churn_off = <uint64_t *>calloc(self.n_churn + 1, 8)
        self.churn_who = <uint32_t *>calloc(self.n_churn + 1, 4)
        self.churn_idx = <uint32_t *>calloc(self.n_churn + 1, 4)
        self.sent_at = <uint64_t *>calloc(self.n_prefixes, 8)
        if (self.churn_off == NULL or self.churn_who == NULL or self.churn_idx == NULL
                or self.sent_at == NULL):
            raise MemoryError
        seen = set()
        for i in range(self.n_churn):
            who, idx, data = changes[i]
            self._member(who)
            if idx >= self.n_prefixes or idx in seen:
                raise ValueError(f"change {i}: prefix {idx} is changed twice or is not there")
            seen.add(idx)
            self.churn_who[i] = who
            self.churn_idx[i] = idx
            self.churn_off[i + 1] = self.churn_off[i] + <uint64_t>len(data)
        for i in range(self.n_members):
            if self.members[i].churned == NULL:
                self.members[i].churned = <uint64_t *>calloc(self.n_words, 8)
                if self.members[i].churned == NULL:
                    raise MemoryError
            memset(self.members[i].churned, 0, self.n_words * 8)
        memset(self.hist, 0, HIST_LEN * 8)
        self.lat_max = self.n_receipts = 0
        self.want_receipts = receipts
        for i in range(self.n_churn):       # who makes a change does not receive it
            self.members[self.churn_who[i]].churned[self.churn_idx[i] >> 6] |= (
                <uint64_t>1 << (self.churn_idx[i] & 63))
        self.churn_next = 0
        self.churning = True
        gap = <uint64_t>(1e9 / per_second)
        its.it_interval.tv_sec = its.it_value.tv_sec = gap // 1000000000
        its.it_interval.tv_nsec = its.it_value.tv_nsec = gap % 1000000000
        if timerfd_settime(self.timer, 0, &its, NULL) < 0:
            raise OSError(errno, "cannot set the churn timer")

    def churn_result(self):
        cdef uint64_t seen = 0
        cdef uint32_t i
        out = {"sent": self.churn_next, "receipts": self.n_receipts, "max_ns": self.lat_max}
        for name, share in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99),
                            ("p999_ns", 0.999)):
            seen = 0
            out[name] = 0
            for i in range(HIST_LEN):
                seen += self.hist[i]
                if self.n_receipts and seen >= share * self.n_receipts:
                    out[name] = hist_value(i)
                    break
        return out

    def churn_end(self):
        cdef itimerspec its
        memset(&its, 0, sizeof(its))
        timerfd_settime(self.timer, 0, &its, NULL)
        self.churning = False

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
        names = ("idle", "retry", "connecting", "open-sent", "open-confirm", "up", "lost")
        error = ""
        if m.error >> 31:
            error = f"NOTIFICATION {(m.error >> 8) & 0xFF}/{m.error & 0xFF}"
        elif m.error:
            error = strerror(<int>m.error).decode()
        return {
            "state": names[m.state], "error": error, "resets": m.resets, "exact": bool(m.ok),
            "missing": m.missing, "surplus": m.surplus, "echoed": m.echoed,
            "wrong_next_hop": m.nh_wrong, "unknown": m.unknown, "malformed": m.malformed,
            "t_connect": m.t_connect, "t_up": m.t_up, "t_first": m.t_first, "t_exact": m.t_ok,
            "t_sent": m.t_sent, "rx_bytes": m.rx_bytes, "tx_bytes": m.tx_bytes,
            "updates": m.updates, "announced": m.announced, "withdrawn": m.withdrawn,
            "end_of_rib": m.eor,
        }

    def holds(self, uint32_t member):
        cdef member_t *m = self._member(member)
        return (<const uint8_t *>m.have)[:(self.n_prefixes + 7) // 8]

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
                    and self.n_receipts >= self.want_receipts):
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
            self.sent_at[self.churn_idx[i]] = now
            self._control(m, self.churn_bytes + self.churn_off[i],
                          <uint32_t>(self.churn_off[i + 1] - self.churn_off[i]))
            self._write(who, m)

    # Connections.

    cdef void _connect(self, uint32_t id, member_t *m, uint64_t now) noexcept nogil:
        cdef sockaddr_in sa
        cdef epoll_event ev
        cdef int one = 1
        m.carry_len = m.ctl_len = 0
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
        """The other side ended it: retried while no route has passed, a fault after that."""
        if m.state == ST_UP and (m.sending or m.announced):
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
        cdef uint8_t msg[128]
        if getsockopt(m.fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0:
            error = errno
        if error:
            self._retry(m, error, now_ns())
            return
        self._set_state(m, ST_OPEN_SENT)
        self._control(m, msg, self._open(m, msg))
        self._write(id, m)

    cdef uint32_t _open(self, member_t *m, uint8_t *msg) noexcept nogil:
        """Write an OPEN (RFC 4271 4.2); one Capabilities parameter (RFC 5492 4)."""
        cdef uint8_t *p = msg + 31
        memset(msg, 0xFF, 16)
        msg[18] = MSG_OPEN
        msg[19] = 4
        store16(msg + 20, m.asn if m.asn < 65536 else 23456)
        store16(msg + 22, 240)      # hold time: long, for what is measured is not the timers
        store32(msg + 24, m.router_id)
        if m.opts & OPT_IPV4:
            store16(p, 0x0104)
            store32(p + 2, 0x00010001)
            p += 6
        if m.opts & OPT_IPV6:
            store16(p, 0x0104)
            store32(p + 2, 0x00020001)
            p += 6
        store16(p, 0x0200)          # route refresh: BIRD logs its absence for each session
        p += 2
        if m.opts & OPT_EXT_MSG:
            store16(p, 0x0600)
            p += 2
        if m.opts & OPT_AS4:
            store16(p, 0x4104)
            store32(p + 2, m.asn)
            p += 6
        if m.opts & OPT_ADDPATH:
            p[0] = 69
            p[1] = 0
            p += 2
            if m.opts & OPT_IPV4:
                store32(p, 0x00010101)
                p[-1] += 4
                p += 4
            if m.opts & OPT_IPV6:
                store32(p, 0x00020101)
                p[-5 if m.opts & OPT_IPV4 else -1] += 4
                p += 4
        msg[28] = <uint8_t>(p - msg - 29)
        msg[29] = 2
        msg[30] = <uint8_t>(p - msg - 31)
        store16(msg + 16, <uint32_t>(p - msg))
        return <uint32_t>(p - msg)

    cdef void _keepalive(self, uint32_t id, member_t *m) noexcept nogil:
        cdef uint8_t msg[HEADER_LEN]
        # Whoever is sending its table needs none, and none may be put into a message half sent.
        if m.state == ST_UP and m.sending and m.tx_pos < m.tx_len:
            return
        memset(msg, 0xFF, 16)
        store16(msg + 16, HEADER_LEN)
        msg[18] = MSG_KEEPALIVE
        self._control(m, msg, HEADER_LEN)
        self._write(id, m)

    # Sending.

    cdef void _control(self, member_t *m, const uint8_t *data, uint32_t n) noexcept nogil:
        """Queue small messages; they go out before a table starts, or after it is out."""
        cdef uint8_t *grown
        if m.ctl_len + n > m.ctl_cap:
            grown = <uint8_t *>realloc(m.ctl, 2 * (m.ctl_len + n) + 256)
            if grown == NULL:
                m.malformed += 1    # shows in the result: this member can no longer be exact
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
        end = p + got
        if m.carry_len:
            p -= m.carry_len
            memcpy(p, m.carry, m.carry_len)
            m.carry_len = 0
        while end - p >= HEADER_LEN:
            n = load16(p + 16)
            if n < HEADER_LEN or load64(p) != <uint64_t>-1 or load64(p + 8) != <uint64_t>-1:
                m.malformed += 1
                self._lost(m, 0)
                return -1
            if end - p < n:
                break
            if p[18] == MSG_UPDATE:
                self._update(m, p + HEADER_LEN, n - HEADER_LEN, now)
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
                    m.malformed += 1
                    self._lost(m, 0)
                    return -1
                m.carry_cap = n + 4096
            memcpy(m.carry, p, n)
            m.carry_len = n
        self._judge(m, now)
        return 0

    cdef int _other(self, uint32_t id, member_t *m, const uint8_t *p, uint32_t n,
                    uint64_t now) noexcept nogil:
        """OPEN, KEEPALIVE, NOTIFICATION; anything else is passed over. -1 when the session ended."""
        if p[18] == MSG_OPEN and m.state == ST_OPEN_SENT and n >= 29:
            self._capabilities(m, p, n)
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

    cdef void _capabilities(self, member_t *m, const uint8_t *p, uint32_t n) noexcept nogil:
        """See for which families we are sent path identifiers (RFC 7911 4)."""
        cdef const uint8_t *end = p + 29 + p[28]
        cdef const uint8_t *cap
        cdef const uint8_t *stop
        cdef const uint8_t *v
        m.rx_addpath = 0
        if end > p + n:
            end = p + n
        p += 29
        while p + 2 <= end and p + 2 + p[1] <= end:
            if p[0] == 2:
                cap = p + 2
                stop = cap + p[1]
                while cap + 2 <= stop and cap + 2 + cap[1] <= stop:
                    v = cap + 2
                    while cap[0] == 69 and v + 4 <= cap + 2 + cap[1]:
                        if v[2] == 1 and v[3] & 2 and m.opts & OPT_ADDPATH:
                            m.rx_addpath |= OPT_IPV4 if load16(v) == 1 else OPT_IPV6
                        v += 4
                    cap += 2 + cap[1]
            p += 2 + p[1]

    cdef void _update(self, member_t *m, const uint8_t *p, uint32_t n, uint64_t now) noexcept nogil:
        cdef uint32_t w_len, a_len
        cdef uint32_t nh = 0
        cdef const uint8_t *attrs
        m.updates += 1
        self.t_last_update = now
        if n < 4:
            m.malformed += 1
            return
        w_len = load16(p)
        if w_len + 4 > n:
            m.malformed += 1
            return
        a_len = load16(p + 2 + w_len)
        if w_len + a_len + 4 > n:
            m.malformed += 1
            return
        if n == 4:
            m.eor |= OPT_IPV4
            return
        attrs = p + 4 + w_len
        n -= 4 + w_len + a_len
        # Attributes are looked into only where they can hold something that is judged.
        if self.n_prefixes > self.n4 or n == 0 or m.nh != NULL:
            nh = self._attributes(m, attrs, a_len, now)
        if w_len:
            self._nlri4(m, p + 2, w_len, False, 0, now)
        if n:
            self._nlri4(m, attrs + a_len, n, True, nh, now)

    cdef uint32_t _attributes(self, member_t *m, const uint8_t *p, uint32_t n,
                              uint64_t now) noexcept nogil:
        """Walk the attributes: digest MP_REACH and MP_UNREACH, return NEXT_HOP."""
        cdef const uint8_t *end = p + n
        cdef const uint8_t *v
        cdef uint32_t len, nh = 0
        while end - p >= 3:
            if p[0] & 0x10:
                if end - p < 4:
                    break
                len = load16(p + 2)
                v = p + 4
            else:
                len = p[2]
                v = p + 3
            if end - v < len:
                break
            if p[1] == ATTR_NEXT_HOP and len == 4:
                nh = load32(v)
            elif p[1] == ATTR_MP_REACH and len >= 5 and 5 + <uint32_t>v[3] <= len:
                self._multi(m, v, v + 5 + v[3], v + len,
                            load32(v + 4 + (v[3] if v[3] < 16 else 16) - 4), True, now)
            elif p[1] == ATTR_MP_UNREACH and len >= 3:
                if len == 3 and load16(v) == 2:
                    m.eor |= OPT_IPV6
                self._multi(m, v, v + 3, v + len, 0, False, now)
            p = v + len
        if p != end:
            m.malformed += 1
        return nh

    cdef void _multi(self, member_t *m, const uint8_t *v, const uint8_t *p, const uint8_t *end,
                     uint32_t nh, bint announce, uint64_t now) noexcept nogil:
        if v[2] != 1 or p == end:
            return
        if load16(v) == 1:
            self._nlri4(m, p, <uint32_t>(end - p), announce, nh, now)
        elif load16(v) == 2:
            self._nlri6(m, p, <uint32_t>(end - p), announce, nh, now)

    cdef void _nlri4(self, member_t *m, const uint8_t *p, uint32_t n, bint announce, uint32_t nh,
                     uint64_t now) noexcept nogil:
        cdef const uint8_t *end = p + n
        cdef uint32_t plen, at, skip = 4 if m.rx_addpath & OPT_IPV4 else 0
        cdef uint8_t addr[4]
        while p < end:
            p += skip
            if p >= end:
                m.malformed += 1
                return
            plen = p[0]
            if plen > 32 or end - p < 1 + plen_bytes(plen):
                m.malformed += 1
                return
            if plen == 24:
                at = self.direct[(<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]]
                p += 4
            else:
                p += 1 + prefix_load(p + 1, plen, addr, 4)
                at = self._find4(plen, load32(addr))
            self._change(m, at, announce, nh, now)

    cdef void _nlri6(self, member_t *m, const uint8_t *p, uint32_t n, bint announce, uint32_t nh,
                     uint64_t now) noexcept nogil:
        cdef const uint8_t *end = p + n
        cdef uint32_t plen, skip = 4 if m.rx_addpath & OPT_IPV6 else 0
        cdef uint8_t key[17]
        while p < end:
            p += skip
            if p >= end:
                m.malformed += 1
                return
            plen = p[0]
            if plen > 128 or end - p < 1 + plen_bytes(plen):
                m.malformed += 1
                return
            p += 1 + prefix_load(p + 1, plen, key, 16)
            key[16] = <uint8_t>plen
            self._change(m, self._find6(key), announce, nh, now)

    cdef inline void _change(self, member_t *m, uint32_t at, bint announce, uint32_t nh,
                             uint64_t now) noexcept nogil:
        """One NLRI, as index + 1: set or clear the bit and keep the counts of faults."""
        cdef uint32_t w
        cdef uint64_t bit
        if announce:
            m.announced += 1
            if m.t_first == 0:
                m.t_first = now
        else:
            m.withdrawn += 1
        if at == 0:
            m.unknown += announce   # withdrawing what nobody has is harmless (RFC 4271 9)
            return
        at -= 1
        w = at >> 6
        bit = <uint64_t>1 << (at & 63)
        if ((m.have[w] & bit) != 0) != announce:
            m.have[w] ^= bit
            if m.due[w] & bit:
                if announce:
                    m.missing -= 1
                else:
                    m.missing += 1
            elif m.own != NULL and m.own[w] & bit:
                m.echoed += 1 if announce else -1
            else:
                m.surplus += 1 if announce else -1
        if m.nh != NULL:
            if m.nh_due[at]:
                m.nh_wrong += m.nh[at] == m.nh_due[at]
                m.nh_wrong -= nh == m.nh_due[at]
            m.nh[at] = nh
        if self.churning and self.sent_at[at] and not m.churned[w] & bit:
            m.churned[w] |= bit
            now -= self.sent_at[at]
            self.n_receipts += 1
            self.hist[hist_slot(now)] += 1
            if now > self.lat_max:
                self.lat_max = now


cdef inline void memcpy_down(uint8_t *base, uint32_t off, uint32_t n) noexcept nogil:
    """Move `n` octets at `off` to the start of `base`."""
    cdef uint32_t i
    for i in range(n):
        base[i] = base[off + i]
