# What a member that fell behind has not read. Implementation: backlog.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.log cimport Log, cursor_t
from rs._fastpath.rib cimport Table

cdef class Backlog:
    """Prefixes of a table that somebody is to get the present state of."""

    cdef Table table
    cdef bint addpath
    cdef uint64_t *bitmap           # a bit a prefix, by handle; NULL while there is none
    cdef uint32_t bitmap_words
    cdef uint32_t pos               # word to look at next
    cdef dict stale_paths           # with ADD-PATH: prefix handle -> identifiers it may still have

    cdef int note_table(self) except -1
    cdef int note_like(self, Backlog other) except -1
    cdef int note_unread(self, Log log, const cursor_t *c, uint32_t slot) except -1
    cdef int note_message(self, const uint8_t *m) except -1
    cdef int note_withdrawal(self, uint32_t h, uint32_t path_id) except -1
    cdef uint32_t pop(self) noexcept nogil
    cdef set pop_withdrawals(self, uint32_t h)
    cdef int _note_span(self, const uint8_t *p, uint32_t n, bint withdrawn) except -1
    cdef int _grow(self, uint32_t word) except -1

    cdef inline int note(self, uint32_t h) except -1:
        """Note a prefix."""
        if h >> 6 >= self.bitmap_words:
            self._grow(h >> 6)
        self.bitmap[h >> 6] |= <uint64_t>1 << (h & 63)
        return 0

    cdef inline bint has(self, uint32_t h) noexcept nogil:
        """Whether a prefix is noted."""
        return h >> 6 < self.bitmap_words and (self.bitmap[h >> 6] >> (h & 63)) & 1
