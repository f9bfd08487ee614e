# ASPAs. Implementation and explanation: aspa.pyx.

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ASPA_UNKNOWN = 0
    ASPA_VALID = 1
    ASPA_INVALID = 2

    ASPA_UPSTREAM = 0       # from a customer, lateral peer, RS client or RS
    ASPA_DOWNSTREAM = 1     # from a provider

# A customer's providers: `n` of them, sorted, at pool[at]. 12 B and 4 B a provider.
cdef struct aspa_t:
    uint32_t customer       # 0 = free slot
    uint32_t at
    uint32_t n

cdef class AspaTable:
    """Provider sets per customer AS, the union of what all sources say; owns its memory."""

    cdef aspa_t *slots              # open addressing, a power of two
    cdef uint32_t cap
    cdef readonly uint32_t count    # customers with an attestation
    cdef uint32_t *pool
    cdef uint32_t pool_cap
    cdef uint32_t pool_top
    cdef uint32_t garbage           # words of the pool that no slot uses
    cdef dict _held                 # source -> {(customer, afi): providers}
    cdef dict _staged               # source -> (reset, {(customer, afi): providers or None}, limit)
    cdef dict _pending              # customers to look at again, in the order of their changes

    cdef uint32_t verify(self, const uint8_t *path, uint32_t length, uint32_t direction,
                         uint32_t neighbor_as) noexcept nogil

    cdef aspa_t *_slot(self, uint32_t customer) noexcept nogil
    cdef uint32_t _authorized(self, uint32_t customer, uint32_t provider) noexcept nogil
    cdef int _put(self, uint32_t customer, list providers) except -1
    cdef int _drop(self, uint32_t customer) except -1
    cdef int _rebuild(self, uint32_t cap) except -1
