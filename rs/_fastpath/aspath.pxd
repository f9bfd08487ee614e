# Regular expressions over AS paths. Implementation: aspath.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.asnset cimport AsnSet

# What one position of the automaton matches. 32 B.
cdef struct symbol_t:
    uint32_t first          # AS numbers first to last, where that is all; else 1 to 0
    uint32_t last
    uint32_t mark           # MARK_*: the beginning or the end, and no AS number
    uint32_t negated        # any AS number but these
    void *listed            # AsnSet of ranges, or NULL; the expression keeps it alive
    uint32_t names_at       # named sets: n_names of them from here in AsPath.named
    uint32_t n_names

cdef class AsPath:
    """One expression: Glushkov's automaton with its at most 64 positions in one word."""

    cdef symbol_t symbols[64]
    cdef uint64_t follow[64]
    cdef uint64_t first
    cdef uint64_t last
    cdef uint32_t n
    cdef bint always
    cdef list sets              # keeps what symbols point to
    cdef void *named[64]        # AsnSet

    cdef bint search(self, const uint8_t *path, uint32_t n) except -1
    cdef bint _is(self, uint32_t position, uint32_t mark, uint32_t asn) except -1
