# A peer's recorded routes as UPDATEs. Implementation: play.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.mrttable cimport Table, rows_t
from rs._fastpath.recode cimport Rewriter

cdef class Packer:
    """One peer's routes of a family as UPDATEs, a bufferful at a time."""

    cdef Table table
    cdef Rewriter rewriter
    cdef rows_t *rows           # the table's: valid while it is not added to
    cdef uint32_t peer
    cdef uint32_t family
    cdef uint32_t stored_ids    # 0 and then 1: routes without and with path identifiers
    cdef uint32_t at            # next row
    cdef bint valid_only
    cdef readonly uint64_t n_routes
    cdef readonly uint64_t n_messages
    cdef readonly uint64_t n_skipped    # routes that cannot be sent, see play.pyi

    cdef int pack(self, uint8_t *out, uint64_t room, uint64_t *used) except -1
    cdef uint32_t block_end(self) noexcept nogil
