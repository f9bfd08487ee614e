"""Adapters: for each daemon its configuration, command, version, and what it can be asked for.

In: a `Site`, the same for all. Out: files in a directory and a command to run there. Every daemon
gets the same sessions: passive, on its own address, route-server clients (or reflector clients),
everything accepted, attributes untouched, no timers that delay on purpose. Where a daemon has a
faster mode that changes nothing of what members get, it is used (FRR's peer groups), and where
exactness needs a slower one, that is used only in the scenarios that need it (BIRD's `secondary`).
"""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.tables import RS_ASN, member_address, member_asn
from bench.wire.bed import DAEMON, text

if TYPE_CHECKING:
    from bench.wire.filters import Filters

PORT = 179


@dataclass(frozen=True)
class Site:
    """What the daemon is to be: `members` sessions, of the kind that a scenario needs."""

    members: int
    reflector: bool = False
    ipv6: bool = False
    next_best: bool = False
    """A member that may not have the best path must get the next best (RFC 7947 2.3.1)."""
    tags: bool = False
    """`0:AS` keeps a route from that member."""
    addpath: frozenset[int] = frozenset()
    extended: frozenset[int] = frozenset()
    filters: Filters | None = None
    """Import filters are on; only rs has them here."""

    def asn(self, member: int) -> int:
        return RS_ASN if self.reflector else member_asn(member)

    def address(self, member: int) -> str:
        return text(member_address(member))


@dataclass
class Daemon:
    """One kind of daemon; subclasses say how it is set up."""

    name: ClassVar[str]
    path: str
    ready_s: ClassVar[float] = 120.0
    can_next_best: ClassVar[bool] = True
    """Members get the next best path where the best is not for them, if asked to."""
    can_tags: ClassVar[bool] = True
    can_addpath: ClassVar[bool] = True
    can_filter: ClassVar[bool] = False
    """There is a configuration with all import filters on."""
    judge_as_floor: ClassVar[bool] = False
    """Everybody gets everything: tags, best paths and next hops are not looked at."""
    stop_signal_s: ClassVar[float] = 5.0
    env: dict[str, str] = field(default_factory=dict)

    def available(self) -> bool:
        return shutil.which(self.path) is not None

    def version(self) -> str:
        raise NotImplementedError

    def command(self, site: Site, folder: Path) -> list[str]:
        """Write the configuration into `folder` and give the command that runs in it."""
        raise NotImplementedError

    def _output(self, *args: str) -> str:
        done = subprocess.run(
            [self.path, *args], check=False, capture_output=True, text=True, timeout=20
        )
        return (done.stdout + done.stderr).strip()


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without what follows them: `10.8-dev` is (10, 8)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


class Floor(Daemon):
    name = "floor"
    can_addpath = False
    judge_as_floor = True

    def version(self) -> str:
        return "splice"

    def command(self, site: Site, folder: Path) -> list[str]:
        del site, folder  # it takes whoever comes
        return [self.path, "-m", "bench.wire.floor", f"{DAEMON}:{PORT}"]


class Rs(Daemon):
    name = "rs"
    can_filter = True

    def version(self) -> str:
        return self._output("-m", "rs", "--version").split()[-1]

    def command(self, site: Site, folder: Path) -> list[str]:
        families = '["ipv4-unicast", "ipv6-unicast"]' if site.ipv6 else '["ipv4-unicast"]'
        lines = [
            "[router]",
            f'role = "{"route-reflector" if site.reflector else "route-server"}"',
            f"asn = {RS_ASN}",
            f'router_id = "{DAEMON}"',
            f'listen = ["{DAEMON}:{PORT}"]',
            "[defaults]",
            f"families = {families}",
            "hold_time = 240",
            "passive = true",
        ]
        if site.filters is not None:
            lines += site.filters.shared(folder)
        for m in range(site.members):
            lines += ["[[neighbors]]", f'address = "{site.address(m)}"', f"asn = {site.asn(m)}"]
            if site.reflector:
                lines.append("route_reflector_client = true")
            if m in site.addpath:
                lines.append('add_path = "send"')
            if site.filters is not None:
                lines += site.filters.of_member(m, folder)
        if site.filters is not None:
            lines += site.filters.sets()
        (folder / "rs.toml").write_text("\n".join(lines) + "\n")
        return [self.path, "-m", "rs", "run", str(folder / "rs.toml")]


class Bird(Daemon):
    name = "bird"

    def version(self) -> str:
        return self._output("--version").split()[-1]

    def command(self, site: Site, folder: Path) -> list[str]:
        options = ["import all", "export all", "next hop keep"]
        if site.reflector:
            options.append("gateway direct")
        if site.next_best:
            options.append("secondary")
        families = ("ipv4", "ipv6") if site.ipv6 else ("ipv4",)
        sort = " sorted" if site.next_best else ""
        lines = [
            f'log "{folder}/bird.log" {{ warning, error, fatal, bug }};',
            f"router id {DAEMON};",
            *(f"{family} table master{family[-1]}{sort};" for family in families),
            "protocol device { }",
            "template bgp common {",
            f" local {DAEMON} as {RS_ASN};",
            f" {'rr' if site.reflector else 'rs'} client; direct; passive; hold time 240;",
            " error wait time 1, 1; connect delay time 1;",
            f" enable extended messages {'on' if site.extended else 'off'};",
            *(f" {family} {{ {'; '.join(options)}; }};" for family in families),
            "}",
        ]
        for m in range(site.members):
            extra = ""
            if site.tags:  # one filter a member, as exchanges write it
                extra += f" export where (0, {site.asn(m)}) !~ bgp_community;"
            if m in site.addpath:
                extra += " add paths tx;"
            extra = "".join(f" {family} {{{extra} }};" for family in families if extra)
            lines.append(
                f"protocol bgp m{m} from common "
                f"{{ neighbor {site.address(m)} as {site.asn(m)};{extra} }}"
            )
        (folder / "bird.conf").write_text("\n".join(lines) + "\n")
        return [self.path, "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.ctl")]


class Frr(Daemon):
    name = "frr"
    can_next_best = False
    can_tags = False

    def version(self) -> str:
        return self._output("--version").split()[2]

    def command(self, site: Site, folder: Path) -> list[str]:
        lines = [
            "frr defaults traditional",
            f"log file {folder}/frr.log errors",
            # A neighbor with so many messages waiting (10,000 by default) is read no more, and of
            # what is read of it already FRR 10.7 takes the rest when its next message comes.
            *(["bgp input-queue-limit 4294967295"] if release(self.version()) >= (8, 5) else []),
            f"router bgp {RS_ASN}",
            f" bgp router-id {DAEMON}",
            " no bgp ebgp-requires-policy",
            " no bgp default ipv4-unicast",
            " no bgp network import-check",
            # By default a new group waits 1 s and 50 ms a member; 0 does more work at once.
            " coalesce-time 200",
            " neighbor M peer-group",
            " neighbor M passive",
            " neighbor M timers 80 240",
        ]
        for m in range(site.members):
            lines += [
                f" neighbor {site.address(m)} remote-as {site.asn(m)}",
                f" neighbor {site.address(m)} peer-group M",
            ]
        kind = "route-reflector-client" if site.reflector else "route-server-client"
        for family in ("ipv4", "ipv6") if site.ipv6 else ("ipv4",):
            lines += [
                f" address-family {family} unicast",
                "  neighbor M activate",
                f"  neighbor M {kind}",
            ]
            # Without zebra bgpd knows of no shared subnet, and would put itself as next hop.
            if not site.reflector:
                lines.append("  neighbor M attribute-unchanged")
            lines += [
                f"  neighbor {site.address(m)} addpath-tx-all-paths" for m in sorted(site.addpath)
            ]
            lines.append(" exit-address-family")
        (folder / "bgpd.conf").write_text("\n".join(lines) + "\n")
        # -S: run as who we are; the log goes to our own folder.
        return [
            self.path,
            "-n",
            "-Z",
            "-S",
            "-f",
            str(folder / "bgpd.conf"),
            "-P",
            "0",
            *("-i", str(folder / "bgpd.pid"), "--vty_socket", str(folder)),
            *("-z", str(folder / "zserv.api")),
            # Versions that have it close sessions with IPv6 else, knowing no address of ours.
            *(["-x"] if site.ipv6 and "--v6-with-v4-nexthop" in self._output("--help") else []),
        ]


class OpenBgpd(Daemon):
    name = "openbgpd"
    # It does for whom a filter keeps the best one from, but not for the member who brought that.
    can_next_best = False

    def version(self) -> str:
        return self._output("-V").split()[-1]

    def command(self, site: Site, folder: Path) -> list[str]:
        lines = [
            f"AS {RS_ASN}",
            f"router-id {DAEMON}",
            f"listen on {DAEMON}",
            f'socket "{folder}/bgpd.sock"',
            "fib-update no",
            "transparent-as yes",
            "holdtime 240",
        ]
        if site.next_best:
            lines.append("rde evaluate all")
        extended = release(self.version()) >= (8, 8)
        lines += ["group members {", " passive", " announce IPv4 unicast"]
        lines.append(" announce as-4byte yes")  # newer ones else insist on it
        lines.append(f" announce IPv6 {'unicast' if site.ipv6 else 'none'}")
        if site.reflector:
            lines.append(" route-reflector")
        else:
            lines += [" set nexthop no-modify", " enforce neighbor-as no"]
            # A next hop that is not in the session's own subnet is kept for distant neighbors only.
            lines += [" multihop 2"] if site.ipv6 else []
        for m in range(site.members):
            extra = " announce add-path send all\n" if m in site.addpath else ""
            if m in site.extended and extended:
                extra += " announce extended message yes\n"
            lines.append(f" neighbor {site.address(m)} {{\n  remote-as {site.asn(m)}\n {extra} }}")
        lines += ["}", "allow from any", "allow to any"]
        if site.tags:
            lines.append("deny to group members community 0:neighbor-as")
        (folder / "bgpd.conf").write_text("\n".join(lines) + "\n")
        (folder / "bgpd.conf").chmod(0o600)
        # Its processes change their root to the home of their user, which a start script makes.
        Path(pwd.getpwnam("_openbgpd").pw_dir).mkdir(mode=0o755, exist_ok=True)
        return [self.path, "-d", "-f", str(folder / "bgpd.conf")]


class GoBgp(Daemon):
    name = "gobgp"
    can_tags = False

    def version(self) -> str:
        return self._output("--version").split()[-1]

    def command(self, site: Site, folder: Path) -> list[str]:
        lines = [
            "[global.config]",
            f"as = {RS_ASN}",
            f'router-id = "{DAEMON}"',
            f'local-address-list = ["{DAEMON}"]',
        ]
        for m in range(site.members):
            lines += [
                "[[neighbors]]",
                "[neighbors.config]",
                f'neighbor-address = "{site.address(m)}"',
                f"peer-as = {site.asn(m)}",
                "[neighbors.transport.config]",
                "passive-mode = true",
                "[neighbors.timers.config]",
                "hold-time = 240",
            ]
            if site.reflector:
                lines += [
                    "[neighbors.route-reflector.config]",
                    "route-reflector-client = true",
                    f'route-reflector-cluster-id = "{DAEMON}"',
                ]
            else:
                lines += ["[neighbors.route-server.config]", "route-server-client = true"]
            for family in ("ipv4", "ipv6") if site.ipv6 else ("ipv4",):
                lines += ["[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]"]
                lines.append(f'afi-safi-name = "{family}-unicast"')
                if m in site.addpath:
                    lines += ["[neighbors.afi-safis.add-paths.config]", "send-max = 8"]
        (folder / "gobgp.toml").write_text("\n".join(lines) + "\n")
        return [
            self.path,
            "-f",
            str(folder / "gobgp.toml"),
            "-l",
            "error",
            "--pprof-disable",
            *("--api-hosts", "127.0.0.1:50051"),
        ]


def known() -> dict[str, Daemon]:
    """Every daemon by name, at its usual place."""
    return {
        "floor": Floor(sys.executable),
        "rs": Rs(sys.executable),
        "bird": Bird("/usr/sbin/bird"),
        "frr": Frr("/usr/lib/frr/bgpd"),
        "openbgpd": OpenBgpd("/usr/sbin/bgpd"),
        "gobgp": GoBgp("/usr/bin/gobgpd"),
    }
