"""`rs import`: a configuration of ours out of another program's files.

In: paths. Out: rs.toml, members.toml and irr/ in a folder, and on standard output what became of
each option. Exit code 0 when all of them are honored; 3 when the configuration was written and some
are not; 2 for files with faults, each of them printed, and nothing written; 1 for anything else,
also when what was written does not load.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rs.arextras import Extras, read_peeringdb, read_rtts
from rs.arimport import Importer, Result
from rs.arreport import report_lines
from rs.arsite import SiteReader
from rs.configfile import load_config
from rs.configvalues import BadValue, parse_endpoint
from rs.errors import ConfigError, RsError
from rs.irrfetch import EMPTY, FOLDER
from rs.tomlwrite import Line, Table
from rs.yamlfile import Item, Place, YamlReader

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_MISSED = 3
MARK = "# Written by `rs import"
"""How a file begins that may be written again."""


@click.group(name="import")
def import_() -> None:
    """Write a configuration from another program's files."""


file_argument = click.Path(path_type=Path, dir_okay=False)


def _endpoint(_: click.Context, __: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        try:
            parse_endpoint(value)
        except BadValue as bad:
            raise click.BadParameter(str(bad)) from None
    return tuple(values)


def _cache(
    _: click.Context, __: click.Parameter, values: Sequence[str]
) -> tuple[tuple[str, int], ...]:
    found = []
    for value in values:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not (port.isdigit() and 1 <= int(port) <= 65535):
            raise click.BadParameter(f"{value!r}: want HOST:PORT")
        found.append((host.strip("[]"), int(port)))
    return tuple(found)


def _identifier(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else str(IPv4Address(value))
    except ValueError:
        raise click.BadParameter(f"{value!r}: want an IPv4 address") from None


@import_.command()
@click.argument("general", type=file_argument)
@click.argument("clients", type=file_argument)
@click.option(
    "-o", "--output", "folder", metavar="DIR", default=".", show_default=True,
    type=click.Path(path_type=Path, file_okay=False), help="Where rs.toml and the rest go.",
)  # fmt: skip
@click.option("--bogons", type=file_argument, help="bogons.yml; else the built-in list.")
@click.option("--router-id", callback=_identifier, help="Which of several router ids.")
@click.option("--listen", multiple=True, metavar="IP:PORT", callback=_endpoint,
              help="Where members connect to; else port 179 everywhere.")  # fmt: skip
@click.option("--api", metavar="PATH", help="Unix socket for `rs show`, relative to rs.toml.")
@click.option("--rtr", multiple=True, metavar="HOST:PORT", callback=_cache,
              help="An RPKI cache, in the place of rpki_roas.")  # fmt: skip
@click.option("--peeringdb", type=file_argument, help="JSON of PeeringDB's /api/net.")
@click.option("--rtt", type=file_argument, help="Lines of an address and its RTT in ms.")
@click.option("--force", is_flag=True, help="Write over files that the import did not write.")
@click.pass_context
def arouteserver(
    ctx: click.Context,
    general: Path,
    clients: Path,
    folder: Path,
    *,
    bogons: Path | None,
    router_id: str | None,
    listen: tuple[str, ...],
    api: str | None,
    rtr: tuple[tuple[str, int], ...],
    peeringdb: Path | None,
    rtt: Path | None,
    force: bool,
) -> None:
    """Write a configuration from ARouteServer's GENERAL and CLIENTS (general.yml, clients.yml).

    Prints what became of every option. Exit code 3 says that some are not honored.
    """
    try:
        extras = Extras(
            networks=None if peeringdb is None else read_peeringdb(peeringdb),
            rtts=None if rtt is None else read_rtts(rtt),
            caches=rtr,
            router_id=router_id,
        )
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    result = convert(general, clients, bogons, extras)
    names = ", ".join(path.name for path in (general, clients, bogons) if path is not None)
    outer = [Line("listen", list(listen))] if listen else []
    result.main[0].lines += outer
    if api is not None:
        result.main.insert(1, Table("[api]", [Line("socket", api)]))
    written = write(result, folder, names, force=force)
    try:
        load_config(folder / "rs.toml")
    except ConfigError as error:
        raise RsError(f"what was written does not load:\n{error}") from None
    for line in report_lines(result.report):
        click.echo(line)
    click.echo("")
    for path, what in written:
        click.echo(f"{path}: {what}")
    if result.report.missed:
        ctx.exit(EXIT_MISSED)


def convert(general: Path, clients: Path, bogons: Path | None, extras: Extras) -> Result:
    """Read the files and convert them; ConfigError with everything that is wrong with them."""
    reader = YamlReader(os.environ)
    trees = [reader.read(path) for path in (general, clients)]
    trees.append(reader.read(bogons) if bogons is not None else None)
    if reader.faults:
        raise ConfigError(reader.faults)
    empty = [tree or Item(None, Place(general, 1)) for tree in trees[:2]]
    site_reader = SiteReader()
    site = site_reader.read(empty[0], empty[1], trees[2])
    if site_reader.faults:
        raise ConfigError(site_reader.faults)
    ids = site.general["router_id"]
    if extras.router_id is not None and extras.router_id not in ids:
        raise ConfigError([f"--router-id {extras.router_id}: want one of {', '.join(ids)}"])
    return Importer(site, extras).run()


def write(result: Result, folder: Path, names: str, *, force: bool) -> list[tuple[Path, str]]:
    """Write everything; RsError before anything is written over that is somebody else's."""
    head = f"{MARK} arouteserver` from {names}. Import again instead of editing.\n"
    local = sorted(folder.glob("local.d/*.toml"))
    include = ["members.toml", *(["local.d/*.toml"] if local else [])]
    about = "Neighbors of your own go into local.d/*.toml, which the next import includes."
    main = [Table("", [Line("include", include)], comment=about), *result.main]
    files = {
        "rs.toml": head + "\n" + "\n".join(table.text() for table in main),
        "members.toml": head + "\n" + "\n".join(table.text() for table in result.members),
        result.fetch.script: result.fetch.text(),
    }
    for name in ("rs.toml", "members.toml"):
        path = folder / name
        if not force and path.exists() and not path.read_text("utf-8").startswith(MARK):
            raise RsError(f"{path} was not written by an import; want another -o, or --force")
    try:
        return list(_write(result, folder, files))
    except OSError as error:
        raise RsError(f"{error.filename}: {error.strerror}") from None


def _write(result: Result, folder: Path, files: dict[str, str]) -> list[tuple[Path, str]]:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    done = []
    for name, text in files.items():
        path = folder / name
        modes = {"members.toml": 0o600 if result.secrets else 0o644, result.fetch.script: 0o755}
        temporary = path.with_name(f".{path.name}.new")
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(modes.get(name, 0o644))
        temporary.replace(path)
        what = f"{text.count(chr(10))} lines"
        if name == "members.toml" and result.secrets:
            what += ", with passwords: readable by its owner only"
        done.append((path, what))
    missing = [name for name in result.fetch.files if not (folder / name).exists()]
    for name in missing:
        (folder / name).write_text(EMPTY, encoding="utf-8")
    if missing or result.fetch.vrps:
        what = f"run it to fetch {len(result.fetch.files)} lists"
        if missing:
            what += f"; {len(missing)} are empty until then, which lets nothing through"
        done.append((folder / result.fetch.script, what))
    return done
