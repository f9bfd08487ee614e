# Adj-RIB-Out: who has been sent what, by prefix. Implementation: adjout.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport blob_t
from rs._fastpath.control cimport MAX_PARTS
from rs._fastpath.encode cimport Encoder
from rs._fastpath.orr cimport Vantage
from rs._fastpath.paths cimport path_t
from rs._fastpath.rewrite cimport Program, Rewriter
from rs._fastpath.rib cimport Rib, Table
from rs._fastpath.terms cimport Terms

cdef enum:
    ALL_FILLED = 0xFFFFFFFF     # AdjOut.filled after the first walk
    LIST_TAG = 0x80000000       # entry_t.attrs_h: a list; the rest is its handle, set_h its length
    MAX_PATHS = 65535           # highest limit on the paths of a prefix sent to one member
    # Entries at which a list is full: 65,535 octets at 12 B, less what one path may bring at once.
    LIST_MAX = 5461 - MAX_PARTS - 1

    PATHS_ALL = 0               # with ADD-PATH: every path that a member may have
    PATHS_PER_AS = 1            # the first of each neighboring AS
    PATHS_EQUAL = 2             # the best, and what is as good up to the distance of the next hop

# Why a member does not get a path. Numbers equal rs/reasons.py; tests/test_withheld.py compares.
cdef enum withheld_t:
    W_NOT = 0                   # it gets it
    W_OWN = 1                   # it is its own
    W_REJECTED = 2              # by import
    W_UNREACHABLE = 3           # next hop
    W_CLOSED = 4                # no export policy (RFC 8212)
    W_ROLE = 5                  # from above or sideways, which goes to customers only (RFC 9234)
    W_NON_CLIENT = 6            # an internal route to an internal peer, no client (RFC 4456 6)
    W_CLIENT_TO_CLIENT = 7      # routes of clients do not go to other clients of the cluster
    W_NO_ADVERTISE = 8
    W_NO_EXPORT = 9
    W_POLICY = 10               # an export policy
    W_LLGR_STALE = 11           # long-lived stale, to a peer that does not know that (RFC 9494 4.3)
    W_AS_LOOP = 12
    W_COMMUNITY = 13
    W_BLACK_HOLE = 14           # it accepts none
    W_BETTER = 15               # it is due a better one
    W_NOT_BEST = 16             # only the best path is announced, or nothing
    W_SAME_AS = 17              # with ADD-PATH: it is due a better one of the same neighboring AS
    W_NOT_EQUAL = 18            # with ADD-PATH: it is not as good as the best
    W_LIMIT = 19                # with ADD-PATH: it is due as many as it may have
    W_TOO_LONG = 20             # no message can hold it
    W_FULL = 21                 # LIST_MAX
    W_EXTENDED_NEXT_HOP = 22    # IPv6 next hop for IPv4, to a peer without RFC 8950

# Members of set_h have the prefix with attributes attrs_h. 8 B. Both references are owned.
cdef struct entry_t:
    uint32_t attrs_h            # 0 = nobody has the prefix
    uint32_t set_h

cdef class AdjOut:
    """What all peers with one export program have been sent, exact, 8 B for the common prefix."""

    cdef Rib rib
    cdef readonly Table table
    cdef Rewriter rewriter
    cdef readonly Program program
    cdef readonly Terms policy      # what an export policy says of each path; None for none
    cdef uint32_t chain             # of the path at hand: edits that its forms are due
    cdef bint next_best             # RFC 7947 2.3: who may not have the best path gets the next
    cdef public bint client_to_client   # RFC 4456: routes of a client go to others of its cluster
    cdef readonly Vantage vantage   # RFC 9107: ranks for these members; None: the RIB's ranking
    cdef entry_t *entries           # by prefix handle
    cdef uint32_t cap
    cdef readonly bint addpath      # RFC 7911: a member may have several paths of a prefix
    cdef readonly uint32_t choice       # PATHS_*: which paths of a prefix a member is due
    cdef readonly uint32_t max_paths    # of these at most so many, 0 = all
    cdef uint32_t n_slices          # bits that max_paths takes
    cdef blob_t lists               # entry_t[n] of prefixes with several; with addpath also ids
    cdef uint32_t *set_count        # prefixes and entries by member set, for counting by member
    cdef uint32_t set_cap
    cdef readonly uint32_t prefixes  # prefixes that somebody has
    cdef uint32_t filled            # first walk: handles up to here have been evaluated
    cdef entry_t *fresh             # result of evaluate(): sets owned, attributes borrowed
    cdef uint32_t n_fresh
    cdef uint32_t *fresh_ids        # beside `fresh`: paths; with addpath their identifiers as well
    cdef uint32_t fresh_cap
    cdef uint32_t knowing_h         # receivers of the last long-lived stale path; a reference
    cdef uint64_t remaining[1024]   # scratch
    # Scratch: how many paths a member has so far, a bitmap for each binary digit; then who is full.
    cdef uint64_t *have
    cdef readonly list encoders     # of the groups with members: what their messages can hold
    cdef uint32_t at_h              # prefix that is evaluated
    cdef bint some_unfit            # not all of those given the path at hand can be sent it
    cdef uint64_t unfit[1024]
    cdef uint64_t *narrowed         # prefixes that somebody could not be sent, a bit each; or NULL
    cdef uint32_t narrowed_words
    cdef dict looked                # while somebody asks (withheld.pyx): path -> W_* for look_slot
    cdef uint32_t look_slot

    cdef uint32_t _edited(self, uint32_t form_h) except? 0
    cdef bint _passes(self, uint32_t h, const path_t *p) except -1
    cdef uint32_t _narrow(self, uint32_t attrs_h, uint32_t set_h,
                          uint32_t path_h) except? 0xFFFFFFFF
    cdef int _lose(self, const uint64_t *bits, uint32_t path_h, uint32_t why) except -1
    cdef int evaluate(self, uint32_t h) except -1
    cdef int store(self, uint32_t h) except -1
    cdef void release(self, uint32_t pos, uint32_t end) noexcept nogil
    cdef int drop_fresh(self) except -1
    cdef entry_t *present(self, uint32_t h, uint32_t *n) except? NULL
    cdef entry_t *get(self, uint32_t h, uint32_t *n) noexcept nogil
    cdef int _fresh(self, uint32_t attrs_h, uint32_t set_h, uint32_t path_id) except -1
    cdef int _give(self, const path_t *p, uint32_t set_h, uint32_t path_id) except -1
    cdef int _give_parts(self, const path_t *p, uint32_t set_h, uint32_t path_id) except -1
    cdef uint32_t _base(self, uint32_t attrs_h) noexcept nogil
    cdef uint32_t _hole(self, uint32_t attrs_h) noexcept nogil
    cdef int _evaluate_all(self, uint32_t h) except -1
    cdef uint32_t _first_as(self, uint32_t path_h) noexcept nogil
    cdef bint _equal(self, uint32_t path_h, uint32_t other_h) noexcept nogil
    cdef void _count_paths(self, const uint64_t *give) noexcept nogil
    cdef int _count(self, uint32_t set_h, int by) except -1
    cdef uint32_t _those_who_know(self, uint32_t base, const path_t *p) except? 0xFFFFFFFF
    cdef uint32_t _barred(self, uint32_t slot, uint32_t attrs_h) noexcept nogil

    cdef inline uint32_t first(self, uint32_t h) except? 0:
        """Handle of the best path of a ranked prefix, as these members see it; 0 for none."""
        if self.vantage is None:
            return self.table.dests[h].paths_h
        return self.vantage.first(self.table, h)

    cdef inline uint32_t following(self, const path_t *p) noexcept nogil:
        """Handle of the path after the one that first() or following() gave; 0 for none."""
        if self.vantage is None:
            return p.next_h
        return self.vantage.following()

    cdef inline uint32_t metric(self, uint32_t attrs_h) noexcept nogil:
        """Metric to the next hop of a path that first() has ranked."""
        if self.vantage is None:
            return self.rib.attrs.hop(attrs_h).metric
        return self.vantage.known(self.rib.attrs.at(attrs_h).nh_h)

    cdef inline const uint32_t *ids(self, const entry_t *e, uint32_t n) noexcept nogil:
        """Path identifiers of the `n` entries that get() gave; only with addpath."""
        return <const uint32_t *>(e + n)
