"""What an attribute set says about members: compiled once per set, used for every path with it.

In: an attribute set and the AS numbers of the peers. Out, kept in the set: the member set that its
communities and AS_PATH leave (set_h), how often our own AS is in its path, and whether its
ORIGINATOR_ID, a cluster of its CLUSTER_LIST or its next hop are our own. RFC 7947 2.3.2 (control by
communities), RFC 4271 9.1.2 (AS loop), 5.1.3 (next hop), RFC 4456 8 (reflection loops).

The exclusion communities, for a route server with AS number rs and a member with AS number m:

    large  rs:0:m, standard 0:m     not to m        (strongest)
    large  rs:1:m, standard rs:m    to m
    large  rs:0:0, standard 0:rs    to nobody
    otherwise                       to everybody

A community that names an AS without a peer changes nothing, so the set stays the common one: two
fifths of the targets seen at exchanges are not there.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.sets cimport SET_ALL, MemberSets
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
    ATTR_LARGE_COMMUNITY,
    WK_NO_ADVERTISE,
    WK_NO_EXPORT,
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


@cython.final
@cython.no_gc_clear  # still asked by the attribute table when sets go at shutdown
cdef class Control:
    def __cinit__(self, AttrTable attrs, MemberSets sets, uint32_t local_asn, uint32_t router_id,
                  uint32_t cluster_id, bint communities=True, bint as_loop=True):
        self.attrs = attrs
        self.sets = sets
        self.local_asn = local_asn
        self.router_id = router_id
        self.set_clusters([cluster_id])
        self.communities = communities
        self.as_loop = as_loop
        self.asns_cap = 256
        self.asns = <asn_entry_t *>calloc(self.asns_cap, sizeof(asn_entry_t))
        self.rows_cap = 64
        self.rows_top = 0
        self.rows = <uint64_t *>malloc(<uint64_t>self.rows_cap * sets.words * 8)
        self.deny = <uint64_t *>malloc(1024 * 8)
        self.allow = <uint64_t *>malloc(1024 * 8)
        if self.asns == NULL or self.rows == NULL or self.deny == NULL or self.allow == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.asns)
        free(self.rows)
        free(self.deny)
        free(self.allow)
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

    # --- who is there ----------------------------------------------------------------------------

    def set_peers(self, dict slots_by_asn, own_addresses=()):
        """Replace the directory of peers: AS number -> list of slots. Sets must be recompiled.

        `own_addresses` are this router's, as text: a next hop among them cannot be used.
        ValueError for a slot that the member sets have no room for.
        """
        cdef uint32_t asn, i, slot
        cdef uint32_t words = self.sets.words
        cdef uint64_t at
        cdef void *p
        cdef asn_entry_t *asns
        cdef uint32_t cap = 256
        while cap < 2 * len(slots_by_asn):
            cap *= 2
        asns = <asn_entry_t *>calloc(cap, sizeof(asn_entry_t))
        p = realloc(self.rows, <uint64_t>(len(slots_by_asn) + 1) * words * 8)
        if asns == NULL or p == NULL:
            free(asns)
            raise MemoryError
        self.rows = <uint64_t *>p
        self.rows_cap = len(slots_by_asn) + 1
        self.rows_top = 0
        self.row_words = words
        free(self.asns)
        self.asns = asns
        self.asns_cap = cap
        memset(self.rows, 0, <uint64_t>self.rows_cap * words * 8)
        for asn_, slots in slots_by_asn.items():
            asn = asn_
            i = (asn * <uint32_t>2654435761) & (cap - 1)
            while asns[i].asn:
                i = (i + 1) & (cap - 1)
            asns[i].asn = asn
            asns[i].n_slots = len(slots)
            asns[i].row = self.rows_top
            for s in slots:
                slot = s
                if slot >= 64 * words:
                    raise ValueError(f"slot {slot} is not in the member sets")
                at = <uint64_t>self.rows_top * words + (slot >> 6)
                self.rows[at] |= <uint64_t>1 << (slot & 63)
            self.rows_top += 1
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

    cdef uint64_t *row_of(self, uint32_t asn) noexcept nogil:
        """The slots of the peers with this AS number, or NULL when there are none."""
        cdef uint32_t i = (asn * <uint32_t>2654435761) & (self.asns_cap - 1)
        while self.asns[i].asn:
            if self.asns[i].asn == asn:
                return self.rows + <uint64_t>self.asns[i].row * self.row_words
            i = (i + 1) & (self.asns_cap - 1)
        return NULL

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

    cdef bint is_control(self, uint8_t attr_type, const uint8_t *value) noexcept nogil:
        """Whether one community value is ours to act on, and so not passed on (scrubbed)."""
        cdef uint32_t high
        if not self.communities:
            return False
        if attr_type == ATTR_COMMUNITIES:
            high = load16(value)
            return high == 0 or high == self.local_asn
        return load32(value) == self.local_asn and load32(value + 4) <= 1

    cdef int compile(self, uint32_t attrs_h) except -1 nogil:
        """Fill in what an attribute set says about members; the caller holds a reference to it."""
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef const uint8_t *p = self.attrs.wire(attrs_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef uint32_t words = self.sets.words
        cdef uint32_t flags = 0, well_known = 0, own_as = 0, set_h, i, _i, n, high, low, target
        cdef bint deny_all = False, some_deny = False, some_allow = False
        cdef uint64_t *row
        cdef attr_t a
        cdef const uint8_t *v
        cdef nexthop_t *hop
        if s.flags & AS_COMPILED:
            return 0
        memset(self.deny, 0, words * 8)
        memset(self.allow, 0, words * 8)
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
                            row = self.row_of(target)
                            if row != NULL:
                                some_deny = True
                                or_bits(self.deny, row, self.row_words)
            elif a.type == ATTR_COMMUNITIES:
                for i in range(0, a.len, 4):
                    target = load32(v + i)
                    if target == NO_EXPORT or target == NO_EXPORT_SUBCONFED:
                        well_known |= WK_NO_EXPORT
                    elif target == NO_ADVERTISE:
                        well_known |= WK_NO_ADVERTISE
                    if not self.is_control(a.type, v + i):
                        continue
                    flags |= AS_CONTROL
                    high = load16(v + i)
                    low = load16(v + i + 2)
                    if high == 0 and low == self.local_asn:
                        deny_all = True
                    elif low:
                        row = self.row_of(low)
                        if row == NULL:
                            continue
                        if high == 0:
                            some_deny = True
                            or_bits(self.deny, row, self.row_words)
                        else:
                            some_allow = True
                            or_bits(self.allow, row, self.row_words)
            elif a.type == ATTR_LARGE_COMMUNITY:
                for i in range(0, a.len, 12):
                    if not self.is_control(a.type, v + i):
                        continue
                    flags |= AS_CONTROL
                    target = load32(v + i + 8)
                    if target == 0:
                        deny_all = deny_all or load32(v + i + 4) == 0
                        continue
                    row = self.row_of(target)
                    if row == NULL:
                        continue
                    if load32(v + i + 4) == 0:
                        some_deny = True
                        or_bits(self.deny, row, self.row_words)
                    else:
                        some_allow = True
                        or_bits(self.allow, row, self.row_words)
            elif a.type == ATTR_CLUSTER_LIST:
                for i in range(0, a.len, 4):
                    target = load32(v + i)
                    for n in range(self.n_clusters):
                        if target == self.clusters[n]:
                            flags |= AS_OWN_CLUSTER
        if s.originator and s.originator == self.router_id:
            flags |= AS_OWN_ORIGINATOR
        hop = self.attrs.hop(attrs_h)
        if bad_host(hop.addr, hop.len) or self._is_own(hop.addr, 16 if hop.len > 4 else 4):
            flags |= AS_BAD_NEXT_HOP
        set_h = SET_ALL
        if deny_all or some_deny:
            for i in range(words):
                self.deny[i] = ~self.deny[i] & (self.allow[i] if deny_all else ~<uint64_t>0)
            set_h = self.sets.intern(self.deny)
        s.set_h = set_h
        s.own_as = <uint8_t>own_as
        s.well_known = <uint8_t>well_known
        s.flags |= <uint16_t>(flags | AS_COMPILED)
        return 0

    cdef void forget(self, uint32_t attrs_h) noexcept nogil:
        """Undo compile, because the set goes or the peers have changed."""
        cdef attrset_t *s = self.attrs.at(attrs_h)
        if s.flags & AS_COMPILED:
            self.sets.unref(s.set_h)
            s.set_h = SET_ALL
            s.flags &= <uint16_t>~(AS_COMPILED | AS_CONTROL | AS_OWN_CLUSTER | AS_OWN_ORIGINATOR
                                   | AS_BAD_NEXT_HOP)

    def members_of(self, uint32_t attrs_h, uint32_t n_slots):
        """Return the slots below `n_slots` that a set's communities and AS_PATH leave."""
        self.compile(attrs_h)
        return self.sets.members(self.attrs.at(attrs_h).set_h, n_slots)


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
