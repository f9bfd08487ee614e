"""Regular expressions over AS paths: does one match in this AS_PATH.

In: an automaton from rs/aspathre.py, and the octets of an AS_PATH with 4-octet AS numbers. Out: yes
or no. A state is the set of positions reached, one bit each, so the time is that of the path times
at most 64 and nothing is allocated. Segments are read as their numbers in order; confederation
segments and sets are no exception.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.asnset cimport AsnSet
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.wire cimport load32

check_abi(__name__)

cdef extern from *:
    int ctz "__builtin_ctzll"(unsigned long long) noexcept nogil

cdef enum:
    MARK_NONE = 0
    MARK_BEGIN = 1
    MARK_END = 2
    MAX_POSITIONS = 64


@cython.final
cdef class AsPath:
    def __cinit__(self, regex, dict named):
        cdef uint32_t i
        cdef symbol_t *s
        cdef AsnSet listed
        self.n = len(regex.symbols)
        if self.n > MAX_POSITIONS:
            raise ValueError(f"at most {MAX_POSITIONS} positions, not {self.n}")
        self.first = regex.first
        self.last = regex.last
        self.always = regex.always
        self.sets = []
        cdef uint32_t n_named = 0
        for i, (symbol, follow) in enumerate(zip(regex.symbols, regex.follow)):
            self.follow[i] = follow
            s = &self.symbols[i]
            s.mark = {"^": MARK_BEGIN, "$": MARK_END}.get(symbol.mark, MARK_NONE)
            s.negated = symbol.negated
            s.first = 1
            s.last = 0
            s.listed = NULL
            if len(symbol.ranges) == 1:
                s.first, s.last = symbol.ranges[0]
            elif symbol.ranges:
                listed = AsnSet([low for low, high in symbol.ranges if low == high],
                                [pair for pair in symbol.ranges if pair[0] != pair[1]])
                self.sets.append(listed)
                s.listed = <void *>listed
            s.names_at = n_named
            s.n_names = len(symbol.names)
            for name in symbol.names:
                if n_named == MAX_POSITIONS:
                    raise ValueError(f"at most {MAX_POSITIONS} named sets in one expression")
                listed = <AsnSet?>named[name]
                self.sets.append(listed)
                self.named[n_named] = <void *>listed
                n_named += 1

    cdef bint _is(self, uint32_t position, uint32_t mark, uint32_t asn) except -1:
        """Whether a position matches the beginning, the end, or an AS number."""
        cdef symbol_t *s = &self.symbols[position]
        cdef uint32_t i
        if mark or s.mark:
            return s.mark == mark
        if s.first <= asn <= s.last:
            return not s.negated
        if s.listed != NULL and (<AsnSet>s.listed).has(asn):
            return not s.negated
        for i in range(s.n_names):
            if (<AsnSet>self.named[s.names_at + i]).has(asn):
                return not s.negated
        return s.negated != 0

    cdef bint search(self, const uint8_t *path, uint32_t n) except -1:
        """Whether the expression is found in an AS_PATH value of `n` octets."""
        cdef const uint8_t *p = path
        cdef const uint8_t *end = path + n
        cdef uint32_t left = 0, asn = 0, mark = MARK_BEGIN, at
        cdef uint64_t state = 0, may, bits
        if self.always:
            return True
        while True:
            may = self.first
            while state:
                may |= self.follow[ctz(state)]
                state &= state - 1
            while may:
                at = <uint32_t>ctz(may)
                bits = <uint64_t>1 << at
                may ^= bits
                if self._is(at, mark, asn):
                    state |= bits
            if state & self.last:
                return True
            if mark == MARK_END:
                return False
            mark = MARK_NONE
            while left == 0:
                if p >= end:
                    mark = MARK_END
                    break
                left = p[1]
                p += 2
            if mark == MARK_NONE:
                asn = load32(p)
                p += 4
                left -= 1

    def matches(self, asns):
        """Return whether it is found in a path of these AS numbers, the leftmost first."""
        cdef bytes path = b""
        cdef list found = list(asns)
        for at in range(0, len(found), 255):
            part = found[at:at + 255]
            path += bytes((2, len(part))) + b"".join([int(a).to_bytes(4, "big") for a in part])
        return self.search(path, <uint32_t>len(path))
