"""The peers as the RIB knows them, by slot: who they are, what import asks of them, their paths.

In: what the configuration and a session say of a peer; ROUTE-REFRESH and End-of-RIB as far as they
make paths stale. Out: peer_t (paths.pxd), which everything per route reads in place, and counts.
Slots are 1 to 65,535, of which one costs a peer_t; slot 0 is nobody. The class owns the slots, and
holds filters and policies. RFC 4724 4, RFC 7313 4, RFC 7911, RFC 8212, RFC 9234, RFC 9494.

Which paths are stale is told by one bit of each, the parity of the generation in which it was last
heard: a peer's generation turns, and all of its paths are stale. Nothing here goes over paths; that
is done in steps, by walks.pyx.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.control cimport Control
from rs._fastpath.filter cimport Filter
from rs._fastpath.paths cimport (
    ASKS_GSHUT,
    ASKS_ROAS,
    LIMIT_ACCEPTED,
    LIMIT_RECEIVED,
    LIMIT_TAGGED,
    LLGR_HEARD,
    LLGR_PARTIAL,
    LLGR_SAID,
    N_REASONS,
    PATH_GENERATION,
    REFRESH_BEGUN,
    REFRESH_ENDED,
    REFRESH_IGNORED,
    REFRESH_RESTART,
    REFRESH_UNDER_WAY,
    REFRESH_UNSETTLED,
    peer_t,
)
from rs._fastpath.sets cimport SET_NONE, MemberSets
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms
from rs._fastpath.types cimport T_INFORM

import ipaddress

check_abi(__name__)

cdef enum:
    PATHS_OF_PEER = 1024    # of one prefix at most: more are no use, and cost the others


cdef class Peers:
    def __cinit__(self, attrs, MemberSets sets not None, Control control not None):
        self.sets = sets
        self.control = control
        self.n_slots = sets.words * 64
        self.peers = <peer_t *>calloc(self.n_slots, sizeof(peer_t))
        if self.peers == NULL:
            raise MemoryError
        self.filters = []
        self.policies = []
        self.knowing_h = self.partial_h = SET_NONE

    def __dealloc__(self):
        free(self.peers)

    # --- who they are -----------------------------------------------------------------------------

    def add_peer(self, uint32_t slot, uint32_t asn, str address, uint32_t kind, *,
                 bint first_as=True, bint reject_as_set=True, uint32_t allow_own_as=0):
        """Describe the peer in a slot (1 to 65,535); the table of slots grows as needed."""
        cdef peer_t *p
        if slot == 0 or slot > 65535:
            raise ValueError("slots are 1 to 65,535")
        if slot >= self.n_slots:
            self._grow_slots(slot)
        p = &self.peers[slot]
        if p.addr_len:
            raise ValueError(f"slot {slot} is taken")
        packed = ipaddress.ip_address(address).packed
        memset(p, 0, sizeof(peer_t))
        p.asn = asn
        p.addr_len = len(packed)
        memcpy(p.addr, <const char *>packed, len(packed))
        p.kind = kind
        p.first_as = first_as
        p.reject_as_set = reject_as_set
        p.allow_own_as = min(allow_own_as, 254)
        p.path_limit[0] = p.path_limit[1] = PATHS_OF_PEER

    def _grow_slots(self, uint32_t slot):
        cdef uint32_t n = self.n_slots
        while n <= slot:
            n *= 2
        if n > 65536:
            n = 65536
        cdef peer_t *p = <peer_t *>realloc(self.peers, <uint64_t>n * sizeof(peer_t))
        if p == NULL:
            raise MemoryError
        memset(p + self.n_slots, 0, <uint64_t>(n - self.n_slots) * sizeof(peer_t))
        self.peers = p
        self.n_slots = n
        self.sets.grow_words(n >> 6)

    def change_peer(self, uint32_t slot, uint32_t asn, uint32_t kind):
        """Give a slot's peer another AS number and kind: those of its new session."""
        self.peers[slot].asn = asn
        self.peers[slot].kind = kind

    def set_router_id(self, uint32_t slot, str router_id):
        """Note the BGP Identifier of a peer's new session, for the decision process."""
        self.peers[slot].router_id = int(ipaddress.IPv4Address(router_id))

    def set_cluster(self, uint32_t slot, uint32_t cluster_id):
        """Put a reflector's client into a cluster (RFC 4456 7), before it has any paths."""
        self.peers[slot].cluster_id = cluster_id

    def set_role(self, uint32_t slot, uint32_t role):
        """Say what we are to a peer, ROLE_*: before its session, which a change would end."""
        self.peers[slot].role = <uint8_t>role

    def remove_peer(self, uint32_t slot):
        """Free a slot; its paths must have gone. ValueError if not."""
        if self.peers[slot].received[0] or self.peers[slot].received[1]:
            raise ValueError(f"slot {slot} still has paths")
        memset(&self.peers[slot], 0, sizeof(peer_t))
        if slot < <uint32_t>len(self.policies):
            self.policies[slot] = None
        if slot < <uint32_t>len(self.filters):
            self.filters[slot] = None

    # --- what import asks of them -----------------------------------------------------------------

    def set_checks(self, uint32_t slot, *, bint first_as, bint reject_as_set,
                   uint32_t allow_own_as):
        """Change what import checks of a peer; the caller has its paths checked again."""
        self.peers[slot].first_as = first_as
        self.peers[slot].reject_as_set = reject_as_set
        self.peers[slot].allow_own_as = min(allow_own_as, 254)

    def set_closed(self, uint32_t slot, bint closed):
        """Accept nothing of a peer (RFC 8212), or what its filter accepts; the caller has its paths
        checked again."""
        self.peers[slot].closed = closed

    def set_filter(self, uint32_t slot, Filter f):
        """Use a filter for a peer's paths from now on; None for none. What is there the caller has
        checked again (walks.recheck_step). Returns whether accepted paths rank or are told of
        differently, so that all must be evaluated again."""
        cdef peer_t *peer = &self.peers[slot]
        cdef uint32_t asked = 0, differs
        if f is not None:
            asked = ((ASKS_GSHUT if f.graceful_shutdown else 0)
                     | (ASKS_ROAS if f.roas_as_route_objects else 0))
        differs = asked ^ peer.asked
        peer.asked = <uint8_t>asked
        while len(self.filters) <= slot:
            self.filters.append(None)
        self.filters[slot] = f
        return bool(differs & ASKS_GSHUT
                    or (differs & ASKS_ROAS and self.control.always & T_INFORM))

    def filter_of(self, uint32_t slot):
        """Return the filter of a slot, or None."""
        return self.filters[slot] if slot < <uint32_t>len(self.filters) else None

    def set_policy(self, uint32_t slot, Terms terms):
        """Use an import policy for a peer's paths from now on; None for none. As set_filter."""
        while len(self.policies) <= slot:
            self.policies.append(None)
        self.policies[slot] = terms

    def policy(self, uint32_t slot):
        """Return the import policy of a slot, or None."""
        return self.policy_of(slot)

    cdef Filter prefix_filter(self, uint32_t slot):
        """The filter of a slot if it looks at prefixes, else None."""
        cdef Filter f
        if slot < <uint32_t>len(self.filters):
            f = <Filter>self.filters[slot]
            if f is not None and f.per_prefix:
                return f
        return None

    cdef Terms policy_of(self, uint32_t slot):
        """The import policy of a slot, or None."""
        if slot < <uint32_t>len(self.policies):
            return <Terms>self.policies[slot]
        return None

    # --- how many paths they may have, and have ---------------------------------------------------

    def set_path_limit(self, uint32_t slot, uint32_t family, uint32_t limit):
        """Enter at most so many paths of a peer for one prefix (RFC 7911).

        0 stands for 1,024, which is the most there can be. Paths that are there already stay.
        """
        self.peers[slot].path_limit[family] = min(limit or PATHS_OF_PEER, PATHS_OF_PEER)

    def set_limit(self, uint32_t slot, uint32_t family, uint32_t limit, bint accepted=False,
                  bint tagged=False):
        """Keep a peer's further paths rejected once it has `limit`, 0 for any number; counted are
        accepted paths, with `tagged` also those that a rule refuses, or all."""
        self.peers[slot].limit[family] = limit
        self.peers[slot].limit_accepted = LIMIT_RECEIVED
        if accepted:
            self.peers[slot].limit_accepted = LIMIT_TAGGED if tagged else LIMIT_ACCEPTED

    def peer_counts(self, uint32_t slot, uint32_t family):
        """Return (received, accepted, rejected) paths of a peer."""
        cdef peer_t *p = &self.peers[slot]
        return (p.received[family], p.received[family] - p.rejected[family], p.rejected[family])

    def refused_paths(self, uint32_t slot, uint32_t family):
        """Return how many paths of a peer were not entered, beyond its limit for one prefix."""
        return self.peers[slot].refused[family]

    def reject_counts(self, uint32_t slot):
        """Return {RejectReason: paths} of a peer, over both families."""
        cdef peer_t *p = &self.peers[slot]
        return {i: p.by_reason[i] for i in range(N_REASONS) if p.by_reason[i]}

    def filtered_count(self, uint32_t slot, uint32_t family):
        """Return how many paths of a peer a rule of the operator's refuses."""
        return self.peers[slot].filtered[family]

    # --- paths that are stale ---------------------------------------------------------------------

    cdef void turn(self, uint32_t slot, uint32_t family, uint32_t state) noexcept nogil:
        """From here on a peer's paths of a family are stale until heard again; none is yet."""
        cdef peer_t *p = &self.peers[slot]
        p.generation[family] ^= PATH_GENERATION
        p.stale[family] = p.received[family]
        p.refresh[family] = <uint8_t>state

    cdef int begin_refresh(self, uint32_t slot, uint32_t family) noexcept nogil:
        """BoRR: from here on this peer's paths of a family are stale until they are heard again.

        One bit tells fresh from stale, so whatever is stale from a refresh before must be settled
        first, which takes a walk (RFC 7313 4; see walks.settle_step).
        """
        cdef peer_t *p = &self.peers[slot]
        if p.refresh[family] == REFRESH_RESTART:
            return REFRESH_IGNORED
        if p.stale[family]:
            return REFRESH_UNSETTLED
        self.turn(slot, family, REFRESH_UNDER_WAY)
        return REFRESH_BEGUN

    cdef void end_of_rib(self, uint32_t slot, uint32_t family) noexcept nogil:
        """End-of-RIB: what a lost session had brought and this one has not goes (RFC 4724 4.2)."""
        if self.peers[slot].refresh[family] == REFRESH_RESTART:
            self.peers[slot].refresh[family] = REFRESH_ENDED

    def start_refresh(self, uint32_t slot, uint32_t family):
        """Begin a refresh as a BoRR does (RFC 7313 4); return whether it has begun.

        False: stale paths must be settled first, or a BoRR counts for nothing now.
        """
        return self.begin_refresh(slot, family) == REFRESH_BEGUN

    def end_refresh(self, uint32_t slot, uint32_t family):
        """EoRR: return whether stale paths may be left, for walks.purge_step to remove.

        Call refreshed() when they are. An EoRR without a BoRR means nothing (RFC 7313 4).
        """
        if self.peers[slot].refresh[family] != REFRESH_UNDER_WAY:
            return False
        self.peers[slot].refresh[family] = REFRESH_ENDED
        return True

    def under_refresh(self, uint32_t slot, uint32_t family):
        """Whether a BoRR has come, and its EoRR not yet."""
        return self.peers[slot].refresh[family] == REFRESH_UNDER_WAY

    def refresh_ended(self, uint32_t slot, uint32_t family):
        """Whether stale paths of an ended refresh or restart are still to be removed."""
        return self.peers[slot].refresh[family] == REFRESH_ENDED

    def refreshed(self, uint32_t slot, uint32_t family):
        """The stale paths of a refresh have gone, or its session has."""
        self.peers[slot].refresh[family] = 0

    def lost(self, uint32_t slot, uint32_t family):
        """Count a peer's paths as stale, because its session is gone and they stay (RFC 4724 4.2).

        ValueError if some are stale already: settle them first.
        """
        if self.peers[slot].stale[family]:
            raise ValueError(f"slot {slot} has stale paths")
        self.turn(slot, family, REFRESH_RESTART)

    def give_up(self, uint32_t slot, uint32_t family):
        """Wait no longer for stale paths of a lost session; the caller removes them."""
        self.end_of_rib(slot, family)

    def stale(self, uint32_t slot, uint32_t family):
        """Return how many paths of a peer are stale."""
        return self.peers[slot].stale[family]

    def is_stale(self, uint32_t slot, uint32_t family, uint32_t flags):
        """Whether a path with these flags has not been heard since its session was lost, or since
        a refresh began."""
        return (flags & PATH_GENERATION) != self.peers[slot].generation[family]

    def set_long_lived(self, uint32_t slot, *, bint said, bint heard, bint partial=False):
        """Note who knows long-lived graceful restart in a peer's session: we have said so, the peer
        has. `partial`: a peer that has not, and is internal, is sent such paths all the same (RFC
        9494 4.6). Returns whether long-lived stale paths go to others than before, or otherwise;
        the caller has them evaluated again."""
        cdef uint32_t flags = (LLGR_SAID if said else 0) | (LLGR_HEARD if heard else 0)
        cdef uint32_t knowing_h, partial_h
        cdef bint changed
        if partial and not heard:
            flags |= LLGR_PARTIAL
        self.peers[slot].long_lived = <uint8_t>flags
        knowing_h = self._those_with(LLGR_HEARD | LLGR_PARTIAL)
        partial_h = self._those_with(LLGR_PARTIAL)
        changed = knowing_h != self.knowing_h or partial_h != self.partial_h
        self.sets.unref(self.knowing_h)
        self.sets.unref(self.partial_h)
        self.knowing_h = knowing_h
        self.partial_h = partial_h
        return changed and self.control.some_stale

    cdef uint32_t _those_with(self, uint32_t flags) except? 0xFFFFFFFF:
        """Return the set of peers with one of these LLGR_* flags: a reference."""
        cdef uint64_t bits[1024]
        cdef uint32_t i
        memset(bits, 0, sizeof(bits))
        for i in range(1, self.n_slots):
            if self.peers[i].long_lived & flags:
                bits[i >> 6] |= <uint64_t>1 << (i & 63)
        return self.sets.intern(bits)
