# Adj-RIB-In and Loc-RIB. Implementation: rib.pyx.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport slab_at, slab_t
from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.control cimport Control
from rs._fastpath.filter cimport Filter
from rs._fastpath.sets cimport MemberSets
from rs._fastpath.trie cimport Trie
from rs._fastpath.types cimport attrset_t

cdef enum:
    PATH_REJECTED = 0x01        # by import; reason holds the RejectReason
    PATH_GENERATION = 0x02      # parity of peer_t.generation when the path was last heard
    PATH_NOT_USABLE = 0x04      # next hop unreachable at the last ranking
    PATH_STATE_SHIFT = 3        # the bits from here up: what the filter found out, see filter.pxd

    DEST_DIRTY = 0x01           # stands in Table.dirty
    DEST_UNRANKED = 0x02        # the order of its paths is not that of the decision process
    DEST_ZOMBIE = 0x08          # stands in Table.zombies
    DEST_USABLE = 0x04          # its first path was in use at the last ranking

    PEER_RS_CLIENT = 0          # eBGP, transparent
    PEER_EBGP = 1
    PEER_IBGP = 2               # neither client of ours nor we of it
    PEER_RR_CLIENT = 3

    N_REASONS = 96

    REFRESH_UNDER_WAY = 1       # between BoRR and EoRR (RFC 7313): paths not heard again are stale
    REFRESH_ENDED = 2           # stale paths are being purged

# One path: a peer's offer for a prefix. 20 B each.
cdef struct path_t:
    uint32_t next_h             # next path of the prefix, best first; rejected ones last
    uint32_t attrs_h            # attribute set; the path owns a reference
    uint32_t path_id            # as received (RFC 7911), 0 without ADD-PATH
    uint32_t ticks              # when it came, 1/16 s since start; compare by difference
    uint16_t peer               # slot
    uint8_t flags               # PATH_*
    uint8_t reason              # RejectReason if rejected, else Decided against the path before it

# What belongs to a prefix, beside its key in the trie. 8 B each, indexed by trie handle.
cdef struct dest_t:
    uint32_t paths_h            # the best path, 0 = none
    uint16_t n_paths
    uint8_t flags               # DEST_*
    uint8_t _pad

# What the engine knows of a peer. Slot 0 is nobody.
cdef struct peer_t:
    uint32_t asn
    uint32_t router_id          # of the present session, host order
    uint8_t addr[16]            # transport address, IPv4 left-aligned, for the last tie-break
    uint8_t addr_len            # 0 = slot free
    uint8_t kind                # PEER_*
    uint8_t first_as            # check that AS_PATH starts with asn
    uint8_t reject_as_set       # RFC 9774
    uint8_t allow_own_as        # how often our own AS may stand in AS_PATH
    uint8_t generation[2]       # by family: PATH_GENERATION or 0; turned when a refresh begins
    uint8_t refresh[2]          # by family: REFRESH_*
    uint8_t limit_accepted      # limit counts accepted paths, not all received
    uint32_t limit[2]           # paths beyond are kept rejected, by family; 0 = no limit
    uint32_t blocked[2]         # paths rejected for that reason
    uint32_t received[2]        # paths in the Adj-RIB-In, by family
    uint32_t rejected[2]        # of these, rejected
    uint32_t by_reason[96]      # rejected paths by RejectReason, N_REASONS

cdef struct options_t:
    uint8_t med_always          # compare MED between different neighboring ASes
    uint8_t med_deterministic   # group by neighboring AS first
    uint8_t prefer_oldest       # RFC 5004: between eBGP paths the one received first
    uint8_t _pad

cdef class Rib

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

    cdef int update(self, const uint8_t *addr, uint32_t plen, uint32_t slot, uint32_t path_id,
                    uint32_t attrs_h, uint32_t reason, uint32_t state,
                    uint32_t ticks) except -1 nogil
    cdef int withdraw(self, const uint8_t *addr, uint32_t plen, uint32_t slot,
                      uint32_t path_id) except -1 nogil
    cdef int mark(self, uint32_t h) except -1 nogil
    cdef int rank(self, uint32_t h) except -1 nogil
    cdef uint32_t ensure(self, const uint8_t *addr, uint32_t plen) except 0 nogil
    cdef int vacate(self, uint32_t h) except -1 nogil
    cdef int release_holder(self) except -1 nogil
    cdef void freshen(self, uint32_t slot) noexcept nogil
    cdef uint32_t purge(self, uint64_t *slots, bint only_stale, uint32_t pos,
                        uint32_t n) except? 0 nogil
    cdef int _judge(self, uint32_t h, path_t *p) except -1
    cdef void _drop_path(self, uint32_t h, uint32_t prev, uint32_t path_h) noexcept nogil
    cdef int _grow(self, uint32_t h) except -1 nogil

    cdef inline path_t *path(self, uint32_t h) noexcept nogil:
        return <path_t *>slab_at(&self.paths, h)

    cdef inline uint32_t dirty_count(self) noexcept nogil:
        return self.dirty_tail - self.dirty_head

cdef class Rib:
    """Both tables, the peers they come from, and what they share."""

    cdef readonly AttrTable attrs
    cdef readonly MemberSets sets
    cdef readonly Control control
    cdef readonly list tables           # Table by family
    cdef peer_t *peers                  # by slot
    cdef readonly uint32_t n_slots      # slots allocated; peers[n_slots - 1] is the last
    cdef list filters               # by slot: Filter, or None
    cdef options_t options
    cdef public uint32_t ticks          # now, 1/16 s since start; set before bytes are fed

    cdef uint32_t check(self, uint32_t slot, uint32_t attrs_h) except 255
    cdef int begin_refresh(self, uint32_t slot, uint32_t family) except -1
    cdef uint32_t protocol_check(self, uint32_t slot, uint32_t attrs_h) except 255 nogil
    cdef Filter prefix_filter(self, uint32_t slot)
