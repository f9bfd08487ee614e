"""General policies against their model: random terms, random routes, the same in the end."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rs import policyconfig
from rs._fastpath.asnset import AsnSet
from rs._fastpath.aspath import AsPath
from rs.aspathre import MAX_POSITIONS, parse_regex
from rs.configfile import load_config
from rs.configkeys import keys_of
from rs.configvalues import BadValue
from rs.iana import RejectReason
from rs.policycompile import Facts
from rs.policyconfig import parse_policy
from tests import policykit as kit
from tests.configs import ROOT
from tests.reference import policy as model

OWN = {"own": AsnSet([2, 64501])}


def facts(neighbor: model.Neighbor) -> Facts:
    return Facts(neighbor.address, neighbor.asn, model.KINDS.index(neighbor.kind))


def judged(bench, program, route, *, receive=True):
    """Run one route; return accepted or not, its attributes then, and what fitted."""
    v6 = ":" in route.prefix
    source = facts(route.source)
    h = bench.attrs.intern_attrs(route.attrs, int(v6))
    reason, out, fired = program.terms.judge(
        bench.attrs,
        h,
        route.prefix,
        state=kit.RPKI[route.rpki] | kit.IRR[route.irr],
        asn=source.asn,
        address=source.address,
        kind=source.kind,
        receive=receive,
    )
    if receive:
        assert bench.attrs.raw_of(out) == h
    found = bench.attrs.describe(out)
    bench.attrs.drop(out)
    bench.attrs.drop(h)
    labels = [(program.labels[i].policy, program.labels[i].term) for i in fired]
    return reason, found, labels


# A term that looks at what the one before has written, of which the set is not the one it began with.
SEEN = (
    {
        "p0": {
            "terms": [
                {"match": {}, "add": {"communities": ["1:1"]}, "prepend": 2},
                {"match": {"communities": "1:1"}, "remove": {"communities": ["1:*"]}},
                {"match": {"as_path": "^(1_){3}", "communities": "1:1"}, "action": "reject"},
                {"match": {"as_path": "^(1_){3}"}, "action": "accept", "set": {"med": 7}},
            ],
            "default": "reject",
        }
    },
    [model.Route("10.1.0.0/16", {"origin": 0, "as_path": ((2, (1, 2)),), "next_hop": "10.9.0.1"})],
)


@settings(deadline=None, max_examples=300)
@example(*SEEN, True)
@given(kit.policies(), st.lists(kit.routes(), min_size=1, max_size=12), st.booleans())
def test_import_is_that_of_the_model(found, offered, settled):
    """With the neighbor settled when it is compiled, and asked of each route."""
    bench = kit.Bench(found)
    names = tuple(found)
    for route in offered:
        source = facts(route.source) if settled else None
        program = bench.compiler.program(names, source=source)
        wanted = model.run(found, list(names), route, kit.WORLD)
        for _ in range(2):  # the second time from what is remembered
            reason, attrs, fired = judged(bench, program, route)
            assert (reason == 0) is wanted.accepted
            assert fired == wanted.fired
            assert attrs == model.apply(route.attrs, wanted.edits, kit.WORLD)
    assert bench.attrs.stats()["sets"] == 0


@settings(deadline=None, max_examples=150)
@given(kit.policies(export=True), kit.routes(), st.sampled_from(kit.NEIGHBORS))
def test_export_knows_whom_it_is_for(found, route, target):
    bench = kit.Bench(found)
    names = tuple(found)
    route.target = target
    wanted = model.run(found, list(names), route, kit.WORLD)
    program = bench.compiler.program(names, target=facts(target))
    reason, attrs, fired = judged(bench, program, route, receive=False)
    assert (reason == 0, fired) == (wanted.accepted, wanted.fired)
    assert attrs == model.apply(route.attrs, wanted.edits, kit.WORLD)
    assert bench.attrs.stats()["sets"] == 0


def test_more_terms_than_a_word_has_bits():
    """The last of 200 terms, behind ones that fit, do not fit, and change what it looks at."""
    numbers = range(200)
    found = {
        "p0": {
            "terms": [
                {"match": {"communities": f"7:{i}"}, "add": {"communities": [f"7:{i + 1}"]}}
                for i in numbers
            ],
            "default": "reject",
        },
        "p1": {"terms": [{"match": {"communities": "7:200"}, "action": "accept"}]},
    }
    found["p0"]["default"] = "next-policy"
    found["p1"]["default"] = "reject"
    bench = kit.Bench(found)
    program = bench.compiler.program(("p0", "p1"))
    for first, accepted in ((0, True), (63, True), (64, True), (199, True), (201, False)):
        attrs = {
            "origin": 0,
            "as_path": ((2, (1,)),),
            "next_hop": "10.9.0.1",
            "communities": (7 << 16 | first,),
        }
        route = model.Route("10.0.0.0/8", attrs)
        reason, out, fired = judged(bench, program, route)
        assert (reason == 0) is accepted
        assert len(fired) == (201 - first if accepted else 1)
        assert len(out["communities"]) == (201 - first if accepted else 1)


def test_what_gets_too_long_is_refused_and_kept_as_it_was():
    numbers = [f"{high}:{low}" for high in range(20) for low in range(1000)]
    terms = [{"add": {"communities": numbers[at : at + 1000]}} for at in range(0, 20000, 1000)]
    bench = kit.Bench({"p0": {"terms": terms}})
    route = model.Route(
        "10.0.0.0/8", {"origin": 0, "as_path": ((2, (1,)),), "next_hop": "10.9.0.1"}
    )
    reason, out, _ = judged(bench, bench.compiler.program(("p0",)), route)
    assert reason == RejectReason.POLICY_TOO_LONG
    assert out == route.attrs


def test_programs_of_equal_content_are_one_across_configurations():
    found = {"p0": {"terms": [{"match": {"prefixes": "listed", "from": [1]}, "action": "reject"}]}}
    bench = kit.Bench(found)
    own = bench.compiler.program(("p0",), source=Facts("10.9.0.1", 1, 0))
    same = bench.compiler.program(("p0",), source=Facts("10.9.0.7", 1, 0))
    other = bench.compiler.program(("p0",), source=Facts("10.9.0.7", 2, 0))
    assert own.terms is same.terms
    assert own.terms is not other.terms
    assert other.terms.n_terms == 0
    policies = {"p0": parse_policy(found["p0"])}
    again = type(bench.compiler)(policies, bench.sets, bench.edits, None, bench.compiler)
    assert again.program(("p0",), source=Facts("10.9.0.1", 1, 0)).terms is own.terms
    bench.sets.prefixes["listed"] = type(bench.sets.prefixes["listed"])()
    later = type(bench.compiler)(policies, bench.sets, bench.edits, None, again)
    assert later.program(("p0",), source=Facts("10.9.0.1", 1, 0)).terms is not own.terms


# --- expressions over AS paths --------------------------------------------------------------------


@st.composite
def expressions(draw, depth=3):
    """An expression out of all its parts."""
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return draw(
            st.sampled_from(["1", "2", "3", ".", "1-2", "[1 3]", "[^2]", "<own>", "^", "$"])
        )
    kind = draw(st.sampled_from(["cat", "cat", "alt", "*", "+", "?", "{2}", "{1,2}", "{1,}"]))
    below = expressions(depth - 1)
    if kind == "cat":
        return "_".join(draw(st.lists(below, min_size=1, max_size=3)))
    if kind == "alt":
        return "(" + "|".join(draw(st.lists(below, min_size=1, max_size=3))) + ")"
    return f"({draw(below)}){kind}"


@settings(deadline=None, max_examples=400)
@given(expressions(), st.lists(st.lists(st.sampled_from([1, 2, 3, 64501]), max_size=6), max_size=6))
def test_expressions_match_what_those_of_python_match(text, paths):
    try:
        regex = parse_regex(text)
    except ValueError as error:
        assert f"more than {MAX_POSITIONS}" in str(error)  # noqa: PT017 - only some are too long
        return
    made = AsPath(regex, OWN)
    for path in paths:
        assert made.matches(path) == model.path_matches(kit.WORLD, text, path), (text, path)


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("_65001_", [1, 65001, 2], True),
        ("_6500_", [1, 65001, 2], False),
        ("^65001_", [65001, 2], True),
        ("^65001_", [1, 65001], False),
        ("_65001$", [1, 65001], True),
        ("^$", [], True),
        ("^$", [1], False),
        ("^[0-9]+$", [70000], True),
        ("^[0-9]+_[0-9]+$", [70000], False),
        (".*", [], True),
        ("^65001(_65001)*$", [65001] * 40, True),
        ("(_701_|_174_)", [1, 174], True),
        ("^4200000000-4294967294", [4200000001], True),
        ("(^|_)64500($|_)", [64500], True),
        ("^1.*2$", [1, 2], True),
        ("", [5], True),
    ],
)
def test_expressions_as_operators_write_them(text, path, found):
    assert AsPath(parse_regex(text), OWN).matches(path) is found


def test_a_path_of_many_segments_and_an_expression_that_explodes_elsewhere():
    made = AsPath(parse_regex("(1|1 1|1 1 1)+(1?){20}$2"), {})
    assert not made.matches([1] * 2000)
    assert AsPath(parse_regex("^(1_1)*$"), {}).matches([1] * 512)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("6500.", "want a space or _ between"),
        ("6500[1-9]", "want a space or _ between"),
        ("[0-9]", 'any is "."'),
        ("(1", 'a "(" without its ")"'),
        ("1)", 'a ")" without its "("'),
        ("*1", "has nothing before it to repeat"),
        ("1{3,2}", "the second number is the lower one"),
        ("1{99}", "at most 64 times"),
        ("1{40} 2{40}", "more than 64 AS numbers in a row"),
        ("5000000000", "no AS number"),
        ("a", "means nothing here"),
        ("[1 x]", "want AS numbers, ranges and <NAME>"),
        ("<>", "want the name of one of [as_sets]"),
        ("< >", "want the name of one of [as_sets]"),
        ("(" * 60 + "1" + ")" * 60, "more than 50 brackets"),
        ("1" * 5000, "5000 characters"),
    ],
)
def test_expressions_that_mean_nothing_are_told(text, words):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_regex(text)
    assert words in str(caught.value)


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "place", "words"),
    [
        ({"match": {"prefix": "10.0.0.0/8"}}, ("match", "prefix"), 'did you mean "prefixes"?'),
        ({"action": "next"}, (), "does nothing"),
        ({"action": "reject", "prepend": 1}, ("action",), "what is rejected is not changed"),
        ({"action": "accept", "reason": "x"}, ("reason",), 'is for action = "reject"'),
        ({"set": {"med": 1}, "remove": {"med": True}}, ("remove", "med"), "beside set.med"),
        ({"set": {"communities": ["1:*"]}}, ("set", "communities", 0), "stands for several"),
        ({"add": {"communities": ["1:70000"]}}, ("add", "communities", 0), "want 0 to 65535"),
        ({"add": {"communities": ["rt:70000:70000"]}}, ("add", "communities", 0), "0 to 65535"),
        ({"remove": {"communities": ["x:1"]}}, ("remove", "communities", 0), "does not fit"),
        ({"match": {"med": [3, 1]}, "action": "accept"}, ("match", "med"), "3 to 1 is no range"),
        ({"match": {"as_path": "(1"}, "action": "accept"}, ("match", "as_path"), 'a "("'),
        ({"match": {"from": "nobody"}}, ("match", "from"), "want an address"),
        ({"set": {"next_hop": ["10.0.0.1", "10.0.0.2"]}}, ("set", "next_hop"), "one address for"),
        ({"prepend": {"times": 2}}, ("prepend",), "want asn"),
        ({"prepend": 33}, ("prepend",), "want 1 to 32"),
        ({"match": {"next_hop": "10.0.0.0/33"}}, ("match", "next_hop"), "want a prefix"),
        ({"match": {"family": "ipv5"}}, ("match", "family"), "ipv4-unicast"),
        ({"remove": {"med": False}}, ("remove", "med"), "want true"),
    ],
)
def test_faults_name_their_place(term, place, words):
    with pytest.raises(BadValue) as caught:
        parse_policy({"terms": [{"action": "accept"}, term]})
    assert [path for path, _ in caught.value.faults] == [("terms", 1, *place)]
    assert words in caught.value.faults[0][1]


def test_names_of_terms_are_different():
    with pytest.raises(BadValue, match="is the name of term 1 already"):
        parse_policy({"terms": [{"action": "accept", "name": "2"}, {"action": "accept"}]})


# --- the documentation ----------------------------------------------------------------------------

MODELS = {
    "The term": policyconfig.Term,
    "match": policyconfig.Match,
    "set": policyconfig.Set,
    "add": policyconfig.Add,
    "remove": policyconfig.Remove,
}


def test_documentation_has_every_key_with_type_and_default():
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in (ROOT / "docs" / "policy.md").read_text().splitlines():
        if heading := re.match(r"###? (.+)", line):
            section = heading[1]
        elif section in MODELS and (row := re.match(r"\| `(\w+)` \| (.*) \|$", line)):
            found.setdefault(section, {})[row[1]] = row[2].split(" | ")
    for name, section_of in MODELS.items():
        keys = keys_of(section_of)
        assert found[name].keys() == keys.keys()
        for word, (_, key) in keys.items():
            kind, default, _, meaning = found[name][word]
            assert (kind, default.replace("`", "")) == (key.kind.wants, key.default), word
            assert len(meaning) > 3


def test_examples_of_the_documentation_are_correct(tmp_path):
    head = (
        '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\n'
        '[prefix_sets.customers]\nprefixes = ["10.0.0.0/8 le 24"]\n'
        "[as_sets.customers]\nasns = [64501]\n"
    )
    text = (ROOT / "docs" / "policy.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 6
    for number, shown in enumerate(examples):
        file = tmp_path / f"{number}.toml"
        own = head
        if "[router]\n" in shown:
            keys = shown.partition("[router]\n")[2]
            own = head.replace("[router]\n", f"[router]\n{keys}")
        file.write_text(own + shown.partition("[router]\n")[0])
        assert load_config(file).policies
