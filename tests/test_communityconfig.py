"""The configuration of communities and black holes: what is read, refused, and documented."""

from __future__ import annotations

import re

import pytest

from rs.communities import Action, Inform, make_rules
from rs.communityconfig import NAMES, PRESETS, Communities, Preset, may_equal
from tests.configs import MEMBER, ROOT, RS, Folder
from tests.farends import RS_ASN
from tests.test_communities import definitions_of


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_the_six_forms_of_always_are_the_default(folder):
    found = folder.load(RS + MEMBER).communities
    assert found == Communities()
    assert definitions_of(found) == {
        "do_not_announce_to_any": {"std": "0:rs_as", "lrg": "rs_as:0:0"},
        "do_not_announce_to_peer": {"std": "0:peer_as", "lrg": "rs_as:0:peer_as"},
        "announce_to_peer": {"std": "rs_as:peer_as", "lrg": "rs_as:1:peer_as"},
    }


def test_a_definition_takes_the_place_of_the_presets(folder):
    text = RS + '[communities]\npreset = "euro-ix"\n[communities.origin]\n' + MEMBER
    text += '[communities.announce_to_peer]\nlrg = "rs_as:7:peer_as"\n'
    found = folder.load(text).communities
    assert definitions_of(found)["announce_to_peer"] == {"lrg": "rs_as:7:peer_as"}
    assert definitions_of(found)["origin"] == {}
    assert definitions_of(found)["learnt_from"] == {"lrg": "rs_as:1010:peer_as"}


FAULTS = {
    "unknown name": ("[communities.anounce_to_peer]\n", 'did you mean "announce_to_peer"?'),
    "unknown preset": ('[communities]\npreset = "ams-ix"\n', '"ams-ix" does not fit'),
    "no table": ("[communities]\norigin = 7\n", "7 does not fit; want a table"),
    "unknown form": ('[communities.origin]\nlarge = "1:2:3"\n', "unknown key"),
    "too many fields": ('[communities.origin]\nstd = "1:2:dyn_val"\n', "want 2 numbers or macros"),
    "no number": ('[communities.origin]\nstd = "x:dyn_val"\n', '"x" is no number'),
    "too large": ('[communities.origin]\nstd = "65536:dyn_val"\n', "want at most 65535"),
    "other macro": ('[communities.origin]\nlrg = "1:2:peer_as"\n', "want dyn_val in it, once"),
    "no macro": ('[communities.announce_to_peer]\nstd = "1:2"\n', "want peer_as in it, once"),
    "two macros": ('[communities.origin]\nlrg = "1:dyn_val:dyn_val"\n', "dyn_val in it, once"),
    "macro too much": ('[communities.blackholing]\nstd = "1:peer_as"\n', "want no macro but rs_as"),
    "extended type": ('[communities.origin]\next = "xy:1:dyn_val"\n', '"rt" or "ro"'),
    "thresholds": ("[communities]\nrtt_thresholds = [5, 5]\n", "twice"),
    "cause": ('[communities.reject_cause_map]\nx = { lrg = "1:2:3" }\n', "no reject code"),
    "cause without table": ("[communities.reject_cause_map]\n7 = 1\n", "want a table"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_refused(folder, case):
    text, words = FAULTS[case]
    (problem,) = folder.problems(RS + text + MEMBER)
    assert words in problem
    assert re.match(r"rs\.toml: communities\.\S+ \(line \d+\): ", problem)


def test_a_large_number_of_ours_leaves_out_forms_of_presets_and_refuses_own(folder):
    wide = RS.replace("64500", "400000")
    found = folder.load(wide + MEMBER).communities
    rules = make_rules(found, 400000)
    assert rules.find_value(0, bytes.fromhex("0000fde9")) == Action.DENY_PEER  # 0:65001
    assert rules.find_value(0, bytes.fromhex("1a80fde9")) is None
    text = wide + '[communities.origin]\nstd = "rs_as:dyn_val"\n' + MEMBER
    (problem,) = folder.problems(text)
    assert problem.endswith("400000 does not fit in 16 bits; want another form")
    text = text.replace("origin", "blackholing").replace("std =", "ext =")
    assert folder.load(text.replace("rs_as:dyn_val", "rt:rs_as:7")).communities.own
    (problem,) = folder.problems(text.replace("rs_as:dyn_val", "rt:rs_as:70000"))
    assert problem.endswith("70000 does not fit in 16 bits; want another form")


OVERLAPS = {
    "with the preset": (
        '[communities.origin]\nstd = "0:dyn_val"\n',
        (
            'communities.origin.std (line 5): "0:dyn_val" overlaps do_not_announce_to_any, "0:rs_as" '
            'of preset "classic"'
        ),
    ),
    "two of the file": (
        (
            '[communities]\npreset = "none"\n'
            '[communities.blackholing]\nlrg = "rs_as:9:9"\n'
            '[communities.origin]\nlrg = "64500:9:dyn_val"\n'
        ),
        (
            'communities.origin.lrg (line 9): "64500:9:dyn_val" overlaps blackholing, "rs_as:9:9": '
            "rs.toml: communities.blackholing (line 6)"
        ),
    ),
    "extended": (
        (
            '[communities.announce_to_peer]\next = "rt:1:peer_as"\n'
            '[communities.add_noexport_to_any]\next = "rt:1:2"\n'
        ),
        (
            'communities.add_noexport_to_any.ext (line 7): "rt:1:2" overlaps announce_to_peer, '
            '"rt:1:peer_as": rs.toml: communities.announce_to_peer (line 4)'
        ),
    ),
    "reject causes": (
        (
            '[communities.blackholing]\nlrg = "rs_as:1101:7"\n'
            '[communities.reject_cause_map]\n7 = { lrg = "rs_as:1101:7" }\n'
        ),
        (
            'communities.reject_cause_map.7.lrg (line 7): "rs_as:1101:7" overlaps blackholing, '
            '"rs_as:1101:7": rs.toml: communities.blackholing (line 4)'
        ),
    ),
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_definitions_that_overlap_are_both_named(folder, case):
    text, words = OVERLAPS[case]
    problems = folder.problems(RS + text + MEMBER)
    assert f"rs.toml: {words}" in problems


def test_what_does_not_overlap(folder):
    """A member's AS number is neither 0 nor ours; subtypes and widths tell values apart."""
    text = """
    [communities.blackholing]
    std = "0:0"
    lrg = "rs_as:1:0"
    ext = "rt:0:7"
    [communities.graceful_shutdown]
    ext = "ro:0:7"
    [communities.add_noexport_to_any]
    ext = "rt:70000:7"
    """
    assert folder.load(RS + text + MEMBER).communities.own.keys() == {
        "blackholing",
        "graceful_shutdown",
        "add_noexport_to_any",
    }


@pytest.mark.parametrize("preset", Preset)
@pytest.mark.parametrize("asn", [1, RS_ASN, 65001, 400000])
def test_presets_are_sound(preset, asn):
    """No overlap within, whatever our AS number is; and every name is known."""
    definitions = PRESETS[preset]
    assert definitions.keys() <= NAMES.keys()
    values = [
        (name, value)
        for name, definition in definitions.items()
        for _, value in definition.forms()
        if value.fault(asn) is None
    ]
    for i, (name, one_value) in enumerate(values):
        for other, other_value in values[:i]:
            assert name == other or not may_equal(one_value, other_value, asn), (name, other)
        assert one_value.macros == tuple(filter(None, (NAMES[name],)))


def test_the_examples_of_the_documentation_are_correct(folder):
    text = (ROOT / "docs" / "communities.md").read_text()
    found = re.findall(r"<!-- example: (\S+) -->\n```toml\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in found] == ["arouteserver", "euro-ix"]
    for name, example in found:
        config = folder.load(RS + example + MEMBER)
        assert config.communities.preset == name


def test_the_documentation_knows_every_name():
    text = (ROOT / "docs" / "communities.md").read_text()
    for name in NAMES:
        short = re.sub(r"_(lower|higher)_than$", "", name)
        assert (
            short in text
            or re.sub("twice|thrice", "once", short) in text
            or ("..._" + name.rsplit("_", 1)[-1] in text)
        ), name


def test_numbers_are_those_of_the_fast_path():
    text = (ROOT / "rs" / "_fastpath" / "commrules.pxd").read_text()
    found = {
        n: int(v) for n, v in re.findall(r"^    ((?:ACT|INFORM)_\w+) = (\d+)", text, re.MULTILINE)
    }
    found.pop("INFORM_LEN")
    wanted = {f"ACT_{a.name}": a.value for a in Action}
    assert found == wanted | {f"INFORM_{i.name}": i.value for i in Inform}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("mapped_asn = 64511", "64512 to 65534"),
        ("rtt = -1", '"measured" or 0 to 60000'),
        ('rtt = "fast"', '"measured" or 0 to 60000'),
        ("blackhole_receive = 1", "true or false"),
    ],
)
def test_keys_of_neighbors_that_are_refused(folder, keys, words):
    (problem,) = folder.problems(RS + MEMBER + keys + "\n")
    assert words in problem


def test_a_number_stands_for_one_as(folder):
    def other(n, asn, keys):
        return f'[[neighbors]]\naddress = "10.1.0.{n}"\nasn = {asn}\n{keys}\n'

    head = RS + MEMBER + "mapped_asn = 64600\n"
    (problem,) = folder.problems(head + other(2, 100002, "mapped_asn = 64600"))
    assert "64600 stands for AS100001 already, at 10.1.0.1" in problem
    (problem,) = folder.problems(head + other(2, 64600, ""))
    assert "64600 is the AS number of 10.1.0.2" in problem
    assert folder.load(head + other(2, 100001, "mapped_asn = 64600")).neighbors[1].mapped_asn
    bad = RS + '[[neighbors]]\nrange = "10.2.0.0/16"\nmapped_asn = 64600\n'
    assert "stands for one AS number" in folder.problems(bad)[0]
    assert "tells neighbors apart" in folder.problems(RS + "[defaults]\nmapped_asn = 64600\n")[0]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('policy_ipv4 = "rewrite-next-hop"', "wants next_hop_ipv4"),
        ('next_hop_ipv6 = "2001:db8::1"', 'is for policy_ipv6 = "rewrite-next-hop"'),
        ('policy_ipv4 = "rewrite-next-hop"\nnext_hop_ipv4 = "::1"', "want an IPv4 one"),
        ('policy_ipv6 = "drop"', '"propagate-unchanged"'),
        ("prefix_length_ipv4 = [24, 33]", "[SHORTEST, LONGEST]"),
    ],
)
def test_black_holes_that_are_refused(folder, keys, words):
    (problem,) = folder.problems(f"{RS}[blackhole]\n{keys}\n{MEMBER}")
    assert words in problem
