# Many BGP speakers: their sessions, and who of them counts. Implementation: speakers.pyx.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from rs._fastpath.judge cimport Universe, holding_t

cdef enum:
    KEEPALIVE_NS = 30000000000

    ST_IDLE = 0         # no socket
    ST_RETRY = 1        # no socket; connects again at retry_at
    ST_CONNECTING = 2
    ST_OPEN_SENT = 3
    ST_OPEN_CONFIRM = 4
    ST_UP = 5
    ST_LOST = 6         # was up and ended without being asked to; not reconnected

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


cdef class Speakers:
    cdef member_t *members
    cdef uint32_t n_members
    cdef uint32_t cap_members
    cdef int ep
    cdef Universe universe
    cdef uint32_t n_watched
    cdef uint32_t n_up              # watched and up
    cdef uint32_t n_ok              # watched, exact and up
    cdef list keep                  # Python objects whose bytes we borrow

    cdef member_t *_member(self, uint32_t i) except NULL
    cdef _set_table(self, member_t *m, bytes table)
    cdef void _judge(self, member_t *m, uint64_t now) noexcept nogil
    cdef void _count(self, member_t *m) noexcept nogil
    cdef void _uncount(self, member_t *m) noexcept nogil
    cdef void _set_state(self, member_t *m, uint8_t state) noexcept nogil

    cdef void _connect(self, uint32_t id, member_t *m, uint64_t now) noexcept nogil
    cdef void _hang_up(self, member_t *m) noexcept nogil
    cdef void _retry(self, member_t *m, int error, uint64_t now) noexcept nogil
    cdef void _lost(self, member_t *m, int error) noexcept nogil
    cdef void _connected(self, uint32_t id, member_t *m) noexcept nogil
    cdef void _keepalive(self, uint32_t id, member_t *m) noexcept nogil
    cdef void _control(self, member_t *m, const uint8_t *data, uint32_t n) noexcept nogil
    cdef int _send(self, member_t *m, const uint8_t *data, uint64_t n) noexcept nogil
    cdef void _write(self, uint32_t id, member_t *m) noexcept nogil
    cdef void _arm(self, uint32_t id, member_t *m) noexcept nogil
    cdef int _other(self, uint32_t id, member_t *m, const uint8_t *p, uint32_t n,
                    uint64_t now) noexcept nogil
