# The peers by slot. Implementation and explanation: peers.pyx.

from libc.stdint cimport uint32_t

from rs._fastpath.control cimport Control
from rs._fastpath.filter cimport FILTER_MAX_PREFIX, Filter
from rs._fastpath.paths cimport (
    FIRST_FILTER,
    FIRST_RULE,
    LAST_RULE,
    LIMIT_ACCEPTED,
    LIMIT_TAGGED,
    peer_t,
)
from rs._fastpath.sets cimport MemberSets
from rs._fastpath.terms cimport Terms

cdef class Peers:
    """What is known of each peer; the Rib is one, with the paths."""

    cdef readonly MemberSets sets
    cdef readonly Control control
    cdef peer_t *peers              # by slot
    cdef readonly uint32_t n_slots  # slots allocated; peers[n_slots - 1] is the last
    cdef list filters               # by slot: Filter, or None
    cdef list policies              # by slot: Terms for import, or None
    cdef uint32_t knowing_h         # peers that get long-lived stale paths; a reference
    cdef uint32_t partial_h         # of these, those that do not know them; a reference

    cdef int begin_refresh(self, uint32_t slot, uint32_t family) noexcept nogil
    cdef void end_of_rib(self, uint32_t slot, uint32_t family) noexcept nogil
    cdef void turn(self, uint32_t slot, uint32_t family, uint32_t state) noexcept nogil
    cdef uint32_t _those_with(self, uint32_t flags) except? 0xFFFFFFFF
    cdef Filter prefix_filter(self, uint32_t slot)
    cdef Terms policy_of(self, uint32_t slot)

# --- counts of paths, as they come and go ---------------------------------------------------------

cdef inline bint by_rule(uint32_t reason) noexcept nogil:
    """Whether a reason is a rule of the operator's, and not the protocol's or a limit."""
    return FIRST_RULE <= reason <= LAST_RULE or (
        reason >= FIRST_FILTER and reason != FILTER_MAX_PREFIX)


cdef inline void note_reject(peer_t *peer, uint32_t family, uint32_t reason,
                             int by) noexcept nogil:
    """Count a rejected path in, or with `by` -1 out."""
    peer.rejected[family] += <uint32_t>by
    peer.by_reason[reason] += <uint32_t>by
    if reason == FILTER_MAX_PREFIX:
        peer.blocked[family] += <uint32_t>by
    elif by_rule(reason):
        peer.filtered[family] += <uint32_t>by


cdef inline bint is_full(const peer_t *peer, uint32_t family, uint32_t was) noexcept nogil:
    """Whether the limit leaves no room for a path to be used; `was` is why it is not used now, 0
    for a new one."""
    if peer.limit[family] == 0:
        return False
    if peer.limit_accepted == LIMIT_ACCEPTED:
        return peer.received[family] - peer.rejected[family] >= peer.limit[family]
    if peer.limit_accepted == LIMIT_TAGGED:
        if was and by_rule(was):
            return False        # counted already
        return (peer.received[family] - peer.rejected[family] + peer.filtered[family]
                >= peer.limit[family])
    if was and was != FILTER_MAX_PREFIX:
        return False            # counted already
    return peer.received[family] - peer.blocked[family] >= peer.limit[family]
