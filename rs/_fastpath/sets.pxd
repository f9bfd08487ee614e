# Member sets. Implementation and explanation: sets.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SET_ALL = 0         # every peer, also those not yet known
    SET_NONE = 1
    TAIL_SLOT = 0       # bit 0 stands for every slot without a peer
    MINUS_CACHE = 4096  # entries, direct-mapped

cdef struct set_meta_t:
    uint32_t hash
    uint32_t refs

cdef struct minus_t:
    uint32_t set_h
    uint32_t slot
    uint32_t result_h   # 0 = empty entry

cdef class MemberSets:
    """Interned bitmaps over peer slots, reference counted; owns their memory."""

    cdef readonly uint32_t words    # 64-bit words a set
    cdef uint32_t cap               # sets allocated
    cdef uint32_t top
    cdef uint32_t free_h
    cdef readonly uint32_t live     # sets in use, SET_ALL and SET_NONE included
    cdef set_meta_t *meta
    cdef uint64_t *bits_base
    cdef uint32_t *index            # open addressing: handle + 1, 0 = empty
    cdef uint32_t index_cap
    cdef minus_t minus_cache[MINUS_CACHE]

    cdef uint32_t intern(self, const uint64_t *bits) except? 0xFFFFFFFF nogil
    cdef uint32_t minus(self, uint32_t set_h, uint32_t slot) except? 0xFFFFFFFF nogil
    cdef void release(self, uint32_t h) noexcept nogil
    cdef int grow_words(self, uint32_t words) except -1
    cdef int _rehash(self, uint32_t cap) except -1 nogil
    cdef void _drop_cache(self) noexcept nogil

    cdef inline uint64_t *bits(self, uint32_t h) noexcept nogil:
        return self.bits_base + <uint64_t>h * self.words

    cdef inline bint has(self, uint32_t h, uint32_t slot) noexcept nogil:
        return (self.bits_base[<uint64_t>h * self.words + (slot >> 6)] >> (slot & 63)) & 1

    cdef inline void ref(self, uint32_t h) noexcept nogil:
        self.meta[h].refs += 1

    cdef inline void unref(self, uint32_t h) noexcept nogil:
        if h > SET_NONE:
            self.meta[h].refs -= 1
            if self.meta[h].refs == 0:
                self.release(h)


cdef inline void and_not(uint64_t *to, const uint64_t *bits, uint32_t words) noexcept nogil:
    """Take the members of one bitmap out of another."""
    cdef uint32_t i
    for i in range(words):
        to[i] &= ~bits[i]
