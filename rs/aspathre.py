"""Regular expressions over AS paths: text in, the positions of an automaton out.

A symbol is a whole AS number, never a digit, so `650` does not match in 65001. The path is read as
its numbers in order, members of sets and confederation segments included, between a beginning and
an end that `^` and `$` match. An expression is found anywhere in the path.

    65001                one AS number            .   any one AS number; also [0-9]+
    64512-65534          one of a range           _   or a space: nothing, it only separates
    [65001 64512-65534]  one of several           [^ 65001]  any one but these
    <customers>          one of a named set       (a|b)  a or b
    * + ? {2} {2,} {2,4} how often what stands before

Out comes Glushkov's automaton: one position for each symbol of the expression, at most 64, so a
state is a word, matching is linear in the path, and nothing can explode. The matcher is
rs/_fastpath/aspath.pyx.
"""

from __future__ import annotations

import re

import attrs

MAX_POSITIONS = 64
MAX_LEN = 4000
"""Characters of an expression."""
MAX_DEPTH = 50
"""Brackets inside brackets."""
MAX_ASN = 0xFFFF_FFFF


@attrs.frozen
class Symbol:
    """What one position matches."""

    ranges: tuple[tuple[int, int], ...] = ()
    """First and last AS number."""
    names: tuple[str, ...] = ()
    """Named sets."""
    negated: bool = False
    mark: str = ""
    """`^` or `$`: the beginning or the end of the path, and no AS number."""


ANY = Symbol(negated=True)
BEGIN, END = Symbol(mark="^"), Symbol(mark="$")


@attrs.frozen
class AsPathRegex:
    """A compiled expression; two of equal content are equal."""

    text: str = attrs.field(eq=False)
    symbols: tuple[Symbol, ...]
    """What each position matches."""
    first: int
    """Positions that may come first, as bits."""
    last: int
    """Positions with which a match is complete."""
    follow: tuple[int, ...]
    """Positions that may come next, by position."""
    always: bool
    """Nothing at all is a match, so every path has one."""

    @property
    def names(self) -> set[str]:
        """Named sets that it refers to."""
        return {name for symbol in self.symbols for name in symbol.names}


# The tree: a Symbol, or a tuple of a word and what is below it.
Node = Symbol | tuple[str, tuple["Node", ...]]
NOTHING: Node = ("cat", ())

_TOKEN = re.compile(
    r"(?P<any>\[0-9\][+*]|\[1-9\]\[0-9\]\*|\\d[+*])"
    r"|(?P<number>\d+(?:-\d+)?)"
    r"|(?P<set>\[[^\]]*\])"
    r"|(?P<name><[^>]*>)"
    r"|(?P<times>\{\s*\d{1,3}\s*(?:,\s*(?:\d{1,3})?\s*)?\})"
    r"|(?P<gap>[\s_,]+)"
    r"|(?P<mark>[.^$()|*+?])"
)
_NAME = re.compile(r"[A-Za-z0-9_.:@-]+")


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first, last = int(low), int(high or low)
    if not first <= last <= MAX_ASN:
        raise ValueError(f'"{text}" is no AS number and no range of them')
    return first, last


def _set(text: str) -> Symbol:
    body = text[1:-1].strip()
    negated = body.startswith("^")
    ranges: list[tuple[int, int]] = []
    names: list[str] = []
    for word in re.split(r"[\s,_]+", body.removeprefix("^").strip()):
        if re.fullmatch(r"<[^>]+>", word):
            names.append(_name(word))
        elif re.fullmatch(r"\d+(?:-\d+)?", word):
            ranges.append(_range(word))
        else:
            raise ValueError(f'"{text}": want AS numbers, ranges and <NAME> between spaces')
    if ranges == [(0, 9)]:
        raise ValueError(f'"{text}" would be a digit; a number is a whole one, any is "."')
    return Symbol(tuple(sorted(ranges)), tuple(sorted(names)), negated)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text[1:-1]):
        raise ValueError(f'"{text}": want the name of one of [as_sets] in the brackets')
    return text[1:-1]


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f'"{text[at : at + 10]}" means nothing here')
        kind, word = match.lastgroup or "", match[0]
        glued = found and found[-1][0] != "gap"
        before = found[-1] if glued else ("", "")
        digit = word == "." and text[match.end() : match.end() + 1] not in {"*", "+"}
        if (before[0] == "number" and (digit or kind in {"set", "any", "number"})) or (
            before == ("mark", ".") and kind == "number"
        ):
            # Where expressions are over characters this would be a part of a number.
            raise ValueError(
                f'"{before[1]}{word}": a number is a whole AS number; want a space or _ between'
            )
        found.append((kind, word))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = [token for token in _tokens(text) if token[0] != "gap"]
        self.at = 0
        self.depth = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def either(self) -> Node:
        """Branches between `|`."""
        branches = [self.sequence()]
        while self.peek() == ("mark", "|"):
            self.at += 1
            branches.append(self.sequence())
        return _alternatives(branches)

    def sequence(self) -> Node:
        pieces: list[Node] = []
        while self.peek()[0] and self.peek() not in {("mark", "|"), ("mark", ")")}:
            pieces.append(self.piece())
        return ("cat", tuple(pieces)) if len(pieces) != 1 else pieces[0]

    def piece(self) -> Node:
        node = self.symbol()
        while True:
            kind, word = self.peek()
            if kind == "mark" and word in "*+?":
                node = (word, (node,))
            elif kind == "times":
                node = _times(node, word)
            else:
                return node
            self.at += 1

    def symbol(self) -> Node:
        kind, word = self.peek()
        self.at += 1
        match kind, word:
            case "number", _:
                return Symbol((_range(word),))
            case "set", _:
                return _set(word)
            case "name", _:
                return Symbol(names=(_name(word),))
            case ("any", _) | ("mark", "."):
                return ANY
            case "mark", "^":
                return BEGIN
            case "mark", "$":
                return END
            case "mark", "(":
                return self.group()
        raise ValueError(f'"{word}" has nothing before it to repeat')

    def group(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} brackets inside each other")
        node = self.either()
        if self.peek() != ("mark", ")"):
            raise ValueError('a "(" without its ")"')
        self.at += 1
        self.depth -= 1
        return node


def _alternatives(branches: list[Node]) -> Node:
    """Return an alternation; single AS numbers in it become one symbol, so that lists are cheap."""
    plain = [b for b in branches if isinstance(b, Symbol) and not b.mark and not b.negated]
    others = [b for b in branches if b not in plain]
    if len(plain) > 1:
        ranges = {pair for symbol in plain for pair in symbol.ranges}
        names = {name for symbol in plain for name in symbol.names}
        plain = [Symbol(tuple(sorted(ranges)), tuple(sorted(names)))]
    nodes = [*plain, *others]
    return nodes[0] if len(nodes) == 1 else ("alt", tuple(nodes))


def _times(node: Node, word: str) -> Node:
    """Write `x{2,4}` out as x x x? x?, and `x{2,}` as x x+."""
    low_text, comma, high_text = word[1:-1].replace(" ", "").partition(",")
    low = int(low_text)
    high = int(high_text) if high_text else None if comma else low
    if high is not None and high < low:
        raise ValueError(f'"{word}": the second number is the lower one')
    if max(low, high or 0) > MAX_POSITIONS:
        raise ValueError(f'"{word}": at most {MAX_POSITIONS} times')
    pieces = [node] * low
    if high is None:
        pieces.append(("*", (node,)))
    else:
        pieces += [("?", (node,))] * (high - low)
    return ("cat", tuple(pieces))


class _Glushkov:
    """Numbers the symbols and finds out which may follow which."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.follow: list[int] = []

    def visit(self, node: Node) -> tuple[bool, int, int]:
        """Return whether nothing is a match, and the positions that may come first and last."""
        if isinstance(node, Symbol):
            if len(self.symbols) == MAX_POSITIONS:
                raise ValueError(
                    f"more than {MAX_POSITIONS} AS numbers in a row; want a list, [1 2], or <NAME>"
                )
            bit = 1 << len(self.symbols)
            self.symbols.append(node)
            self.follow.append(0)
            return False, bit, bit
        kind, below = node
        if kind == "alt":
            found = [self.visit(one) for one in below]
            empty = any(e for e, _, _ in found)
            return empty, _union(f for _, f, _ in found), _union(x for _, _, x in found)
        if kind == "cat":
            return self._sequence(below)
        empty, first, last = self.visit(below[0])
        if kind in "*+":
            self._connect(last, first)
        return empty or kind in "*?", first, last

    def _sequence(self, below: tuple[Node, ...]) -> tuple[bool, int, int]:
        empty, first, last = True, 0, 0
        for one in below:
            one_empty, one_first, one_last = self.visit(one)
            self._connect(last, one_first)
            first |= one_first if empty else 0
            last = one_last | (last if one_empty else 0)
            empty = empty and one_empty
        return empty, first, last

    def _connect(self, sources: int, targets: int) -> None:
        for position in range(len(self.follow)):
            if sources >> position & 1:
                self.follow[position] |= targets


def _union(words: object) -> int:
    total = 0
    for word in words:  # type: ignore[attr-defined]
        total |= word
    return total


def parse_regex(text: str) -> AsPathRegex:
    """Return the automaton of an expression; ValueError says in words what is wrong with it."""
    if len(text) > MAX_LEN:
        raise ValueError(f"{len(text)} characters; at most {MAX_LEN}")
    parser = _Parser(text)
    tree = parser.either()
    if parser.peek()[0]:
        raise ValueError(f'a "{parser.peek()[1]}" without its "("')
    made = _Glushkov()
    empty, first, last = made.visit(tree)
    return AsPathRegex(text, tuple(made.symbols), first, last, tuple(made.follow), empty)
