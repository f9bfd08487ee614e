"""What makes an attribute malformed, what follows from it, and the canonical form.

In: the attributes of one UPDATE, already cut at their headers. Out: the severest fault, and the
canonical block that the attribute table interns. Owns nothing; everything points into the message
or into the caller's buffer.

The rules are a table, one row per attribute: RFC 7606 3, 4 and 7, RFC 6793 6 (AS4_*), RFC 7311 3
(AIGP), RFC 7607 2 (AS 0), RFC 8092 6 (LARGE_COMMUNITY), RFC 9234 5 (OTC). To add an attribute, add
its number to types.pxd and iana.py, a row here, a line in `check_value` if its value has a form,
and its key to attrdict.pyx.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from rs._fastpath.attrs cimport attr_next, attr_t
from rs._fastpath.hashing cimport hash_bytes
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_OPTIONAL,
    AFLAG_PARTIAL,
    AFLAG_TRANSITIVE,
    AS_TRANS,
    ATTR_AGGREGATOR,
    ATTR_AIGP,
    ATTR_AS4_AGGREGATOR,
    ATTR_AS4_PATH,
    ATTR_AS_PATH,
    ATTR_ATOMIC_AGGREGATE,
    ATTR_CLUSTER_LIST,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    ATTR_LOCAL_PREF,
    ATTR_MED,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    ATTR_ORIGIN,
    ATTR_ORIGINATOR_ID,
    ATTR_OTC,
    OUT_DISCARD,
    OUT_RESET,
    OUT_WITHDRAW,
    SEG_CONFED_SET,
    SEG_SEQUENCE,
    SEG_SET,
)
from rs._fastpath.wire cimport load16, load32, put_head, store32

check_abi(__name__)


cdef extern from *:
    int ctz64 "__builtin_ctzll"(unsigned long long v) noexcept nogil

# Subcodes of UPDATE Message Error (RFC 4271 6.3).
cdef enum:
    SUB_ATTRIBUTE_LIST = 1
    SUB_UNRECOGNIZED_WELL_KNOWN = 2
    SUB_MISSING_WELL_KNOWN = 3
    SUB_FLAGS = 4
    SUB_LENGTH = 5
    SUB_ORIGIN = 6
    SUB_OPTIONAL = 9
    SUB_AS_PATH = 11

cdef enum:
    # How the length must be.
    LEN_FREE = 0
    LEN_EXACT = 1
    LEN_MULTIPLE = 2        # of size, and not 0
    # From an external peer.
    EXT_KEEP = 0
    EXT_DISCARD = 1         # attribute discard, and counted
    EXT_IGNORE = 2          # as if it were unknown and non-transitive

cdef enum:
    WELL_KNOWN = AFLAG_TRANSITIVE
    OPTIONAL = AFLAG_OPTIONAL
    TRANSITIVE = AFLAG_OPTIONAL | AFLAG_TRANSITIVE
    MAX_BLOCK = 65535
    EXPORT_ROOM = 64        # octets: LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST, our AS
    FEW = 16                # values up to which comparing each with each is cheapest
    SLOTS = 16384           # > 65,535 / 12 * 2

cdef struct rule_t:
    uint8_t known
    uint8_t flags           # Optional and Transitive as specified
    uint8_t on_flags        # outcome when they differ
    uint8_t on_value        # outcome when length or value is wrong
    uint8_t shape           # LEN_*
    uint8_t size            # octets
    uint8_t old_size        # the same with 2-octet AS numbers
    uint8_t external        # EXT_*

cdef rule_t RULES[256]
# Data of Missing Well-known Attribute is the type; these are what it points to.
cdef uint8_t TYPES[4]


cdef int fill_rules() except -1:
    cdef uint32_t i
    for i in range(4):
        TYPES[i] = <uint8_t>i
    memset(RULES, 0, sizeof(RULES))
    for type_, flags, on_flags, on_value, shape, size, old_size, external in (
        (ATTR_ORIGIN, WELL_KNOWN, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 1, 1, EXT_KEEP),
        (ATTR_AS_PATH, WELL_KNOWN, OUT_WITHDRAW, OUT_WITHDRAW, LEN_FREE, 0, 0, EXT_KEEP),
        (ATTR_NEXT_HOP, WELL_KNOWN, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 4, 4, EXT_KEEP),
        (ATTR_MED, OPTIONAL, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 4, 4, EXT_KEEP),
        (ATTR_LOCAL_PREF, WELL_KNOWN, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 4, 4, EXT_DISCARD),
        # RFC 7606 3.f takes these two out of 3.c.
        (ATTR_ATOMIC_AGGREGATE, WELL_KNOWN, OUT_DISCARD, OUT_DISCARD, LEN_EXACT, 0, 0, EXT_KEEP),
        (ATTR_AGGREGATOR, TRANSITIVE, OUT_DISCARD, OUT_DISCARD, LEN_EXACT, 8, 6, EXT_KEEP),
        (ATTR_COMMUNITIES, TRANSITIVE, OUT_WITHDRAW, OUT_WITHDRAW, LEN_MULTIPLE, 4, 4, EXT_KEEP),
        (ATTR_ORIGINATOR_ID, OPTIONAL, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 4, 4, EXT_DISCARD),
        (ATTR_CLUSTER_LIST, OPTIONAL, OUT_WITHDRAW, OUT_WITHDRAW, LEN_MULTIPLE, 4, 4, EXT_DISCARD),
        (ATTR_EXT_COMMUNITIES, TRANSITIVE, OUT_WITHDRAW, OUT_WITHDRAW, LEN_MULTIPLE, 8, 8,
         EXT_KEEP),
        (ATTR_AS4_PATH, TRANSITIVE, OUT_WITHDRAW, OUT_DISCARD, LEN_FREE, 0, 0, EXT_KEEP),
        (ATTR_AS4_AGGREGATOR, TRANSITIVE, OUT_WITHDRAW, OUT_DISCARD, LEN_EXACT, 8, 8, EXT_KEEP),
        # RFC 7311 3.1, 3.3: off towards external peers, and wrong flags are malformed too.
        (ATTR_AIGP, OPTIONAL, OUT_DISCARD, OUT_DISCARD, LEN_FREE, 0, 0, EXT_IGNORE),
        (ATTR_LARGE_COMMUNITY, TRANSITIVE, OUT_WITHDRAW, OUT_WITHDRAW, LEN_MULTIPLE, 12, 12,
         EXT_KEEP),
        (ATTR_OTC, TRANSITIVE, OUT_WITHDRAW, OUT_WITHDRAW, LEN_EXACT, 4, 4, EXT_KEEP),
    ):
        RULES[type_] = rule_t(1, flags, on_flags, on_value, shape, size, old_size, external)
    return 0


fill_rules()


cdef void fault_add(fault_t *f, uint32_t outcome, uint32_t subcode, uint32_t attr,
                    const uint8_t *where, const uint8_t *data, uint32_t n) noexcept nogil:
    """Note a fault; the severest counts (RFC 7606 3.h)."""
    if outcome > f.outcome or (outcome == f.outcome and where < f.where):
        f.outcome = <uint8_t>outcome
        f.subcode = <uint8_t>subcode
        f.attr = <uint8_t>attr
        f.where = where
        f.data = data
        f.len = n


cdef void attr_fault(fault_t *f, uint32_t outcome, uint32_t subcode, uint32_t type_,
                     const uint8_t *p, uint32_t size) noexcept nogil:
    """Note a fault in the attribute of `size` octets at `p`."""
    if outcome == OUT_DISCARD and f.discarded < 255:
        f.discarded += 1
    fault_add(f, outcome, subcode, type_, p, p, size)


cdef bint path_ok(const uint8_t *p, uint32_t n, uint32_t width) noexcept nogil:
    """RFC 7606 7.2 and RFC 7607 2, with AS numbers of `width` octets."""
    cdef uint32_t size
    cdef uint32_t asn
    cdef uint32_t i
    while n:
        if n < 2 or p[0] < SEG_SET or p[0] > SEG_CONFED_SET or p[1] == 0:
            return False
        size = 2 + width * p[1]
        if size > n:
            return False
        for i in range(p[1]):
            asn = load32(p + 2 + 4 * i) if width == 4 else load16(p + 2 + 2 * i)
            if asn == 0:
                return False
        p += size
        n -= size
    return True


cdef uint32_t path_count(const uint8_t *p, uint32_t n, uint32_t width) noexcept nogil:
    """Length for the decision (RFC 4271 9.1.2.2, RFC 5065 5.3) of a checked path."""
    cdef const uint8_t *end = p + n
    cdef uint32_t count = 0
    while p < end:
        if p[0] == SEG_SEQUENCE:
            count += p[1]
        elif p[0] == SEG_SET:
            count += 1
        p += 2 + width * p[1]
    return count


cdef bint aigp_ok(const uint8_t *p, uint32_t n) noexcept nogil:
    """RFC 7311 3: TLVs that fill the attribute; the first AIGP TLV has a metric below the top."""
    cdef bint first = True
    cdef uint32_t size
    while n:
        if n < 3:
            return False
        size = load16(p + 1)
        if size < 3 or size > n:
            return False
        if p[0] == 1:
            if size != 11:
                return False
            if first and load32(p + 3) == 0xFFFFFFFFU and load32(p + 7) == 0xFFFFFFFFU:
                return False
            first = False
        p += size
        n -= size
    return True


cdef uint32_t check_value(uint32_t type_, const uint8_t *v, uint32_t n, bint as4) noexcept nogil:
    """Return 0, or the subcode that says why a value of right length is malformed."""
    if type_ == ATTR_ORIGIN:
        return SUB_ORIGIN if v[0] > 2 else 0
    if type_ == ATTR_AS_PATH:
        return 0 if path_ok(v, n, 4 if as4 else 2) else SUB_AS_PATH
    if type_ == ATTR_AGGREGATOR:
        if load16(v) == 0 and (not as4 or load16(v + 2) == 0):
            return SUB_OPTIONAL
        return 0
    if type_ == ATTR_AS4_PATH:
        if n < 6 or n & 1:
            return SUB_LENGTH
        return 0 if path_ok(v, n, 4) else SUB_OPTIONAL
    if type_ == ATTR_AS4_AGGREGATOR:
        return SUB_OPTIONAL if load32(v) == 0 else 0
    if type_ == ATTR_AIGP:
        if n == 0:
            return SUB_LENGTH
        return 0 if aigp_ok(v, n) else SUB_OPTIONAL
    return 0


cdef bint check_attr(attr_t *a, const uint8_t *p, uint32_t size, bint as4, bint ibgp,
                     fault_t *f) noexcept nogil:
    """Apply the rules to one attribute of `size` octets at `p`; whether it is kept."""
    cdef const rule_t *rule = &RULES[a.type]
    cdef uint32_t want = rule.size if as4 else rule.old_size
    cdef uint32_t subcode = 0
    if not rule.known:
        if not a.flags & AFLAG_OPTIONAL:
            attr_fault(f, OUT_RESET, SUB_UNRECOGNIZED_WELL_KNOWN, a.type, p, size)
            return False
        return (a.flags & AFLAG_TRANSITIVE) != 0
    if not ibgp and rule.external:
        if rule.external == EXT_DISCARD:
            attr_fault(f, OUT_DISCARD, 0, a.type, p, size)
        return False
    if as4 and (a.type == ATTR_AS4_PATH or a.type == ATTR_AS4_AGGREGATOR):
        attr_fault(f, OUT_DISCARD, 0, a.type, p, size)  # RFC 6793 4.1
        return False
    if (a.flags ^ rule.flags) & (AFLAG_OPTIONAL | AFLAG_TRANSITIVE):
        attr_fault(f, rule.on_flags, SUB_FLAGS, a.type, p, size)
        return False
    if rule.shape == LEN_EXACT:
        if a.len != want:
            subcode = SUB_LENGTH
    elif rule.shape == LEN_MULTIPLE:
        if a.len == 0 or a.len % want:
            subcode = SUB_LENGTH
    if subcode == 0:
        subcode = check_value(a.type, a.value, a.len, as4)
    if subcode:
        attr_fault(f, rule.on_value, subcode, a.type, p, size)
    return subcode == 0


cdef inline void forget(block_t *b, uint32_t type_) noexcept nogil:
    b.seen[type_ >> 6] &= ~(<uint64_t>1 << (type_ & 63))


cdef void settle_as4(block_t *b) noexcept nogil:
    """Decide which of AS4_PATH and AS4_AGGREGATOR count (RFC 6793 4.2.3); drop the others."""
    cdef attr_t a
    cdef attr_t four
    if block_has(b, ATTR_AS4_AGGREGATOR):
        if not block_has(b, ATTR_AGGREGATOR):
            forget(b, ATTR_AS4_AGGREGATOR)
        else:
            attr_next(b.base + b.at[ATTR_AGGREGATOR], &a)
            if load16(a.value) != AS_TRANS:
                forget(b, ATTR_AS4_AGGREGATOR)
                forget(b, ATTR_AS4_PATH)
    if block_has(b, ATTR_AS4_PATH) and block_has(b, ATTR_AS_PATH):
        attr_next(b.base + b.at[ATTR_AS4_PATH], &four)
        attr_next(b.base + b.at[ATTR_AS_PATH], &a)
        if path_count(a.value, a.len, 2) < path_count(four.value, four.len, 4):
            forget(b, ATTR_AS4_PATH)


cdef void check_block(block_t *b, const uint8_t *p, uint32_t n, bint as4, bint ibgp,
                      bint hop_meant, uint32_t need, fault_t *f) noexcept nogil:
    cdef const uint8_t *end = p + n
    cdef uint64_t met[4]
    cdef uint64_t bit
    cdef uint32_t size
    cdef uint32_t i
    cdef attr_t a
    memset(met, 0, sizeof(met))
    memset(b.seen, 0, sizeof(b.seen))
    b.base = p
    while p < end:
        size = attr_next(p, &a)
        bit = <uint64_t>1 << (a.type & 63)
        if a.type == ATTR_MP_REACH or a.type == ATTR_MP_UNREACH:
            pass
        elif met[a.type >> 6] & bit:
            attr_fault(f, OUT_DISCARD, SUB_ATTRIBUTE_LIST, a.type, p, size)  # RFC 7606 3.g
        else:
            met[a.type >> 6] |= bit
            # RFC 4760 3: NEXT_HOP beside MP_REACH_NLRI alone is ignored.
            if ((a.type != ATTR_NEXT_HOP or hop_meant)
                    and check_attr(&a, p, size, as4, ibgp, f)):
                b.seen[a.type >> 6] |= bit
                b.at[a.type] = <uint16_t>(p - b.base)
        p += size
    need &= ~<uint32_t>met[0]
    for i in range(1, 4):
        if (need >> i) & 1:  # RFC 7606 3.d
            fault_add(f, OUT_WITHDRAW, SUB_MISSING_WELL_KNOWN, i, end + i, &TYPES[i], 1)
    if not as4:
        settle_as4(b)


cdef uint32_t close_attr(uint8_t *out, uint32_t flags, uint32_t type_, uint32_t n) noexcept nogil:
    """Put the header before a value of `n` octets that was written at out + 4."""
    if put_head(out, flags, type_, n) == out + 3:
        memmove(out + 3, out + 4, n)
        return 3 + n
    return 4 + n


cdef uint32_t widen(uint8_t *out, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        store32(out + 4 * i, load16(p + 2 * i))
    return 4 * n


cdef uint32_t build_path(uint8_t *out, attr_t *old, attr_t *four) noexcept nogil:
    """Write AS_PATH with 4-octet AS numbers from a 2-octet one and AS4_PATH (NULL: none).

    RFC 6793 4.2.3: the leading AS numbers that AS4_PATH lacks come from AS_PATH. Confederation
    segments there stay when they lead or touch a segment that stays whole.
    """
    cdef const uint8_t *p = old.value
    cdef const uint8_t *end = p + old.len
    cdef uint32_t missing = 0xFFFFFFFFU
    cdef uint32_t w = 0
    cdef uint32_t take
    cdef uint8_t *last = NULL
    if four != NULL:
        missing = path_count(p, old.len, 2) - path_count(four.value, four.len, 4)
    while p < end:
        take = p[1]
        if p[0] == SEG_SEQUENCE:
            if take > missing:
                take = missing
            missing -= take
        elif p[0] == SEG_SET:
            if missing == 0:
                break
            missing -= 1
        if take == 0:
            break
        last = out + w
        out[w] = p[0]
        out[w + 1] = <uint8_t>take
        w += 2 + widen(out + w + 2, p + 2, take)
        if take < p[1]:
            break
        p += 2 + 2 * <uint32_t>p[1]
    if four == NULL:
        return w
    p = four.value
    end = p + four.len
    while p < end:
        take = p[1]
        if p[0] <= SEG_SEQUENCE:
            # One sequence where 255 fit, as if prepended by a 4-octet speaker (RFC 4271 5.1.2).
            if (last != NULL and last[0] == SEG_SEQUENCE and p[0] == SEG_SEQUENCE
                    and last[1] + take <= 255):
                last[1] += <uint8_t>take
                memcpy(out + w, p + 2, 4 * take)
                w += 4 * take
            else:
                memcpy(out + w, p, 2 + 4 * take)
                w += 2 + 4 * take
            last = NULL
        p += 2 + 4 * take
    return w


cdef uint32_t copy_distinct_few(uint8_t *out, const uint8_t *p, uint32_t n) noexcept nogil:
    cdef uint32_t w = 0
    cdef uint32_t i
    cdef uint32_t j
    for i in range(n):
        for j in range(w):
            if memcmp(out + 12 * j, p + 12 * i, 12) == 0:
                break
        else:
            memcpy(out + 12 * w, p + 12 * i, 12)
            w += 1
    return 12 * w


cdef uint32_t copy_distinct(uint8_t *out, const uint8_t *p, uint32_t n,
                            uint64_t seed) noexcept nogil:
    """Copy `n` large communities without repeats (RFC 8092 3); return the octets written."""
    cdef uint16_t slots[SLOTS]      # 1 + position in out
    cdef uint32_t mask = 63
    cdef uint32_t w = 0
    cdef uint32_t i
    cdef uint32_t j
    if n <= FEW:
        return copy_distinct_few(out, p, n)
    while mask < 2 * n:
        mask = mask * 2 + 1
    memset(slots, 0, (mask + 1) * sizeof(uint16_t))
    for i in range(n):
        j = <uint32_t>hash_bytes(seed, p + 12 * i, 12) & mask
        while slots[j] and memcmp(out + 12 * (slots[j] - 1), p + 12 * i, 12) != 0:
            j = (j + 1) & mask
        if slots[j] == 0:
            memcpy(out + 12 * w, p + 12 * i, 12)
            w += 1
            slots[j] = <uint16_t>w
    return 12 * w


cdef uint32_t put_aggregator(uint8_t *out, const block_t *b, attr_t *a) noexcept nogil:
    """Write AGGREGATOR with a 4-octet AS number (RFC 6793 4.2.3)."""
    cdef attr_t four
    cdef uint32_t flags = TRANSITIVE | (a.flags & AFLAG_PARTIAL)
    put_head(out, flags, ATTR_AGGREGATOR, 8)
    if block_has(b, ATTR_AS4_AGGREGATOR):
        attr_next(b.base + b.at[ATTR_AS4_AGGREGATOR], &four)
        memcpy(out + 3, four.value, 8)
    else:
        store32(out + 3, load16(a.value))
        memcpy(out + 7, a.value + 2, 4)
    return 11


cdef uint32_t put_attr(uint8_t *out, const block_t *b, attr_t *a, bint as4, uint64_t seed,
                       uint32_t room) noexcept nogil:
    """Write one attribute in canonical form; 0 when it does not fit into `room` octets."""
    cdef const rule_t *rule = &RULES[a.type]
    cdef uint32_t flags = TRANSITIVE | AFLAG_PARTIAL  # RFC 4271 5: unknown and passed on
    cdef uint32_t n
    cdef attr_t four
    if rule.known:
        flags = rule.flags
        if rule.flags == TRANSITIVE:
            flags |= a.flags & AFLAG_PARTIAL
    if a.type == ATTR_AS_PATH and not as4:
        if block_has(b, ATTR_AS4_PATH):
            attr_next(b.base + b.at[ATTR_AS4_PATH], &four)
            if 4 + 2 * <uint32_t>a.len + four.len > room:
                return 0
            return close_attr(out, flags, a.type, build_path(out + 4, a, &four))
        if 4 + 2 * <uint32_t>a.len > room:
            return 0
        return close_attr(out, flags, a.type, build_path(out + 4, a, NULL))
    if 12 + <uint32_t>a.len > room:
        return 0
    if a.type == ATTR_AGGREGATOR and not as4:
        return put_aggregator(out, b, a)
    if a.type == ATTR_LARGE_COMMUNITY:
        n = copy_distinct(out + 4, a.value, a.len / 12, seed)
        return close_attr(out, flags, a.type, n)
    n = <uint32_t>(put_head(out, flags, a.type, a.len) - out)
    memcpy(out + n, a.value, a.len)
    return n + a.len


cdef uint32_t canonical(const block_t *b, bint as4, const uint8_t *nh, uint64_t seed,
                        uint8_t *out) noexcept nogil:
    # What grows by widening must leave room for what an export adds (rewrite.pyx), or the set could
    # be kept but not sent on.
    cdef uint32_t room = MAX_BLOCK if as4 else MAX_BLOCK - EXPORT_ROOM
    cdef uint32_t w = 0
    cdef uint32_t i
    cdef uint32_t type_
    cdef uint32_t n
    cdef uint64_t left
    cdef attr_t a
    for i in range(4):
        left = b.seen[i]
        if i == 0:
            left &= ~(<uint64_t>1 << ATTR_NEXT_HOP | <uint64_t>1 << ATTR_AS4_PATH
                      | <uint64_t>1 << ATTR_AS4_AGGREGATOR)
            if nh != NULL:
                left |= <uint64_t>1 << ATTR_NEXT_HOP
        while left:
            type_ = 64 * i + <uint32_t>ctz64(left)
            left &= left - 1
            if type_ == ATTR_NEXT_HOP:
                if w + 7 > room:
                    return 0
                w = <uint32_t>(put_head(out + w, WELL_KNOWN, ATTR_NEXT_HOP, 4) - out)
                memcpy(out + w, nh, 4)
                w += 4
                continue
            attr_next(b.base + b.at[type_], &a)
            n = put_attr(out + w, b, &a, as4, seed, room - w)
            if n == 0:
                return 0
            w += n
    return w
