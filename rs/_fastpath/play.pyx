"""Replay: one peer's recorded routes as UPDATEs, and a sink for what the other side sends.

In: a Table and a Rewriter; octets received. Out: octets for the wire, whole messages only, in
pieces of the size asked for; counts. Owns only its place in the table. Nothing here knows sockets
or time.

RFC 4271 4.3, RFC 4760, RFC 7911; RFC 8950 for IPv4 routes with IPv6 next hops.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from rs._fastpath.mrttable cimport Table, block_t
from rs._fastpath.recode cimport NO_BLOCK, Rewriter, finish_message, message_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    ATTR_NEXT_HOP,
    FAM_IPV6,
    HEADER_LEN,
    MAX_EXT_MSG,
    MAX_MSG,
    MSG_KEEPALIVE,
    MSG_NOTIFICATION,
    MSG_OPEN,
    MSG_ROUTE_REFRESH,
    MSG_UPDATE,
)
from rs._fastpath.wire cimport load16, plen_bytes, store32

cimport cython

check_abi(__name__)


cdef bint has_next_hop(const uint8_t *p, uint32_t n) noexcept nogil:
    cdef const uint8_t *end = p + n
    while p < end:
        if p[1] == ATTR_NEXT_HOP:
            return True
        p += 4 + load16(p + 2) if p[0] & AFLAG_EXT_LEN else 3 + <uint32_t>p[2]
    return False


@cython.final
cdef class Packer:
    """See play.pyi."""

    def __cinit__(self, Table table not None, uint32_t peer, uint32_t family,
                  Rewriter rewriter not None, *, bint valid_only=False):
        if family > FAM_IPV6:
            raise ValueError(f"no such family: {family}")
        self.table = table
        self.rewriter = rewriter
        self.peer = peer
        self.family = family
        self.valid_only = valid_only
        self.rows = table.sealed(peer, family, 0)

    def next(self, uint64_t room=1 << 18) -> bytes:
        """See play.pyi."""
        cdef uint64_t used = 0
        cdef bytes out
        if room < self.rewriter.max_len:
            raise ValueError(f"a message may need {self.rewriter.max_len} octets")
        out = PyBytes_FromStringAndSize(NULL, room)
        # The object is ours alone until it is returned.
        self.pack(<uint8_t *>PyBytes_AS_STRING(out), room, &used)
        return out[:used]

    cdef uint32_t block_end(self) noexcept nogil:
        """Return the first row behind those that share the current one's block."""
        cdef uint32_t i = self.at
        cdef uint32_t block = self.rows.rows[i].block
        while i < self.rows.n and self.rows.rows[i].block == block:
            i += 1
        return i

    cdef int pack(self, uint8_t *out, uint64_t room, uint64_t *used) except -1:
        """Fill `out` with whole messages; `used` is 0 after the last route."""
        cdef Rewriter r = self.rewriter
        cdef Table t = self.table
        cdef block_t *b
        cdef message_t m
        cdef uint32_t attrs_len, hop_len, end, size
        cdef const uint8_t *hop
        cdef const uint8_t *hop4
        cdef const uint8_t *p
        cdef bint mp, want_ids = (r.addpath >> self.family) & 1
        while True:
            if self.rows == NULL or self.at == self.rows.n:
                if self.stored_ids:
                    return 0
                self.stored_ids = 1
                self.at = 0
                self.rows = t.sealed(self.peer, self.family, 1)
                continue
            with nogil:
                while self.at < self.rows.n:
                    b = t.blocks + self.rows.rows[self.at].block
                    end = self.block_end()
                    hop = t.octets + b.at + 2       # see Table.set_key
                    hop_len = b.nh_len
                    hop4 = r.hop4 if r.set_hop4 else NULL
                    mp = True
                    if self.family == FAM_IPV6:
                        hop = r.hop_for(FAM_IPV6, hop, &hop_len)
                        hop4 = NULL
                        attrs_len = 0 if hop_len == 16 or hop_len == 32 else NO_BLOCK
                    elif hop_len == 0:
                        mp = False
                        attrs_len = 0
                        if hop4 == NULL and not has_next_hop(t.octets + b.wire, b.wire_len):
                            attrs_len = NO_BLOCK
                    elif hop_len == 4 or hop4 != NULL:
                        mp = False
                        attrs_len = 0
                        if hop4 == NULL:
                            hop4 = hop
                    else:
                        attrs_len = 0 if r.ext_next_hop and (hop_len == 16 or hop_len == 32) \
                            else NO_BLOCK
                    if attrs_len != NO_BLOCK and (b.valid or not self.valid_only):
                        attrs_len = r.rewrite(t.octets + b.wire, b.wire_len, True, hop4)
                    else:
                        attrs_len = NO_BLOCK
                    # the longest NLRI: identifier, length, 16 octets
                    if attrs_len == NO_BLOCK \
                            or HEADER_LEN + 13 + hop_len + attrs_len + 21 > r.max_len:
                        self.n_skipped += end - self.at
                        self.at = end
                        continue
                    while self.at < end:
                        if used[0] + r.max_len > room:
                            break
                        if mp:
                            r.begin_mp(&m, out + used[0], attrs_len, self.family, hop, hop_len)
                        else:
                            r.begin(&m, out + used[0], attrs_len)
                        while self.at < end:
                            p = t.nlri + self.rows.rows[self.at].nlri
                            if want_ids:
                                size = 5 + plen_bytes(p[4] if self.stored_ids else p[0])
                                if m.q + size > m.limit:
                                    break
                                if self.stored_ids:
                                    memcpy(m.q, p, size)
                                else:
                                    store32(m.q, 0)
                                    memcpy(m.q + 4, p, size - 4)
                            else:
                                if self.stored_ids:
                                    p += 4
                                size = 1 + plen_bytes(p[0])
                                if m.q + size > m.limit:
                                    break
                                memcpy(m.q, p, size)
                            m.q += size
                            self.at += 1
                            self.n_routes += 1
                        finish_message(&m)
                        used[0] = <uint64_t>(m.q - out)
                        self.n_messages += 1
                    if self.at < end:
                        break
            if self.at < self.rows.n:
                return 0        # the buffer is full


# ----------------------------------------------------------------------------- what comes back


@cython.final
cdef class Sink:
    """See play.pyi."""

    cdef readonly uint64_t updates
    cdef readonly uint64_t keepalives
    cdef readonly uint64_t octets
    cdef uint32_t limit
    cdef uint8_t *buf           # a message whose end has not come yet
    cdef uint32_t held
    cdef list events
    cdef public int pending_events  # `take_events` has something

    def __cinit__(self, uint32_t limit=MAX_MSG):
        self.limit = limit
        self.events = []
        self.buf = <uint8_t *>malloc(MAX_EXT_MSG)
        if self.buf == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buf)

    def take_events(self) -> list:
        """See play.pyi."""
        events, self.events = self.events, []
        self.pending_events = 0
        return events

    def feed(self, data) -> int:
        """See play.pyi."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.cut(<const uint8_t *>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int cut(self, const uint8_t *p, Py_ssize_t n) except -2:
        cdef uint32_t take, size
        cdef int done = 0
        self.octets += n
        while n:
            if self.held == 0 and n >= HEADER_LEN and load16(p + 16) <= n:
                size = load16(p + 16)
                if self.message(p, size) < 0:
                    return -1
                p += size
                n -= size
                done += 1
                continue
            # a message that began in the last read or ends in the next
            size = HEADER_LEN if self.held < HEADER_LEN else load16(self.buf + 16)
            take = <uint32_t>min(<Py_ssize_t>(size - self.held), n)
            memcpy(self.buf + self.held, p, take)
            self.held += take
            p += take
            n -= take
            if self.held == HEADER_LEN and not HEADER_LEN <= load16(self.buf + 16) <= self.limit:
                return self.message(self.buf, load16(self.buf + 16))
            if self.held >= HEADER_LEN and self.held == load16(self.buf + 16):
                self.held = 0
                if self.message(self.buf, load16(self.buf + 16)) < 0:
                    return -1
                done += 1
        return done

    cdef int add(self, tuple event) except -1:
        self.events.append(event)
        self.pending_events = 1
        return 0

    cdef int message(self, const uint8_t *p, uint32_t n) except -2:
        """Look at one message of `n` octets; -1 when its header is wrong."""
        cdef uint8_t kind = p[18]
        if n < HEADER_LEN or n > self.limit or kind < 1 or kind > 5 \
                or (kind == MSG_KEEPALIVE and n != HEADER_LEN):
            bad_type = kind < 1 or kind > 5
            self.add((
                "error", 1, 3 if bad_type else 2,
                bytes([kind]) if bad_type else n.to_bytes(2, "big"), "bad message header",
            ))
            return -1
        if kind == MSG_UPDATE:
            self.updates += 1
        elif kind == MSG_KEEPALIVE:
            self.keepalives += 1
        elif kind == MSG_NOTIFICATION and n >= HEADER_LEN + 2:
            self.add(("notification", p[19], p[20], <bytes>p[21:n]))
        elif kind == MSG_ROUTE_REFRESH and n >= HEADER_LEN + 4:
            self.add(("refresh", load16(p + 19), p[22], p[21]))
        elif kind == MSG_OPEN:
            self.add(("error", 5, 3, b"\1", "OPEN in Established"))
            return -1
        return 0
