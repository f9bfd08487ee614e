# Changes of one slice, gathered by what will be one message. Implementation: buckets.pyx.

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    BUCKET_CHANGES = 8192       # changes a batch holds
    BUCKET_TABLE = 16384        # slots of the hash table, power of two

cdef struct bucket_t:
    uint32_t attrs_h            # 0 = withdraw
    uint32_t set_h
    uint32_t head               # first change + 1
    uint32_t tail               # last change + 1
    uint32_t n

cdef class Buckets:
    """A batch of changes keyed by (attribute set, member set); holds no references."""

    cdef bucket_t *buckets
    cdef uint32_t *prefix           # by change
    cdef uint32_t *path_id          # by change; 0 without ADD-PATH
    cdef uint32_t *link             # next change of the bucket + 1, by change
    cdef uint32_t *flat             # prefixes of the bucket being drained
    cdef uint32_t *flat_ids
    cdef uint64_t *table            # generation << 32 | bucket + 1
    cdef uint32_t generation
    cdef uint32_t n_buckets
    cdef uint32_t n_changes
    cdef uint32_t last              # bucket of the last change
    cdef uint64_t *turn             # set_h << 32 | bucket: the order to encode in
    cdef bint mixed                 # there are buckets for several member sets

    cdef int add(self, uint32_t attrs_h, uint32_t set_h, uint32_t prefix,
                 uint32_t path_id) noexcept nogil
    cdef const uint32_t *prefixes(self, uint32_t b, uint32_t *n,
                                  const uint32_t **ids) noexcept nogil
    cdef const uint64_t *arrange(self) noexcept nogil
    cdef void clear(self) noexcept nogil

    cdef inline bint full(self) noexcept nogil:
        return self.n_changes == BUCKET_CHANGES
