"""What differs between two configurations: what a reload has to do (rs/reload.py).

In: two checked configurations. Out: neighbors added, removed and changed, the keys that differ, and
how deep each change goes (`Effect` of its key): from a value that is looked at next time to a
session that must end. Nothing is changed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from rs.config import Neighbor, Router
from rs.configkeys import Effect, keys_of
from rs.filterconfig import Filters

if TYPE_CHECKING:
    from rs.config import Config


@attrs.frozen
class Change:
    """A neighbor that is in both configurations, differently."""

    old: Neighbor
    new: Neighbor
    keys: tuple[str, ...]
    """Names of the keys that differ, in the model's order; "router.KEY" for the router's."""
    effect: Effect

    @property
    def needs_reset(self) -> bool:
        """Whether the session must end and start again."""
        return self.effect is Effect.RESET


@attrs.frozen
class Difference:
    """What a reload has to do."""

    added: tuple[Neighbor, ...]
    removed: tuple[Neighbor, ...]
    changed: tuple[Change, ...]
    router_keys: tuple[str, ...]
    """Keys of [router] that differ."""
    router_effect: Effect
    """What they ask of every session."""
    api: bool
    """Whether [api] differs."""
    next_hops: bool
    """Whether [next_hops], [[igp]] or [[orr]] differ; next hops are then resolved again."""
    communities: bool
    """Whether [communities] or [blackhole] differs."""

    def __bool__(self) -> bool:
        return bool(
            self.added
            or self.removed
            or self.changed
            or self.router_keys
            or self.api
            or self.next_hops
            or self.communities
        )


def _differing(model: type, old: object, new: object) -> tuple[tuple[str, ...], Effect]:
    names: list[str] = []
    effect = Effect.INSTANT
    for name, (attribute, key) in keys_of(model).items():
        was, now = getattr(old, attribute), getattr(new, attribute)
        if was == now:
            continue
        if isinstance(now, Filters):
            below, deepest = _differing(Filters, was, now)
            names += [f"{name}.{rule}" for rule in below]
            effect = max(effect, deepest)
        else:
            names.append(name)
            effect = max(effect, key.effect)
    return tuple(names), effect


def diff(old: Config, new: Config) -> Difference:
    """Return what differs between two configurations; neighbors match by address or range.

    A change of [router] that asks for a reset makes a change of every neighbor that stays.
    """
    before = {neighbor.name: neighbor for neighbor in old.neighbors}
    after = {neighbor.name: neighbor for neighbor in new.neighbors}
    router_keys, router_effect = _differing(Router, old.router, new.router)
    everybody = router_effect is Effect.RESET
    router_names = tuple(
        f"router.{name}" for name in router_keys if keys_of(Router)[name][1].effect is Effect.RESET
    )
    changed: list[Change] = []
    for name, neighbor in after.items():
        was = before.get(name)
        if was is None or (was == neighbor and not everybody):
            continue
        names, effect = _differing(Neighbor, was, neighbor)
        if everybody:
            names, effect = names + router_names, Effect.RESET
        changed.append(Change(was, neighbor, names, effect))
    return Difference(
        added=tuple(neighbor for name, neighbor in after.items() if name not in before),
        removed=tuple(neighbor for name, neighbor in before.items() if name not in after),
        changed=tuple(changed),
        router_keys=router_keys,
        router_effect=router_effect,
        api=old.api != new.api,
        next_hops=(old.next_hops, old.igp, old.orr) != (new.next_hops, new.igp, new.orr),
        communities=(old.communities, old.blackhole) != (new.communities, new.blackhole),
    )
