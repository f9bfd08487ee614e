# Attribute sets and prefixes to UPDATE messages in a log. Implementation: encode.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.log cimport Log
from rs._fastpath.trie cimport Trie

# What the bytes to a group of peers depend on, beside the attributes.
cdef struct encoding_t:
    uint32_t max_len        # octets a message: 4,096, or 65,535 (RFC 8654)
    uint8_t family          # FAM_*
    uint8_t as4             # 4-octet AS numbers (RFC 6793)
    uint8_t ext_next_hop    # IPv4 NLRI with an IPv6 next hop are understood (RFC 8950)
    uint8_t addpath         # NLRI carry path identifiers (RFC 7911)

cdef class Encoder:
    """Packs prefixes into messages; owns a scratch buffer for attributes in 2-octet form."""

    cdef AttrTable attrs
    cdef Trie trie
    cdef encoding_t e
    cdef uint8_t *scratch
    cdef readonly uint64_t too_long     # announcements whose attributes fit no message

    cdef int announce(self, Log log, uint32_t attrs_h, uint32_t set_h, const uint32_t *prefixes,
                      const uint32_t *ids, uint32_t n) except -1
    cdef int withdraw(self, Log log, uint32_t set_h, const uint32_t *prefixes, const uint32_t *ids,
                      uint32_t n) except -1
