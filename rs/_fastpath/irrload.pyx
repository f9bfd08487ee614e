"""Files of prefixes, as bgpq4 and people write them, into a PrefixSet.

In: the bytes of a file. Out: entries in a PrefixSet that the caller owns. Forms:

* JSON, as `bgpq4 -j`: an object of lists whose items are objects with `prefix`, `exact`,
  `greater-equal` and `less-equal`; or one list; an item may also be the prefix as text;
* lines, as `bgpq4 -F "%n/%l\\n"`: a prefix, and after it nothing, `ge 16 le 24` (or one of them),
  `16 24` or `{16,24}`. `#` begins a comment.

A file that does not end as it must is an error: JSON without its last bracket, lines without a
last line feed. So is anything unknown, because a list that is read by half lets routes in or out
that nobody meant. Reading may pause after any entry.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from rs._fastpath.pfxset cimport PrefixSet
from rs._fastpath.stamp cimport check_abi
from rs._fastpath.wire cimport prefix_load

check_abi(__name__)

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET6
    int inet_pton(int af, const char *src, void *dst)

cdef enum:
    AT_START = 0
    AT_LINE = 1             # plain: before a line
    AT_KEY = 2              # JSON: before a name in the outer object
    AT_ITEM = 3             # JSON: before the first item of a list
    AT_NEXT = 4             # JSON: after an item
    AT_NEXT_KEY = 5         # JSON: after a list in the outer object
    AT_TAIL = 6             # JSON: after the last bracket
    AT_END = 7

    MAX_TEXT = 50           # octets of an address, more than any has


cdef struct entry_t:
    uint8_t addr[16]
    uint32_t family
    uint32_t bits           # of an address of the family
    uint32_t plen
    int low                 # -1: not given
    int high


@cython.final
cdef class PrefixReader:
    cdef bytes data
    cdef PrefixSet target
    cdef const uint8_t *begin
    cdef const uint8_t *p
    cdef const uint8_t *end
    cdef uint32_t state
    cdef bint nested            # the list stands in an object
    cdef readonly uint32_t count

    def __cinit__(self, bytes data, PrefixSet target):
        self.data = data
        self.target = target
        self.begin = self.p = data
        self.end = self.begin + len(data)
        if len(data) >= 3 and self.p[0] == 0xEF and self.p[1] == 0xBB and self.p[2] == 0xBF:
            self.p += 3

    def step(self, uint32_t n=0xFFFFFFFF):
        while n and self.state != AT_END:
            if self.state == AT_LINE:
                n -= self._line()
            elif self.state == AT_ITEM or self.state == AT_NEXT:
                n -= self._item()
            else:
                self._between()
        return self.state == AT_END

    cdef int _fail(self, str words) except -1:
        line = self.data.count(b"\n", 0, self.p - self.begin) + 1
        raise ValueError(f"line {line}: {words}")

    cdef int _short(self) except -1:
        self.p = self.end
        return self._fail("the file ends here and should not: it is cut off")

    cdef int _skip(self) except -1:
        """Pass over white space; return the next octet, 0 at the end of the file."""
        while self.p < self.end and (self.p[0] == 32 or 9 <= self.p[0] <= 13):
            self.p += 1
        return self.p[0] if self.p < self.end else 0

    cdef int _want(self, uint8_t octet) except -1:
        cdef int c = self._skip()
        if c == 0 and self.p == self.end:
            return self._short()
        if c != octet:
            return self._fail(f"{chr(c)!r} stands where {chr(octet)!r} should")
        self.p += 1
        return 0

    cdef int _between(self) except -1:
        """What stands outside of lists."""
        cdef const uint8_t *text
        cdef int c = self._skip()
        if self.state == AT_START:
            if c == ord("{"):
                self.p += 1
                self.nested = True
                self.state = AT_KEY
                if self._skip() == ord("}"):
                    self.p += 1
                    self.state = AT_TAIL
            elif c == ord("["):
                self.p += 1
                self.state = AT_ITEM
            else:
                self.state = AT_LINE
        elif self.state == AT_KEY:
            self._string(&text)
            self._want(ord(":"))
            self._want(ord("["))
            self.state = AT_ITEM
        elif self.state == AT_NEXT_KEY:
            if c == ord(","):
                self.p += 1
                self.state = AT_KEY
            else:
                self._want(ord("}"))
                self.state = AT_TAIL
        else:
            if c or self.p < self.end:
                return self._fail("something stands behind the last bracket")
            self.state = AT_END
        return 0

    # --- lines

    cdef int _line(self) except -1:
        """Read one line; return 1 if there was an entry in it."""
        cdef entry_t e
        cdef bint braces = False
        if self.p == self.end:
            self.state = AT_END
            return 0
        self._blanks()
        if self._eol():
            return 0
        self._prefix(&e)
        self._blanks()
        if self.p < self.end and self.p[0] == ord("{"):
            braces = True
            self.p += 1
        if braces or (self.p < self.end and 48 <= self.p[0] <= 57):
            e.low = self._number()
            self._blanks()
            if braces:
                self._want(ord(","))
            self._blanks()
            e.high = self._number()
            if braces:
                self._want(ord("}"))
        else:
            if self.end - self.p > 2 and memcmp(self.p, b"ge", 2) == 0:
                self.p += 2
                self._blanks()
                e.low = self._number()
                self._blanks()
            if self.end - self.p > 2 and memcmp(self.p, b"le", 2) == 0:
                self.p += 2
                self._blanks()
                e.high = self._number()
        self._blanks()
        if not self._eol():
            return self._fail("want a prefix, and behind it nothing, `ge N le M`, `N M` or `{N,M}`")
        return self._put(&e)

    cdef int _blanks(self) except -1:
        while self.p < self.end and (self.p[0] == 32 or self.p[0] == 9 or self.p[0] == 13):
            self.p += 1
        return 0

    cdef int _eol(self) except -1:
        """Pass over a comment and the line's end, if they are next; return whether they were."""
        if self.p < self.end and self.p[0] == ord("#"):
            while self.p < self.end and self.p[0] != 10:
                self.p += 1
        if self.p == self.end:
            return self._short()
        if self.p[0] != 10:
            return 0
        self.p += 1
        return 1

    # --- JSON

    cdef int _item(self) except -1:
        """Read one item of a list, or the list's end; return 1 for an item."""
        cdef entry_t e
        cdef int c = self._skip()
        if c == ord("]"):
            self.p += 1
            self.state = AT_NEXT_KEY if self.nested else AT_TAIL
            return 0
        if self.state == AT_NEXT:
            self._want(ord(","))
            c = self._skip()
        self.state = AT_NEXT
        if c == ord("{"):
            self.p += 1
            self._object(&e)
        elif c == ord('"'):
            self._quoted(&e)
        elif self.p == self.end:
            return self._short()
        else:
            return self._fail("want a prefix in quotes, or an object")
        return self._put(&e)

    cdef int _quoted(self, entry_t *e) except -1:
        """Read a prefix in quotes."""
        self.p += 1
        self._prefix(e)
        if self.p == self.end:
            return self._short()
        if self.p[0] != ord('"'):
            return self._fail("want a prefix such as \"10.0.0.0/8\"")
        self.p += 1
        return 0

    cdef int _object(self, entry_t *e) except -1:
        cdef const uint8_t *key
        cdef int n, c, low = -1, high = -1
        cdef bint known = False, inexact = False
        while True:
            n = self._string(&key)
            self._want(ord(":"))
            c = self._skip()
            if n == 6 and memcmp(key, b"prefix", 6) == 0:
                if c != ord('"'):
                    return self._fail("`prefix` wants a prefix in quotes")
                self._quoted(e)
                known = True
            elif n == 5 and memcmp(key, b"exact", 5) == 0:
                if self.end - self.p >= 4 and memcmp(self.p, b"true", 4) == 0:
                    self.p += 4
                elif self.end - self.p >= 5 and memcmp(self.p, b"false", 5) == 0:
                    self.p += 5
                    inexact = True
                elif self.end - self.p < 5:
                    return self._short()
                else:
                    return self._fail("`exact` wants true or false")
            elif n == 13 and memcmp(key, b"greater-equal", 13) == 0:
                low = self._number()
            elif n == 10 and memcmp(key, b"less-equal", 10) == 0:
                high = self._number()
            else:
                name = key[:n].decode("utf-8", "replace")
                return self._fail(f"unknown name {name!r}; known here: "
                                  "prefix, exact, greater-equal, less-equal")
            c = self._skip()
            if c == ord("}"):
                self.p += 1
                break
            self._want(ord(","))
            self._skip()
        if not known:
            return self._fail("an object without `prefix`")
        if inexact and low < 0 and high < 0:
            return self._fail("`exact` is false, and neither greater-equal nor less-equal is given")
        e.low = low
        e.high = high
        return 0

    cdef int _string(self, const uint8_t **text) except -1:
        """Read a string without escapes; return its length."""
        cdef int n
        self._want(ord('"'))
        text[0] = self.p
        while self.p < self.end and self.p[0] != ord('"'):
            if self.p[0] == ord("\\") or self.p[0] < 32:
                return self._fail("a name with an escape or a control character")
            self.p += 1
        if self.p == self.end:
            return self._short()
        n = <int>(self.p - text[0])
        self.p += 1
        return n

    # --- both

    cdef int _number(self) except -1:
        cdef int value = 0, digits = 0
        while self.p < self.end and 48 <= self.p[0] <= 57 and digits < 4:
            value = value * 10 + self.p[0] - 48
            digits += 1
            self.p += 1
        if digits == 0:
            return self._short() if self.p == self.end else self._fail("want a number of bits")
        return value

    cdef int _prefix(self, entry_t *e) except -1:
        """Read ADDRESS/LENGTH."""
        cdef const uint8_t *q = self.p
        cdef char text[MAX_TEXT]
        cdef uint8_t raw[16]
        cdef uint32_t n = 0, octet, digits
        cdef bint ok = True
        memset(e.addr, 0, 16)
        memset(raw, 0, 16)
        e.low = e.high = -1
        e.family = 0
        while q < self.end and q[0] != ord("/"):
            if q[0] == ord(":"):
                e.family = 1
            elif not (48 <= q[0] <= 57 or 97 <= (q[0] | 32) <= 102 or q[0] == ord(".")):
                break
            q += 1
        if q == self.end:
            return self._short()
        if q[0] != ord("/") or q - self.p >= MAX_TEXT:
            return self._fail("want a prefix such as 10.0.0.0/8 or 2001:db8::/32")
        if e.family:
            e.bits = 128
            memcpy(text, self.p, q - self.p)
            text[q - self.p] = 0
            ok = inet_pton(AF_INET6, text, raw) == 1
        else:
            e.bits = 32
            while ok and n < 4:
                octet = digits = 0
                while 48 <= self.p[0] <= 57 and digits < 4:
                    octet = octet * 10 + self.p[0] - 48
                    digits += 1
                    self.p += 1
                ok = digits > 0 and octet < 256 and self.p[0] == (ord(".") if n < 3 else ord("/"))
                raw[n] = <uint8_t>octet
                n += 1
                self.p += 1
        if not ok:
            return self._fail("want a prefix such as 10.0.0.0/8 or 2001:db8::/32")
        self.p = q + 1
        e.plen = self._number()
        if e.plen > e.bits:
            return self._fail(f"length {e.plen}; want at most {e.bits}")
        prefix_load(raw, e.plen, e.addr, e.bits >> 3)
        if memcmp(raw, e.addr, 16) != 0:
            return self._fail("the prefix has host bits set")
        return 0

    cdef int _put(self, entry_t *e) except -1:
        if e.low < 0 and e.high < 0:
            e.low = e.high = <int>e.plen
        elif e.low < 0:
            e.low = <int>e.plen
        elif e.high < 0:
            e.high = <int>e.bits
        if not <int>e.plen <= e.low <= e.high <= <int>e.bits:
            return self._fail(f"lengths {e.low} to {e.high} are not a range of "
                              f"{e.plen} to {e.bits}")
        self.target.put(e.family, e.addr, e.plen, <uint32_t>e.low, <uint32_t>e.high)
        self.count += 1
        return 1
