"""The wheel: what is in it, and that it works in a virtual environment of its own.

It is built from a copy of the tree without isolation: the build's own requirements are those of the
environment that runs the tests, as `make test` has set it up.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "rs")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the repository, where no `rs` is to be found by accident."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for needed in ("setuptools", "wheel", "Cython", "pip"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    place = tmp_path_factory.mktemp("wheel")
    tree = place / "tree"
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            # What a build in place has left comes along: it must not get into the wheel. Times are
            # kept, so that C files which are up to date are not made again.
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, tree / name)
    stamp = ROOT / ".build-mode"
    if stamp.exists():
        shutil.copy2(stamp, tree / stamp.name)
    build = [sys.executable, "-m", "pip", "wheel", tree, "--no-deps", "--no-build-isolation"]
    call(*build, "--wheel-dir", place, cwd=place)
    (found,) = place.glob("*.whl")
    return found


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_is_named_after_version_and_platform(wheel: Path) -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.startswith(f"rs-{rs.__version__}-{tag}-{tag}-linux")


def test_every_extension_module_is_in_the_wheel(wheel: Path) -> None:
    inside = set(names(wheel))
    suffix = EXTENSION_SUFFIXES[0]
    for path in (ROOT / "rs" / "_fastpath").glob("*.pyx"):
        assert f"rs/_fastpath/{path.stem}{suffix}" in inside


def test_headers_stubs_and_marker_are_in_the_wheel(wheel: Path) -> None:
    inside = set(names(wheel))
    wanted = ["rs/py.typed"]
    for pattern in ("*.py", "_fastpath/*.pxd", "_fastpath/*.pyi", "_fastpath/*.py"):
        wanted += [str(path.relative_to(ROOT)) for path in (ROOT / "rs").glob(pattern)]
    assert not [name for name in wanted if name not in inside]


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    allowed = {".py", ".pyi", ".pxd", ".so", ".typed"}
    for name in names(wheel):
        path = Path(name)
        if path.parts[0].endswith(".dist-info"):
            continue
        assert path.parts[0] == "rs", name
        assert path.suffix in allowed, name
    assert wheel.stat().st_size < 30_000_000


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the wheel; what it depends on is taken from this one."""
    place = tmp_path_factory.mktemp("installed")
    env = place / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", env, cwd=place)
    target = next((env / "lib").glob("python*")) / "site-packages"
    pip = [sys.executable, "-m", "pip", "--python", env / "bin" / "python"]
    call(*pip, "install", "--no-deps", "--no-index", wheel, cwd=place)
    # Not as a whole: this environment may hold the repository itself.
    ours = Path(sysconfig.get_paths()["purelib"])
    for path in sorted({ours, Path(sysconfig.get_paths()["platlib"])}):
        for entry in path.iterdir():
            own = entry.name.lower().startswith(("rs-", "rs.", "__editable__", "_rs"))
            if not own and entry.suffix != ".pth" and not (target / entry.name).exists():
                (target / entry.name).symlink_to(entry)
    yield env
    shutil.rmtree(place, ignore_errors=True)


def test_the_command_works(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "rs"
    assert call(command, "--version", cwd=tmp_path).strip() == f"rs {rs.__version__}"
    for name in ("run", "check", "demo", "show", "replay"):
        assert f"  {name} " in call(command, "--help", cwd=tmp_path)
        assert "Usage: rs" in call(command, name, "--help", cwd=tmp_path)


def test_it_is_the_installed_package_that_runs(installed: Path, tmp_path: Path) -> None:
    text = "import rs._fastpath.rib as module; print(module.__file__)"
    where = Path(call(installed / "bin" / "python", "-c", text, cwd=tmp_path).strip())
    assert where.is_relative_to(installed)


def test_the_installed_daemon_does_its_work(installed: Path, tmp_path: Path) -> None:
    """Every part of it: sessions, tables, API, the client."""
    options = ["--members", "3", "--prefixes", "500", "--seconds", "3", "--plain"]
    output = call(installed / "bin" / "rs", "demo", *options, cwd=tmp_path)
    assert "at the end 3 of 3 held exactly what is due" in output
