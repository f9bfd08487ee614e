"""Files of prefixes: the forms that are read, and that nothing else and nothing partial is."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs._fastpath.irrload import PrefixReader
from rs._fastpath.pfxset import PrefixSet

BGPQ4 = b"""{ "NN": [
    { "prefix": "192.0.2.0/24", "exact": true },
    { "prefix": "10.0.0.0/8", "exact": false,
      "greater-equal": 16, "less-equal": 24 },
    { "prefix": "11.0.0.0/8", "exact": false, "less-equal": 24 },
    { "prefix": "2001:db8::/32", "greater-equal": 40, "exact": false }
] }
"""
LINES = b"""# made by hand
192.0.2.0/24

10.0.0.0/8 ge 16 le 24
11.0.0.0/8 le 24   # a comment
  2001:db8::/32 ge 40\r
12.0.0.0/8 16 20
13.0.0.0/8{9,10}
"""


def read(data: bytes, step: int = 0xFFFFFFFF) -> PrefixSet:
    found = PrefixSet()
    reader = PrefixReader(data, found)
    for _ in range(10_000):
        if reader.step(step):
            return found
    raise AssertionError("the reader never comes to an end")


@pytest.mark.parametrize("data", [BGPQ4, LINES, b"\xef\xbb\xbf" + LINES])
@pytest.mark.parametrize("step", [1, 2, 1000])
def test_forms(data, step):
    found = read(data, step)
    assert len(found) == (4 if data is BGPQ4 else 6)
    assert found.contains("192.0.2.0/24")
    assert not found.contains("192.0.2.0/25")
    assert found.contains("10.5.0.0/16")
    assert not found.contains("10.0.0.0/8")
    assert not found.contains("10.5.0.0/25")
    assert found.contains("11.0.0.0/8")
    assert found.contains("2001:db8:1::/128")
    assert not found.contains("2001:db8::/32")
    if data is not BGPQ4:
        assert found.contains("12.1.0.0/16")
        assert found.contains("13.128.0.0/9")


def test_other_forms_of_json():
    assert len(read(b'["10.0.0.0/8", {"prefix": "11.0.0.0/8"}]')) == 2
    assert len(read(b'{"a": ["10.0.0.0/8"], "b": ["11.0.0.0/8"]}\n')) == 2
    assert len(read(b'{"NN": []}')) == len(read(b"{}")) == len(read(b" [ ] ")) == 0
    assert len(read(b"")) == len(read(b"\n# none\n")) == 0


@pytest.mark.parametrize("data", [BGPQ4.rstrip(), LINES])
def test_a_file_that_is_cut_off_anywhere_is_refused(data):
    for n in range(1, len(data)):
        part = data[:n]
        if data is LINES and part.endswith(b"\n"):
            continue  # nothing tells that there was another line
        if not part.strip():
            continue
        with pytest.raises(ValueError, match=r"line \d+: "):
            read(part)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"10.0.0.0/33\n", "line 1: length 33; want at most 32"),
        (b"10.0.0.0/8\n10.0.0.1/8\n", "line 2: the prefix has host bits set"),
        (b"10.0.0/8\n", "want a prefix"),
        (b"10.0.0.0.0/8\n", "want a prefix"),
        (b"10.0.0.256/32\n", "want a prefix"),
        (b"2001:::/32\n", "want a prefix"),
        (b"10.0.0.0\n", "want a prefix"),
        (b"10.0.0.0/8 ge 4\n", "lengths 4 to 32 are not a range of 8 to 32"),
        (b"10.0.0.0/8 le 33\n", "lengths 8 to 33"),
        (b"10.0.0.0/8 ge\n", "want a number of bits"),
        (b"10.0.0.0/8 11.0.0.0/8\n", "want a number of bits"),
        (b"10.0.0.0/8, 11.0.0.0/8\n", "want a prefix, and behind it nothing"),
        (b"ip prefix-list NN permit 10.0.0.0/8\n", "want a prefix"),
        (b"<html>not found</html>\n", "want a prefix"),
        (b"[10]", "want a prefix in quotes, or an object"),
        (b'["10.0.0.0/8",]', "want a prefix in quotes"),
        (b'["10.0.0.0/8" "11.0.0.0/8"]', "stands where ',' should"),
        (b'["10.0.0.0/8"] x', "behind the last bracket"),
        (b'["10.0.0.0/8 "]', "want a prefix such as"),
        (b'[{"exact": true}]', "an object without `prefix`"),
        (b'[{"prefix": "10.0.0.0/8", "exact": false}]', "neither greater-equal nor less-equal"),
        (b'[{"prefix": "10.0.0.0/8", "exact": 1, "less-equal": 9}]', "wants true or false"),
        (b'[{"prefix": "10.0.0.0/8", "le": 9}]', "unknown name 'le'"),
        (b'[{"prefix": 10}]', "wants a prefix in quotes"),
        (b'{"a\\"b": []}', "a name with an escape"),
    ],
)
def test_what_is_refused_and_where(data, words):
    with pytest.raises(ValueError, match=r"line \d+: ") as caught:
        read(data)
    assert words in str(caught.value)


@st.composite
def entries(draw):
    wide = draw(st.booleans())
    bits = 128 if wide else 32
    plen = draw(st.integers(0, bits))
    value = draw(st.integers(0, 2**bits - 1)) >> (bits - plen) << (bits - plen)
    address = ipaddress.ip_address(value.to_bytes(bits // 8, "big"))
    low = draw(st.integers(plen, bits))
    return f"{address}/{plen}", low, draw(st.integers(low, bits))


@given(st.lists(entries(), max_size=30), st.integers(1, 7))
def test_reading_gives_what_was_written(wanted, step):
    lines = "".join(f"{prefix} ge {low} le {high}\n" for prefix, low, high in wanted)
    items = [
        {"prefix": prefix, "exact": False, "greater-equal": low, "less-equal": high}
        for prefix, low, high in wanted
    ]
    by_hand = PrefixSet()
    for prefix, low, high in wanted:
        by_hand.add(prefix, low, high)
    for data in (lines.encode(), json.dumps({"NN": items}, indent=1).encode()):
        found = read(data, step)
        assert len(found) == len(by_hand)
        for prefix, low, high in wanted:
            address = prefix.partition("/")[0]
            assert found.contains(f"{address}/{low}")
            assert found.contains(f"{address}/{high}")


def test_fit_gives_room_back_and_loses_nothing():
    data = "".join(f"10.{i >> 8}.{i & 255}.0/24\n" for i in range(5000)).encode()
    data += "".join(f"2001:db8:{i:x}::/48\n" for i in range(5000)).encode()
    found = read(data)
    found.fit()
    assert found.stats()["bytes"] < 5000 * (8 + 24) * 1.3
    assert all(found.contains(f"10.{i >> 8}.{i & 255}.0/24") for i in range(5000))
    assert all(found.contains(f"2001:db8:{i:x}::/48") for i in range(5000))
    assert not found.contains("10.200.0.0/24")
