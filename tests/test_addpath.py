"""ADD-PATH: which paths are sent, how many are sent and taken in, identifiers; RFC 7911, 7964."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs.config import AddPath, AddPathSend, Role
from rs.configvalues import ByFamily
from rs.peer import PathChoice
from rs.show import neighbor
from tests.engines import Engine, Reader
from tests.farends import BOTH, SEQ, V4, V6, Speaker, make_neighbor, make_router
from tests.reference import codec
from tests.test_reload import Reloading

PREFIX = "10.1.0.0/16"


def labelled(lab, speaker, prefix=PREFIX):
    """The MEDs of the paths that a speaker has: a label that no decision here looks at."""
    return sorted(a["med"] for a in lab_paths(lab, speaker).get(prefix, ()))


def lab_paths(lab, speaker):
    lab.settle()
    return speaker.paths()


def world(n=5, *, hears=BOTH, paths_limit=0, role=Role.ROUTE_SERVER, **changes):
    """A route server with sources, and a reader of several paths as the last speaker."""
    changes = {"first_as_check": False, **changes}
    lab = Reloading(n, router=make_router(role=role), add_path=AddPath.BOTH, **changes)
    for speaker in lab.all:
        speaker.hears_paths = hears if speaker is lab.all[-1] else ()
        speaker.paths_limit = paths_limit
    return lab, lab.start()


def offers(lab, speakers, *paths, prefix=PREFIX):
    """Let one source after the other announce: (AS numbers of the path, LOCAL_PREF or not)."""
    for i, (speaker, path) in enumerate(zip(speakers, paths, strict=False)):
        lab.announce(speaker, prefix, as_path=((SEQ, path),), med=i)


PATHS = ((64601, 1), (64602, 1), (64601, 2), (64602, 3, 4))
"""Two of each of two neighboring ASes; the last one is longer."""


@pytest.mark.parametrize(
    ("choice", "limit", "due"),
    [
        (AddPathSend.ALL, 0, [0, 1, 2, 3]),
        (AddPathSend.ALL, 2, [0, 1]),
        (AddPathSend.BEST_PER_AS, 0, [0, 1]),
        (AddPathSend.BEST_PER_AS, 1, [0]),
        (AddPathSend.EQUAL, 0, [0, 1]),
        (AddPathSend.EQUAL, 1, [0]),
    ],
)
def test_what_is_sent(choice, limit, due):
    """The third path loses to the first of its AS by MED, the fourth to all by its length."""
    lab, (*sources, _, reader) = world(6, add_path_send=choice, add_path_limit=limit)
    offers(lab, sources, *PATHS)
    assert labelled(lab, reader) == due
    lab.check()
    lab.withdraw(sources[0], PREFIX)
    assert labelled(lab, reader) == {
        (AddPathSend.ALL, 0): [1, 2, 3],
        (AddPathSend.ALL, 2): [1, 2],
        (AddPathSend.BEST_PER_AS, 0): [1, 2],
        (AddPathSend.EQUAL, 0): [1, 2],
    }.get((choice, limit), [1])
    lab.check()


def test_identifiers_stay_while_paths_come_and_go():
    """RFC 7911 2: one that changed would be a withdrawal and an announcement."""
    lab, (one, two, three, _, reader) = world()
    offers(lab, (one, two), *PATHS)
    lab.settle()
    before = {a["med"]: i for (_, i), a in reader.tables[V4].items()}
    told = len(reader.events)
    lab.announce(three, PREFIX, as_path=((SEQ, (64603,)),), med=7)  # the best from now on
    lab.settle()
    after = {a["med"]: i for (_, i), a in reader.tables[V4].items()}
    assert {med: after[med] for med in before} == before
    assert len(set(after.values())) == 3
    assert [e[0] for e in reader.events[told:]] == ["announce"]
    lab.check()


def test_each_member_gets_the_first_of_each_as_that_it_may_have():
    """A path that is not for it hides none of the same AS behind it (RFC 7947 2.3)."""
    lab, (one, two, three, four, reader) = world(add_path_send=AddPathSend.BEST_PER_AS)
    not_to_reader = (reader.asn,)
    lab.announce(one, PREFIX, as_path=((SEQ, (64601,)),), med=0, communities=not_to_reader)
    lab.announce(two, PREFIX, as_path=((SEQ, (64601, 1)),), med=1)
    lab.announce(three, PREFIX, as_path=((SEQ, (64602,)),), med=2)
    lab.announce(four, PREFIX, as_path=((SEQ, (64601, 1, 2)),), med=3)
    assert labelled(lab, reader) == [1, 2]
    lab.check()


@pytest.mark.parametrize(("ours", "theirs", "due"), [(0, 2, 2), (3, 2, 2), (1, 3, 1), (3, 0, 3)])
def test_the_lower_limit_counts(ours, theirs, due):
    """PATHS-LIMIT of the receiver beside our own limit."""
    lab, (*sources, reader) = world(add_path_limit=ours, paths_limit=theirs)
    offers(lab, sources, *PATHS)
    assert labelled(lab, reader) == list(range(due))
    lab.check()
    found = neighbor(lab.router, reader.peer, lab.now)
    both = dict.fromkeys(("ipv4-unicast", "ipv6-unicast"), theirs)
    assert found["negotiated"]["paths_limit"] == (both if theirs else {})


def test_by_family():
    choice = ByFamily((AddPathSend.BEST_PER_AS, AddPathSend.ALL))
    lab, (*sources, reader) = world(add_path_send=choice, add_path_limit=ByFamily((0, 3)))
    offers(lab, sources, *PATHS)
    offers(lab, sources, *PATHS, prefix="2001:db8::/32")
    assert labelled(lab, reader) == [0, 1]
    assert labelled(lab, reader, "2001:db8::/32") == [0, 1, 2]
    lab.check()


def test_one_family_only():
    lab = Reloading(3, add_path=ByFamily((AddPath.OFF, AddPath.SEND)))
    lab.all[2].hears_paths = BOTH
    reader = lab.start()[2]
    assert reader.peer.session.negotiated.addpath_send == {V6}


def test_members_of_one_kind_share_a_view():
    """Groups stay groups: what tells views apart is the choice, not who made it."""
    lab = Reloading(6, add_path=AddPath.SEND, add_path_send=AddPathSend.EQUAL)
    for speaker in lab.all[:4]:
        speaker.hears_paths = BOTH
    lab.start()
    assert len({lab.router.peers[s.slot].view(V4) for s in lab.all}) == 2


def test_what_is_taken_in():
    """Paths beyond the limit are dropped and counted; whoever withdraws makes room."""
    lab = Reloading(2, add_path=AddPath.BOTH, add_path_receive_limit=2)
    source, reader = lab.all
    source.add_path = reader.hears_paths = BOTH
    lab.start()
    assert source.peer.session.config.paths_limit == {V4: 2, V6: 2}

    def say(number, withdraw=False):
        attrs = {
            "origin": 0,
            "as_path": ((SEQ, (source.asn,)),),
            "next_hop": "192.0.2.1",
            "med": number,
        }
        some = [(PREFIX, number)]
        body = (
            codec.encode_update((), None, some, addpath=BOTH)
            if withdraw
            else codec.encode_update(some, attrs, addpath=BOTH)
        )
        lab.update(source, body)
        lab.settle()
        lab.check()
        return labelled(lab, reader)

    assert [say(number) for number in (1, 2, 3)] == [[1], [1, 2], [1, 2]]
    shown = neighbor(lab.router, source.peer, lab.now)["families"]["ipv4-unicast"]
    assert (shown["received"], shown["refused"]) == (2, 1)
    assert say(3, withdraw=True) == [1, 2]
    assert say(1, withdraw=True) == [2]
    assert say(3) == [2, 3]
    assert lab.router.rib.tables[V4].refused == 1


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({"add_path_limit": 1}, [0]),
        ({"add_path_send": AddPathSend.BEST_PER_AS}, [0, 1]),
        ({"add_path_send": AddPathSend.EQUAL}, [0, 1]),
    ],
)
def test_a_changed_choice_is_in_place(changes, due):
    lab, (*sources, reader) = world()
    offers(lab, sources, *PATHS)
    assert labelled(lab, reader) == [0, 1, 2, 3]
    lab.change(4, **changes)
    assert lab.undisturbed(*lab.all)
    assert labelled(lab, reader) == due
    lab.check()
    lab.change(4, add_path_limit=0, add_path_send=AddPathSend.ALL)
    assert labelled(lab, reader) == [0, 1, 2, 3]
    lab.check()


# --- against a plain walk -------------------------------------------------------------------------

MEMBERS = 5
OFFERS = st.lists(
    st.tuples(
        st.integers(1, MEMBERS),  # source
        st.integers(1, 3),  # neighboring AS
        st.integers(1, 3),  # length of the path
        st.sets(st.integers(1, MEMBERS)),  # who may not have it
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(rounds=st.lists(OFFERS, min_size=1, max_size=4), choice=st.sampled_from(list(PathChoice)),
       limit=st.sampled_from((0, 1, 2, 3, 7)))  # fmt: skip
def test_any_paths_any_choice(rounds, choice, limit):
    """Rounds of offers, each in the place of the one before; one member is not on the list of any."""
    engine = Engine()
    engine.peers(*range(1, MEMBERS + 1))
    joined = {
        slot: Reader(engine.join(slot, addpath=True, choice=choice, max_paths=limit), addpath=True)
        for slot in range(1, MEMBERS + 1)
    }
    engine.flush()
    held: dict[tuple[int, int], tuple[int, int, set[int]]] = {}
    for offers_ in rounds:
        for slot, path_id in held:
            engine.withdraw(slot, PREFIX, path_id=path_id)
        held = {}
        for path_id, (slot, first, length, excluded) in enumerate(offers_):
            engine.announce(
                slot,
                PREFIX,
                path_id=path_id,
                as_path=((SEQ, (64600 + first,) + (1,) * (length - 1)),),
                local_pref=None,
                communities=tuple(65000 + s for s in sorted(excluded)) or None,
                unknown=((0xE0, 200, bytes([path_id])),),
            )
            held[slot, path_id] = (first, length, excluded)
        engine.flush()
        for member, reader in joined.items():
            reader.read()
            got = {a["unknown"][0][2][0] for a in reader.speaker.tables.get(V4, {}).values()}
            assert got == due(held, member, choice, limit), member
    engine.withdraw_all()
    assert engine.attrs.stats()["sets"] == 0


def due(held, member, choice, limit):
    """Path identifiers that a member is due, by length, source, identifier."""
    ranked = sorted(
        (length, slot, path_id, first)
        for (slot, path_id), (first, length, excluded) in held.items()
        if slot != member and member not in excluded
    )
    if choice is PathChoice.EQUAL:
        ranked = [r for r in ranked if r[0] == ranked[0][0]]
    if choice is PathChoice.BEST_PER_AS:
        seen = {}
        for r in ranked:
            seen.setdefault(r[3], r)
        ranked = list(seen.values())
    return {r[2] for r in ranked[: limit or len(ranked)]}


def test_many_paths_and_a_high_limit():
    """A limit beyond what fits a handful of bits."""
    engine = Engine(slots=256)
    engine.peers(*range(1, 201))
    reader = Reader(engine.join(200, addpath=True, max_paths=150), addpath=True)
    for slot in range(1, 200):
        engine.announce(slot, PREFIX, med=slot)
    engine.flush()
    reader.read()
    assert len(reader.speaker.tables[V4]) == 150
    for slot in range(1, 100):
        engine.withdraw(slot, PREFIX)
    engine.flush()
    reader.read()
    assert len(reader.speaker.tables[V4]) == 100


def test_a_reflector_sends_several_to_its_clients():
    """Several best paths, each with its own ORIGINATOR_ID (RFC 4456, RFC 7911)."""
    section = make_router(role=Role.ROUTE_REFLECTOR)
    speakers = [Speaker(f"10.1.0.{i}", 64500, f"10.2.0.{i}") for i in range(1, 5)]
    neighbors = [
        make_neighbor(
            section, 64500, address=s.address, route_reflector_client=True, add_path=AddPath.BOTH
        )
        for s in speakers
    ]
    lab = Reloading(0, router=section, neighbors=neighbors)
    lab.all = speakers
    speakers[3].hears_paths = BOTH
    lab.start()
    for i, speaker in enumerate(speakers[:3]):
        lab.announce(speaker, PREFIX, med=i, local_pref=100)
    lab.settle()
    assert sorted(a["originator_id"] for a in speakers[3].paths()[PREFIX]) == [
        "10.2.0.1",
        "10.2.0.2",
        "10.2.0.3",
    ]
    assert PREFIX not in speakers[0].paths()  # the best is its own
    assert len(speakers[1].paths()[PREFIX]) == 1
    lab.check()
