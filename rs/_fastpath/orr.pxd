# The decision process from somewhere else: optimal route reflection. Implementation: orr.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.decide cimport candidate_t
from rs._fastpath.rib cimport Table
from rs._fastpath.types cimport nexthop_t

# What a vantage knows of a next hop. 24 B a next hop and vantage, indexed by next-hop handle. A
# handle may come to mean another next hop, so the address it was asked for stands beside.
cdef struct far_t:
    uint8_t addr[16]        # global address, as in nexthop_t
    uint32_t metric         # 0xFFFFFFFF = unreachable
    uint8_t len             # 4 or 16; 0 = not asked for yet
    uint8_t _pad[3]

cdef class Vantage:
    """The place in the network that a group of clients is at: its own metrics to next hops."""

    cdef readonly AttrTable attrs
    cdef object metric_of       # callable(next hop in text) -> int, or None for unreachable
    cdef far_t *far             # by next-hop handle
    cdef uint32_t far_cap
    cdef candidate_t *candidates
    cdef uint32_t *ranking      # of the prefix ranked last: path handles, best first, then 0
    cdef uint32_t cap           # candidates and ranking, one less
    cdef uint32_t at            # the next one of the ranking
    cdef readonly uint64_t ranked   # prefixes ranked

    cdef uint32_t first(self, Table table, uint32_t h) except? 0
    cdef uint32_t _metric(self, uint32_t hop_h) except? 0xFFFFFFFE
    cdef uint32_t _ask(self, nexthop_t *hop) except? 0xFFFFFFFE
    cdef int _reserve(self, uint32_t n) except -1

    cdef inline uint32_t known(self, uint32_t hop_h) noexcept nogil:
        """Metric to a next hop of the prefix that was ranked last."""
        return self.far[hop_h].metric

    cdef inline uint32_t following(self) noexcept nogil:
        """The path after the one that first() or following() gave; 0 when there is none."""
        cdef uint32_t p_h = self.ranking[self.at]
        if p_h:
            self.at += 1
        return p_h
