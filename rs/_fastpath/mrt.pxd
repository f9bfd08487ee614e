# MRT octets to records, RIB entries and BGP messages. Implementation: mrt.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# RFC 6396 4, 8050 and 6397; values of the Type and Subtype fields.
cdef enum:
    MRT_TABLE_DUMP = 12
    MRT_TABLE_DUMP_V2 = 13
    MRT_BGP4MP = 16
    MRT_BGP4MP_ET = 17
    MRT_ISIS_ET = 33
    MRT_OSPFV3_ET = 49

    V2_PEER_INDEX_TABLE = 1
    V2_RIB_IPV4_UNICAST = 2
    V2_RIB_IPV4_MULTICAST = 3
    V2_RIB_IPV6_UNICAST = 4
    V2_RIB_IPV6_MULTICAST = 5
    V2_RIB_GENERIC = 6
    V2_RIB_IPV4_UNICAST_ADDPATH = 8
    V2_RIB_IPV4_MULTICAST_ADDPATH = 9
    V2_RIB_IPV6_UNICAST_ADDPATH = 10
    V2_RIB_IPV6_MULTICAST_ADDPATH = 11
    V2_RIB_GENERIC_ADDPATH = 12

    MRT_HEADER_LEN = 12
    # A record that claims more is damage, not data: 65,535 entries of 200 octets take 13 MB.
    MRT_MAX_RECORD = 1 << 26

# What a function says of a record.
cdef enum mrt_status_t:
    MRT_OK = 0
    MRT_SKIP = 1            # whole, but of no use here: another family or type
    MRT_SHORT = 2           # a field reaches past the end of the record
    MRT_PREFIX = 3          # prefix length above the family's
    MRT_PEER = 4            # peer index beyond the PEER_INDEX_TABLE
    MRT_NO_INDEX = 5        # RIB record before any PEER_INDEX_TABLE
    MRT_MESSAGE = 6         # no BGP message where one should be
    MRT_AFI = 7             # address family of a peer that is neither IPv4 nor IPv6
    MRT_LENGTH = 8          # the record claims more than MRT_MAX_RECORD

# One record. body points into the Framer's buffer: valid until the next feed.
cdef struct record_t:
    const uint8_t *body
    uint64_t number         # 1 for the file's first record
    uint64_t offset         # octets from the start of the uncompressed data to the MRT header
    uint32_t len            # octets of body; the microseconds of *_ET are not part of it
    uint32_t time           # seconds since 1970
    uint32_t usec           # microseconds, 0 unless *_ET
    uint16_t type
    uint16_t subtype

# Cursor over the entries of one TABLE_DUMP or TABLE_DUMP_V2 record.
cdef struct rib_t:
    const uint8_t *p        # next entry
    const uint8_t *end
    const uint8_t *peer     # TABLE_DUMP: the peer's address, which stands in the record; else NULL
    uint32_t peer_asn       # TABLE_DUMP only
    uint32_t left           # entries to come
    uint32_t path_id        # RFC 8050's letter for RIB_GENERIC_ADDPATH: one identifier for all
    uint8_t nlri[17]        # length octet and prefix, bits past the mask cleared
    uint8_t nlri_len        # octets
    uint8_t family          # FAM_*
    uint8_t addpath         # entries have path identifiers
    uint8_t id_in_nlri      # path_id above holds instead of one per entry
    uint8_t as4             # 4-octet AS numbers in the attributes

cdef struct entry_t:
    const uint8_t *attrs
    uint32_t attrs_len
    uint32_t peer           # index in the PEER_INDEX_TABLE; unset for TABLE_DUMP
    uint32_t originated     # seconds since 1970
    uint32_t path_id        # 0 without ADD-PATH

# One BGP4MP record.
cdef struct bgp4mp_t:
    const uint8_t *peer     # addresses, addr_len octets each
    const uint8_t *local
    const uint8_t *msg      # the BGP message from its marker on; NULL in a state change
    uint32_t msg_len
    uint32_t peer_asn
    uint32_t local_asn
    uint16_t old_state      # RFC 4271 8.2.2 numbered from 1 = Idle; 0 in a message
    uint16_t new_state
    uint8_t addr_len        # 4 or 16
    uint8_t as4             # 4-octet AS numbers in the message's attributes
    uint8_t sent            # *_LOCAL: the collector's own message
    uint8_t addpath         # NLRI of the message carry path identifiers

cdef int rib_open(const record_t *r, rib_t *rib) noexcept nogil
cdef int rib_next(rib_t *rib, entry_t *e) noexcept nogil
cdef int bgp4mp_open(const record_t *r, bgp4mp_t *m) noexcept nogil

cdef class Framer:
    """Cuts decompressed octets into records; owns its buffer."""

    cdef uint8_t *buf
    cdef uint64_t cap           # octets allocated
    cdef uint64_t start         # first octet not yet given out
    cdef uint64_t end           # octets held
    cdef readonly uint64_t number   # records given out
    cdef readonly uint64_t offset   # of the next record, in the uncompressed data

    cdef int push(self, const uint8_t *data, uint64_t n) except -1
    cdef int take(self, record_t *r) noexcept nogil
