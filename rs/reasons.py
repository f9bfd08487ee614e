"""Why import rejects a path, in words; and what it found out about it.

In: numbers as the RIB keeps them (RejectReason, state bits of filter.pxd). Out: text for people,
with the reject codes that members know: that of ARouteServer, and the euro-ix large community.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from rs.iana import RejectReason

RpkiState = Literal["valid", "unknown", "invalid", "not-checked"]
AspaState = Literal["valid", "unknown", "invalid", "not-checked"]
IrrState = Literal["valid", "invalid", "not-checked"]


class Withheld(IntEnum):
    """Why a neighbor does not get a path, as the fast path has it (W_*)."""

    NOT = 0
    OWN = 1
    REJECTED = 2
    UNREACHABLE = 3
    NO_EXPORT_POLICY = 4
    ROLE = 5
    NON_CLIENT = 6
    CLIENT_TO_CLIENT = 7
    NO_ADVERTISE = 8
    NO_EXPORT = 9
    POLICY = 10
    LLGR_STALE = 11
    AS_LOOP = 12
    COMMUNITY = 13
    BLACK_HOLE = 14
    BETTER_PATH = 15
    NOT_BEST = 16
    SAME_AS = 17
    NOT_EQUAL = 18
    LIMIT = 19
    TOO_LONG = 20
    FULL = 21
    EXTENDED_NEXT_HOP = 22


ARS_CODES = 64
"""A filter's RejectReason less its ARouteServer code."""
EURO_IX = {
    RejectReason.FIRST_AS: 7,
    RejectReason.NEXT_HOP_INVALID: 8,
    RejectReason.FILTER_BLACKHOLE_LENGTH: 1,
    RejectReason.FILTER_AS_PATH_LENGTH: 5,
    RejectReason.FILTER_BOGON_PREFIX: 3,
    RejectReason.FILTER_BLACK_LIST: 3,
    RejectReason.FILTER_NEXT_HOP: 8,
    RejectReason.FILTER_BOGON_ASN: 4,
    RejectReason.FILTER_TRANSIT_FREE: 14,
    RejectReason.FILTER_IRR_ORIGIN: 10,
    RejectReason.FILTER_NOT_GLOBAL_UNICAST: 3,
    RejectReason.FILTER_NEIGHBOR_BLACK_LIST: 3,
    RejectReason.FILTER_IRR_PREFIX: 9,
    RejectReason.FILTER_PREFIX_LENGTH: 1,
    RejectReason.FILTER_RPKI_INVALID: 13,
    RejectReason.FILTER_COMMUNITIES: 15,
}
"""Last number of the large community RS:1101:x (euro-ix, version 1.1)."""
ARS_LAST = RejectReason.FILTER_NEVER_VIA_ROUTE_SERVER
"""Reasons beyond have no ARouteServer code."""

WORDS = {
    RejectReason.AS_LOOP: "our own AS is in AS_PATH",
    RejectReason.FIRST_AS: "AS_PATH does not begin with the neighbor's AS",
    RejectReason.AS_SET: "AS_PATH holds an AS_SET",
    RejectReason.NEXT_HOP_INVALID: "NEXT_HOP is ours or no host's",
    RejectReason.NEXT_HOP_UNREACHABLE: "NEXT_HOP is unreachable",
    RejectReason.ORIGINATOR_LOOP: "ORIGINATOR_ID is our router id",
    RejectReason.CLUSTER_LOOP: "our cluster id is in CLUSTER_LIST",
    RejectReason.CONFED_SEGMENT: "AS_PATH holds confederation segments",
    RejectReason.OTC_LEAK: "a route leak: ONLY_TO_CUSTOMER must not come from this neighbor",
    RejectReason.NO_IMPORT_POLICY: "no import policy is configured for the neighbor (RFC 8212)",
    RejectReason.ASPA_INVALID: "ASPA invalid: AS_PATH is a leak or not possible",
    RejectReason.POLICY_REJECT: "refused by policy",
    RejectReason.POLICY_TOO_LONG: "what policies add makes the attributes too long",
    RejectReason.FILTER_BLACKHOLE_LENGTH: "the prefix is too long or too short for a black hole",
    RejectReason.FILTER_AS_PATH_LENGTH: "AS_PATH is too long",
    RejectReason.FILTER_BOGON_PREFIX: "the prefix is a bogon",
    RejectReason.FILTER_BLACK_LIST: "the prefix is on the black list",
    RejectReason.FILTER_NEXT_HOP: "NEXT_HOP is not the neighbor's",
    RejectReason.FILTER_BOGON_ASN: "AS_PATH holds a bogon AS number",
    RejectReason.FILTER_TRANSIT_FREE: "AS_PATH holds a transit-free network",
    RejectReason.FILTER_IRR_ORIGIN: "the origin AS is not in the neighbor's AS-SET",
    RejectReason.FILTER_NOT_GLOBAL_UNICAST: "the prefix is not in 2000::/3",
    RejectReason.FILTER_NEIGHBOR_BLACK_LIST: "the prefix is on the neighbor's black list",
    RejectReason.FILTER_IRR_PREFIX: "the prefix is not in the neighbor's AS-SET",
    RejectReason.FILTER_PREFIX_LENGTH: "the prefix is too long or too short",
    RejectReason.FILTER_RPKI_INVALID: "RPKI invalid",
    RejectReason.FILTER_NEVER_VIA_ROUTE_SERVER: (
        "AS_PATH holds a network that never comes by a route server"
    ),
    RejectReason.FILTER_COMMUNITIES: "there are too many communities",
    RejectReason.FILTER_MAX_PREFIX: "beyond the neighbor's limit of prefixes",
}

REJECT_CODES = {
    RejectReason.FIRST_AS: 6,
    RejectReason.NEXT_HOP_INVALID: 5,
    RejectReason.FILTER_BLACKHOLE_LENGTH: 13,
}
"""Codes of reasons that are not a filter's; the others have 0, "unspecified"."""

STATE_SHIFT = 3
"""Flags of a path from here up are the filter's, see rib.pxd and filter.pxd."""
_IRR_ORIGIN, _IRR_PREFIX, _IRR_CHECKED = 0x04, 0x08, 0x10
_RPKI: tuple[RpkiState, ...] = ("not-checked", "valid", "unknown", "invalid")


def reject_code(number: int) -> int:
    """Return the code that goes into the community reject_cause: ARouteServer's, where it has one.

    16 and 17, too many communities and too many prefixes, are ours.
    """
    if number > ARS_CODES:
        return number - ARS_CODES
    return REJECT_CODES.get(RejectReason(number), 0) if number in set(RejectReason) else 0


def reject_words(number: int) -> str:
    """Return a RejectReason in words, with the codes that go with it."""
    try:
        reason = RejectReason(number)
        words = WORDS[reason]
    except (ValueError, KeyError):
        return f"reason {number}"
    codes = []
    if ARS_CODES < reason <= ARS_LAST or reason in REJECT_CODES:
        codes.append(f"reject code {reject_code(reason)}")
    if reason in EURO_IX:
        codes.append(f"RS:1101:{EURO_IX[reason]}")
    return f"{words} ({', '.join(codes)})" if codes else words


def rpki_state(flags: int) -> RpkiState:
    """Return the RPKI state that import noted in a path's flags (RFC 6811)."""
    return _RPKI[flags >> STATE_SHIFT & 3]


def irr_state(flags: int) -> IrrState:
    """Return whether origin and prefix were found in the neighbor's IRR data."""
    state = flags >> STATE_SHIFT
    if not state & _IRR_CHECKED:
        # A white list of routes let it in, see filter.pxd.
        return "invalid" if state & (_IRR_ORIGIN | _IRR_PREFIX) else "not-checked"
    return "valid" if state & _IRR_ORIGIN and state & _IRR_PREFIX else "invalid"
