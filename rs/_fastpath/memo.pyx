"""What policies have found out about attribute sets: a cache of fixed size.

In: an attribute set, a tag (which policy asks, or which changes are meant) and a value. Out: the
value again, as long as it has not been replaced. Nothing is owned: whoever frees a set says so
first, and then nothing here names it any more.

2 MB from the first use on; without policies nothing.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from rs._fastpath.stamp cimport check_abi

check_abi(__name__)

cdef enum:
    BUCKETS = 32768         # a power of two


@cython.final
cdef class Memo:
    def __cinit__(self):
        self.notes = NULL

    def __dealloc__(self):
        free(self.notes)

    cdef bint get(self, uint32_t attrs_h, uint32_t tag, uint64_t *value) noexcept nogil:
        """Whether something is known; it is put into `value`."""
        cdef note_t *b
        cdef uint32_t i
        if self.notes == NULL:
            return False
        b = self.notes + <uint64_t>(attrs_h & (BUCKETS - 1)) * MEMO_WAYS
        for i in range(MEMO_WAYS):
            if b[i].attrs_h == attrs_h and b[i].tag == tag:
                value[0] = b[i].value
                return True
        return False

    cdef int put(self, uint32_t attrs_h, uint32_t tag, uint64_t value) except -1 nogil:
        """Note something new; the oldest of its neighbors goes."""
        cdef note_t *b
        cdef uint32_t i
        if not self.told:
            return 0
        if self.notes == NULL:
            self.notes = <note_t *>calloc(<uint64_t>BUCKETS * MEMO_WAYS, sizeof(note_t))
            if self.notes == NULL:
                with gil:
                    raise MemoryError
        b = self.notes + <uint64_t>(attrs_h & (BUCKETS - 1)) * MEMO_WAYS
        for i in range(MEMO_WAYS - 1, 0, -1):
            b[i] = b[i - 1]
        b[0].attrs_h = attrs_h
        b[0].tag = tag
        b[0].value = value
        return 0

    cdef void forget(self, uint32_t attrs_h, uint32_t raw_h) noexcept nogil:
        """A set goes: drop what is known of it, and where it is what `raw_h` was changed to."""
        cdef note_t *b
        cdef uint32_t i
        if self.notes == NULL:
            return
        b = self.notes + <uint64_t>(attrs_h & (BUCKETS - 1)) * MEMO_WAYS
        for i in range(MEMO_WAYS):
            if b[i].attrs_h == attrs_h:
                b[i].attrs_h = 0
                b[i].tag = 0
        if raw_h == 0:
            return
        b = self.notes + <uint64_t>(raw_h & (BUCKETS - 1)) * MEMO_WAYS
        for i in range(MEMO_WAYS):
            if b[i].tag & MEMO_SET and b[i].value == attrs_h:
                b[i].attrs_h = 0
                b[i].tag = 0
