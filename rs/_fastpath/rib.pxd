# Adj-RIB-In and Loc-RIB. Implementation: rib.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport slab_at, slab_t
from rs._fastpath.attrs cimport AttrTable, release_fn
from rs._fastpath.memo cimport Memo
from rs._fastpath.paths cimport DEST_DIRTY, dest_t, options_t, path_t
from rs._fastpath.peers cimport Peers
from rs._fastpath.terms cimport Terms
from rs._fastpath.trie cimport Trie

cdef class Rib(Peers)

cdef class Table:
    """Paths of one family: Adj-RIB-In of all peers and, by rank, the Loc-RIB."""

    cdef Rib rib
    cdef readonly uint32_t family
    cdef readonly Trie trie
    cdef dest_t *dests              # indexed by trie handle
    cdef uint32_t dests_cap
    cdef slab_t paths               # path_t
    cdef uint32_t *dirty            # queue of prefixes that changed
    cdef uint32_t dirty_cap
    cdef uint32_t dirty_head
    cdef uint32_t dirty_tail
    cdef readonly uint64_t drained  # prefixes ever taken from the queue
    cdef readonly uint32_t usable   # prefixes with a path in use
    cdef uint32_t holders           # members that keep track of prefixes by handle (group.pyx)
    cdef uint32_t *zombies          # prefixes without paths that holders may still refer to
    cdef uint32_t zombies_cap
    cdef uint32_t n_zombies
    cdef readonly uint64_t changes  # updates and withdrawals that changed something
    cdef uint64_t contested         # new paths for a prefix that had others already
    cdef uint64_t late              # of these, those that came when it had been looked at already
    cdef readonly uint64_t refused  # paths not entered, beyond a peer's limit for one prefix

    cdef int update(self, const uint8_t *addr, uint32_t plen, uint32_t slot, uint32_t path_id,
                    uint32_t attrs_h, uint32_t reason, uint32_t state,
                    uint32_t ticks) except -1 nogil
    cdef int withdraw(self, const uint8_t *addr, uint32_t plen, uint32_t slot,
                      uint32_t path_id) except -1 nogil
    cdef int rank(self, uint32_t h) except -1 nogil
    cdef uint32_t ensure(self, const uint8_t *addr, uint32_t plen) except 0 nogil
    cdef int vacate(self, uint32_t h) except -1 nogil
    cdef int release_holder(self) except -1 nogil
    cdef int note_state(self, uint32_t h, path_t *p) except -1 nogil
    cdef void unlink(self, uint32_t h, uint32_t prev, uint32_t path_h) noexcept nogil
    cdef uint32_t purge(self, const uint64_t *mask, bint only_stale, uint32_t pos,
                        uint32_t n) except? 0 nogil
    cdef int _grow(self, uint32_t h) except -1 nogil
    cdef int _grow_dirty(self) except -1 nogil

    cdef inline int mark(self, uint32_t h) except -1 nogil:
        """Queue a prefix for the next flush, once."""
        if self.dests[h].flags & DEST_DIRTY:
            return 0
        if self.dirty_tail == self.dirty_cap:
            self._grow_dirty()
        self.dests[h].flags |= DEST_DIRTY
        self.dirty[self.dirty_tail] = h
        self.dirty_tail += 1
        return 0

    cdef inline path_t *path(self, uint32_t h) noexcept nogil:
        return <path_t *>slab_at(&self.paths, h)

    cdef inline uint32_t dirty_count(self) noexcept nogil:
        return self.dirty_tail - self.dirty_head

cdef class Rib(Peers):
    """Both tables, the peers they come from, and what they share."""

    cdef readonly AttrTable attrs
    cdef release_fn drop_forms      # of rewrite.pyx, with attrs.release_ctx: forms of a set
    cdef readonly list tables       # Table by family
    cdef readonly Memo memo         # what policies know of attribute sets
    cdef public bint state_matters  # what the filter finds out decides what is exported
    cdef options_t options
    cdef public uint32_t ticks      # now, 1/16 s since start; set before bytes are fed

    cdef uint32_t check(self, uint32_t slot, uint32_t attrs_h) except 255
    cdef uint32_t protocol_check(self, uint32_t slot, uint32_t attrs_h) except 255 nogil
    cdef uint32_t verdict(self, uint32_t slot, uint32_t attrs_h, uint32_t family,
                          const uint8_t *addr, uint32_t plen, uint8_t *state,
                          uint32_t *out_h) except 255
    cdef uint32_t admit(self, Terms terms, uint32_t slot, uint32_t attrs_h, uint32_t family,
                        const uint8_t *addr, uint32_t plen, uint32_t state,
                        uint32_t *out_h) except 255
