"""The shapes of what the API answers, as typed dictionaries.

They are the one source for three things: mypy holds `show` to them, `openapi` describes them to
others (`Annotated` texts become descriptions), and tests compare real answers with that
description. Names that end in `_s`, `_ms` and `_bytes` give the unit; a `family` is a label such as
`ipv4-unicast`, and keys of `families` are such labels.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from rs.reasons import AspaState, IrrState, RpkiState  # noqa: TC001 - openapi looks at them

StateName = Literal["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"]
"""RFC 4271 8.2.2."""
NeighborType = Literal["rs-client", "ebgp", "ibgp", "rr-client"]
PathState = Literal["best", "usable", "unreachable", "rejected"]
Match = Literal["longest", "exact", "longer"]
RoutesView = Literal["best", "received", "accepted", "rejected", "advertised"]
DeliveryState = Literal["sent", "sending", "waiting", "withdrawing", "withheld"]
RestartPhase = Literal["restarting", "long-lived", "synchronizing"]
"""The neighbor is away; is away for longer; is back, without its End-of-RIB (restart.Phase)."""
MemberState = Literal["walk", "live", "resync", "down"]


class Error(TypedDict):
    """What went wrong."""

    error: Annotated[str, "in words, for the operator"]
    problems: NotRequired[Annotated[list[str], "faults of a configuration, all of them"]]


class Ok(TypedDict):
    """An action was carried out."""

    ok: Annotated[str, "what was done, in words"]


# --- status -----------------------------------------------------------------------------------


class NeighborTotals(TypedDict):
    """Neighbors by what they are up to."""

    total: int
    established: int


class TableStatus(TypedDict):
    """One family's table."""

    prefixes: Annotated[int, "prefixes with any path, rejected ones included"]
    usable: Annotated[int, "prefixes with a best path"]
    paths: Annotated[int, "paths of all neighbors, rejected ones included"]
    dirty: Annotated[int, "changed prefixes that wait for their evaluation"]
    changes: Annotated[int, "updates and withdrawals that changed something, since the start"]
    bytes: Annotated[int, "memory of the table"]
    groups: Annotated[int, "groups of neighbors that are sent the same bytes"]


class SliceBucket(TypedDict):
    """Slices of work by how long they held the loop."""

    up_to_ms: Annotated[float | None, "upper bound; null for the rest"]
    slices: int


class NextHopStatus(TypedDict):
    """Where metric and reachability of next hops come from."""

    source: Literal["none", "static", "kernel"]
    known: Annotated[int, "next hops that attribute sets have"]
    unreachable: Annotated[int, "of these"]
    changes: Annotated[int, "metrics that have changed so far"]
    kernel: Annotated[
        Literal["in-step", "lost", "never-read"] | None,
        "whether its changes arrive; lost: routes are as old as that; null where it is not asked",
    ]
    kernel_prefixes: Annotated[int | None, "prefixes in the kernel's table"]
    faults: Annotated[list[str], "files of [[orr]] that cannot be used now"]


class StartupStatus(TypedDict):
    """What a start waits for before anything is announced (RFC 4724 4.1)."""

    waiting_for: Annotated[list[str], "`rpki`, or addresses of neighbors without End-of-RIB"]
    left_s: Annotated[float, "until it waits no longer"]


class Status(TypedDict):
    """The daemon as a whole."""

    version: str
    role: Literal["route-server", "route-reflector"]
    asn: int
    router_id: str
    uptime_s: float
    rss_bytes: Annotated[int, "resident memory of the process"]
    prefixes: Annotated[int, "of all families"]
    paths: Annotated[int, "of all families"]
    attribute_sets: Annotated[int, "distinct attribute sets in use"]
    attribute_bytes: Annotated[int, "memory of the attribute sets"]
    member_sets: Annotated[int, "distinct sets of neighbors that routes go to"]
    groups: Annotated[int, "groups of neighbors that are sent the same bytes"]
    jobs: Annotated[int, "long jobs not finished, such as the paths of a lost neighbor"]
    startup: Annotated[StartupStatus | None, "null once routes are chosen and announced"]
    longest_slice_ms: Annotated[float, "longest time that a slice of work held the loop"]
    slices: list[SliceBucket]
    neighbors: NeighborTotals
    next_hops: NextHopStatus
    families: dict[str, TableStatus]


# --- RPKI -------------------------------------------------------------------------------------

CacheState = Literal[
    "in sync", "asked", "receiving", "idle", "closed", "waiting", "not needed", "leaving"
]


class RpkiCache(TypedDict):
    """One RPKI cache that speaks RTR (RFC 8210)."""

    name: Annotated[str, "host and port"]
    preference: Annotated[int, "lower is asked first"]
    state: Annotated[
        CacheState,
        "waiting: for the next attempt; not needed: a preferred one is in sync; idle: connected, "
        "without data; leaving: no longer configured, its data in use until others are there",
    ]
    version: Annotated[int | None, "of the protocol; null without a connection"]
    session_id: int | None
    serial: Annotated[int | None, "of the data in use; null without any"]
    vrps: int
    aspas: int
    updated_s: Annotated[float | None, "since its data were last complete; null without any"]
    expires_s: Annotated[float | None, "until they are no longer used; null without any"]
    refresh_s: Annotated[int, "between queries"]
    last_error: Annotated[str, "may be empty"]


class RpkiFile(TypedDict):
    """One VRP file."""

    path: str
    vrps: int
    aspas: int
    age_s: Annotated[float | None, "of the contents in use, by the file's time; null without any"]
    read_s: Annotated[float | None, "since they were read"]
    last_error: Annotated[str, "why it could not be read the last time; may be empty"]


class Rpki(TypedDict):
    """RPKI data in use, and where they come from."""

    ready: Annotated[bool, "there are data; without, nothing is validated"]
    vrps_ipv4: Annotated[int, "each once, however many sources say it"]
    vrps_ipv6: int
    aspas: Annotated[int, "customer ASes with an attestation"]
    bytes: Annotated[int, "memory of the tables"]
    pending: Annotated[int, "changes whose paths are still to be judged again"]
    caches: list[RpkiCache]
    files: list[RpkiFile]


# --- neighbors --------------------------------------------------------------------------------


class NeighborFamily(TypedDict):
    """One family of one neighbor."""

    negotiated: Annotated[bool, "agreed on in the present session"]
    received: Annotated[int, "paths in the Adj-RIB-In, rejected ones included"]
    accepted: int
    rejected: int
    refused: Annotated[int, "paths not taken in, beyond what it may have for one prefix (RFC 7911)"]
    advertised: Annotated[int, "prefixes that it has or is being sent; paths with ADD-PATH"]
    end_of_rib: Annotated[bool, "the neighbor has sent its End-of-RIB (RFC 4724)"]
    stale: Annotated[int, "paths not heard since the session was lost or a refresh began"]
    restart: Annotated[RestartPhase | None, "why routes of a lost session are kept; null: none are"]
    restart_s: Annotated[float | None, "until that ends by itself"]
    sending: Annotated[MemberState, "walk: the whole table; resync: fell behind; live: changes"]
    lag_bytes: Annotated[int, "of the group's log not sent yet, what is for others included"]
    resyncs: Annotated[int, "times it fell behind in this session"]


class Messages(TypedDict):
    """Messages by type."""

    open: int
    update: int
    notification: int
    keepalive: int
    route_refresh: int
    total: int


class MessageCounts(TypedDict):
    """Messages of all sessions since the start."""

    received: Messages
    sent: Messages


class Updates(TypedDict):
    """What the UPDATEs of the present or last session held."""

    announced: Annotated[int, "NLRI"]
    withdrawn: Annotated[int, "NLRI"]
    attribute_discard: Annotated[int, "UPDATEs with an attribute discarded (RFC 7606)"]
    treat_as_withdraw: Annotated[int, "UPDATEs whose routes were withdrawn (RFC 7606)"]


class Negotiated(TypedDict):
    """What both sides agreed on."""

    hold_time_s: int
    keepalive_s: float
    four_octet_as: bool
    extended_message: bool
    route_refresh: bool
    enhanced_route_refresh: bool
    addpath_receive: Annotated[list[str], "families"]
    addpath_send: Annotated[list[str], "families"]
    paths_limit: Annotated[dict[str, int], "paths of a prefix that it takes, by family"]
    extended_next_hop: Annotated[list[str], "families"]
    role: Annotated[str, "what the neighbor says it is to us (RFC 9234); may be empty"]
    hostname: Annotated[str, "from the neighbor's FQDN capability"]


class Fault(TypedDict):
    """A malformed UPDATE."""

    outcome: Literal["attribute-discard", "treat-as-withdraw", "session-reset"]
    attribute: Annotated[int | None, "attribute type at fault"]
    subcode: Annotated[int, "UPDATE Message Error subcode (RFC 4271 6.3), 0 for none"]
    octets: Annotated[str, "the message's body in hexadecimal, at most its first 4,096 octets"]


class Neighbor(TypedDict):
    """One neighbor, configured or come from a range."""

    address: str
    asn: Annotated[int, "0 while a range leaves it open"]
    description: str
    type: NeighborType
    cluster_id: Annotated[str | None, "of a reflector's client (RFC 4456 7)"]
    dynamic: Annotated[bool, "come from a range"]
    local_role: Annotated[str, "what we are to it (RFC 9234); none for no role"]
    enabled: bool
    state: StateName
    uptime_s: Annotated[float, "of the present session; 0 without one"]
    state_s: Annotated[float, "time in the present state"]
    router_id: Annotated[str | None, "BGP Identifier of the present session"]
    flaps: Annotated[int, "times that an established session went down"]
    last_error: Annotated[str, "why the last session ended or could not begin; may be empty"]
    capabilities: Annotated[list[str], "as sent by the neighbor, in words"]
    negotiated: Annotated[Negotiated | None, "null without a session"]
    messages: MessageCounts
    updates: Updates
    rejects: Annotated[dict[str, int], "rejected paths by reason"]
    transit_free: Annotated[
        dict[str, int],
        "AS numbers of transit-free networks let through with a warning: times seen at import",
    ]
    lag_bytes: Annotated[int, "the largest of its families"]
    families: dict[str, NeighborFamily]
    faults: NotRequired[Annotated[list[Fault], "the last malformed UPDATEs; one neighbor only"]]


# --- routes -----------------------------------------------------------------------------------


class Aggregator(TypedDict):
    """Who formed an aggregate."""

    asn: int
    address: str


class UnknownAttribute(TypedDict):
    """An attribute that is carried and not understood."""

    flags: int
    type: int
    value: Annotated[str, "hexadecimal"]


class Segment(TypedDict):
    """A part of an AS path that is no plain sequence."""

    type: Literal["set", "confed-sequence", "confed-set"]
    asns: list[int]


class Attributes(TypedDict, total=False):
    """The path attributes that are there."""

    origin: Literal["IGP", "EGP", "incomplete"]
    as_path: Annotated[list[int | Segment], "AS numbers, leftmost first"]
    next_hop: str
    link_local: Annotated[str, "link-local next hop beside a global one"]
    med: int
    local_pref: int
    atomic_aggregate: bool
    aggregator: Aggregator
    communities: Annotated[list[str], "as `64500:1`"]
    ext_communities: Annotated[list[str], "as `rt:64500:1`, or 16 hexadecimal digits"]
    large_communities: Annotated[list[str], "as `64500:1:2`"]
    originator_id: str
    cluster_list: list[str]
    otc: Annotated[int, "Only to Customer (RFC 9234)"]
    aigp: Annotated[int, "accumulated metric (RFC 7311)"]
    unknown: list[UnknownAttribute]


class Delivery(TypedDict):
    """What becomes of a prefix for one neighbor."""

    neighbor: Annotated[str, "the neighbor that was asked about"]
    state: DeliveryState
    reason: Annotated[str | None, "why it is not simply sent"]
    why: Annotated[str, "the same in words"]


class PathDelivery(TypedDict):
    """What becomes of a path for one neighbor."""

    state: DeliveryState
    reason: Annotated[str | None, "why it is not simply sent"]
    why: Annotated[str, "the same in words"]
    policy: NotRequired[Annotated[str, "name of the export policy that withholds it"]]
    term: NotRequired[Annotated[str, "its term; `default` is what it says of the rest"]]
    community: NotRequired[Annotated[str, "the value that withholds it"]]
    attributes: NotRequired[Annotated[Attributes, "as sent"]]


class Path(TypedDict):
    """One neighbor's offer for a prefix."""

    neighbor: Annotated[str | None, "address; null while a removed neighbor's paths go"]
    asn: int
    description: str
    path_id: Annotated[int, "as received (RFC 7911); 0 without ADD-PATH"]
    best: bool
    state: PathState
    decided_by: Annotated[
        str | None,
        "step of the decision process that put it behind the path before it; for the best path "
        "the step that put the next one behind it; null where there was nothing to decide",
    ]
    reject_reason: Annotated[str | None, "null unless rejected or unreachable"]
    why: Annotated[str, "the same in words"]
    rpki: Annotated[RpkiState, "origin validation at import (RFC 6811)"]
    irr: Annotated[IrrState, "whether the neighbor's IRR data hold prefix and origin"]
    aspa: Annotated[AspaState, "of the AS_PATH as received, by the ASPAs there are now"]
    age_s: Annotated[float, "since it was received"]
    stale: Annotated[bool, "not heard since the session was lost, or since a refresh began"]
    attributes: Attributes
    received: NotRequired[
        Annotated[Attributes, "as the neighbor sent them, if import policy has changed them"]
    ]
    advertised_to: Annotated[int, "neighbors that have this path"]
    reject_communities: NotRequired[
        Annotated[list[str], "what it is tagged with, where reject_policy asks for that"]
    ]
    members: NotRequired[Annotated[list[str], "their addresses, if asked for"]]
    to: NotRequired[Annotated[PathDelivery, "for the neighbor that was asked about"]]


class Route(TypedDict):
    """A prefix with all its paths, best first."""

    prefix: str
    family: str
    usable: Annotated[bool, "it has a best path"]
    advertised_to: Annotated[int, "neighbors that have the prefix by any path"]
    to: NotRequired[Annotated[Delivery, "for the neighbor that was asked about"]]
    paths: list[Path]


class RouteAnswer(TypedDict):
    """What was found for an address or a prefix."""

    query: str
    match: Match
    routes: Annotated[
        list[Route],
        "longest: from the longest match on, up to the first with a usable path; may be empty",
    ]


class RouteItem(TypedDict):
    """One path, in a list of many."""

    prefix: str
    neighbor: Annotated[str | None, "from whom it was received; null where that is not known"]
    asn: int
    path_id: Annotated[int, "as received; for advertised as sent; 0 without ADD-PATH"]
    state: Annotated[
        PathState | Literal["outdated"],
        "of the path as received; `outdated` if it has gone since it was advertised",
    ]
    decided_by: str | None
    reject_reason: str | None
    why: str
    rpki: RpkiState
    irr: IrrState
    aspa: AspaState
    age_s: Annotated[float | None, "since it was received; null if outdated"]
    stale: Annotated[bool, "not heard since the session was lost, or since a refresh began"]
    attributes: Annotated[Attributes, "as import left them, or as advertised"]
    reject_communities: NotRequired[
        Annotated[list[str], "what it is tagged with, where reject_policy asks for that"]
    ]
    received: NotRequired[
        Annotated[Attributes, "as the neighbor sent them, if import policy has changed them"]
    ]


JsonSchema = dict[str, Any]


# --- next hops --------------------------------------------------------------------------------


class NextHop(TypedDict):
    """A next hop that paths have."""

    address: str
    metric: Annotated[int | None, "null where it cannot be reached"]
    source: Literal["none", "static", "kernel"]
    route: Annotated[str | None, "the prefix that decides, of [[igp]] or of the kernel"]
    gateway: Annotated[str | None, "null where it is on the interface's own network"]
    interface: str | None
    paths: Annotated[int, "that are not rejected"]
    attribute_sets: Annotated[int, "that have it, exported forms included"]
    orr: Annotated[dict[str, int | None], "metric for each group of [[orr]]; null: unreachable"]
