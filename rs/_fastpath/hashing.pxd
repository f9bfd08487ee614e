# A seeded hash of octets; inline, so no module of its own.
#
# Words of 64 bits are multiplied and both halves of the product folded. Without the seed nobody
# can choose inputs that meet in one slot; it is no hash for signatures.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t rs_mix(uint64_t a, uint64_t b)
    {
    #ifdef __SIZEOF_INT128__
        unsigned __int128 r = (unsigned __int128)a * b;
        return (uint64_t)r ^ (uint64_t)(r >> 64);
    #else
        uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
        uint64_t m1 = ah * bl, m2 = al * bh, lo = al * bl;
        uint64_t mid = (lo >> 32) + (uint32_t)m1 + (uint32_t)m2;
        return ((mid << 32) | (uint32_t)lo)
               ^ (ah * bh + (m1 >> 32) + (m2 >> 32) + (mid >> 32));
    #endif
    }
    """
    uint64_t mix "rs_mix"(uint64_t a, uint64_t b) noexcept nogil

cdef inline uint64_t hash_word(const uint8_t *p) noexcept nogil:
    cdef uint64_t v
    memcpy(&v, p, 8)
    return v

cdef inline uint64_t hash_bytes(uint64_t seed, const uint8_t *p, uint32_t n) noexcept nogil:
    """Hash `n` octets; p may be NULL when n is 0."""
    cdef uint64_t h = seed ^ mix(n ^ 0x9E3779B97F4A7C15ULL, 0xA0761D6478BD642FULL)
    cdef uint64_t a = 0
    cdef uint64_t b = 0
    while n > 16:
        h = mix(hash_word(p) ^ 0x9E3779B97F4A7C15ULL, hash_word(p + 8) ^ h)
        p += 16
        n -= 16
    if n >= 8:
        a = hash_word(p)
        b = hash_word(p + n - 8)
    elif n:
        memcpy(&a, p, n)
    return mix(a ^ 0xD6E8FEB86659FD93ULL, b ^ h)
