# Groups of peers that get the same bytes, and their members. Implementation: group.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from rs._fastpath.adjout cimport AdjOut
from rs._fastpath.backlog cimport Backlog
from rs._fastpath.buckets cimport Buckets
from rs._fastpath.encode cimport Encoder
from rs._fastpath.log cimport Log, chunk_t, cursor_t
from rs._fastpath.rib cimport Table

cdef enum:
    MEMBER_WALK = 0         # gets the table; its place in the log is kept meanwhile
    MEMBER_LIVE = 1         # reads the log
    MEMBER_RESYNC = 2       # fell behind: gets the present state of the prefixes in its bitmap
    MEMBER_GONE = 3

    LOG_BOUND = 16 << 20    # octets of log kept for slow members
    NEAR = 1 << 18          # octets behind up to which a member counts as keeping up
    RESYNC_CHUNK = 4096     # prefixes encoded at a time for a member that fell behind
    NOTE_CHUNKS = 4         # chunks of a long log read back in one go: two milliseconds

cdef class Group

cdef class Member:
    """One peer's place in one group: cursors, never a table or a queue of its own."""

    cdef readonly Group group
    cdef readonly uint32_t slot
    cdef readonly uint32_t state        # MEMBER_*
    cdef cursor_t cur               # in group.log
    cdef cursor_t wcur              # in group.walk, while state is MEMBER_WALK
    cdef uint32_t start_pos         # where the walk was when this member joined it
    cdef uint32_t start_lap
    cdef bint walk_ends             # the walk has been all round: walk_end is valid
    cdef uint64_t walk_end          # octets of group.walk at which it was complete
    cdef Backlog backlog            # prefixes to bring up to date; None unless RESYNC
    cdef Log private                # what is encoded for this member alone; None unless needed
    cdef cursor_t pcur
    cdef uint32_t rest              # octets at its beginning that end a message begun elsewhere
    cdef public bint borr           # enhanced refresh: EoRR is due at the end of the walk
    cdef readonly uint32_t resyncs  # times it fell behind
    cdef uint64_t seen              # where it stood when last looked at; since: see reads()
    cdef double seen_at
    cdef uint64_t messages          # read whole, without those of a run begun; see messages_sent

    cdef uint32_t gather(self, iovec *iov, uint32_t iov_max, uint64_t room) except? 0xFFFFFFFF
    cdef int sent(self, uint64_t n) except -1
    cdef uint32_t to_boundary(self) noexcept nogil
    cdef bint pending(self) noexcept nogil
    cdef uint64_t read_whole(self) noexcept nogil
    cdef int _settle(self) except -1
    cdef int _fall_off(self, Backlog like) except -1
    cdef int _finish_message(self) except -1
    cdef int _refill(self) except -1
    cdef int _end_resync(self) except -1
    cdef bint reads(self, uint64_t at, double now) noexcept nogil
    cdef int _note_all(self) except -1
    cdef uint32_t _add_present(self, uint32_t h) except? 0xFFFFFFFF

cdef class Group:
    """Peers with equal export program and equal encoding; owns the log and the walk."""

    cdef readonly AdjOut adj
    cdef readonly Table table
    cdef readonly Encoder encoder
    cdef readonly Log log
    cdef readonly Log walk              # the table, encoded once for all who join together
    cdef readonly list members
    cdef Buckets buckets            # for walks and members that fell behind
    cdef uint32_t walk_pos          # next prefix handle
    cdef uint32_t walk_lap
    cdef readonly uint32_t walkers      # members still waiting for the end of a walk
    cdef readonly uint32_t n_resync     # members with a bitmap
    cdef public uint32_t log_bound  # octets, LOG_BOUND
    cdef Backlog noted              # what is in a long log, for who falls off; or None
    cdef uint64_t noted_from        # octets of the log that it covers
    cdef uint64_t noted_upto

    cdef int emit(self, uint32_t attrs_h, uint32_t set_h, const uint32_t *prefixes,
                  const uint32_t *ids, uint32_t n) except -1
    cdef uint32_t walk_step(self, uint32_t n) except? 0xFFFFFFFF
    cdef int enforce(self) except -1
    cdef int _drain(self, Log log, bint everybody) except -1
    cdef int _drop_readers(self, Log log, chunk_t *chunk) except -1
    cdef int _note_ahead(self, uint32_t chunks) except -1
    cdef int _list_member(self, uint32_t slot) except -1
    cdef int _forget_noted(self) except -1
