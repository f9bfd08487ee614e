"""Exported forms of attribute sets, against the oracle's export, by kind of neighbor."""

from __future__ import annotations

from rs._fastpath.rewrite import Program
from rs.peer import PeerKind
from tests.engines import Engine
from tests.reference import codec
from tests.reference.export import ExportOptions, Kind
from tests.routers import LOCAL, RS_ASN, V4

KINDS = {
    PeerKind.RS_CLIENT: Kind.RS_CLIENT,
    PeerKind.EBGP: Kind.EBGP,
    PeerKind.IBGP: Kind.IBGP,
    PeerKind.RR_CLIENT: Kind.RR_CLIENT,
}
OPTIONS = ExportOptions(rs_asn=RS_ASN, cluster_id="10.0.0.1")


def program(kind, number=1, next_hop=None, family=V4):
    if kind is PeerKind.EBGP and next_hop is None:
        next_hop = LOCAL[family]
    return Program(number, kind, RS_ASN, int.from_bytes(codec.ip4("10.0.0.1"), "big"), next_hop)


def test_scrubbing_a_set_with_its_next_hop_in_the_bytes():
    """The flag is no truth value: compared as one, no set with NEXT_HOP could be rewritten."""
    engine = Engine()
    engine.peer(1)
    h = engine.intern(communities=(RS_ASN << 16 | 65002, 65001 << 16 | 7))
    out = engine.exporter.rewriter.derived_form(program(PeerKind.RS_CLIENT), h, 1)
    assert engine.attrs.describe(out)["communities"] == (65001 << 16 | 7,)
    engine.attrs.drop(h)
    assert engine.attrs.stats()["sets"] == 0
