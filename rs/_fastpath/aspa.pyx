"""ASPAs as the import filter asks for them: provider sets for the verification of paths.

In: ASPAs, each from a numbered source, the same as those of VRPs (roa.pyx). Out: the state of an
AS_PATH (draft-ietf-sidrops-aspa-verification-27), and which customers changed, so that only paths
with one of them are looked at again (RFC 9324). The table owns its memory.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport bsearch, free, malloc, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.roa cimport S_CORRUPT, S_LIMIT, S_OK, S_UNKNOWN
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport SEG_SEQUENCE, SEG_SET
from rs._fastpath.wire cimport load32, store32

check_abi(__name__)

cdef enum:
    NO_SLOT = 0xFFFFFFFF

    NO_ATTESTATION = 0
    PROVIDER = 1
    NOT_PROVIDER = 2

PATH_STATES = ("unknown", "valid", "invalid")

cdef inline uint32_t slot_of(uint32_t customer, uint32_t cap) noexcept nogil:
    return <uint32_t>((<uint64_t>customer * 0x9E3779B97F4A7C15ULL) >> 32) & (cap - 1)


cdef int by_number(const void *a, const void *b) noexcept nogil:
    cdef uint32_t x = (<const uint32_t *>a)[0]
    cdef uint32_t y = (<const uint32_t *>b)[0]
    return -1 if x < y else <int>(x > y)


@cython.final
cdef class AspaTable:
    def __cinit__(self):
        self._held = {}
        self._staged = {}
        self._pending = {}
        self._rebuild(64)

    def __dealloc__(self):
        free(self.slots)
        free(self.pool)

    # --- verification ----------------------------------------------------------------------------

    cdef aspa_t *_slot(self, uint32_t customer) noexcept nogil:
        """Return the customer's slot, or the free one where it would stand."""
        cdef uint32_t i = slot_of(customer, self.cap)
        while self.slots[i].customer and self.slots[i].customer != customer:
            i = (i + 1) & (self.cap - 1)
        return &self.slots[i]

    cdef uint32_t _authorized(self, uint32_t customer, uint32_t provider) noexcept nogil:
        """The provider authorization function (draft-ietf-sidrops-aspa-verification-27 5.2)."""
        cdef aspa_t *a = self._slot(customer)
        cdef const uint32_t *p
        cdef uint32_t i
        if a.customer == 0 or customer == 0:
            return NO_ATTESTATION
        p = self.pool + a.at
        if a.n > 16:
            return PROVIDER if bsearch(&provider, p, a.n, 4, by_number) != NULL else NOT_PROVIDER
        for i in range(a.n):
            if p[i] == provider:
                return PROVIDER
        return NOT_PROVIDER

    cdef uint32_t verify(self, const uint8_t *path, uint32_t length, uint32_t direction,
                         uint32_t neighbor_as) noexcept nogil:
        """Return ASPA_* of an AS_PATH value with 4-octet AS numbers.

        draft-ietf-sidrops-aspa-verification-27 5.4 for ASPA_UPSTREAM, 5.5 for ASPA_DOWNSTREAM.
        `neighbor_as` must be the path's first AS; 0 where a transparent route server may stand in
        between. Confederation segments are no hops between ASes (RFC 5065 5.3) and passed over.

        One pass from the neighbor's end, without a copy of the path: the up-ramp is bounded by the
        last pair of the pass that fails it, the down-ramp by the first.
        """
        cdef uint32_t at = 0
        cdef uint32_t hops = 0              # ASes so far, repeated ones once
        cdef uint32_t last = 0
        cdef uint32_t asn, kind, count, auth
        cdef uint32_t max_up = NO_SLOT      # lengths; NO_SLOT: not bounded, so the whole path
        cdef uint32_t min_up = NO_SLOT
        cdef uint32_t max_down = NO_SLOT
        cdef uint32_t min_down = NO_SLOT
        while at + 2 <= length:
            kind = path[at]
            count = path[at + 1]
            at += 2
            if length - at < count * 4 or kind == SEG_SET:
                return ASPA_INVALID
            if kind != SEG_SEQUENCE:
                at += count * 4
                continue
            for _ in range(count):
                asn = load32(path + at)
                at += 4
                if hops == 0:
                    if neighbor_as and asn != neighbor_as:
                        return ASPA_INVALID
                elif asn == last:
                    continue
                else:
                    # `last` is the hops-th AS from the left. Bounds of the up-ramp count from the
                    # right end, which is not known yet: keep the position, subtract below.
                    auth = self._authorized(asn, last)
                    if auth != PROVIDER:
                        min_up = hops
                        if auth == NOT_PROVIDER:
                            max_up = hops
                    if direction == ASPA_DOWNSTREAM and max_down == NO_SLOT:
                        auth = self._authorized(last, asn)
                        if auth != PROVIDER:
                            if min_down == NO_SLOT:
                                min_down = hops
                            if auth == NOT_PROVIDER:
                                max_down = hops
                last = asn
                hops += 1
        if hops == 0:
            return ASPA_INVALID
        max_up = hops if max_up == NO_SLOT else hops - max_up
        min_up = hops if min_up == NO_SLOT else hops - min_up
        if direction == ASPA_DOWNSTREAM:
            max_down = hops if max_down == NO_SLOT else max_down
            min_down = hops if min_down == NO_SLOT else min_down
        else:
            max_down = min_down = 0
        if max_up + max_down < hops:
            return ASPA_INVALID
        if min_up + min_down < hops:
            return ASPA_UNKNOWN
        return ASPA_VALID

    def verify_wire(self, bytes path, bint downstream, uint32_t neighbor_as=0):
        """Return the state of an AS_PATH value, a word of PATH_STATES."""
        return PATH_STATES[self.verify(path, <uint32_t>len(path),
                                       ASPA_DOWNSTREAM if downstream else ASPA_UPSTREAM,
                                       neighbor_as)]

    def verify_path(self, asns, bint downstream, uint32_t neighbor_as=0):
        """Return the state of a path of AS numbers, the neighbor's first."""
        cdef uint8_t word[4]
        value = bytearray()
        asns = list(asns)
        for start in range(0, len(asns), 255):
            part = asns[start:start + 255]
            value += bytes((SEG_SEQUENCE, len(part)))
            for asn in part:
                store32(word, asn)
                value += <bytes>(<char *>word)[:4]
        return self.verify_wire(bytes(value), downstream, neighbor_as)

    def hops(self, asns):
        """Return what is attested between neighbors of a path, for explanations.

        A list of (left AS, right AS, right says of left, left says of right); what is said is
        "provider", "not-provider" or "no-attestation".
        """
        words = ("no-attestation", "provider", "not-provider")
        flat = [asn for i, asn in enumerate(asns) if i == 0 or asns[i - 1] != asn]
        return [(left, right, words[self._authorized(right, left)],
                 words[self._authorized(left, right)])
                for left, right in zip(flat, flat[1:])]

    def providers(self, uint32_t customer):
        """Return a customer's providers in rising order, None without an attestation.

        An empty tuple says that it has none (an ASPA with AS 0 alone).
        """
        cdef aspa_t *a = self._slot(customer)
        if customer == 0 or a.customer == 0:
            return None
        return tuple([self.pool[a.at + i] for i in range(a.n)])

    def stats(self):
        """Return counts and the octets of the table itself, what is kept per source left aside."""
        return {
            "customers": self.count,
            "bytes": <uint64_t>self.cap * sizeof(aspa_t) + <uint64_t>self.pool_cap * 4,
            "pending": len(self._pending),
            "sources": {source: len(held) for source, held in self._held.items()},
        }

    def held(self, uint32_t source):
        """Return how many ASPAs a source says."""
        return len(self._held.get(source, ()))

    # --- transactions ----------------------------------------------------------------------------

    def begin(self, uint32_t source, bint reset, uint32_t limit=0x7FFFFFFF):
        """Open a transaction of a source; `limit` bounds its ASPAs and, ten times, providers."""
        if source in self._staged:
            raise ValueError(f"ASPA source {source} has a transaction open")
        self._staged[source] = [reset, {}, limit, 0]

    def stage(self, uint32_t source, uint32_t customer, providers, uint32_t afi=0):
        """Stage an announcement, or with providers None a withdrawal; returns STAGE_*.

        An announcement replaces an earlier one of the source (draft-ietf-sidrops-8210bis-27 5.12).
        `afi` keeps apart what older caches say per address family; the union counts.
        """
        cdef tuple key = (customer, afi)
        cdef list open_ = self._staged[source]
        cdef dict changes = open_[1]
        if customer == 0:
            return S_CORRUPT
        if providers is None:
            if open_[0]:
                return S_CORRUPT
            if key in changes:
                if changes[key] is None:
                    return S_UNKNOWN
            elif key not in self._held.get(source, ()):
                return S_UNKNOWN
            changes[key] = None
            return S_OK
        open_[3] += len(providers)
        if key not in changes and len(changes) >= open_[2] or open_[3] > open_[2] * 10:
            return S_LIMIT
        if not open_[0] and key not in changes and len(changes) + self.held(source) >= open_[2] \
                and key not in self._held.get(source, ()):
            return S_LIMIT
        changes[key] = tuple(sorted(set(providers)))
        return S_OK

    def said(self, uint32_t source, uint32_t customer, uint32_t afi=0):
        """Return a customer's providers as a source says them, with what is staged, or None."""
        cdef tuple key = (customer, afi)
        cdef list open_ = self._staged[source]
        if key in open_[1]:
            return open_[1][key]
        return None if open_[0] else self._held.get(source, {}).get(key)

    def commit(self, uint32_t source):
        """Take a transaction into the source's ASPAs; `changes` puts them into use."""
        reset, changes, _, _ = self._staged.pop(source)
        held = self._held.setdefault(source, {})
        if reset:
            self._held[source] = changes
            for key in held:
                self._pending[key[0]] = None
        else:
            for key, providers in changes.items():
                if providers is None:
                    held.pop(key, None)
                else:
                    held[key] = providers
        for key in changes:
            self._pending[key[0]] = None
        if not self._held[source]:
            del self._held[source]

    def abort(self, uint32_t source):
        """Forget what was staged."""
        del self._staged[source]

    @property
    def pending_changes(self):
        """Customers to look at in `changes`."""
        return len(self._pending)

    def changes(self, uint32_t n=0xFFFFFFFF):
        """Look at up to `n` customers named in commits; returns those whose providers changed."""
        changed = set()
        while n and self._pending:
            n -= 1
            customer = next(iter(self._pending))
            del self._pending[customer]
            union = None
            for held in self._held.values():
                for afi in (0, 1, 2):
                    providers = held.get((customer, afi))
                    if providers is not None:
                        union = set() if union is None else union
                        union.update(providers)
            if union is None:
                if self._drop(customer):
                    changed.add(customer)
                continue
            # AS 0 is in no path, and "has no influence" beside others (-verification-27 4).
            union.discard(0)
            wanted = sorted(union)
            now = self.providers(customer)
            if now is None or list(now) != wanted:
                self._put(customer, wanted)
                changed.add(customer)
        return changed

    def apply(self, announced, withdrawn, uint32_t source=0):
        """Announce {customer: providers} and withdraw customers; returns the changed customers."""
        self.begin(source, False)
        try:
            for customer in withdrawn:
                self.stage(source, customer, None)
            self._stage_all(source, announced)
        except BaseException:
            self.abort(source)
            raise
        self.commit(source)
        return self.changes()

    def replace(self, aspas, uint32_t source=0):
        """Make {customer: providers} the source's ASPAs; returns the changed customers."""
        self.begin(source, True)
        try:
            self._stage_all(source, aspas)
        except BaseException:
            self.abort(source)
            raise
        self.commit(source)
        return self.changes()

    def _stage_all(self, uint32_t source, aspas):
        for customer, providers in aspas.items():
            if self.stage(source, customer, providers) != S_OK:
                raise ValueError(f"an ASPA of AS{customer} cannot be taken")

    # --- storage ---------------------------------------------------------------------------------

    cdef int _put(self, uint32_t customer, list providers) except -1:
        cdef aspa_t *a
        cdef uint32_t i
        cdef uint32_t n = <uint32_t>len(providers)
        cdef uint64_t cap
        cdef void *p
        if (self.count + 1) * 2 > self.cap:
            self._rebuild(self.cap * 2)
        elif self.garbage > 4096 and self.garbage > self.pool_top >> 1:
            self._rebuild(self.cap)
        if self.pool_top + n > self.pool_cap:
            cap = <uint64_t>self.pool_cap + (self.pool_cap >> 1) + n + 64
            p = realloc(self.pool, cap * 4)
            if p == NULL or cap > 0x7FFFFFFF:
                raise MemoryError
            self.pool = <uint32_t *>p
            self.pool_cap = <uint32_t>cap
        a = self._slot(customer)
        if a.customer == 0:
            a.customer = customer
            self.count += 1
        else:
            self.garbage += a.n
        a.at = self.pool_top
        a.n = n
        for i in range(n):
            self.pool[a.at + i] = providers[i]
        self.pool_top += n
        return 0

    cdef int _drop(self, uint32_t customer) except -1:
        """Forget a customer; returns whether it was there. Its successors in the run close up."""
        cdef aspa_t *a = self._slot(customer)
        cdef uint32_t hole, i, home
        if a.customer == 0:
            return 0
        self.garbage += a.n
        self.count -= 1
        hole = <uint32_t>(a - self.slots)
        i = hole
        while True:
            i = (i + 1) & (self.cap - 1)
            if self.slots[i].customer == 0:
                break
            home = slot_of(self.slots[i].customer, self.cap)
            if ((i - home) & (self.cap - 1)) >= ((i - hole) & (self.cap - 1)):
                self.slots[hole] = self.slots[i]
                hole = i
        self.slots[hole].customer = 0
        return 1

    cdef int _rebuild(self, uint32_t cap) except -1:
        """Rehash into `cap` slots and close the gaps of the pool."""
        cdef aspa_t *old = self.slots
        cdef uint32_t *old_pool = self.pool
        cdef uint32_t old_cap = self.cap
        cdef uint32_t words = self.pool_top - self.garbage
        cdef aspa_t *slots = <aspa_t *>malloc(cap * sizeof(aspa_t))
        cdef uint32_t *pool = <uint32_t *>malloc((<uint64_t>words + 64) * 4)
        cdef aspa_t *a
        cdef uint32_t i
        if slots == NULL or pool == NULL:
            free(slots)
            free(pool)
            raise MemoryError
        memset(slots, 0, cap * sizeof(aspa_t))
        self.slots = slots
        self.cap = cap
        self.pool = pool
        self.pool_cap = words + 64
        self.pool_top = 0
        self.garbage = 0
        for i in range(old_cap):
            if old[i].customer:
                a = self._slot(old[i].customer)
                a.customer = old[i].customer
                a.n = old[i].n
                a.at = self.pool_top
                memcpy(self.pool + a.at, old_pool + old[i].at, <uint64_t>a.n * 4)
                self.pool_top += a.n
        free(old)
        free(old_pool)
        return 0
