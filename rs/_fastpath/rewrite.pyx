"""Attribute sets as they leave us: transparent, eBGP, iBGP, reflected.

In: an attribute set, its source and a Program. Out: the handle of the set to send, which the source
set keeps as long as it lives, so that a form is built once per set and not once per route.

Route server (RFC 7947 2.2): nothing changes; our control communities are scrubbed, and what must
not cross an AS border is not there. eBGP (RFC 4271 5.1): our AS is prepended, the next hop is ours,
MED and LOCAL_PREF stay inside. iBGP: LOCAL_PREF is there. Reflection (RFC 4456 8): ORIGINATOR_ID
and CLUSTER_LIST, everything else untouched. Roles (RFC 9234 5): ONLY_TO_CUSTOMER is added, once per
set, where a route goes down or sideways, or came from above or sideways without it.

CLUSTER_LIST gets the clusters that the route passes here: that of the client it comes from, and in
front of it that of the client it goes to where this is another one.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from rs._fastpath.arena cimport slab_alloc, slab_at, slab_free_all, slab_init, slab_release
from rs._fastpath.attrs cimport attr_next, attr_t
from rs._fastpath.control cimport Control
from rs._fastpath.paths cimport (
    PEER_IBGP,
    PEER_RR_CLIENT,
    ROLE_PEER,
    ROLE_PROVIDER,
    ROLE_RS,
    ROLE_RS_CLIENT,
    peer_t,
)
from rs._fastpath.rib cimport Rib
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_CONTROL,
    AS_HAS_AIGP,
    AS_HAS_CLUSTER_LIST,
    AS_HAS_LOCAL_PREF,
    AS_HAS_NEXT_HOP,
    AS_HAS_ORIGINATOR,
    AS_HAS_OTC,
    ATTR_AIGP,
    ATTR_AS_PATH,
    ATTR_CLUSTER_LIST,
    ATTR_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_NEXT_HOP,
    ATTR_ORIGINATOR_ID,
    ATTR_OTC,
    SEG_CONFED_SEQUENCE,
    SEG_SEQUENCE,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport store16, store32

import ipaddress

check_abi(__name__)

cdef enum:
    BUF_LEN = 65536 + 512
    KEPT_DEPTH = 8


@cython.final
cdef class Program:
    def __cinit__(self, uint32_t number, uint32_t kind, uint32_t local_asn, uint32_t cluster_id=0,
                  next_hop=None, bint honor_well_known=False, uint32_t role=0):
        self.number = number
        self.kind = kind
        self.local_asn = local_asn
        self.cluster_id = cluster_id
        self.honor_well_known = honor_well_known
        self.role = role
        self.marks = ROLE_PROVIDER <= role <= ROLE_RS or role == ROLE_PEER
        self.upwards = role >= ROLE_RS_CLIENT
        if next_hop is not None:
            packed = ipaddress.ip_address(next_hop).packed
            self.next_hop_len = len(packed)
            memcpy(self.next_hop, <const char *>packed, len(packed))


cdef void on_release(void *ctx, uint32_t h) noexcept with gil:
    """An attribute set goes: so do its member set and its exported forms."""
    cdef Rewriter self = <Rewriter>ctx
    cdef uint32_t d_h = self.rib.attrs.at(h).derived_h
    cdef uint32_t next_h, out_h
    cdef derived_t *d
    if self.rib.control is None or self.rib.attrs is None or self.rib.memo is None:
        return      # the collector is taking the RIB apart
    self.rib.control.forget(h)
    self.rib.memo.forget(h, self.rib.attrs.at(h).raw_h)
    self.rib.attrs.at(h).derived_h = 0
    while d_h:
        d = <derived_t *>slab_at(&self.derived, d_h)
        next_h = d.next_h
        out_h = d.out_h
        slab_release(&self.derived, d_h)
        if out_h != h:
            self.rib.attrs.unref(out_h)
        d_h = next_h


@cython.final
@cython.no_gc_clear  # __dealloc__ takes its hook out of the attribute table
cdef class Rewriter:
    def __cinit__(self, Rib rib):
        self.rib = rib
        slab_init(&self.derived, sizeof(derived_t), 64)
        self.buf = <uint8_t *>malloc(BUF_LEN)
        if self.buf == NULL:
            raise MemoryError
        rib.attrs.on_release = on_release
        rib.attrs.release_ctx = <void *>self
        rib.memo.told = True

    def __dealloc__(self):
        # The table may outlive us; it must not call back.
        if self.rib is not None and self.rib.attrs is not None:
            self.rib.attrs.on_release = NULL
            if self.rib.memo is not None:
                self.rib.memo.told = False
        slab_free_all(&self.derived)
        free(self.buf)

    cdef uint32_t derive(self, Program program, uint32_t attrs_h, uint32_t source) except 0:
        """Return the set to send instead of `attrs_h`; borrowed: it lives as long as that set.

        Where that set is a form of this one in turn (with and without LOCAL_PREF, say), only one of
        the two keeps the other, or they would keep each other for good; the other way round it is
        built anew each time, and lives until what holds it now is given up.

        What import has changed is sent as a set that does not know of it: two that differ only in
        what they were made of are the same UPDATE.
        """
        cdef attrset_t *s = self.rib.attrs.at(attrs_h)
        cdef peer_t *peer = &self.rib.peers[source]
        cdef uint32_t originator = 0, cluster = 0, d_h, out_h, key, otc
        cdef derived_t *d
        cdef bint reflected = program.kind >= PROG_IBGP and peer.kind >= PEER_IBGP
        otc = ingress_otc(peer, s.flags)
        cdef uint32_t from_source = otc
        if otc == 0 and program.marks and not s.flags & AS_HAS_OTC:
            otc = program.local_asn
        if program.kind == PROG_RS and not otc and s.raw_h == 0 and not s.flags & (
                AS_CONTROL | AS_HAS_LOCAL_PREF | AS_HAS_ORIGINATOR | AS_HAS_CLUSTER_LIST
                | AS_HAS_AIGP):
            return attrs_h
        if reflected and not s.flags & AS_HAS_ORIGINATOR:
            originator = from_source = peer.router_id
        if reflected and peer.kind == PEER_RR_CLIENT and peer.cluster_id != program.cluster_id:
            cluster = peer.cluster_id
        key = program.number << 2 | reflected
        if self.rib.control.communities:
            key |= 2
        d_h = s.derived_h
        while d_h:
            d = <derived_t *>slab_at(&self.derived, d_h)
            if d.program == key and d.source == from_source and d.cluster == cluster:
                return d.out_h
            d_h = d.next_h
        out_h = self._build(program, attrs_h, reflected, originator, cluster, otc)
        if out_h == attrs_h:
            self.rib.attrs.unref(out_h)     # a set must not own itself
        elif self._keeps(out_h, attrs_h, 0):
            self.rib.attrs.unref(out_h)
            return out_h
        d_h = slab_alloc(&self.derived)
        d = <derived_t *>slab_at(&self.derived, d_h)
        s = self.rib.attrs.at(attrs_h)
        d.next_h = s.derived_h
        d.program = key
        d.source = from_source
        d.cluster = cluster
        d.out_h = out_h
        s.derived_h = d_h
        return out_h

    cdef bint _keeps(self, uint32_t attrs_h, uint32_t other_h, uint32_t depth) noexcept nogil:
        """Whether a set keeps another one alive as its form, or as the form of a form."""
        cdef uint32_t d_h = self.rib.attrs.at(attrs_h).derived_h
        cdef derived_t *d
        if depth > KEPT_DEPTH:
            return True     # do not look further, and do not add to it
        while d_h:
            d = <derived_t *>slab_at(&self.derived, d_h)
            if d.out_h == other_h:
                return True
            if d.out_h != attrs_h and self._keeps(d.out_h, other_h, depth + 1):
                return True
            d_h = d.next_h
        return False

    cdef uint32_t _build(self, Program program, uint32_t attrs_h, bint reflected,
                         uint32_t originator, uint32_t cluster, uint32_t otc) except 0:
        cdef attrset_t *s = self.rib.attrs.at(attrs_h)
        cdef const uint8_t *p = self.rib.attrs.wire(attrs_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef const uint8_t *head
        cdef uint8_t *o = self.buf
        cdef attr_t a
        cdef bint external = program.kind <= PROG_EBGP
        cdef bint classic = (s.flags & AS_HAS_NEXT_HOP) != 0
        cdef bint want_pref = not external and not s.flags & AS_HAS_LOCAL_PREF
        cdef bint want_cluster = reflected
        cdef bint known
        cdef bint want_originator = reflected and not s.flags & AS_HAS_ORIGINATOR
        cdef uint32_t passed[2]
        cdef uint32_t n_passed = 0, i
        cdef bint self_hop = program.next_hop_len and not reflected
        cdef nexthop_t *hop = self.rib.attrs.hop(attrs_h)
        cdef uint8_t nh[32]
        cdef uint32_t nh_len = hop.len
        memcpy(nh, hop.addr, 32)
        if cluster == 0 or program.kind == PROG_RR:
            passed[0] = program.cluster_id
            n_passed = 1
        if cluster:
            passed[n_passed] = cluster
            n_passed += 1
        if self_hop:
            nh_len = program.next_hop_len
            memcpy(nh, program.next_hop, nh_len)
        while p < end or want_pref or want_originator or want_cluster or otc:
            head = p
            if p < end:
                p += attr_next(p, &a)
            else:
                a.type = 255
            if want_pref and a.type > ATTR_LOCAL_PREF:
                o = put(o, AFLAG_TRANSITIVE, ATTR_LOCAL_PREF, 4)
                store32(o, 100)
                o += 4
                want_pref = False
            if want_originator and a.type > ATTR_ORIGINATOR_ID:
                o = put(o, AFLAG_OPTIONAL, ATTR_ORIGINATOR_ID, 4)
                store32(o, originator)
                o += 4
                want_originator = False
            if want_cluster and a.type >= ATTR_CLUSTER_LIST:
                known = a.type == ATTR_CLUSTER_LIST
                o = put(o, AFLAG_OPTIONAL, ATTR_CLUSTER_LIST,
                        4 * n_passed + (a.len if known else 0))
                for i in range(n_passed):
                    store32(o, passed[i])
                    o += 4
                want_cluster = False
                if known:
                    memcpy(o, a.value, a.len)
                    o += a.len
                    continue
            if otc and a.type > ATTR_OTC:
                o = put(o, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_OTC, 4)
                store32(o, otc)
                o += 4
                otc = 0
            if head >= end:
                continue
            if external and (a.type == ATTR_LOCAL_PREF or a.type == ATTR_ORIGINATOR_ID
                             or a.type == ATTR_CLUSTER_LIST or a.type == ATTR_AIGP):
                continue
            if program.kind == PROG_EBGP and a.type == ATTR_MED:
                continue
            if program.kind == PROG_EBGP and a.type == ATTR_AS_PATH:
                o = prepend(o, &a, program.local_asn)
                continue
            if a.type == ATTR_NEXT_HOP and self_hop:
                if nh_len == 4:
                    o = put(o, AFLAG_TRANSITIVE, ATTR_NEXT_HOP, 4)
                    memcpy(o, nh, 4)
                    o += 4
                else:
                    classic = False
                continue
            if program.kind == PROG_RS and s.flags & AS_CONTROL and (
                    a.type == ATTR_COMMUNITIES or a.type == ATTR_LARGE_COMMUNITY):
                o = scrub(o, &a, self.rib.control)
                continue
            memcpy(o, head, p - head)
            o += p - head
        return self.rib.attrs.intern(self.buf, <uint32_t>(o - self.buf), nh, nh_len, classic)

    def derived_form(self, Program program, uint32_t attrs_h, uint32_t source):
        """Return the handle of the set sent instead of `attrs_h` of peer slot `source`."""
        self.rib.control.compile(attrs_h)
        return self.derive(program, attrs_h, source)

    def stats(self):
        """Return the number of exported forms that differ from, or were checked for, their set."""
        return {"forms": self.derived.live}


cdef inline uint8_t *put(uint8_t *o, uint32_t flags, uint32_t type_, uint32_t n) noexcept nogil:
    """Write an attribute header for `n` octets of value in canonical form."""
    o[1] = <uint8_t>type_
    if n > 255:
        o[0] = <uint8_t>(flags | AFLAG_EXT_LEN)
        store16(o + 2, n)
        return o + 4
    o[0] = <uint8_t>flags
    o[2] = <uint8_t>n
    return o + 3


cdef uint8_t *prepend(uint8_t *o, const attr_t *a, uint32_t asn) noexcept nogil:
    """AS_PATH with `asn` in front and without confederation segments, wherever they stand.

    RFC 4271 5.1.2, RFC 5065 4.
    """
    cdef const uint8_t *v = a.value
    cdef const uint8_t *end = a.value + a.len
    cdef const uint8_t *first = NULL
    cdef uint32_t size
    cdef uint32_t rest = 0
    cdef bint join
    while v < end:
        size = 2 + 4 * <uint32_t>v[1]
        if v[0] < SEG_CONFED_SEQUENCE:
            rest += size
            if first == NULL:
                first = v
        v += size
    join = first != NULL and first[0] == SEG_SEQUENCE and first[1] < 255
    o = put(o, AFLAG_TRANSITIVE, ATTR_AS_PATH, rest + (4 if join else 6))
    o[0] = SEG_SEQUENCE
    o[1] = first[1] + 1 if join else 1
    store32(o + 2, asn)
    o += 6
    v = a.value
    while v < end:
        size = 2 + 4 * <uint32_t>v[1]
        if v[0] < SEG_CONFED_SEQUENCE:
            if join and v == first:
                memcpy(o, v + 2, size - 2)
                o += size - 2
            else:
                memcpy(o, v, size)
                o += size
        v += size
    return o


cdef uint8_t *scrub(uint8_t *o, const attr_t *a, Control control) noexcept nogil:
    """A community attribute without the values that were meant for us; nothing if none is left."""
    cdef uint32_t size = 4 if a.type == ATTR_COMMUNITIES else 12
    cdef uint32_t i, n = 0
    cdef uint8_t *value
    i = 0
    while i < a.len:
        if not control.is_control(a.type, a.value + i):
            n += size
        i += size
    if n == 0:
        return o
    value = put(o, a.flags & <uint8_t>~AFLAG_EXT_LEN, a.type, n)
    i = 0
    while i < a.len:
        if not control.is_control(a.type, a.value + i):
            memcpy(value, a.value + i, size)
            value += size
        i += size
    return value
