"""Optimal route reflection: paths ranked from where a group of clients is (RFC 9107).

In: a prefix whose paths the RIB has ranked, and the metrics of a group. Out: the same paths in the
order that a router of the group would have, for the walk of its Adj-RIB-Out (adjout.pyx). Only the
metric to the next hop differs (RFC 4271 9.1.2.2 e, RFC 9107 3.1): every other step, the paths and
their attributes are shared with everybody else.

A path takes part if it is in use here and its next hop is reachable from there. What we cannot
reach nobody is told: a metric that an operator wrote down says how far a router is, not that it
lives.

Memory: 24 B a next hop and vantage. Cost: a ranking for each changed prefix and vantage; a metric
is asked for once.
"""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.arena cimport slab_at
from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.decide cimport gather, order
from rs._fastpath.paths cimport PATH_NOT_USABLE, PATH_REJECTED, path_t
from rs._fastpath.rib cimport Rib, Table
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.text cimport addr_text
from rs._fastpath.types cimport nexthop_t

check_abi(__name__)

cdef enum:
    UNREACHABLE = 0xFFFFFFFF


@cython.final
cdef class Vantage:
    def __cinit__(self, AttrTable attrs, metric_of):
        self.attrs = attrs
        self.metric_of = metric_of
        self._reserve(16)

    def __dealloc__(self):
        free(self.far)
        free(self.candidates)
        free(self.ranking)

    cdef int _reserve(self, uint32_t n) except -1:
        """Make room for `n` candidates."""
        cdef void *p
        if n <= self.cap:
            return 0
        p = realloc(self.candidates, <size_t>n * sizeof(self.candidates[0]))
        if p == NULL:
            raise MemoryError
        self.candidates = <candidate_t *>p
        p = realloc(self.ranking, (<size_t>n + 1) * sizeof(uint32_t))
        if p == NULL:
            raise MemoryError
        self.ranking = <uint32_t *>p
        self.ranking[0] = 0
        self.cap = n
        return 0

    cdef uint32_t _ask(self, nexthop_t *hop) except? 0xFFFFFFFE:
        metric = self.metric_of(addr_text(hop.addr, 4 if hop.len == 4 else 16))
        return UNREACHABLE if metric is None else <uint32_t>metric

    cdef uint32_t _metric(self, uint32_t hop_h) except? 0xFFFFFFFE:
        """Return how far a next hop is from here; asked for once."""
        cdef nexthop_t *hop = <nexthop_t *>slab_at(&self.attrs.hops, hop_h)
        cdef uint32_t n = 4 if hop.len == 4 else 16
        cdef uint32_t cap
        cdef far_t *far
        if hop_h >= self.far_cap:
            cap = hop_h + (hop_h >> 1) + 64
            far = <far_t *>realloc(self.far, <size_t>cap * sizeof(far_t))
            if far == NULL:
                raise MemoryError
            memset(far + self.far_cap, 0, <size_t>(cap - self.far_cap) * sizeof(far_t))
            self.far = far
            self.far_cap = cap
        far = &self.far[hop_h]
        if far.len != n or memcmp(far.addr, hop.addr, n) != 0:
            far.metric = self._ask(hop)
            memcpy(far.addr, hop.addr, n)
            far.len = <unsigned char>n
        return far.metric

    cdef uint32_t first(self, Table table, uint32_t h) except? 0:
        """Rank the paths of a prefix; return the best one's handle, 0 when there is none."""
        cdef Rib rib = table.rib
        cdef uint32_t p_h = table.dests[h].paths_h
        cdef uint32_t n = 0, i, metric
        cdef bint med_differs = False
        cdef candidate_t *c
        cdef path_t *p
        if table.dests[h].n_paths > self.cap:
            self._reserve(table.dests[h].n_paths)
        c = self.candidates
        while p_h:
            p = table.path(p_h)
            if p.flags & (PATH_REJECTED | PATH_NOT_USABLE):
                break           # the rest is not in use either
            metric = self._metric(self.attrs.at(p.attrs_h).nh_h)
            if metric != UNREACHABLE:
                gather(&c[n], p, p_h, self.attrs.at(p.attrs_h), &rib.peers[p.peer], metric)
                if n and c[n].attrs.med != c[0].attrs.med:
                    med_differs = True
                n += 1
            p_h = p.next_h
        if n > 1:
            order(c, n, med_differs, &rib.options)
        for i in range(n):
            self.ranking[i] = c[i].path_h
        self.ranking[n] = 0
        self.ranked += 1
        self.at = 1 if n else 0
        return self.ranking[0]

    # --- for Python -------------------------------------------------------------------------------

    def ranking_of(self, Table table, uint32_t h):
        """Return the paths of a prefix as seen from here, best first: (slot, path id, attribute
        handle, metric)."""
        cdef uint32_t p_h
        cdef path_t *p
        table.paths_of(h)       # ranks it if it has changed
        out = []
        p_h = self.first(table, h)
        while p_h:
            p = table.path(p_h)
            out.append((p.peer, p.path_id, p.attrs_h, self._metric(self.attrs.at(p.attrs_h).nh_h)))
            p_h = self.following()
        return out

    def metrics(self):
        """Return {next hop: metric} of the next hops that have been asked for and are in use;
        metric 4,294,967,295 is unreachable."""
        cdef uint32_t h
        cdef nexthop_t *hop
        out = {}
        for h in range(1, min(self.far_cap, self.attrs.hops.top)):
            hop = <nexthop_t *>slab_at(&self.attrs.hops, h)
            if hop.refs and self.far[h].len:
                out[addr_text(hop.addr, 4 if hop.len == 4 else 16)] = self._metric(h)
        return out

    def use_metrics(self, metric_of):
        """Ask `metric_of` from now on; resolve_step() does so for next hops that are known."""
        self.metric_of = metric_of

    def resolve_step(self, uint32_t pos, uint32_t n):
        """Ask again for `n` next hops from handle `pos`, beginning with 1.

        Returns where to go on, 0 at the end, and the handles of next hops whose metric changed.
        """
        cdef uint32_t h, old
        cdef uint32_t top = min(self.far_cap, self.attrs.hops.top)
        cdef uint32_t end = top if top < pos or n >= top - pos else pos + n
        cdef nexthop_t *hop
        changed = []
        for h in range(pos, end):
            hop = <nexthop_t *>slab_at(&self.attrs.hops, h)
            if hop.refs == 0 or self.far[h].len == 0:
                continue
            old = self._metric(h)
            self.far[h].metric = self._ask(hop)
            if self.far[h].metric != old:
                changed.append(h)
        return (end if end < top else 0), changed
