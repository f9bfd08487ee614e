"""Default reject for plain eBGP (RFC 8212), and our AS in front of AS_PATH for clients who insist."""

from __future__ import annotations

import pytest

from rs import reload
from rs.config import Role
from rs.configfile import load_config
from rs.filterconfig import Filters
from rs.iana import RejectReason
from tests.farends import RS_ASN, SEQ, V4, Speaker, make_config, make_neighbor, make_router
from tests.routerkit import ROUTER, config_text
from tests.routerkit import Lab as Kit
from tests.routers import Lab

PLAIN, OTHER, CLIENT, INTERNAL = "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"
RULE = Filters(max_as_path_length=20)


def lab_of(**plain) -> tuple[Lab, dict[str, Speaker]]:
    """Return a route server with a plain external neighbor, one without the rule, a client, and an
    internal neighbor."""
    section = make_router(role=Role.ROUTE_SERVER)
    neighbors = [
        make_neighbor(
            section, 65001, address=PLAIN, route_server_client=False,
            **{"require_policy": True, **plain},
        ),
        make_neighbor(section, 65002, address=OTHER, route_server_client=False),
        make_neighbor(section, 65003, address=CLIENT),
        make_neighbor(section, RS_ASN, address=INTERNAL),
    ]  # fmt: skip
    lab = Lab(make_config(section, neighbors), oracle=False)
    asns = {PLAIN: 65001, OTHER: 65002, CLIENT: 65003, INTERNAL: RS_ASN}
    return lab, {a: lab.up(Speaker(a, n, a.replace("10.1", "10.2"))) for a, n in asns.items()}


def announce(lab: Lab, speakers: dict[str, Speaker]) -> None:
    for i, (address, speaker) in enumerate(speakers.items(), 1):
        path = () if address == INTERNAL else ((SEQ, (speaker.asn,)),)
        lab.announce(speaker, f"8.{i}.0.0/16", as_path=path)
    lab.settle()


def reason(lab: Lab, octet: int) -> int:
    table = lab.router.rib.tables[V4]
    ((*_, flags, why, _),) = table.paths_of(table.handle(bytes((8, octet, 0, 0)), 16))
    return why if flags & 1 else 0


def test_nothing_comes_or_goes_without_a_policy():
    lab, speakers = lab_of()
    announce(lab, speakers)
    assert reason(lab, 1) == RejectReason.NO_IMPORT_POLICY
    assert speakers[PLAIN].table() == {}
    assert speakers[PLAIN].count("eor") == 2
    assert speakers[CLIENT].table().keys() == {"8.2.0.0/16", "8.4.0.0/16"}
    assert speakers[OTHER].table().keys() == {"8.3.0.0/16", "8.4.0.0/16"}


def test_a_rule_is_an_import_policy_and_none_for_export():
    lab, speakers = lab_of(filters=RULE)
    announce(lab, speakers)
    assert reason(lab, 1) == 0
    assert speakers[CLIENT].table().keys() == {"8.1.0.0/16", "8.2.0.0/16", "8.4.0.0/16"}
    assert speakers[PLAIN].table() == {}


def test_the_switch():
    lab, speakers = lab_of(require_policy=False)
    announce(lab, speakers)
    assert reason(lab, 1) == 0
    assert speakers[PLAIN].table().keys() == {"8.2.0.0/16", "8.3.0.0/16", "8.4.0.0/16"}


def test_faults_of_a_path_come_first():
    lab, speakers = lab_of()
    lab.announce(speakers[PLAIN], "8.1.0.0/16", as_path=((SEQ, (65001, RS_ASN)),))
    lab.settle()
    assert reason(lab, 1) == RejectReason.AS_LOOP


@pytest.mark.parametrize(
    ("rule", "is_policy"),
    [
        ({}, False),
        ({"max_prefix_ipv4": 5}, False),
        ({"rpki": "accept"}, False),
        ({"aspa": "note"}, False),
        ({"irr_enforce_prefix": True}, False),
        ({"transit_free_asns": True, "transit_free_action": "warning"}, False),
        ({"transit_free_asns": True}, True),
        ({"rpki": "reject"}, True),
        ({"preset": "arouteserver"}, True),
        ({"black_list": ["192.0.2.0/24"]}, True),
        ({"prefix_length_ipv6": [12, 48]}, True),
    ],
)
def test_which_rules_are_an_import_policy(tmp_path, rule, is_policy):
    def toml(value) -> str:
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    keys = "\n".join(f"{k} = {toml(v)}" for k, v in rule.items())
    path = tmp_path / "rs.toml"
    neighbor = f'address = "{PLAIN}"\nasn = 65001\nroute_server_client = false\n'
    path.write_text(config_text(f"{neighbor}[neighbors.filters]\n{keys}"))
    config = load_config(path)
    (found,) = config.neighbors
    assert found.require_policy
    assert found.lacks_import_policy is not is_policy
    words = "\n".join(config.warnings)
    assert ("nothing is accepted without" in words) is not is_policy
    assert "nothing is announced without" in words


def test_clients_and_internal_neighbors_need_none_and_ranges_settle_it(tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(
        ROUTER + '[[neighbors]]\naddress = "10.1.0.3"\nasn = 65003\n'
        '[[neighbors]]\naddress = "10.1.0.4"\nasn = 64500\n'
        '[[neighbors]]\nrange = "10.3.0.0/24"\nroute_server_client = false\n'
    )
    client, internal, anybody = load_config(path).neighbors
    assert not client.require_policy
    assert not internal.require_policy
    assert anybody.instance("10.3.0.1", 65009).require_policy
    assert not anybody.instance("10.3.0.1", 64500).require_policy


def test_a_reload_opens_and_closes_in_place(tmp_path):
    def text(switch: str) -> str:
        plain = f'address = "{PLAIN}"\nasn = 65001\nroute_server_client = false\n{switch}'
        return config_text(plain, f"{CLIENT} 65003")

    kit = Kit(tmp_path, text(""))
    kit.up(PLAIN, CLIENT)
    kit.announce(PLAIN, "8.0.0.0/16")
    kit.announce(CLIENT, "9.0.0.0/16")
    kit.settle()
    mark = bytes((16, 8, 0)), bytes((16, 9, 0))
    assert mark[0] not in kit.sent[CLIENT]
    assert mark[1] not in kit.sent[PLAIN]
    for switch, sees in (("require_policy = false\n", True), ("", False)):
        kit.sent.clear()
        (tmp_path / "rs.toml").write_text(text(switch))
        done = reload.apply(kit.router, load_config(tmp_path / "rs.toml"))
        kit.settle()
        assert (done.changed, done.reset) == (1, 0)
        slot = kit.peer(PLAIN).slot
        assert kit.router.rib.reject_counts(slot) == (
            {} if sees else {RejectReason.NO_IMPORT_POLICY: 1}
        )
        assert mark[0] in kit.sent[CLIENT]  # announced, or withdrawn
        assert mark[1] in kit.sent[PLAIN]


# --- prepend_own_as -------------------------------------------------------------------------------


def test_our_as_in_front_for_those_who_insist():
    section = make_router()
    neighbors = [
        make_neighbor(section, 65000 + i, address=f"10.1.0.{i}", prepend_own_as=i > 2)
        for i in range(1, 5)
    ]
    lab = Lab(make_config(section, neighbors))
    members = [lab.up(Speaker(f"10.1.0.{i}", 65000 + i, f"10.2.0.{i}")) for i in range(1, 5)]
    lab.announce(members[0], "8.0.0.0/16", as_path=((SEQ, (65001, 7)),), med=5)
    lab.settle()
    lab.check("prepend:")
    seen = [m.table()["8.0.0.0/16"] for m in members[1:]]
    assert [attrs["as_path"] for attrs in seen] == [
        ((SEQ, (65001, 7)),),
        ((SEQ, (RS_ASN, 65001, 7)),),
        ((SEQ, (RS_ASN, 65001, 7)),),
    ]
    assert {attrs["med"] for attrs in seen} == {5}
    assert len({attrs["next_hop"] for attrs in seen}) == 1
    assert lab.router.exporter.rewriter.stats()["forms"] == 1


def test_prepending_changes_in_place(tmp_path):
    def text(switch: str) -> str:
        return config_text(f"{PLAIN} 65001", f'address = "{CLIENT}"\nasn = 65003\n{switch}')

    kit = Kit(tmp_path, text(""))
    kit.up(PLAIN, CLIENT)
    kit.announce(PLAIN, "8.0.0.0/16")
    kit.settle()
    ours = RS_ASN.to_bytes(4, "big") + (65001).to_bytes(4, "big")
    assert ours not in kit.sent.pop(CLIENT)
    (tmp_path / "rs.toml").write_text(text("prepend_own_as = true\n"))
    done = reload.apply(kit.router, load_config(tmp_path / "rs.toml"))
    kit.settle()
    assert (done.changed, done.reset) == (1, 0)
    assert ours in kit.sent[CLIENT]


def test_prepending_is_for_clients(tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(
        ROUTER + "[defaults]\nprepend_own_as = true\n"
        '[[neighbors]]\naddress = "10.1.0.3"\nasn = 65003\n'
        '[[neighbors]]\naddress = "10.1.0.4"\nasn = 64500\n'
    )
    assert [n.prepend_own_as for n in load_config(path).neighbors] == [True, False]


def test_policies_of_both_directions_are_policies(tmp_path):
    """As they come by a reload: paths are judged and sent in place."""
    policies = '[policies.all]\n[[policies.all.terms]]\naction = "accept"\n'

    def text(keys: str) -> str:
        plain = f'address = "{PLAIN}"\nasn = 65001\nroute_server_client = false\n{keys}'
        return config_text(plain, f"{CLIENT} 65003", head=ROUTER + (policies if keys else ""))

    kit = Kit(tmp_path, text(""))
    kit.up(PLAIN, CLIENT)
    kit.announce(PLAIN, "8.0.0.0/16")
    kit.announce(CLIENT, "9.0.0.0/16")
    kit.settle()
    kit.sent.clear()
    (tmp_path / "rs.toml").write_text(text('import_policy = ["all"]\nexport_policy = ["all"]\n'))
    config = load_config(tmp_path / "rs.toml")
    assert config.warnings == ()
    reload.apply(kit.router, config)
    kit.settle()
    assert kit.router.rib.reject_counts(kit.peer(PLAIN).slot) == {}
    assert bytes((16, 8, 0)) in kit.sent[CLIENT]
    assert bytes((16, 9, 0)) in kit.sent[PLAIN]
