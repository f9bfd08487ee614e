"""The import filter of one neighbor: what an exchange checks of its members' routes, in one order.

In: an attribute set, a prefix. Out: a RejectReason, and what was found out on the way (RPKI state,
IRR state). Checks of attributes run once per UPDATE, checks of the prefix once per route; nothing
here allocates. The order, which decides the reason that a route with two faults gets, is the one
that ARouteServer's users know: next hop, AS_PATH length, AS numbers (bogon, transit-free, never via
a route server), communities, ASPA, IPv6 outside 2000::/3, black lists, bogons, IRR origin and
prefix with their white lists, RPKI origin validation (RFC 6811), prefix length. Loop checks come
before all these, and the check of the leftmost AS behind AS_PATH length: see Rib.check. A request
to drop traffic (RFC 7999), where such are served, may be for any part of the neighbor's prefixes,
and is judged by lengths of its own, not by the last two.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.aspa cimport ASPA_DOWNSTREAM, ASPA_INVALID, ASPA_UPSTREAM
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.types cimport (
    ATTR_AS_PATH,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
    FAM_IPV6,
    WK_BLACKHOLE,
    attrset_t,
    nexthop_t,
)
from rs._fastpath.wire cimport load32

import ipaddress
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


@cython.final
cdef class Filter:
    def __cinit__(self):
        self.low[0] = self.low[1] = 0
        self.high[0] = 32
        self.high[1] = 128

        self.black_holes = (None, None)

    def __dealloc__(self):
        free(self.hops)
        free(self.white_routes)

    def set_next_hops(self, addresses):
        """Accept only these next hops, in text; None accepts any."""
        free(self.hops)
        self.hops = NULL
        self.n_hops = 0
        self.check_hops = addresses is not None
        packed = b"".join(ipaddress.ip_address(a).packed.ljust(16, b"\0") for a in addresses or ())
        if packed:
            self.hops = <uint8_t *>malloc(len(packed))
            if self.hops == NULL:
                raise MemoryError
            memcpy(self.hops, <const char *>packed, len(packed))
            self.n_hops = len(packed) // 16

    def set_lengths(self, uint32_t family, uint32_t low, uint32_t high):
        """Accept prefixes of `low` to `high` bits in a family."""
        self.low[family] = low
        self.high[family] = high

    def set_black_holes(self, uint32_t family, uint32_t low, uint32_t high):
        """Serve requests to drop traffic to prefixes of `low` to `high` bits (at least 1)."""
        self.hole_low[family] = low
        self.hole_high[family] = high
        holes = list(self.black_holes)
        holes[family] = (low, high)
        self.black_holes = tuple(holes)

    def set_white_routes(self, routes):
        """Let these escape the IRR rules: (prefix, shortest, longest, origin or None) each."""
        cdef white_t *w
        free(self.white_routes)
        self.n_white = 0
        self.white_routes = <white_t *>calloc(len(routes) + 1, sizeof(white_t))
        if self.white_routes == NULL:
            raise MemoryError
        for prefix, low, high, origin in routes:
            net = ipaddress.ip_network(prefix)
            packed = net.network_address.packed
            w = &self.white_routes[self.n_white]
            memcpy(w.addr, <const char *>packed, len(packed))
            w.family = net.version == 6
            w.plen = net.prefixlen
            w.low = low
            w.high = high
            w.origin = origin or 0
            self.n_white += 1

    def take_transit(self):
        """Return and forget {AS number: how often it was seen} of transit-free networks, where they
        are only counted: in UPDATEs, and in paths judged again."""
        cdef uint32_t i
        found = {self.noted[i]: self.noted_count[i] for i in range(self.n_noted)}
        self.n_noted = 0
        return found

    def finish(self):
        """Note whether prefixes have to be looked at; call after the last change."""
        self.per_prefix = (
            self.global_unicast_only or self.black_list is not None
            or self.neighbor_black_list is not None or self.bogons is not None
            or self.irr_origins is not None or self.irr_prefixes is not None
            or self.roas is not None
            or self.hole_high[0] or self.hole_high[1]
            or self.low[0] > 0 or self.low[1] > 0 or self.high[0] < 32 or self.high[1] < 128
        )

    cdef uint32_t check_attrs(self, AttrTable attrs, uint32_t attrs_h,
                              uint32_t peer_asn) noexcept nogil:
        """Return the reason to reject every route with these attributes, or 0."""
        cdef attrset_t *s = attrs.at(attrs_h)
        cdef const uint8_t *p = attrs.wire(attrs_h)
        cdef const uint8_t *end = p + s.wire_len
        cdef nexthop_t *hop = attrs.hop(attrs_h)
        cdef uint8_t padded[16]
        cdef const uint8_t *v
        cdef uint32_t i, _i, n, asn, length = 0, communities = 0
        cdef uint32_t transit = 0
        cdef bint bogon = False, never = False, lead = True
        cdef attr_t a
        if self.check_hops:
            memset(padded, 0, 16)
            memcpy(padded, hop.addr, 16 if hop.len > 4 else 4)
            for i in range(self.n_hops):
                if memcmp(self.hops + 16 * i, padded, 16) == 0:
                    break
            else:
                return FILTER_NEXT_HOP
        while p < end:
            p += attr_next(p, &a)
            if a.type == ATTR_AS_PATH:
                v = a.value
                while v < a.value + a.len:
                    n = v[1]
                    v += 2
                    for _i in range(n):
                        asn = load32(v)
                        v += 4
                        length += 1
                        # The neighbor itself may be one of them: what it says of itself is fine.
                        lead = lead and asn == peer_asn
                        if self.bogon_asns is not None and self.bogon_asns.has(asn):
                            bogon = True
                        if not lead:
                            if (transit == 0 and self.transit_free is not None
                                    and self.transit_free.has(asn)):
                                transit = asn
                            if self.never_via is not None and self.never_via.has(asn):
                                never = True
            elif a.type == ATTR_COMMUNITIES:
                communities += a.len >> 2
            elif a.type == ATTR_EXT_COMMUNITIES:
                communities += a.len >> 3
            elif a.type == ATTR_LARGE_COMMUNITY:
                communities += a.len // 12
        if self.max_path_len and length > self.max_path_len:
            return FILTER_AS_PATH_LENGTH
        if bogon:
            return FILTER_BOGON_ASN
        if transit and not self.warn_transit:
            return FILTER_TRANSIT_FREE
        if never:
            return FILTER_NEVER_VIA_ROUTE_SERVER
        if self.max_communities and communities > self.max_communities:
            return FILTER_COMMUNITIES
        if self.reject_aspa_invalid and self._path_state(attrs, attrs_h, peer_asn) == ASPA_INVALID:
            return REASON_ASPA_INVALID
        if transit:
            self._note(transit)
        return 0

    cdef uint32_t _path_state(self, AttrTable attrs, uint32_t attrs_h,
                              uint32_t peer_asn) noexcept nogil:
        """ASPA_* of an AS_PATH from this neighbor; ASPA_UNKNOWN where paths are not verified.

        Downstream from a provider, else upstream: from customers, peers, RS clients, and route
        servers, whose own AS is not in the path (draft-ietf-sidrops-aspa-verification-27 5.4, 5.5).
        """
        cdef const uint8_t *p = attrs.wire(attrs_h)
        cdef const uint8_t *end = p + attrs.at(attrs_h).wire_len
        cdef uint32_t direction = ASPA_DOWNSTREAM if self.downstream else ASPA_UPSTREAM
        cdef attr_t a
        if self.aspas is None:
            return 0
        while p < end:
            p += attr_next(p, &a)
            if a.type == ATTR_AS_PATH:
                return self.aspas.verify(a.value, a.len, direction,
                                         0 if self.from_server else peer_asn)
        return ASPA_INVALID

    def path_state(self, AttrTable attrs, uint32_t attrs_h, uint32_t peer_asn):
        """Return the ASPA_* of a path from the neighbor, None where paths are not verified."""
        if self.aspas is None:
            return None
        return self._path_state(attrs, attrs_h, peer_asn)

    cdef void _note(self, uint32_t asn) noexcept nogil:
        """Count a transit-free network that is let through; beyond NOTED of them nothing."""
        cdef uint32_t i = 0
        while i < self.n_noted and self.noted[i] != asn:
            i += 1
        if i == NOTED:
            return
        if i == self.n_noted:
            self.noted[i] = asn
            self.noted_count[i] = 0
            self.n_noted += 1
        self.noted_count[i] += 1

    cdef bint _white(self, uint32_t family, const uint8_t *addr, uint32_t plen,
                     uint32_t origin) noexcept nogil:
        """Whether a route is on the white list of routes."""
        cdef white_t *w
        cdef uint32_t i
        for i in range(self.n_white):
            w = &self.white_routes[i]
            if (w.family == family and w.low <= plen <= w.high
                    and (w.origin == 0 or w.origin == origin)
                    and prefix_covers(w.addr, w.plen, addr)):
                return True
        return False

    cdef uint32_t check_prefix(self, AttrTable attrs, uint32_t attrs_h, uint32_t family,
                               const uint8_t *addr, uint32_t plen, uint8_t *state) noexcept nogil:
        """Return the reason to reject one route, or 0; fill in what was found out."""
        cdef uint32_t origin = attrs.at(attrs_h).origin_as
        cdef uint32_t rpki = 0
        cdef bint origin_ok, prefix_ok
        cdef bint hole = (self.hole_high[family]
                          and attrs.at(attrs_h).well_known & WK_BLACKHOLE)
        state[0] = 0
        if self.roas is not None:
            rpki = self.roas.state(family, addr, plen, origin)
            # RoaTable: 0 not found, 1 valid, 2 invalid.
            state[0] = STATE_RPKI_UNKNOWN if rpki == 0 else (
                STATE_RPKI_VALID if rpki == 1 else STATE_RPKI_INVALID)
        if self.global_unicast_only and family == FAM_IPV6 and (addr[0] & 0xE0 != 0x20 or plen < 3):
            return FILTER_NOT_GLOBAL_UNICAST
        if self.black_list is not None and self.black_list.match(family, addr, plen, False):
            return FILTER_BLACK_LIST
        if self.neighbor_black_list is not None and self.neighbor_black_list.match(
                family, addr, plen, False):
            return FILTER_NEIGHBOR_BLACK_LIST
        if self.bogons is not None and self.bogons.match(family, addr, plen, False):
            return FILTER_BOGON_PREFIX
        if self.irr_origins is not None or self.irr_prefixes is not None:
            state[0] |= STATE_IRR_CHECKED
            origin_ok = self.irr_origins is None or self.irr_origins.has(origin)
            prefix_ok = self.irr_prefixes is None or self.irr_prefixes.match(
                family, addr, plen, self.allow_longer or hole)
            if origin_ok:
                state[0] |= STATE_IRR_ORIGIN
            if prefix_ok:
                state[0] |= STATE_IRR_PREFIX
            if self.white_origins is not None and self.white_origins.has(origin):
                origin_ok = True
            if self.white_prefixes is not None and self.white_prefixes.match(
                    family, addr, plen, False):
                prefix_ok = True
            if ((self.enforce_origin and not origin_ok or self.enforce_prefix and not prefix_ok)
                    and self._white(family, addr, plen, origin)):
                origin_ok = prefix_ok = True
                # Told by the bit that is not set: see filter.pxd.
                state[0] &= <uint8_t>~STATE_IRR_CHECKED
                if not state[0] & (STATE_IRR_ORIGIN | STATE_IRR_PREFIX):
                    state[0] |= STATE_IRR_ORIGIN | STATE_IRR_PREFIX
            if self.enforce_origin and not origin_ok:
                return FILTER_IRR_ORIGIN
            if self.enforce_prefix and not prefix_ok and not (
                    self.roas_as_route_objects and rpki == 1):
                return FILTER_IRR_PREFIX
        if hole:
            if plen < self.hole_low[family] or plen > self.hole_high[family]:
                return FILTER_BLACKHOLE_LENGTH
            return 0
        if rpki == 2 and self.reject_invalid:
            return FILTER_RPKI_INVALID
        if plen < self.low[family] or plen > self.high[family]:
            return FILTER_PREFIX_LENGTH
        return 0


cdef bint prefix_covers(const uint8_t *outer, uint32_t plen, const uint8_t *addr) noexcept nogil:
    """Whether the first `plen` bits of two addresses are the same."""
    cdef uint32_t whole = plen >> 3
    if memcmp(outer, addr, whole) != 0:
        return False
    return plen & 7 == 0 or (outer[whole] ^ addr[whole]) >> (8 - (plen & 7)) == 0
