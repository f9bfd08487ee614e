"""Member sets: interned bitmaps over peer slots, the currency of the whole export.

In: bitmaps. Out: 32-bit handles, equal exactly when the bitmaps are equal. What a path may reach,
who has been sent what, and whom a message in the log is for are all member sets, so path hiding,
exclusion and split horizon are ANDs of a few words, whatever the number of members.

A set speaks of all slots, in use or not: bit 0 is nobody's slot and says what the set holds of
slots that no peer has. A peer that comes later is therefore in "all but X" and not in "only X"
without any set being touched.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef inline uint32_t hash_bits(const uint64_t *bits, uint32_t words) noexcept nogil:
    cdef uint64_t h = 0x9E3779B97F4A7C15
    cdef uint32_t i
    for i in range(words):
        h = (h ^ bits[i]) * <uint64_t>0xFF51AFD7ED558CCD
        h ^= h >> 32
    return <uint32_t>h


@cython.final
cdef class MemberSets:
    def __cinit__(self, uint32_t n_slots=64):
        self.words = (n_slots + 63) >> 6 if n_slots else 1
        self.cap = 256
        self.top = 2
        self.live = 2
        self.meta = <set_meta_t *>malloc(self.cap * sizeof(set_meta_t))
        self.bits_base = <uint64_t *>malloc(<uint64_t>self.cap * self.words * 8)
        self.index_cap = 512
        self.index = <uint32_t *>calloc(self.index_cap, 4)
        memset(self.minus_cache, 0, sizeof(self.minus_cache))
        if self.meta == NULL or self.bits_base == NULL or self.index == NULL:
            raise MemoryError
        memset(self.bits(SET_ALL), 0xFF, self.words * 8)
        memset(self.bits(SET_NONE), 0, self.words * 8)
        for h in range(2):
            self.meta[h].refs = 1
            self.meta[h].hash = hash_bits(self.bits(h), self.words)
        self._rehash(self.index_cap)

    def __dealloc__(self):
        free(self.meta)
        free(self.bits_base)
        free(self.index)

    cdef int _rehash(self, uint32_t cap) except -1 nogil:
        cdef uint32_t *index = <uint32_t *>calloc(cap, 4)
        cdef uint32_t h, i
        if index == NULL:
            with gil:
                raise MemoryError
        for h in range(self.top):
            if self.meta[h].refs:
                i = self.meta[h].hash & (cap - 1)
                while index[i]:
                    i = (i + 1) & (cap - 1)
                index[i] = h + 1
        free(self.index)
        self.index = index
        self.index_cap = cap
        return 0

    cdef uint32_t intern(self, const uint64_t *bits) except? 0xFFFFFFFF nogil:
        """Return the handle of the set with these bits: a new reference."""
        cdef uint32_t hash_ = hash_bits(bits, self.words)
        cdef uint32_t i = hash_ & (self.index_cap - 1)
        cdef uint32_t h, cap
        cdef void *p
        while self.index[i]:
            h = self.index[i] - 1
            if self.meta[h].hash == hash_ and memcmp(self.bits(h), bits, self.words * 8) == 0:
                if h > SET_NONE:
                    self.meta[h].refs += 1
                return h
            i = (i + 1) & (self.index_cap - 1)
        if self.free_h:
            h = self.free_h
            self.free_h = self.meta[h].hash
        else:
            if self.top == self.cap:
                cap = self.cap + (self.cap >> 1)
                p = realloc(self.meta, <uint64_t>cap * sizeof(set_meta_t))
                if p == NULL:
                    with gil:
                        raise MemoryError
                self.meta = <set_meta_t *>p
                p = realloc(self.bits_base, <uint64_t>cap * self.words * 8)
                if p == NULL:
                    with gil:
                        raise MemoryError
                self.bits_base = <uint64_t *>p
                self.cap = cap
            h = self.top
            self.top += 1
        memcpy(self.bits(h), bits, self.words * 8)
        self.meta[h].hash = hash_
        self.meta[h].refs = 1
        self.live += 1
        self.index[i] = h + 1
        if self.live * 2 > self.index_cap:
            self._rehash(self.index_cap * 2)
        return h

    cdef void release(self, uint32_t h) noexcept nogil:
        """Free a set whose last reference has gone; called by unref."""
        cdef uint32_t mask = self.index_cap - 1
        cdef uint32_t i = self.meta[h].hash & mask
        cdef uint32_t j, home
        while self.index[i] != h + 1:
            if self.index[i] == 0:
                break
            i = (i + 1) & mask
        if self.index[i]:
            # Backward-shift deletion: no tombstones.
            j = i
            while True:
                j = (j + 1) & mask
                if self.index[j] == 0:
                    break
                home = self.meta[self.index[j] - 1].hash & mask
                if ((j - home) & mask) >= ((j - i) & mask):
                    self.index[i] = self.index[j]
                    i = j
            self.index[i] = 0
        self.meta[h].hash = self.free_h
        self.free_h = h
        self.live -= 1

    cdef uint32_t minus(self, uint32_t set_h, uint32_t slot) except? 0xFFFFFFFF nogil:
        """Return set_h without one slot: a new reference. The commonest set there is; cached."""
        cdef uint32_t r
        cdef uint64_t buf[1024]
        cdef minus_t *c
        if not self.has(set_h, slot):
            if set_h > SET_NONE:
                self.meta[set_h].refs += 1
            return set_h
        c = &self.minus_cache[(set_h * <uint32_t>2654435761 + slot) & (MINUS_CACHE - 1)]
        if c.result_h and c.set_h == set_h and c.slot == slot:
            self.meta[c.result_h].refs += 1
            return c.result_h
        memcpy(buf, self.bits(set_h), self.words * 8)
        buf[slot >> 6] &= ~(<uint64_t>1 << (slot & 63))
        r = self.intern(buf)
        if r <= SET_NONE:
            return r
        # The entry holds both sets, so that neither handle can come to mean another set.
        if c.result_h:
            self.unref(c.result_h)
            self.unref(c.set_h)
        c.set_h = set_h
        c.slot = slot
        c.result_h = r
        if set_h > SET_NONE:
            self.meta[set_h].refs += 1
        self.meta[r].refs += 1
        return r

    cdef void _drop_cache(self) noexcept nogil:
        cdef uint32_t i
        for i in range(MINUS_CACHE):
            if self.minus_cache[i].result_h:
                self.unref(self.minus_cache[i].result_h)
                self.unref(self.minus_cache[i].set_h)
                self.minus_cache[i].result_h = 0

    cdef int grow_words(self, uint32_t words) except -1:
        """Make room for slots up to 64 * words - 1; every set keeps its meaning and its handle."""
        cdef uint64_t *bits
        cdef uint32_t h, i
        if words > 1024:
            raise ValueError("at most 65,535 peers")
        bits = <uint64_t *>malloc(<uint64_t>self.cap * words * 8)
        if bits == NULL:
            raise MemoryError
        for h in range(self.top):
            memcpy(bits + <uint64_t>h * words, self.bits(h), self.words * 8)
            for i in range(self.words, words):
                bits[<uint64_t>h * words + i] = <uint64_t>0 - (self.bits(h)[0] & 1)
        free(self.bits_base)
        self.bits_base = bits
        self.words = words
        for h in range(self.top):
            if h <= SET_NONE or self.meta[h].refs:
                self.meta[h].hash = hash_bits(self.bits(h), words)
        return self._rehash(self.index_cap)

    # --- for Python: tests and the looking glass --------------------------------------------------

    def make(self, slots, bint others=False):
        """Return a new reference to the set of these slots, with all slots without a peer if so
        wanted; give it back by drop(). IndexError for a slot beyond the words."""
        cdef uint64_t bits[1024]
        cdef uint32_t slot
        memset(bits, 0, self.words * 8)
        if others:
            bits[0] |= 1
        for s in slots:
            slot = s
            if slot == TAIL_SLOT or slot >= 64 * self.words:
                raise IndexError(f"slot {slot}")
            bits[slot >> 6] |= <uint64_t>1 << (slot & 63)
        return self.intern(bits)

    def without(self, uint32_t h, uint32_t slot):
        """Return a new reference to set `h` less one slot; give it back by drop()."""
        return self.minus(h, slot)

    def drop(self, uint32_t h):
        """Give back a reference."""
        self.unref(h)

    def members(self, uint32_t h, uint32_t n_slots):
        """Return the slots from 1 below `n_slots` that set `h` holds."""
        return [s for s in range(1, min(n_slots, self.words * 64)) if self.has(h, s)]

    def drop_cache(self):
        """Forget cached results, so that `live` counts only sets that somebody keeps."""
        self._drop_cache()

    def stats(self):
        """Return the number of sets in use and the octets they take."""
        return {"sets": self.live, "bytes": self.top * (self.words * 8 + sizeof(set_meta_t))
                + self.index_cap * 4 + sizeof(self.minus_cache)}
