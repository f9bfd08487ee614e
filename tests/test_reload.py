"""A new configuration into a running router: what each kind of key does to sessions and tables."""

from __future__ import annotations

import attrs
import pytest

from rs import reload
from rs.config import AddPath, AsSetRule, MedRule, Neighbor, Role, Router
from rs.configkeys import Effect, keys_of
from rs.configvalues import Endpoint
from rs.iana import AddPathMode, Family, RejectReason
from rs.messages import encode_open
from rs.peer import PeerKind, kind_of
from rs.session_types import SessionConfig
from tests.farends import BOTH, LOCAL, RS_ASN, SEQ, Speaker, make_config, make_neighbor, make_router
from tests.oracle import Metrics
from tests.reference import export
from tests.reference.rib import Held, RouterOptions, reject_reason
from tests.routers import Lab

NO_EXPORT = 0xFFFFFF01
MARKERS = {"notification", "request", "borr", "eorr", "eor"}
SET = 1


class Reloading(Lab):
    """A lab whose configuration may change; the oracle follows."""

    def __init__(self, n=3, *, router=None, neighbors=None, igp=None, **changes):
        self.section = router or make_router()
        self.all = [Speaker(f"10.1.0.{i}", 65000 + i, f"10.2.0.{i}") for i in range(1, n + 1)]
        self.neighbors = neighbors or [
            make_neighbor(self.section, s.asn, address=s.address, **changes) for s in self.all
        ]
        super().__init__(make_config(self.section, self.neighbors, igp))

    def start(self):
        for speaker in self.all:
            self.up(speaker)
        self.settle()
        return self.all

    def reload(self, *neighbors, router=None, igp=None):
        """Use these neighbors from now on; return what was done."""
        section = router or self.config.router
        config = make_config(section, [attrs.evolve(n, router=section) for n in neighbors], igp)
        was = {s: s.slot for s in self.speakers if s.up}
        self.listen()
        done = reload.apply(self.router, config)
        for peer in list(self.router.peers.values()):
            self.after(peer)
        self.config = config
        settings = config.router
        self.oracle.options = RouterOptions(
            role=export.Role(settings.role.value),
            asn=settings.asn,
            router_id=settings.router_id,
            cluster_id=settings.cluster_id,
            clusters=frozenset(n.cluster for n in config.neighbors if n.route_reflector_client),
            own_addresses=frozenset(e.host for e in settings.listen),
            allow_own_as=max((n.allow_own_as for n in neighbors), default=0),
            accept_as_sets=any(n.as_set is AsSetRule.ACCEPT for n in neighbors),
            metrics=Metrics(config.igp),
            med_always=settings.med is MedRule.ALWAYS,
            deterministic_med=settings.deterministic_med,
            prefer_oldest=settings.prefer_oldest,
        )
        for speaker, slot in was.items():
            if not speaker.up:
                self.oracle.peer_down(slot)
                continue
            self._describe(speaker)
            table = self.oracle.adj_rib_in[slot]
            for key, held in table.items():
                why = reject_reason(held.raw, self.oracle.peers[slot], self.oracle.options)
                table[key] = Held(held.raw, held.received, why, held.raw)
        self.settle()
        return done

    def listen(self):
        """Count what is told to the far ends from here on."""
        self._heard = {s: len(s.events) for s in self.speakers}

    def news(self, speaker):
        """What a speaker has been told since."""
        return speaker.events[self._heard[speaker] :]

    def change(self, which, **changes):
        """Change keys of one neighbor; None: of all."""
        self.neighbors = [
            attrs.evolve(n, **changes) if which is None or i == which else n
            for i, n in enumerate(self.neighbors)
        ]
        return self.reload(*self.neighbors)

    def undisturbed(self, *speakers):
        """Whether sessions are up and their far ends were asked for nothing."""
        for speaker in speakers:
            assert speaker.up
            assert not any(e[0] in MARKERS for e in self.news(speaker)), self.news(speaker)
        return True


def counts(done):
    return (done.added, done.removed, done.changed, done.reset, done.pending)


class TestNeighbors:
    def test_same_file(self):
        lab = Reloading()
        speakers = lab.start()
        lab.announce(speakers[0], "10.1.0.0/16")
        lab.settle()
        assert counts(lab.reload(*lab.neighbors)) == (0, 0, 0, 0, 0)
        assert lab.undisturbed(*speakers)
        assert not any(map(lab.news, speakers))

    def test_added(self):
        lab = Reloading()
        one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16")
        new = Speaker("10.1.0.9", 65009, "10.2.0.9")
        lab.neighbors.append(make_neighbor(lab.section, new.asn, address=new.address))
        assert counts(lab.reload(*lab.neighbors)) == (1, 0, 0, 0, 0)
        lab.up(new)
        lab.announce(new, "10.9.0.0/16")
        lab.settle()
        lab.check()
        assert set(new.table()) == {"10.1.0.0/16"}
        assert set(two.table()) == {"10.1.0.0/16", "10.9.0.0/16"}
        assert lab.undisturbed(one, two, three)

    def test_added_beyond_the_first_word_of_member_sets(self):
        lab = Reloading()
        one, _, _ = lab.start()
        new = [Speaker(f"10.1.1.{i}", 65100 + i, f"10.2.1.{i}") for i in range(1, 91)]
        lab.neighbors += [make_neighbor(lab.section, s.asn, address=s.address) for s in new]
        assert lab.reload(*lab.neighbors).added == 90
        lab.up(new[-1])
        lab.announce(one, "10.1.0.0/16", communities=(65190,))  # 0:65190
        lab.announce(new[-1], "10.9.0.0/16")
        lab.settle()
        lab.check()
        assert not new[-1].table()

    def test_added_that_communities_name_already(self):
        """A route that is not for the newcomer is compiled anew before the newcomer joins."""
        lab = Reloading()
        one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", communities=(65009,))  # 0:65009
        lab.settle()
        new = Speaker("10.1.0.9", 65009, "10.2.0.9")
        lab.neighbors.append(make_neighbor(lab.section, new.asn, address=new.address))
        lab.reload(*lab.neighbors)
        lab.up(new)
        lab.settle()
        lab.check()
        assert not new.table()
        assert set(two.table()) == {"10.1.0.0/16"}

    def test_removed_and_back(self):
        lab = Reloading()
        one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16")
        lab.announce(two, "10.2.0.0/16")
        lab.settle()
        assert counts(lab.reload(*lab.neighbors[1:])) == (0, 1, 0, 0, 0)
        assert one.count("notification", 6, 3) == 1  # Peer De-configured
        lab.check()
        assert set(three.table()) == {"10.2.0.0/16"}
        assert lab.router.peer_for(one.address) is None
        assert lab.router.accept(one.address)[0] is None
        assert lab.undisturbed(two, three)
        assert lab.reload(*lab.neighbors).added == 1
        lab.up(one)
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        lab.check()
        assert len(lab.router.peers) == 3

    def test_added_where_a_range_has_a_neighbor_already(self):
        section = make_router()
        fixed = make_neighbor(section, 65001, address="10.1.0.1")
        some = make_neighbor(section, None, range="10.3.0.0/16")
        lab = Reloading(1, neighbors=[fixed, some])
        lab.start()
        guest = lab.up(Speaker("10.3.0.5", 65005, "10.2.0.5"))
        lab.announce(guest, "10.5.0.0/16")
        lab.settle()
        own = make_neighbor(section, 65005, address="10.3.0.5")
        lab.reload(fixed, some, own)
        assert guest.count("notification", 6, 3) == 1
        assert [p.address for p in lab.router.peers.values()].count("10.3.0.5") == 1
        lab.up(guest)
        assert not guest.peer.dynamic
        lab.announce(guest, "10.6.0.0/16")
        lab.settle()
        lab.check()

    def test_range_removed(self):
        section = make_router()
        fixed = make_neighbor(section, 65001, address="10.1.0.1")
        some = make_neighbor(section, None, range="10.3.0.0/16")
        lab = Reloading(1, neighbors=[fixed, some])
        (one,) = lab.start()
        guests = [lab.up(Speaker(f"10.3.0.{i}", 65100 + i, f"10.2.0.{i}")) for i in (5, 6)]
        for guest in guests:
            lab.announce(guest, f"20.{guest.address[-1]}.0.0/16")
        lab.settle()
        lab.reload(fixed)
        assert all(g.count("notification", 6, 3) == 1 for g in guests)
        assert len(lab.router.peers) == 1
        assert not one.table()
        assert lab.router.accept("10.3.0.5")[0] is None

    def test_range_changed_in_place(self):
        section = make_router()
        fixed = make_neighbor(section, 65001, address="10.1.0.1")
        some = make_neighbor(section, None, range="10.3.0.0/16")
        lab = Reloading(1, neighbors=[fixed, some])
        (one,) = lab.start()
        guest = lab.up(Speaker("10.3.0.5", 65005, "10.2.0.5"))
        lab.announce(guest, "10.5.0.0/16", as_path=((SEQ, (65077,)),))
        lab.settle()
        lab.check()
        assert not one.table()
        derived = some.derived - {"first_as_check"}
        lab.reload(fixed, attrs.evolve(some, first_as_check=False, derived=derived))
        lab.check()
        assert set(one.table()) == {"10.5.0.0/16"}
        assert lab.undisturbed(one, guest)


class TestInstant:
    def test_description(self):
        lab = Reloading()
        speakers = lab.start()
        assert counts(lab.change(0, description="Example")) == (0, 0, 1, 0, 0)
        assert speakers[0].peer.description == "Example"
        assert lab.undisturbed(*speakers)

    def test_enabled(self):
        lab = Reloading()
        one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        lab.change(0, enabled=False)
        assert one.count("notification", 6, 2) == 1
        lab.check()
        assert not two.table()
        lab.change(0, enabled=True)
        lab.up(one)
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        lab.check()
        assert lab.undisturbed(two, three)


class TestNextSession:
    def test_hold_time(self):
        lab = Reloading()
        speakers = lab.start()
        one = speakers[0]
        assert counts(lab.change(0, hold_time=30)) == (0, 0, 0, 0, 1)
        assert lab.undisturbed(*speakers)
        assert one.peer.session.negotiated.hold_time == 90
        lab.down(one)
        lab.up(one)
        assert one.peer.session.negotiated.hold_time == 30

    def test_host_name_of_the_router(self):
        lab = Reloading()
        speakers = lab.start()
        done = lab.reload(*lab.neighbors, router=attrs.evolve(lab.section, hostname="rs1.example"))
        assert counts(done) == (0, 0, 0, 0, 3)
        assert lab.undisturbed(*speakers)
        lab.down(speakers[0])
        lab.up(speakers[0])
        assert b"rs1" in speakers[0].peer.session.local_open


class TestReevaluated:
    def test_first_as_check(self):
        lab = Reloading()
        speakers = one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", as_path=((SEQ, (65077, 1)),))
        lab.announce(one, "10.2.0.0/16")
        lab.settle()
        assert set(two.table()) == {"10.2.0.0/16"}
        for value, want in ((False, {"10.1.0.0/16", "10.2.0.0/16"}), (True, {"10.2.0.0/16"})):
            assert counts(lab.change(0, first_as_check=value)) == (0, 0, 1, 0, 0)
            lab.check()
            assert set(two.table()) == want
            assert lab.undisturbed(*speakers)
            # Nothing but what changed is sent.
            assert [e[1] for e in lab.news(two)] == ["10.1.0.0/16"]
        assert lab.router.rib.reject_counts(one.slot) == {RejectReason.FIRST_AS: 1}

    def test_as_set(self):
        lab = Reloading()
        speakers = one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", as_path=((SEQ, (65001,)), (SET, (7, 8))))
        lab.settle()
        for value, want in ((AsSetRule.ACCEPT, 1), (AsSetRule.REJECT, 0)):
            lab.change(None, as_set=value)
            lab.check()
            assert len(two.table()) == want
            assert lab.undisturbed(*speakers)

    def test_allow_own_as(self):
        lab = Reloading()
        speakers = one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", as_path=((SEQ, (65001, RS_ASN)),))
        lab.settle()
        for value, want in ((1, 1), (0, 0)):
            lab.change(None, allow_own_as=value)
            lab.check()
            assert len(two.table()) == want
            assert lab.undisturbed(*speakers)

    def test_honor_well_known(self):
        lab = Reloading()
        speakers = one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16", communities=(NO_EXPORT,))
        lab.announce(one, "10.2.0.0/16")
        lab.settle()
        assert len(two.table()) == 2
        assert counts(lab.change(1, honor_well_known=True)) == (0, 0, 1, 0, 0)
        lab.check()
        assert set(two.table()) == {"10.2.0.0/16"}
        assert len(three.table()) == 2
        assert not lab.news(three)
        lab.change(1, honor_well_known=False)
        lab.check()
        assert len(two.table()) == 2
        assert lab.undisturbed(*speakers)

    def test_next_hop_self(self):
        lab = Reloading(router=make_router(role=Role.ROUTE_REFLECTOR))
        speakers = one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16", next_hop="192.0.2.2")
        lab.settle()
        ours = LOCAL[Family.IPV4_UNICAST]
        for value, want in ((False, "192.0.2.2"), (True, ours)):
            assert three.table()["10.1.0.0/16"]["next_hop"] == ours
            lab.change(1, next_hop_self=value)
            lab.check()
            assert two.table()["10.1.0.0/16"]["next_hop"] == want
            assert not lab.news(three)
            assert lab.undisturbed(*speakers)

    def test_withdrawal_that_was_not_read_yet(self):
        lab = Reloading()
        one, two, three = lab.start()
        two.slow = True
        lab.announce(one, "10.1.0.0/16", "10.2.0.0/16")
        lab.settle(everybody=False)
        lab.read(two)
        lab.withdraw(one, "10.1.0.0/16")
        lab.settle(everybody=False)
        assert set(three.table()) == {"10.2.0.0/16"}
        assert len(two.table()) == 2
        lab.change(1, honor_well_known=True)
        lab.check()
        lab.change(1, honor_well_known=False)
        lab.check()
        assert set(two.table()) == {"10.2.0.0/16"}

    def test_while_a_message_is_under_way(self):
        lab = Reloading()
        one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", communities=(NO_EXPORT,))
        lab.announce(one, "10.2.0.0/16")
        lab.work()
        lab.read(two, 30)
        lab.change(1, honor_well_known=True)
        lab.check()

    def test_what_import_checks_sends_nothing_again(self):
        lab = Reloading()
        one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        lab.change(1, first_as_check=False, description="Example")
        assert not lab.news(two)
        assert two.peer.description == "Example"

    def test_lost_path_of_add_path_is_withdrawn(self):
        lab = Reloading(4, add_path=AddPath.SEND)
        lab.oracle = None
        *sources, reader = lab.all
        for i, speaker in enumerate(sources):
            lab.up(speaker)
            values = (NO_EXPORT,) if i else None
            lab.announce(speaker, "10.1.0.0/16", communities=values)
        lab.announce(sources[0], "10.2.0.0/16", communities=(NO_EXPORT,))
        box = AddPathReader(reader)
        lab.up(reader)
        lab.settle()
        assert {p: len(ids) for p, ids in box.paths.items()} == {"10.1.0.0/16": 3, "10.2.0.0/16": 1}
        neighbors = [*lab.neighbors[:3], attrs.evolve(lab.neighbors[3], honor_well_known=True)]
        reload.apply(lab.router, make_config(lab.section, neighbors))
        lab.settle()
        assert {p: len(ids) for p, ids in box.paths.items() if ids} == {"10.1.0.0/16": 1}


class AddPathReader:
    """Takes the place of a speaker's UPDATE decoder: prefix -> path identifiers it holds."""

    def __init__(self, speaker):
        self.paths = {}
        speaker.add_path = BOTH
        speaker.open_message = lambda: add_path_open(speaker)
        speaker._update = self.update

    def update(self, body):
        n = int.from_bytes(body[:2], "big")
        for prefix, number in ids_of(body[2 : 2 + n]):
            self.paths[prefix].discard(number)
        at = 2 + n
        n = int.from_bytes(body[at : at + 2], "big")
        for prefix, number in ids_of(body[at + 2 + n :]):
            self.paths.setdefault(prefix, set()).add(number)


def ids_of(data):
    """IPv4 NLRI with path identifiers (RFC 7911 3)."""
    while data:
        number, plen = int.from_bytes(data[:4], "big"), data[4]
        n = (plen + 7) // 8
        octets = data[5 : 5 + n].ljust(4, b"\0")
        yield f"{'.'.join(map(str, octets))}/{plen}", number
        data = data[5 + n :]


def add_path_open(speaker):
    config = SessionConfig(
        local_asn=speaker.asn,
        local_router_id=speaker.router_id,
        peer_asn=None,
        families=speaker.families,
        addpath=dict.fromkeys(BOTH, AddPathMode.RECEIVE),
    )
    return encode_open(config.offer().message())


class TestReset:
    @pytest.mark.parametrize(
        "changes",
        [{"families": (Family.IPV4_UNICAST,)}, {"multihop": 5}, {"add_path": AddPath.BOTH}],
        ids=lambda c: next(iter(c)),
    )
    def test_one_neighbor(self, changes):
        lab = Reloading()
        one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16")
        lab.announce(two, "10.2.0.0/16")
        lab.settle()
        assert counts(lab.change(0, **changes)) == (0, 0, 0, 1, 0)
        assert one.count("notification", 6, 6) == 1  # Other Configuration Change
        assert lab.undisturbed(two, three)
        lab.check()
        assert set(three.table()) == {"10.2.0.0/16"}
        lab.up(one)
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        lab.check()
        assert set(three.table()) == {"10.1.0.0/16", "10.2.0.0/16"}
        assert len(lab.router.peers) == 3

    def test_as_number_of_a_neighbor(self):
        """Communities that name the new number are acted on, those that name the old are not."""
        lab = Reloading()
        one, two, three = lab.start()
        lab.announce(two, "10.2.0.0/16", communities=(65009,))
        lab.announce(two, "10.3.0.0/16", communities=(65001,))
        lab.settle()
        assert set(one.table()) == {"10.2.0.0/16"}
        one.asn = 65009
        lab.neighbors[0] = make_neighbor(lab.section, 65009, address=one.address)
        assert lab.reload(*lab.neighbors).reset == 1
        lab.up(one)
        lab.settle()
        lab.check()
        assert set(one.table()) == {"10.3.0.0/16"}
        assert lab.undisturbed(two, three)

    def test_our_as_number(self):
        lab = Reloading()
        speakers = one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16")
        lab.settle()
        section = make_router(asn=64999, router_id="10.0.0.9")
        neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
        assert counts(lab.reload(*neighbors, router=section)) == (0, 0, 0, 3, 0)
        for speaker in speakers:
            assert speaker.count("notification", 6, 6) == 1
            lab.up(speaker)
            opened = speaker.peer.session.local_open
            assert (64999).to_bytes(2, "big") in opened
            assert bytes([10, 0, 0, 9]) in opened
        lab.announce(one, "10.1.0.0/16", as_path=((SEQ, (65001, RS_ASN)),))  # no loop any more
        lab.announce(one, "10.2.0.0/16", as_path=((SEQ, (65001, 64999)),))
        high, low = 64999, 65002  # 64999:65002: announce only to 65002
        lab.announce(one, "10.3.0.0/16", communities=(0, high << 16 | low))
        lab.settle()
        lab.check()
        assert "10.1.0.0/16" in two.table()
        assert "10.2.0.0/16" not in two.table()

    def test_role(self):
        """From route server to reflector: other kinds of neighbors, our AS in what goes out."""
        lab = Reloading()
        speakers = one, two, three = lab.start()
        section = make_router(role=Role.ROUTE_REFLECTOR)
        neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
        assert lab.reload(*neighbors, router=section).reset == 3
        for speaker in speakers:
            lab.up(speaker)
            assert kind_of(speaker.peer.neighbor) is PeerKind.EBGP
        # No route server any more: communities are for others, paths with a neighbor's AS go to it.
        lab.announce(one, "10.1.0.0/16", communities=(65002,))
        lab.settle()
        lab.check()
        assert "10.1.0.0/16" in two.table()
        assert "10.1.0.0/16" in three.table()


class TestRouter:
    def paths(self, lab, **second):
        one, two, three = lab.start()
        lab.announce(one, "10.1.0.0/16", as_path=((SEQ, (65001, 7)),), med=50)
        lab.tick(16)
        lab.announce(two, "10.1.0.0/16", **{"as_path": ((SEQ, (65002, 7)),), "med": 10, **second})
        lab.settle()
        lab.check()
        return three

    def hop(self, speaker):
        return speaker.table()["10.1.0.0/16"]["next_hop"]

    @pytest.mark.parametrize(
        "changes", [{"med": MedRule.ALWAYS}, {"prefer_oldest": False}, {"deterministic_med": False}]
    )
    def test_ranked_anew(self, changes):
        lab = Reloading()
        three = self.paths(lab)
        before = self.hop(three)
        lab.reload(*lab.neighbors, router=attrs.evolve(lab.section, **changes))
        lab.check()
        if "med" in changes:
            assert self.hop(three) != before
        lab.reload(*lab.neighbors, router=lab.section)
        lab.check()
        assert self.hop(three) == before
        assert lab.undisturbed(*lab.all)

    def test_control_communities(self):
        lab = Reloading()
        one, two, _ = lab.start()
        lab.oracle = None  # it has no switch for them
        lab.announce(one, "10.1.0.0/16", communities=(65002,))
        lab.announce(one, "10.2.0.0/16")
        lab.settle()
        assert set(two.table()) == {"10.2.0.0/16"}
        for value, want in ((False, 2), (True, 1)):
            section = attrs.evolve(lab.section, control_communities=value)
            lab.listen()
            reload.apply(lab.router, make_config(section, lab.neighbors))
            lab.settle()
            assert len(two.table()) == want
        assert lab.undisturbed(*lab.all)

    def test_igp(self):
        lab = Reloading()
        three = self.paths(lab, med=50)
        before = self.hop(three)
        one, two = (f"192.0.2.{i + 1}/32" for i in (1, 2))
        for igp in ({one: 9, two: 5}, {one: 5, two: 9}, {two: 1}, {}, None):
            lab.reload(*lab.neighbors, igp=igp)
            lab.check(str(igp))
        assert self.hop(three) == before
        assert lab.undisturbed(*lab.all)

    def test_listening_address_is_no_next_hop(self):
        """Of a route with one of our own addresses as next hop (RFC 4271 6.3)."""
        lab = Reloading()
        one, two, _ = lab.start()
        lab.announce(one, "10.1.0.0/16", next_hop="192.0.2.77")
        lab.settle()
        assert two.table()
        more = (*lab.section.listen, Endpoint("192.0.2.77", 1790))
        lab.reload(*lab.neighbors, router=attrs.evolve(lab.section, listen=more))
        lab.check()
        assert not two.table()
        lab.reload(*lab.neighbors, router=lab.section)
        lab.check()
        assert two.table()
        assert lab.undisturbed(*lab.all)

    def test_nothing_is_sent_again_without_need(self):
        lab = Reloading()
        self.paths(lab)
        lab.reload(*lab.neighbors, router=attrs.evolve(lab.section, hostname="rs1"))
        assert not any(map(lab.news, lab.all))


def test_every_key_that_reevaluates_is_known():
    """Of neighbors: reload.py says of each whether it concerns import or export."""
    found = {n for n, (_, key) in keys_of(Neighbor).items() if key.effect is Effect.REEVALUATE}
    known = reload.IN_PLACE | reload.SENT | reload.POLICY_KEYS | reload.DIRECTORY
    assert found == known | {"filters"}
    assert not reload.IN_PLACE & reload.SENT
    assert not reload.DIRECTORY & (reload.IN_PLACE | reload.SENT)
    assert keys_of(Router)["hostname"][1].effect is Effect.NEXT_SESSION
