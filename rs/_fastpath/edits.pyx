"""Changes that policies make to attribute sets: defined once, chained by number, made by content.

In: an attribute set and a chain, the number of a sequence of edits. Out: a new reference to the set
as changed, interned like any other; nothing is made twice while the first one is there. An edit is
what one term changes. Chains are numbered as they are met, since a route that three terms have
changed is one of very few sequences however many routes there are.

RFC 4271 5.1 (attributes), 1997, 4360, 8092 (communities).
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.memo cimport MEMO_SET, Memo
from rs._fastpath.pattern cimport community_size, is_one, pattern_fits, pattern_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_HAS_NEXT_HOP,
    ATTR_AS_PATH,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_NEXT_HOP,
    ATTR_ORIGIN,
    SEG_SEQUENCE,
    attrset_t,
)
from rs._fastpath.wire cimport load32, put_head, store32

import ipaddress

check_abi(__name__)

cdef enum:
    MAX_BLOCK = 65535       # octets of a canonical block
    BUF_LEN = 262144        # a block and all that one edit can add to it
    MAX_CHAINS = 1048576
    MAX_DEPTH = 1024        # edits in a chain
    NO_TYPE = 256           # beyond every attribute type
    LLGR_STALE = 0xFFFF0006

cdef uint32_t KINDS[3]
KINDS[:] = [ATTR_COMMUNITIES, ATTR_EXT_COMMUNITIES, ATTR_LARGE_COMMUNITY]


cdef void *grown(void *base, uint64_t n) except NULL:
    cdef void *p = realloc(base, n)
    if p == NULL:
        raise MemoryError
    return p


cdef inline uint32_t chain_home(uint32_t before, uint32_t edit, uint32_t cap) noexcept nogil:
    cdef uint64_t h = (<uint64_t>before << 32 | edit) * <uint64_t>0x9E3779B97F4A7C15
    return <uint32_t>(h >> 40) & (cap - 1)


cdef inline uint8_t *put32(uint8_t *o, uint32_t flags, uint32_t type_, uint32_t v) noexcept nogil:
    o = put_head(o, flags, type_, 4)
    store32(o, v)
    return o + 4


@cython.final
cdef class Edits:
    def __cinit__(self, Memo memo, uint32_t local_asn):
        self.memo = memo
        self.local_asn = local_asn
        self._numbers = {}
        self.n_edits = 1
        self.n_chains = 1
        self.edits_cap = 16
        self.chains_cap = 64
        self.index_cap = 128
        self.edits = <edit_t *>calloc(self.edits_cap, sizeof(edit_t))
        self.chains = <chain_t *>calloc(self.chains_cap, sizeof(chain_t))
        self.index = <uint32_t *>calloc(self.index_cap, 4)
        self.buf = <uint8_t *>malloc(2 * BUF_LEN)
        self.value = <uint8_t *>malloc(BUF_LEN)
        if (self.edits == NULL or self.chains == NULL or self.index == NULL or self.buf == NULL
                or self.value == NULL):
            raise MemoryError

    def __dealloc__(self):
        free(self.edits)
        free(self.patterns)
        free(self.octets)
        free(self.chains)
        free(self.index)
        free(self.buf)
        free(self.value)

    # --- what edits there are ---------------------------------------------------------------------

    def define(self, *, origin=None, med=None, bint no_med=False, local_pref=None, tuple hops=(),
               bint replace=False, tuple remove=(), tuple add=((), (), ()), prepend=None):
        """Return the number of an edit; the same for the same content.

        `remove` holds patterns as add_pattern() takes them; `add` octets by kind: standard,
        extended, large.
        """
        content = (origin, med, no_med, local_pref, hops, replace, remove, add, prepend)
        number = self._numbers.get(content)
        if number is not None:
            return number
        cdef edit_t e
        cdef uint32_t i
        memset(&e, 0, sizeof(edit_t))
        if origin is not None:
            e.flags |= EDIT_ORIGIN
            e.writes |= PART_ORIGIN
            e.origin = origin
        if med is not None or no_med:
            e.flags |= EDIT_NO_MED if med is None else EDIT_MED
            e.writes |= PART_MED
            e.med = med or 0
        if local_pref is not None:
            e.flags |= EDIT_LOCAL_PREF
            e.writes |= PART_LOCAL_PREF
            e.local_pref = local_pref
        for hop in hops:
            packed = ipaddress.ip_address(hop).packed
            e.writes |= PART_NEXT_HOP
            if len(packed) == 4:
                e.flags |= EDIT_HOP4
                memcpy(e.hop4, <const char *>packed, 4)
            else:
                e.flags |= EDIT_HOP6
                memcpy(e.hop6, <const char *>packed, 16)
        if replace:
            e.flags |= EDIT_REPLACE
        if replace or remove or any(add):
            e.writes |= PART_COMMUNITIES
        e.remove_at = self.n_patterns
        e.n_remove = len(remove)
        self.patterns = <pattern_t *>grown(
            self.patterns, (<uint64_t>self.n_patterns + e.n_remove + 1) * sizeof(pattern_t))
        for pattern in remove:
            load_pattern(&self.patterns[self.n_patterns], pattern)
            self.n_patterns += 1
        for i, values in enumerate(add):
            joined = b"".join(values)
            e.add_at[i] = self.octets_len
            e.add_len[i] = len(joined)
            self.octets = <uint8_t *>grown(self.octets,
                                           <uint64_t>self.octets_len + e.add_len[i] + 1)
            memcpy(self.octets + self.octets_len, <const char *>joined, e.add_len[i])
            self.octets_len += e.add_len[i]
        if prepend is not None:
            e.writes |= PART_PATH
            e.prepend_asn, e.prepend_times = prepend
        if self.n_edits == self.edits_cap:
            self.edits = <edit_t *>grown(self.edits,
                                         <uint64_t>self.edits_cap * 2 * sizeof(edit_t))
            self.edits_cap *= 2
        self.edits[self.n_edits] = e
        self._numbers[content] = self.n_edits
        self.n_edits += 1
        return self.n_edits - 1

    cdef uint32_t then(self, uint32_t chain, uint32_t edit) except 0:
        """Return the number of a chain with one more edit."""
        cdef uint32_t i = chain_home(chain, edit, self.index_cap)
        cdef uint32_t j, k
        cdef uint32_t *index
        while self.index[i]:
            k = self.index[i]
            if self.chains[k].before == chain and self.chains[k].edit == edit:
                return k
            i = (i + 1) & (self.index_cap - 1)
        if self.n_chains == MAX_CHAINS or self.chains[chain].depth == MAX_DEPTH:
            raise OverflowError("policies change routes in too many ways")
        if self.n_chains == self.chains_cap:
            self.chains = <chain_t *>grown(self.chains,
                                           <uint64_t>self.chains_cap * 2 * sizeof(chain_t))
            self.chains_cap *= 2
        if self.n_chains * 2 > self.index_cap:
            index = <uint32_t *>calloc(<uint64_t>self.index_cap * 2, 4)
            if index == NULL:
                raise MemoryError
            free(self.index)
            self.index = index
            self.index_cap *= 2
            for k in range(1, self.n_chains):
                j = chain_home(self.chains[k].before, self.chains[k].edit, self.index_cap)
                while index[j]:
                    j = (j + 1) & (self.index_cap - 1)
                index[j] = k
            i = chain_home(chain, edit, self.index_cap)
            while index[i]:
                i = (i + 1) & (self.index_cap - 1)
        k = self.n_chains
        self.chains[k].before = chain
        self.chains[k].edit = edit
        self.chains[k].depth = self.chains[chain].depth + 1
        self.index[i] = k
        self.n_chains += 1
        return k

    # --- making them ------------------------------------------------------------------------------

    cdef uint32_t changed(self, AttrTable attrs, uint32_t attrs_h, uint32_t chain,
                          uint32_t raw_h) except? 0:
        """Return a new reference to `attrs_h` after a chain of edits, 0 if that is too long.

        `raw_h` is the set as received that the result belongs to, 0 on export, when CHAIN_EXTERNAL
        may stand beside the chain. Where nothing changes the result is `attrs_h` itself.
        """
        cdef bint external = (chain & CHAIN_EXTERNAL) != 0
        chain &= ~<uint32_t>CHAIN_EXTERNAL
        cdef attrset_t *s = attrs.at(attrs_h)
        cdef uint32_t order[MAX_DEPTH]
        cdef uint32_t depth
        cdef uint32_t n = s.wire_len, i, out_h, hop_len, k
        cdef uint64_t known
        cdef uint8_t hop[32]
        cdef const uint8_t *p = attrs.wire(attrs_h)
        cdef uint8_t *out = self.buf
        cdef bint classic = (s.flags & AS_HAS_NEXT_HOP) != 0
        cdef bint kept = raw_h == attrs_h
        if kept and self.memo.get(attrs_h, MEMO_SET | chain, &known):
            attrs.ref(<uint32_t>known)
            return <uint32_t>known
        hop_len = attrs.hop(attrs_h).len
        memcpy(hop, attrs.hop(attrs_h).addr, 32)
        k = chain
        depth = self.chains[chain].depth
        for i in range(depth, 0, -1):
            order[i - 1] = self.chains[k].edit
            k = self.chains[k].before
        for i in range(depth):
            out = self.buf + BUF_LEN * (i & 1)
            n = self._edit(&self.edits[order[i]], p, n, out, hop, &hop_len,
                           external)
            if n > MAX_BLOCK:
                return 0
            p = out
        if (n == s.wire_len and hop_len == s.nh_len and memcmp(p, attrs.wire(attrs_h), n) == 0
                and memcmp(hop, attrs.hop(attrs_h).addr, hop_len) == 0):
            attrs.ref(attrs_h)
            out_h = attrs_h
        else:
            out_h = attrs.intern_changed(raw_h, p, n, hop, hop_len, classic)
        if kept:
            self.memo.put(attrs_h, MEMO_SET | chain, out_h)
        return out_h

    cdef uint32_t _edit(self, const edit_t *e, const uint8_t *p, uint32_t n, uint8_t *out,
                        uint8_t *hop, uint32_t *hop_len, bint external) noexcept nogil:
        """Write a block as one edit leaves it; return its length, which may be too much."""
        cdef const uint8_t *end = p + n
        cdef const uint8_t *head
        cdef uint8_t *o = out
        cdef uint32_t type_, i
        cdef bint want_med = e.flags & EDIT_MED
        cdef bint want_pref = e.flags & EDIT_LOCAL_PREF and not external
        cdef uint32_t kind = 0      # the first kind of communities that has not been written yet
        cdef attr_t a
        if hop_len[0] == 4 and e.flags & EDIT_HOP4:
            memcpy(hop, e.hop4, 4)
        elif hop_len[0] > 4 and e.flags & EDIT_HOP6:
            memcpy(hop, e.hop6, 16)
            hop_len[0] = 16
        while True:
            head = p
            if p < end:
                p += attr_next(p, &a)
                type_ = a.type
            else:
                type_ = NO_TYPE
            if want_med and type_ >= ATTR_MED:
                o = put32(o, AFLAG_OPTIONAL, ATTR_MED, e.med)
                want_med = False
            if want_pref and type_ >= ATTR_LOCAL_PREF:
                o = put32(o, AFLAG_TRANSITIVE, ATTR_LOCAL_PREF, e.local_pref)
                want_pref = False
            while kind < 3 and type_ > KINDS[kind]:
                o = self._communities(e, kind, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, NULL, 0, o)
                kind += 1
            if type_ == NO_TYPE:
                return <uint32_t>(o - out)
            if type_ == ATTR_ORIGIN and e.flags & EDIT_ORIGIN:
                o = put_head(o, a.flags, type_, 1)
                o[0] = e.origin
                o += 1
            elif type_ == ATTR_AS_PATH and e.prepend_times:
                o = prepend(o, &a, e.prepend_asn, e.prepend_times, self.local_asn)
            elif type_ == ATTR_NEXT_HOP and e.flags & EDIT_HOP4:
                o = put_head(o, a.flags, type_, 4)
                memcpy(o, hop, 4)
                o += 4
            elif type_ == ATTR_MED and e.flags & (EDIT_MED | EDIT_NO_MED):
                pass
            elif type_ == ATTR_LOCAL_PREF and e.flags & EDIT_LOCAL_PREF and not external:
                pass
            elif kind < 3 and type_ == KINDS[kind]:
                o = self._communities(e, kind, a.flags, a.value, a.len, o)
                kind += 1
            else:
                i = <uint32_t>(p - head)
                memcpy(o, head, i)
                o += i

    cdef uint8_t *_communities(self, const edit_t *e, uint32_t kind, uint32_t flags,
                               const uint8_t *v, uint32_t n, uint8_t *o) noexcept nogil:
        """Write one community attribute: what stays of `v`, then what is added and not there."""
        cdef uint32_t size = community_size(KINDS[kind])
        cdef uint32_t _i, j, length = 0
        cdef const uint8_t *more = self.octets + e.add_at[kind]
        cdef bint drop, stale
        for _i in range(n // size):
            # RFC 9494 4.3: it stays, or others would take a stale route for a good one. Only who
            # names it takes it out.
            stale = KINDS[kind] == ATTR_COMMUNITIES and load32(v) == LLGR_STALE
            drop = e.flags & EDIT_REPLACE and not stale
            for j in range(e.remove_at, e.remove_at + e.n_remove):
                if self.patterns[j].type == KINDS[kind] and pattern_fits(&self.patterns[j], v):
                    drop = drop or not stale or is_one(&self.patterns[j])
            if not drop:
                memcpy(self.value + length, v, size)
                length += size
            v += size
        for _i in range(e.add_len[kind] // size):
            for j in range(length // size):
                if memcmp(self.value + j * size, more, size) == 0:
                    break
            else:
                memcpy(self.value + length, more, size)
                length += size
            more += size
        if length == 0:
            return o
        o = put_head(o, flags, KINDS[kind], length)
        memcpy(o, self.value, length)
        return o + length

    # --- for Python -------------------------------------------------------------------------------

    def apply(self, AttrTable attrs, uint32_t attrs_h, edits, uint32_t raw=0):
        """Return a new reference to a set after these edits, 0 if that is too long."""
        cdef uint32_t chain = 0
        attrs.known(attrs_h)
        for number in edits:
            if not 0 < number < self.n_edits:
                raise KeyError(f"no edit has number {number}")
            chain = self.then(chain, number)
        if chain == 0:
            attrs.ref(attrs_h)
            return attrs_h
        return self.changed(attrs, attrs_h, chain, raw)

    def stats(self):
        """Return how many edits, and sequences of them, there are."""
        return {"edits": self.n_edits - 1, "chains": self.n_chains - 1}


cdef int load_pattern(pattern_t *p, tuple pattern) except -1:
    """Read (attribute type, form, subtype, ((low, high), ...))."""
    cdef uint32_t i
    memset(p, 0, sizeof(pattern_t))
    p.type, p.form, p.subtype = pattern[:3]
    for i in range(3):
        p.high[i] = 0xFFFFFFFF
    for i, (low, high) in enumerate(pattern[3]):
        p.low[i] = low
        p.high[i] = high
    return 0


cdef uint8_t *prepend(uint8_t *o, const attr_t *a, uint32_t asn, uint32_t times,
                      uint32_t local_asn) noexcept nogil:
    """AS_PATH with `asn` in front, several times; 0 stands for the leftmost one of the path."""
    cdef const uint8_t *v = a.value
    cdef uint32_t n = a.len, _i
    cdef bint sequence = n > 0 and v[0] == SEG_SEQUENCE
    cdef bint join = sequence and v[1] + times <= 255
    if asn == 0:
        asn = load32(v + 2) if sequence else local_asn
    o = put_head(o, a.flags, ATTR_AS_PATH, n + 4 * times + (0 if join else 2))
    o[0] = SEG_SEQUENCE
    o[1] = <uint8_t>(v[1] + times if join else times)
    o += 2
    for _i in range(times):
        store32(o, asn)
        o += 4
    if join:
        v += 2
        n -= 2
    memcpy(o, v, n)
    return o + n
