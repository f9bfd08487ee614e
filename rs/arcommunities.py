"""ARouteServer's communities and black holes as our [communities], [blackhole] and [policies].

In: the options of a site. Out: tables for rs/tomlwrite.py, and entries of the `Report`. The words
are the same in both worlds (`std`, `lrg`, `ext`; `rs_as`, `peer_as`, `dyn_val`): definitions
are taken as they stand. What our own checks refuse, such as a definition that overlaps another, is
named in the report and left out, because what is written must load.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rs.arouteserver import CONTROL, INFORMATIONAL, IRR_TAGS, REJECTED, CommunityForms, Given
from rs.communityconfig import read_communities
from rs.configvalues import BadValue
from rs.policyconfig import parse_community
from rs.tomlwrite import Line, Table, bare_or_quoted

if TYPE_CHECKING:
    from rs.arreport import Report
    from rs.arsite import Settings

FORMS = ("std", "ext", "lrg")
TAGS = "filtering.irrdb.tag_as_set"
NEVER_SET = {
    f"prefix_validated_via_{dump}_whois_db_dump": "dumps of whois databases are not read"
    for dump in ("arin", "registrobr")
}
"""Informational communities that nothing sets here: still scrubbed, and still not honored."""


def _table(forms: CommunityForms) -> dict[str, str]:
    """Return the forms of a community as our configuration has them."""
    found = {form: getattr(forms, form) for form in FORMS}
    return {form: given.value for form, given in found.items() if given is not None}


def _place(forms: CommunityForms) -> str:
    given = next(g for g in (getattr(forms, form) for form in FORMS) if g is not None)
    return str(given.place.short)


def community_tables(general: Settings, report: Report) -> list[Table]:
    """Return [communities] with all of its definitions."""
    wanted: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    tags = general[TAGS]
    report.honor(TAGS, general.given(TAGS), "communities")
    for name in (*CONTROL, *INFORMATIONAL, *REJECTED):
        option = f"communities.{name}"
        given = general.given(option)
        if given is None or not given.value:
            report.honor(option, given, "nothing: it has no value")
        elif name in IRR_TAGS and not tags:
            report.honor(option, given, "nothing: tag_as_set is False")
        else:
            if name in NEVER_SET:
                report.miss(option, given, NEVER_SET[name])
            wanted[name] = _table(given.value)
            places[name] = _place(given.value)
    causes = general.given("communities.reject_cause_map")
    if causes is not None:
        codes = {str(code): _table(forms) for code, forms in causes.value.items() if forms}
        if codes:
            wanted["reject_cause_map"] = codes
            places["reject_cause_map"] = causes.place.short
    _leave_out_what_is_refused(general, wanted, report)
    for name in wanted:
        option = f"communities.{name}"
        report.honor(option, general.given(option), f"communities.{name}")
    head = Table("[communities]", [Line("preset", "none", "all that counts is written here")])
    thresholds = general.given("rtt_thresholds")
    report.honor("rtt_thresholds", thresholds, "communities.rtt_thresholds")
    comment = "ARouteServer's default" if thresholds is None else thresholds.place.short
    head.lines.append(Line("rtt_thresholds", list(general["rtt_thresholds"]), comment))
    tables = [head]
    for name, table in wanted.items():
        lines = [Line(bare_or_quoted(form), value) for form, value in table.items()]
        tables.append(Table(f"[communities.{name}]", lines, comment=places[name]))
    return tables


def _leave_out_what_is_refused(
    general: Settings, wanted: dict[str, dict[str, Any]], report: Report
) -> None:
    """Take away definitions that our own configuration would refuse, and say why."""
    while True:
        _, faults = read_communities(wanted, general["rs_as"])
        if not faults:
            return
        fault = faults[0]
        name, *below = map(str, fault.where)
        table = wanted[name]
        for key in below[:-1]:
            table = table[key]
        form = below[-1] if below else ""
        table.pop(form, None)
        if name == "reject_cause_map":
            wanted[name] = {code: forms for code, forms in wanted[name].items() if forms}
        option = f"communities.{name}"
        given = exact = general.given(option)
        if not wanted[name]:
            del wanted[name]
        elif given is not None and isinstance(given.value, CommunityForms):
            exact = getattr(given.value, form, None) or given
        report.miss(option, exact, f"{form}: {fault.words}")


def uses_rtt(general: Settings) -> bool:
    """Whether a community goes by round-trip times."""
    return any(
        general[f"communities.{name}"]
        for name in CONTROL
        if name.endswith(("lower_than", "higher_than"))
    )


def blackhole_table(general: Settings, report: Report) -> Table:
    """Return [blackhole]; empty where black holes are not asked for."""
    section, table = "blackhole_filtering.", Table("[blackhole]")
    policies = {f: general[f"{section}policy_{f}"] for f in ("ipv4", "ipv6")}
    for family, policy in policies.items():
        option = f"{section}policy_{family}"
        given = general.given(option)
        report.honor(option, given, f"blackhole.policy_{family}")
        if policy and given is not None:
            table.lines.append(Line(f"policy_{family}", policy, given.place.short))
    for family, policy in policies.items():
        option = f"{section}rewrite_next_hop_{family}"
        given = general.given(option)
        if policy == "rewrite-next-hop" and given is not None:
            report.honor(option, given, f"blackhole.next_hop_{family}")
            table.lines.append(Line(f"next_hop_{family}", given.value, given.place.short))
        report.honor(option, given, f"nothing: policy_{family} does not rewrite")
    for name, key in (("add_noexport", "add_noexport"), ("announce_to_client", "receive")):
        given = general.given(section + name)
        used = any(policies.values())
        report.honor(section + name, given, f"blackhole.{key}" if used else "nothing: no policy")
        if used:
            comment = "ARouteServer's default" if given is None else given.place.short
            table.lines.append(Line(key, general[section + name], comment))
    return table


def policy_tables(general: Settings, report: Report) -> list[Table]:
    """Return a policy for each custom community, which adds it to every route."""
    custom = general.given("custom_communities")
    if custom is None:
        return []
    report.honor("custom_communities", custom, "policies")
    tables = []
    for name, forms in custom.value.items():
        values = []
        for form, value in _table(forms).items():
            # Route origin is a site of origin to others.
            text = value.replace("rs_as", str(general["rs_as"])).replace("ro:", "soo:")
            try:
                parse_community(text)
            except BadValue as bad:
                report.miss("custom_communities", getattr(forms, form), f"{name}: {bad}")
            else:
                values.append(text)
        if values:
            term = {"add": {"communities": values}}
            table = Table(
                f"[policies.{bare_or_quoted(policy_name(name))}]", [Line("terms", [term])]
            )
            table.comment = f"{name}, {_place(forms)}"
            tables.append(table)
    return tables


def policy_name(name: str) -> str:
    """Return the name of the policy that adds a custom community, another for each name."""
    safe = re.sub(r"[^A-Za-z0-9_-]", lambda found: f".{ord(found[0]):x}", name)
    return f"attach-{safe}"


def attached(settings: Settings) -> tuple[list[str], Given | None]:
    """Return the policies that a client's routes go through, and where that is said."""
    given = settings.own.get("attach_custom_communities")
    if given is None:
        return [], None
    custom = settings["custom_communities"]
    return [policy_name(name) for name in given.value if custom[name]], given
