# A compiled policy: terms over a route. Implementation: terms.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.edits cimport Edits
from rs._fastpath.memo cimport Memo
from rs._fastpath.paths cimport peer_t
from rs._fastpath.pattern cimport pattern_t
from rs._fastpath.aspa cimport AspaTable

# RejectReason of policies.
cdef enum:
    POLICY_REJECT = 24          # a term, or what a policy says of the rest
    POLICY_TOO_LONG = 25        # what policies add would make the attributes too long

# cond_t.op. Up to OP_NEVER they are about the attribute set, from OP_FAMILY on about the route.
cdef enum:
    OP_ORIGIN = 1
    OP_MED = 2
    OP_LOCAL_PREF = 3
    OP_PATH_LENGTH = 4
    OP_PATH_ORIGIN = 5
    OP_PATH_CONTAINS = 6
    OP_PATH_REGEX = 7
    OP_COMMUNITY = 8
    OP_ALL_COMMUNITIES = 9
    OP_NEXT_HOP = 10
    OP_NEVER = 11
    OP_FAMILY = 16
    OP_PREFIX = 17
    OP_RPKI = 18
    OP_IRR = 19
    OP_ASPA = 20
    OP_SOURCE = 21

cdef enum:
    ACTION_NEXT = 0
    ACTION_ACCEPT = 1
    ACTION_REJECT = 2

# One condition. 20 B.
cdef struct cond_t:
    uint32_t op
    uint32_t low                # or a mask
    uint32_t high
    uint32_t at                 # n objects, or patterns, from here
    uint32_t n

# One term: conditions about the set, about the route, and those of `unless`. 32 B.
cdef struct term_t:
    uint32_t set_at
    uint32_t route_at
    uint32_t unless_at
    uint32_t end
    uint32_t edit               # number of its changes, 0 = none
    uint32_t jump               # where to go on after it
    uint32_t read_later         # PART_* that terms from the next one on look at
    uint8_t action              # ACTION_*
    uint8_t unless_route        # `unless` looks at the route
    uint8_t _pad[2]

# What a policy may look at beside the attribute set.
cdef struct route_t:
    const uint8_t *addr         # masked
    uint32_t plen
    uint32_t family
    uint32_t state              # STATE_* of the import filter
    const peer_t *source

cdef class Terms:
    """The policies of one neighbor in one direction; equal content, equal program."""

    cdef readonly uint32_t number
    cdef readonly Edits edits
    cdef Memo memo
    cdef AspaTable aspas
    cdef list objects               # keeps what `refs` points to
    cdef void **refs                # PrefixSet, AsnSet, AsPath
    cdef cond_t *conds
    cdef pattern_t *patterns
    cdef term_t *terms
    cdef readonly uint32_t n_terms
    cdef readonly bint per_route    # some term looks at the route
    cdef readonly bint uses_state   # some term looks at what the filter found out
    cdef bint per_set               # some term looks at the attribute set
    cdef uint32_t *fired            # terms that fitted in the last run, in order
    cdef readonly uint32_t n_fired
    cdef uint64_t *counts           # NULL, or how often each term has fitted; one more for the rest
    cdef uint32_t temp_h            # of the last run: the set that later terms looked at

    cdef uint32_t run(self, AttrTable attrs, uint32_t attrs_h, uint32_t raw_h, const route_t *r,
                      uint32_t *chain) except 255
    cdef uint32_t import_route(self, AttrTable attrs, uint32_t attrs_h, const route_t *r,
                               uint32_t *out_h) except 255
    cdef uint64_t _mask(self, AttrTable attrs, uint32_t attrs_h, uint32_t first) except? 0
    cdef bint _holds(self, AttrTable attrs, uint32_t attrs_h, const route_t *r, uint32_t at,
                     uint32_t end) except -1
    cdef bint _route_holds(self, AttrTable attrs, uint32_t attrs_h, const route_t *r,
                           const cond_t *c) except -1
    cdef bint _set_holds(self, AttrTable attrs, uint32_t attrs_h, const cond_t *c) except -1
    cdef int let_go(self, AttrTable attrs) except -1
