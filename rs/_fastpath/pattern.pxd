# Communities with wildcards: what one pattern stands for; no code of its own, no module.
#
# RFC 1997 (standard), RFC 4360 and 5668 (extended), RFC 8092 (large).

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from rs._fastpath.types cimport ATTR_COMMUNITIES, ATTR_EXT_COMMUNITIES, ATTR_LARGE_COMMUNITY
from rs._fastpath.wire cimport load16, load32

cdef enum:
    EXT_NUMBER = 0          # first part an AS number: types 0 and 2
    EXT_ADDRESS = 1         # first part an IPv4 address: type 1
    EXT_OCTETS = 2          # the octets as they are, any type

# One pattern: each part within a range. 32 B.
cdef struct pattern_t:
    uint8_t type            # ATTR_*: the attribute it is for
    uint8_t form            # EXT_*
    uint8_t subtype         # of an extended community, but for EXT_OCTETS
    uint8_t _pad[5]
    uint32_t low[3]
    uint32_t high[3]

cdef inline uint32_t community_size(uint32_t type_) noexcept nogil:
    """Octets of one community in an attribute of this type."""
    return 4 if type_ == ATTR_COMMUNITIES else 8 if type_ == ATTR_EXT_COMMUNITIES else 12

cdef inline bint pattern_fits(const pattern_t *p, const uint8_t *v) noexcept nogil:
    """Whether a pattern stands for one community of its own type."""
    cdef uint32_t a, b
    if p.type == ATTR_COMMUNITIES:
        a = load16(v)
        b = load16(v + 2)
    elif p.type == ATTR_LARGE_COMMUNITY:
        a = load32(v)
        b = load32(v + 4)
        if not p.low[2] <= load32(v + 8) <= p.high[2]:
            return False
    elif p.form == EXT_OCTETS:
        a = load32(v)
        b = load32(v + 4)
    elif v[1] != p.subtype:
        return False
    elif v[0] == 0 and p.form == EXT_NUMBER:
        a = load16(v + 2)
        b = load32(v + 4)
    elif (v[0] == 2 and p.form == EXT_NUMBER) or (v[0] == 1 and p.form == EXT_ADDRESS):
        a = load32(v + 2)
        b = load16(v + 6)
    else:
        return False
    return p.low[0] <= a <= p.high[0] and p.low[1] <= b <= p.high[1]

cdef inline bint is_one(const pattern_t *p) noexcept nogil:
    """Whether a pattern for standard communities stands for one of them only."""
    return p.low[0] == p.high[0] and p.low[1] == p.high[1]
