"""The log of a group: messages encoded once, each with the members it is for.

In: whole BGP messages with a member set. Out: to each member, through its cursor, exactly the bytes
that are for it, as iovecs into the log's own memory. What a member costs is its cursor. The log is
the order of truth: a later message about a prefix supersedes an earlier one, and a cursor only goes
forward. Chunks that no cursor needs any more are freed from the old end.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from posix.uio cimport iovec

from rs._fastpath.sets cimport MemberSets
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.wire cimport load16

check_abi(__name__)


@cython.final
@cython.no_gc_clear  # __dealloc__ gives references back to the member sets
cdef class Log:
    def __cinit__(self, MemberSets sets):
        self.sets = sets

    def __dealloc__(self):
        cdef chunk_t *c = self.head
        cdef chunk_t *n
        while c != NULL:
            n = c.next
            self._free_chunk(c)
            c = n
        if self.spare != NULL:
            free(self.spare.runs)
            free(self.spare.data)
            free(self.spare)

    # --- writing ----------------------------------------------------------------------------------

    cdef uint8_t *reserve(self, uint32_t n) except NULL:
        """Return room for a message of at most `n` octets; nothing is logged before commit()."""
        cdef chunk_t *c = self.tail
        cdef uint32_t cap
        if c != NULL and c.cap - c.len >= n:
            return c.data + c.len
        cap = CHUNK_LEN if n <= CHUNK_LEN else n
        if self.spare != NULL and self.spare.cap >= cap:
            c = self.spare
            self.spare = NULL
        else:
            c = <chunk_t *>malloc(sizeof(chunk_t))
            if c == NULL:
                raise MemoryError
            c.data = <uint8_t *>malloc(cap)
            c.runs_cap = 64
            c.runs = <run_t *>malloc(c.runs_cap * sizeof(run_t))
            if c.data == NULL or c.runs == NULL:
                free(c.data)
                free(c.runs)
                free(c)
                raise MemoryError
            c.cap = cap
        c.next = NULL
        c.base = self.end
        c.len = 0
        c.n_runs = 0
        c.readers = 0
        if self.tail == NULL:
            self.head = c
        else:
            self.tail.next = c
        self.tail = c
        self.held += c.cap
        return c.data

    cdef int commit(self, uint32_t n, uint32_t set_h) except -1:
        """Log the `n` octets written where reserve() said; keeps its own reference."""
        cdef chunk_t *c = self.tail
        cdef run_t *runs
        c.len += n
        self.end += n
        self.messages += 1
        if c.n_runs and c.runs[c.n_runs - 1].set_h == set_h:
            c.runs[c.n_runs - 1].end = c.len
            c.runs[c.n_runs - 1].n += 1
            return 0
        if c.n_runs == c.runs_cap:
            runs = <run_t *>realloc(c.runs, <uint64_t>c.runs_cap * 2 * sizeof(run_t))
            if runs == NULL:
                raise MemoryError
            c.runs = runs
            c.runs_cap *= 2
        c.runs[c.n_runs].end = c.len
        c.runs[c.n_runs].set_h = set_h
        c.runs[c.n_runs].n = 1
        c.n_runs += 1
        self.sets.ref(set_h)
        return 0

    cdef void _free_chunk(self, chunk_t *c) noexcept nogil:
        cdef uint32_t i
        for i in range(c.n_runs):
            self.sets.unref(c.runs[i].set_h)
        c.n_runs = 0
        self.held -= c.cap
        if self.spare == NULL and c.cap == CHUNK_LEN:
            self.spare = c
        else:
            free(c.runs)
            free(c.data)
            free(c)

    cdef void trim(self) noexcept nogil:
        """Free what every cursor has passed. The last chunk stays: it is still written to."""
        cdef chunk_t *c
        while self.head != self.tail and self.head.readers == 0:
            c = self.head
            self.head = c.next
            self._free_chunk(c)

    # --- reading ----------------------------------------------------------------------------------

    cdef int open_cursor(self, cursor_t *c) except -1:
        """Place a cursor at the end: it will see what is logged from now on."""
        if self.tail == NULL:
            self.reserve(1)
        c.chunk = self.tail
        c.run = self.tail.n_runs - 1 if self.tail.n_runs else 0
        c.off = self.tail.len
        c.seen = self.tail.runs[c.run].n if self.tail.n_runs else 0
        self.tail.readers += 1
        return 0

    cdef void close_cursor(self, cursor_t *c) noexcept nogil:
        if c.chunk != NULL:
            c.chunk.readers -= 1
            c.chunk = NULL
            self.trim()

    cdef uint32_t gather(self, cursor_t *c, uint32_t slot, iovec *iov, uint32_t iov_max,
                         uint64_t *room) noexcept nogil:
        """Fill `iov` with the next bytes for a member, at most `room` octets; move the cursor.

        Returns the iovecs used and leaves in `room` what was not used of it. The caller passes a
        copy of the member's cursor and takes it over if there was nothing to send. `readers` and
        `seen` are not touched: skip_to() does that.
        """
        cdef uint32_t n = 0
        cdef chunk_t *k = c.chunk
        cdef uint64_t take
        cdef run_t *r
        while True:
            if c.run < k.n_runs:
                r = &k.runs[c.run]
                if c.off < r.end:
                    if self.sets.has(r.set_h, slot):
                        take = r.end - c.off
                        if take > room[0]:
                            take = room[0]
                        if n and (<uint8_t *>iov[n - 1].iov_base + iov[n - 1].iov_len
                                  == k.data + c.off):
                            iov[n - 1].iov_len += take
                        else:
                            if n == iov_max:
                                return n
                            iov[n].iov_base = k.data + c.off
                            iov[n].iov_len = take
                            n += 1
                        c.off += <uint32_t>take
                        room[0] -= take
                        if room[0] == 0:
                            return n
                    else:
                        c.off = r.end
                # The last run of the last chunk may grow; a cursor waits at its end.
                if c.run + 1 < k.n_runs:
                    c.run += 1
                    continue
            if k.next == NULL:
                return n
            k = k.next
            c.chunk = k
            c.run = 0
            c.off = 0

    cdef uint64_t octets_until(self, const cursor_t *c, uint32_t slot, uint64_t upto,
                               uint64_t most) noexcept nogil:
        """Return the octets for a member from a cursor to octet `upto` of the log, or `most`."""
        cdef chunk_t *k = c.chunk
        cdef uint32_t i = c.run, off = c.off
        cdef uint64_t end, found = 0
        while k != NULL and found < most:
            while i < k.n_runs and found < most:
                if k.base + off >= upto:
                    return found
                end = k.base + k.runs[i].end
                if end > upto:
                    end = upto
                if k.base + off < end:
                    if self.sets.has(k.runs[i].set_h, slot):
                        found += end - k.base - off
                    off = <uint32_t>(end - k.base)
                i += 1
            k = k.next
            i = 0
            off = 0
        return found if found < most else most

    cdef uint64_t consume(self, cursor_t *c, uint32_t slot, uint64_t n,
                          uint64_t *messages) noexcept nogil:
        """Move a cursor over the next `n` octets for a member, as gather() would.

        Returns what is left of `n` at the end of the log. `messages` grows by those of every run
        whose end is reached; uncounted() says how many were read of a run begun.
        """
        cdef chunk_t *k = c.chunk
        cdef uint64_t take, count = 0
        cdef uint32_t seen = c.seen
        cdef run_t *r
        while n:
            if c.run < k.n_runs:
                r = &k.runs[c.run]
                if c.off < r.end:
                    if self.sets.has(r.set_h, slot):
                        take = r.end - c.off
                        if take > n:
                            take = n
                        c.off += <uint32_t>take
                        n -= take
                        if c.off == r.end:
                            count += r.n - seen
                            seen = r.n
                        if n == 0:
                            break
                    else:
                        c.off = r.end
                if c.run + 1 < k.n_runs:
                    c.run += 1
                    seen = 0
                    continue
            if k.next == NULL:
                break
            k = k.next
            c.chunk = k
            c.run = 0
            c.off = 0
            seen = 0
        c.seen = seen
        messages[0] += count
        return n

    cdef uint32_t to_boundary(self, const cursor_t *c, uint32_t rest) noexcept nogil:
        """Octets from the cursor to the end of the message it stands in; 0 between messages.

        `rest` octets at the very beginning of the log are the end of a message begun elsewhere.
        """
        cdef uint32_t at = rest if c.chunk.base == 0 else 0
        if c.run and c.run <= c.chunk.n_runs:
            at = c.chunk.runs[c.run - 1].end
        while at < c.off:
            at += load16(c.chunk.data + at + 16)
        return at - c.off

    cdef uint32_t uncounted(self, const cursor_t *c, uint32_t slot, uint32_t rest) noexcept nogil:
        """Messages for a member that it has read whole and consume() has not counted yet.

        Only where a cursor stands inside a run are there any: the headers before it are walked.
        `rest` as in to_boundary().
        """
        cdef uint32_t at, n = 0
        cdef run_t *r
        if c.chunk == NULL or c.run >= c.chunk.n_runs:
            return 0
        r = &c.chunk.runs[c.run]
        if c.off == r.end or not self.sets.has(r.set_h, slot):
            return 0
        at = c.chunk.runs[c.run - 1].end if c.run else 0
        if at == 0 and c.chunk.base == 0 and rest:
            if c.off < rest:
                return 0
            at = rest
            n = 1
        while at < c.off:
            at += load16(c.chunk.data + at + 16)
            n += at <= c.off
        return n - c.seen

    # --- for Python: tests ------------------------------------------------------------------------

    def append(self, bytes message, uint32_t set_h):
        """Log one whole message."""
        cdef uint8_t *p = self.reserve(len(message))
        memcpy(p, <const char *>message, len(message))
        self.commit(len(message), set_h)

    def stats(self):
        """Return octets and messages ever logged, and octets held."""
        return {"end": self.end, "messages": self.messages, "held": self.held}
