"""Communities on the engine: each rung and form, what we tell, black holes, graceful shutdown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs._fastpath.filter import Filter
from rs._fastpath.walks import mark_all, recheck_step, recompile
from rs.communities import reject_communities
from rs.communityconfig import (
    CONTROL,
    Communities,
    Preset,
    read_communities,
)
from rs.iana import RejectReason, WellKnownCommunity
from rs.peer import PeerKind
from rs.reasons import irr_state
from tests.configs import MEMBER, RS, Folder
from tests.engines import Engine
from tests.farends import RS_ASN, SEQ, V4, V6, plain
from tests.reference.tags import KEYS, Far, Tags

T_NO_EXPORT, T_NO_ADVERTISE = 4, 8
FULL = """
[communities.do_not_announce_to_any]
std = "0:rs_as"
ext = "rt:0:rs_as"
lrg = "rs_as:0:0"
[communities.do_not_announce_to_peer]
std = "0:peer_as"
ext = "rt:0:peer_as"
lrg = "rs_as:0:peer_as"
[communities.announce_to_peer]
std = "rs_as:peer_as"
ext = "rt:rs_as:peer_as"
lrg = "rs_as:1:peer_as"
""" + "".join(
    f'[communities.{name}]\nstd = "{65300 + i}:{macro or 1}"\n'
    f'ext = "ro:{65300 + i}:{macro or 1}"\nlrg = "rs_as:{300 + i}:{macro or 1}"\n'
    for i, (name, macro) in enumerate(CONTROL.items())
    if name not in {"do_not_announce_to_any", "do_not_announce_to_peer", "announce_to_peer"}
)
"""Every community that members set, in every form."""


def definitions_of(communities):
    return {
        name: {form: str(value) for form, value in definition.forms()}
        for name, definition in communities.definitions.items()
    }


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    text = f'{RS}[communities]\npreset = "none"\n{FULL}{MEMBER}'
    return Folder(tmp_path_factory.mktemp("config")).load(text).communities


# --- on the engine --------------------------------------------------------------------------------

WIDE = 400000
ASNS = [65001, 65002, 65003, WIDE, 65002]
FAR = {
    1: Far(65001, rtt=3),
    2: Far(65002, rtt=12),
    3: Far(65003, rtt=120),
    4: Far(WIDE, mapped=64700, rtt=50),
    5: Far(65002),
}
THRESHOLDS = (5, 20, 100)


def engine_of(communities):
    engine = Engine(definitions=communities)
    for slot, far in FAR.items():
        engine.peer(slot, far.asn)
    engine.control.set_peers(
        engine.asns,
        mapped={far.mapped: far.asn for far in FAR.values() if far.mapped},
        rtt={slot: far.rtt for slot, far in FAR.items() if far.rtt is not None},
        thresholds=THRESHOLDS,
    )
    return engine


def compiled(engine, **attrs):
    """Who may have a path, and what of the transform each of these gets."""
    h = engine.intern(as_path=((SEQ, (64496,)),), **attrs)
    members = engine.control.members_of(h, 6)
    parts = engine.control.parts_of_set(h, 6)
    engine.attrs.drop(h)
    found = dict.fromkeys(members, 0)
    for slots, transform in parts:
        for slot in slots:
            assert found[slot] == 0
            found[slot] = transform
    return found


def wanted(tags, attrs):
    out = {}
    for slot in FAR:
        if tags.allows(attrs, slot):
            asked = tags.asked(attrs, slot)
            out[slot] = tags.prepends(attrs, slot)
            out[slot] |= T_NO_EXPORT * any(n.startswith("add_noexport") for n in asked)
            out[slot] |= T_NO_ADVERTISE * any(n.startswith("add_noadvertise") for n in asked)
    return out


RUNGS = {
    "nothing": ([], {1: 0, 2: 0, 3: 0, 4: 0, 5: 0}),
    "to nobody": (["do_not_announce_to_any"], {}),
    "not to one": ([("do_not_announce_to_peer", 65002)], {1: 0, 3: 0, 4: 0}),
    "only to one": (["do_not_announce_to_any", ("announce_to_peer", 65002)], {2: 0, 5: 0}),
    "never beats only": (
        [("do_not_announce_to_peer", 65001), ("announce_to_peer", 65001)],
        {2: 0, 3: 0, 4: 0, 5: 0},
    ),
    "not to the near": ([("do_not_announce_to_peers_with_rtt_lower_than", 20)], {3: 0, 4: 0, 5: 0}),
    "not to the far": ([("do_not_announce_to_peers_with_rtt_higher_than", 20)], {1: 0, 2: 0, 5: 0}),
    "one of the far all the same": (
        [("do_not_announce_to_peers_with_rtt_higher_than", 20), ("announce_to_peer", 65003)],
        {1: 0, 2: 0, 3: 0, 5: 0},
    ),
    "only to the near": (
        ["do_not_announce_to_any", ("announce_to_peers_with_rtt_lower_than", 20)],
        {1: 0, 2: 0},
    ),
    "only to the far": (
        ["do_not_announce_to_any", ("announce_to_peers_with_rtt_higher_than", 100)],
        {3: 0},
    ),
    "between": (
        [
            "do_not_announce_to_any",
            ("announce_to_peers_with_rtt_higher_than", 5),
            ("do_not_announce_to_peers_with_rtt_higher_than", 100),
        ],
        {2: 0, 4: 0},
    ),
    "a time that is no threshold": (
        [("do_not_announce_to_peers_with_rtt_lower_than", 21)],
        {1: 0, 2: 0, 3: 0, 4: 0, 5: 0},
    ),
    "prepend to all": (["prepend_twice_to_any"], dict.fromkeys(FAR, 2)),
    "prepend to one": ([("prepend_thrice_to_peer", 65003)], {1: 0, 2: 0, 3: 3, 4: 0, 5: 0}),
    "one before all": (
        ["prepend_thrice_to_any", ("prepend_once_to_peer", 65002)],
        {1: 3, 2: 1, 3: 3, 4: 3, 5: 1},
    ),
    "once before twice": (
        [("prepend_twice_to_peer", 65001), ("prepend_once_to_peer", 65001)],
        {1: 1, 2: 0, 3: 0, 4: 0, 5: 0},
    ),
    "the farthest first": (
        [
            ("prepend_once_to_peers_with_rtt_higher_than", 20),
            ("prepend_thrice_to_peers_with_rtt_higher_than", 100),
        ],
        {1: 0, 2: 0, 3: 3, 4: 1, 5: 0},
    ),
    "the nearest first": (
        [
            ("prepend_once_to_peers_with_rtt_lower_than", 100),
            ("prepend_thrice_to_peers_with_rtt_lower_than", 5),
        ],
        {1: 3, 2: 1, 3: 0, 4: 1, 5: 0},
    ),
    "far before near before all": (
        [
            ("prepend_once_to_peers_with_rtt_lower_than", 100),
            ("prepend_twice_to_peers_with_rtt_higher_than", 20),
            "prepend_thrice_to_any",
        ],
        {1: 1, 2: 1, 3: 2, 4: 2, 5: 3},
    ),
    "NO_EXPORT to all": (["add_noexport_to_any"], dict.fromkeys(FAR, T_NO_EXPORT)),
    "NO_ADVERTISE to one": (
        [("add_noadvertise_to_peer", 65001)],
        {1: T_NO_ADVERTISE, 2: 0, 3: 0, 4: 0, 5: 0},
    ),
    "all of it": (
        [
            "prepend_once_to_any",
            "add_noadvertise_to_any",
            ("add_noexport_to_peer", 65002),
            ("do_not_announce_to_peer", 65003),
        ],
        {1: 9, 2: 13, 4: 9, 5: 13},
    ),
}


@pytest.mark.parametrize("form", KEYS)
@pytest.mark.parametrize("rung", RUNGS)
def test_rungs(everything, rung, form):
    """Each step of the ladder, in each form."""
    asked, want = RUNGS[rung]
    engine = engine_of(everything)
    texts = definitions_of(everything)
    tags = Tags(texts, RS_ASN, THRESHOLDS, FAR)
    values = []
    for item in asked:
        name, number = item if isinstance(item, tuple) else (item, None)
        values.append(tags.spelled(form, texts[name][form], number))
    attrs = {KEYS[form]: tuple(values)} if values else {}
    assert compiled(engine, **attrs) == want
    assert wanted(tags, attrs) == want
    engine.control.use_rules(None)


@pytest.mark.parametrize(
    ("form", "number"), [("std", 64700), ("ext", WIDE), ("lrg", WIDE), ("ext", 64700)]
)
def test_members_with_large_numbers(everything, form, number):
    """Where there is no room for them, by the number that stands for theirs."""
    engine = engine_of(everything)
    texts = definitions_of(everything)
    tags = Tags(texts, RS_ASN, THRESHOLDS, FAR)
    value = tags.spelled(form, texts["do_not_announce_to_peer"][form], number)
    found = compiled(engine, **{KEYS[form]: (value,)})
    assert (4 not in found) == (number == WIDE or form == "std")


NUMBERS = st.sampled_from([0, 5, 20, 21, 100, RS_ASN, 64700, *ASNS])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_against_the_plain_reading(everything, data):
    """Random tags of all forms together, some by definitions, some beside them."""
    texts = definitions_of(everything)
    tags = Tags(texts, RS_ASN, THRESHOLDS, FAR)
    attrs = {key: [] for key in KEYS.values()}
    for name in data.draw(st.lists(st.sampled_from(sorted(texts)), max_size=6)):
        form = data.draw(st.sampled_from(sorted(texts[name])))
        value = tags.spelled(form, texts[name][form], data.draw(NUMBERS))
        if value is not None:
            attrs[KEYS[form]].append(value)
    for high, low in data.draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2)):
        attrs["communities"].append((high & 0xFFFF) << 16 | low & 0xFFFF)
        attrs["ext_communities"].append(
            bytes([0, 2]) + (high & 0xFFFF).to_bytes(2, "big") + low.to_bytes(4, "big")
        )
    given_attrs = {key: tuple(values) for key, values in attrs.items() if values}
    assert compiled(engine_of(everything), **given_attrs) == wanted(tags, given_attrs)


def sent(engine, prefix="10.0.0.0/16", family=V4):
    """What each member has of a prefix."""
    engine.flush()
    ((view,), (view6,)) = (
        engine.exporter.views if family is V6 else (engine.exporter.views[0], (0,))
    )
    adj = (view6 if family is V6 else view).adj
    h = engine.handle(prefix)
    handles = {slot: adj.sent_to(h, slot) for slot in FAR}
    return {slot: plain(engine.attrs.describe(a)) for slot, a in handles.items() if a}


def world(communities, **join):
    engine = engine_of(communities)
    engine.members = [engine.join(slot, **join) for slot in FAR]
    return engine


def test_a_tag_takes_nobody_out_of_the_group():
    """One view and one log, whatever members get of each route; and nothing is left behind."""
    engine = world(Communities(preset=Preset.AROUTESERVER))
    tag = 65512 << 16 | 65002
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),), communities=(tag, 7 << 16 | 7))
    found = sent(engine)
    assert found[2]["as_path"] == ((SEQ, (65001, 65001, 65001)),)
    assert found[3]["as_path"] == ((SEQ, (65001,)),)
    assert all(a["communities"] == (7 << 16 | 7,) for a in found.values())
    assert len(list(engine.all_groups())) == 1
    # The same for nobody: back to one form.
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),), communities=(7 << 16 | 7,))
    assert {a["as_path"] for a in sent(engine).values()} == {((SEQ, (65001,)),)}
    engine.withdraw_all()
    assert engine.attrs.stats()["sets"] == 0
    assert engine.exporter.rewriter.stats()["forms"] == 0
    while engine.members:
        engine.leave(engine.members.pop())  # and with the last one the log goes
    engine.sets.drop_cache()
    assert engine.sets.stats()["sets"] == 2


def test_targets_that_are_not_there_cost_no_part(everything):
    engine = engine_of(everything)
    texts = definitions_of(everything)
    tags = Tags(texts, RS_ASN, THRESHOLDS, FAR)
    values = [
        tags.spelled("lrg", texts[name]["lrg"], number)
        for name, number in (("prepend_once_to_peer", 7), ("add_noexport_to_peer", RS_ASN))
    ]
    h = engine.intern(large_communities=tuple(values))
    assert engine.control.parts_of_set(h, 64) == []
    assert engine.sets.stats()["sets"] == 2
    engine.attrs.drop(h)


@pytest.mark.parametrize("addpath", [False, True])
def test_members_come_and_go(addpath):
    """What is compiled for the members there are is compiled anew; parts follow."""
    engine = world(Communities(preset=Preset.AROUTESERVER), addpath=addpath)
    tag = 65512 << 16 | 65002
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),), communities=(tag,))
    assert len(sent(engine)[2]["as_path"][0][1]) == 3
    for slots, count in (([3], {2: 1, 3: 3}), ([2], {2: 3, 3: 1}), ([], {2: 1, 3: 1})):
        engine.control.set_peers({65001: [1], 65002: slots})
        _, changed = recompile(engine.rib, 1, 1000)
        assert changed
        mark_all(engine.rib.tables[0], 1, 1000, False)
        found = sent(engine)
        assert {slot: len(found[slot]["as_path"][0][1]) for slot in count} == count
    assert recompile(engine.rib, 1, 1000) == (0, False)


# --- what we tell ---------------------------------------------------------------------------------


def state_filter(**values):
    """A filter that finds a state out, and no more."""
    from rs._fastpath.asnset import AsnSet
    from rs._fastpath.pfxset import PrefixSet

    found = Filter()
    if "origins" in values:
        found.irr_origins = AsnSet(values["origins"], [])
    if "prefixes" in values:
        found.irr_prefixes = PrefixSet()
        for prefix in values["prefixes"]:
            found.irr_prefixes.add(prefix, 16, 16)
    found.finish()
    return found


def test_informational_communities_by_state():
    engine = world(Communities(preset=Preset.AROUTESERVER))
    forged = ((RS_ASN, 1000, 1), (RS_ASN, 64512, 11), (7, 7, 7))
    engine.rib.set_filter(1, state_filter(origins=[65001], prefixes=["10.9.0.0/16"]))
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),), large_communities=forged)
    told = {(7, 7, 7), (RS_ASN, 1000, 3), (RS_ASN, 64512, 10), (RS_ASN, 64512, 21)}
    assert {frozenset(a["large_communities"]) for a in sent(engine).values()} == {frozenset(told)}
    # The state changes: told anew, though the attributes have not changed.
    engine.rib.set_filter(1, state_filter(origins=[65009], prefixes=["10.0.0.0/16"]))
    recheck_step(engine.rib.tables[0], [1], 1, 1000)
    told ^= {(RS_ASN, 64512, 10), (RS_ASN, 64512, 11), (RS_ASN, 64512, 20), (RS_ASN, 64512, 21)}
    assert {frozenset(a["large_communities"]) for a in sent(engine).values()} == {frozenset(told)}


@pytest.mark.parametrize(
    ("origins", "prefixes", "want"),
    [
        ([65001], ["10.0.0.0/16"], {11, 21}),
        ([65001], ["10.9.0.0/16"], {10, 21, 41}),
        ([65009], ["10.0.0.0/16"], {11, 20, 41}),
        ([65009], ["10.9.0.0/16"], {10, 20, 41}),
    ],
)
def test_a_white_list_of_routes_is_told(origins, prefixes, want):
    engine = world(Communities(preset=Preset.AROUTESERVER))
    found = state_filter(origins=origins, prefixes=prefixes)
    found.enforce_origin = found.enforce_prefix = True
    found.set_white_routes([("10.0.0.0/16", 16, 16, 65001)])
    engine.rib.set_filter(1, found)
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),))
    told = {c[2] for c in sent(engine)[2]["large_communities"] if c[1] == 64512}
    assert told == want
    ((_, _, _, flags, _, _),) = engine.rib.tables[0].paths_of(engine.handle("10.0.0.0/16"))
    assert irr_state(flags) == ("valid" if want == {11, 21} else "invalid")


def test_a_changed_state_that_nobody_is_told_moves_nothing():
    engine = world(Communities())
    engine.rib.set_filter(1, state_filter(origins=[65001]))
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),))
    sent(engine)
    engine.rib.set_filter(1, state_filter(origins=[65009]))
    recheck_step(engine.rib.tables[0], [1], 1, 1000)
    assert engine.exporter.dirty() == 0


def test_learnt_from_and_origin():
    engine = world(Communities(preset=Preset.EURO_IX))
    engine.announce(4, "10.0.0.0/16", as_path=((SEQ, (WIDE, 64496, 64497)),))
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001, 1, 2, 64497)),))
    found = sent(engine)
    assert (RS_ASN, 1010, WIDE) in found[1]["large_communities"]
    assert (RS_ASN, 1010, 65001) in found[4]["large_communities"]
    assert all((RS_ASN, 1011, 64497) in a["large_communities"] for a in found.values())


def test_reject_communities():
    both = Communities(preset=Preset.AROUTESERVER)
    assert reject_communities(both, RS_ASN, RejectReason.FILTER_BOGON_ASN, 65001) == {
        "communities": (65520 << 16 | 7,),
        "large_communities": ((RS_ASN, 65520, 7), (RS_ASN, 1101, 4)),
    }
    assert reject_communities(both, RS_ASN, RejectReason.AS_LOOP, 65001) == {
        "communities": (65520 << 16,),
        "large_communities": ((RS_ASN, 65520, 0),),
    }
    euro = Communities(preset=Preset.EURO_IX)
    many = RejectReason.FILTER_COMMUNITIES
    assert reject_communities(euro, RS_ASN, many, 1) == {"large_communities": ((RS_ASN, 1101, 15),)}
    assert reject_communities(Communities(), RS_ASN, many, 1) == {}
    own, faults = read_communities(
        {
            "rejected_route_announced_by": {"std": "65521:dyn_val", "ext": "rt:65521:dyn_val"},
            "reject_cause_map": {"6": {"std": "65522:6"}},
        },
        RS_ASN,
    )
    assert faults == []
    assert reject_communities(own, RS_ASN, RejectReason.FIRST_AS, WIDE) == {
        "communities": (65522 << 16 | 6,),
        "ext_communities": (bytes.fromhex("0002fff100061a80"),),
    }


# --- black holes and graceful shutdown ------------------------------------------------------------

BLACKHOLE = int(WellKnownCommunity.BLACKHOLE)
GSHUT = int(WellKnownCommunity.GRACEFUL_SHUTDOWN)
NO_EXPORT = int(WellKnownCommunity.NO_EXPORT)


def test_black_holes_go_to_those_who_accept_them():
    engine = world(Communities())
    engine.control.set_black_holes(V4, True, "192.0.2.66", True)
    engine.control.set_peers(engine.asns, no_black_holes=[2, 5])
    engine.announce(1, "10.0.0.0/16", communities=(BLACKHOLE, 7 << 16 | 7))
    engine.announce(3, "10.0.0.0/16", as_path=((SEQ, (64496, 1, 2)),))
    found = sent(engine)
    hole = {"next_hop": "192.0.2.66", "communities": (BLACKHOLE, 7 << 16 | 7, NO_EXPORT)}
    for slot in (3, 4):
        assert hole.items() <= found[slot].items()
    for slot in (1, 2, 5):  # who accepts none gets the next best
        assert found[slot]["next_hop"] == "192.0.2.1"
        assert "communities" not in found[slot]


def test_without_a_policy_a_black_hole_is_a_route_like_any_other():
    engine = world(Communities())
    engine.control.set_black_holes(V6, True)
    engine.control.set_peers(engine.asns, no_black_holes=[2])
    engine.announce(1, "10.0.0.0/16", communities=(BLACKHOLE,))
    found = sent(engine)
    assert set(found) == {2, 3, 4, 5}
    assert {a["next_hop"] for a in found.values()} == {"192.0.2.1"}


@pytest.mark.parametrize(
    ("prefix", "tagged", "want"),
    [
        ("10.1.2.3/32", True, 0),
        ("10.1.2.3/32", False, RejectReason.FILTER_IRR_PREFIX),
        ("10.1.0.0/16", False, RejectReason.NONE),
        ("10.1.0.0/17", True, RejectReason.FILTER_BLACKHOLE_LENGTH),
        ("10.2.0.1/32", True, RejectReason.FILTER_IRR_PREFIX),
        ("10.3.0.1/32", True, RejectReason.FILTER_BLACK_LIST),
    ],
)
def test_black_holes_on_import(prefix, tagged, want):
    """After IRR, where any part of a prefix will do; by lengths of their own."""
    from rs._fastpath.pfxset import PrefixSet

    engine = engine_of(Communities())
    found = state_filter(prefixes=["10.1.0.0/16"])
    found.enforce_prefix = True
    found.black_list = PrefixSet()
    found.black_list.add("10.3.0.0/16", 16, 32)
    found.set_lengths(V4, 8, 24)
    found.set_black_holes(V4, 24, 32)
    found.finish()
    engine.rib.set_filter(1, found)
    engine.announce(1, prefix, communities=(BLACKHOLE,) if tagged else None)
    ((_, _, _, flags, reason, _),) = engine.rib.tables[0].paths_of(engine.handle(prefix))
    assert (reason if flags & 1 else 0) == want


def test_graceful_shutdown_is_the_last_choice():
    engine = Engine()
    engine.peers(1, 2, 3)
    engine.peer(4, RS_ASN, PeerKind.IBGP)
    for slot in (1, 2, 3):
        engine.join(slot)
    engine.join(4, kind=PeerKind.IBGP)
    allows = Filter()
    allows.graceful_shutdown = True
    allows.finish()
    assert engine.rib.set_filter(1, allows)
    assert not engine.rib.set_filter(1, allows)
    engine.announce(1, "10.0.0.0/16", as_path=((SEQ, (65001,)),), communities=(GSHUT,))
    engine.announce(2, "10.0.0.0/16", as_path=((SEQ, (65002, 1, 2)),), communities=(GSHUT,))
    paths = engine.rib.tables[0].paths_of(engine.handle("10.0.0.0/16"))
    assert [slot for slot, *_ in paths] == [2, 1]  # of 2 it is not honored
    assert paths[1][4] == 1  # decided by LOCAL_PREF
    engine.flush()
    views = {v.adj.program.kind: v.adj for v in engine.exporter.views[0]}
    h = engine.handle("10.0.0.0/16")

    def internal():
        engine.flush()
        return engine.attrs.describe(views[PeerKind.IBGP].sent_to(h, 4))

    assert internal()["local_pref"] == 100
    engine.withdraw(2, "10.0.0.0/16")
    assert internal()["local_pref"] == 0
    assert internal()["communities"] == (GSHUT,)


@pytest.mark.parametrize("kind", list(PeerKind))
def test_our_own_graceful_shutdown_is_told_to_all(kind):
    engine = Engine()
    engine.peers(1, 2)
    engine.join(2, kind=kind, next_hop="10.0.0.1" if kind is PeerKind.EBGP else None)
    engine.announce(1, "10.0.0.0/16", local_pref=None)
    engine.announce(1, "10.1.0.0/16", communities=(7 << 16 | 7, GSHUT))
    for on in (False, True, False):
        engine.control.shut_down_gracefully(on)
        mark_all(engine.rib.tables[0], 1, 1000, False)
        engine.flush()
        (view,) = engine.exporter.views[0]
        found = [
            engine.attrs.describe(view.adj.sent_to(engine.handle(p), 2)).get("communities", ())
            for p in ("10.0.0.0/16", "10.1.0.0/16")
        ]
        assert found == [(GSHUT,) if on else (), (7 << 16 | 7, GSHUT)]
    engine.withdraw_all()
    assert engine.attrs.stats()["sets"] == 0
