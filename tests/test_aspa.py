"""ASPA path verification as an import rule: by role, against the model, and judged again in place."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from rs._fastpath.asnset import AsnSet
from rs._fastpath.walks import find_ases
from rs.config import LocalRole, Role
from rs.configfile import load_config
from rs.filterconfig import AspaRule, Filters
from rs.iana import RejectReason
from rs.showroutes import Glance
from tests.farends import SEQ, V4, Speaker, make_config, make_neighbor, make_router
from tests.reference import rpki as model
from tests.routers import Lab

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER, CUSTOMER, PEER, SERVER, NONE = (f"10.1.0.{i}" for i in range(1, 6))
OURS = {
    PROVIDER: LocalRole.CUSTOMER,
    CUSTOMER: LocalRole.PROVIDER,
    PEER: LocalRole.PEER,
    SERVER: LocalRole.RS_CLIENT,
    NONE: LocalRole.NONE,
}
REJECT = Filters(aspa=AspaRule.REJECT_INVALID)


class Bed:
    """A router with neighbors by role; all of them have the rule."""

    def __init__(
        self,
        rule: Filters = REJECT,
        *,
        role: Role = Role.ROUTE_REFLECTOR,
        ours: dict[str, LocalRole] = OURS,
    ) -> None:
        section = make_router(role=role)
        self.asns = {address: i for i, address in enumerate(ours, 1)}
        neighbors = [
            make_neighbor(
                section, self.asns[a], address=a, local_role=r, filters=rule, first_as_check=False
            )
            for a, r in ours.items()
        ]
        self.lab = Lab(make_config(section, neighbors), oracle=False)
        self.router = self.lab.router
        self.speakers = {
            a: self.lab.up(Speaker(a, asn, f"10.2.0.{asn}")) for a, asn in self.asns.items()
        }
        self.router.rpki_changed(None, set(), True)
        self.lab.settle()
        self.paths: dict[tuple[str, str], tuple[int, ...]] = {}

    def aspas(self, announced: dict[int, set[int]], withdrawn: set[int] = frozenset()) -> set[int]:
        """Change ASPAs as a publisher would; return the customers whose providers changed."""
        customers: set[int] = self.router.aspas.apply(announced, withdrawn)
        self.router.rpki_changed([], customers, True)
        self.lab.settle()
        return customers

    def announce(self, source: str, prefix: str, *path: int) -> None:
        self.lab.announce(self.speakers[source], prefix, as_path=((SEQ, path),))
        self.paths[source, prefix] = path
        self.lab.settle()

    def rows(self) -> dict[tuple[str, str], tuple[int, Any]]:
        """Reason and state shown of every path."""
        found = {}
        table = self.router.rib.tables[V4]
        glance = Glance(self.router, self.lab.now)
        for source, prefix in self.paths:
            octets = bytes(map(int, prefix.partition("/")[0].split(".")))
            raw = table.paths_of(table.handle(octets, int(prefix.partition("/")[2])))
            (i,) = [i for i, row in enumerate(raw) if row[0] == self.speakers[source].slot]
            shown = glance.path(prefix, raw, i, members=[], names=False)
            found[source, prefix] = (raw[i][4] if raw[i][3] & 1 else 0, shown["aspa"])
        return found


def test_the_direction_follows_from_the_role():
    """A path that goes down and up again: fine from above, a leak from below or beside."""
    bed = Bed()
    # 20 is a customer of both 30 and of whoever announces; 30 has no further provider.
    bed.aspas({20: {30, *bed.asns.values()}, 30: {0}, 10: {20}})
    for source, asn in bed.asns.items():
        bed.announce(source, f"8.{asn}.0.0/16", asn, 30, 20, 10)
        bed.announce(source, f"9.{asn}.0.0/16", asn, 20, 10)
    found = bed.rows()
    leak, fine = dict.fromkeys(OURS, (RejectReason.ASPA_INVALID, "invalid")), (0, "valid")
    leak[NONE] = (0, "not-checked")
    leak[PROVIDER] = fine  # up to 30, then sideways to it
    assert {a: found[a, f"8.{bed.asns[a]}.0.0/16"] for a in OURS} == leak
    assert {a: found[a, f"9.{bed.asns[a]}.0.0/16"] for a in OURS} == {
        **dict.fromkeys(OURS, fine), NONE: (0, "not-checked"),
    }  # fmt: skip


def test_the_neighbor_is_in_front_unless_it_is_a_route_server():
    bed = Bed()
    for source, asn in bed.asns.items():
        bed.announce(source, f"8.{asn}.0.0/16", 20, 10)
    found = bed.rows()
    assert {a: found[a, f"8.{bed.asns[a]}.0.0/16"][1] for a in OURS} == {
        PROVIDER: "invalid", CUSTOMER: "invalid", PEER: "invalid", SERVER: "unknown",
        NONE: "not-checked",
    }  # fmt: skip


def test_members_of_a_route_server_are_verified_upstream_without_a_role():
    members = dict.fromkeys((PROVIDER, CUSTOMER), LocalRole.NONE)
    bed = Bed(role=Role.ROUTE_SERVER, ours=members)
    bed.aspas({20: {1}, 30: {0}})
    bed.announce(PROVIDER, "8.0.0.0/16", 1, 20)
    bed.announce(PROVIDER, "9.0.0.0/16", 1, 30)
    assert list(bed.rows().values()) == [(0, "valid"), (RejectReason.ASPA_INVALID, "invalid")]
    assert bed.speakers[CUSTOMER].table().keys() == {"8.0.0.0/16"}


def test_noting_refuses_nothing():
    bed = Bed(Filters(aspa=AspaRule.NOTE))
    bed.aspas({20: {9}})
    bed.announce(CUSTOMER, "8.0.0.0/16", 2, 20)
    assert list(bed.rows().values()) == [(0, "invalid")]
    bed.aspas({20: {2}})
    assert list(bed.rows().values()) == [(0, "valid")]


def test_without_data_nothing_is_verified():
    bed = Bed()
    bed.aspas({20: {9}})
    bed.announce(CUSTOMER, "8.0.0.0/16", 2, 20)
    bed.router.rpki_changed(None, set(), False)
    bed.lab.settle()
    assert list(bed.rows().values()) == [(0, "not-checked")]
    bed.router.rpki_changed(None, set(), True)
    bed.lab.settle()
    assert list(bed.rows().values()) == [(RejectReason.ASPA_INVALID, "invalid")]


@pytest.mark.parametrize("seed", range(3))
def test_changes_are_judged_in_place_as_the_model_says(seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    bed = Bed()
    known: dict[int, set[int]] = {}
    for step in range(60):
        if rng.random() < 0.6:
            source = rng.choice(list(OURS))
            front = bed.asns[source] if rng.random() < 0.8 else 6
            path = (front, *(rng.randint(1, 9) for _ in range(rng.randint(0, 4))))
            bed.announce(source, f"8.{rng.randint(0, 15)}.0.0/16", *path)
        else:
            announced = {
                rng.randint(1, 9): {rng.randint(0, 9) for _ in range(3)}
                for _ in range(rng.randint(0, 2))
            }
            gone = {c for c in known if rng.random() < 0.15 and c not in announced}
            bed.aspas(announced, gone)
            known.update({c: {p for p in found if p} for c, found in announced.items()})
            known = {c: found for c, found in known.items() if c not in gone}
        due = {}
        for (source, prefix), path in bed.paths.items():
            role = OURS[source]
            state = "not-checked"
            if role is not LocalRole.NONE:
                first = None if role is LocalRole.RS_CLIENT else bed.asns[source]
                state = model.verify(
                    known, ((SEQ, path),),
                    downstream=role is LocalRole.CUSTOMER, neighbor_as=first,
                )  # fmt: skip
            due[source, prefix] = (RejectReason.ASPA_INVALID if state == "invalid" else 0, state)
        assert bed.rows() == due, step


def test_only_paths_with_a_changed_customer_are_looked_at():
    bed = Bed()
    for i in range(40):
        bed.announce(CUSTOMER, f"8.{i}.0.0/16", 2, 100 + i)
    bed.announce(NONE, "9.0.0.0/16", 5, 107)
    rib = bed.router.rib
    found = bytearray()
    at = 1
    while at:
        at = find_ases(rib, AsnSet([107, 109]), found, at, 3)
    marked = [h for h in range(8 * len(found)) if found[h >> 3] >> (h & 7) & 1]
    paths = {bed.router.attrs.describe(h)["as_path"][0][1] for h in marked}
    assert {path[-2:] for path in paths} == {(2, 107), (2, 109), (5, 107)}  # with exported forms
    before = {a: s.messages for a, s in bed.speakers.items()}
    bed.aspas({107: {9}, 200: {9}})
    shown = bed.rows()
    assert {k for k, (reason, _) in shown.items() if reason} == {(CUSTOMER, "8.7.0.0/16")}
    # One withdrawal for each who had it: all but the source itself.
    sent = {a: s.messages - before[a] for a, s in bed.speakers.items()}
    assert sent == {a: int(a != CUSTOMER) for a in sent}
    # A change that nobody's path is about sends nothing, and is over at once.
    bed.aspas({999: {1}})
    assert {a: s.messages - before[a] for a, s in bed.speakers.items()} == sent


def test_a_rule_that_cannot_check_is_warned_of(tmp_path: Path):
    path = tmp_path / "rs.toml"
    path.write_text(
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\n[filters]\naspa = "note"\n'
        '[[neighbors]]\naddress = "10.1.0.1"\nasn = 1\n'
        '[[neighbors]]\naddress = "10.1.0.2"\nasn = 2\nroute_server_client = false\n'
        "require_policy = false\n"
        '[[neighbors]]\naddress = "10.1.0.3"\nasn = 3\nroute_server_client = false\n'
        'require_policy = false\nlocal_role = "peer"\n'
        '[[neighbors]]\naddress = "10.1.0.4"\nasn = 64500\n'
    )
    (warning,) = load_config(path).warnings
    assert warning.startswith("aspa without local_role checks nothing")
    assert warning.endswith(": 10.1.0.2")
