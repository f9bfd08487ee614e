"""Prefix sets: "is this prefix on that list", for lists of any size, in some ten nanoseconds.

In: prefixes in text, each with the range of lengths it stands for (exact, or ge and le). Out: yes
or no for a prefix of the RIB. A set owns its two hash tables, IPv4 and IPv6 apart: 8 B and 24 B an
entry at a load of at most 0.8, since an exchange loads millions of IRR entries. Look-ups try only
lengths that some entry has; a list of bgpq4 without ranges has few. Sets are built once and then
shared by all neighbors that name them.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from rs._fastpath.text cimport parse_addr
from rs._fastpath.wire cimport load32, load64, prefix_load
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef inline uint32_t hash4(uint32_t addr, uint32_t plen) noexcept nogil:
    cdef uint64_t h = (<uint64_t>addr << 8 | plen) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(h >> 32)


cdef inline uint32_t hash6(uint64_t hi, uint64_t lo, uint32_t plen) noexcept nogil:
    cdef uint64_t h = hi ^ (lo * <uint64_t>0xC2B2AE3D27D4EB4F) ^ plen
    h *= <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>((h ^ (h >> 29)) >> 16)


cdef inline uint64_t mask64(uint32_t bits) noexcept nogil:
    return ~<uint64_t>0 << (64 - bits) if bits else 0


@cython.final
cdef class PrefixSet:
    def __cinit__(self):
        self.cap4 = 0
        self.cap6 = 0

    def __dealloc__(self):
        free(self.v4)
        free(self.v6)

    def __len__(self):
        return self.n4 + self.n6

    cdef int _grow4(self, uint32_t cap) except -1:
        cdef item4_t *table = <item4_t *>malloc(<uint64_t>cap * sizeof(item4_t))
        cdef uint32_t i, j
        if table == NULL:
            raise MemoryError
        memset(table, 0xFF, <uint64_t>cap * sizeof(item4_t))
        for i in range(self.cap4):
            if self.v4[i].plen != 255:
                j = <uint32_t>((<uint64_t>hash4(self.v4[i].addr, self.v4[i].plen) * cap) >> 32)
                while table[j].plen != 255:
                    j = j + 1 if j + 1 < cap else 0
                table[j] = self.v4[i]
        free(self.v4)
        self.v4 = table
        self.cap4 = cap
        return 0

    cdef int _grow6(self, uint32_t cap) except -1:
        cdef item6_t *table = <item6_t *>malloc(<uint64_t>cap * sizeof(item6_t))
        cdef uint32_t i, j
        if table == NULL:
            raise MemoryError
        memset(table, 0xFF, <uint64_t>cap * sizeof(item6_t))
        for i in range(self.cap6):
            if self.v6[i].plen != 255:
                j = <uint32_t>((<uint64_t>hash6(self.v6[i].hi, self.v6[i].lo, self.v6[i].plen)
                                * cap) >> 32)
                while table[j].plen != 255:
                    j = j + 1 if j + 1 < cap else 0
                table[j] = self.v6[i]
        free(self.v6)
        self.v6 = table
        self.cap6 = cap
        return 0

    cdef int put(self, uint32_t family, const uint8_t *addr, uint32_t plen, uint32_t low,
                 uint32_t high) except -1:
        """Add a masked prefix that stands for lengths `low` to `high`; twice the same is once."""
        cdef uint32_t i, a
        cdef uint64_t hi, lo
        if family == 0:
            if self.n4 >= self.cap4 - (self.cap4 >> 2):
                self._grow4(self.cap4 + (self.cap4 >> 1) + 16)
            a = load32(addr)
            i = <uint32_t>((<uint64_t>hash4(a, plen) * self.cap4) >> 32)
            while self.v4[i].plen != 255:
                if (self.v4[i].addr == a and self.v4[i].plen == plen and self.v4[i].low <= low
                        and high <= self.v4[i].high):
                    return 0
                i = i + 1 if i + 1 < self.cap4 else 0
            self.v4[i].addr = a
            self.v4[i].plen = <uint8_t>plen
            self.v4[i].low = <uint8_t>low
            self.v4[i].high = <uint8_t>high
            self.n4 += 1
            self.lens4 |= <uint64_t>1 << plen
            return 0
        if self.n6 >= self.cap6 - (self.cap6 >> 2):
            self._grow6(self.cap6 + (self.cap6 >> 1) + 16)
        hi = load64(addr)
        lo = load64(addr + 8)
        i = <uint32_t>((<uint64_t>hash6(hi, lo, plen) * self.cap6) >> 32)
        while self.v6[i].plen != 255:
            if (self.v6[i].hi == hi and self.v6[i].lo == lo and self.v6[i].plen == plen
                    and self.v6[i].low <= low and high <= self.v6[i].high):
                return 0
            i = i + 1 if i + 1 < self.cap6 else 0
        self.v6[i].hi = hi
        self.v6[i].lo = lo
        self.v6[i].plen = <uint8_t>plen
        self.v6[i].low = <uint8_t>low
        self.v6[i].high = <uint8_t>high
        self.n6 += 1
        self.lens6[plen >> 6] |= <uint64_t>1 << (plen & 63)
        return 0

    cdef bint match(self, uint32_t family, const uint8_t *addr, uint32_t plen,
                    bint longer) noexcept nogil:
        """Whether a masked prefix is on the list; with `longer` below an entry is enough."""
        cdef uint32_t length, i, a
        cdef uint64_t hi, lo
        cdef int n
        if family == 0:
            if self.n4 == 0:
                return False
            for n in range(<int>plen, -1, -1):
                length = <uint32_t>n
                if not (self.lens4 >> length) & 1:
                    continue
                a = load32(addr) & <uint32_t>(mask64(length) >> 32)
                i = <uint32_t>((<uint64_t>hash4(a, length) * self.cap4) >> 32)
                while self.v4[i].plen != 255:
                    if self.v4[i].addr == a and self.v4[i].plen == length and (
                            longer or self.v4[i].low <= plen <= self.v4[i].high):
                        return True
                    i = i + 1 if i + 1 < self.cap4 else 0
            return False
        if self.n6 == 0:
            return False
        for n in range(<int>plen, -1, -1):
            length = <uint32_t>n
            if not (self.lens6[length >> 6] >> (length & 63)) & 1:
                continue
            hi = load64(addr) & mask64(length if length < 64 else 64)
            lo = load64(addr + 8) & mask64(length - 64 if length > 64 else 0)
            i = <uint32_t>((<uint64_t>hash6(hi, lo, length) * self.cap6) >> 32)
            while self.v6[i].plen != 255:
                if self.v6[i].hi == hi and self.v6[i].lo == lo and self.v6[i].plen == length and (
                        longer or self.v6[i].low <= plen <= self.v6[i].high):
                    return True
                i = i + 1 if i + 1 < self.cap6 else 0
        return False

    # --- for Python -------------------------------------------------------------------------------

    def add(self, str prefix, int ge=-1, int le=-1):
        """Add "10.0.0.0/8", standing for itself, or for lengths `ge` to `le` (the longest there is
        if only `ge` is given). ValueError for what is no prefix or no range."""
        cdef uint8_t raw[16]
        cdef uint8_t addr[16]
        address, slash, length = prefix.partition("/")
        cdef uint32_t width = parse_addr(address, raw)
        cdef int bits = width * 8
        cdef int plen
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError(f"{prefix}: the length is not a number")
        plen = int(length) if slash else bits
        if plen > bits:
            raise ValueError(f"{prefix}: the length is at most {bits}")
        if ge < 0:
            ge = plen
            if le < 0:
                le = plen
        elif le < 0:
            le = bits
        if not plen <= ge <= le <= bits:
            raise ValueError(f"{prefix}: lengths {ge} to {le} are not a range of {plen} to {bits}")
        memset(addr, 0, 16)
        prefix_load(raw, plen, addr, width)
        self.put(0 if width == 4 else 1, addr, plen, ge, le)

    def fit(self):
        """Give back the room that was for growing; call when a set is complete."""
        if self.cap4 > self.n4 + (self.n4 >> 2) + 2:
            self._grow4(self.n4 + (self.n4 >> 2) + 2)
        if self.cap6 > self.n6 + (self.n6 >> 2) + 2:
            self._grow6(self.n6 + (self.n6 >> 2) + 2)

    def contains(self, str prefix, bint longer=False):
        """Whether a prefix is on the list; `longer`: or below one that is."""
        cdef uint8_t raw[16]
        cdef uint8_t addr[16]
        address, _, length = prefix.partition("/")
        cdef uint32_t width = parse_addr(address, raw)
        memset(addr, 0, 16)
        prefix_load(raw, int(length), addr, width)
        return self.match(0 if width == 4 else 1, addr, int(length), longer)

    def stats(self):
        """Return entries by family and the octets they take."""
        return {"ipv4": self.n4, "ipv6": self.n6,
                "bytes": (<uint64_t>self.cap4 * sizeof(item4_t)
                          + <uint64_t>self.cap6 * sizeof(item6_t))}
