# How the benchmark's speakers open a session: OPEN written, the other side's capabilities read
# (RFC 4271 4.2, RFC 5492 4). Inline, no module.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from rs._fastpath.types cimport AS_TRANS, FAM_IPV4, FAM_IPV6, HEADER_LEN, MSG_KEEPALIVE, MSG_OPEN
from rs._fastpath.wire cimport load16, store16, store32

cdef enum:
    # What a speaker offers.
    OPT_AS4 = 1         # 4-octet AS numbers (RFC 6793)
    OPT_EXT_MSG = 2     # RFC 8654
    OPT_ADDPATH = 4     # it can receive several paths for a prefix (RFC 7911)
    OPT_IPV4 = 8
    OPT_IPV6 = 16

    HELLO_LEN = 128     # octets that write_open may need

    CAP_MULTIPROTOCOL = 1
    CAP_ROUTE_REFRESH = 2
    CAP_EXT_MSG = 6
    CAP_AS4 = 65
    CAP_ADDPATH = 69

cdef inline uint8_t *put_capability(uint8_t *p, uint8_t code, uint8_t n) noexcept nogil:
    p[0] = code
    p[1] = n
    return p + 2

cdef inline uint32_t write_open(uint8_t *msg, uint32_t asn, uint32_t hold_time, uint32_t router_id,
                                uint32_t opts) noexcept nogil:
    """Write an OPEN of up to HELLO_LEN octets and return its length."""
    cdef uint8_t *p = msg + 31
    cdef uint8_t *families
    cdef uint32_t afi
    memset(msg, 0xFF, 16)
    msg[18] = MSG_OPEN
    msg[19] = 4
    store16(msg + 20, asn if asn < 65536 else AS_TRANS)
    store16(msg + 22, hold_time)
    store32(msg + 24, router_id)
    for afi in range(1, 3):
        if opts & (OPT_IPV4 if afi == 1 else OPT_IPV6):
            p = put_capability(p, CAP_MULTIPROTOCOL, 4)
            store32(p, afi << 16 | 1)
            p += 4
    p = put_capability(p, CAP_ROUTE_REFRESH, 0)     # BIRD logs its absence for each session
    if opts & OPT_EXT_MSG:
        p = put_capability(p, CAP_EXT_MSG, 0)
    if opts & OPT_AS4:
        p = put_capability(p, CAP_AS4, 4)
        store32(p, asn)
        p += 4
    if opts & OPT_ADDPATH:
        families = put_capability(p, CAP_ADDPATH, 0)
        p = families
        for afi in range(1, 3):
            if opts & (OPT_IPV4 if afi == 1 else OPT_IPV6):
                store32(p, afi << 16 | 0x0101)      # SAFI 1, receive
                p += 4
        families[-1] = <uint8_t>(p - families)
    msg[28] = <uint8_t>(p - msg - 29)
    msg[29] = 2                         # the one parameter: Capabilities
    msg[30] = <uint8_t>(p - msg - 31)
    store16(msg + 16, <uint32_t>(p - msg))
    return <uint32_t>(p - msg)

cdef inline uint32_t write_keepalive(uint8_t *msg) noexcept nogil:
    memset(msg, 0xFF, 16)
    store16(msg + 16, HEADER_LEN)
    msg[18] = MSG_KEEPALIVE
    return HEADER_LEN

cdef inline uint8_t addpath_sent(const uint8_t *msg, uint32_t n) noexcept nogil:
    """Give the families (bit per FAM_*) in which an OPEN's speaker would send several paths."""
    cdef const uint8_t *p = msg + 29
    cdef const uint8_t *end
    cdef const uint8_t *cap
    cdef const uint8_t *stop
    cdef const uint8_t *v
    cdef uint8_t found = 0
    if n < 29:
        return 0
    end = msg + n if 29 + <uint32_t>msg[28] > n else p + msg[28]
    while end - p >= 2 and end - p >= 2 + p[1]:
        if p[0] == 2:
            cap = p + 2
            stop = cap + p[1]
            while stop - cap >= 2 and stop - cap >= 2 + cap[1]:
                v = cap + 2
                while cap[0] == CAP_ADDPATH and cap + 2 + cap[1] - v >= 4:
                    if v[2] == 1 and v[3] & 2:
                        found |= 1 << (FAM_IPV4 if load16(v) == 1 else FAM_IPV6)
                    v += 4
                cap += 2 + cap[1]
        p += 2 + p[1]
    return found
