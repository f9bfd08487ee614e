"""RPKI data as the import filter asks for it: VRPs for the origin of a route.

In: VRPs, each from a numbered source (a cache, a file), as RTR PDUs or batches (vrplist.pyx). Out:
the state of a route (RFC 6811), and which prefixes changed, so that only paths at or below those
are looked at again (RFC 9324). The table owns its memory. ASPAs are next door (aspa.pyx).

A VRP is in use as long as any source says it (RFC 8210 10; draft-ietf-sidrops-8210bis-27 4): it
stands in the table once, with a bit per source. So a second cache costs no memory, a source that
goes takes only what nobody else says, and a change is reported only if the union changed.

Changes come in transactions, one per source at a time. What is staged goes straight into the
table, with a bit that `state` does not look at: there is no second copy, and duplicates and
withdrawals of unknown records are seen where they stand. `commit` flips all bits in one go, about
3 ns a VRP, so that no route is ever judged by half an update (draft-ietf-sidrops-8210bis-27 11);
the changed prefixes are then handed out in slices, and VRPs that nobody says are freed meanwhile.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.arena cimport slab_alloc, slab_at, slab_free_all, slab_init, slab_release
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport prefix_text
from rs._fastpath.trie cimport Trie, stretch_t
from rs._fastpath.types cimport FAM_IPV4, FAM_IPV6
from rs._fastpath.vrplist cimport VrpList, as_list, read_prefix, vrp_rec_t, width_of
from rs._fastpath.wire cimport load32, prefix_load

check_abi(__name__)

cdef enum:
    PDU_IPV4_PREFIX = 4
    PDU_IPV6_PREFIX = 6
    PDU_HEADER = 8
    NO_SLOT = 0xFFFFFFFF
    TOUCHED_IPV6 = 0x80000000

    SETTLE_CHANGED = 1
    SETTLE_DEAD = 2


STAGE_OK = S_OK
STAGE_DUPLICATE = S_DUPLICATE
STAGE_UNKNOWN = S_UNKNOWN
STAGE_CORRUPT = S_CORRUPT
STAGE_LIMIT = S_LIMIT

STATES = ("not-found", "valid", "invalid")


cdef inline uint32_t max_len_of(const vrp_t *v) noexcept nogil:
    return v.link & 0xFF


cdef int by_key(const void *a, const void *b) noexcept nogil:
    """Family, address, length: what covers comes before what is covered."""
    cdef const roa_change_t *x = <const roa_change_t *>a
    cdef const roa_change_t *y = <const roa_change_t *>b
    cdef int c
    if x.family != y.family:
        return <int>x.family - <int>y.family
    c = memcmp(x.addr, y.addr, 16)
    return c if c else <int>x.plen - <int>y.plen


cdef inline bint inside(const roa_change_t *outer, const roa_change_t *inner) noexcept nogil:
    cdef uint32_t whole = outer.plen >> 3
    if outer.family != inner.family or outer.plen > inner.plen:
        return False
    if memcmp(outer.addr, inner.addr, whole) != 0:
        return False
    if outer.plen & 7:
        return outer.addr[whole] == (inner.addr[whole] & <uint8_t>(0xFF << (8 - (outer.plen & 7))))
    return True


@cython.final
cdef class RoaFamily:
    def __cinit__(self, uint32_t width):
        self.trie = Trie(width)
        self.first_cap = 64
        self.first = <vrp_t *>malloc(64 * sizeof(vrp_t))
        if self.first == NULL:
            raise MemoryError
        slab_init(&self.more, sizeof(vrp_t), 64)

    def __dealloc__(self):
        free(self.first)
        slab_free_all(&self.more)

    cdef uint32_t state(self, const uint8_t *addr, uint32_t plen,
                        uint32_t origin_as) noexcept nogil:
        # Origin 0 is never valid: such a route has origin NONE (RFC 6811 2), and a VRP for AS 0
        # exists to make routes invalid (RFC 6483 4, RFC 7607).
        cdef uint32_t h = self.trie.longest(addr, plen)
        cdef uint32_t found = ROA_NOT_FOUND
        cdef uint32_t bits
        cdef vrp_t *v
        while h:
            v = &self.first[h]
            while True:
                if v.sources:
                    if v.asn == origin_as and plen <= max_len_of(v) and origin_as != 0:
                        return ROA_VALID
                    found = ROA_INVALID
                if v.link >> 8 == 0:
                    break
                v = <vrp_t *>slab_at(&self.more, v.link >> 8)
            bits = self.trie.plen(h)
            if bits == 0:
                break
            h = self.trie.longest(addr, bits - 1)
        return found

    cdef vrp_t *find(self, uint32_t h, uint32_t asn, uint32_t max_len) noexcept nogil:
        cdef vrp_t *v = &self.first[h]
        while True:
            if v.asn == asn and max_len_of(v) == max_len:
                return v
            if v.link >> 8 == 0:
                return NULL
            v = <vrp_t *>slab_at(&self.more, v.link >> 8)

    cdef vrp_t *place(self, const uint8_t *addr, uint32_t plen, uint32_t max_len, uint32_t asn,
                      uint32_t *h) except NULL:
        """Return a VRP, new or known, and its prefix's handle."""
        cdef uint32_t known, extra
        cdef uint64_t cap
        cdef vrp_t *v
        cdef vrp_t *first
        cdef void *p
        if self.trie.top + 1 >= self.first_cap:
            cap = <uint64_t>self.first_cap + (self.first_cap >> 1) + 16
            p = realloc(self.first, cap * sizeof(vrp_t))
            if p == NULL:
                raise MemoryError
            self.first = <vrp_t *>p
            self.first_cap = <uint32_t>cap
        known = self.trie.count
        h[0] = self.trie.insert(addr, plen)
        if self.trie.count != known:
            v = &self.first[h[0]]
            v.link = max_len
        else:
            v = self.find(h[0], asn, max_len)
            if v != NULL:
                return v
            extra = slab_alloc(&self.more)
            if extra >> 24:
                slab_release(&self.more, extra)
                raise MemoryError("the VRP table is full: 2^24 VRPs beside one of their prefix")
            v = <vrp_t *>slab_at(&self.more, extra)
            first = &self.first[h[0]]
            v.link = (first.link & ~<uint32_t>0xFF) | max_len
            first.link = extra << 8 | max_len_of(first)
        v.asn = asn
        v.sources = 0
        v.staged = 0
        return v

    cdef uint32_t settle(self, source_t *s, uint16_t bit, uint32_t h, bint keep,
                         uint32_t *added, uint32_t *removed) noexcept nogil:
        """End the transaction of the source with this bit for one prefix; returns SETTLE_*."""
        cdef uint16_t before
        cdef uint32_t flags = 0
        cdef vrp_t *v = &self.first[h]
        while True:
            before = v.sources
            if keep:
                if s.reset:
                    v.sources = <uint16_t>((before & ~bit) | (v.staged & bit))
                else:
                    v.sources ^= v.staged & bit
                s.held += <uint32_t>((v.sources & bit) != 0) - <uint32_t>((before & bit) != 0)
                if (before != 0) != (v.sources != 0):
                    flags |= SETTLE_CHANGED
                    if before:
                        removed[0] += 1
                        self.vrps -= 1
                    else:
                        added[0] += 1
                        self.vrps += 1
            v.staged &= <uint16_t>~bit
            if v.sources == 0 and v.staged == 0:
                flags |= SETTLE_DEAD
            if v.link >> 8 == 0:
                return flags
            v = <vrp_t *>slab_at(&self.more, v.link >> 8)

    cdef int purge(self, uint32_t h) except -1:
        """Free the prefix's VRPs that no source says, and the prefix with its last one."""
        cdef vrp_t *first = &self.first[h]
        cdef vrp_t *last = first
        cdef vrp_t *v
        cdef uint32_t extra
        # Behind the first: unlink. The first: its successor takes its place.
        while last.link >> 8:
            extra = last.link >> 8
            v = <vrp_t *>slab_at(&self.more, extra)
            if v.sources == 0 and v.staged == 0:
                last.link = (v.link & ~<uint32_t>0xFF) | max_len_of(last)
                slab_release(&self.more, extra)
            else:
                last = v
        if first.sources == 0 and first.staged == 0:
            extra = first.link >> 8
            if extra:
                first[0] = (<vrp_t *>slab_at(&self.more, extra))[0]
                slab_release(&self.more, extra)
            else:
                self.trie.remove(h)
        return 0

    def _rows(self):
        """Return (address octets, length, max length, AS number, sources) of all VRPs in use."""
        cdef vrp_t *v
        cdef stretch_t s = self.trie.stretch(1, self.trie.top)
        rows = []
        while self.trie.step(&s):
            v = &self.first[s.h]
            while True:
                if v.sources:
                    rows.append((<bytes>(<char *>self.trie.addr(s.h))[:self.trie.width],
                                 <int>self.trie.plen(s.h), <int>max_len_of(v), v.asn,
                                 <int>v.sources))
                if v.link >> 8 == 0:
                    break
                v = <vrp_t *>slab_at(&self.more, v.link >> 8)
        return rows

    def _covering(self, bytes addr, uint32_t plen):
        """Return the same rows, of the VRPs that cover a prefix only, longest first."""
        cdef uint32_t h, bits
        cdef vrp_t *v
        rows = []
        h = self.trie.longest(addr, plen)
        while h:
            bits = self.trie.plen(h)
            v = &self.first[h]
            while True:
                if v.sources:
                    rows.append((<bytes>(<char *>self.trie.addr(h))[:self.trie.width],
                                 <int>bits, <int>max_len_of(v), v.asn, <int>v.sources))
                if v.link >> 8 == 0:
                    break
                v = <vrp_t *>slab_at(&self.more, v.link >> 8)
            h = self.trie.longest(addr, bits - 1) if bits else 0
        return rows

    def _octets(self):
        return (self.trie.stats()["bytes"] + <uint64_t>self.trie.top * sizeof(vrp_t)
                + <uint64_t>self.more.top * sizeof(vrp_t))


@cython.final
cdef class RoaTable:
    def __cinit__(self):
        memset(self.sources, 0, sizeof(self.sources))
        self.names = [None] * N_SOURCES
        self.v4 = RoaFamily(4)
        self.v6 = RoaFamily(16)

    def __dealloc__(self):
        cdef uint32_t i
        free(self.pending)
        for i in range(N_SOURCES):
            free(self.sources[i].touched)

    # --- validation ------------------------------------------------------------------------------

    def validate(self, str prefix, uint32_t origin_as):
        """Return the state of a route as a word of STATES."""
        cdef uint8_t addr[16]
        cdef uint8_t family, plen
        read_prefix(prefix, addr, &family, &plen)
        return STATES[self.state(family, addr, plen, origin_as)]

    def covering(self, str prefix):
        """Return the VRPs that cover a prefix, longest first: (prefix, max length, AS, sources)."""
        cdef uint8_t addr[16]
        cdef uint8_t family, plen
        read_prefix(prefix, addr, &family, &plen)
        part = self.v4 if family == FAM_IPV4 else self.v6
        return [(prefix_text(of, bits, family), max_len, asn, self._names_of(bits_of_sources))
                for of, bits, max_len, asn, bits_of_sources
                in part._covering(<bytes>(<char *>addr)[:16], plen)]

    def _names_of(self, uint32_t bits):
        return tuple([self.names[i] for i in range(N_SOURCES) if bits >> i & 1])

    def snapshot(self):
        """Return all VRPs in use, in the order of addresses: (prefix, max length, AS).

        It holds the loop, 1 us a VRP: for tests and small tables.
        """
        return [(prefix_text(addr, plen, family), max_len, asn)
                for family, part in ((FAM_IPV4, self.v4), (FAM_IPV6, self.v6))
                for addr, plen, max_len, asn, _ in sorted(part._rows())]

    def stats(self):
        """Return counts, octets in use and the VRPs of every source."""
        cdef uint32_t i
        cdef uint64_t octets = self.v4._octets() + self.v6._octets()
        octets += <uint64_t>self.pending_cap * sizeof(pending_t)
        held = {}
        for i in range(N_SOURCES):
            octets += <uint64_t>self.sources[i].touched_cap * 4
            if self.sources[i].known:
                # Two of one name: a cache reconfigured, its old data not yet replaced.
                held[self.names[i]] = held.get(self.names[i], 0) + self.sources[i].held
        return {
            "vrps_ipv4": self.v4.vrps,
            "vrps_ipv6": self.v6.vrps,
            "prefixes": self.v4.trie.count + self.v6.trie.count,
            "bytes": octets,
            "pending": self.n_pending - self.pending_at,
            "sources": held,
        }

    # --- sources ---------------------------------------------------------------------------------

    def add_source(self, str name):
        """Return the number of a new source; ValueError when all are in use."""
        cdef uint32_t i
        for i in range(N_SOURCES):
            if not self.sources[i].known:
                memset(&self.sources[i], 0, sizeof(source_t))
                self.sources[i].known = 1
                self.names[i] = name
                return i
        raise ValueError(f"no room for RPKI source {name}: {N_SOURCES} are in use")

    def remove_source(self, uint32_t source):
        """Give back the number of a source that holds nothing."""
        self._check(source)
        if self.sources[source].held or self.sources[source].open:
            raise ValueError(f"RPKI source {self.names[source]} still holds VRPs")
        free(self.sources[source].touched)
        memset(&self.sources[source], 0, sizeof(source_t))
        self.names[source] = None

    def held(self, uint32_t source):
        """Return how many VRPs a source says."""
        self._check(source)
        return self.sources[source].held

    def _check(self, uint32_t source):
        if source >= N_SOURCES or not self.sources[source].known:
            raise ValueError(f"there is no RPKI source {source}")

    cdef source_t *_opened(self, uint32_t source) except NULL:
        self._check(source)
        if not self.sources[source].open:
            raise ValueError(f"RPKI source {self.names[source]} has no open transaction")
        return &self.sources[source]

    # --- transactions ----------------------------------------------------------------------------

    def begin(self, uint32_t source, bint reset, uint32_t limit=0x7FFFFFFF):
        """Open a transaction: a reset says everything anew, a delta what changed."""
        self._check(source)
        cdef source_t *s = &self.sources[source]
        if s.open:
            raise ValueError(f"RPKI source {self.names[source]} has a transaction open")
        s.open = 1
        s.reset = reset
        s.limit = limit
        s.staged = 0 if reset else s.held
        s.n_touched = 0

    cdef int _stage(self, uint32_t source, uint32_t family, const uint8_t *addr, uint32_t plen,
                    uint32_t max_len, uint32_t asn, bint announce) except -1:
        """Stage one VRP of an open transaction; returns S_*. `addr` has its host bits zero."""
        cdef source_t *s = &self.sources[source]
        cdef RoaFamily part = self.v4 if family == FAM_IPV4 else self.v6
        cdef uint16_t bit = <uint16_t>(1 << source)
        cdef uint32_t h
        cdef vrp_t *v
        if not announce:
            if s.reset:
                return S_CORRUPT
            h = part.trie.find(addr, plen)
            v = part.find(h, asn, max_len) if h else NULL
            if v == NULL or not (v.sources ^ v.staged) & bit:
                return S_UNKNOWN
            self._touch(s, family, h)
            v.staged ^= bit
            s.staged -= 1
            return S_OK
        if s.staged >= s.limit:
            return S_LIMIT
        v = part.place(addr, plen, max_len, asn, &h)
        if s.reset:
            if v.staged & bit:
                return S_DUPLICATE
        else:
            if (v.sources ^ v.staged) & bit:
                return S_DUPLICATE
            self._touch(s, family, h)
        v.staged ^= bit
        s.staged += 1
        return S_OK

    cdef int _touch(self, source_t *s, uint32_t family, uint32_t h) except -1:
        cdef uint64_t cap
        cdef void *p
        if s.n_touched == s.touched_cap:
            cap = <uint64_t>s.touched_cap + (s.touched_cap >> 1) + 64
            p = realloc(s.touched, cap * 4)
            if p == NULL or cap > 0x7FFFFFFF:
                raise MemoryError
            s.touched = <uint32_t *>p
            s.touched_cap = <uint32_t>cap
        s.touched[s.n_touched] = h | (TOUCHED_IPV6 if family == FAM_IPV6 else 0)
        s.n_touched += 1
        return 0

    def stage(self, uint32_t source, VrpList vrps, uint32_t start=0, n=None, bint announce=True):
        """Stage a stretch of a batch; returns where the next one starts.

        What is there already, or not there to be withdrawn, is passed over: files may say a VRP
        once per trust anchor. ValueError beyond the source's limit.
        """
        cdef source_t *s = self._opened(source)
        cdef uint32_t end = vrps.count
        cdef uint32_t i
        cdef vrp_rec_t *rec
        if n is not None and start + <uint32_t>n < end:
            end = start + <uint32_t>n
        for i in range(start, end):
            rec = &vrps.recs[i]
            if self._stage(source, rec.family, rec.addr, rec.plen, rec.max_len, rec.asn,
                           announce) == S_LIMIT:
                raise ValueError(f"RPKI source {self.names[source]} has more than {s.limit} VRPs")
        return end

    def stage_pdus(self, uint32_t source, bytes data, Py_ssize_t pos, uint32_t version):
        """Stage the Prefix PDUs that stand at `pos`, one after the other, until something else.

        Returns (position after the last one taken, STAGE_*). STAGE_OK is no verdict on what stands
        there: another PDU, a part of one, one of another version or with a wrong length. Any other
        code is about the PDU at that position. From version 2 on bits past the prefix length must
        be zero (draft-ietf-sidrops-8210bis-27 5.9); before, they are ignored.
        """
        cdef const uint8_t *p = data
        cdef Py_ssize_t end = len(data)
        cdef uint32_t kind, length, family, plen, max_len, width
        cdef uint8_t addr[16]
        cdef int code
        self._opened(source)
        while end - pos >= PDU_HEADER:
            kind = p[pos + 1]
            if kind == PDU_IPV4_PREFIX:
                family = FAM_IPV4
                length = 20
            elif kind == PDU_IPV6_PREFIX:
                family = FAM_IPV6
                length = 32
            else:
                break
            if p[pos] != version or load32(p + pos + 4) != length or end - pos < length:
                break
            width = width_of(family)
            plen = p[pos + 9]
            max_len = p[pos + 10]
            if plen > max_len or max_len > width * 8:
                return (pos, S_CORRUPT)
            prefix_load(p + pos + 12, plen, addr, width)
            if version >= 2 and memcmp(addr, p + pos + 12, width) != 0:
                return (pos, S_CORRUPT)
            code = self._stage(source, family, addr, plen, max_len, load32(p + pos + 12 + width),
                               p[pos + 8] & 1)
            if code != S_OK:
                return (pos, code)
            pos += length
        return (pos, S_OK)

    def commit(self, uint32_t source, bint report=True):
        """Put a transaction into use in one go; returns the VRPs (new, gone) in the union.

        Without `report` no changes are kept for `changes`, which halves the time: for a consumer
        who is going to look at all paths.
        """
        cdef uint32_t added = 0
        cdef uint32_t removed = 0
        self._opened(source)
        self._finish(source, True, report, &added, &removed)
        return (added, removed)

    def abort(self, uint32_t source):
        """Forget what was staged."""
        cdef uint32_t added = 0
        cdef uint32_t removed = 0
        self._opened(source)
        self._finish(source, False, False, &added, &removed)

    cdef int _finish(self, uint32_t source, bint keep, bint report, uint32_t *added,
                     uint32_t *removed) except -1:
        cdef source_t *s = &self.sources[source]
        cdef uint16_t bit = <uint16_t>(1 << source)
        cdef uint32_t wanted = SETTLE_CHANGED | SETTLE_DEAD if report else SETTLE_DEAD
        cdef uint32_t family, h, i
        cdef RoaFamily part
        cdef stretch_t at
        # Memory first: once the flipping starts nothing may fail.
        if s.reset:
            self._room_pending(self.v4.trie.count + self.v6.trie.count)
            for family in range(2):
                part = self.v4 if family == FAM_IPV4 else self.v6
                at = part.trie.stretch(1, part.trie.top)
                while part.trie.step(&at):
                    self._note(family, at.h,
                               wanted & part.settle(s, bit, at.h, keep, added, removed))
        else:
            self._room_pending(s.n_touched)
            for i in range(s.n_touched):
                family = FAM_IPV6 if s.touched[i] & TOUCHED_IPV6 else FAM_IPV4
                part = self.v4 if family == FAM_IPV4 else self.v6
                h = s.touched[i] & ~<uint32_t>TOUCHED_IPV6
                # Gone, if it was announced and withdrawn in one delta and purged meanwhile.
                if part.trie.holds(h):
                    self._note(family, h, wanted & part.settle(s, bit, h, keep, added, removed))
        s.open = 0
        if s.touched_cap > 4096:
            free(s.touched)
            s.touched = NULL
            s.touched_cap = 0
        s.n_touched = 0
        if self.n_pending == 0:
            self._free_pending()
        return 0

    # --- changes ---------------------------------------------------------------------------------

    cdef int _room_pending(self, uint32_t n) except -1:
        cdef uint64_t cap = <uint64_t>self.n_pending + n
        cdef void *p
        if cap > self.pending_cap:
            p = realloc(self.pending, cap * sizeof(pending_t))
            if p == NULL or cap > 0x7FFFFFFF:
                raise MemoryError
            self.pending = <pending_t *>p
            self.pending_cap = <uint32_t>cap
        return 0

    cdef void _free_pending(self) noexcept nogil:
        if self.pending_cap > 4096:
            free(self.pending)
            self.pending = NULL
            self.pending_cap = 0

    cdef void _note(self, uint32_t family, uint32_t h, uint32_t flags) noexcept nogil:
        cdef pending_t *c = &self.pending[self.n_pending]
        if flags:
            c.h = h
            c.family = <uint8_t>family
            c.report = (flags & SETTLE_CHANGED) != 0
            self.n_pending += 1

    cdef uint32_t take(self, roa_change_t *out, uint32_t n) except? 0xFFFFFFFF:
        """Look at up to `n` pending changes and write the changed prefixes to `out`.

        Returns how many: fewer than `n` also when more are pending, since a prefix below another
        of the slice is left out. With `out` NULL the changes are dropped unseen. What is written is
        sorted by family, address and length.
        """
        cdef uint32_t got = 0
        cdef uint32_t i, kept
        cdef pending_t *c
        cdef RoaFamily part
        while n and self.pending_at < self.n_pending:
            c = &self.pending[self.pending_at]
            self.pending_at += 1
            n -= 1
            part = self.v4 if c.family == FAM_IPV4 else self.v6
            # Freed since, by an earlier change of the same prefix; or reused: then it is looked
            # at once more than needed.
            if not part.trie.holds(c.h):
                continue
            if c.report and out != NULL:
                memset(&out[got], 0, sizeof(roa_change_t))
                memcpy(out[got].addr, part.trie.addr(c.h), part.trie.width)
                out[got].family = c.family
                out[got].plen = <uint8_t>part.trie.plen(c.h)
                got += 1
            part.purge(c.h)
        if self.pending_at == self.n_pending:
            self.pending_at = self.n_pending = 0
            self._free_pending()
        if got > 1:
            qsort(out, got, sizeof(roa_change_t), by_key)
            kept = 0
            for i in range(1, got):
                if not inside(&out[kept], &out[i]):
                    kept += 1
                    out[kept] = out[i]
            got = kept + 1
        return got

    @property
    def pending_changes(self):
        """Changes committed and not yet taken."""
        return self.n_pending - self.pending_at

    def changes(self, uint32_t n=0xFFFFFFFF):
        """Return the next changed prefixes as (family, address octets, length); see take."""
        cdef uint32_t i, got
        cdef uint32_t left = self.n_pending - self.pending_at
        if n > left:
            n = left
        cdef roa_change_t *out = <roa_change_t *>malloc((<uint64_t>n + 1) * sizeof(roa_change_t))
        if out == NULL:
            raise MemoryError
        try:
            got = self.take(out, n)
            return [(<int>out[i].family,
                     <bytes>(<char *>out[i].addr)[:width_of(out[i].family)],
                     <int>out[i].plen) for i in range(got)]
        finally:
            free(out)

    def drop_changes(self, uint32_t n=0xFFFFFFFF):
        """Pass over up to `n` changes: for a consumer who looks at all paths anyway."""
        self.take(NULL, n)

    def apply(self, announced, withdrawn, uint32_t source=0):
        """Announce and withdraw VRPs of a source in one go; returns the changed prefixes."""
        cdef VrpList add = as_list(announced)
        cdef VrpList remove = as_list(withdrawn)
        self.begin(source, False)
        try:
            self.stage(source, remove, 0, None, False)
            self.stage(source, add)
        except BaseException:
            self.abort(source)
            raise
        self.commit(source)
        return self.changes()

    def replace(self, vrps, uint32_t source=0):
        """Make these the source's VRPs; returns the changed prefixes."""
        cdef VrpList batch = as_list(vrps)
        self.begin(source, True)
        try:
            self.stage(source, batch)
        except BaseException:
            self.abort(source)
            raise
        self.commit(source)
        return self.changes()
