"""BGP roles and ONLY_TO_CUSTOMER (RFC 9234): what is said, who is refused, which routes leak."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import pytest

from rs.capabilities import encode_capabilities, negotiate
from rs.config import LocalRole, Role
from rs.configfile import load_config
from rs.errors import ConfigError, NotifyError
from rs.iana import BgpRole, RejectReason
from rs.messages import decode_open, encode_notification
from tests import test_source
from tests.farends import RS_ASN, SEQ, V4, Speaker, make_config, make_neighbor, make_router
from tests.routers import Lab
from tests.sessions import Solo, config, messages_sent
from tests.test_capabilities import MP4, heard

if TYPE_CHECKING:
    from pathlib import Path

ROLE = 9
PAIRS = {
    BgpRole.PROVIDER: BgpRole.CUSTOMER,
    BgpRole.CUSTOMER: BgpRole.PROVIDER,
    BgpRole.RS: BgpRole.RS_CLIENT,
    BgpRole.RS_CLIENT: BgpRole.RS,
    BgpRole.PEER: BgpRole.PEER,
}
"""RFC 9234 4.2, Table 2."""


def agree(ours: BgpRole | None, *said: int, asn: int = 64501, **changes):
    """Return what both OPENs agree on; the peer says these roles."""
    offer = config(role=ours, **changes).offer()
    return negotiate(offer, heard(MP4, *((ROLE, bytes([r])) for r in said), asn=asn), peer_asn=None)


def refused(*args, **kwargs) -> str:
    with pytest.raises(NotifyError) as info:
        agree(*args, **kwargs)
    assert (info.value.code, info.value.subcode, info.value.data) == (2, 11, b"")
    return info.value.reason


# --- what is said


def test_the_role_is_in_the_open():
    for role in BgpRole:
        said = encode_capabilities(config(role=role).offer())
        assert (ROLE, bytes([role])) in said
        assert list(said) == sorted(said, key=lambda c: c[0])
    assert ROLE not in dict(encode_capabilities(config().offer()))


def test_roles_must_correspond():
    for ours in BgpRole:
        for theirs in range(256):
            if theirs == PAIRS[ours]:
                assert agree(ours, theirs).peer_role is PAIRS[ours]
            else:
                refused(ours, theirs)
    assert refused(BgpRole.RS, BgpRole.PEER) == (
        "the peer says it is peer; we are rs, so it must be rs-client"
    )


def test_a_peer_without_a_role_is_fine_unless_we_are_strict():
    assert agree(BgpRole.PROVIDER).peer_role is None
    assert "strict_role" in refused(BgpRole.PROVIDER, strict_role=True)
    assert agree(BgpRole.PROVIDER, 3, strict_role=True).peer_role is BgpRole.CUSTOMER


def test_a_role_that_we_have_no_answer_to_is_ignored():
    assert agree(None, 1).peer_role is BgpRole.RS
    assert agree(None, 77).peer_role is None


def test_the_same_role_twice_is_one_and_two_are_refused():
    assert agree(BgpRole.RS, 2, 2).peer_role is BgpRole.RS_CLIENT
    assert "rs-client and peer" in refused(BgpRole.RS, 2, 4, 2)
    refused(None, 2, 4)


def test_internal_sessions_have_no_roles():
    assert agree(None, 1, 2, asn=64500).ibgp


def test_a_role_of_the_wrong_length_is_a_malformed_open():
    offer = config(role=BgpRole.RS).offer()
    for value in (b"", b"\2\2"):
        with pytest.raises(NotifyError) as info:
            negotiate(offer, heard(MP4, (ROLE, value)), peer_asn=None)
        assert (info.value.code, info.value.subcode) == (2, 0)


def test_an_open_without_capabilities_says_no_role_and_asks_for_none():
    offer = config(role=BgpRole.RS).offer(plain=True)
    assert negotiate(offer, heard(), peer_asn=None).peer_role is None


def test_a_strict_session_does_not_fall_back_to_an_open_without_capabilities():
    """RFC 5492 3: a peer that refuses our capabilities would get an OPEN without any role."""
    for strict in (False, True):
        solo = Solo(config(role=BgpRole.RS, strict_role=strict, passive=True))
        solo.accept("first")
        solo.receive(encode_notification(2, 4), "first")
        solo.wait(300)
        ((_, body),) = messages_sent(solo.accept("second"))
        assert (decode_open(body).capabilities == ()) is not strict


# --- which routes leak

CUSTOMER, PEER, PROVIDER, SERVER = "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"
INTERNAL, PLAIN = "10.1.0.5", "10.1.0.6"
OURS = {
    CUSTOMER: LocalRole.PROVIDER,
    PEER: LocalRole.PEER,
    PROVIDER: LocalRole.CUSTOMER,
    SERVER: LocalRole.RS_CLIENT,
    INTERNAL: LocalRole.NONE,
    PLAIN: LocalRole.NONE,
}
ASNS = {a: 65000 + i for i, a in enumerate(OURS, 1)} | {INTERNAL: RS_ASN}


class Border:
    """A router among a customer, a peer, a provider, a route server and two without roles."""

    def __init__(self, roles: dict[str, LocalRole] = OURS, role: Role = Role.ROUTE_REFLECTOR):
        section = make_router(role=role)
        neighbors = [
            make_neighbor(
                section, ASNS[a], address=a, local_role=roles[a], next_hop_self=False,
                **({"route_reflector_client": True} if a == INTERNAL else {}),
            )
            for a in roles
        ]  # fmt: skip
        self.lab = Lab(make_config(section, neighbors))
        self.speakers = {
            a: self.lab.up(Speaker(a, ASNS[a], f"10.2.0.{i}")) for i, a in enumerate(roles, 1)
        }

    def announce(self, source: str, prefix: str, **attrs):
        path = () if source == INTERNAL else ((SEQ, (ASNS[source], 64999)),)
        self.lab.announce(self.speakers[source], prefix, as_path=path, **attrs)
        self.lab.settle()
        self.lab.check("roles:")

    def otc(self, prefix: str) -> dict[str, int | None]:
        """ONLY_TO_CUSTOMER as everybody was sent it, None without; who has no route is absent."""
        return {
            address: speaker.table()[prefix].get("otc")
            for address, speaker in self.speakers.items()
            if prefix in speaker.table()
        }

    def reason(self, prefix: str) -> int:
        table = self.lab.router.rib.tables[V4]
        ((*_, flags, reason, _),) = table.paths_of(table.handle(bytes([8, 8, 0, 0]), 16))
        return reason if flags & 1 else 0


@pytest.fixture
def border():
    return Border()


def test_from_a_customer_to_everybody_and_marked_downwards(border):
    border.announce(CUSTOMER, "8.8.0.0/16")
    assert border.otc("8.8.0.0/16") == {
        PEER: RS_ASN, PROVIDER: None, SERVER: None, INTERNAL: None, PLAIN: None,
    }  # fmt: skip


@pytest.mark.parametrize("source", [PEER, PROVIDER, SERVER])
def test_from_above_or_beside_to_customers_only_and_marked_as_its_own(border, source):
    border.announce(source, "8.8.0.0/16")
    asn = ASNS[source]
    assert border.otc("8.8.0.0/16") == {CUSTOMER: asn, INTERNAL: asn, PLAIN: asn}
    # The Adj-RIB-In shows what was received.
    table = border.lab.router.rib.tables[V4]
    ((_, _, attrs_h, *_),) = table.paths_of(table.handle(bytes([8, 8, 0, 0]), 16))
    assert "otc" not in border.lab.router.attrs.describe(attrs_h)


@pytest.mark.parametrize("source", [PROVIDER, SERVER, INTERNAL, PLAIN])
def test_a_mark_is_kept_and_goes_downwards_only(border, source):
    border.announce(source, "8.8.0.0/16", otc=64999)
    assert border.otc("8.8.0.0/16") == {
        a: 64999 for a in (CUSTOMER, INTERNAL, PLAIN) if a != source
    }


def test_a_peer_may_mark_its_own_and_nobody_elses(border):
    border.announce(PEER, "8.8.0.0/16", otc=ASNS[PEER])
    assert border.reason("8.8.0.0/16") == 0
    assert border.otc("8.8.0.0/16") == dict.fromkeys((CUSTOMER, INTERNAL, PLAIN), ASNS[PEER])
    border.announce(PEER, "8.8.0.0/16", otc=64999)
    assert border.reason("8.8.0.0/16") == RejectReason.OTC_LEAK
    assert border.otc("8.8.0.0/16") == {}


def test_a_mark_from_a_customer_is_a_leak(border):
    border.announce(CUSTOMER, "8.8.0.0/16", otc=ASNS[CUSTOMER])
    assert border.reason("8.8.0.0/16") == RejectReason.OTC_LEAK
    assert border.otc("8.8.0.0/16") == {}


def test_a_route_server_marks_what_it_sends_once_for_all():
    members = {f"10.1.0.{i}": LocalRole.RS for i in range(1, 6)} | {PLAIN: LocalRole.NONE}
    ASNS.update({a: 65000 + i for i, a in enumerate(members, 1)})
    try:
        border = Border(members, Role.ROUTE_SERVER)
        border.announce("10.1.0.1", "8.8.0.0/16")
        assert border.otc("8.8.0.0/16") == {a: RS_ASN for a in members if a != "10.1.0.1"} | {
            PLAIN: None
        }
        # One form for the five, however many they are; those without a role are another view.
        assert border.lab.router.exporter.rewriter.stats()["forms"] == 1
        assert len(border.lab.router.exporter.views[V4]) == 2
        border.announce("10.1.0.2", "8.8.0.0/16", otc=65002)
        assert border.otc("8.8.0.0/16").keys() == members.keys() - {"10.1.0.1"}
        assert border.lab.router.rib.reject_counts(border.speakers["10.1.0.2"].slot) == {
            RejectReason.OTC_LEAK: 1
        }
    finally:
        ASNS.update({a: 65000 + i for i, a in enumerate(OURS, 1)} | {INTERNAL: RS_ASN})


def test_another_family_is_marked_as_well(border):
    border.announce(CUSTOMER, "2001:db8:8::/48")
    assert border.otc("2001:db8:8::/48")[PEER] == RS_ASN


# --- configuration

HEAD = "[router]\nasn = 64500\nrouter_id = '10.0.0.1'\n"


def load(tmp_path: Path, text: str):
    path = tmp_path / "rs.toml"
    path.write_text(text)
    return load_config(path)


def test_a_default_role_serves_whom_it_fits(tmp_path):
    found = load(
        tmp_path,
        HEAD + "[defaults]\nlocal_role = 'rs'\nstrict_role = true\n"
        "[[neighbors]]\naddress = '10.1.0.1'\nasn = 65001\n"
        "[[neighbors]]\naddress = '10.1.0.2'\nasn = 64500\n"
        "[[neighbors]]\naddress = '10.1.0.3'\nasn = 65003\nroute_server_client = false\n"
        "[[neighbors]]\nrange = '10.2.0.0/24'\n",
    )  # fmt: skip
    said = [(n.local_role.value, n.strict_role) for n in found.neighbors]
    assert said == [("rs", True), ("none", False), ("none", False), ("rs", True)]
    internal = found.neighbors[3].instance("10.2.0.1", 64500)
    assert (internal.local_role, internal.strict_role) == (LocalRole.NONE, False)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("asn = 64500\nlocal_role = 'peer'", "roles are between ASes"),
        ("asn = 65001\nlocal_role = 'peer'", 'want "rs", or route_server_client = false'),
        ("asn = 65001\nroute_server_client = false\nlocal_role = 'rs'", '"rs" is towards'),
        ("asn = 65001\nstrict_role = true", "want local_role beside it"),
        ("asn = 65001\nlocal_role = 'client'", "local_role"),
    ],
)
def test_roles_that_do_not_fit(tmp_path, keys, words):
    with pytest.raises(ConfigError) as info:
        load(tmp_path, HEAD + f"[[neighbors]]\naddress = '10.1.0.1'\n{keys}\n")
    assert words in str(info.value.problems)


def test_the_fast_path_has_the_same_roles():
    roles = IntEnum("Roles", {"NONE": 0} | {r.name: r + 1 for r in BgpRole})  # type: ignore[misc]
    here = test_source.constants(test_source.FASTPATH / "paths.pxd")
    assert {n: v for n, v in here.items() if n.startswith("ROLE_")} == {
        f"ROLE_{r.name}": r.value for r in roles
    }
