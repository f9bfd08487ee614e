"""The command line of `rs replay`, and what is played into other daemons."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from rs.cli import cli
from rs.errors import MrtError
from rs.messages import decode_notification
from rs.mrt import open_mrt
from rs.replay_cli import parse_stay, parse_target
from rs.replay_plan import Target
from tests.mrtfiles import attrs, data_file, rib
from tests.replaykit import TABLE, Speaker, free_port, recorded, replay, until

# ------------------------------------------------------------------------------- the command line


def run(*arguments: object):
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)])


def test_info(write):
    done = run(write(gzip.compress(TABLE)), "--info")
    assert done.exit_code == 0
    assert "compression: gzip" in done.output
    assert "200 ipv4-unicast, 50 ipv6-unicast" in done.output
    assert re.search(r"2 +65003 +2001:db8::3 +10\.0\.0\.3 +0 +50", done.output)
    done = run(write(recorded()), "--info")
    assert "announced  2 ipv4-unicast, 2 ipv6-unicast" in done.output
    assert "1970-01-01 00:01:40 UTC to 1970-01-01 00:01:44 UTC" in done.output


def test_info_as_json(write):
    data = json.loads(run(write(TABLE), "--info", "--json").output)
    assert data["routes"] == {"ipv4-unicast": 400, "ipv6-unicast": 50}
    assert data["peers"][2]["entries"] == {"ipv6-unicast": 50}
    assert data["truncated"] is False


def test_info_of_a_cut_off_file(write):
    file = write(TABLE[:-3])
    done = run(file, "--info")
    assert done.exit_code == 0
    assert "warning: the file ends within record 251 at offset" in done.output
    done = run(file, "--info", "--strict")
    assert done.exit_code == 1
    assert f"rs: {file}: the file ends within record 251" in done.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "nowhere to play to"),
        (("--to", "127.0.0.1:1"), "give either --asn or --as-peer"),
        (("--to", "127.0.0.1:1", "--asn", "1", "--as-peer"), "give either --asn or --as-peer"),
        (("--to", "127.0.0.1:x", "--asn", "1"), "'127.0.0.1:x' is not HOST:PORT"),
        (("--to", "a:1", "--asn", "1", "--stay", "long"), "'long' is neither seconds nor forever"),
        (("--to", "a:1", "--asn", "1", "--families", "ipv5"), "'ipv5'; there are ipv4-unicast"),
        (("--to", "a:1", "--asn", "1", "--hold-time", "2"), "--hold-time is 0 or at least 3"),
        (("--to", "a:1", "--asn", "1"), "3 peers are to be played"),
        (
            ("--to", "a:1", "--asn", "1", "--local-address", "a", "--local-prefix", "b"),
            "--local-address or --local-prefix, not both",
        ),
    ],
)
def test_arguments_that_cannot_be(write, arguments, text):
    done = run(write(TABLE), *arguments)
    assert done.exit_code == 2
    assert text in done.output


def test_a_file_that_is_none(write, tmp_path):
    done = run(tmp_path / "missing", "--info")
    assert done.exit_code == 1
    assert f"rs: {tmp_path / 'missing'}: No such file" in done.output
    done = run(write(b"these are not the routes"), "--info")
    assert done.exit_code == 1
    assert "not an MRT file" in done.output


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.0.2.1:1790", Target("192.0.2.1", 1790)),
        ("[2001:db8::1]:1790", Target("2001:db8::1", 1790)),
        ("2001:db8::1", Target("2001:db8::1", 179)),
        ("[2001:db8::1]", Target("2001:db8::1", 179)),
        ("router.example.net", Target("router.example.net", 179)),
    ],
)
def test_targets(text, target):
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


def test_stay():
    assert (parse_stay("2.5"), parse_stay("forever")) == (2.5, math.inf)


def test_ctrl_c_ends_with_cease(write):
    """The whole command in a process of its own, as a user has it."""
    speaker = Speaker()

    async def main():
        async with speaker:
            up = asyncio.Event()
            speaker.on_up = lambda side: up.set()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "rs", "replay", str(write(TABLE)),
                "--to", str(speaker.target), "--as-peer", "--peer", "0", "--stay", "forever",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            async with asyncio.timeout(20):
                await up.wait()
                await until(speaker.sides[0].ends_of_rib)
                process.send_signal(signal.SIGINT)
                out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

    code, out, err = asyncio.run(main())
    assert code == 0, err
    assert "200" in out
    assert "interrupted" in out
    assert "up with AS64999" in err
    assert "Traceback" not in out + err
    found = decode_notification(bytes(speaker.sides[0].keeper.data[-2 - 1 - len("replay ended") :]))
    assert (found.code, found.subcode, found.communication) == (6, 2, "replay ended")


def test_result_as_json(write):
    target = f"127.0.0.1:{free_port()}"
    done = run(write(TABLE), "--to", target, "--as-peer", "--peer", 1, "--json")
    assert done.exit_code == 1
    data = json.loads(done.stdout)
    assert data["ok"] is False
    assert data["sessions"][0]["to"] == target
    assert "refused" in data["sessions"][0]["error"]


@pytest.mark.data
def test_the_real_session():
    speaker = Speaker(asn=3856)
    result = replay(data_file("session.full-table.2015.mrt.gz"), speaker, asn=3856)
    (outcome,) = result.outcomes
    assert outcome.complete
    assert (outcome.routes, outcome.updates) == (577_737, 89_679)
    assert speaker.sides[0].keeper.sink.updates == 89_679


@pytest.mark.data
def test_a_strict_reading_of_a_real_cut_off_file():
    with (
        open_mrt(data_file("rib.20140523.0600_firstMB.bz2"), tolerant=False) as mrt,
        pytest.raises(MrtError, match="bzip2 data are cut off"),
    ):
        mrt.summary()


# ----------------------------------------------------------------------------------- real daemons


@contextlib.contextmanager
def daemon(*command: str, cwd):
    """A daemon of ours on loopback; ended by its process id."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def eventually(check, seconds: float = 20.0):
    """Return what `check` returns once it is true."""
    until = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
    return found


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout


@pytest.mark.interop
def test_into_bird(write, tmp_path):
    port = free_port()
    (tmp_path / "bird.conf").write_text(
        f"""
        log stderr all;
        router id 10.255.0.99;
        protocol device {{}}
        protocol bgp {{
          local 127.0.0.1 port {port} as 64999;
          neighbor range 127.0.9.0/24 external;
          dynamic name "peer"; strict bind; passive; multihop;
          ipv4 {{ import all; export none; }};
          ipv6 {{ import all; export none; }};
        }}
        """
    )
    ctl = str(tmp_path / "ctl")

    async def check(playing):
        def routes():
            return output("birdc", "-s", ctl, "show", "route", "count")

        async with asyncio.timeout(20):
            await until(lambda: "400 of 400 routes for 200 networks in table master4" in routes())
        assert "50 of 50 routes for 50 networks in table master6" in routes()
        text = output("birdc", "-s", ctl, "show", "route", "10.3.0.0/16", "all")
        assert "BGP.as_path: 65001 4" in text
        assert "BGP.next_hop: 192.0.2.1" in text
        playing.interrupt()

    with daemon("bird", "-f", "-c", "bird.conf", "-s", ctl, cwd=tmp_path):
        eventually(lambda: "ready" in output("birdc", "-s", ctl, "show", "status").lower())
        result = replay(
            write(TABLE),
            targets=(Target("127.0.0.1", port),),
            local_prefix="127.0.9.0/24",
            stay=math.inf,
            wait=10.0,
            during=check,
        )
        assert result.ok
        eventually(lambda: "replay ended" in (tmp_path / "log").read_text())


@pytest.mark.interop
def test_into_gobgp(write, tmp_path):
    port, api = free_port(), free_port()
    (tmp_path / "gobgpd.toml").write_text(
        f"""
        [global.config]
          as = 64999
          router-id = "10.255.0.98"
          port = {port}
          local-address-list = ["127.0.0.1"]
        [[peer-groups]]
          [peer-groups.config]
            peer-group-name = "replay"
            peer-as = 65001
          [[peer-groups.afi-safis]]
            [peer-groups.afi-safis.config]
              afi-safi-name = "ipv4-unicast"
          [peer-groups.ebgp-multihop.config]
            enabled = true
            multihop-ttl = 8
        [[dynamic-neighbors]]
          [dynamic-neighbors.config]
            prefix = "127.0.9.0/24"
            peer-group = "replay"
        """
    )

    def gobgp(*command: str) -> str:
        return output("gobgp", "-p", str(api), *command)

    async def check(playing):
        async with asyncio.timeout(20):
            await until(lambda: re.search(r"Destination: 201\b", gobgp("global", "rib", "summary")))
        routes = json.loads(gobgp("global", "rib", "10.3.0.0/16", "-j"))
        kinds = {a["type"]: a for a in next(iter(routes.values()))[0]["attrs"]}
        assert kinds[2]["as_paths"][0]["asns"] == [65001, 4]
        assert kinds[3]["nexthop"] == "192.0.2.1"
        playing.interrupt()

    more = rib("10.250.0.0/16", (0, attrs(65001, 400_000)))
    with daemon("gobgpd", "-f", "gobgpd.toml", "--api-hosts", f"127.0.0.1:{api}", cwd=tmp_path):
        eventually(lambda: gobgp("global"))
        result = replay(
            write(TABLE + more),
            targets=(Target("127.0.0.1", port),),
            peers=("0",),
            local_address="127.0.9.1",
            stay=math.inf,
            wait=10.0,
            during=check,
        )
        assert result.ok
