"""`rs show`: a running daemon's status, neighbors and routes, as tables or JSON.

In: arguments, and the answers of the API. Out: on a terminal tables with color, else plain columns;
with --json the API's own JSON. Routes are printed as they arrive, however many there are. Text that
comes from neighbors is shown without control characters.
"""

from __future__ import annotations

import sys
from functools import update_wrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import click
import orjson

from rs.attrtext import as_path_text, communities_text
from rs.client import DEFAULT_SOCKET, DEFAULT_URL, VARIABLE, Client
from rs.iana import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rs.show_types import (
        Attributes,
        Delivery,
        Neighbor,
        NeighborFamily,
        NextHop,
        NextHopStatus,
        Path,
        PathDelivery,
        Route,
        RouteItem,
        Rpki,
        RpkiCache,
        RpkiFile,
        StartupStatus,
        Status,
    )

MARKS = {"best": ">", "usable": "*", "unreachable": "!", "rejected": "x", "outdated": "-"}
LEGEND = "> best  * usable  ! next hop unreachable  x rejected"
COLORS = {">": "green", "x": "red", "!": "yellow", "Established": "green"}
PAGE = 200
"""Rows of a long list that share column widths."""

Row = list[str]


# --- text ---------------------------------------------------------------------------------------


def clean(text: object) -> str:
    """Return text without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def duration(seconds: float | None) -> str:
    """Return seconds as people say them, two units at most: `45s`, `5m03s`, `2h10m`, `3d04h`."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{whole // 86400}d{whole // 3600 % 24:02}h"


def size(octets: float) -> str:
    """Return octets in a unit that suits them."""
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:.1f} GB"


# --- tables -------------------------------------------------------------------------------------


def print_table(columns: Sequence[str], rows: Iterable[Row], title: str = "") -> None:
    """Print a table; columns whose name ends in `#` are numbers."""
    cells = [[clean(cell) for cell in row] for row in rows]
    # A column in which nobody has anything is only in the way.
    used = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    names = [columns[i] for i in used]
    cells = [[row[i] for i in used] for row in cells]
    if sys.stdout.isatty():
        _print_rich(names, cells, title)
        return
    if title:
        click.echo(title)
    widths = [len(name.rstrip("#")) for name in names]
    for line in aligned([[name.rstrip("#") for name in names], *cells], names, widths):
        click.echo(line)


def aligned(rows: Iterable[Row], columns: Sequence[str], widths: list[int]) -> Iterator[str]:
    """Return rows as lines; `widths` grows as wide as the cells are, for rows that follow."""
    page = list(rows)
    for row in page:
        widths[:] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    for row in page:
        cells = [
            cell.rjust(width) if name.endswith("#") else cell.ljust(width)
            for name, cell, width in zip(columns, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _print_rich(columns: Sequence[str], rows: Iterable[Row], title: str) -> None:
    from rich import box  # noqa: PLC0415 - a tenth of a second, and only for terminals
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left")
    for name in columns:
        justify: Literal["left", "right"] = "right" if name.endswith("#") else "left"
        table.add_column(name.rstrip("#"), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=COLORS.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names with their values, those with none left out."""
    shown = [(name, clean(value)) for name, value in pairs if value not in {"", None}]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}")


def print_json(value: Any) -> None:
    """Print an answer as JSON, for people where it is small."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def print_records(records: Iterable[bytes]) -> None:
    """Print encoded records as one JSON array, as they come."""
    write = sys.stdout.buffer.write
    separator = b"["
    for record in records:
        write(separator + record)
        separator = b",\n"
    write(b"]\n" if separator != b"[" else b"[]\n")


# --- commands -----------------------------------------------------------------------------------

api_option = click.option(
    "--api",
    metavar="PLACE",
    help=f"Where the daemon is: a socket's path or http://HOST:PORT. Default: {VARIABLE}, else "
    f"{DEFAULT_SOCKET}, else {DEFAULT_URL}.",
)


def _command(function: Callable[..., None]) -> click.Command:
    """Make a command with --json and --api, that is called with a client."""

    @click.pass_context
    def call(ctx: click.Context, /, *, api: str | None, **values: Any) -> None:
        client = Client(api or (ctx.obj or {}).get("api"))
        try:
            function(client, **values)
        finally:
            client.close()

    command = click.command()(update_wrapper(call, function))
    click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    return api_option(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@api_option
@click.pass_context
def show(ctx: click.Context, api: str | None) -> None:
    """Ask a running daemon about neighbors and routes."""
    ctx.obj = {"api": api}


@_command
def status(client: Client, *, as_json: bool) -> None:
    """Show version, memory, table sizes and loop times."""
    found: Status = client.get("/v1/status")
    if as_json:
        print_json(found)
        return
    neighbors = found["neighbors"]
    print_pairs(
        [
            ("version", found["version"]),
            ("role", f"{found['role']}, AS{found['asn']}, router id {found['router_id']}"),
            ("uptime", duration(found["uptime_s"])),
            ("memory", size(found["rss_bytes"])),
            ("neighbors", f"{neighbors['established']} established of {neighbors['total']}"),
            ("prefixes", found["prefixes"]),
            ("paths", found["paths"]),
            ("attribute sets", f"{found['attribute_sets']}, {size(found['attribute_bytes'])}"),
            ("member sets", found["member_sets"]),
            ("groups", found["groups"]),
            ("next hops", _next_hops_text(found["next_hops"])),
            ("jobs", found["jobs"]),
            ("start", _startup_text(found["startup"])),
            ("longest slice", f"{found['longest_slice_ms']:.1f} ms"),
        ]
    )
    click.echo()
    print_table(
        ["Family", "Prefixes#", "Usable#", "Paths#", "Dirty#", "Changes#", "Memory#", "Groups#"],
        [
            [
                name,
                str(table["prefixes"]),
                str(table["usable"]),
                str(table["paths"]),
                str(table["dirty"]),
                str(table["changes"]),
                size(table["bytes"]),
                str(table["groups"]),
            ]
            for name, table in found["families"].items()
        ],
    )


def _startup_text(found: StartupStatus | None) -> str:
    """Return what a start still waits for; nothing once it does not."""
    if found is None:
        return ""
    names = found["waiting_for"]
    words = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"nothing is announced for {found['left_s']:.0f} s, or before {words}"


def _next_hops_text(found: NextHopStatus) -> str:
    text = f"{found['known']}, {found['unreachable']} unreachable"
    if found["kernel"] is not None:
        text += f"; kernel's table {found['kernel']}, {found['kernel_prefixes']} prefixes"
    elif found["source"] != "none":
        text += f"; {found['source']}"
    return "; ".join([text, *found["faults"]])


@_command
def rpki(client: Client, *, as_json: bool) -> None:
    """Show RPKI data in use, caches and files."""
    found: Rpki = client.get("/v1/rpki")
    if as_json:
        print_json(found)
        return
    print_pairs(
        [
            ("data", "in use" if found["ready"] else "none: nothing is validated"),
            ("VRPs", f"{found['vrps_ipv4']} IPv4, {found['vrps_ipv6']} IPv6"),
            ("ASPAs", str(found["aspas"])),
            ("pending", f"{found['pending']} changes" if found["pending"] else ""),
        ]
    )
    if found["caches"]:
        click.echo()
        columns = ["Cache", "Pref#", "State", "Version#", "Session#", "Serial#", "VRPs#", "ASPAs#"]
        columns += ["Updated#", "Expires#", "Last error"]
        print_table(columns, [_cache_row(cache) for cache in found["caches"]])
    if found["files"]:
        click.echo()
        print_table(
            ["File", "VRPs#", "ASPAs#", "Age#", "Read#", "Last error"],
            [_file_row(file) for file in found["files"]],
        )


def _cache_row(cache: RpkiCache) -> Row:
    numbers = ("version", "session_id", "serial", "vrps", "aspas")
    values = ["" if cache[n] is None else str(cache[n]) for n in numbers]  # type: ignore[literal-required]
    times = [_ago(cache["updated_s"]), _ago(cache["expires_s"])]
    name, state = cache["name"], cache["state"]
    return [name, str(cache["preference"]), state, *values, *times, cache["last_error"]]


def _file_row(file: RpkiFile) -> Row:
    counts = [str(file["vrps"]), str(file["aspas"])]
    return [file["path"], *counts, _ago(file["age_s"]), _ago(file["read_s"]), file["last_error"]]


def _ago(seconds: float | None) -> str:
    return "" if seconds is None else duration(max(0.0, seconds))


@_command
@click.argument("address", required=False)
def neighbors(client: Client, *, address: str | None, as_json: bool) -> None:
    """Show all neighbors, or one in detail."""
    if address is not None:
        one: Neighbor = client.get(f"/v1/neighbors/{address}")
        if as_json:
            print_json([one])
        else:
            _print_neighbor(one)
        return
    if as_json:
        print_records(client.lines("/v1/neighbors"))
        return
    rows = [_neighbor_row(found) for found in client.records("/v1/neighbors")]
    columns = ["Neighbor", "AS#", "State", "Since#", "Received#", "Accepted#", "Rejected#"]
    print_table([*columns, "Advertised#", "Description"], rows)
    if not rows:
        click.echo("no neighbors")


def _neighbor_row(found: Neighbor) -> Row:
    families = found["families"].values()
    return [
        found["address"],
        str(found["asn"] or ""),
        found["state"],
        duration(found["uptime_s"] or found["state_s"]),
        str(sum(family["received"] for family in families)),
        str(sum(family["accepted"] for family in families)),
        str(sum(family["rejected"] for family in families)),
        str(sum(family["advertised"] for family in families)),
        found["description"],
    ]


def _role_text(found: Neighbor) -> str:
    """Return what we are to a neighbor, and what it says it is to us (RFC 9234)."""
    agreed = found["negotiated"]
    if found["local_role"] == "none":
        return ""
    said = "" if agreed is None else f", the neighbor {agreed['role'] or 'says nothing'}"
    return f"we are {found['local_role']}{said}"


def _print_neighbor(found: Neighbor) -> None:
    agreed = found["negotiated"]
    sent, received = found["messages"]["sent"], found["messages"]["received"]
    updates = found["updates"]
    features = []
    if agreed is not None:
        flags = ("four_octet_as", "extended_message", "route_refresh", "enhanced_route_refresh")
        features = [name.replace("_", " ") for name in flags if agreed[name]]  # type: ignore[literal-required]
        for name in ("addpath_receive", "addpath_send", "extended_next_hop"):
            if agreed[name]:
                words = ", ".join(agreed[name])
                features.append(f"{name.replace('_', ' ')} ({words})")
        features += [f"at most {n} paths of {name}" for name, n in agreed["paths_limit"].items()]
    print_pairs(
        [
            ("neighbor", f"{found['address']}, AS{found['asn']}, {found['type']}"),
            ("description", found["description"]),
            ("cluster", found["cluster_id"]),
            ("state", _state_text(found)),
            ("router id", found["router_id"]),
            ("role", _role_text(found)),
            ("host name", agreed["hostname"] if agreed is not None else ""),
            ("last error", found["last_error"]),
            ("flaps", found["flaps"]),
            (
                "timers",
                f"hold {agreed['hold_time_s']}s, keepalive {agreed['keepalive_s']:g}s"
                if agreed is not None
                else "",
            ),
            ("negotiated", ", ".join(features)),
            ("capabilities", ", ".join(found["capabilities"])),
            ("messages in", _messages_text(received)),
            ("messages out", _messages_text(sent)),
            ("in UPDATEs", f"{updates['announced']} announced, {updates['withdrawn']} withdrawn"),
            (
                "malformed",
                f"{updates['attribute_discard']} with an attribute discarded, "
                f"{updates['treat_as_withdraw']} treated as withdraw"
                if updates["attribute_discard"] or updates["treat_as_withdraw"]
                else "",
            ),
            ("rejected", ", ".join(f"{n} {reason}" for reason, n in found["rejects"].items())),
            (
                "not taken in",
                ", ".join(
                    f"{one['refused']} paths of {name} beyond the limit for one prefix"
                    for name, one in found["families"].items()
                    if one["refused"]
                ),
            ),
            (
                "transit-free",
                ", ".join(f"AS{asn} {n} times" for asn, n in found["transit_free"].items()),
            ),
        ]
    )
    click.echo()
    columns = [
        "Family",
        "Received#",
        "Accepted#",
        "Rejected#",
        "Advertised#",
        "End-of-RIB",
        "Stale",
    ]
    print_table(
        [*columns, "Sending", "Lag#"],
        [
            [
                name + ("" if family["negotiated"] else " (not negotiated)"),
                str(family["received"]),
                str(family["accepted"]),
                str(family["rejected"]),
                str(family["advertised"]),
                "received" if family["end_of_rib"] else "",
                _restart_text(family),
                family["sending"],
                size(family["lag_bytes"]),
            ]
            for name, family in found["families"].items()
        ],
    )
    for fault in found.get("faults", []):
        attribute = f", attribute {fault['attribute']}" if fault["attribute"] else ""
        click.echo(f"malformed UPDATE: {fault['outcome']}{attribute}: {fault['octets']}")


def _restart_text(family: NeighborFamily) -> str:
    """Return how many paths are stale, and what is waited for."""
    words = str(family["stale"]) if family["stale"] else ""
    if family["restart"] is not None:
        words += f" {family['restart']}, {duration(family['restart_s'] or 0)} left"
    return words.strip()


def _state_text(found: Neighbor) -> str:
    if found["state"] == "Established":
        return f"Established for {duration(found['uptime_s'])}"
    disabled = "" if found["enabled"] else ", shut down"
    return f"{found['state']} for {duration(found['state_s'])}{disabled}"


def _messages_text(counts: Any) -> str:
    words = [f"{n} {kind.replace('_', ' ')}" for kind, n in counts.items() if n and kind != "total"]
    return ", ".join(words) or "none"


@_command
@click.option("--longest", "match", flag_value="longest", help="Its longest match (default).")
@click.option("--exact", "match", flag_value="exact", help="Exactly this prefix.")
@click.option("--longer", "match", flag_value="longer", help="It and all prefixes inside it.")
@click.option("--members", is_flag=True, help="Name the neighbors that each path is sent to.")
@click.option("--to", metavar="ADDRESS", help="Say why this neighbor gets each path, or not.")
@click.argument("prefix")
def route(
    client: Client,
    *,
    prefix: str,
    match: str | None,
    members: bool,
    to: str | None,
    as_json: bool,
) -> None:
    """Show all paths of an address or a prefix, best first, and why."""
    chosen = match or "longest"
    query = {"match": chosen, "members": "1" if members else "0"}
    if to is not None:
        query["to"] = to
    path = f"/v1/route/{prefix}"
    if as_json:
        head = orjson.dumps({"query": prefix, "match": chosen})[:-1]
        click.echo(head + b',"routes":', nl=False)
        print_records(client.lines(path, query))
        sys.stdout.buffer.write(b"}\n")
        return
    count = 0
    for found in client.records(path, query):
        _print_route(found)
        count += 1
    click.echo(LEGEND if count else f"no route for {prefix}")


def _print_route(found: Route) -> None:
    paths = found["paths"]
    usable = sum(path["state"] in {"best", "usable"} for path in paths)
    title = (
        f"{found['prefix']}  {found['family']}, {_count(len(paths), 'path')}, {usable} usable, "
        f"advertised to {_count(found['advertised_to'], 'neighbor')}"
    )
    columns = ["", "Neighbor", "AS path", "Next hop", "LP#", "MED#", "Age#", "To#", "Communities"]
    columns += ["Why", "Sent to"]
    rows = [_path_row(path) for path in paths]
    if "to" in found:
        title += f"\nto {found['to']['neighbor']}: {_delivery(found['to'])}"
        columns.append(f"To {found['to']['neighbor']}")
        for row, path in zip(rows, paths, strict=True):
            row.append(_delivery(path["to"]))
    print_table(columns, rows, title)
    click.echo()


def _delivery(found: Delivery | PathDelivery) -> str:
    """Return what becomes of a prefix or a path for a neighbor."""
    not_sent = found["state"] in {"waiting", "withheld"}
    return clean(f"not sent: {found['why']}" if not_sent else found["why"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _why(found: Path | RouteItem) -> str:
    words = f"rejected: {found['why']}" if found["state"] == "rejected" else found["why"]
    states = [
        f"{name} {state}"
        for name, state in (("RPKI", found["rpki"]), ("IRR", found["irr"]))
        if state != "not-checked"
    ]
    states += ["stale"] if found["stale"] else []
    return f"{words} [{', '.join(states)}]" if states else words


def _as_path(attributes: Attributes) -> str:
    origin = attributes.get("origin", "")
    mark = {"IGP": "", "EGP": " e", "incomplete": " ?"}.get(origin, "")
    return as_path_text(attributes.get("as_path", [])) + mark


def _next_hop(attributes: Attributes) -> str:
    local = attributes.get("link_local")
    return attributes.get("next_hop", "") + (f" ({local})" if local else "")


def _path_row(found: Path) -> Row:
    attributes = found["attributes"]
    return [
        MARKS[found["state"]],
        found["neighbor"] or "(removed)",
        _as_path(attributes),
        _next_hop(attributes),
        str(attributes.get("local_pref", "")),
        str(attributes.get("med", "")),
        duration(found["age_s"]),
        str(found["advertised_to"]),
        " ".join([communities_text(attributes), *found.get("reject_communities", [])]).strip(),
        _why(found),
        " ".join(found.get("members", [])),
    ]


_VIEWS = ("best", "received", "accepted", "rejected", "advertised")


@_command
@click.option("--neighbor", metavar="ADDRESS", help="Only this neighbor's paths.")
@click.option("--best", is_flag=True, help="Best paths (default without --neighbor).")
@click.option("--received", is_flag=True, help="All paths (default with --neighbor).")
@click.option("--accepted", is_flag=True, help="Paths that import has accepted.")
@click.option("--rejected", is_flag=True, help="Paths that import has rejected.")
@click.option("--advertised", is_flag=True, help="What the neighbor has been sent.")
@click.option("--family", type=click.Choice([f.label for f in Family]), help="Only this family.")
@click.option("--prefix", metavar="PREFIX", help="Only this prefix and what is inside it.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many routes.")
def routes(
    client: Client,
    *,
    neighbor: str | None,
    family: str | None,
    prefix: str | None,
    limit: int | None,
    as_json: bool,
    **flags: bool,
) -> None:
    """List routes, in the order of their prefixes."""
    views = [name for name in _VIEWS if flags[name]]
    if len(views) > 1:
        raise click.UsageError(f"--{views[0]} and --{views[1]} exclude each other")
    if views == ["advertised"] and neighbor is None:
        raise click.UsageError("--advertised needs --neighbor")
    given = {"neighbor": neighbor, "family": family, "prefix": prefix}
    query = {name: value for name, value in given.items() if value is not None}
    if views:
        query["view"] = views[0]
    if limit is not None:
        query["limit"] = str(limit)
    # The API ends with a whole prefix, which may be a little later.
    lines = islice(client.lines("/v1/routes", query), limit)
    if as_json:
        print_records(lines)
        return
    names = ["", "Prefix", "Neighbor", "Next hop", "Age#", "AS path", "Why"]
    widths = [1, 18, 15, 15, 6, 24, 0]
    rows: Iterator[Row] = (_item_row(orjson.loads(line)) for line in lines)
    page = list(islice(rows, PAGE))
    if not page:
        click.echo("no routes")
        return
    # The first rows give the widths, the heading goes before them.
    printed = list(aligned(page, names, widths))
    heading = next(aligned([[name.rstrip("#") for name in names]], names, widths))
    click.echo(click.style(heading, bold=True))
    while printed:
        click.echo("\n".join(printed))
        printed = list(aligned(islice(rows, PAGE), names, widths))


def _item_row(found: RouteItem) -> Row:
    attributes = found["attributes"]
    return [
        MARKS[found["state"]],
        found["prefix"],
        found["neighbor"] or "",
        _next_hop(attributes),
        duration(found["age_s"]),
        _as_path(attributes),
        _why(found),
    ]


@_command
def nexthops(client: Client, *, as_json: bool) -> None:
    """Show next hops: how far they are, by which route, and for how many paths."""
    if as_json:
        print_records(client.lines("/v1/nexthops"))
        return
    found: list[NextHop] = list(client.records("/v1/nexthops"))
    groups = list(found[0]["orr"]) if found else []
    rows = [_next_hop_row(one) for one in found]
    columns = ["Next hop", "Metric#", "Paths#", *(f"{name}#" for name in groups), "Way"]
    print_table(columns, rows)
    if not rows:
        click.echo("no next hops")


def _metric(value: int | None) -> str:
    return "unreachable" if value is None else str(value)


def _next_hop_row(found: NextHop) -> Row:
    way: str = found["source"] if found["source"] != "none" else ""
    if found["route"] is not None:
        way += f" {found['route']}"
    if found["gateway"] is not None:
        way += f" via {found['gateway']}"
    if found["interface"] is not None:
        way += f" dev {found['interface']}"
    metrics = map(_metric, found["orr"].values())
    return [found["address"], _metric(found["metric"]), str(found["paths"]), *metrics, way]


for _one in (status, rpki, neighbors, route, routes, nexthops):
    show.add_command(_one)
