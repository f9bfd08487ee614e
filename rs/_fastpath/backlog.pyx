"""What a member that fell behind has not read: a bit a prefix, instead of the messages.

In: messages of ours that it has not been sent, read back for the prefixes in them; prefixes that
change from then on. Out: prefixes, one after the other, whose present state it is to get. With
ADD-PATH also the identifiers of paths withdrawn, which the present state of a prefix does not tell.

A backlog owns its bits, an eighth of an octet for each prefix of the table, however much has
changed. While there is one, the table keeps the handles of prefixes that go (Table.holders), which
whoever has the backlog sees to.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from rs._fastpath.decode cimport nlri_next
from rs._fastpath.log cimport Log, chunk_t, cursor_t
from rs._fastpath.rib cimport Table
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.trie cimport stretch_t
from rs._fastpath.types cimport AFLAG_EXT_LEN, ATTR_MP_REACH, ATTR_MP_UNREACH, HEADER_LEN
from rs._fastpath.wire cimport load16

check_abi(__name__)

cdef extern from *:
    """
    #define rs_ctzll(x) ((unsigned)__builtin_ctzll(x))
    """
    uint32_t rs_ctzll(uint64_t x) noexcept nogil


@cython.final
cdef class Backlog:
    def __cinit__(self, Table table not None, bint addpath):
        self.table = table
        self.addpath = addpath

    def __dealloc__(self):
        free(self.bitmap)

    # --- prefixes ------------------------------------------------------------------------------

    cdef int _grow(self, uint32_t word) except -1:
        cdef uint32_t words = word + (word >> 1) + 64
        cdef uint64_t *p = <uint64_t *>realloc(self.bitmap, <uint64_t>words * 8)
        if p == NULL:
            raise MemoryError
        memset(p + self.bitmap_words, 0, <uint64_t>(words - self.bitmap_words) * 8)
        self.bitmap = p
        self.bitmap_words = words
        return 0

    cdef int note_table(self) except -1:
        """Note every prefix there is."""
        cdef stretch_t s = self.table.trie.stretch(1, self.table.trie.top)
        while self.table.trie.step(&s):
            self.note(s.h)
        return 0

    cdef int note_like(self, Backlog other) except -1:
        """Take over what has been noted for somebody else; nothing has been here."""
        if other.bitmap == NULL:
            return 0
        self.bitmap = <uint64_t *>malloc(<uint64_t>other.bitmap_words * 8)
        if self.bitmap == NULL:
            raise MemoryError
        memcpy(self.bitmap, other.bitmap, <uint64_t>other.bitmap_words * 8)
        self.bitmap_words = other.bitmap_words
        if other.stale_paths is not None:
            self.stale_paths = {h: set(ids) for h, ids in other.stale_paths.items()}
        return 0

    cdef uint32_t pop(self) noexcept nogil:
        """Return the next prefix noted, going round by handle, and forget it; 0 if none is left."""
        cdef uint32_t w = self.pos, seen = 0, h
        while seen < self.bitmap_words:
            if w >= self.bitmap_words:
                w = 0
            if self.bitmap[w]:
                h = (w << 6) | rs_ctzll(self.bitmap[w])
                self.bitmap[w] &= self.bitmap[w] - 1
                self.pos = w
                return h
            w += 1
            seen += 1
        return 0

    cdef int note_withdrawal(self, uint32_t h, uint32_t path_id) except -1:
        """Remember an identifier to withdraw: the present state of a prefix does not tell it."""
        if self.stale_paths is None:
            self.stale_paths = {}
        self.stale_paths.setdefault(h, set()).add(path_id)
        return 0

    cdef set pop_withdrawals(self, uint32_t h):
        """Return the identifiers to withdraw of a prefix, or None, and forget them."""
        return self.stale_paths.pop(h, None) if self.stale_paths else None

    # --- messages read back --------------------------------------------------------------------

    cdef int note_unread(self, Log log, const cursor_t *c, uint32_t slot) except -1:
        """Set the bit of every prefix in the messages behind a cursor that are for a slot."""
        cdef chunk_t *k = c.chunk
        cdef uint32_t i = c.run, off = c.off, end
        while k != NULL:
            while i < k.n_runs:
                end = k.runs[i].end
                if log.sets.has(k.runs[i].set_h, slot):
                    while off < end:
                        self.note_message(k.data + off)
                        off += load16(k.data + off + 16)
                off = end
                i += 1
            k = k.next
            i = 0
            off = 0
        return 0

    cdef int note_message(self, const uint8_t *m) except -1:
        """Read back one of our own UPDATEs: classic fields, or one MP attribute in front."""
        cdef const uint8_t *p = m + HEADER_LEN
        cdef const uint8_t *end = m + load16(m + 16)
        cdef uint32_t n = load16(p)
        cdef const uint8_t *a
        self._note_span(p + 2, n, True)
        p += 2 + n
        n = load16(p)
        a = p + 2
        self._note_span(a + n, <uint32_t>(end - a - n), False)
        if n == 0 or (a[1] != ATTR_MP_REACH and a[1] != ATTR_MP_UNREACH):
            return 0
        n = load16(a + 2) if a[0] & AFLAG_EXT_LEN else a[2]
        p = a + (4 if a[0] & AFLAG_EXT_LEN else 3)
        if a[1] == ATTR_MP_REACH:
            self._note_span(p + 5 + p[3], n - 5 - p[3], False)
        else:
            self._note_span(p + 3, n - 3, True)
        return 0

    cdef int _note_span(self, const uint8_t *p, uint32_t n, bint withdrawn) except -1:
        cdef const uint8_t *end = p + n
        cdef uint8_t addr[16]
        cdef uint32_t plen, path_id, h
        cdef bint addpath = self.addpath
        while p < end:
            p += nlri_next(p, addpath, self.table.trie.width, &path_id, &plen, addr)
            h = self.table.ensure(addr, plen)
            self.note(h)
            if addpath and withdrawn:
                self.note_withdrawal(h, path_id)
        return 0
