"""Adj-RIB-In and Loc-RIB: the paths of every prefix, ranked by the decision process.

In: prefixes with an interned attribute set and a verdict of import, from ingest. Out: prefixes
marked dirty, and for each of them, on demand, its paths in order of preference. Rejected paths
stay, with their reason, behind the others: a changed policy needs nobody to send anything again
(RFC 9324), and "why" has an answer. RFC 4271 9.1, RFC 4456 9.

The Rib owns paths and prefixes; every path owns a reference to its attribute set. Ranking is
delayed to the moment when a dirty prefix is looked at, so that ten changes cost one ranking.

Behind the fixed filter a neighbor's policy may change a path: it then has the changed attribute
set, which knows the one received (attrset_t.raw_h), and is judged again from that.

What is known of the peers themselves is in peers.pyx, what goes over many prefixes at once in
walks.pyx. Memory: 20 B a path, 8 B a prefix beside its key in the trie.
"""

cimport cython
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from rs._fastpath.arena cimport slab_alloc, slab_free_all, slab_init, slab_release
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.control cimport Control
from rs._fastpath.decide cimport DECIDED_BEST, candidate_t, compare, gather, order
from rs._fastpath.filter cimport FILTER_AS_PATH_LENGTH, FILTER_MAX_PREFIX, FILTER_NEXT_HOP, Filter
from rs._fastpath.memo cimport Memo
from rs._fastpath.paths cimport (
    DEST_DIRTY,
    DEST_UNRANKED,
    DEST_USABLE,
    DEST_ZOMBIE,
    PATH_GENERATION,
    PATH_NOT_USABLE,
    PATH_REJECTED,
    PATH_STATE_SHIFT,
    PEER_IBGP,
    ROLE_PEER,
    ROLE_PROVIDER,
    ROLE_RS,
    dest_t,
    path_t,
    peer_t,
)
from rs._fastpath.peers cimport is_full, note_reject
from rs._fastpath.sets cimport MemberSets
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms, route_t
from rs._fastpath.trie cimport Trie, stretch_t
from rs._fastpath.types cimport (
    AS_BAD_NEXT_HOP,
    AS_COMPILED,
    AS_HAS_AS_SET,
    AS_HAS_CONFED,
    AS_HAS_OTC,
    AS_OWN_CLUSTER,
    AS_OWN_ORIGINATOR,
    ATTR_OTC,
    T_INFORM,
    attrset_t,
)
from rs._fastpath.wire cimport load32, prefix_load

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

    cdef int _grow_dirty(self) except -1 nogil:
        """Have room for one more dirty prefix: what was taken from the queue, or twice as much."""
        cdef uint32_t n = self.dirty_tail - self.dirty_head
        cdef uint32_t *p
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
                    self.note_state(h, p)
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

    cdef void unlink(self, uint32_t h, uint32_t prev, uint32_t path_h) noexcept nogil:
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
                self.unlink(h, prev, p_h)
                self.mark(h)
                return 1
            prev = p_h
            p_h = p.next_h
        return 0

    cdef uint32_t purge(self, const uint64_t *mask, bint only_stale, uint32_t pos,
                        uint32_t n) except? 0 nogil:
        """Remove the paths of all peers whose bit is set, over `n` prefixes from handle `pos`.

        With only_stale only those go that have not been heard again since the peer began anew.
        Returns the handle to go on with, or 0 when the last prefix has been seen.
        """
        cdef uint32_t p_h, prev, next_h
        cdef path_t *p
        cdef stretch_t s = self.trie.stretch(pos, n)
        while self.trie.step(&s):
            prev = 0
            p_h = self.dests[s.h].paths_h
            while p_h:
                p = self.path(p_h)
                next_h = p.next_h
                if ((mask[p.peer >> 6] >> (p.peer & 63)) & 1
                        and (not only_stale or (p.flags & PATH_GENERATION)
                             != self.rib.peers[p.peer].generation[self.family])):
                    self.unlink(s.h, prev, p_h)
                    self.mark(s.h)
                else:
                    prev = p_h
                p_h = next_h
        return self.trie.behind(&s)

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

    cdef int note_state(self, uint32_t h, path_t *p) except -1 nogil:
        """What the filter found out about a path has changed, which may decide who gets it and what
        they are told."""
        if ((self.rib.state_matters or self.rib.control.always & T_INFORM)
                and not p.flags & PATH_REJECTED):
            self.mark(h)
        return 0

    # --- decision ------------------------------------------------------------------------------

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
        if h == 0 or h >= self.trie.top or not self.trie.holds(h):
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
        cdef uint32_t out_h, reason
        cdef uint8_t state = 0
        prefix_load(addr, plen, masked, self.trie.width)
        reason = self.rib.verdict(slot, attrs_h, self.family, masked, plen, &state, &out_h)
        self.update(masked, plen, slot, path_id, out_h, reason, state, ticks)
        self.rib.attrs.unref(out_h)

    def drop_path(self, bytes addr, uint32_t plen, uint32_t slot, uint32_t path_id=0):
        """Withdraw a path; return whether it was there."""
        cdef uint8_t masked[16]
        prefix_load(addr, plen, masked, self.trie.width)
        return bool(self.withdraw(masked, plen, slot, path_id))


@cython.final
cdef class Rib:
    def __cinit__(self, AttrTable attrs, MemberSets sets, Control control):
        self.attrs = attrs
        self.memo = Memo()
        self.options.med_deterministic = 1
        self.options.prefer_oldest = 1
        self.tables = [Table(self, 0), Table(self, 1)]

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

    cdef uint32_t verdict(self, uint32_t slot, uint32_t attrs_h, uint32_t family,
                          const uint8_t *addr, uint32_t plen, uint8_t *state,
                          uint32_t *out_h) except 255:
        """Return the RejectReason of a single route, 0 if it may be used: all that import asks.

        Fills in what the filter has found out, and a new reference to the set that its path gets.
        """
        cdef uint32_t reason = self.check(slot, attrs_h)
        cdef Filter f = self.prefix_filter(slot)
        cdef Terms terms = self.policy_of(slot)
        if f is not None and reason == 0:
            reason = f.check_prefix(self.attrs, attrs_h, family, addr, plen, state)
        if terms is not None and reason == 0:
            return self.admit(terms, slot, attrs_h, family, addr, plen, state[0], out_h)
        self.attrs.ref(attrs_h)
        out_h[0] = attrs_h
        return reason

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

    def check_attrs(self, uint32_t slot, uint32_t attrs_h):
        """Return the RejectReason that import would give a path of this peer, 0 for none."""
        return self.check(slot, attrs_h)
