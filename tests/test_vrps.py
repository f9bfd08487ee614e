"""Files of VRPs: every form that is about, and every way in which one can be damaged."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rs import vrps
from rs._fastpath.aspa import AspaTable
from rs._fastpath.roa import RoaTable
from rs.errors import VrpError

from .mrtfiles import data_file

A = ("192.0.2.0/24", 26, 64496)
B = ("2001:db8::/32", 48, 64497)


@pytest.fixture
def write(tmp_path):
    def writer(text: str | bytes, name: str = "vrps") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return writer


RPKI_CLIENT = """{
\t"metadata": {
\t\t"buildmachine": "host",
\t\t"buildtime": "2026-11-20T00:00:00Z",
\t\t"vrps": 2
\t},

\t"roas": [
\t\t{ "asn": 64496, "prefix": "192.0.2.0/24", "maxLength": 26, "ta": "ripe", "expires": 1900000000 },
\t\t{ "asn": 64497, "prefix": "2001:db8::/32", "maxLength": 48, "ta": "arin", "expires": 1700000000 }
\t],

\t"bgpsec_keys": [
\t\t{ "asn": 15562, "ski": "5D4250E2D81D4448D8A29EFCE91D29FF075EC9E2", "pubkey": "MFkw", "ta": "ripe" }
\t],

\t"aspas": [
\t\t{ "customer_asid": 64500, "expires": 1900000000, "providers": [ 64501, 64502 ] },
\t\t{ "customer_asid": 64600, "expires": 1700000000, "providers": [ 0 ] }
\t]
}
"""
RPKI_CLIENT_8 = json.dumps(
    {
        "roas": [{"asn": 64496, "prefix": "192.0.2.0/24", "maxLength": 26}],
        "provider_authorizations": {
            "ipv4": [{"customer_asid": 64500, "expires": 1900000000, "providers": [64501]}],
            "ipv6": [{"customer_asid": 64500, "expires": 1900000000, "providers": [64502]}],
        },
    }
)
ROUTINATOR = """{
  "metadata": {
    "generated": 1700000000,
    "generatedTime": "2023-11-14T22:13:20Z"
  },
  "roas": [
    { "asn": "AS64496", "prefix": "192.0.2.0/24", "maxLength": 26, "ta": "ripe" },
    { "asn": "AS64497", "prefix": "2001:db8::/32", "maxLength": 48, "ta": "arin" }
  ],
  "routerKeys": [],
  "aspas": [
    { "customer": "AS64500", "providers": ["AS64501", "AS64502"], "ta": "ripe" }
  ]
}"""
ROUTINATOR_EXT = """{
  "metadata": {"generated": 1700000000},
  "roas": [
    { "asn": "AS64496", "prefix": "192.0.2.0/24", "maxLength": 26, "source": [
        { "type": "roa", "uri": "rsync://x/}],[{\\"y.roa", "validity": { "notBefore": "a", "notAfter": "b" } } ] },
    { "asn": "AS64497", "prefix": "2001:db8::/32", "maxLength": 48, "source": [ { "type": "exception", "path": null }] }
  ],
  "aspas": [
    { "customer": "AS64500", "providers": ["AS64501", "AS64502"], "source": [ { "type": "exception", "path": null }] }
  ]
}"""


@pytest.mark.parametrize(
    "text",
    [RPKI_CLIENT, ROUTINATOR, ROUTINATOR_EXT, "\ufeff" + ROUTINATOR, " \n" + ROUTINATOR + "\n\n"],
)
def test_json(write, text):
    found = vrps.read(write(text))
    assert list(found.vrps) == [A, B]
    assert found.aspas[64500] == (64501, 64502)
    assert found.expired == 0


def test_provider_authorizations_of_both_families(write):
    found = vrps.read(write(RPKI_CLIENT_8))
    assert list(found.vrps) == [A]
    assert found.aspas == {64500: (64501, 64502)}


def test_what_has_expired_is_passed_over(write):
    found = vrps.read(write(RPKI_CLIENT), now=1_800_000_000)
    assert list(found.vrps) == [A]
    assert list(found.aspas) == [64500]
    assert found.expired == 2
    assert len(vrps.read(write(RPKI_CLIENT), now=1_600_000_000).vrps) == 2


def test_trust_anchors(write):
    found = vrps.read(write(RPKI_CLIENT), trust_anchors=["RIPE"])
    assert list(found.vrps) == [A]
    assert found.other_anchors == 1
    # An ASPA without a name of its anchor stays.
    assert len(found.aspas) == 2
    with pytest.raises(VrpError, match="holds no VRPs"):
        vrps.read(write(RPKI_CLIENT), trust_anchors=[])


@pytest.mark.parametrize(
    "text",
    [
        # Routinator csv, csvcompat and csvext; RIPE's archive without a max length; rpki-client.
        "ASN,IP Prefix,Max Length,Trust Anchor\nAS64496,192.0.2.0/24,26,ripe\nAS64497,2001:db8::/32,48,arin\n",
        '"ASN","IP Prefix","Max Length","Trust Anchor"\n"64496","192.0.2.0/24","26","ripe"\n"64497","2001:db8::/32","48","arin"\n',
        "URI,ASN,IP Prefix,Max Length,Not Before,Not After\nrsync://x/a.roa,AS64496,192.0.2.0/24,26,2023-01-01 00:00:00,2024-01-01 00:00:00\nN/A,AS64497,2001:db8::/32,48,N/A,N/A\n",
        "ASN,IP Prefix,Max Length,Trust Anchor,Expires\r\nAS64496,192.0.2.0/24,26,ripe,1900000000\r\nAS64497,2001:db8::/32,48,arin,1900000000\r\n",
        "# ours\nAS64496, 192.0.2.0/24, 26\n\n64497,2001:db8::/32,48\n",
        "AS64496,192.0.2.0/24,26,ripe\nas64497,2001:db8::/32,48,arin\n",
        "prefix,maxlength,asn\n192.0.2.0/24,26,64496\n2001:db8::/32,48,64497\n",
        "2017-01-01T00:19:01Z 64496 192.0.2.0/24-26\n2017-01-01T00:19:01Z 64497 2001:db8::/32-48\n",
        "# x\n\n2017-01-01T00:19:01Z  AS64496\t192.0.2.0/24-26\nt 64497 2001:db8::/32-48\n",
    ],
)
def test_lines(write, text):
    assert list(vrps.read(write(text)).vrps) == [A, B]


def test_a_missing_max_length_is_the_prefix_length(write):
    found = vrps.read(
        write("URI,ASN,IP Prefix,Max Length,Not Before,Not After\nx,AS1,10.0.0.0/8,,a,b\n")
    )
    assert list(found.vrps) == [("10.0.0.0/8", 8, 1)]
    found = vrps.read(write("t 64496 192.0.2.0/24 2001:db8::/32-33\n"))
    assert list(found.vrps) == [("192.0.2.0/24", 24, 64496), ("2001:db8::/32", 33, 64496)]
    found = vrps.read(write('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1}]}'))
    assert list(found.vrps) == [("10.0.0.0/8", 8, 1)]


def test_csv_columns_for_time_and_anchor(write):
    path = write(
        "ASN,IP Prefix,Max Length,Trust Anchor,Expires\nAS1,10.0.0.0/8,8,ripe,5\nAS2,11.0.0.0/8,8,arin,9\nAS3,12.0.0.0/8,8,ripe,9\n"
    )
    found = vrps.read(path, now=7, trust_anchors=["ripe"])
    assert list(found.vrps) == [("12.0.0.0/8", 8, 3)]
    assert (found.expired, found.other_anchors) == (1, 1)


def roa(**more: object) -> str:
    return json.dumps({"roas": [{"prefix": "10.0.0.0/8", "maxLength": 8, "asn": 1}, more]})


FULL = {"prefix": "192.0.2.0/24", "maxLength": 24, "asn": 64496}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is empty"),
        (" \n\t", "the file is empty"),
        ("{}", 'neither "roas" nor "aspas"'),
        ('{"metadata": {}}', 'neither "roas" nor "aspas"'),
        ('{"roas": []}', "holds no VRPs"),
        ('{"roas": {}}', '"roas" is no array'),
        ('{"roas": [1]}', r"roas\[0\]: "),
        ('{"roas": [null]}', r"roas\[0\]: "),
        ('{"roas": [[]]}', r"roas\[0\]: "),
        ('{"roas": [{}]}', r"roas\[0\]: 'asn' is missing"),
        (roa(asn=1), r"roas\[1\]: 'prefix' is missing"),
        (roa(**FULL | {"prefix": "192.0.2.0/33"}), r"roas\[1\]: '192.0.2.0/33' is longer"),
        (roa(**FULL | {"prefix": "192.0.2.1/24"}), r"roas\[1\]: .* bits set past its length"),
        (roa(**FULL | {"prefix": 5}), r"roas\[1\]: "),
        (roa(**FULL | {"maxLength": 23}), r"roas\[1\]: max length 23 .* not between 24 and 32"),
        (roa(**FULL | {"maxLength": "24"}), r"roas\[1\]: "),
        (roa(**FULL | {"maxLength": 24.5}), r"roas\[1\]: "),
        (roa(**FULL | {"maxLength": 2**70}), r"roas\[1\]: "),
        (roa(**FULL | {"asn": "ASX"}), r"roas\[1\]: 'ASX' is not an AS number"),
        (roa(**FULL | {"asn": "AS4294967296"}), r"roas\[1\]: .* out of range"),
        (roa(**FULL | {"asn": -1}), r"roas\[1\]: "),
        (roa(**FULL | {"asn": None}), r"roas\[1\]: None is not an AS number"),
        (roa(**FULL | {"asn": True}), r"roas\[1\]: True is not an AS number"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1}] "aspas": []}', "octet 46: a comma"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1} {}]}', "a comma or a bracket"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1},]}', "a value is missing here"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1}],}', "a key and a colon"),
        ('{"roas" [{"prefix": "10.0.0.0/8", "asn": 1}]}', "a key and a colon"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1}]} {}', "more after the end"),
        ('{"roas": [{"prefix": "10.0.0.0/8", "asn": 1}]} x', "no closing brace at the end"),
        ('{"roas": [{"prefix": "10.0.0.0/8" "asn": 1}]}', "no JSON"),
        ('{"x": nul, "roas": []}', "no JSON"),
        ('{"aspas": [{"customer": "AS0", "providers": ["AS1"]}]}', r"aspas\[0\]: AS 0"),
        (
            '{"aspas": [{"customer": "AS1", "providers": []}]}',
            r"aspas\[0\]: AS1 names no providers",
        ),
        ('{"aspas": [{"customer": "AS1"}]}', r"aspas\[0\]: 'providers' is missing"),
        ('{"aspas": [{"customer": "AS1", "providers": ["x"]}]}', r"aspas\[0\]: 'x' is not an AS"),
        (
            '{"provider_authorizations": {"ipv4": [{"customer_asid": 1}]}}',
            r"ipv4\[0\]: 'providers'",
        ),
        ('{"provider_authorizations": []}', "is no object"),
        ("AS1,10.0.0.0/8,8\nAS2,11.0.0.0/8,8", "the last line has no end"),
        ("AS1,10.0.0.0/8,8\nAS2,11.0.0.0/8\n", "line 2: 2 columns instead of 3"),
        ("AS1,10.0.0.0/8,8\nAS2,11.0.0.0/33,8\n", "line 2: '11.0.0.0/33' is longer"),
        ("AS1,10.0.0.0/8,8\nAS2,11.0.0.0/8,x\n", "line 2: "),
        ("a,b\n1,2\n", "line 1: neither names"),
        ("ASN,IP Prefix,Max Length,Trust Anchor\n", "holds no VRPs"),
        ("# nothing\n", "holds no VRPs"),
        ("t 1 10.0.0.0/8\nt 2\n", "line 2: time, AS number and prefixes"),
        ("t 1 10.0.0.0/8\nt 2 11.0.0.0/8-7\n", "line 2: max length 7"),
        ("t 1 10.0.0.0/8\nt 2 11.0.0.0/8-\n\n t x 1\n", "line 4: 'x' is not"),
        ("<html>\n<body>error</body>\n", "line 1: "),
        (b"\xff\xfe\n", "octet 0: not text"),
        (b"\x00" * 100 + b"\n", "line 1: "),
    ],
)
def test_damaged_files_say_where(write, text, what):
    path = write(text, "damaged.file")
    with pytest.raises(VrpError, match=what) as error:
        vrps.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(VrpError, match="No such file"):
        vrps.read(tmp_path / "none")
    with pytest.raises(VrpError, match="directory"):
        vrps.read(tmp_path)


@pytest.mark.parametrize("text", ['{"roas": []}', "ASN,IP Prefix,Max Length\n"])
def test_an_empty_list_where_it_is_meant(write, text):
    assert len(vrps.read(write(text), allow_empty=True).vrps) == 0


def test_aspas_alone_are_no_empty_file(write):
    found = vrps.read(write('{"aspas": [{"customer": "AS1", "providers": ["AS2"]}]}'))
    assert found.aspas == {1: (2,)}


@pytest.mark.parametrize("text", [RPKI_CLIENT, ROUTINATOR, ROUTINATOR_EXT, RPKI_CLIENT_8])
def test_json_cut_off_anywhere(write, text):
    whole = text.rstrip()
    for cut in range(len(whole)):
        with pytest.raises(VrpError, match=r"cut off|empty"):
            vrps.read(write(whole[:cut]))


def test_cut_off_in_a_large_file(write):
    entries = [f'{{"prefix": "10.{i >> 8}.{i & 255}.0/24", "asn": {i}}}' for i in range(2000)]
    text = '{"roas": [' + ", ".join(entries) + "]}"
    assert len(vrps.read(write(text)).vrps) == 2000
    for cut in range(100, len(text), 997):
        with pytest.raises(VrpError, match=r"cut off"):
            vrps.read(write(text[:cut]))


SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n  "])
# What every reader of JSON takes: no lone surrogates, integers of 64 bits.
TEXT = st.text(st.characters(codec="utf-8"), max_size=4)
SCALARS = st.one_of(st.integers(-(2**63), 2**63), TEXT, st.none(), st.booleans(), st.just(1.5))
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {"prefix": st.sampled_from([A[0], B[0]]), "asn": st.sampled_from([1, "AS2", "3"])},
    optional={"maxLength": st.just(32), "ta": TEXT, "more": VALUES},
)


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=8),
    more=st.dictionaries(TEXT, VALUES, max_size=3),
    indent=st.sampled_from([None, 1, "\t"]),
    window=st.sampled_from([40, 200, 1 << 14]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_as_a_json_reader_reads_it(
    write, monkeypatch, *, entries, more, indent, window
):
    more = {k: v for k, v in more.items() if k not in {"roas", "vrps", "aspas"}}
    monkeypatch.setattr(vrps, "WINDOW", window)
    text = json.dumps(more | {"roas": entries} | {"z": more}, indent=indent)
    numbers = {1: 1, "AS2": 2, "3": 3}
    want = [
        (e["prefix"], e.get("maxLength", 24 if e["prefix"] == A[0] else 32), numbers[e["asn"]])
        for e in entries
    ]
    assert list(vrps.read(write(text)).vrps) == want


@given(st.binary(max_size=300))
@example(b'{"roas":[{"a":[')
@example(b'{"roas":["\\')
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_octets_but_an_error(write, data):
    for text in (data, b'{"roas":[' + data, b"AS1,10.0.0.0/8,8\n" + data):
        with contextlib.suppress(VrpError):
            vrps.read(write(text))


# --- into the tables ----------------------------------------------------------------------------


def test_loading_in_slices(write):
    lines = "".join(f"AS{i},10.{i >> 8}.{i & 255}.0/24,24\n" for i in range(20000))
    file = vrps.read(write(lines))
    roas, aspas = RoaTable(), AspaTable()
    source = roas.add_source("file")
    file.aspas[1] = (2, 3)
    assert sum(1 for _ in vrps.load_steps(file, roas, aspas, source)) == 5
    assert roas.held(source) == 0
    roas.commit(source)
    aspas.commit(source)
    assert roas.held(source) == 20000
    assert aspas.changes() == {1}
    roas.drop_changes()
    # Given up half way: nothing changed, nothing stays staged.
    run = vrps.load_steps(vrps.read(write("AS1,11.0.0.0/8,8\n")), roas, aspas, source)
    next(run)
    run.close()
    roas.begin(source, reset=False)
    roas.abort(source)
    assert roas.changes() == []
    assert roas.held(source) == 20000


def test_what_a_table_cannot_take(write):
    file = vrps.VrpFile(Path("x"), aspas={0: (1,)})
    roas, aspas = RoaTable(), AspaTable()
    source = roas.add_source("file")
    with pytest.raises(VrpError, match="x: the ASPA of AS0"):
        list(vrps.load_steps(file, roas, aspas, source))
    roas.begin(source, reset=True)


@pytest.mark.data
def test_the_list_of_2017():
    found = vrps.read(data_file("vrps-2017-06-15.txt"))
    assert len(found.vrps) == 71445
    roas = RoaTable()
    roas.add_source("file")
    roas.replace(found.vrps)
    assert roas.stats()["vrps_ipv4"] + roas.stats()["vrps_ipv6"] == len(set(found.vrps))
    assert roas.validate("91.235.107.0/24", 20645) == "valid"
    assert roas.validate("91.235.107.0/25", 20645) == "invalid"
    assert ("134.19.128.0/21", 24, 31257, ("file",)) in roas.covering("134.19.130.0/23")


def test_half_a_million_entries(write):
    lines = [
        f'    {{ "asn": "AS{i}", "prefix": "{i >> 15}.{i >> 7 & 255}.{(i & 127) << 1}.0/24", "maxLength": 24, "ta": "x" }}'
        for i in range(1 << 15, 500_000 + (1 << 15))
    ]
    path = write('{"roas": [\n' + ",\n".join(lines) + "\n]}")
    del lines
    slices = []
    began = time.process_time()
    run = vrps.steps(path)
    while True:
        at = time.thread_time()
        try:
            next(run)
        except StopIteration as stop:
            found = stop.value
            break
        slices.append(time.thread_time() - at)
    spent = time.process_time() - began
    assert len(found.vrps) == 500_000
    print(f"{spent:.2f} s, longest slice {max(slices) * 1000:.2f} ms of {len(slices)}")
    # A slice is a window of the file, about 190 entries; how long that takes depends on the machine.
    assert len(slices) > 500_000 // 250
