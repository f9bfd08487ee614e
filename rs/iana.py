"""Every registry number in one place.

Source of truth for the Python side; the C side's enums in `_fastpath/types.pxd` are compared with
these by tests/test_source.py. Names are those of the IANA registries "BGP Parameters",
"Capability Codes", "Address Family Numbers" and "BGP Well-known Communities".
"""

from __future__ import annotations

from enum import IntEnum

BGP_PORT = 179
BGP_VERSION = 4
AS_TRANS = 23456
"""Stands for a 4-octet AS number towards a 2-octet speaker (RFC 6793 9)."""

HEADER_LEN = 19
MAX_MESSAGE_LEN = 4096
MAX_EXTENDED_MESSAGE_LEN = 65535
"""RFC 8654: for UPDATE, NOTIFICATION and ROUTE-REFRESH; OPEN and KEEPALIVE stay at 4,096."""


class Afi(IntEnum):
    """Address Family Numbers."""

    IPV4 = 1
    IPV6 = 2


class Safi(IntEnum):
    """Subsequent Address Family Identifiers."""

    UNICAST = 1
    MULTICAST = 2
    LABELED = 4
    VPN = 128


class Family(IntEnum):
    """The families with a table of their own; the number is the index used by the fast path."""

    IPV4_UNICAST = 0
    IPV6_UNICAST = 1

    @property
    def afi(self) -> Afi:
        """Address family identifier."""
        return Afi.IPV4 if self is Family.IPV4_UNICAST else Afi.IPV6

    @property
    def safi(self) -> Safi:
        """Subsequent address family identifier."""
        return Safi.UNICAST

    @property
    def label(self) -> str:
        """Name in configuration, API and output, such as `ipv4-unicast`."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def from_label(cls, label: str) -> Family:
        """Inverse of `label`; KeyError for a name that is not a family."""
        return cls[label.upper().replace("-", "_")]

    @classmethod
    def from_wire(cls, afi: int, safi: int) -> Family | None:
        """Return the family of an AFI/SAFI pair, or None for one without a table here."""
        if safi != Safi.UNICAST:
            return None
        return {1: cls.IPV4_UNICAST, 2: cls.IPV6_UNICAST}.get(afi)


class MessageType(IntEnum):
    """BGP message types (RFC 4271 4.1, RFC 2918)."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class AttrType(IntEnum):
    """Path attribute type codes in the registry's unicast use."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MULTI_EXIT_DISC = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    EXTENDED_COMMUNITIES = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    AIGP = 26
    LARGE_COMMUNITY = 32
    ONLY_TO_CUSTOMER = 35


class AttrFlag(IntEnum):
    """Path attribute flags (RFC 4271 4.3)."""

    OPTIONAL = 0x80
    TRANSITIVE = 0x40
    PARTIAL = 0x20
    EXTENDED_LENGTH = 0x10


class Origin(IntEnum):
    """ORIGIN values."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class SegmentType(IntEnum):
    """AS_PATH segment types (RFC 4271 4.3, RFC 5065 3)."""

    AS_SET = 1
    AS_SEQUENCE = 2
    AS_CONFED_SEQUENCE = 3
    AS_CONFED_SET = 4


class CapabilityCode(IntEnum):
    """Capability codes (RFC 5492 registry)."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    EXTENDED_NEXT_HOP = 5
    EXTENDED_MESSAGE = 6
    ROLE = 9
    GRACEFUL_RESTART = 64
    FOUR_OCTET_AS = 65
    ADD_PATH = 69
    ENHANCED_ROUTE_REFRESH = 70
    LONG_LIVED_GRACEFUL_RESTART = 71
    FQDN = 73
    PATHS_LIMIT = 76
    ROUTE_REFRESH_CISCO = 128


class BgpRole(IntEnum):
    """What a speaker is to its neighbor, as its OPEN says it (RFC 9234 4.1)."""

    PROVIDER = 0
    RS = 1
    RS_CLIENT = 2
    CUSTOMER = 3
    PEER = 4

    @property
    def counterpart(self) -> BgpRole:
        """The role that the other side must have (RFC 9234 4.2, Table 2)."""
        return _COUNTERPARTS[self]


_COUNTERPARTS = {
    BgpRole.PROVIDER: BgpRole.CUSTOMER,
    BgpRole.CUSTOMER: BgpRole.PROVIDER,
    BgpRole.RS: BgpRole.RS_CLIENT,
    BgpRole.RS_CLIENT: BgpRole.RS,
    BgpRole.PEER: BgpRole.PEER,
}


class AddPathMode(IntEnum):
    """Send/Receive field of the ADD-PATH capability (RFC 7911 4)."""

    RECEIVE = 1
    SEND = 2
    BOTH = 3


class NotifyCode(IntEnum):
    """NOTIFICATION error codes (RFC 4271 4.5, RFC 7313 5, RFC 9687)."""

    MESSAGE_HEADER = 1
    OPEN_MESSAGE = 2
    UPDATE_MESSAGE = 3
    HOLD_TIMER_EXPIRED = 4
    FSM = 5
    CEASE = 6
    ROUTE_REFRESH = 7
    SEND_HOLD_TIMER_EXPIRED = 8


class HeaderSubcode(IntEnum):
    """Message Header Error subcodes (RFC 4271 6.1)."""

    NOT_SYNCHRONIZED = 1
    BAD_LENGTH = 2
    BAD_TYPE = 3


class OpenSubcode(IntEnum):
    """OPEN Message Error subcodes (RFC 4271 6.2, RFC 5492, RFC 9234)."""

    UNSUPPORTED_VERSION = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_OPTIONAL_PARAMETER = 4
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateSubcode(IntEnum):
    """UPDATE Message Error subcodes (RFC 4271 6.3)."""

    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELL_KNOWN = 2
    MISSING_WELL_KNOWN = 3
    ATTRIBUTE_FLAGS = 4
    ATTRIBUTE_LENGTH = 5
    INVALID_ORIGIN = 6
    INVALID_NEXT_HOP = 8
    OPTIONAL_ATTRIBUTE = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class FsmSubcode(IntEnum):
    """Finite State Machine Error subcodes (RFC 6608)."""

    UNSPECIFIED = 0
    IN_OPEN_SENT = 1
    IN_OPEN_CONFIRM = 2
    IN_ESTABLISHED = 3


class CeaseSubcode(IntEnum):
    """Cease subcodes (RFC 4486, RFC 8538, RFC 9384)."""

    MAX_PREFIXES = 1
    ADMIN_SHUTDOWN = 2
    PEER_DECONFIGURED = 3
    ADMIN_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIG_CHANGE = 6
    COLLISION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RefreshSubcode(IntEnum):
    """ROUTE-REFRESH Message Error subcodes (RFC 7313 5)."""

    INVALID_LENGTH = 1


class RefreshSubtype(IntEnum):
    """Message subtype of ROUTE-REFRESH (RFC 7313 3.2)."""

    REQUEST = 0
    BORR = 1
    EORR = 2


class WellKnownCommunity(IntEnum):
    """BGP Well-known Communities."""

    GRACEFUL_SHUTDOWN = 0xFFFF0000
    ACCEPT_OWN = 0xFFFF0001
    LLGR_STALE = 0xFFFF0006
    NO_LLGR = 0xFFFF0007
    BLACKHOLE = 0xFFFF029A
    NO_EXPORT = 0xFFFFFF01
    NO_ADVERTISE = 0xFFFFFF02
    NO_EXPORT_SUBCONFED = 0xFFFFFF03
    NOPEER = 0xFFFFFF04


class RejectReason(IntEnum):
    """Why a path stays in the Adj-RIB-In and is not used. 0 means that it is used.

    1 to 63 are the protocol's own checks; 64 and up the import filter's, 64 + the code that
    ARouteServer gives the same fault.
    """

    NONE = 0
    AS_LOOP = 1
    FIRST_AS = 2
    AS_SET = 3
    NEXT_HOP_INVALID = 4
    NEXT_HOP_UNREACHABLE = 5
    ORIGINATOR_LOOP = 6
    CLUSTER_LOOP = 7
    CONFED_SEGMENT = 8
    OTC_LEAK = 16
    NO_IMPORT_POLICY = 17
    ASPA_INVALID = 18
    POLICY_REJECT = 24
    POLICY_TOO_LONG = 25
    FILTER_BLACKHOLE_LENGTH = 32
    FILTER_AS_PATH_LENGTH = 65
    FILTER_BOGON_PREFIX = 66
    FILTER_BLACK_LIST = 67
    FILTER_NEXT_HOP = 69
    FILTER_BOGON_ASN = 71
    FILTER_TRANSIT_FREE = 72
    FILTER_IRR_ORIGIN = 73
    FILTER_NOT_GLOBAL_UNICAST = 74
    FILTER_NEIGHBOR_BLACK_LIST = 75
    FILTER_IRR_PREFIX = 76
    FILTER_PREFIX_LENGTH = 77
    FILTER_RPKI_INVALID = 78
    FILTER_NEVER_VIA_ROUTE_SERVER = 79
    FILTER_COMMUNITIES = 80
    FILTER_MAX_PREFIX = 81


class Decided(IntEnum):
    """The step of the decision process that put a path behind the one before it.

    RFC 4271 9.1.1, 9.1.2.2 and RFC 4456 9, in order. BEST is the first path of a prefix.
    """

    BEST = 0
    LOCAL_PREF = 1
    AS_PATH_LENGTH = 2
    ORIGIN = 3
    MED = 4
    EBGP_OVER_IBGP = 5
    IGP_METRIC = 6
    OLDEST = 7
    ROUTER_ID = 8
    CLUSTER_LIST_LENGTH = 9
    PEER_ADDRESS = 10
    PATH_ID = 11
    LLGR_STALE = 12
    """Before all others (RFC 9494 4.4)."""


class RtrPdu(IntEnum):
    """PDU types of the RPKI to Router protocol (registry "rpki-rtr-pdu")."""

    SERIAL_NOTIFY = 0
    SERIAL_QUERY = 1
    RESET_QUERY = 2
    CACHE_RESPONSE = 3
    IPV4_PREFIX = 4
    IPV6_PREFIX = 6
    END_OF_DATA = 7
    CACHE_RESET = 8
    ROUTER_KEY = 9
    ERROR_REPORT = 10
    ASPA = 11


class RtrError(IntEnum):
    """Error codes of the RPKI to Router protocol (registry "rpki-rtr-error").

    0 to 7 are of RFC 6810, 8 of RFC 8210, the others of draft-ietf-sidrops-8210bis.
    """

    CORRUPT_DATA = 0
    INTERNAL_ERROR = 1
    NO_DATA_AVAILABLE = 2
    INVALID_REQUEST = 3
    UNSUPPORTED_VERSION = 4
    UNSUPPORTED_PDU_TYPE = 5
    WITHDRAWAL_OF_UNKNOWN_RECORD = 6
    DUPLICATE_ANNOUNCEMENT = 7
    UNEXPECTED_VERSION = 8
    ASPA_PROVIDER_LIST = 9
    TRANSPORT_FAILURE = 10
    ORDERING = 11
    CACHE_RESTART = 12
    CACHE_SHUTDOWN = 13
