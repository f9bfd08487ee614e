"""A start of ours: what is held back and until when, what OPENs say, and the file between two."""

from __future__ import annotations

import json
import time

import pytest

from rs import app, statefile
from rs.configfile import load_config
from rs.iana import Family
from rs.peer import end_of_rib
from rs.restart_caps import GracefulRestart
from rs.startup import Before
from tests.routerkit import Lab, config_text

A, B, C = "10.0.0.2", "10.0.0.3", "10.0.0.4"
P = [f"198.51.{i}.0/24" for i in range(8)]
GRACEFUL = GracefulRestart(time=60, families={(1, 1): True})
KNOWS = 'graceful_restart = "on"'


class Restarted(Lab):
    """A router that has restarted, with A, B and C known from before."""

    def __init__(self, tmp_path, *, before=Before(frozenset({A, B})), startup="", text=None):  # noqa: B008
        if text is None:
            neighbors = (f"{A} 64501", f"{B} 64502", f"{C} 64503")
            text = config_text(*neighbors, api=f"[defaults]\n{KNOWS}\n[startup]\n{startup}\n")
        super().__init__(tmp_path, text, before=before)

    def eor(self, address: str) -> None:
        peer = self.peer(address)
        for family in peer.agreed.families:
            peer.session.receive(peer.conn, end_of_rib(family), self.time)
        self._commands(peer)

    @property
    def holding(self) -> bool:
        return self.router.startup.holding

    def sent_to(self, address: str) -> bool:
        """Whether a neighbor has been sent any UPDATE."""
        self.settle()
        data = self.sent.pop(address, b"")
        kinds = []
        while data:
            kinds.append(data[18])
            data = data[int.from_bytes(data[16:18]) :]
        return 2 in kinds


def offered(lab: Lab, address: str) -> GracefulRestart:
    return lab.peer(address).session._context.config.graceful_restart


def test_nothing_is_announced_before_everybody_has_sent_everything(tmp_path):
    lab = Restarted(tmp_path)
    assert lab.router.startup.missing() == [A, B]
    lab.up(A, B, graceful_restart=GRACEFUL)
    lab.announce(A, *P[:3])
    assert not lab.sent_to(B)
    assert lab.router.rib.tables[0].stats()["paths"] == 3
    lab.eor(A)
    assert lab.router.startup.missing() == [B]
    assert not lab.sent_to(A)
    lab.eor(B)
    assert not lab.holding
    assert lab.sent_to(B)
    assert lab.sent_to(A), "its End-of-RIB"


def test_the_timer_ends_it(tmp_path):
    lab = Restarted(tmp_path, startup="timeout = 30")
    lab.up(A, B, graceful_restart=GRACEFUL)
    lab.announce(A, P[0])
    lab.time += 29
    lab.router.housekeeping(lab.time)
    assert not lab.sent_to(B)
    lab.time += 1
    lab.router.housekeeping(lab.time)
    assert lab.sent_to(B)


@pytest.mark.parametrize(
    "said", [None, GracefulRestart(restarted=True, time=60, families={(1, 1): True})]
)
def test_who_sends_none_or_restarts_too_is_not_waited_for(tmp_path, said):
    """RFC 4724 4.1."""
    lab = Restarted(tmp_path)
    lab.up(A, graceful_restart=GRACEFUL)
    lab.eor(A)
    lab.up(B, graceful_restart=said)
    lab.router.housekeeping(lab.time)
    assert not lab.holding


def test_a_neighbor_that_is_gone_from_the_configuration_is_not_waited_for(tmp_path):
    lab = Restarted(tmp_path, before=Before(frozenset({A, "203.0.113.9"})))
    assert lab.router.startup.missing() == [A]


def test_a_neighbor_of_a_range_is_waited_for(tmp_path):
    text = config_text('range = "10.0.0.0/24"\nasn = 64501\ngraceful_restart = "on"')
    lab = Restarted(tmp_path, text=text)
    assert lab.router.startup.missing() == [A, B]
    lab.up(A, asn=64501, graceful_restart=GRACEFUL)
    lab.eor(A)
    assert lab.router.startup.missing() == [B]


def test_without_knowledge_of_before_all_configured_neighbors_are_expected(tmp_path):
    lab = Restarted(tmp_path, before=Before())
    assert lab.router.startup.missing() == [A, B, C]
    lab.router.peer_for(C).use(lab.router.peer_for(C).neighbor)


def test_a_first_start_waits_for_nobody_unless_told_to(tmp_path):
    assert not Restarted(tmp_path, before=None).holding
    assert Restarted(tmp_path, before=None, startup="always = true").holding
    assert not Restarted(tmp_path, startup="wait_for = []").holding


def test_rpki_data_are_waited_for(tmp_path):
    (tmp_path / "vrps.json").write_text('{"roas": []}')
    text = config_text(
        f"{A} 64501", api='[rpki]\nfiles = ["vrps.json"]\n[startup]\nwait_for = ["rpki"]\n'
    )
    lab = Restarted(tmp_path, text=text)
    assert lab.router.startup.missing() == ["rpki"]
    lab.router.rpki_changed(None, set(), ready=True)
    assert not lab.holding


def test_the_restart_bit_is_said_once(tmp_path):
    lab = Restarted(tmp_path)
    assert offered(lab, A).restarted
    assert offered(lab, A).families == {(1, 1): True, (2, 1): True}
    lab.up(A, graceful_restart=GRACEFUL)
    assert not offered(lab, A).restarted, "should it come back"
    assert offered(lab, B).restarted
    lab.time += 61
    lab.router.housekeeping(lab.time)
    assert not offered(lab, B).restarted
    assert not offered(Restarted(tmp_path, before=None), A).restarted


# --- the file ----------------------------------------------------------------------------------


def test_a_file_comes_back(tmp_path):
    path = str(tmp_path / "rs.sock.state")
    assert statefile.read(path, 100.0, 120) is None
    statefile.write(path, [B, A], 100.0)
    assert statefile.read(path, 110.0, 120) == Before(frozenset({A, B}))
    assert statefile.read(path, 99.0, 120) is None, "of the future"
    statefile.write(path, [A], 100.0006)
    assert statefile.read(path, 100.0006, 120) is not None, "what is left of a second is no future"
    statefile.write(path, [B, A], 100.0)
    assert statefile.read(path, 300.0, 120) is None, "so long nobody has kept our routes"
    statefile.remove(path)
    statefile.remove(path)
    assert statefile.read(path, 110.0, 120) is None


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"written": "x", "neighbors": []}', '{"written": 1}']
)
def test_a_file_that_makes_no_sense_tells_of_a_restart(tmp_path, text):
    path = tmp_path / "state"
    path.write_text(text)
    assert statefile.read(str(path), 10.0, 120) == Before(None)
    path.write_text(json.dumps({"written": 10, "neighbors": [1]}))
    assert statefile.read(str(path), 10.0, 120) == Before(None)


def test_the_file_lies_beside_the_socket(tmp_path):
    path = tmp_path / "rs.toml"
    path.write_text(config_text(f"{A} 64501", api='[api]\nsocket = "run/rs.sock"\n'))
    assert load_config(path).startup.state_file == str(tmp_path / "run/rs.sock.state")
    path.write_text(config_text(f"{A} 64501", api='[startup]\nstate_file = "x"\n'))
    assert load_config(path).startup.state_file == str(tmp_path / "x")
    path.write_text(config_text(f"{A} 64501"))
    assert load_config(path).startup.state_file is None


def test_families_of_the_end_of_rib(tmp_path):
    """Each family that is agreed on is waited for."""
    lab = Restarted(tmp_path, before=Before(frozenset({A})))
    lab.up(A, graceful_restart=GRACEFUL)
    peer = lab.peer(A)
    peer.session.receive(peer.conn, end_of_rib(Family.IPV4_UNICAST), lab.time)
    lab._commands(peer)
    assert lab.holding
    peer.session.receive(peer.conn, end_of_rib(Family.IPV6_UNICAST), lab.time)
    lab._commands(peer)
    assert not lab.holding


@pytest.mark.parametrize(("asked", "waits"), [("helper", False), ("off", False), ("on", True)])
def test_nothing_is_waited_for_where_nobody_was_asked_to_keep_our_routes(tmp_path, asked, waits):
    state = tmp_path / "state"
    path = tmp_path / "rs.toml"
    startup = f'[startup]\nstate_file = "{state}"\n[defaults]\ngraceful_restart = "{asked}"\n'
    path.write_text(config_text(f"{A} 64501", api=startup))
    statefile.write(str(state), [A], time.time())
    before = app._before(load_config(path))
    assert (before is not None) == waits
