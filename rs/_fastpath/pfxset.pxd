# Prefix sets: IRR lists, bogons, black lists. Implementation: pfxset.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# An entry; bits of the address past plen are zero. 8 B and 24 B.
cdef struct item4_t:
    uint32_t addr
    uint8_t plen            # 255 = empty slot
    uint8_t low             # lengths matched: low to high
    uint8_t high
    uint8_t _pad

cdef struct item6_t:
    uint64_t hi
    uint64_t lo
    uint8_t plen
    uint8_t low
    uint8_t high
    uint8_t _pad[5]

cdef class PrefixSet:
    """Prefixes with the range of lengths that each stands for; owns two hash tables."""

    cdef item4_t *v4
    cdef item6_t *v6
    cdef uint32_t cap4              # slots, powers of two
    cdef uint32_t cap6
    cdef readonly uint32_t n4       # entries
    cdef readonly uint32_t n6
    cdef uint64_t lens4             # bit l: some entry has length l
    cdef uint64_t lens6[3]

    cdef bint match(self, uint32_t family, const uint8_t *addr, uint32_t plen,
                    bint longer) noexcept nogil
    cdef int put(self, uint32_t family, const uint8_t *addr, uint32_t plen, uint32_t low,
                 uint32_t high) except -1
    cdef int _grow4(self, uint32_t cap) except -1
    cdef int _grow6(self, uint32_t cap) except -1
