# What has been found out about attribute sets. Implementation: memo.pyx.

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    MEMO_WAYS = 4           # 64 B together: a cache line
    MEMO_SET = 0x80000000   # tag: the value is the handle of a set, made of the key's

cdef struct note_t:
    uint32_t attrs_h        # 0 = empty
    uint32_t tag            # what the value is
    uint64_t value

cdef class Memo:
    """A cache from (attribute set, tag) to a value; owns no set, and forgets those that go."""

    cdef note_t *notes          # NULL until the first put()
    cdef bint told              # somebody tells us when a set goes; otherwise nothing is kept

    cdef bint get(self, uint32_t attrs_h, uint32_t tag, uint64_t *value) noexcept nogil
    cdef int put(self, uint32_t attrs_h, uint32_t tag, uint64_t value) except -1 nogil
    cdef void forget(self, uint32_t attrs_h, uint32_t raw_h) noexcept nogil
