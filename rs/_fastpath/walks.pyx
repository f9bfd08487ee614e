"""What concerns many prefixes or attribute sets at once, in stretches that can be gone on with.

In: a table or the RIB, a handle to begin at, and how many to look at; a walk begins at 1. Out:
paths that are gone, kept, or judged again; prefixes marked dirty; and the handle to go on with, 0
at the end. How long a stretch may be is the caller's business: some ten nanoseconds a prefix, and
a microsecond or more for each path that a policy judges again.

A peer's paths are not chained, so whatever concerns all of them walks the prefixes, for any number
of peers at once: a session that was lost, a refresh that has ended (RFC 7313 4, RFC 4724 4.2),
stale paths that live on (RFC 9494 4.2), rules or RPKI data that have changed (RFC 9324: nobody has
to send anything again), next hops that have moved. Nothing is kept between two stretches.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from rs._fastpath.asnset cimport AsnSet
from rs._fastpath.attrs cimport AttrTable, attr_next, attr_t
from rs._fastpath.filter cimport FILTER_MAX_PREFIX
from rs._fastpath.paths cimport (
    DEST_UNRANKED,
    PATH_GENERATION,
    PATH_REJECTED,
    PATH_STATE_SHIFT,
    path_t,
    peer_t,
)
from rs._fastpath.peers cimport is_full, note_reject
from rs._fastpath.rib cimport Rib, Table
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.trie cimport stretch_t
from rs._fastpath.types cimport AS_COMPILED, ATTR_AS_PATH, WK_LLGR_STALE, WK_NO_LLGR, attrset_t
from rs._fastpath.wire cimport load32, prefix_load

check_abi(__name__)

cdef enum:
    LLGR_STALE = 0xFFFF0006     # RFC 9494 3.2
    BELOW_STEP = 256        # prefixes of one recheck_below
    SLOT_WORDS = 1024       # words of a bit for each slot there can be


cdef int read_slots(list slots, uint64_t *mask) except -1:
    """Fill SLOT_WORDS words with the bits of these slots."""
    memset(mask, 0, SLOT_WORDS * 8)
    for slot in slots:
        mask[<uint32_t>slot >> 6] |= <uint64_t>1 << (<uint32_t>slot & 63)
    return 0


cdef inline bint is_among(const uint64_t *mask, uint32_t slot) noexcept nogil:
    return (mask[slot >> 6] >> (slot & 63)) & 1


cdef inline bint is_stale(Table table, const path_t *p) noexcept nogil:
    return (p.flags & PATH_GENERATION) != table.rib.peers[p.peer].generation[table.family]


# --- paths of peers that are gone, or begin anew --------------------------------------------------

cdef uint32_t freshen(Table table, uint32_t slot, uint32_t pos, uint32_t n) noexcept nogil:
    """Count every path of a peer as heard in its present generation."""
    cdef uint32_t p_h
    cdef peer_t *peer = &table.rib.peers[slot]
    cdef path_t *p
    cdef stretch_t s = table.trie.stretch(pos, n)
    while table.trie.step(&s):
        p_h = table.dests[s.h].paths_h
        while p_h:
            p = table.path(p_h)
            if p.peer == slot and is_stale(table, p):
                p.flags ^= PATH_GENERATION
                peer.stale[table.family] -= 1
            p_h = p.next_h
    return table.trie.behind(&s)


def purge_step(Table table not None, list slots, uint32_t pos, uint32_t n, bint only_stale=False):
    """Remove the paths of these slots from `n` prefixes from handle `pos`; return where to go
    on, 0 at the end. With only_stale only those go that have not been heard again since their
    peer began anew."""
    cdef uint64_t mask[SLOT_WORDS]
    read_slots(slots, mask)
    return table.purge(mask, only_stale, pos, n)


def settle_step(Table table not None, uint32_t slot, bint keep, uint32_t pos, uint32_t n):
    """Leave no path of a peer stale in `n` prefixes from handle `pos`: `keep` them as if heard
    again, or remove them. Returns where to go on, 0 when there are none any more."""
    cdef uint64_t mask[SLOT_WORDS]
    if table.rib.peers[slot].stale[table.family] == 0:
        return 0
    if keep:
        return freshen(table, slot, pos, n)
    read_slots([slot], mask)
    return table.purge(mask, True, pos, n)


def long_lived_step(Table table not None, uint32_t slot, uint32_t pos, uint32_t n):
    """Make a peer's stale paths the last choice, in `n` prefixes from handle `pos` (RFC 9494
    4.2): LLGR_STALE is added to them, and those with NO_LLGR go. Returns where to go on, 0 at
    the end."""
    cdef AttrTable attrs = table.rib.attrs
    cdef uint32_t p_h, prev, next_h, attrs_h, raw_h, known
    cdef path_t *p
    cdef stretch_t s = table.trie.stretch(pos, n)
    while table.trie.step(&s):
        prev = 0
        p_h = table.dests[s.h].paths_h
        while p_h:
            p = table.path(p_h)
            next_h = p.next_h
            if p.peer != slot or not is_stale(table, p):
                prev = p_h
                p_h = next_h
                continue
            # Both as it came and as policy has left it.
            raw_h = attrs.raw(p.attrs_h)
            table.rib.control.compile(raw_h)
            known = attrs.at(p.attrs_h).well_known
            if (known | attrs.at(raw_h).well_known) & WK_NO_LLGR:
                table.unlink(s.h, prev, p_h)
                table.mark(s.h)
                p_h = next_h
                continue
            if not known & WK_LLGR_STALE:
                # As if it had been received like this: policy makes the same of it again.
                attrs_h = attrs.with_community(raw_h, LLGR_STALE)
                attrs.unref(p.attrs_h)
                p.attrs_h = attrs_h
                judge(table, s.h, p)
                if not p.flags & PATH_REJECTED:
                    table.dests[s.h].flags |= DEST_UNRANKED
                    table.mark(s.h)
            prev = p_h
            p_h = next_h
    return table.trie.behind(&s)


# --- paths judged again ---------------------------------------------------------------------------

cdef int judge(Table table, uint32_t h, path_t *p) except -1:
    """Check a path again, because what it is checked against has changed; 1 if that matters."""
    cdef Rib rib = table.rib
    cdef peer_t *peer = &rib.peers[p.peer]
    cdef uint8_t state = 0
    cdef uint32_t out_h
    cdef uint32_t reason = rib.verdict(p.peer, rib.attrs.raw(p.attrs_h), table.family,
                                       table.trie.addr(h), table.trie.plen(h), &state, &out_h)
    cdef bint other = out_h != p.attrs_h
    cdef bint was = p.flags & PATH_REJECTED
    if p.flags >> PATH_STATE_SHIFT != state:
        table.note_state(h, p)
    p.flags = <uint8_t>((p.flags & ((1 << PATH_STATE_SHIFT) - 1)) | (state << PATH_STATE_SHIFT))
    rib.attrs.unref(p.attrs_h)
    p.attrs_h = out_h
    if was and not reason and is_full(peer, table.family, p.reason):
        reason = FILTER_MAX_PREFIX
    if not other and (p.reason == reason if was else not reason):
        return 0
    if was:
        note_reject(peer, table.family, p.reason, -1)
        p.flags &= <uint8_t>~PATH_REJECTED
        p.reason = 0
    if reason:
        note_reject(peer, table.family, reason, 1)
        p.flags |= PATH_REJECTED
        p.reason = <uint8_t>reason
    if was and reason:
        return 0
    table.dests[h].flags |= DEST_UNRANKED
    table.mark(h)
    return 1


def recheck_step(Table table not None, list slots, uint32_t pos, uint32_t n, bytearray only=None):
    """Check the paths of these slots again in `n` prefixes from handle `pos` (RFC 9324), with
    `only` those received with an attribute set whose bit is set. Returns where to go on, 0 at the
    end."""
    cdef const uint8_t *bits = NULL
    cdef uint32_t n_bits = 0, raw_h, p_h
    cdef uint64_t mask[SLOT_WORDS]
    cdef path_t *p
    cdef stretch_t s = table.trie.stretch(pos, n)
    if only is not None:
        bits = only
        n_bits = 8 * <uint32_t>len(only)
    read_slots(slots, mask)
    while table.trie.step(&s):
        p_h = table.dests[s.h].paths_h
        while p_h:
            p = table.path(p_h)
            p_h = p.next_h
            if is_among(mask, p.peer):
                if bits != NULL:
                    raw_h = table.rib.attrs.raw(p.attrs_h)
                    if raw_h >= n_bits or not bits[raw_h >> 3] >> (raw_h & 7) & 1:
                        continue
                judge(table, s.h, p)
    return table.trie.behind(&s)


def recheck_below(Table table not None, bytes addr, uint32_t plen, tuple after=None):
    """Check the paths of all peers again in up to 256 prefixes at or below a prefix, the first
    ones after the key `after`. Returns the key to go on after, None at the end."""
    cdef uint32_t found[BELOW_STEP]
    cdef uint8_t below[16]
    cdef uint8_t start[16]
    cdef int start_len = -1
    cdef uint32_t i, n, p_h, width = table.trie.width
    cdef path_t *p
    prefix_load(addr, plen, below, width)
    if after is not None:
        start_len = after[1]
        prefix_load(<bytes>after[0], <uint32_t>start_len, start, width)
    n = table.trie.collect(below, plen, start, start_len, found, BELOW_STEP)
    for i in range(n):
        p_h = table.dests[found[i]].paths_h
        while p_h:
            p = table.path(p_h)
            p_h = p.next_h
            judge(table, found[i], p)
    if n < BELOW_STEP:
        return None
    return table.trie.addr(found[n - 1])[:width], table.trie.plen(found[n - 1])


# --- prefixes evaluated again ---------------------------------------------------------------------

def mark_all(Table table not None, uint32_t pos, uint32_t n, bint rank=True):
    """Queue `n` prefixes from handle `pos` for evaluation, with `rank` also for ranking; return
    where to go on or 0."""
    cdef stretch_t s = table.trie.stretch(pos, n)
    while table.trie.step(&s):
        if rank:
            table.dests[s.h].flags |= DEST_UNRANKED
        table.mark(s.h)
    return table.trie.behind(&s)


def mark_hops(Table table not None, bytes hops, uint32_t pos, uint32_t n, bint rank=True):
    """Queue those of `n` prefixes from handle `pos` that have a path with one of these next
    hops, for ranking or for evaluation alone; return where to go on or 0.

    `hops` has an octet for each next-hop handle, not 0 for those that are meant.
    """
    cdef uint32_t p_h, nh_h
    cdef const uint8_t *wanted = hops
    cdef uint32_t top = <uint32_t>len(hops)
    cdef path_t *p
    cdef stretch_t s = table.trie.stretch(pos, n)
    while table.trie.step(&s):
        p_h = table.dests[s.h].paths_h
        while p_h:
            p = table.path(p_h)
            p_h = p.next_h
            if p.flags & PATH_REJECTED:
                continue
            nh_h = table.rib.attrs.at(p.attrs_h).nh_h
            if nh_h < top and wanted[nh_h]:
                if rank:
                    table.dests[s.h].flags |= DEST_UNRANKED
                table.mark(s.h)
                break
    return table.trie.behind(&s)


def count_hops(Table table not None, bytearray counts, uint32_t pos, uint32_t n):
    """Add up the paths in use by next hop over `n` prefixes from handle `pos`; return where to
    go on or 0. `counts` has a uint32 of the machine's for each next-hop handle."""
    cdef uint32_t p_h, nh_h
    cdef uint8_t *octets = counts
    cdef uint32_t *count = <uint32_t *>octets
    cdef uint32_t top = <uint32_t>len(counts) >> 2
    cdef path_t *p
    cdef stretch_t s = table.trie.stretch(pos, n)
    while table.trie.step(&s):
        p_h = table.dests[s.h].paths_h
        while p_h:
            p = table.path(p_h)
            p_h = p.next_h
            nh_h = table.rib.attrs.at(p.attrs_h).nh_h
            if nh_h < top and not p.flags & PATH_REJECTED:
                count[nh_h] += 1
    return table.trie.behind(&s)


# --- attribute sets -------------------------------------------------------------------------------

def find_ases(Rib rib not None, AsnSet asns not None, bytearray found not None, uint32_t pos,
              uint32_t n):
    """Set the bits of attribute sets whose AS_PATH holds one of these AS numbers.

    `n` sets from handle `pos`; bit h of `found` is that of handle h, and it grows as needed.
    Returns where to go on, 0 at the end.
    """
    cdef uint32_t h, _i, count
    cdef uint32_t end = (rib.attrs.sets.top if n >= rib.attrs.sets.top - pos else pos + n)
    cdef const uint8_t *p
    cdef const uint8_t *stop
    cdef const uint8_t *v
    cdef uint8_t *bits
    cdef attr_t a
    cdef bint has
    if len(found) * 8 < end:
        found.extend(bytes((end >> 3) + 1 - len(found)))
    bits = found
    for h in range(pos, end):
        if rib.attrs.at(h).refs == 0:
            continue
        p = rib.attrs.wire(h)
        stop = p + rib.attrs.at(h).wire_len
        has = False
        while p < stop:
            p += attr_next(p, &a)
            if a.type != ATTR_AS_PATH:
                continue
            v = a.value
            while v < a.value + a.len:
                count = v[1]
                v += 2
                for _i in range(count):
                    has = has or asns.has(load32(v))
                    v += 4
        if has:
            bits[h >> 3] |= <uint8_t>(1 << (h & 7))
    return end if end < rib.attrs.sets.top else 0


def recompile(Rib rib not None, uint32_t pos, uint32_t n, bint forms=False):
    """Compile `n` attribute sets anew from handle `pos`, because the peers have changed.

    With `forms` what communities mean has changed too: exported forms made so far are given up.
    Returns (where to go on or 0, whether any set says something else about members).
    """
    cdef uint32_t h
    cdef uint32_t end = rib.attrs.sets.top if n >= rib.attrs.sets.top - pos else pos + n
    cdef bint changed = False
    cdef attrset_t *s
    for h in range(pos, end):
        s = rib.attrs.at(h)
        if s.refs and s.flags & AS_COMPILED:
            rib.attrs.ref(h)        # its own forms may be the last to refer to it
            changed = rib.control.renew(h) or changed
            if forms and rib.attrs.at(h).derived_h and rib.drop_forms != NULL:
                rib.drop_forms(rib.attrs.release_ctx, h)
            rib.attrs.unref(h)
    return (end if end < rib.attrs.sets.top else 0, changed)
