"""A RIB file's routes: pairs of attribute block and NLRI by peer and family.

In: RIB entries. Out: routes in order of their blocks, ready to be packed into UPDATEs: 8 octets
each beside the NLRI and the blocks, which are shared. The Table owns all three; no Python object
per route.

A block keeps its attributes as they were recorded, so that a replay sends what the peer had sent,
faults included. Every distinct block is decoded once as the UPDATE it came in (RFC 6396 4.3.4), to
know whether a receiver may use its routes (RFC 7606); TABLE_DUMP's 2-octet AS numbers are widened
by the same way (RFC 6793).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.decode cimport decode_ctx_t, decode_update, update_t
from rs._fastpath.hashing cimport hash_bytes
from rs._fastpath.mrt cimport entry_t, rib_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    ATTR_AS_PATH,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    ATTR_ORIGIN,
    FAM_IPV4,
    FAM_IPV6,
)
from rs._fastpath.wire cimport load16, store16, store32

cimport cython

check_abi(__name__)


cdef enum:
    KEY_HEAD = 2                    # what stands before the next hop in a key: kind and its length
    KEY_LEN = KEY_HEAD + 255 + 65535
    BODY_LEN = 4 + 65535 + 300 + 17     # an UPDATE with one block, its MP_REACH and one prefix
    # From set_key where there is no block.
    NO_KEY = 0


cdef void *grown(void *base, uint64_t n) except NULL nogil:
    cdef void *p = realloc(base, n)
    if p == NULL:
        with gil:
            raise MemoryError
    return p


@cython.final
cdef class Table:
    """See mrttable.pyi."""

    def __cinit__(self, *, int64_t only=-1):
        self.attrs = AttrTable()
        self.only = only
        self.nlri_cap = 1 << 20
        self.nlri = <uint8_t *>malloc(self.nlri_cap)
        self.index_cap = 1 << 12
        self.index = <uint32_t *>calloc(self.index_cap, sizeof(uint32_t))
        self.blocks_cap = 1 << 10
        self.blocks = <block_t *>calloc(self.blocks_cap, sizeof(block_t))
        self.n_blocks = 1           # block 0 is "none"
        self.octets_cap = 1 << 20
        self.octets = <uint8_t *>malloc(self.octets_cap)
        self.key = <uint8_t *>malloc(KEY_LEN)
        self.body = <uint8_t *>malloc(BODY_LEN)
        if self.nlri == NULL or self.index == NULL or self.blocks == NULL \
                or self.octets == NULL or self.key == NULL or self.body == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.n_vectors):
            free(self.vectors[i].rows)
        free(self.vectors)
        free(self.nlri)
        free(self.index)
        free(self.blocks)
        free(self.octets)
        free(self.key)
        free(self.body)

    cdef int add(self, uint32_t peer, const rib_t *rib, const entry_t *e,
                 uint64_t *shared) except -1 nogil:
        """Add one RIB entry; `shared` is where the record's NLRI is, NOT_SHARED at its start."""
        cdef uint64_t at
        cdef uint32_t i, cap
        cdef int64_t block
        cdef rows_t *v
        if self.only >= 0 and peer != <uint64_t>self.only:
            return 0
        block = self.intern_block(rib, e.attrs, e.attrs_len)
        if block == 0:
            self.n_unusable += 1
            return 0
        if shared[0] == NOT_SHARED or rib.addpath:
            at = self.nlri_used
            if at + 32 > NOT_SHARED:
                with gil:
                    raise MemoryError("the file's prefixes take more than 4 GiB")
            if at + 32 > self.nlri_cap:
                self.nlri = <uint8_t *>grown(self.nlri, self.nlri_cap + (self.nlri_cap >> 1))
                self.nlri_cap += self.nlri_cap >> 1
            shared[0] = at
            if rib.addpath:
                store32(self.nlri + at, e.path_id)
                at += 4
            memcpy(self.nlri + at, rib.nlri, rib.nlri_len)
            self.nlri_used = at + rib.nlri_len
        i = peer * 4 + rib.addpath * 2 + rib.family
        if i >= self.n_vectors:
            cap = (peer + 8) * 4
            self.vectors = <rows_t *>grown(self.vectors, cap * sizeof(rows_t))
            memset(self.vectors + self.n_vectors, 0, (cap - self.n_vectors) * sizeof(rows_t))
            self.n_vectors = cap
        v = self.vectors + i
        if v.n == v.cap:
            cap = v.cap + (v.cap >> 1) + 64
            v.rows = <row_t *>grown(v.rows, <uint64_t>cap * sizeof(row_t))
            v.cap = cap
        v.rows[v.n].block = <uint32_t>block
        v.rows[v.n].nlri = <uint32_t>shared[0]
        v.n += 1
        v.sealed = False
        self.n_routes += 1
        if not self.blocks[block].valid:
            self.n_invalid += 1
        return 0

    # ---- blocks

    cdef uint32_t set_key(self, const rib_t *rib, const uint8_t *a, uint32_t n) noexcept nogil:
        """Write to `key` what tells a block apart and return its length, NO_KEY if it is none.

        That is a kind octet, the length of the next hop from MP_REACH_NLRI and the next hop, then
        the attributes as they stand without MP_REACH_NLRI, MP_UNREACH_NLRI and, where the next
        hop came that way, NEXT_HOP.
        """
        cdef const uint8_t *p = a
        cdef const uint8_t *end = a + n
        cdef const uint8_t *value
        cdef const uint8_t *nh = NULL   # its length octet first
        cdef const uint8_t *classic = NULL
        cdef uint8_t *out
        cdef uint32_t size, head
        cdef uint32_t seen = 0          # 1 ORIGIN, 2 AS_PATH
        while p < end:
            head = 4 if p[0] & AFLAG_EXT_LEN else 3
            if <uint64_t>(end - p) < head:
                return NO_KEY
            size = load16(p + 2) if head == 4 else p[2]
            if <uint64_t>(end - p) < head + size:
                return NO_KEY
            if p[1] == ATTR_ORIGIN:
                seen |= 1
            elif p[1] == ATTR_AS_PATH:
                seen |= 2
            elif p[1] == ATTR_NEXT_HOP:
                classic = p
            elif p[1] == ATTR_MP_REACH:
                value = p + head
                # RFC 6396 4.3.4: length and next hop alone. Many writers put the whole attribute,
                # which begins with the 0 of an AFI.
                if size >= 1 and value[0] and size == 1 + <uint32_t>value[0]:
                    nh = value
                elif size >= 5 and value[0] == 0 and size >= 4 + <uint32_t>value[3]:
                    nh = value + 3
                else:
                    return NO_KEY
            p += head + size
        if seen != 3:
            return NO_KEY
        if rib.family == FAM_IPV4 and classic != NULL:
            nh = NULL
        self.key[0] = rib.family * 2 + rib.as4
        self.key[1] = 0
        out = self.key + KEY_HEAD
        if nh != NULL:
            self.key[1] = nh[0]
            memcpy(out, nh + 1, nh[0])
            out += nh[0]
        p = a
        while p < end:
            size = 4 + load16(p + 2) if p[0] & AFLAG_EXT_LEN else 3 + <uint32_t>p[2]
            if p[1] != ATTR_MP_REACH and p[1] != ATTR_MP_UNREACH \
                    and not (p[1] == ATTR_NEXT_HOP and rib.family == FAM_IPV6):
                memcpy(out, p, size)
                out += size
            p += size
        return <uint32_t>(out - self.key)

    cdef int64_t intern_block(self, const rib_t *rib, const uint8_t *a, uint32_t n) except -1 nogil:
        """Return the number of an entry's block, 0 when its attributes are none.

        None are attributes that cannot be cut apart, or without ORIGIN or AS_PATH.
        """
        cdef uint32_t key_len = self.set_key(rib, a, n)
        cdef uint64_t hash = hash_bytes(0, self.key, key_len)
        cdef uint32_t mask = self.index_cap - 1
        cdef uint32_t i = <uint32_t>hash & mask
        cdef uint32_t k
        cdef block_t *b
        if key_len == NO_KEY:
            return 0
        while self.index[i]:
            b = self.blocks + self.index[i]
            if b.hash == <uint32_t>(hash >> 32) and b.key_len == key_len \
                    and memcmp(self.octets + b.at, self.key, key_len) == 0:
                return 0 if b.wire == NULL_BLOCK else self.index[i]
            i = (i + 1) & mask
        k = self.new_block(rib, key_len)
        self.blocks[k].hash = <uint32_t>(hash >> 32)
        self.index[i] = k
        if self.n_blocks * 2 > self.index_cap:
            self.grow_index()
        return 0 if self.blocks[k].wire == NULL_BLOCK else k

    cdef int grow_index(self) except -1 nogil:
        cdef uint32_t cap = self.index_cap * 4
        cdef uint32_t i, k
        cdef block_t *b
        cdef uint32_t *index = <uint32_t *>calloc(cap, sizeof(uint32_t))
        if index == NULL:
            with gil:
                raise MemoryError
        for k in range(1, self.n_blocks):
            b = self.blocks + k
            i = <uint32_t>hash_bytes(0, self.octets + b.at, b.key_len) & (cap - 1)
            while index[i]:
                i = (i + 1) & (cap - 1)
            index[i] = k
        free(self.index)
        self.index = index
        self.index_cap = cap
        return 0

    cdef uint64_t keep(self, const uint8_t *p, uint32_t n) except? 0 nogil:
        """Store octets for good; return where."""
        cdef uint64_t at = self.octets_used
        cdef uint64_t cap = self.octets_cap
        while at + n > cap:
            cap += cap >> 1
        if cap != self.octets_cap:
            self.octets = <uint8_t *>grown(self.octets, cap)
            self.octets_cap = cap
        memcpy(self.octets + at, p, n)
        self.octets_used += n
        return at

    cdef uint32_t new_block(self, const rib_t *rib, uint32_t key_len) except 0 nogil:
        """Add the block that `key` describes; its `wire` is NULL_BLOCK if no route can have it."""
        cdef block_t *b
        cdef uint32_t k = self.n_blocks
        cdef uint32_t h, head = KEY_HEAD + <uint32_t>self.key[1]
        cdef uint64_t at = self.keep(self.key, key_len)
        if k == self.blocks_cap:
            self.blocks = <block_t *>grown(self.blocks,
                                           <uint64_t>self.blocks_cap * 2 * sizeof(block_t))
            self.blocks_cap *= 2
        b = self.blocks + k
        memset(b, 0, sizeof(block_t))
        b.at = at
        b.key_len = key_len
        b.nh_len = self.key[1]
        b.wire = at + head
        b.wire_len = key_len - head
        h = self.decode_key(self.attrs, rib, key_len)
        b.valid = h != 0
        if not rib.as4:
            # What a session sends has 4-octet AS numbers; a block that does not decode has no
            # such form.
            b.wire = NULL_BLOCK
            if h:
                b.wire_len = self.attrs.at(h).wire_len
                b.wire = self.keep(self.attrs.wire(h), b.wire_len)
        if h:
            self.attrs.unref(h)
        self.n_blocks += 1
        return k

    cdef uint32_t decode_key(self, AttrTable attrs, const rib_t *rib,
                             uint32_t key_len) except? 0 nogil:
        """Intern the block that `key` describes in `attrs`; return a new reference, 0 if invalid.

        The attributes go through decoding as the UPDATE that they once came in, with the record's
        prefix as its only NLRI.
        """
        cdef decode_ctx_t ctx
        cdef update_t u
        cdef uint32_t nh_len = self.key[1]
        cdef const uint8_t *nh = self.key + KEY_HEAD
        cdef uint32_t size = key_len - KEY_HEAD - nh_len
        cdef uint8_t *out = self.body + 4
        cdef bint classic = nh_len == 0
        memcpy(out, nh + nh_len, size)
        out += size
        if rib.family == FAM_IPV4 and nh_len == 4:
            classic = True      # some writers have MP_REACH_NLRI for everything
            out[0] = AFLAG_TRANSITIVE
            out[1] = ATTR_NEXT_HOP
            out[2] = 4
            memcpy(out + 3, nh, 4)
            out += 7
        elif nh_len:
            out[0] = AFLAG_OPTIONAL | AFLAG_EXT_LEN
            out[1] = ATTR_MP_REACH
            store16(out + 2, 5 + nh_len + rib.nlri_len)
            store16(out + 4, 1 if rib.family == FAM_IPV4 else 2)
            out[6] = 1
            out[7] = <uint8_t>nh_len
            memcpy(out + 8, nh, nh_len)
            out[8 + nh_len] = 0
            memcpy(out + 9 + nh_len, rib.nlri, rib.nlri_len)
            out += 9 + nh_len + rib.nlri_len
        elif rib.family == FAM_IPV6:
            return 0            # no next hop at all
        size = <uint32_t>(out - self.body) - 4
        if size > 65535:
            return 0
        store16(self.body, 0)
        store16(self.body + 2, size)
        if classic:
            memcpy(out, rib.nlri, rib.nlri_len)
            out += rib.nlri_len
        memset(&ctx, 0, sizeof(ctx))
        ctx.as4 = rib.as4
        ctx.ibgp = 1            # what was recorded is kept, LOCAL_PREF too
        ctx.families = (1 << FAM_IPV4) | (1 << FAM_IPV6)
        ctx.ext_next_hop = 1
        decode_update(attrs, &ctx, self.body, <uint32_t>(out - self.body), &u)
        if u.attrs_h and u.mp_attrs_h:      # not from what was put together above
            attrs.unref(u.mp_attrs_h)
        return u.attrs_h if u.attrs_h else u.mp_attrs_h

    # ---- results

    cdef rows_t *sealed(self, uint32_t peer, uint32_t family, uint32_t addpath) except? NULL:
        """Return the routes of a peer and family in order of their blocks; NULL if none."""
        cdef uint32_t i = peer * 4 + addpath * 2 + family
        cdef uint32_t k, h, total, count
        cdef rows_t *v
        cdef row_t *ordered
        cdef uint32_t *place
        if i >= self.n_vectors or self.vectors[i].n == 0:
            return NULL
        v = self.vectors + i
        if v.sealed:
            return v
        # A stable counting sort; blocks rank by their first row, so the second pass over the rows
        # hands out a run to each block as it meets it.
        ordered = <row_t *>malloc(<uint64_t>v.n * sizeof(row_t))
        place = <uint32_t *>calloc(self.n_blocks, 2 * sizeof(uint32_t))
        if ordered == NULL or place == NULL:
            free(ordered)
            free(place)
            raise MemoryError
        for k in range(v.n):
            place[2 * v.rows[k].block] += 1
        total = 0
        v.n_blocks = 0
        for k in range(v.n):
            h = v.rows[k].block
            count = place[2 * h]
            if count:               # the block's first row
                place[2 * h] = 0
                place[2 * h + 1] = total
                total += count
                v.n_blocks += 1
            ordered[place[2 * h + 1]] = v.rows[k]
            place[2 * h + 1] += 1
        free(place)
        free(v.rows)
        v.rows = ordered
        v.cap = v.n
        v.sealed = True
        return v

    def count(self, uint32_t peer, int family) -> tuple:
        """See mrttable.pyi."""
        cdef rows_t *v
        cdef uint32_t addpath, n = 0, blocks = 0
        if family not in (FAM_IPV4, FAM_IPV6):
            raise ValueError(f"no such family: {family}")
        for addpath in range(2):
            v = self.sealed(peer, family, addpath)
            if v != NULL:
                n += v.n
                blocks += v.n_blocks
        return n, blocks

    def has_path_ids(self, uint32_t peer, int family) -> bool:
        """See mrttable.pyi."""
        cdef uint32_t i = peer * 4 + 2 + <uint32_t>family
        return i < self.n_vectors and self.vectors[i].n > 0

    def describe_block(self, int family, bytes nlri, bint as4, bytes block) -> object:
        """See mrttable.pyi."""
        cdef rib_t rib
        cdef uint32_t key_len, h
        if family not in (FAM_IPV4, FAM_IPV6):
            raise ValueError(f"no such family: {family}")
        if not 1 <= PyBytes_GET_SIZE(nlri) <= 17:
            raise ValueError("nlri is a length octet and a prefix")
        if PyBytes_GET_SIZE(block) > 65535:
            raise ValueError("an attribute block has at most 65,535 octets")
        memset(&rib, 0, sizeof(rib))
        rib.family = family
        rib.as4 = as4
        rib.nlri_len = <uint8_t>PyBytes_GET_SIZE(nlri)
        memcpy(rib.nlri, PyBytes_AS_STRING(nlri), rib.nlri_len)
        key_len = self.set_key(&rib, <const uint8_t *>PyBytes_AS_STRING(block),
                               <uint32_t>PyBytes_GET_SIZE(block))
        h = self.decode_key(self.attrs, &rib, key_len) if key_len != NO_KEY else 0
        if not h:
            return None
        described = self.attrs.describe(h)
        self.attrs.unref(h)
        return described
