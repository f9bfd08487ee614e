# Structs and enums of the RIB: paths, prefixes, peers; no code, no module of its own.
#
# Apart from rib.pxd so that the decision process can look at paths without knowing the tables.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    PATH_REJECTED = 0x01        # by import; reason holds the RejectReason
    PATH_GENERATION = 0x02      # parity of peer_t.generation when the path was last heard
    PATH_NOT_USABLE = 0x04      # next hop unreachable at the last ranking
    PATH_STATE_SHIFT = 3        # the bits from here up: what the filter found out, see filter.pxd

    DEST_DIRTY = 0x01           # stands in Table.dirty
    DEST_UNRANKED = 0x02        # the order of its paths is not that of the decision process
    DEST_ZOMBIE = 0x08          # stands in Table.zombies
    DEST_USABLE = 0x04          # its first path was in use at the last ranking

    PEER_RS_CLIENT = 0          # eBGP, transparent
    PEER_EBGP = 1
    PEER_IBGP = 2               # neither client of ours nor we of it
    PEER_RR_CLIENT = 3

    ROLE_NONE = 0               # what we are to a peer (RFC 9234): 1 + its number in the OPEN
    ROLE_PROVIDER = 1
    ROLE_RS = 2
    ROLE_RS_CLIENT = 3          # from here on the peer's routes are for our customers only
    ROLE_CUSTOMER = 4
    ROLE_PEER = 5

    ASKS_GSHUT = 0x01           # RFC 8326: paths that ask for it get LOCAL_PREF 0
    ASKS_ROAS = 0x02            # a valid ROA stands for a route object (filter.pxd)

    LIMIT_RECEIVED = 0
    LIMIT_ACCEPTED = 1
    LIMIT_TAGGED = 2            # accepted ones, and those that are rejected by a tag (filtered)

    N_REASONS = 96
    FIRST_RULE = 18             # RejectReason of the operator's rules: from here to LAST_RULE,
    LAST_RULE = 27
    FIRST_FILTER = 32           # and from here on

    REFRESH_UNDER_WAY = 1       # between BoRR and EoRR (RFC 7313): paths not heard again are stale
    REFRESH_ENDED = 2           # stale paths are being purged
    REFRESH_RESTART = 3         # the session was lost (RFC 4724): paths of before are stale

    LLGR_SAID = 1               # we have said that we know long-lived graceful restart (RFC 9494)
    LLGR_HEARD = 2              # the peer has
    LLGR_PARTIAL = 4            # it has not, and is sent long-lived stale paths all the same (4.6)

    REFRESH_BEGUN = 0           # what becomes of a BoRR: paths are stale from here on
    REFRESH_UNSETTLED = 1       # walks.settle_step first
    REFRESH_IGNORED = 2         # no End-of-RIB yet (RFC 7313 4)

# One path: a peer's offer for a prefix. 20 B each.
cdef struct path_t:
    uint32_t next_h             # next path of the prefix, best first; rejected ones last
    uint32_t attrs_h            # attribute set; the path owns a reference
    uint32_t path_id            # as received (RFC 7911), 0 without ADD-PATH
    uint32_t ticks              # when it came, 1/16 s since start; compare by difference
    uint16_t peer               # slot
    uint8_t flags               # PATH_*
    uint8_t reason              # RejectReason if rejected, else Decided against the path before it

# What belongs to a prefix, beside its key in the trie. 8 B each, indexed by trie handle.
cdef struct dest_t:
    uint32_t paths_h            # the best path, 0 = none
    uint16_t n_paths
    uint8_t flags               # DEST_*
    uint8_t _pad

# What the engine knows of a peer. Slot 0 is nobody.
cdef struct peer_t:
    uint32_t asn
    uint32_t router_id          # of the present session, host order
    uint8_t addr[16]            # transport address, IPv4 left-aligned, for the last tie-break
    uint8_t addr_len            # 0 = slot free
    uint8_t kind                # PEER_*
    uint8_t first_as            # check that AS_PATH starts with asn
    uint8_t reject_as_set       # RFC 9774
    uint8_t allow_own_as        # how often our own AS may stand in AS_PATH
    uint8_t generation[2]       # by family: PATH_GENERATION or 0; turned when a refresh begins
    uint8_t refresh[2]          # by family: REFRESH_*
    uint8_t long_lived          # LLGR_*
    uint8_t limit_accepted      # what limit counts: LIMIT_*
    uint8_t role                # ROLE_*, ours towards it
    uint8_t asked               # ASKS_GSHUT, ASKS_ROAS: what its filter is asked for
    uint8_t closed              # no import policy: nothing is accepted (RFC 8212)
    uint8_t _pad[2]
    uint32_t limit[2]           # paths beyond are kept rejected, by family; 0 = no limit
    uint32_t blocked[2]         # paths rejected for that reason
    uint32_t path_limit[2]      # paths of one prefix that are entered, by family
    uint32_t refused[2]         # paths not entered because of that
    uint32_t cluster_id         # of a reflector's client: its cluster, host order
    uint32_t received[2]        # paths in the Adj-RIB-In, by family
    uint32_t rejected[2]        # of these, rejected
    uint32_t stale[2]           # of these, not heard in the present generation
    uint32_t filtered[2]        # of the rejected, those that a rule of the operator's refuses
    uint32_t by_reason[96]      # rejected paths by RejectReason, N_REASONS

cdef struct options_t:
    uint8_t med_always          # compare MED between different neighboring ASes
    uint8_t med_deterministic   # group by neighboring AS first
    uint8_t prefer_oldest       # RFC 5004: between eBGP paths the one received first
    uint8_t _pad
