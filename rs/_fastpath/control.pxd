# What an attribute set says about members. Implementation: control.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from rs._fastpath.arena cimport blob_at, blob_t
from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.commrules cimport CommunityRules, rule_t
from rs._fastpath.directory cimport Directory
from rs._fastpath.sets cimport MemberSets

cdef enum:
    MAX_PARTS = 15      # 4 counts of prepending x NO_EXPORT x NO_ADVERTISE, less nothing at all
    MAX_RTT_TAGS = 64   # prepending by round-trip time, of one attribute set; more are not obeyed

# Members of set_h get other attributes than the rest: those that `transform` makes (T_*). 8 B.
cdef struct part_t:
    uint32_t set_h      # owned; the sets of one attribute set's parts are disjoint
    uint32_t transform

# What an attribute set asks for beyond its member set, kept beside it, with its parts behind.
cdef struct parts_t:
    uint32_t n
    uint32_t hole_h     # member set of a black hole: set_h and who accepts such routes; owned

# Scratch bitmaps of compile(); those not named in Control.used are not cleared yet.
cdef enum:
    MAP_DENY = 0
    MAP_ALLOW = 1
    MAP_RTT_DENY = 2
    MAP_RTT_ALLOW = 3
    MAP_PREPEND = 4         # to named members, 3 of them: once, twice, thrice
    MAP_NO_EXPORT = 7
    MAP_NO_ADVERTISE = 8
    MAP_CHOSEN = 9          # 3: who gets AS_PATH with one, two, three more
    MAP_LEFT = 12
    N_MAPS = 13
    MAP_WORDS = 1024

# Prepending asked for by round-trip time.
cdef struct rtt_tag_t:
    uint32_t threshold      # ms
    uint32_t amount
    uint32_t higher
    uint32_t row            # of Directory.rtt_rows

cdef class Control:
    """Compiles attribute sets: members they may reach, loops, next hops that cannot be used."""

    cdef AttrTable attrs
    cdef MemberSets sets
    cdef readonly CommunityRules rules  # None: communities are somebody else's business
    cdef Directory there            # slots by AS number and round-trip time
    cdef uint64_t *maps             # scratch, MAP_WORDS each
    cdef uint32_t used              # of these, a bit each: those that hold something
    cdef rtt_tag_t rtt_tags[MAX_RTT_TAGS]
    cdef uint32_t n_rtt_tags
    cdef bint deny_all              # of the set being compiled, with those below
    cdef uint32_t any_prepend
    cdef uint32_t any_adds          # T_NO_EXPORT, T_NO_ADVERTISE
    cdef blob_t parts_store         # parts_t and part_t[n]
    cdef uint32_t *parts_of         # by attribute set: its parts_t, 0 = none; 4 B x sets if any
    cdef uint32_t parts_cap
    cdef readonly uint32_t always   # T_* of everything that is exported
    cdef uint32_t holes[2]          # T_* of black holes by family, 0: they are nothing special
    cdef uint8_t hole_hop[2][16]    # their next hops
    cdef readonly uint32_t local_asn
    cdef uint32_t router_id
    cdef uint32_t *clusters         # ids of our clusters, host order
    cdef uint32_t n_clusters
    cdef readonly bint some_stale   # a set with LLGR_STALE has been compiled (RFC 9494)
    cdef public bint as_loop        # members whose AS is in AS_PATH are not reached
    cdef uint8_t *own               # addresses of this router, 16 octets each, IPv4 left-aligned
    cdef uint32_t n_own

    cdef int compile(self, uint32_t attrs_h) except -1 nogil
    cdef void forget(self, uint32_t attrs_h) noexcept nogil
    cdef bint renew(self, uint32_t attrs_h) except -1
    cdef void _act(self, const rule_t *r, const uint8_t *v, uint32_t *well_known) noexcept nogil
    cdef void _act_by_time(self, const rule_t *r, const uint8_t *v) noexcept nogil
    cdef uint32_t _allowed(self) except? 0xFFFFFFFF nogil
    cdef void _choose(self) noexcept nogil
    cdef uint32_t _find_parts(self, uint32_t set_h, part_t *out) except? 0xFFFFFFFF nogil
    cdef int _keep_parts(self, uint32_t attrs_h, uint32_t set_h, bint hole,
                         uint32_t n, const part_t *parts) except -1 nogil
    cdef bint _is_own(self, const uint8_t *addr, uint32_t n) noexcept nogil

    cdef inline uint64_t *map(self, uint32_t i) noexcept nogil:
        """A scratch bitmap, cleared at its first use."""
        cdef uint64_t *m = self.maps + i * MAP_WORDS
        if not (self.used >> i) & 1:
            self.used |= <uint32_t>1 << i
            memset(m, 0, self.sets.words * 8)
        return m

    cdef inline parts_t *parts(self, uint32_t attrs_h) noexcept nogil:
        """What a compiled set asks for beyond its member set, NULL for nothing. Borrowed."""
        if attrs_h >= self.parts_cap or self.parts_of[attrs_h] == 0:
            return NULL
        return <parts_t *>blob_at(&self.parts_store, self.parts_of[attrs_h])
