# Structs and enums shared by the fast path; no code, no module of its own.
#
# Handles (uint32_t, name ends in _h) are indices into a slab; 0 is "none". A pointer into a slab
# lives inside one function only: any call that may add to that slab may move it.
# Numbers equal rs/iana.py; tests/test_source.py compares them.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    FAM_IPV4 = 0
    FAM_IPV6 = 1
    N_FAMILIES = 2
    FAM_NONE = 255

    MSG_OPEN = 1
    MSG_UPDATE = 2
    MSG_NOTIFICATION = 3
    MSG_KEEPALIVE = 4
    MSG_ROUTE_REFRESH = 5

    HEADER_LEN = 19
    MAX_MSG = 4096
    MAX_EXT_MSG = 65535

    ATTR_ORIGIN = 1
    ATTR_AS_PATH = 2
    ATTR_NEXT_HOP = 3
    ATTR_MED = 4
    ATTR_LOCAL_PREF = 5
    ATTR_ATOMIC_AGGREGATE = 6
    ATTR_AGGREGATOR = 7
    ATTR_COMMUNITIES = 8
    ATTR_ORIGINATOR_ID = 9
    ATTR_CLUSTER_LIST = 10
    ATTR_MP_REACH = 14
    ATTR_MP_UNREACH = 15
    ATTR_EXT_COMMUNITIES = 16
    ATTR_AS4_PATH = 17
    ATTR_AS4_AGGREGATOR = 18
    ATTR_AIGP = 26
    ATTR_LARGE_COMMUNITY = 32
    ATTR_OTC = 35

    AFLAG_OPTIONAL = 0x80
    AFLAG_TRANSITIVE = 0x40
    AFLAG_PARTIAL = 0x20
    AFLAG_EXT_LEN = 0x10

    SEG_SET = 1
    SEG_SEQUENCE = 2
    SEG_CONFED_SEQUENCE = 3
    SEG_CONFED_SET = 4

    AS_TRANS = 23456

# Outcome of decoding one UPDATE (RFC 7606 2), in rising severity.
cdef enum outcome_t:
    OUT_OK = 0
    OUT_DISCARD = 1     # attribute discard: the routes stand, an attribute was dropped
    OUT_WITHDRAW = 2    # treat-as-withdraw: every route of the UPDATE is withdrawn
    OUT_RESET = 3       # session reset with a NOTIFICATION

# attrset_t.flags: what the set holds. Kept because decisions ask for it per path.
cdef enum:
    AS_HAS_MED = 0x0001
    AS_HAS_LOCAL_PREF = 0x0002
    AS_HAS_ORIGINATOR = 0x0004
    AS_HAS_CLUSTER_LIST = 0x0008
    AS_HAS_COMMUNITIES = 0x0010     # standard, extended or large
    AS_HAS_AS_SET = 0x0020          # AS_SET or AS_CONFED_SET in AS_PATH
    AS_HAS_CONFED = 0x0040          # any confederation segment in AS_PATH
    AS_HAS_NEXT_HOP = 0x0080        # NEXT_HOP stands in the wire bytes: the set is for classic NLRI
    AS_HAS_OTC = 0x0100
    AS_HAS_AIGP = 0x0200
    AS_HAS_UNKNOWN = 0x0400         # an attribute type that this build does not know
    AS_CONTROL = 0x0800             # compiled: holds communities that are ours to act on and scrub
    AS_COMPILED = 0x1000            # set_h, own_as and the compiled flags are valid (control.pyx)
    AS_OWN_CLUSTER = 0x2000         # compiled: CLUSTER_LIST holds one of our cluster ids
    AS_OWN_ORIGINATOR = 0x4000      # compiled: ORIGINATOR_ID is our router id
    AS_BAD_NEXT_HOP = 0x8000        # compiled: next hop is ours, unspecified or no host

# attrset_t.well_known: communities that ask for something, compiled.
cdef enum:
    WK_NO_EXPORT = 0x01             # NO_EXPORT or NO_EXPORT_SUBCONFED (RFC 1997)
    WK_NO_ADVERTISE = 0x02
    WK_BLACKHOLE = 0x04             # RFC 7999, or a community configured for the same
    WK_GSHUT = 0x08                 # RFC 8326, likewise
    WK_VARIANTS = 0x10              # some members get other attributes: Control.parts()
    WK_LLGR_STALE = 0x20            # RFC 9494: the last choice
    WK_NO_LLGR = 0x40               # not to be kept for long

# What is done to attributes on the way out beyond what a Program says: a word of bits, part of the
# key of exported forms. Members with different transforms of one path get different forms.
cdef enum transform_t:
    T_PREPEND = 0x0003              # how often the source's AS number is put in front, 0 to 3
    T_NO_EXPORT = 0x0004            # add the community
    T_NO_ADVERTISE = 0x0008
    T_BLACKHOLE = 0x0010
    T_GSHUT = 0x0020
    T_HOP_IPV4 = 0x0040             # NEXT_HOP becomes that of black holes
    T_HOP_IPV6 = 0x0080
    T_PREF_0 = 0x0100               # LOCAL_PREF 0 to internal peers (RFC 8326, RFC 9494 4.6)
    T_INFORM = 0x0200               # add informational communities by the state below
    T_STATE = 0x7C00                # STATE_* of filter.pxd, shifted
    T_STATE_SHIFT = 10
    T_ROAS = 0x8000                 # the source's ROAs count as route objects

# One interned attribute set. 60 B + wire bytes (8 B granules); real tables share one among 5 to 10
# paths. The wire bytes are canonical: attributes in rising type order, each once, 4-octet AS
# numbers, Extended Length only above 255 octets, no MP_REACH_NLRI, MP_UNREACH_NLRI, AS4_PATH or
# AS4_AGGREGATOR; Partial set on unknown optional transitive ones.
cdef struct attrset_t:
    uint32_t hash           # of wire, nh and kind; seeded per process
    uint32_t refs           # owners: paths, Adj-RIB-Out entries, caches, queued messages
    uint32_t blob_h         # wire bytes in AttrTable.blob
    uint32_t nh_h           # NextHopTable handle; the next hop, whether in wire or beside it
    uint32_t first_as       # leftmost AS of a leading AS_SEQUENCE, 0 when there is none
    uint32_t origin_as      # last AS of a trailing AS_SEQUENCE, 0 when the path ends in a set
    uint32_t med            # 0 when absent
    uint32_t local_pref     # 100 when absent
    uint32_t originator     # ORIGINATOR_ID in host order, 0 when absent
    uint32_t set_h          # members that its communities and AS_PATH leave (control.pyx); 0 = all
    uint32_t derived_h      # unused by attrs: chain of exported forms (rewrite.pyx)
    uint32_t raw_h          # changed by import: the set as received, a reference owned; 0 = is raw
    uint16_t wire_len       # octets
    uint16_t flags          # AS_*
    uint16_t path_len       # AS_PATH length for the decision: sets 1, confederation segments 0
    uint16_t cluster_len    # CLUSTER_LIST entries
    uint8_t origin
    uint8_t nh_len          # 4, 16 or 32; 0 only in a set under construction
    uint8_t own_as          # compiled: times our AS number stands in AS_PATH, at most 255
    uint8_t well_known      # compiled: WK_*

# One next hop, shared by attribute sets. metric is re-read by the decision, so that a changed
# IGP metric needs no change in the sets.
cdef struct nexthop_t:
    uint8_t addr[32]        # network order; global address, then link-local if len is 32
    uint32_t metric         # IGP metric; 0xFFFFFFFF = unreachable
    uint32_t refs
    uint8_t len
    uint8_t _pad[7]
