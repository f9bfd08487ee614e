"""Attribute sets as they leave us: transparent, eBGP, iBGP, reflected.

In: an attribute set, its source and a Program. Out: the handle of the set to send, which the source
set keeps as long as it lives, so that a form is built once per set and not once per route.

Route server (RFC 7947 2.2): nothing changes; communities that are ours are scrubbed, what must not
cross an AS border is not there, and clients who want it so see our AS in front of AS_PATH. What a
path's communities ask for on behalf of some members, and what we tell of it, is the transform (T_*
in types.pxd): the source's AS number prepended, communities added, the next hop of black holes
(RFC 7999).

eBGP (RFC 4271 5.1): our AS is prepended, the next hop is ours, MED and LOCAL_PREF stay inside.
iBGP: LOCAL_PREF is there. Reflection (RFC 4456 8): ORIGINATOR_ID and CLUSTER_LIST, everything else
untouched. Roles (RFC 9234 5): ONLY_TO_CUSTOMER is added, once per set, where a route goes down or
sideways, or came from above or sideways without it.

CLUSTER_LIST gets the clusters that the route passes here: that of the client it comes from, and in
front of it that of the client it goes to where this is another one.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset

from rs._fastpath.arena cimport slab_alloc, slab_at, slab_free_all, slab_init, slab_release
from rs._fastpath.attrs cimport attr_next, attr_t
from rs._fastpath.commrules cimport KIND_EXTENDED, KIND_LARGE, KIND_STANDARD, N_KINDS
from rs._fastpath.edits cimport Edits
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
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_NEXT_HOP,
    ATTR_ORIGINATOR_ID,
    ATTR_OTC,
    SEG_CONFED_SEQUENCE,
    SEG_SEQUENCE,
    T_BLACKHOLE,
    T_GSHUT,
    T_HOP_IPV4,
    T_HOP_IPV6,
    T_INFORM,
    T_NO_ADVERTISE,
    T_NO_EXPORT,
    T_PREF_0,
    T_PREPEND,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport put_head, store32

import ipaddress

check_abi(__name__)

cdef enum:
    BUF_LEN = 65536 + 2048
    KEPT_DEPTH = 8

cdef uint8_t COMMUNITY_TYPE[3]
COMMUNITY_TYPE[:] = [ATTR_COMMUNITIES, ATTR_EXT_COMMUNITIES, ATTR_LARGE_COMMUNITY]
cdef uint32_t ADDED[4][2]
ADDED[0][:] = [T_NO_EXPORT, 0xFFFFFF01]
ADDED[1][:] = [T_NO_ADVERTISE, 0xFFFFFF02]
ADDED[2][:] = [T_BLACKHOLE, 0xFFFF029A]
ADDED[3][:] = [T_GSHUT, 0xFFFF0000]


@cython.final
cdef class Program:
    def __cinit__(self, uint32_t number, uint32_t kind, uint32_t local_asn, uint32_t cluster_id=0,
                  next_hop=None, bint honor_well_known=False, uint32_t role=0,
                  bint closed=False, bint prepend=False):
        self.number = number
        self.kind = kind
        self.local_asn = local_asn
        self.cluster_id = cluster_id
        self.honor_well_known = honor_well_known
        self.role = role
        self.closed = closed
        self.prepend = prepend or kind == PROG_EBGP
        self.marks = ROLE_PROVIDER <= role <= ROLE_RS or role == ROLE_PEER
        self.upwards = role >= ROLE_RS_CLIENT
        if next_hop is not None:
            packed = ipaddress.ip_address(next_hop).packed
            self.next_hop_len = len(packed)
            memcpy(self.next_hop, <const char *>packed, len(packed))


cdef void on_release(void *ctx, uint32_t h) noexcept with gil:
    """An attribute set goes: so do its member set and its exported forms."""
    cdef Rewriter self = <Rewriter>ctx
    if self.rib.control is None or self.rib.attrs is None or self.rib.memo is None:
        return      # the collector is taking the RIB apart
    self.rib.control.forget(h)
    self.rib.memo.forget(h, self.rib.attrs.at(h).raw_h)
    release_forms(self, h)


cdef void drop_forms_of(void *ctx, uint32_t h) noexcept with gil:
    """Forms of a set are not what they would be now."""
    release_forms(<Rewriter>ctx, h)


cdef int release_forms(Rewriter self, uint32_t h) except -1:
    cdef uint32_t d_h = self.rib.attrs.at(h).derived_h
    cdef uint32_t next_h, out_h
    cdef derived_t *d
    self.rib.attrs.at(h).derived_h = 0
    while d_h:
        d = <derived_t *>slab_at(&self.derived, d_h)
        next_h = d.next_h
        out_h = d.out_h
        slab_release(&self.derived, d_h)
        if out_h != h:
            self.rib.attrs.unref(out_h)
        d_h = next_h
    return 0


@cython.final
@cython.no_gc_clear  # __dealloc__ takes its hook out of the attribute table
cdef class Rewriter:
    def __cinit__(self, Rib rib):
        self.rib = rib
        slab_init(&self.derived, sizeof(derived_t), 64)
        self.buf = <uint8_t *>malloc(BUF_LEN)
        self.path = <uint8_t *>malloc(BUF_LEN)
        if self.buf == NULL or self.path == NULL:
            raise MemoryError
        rib.attrs.on_release = on_release
        rib.attrs.release_ctx = <void *>self
        rib.memo.told = True
        rib.drop_forms = drop_forms_of

    def __dealloc__(self):
        # The table may outlive us; it must not call back.
        if self.rib is not None and self.rib.attrs is not None:
            self.rib.attrs.on_release = NULL
            if self.rib.memo is not None:
                self.rib.memo.told = False
            self.rib.drop_forms = NULL
        slab_free_all(&self.derived)
        free(self.buf)
        free(self.path)

    cdef uint32_t derive(self, Program program, uint32_t attrs_h, uint32_t source,
                         uint32_t transform) except 0:
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
        cdef bint marked = otc != 0
        if otc == 0 and program.marks and not s.flags & AS_HAS_OTC:
            otc = program.local_asn
        if (program.kind == PROG_RS and not program.prepend and (transform | otc | s.raw_h) == 0
                and not s.flags & (AS_CONTROL | AS_HAS_LOCAL_PREF | AS_HAS_ORIGINATOR
                                   | AS_HAS_CLUSTER_LIST | AS_HAS_AIGP)):
            return attrs_h
        if reflected and not s.flags & AS_HAS_ORIGINATOR:
            originator = from_source = peer.router_id
        elif transform & T_PREPEND or (
                transform & T_INFORM and self.rib.control.rules.inform_source):
            from_source = peer.asn
        if reflected and peer.kind == PEER_RR_CLIENT and peer.cluster_id != program.cluster_id:
            cluster = peer.cluster_id
        key = (program.number << 1 | marked) << 1 | reflected
        d_h = s.derived_h
        while d_h:
            d = <derived_t *>slab_at(&self.derived, d_h)
            if (d.program == key and d.source == from_source and d.cluster == cluster
                    and d.transform == transform):
                return d.out_h
            d_h = d.next_h
        out_h = self._build(program, attrs_h, reflected, originator, cluster, otc, peer.asn,
                            transform)
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
        d.transform = transform
        d.out_h = out_h
        s.derived_h = d_h
        return out_h

    cdef uint32_t adjust(self, Edits edits, uint32_t out_h, uint32_t chain) except? 0:
        """Return the set to send instead of `out_h` after what an export policy changes in it.

        Borrowed as from derive(); 0 if it is too long to be sent.
        """
        cdef uint32_t d_h = self.rib.attrs.at(out_h).derived_h
        cdef uint32_t key = FORM_EDITED | chain, made
        cdef derived_t *d
        while d_h:
            d = <derived_t *>slab_at(&self.derived, d_h)
            if d.program == key:
                return d.out_h
            d_h = d.next_h
        made = edits.changed(self.rib.attrs, out_h, chain, 0)
        if made == 0:
            return 0
        if made == out_h:
            self.rib.attrs.unref(made)      # a set must not own itself
        elif self._keeps(made, out_h, 0):
            self.rib.attrs.unref(made)
            return made
        d_h = slab_alloc(&self.derived)
        d = <derived_t *>slab_at(&self.derived, d_h)
        memset(d, 0, sizeof(derived_t))
        d.next_h = self.rib.attrs.at(out_h).derived_h
        d.program = key
        d.out_h = made
        self.rib.attrs.at(out_h).derived_h = d_h
        return made

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
                         uint32_t originator, uint32_t cluster, uint32_t otc,
                         uint32_t source_asn, uint32_t transform) except 0:
        cdef attrset_t *s = self.rib.attrs.at(attrs_h)
        cdef const uint8_t *p = self.rib.attrs.wire(attrs_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef const uint8_t *head
        cdef uint8_t *o = self.buf
        cdef attr_t a
        cdef bint external = program.kind <= PROG_EBGP
        cdef bint classic = (s.flags & AS_HAS_NEXT_HOP) != 0
        cdef bint want_pref = not external and (
            not s.flags & AS_HAS_LOCAL_PREF or transform & T_PREF_0)
        cdef bint want_cluster = reflected
        cdef bint known
        cdef bint want_originator = reflected and not s.flags & AS_HAS_ORIGINATOR
        cdef uint32_t passed[2]
        cdef uint32_t n_passed = 0
        cdef bint scrub = program.kind == PROG_RS and (s.flags & AS_CONTROL) != 0
        cdef bint self_hop = program.next_hop_len and not reflected
        cdef nexthop_t *hop = self.rib.attrs.hop(attrs_h)
        cdef uint8_t nh[32]
        cdef uint32_t nh_len = hop.len, kind = N_KINDS, i
        cdef additions_t more
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
        elif transform & (T_HOP_IPV4 | T_HOP_IPV6):
            self_hop = True
            nh_len = 4 if transform & T_HOP_IPV4 else 16
            memcpy(nh, self.rib.control.hole_hop[0 if nh_len == 4 else 1], nh_len)
        self._add(transform, source_asn, s.origin_as, &more)
        for i in range(N_KINDS):
            if more.len[i]:
                kind = i
                break
        while True:
            head = p
            a.type = 255
            if p < end:
                p += attr_next(p, &a)
            if want_pref and a.type >= ATTR_LOCAL_PREF:
                o = put_head(o, AFLAG_TRANSITIVE, ATTR_LOCAL_PREF, 4)
                store32(o, 0 if transform & T_PREF_0 else 100)
                o += 4
                want_pref = False
                if a.type == ATTR_LOCAL_PREF:
                    continue
            if kind == KIND_STANDARD and a.type > ATTR_COMMUNITIES:
                o = self._communities(o, NULL, kind, False, &more)
                kind += 1
            if want_originator and a.type > ATTR_ORIGINATOR_ID:
                o = put_head(o, AFLAG_OPTIONAL, ATTR_ORIGINATOR_ID, 4)
                store32(o, originator)
                o += 4
                want_originator = False
            if want_cluster and a.type >= ATTR_CLUSTER_LIST:
                known = a.type == ATTR_CLUSTER_LIST
                o = put_head(o, AFLAG_OPTIONAL, ATTR_CLUSTER_LIST,
                             4 * n_passed + (a.len if known else 0))
                for i in range(n_passed):
                    store32(o, passed[i])
                    o += 4
                want_cluster = False
                if known:
                    memcpy(o, a.value, a.len)
                    o += a.len
                    continue
            # Kinds of communities that the set has none of, in their places.
            while kind < N_KINDS and a.type > COMMUNITY_TYPE[kind]:
                if more.len[kind]:
                    o = self._communities(o, NULL, kind, False, &more)
                kind += 1
            if otc and a.type > ATTR_OTC:
                o = put_head(o, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_OTC, 4)
                store32(o, otc)
                o += 4
                otc = 0
            if head >= end:
                break
            if external and (a.type == ATTR_LOCAL_PREF or a.type == ATTR_ORIGINATOR_ID
                             or a.type == ATTR_CLUSTER_LIST or a.type == ATTR_AIGP):
                continue
            if program.kind == PROG_EBGP and a.type == ATTR_MED:
                continue
            if a.type == ATTR_AS_PATH:
                if transform & T_PREPEND and program.kind != PROG_EBGP:
                    if not program.prepend:
                        o = prepend(o, &a, source_asn, transform & T_PREPEND)
                        continue
                    prepend(self.path, &a, source_asn, transform & T_PREPEND)
                    attr_next(self.path, &a)
                if program.prepend:
                    o = prepend(o, &a, program.local_asn, 1)
                    continue
            if a.type == ATTR_NEXT_HOP and self_hop:
                if nh_len == 4:
                    o = put_head(o, AFLAG_TRANSITIVE, ATTR_NEXT_HOP, 4)
                    memcpy(o, nh, 4)
                    o += 4
                else:
                    classic = False
                continue
            if a.type == ATTR_COMMUNITIES or a.type == ATTR_EXT_COMMUNITIES or (
                    a.type == ATTR_LARGE_COMMUNITY):
                i = (KIND_STANDARD if a.type == ATTR_COMMUNITIES
                     else KIND_EXTENDED if a.type == ATTR_EXT_COMMUNITIES else KIND_LARGE)
                if scrub or more.len[i]:
                    o = self._communities(o, &a, i, scrub, &more)
                    if kind == i:
                        kind += 1
                    continue
            memcpy(o, head, p - head)
            o += p - head
        return self.rib.attrs.intern(self.buf, <uint32_t>(o - self.buf), nh, nh_len, classic)

    cdef void _add(self, uint32_t transform, uint32_t source_asn, uint32_t origin_asn,
                   additions_t *out) noexcept nogil:
        """Write down the communities that a transform adds."""
        cdef uint32_t i
        cdef uint32_t n = 0
        out.len[0] = out.len[1] = out.len[2] = 0
        if transform & T_INFORM:
            for i in range(N_KINDS):
                out.len[i] = self.rib.control.rules.additions(transform, i, source_asn, origin_asn,
                                                              out.value[i])
        n = out.len[KIND_STANDARD]
        for i in range(4):
            if transform & ADDED[i][0]:
                store32(out.value[KIND_STANDARD] + n, ADDED[i][1])
                n += 4
        out.len[KIND_STANDARD] = n

    cdef uint8_t *_communities(self, uint8_t *o, const attr_t *a, uint32_t kind, bint scrub,
                               const additions_t *more) noexcept nogil:
        """A community attribute, without the values that are ours (`scrub`) and with others behind
        that it has not got; nothing if none is left. `a` is NULL where there was none."""
        cdef uint32_t size = 4 * (kind + 1)
        cdef uint32_t n_kept = 0, n, i, j
        cdef uint32_t flags = AFLAG_OPTIONAL | AFLAG_TRANSITIVE
        # The value is written behind the longest header there is, and moved if it is not needed.
        cdef uint8_t *value = o + 4
        if a != NULL:
            flags = a.flags & <uint8_t>~AFLAG_EXT_LEN
            i = 0
            while i < a.len:
                if not scrub or self.rib.control.rules.find(kind, a.value + i) == NULL:
                    memcpy(value + n_kept, a.value + i, size)
                    n_kept += size
                i += size
        n = n_kept
        i = 0
        while i < more.len[kind]:
            j = 0
            while j < n and memcmp(value + j, &more.value[kind][i], size) != 0:
                j += size
            if j >= n:
                memcpy(value + n, &more.value[kind][i], size)
                n += size
            i += size
        if n == 0:
            return o
        if n <= 255:
            memmove(o + 3, value, n)
        return put_head(o, flags, COMMUNITY_TYPE[kind], n) + n

    def derived_form(self, Program program, uint32_t attrs_h, uint32_t source,
                     uint32_t transform=0):
        """Return the handle of the set sent instead of `attrs_h` of peer slot `source`."""
        self.rib.control.compile(attrs_h)
        return self.derive(program, attrs_h, source, transform)

    def stats(self):
        """Return the number of exported forms that differ from, or were checked for, their set."""
        return {"forms": self.derived.live}


cdef uint8_t *prepend(uint8_t *o, const attr_t *a, uint32_t asn, uint32_t times) noexcept nogil:
    """AS_PATH with `asn` in front and without confederation segments, wherever they stand.

    RFC 4271 5.1.2, RFC 5065 4.
    """
    cdef const uint8_t *v = a.value
    cdef const uint8_t *end = a.value + a.len
    cdef const uint8_t *first = NULL
    cdef uint32_t size, _i
    cdef uint32_t rest = 0
    cdef bint join
    while v < end:
        size = 2 + 4 * <uint32_t>v[1]
        if v[0] < SEG_CONFED_SEQUENCE:
            rest += size
            if first == NULL:
                first = v
        v += size
    join = first != NULL and first[0] == SEG_SEQUENCE and first[1] + times <= 255
    o = put_head(o, AFLAG_TRANSITIVE, ATTR_AS_PATH, rest + 4 * times + (0 if join else 2))
    o[0] = SEG_SEQUENCE
    o[1] = <uint8_t>(first[1] + times if join else times)
    o += 2
    for _i in range(times):
        store32(o, asn)
        o += 4
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
