# Batches of VRPs. Implementation: vrplist.pyx.

from libc.stdint cimport uint8_t, uint32_t

from rs._fastpath.types cimport FAM_IPV4

# One VRP of a batch; 24 B.
cdef struct vrp_rec_t:
    uint8_t addr[16]
    uint32_t asn
    uint8_t family
    uint8_t plen
    uint8_t max_len

cdef class VrpList:
    """A batch of VRPs, 24 B each; owns its memory."""

    cdef vrp_rec_t *recs
    cdef readonly uint32_t count
    cdef uint32_t cap

    cdef int push(self, const vrp_rec_t *rec) except -1

# Reads "10.0.0.0/8" into 16 octets; ValueError says what is wrong with it.
cdef int read_prefix(str text, uint8_t *addr, uint8_t *family, uint8_t *plen) except -1

# A list of (prefix, max length or None, AS number) as a VrpList, or the one that it is.
cdef VrpList as_list(vrps)

cdef inline uint32_t width_of(uint32_t family) noexcept nogil:
    return 4 if family == FAM_IPV4 else 16
