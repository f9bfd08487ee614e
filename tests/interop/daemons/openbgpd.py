"""OpenBGPD: networks and the filters that give them attributes, changed by a reload; JSON.

It shows a MED of 0 where there is none, so a MED of 0 reads as None here.

The daemon splits into a privileged parent and two chrooted children; the chroot is a directory
under /run, which exists only here: the daemon gets a private /run of its own.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from typing import Any

from .base import FAMILIES, WAIT, Daemon, Route, communities_from_text

FAMILY = dict(zip(FAMILIES, ("IPv4 unicast", "IPv6 unicast"), strict=True))
CHROOT = "/run/openbgpd"
LEARNED = "4294967295:179:179"
"""Marks routes from neighbors, which are not exported; the Adj-RIB-In does not show it."""


class Openbgpd(Daemon):
    """OpenBGPD, the portable version."""

    name = "openbgpd"
    programs = ("/usr/sbin/bgpd", "/usr/sbin/bgpctl")
    package = "openbgpd"
    # A network's path can be its own AS only; ORIGIN is settable in filters.
    sends_as_path = False
    # On IPv4 transport it finds no IPv6 next hop of its own but ::1.
    mixes_families = False

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([cls.programs[0], "-V"], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    # -- life ------------------------------------------------------------------------------------

    @property
    def _socket(self) -> str:
        return str(self.workdir / "bgpd.sock")

    def command(self) -> list[str]:
        # `ip netns exec` has already made this mount namespace private.
        script = (
            f"mount -t tmpfs -o mode=755 tmpfs /run && mkdir {CHROOT} && "
            f"exec {self.programs[0]} -d -v -f {shlex.quote(str(self.workdir / 'bgpd.conf'))}"
        )
        return ["sh", "-c", script]

    def write_config(self) -> None:
        lines = [
            f"AS {self.asn}",
            f"router-id {self.router_id}",
            "fib-update no",
            f'socket "{self._socket}"',
            f"listen on {self.host.address}",
            f"listen on {self.host.address6}",
            "connect-retry 1",
        ]
        lines += [f"network {prefix}" for prefix in self.exported]
        for neighbor in self.neighbors.values():
            local = self.host.address if neighbor.version == 4 else self.host.address6
            lines += [
                f"neighbor {neighbor.address} {{",
                f"  remote-as {neighbor.asn}",
                f"  port {neighbor.port}",
                f"  local-address {local}",
                f"  holdtime {neighbor.hold_time}",
                "  enforce neighbor-as no",
                "  transparent-as no",
                "  announce restart no",
                *(["  passive"] if neighbor.passive else []),
                *(
                    f"  announce {FAMILY[family]}"
                    if family in neighbor.families
                    # IPv4 unicast is on by itself on IPv4 transport.
                    else f"  announce {FAMILY[family].split()[0]} none"
                    for family in FAMILIES
                ),
                "}",
            ]
        lines += ["allow from any", f"match from any set large-community {LEARNED}"]
        lines += ["allow to any", f"deny to any large-community {LEARNED}"]
        for exported in self.exported.values():
            lines += self._sets(exported.route)
        path = self.workdir / "bgpd.conf"
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    def _sets(self, route: Route) -> list[str]:
        """Return the filter rule that gives the route its attributes on the way out."""
        sets = [f"origin {route.origin}"]
        if route.med is not None:
            sets.append(f"metric {route.med}")
        if route.next_hop is not None:
            sets.append(f"nexthop {route.next_hop}")
        sets += [f"community {text}" for text in sorted(route.communities)]
        sets += [f"large-community {text}" for text in sorted(route.large_communities)]
        for text in sorted(route.ext_communities):
            kind, _, value = text.partition(":")
            sets.append(f"ext-community {'rt' if kind == 'rt' else 'soo'} {value}")
        return [f"match to any prefix {route.prefix} set {{ {' '.join(sets)} }}"]

    def bgpctl(self, *words: str) -> str:
        """Run bgpctl; return what it prints."""
        done = subprocess.run(
            ["/usr/sbin/bgpctl", "-s", self._socket, *words],
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"bgpctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def bgpctl_json(self, *words: str) -> Any:
        """Run bgpctl -j and decode."""
        return json.loads(self.bgpctl("-j", *words))

    def answers(self) -> bool:
        try:
            self.bgpctl("show", "summary")
        except RuntimeError:
            return False
        return True

    def reconnect(self, address: str) -> None:
        # It stays idle for 30 s after a session was lost, and longer each time.
        self.bgpctl("neighbor", address, "up")

    def apply(self, prefix: str) -> None:
        self.write_config()
        before = self._reloads()
        self.bgpctl("reload")
        # A reload that begins before the last one has ended may leave routes out.
        self.wait(lambda: self._reloads() > before, "end a reload")

    def _reloads(self) -> int:
        """Count the changes of configuration that are through."""
        return self.log.read_text(errors="replace").count("RDE soft reconfiguration done")

    # -- what it sees ----------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        neighbors = self.bgpctl_json("show", "neighbor").get("neighbors", [])
        return {neighbor["remote_addr"]: neighbor["state"].lower() for neighbor in neighbors}

    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        words = ["show", "rib", "in", "detail"]
        if neighbor is not None:
            words += ["neighbor", neighbor]
        entries = self.bgpctl_json(*words).get("rib", [])
        return {
            entry["prefix"]: _route(entry)
            for entry in entries
            if entry["neighbor"]["remote_addr"] in self.neighbors
        }

    def wait_route(self, expected: Route, timeout: float = WAIT) -> None:
        super().wait_route(replace(expected, med=expected.med or None), timeout)

    def route_refresh(self, neighbor: str) -> None:
        self.bgpctl("neighbor", neighbor, "refresh")

    def updates_received(self) -> int:
        neighbors = self.bgpctl_json("show", "neighbor")["neighbors"]
        return sum(neighbor["stats"]["update"]["received"]["updates"] for neighbor in neighbors)


def _route(entry: dict[str, Any]) -> Route:
    path: list[int | frozenset[int]] = []
    group: set[int] | None = None
    for word in entry["aspath"].split():
        if word == "{":
            group = set()
        elif word == "}":
            path.append(frozenset(group or ()))
            group = None
        elif group is not None:
            group.add(int(word))
        else:
            path.append(int(word))
    ext = (
        text.replace("soo ", "ro:").replace(" ", ":")
        for text in _list(entry, "extended_communities")
    )
    return Route(
        entry["prefix"],
        next_hop=entry.get("exit_nexthop"),
        as_path=tuple(path),
        origin=entry["origin"].lower(),
        med=entry["metric"] or None,
        local_pref=entry.get("localpref"),
        communities=communities_from_text(_list(entry, "communities")),
        large_communities=frozenset(_list(entry, "large_communities")),
        ext_communities=frozenset(ext),
    )


def _list(entry: dict[str, Any], name: str) -> list[str]:
    value = entry.get(name, [])
    return value if isinstance(value, list) else str(value).split(", ")
