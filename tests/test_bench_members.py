"""The bench of a large exchange's members, on a small scale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.bench_members import Member, measure, read_members, write

DATA = Path(os.environ.get("RS_MEMBERS", "")) if os.environ.get("RS_MEMBERS") else None


def test_a_few_members(tmp_path):
    members = [
        Member(1000 + i, f"10.1.0.{i + 1}" if i % 2 else f"fd00::{i + 1}", f"AS-{i // 2}", 100, 10)
        for i in range(20)
    ]
    write(tmp_path, members, 2000)
    found = measure(tmp_path)
    assert found["neighbors"] == 20
    assert found["prefix_entries"] > 1000


@pytest.mark.skipif(DATA is None or not DATA.exists(), reason="RS_MEMBERS names no file")
def test_the_members_of_a_large_exchange(tmp_path):
    members = read_members(DATA)
    assert len(members) == 898 + 762
    write(tmp_path, members, 100_000)
    assert measure(tmp_path)["neighbors"] == 1660
