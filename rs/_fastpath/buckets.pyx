"""Changes of one slice by (attribute set, member set): each bucket is one message's worth.

In: changes one by one, in the order of evaluation. Out: buckets, those for one member set in a row,
so that a member finds what is for it in long runs. A prefix stands at most once per member in a
batch, so the order among buckets does not matter to what members end up with.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort

from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef int compare_turns(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t *>a)[0]
    cdef uint64_t y = (<const uint64_t *>b)[0]
    return -1 if x < y else 1 if x > y else 0


@cython.final
cdef class Buckets:
    def __cinit__(self):
        self.buckets = <bucket_t *>malloc(BUCKET_CHANGES * sizeof(bucket_t))
        self.prefix = <uint32_t *>malloc(BUCKET_CHANGES * 4)
        self.link = <uint32_t *>malloc(BUCKET_CHANGES * 4)
        self.flat = <uint32_t *>malloc(BUCKET_CHANGES * 4)
        self.path_id = <uint32_t *>malloc(BUCKET_CHANGES * 4)
        self.flat_ids = <uint32_t *>malloc(BUCKET_CHANGES * 4)
        self.table = <uint64_t *>calloc(BUCKET_TABLE, 8)
        self.turn = <uint64_t *>malloc(BUCKET_CHANGES * 8)
        if (self.buckets == NULL or self.prefix == NULL or self.link == NULL or self.flat == NULL
                or self.table == NULL or self.path_id == NULL or self.flat_ids == NULL
                or self.turn == NULL):
            raise MemoryError
        self.generation = 1

    def __dealloc__(self):
        free(self.buckets)
        free(self.prefix)
        free(self.link)
        free(self.flat)
        free(self.path_id)
        free(self.flat_ids)
        free(self.table)
        free(self.turn)

    cdef int add(self, uint32_t attrs_h, uint32_t set_h, uint32_t prefix,
                 uint32_t path_id) noexcept nogil:
        """Add a change; the caller has checked that the batch is not full."""
        cdef uint32_t i, b
        cdef bucket_t *k
        b = self.last
        if not (self.n_buckets and self.buckets[b].attrs_h == attrs_h
                and self.buckets[b].set_h == set_h):
            i = (attrs_h * <uint32_t>2654435761 ^ set_h * <uint32_t>2246822519) & (BUCKET_TABLE - 1)
            while True:
                if <uint32_t>(self.table[i] >> 32) != self.generation:
                    b = self.n_buckets
                    self.n_buckets += 1
                    self.turn[b] = <uint64_t>set_h << 32 | b
                    if b and set_h != self.buckets[b - 1].set_h:
                        self.mixed = True
                    k = &self.buckets[b]
                    k.attrs_h = attrs_h
                    k.set_h = set_h
                    k.head = 0
                    k.tail = 0
                    k.n = 0
                    self.table[i] = <uint64_t>self.generation << 32 | (b + 1)
                    break
                b = <uint32_t>self.table[i] - 1
                if self.buckets[b].attrs_h == attrs_h and self.buckets[b].set_h == set_h:
                    break
                i = (i + 1) & (BUCKET_TABLE - 1)
            self.last = b
        k = &self.buckets[b]
        i = self.n_changes
        self.n_changes += 1
        self.prefix[i] = prefix
        self.path_id[i] = path_id
        self.link[i] = 0
        if k.tail:
            self.link[k.tail - 1] = i + 1
        else:
            k.head = i + 1
        k.tail = i + 1
        k.n += 1
        return 0

    cdef const uint32_t *prefixes(self, uint32_t b, uint32_t *n,
                                  const uint32_t **ids) noexcept nogil:
        """Return the prefixes of a bucket and their path identifiers, valid until the next call."""
        cdef bucket_t *k = &self.buckets[b]
        cdef uint32_t c = k.head, i = 0
        n[0] = k.n
        if k.tail - k.head + 1 == k.n:
            ids[0] = self.path_id + k.head - 1
            return self.prefix + k.head - 1     # added in one go: already in a row
        ids[0] = self.flat_ids
        while c:
            self.flat[i] = self.prefix[c - 1]
            self.flat_ids[i] = self.path_id[c - 1]
            i += 1
            c = self.link[c - 1]
        return self.flat

    cdef const uint64_t *arrange(self) noexcept nogil:
        """Return the buckets in the order to encode: the low half of each entry is its number."""
        if self.mixed:
            qsort(self.turn, self.n_buckets, 8, compare_turns)
        return self.turn

    cdef void clear(self) noexcept nogil:
        cdef uint32_t i
        self.mixed = False
        self.n_buckets = 0
        self.n_changes = 0
        self.last = 0
        self.generation += 1
        if self.generation == 0:
            for i in range(BUCKET_TABLE):
                self.table[i] = 0
            self.generation = 1
