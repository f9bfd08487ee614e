"""The radix trie against a dict and the ipaddress module."""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs._fastpath.trie import Trie


def net(addr: bytes, plen: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((addr, plen), strict=False)


def key(n):
    return n.network_address.packed, n.prefixlen


def order(k):
    return k


@st.composite
def prefixes(draw, width):
    """Clustered, so that prefixes nest and share nodes."""
    base = draw(st.sampled_from([b"\x0a\x00", b"\x0a\x01", b"\xc0\xa8", b"\x20\x01", b"\x00\x00"]))
    tail = draw(st.binary(min_size=width - 2, max_size=width - 2))
    if draw(st.booleans()):
        tail = bytes(b & 3 for b in tail)
    plen = draw(st.integers(0, width * 8))
    n = net(base + tail, plen)
    return key(n)


@pytest.mark.parametrize("width", [4, 16])
@given(data=st.data())
def test_equals_a_dict(width, data):
    trie = Trie(width)
    model: dict[tuple[bytes, int], int] = {}
    ops = data.draw(st.lists(st.tuples(st.booleans(), prefixes(width)), max_size=120))
    for insert, (addr, plen) in ops:
        if insert:
            h = trie.add(addr, plen)
            assert model.setdefault((addr, plen), h) == h
        elif model:
            k = (addr, plen) if (addr, plen) in model else next(iter(model))
            trie.discard(model.pop(k))
            assert trie.get(*k) == 0
    assert trie.count == len(model)
    for k, h in model.items():
        assert trie.get(*k) == h
        assert trie.key(h) == k
    everything = trie.below(bytes(width), 0)
    assert [trie.key(h) for h in everything] == sorted(model, key=order)
    for addr, _plen in [p for _, p in ops][:20]:
        ip = ipaddress.ip_address(addr)
        want = max((k for k in model if ip in net(*k)), key=lambda k: k[1], default=None)
        assert trie.match(addr) == (model[want] if want else 0)
    for addr, plen in [p for _, p in ops][:10]:
        outer = net(addr, plen)
        want = sorted(k for k in model if net(*k).subnet_of(outer))
        assert [trie.key(h) for h in trie.below(addr, plen)] == want


@pytest.mark.parametrize("width", [4, 16])
def test_walk_resumes_after_any_prefix(width):
    rng = random.Random(7)
    trie = Trie(width)
    keys = set()
    for _ in range(3000):
        addr = bytes([10, rng.randrange(3)]) + rng.randbytes(width - 2)
        k = key(net(addr, rng.randrange(8, width * 8 + 1)))
        keys.add(k)
        trie.add(*k)
    got = []
    after = None
    while batch := trie.below(bytes(width), 0, after, 17):
        got += [trie.key(h) for h in batch]
        after = got[-1]
    assert got == sorted(keys)
    # A start that is not in the trie, too.
    after = (bytes([10, 1]) + bytes(width - 2), 9)
    assert [trie.key(h) for h in trie.below(bytes(width), 0, after, 5000)] == sorted(
        k for k in keys if k > after
    )


def test_covering_prefixes_by_repeated_longest_match():
    trie = Trie(4)
    for text in [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.0/23",
        "10.1.2.0/24",
        "10.1.2.3/32",
    ]:
        trie.add(*key(ipaddress.ip_network(text)))
    found = []
    plen = 32
    while h := trie.match(bytes([10, 1, 2, 3]), plen):
        found.append(trie.key(h)[1])
        if found[-1] == 0:
            break
        plen = found[-1] - 1
    assert found == [32, 24, 23, 16, 8, 0]


def test_storage_is_reused_after_removal():
    trie = Trie(4)
    for _ in range(5):
        handles = [trie.add(bytes([10, a, b, 0]), 24) for a in range(20) for b in range(256)]
        for h in handles:
            trie.discard(h)
        assert trie.count == 0
        assert trie.stats()["nodes"] == 0
    assert trie.stats()["bytes"] < 100_000


def test_a_missing_handle_is_an_error():
    trie = Trie(4)
    with pytest.raises(KeyError):
        trie.discard(1)
    with pytest.raises(ValueError, match="octets"):
        trie.add(b"\x00" * 16, 64)
