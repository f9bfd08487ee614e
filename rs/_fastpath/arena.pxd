# Slabs of fixed-size items and of byte strings behind 32-bit handles. Implementation: arena.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# Fixed-size items. Handle 0 is never given out. The free list runs through the items' first four
# bytes. Growth is realloc: large blocks are remapped, not copied, and untouched pages cost no
# memory; every pointer into the slab dies at the next slab_alloc.
cdef struct slab_t:
    uint8_t *base
    uint32_t item       # octets per item
    uint32_t cap        # items allocated
    uint32_t top        # first never-used handle
    uint32_t free_h     # head of the free list, 0 = empty
    uint32_t live       # items in use

cdef int slab_init(slab_t *s, uint32_t item, uint32_t cap) except -1
cdef void slab_free_all(slab_t *s) noexcept nogil
cdef int slab_grow(slab_t *s) except -1 nogil

cdef inline uint32_t slab_alloc(slab_t *s) except 0 nogil:
    """Return a handle to an uninitialised item; MemoryError when the machine has no more."""
    cdef uint32_t h
    if s.free_h:
        h = s.free_h
        s.free_h = (<uint32_t *>(s.base + <uint64_t>h * s.item))[0]
    else:
        if s.top == s.cap:
            slab_grow(s)
        h = s.top
        s.top += 1
    s.live += 1
    return h

cdef inline void slab_release(slab_t *s, uint32_t h) noexcept nogil:
    (<uint32_t *>(s.base + <uint64_t>h * s.item))[0] = s.free_h
    s.free_h = h
    s.live -= 1

cdef inline void *slab_at(slab_t *s, uint32_t h) noexcept nogil:
    return s.base + <uint64_t>h * s.item

# Byte strings of 1 to 65,535 octets in granules of 8; a handle is an offset in granules, so one
# store holds up to 32 GiB. Freed strings go to a free list by size in granules.
cdef enum:
    BLOB_CLASSES = 8193     # 65,536 / 8 + 1

cdef struct blob_t:
    uint8_t *base
    uint64_t cap            # granules allocated
    uint64_t top            # first never-used granule; granule 0 is never given out
    uint64_t live           # granules in use
    uint32_t free_h[BLOB_CLASSES]

cdef int blob_init(blob_t *b, uint64_t cap) except -1
cdef void blob_free_all(blob_t *b) noexcept nogil
cdef uint32_t blob_alloc(blob_t *b, uint32_t n) except 0 nogil
cdef void blob_release(blob_t *b, uint32_t h, uint32_t n) noexcept nogil

cdef inline uint8_t *blob_at(blob_t *b, uint32_t h) noexcept nogil:
    return b.base + (<uint64_t>h << 3)
