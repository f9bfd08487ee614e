"""What became of each option of ARouteServer: honored by which key, or why not, and where it stood.

In: notes of the import, option by option. Out: a `Report`, and the same as lines of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rs.arouteserver import Given
    from rs.yamlfile import Place

SHOWN = 3
"""Places that are named before the rest is counted."""


@attrs.define
class Miss:
    """An option that is not honored, for one reason."""

    option: str
    why: str
    places: list[Place] = attrs.field(factory=list)
    """Where it was given; nowhere when it is a default."""


@attrs.define
class Report:
    """What became of every option."""

    honored: dict[str, tuple[str, list[Place]]] = attrs.field(factory=dict)
    """Option -> the keys that honor it, and where it was given."""
    missed: dict[tuple[str, str], Miss] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    _seen: set[tuple[str, Place]] = attrs.field(factory=set)

    def honor(self, option: str, given: Given | None, becomes: str) -> None:
        """Note that an option is honored by a key; without `given` it is a default."""
        if given is None or (option, given.place) in self._seen:
            return
        self._seen.add((option, given.place))
        self.honored.setdefault(option, (becomes, []))[1].append(given.place)

    def miss(self, option: str, given: Given | None, why: str) -> None:
        """Note that an option is not honored, and why; without `given` it is a default."""
        if given is not None and (option, given.place) in self._seen:
            return
        found = self.missed.setdefault((option, why), Miss(option, why))
        if given is not None:
            self._seen.add((option, given.place))
            found.places.append(given.place)

    def rest(self, own: dict[str, Given]) -> None:
        """Note everything given of which nothing was said so far."""
        for option, given in own.items():
            if (option, given.place) not in self._seen:
                self.miss(option, given, "nothing here corresponds to it")


def report_lines(report: Report) -> list[str]:
    """Return what became of every option, as text."""
    lines = [f"Honored: {len(report.honored)} options"]
    width = max(map(len, report.honored), default=0)
    for option, (becomes, places) in sorted(report.honored.items()):
        lines.append(f"  {option:<{width}}  {_places(places)} -> {becomes}")
    lines += ["", f"Not honored: {len({miss.option for miss in report.missed.values()})} options"]
    lines += [f"  {_missed(miss)}" for miss in sorted(report.missed.values(), key=_order)]
    if report.notes:
        lines += ["", "Notes:", *(f"  {note}" for note in dict.fromkeys(report.notes))]
    return lines


def _order(miss: Miss) -> tuple[str, str]:
    return miss.option, miss.why


def _missed(miss: Miss) -> str:
    where = _places(miss.places) if miss.places else "ARouteServer's default"
    return f"{miss.option} ({where}): {miss.why}"


def _places(places: Sequence[Place]) -> str:
    named = ", ".join(dict.fromkeys(place.short for place in places[:SHOWN]))
    return named + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")
