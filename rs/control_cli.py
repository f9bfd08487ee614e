"""`rs reload`, `stop`, `reset`, `shutdown` and so on: what a running daemon is told to do.

In: arguments, and the answers of the API. Out: one line with what was done, exit code 0; 2 for a
configuration with faults, each of them printed; 1 for a daemon that cannot be reached or refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from rs.client import Client
from rs.errors import ApiError
from rs.show_cli import api_option, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_FAULTS = 2


def _post(api: str | None, path: str, body: Mapping[str, Any]) -> None:
    """Ask for something and print what was done; ApiError if it was not."""
    client = Client(api)
    try:
        click.echo(clean(client.post(path, body)["ok"]))
    finally:
        client.close()


def _act(api: str | None, address: str, action: str, message: str = "") -> None:
    body = {"communication": message} if message else {}
    _post(api, f"/v1/neighbors/{quote(address, safe=':')}/{action}", body)


_address = click.argument("address")
_message = click.option(
    "--message", metavar="TEXT", default="", help="What the neighbor is told (RFC 9003)."
)


@click.command()
@api_option
@click.pass_context
def reload(ctx: click.Context, api: str | None) -> None:
    """Have a running daemon read its configuration again and apply what differs."""
    try:
        _post(api, "/v1/reload", {})
    except ApiError as error:
        if not error.problems:
            raise
        for problem in error.problems:
            click.echo(clean(problem), err=True)
        click.echo("rs: the configuration has faults; the old one goes on", err=True)
        ctx.exit(EXIT_FAULTS)


@click.command()
@click.option(
    "--graceful",
    is_flag=True,
    help="For a restart: neighbors keep our routes meanwhile, where graceful_restart is on.",
)
@api_option
def stop(*, graceful: bool, api: str | None) -> None:
    """End a running daemon."""
    _post(api, "/v1/stop", {"graceful": graceful})


@click.command()
@_address
@_message
@api_option
def reset(address: str, message: str, api: str | None) -> None:
    """End a neighbor's session; it starts again."""
    _act(api, address, "reset", message)


@click.command()
@_address
@_message
@api_option
def shutdown(address: str, message: str, api: str | None) -> None:
    """End a neighbor's session; it stays down."""
    _act(api, address, "shutdown", message)


@click.command()
@_address
@api_option
def enable(address: str, api: str | None) -> None:
    """Start the session of a neighbor that was shut down."""
    _act(api, address, "enable")


@click.command()
@_address
@api_option
def refresh(address: str, api: str | None) -> None:
    """Ask a neighbor for its routes again (RFC 2918)."""
    _act(api, address, "refresh")


@click.command()
@_address
@api_option
def measure(address: str, api: str | None) -> None:
    """Measure a neighbor's round-trip time anew, where its `rtt` is "measured"."""
    _act(api, address, "measure")
