# From dirty prefixes to logged messages. Implementation: export.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.adjout cimport AdjOut, entry_t
from rs._fastpath.buckets cimport Buckets
from rs._fastpath.rewrite cimport Rewriter
from rs._fastpath.rib cimport Rib

cdef class View:
    """One Adj-RIB-Out and the groups that are sent it, each in its own encoding."""

    cdef readonly AdjOut adj
    cdef readonly list groups
    cdef Buckets buckets
    cdef uint32_t *temps            # member sets that the batch refers to, a reference each
    cdef uint32_t n_temps
    cdef uint32_t temps_cap
    cdef uint64_t scratch[1024]

    cdef int apply(self, uint32_t h) except -1
    cdef int drain(self) except -1
    cdef int _change(self, uint32_t attrs_h, uint32_t set_h, uint32_t h, uint32_t path_id,
                     bint owned) except -1
    cdef int _change_scratch(self, uint32_t attrs_h, uint32_t h, uint32_t path_id) except -1
    cdef int _change_path(self, uint32_t h, uint32_t path_id, const entry_t *new, uint32_t n_new,
                          const entry_t *old, uint32_t n_old) except -1
    cdef int _apply_paths(self, uint32_t h, entry_t *old, uint32_t n) except -1

cdef class Exporter:
    """Evaluates dirty prefixes for every view, in slices."""

    cdef readonly Rib rib
    cdef readonly Rewriter rewriter
    cdef readonly list views            # by family: list of View
    cdef uint32_t *vacant           # prefixes without paths met in this slice
    cdef uint32_t vacant_cap
    cdef uint32_t turn              # 1: IPv4 first
    cdef uint64_t holding[2]        # by family: leave prefixes queued as the so-manieth and later
    cdef readonly uint64_t evaluated
    cdef readonly uint64_t faults       # prefixes whose evaluation raised: always 0, or a bug
    cdef readonly object last_fault     # the last one in words
