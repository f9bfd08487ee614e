"""`rs` itself: a configuration from a list of members, `python -m rs run`, and `rs show`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .base import FAMILIES, WAIT
from .lan import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .lan import Host, Process

REPOSITORY = Path(__file__).parents[3]
SHOW_TIMEOUT = 10.0


@dataclass(frozen=True)
class Member:
    """A [[neighbors]] entry; `options` are further keys of it."""

    address: str
    asn: int
    families: tuple[str, ...] = FAMILIES
    passive: bool = True
    options: dict[str, Any] = field(default_factory=dict)


class Rs:
    """A route server on a host of the LAN."""

    name = "rs"

    def __init__(self, host: Host, workdir: Path, asn: int, members: Iterable[Member] = ()) -> None:
        """Configure; nothing runs before `start`."""
        self.host = host
        self.workdir = workdir
        self.asn = asn
        self.members = list(members)
        self.role = "route-server"
        self.tables = ""
        """More tables of the configuration, as TOML."""
        self.router: dict[str, Any] = {}
        """Further keys of [router], or other values of these."""
        self.startup: dict[str, Any] = {}
        """Keys of [startup]."""
        self.process: Process | None = None
        workdir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        """The file with the daemon's own output."""
        return self.workdir / "rs.log"

    def config(self) -> str:
        """Return the configuration as TOML."""
        router: dict[str, Any] = {
            "role": self.role,
            "asn": self.asn,
            "router_id": self.host.address,
            "listen": [f"{self.host.address}:179", f"[{self.host.address6}]:179"],
            **self.router,
        }
        lines = [
            "[router]",
            *(f"{key} = {json.dumps(value)}" for key, value in router.items()),
            "[api]",
            f'socket = "{self.workdir / "rs.sock"}"',
        ]
        if self.startup:
            keys = (f"{key} = {json.dumps(value)}" for key, value in self.startup.items())
            lines += ["[startup]", *keys]
        for member in self.members:
            local = self.host.address6 if ":" in member.address else self.host.address
            keys: dict[str, Any] = {
                "address": member.address,
                "asn": member.asn,
                "families": list(member.families),
                "passive": member.passive,
                "local_address": local,
                "connect_retry": 1,
                **member.options,
            }
            # What is needed of TOML here is written as JSON writes it.
            lines += [
                "[[neighbors]]",
                *(f"{key} = {json.dumps(value)}" for key, value in keys.items()),
            ]
        return "\n".join([*lines, self.tables]) + "\n"

    def start(self) -> None:
        """Start, and return when the API answers."""
        path = self.workdir / "rs.toml"
        path.write_text(self.config())
        argv = [sys.executable, "-m", "rs", "run", str(path)]
        process = self.host.start(argv, self.log, cwd=REPOSITORY)
        self.process = process
        self.wait(lambda: not process.alive() or self.answers(), "answer")
        if not process.alive():
            status = process.returncode()
            raise AssertionError(f"rs ended with status {status}:\n{self.log_tail()}")

    def reload(self) -> None:
        """Have the running daemon use what `members` and `router` are by now."""
        (self.workdir / "rs.toml").write_text(self.config())
        argv = [sys.executable, "-m", "rs", "reload", "--api", str(self.workdir / "rs.sock")]
        done = subprocess.run(
            argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=SHOW_TIMEOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rs reload: {done.stdout}{done.stderr}")

    def stop(self) -> int | None:
        """End it with SIGTERM; return its exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        return process.stop()

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def end_for_a_restart(self) -> int:
        """End it with SIGUSR1; return its exit status."""
        assert self.process is not None
        process, self.process = self.process, None
        process.signal(signal.SIGUSR1)
        return process.wait(WAIT)

    def log_tail(self, lines: int = 60) -> str:
        """Return the end of the daemon's output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def answers(self) -> bool:
        """Tell whether the API is up."""
        if not (self.workdir / "rs.sock").exists():
            return False
        try:
            self.show("status")
        except RuntimeError:
            return False
        return True

    def show(self, *words: str) -> Any:
        """Run `rs show … --json` and decode its answer."""
        argv = [sys.executable, "-m", "rs", "show", *words, "--json"]
        argv += ["--api", str(self.workdir / "rs.sock")]
        done = subprocess.run(
            argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=SHOW_TIMEOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rs show {' '.join(words)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def neighbors(self) -> dict[str, dict[str, Any]]:
        """Return `rs show neighbors` by address."""
        return {neighbor["address"]: neighbor for neighbor in self.show("neighbors")}

    def established(self) -> set[str]:
        """Return the addresses of the neighbors whose session is up."""
        return {
            address
            for address, neighbor in self.neighbors().items()
            if neighbor["state"].lower() == "established"
        }

    def wait(self, condition: Any, what: str, timeout: float = WAIT) -> None:
        """Wait until the callable is true; on failure the daemon's output is in the message."""
        try:
            wait_until(condition, timeout=timeout, what=f"rs to {what}", interval=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log_tail()}") from None

    def wait_established(self, *addresses: str, timeout: float = WAIT) -> None:
        """Wait until the sessions with these neighbors are up."""
        wanted = set(addresses)
        self.wait(lambda: self.established() >= wanted, f"reach {', '.join(addresses)}", timeout)
