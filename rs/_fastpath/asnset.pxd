# Sets of AS numbers. Implementation: asnset.pyx.

from libc.stdint cimport uint32_t

cdef struct asn_range_t:
    uint32_t first
    uint32_t last

cdef class AsnSet:
    """AS numbers, single ones hashed and ranges listed; owns both arrays."""

    cdef uint32_t *slots            # open addressing, 0 = empty
    cdef uint32_t cap               # power of two, 0 while there are no single numbers
    cdef readonly uint32_t n
    cdef asn_range_t *ranges
    cdef uint32_t n_ranges

    cdef bint has(self, uint32_t asn) noexcept nogil
