"""The attribute table: every attribute set in use, once.

In: raw attribute blocks to look up, canonical blocks to intern (see attrset_t in types.pxd),
attribute dicts from tests and locally originated routes. Out: handles with one reference each,
and attribute dicts again. The table owns sets, wire bytes and next hops; whoever keeps a handle
holds a reference to it.

A set's identity is its canonical bytes, its next hop and whether that next hop stands in the
bytes (RFC 4271 5.1.3) or came beside them in MP_REACH_NLRI (RFC 4760 3). Peers mostly send the
canonical form already, so the raw bytes of an UPDATE find the set without being parsed.

What import makes of a set as received is a set of its own, and the set it was made of is part of
its identity: a path shows what its peer sent, and is judged again from that, with no memory of its
own. A changed set keeps the received one alive.
"""

from os import urandom

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.arena cimport (
    blob_alloc,
    blob_at,
    blob_free_all,
    blob_init,
    blob_release,
    slab_alloc,
    slab_at,
    slab_free_all,
    slab_init,
    slab_release,
)
from rs._fastpath.attrdict cimport describe_attr, encode_attrs
from rs._fastpath.hashing cimport hash_bytes
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport addr_text
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_HAS_AIGP,
    AS_HAS_AS_SET,
    AS_HAS_CLUSTER_LIST,
    AS_HAS_COMMUNITIES,
    AS_HAS_CONFED,
    AS_HAS_LOCAL_PREF,
    AS_HAS_MED,
    AS_HAS_NEXT_HOP,
    AS_HAS_ORIGINATOR,
    AS_HAS_OTC,
    AS_HAS_UNKNOWN,
    ATTR_AGGREGATOR,
    ATTR_AIGP,
    ATTR_AS_PATH,
    ATTR_ATOMIC_AGGREGATE,
    ATTR_CLUSTER_LIST,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_NEXT_HOP,
    ATTR_ORIGIN,
    ATTR_ORIGINATOR_ID,
    ATTR_OTC,
    SEG_CONFED_SET,
    SEG_SEQUENCE,
    SEG_SET,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport load32, put_head, store32

check_abi(__name__)


cdef enum:
    MIN_INDEX = 64          # slots of an empty index
    EAGER_INDEX = 16384     # slots below which it doubles in one go: half a millisecond
    MOVE_STEP = 16          # sets taken to a larger index with each new set
    JOIN_LEN = 4096         # longest block with MP_REACH in the middle that lookup tries
    MAX_BLOCK = 65535       # octets of a canonical block: attrset_t.wire_len
    UNREACHABLE = 0xFFFFFFFF

cdef inline uint32_t hash_set(uint64_t seed, const uint8_t *wire, uint32_t n, const uint8_t *nh,
                              uint32_t nh_len, bint classic, uint32_t raw_h) noexcept nogil:
    cdef uint64_t h = hash_bytes(seed + raw_h, wire, n)
    if not classic:
        h = hash_bytes(h, nh, nh_len)
    return <uint32_t>(h ^ (h >> 32))


cdef uint32_t find(AttrTable t, uint32_t hash, const uint8_t *wire, uint32_t n, const uint8_t *nh,
                   uint32_t nh_len, bint classic, uint32_t raw_h) noexcept nogil:
    """Return the set that equals the arguments, or 0."""
    cdef uint32_t mask = t.index_cap - 1
    cdef uint32_t i = hash & mask
    cdef uint64_t e
    cdef attrset_t *s
    while True:
        e = t.index[i]
        if e == 0:
            return 0
        if <uint32_t>(e >> 32) == hash:
            s = t.at(<uint32_t>e)
            if (s.wire_len == n and s.raw_h == raw_h
                    and ((s.flags & AS_HAS_NEXT_HOP) != 0) == classic
                    and memcmp(blob_at(&t.blob, s.blob_h), wire, n) == 0
                    and (classic or (s.nh_len == nh_len and memcmp(
                        (<nexthop_t *>slab_at(&t.hops, s.nh_h)).addr, nh, nh_len) == 0))):
                return <uint32_t>e
        i = (i + 1) & mask


cdef void index_put(uint64_t *index, uint32_t cap, uint64_t entry) noexcept nogil:
    cdef uint32_t i = <uint32_t>(entry >> 32) & (cap - 1)
    while index[i]:
        i = (i + 1) & (cap - 1)
    index[i] = entry


cdef int index_grow(AttrTable t) except -1 nogil:
    """Double the index of sets."""
    cdef uint32_t cap = t.index_cap * 2
    cdef uint32_t i
    cdef uint64_t *index = <uint64_t *>calloc(cap, sizeof(uint64_t))
    if index == NULL:
        with gil:
            raise MemoryError
    for i in range(t.index_cap):
        if t.index[i]:
            index_put(index, cap, t.index[i])
    free(t.index)
    t.index = index
    t.index_cap = cap
    return 0


cdef int index_prepare(AttrTable t) except -1 nogil:
    """Have room for one more set in the index.

    A small one doubles in one go. With a million sets that takes 20 ms, so a large one gets its
    successor when it is half full, and each new set takes some others there, in the order of
    handles. A set whose turn is over is entered into both and removed from both; lookups know of
    one index only.
    """
    cdef uint32_t h, end
    cdef bint full = (t.index_used + 1) * <uint64_t>10 > t.index_cap * <uint64_t>7
    if t.next_index == NULL:
        if t.index_cap < EAGER_INDEX:
            return index_grow(t) if full else 0
        if t.index_used <= t.index_cap >> 1:
            return 0
        t.next_index = <uint64_t *>calloc(<size_t>t.index_cap * 2, sizeof(uint64_t))
        if t.next_index == NULL:
            with gil:
                raise MemoryError
        t.moved = 1
    end = t.sets.top
    if not full and end - t.moved > MOVE_STEP:
        end = t.moved + MOVE_STEP
    for h in range(t.moved, end):
        if t.at(h).refs:
            index_put(t.next_index, t.index_cap * 2, (<uint64_t>t.at(h).hash << 32) | h)
    t.moved = end
    if end == t.sets.top:
        free(t.index)
        t.index = t.next_index
        t.index_cap *= 2
        t.next_index = NULL
    return 0


cdef void index_remove(uint64_t *index, uint32_t cap, uint32_t hash, uint32_t h) noexcept nogil:
    """Drop the entry of set `h`; later entries of the run move up, so no tombstones are needed."""
    cdef uint32_t mask = cap - 1
    cdef uint32_t i = hash & mask
    cdef uint32_t j
    cdef uint32_t home
    while <uint32_t>index[i] != h:
        if index[i] == 0:
            return
        i = (i + 1) & mask
    j = i
    while True:
        j = (j + 1) & mask
        if index[j] == 0:
            break
        home = <uint32_t>(index[j] >> 32) & mask
        if ((j - home) & mask) >= ((j - i) & mask):
            index[i] = index[j]
            i = j
    index[i] = 0


cdef inline nexthop_t *hop_at(AttrTable t, uint32_t h) noexcept nogil:
    return <nexthop_t *>slab_at(&t.hops, h)


cdef inline uint32_t hop_home(AttrTable t, const uint8_t *nh, uint32_t n) noexcept nogil:
    cdef uint64_t h = hash_bytes(t.seed, nh, n)
    return <uint32_t>(h ^ (h >> 32)) & (t.hop_cap - 1)


cdef int hop_grow(AttrTable t) except -1 nogil:
    """Double the index of next hops."""
    cdef uint32_t *old = t.hop_index
    cdef uint32_t old_cap = t.hop_cap
    cdef uint32_t i
    cdef uint32_t j
    cdef uint32_t *index = <uint32_t *>calloc(old_cap * 2, sizeof(uint32_t))
    if index == NULL:
        with gil:
            raise MemoryError
    t.hop_index = index
    t.hop_cap = old_cap * 2
    for i in range(old_cap):
        if old[i]:
            j = hop_home(t, hop_at(t, old[i]).addr, hop_at(t, old[i]).len)
            while index[j]:
                j = (j + 1) & (t.hop_cap - 1)
            index[j] = old[i]
    free(old)
    return 0


cdef uint32_t ask_metric(object metric_of, const uint8_t *addr, uint32_t n) except? 0xFFFFFFFE:
    """Return what `metric_of` says about a next hop's global address; None means unreachable."""
    if metric_of is None:
        return 0
    metric = metric_of(addr_text(addr, 4 if n == 4 else 16))
    if metric is None:
        return UNREACHABLE
    return <uint32_t>metric


cdef uint32_t hop_intern(AttrTable t, const uint8_t *nh, uint32_t n) except 0 nogil:
    """Return a new reference to the next hop of `n` octets."""
    cdef uint32_t i = hop_home(t, nh, n)
    cdef uint32_t h
    cdef uint32_t metric = 0
    cdef nexthop_t *hop
    while t.hop_index[i]:
        hop = hop_at(t, t.hop_index[i])
        if hop.len == n and memcmp(hop.addr, nh, n) == 0:
            hop.refs += 1
            return t.hop_index[i]
        i = (i + 1) & (t.hop_cap - 1)
    if t.metric_of is not None:
        with gil:
            metric = ask_metric(t.metric_of, nh, n)
    if (t.hops.live + 1) * 10 > t.hop_cap * 7:
        hop_grow(t)
    h = slab_alloc(&t.hops)
    hop = hop_at(t, h)
    memset(hop, 0, sizeof(nexthop_t))
    memcpy(hop.addr, nh, n)
    hop.len = <uint8_t>n
    hop.refs = 1
    hop.metric = metric
    i = hop_home(t, nh, n)
    while t.hop_index[i]:
        i = (i + 1) & (t.hop_cap - 1)
    t.hop_index[i] = h
    return h


cdef void hop_unref(AttrTable t, uint32_t h) noexcept nogil:
    cdef nexthop_t *hop = hop_at(t, h)
    cdef uint32_t mask = t.hop_cap - 1
    cdef uint32_t i
    cdef uint32_t j
    cdef uint32_t home
    hop.refs -= 1
    if hop.refs:
        return
    i = hop_home(t, hop.addr, hop.len)
    while t.hop_index[i] != h:
        i = (i + 1) & mask
    j = i
    while True:
        j = (j + 1) & mask
        if t.hop_index[j] == 0:
            break
        home = hop_home(t, hop_at(t, t.hop_index[j]).addr, hop_at(t, t.hop_index[j]).len)
        if ((j - home) & mask) >= ((j - i) & mask):
            t.hop_index[i] = t.hop_index[j]
            i = j
    t.hop_index[i] = 0
    slab_release(&t.hops, h)


cdef void read_path(attrset_t *s, const uint8_t *p, uint32_t n) noexcept nogil:
    """Fill the AS_PATH part of a summary; confederation segments count nothing (RFC 5065 5.3)."""
    cdef const uint8_t *end = p + n
    cdef uint32_t length = 0
    cdef bint leading = True
    while p < end:
        s.origin_as = 0
        if p[0] == SEG_SEQUENCE:
            if leading:
                s.first_as = load32(p + 2)
            s.origin_as = load32(p + 2 + 4 * (p[1] - 1))
            length += p[1]
            leading = False
        elif p[0] == SEG_SET:
            s.flags |= AS_HAS_AS_SET
            length += 1
            leading = False
        else:
            s.flags |= AS_HAS_CONFED
            if p[0] == SEG_CONFED_SET:
                s.flags |= AS_HAS_AS_SET
        p += 2 + 4 * <uint32_t>p[1]
    s.path_len = <uint16_t>length


cdef const uint8_t *summarize(attrset_t *s, const uint8_t *wire, uint32_t n) noexcept nogil:
    """Fill what decisions ask for from a canonical block; return its NEXT_HOP value or NULL."""
    cdef const uint8_t *end = wire + n
    cdef const uint8_t *nh = NULL
    cdef attr_t a
    memset(s, 0, sizeof(attrset_t))
    s.wire_len = <uint16_t>n
    s.local_pref = 100
    while wire < end:
        wire += attr_next(wire, &a)
        if a.type == ATTR_ORIGIN:
            s.origin = a.value[0]
        elif a.type == ATTR_AS_PATH:
            read_path(s, a.value, a.len)
        elif a.type == ATTR_NEXT_HOP:
            nh = a.value
            s.flags |= AS_HAS_NEXT_HOP
        elif a.type == ATTR_MED:
            s.med = load32(a.value)
            s.flags |= AS_HAS_MED
        elif a.type == ATTR_LOCAL_PREF:
            s.local_pref = load32(a.value)
            s.flags |= AS_HAS_LOCAL_PREF
        elif a.type == ATTR_ATOMIC_AGGREGATE or a.type == ATTR_AGGREGATOR:
            pass
        elif (a.type == ATTR_COMMUNITIES or a.type == ATTR_EXT_COMMUNITIES
                or a.type == ATTR_LARGE_COMMUNITY):
            s.flags |= AS_HAS_COMMUNITIES
        elif a.type == ATTR_ORIGINATOR_ID:
            s.originator = load32(a.value)
            s.flags |= AS_HAS_ORIGINATOR
        elif a.type == ATTR_CLUSTER_LIST:
            s.cluster_len = a.len >> 2
            s.flags |= AS_HAS_CLUSTER_LIST
        elif a.type == ATTR_AIGP:
            s.flags |= AS_HAS_AIGP
        elif a.type == ATTR_OTC:
            s.flags |= AS_HAS_OTC
        else:
            s.flags |= AS_HAS_UNKNOWN
    return nh


cdef uint32_t add_set(AttrTable t, uint32_t hash, const uint8_t *wire, uint32_t n,
                      const uint8_t *nh, uint32_t nh_len, bint classic,
                      uint32_t raw_h) except 0 nogil:
    """Store a set that is not there yet; nothing stays behind when memory runs out."""
    cdef attrset_t new
    cdef uint32_t h
    cdef const uint8_t *own = summarize(&new, wire, n)
    cdef bint done = False
    if (own != NULL) != classic or not (classic or nh_len == 4 or nh_len == 16 or nh_len == 32):
        with gil:
            raise ValueError("an attribute set needs its next hop in exactly one place")
    if classic:
        nh = own
        nh_len = 4
    index_prepare(t)
    new.hash = hash
    new.refs = 1
    new.nh_len = <uint8_t>nh_len
    new.nh_h = hop_intern(t, nh, nh_len)
    try:
        new.blob_h = blob_alloc(&t.blob, n)
        memcpy(blob_at(&t.blob, new.blob_h), wire, n)
        h = slab_alloc(&t.sets)
        done = True
    finally:
        if not done:
            if new.blob_h:
                blob_release(&t.blob, new.blob_h, n)
            hop_unref(t, new.nh_h)
    new.raw_h = raw_h
    t.at(h)[0] = new
    if raw_h:
        t.ref(raw_h)
    index_put(t.index, t.index_cap, (<uint64_t>hash << 32) | h)
    if t.next_index != NULL and h < t.moved:
        index_put(t.next_index, t.index_cap * 2, (<uint64_t>hash << 32) | h)
    t.index_used += 1
    return h


@cython.final
cdef class AttrTable:
    """Every attribute set in use, each once.

    `metric_of` maps a next hop in text to its IGP metric, None for unreachable; without it every
    next hop is reachable at metric 0. `seed` makes the hash repeatable, for tests only.
    """

    def __cinit__(self, metric_of=None, *, seed=None):
        slab_init(&self.sets, sizeof(attrset_t), 1024)
        blob_init(&self.blob, 65536)
        slab_init(&self.hops, sizeof(nexthop_t), 64)
        self.index_cap = MIN_INDEX
        self.hop_cap = MIN_INDEX
        self.index = <uint64_t *>calloc(MIN_INDEX, sizeof(uint64_t))
        self.hop_index = <uint32_t *>calloc(MIN_INDEX, sizeof(uint32_t))
        if self.index == NULL or self.hop_index == NULL:
            raise MemoryError
        self.seed = int.from_bytes(urandom(8), "little") if seed is None else seed
        self.metric_of = metric_of

    def __dealloc__(self):
        slab_free_all(&self.sets)
        blob_free_all(&self.blob)
        slab_free_all(&self.hops)
        free(self.index)
        free(self.next_index)
        free(self.hop_index)

    cdef uint32_t lookup(self, const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len,
                         const uint8_t *nh, uint32_t nh_len, bint classic) noexcept nogil:
        """Return a new reference to the set whose canonical bytes are `a` + `b`, or 0."""
        cdef uint8_t joined[JOIN_LEN]
        cdef uint32_t h
        cdef uint32_t hash
        if a_len == 0:
            a = b
            a_len = b_len
        elif b_len:
            if a_len + b_len > JOIN_LEN:
                return 0
            memcpy(joined, a, a_len)
            memcpy(joined + a_len, b, b_len)
            a = joined
            a_len += b_len
        hash = hash_set(self.seed, a, a_len, nh, nh_len, classic, 0)
        h = find(self, hash, a, a_len, nh, nh_len, classic, 0)
        if h:
            self.at(h).refs += 1
            self.hits += 1
        return h

    cdef uint32_t intern(self, const uint8_t *wire, uint32_t n, const uint8_t *nh, uint32_t nh_len,
                         bint classic) except 0 nogil:
        """Return a new reference to the set of a canonical block; `wire` is not in this table."""
        return self.intern_changed(0, wire, n, nh, nh_len, classic)

    cdef uint32_t intern_changed(self, uint32_t raw_h, const uint8_t *wire, uint32_t n,
                                 const uint8_t *nh, uint32_t nh_len, bint classic) except 0 nogil:
        """As intern(); the set is what import makes of `raw_h`, which is one as received."""
        cdef uint32_t hash
        cdef uint32_t h
        if n == 0 or n > MAX_BLOCK:
            with gil:
                raise ValueError(f"an attribute block has 1 to {MAX_BLOCK} octets, not {n}")
        hash = hash_set(self.seed, wire, n, nh, nh_len, classic, raw_h)
        self.misses += 1
        h = find(self, hash, wire, n, nh, nh_len, classic, raw_h)
        if h:
            self.at(h).refs += 1
            return h
        return add_set(self, hash, wire, n, nh, nh_len, classic, raw_h)

    cdef uint32_t with_community(self, uint32_t h, uint32_t value) except 0:
        """Return a new reference to set `h`, one as received, with one more community.

        It stays without where the set would become longer than a message.
        """
        cdef attrset_t *s = self.at(h)
        cdef nexthop_t *hop = self.hop(h)
        cdef const uint8_t *p = self.wire(h)
        cdef const uint8_t *end = p + s.wire_len
        cdef const uint8_t *head
        cdef bint classic = (s.flags & AS_HAS_NEXT_HOP) != 0
        cdef bint done = False
        cdef uint8_t nh[32]
        cdef uint32_t nh_len = hop.len
        cdef uint8_t *buf
        cdef uint8_t *o
        cdef attr_t a
        if s.wire_len > 65535 - 8:
            self.ref(h)
            return h
        memcpy(nh, hop.addr, 32)
        buf = <uint8_t *>malloc(s.wire_len + 8)
        if buf == NULL:
            raise MemoryError
        o = buf
        while p < end or not done:
            head = p
            a.type = 255
            a.len = 0
            if p < end:
                p += attr_next(p, &a)
            if not done and a.type >= ATTR_COMMUNITIES:
                done = True
                if a.type != ATTR_COMMUNITIES:
                    p = head
                    a.len = 0
                    a.flags = AFLAG_OPTIONAL | AFLAG_TRANSITIVE
                o = put_head(o, a.flags, ATTR_COMMUNITIES, a.len + 4)
                if a.len:
                    memcpy(o, a.value, a.len)
                store32(o + a.len, value)
                o += a.len + 4
                continue
            memcpy(o, head, p - head)
            o += p - head
        try:
            return self.intern(buf, <uint32_t>(o - buf), nh, nh_len, classic)
        finally:
            free(buf)

    cdef void release(self, uint32_t h) noexcept nogil:
        """Free set `h`, which nobody refers to any more."""
        cdef attrset_t *s
        cdef uint32_t raw_h
        if self.on_release != NULL:
            self.on_release(self.release_ctx, h)
        s = self.at(h)
        raw_h = s.raw_h
        index_remove(self.index, self.index_cap, s.hash, h)
        if self.next_index != NULL and h < self.moved:
            index_remove(self.next_index, self.index_cap * 2, s.hash, h)
        self.index_used -= 1
        blob_release(&self.blob, s.blob_h, s.wire_len)
        hop_unref(self, s.nh_h)
        slab_release(&self.sets, h)
        if raw_h:
            self.unref(raw_h)

    cdef attrset_t *known(self, uint32_t h) except NULL:
        """Return the set of a handle that came from Python; KeyError when it is not in use."""
        if h == 0 or h >= self.sets.top or self.at(h).refs == 0:
            raise KeyError(f"no attribute set has handle {h}")
        return self.at(h)

    def describe(self, uint32_t h):
        cdef attrset_t *s = self.known(h)
        cdef const uint8_t *p = blob_at(&self.blob, s.blob_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef nexthop_t *hop = hop_at(self, s.nh_h)
        cdef attr_t a
        cdef dict out = {}
        cdef list unknown = []
        while p < end:
            p += attr_next(p, &a)
            if not describe_attr(out, a.type, a.value, a.len):
                unknown.append((a.flags & ~AFLAG_EXT_LEN, a.type, a.value[:a.len]))
        out["next_hop"] = addr_text(hop.addr, 4 if hop.len == 4 else 16)
        if hop.len == 32:
            out["link_local"] = addr_text(hop.addr + 16, 16)
        if unknown:
            out["unknown"] = tuple(unknown)
        return out

    def wire_bytes(self, uint32_t h):
        cdef attrset_t *s = self.known(h)
        return blob_at(&self.blob, s.blob_h)[:s.wire_len]

    def refs(self, uint32_t h):
        return self.known(h).refs

    def summary(self, uint32_t h):
        cdef attrset_t s = self.known(h)[0]
        return {
            "first_as": s.first_as, "origin_as": s.origin_as, "path_len": s.path_len,
            "med": s.med, "local_pref": s.local_pref, "originator": s.originator,
            "cluster_len": s.cluster_len, "origin": s.origin, "nh_len": s.nh_len,
            "flags": s.flags, "metric": hop_at(self, s.nh_h).metric,
        }

    def drop(self, uint32_t h):
        self.known(h)
        self.unref(h)

    def raw_of(self, uint32_t h):
        self.known(h)
        return self.raw(h)

    def intern_attrs(self, dict attrs, uint32_t family, uint32_t raw=0):
        cdef bytes wire
        cdef bytes nh
        if raw and self.known(raw).raw_h:
            raise ValueError(f"set {raw} is not one as received")
        wire, nh = encode_attrs(attrs, family)
        return self.intern_changed(raw, wire, <uint32_t>len(wire), nh, <uint32_t>len(nh),
                                   len(nh) == 4)

    def stats(self):
        cdef uint32_t i
        cdef uint64_t hop_refs = 0
        cdef uint32_t unreachable = 0
        for i in range(1, self.hops.top):
            hop_refs += hop_at(self, i).refs
            if hop_at(self, i).refs and hop_at(self, i).metric == UNREACHABLE:
                unreachable += 1
        return {
            "sets": self.sets.live,
            "bytes": (<uint64_t>self.sets.top * self.sets.item + self.blob.top * 8
                      + <uint64_t>self.hops.top * self.hops.item
                      + (<uint64_t>self.index_cap * sizeof(uint64_t)
                         * (1 if self.next_index == NULL else 3))
                      + <uint64_t>self.hop_cap * sizeof(uint32_t)),
            "wire_bytes": self.blob.live * 8,
            "hits": self.hits,
            "misses": self.misses,
            "next_hops": self.hops.live,
            "next_hop_refs": hop_refs,
            "next_hops_unreachable": unreachable,
        }

    def nexthops(self):
        cdef uint32_t i
        cdef nexthop_t *hop
        cdef list out = []
        for i in range(1, self.hops.top):
            hop = hop_at(self, i)
            if hop.refs:
                out.append((addr_text(hop.addr, 4 if hop.len == 4 else 16), hop.metric, hop.refs))
        return out

    def hops_from(self, uint32_t pos, uint32_t n):
        cdef uint32_t i
        cdef uint32_t end = self.hops.top if n >= self.hops.top - pos else pos + n
        cdef nexthop_t *hop
        cdef list out = []
        for i in range(pos, end):
            hop = hop_at(self, i)
            if hop.refs:
                out.append((i, addr_text(hop.addr, 4 if hop.len == 4 else 16), hop.metric,
                            hop.refs))
        return (end if end < self.hops.top else 0), out

    def use_metrics(self, metric_of):
        self.metric_of = metric_of

    def resolve_step(self, uint32_t pos, uint32_t n):
        cdef uint32_t i
        cdef uint32_t metric
        cdef uint32_t end = self.hops.top if n >= self.hops.top - pos else pos + n
        cdef nexthop_t *hop
        cdef list changed = []
        for i in range(pos, end):
            hop = hop_at(self, i)
            if hop.refs:
                metric = ask_metric(self.metric_of, hop.addr, hop.len)
                if metric != hop.metric:
                    hop.metric = metric
                    changed.append(i)
        return (end if end < self.hops.top else 0), changed

    def set_metrics(self, metric_of):
        cdef uint32_t i
        cdef uint32_t metric
        cdef uint32_t changed = 0
        for i in range(1, self.hops.top):
            if hop_at(self, i).refs:
                metric = ask_metric(metric_of, hop_at(self, i).addr, hop_at(self, i).len)
                if metric != hop_at(self, i).metric:
                    hop_at(self, i).metric = metric
                    changed += 1
        self.metric_of = metric_of
        return changed
