"""The bench of a large exchange's members, on a small scale."""

from __future__ import annotations

from bench.bench_members import Member, measure, read_members, write
from tests.mrtfiles import data_file


def test_a_few_members(tmp_path):
    members = [
        Member(1000 + i, f"10.1.0.{i + 1}" if i % 2 else f"fd00::{i + 1}", f"AS-{i // 2}", 100, 10)
        for i in range(20)
    ]
    write(tmp_path, members, 2000)
    found = measure(tmp_path)
    assert found["neighbors"] == 20
    assert found["prefix_entries"] > 1000


def test_the_members_of_a_large_exchange(tmp_path):
    members = read_members(data_file("ixp-members.ams-ix.2017.yml"))
    assert len(members) == 898 + 762
    write(tmp_path, members, 100_000)
    assert measure(tmp_path)["neighbors"] == 1660
