"""What community values mean here: patterns to look values up in, and what is added on the way out.

In: definitions, already resolved to octets (rs/communities.py). Out: the rule that a value falls
under, and the informational values that a route is given. The objects own their tables, and never
change once they are in use: another configuration makes others. RFC 1997, 4360, 8092.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport T_INFORM, T_ROAS, T_STATE, T_STATE_SHIFT
from rs._fastpath.wire cimport store16, store32

check_abi(__name__)

cdef enum:
    # The state bits of filter.pxd, which this module is below.
    RPKI_MASK = 0x03
    RPKI_VALID = 0x01
    IRR_ORIGIN = 0x04
    IRR_PREFIX = 0x08
    IRR_CHECKED = 0x10


@cython.final
cdef class CommunityRules:
    def __dealloc__(self):
        for kind in range(N_KINDS):
            free(self.rules[kind])
        free(self.informs)

    def add(self, uint32_t kind, bytes value, bytes mask, uint32_t action, uint32_t amount=0,
            uint32_t var_at=0, uint32_t var_len=0):
        """Act on the values of a kind that are `value` under `mask`; the most specific come first.

        `var_len` octets at `var_at` name an AS number or a time. ValueError for other lengths.
        """
        cdef rule_t *p
        cdef rule_t *r
        cdef uint32_t size = 4 * (kind + 1)
        if kind >= N_KINDS or len(value) != size or len(mask) != size or var_at + var_len > size:
            raise ValueError(f"a value of kind {kind} has {size} octets")
        p = <rule_t *>realloc(self.rules[kind], (self.n_rules[kind] + 1) * sizeof(rule_t))
        if p == NULL:
            raise MemoryError
        self.rules[kind] = p
        r = &p[self.n_rules[kind]]
        memset(r, 0, sizeof(rule_t))
        memcpy(r.mask, <const char *>mask, size)
        masked = bytes(a & b for a, b in zip(value, mask))
        memcpy(r.value, <const char *>masked, size)
        r.action = <uint8_t>action
        r.amount = <uint8_t>amount
        r.var_at = <uint8_t>var_at
        r.var_len = <uint8_t>var_len
        self.n_rules[kind] += 1
        head = 2 if kind == KIND_STANDARD else 4
        if mask[:head].count(255) < head:
            self.seen[kind] = ~<unsigned long>0
        else:
            self.seen[kind] |= <unsigned long>1 << first_octets(kind, <const uint8_t *>masked)

    def inform(self, uint32_t tells, uint32_t kind, bytes value, uint32_t var_at=0,
               uint32_t var_len=0):
        """Add a value to routes of which `tells` holds; an AS number goes into its octets."""
        cdef inform_t *p
        cdef inform_t *f
        if kind >= N_KINDS or len(value) != 4 * (kind + 1) or tells >= N_INFORM:
            raise ValueError(f"a value of kind {kind} has {4 * (kind + 1)} octets")
        p = <inform_t *>realloc(self.informs, (self.n_informs + 1) * sizeof(inform_t))
        if p == NULL:
            raise MemoryError
        self.informs = p
        f = &p[self.n_informs]
        memcpy(f.value, <const char *>value, len(value))
        f.tells = <uint8_t>tells
        f.kind = <uint8_t>kind
        f.var_at = <uint8_t>var_at
        f.var_len = <uint8_t>var_len
        self.n_informs += 1
        if tells == INFORM_LEARNT_FROM:
            self.inform_source = True

    @property
    def informative(self):
        """Whether any route is given informational communities."""
        return self.n_informs > 0

    cdef uint32_t additions(self, uint32_t transform, uint32_t kind, uint32_t source_asn,
                            uint32_t origin_asn, uint8_t *out) noexcept nogil:
        """Write the informational values of a kind for a route; return their octets, at most
        INFORM_LEN."""
        cdef uint32_t state = (transform & T_STATE) >> T_STATE_SHIFT
        cdef uint32_t size = 4 * (kind + 1)
        cdef uint32_t n = 0, i, asn
        cdef uint32_t holds
        cdef inform_t *f
        if not transform & T_INFORM:
            return 0
        holds = facts(state, (transform & T_ROAS) != 0)
        for i in range(self.n_informs):
            f = &self.informs[i]
            if f.kind != kind or not (holds >> f.tells) & 1:
                continue
            asn = source_asn if f.tells == INFORM_LEARNT_FROM else origin_asn
            if n + size > INFORM_LEN:
                break
            if f.var_len and (asn == 0 or (f.var_len == 2 and asn > 0xFFFF)):
                continue        # there is no such value
            memcpy(out + n, f.value, size)
            if f.var_len == 2:
                store16(out + n + f.var_at, asn)
            elif f.var_len == 4:
                store32(out + n + f.var_at, asn)
            n += size
        return n

    def find_value(self, uint32_t kind, bytes value):
        """Return the action that a value asks for, None for a value that is not ours."""
        cdef const rule_t *r = self.find(kind, <const uint8_t *>value)
        return None if r == NULL else r.action


cdef uint32_t facts(uint32_t state, bint roas) noexcept nogil:
    """What holds of an accepted route, a bit by inform_as, from what its filter found out.

    A white list may have let it through with its origin or prefix in no AS-SET; then IRR_CHECKED is
    not set and the other two bits are 1 (origin present), 2 (prefix present) or 3 (neither).
    """
    cdef uint32_t rpki = state & RPKI_MASK
    cdef uint32_t holds = (<uint32_t>1 << (INFORM_RPKI_NOT_CHECKED + rpki)
                           | 1 << INFORM_LEARNT_FROM | 1 << INFORM_ORIGIN)
    cdef bint origin = state & IRR_ORIGIN
    cdef bint prefix = state & IRR_PREFIX
    if not state & IRR_CHECKED:
        if not origin and not prefix:
            return holds
        holds |= 1 << INFORM_BY_WHITE_LIST
        if origin and prefix:
            origin = prefix = False
    elif not prefix and rpki == RPKI_VALID and roas:
        holds |= 1 << INFORM_BY_ROA
    holds |= 1 << (INFORM_ORIGIN_PRESENT if origin else INFORM_ORIGIN_NOT_PRESENT)
    holds |= 1 << (INFORM_PREFIX_PRESENT if prefix else INFORM_PREFIX_NOT_PRESENT)
    return holds
