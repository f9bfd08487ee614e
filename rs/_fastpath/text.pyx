"""Addresses and prefixes as text, for everything that people or JSON read.

In: octets in network order. Out: text, IPv4 dotted and IPv6 as in RFC 5952; the caller owns the
buffers of the C forms.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport strlen

from rs._fastpath.types cimport FAM_IPV4


cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
    const char *inet_ntop(int af, const void *src, char *dst, uint32_t size)
    int inet_pton(int af, const char *src, void *dst)


cdef inline uint32_t put_u8(char *out, uint32_t v) noexcept nogil:
    cdef uint32_t n = 0
    if v >= 100:
        out[0] = <char>(48 + v / 100)
        n = 1
    if v >= 10:
        out[n] = <char>(48 + v / 10 % 10)
        n += 1
    out[n] = <char>(48 + v % 10)
    return n + 1


cdef uint32_t addr_put(char *out, const uint8_t *addr, uint32_t width) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    if width != 4:
        inet_ntop(AF_INET6, addr, out, ADDR_TEXT)
        return <uint32_t>strlen(out)
    for i in range(4):
        if i:
            out[n] = 46
            n += 1
        n += put_u8(out + n, addr[i])
    out[n] = 0
    return n


cdef uint32_t prefix_put(char *out, const uint8_t *addr, uint32_t plen,
                         uint32_t family) noexcept nogil:
    cdef uint32_t n = addr_put(out, addr, 4 if family == FAM_IPV4 else 16)
    out[n] = 47
    n += 1
    n += put_u8(out + n, plen)
    out[n] = 0
    return n


cdef str addr_text(const uint8_t *addr, uint32_t width):
    """Return the address at `addr` (4 or 16 octets) as text."""
    cdef char buf[ADDR_TEXT]
    cdef uint32_t n = addr_put(buf, addr, width)
    return buf[:n].decode("ascii")


cdef str prefix_text(const uint8_t *addr, uint32_t plen, uint32_t family):
    """Return a prefix as text; `addr` holds the family's full width, host bits zero."""
    cdef char buf[PREFIX_TEXT]
    cdef uint32_t n = prefix_put(buf, addr, plen, family)
    return buf[:n].decode("ascii")


cdef int parse_addr(str text, uint8_t *out) except -1:
    cdef bytes raw = text.encode("ascii", "replace")
    if inet_pton(AF_INET, raw, out) == 1:
        return 4
    if inet_pton(AF_INET6, raw, out) == 1:
        return 16
    raise ValueError(f"{text!r} is not an IP address")
