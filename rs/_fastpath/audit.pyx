"""Policies over recorded UPDATEs: what would become of each route, counted.

In: whole UPDATE messages with 4-octet AS numbers, as one peer sent them. Out: how many routes were
accepted, changed and refused, the counts of each term (terms.pyx), and if asked for every route
with what happened to it. No route is kept. For `rs policy test`; the daemon does not use it.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from rs._fastpath.attrs cimport AttrTable
from rs._fastpath.decode cimport decode_ctx_t, decode_update, nlri_next, update_t
from rs._fastpath.filter cimport Filter
from rs._fastpath.paths cimport peer_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.terms cimport Terms, route_t
from rs._fastpath.text cimport addr_text
from rs._fastpath.types cimport FAM_NONE, HEADER_LEN, MSG_UPDATE
from rs._fastpath.wire cimport load16

import ipaddress

check_abi(__name__)


@cython.final
cdef class Audit:
    """The policies of one neighbor over what it has sent."""

    cdef AttrTable attrs
    cdef Terms terms
    cdef Filter states
    cdef peer_t peer
    cdef decode_ctx_t ctx
    cdef readonly uint64_t accepted     # routes, those with changed attributes included
    cdef readonly uint64_t changed
    cdef readonly uint64_t refused
    cdef readonly uint64_t malformed    # UPDATEs that announce nothing for that (RFC 7606)

    def __cinit__(self, AttrTable attrs, Terms terms, *, Filter states=None, uint32_t asn=0,
                  str address="192.0.2.0", uint32_t kind=0, bint ibgp=False, uint32_t addpath=0):
        self.attrs = attrs
        self.terms = terms
        self.states = states
        self.peer.asn = asn
        self.peer.kind = <uint8_t>kind
        packed = ipaddress.ip_address(address).packed
        self.peer.addr_len = len(packed)
        memcpy(self.peer.addr, <const char *>packed, len(packed))
        memset(&self.ctx, 0, sizeof(self.ctx))
        self.ctx.as4 = True
        self.ctx.ibgp = ibgp
        self.ctx.families = 3
        self.ctx.addpath = addpath
        self.ctx.ext_next_hop = True

    def feed(self, bytes data, list seen=None):
        """Run the policies over every route in whole messages; return how many there were.

        With `seen` each is put there: (prefix, reason, terms that fitted, attributes before, and
        after if they have changed).
        """
        cdef const uint8_t *p = data
        cdef const uint8_t *end = p + len(data)
        cdef uint32_t n
        cdef uint64_t routes = 0
        cdef update_t u
        while end - p >= HEADER_LEN:
            n = load16(p + 16)
            if n < HEADER_LEN or end - p < n:
                raise ValueError("not whole BGP messages")
            if p[18] == MSG_UPDATE:
                decode_update(self.attrs, &self.ctx, p + HEADER_LEN, n - HEADER_LEN, &u)
                try:
                    if (u.nlri_len and not u.attrs_h) or (u.reach_len and not u.mp_attrs_h):
                        self.malformed += 1
                    if u.attrs_h and u.nlri_len:
                        routes += self._routes(0, u.nlri, u.nlri_len, u.attrs_h, seen)
                    if u.mp_attrs_h and u.reach_len and u.reach_family != FAM_NONE:
                        routes += self._routes(u.reach_family, u.reach, u.reach_len,
                                               u.mp_attrs_h, seen)
                finally:
                    if u.attrs_h:
                        self.attrs.unref(u.attrs_h)
                    if u.mp_attrs_h:
                        self.attrs.unref(u.mp_attrs_h)
            p += n
        return routes

    cdef uint64_t _routes(self, uint32_t family, const uint8_t *p, uint32_t n, uint32_t attrs_h,
                          list seen) except? 0:
        cdef const uint8_t *end = p + n
        cdef uint8_t addr[16]
        cdef uint8_t state = 0
        cdef uint32_t path_id, reason, out_h = 0, i
        cdef uint32_t width = 4 if family == 0 else 16
        cdef uint64_t routes = 0
        cdef route_t r
        r.addr = addr
        r.family = family
        r.source = &self.peer
        while p < end:
            p += nlri_next(p, (self.ctx.addpath >> family) & 1, width, &path_id, &r.plen, addr)
            if self.states is not None:
                self.states.check_prefix(self.attrs, attrs_h, family, addr, r.plen, &state)
            r.state = state
            reason = self.terms.import_route(self.attrs, attrs_h, &r, &out_h)
            routes += 1
            if reason:
                self.refused += 1
            else:
                self.accepted += 1
                self.changed += out_h != attrs_h
            if seen is not None:
                seen.append((
                    f"{addr_text(addr, width)}/{r.plen}", reason,
                    [self.terms.fired[i] for i in range(self.terms.n_fired)],
                    self.attrs.describe(attrs_h),
                    self.attrs.describe(out_h) if out_h != attrs_h else None,
                ))
            self.attrs.unref(out_h)
        return routes
