"""The command line's frame: `rs run`, `check`, `demo`, `show`, `replay`, and others in ELSEWHERE.

In: arguments. Out: exit code 0; 1 for a failure while running; 2 for wrong arguments or a
configuration that cannot be used. Errors the package raises on purpose are printed without a
traceback, to standard error. What a command needs is imported when it runs, so that
`rs --version` and `rs check` start without the event loop and the HTTP library.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rs import __version__
from rs.errors import ConfigError, RsError

if TYPE_CHECKING:
    from rs.config import Config

EXIT_FAILURE = 1
EXIT_USAGE = 2

ELSEWHERE = {
    "demo": ("rs.demo", "main", "Run a route server with simulated members, on loopback."),
    "show": ("rs.show_cli", "show", "Ask a running daemon about neighbors and routes."),
    "reload": ("rs.control_cli", "reload", "Have a running daemon read its configuration again."),
    "stop": ("rs.control_cli", "stop", "End a running daemon, for good or for a restart."),
    "reset": ("rs.control_cli", "reset", "End a neighbor's session; it starts again."),
    "shutdown": ("rs.control_cli", "shutdown", "End a neighbor's session; it stays down."),
    "enable": ("rs.control_cli", "enable", "Start the session of a neighbor that was shut down."),
    "refresh": ("rs.control_cli", "refresh", "Ask a neighbor for its routes again."),
    "measure": ("rs.control_cli", "measure", "Measure a neighbor's round-trip time anew."),
    "import": ("rs.import_cli", "import_", "Write a configuration from another program's files."),
    "policy": ("rs.policy_cli", "policy", "Try policies out on routes, or on an MRT file."),
    "replay": ("rs.replay_cli", "replay", "Play an MRT file into a BGP speaker."),
}
"""Commands of other modules: name -> (module, click command in it, one line of help)."""


class Commands(click.Group):
    """A group that imports the commands of other modules on first use and reports RsErrors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, in the order of the help."""
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if it is one of `ELSEWHERE`."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = ELSEWHERE[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        rows = [(name, command.get_short_help_str(80)) for name, command in self.commands.items()]
        rows += [(name, line) for name, (_, _, line) in ELSEWHERE.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an RsError ends it with its message and its exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            count = len(error.problems)
            click.echo(f"rs: {count} problem{'s' if count != 1 else ''}", err=True)
            ctx.exit(EXIT_USAGE)
        except RsError as error:
            click.echo(f"rs: {error}", err=True)
            ctx.exit(EXIT_FAILURE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rs", message="%(prog)s %(version)s")
def cli() -> None:
    """BGP route server and route reflector."""


config_argument = click.argument("config", type=click.Path(path_type=Path))


@cli.command()
@config_argument
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least important messages to log.",
)
@click.option("--log-json", is_flag=True, help="Log one JSON object per line.")
def run(config: Path, log_level: str, *, log_json: bool) -> None:
    """Run the daemon of a configuration file, in the foreground."""
    from rs import app  # noqa: PLC0415 - the event loop and the HTTP library

    app.run(config, log_level=log_level, log_json=log_json)


@cli.command()
@config_argument
def check(config: Path) -> None:
    """Check a configuration file; print what is wrong, or a summary."""
    from rs.configfile import load_config  # noqa: PLC0415 - not for --version
    from rs.irr import load_sets  # noqa: PLC0415 - not for --version
    from rs.nexthops import check_orr  # noqa: PLC0415 - not for --version
    from rs.rpki import file_faults  # noqa: PLC0415 - not for --version

    loaded = load_config(config)
    load_sets(loaded)
    check_orr(loaded)
    for warning in (*loaded.warnings, *file_faults(loaded.rpki.files)):
        click.echo(f"warning: {warning}", err=True)
    for name, value in _summary(loaded):
        click.echo(f"{name:<10} {value}")


def _summary(config: Config) -> list[tuple[str, str]]:
    """Return what a configuration says, in a few lines of (name, value)."""
    from rs.iana import Family  # noqa: PLC0415 - not for --version

    router, neighbors = config.router, config.neighbors
    ranges = sum(neighbor.is_range for neighbor in neighbors)
    internal = sum(neighbor.internal for neighbor in neighbors)
    disabled = sum(not neighbor.enabled for neighbor in neighbors)
    kinds = [
        f"{what} {count}"
        for what, count in (("internal", internal), ("ranges", ranges), ("disabled", disabled))
        if count
    ]
    families = [
        f"{family.label} ({count})"
        for family in Family
        if (count := sum(family in neighbor.families for neighbor in neighbors))
    ]
    api = [str(place) for place in (config.api.listen, config.api.socket) if place is not None]
    return [
        ("config", f"{config.path}, files read: {len(config.files)}; correct"),
        ("role", router.role.value),
        ("asn", str(router.asn)),
        ("router_id", router.router_id),
        ("listen", ", ".join(map(str, router.listen))),
        ("api", ", ".join(api) or "off"),
        ("neighbors", f"{len(neighbors)}" + (f" ({', '.join(kinds)})" if kinds else "")),
        ("families", ", ".join(families) or "none"),
    ]


def main() -> None:
    """Run the command line and exit."""
    cli.main(prog_name="rs")
