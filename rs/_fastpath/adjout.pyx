"""Adj-RIB-Out: for each prefix, which members have it with which attributes.

In: a prefix whose paths have changed. Out: the list of (attributes to send, member set) that is due
now, beside the list that was sent last. The walk over the ranked paths is the whole export: each
path takes from the members that remain those it may reach (RFC 7947 2.3.2). Split horizon,
exclusion, and the next best path for whom the best is not (path hiding) are all this walk. Plain
BGP and reflectors send the best path or nothing (RFC 4271 9.1.3, RFC 4456 6). A form that the
messages of some members cannot hold (RFC 8654 4), or with a next hop that they do not understand
(RFC 8950), is not for them: such attributes are rare, and only they are looked at.

What a path gives is split once more where its communities ask for other attributes towards some
members (parts of the set, control.pyx): prepending, NO_EXPORT. Each part goes out in a form of its
own, and everything else stays as it is: one log, one walk.

With ADD-PATH (RFC 7911) a member is due every path it may have, or the first of each neighboring
AS, or those as good as its best; of these the first ones, up to a limit. Each goes under an
identifier that is its path's handle: stable as long as the path is there, and unique without being
stored.

Memory: 8 B a prefix; a prefix with several entries keeps them in a list, 8 B each, 12 B with
ADD-PATH.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.arena cimport blob_alloc, blob_at, blob_free_all, blob_init, blob_release
from rs._fastpath.control cimport MAX_PARTS, Control, part_t, parts_t
from rs._fastpath.decide cimport (
    DECIDED_LLGR_STALE,
    DECIDED_OLDEST,
    candidate_t,
    compare,
    gather,
    is_last_choice,
)
from rs._fastpath.edits cimport CHAIN_EXTERNAL
from rs._fastpath.encode cimport LONG_ATTRS, NO_ROOM, Encoder
from rs._fastpath.orr cimport Vantage
from rs._fastpath.rewrite cimport (
    PROG_EBGP,
    PROG_IBGP,
    PROG_RR,
    PROG_RS,
    Program,
    Rewriter,
    ingress_otc,
)
from rs._fastpath.paths cimport (
    ASKS_GSHUT,
    ASKS_ROAS,
    DEST_DIRTY,
    DEST_UNRANKED,
    PATH_NOT_USABLE,
    PATH_REJECTED,
    PATH_STATE_SHIFT,
    PEER_IBGP,
    PEER_RR_CLIENT,
    path_t,
    peer_t,
)
from rs._fastpath.rib cimport Rib
from rs._fastpath.sets cimport SET_ALL, SET_NONE, and_not
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms, route_t
from rs._fastpath.types cimport (
    AS_COMPILED,
    AS_HAS_NEXT_HOP,
    AS_HAS_OTC,
    FAM_IPV4,
    T_GSHUT,
    T_INFORM,
    T_NO_EXPORT,
    T_PREF_0,
    T_ROAS,
    T_STATE_SHIFT,
    WK_BLACKHOLE,
    WK_GSHUT,
    WK_LLGR_STALE,
    WK_NO_ADVERTISE,
    WK_NO_EXPORT,
    WK_VARIANTS,
    attrset_t,
)

check_abi(__name__)


@cython.final
@cython.no_gc_clear  # __dealloc__ gives references back to the RIB
cdef class AdjOut:
    def __cinit__(self, Rib rib, uint32_t family, Rewriter rewriter, Program program,
                  bint client_to_client=True, bint addpath=False, uint32_t max_paths=0,
                  uint32_t choice=PATHS_ALL, Vantage vantage=None, Terms policy=None):
        if max_paths > MAX_PATHS:
            raise ValueError(f"at most {MAX_PATHS} paths can be chosen; 0 sends all")
        if choice > PATHS_EQUAL:
            raise ValueError(f"no such choice of paths: {choice}")
        self.addpath = addpath
        self.max_paths = max_paths
        self.choice = choice
        while max_paths >> self.n_slices:
            self.n_slices += 1
        self.have = <uint64_t *>malloc(<uint64_t>(self.n_slices + 1) * 1024 * 8)
        self.fresh_ids = <uint32_t *>malloc(16 * 4)
        if self.have == NULL or self.fresh_ids == NULL:
            raise MemoryError
        self.rib = rib
        self.encoders = []
        self.vantage = vantage
        self.policy = policy
        self.table = rib.tables[family]
        self.rewriter = rewriter
        self.program = program
        self.next_best = program.kind == PROG_RS
        self.client_to_client = client_to_client
        self.cap = self.table.dests_cap
        self.entries = <entry_t *>calloc(self.cap, sizeof(entry_t))
        self.set_cap = 256
        self.set_count = <uint32_t *>calloc(self.set_cap, 4)
        self.fresh_cap = 16
        self.fresh = <entry_t *>malloc(self.fresh_cap * sizeof(entry_t))
        if self.entries == NULL or self.set_count == NULL or self.fresh == NULL:
            raise MemoryError
        blob_init(&self.lists, 1024)

    def __dealloc__(self):
        # At shutdown the collector may have taken the RIB apart first; then nobody counts any more.
        if (self.entries != NULL and self.fresh != NULL and self.rib.attrs is not None
                and self.rib.sets is not None):
            self.release(0, self.cap)
            self.rib.sets.unref(self.knowing_h)
        free(self.entries)
        free(self.set_count)
        free(self.fresh)
        free(self.fresh_ids)
        free(self.have)
        free(self.narrowed)
        blob_free_all(&self.lists)

    cdef void release(self, uint32_t pos, uint32_t end) noexcept nogil:
        """Give back the references of some prefixes; lists stay until all goes."""
        cdef uint32_t h, n, i
        cdef entry_t *e
        for h in range(pos, end):
            e = self.get(h, &n)
            for i in range(n):
                self.rib.attrs.unref(e[i].attrs_h)
                self.rib.sets.unref(e[i].set_h)
            self.entries[h].attrs_h = 0

    cdef entry_t *get(self, uint32_t h, uint32_t *n) noexcept nogil:
        """Return what was sent for a prefix and the number of entries, which may be 0."""
        cdef entry_t *e
        n[0] = 0
        if h >= self.cap:
            return NULL
        e = &self.entries[h]
        if e.attrs_h == 0:
            return e
        if e.attrs_h & LIST_TAG:
            n[0] = e.set_h
            return <entry_t *>blob_at(&self.lists, e.attrs_h & ~<uint32_t>LIST_TAG)
        n[0] = 1
        return e

    cdef entry_t *present(self, uint32_t h, uint32_t *n) except? NULL:
        """As get(); a new Adj-RIB-Out is filled prefix by prefix as its first members read it.

        Only then, and in the order of handles: once members may have been told that there is
        nothing, what becomes of a prefix has to go through the log. So does a dirty prefix.
        """
        cdef entry_t *e = self.get(h, n)
        if h <= self.filled:
            # Who reads it now may be somebody who can be sent what others could not.
            if (h >> 6 < self.narrowed_words and (self.narrowed[h >> 6] >> (h & 63)) & 1
                    and self.table.dests[h].n_paths):
                self.table.mark(h)
            return e
        self.filled = h
        if n[0] == 0 and self.table.dests[h].n_paths and not self.table.dests[h].flags & DEST_DIRTY:
            self.evaluate(h)
            self.store(h)
            e = self.get(h, n)
        return e

    cdef int _fresh(self, uint32_t attrs_h, uint32_t set_h, uint32_t path_id) except -1:
        """Add an entry, with what an export policy changes in its attributes."""
        cdef entry_t *p
        cdef uint32_t *ids
        cdef attrset_t *s
        if self.chain:
            attrs_h = self._edited(attrs_h)
            if attrs_h == 0:
                self._lose(self.rib.sets.bits(set_h), path_id, W_TOO_LONG)
                self.rib.sets.unref(set_h)
                return 0            # no message could hold it
        s = self.rib.attrs.at(attrs_h)
        if s.wire_len > LONG_ATTRS or (
                self.table.family == FAM_IPV4 and not s.flags & AS_HAS_NEXT_HOP):
            set_h = self._narrow(attrs_h, set_h, path_id)
            if set_h == SET_NONE:
                return 0
        if self.n_fresh == self.fresh_cap:
            p = <entry_t *>realloc(self.fresh, <uint64_t>self.fresh_cap * 2 * sizeof(entry_t))
            if p == NULL:
                raise MemoryError
            self.fresh = p
            ids = <uint32_t *>realloc(self.fresh_ids, <uint64_t>self.fresh_cap * 2 * 4)
            if ids == NULL:
                raise MemoryError
            self.fresh_ids = ids
            self.fresh_cap *= 2
        self.fresh_ids[self.n_fresh] = path_id
        self.fresh[self.n_fresh].attrs_h = attrs_h
        self.fresh[self.n_fresh].set_h = set_h
        self.n_fresh += 1
        return 0

    cdef uint32_t _narrow(self, uint32_t attrs_h, uint32_t set_h,
                          uint32_t path_h) except? 0xFFFFFFFF:
        """Leave of a set those whose messages can hold a form: a reference for a reference."""
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t why, i
        cdef uint64_t some, all_lost = 0
        cdef uint64_t bits[1024]
        cdef uint64_t lost[1024]
        cdef Encoder encoder
        memcpy(bits, self.rib.sets.bits(set_h), words * 8)
        for encoder in self.encoders:
            why = encoder.refuses(attrs_h, self.at_h)
            if why == 0:
                continue
            some = 0
            for i in range(words):
                lost[i] = bits[i] & encoder.members[i]
                bits[i] &= ~lost[i]
                some |= lost[i]
            if some:
                all_lost |= some
                self._lose(lost, path_h, W_TOO_LONG if why == NO_ROOM else W_EXTENDED_NEXT_HOP)
        if all_lost == 0:
            return set_h
        self.rib.sets.unref(set_h)
        return self.rib.sets.intern(bits)

    cdef int _lose(self, const uint64_t *bits, uint32_t path_h, uint32_t why) except -1:
        """Note that these members cannot be sent the path at hand."""
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t i = self.at_h >> 6, n
        cdef uint64_t *p
        if i >= self.narrowed_words:
            n = i + (i >> 1) + 64
            p = <uint64_t *>realloc(self.narrowed, <uint64_t>n * 8)
            if p == NULL:
                raise MemoryError
            memset(p + self.narrowed_words, 0, <uint64_t>(n - self.narrowed_words) * 8)
            self.narrowed = p
            self.narrowed_words = n
        self.narrowed[i] |= <uint64_t>1 << (self.at_h & 63)
        if not self.some_unfit:
            memset(self.unfit, 0, words * 8)
            self.some_unfit = True
        for i in range(words):
            self.unfit[i] |= bits[i]
        if self.looked is not None and bits[self.look_slot >> 6] >> (self.look_slot & 63) & 1:
            self.looked[path_h] = why
        return 0

    cdef uint32_t _barred(self, uint32_t slot, uint32_t attrs_h) noexcept nogil:
        """Why a path from this source may not go to the peers of this program (W_*); 0: it may."""
        cdef uint32_t from_kind = self.rib.peers[slot].kind
        cdef uint32_t kind = self.program.kind
        cdef uint32_t wk, flags
        if self.program.closed:
            return W_CLOSED
        if self.program.upwards:
            # RFC 9234 5, egress 2: what came from above or sideways goes to customers only.
            flags = self.rib.attrs.at(attrs_h).flags
            if flags & AS_HAS_OTC or ingress_otc(&self.rib.peers[slot], flags):
                return W_ROLE
        if kind == PROG_IBGP and from_kind == PEER_IBGP:
            return W_NON_CLIENT
        if (kind == PROG_RR and from_kind == PEER_RR_CLIENT and not self.client_to_client
                and self.rib.peers[slot].cluster_id == self.program.cluster_id):
            return W_CLIENT_TO_CLIENT
        if self.program.honor_well_known:
            wk = self.rib.attrs.at(attrs_h).well_known
            if wk & WK_NO_ADVERTISE:
                return W_NO_ADVERTISE
            if wk & WK_NO_EXPORT and kind <= PROG_EBGP:
                return W_NO_EXPORT
        return 0

    cdef uint32_t _hole(self, uint32_t attrs_h) noexcept nogil:
        """The set of members that a black hole's attributes leave. Borrowed."""
        cdef parts_t *kept = self.rib.control.parts(attrs_h)
        if kept == NULL or self.rib.control.holes[self.table.family] == 0:
            return self.rib.attrs.at(attrs_h).set_h
        return kept.hole_h

    cdef inline uint32_t _base(self, uint32_t attrs_h) noexcept nogil:
        """The set of members that a path's attributes leave. Borrowed."""
        cdef attrset_t *s
        if not self.next_best:
            return SET_ALL
        s = self.rib.attrs.at(attrs_h)
        if s.well_known & WK_BLACKHOLE:
            return self._hole(attrs_h)
        return s.set_h

    cdef inline int _give(self, const path_t *p, uint32_t set_h, uint32_t path_id) except -1:
        """Add a path to what is due, for the members of a set, whose reference is taken over."""
        if (self.rib.attrs.at(p.attrs_h).well_known
                & (WK_BLACKHOLE | WK_GSHUT | WK_VARIANTS | WK_LLGR_STALE)
                or self.rib.control.always):
            return self._give_parts(p, set_h, path_id)
        return self._fresh(self.rewriter.derive(self.program, p.attrs_h, p.peer, 0), set_h, path_id)

    cdef int _give_parts(self, const path_t *p, uint32_t set_h, uint32_t path_id) except -1:
        """_give() where members may get different attributes, or others than the program's."""
        cdef Control control = self.rib.control
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t wk = self.rib.attrs.at(p.attrs_h).well_known
        cdef const peer_t *peer = &self.rib.peers[p.peer]
        cdef uint32_t transform = control.always
        cdef uint32_t n = 0, i, k
        cdef parts_t *kept
        cdef part_t parts[MAX_PARTS]
        cdef uint64_t left[1024]
        cdef uint64_t give[1024]
        cdef uint64_t *bits
        cdef uint64_t some
        if self.next_best:
            if transform & T_INFORM:
                transform |= <uint32_t>(p.flags >> PATH_STATE_SHIFT) << T_STATE_SHIFT
                if peer.asked & ASKS_ROAS:
                    transform |= T_ROAS
            if wk & WK_BLACKHOLE:
                transform |= control.holes[self.table.family]
            if wk & WK_VARIANTS:
                kept = control.parts(p.attrs_h)
                n = kept.n
                memcpy(parts, kept + 1, n * sizeof(part_t))
        else:
            transform &= T_GSHUT
            if wk & WK_GSHUT and peer.asked & ASKS_GSHUT and self.program.kind >= PROG_IBGP:
                transform |= T_PREF_0
            if self.rib.partial_h != SET_NONE and is_last_choice(self.rib.attrs.at(p.attrs_h),
                                                                 peer):
                # RFC 9494 4.6, for internal members who do not know what it is.
                parts[0].set_h = self.rib.partial_h
                parts[0].transform = T_NO_EXPORT | T_PREF_0
                n = 1
        if n:
            memcpy(left, self.rib.sets.bits(set_h), words * 8)
        for i in range(n):
            bits = self.rib.sets.bits(parts[i].set_h)
            some = 0
            for k in range(words):
                give[k] = left[k] & bits[k]
                left[k] &= ~bits[k]
                some |= give[k]
            if some:
                self._fresh(self.rewriter.derive(self.program, p.attrs_h, p.peer,
                                                 transform | parts[i].transform),
                            self.rib.sets.intern(give), path_id)
        if n:
            some = 0
            for k in range(words):
                some |= left[k]
            self.rib.sets.unref(set_h)
            if some == 0:
                return 0
            set_h = self.rib.sets.intern(left)
        return self._fresh(self.rewriter.derive(self.program, p.attrs_h, p.peer, transform), set_h,
                           path_id)

    cdef uint32_t _edited(self, uint32_t form_h) except? 0:
        """A form with the changes of the path at hand, 0 if no message could hold it. Borrowed."""
        cdef uint32_t chain = self.chain
        if self.program.kind <= PROG_EBGP:
            chain |= CHAIN_EXTERNAL
        return self.rewriter.adjust(self.policy.edits, form_h, chain)

    cdef bint _passes(self, uint32_t h, const path_t *p) except -1:
        """Whether the export policy lets a path through; `chain` is what it changes then.

        What it asks of the attribute set alone is remembered with the set.
        """
        cdef route_t r
        cdef uint32_t reason
        r.addr = self.table.trie.addr(h)
        r.plen = self.table.trie.plen(h)
        r.family = self.table.family
        r.state = p.flags >> PATH_STATE_SHIFT
        r.source = &self.rib.peers[p.peer]
        try:
            reason = self.policy.run(self.rib.attrs, p.attrs_h, 0, &r, &self.chain)
        finally:
            self.policy.let_go(self.rib.attrs)
        return reason == 0

    cdef uint32_t _those_who_know(self, uint32_t base, const path_t *p) except? 0xFFFFFFFF:
        """Leave of a path's receivers, where it is long-lived stale, those who have said that they
        know what that is (RFC 9494 4.3), and who get it all the same (4.6); the set is ours, until
        the next call."""
        cdef uint64_t bits[1024]
        cdef uint32_t i
        if not is_last_choice(self.rib.attrs.at(p.attrs_h), &self.rib.peers[p.peer]):
            return base
        for i in range(self.rib.sets.words):
            bits[i] = self.rib.sets.bits(base)[i] & self.rib.sets.bits(self.rib.knowing_h)[i]
        i = self.rib.sets.intern(bits)
        self.rib.sets.unref(self.knowing_h)
        self.knowing_h = i
        return i

    cdef int evaluate(self, uint32_t h) except -1:
        """Fill `fresh` with what is due for a prefix now; rank it first if need be."""
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t p_h, path_h, base, set_h, i
        cdef path_t *p
        cdef uint64_t *bits
        cdef uint64_t any_left
        cdef uint64_t give[1024]
        cdef bint first = True
        self.n_fresh = 0
        self.at_h = h
        self.some_unfit = False
        if h >> 6 < self.narrowed_words:
            self.narrowed[h >> 6] &= ~(<uint64_t>1 << (h & 63))
        if self.table.dests[h].flags & DEST_UNRANKED:
            self.table.rank(h)
        if self.addpath:
            return self._evaluate_all(h)
        p_h = self.first(h)
        while p_h:
            path_h = p_h
            p = self.table.path(path_h)
            if p.flags & (PATH_REJECTED | PATH_NOT_USABLE):
                break
            p_h = self.following(p)
            if not self.rib.attrs.at(p.attrs_h).flags & AS_COMPILED:
                self.rib.control.compile(p.attrs_h)
            if self._barred(p.peer, p.attrs_h) or (
                    self.policy is not None and not self._passes(h, p)):
                if self.next_best:
                    continue
                break
            base = self._those_who_know(self._base(p.attrs_h), p)
            if first:
                set_h = self.rib.sets.minus(base, p.peer)
                if set_h != SET_NONE:
                    first = False
                    if p_h == 0 or not self.next_best:
                        self._give(p, set_h, path_h)
                        break
                    bits = self.rib.sets.bits(set_h)
                    for i in range(words):
                        self.remaining[i] = ~bits[i]
                    self._give(p, set_h, path_h)
                    if self.some_unfit:
                        self.some_unfit = False
                        for i in range(words):
                            self.remaining[i] |= self.unfit[i]
                elif not self.next_best:
                    break
                continue
            bits = self.rib.sets.bits(base)
            any_left = 0
            for i in range(words):
                give[i] = self.remaining[i] & bits[i]
            give[p.peer >> 6] &= ~(<uint64_t>1 << (p.peer & 63))
            for i in range(words):
                any_left |= give[i]
            if any_left == 0:
                continue
            set_h = self.rib.sets.intern(give)
            self._give(p, set_h, path_h)
            if self.some_unfit:
                self.some_unfit = False
                and_not(give, self.unfit, words)
            any_left = 0
            for i in range(words):
                self.remaining[i] &= ~give[i]
                any_left |= self.remaining[i]
            if any_left == 0 or self.n_fresh >= LIST_MAX:
                break
        return 0

    cdef int _evaluate_all(self, uint32_t h) except -1:
        """evaluate() with ADD-PATH: each path to all it may reach and who are due it."""
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t p_h = self.first(h)
        cdef uint32_t path_h, base, set_h, i, first_as
        cdef bint any_path = self.choice == PATHS_ALL and self.max_paths == 0
        cdef path_t *p
        cdef uint64_t *full = self.have + <uint64_t>self.n_slices * words
        cdef uint64_t any_left
        cdef uint64_t give[1024]
        if not any_path:
            memset(self.have, 0, <uint64_t>(self.n_slices + 1) * words * 8)
        while p_h and self.n_fresh < LIST_MAX:
            path_h = p_h
            p = self.table.path(path_h)
            if p.flags & (PATH_REJECTED | PATH_NOT_USABLE):
                break
            p_h = self.following(p)
            if not self.rib.attrs.at(p.attrs_h).flags & AS_COMPILED:
                self.rib.control.compile(p.attrs_h)
            if self._barred(p.peer, p.attrs_h) or (
                    self.policy is not None and not self._passes(h, p)):
                continue
            base = self._those_who_know(self._base(p.attrs_h), p)
            if any_path:
                set_h = self.rib.sets.minus(base, p.peer)
                if set_h == SET_NONE:
                    continue
            else:
                memcpy(give, self.rib.sets.bits(base), words * 8)
                give[p.peer >> 6] &= ~(<uint64_t>1 << (p.peer & 63))
                and_not(give, full, words)
                # Not to those who have one that leaves no room for it.
                first_as = self.rib.attrs.at(p.attrs_h).first_as
                for i in range(self.n_fresh if self.choice else 0):
                    if (self._first_as(self.fresh_ids[i]) == first_as
                            if self.choice == PATHS_PER_AS
                            else not self._equal(self.fresh_ids[i], path_h)):
                        and_not(give, self.rib.sets.bits(self.fresh[i].set_h), words)
                any_left = 0
                for i in range(words):
                    any_left |= give[i]
                if any_left == 0:
                    continue
                set_h = self.rib.sets.intern(give)
            self._give(p, set_h, path_h)
            if self.some_unfit:
                self.some_unfit = False
                and_not(give, self.unfit, words)
            if self.max_paths:
                self._count_paths(give)
        return 0

    cdef uint32_t _first_as(self, uint32_t path_h) noexcept nogil:
        """The neighboring AS of a path, 0 for one of our own (RFC 4271 9.1.2.2 c)."""
        return self.rib.attrs.at(self.table.path(path_h).attrs_h).first_as

    cdef bint _equal(self, uint32_t path_h, uint32_t other_h) noexcept nogil:
        """Whether only age, identifiers and addresses tell two paths apart (9.1.2.2 up to e)."""
        cdef candidate_t both[2]
        cdef const path_t *p
        cdef uint32_t i, p_h
        cdef int step
        for i in range(2):
            p_h = other_h if i else path_h
            p = self.table.path(p_h)
            gather(&both[i], p, p_h, self.rib.attrs.at(p.attrs_h), &self.rib.peers[p.peer],
                   self.metric(p.attrs_h))
        step = compare(&both[0], &both[1], &self.rib.options)
        step = step if step > 0 else -step
        return DECIDED_OLDEST <= step < DECIDED_LLGR_STALE

    cdef void _count_paths(self, const uint64_t *give) noexcept nogil:
        """Count one more path for these members; who has max_paths now is full."""
        cdef uint32_t words = self.rib.sets.words
        cdef uint32_t i, k
        cdef uint64_t carry, both, equal
        cdef uint64_t *digit
        for i in range(words):
            carry = give[i]
            if carry == 0:
                continue
            equal = carry
            for k in range(self.n_slices):
                digit = self.have + <uint64_t>k * words + i
                both = digit[0] & carry
                digit[0] ^= carry
                carry = both
                equal &= digit[0] if (self.max_paths >> k) & 1 else ~digit[0]
            self.have[<uint64_t>self.n_slices * words + i] |= equal

    cdef int _count(self, uint32_t set_h, int by) except -1:
        cdef uint32_t *p
        cdef uint32_t cap
        if set_h >= self.set_cap:
            cap = set_h + (set_h >> 1) + 64
            p = <uint32_t *>realloc(self.set_count, <uint64_t>cap * 4)
            if p == NULL:
                raise MemoryError
            memset(p + self.set_cap, 0, <uint64_t>(cap - self.set_cap) * 4)
            self.set_count = p
            self.set_cap = cap
        self.set_count[set_h] += <uint32_t>by
        return 0

    cdef int store(self, uint32_t h) except -1:
        """Replace what was sent for a prefix by `fresh`, which gives up its references."""
        cdef uint32_t n, i, list_h, cap
        cdef entry_t *old
        cdef entry_t *p
        cdef entry_t *slot
        if h >= self.cap:
            cap = self.table.dests_cap if self.table.dests_cap > h else h + 64
            p = <entry_t *>realloc(self.entries, <uint64_t>cap * sizeof(entry_t))
            if p == NULL:
                raise MemoryError
            memset(p + self.cap, 0, <uint64_t>(cap - self.cap) * sizeof(entry_t))
            self.entries = p
            self.cap = cap
        for i in range(self.n_fresh):
            self.rib.attrs.ref(self.fresh[i].attrs_h)
            self._count(self.fresh[i].set_h, 1)
        old = self.get(h, &n)
        for i in range(n):
            self._count(old[i].set_h, -1)
            self.rib.attrs.unref(old[i].attrs_h)
            self.rib.sets.unref(old[i].set_h)
        slot = &self.entries[h]
        cdef uint32_t size = sizeof(entry_t) + (4 if self.addpath else 0)
        if n > 1 or (n and self.addpath):
            blob_release(&self.lists, slot.attrs_h & ~<uint32_t>LIST_TAG, n * size)
        if n:
            self.prefixes -= 1
        if self.n_fresh == 0:
            slot.attrs_h = 0
            slot.set_h = 0
            return 0
        self.prefixes += 1
        if self.n_fresh == 1 and not self.addpath:
            slot[0] = self.fresh[0]
        else:
            list_h = blob_alloc(&self.lists, self.n_fresh * size)
            memcpy(blob_at(&self.lists, list_h), self.fresh, self.n_fresh * sizeof(entry_t))
            if self.addpath:
                memcpy(blob_at(&self.lists, list_h) + self.n_fresh * sizeof(entry_t),
                       self.fresh_ids, self.n_fresh * 4)
            slot.attrs_h = LIST_TAG | list_h
            slot.set_h = self.n_fresh
        self.n_fresh = 0
        return 0

    cdef int drop_fresh(self) except -1:
        """Give back the references of `fresh` when nothing has changed."""
        cdef uint32_t i
        for i in range(self.n_fresh):
            self.rib.sets.unref(self.fresh[i].set_h)
        self.n_fresh = 0
        return 0

    # --- for Python -------------------------------------------------------------------------------

    def sent(self, uint32_t h):
        """Return [(attribute handle, member set handle)] of a prefix, as sent last."""
        cdef uint32_t n, i
        cdef entry_t *e = self.get(h, &n)
        return [(e[i].attrs_h, e[i].set_h) for i in range(n)]

    def sent_to(self, uint32_t h, uint32_t slot):
        """Return the attribute handle that a member has for a prefix, 0 for none."""
        cdef uint32_t n, i
        cdef entry_t *e = self.get(h, &n)
        for i in range(n):
            if self.rib.sets.has(e[i].set_h, slot):
                return e[i].attrs_h
        return 0

    def sent_paths(self, uint32_t h, uint32_t slot):
        """Return [(path identifier, attribute handle)] that a member has for a prefix."""
        cdef uint32_t n, i
        cdef entry_t *e = self.get(h, &n)
        return [(self.ids(e, n)[i] if self.addpath else 0, e[i].attrs_h)
                for i in range(n) if self.rib.sets.has(e[i].set_h, slot)]

    def advertised(self, uint32_t slot):
        """Return the number of prefixes that a member has: a walk over sets, not over prefixes.

        With ADD-PATH it is the number of paths.
        """
        cdef uint32_t s
        cdef uint64_t n = 0
        cdef uint32_t top = self.rib.sets.top if self.rib.sets.top < self.set_cap else self.set_cap
        for s in range(top):
            if self.set_count[s] and self.rib.sets.has(s, slot):
                n += self.set_count[s]
        return n

    def release_step(self, uint32_t pos, uint32_t n):
        """Forget what `n` prefixes from handle `pos` were sent with, once all members have left;
        return where to go on, 0 at the end. Start with 1."""
        cdef uint32_t end = self.cap if pos >= self.cap or n >= self.cap - pos else pos + n
        self.release(pos, end)
        return end if end < self.cap else 0

    def stats(self):
        """Return prefixes with anybody, and octets."""
        return {"prefixes": self.prefixes,
                "bytes": <uint64_t>self.table.trie.top * sizeof(entry_t) + self.lists.top * 8}
