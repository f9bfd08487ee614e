"""Addresses and prefixes as text, for everything that people or JSON read.

In: octets in network order. Out: text, IPv4 dotted and IPv6 as in RFC 5952; the caller owns the
buffers of the C forms.
"""

from libc.stdint cimport uint8_t, uint32_t

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport FAM_IPV4
from rs._fastpath.wire cimport load16

check_abi(__name__)


cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
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


cdef uint32_t put_dotted(char *out, const uint8_t *addr) noexcept nogil:
    cdef uint32_t n = 0
    cdef uint32_t i
    for i in range(4):
        if i:
            out[n] = 46
            n += 1
        n += put_u8(out + n, addr[i])
    return n


cdef inline uint32_t put_hex(char *out, uint32_t v) noexcept nogil:
    """Write 16 bits without leading zeros."""
    cdef const char *digits = b"0123456789abcdef"
    cdef uint32_t n = 0
    if v >= 0x1000:
        out[0] = digits[v >> 12]
        n = 1
    if v >= 0x100:
        out[n] = digits[v >> 8 & 15]
        n += 1
    if v >= 0x10:
        out[n] = digits[v >> 4 & 15]
        n += 1
    out[n] = digits[v & 15]
    return n + 1


cdef uint32_t put_colons(char *out, const uint8_t *addr) noexcept nogil:
    """Write an IPv6 address; the first of the longest runs of zeros, of two at least, is `::`."""
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef uint32_t run = 0           # zeros that end here
    cdef uint32_t best = 1          # longest run so far
    cdef uint32_t end = 0           # where it ends
    for i in range(8):
        run = 0 if load16(addr + 2 * i) else run + 1
        if run > best:
            best = run
            end = i + 1
    if end == 0:
        best = 0
    i = 0
    while i < 8:
        if best and i == end - best:
            out[n] = 58
            out[n + 1] = 58
            n += 2
            i = end
            continue
        if n and out[n - 1] != 58:
            out[n] = 58
            n += 1
        if i == 6 and best == 5 and end == 5 and load16(addr + 10) == 0xFFFF:
            return n + put_dotted(out + n, addr + 12)  # IPv4-mapped, RFC 5952 5
        n += put_hex(out + n, load16(addr + 2 * i))
        i += 1
    return n


cdef uint32_t addr_put(char *out, const uint8_t *addr, uint32_t width) noexcept nogil:
    cdef uint32_t n = put_dotted(out, addr) if width == 4 else put_colons(out, addr)
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
