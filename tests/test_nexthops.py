"""Next hops and optimal route reflection: metrics from every source, for everybody, against oracles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rs import joining, shownexthops
from rs._fastpath.orr import Vantage
from rs.config import AddPath, Role
from rs.errors import ConfigError
from rs.kernelroutes import Hop, LinkChange, Route, RouteChange
from rs.nexthopconfig import NextHops as NextHopsConfig
from rs.nexthopconfig import NextHopSource, OrrGroup
from rs.nexthops import read_metrics
from rs.peer import PeerKind
from tests import strategies
from tests.churn import ALL, SENDS, Churn
from tests.configs import MEMBER, RS, Folder
from tests.farends import BOTH, V4, Speaker, handle, make_config, make_neighbor, make_router
from tests.reference.decision import Options, rank, seen_from
from tests.reference.export import Kind
from tests.reference.nexthops import KernelRoute, KernelTable
from tests.routerkit import Lab as Kit
from tests.routers import Lab
from tests.strategies import Source
from tests.test_decide import PREFIX, Race, path

if TYPE_CHECKING:
    from rs.kernelroutes import KernelRoutes

HOPS = [f"192.0.2.{i}" for i in (1, 2, 3, 9)]


# --- the ranking of a group -----------------------------------------------------------------------


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    paths=st.lists(path, min_size=1, max_size=7),
    metrics=st.dictionaries(st.sampled_from(HOPS), st.sampled_from([0, 3, 3, 9])),
    med_always=st.booleans(),
    med_deterministic=st.booleans(),
    prefer_oldest=st.booleans(),
)
def test_a_group_ranks_by_its_own_metrics(
    paths, metrics, med_always, med_deterministic, prefer_oldest
):
    """Against the oracle: the same paths with other metrics; what we cannot reach nobody gets."""
    race = Race(
        med_always=med_always, med_deterministic=med_deterministic, prefer_oldest=prefer_oldest
    )
    for slot, fields in enumerate(paths, 1):
        race.add(slot, **{k: v for k, v in fields.items() if v is not None})
    engine = race.engine
    table = engine.rib.tables[V4]
    vantage = Vantage(engine.attrs, metrics.get)
    ours = race.check()
    options = Options(0, med_always, med_deterministic, prefer_oldest)
    wanted = rank(seen_from(race.paths.values(), metrics.get), options)
    found = vantage.ranking_of(table, handle(table, PREFIX))
    assert [(slot, path_id) for slot, path_id, _, _ in found] == [
        (p.peer, p.path_id) for p, _ in wanted
    ]
    assert [metric for *_, metric in found] == [p.igp_metric for p, _ in wanted]
    assert race.ranked() == ours  # and our own ranking is as it was


def test_a_handle_that_means_another_next_hop_is_asked_for_again():
    engine = Race().engine
    engine.peers(1, 2, kind=PeerKind.RR_CLIENT)
    asked: list[str] = []
    metrics = {"192.0.2.1": 5, "192.0.2.2": 7}
    vantage = Vantage(engine.attrs, lambda hop: asked.append(hop) or metrics.get(hop))
    table = engine.rib.tables[V4]
    engine.announce(1, PREFIX, next_hop="192.0.2.1")
    ((_, _, _, metric),) = vantage.ranking_of(table, handle(table, PREFIX))
    assert metric == 5
    vantage.ranking_of(table, handle(table, PREFIX))
    assert asked == ["192.0.2.1"]
    engine.announce(1, PREFIX, next_hop="192.0.2.2")  # the only next hop: the handle is free again
    engine.flush()
    ((_, _, _, metric),) = vantage.ranking_of(table, handle(table, PREFIX))
    assert metric == 7
    assert vantage.metrics() == {"192.0.2.2": 7}
    metrics["192.0.2.2"] = 8
    at, handles = vantage.resolve_step(1, 1000)
    assert (at, len(handles)) == (0, 1)
    assert vantage.resolve_step(1, 1000) == (0, [])


# --- what is ranked again -------------------------------------------------------------------------


def kernel_route(prefix: str, metric: int, *, link: int = 1, new: bool = True, **more: Any):
    route = Route(metric, metric, (Hop(link, "10.0.0.1"),), more.pop("refuses", False))
    return RouteChange(254, prefix, route, new, more.pop("replaces", False))


def router_with_kernel(tmp_path, *neighbors: str, more: str = "") -> Kit:
    keys = "\n".join(f'[[neighbors]]\naddress = "{n}"\nasn = 64500\n' for n in neighbors)
    text = (
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nrole = "route-reflector"\n'
        'listen = ["10.0.0.1:1790"]\n[defaults]\nroute_reflector_client = true\n'
        f'[next_hops]\nsource = "kernel"\n{more}\n{keys}'
    )
    return Kit(tmp_path, text)


def start_kernel(kernel: KernelRoutes, *changes: RouteChange) -> None:
    kernel.begin_dump()
    kernel.dumped([LinkChange(1, "eth0", True, False), *changes])
    kernel.end_dump()


def test_only_what_uses_a_changed_next_hop_is_ranked_again(tmp_path):
    lab = router_with_kernel(tmp_path, "10.1.0.1", "10.1.0.2", "10.1.0.3")
    router = lab.router
    kernel = router.next_hops.kernel
    # Nothing is known yet: all are reachable at 0.
    lab.up("10.1.0.1", "10.1.0.2", "10.1.0.3")
    lab.announce("10.1.0.1", "20.0.0.0/24", "20.0.1.0/24", hop="10.9.1.1", path=(65001,))
    lab.announce("10.1.0.2", "20.0.0.0/24", hop="10.9.2.1", path=(65001,))
    lab.announce("10.1.0.2", "20.0.2.0/24", hop="10.9.2.1", path=(65001,))
    lab.settle()
    assert router.attrs.stats()["next_hops_unreachable"] == 0
    start_kernel(kernel, kernel_route("10.9.1.0/24", 20), kernel_route("10.9.2.0/24", 10))
    router.next_hops.resolve()
    lab.settle()
    table = router.rib.tables[V4]
    (view,) = router.exporter.views[V4]

    def has(member: str, prefix: str) -> str | None:
        sent = view.adj.sent_to(handle(table, prefix), lab.peer(member).slot)
        return router.attrs.describe(sent)["next_hop"] if sent else None

    assert has("10.1.0.3", "20.0.0.0/24") == "10.9.2.1"
    evaluated, changes = router.exporter.evaluated, router.next_hops.changes
    kernel.changed([kernel_route("10.9.1.0/24", 5)])
    router.next_hops.resolve()
    lab.settle()
    assert router.next_hops.changes == changes + 1
    assert router.exporter.evaluated == evaluated + 2  # 20.0.2.0/24 has nothing to do with it
    assert has("10.1.0.3", "20.0.0.0/24") == "10.9.1.1"
    # A route that changes nothing for any next hop.
    kernel.changed([kernel_route("99.0.0.0/8", 5)])
    router.next_hops.resolve()
    lab.settle()
    assert router.exporter.evaluated == evaluated + 2
    # Unreachable, and back.
    kernel.changed([LinkChange(1, "eth0", False, False)])
    router.next_hops.resolve()
    lab.settle()
    assert has("10.1.0.3", "20.0.0.0/24") is None
    assert router.attrs.stats()["next_hops_unreachable"] == 2
    kernel.changed([LinkChange(1, "eth0", True, False)])
    router.next_hops.resolve()
    lab.settle()
    assert has("10.1.0.3", "20.0.0.0/24") == "10.9.1.1"


def test_changes_that_come_during_a_round_make_one_more(tmp_path):
    lab = router_with_kernel(tmp_path, "10.1.0.1")
    hops = lab.router.next_hops
    for _ in range(50):
        hops.resolve()
    assert hops.busy
    lab.settle()
    assert hops.rounds == 1
    hops.resolve()
    next(iter(lab.router.scheduler._jobs))  # a step of the round
    hops.resolve()
    lab.settle()
    assert hops.rounds <= 3


def test_until_another_table_is_there_what_counted_before_counts_on(tmp_path):
    from rs import reload
    from rs.configfile import load_config

    lab = router_with_kernel(tmp_path, "10.1.0.1", "10.1.0.2")
    hops = lab.router.next_hops
    path = tmp_path / "rs.toml"
    text = path.read_text()
    assert hops.find("10.9.1.1") == 0
    start_kernel(hops.kernel, kernel_route("10.9.1.0/24", 20))
    assert (hops.find("10.9.1.1"), hops.find("10.9.2.1")) == (20, None)
    path.write_text(text.replace('"kernel"', '"kernel"\ntable = 100'))
    reload.apply(lab.router, load_config(path))
    path.write_text(text.replace('"kernel"', '"kernel"\ntable = 101'))
    reload.apply(lab.router, load_config(path))
    assert not hops.kernel.ready
    assert (hops.find("10.9.1.1"), hops.find("10.9.2.1")) == (20, None)
    start_kernel(hops.kernel)
    assert hops.find("10.9.1.1") is None
    path.write_text(text.replace('"kernel"', '"none"'))
    reload.apply(lab.router, load_config(path))
    assert hops.kernel is None
    assert hops.find("10.9.1.1") == 0


# --- exactness ------------------------------------------------------------------------------------

LINKS = (1, 2, 3)
NETS = ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/29", "192.0.2.8/30", "192.0.2.4/32", "192.0.2.5/32"]
NETS6 = ["::/0", "2001:db8:1::/48", "2001:db8:1::4/126", "2001:db8:1::2/128", "2001:db8::/64"]
GROUPS = {
    "west": {"192.0.2.0/28": 7, "192.0.2.3/32": 1, "192.0.2.5/32": 90, "2001:db8::/32": 4},
    "east": {"0.0.0.0/0": 50, "192.0.2.4/30": 2, "2001:db8:1::4/126": 2, "::/0": 9},
}


class KernelChurn(Churn):
    """Churn of routes, and of the kernel's and the groups' metrics beside them."""

    truth: KernelTable

    def step(self) -> None:
        if not self.src.chance(12):
            super().step()
            return
        src, lab = self.src, self.lab
        kernel = lab.router.next_hops.kernel
        assert kernel is not None
        if src.chance(25):
            link = src.pick(LINKS)
            is_up = link in self.truth.down
            (self.truth.down.discard if is_up else self.truth.down.add)(link)
            kernel.changed([LinkChange(link, f"eth{link}", is_up, False)])
        elif src.chance(50) and self.truth.routes:
            self.remove(src.pick(sorted(self.truth.routes, key=repr)), kernel)
        else:
            self.add(kernel)
        lab.router.next_hops.resolve()
        assert lab.oracle is not None
        lab.oracle.rejudge()

    def add(self, kernel: KernelRoutes) -> None:
        src = self.src
        links = tuple(sorted({src.pick(LINKS) for _ in range(src.integers(1, 2))}))
        new = KernelRoute(
            src.pick(src.pick((NETS, NETS6))),
            src.pick((0, 5, 10, 10)),
            links,
            refuses=src.chance(15),
        )
        same = [
            r for r in self.truth.routes if (r.prefix, r.priority) == (new.prefix, new.priority)
        ]
        self.truth.routes -= set(same)
        self.truth.routes.add(new)
        kernel.changed([told(new, True, replaces=bool(same))])

    def remove(self, old: KernelRoute, kernel: KernelRoutes) -> None:
        self.truth.routes.discard(old)
        kernel.changed([told(old, False)])


def told(route: KernelRoute, is_new: bool, *, replaces: bool = False) -> RouteChange:
    """A change as the kernel tells it."""
    hops = tuple(Hop(link, "10.0.0.1") for link in route.links)
    return RouteChange(
        254,
        route.prefix,
        Route(route.metric, route.priority, hops, route.refuses),
        is_new,
        replaces,
    )


@pytest.mark.parametrize("seed", ALL)
@pytest.mark.parametrize("options", [{}, {"deterministic_med": False}])
def test_exact_whatever_the_kernel_does(seed, options):
    """Reflector clients with and without a group, with ADD-PATH and without, under every churn."""
    src = Source.seeded(seed * 7 + len(options))
    section = make_router(role=Role.ROUTE_REFLECTOR, **options)
    peers = strategies.reflector_peers(14)
    speakers = [
        Speaker(p.address, p.asn, p.router_id, hears_paths=BOTH if src.chance(30) else ())
        for p in peers
    ]
    neighbors = []
    for peer in peers:
        keys: dict[str, Any] = {"address": peer.address, "first_as_check": False}
        if peer.kind is not Kind.EBGP:
            keys["route_reflector_client"] = peer.kind is Kind.RR_CLIENT
            keys["orr"] = src.pick((None, "west", "east"))
        neighbors.append(
            make_neighbor(
                section,
                peer.asn,
                add_path=AddPath.SEND,
                add_path_limit=src.pick((0, 1, 2)),
                add_path_send=src.pick(SENDS),
                **keys,
            )
        )
    config = make_config(
        section,
        neighbors,
        next_hops=NextHopsConfig(source=NextHopSource.KERNEL, default_route=True),
        orr=tuple(OrrGroup(name=name, metrics=metrics) for name, metrics in GROUPS.items()),
    )
    lab = Lab(config, seed=seed)
    churn = KernelChurn(src, lab, speakers, peers, strategies.reflector_attrs, prefixes=40)
    churn.truth = KernelTable(default_route=True)
    assert lab.oracle is not None
    lab.oracle.options.metrics.get = churn.truth.get  # type: ignore[method-assign]
    kernel = lab.router.next_hops.kernel
    assert kernel is not None
    start_kernel(kernel, *(LinkChange(link, f"eth{link}", True, False) for link in LINKS))
    for prefix in (*NETS[1:3], *NETS6[1:]):
        route = KernelRoute(prefix, 10, (1,))
        churn.truth.routes.add(route)
        kernel.changed([told(route, True)])
    n = 0
    for i in range(3):
        churn.run(150)
        lab.settle()
        n += lab.check(f"RS_SEED={seed} round {i}:")
    churn.finish()
    assert n > 20


# --- groups ---------------------------------------------------------------------------------------

ORR = """
[[orr]]
name = "west"
[orr.metrics]
"10.9.1.0/24" = 10
"10.9.2.1" = 20
[[orr]]
name = "east"
file = "east.json"
"""


def orr_lab(tmp_path, east: str = '{"10.9.1.1": 20, "10.9.2.0/24": 10}') -> Kit:
    (tmp_path / "east.json").write_text(east)
    clients = "".join(
        f'[[neighbors]]\naddress = "10.1.0.{i}"\nasn = 64500\n'
        + (f'orr = "{group}"\n' if group else "")
        for i, group in enumerate(("", "", "west", "west", "east", "east", ""), 1)
    )
    text = (
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nrole = "route-reflector"\n'
        'listen = ["10.0.0.1:1790"]\n[defaults]\nroute_reflector_client = true\n'
        f"{ORR}{clients}"
    )
    lab = Kit(tmp_path, text)
    lab.up(*(f"10.1.0.{i}" for i in range(1, 8)))
    lab.announce("10.1.0.1", "20.0.0.0/24", hop="10.9.1.1", path=(65001,))
    lab.announce("10.1.0.2", "20.0.0.0/24", hop="10.9.2.1", path=(65001,))
    lab.settle()
    return lab


def next_hops_sent(lab: Kit) -> dict[str, str | None]:
    """What each client has for 20.0.0.0/24, by its address."""
    router = lab.router
    table = router.rib.tables[V4]
    found: dict[str, str | None] = {}
    for peer in router.peers.values():
        sent = peer.view(V4).adj.sent_to(handle(table, "20.0.0.0/24"), peer.slot)
        found[peer.address] = router.attrs.describe(sent)["next_hop"] if sent else None
    return found


def test_groups_share_everything_but_the_choice(tmp_path):
    lab = orr_lab(tmp_path)
    found = next_hops_sent(lab)
    assert [found[f"10.1.0.{i}"] for i in (3, 4)] == ["10.9.1.1"] * 2
    assert [found[f"10.1.0.{i}"] for i in (5, 6)] == ["10.9.2.1"] * 2
    assert found["10.1.0.7"] == "10.9.1.1"  # the lower router id: both are at 0 for us
    assert found["10.1.0.1"] is None  # its own is the best there is
    # Three views of the family; the exported forms of a set are there once.
    assert len(lab.router.exporter.views[V4]) == 3
    assert lab.router.exporter.rewriter.stats()["forms"] == 2


def test_a_file_is_read_again_when_it_changes(tmp_path, caplog):
    lab = orr_lab(tmp_path)
    router = lab.router
    east = tmp_path / "east.json"
    rounds = router.next_hops.rounds
    router.housekeeping(lab.time)
    lab.settle()
    assert router.next_hops.rounds == rounds
    east.write_text(json.dumps({"10.9.1.0/24": 1, "10.9.2.1": 2}))
    router.housekeeping(lab.time)
    lab.settle()
    found = next_hops_sent(lab)
    assert [found[f"10.1.0.{i}"] for i in (3, 5, 6)] == ["10.9.1.1"] * 3
    # With faults, or gone, what it said stays; it is said once.
    east.write_text('{"10.9.1.0/24": 1, "10.9.2.1": "near"}')
    router.housekeeping(lab.time)
    router.housekeeping(lab.time)
    faults = [r.getMessage() for r in caplog.records]
    assert len(faults) == 1
    assert "east.json: 10.9.2.1:" in faults[0]
    assert "what it said before stays in use" in faults[0]
    assert shownexthops.status(router)["faults"]
    east.unlink()
    router.housekeeping(lab.time)
    lab.settle()
    assert next_hops_sent(lab) == found
    # Unreachable for the group is not usable for it.
    east.write_text('{"10.9.2.0/24": 3}')
    router.housekeeping(lab.time)
    lab.settle()
    assert next_hops_sent(lab)["10.1.0.5"] == "10.9.2.1"
    east.write_text("{}")
    router.housekeeping(lab.time)
    lab.settle()
    assert next_hops_sent(lab)["10.1.0.5"] is None
    assert next_hops_sent(lab)["10.1.0.3"] == "10.9.1.1"
    assert shownexthops.status(router)["faults"] == []


def test_a_client_moves_to_another_group_by_reload(tmp_path):
    from rs import reload
    from rs.configfile import load_config

    lab = orr_lab(tmp_path)
    path = tmp_path / "rs.toml"
    text = path.read_text()
    path.write_text(text.replace('orr = "west"', 'orr = "east"'))
    done = reload.apply(lab.router, load_config(path))
    assert (done.changed, done.reset) == (2, 0)
    lab.settle()
    found = next_hops_sent(lab)
    assert [found[f"10.1.0.{i}"] for i in (3, 4, 5, 6)] == ["10.9.2.1"] * 4
    assert len(lab.router.exporter.views[V4]) == 2
    # Metrics that differ are taken over in place; a group that nobody uses may go.
    path.write_text(
        text.replace('orr = "west"', 'orr = "east"')
        .replace('[[orr]]\nname = "west"\n[orr.metrics]\n"10.9.1.0/24" = 10\n"10.9.2.1" = 20\n', "")
        .replace('file = "east.json"', 'metrics = { "0.0.0.0/0" = 1 }')
    )
    reload.apply(lab.router, load_config(path))
    lab.settle()
    assert next_hops_sent(lab)["10.1.0.3"] == "10.9.1.1"
    assert set(lab.router.next_hops.groups) == {"east"}
    # A file that is not there: nothing changes.
    path.write_text(text.replace("east.json", "nowhere.json"))
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        reload.apply(lab.router, load_config(path))
    assert set(lab.router.next_hops.groups) == {"east"}


def test_static_metrics_change_by_reload_and_only_theirs_is_evaluated(tmp_path):
    from rs import reload
    from rs.configfile import load_config

    lab = orr_lab(tmp_path)
    path = tmp_path / "rs.toml"
    lab.announce("10.1.0.2", "30.0.0.0/24", hop="10.9.3.1", path=(65001,))
    lab.settle()
    igp = (
        '\n[[igp]]\nprefix = "0.0.0.0/0"\nmetric = 0\n[[igp]]\nprefix = "10.9.1.0/24"\nmetric = 9\n'
    )
    text = path.read_text()
    path.write_text(text + igp)
    before = lab.router.exporter.evaluated
    reload.apply(lab.router, load_config(path))
    lab.settle()
    assert next_hops_sent(lab)["10.1.0.7"] == "10.9.2.1"
    assert lab.router.exporter.evaluated == before + 1


def test_an_adj_rib_out_that_nobody_has_goes_in_slices(tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "RELEASE_STEP", 16)
    lab = orr_lab(tmp_path)
    for i in range(100):
        path = (65001, 1 + i)
        lab.announce("10.1.0.1", f"20.0.{i + 1}.0/24", hop="10.9.1.1", path=path)
    lab.settle()
    attrs = lab.router.attrs
    handles = range(1, attrs.stats()["sets"] + 1)
    references = sum(map(attrs.refs, handles))
    lab.down("10.1.0.3")
    assert lab.router.scheduler.jobs == 0  # its group has another member
    lab.down("10.1.0.4")
    assert lab.router.scheduler.jobs == 2  # a view of each family
    assert sum(map(attrs.refs, handles)) == references
    assert len(lab.router.exporter.views[V4]) == 2
    lab.settle()
    assert lab.router.scheduler.jobs == 0
    assert sum(map(attrs.refs, handles)) == references - 101


def test_a_neighbor_from_a_range_joins_its_group(tmp_path):
    (tmp_path / "east.json").write_text("{}")
    text = (
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nrole = "route-reflector"\n'
        'listen = ["10.0.0.1:1790"]\n'
        f'{ORR}[[neighbors]]\nrange = "10.1.0.0/24"\nroute_reflector_client = true\norr = "west"\n'
        '[[neighbors]]\nrange = "10.2.0.0/24"\n'
    )
    lab = Kit(tmp_path, text)
    lab.up("10.1.0.1", "10.1.0.2", "10.1.0.3", asn=64500)
    lab.announce("10.1.0.1", "20.0.0.0/24", hop="10.9.2.1", path=(65001,))
    lab.announce("10.1.0.2", "20.0.0.0/24", hop="10.9.1.1", path=(65001,))
    lab.settle()
    assert next_hops_sent(lab)["10.1.0.3"] == "10.9.1.1"
    assert len(lab.router.exporter.views[V4]) == 1


# --- show -----------------------------------------------------------------------------------------


def walked(lab: Kit) -> list[dict[str, Any]]:
    walk = shownexthops.NextHopWalk(lab.router)
    found: list[dict[str, Any]] = []
    while (records := walk.step(lambda: True)) is not None:
        found += records
    return found


def test_show_next_hops(tmp_path):
    lab = router_with_kernel(
        tmp_path, "10.1.0.1", more='[[igp]]\nprefix = "10.9.3.0/24"\nmetric = 3\n'
    )
    kernel = lab.router.next_hops.kernel
    assert shownexthops.status(lab.router)["kernel"] == "never-read"
    start_kernel(
        kernel,
        kernel_route("10.9.1.0/24", 20),
        RouteChange(254, "2001:db8::/64", Route(0, 256, (Hop(1, ""),), False), True, False),
    )
    lab.up("10.1.0.1")
    for hop, prefix in (("10.9.1.1", "20.0.0.0/24"), ("10.9.2.1", "20.0.1.0/24")):
        lab.announce("10.1.0.1", prefix, hop=hop, path=(65001,))
    lab.announce("10.1.0.1", "20.0.2.0/24", "20.0.3.0/24", hop="10.9.3.1", path=(65001,))
    lab.announce("10.1.0.1", "2001:db8:9::/48", hop="2001:db8::7", path=(65001,))
    lab.settle()
    rows = {row.pop("address"): row for row in walked(lab)}
    assert list(rows) == ["10.9.1.1", "10.9.2.1", "10.9.3.1", "2001:db8::7"]
    assert rows["10.9.1.1"] == {
        "metric": 20,
        "source": "kernel",
        "route": "10.9.1.0/24",
        "gateway": "10.0.0.1",
        "interface": "eth0",
        "paths": 1,
        "attribute_sets": 2,  # as received, and as reflected
        "orr": {},
    }
    assert (rows["10.9.2.1"]["metric"], rows["10.9.2.1"]["route"]) == (None, None)
    assert (rows["10.9.3.1"]["metric"], rows["10.9.3.1"]["source"]) == (3, "static")
    assert rows["10.9.3.1"]["paths"] == 2
    assert (rows["2001:db8::7"]["metric"], rows["2001:db8::7"]["gateway"]) == (0, None)
    found = shownexthops.status(lab.router)
    assert (found["known"], found["unreachable"], found["kernel"]) == (4, 1, "in-step")
    assert found["kernel_prefixes"] == 2
    assert walked(router_with_kernel(tmp_path)) == []


# --- configuration --------------------------------------------------------------------------------


@pytest.fixture
def problems(tmp_path):
    def call(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            Folder(tmp_path).load(text)
        return caught.value.problems

    return call


INTERNAL = '[[neighbors]]\naddress = "10.1.0.9"\nasn = 64500\n'
FAULTS = {
    '[next_hops]\nsource = "static"\n': 'next_hops.source (line 5): "static" without [[igp]]',
    '[next_hops]\nsource = "none"\n[[igp]]\nprefix = "::/0"\nmetric = 1\n': '"none" beside [[igp]]',
    '[next_hops]\nsource = "ospf"\n': '"none" or "static" or "kernel"',
    "[next_hops]\ntable = 0\n": "next_hops.table (line 5)",
    '[[orr]]\nname = "a"\n': "orr[0] (line 4): want metrics or file, or both",
    '[[orr]]\nmetrics = { "::/0" = 1 }\n': "orr[0].name (line 4): missing",
    '[[orr]]\nname = "a"\nmetrics = { "::/0" = 1, "10.0.0.1/8" = 2 }\n': "orr[0].metrics.10.0.0.1/8",
    '[[orr]]\nname = "a"\n[orr.metrics]\n"10.0.0.1" = -1\n': "(line 7)",
    '[[orr]]\nname = "a"\nmetrics = { "10.0.0.1" = 1, "10.0.0.1/32" = 2 }\n': "has a metric already",
    '[[orr]]\nname = "a"\nmetrics = 5\n': "want a table of addresses or prefixes",
    '[[orr]]\nname = "a"\nmetrics = {}\n' * 2: "a is there twice; first in",
    f'{INTERNAL}orr = "wets"\n[[orr]]\nname = "west"\nmetrics = {{}}\n': 'did you mean "west"',
    f'{INTERNAL}orr = "west"\n': 'want an [[orr]] with name = "west"',
    f'{MEMBER}orr = "west"\n[[orr]]\nname = "west"\nmetrics = {{}}\n': "want asn = 64500",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_name_what_is_wrong(problems, text):
    (problem,) = problems(RS + text)
    assert FAULTS[text] in problem


def test_sources_follow_from_igp(tmp_path):
    load = Folder(tmp_path).load
    igp = '[[igp]]\nprefix = "::/0"\nmetric = 1\n'
    assert load(RS).next_hop_source is NextHopSource.NONE
    assert load(RS + igp).next_hop_source is NextHopSource.STATIC
    kernel = load(RS + '[next_hops]\nsource = "kernel"\ntable = 1001\n' + igp)
    assert kernel.next_hop_source is NextHopSource.KERNEL
    assert kernel.next_hops.table == 1001
    assert load(RS + '[defaults]\norr = "a"\n[[orr]]\nname = "a"\nmetrics = {}\n' + MEMBER).orr


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.json", '{"10.0.0.1": 5, "2001:db8::/32": 6}', ""),
        ("m.toml", '"10.0.0.1" = 5\n"2001:db8::/32" = 6\n', ""),
        ("m.json", '{"10.0.0.1": 5', "m.json: "),
        ("m.json", "[1]", "m.json: a list does not fit; want a table"),
        ("m.json", "[" * 100_000, "m.json: "),
        ("m.toml", "10.0.0.1 = 5\n", "m.toml: 10: "),
        ("m.toml", '"10.0.0.1" = 5.0\n', "m.toml: 10.0.0.1: "),
        ("m.toml", None, "m.toml: No such file"),
    ],
)
def test_files_of_metrics(tmp_path, name, text, words):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    if not words:
        assert read_metrics(path) == {"10.0.0.1/32": 5, "2001:db8::/32": 6}
        return
    with pytest.raises(ValueError) as caught:
        read_metrics(path)
    assert words in str(caught.value)
