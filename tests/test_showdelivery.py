"""Why a neighbor has a path, or why not: every reason there is, by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rs
from rs import reload, showroutes
from rs.configfile import load_config
from rs.iana import AddPathMode, Family
from rs.reasons import Withheld
from rs.show import parse_target
from rs.showdelivery import WORDS, withheld_label
from rs.startup import Before
from tests.deliverykit import (
    I1,
    I2,
    PLAIN,
    REFLECTOR,
    A,
    B,
    C,
    P,
    keys,
    lab_of,
    look,
    only,
    three,
    withheld,
)
from tests.routerkit import Lab, communities, large_communities
from tests.updatekit import OPTIONAL, TRANSITIVE, attr


class TestNumbers:
    def test_they_are_those_of_the_fast_path(self):
        text = (Path(rs.__file__).parent / "_fastpath" / "adjout.pxd").read_text()
        found = [int(n) for n in re.findall(r"^    W_\w+ = (\d+)", text, re.MULTILINE)]
        assert found == [int(reason) for reason in Withheld]

    def test_each_has_its_words(self):
        of_paths = {
            Withheld.NOT, Withheld.REJECTED, Withheld.POLICY, Withheld.COMMUNITY,
            Withheld.NO_EXPORT, Withheld.NO_ADVERTISE, Withheld.ROLE, Withheld.AS_LOOP,
            Withheld.BETTER_PATH, Withheld.LIMIT,
        }  # fmt: skip
        assert set(WORDS) == set(Withheld) - of_paths
        assert withheld_label(Withheld.AS_LOOP) == "as-loop"


class TestSent:
    def test_sent(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P, more=communities("64500:65002"))
        lab.settle()
        found = only(lab, B)
        assert (found["state"], found["reason"], found["why"]) == ("sent", None, "sent")
        assert "communities" not in found["attributes"]

    def test_own(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P)
        lab.settle()
        assert withheld(lab, A, "own")["why"] == "it is its own"

    def test_a_better_one(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P)
        lab.announce(B, P, path=(65002, 1))
        lab.settle()
        route, paths = look(lab, C)
        assert (route["state"], route["why"]) == ("sent", "sent")
        assert paths[A]["state"] == "sent"
        assert paths[B] == {
            "state": "withheld",
            "reason": "better-path",
            "why": f"a better one is due, of {A}",
        }

    def test_the_next_best_instead(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P, more=communities("0:65003"))
        lab.announce(B, P, path=(65002, 1))
        lab.settle()
        route, paths = look(lab, C)
        assert route["state"] == "sent"
        assert paths[A]["reason"] == "community"
        assert (paths[B]["state"], paths[B]["why"]) == ("sent", "sent; a better one is withheld")

    def test_with_informational_communities(self, tmp_path):
        """What is added to all routes does not hide which path they came from."""
        lab = three(tmp_path, more='[communities]\npreset = "euro-ix"\n')
        lab.announce(A, P)
        lab.settle()
        found = only(lab, B)
        assert found["state"] == "sent"
        assert "large_communities" in found["attributes"]
        (found,) = showroutes.route(lab.router, parse_target(P), "exact", 0, names=True)
        assert found["paths"][0]["members"] == [B, C]

    def test_prepended_for_some(self, tmp_path):
        lab = three(tmp_path, more='[communities]\npreset = "euro-ix"\n')
        lab.announce(A, P, more=large_communities("64500:101:65002"))
        lab.settle()
        (found,) = showroutes.route(lab.router, parse_target(P), "exact", 0, names=True)
        assert found["paths"][0]["members"] == [B, C]
        assert only(lab, B)["attributes"]["as_path"] == [65001, 65001]
        assert only(lab, C)["attributes"]["as_path"] == [65001]


class TestImport:
    def test_rejected(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P, path=(65009,))
        lab.settle()
        route, paths = look(lab, B)
        assert (route["state"], route["reason"], route["why"]) == (
            "withheld",
            "no-usable-path",
            "no path can be used",
        )
        assert paths[A]["reason"] == "rejected"
        assert paths[A]["why"].startswith("rejected: AS_PATH does not begin with the neighbor's AS")
        assert look(lab, A)[1][A]["reason"] == "own"

    def test_rejected_by_policy(self, tmp_path):
        text = '[[policies.in.terms]]\nname = "no"\naction = "reject"\n'
        lab = lab_of(tmp_path, keys(A, 65001, 'import_policy = "in"'), f"{B} 65002", more=text)
        lab.up(A, B)
        lab.announce(A, P)
        lab.settle()
        assert look(lab, B)[1][A]["why"] == 'rejected: refused by policy "in", term "no"'

    def test_unreachable(self, tmp_path):
        lab = three(tmp_path, more='[[igp]]\nprefix = "10.1.0.0/24"\nmetric = 5\n')
        lab.announce(A, P, hop="192.0.2.77")
        lab.settle()
        route, paths = look(lab, B)
        assert (route["reason"], paths[A]["reason"]) == ("no-usable-path", "unreachable")


class TestMembers:
    def test_as_loop(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P, path=(65001, 65003))
        lab.settle()
        assert withheld(lab, C, "as-loop")["why"] == "AS65003, the neighbor's AS, is in AS_PATH"
        assert only(lab, B)["state"] == "sent"

    @pytest.mark.parametrize(
        ("tags", "text", "name"),
        [
            (communities("0:65003", "0:64500"), "0:65003", "do_not_announce_to_peer"),
            (communities("0:64500"), "0:64500", "do_not_announce_to_any"),
            (communities("64500:65002", "0:64500"), "0:64500", "do_not_announce_to_any"),
            (large_communities("64500:0:65003"), "64500:0:65003", "do_not_announce_to_peer"),
            (
                communities("0:65002", "0:64500") + large_communities("64500:0:65003"),
                "64500:0:65003",
                "do_not_announce_to_peer",
            ),
        ],
    )
    def test_community(self, tmp_path, tags, text, name):
        lab = three(tmp_path)
        lab.announce(A, P, more=tags)
        lab.settle()
        found = withheld(lab, C, "community")
        assert (found["community"], found["why"]) == (text, f"community {text}: {name}")

    def test_community_by_round_trip_time(self, tmp_path):
        lab = lab_of(
            tmp_path,
            f"{A} 65001",
            keys(B, 65002, "rtt = 7"),
            keys(C, 65003, "rtt = 90"),
            more='[communities.do_not_announce_to_peers_with_rtt_higher_than]\nstd = "60:dyn_val"\n'
            '[communities.do_not_announce_to_peers_with_rtt_lower_than]\nstd = "61:dyn_val"\n',
        )
        lab.up(A, B, C)
        lab.announce(A, P, more=communities("60:50", "60:100", "61:5"))
        lab.settle()
        found = withheld(lab, C, "community")
        assert found["why"] == "community 60:50: do_not_announce_to_peers_with_rtt_higher_than"
        assert only(lab, B)["state"] == "sent"

    def test_loop_before_community_before_others(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P, path=(65001, 65003), more=communities("0:65003"))
        lab.announce(A, "21.0.0.0/8", path=(65001, 65001), more=communities("0:65001"))
        lab.settle()
        withheld(lab, C, "as-loop")
        withheld(lab, A, "own", "21.0.0.0/8")

    def test_black_hole(self, tmp_path):
        lab = lab_of(
            tmp_path,
            f"{A} 65001",
            keys(B, 65002, "blackhole_receive = false"),
            keys(C, 65003),
            more='[blackhole]\npolicy_ipv4 = "propagate-unchanged"\n',
        )
        lab.up(A, B, C)
        lab.announce(A, "20.0.0.1/32", more=communities("65535:666"))
        lab.settle()
        assert only(lab, C, "20.0.0.1/32")["state"] == "sent"
        assert "accepts none" in withheld(lab, B, "black-hole", "20.0.0.1/32")["why"]

    def test_long_lived_stale(self, tmp_path):
        lab = lab_of(tmp_path, keys(A, 65001, "long_lived_stale_time = 300"), f"{B} 65002")
        lab.up(A, B)
        lab.announce(A, P, more=communities("65535:6"))
        lab.settle()
        assert "RFC 9494" in withheld(lab, B, "llgr-stale")["why"]


class TestPrograms:
    def plain(self, tmp_path, more=PLAIN) -> Lab:
        lab = lab_of(tmp_path, f"{A} 65001", keys(B, 65002, more), f"{C} 65003")
        lab.up(A, B, C)
        return lab

    @pytest.mark.parametrize(
        ("value", "reason", "name"),
        [
            ("65535:65281", "no-export", "no-export"),
            ("65535:65283", "no-export", "no-export-subconfed"),
            ("65535:65282", "no-advertise", "no-advertise"),
        ],
    )
    def test_well_known(self, tmp_path, value, reason, name):
        lab = self.plain(tmp_path)
        lab.announce(A, P, more=communities(value))
        lab.settle()
        found = withheld(lab, B, reason)
        assert found["community"] == value
        assert found["why"] == (
            f"community {value}: {name}, which honor_well_known obeys (RFC 1997)"
        )
        assert only(lab, C)["state"] == "sent"

    def test_no_export_policy(self, tmp_path):
        lab = self.plain(tmp_path, "\nroute_server_client = false")
        lab.announce(A, P)
        lab.settle()
        assert "RFC 8212" in withheld(lab, B, "no-export-policy")["why"]

    def test_role(self, tmp_path):
        lab = lab_of(
            tmp_path,
            keys(A, 65001, PLAIN + '\nlocal_role = "customer"'),
            keys(B, 65002, PLAIN + '\nlocal_role = "peer"'),
            keys(C, 65003, PLAIN + '\nlocal_role = "provider"'),
        )
        lab.up(A, B, C)
        lab.announce(A, P)
        lab.announce(C, "21.0.0.0/8", more=attr(OPTIONAL | TRANSITIVE, 35, b"\0\0\xfd\xeb"))
        lab.announce(A, "22.0.0.0/8", more=attr(OPTIONAL | TRANSITIVE, 35, b"\0\0\xfd\xe9"))
        lab.settle()
        why = withheld(lab, B, "role")["why"]
        assert why == "it came from a provider, and the neighbor is no customer (RFC 9234)"
        why = withheld(lab, B, "role", "22.0.0.0/8")["why"]
        assert why == "it has ONLY_TO_CUSTOMER 65001, and the neighbor is no customer (RFC 9234)"
        assert only(lab, C)["state"] == "sent"

    def reflector(self, tmp_path, one="", two="", three="") -> Lab:
        lab = lab_of(
            tmp_path,
            keys(I1, 64500, one),
            keys(I2, 64500, two),
            keys(C, 64500, three),
            head=REFLECTOR,
        )
        lab.up(I1, I2, C)
        return lab

    def test_non_clients(self, tmp_path):
        lab = self.reflector(
            tmp_path,
            "route_reflector_client = false",
            "route_reflector_client = false",
            "route_reflector_client = true",
        )
        lab.announce(I1, P, path=(1,))
        lab.settle()
        assert "RFC 4456" in withheld(lab, I2, "non-client")["why"]
        assert only(lab, C)["state"] == "sent"

    def test_client_to_client(self, tmp_path):
        client = "route_reflector_client = true"
        lab = self.reflector(tmp_path, client, f"{client}\nclient_to_client = false", client)
        lab.announce(I1, P, path=(1,))
        lab.settle()
        assert "client_to_client" in withheld(lab, I2, "client-to-client")["why"]
        assert only(lab, C)["state"] == "sent"

    def test_the_best_or_nothing(self, tmp_path):
        client = "route_reflector_client = true"
        lab = self.reflector(tmp_path, client, client, client)
        lab.announce(I1, P, path=(1,))
        lab.announce(I2, P, path=(1, 2))
        lab.settle()
        route, paths = look(lab, I1)
        assert (route["state"], route["reason"]) == ("withheld", "own")
        assert paths[I1]["reason"] == "own"
        assert paths[I2]["reason"] == "not-best"
        _, paths = look(lab, C)
        assert (paths[I1]["state"], paths[I2]["reason"]) == ("sent", "better-path")

    def test_ranked_by_a_group(self, tmp_path):
        """With RFC 9107 it is the ranking for the neighbor that counts."""
        client = "route_reflector_client = true"
        lab = lab_of(
            tmp_path,
            keys(I1, 64500, client),
            keys(I2, 64500, client),
            keys(C, 64500, f'{client}\norr = "far"'),
            head=REFLECTOR,
            more='[[igp]]\nprefix = "10.1.0.3/32"\nmetric = 1\n'
            '[[igp]]\nprefix = "10.1.0.8/32"\nmetric = 1\n'
            '[[igp]]\nprefix = "10.1.0.9/32"\nmetric = 9\n'
            '[[orr]]\nname = "far"\nmetrics = { "10.1.0.8/32" = 9, "10.1.0.9/32" = 1 }\n',
        )
        lab.up(I1, I2, C)
        lab.announce(I1, P, path=(1,))
        lab.announce(I2, P, path=(1,))
        lab.announce(I2, "21.0.0.0/8", path=(1,), hop="10.1.0.3")
        lab.announce(I2, "22.0.0.0/8", path=(1,), hop="192.0.2.1")
        lab.settle()
        route, paths = look(lab, C)
        assert route["state"] == "sent"
        assert (paths[I2]["state"], paths[I1]["reason"]) == ("sent", "better-path")
        found = look(lab, C, "21.0.0.0/8")[1][I2]
        assert found["reason"] == "unreachable"
        assert found["why"] == "its next hop is unreachable for the group far of [[orr]]"
        assert look(lab, I1, "21.0.0.0/8")[1][I2]["state"] == "sent"
        found = look(lab, C, "22.0.0.0/8")[1][I2]
        assert found["why"] == "its next hop is unreachable"


POLICY = """
[policies.to-b]
default = "accept"
[[policies.to-b.terms]]
name = "not-these"
match = { communities = "1:1" }
action = "reject"
reason = "they asked for it"
[[policies.to-b.terms]]
match = { from = 65003 }
action = "reject"
"""


class TestPolicy:
    def lab(self, tmp_path, policy='"to-b"', text=POLICY) -> Lab:
        lab = lab_of(
            tmp_path,
            f"{A} 65001",
            keys(B, 65002, f"export_policy = {policy}"),
            f"{C} 65003",
            more=text,
        )
        lab.up(A, B, C)
        return lab

    def test_the_term_is_named(self, tmp_path):
        lab = self.lab(tmp_path)
        lab.announce(A, P, more=communities("1:1"))
        lab.announce(C, "21.0.0.0/8")
        lab.announce(A, "22.0.0.0/8")
        lab.settle()
        found = withheld(lab, B, "policy")
        assert (found["policy"], found["term"]) == ("to-b", "not-these")
        assert found["why"] == (
            'refused by export policy "to-b", term "not-these": they asked for it'
        )
        found = withheld(lab, B, "policy", "21.0.0.0/8")
        assert (found["policy"], found["term"]) == ("to-b", "2")
        assert only(lab, B, "22.0.0.0/8")["state"] == "sent"
        assert only(lab, C)["state"] == "sent"

    def test_what_a_policy_says_of_the_rest(self, tmp_path):
        text = '[policies.rest]\ndefault = "reject"\n'
        lab = self.lab(tmp_path, '"rest"', text)
        lab.announce(A, P)
        lab.settle()
        found = withheld(lab, B, "policy")
        assert (found["policy"], found["term"]) == ("rest", "default")

    def test_the_next_best_passes(self, tmp_path):
        lab = self.lab(tmp_path)
        lab.announce(A, P, more=communities("1:1"))
        lab.announce(C, "20.0.0.0/8", path=(65003, 1))
        lab.settle()
        _, paths = look(lab, B)
        assert paths[A]["term"] == "not-these"
        assert paths[C]["term"] == "2"

    def test_a_changed_policy(self, tmp_path):
        """Before it is done what follows from it, and after."""
        lab = self.lab(tmp_path)
        lab.announce(A, P)
        lab.settle()
        assert only(lab, B)["state"] == "sent"
        path = tmp_path / "rs.toml"
        path.write_text(path.read_text().replace('communities = "1:1"', "as_path_length = 1"))
        reload.apply(lab.router, load_config(path))
        lab.settle()
        assert withheld(lab, B, "policy")["term"] == "not-these"

    def test_what_makes_it_too_long(self, tmp_path):
        values = ", ".join(f'"1:{n}:7"' for n in range(2000))
        text = f"""
[[policies.much.terms]]
add = {{ communities = [{values}] }}
"""
        many = "".join(f"{i:08x}{1:08x}{i:08x}" for i in range(4000))
        lab = self.lab(tmp_path, '"much"', text)
        big = attr(OPTIONAL | TRANSITIVE, 32, bytes.fromhex(many))
        lab.announce(A, P, more=big)
        lab.settle()
        assert only(lab, B)["reason"] == "too-long"


class TestAddPath:
    def lab(self, tmp_path, more="", **up) -> Lab:
        lab = lab_of(
            tmp_path,
            f"{A} 65001",
            f"{B} 65002",
            keys(C, 65003, f'add_path = "send"\n{more}'),
            f"{I1} 65001",
        )
        lab.up(A, B, I1)
        lab.up(C, addpath=dict.fromkeys(Family, AddPathMode.RECEIVE), **up)
        lab.announce(A, P)
        lab.announce(B, P, path=(65002, 1))
        lab.announce(I1, P, path=(65001, 2, 3))
        lab.settle()
        return lab

    def test_all(self, tmp_path):
        route, paths = look(self.lab(tmp_path), C)
        assert route["state"] == "sent"
        assert {path["state"] for path in paths.values()} == {"sent"}

    @pytest.mark.parametrize("said", [0, 1])
    def test_limit(self, tmp_path, said):
        if said:
            lab = self.lab(tmp_path, paths_limit=dict.fromkeys(Family, 2))
        else:
            lab = self.lab(tmp_path, "add_path_limit = 2")
        _, paths = look(lab, C)
        assert [path["state"] for path in paths.values()] == ["sent", "sent", "withheld"]
        assert paths[I1]["reason"] == "limit"
        assert paths[I1]["why"] == "the neighbor gets at most 2 paths of a prefix"

    def test_one_of_each_as(self, tmp_path):
        _, paths = look(self.lab(tmp_path, 'add_path_send = "best-per-as"'), C)
        assert paths[I1]["reason"] == "same-as"
        assert paths[B]["state"] == "sent"

    def test_equal(self, tmp_path):
        _, paths = look(self.lab(tmp_path, 'add_path_send = "equal"'), C)
        assert [path["reason"] for path in paths.values()] == [None, "not-equal", "not-equal"]


class TestSession:
    def test_down(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P)
        lab.down(B, "connection reset")
        lab.settle()
        found = withheld(lab, B, "session-down")
        assert re.fullmatch(
            r"its session is (Idle|Active|Connect): .*connection reset.*", found["why"]
        )

    def test_never_up(self, tmp_path):
        lab = lab_of(tmp_path, f"{A} 65001", keys(B, 65002, "enabled = false"))
        lab.up(A)
        lab.announce(A, P)
        lab.settle()
        assert withheld(lab, B, "session-down")["why"] == "its session is Idle, shut down"

    def test_family(self, tmp_path):
        lab = lab_of(
            tmp_path,
            f"{A} 65001",
            keys(B, 65002, 'families = ["ipv6-unicast"]'),
            f"{C} 65003",
        )
        lab.up(A)
        lab.up(B, C, families=(Family.IPV6_UNICAST,))
        lab.announce(A, P)
        lab.settle()
        why = withheld(lab, B, "family")["why"]
        assert why == "ipv4-unicast is not configured for it"
        assert withheld(lab, C, "family")["why"] == "it has not agreed to ipv4-unicast"

    def test_held_back_after_a_start(self, tmp_path):
        lab = lab_of(
            tmp_path, f"{A} 65001", f"{B} 65002", f"{C} 65003", before=Before(frozenset((A, B, C)))
        )
        lab.up(A, B)
        lab.announce(A, P)
        lab.settle()
        found = only(lab, B)
        assert (found["state"], found["reason"]) == ("waiting", "held-back")
        assert found["why"].endswith(f"for {C}")


class TestOnItsWay:
    def test_about_to_be_sent(self, tmp_path):
        lab = three(tmp_path)
        lab.settle()
        lab.announce(A, P)
        found = only(lab, B)
        assert (found["state"], found["reason"]) == ("waiting", "changing")
        lab.settle()
        assert only(lab, B)["state"] == "sent"

    def test_not_read_yet(self, tmp_path):
        lab = three(tmp_path)
        lab.settle()
        lab.announce(A, P)
        lab.router.scheduler.run(8.0, lambda: 0.0)
        found = only(lab, B)
        assert (found["state"], found["reason"]) == ("sending", "backlog")
        assert re.fullmatch(r"on its way: \d+ octets are not read yet", found["why"])

    def test_the_table_is_being_sent(self, tmp_path):
        lab = lab_of(tmp_path, f"{A} 65001", f"{B} 65002", f"{C} 65003")
        lab.up(A, C)
        lab.announce(A, P)
        lab.settle()
        lab.up(B)
        found = only(lab, B)
        assert (found["state"], found["reason"]) == ("waiting", "table")
        lab.settle()
        assert only(lab, B)["state"] == "sent"

    def test_fallen_behind(self, tmp_path):
        lab = three(tmp_path)
        lab.settle()
        (group,) = lab.router.exporter.views[0][0].groups
        group.log_bound = 1
        for i in range(256):
            hosts = [f"20.1.{i}.{k}/32" for k in range(256)]
            lab.announce(A, *hosts, "20.1.1.0/24", more=communities(f"1:{i}"))
            lab.router.scheduler.run(8.0, lambda: 0.0)
            lab.peer(A).conn.outbox.take()
            lab.peer(C).conn.outbox.take()
            lab.router.exporter.enforce()
        assert group.n_resync
        found = only(lab, B, "20.1.1.0/24")
        assert (found["state"], found["reason"]) == ("waiting", "behind")
        lab.settle()
        assert only(lab, B, "20.1.1.0/24")["state"] == "sent"

    def test_about_to_be_withdrawn(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(A, P)
        lab.announce(B, P, path=(65002, 1))
        lab.settle()
        lab.announce(B, P)
        lab.announce(A, P, path=(65001, 1, 2))
        route, paths = look(lab, C)
        assert (paths[B]["state"], paths[B]["reason"]) == ("waiting", "changing")
        assert paths[A]["state"] == "withheld"  # what is out there is another form of it
        assert route["state"] == "waiting"
        lab.settle()
        lab.withdraw(B, P)
        lab.announce(A, P, path=(65001, 65003))
        route, _ = look(lab, C)
        assert (route["state"], route["reason"]) == ("withdrawing", "as-loop")
        lab.settle()
        withheld(lab, C, "as-loop")

    def test_a_path_that_must_give_way(self, tmp_path):
        lab = three(tmp_path)
        lab.announce(B, P, path=(65002, 1))
        lab.settle()
        lab.announce(A, P)
        route, paths = look(lab, C)
        assert paths[B]["state"] == "withdrawing"
        assert paths[B]["why"] == f"about to be withdrawn: a better one is due, of {A}"
        assert route["state"] == "waiting"
