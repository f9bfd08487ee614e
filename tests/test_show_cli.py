"""`rs show` against a served router: tables, JSON, and what is said when there is no daemon."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from rs import client, show_cli
from rs.cli import cli
from rs.client import Client
from rs.errors import ApiError
from tests.routerkit import Lab, communities, config_text, med
from tests.served import Served

A, B, C, D = "10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::4"
NEIGHBORS = (
    f"{A} 65001",
    f'address = "{B}"\nasn = 65002\ndescription = "Example Networks"',
    f"{C} 65003",
    f"{D} 65004",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    lab = Lab(folder, config_text(*NEIGHBORS))
    lab.up(A, B, C)
    lab.announce(A, "20.0.0.0/8", "20.1.0.0/16", more=communities("0:65003", "65535:666"))
    lab.time += 3700
    lab.announce(B, "20.0.0.0/8", path=(65002, 1, 2), more=med(7))
    lab.announce(C, "20.1.1.0/24", path=(65009, 1))
    lab.announce(C, "2001:db8::/32", hop="2001:db8::3")
    lab.feed(A, bytes.fromhex("000000054001020000080b"))
    for i in range(0, 600, 300):
        lab.announce(B, *(f"30.{k >> 8}.{k & 255}.0/24" for k in range(i, i + 300)))
    lab.settle()
    lab.time += 90
    with Served(lab, folder) as server:
        yield server


@pytest.fixture
def run(served, monkeypatch):
    """Call `rs show ...`; return its output, or with `fails` its exit code and error output."""
    monkeypatch.delenv("RS_API", raising=False)

    def call(*args, api=None, fails=0):
        place = served.path if api is None else api
        result = CliRunner().invoke(cli, ["show", "--api", place, *args])
        assert result.exit_code == fails, result.output
        if not fails:
            assert result.stderr == ""
        return result.stderr if fails else result.stdout

    return call


class TestTables:
    def test_status(self, run):
        text = run("status")
        assert "version         0.1.0" in text
        assert "route-server, AS64500, router id 10.0.0.1" in text
        assert "3 established of 4" in text
        assert "1h03m" in text
        assert any(line.split()[:2] == ["ipv4-unicast", "603"] for line in text.splitlines())

    def test_next_hops(self, run):
        lines = run("nexthops").splitlines()
        assert lines[0].split() == ["Next", "hop", "Metric", "Paths"]  # no metrics, no way
        assert [line.split() for line in lines[1:]] == [
            [A, "0", "2"],
            [B, "0", "601"],
            ["2001:db8::3", "0", "1"],
        ]
        found = json.loads(run("nexthops", "--json"))
        assert [one["address"] for one in found] == [A, B, "2001:db8::3"]
        assert {one["source"] for one in found} == {"none"}

    def test_rpki(self, run, served, monkeypatch):
        assert run("rpki").splitlines()[0].split() == [
            "data",
            "none:",
            "nothing",
            "is",
            "validated",
        ]
        cache = {
            "name": "rpki.example.net:323", "preference": 10, "state": "in sync", "version": 1,
            "session_id": 7, "serial": 42, "vrps": 3, "aspas": 0, "updated_s": 61.0,
            "expires_s": 7000.0, "refresh_s": 3600, "last_error": "",
        }  # fmt: skip
        gone = {**cache, "name": "[2001:db8::1]:323", "state": "waiting", "version": None,
                "session_id": None, "serial": None, "updated_s": None, "expires_s": None,
                "last_error": "connection refused"}  # fmt: skip
        file = {"path": "/x/vrps.json", "vrps": 5, "aspas": 1, "age_s": 90.0, "read_s": 30.0,
                "last_error": ""}  # fmt: skip
        monkeypatch.setattr(
            served.lab.router, "rpki_sources", lambda: ([cache, gone], [file]), raising=False
        )
        rows = [line.split() for line in run("rpki").splitlines()]
        assert rows[5][:9] == ["rpki.example.net:323", "10", "in", "sync", "1", "7", "42", "3", "0"]
        assert rows[6][:3] == ["[2001:db8::1]:323", "10", "waiting"]
        assert rows[6][-2:] == ["connection", "refused"]
        assert rows[-1][:3] == ["/x/vrps.json", "5", "1"]
        found = json.loads(run("rpki", "--json"))
        assert found["caches"] == [cache, gone]

    def test_neighbors(self, run):
        lines = run("neighbors").splitlines()
        assert lines[0].split()[:4] == ["Neighbor", "AS", "State", "Since"]
        rows = [line.split() for line in lines[1:]]
        assert [row[0] for row in rows] == [A, B, C, D]
        assert rows[0][1:3] == ["65001", "Established"]
        assert rows[1][4:] == ["601", "601", "0", "3", "Example", "Networks"]
        assert rows[2][4:7] == ["2", "1", "1"]
        assert rows[3][2] in {"Idle", "Connect", "Active"}
        # Numbers stand under each other, to the right.
        assert (
            len(
                {
                    line.index(row[1]) + len(row[1])
                    for line, row in zip(lines[1:], rows, strict=True)
                }
            )
            == 1
        )

    def test_neighbor(self, run):
        text = run("neighbors", A)
        assert f"{A}, AS65001, rs-client" in text
        assert "Established for 1h03m" in text
        assert "hold 90s, keepalive 30s" in text
        assert "1 treated as withdraw" in text
        assert "malformed UPDATE: treat-as-withdraw, attribute 1: 00000005" in text
        assert "ipv6-unicast" in text
        text = run("neighbors", C)
        assert "1 first-as" in text
        assert "description" not in text

    def test_neighbor_that_is_down(self, run):
        text = run("neighbors", D)
        assert "(not negotiated)" in text
        assert "timers" not in text

    def test_route(self, run):
        lines = run("route", "20.0.0.0/8").splitlines()
        assert lines[0] == "20.0.0.0/8  ipv4-unicast, 2 paths, 2 usable, advertised to 3 neighbors"
        best, other = lines[2], lines[3]
        assert best.startswith(f">  {A}")
        assert best.endswith("0:65003 blackhole  best: shorter AS path")
        assert "1h03m" in best
        assert other.startswith(f"*  {B}")
        assert "65002 1 2" in other
        assert other.endswith("longer AS path")
        assert "1m30s" in other
        # Columns that nobody fills are not there.
        assert "MED" in lines[1]
        assert "LP" not in lines[1]
        assert lines[-1] == show_cli.LEGEND

    def test_why_an_address_is_not_reached_by_the_longest(self, run):
        text = run("route", "20.1.1.1")
        assert "x  10.1.0.3" in text
        assert "rejected: AS_PATH does not begin with the neighbor's AS" in text
        assert text.index("20.1.1.0/24") < text.index("20.1.0.0/16")

    def test_route_forms(self, run):
        assert "20.1.1.0/24" in run("route", "20.1.0.0/16", "--longer")
        assert "20.1.1.0/24" not in run("route", "20.1.0.0/16", "--exact")
        assert run("route", "20.1.0.0/17", "--exact") == "no route for 20.1.0.0/17\n"
        assert "20.1.0.0/16" in run("route", "20.1.0.0/17", "--longest")
        assert f"{A} {C}" in run("route", "20.0.0.0/8", "--members")

    def test_route_to(self, run):
        lines = run("route", "20.0.0.0/8", "--to", C).splitlines()
        assert lines[1] == f"to {C}: sent; a better one is withheld"
        assert lines[3].endswith("not sent: community 0:65003: do_not_announce_to_peer")
        assert lines[4].endswith("sent; a better one is withheld")
        lines = run("route", "20.0.0.0/8", "--to", D).splitlines()
        assert lines[1].startswith(f"to {D}: not sent: its session is ")
        found = json.loads(run("route", "20.0.0.0/8", "--to", A, "--json"))
        assert found["routes"][0]["paths"][0]["to"]["reason"] == "own"
        assert "no neighbor 10.9.9.9" in run("route", "20.0.0.0/8", "--to", "10.9.9.9", fails=1)

    def test_routes(self, run):
        lines = run("routes").splitlines()
        assert lines[0].split() == ["Prefix", "Neighbor", "Next", "hop", "Age", "AS", "path", "Why"]
        assert len(lines) == 1 + 603
        assert lines[1].startswith(">  20.0.0.0/8 ")
        assert lines[-1].startswith(">  2001:db8::/32 ")

    def test_routes_of_a_neighbor(self, run):
        lines = run("routes", "--neighbor", C, "--rejected").splitlines()
        assert len(lines) == 2
        assert lines[1].startswith("x  20.1.1.0/24")
        assert len(run("routes", "--neighbor", C).splitlines()) == 3
        assert len(run("routes", "--neighbor", C, "--accepted").splitlines()) == 2
        assert len(run("routes", "--neighbor", A, "--advertised").splitlines()) == 603
        assert run("routes", "--neighbor", A, "--rejected") == "no routes\n"

    def test_routes_options(self, run):
        assert len(run("routes", "--limit", "5").splitlines()) == 6
        assert len(run("routes", "--received", "--limit", "1").splitlines()) == 2
        assert len(run("routes", "--family", "ipv6-unicast").splitlines()) == 2
        assert len(run("routes", "--prefix", "30.0.0.0/16").splitlines()) == 257


class TestJson:
    def test_status(self, run):
        assert json.loads(run("status", "--json"))["prefixes"] == 604

    def test_neighbors(self, run):
        found = json.loads(run("neighbors", "--json"))
        assert [n["address"] for n in found] == [A, B, C, D]
        for one in found:
            assert {"address", "asn", "description", "state", "uptime_s"} <= set(one)
            for family in one["families"].values():
                assert {"received", "accepted", "rejected", "advertised"} <= set(family)
        (one,) = json.loads(run("neighbors", A, "--json"))
        assert one["address"] == A

    def test_route(self, run):
        found = json.loads(run("route", "20.1.1.1", "--json"))
        assert [r["prefix"] for r in found["routes"]] == ["20.1.1.0/24", "20.1.0.0/16"]
        assert (found["query"], found["match"]) == ("20.1.1.1", "longest")
        found = json.loads(run("route", "99.0.0.0/8", "--longer", "--json"))
        assert found == {"query": "99.0.0.0/8", "match": "longer", "routes": []}

    def test_routes(self, run):
        found = json.loads(run("routes", "--json"))
        assert len(found) == 603
        assert found[0]["prefix"] == "20.0.0.0/8"
        assert len(json.loads(run("routes", "--received", "--limit", "1", "--json"))) == 1
        assert json.loads(run("routes", "--prefix", "99.0.0.0/8", "--json")) == []


class TestErrors:
    def test_of_the_daemon(self, run):
        assert run("neighbors", "10.9.9.9", fails=1) == "rs: no neighbor 10.9.9.9\n"
        assert run("neighbors", "me", fails=1) == "rs: 'me' is no address\n"
        assert "host bits set" in run("route", "20.0.0.1/8", fails=1)
        assert "no neighbor" in run("routes", "--neighbor", "10.9.9.9", "--json", fails=1)

    def test_of_usage(self, run):
        assert "--received and --rejected exclude" in run(
            "routes", "--rejected", "--received", fails=2
        )
        assert "needs --neighbor" in run("routes", "--advertised", fails=2)
        assert "ipv5" in run("routes", "--family", "ipv5", fails=2)
        assert "limit" in run("routes", "--limit", "0", fails=2)

    def test_nobody_there(self, run, tmp_path):
        place = str(tmp_path / "nobody.sock")
        text = run("status", api=place, fails=1)
        assert text.startswith("rs: no daemon reached; tried\n")
        assert f"  {place}: no such file or directory\n" in text
        assert "--api or RS_API say where" in text

    def test_nobody_at_the_defaults(self, monkeypatch, tmp_path):
        monkeypatch.delenv("RS_API", raising=False)
        monkeypatch.setattr(client, "DEFAULT_SOCKET", str(tmp_path / "nobody.sock"))
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))  # bound, and not listening
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            monkeypatch.setattr(client, "DEFAULT_URL", url)
            with pytest.raises(ApiError) as caught:
                Client().get("/v1/status")
        assert "nobody.sock: no such file or directory" in str(caught.value)
        assert f"{url}: connection refused" in str(caught.value)

    @pytest.mark.parametrize(
        "place", ["https://127.0.0.1", "http://", "http://h:x", "http://h/a/b"]
    )
    def test_place_that_is_none(self, run, place):
        assert place in run("status", api=place, fails=1)

    @pytest.mark.parametrize(
        ("sent", "words"),
        [
            (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0-OpenSSH"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "HTTP 404 Not Found"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", "no JSON"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\n", "not complete"),
            (b"", "without response"),
        ],
    )
    def test_something_else_there(self, run, sent, words):
        with socket.create_server(("127.0.0.1", 0)) as sock:

            def serve():
                conn, _ = sock.accept()
                with conn:
                    conn.recv(65536)
                    conn.sendall(sent)

            thread = threading.Thread(target=serve)
            thread.start()
            place = f"127.0.0.1:{sock.getsockname()[1]}"
            assert words in run("status", api=place, fails=1)
            thread.join(5)

    def test_broken_off_in_the_middle_of_routes(self, run, served, monkeypatch):
        def fail(*_):
            raise ZeroDivisionError

        monkeypatch.setattr("rs.showroutes.Glance.item", fail)
        assert "not complete: broken off" in run("routes", fails=1)


class TestPlaces:
    def test_tcp(self, run, served):
        assert "version" in run("status", api=served.url)
        assert "version" in run("status", api=served.server.addresses[0])

    def test_unix_prefix(self, run, served):
        assert "version" in run("status", api=f"unix:{served.path}")

    def test_environment(self, served, monkeypatch):
        monkeypatch.setenv("RS_API", served.path)
        assert CliRunner().invoke(cli, ["show", "status"]).exit_code == 0

    def test_option_of_the_command_counts(self, served, monkeypatch):
        monkeypatch.setenv("RS_API", "/nonexistent/rs.sock")
        args = ["show", "--api", "/nonexistent/too.sock", "status", "--api", served.path]
        assert CliRunner().invoke(cli, args).exit_code == 0

    def test_default_socket(self, served, monkeypatch):
        monkeypatch.delenv("RS_API", raising=False)
        monkeypatch.setattr(client, "DEFAULT_SOCKET", served.path)
        assert Client().get("/v1/status")["asn"] == 64500

    def test_post(self, served):
        one = Client(served.path)
        with pytest.raises(ApiError, match="no neighbor"):
            one.post("/v1/neighbors/10.9.9.9/reset", {})
        assert one.post(f"/v1/neighbors/{B}/refresh", {}) == {"ok": f"{B}: refresh"}
        one.close()


class TestText:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(None, ""), (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3600, "1h00m"), (90061, "1d01h")],
    )
    def test_duration(self, seconds, text):
        assert show_cli.duration(seconds) == text

    @pytest.mark.parametrize(
        ("octets", "text"), [(0, "0 B"), (1500, "1.5 kB"), (41_200_000, "41.2 MB"), (2e9, "2.0 GB")]
    )
    def test_size(self, octets, text):
        assert show_cli.size(octets) == text

    def test_terminal_commands_of_a_neighbor_are_not_obeyed(self):
        assert show_cli.clean("a\x1b[31mb\x07\u202ec") == "a\N{REPLACEMENT CHARACTER}[31mb" + (
            "\N{REPLACEMENT CHARACTER}" * 2 + "c"
        )

    def test_widths_grow_and_stay(self):
        widths = [0, 0]
        assert list(show_cli.aligned([["a", "1"], ["bbb", "22"]], ["x", "y#"], widths)) == [
            "a     1",
            "bbb  22",
        ]
        assert list(show_cli.aligned([["c", "3"]], ["x", "y#"], widths)) == ["c     3"]


class TestTerminal:
    def test_rich_tables(self, served, tmp_path):
        """On a terminal the tables have color; here by a pseudo terminal."""
        text = on_terminal("show", "--api", served.path, "neighbors")
        assert "\x1b[32mEstablished" in text
        assert "Example Networks" in text
        text = on_terminal("show", "--api", served.path, "route", "20.0.0.0/8")
        assert "\x1b[32m>" in text
        assert "blackhole" in text

    def test_rich_is_only_for_terminals(self, served):
        code = "import sys; from rs.cli import cli\ntry: cli()\nfinally: assert 'rich' not in sys.modules"
        subprocess.run(
            [sys.executable, "-c", code, "show", "--api", served.path, "neighbors"],
            check=True,
            capture_output=True,
            timeout=30,
            cwd=Path(__file__).parent.parent,
        )

    def test_head(self, served):
        """Whoever reads only the first lines gets no traceback."""
        process = subprocess.Popen(
            [sys.executable, "-m", "rs", "show", "--api", served.path, "routes"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(10)


def on_terminal(*args: str) -> str:
    """Run the command on a pseudo terminal of 140 columns; return what it writes."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 140, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "rs", *args],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**environment, "TERM": "xterm"},
        cwd=Path(__file__).parent.parent,
    )
    os.close(follower)
    out = b""
    try:
        while block := os.read(leader, 65536):
            out += block
    except OSError:
        pass  # how a pseudo terminal says that nobody is there any more
    os.close(leader)
    assert process.wait(10) == 0
    return out.decode()
