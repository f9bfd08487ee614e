"""Groups and members: one log for all peers that get the same bytes, one cursor for each of them.

In: changes from the export, already encoded into the log with the members they are for. Out: to
each member's outbox, iovecs. A member is in one of three states:

* WALK: it joined, or asked for a refresh. It reads the walk: the table, encoded in the order of
  handles, going round. Members that join while a walk is under way share it from where it is and
  end where they began, so any number of joiners costs about one encoding. The member's place in
  the log is taken before its walk starts and kept; the log is read after the walk. So a change may
  reach it twice, never not at all, and the later word is the true one.
* LIVE: it reads the log.
* RESYNC: it was about to fall off the log's bound. What it has not read is noted as bits, one a
  prefix, and so is what changes from now on (backlog.pyx). When its socket drains it gets the
  present state of those prefixes. That costs table/8 bytes, skips what was superseded, and nobody
  waits for it.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.uio cimport iovec

from rs._fastpath.adjout cimport ALL_FILLED, AdjOut, entry_t
from rs._fastpath.backlog cimport Backlog
from rs._fastpath.buckets cimport Buckets
from rs._fastpath.encode cimport Encoder
from rs._fastpath.log cimport Log, chunk_t, cursor_t
from rs._fastpath.sets cimport SET_ALL
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.trie cimport stretch_t
from rs._fastpath.wire cimport load16

check_abi(__name__)

cdef double PATIENCE = 0.25     # seconds that the others wait for a member that reads nothing


cdef inline bint meets(const uint64_t *a, const uint64_t *b, uint32_t words) noexcept nogil:
    """Whether two member sets have a member in common."""
    cdef uint32_t i
    for i in range(words):
        if a[i] & b[i]:
            return True
    return False


cdef inline int step_to(Log log, cursor_t *c, cursor_t *to) except -1:
    """Move a cursor forward; chunks left behind lose a reader."""
    if c.chunk != to.chunk:
        c.chunk.readers -= 1
        to.chunk.readers += 1
        c[0] = to[0]
        log.trim()
    else:
        c[0] = to[0]
    return 0


cdef inline int skip_to(Log log, cursor_t *c, cursor_t *to) except -1:
    """Move a cursor to where gather() found nothing to send."""
    if c.chunk != to.chunk or c.run != to.run:
        to.seen = 0
    return step_to(log, c, to)


@cython.final
@cython.no_gc_clear  # __dealloc__ of the logs needs the cursors' chunks
cdef class Member:
    def __cinit__(self, Group group, uint32_t slot):
        self.group = group
        self.slot = slot
        self.state = MEMBER_LIVE

    cdef bint pending(self) noexcept nogil:
        """Whether there may be something to send; cheap, and may be wrong in favor of yes."""
        if self.state == MEMBER_LIVE:
            return (self.cur.chunk.next != NULL or self.cur.off < self.cur.chunk.len
                    or self.private is not None)
        if self.state == MEMBER_WALK:
            return (self.walk_ends or self.wcur.chunk.next != NULL
                    or self.wcur.off < self.wcur.chunk.len or self.private is not None)
        return self.state == MEMBER_RESYNC

    cdef uint32_t gather(self, iovec *iov, uint32_t iov_max, uint64_t room) except? 0xFFFFFFFF:
        """Fill `iov` with the next bytes for this member, at most `room` octets.

        Returns the number of iovecs; 0 means that there is nothing to send now. Nothing moves:
        sent() is told how much went out. All iovecs come from one source (the private log, the
        walk or the log), so a call may return less than there is.
        """
        cdef cursor_t c
        cdef uint32_t n
        cdef uint64_t left
        while True:
            if self.private is not None:
                c = self.pcur
                left = room
                n = self.private.gather(&c, self.slot, iov, iov_max, &left)
                if n:
                    return n
                if self.state != MEMBER_RESYNC:
                    self.private.close_cursor(&self.pcur)
                    self.private = None
                    continue
            if self.state == MEMBER_RESYNC:
                if self._refill() == 0:
                    continue        # up to date: LIVE now
                continue
            if self.state == MEMBER_WALK:
                c = self.wcur
                left = room
                if self.walk_ends:
                    # Its own lap only, not what was encoded for those who came later.
                    left = self.group.walk.octets_until(&c, self.slot, self.walk_end, room)
                if left:
                    n = self.group.walk.gather(&c, self.slot, iov, iov_max, &left)
                    if n:
                        return n
                    skip_to(self.group.walk, &self.wcur, &c)
                if not self.walk_ends:
                    return 0
                self._settle()
                self.group.walk.close_cursor(&self.wcur)
                self.state = MEMBER_LIVE
                # The outbox puts the End-of-RIB between table and log.
                return 0
            if self.state == MEMBER_GONE:
                return 0
            c = self.cur
            left = room
            n = self.group.log.gather(&c, self.slot, iov, iov_max, &left)
            if n == 0:
                skip_to(self.group.log, &self.cur, &c)
            return n

    cdef int sent(self, uint64_t n) except -1:
        """`n` octets of what gather() gave have gone out."""
        cdef cursor_t c
        if self.private is not None:
            c = self.pcur
            self.private.consume(&c, self.slot, n, &self.messages)
            step_to(self.private, &self.pcur, &c)
        elif self.state == MEMBER_WALK:
            c = self.wcur
            self.group.walk.consume(&c, self.slot, n, &self.messages)
            step_to(self.group.walk, &self.wcur, &c)
        else:
            c = self.cur
            self.group.log.consume(&c, self.slot, n, &self.messages)
            step_to(self.group.log, &self.cur, &c)
        return 0

    cdef uint32_t to_boundary(self) noexcept nogil:
        """Octets until other bytes may be put on the wire: what is left of a message begun."""
        cdef uint32_t n
        if self.private is not None:
            n = self.private.to_boundary(&self.pcur, self.rest)
            if n or self.state == MEMBER_RESYNC:
                return n
        if self.state == MEMBER_WALK:
            return self.group.walk.to_boundary(&self.wcur, 0)
        if self.state == MEMBER_LIVE:
            return self.group.log.to_boundary(&self.cur, 0)
        return 0

    cdef uint64_t read_whole(self) noexcept nogil:
        """Messages that have gone out whole."""
        cdef uint64_t n = self.messages
        if self.private is not None:
            n += self.private.uncounted(&self.pcur, self.slot, self.rest)
        if self.state == MEMBER_WALK:
            n += self.group.walk.uncounted(&self.wcur, self.slot, 0)
        if self.state == MEMBER_WALK or self.state == MEMBER_LIVE:
            n += self.group.log.uncounted(&self.cur, self.slot, 0)
        return n

    cdef int _settle(self) except -1:
        """Count what is read of the run begun in walk or log, so that its cursor may go."""
        cdef Log log = self.group.walk if self.state == MEMBER_WALK else self.group.log
        cdef cursor_t *c = &self.wcur if self.state == MEMBER_WALK else &self.cur
        cdef uint32_t n = log.uncounted(c, self.slot, 0)
        self.messages += n
        c.seen += n
        return 0

    cdef bint reads(self, uint64_t at, double now) noexcept nogil:
        """Whether this member, now at octet `at` of what it reads, is slow and not stuck."""
        if at != self.seen:
            self.seen = at
            self.seen_at = now
        return now - self.seen_at < PATIENCE

    # --- falling behind ---------------------------------------------------------------------------

    cdef int _fall_off(self, Backlog like) except -1:
        """Give up the place in log and walk; note as bits what has not been read.

        `like`: all of the log, as it was noted for everybody who falls with this member.
        """
        self.resyncs += 1
        self._finish_message()
        self.group.table.holders += 1
        self.backlog = Backlog(self.group.table, self.group.adj.addpath)
        if like is None:
            self.backlog.note_unread(self.group.log, &self.cur, self.slot)
        else:
            self.backlog.note_like(like)
        if self.state == MEMBER_WALK:
            self.backlog.note_table()
            if not self.walk_ends:
                self.group.walkers -= 1
            self.group.walk.close_cursor(&self.wcur)
        self.group.log.close_cursor(&self.cur)
        self.state = MEMBER_RESYNC
        self.group.n_resync += 1
        return 0

    cdef int _finish_message(self) except -1:
        """Open the private log with the rest of a message begun, so that its source can be left."""
        cdef cursor_t *c = &self.wcur if self.state == MEMBER_WALK else &self.cur
        cdef Log log = self.group.walk if self.state == MEMBER_WALK else self.group.log
        cdef uint32_t n
        cdef uint8_t *p
        if self.private is not None:
            return 0
        self.private = Log(self.group.log.sets)
        self.private.open_cursor(&self.pcur)
        self._settle()
        n = log.to_boundary(c, 0)
        self.rest = n
        if n:
            p = self.private.reserve(n)
            memcpy(p, c.chunk.data + c.off, n)
            self.private.commit(n, SET_ALL)
            c.off += n
            c.seen += 1     # the private log counts it
        return 0

    cdef int _note_all(self) except -1:
        """Note what the peer may have: what it has not read too, as withdrawals are lost with it.

        Prefixes that are only in unread messages come back to the table, for as long as somebody
        holds it; identifiers are those of unread withdrawals, and all that it has been sent.
        """
        cdef cursor_t c
        cdef entry_t *e
        cdef uint32_t i, n
        cdef stretch_t s
        if self.state == MEMBER_WALK or self.state == MEMBER_LIVE:
            self._fall_off(None)
        if self.backlog is None:
            self.backlog = Backlog(self.group.table, self.group.adj.addpath)
        if self.private is not None:
            c = self.pcur
            c.off += self.private.to_boundary(&c, self.rest)
            self.backlog.note_unread(self.private, &c, self.slot)
        if not self.group.adj.addpath:
            return 0
        s = self.group.table.trie.stretch(1, self.group.table.trie.top)
        while self.group.table.trie.step(&s):
            e = self.group.adj.present(s.h, &n)
            for i in range(n):
                if self.group.log.sets.has(e[i].set_h, self.slot):
                    self.backlog.note_withdrawal(s.h, self.group.adj.ids(e, n)[i])
        return 0

    cdef int _refill(self) except -1:
        """Encode the present state of the next prefixes noted; return 0 when none was left."""
        cdef uint32_t n = 0, h
        while n < RESYNC_CHUNK:
            h = self.backlog.pop()
            if h == 0:
                break
            if self.group.table.trie.holds(h):
                n += self._add_present(h)
        if n == 0:
            # A member that missed its first walk has brought every prefix up to date instead.
            self.group.adj.filled = ALL_FILLED
            self._end_resync()
            return 0
        self.group._drain(self.private, True)
        return 1

    cdef uint32_t _add_present(self, uint32_t h) except? 0xFFFFFFFF:
        """Add what this member is due for a prefix now, or its withdrawal; return the changes."""
        cdef uint32_t n, i, k = 0
        cdef entry_t *e = self.group.adj.present(h, &n)
        cdef Buckets b = self.group.buckets
        cdef bint addpath = self.group.adj.addpath
        stale = self.backlog.pop_withdrawals(h)
        for i in range(n):
            if self.group.log.sets.has(e[i].set_h, self.slot):
                if b.full():
                    self.group._drain(self.private, True)
                b.add(e[i].attrs_h, SET_ALL, h, self.group.adj.ids(e, n)[i] if addpath else 0)
                k += 1
                if not addpath:
                    return 1
                if stale:
                    stale.discard(self.group.adj.ids(e, n)[i])
        if not addpath:
            b.add(0, SET_ALL, h, 0)
            return 1
        for path_id in stale or ():
            if b.full():
                self.group._drain(self.private, True)
            b.add(0, SET_ALL, h, path_id)
            k += 1
        return k if k else 1

    cdef int _end_resync(self) except -1:
        self.backlog = None
        self.group.n_resync -= 1
        self.group.table.release_holder()
        self.group.log.open_cursor(&self.cur)
        self.state = MEMBER_LIVE
        return 0

    # --- for Python -------------------------------------------------------------------------------

    def refresh(self):
        """Send the table again, before anything newer: ROUTE-REFRESH (RFC 2918)."""
        if self.state == MEMBER_LIVE:
            self._finish_message()
            self.group._start_walk(self)
            return True
        if self.state == MEMBER_WALK:
            # Go round once more from here; what was sent of the first round is only repeated.
            if self.walk_ends:
                self.group.walkers += 1
            self.walk_ends = False
            self.start_pos = self.group.walk_pos
            self.start_lap = self.group.walk_lap
            return True
        if self.state == MEMBER_RESYNC:
            self.backlog.note_table()
            return True
        return False

    def leave(self):
        """Give up the place in the group; the member is of no use afterwards."""
        if self.state == MEMBER_GONE:
            return
        self.messages = self.read_whole()
        if self.private is not None:
            self.private.close_cursor(&self.pcur)
            self.private = None
        if self.state == MEMBER_RESYNC:
            self._end_resync()
        if self.state == MEMBER_WALK:
            if not self.walk_ends:
                self.group.walkers -= 1
            self.group.walk.close_cursor(&self.wcur)
        self.group.log.close_cursor(&self.cur)
        self.state = MEMBER_GONE
        self.group.members.remove(self)
        self.group._list_member(self.slot)
        if not self.group.members:
            self.group._forget_noted()

    @property
    def messages_sent(self):
        """UPDATEs that have gone out whole; not those of an outbox, as an End-of-RIB."""
        return self.read_whole()

    def lag(self):
        """Return octets of the log not read yet, those for others included."""
        if self.state == MEMBER_LIVE or self.state == MEMBER_WALK:
            return self.group.log.lag(&self.cur)
        return 0

    def progress(self, uint32_t h):
        """Return whether the present state of a prefix has yet to be encoded for this member, and
        the octets that it has not read of what is, those for others included."""
        cdef bint ahead = False
        cdef uint64_t unread = 0
        cdef uint32_t at = self.group.walk_pos
        if self.state == MEMBER_RESYNC:
            ahead = self.backlog.has(h)
        elif self.state == MEMBER_WALK:
            # The walk goes round: from start_pos to the end, then up to it.
            if not self.walk_ends and self.group.walk_lap == self.start_lap:
                ahead = not self.start_pos <= h < at
            elif not self.walk_ends and self.group.walk_lap == self.start_lap + 1:
                ahead = at <= h < self.start_pos
            unread = self.group.walk.lag(&self.wcur)
        if self.state == MEMBER_WALK or self.state == MEMBER_LIVE:
            unread += self.group.log.lag(&self.cur)
        if self.private is not None:
            unread += self.private.lag(&self.pcur)
        return ahead, unread

    def take(self, uint64_t room=1 << 40):
        """Return the next bytes and move on, as a socket would: for tests and tools."""
        cdef iovec iov[64]
        cdef uint32_t n, i
        cdef uint64_t total
        out = []
        while room:
            n = self.gather(iov, 64, room)
            if n == 0:
                break
            total = 0
            for i in range(n):
                out.append((<char *>iov[i].iov_base)[:iov[i].iov_len])
                total += iov[i].iov_len
            self.sent(total)
            room -= total
        return b"".join(out)


@cython.final
cdef class Group:
    def __cinit__(self, AdjOut adj, Encoder encoder):
        self.adj = adj
        self.table = adj.table
        self.encoder = encoder
        self.log = Log(adj.rib.sets)
        self.walk = Log(adj.rib.sets)
        self.members = []
        self.buckets = Buckets()
        self.walk_pos = 1
        self.log_bound = LOG_BOUND

    cdef int _drain(self, Log log, bint everybody) except -1:
        """Encode what `buckets` holds into a log; `everybody`: for the one reader of that log."""
        cdef Buckets b = self.buckets
        cdef uint32_t i, j, k, n, set_h
        cdef const uint32_t *prefixes
        cdef const uint32_t *ids
        cdef const uint64_t *turn = b.arrange()
        cdef uint64_t refused = self.encoder.too_long
        for k in range(b.n_buckets):
            i = <uint32_t>turn[k]
            prefixes = b.prefixes(i, &n, &ids)
            set_h = SET_ALL if everybody else b.buckets[i].set_h
            if b.buckets[i].attrs_h:
                self.encoder.announce(log, b.buckets[i].attrs_h, set_h, prefixes, ids, n)
                if self.encoder.too_long != refused:
                    # Meant for whom this group is too narrow, before anybody of it was there.
                    refused = self.encoder.too_long
                    for j in range(n):
                        self.table.mark(prefixes[j])
            else:
                self.encoder.withdraw(log, set_h, prefixes, ids, n)
        b.clear()
        return 0

    cdef int emit(self, uint32_t attrs_h, uint32_t set_h, const uint32_t *prefixes,
                  const uint32_t *ids, uint32_t n) except -1:
        """Log a change: `n` prefixes now have these attributes (0: are withdrawn) for a set."""
        cdef Member m
        cdef uint32_t i
        if attrs_h:
            self.encoder.announce(self.log, attrs_h, set_h, prefixes, ids, n)
        else:
            self.encoder.withdraw(self.log, set_h, prefixes, ids, n)
        if self.n_resync:
            for m in self.members:
                if m.state == MEMBER_RESYNC and self.log.sets.has(set_h, m.slot):
                    for i in range(n):
                        m.backlog.note(prefixes[i])
                        if attrs_h == 0 and self.adj.addpath:
                            m.backlog.note_withdrawal(prefixes[i], ids[i])
        return 0

    cdef uint32_t walk_step(self, uint32_t n) except? 0xFFFFFFFF:
        """Encode the next `n` prefixes of the walk, if one is under way; return how many it saw."""
        cdef uint32_t h, k, i, seen = 0
        cdef entry_t *e
        cdef Member m
        cdef uint64_t waiting[1024]
        cdef uint32_t words = self.log.sets.words
        cdef uint32_t last_set = 0
        cdef bint wanted = True
        if self.walkers == 0:
            return 0
        # What nobody who walks is due is not encoded: with overlap that is half of the entries.
        memset(waiting, 0, words * 8)
        for m in self.members:
            if m.state == MEMBER_WALK and not m.walk_ends:
                waiting[m.slot >> 6] |= <uint64_t>1 << (m.slot & 63)
        while seen < n:
            h = self.walk_pos
            if h >= self.table.trie.top:
                self.walk_pos = 1
                self.walk_lap += 1
                self.adj.filled = ALL_FILLED
                break
            seen += 1
            if self.table.trie.holds(h):
                e = self.adj.present(h, &k)
                if self.buckets.n_changes + k > 8192:
                    self._drain(self.walk, False)
                for i in range(k):
                    if e[i].set_h != last_set:
                        last_set = e[i].set_h
                        wanted = meets(self.log.sets.bits(last_set), waiting, words)
                    if not wanted:
                        continue
                    if self.buckets.full():
                        self._drain(self.walk, False)
                    self.buckets.add(e[i].attrs_h, e[i].set_h, h,
                                     self.adj.ids(e, k)[i] if self.adj.addpath else 0)
            self.walk_pos += 1
        self._drain(self.walk, False)
        for m in self.members:
            # A whole lap more counts too: who began at the very end of the table is passed over.
            if (m.state == MEMBER_WALK and not m.walk_ends
                    and (self.walk_lap > m.start_lap + 1
                         or (self.walk_lap > m.start_lap and self.walk_pos >= m.start_pos))):
                m.walk_ends = True
                m.walk_end = self.walk.end
                self.walkers -= 1
        return seen + 1

    cdef int enforce(self) except -1:
        """Keep log and walk in their bounds: who is too far behind goes over to a bitmap."""
        cdef chunk_t *head
        if (self.log.held > self.log_bound - (self.log_bound >> 2)
                and self.log.head != self.log.tail):
            self._note_ahead(NOTE_CHUNKS)
        while self.log.held > self.log_bound and self.log.head != self.log.tail:
            head = self.log.head
            self._drop_readers(self.log, head)
            self.log.trim()
            if self.log.head == head:
                break
        while self.walk.held > self.log_bound and self.walk.head != self.walk.tail:
            head = self.walk.head
            self._drop_readers(self.walk, head)
            self.walk.trim()
            if self.walk.head == head:
                break
        if self.noted is not None and (
                self.log.head == self.log.tail or self.log.held <= self.log_bound >> 1
                or self.log.end - self.noted_from > 4 * <uint64_t>self.log_bound + (1 << 20)):
            self._forget_noted()
        return 0

    cdef int _drop_readers(self, Log log, chunk_t *chunk) except -1:
        """Take everybody who stands in the oldest chunk off log and walk."""
        cdef Member m
        cdef list fallen = []
        for m in self.members:
            if ((log is self.log and m.state <= MEMBER_LIVE and m.cur.chunk == chunk)
                    or (log is self.walk and m.state == MEMBER_WALK and m.wcur.chunk == chunk)):
                fallen.append(m)
        if len(fallen) > 1 or self.noted is not None:
            self._note_ahead(0xFFFFFFFF)
        for m in fallen:
            m._fall_off(self.noted)
        return 0

    cdef int _note_ahead(self, uint32_t chunks) except -1:
        """Read the next chunks of the log back, on behalf of whoever falls off it later.

        To read 16 MiB back takes a tenth of a second: too long in one go, and far too long for each
        member. So it is begun before the log is full, and done once for all of them. What is in it
        for others a member is told once more, or withdrawn in vain.
        """
        cdef chunk_t *k = self.log.head
        cdef uint32_t off
        if self.noted is None:
            self.noted = Backlog(self.table, self.adj.addpath)
            self.noted_from = self.noted_upto = k.base
            self.table.holders += 1     # prefixes that are only in the log come back for it
        if self.noted_upto < k.base:
            self.noted_upto = k.base    # everybody has read what is gone
        while k != NULL and chunks:
            if k.base + k.len > self.noted_upto:
                off = <uint32_t>(self.noted_upto - k.base)
                while off < k.len:
                    self.noted.note_message(k.data + off)
                    off += load16(k.data + off + 16)
                self.noted_upto = k.base + off
                chunks -= 1
            k = k.next
        return 0

    cdef int _forget_noted(self) except -1:
        if self.noted is not None:
            self.noted = None
            self.table.release_holder()
        return 0

    cdef int _list_member(self, uint32_t slot) except -1:
        """Bring up to date whether a slot is sent these messages, as the Adj-RIB-Out sees it."""
        cdef Member m
        cdef uint64_t bit = <uint64_t>1 << (slot & 63)
        self.encoder.members[slot >> 6] &= ~bit
        for m in self.members:
            if m.slot == slot:
                self.encoder.members[slot >> 6] |= bit
        if self.members and self.encoder not in self.adj.encoders:
            self.adj.encoders.append(self.encoder)
        elif not self.members and self.encoder in self.adj.encoders:
            self.adj.encoders.remove(self.encoder)
        return 0

    def _start_walk(self, Member m):
        self.walk.open_cursor(&m.wcur)
        m.state = MEMBER_WALK
        m.walk_ends = False
        m.start_pos = self.walk_pos
        m.start_lap = self.walk_lap
        self.walkers += 1

    # --- for Python -------------------------------------------------------------------------------

    def join(self, uint32_t slot):
        """Add a peer: it gets the table, then every change. Returns its Member."""
        m = Member(self, slot)
        self.log.open_cursor(&(<Member>m).cur)
        self._start_walk(m)
        self.members.append(m)
        self._list_member(slot)
        return m

    def walk_ready(self, double now):
        """Whether the walk should go on: half of those who read it have little left to read.

        Nobody waits for a member that has read nothing for PATIENCE; `now` is in seconds.
        """
        cdef Member m
        cdef uint32_t near = 0, n = 0
        for m in self.members:
            if m.state == MEMBER_WALK:
                if self.walk.lag(&m.wcur) < NEAR:
                    near += 1
                    n += 1
                elif m.reads(m.wcur.chunk.base + m.wcur.off, now):
                    n += 1
        return near * 2 >= n

    def join_all(self, uint32_t slot, Member old):
        """Add a peer that has routes of ours already, by other rules: it gets the present state of
        every prefix, a withdrawal where there is nothing for it. Returns its Member.

        `old` is its place so far, of no use afterwards but for the end of a message begun.
        """
        cdef Member m = Member(self, slot)
        old._note_all()
        self.log.open_cursor(&m.cur)
        self.members.append(m)
        self._list_member(slot)
        m._fall_off(None)
        m.resyncs = 0
        m.backlog.stale_paths = old.backlog.stale_paths
        old.backlog.stale_paths = None
        m.backlog.note_table()
        return m

    def keeping_up(self, double now):
        """Return (members near the end of what there is to send, these and those on the way there).

        Who has fallen off the log, or has read nothing for PATIENCE, is in neither number.
        """
        cdef Member m
        cdef uint32_t near = 0, n = 0
        cdef uint64_t lag, at
        for m in self.members:
            if m.state == MEMBER_LIVE:
                lag = self.log.lag(&m.cur)
                at = m.cur.chunk.base + m.cur.off
            elif m.state == MEMBER_WALK:
                lag = self.walk.lag(&m.wcur)
                at = m.wcur.chunk.base + m.wcur.off
            else:
                continue
            if lag < NEAR:
                near += 1
                n += 1
            elif m.reads(at, now):
                n += 1
        return near, n

    def stats(self):
        """Return members by state, octets held, messages encoded."""
        return {
            "members": len(self.members),
            "walking": sum(1 for m in self.members if m.state == MEMBER_WALK),
            "resync": self.n_resync,
            "log_held": self.log.held,
            "walk_held": self.walk.held,
            "messages": self.log.messages + self.walk.messages,
            "bytes": self.log.end + self.walk.end,
            "too_long": self.encoder.too_long,
        }
