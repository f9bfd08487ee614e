"""A new configuration into the running router, without more disturbance than it asks for.

In: the configuration that runs and the one that shall. Out: neighbors added, removed and changed,
in place where the session need not know. What each key asks for is said beside it in config.py:
INSTANT keys are used from now on, NEXT_SESSION ones by the next session, REEVALUATE ones judge or
send paths again in place (RFC 9324: nobody is asked to send anything again), RESET ones end the
session. Nothing here does I/O; the transport carries out what the sessions want.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from rs.config import AsSetRule, Router
from rs.configdiff import diff
from rs.configkeys import Effect, keys_of
from rs.iana import CeaseSubcode
from rs.irr import load_sets

if TYPE_CHECKING:
    from rs.config import Config, Neighbor
    from rs.configdiff import Change
    from rs.irr import Sets
    from rs.peer import Peer
    from rs.router import Router as RunningRouter

IN_PLACE = {"first_as_check", "as_set", "allow_own_as"}
"""Keys of neighbors that change what import checks."""
DIRECTORY = {"mapped_asn", "rtt", "blackhole_receive"}
"""Keys of neighbors that communities are compiled by."""
TOLD = {"control_communities", "graceful_shutdown"}
"""Keys of [router] that change what communities mean or are added."""
SENT = {
    "next_hop_self",
    "honor_well_known",
    "client_to_client",
    "add_path_send",
    "add_path_limit",
    "orr",
    "prepend_own_as",
    "require_policy",
}
"""Keys of neighbors that change what is sent."""
POLICY_KEYS = {"import_policy", "export_policy"}
"""Keys whose effect is found by comparing what policies were compiled to."""


@define
class Reloaded:
    """What a reload has done."""

    added: int = 0
    removed: int = 0
    reset: int = 0
    """Neighbors whose session had to end and start again."""
    changed: int = 0
    """Neighbors changed with their session up."""
    pending: int = 0
    """Neighbors with keys that only their next session uses."""
    sets: int = 0
    """Named sets with other contents."""

    def __str__(self) -> str:
        return (
            f"neighbors: {self.added} added, {self.removed} removed, {self.changed} changed "
            f"in place, {self.reset} reset, {self.pending} with keys for the next session"
            f"{f'; sets: {self.sets} changed' if self.sets else ''}"
        )


def apply(router: RunningRouter, config: Config, sets: Sets | None = None) -> Reloaded:
    """Make `config` the one that runs; return what that took.

    `sets` are its named sets; they are loaded here if they are not given. ConfigError if one has
    no contents, and then nothing has changed.
    """
    if sets is None:
        sets = load_sets(config, router.rules.sets)
    difference = diff(router.config, config)
    effects = {keys_of(Router)[name][1].effect for name in difference.router_keys}
    done = Reloaded()
    if difference.next_hops:
        router.next_hops.use(config)
    router.use_config(config)
    router.rules.use_filters(sets)
    done.sets = len(sets.changed)
    for neighbor in difference.removed:
        for peer in _peers_of(router, neighbor):
            _retire(router, peer, CeaseSubcode.PEER_DECONFIGURED)
        done.removed += 1
    if Effect.RESET in effects:
        router.use_identity(config)
    for change in difference.changed:
        _change(router, change, done)
    if Effect.NEXT_SESSION in effects:
        _tell_sessions(router, config, done, {change.new.name for change in difference.changed})
    for neighbor in difference.added:
        done.added += 1
        if not neighbor.is_range:
            guest = router.peer_for(str(neighbor.address))
            if guest is not None:
                # It came from a range; from now on it is a neighbor in its own right.
                _retire(router, guest, CeaseSubcode.PEER_DECONFIGURED)
            router.add(neighbor)
    router.rules.use_policies()
    if any(
        keys_of(Router)[name][1].effect is Effect.REEVALUATE
        for name in set(difference.router_keys) - POLICY_KEYS
    ):
        router.use_decision(config)
    if difference.communities or TOLD.intersection(difference.router_keys):
        router.use_communities(config)
    if difference.added or difference.removed or done.reset or "listen" in difference.router_keys:
        router.membership.renew()
    router.on_wake()
    return done


def _peers_of(router: RunningRouter, neighbor: Neighbor) -> list[Peer]:
    """Return the peers that a neighbor's configuration stands for: one, or those of a range."""
    if neighbor.is_range:
        return [p for p in router.peers.values() if p.dynamic and p.origin == neighbor.name]
    peer = router.peer_for(str(neighbor.address))
    return [peer] if peer is not None else []


def _retire(router: RunningRouter, peer: Peer, why: CeaseSubcode) -> None:
    peer.session.stop(router.now(), why)
    router.retire(peer)


def _use(peer: Peer, new: Neighbor) -> Neighbor:
    """Give a peer its configuration; return it as it is for the AS number of the session."""
    settled = new.instance(peer.address, peer.asn) if peer.dynamic and peer.ups else new
    peer.use(settled)
    return settled


def _tell_sessions(router: RunningRouter, config: Config, done: Reloaded, known: set[str]) -> None:
    """Let the neighbors that are not changed themselves say what is new of us in the next OPEN."""
    for neighbor in config.neighbors:
        peers = [] if neighbor.name in known else _peers_of(router, neighbor)
        for peer in peers:
            _use(peer, neighbor)
        done.pending += bool(peers)


def _change(router: RunningRouter, change: Change, done: Reloaded) -> None:
    now = router.now()
    new = change.new
    for peer in _peers_of(router, new):
        if change.needs_reset:
            _retire(router, peer, CeaseSubcode.OTHER_CONFIG_CHANGE)
            if not peer.dynamic:
                router.add(new)
            continue
        settled = _use(peer, new)
        if "enabled" in change.keys:
            if new.enabled:
                peer.shut_down = False
                peer.session.start(now)
                router.forget(peer)
            else:
                router.restarts.forget(peer)
                peer.session.stop(now, CeaseSubcode.ADMIN_SHUTDOWN)
        if peer.limited and any(key.startswith("filters.max_prefix") for key in change.keys):
            peer.limited, peer.restart_at = False, None
            if new.enabled and not peer.shut_down:
                peer.session.start(now)
                router.forget(peer)
        if any(key.startswith("filters.max_prefix") for key in change.keys):
            router.rules.relimit(peer)
        if change.effect is Effect.REEVALUATE:
            if IN_PLACE.intersection(change.keys) and (peer.ups or not peer.dynamic):
                router.rib.set_checks(
                    peer.slot,
                    first_as=settled.first_as_check,
                    reject_as_set=settled.as_set is AsSetRule.REJECT,
                    allow_own_as=settled.allow_own_as,
                )
                router.revalidation.recheck(peer)
            described = peer.ups or not peer.dynamic
            if described and any(
                key == "require_policy" or key.startswith("filters.") for key in change.keys
            ):
                router.rules.refilter(peer)
            if DIRECTORY.intersection(change.keys):
                router.membership.renew()
            if SENT.intersection(change.keys):
                router.joining.rejoin(peer)
    if change.needs_reset:
        done.reset += 1
    elif change.effect is Effect.NEXT_SESSION:
        done.pending += 1
    else:
        done.changed += 1
