# VRPs. Implementation and explanation: roa.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport slab_t
from rs._fastpath.trie cimport Trie
from rs._fastpath.types cimport FAM_IPV4

cdef enum:
    ROA_NOT_FOUND = 0       # no VRP covers the prefix: "unknown" in older texts
    ROA_VALID = 1
    ROA_INVALID = 2

    S_OK = 0                # what became of a record that was staged
    S_DUPLICATE = 1
    S_UNKNOWN = 2
    S_CORRUPT = 3
    S_LIMIT = 4

    N_SOURCES = 16          # caches and files whose union is in use at a time

# One VRP, whoever says it; 12 B. The first VRP of a prefix stands in an array indexed by the
# prefix's trie handle, further ones in a slab.
cdef struct vrp_t:
    uint32_t asn            # 0: nobody may announce the prefix (RFC 6483 4)
    uint32_t link           # slab handle of the prefix's next VRP << 8 | max length
    uint16_t sources        # bit per source that says it; none: not in use (yet, or any longer)
    uint16_t staged         # bit per source with a transaction: seen (reset) or changes (delta)

# A prefix whose VRPs changed, as consumers get it.
cdef struct roa_change_t:
    uint8_t addr[16]        # host bits zero; IPv4 in the first four octets
    uint8_t family          # FAM_*
    uint8_t plen

# A change not yet handed out; 8 B, only between a commit and take().
cdef struct pending_t:
    uint32_t h              # trie handle, which may have been freed or reused since
    uint8_t family
    uint8_t report          # 0: only VRPs to be freed, nothing visible changed

# What a source has said, and its open transaction.
cdef struct source_t:
    uint32_t held           # VRPs in use
    uint32_t staged         # VRPs of a reset so far; announcements less withdrawals of a delta
    uint32_t limit          # most VRPs it may hold
    uint32_t n_touched      # delta: prefixes with changes, family in the top bit
    uint32_t touched_cap
    uint32_t *touched
    uint8_t known
    uint8_t open            # a transaction is open
    uint8_t reset           # it replaces everything

cdef class RoaFamily:
    """The VRPs of one family; owns their memory."""

    cdef Trie trie
    cdef readonly uint32_t vrps     # in use
    cdef vrp_t *first               # by trie handle: the prefix's first VRP
    cdef uint32_t first_cap
    cdef slab_t more                # vrp_t: every further one

    cdef uint32_t state(self, const uint8_t *addr, uint32_t plen, uint32_t origin_as) noexcept nogil
    cdef vrp_t *find(self, uint32_t h, uint32_t asn, uint32_t max_len) noexcept nogil
    cdef vrp_t *place(self, const uint8_t *addr, uint32_t plen, uint32_t max_len, uint32_t asn,
                      uint32_t *h) except NULL
    cdef uint32_t settle(self, source_t *s, uint16_t bit, uint32_t h, bint keep,
                         uint32_t *added, uint32_t *removed) noexcept nogil
    cdef int purge(self, uint32_t h) except -1

cdef class RoaTable:
    """VRPs of both families with the sources that say them.

    `state` may be called at any time, also in the middle of a transaction: it sees what was
    committed.
    """

    cdef RoaFamily v4
    cdef RoaFamily v6
    cdef source_t sources[N_SOURCES]
    cdef list names
    cdef pending_t *pending
    cdef uint32_t pending_at        # next to hand out
    cdef uint32_t n_pending
    cdef uint32_t pending_cap

    cdef uint32_t take(self, roa_change_t *out, uint32_t n) except? 0xFFFFFFFF

    cdef int _stage(self, uint32_t source, uint32_t family, const uint8_t *addr, uint32_t plen,
                    uint32_t max_len, uint32_t asn, bint announce) except -1
    cdef int _touch(self, source_t *s, uint32_t family, uint32_t h) except -1
    cdef int _room_pending(self, uint32_t n) except -1
    cdef void _free_pending(self) noexcept nogil
    cdef void _note(self, uint32_t family, uint32_t h, uint32_t flags) noexcept nogil
    cdef int _finish(self, uint32_t source, bint keep, bint report, uint32_t *added,
                     uint32_t *removed) except -1
    cdef source_t *_opened(self, uint32_t source) except NULL

    cdef inline uint32_t state(self, uint32_t family, const uint8_t *addr, uint32_t plen,
                               uint32_t origin_as) noexcept nogil:
        """Return ROA_* of a route (RFC 6811 2); `origin_as` 0 for a path that ends in a set."""
        if family == FAM_IPV4:
            return self.v4.state(addr, plen, origin_as)
        return self.v6.state(addr, plen, origin_as)
