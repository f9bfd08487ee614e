# What an attribute set says about members. Implementation: control.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.sets cimport MemberSets

cdef struct asn_entry_t:
    uint32_t asn        # 0 = empty
    uint32_t n_slots    # peers with this AS number
    uint32_t row        # their slots as a bitmap: row * row_words in Control.rows

cdef class Control:
    """Compiles attribute sets: members they may reach, loops, next hops that cannot be used."""

    cdef AttrTable attrs
    cdef MemberSets sets
    cdef asn_entry_t *asns          # open addressing by AS number
    cdef uint32_t asns_cap
    cdef uint32_t asns_used
    cdef uint64_t *rows             # bitmaps, one a distinct AS number
    cdef uint32_t row_words         # words each: sets may have grown since set_peers()
    cdef uint32_t rows_cap
    cdef uint32_t rows_top
    cdef uint64_t *deny             # scratch, sets.words each
    cdef uint64_t *allow
    cdef readonly uint32_t local_asn
    cdef uint32_t router_id
    cdef uint32_t *clusters         # ids of our clusters, host order
    cdef uint32_t n_clusters
    cdef public bint communities    # act on the exclusion communities
    cdef public bint as_loop        # members whose AS is in AS_PATH are not reached
    cdef uint8_t *own               # addresses of this router, 16 octets each, IPv4 left-aligned
    cdef uint32_t n_own

    cdef int compile(self, uint32_t attrs_h) except -1 nogil
    cdef void forget(self, uint32_t attrs_h) noexcept nogil
    cdef uint64_t *row_of(self, uint32_t asn) noexcept nogil
    cdef bint is_control(self, uint8_t attr_type, const uint8_t *value) noexcept nogil
    cdef bint _is_own(self, const uint8_t *addr, uint32_t n) noexcept nogil
