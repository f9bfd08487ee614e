"""The unit for systemd and the container file: what they name is there, and `rs` understands it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.test_docs import parse

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "deploy" / "rs.service"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IGNORE = ROOT / "deploy" / "Dockerfile.dockerignore"
RS = "/opt/rs/bin/rs"


def test_commands_of_the_unit() -> None:
    lines = re.findall(r"^Exec\w+=(.*)$", UNIT.read_text(), re.MULTILINE)
    commands = [shlex.split(line) for line in lines]
    ours = [words[1:] for words in commands if words[0] == RS]
    assert ["run", "/etc/rs/rs.toml"] in ours
    for words in ours:
        parse(words)
    assert all(words[0] in {RS, "/bin/kill"} for words in commands)


def test_the_unit_lets_the_daemon_do_what_it_does() -> None:
    text = UNIT.read_text()
    families = re.search(r"^RestrictAddressFamilies=(.*)$", text, re.MULTILINE)
    assert families is not None
    used: set[str] = set()
    for path in (ROOT / "rs").glob("*.py"):
        used |= set(re.findall(r"\bAF_(?:INET6?|UNIX|NETLINK)\b", path.read_text()))
    assert used <= set(families[1].split())
    # Exit code 2 is a configuration that cannot be used.
    assert "RestartPreventExitStatus=2\n" in text


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    unit = tmp_path / "rs.service"
    unit.write_text(UNIT.read_text().replace(RS, "/bin/true"))
    keys = re.findall(r"^(\w+)=", unit.read_text(), re.MULTILINE)
    assert len(keys) > 30
    if shutil.which("systemd-analyze") is not None:
        done = subprocess.run(
            ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        assert done.returncode == 0


def test_what_the_container_is_made_of() -> None:
    text = DOCKERFILE.read_text()
    allowed = {line[1:] for line in IGNORE.read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in allowed, f"{source} is not let into the build"


def test_commands_of_the_container() -> None:
    text = DOCKERFILE.read_text()
    lists = {
        name: json.loads(value)
        for name, value in re.findall(r"(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)
    }
    parse([*lists["ENTRYPOINT"], *lists["CMD"]][1:])
    health = re.search(r"HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    assert health is not None
    parse(json.loads(health[1])[1:])
