"""ARouteServer's files: each option is honored, and seen in what is loaded, or named as not honored."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from rs.arextras import peeringdb_as_sets
from rs.arouteserver import OPTIONS
from rs.cli import cli
from rs.config import AddPath
from rs.configfile import load_config
from rs.filterconfig import NextHopRule, RpkiRule
from rs.irr import load_sets
from tests.mrtfiles import data_file

SAMPLES = Path(__file__).parent / "arouteserver"
GENERAL, CLIENTS, BOGONS = (SAMPLES / f"{name}.yml" for name in ("general", "clients", "bogons"))
PEERINGDB = {
    "data": [
        {"asn": 64601, "info_prefixes4": 1000, "info_prefixes6": 0, "irr_as_set": "AS-UNUSED"},
        {"asn": 64603, "info_prefixes4": 10, "info_prefixes6": 200, "irr_as_set": "RIPE::AS-PDB"},
        {"asn": 64650, "info_never_via_route_servers": True},
    ]
}
NORTH4, NORTH6, OTHER, PDB, LAST = (
    *("192.0.2.11", "2001:db8:1:1::11", "192.0.2.12"),
    *("2001:db8:1:1::13", "192.0.2.14"),
)


class Import:
    """One run of the command."""

    def __init__(self, folder: Path, *args: object, **env: str) -> None:
        self.folder = folder / "out"
        given = [*map(str, args), "-o", str(self.folder)]
        self.result = CliRunner().invoke(
            cli, ["import", "arouteserver", *given], env={"PEERING_LAN": "192.0.2.0", **env}
        )
        self.output = self.result.output
        honored, _, missed = self.output.partition("Not honored:")
        self.honored = set(re.findall(r"^  (\S+) ", honored, re.MULTILINE))
        self.missed = dict(re.findall(r"^  (\S+) \((.*)$", missed, re.MULTILINE))

    @property
    def code(self) -> int:
        return self.result.exit_code

    def config(self):
        return load_config(self.folder / "rs.toml")

    def neighbors(self):
        return {neighbor.address: neighbor for neighbor in self.config().neighbors}


@pytest.fixture
def imported(tmp_path):
    (tmp_path / "peeringdb.json").write_text(json.dumps(PEERINGDB))
    (tmp_path / "rtt.txt").write_text(f"{NORTH4} 4.5  # near\n{PDB} 120\n")
    return Import(
        tmp_path,
        *(GENERAL, CLIENTS, "--bogons", BOGONS, "--peeringdb", tmp_path / "peeringdb.json"),
        *("--rtt", tmp_path / "rtt.txt", "--listen", "192.0.2.2:179", "--api", "rs.sock"),
    )


def write(tmp_path, cfg: str = "", client: str = "", top: str = "") -> tuple[Path, Path]:
    """Write a small general.yml, and a clients.yml with one client."""
    general, clients = tmp_path / "general.yml", tmp_path / "clients.yml"
    general.write_text(f"cfg:\n  rs_as: 64500\n  router_id: 192.0.2.2\n{cfg}")
    clients.write_text(f"{top}clients:\n  - asn: 64601\n    ip: 192.0.2.11\n{client}")
    return general, clients


def test_the_samples_have_every_option(imported):
    text = GENERAL.read_text() + (SAMPLES / "filtering.yml").read_text() + CLIENTS.read_text()
    for name in OPTIONS:
        assert re.search(rf"\b{name.rpartition('.')[2]}:", text), name


def test_every_option_is_honored_or_named_as_not(imported):
    assert imported.code == 3
    beside = {"asns.as_sets", "password", "16bit_mapped_asn"}
    assert imported.honored | imported.missed.keys() == OPTIONS.keys() | beside


NOT_HONORED = {
    "communities.blackholing",  # std is announce_to_peer for AS 666
    "communities.prefix_validated_via_arin_whois_db_dump",
    "communities.prefix_validated_via_registrobr_whois_db_dump",
    "custom_options",
    "filtering.roles.local_role",
    "filtering.irrdb.use_arin_bulk_whois_data.enabled",
    "filtering.irrdb.use_arin_bulk_whois_data.source",
    "rpki_roas.allowed_trust_anchors",
    "rpki_roas.ignore_cache_files_older_than",
}
"""What no key of ours stands for."""


def test_what_is_not_honored(imported):
    assert imported.missed.keys() == NOT_HONORED


def test_communities(imported):
    config = imported.config()
    communities = config.communities
    assert communities.preset == "none"
    assert communities.rtt_thresholds == (5, 10, 20, 50, 100)
    names = {name.partition(".")[2] for name in OPTIONS if name.startswith("communities.")}
    assert communities.own.keys() == names - {"reject_cause_map"}
    assert {form: str(one) for form, one in communities.own["announce_to_peer"].forms()} == {
        "std": "rs_as:peer_as", "ext": "rt:rs_as:peer_as", "lrg": "rs_as:1:peer_as",
    }  # fmt: skip
    assert str(communities.own["prepend_once_to_any"].std) == "65501:rs_as"
    assert [form for form, _ in communities.own["blackholing"].forms()] == ["lrg"]
    assert "overlaps announce_to_peer" in imported.missed["communities.blackholing"]
    assert str(communities.own_causes[14].lrg) == "rs_as:1101:13"
    neighbors = imported.neighbors()
    assert (neighbors[NORTH4].mapped_asn, neighbors[OTHER].mapped_asn) == (None, 64512)
    assert [neighbors[a].rtt for a in (NORTH4, OTHER, PDB)] == [5, None, 120]


def test_black_holes_and_graceful_shutdown(imported):
    holes, neighbors = imported.config().blackhole, imported.neighbors()
    assert (holes.policy_ipv4, holes.policy_ipv6) == ("rewrite-next-hop", "propagate-unchanged")
    assert (holes.next_hop_ipv4, holes.next_hop_ipv6) == ("192.0.2.66", None)
    assert (holes.add_noexport, holes.receive) == (True, False)
    assert (neighbors[NORTH4].blackhole_receive, neighbors[OTHER].blackhole_receive) == (None, True)
    assert neighbors[NORTH4].filters.graceful_shutdown
    assert not neighbors[OTHER].filters.graceful_shutdown


def test_custom_communities_become_policies(imported):
    config, neighbors = imported.config(), imported.neighbors()
    assert config.policies.keys() == {"attach-colo_north", "attach-member_probono"}
    assert neighbors[OTHER].import_policy == ("attach-colo_north", "attach-member_probono")
    assert neighbors[NORTH4].import_policy == ()
    (term,) = config.policies["attach-colo_north"].terms
    assert len(term.add.communities) == 2
    assert not term.match.prefixes


def test_round_trip_times_are_measured_where_nobody_tells_them(tmp_path):
    cfg = "  communities: { announce_to_peers_with_rtt_lower_than: { lrg: 'rs_as:6:dyn_val' } }\n"
    assert Import(tmp_path, *write(tmp_path, cfg)).neighbors()[NORTH4].rtt == "measured"
    assert Import(tmp_path, *write(tmp_path)).neighbors()[NORTH4].rtt is None


def test_standard_communities_have_no_room_for_a_4_octet_route_server(tmp_path):
    general, clients = write(tmp_path, "  communities: { blackholing: { std: 'rs_as:666' } }\n")
    general.write_text(general.read_text().replace("64500", "4200000000"))
    found = Import(tmp_path, general, clients)
    assert "4200000000 does not fit in 16 bits" in found.output
    assert found.config().communities.own == {}


def test_what_is_honored_shows_in_the_loaded_configuration(imported):
    config, neighbors = imported.config(), imported.neighbors()
    router = config.router
    assert (router.asn, router.router_id) == (64500, "192.0.2.2")
    assert [str(one) for one in router.listen] == ["192.0.2.2:179"]
    assert config.api.socket == str(imported.folder / "rs.sock")
    assert list(neighbors) == [NORTH4, NORTH6, OTHER, PDB, LAST]
    north, other = neighbors[NORTH4], neighbors[OTHER]
    assert north.description == 'North "East" & Co.'
    assert (north.passive, north.ttl_security, north.multihop) == (False, True, 0)
    assert (other.passive, other.ttl_security, other.multihop) == (True, False, 3)
    assert (north.add_path, other.add_path) == (AddPath.SEND, AddPath.OFF)
    assert (north.extended_next_hop, neighbors[NORTH6].extended_next_hop) == (False, True)
    assert [len(neighbors[a].families) for a in (NORTH4, NORTH6, OTHER)] == [1, 2, 1]
    assert (north.prepend_own_as, other.prepend_own_as) == (True, False)
    assert north.honor_well_known
    assert (north.local_role, north.strict_role) == ("rs", True)
    assert (other.local_role, other.strict_role) == ("none", False)
    assert neighbors[LAST].local_role == "none"
    assert "provider" in imported.missed["filtering.roles.local_role"]
    assert (north.password, other.password) == (None, "sécret # 12")
    assert (imported.folder / "members.toml").stat().st_mode & 0o777 == 0o600


def test_rules_of_everybody(imported):
    rules = imported.neighbors()[NORTH4].filters
    assert rules.next_hop is NextHopRule.SAME_AS
    assert (rules.prefix_length_ipv4, rules.prefix_length_ipv6) == ((9, 25), (16, 64))
    assert rules.black_list == (("192.0.2.0/24", 24, 32), ("2001:db8:1:1::/64", 64, 64))
    assert rules.bogon_prefixes == (
        ("0.0.0.0/0", 0, 0), ("10.0.0.0/8", 8, 32), ("2001:db8::/32", 32, 128),
    )  # fmt: skip
    assert rules.max_as_path_length == 40
    assert rules.bogon_asns is False
    assert rules.ipv6_global_unicast_only
    assert rules.never_via_route_server_asns == ((64650, 64650), (65000, 65000), (65001, 65001))
    assert not rules.irr_enforce_origin
    assert not rules.irr_enforce_prefix
    assert rules.irr_allow_longer
    assert rules.roas_as_route_objects
    assert rules.rpki is RpkiRule.REJECT
    assert rules.transit_free_action == "warning"
    assert rules.transit_free_asns == tuple((n, n) for n in (174, 701, 1299, 2914))
    assert rules.reject_policy == "tag"
    assert (rules.max_prefix_action, rules.max_prefix_restart) == ("restart", 30)
    assert rules.max_prefix_count == "accepted"


def test_rules_of_one_client_over_those_of_everybody(imported):
    rules = imported.neighbors()[OTHER].filters
    assert rules.next_hop is NextHopRule.AUTHORIZED
    assert rules.next_hop_addresses == (OTHER, "192.0.2.13")
    assert (rules.prefix_length_ipv4, rules.prefix_length_ipv6) == ((8, 24), (12, 48))
    assert rules.neighbor_black_list == (("198.51.100.0/24", 24, 32), ("203.0.113.0/24", 25, 28))
    assert (rules.max_as_path_length, rules.bogon_asns) == (32, True)
    assert rules.irr_enforce_origin
    assert rules.irr_enforce_prefix
    assert rules.irr_white_list_prefixes == (("20.3.0.0/16", 16, 20),)
    assert rules.irr_white_list_asns == ((64611, 64611), (64612, 64612))
    assert rules.irr_white_list_routes == (
        ("20.1.0.0/16", 16, 32, 64610), ("20.2.0.0/16", 16, 16, None),
    )  # fmt: skip
    assert rules.reject_policy == "reject"
    assert rules.rpki is RpkiRule.OFF
    assert imported.neighbors()[LAST].filters.rpki is RpkiRule.OFF
    assert (rules.max_prefix_action, rules.max_prefix_restart) == ("block", 5)
    assert rules.max_prefix_count == "received"


def test_limits_by_priority(imported):
    found = {
        address: (one.filters.max_prefix_ipv4, one.filters.max_prefix_ipv6)
        for address, one in imported.neighbors().items()
    }
    assert found[NORTH4][0] == int((1000 + 50) * 1.1)
    assert found[NORTH6] == (int((1000 + 50) * 1.1), 9000)
    assert found[OTHER][0] == 500
    assert found[PDB] == (int((10 + 50) * 1.1), int((200 + 50) * 1.1))
    assert found[LAST][0] == 100_000


def test_as_sets_of_client_as_and_peeringdb(imported):
    config = imported.config()
    names = {n.address: n.filters.irr_prefixes for n in config.neighbors}
    assert names[NORTH4] == names[NORTH6] == "AS64601"
    assert all(n.filters.irr_origins == n.filters.irr_prefixes for n in config.neighbors)
    files = {
        name: sorted(file.name for file in one.files) for name, one in config.prefix_sets.items()
    }
    south = "RIPE::AS64601:AS-SOUTH"
    assert files["AS64601"] == sorted(
        f"{name}.{v}.json" for name in ("AS-NORTH", south, "AS64601") for v in (4, 6)
    )
    assert files["AS4200000001"] == ["AS-EAST.4.json", "AS4200000001.4.json"]
    assert files["AS64603"][:2] == ["AS64603.4.json", "AS64603.6.json"]
    assert files["AS64603"][2:] == ["RIPE::AS-PDB.4.json", "RIPE::AS-PDB.6.json"]
    assert files["AS64604"] == ["AS64604.4.json"]
    origins = config.as_sets["AS64601"]
    assert origins.asns == ((64601, 64601),)
    assert sorted(file.name for file in origins.files) == [
        "AS-NORTH.asns.json", f"{south}.asns.json",
    ]  # fmt: skip


def test_sets_load_before_and_after_they_are_fetched(imported, tmp_path):
    """Until the script has run the lists are empty, and nothing passes."""
    sets = load_sets(imported.config())
    assert (len(sets.prefixes["AS64601"]), len(sets.asns["AS64601"])) == (0, 1)
    calls = fetch(imported.folder, tmp_path)
    assert "-4 -j -l NN AS-NORTH" in calls
    assert "-6 -j -l NN -S RIPE AS64601:AS-SOUTH" in calls
    assert "-t -j -l NN AS-EAST" in calls
    assert not any("-t" in call and call.endswith("AS64601") for call in calls)
    assert len(calls) == len(set(calls))
    sets = load_sets(imported.config())
    assert len(sets.prefixes["AS64601"]) == 2  # as both families and all names give the same here
    assert 64700 in sets.asns["AS64601"]
    assert (
        imported.folder / "irr/vrps.json"
    ).read_text() == "from https://rpki.example.net/vrps.json\n"


BGPQ4 = """#!/bin/sh
echo "$@" >>"$CALLS"
case " $* " in
    *" $BROKEN "*) echo '{ "NN": [ { "prefix": "20.0' ; exit 1 ;;
    *" $EMPTY "*) echo '{ "NN": [ ] }' ;;
    *" -t "*) echo '{"NN": [ 64700, 64701 ]}' ;;
    *" -6 "*) echo '{ "NN": [ { "prefix": "2a00::/32", "exact": true } ] }' ;;
    *) echo '{ "NN": [ { "prefix": "20.0.0.0/16", "exact": true } ] }' ;;
esac
"""
CURL = '#!/bin/sh\nfor last; do :; done\n[ "$BROKEN" = curl ] && exit 22\necho "from $last" >"$5"\n'


def fetch(folder: Path, tmp_path: Path, *, code: int = 0, **env: str) -> list[str]:
    """Run the script with stand-ins for bgpq4 and curl; return how bgpq4 was called."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in (("bgpq4", BGPQ4), ("curl", CURL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.write_text("")
    values = {"BROKEN": "-", "EMPTY": "-", "CALLS": str(calls), **env}
    done = subprocess.run(
        [folder / "irr/fetch.sh"],
        env={**os.environ, **values, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert not list((folder / "irr").glob(".*.new"))
    fetch.said = done.stderr
    return calls.read_text().splitlines()


def test_what_cannot_be_fetched_leaves_the_old_list(imported, tmp_path):
    fetch(imported.folder, tmp_path)
    north = imported.folder / "irr/AS-NORTH.4.json"
    before = north.read_text()
    fetch(imported.folder, tmp_path, code=1, BROKEN="AS-NORTH")
    assert north.read_text() == before
    assert "AS-NORTH.4.json: bgpq4 -4 -j -l NN AS-NORTH failed; the old list stays" in fetch.said
    fetch(imported.folder, tmp_path, code=1, EMPTY="AS-NORTH")
    assert north.read_text() == before
    assert "the new list is empty" in fetch.said
    fetch(imported.folder, tmp_path, EMPTY="AS-NORTH", FORCE="1")
    assert "20.0.0.0" not in north.read_text()
    vrps = imported.folder / "irr/vrps.json"
    vrps.write_text("old")
    fetch(imported.folder, tmp_path, code=1, BROKEN="curl")
    assert vrps.read_text() == "old"


def test_importing_again_keeps_fetched_lists_and_refuses_other_files(tmp_path):
    files = write(tmp_path)
    first = Import(tmp_path, *files)
    assert first.code == 3  # PeeringDB
    fetch(first.folder, tmp_path)
    kept = (first.folder / "irr/AS64601.4.json").read_text()
    (first.folder / "local.d").mkdir()
    (first.folder / "local.d/collector.toml").write_text(
        '[[neighbors]]\naddress = "192.0.2.99"\nasn = 64999\n'
    )
    assert Import(tmp_path, *files).code == 3
    assert (first.folder / "irr/AS64601.4.json").read_text() == kept
    assert "192.0.2.99" in first.neighbors()
    (first.folder / "rs.toml").write_text("# mine\n")
    again = Import(tmp_path, *files)
    assert again.code == 1
    assert "was not written by an import" in again.output
    assert (first.folder / "rs.toml").read_text() == "# mine\n"
    assert Import(tmp_path, *files, "--force").code == 3


def test_rs_check_takes_the_result(imported):
    result = CliRunner().invoke(cli, ["check", str(imported.folder / "rs.toml")])
    assert result.exit_code == 0, result.output
    warnings = [line for line in result.output.splitlines() if line.startswith("warning")]
    # Only the RPKI data, which nobody has fetched here.
    assert all("irr/vrps.json" in line for line in warnings), warnings


def test_everything_honored_is_exit_code_0(tmp_path):
    cfg = "  filtering:\n    never_via_route_servers: { peering_db: False }\n"
    found = Import(tmp_path, *write(tmp_path, cfg))
    assert found.code == 0, found.output
    assert found.missed == {}


def test_defaults_of_arouteserver(tmp_path):
    found = Import(tmp_path, *write(tmp_path))
    assert list(found.missed) == ["filtering.never_via_route_servers.peering_db"]
    assert "ARouteServer's default" in found.missed.popitem()[1]
    (neighbor,) = found.config().neighbors
    rules = neighbor.filters
    assert neighbor.passive
    assert not neighbor.honor_well_known
    assert (rules.next_hop, rules.max_as_path_length) == ("strict", 32)
    assert (rules.prefix_length_ipv4, rules.prefix_length_ipv6) == ((8, 24), (12, 48))
    assert rules.bogon_asns is rules.bogon_prefixes is True
    assert rules.transit_free_asns is False  # without an action nothing is done about them
    assert rules.irr_enforce_origin
    assert rules.irr_enforce_prefix
    assert (rules.rpki, rules.max_prefix_ipv4) == ("off", 0)


def test_transit_free_networks(tmp_path):
    cfg = "  filtering: { transit_free: { action: reject } }\n"
    assert (
        Import(tmp_path, *write(tmp_path, cfg)).neighbors()[NORTH4].filters.transit_free_asns
        is True
    )


def test_several_router_ids(tmp_path):
    files = write(tmp_path)
    text = files[0].read_text()
    files[0].write_text(text.replace("192.0.2.2", "[192.0.2.2, 192.0.2.3]"))
    assert Import(tmp_path, *files).config().router.router_id == "192.0.2.2"
    chosen = Import(tmp_path, *files, "--router-id", "192.0.2.3")
    assert chosen.config().router.router_id == "192.0.2.3"
    wrong = Import(tmp_path, *files, "--router-id", "192.0.2.4")
    assert wrong.code == 2
    assert "want one of 192.0.2.2, 192.0.2.3" in wrong.output


RPKI = "  filtering: { rpki_bgp_origin_validation: { enabled: True } }\n"


def test_rpki_by_rtr(tmp_path):
    files = write(tmp_path, f"{RPKI}  rpki_roas: {{ source: rtr }}\n")
    without = Import(tmp_path, *files)
    assert "--rtr" in without.missed["rpki_roas.source"]
    found = Import(tmp_path, *files, "--rtr", "127.0.0.1:3323", "--rtr", "rpki.example.net:323")
    assert "rpki_roas.source" in found.honored
    caches = [(one.host, one.port) for one in found.config().rpki.caches]
    assert caches == [("127.0.0.1", 3323), ("rpki.example.net", 323)]


def test_rpki_by_a_local_file(tmp_path):
    roas = "  rpki_roas: { ripe_rpki_validator_url: [/var/lib/a.json] }\n"
    found = Import(tmp_path, *write(tmp_path, RPKI + roas))
    assert [str(file) for file in found.config().rpki.files] == ["/var/lib/a.json"]


FAULTS = [
    ("  pasive: True\n", "", 'general.yml: cfg.pasive (line 4): unknown option; did you mean "passive"?'),
    ("  passive: maybe\n", "", "general.yml: cfg.passive (line 4): "),
    ("  filtering:\n    max_as_path_len: x\n", "", "cfg.filtering.max_as_path_len (line 5): "),
    ("  filtering:\n    ipv4_pref_len: { min: 24, max: 8 }\n", "", "(line 5): min 24 is above max 8"),
    ("  filtering:\n    black_list_pref: []\n", "", "(line 5): is an option of clients.yml"),
    ("", "    cfg:\n      path_hiding: False\n", "clients[0].cfg.path_hiding (line 5): is an option of general.yml"),
    ("", "    cfg:\n      filtering:\n        irrdb: { as_sets: [FOO] }\n", "as_sets[0] (line 6): "),
    ("", "  - asn: 5\n    ip: 192.0.2.11\n", "clients[1].ip (line 5): 192.0.2.11 is there twice"),
    ("", "  - ip: 192.0.2.12\n", "clients[1] (line 4): no asn"),
    ("", "  - asn: AS0\n    ip: 192.0.2.12\n", "clients[1].asn (line 4): "),
    ("", "  - asn: 5\n    ip: example.net\n", "clients[1].ip (line 5): "),
    ("", "    nickname: x\n", "clients[0].nickname (line 4): unknown key"),
    ("", "    cfg: { filtering: { next_hop: { policy: authorized_addresses } } }\n", "authorized_addresses_list"),
    ("", "    cfg: { attach_custom_communities: [a] }\n", 'clients[0].cfg.attach_custom_communities (line 4): "a"'),
    ("", "    16bit_mapped_asn: 5\n", "clients[0].16bit_mapped_asn (line 4): "),
    ("  communities: { blackholing: { std: '1:2:3' } }\n", "", "blackholing.std (line 4): "),
    ("  custom_communities: { blackholing: { std: '1:2' } }\n", "", "is the name of a built-in community"),
    ("  custom_communities: { a: { std: '65536:2' } }\n", "", 'a.std (line 4): "65536:2" does not fit'),
    ("  custom_communities: { a: { lrg: 'rs_as:1:peer_as' } }\n", "", "a.lrg (line 4): "),
    ("  rtt_thresholds: 70000\n", "", "cfg.rtt_thresholds (line 4): "),
    ("", f"    password: {'x' * 81}\n", "clients[0].password (line 4): the value (not shown)"),
    ("", "    16bit_mapped_asn: 64512\n  - { asn: 64512, ip: 192.0.2.12 }\n", "64512 is a client's AS number"),
    ("  rtt_thresholds: 10, 5\n", "", "cfg.rtt_thresholds (line 4): not in ascending order"),
    ("  blackhole_filtering: { policy_ipv4: rewrite-next-hop }\n", "", "rewrite_next_hop_ipv4"),
]  # fmt: skip


@pytest.mark.parametrize(("cfg", "client", "words"), FAULTS, ids=[words for _, _, words in FAULTS])
def test_faults_name_file_line_and_key(tmp_path, cfg, client, words):
    found = Import(tmp_path, *write(tmp_path, cfg, client))
    assert found.code == 2
    assert words in found.output
    assert "1 problem\n" in found.output
    assert not found.folder.exists()


def test_all_faults_are_told_at_once(tmp_path):
    found = Import(tmp_path, *write(tmp_path, "  pasive: 1\n  gtsm: 3\n", "    cfg: { gtsm: 4 }\n"))
    assert "3 problems" in found.output


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--peeringdb", "{}", 'want {"data": [...]}'),
        ("--peeringdb", '[{"name": "x"}]', "data[0]: no asn"),
        ("--peeringdb", "[", "not JSON"),
        ("--rtt", "192.0.2.1\n", "line 1: '192.0.2.1': want an address and milliseconds"),
        ("--rtt", "# a\nx 5\n", "line 2: 'x 5'"),
        ("--rtt", "192.0.2.1 -1\n", "line 1"),
        ("--bogons", "a: []\n", "unknown key"),
        ("--bogons", "bogons:\n- {prefix: 10.0.0.1, length: 8}\n", "bogons[0].prefix (line 2): "),
    ],
)
def test_faults_of_other_files(tmp_path, option, text, words):
    (tmp_path / "other").write_text(text)
    found = Import(tmp_path, *write(tmp_path), option, tmp_path / "other")
    assert found.code == 2
    assert f"{tmp_path / 'other'}: " in found.output
    assert words in found.output


def test_as_sets_of_peeringdb_in_the_forms_people_write():
    assert peeringdb_as_sets("RIPE::AS-FOO, AS-BAR") == ("RIPE::AS-FOO", "AS-BAR")
    assert peeringdb_as_sets("as-foo@radb") == ("RADB::AS-FOO",)
    assert peeringdb_as_sets("n/a") == ()


def test_the_clients_of_a_large_exchange(tmp_path):
    members = data_file("ixp-members.ams-ix.2017.yml")
    general, _ = write(tmp_path, "  filtering: { max_prefix: { action: shutdown } }\n")
    found = Import(tmp_path, general, members)
    assert found.code == 3, found.output[-500:]
    config = found.config()
    assert len(config.neighbors) == 898 + 762
    assert config.neighbors[0].filters.max_prefix_ipv4 == 5000
    load_sets(config)


def test_custom_communities_of_all_kinds(tmp_path):
    custom = "{ 'a b': { std: '1:1', ext: 'ro:rs_as:7' }, a_b: { lrg: 'rs_as:1:2' }, empty: {} }"
    cfg = f"  custom_communities: {custom}\n"
    client = "    cfg: { attach_custom_communities: ['a b', a_b, empty] }\n"
    found = Import(tmp_path, *write(tmp_path, cfg, client))
    names = found.neighbors()[NORTH4].import_policy
    assert names == ("attach-a.20b", "attach-a_b")
    policies = found.config().policies
    assert [len(policies[name].terms[0].add.communities) for name in names] == [2, 1]
    empty = Import(tmp_path, *write(tmp_path, cfg, client.replace("'a b', a_b, ", "")))
    assert empty.neighbors()[NORTH4].import_policy == ()


def test_custom_communities_that_our_as_number_does_not_fit_into(tmp_path):
    cfg = "  custom_communities: { a: { std: 'rs_as:1', lrg: 'rs_as:1:2' } }\n"
    general, clients = write(tmp_path, cfg, "    cfg: { attach_custom_communities: [a] }\n")
    general.write_text(general.read_text().replace("64500", "4200000000"))
    found = Import(tmp_path, general, clients)
    assert "4200000000:1" in found.missed["custom_communities"]
    assert len(found.config().policies["attach-a"].terms[0].add.communities) == 1


WORDS = (
    *("", "~", "[]", "{}", "x", "-1", "0", "1", "33", "65536", "4200000000", "True", "[1, {a: b}]"),
    *("rs_as:1", "70000:1", "0:peer_as", "rt:70000:70000", "rs_as:0:dyn_val", "AS64601", "AS-X"),
    *(
        "192.0.2.11",
        "::/0",
        "fe80::1",
        "'",
        "&a",
        "*a",
        "!include general.yml",
        "!!python/name:x y",
    ),
    *("${HOME}", "${", "\t", "a: b: c", "- 1", "é", "10, 20", "'" + "x" * 300 + "'"),
)


def mangled(rng: random.Random, lines: list[str]) -> str:
    """Return a file with a fault or two, most of them plausible ones."""
    lines = list(lines)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match rng.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                lines[at] = lines[at][: rng.randint(0, len(lines[at]))]
            case _ if colon:
                lines[at] = f"{key}: {rng.choice(WORDS)}"
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_files_hold_it_is_told_in_words_or_it_loads(tmp_path, seed):
    rng = random.Random(seed)
    files = {name: (SAMPLES / name).read_text().splitlines() for name in
             ("general.yml", "filtering.yml", "clients.yml", "bogons.yml")}  # fmt: skip
    broken = rng.choice(list(files))
    for name, lines in files.items():
        text = mangled(rng, lines) if name == broken else "\n".join(lines) + "\n"
        (tmp_path / name).write_text(text)
    found = Import(
        tmp_path, *(tmp_path / f"{name}.yml" for name in ("general", "clients")),
        "--bogons", tmp_path / "bogons.yml",
    )  # fmt: skip
    assert found.code in {2, 3}, (seed, broken, found.output, found.result.exception)
    if found.code == 3:
        load_sets(found.config())
