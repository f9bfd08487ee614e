"""Sets of AS numbers: members of an AS-SET, bogons, networks that never come by a route server.

In: numbers and (first, last) ranges. Out: yes or no, in a nanosecond or two. Immutable.
"""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


@cython.final
cdef class AsnSet:
    def __cinit__(self, numbers=(), ranges=()):
        cdef uint32_t i, a
        singles = {int(x) for x in numbers}
        for x in singles:
            if not 0 <= x <= 0xFFFFFFFF:
                raise ValueError(f"{x} is not an AS number")
        # 0 marks an empty slot, so it is kept as a range.
        listed = [(0, 0)] if 0 in singles else []
        listed += [(int(a), int(b)) for a, b in ranges]
        singles.discard(0)
        self.n = len(singles)
        if singles:
            self.cap = 4
            while self.cap < 2 * self.n:
                self.cap *= 2
            self.slots = <uint32_t *>calloc(self.cap, 4)
            if self.slots == NULL:
                raise MemoryError
            for x in singles:
                a = x
                i = (a * <uint32_t>2654435761) & (self.cap - 1)
                while self.slots[i]:
                    i = (i + 1) & (self.cap - 1)
                self.slots[i] = a
        self.n_ranges = len(listed)
        if listed:
            self.ranges = <asn_range_t *>malloc(self.n_ranges * sizeof(asn_range_t))
            if self.ranges == NULL:
                raise MemoryError
            for j, (first, last) in enumerate(listed):
                if not 0 <= first <= last <= 0xFFFFFFFF:
                    raise ValueError(f"{first} to {last} is not a range of AS numbers")
                self.ranges[<uint32_t>j].first = first
                self.ranges[<uint32_t>j].last = last

    def __dealloc__(self):
        free(self.slots)
        free(self.ranges)

    cdef bint has(self, uint32_t asn) noexcept nogil:
        cdef uint32_t i
        if self.cap:
            i = (asn * <uint32_t>2654435761) & (self.cap - 1)
            while self.slots[i]:
                if self.slots[i] == asn:
                    return True
                i = (i + 1) & (self.cap - 1)
        for i in range(self.n_ranges):
            if self.ranges[i].first <= asn <= self.ranges[i].last:
                return True
        return False

    def __contains__(self, asn):
        return 0 <= asn <= 0xFFFFFFFF and self.has(asn)

    def __len__(self):
        return self.n + self.n_ranges
