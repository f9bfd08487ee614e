"""BIRD 2: static routes with attributes, changed by `configure`; text read from its socket."""

from __future__ import annotations

import re
import socket
import subprocess

from .base import Daemon, Neighbor, Route, Seen

FAMILY = {"ipv4-unicast": ("ipv4", "4"), "ipv6-unicast": ("ipv6", "6")}
ORIGIN = {"igp": "ORIGIN_IGP", "egp": "ORIGIN_EGP", "incomplete": "ORIGIN_INCOMPLETE"}


class Bird(Daemon):
    """BIRD 2.0 or later."""

    name = "bird"
    programs = ("/usr/sbin/bird",)
    package = "bird2"

    @classmethod
    def version(cls) -> str:
        done = subprocess.run(
            [cls.programs[0], "--version"], capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip()

    # -- life ------------------------------------------------------------------------------------

    restarts = False
    """The next start is a graceful restart."""

    def command(self) -> list[str]:
        return [
            self.programs[0],
            *("-f", "-c", str(self.workdir / "bird.conf"), "-s", str(self.workdir / "bird.ctl")),
            *("-P", str(self.workdir / "bird.pid")),
            *(["-R"] if self.restarts else []),
        ]

    def write_config(self) -> None:
        lines = [
            f"router id {self.router_id};",
            f'log "{self.log}" all;',
            "protocol device { }",
        ]
        for family, (table, version) in FAMILY.items():
            lines.append(f"protocol static announced{version} {{ {table};")
            lines += [
                self._static(exported.route)
                for exported in self.exported.values()
                if exported.route.family == family
            ]
            lines.append("}")
        for prefix, communities in self.more.items():
            for community in communities:
                tag = f"bgp_community.add(({community.replace(':', ',')}));"
                lines.append(
                    f"protocol static {{ {'ipv6' if ':' in prefix else 'ipv4'};"
                    f" route {prefix} blackhole {{ {tag} }}; }}"
                )
        for neighbor in self.neighbors.values():
            local = self.host.address if neighbor.version == 4 else self.host.address6
            lines += [
                f"protocol bgp {neighbor.label} {{",
                f"  local {local} as {self.asn};",
                f"  neighbor {neighbor.address} port {neighbor.port} as {neighbor.asn};",
                f"  direct; hold time {neighbor.hold_time}; enforce first as off;",
                "  connect delay time 1; connect retry time 1; error wait time 1, 2;",
                "  enable extended messages on;",
                *self._restart(neighbor),
                *(["  passive;"] if neighbor.passive else []),
                *([f"  local role {neighbor.role.replace('-', '_')};"] if neighbor.role else []),
                *(["  require roles;"] if neighbor.strict_role else []),
                *(f"  {statement};" for statement in neighbor.options),
            ]
            for family in neighbor.families:
                table, version = FAMILY[family]
                own = self.host.address if version == "4" else self.host.address6
                lines.append(
                    f"  {table} {{ import all; next hop address {own};"
                    f"{_add_paths(neighbor)}"
                    f" export filter {{ if source != RTS_STATIC then reject;"
                    f" {self._export(family)}accept; }}; }};"
                )
            lines.append("}")
        (self.workdir / "bird.conf").write_text("\n".join(lines) + "\n")

    @staticmethod
    def _restart(neighbor: Neighbor) -> list[str]:
        if not neighbor.graceful:
            return ["  graceful restart off; long lived graceful restart off;"]
        stale = f"on; long lived stale time {neighbor.long_lived}" if neighbor.long_lived else "off"
        return [
            "  graceful restart on; graceful restart time 60;",
            f"  long lived graceful restart {stale};",
        ]

    @staticmethod
    def _static(route: Route) -> str:
        """Return the static route; what it sets becomes the exported BGP attributes."""
        sets = [f"bgp_origin = {ORIGIN[route.origin]};"]
        sets += [f"bgp_path.prepend({asn});" for asn in reversed(route.as_path)]
        for community in sorted(route.communities):
            sets.append(f"bgp_community.add(({community.replace(':', ',')}));")
        for community in sorted(route.large_communities):
            sets.append(f"bgp_large_community.add(({community.replace(':', ',')}));")
        for community in sorted(route.ext_communities):
            sets.append(f"bgp_ext_community.add(({community.replace(':', ',')}));")
        return f"  route {route.prefix} blackhole {{ {' '.join(sets)} }};"

    def _export(self, family: str) -> str:
        """Return filter statements for what eBGP sends only when the export filter sets it."""
        statements = []
        for route in (exported.route for exported in self.exported.values()):
            if route.family == family and route.med is not None:
                statements.append(f"if net = {route.prefix} then bgp_med = {route.med}; ")
            if route.family == family and route.next_hop is not None:
                statements.append(f"if net = {route.prefix} then bgp_next_hop = {route.next_hop}; ")
        return "".join(statements)

    def answers(self) -> bool:
        try:
            self.birdc("show status")
        except OSError:
            return False
        return True

    def birdc(self, command: str) -> list[tuple[str, str]]:
        """Run one command; return (code, text) of each reply line. RuntimeError for 8xxx, 9xxx."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as stream:
            sock.settimeout(10)
            sock.connect(str(self.workdir / "bird.ctl"))
            lines = [*_reply(stream)]  # the greeting
            stream.write(command + "\n")
            stream.flush()
            lines = [*_reply(stream)]
        for code, text in lines:
            if code >= "8000":
                raise RuntimeError(f"bird: {command}: {code} {text}")
        return lines

    def apply(self, prefix: str) -> None:
        self.write_config()
        self.birdc("configure")

    # -- what it sees ----------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        labels = {neighbor.label: address for address, neighbor in self.neighbors.items()}
        states = {}
        for code, text in self.birdc("show protocols"):
            words = text.split()
            if code == "1002" and words[0] in labels:
                states[labels[words[0]]] = words[5].lower() if len(words) > 5 else "down"
        return states

    def routes(self, neighbor: str | None = None) -> dict[str, Route]:
        wanted = [neighbor] if neighbor else list(self.neighbors)
        found: dict[str, Route] = {}
        for address in wanted:
            label = self.neighbors[address].label
            for version in "46":
                command = f"show route all table master{version} protocol {label}"
                try:
                    reply = self.birdc(command)
                except RuntimeError as error:
                    if "8001" in str(error):  # network not found: the table is empty
                        continue
                    raise
                found.update(_parse(reply))
        return found

    def paths(self, prefix: str) -> list[Seen]:
        try:
            reply = self.birdc(f"show route all for {prefix}")
        except RuntimeError as error:
            if "8001" in str(error):  # network not found
                return []
            raise
        found: list[dict[str, str]] = []
        for code, text in reply:
            if code == "1007" and "[" in text:
                found.append({})
            elif code == "1012" and ":" in text:
                name, _, value = text.strip().partition(": ")
                found[-1].setdefault(name.rstrip(":"), value)
        return [
            Seen(
                med=int(path["BGP.med"]) if "BGP.med" in path else None,
                local_pref=int(path["BGP.local_pref"]),
                next_hop=path["BGP.next_hop"].split()[0],
                originator=path.get("BGP.originator_id"),
                clusters=tuple(path.get("BGP.cluster_list", "").split()),
            )
            for path in found
            if "BGP.local_pref" in path
        ]

    def route_refresh(self, neighbor: str) -> None:
        self.birdc(f"reload in {self.neighbors[neighbor].label}")

    def updates_received(self) -> int:
        lines = (
            text
            for neighbor in self.neighbors.values()
            for _, text in self.birdc(f"show protocols all {neighbor.label}")
        )
        return sum(int(line.split()[2]) for line in lines if "Import updates:" in line)


def _add_paths(neighbor: Neighbor) -> str:
    words = [w for w, yes in (("rx", neighbor.receives_paths), ("tx", neighbor.sends_paths)) if yes]
    return f" add paths {'on' if len(words) == 2 else words[0]};" if words else ""


def _reply(stream: object) -> list[tuple[str, str]]:
    """Read one reply: `NNNN-text` lines, ` text` continuing the same code, `NNNN text` at last."""
    lines: list[tuple[str, str]] = []
    code = ""
    for line in stream:  # type: ignore[attr-defined]
        text = line.rstrip("\n")
        if re.match(r"\d{4}[- ]", text):
            code = text[:4]
            lines.append((code, text[5:]))
            if text[4] == " ":
                return lines
        else:
            lines.append((code, text[1:]))
    raise OSError("bird closed its control socket")


def _parse(reply: list[tuple[str, str]]) -> dict[str, Route]:
    """Read `show route all`: 1007 opens a route, 1012 lines are its attributes."""
    routes: dict[str, dict[str, str]] = {}
    attributes: dict[str, str] = {}
    prefix = ""
    for code, text in reply:
        if code == "1007":
            first = text.split()[0] if text[:1].strip() else ""
            if "/" in first:
                prefix = first
                attributes = routes.setdefault(prefix, {})
        elif code == "1012" and ":" in text:
            name, _, value = text.strip().partition(": ")
            attributes.setdefault(name.rstrip(":"), value)
    return {prefix: _route(prefix, attributes) for prefix, attributes in routes.items()}


def _route(prefix: str, attributes: dict[str, str]) -> Route:
    def tuples(name: str) -> frozenset[str]:
        inner = re.findall(r"\(([^)]*)\)", attributes.get(name, ""))
        return frozenset(re.sub(r",\s*", ":", text) for text in inner)

    def number(name: str) -> int | None:
        return int(attributes[name]) if name in attributes else None

    path: list[int | frozenset[int]] = []
    for word in re.findall(r"\{[^}]*\}|\d+", attributes.get("BGP.as_path", "")):
        asns = [int(asn) for asn in re.findall(r"\d+", word)]
        path.append(frozenset(asns) if word.startswith("{") else asns[0])
    next_hops = attributes.get("BGP.next_hop", "").split()
    return Route(
        prefix,
        next_hop=next_hops[0] if next_hops else None,
        as_path=tuple(path),
        origin=attributes.get("BGP.origin", "").lower(),
        med=number("BGP.med"),
        local_pref=number("BGP.local_pref"),
        communities=tuples("BGP.community"),
        large_communities=tuples("BGP.large_community"),
        ext_communities=tuples("BGP.ext_community"),
    )
