"""The judge: from a member's UPDATEs to the routes it holds, and to what is wrong with them.

In: the universe of prefixes of a run, what each member is due, and the bodies of the UPDATEs that
it gets. Out: counts of missing and surplus prefixes and of wrong next hops, right after every
change, so that "exact" is one comparison. A prefix is an index into the universe: IPv4 /24s by a
flat array, everything else by hash. Only what is judged is parsed; attributes are passed over by
their length unless NLRI or a sampled member's next hop may stand in them.

Universe owns the index. A holding is the load client's, but its arrays are made and freed here.
RFC 4271 4.3, 4724 2 (End-of-RIB), 4760, 7911 3.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    ATTR_MP_REACH,
    ATTR_MP_UNREACH,
    ATTR_NEXT_HOP,
    FAM_IPV4,
    FAM_IPV6,
)
from rs._fastpath.wire cimport load16, load32, load64, plen_bytes, prefix_load

check_abi(__name__)

cdef extern from *:
    int __builtin_popcountll(unsigned long long) nogil
    int __builtin_clzll(unsigned long long) nogil
    void __builtin_prefetch(const void *, int) nogil

cdef enum:
    DIRECT_LEN = 1 << 24    # every IPv4 /24
    IDX_BITS = 26           # 67 million prefixes at most
    BATCH = 512             # NLRI looked up at a time
    MEMO_SPAN = 4096        # octets of NLRI in the longest span that is remembered
    MEMO_SLOTS = 1 << 21
    WARM_MOST = 65536       # octets of bitmaps; of larger ones a read touches a small part


cdef inline uint64_t mix(uint64_t x) noexcept nogil:
    x ^= x >> 32
    x *= <uint64_t>0x9E3779B97F4A7C15
    return x ^ (x >> 29)


cdef inline uint64_t mix6(const uint8_t *key) noexcept nogil:
    return mix(load64(key) ^ mix(load64(key + 8) + key[16]))


cdef uint32_t hist_slot(uint64_t v) noexcept nogil:
    """Bucket of a value; 64 buckets for each power of two."""
    cdef uint32_t e
    if v < 128:
        return <uint32_t>v
    e = 63 - __builtin_clzll(v)
    return ((e - 5) << 6) + <uint32_t>((v >> (e - 6)) & 63)


cdef uint64_t hist_value(uint32_t slot) noexcept nogil:
    """Middle of a bucket."""
    cdef uint32_t e
    if slot < 128:
        return slot
    e = (slot >> 6) + 5
    return ((<uint64_t>64 + (slot & 63)) << (e - 6)) + ((<uint64_t>1 << (e - 6)) >> 1)


cdef inline void settle(holding_t *h, uint32_t w, uint64_t bits, uint32_t n) noexcept nogil:
    """Set the announced bits of word `w`, `n` of them if none came twice, and keep the counts."""
    cdef word_t *word = &h.words[w]
    cdef uint64_t own
    if n and bits & (word.have | ~word.due) == 0:
        word.have |= bits           # the common case: all due, all new
        h.missing -= n
        return
    bits &= ~word.have
    word.have |= bits
    h.missing -= __builtin_popcountll(bits & word.due)
    bits &= ~word.due
    if bits:
        own = h.own[w] if h.own != NULL else 0
        h.echoed += __builtin_popcountll(bits & own)
        h.surplus += __builtin_popcountll(bits & ~own)


cdef inline void take_next_hop(holding_t *h, uint32_t i, uint32_t nh) noexcept nogil:
    """Prefix `i` of a sampled member has the next hop `nh` now; 0 = it is withdrawn."""
    cdef hop_t *hop = &h.hops[i]
    if hop.due:
        h.nh_wrong += hop.got == hop.due
        h.nh_wrong -= nh == hop.due
    hop.got = nh


# What a span of NLRI stood for last time. Members get the same bytes, so that nearly every span is
# looked up once and not once a member: a hash look-up a prefix would make the client the limit.
# An entry is memo_t, the span, padding to 4 octets, and `count` times index + 1.
cdef struct memo_t:
    uint64_t hash
    uint32_t len            # octets of NLRI
    uint32_t count          # prefixes


cdef inline uint64_t memo_hash(const uint8_t *p, uint32_t n, uint8_t family) noexcept nogil:
    """Hash of a span; never 0."""
    cdef uint64_t x = (<uint64_t>n << 1) + family
    cdef uint64_t tail = 0
    while n >= 8:
        x = mix((x ^ load64(p)) * <uint64_t>0xD6E8FEB86659FD93)
        p += 8
        n -= 8
    while n:
        tail = (tail << 8) | p[0]
        p += 1
        n -= 1
    return mix((x ^ tail) * <uint64_t>0xD6E8FEB86659FD93) | 1


cdef uint32_t *memo_find(memo_table_t *t, uint64_t hash, const uint8_t *p, uint32_t n,
                         uint32_t *count) noexcept nogil:
    cdef uint64_t at = (hash >> 1) & (MEMO_SLOTS - 1)
    cdef memo_t *m
    while t.slots[at]:
        m = <memo_t *>(t.pool + (t.slots[at] - 1) * 4)
        # The hash has the family in it, the span has not: two families, one hash, is no accident.
        if m.hash == hash and m.len == n and memcmp(<uint8_t *>(m + 1), p, n) == 0:
            count[0] = m.count
            return <uint32_t *>(<uint8_t *>(m + 1) + ((n + 3) & ~<uint32_t>3))
        at = (at + 1) & (MEMO_SLOTS - 1)
    return NULL


cdef void memo_keep(memo_table_t *t, uint64_t hash, const uint8_t *p, uint32_t n,
                    const uint32_t *given, uint32_t count) noexcept nogil:
    """Remember a span, unless there are too many already or memory is out: it is only speed."""
    cdef uint64_t at = (hash >> 1) & (MEMO_SLOTS - 1)
    cdef uint32_t padded = (n + 3) & ~<uint32_t>3
    cdef uint64_t size = sizeof(memo_t) + padded + 4 * <uint64_t>count
    cdef uint8_t *grown
    cdef memo_t *m
    if t.kept >= MEMO_SLOTS // 2:
        return
    if t.used + size > t.cap:
        grown = <uint8_t *>realloc(t.pool, 2 * t.cap + size)
        if grown == NULL:
            return
        t.pool = grown
        t.cap = 2 * t.cap + size
    m = <memo_t *>(t.pool + t.used)
    m.hash = hash
    m.len = n
    m.count = count
    memcpy(<uint8_t *>(m + 1), p, n)
    memcpy(<uint8_t *>(m + 1) + padded, given, 4 * count)
    while t.slots[at]:
        at = (at + 1) & (MEMO_SLOTS - 1)
    t.slots[at] = <uint32_t>(t.used // 4) + 1
    t.used += (size + 7) & ~<uint64_t>7
    t.kept += 1


@cython.final
cdef class Universe:

    def __cinit__(self, bytes prefixes4, bytes prefixes6):
        if len(prefixes4) % 5 or len(prefixes6) % 17:
            raise ValueError("prefixes are 4 + 1 octets (IPv4) and 16 + 1 octets (IPv6) each")
        self.n4 = <uint32_t>(len(prefixes4) // 5)
        self.n_prefixes = self.n4 + <uint32_t>(len(prefixes6) // 17)
        if self.n_prefixes == 0 or self.n_prefixes >= (1 << IDX_BITS) - 1:
            raise ValueError(f"{self.n_prefixes} prefixes; want 1 to {(1 << IDX_BITS) - 2}")
        self.n_words = (self.n_prefixes + 63) >> 6
        self.mask4 = self.mask6 = 15
        while self.mask4 < 2 * <uint64_t>self.n4:
            self.mask4 = 2 * self.mask4 + 1
        while self.mask6 < 2 * <uint64_t>(self.n_prefixes - self.n4):
            self.mask6 = 2 * self.mask6 + 1
        self.slots4 = <uint64_t *>calloc(self.mask4 + 1, 8)
        self.slots6 = <uint32_t *>calloc(self.mask6 + 1, 4)
        self.direct = <uint32_t *>calloc(DIRECT_LEN, 4)     # only the pages in use cost memory
        if self.slots4 == NULL or self.slots6 == NULL or self.direct == NULL:
            raise MemoryError
        self.keys6_owner = prefixes6
        self.keys6 = prefixes6
        self.build(prefixes4)
        if self.hashed:
            self.memo.slots = <uint32_t *>calloc(MEMO_SLOTS, 4)
            if self.memo.slots == NULL:
                raise MemoryError

    def __dealloc__(self):
        free(self.direct)
        free(self.slots4)
        free(self.slots6)
        free(self.memo.slots)
        free(self.memo.pool)

    cdef int build(self, const uint8_t *p) except -1:
        cdef uint32_t i, plen, addr
        cdef uint64_t at
        for i in range(self.n4):
            addr = load32(p)
            plen = p[4]
            p += 5
            if self.direct[addr >> 8] and plen == 24 or plen != 24 and self.find4(plen, addr):
                raise ValueError(f"IPv4 prefix {i} is there twice")
            if plen == 24:
                self.direct[addr >> 8] = i + 1
                continue
            self.hashed = True
            at = mix((<uint64_t>plen << 32) | addr) & self.mask4
            while self.slots4[at]:
                at = (at + 1) & self.mask4
            self.slots4[at] = (((<uint64_t>plen << 32) | addr) << IDX_BITS) | (i + 1)
        for i in range(self.n_prefixes - self.n4):
            p = self.keys6 + 17 * <size_t>i
            if self.find6(p):
                raise ValueError(f"IPv6 prefix {i} is there twice")
            self.hashed = True
            at = mix6(p) & self.mask6
            while self.slots6[at]:
                at = (at + 1) & self.mask6
            self.slots6[at] = i + 1
        return 0

    cdef uint32_t find4(self, uint32_t plen, uint32_t addr) noexcept nogil:
        """Index + 1 of a prefix that is no /24, or 0 outside the universe."""
        cdef uint64_t key = (<uint64_t>plen << 32) | addr
        cdef uint64_t at = mix(key) & self.mask4
        while self.slots4[at]:
            if self.slots4[at] >> IDX_BITS == key:
                return <uint32_t>(self.slots4[at] & ((1 << IDX_BITS) - 1))
            at = (at + 1) & self.mask4
        return 0

    cdef uint32_t find6(self, const uint8_t *key) noexcept nogil:
        cdef uint64_t at = mix6(key) & self.mask6
        while self.slots6[at]:
            if memcmp(self.keys6 + 17 * <size_t>(self.slots6[at] - 1), key, 17) == 0:
                return self.n4 + self.slots6[at]
            at = (at + 1) & self.mask6
        return 0

    # Holdings.

    cdef int new_holding(self, holding_t *h) except -1:
        """Set up a holding of nothing that is due nothing; free_holding is owed even on failure."""
        memset(h, 0, sizeof(holding_t))
        h.words = <word_t *>calloc(self.n_words, sizeof(word_t))
        if h.words == NULL:
            raise MemoryError
        return 0

    cdef void free_holding(self, holding_t *h) noexcept nogil:
        free(h.words)
        free(h.own)
        free(h.churned)
        free(h.hops)

    cdef int check_bits(self, bytes given) except -1:
        """Refuse what is no bitmap of this universe (least significant bit first)."""
        cdef uint32_t want = (self.n_prefixes + 7) >> 3
        if len(given) != want:
            raise ValueError(f"bitmap of {len(given)} octets; want {want}")
        if self.n_prefixes & 7 and given[want - 1] >> (self.n_prefixes & 7):
            raise ValueError("bitmap has bits past the last prefix")
        return 0

    cdef int load_due(self, holding_t *h, bytes given) except -1:
        """Take what a member is due; recount is owed."""
        cdef const uint8_t *p = given
        cdef uint32_t w, n = <uint32_t>len(given)
        self.check_bits(given)
        for w in range(self.n_words):
            h.words[w].due = 0
            memcpy(&h.words[w].due, p + 8 * w, 8 if n - 8 * w > 8 else n - 8 * w)
        return 0

    cdef int load_own(self, holding_t *h, bytes given) except -1:
        """Take what nobody else brings; recount is owed."""
        self.check_bits(given)
        if h.own == NULL:
            h.own = <uint64_t *>calloc(self.n_words, 8)
            if h.own == NULL:
                raise MemoryError
        memcpy(h.own, <const uint8_t *>given, len(given))
        return 0

    cdef bytes held(self, holding_t *h):
        """Return what a member holds, as a bitmap."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, 8 * <Py_ssize_t>self.n_words)
        cdef uint64_t *to = <uint64_t *>PyBytes_AS_STRING(out)
        cdef uint32_t w
        for w in range(self.n_words):
            to[w] = h.words[w].have
        return out[:(self.n_prefixes + 7) >> 3]

    cdef int load_next_hops(self, holding_t *h, bytes due) except -1:
        """Have a holding's next hops judged: 4 octets a prefix, native order; recount is owed."""
        cdef const uint32_t *given = <const uint32_t *><const uint8_t *>due
        cdef uint32_t i
        if len(due) != 4 * <Py_ssize_t>self.n_prefixes:
            raise ValueError(f"{len(due)} octets of next hops; want {4 * self.n_prefixes}")
        if h.hops == NULL:
            h.hops = <hop_t *>calloc(self.n_prefixes, sizeof(hop_t))
            if h.hops == NULL:
                raise MemoryError
        for i in range(self.n_prefixes):
            h.hops[i].due = given[i]
        return 0

    cdef void forget(self, holding_t *h) noexcept nogil:
        """A session begins anew: it holds nothing."""
        cdef uint32_t w, i
        for w in range(self.n_words):
            h.words[w].have = 0
        if h.hops != NULL:
            for i in range(self.n_prefixes):
                h.hops[i].got = 0
        h.eor = h.addpath = 0
        h.t_first = 0
        self.recount(h)

    cdef void warm(self, const holding_t *h, size_t octets) noexcept nogil:
        """Have a holding's bitmaps brought into the cache, if `octets` of UPDATEs are worth it.

        There are hundreds of holdings: between two reads of one, others have taken its place, and
        prefixes come in no order, so that each look would wait by itself.
        """
        cdef size_t at = 0, size = self.n_words * sizeof(word_t)
        if size > WARM_MOST or size > 2 * octets:
            return
        while at < size:
            __builtin_prefetch(<const uint8_t *>h.words + at, 1)
            at += 64

    cdef void recount(self, holding_t *h) noexcept nogil:
        """Count faults from the bitmaps; due when these were changed from outside."""
        cdef uint32_t w, i
        cdef uint64_t own, wrong
        h.missing = h.surplus = h.echoed = h.nh_wrong = 0
        for w in range(self.n_words):
            own = h.own[w] if h.own != NULL else 0
            h.missing += __builtin_popcountll(h.words[w].due & ~h.words[w].have)
            wrong = h.words[w].have & ~h.words[w].due
            h.surplus += __builtin_popcountll(wrong & ~own)
            h.echoed += __builtin_popcountll(wrong & own)
        if h.hops != NULL:
            for i in range(self.n_prefixes):
                if h.hops[i].due and h.hops[i].got != h.hops[i].due:
                    h.nh_wrong += 1

    # UPDATEs.

    cdef void digest(self, holding_t *h, const uint8_t *p, uint32_t n, uint64_t now) noexcept nogil:
        """Take in the body of one UPDATE of `n` octets, received at `now` ns."""
        cdef uint32_t w_len, a_len
        cdef uint32_t nh = 0
        cdef const uint8_t *attrs
        h.updates += 1
        if n < 4:
            h.malformed += 1
            return
        w_len = load16(p)
        if w_len + 4 > n:
            h.malformed += 1
            return
        a_len = load16(p + 2 + w_len)
        if w_len + a_len + 4 > n:
            h.malformed += 1
            return
        if n == 4:
            h.eor |= 1 << FAM_IPV4
            return
        attrs = p + 4 + w_len
        n -= 4 + w_len + a_len
        # Attributes are looked into only where they can hold something that is judged.
        if a_len and (self.n_prefixes > self.n4 or n == 0 or h.hops != NULL):
            nh = self.attributes(h, attrs, a_len, now)
        if w_len:
            self.nlri(h, p + 2, w_len, FAM_IPV4, False, 0, now)
        if n:
            self.nlri(h, attrs + a_len, n, FAM_IPV4, True, nh, now)

    cdef uint32_t attributes(self, holding_t *h, const uint8_t *p, uint32_t n,
                             uint64_t now) noexcept nogil:
        """Walk the attributes: take in MP_REACH and MP_UNREACH, return NEXT_HOP."""
        cdef const uint8_t *end = p + n
        cdef const uint8_t *v
        cdef uint32_t length, nh = 0
        while end - p >= 3:
            if p[0] & 0x10:
                if end - p < 4:
                    break
                length = load16(p + 2)
                v = p + 4
            else:
                length = p[2]
                v = p + 3
            if end - v < length:
                break
            if p[1] == ATTR_NEXT_HOP and length == 4:
                nh = load32(v)
            elif p[1] == ATTR_MP_REACH:
                if length < 9 or 5 + <uint32_t>v[3] > length or v[3] < 4:
                    break
                # With a link-local address (32 octets) the global one comes first.
                self.multi(h, v, v + 5 + v[3], v + length,
                           load32(v + (v[3] if v[3] < 16 else 16)), True, now)
            elif p[1] == ATTR_MP_UNREACH:
                if length < 3:
                    break
                if length == 3 and load16(v) == 2:
                    h.eor |= 1 << FAM_IPV6
                self.multi(h, v, v + 3, v + length, 0, False, now)
            p = v + length
        if p != end:
            h.malformed += 1
        return nh

    cdef void multi(self, holding_t *h, const uint8_t *v, const uint8_t *p, const uint8_t *end,
                    uint32_t nh, bint announce, uint64_t now) noexcept nogil:
        """NLRI from `p` to `end` of the AFI and SAFI at `v`; families without a table pass."""
        if v[2] != 1 or p == end:
            return
        if load16(v) == 1:
            self.nlri(h, p, <uint32_t>(end - p), FAM_IPV4, announce, nh, now)
        elif load16(v) == 2:
            self.nlri(h, p, <uint32_t>(end - p), FAM_IPV6, announce, nh, now)

    cdef void nlri(self, holding_t *h, const uint8_t *p, uint32_t n, uint8_t family, bint announce,
                   uint32_t nh, uint64_t now) noexcept nogil:
        """Take in `n` octets of NLRI."""
        cdef const uint8_t *end = p + n
        cdef uint32_t at[BATCH]
        cdef uint32_t count
        cdef uint32_t *known
        cdef bint addpath = (h.addpath & (1 << family)) != 0
        cdef uint64_t hash = 0
        if self.memo.slots != NULL and not addpath and n <= MEMO_SPAN:
            hash = memo_hash(p, n, family)
            known = memo_find(&self.memo, hash, p, n, &count)
            if known != NULL:
                self.apply(h, known, count, announce, nh, now)
                return
        while p < end:
            count = 0
            if family == FAM_IPV4:
                p = self.parse4(h, p, end, addpath, at, &count)
            else:
                p = self.parse6(h, p, end, addpath, at, &count)
            self.apply(h, at, count, announce, nh, now)
            if hash and p == end:
                memo_keep(&self.memo, hash, end - n, n, at, count)
            hash = 0                # what is left is a part only

    cdef const uint8_t *parse4(self, holding_t *h, const uint8_t *p, const uint8_t *end,
                               bint addpath, uint32_t *at, uint32_t *count) noexcept nogil:
        """Find up to BATCH prefixes: index + 1 each, 0 outside the universe. Return where it ends.

        At what cannot be read, that is past `end`.
        """
        cdef uint32_t plen, n = 0
        cdef uint8_t addr[4]
        while p < end and n < BATCH:
            if addpath:
                p += 4
            if p >= end or p[0] > 32 or end - p < 1 + plen_bytes(p[0]):
                h.malformed += 1
                p = end + 1
                break
            plen = p[0]
            if plen == 24:
                at[n] = self.direct[(<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]]
                p += 4
            else:
                p += 1 + prefix_load(p + 1, plen, addr, 4)
                at[n] = self.find4(plen, load32(addr))
            n += 1
        count[0] = n
        return p

    cdef const uint8_t *parse6(self, holding_t *h, const uint8_t *p, const uint8_t *end,
                               bint addpath, uint32_t *at, uint32_t *count) noexcept nogil:
        cdef uint32_t plen, n = 0
        cdef uint8_t key[17]
        while p < end and n < BATCH:
            if addpath:
                p += 4
            if p >= end or p[0] > 128 or end - p < 1 + plen_bytes(p[0]):
                h.malformed += 1
                p = end + 1
                break
            plen = p[0]
            p += 1 + prefix_load(p + 1, plen, key, 16)
            key[16] = <uint8_t>plen
            at[n] = self.find6(key)
            n += 1
        count[0] = n
        return p

    cdef void apply(self, holding_t *h, const uint32_t *at, uint32_t n, bint announce, uint32_t nh,
                    uint64_t now) noexcept nogil:
        """Announce or withdraw `n` prefixes, as index + 1."""
        cdef uint32_t i, w, cur = 0, n_acc = 0
        cdef uint64_t bit, acc = 0, twice = 0
        if not announce or self.churn != NULL:
            for i in range(n):
                self.change(h, at[i], announce, nh, now)
            return
        # Plain announcements, which is nearly everything there is: gathered for as long as they
        # fall into one word of the bitmap.
        for i in range(n):
            if at[i] == 0:
                h.unknown += 1
                continue
            w = (at[i] - 1) >> 6
            bit = <uint64_t>1 << ((at[i] - 1) & 63)
            if h.hops != NULL:
                take_next_hop(h, at[i] - 1, nh)
            if w != cur:
                settle(h, cur, acc, n_acc if not twice else 0)
                acc = twice = n_acc = 0
                cur = w
            twice |= acc & bit
            acc |= bit
            n_acc += 1
        settle(h, cur, acc, n_acc if not twice else 0)
        h.announced += n
        if h.t_first == 0:
            h.t_first = now

    cdef void change(self, holding_t *h, uint32_t at, bint announce, uint32_t nh,
                     uint64_t now) noexcept nogil:
        """One NLRI, as index + 1: set or clear its bit and keep the counts right."""
        cdef uint32_t w
        cdef uint64_t bit
        cdef uint64_t more = 1 if announce else <uint64_t>-1
        if announce:
            h.announced += 1
            if h.t_first == 0:
                h.t_first = now
        else:
            h.withdrawn += 1
        if at == 0:
            h.unknown += announce       # withdrawing what nobody has is harmless
            return
        at -= 1
        w = at >> 6
        bit = <uint64_t>1 << (at & 63)
        if ((h.words[w].have & bit) != 0) != announce:
            h.words[w].have ^= bit
            if h.words[w].due & bit:
                h.missing -= more
            elif h.own != NULL and h.own[w] & bit:
                h.echoed += more
            else:
                h.surplus += more
        if h.hops != NULL:
            take_next_hop(h, at, nh)
        if self.churn != NULL and self.churn.sent_at[at] and not h.churned[w] & bit:
            h.churned[w] |= bit
            now -= self.churn.sent_at[at]
            self.churn.receipts += 1
            self.churn.hist[hist_slot(now)] += 1
            if now > self.churn.longest:
                self.churn.longest = now
