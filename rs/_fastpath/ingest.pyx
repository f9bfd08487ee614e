"""One established session's bytes into the RIB: cut, decode, check, enter.

In: bytes as read from the socket, in any pieces. Out: paths in the RIB, and events for the session
where something other than an UPDATE came. One call per read; no Python object per route. RFC 4271
4.1, 6.1, 6.3; RFC 7606; RFC 8654.

The Ingest owns a buffer for the part of a message that has not arrived yet, and the last malformed
UPDATEs for the looking glass.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.decode cimport decode_ctx_t, decode_update, nlri_next, update_t
from rs._fastpath.filter cimport Filter
from rs._fastpath.paths cimport REFRESH_UNSETTLED
from rs._fastpath.rib cimport Rib, Table
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms
from rs._fastpath.types cimport (
    FAM_NONE,
    HEADER_LEN,
    MAX_EXT_MSG,
    MAX_MSG,
    MSG_KEEPALIVE,
    MSG_NOTIFICATION,
    MSG_OPEN,
    MSG_ROUTE_REFRESH,
    MSG_UPDATE,
    OUT_OK,
    OUT_RESET,
    OUT_WITHDRAW,
)
from rs._fastpath.wire cimport load16

from collections import deque

check_abi(__name__)

cdef enum:
    KEPT_FAULTS = 16        # malformed UPDATEs kept per session
    KEPT_OCTETS = 4096      # of each

cdef uint8_t MARKER[16]
memset(MARKER, 0xFF, 16)


@cython.final
cdef class Ingest:
    """Bytes of one peer's established session into the RIB."""

    cdef Rib rib
    cdef uint32_t slot
    cdef decode_ctx_t ctx
    cdef uint32_t max_len
    cdef bint enhanced              # enhanced route refresh agreed (RFC 7313)
    cdef uint8_t *partial           # MAX_EXT_MSG octets once needed
    cdef uint32_t partial_len
    cdef readonly list pending_events
    cdef readonly uint64_t messages
    cdef readonly uint64_t updates
    cdef readonly uint64_t keepalives
    cdef readonly uint64_t announced    # NLRI
    cdef readonly uint64_t withdrawn    # NLRI
    cdef readonly uint64_t discards     # UPDATEs with an attribute discarded (RFC 7606)
    cdef readonly uint64_t treat_as_withdraw
    cdef readonly object faults         # deque of (outcome, attribute type, subcode, octets)
    cdef readonly list eor              # by family: End-of-RIB seen
    cdef readonly bint stalled          # at a BoRR that has to wait: see resume
    cdef bytes held                     # what came behind it

    def __cinit__(self, Rib rib, uint32_t slot, *, bint as4=True, bint ibgp=False,
                  uint32_t families=3, uint32_t addpath=0, bint ext_next_hop=False,
                  bint extended_message=False, bint enhanced_refresh=False):
        self.rib = rib
        self.slot = slot
        self.ctx.as4 = as4
        self.ctx.ibgp = ibgp
        self.ctx.families = families
        self.ctx.addpath = addpath
        self.ctx.ext_next_hop = ext_next_hop
        self.max_len = MAX_EXT_MSG if extended_message else MAX_MSG
        self.enhanced = enhanced_refresh
        self.pending_events = []
        self.faults = deque(maxlen=KEPT_FAULTS)
        self.eor = [False, False]
        self.held = b""

    def __dealloc__(self):
        free(self.partial)

    def take_events(self):
        """Return and forget what came beside UPDATEs; see feed."""
        events = self.pending_events
        self.pending_events = []
        return events

    def feed(self, data):
        """Take bytes as read; return the whole messages in them, or -1 when the session must end.

        After a -1, or when `pending_events` is not empty, take_events() tells:
        ("refresh", afi, safi, subtype), ("eor", family), ("notification", code, subcode, data) and
        ("error", code, subcode, data, reason), which is the last one.
        """
        cdef Py_buffer view
        cdef const uint8_t *p
        cdef const uint8_t *end
        cdef uint64_t before = self.messages
        cdef uint32_t n, need
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self.stalled:
                self._hold(<const uint8_t *>view.buf, view.len)
                return 0
            p = <const uint8_t *>view.buf
            end = p + view.len
            while self.partial_len:
                # Complete the header first, then the message it announces.
                need = HEADER_LEN if self.partial_len < HEADER_LEN else load16(self.partial + 16)
                if need > self.partial_len:
                    n = need - self.partial_len
                    if n > end - p:
                        n = <uint32_t>(end - p)
                    memcpy(self.partial + self.partial_len, p, n)
                    p += n
                    self.partial_len += n
                    if self.partial_len < need:
                        return self.messages - before
                if self.partial_len == HEADER_LEN and not self._header_ok(self.partial):
                    return -1
                need = load16(self.partial + 16)
                if self.partial_len >= need:
                    self.partial_len = 0
                    if self._message(self.partial, need) < 0:
                        return -1
                    if self.stalled:
                        self._hold(p, end - p)
                        return self.messages - before
            while end - p >= HEADER_LEN:
                n = load16(p + 16)
                if not self._header_ok(p):
                    return -1
                if end - p < n:
                    break
                if self._message(p, n) < 0:
                    return -1
                p += n
                if self.stalled:
                    self._hold(p, end - p)
                    return self.messages - before
            if p < end:
                if self.partial == NULL:
                    self.partial = <uint8_t *>malloc(MAX_EXT_MSG + 1)
                    if self.partial == NULL:
                        raise MemoryError
                self.partial_len = <uint32_t>(end - p)
                memcpy(self.partial, p, self.partial_len)
            return self.messages - before
        finally:
            PyBuffer_Release(&view)

    cdef int _hold(self, const uint8_t *p, Py_ssize_t n) except -1:
        self.held += p[:n]
        return 0

    def resume(self):
        """Go on behind the BoRR that has stalled it; return what came meanwhile, to be fed again.

        A BoRR makes paths stale, and those that are stale already must be settled first, which
        takes a walk over the table. The caller does that in slices and reads nothing meanwhile.
        """
        held = self.held
        self.held = b""
        self.stalled = False
        return held

    cdef bint _header_ok(self, const uint8_t *m) except? False:
        """Check marker, length and type (RFC 4271 6.1); on a fault leave the error event."""
        cdef uint32_t n = load16(m + 16)
        cdef uint32_t type_ = m[18]
        if memcmp(m, MARKER, 16) != 0:
            self.pending_events.append(("error", 1, 1, b"", "marker is not all ones"))
            return False
        if type_ == 0 or type_ > MSG_ROUTE_REFRESH:
            self.pending_events.append(("error", 1, 3, bytes([type_]), f"message type {type_}"))
            return False
        if (n < HEADER_LEN or n > self.max_len
                or (n > MAX_MSG and type_ == MSG_OPEN)
                or (type_ == MSG_KEEPALIVE and n != HEADER_LEN)
                or (type_ == MSG_UPDATE and n < HEADER_LEN + 4)
                or (type_ == MSG_NOTIFICATION and n < HEADER_LEN + 2)
                or (type_ == MSG_ROUTE_REFRESH and n < HEADER_LEN + 4)):
            reason = f"length {n} of message type {type_}"
            self.pending_events.append(("error", 1, 2, m[16:18], reason))
            return False
        return True

    cdef int _message(self, const uint8_t *m, uint32_t n) except -2:
        """Handle one whole message; -1 when the session must end."""
        cdef uint32_t type_ = m[18]
        if type_ == MSG_UPDATE:
            self.messages += 1
            self.updates += 1
            return self._update(m + HEADER_LEN, n - HEADER_LEN)
        if type_ == MSG_KEEPALIVE:
            self.messages += 1
            self.keepalives += 1
            return 0
        if type_ == MSG_ROUTE_REFRESH:
            # A longer request carries route filters (RFC 5291), which we never offered.
            if n > HEADER_LEN + 4 and m[21] and self.enhanced:
                # RFC 7313 5: the whole message comes back as data.
                self.pending_events.append(("error", 7, 1, m[:n], f"ROUTE-REFRESH of {n} octets"))
                return -1
            self.messages += 1
            if self.enhanced and m[22] == 1 and m[21] in (1, 2) and 1 <= load16(m + 19) <= 2:
                # In its place among the UPDATEs: what comes before a BoRR is stale after it.
                if m[21] == 1:
                    n = <uint32_t>self.rib.begin_refresh(self.slot, load16(m + 19) - 1)
                    self.stalled = n == REFRESH_UNSETTLED
                elif not self.rib.end_refresh(self.slot, load16(m + 19) - 1):
                    return 0
            self.pending_events.append(("refresh", load16(m + 19), m[22], m[21]))
            return 0
        if type_ == MSG_NOTIFICATION:
            self.messages += 1
            self.pending_events.append(("notification", m[19], m[20], m[21:n]))
            return -1
        self.pending_events.append(("error", 5, 3, bytes([MSG_OPEN]), "OPEN in Established"))
        return -1

    cdef int _update(self, const uint8_t *body, uint32_t n) except -2:
        cdef update_t u
        decode_update(self.rib.attrs, &self.ctx, body, n, &u)
        if u.outcome != OUT_OK:
            self.faults.append((u.outcome, u.err_attr, u.err_subcode,
                                body[:n if n < KEPT_OCTETS else KEPT_OCTETS]))
            if u.outcome == OUT_RESET:
                self.pending_events.append((
                    "error", 3, u.err_subcode, u.err_data[:u.err_len] if u.err_len else b"",
                    f"UPDATE attribute {u.err_attr}" if u.err_attr else "UPDATE",
                ))
                return -1
            if u.outcome == OUT_WITHDRAW:
                self.treat_as_withdraw += 1
            else:
                self.discards += 1
        try:
            if u.withdrawn_len:
                self._withdraw(0, u.withdrawn, u.withdrawn_len)
            if u.unreach_family != FAM_NONE and u.unreach_len:
                self._withdraw(u.unreach_family, u.unreach, u.unreach_len)
            if u.nlri_len:
                if u.attrs_h:
                    self._announce(0, u.nlri, u.nlri_len, u.attrs_h)
                else:
                    self._withdraw(0, u.nlri, u.nlri_len)
            if u.reach_family != FAM_NONE and u.reach_len:
                if u.mp_attrs_h:
                    self._announce(u.reach_family, u.reach, u.reach_len, u.mp_attrs_h)
                else:
                    self._withdraw(u.reach_family, u.reach, u.reach_len)
        finally:
            if u.attrs_h:
                self.rib.attrs.unref(u.attrs_h)
            if u.mp_attrs_h:
                self.rib.attrs.unref(u.mp_attrs_h)
        if u.eor_family != FAM_NONE:
            self.eor[u.eor_family] = True
            self.rib.end_of_rib(self.slot, u.eor_family)
            self.pending_events.append(("eor", u.eor_family))
        return 0

    cdef int _announce(self, uint32_t family, const uint8_t *p, uint32_t n,
                       uint32_t attrs_h) except -1:
        cdef Table table = <Table>self.rib.tables[family]
        cdef const uint8_t *end = p + n
        cdef uint8_t addr[16]
        cdef uint32_t plen, path_id
        cdef uint32_t width = table.trie.width
        cdef uint32_t reason = self.rib.check(self.slot, attrs_h)
        cdef uint32_t ticks = self.rib.ticks
        cdef bint addpath = (self.ctx.addpath >> family) & 1
        cdef Filter f = self.rib.prefix_filter(self.slot) if reason == 0 else None
        cdef Terms terms = self.rib.policy_of(self.slot) if reason == 0 else None
        cdef uint8_t state = 0
        if terms is not None:
            return self._announce_by_policy(table, terms, f, p, end, attrs_h)
        while p < end:
            p += nlri_next(p, addpath, width, &path_id, &plen, addr)
            if f is not None:
                reason = f.check_prefix(self.rib.attrs, attrs_h, family, addr, plen, &state)
            table.update(addr, plen, self.slot, path_id, attrs_h, reason, state, ticks)
            self.announced += 1
        return 0

    cdef int _announce_by_policy(self, Table table, Terms terms, Filter f, const uint8_t *p,
                                 const uint8_t *end, uint32_t attrs_h) except -1:
        """_announce() for a neighbor with an import policy, which may change what is entered."""
        cdef uint8_t addr[16]
        cdef uint32_t plen, path_id, reason, held_h = 0, held_reason = 0
        cdef uint32_t family = table.family
        cdef uint32_t width = table.trie.width
        cdef bint addpath = (self.ctx.addpath >> family) & 1
        cdef uint8_t state = 0
        try:
            while p < end:
                p += nlri_next(p, addpath, width, &path_id, &plen, addr)
                self.announced += 1
                if f is not None:
                    reason = f.check_prefix(self.rib.attrs, attrs_h, family, addr, plen, &state)
                    if reason:
                        table.update(addr, plen, self.slot, path_id, attrs_h, reason, state,
                                     self.rib.ticks)
                        continue
                if held_h == 0 or terms.per_route:
                    if held_h:
                        self.rib.attrs.unref(held_h)
                        held_h = 0
                    held_reason = self.rib.admit(terms, self.slot, attrs_h, family, addr, plen,
                                                 state, &held_h)
                table.update(addr, plen, self.slot, path_id, held_h, held_reason, state,
                             self.rib.ticks)
        finally:
            if held_h:
                self.rib.attrs.unref(held_h)
        return 0

    cdef int _withdraw(self, uint32_t family, const uint8_t *p, uint32_t n) except -1:
        cdef Table table = <Table>self.rib.tables[family]
        cdef const uint8_t *end = p + n
        cdef uint8_t addr[16]
        cdef uint32_t plen, path_id
        cdef uint32_t width = table.trie.width
        cdef bint addpath = (self.ctx.addpath >> family) & 1
        while p < end:
            p += nlri_next(p, addpath, width, &path_id, &plen, addr)
            table.withdraw(addr, plen, self.slot, path_id)
            self.withdrawn += 1
        return 0
