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

cdef enum refused_t:
    FITS = 0
    NO_ROOM = 1             # attributes and prefix are longer than a message may be
    NO_NEXT_HOP_FORM = 2    # an IPv6 next hop for an IPv4 prefix, without RFC 8950

cdef enum:
    LONG_ATTRS = 2600       # octets up to which attributes fit any message, in 2-octet form too

cdef class Encoder:
    """Packs prefixes into messages; owns a scratch buffer for attributes in 2-octet form."""

    cdef AttrTable attrs
    cdef Trie trie
    cdef encoding_t e
    cdef uint8_t *scratch
    cdef readonly uint64_t too_long     # announcements due that fit no message; see refuses()
    cdef uint64_t members[1024]         # slots of who is sent these messages

    cdef uint32_t refuses(self, uint32_t attrs_h, uint32_t h) noexcept nogil
    cdef int announce(self, Log log, uint32_t attrs_h, uint32_t set_h, const uint32_t *prefixes,
                      const uint32_t *ids, uint32_t n) except -1
    cdef int withdraw(self, Log log, uint32_t set_h, const uint32_t *prefixes, const uint32_t *ids,
                      uint32_t n) except -1
