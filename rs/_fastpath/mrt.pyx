"""MRT framing: octets to records, records to RIB entries and BGP messages.

In: decompressed octets in pieces of any size. Out: records, and cursors over what they hold; all
pointers lead into the Framer's buffer and die with the next piece. The Framer owns that buffer;
nothing here keeps or interprets an attribute.

RFC 6396 4 (TABLE_DUMP, TABLE_DUMP_V2, BGP4MP, *_ET), RFC 8050 (the ADDPATH subtypes).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport FAM_IPV4, FAM_IPV6, HEADER_LEN
from rs._fastpath.wire cimport load16, load32, plen_bytes, prefix_load

cimport cython

check_abi(__name__)

PEER_OUT_OF_RANGE = MRT_PEER
STATUS_TEXT = {
    MRT_SHORT: "a field reaches past the end of the record",
    MRT_PREFIX: "prefix length out of range",
    MRT_PEER: "peer index beyond the PEER_INDEX_TABLE",
    MRT_NO_INDEX: "RIB record before any PEER_INDEX_TABLE",
    MRT_MESSAGE: "no whole BGP message in the record",
    MRT_AFI: "peer address family is neither IPv4 nor IPv6",
    MRT_LENGTH: f"the record claims more than {MRT_MAX_RECORD >> 20} MiB",
}


@cython.final
cdef class Framer:
    """Cuts decompressed octets into records."""

    def __cinit__(self):
        self.cap = 1 << 20
        self.buf = <uint8_t *>malloc(self.cap)
        if self.buf == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buf)

    cdef int push(self, const uint8_t *data, uint64_t n) except -1:
        """Append `n` octets; the records that `take` gave out before are gone after this."""
        cdef uint64_t held = self.end - self.start
        cdef uint64_t cap = self.cap
        cdef uint8_t *buf
        if self.start:
            memmove(self.buf, self.buf + self.start, held)
            self.start = 0
            self.end = held
        if held + n > cap:
            while cap < held + n:
                cap += cap >> 1
            buf = <uint8_t *>realloc(self.buf, cap)
            if buf == NULL:
                raise MemoryError
            self.buf = buf
            self.cap = cap
        memcpy(self.buf + held, data, n)
        self.end = held + n
        return 0

    cdef int take(self, record_t *r) noexcept nogil:
        """Fill `r` with the next record: MRT_OK, MRT_SHORT when more is needed, or MRT_LENGTH."""
        cdef uint64_t held = self.end - self.start
        cdef const uint8_t *p = self.buf + self.start
        cdef uint32_t n
        if held < MRT_HEADER_LEN:
            return MRT_SHORT
        n = load32(p + 8)
        r.time = load32(p)
        r.type = load16(p + 4)
        r.subtype = load16(p + 6)
        r.number = self.number + 1
        r.offset = self.offset
        if n > MRT_MAX_RECORD:
            return MRT_LENGTH
        if held < MRT_HEADER_LEN + <uint64_t>n:
            return MRT_SHORT
        r.usec = 0
        r.body = p + MRT_HEADER_LEN
        r.len = n
        if r.type == MRT_BGP4MP_ET or r.type == MRT_ISIS_ET or r.type == MRT_OSPFV3_ET:
            if n >= 4:  # a shorter body has no room for the time; its parser will say so
                r.usec = load32(r.body)
                r.body += 4
                r.len = n - 4
        self.number += 1
        self.offset += MRT_HEADER_LEN + <uint64_t>n
        self.start += MRT_HEADER_LEN + <uint64_t>n
        return MRT_OK

    @property
    def pending(self) -> int:
        """Octets held that are not yet a whole record."""
        return self.end - self.start

    def feed(self, bytes data) -> None:
        """Append decompressed octets."""
        self.push(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def read(self) -> object:
        """Return the next record, None when more octets are needed, or an int status."""
        cdef record_t r
        cdef int status = self.take(&r)
        if status == MRT_SHORT:
            return None
        if status != MRT_OK:
            return status
        return (
            r.number, r.offset, r.time, r.usec, r.type, r.subtype,
            PyBytes_FromStringAndSize(<const char *>r.body, r.len),
        )


# ------------------------------------------------------------------------------- RIB records


cdef int set_prefix(rib_t *rib, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Read one wire prefix at `p` into rib.nlri; return its octets, or -status."""
    cdef uint32_t width = 16 if rib.family == FAM_IPV6 else 4
    cdef uint32_t n
    if p >= end:
        return -<int>MRT_SHORT
    if p[0] > 8 * width:
        return -<int>MRT_PREFIX
    n = plen_bytes(p[0])
    if <uint64_t>(end - p) < 1 + n:
        return -<int>MRT_SHORT
    rib.nlri[0] = p[0]
    prefix_load(p + 1, p[0], rib.nlri + 1, width)
    rib.nlri_len = <uint8_t>(1 + n)
    return <int>(1 + n)


cdef int table_dump_open(const record_t *r, rib_t *rib) noexcept nogil:
    """TABLE_DUMP (RFC 6396 4.2): one prefix and one entry, its peer's address inside."""
    cdef uint32_t width, n
    cdef const uint8_t *p = r.body
    if r.subtype == 1:
        width = 4
        rib.family = FAM_IPV4
    elif r.subtype == 2:
        width = 16
        rib.family = FAM_IPV6
    else:
        return MRT_SKIP
    # view 2, sequence 2, prefix, length 1, status 1, originated 4, peer, AS 2, attribute length 2
    if r.len < 4 + width + 6 + width + 4:
        return MRT_SHORT
    n = p[4 + width]
    if n > 8 * width:
        return MRT_PREFIX
    rib.nlri[0] = <uint8_t>n
    prefix_load(p + 4, n, rib.nlri + 1, width)
    rib.nlri_len = <uint8_t>(1 + plen_bytes(n))
    rib.peer = p + 4 + width + 6
    rib.peer_asn = load16(rib.peer + width)
    rib.p = p + 4 + width + 2
    rib.end = p + r.len
    rib.left = 1
    rib.as4 = 0
    return MRT_OK


cdef uint32_t entries_span(const uint8_t *p, const uint8_t *end, uint32_t count,
                           uint32_t head) noexcept nogil:
    """Return 1 when `count` entries of `head` octets and attributes end exactly at `end`."""
    while count:
        if <uint64_t>(end - p) < head:
            return 0
        p += head
        if <uint64_t>(end - p) < load16(p - 2):
            return 0
        p += load16(p - 2)
        count -= 1
    return p == end


cdef int rib_open(const record_t *r, rib_t *rib) noexcept nogil:
    """Set `rib` to the first entry of a RIB record.

    MRT_SKIP for a record that is no RIB record, or one of a family without a table here; else
    MRT_OK or the fault. A PEER_INDEX_TABLE is none.
    """
    cdef const uint8_t *p = r.body
    cdef const uint8_t *end = r.body + r.len
    cdef const uint8_t *q
    cdef int n
    rib.peer = NULL
    rib.id_in_nlri = 0
    rib.addpath = 0
    rib.path_id = 0
    if r.type == MRT_TABLE_DUMP:
        return table_dump_open(r, rib)
    if r.type != MRT_TABLE_DUMP_V2:
        return MRT_SKIP
    rib.as4 = 1
    if r.subtype == V2_RIB_IPV4_UNICAST or r.subtype == V2_RIB_IPV4_UNICAST_ADDPATH:
        rib.family = FAM_IPV4
    elif r.subtype == V2_RIB_IPV6_UNICAST or r.subtype == V2_RIB_IPV6_UNICAST_ADDPATH:
        rib.family = FAM_IPV6
    elif r.subtype == V2_RIB_GENERIC or r.subtype == V2_RIB_GENERIC_ADDPATH:
        if r.len < 7:
            return MRT_SHORT
        if p[6] != 1 or p[4] != 0 or (p[5] != 1 and p[5] != 2):
            return MRT_SKIP
        rib.family = FAM_IPV4 if p[5] == 1 else FAM_IPV6
        p += 3
    else:
        return MRT_SKIP
    if <uint64_t>(end - p) < 4:
        return MRT_SHORT
    p += 4
    if r.subtype >= V2_RIB_IPV4_UNICAST_ADDPATH:
        rib.addpath = 1
    if r.subtype == V2_RIB_GENERIC_ADDPATH:
        # RFC 8050 4.2 has the identifier in the NLRI, all known writers have it in the entries
        # as for the other subtypes: only one of the two fills the record exactly.
        n = set_prefix(rib, p, end)
        if n < 0 or <uint64_t>(end - p) < <uint64_t>n + 2 \
                or not entries_span(p + n + 2, end, load16(p + n), 12):
            if <uint64_t>(end - p) < 5:
                return MRT_SHORT
            rib.id_in_nlri = 1
            rib.path_id = load32(p)
            p += 4
    n = set_prefix(rib, p, end)
    if n < 0:
        return -n
    q = p + n
    if <uint64_t>(end - q) < 2:
        return MRT_SHORT
    rib.left = load16(q)
    rib.p = q + 2
    rib.end = end
    return MRT_OK


cdef int rib_next(rib_t *rib, entry_t *e) noexcept nogil:
    """Fill `e` with the next entry: MRT_OK, MRT_SKIP after the last one, else the fault."""
    cdef const uint8_t *p = rib.p
    cdef uint64_t room = <uint64_t>(rib.end - p)
    cdef uint32_t width
    if rib.left == 0:
        return MRT_SKIP
    e.path_id = rib.path_id
    if rib.peer != NULL:
        e.originated = load32(p)
        width = 16 if rib.family == FAM_IPV6 else 4
        e.peer = 0
        p += 4 + width + 4      # table_dump_open has checked that these are there
    elif rib.addpath and not rib.id_in_nlri:
        if room < 12:
            return MRT_SHORT
        e.peer = load16(p)
        e.originated = load32(p + 2)
        e.path_id = load32(p + 6)
        p += 12
    else:
        if room < 8:
            return MRT_SHORT
        e.peer = load16(p)
        e.originated = load32(p + 2)
        p += 8
    e.attrs_len = load16(p - 2)
    e.attrs = p
    if <uint64_t>(rib.end - p) < e.attrs_len:
        return MRT_SHORT
    rib.p = p + e.attrs_len
    rib.left -= 1
    return MRT_OK


# ------------------------------------------------------------------------------------ BGP4MP


cdef int bgp4mp_open(const record_t *r, bgp4mp_t *m) noexcept nogil:
    """Read a BGP4MP or BGP4MP_ET record (RFC 6396 4.4, RFC 8050 3).

    MRT_SKIP for another type or a deprecated subtype; else MRT_OK or the fault.
    """
    cdef const uint8_t *p = r.body
    cdef const uint8_t *end = r.body + r.len
    cdef uint32_t wide, n
    if r.type != MRT_BGP4MP and r.type != MRT_BGP4MP_ET:
        return MRT_SKIP
    # 0 STATE_CHANGE, 1 MESSAGE, 4 MESSAGE_AS4, 5 STATE_CHANGE_AS4, 6 MESSAGE_LOCAL,
    # 7 MESSAGE_AS4_LOCAL, then 8 to 11: 1, 4, 6 and 7 with ADD-PATH
    if r.subtype > 11 or r.subtype == 2 or r.subtype == 3:
        return MRT_SKIP
    m.as4 = r.subtype == 4 or r.subtype == 5 or r.subtype == 7 or r.subtype == 9 or r.subtype == 11
    m.sent = r.subtype == 6 or r.subtype == 7 or r.subtype == 10 or r.subtype == 11
    m.addpath = r.subtype >= 8
    m.old_state = 0
    m.new_state = 0
    m.msg = NULL
    m.msg_len = 0
    wide = 4 if m.as4 else 2
    if r.len < 2 * wide + 4:
        return MRT_SHORT
    m.peer_asn = load32(p) if m.as4 else load16(p)
    m.local_asn = load32(p + wide) if m.as4 else load16(p + wide)
    p += 2 * wide + 2
    n = load16(p)
    p += 2
    if n != 1 and n != 2:
        return MRT_AFI
    m.addr_len = 4 if n == 1 else 16
    if <uint64_t>(end - p) < 2 * m.addr_len:
        return MRT_SHORT
    m.peer = p
    m.local = p + m.addr_len
    p += 2 * m.addr_len
    n = <uint32_t>(end - p)
    if r.subtype == 0 or r.subtype == 5:
        if n < 4:
            return MRT_SHORT
        m.old_state = load16(p)
        m.new_state = load16(p + 2)
        return MRT_OK
    if n < HEADER_LEN:
        return MRT_MESSAGE
    m.msg = p
    m.msg_len = load16(p + 16)
    if m.msg_len < HEADER_LEN or m.msg_len > n:
        return MRT_MESSAGE
    return MRT_OK


# ------------------------------------------------------------ one record as Python data (slow)


cdef int set_record(record_t *r, int kind, int subtype, bytes body) except -1:
    r.body = <const uint8_t *>PyBytes_AS_STRING(body)
    r.len = <uint32_t>PyBytes_GET_SIZE(body)
    r.type = kind
    r.subtype = subtype
    r.time = r.usec = 0
    r.number = r.offset = 0
    return 0


def parse_rib(int kind, int subtype, bytes body) -> object:
    """See mrt.pyi."""
    cdef record_t r
    cdef rib_t rib
    cdef entry_t e
    cdef int status
    cdef list rows = []
    set_record(&r, kind, subtype, body)
    status = rib_open(&r, &rib)
    if status != MRT_OK:
        return status
    nlri = PyBytes_FromStringAndSize(<const char *>rib.nlri, rib.nlri_len)
    v1_peer = None
    if rib.peer != NULL:
        v1_peer = (
            rib.peer_asn,
            PyBytes_FromStringAndSize(<const char *>rib.peer, 16 if rib.family == FAM_IPV6 else 4),
        )
    while True:
        status = rib_next(&rib, &e)
        if status != MRT_OK:
            break
        rows.append((
            e.peer if v1_peer is None else v1_peer,
            e.originated,
            e.path_id if rib.addpath else None,
            PyBytes_FromStringAndSize(<const char *>e.attrs, e.attrs_len),
        ))
    return rib.family, nlri, rows, 0 if status == MRT_SKIP else status


def parse_bgp4mp(int kind, int subtype, bytes body) -> object:
    """See mrt.pyi."""
    cdef record_t r
    cdef bgp4mp_t m
    cdef int status
    set_record(&r, kind, subtype, body)
    status = bgp4mp_open(&r, &m)
    if status != MRT_OK:
        return status
    return (
        m.peer_asn,
        m.local_asn,
        PyBytes_FromStringAndSize(<const char *>m.peer, m.addr_len),
        PyBytes_FromStringAndSize(<const char *>m.local, m.addr_len),
        bool(m.as4),
        bool(m.addpath),
        bool(m.sent),
        None if m.msg == NULL else PyBytes_FromStringAndSize(<const char *>m.msg, m.msg_len),
        m.old_state,
        m.new_state,
    )
