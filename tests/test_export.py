"""The export as a whole: what changes is told once, to whom it is due, and nothing raises."""

from __future__ import annotations

import pytest

from rs.peer import PeerKind
from tests.engines import Engine, Reader
from tests.farends import LOCAL, SEQ, V4


def huge(n):
    """Attributes that make a set of exactly `n` octets, with ORIGIN, AS_PATH and NEXT_HOP."""
    return {"unknown": ((0xE0, 200, bytes(n - 24)),), "as_path": ((SEQ, (64496,)),)}


@pytest.mark.parametrize(
    ("kind", "as4"),
    [
        (PeerKind.EBGP, True),
        (PeerKind.RR_CLIENT, True),
        (PeerKind.RS_CLIENT, True),
        (PeerKind.EBGP, False),
        (PeerKind.RR_CLIENT, False),
    ],
)
def test_forms_too_long_to_exist(kind, as4):
    """The longest set that an extended message brings cannot go out with what has to be added."""
    engine = Engine()
    engine.peer(1, kind=PeerKind.RR_CLIENT)
    engine.peer(2, kind=kind)
    hop = LOCAL[V4] if kind is PeerKind.EBGP else None
    reader = Reader(
        engine.join(2, kind=kind, next_hop=hop, as4=as4, max_len=65535), as4=as4, max_len=65535
    )
    engine.announce(1, "10.1.0.0/16", **huge(65511))
    engine.announce(1, "10.2.0.0/16")
    engine.flush()
    while reader.read():
        pass
    assert set(reader.table) == {"10.2.0.0/16"}
    engine.announce(1, "10.1.0.0/16")
    engine.flush()
    reader.read()
    assert set(reader.table) == {"10.1.0.0/16", "10.2.0.0/16"}
