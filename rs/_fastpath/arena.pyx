"""Slabs behind 32-bit handles: memory for everything that exists per prefix, path or attribute set.

In: sizes. Out: handles. A slab belongs to the object that initialised it, which frees it as a
whole; `live` counts items in use, so that a test can see a leak.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef int slab_init(slab_t *s, uint32_t item, uint32_t cap) except -1:
    """Set up a slab of `item`-octet items (at least 4) with room for `cap` before it grows."""
    s.item = item
    s.cap = cap if cap > 16 else 16
    s.top = 1
    s.free_h = 0
    s.live = 0
    s.base = <uint8_t *>malloc(<uint64_t>s.item * s.cap)
    if s.base == NULL:
        raise MemoryError
    return 0


cdef void slab_free_all(slab_t *s) noexcept nogil:
    free(s.base)
    s.base = NULL
    s.cap = s.top = s.live = s.free_h = 0


cdef int slab_grow(slab_t *s) except -1 nogil:
    # Half as much again: small tables stay small, and a large block's tail is address space only.
    cdef uint64_t cap = <uint64_t>s.cap + (s.cap >> 1) + 16
    cdef uint8_t *base
    if cap > 0x7FFFFFFF:
        cap = 0x7FFFFFFF
    if cap <= s.cap:
        with gil:
            raise MemoryError("a slab is full: 2^31 items")
    base = <uint8_t *>realloc(s.base, cap * s.item)
    if base == NULL:
        with gil:
            raise MemoryError
    s.base = base
    s.cap = <uint32_t>cap
    return 0


cdef int blob_init(blob_t *b, uint64_t cap) except -1:
    """Set up a byte store with room for `cap` octets before it grows."""
    cdef uint32_t i
    b.cap = (cap >> 3) + 16
    b.top = 1
    b.live = 0
    for i in range(BLOB_CLASSES):
        b.free_h[i] = 0
    b.base = <uint8_t *>malloc(b.cap << 3)
    if b.base == NULL:
        raise MemoryError
    return 0


cdef void blob_free_all(blob_t *b) noexcept nogil:
    free(b.base)
    b.base = NULL
    b.cap = b.top = b.live = 0


cdef uint32_t blob_alloc(blob_t *b, uint32_t n) except 0 nogil:
    """Return a handle to `n` octets, 1 <= n <= 65,535; may move every string."""
    cdef uint32_t g = (n + 7) >> 3
    cdef uint32_t h = b.free_h[g]
    cdef uint64_t cap
    cdef uint8_t *base
    b.live += g
    if h:
        b.free_h[g] = (<uint32_t *>blob_at(b, h))[0]
        return h
    if b.top + g > b.cap:
        cap = b.cap + (b.cap >> 1) + g
        if (cap >> 32) != 0:
            with gil:
                raise MemoryError("a byte store is full: 32 GiB")
        base = <uint8_t *>realloc(b.base, cap << 3)
        if base == NULL:
            with gil:
                raise MemoryError
        b.base = base
        b.cap = cap
    h = <uint32_t>b.top
    b.top += g
    return h


cdef void blob_release(blob_t *b, uint32_t h, uint32_t n) noexcept nogil:
    """Give back `n` octets; `n` is what blob_alloc was asked for."""
    cdef uint32_t g = (n + 7) >> 3
    (<uint32_t *>blob_at(b, h))[0] = b.free_h[g]
    b.free_h[g] = h
    b.live -= g
