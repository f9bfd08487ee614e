"""Who is there: the slots of the peers that an AS number, or a round-trip time, stands for.

In: AS numbers with their slots, 16-bit numbers that stand for AS numbers, round-trip times, and who
accepts no black holes; all of it anew whenever a peer comes, goes or changes. Out: bitmaps over
slots, which control.pyx works with when it compiles an attribute set. The directory owns them.

Memory: a bitmap for each distinct AS number, 2 for each threshold, 1 bit a slot; and at least 24 B
for each AS number in the index.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from rs._fastpath.sets cimport MemberSets
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef inline void put_slot(uint64_t *bits, uint32_t slot) noexcept nogil:
    bits[slot >> 6] |= <uint64_t>1 << (slot & 63)


cdef asn_entry_t *make_index(dict rows, uint32_t *cap) except NULL:
    """Return a directory of numbers -> (slots, row), of twice their size at least."""
    cdef uint32_t i, number
    cdef asn_entry_t *index
    cap[0] = 256
    while cap[0] < 2 * len(rows):
        cap[0] *= 2
    index = <asn_entry_t *>calloc(cap[0], sizeof(asn_entry_t))
    if index == NULL:
        raise MemoryError
    for number_, (n_slots, row) in rows.items():
        number = number_
        i = (number * <uint32_t>HASH) & (cap[0] - 1)
        while index[i].asn:
            i = (i + 1) & (cap[0] - 1)
        index[i].asn = number
        index[i].n_slots = n_slots
        index[i].row = row
    return index


@cython.final
cdef class Directory:
    def __cinit__(self, MemberSets sets not None):
        self.sets = sets
        self.asns_cap = 256
        self.asns = <asn_entry_t *>calloc(self.asns_cap, sizeof(asn_entry_t))
        self.row_words = sets.words
        self.rows = <uint64_t *>malloc(8)
        if self.asns == NULL or self.rows == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.asns)
        free(self.mapped)
        free(self.rows)
        free(self.thresholds)
        free(self.rtt_rows)
        free(self.no_holes)

    cdef int fill(self, dict slots_by_asn, dict mapped, dict rtt, list thresholds,
                  no_black_holes) except -1:
        """Replace everything; see Control.set_peers. `thresholds` rise.

        ValueError for a slot that the member sets have no room for.
        """
        cdef uint32_t words = self.sets.words
        cdef uint32_t cap
        cdef uint64_t *rows
        cdef asn_entry_t *index
        cdef dict found = {}
        for slots in (*slots_by_asn.values(), rtt, no_black_holes):
            for s in slots:
                if s >= 64 * words:
                    raise ValueError(f"slot {s} is not in the member sets")
        rows = <uint64_t *>calloc((len(slots_by_asn) + 1) * words, 8)
        if rows == NULL:
            raise MemoryError
        free(self.rows)
        self.rows = rows
        self.rows_top = 0
        self.row_words = words
        for asn, slots in slots_by_asn.items():
            for s in slots:
                put_slot(self.rows + <uint64_t>self.rows_top * words, s)
            found[asn] = (len(slots), self.rows_top)
            self.rows_top += 1
        index = make_index(found, &cap)
        free(self.asns)
        self.asns = index
        self.asns_cap = cap
        free(self.mapped)
        self.mapped = NULL
        self.mapped_cap = 0
        named = {number: found[asn] for number, asn in mapped.items() if asn in found}
        if named:
            self.mapped = make_index(named, &cap)
            self.mapped_cap = cap
        self._fill_times(rtt, thresholds)
        free(self.no_holes)
        self.no_holes = <uint64_t *>calloc(words, 8)
        if self.no_holes == NULL:
            raise MemoryError
        for s in no_black_holes:
            put_slot(self.no_holes, s)
        return 0

    cdef int _fill_times(self, dict rtt, list thresholds) except -1:
        """Note who is below and above each threshold; who has no time is neither."""
        cdef uint32_t i, words = self.row_words
        cdef uint64_t *rows = <uint64_t *>calloc(2 * len(thresholds) * words + 1, 8)
        cdef uint32_t *times = <uint32_t *>malloc(4 * len(thresholds) + 4)
        if rows == NULL or times == NULL:
            free(rows)
            free(times)
            raise MemoryError
        free(self.rtt_rows)
        free(self.thresholds)
        self.rtt_rows = rows
        self.thresholds = times
        self.n_thresholds = len(thresholds)
        for i, threshold in enumerate(thresholds):
            times[i] = threshold
            for slot, ms in rtt.items():
                if ms < threshold:
                    put_slot(rows + <uint64_t>(2 * i) * words, slot)
                elif ms > threshold:
                    put_slot(rows + <uint64_t>(2 * i + 1) * words, slot)
        return 0
