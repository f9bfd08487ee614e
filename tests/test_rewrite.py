"""Exported forms of attribute sets, against the oracle's export, by kind of neighbor."""

from __future__ import annotations

import pytest

from rs._fastpath.rewrite import Program
from rs._fastpath.walks import recompile
from rs.communities import make_rules
from rs.communityconfig import Communities
from rs.peer import PeerKind
from tests import strategies
from tests.engines import Engine, Reader
from tests.farends import LOCAL, RS_ASN, SEQ, V4, V6, plain
from tests.reference import codec
from tests.reference.decision import Path
from tests.reference.export import ExportOptions, Kind, Member, output_attrs
from tests.strategies import Source

KINDS = {
    PeerKind.RS_CLIENT: Kind.RS_CLIENT,
    PeerKind.EBGP: Kind.EBGP,
    PeerKind.IBGP: Kind.IBGP,
    PeerKind.RR_CLIENT: Kind.RR_CLIENT,
}
OPTIONS = ExportOptions(rs_asn=RS_ASN, cluster_id="10.0.0.1")


def program(kind, number=1, next_hop=None, family=V4, cluster="10.0.0.1"):
    if kind is PeerKind.EBGP and next_hop is None:
        next_hop = LOCAL[family]
    return Program(number, kind, RS_ASN, number_of(cluster), next_hop)


def number_of(identifier):
    return int.from_bytes(codec.ip4(identifier), "big")


def test_scrubbing_a_set_with_its_next_hop_in_the_bytes():
    """The flag is no truth value: compared as one, no set with NEXT_HOP could be rewritten."""
    engine = Engine()
    engine.peer(1)
    h = engine.intern(communities=(RS_ASN << 16 | 65002, 65001 << 16 | 7))
    out = engine.exporter.rewriter.derived_form(program(PeerKind.RS_CLIENT), h, 1)
    assert engine.attrs.describe(out)["communities"] == (65001 << 16 | 7,)
    engine.attrs.drop(h)
    assert engine.attrs.stats()["sets"] == 0


def form(engine, kind, h, source=1, **options):
    out = engine.exporter.rewriter.derived_form(program(kind, kind + 1, **options), h, source)
    return out, engine.attrs.describe(out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_forms_against_the_oracle(seed, source, kind):
    """Random sets from every kind of peer to every kind of member."""
    src = Source.seeded(seed)
    engine = Engine()
    engine.peer(1, kind=source)
    internal = source >= PeerKind.IBGP
    if source is kind is PeerKind.IBGP:
        return  # not passed on at all (RFC 4456 6)
    from_cluster = src.pick(("10.0.0.1", "10.7.0.1"))
    engine.rib.set_cluster(1, number_of(from_cluster))
    for _ in range(60):
        family = src.pick((V4, V6))
        attrs = strategies.make_attrs(src, family, ibgp=internal)
        h = engine.intern(family, **attrs)
        _, got = form(engine, kind, h, family=family)
        path = Path(
            peer=1,
            peer_asn=65001,
            ibgp=internal,
            router_id=int.from_bytes(codec.ip4("10.1.0.1"), "big"),
            address="10.1.0.1",
            attrs=attrs,
            client=source is PeerKind.RR_CLIENT,
            cluster_id=from_cluster,
        )
        member = Member(2, 65002, KINDS[kind], LOCAL[V4], LOCAL[V6])
        assert plain(got) == plain(output_attrs(path, member, OPTIONS))
        assert form(engine, kind, h, family=family)[1] == got
        engine.attrs.drop(h)
    assert engine.attrs.stats()["sets"] == 0
    assert engine.exporter.rewriter.stats()["forms"] == 0


def test_next_hop_self():
    """For routes of external peers; what is reflected keeps its next hop (RFC 4456 10)."""
    for source, kind, want in (
        (PeerKind.EBGP, PeerKind.IBGP, "10.0.0.1"),
        (PeerKind.EBGP, PeerKind.RR_CLIENT, "10.0.0.1"),
        (PeerKind.RR_CLIENT, PeerKind.IBGP, "192.0.2.1"),
        (PeerKind.IBGP, PeerKind.RR_CLIENT, "192.0.2.1"),
        (PeerKind.RR_CLIENT, PeerKind.EBGP, "10.0.0.1"),
    ):
        engine = Engine()
        engine.peer(1, kind=source)
        h = engine.intern()
        assert form(engine, kind, h, next_hop="10.0.0.1")[1]["next_hop"] == want
        engine.attrs.drop(h)


def test_own_as_in_front_of_any_path():
    engine = Engine()
    engine.peer(1)
    full = tuple(range(1, 256))
    for path, want in (
        ((), ((SEQ, (RS_ASN,)),)),
        (((SEQ, (1, 2)),), ((SEQ, (RS_ASN, 1, 2)),)),
        (((1, (1, 2)),), ((SEQ, (RS_ASN,)), (1, (1, 2)))),
        (((SEQ, full),), ((SEQ, (RS_ASN,)), (SEQ, full))),
        (((3, (9,)), (SEQ, (1,)), (4, (8,))), ((SEQ, (RS_ASN, 1)),)),
        (((3, (9,)),), ((SEQ, (RS_ASN,)),)),
    ):
        h = engine.intern(as_path=path)
        assert form(engine, PeerKind.EBGP, h)[1]["as_path"] == want
        engine.attrs.drop(h)


def test_a_form_is_built_once():
    engine = Engine()
    engine.peer(1)
    h = engine.intern(med=5)
    one, _ = form(engine, PeerKind.EBGP, h)
    two, _ = form(engine, PeerKind.EBGP, h)
    assert one == two
    assert engine.exporter.rewriter.stats()["forms"] == 1
    assert engine.attrs.stats()["sets"] == 2
    engine.attrs.drop(h)
    assert engine.attrs.stats()["sets"] == 0


def test_sets_that_are_forms_of_each_other():
    """With and without LOCAL_PREF 100: one route from a client and from another route server.

    Each is what the other becomes on its way out, and neither may keep the other alive.
    """
    engine = Engine()
    engine.peer(1, kind=PeerKind.RS_CLIENT)
    engine.peer(2, kind=PeerKind.IBGP)
    engine.peer(3, kind=PeerKind.RS_CLIENT)
    engine.peer(4, kind=PeerKind.IBGP)
    readers = [Reader(engine.join(3)), Reader(engine.join(4, kind=PeerKind.IBGP))]
    for _ in range(2):
        for first, second in (
            ((1, {}), (2, {"local_pref": 100})),
            ((2, {"local_pref": 100}), (1, {})),
        ):
            for slot, attrs in (first, second):
                engine.announce(slot, "10.1.0.0/16", **attrs)
                engine.announce(slot, f"10.{slot + 1}.0.0/16", **attrs)
                engine.flush()
            for reader in readers:
                while reader.read():
                    pass
            # The path of the other route server loses (RFC 4271 9.1.2.2 d), and is not reflected.
            assert set(readers[0].table) == {"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"}
            assert set(readers[1].table) == {"10.1.0.0/16", "10.2.0.0/16"}
            assert "local_pref" not in readers[0].table["10.3.0.0/16"]
            assert readers[1].table["10.1.0.0/16"]["local_pref"] == 100
            engine.withdraw(1, "10.1.0.0/16", "10.2.0.0/16")
            engine.withdraw(2, "10.1.0.0/16", "10.3.0.0/16")
            engine.flush()
            assert engine.attrs.stats()["sets"] == 0
            assert engine.exporter.rewriter.stats()["forms"] == 0


def test_scrubbing_is_switched():
    """Forms that were made under the other rule are not used (reload)."""
    engine = Engine()
    engine.peer(1, kind=PeerKind.IBGP)
    h = engine.intern(communities=(64999, 5 << 16), local_pref=100)
    for switch, want in ((True, (5 << 16,)), (False, (64999, 5 << 16)), (True, (5 << 16,))):
        engine.control.use_rules(make_rules(Communities(), RS_ASN) if switch else None)
        at = 1
        while at:
            at, _ = recompile(engine.rib, at, 10, forms=True)
        assert form(engine, PeerKind.RS_CLIENT, h)[1]["communities"] == want
    engine.attrs.drop(h)
    assert engine.exporter.rewriter.stats()["forms"] == 0


@pytest.mark.parametrize(
    ("source", "kind", "clusters"),
    [
        (PeerKind.RR_CLIENT, PeerKind.RR_CLIENT, ("10.7.0.2", "10.7.0.1")),
        (PeerKind.RR_CLIENT, PeerKind.IBGP, ("10.7.0.1",)),
        (PeerKind.IBGP, PeerKind.RR_CLIENT, ("10.7.0.2",)),
    ],
)
def test_clusters_that_a_route_passes(source, kind, clusters):
    """RFC 4456 7 and 8, from a client of one cluster to one of another; then within one."""
    engine = Engine()
    engine.peer(1, kind=source)
    engine.peer(2, kind=source)
    engine.rib.set_cluster(1, number_of("10.7.0.1"))
    engine.rib.set_cluster(2, number_of("10.7.0.2"))
    h = engine.intern(cluster_list=("10.9.9.9",), originator_id="10.3.0.1", local_pref=7)
    program_of = program(kind, cluster="10.7.0.2")
    describe = engine.attrs.describe
    before = describe(h)
    out = describe(engine.exporter.rewriter.derived_form(program_of, h, 1))
    assert out == {**before, "cluster_list": (*clusters, "10.9.9.9")}
    out = describe(engine.exporter.rewriter.derived_form(program_of, h, 2))
    assert out == {**before, "cluster_list": ("10.7.0.2", "10.9.9.9")}
    engine.attrs.drop(h)
    assert engine.attrs.stats()["sets"] == 0
