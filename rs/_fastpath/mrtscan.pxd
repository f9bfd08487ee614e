# MRT records to peers and counters. Implementation: mrtscan.pyx.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.mrt cimport Framer, record_t
from rs._fastpath.mrttable cimport Table

# One peer of a file and what it brought.
cdef struct peer_t:
    uint64_t entries[2]     # RIB entries by FAM_*
    uint64_t announced[2]   # NLRI in UPDATEs by FAM_*
    uint64_t withdrawn[2]
    uint64_t messages       # BGP messages received from it, of any type
    uint64_t updates
    uint64_t sent           # BGP messages that the collector sent to it
    uint64_t state_changes
    uint32_t asn
    uint32_t router_id      # 0 = the file does not say
    uint32_t local_asn      # BGP4MP only
    uint8_t addr[16]
    uint8_t local[16]       # BGP4MP only
    uint8_t addr_len        # 4 or 16
    uint8_t as4             # some message has 4-octet AS numbers
    uint8_t addpath         # bit per FAM_*: some NLRI has a path identifier

# How often a pair of type and subtype stands in the file.
cdef struct kind_t:
    uint64_t count
    uint16_t type
    uint16_t subtype

cdef enum:
    MRT_KINDS = 64          # distinct pairs counted apart; a sound file has fewer than ten
    MRT_FAULTS = 8          # damaged records remembered one by one

cdef struct fault_t:
    uint64_t number
    uint64_t offset
    int status              # mrt_status_t

cdef class Scan:
    """Reads records into peers and counters, and RIB entries into a Table if there is one."""

    cdef readonly Framer framer
    cdef readonly Table table   # None: count only
    cdef peer_t *peers
    cdef uint32_t n_peers
    cdef uint32_t peers_cap
    cdef uint32_t *by_address   # open addressing: peer number + 1, 0 = empty
    cdef uint32_t by_address_cap
    cdef uint32_t *index_map    # peer index of the current PEER_INDEX_TABLE -> peer number
    cdef uint32_t index_n
    cdef readonly bint indexed  # a PEER_INDEX_TABLE has been read
    cdef kind_t kinds[MRT_KINDS]
    cdef uint32_t n_kinds
    cdef fault_t faults[MRT_FAULTS]
    cdef uint64_t prefixes[2]           # RIB records by FAM_*
    cdef uint64_t routes[2]             # their entries
    cdef uint64_t other_nlri            # MP attributes of families without a table here
    cdef readonly uint64_t n_other      # records of further pairs
    cdef readonly uint64_t n_faults     # damaged records
    cdef readonly uint64_t n_malformed  # UPDATEs that cannot be read to their end
    cdef readonly uint64_t n_skipped    # whole records of no use here
    cdef readonly uint64_t first_usec   # earliest and latest record, microseconds since 1970
    cdef readonly uint64_t last_usec
    cdef readonly str view              # view name of the first PEER_INDEX_TABLE
    cdef readonly uint32_t collector    # its Collector BGP ID
    cdef bint stopped                   # framing is lost: nothing more can be read

    cdef void fault(self, const record_t *r, int status) noexcept nogil
    cdef int record(self, const record_t *r) except -1 nogil
    cdef int rib_record(self, const record_t *r) except -1 nogil
    cdef int bgp4mp_record(self, const record_t *r) except -1 nogil
    cdef int peer_index_table(self, const record_t *r) except -1 nogil
    cdef int64_t find_peer(self, uint32_t asn, const uint8_t *addr, uint32_t addr_len,
                           uint32_t router_id) except -1 nogil
    cdef int64_t add_peer(self, uint32_t asn, const uint8_t *addr, uint32_t addr_len,
                          uint32_t router_id) except -1 nogil
