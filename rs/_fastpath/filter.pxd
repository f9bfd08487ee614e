# The import filter of one neighbor. Implementation: filter.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.asnset cimport AsnSet
from rs._fastpath.aspa cimport AspaTable
from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.pfxset cimport PrefixSet
from rs._fastpath.roa cimport RoaTable

# RejectReason of the filter; 64 + the code that ARouteServer gives the same fault.
cdef enum:
    FILTER_AS_PATH_LENGTH = 65
    FILTER_BOGON_PREFIX = 66
    FILTER_BLACK_LIST = 67
    FILTER_NEXT_HOP = 69
    FILTER_BOGON_ASN = 71
    FILTER_TRANSIT_FREE = 72
    FILTER_IRR_ORIGIN = 73
    FILTER_NOT_GLOBAL_UNICAST = 74
    FILTER_NEIGHBOR_BLACK_LIST = 75
    FILTER_IRR_PREFIX = 76
    FILTER_PREFIX_LENGTH = 77
    FILTER_RPKI_INVALID = 78
    FILTER_NEVER_VIA_ROUTE_SERVER = 79
    FILTER_COMMUNITIES = 80
    REASON_ASPA_INVALID = 18    # no ARouteServer code
    FILTER_MAX_PREFIX = 81      # beyond the limit of a peer whose further prefixes are blocked

    FILTER_BLACKHOLE_LENGTH = 32    # no code of ARouteServer's

# What import has found out about a path; kept in the upper bits of path_t.flags.
cdef enum:
    STATE_RPKI = 0x03       # mask: 0 not checked, 1 valid, 2 not found, 3 invalid
    STATE_RPKI_VALID = 1
    STATE_RPKI_UNKNOWN = 2
    STATE_RPKI_INVALID = 3
    STATE_IRR_ORIGIN = 0x04     # origin is in the neighbor's AS-SET
    STATE_IRR_PREFIX = 0x08     # prefix is in the neighbor's AS-SET
    # Not set, and one of the two above is: a white list of routes let in what is not in the IRR.
    # Then these are as usual, but both together mean neither.
    STATE_IRR_CHECKED = 0x10

cdef enum:
    NOTED = 16              # transit-free networks whose routes are counted

# A route that no IRR rule looks at. 28 B; white lists have a handful.
cdef struct white_t:
    uint8_t addr[16]
    uint32_t origin         # 0 = any
    uint8_t family
    uint8_t plen
    uint8_t low             # lengths
    uint8_t high

cdef class Filter:
    """One neighbor's import filter; large sets are shared with others."""

    cdef public uint32_t max_path_len       # AS numbers, 0 = any
    cdef public uint32_t max_communities    # of all kinds together, 0 = any
    cdef uint8_t *hops                      # next hops allowed, 16 octets each, IPv4 left-aligned
    cdef uint32_t n_hops
    cdef bint check_hops
    cdef public AsnSet bogon_asns
    cdef public AsnSet transit_free
    cdef public bint warn_transit           # only count them
    cdef uint32_t noted[NOTED]              # transit-free networks seen, and how often
    cdef uint64_t noted_count[NOTED]
    cdef uint32_t n_noted
    cdef public AsnSet never_via
    cdef public bint global_unicast_only    # IPv6 outside 2000::/3 is rejected
    cdef public PrefixSet black_list
    cdef public PrefixSet neighbor_black_list
    cdef public PrefixSet bogons
    cdef public AsnSet irr_origins
    cdef public PrefixSet irr_prefixes
    cdef public bint enforce_origin         # an origin outside is rejected, not only noted
    cdef public bint enforce_prefix
    cdef public bint allow_longer           # prefixes below those of the IRR
    cdef public bint roas_as_route_objects  # a valid ROA of the origin stands for a route object
    cdef public AsnSet white_origins
    cdef public PrefixSet white_prefixes
    cdef white_t *white_routes
    cdef uint32_t n_white
    cdef public RoaTable roas
    cdef public bint reject_invalid
    cdef public bint graceful_shutdown      # paths that ask for it are the last choice (RFC 8326)
    cdef readonly tuple black_holes         # by family: None, or (shortest, longest) accepted
    cdef uint8_t hole_low[2]                # the same; high 0: black holes are nothing special
    cdef uint8_t hole_high[2]
    cdef public AspaTable aspas             # paths are verified
    cdef public bint downstream             # the neighbor is a provider
    cdef public bint from_server            # the neighbor is a route server: need not be in AS_PATH
    cdef public bint reject_aspa_invalid
    cdef uint8_t low[2]                     # prefix lengths accepted, by family
    cdef uint8_t high[2]
    cdef readonly bint per_prefix           # some check looks at the prefix

    cdef uint32_t _path_state(self, AttrTable attrs, uint32_t attrs_h,
                              uint32_t peer_asn) noexcept nogil
    cdef void _note(self, uint32_t asn) noexcept nogil
    cdef bint _white(self, uint32_t family, const uint8_t *addr, uint32_t plen,
                     uint32_t origin) noexcept nogil
    cdef uint32_t check_attrs(self, AttrTable attrs, uint32_t attrs_h,
                              uint32_t peer_asn) noexcept nogil
    cdef uint32_t check_prefix(self, AttrTable attrs, uint32_t attrs_h, uint32_t family,
                               const uint8_t *addr, uint32_t plen, uint8_t *state) noexcept nogil
