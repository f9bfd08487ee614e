"""A router with a few neighbors, and what is said of a route towards one of them."""

from __future__ import annotations

import orjson

from rs import showroutes
from rs.show import parse_target
from tests.routerkit import ROUTER, Lab, config_text

A, B, C, I1, I2 = "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.8", "10.1.0.9"
P = "20.0.0.0/8"
REFLECTOR = ROUTER.replace("[router]\n", '[router]\nrole = "route-reflector"\n')
PLAIN = "\nroute_server_client = false\nrequire_policy = false"


def keys(address: str, asn: int, more: str = "") -> str:
    return f'address = "{address}"\nasn = {asn}\n{more}'


def lab_of(tmp_path, *neighbors: str, head: str = ROUTER, more: str = "", **options) -> Lab:
    return Lab(tmp_path, config_text(*neighbors, head=head) + more, **options)


def look(lab, to, prefix=P):
    """What is said of a prefix and of each of its paths, by the neighbor that it is of."""
    (found,) = orjson.loads(
        orjson.dumps(
            showroutes.route(
                lab.router, parse_target(prefix), "exact", lab.time, names=False, to=lab.peer(to)
            )
        )
    )
    return found["to"], {path["neighbor"]: path["to"] for path in found["paths"]}


def only(lab, to, prefix=P):
    """What is said of the only path; the same is said of the prefix."""
    route, paths = look(lab, to, prefix)
    ((_, path),) = paths.items()
    assert (route["neighbor"], route["state"], route["reason"]) == (
        to,
        path["state"],
        path["reason"],
    )
    assert route["why"] == path["why"]
    return path


def withheld(lab, to, reason, prefix=P):
    found = only(lab, to, prefix)
    assert (found["state"], found["reason"]) == ("withheld", reason), found
    return found


def three(tmp_path, *, more="", head=ROUTER) -> Lab:
    lab = lab_of(tmp_path, f"{A} 65001", f"{B} 65002", f"{C} 65003", head=head, more=more)
    lab.up(A, B, C)
    return lab
