"""Configuration files: what is refused, in which words, and with which place."""

import re
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs.configfile import load_config
from rs.configkeys import keys_of
from rs.configvalues import BadValue
from rs.errors import ConfigError
from tests.configs import MEMBER, RR, RS, SECTIONS, Folder, one


@pytest.fixture
def load(tmp_path):
    return Folder(tmp_path).load


@pytest.fixture
def problems(tmp_path):
    return Folder(tmp_path).problems


# --- what is refused, and in which words --------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hold_time = 2", "2 does not fit; want 0 or 3 to 65535 seconds"),
        ("hold_time = true", "true does not fit; want 0 or 3 to 65535 seconds"),
        ('hold_time = "90"', '"90" does not fit; want 0 or 3 to 65535 seconds'),
        ("keepalive = 31", "31 is more than a third of hold_time 90; want at most 30"),
        ("passive = 1", "1 does not fit; want true or false"),
        ("families = []", 'the list is empty; want a list of "ipv4-unicast" or "ipv6-unicast"'),
        ('families = "ipv4-unicast"', ('"ipv4-unicast" does not fit; want a list of '
         '"ipv4-unicast" or "ipv6-unicast"')),
        ("families = {}", 'a table does not fit; want a list of "ipv4-unicast" or "ipv6-unicast"'),
        ('families = ["ipv6-unicast", "ipv6-unicast"]', '"ipv6-unicast" is in the list twice; name it once'),
        ("port = 0", "0 does not fit; want 1 to 65535"),
        ("port = 65536", "65536 does not fit; want 1 to 65535"),
        ("multihop = 0", "0 does not fit; want true, false, or a TTL of 1 to 255"),
        ("multihop = 256", "256 does not fit; want true, false, or a TTL of 1 to 255"),
        ('as_set = "drop"', '"drop" does not fit; want "reject" or "accept"'),
        ('add_path = "all"', '"all" does not fit; want "off" or "receive" or "send" or "both"'),
        ('add_path = { ipv6 = "send" }', '"ipv6" does not fit; want "ipv4-unicast" or "ipv6-unicast"'),
        ("add_path_limit = { ipv6-unicast = -1 }", "-1 does not fit; want 0 to 65535"),
        ("add_path_receive_limit = 1025", "1025 does not fit; want 0 to 1024"),
        ('cluster_id = "10.0.0.9"', ("is for clients of a reflector; "
         "want route_reflector_client = true")),
        ("client_to_client = false", ("is for clients of a reflector; "
         "want route_reflector_client = true")),
        ("allow_own_as = 11", "11 does not fit; want 0 to 10"),
        ('description = "a\\nb"', '"a\\nb" does not fit; want one line of at most 255 octets'),
        (f'description = "{"ä" * 128}"', "has 256 octets; want one line of at most 255 octets"),
        ('local_address = "::1"', "::1 cannot reach 10.1.0.1; want an IPv4 one"),
        ('local_address = "10.1.0.1"', "10.1.0.1 is the neighbor's own address; want ours"),
        ('local_address = "0.0.0.0"', ('"0.0.0.0" is not a host\'s address; '
         "want an IPv4 or IPv6 address of one host")),
        ("max_peers = 5", "one address is one neighbor; want it with a range"),
        ("route_reflector_client = true", ("a route server has none; want false, or "
         'router.role = "route-reflector"')),
        ("next_hop_self = true", ("NEXT_HOP goes unchanged to route-server clients "
         "(RFC 7947 2.2.1); want false, or route_server_client = false")),
        ("ttl_security = true\nmultihop = 5", ("ttl_security asks for a neighbor one hop away "
         "(RFC 5082); want no multihop beside it")),
        ('families = ["ipv6-unicast"]\nextended_next_hop = true', ("is about IPv4 prefixes "
         "(RFC 8950); want ipv4-unicast in families")),
        ("enhanced_refresh = true\nroute_refresh = false", ("refines route refresh (RFC 7313); "
         "want route_refresh = true beside it, or false")),
        ("hold_tme = 90", 'unknown key; did you mean "hold_time"?'),
        ("asns = 90", 'unknown key; did you mean "asn"?'),
        ("password = 5", "the value (not shown) does not fit; want text of at most 80 octets"),
        ('password = "a"\npassword_file = "b"', "beside password; want one of them"),
        ('password_file = "nokey"', "nokey: no such file"),
    ],
)  # fmt: skip
def test_refused_in_a_neighbor(problems, line, words):
    (problem,) = problems(f"{RS}{MEMBER}{line}\n")
    key = re.match(r"rs\.toml: neighbors\[0\]\.(\w+)(\[\d\]|\.[\w-]+)? \(line [78]\): ", problem)
    assert key is not None, problem
    assert key[1] in line
    assert problem.endswith(words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("asn = 0", ('asn (line 3): 0 does not fit; want an AS number, 1 to 4294967295, or as text '
         '"64500" or "1.10"')),
        ("asn = 4294967296", "asn (line 3): 4294967296 does not fit; want an AS number"),
        ('asn = "1.65536"', 'asn (line 3): "1.65536" does not fit; want an AS number'),
        ('asn = "AS1"', 'asn (line 3): "AS1" does not fit; want an AS number'),
        ("asn = 1.10", "asn (line 3): 1.1 is a decimal number; put an AS number with a dot in quotes"),
        ("asn = 23456", "asn (line 3): 23456 is AS_TRANS"),
        ("asn = true", "asn (line 3): true does not fit"),
        ('router_id = "0.0.0.0"', 'router_id (line 3): "0.0.0.0" does not fit; want an IPv4 address'),
        ('router_id = "::1"', 'router_id (line 3): "::1" does not fit; want an IPv4 address'),
        ("router_id = 1", "router_id (line 3): 1 does not fit; want an IPv4 address"),
        ('role = "rs"', 'role (line 3): "rs" does not fit; want "route-server" or "route-reflector"'),
        ('hostname = "a b"', 'hostname (line 3): "a b" does not fit; want a host name'),
        ('listen = ["10.0.0.1"]', 'listen[0] (line 3): "10.0.0.1" has no port; want "IP:PORT"'),
        ('listen = ["::1:179"]', 'listen[0] (line 3): "::1:179" needs brackets'),
        ('listen = ["[::1]"]', 'listen[0] (line 3): "[::1]" needs brackets'),
        ('listen = ["[10.0.0.1]:179"]', 'listen[0] (line 3): "[10.0.0.1]:179" does not fit'),
        ('listen = ["rs:179"]', 'listen[0] (line 3): "rs:179": "rs" is no IP address'),
        ('listen = ["10.0.0.1:0"]', 'listen[0] (line 3): "10.0.0.1:0": the port does not fit'),
        ('listen = ["10.0.0.1:65536"]', "the port does not fit; want 1 to 65535"),
        ('listen = ["[fe80::1%eth0]:179"]', "is of one interface only"),
        ('listen = ["[::ffff:10.0.0.1]:179"]', 'is IPv4 in IPv6; want "10.0.0.1"'),
        ('listen = ["10.0.0.1:179", "10.0.0.1:179"]', ('listen[1] (line 3): "10.0.0.1:179" is in '
         "the list twice")),
        ('listen = ["10.0.0.1:179", "0.0.0.0:179"]', ("listen[1] (line 3): 0.0.0.0:179 is covered "
         "by 10.0.0.1:179")),
        ("lisen = []", 'lisen (line 3): unknown key; did you mean "listen"?'),
    ],
)  # fmt: skip
def test_refused_in_the_router(problems, line, words):
    right = {"asn": "asn = 64500", "router_id": 'router_id = "10.0.0.1"'}
    right.pop(line.split(" ")[0], None)
    (problem,) = problems("\n".join(["[router]", "", line, *right.values(), MEMBER]))
    assert problem.startswith("rs.toml: router.")
    assert words in problem


@pytest.mark.parametrize(
    ("neighbor", "words"),
    [
        ("asn = 5", "neighbors[0] (line 4): no address; want either address or range"),
        ('address = "10.1.0.1"', "neighbors[0].asn (line 4): missing; want the neighbor's AS number"),
        ('address = "10.1.0.1"\nrange = "10.0.0.0/8"\nasn = 5', ("neighbors[0] (line 4): address and "
         "range together; want either address or range")),
        ('address = "10.1.0.0/24"\nasn = 5', ('"10.1.0.0/24" is a prefix; want an IPv4 or IPv6 '
         'address of one host, or "range"')),
        ('address = "10.1.0.999"\nasn = 5', '"10.1.0.999" does not fit'),
        ('address = "224.0.0.1"\nasn = 5', "is a multicast address"),
        ('address = "255.255.255.255"\nasn = 5', "is not a host's address"),
        ('address = "fe80::1"\nasn = 5', "is of one interface only"),
        ('address = "2001:db8::1%eth0"\nasn = 5', "is of one interface only"),
        ('address = "10.1.0.1"\nasn = [5, 6]', "neighbors[0].asn (line 6): want one AS number; a list is for a range"),
        ('address = "10.1.0.1"\nasn = [5, 0]', "neighbors[0].asn[1] (line 6): 0 does not fit"),
        ('address = "10.1.0.1"\nasn = 64500\nroute_server_client = true', "asn 64500 is our own"),
        ('address = "10.1.0.1"\nasn = 64500\nfirst_as_check = true', "does not put its AS first"),
        ('range = "10.1.2.0/16"', '"10.1.2.0/16" has host bits set; want "10.1.0.0/16"'),
        ('range = "10.1.0.0"', '"10.1.0.0" does not fit; want a prefix such as'),
        ('range = "10.1.0.0/33"', '"10.1.0.0/33" does not fit; want a prefix such as'),
        ('range = "2001:db8::%1/32"', '"2001:db8::%1/32" does not fit; want a prefix such as'),
        ('range = "10.0.0.0/8"\nport = 5', "a range is never connected to"),
        ('range = "10.0.0.0/8"\npassive = false', "a range only waits for its neighbors; want true"),
    ],
)  # fmt: skip
def test_refused_identities(problems, neighbor, words):
    (problem,) = problems(f"{RS}[[neighbors]]\n{neighbor}\n")
    assert words in problem


@pytest.mark.parametrize(
    ("head", "neighbor", "words"),
    [
        (RR, "asn = 5\nroute_reflector_client = true", "clients are internal; want asn = 64500"),
        (RR, "asn = 5\nroute_server_client = true", "a route reflector has none"),
        (RS + 'listen = ["[::]:179"]\n', "asn = 5\npassive = true", ("10.1.0.1 must connect to us, and "
         "router.listen has no IPv4 address")),
        (RS + 'listen = ["10.0.0.1:179"]\n', 'asn = 5\npassive = true\nlocal_address = "10.0.0.2"',
         "10.1.0.1 must connect to us at 10.0.0.2, which router.listen lacks; want one of 10.0.0.1"),
        (RS + 'listen = ["10.1.0.1:179"]\n', "asn = 5", "10.1.0.1 is our own address"),
    ],
)  # fmt: skip
def test_refused_between_router_and_neighbor(problems, head, neighbor, words):
    (problem,) = problems(f'{head}[[neighbors]]\naddress = "10.1.0.1"\n{neighbor}\n')
    assert words in problem


def test_same_host_on_another_port_is_a_neighbor(load):
    text = (
        RS
        + 'listen = ["127.0.0.1:1790"]\n[[neighbors]]\naddress = "127.0.0.1"\nasn = 5\nport = 1791\n'
    )
    assert one(load(text)).port == 1791


def test_an_address_that_we_connect_to_needs_no_listener(load):
    assert one(load(RS + 'listen = ["[::]:179"]\n' + MEMBER)).address == "10.1.0.1"


def test_duplicates_name_both_places(problems):
    twice = '[[neighbors]]\naddress = "2001:db8::1"\nasn = 5\n'
    again = '\n[[neighbors]]\naddress = "2001:DB8:0:0::1"\nasn = 6\n[[igp]]\nprefix = "::/0"\nmetric = 1\n'
    found = problems(
        'include = ["members.d/*.toml"]\n' + RS + twice + '[[igp]]\nprefix = "::/0"\nmetric = 1\n',
        a=again,
    )
    assert found == [
        (
            "members.d/a.toml: neighbors[0] (line 2): 2001:db8::1 is configured twice; "
            "first in rs.toml: neighbors[0] (line 5)"
        ),
        "members.d/a.toml: igp[0] (line 5): ::/0 has a metric already: rs.toml: igp[0] (line 8)",
    ]


def test_the_same_range_twice(problems):
    (problem,) = problems(RS + '[[neighbors]]\nrange = "10.0.0.0/8"\n' * 2)
    assert "10.0.0.0/8 is configured twice" in problem


def test_nested_ranges_are_a_warning(load):
    config = load(
        RS + '[[neighbors]]\nrange = "10.0.0.0/8"\n[[neighbors]]\nrange = "10.1.0.0/16"\n'
        '[[neighbors]]\nrange = "2001:db8::/32"\n'
    )
    (warning,) = config.warnings
    assert "neighbors[1] (line 6): 10.1.0.0/16 lies in 10.0.0.0/8" in warning
    assert "neighbors[0] (line 4)" in warning


def test_every_problem_at_once_in_the_order_of_the_file(problems):
    found = problems(
        'bogus = 1\n[router]\nasn = 0\n[api]\nlisten = "x"\n[defaults]\naddress = "10.0.0.1"\n'
        "hold_time = 1\n[[neighbors]]\nasn = -1\nhold_time = 1\n[[igp]]\nmetric = -1\n"
    )
    assert [problem.split(": ")[1] for problem in found] == [
        "bogus (line 1)",
        "router.router_id (line 2)",
        "router.asn (line 3)",
        "api.listen (line 5)",
        "defaults.address (line 7)",
        "defaults.hold_time (line 8)",
        "neighbors[0] (line 9)",
        "neighbors[0].asn (line 10)",
        "neighbors[0].hold_time (line 11)",
        "igp[0].prefix (line 12)",
        "igp[0].metric (line 13)",
    ]


def test_a_fault_in_the_defaults_is_told_once(problems):
    head = RS + "[defaults]\nttl_security = true\nmultihop = 4\nkeepalive = 80\n"
    members = "".join(f'[[neighbors]]\naddress = "10.1.0.{n}"\nasn = {n}\n' for n in range(1, 9))
    found = problems(head + members)
    assert [problem.split(": ")[1] for problem in found] == [
        "defaults.ttl_security (line 5)",
        "defaults.keepalive (line 7)",
    ]


def test_lines_are_not_confused_by_text_and_comments(problems):
    (problem,) = problems(
        f"{RS}# hold_time = 1\n[[neighbors]] # [x]\n"
        'description = """\\\n[[neighbors]]\\\nhold_time = 1\\\n"""\n'
        '"address" = "10.1.0.1"\nasn = 5\n  \'hold_time\'   = 1\n'
    )
    assert problem.startswith("rs.toml: neighbors[0].hold_time (line 12): 1 does not fit")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("neighbors = 5\n" + RS, "neighbors (line 1): 5 does not fit; want tables, [[neighbors]]"),
        ("neighbors = [5]\n" + RS, "neighbors (line 1): a list does not fit; want tables"),
        (RS + "[neighbors]\n", "neighbors (line 4): a single table; want [[neighbors]], once for each"),
        ("router = 5\n", "router (line 1): 5 does not fit; want a table, [router]"),
        ("[[router]]\n", "router (line 1): a list does not fit; want a table, [router]"),
        (RS + "[[neighbours]]\n", 'neighbours (line 4): unknown table; did you mean "neighbors"?'),
        ("zzz = 1\n" + RS, "zzz (line 1): unknown key; known here: api, as_sets, blackhole"),
        ("include = 5\n" + RS, "include (line 1): 5 does not fit; want a list of paths"),
        ("include = [5]\n" + RS, "include[0] (line 1): 5 does not fit; want a path"),
        ('include = ["no.toml"]\n' + RS, "include[0] (line 1): no.toml: no such file"),
        ('include = ["members.d"]\n' + RS, "members.d: is a directory; want a file"),
        ("", "rs.toml: no [router]; want at least asn and router_id"),
        (RS + '[api]\nlisten = "0.0.0.0:179"\n', ("api.listen (line 5): 0.0.0.0:179 is taken by "
         "router.listen, 0.0.0.0:179")),
        (RS + f'[api]\nsocket = "/{"x" * 107}"\n', "has 108 octets; want a path of at most 107 octets"),
        (RS + f'[api]\nsocket = "{"x" * 105}"\n', "octets; want a path of at most 107"),
    ],
)  # fmt: skip
def test_refused_shapes(problems, text, words):
    (problem,) = problems(text)
    assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{RS}listen_port = 5\n", "unknown key; "),
        (f"{RS}hold_time = 30\n", "unknown key; it belongs in [defaults] or [[neighbors]]"),
        (f"{RS}role = 5\n", "5 does not fit"),
        (f"{RS}[defaults]\nmax_prefix_ipv4 = 5\n", "unknown key; it belongs in [filters]"),
        (f"{RS}[api]\nrpki = 'reject'\n", "unknown key; it belongs in [filters]"),
        (f"{RS}[rpki]\nmed = 'always'\n", "unknown key; it belongs in [router]"),
        (
            f"{RS}[[neighbors]]\naddress = '10.1.0.1'\nasn = 5\nmax_prefix_ipv4 = 5\n",
            "unknown key; it belongs in [filters] or [neighbors.filters]",
        ),
    ],
)
def test_a_key_of_another_table(problems, text, words):
    (problem,) = problems(text)
    assert words in problem


def test_included_files_hold_no_other_tables(problems):
    found = problems(
        'include = ["members.d/*.toml"]\n' + RS, a="[defaults]\nhold_time = 3\n", b="nonsense = 1\n"
    )
    assert found == [
        (
            "members.d/a.toml: defaults (line 1): belongs in the main file, rs.toml; "
            "want only [[neighbors]], [[igp]], [[orr]] and [prefix_sets.NAME], "
            "[as_sets.NAME], [policies.NAME]"
        ),
        (
            "members.d/b.toml: nonsense (line 1): unknown key; "
            "known here: as_sets, igp, neighbors, orr, policies, prefix_sets"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[router]\nasn = = 3\n", "line 2, column 7: not TOML: Invalid value"),
        ("[router]\nasn = [3", "line 2, column 9: not TOML: Unclosed array"),
        ("[router]\nasn = 3\nasn = 4\n", "line 3, column 8: not TOML: Cannot overwrite a value"),
        ("a = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_not_toml(problems, text, words):
    (problem,) = problems(text)
    assert problem.startswith("rs.toml: ")
    assert problem.endswith(words)


def test_a_broken_included_file_does_not_hide_other_problems(problems):
    found = problems('include = ["members.d/a.toml"]\n' + RS + MEMBER + "port = 0\n", a="x\n")
    assert found[0].startswith("rs.toml: neighbors[0].port (line 8)")
    assert found[1].startswith("members.d/a.toml: line 1, column 2: not TOML")
    assert len(found) == 2


def test_not_utf8(tmp_path):
    path = tmp_path / "rs.toml"
    path.write_bytes(b"[router]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"rs\.toml: line 2: not UTF-8 text \(octet 0xe9\)$"):
        load_config(path)


def test_numbers_without_end(problems):
    (problem,) = problems(RS.replace("64500", "9" * 5000))
    assert problem.startswith("rs.toml: not TOML: Exceeds the limit")
    (problem,) = problems(RS.replace("64500", "0x" + "f" * 5000))
    assert "router.asn (line 2): a number of 20000 bits does not fit" in problem


def test_a_list_of_as_numbers_in_the_defaults_is_for_ranges(load, problems):
    head = RS + "[defaults]\nasn = [5, 6]\n[[neighbors]]\n"
    assert one(load(head + 'range = "10.0.0.0/8"\n')).asns == (5, 6)
    (problem,) = problems(head + 'address = "10.1.0.1"\n')
    assert "neighbors[0].asn (line 6): want one AS number" in problem


def test_a_loop_of_links(problems, tmp_path):
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    (problem,) = problems('include = ["*op.toml"]\n' + RS)
    assert problem == ("rs.toml: include[0] (line 1): loop.toml: Too many levels of symbolic links")


def test_no_file_and_a_directory(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: no such file$"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"is a directory; want a file$"):
        load_config(tmp_path)


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    # Tests may run as root, whom file modes do not stop.
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"rs\.toml: may not be read by this user$"):
        load_config(tmp_path / "rs.toml")


@pytest.mark.parametrize("content", ["", "a\nb\n", "x" * 81])
def test_unusable_password_file(problems, tmp_path, content):
    (tmp_path / "key").write_text(content)
    (problem,) = problems(RS + MEMBER + 'password_file = "key"\n')
    assert "key: want one line of 1 to 80 octets" in problem


def test_a_bad_password_is_not_shown(problems):
    (problem,) = problems(f'{RS}{MEMBER}password = "{"hush" * 30}"\n')
    assert "hush" not in problem


def test_open_api_is_a_warning(load):
    (warning,) = load(RS + MEMBER + '[api]\nlisten = "192.0.2.1:80"\n').warnings
    assert "192.0.2.1:80 is open to other hosts" in warning
    assert load(RS + MEMBER + '[api]\nlisten = "[::1]:80"\n').warnings == ()


def test_no_neighbors_is_a_warning(load):
    assert "nobody can connect" in load(RS).warnings[0]


# --- random input -------------------------------------------------------------------------------

VALUES = st.one_of(
    st.booleans(),
    st.integers(-5, 2**33),
    st.floats(),
    st.dates(),
    st.text(max_size=20),
    st.sampled_from(["10.0.0.1", "10.0.0.0/8", "::1", "[::1]:1", "route-server", "ipv4-unicast", "off"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_gives_a_value_or_words(data):
    model = data.draw(st.sampled_from(list(SECTIONS.values())))
    _, key = data.draw(st.sampled_from(list(keys_of(model).values())))
    value = data.draw(VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(st.text(), VALUES))
    words = "none, it fits"
    try:
        key.kind.parse(value)
    except BadValue as bad:
        words = str(bad)
    assert words


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="[]={}\".#\n 'a1.:neighborsrouterasn", max_size=200))
def test_any_text_gives_problems_of_that_file(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.problems
    assert all(problem.startswith(str(path)) for problem in caught.value.problems)


# --- size ---------------------------------------------------------------------------------------


def test_a_thousand_neighbors_and_a_thousand_faults(load, problems):
    members = [
        f'[[neighbors]]\naddress = "10.1.{n // 250}.{n % 250 + 1}"\nasn = {100_000 + n}\n'
        f'description = "Member {n}"\nhold_time = 60\n'
        for n in range(1000)
    ]
    start = time.perf_counter()
    assert len(load(RS + "".join(members)).neighbors) == 1000
    took = time.perf_counter() - start
    print(f"1,000 neighbors: {took * 1000:.0f} ms", file=sys.stderr)
    # 30 ms on the machine this was written on; a quadratic walk would be far beyond this.
    assert took < 10
    broken = [member.replace("hold_time", f"hold_tim{n}") for n, member in enumerate(members)]
    found = problems(RS + "".join(broken))
    assert len(found) == 1000
    assert found[999].startswith("rs.toml: neighbors[999].hold_tim999 (line 5003): unknown key")
