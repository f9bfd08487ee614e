"""From dirty prefixes to messages: evaluate, compare with what was sent, gather, encode, log.

In: the RIB's queue of dirty prefixes. Out: messages in the logs of the groups. A prefix that
changed ten times since it was looked at last is evaluated once. The difference between the new and
the old list of (attributes, member set) is what is announced and withdrawn; the changes of a slice
are gathered by (attributes, member set), so each bucket is encoded once, for everybody it is for.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.adjout cimport AdjOut, entry_t
from rs._fastpath.buckets cimport Buckets
from rs._fastpath.group cimport Group
from rs._fastpath.rewrite cimport Rewriter
from rs._fastpath.paths cimport DEST_DIRTY, DEST_UNRANKED
from rs._fastpath.rib cimport Rib, Table
from rs._fastpath.sets cimport and_not
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef inline uint32_t find_id(const uint32_t *ids, uint32_t n, uint32_t path_id,
                             uint32_t near) noexcept nogil:
    """Where an identifier stands, else `n`. Looked for behind `near` first, then from the start:
    two rankings of a prefix have most of their paths in the same order."""
    cdef uint32_t i
    for i in range(near, n):
        if ids[i] == path_id:
            return i
    if near > n:
        near = n
    for i in range(near):
        if ids[i] == path_id:
            return i
    return n


@cython.final
cdef class View:
    def __cinit__(self, AdjOut adj):
        self.adj = adj
        self.groups = []
        self.buckets = Buckets()
        self.temps_cap = 1024
        self.temps = <uint32_t *>malloc(self.temps_cap * 4)
        if self.temps == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.temps)

    cdef int _change(self, uint32_t attrs_h, uint32_t set_h, uint32_t h, uint32_t path_id,
                     bint owned) except -1:
        """Add a change; with `owned` the batch takes over a reference to the set."""
        cdef uint32_t *p
        if self.buckets.full():
            self.drain()
        if owned:
            if self.n_temps == self.temps_cap:
                p = <uint32_t *>realloc(self.temps, <uint64_t>self.temps_cap * 2 * 4)
                if p == NULL:
                    raise MemoryError
                self.temps = p
                self.temps_cap *= 2
            self.temps[self.n_temps] = set_h
            self.n_temps += 1
        self.buckets.add(attrs_h, set_h, h, path_id)
        return 0

    cdef int apply(self, uint32_t h) except -1:
        """Bring a prefix's Adj-RIB-Out up to date and queue the difference."""
        cdef uint32_t n, i, j
        cdef uint32_t words = self.adj.rib.sets.words
        cdef entry_t *old
        cdef entry_t *e
        cdef uint64_t *bits
        cdef uint64_t gone[1024]
        cdef uint64_t any_bit
        self.adj.evaluate(h)
        old = self.adj.get(h, &n)
        if n == 0 and self.adj.n_fresh == 0:
            return 0
        if self.adj.addpath:
            self._apply_paths(h, old, n)
            return self.adj.store(h)
        if n == 1 and self.adj.n_fresh == 1 and old.set_h == self.adj.fresh.set_h:
            if old.attrs_h == self.adj.fresh.attrs_h:
                return self.adj.drop_fresh()
            self._change(self.adj.fresh.attrs_h, self.adj.fresh.set_h, h, 0, False)
        elif n == 0:
            for i in range(self.adj.n_fresh):
                self._change(self.adj.fresh[i].attrs_h, self.adj.fresh[i].set_h, h, 0, False)
        elif self.adj.n_fresh == 0:
            for i in range(n):
                self.adj.rib.sets.ref(old[i].set_h)
                self._change(0, old[i].set_h, h, 0, True)
        else:
            # Announce to whom it is new; withdraw from who had it and has no successor.
            memset(gone, 0, words * 8)
            for i in range(n):
                bits = self.adj.rib.sets.bits(old[i].set_h)
                for j in range(words):
                    gone[j] |= bits[j]
            for i in range(self.adj.n_fresh):
                e = &self.adj.fresh[i]
                bits = self.adj.rib.sets.bits(e.set_h)
                memcpy(self.scratch, bits, words * 8)
                for j in range(words):
                    gone[j] &= ~bits[j]
                for j in range(n):
                    if old[j].attrs_h == e.attrs_h:
                        and_not(self.scratch, self.adj.rib.sets.bits(old[j].set_h), words)
                self._change_scratch(e.attrs_h, h, 0)
            any_bit = 0
            for j in range(words):
                any_bit |= gone[j]
            if any_bit:
                self._change(0, self.adj.rib.sets.intern(gone), h, 0, True)
        return self.adj.store(h)

    cdef int _apply_paths(self, uint32_t h, entry_t *old, uint32_t n) except -1:
        """Queue the difference of a prefix with ADD-PATH: path by path, by identifier.

        A path has as many entries, one behind the other, as there are forms it goes out in.
        """
        cdef const uint32_t *old_ids = self.adj.ids(old, n)
        cdef const uint32_t *ids = self.adj.fresh_ids
        cdef const entry_t *fresh = self.adj.fresh
        cdef uint32_t i, j, end, stop, at = 0
        j = 0
        while j < n:
            stop = run_of(old_ids, j, n)
            at = find_id(ids, self.adj.n_fresh, old_ids[j], at)
            if at == self.adj.n_fresh:
                # The whole path has gone.
                for i in range(j, stop):
                    self.adj.rib.sets.ref(old[i].set_h)
                    self._change(0, old[i].set_h, h, old_ids[j], True)
            j = stop
        i = 0
        at = 0
        while i < self.adj.n_fresh:
            end = run_of(ids, i, self.adj.n_fresh)
            at = find_id(old_ids, n, ids[i], at)
            if at == n:
                for j in range(i, end):
                    self._change(fresh[j].attrs_h, fresh[j].set_h, h, ids[i], False)
            else:
                self._change_path(h, ids[i], fresh + i, end - i, old + at,
                                  run_of(old_ids, at, n) - at)
            i = end
        return 0

    cdef int _change_path(self, uint32_t h, uint32_t path_id, const entry_t *new, uint32_t n_new,
                          const entry_t *old, uint32_t n_old) except -1:
        """Queue what has changed of one path: its new forms to those who have not got them, and
        withdrawals to those who had some form of it and are due none."""
        cdef uint32_t words = self.adj.rib.sets.words
        cdef uint32_t i, j
        if n_new == 1 and n_old == 1 and new.set_h == old.set_h:
            if new.attrs_h != old.attrs_h:
                self._change(new.attrs_h, new.set_h, h, path_id, False)
            return 0
        for i in range(n_new):
            memcpy(self.scratch, self.adj.rib.sets.bits(new[i].set_h), words * 8)
            for j in range(n_old):
                if old[j].attrs_h == new[i].attrs_h:
                    and_not(self.scratch, self.adj.rib.sets.bits(old[j].set_h), words)
            self._change_scratch(new[i].attrs_h, h, path_id)
        for j in range(n_old):
            memcpy(self.scratch, self.adj.rib.sets.bits(old[j].set_h), words * 8)
            for i in range(n_new):
                and_not(self.scratch, self.adj.rib.sets.bits(new[i].set_h), words)
            self._change_scratch(0, h, path_id)
        return 0

    cdef int _change_scratch(self, uint32_t attrs_h, uint32_t h, uint32_t path_id) except -1:
        """Add a change for the members in `scratch`, if there are any."""
        cdef uint32_t i
        cdef uint64_t any_bit = 0
        for i in range(self.adj.rib.sets.words):
            any_bit |= self.scratch[i]
        if any_bit:
            self._change(attrs_h, self.adj.rib.sets.intern(self.scratch), h, path_id, True)
        return 0

    cdef int drain(self) except -1:
        """Encode the batch into the log of every group."""
        cdef Group g
        cdef uint32_t i, k, n
        cdef const uint32_t *prefixes
        cdef const uint32_t *ids
        cdef const uint64_t *turn = self.buckets.arrange()
        for k in range(self.buckets.n_buckets):
            i = <uint32_t>turn[k]
            prefixes = self.buckets.prefixes(i, &n, &ids)
            for g in self.groups:
                g.emit(self.buckets.buckets[i].attrs_h, self.buckets.buckets[i].set_h, prefixes,
                       ids, n)
        self.buckets.clear()
        for i in range(self.n_temps):
            self.adj.rib.sets.unref(self.temps[i])
        self.n_temps = 0
        return 0


cdef inline uint32_t run_of(const uint32_t *ids, uint32_t at, uint32_t n) noexcept nogil:
    """The end of the run of equal identifiers that begins at `at`."""
    cdef uint32_t end = at + 1
    while end < n and ids[end] == ids[at]:
        end += 1
    return end


@cython.final
cdef class Exporter:
    def __cinit__(self, Rib rib, Rewriter rewriter):
        self.rib = rib
        self.rewriter = rewriter
        self.release()
        self.views = [[], []]
        self.vacant_cap = 1024
        self.vacant = <uint32_t *>malloc(self.vacant_cap * 4)
        if self.vacant == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.vacant)

    def step(self, uint32_t n):
        """Evaluate up to `n` dirty prefixes and log what follows; return how many there were.

        The caller keeps `n` so small that a call stays within its slice: a thousand prefixes take
        about 0.2 ms.
        """
        cdef Table table
        cdef View view
        cdef list views
        cdef uint32_t h, done = 0, n_vacant, i, k, batch
        cdef uint32_t *p
        # Families take turns in going first, so that none has to wait for the other to be done.
        self.turn ^= 1
        for table in (self.rib.tables if self.turn else reversed(self.rib.tables)):
            batch = table.dirty_count()
            if batch > n - done:
                batch = n - done
            if batch > self.holding[table.family] - table.drained:
                batch = <uint32_t>(self.holding[table.family] - table.drained)
            if batch == 0:
                continue
            if batch > self.vacant_cap:
                p = <uint32_t *>realloc(self.vacant, <uint64_t>batch * 4)
                if p == NULL:
                    raise MemoryError
                self.vacant = p
                self.vacant_cap = batch
            views = self.views[table.family]
            n_vacant = 0
            k = 0
            while k < batch:
                try:
                    while k < batch:
                        h = table.dirty[table.dirty_head]
                        table.dirty_head += 1
                        k += 1
                        table.dests[h].flags &= <unsigned char>~DEST_DIRTY
                        if table.dests[h].flags & DEST_UNRANKED:
                            table.rank(h)
                        for view in views:
                            view.apply(h)
                        if table.dests[h].n_paths == 0:
                            self.vacant[n_vacant] = h
                            n_vacant += 1
                except Exception as fault:
                    # A fault of ours with one prefix must not stop all others for good.
                    self.faults += 1
                    self.last_fault = f"{table.trie.key(h)}: {fault!r}"
            for view in views:
                view.drain()
            # Only now: the encoder needs the prefix until its withdrawal is written.
            for i in range(n_vacant):
                table.vacate(self.vacant[i])
            done += batch
            table.drained += batch
        self.evaluated += done
        return done

    def walk(self, uint32_t n, double now=0.0):
        """Encode up to `n` prefixes for each group with joiners; return how many were seen.

        `now` (seconds) tells members who are slow from those who read nothing at all.
        """
        cdef View view
        cdef Group group
        cdef uint32_t done = 0
        for views in self.views:
            for view in views:
                for group in view.groups:
                    if group.walkers and group.walk_ready(now):
                        done += group.walk_step(n)
        return done

    def enforce(self):
        """Keep every log within its bound."""
        cdef View view
        cdef Group group
        for views in self.views:
            for view in views:
                for group in view.groups:
                    group.enforce()

    def ready(self, double now):
        """Whether more should be encoded now: at least half of the members keep up, not counting
        those who read nothing; `now` is in seconds."""
        near = members = 0
        for views in self.views:
            for view in views:
                for group in view.groups:
                    a, b = group.keeping_up(now)
                    near += a
                    members += b
        return near * 2 >= members

    def hold(self):
        """Evaluate what is queued now, and no more until this or release() is called again."""
        cdef Table table
        for table in self.rib.tables:
            self.holding[table.family] = table.drained + table.dirty_count()

    def release(self):
        """Evaluate whatever is queued."""
        self.holding[0] = self.holding[1] = <uint64_t>-1

    def changes(self):
        """Return the changes of paths so far, how many brought a prefix that somebody else had
        brought before, and how many of these came after it had been evaluated."""
        cdef Table table
        cdef uint64_t all_ = 0, contested = 0, late = 0
        for table in self.rib.tables:
            all_ += table.changes
            contested += table.contested
            late += table.late
        return all_, contested, late

    def dirty(self):
        """Return the number of prefixes waiting to be evaluated."""
        cdef Table table
        cdef uint32_t n = 0
        for table in self.rib.tables:
            n += table.dirty_count()
        return n

    def walking(self):
        """Whether any member waits for the end of a walk."""
        return any(g.walkers for views in self.views for v in views for g in v.groups)
