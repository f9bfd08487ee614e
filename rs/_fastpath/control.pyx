"""What an attribute set says about members: compiled once per set, used for every path with it.

In: an attribute set, the directory of the peers, the rules for communities. Out, kept in the set:
the member set that its communities and AS_PATH leave (set_h), how often our own AS is in its path,
and whether its ORIGINATOR_ID, a cluster of its CLUSTER_LIST or its next hop are our own. Where
members are to get other attributes than the rest, also *parts*, kept beside the set: disjoint
member sets, each with what is done to the attributes for it. RFC 7947 2.3.2 (control by
communities), RFC 4271 9.1.2 (AS loop), 5.1.3 (next hop), RFC 4456 8 (reflection loops), RFC 7999
(black holes), RFC 8326 (shutdown).

Whom a path may reach; the earlier rule wins:

    AS_PATH holds the member's AS                       no
    not to this member                                  no
    to this member                                      yes
    not to members by their round-trip time             no
    to members by their round-trip time                 yes
    to nobody                                           no
    otherwise                                           yes

How often the source's AS is prepended: as said for the member; else by round-trip time above a
threshold, the largest first; else below one, the smallest first; else as said for all. Where that
leaves several counts, the smallest.

A community that names an AS without a peer changes nothing, so the set stays the common one: two
fifths of the targets seen at exchanges are not there.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.arena cimport blob_alloc, blob_free_all, blob_init, blob_release
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.commrules cimport (
    ACT_ALLOW_HIGHER,
    ACT_ALLOW_LOWER,
    ACT_ALLOW_PEER,
    ACT_BLACKHOLE,
    ACT_DENY_ANY,
    ACT_DENY_HIGHER,
    ACT_DENY_LOWER,
    ACT_DENY_PEER,
    ACT_GSHUT,
    ACT_NO_ADVERTISE_ANY,
    ACT_NO_ADVERTISE_PEER,
    ACT_NO_EXPORT_ANY,
    ACT_NO_EXPORT_PEER,
    ACT_PREPEND_ANY,
    ACT_PREPEND_HIGHER,
    ACT_PREPEND_LOWER,
    ACT_PREPEND_PEER,
    KIND_EXTENDED,
    KIND_LARGE,
    KIND_STANDARD,
    CommunityRules,
    rule_t,
)
from rs._fastpath.directory cimport ABSENT, Directory
from rs._fastpath.sets cimport SET_ALL, SET_NONE, MemberSets
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AS_BAD_NEXT_HOP,
    AS_COMPILED,
    AS_CONTROL,
    AS_OWN_CLUSTER,
    AS_OWN_ORIGINATOR,
    ATTR_AS_PATH,
    ATTR_CLUSTER_LIST,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    T_BLACKHOLE,
    T_GSHUT,
    T_HOP_IPV4,
    T_HOP_IPV6,
    T_INFORM,
    T_NO_ADVERTISE,
    T_NO_EXPORT,
    WK_BLACKHOLE,
    WK_GSHUT,
    WK_LLGR_STALE,
    WK_NO_ADVERTISE,
    WK_NO_EXPORT,
    WK_NO_LLGR,
    WK_VARIANTS,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport load16, load32

import ipaddress

check_abi(__name__)

cdef enum:
    NO_EXPORT = 0xFFFFFF01
    NO_ADVERTISE = 0xFFFFFF02
    NO_EXPORT_SUBCONFED = 0xFFFFFF03
    LLGR_STALE = 0xFFFF0006
    NO_LLGR = 0xFFFF0007
    BLACKHOLE = 0xFFFF029A
    GRACEFUL_SHUTDOWN = 0xFFFF0000


@cython.final
@cython.no_gc_clear  # still asked by the attribute table when sets go at shutdown
cdef class Control:
    def __cinit__(self, AttrTable attrs, MemberSets sets, uint32_t local_asn, uint32_t router_id,
                  uint32_t cluster_id, CommunityRules rules=None, bint as_loop=True):
        self.attrs = attrs
        self.sets = sets
        self.local_asn = local_asn
        self.router_id = router_id
        self.set_clusters([cluster_id])
        self.use_rules(rules)
        self.as_loop = as_loop
        self.there = Directory(sets)
        # Pages that no set has a use for are never touched.
        self.maps = <uint64_t *>malloc(N_MAPS * MAP_WORDS * 8)
        blob_init(&self.parts_store, 64)
        if self.maps == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.maps)
        free(self.parts_of)
        blob_free_all(&self.parts_store)
        free(self.own)
        free(self.clusters)

    def use_identity(self, uint32_t local_asn, uint32_t router_id, uint32_t cluster_id):
        """Be another speaker. Sets must be recompiled."""
        self.local_asn = local_asn
        self.router_id = router_id
        self.set_clusters([cluster_id])

    def set_clusters(self, list ids):
        """Be the reflector of these clusters, so that one of them in CLUSTER_LIST is a loop.

        RFC 4456 8. Sets must be recompiled.
        """
        cdef uint32_t *p = <uint32_t *>malloc((len(ids) + 1) * 4)
        if p == NULL:
            raise MemoryError
        for i, number in enumerate(ids):
            p[i] = number
        free(self.clusters)
        self.clusters = p
        self.n_clusters = len(ids)

    def use_rules(self, CommunityRules rules):
        """Act on other communities, None for none. Sets must be recompiled with their forms."""
        self.rules = rules
        self.always = <uint32_t>(self.always & ~T_INFORM)
        if rules is not None and rules.n_informs:
            self.always |= T_INFORM

    def shut_down_gracefully(self, bint yes):
        """Add GRACEFUL_SHUTDOWN to everything that is announced, or stop doing so (RFC 8326 4.2).

        What has been announced must be evaluated again.
        """
        self.always = <uint32_t>((self.always & ~T_GSHUT) | (T_GSHUT if yes else 0))

    def set_black_holes(self, uint32_t family, bint on, str next_hop=None, bint no_export=False):
        """Say what becomes of black holes of a family (RFC 7999): nothing, or they go to those who
        accept them, with another next hop if wanted. Sets must be recompiled."""
        if not on:
            self.holes[family] = 0
            return
        self.holes[family] = T_BLACKHOLE | (T_NO_EXPORT if no_export else 0)
        if next_hop is not None:
            packed = ipaddress.ip_address(next_hop).packed
            memcpy(self.hole_hop[family], <const char *>packed, len(packed))
            self.holes[family] |= T_HOP_IPV6 if len(packed) == 16 else T_HOP_IPV4

    def set_peers(self, dict slots_by_asn, own_addresses=(), *, dict mapped=None, dict rtt=None,
                  thresholds=(), no_black_holes=()):
        """Replace the directory of peers: AS number -> list of slots. Sets must be recompiled.

        `own_addresses` are this router's, as text: a next hop among them cannot be used. `mapped`
        are 16-bit numbers that stand for AS numbers; `rtt` round-trip times in ms by slot, of which
        communities may name `thresholds`; `no_black_holes` the slots that accept none.
        ValueError for a slot that the member sets have no room for.
        """
        self.there.fill(slots_by_asn, mapped or {}, rtt or {}, sorted(thresholds), no_black_holes)
        packed = b"".join(
            ipaddress.ip_address(a).packed.ljust(16, b"\0") for a in own_addresses
        )
        free(self.own)
        self.own = <uint8_t *>malloc(len(packed) + 1)
        if self.own == NULL:
            self.n_own = 0
            raise MemoryError
        memcpy(self.own, <const char *>packed, len(packed))
        self.n_own = len(packed) // 16

    cdef bint _is_own(self, const uint8_t *addr, uint32_t n) noexcept nogil:
        cdef uint32_t i
        cdef uint8_t padded[16]
        memset(padded, 0, 16)
        memcpy(padded, addr, n)
        for i in range(self.n_own):
            if memcmp(self.own + 16 * i, padded, 16) == 0:
                return True
        return False

    # --- compiling --------------------------------------------------------------------------------

    cdef void _act(self, const rule_t *r, const uint8_t *v, uint32_t *well_known) noexcept nogil:
        """Note what a value that falls under a rule asks for."""
        cdef uint64_t *row
        cdef uint32_t to
        if r.action == ACT_DENY_ANY:
            self.deny_all = True
        elif r.action == ACT_PREPEND_ANY:
            if self.any_prepend == 0 or r.amount < self.any_prepend:
                self.any_prepend = r.amount
        elif r.action == ACT_NO_EXPORT_ANY:
            self.any_adds |= T_NO_EXPORT
        elif r.action == ACT_NO_ADVERTISE_ANY:
            self.any_adds |= T_NO_ADVERTISE
        elif r.action == ACT_BLACKHOLE:
            well_known[0] |= WK_BLACKHOLE
        elif r.action == ACT_GSHUT:
            well_known[0] |= WK_GSHUT
        elif (ACT_DENY_LOWER <= r.action <= ACT_ALLOW_HIGHER or r.action == ACT_PREPEND_LOWER
                or r.action == ACT_PREPEND_HIGHER):
            self._act_by_time(r, v)
        elif r.var_len:
            if r.action == ACT_DENY_PEER:
                to = MAP_DENY
            elif r.action == ACT_ALLOW_PEER:
                to = MAP_ALLOW
            elif r.action == ACT_PREPEND_PEER:
                to = MAP_PREPEND + r.amount - 1
            elif r.action == ACT_NO_EXPORT_PEER:
                to = MAP_NO_EXPORT
            elif r.action == ACT_NO_ADVERTISE_PEER:
                to = MAP_NO_ADVERTISE
            else:
                return
            row = self.there.row_named(v + r.var_at, r.var_len)
            if row != NULL:
                or_bits(self.map(to), row, self.there.row_words)

    cdef void _act_by_time(self, const rule_t *r, const uint8_t *v) noexcept nogil:
        """Note what a value asks for members by their round-trip time, if that is a threshold."""
        cdef uint32_t ms = load16(v + r.var_at) if r.var_len == 2 else load32(v + r.var_at)
        cdef bint higher = (r.action == ACT_DENY_HIGHER or r.action == ACT_ALLOW_HIGHER
                            or r.action == ACT_PREPEND_HIGHER)
        cdef uint32_t row = self.there.row_by_time(ms, higher)
        if row == ABSENT:
            return
        if r.action == ACT_DENY_LOWER or r.action == ACT_DENY_HIGHER:
            or_bits(self.map(MAP_RTT_DENY), self.there.rtt_row(row), self.there.row_words)
        elif r.action == ACT_ALLOW_LOWER or r.action == ACT_ALLOW_HIGHER:
            or_bits(self.map(MAP_RTT_ALLOW), self.there.rtt_row(row), self.there.row_words)
        elif self.n_rtt_tags < MAX_RTT_TAGS:
            self.rtt_tags[self.n_rtt_tags].threshold = ms
            self.rtt_tags[self.n_rtt_tags].amount = r.amount
            self.rtt_tags[self.n_rtt_tags].higher = higher
            self.rtt_tags[self.n_rtt_tags].row = row
            self.n_rtt_tags += 1

    cdef int compile(self, uint32_t attrs_h) except -1 nogil:
        """Fill in what an attribute set says about members; the caller holds a reference to it."""
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef const uint8_t *p = self.attrs.wire(attrs_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef uint32_t flags = 0, well_known = 0, own_as = 0, set_h, i, _i, n, target, kind, size
        cdef uint64_t *row
        cdef part_t parts[MAX_PARTS]
        cdef attr_t a
        cdef const uint8_t *v
        cdef const rule_t *r
        cdef nexthop_t *hop
        cdef bint hole
        if s.flags & AS_COMPILED:
            return 0
        self.used = 0
        self.n_rtt_tags = 0
        self.any_prepend = 0
        self.any_adds = 0
        self.deny_all = False
        while p < end:
            p += attr_next(p, &a)
            v = a.value
            if a.type == ATTR_AS_PATH:
                while v < a.value + a.len:
                    n = v[1]
                    v += 2
                    for _i in range(n):
                        target = load32(v)
                        v += 4
                        if target == self.local_asn:
                            if own_as < 255:
                                own_as += 1
                        elif self.as_loop:
                            row = self.there.row_of(target)
                            if row != NULL:
                                or_bits(self.map(MAP_DENY), row, self.there.row_words)
                continue
            if a.type == ATTR_COMMUNITIES:
                kind = KIND_STANDARD
                for i in range(0, a.len, 4):
                    target = load32(v + i)
                    if target < GRACEFUL_SHUTDOWN:
                        continue
                    if target == NO_EXPORT or target == NO_EXPORT_SUBCONFED:
                        well_known |= WK_NO_EXPORT
                    elif target == NO_ADVERTISE:
                        well_known |= WK_NO_ADVERTISE
                    elif target == BLACKHOLE:
                        well_known |= WK_BLACKHOLE
                    elif target == GRACEFUL_SHUTDOWN:
                        well_known |= WK_GSHUT
                    elif target == LLGR_STALE:
                        well_known |= WK_LLGR_STALE
                        self.some_stale = True
                    elif target == NO_LLGR:
                        well_known |= WK_NO_LLGR
            elif a.type == ATTR_EXT_COMMUNITIES:
                kind = KIND_EXTENDED
            elif a.type == ATTR_LARGE_COMMUNITY:
                kind = KIND_LARGE
            elif a.type == ATTR_CLUSTER_LIST:
                for i in range(0, a.len, 4):
                    target = load32(v + i)
                    for n in range(self.n_clusters):
                        if target == self.clusters[n]:
                            flags |= AS_OWN_CLUSTER
                continue
            else:
                continue
            if self.rules is None:
                continue
            size = 4 * (kind + 1)
            i = 0
            while i < a.len:
                r = self.rules.find(kind, v + i)
                if r != NULL:
                    flags |= AS_CONTROL
                    self._act(r, v + i, &well_known)
                i += size
        if s.originator and s.originator == self.router_id:
            flags |= AS_OWN_ORIGINATOR
        hop = self.attrs.hop(attrs_h)
        if bad_host(hop.addr, hop.len) or self._is_own(hop.addr, 16 if hop.len > 4 else 4):
            flags |= AS_BAD_NEXT_HOP
        set_h = self._allowed()
        n = 0
        if self.any_prepend or self.any_adds or self.n_rtt_tags or self.used >> MAP_PREPEND:
            n = self._find_parts(set_h, parts)
            if n:
                well_known |= WK_VARIANTS
        hole = well_known & WK_BLACKHOLE and (self.holes[0] or self.holes[1])
        if n or hole:
            self._keep_parts(attrs_h, set_h, hole, n, parts)
        s.set_h = set_h
        s.own_as = <uint8_t>own_as
        s.well_known = <uint8_t>well_known
        s.flags |= <uint16_t>(flags | AS_COMPILED)
        return 0

    cdef uint32_t _allowed(self) except? 0xFFFFFFFF nogil:
        """Return the set of members that may have a path, by what has been noted: a reference."""
        cdef uint32_t i, words = self.sets.words
        cdef uint64_t others
        cdef uint64_t *deny
        cdef uint64_t *allow
        cdef uint64_t *rtt_deny
        cdef uint64_t *rtt_allow
        if not (self.used & (1 << MAP_DENY | 1 << MAP_RTT_DENY) or self.deny_all):
            return SET_ALL
        others = 0 if self.deny_all else ~<uint64_t>0
        deny = self.map(MAP_DENY)
        allow = self.map(MAP_ALLOW)
        if self.used & (1 << MAP_RTT_DENY | 1 << MAP_RTT_ALLOW):
            rtt_deny = self.map(MAP_RTT_DENY)
            rtt_allow = self.map(MAP_RTT_ALLOW)
            for i in range(words):
                deny[i] = ~deny[i] & (allow[i] | (~rtt_deny[i] & (rtt_allow[i] | others)))
        else:
            for i in range(words):
                deny[i] = ~deny[i] & (allow[i] | others)
        return self.sets.intern(deny)

    cdef void _choose(self) noexcept nogil:
        """Fill MAP_CHOSEN: who gets how many AS numbers more, each by the first that fits."""
        cdef uint32_t words = self.sets.words
        cdef uint32_t i, k, best
        cdef uint64_t *left = self.map(MAP_LEFT)
        cdef rtt_tag_t tag
        memset(left, 0xFF, words * 8)
        for k in range(3):
            self.map(MAP_CHOSEN + k)
        for k in range(3):
            if (self.used >> (MAP_PREPEND + k)) & 1:
                take(self.map(MAP_CHOSEN + k), self.map(MAP_PREPEND + k), left, words)
        for i in range(self.n_rtt_tags):
            best = i
            for k in range(i + 1, self.n_rtt_tags):
                if comes_first(&self.rtt_tags[k], &self.rtt_tags[best]):
                    best = k
            tag = self.rtt_tags[best]
            self.rtt_tags[best] = self.rtt_tags[i]
            self.rtt_tags[i] = tag
            take(self.map(MAP_CHOSEN + tag.amount - 1),
                 self.there.rtt_row(tag.row), left, self.there.row_words)
        if self.any_prepend:
            or_bits(self.map(MAP_CHOSEN + self.any_prepend - 1), left, words)

    cdef uint32_t _find_parts(self, uint32_t set_h, part_t *out) except? 0xFFFFFFFF nogil:
        """Fill in what the members of `set_h` get that the rest do not: sets owned. Returns how
        many parts there are."""
        cdef uint32_t words = self.sets.words
        cdef uint32_t n = 0, t, i
        cdef uint64_t some, bits
        cdef uint64_t *may = self.sets.bits(set_h)
        cdef uint64_t *once
        cdef uint64_t *twice
        cdef uint64_t *thrice
        cdef uint64_t *no_export
        cdef uint64_t *no_advertise
        cdef uint64_t *part
        self._choose()
        once = self.map(MAP_CHOSEN)
        twice = self.map(MAP_CHOSEN + 1)
        thrice = self.map(MAP_CHOSEN + 2)
        no_export = self.map(MAP_NO_EXPORT)
        no_advertise = self.map(MAP_NO_ADVERTISE)
        if self.any_adds & T_NO_EXPORT:
            memset(no_export, 0xFF, words * 8)
        if self.any_adds & T_NO_ADVERTISE:
            memset(no_advertise, 0xFF, words * 8)
        part = self.map(MAP_LEFT)
        for t in range(1, MAX_PARTS + 1):
            some = 0
            for i in range(words):
                if t & 3 == 0:
                    bits = ~(once[i] | twice[i] | thrice[i])
                else:
                    bits = once[i] if t & 3 == 1 else twice[i] if t & 3 == 2 else thrice[i]
                bits &= no_export[i] if t & T_NO_EXPORT else ~no_export[i]
                bits &= no_advertise[i] if t & T_NO_ADVERTISE else ~no_advertise[i]
                part[i] = bits & may[i]
                some |= part[i]
            if some:
                out[n].set_h = self.sets.intern(part)
                out[n].transform = t
                n += 1
                may = self.sets.bits(set_h)     # intern may have moved it
        return n

    cdef int _keep_parts(self, uint32_t attrs_h, uint32_t set_h, bint hole,
                         uint32_t n, const part_t *parts) except -1 nogil:
        """Store the parts of a set, which become its own, and its member set as a black hole."""
        cdef uint32_t i, cap
        cdef uint32_t words = self.sets.words
        cdef uint32_t *p
        cdef uint64_t *bits
        cdef parts_t *kept
        if attrs_h >= self.parts_cap:
            cap = attrs_h + (attrs_h >> 1) + 64
            p = <uint32_t *>realloc(self.parts_of, <uint64_t>cap * 4)
            if p == NULL:
                with gil:
                    raise MemoryError
            memset(p + self.parts_cap, 0, <uint64_t>(cap - self.parts_cap) * 4)
            self.parts_of = p
            self.parts_cap = cap
        self.parts_of[attrs_h] = blob_alloc(&self.parts_store, sizeof(parts_t) + n * sizeof(part_t))
        kept = self.parts(attrs_h)
        kept.n = n
        kept.hole_h = set_h
        memcpy(kept + 1, parts, n * sizeof(part_t))
        if hole and self.there.no_holes != NULL:
            bits = self.map(MAP_LEFT)
            memcpy(bits, self.sets.bits(set_h), words * 8)
            for i in range(self.there.row_words):
                bits[i] &= ~self.there.no_holes[i]
            kept.hole_h = self.sets.intern(bits)
        elif set_h > SET_NONE:
            self.sets.ref(set_h)
        return 0

    cdef void forget(self, uint32_t attrs_h) noexcept nogil:
        """Undo compile, because the set goes or the peers have changed."""
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef parts_t *kept
        cdef part_t *part
        cdef uint32_t i
        if not s.flags & AS_COMPILED:
            return
        self.sets.unref(s.set_h)
        s.set_h = SET_ALL
        s.flags &= <uint16_t>~(AS_COMPILED | AS_CONTROL | AS_OWN_CLUSTER | AS_OWN_ORIGINATOR
                               | AS_BAD_NEXT_HOP)
        kept = self.parts(attrs_h)
        if kept == NULL:
            return
        part = <part_t *>(kept + 1)
        for i in range(kept.n):
            self.sets.unref(part[i].set_h)
        self.sets.unref(kept.hole_h)
        blob_release(&self.parts_store, self.parts_of[attrs_h],
                     sizeof(parts_t) + kept.n * sizeof(part_t))
        self.parts_of[attrs_h] = 0

    cdef bint renew(self, uint32_t attrs_h) except -1:
        """Compile a set anew; return whether it says anything else about members than before."""
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef uint32_t special = WK_BLACKHOLE | WK_GSHUT | WK_VARIANTS
        cdef uint32_t old_h = s.set_h, old_wk = s.well_known & special, i
        cdef uint32_t n_old = 0, old_hole_h = SET_ALL
        cdef part_t old[MAX_PARTS]
        cdef part_t *part
        cdef parts_t *kept = self.parts(attrs_h)
        cdef bint changed
        # Referred to, so that no handle can come to mean another set in between.
        if old_h > SET_NONE:
            self.sets.ref(old_h)
        if kept != NULL:
            n_old = kept.n
            old_hole_h = kept.hole_h
            memcpy(old, kept + 1, n_old * sizeof(part_t))
            if old_hole_h > SET_NONE:
                self.sets.ref(old_hole_h)
            for i in range(n_old):
                self.sets.ref(old[i].set_h)
        self.forget(attrs_h)
        self.compile(attrs_h)
        s = self.attrs.at(attrs_h)
        kept = self.parts(attrs_h)
        changed = s.set_h != old_h or s.well_known & special != old_wk
        if kept == NULL:
            changed = changed or n_old or old_hole_h != SET_ALL
        else:
            part = <part_t *>(kept + 1)
            changed = changed or kept.n != n_old or kept.hole_h != old_hole_h
            for i in range(0 if changed else n_old):
                if part[i].set_h != old[i].set_h or part[i].transform != old[i].transform:
                    changed = True
        self.sets.unref(old_h)
        self.sets.unref(old_hole_h)
        for i in range(n_old):
            self.sets.unref(old[i].set_h)
        return changed

    # --- for Python -------------------------------------------------------------------------------

    def members_of(self, uint32_t attrs_h, uint32_t n_slots):
        """Return the slots below `n_slots` that a set's communities and AS_PATH leave."""
        self.compile(attrs_h)
        return self.sets.members(self.attrs.at(attrs_h).set_h, n_slots)

    def parts_of_set(self, uint32_t attrs_h, uint32_t n_slots):
        """Return [(slots, transform)]: members that get other attributes than the rest, T_*."""
        cdef parts_t *kept
        cdef part_t *part
        self.compile(attrs_h)
        kept = self.parts(attrs_h)
        if kept == NULL:
            return []
        part = <part_t *>(kept + 1)
        return [(self.sets.members(part[i].set_h, n_slots), part[i].transform)
                for i in range(kept.n)]


cdef inline bint comes_first(const rtt_tag_t *a, const rtt_tag_t *b) noexcept nogil:
    """The order in which prepending by round-trip time is looked at."""
    if a.higher != b.higher:
        return a.higher
    if a.threshold != b.threshold:
        return a.threshold > b.threshold if a.higher else a.threshold < b.threshold
    return a.amount < b.amount


cdef inline void take(uint64_t *to, const uint64_t *wanted, uint64_t *left,
                      uint32_t words) noexcept nogil:
    """Move those that are wanted and left."""
    cdef uint32_t i
    for i in range(words):
        to[i] |= wanted[i] & left[i]
        left[i] &= ~wanted[i]


cdef inline void or_bits(uint64_t *to, const uint64_t *bits, uint32_t words) noexcept nogil:
    cdef uint32_t i
    for i in range(words):
        to[i] |= bits[i]


cdef bint bad_host(const uint8_t *addr, uint32_t n) noexcept nogil:
    """Whether an address cannot be a next hop: unspecified, multicast or reserved."""
    cdef uint32_t i
    if n == 4:
        return addr[0] == 0 or addr[0] >= 224
    if addr[0] == 0xFF:
        return True
    for i in range(16):
        if addr[i]:
            return False
    return True
