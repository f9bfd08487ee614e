"""UPDATE messages to spans of NLRI and attribute sets.

In: the body of one UPDATE (after the 19-octet header) and what its session has negotiated. Out:
an update_t whose spans point into the message and whose handles are references that the caller
owns. Everything is checked before anything is returned, so a caller applies all of it or none.

A block of attributes seen before costs a walk over its headers, one hash and one compare. A new
one is checked by validate.pyx and interned. An UPDATE that announces nothing interns nothing.

RFC 4271 4.3 and 6.3, RFC 4760 3 to 7 (MP_*), RFC 7606 3 to 5 (what an error leads to), RFC 4724 2
(End-of-RIB), RFC 7911 3 (path identifiers), RFC 2545 3 and RFC 8950 3 (next hops).
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport prefix_text
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    AFLAG_OPTIONAL,
    AFLAG_TRANSITIVE,
    AS_HAS_AIGP,
    AS_HAS_CLUSTER_LIST,
    AS_HAS_LOCAL_PREF,
    AS_HAS_ORIGINATOR,
    ATTR_AS_PATH,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    FAM_IPV4,
    FAM_NONE,
    OUT_OK,
    OUT_RESET,
    OUT_WITHDRAW,
)
from rs._fastpath.validate cimport (
    NEED_CLASSIC,
    NEED_ROUTE,
    block_t,
    canonical,
    check_block,
    fault_add,
    fault_t,
)
from rs._fastpath.wire cimport load16

check_abi(__name__)

cdef enum:
    # Subcodes of UPDATE Message Error (RFC 4271 6.3).
    SUB_ATTRIBUTE_LIST = 1
    SUB_LENGTH = 5
    SUB_OPTIONAL = 9
    SUB_NETWORK = 10

    MAX_BLOCK = 65535
    TIDY_LEN = 4096         # longest block whose headers are shortened for a lookup
    # What validate.pyx drops when it comes from an external peer.
    AS_INTERNAL = AS_HAS_LOCAL_PREF | AS_HAS_ORIGINATOR | AS_HAS_CLUSTER_LIST | AS_HAS_AIGP

# Where things stand in the attribute block.
cdef struct frame_t:
    const uint8_t *attrs    # the block
    const uint8_t *reach    # MP_REACH_NLRI with its header, NULL when absent
    const uint8_t *unreach  # MP_UNREACH_NLRI likewise
    const uint8_t *cut      # first octet of the MP_* run
    const uint8_t *rest     # first octet after the MP_* run
    const uint8_t *nh       # next hop in MP_REACH_NLRI
    uint32_t len            # octets of whole attributes
    uint32_t reach_size     # octets, header included
    uint32_t unreach_size
    uint32_t nh_len         # octets
    uint32_t others         # attributes other than MP_*
    uint32_t gone_len       # octets of Withdrawn Routes, meant or not
    uint32_t nlri_len       # octets of classic NLRI, meant or not
    bint scattered          # MP_* attributes with others between them
    bint long_heads         # Extended Length where one octet would do, as some senders always do
    bint foreign            # MP_REACH_NLRI of a family that is not negotiated


cdef inline bint nlri_ok(const uint8_t *p, uint32_t n, bint addpath,
                         uint32_t max_plen) noexcept nogil:
    """Whether a span is whole NLRI of allowed lengths (RFC 7606 5.3)."""
    cdef uint32_t i = 0
    cdef uint32_t head = 4 if addpath else 0
    cdef uint32_t plen
    while i < n:
        i += head
        if i >= n:
            return False
        plen = p[i]
        if plen > max_plen:
            return False
        i += 1 + ((plen + 7) >> 3)
    return i == n


cdef inline uint32_t family_of(const uint8_t *p, const decode_ctx_t *ctx) noexcept nogil:
    """Family of the AFI and SAFI at `p`, FAM_NONE when it is not negotiated."""
    cdef uint32_t afi = load16(p)
    if p[2] == 1 and (afi == 1 or afi == 2) and (ctx.families >> (afi - 1)) & 1:
        return afi - 1
    return FAM_NONE


cdef inline uint32_t max_plen_of(uint32_t family) noexcept nogil:
    return 32 if family == FAM_IPV4 else 128


cdef void scan(const uint8_t *p, uint32_t n, frame_t *m, fault_t *f) noexcept nogil:
    """Walk the attribute headers: find MP_* and where the frame breaks (RFC 7606 3.g, 4)."""
    cdef const uint8_t *end = p + n
    cdef uint32_t left
    cdef uint32_t size
    m.attrs = p
    while p < end:
        left = <uint32_t>(end - p)
        size = 4 if p[0] & AFLAG_EXT_LEN else 3
        if left < size:
            fault_add(f, OUT_WITHDRAW, SUB_ATTRIBUTE_LIST, 0, p, NULL, 0)
            break
        if size == 4:
            if p[2] == 0 and p[1] != ATTR_MP_REACH and p[1] != ATTR_MP_UNREACH:
                m.long_heads = True
            size += load16(p + 2)
        else:
            size += p[2]
        if p[1] == ATTR_MP_REACH or p[1] == ATTR_MP_UNREACH:
            if size > left:
                # Which routes are meant is hidden: RFC 7606 3.j.
                fault_add(f, OUT_RESET, SUB_OPTIONAL, p[1], p, NULL, 0)
                break
            if (m.reach if p[1] == ATTR_MP_REACH else m.unreach) != NULL:
                fault_add(f, OUT_RESET, SUB_ATTRIBUTE_LIST, p[1], p, NULL, 0)
                break
            if p[1] == ATTR_MP_REACH:
                m.reach = p
                m.reach_size = size
            else:
                m.unreach = p
                m.unreach_size = size
            if m.cut == NULL:
                m.cut = p
            elif m.rest != p:
                m.scattered = True
            m.rest = p + size
        else:
            if size > left:
                fault_add(f, OUT_WITHDRAW, SUB_ATTRIBUTE_LIST, p[1], p, NULL, 0)
                break
            m.others += 1
        p += size
    m.len = <uint32_t>(p - m.attrs)


cdef inline bint mp_flags_ok(const uint8_t *p) noexcept nogil:
    return (p[0] & (AFLAG_OPTIONAL | AFLAG_TRANSITIVE)) == AFLAG_OPTIONAL


cdef bint read_reach(const decode_ctx_t *ctx, frame_t *m, update_t *out) noexcept nogil:
    """Find next hop and NLRI in MP_REACH_NLRI; False when malformed.

    RFC 4760 3, RFC 7606 5.3 and 7.11. A family that is not negotiated is ignored unread.
    """
    cdef uint32_t head = 4 if m.reach[0] & AFLAG_EXT_LEN else 3
    cdef const uint8_t *p = m.reach + head
    cdef uint32_t n = m.reach_size - head
    cdef uint32_t family
    if n < 3:
        return False
    family = family_of(p, ctx)
    if family == FAM_NONE:
        m.foreign = True
        return True
    if n < 5 or not mp_flags_ok(m.reach):
        return False
    m.nh = p + 4
    m.nh_len = p[3]
    if not ((family == FAM_IPV4 and m.nh_len == 4)
            or ((family != FAM_IPV4 or ctx.ext_next_hop)
                and (m.nh_len == 16 or m.nh_len == 32))):
        return False
    if 5 + m.nh_len > n:
        return False
    p += 5 + m.nh_len
    n -= 5 + m.nh_len
    if not nlri_ok(p, n, (ctx.addpath >> family) & 1, max_plen_of(family)):
        return False
    if n:
        out.reach = p
        out.reach_len = n
        out.reach_family = <uint8_t>family
    return True


cdef bint read_unreach(const decode_ctx_t *ctx, const frame_t *m, update_t *out) noexcept nogil:
    """Find the NLRI in MP_UNREACH_NLRI (RFC 4760 4), or an End-of-RIB (RFC 4724 2); as above."""
    cdef uint32_t head = 4 if m.unreach[0] & AFLAG_EXT_LEN else 3
    cdef const uint8_t *p = m.unreach + head
    cdef uint32_t n = m.unreach_size - head
    cdef uint32_t family
    if n < 3:
        return False
    family = family_of(p, ctx)
    if family == FAM_NONE:
        return True
    p += 3
    n -= 3
    if not mp_flags_ok(m.unreach):
        return False
    if not nlri_ok(p, n, (ctx.addpath >> family) & 1, max_plen_of(family)):
        return False
    if n:
        out.unreach = p
        out.unreach_len = n
        out.unreach_family = <uint8_t>family
    elif m.others == 0 and m.reach == NULL and m.gone_len == 0 and m.nlri_len == 0:
        out.eor_family = <uint8_t>family
    return True


cdef uint32_t shorten(const frame_t *m, uint8_t *out) noexcept nogil:
    """Copy the block without MP_* and with short headers; at most TIDY_LEN octets, else 0."""
    cdef const uint8_t *p = m.attrs
    cdef const uint8_t *end = p + m.len
    cdef uint32_t w = 0
    cdef uint32_t size
    cdef attr_t a
    if m.len > TIDY_LEN:
        return 0
    while p < end:
        size = attr_next(p, &a)
        if a.type != ATTR_MP_REACH and a.type != ATTR_MP_UNREACH:
            if a.flags & AFLAG_EXT_LEN and a.len < 256:
                out[w] = a.flags & ~AFLAG_EXT_LEN
                out[w + 1] = a.type
                out[w + 2] = <uint8_t>a.len
                memcpy(out + w + 3, a.value, a.len)
                w += size - 1
            else:
                memcpy(out + w, p, size)
                w += size
        p += size
    return w


cdef uint32_t known_block(AttrTable table, const decode_ctx_t *ctx, const frame_t *m,
                          bint classic) noexcept nogil:
    """Return a new reference to the set of a block that was seen before, or 0."""
    cdef const uint8_t *end = m.attrs + m.len
    cdef uint8_t tidy[TIDY_LEN]
    cdef uint32_t n
    cdef uint32_t h
    if m.long_heads:
        n = shorten(m, tidy)
        h = table.lookup(tidy, n, NULL, 0, m.nh, m.nh_len, classic) if n else 0
    elif m.scattered:
        h = 0
    elif m.cut == NULL:
        h = table.lookup(m.attrs, m.len, NULL, 0, m.nh, m.nh_len, classic)
    else:
        h = table.lookup(m.attrs, <uint32_t>(m.cut - m.attrs), m.rest, <uint32_t>(end - m.rest),
                         m.nh, m.nh_len, classic)
    if h and not ctx.ibgp and table.at(h).flags & AS_INTERNAL:
        table.unref(h)
        return 0
    return h


cdef int intern_block(AttrTable table, const decode_ctx_t *ctx, const frame_t *m,
                      const block_t *b, update_t *out, fault_t *f) except -1 nogil:
    """Intern the canonical form of a checked block, for NLRI and for MP_REACH_NLRI."""
    cdef uint8_t buf[MAX_BLOCK]
    cdef const uint8_t *nh
    cdef uint32_t n
    cdef bint done = False
    if out.nlri_len:
        nh = b.base + b.at[ATTR_NEXT_HOP]
        nh += 4 if nh[0] & AFLAG_EXT_LEN else 3
        n = canonical(b, ctx.as4, nh, table.seed, buf)
        if n == 0:
            fault_add(f, OUT_WITHDRAW, SUB_LENGTH, ATTR_AS_PATH, m.attrs, NULL, 0)
            return 0
        out.attrs_h = table.intern(buf, n, NULL, 0, True)
    if out.reach_len:
        try:
            # An IPv4 next hop is written as NEXT_HOP: the same set as with classic NLRI.
            n = canonical(b, ctx.as4, m.nh if m.nh_len == 4 else NULL, table.seed, buf)
            if n:
                out.mp_attrs_h = table.intern(buf, n, m.nh, m.nh_len, m.nh_len == 4)
            else:
                fault_add(f, OUT_WITHDRAW, SUB_LENGTH, ATTR_AS_PATH, m.attrs, NULL, 0)
            done = True
        finally:
            if not done and out.attrs_h:
                table.unref(out.attrs_h)
                out.attrs_h = 0
    return 0


cdef int new_block(AttrTable table, const decode_ctx_t *ctx, const frame_t *m, update_t *out,
                   fault_t *f) except -1 nogil:
    """Check the attributes and, when the routes stand, intern them."""
    cdef block_t b
    cdef uint32_t need = 0
    if out.nlri_len:
        need = NEED_CLASSIC
    elif out.reach_len:
        need = NEED_ROUTE
    check_block(&b, m.attrs, m.len, ctx.as4, ctx.ibgp, m.nlri_len != 0 or m.reach == NULL, need,
                f)
    if f.outcome >= OUT_WITHDRAW:
        return 0
    return intern_block(table, ctx, m, &b, out, f)


cdef int read_attrs(AttrTable table, const decode_ctx_t *ctx, const uint8_t *p, uint32_t n,
                    uint32_t gone_len, uint32_t nlri_len, update_t *out,
                    fault_t *f) except -1 nogil:
    """Handle the attribute block of an UPDATE whose classic spans are already set."""
    cdef frame_t m
    memset(&m, 0, sizeof(frame_t))
    m.gone_len = gone_len
    m.nlri_len = nlri_len
    scan(p, n, &m, f)
    if m.reach != NULL and not read_reach(ctx, &m, out):
        fault_add(f, OUT_RESET, SUB_OPTIONAL, ATTR_MP_REACH, m.reach, m.reach, m.reach_size)
    if m.unreach != NULL and not read_unreach(ctx, &m, out):
        fault_add(f, OUT_RESET, SUB_OPTIONAL, ATTR_MP_UNREACH, m.unreach, m.unreach,
                  m.unreach_size)
    if f.outcome == OUT_OK:
        if m.others == 0 and out.nlri_len == 0 and out.reach_len == 0:
            return 0  # only withdrawals
        if ctx.as4 and out.reach_len == 0 and out.nlri_len:
            out.attrs_h = known_block(table, ctx, &m, True)
        elif ctx.as4 and out.nlri_len == 0 and out.reach_len:
            out.mp_attrs_h = known_block(table, ctx, &m, False)
        if out.attrs_h or out.mp_attrs_h:
            return 0
    new_block(table, ctx, &m, out, f)
    if f.outcome == OUT_WITHDRAW and nlri_len == 0 and out.reach_len == 0 and not m.foreign:
        # RFC 7606 5.2: with attributes and no routes to withdraw, the frame is not to be trusted.
        f.outcome = OUT_RESET
    return 0


cdef int decode_update(AttrTable table, const decode_ctx_t *ctx, const uint8_t *body, uint32_t n,
                       update_t *out) except -1 nogil:
    """Decode the `n` octets of an UPDATE after its header into `out`; return the outcome.

    MemoryError when the table cannot grow; nothing is held then.
    """
    cdef fault_t f
    cdef const uint8_t *nlri
    cdef uint32_t gone
    cdef uint32_t size
    cdef uint32_t nlri_len
    cdef bint addpath = (ctx.addpath >> FAM_IPV4) & 1
    memset(out, 0, sizeof(update_t))
    memset(&f, 0, sizeof(fault_t))
    out.reach_family = FAM_NONE
    out.unreach_family = FAM_NONE
    out.eor_family = FAM_NONE
    gone = load16(body) if n >= 4 else n
    size = load16(body + 2 + gone) if gone + 4 <= n else n
    if gone + 4 + size > n:
        fault_add(&f, OUT_RESET, SUB_ATTRIBUTE_LIST, 0, body, NULL, 0)  # RFC 7606 3.b
        report(&f, out)
        return OUT_RESET
    nlri = body + 4 + gone + size
    nlri_len = n - 4 - gone - size
    # RFC 7606 3.i, 3.j, 5.3
    if not nlri_ok(body + 2, gone, addpath, 32):
        fault_add(&f, OUT_RESET, SUB_NETWORK, 0, body + 2, NULL, 0)
    if not nlri_ok(nlri, nlri_len, addpath, 32):
        fault_add(&f, OUT_RESET, SUB_NETWORK, 0, nlri, NULL, 0)
    if f.outcome == OUT_OK and (ctx.families >> FAM_IPV4) & 1:
        if n == 4:
            out.eor_family = FAM_IPV4
            return OUT_OK
        if gone:
            out.withdrawn = body + 2
            out.withdrawn_len = gone
        if nlri_len:
            out.nlri = nlri
            out.nlri_len = nlri_len
    if size or nlri_len:
        read_attrs(table, ctx, body + 4 + gone, size, gone, nlri_len, out, &f)
    if f.outcome:
        report(&f, out)
    return f.outcome


cdef void report(const fault_t *f, update_t *out) noexcept nogil:
    """Put a fault into `out`; after a reset nothing else of the UPDATE is left there."""
    if f.outcome == OUT_RESET:
        memset(out, 0, sizeof(update_t))
        out.reach_family = FAM_NONE
        out.unreach_family = FAM_NONE
        out.eor_family = FAM_NONE
    out.outcome = f.outcome
    out.err_subcode = f.subcode
    out.err_attr = f.attr
    out.err_data = f.data
    out.err_len = f.len
    out.discarded = f.discarded


cdef list nlri_list(const uint8_t *p, uint32_t n, bint addpath, uint32_t family):
    """Return [(prefix, path id)] of a validated span."""
    cdef const uint8_t *end = p + n
    cdef uint8_t addr[16]
    cdef uint32_t path_id
    cdef uint32_t plen
    cdef list out = []
    while p < end:
        p += nlri_next(p, addpath, 4 if family == FAM_IPV4 else 16, &path_id, &plen, addr)
        out.append((prefix_text(addr, plen, family), path_id))
    return out


@cython.final
cdef class Decoder:
    """Decodes UPDATEs one by one into Python data; for tests, files and tools."""

    cdef AttrTable table
    cdef decode_ctx_t ctx

    def __cinit__(self, AttrTable table not None, bint as4=True, bint ibgp=False,
                  uint8_t families=3, uint8_t addpath=0, bint ext_next_hop=False):
        self.table = table
        self.ctx.as4 = as4
        self.ctx.ibgp = ibgp
        self.ctx.families = families
        self.ctx.addpath = addpath
        self.ctx.ext_next_hop = ext_next_hop

    cdef list spans(self, const uint8_t *p, uint32_t n, uint32_t family):
        if n == 0:
            return []
        return [(family, prefix, path_id) for prefix, path_id
                in nlri_list(p, n, (self.ctx.addpath >> family) & 1, family)]

    def decode(self, bytes body not None):
        cdef update_t u
        cdef bint addpath = self.ctx.addpath & 1
        decode_update(self.table, &self.ctx, body, <uint32_t>len(body), &u)
        try:
            return {
                "outcome": u.outcome,
                "err_subcode": u.err_subcode,
                "err_attr": u.err_attr,
                "err_data": u.err_data[:u.err_len] if u.err_len else b"",
                "discarded": u.discarded,
                "eor": None if u.eor_family == FAM_NONE else u.eor_family,
                "withdrawn": nlri_list(u.withdrawn, u.withdrawn_len, addpath, FAM_IPV4),
                "announced": nlri_list(u.nlri, u.nlri_len, addpath, FAM_IPV4),
                "reach": self.spans(u.reach, u.reach_len, u.reach_family),
                "unreach": self.spans(u.unreach, u.unreach_len, u.unreach_family),
                "attrs": self.table.describe(u.attrs_h) if u.attrs_h else None,
                "mp_attrs": self.table.describe(u.mp_attrs_h) if u.mp_attrs_h else None,
            }
        finally:
            if u.attrs_h:
                self.table.unref(u.attrs_h)
            if u.mp_attrs_h:
                self.table.unref(u.mp_attrs_h)

    def handles(self, bytes body not None):
        cdef update_t u
        decode_update(self.table, &self.ctx, body, <uint32_t>len(body), &u)
        return u.outcome, u.attrs_h, u.mp_attrs_h
