"""Why a member has a path of a prefix or not: for whoever asks, never on the way of the data.

In: a prefix, a member. Out: for each path what the evaluation of the prefix makes of it for that
member, W_* (adjout.pxd); which AS number or community value excludes a member; which path each
entry of an Adj-RIB-Out was made of. The questions are put to the same functions as when routes are
sent, so the answers cannot be others. RFC 4271 9.1.3, RFC 7947 2.3.

Some microseconds a prefix and member; Python objects are made for the answer only.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from rs._fastpath.adjout cimport (
    PATHS_EQUAL,
    PATHS_PER_AS,
    W_AS_LOOP,
    W_BETTER,
    W_BLACK_HOLE,
    W_COMMUNITY,
    W_FULL,
    W_LIMIT,
    W_LLGR_STALE,
    W_NOT,
    W_NOT_BEST,
    W_NOT_EQUAL,
    W_OWN,
    W_POLICY,
    W_REJECTED,
    W_SAME_AS,
    W_UNREACHABLE,
    AdjOut,
    entry_t,
)
from rs._fastpath.attrs cimport attr_next, attr_t
from rs._fastpath.commrules cimport (
    ACT_DENY_ANY,
    ACT_DENY_HIGHER,
    ACT_DENY_LOWER,
    ACT_DENY_PEER,
    KIND_EXTENDED,
    KIND_LARGE,
    KIND_STANDARD,
    rule_t,
)
from rs._fastpath.control cimport Control
from rs._fastpath.directory cimport ABSENT
from rs._fastpath.paths cimport PATH_NOT_USABLE, PATH_REJECTED, path_t
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.types cimport (
    AS_COMPILED,
    ATTR_AS_PATH,
    ATTR_COMMUNITIES,
    ATTR_EXT_COMMUNITIES,
    ATTR_LARGE_COMMUNITY,
)
from rs._fastpath.wire cimport load16, load32

check_abi(__name__)


cdef dict places_of(AdjOut adj, uint32_t h):
    """Path handle -> position in what Table.paths_of() gives; ranks the prefix if need be."""
    cdef dict places = {}
    cdef uint32_t p_h = 0
    if adj.table.paths_of(h):
        p_h = adj.table.dests[h].paths_h
    while p_h:
        places[p_h] = len(places)
        p_h = adj.table.path(p_h).next_h
    return places


def sources(AdjOut adj, uint32_t h, uint32_t slot=0):
    """Return (path identifier, attribute handle, member set handle, position) of what was sent for
    a prefix last; with `slot` to one member.

    The position is that of the path it was made of, in Table.paths_of(); -1 if that path has gone
    or changed since.
    """
    cdef dict places = places_of(adj, h)
    cdef uint32_t n = 0, i, j, at = 0, path_id
    cdef entry_t *e
    cdef list out = []
    if places:
        adj.looked = {}
        adj.look_slot = slot
        try:
            adj.evaluate(h)
        finally:
            adj.looked = None
    e = adj.get(h, &n)
    for i in range(n):
        path_id = adj.ids(e, n)[i] if adj.addpath else 0
        # Entries of both lists stand in the order of their paths.
        for j in range(at, adj.n_fresh):
            if adj.fresh[j].attrs_h == e[i].attrs_h and (
                    not adj.addpath or adj.fresh_ids[j] == path_id):
                at = j + 1
                break
        else:
            j = adj.n_fresh
        if slot == 0 or adj.rib.sets.has(e[i].set_h, slot):
            out.append((path_id, e[i].attrs_h, e[i].set_h,
                        places[adj.fresh_ids[j]] if j < adj.n_fresh else -1))
    adj.drop_fresh()
    return out


def verdicts(AdjOut adj, uint32_t h, uint32_t slot):
    """Return (position, W_*) of each path of a prefix for one member, in the order in which paths
    are ranked for it; what cannot be used comes last."""
    cdef dict places = places_of(adj, h), looked
    cdef list given = [], before = [], out = []
    cdef uint32_t i, p_h, path_h, n_passed = 0, first_h, code
    cdef path_t *p
    if not places:
        return []
    adj.looked = looked = {}
    adj.look_slot = slot
    try:
        adj.evaluate(h)
    finally:
        adj.looked = None
    for i in range(adj.n_fresh):
        if adj.rib.sets.has(adj.fresh[i].set_h, slot):
            given.append(adj.fresh_ids[i])
    adj.drop_fresh()
    first_h = p_h = adj.first(h)
    while p_h:
        path_h = p_h
        p = adj.table.path(path_h)
        p_h = adj.following(p)
        code = barred(adj, h, p, slot)
        if path_h in given:
            code = W_NOT
            before.append(path_h)
            n_passed += 1
        elif code == 0:
            if path_h in looked:
                code = looked[path_h]
            elif adj.addpath:
                code = crowded_out(adj, path_h, before)
                if code == 0 and adj.max_paths and n_passed >= adj.max_paths:
                    code = W_LIMIT
            elif not adj.next_best and path_h != first_h:
                code = W_BETTER if given else W_NOT_BEST
            elif n_passed:
                code = W_BETTER
            if code == 0:
                code = W_FULL
        out.append((places.pop(path_h), code))
    # For a group of [[orr]] only what it can reach is ranked.
    for path_h, place in places.items():
        code = barred(adj, h, adj.table.path(path_h), slot)
        out.append((place, code if code == W_OWN or code == W_REJECTED else W_UNREACHABLE))
    return out


cdef uint32_t barred(AdjOut adj, uint32_t h, path_t *p, uint32_t slot) except? 0xFFFFFFFF:
    """Why a member may not have a path, whatever others there are; 0 if it may."""
    cdef uint32_t base, code
    if p.peer == slot:
        return W_OWN
    if p.flags & PATH_REJECTED:
        return W_REJECTED
    if p.flags & PATH_NOT_USABLE:
        return W_UNREACHABLE
    if not adj.rib.attrs.at(p.attrs_h).flags & AS_COMPILED:
        adj.rib.control.compile(p.attrs_h)
    code = adj._barred(p.peer, p.attrs_h)
    if code:
        return code
    if adj.policy is not None and not adj._passes(h, p):
        return W_POLICY
    base = adj._base(p.attrs_h)
    if not adj.rib.sets.has(base, slot):
        if adj.rib.sets.has(adj.rib.attrs.at(p.attrs_h).set_h, slot):
            return W_BLACK_HOLE
        return W_AS_LOOP if has_asn_of(adj.rib.control, p.attrs_h, slot) else W_COMMUNITY
    if not adj.rib.sets.has(adj._those_who_know(base, p), slot):
        return W_LLGR_STALE
    return 0


cdef uint32_t crowded_out(AdjOut adj, uint32_t path_h, list given) except? 0xFFFFFFFF:
    """Whether one of the paths that a member gets leaves no room for this one, W_*; 0 if not."""
    cdef uint32_t other
    for other in given:
        if adj.choice == PATHS_PER_AS and adj._first_as(other) == adj._first_as(path_h):
            return W_SAME_AS
        if adj.choice == PATHS_EQUAL and not adj._equal(other, path_h):
            return W_NOT_EQUAL
    return 0


cdef bint has_asn_of(Control control, uint32_t attrs_h, uint32_t slot) except -1:
    """Whether the AS number of a member is in AS_PATH, where that matters."""
    cdef const uint8_t *p = control.attrs.wire(attrs_h)
    cdef const uint8_t *end = p + control.attrs.at(attrs_h).wire_len
    cdef const uint8_t *v
    cdef attr_t a
    cdef uint32_t i, n
    cdef uint64_t *row
    while p < end and control.as_loop and slot < 64 * control.there.row_words:
        p += attr_next(p, &a)
        if a.type != ATTR_AS_PATH:
            continue
        v = a.value
        while v < a.value + a.len:
            n = v[1]
            v += 2
            for i in range(n):
                row = control.there.row_of(load32(v + 4 * i))
                if row != NULL and holds(row, slot):
                    return True
            v += 4 * n
    return False


cdef inline bint holds(const uint64_t *bits, uint32_t slot) noexcept nogil:
    return (bits[slot >> 6] >> (slot & 63)) & 1


def excluding(Control control, uint32_t attrs_h, uint32_t slot):
    """Return (ACT_*, KIND_*, octets) of the community value that keeps routes with these attributes
    from a member, the one that decides if there are several; None if there is none."""
    cdef const uint8_t *p = control.attrs.wire(attrs_h)
    cdef const uint8_t *end = p + control.attrs.at(attrs_h).wire_len
    cdef const rule_t *r
    cdef attr_t a
    cdef uint32_t kind, i, turn, best = 0
    cdef tuple found = None
    while p < end and control.rules is not None and slot < 64 * control.there.row_words:
        p += attr_next(p, &a)
        if a.type == ATTR_COMMUNITIES:
            kind = KIND_STANDARD
        elif a.type == ATTR_EXT_COMMUNITIES:
            kind = KIND_EXTENDED
        elif a.type == ATTR_LARGE_COMMUNITY:
            kind = KIND_LARGE
        else:
            continue
        i = 0
        while i < a.len:
            r = control.rules.find(kind, a.value + i)
            turn = turn_of(control, r, a.value + i, slot) if r != NULL else 0
            if turn > best:
                best = turn
                found = (r.action, kind, (<const char *>a.value)[i:i + 4 * (kind + 1)])
            i += 4 * (kind + 1)
    return found


cdef uint32_t turn_of(Control control, const rule_t *r, const uint8_t *v,
                      uint32_t slot) noexcept nogil:
    """How early a value comes that keeps routes from a member; 0 for one that does not."""
    cdef uint64_t *row
    cdef uint32_t at
    if r.action == ACT_DENY_ANY:
        return 1
    if r.action == ACT_DENY_LOWER or r.action == ACT_DENY_HIGHER:
        at = control.there.row_by_time(
            load16(v + r.var_at) if r.var_len == 2 else load32(v + r.var_at),
            r.action == ACT_DENY_HIGHER)
        return 2 if at != ABSENT and holds(control.there.rtt_row(at), slot) else 0
    if r.action == ACT_DENY_PEER and r.var_len:
        row = control.there.row_named(v + r.var_at, r.var_len)
        return 3 if row != NULL and holds(row, slot) else 0
    return 0
