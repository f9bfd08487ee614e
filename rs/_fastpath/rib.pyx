"""Adj-RIB-In and Loc-RIB: the paths of every prefix, ranked by the decision process.

In: prefixes with an interned attribute set and a verdict of import, from ingest. Out: prefixes
marked dirty, and for each of them, on demand, its paths in order of preference. Rejected paths
stay, with their reason, behind the others: a changed policy needs nobody to send anything again
(RFC 9324), and "why" has an answer. RFC 4271 9.1, RFC 4456 9.

The Rib owns paths and prefixes; every path owns a reference to its attribute set. Ranking is
delayed to the moment when a dirty prefix is looked at, so that ten changes cost one ranking.

Behind the fixed filter a neighbor's policy may change a path: it then has the changed attribute
set, which knows the one received (attrset_t.raw_h), and is judged again from that.

Memory: 20 B a path, 8 B a prefix beside its key in the trie. A peer's paths are not chained: what
goes over all of a peer's paths walks the prefixes, for any number of peers at once.
"""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from rs._fastpath.arena cimport slab_alloc, slab_free_all, slab_init, slab_release
from rs._fastpath.asnset cimport AsnSet
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.control cimport Control
from rs._fastpath.decide cimport DECIDED_BEST, candidate_t, compare, gather, order
from rs._fastpath.filter cimport (
    FILTER_AS_PATH_LENGTH,
    FILTER_MAX_PREFIX,
    FILTER_NEXT_HOP,
    Filter,
)
from rs._fastpath.memo cimport Memo
from rs._fastpath.paths cimport (
    ASKS_GSHUT,
    ASKS_ROAS,
    DEST_DIRTY,
    DEST_UNRANKED,
    DEST_USABLE,
    DEST_ZOMBIE,
    FIRST_FILTER,
    FIRST_RULE,
    LAST_RULE,
    LIMIT_ACCEPTED,
    LIMIT_RECEIVED,
    LIMIT_TAGGED,
    LLGR_HEARD,
    LLGR_SAID,
    N_REASONS,
    PATH_GENERATION,
    PATH_NOT_USABLE,
    PATH_REJECTED,
    PATH_STATE_SHIFT,
    PEER_IBGP,
    REFRESH_BEGUN,
    REFRESH_ENDED,
    REFRESH_IGNORED,
    REFRESH_RESTART,
    REFRESH_UNDER_WAY,
    REFRESH_UNSETTLED,
    ROLE_PEER,
    ROLE_PROVIDER,
    ROLE_RS,
    dest_t,
    path_t,
    peer_t,
)
from rs._fastpath.sets cimport SET_NONE, MemberSets
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms, route_t
from rs._fastpath.trie cimport Trie
from rs._fastpath.types cimport (
    AS_BAD_NEXT_HOP,
    AS_COMPILED,
    AS_HAS_AS_SET,
    AS_HAS_CONFED,
    AS_HAS_OTC,
    AS_OWN_CLUSTER,
    AS_OWN_ORIGINATOR,
    ATTR_AS_PATH,
    ATTR_OTC,
    T_INFORM,
    WK_LLGR_STALE,
    WK_NO_LLGR,
    attrset_t,
)
from rs._fastpath.wire cimport load32, prefix_load

import ipaddress

check_abi(__name__)

cdef enum:
    REASON_AS_LOOP = 1
    REASON_FIRST_AS = 2
    REASON_AS_SET = 3
    REASON_NEXT_HOP_INVALID = 4
    REASON_NEXT_HOP_UNREACHABLE = 5
    REASON_ORIGINATOR_LOOP = 6
    REASON_CLUSTER_LOOP = 7
    REASON_CONFED_SEGMENT = 8
    REASON_OTC_LEAK = 16
    REASON_NO_IMPORT_POLICY = 17

    UNREACHABLE = 0xFFFFFFFF
    STACK_CANDIDATES = 64
    PATHS_OF_PEER = 1024    # of one prefix at most: more are no use, and cost the others
    LLGR_STALE = 0xFFFF0006     # RFC 9494 3.2
    BELOW_STEP = 256        # prefixes of one recheck_below


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


cdef bint leaks(AttrTable attrs, uint32_t attrs_h, const peer_t *peer) noexcept nogil:
    """Whether a set with ONLY_TO_CUSTOMER must not come from this peer (RFC 9234 5, ingress 1, 2).

    We are provider or route server: it is for customers only, and did not come from above. We are
    peers: it may only say so itself.
    """
    cdef const uint8_t *p = attrs.wire(attrs_h)
    cdef const uint8_t *end = p + attrs.at(attrs_h).wire_len
    cdef attr_t a
    if peer.role != ROLE_PEER:
        return ROLE_PROVIDER <= peer.role <= ROLE_RS
    while p < end:
        p += attr_next(p, &a)
        if a.type == ATTR_OTC:
            return load32(a.value) != peer.asn
    return False


@cython.final
cdef class Table:
    def __cinit__(self, Rib rib, uint32_t family):
        self.rib = rib
        self.family = family
        self.trie = Trie(4 if family == 0 else 16)
        self.dests_cap = 64
        self.dests = <dest_t *>calloc(self.dests_cap, sizeof(dest_t))
        self.dirty_cap = 1024
        self.dirty = <uint32_t *>malloc(self.dirty_cap * 4)
        if self.dests == NULL or self.dirty == NULL:
            raise MemoryError
        slab_init(&self.paths, sizeof(path_t), 64)

    def __dealloc__(self):
        free(self.dests)
        free(self.dirty)
        free(self.zombies)
        slab_free_all(&self.paths)

    cdef int _grow(self, uint32_t h) except -1 nogil:
        cdef uint64_t cap = <uint64_t>h + (h >> 1) + 64
        cdef dest_t *dests = <dest_t *>realloc(self.dests, cap * sizeof(dest_t))
        if dests == NULL:
            with gil:
                raise MemoryError
        self.dests = dests
        self.dests_cap = <uint32_t>cap
        return 0

    cdef int mark(self, uint32_t h) except -1 nogil:
        """Queue a prefix for the next flush, once."""
        cdef uint32_t n
        cdef uint32_t *p
        if self.dests[h].flags & DEST_DIRTY:
            return 0
        if self.dirty_tail == self.dirty_cap:
            n = self.dirty_tail - self.dirty_head
            if self.dirty_head > self.dirty_cap >> 1:
                memmove(self.dirty, self.dirty + self.dirty_head, <uint64_t>n * 4)
            else:
                p = <uint32_t *>malloc(<uint64_t>self.dirty_cap * 2 * 4)
                if p == NULL:
                    with gil:
                        raise MemoryError
                memcpy(p, self.dirty + self.dirty_head, <uint64_t>n * 4)
                free(self.dirty)
                self.dirty = p
                self.dirty_cap *= 2
            self.dirty_head = 0
            self.dirty_tail = n
        self.dests[h].flags |= DEST_DIRTY
        self.dirty[self.dirty_tail] = h
        self.dirty_tail += 1
        return 0

    # --- changes -------------------------------------------------------------------------------

    cdef int update(self, const uint8_t *addr, uint32_t plen, uint32_t slot, uint32_t path_id,
                    uint32_t attrs_h, uint32_t reason, uint32_t state,
                    uint32_t ticks) except -1 nogil:
        """Enter a path, or replace the one of the same peer and path id (implicit withdraw).

        `addr` is masked; `reason` is a RejectReason, 0 for a path that is used; `state` is what the
        filter found out (filter.pxd, 5 bits). The path takes its
        own reference to the attribute set. Returns 1 if anything changed.
        """
        cdef uint32_t known = self.trie.count
        cdef uint32_t h = self.trie.insert(addr, plen)
        cdef uint32_t p_h, prev, new_h, held = 0, mine = 0
        cdef uint32_t limit = self.rib.peers[slot].path_limit[self.family]
        cdef peer_t *peer = &self.rib.peers[slot]
        cdef dest_t *d
        cdef path_t *p
        cdef uint8_t was
        if h >= self.dests_cap:
            self._grow(h)
        d = &self.dests[h]
        if self.trie.count != known:
            memset(d, 0, sizeof(dest_t))
        p_h = d.paths_h
        prev = 0
        while p_h:
            p = self.path(p_h)
            if p.peer == slot:
                if p.path_id == path_id:
                    break
                held += 1
                if (p.flags & PATH_GENERATION) == peer.generation[self.family]:
                    mine += 1       # those that are stale are about to make room
            prev = p_h
            p_h = p.next_h
        if p_h:
            was = p.flags & PATH_REJECTED
            if (p.flags & PATH_GENERATION) != peer.generation[self.family]:
                peer.stale[self.family] -= 1
            if was and not reason and is_full(peer, self.family, p.reason):
                reason = FILTER_MAX_PREFIX
            if p.attrs_h == attrs_h and (p.reason == reason if was else not reason):
                if p.flags >> PATH_STATE_SHIFT != state:
                    self._note_state(h, p)
                p.flags = <uint8_t>((p.flags & (PATH_REJECTED | PATH_NOT_USABLE))
                                    | peer.generation[self.family]
                                    | (state << PATH_STATE_SHIFT))
                return 0
            self.rib.attrs.ref(attrs_h)
            self.rib.attrs.unref(p.attrs_h)
            p.attrs_h = attrs_h
            p.ticks = ticks
            if was:
                note_reject(peer, self.family, p.reason, -1)
            p.flags = <uint8_t>(peer.generation[self.family] | (state << PATH_STATE_SHIFT))
            p.reason = 0
            if reason:
                p.flags |= PATH_REJECTED
                p.reason = <uint8_t>reason
                note_reject(peer, self.family, reason, 1)
            self.changes += 1
            if not (was and reason):
                d.flags |= DEST_UNRANKED
                self.mark(h)
            return 1
        if mine >= limit or held >= 2 * limit or d.n_paths == 0xFFFF:
            self.refused += 1
            peer.refused[self.family] += 1
            return 0
        if not reason and is_full(peer, self.family, 0):
            reason = FILTER_MAX_PREFIX
        new_h = slab_alloc(&self.paths)
        p = self.path(new_h)
        p.attrs_h = attrs_h
        p.path_id = path_id
        p.ticks = ticks
        p.peer = <uint16_t>slot
        p.flags = <uint8_t>(peer.generation[self.family] | (PATH_REJECTED if reason else 0)
                            | (state << PATH_STATE_SHIFT))
        p.reason = <uint8_t>reason
        self.rib.attrs.ref(attrs_h)
        d.n_paths += 1
        if d.n_paths > 1:
            self.contested += 1
            if not d.flags & DEST_DIRTY:
                self.late += 1
        peer.received[self.family] += 1
        self.changes += 1
        if reason:
            # Behind all others; the order of those in use stays as it is.
            note_reject(peer, self.family, reason, 1)
            p.next_h = 0
            if prev:
                self.path(prev).next_h = new_h
            else:
                d.paths_h = new_h
            return 1
        p.next_h = d.paths_h
        d.paths_h = new_h
        d.flags |= DEST_UNRANKED
        self.mark(h)
        return 1

    cdef void _drop_path(self, uint32_t h, uint32_t prev, uint32_t path_h) noexcept nogil:
        """Unlink and free a path and its reference; the caller marks the prefix."""
        cdef dest_t *d = &self.dests[h]
        cdef path_t *p = self.path(path_h)
        cdef peer_t *peer = &self.rib.peers[p.peer]
        if prev:
            self.path(prev).next_h = p.next_h
        else:
            d.paths_h = p.next_h
        d.n_paths -= 1
        peer.received[self.family] -= 1
        if (p.flags & PATH_GENERATION) != peer.generation[self.family]:
            peer.stale[self.family] -= 1
        if p.flags & PATH_REJECTED:
            note_reject(peer, self.family, p.reason, -1)
        else:
            d.flags |= DEST_UNRANKED
        self.rib.attrs.unref(p.attrs_h)
        slab_release(&self.paths, path_h)
        self.changes += 1

    cdef int withdraw(self, const uint8_t *addr, uint32_t plen, uint32_t slot,
                      uint32_t path_id) except -1 nogil:
        """Remove a path. One that is not there is no error (RFC 4271). Returns 1 if it was."""
        cdef uint32_t h = self.trie.find(addr, plen)
        cdef uint32_t p_h, prev = 0
        cdef path_t *p
        if h == 0:
            return 0
        p_h = self.dests[h].paths_h
        while p_h:
            p = self.path(p_h)
            if p.peer == slot and p.path_id == path_id:
                self._drop_path(h, prev, p_h)
                self.mark(h)
                return 1
            prev = p_h
            p_h = p.next_h
        return 0

    cdef uint32_t purge(self, uint64_t *slots, bint only_stale, uint32_t pos,
                        uint32_t n) except? 0 nogil:
        """Remove the paths of all peers in `slots` from `n` prefixes on from handle `pos`.

        With only_stale only those go that have not been heard again since the peer began anew
        (begin_refresh). Returns the handle to go on with, or 0 when the last prefix has been
        seen. Start with 1.
        """
        cdef uint32_t h = pos, end, p_h, prev, next_h
        cdef path_t *p
        end = self.trie.top if n >= self.trie.top - pos else pos + n
        while h < end:
            if self.trie.plens[h] != 255:
                prev = 0
                p_h = self.dests[h].paths_h
                while p_h:
                    p = self.path(p_h)
                    next_h = p.next_h
                    if ((slots[p.peer >> 6] >> (p.peer & 63)) & 1
                            and (not only_stale or (p.flags & PATH_GENERATION)
                                 != self.rib.peers[p.peer].generation[self.family])):
                        self._drop_path(h, prev, p_h)
                        self.mark(h)
                    else:
                        prev = p_h
                    p_h = next_h
            h += 1
        return h if h < self.trie.top else 0

    cdef uint32_t ensure(self, const uint8_t *addr, uint32_t plen) except 0 nogil:
        """Return the handle of a prefix; one without paths is made, and stays while holders do."""
        cdef uint32_t known = self.trie.count
        cdef uint32_t h = self.trie.insert(addr, plen)
        if h >= self.dests_cap:
            self._grow(h)
        if self.trie.count != known:
            memset(&self.dests[h], 0, sizeof(dest_t))
            self.vacate(h)
        return h

    cdef int vacate(self, uint32_t h) except -1 nogil:
        """Free a prefix that has no paths and that nobody has been sent.

        While a slow member keeps track of prefixes by handle it only goes on a list, because the
        handle must not come to mean another prefix.
        """
        cdef uint32_t *p
        cdef uint32_t cap
        if self.dests[h].n_paths or self.dests[h].flags & (DEST_DIRTY | DEST_ZOMBIE):
            return 0
        if self.holders == 0:
            self.trie.remove(h)
            return 0
        if self.n_zombies == self.zombies_cap:
            cap = self.zombies_cap * 2 + 64
            p = <uint32_t *>realloc(self.zombies, <uint64_t>cap * 4)
            if p == NULL:
                with gil:
                    raise MemoryError
            self.zombies = p
            self.zombies_cap = cap
        self.zombies[self.n_zombies] = h
        self.n_zombies += 1
        self.dests[h].flags |= DEST_ZOMBIE
        return 0

    cdef int release_holder(self) except -1 nogil:
        """One holder less; the last one frees what was kept for them."""
        cdef uint32_t i, h
        self.holders -= 1
        if self.holders:
            return 0
        for i in range(self.n_zombies):
            h = self.zombies[i]
            self.dests[h].flags &= <uint8_t>~DEST_ZOMBIE
            if self.dests[h].n_paths == 0 and not self.dests[h].flags & DEST_DIRTY:
                self.trie.remove(h)
        self.n_zombies = 0
        return 0

    cdef int _judge(self, uint32_t h, path_t *p) except -1:
        """Check a path again, because what it is checked against has changed; 1 if that matters."""
        cdef uint32_t raw_h = self.rib.attrs.raw(p.attrs_h)
        cdef uint32_t reason = self.rib.check(p.peer, raw_h)
        cdef Filter f = self.rib.prefix_filter(p.peer)
        cdef Terms terms = self.rib.policy_of(p.peer)
        cdef uint32_t out_h = raw_h
        cdef uint8_t state = 0
        cdef bint other
        if f is not None and reason == 0:
            reason = f.check_prefix(self.rib.attrs, raw_h, self.family, self.trie.addr(h),
                                    self.trie.plen(h), &state)
        if terms is not None and reason == 0:
            reason = self.rib.admit(terms, p.peer, raw_h, self.family, self.trie.addr(h),
                                    self.trie.plen(h), state, &out_h)
        else:
            self.rib.attrs.ref(raw_h)
        if p.flags >> PATH_STATE_SHIFT != state:
            self._note_state(h, p)
        p.flags = <uint8_t>((p.flags & ((1 << PATH_STATE_SHIFT) - 1)) | (state << PATH_STATE_SHIFT))
        other = out_h != p.attrs_h
        self.rib.attrs.unref(p.attrs_h)
        p.attrs_h = out_h
        cdef peer_t *peer = &self.rib.peers[p.peer]
        cdef bint was = p.flags & PATH_REJECTED
        if was and not reason and is_full(peer, self.family, p.reason):
            reason = FILTER_MAX_PREFIX
        if not other and (p.reason == reason if was else not reason):
            return 0
        if was:
            note_reject(peer, self.family, p.reason, -1)
            p.flags &= <uint8_t>~PATH_REJECTED
            p.reason = 0
        if reason:
            note_reject(peer, self.family, reason, 1)
            p.flags |= PATH_REJECTED
            p.reason = <uint8_t>reason
        if was and reason:
            return 0
        self.dests[h].flags |= DEST_UNRANKED
        self.mark(h)
        return 1

    cdef int _note_state(self, uint32_t h, path_t *p) except -1 nogil:
        """What the filter found out about a path has changed, which may decide who gets it and what
        they are told."""
        if ((self.rib.state_matters or self.rib.control.always & T_INFORM)
                and not p.flags & PATH_REJECTED):
            self.mark(h)
        return 0

    cdef uint32_t freshen(self, uint32_t slot, uint32_t pos, uint32_t n) noexcept nogil:
        """Count every path of a peer as heard in its present generation, in `n` prefixes from
        handle `pos` on; return where to go on, 0 at the end."""
        cdef uint32_t h = pos, p_h
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        cdef peer_t *peer = &self.rib.peers[slot]
        cdef path_t *p
        while h < end:
            p_h = self.dests[h].paths_h if self.trie.plens[h] != 255 else 0
            while p_h:
                p = self.path(p_h)
                if (p.peer == slot
                        and (p.flags & PATH_GENERATION) != peer.generation[self.family]):
                    p.flags ^= PATH_GENERATION
                    peer.stale[self.family] -= 1
                p_h = p.next_h
            h += 1
        return h if h < self.trie.top else 0

    # --- decision --------------------------------------------------------------------------------

    cdef int rank(self, uint32_t h) except -1 nogil:
        """Bring the paths of a prefix into order of preference and note the deciding steps."""
        cdef dest_t *d = &self.dests[h]
        cdef candidate_t stack[STACK_CANDIDATES]
        cdef candidate_t *c = stack
        cdef uint32_t n = 0, p_h, i, reject_h = 0, reject_tail = 0, metric
        cdef path_t *p
        cdef bint med_differs = False
        d.flags &= <uint8_t>~DEST_UNRANKED
        if d.n_paths > STACK_CANDIDATES:
            c = <candidate_t *>malloc(d.n_paths * sizeof(candidate_t))
            if c == NULL:
                with gil:
                    raise MemoryError
        p_h = d.paths_h
        while p_h:
            p = self.path(p_h)
            metric = self.rib.attrs.hop(p.attrs_h).metric
            if p.flags & PATH_REJECTED or metric == UNREACHABLE:
                if not p.flags & PATH_REJECTED:
                    p.flags |= PATH_NOT_USABLE
                    p.reason = REASON_NEXT_HOP_UNREACHABLE
                if reject_tail:
                    self.path(reject_tail).next_h = p_h
                else:
                    reject_h = p_h
                reject_tail = p_h
            else:
                p.flags &= <uint8_t>~PATH_NOT_USABLE
                gather(&c[n], p, p_h, self.rib.attrs.at(p.attrs_h), &self.rib.peers[p.peer],
                       metric)
                if n and c[n].attrs.med != c[0].attrs.med:
                    med_differs = True
                n += 1
            p_h = p.next_h
        if n > 1:
            order(c, n, med_differs, &self.rib.options)
        if reject_tail:
            self.path(reject_tail).next_h = 0
        for i in range(n):
            p = self.path(c[i].path_h)
            p.next_h = c[i + 1].path_h if i + 1 < n else reject_h
            p.reason = DECIDED_BEST
            if i:
                metric = compare(&c[i - 1], &c[i], &self.rib.options)
                p.reason = <uint8_t>(metric if <int32_t>metric > 0 else 0 - metric)
        d.paths_h = c[0].path_h if n else reject_h
        if n and not d.flags & DEST_USABLE:
            d.flags |= DEST_USABLE
            self.usable += 1
        elif n == 0 and d.flags & DEST_USABLE:
            d.flags &= <uint8_t>~DEST_USABLE
            self.usable -= 1
        if c != stack:
            free(c)
        return 0

    # --- for Python -------------------------------------------------------------------------------

    def stats(self):
        """Return counts and octets: prefixes, paths, usable prefixes, queue, memory."""
        trie = self.trie.stats()
        return {
            "prefixes": self.trie.count,
            "usable": self.usable,
            "paths": self.paths.live,
            "dirty": self.dirty_count(),
            "changes": self.changes,
            "bytes": (trie["bytes"] + <uint64_t>self.trie.top * sizeof(dest_t)
                      + <uint64_t>self.paths.top * sizeof(path_t)),
        }

    def queued(self):
        """Return what `drained` will be when all that is dirty now has been evaluated."""
        return self.drained + self.dirty_count()

    def handle(self, bytes addr, uint32_t plen):
        """Return the handle of exactly this prefix, or 0."""
        return self.trie.get(addr, plen)

    def paths_of(self, uint32_t h):
        """Return the paths of a prefix, best first: (slot, path id, attribute handle, flags,
        reason, ticks). Ranks the prefix if it has changed."""
        cdef uint32_t p_h
        cdef path_t *p
        if h == 0 or h >= self.trie.top or self.trie.plens[h] == 255:
            return []
        if self.dests[h].flags & DEST_UNRANKED:
            self.rank(h)
        out = []
        p_h = self.dests[h].paths_h
        while p_h:
            p = self.path(p_h)
            out.append((p.peer, p.path_id, p.attrs_h, p.flags, p.reason, p.ticks))
            p_h = p.next_h
        return out

    def set_path(self, bytes addr, uint32_t plen, uint32_t slot, uint32_t attrs_h,
                 uint32_t path_id=0, uint32_t ticks=0):
        """Enter a path as import would: checked, and kept with its reason if rejected."""
        cdef uint8_t masked[16]
        cdef uint32_t reason = self.rib.check(slot, attrs_h)
        cdef Filter f = self.rib.prefix_filter(slot)
        cdef Terms terms = self.rib.policy_of(slot)
        cdef uint32_t out_h = attrs_h
        cdef uint8_t state = 0
        prefix_load(addr, plen, masked, self.trie.width)
        if f is not None and reason == 0:
            reason = f.check_prefix(self.rib.attrs, attrs_h, self.family, masked, plen, &state)
        if terms is not None and reason == 0:
            reason = self.rib.admit(terms, slot, attrs_h, self.family, masked, plen, state, &out_h)
        else:
            self.rib.attrs.ref(out_h)
        self.update(masked, plen, slot, path_id, out_h, reason, state, ticks)
        self.rib.attrs.unref(out_h)

    def drop_path(self, bytes addr, uint32_t plen, uint32_t slot, uint32_t path_id=0):
        """Withdraw a path; return whether it was there."""
        cdef uint8_t masked[16]
        prefix_load(addr, plen, masked, self.trie.width)
        return bool(self.withdraw(masked, plen, slot, path_id))

    def purge_step(self, list slots, uint32_t pos, uint32_t n, bint only_stale=False):
        """Remove the paths of these slots from `n` prefixes from handle `pos`; return where to go
        on, 0 at the end. Start with 1; a table without prefixes returns 0."""
        cdef uint64_t mask[1024]
        memset(mask, 0, sizeof(mask))
        for s in slots:
            mask[<uint32_t>s >> 6] |= <uint64_t>1 << (<uint32_t>s & 63)
        if pos >= self.trie.top:
            return 0
        return self.purge(mask, only_stale, pos, n)

    def settle_step(self, uint32_t slot, bint keep, uint32_t pos, uint32_t n):
        """Leave no path of a peer stale in `n` prefixes from handle `pos`: `keep` them as if heard
        again, or remove them. Returns where to go on, 0 when there are none any more."""
        cdef uint64_t mask[1024]
        if pos >= self.trie.top or self.rib.peers[slot].stale[self.family] == 0:
            return 0
        if keep:
            return self.freshen(slot, pos, n)
        memset(mask, 0, sizeof(mask))
        mask[slot >> 6] = <uint64_t>1 << (slot & 63)
        return self.purge(mask, True, pos, n)

    def long_lived_step(self, uint32_t slot, uint32_t pos, uint32_t n):
        """Make a peer's stale paths the last choice, in `n` prefixes from handle `pos` (RFC 9494
        4.2): LLGR_STALE is added to them, and those with NO_LLGR go. Returns where to go on, 0 at
        the end."""
        cdef AttrTable attrs = self.rib.attrs
        cdef uint32_t h = pos, p_h, prev, next_h, attrs_h, known
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        cdef path_t *p
        if pos >= self.trie.top:
            return 0
        while h < end:
            prev = 0
            p_h = self.dests[h].paths_h if self.trie.plens[h] != 255 else 0
            while p_h:
                p = self.path(p_h)
                next_h = p.next_h
                if (p.peer != slot or (p.flags & PATH_GENERATION)
                        == self.rib.peers[slot].generation[self.family]):
                    prev = p_h
                    p_h = next_h
                    continue
                known = attrs.at(p.attrs_h).well_known
                if known & WK_NO_LLGR:
                    self._drop_path(h, prev, p_h)
                    self.mark(h)
                    p_h = next_h
                    continue
                if not known & WK_LLGR_STALE:
                    # As if it had been received like this: policy makes the same of it again.
                    attrs_h = attrs.with_community(attrs.raw(p.attrs_h), LLGR_STALE)
                    attrs.unref(p.attrs_h)
                    p.attrs_h = attrs_h
                    self._judge(h, p)
                    if not p.flags & PATH_REJECTED:
                        self.dests[h].flags |= DEST_UNRANKED
                        self.mark(h)
                prev = p_h
                p_h = next_h
            h += 1
        return h if h < self.trie.top else 0

    def recheck_step(self, list slots, uint32_t pos, uint32_t n, bytearray only=None):
        """Check the paths of these slots again in `n` prefixes from handle `pos` (RFC 9324: nobody
        has to send anything again), with `only` those received with an attribute set whose bit is
        set. Returns where to go on, 0 at the end."""
        cdef const uint8_t *bits = NULL
        cdef uint32_t n_bits = 0, raw_h
        cdef uint64_t mask[1024]
        cdef uint32_t h = pos, p_h
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        cdef path_t *p
        if only is not None:
            bits = only
            n_bits = 8 * <uint32_t>len(only)
        memset(mask, 0, sizeof(mask))
        for s in slots:
            mask[<uint32_t>s >> 6] |= <uint64_t>1 << (<uint32_t>s & 63)
        while h < end:
            if self.trie.plens[h] != 255:
                p_h = self.dests[h].paths_h
                while p_h:
                    p = self.path(p_h)
                    p_h = p.next_h
                    if (mask[p.peer >> 6] >> (p.peer & 63)) & 1:
                        if bits != NULL:
                            raw_h = self.rib.attrs.raw(p.attrs_h)
                            if raw_h >= n_bits or not bits[raw_h >> 3] >> (raw_h & 7) & 1:
                                continue
                        self._judge(h, p)
            h += 1
        return h if h < self.trie.top else 0

    def recheck_below(self, bytes addr, uint32_t plen, tuple after=None):
        """Check the paths of all peers again in up to 256 prefixes at or below a prefix, the first
        ones after the key `after`. Returns the key to go on after, None at the end."""
        cdef uint32_t found[BELOW_STEP]
        cdef uint8_t below[16]
        cdef uint8_t start[16]
        cdef int start_len = -1
        cdef uint32_t i, n, p_h
        cdef path_t *p
        prefix_load(addr, plen, below, self.trie.width)
        if after is not None:
            start_len = after[1]
            prefix_load(<bytes>after[0], <uint32_t>start_len, start, self.trie.width)
        n = self.trie.collect(below, plen, start, start_len, found, BELOW_STEP)
        for i in range(n):
            p_h = self.dests[found[i]].paths_h
            while p_h:
                p = self.path(p_h)
                p_h = p.next_h
                self._judge(found[i], p)
        if n < BELOW_STEP:
            return None
        return self.trie.addr(found[n - 1])[:self.trie.width], self.trie.plen(found[n - 1])

    def mark_hops(self, bytes hops, uint32_t pos, uint32_t n, bint rank=True):
        """Queue those of `n` prefixes from handle `pos` that have a path with one of these next
        hops, for ranking or for evaluation alone; return where to go on or 0.

        `hops` has an octet for each next-hop handle, not 0 for those that are meant.
        """
        cdef uint32_t h = pos, p_h, nh_h
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        cdef const uint8_t *wanted = hops
        cdef uint32_t top = <uint32_t>len(hops)
        cdef path_t *p
        while h < end:
            if self.trie.plens[h] != 255:
                p_h = self.dests[h].paths_h
                while p_h:
                    p = self.path(p_h)
                    p_h = p.next_h
                    if p.flags & PATH_REJECTED:
                        continue
                    nh_h = self.rib.attrs.at(p.attrs_h).nh_h
                    if nh_h < top and wanted[nh_h]:
                        if rank:
                            self.dests[h].flags |= DEST_UNRANKED
                        self.mark(h)
                        break
            h += 1
        return h if h < self.trie.top else 0

    def count_hops(self, bytearray counts, uint32_t pos, uint32_t n):
        """Add up the paths in use by next hop over `n` prefixes from handle `pos`; return where to
        go on or 0. `counts` has a uint32 of the machine's for each next-hop handle."""
        cdef uint32_t h = pos, p_h, nh_h
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        cdef uint8_t *octets = counts
        cdef uint32_t *count = <uint32_t *>octets
        cdef uint32_t top = <uint32_t>len(counts) >> 2
        cdef path_t *p
        while h < end:
            if self.trie.plens[h] != 255:
                p_h = self.dests[h].paths_h
                while p_h:
                    p = self.path(p_h)
                    p_h = p.next_h
                    nh_h = self.rib.attrs.at(p.attrs_h).nh_h
                    if nh_h < top and not p.flags & PATH_REJECTED:
                        count[nh_h] += 1
            h += 1
        return h if h < self.trie.top else 0

    def mark_all(self, uint32_t pos, uint32_t n, bint rank=True):
        """Queue `n` prefixes from handle `pos` for evaluation; return where to go on or 0."""
        cdef uint32_t h = pos
        cdef uint32_t end = self.trie.top if n >= self.trie.top - pos else pos + n
        while h < end:
            if self.trie.plens[h] != 255:
                if rank:
                    self.dests[h].flags |= DEST_UNRANKED
                self.mark(h)
            h += 1
        return h if h < self.trie.top else 0


@cython.final
cdef class Rib:
    def __cinit__(self, AttrTable attrs, MemberSets sets, Control control):
        self.attrs = attrs
        self.sets = sets
        self.control = control
        self.n_slots = sets.words * 64
        self.peers = <peer_t *>calloc(self.n_slots, sizeof(peer_t))
        if self.peers == NULL:
            raise MemoryError
        self.filters = []
        self.policies = []
        self.memo = Memo()
        self.knowing_h = SET_NONE
        self.options.med_deterministic = 1
        self.options.prefer_oldest = 1
        self.tables = [Table(self, 0), Table(self, 1)]

    def __dealloc__(self):
        free(self.peers)

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

    cdef uint32_t admit(self, Terms terms, uint32_t slot, uint32_t attrs_h, uint32_t family,
                        const uint8_t *addr, uint32_t plen, uint32_t state,
                        uint32_t *out_h) except 255:
        """Run a slot's import policy over a route that has passed everything before it.

        Returns 0 or a RejectReason, and a new reference to the set that its path gets.
        """
        cdef route_t r
        r.addr = addr
        r.plen = plen
        r.family = family
        r.state = state
        r.source = &self.peers[slot]
        return terms.import_route(self.attrs, attrs_h, &r, out_h)

    cdef uint32_t check(self, uint32_t slot, uint32_t attrs_h) except 255:
        """Return the RejectReason that a path's attributes alone give it, 0 if it may be used."""
        cdef uint32_t reason = self.protocol_check(slot, attrs_h), found
        cdef Filter f
        if reason not in (0, REASON_FIRST_AS) or slot >= <uint32_t>len(self.filters):
            return reason
        f = <Filter>self.filters[slot]
        if f is None:
            return reason
        found = f.check_attrs(self.attrs, attrs_h, self.peers[slot].asn)
        # In the order that exchanges know, these two rules come before the leftmost AS.
        if reason and found not in (FILTER_NEXT_HOP, FILTER_AS_PATH_LENGTH):
            return reason
        return found

    cdef uint32_t protocol_check(self, uint32_t slot, uint32_t attrs_h) except 255 nogil:
        """Return the RejectReason of a path by the protocol's own checks, 0 if there is none."""
        cdef peer_t *peer = &self.peers[slot]
        cdef attrset_t *s = self.attrs.at(attrs_h)
        if not s.flags & AS_COMPILED:
            self.control.compile(attrs_h)
            s = self.attrs.at(attrs_h)
        if s.own_as > peer.allow_own_as:
            return REASON_AS_LOOP
        if s.flags & AS_BAD_NEXT_HOP:
            return REASON_NEXT_HOP_INVALID
        if peer.reject_as_set and s.flags & AS_HAS_AS_SET:
            return REASON_AS_SET
        if peer.kind < PEER_IBGP:
            if s.flags & AS_HAS_CONFED:
                return REASON_CONFED_SEGMENT
            if s.flags & AS_HAS_OTC and leaks(self.attrs, attrs_h, peer):
                return REASON_OTC_LEAK
            if peer.first_as and s.first_as != peer.asn:
                return REASON_FIRST_AS
            if peer.closed:
                return REASON_NO_IMPORT_POLICY
        else:
            if s.flags & AS_OWN_ORIGINATOR:
                return REASON_ORIGINATOR_LOOP
            if s.flags & AS_OWN_CLUSTER:
                return REASON_CLUSTER_LOOP
        return 0

    # --- for Python -------------------------------------------------------------------------------

    def set_options(self, *, bint med_always=False, bint med_deterministic=True,
                    bint prefer_oldest=True):
        """Set what the decision process may vary in; the caller re-ranks what is there."""
        self.options.med_always = med_always
        self.options.med_deterministic = med_deterministic
        self.options.prefer_oldest = prefer_oldest

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

    def set_cluster(self, uint32_t slot, uint32_t cluster_id):
        """Put a reflector's client into a cluster (RFC 4456 7), before it has any paths."""
        self.peers[slot].cluster_id = cluster_id

    def set_path_limit(self, uint32_t slot, uint32_t family, uint32_t limit):
        """Enter at most so many paths of a peer for one prefix (RFC 7911).

        0 stands for 1,024, which is the most there can be. Paths that are there already stay.
        """
        self.peers[slot].path_limit[family] = min(limit or PATHS_OF_PEER, PATHS_OF_PEER)

    def change_peer(self, uint32_t slot, uint32_t asn, uint32_t kind):
        """Give a slot's peer another AS number and kind: those of its new session."""
        self.peers[slot].asn = asn
        self.peers[slot].kind = kind

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

    def set_role(self, uint32_t slot, uint32_t role):
        """Say what we are to a peer, ROLE_*: before its session, which a change would end."""
        self.peers[slot].role = <uint8_t>role

    def set_limit(self, uint32_t slot, uint32_t family, uint32_t limit, bint accepted=False,
                  bint tagged=False):
        """Keep a peer's further paths rejected once it has `limit`, 0 for any number; counted are
        accepted paths, with `tagged` also those that a rule refuses, or all."""
        self.peers[slot].limit[family] = limit
        self.peers[slot].limit_accepted = LIMIT_RECEIVED
        if accepted:
            self.peers[slot].limit_accepted = LIMIT_TAGGED if tagged else LIMIT_ACCEPTED

    def filtered_count(self, uint32_t slot, uint32_t family):
        """Return how many paths of a peer a rule of the operator's refuses."""
        return self.peers[slot].filtered[family]

    def filter_of(self, uint32_t slot):
        """Return the filter of a slot, or None."""
        return self.filters[slot] if slot < <uint32_t>len(self.filters) else None

    cdef void turn(self, uint32_t slot, uint32_t family, uint32_t state) noexcept nogil:
        """From here on a peer's paths of a family are stale until heard again; none is yet."""
        cdef peer_t *p = &self.peers[slot]
        p.generation[family] ^= PATH_GENERATION
        p.stale[family] = p.received[family]
        p.refresh[family] = <uint8_t>state

    cdef int begin_refresh(self, uint32_t slot, uint32_t family) noexcept nogil:
        """BoRR: from here on this peer's paths of a family are stale until they are heard again.

        One bit tells fresh from stale, so whatever is stale from a refresh before must be settled
        first, which takes a walk (RFC 7313 4; see Table.settle_step).
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
        """EoRR: return whether stale paths may be left, for Table.purge_step to remove.

        Call refreshed() when they are. An EoRR without a BoRR means nothing (RFC 7313 4).
        """
        if self.peers[slot].refresh[family] != REFRESH_UNDER_WAY:
            return False
        self.peers[slot].refresh[family] = REFRESH_ENDED
        return True

    def refresh_ended(self, uint32_t slot, uint32_t family):
        """Whether stale paths of an ended refresh or restart are still to be removed."""
        return self.peers[slot].refresh[family] == REFRESH_ENDED

    def under_refresh(self, uint32_t slot, uint32_t family):
        """Whether a BoRR has come, and its EoRR not yet."""
        return self.peers[slot].refresh[family] == REFRESH_UNDER_WAY

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

    def set_long_lived(self, uint32_t slot, *, bint said, bint heard):
        """Note who knows long-lived graceful restart in a peer's session: we have said so, the peer
        has. Returns whether long-lived stale paths go to others than before; the caller has them
        evaluated again."""
        cdef uint64_t bits[1024]
        cdef uint32_t i, h
        self.peers[slot].long_lived = <uint8_t>((LLGR_SAID if said else 0)
                                                | (LLGR_HEARD if heard else 0))
        memset(bits, 0, sizeof(bits))
        for i in range(1, self.n_slots):
            if self.peers[i].long_lived & LLGR_HEARD:
                bits[i >> 6] |= <uint64_t>1 << (i & 63)
        h = self.sets.intern(bits)
        self.sets.unref(self.knowing_h)
        i = self.knowing_h
        self.knowing_h = h
        return h != i and self.control.some_stale

    def set_filter(self, uint32_t slot, Filter f):
        """Use a filter for a peer's paths from now on; None for none. What is there the caller has
        checked again (Table.recheck_step). Returns whether accepted paths rank or are told of
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

    def set_policy(self, uint32_t slot, Terms terms):
        """Use an import policy for a peer's paths from now on; None for none. As set_filter."""
        while len(self.policies) <= slot:
            self.policies.append(None)
        self.policies[slot] = terms

    def policy(self, uint32_t slot):
        """Return the import policy of a slot, or None."""
        return self.policy_of(slot)

    def remove_peer(self, uint32_t slot):
        """Free a slot; its paths must have gone. ValueError if not."""
        if self.peers[slot].received[0] or self.peers[slot].received[1]:
            raise ValueError(f"slot {slot} still has paths")
        memset(&self.peers[slot], 0, sizeof(peer_t))
        if slot < <uint32_t>len(self.policies):
            self.policies[slot] = None
        if slot < <uint32_t>len(self.filters):
            self.filters[slot] = None

    def set_router_id(self, uint32_t slot, str router_id):
        """Note the BGP Identifier of a peer's new session, for the decision process."""
        self.peers[slot].router_id = int(ipaddress.IPv4Address(router_id))

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

    def check_attrs(self, uint32_t slot, uint32_t attrs_h):
        """Return the RejectReason that import would give a path of this peer, 0 for none."""
        return self.check(slot, attrs_h)

    def find_ases(self, AsnSet asns, bytearray found, uint32_t pos, uint32_t n):
        """Set the bits of attribute sets whose AS_PATH holds one of these AS numbers.

        `n` sets from handle `pos`; bit h of `found` is that of handle h, and it grows as needed.
        Returns where to go on, 0 at the end.
        """
        cdef uint32_t h, _i, count
        cdef uint32_t end = (self.attrs.sets.top if n >= self.attrs.sets.top - pos else pos + n)
        cdef const uint8_t *p
        cdef const uint8_t *stop
        cdef const uint8_t *v
        cdef uint8_t *bits
        cdef attr_t a
        cdef bint has
        if len(found) * 8 < end:
            found.extend(bytes((end >> 3) + 1 - len(found)))
        bits = found
        for h in range(pos, end):
            if self.attrs.at(h).refs == 0:
                continue
            p = self.attrs.wire(h)
            stop = p + self.attrs.at(h).wire_len
            has = False
            while p < stop:
                p += attr_next(p, &a)
                if a.type != ATTR_AS_PATH:
                    continue
                v = a.value
                while v < a.value + a.len:
                    count = v[1]
                    v += 2
                    for _i in range(count):
                        has = has or asns.has(load32(v))
                        v += 4
            if has:
                bits[h >> 3] |= <uint8_t>(1 << (h & 7))
        return end if end < self.attrs.sets.top else 0

    def recompile(self, uint32_t pos, uint32_t n, bint forms=False):
        """Compile `n` attribute sets anew from handle `pos`, because the peers have changed.

        With `forms` what communities mean has changed too: exported forms made so far are given up.
        Returns (where to go on or 0, whether any set says something else about members).
        """
        cdef uint32_t h = pos, end
        cdef bint changed = False
        cdef attrset_t *s
        end = self.attrs.sets.top if n >= self.attrs.sets.top - pos else pos + n
        while h < end:
            s = self.attrs.at(h)
            if s.refs and s.flags & AS_COMPILED:
                self.attrs.ref(h)       # its own forms may be the last to refer to it
                changed = self.control.renew(h) or changed
                if forms and self.attrs.at(h).derived_h and self.drop_forms != NULL:
                    self.drop_forms(self.attrs.release_ctx, h)
                self.attrs.unref(h)
            h += 1
        return (h if h < self.attrs.sets.top else 0, changed)
