"""The test bed: a namespace for the daemon and one for the client, joined by a veth pair.

In: how many members. Out: a context in which both namespaces exist, with every address and every
neighbor entry in place, so that nothing but the daemon is waited for. Needs root and `ip`.
Names carry our process id, so that runs do not meet; leaving the context removes everything.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from typing import TYPE_CHECKING, Self

from bench.tables import NEXT_HOP6, member_address

if TYPE_CHECKING:
    from types import TracebackType

DAEMON = "10.0.0.1"
CLIENT = "10.0.0.2"


def text(address: int) -> str:
    return str(ipaddress.IPv4Address(address))


def text6(address: int) -> str:
    return str(ipaddress.IPv6Address(NEXT_HOP6 + address))


class Bed:
    """Two namespaces, `daemon_ns` and `client_ns`, for `members` members."""

    def __init__(self, members: int) -> None:
        self.members = members
        self.daemon_ns = f"rs{os.getpid()}d"
        self.client_ns = f"rs{os.getpid()}c"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The veth pair goes with either namespace.
        for name in (self.daemon_ns, self.client_ns):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _build(self) -> None:
        for name in (self.daemon_ns, self.client_ns):
            self._ip(["netns", "add", name])
            self._ip(["-n", name, "link", "set", "lo", "up"])
        self._ip(
            [
                "link",
                "add",
                "v0",
                "netns",
                self.daemon_ns,
                "type",
                "veth",
                "peer",
                "name",
                "v0",
                "netns",
                self.client_ns,
            ]
        )
        addresses = [member_address(m) for m in range(self.members)]
        macs = {self.daemon_ns: "02:00:00:00:00:01", self.client_ns: "02:00:00:00:00:02"}
        for name, mac in macs.items():
            self._ip(["-n", name, "link", "set", "v0", "address", mac, "up"])
        # Permanent neighbor entries: 2,000 ARP questions would overflow the kernel's table.
        self._batch(
            self.daemon_ns,
            [f"addr add {DAEMON}/8 dev v0", f"addr add {text6(10 << 24 | 1)}/64 dev v0 nodad"]
            + [
                f"neigh replace {text(a)} lladdr {macs[self.client_ns]} nud permanent dev v0"
                for a in addresses
            ],
        )
        self._batch(
            self.client_ns,
            [f"addr add {CLIENT}/8 dev v0"]
            + [f"addr add {text(a)}/8 dev v0" for a in addresses]
            + [f"neigh replace {DAEMON} lladdr {macs[self.daemon_ns]} nud permanent dev v0"],
        )

    @staticmethod
    def _ip(args: list[str]) -> None:
        done = subprocess.run(["ip", *args], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")

    @staticmethod
    def _batch(name: str, lines: list[str]) -> None:
        done = subprocess.run(
            ["ip", "-n", name, "-batch", "-"],
            input="\n".join(lines) + "\n",
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"ip -batch in {name}: {done.stderr.strip()}")
