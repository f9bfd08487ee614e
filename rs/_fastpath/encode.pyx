"""UPDATE messages: an attribute set and its prefixes, packed to the negotiated size.

In: attribute handle, prefix handles, member set. Out: whole messages in a log. The attribute bytes
are those kept by attrs, one memcpy; IPv4 prefixes with an IPv4 next hop go as classic NLRI, all
others in MP_REACH_NLRI, which stands first (RFC 4760 3, RFC 7606 5.1). For speakers with 2-octet
AS numbers AS_PATH and AGGREGATOR are converted once per attribute set (RFC 6793 4.2.2).
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.log cimport Log
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.trie cimport Trie
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_HAS_NEXT_HOP,
    AS_TRANS,
    ATTR_AGGREGATOR,
    ATTR_AS4_AGGREGATOR,
    ATTR_AS4_PATH,
    ATTR_AS_PATH,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    FAM_IPV4,
    HEADER_LEN,
    MSG_UPDATE,
    SEG_CONFED_SEQUENCE,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport load32, plen_bytes, put_head, store16, store32

check_abi(__name__)

cdef enum:
    SCRATCH_LEN = 2 * 65536


cdef inline uint32_t put_nlri(uint8_t *o, Trie trie, uint32_t h, bint addpath,
                              uint32_t path_id) noexcept nogil:
    cdef uint32_t plen = trie.plen(h)
    cdef uint32_t n = plen_bytes(plen)
    if addpath:
        store32(o, path_id)
        o += 4
    o[0] = <uint8_t>plen
    memcpy(o + 1, trie.addr(h), n)
    return 5 + n if addpath else 1 + n


cdef inline uint32_t nlri_len(Trie trie, uint32_t h, bint addpath) noexcept nogil:
    return (5 if addpath else 1) + plen_bytes(trie.plen(h))


cdef inline void put_header(uint8_t *o, uint32_t n) noexcept nogil:
    memset(o, 0xFF, 16)
    store16(o + 16, n)
    o[18] = MSG_UPDATE


@cython.final
cdef class Encoder:
    def __cinit__(self, AttrTable attrs, Trie trie, uint32_t family, bint as4=True,
                  uint32_t max_len=4096, bint ext_next_hop=False, bint addpath=False):
        self.attrs = attrs
        self.trie = trie
        self.e.family = family
        self.e.as4 = as4
        self.e.max_len = max_len
        self.e.ext_next_hop = ext_next_hop
        self.e.addpath = addpath
        if not as4:
            self.scratch = <uint8_t *>malloc(SCRATCH_LEN)
            if self.scratch == NULL:
                raise MemoryError

    def __dealloc__(self):
        free(self.scratch)

    cdef uint32_t refuses(self, uint32_t attrs_h, uint32_t h) noexcept nogil:
        """Why no message of these peers can announce a prefix with these attributes; 0 if one can.

        Only attributes above LONG_ATTRS, or of an IPv4 prefix without NEXT_HOP, need be asked for.
        """
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef nexthop_t *hop = self.attrs.hop(attrs_h)
        cdef bint classic = self.e.family == FAM_IPV4 and s.flags & AS_HAS_NEXT_HOP
        cdef uint32_t n = s.wire_len
        if (self.e.family == FAM_IPV4 and not classic and not self.e.ext_next_hop
                and hop.len != 4):
            return NO_NEXT_HOP_FORM
        if not self.e.as4:
            n = two_octet(self.attrs.wire(attrs_h), n, self.scratch)
        n += HEADER_LEN + 4 + nlri_len(self.trie, h, self.e.addpath)
        if not classic:
            n += 3 + 5 + hop.len
        return NO_ROOM if n > self.e.max_len else FITS

    cdef int announce(self, Log log, uint32_t attrs_h, uint32_t set_h, const uint32_t *prefixes,
                      const uint32_t *ids, uint32_t n) except -1:
        """Log announcements of `n` prefixes with one attribute set.

        Where the attributes leave no room for a prefix in a message of this size, or need a next
        hop form that these peers do not know, the prefixes are withdrawn instead (RFC 8654 4).
        """
        cdef Trie trie = self.trie
        cdef attrset_t *s = self.attrs.at(attrs_h)
        cdef const uint8_t *attrs = self.attrs.wire(attrs_h)
        cdef uint32_t attrs_len = s.wire_len
        cdef nexthop_t *hop = self.attrs.hop(attrs_h)
        cdef bint classic = self.e.family == FAM_IPV4 and s.flags & AS_HAS_NEXT_HOP
        cdef uint32_t i = 0, fixed, room, need, head
        cdef bint tight
        cdef uint8_t *m
        cdef uint8_t *o
        cdef uint8_t *nlri
        if not self.e.as4:
            attrs_len = two_octet(attrs, attrs_len, self.scratch)
            attrs = self.scratch
        if classic:
            fixed = HEADER_LEN + 4 + attrs_len
        else:
            fixed = HEADER_LEN + 4 + attrs_len + 4 + 5 + hop.len
        if (self.e.family == FAM_IPV4 and not classic and not self.e.ext_next_hop
                and hop.len != 4):
            self.too_long += n
            return self.withdraw(log, set_h, prefixes, ids, n)
        # Extended Length always, so that the header has one size; where every octet counts, not.
        tight = fixed + 21 > self.e.max_len
        head = 3 if tight else 4
        if tight and not classic:
            fixed -= 1
        while i < n:
            if tight and fixed + nlri_len(trie, prefixes[i], self.e.addpath) > self.e.max_len:
                self.too_long += 1
                self.withdraw(log, set_h, prefixes + i, ids + i, 1)
                i += 1
                continue
            # Reserved by what can be needed, so that small changes do not open a chunk each.
            need = fixed + (n - i) * 21
            if need > self.e.max_len:
                need = self.e.max_len
            m = log.reserve(need)
            o = m + HEADER_LEN
            store16(o, 0)
            if classic:
                store16(o + 2, attrs_len)
                memcpy(o + 4, attrs, attrs_len)
                o += 4 + attrs_len
                room = need - fixed
                while i < n and room >= nlri_len(trie, prefixes[i], self.e.addpath):
                    o += put_nlri(o, trie, prefixes[i], self.e.addpath, ids[i])
                    room = need - <uint32_t>(o - m)
                    i += 1
            else:
                nlri = o + 4
                nlri[0] = AFLAG_OPTIONAL if tight else AFLAG_OPTIONAL | AFLAG_EXT_LEN
                nlri[1] = ATTR_MP_REACH
                o = nlri + head
                store16(o, 1 if self.e.family == FAM_IPV4 else 2)
                o[2] = 1
                o[3] = hop.len
                memcpy(o + 4, hop.addr, hop.len)
                o += 4 + hop.len
                o[0] = 0
                o += 1
                room = need - fixed
                while i < n and room >= nlri_len(trie, prefixes[i], self.e.addpath):
                    room -= nlri_len(trie, prefixes[i], self.e.addpath)
                    o += put_nlri(o, trie, prefixes[i], self.e.addpath, ids[i])
                    i += 1
                if tight:
                    nlri[2] = <uint8_t>(o - nlri - 3)
                else:
                    store16(nlri + 2, <uint32_t>(o - nlri - 4))
                memcpy(o, attrs, attrs_len)
                o += attrs_len
                store16(m + HEADER_LEN + 2, <uint32_t>(o - m) - HEADER_LEN - 4)
            put_header(m, <uint32_t>(o - m))
            log.commit(<uint32_t>(o - m), set_h)
        return 0

    cdef int withdraw(self, Log log, uint32_t set_h, const uint32_t *prefixes, const uint32_t *ids,
                      uint32_t n) except -1:
        """Log withdrawals of `n` prefixes."""
        cdef uint32_t i = 0, need, fixed
        cdef uint8_t *m
        cdef uint8_t *o
        cdef bint classic = self.e.family == FAM_IPV4
        fixed = HEADER_LEN + 4 if classic else HEADER_LEN + 4 + 4 + 3
        while i < n:
            need = fixed + (n - i) * 21
            if need > self.e.max_len:
                need = self.e.max_len
            m = log.reserve(need)
            if classic:
                o = m + HEADER_LEN + 2
                while i < n and (need - <uint32_t>(o - m) - 2
                                 >= nlri_len(self.trie, prefixes[i], self.e.addpath)):
                    o += put_nlri(o, self.trie, prefixes[i], self.e.addpath, ids[i])
                    i += 1
                store16(m + HEADER_LEN, <uint32_t>(o - m) - HEADER_LEN - 2)
                store16(o, 0)
                o += 2
            else:
                o = m + HEADER_LEN + 4
                o[0] = AFLAG_OPTIONAL | AFLAG_EXT_LEN
                o[1] = ATTR_MP_UNREACH
                store16(o + 4, 2)
                o[6] = 1
                o += 7
                while i < n and (need - <uint32_t>(o - m)
                                 >= nlri_len(self.trie, prefixes[i], self.e.addpath)):
                    o += put_nlri(o, self.trie, prefixes[i], self.e.addpath, ids[i])
                    i += 1
                store16(m + HEADER_LEN, 0)
                store16(m + HEADER_LEN + 2, <uint32_t>(o - m) - HEADER_LEN - 4)
                store16(m + HEADER_LEN + 6, <uint32_t>(o - m) - HEADER_LEN - 8)
            put_header(m, <uint32_t>(o - m))
            log.commit(<uint32_t>(o - m), set_h)
        return 0

    def encode_all(self, Log log, uint32_t attrs_h, uint32_t set_h, list prefixes, list ids=None):
        """Announce prefix handles with one attribute set, or withdraw them if it is 0.

        With ADD-PATH `ids` are their path identifiers, 0 without.
        """
        cdef uint32_t n = len(prefixes)
        cdef uint32_t *a = <uint32_t *>malloc((n + 1) * 8)
        if a == NULL:
            raise MemoryError
        try:
            for i, h in enumerate(prefixes):
                a[<uint32_t>i] = h
                a[n + <uint32_t>i] = ids[i] if ids else 0
            if attrs_h:
                self.announce(log, attrs_h, set_h, a, a + n, n)
            else:
                self.withdraw(log, set_h, a, a + n, n)
        finally:
            free(a)


cdef uint32_t two_octet(const uint8_t *p, uint32_t n, uint8_t *out) noexcept nogil:
    """Rewrite canonical attributes for a 2-octet AS speaker; return the octets written.

    AS numbers above 65,535 become AS_TRANS, and then AS4_PATH and AS4_AGGREGATOR carry the real
    ones, without confederation segments (RFC 6793 4.2.2).
    """
    cdef const uint8_t *end = p + n
    cdef const uint8_t *head
    cdef const uint8_t *path = NULL
    cdef const uint8_t *aggregator = NULL
    cdef uint32_t path_len = 0
    cdef uint8_t *o = out
    cdef attr_t a
    while p < end:
        head = p
        p += attr_next(p, &a)
        if (path != NULL or aggregator != NULL) and a.type > ATTR_AS4_PATH:
            o = put_as4(o, path, path_len, aggregator)
            path = NULL
            aggregator = NULL
        if a.type == ATTR_AS_PATH:
            if big_path(a.value, a.len):
                path = a.value
                path_len = a.len
            o = short_path(o, a.value, a.len)
        elif a.type == ATTR_AGGREGATOR:
            o[0] = a.flags
            o[1] = ATTR_AGGREGATOR
            o[2] = 6
            if load32(a.value) > 0xFFFF:
                aggregator = a.value
                store16(o + 3, AS_TRANS)
            else:
                memcpy(o + 3, a.value + 2, 2)
            memcpy(o + 5, a.value + 4, 4)
            o += 9
        else:
            memcpy(o, head, p - head)
            o += p - head
    if path != NULL or aggregator != NULL:
        o = put_as4(o, path, path_len, aggregator)
    return <uint32_t>(o - out)


cdef bint big_path(const uint8_t *v, uint32_t n) noexcept nogil:
    cdef const uint8_t *end = v + n
    cdef uint32_t i, count
    while v < end:
        count = v[1]
        for i in range(count):
            if load32(v + 2 + 4 * i) > 0xFFFF:
                return True
        v += 2 + 4 * count
    return False


cdef uint8_t *short_path(uint8_t *o, const uint8_t *v, uint32_t n) noexcept nogil:
    cdef const uint8_t *end = v + n
    cdef const uint8_t *p = v
    cdef uint32_t i, count, asn, size = 0
    while p < end:
        size += 2 + 2 * <uint32_t>p[1]
        p += 2 + 4 * <uint32_t>p[1]
    o = put_head(o, AFLAG_TRANSITIVE, ATTR_AS_PATH, size)
    while v < end:
        count = v[1]
        o[0] = v[0]
        o[1] = v[1]
        o += 2
        for i in range(count):
            asn = load32(v + 2 + 4 * i)
            store16(o, asn if asn <= 0xFFFF else AS_TRANS)
            o += 2
        v += 2 + 4 * count
    return o


cdef uint8_t *put_as4(uint8_t *o, const uint8_t *v, uint32_t n,
                      const uint8_t *aggregator) noexcept nogil:
    """Write AS4_PATH, unless confederation segments were all there was, and AS4_AGGREGATOR."""
    cdef const uint8_t *end = v + n
    cdef const uint8_t *p = v
    cdef uint32_t size = 0
    while p < end:
        if p[0] < SEG_CONFED_SEQUENCE:
            size += 2 + 4 * <uint32_t>p[1]
        p += 2 + 4 * <uint32_t>p[1]
    if size:
        o = put_head(o, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_AS4_PATH, size)
        while v < end:
            size = 2 + 4 * <uint32_t>v[1]
            if v[0] < SEG_CONFED_SEQUENCE:
                memcpy(o, v, size)
                o += size
            v += size
    if aggregator != NULL:
        o = put_head(o, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_AS4_AGGREGATOR, 8)
        memcpy(o, aggregator, 8)
        o += 8
    return o
