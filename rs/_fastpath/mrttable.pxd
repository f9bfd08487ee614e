# A RIB file's routes by peer and family. Implementation: mrttable.pyx.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.mrt cimport entry_t, rib_t

cdef enum:
    NOT_SHARED = 0xFFFFFFFF     # a record's NLRI is not in the table yet

cdef extern from *:
    """
    #define RS_NULL_BLOCK UINT64_MAX
    """
    const uint64_t NULL_BLOCK "RS_NULL_BLOCK"   # block_t.wire where there is none

# One route: 8 B x routes.
cdef struct row_t:
    uint32_t block
    uint32_t nlri           # offset in Table.nlri

# Routes of one peer and family; sealed() orders them by block, blocks in order of first appearance
# and the routes of one in the file's order.
cdef struct rows_t:
    row_t *rows
    uint32_t n
    uint32_t cap
    uint32_t n_blocks       # distinct; valid when sealed
    bint sealed

# Attributes that routes have in common, with their next hop: 40 B + the octets.
cdef struct block_t:
    uint64_t at             # key in Table.octets: kind, length of next hop, next hop, attributes
    uint64_t wire           # attributes in Table.octets, 4-octet AS numbers, without MP_REACH_NLRI
    uint32_t wire_len
    uint32_t key_len
    uint32_t hash           # upper half of the key's hash
    uint8_t nh_len          # next hop from MP_REACH_NLRI, in the key; 0: NEXT_HOP, or none at all
    uint8_t valid           # a receiver may use its routes (RFC 7606)

cdef class Table:
    """A RIB file's routes by peer, ready to be packed into UPDATEs; owns all it holds."""

    cdef AttrTable attrs        # for decoding; holds nothing
    cdef public object summary  # rs.mrt.Summary of the file
    cdef rows_t *vectors        # [peer * 4 + addpath * 2 + family]
    cdef uint32_t n_vectors
    cdef uint8_t *nlri          # NLRI octets: each prefix once, or once per path with ADD-PATH
    cdef uint64_t nlri_used
    cdef uint64_t nlri_cap
    cdef block_t *blocks
    cdef readonly uint32_t n_blocks     # block 0 included, which is none
    cdef uint32_t blocks_cap
    cdef uint32_t *index        # open addressing: block number, 0 = empty
    cdef uint32_t index_cap     # power of two
    cdef uint8_t *octets        # what the blocks consist of
    cdef uint64_t octets_used
    cdef uint64_t octets_cap
    cdef uint8_t *key           # scratch: the key of the entry at hand
    cdef uint8_t *body          # scratch: an UPDATE body
    cdef int64_t only           # keep this peer's routes alone; -1 = all
    cdef readonly uint64_t n_routes
    cdef readonly uint64_t n_invalid    # routes among them that a receiver may not use (RFC 7606)
    cdef readonly uint64_t n_unusable   # entries left out: nothing that could be sent

    cdef int add(self, uint32_t peer, const rib_t *rib, const entry_t *e,
                 uint64_t *shared) except -1 nogil
    cdef uint32_t set_key(self, const rib_t *rib, const uint8_t *a, uint32_t n) noexcept nogil
    cdef int64_t intern_block(self, const rib_t *rib, const uint8_t *a, uint32_t n) except -1 nogil
    cdef int grow_index(self) except -1 nogil
    cdef uint64_t keep(self, const uint8_t *p, uint32_t n) except? 0 nogil
    cdef uint32_t new_block(self, const rib_t *rib, uint32_t key_len) except 0 nogil
    cdef uint32_t decode_key(self, AttrTable attrs, const rib_t *rib,
                             uint32_t key_len) except? 0 nogil
    cdef rows_t *sealed(self, uint32_t peer, uint32_t family, uint32_t addpath) except? NULL
