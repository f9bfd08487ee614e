"""BGP roles (RFC 9234) with BIRD and FRR: roles agreed on and refused, ONLY_TO_CUSTOMER seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .daemons import DAEMONS
from .daemons.base import FAMILIES, Daemon, Neighbor
from .daemons.rs import Member, Rs

if TYPE_CHECKING:
    from pathlib import Path

    from .daemons.lan import Host, Lan

RS_ASN = 64500
BIRD_ASN, FRR_ASN, LEAKER_ASN = 65011, 100012, 65013


def driver(name: str) -> type[Daemon]:
    daemon = DAEMONS[name]
    if (reason := daemon.missing()) is not None:
        pytest.skip(reason)
    return daemon


def member(host: Host, asn: int, **options: Any) -> Member:
    return Member(host.address, asn, FAMILIES[:1], options=options)


def to_rs(host: Host, role: str | None, *, strict: bool = False) -> list[Neighbor]:
    return [Neighbor(host.address, RS_ASN, FAMILIES[:1], role=role, strict_role=strict)]


def bird_otc(bird: Any, prefix: str) -> str | None:
    """Return the OTC of a route as BIRD shows it."""
    for _, text in bird.birdc(f"show route for {prefix} all"):
        name, _, value = text.strip().partition(":")
        if name == "BGP.otc":
            return str(value.strip())
    return None


def test_roles_with_bird_and_frr(lan: Lan, tmp_path: Path) -> None:
    hosts = {name: lan.host(i) for i, name in enumerate(("rs", "bird", "frr", "leaker"), 1)}
    rs = Rs(hosts["rs"], tmp_path / "rs", RS_ASN)
    rs.members = [
        member(hosts["bird"], BIRD_ASN, local_role="rs", strict_role=True),
        member(hosts["frr"], FRR_ASN, local_role="rs", strict_role=True),
        member(hosts["leaker"], LEAKER_ASN, local_role="rs"),
    ]
    strict = to_rs(hosts["rs"], "rs-client", strict=True)
    bird: Any = driver("bird")(hosts["bird"], tmp_path / "bird", BIRD_ASN, strict)
    frr: Any = driver("frr")(hosts["frr"], tmp_path / "frr", FRR_ASN, strict)
    # Without a role of its own BIRD sends what it likes, OTC included.
    leaker: Any = driver("bird")(
        hosts["leaker"], tmp_path / "leaker", LEAKER_ASN, to_rs(hosts["rs"], None)
    )
    with rs, bird, frr, leaker:
        for daemon in (bird, frr, leaker):
            daemon.wait_established()
        shown = rs.neighbors()
        assert shown[hosts["bird"].address]["negotiated"]["role"] == "rs-client"
        assert shown[hosts["frr"].address]["negotiated"]["role"] == "rs-client"
        assert shown[hosts["leaker"].address]["negotiated"]["role"] == ""
        from_bird = bird.announce("192.0.2.16/28")
        from_frr = frr.announce("192.0.2.32/28")
        frr.wait_route(from_bird)
        bird.wait_route(from_frr)
        leaker.wait_route(from_bird)
        assert bird_otc(bird, from_frr.prefix) == str(RS_ASN)
        assert bird_otc(leaker, from_bird.prefix) == str(RS_ASN)
        heard = json.loads(frr.vtysh(f"show bgp ipv4 unicast {from_bird.prefix} json"))
        assert heard["paths"][0]["otc"] == RS_ASN
        # What a member had from us and hands back is a leak, and stays with its reason.
        leaker.announce("192.0.2.48/28")
        bird.wait_routes("192.0.2.48/28")
        config = leaker.workdir / "bird.conf"
        config.write_text(config.read_text().replace("accept;", "bgp_otc = 65013; accept;"))
        leaker.birdc("configure")
        bird.wait_gone("192.0.2.48/28")
        ((route,),) = [found["paths"] for found in rs.show("route", "192.0.2.48/28")["routes"]]
        assert (route["state"], route["reject_reason"]) == ("rejected", "otc-leak")
        assert route["attributes"]["otc"] == LEAKER_ASN


@pytest.mark.parametrize("name", ["bird", "frr"])
def test_wrong_and_missing_roles_are_refused_by_both(name: str, lan: Lan, tmp_path: Path) -> None:
    ours, theirs = lan.host(1), lan.host(2)
    rs = Rs(ours, tmp_path / "rs", RS_ASN)
    rs.members = [member(theirs, BIRD_ASN, local_role="rs", strict_role=True)]
    for role in ("peer", None):
        daemon = driver(name)(theirs, tmp_path / f"{role}", BIRD_ASN, to_rs(ours, role))
        with rs, daemon:
            rs.wait(
                lambda: "role" in rs.neighbors()[theirs.address]["last_error"].lower(),
                "refuse the role",
            )
            error = rs.neighbors()[theirs.address]["last_error"]
            assert ("strict_role" in error) is (role is None), error
            assert not daemon.established()
