"""An MRT file as a whole: who the peers are and how much there is.

In: decompressed octets. Out: peers and counters; RIB entries go on to a Table where there is one.
The Scan owns the peers. No Python object per record, route or UPDATE.

RFC 6396 4.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.hashing cimport hash_bytes
from rs._fastpath.mrt cimport (
    MRT_BGP4MP,
    MRT_BGP4MP_ET,
    MRT_LENGTH,
    MRT_NO_INDEX,
    MRT_OK,
    MRT_PEER,
    MRT_SHORT,
    MRT_SKIP,
    MRT_TABLE_DUMP,
    MRT_TABLE_DUMP_V2,
    V2_PEER_INDEX_TABLE,
    Framer,
    bgp4mp_open,
    bgp4mp_t,
    entry_t,
    record_t,
    rib_next,
    rib_open,
    rib_t,
)
from rs._fastpath.mrttable cimport NOT_SHARED, Table
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AFLAG_EXT_LEN,
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    FAM_IPV4,
    FAM_IPV6,
    FAM_NONE,
    HEADER_LEN,
    MSG_OPEN,
    MSG_UPDATE,
)
from rs._fastpath.wire cimport load16, load32, plen_bytes

cimport cython

check_abi(__name__)


cdef int count_nlri(const uint8_t *p, const uint8_t *end, uint32_t bits, bint addpath,
                    uint64_t *n) noexcept nogil:
    """Add the NLRI between `p` and `end` to `n`; return 0 when they do not fit, else 1."""
    while p < end:
        if addpath:
            if end - p < 5:
                return 0
            p += 4
        if p[0] > bits or <uint64_t>(end - p) < 1 + plen_bytes(p[0]):
            return 0
        p += 1 + plen_bytes(p[0])
        n[0] += 1
    return 1


cdef int mp_family(const uint8_t *p) noexcept nogil:
    """Return the FAM_* of an AFI and SAFI, FAM_NONE where there is no table for it."""
    if p[0] != 0 or p[2] != 1:
        return FAM_NONE
    return FAM_IPV4 if p[1] == 1 else FAM_IPV6 if p[1] == 2 else FAM_NONE


cdef int count_update(const bgp4mp_t *m, peer_t *peer, uint64_t *other) noexcept nogil:
    """Add the NLRI of an UPDATE to its peer's counters; return 0 when it is malformed, else 1."""
    cdef const uint8_t *p = m.msg + HEADER_LEN
    cdef const uint8_t *end = m.msg + m.msg_len
    cdef const uint8_t *stop
    cdef const uint8_t *nlri
    cdef uint32_t head, size, hop_len
    cdef uint64_t *counter
    cdef int family
    if end - p < 4 or <uint64_t>(end - p) < <uint64_t>4 + load16(p):
        return 0
    stop = p + 2 + load16(p)
    if not count_nlri(p + 2, stop, 32, m.addpath, &peer.withdrawn[FAM_IPV4]):
        return 0
    p = stop + 2
    if <uint64_t>(end - p) < load16(stop):
        return 0
    stop = p + load16(stop)
    if m.addpath and stop < end:
        peer.addpath |= 1 << FAM_IPV4
    if not count_nlri(stop, end, 32, m.addpath, &peer.announced[FAM_IPV4]):
        return 0
    while p < stop:
        head = 4 if p[0] & AFLAG_EXT_LEN else 3
        if <uint64_t>(stop - p) < head:
            return 0
        size = load16(p + 2) if head == 4 else p[2]
        if <uint64_t>(stop - p) < head + size:
            return 0
        if p[1] == ATTR_MP_UNREACH or p[1] == ATTR_MP_REACH:
            if size < 3:
                return 0
            family = mp_family(p + head)
            if family == FAM_NONE:
                other[0] += 1
            else:
                counter = &peer.withdrawn[family]
                nlri = p + head + 3
                if p[1] == ATTR_MP_REACH:
                    hop_len = p[head + 3] if size > 3 else 255
                    if size < 5 + hop_len:
                        return 0
                    counter = &peer.announced[family]
                    nlri += 2 + hop_len
                if m.addpath and nlri < p + head + size:
                    peer.addpath |= <uint8_t>(1 << family)
                if not count_nlri(nlri, p + head + size, 128 if family == FAM_IPV6 else 32,
                                  m.addpath, counter):
                    return 0
        p += head + size
    return 1


@cython.final
cdef class Scan:
    """See mrtscan.pyi."""

    def __cinit__(self, Table table=None):
        self.framer = Framer()
        self.table = table
        self.first_usec = <uint64_t>-1
        self.view = ""
        self.by_address_cap = 256
        self.by_address = <uint32_t *>calloc(self.by_address_cap, sizeof(uint32_t))
        if self.by_address == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.peers)
        free(self.by_address)
        free(self.index_map)

    def feed(self, bytes data) -> bool:
        """See mrtscan.pyi."""
        cdef record_t r
        cdef int status = MRT_OK
        if self.stopped:
            return False
        self.framer.push(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        with nogil:
            while True:
                status = self.framer.take(&r)
                if status != MRT_OK:
                    break
                self.record(&r)
        if status == MRT_LENGTH:
            self.fault(&r, status)
            self.stopped = True
        return not self.stopped

    cdef void fault(self, const record_t *r, int status) noexcept nogil:
        if self.n_faults < MRT_FAULTS:
            self.faults[self.n_faults].number = r.number
            self.faults[self.n_faults].offset = r.offset
            self.faults[self.n_faults].status = status
        self.n_faults += 1

    cdef int record(self, const record_t *r) except -1 nogil:
        cdef uint64_t now = <uint64_t>r.time * 1000000 + r.usec
        cdef uint32_t i
        cdef int status = MRT_SKIP
        if now < self.first_usec:
            self.first_usec = now
        if now > self.last_usec:
            self.last_usec = now
        for i in range(self.n_kinds):
            if self.kinds[i].type == r.type and self.kinds[i].subtype == r.subtype:
                self.kinds[i].count += 1
                break
        else:
            if self.n_kinds < MRT_KINDS:
                self.kinds[self.n_kinds].type = r.type
                self.kinds[self.n_kinds].subtype = r.subtype
                self.kinds[self.n_kinds].count = 1
                self.n_kinds += 1
            else:
                self.n_other += 1
        if r.type == MRT_TABLE_DUMP_V2 and r.subtype == V2_PEER_INDEX_TABLE:
            status = self.peer_index_table(r)
        elif r.type == MRT_TABLE_DUMP_V2 or r.type == MRT_TABLE_DUMP:
            status = self.rib_record(r)
        elif r.type == MRT_BGP4MP or r.type == MRT_BGP4MP_ET:
            status = self.bgp4mp_record(r)
        if status == MRT_SKIP:
            self.n_skipped += 1
        elif status != MRT_OK:
            self.fault(r, status)
        return 0

    cdef int rib_record(self, const record_t *r) except -1 nogil:
        cdef rib_t rib
        cdef entry_t e
        cdef int status = rib_open(r, &rib)
        cdef int64_t peer = 0
        cdef uint64_t shared = NOT_SHARED
        if status != MRT_OK:
            return status
        if rib.peer == NULL and not self.indexed:
            return MRT_NO_INDEX
        self.prefixes[rib.family] += 1
        while True:
            status = rib_next(&rib, &e)
            if status != MRT_OK:
                return MRT_OK if status == MRT_SKIP else status
            if rib.peer != NULL:
                peer = self.find_peer(rib.peer_asn, rib.peer,
                                      16 if rib.family == FAM_IPV6 else 4, 0)
            elif e.peer < self.index_n:
                peer = self.index_map[e.peer]
            else:
                return MRT_PEER
            self.routes[rib.family] += 1
            self.peers[peer].entries[rib.family] += 1
            if rib.addpath:
                self.peers[peer].addpath |= <uint8_t>(1 << rib.family)
            if self.table is not None:
                self.table.add(<uint32_t>peer, &rib, &e, &shared)

    cdef int bgp4mp_record(self, const record_t *r) except -1 nogil:
        cdef bgp4mp_t m
        cdef peer_t *peer
        cdef int64_t i
        cdef int status = bgp4mp_open(r, &m)
        if status != MRT_OK:
            return status
        i = self.find_peer(m.peer_asn, m.peer, m.addr_len, 0)
        peer = self.peers + i
        if peer.local_asn == 0:
            peer.local_asn = m.local_asn
            memcpy(peer.local, m.local, m.addr_len)
        if m.msg == NULL:
            peer.state_changes += 1
            return MRT_OK
        if m.as4:
            peer.as4 = 1
        if m.sent:
            peer.sent += 1
            return MRT_OK
        peer.messages += 1
        if m.msg[18] == MSG_OPEN and m.msg_len >= HEADER_LEN + 10:
            peer.router_id = load32(m.msg + HEADER_LEN + 5)
        if m.msg[18] != MSG_UPDATE:
            return MRT_OK
        peer.updates += 1
        if not count_update(&m, peer, &self.other_nlri):
            self.n_malformed += 1
        return MRT_OK

    cdef int peer_index_table(self, const record_t *r) except -1 nogil:
        """PEER_INDEX_TABLE (RFC 6396 4.3.1). A second one in a file starts new indices."""
        cdef const uint8_t *p = r.body
        cdef const uint8_t *end = r.body + r.len
        cdef uint32_t i, n, size, addr_len, asn
        cdef int64_t peer
        cdef void *grown
        cdef bint first = not self.indexed
        if r.len < 8 or r.len < 8 + <uint32_t>load16(p + 4):
            return MRT_SHORT
        n = load16(p + 6 + load16(p + 4))
        if first:
            self.collector = load32(p)
            with gil:
                self.view = p[6:6 + load16(p + 4)].decode("utf-8", "replace")
        p += 8 + load16(p + 4)
        grown = realloc(self.index_map, (n + 1) * sizeof(uint32_t))
        if grown == NULL:
            with gil:
                raise MemoryError
        self.index_map = <uint32_t *>grown
        self.index_n = 0
        self.indexed = True
        for i in range(n):
            if end - p < 1:
                return MRT_SHORT
            # bit 0: IPv6 address; bit 1: 4-octet AS
            addr_len = 16 if p[0] & 1 else 4
            size = 1 + 4 + addr_len + (4 if p[0] & 2 else 2)
            if <uint64_t>(end - p) < size:
                return MRT_SHORT
            asn = load32(p + 5 + addr_len) if p[0] & 2 else load16(p + 5 + addr_len)
            # Peers of the first table keep their index, even two that look the same.
            if first:
                peer = self.add_peer(asn, p + 5, addr_len, load32(p + 1))
            else:
                peer = self.find_peer(asn, p + 5, addr_len, load32(p + 1))
            self.index_map[i] = <uint32_t>peer
            self.index_n = i + 1
            p += size
        return MRT_OK

    cdef int64_t find_peer(self, uint32_t asn, const uint8_t *addr, uint32_t addr_len,
                           uint32_t router_id) except -1 nogil:
        """Return the number of a peer by AS and address, a new one for one not met before."""
        cdef uint32_t mask = self.by_address_cap - 1
        cdef uint32_t i = <uint32_t>(hash_bytes(asn, addr, addr_len)) & mask
        cdef peer_t *peer
        while self.by_address[i]:
            peer = self.peers + (self.by_address[i] - 1)
            if peer.asn == asn and peer.addr_len == addr_len \
                    and memcmp(peer.addr, addr, addr_len) == 0:
                return self.by_address[i] - 1
            i = (i + 1) & mask
        return self.add_peer(asn, addr, addr_len, router_id)

    cdef int64_t add_peer(self, uint32_t asn, const uint8_t *addr, uint32_t addr_len,
                          uint32_t router_id) except -1 nogil:
        cdef uint32_t i, k, mask, cap
        cdef void *grown
        cdef peer_t *peer
        if self.n_peers == self.peers_cap:
            cap = self.peers_cap * 2 + 64
            grown = realloc(self.peers, cap * sizeof(peer_t))
            if grown == NULL:
                with gil:
                    raise MemoryError
            self.peers = <peer_t *>grown
            self.peers_cap = cap
        peer = self.peers + self.n_peers
        memset(peer, 0, sizeof(peer_t))
        peer.asn = asn
        peer.router_id = router_id
        peer.addr_len = <uint8_t>addr_len
        memcpy(peer.addr, addr, addr_len)
        self.n_peers += 1
        if self.n_peers * 2 > self.by_address_cap:
            grown = calloc(self.by_address_cap * 4, sizeof(uint32_t))
            if grown == NULL:
                with gil:
                    raise MemoryError
            free(self.by_address)
            self.by_address = <uint32_t *>grown
            self.by_address_cap *= 4
            k = 0
        else:
            k = self.n_peers - 1
        mask = self.by_address_cap - 1
        for k in range(k, self.n_peers):
            peer = self.peers + k
            i = <uint32_t>(hash_bytes(peer.asn, peer.addr, peer.addr_len)) & mask
            while self.by_address[i]:
                i = (i + 1) & mask
            self.by_address[i] = k + 1
        return self.n_peers - 1

    # ---- results

    def peer_number(self, uint32_t asn, bytes address) -> int:
        """See mrtscan.pyi."""
        return self.find_peer(asn, <const uint8_t *>PyBytes_AS_STRING(address),
                              <uint32_t>PyBytes_GET_SIZE(address), 0)

    def read_index(self, bytes body) -> int:
        """See mrtscan.pyi."""
        cdef record_t r
        cdef int status
        memset(&r, 0, sizeof(r))
        r.body = <const uint8_t *>PyBytes_AS_STRING(body)
        r.len = <uint32_t>PyBytes_GET_SIZE(body)
        status = self.peer_index_table(&r)
        return 0 if status == MRT_OK else status

    def mapped(self, uint32_t index) -> int:
        """See mrtscan.pyi."""
        return self.index_map[index] if index < self.index_n else -1

    def kind_counts(self) -> list:
        """See mrtscan.pyi."""
        cdef uint32_t i
        return [
            (self.kinds[i].type, self.kinds[i].subtype, self.kinds[i].count)
            for i in range(self.n_kinds)
        ]

    def fault_list(self) -> list:
        """See mrtscan.pyi."""
        cdef uint64_t i
        return [
            (self.faults[i].number, self.faults[i].offset, self.faults[i].status)
            for i in range(min(self.n_faults, <uint64_t>MRT_FAULTS))
        ]

    def totals(self) -> tuple:
        """See mrtscan.pyi."""
        return (
            (self.prefixes[0], self.prefixes[1]),
            (self.routes[0], self.routes[1]),
            self.other_nlri,
        )

    def peer_list(self) -> list:
        """See mrtscan.pyi."""
        cdef uint32_t i
        cdef peer_t *p
        cdef list out = []
        for i in range(self.n_peers):
            p = self.peers + i
            out.append((
                p.asn,
                PyBytes_FromStringAndSize(<const char *>p.addr, p.addr_len),
                p.router_id,
                p.local_asn,
                PyBytes_FromStringAndSize(<const char *>p.local, p.addr_len if p.local_asn else 0),
                (p.entries[0], p.entries[1]),
                (p.announced[0], p.announced[1]),
                (p.withdrawn[0], p.withdrawn[1]),
                p.messages,
                p.updates,
                p.sent,
                p.state_changes,
                bool(p.as4),
                p.addpath,
            ))
        return out
