"""`rs policy test`: given routes, recorded ones, text and JSON, and what cannot be tried."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from rs.cli import cli
from tests.mrtfiles import attr, attrs, bgp4mp, nlri, peer_index_table, rib, update

CONFIG = """
[router]
asn = 64500
router_id = "10.0.0.1"
import_policy = "sane"
[policies.sane]
[[policies.sane.terms]]
name = "long"
match = { prefixes = "0.0.0.0/0 ge 25" }
action = "reject"
reason = "more specific than /24"
[policies.customers]
[[policies.customers.terms]]
name = "theirs"
match = { communities = "64500:1", as_path = "^64501_", rpki = ["valid", "not-checked"] }
set = { local_pref = 200 }
action = "accept"
[[policies.customers.terms]]
match = { to = 64501 }
action = "reject"
[[neighbors]]
address = "192.0.2.1"
asn = 64501
export_policy = "customers"
"""
TAG = attr(8, (64500).to_bytes(2) + (1).to_bytes(2), 0xC0)
ROUTE = "198.51.100.0/24 as_path='64501 64510' communities='64500:1 64500:1:2'"


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(CONFIG)

    def go(*args):
        words = ["policy", "test", "-c", str(path), *map(str, args)]
        return CliRunner().invoke(cli, words, prog_name="rs")

    return go


def test_what_is_changed_and_by_which_term(run):
    done = run("customers", "--route", ROUTE)
    assert done.output == (
        "198.51.100.0/24  accepted, changed\n"
        '    policy "customers", term "theirs": accept\n'
        "    local_pref: none -> 200\n"
    )


def test_what_is_refused_and_why(run):
    done = run("sane", "customers", "--route", "198.51.100.0/25")
    assert done.output == (
        '198.51.100.0/25  refused: more specific than /24\n    policy "sane", term "long": reject\n'
    )


def test_json_has_the_attributes_before_and_after(run):
    done = run("customers", "--route", ROUTE, "--route", f"{ROUTE} rpki=invalid", "--json")
    first, second = map(json.loads, done.output.splitlines())
    assert first["attributes"]["communities"] == ["64500:1"]
    assert first["changed"]["local_pref"] == 200
    assert first["terms"] == [{"policy": "customers", "term": "theirs", "action": "accept"}]
    assert second["accepted"]
    assert "changed" not in second


def test_policies_of_a_neighbor(run):
    assert "refused" in run("--neighbor", "192.0.2.1", "--route", "10.0.0.0/30").output
    done = run("--neighbor", "192.0.2.1", "--export", "--route", "10.0.0.0/30 med=3")
    assert 'term "2": reject' in done.output


def test_a_recorded_table(run, tmp_path):
    file = tmp_path / "rib.mrt"
    block = attrs(64501, 64510, more=TAG)
    prefixes = ("198.51.100.0/24", "198.51.100.128/25")
    records = [rib(prefix, (0, block)) for prefix in prefixes]
    file.write_bytes(peer_index_table(("192.0.2.1", 64501)) + b"".join(records))
    done = run("sane", "customers", "--mrt", file, "--summary", "--json")
    found = json.loads(done.output)
    assert (found["routes"], found["accepted"], found["changed"], found["refused"]) == (2, 1, 1, 1)
    assert [one["routes"] for one in found["terms"]] == [1, 1, 0]
    listed = run("sane", "customers", "--mrt", file)
    assert "198.51.100.128/25  refused" in listed.output


def test_recorded_updates(run, tmp_path):
    file = tmp_path / "updates.mrt"
    body = update(block=attrs(64501, more=TAG), announced=nlri("198.51.100.0/24"))
    file.write_bytes(bgp4mp(body, asn=64501, peer="192.0.2.1") * 3)
    done = run("customers", "--mrt", file, "--summary")
    assert 'policy "customers", term "theirs"' in done.output
    assert done.output.splitlines()[2].split() == ["changed", "3"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["what", "--route", "10.0.0.0/8"], "no policy 'what'; there are sane, customers"),
        (["sane"], "want --route, or --mrt"),
        (["--neighbor", "10.9.9.9", "--route", "10.0.0.0/8"], "no neighbor 10.9.9.9"),
        (["--route", "10.0.0.0/8"], "there is no policy to run"),
        (["sane", "--route", "10.0.0.1/8"], "has host bits set"),
        (["sane", "--route", "10.0.0.0/8 color=red"], "'color' is no key of a route"),
        (["sane", "--route", "10.0.0.0/8 as_path=x"], "is not AS numbers"),
        (["sane", "--route", "10.0.0.0/8 communities=1:*"], "stands for several"),
        (["sane", "--route", "10.0.0.0/8 rpki=maybe"], "maybe"),
        (["sane", "--route", "10.0.0.0/8 med"], "is not KEY=VALUE"),
    ],
)
def test_what_cannot_be_tried_is_told(run, args, words):
    done = run(*args)
    assert done.exit_code == 2
    assert words in done.output
