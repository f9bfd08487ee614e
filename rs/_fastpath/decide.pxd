# The decision process: one function of numbered steps, RFC 4271 9.1.1 and 9.1.2.2, RFC 4456 9.
#
# compare() says which of two usable paths of a prefix is preferred and at which step; the numbers
# are those of iana.Decided. Inline: it runs for each pair that a ranking looks at. order() brings
# the candidates of a prefix into a ranking. Implementation: decide.pyx.

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcmp

from rs._fastpath.paths cimport ASKS_GSHUT, LLGR_SAID, PEER_IBGP, options_t, path_t, peer_t
from rs._fastpath.types cimport AS_HAS_ORIGINATOR, WK_GSHUT, WK_LLGR_STALE, attrset_t

cdef enum:
    DECIDED_BEST = 0
    DECIDED_LOCAL_PREF = 1
    DECIDED_AS_PATH_LENGTH = 2
    DECIDED_ORIGIN = 3
    DECIDED_MED = 4
    DECIDED_EBGP_OVER_IBGP = 5
    DECIDED_IGP_METRIC = 6
    DECIDED_OLDEST = 7
    DECIDED_ROUTER_ID = 8
    DECIDED_CLUSTER_LIST_LENGTH = 9
    DECIDED_PEER_ADDRESS = 10
    DECIDED_PATH_ID = 11
    DECIDED_LLGR_STALE = 12     # before all others; a number of its own, as it came later

# One path with all that the steps ask for, gathered once per ranking.
cdef struct candidate_t:
    const attrset_t *attrs
    const path_t *path
    const peer_t *peer
    uint32_t metric         # IGP metric of the next hop
    uint32_t path_h
    uint32_t local_pref     # of the attributes, or 0 (RFC 8326)

cdef inline uint32_t preference(const attrset_t *s, const peer_t *peer) noexcept nogil:
    """LOCAL_PREF for the decision: that of a path whose source shuts down is 0 (RFC 8326)."""
    return 0 if s.well_known & WK_GSHUT and peer.asked & ASKS_GSHUT else s.local_pref

cdef inline void gather(candidate_t *c, const path_t *path, uint32_t path_h,
                        const attrset_t *attrs, const peer_t *peer,
                        uint32_t metric) noexcept nogil:
    """Fill in all that compare() asks of a path; pointers stay the caller's."""
    c.attrs = attrs
    c.path = path
    c.peer = peer
    c.metric = metric
    c.path_h = path_h
    c.local_pref = preference(attrs, peer)

cdef inline bint is_last_choice(const attrset_t *attrs, const peer_t *peer) noexcept nogil:
    """Whether a path is long-lived stale, for who knows what that is (RFC 9494 4.3)."""
    return attrs.well_known & WK_LLGR_STALE and peer.long_lived & LLGR_SAID

cdef inline int compare(const candidate_t *a, const candidate_t *b,
                        const options_t *o) noexcept nogil:
    """Positive step number: `a` is preferred, decided there. Negative: `b` is. Never 0."""
    cdef bint a_ibgp = a.peer.kind >= PEER_IBGP
    cdef bint b_ibgp = b.peer.kind >= PEER_IBGP
    cdef uint32_t x, y
    cdef int c, step
    # RFC 9494 4.4: what is kept of a peer that is long gone is the last choice.
    x = is_last_choice(a.attrs, a.peer)
    y = is_last_choice(b.attrs, b.peer)
    if x != y:
        return -DECIDED_LLGR_STALE if x else DECIDED_LLGR_STALE
    # RFC 4271 9.1.1: degree of preference.
    if a.local_pref != b.local_pref:
        step = DECIDED_LOCAL_PREF
        return step if a.local_pref > b.local_pref else -step
    # 9.1.2.2 a)
    if a.attrs.path_len != b.attrs.path_len:
        step = DECIDED_AS_PATH_LENGTH
        return step if a.attrs.path_len < b.attrs.path_len else -step
    # b)
    if a.attrs.origin != b.attrs.origin:
        return DECIDED_ORIGIN if a.attrs.origin < b.attrs.origin else -DECIDED_ORIGIN
    # c) between paths of the same neighboring AS only; a path of our own AS has none (0).
    if a.attrs.med != b.attrs.med and (o.med_always or a.attrs.first_as == b.attrs.first_as):
        return DECIDED_MED if a.attrs.med < b.attrs.med else -DECIDED_MED
    # d)
    if a_ibgp != b_ibgp:
        return DECIDED_EBGP_OVER_IBGP if b_ibgp else -DECIDED_EBGP_OVER_IBGP
    # e)
    if a.metric != b.metric:
        return DECIDED_IGP_METRIC if a.metric < b.metric else -DECIDED_IGP_METRIC
    # RFC 5004; ticks wrap, so the difference counts.
    if o.prefer_oldest and not a_ibgp and a.path.ticks != b.path.ticks:
        return DECIDED_OLDEST if <int32_t>(a.path.ticks - b.path.ticks) < 0 else -DECIDED_OLDEST
    # f) with RFC 4456 9: ORIGINATOR_ID stands for the router id.
    x = a.attrs.originator if a.attrs.flags & AS_HAS_ORIGINATOR else a.peer.router_id
    y = b.attrs.originator if b.attrs.flags & AS_HAS_ORIGINATOR else b.peer.router_id
    if x != y:
        return DECIDED_ROUTER_ID if x < y else -DECIDED_ROUTER_ID
    if a.attrs.cluster_len != b.attrs.cluster_len:
        return (DECIDED_CLUSTER_LIST_LENGTH if a.attrs.cluster_len < b.attrs.cluster_len
                else -DECIDED_CLUSTER_LIST_LENGTH)
    # g) lower peer address; IPv4 before IPv6.
    if a.peer.addr_len != b.peer.addr_len:
        return DECIDED_PEER_ADDRESS if a.peer.addr_len < b.peer.addr_len else -DECIDED_PEER_ADDRESS
    c = memcmp(a.peer.addr, b.peer.addr, 16)
    if c:
        return DECIDED_PEER_ADDRESS if c < 0 else -DECIDED_PEER_ADDRESS
    return DECIDED_PATH_ID if a.path.path_id < b.path.path_id else -DECIDED_PATH_ID

cdef void order(candidate_t *c, uint32_t n, bint med_differs, const options_t *o) noexcept nogil
