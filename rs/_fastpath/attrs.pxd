# Attribute sets: intern, describe, share. Implementation: attrs.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport blob_at, blob_t, slab_at, slab_t
from rs._fastpath.types cimport attrset_t, nexthop_t

# Called with a set that nobody refers to any more, before its handle is freed: caches keyed by
# handle drop their entry. The set can still be read; it must not be referenced again.
ctypedef void (*release_fn)(void *ctx, uint32_t h) noexcept nogil

cdef class AttrTable:
    """Every attribute set in use, each once; owns the sets, their wire bytes and the next hops.

    Sets are reference counted by whoever keeps a handle; a set whose count falls to 0 is freed at
    once. `lookup` and `intern` return a new reference.
    """

    cdef slab_t sets            # attrset_t
    cdef blob_t blob            # wire bytes
    cdef slab_t hops            # nexthop_t
    cdef uint64_t *index        # open addressing: hash << 32 | set handle, 0 = empty
    cdef uint32_t index_cap     # power of two
    cdef uint32_t index_used    # occupied slots
    cdef uint64_t *next_index   # twice as large, while it is filled beside `index`; else NULL
    cdef uint32_t moved         # sets below this handle stand in next_index
    cdef uint32_t *hop_index    # open addressing: next-hop handle, 0 = empty
    cdef uint32_t hop_cap       # power of two
    cdef uint64_t seed          # random per table: hash floods find nothing
    cdef object metric_of       # callable(next hop in text) -> int; None: every hop is at 0
    cdef uint64_t hits          # lookups answered without parsing
    cdef uint64_t misses        # sets parsed and interned
    cdef release_fn on_release  # NULL: nobody asks to be told
    cdef void *release_ctx      # passed to on_release; borrowed

    cdef uint32_t lookup(self, const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len,
                         const uint8_t *nh, uint32_t nh_len, bint classic) noexcept nogil
    cdef uint32_t intern(self, const uint8_t *wire, uint32_t n, const uint8_t *nh, uint32_t nh_len,
                         bint classic) except 0 nogil
    cdef uint32_t intern_changed(self, uint32_t raw_h, const uint8_t *wire, uint32_t n,
                                 const uint8_t *nh, uint32_t nh_len, bint classic) except 0 nogil
    cdef uint32_t with_community(self, uint32_t h, uint32_t value) except 0
    cdef void release(self, uint32_t h) noexcept nogil
    cdef attrset_t *known(self, uint32_t h) except NULL

    cdef inline attrset_t *at(self, uint32_t h) noexcept nogil:
        return <attrset_t *>slab_at(&self.sets, h)

    cdef inline const uint8_t *wire(self, uint32_t h) noexcept nogil:
        return blob_at(&self.blob, self.at(h).blob_h)

    cdef inline nexthop_t *hop(self, uint32_t h) noexcept nogil:
        """The next hop of set `h`."""
        return <nexthop_t *>slab_at(&self.hops, self.at(h).nh_h)

    cdef inline uint32_t raw(self, uint32_t h) noexcept nogil:
        """The set that import was given, where set `h` is what import made of it; else `h`."""
        cdef uint32_t raw_h = self.at(h).raw_h
        return raw_h if raw_h else h

    cdef inline void ref(self, uint32_t h) noexcept nogil:
        self.at(h).refs += 1

    cdef inline void unref(self, uint32_t h) noexcept nogil:
        cdef attrset_t *s = self.at(h)
        s.refs -= 1
        if s.refs == 0:
            self.release(h)

# Walks the attributes of a canonical block: fills type, flags, value and length and returns the
# octets the attribute takes in all. The block is trusted (it came out of intern).
cdef struct attr_t:
    uint8_t type
    uint8_t flags
    uint16_t len
    const uint8_t *value

cdef inline uint32_t attr_next(const uint8_t *p, attr_t *a) noexcept nogil:
    a.flags = p[0]
    a.type = p[1]
    if p[0] & 0x10:
        a.len = <uint16_t>((p[2] << 8) | p[3])
        a.value = p + 4
        return 4 + a.len
    a.len = p[2]
    a.value = p + 3
    return 3 + a.len
