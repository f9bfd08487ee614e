"""FRR: bgpd with zebra; networks with route-maps, changed by vtysh; JSON from `show`.

zebra has to be there: without it bgpd knows no interfaces, and takes every IPv6 next hop which
comes with a link-local address for an error. RS_FRR names another folder than Debian's with bgpd;
where that has no zebra, tests of IPv4 without restarts do as well. Its vtysh is found first on PATH.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import FAMILIES, WAIT, Daemon, Route, Seen, communities_from_text

if TYPE_CHECKING:
    from .lan import Process

FAMILY = dict(zip(FAMILIES, ("ipv4 unicast", "ipv6 unicast"), strict=True))

SBIN = Path(os.environ.get("RS_FRR") or "/usr/lib/frr")
ZEBRA = SBIN / "zebra"
ALONE = bool(os.environ.get("RS_FRR")) and not ZEBRA.exists()
"""bgpd does without zebra."""
LEARNED = 179
"""Tag of routes from neighbors, which are not exported."""


class Frr(Daemon):
    """FRR's bgpd, 8 or later."""

    name = "frr"
    programs = (str(SBIN / "bgpd"), *([] if ALONE else [str(ZEBRA)]), "vtysh")
    package = "frr"
    default_med = 0

    @classmethod
    def version(cls) -> str:
        done = subprocess.run(
            [cls.programs[0], "--version"], capture_output=True, text=True, check=False
        )
        return done.stdout.splitlines()[0] if done.stdout else done.stderr.strip()

    @classmethod
    def release(cls) -> tuple[int, ...]:
        """Return the numbers of the version, such as (8, 4, 4); (0,) where there is none."""
        try:
            found = re.search(r"version (\d+(?:\.\d+)*)", cls.version())
        except OSError:
            found = None
        return tuple(map(int, found[1].split("."))) if found else (0,)

    # -- life ------------------------------------------------------------------------------------

    _zebra: Process | None = None

    @property
    def _zserv(self) -> Path:
        return self.workdir / "zserv.api"

    def _common(self, program: str) -> list[str]:
        """Return the options which zebra and bgpd share; both stay root, inside `workdir`."""
        return [
            *("--log", "stdout", "--vty_socket", str(self.workdir), "--vty_port", "0"),
            *("--config_file", str(self.workdir / f"{program}.conf")),
            *("--pid_file", str(self.workdir / f"{program}.pid")),
            *("--user", "root", "--group", "frrvty", "--socket", str(self._zserv)),
        ]

    def command(self) -> list[str]:
        alone = ["--no_zebra"] if ALONE else []
        return [self.programs[0], "--no_kernel", *alone, *self._common("bgpd")]

    def start(self) -> None:
        if ALONE:
            super().start()
            return
        (self.workdir / "zebra.conf").write_text("")
        self._zserv.unlink(missing_ok=True)
        self._zebra = self.host.start(
            [str(ZEBRA), *self._common("zebra")], self.workdir / "zebra.log", cwd=self.workdir
        )
        self.wait(self._zserv.exists, "have zebra listening")
        super().start()

    def stop(self) -> None:
        super().stop()
        if self._zebra is not None:
            self._zebra.stop()

    def kill(self) -> None:
        super().kill()
        if self._zebra is not None:
            self._zebra.kill()

    def write_config(self) -> None:
        self._version: dict[str, int] = {}
        (self.workdir / "bgpd.vty").unlink(missing_ok=True)
        (self.workdir / "vtysh.conf").write_text("")
        lines = [
            *("route-map IN permit 10", f" set tag {LEARNED}", "exit"),
            *("route-map OUT deny 10", f" match tag {LEARNED}", "exit"),
            *("route-map OUT permit 20", "exit"),
            *(line for prefix in self.exported for line in self._route_map(prefix)),
            f"router bgp {self.asn}",
            f" bgp router-id {self.router_id}",
            " no bgp ebgp-requires-policy",
            *self._restart(),
            " no bgp default ipv4-unicast",
            " no bgp network import-check",
        ]
        for neighbor in self.neighbors.values():
            local = self.host.address if neighbor.version == 4 else self.host.address6
            session = [
                f"remote-as {neighbor.asn}",
                f"port {neighbor.port}",
                f"update-source {local}",
                "disable-connected-check",
                f"timers {max(neighbor.hold_time // 3, 1)} {neighbor.hold_time}",
                "timers connect 1",
                "advertisement-interval 0",
                *(["passive"] if neighbor.passive else []),
            ]
            if neighbor.role is not None:
                strict = " strict-mode" if neighbor.strict_role else ""
                session.append(f"local-role {neighbor.role}{strict}")
            lines += [f" neighbor {neighbor.address} {words}" for words in session]
            lines.append(f" no neighbor {neighbor.address} enforce-first-as")
        for family in FAMILIES:
            lines.append(f" address-family {FAMILY[family]}")
            lines += [
                f"  {self._network(prefix)}"
                for prefix, exported in self.exported.items()
                if exported.route.family == family
            ]
            for neighbor in self.neighbors.values():
                if family in neighbor.families:
                    lines.append(f"  neighbor {neighbor.address} activate")
                    lines.append(f"  neighbor {neighbor.address} route-map IN in")
                    lines.append(f"  neighbor {neighbor.address} route-map OUT out")
            lines.append(" exit-address-family")
        lines.append("exit")
        (self.workdir / "bgpd.conf").write_text("\n".join(lines) + "\n")

    def _restart(self) -> list[str]:
        if not any(neighbor.graceful for neighbor in self.neighbors.values()):
            return [" bgp graceful-restart-disable"]
        return [
            " bgp graceful-restart",
            " bgp graceful-restart preserve-fw-state",
            " bgp graceful-restart restart-time 60",
            " bgp graceful-restart select-defer-time 10",
        ]

    def _map_name(self, prefix: str) -> str:
        """Name the prefix's route-map, anew for each change of it.

        A map that is there keeps what the new text does not set; and bgpd 8.4 ends at an assertion
        when its configuration is shown after a map was removed and made again.
        """
        return f"M-{prefix.replace(':', '.').replace('/', '-')}-{self._version.get(prefix, 0)}"

    def _network(self, prefix: str) -> str:
        return f"network {prefix} route-map {self._map_name(prefix)}"

    def _route_map(self, prefix: str) -> list[str]:
        """Return the route-map that gives the network its attributes."""
        route = self.exported[prefix].route
        lines = [f"route-map {self._map_name(prefix)} permit 10", f" set origin {route.origin}"]
        if route.as_path:
            lines.append(f" set as-path prepend {' '.join(map(str, route.as_path))}")
        if route.med is not None:
            lines.append(f" set metric {route.med}")
        if route.communities:
            lines.append(f" set community {' '.join(sorted(route.communities))}")
        if route.large_communities:
            lines.append(f" set large-community {' '.join(sorted(route.large_communities))}")
        for kind, keyword in (("rt", "rt"), ("ro", "soo")):
            values = [t.partition(":")[2] for t in sorted(route.ext_communities) if t[:2] == kind]
            if values:
                lines.append(f" set extcommunity {keyword} {' '.join(values)}")
        if route.family == FAMILIES[1]:
            lines.append(f" set ipv6 next-hop global {route.next_hop or self.host.address6}")
        elif route.next_hop is not None:
            lines.append(f" set ip next-hop {route.next_hop}")
        return [*lines, "exit"]

    def vtysh(self, *commands: str) -> str:
        """Run commands; return what they print."""
        argv = ["vtysh", "--vty_socket", str(self.workdir), "--config_dir", str(self.workdir)]
        argv += ["-d", "bgpd"]
        for command in commands:
            argv += ["-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=False)
        if done.returncode or "% " in done.stdout:
            raise RuntimeError(f"vtysh {commands}: {done.stdout}{done.stderr}")
        return done.stdout

    def answers(self) -> bool:
        if not (self.workdir / "bgpd.vty").exists():
            return False
        try:
            self.vtysh("show version")
        except RuntimeError:
            return False
        return True

    def apply(self, prefix: str) -> None:
        family = FAMILY[FAMILIES[":" in prefix]]
        commands = ["configure terminal"]
        if prefix in self.exported:
            self._version[prefix] = self._version.get(prefix, 0) + 1
            commands += self._route_map(prefix)
            network = self._network(prefix)
        else:
            network = f"no network {prefix}"
        commands += [f"router bgp {self.asn}", f"address-family {family}", network]
        self.vtysh(*commands)

    # -- what it sees ----------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        answer = json.loads(self.vtysh("show bgp neighbors json"))
        return {
            address: neighbor["bgpState"].lower()
            for address, neighbor in answer.items()
            if isinstance(neighbor, dict) and "bgpState" in neighbor
        }

    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        found: dict[str, Route] = {}
        for family in FAMILIES:
            answer = json.loads(self.vtysh(f"show bgp {FAMILY[family]} json detail"))
            for prefix, paths in answer["routes"].items():
                for path in paths:
                    if "peer" not in path:  # the first entry is about the prefix
                        continue
                    peer = path["peer"]["peerId"]
                    if peer in self.neighbors and neighbor in {None, peer}:
                        found[prefix] = _route(prefix, path)
        return found

    def paths(self, prefix: str) -> list[Seen]:
        answer = json.loads(self.vtysh(f"show bgp ipv4 unicast {prefix} json"))
        return [
            Seen(
                med=path.get("metric", path.get("med")),
                local_pref=path.get("locPrf"),
                next_hop=path["nexthops"][0]["ip"],
                originator=path.get("originatorId"),
                clusters=tuple(path.get("clusterList", {}).get("list", ())),
            )
            for path in answer.get("paths", [])
            if path["peer"]["peerId"] in self.neighbors
        ]

    def route_refresh(self, neighbor: str) -> None:
        for family in self.neighbors[neighbor].families:
            self.vtysh(f"clear bgp {FAMILY[family]} {neighbor} in")

    def updates_received(self) -> int:
        answer = json.loads(self.vtysh("show bgp neighbors json"))
        return sum(answer[address]["messageStats"]["updatesRecv"] for address in self.neighbors)


def _route(prefix: str, path: dict[str, Any]) -> Route:
    as_path: list[int | frozenset[int]] = []
    for segment in path["aspath"].get("segments", []):
        if segment["type"] == "as-set":
            as_path.append(frozenset(segment["list"]))
        else:
            as_path += segment["list"]
    next_hops = [hop for hop in path["nexthops"] if hop.get("scope", "global") == "global"]
    ext = path.get("extendedCommunity", {}).get("string", "").split()
    return Route(
        prefix,
        next_hop=next_hops[0]["ip"] if next_hops else None,
        as_path=tuple(as_path),
        origin=path["origin"].lower(),
        med=path.get("metric"),
        local_pref=path.get("locPrf"),
        communities=communities_from_text(path.get("community", {}).get("string", "").split()),
        large_communities=frozenset(path.get("largeCommunity", {}).get("string", "").split()),
        ext_communities=frozenset(
            text.replace("RT:", "rt:").replace("SoO:", "ro:") for text in ext
        ),
    )
