# Big-endian loads and stores, attribute headers and prefixes; inline, so no module of its own.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from rs._fastpath.types cimport AFLAG_EXT_LEN

cdef inline uint16_t load16(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])

cdef inline uint32_t load32(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]

cdef inline uint64_t load64(const uint8_t *p) noexcept nogil:
    return (<uint64_t>load32(p) << 32) | load32(p + 4)

cdef inline void store16(uint8_t *p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 8)
    p[1] = <uint8_t>v

cdef inline void store32(uint8_t *p, uint32_t v) noexcept nogil:
    p[0] = <uint8_t>(v >> 24)
    p[1] = <uint8_t>(v >> 16)
    p[2] = <uint8_t>(v >> 8)
    p[3] = <uint8_t>v

cdef inline uint8_t *put_head(uint8_t *o, uint32_t flags, uint32_t type_,
                              uint32_t n) noexcept nogil:
    """Write an attribute header for `n` octets of value; return where they go.

    In canonical form: Extended Length above 255 octets only, whatever `flags` say.
    """
    o[1] = <uint8_t>type_
    if n > 255:
        o[0] = <uint8_t>(flags | AFLAG_EXT_LEN)
        store16(o + 2, n)
        return o + 4
    o[0] = <uint8_t>(flags & ~<uint32_t>AFLAG_EXT_LEN)
    o[2] = <uint8_t>n
    return o + 3

cdef inline uint32_t plen_bytes(uint32_t plen) noexcept nogil:
    """Octets that a prefix of `plen` bits takes on the wire (RFC 4271 4.3)."""
    return (plen + 7) >> 3

cdef inline int prefix_load(const uint8_t *p, uint32_t plen, uint8_t *addr,
                            uint32_t width) noexcept nogil:
    """Copy a wire prefix to `addr` (`width` octets), zero-filled and masked to `plen` bits.

    The caller has checked plen <= 8 * width and that plen_bytes(plen) octets are there. Bits past
    the mask are irrelevant on the wire (RFC 4271 4.3) and are cleared here.
    """
    cdef uint32_t n = plen_bytes(plen)
    cdef uint32_t i
    for i in range(n):
        addr[i] = p[i]
    for i in range(n, width):
        addr[i] = 0
    if plen & 7:
        addr[n - 1] &= <uint8_t>(0xFF << (8 - (plen & 7)))
    return n
