# What policies change in attribute sets. Implementation: edits.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.memo cimport Memo
from rs._fastpath.pattern cimport pattern_t

# What an edit writes and a condition reads.
cdef enum:
    PART_ORIGIN = 0x01
    PART_PATH = 0x02
    PART_NEXT_HOP = 0x04
    PART_MED = 0x08
    PART_LOCAL_PREF = 0x10
    PART_COMMUNITIES = 0x20

# edit_t.flags
cdef enum:
    EDIT_ORIGIN = 0x01
    EDIT_MED = 0x02
    EDIT_NO_MED = 0x04
    EDIT_LOCAL_PREF = 0x08
    EDIT_HOP4 = 0x10
    EDIT_HOP6 = 0x20
    EDIT_REPLACE = 0x40         # all communities go first

# Beside a chain where the result is for an external neighbor, which gets no LOCAL_PREF.
cdef enum:
    CHAIN_EXTERNAL = 0x40000000

# The changes of one term, in the order remove, set, add, prepend. One for each content.
cdef struct edit_t:
    uint32_t flags
    uint32_t writes             # PART_*
    uint32_t local_pref
    uint32_t med
    uint32_t prepend_asn        # 0: the leftmost one of the path
    uint32_t prepend_times
    uint32_t remove_at          # n_remove patterns from here in Edits.patterns
    uint32_t n_remove
    uint32_t add_at[3]          # octets of communities to add, by kind, in Edits.octets
    uint32_t add_len[3]
    uint8_t origin
    uint8_t hop4[4]
    uint8_t hop6[16]
    uint8_t _pad[3]

# A sequence of edits: all but the last, and the last. 12 B.
cdef struct chain_t:
    uint32_t before             # 0 = none
    uint32_t edit
    uint32_t depth              # edits in all

cdef class Edits:
    """All edits there are, the sequences in which they have been met, and how they are made."""

    cdef Memo memo
    cdef edit_t *edits          # number 0 is none
    cdef uint32_t n_edits
    cdef uint32_t edits_cap
    cdef dict _numbers          # content of an edit -> its number
    cdef pattern_t *patterns
    cdef uint32_t n_patterns
    cdef uint8_t *octets
    cdef uint32_t octets_len
    cdef chain_t *chains        # number 0 is the empty one
    cdef uint32_t n_chains
    cdef uint32_t chains_cap
    cdef uint32_t *index        # open addressing: chain by (before, edit), 0 = empty
    cdef uint32_t index_cap
    cdef public uint32_t local_asn      # stands for the leftmost AS number of an empty path
    cdef uint8_t *buf           # scratch: two attribute blocks
    cdef uint8_t *value         # scratch: one attribute's value

    cdef uint32_t then(self, uint32_t chain, uint32_t edit) except 0
    cdef uint32_t changed(self, AttrTable attrs, uint32_t attrs_h, uint32_t chain,
                          uint32_t raw_h) except? 0
    cdef uint32_t _edit(self, const edit_t *e, const uint8_t *p, uint32_t n, uint8_t *out,
                        uint8_t *hop, uint32_t *hop_len, bint external) noexcept nogil
    cdef uint8_t *_communities(self, const edit_t *e, uint32_t kind, uint32_t flags,
                               const uint8_t *v, uint32_t n, uint8_t *o) noexcept nogil

cdef int load_pattern(pattern_t *p, tuple pattern) except -1
