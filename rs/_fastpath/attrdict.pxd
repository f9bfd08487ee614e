# Attribute dicts to canonical attribute blocks. Implementation: attrdict.pyx.

from libc.stdint cimport uint32_t

# Returns (canonical block: bytes, next hop: bytes of 4, 16 or 32 octets); ValueError names the key.
cdef tuple encode_attrs(dict attrs, uint32_t family)
