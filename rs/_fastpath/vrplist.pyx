"""Batches of VRPs on their way into the table: prefixes read from text, and lists of records.

In: VRPs as files have them, a prefix as text, a maximum length, an AS number. Out: a VrpList, which
RoaTable.stage takes in stretches, so that a file of half a million is no slice of work. A list owns
its memory, 24 B a VRP. RFC 9582 4.3 (what a VRP may say).
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport prefix_text
from rs._fastpath.types cimport FAM_IPV4, FAM_IPV6
from rs._fastpath.wire cimport prefix_load

check_abi(__name__)

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET
    int AF_INET6
    int inet_pton(int af, const char *src, void *dst)

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef int read_prefix(str text, uint8_t *addr, uint8_t *family, uint8_t *plen) except -1:
    """Read "10.0.0.0/8" into 16 octets; ValueError says what is wrong with it."""
    cdef Py_ssize_t n, at, i
    cdef uint32_t bits = 0
    cdef uint32_t width
    cdef uint8_t masked[16]
    cdef char buf[64]
    cdef const char *p = PyUnicode_AsUTF8AndSize(text, &n)
    at = 0
    while at < n and p[at] != 47:
        at += 1
    if at == n or at > 60 or n - at > 4 or n - at < 2:
        raise ValueError(f"{text!r} is not a prefix")
    for i in range(at + 1, n):
        if p[i] < 48 or p[i] > 57:
            raise ValueError(f"{text!r} is not a prefix")
        bits = bits * 10 + (p[i] - 48)
    memcpy(buf, p, at)
    buf[at] = 0
    memset(addr, 0, 16)
    if inet_pton(AF_INET, buf, addr) == 1:
        family[0] = FAM_IPV4
        width = 4
    elif inet_pton(AF_INET6, buf, addr) == 1:
        family[0] = FAM_IPV6
        width = 16
    else:
        raise ValueError(f"{text!r} is not a prefix")
    if bits > width * 8:
        raise ValueError(f"{text!r} is longer than an address of its family")
    prefix_load(addr, bits, masked, width)
    if memcmp(masked, addr, width) != 0:
        raise ValueError(f"{text!r} has bits set past its length")
    plen[0] = <uint8_t>bits
    return 0


@cython.final
cdef class VrpList:
    def __cinit__(self):
        self.cap = 0
        self.recs = NULL

    def __dealloc__(self):
        free(self.recs)

    cdef int push(self, const vrp_rec_t *rec) except -1:
        cdef uint64_t cap
        cdef void *p
        if self.count == self.cap:
            cap = <uint64_t>self.cap + (self.cap >> 1) + 16
            p = realloc(self.recs, cap * sizeof(vrp_rec_t))
            if p == NULL or cap > 0x7FFFFFFF:
                raise MemoryError
            self.recs = <vrp_rec_t *>p
            self.cap = <uint32_t>cap
        self.recs[self.count] = rec[0]
        self.count += 1
        return 0

    def add(self, str prefix, max_length, asn):
        """Append a VRP; max_length None is the prefix's own length."""
        cdef vrp_rec_t rec
        cdef long long v
        memset(&rec, 0, sizeof(rec))
        read_prefix(prefix, rec.addr, &rec.family, &rec.plen)
        if max_length is None:
            rec.max_len = rec.plen
        else:
            if not isinstance(max_length, int):
                raise TypeError(f"max length {max_length!r} of {prefix} is no integer")
            v = max_length
            if v < rec.plen or v > 8 * width_of(rec.family):
                raise ValueError(f"max length {max_length} of {prefix} is not between "
                                 f"{rec.plen} and {8 * width_of(rec.family)}")
            rec.max_len = <uint8_t>v
        if not isinstance(asn, int):
            raise TypeError(f"AS number {asn!r} of {prefix} is no integer")
        v = asn
        if v < 0 or v > 0xFFFFFFFF:
            raise ValueError(f"AS number {asn} of {prefix} is out of range")
        rec.asn = <uint32_t>v
        self.push(&rec)

    def __len__(self):
        return self.count

    def __getitem__(self, Py_ssize_t i):
        if i < 0:
            i += self.count
        if i < 0 or i >= self.count:
            raise IndexError(i)
        cdef vrp_rec_t *rec = &self.recs[i]
        return (prefix_text(rec.addr, rec.plen, rec.family), <int>rec.max_len, rec.asn)

    def __iter__(self):
        cdef uint32_t i
        for i in range(self.count):
            yield self[i]


cdef VrpList as_list(vrps):
    cdef VrpList batch
    if isinstance(vrps, VrpList):
        return <VrpList>vrps
    batch = VrpList()
    for prefix, max_length, asn in vrps:
        batch.add(prefix, max_length, asn)
    return batch
