"""Capabilities: what we offer in OPEN, what the peer offers, and what both agree on.

In: an Offer (ours) and the peer's decoded OPEN. Out: a frozen Negotiated, the one place where later
stages look up what a session may do. A fault raises NotifyError with the NOTIFICATION due.

RFC 4760 (multiprotocol), 5492 (capabilities), 6286 (BGP identifier), 6793 (4-octet AS numbers),
2918 and 7313 (route refresh), 7607 (AS 0), 7911 (ADD-PATH), 8654 (extended messages), 8950
(extended next hop), 9234 (roles), 4724, 8538 and 9494 (restarts, see `restart_caps`),
draft-walton-bgp-hostname-capability (FQDN), draft-abraitis-idr-addpath-paths-limit (PATHS-LIMIT).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rs import restart_caps
from rs.errors import NotifyError
from rs.iana import (
    AS_TRANS,
    AddPathMode,
    Afi,
    BgpRole,
    CapabilityCode,
    Family,
    NotifyCode,
    OpenSubcode,
    Safi,
)
from rs.messages import OpenMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rs.restart_caps import GracefulRestart

_NAME_LEN = 64
"""Octets of a host or domain name in the FQDN capability."""

_FIXED_LEN = {
    CapabilityCode.MULTIPROTOCOL: 4,
    CapabilityCode.ROUTE_REFRESH: 0,
    CapabilityCode.ROUTE_REFRESH_CISCO: 0,
    CapabilityCode.EXTENDED_MESSAGE: 0,
    CapabilityCode.ROLE: 1,
    CapabilityCode.ENHANCED_ROUTE_REFRESH: 0,
    CapabilityCode.FOUR_OCTET_AS: 4,
}
_ROLES = frozenset(BgpRole)
_TUPLE_LEN = {CapabilityCode.ADD_PATH: 4, CapabilityCode.EXTENDED_NEXT_HOP: 6}


@dataclass(frozen=True, slots=True)
class Offer:
    """What one OPEN of ours says."""

    asn: int
    router_id: str
    hold_time: int
    """Seconds; 0 proposes a session without hold timer."""
    families: tuple[Family, ...]
    four_octet_as: bool = True
    route_refresh: bool = True
    enhanced_route_refresh: bool = True
    extended_message: bool = True
    extended_next_hop: bool = False
    """Offered for IPv4 unicast over IPv6 next hops, the one case of RFC 8950 that has a table."""
    addpath: Mapping[Family, AddPathMode] = field(default_factory=dict)
    paths_limit: Mapping[Family, int] = field(default_factory=dict)
    """Paths of a prefix that we take at most, in families of which we receive several."""
    graceful_restart: GracefulRestart | None = None
    """None leaves the capability out."""
    hostname: str = ""
    domain: str = ""
    role: BgpRole | None = None
    """What we are to the peer (RFC 9234); None says nothing."""
    strict_role: bool = False
    """The peer must say its role as well."""
    plain: bool = False
    """Send no optional parameters at all, for a peer that refused them (RFC 5492 3)."""

    def message(self) -> OpenMessage:
        """Return the OPEN that makes this offer."""
        return OpenMessage(
            my_as=self.asn if self.asn <= 0xFFFF else AS_TRANS,
            hold_time=self.hold_time,
            router_id=self.router_id,
            capabilities=() if self.plain else encode_capabilities(self),
        )


@dataclass(frozen=True, slots=True)
class PeerCapabilities:
    """The peer's capabilities as it sent them, before ours are taken into account."""

    multiprotocol: frozenset[tuple[int, int]] = frozenset()
    """(AFI, SAFI) pairs; empty where the peer sent no multiprotocol capability at all."""
    asn: int | None = None
    """AS number of the 4-octet AS capability; None without one."""
    route_refresh: bool = False
    enhanced_route_refresh: bool = False
    extended_message: bool = False
    addpath: Mapping[tuple[int, int], AddPathMode] = field(default_factory=dict)
    paths_limit: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Paths of a prefix that it takes at most, by (AFI, SAFI); never 0."""
    next_hops: frozenset[tuple[int, int, int]] = frozenset()
    """(AFI, SAFI, next hop AFI) triples of extended next hop."""
    roles: tuple[int, ...] = ()
    """Values of the role capability, in wire order."""
    graceful_restart: GracefulRestart | None = None
    hostname: str = ""
    domain: str = ""
    names: tuple[str, ...] = ()
    """Every capability in words, unknown ones too, in wire order."""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What one session may do: the result of both OPENs."""

    families: tuple[Family, ...]
    """In the order of our configuration."""
    four_octet_as: bool
    hold_time: int
    """Seconds; 0 = neither hold timer nor KEEPALIVEs."""
    keepalive: float
    """Seconds between KEEPALIVEs before jitter; 0 with hold time 0."""
    extended_message: bool
    """We may send messages of up to 65,535 octets."""
    extended_receive: bool
    """We have advertised extended messages, so the peer may send them (RFC 8654 4)."""
    route_refresh: bool
    enhanced_route_refresh: bool
    addpath_receive: frozenset[Family]
    addpath_send: frozenset[Family]
    extended_next_hop: frozenset[Family]
    graceful_restart: GracefulRestart | None
    """What the peer says of its restarts; None unless both sides have the capability."""
    notification_restart: bool
    """Both sides keep routes when a NOTIFICATION other than Hard Reset ends the session."""
    long_lived: bool
    """Both sides have the long-lived capability (RFC 9494)."""
    long_lived_said: bool
    """We have, whether the peer has it or not."""
    peer_asn: int
    peer_router_id: str
    peer_hostname: str
    peer_domain: str
    peer_role: BgpRole | None
    """The peer's role, where it has said one that is known (RFC 9234)."""
    ibgp: bool
    peer_capabilities: tuple[str, ...]
    """The peer's capabilities in words, for display."""
    paths_limit: Mapping[Family, int] = field(default_factory=dict, hash=False)
    """Paths of a prefix that the peer takes at most, of families in `addpath_send`."""


def encode_capabilities(offer: Offer) -> tuple[tuple[int, bytes], ...]:
    """Return (code, value) of every capability we offer, in rising code order."""
    found: list[tuple[int, bytes]] = [
        (CapabilityCode.MULTIPROTOCOL, _family(family)) for family in offer.families
    ]
    if offer.route_refresh:
        found.append((CapabilityCode.ROUTE_REFRESH, b""))
    if offer.extended_next_hop and Family.IPV4_UNICAST in offer.families:
        value = Afi.IPV4.to_bytes(2) + Safi.UNICAST.to_bytes(2) + Afi.IPV6.to_bytes(2)
        found.append((CapabilityCode.EXTENDED_NEXT_HOP, value))
    if offer.extended_message:
        found.append((CapabilityCode.EXTENDED_MESSAGE, b""))
    if offer.role is not None:
        found.append((CapabilityCode.ROLE, bytes([offer.role])))
    if offer.graceful_restart is not None:
        value = restart_caps.encode_restart(offer.graceful_restart)
        found.append((CapabilityCode.GRACEFUL_RESTART, value))
    if offer.four_octet_as:
        found.append((CapabilityCode.FOUR_OCTET_AS, offer.asn.to_bytes(4)))
    addpath = b"".join(
        family.afi.to_bytes(2) + bytes([family.safi, offer.addpath[family]])
        for family in offer.families
        if family in offer.addpath
    )
    if addpath:
        found.append((CapabilityCode.ADD_PATH, addpath))
    if offer.enhanced_route_refresh and offer.route_refresh:
        found.append((CapabilityCode.ENHANCED_ROUTE_REFRESH, b""))
    if offer.graceful_restart is not None and offer.graceful_restart.long_lived is not None:
        value = restart_caps.encode_long_lived(offer.graceful_restart.long_lived)
        found.append((CapabilityCode.LONG_LIVED_GRACEFUL_RESTART, value))
    if offer.hostname:
        names = (_name(offer.hostname), _name(offer.domain))
        found.append((CapabilityCode.FQDN, b"".join(bytes([len(n)]) + n for n in names)))
    limits = b"".join(
        family.afi.to_bytes(2) + bytes([family.safi]) + offer.paths_limit[family].to_bytes(2)
        for family in offer.families
        if family in offer.paths_limit and offer.addpath.get(family, 0) & AddPathMode.RECEIVE
    )
    if limits:
        found.append((CapabilityCode.PATHS_LIMIT, limits))
    return tuple(found)


def _family(family: Family) -> bytes:
    return family.afi.to_bytes(2) + bytes([0, family.safi])


def _name(text: str) -> bytes:
    return text.encode()[:_NAME_LEN].decode(errors="ignore").encode()


def decode_capabilities(capabilities: tuple[tuple[int, bytes], ...]) -> PeerCapabilities:
    """Read a peer's capabilities; the same one may come several times (RFC 5492 4).

    NotifyError 2/0 for one we know whose length is wrong (RFC 4271 6.2). Unknown ones are kept
    for display only. An ADD-PATH capability with a mode that does not exist counts as not
    understood (RFC 7911 4), and so does a host name or a limit of paths that makes no sense.
    """
    multiprotocol: set[tuple[int, int]] = set()
    addpath: dict[tuple[int, int], AddPathMode] = {}
    paths_limit: dict[tuple[int, int], int] = {}
    next_hops: set[tuple[int, int, int]] = set()
    codes: set[int] = set()
    roles: list[int] = []
    asn: int | None = None
    hostname = domain = ""
    names: list[str] = []
    for code, value in capabilities:
        _check_length(code, value)
        codes.add(code)
        match code:
            case CapabilityCode.MULTIPROTOCOL:
                pair = (int.from_bytes(value[:2]), value[3])
                multiprotocol.add(pair)
                names.append(f"multiprotocol {family_name(*pair)}")
            case CapabilityCode.FOUR_OCTET_AS:
                asn = int.from_bytes(value)
                names.append(f"4-octet-as {asn}")
            case CapabilityCode.ADD_PATH:
                modes = _addpath(value)
                addpath.update(modes)
                names.extend(
                    f"add-path {family_name(*pair)} {mode.name.lower()}"
                    for pair, mode in modes.items()
                )
                if not modes:
                    names.append(f"add-path not understood ({value.hex()})")
            case CapabilityCode.EXTENDED_NEXT_HOP:
                for n in range(0, len(value), 6):
                    afi, safi, via = (int.from_bytes(value[n + i : n + i + 2]) for i in (0, 2, 4))
                    next_hops.add((afi, safi, via))
                    label = {1: "ipv4", 2: "ipv6"}.get(via, str(via))
                    names.append(f"extended-next-hop {family_name(afi, safi)} via {label}")
            case CapabilityCode.ROLE:
                roles.append(value[0])
                names.append(f"role {_role_name(value[0])}")
            case CapabilityCode.GRACEFUL_RESTART | CapabilityCode.LONG_LIVED_GRACEFUL_RESTART:
                names.append(restart_caps.describe(code, value, family_name))
            case CapabilityCode.FQDN:
                hostname, domain = _fqdn(value)
                full = ".".join(filter(None, (hostname, domain)))
                names.append(f"fqdn {full}" if full else f"fqdn not understood ({value.hex()})")
            case CapabilityCode.PATHS_LIMIT:
                limits = _paths_limits(value)
                paths_limit.update(limits)
                names.extend(
                    f"paths-limit {family_name(*pair)} {limit}" for pair, limit in limits.items()
                )
                if not limits:
                    names.append(f"paths-limit not understood ({value.hex()})")
            case _:
                names.append(_plain_name(code, value))
    refresh = {CapabilityCode.ROUTE_REFRESH, CapabilityCode.ROUTE_REFRESH_CISCO}
    return PeerCapabilities(
        multiprotocol=frozenset(multiprotocol),
        asn=asn,
        route_refresh=not refresh.isdisjoint(codes),
        enhanced_route_refresh=CapabilityCode.ENHANCED_ROUTE_REFRESH in codes,
        extended_message=CapabilityCode.EXTENDED_MESSAGE in codes,
        addpath=addpath,
        paths_limit=paths_limit,
        next_hops=frozenset(next_hops),
        roles=tuple(roles),
        graceful_restart=restart_caps.heard(capabilities),
        hostname=hostname,
        domain=domain,
        names=tuple(names),
    )


def _check_length(code: int, value: bytes) -> None:
    fixed = _FIXED_LEN.get(code)  # type: ignore[call-overload]
    step = _TUPLE_LEN.get(code)  # type: ignore[call-overload]
    wrong = (fixed is not None and len(value) != fixed) or (
        step is not None and (not value or len(value) % step)
    )
    if wrong:
        raise NotifyError(
            NotifyCode.OPEN_MESSAGE,
            0,
            reason=f"capability {CapabilityCode(code).name} of {len(value)} octets",
        )


def family_name(afi: int, safi: int) -> str:
    """Label of a family with a table, such as `ipv4-unicast`; AFI/SAFI numbers for others."""
    family = Family.from_wire(afi, safi)
    return family.label if family is not None else f"{afi}/{safi}"


def _plain_name(code: int, value: bytes) -> str:
    try:
        name = CapabilityCode(code).name.lower().replace("_", "-")
    except ValueError:
        name = f"unknown-{code}"
    return f"{name} ({value.hex()})" if value else name


def _role_name(value: int) -> str:
    try:
        return BgpRole(value).name.lower().replace("_", "-")
    except ValueError:
        return str(value)


def _addpath(value: bytes) -> dict[tuple[int, int], AddPathMode]:
    modes: dict[tuple[int, int], AddPathMode] = {}
    for n in range(0, len(value), 4):
        try:
            mode = AddPathMode(value[n + 3])
        except ValueError:
            return {}
        modes[int.from_bytes(value[n : n + 2]), value[n + 2]] = mode
    return modes


def _paths_limits(value: bytes) -> dict[tuple[int, int], int]:
    """Read 5 octets a family: AFI, SAFI, limit. One of 0 says nothing, another length neither."""
    if len(value) % 5:
        return {}
    tuples = (value[n : n + 5] for n in range(0, len(value), 5))
    found = {(int.from_bytes(t[:2]), t[2]): int.from_bytes(t[3:]) for t in tuples}
    return {pair: limit for pair, limit in found.items() if limit}


def _fqdn(value: bytes) -> tuple[str, str]:
    """Split the FQDN capability; empty names for one that is malformed."""
    parts: list[str] = []
    offset = 0
    for _ in range(2):
        if offset >= len(value):
            break
        end = offset + 1 + value[offset]
        try:
            text = value[offset + 1 : end].decode()
        except UnicodeDecodeError:
            return "", ""
        if end > len(value) or not all(c.isprintable() for c in text):
            return "", ""
        parts.append(text)
        offset = end
    parts += [""] * (2 - len(parts))
    return parts[0], parts[1]


def negotiate(
    offer: Offer, message: OpenMessage, *, peer_asn: int | None, min_hold_time: int = 3
) -> Negotiated:
    """Check the peer's OPEN against our offer and return what both agree on.

    `peer_asn`: the AS number the peer must have, None for any. `min_hold_time`: the shortest hold
    time (seconds) we accept besides 0. NotifyError 2/0, 2/2, 2/3, 2/6, 2/7 (RFC 4271 6.2) or 2/11.
    """
    heard = decode_capabilities(message.capabilities)
    asn = _peer_asn(offer, message, heard, peer_asn)
    ibgp = asn == offer.asn
    if message.router_id == "0.0.0.0" or (ibgp and message.router_id == offer.router_id):  # noqa: S104
        raise NotifyError(
            NotifyCode.OPEN_MESSAGE,
            OpenSubcode.BAD_BGP_IDENTIFIER,
            reason=f"BGP identifier {message.router_id}" + (" is ours too" if ibgp else ""),
        )
    if message.hold_time and message.hold_time < max(3, min_hold_time):
        raise NotifyError(
            NotifyCode.OPEN_MESSAGE,
            OpenSubcode.UNACCEPTABLE_HOLD_TIME,
            reason=f"hold time {message.hold_time} s, at least {max(3, min_hold_time)} s or 0",
        )
    if not ibgp:
        _check_roles(offer, heard)
    hold_time = min(offer.hold_time, message.hold_time)
    families = _common_families(offer, heard)
    capable = not offer.plain
    enhanced = offer.enhanced_route_refresh and heard.enhanced_route_refresh
    refresh = capable and offer.route_refresh and heard.route_refresh
    ours = offer.addpath if capable else {}
    addpath_send = frozenset(
        f
        for f in families
        if ours.get(f, 0) & AddPathMode.SEND and _mode(heard, f) & AddPathMode.RECEIVE
    )
    limits = {f: heard.paths_limit.get((f.afi, f.safi), 0) for f in addpath_send}
    our_restart = offer.graceful_restart if capable else None
    said = our_restart is not None and our_restart.long_lived is not None
    their_restart = heard.graceful_restart if our_restart is not None else None
    return Negotiated(
        families=families,
        four_octet_as=capable and offer.four_octet_as and heard.asn is not None,
        hold_time=hold_time,
        keepalive=hold_time / 3,
        extended_message=capable and offer.extended_message and heard.extended_message,
        extended_receive=capable and offer.extended_message,
        route_refresh=refresh,
        enhanced_route_refresh=refresh and enhanced,
        addpath_receive=frozenset(
            f
            for f in families
            if ours.get(f, 0) & AddPathMode.RECEIVE and _mode(heard, f) & AddPathMode.SEND
        ),
        addpath_send=addpath_send,
        paths_limit={f: limit for f, limit in limits.items() if limit},
        extended_next_hop=frozenset(
            f
            for f in families
            if f is Family.IPV4_UNICAST
            and capable
            and offer.extended_next_hop
            and (Afi.IPV4, Safi.UNICAST, Afi.IPV6) in heard.next_hops
        ),
        graceful_restart=their_restart,
        notification_restart=our_restart is not None
        and their_restart is not None
        and our_restart.notification
        and their_restart.notification,
        long_lived=said and their_restart is not None and their_restart.long_lived is not None,
        long_lived_said=said,
        peer_asn=asn,
        peer_router_id=message.router_id,
        peer_hostname=heard.hostname,
        peer_domain=heard.domain,
        peer_role=BgpRole(heard.roles[0]) if heard.roles and heard.roles[0] in _ROLES else None,
        ibgp=ibgp,
        peer_capabilities=heard.names,
    )


def _check_roles(offer: Offer, heard: PeerCapabilities) -> None:
    """Compare both sides' roles; NotifyError 2/11 when they do not correspond (RFC 9234 4.2).

    A peer that says several is refused even where we have none; the same one twice is one.
    """
    said = " and ".join(map(_role_name, dict.fromkeys(heard.roles)))
    reason = ""
    if len(set(heard.roles)) > 1:
        reason = f"the peer says several roles: {said}"
    elif offer.role is None or offer.plain:
        return
    elif not heard.roles:
        if offer.strict_role:
            reason = "the peer says no role, and strict_role asks for one"
    elif heard.roles[0] != offer.role.counterpart:
        ours, due = _role_name(offer.role), _role_name(offer.role.counterpart)
        reason = f"the peer says it is {said}; we are {ours}, so it must be {due}"
    if reason:
        raise NotifyError(NotifyCode.OPEN_MESSAGE, OpenSubcode.ROLE_MISMATCH, reason=reason)


def _mode(heard: PeerCapabilities, family: Family) -> int:
    return heard.addpath.get((family.afi, family.safi), 0)


def _peer_asn(
    offer: Offer, message: OpenMessage, heard: PeerCapabilities, expected: int | None
) -> int:
    """Return the peer's AS number; NotifyError 2/2 when it cannot be, or is not the expected one.

    RFC 4271 gives Bad Peer AS no data, so the field stays empty and the log has the numbers.
    """
    asn = message.my_as if heard.asn is None else heard.asn
    old = offer.plain or not offer.four_octet_as
    if old and expected is not None and expected == message.my_as:
        # As a 2-octet speaker we know the peer by what its OPEN says, AS_TRANS included.
        asn = expected
    reason = ""
    if not asn:
        reason = "AS number 0 (RFC 7607)"
    elif heard.asn is not None and message.my_as not in {heard.asn, AS_TRANS}:
        reason = f"AS number {message.my_as} in OPEN, {heard.asn} in its 4-octet AS capability"
    elif expected is None and asn == AS_TRANS:
        reason = f"AS number {AS_TRANS} stands for others and identifies nobody (RFC 6793)"
    elif (
        expected is not None
        and asn != expected
        and (
            # An old speaker of a large AS is known to us by its true number only.
            heard.asn is not None or asn != AS_TRANS or expected <= 0xFFFF
        )
    ):
        reason = f"AS number {asn} where {expected} is configured"
    if reason:
        raise NotifyError(NotifyCode.OPEN_MESSAGE, OpenSubcode.BAD_PEER_AS, reason=reason)
    return asn if expected is None else expected


def _common_families(offer: Offer, heard: PeerCapabilities) -> tuple[Family, ...]:
    """Families both sides have; without multiprotocol capability a side has IPv4 unicast only."""
    classic = {(int(Afi.IPV4), int(Safi.UNICAST))}
    theirs = heard.multiprotocol or classic
    ours = offer.families if not offer.plain else (Family.IPV4_UNICAST,)
    families = tuple(f for f in ours if (f.afi, f.safi) in theirs)
    if families:
        return families
    wanted = tuple((int(CapabilityCode.MULTIPROTOCOL), _family(f)) for f in ours)
    raise NotifyError(
        NotifyCode.OPEN_MESSAGE,
        OpenSubcode.UNSUPPORTED_CAPABILITY,
        b"".join(bytes([code, len(value)]) + value for code, value in wanted),
        "no common address family: we have "
        + ", ".join(f.label for f in ours)
        + "; the peer has "
        + ", ".join(family_name(*pair) for pair in sorted(theirs)),
    )
