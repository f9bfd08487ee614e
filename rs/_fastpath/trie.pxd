# The radix trie of prefixes. Implementation and explanation: trie.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport slab_t

cdef enum:
    LEAF = 0x80000000           # tag of a word that holds a prefix handle instead of a node handle
    WORD_CLASSES = 48           # array sizes 0 to 47 words: at most 16 children and 30 prefixes
    FREE_PLEN = 255             # in the place of a prefix length: the handle is free

# A node covers four bits of the address: prefixes that end inside them (relative length 1 to 4,
# 30 possible) and 16 children below. Both stand in one array of words, children first, in the
# order of their bits. 12 B, and 4 B for each child and prefix.
cdef struct node_t:
    uint32_t pmap               # bit (1 << r) - 2 + value: a prefix of relative length r
    uint16_t cmap               # bit value: a child below
    uint16_t n_words            # words allocated at base
    uint32_t base               # index into words

# A stretch of handles that is walked, see Trie.stretch.
cdef struct stretch_t:
    uint32_t h                  # the prefix at hand
    uint32_t end                # first handle behind the stretch

cdef class Trie:
    """Prefixes of one family to 32-bit handles; owns the keys, so that a handle gives its prefix.

    Handles are dense and small, so users keep what belongs to a prefix in arrays indexed by it.
    """

    cdef readonly uint32_t width    # octets of an address: 4 or 16
    cdef uint8_t *addrs             # width octets a handle, host bits zero
    cdef uint8_t *plens             # a free handle has FREE_PLEN
    cdef uint32_t *next_free        # NULL until a handle is freed: free list
    cdef uint32_t free_h
    cdef uint32_t cap               # handles allocated
    cdef uint32_t top               # first never-used handle
    cdef readonly uint32_t count    # prefixes held
    cdef uint32_t *short            # prefixes of length 0 to 16: index 1 << len | bits
    cdef uint32_t *root             # below each /16: 0, node handle, or LEAF | prefix handle
    cdef slab_t nodes               # node_t
    cdef uint32_t *words
    cdef uint32_t words_cap
    cdef uint32_t words_top
    cdef uint32_t words_free[WORD_CLASSES]

    cdef uint32_t insert(self, const uint8_t *addr, uint32_t plen) except 0 nogil
    cdef uint32_t find(self, const uint8_t *addr, uint32_t plen) noexcept nogil
    cdef int remove(self, uint32_t h) except -1 nogil
    cdef uint32_t longest(self, const uint8_t *addr, uint32_t max_plen) noexcept nogil
    cdef uint32_t collect(self, const uint8_t *below, uint32_t below_len, const uint8_t *after,
                          int after_len, uint32_t *out, uint32_t n_max) noexcept nogil

    cdef uint32_t _new_key(self, const uint8_t *addr, uint32_t plen) except 0 nogil
    cdef uint32_t _words_alloc(self, uint32_t n) except 0xFFFFFFFF nogil
    cdef void _words_release(self, uint32_t base, uint32_t n) noexcept nogil
    cdef int _node_put(self, uint32_t node_h, uint32_t at, uint32_t word, bint child,
                       uint32_t bit) except -1 nogil
    cdef int _node_drop(self, uint32_t node_h, uint32_t at, bint child,
                        uint32_t bit) except -1 nogil
    cdef int _node_add_key(self, uint32_t node_h, uint32_t depth, uint32_t h) except -1 nogil
    cdef bint _same(self, uint32_t h, const uint8_t *addr, uint32_t plen) noexcept nogil
    cdef int _check(self, bytes addr, uint32_t plen) except -1

    cdef inline const uint8_t *addr(self, uint32_t h) noexcept nogil:
        return self.addrs + <uint64_t>h * self.width

    cdef inline uint32_t plen(self, uint32_t h) noexcept nogil:
        return self.plens[h]

    cdef inline bint holds(self, uint32_t h) noexcept nogil:
        """Whether a handle below `top` is that of a prefix."""
        return self.plens[h] != FREE_PLEN

    # A walk over prefixes that can be gone on with is
    #
    #     s = trie.stretch(pos, n)
    #     while trie.step(&s):
    #         ...                       # s.h
    #     return trie.behind(&s)
    #
    # Prefixes may be removed meanwhile; those inserted behind the end are not seen.

    cdef inline stretch_t stretch(self, uint32_t pos, uint32_t n) noexcept nogil:
        """`n` handles from `pos` on, or as many as there are; the first is that after a step()."""
        cdef stretch_t s
        s.h = pos - 1
        s.end = self.top if pos >= self.top or n >= self.top - pos else pos + n
        return s

    cdef inline bint step(self, stretch_t *s) noexcept nogil:
        """Go on to the next prefix of a stretch, over free handles; False at its end."""
        s.h += 1
        while s.h < s.end and self.plens[s.h] == FREE_PLEN:
            s.h += 1
        return s.h < s.end

    cdef inline uint32_t behind(self, const stretch_t *s) noexcept nogil:
        """The handle to go on with behind a stretch that was walked, 0 at the end of the table."""
        return s.end if s.end < self.top else 0
