# UPDATE bytes to spans and attribute sets. Implementation: decode.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.wire cimport load32, plen_bytes, prefix_load

# What a session has negotiated, as decoding needs it.
cdef struct decode_ctx_t:
    uint8_t as4             # 4-octet AS numbers in AS_PATH and AGGREGATOR (RFC 6793)
    uint8_t ibgp            # LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST are meant (RFC 7606 7.5-7.10)
    uint8_t families        # bit per FAM_*: negotiated
    uint8_t addpath         # bit per FAM_*: NLRI carry path identifiers (RFC 7911 3)
    uint8_t ext_next_hop    # IPv4 NLRI may come with an IPv6 next hop (RFC 8950)

# One decoded UPDATE. Spans point into the message and hold whole, validated NLRI; attribute
# handles are references that the caller owns. 0 and NULL where there is nothing.
cdef struct update_t:
    const uint8_t *withdrawn    # classic Withdrawn Routes, IPv4 unicast
    const uint8_t *nlri         # classic NLRI, IPv4 unicast
    const uint8_t *reach        # NLRI of MP_REACH_NLRI
    const uint8_t *unreach      # NLRI of MP_UNREACH_NLRI
    const uint8_t *err_data     # with RESET: Data field of the NOTIFICATION
    uint32_t withdrawn_len      # octets, as all lengths here
    uint32_t nlri_len
    uint32_t reach_len
    uint32_t unreach_len
    uint32_t err_len
    uint32_t attrs_h            # for nlri; 0 when outcome is OUT_WITHDRAW or worse
    uint32_t mp_attrs_h         # for reach; 0 likewise
    uint8_t reach_family        # FAM_*, FAM_NONE when absent
    uint8_t unreach_family
    uint8_t eor_family          # FAM_* when the UPDATE is an End-of-RIB (RFC 4724 2), else FAM_NONE
    uint8_t outcome             # outcome_t: the severest fault met
    uint8_t err_subcode         # of UPDATE Message Error; also set where the fault was survived
    uint8_t err_attr            # attribute type that the fault is in, 0 = none or the message frame
    uint8_t discarded           # attributes dropped

cdef int decode_update(AttrTable table, const decode_ctx_t *ctx, const uint8_t *body, uint32_t n,
                       update_t *out) except -1 nogil

cdef inline uint32_t nlri_next(const uint8_t *p, bint addpath, uint32_t width, uint32_t *path_id,
                               uint32_t *plen, uint8_t *addr) noexcept nogil:
    """Read one NLRI of a validated span; return its octets. addr gets `width` octets, masked."""
    cdef uint32_t off = 0
    path_id[0] = 0
    if addpath:
        path_id[0] = load32(p)
        off = 4
    plen[0] = p[off]
    return off + 1 + prefix_load(p + off + 1, plen[0], addr, width)
