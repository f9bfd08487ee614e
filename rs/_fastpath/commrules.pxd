# What community values mean here. Implementation: commrules.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    KIND_STANDARD = 0       # 4 octets, RFC 1997
    KIND_EXTENDED = 1       # 8, RFC 4360
    KIND_LARGE = 2          # 12, RFC 8092
    N_KINDS = 3

# What a community asks for. Numbers equal rs/communities.py; tests/test_communities.py compares.
cdef enum action_t:
    ACT_NONE = 0            # only we may set it: taken out, and nothing else
    ACT_DENY_ANY = 1
    ACT_DENY_PEER = 2
    ACT_ALLOW_PEER = 3
    ACT_DENY_LOWER = 4      # round-trip time below that of the value
    ACT_DENY_HIGHER = 5
    ACT_ALLOW_LOWER = 6
    ACT_ALLOW_HIGHER = 7
    ACT_PREPEND_ANY = 8     # rule_t.amount times
    ACT_PREPEND_PEER = 9
    ACT_PREPEND_LOWER = 10
    ACT_PREPEND_HIGHER = 11
    ACT_NO_EXPORT_ANY = 12
    ACT_NO_EXPORT_PEER = 13
    ACT_NO_ADVERTISE_ANY = 14
    ACT_NO_ADVERTISE_PEER = 15
    ACT_BLACKHOLE = 16
    ACT_GSHUT = 17

# What an informational community tells.
cdef enum inform_as:
    INFORM_RPKI_NOT_CHECKED = 0     # + STATE_RPKI of filter.pxd
    INFORM_RPKI_VALID = 1
    INFORM_RPKI_UNKNOWN = 2
    INFORM_RPKI_INVALID = 3
    INFORM_PREFIX_PRESENT = 4
    INFORM_PREFIX_NOT_PRESENT = 5
    INFORM_ORIGIN_PRESENT = 6
    INFORM_ORIGIN_NOT_PRESENT = 7
    INFORM_BY_ROA = 8
    INFORM_BY_WHITE_LIST = 9
    INFORM_LEARNT_FROM = 10         # the value holds the source's AS number
    INFORM_ORIGIN = 11              # the value holds the origin's AS number
    N_INFORM = 12
    INFORM_LEN = 240                # octets of one kind that a route is given at most

# One definition in one form: values whose octets under `mask` are `value`. 32 B each.
cdef struct rule_t:
    uint32_t value[3]       # as in memory, not swapped
    uint32_t mask[3]
    uint8_t action          # action_t
    uint8_t amount
    uint8_t var_at          # offset of the octets that name an AS number or a time
    uint8_t var_len         # 0, 2 or 4 octets
    uint8_t _pad[4]

cdef struct inform_t:
    uint8_t value[12]
    uint8_t tells           # inform_as
    uint8_t kind            # KIND_*
    uint8_t var_at
    uint8_t var_len

cdef class CommunityRules:
    """Every community value that is ours to act on, to take out or to add."""

    cdef rule_t *rules[3]           # by kind, the most specific first
    cdef uint32_t n_rules[3]
    cdef uint64_t seen[3]           # a bit by first_octets() of the rules: most values match none
    cdef inform_t *informs
    cdef uint32_t n_informs
    cdef readonly bint inform_source    # some informational community names the source

    cdef uint32_t additions(self, uint32_t transform, uint32_t kind, uint32_t source_asn,
                            uint32_t origin_asn, uint8_t *out) noexcept nogil

    cdef inline const rule_t *find(self, uint32_t kind, const uint8_t *v) noexcept nogil:
        """The rule that a value falls under, NULL for a value that is not ours."""
        cdef const rule_t *r
        cdef const rule_t *end
        cdef uint32_t word[3]
        if not (self.seen[kind] >> first_octets(kind, v)) & 1:
            return NULL
        memcpy(word, v, 4 * (kind + 1))
        r = self.rules[kind]
        end = r + self.n_rules[kind]
        while r < end:
            if (word[0] & r.mask[0] == r.value[0]
                    and (kind == KIND_STANDARD or (
                        word[1] & r.mask[1] == r.value[1]
                        and (kind == KIND_EXTENDED or word[2] & r.mask[2] == r.value[2])))):
                return r
            r += 1
        return NULL

cdef inline uint32_t first_octets(uint32_t kind, const uint8_t *v) noexcept nogil:
    """A number below 64 from the part of a value that tells whose it is."""
    cdef uint32_t head = <uint32_t>v[0] << 8 | v[1]
    if kind != KIND_STANDARD:
        head = (head << 8 | v[2]) << 8 | v[3]
    return (head * <uint32_t>2654435761) >> 26
