"""The radix trie: prefixes of one family to dense handles, in the order of addresses.

In: masked addresses and lengths. Out: handles, 0 for none. The Trie owns every key.

Why this shape. An exact look-up costs a step per four bits below a directly indexed root of
16 bits: a /24 is two nodes away. Nodes hold bitmaps and one packed array, so a dense block of
/24s costs 5 B a prefix, where a binary trie with path compression costs 20 to 40. A slot with a
single prefix below it holds that prefix itself instead of a chain of nodes (the path
compression): a second prefix in the slot pushes the first one level down, a removal pulls the
last one up again. Longest match, covering prefixes and ordered walks below a prefix come from the
same structure; bench/bench_micro.py compares it with pytricia, a dict and a hash table.

Walks are by key, not by position: `collect` gives the next prefixes after a given one, so a walk
may pause for as long as it likes while the trie changes.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from rs._fastpath.arena cimport slab_alloc, slab_at, slab_free_all, slab_init, slab_release
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.wire cimport load16, prefix_load

check_abi(__name__)

cdef extern from *:
    """
    #define rs_popcount(x) ((unsigned)__builtin_popcount(x))
    """
    uint32_t rs_popcount(uint32_t x) noexcept nogil

cdef enum:
    ROOT_BITS = 16


cdef inline uint32_t nibble(const uint8_t *addr, uint32_t depth) noexcept nogil:
    """The four address bits that a node at `depth` below the root looks at."""
    cdef uint32_t byte = addr[2 + (depth >> 1)]
    return byte & 15 if depth & 1 else byte >> 4


cdef inline uint32_t prefix_bit(const uint8_t *addr, uint32_t plen, uint32_t depth) noexcept nogil:
    """Position in pmap of a prefix that ends in the node at `depth`."""
    cdef uint32_t r = plen - ROOT_BITS - 4 * depth
    return (<uint32_t>1 << r) - 2 + (nibble(addr, depth) >> (4 - r))


cdef inline bint covers(const uint8_t *a, uint32_t a_len, const uint8_t *b) noexcept nogil:
    """Whether the first `a_len` bits of `a` and `b` agree; `a` is masked to a_len."""
    cdef uint32_t whole = a_len >> 3
    if whole and memcmp(a, b, whole) != 0:
        return False
    if a_len & 7:
        return a[whole] == (b[whole] & <uint8_t>(0xFF << (8 - (a_len & 7))))
    return True


@cython.final
cdef class Trie:
    def __cinit__(self, uint32_t width):
        if width != 4 and width != 16:
            raise ValueError("width is 4 or 16 octets")
        self.width = width
        self.cap = 64
        self.top = 1
        self.addrs = <uint8_t *>malloc(<uint64_t>self.cap * width)
        self.plens = <uint8_t *>malloc(self.cap)
        # calloc: the pages of both tables stay untouched, and so unallocated, until used.
        self.short = <uint32_t *>calloc(1 << (ROOT_BITS + 1), 4)
        self.root = <uint32_t *>calloc(1 << ROOT_BITS, 4)
        self.words_cap = 1024
        self.words_top = 1
        self.words = <uint32_t *>malloc(self.words_cap * 4)
        memset(self.words_free, 0, sizeof(self.words_free))
        slab_init(&self.nodes, sizeof(node_t), 64)
        if (self.addrs == NULL or self.plens == NULL or self.short == NULL or self.root == NULL
                or self.words == NULL):
            raise MemoryError
        self.plens[0] = FREE_PLEN

    def __dealloc__(self):
        free(self.addrs)
        free(self.plens)
        free(self.next_free)
        free(self.short)
        free(self.root)
        free(self.words)
        slab_free_all(&self.nodes)

    # --- storage -------------------------------------------------------------------------------

    cdef uint32_t _new_key(self, const uint8_t *addr, uint32_t plen) except 0 nogil:
        cdef uint32_t h
        cdef uint64_t cap
        cdef void *p
        if self.free_h:
            h = self.free_h
            self.free_h = self.next_free[h]
        else:
            if self.top == self.cap:
                cap = <uint64_t>self.cap + (self.cap >> 1)
                if cap >= <uint64_t>LEAF:
                    with gil:
                        raise MemoryError("a trie is full: 2^31 prefixes")
                p = realloc(self.addrs, cap * self.width)
                if p == NULL:
                    with gil:
                        raise MemoryError
                self.addrs = <uint8_t *>p
                p = realloc(self.plens, cap)
                if p == NULL:
                    with gil:
                        raise MemoryError
                self.plens = <uint8_t *>p
                if self.next_free != NULL:
                    p = realloc(self.next_free, cap * 4)
                    if p == NULL:
                        with gil:
                            raise MemoryError
                    self.next_free = <uint32_t *>p
                self.cap = <uint32_t>cap
            h = self.top
            self.top += 1
        memcpy(self.addrs + <uint64_t>h * self.width, addr, self.width)
        self.plens[h] = <uint8_t>plen
        self.count += 1
        return h

    cdef uint32_t _words_alloc(self, uint32_t n) except 0xFFFFFFFF nogil:
        cdef uint32_t base = self.words_free[n]
        cdef uint32_t *p
        cdef uint64_t cap
        if base:
            self.words_free[n] = self.words[base]
            return base
        if self.words_top + n > self.words_cap:
            cap = <uint64_t>self.words_cap + (self.words_cap >> 1) + n
            if (cap >> 32) != 0:
                with gil:
                    raise MemoryError("a trie is full")
            p = <uint32_t *>realloc(self.words, cap * 4)
            if p == NULL:
                with gil:
                    raise MemoryError
            self.words = p
            self.words_cap = <uint32_t>cap
        base = self.words_top
        self.words_top += n
        return base

    cdef void _words_release(self, uint32_t base, uint32_t n) noexcept nogil:
        if n:
            self.words[base] = self.words_free[n]
            self.words_free[n] = base

    cdef int _node_put(self, uint32_t node_h, uint32_t at, uint32_t word, bint child,
                       uint32_t bit) except -1 nogil:
        """Insert `word` at position `at` of the node's array and set its bit."""
        cdef node_t *node = <node_t *>slab_at(&self.nodes, node_h)
        cdef uint32_t n = rs_popcount(node.cmap) + rs_popcount(node.pmap)
        cdef uint32_t size, base
        if n == node.n_words:
            # 1, 2, 3, 4, 6, 8, 10, ... : most nodes hold one to four words for good.
            size = n + 1 if n < 4 else n + 2
            base = self._words_alloc(size)
            node = <node_t *>slab_at(&self.nodes, node_h)
            if n:
                memcpy(self.words + base, self.words + node.base, n * 4)
                self._words_release(node.base, node.n_words)
            node.base = base
            node.n_words = <uint16_t>size
        cdef uint32_t *w = self.words + node.base
        memmove(w + at + 1, w + at, (n - at) * 4)
        w[at] = word
        if child:
            node.cmap |= <uint16_t>(1 << bit)
        else:
            node.pmap |= <uint32_t>1 << bit
        return 0

    cdef int _node_drop(self, uint32_t node_h, uint32_t at, bint child,
                        uint32_t bit) except -1 nogil:
        """Remove position `at` of the node's array and clear its bit; shrink what is half empty."""
        cdef node_t *node = <node_t *>slab_at(&self.nodes, node_h)
        cdef uint32_t n = rs_popcount(node.cmap) + rs_popcount(node.pmap) - 1
        cdef uint32_t *w = self.words + node.base
        cdef uint32_t base
        memmove(w + at, w + at + 1, (n - at) * 4)
        if child:
            node.cmap &= <uint16_t>~(1 << bit)
        else:
            node.pmap &= ~(<uint32_t>1 << bit)
        if n == 0:
            self._words_release(node.base, node.n_words)
            node.n_words = 0
            node.base = 0
        elif node.n_words >= 4 and n <= node.n_words >> 1:
            base = self._words_alloc(n)
            node = <node_t *>slab_at(&self.nodes, node_h)
            memcpy(self.words + base, self.words + node.base, n * 4)
            self._words_release(node.base, node.n_words)
            node.base = base
            node.n_words = <uint16_t>n
        return 0

    cdef int _node_add_key(self, uint32_t node_h, uint32_t depth, uint32_t h) except -1 nogil:
        """Put prefix `h` into an empty node: as one of its prefixes, or as a leaf below."""
        cdef const uint8_t *addr = self.addr(h)
        cdef uint32_t plen = self.plens[h]
        if plen <= ROOT_BITS + 4 * depth + 4:
            return self._node_put(node_h, 0, h, False, prefix_bit(addr, plen, depth))
        return self._node_put(node_h, 0, LEAF | h, True, nibble(addr, depth))

    cdef bint _same(self, uint32_t h, const uint8_t *addr, uint32_t plen) noexcept nogil:
        return self.plens[h] == plen and memcmp(self.addr(h), addr, self.width) == 0

    # --- exact match ---------------------------------------------------------------------------

    cdef uint32_t insert(self, const uint8_t *addr, uint32_t plen) except 0 nogil:
        """Return the handle of a prefix, new or known; `addr` has its host bits zero.

        Whether it is new the caller sees from `count`.
        """
        cdef uint32_t i, h, word, node_h, depth, bit, at, parent, parent_at
        cdef node_t *node
        if plen <= ROOT_BITS:
            i = (<uint32_t>1 << plen) | (load16(addr) >> (ROOT_BITS - plen))
            if self.short[i] == 0:
                h = self._new_key(addr, plen)
                self.short[i] = h
            return self.short[i]
        i = load16(addr)
        word = self.root[i]
        if word == 0:
            h = self._new_key(addr, plen)
            self.root[i] = LEAF | h
            return h
        depth = 0
        parent = 0
        parent_at = i
        while True:
            if word & LEAF:
                h = word & ~<uint32_t>LEAF
                if self._same(h, addr, plen):
                    return h
                # Two prefixes in one slot: a node takes the first one level down.
                node_h = slab_alloc(&self.nodes)
                node = <node_t *>slab_at(&self.nodes, node_h)
                node.pmap = 0
                node.cmap = 0
                node.n_words = 0
                node.base = 0
                self._node_add_key(node_h, depth, h)
                if parent == 0:
                    self.root[parent_at] = node_h
                else:
                    node = <node_t *>slab_at(&self.nodes, parent)
                    self.words[node.base + parent_at] = node_h
            else:
                node_h = word
            node = <node_t *>slab_at(&self.nodes, node_h)
            if plen <= ROOT_BITS + 4 * depth + 4:
                bit = prefix_bit(addr, plen, depth)
                at = rs_popcount(node.cmap) + rs_popcount(node.pmap & ((<uint32_t>1 << bit) - 1))
                if node.pmap & (<uint32_t>1 << bit):
                    return self.words[node.base + at]
                h = self._new_key(addr, plen)
                self._node_put(node_h, at, h, False, bit)
                return h
            bit = nibble(addr, depth)
            at = rs_popcount(node.cmap & ((<uint32_t>1 << bit) - 1))
            if not node.cmap & (<uint32_t>1 << bit):
                h = self._new_key(addr, plen)
                self._node_put(node_h, at, LEAF | h, True, bit)
                return h
            word = self.words[node.base + at]
            parent = node_h
            parent_at = at
            depth += 1

    cdef uint32_t find(self, const uint8_t *addr, uint32_t plen) noexcept nogil:
        """Return the handle of exactly this prefix, or 0."""
        cdef uint32_t word, depth, bit
        cdef node_t *node
        if plen <= ROOT_BITS:
            return self.short[(<uint32_t>1 << plen) | (load16(addr) >> (ROOT_BITS - plen))]
        word = self.root[load16(addr)]
        depth = 0
        while word:
            if word & LEAF:
                word &= ~<uint32_t>LEAF
                return word if self._same(word, addr, plen) else 0
            node = <node_t *>slab_at(&self.nodes, word)
            if plen <= ROOT_BITS + 4 * depth + 4:
                bit = prefix_bit(addr, plen, depth)
                if not node.pmap & (<uint32_t>1 << bit):
                    return 0
                return self.words[node.base + rs_popcount(node.cmap)
                                  + rs_popcount(node.pmap & ((<uint32_t>1 << bit) - 1))]
            bit = nibble(addr, depth)
            if not node.cmap & (<uint32_t>1 << bit):
                return 0
            word = self.words[node.base + rs_popcount(node.cmap & ((<uint32_t>1 << bit) - 1))]
            depth += 1
        return 0

    cdef int remove(self, uint32_t h) except -1 nogil:
        """Forget prefix `h`; the handle is free for another prefix afterwards."""
        cdef const uint8_t *addr = self.addr(h)
        cdef uint32_t plen = self.plens[h]
        cdef uint32_t stack_node[32]
        cdef uint32_t stack_at[32]
        cdef uint32_t depth = 0, word, bit, at, n, last
        cdef node_t *node
        if plen <= ROOT_BITS:
            self.short[(<uint32_t>1 << plen) | (load16(addr) >> (ROOT_BITS - plen))] = 0
        elif self.root[load16(addr)] & LEAF:
            self.root[load16(addr)] = 0
        else:
            word = self.root[load16(addr)]
            while True:
                node = <node_t *>slab_at(&self.nodes, word)
                stack_node[depth] = word
                if plen <= ROOT_BITS + 4 * depth + 4:
                    bit = prefix_bit(addr, plen, depth)
                    at = rs_popcount(node.cmap)
                    at += rs_popcount(node.pmap & ((<uint32_t>1 << bit) - 1))
                    self._node_drop(word, at, False, bit)
                    break
                bit = nibble(addr, depth)
                at = rs_popcount(node.cmap & ((<uint32_t>1 << bit) - 1))
                stack_at[depth] = at
                if self.words[node.base + at] & LEAF:
                    self._node_drop(word, at, True, bit)
                    break
                word = self.words[node.base + at]
                depth += 1
            # A node left with one prefix gives it back to its parent's slot, and so on upwards.
            while True:
                node = <node_t *>slab_at(&self.nodes, stack_node[depth])
                n = rs_popcount(node.cmap) + rs_popcount(node.pmap)
                if n > 1:
                    break
                last = self.words[node.base]
                if node.cmap:
                    if not last & LEAF:
                        break
                else:
                    last |= LEAF
                self._words_release(node.base, node.n_words)
                slab_release(&self.nodes, stack_node[depth])
                if depth == 0:
                    self.root[load16(addr)] = last
                    break
                depth -= 1
                node = <node_t *>slab_at(&self.nodes, stack_node[depth])
                self.words[node.base + stack_at[depth]] = last
        if self.next_free == NULL:
            self.next_free = <uint32_t *>malloc(<uint64_t>self.cap * 4)
            if self.next_free == NULL:
                with gil:
                    raise MemoryError
        self.next_free[h] = self.free_h
        self.free_h = h
        self.plens[h] = FREE_PLEN
        self.count -= 1
        return 0

    # --- longest match and walks ---------------------------------------------------------------

    cdef uint32_t longest(self, const uint8_t *addr, uint32_t max_plen) noexcept nogil:
        """Return the longest prefix of at most `max_plen` bits that covers `addr`, or 0.

        Calling it again with the result's length less one gives the next covering prefix.
        """
        cdef uint32_t best = 0, word, depth = 0, bit, v
        cdef int r
        cdef node_t *node
        if max_plen > ROOT_BITS:
            word = self.root[load16(addr)]
            while word:
                if word & LEAF:
                    word &= ~<uint32_t>LEAF
                    if self.plens[word] <= max_plen and covers(
                            self.addr(word), self.plens[word], addr):
                        best = word
                    break
                node = <node_t *>slab_at(&self.nodes, word)
                v = nibble(addr, depth)
                for r in range(4, 0, -1):
                    bit = (<uint32_t>1 << r) - 2 + (v >> (4 - r))
                    if ROOT_BITS + 4 * depth + r <= max_plen and node.pmap & (<uint32_t>1 << bit):
                        best = self.words[node.base + rs_popcount(node.cmap)
                                          + rs_popcount(node.pmap & ((<uint32_t>1 << bit) - 1))]
                        break
                if ROOT_BITS + 4 * depth + 4 >= max_plen:
                    break
                if not node.cmap & (<uint32_t>1 << v):
                    break
                word = self.words[node.base + rs_popcount(node.cmap & ((<uint32_t>1 << v) - 1))]
                depth += 1
        if best == 0:
            for r in range(<int>(max_plen if max_plen < ROOT_BITS else ROOT_BITS), -1, -1):
                best = self.short[(<uint32_t>1 << r) | (load16(addr) >> (ROOT_BITS - r))]
                if best:
                    break
        return best

    cdef uint32_t collect(self, const uint8_t *below, uint32_t below_len, const uint8_t *after,
                          int after_len, uint32_t *out, uint32_t n_max) noexcept nogil:
        """Fill `out` with the next prefixes at or below `below`/`below_len`, in address order.

        A shorter prefix comes before the longer ones it covers. With after_len >= 0 only what
        comes after that prefix (which need not exist) is given: pass the last one received to go
        on. Returns the number of handles written, less than `n_max` at the end.
        """
        cdef walk_t w
        cdef uint32_t first
        w.out = out
        w.n = 0
        w.n_max = n_max
        w.below = below
        w.below_len = below_len
        w.after = after
        w.after_len = after_len
        if below_len <= ROOT_BITS:
            first = (<uint32_t>1 << below_len) | (load16(below) >> (ROOT_BITS - below_len))
            walk_short(self, &w, first, below_len)
        else:
            walk_word(self, &w, self.root[load16(below)], 0,
                      after_len >= 0 and load16(below) == load16(after))
        return w.n

    # --- for Python: tests, looking glass of sets ------------------------------------------------

    def add(self, bytes addr, uint32_t plen):
        """Insert a prefix given as `width` octets and a length; return its handle."""
        cdef uint8_t masked[16]
        self._check(addr, plen)
        prefix_load(addr, plen, masked, self.width)
        return self.insert(masked, plen)

    def get(self, bytes addr, uint32_t plen):
        """Return the handle of exactly this prefix, or 0."""
        cdef uint8_t masked[16]
        self._check(addr, plen)
        prefix_load(addr, plen, masked, self.width)
        return self.find(masked, plen)

    def discard(self, uint32_t h):
        """Remove the prefix behind a handle; KeyError if there is none."""
        if h == 0 or h >= self.top or not self.holds(h):
            raise KeyError(h)
        self.remove(h)

    def match(self, bytes addr, uint32_t max_plen=128):
        """Return the handle of the longest prefix covering an address, or 0."""
        if len(addr) != <Py_ssize_t>self.width:
            raise ValueError(f"an address has {self.width} octets here, got {len(addr)}")
        return self.longest(addr, max_plen if max_plen < self.width * 8 else self.width * 8)

    def key(self, uint32_t h):
        """Return (address octets, length) of a handle; KeyError if there is none."""
        if h == 0 or h >= self.top or not self.holds(h):
            raise KeyError(h)
        return (<bytes>(<char *>self.addr(h))[:self.width], self.plens[h])

    def below(self, bytes addr, uint32_t plen, after=None, uint32_t limit=1000):
        """Return up to `limit` handles at or below a prefix, after the key `after`, in order."""
        cdef uint8_t masked[16]
        cdef bytes after_addr = bytes(self.width)
        cdef int after_len = -1
        self._check(addr, plen)
        prefix_load(addr, plen, masked, self.width)
        if after is not None:
            after_addr, after_len = after
        cdef uint32_t *out = <uint32_t *>malloc(<uint64_t>(limit + 1) * 4)
        if out == NULL:
            raise MemoryError
        cdef uint32_t n = self.collect(masked, plen, after_addr, after_len, out, limit)
        try:
            return [out[i] for i in range(n)]
        finally:
            free(out)

    def stats(self):
        """Return counts and the octets in use, keys included."""
        return {
            "prefixes": self.count,
            "nodes": self.nodes.live,
            "bytes": (<uint64_t>self.top * (self.width + 1) + <uint64_t>self.words_top * 4
                      + <uint64_t>self.nodes.top * sizeof(node_t)),
        }

    cdef int _check(self, bytes addr, uint32_t plen) except -1:
        if len(addr) != <Py_ssize_t>self.width or plen > self.width * 8:
            raise ValueError(f"a prefix has {self.width} octets, at most {self.width * 8} bits")


cdef struct walk_t:
    uint32_t *out
    uint32_t n
    uint32_t n_max
    const uint8_t *below
    const uint8_t *after
    uint32_t below_len
    int after_len


cdef inline bint emit(Trie t, walk_t *w, uint32_t h) noexcept nogil:
    """Take `h` if it is wanted; return whether there is room for more."""
    cdef int c
    if t.plens[h] < w.below_len or not covers(w.below, w.below_len, t.addr(h)):
        return True
    if w.after_len >= 0:
        c = memcmp(t.addr(h), w.after, t.width)
        if c < 0 or (c == 0 and <int>t.plens[h] <= w.after_len):
            return True
    w.out[w.n] = h
    w.n += 1
    return w.n < w.n_max


cdef inline bint before_start(Trie t, walk_t *w, const uint8_t *last) noexcept nogil:
    """Whether a subtree whose highest address is `last` ends before the walk's start."""
    return w.after_len >= 0 and memcmp(last, w.after, t.width) < 0


cdef bint walk_short(Trie t, walk_t *w, uint32_t i, uint32_t depth) noexcept nogil:
    cdef uint8_t last[16]
    cdef uint32_t v
    memset(last, 0xFF, 16)
    v = ((i + 1) << (ROOT_BITS - depth)) - 1
    last[0] = <uint8_t>(v >> 8)
    last[1] = <uint8_t>v
    if before_start(t, w, last):
        return True
    if t.short[i] and not emit(t, w, t.short[i]):
        return False
    if depth == ROOT_BITS:
        i &= 0xFFFF
        if t.root[i]:
            return walk_word(t, w, t.root[i], 0, w.after_len >= 0 and i == load16(w.after))
        return True
    return walk_short(t, w, 2 * i, depth + 1) and walk_short(t, w, 2 * i + 1, depth + 1)


cdef bint walk_word(Trie t, walk_t *w, uint32_t word, uint32_t depth, bint tight) noexcept nogil:
    """`tight`: the way down so far is that of w.after, so what is left of it can be skipped."""
    if word == 0:
        return True
    if word & LEAF:
        return emit(t, w, word & ~<uint32_t>LEAF)
    return walk_node(t, w, word, depth, 1, 0, tight)


cdef bint walk_node(Trie t, walk_t *w, uint32_t node_h, uint32_t depth, uint32_t i,
                    uint32_t r, bint tight) noexcept nogil:
    """Pre-order over the node's 30 prefix slots; `i` is 1 << r | value, i = 1 the node itself."""
    cdef node_t *node = <node_t *>slab_at(&t.nodes, node_h)
    cdef uint32_t bit, v, at, n
    if r:
        bit = i - 2
        if node.pmap & (<uint32_t>1 << bit):
            at = rs_popcount(node.cmap) + rs_popcount(node.pmap & ((<uint32_t>1 << bit) - 1))
            if not emit(t, w, t.words[node.base + at]):
                return False
    if r == 4:
        v = i & 15
        if node.cmap & (<uint32_t>1 << v):
            # A whole subtree outside the asked prefix is not entered.
            if ROOT_BITS + 4 * depth + 4 <= w.below_len and nibble(w.below, depth) != v:
                return True
            if tight and v < nibble(w.after, depth):
                return True
            n = rs_popcount(node.cmap & ((<uint32_t>1 << v) - 1))
            return walk_word(t, w, t.words[node.base + n],
                             depth + 1, tight and v == nibble(w.after, depth))
        return True
    return (walk_node(t, w, node_h, depth, 2 * i, r + 1, tight)
            and walk_node(t, w, node_h, depth, 2 * i + 1, r + 1, tight))
