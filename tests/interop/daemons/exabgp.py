"""ExaBGP: commands and JSON events through a helper process; it keeps no table, so this does.

The helper process that ExaBGP starts is a shell script: it copies a pipe's commands to ExaBGP, and
ExaBGP's answers and events to a file, which is folded here into the routes held by each neighbor. It ends when ExaBGP does.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from .base import FAMILIES, WAIT, Daemon, Neighbor, Route, ext_community_text

FAMILY = dict(zip(FAMILIES, ("ipv4 unicast", "ipv6 unicast"), strict=True))
HELPER = """\
exec 3<&0
cat <>"$2" &
cat <&3 >>"$1"
kill $!
"""


class Exabgp(Daemon):
    """ExaBGP 4.2. `asn4=False` makes it a speaker of 2-octet AS numbers."""

    name = "exabgp"
    programs = ("exabgp",)
    package = "exabgp"
    sends_unknown = True
    asn4 = True

    @classmethod
    def version(cls) -> str:
        done = subprocess.run(["exabgp", "--version"], capture_output=True, text=True, check=False)
        return " ".join(done.stdout.split()[:3])

    # -- life ------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        return ["exabgp", str(self.workdir / "exabgp.conf")]

    def environment(self) -> dict[str, str]:
        return {
            "exabgp_daemon_user": "root",
            "exabgp_daemon_drop": "false",
            "exabgp_api_cli": "false",
            "exabgp_log_destination": "stdout",
            "exabgp_reactor_speed": "0.1",
        }

    def write_config(self) -> None:
        self._commands = self.workdir / "commands"
        self._events = self.workdir / "events"
        # The helper of an instance that was killed may still have the old ones open.
        for path in (self._commands, self._events):
            path.unlink(missing_ok=True)
        os.mkfifo(self._commands)
        self._events.touch()
        self._offset = 0
        self._answers: list[str] = []
        self._updates = 0
        self._states: dict[str, str] = {}
        self._routes: dict[str, dict[str, Route]] = {}
        self.refreshes: list[dict[str, Any]] = []
        """ROUTE-REFRESH messages received, oldest first."""
        helper = self.workdir / "helper.sh"
        helper.write_text(HELPER)
        lines = [
            "process helper {",
            f"  run /bin/sh {helper} {self._events} {self._commands};",
            "  encoder json;",
            "}",
        ]
        for neighbor in self.neighbors.values():
            lines += self._neighbor(neighbor)
        (self.workdir / "exabgp.conf").write_text("\n".join(lines) + "\n")

    def _neighbor(self, neighbor: Neighbor) -> list[str]:
        local = self.host.address if neighbor.version == 4 else self.host.address6
        return [
            f"neighbor {neighbor.address} {{",
            f"  router-id {self.router_id};",
            f"  local-address {local};",
            f"  local-as {self.asn};",
            f"  peer-as {neighbor.asn};",
            f"  hold-time {neighbor.hold_time};",
            f"  connect {neighbor.port};",
            *([f"  passive; listen {neighbor.port};"] if neighbor.passive else []),
            f"  family {{ {' '.join(FAMILY[family] + ';' for family in neighbor.families)} }}",
            f"  capability {{ asn4 {'enable' if self.asn4 else 'disable'}; route-refresh enable; }}",
            "  api { processes [ helper ]; neighbor-changes;",
            "        receive { parsed; update; refresh; notification; } }",
            "  static {",
            *(
                f"    {self._route(prefix)};"
                for prefix, exported in self.exported.items()
                if exported.route.family in neighbor.families
            ),
            "  }",
            "}",
        ]

    def _route(self, prefix: str) -> str:
        """Return the route in ExaBGP's language, the same in the file and in commands."""
        exported = self.exported[prefix]
        route = exported.route
        own = self.host.address6 if ":" in prefix else self.host.address
        path = " ".join(str(asn) for asn in (self.asn, *route.as_path))
        words = [f"route {prefix} next-hop {route.next_hop or own}"]
        words += [f"origin {route.origin} as-path [ {path} ]"]
        if route.med is not None:
            words.append(f"med {route.med}")
        if route.communities:
            words.append(f"community [ {' '.join(sorted(route.communities))} ]")
        if route.large_communities:
            words.append(f"large-community [ {' '.join(sorted(route.large_communities))} ]")
        if route.ext_communities:
            texts = (
                text.replace("rt:", "target:").replace("ro:", "origin:")
                for text in sorted(route.ext_communities)
            )
            words.append(f"extended-community [ {' '.join(texts)} ]")
        for kind, flags, value in exported.raw_attributes:
            words.append(f"attribute [ {kind:#04x} {flags:#04x} 0x{value.hex()} ]")
        return " ".join(words)

    def answers(self) -> bool:
        return "reactor" in self.log_tail() and "loaded new configuration" in self.log_tail()

    def tell(self, command: str) -> None:
        """Give ExaBGP a command and wait until it says that it is done."""
        self._read()
        before = len(self._answers)
        with self._commands.open("w") as pipe:
            pipe.write(command + "\n")

        def answered() -> bool:
            self._read()
            return len(self._answers) > before

        self.wait(answered, f"answer to {command!r}", WAIT)
        if self._answers[-1] != "done":
            raise RuntimeError(f"exabgp: {command}: {self._answers[before:]}\n{self.log_tail()}")

    def apply(self, prefix: str) -> None:
        family = FAMILIES[":" in prefix]
        for neighbor in self.neighbors.values():
            if family not in neighbor.families:
                continue
            if prefix in self.exported:
                self.tell(f"neighbor {neighbor.address} announce {self._route(prefix)}")
            else:
                self.tell(f"neighbor {neighbor.address} withdraw route {prefix}")

    # -- what it sees ----------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        self._read()
        return self._states

    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        self._read()
        found: dict[str, Route] = {}
        for address in [neighbor] if neighbor else list(self.neighbors):
            found.update(self._routes.get(address, {}))
        return found

    def route_refresh(self, neighbor: str) -> None:
        for family in self.neighbors[neighbor].families:
            self.tell(f"neighbor {neighbor} announce route-refresh {FAMILY[family]}")

    def updates_received(self) -> int:
        self._read()
        return self._updates

    def _read(self) -> None:
        """Fold what the events file has gained into states and routes."""
        with self._events.open("rb") as stream:
            stream.seek(self._offset)
            while (line := stream.readline()).endswith(b"\n"):
                self._offset += len(line)
                text = line.decode().strip()
                if text.startswith("{"):
                    # A refresh event quotes its strings twice.
                    self._event(json.loads(text.replace('""', '"')))
                elif text:
                    self._answers.append(text)

    def _event(self, event: dict[str, Any]) -> None:
        neighbor = event.get("neighbor", {})
        address = neighbor.get("address", {}).get("peer")
        match event["type"]:
            case "state":
                up = neighbor["state"] == "up"
                self._states[address] = "established" if up else neighbor["state"]
                if not up:
                    self._routes.pop(address, None)
            case "refresh":
                self.refreshes.append(neighbor)
            case "update":
                self._updates += 1
                update = neighbor["message"].get("update", {})
                held = self._routes.setdefault(address, {})
                for family in update.get("withdraw", {}).values():
                    for item in family:
                        held.pop(item["nlri"], None)
                for family in update.get("announce", {}).values():
                    # A link-local next hop comes as one more entry beside the global one.
                    by_scope = sorted(family.items(), key=lambda item: item[0].startswith("fe80"))
                    for next_hop, items in by_scope[:1]:
                        for item in items:
                            if "nlri" in item:
                                attributes = update.get("attribute", {})
                                held[item["nlri"]] = _route(item["nlri"], next_hop, attributes)


def _route(prefix: str, next_hop: str, attributes: dict[str, Any]) -> Route:
    return Route(
        prefix,
        next_hop=next_hop,
        as_path=tuple(
            frozenset(asn) if isinstance(asn, list) else asn
            for asn in attributes.get("as-path", ())
        ),
        origin=attributes["origin"],
        med=attributes.get("med"),
        local_pref=attributes.get("local-preference"),
        communities=frozenset(f"{high}:{low}" for high, low in attributes.get("community", ())),
        large_communities=frozenset(
            ":".join(map(str, parts)) for parts in attributes.get("large-community", ())
        ),
        ext_communities=frozenset(
            # Its own text shows some numbers as addresses.
            ext_community_text(item["value"].to_bytes(8, "big"))
            for item in attributes.get("extended-community", ())
        ),
    )
