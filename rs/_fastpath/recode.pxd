# Recorded attributes and UPDATEs to those of one session. Implementation: recode.pyx.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.attrs cimport AttrTable
# An UPDATE under construction in a buffer of at least `max_len` octets. NLRI go in at `q` as long
# as they end at or before `limit`; finish_message then sets the lengths.
cdef struct message_t:
    uint8_t *p              # its marker
    uint8_t *q
    uint8_t *limit
    const uint8_t *attrs    # with MP_REACH_NLRI: what follows that attribute
    uint32_t attrs_len
    bint mp                 # NLRI go into MP_REACH_NLRI, which stands first (RFC 7606 5.1)

cdef enum:
    NO_BLOCK = 0xFFFFFFFF       # from rewrite: the attributes do not fit a message

cdef int finish_message(message_t *m) noexcept nogil

cdef class Rewriter:
    """How recorded attributes become those of one session; owns its scratch space."""

    cdef readonly bint as4          # 4-octet AS numbers (RFC 6793)
    cdef readonly bint ibgp         # LOCAL_PREF and the reflector's attributes go with the route
    cdef readonly uint32_t prepend  # AS number put in front of each AS_PATH; 0 = none
    cdef readonly uint32_t max_len  # octets of a message
    cdef readonly uint32_t families     # bit per FAM_*: negotiated
    cdef readonly uint32_t addpath  # bit per FAM_*: NLRI have path identifiers
    cdef readonly bint ext_next_hop     # IPv6 next hops for IPv4 routes (RFC 8950)
    cdef uint8_t hop4[4]
    cdef uint8_t hop6[32]
    cdef bint set_hop4
    cdef uint32_t hop6_len          # 0 = keep the recorded one
    cdef uint8_t *attrs             # scratch: a rewritten block
    cdef uint8_t *buf               # scratch: messages
    cdef uint8_t *nlri              # scratch: NLRI with or without path identifiers
    cdef AttrTable table            # for widening 2-octet AS numbers; holds nothing
    cdef readonly uint64_t n_announced  # NLRI in converted UPDATEs
    cdef readonly uint64_t n_withdrawn
    cdef readonly uint64_t n_malformed  # messages passed on, or dropped, that could not be read
    cdef readonly uint64_t n_filtered   # messages dropped: no family of the session in them
    cdef readonly uint64_t n_too_long   # messages dropped: they fit no message of the session

    cdef uint32_t rewrite(self, const uint8_t *p, uint32_t n, bint wide,
                          const uint8_t *hop4) noexcept nogil
    cdef uint32_t rewrite_path(self, const uint8_t *p, uint32_t n, uint8_t *out,
                               bint *narrowed) noexcept nogil
    cdef void begin(self, message_t *m, uint8_t *at, uint32_t attrs_len) noexcept nogil
    cdef void begin_mp(self, message_t *m, uint8_t *at, uint32_t attrs_len, uint32_t family,
                       const uint8_t *hop, uint32_t hop_len) noexcept nogil
    cdef const uint8_t *hop_for(self, uint32_t family, const uint8_t *recorded,
                                uint32_t *n) noexcept nogil
