# Who is there. Implementation: directory.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.sets cimport MemberSets
from rs._fastpath.wire cimport load16, load32

cdef enum:
    HASH = 2654435761
    ABSENT = 0xFFFFFFFF

cdef struct asn_entry_t:
    uint32_t asn        # 0 = empty
    uint32_t n_slots    # peers with this AS number
    uint32_t row        # their slots as a bitmap: row * row_words in Directory.rows

cdef inline uint32_t row_in(const asn_entry_t *index, uint32_t cap, uint32_t asn) noexcept nogil:
    """The row of a number, ABSENT when it is not in the directory."""
    cdef uint32_t i = (asn * <uint32_t>HASH) & (cap - 1)
    while index[i].asn:
        if index[i].asn == asn:
            return index[i].row
        i = (i + 1) & (cap - 1)
    return ABSENT

cdef class Directory:
    """Bitmaps over slots, of `row_words` words each: borrowed, until they are filled anew."""

    cdef MemberSets sets
    cdef asn_entry_t *asns          # open addressing by AS number
    cdef uint32_t asns_cap
    cdef asn_entry_t *mapped        # the same by the 16-bit number that stands for an AS number
    cdef uint32_t mapped_cap        # 0: nobody has one
    cdef uint64_t *rows             # bitmaps, one a distinct AS number
    cdef uint32_t row_words         # words each: sets may have grown since they were filled
    cdef uint32_t rows_top
    cdef uint32_t *thresholds       # round-trip times in ms that communities may name, rising
    cdef uint32_t n_thresholds
    cdef uint64_t *rtt_rows         # two bitmaps a threshold: members below, members above
    cdef uint64_t *no_holes         # members who do not accept black holes; NULL until filled

    cdef int fill(self, dict slots_by_asn, dict mapped, dict rtt, list thresholds,
                  no_black_holes) except -1
    cdef int _fill_times(self, dict rtt, list thresholds) except -1

    cdef inline uint64_t *row_of(self, uint32_t asn) noexcept nogil:
        """The slots of the peers with this AS number, or NULL when there are none."""
        cdef uint32_t row = row_in(self.asns, self.asns_cap, asn)
        return NULL if row == ABSENT else self.rows + <uint64_t>row * self.row_words

    cdef inline uint64_t *row_named(self, const uint8_t *v, uint32_t n) noexcept nogil:
        """The slots of the peers that `n` octets of a community name, 2 or 4, or NULL."""
        cdef uint32_t row
        if n == 4:
            return self.row_of(load32(v))
        if self.mapped_cap:
            row = row_in(self.mapped, self.mapped_cap, load16(v))
            if row != ABSENT:
                return self.rows + <uint64_t>row * self.row_words
        return self.row_of(load16(v))

    cdef inline uint32_t row_by_time(self, uint32_t ms, bint higher) noexcept nogil:
        """The number of the bitmap of members below or above a threshold; ABSENT if it is none."""
        cdef uint32_t i
        for i in range(self.n_thresholds):
            if self.thresholds[i] == ms:
                return 2 * i + higher
        return ABSENT

    cdef inline uint64_t *rtt_row(self, uint32_t row) noexcept nogil:
        return self.rtt_rows + <uint64_t>row * self.row_words
