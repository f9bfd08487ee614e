# Addresses and prefixes as text. Implementation: text.pyx.

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    ADDR_TEXT = 46          # longest address in text with its NUL (INET6_ADDRSTRLEN)
    PREFIX_TEXT = 50        # the same with "/128"

# Both write ASCII and a NUL to `out` and return the characters without the NUL. width is 4 or 16.
cdef uint32_t addr_put(char *out, const uint8_t *addr, uint32_t width) noexcept nogil
cdef uint32_t prefix_put(char *out, const uint8_t *addr, uint32_t plen,
                         uint32_t family) noexcept nogil

cdef str addr_text(const uint8_t *addr, uint32_t width)
cdef str prefix_text(const uint8_t *addr, uint32_t plen, uint32_t family)

# Parse an address in text into `out` (16 octets); returns 4 or 16; ValueError for anything else.
cdef int parse_addr(str text, uint8_t *out) except -1
