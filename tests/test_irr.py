"""Named sets: where they come from, and what a file that is no good does to them."""

from __future__ import annotations

import os

import pytest

from rs.errors import ConfigError
from rs.irr import Sets, load_sets, load_steps, parse_asns
from tests.configs import MEMBER, RS, Folder

BASE = RS + MEMBER


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def asns(data: bytes) -> list[tuple[int, int]]:
    return [pair for batch in parse_asns(data) for pair in batch]


@pytest.mark.parametrize(
    "data",
    [
        b'{"NN": [\n  112,10745,\n  65537\n]}\n',
        b"[112, 10745, 65537]",
        b'["AS112", "10745", "1.1"]',
        b"NN = [\n     112, 10745,\n 65537\n];\n",
        b"112\nAS10745\n\n# a comment\nas65537 # another\n",
        b"\xef\xbb\xbf112\r\n10745\r\n1.1\r\n",
    ],
)
def test_forms_of_as_lists(data):
    assert asns(data) == [(112, 112), (10745, 10745), (65537, 65537)]


def test_ranges_of_as_numbers():
    assert asns(b"AS64512-AS65534\n7\n") == [(64512, 65534), (7, 7)]
    assert asns(b"") == asns(b"[]") == asns(b"# none\n") == []


@pytest.mark.parametrize(
    "data",
    [
        b"112\n107",
        b'{"NN": [112, 10',
        b'{"NN": 112}',
        b"NN = [ 112, 10\n",
        b"AS-FOO\n",
        b"112 113\n",
        b"9-5\n",
        b"4294967296\n",
        b"[1.5]",
        b"[true]",
        b"\xff\xfe\n",
    ],
)
def test_as_lists_that_are_refused(data):
    with pytest.raises(ValueError, match=r".+"):
        asns(data)


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"112\n# a comment\n\nAS-FOO\n", 4), (b'{"NN": [\n1,\n2\n', 4), (b"[1,\nx]", 2)],
)
def test_the_line_of_a_fault_is_told(data, line):
    with pytest.raises(ValueError, match=rf"^line {line}: "):
        asns(data)


def test_sets_of_several_files_and_inline_entries(folder, tmp_path):
    (tmp_path / "a.json").write_text('{"NN": [{"prefix": "8.0.0.0/8", "exact": true}]}')
    (tmp_path / "b.txt").write_text("9.0.0.0/8 le 24\n2a00::/32\n")
    (tmp_path / "o").write_text("AS5\n")
    config = folder.load(
        BASE
        + '[prefix_sets."AS-FOO"]\nfiles = ["a.json", "b.txt"]\nprefixes = ["7.0.0.0/8 le 9"]\n'
        '[as_sets.AS-FOO]\nfiles = ["o"]\nasns = [6, "8-9"]\n'
    )
    sets = load_sets(config)
    found = sets.prefixes["AS-FOO"]
    assert len(found) == 4
    assert found.contains("9.9.0.0/16")
    assert found.contains("7.128.0.0/9")
    assert [asn for asn in range(12) if asn in sets.asns["AS-FOO"]] == [5, 6, 8, 9]
    assert sets.changed == {("prefix_sets", "AS-FOO"), ("as_sets", "AS-FOO")}
    assert sets.entries == 4 + 3
    again = load_sets(config, sets)
    assert again.prefixes["AS-FOO"] is found
    assert not again.changed


def test_sets_in_included_files_with_paths_beside_them(folder, tmp_path):
    (tmp_path / "members.d").mkdir()
    (tmp_path / "members.d" / "list").write_text("8.0.0.0/8\n")
    config = folder.load(
        'include = ["members.d/*.toml"]\n' + BASE, a='[prefix_sets.x]\nfiles = ["list"]\n'
    )
    assert len(load_sets(config).prefixes["x"]) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "prefix_sets.x: {0}/list: No such file or directory"),
        ("", 'prefix_sets.x: {0}/list: empty; want entries, or empty = "reject"'),
        ("8.0.0.0/8\n9.0.", "prefix_sets.x: {0}/list: line 2: the file ends here"),
    ],
)
def test_at_the_start_a_file_that_is_no_good_is_an_error(folder, tmp_path, content, words):
    if content is not None:
        (tmp_path / "list").write_text(content)
    config = folder.load(BASE + '[prefix_sets.x]\nfiles = ["list"]\n')
    with pytest.raises(ConfigError) as caught:
        load_sets(config)
    (problem,) = caught.value.problems
    assert words.format(tmp_path) in problem


def test_later_the_last_good_contents_stay_until_there_are_others(folder, tmp_path):
    (tmp_path / "list").write_text("8.0.0.0/8\n")
    config = folder.load(BASE + '[prefix_sets.x]\nfiles = ["list"]\n')
    good = load_sets(config)
    for broken in ("", "8.0.0.0/8\n9.0."):
        (tmp_path / "list").write_text(broken)
        kept = load_sets(config, good)
        assert kept.prefixes["x"] is good.prefixes["x"]
        assert kept.faults
        # Still broken, still said.
        assert load_sets(config, kept).faults == kept.faults
        (tmp_path / "list").write_text("8.0.0.0/8\n")
        assert load_sets(config, kept).prefixes["x"] is good.prefixes["x"]
    (tmp_path / "list").write_text("9.0.0.0/8\n")
    found = load_sets(config, kept)
    assert found.changed == {("prefix_sets", "x")}
    assert not found.faults


def test_contents_decide_not_times(folder, tmp_path):
    (tmp_path / "list").write_text("8.0.0.0/8\n")
    config = folder.load(BASE + '[prefix_sets.x]\nfiles = ["list"]\n')
    good = load_sets(config)
    os.utime(tmp_path / "list", ns=(1, 1))
    assert load_sets(config, good).prefixes["x"] is good.prefixes["x"]


def test_loading_pauses_often(folder, tmp_path):
    (tmp_path / "list").write_text("".join(f"8.{i >> 8}.{i & 255}.0/24\n" for i in range(60_000)))
    config = folder.load(BASE + '[prefix_sets.x]\nfiles = ["list"]\n')
    found = Sets()
    assert sum(1 for _ in load_steps(config, found)) > 10
    assert len(found.prefixes["x"]) == 60_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[prefix_sets.x]\n", "prefix_sets.x (line 7): want files or prefixes, or both"),
        ("[as_sets.x]\nasn = [5]\n", 'as_sets.x.asn (line 8): unknown key; did you mean "asns"?'),
        ("[prefix_sets]\nx = 5\n", "want tables with a name, [prefix_sets.NAME]"),
        ('[prefix_sets.x]\nprefixes = ["8.0.0.0/8 ge 7"]\n', "not within 8 to 32"),
        ('[prefix_sets.x]\nprefixes = ["8.0.0.1/8"]\n', "host bits set"),
        ('[as_sets.x]\nasns = ["9-5"]\n', "does not fit; want an AS number, or a range"),
        ('[filters]\nirr_prefixes = "x"\n',
         'filters.irr_prefixes (line 8): "x" is not there; want [prefix_sets.x]'),
        ('[filters]\nnext_hop = "authorized"\n', "wants next_hop_addresses beside it"),
        ('[filters]\nnext_hop_addresses = ["10.0.0.1"]\n', 'is for next_hop = "authorized"'),
        ("[filters]\nbogon_asn = true\n", 'unknown key; did you mean "bogon_asns"?'),
        ("[filters]\nprefix_length_ipv4 = [24, 8]\n", "does not fit; want [SHORTEST, LONGEST]"),
        ("[filters]\nprefix_length_ipv4 = [8, 33]\n", "does not fit; want [SHORTEST, LONGEST]"),
        ("[filters]\nbogon_prefixes = 1\n", "want true, false, or a list of prefixes"),
        ('[filters]\nreject_policy = "drop"\n', 'does not fit; want "reject" or "tag"'),
        ('[defaults]\nfilters = { preset = "none" }\n', "has its own table; want [filters]"),
        ("[rpki]\ncaches = [{ port = 3 }]\n", "rpki.caches[0].host (line 8): missing"),
        ('[rpki]\ncaches = [{ host = "a" }, { host = "a" }]\n', "is there twice"),
        ('[rpki]\ncaches = [{ host = "a", prot = 3 }]\n', 'did you mean "port"?'),
        ('[rpki]\ncaches = [{ host = "a b" }]\n', "does not fit"),
    ],
)  # fmt: skip
def test_faults_of_the_new_tables(folder, text, words):
    (problem,) = folder.problems(BASE + text)
    assert words in problem


def test_faults_of_a_neighbors_rules_name_their_line(folder):
    (problem,) = folder.problems(BASE + "[neighbors.filters]\nmax_as_path_length = -1\n")
    assert problem.startswith("rs.toml: neighbors[0].filters.max_as_path_length (line 8): ")


def test_rules_without_lists_give_a_warning(folder):
    (warning,) = folder.load(
        BASE + '[filters]\npreset = "arouteserver"\nirr_enforce_origin = false\nrpki = "off"\n'
    ).warnings
    assert warning == "irr_enforce_prefix without irr_prefixes checks nothing: 10.1.0.1"


def test_caches(folder):
    config = folder.load(
        BASE + '[rpki]\ncaches = [{ host = "rpki.example.net", preference = 5 }, '
        '{ host = "2001:DB8::1", port = 3323 }]\n'
    )
    assert [(c.host, c.port, c.preference) for c in config.rpki.caches] == [
        ("rpki.example.net", 323, 5),
        ("2001:db8::1", 3323, 100),
    ]
