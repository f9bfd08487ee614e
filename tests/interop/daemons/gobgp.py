"""GoBGP: routes added over its gRPC interface by the `gobgp` command, which answers in JSON."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from typing import Any

from .base import FAMILIES, WAIT, Daemon, Route, Seen

AFI_SAFI = dict(zip(FAMILIES, ("ipv4-unicast", "ipv6-unicast"), strict=True))
SHORT = dict(zip(FAMILIES, ("ipv4", "ipv6"), strict=True))
ORIGINS = ("igp", "egp", "incomplete")


class Gobgp(Daemon):
    """GoBGP 3."""

    name = "gobgp"
    programs = ("gobgpd", "gobgp")
    package = "gobgpd"
    # The command has no keyword for route origin, and cuts a 4-octet AS to 65535.
    sends_ext = ("rt",)
    # Its soft reset works on the Adj-RIB-In which it keeps.
    asks_refresh = False

    @classmethod
    def version(cls) -> str:
        done = subprocess.run(["gobgpd", "--version"], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    # -- life ------------------------------------------------------------------------------------

    restarts = False
    """The next start is a graceful restart: neighbors are enabled when routes are there again, as
    its End-of-RIB would come before them."""

    @property
    def _target(self) -> str:
        return f"unix://{self.workdir / 'api.sock'}"

    def command(self) -> list[str]:
        return [
            *("gobgpd", "-f", str(self.workdir / "gobgpd.toml"), "--log-plain"),
            *("--pprof-disable", f"--api-hosts={self._target}"),
            *(["-r"] if self.restarts else []),
        ]

    def write_config(self) -> None:
        (self.workdir / "api.sock").unlink(missing_ok=True)
        lines = [
            "[global.config]",
            f"as = {self.asn}",
            f'router-id = "{self.router_id}"',
            f'local-address-list = ["{self.host.address}", "{self.host.address6}"]',
        ]
        lines += [
            "[global.apply-policy.config]",
            'export-policy-list = ["own"]',
            'default-export-policy = "reject-route"',
            "[[policy-definitions]]",
            'name = "own"',
            "[[policy-definitions.statements]]",
            'name = "own"',
            "[policy-definitions.statements.conditions.bgp-conditions]",
            'route-type = "local"',
            "[policy-definitions.statements.actions]",
            'route-disposition = "accept-route"',
        ]
        for neighbor in self.neighbors.values():
            local = self.host.address if neighbor.version == 4 else self.host.address6
            lines += [
                "[[neighbors]]",
                "[neighbors.config]",
                f'neighbor-address = "{neighbor.address}"',
                f"peer-as = {neighbor.asn}",
                f"admin-down = {str(self.restarts).lower()}",
                "[neighbors.transport.config]",
                f'local-address = "{local}"',
                f"passive-mode = {str(neighbor.passive).lower()}",
                f"remote-port = {neighbor.port}",
                "[neighbors.timers.config]",
                "connect-retry = 1",
                "idle-hold-time-after-reset = 1",
                f"hold-time = {neighbor.hold_time}",
                f"keepalive-interval = {max(neighbor.hold_time // 3, 1)}",
            ]
            if neighbor.graceful:
                lines += [
                    "[neighbors.graceful-restart.config]",
                    "enabled = true",
                    "restart-time = 60",
                    f"long-lived-enabled = {str(bool(neighbor.long_lived)).lower()}",
                    f"notification-enabled = {str(neighbor.notification).lower()}",
                ]
            for family in neighbor.families:
                lines += [
                    "[[neighbors.afi-safis]]",
                    "[neighbors.afi-safis.config]",
                    f'afi-safi-name = "{AFI_SAFI[family]}"',
                    "[neighbors.afi-safis.add-paths.config]",
                    f"receive = {str(neighbor.receives_paths).lower()}",
                    f"send-max = {8 if neighbor.sends_paths else 0}",
                ]
                if neighbor.graceful:
                    lines += ["[neighbors.afi-safis.mp-graceful-restart.config]", "enabled = true"]
                if neighbor.long_lived:
                    lines += [
                        "[neighbors.afi-safis.long-lived-graceful-restart.config]",
                        "enabled = true",
                        f"restart-time = {neighbor.long_lived}",
                    ]
        (self.workdir / "gobgpd.toml").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        super().start()
        for prefix in self.exported:
            self.apply(prefix)
        for prefix, communities in self.more.items():
            family = SHORT[FAMILIES[":" in prefix]]
            own = self.host.address6 if ":" in prefix else self.host.address
            for number, community in enumerate(communities, start=1):
                words = [prefix, "identifier", str(number), "origin", "igp", "nexthop", own]
                self.gobgp("global", "rib", "add", *words, "community", community, "-a", family)
        if self.restarts:
            for address in self.neighbors:
                self.gobgp("neighbor", address, "enable")

    def gobgp(self, *words: str) -> Any:
        """Run `gobgp -j`; return the decoded answer, or its text where that is not JSON."""
        done = subprocess.run(
            ["gobgp", "--target", self._target, "-j", *words],
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        # Errors of `rib add` come on standard output, with status 1 or 0.
        if done.returncode or done.stderr.strip():
            raise RuntimeError(f"gobgp {' '.join(words)}: {done.stdout}{done.stderr}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout.strip()

    def answers(self) -> bool:
        if not (self.workdir / "api.sock").exists():
            return False
        try:
            self.gobgp("global")
        except RuntimeError:
            return False
        return True

    def apply(self, prefix: str) -> None:
        family = SHORT[FAMILIES[":" in prefix]]
        exported = self.exported.get(prefix)
        if exported is None:
            self.gobgp("global", "rib", "del", prefix, "-a", family)
            return
        route = exported.route
        words = [prefix, "origin", route.origin]
        if route.as_path:
            words += ["aspath", " ".join(str(asn) for asn in route.as_path)]
        # By itself it would take the IPv4 address, on IPv4 transport, for the next hop of IPv6.
        own = self.host.address6 if ":" in prefix else self.host.address
        words += ["nexthop", route.next_hop or own]
        if route.med is not None:
            words += ["med", str(route.med)]
        if route.communities:
            words += ["community", ",".join(sorted(route.communities))]
        if route.large_communities:
            words += ["large-community", ",".join(sorted(route.large_communities))]
        if route.ext_communities:
            words += ["rt", *(text.removeprefix("rt:") for text in sorted(route.ext_communities))]
        answer = self.gobgp("global", "rib", "add", *words, "-a", family)
        if answer:
            raise RuntimeError(f"gobgp global rib add {' '.join(words)}: {answer}")

    # -- what it sees ----------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        states = {}
        for neighbor in self.gobgp("neighbor") or []:
            state = neighbor["state"]
            states[str(ipaddress.ip_address(state["neighbor_address"]))] = _state(
                state.get("session_state", 0)
            )
        return states

    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        wanted = [neighbor] if neighbor else list(self.neighbors)
        found: dict[str, Route] = {}
        for address in wanted:
            for family in self.neighbors[address].families:
                try:
                    answer = self.gobgp("neighbor", address, "adj-in", "-a", SHORT[family])
                except RuntimeError as error:
                    if "session is not established" in str(error):
                        continue
                    raise
                if not isinstance(answer, dict):
                    continue
                for prefix, paths in answer.items():
                    found[prefix] = _route(prefix, paths[0]["attrs"])
        return found

    def paths(self, prefix: str) -> list[Seen]:
        found: list[Seen] = []
        for address in self.neighbors:
            answer = self.gobgp("neighbor", address, "adj-in", "-a", "ipv4")
            for path in answer.get(prefix, []) if isinstance(answer, dict) else []:
                by_type = {attribute["type"]: attribute for attribute in path["attrs"]}
                found.append(
                    Seen(
                        med=by_type.get(4, {}).get("metric"),
                        local_pref=by_type.get(5, {}).get("value"),
                        next_hop=by_type[3]["nexthop"],
                        originator=by_type.get(9, {}).get("value"),
                        clusters=tuple(by_type.get(10, {}).get("value", ())),
                    )
                )
        return found

    def route_refresh(self, neighbor: str) -> None:
        raise RuntimeError("gobgp sends no ROUTE-REFRESH")

    def updates_received(self) -> int:
        messages = (neighbor["state"].get("messages", {}) for neighbor in self.gobgp("neighbor"))
        return sum(message.get("received", {}).get("update", 0) for message in messages)


def _state(state: int | str) -> str:
    names = ("unknown", "idle", "connect", "active", "opensent", "openconfirm", "established")
    return names[state] if isinstance(state, int) else state.lower()


def _route(prefix: str, attributes: list[dict[str, Any]]) -> Route:
    fields: dict[str, Any] = {}
    for attribute in attributes:
        match attribute["type"]:
            case 1:
                fields["origin"] = ORIGINS[attribute["value"]]
            case 2:
                path: list[int | frozenset[int]] = []
                for segment in attribute["as_paths"] or []:
                    if segment["segment_type"] == 1:
                        path.append(frozenset(segment["asns"]))
                    else:
                        path += segment["asns"]
                fields["as_path"] = tuple(path)
            case 3 | 14:
                fields["next_hop"] = attribute["nexthop"]
            case 4:
                fields["med"] = attribute["metric"]
            case 5:
                fields["local_pref"] = attribute["value"]
            case 8:
                fields["communities"] = frozenset(
                    f"{value >> 16}:{value & 0xFFFF}" for value in attribute["communities"]
                )
            case 16:
                fields["ext_communities"] = frozenset(
                    {2: "rt", 3: "ro"}.get(value.get("subtype"), "generic") + f":{value['value']}"
                    for value in attribute["value"]
                )
            case 32:
                fields["large_communities"] = frozenset(
                    f"{value['ASN']}:{value['LocalData1']}:{value['LocalData2']}"
                    for value in attribute["value"]
                )
    return Route(prefix, **fields)
