"""Recorded attributes and UPDATEs, turned into what one session may send.

In: attribute blocks and UPDATEs as recorded. Out: octets for the wire, whole messages only. A
Rewriter changes no more than the session needs: the width of AS numbers (RFC 6793 4.2.2), path
identifiers (RFC 7911), next hops and LOCAL_PREF; everything else stays as recorded, faults
included. Its scratch space holds one block or message at a time.

RFC 4271 4.3, RFC 4760, RFC 7606 5.1 (MP_REACH_NLRI first), RFC 8654 (message size), RFC 8950.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.decode cimport decode_ctx_t, decode_update, update_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_TRANS,
    ATTR_AGGREGATOR,
    ATTR_AS4_AGGREGATOR,
    ATTR_AS4_PATH,
    ATTR_AS_PATH,
    ATTR_CLUSTER_LIST,
    ATTR_LOCAL_PREF,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    ATTR_ORIGINATOR_ID,
    FAM_IPV4,
    FAM_IPV6,
    FAM_NONE,
    HEADER_LEN,
    MAX_EXT_MSG,
    MAX_MSG,
    MSG_UPDATE,
    SEG_CONFED_SEQUENCE,
    SEG_SEQUENCE,
)
from rs._fastpath.wire cimport load16, load32, plen_bytes, put_head, store16, store32

cimport cython

check_abi(__name__)


cdef enum:
    DEFAULT_LOCAL_PREF = 100
    # AS4_PATH beside AS_PATH at most doubles a block.
    ATTRS_LEN = 2 * 65535 + 1024
    NLRI_LEN = 5 * 65535            # a path identifier for each NLRI of one octet
    BUF_LEN = NLRI_LEN + ATTRS_LEN + 4096


# ------------------------------------------------------------------------------- attribute blocks


cdef inline bint path_is_whole(const uint8_t *p, uint32_t n) noexcept nogil:
    """Tell whether segments of 4-octet AS numbers fill `n` octets."""
    cdef const uint8_t *end = p + n
    while p < end:
        if end - p < 2 or <uint64_t>(end - p) < 2 + 4 * <uint32_t>p[1]:
            return False
        p += 2 + 4 * <uint32_t>p[1]
    return True


cdef uint32_t count_nlri(const uint8_t *p, const uint8_t *end, bint addpath, uint32_t bits,
                         bint *whole) noexcept nogil:
    cdef uint32_t n = 0
    whole[0] = True
    while p < end:
        if addpath:
            if end - p < 5:
                whole[0] = False
                return n
            p += 4
        if p[0] > bits or <uint64_t>(end - p) < 1 + plen_bytes(p[0]):
            whole[0] = False
            return n
        p += 1 + plen_bytes(p[0])
        n += 1
    return n


cdef int finish_message(message_t *m) noexcept nogil:
    """Close a message after its last NLRI: lengths, and the attributes behind MP_REACH_NLRI."""
    cdef uint8_t *nlri_end = m.q
    if m.mp:
        # p: header 19, withdrawn 2, attributes' length 2, then MP_REACH_NLRI's header of 4
        store16(m.p + 25, <uint32_t>(nlri_end - m.p) - 27)
        memcpy(m.q, m.attrs, m.attrs_len)
        m.q += m.attrs_len
        store16(m.p + 21, <uint32_t>(m.q - m.p) - 23)
    store16(m.p + 16, <uint32_t>(m.q - m.p))
    return 0


@cython.final
cdef class Rewriter:
    """See recode.pyi."""

    def __cinit__(self, *, bint as4=True, bint ibgp=False, uint32_t prepend=0,
                  uint32_t max_len=MAX_MSG, uint32_t families=3, uint32_t addpath=0,
                  bint ext_next_hop=False, bytes next_hop4=b"", bytes next_hop6=b""):
        if not MAX_MSG <= max_len <= MAX_EXT_MSG:
            raise ValueError(f"messages have up to 4,096 or 65,535 octets, not {max_len}")
        if len(next_hop4) not in (0, 4) or len(next_hop6) not in (0, 16, 32):
            raise ValueError("a next hop has 4 octets for IPv4, 16 or 32 for IPv6")
        self.as4 = as4
        self.ibgp = ibgp
        self.prepend = prepend
        self.max_len = max_len
        self.families = families
        self.addpath = addpath
        self.ext_next_hop = ext_next_hop
        self.set_hop4 = len(next_hop4) == 4
        memcpy(self.hop4, PyBytes_AS_STRING(next_hop4), len(next_hop4))
        self.hop6_len = <uint32_t>len(next_hop6)
        memcpy(self.hop6, PyBytes_AS_STRING(next_hop6), self.hop6_len)
        self.attrs = <uint8_t *>malloc(ATTRS_LEN)
        self.buf = <uint8_t *>malloc(BUF_LEN)
        self.nlri = <uint8_t *>malloc(NLRI_LEN)
        if self.attrs == NULL or self.buf == NULL or self.nlri == NULL:
            raise MemoryError
        self.table = AttrTable()

    def __dealloc__(self):
        free(self.attrs)
        free(self.buf)
        free(self.nlri)

    cdef uint32_t rewrite_path(self, const uint8_t *p, uint32_t n, uint8_t *out,
                               bint *narrowed) noexcept nogil:
        """Write an AS_PATH value as the session has it; return its length.

        `narrowed` says that an AS number did not fit 2 octets, so AS4_PATH has to go with it.
        """
        cdef const uint8_t *end = p + n
        cdef uint8_t *start = out
        cdef uint32_t width = 4 if self.as4 else 2
        cdef uint32_t _i, asn, count
        cdef bint lead = self.prepend != 0
        narrowed[0] = False
        if lead and (p == end or p[0] != SEG_SEQUENCE or p[1] == 255):
            out[0] = SEG_SEQUENCE
            out[1] = 1
            out += 2
            if self.as4:
                store32(out, self.prepend)
            else:
                narrowed[0] = self.prepend > 0xFFFF
                store16(out, AS_TRANS if self.prepend > 0xFFFF else self.prepend)
            out += width
            lead = False
        while p < end:
            count = p[1]
            out[0] = p[0]
            out[1] = <uint8_t>(count + (1 if lead else 0))
            out += 2
            p += 2
            for _i in range(count + (1 if lead else 0)):
                if lead:
                    asn = self.prepend
                    lead = False
                else:
                    asn = load32(p)
                    p += 4
                if self.as4:
                    store32(out, asn)
                else:
                    if asn > 0xFFFF:
                        narrowed[0] = True
                        asn = AS_TRANS
                    store16(out, asn)
                out += width
        return <uint32_t>(out - start)

    cdef uint32_t rewrite(self, const uint8_t *p, uint32_t n, bint wide,
                          const uint8_t *hop4) noexcept nogil:
        """Write to `attrs` what the session sends for a block; return its octets, or NO_BLOCK.

        `wide` says that its AS numbers have 4 octets; a block with narrow ones goes to a session
        that has narrow ones, and as it is. `hop4` becomes its NEXT_HOP; NULL keeps the recorded
        one, or none. MP_REACH_NLRI and MP_UNREACH_NLRI are left out.
        """
        cdef const uint8_t *end = p + n
        cdef const uint8_t *value
        cdef uint8_t *out = self.attrs
        cdef const uint8_t *path = NULL
        cdef const uint8_t *aggregator = NULL
        cdef uint8_t *mark
        cdef uint32_t size, total, path_len = 0
        cdef bint local_pref = not self.ibgp    # sent, or not wanted
        cdef bint narrowed = False
        cdef bint hop_set = False
        cdef bint as4_path
        cdef uint8_t kind
        while p < end:
            kind = p[1]
            if p[0] & AFLAG_EXT_LEN:
                size = load16(p + 2)
                value = p + 4
            else:
                size = p[2]
                value = p + 3
            total = <uint32_t>(value - p) + size
            if kind == ATTR_LOCAL_PREF and self.ibgp:
                local_pref = True
            if kind > ATTR_NEXT_HOP and hop4 != NULL:
                memcpy(put_head(out, AFLAG_TRANSITIVE, ATTR_NEXT_HOP, 4), hop4, 4)
                out += 7
                hop4 = NULL
                hop_set = True
            if kind > ATTR_LOCAL_PREF and not local_pref:
                local_pref = True
                store32(put_head(out, AFLAG_TRANSITIVE, ATTR_LOCAL_PREF, 4), DEFAULT_LOCAL_PREF)
                out += 7
            if kind == ATTR_MP_REACH or kind == ATTR_MP_UNREACH:
                pass
            elif not self.ibgp and (kind == ATTR_LOCAL_PREF or kind == ATTR_ORIGINATOR_ID
                                    or kind == ATTR_CLUSTER_LIST):
                pass
            elif kind == ATTR_NEXT_HOP and (hop4 != NULL or hop_set):
                pass        # the new one comes where types are greater, or has come
            elif wide and (kind == ATTR_AS4_PATH or kind == ATTR_AS4_AGGREGATOR):
                pass        # not meant for a speaker of 4-octet AS numbers (RFC 6793 4.1)
            elif wide and kind == ATTR_AS_PATH and (self.prepend or not self.as4) \
                    and path_is_whole(value, size):
                path = value
                path_len = size
                mark = put_head(out, p[0], kind, 256 if size + 6 > 255 else 0)
                size = self.rewrite_path(value, size, mark, &narrowed)
                if mark == out + 4:
                    store16(out + 2, size)
                else:
                    out[2] = <uint8_t>size
                out = mark + size
            elif wide and kind == ATTR_AGGREGATOR and not self.as4 and size == 8:
                mark = put_head(out, p[0], kind, 6)
                if load32(value) > 0xFFFF:
                    aggregator = value
                    store16(mark, AS_TRANS)
                else:
                    store16(mark, load32(value))
                memcpy(mark + 2, value + 4, 4)
                out = mark + 6
            else:
                memcpy(out, p, total)
                out += total
            p += total
        if hop4 != NULL:
            memcpy(put_head(out, AFLAG_TRANSITIVE, ATTR_NEXT_HOP, 4), hop4, 4)
            out += 7
        if not local_pref:
            store32(put_head(out, AFLAG_TRANSITIVE, ATTR_LOCAL_PREF, 4), DEFAULT_LOCAL_PREF)
            out += 7
        if narrowed:
            # With 4-octet numbers again, prepended AS included; confederation segments stay out.
            mark = put_head(out, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_AS4_PATH, 256)
            self.as4 = True
            size = self.rewrite_path(path, path_len, mark, &as4_path)
            self.as4 = False
            size = without_confederation(mark, size)
            store16(out + 2, size)
            out = mark + size
        if aggregator != NULL:
            mark = put_head(out, AFLAG_OPTIONAL | AFLAG_TRANSITIVE, ATTR_AS4_AGGREGATOR, 8)
            memcpy(mark, aggregator, 8)
            out = mark + 8
        size = <uint32_t>(out - self.attrs)
        return NO_BLOCK if size > 65535 else size

    # ---- messages

    cdef void begin(self, message_t *m, uint8_t *at, uint32_t attrs_len) noexcept nogil:
        """Begin an UPDATE with classic NLRI and `attrs_len` octets of the scratch block."""
        memset(at, 0xFF, 16)
        at[18] = MSG_UPDATE
        store16(at + 19, 0)
        store16(at + 21, attrs_len)
        memcpy(at + 23, self.attrs, attrs_len)
        m.p = at
        m.q = at + 23 + attrs_len
        m.limit = at + self.max_len
        m.mp = False

    cdef void begin_mp(self, message_t *m, uint8_t *at, uint32_t attrs_len, uint32_t family,
                       const uint8_t *hop, uint32_t hop_len) noexcept nogil:
        """Begin an UPDATE with MP_REACH_NLRI."""
        memset(at, 0xFF, 16)
        at[18] = MSG_UPDATE
        store16(at + 19, 0)
        at[23] = AFLAG_OPTIONAL | AFLAG_EXT_LEN
        at[24] = ATTR_MP_REACH
        store16(at + 27, 1 if family == FAM_IPV4 else 2)
        at[29] = 1
        at[30] = <uint8_t>hop_len
        memcpy(at + 31, hop, hop_len)
        at[31 + hop_len] = 0
        m.p = at
        m.q = at + 32 + hop_len
        m.limit = at + self.max_len - attrs_len
        m.attrs = self.attrs
        m.attrs_len = attrs_len
        m.mp = True

    cdef const uint8_t *hop_for(self, uint32_t family, const uint8_t *recorded,
                                uint32_t *n) noexcept nogil:
        """Return the next hop for MP_REACH_NLRI in place of a recorded one of `n` octets."""
        if family == FAM_IPV6 and self.hop6_len:
            n[0] = self.hop6_len
            return self.hop6
        return recorded

    def convert(self, bytes raw, bint as4, bint addpath) -> bytes:
        """See recode.pyi."""
        return convert(self, <const uint8_t *>PyBytes_AS_STRING(raw),
                       <uint32_t>PyBytes_GET_SIZE(raw), as4, addpath)


cdef uint32_t without_confederation(uint8_t *p, uint32_t n) noexcept nogil:
    """Drop confederation segments from an AS4_PATH value (RFC 6793 4.2.2); return its length."""
    cdef uint8_t *end = p + n
    cdef uint8_t *out = p
    cdef uint32_t size, i
    while p < end:
        size = 2 + 4 * <uint32_t>p[1]
        if p[0] < SEG_CONFED_SEQUENCE:
            for i in range(size):       # may overlap
                out[i] = p[i]
            out += size
        p += size
    return n - <uint32_t>(end - out)


# ------------------------------------------------------------------------------- recorded UPDATEs


# A recorded UPDATE, cut apart; spans point into it.
cdef struct parts_t:
    const uint8_t *withdrawn
    const uint8_t *attrs
    const uint8_t *nlri
    const uint8_t *unreach      # NLRI of MP_UNREACH_NLRI
    const uint8_t *reach        # NLRI of MP_REACH_NLRI
    const uint8_t *hop          # next hop of MP_REACH_NLRI
    uint32_t withdrawn_len
    uint32_t attrs_len
    uint32_t nlri_len
    uint32_t unreach_len
    uint32_t reach_len
    uint32_t hop_len
    uint32_t n_withdrawn        # NLRI in each
    uint32_t n_nlri
    uint32_t n_unreach
    uint32_t n_reach
    uint32_t reach_family       # FAM_NONE: no such attribute, or a family without a table here
    uint32_t unreach_family
    bint other                  # there is another family in it
    bint plain                  # there is an attribute beside MP_*
    bint local_pref             # there is LOCAL_PREF
    bint internal               # there is LOCAL_PREF, ORIGINATOR_ID or CLUSTER_LIST


cdef uint32_t family_of(const uint8_t *p) noexcept nogil:
    if p[0] or p[2] != 1 or p[1] < 1 or p[1] > 2:
        return FAM_NONE
    return FAM_IPV4 if p[1] == 1 else FAM_IPV6


cdef bint cut_update(const uint8_t *p, uint32_t n, bint addpath, parts_t *u) noexcept nogil:
    """Cut a whole UPDATE apart; return whether all lengths add up."""
    cdef const uint8_t *end = p + n
    cdef const uint8_t *stop
    cdef const uint8_t *value
    cdef uint32_t size
    cdef bint whole
    memset(u, 0, sizeof(parts_t))
    u.reach_family = u.unreach_family = FAM_NONE
    p += HEADER_LEN
    if end - p < 4 or <uint64_t>(end - p) < <uint64_t>4 + load16(p):
        return False
    u.withdrawn = p + 2
    u.withdrawn_len = load16(p)
    p = u.withdrawn + u.withdrawn_len
    if <uint64_t>(end - p) < <uint64_t>2 + load16(p):
        return False
    u.attrs = p + 2
    u.attrs_len = load16(p)
    u.nlri = stop = u.attrs + u.attrs_len
    u.nlri_len = <uint32_t>(end - stop)
    u.n_withdrawn = count_nlri(u.withdrawn, u.withdrawn + u.withdrawn_len, addpath, 32, &whole)
    if not whole:
        return False
    u.n_nlri = count_nlri(u.nlri, end, addpath, 32, &whole)
    if not whole:
        return False
    p = u.attrs
    while p < stop:
        value = p + (4 if p[0] & AFLAG_EXT_LEN else 3)
        if value > stop:
            return False
        size = load16(p + 2) if p[0] & AFLAG_EXT_LEN else p[2]
        if <uint64_t>(stop - value) < size:
            return False
        if p[1] == ATTR_MP_REACH:
            if size < 5 or size < 5 + <uint32_t>value[3]:
                return False
            u.reach_family = family_of(value)
            if u.reach_family == FAM_NONE:
                u.other = True
            u.hop = value + 4
            u.hop_len = value[3]
            u.reach = u.hop + u.hop_len + 1
            u.reach_len = size - 5 - u.hop_len
        elif p[1] == ATTR_MP_UNREACH:
            if size < 3:
                return False
            u.unreach_family = family_of(value)
            if u.unreach_family == FAM_NONE:
                u.other = True
            u.unreach = value + 3
            u.unreach_len = size - 3
        else:
            u.plain = True
            if p[1] == ATTR_LOCAL_PREF:
                u.local_pref = u.internal = True
            elif p[1] == ATTR_ORIGINATOR_ID or p[1] == ATTR_CLUSTER_LIST:
                u.internal = True
        p = value + size
    if u.reach_family != FAM_NONE:
        u.n_reach = count_nlri(u.reach, u.reach + u.reach_len, addpath,
                               32 if u.reach_family == FAM_IPV4 else 128, &whole)
        if not whole:
            return False
    if u.unreach_family != FAM_NONE:
        u.n_unreach = count_nlri(u.unreach, u.unreach + u.unreach_len, addpath,
                                 32 if u.unreach_family == FAM_IPV4 else 128, &whole)
        return whole
    return True


cdef bint fits_as_is(Rewriter r, const parts_t *u, uint32_t n, bint as4,
                     bint addpath) noexcept nogil:
    """Tell whether a whole UPDATE needs no change at all."""
    cdef uint32_t used = 0      # bit per FAM_*
    if r.prepend or r.set_hop4 or r.hop6_len or n > r.max_len or u.other:
        return False
    if u.withdrawn_len or u.nlri_len or u.attrs_len == 0:
        used |= 1 << FAM_IPV4
    if u.reach_family != FAM_NONE:
        used |= 1 << u.reach_family
        if u.reach_family == FAM_IPV4 and u.hop_len != 4 and not r.ext_next_hop:
            return False
    if u.unreach_family != FAM_NONE:
        used |= 1 << u.unreach_family
    if used & ~r.families or used & r.addpath != (used if addpath else 0):
        return False
    if u.nlri_len or u.reach_family != FAM_NONE:
        return as4 == r.as4 and (u.local_pref if r.ibgp else not u.internal)
    return True


cdef uint8_t *copy_nlri(uint8_t *out, uint8_t *limit, const uint8_t **from_, const uint8_t *end,
                        bint have_ids, bint want_ids) noexcept nogil:
    """Copy NLRI while they end at or before `limit`, adding or dropping path identifiers.

    `from_` is moved behind the last one copied. Returns the end of what was written. A path that
    had no identifier gets 0.
    """
    cdef const uint8_t *p = from_[0]
    cdef uint32_t size
    while p < end:
        size = 1 + plen_bytes(p[4] if have_ids else p[0])
        if out + size + (4 if want_ids else 0) > limit:
            break
        if want_ids:
            store32(out, load32(p) if have_ids else 0)
            out += 4
        if have_ids:
            p += 4
        memcpy(out, p, size)
        out += size
        p += size
    from_[0] = p
    return out


cdef uint32_t widen(Rewriter r, const uint8_t *raw, uint32_t n, bint addpath) except? 0 nogil:
    """Return the attribute set of an UPDATE with 2-octet AS numbers, 0 where it is malformed."""
    cdef decode_ctx_t ctx
    cdef update_t u
    memset(&ctx, 0, sizeof(ctx))
    ctx.ibgp = 1
    ctx.families = 3
    ctx.addpath = 3 if addpath else 0
    ctx.ext_next_hop = 1
    decode_update(r.table, &ctx, raw + HEADER_LEN, n - HEADER_LEN, &u)
    if u.attrs_h and u.mp_attrs_h:
        r.table.unref(u.mp_attrs_h)
    return u.attrs_h if u.attrs_h else u.mp_attrs_h


cdef uint8_t *put_unreach(Rewriter r, uint8_t *out, uint8_t *limit, const uint8_t **from_,
                          const parts_t *u, bint addpath) noexcept nogil:
    """Write an MP_UNREACH_NLRI with the NLRI from `from_` on that end before `limit`."""
    cdef uint8_t *q = copy_nlri(out + 7, limit, from_, u.unreach + u.unreach_len, addpath,
                                (r.addpath >> u.unreach_family) & 1)
    out[0] = AFLAG_OPTIONAL | AFLAG_EXT_LEN
    out[1] = ATTR_MP_UNREACH
    store16(out + 2, <uint32_t>(q - out) - 4)
    store16(out + 4, 1 if u.unreach_family == FAM_IPV4 else 2)
    out[6] = 1
    return q


cdef bytes split(Rewriter r, const parts_t *u, uint32_t attrs_len, bint reach, bint addpath):
    """Return an UPDATE as several, where it has grown too long for one. `r.attrs` is its block."""
    cdef bytearray done = bytearray()
    cdef message_t m
    cdef uint8_t *out = r.buf
    cdef uint8_t *q
    cdef const uint8_t *p = u.withdrawn
    cdef const uint8_t *before
    cdef const uint8_t *end = p + u.withdrawn_len
    cdef uint32_t hop_len = u.hop_len
    memset(out, 0xFF, 16)
    out[18] = MSG_UPDATE
    while p < end:
        q = copy_nlri(out + 21, out + r.max_len - 2, &p, end, addpath,
                      (r.addpath >> FAM_IPV4) & 1)
        store16(out + 19, <uint32_t>(q - out) - 21)
        store16(q, 0)
        q += 2
        store16(out + 16, <uint32_t>(q - out))
        done += out[:q - out]
    if u.unreach_family != FAM_NONE:
        p = u.unreach
        while True:
            q = put_unreach(r, out + 23, out + r.max_len, &p, u, addpath)
            store16(out + 19, 0)
            store16(out + 21, <uint32_t>(q - out) - 23)
            store16(out + 16, <uint32_t>(q - out))
            done += out[:q - out]
            if p == u.unreach + u.unreach_len:
                break
    if reach:
        p = u.reach
        end = p + u.reach_len
        while p < end:
            before = p
            hop_len = u.hop_len
            r.begin_mp(&m, out, attrs_len, u.reach_family,
                       r.hop_for(u.reach_family, u.hop, &hop_len), hop_len)
            m.q = copy_nlri(m.q, m.limit, &p, end, addpath, (r.addpath >> u.reach_family) & 1)
            if p == before:
                r.n_too_long += 1
                break
            finish_message(&m)
            done += out[:m.q - out]
    p = u.nlri
    end = p + u.nlri_len
    while p < end:
        before = p
        if HEADER_LEN + 4 + attrs_len < r.max_len:
            r.begin(&m, out, attrs_len)
            m.q = copy_nlri(m.q, m.limit, &p, end, addpath, (r.addpath >> FAM_IPV4) & 1)
        if p == before:
            r.n_too_long += 1
            break
        finish_message(&m)
        done += out[:m.q - out]
    return bytes(done)


cdef bytes convert(Rewriter r, const uint8_t *raw, uint32_t n, bint as4, bint addpath):
    cdef parts_t u
    cdef uint32_t attrs_len = 0, h = 0
    cdef uint8_t *out = r.buf
    cdef uint8_t *q
    cdef uint8_t *total         # where the attributes' length goes
    cdef uint8_t *mp            # where MP_REACH_NLRI begins
    cdef const uint8_t *hop4
    cdef const uint8_t *p
    cdef const uint8_t *hop
    cdef uint32_t hop_len = 0
    cdef bint ids4 = (r.addpath >> FAM_IPV4) & 1
    cdef bint ids
    cdef bint reach
    if n < HEADER_LEN or n > MAX_EXT_MSG or raw[18] != MSG_UPDATE:
        raise ValueError("not an UPDATE")
    if not cut_update(raw, n, addpath, &u):
        # Sent as it was recorded: whoever replays it wants to see what comes of it.
        r.n_malformed += 1
        if n > r.max_len:
            r.n_too_long += 1
            return b""
        return PyBytes_FromStringAndSize(<const char *>raw, n)
    if fits_as_is(r, &u, n, as4, addpath):
        r.n_announced += u.n_nlri + u.n_reach
        r.n_withdrawn += u.n_withdrawn + u.n_unreach
        return PyBytes_FromStringAndSize(<const char *>raw, n)
    # Families that the session does not have are left out.
    if not (r.families >> FAM_IPV4) & 1:
        u.withdrawn_len = u.nlri_len = u.n_withdrawn = u.n_nlri = 0
    reach = u.reach_family != FAM_NONE and (r.families >> u.reach_family) & 1
    if reach and u.reach_family == FAM_IPV4 and u.hop_len != 4 and not r.ext_next_hop:
        reach = False
    if u.unreach_family != FAM_NONE and not (r.families >> u.unreach_family) & 1:
        u.unreach_family = FAM_NONE
    if not reach:
        u.n_reach = 0
    if u.unreach_family == FAM_NONE:
        u.n_unreach = 0
    if not (u.withdrawn_len or u.nlri_len or reach or u.unreach_family != FAM_NONE):
        # The one UPDATE that has none of these and means something is IPv4's End-of-RIB.
        if u.plain or u.other or u.reach_family != FAM_NONE or n != HEADER_LEN + 4 \
                or not r.families & (1 << FAM_IPV4):
            r.n_filtered += 1
            return b""
    if u.nlri_len or reach:
        hop4 = r.hop4 if r.set_hop4 and u.nlri_len else NULL
        if as4 or not (r.as4 or r.prepend):
            attrs_len = r.rewrite(u.attrs, u.attrs_len, as4, hop4)
        else:
            h = widen(r, raw, n, addpath)
            if not h:
                r.n_malformed += 1
                return b""
            attrs_len = r.rewrite(r.table.wire(h), r.table.at(h).wire_len, True, hop4)
            r.table.unref(h)
        if attrs_len == NO_BLOCK:
            r.n_too_long += 1
            return b""
    r.n_announced += u.n_nlri + u.n_reach
    r.n_withdrawn += u.n_withdrawn + u.n_unreach
    # Everything in one message, as it was recorded.
    memset(out, 0xFF, 16)
    out[18] = MSG_UPDATE
    p = u.withdrawn
    q = copy_nlri(out + 21, out + BUF_LEN, &p, u.withdrawn + u.withdrawn_len, addpath, ids4)
    store16(out + 19, <uint32_t>(q - out) - 21)
    total = q
    q += 2
    if u.unreach_family != FAM_NONE:
        p = u.unreach
        q = put_unreach(r, q, r.buf + BUF_LEN, &p, &u, addpath)
    if reach:
        hop_len = u.hop_len
        hop = r.hop_for(u.reach_family, u.hop, &hop_len)
        ids = (r.addpath >> u.reach_family) & 1
        q[0] = AFLAG_OPTIONAL | AFLAG_EXT_LEN
        q[1] = ATTR_MP_REACH
        store16(q + 4, 1 if u.reach_family == FAM_IPV4 else 2)
        q[6] = 1
        q[7] = <uint8_t>hop_len
        memcpy(q + 8, hop, hop_len)
        q[8 + hop_len] = 0
        mp = q
        p = u.reach
        q = copy_nlri(q + 9 + hop_len, r.buf + BUF_LEN, &p, u.reach + u.reach_len, addpath, ids)
        store16(mp + 2, <uint32_t>(q - mp) - 4)
    memcpy(q, r.attrs, attrs_len)
    q += attrs_len
    store16(total, <uint32_t>(q - total) - 2)
    p = u.nlri
    q = copy_nlri(q, r.buf + BUF_LEN, &p, u.nlri + u.nlri_len, addpath, ids4)
    if <uint64_t>(q - out) <= r.max_len:
        store16(out + 16, <uint32_t>(q - out))
        return PyBytes_FromStringAndSize(<const char *>out, q - out)
    return split(r, &u, attrs_len, reach, addpath)
