"""Two connections with one neighbor: which of them stays (RFC 4271 6.8, RFC 6286 2.3).

In: the machine of a connection whose OPEN has come, and that of the other connection. Out: which
one has to go, or that the peer has restarted and the old one is a ghost. Nothing is changed here:
the session does what follows.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from rs.fsm import State

if TYPE_CHECKING:
    from rs.machine import Machine
    from rs.session_types import SessionConfig

COLLISION_TIME = 3.0
"""Seconds after coming up in which another connection of the peer's is a mere collision."""
RESTARTED = "the neighbor has restarted: it has opened another connection"


def loser(machine: Machine, other: Machine | None, config: SessionConfig) -> Machine | None:
    """Return the connection that has to go, now that `machine` has its OPEN; None for neither.

    Only one in OpenConfirm or Established collides: of one in OpenSent we do not know yet whose it
    is, and its own OPEN will settle it.
    """
    if other is None or other.state < State.OPEN_CONFIRM:
        return None
    if other.state is State.ESTABLISHED:
        return machine
    agreed = machine.negotiated
    assert agreed is not None
    # RFC 6286 2.3: identifiers first, AS numbers where those are equal.
    ours = (int(IPv4Address(config.local_router_id)), config.local_asn)
    theirs = (int(IPv4Address(agreed.peer_router_id)), agreed.peer_asn)
    keep_outbound = ours > theirs
    return machine if machine.outbound != keep_outbound else other


def has_restarted(machine: Machine, other: Machine) -> bool:
    """Return whether the OPEN on `machine` says that the peer has forgotten an Established one.

    A peer with graceful restart that opens another connection has restarted (RFC 4724 4.2). RFC
    4724 5 would act on the mere TCP connection; we wait for its OPEN, so that a stranger ends
    nothing. One that was opened while the other one came up is a collision.
    """
    agreed = other.negotiated
    return (
        other.state is State.ESTABLISHED
        and not machine.outbound
        and machine.opened >= other.up_since + COLLISION_TIME
        and agreed is not None
        and agreed.graceful_restart is not None
        and bool(agreed.graceful_restart.families)
    )
