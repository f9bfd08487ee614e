"""The demo: its table is what it says it is, and the whole thing starts, runs, and ends cleanly."""

from __future__ import annotations

import io
import re
import signal
import socket
import subprocess
import sys
import time
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from rs import demo_view
from rs._fastpath.attrs import AttrTable
from rs._fastpath.decode import Decoder
from rs.configfile import load_config
from rs.demo import Demo, configuration
from rs.demo_table import RS_ASN, DemoTable, Member, generate
from rs.errors import RsError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = 7


@pytest.fixture(scope="module")
def table() -> DemoTable:
    return generate(MEMBERS, 3000, seed=5)


def decoded(octets: bytes) -> Iterator[dict[str, object]]:
    """Every UPDATE in a run of messages, decoded."""
    decoder = Decoder(AttrTable(), as4=True, ibgp=False, families=3)
    while octets:
        assert octets[:16] == b"\xff" * 16
        length = int.from_bytes(octets[16:18])
        assert length <= 4096
        yield decoder.decode(octets[19:length])
        octets = octets[length:]


def routes(octets: bytes) -> dict[str, dict[str, object]]:
    """Prefix -> attributes, as announced by a run of messages without a fault."""
    found: dict[str, dict[str, object]] = {}
    for update in decoded(octets):
        assert update["outcome"] == 0
        for prefix, _ in update["announced"]:
            found[prefix] = update["attrs"]
        for _, prefix, _ in update["reach"]:
            found[prefix] = update["mp_attrs"]
    return found


# --- the table ------------------------------------------------------------------------------------


def test_equal_seeds_make_equal_tables(table: DemoTable) -> None:
    again = generate(MEMBERS, 3000, seed=5)
    assert again.updates(2) == table.updates(2)
    assert again.due() == table.due()
    assert generate(MEMBERS, 3000, seed=6).updates(2) != table.updates(2)


def test_prefixes_are_distinct_and_nobodys_special_ones(table: DemoTable) -> None:
    networks = [ip_network(table.prefix(at)) for at in range(len(table))]
    assert len(networks) == 3000
    assert sum(net.version == 6 for net in networks) == 300
    for before, net in pairwise(networks):
        assert before.version < net.version or before.broadcast_address < net.network_address
    assert all(net.is_global for net in networks)


def test_updates_announce_what_the_blocks_say(table: DemoTable) -> None:
    total = 0
    for m in range(MEMBERS):
        member, got = Member(m), routes(table.updates(m))
        total += len(got)
        for block, offer in table.by_member[m]:
            for at in range(block.first, block.first + block.size):
                attrs = got[table.prefix(at)]
                assert attrs["as_path"] == ((2, offer.as_path),)
                assert attrs["as_path"][0][1][0] == member.asn
                assert attrs.get("communities", ()) == offer.communities
                assert str(member.next_hop) in {attrs["next_hop"], "198.18.0.1", "198.18.0.7"} or (
                    attrs["next_hop"].startswith("2001:db8::")
                )
    assert total == table.offered > 3000


def test_a_table_ends_with_end_of_rib_of_both_families(table: DemoTable) -> None:
    ends = [update["eor"] for update in decoded(table.updates(0))]
    assert ends[-2:] == [0, 1]
    assert set(ends[:-2]) == {None}


def test_due_is_what_the_communities_leave(table: DemoTable) -> None:
    """Worked out again from the wire, by the rules that the route server states."""
    due, own = table.due()
    reach: list[dict[str, set[int]]] = []
    for m in range(MEMBERS):
        closed: dict[str, set[int]] = {}
        for prefix, attrs in routes(table.updates(m)).items():
            values = set(attrs.get("communities", ()))
            others = set(range(MEMBERS)) - {m}
            if RS_ASN in values:
                left = {o for o in others if RS_ASN << 16 | Member(o).asn in values}
            else:
                left = {o for o in others if Member(o).asn not in values}
            closed[prefix] = left
        reach.append(closed)
    excluded = 0
    for at in range(len(table)):
        prefix = table.prefix(at)
        sources = [m for m in range(MEMBERS) if prefix in reach[m]]
        for m in range(MEMBERS):
            expected = any(m in reach[source][prefix] for source in sources)
            assert bool(due[m][at >> 3] >> (at & 7) & 1) is expected, (prefix, m)
            assert bool(own[m][at >> 3] >> (at & 7) & 1) is (sources == [m])
            excluded += not expected and sources != [m]
    assert excluded > 20, "a table without exclusions shows nothing"


def test_withdrawals_name_their_prefix(table: DemoTable) -> None:
    (v4,) = decoded(table.withdraw(0))
    (v6,) = decoded(table.withdraw(2999))
    assert v4["withdrawn"] == [(table.prefix(0), 0)]
    assert v6["unreach"] == [(1, table.prefix(2999), 0)]


def test_a_change_prepends_the_members_as(table: DemoTable) -> None:
    block = table.blocks[0]
    offer = block.offers[0]
    got = routes(table.announce(block, offer, only=block.first, prepend=2))
    assert list(got) == [table.prefix(block.first)]
    asn = Member(offer.member).asn
    assert got[table.prefix(block.first)]["as_path"][0][1] == (asn, asn, *offer.as_path)


def test_a_long_block_takes_several_messages() -> None:
    big = generate(2, 5000, seed=1)
    block = max(big.blocks, key=lambda b: b.size)._replace(first=0, size=4000)
    octets = big.announce(block, block.offers[0])
    assert len(routes(octets)) == 4000
    assert len(list(decoded(octets))) > 3


@pytest.mark.parametrize(("members", "prefixes"), [(1, 10), (1001, 10), (5, 0), (5, 1_000_001)])
def test_impossible_sizes_are_refused(members: int, prefixes: int) -> None:
    with pytest.raises(ValueError, match="possible"):
        generate(members, prefixes)


def test_every_member_has_a_name_of_its_own() -> None:
    everybody = [Member(m) for m in range(1000)]
    for part in ("name", "asn", "address", "next_hop"):
        assert len({getattr(member, part) for member in everybody}) == 1000


def test_the_configuration_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(configuration(1000, 1790, "127.0.0.1:8080"))
    config = load_config(path)
    assert len(config.neighbors) == 1000
    assert config.neighbors[999].asn == Member(999).asn
    assert not config.warnings


# --- the view -------------------------------------------------------------------------------------


def member_report(**changes: object) -> dict[str, object]:
    return {
        "state": "up",
        "error": "",
        "announced": 900,
        "withdrawn": 0,
        "missing": 0,
        "surplus": 0,
        "exact": True,
        **changes,
    }


@pytest.mark.parametrize("height", [16, 24, 50])
@pytest.mark.parametrize("members", [0, 3, 40])
@pytest.mark.parametrize("width", [80, 130])
def test_the_screen_fits_its_terminal(height: int, members: int, width: int) -> None:
    figures = demo_view.Figures(api="http://127.0.0.1:8080")
    figures.report.take(
        {"phase": "churn", "due": 1000, "members": [member_report() for _ in range(members)]}
    )
    figures.routes = [
        {
            "prefix": "192.0.2.0/24",
            "family": "ipv4-unicast",
            "usable": True,
            "advertised_to": 3,
            "paths": [],
        }
    ] * 3
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(demo_view.screen(figures, height, width))
    lines = console.export_text().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "rs show --api http://127.0.0.1:8080 neighbors" in lines[-2]
    if members == 40 and height > 16:
        assert any(re.search(r"and \d+ more", line) for line in lines)


def test_rates_come_from_differences() -> None:
    figures = demo_view.Figures()
    figures.report.members = [member_report(announced=100)]
    figures.tick(10.0, 0.0)
    assert figures.rate_out == 0
    figures.report.members = [member_report(announced=600, withdrawn=100)]
    figures.cpu_s = 0.25
    figures.tick(10.5, 0.5)
    assert figures.rate_out == 1200
    assert figures.cpu_share == 0.5
    assert "out 1.2k/s" in demo_view.line(figures)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999.4, "999"), (999.6, "1.0k"), (123456, "123k"), (4.4e6, "4.4M"), (2e9, "2.0G")],
)
def test_rates_are_short(value: float, text: str) -> None:
    assert demo_view.rate(value) == text


# --- the whole ------------------------------------------------------------------------------------


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rs", "demo", "--members", "4", "--prefixes", "2000", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def until_loaded(demo: subprocess.Popen[str]) -> list[str]:
    lines = []
    assert demo.stdout is not None
    for line in demo.stdout:
        lines.append(line)
        if "loaded in" in line:
            return lines
    raise AssertionError("".join(lines))


def test_the_demo_ends_by_itself() -> None:
    demo = start("--seconds", "6", "--churn", "200")
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, output
    assert "Traceback" not in output
    assert "held exactly what is due" in output
    assert "at the end 4 of 4 held exactly what is due" in output
    assert re.search(r"initial load: [\d,]+ routes in, [\d,]+ out, .*: [\d.]+ m?s", output)
    assert re.search(r"churn: [1-9][\d,]* changes", output)


def test_ctrl_c_ends_everything_within_two_seconds() -> None:
    demo = start()
    lines = until_loaded(demo)
    mine = children(demo.pid)
    assert len(mine) == 2
    begin = time.monotonic()
    demo.send_signal(signal.SIGINT)
    output = "".join(lines) + demo.communicate(timeout=20)[0]
    assert time.monotonic() - begin < 3  # two, and something for a busy machine
    assert demo.returncode == 0, output
    assert "Traceback" not in output
    assert "held exactly what is due" in output
    assert gone(mine, 0.5)


def test_a_killed_demo_leaves_nobody_behind() -> None:
    demo = start()
    until_loaded(demo)
    mine = children(demo.pid)
    assert len(mine) == 2
    demo.kill()
    demo.wait()
    assert gone(mine, 5)
    assert demo.stdout is not None
    demo.stdout.close()


def test_it_can_be_asked_as_any_daemon() -> None:
    demo = start()
    lines = until_loaded(demo)
    try:
        command = re.search(r"rs (show --api \S+ neighbors)", lines[0])
        assert command is not None
        shown = subprocess.run(
            [sys.executable, "-m", "rs", *command[1].split()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert shown.stdout.count("Established") == 4
        assert "Alder Net" in shown.stdout
    finally:
        demo.terminate()
        demo.communicate(timeout=20)


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = start("--api-port", str(port))
        output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert output == f"rs: --api-port: 127.0.0.1:{port}: the port is in use by another process\n"


def test_a_daemon_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = Demo(tmp_path, {"members": 2, "port": port}, "127.0.0.1:1")
        try:
            with pytest.raises(RsError, match=r"(?s)the daemon did not start.*in use") as failure:
                demo.start()
        finally:
            demo.stop()
    assert str(port) in str(failure.value)


@pytest.mark.parametrize(
    "options", [["--members", "1"], ["--prefixes", "2000000"], ["--api-port", "70000"]]
)
def test_options_out_of_range_are_usage_errors(options: list[str]) -> None:
    demo = start(*options)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert options[0] in output
