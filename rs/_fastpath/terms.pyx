"""Policies as they run: terms in a row, over an attribute set and a route.

In: a route (attribute set, prefix, source, what the import filter found out). Out: accepted or not,
and the number of the chain of edits that its terms ask for (edits.pyx). What looks at the attribute
set alone is found out once per set, for 64 terms in one word that the memo keeps; per route only
the terms remain whose bit is set, and of those what looks at the prefix or the source.

A term sees what terms before it have changed. So a chain is made as soon as a later term looks at
a part that it writes, and only then; what follows is asked of the set that came out.

No Python object per route, and no call of Python.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from rs._fastpath.asnset cimport AsnSet
from rs._fastpath.aspath cimport AsPath
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.edits cimport (
    PART_COMMUNITIES,
    PART_LOCAL_PREF,
    PART_MED,
    PART_NEXT_HOP,
    PART_ORIGIN,
    PART_PATH,
    Edits,
    load_pattern,
)
from rs._fastpath.filter cimport (
    STATE_IRR_CHECKED,
    STATE_IRR_ORIGIN,
    STATE_IRR_PREFIX,
    STATE_RPKI,
)
from rs._fastpath.paths cimport PEER_EBGP, PEER_IBGP, ROLE_CUSTOMER, ROLE_NONE, peer_t
from rs._fastpath.pattern cimport community_size, pattern_fits, pattern_t
from rs._fastpath.pfxset cimport PrefixSet
from rs._fastpath.aspa cimport ASPA_DOWNSTREAM, ASPA_UPSTREAM, AspaTable
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport AS_HAS_MED, ATTR_AS_PATH, FAM_IPV4, FAM_IPV6, attrset_t
from rs._fastpath.wire cimport load32, prefix_load

import ipaddress

check_abi(__name__)

cdef extern from *:
    int ctz "__builtin_ctzll"(unsigned long long) noexcept nogil

cdef enum:
    CHUNK = 64              # terms whose conditions on the set are one word of the memo
    MAX_TERMS = 16384       # 256 chunks: the tag of the memo has 8 bits for them

cdef uint32_t READS[12]
READS[:] = [
    0, PART_ORIGIN, PART_MED, PART_LOCAL_PREF, PART_PATH, PART_PATH, PART_PATH, PART_PATH,
    PART_COMMUNITIES, PART_COMMUNITIES, PART_NEXT_HOP, 0,
]


cdef uint32_t reads_of(uint32_t op) noexcept nogil:
    """PART_* that a condition looks at."""
    if op < 12:
        return READS[op]
    return PART_PATH if op == OP_ASPA else 0


@cython.final
cdef class Terms:
    def __cinit__(self, uint32_t number, Edits edits, AspaTable aspas, list terms):
        """`terms` holds (conditions on the set, on the route, of `unless`, edit, action, jump), a
        condition is (op, low, high, objects or patterns)."""
        cdef uint32_t i, k, later = 0, n_conds = 0, n_refs = 0, n_patterns = 0
        cdef term_t *t
        cdef cond_t *c
        self.number = number
        self.edits = edits
        self.memo = edits.memo
        self.aspas = aspas
        self.objects = []
        self.n_terms = len(terms)
        if self.n_terms > MAX_TERMS or number >> 22:
            raise ValueError(f"at most {MAX_TERMS} terms in a row, not {self.n_terms}")
        for on_set, on_route, unless, _, _, _ in terms:
            for cond in (*on_set, *on_route, *unless):
                n_conds += 1
                if cond[0] == OP_COMMUNITY or cond[0] == OP_ALL_COMMUNITIES:
                    n_patterns += len(cond[3])
                else:
                    n_refs += len(cond[3])
        self.conds = <cond_t *>calloc(n_conds + 1, sizeof(cond_t))
        self.refs = <void **>calloc(n_refs + 1, sizeof(void *))
        self.patterns = <pattern_t *>calloc(n_patterns + 1, sizeof(pattern_t))
        self.terms = <term_t *>calloc(self.n_terms + 1, sizeof(term_t))
        self.fired = <uint32_t *>calloc(self.n_terms + 1, 4)
        if (self.conds == NULL or self.refs == NULL or self.patterns == NULL or self.terms == NULL
                or self.fired == NULL):
            raise MemoryError
        n_conds = n_patterns = 0
        for i, (on_set, on_route, unless, edit, action, jump) in enumerate(terms):
            t = &self.terms[i]
            t.set_at = n_conds
            t.route_at = n_conds + len(on_set)
            t.unless_at = t.route_at + len(on_route)
            t.end = t.unless_at + len(unless)
            t.edit = edit
            t.action = action
            t.jump = jump
            if not i < t.jump <= self.n_terms:
                raise ValueError(f"term {i} goes on at {jump}")
            if not 0 <= edit < edits.n_edits:
                raise ValueError(f"no edit has number {edit}")
            for cond in (*on_set, *on_route, *unless):
                c = &self.conds[n_conds]
                c.op, c.low, c.high = cond[:3]
                if n_conds < t.route_at:
                    if c.op >= OP_FAMILY:
                        raise ValueError(f"condition {c.op} is about the route")
                    self.per_set = True
                elif c.op >= OP_FAMILY:
                    self.per_route = True
                    self.uses_state = self.uses_state or OP_RPKI <= c.op <= OP_IRR
                    t.unless_route |= n_conds >= t.unless_at
                else:
                    self.per_set = True
                n_conds += 1
                c.n = len(cond[3])
                if c.op == OP_COMMUNITY or c.op == OP_ALL_COMMUNITIES:
                    c.at = n_patterns
                    for pattern in cond[3]:
                        load_pattern(&self.patterns[n_patterns], pattern)
                        n_patterns += 1
                else:
                    c.at = len(self.objects)
                    for one in cond[3]:
                        check_kind(c.op, len(self.objects) - c.at, one)
                        self.refs[len(self.objects)] = <void *>one
                        self.objects.append(one)
        for i in range(self.n_terms, 0, -1):
            t = &self.terms[i - 1]
            t.read_later = later
            for k in range(t.set_at, t.end):
                later |= reads_of(self.conds[k].op)

    def __dealloc__(self):
        free(self.conds)
        free(self.refs)
        free(self.patterns)
        free(self.terms)
        free(self.fired)
        free(self.counts)

    # --- running ----------------------------------------------------------------------------------

    cdef uint32_t run(self, AttrTable attrs, uint32_t attrs_h, uint32_t raw_h, const route_t *r,
                      uint32_t *chain) except 255:
        """Return 0 or a RejectReason, and the chain of edits that an accepted route is due.

        The set that later terms had to look at, if there was one, is kept in temp_h: let go().
        """
        cdef uint32_t i = 0, cur = attrs_h, chunk = 0xFFFFFFFF
        cdef uint64_t mask = 0, bits
        cdef term_t *t
        cdef uint32_t made
        chain[0] = 0
        self.n_fired = 0
        while i < self.n_terms:
            if i // CHUNK != chunk:
                chunk = i // CHUNK
                mask = self._mask(attrs, cur, chunk * CHUNK)
            bits = mask & (~<uint64_t>0 << (i & (CHUNK - 1)))
            if bits == 0:
                i = (chunk + 1) * CHUNK
                continue
            i = chunk * CHUNK + <uint32_t>ctz(bits)
            t = &self.terms[i]
            if t.route_at != t.end:
                if t.route_at != t.unless_at and not self._holds(
                        attrs, cur, r, t.route_at, t.unless_at):
                    i += 1
                    continue
                if t.unless_route and self._holds(attrs, cur, r, t.unless_at, t.end):
                    i += 1
                    continue
            self.fired[self.n_fired] = i
            self.n_fired += 1
            if self.counts != NULL:
                self.counts[i] += 1
            if t.edit:
                chain[0] = self.edits.then(chain[0], t.edit)
                if t.action == ACTION_NEXT and self.edits.edits[t.edit].writes & t.read_later:
                    made = self.edits.changed(attrs, attrs_h, chain[0], raw_h)
                    self.let_go(attrs)
                    if made == 0:
                        return POLICY_TOO_LONG
                    self.temp_h = cur = made
                    chunk = 0xFFFFFFFF
            if t.action == ACTION_REJECT:
                return POLICY_REJECT
            if t.action == ACTION_ACCEPT:
                return 0
            i = t.jump
        if self.counts != NULL:
            self.counts[self.n_terms] += 1
        return 0

    cdef int let_go(self, AttrTable attrs) except -1:
        """Give up what the last run kept."""
        if self.temp_h:
            attrs.unref(self.temp_h)
            self.temp_h = 0
        return 0

    cdef uint32_t import_route(self, AttrTable attrs, uint32_t attrs_h, const route_t *r,
                               uint32_t *out_h) except 255:
        """Return 0 or a RejectReason, and a new reference to the set that the path gets."""
        cdef uint32_t chain, reason, made
        cdef uint32_t raw_h = attrs.raw(attrs_h)
        try:
            reason = self.run(attrs, attrs_h, raw_h, r, &chain)
            if reason == 0 and chain:
                made = self.edits.changed(attrs, attrs_h, chain, raw_h)
                if made:
                    out_h[0] = made
                    return 0
                reason = POLICY_TOO_LONG
        finally:
            self.let_go(attrs)
        attrs.ref(attrs_h)
        out_h[0] = attrs_h
        return reason

    cdef uint64_t _mask(self, AttrTable attrs, uint32_t attrs_h, uint32_t first) except? 0:
        """Which of 64 terms hold as far as they are about the attribute set, from `first` on."""
        cdef uint32_t n = self.n_terms - first
        cdef uint32_t i, tag
        cdef uint64_t mask = 0
        cdef term_t *t
        if n > CHUNK:
            n = CHUNK
        if not self.per_set:
            return ~<uint64_t>0 >> (CHUNK - n)
        tag = self.number << 8 | first // CHUNK
        if self.memo.get(attrs_h, tag, &mask):
            return mask
        mask = 0
        for i in range(n):
            t = &self.terms[first + i]
            if not self._holds(attrs, attrs_h, NULL, t.set_at, t.route_at):
                continue
            if t.unless_at != t.end and not t.unless_route and self._holds(
                    attrs, attrs_h, NULL, t.unless_at, t.end):
                continue
            mask |= <uint64_t>1 << i
        self.memo.put(attrs_h, tag, mask)
        return mask

    cdef bint _holds(self, AttrTable attrs, uint32_t attrs_h, const route_t *r, uint32_t at,
                     uint32_t end) except -1:
        """Whether all conditions of a range hold."""
        cdef uint32_t k
        for k in range(at, end):
            if self.conds[k].op < OP_FAMILY:
                if not self._set_holds(attrs, attrs_h, &self.conds[k]):
                    return False
            elif not self._route_holds(attrs, attrs_h, r, &self.conds[k]):
                return False
        return True

    cdef bint _route_holds(self, AttrTable attrs, uint32_t attrs_h, const route_t *r,
                           const cond_t *c) except -1:
        cdef uint32_t i, n
        cdef const uint8_t *path
        if c.op == OP_PREFIX:
            for i in range(c.at, c.at + c.n):
                if (<PrefixSet>self.refs[i]).match(r.family, r.addr, r.plen, False):
                    return True
            return False
        if c.op == OP_FAMILY:
            return (c.low >> r.family) & 1
        if c.op == OP_RPKI:
            return (c.low >> (r.state & STATE_RPKI)) & 1
        if c.op == OP_IRR:
            return (c.low >> irr_of(r.state)) & 1
        if c.op == OP_SOURCE:
            if (c.low >> r.source.kind) & 1 or (<AsnSet>self.refs[c.at]).has(r.source.asn):
                return True
            return (<PrefixSet>self.refs[c.at + 1]).match(
                FAM_IPV4 if r.source.addr_len == 4 else FAM_IPV6, r.source.addr,
                r.source.addr_len * <uint32_t>8, True)
        # OP_ASPA; without a role it is known of route server clients alone which way routes go.
        if self.aspas is None or r.source.kind >= PEER_IBGP or (
                r.source.kind == PEER_EBGP and r.source.role == ROLE_NONE):
            return c.low & 1        # "unknown"
        path = path_of(attrs, attrs_h, &n)
        i = ASPA_DOWNSTREAM if r.source.role == ROLE_CUSTOMER else ASPA_UPSTREAM
        return (c.low >> self.aspas.verify(path, n, i, 0)) & 1

    cdef bint _set_holds(self, AttrTable attrs, uint32_t attrs_h, const cond_t *c) except -1:
        cdef attrset_t *s = attrs.at(attrs_h)
        cdef const uint8_t *path
        cdef uint32_t i, n
        cdef uint8_t padded[16]
        if c.op == OP_COMMUNITY:
            for i in range(c.at, c.at + c.n):
                if has_community(attrs, attrs_h, &self.patterns[i]):
                    return True
            return False
        if c.op == OP_ALL_COMMUNITIES:
            for i in range(c.at, c.at + c.n):
                if not has_community(attrs, attrs_h, &self.patterns[i]):
                    return False
            return True
        if c.op == OP_LOCAL_PREF:
            return c.low <= s.local_pref <= c.high
        if c.op == OP_MED:
            return (s.flags & AS_HAS_MED) != 0 and c.low <= s.med <= c.high
        if c.op == OP_ORIGIN:
            return (c.low >> s.origin) & 1
        if c.op == OP_PATH_LENGTH:
            return c.low <= s.path_len <= c.high
        if c.op == OP_PATH_ORIGIN:
            if s.origin_as == 0:
                return False
            for i in range(c.at, c.at + c.n):
                if (<AsnSet>self.refs[i]).has(s.origin_as):
                    return True
            return False
        if c.op == OP_PATH_REGEX:
            path = path_of(attrs, attrs_h, &n)
            for i in range(c.at, c.at + c.n):
                if (<AsPath>self.refs[i]).search(path, n):
                    return True
            return False
        if c.op == OP_PATH_CONTAINS:
            path = path_of(attrs, attrs_h, &n)
            for i in range(c.at, c.at + c.n):
                if contains(path, n, <AsnSet>self.refs[i]):
                    return True
            return False
        if c.op == OP_NEXT_HOP:
            n = 16 if attrs.hop(attrs_h).len > 4 else 4
            memset(padded, 0, 16)
            memcpy(padded, attrs.hop(attrs_h).addr, n)
            return (<PrefixSet>self.refs[c.at]).match(
                FAM_IPV4 if n == 4 else FAM_IPV6, padded, n * 8, True)
        return False                # OP_NEVER

    # --- for Python -------------------------------------------------------------------------------

    def count(self):
        """Count from now on how often each term fits."""
        if self.counts == NULL:
            self.counts = <uint64_t *>malloc((self.n_terms + 1) * 8)
            if self.counts == NULL:
                raise MemoryError
        memset(self.counts, 0, (self.n_terms + 1) * 8)

    def counted(self):
        """Return how often each term has fitted, and last how many routes reached the end."""
        if self.counts == NULL:
            raise ValueError("nothing has been counted")
        return [self.counts[i] for i in range(self.n_terms + 1)]

    def judge(self, AttrTable attrs, uint32_t attrs_h, str prefix, *, uint32_t state=0,
              uint32_t asn=0, str address="192.0.2.0", uint32_t kind=0, bint receive=True):
        """Return (reason, new reference to the set that the route gets, terms that fitted).

        asn, address and kind (PEER_*) are of the neighbor that the route came from. With `receive`
        the result is linked to the set as received, as on import.
        """
        cdef route_t r
        cdef peer_t peer
        cdef uint8_t raw[16]
        cdef uint8_t addr[16]
        cdef uint32_t out_h = attrs_h, reason, chain
        attrs.known(attrs_h)
        network = ipaddress.ip_network(prefix)
        packed = network.network_address.packed.ljust(16, b"\0")
        memcpy(raw, <const char *>packed, 16)
        memset(addr, 0, 16)
        r.family = FAM_IPV4 if network.version == 4 else FAM_IPV6
        r.plen = network.prefixlen
        prefix_load(raw, r.plen, addr, 4 if network.version == 4 else 16)
        r.addr = addr
        r.state = state
        memset(&peer, 0, sizeof(peer_t))
        peer.asn = asn
        peer.kind = <uint8_t>kind
        packed = ipaddress.ip_address(address).packed
        peer.addr_len = len(packed)
        memcpy(peer.addr, <const char *>packed, len(packed))
        r.source = &peer
        if receive:
            reason = self.import_route(attrs, attrs_h, &r, &out_h)
        else:
            try:
                reason = self.run(attrs, attrs_h, 0, &r, &chain)
                if reason == 0:
                    if chain:
                        out_h = self.edits.changed(attrs, attrs_h, chain, 0)
                    else:
                        attrs.ref(out_h)
                    if out_h == 0:
                        reason = POLICY_TOO_LONG
                if reason:
                    out_h = attrs_h
                    attrs.ref(out_h)
            finally:
                self.let_go(attrs)
        return reason, out_h, [self.fired[i] for i in range(self.n_fired)]


cdef int check_kind(uint32_t op, uint32_t i, object one) except -1:
    """Raise TypeError for an object that a condition cannot look into."""
    cdef type wanted
    if op == OP_PREFIX or op == OP_NEXT_HOP or (op == OP_SOURCE and i == 1):
        wanted = PrefixSet
    else:
        wanted = AsPath if op == OP_PATH_REGEX else AsnSet
    if not isinstance(one, wanted):
        raise TypeError(f"condition {op} takes a {wanted.__name__}, not {one!r}")
    return 0


cdef uint32_t irr_of(uint32_t state) noexcept nogil:
    """IRR state of a route: 0 not checked, 1 valid, 2 invalid."""
    if not state & STATE_IRR_CHECKED:
        # In no IRR, and let in by a white list of routes all the same.
        return 2 if state & (STATE_IRR_ORIGIN | STATE_IRR_PREFIX) else 0
    return 1 if state & STATE_IRR_ORIGIN and state & STATE_IRR_PREFIX else 2


cdef const uint8_t *path_of(AttrTable attrs, uint32_t attrs_h, uint32_t *n) noexcept nogil:
    """The AS_PATH of a set and its length in octets."""
    cdef const uint8_t *p = attrs.wire(attrs_h)
    cdef const uint8_t *end = p + attrs.at(attrs_h).wire_len
    cdef attr_t a
    n[0] = 0
    while p < end:
        p += attr_next(p, &a)
        if a.type == ATTR_AS_PATH:
            n[0] = a.len
            return a.value
    return p


cdef bint contains(const uint8_t *p, uint32_t n, AsnSet asns) except -1:
    """Whether an AS number of a set stands in an AS_PATH of `n` octets."""
    cdef const uint8_t *end = p + n
    cdef uint32_t left
    while p < end:
        left = p[1]
        p += 2
        while left:
            if asns.has(load32(p)):
                return True
            p += 4
            left -= 1
    return False


cdef bint has_community(AttrTable attrs, uint32_t attrs_h, const pattern_t *wanted) noexcept nogil:
    """Whether a set holds a community that a pattern stands for."""
    cdef const uint8_t *p = attrs.wire(attrs_h)
    cdef const uint8_t *end = p + attrs.at(attrs_h).wire_len
    cdef const uint8_t *v
    cdef uint32_t size
    cdef attr_t a
    while p < end:
        p += attr_next(p, &a)
        if a.type == wanted.type:
            size = community_size(a.type)
            v = a.value
            while v < a.value + a.len:
                if pattern_fits(wanted, v):
                    return True
                v += size
            return False
    return False
