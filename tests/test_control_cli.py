"""`rs reload`, `reset`, `shutdown`, `enable` and `refresh` against a served router."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from rs.cli import cli
from rs.errors import ConfigError, RsError
from rs.messages import decode_notification
from tests.routerkit import Lab, config_text
from tests.served import Served

A, B, C = "10.1.0.1", "10.1.0.2", "2001:db8:1::3"


@pytest.fixture
def served(tmp_path):
    lab = Lab(tmp_path, config_text(f"{A} 65001", f"{B} 65002", f"{C} 65003"))
    lab.up(A, C)
    lab.settle()
    with Served(lab, tmp_path) as server:
        yield server


@pytest.fixture
def run(served):
    """Call `rs ...`; return (exit code, standard output, standard error)."""

    def call(command, *args, api=None):
        place = served.path if api is None else api
        result = CliRunner().invoke(cli, [command, "--api", place, *args])
        return result.exit_code, result.stdout, result.stderr

    return call


def notification(lab, address):
    """Return what the neighbor was told: (code, subcode, data)."""
    for data in lab.said[address]:
        if data[18:19] == b"\x03":
            found = decode_notification(data[19:])
            return found.code, found.subcode, found.data
    return None


class TestActions:
    def test_reset(self, run, served):
        assert run("reset", A) == (0, f"{A}: reset\n", "")
        peer = served.lab.peer(A)
        assert not peer.established
        assert peer.session.enabled
        assert notification(served.lab, A) == (6, 4, b"")

    def test_message_goes_to_the_neighbor(self, run, served):
        assert run("reset", A, "--message", "new line card")[0] == 0
        assert notification(served.lab, A) == (6, 4, b"\x0dnew line card")

    def test_shutdown_and_enable(self, run, served):
        assert run("shutdown", A, "--message", "Größe")[:2] == (0, f"{A}: shutdown\n")
        session = served.lab.peer(A).session
        assert notification(served.lab, A) == (6, 2, b"\x07" + "Größe".encode())
        assert not session.enabled
        assert run("enable", A)[:2] == (0, f"{A}: enable\n")
        assert session.enabled

    def test_refresh(self, run, served):
        before = len(served.lab.said[A])
        assert run("refresh", A)[:2] == (0, f"{A}: refresh\n")
        assert [data[18] for data in served.lab.said[A][before:]] == [5, 5]

    def test_ipv6_address_in_any_form(self, run, served):
        assert run("reset", "2001:DB8:1:0::3")[:2] == (0, f"{C}: reset\n")
        assert not served.lab.peer(C).established

    def test_refused(self, run):
        code, out, err = run("refresh", B)
        assert (code, out) == (1, "")
        assert err == f"rs: {B} has no session that can be refreshed\n"

    @pytest.mark.parametrize("command", ["reset", "shutdown", "enable", "refresh", "measure"])
    def test_no_such_neighbor(self, run, command):
        assert run(command, "10.9.9.9") == (1, "", "rs: no neighbor 10.9.9.9\n")

    @pytest.mark.parametrize("text", ["nonsense", "10.1.0.1/shutdown?a=b", "a b", "10.1.0.1%0a"])
    def test_no_address(self, run, served, text):
        code, out, err = run("reset", text)
        assert (code, out) == (1, "")
        assert err.startswith("rs: ")
        assert served.lab.peer(A).established

    def test_message_too_long(self, run, served):
        code, _, err = run("shutdown", A, "--message", "x" * 256)
        assert code == 1
        assert "at most 255 octets" in err
        assert served.lab.peer(A).established

    def test_no_daemon(self, run, tmp_path):
        code, out, err = run("reset", A, api=str(tmp_path / "nothing.sock"))
        assert (code, out) == (1, "")
        assert "no daemon reached" in err

    def test_address_is_needed(self, run):
        code, _, err = run("reset")
        assert code == 2
        assert "ADDRESS" in err


class TestReload:
    @pytest.fixture
    def reload(self, run, served):
        """Make the router answer a reload in some way and run `rs reload`."""

        def call(what):
            async def carry_out():
                if isinstance(what, Exception):
                    raise what
                return what

            served.lab.router.reload = carry_out
            return run("reload")

        return call

    def test_done(self, reload):
        assert reload("neighbors: 1 added") == (0, "neighbors: 1 added\n", "")

    def test_every_fault_is_printed(self, reload):
        code, out, err = reload(ConfigError(["rs.toml:3: asn: no", "rs.toml:4: hold_time: no"]))
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "rs.toml:3: asn: no",
            "rs.toml:4: hold_time: no",
            "rs: the configuration has faults; the old one goes on",
        ]

    def test_cannot_be_applied(self, reload):
        assert reload(RsError("port 179: in use")) == (1, "", "rs: port 179: in use\n")

    def test_without_a_file(self, run):
        code, _, err = run("reload")
        assert code == 1
        assert "no configuration file" in err

    def test_no_daemon(self, run, tmp_path):
        code, _, err = run("reload", api=str(tmp_path / "nothing.sock"))
        assert code == 1
        assert "no daemon reached" in err

    def test_place_from_the_environment(self, served, monkeypatch):
        monkeypatch.setenv("RS_API", served.path)
        result = CliRunner().invoke(cli, ["enable", A])
        assert (result.exit_code, result.stdout) == (0, f"{A}: enable\n")
