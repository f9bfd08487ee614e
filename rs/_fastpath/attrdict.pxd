# Attribute dicts to canonical attribute blocks, and back. Implementation: attrdict.pyx.

from libc.stdint cimport uint8_t, uint32_t

# Returns (canonical block: bytes, next hop: bytes of 4, 16 or 32 octets); ValueError names the key.
cdef tuple encode_attrs(dict attrs, uint32_t family)

# Puts one attribute of a canonical block, its value of `n` octets at `p`, into an attribute dict;
# False for a type this build does not know.
cdef bint describe_attr(dict out, uint32_t type, const uint8_t *p, uint32_t n) except -1
