"""The command line: exit codes, where words go, and what is not imported."""

import subprocess
import sys
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import rs
from rs.cli import ELSEWHERE, cli
from rs.errors import ApiError, ConfigError

ROOT = Path(__file__).parent.parent
GOOD = (
    '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\n[[neighbors]]\naddress = "10.1.0.1"\nasn = 5\n'
)


@pytest.fixture
def invoke():
    def invoke(*args):
        return CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="rs")

    return invoke


@pytest.fixture
def module(monkeypatch):
    """Stand in for a module that a command imports."""

    def module(name, **contents):
        made = types.ModuleType(name)
        for attribute, value in contents.items():
            setattr(made, attribute, value)
        monkeypatch.setitem(sys.modules, name, made)
        monkeypatch.setattr(rs, name.split(".")[1], made, raising=False)

    return module


def imported_by(*args: str) -> tuple[list[str], set[str]]:
    """Run `rs ARGS` in a new interpreter; return the lines it wrote and the modules it imported."""
    code = (
        "import sys\nfrom rs.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True, text=True, check=True, timeout=30, cwd=ROOT,
    )  # fmt: skip
    *lines, modules = done.stdout.splitlines()
    return lines, set(modules.split())


def test_version(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.output) == (0, f"rs {rs.__version__}\n")


def test_version_imports_neither_event_loop_nor_http_nor_configuration():
    lines, modules = imported_by("--version")
    assert lines == [f"rs {rs.__version__}"]
    heavy = {"uvloop", "aiohttp", "asyncio", "rich", "attrs", "tomllib", "rs.config", "rs.app"}
    assert heavy & modules == set()


def test_check_imports_no_event_loop():
    lines, modules = imported_by("check", "deploy/examples/route-server.toml")
    assert lines
    assert {"uvloop", "aiohttp", "asyncio", "rich", "difflib"} & modules == set()
    assert "rs.configfile" in modules


def test_help_names_every_command_and_imports_none():
    lines, modules = imported_by("-h")
    for name in ["run", "check", *ELSEWHERE]:
        assert any(line.startswith(f"  {name} ") for line in lines), name
    assert {"rs.demo", "rs.show_cli", "rs.replay_cli", "rs.app"} & modules == set()


def test_check_of_a_correct_file(invoke, tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(GOOD + '[[neighbors]]\nrange = "10.2.0.0/16"\nfamilies = ["ipv6-unicast"]\n')
    result = invoke("check", path)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines == {
        "config": f"{path}, files read: 1; correct",
        "role": "route-server",
        "asn": "64500",
        "router_id": "10.0.0.1",
        "listen": "0.0.0.0:179, [::]:179",
        "api": "off",
        "neighbors": "2 (ranges 1)",
        "families": "ipv4-unicast (1), ipv6-unicast (2)",
    }


def test_check_puts_warnings_on_standard_error(invoke, tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text('include = ["*.none"]\n' + GOOD)
    result = invoke("check", path)
    assert result.exit_code == 0
    assert result.stderr == f'warning: {path}: include[0] (line 1): "*.none" matches no file\n'


def test_check_reads_vrp_files(invoke, tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(GOOD + '[rpki]\nfiles = ["none.json", "cut.json"]\n')
    (tmp_path / "cut.json").write_text('{"roas": [')
    result = invoke("check", path)
    assert result.exit_code == 0
    first, second = result.stderr.splitlines()
    assert first.startswith(f"warning: {tmp_path}/none.json: ")
    assert second.startswith(f"warning: {tmp_path}/cut.json: ")


def test_check_warns_of_rpki_without_data(invoke, tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(GOOD + '[filters]\nrpki = "reject"\n')
    result = invoke("check", path)
    assert result.exit_code == 0
    words = 'warning: rpki = "reject" without caches or files in [rpki] checks nothing: '
    assert result.stderr.startswith(words)
    path.write_text(path.read_text() + '[rpki]\ncaches = [{ host = "127.0.0.1" }]\n')
    assert invoke("check", path).stderr == ""


def test_check_of_a_faulty_file(invoke, tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(GOOD.replace("asn = 5", "asn = 0").replace("64500", "-1"))
    result = invoke("check", path)
    assert result.exit_code == 2
    assert result.stdout == ""
    first, second, last = result.stderr.splitlines()
    assert first.startswith(f"{path}: router.asn (line 2): -1 does not fit; want an AS number")
    assert second.startswith(f"{path}: neighbors[0].asn (line 6): 0 does not fit")
    assert last == "rs: 2 problems"


def test_check_without_a_file(invoke, tmp_path):
    result = invoke("check", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/none.toml: no such file\nrs: 1 problem\n"


@pytest.mark.parametrize("args", [["bogus"], ["check"], ["run"], ["run", "--log-level", "x", "y"]])
def test_wrong_usage(invoke, args):
    result = invoke(*args)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_run_hands_the_path_and_the_options_on(invoke, module, tmp_path):
    calls = []
    module("rs.app", run=lambda *args, **kwargs: calls.append((args, kwargs)))
    result = invoke("run", tmp_path / "rs.toml", "--log-level", "debug", "--log-json")
    assert (result.exit_code, result.output) == (0, "")
    assert calls == [((tmp_path / "rs.toml",), {"log_level": "debug", "log_json": True})]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError(["a.toml: bad", "b.toml: worse"]), 2, "a.toml: bad\nb.toml: worse\nrs: 2 problems\n"),
        (ApiError("no daemon at /run/rs.sock"), 1, "rs: no daemon at /run/rs.sock\n"),
    ],
)  # fmt: skip
def test_errors_on_purpose_have_no_traceback(invoke, module, error, code, words):
    def run(*args, **kwargs):
        raise error

    module("rs.app", run=run)
    result = invoke("run", "x.toml")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", words)


def test_errors_by_mistake_keep_theirs(invoke, module):
    def run(*args, **kwargs):
        raise ZeroDivisionError

    module("rs.app", run=run)
    assert isinstance(invoke("run", "x.toml").exception, ZeroDivisionError)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_commands_of_other_modules(invoke, module, name):
    @click.command()
    @click.argument("what")
    def command(what):
        if what == "fail":
            raise ApiError("it failed")
        click.echo(what)

    where, attribute, _ = ELSEWHERE[name]
    module(where, **{attribute: command})
    assert invoke(name, "this").output == "this\n"
    assert invoke(name, "fail").exit_code == 1
    assert invoke(name, "fail").stderr == "rs: it failed\n"


def test_module_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rs", "check", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=30, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path}: is a directory; want a file\nrs: 1 problem\n"
