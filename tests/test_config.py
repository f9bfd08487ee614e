"""The configuration model: defaults by role, what a reload must do, and the documentation."""

import re
import tomllib

import attrs
import pytest

from rs.config import AddPath, AddPathSend, Api, AsSetRule, IgpRoute, MedRule, Role
from rs.configdiff import diff
from rs.configfile import load_config
from rs.configkeys import Effect, keys_of
from rs.configvalues import Endpoint, in_family
from rs.iana import Family
from rs.irr import load_sets
from tests.configs import INTERNAL, MEMBER, ROOT, RR, RS, SECTIONS, Folder, one


@pytest.fixture
def load(tmp_path):
    return Folder(tmp_path).load


# --- what is accepted ---------------------------------------------------------------------------


def test_every_table_together(load):
    config = load(
        """
        include = ["members.d/*.toml"]
        [router]
        role = "route-server"
        asn = 64500
        router_id = "10.0.0.1"
        listen = ["10.0.0.1:1790", "[2001:db8::1]:1790"]
        [api]
        listen = "127.0.0.1:8080"
        socket = "/run/rs/rs.sock"
        [defaults]
        families = ["ipv4-unicast", "ipv6-unicast"]
        hold_time = 30
        passive = true
        [[neighbors]]
        address = "10.1.0.1"
        asn = 100001
        description = "Example Networks"
        route_reflector_client = false
        """,
        b='[[neighbors]]\naddress = "2001:DB8:0::7"\nasn = 100007\npassive = false\n',
        a="[[neighbors]]\nrange = '10.2.0.0/16'\nmax_peers = 3\n",
    )
    assert config.router.role is Role.ROUTE_SERVER
    assert config.router.identifier == 0x0A000001
    assert config.router.listen == (Endpoint("10.0.0.1", 1790), Endpoint("2001:db8::1", 1790))
    assert [str(place) for place in config.router.listen] == ["10.0.0.1:1790", "[2001:db8::1]:1790"]
    assert config.api == Api(listen=Endpoint("127.0.0.1", 8080), socket="/run/rs/rs.sock")
    assert [neighbor.name for neighbor in config.neighbors] == [
        "10.1.0.1", "10.2.0.0/16", "2001:db8::7",
    ]  # fmt: skip
    assert [neighbor.passive for neighbor in config.neighbors] == [True, True, False]
    assert {neighbor.hold_time for neighbor in config.neighbors} == {30}
    assert config.neighbors[0].asn == 100001
    assert config.neighbors[0].description == "Example Networks"
    assert not config.neighbors[0].is_ipv6
    assert config.neighbors[2].is_ipv6
    assert config.warnings == ()


def test_included_files_in_order_each_once(load):
    config = load(
        'include = ["members.d/*.toml", "members.d/b.toml", "rs.toml"]\n' + RS + MEMBER,
        b='[[neighbors]]\naddress = "10.1.0.3"\nasn = 3\n',
        a='[[neighbors]]\naddress = "10.1.0.2"\nasn = 2\n[[igp]]\nprefix = "0.0.0.0/0"\nmetric = 5\n',
    )
    assert [neighbor.asn for neighbor in config.neighbors] == [100001, 2, 3]
    assert [path.name for path in config.files] == ["rs.toml", "a.toml", "b.toml"]
    assert config.igp == (IgpRoute(prefix="0.0.0.0/0", metric=5),)


def test_a_pattern_that_matches_nothing_is_a_warning(load):
    (warning,) = load('include = ["none.d/*.toml"]\n' + RS + MEMBER).warnings
    assert warning.endswith('rs.toml: include[0] (line 1): "none.d/*.toml" matches no file')


@pytest.mark.parametrize(
    ("written", "asn"),
    [
        ("1", 1),
        ("4294967295", 4294967295),
        ('"64511"', 64511),
        ('"1.10"', 65546),
        ('"0.5"', 5),
        ('"4294967295"', 4294967295),
        ('"65535.65535"', 4294967295),
    ],
)
def test_forms_of_as_numbers(load, written, asn):
    text = f'{RR}[[neighbors]]\naddress = "10.1.0.1"\nasn = {written}\n'
    assert one(load(text)).asn == asn


def test_defaults_of_a_route_server_client(load):
    neighbor = one(load(RS + MEMBER))
    assert neighbor.route_server_client
    assert not neighbor.internal
    assert neighbor.first_as_check
    assert not neighbor.next_hop_self
    assert not neighbor.honor_well_known
    assert neighbor.families == (Family.IPV4_UNICAST, Family.IPV6_UNICAST)
    assert neighbor.as_set is AsSetRule.REJECT
    assert neighbor.add_path is AddPath.OFF
    assert (neighbor.ttl, neighbor.min_ttl) == (1, 0)


def test_defaults_of_a_plain_external_neighbor(load):
    neighbor = one(load(RS + MEMBER + "route_server_client = false\nmultihop = 3\n"))
    assert not neighbor.route_server_client
    assert neighbor.next_hop_self
    assert neighbor.honor_well_known
    assert neighbor.first_as_check
    assert neighbor.ttl == 3


def test_defaults_of_an_internal_neighbor(load):
    neighbor = one(load(RR + INTERNAL + "route_reflector_client = true\n"))
    assert neighbor.internal
    assert neighbor.route_reflector_client
    assert not neighbor.route_server_client
    assert not neighbor.first_as_check
    assert not neighbor.next_hop_self
    assert neighbor.honor_well_known
    assert neighbor.ttl == 255


def test_ttl_security_sends_and_wants_255(load):
    neighbor = one(load(RS + MEMBER + "ttl_security = true\n"))
    assert (neighbor.ttl, neighbor.min_ttl) == (255, 255)


def test_multihop_true_is_the_highest_ttl(load):
    assert one(load(RS + MEMBER + "multihop = true\n")).ttl == 255
    assert one(load(RS + MEMBER + "multihop = false\n")).ttl == 1


def test_a_range_settles_its_defaults_when_a_neighbor_comes(load):
    model = one(load(RS + '[[neighbors]]\nrange = "10.1.0.0/16"\nmax_peers = 7\n'))
    assert model.is_range
    assert model.passive
    assert model.max_peers == 7
    assert model.asn is None
    assert model.accepts_asn(64500)
    external = model.instance("10.1.2.3", 100)
    assert (external.address, external.range, external.asn) == ("10.1.2.3", None, 100)
    assert external.route_server_client
    assert external.first_as_check
    internal = model.instance("10.1.2.4", 64500)
    assert internal.internal
    assert not internal.route_server_client
    assert not internal.first_as_check
    assert internal.honor_well_known


def test_a_range_keeps_what_was_written_when_a_neighbor_comes(load):
    text = RS + '[[neighbors]]\nrange = "10.1.0.0/16"\nroute_server_client = false\n'
    external = one(load(text + "first_as_check = false\n")).instance("10.1.2.3", 100)
    assert not external.route_server_client
    assert external.next_hop_self
    assert not external.first_as_check
    assert external.honor_well_known


def test_a_range_with_as_numbers_takes_only_those(load):
    model = one(load(RS + '[[neighbors]]\nrange = "10.1.0.0/16"\nasn = [100, "1.1"]\n'))
    assert model.accepts_asn(100)
    assert model.accepts_asn(65537)
    assert not model.accepts_asn(101)


def test_a_range_of_reflector_clients_is_internal(load):
    model = one(load(RR + '[[neighbors]]\nrange = "10.0.0.0/8"\nroute_reflector_client = true\n'))
    assert model.asns == (64500,)
    assert model.internal
    assert not model.first_as_check


def test_keepalive_and_send_hold_follow_the_hold_time(load):
    neighbor = one(load(RS + MEMBER))
    assert neighbor.keepalive_for(90) == 30
    assert neighbor.keepalive_for(3) == 1
    assert neighbor.keepalive_for(0) == 0
    assert neighbor.send_hold_for(90) == 480
    assert neighbor.send_hold_for(300) == 600
    assert neighbor.send_hold_for(0) == 0
    neighbor = one(load(RS + MEMBER + "keepalive = 10\nsend_hold_time = 20\n"))
    assert neighbor.keepalive_for(90) == 10
    assert neighbor.keepalive_for(9) == 3
    assert neighbor.send_hold_for(90) == 20
    assert one(load(RS + MEMBER + "send_hold_time = 0\n")).send_hold_for(90) == 0


def test_cluster_id_follows_the_router_id(load):
    assert load(RR + INTERNAL).router.cluster_id == "10.0.0.1"
    assert load(RR + 'cluster_id = "9.9.9.9"\n' + INTERNAL).router.cluster_id == "9.9.9.9"


def test_clusters_of_clients(load):
    client = INTERNAL + "route_reflector_client = true\n"
    neighbor = one(load(RR + client))
    assert (neighbor.cluster, neighbor.client_to_client) == ("10.0.0.1", True)
    own = 'cluster_id = "10.7.0.1"\nclient_to_client = false\n'
    neighbor = one(load(RR + client + own))
    assert (neighbor.cluster, neighbor.client_to_client) == ("10.7.0.1", False)
    # A default is for those it suits.
    found = load(RR + "[defaults]\n" + own + client + INTERNAL.replace("10.1.0.1", "10.1.0.2"))
    assert [n.cluster_id for n in found.neighbors] == ["10.7.0.1", None]


def test_values_by_family(load):
    neighbor = one(load(RS + MEMBER + 'add_path = "both"\nadd_path_limit = 3\n'))
    assert (neighbor.add_path, neighbor.add_path_limit) == (AddPath.BOTH, 3)
    assert neighbor.add_path_send is AddPathSend.ALL
    lines = 'add_path = { ipv6-unicast = "both" }\nadd_path_limit.ipv4-unicast = 2\n'
    neighbor = one(load(RS + MEMBER + lines))
    assert in_family(neighbor.add_path, Family.IPV4_UNICAST) is AddPath.OFF
    assert in_family(neighbor.add_path, Family.IPV6_UNICAST) is AddPath.BOTH
    assert [in_family(neighbor.add_path_limit, f) for f in Family] == [2, 0]
    same = '{ ipv4-unicast = "equal", ipv6-unicast = "equal" }'
    neighbor = one(load(RS + MEMBER + f"add_path_send = {same}\n"))
    assert neighbor.add_path_send is AddPathSend.EQUAL


def test_choices_of_the_router(load):
    router = load(
        RS + 'med = "always"\ndeterministic_med = false\nprefer_oldest = false\n'
        'control_communities = false\nhostname = "rs1.example.net"\n' + MEMBER
    ).router
    assert router.med is MedRule.ALWAYS
    assert not router.deterministic_med
    assert not router.prefer_oldest
    assert not router.control_communities
    assert router.hostname == "rs1.example.net"
    assert router.is_route_server


def test_igp(load):
    assert load(RS + MEMBER).igp is None
    assert load("igp = []\n" + RS + MEMBER).igp is None
    assert load(RS + MEMBER + '[[igp]]\nprefix = "10.0.0.0/8"\nmetric = 10\n').igp == (
        IgpRoute(prefix="10.0.0.0/8", metric=10),
    )


def test_relative_socket_is_beside_the_file(load, tmp_path):
    assert load(RS + MEMBER + '[api]\nsocket = "rs.sock"\n').api.socket == str(tmp_path / "rs.sock")


def test_password_file(load, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    neighbor = one(load(RS + MEMBER + 'password_file = "key"\n'))
    assert neighbor.password == "secret"
    assert "secret" not in repr(neighbor)


def test_own_password_beats_the_default_file(load, tmp_path):
    (tmp_path / "key").write_text("other")
    neighbor = one(load(RS + MEMBER + 'password = "mine"\n[defaults]\npassword_file = "key"\n'))
    assert (neighbor.password, neighbor.password_file) == ("mine", None)


def test_without_route_refresh_none_is_enhanced(load):
    assert one(load(RS + MEMBER)).enhanced_refresh
    assert not one(load(RS + MEMBER + "route_refresh = false\n")).enhanced_refresh


def test_byte_order_mark_and_windows_line_ends(load):
    assert one(load("\ufeff" + (RS + MEMBER).replace("\n", "\r\n"))).asn == 100001


# --- defaults give way where they do not fit ----------------------------------------------------


@pytest.mark.parametrize(
    ("head", "default", "neighbor", "attribute", "value"),
    [
        (RS, 'local_address = "10.0.0.1"', 'address = "2001:db8::9"\nasn = 5', "local_address", None),
        (RS, "passive = false", 'range = "10.0.0.0/8"', "passive", True),
        (RS, "port = 1179", 'range = "10.0.0.0/8"', "port", 179),
        (RS, "max_peers = 5", 'address = "10.1.0.1"\nasn = 5', "max_peers", 100),
        (RS, "next_hop_self = true", 'address = "10.1.0.1"\nasn = 5', "next_hop_self", False),
        (RS, "first_as_check = true", 'address = "10.1.0.1"\nasn = 64500', "first_as_check", False),
        (RS, "ttl_security = true", 'address = "10.1.0.1"\nasn = 5\nmultihop = 4', "min_ttl", 0),
        (RS, "multihop = 4", 'address = "10.1.0.1"\nasn = 5\nttl_security = true', "multihop", 0),
        (RS, "keepalive = 20", 'address = "10.1.0.1"\nasn = 5\nhold_time = 30', "keepalive", None),
        (RS, "extended_next_hop = true", 'address = "10.1.0.1"\nasn = 5\nfamilies = ["ipv6-unicast"]',
         "extended_next_hop", False),
        (RR, "route_reflector_client = true", 'address = "10.1.0.1"\nasn = 5',
         "route_reflector_client", False),
        (RR, "asn = 64500", 'address = "10.1.0.1"', "internal", True),
        (RS, "enhanced_refresh = true", 'address = "10.1.0.1"\nasn = 5\nroute_refresh = false',
         "enhanced_refresh", False),
    ],
)  # fmt: skip
def test_default_gives_way(load, *, head, default, neighbor, attribute, value):
    config = load(f"{head}[defaults]\n{default}\n[[neighbors]]\n{neighbor}\n")
    assert getattr(one(config), attribute) == value


# --- reload -------------------------------------------------------------------------------------


def test_diff_of_equal_configurations_is_nothing(load):
    assert not diff(load(RS + MEMBER), load(RS + MEMBER))


def test_diff_added_and_removed(load):
    other = MEMBER.replace("10.1.0.1", "10.1.0.2")
    found = diff(load(RS + MEMBER), load(RS + other))
    assert [neighbor.name for neighbor in found.added] == ["10.1.0.2"]
    assert [neighbor.name for neighbor in found.removed] == ["10.1.0.1"]
    assert found.changed == ()
    assert found


@pytest.mark.parametrize(
    ("line", "keys", "effect"),
    [
        ('description = "new"', ("description",), Effect.INSTANT),
        ("hold_time = 30", ("hold_time",), Effect.NEXT_SESSION),
        ('as_set = "accept"', ("as_set",), Effect.REEVALUATE),
        ('families = ["ipv4-unicast"]', ("families",), Effect.RESET),
        ('description = "new"\nmultihop = 5', ("description", "multihop"), Effect.RESET),
        ("route_server_client = false",
         ("route_server_client", "next_hop_self", "require_policy", "honor_well_known"),
         Effect.RESET),
        ('password = "x"', ("password",), Effect.RESET),
    ],
)  # fmt: skip
def test_diff_of_a_neighbor(load, line, keys, effect):
    found = diff(load(RS + MEMBER), load(f"{RS}{MEMBER}{line}\n"))
    (change,) = found.changed
    assert change.keys == keys
    assert change.effect is effect
    assert change.needs_reset == (effect is Effect.RESET)
    assert not (found.added)
    assert not (found.removed)
    assert not (found.router_keys)
    assert not (found.api)
    assert not (found.next_hops)


def test_diff_of_another_as_number_is_a_reset(load):
    (change,) = diff(load(RS + MEMBER), load(RS + MEMBER.replace("100001", "7"))).changed
    assert change.keys == ("asn",)
    assert change.needs_reset


def test_diff_of_a_changed_default_reaches_its_neighbors(load):
    (change,) = diff(
        load(RS + MEMBER), load(RS + MEMBER + "[defaults]\nallow_own_as = 1\n")
    ).changed
    assert (change.keys, change.effect) == (("allow_own_as",), Effect.REEVALUATE)


def test_diff_of_a_changed_password_file_shows_in_the_password(load, tmp_path):
    text = RS + MEMBER + 'password_file = "key"\n'
    (tmp_path / "key").write_text("one")
    old = load(text)
    (tmp_path / "key").write_text("two")
    (change,) = diff(old, load(text)).changed
    assert change.keys == ("password",)
    assert "two" not in repr(change)


def test_diff_of_the_router(load):
    soft = diff(load(RS + MEMBER), load(RS + 'med = "always"\n' + MEMBER))
    assert (soft.router_keys, soft.router_effect) == (("med",), Effect.REEVALUATE)
    assert soft.changed == ()
    hard = diff(load(RS + MEMBER), load(RS.replace("10.0.0.1", "10.0.0.9") + MEMBER))
    assert hard.router_effect is Effect.RESET
    (change,) = hard.changed
    assert change.needs_reset
    assert "router.router_id" in change.keys


def test_diff_of_api_and_igp(load):
    found = diff(
        load(RS + MEMBER),
        load(RS + MEMBER + '[api]\nsocket = "s"\n[[igp]]\nprefix = "::/0"\nmetric = 0\n'),
    )
    assert found.api
    assert found.next_hops
    assert found


# --- the model and its documentation ------------------------------------------------------------

CHANGE_WORDS = {
    Effect.INSTANT: "at once",
    Effect.NEXT_SESSION: "next session",
    Effect.REEVALUATE: "in place",
    Effect.RESET: "reset",
}


def documented() -> dict[str, dict[str, list[str]]]:
    """Return the tables of the reference: section -> key -> cells after the key."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if heading := re.match(r"## \[+(\w+)\]+", line):
            section = heading[1]
        elif (row := re.match(r"\| `(\w+)` \| (.*) \|$", line)) and section in SECTIONS:
            found.setdefault(section, {})[row[1]] = row[2].split(" | ")
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_documentation_has_every_key_with_type_default_and_effect(section):
    rows = documented()[section]
    keys = keys_of(SECTIONS[section])
    assert rows.keys() == keys.keys()
    for name, (_, key) in keys.items():
        kind, default, change, meaning = rows[name]
        assert kind == key.kind.wants, name
        assert default.replace("`", "") == key.default, name
        assert change == CHANGE_WORDS[key.effect], name
        assert len(meaning) > 10, name


@pytest.mark.parametrize(
    ("section", "at_least"), [("router", 6), ("neighbors", 16), ("filters", 28)]
)
def test_documented_defaults_are_the_defaults(section, at_least):
    fields = attrs.fields_dict(SECTIONS[section])
    compared = 0
    for attribute, key in keys_of(SECTIONS[section]).values():
        try:
            value = tomllib.loads(f"x = {key.default}")["x"]
        except tomllib.TOMLDecodeError:
            continue  # in words; the tests of role and range above are about these
        assert fields[attribute].default == key.kind.parse(value), attribute
        compared += 1
    assert compared >= at_least


def test_documentation_example_is_correct(load):
    text = (ROOT / "docs" / "configuration.md").read_text()
    example = re.search(r"```toml\n(\[router\].*?)```", text, re.DOTALL)
    assert len(load(example[1]).neighbors) == 1


EXAMPLES = ROOT / "deploy" / "examples"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in EXAMPLES.rglob("*.toml") if "[router]" in path.read_text()),
    ids=lambda path: str(path.relative_to(EXAMPLES)),
)
def test_examples_are_correct(path):
    config = load_config(path)
    load_sets(config)
    assert config.neighbors
    assert config.warnings == ()


def test_models_are_frozen(load):
    neighbor = one(load(RS + MEMBER))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        neighbor.hold_time = 5
