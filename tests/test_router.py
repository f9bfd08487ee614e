"""The router without sockets: peers that come, go, and come back at the worst moment."""

from __future__ import annotations

from tests.routers import Lab, Speaker, make_config, make_neighbor, make_router


def lab_of(n=3, **router):
    section = make_router(**router)
    speakers = [Speaker(f"10.1.0.{i}", 65000 + i, f"10.2.0.{i}") for i in range(1, n + 1)]
    neighbors = [make_neighbor(section, s.asn, address=s.address) for s in speakers]
    return Lab(make_config(section, neighbors)), speakers


def test_peer_goes_again_before_its_old_paths_have_gone():
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.up(two)
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    lab.down(one)
    lab.up(one)
    lab.down(one)
    lab.up(one)
    lab.announce(one, "10.2.0.0/16")
    lab.settle()
    lab.check()
    assert set(two.table()) == {"10.2.0.0/16"}


def test_message_that_comes_with_the_session_waits_for_the_old_paths_to_go():
    """And what it asks for is done: here the NOTIFICATION for a broken UPDATE."""
    lab, (one, two, _) = lab_of()
    lab.up(one)
    lab.up(two)
    lab.announce(one, "10.1.0.0/16")
    lab.settle()
    lab.down(one)
    broken = b"\xff" * 16 + b"\x00\x17\x02\xff\xff\x00\x00"
    lab.up(one, extra=broken)
    lab.settle()
    assert not one.up
    assert one.count("notification", 3, 1) == 1
