# The log: encoded messages, each for a member set, and cursors into it. Implementation: log.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from rs._fastpath.sets cimport MemberSets

cdef enum:
    CHUNK_LEN = 65536

# Consecutive messages for one member set: [end of the run before, end) of the chunk's data. 12 B.
cdef struct run_t:
    uint32_t end
    uint32_t set_h          # owns a reference
    uint32_t n              # messages

cdef struct chunk_t:
    chunk_t *next
    uint64_t base           # octets logged before this chunk
    uint32_t len            # octets written
    uint32_t cap
    uint32_t n_runs
    uint32_t runs_cap
    uint32_t readers        # cursors that stand in this chunk
    uint32_t _pad
    run_t *runs
    uint8_t *data

# Where a member has read up to. off is in chunk.data; the run is the one off stands in, or ends.
cdef struct cursor_t:
    chunk_t *chunk
    uint32_t run
    uint32_t off
    uint32_t seen           # messages of that run counted as read: behind off, and whole

cdef class Log:
    """An append-only sequence of whole messages; owns the chunks and a reference per run's set."""

    cdef MemberSets sets
    cdef chunk_t *head              # oldest chunk kept
    cdef chunk_t *tail
    cdef chunk_t *spare             # one emptied chunk, for reuse
    cdef readonly uint64_t end      # octets ever logged
    cdef readonly uint64_t messages  # messages ever logged
    cdef readonly uint32_t held     # octets of payload capacity in chunks

    cdef uint8_t *reserve(self, uint32_t n) except NULL
    cdef int commit(self, uint32_t n, uint32_t set_h) except -1
    cdef int open_cursor(self, cursor_t *c) except -1
    cdef void close_cursor(self, cursor_t *c) noexcept nogil
    cdef uint32_t gather(self, cursor_t *c, uint32_t slot, iovec *iov, uint32_t iov_max,
                         uint64_t *room) noexcept nogil
    cdef uint64_t consume(self, cursor_t *c, uint32_t slot, uint64_t n,
                          uint64_t *messages) noexcept nogil
    cdef uint32_t uncounted(self, const cursor_t *c, uint32_t slot, uint32_t rest) noexcept nogil
    cdef uint64_t octets_until(self, const cursor_t *c, uint32_t slot, uint64_t upto,
                               uint64_t most) noexcept nogil
    cdef uint32_t to_boundary(self, const cursor_t *c, uint32_t rest) noexcept nogil
    cdef void trim(self) noexcept nogil
    cdef void _free_chunk(self, chunk_t *c) noexcept nogil

    cdef inline uint64_t lag(self, const cursor_t *c) noexcept nogil:
        """Octets logged behind the cursor, for this member or not."""
        return self.end - c.chunk.base - c.off
