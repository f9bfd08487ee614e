"""VRP files in the daemon: what they say, what changes, what a broken one leaves."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import RoaTable
from rs.app import Daemon, _caches
from rs.configfile import load_config
from rs.errors import ConfigError
from rs.metrics import MetricsWalk
from rs.rpki import RpkiFiles
from rs.rtr_client import CacheConfig
from rs.show import rpki
from tests.configs import MEMBER


class Told:
    """A publisher that remembers."""

    def __init__(self) -> None:
        self.roas, self.aspas, self.ready = RoaTable(), AspaTable(), False
        self.sources: list[tuple[str, int]] = []

    def filled(self, source: int) -> None:
        self.sources.append(("filled", source))

    def emptied(self, source: int) -> None:
        self.sources.append(("emptied", source))


def write(path, *vrps: tuple[str, int, int]) -> None:
    roas = [{"prefix": p, "maxLength": m, "asn": a, "ta": "test"} for p, m, a in vrps]
    path.write_text(json.dumps({"roas": roas}) + "\n")


def load(files: RpkiFiles, *paths) -> None:
    for _ in files.load_steps(paths, 1_700_000_000.0):
        pass


@pytest.fixture
def told() -> Told:
    return Told()


def test_files_make_a_union_and_leave_it_alone(told, tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    write(one, ("8.0.0.0/8", 16, 5))
    write(two, ("8.0.0.0/8", 16, 5), ("9.0.0.0/8", 8, 6))
    files = RpkiFiles(told)
    load(files, one, two)
    assert told.roas.snapshot() == [("8.0.0.0/8", 16, 5), ("9.0.0.0/8", 8, 6)]
    assert [what for what, _ in told.sources] == ["filled", "filled"]
    # Nothing has changed: nothing is read.
    load(files, one, two)
    assert len(told.sources) == 2
    load(files, one)
    assert told.roas.snapshot() == [("8.0.0.0/8", 16, 5)]
    assert told.sources[-1][0] == "emptied"
    assert told.roas.stats()["sources"] == {str(one): 1}


@pytest.mark.parametrize("broken", ["", '{"roas": [{"prefix": "8.0', "{}\n", None])
def test_a_broken_file_leaves_what_it_said(told, tmp_path, broken):
    path = tmp_path / "vrps.json"
    write(path, ("8.0.0.0/8", 16, 5))
    files = RpkiFiles(told)
    load(files, path)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    load(files, path)
    assert told.roas.snapshot() == [("8.0.0.0/8", 16, 5)]
    (fault,) = files.faults
    assert "vrps.json" in fault
    load(files, path)
    assert files.faults == [fault]
    write(path, ("9.0.0.0/8", 8, 6))
    load(files, path)
    assert told.roas.snapshot() == [("9.0.0.0/8", 8, 6)]
    assert not files.faults


def test_the_daemon_reads_its_files_and_reads_them_again(tmp_path):
    vrps = tmp_path / "vrps.json"
    write(vrps, ("8.0.0.0/8", 16, 5))
    (tmp_path / "rs.toml").write_text(
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nlisten = ["127.0.0.1:18179"]\n'
        '[filters]\nrpki = "reject"\n[rpki]\nfiles = ["vrps.json"]\n'
        + MEMBER.replace("10.1.0.1", "127.0.0.9")
        + "enabled = false\n"
    )

    async def scenario() -> None:
        daemon = Daemon(load_config(tmp_path / "rs.toml"))
        await daemon.start()
        try:
            for _ in range(100):
                await asyncio.sleep(0.01)
                if daemon.router.rules.rpki_ready:
                    break
            assert daemon.router.rules.rpki_ready
            assert daemon.router.roas.validate("8.0.0.0/8", 6) == "invalid"
            write(vrps, ("8.0.0.0/8", 16, 6))
            os.utime(vrps, ns=(1, 1))
            await daemon.reload()
            assert daemon.router.roas.validate("8.0.0.0/8", 6) == "valid"
            vrps.write_text("{")
            await daemon.reload()
            shown = rpki(daemon.router)
            assert (shown["ready"], shown["vrps_ipv4"], shown["caches"]) == (True, 1, [])
            (file,) = shown["files"]
            assert (file["path"], file["vrps"], file["aspas"]) == (str(vrps), 1, 0)
            assert "vrps.json" in file["last_error"]
            assert file["age_s"] > 1e9  # by the file's time, as it was when it was read
            assert 0 <= file["read_s"] < 60
            lines = "".join(MetricsWalk(daemon.router, 0.0, 0).step(lambda: False) or ())
            lines += "".join(MetricsWalk(daemon.router, 0.0, 0)._write())
            assert f'rs_rpki_file_failed{{file="{vrps}"}} 1' in lines
            assert 'rs_rpki_vrps{family="ipv4-unicast"} 1' in lines
        finally:
            await daemon.stop()

    asyncio.run(scenario())


def test_keys_of_a_cache(tmp_path):
    path = tmp_path / "rs.toml"
    head = '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\n' + MEMBER + "[rpki]\n"
    path.write_text(
        head + 'caches = [{ host = "192.0.2.1", preference = 5, local_address = "192.0.2.9", '
        'password = "secret", version = 1, refresh = 300, retry = 60, expire = 7200 }]\n'
    )
    (cache,) = _caches(load_config(path))
    assert cache == CacheConfig(
        "192.0.2.1", 323, 5, bind="192.0.2.9", password="secret",
        refresh=300, retry=60, expire=7200, max_version=1,
    )  # fmt: skip
    assert "secret" not in repr(load_config(path))
    for keys, words in (
        ("refresh = 0", "refresh"),
        ("expire = 599", "expire"),
        ("refresh = 700, expire = 700", "want more than refresh and retry, 700"),
        ("version = 3", "version"),
        ('local_address = "x"', "local_address"),
    ):
        path.write_text(head + f'caches = [{{ host = "192.0.2.1", {keys} }}]\n')
        with pytest.raises(ConfigError, match=words):
            load_config(path)
