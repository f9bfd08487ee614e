"""An exchange moves: ARouteServer's files are imported, lists fetched, and members connect."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from rs.client import Client
from tests.interop.daemons.collector import Collector
from tests.interop.daemons.lan import wait_until
from tests.test_arouteserver import Import, fetch
from tests.test_filter_sessions import ROOT, A, B, C, Host, up

GENERAL = """\
cfg:
  rs_as: 64500
  router_id: 10.0.0.1
  filtering:
    never_via_route_servers: { peering_db: False }
    max_prefix: { action: block, peering_db: { enabled: False }, general_limit_ipv4: 3 }
  communities:
    do_not_announce_to_any: { std: "0:rs_as" }
    do_not_announce_to_peer: { std: "65000:peer_as", lrg: "rs_as:0:peer_as" }
    announce_to_peer: { lrg: "rs_as:1:peer_as" }
    prefix_present_in_as_set: { lrg: "rs_as:64512:10" }
  custom_communities:
    north: { std: "65530:1" }
"""
CLIENTS = f"""\
clients:
  - asn: {A}
    ip: 127.0.1.1
    cfg:
      attach_custom_communities: [north]
      filtering:
        irrdb:
          as_sets: [AS-NORTH]
          white_list_route: [{{ prefix: 30.0.0.0, length: 16, exact: True }}]
  - {{ asn: {B}, ip: 127.0.1.2 }}
  - {{ asn: {C}, ip: 127.0.1.3 }}
"""


@pytest.fixture
def exchange(tmp_path):
    """The imported daemon, with three members up."""
    (tmp_path / "general.yml").write_text(GENERAL)
    (tmp_path / "clients.yml").write_text(CLIENTS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    files = (tmp_path / "general.yml", tmp_path / "clients.yml")
    found = Import(tmp_path, *files, "--listen", f"127.0.0.1:{port}", "--api", "api.sock")
    assert found.code == 0, found.output
    fetch(found.folder, tmp_path)
    with ExitStack() as stack:
        output = stack.enter_context((tmp_path / "output").open("wb"))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "rs", "run", found.folder / "rs.toml"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        stack.callback(daemon.wait)
        stack.callback(daemon.terminate)
        members = {asn: Collector(Host(asn), asn, "127.0.0.1", port=port) for asn in (A, B, C)}
        for member in members.values():
            stack.callback(member.stop)
            wait_until(lambda member=member: up(member), timeout=20, what="sessions to be up")
        client = Client(str(found.folder / "api.sock"))
        stack.callback(client.close)
        yield members, client


def test_members_of_an_imported_exchange(exchange):
    """Lists, white lists, communities of the site's own, custom ones, and limits count."""
    members, client = exchange
    members[A].announce(["30.1.0.0/16"])  # in no list
    members[A].announce(["20.0.0.0/16"], communities=(65000 << 16 | C,))
    members[A].announce(["30.0.0.0/16"], large_communities=((64500, 0, B),))
    found = members[B].wait_routes("20.0.0.0/16")
    assert found["20.0.0.0/16"].communities == {"65530:1"}
    assert found["20.0.0.0/16"].large_communities == {"64500:64512:10"}
    found = members[C].wait_routes("30.0.0.0/16")
    assert found["30.0.0.0/16"].communities == {"65530:1"}
    assert members[B].attributes.keys() == {"20.0.0.0/16"}
    assert members[C].attributes.keys() == {"30.0.0.0/16"}
    (item,) = client.get("/v1/routes", {"neighbor": "127.0.1.1", "view": "rejected"})
    assert item["prefix"] == "30.1.0.0/16"
    assert "reject code 12" in item["why"]
    members[A].announce(["20.0.0.0/16"])
    members[C].wait_routes("20.0.0.0/16")
