"""Configurations of the wire benchmark's other daemons: each version gets what it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.wire import daemons
from bench.wire.daemons import Frr, OpenBgpd, Site, release

if TYPE_CHECKING:
    from pathlib import Path

SITE = Site(members=3, ipv6=True, extended=frozenset({2}))


def program(folder: Path, says: str) -> str:
    """A daemon that only ever says this."""
    file = folder / "daemon"
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


def test_versions_are_compared_as_numbers() -> None:
    assert release("10.7.0") > release("8.5") == (8, 5)
    assert release("10.8-dev") == (10, 8)
    assert release("unknown") == ()


@pytest.mark.parametrize(("version", "known"), [("8.4.4", False), ("8.5.4", True), ("10.7", True)])
def test_frr_reads_on_where_that_can_be_said(tmp_path: Path, version: str, known: bool) -> None:
    Frr(program(tmp_path, f"bgpd version {version}")).command(SITE, tmp_path)
    lines = (tmp_path / "bgpd.conf").read_text().splitlines()
    assert ("bgp input-queue-limit 4294967295" in lines) is known


def test_frr_takes_ipv6_without_an_address_where_it_has_the_option(tmp_path: Path) -> None:
    for says, known in (("-x, --v6-with-v4-nexthops", True), ("-S, --skip_runas", False)):
        frr = Frr(program(tmp_path, f"bgpd version 10.7.0 {says}"))
        assert ("-x" in frr.command(SITE, tmp_path)) is known
        assert "-x" not in frr.command(Site(members=3), tmp_path)


@pytest.mark.parametrize(("version", "known"), [("7.7", False), ("8.7", False), ("9.2", True)])
def test_openbgpd_is_asked_for_extended_messages_where_it_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, known: bool
) -> None:
    monkeypatch.setattr(daemons.pwd, "getpwnam", lambda _: type("User", (), {"pw_dir": tmp_path}))
    OpenBgpd(program(tmp_path, f"OpenBGPD {version}")).command(SITE, tmp_path)
    text = (tmp_path / "bgpd.conf").read_text()
    assert text.count("announce extended message yes") == known
    assert text.count("announce as-4byte yes") == 1
    assert text.count("multihop 2") == 1
