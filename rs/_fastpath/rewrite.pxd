# Attribute sets as they leave: what each role adds, removes and changes. See rewrite.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from rs._fastpath.arena cimport slab_t
from rs._fastpath.attrs cimport attr_t
from rs._fastpath.edits cimport Edits
from rs._fastpath.paths cimport ROLE_RS_CLIENT, peer_t
from rs._fastpath.rib cimport Rib
from rs._fastpath.types cimport AS_HAS_OTC

cdef enum:
    PROG_RS = 0         # route server to its client: transparent (RFC 7947 2.2)
    PROG_EBGP = 1       # plain eBGP (RFC 4271 5.1)
    PROG_IBGP = 2       # iBGP to a peer that is no client (RFC 4456 for routes of clients)
    PROG_RR = 3         # iBGP to a client of ours

# One exported form of an attribute set, chained from attrset_t.derived_h. 24 B.
cdef struct derived_t:
    uint32_t next_h
    uint32_t program        # Program.number, whether reflected, whether it has the source's OTC
    uint32_t source         # what it depends on of the source: its router id, or its AS number
    uint32_t cluster        # cluster of the source where the form names it beside our own, else 0
    uint32_t transform      # T_* of types.pxd
    uint32_t out_h          # owns a reference, unless it is the set itself

# Octets of communities to add to one route, by kind: informational ones, and those of T_*.
cdef struct additions_t:
    uint8_t value[3][320]
    uint32_t len[3]

cdef inline uint32_t ingress_otc(const peer_t *source, uint32_t flags) noexcept nogil:
    """The ONLY_TO_CUSTOMER that routes of a source carry beyond what they came with, 0 for none.

    RFC 9234 5, ingress 3: routes of a provider, a peer or a route server are marked as if they had
    done it themselves. That shows when they leave us; the Adj-RIB-In has what was received.
    """
    return source.asn if source.role >= ROLE_RS_CLIENT and not flags & AS_HAS_OTC else 0

cdef enum:
    FORM_EDITED = 0x80000000    # derived_t.program: the rest is a chain of edits (edits.pxd)

cdef class Program

cdef class Rewriter:
    """Derives exported forms and keeps each with its source set, until that set goes."""

    cdef Rib rib
    cdef slab_t derived         # derived_t
    cdef uint8_t *buf           # scratch: one attribute block
    cdef uint8_t *path          # scratch: one AS_PATH

    cdef uint32_t derive(self, Program program, uint32_t attrs_h, uint32_t source,
                         uint32_t transform) except 0
    cdef uint32_t adjust(self, Edits edits, uint32_t out_h, uint32_t chain) except? 0
    cdef bint _keeps(self, uint32_t attrs_h, uint32_t other_h, uint32_t depth) noexcept nogil
    cdef uint32_t _build(self, Program program, uint32_t attrs_h, bint reflected,
                         uint32_t originator, uint32_t cluster, uint32_t otc,
                         uint32_t source_asn, uint32_t transform) except 0
    cdef void _add(self, uint32_t transform, uint32_t source_asn, uint32_t origin_asn,
                   additions_t *out) noexcept nogil
    cdef uint8_t *_communities(self, uint8_t *o, const attr_t *a, uint32_t kind, bint scrub,
                               const additions_t *more) noexcept nogil

cdef class Program:
    """What happens to attributes on the way to one kind of peer; equal content, equal program."""

    cdef readonly uint32_t number       # given by the owner; part of the key of cached forms
    cdef readonly uint32_t kind         # PROG_*
    cdef uint32_t local_asn
    cdef readonly uint32_t cluster_id   # of the peers it is for, host order
    cdef uint8_t next_hop[16]           # next hop self, where next_hop_len is not 0
    cdef uint8_t next_hop_len
    cdef readonly bint honor_well_known  # NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED are obeyed
    cdef readonly uint32_t role         # ROLE_*, ours towards the peers (RFC 9234)
    cdef bint closed                    # nothing is announced at all (RFC 8212)
    cdef bint prepend                   # our AS goes in front of AS_PATH
    cdef bint marks                     # routes get ONLY_TO_CUSTOMER with our AS number
    cdef bint upwards                   # routes with ONLY_TO_CUSTOMER must not go there
