"""The decision process in the fast path: every step, every option, against the oracle's ranking."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rs._fastpath.walks import mark_all
from rs.iana import Decided
from rs.peer import PeerKind
from tests.engines import Engine
from tests.farends import SEQ, V4, handle
from tests.reference.decision import Options, Path, rank

PREFIX = "10.1.0.0/16"
CONFED, SET = 3, 1
METRICS = {"192.0.2.1": 0, "192.0.2.2": 5, "192.0.2.3": 5, "192.0.2.9": None}


class Race:
    """Paths for one prefix, in the engine and for the oracle."""

    def __init__(self, **options: bool) -> None:
        self.engine = Engine(metric_of=METRICS.get, as_loop=False, communities=False)
        self.options = options
        self.engine.rib.set_options(**options)
        self.paths: dict[tuple[int, int], Path] = {}

    def peer(self, slot: int, kind: PeerKind = PeerKind.EBGP, router_id: str | None = None) -> None:
        self.engine.peer(slot, kind=kind, reject_as_set=False)
        if router_id is not None:
            self.engine.rib.set_router_id(slot, router_id)

    def add(
        self,
        slot: int,
        *,
        kind: PeerKind = PeerKind.EBGP,
        router_id: int | None = None,
        ticks: int = 0,
        path_id: int = 0,
        new: bool = True,
        **attrs: object,
    ) -> None:
        number = 10 + slot if router_id is None else router_id
        if new:
            self.peer(slot, kind, f"0.0.{number >> 8}.{number & 255}")
        given_attrs = {
            "origin": 0,
            "as_path": ((SEQ, (64496,)),),
            "next_hop": "192.0.2.1",
            **attrs,
        }
        self.engine.announce(slot, PREFIX, ticks=ticks, path_id=path_id, **given_attrs)
        self.paths[slot, path_id] = Path(
            peer=slot,
            peer_asn=65000 + slot,
            ibgp=kind >= PeerKind.IBGP,
            router_id=number,
            address=f"10.1.{slot >> 8}.{slot & 255}",
            attrs=given_attrs,
            path_id=path_id,
            received=ticks,
            igp_metric=METRICS[given_attrs["next_hop"]],
        )

    def ranked(self) -> list[tuple[int, int, Decided]]:
        table = self.engine.rib.tables[V4]
        return [
            (slot, path_id, Decided(reason))
            for slot, path_id, _, flags, reason, _ in table.paths_of(handle(table, PREFIX))
            if not flags & 0x05
        ]

    def wanted(self) -> list[tuple[int, int, Decided]]:
        options = Options(
            own_asn=0,
            med_always=self.options.get("med_always", False),
            deterministic_med=self.options.get("med_deterministic", True),
            prefer_oldest=self.options.get("prefer_oldest", True),
        )
        return [(p.peer, p.path_id, step) for p, step in rank(self.paths.values(), options)]

    def check(self) -> list[tuple[int, int, Decided]]:
        found = self.ranked()
        assert found == self.wanted()
        return found


def seq(*asns):
    return ((SEQ, asns),)


STEPS = {
    "local preference": ({"local_pref": 101}, {}, Decided.LOCAL_PREF),
    "local preference absent is 100": ({}, {"local_pref": 99}, Decided.LOCAL_PREF),
    "a set counts one": (
        {"as_path": ((SEQ, (1,)), (SET, (2, 3, 4)))},
        {"as_path": seq(1, 2, 3)},
        Decided.AS_PATH_LENGTH,
    ),
    "origin": ({"origin": 0}, {"origin": 1}, Decided.ORIGIN),
    "MED absent is 0": ({}, {"med": 1}, Decided.MED),
    "external over internal": ({}, {"kind": PeerKind.IBGP}, Decided.EBGP_OVER_IBGP),
    "metric": ({}, {"next_hop": "192.0.2.2"}, Decided.IGP_METRIC),
    "oldest": ({"ticks": 1}, {"ticks": 2}, Decided.OLDEST),
    "router id": ({"router_id": 5}, {"router_id": 6}, Decided.ROUTER_ID),
    "router id, the oldest bit is no sign": (
        {"router_id": 5},
        {"router_id": 65535},
        Decided.ROUTER_ID,
    ),
    "originator stands for the router id": (
        {"router_id": 99, "originator_id": "0.0.0.5", "kind": PeerKind.IBGP},
        {"router_id": 6, "kind": PeerKind.IBGP},
        Decided.ROUTER_ID,
    ),
    "originator 0.0.0.0": (
        {"router_id": 99, "originator_id": "0.0.0.0", "kind": PeerKind.IBGP},
        {"router_id": 6, "kind": PeerKind.IBGP},
        Decided.ROUTER_ID,
    ),
    "cluster list": (
        {"router_id": 5, "cluster_list": ("1.1.1.1",), "kind": PeerKind.IBGP},
        {"router_id": 5, "cluster_list": ("1.1.1.1", "1.1.1.2"), "kind": PeerKind.IBGP},
        Decided.CLUSTER_LIST_LENGTH,
    ),
    "address": ({"router_id": 5}, {"router_id": 5}, Decided.PEER_ADDRESS),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("swapped", [False, True])
def test_each_step(name, swapped):
    better, worse, step = STEPS[name]
    race = Race()
    entries = [(1, better), (2, worse)]
    for slot, what in reversed(entries) if swapped else entries:
        race.add(slot, **what)
    assert race.check() == [(1, 0, Decided.BEST), (2, 0, step)]


def test_path_id_is_the_last_word():
    race = Race()
    race.add(1, path_id=7)
    race.add(1, path_id=3, new=False)
    assert race.check() == [(1, 3, Decided.BEST), (1, 7, Decided.PATH_ID)]


def test_unreachable_next_hops_are_not_ranked():
    race = Race()
    race.add(1, next_hop="192.0.2.9")
    race.add(2)
    assert race.check() == [(2, 0, Decided.BEST)]
    race.engine.attrs.set_metrics({**METRICS, "192.0.2.9": 0}.get)
    table = race.engine.rib.tables[V4]
    assert mark_all(table, 1, 1000) == 0
    assert [slot for slot, _, _ in race.ranked()] == [1, 2]


def test_med_is_for_one_neighboring_as():
    race = Race(prefer_oldest=False)
    race.add(1, as_path=seq(1, 9), med=5)
    race.add(2, as_path=seq(2, 9), med=1)
    assert race.check()[0][0] == 1
    race = Race(prefer_oldest=False, med_always=True)
    race.add(1, as_path=seq(1, 9), med=5)
    race.add(2, as_path=seq(2, 9), med=1)
    assert race.check() == [(2, 0, Decided.BEST), (1, 0, Decided.MED)]


def test_time_that_wraps_around():
    """Ticks are compared by difference: what came before 2^32 is older than what came after."""
    race = Race()
    race.add(1, ticks=2)
    race.add(2, ticks=0xFFFFFFF0)
    assert [slot for slot, _, _ in race.ranked()] == [2, 1]


def test_more_paths_than_fit_the_stack():
    race = Race()
    for slot in range(1, 200):
        race.add(slot, med=slot % 7, as_path=seq(1 + slot % 5), ticks=slot % 3)
    assert len(race.check()) == 199


path = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([PeerKind.EBGP, PeerKind.EBGP, PeerKind.IBGP, PeerKind.RR_CLIENT]),
        "router_id": st.integers(1, 4),
        "ticks": st.integers(0, 2),
        "as_path": st.sampled_from([seq(1, 2), seq(2, 1), seq(3, 1), seq(1), ((SET, (1, 2)),), ()]),
        "med": st.sampled_from([None, 0, 1, 2]),
        "origin": st.sampled_from([0, 0, 0, 1]),
        "next_hop": st.sampled_from(list(METRICS)),
        "local_pref": st.sampled_from([None, None, None, 100, 50]),
        "originator_id": st.sampled_from([None, None, "0.0.0.2", "0.0.0.0"]),
        "cluster_list": st.sampled_from([None, None, ("1.1.1.1",), ("1.1.1.1", "2.2.2.2")]),
    }
)


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    paths=st.lists(path, min_size=1, max_size=7),
    order=st.randoms(use_true_random=False),
    med_always=st.booleans(),
    med_deterministic=st.booleans(),
    prefer_oldest=st.booleans(),
)
def test_against_the_oracle(paths, order, med_always, med_deterministic, prefer_oldest):
    """Whatever the order of arrival in the table: the time it is stamped with is what counts."""
    race = Race(
        med_always=med_always, med_deterministic=med_deterministic, prefer_oldest=prefer_oldest
    )
    entries = list(enumerate(paths, 1))
    order.shuffle(entries)
    for slot, fields in entries:
        race.add(slot, **{k: v for k, v in fields.items() if v is not None})
        race.check()
    # And again when one of them goes.
    slot = entries[0][0]
    race.engine.withdraw(slot, PREFIX)
    del race.paths[slot, 0]
    race.check()
