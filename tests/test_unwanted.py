"""Neighbors of whom nothing is accepted: what the log says of them."""

from __future__ import annotations

import pytest

from rs.session import Log
from rs.unwanted import AFTER
from tests.routerkit import Lab, config_text

A, B = "10.0.0.2", "10.0.0.3"
FIRST_AS = "AS_PATH does not begin with the neighbor's AS (reject code 6, RS:1101:7)"


@pytest.fixture
def lab(tmp_path):
    found = Lab(tmp_path, config_text(f"{A} 64501", f"{B} 64502"))
    found.up(A, B)
    return found


def told(lab, address=A):
    """Run the housekeeping; return what it logs about a neighbor."""
    lines = []

    def take(peer):
        found = [command.text for command in peer.session.poll() if isinstance(command, Log)]
        lines.extend(found if peer.address == address else [])

    lab.router.on_commands = take
    lab.router.housekeeping(lab.time)
    lab.router.on_commands = lab._commands
    return lines


def test_a_neighbor_whose_routes_are_all_rejected(lab):
    lab.announce(A, "198.51.0.0/24", "198.51.1.0/24", path=(64999, 64501))
    assert told(lab) == []
    lab.time += AFTER
    assert told(lab) == [f"none of its 2 routes is accepted: 2: {FIRST_AS}"]
    lab.time += 3600
    assert told(lab) == []


def test_the_reasons_with_the_most_routes_come_first(lab):
    lab.announce(A, "198.51.0.0/24", path=(64501, 64500))
    lab.announce(A, "198.51.1.0/24", "198.51.2.0/24", path=(64999,))
    lab.time += AFTER
    (line,) = told(lab)
    assert line.endswith(f"2: {FIRST_AS}; 1: our own AS is in AS_PATH")


def test_one_accepted_route_is_enough(lab):
    lab.announce(A, "198.51.0.0/24", path=(64999,))
    lab.announce(A, "198.51.1.0/24")
    lab.time += AFTER
    assert told(lab) == []


def test_a_neighbor_without_routes_is_looked_at_when_it_has_some(lab):
    lab.time += AFTER
    assert told(lab) == []
    lab.announce(A, "198.51.0.0/24", path=(64999,))
    assert len(told(lab)) == 1


def test_each_session_anew(lab):
    lab.announce(A, "198.51.0.0/24", path=(64999,))
    lab.time += AFTER
    assert len(told(lab)) == 1
    lab.down(A)
    lab.settle()
    lab.up(A)
    lab.announce(A, "198.51.0.0/24", path=(64999,))
    lab.time += AFTER
    assert len(told(lab)) == 1
