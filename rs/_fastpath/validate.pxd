# Attribute rules of RFC 7606 and the canonical form. Implementation: validate.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# The severest fault of an UPDATE so far; of equal ones the first in the message.
cdef struct fault_t:
    const uint8_t *where    # its place in the message
    const uint8_t *data     # what RFC 4271 6.3 wants in the Data field: mostly the attribute
    uint32_t len            # octets of data
    uint8_t outcome         # outcome_t
    uint8_t subcode         # of UPDATE Message Error; 0 where none exists
    uint8_t attr            # attribute type, 0 = the message frame
    uint8_t discarded       # attributes dropped, stops at 255

# The attributes of an UPDATE that were kept, by type. Points into the message.
cdef struct block_t:
    const uint8_t *base     # attribute block
    uint64_t seen[4]        # bit per type
    uint16_t at[256]        # offset of the attribute in base, valid where seen

cdef inline bint block_has(const block_t *b, uint32_t type_) noexcept nogil:
    return (b.seen[type_ >> 6] >> (type_ & 63)) & 1

cdef enum:
    # Bits for `need` of check_block.
    NEED_ROUTE = 1 << 1 | 1 << 2            # ORIGIN and AS_PATH
    NEED_CLASSIC = NEED_ROUTE | 1 << 3      # and NEXT_HOP

cdef void fault_add(fault_t *f, uint32_t outcome, uint32_t subcode, uint32_t attr,
                    const uint8_t *where, const uint8_t *data, uint32_t n) noexcept nogil

# Sort the attributes of a framed block (all but MP_*) and apply the rules. `hop_meant`: NEXT_HOP
# is not there in vain; `need`: the attributes that must be there.
cdef void check_block(block_t *b, const uint8_t *p, uint32_t n, bint as4, bint ibgp,
                      bint hop_meant, uint32_t need, fault_t *f) noexcept nogil

# Write the canonical form of a checked block, `nh` being the 4 octets for NEXT_HOP or NULL for
# none. Returns its octets, 0 when they would be more than 65,535; `out` has room for these.
cdef uint32_t canonical(const block_t *b, bint as4, const uint8_t *nh, uint64_t seed,
                        uint8_t *out) noexcept nogil
