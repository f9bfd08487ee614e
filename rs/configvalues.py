"""What a single configuration value may look like.

In: a value as tomllib gives it. Out: the value in the model's own form (addresses and prefixes as
canonical text, AS numbers as integers, choices as enums). A value that does not fit raises
`BadValue`, which says what is wrong and what would be right; where in which file is the
business of rs/configfile.py. Nothing here knows of any other value: checks across keys are there.

AS numbers: RFC 5396 (asplain and asdot), RFC 6793 (23456 is reserved), RFC 7607 (0 is reserved).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from rs.iana import AS_TRANS, Family

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum

T = TypeVar("T")

MAX_ASN = 0xFFFF_FFFF
MAX_PASSWORD_LEN = 80
"""Octets of a TCP MD5 key that Linux takes (TCP_MD5SIG_MAXKEYLEN)."""
MAX_SOCKET_PATH_LEN = 107
"""Octets of a Unix socket's path on Linux, without the closing NUL."""
ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 - compared with, and the documented default


class BadValue(ValueError):  # noqa: N818 - a value, not an error of the program
    """A value that does not fit: `faults` holds (path below the value, words), in order."""

    def __init__(self, *faults: str | tuple[tuple[int | str, ...], str]) -> None:
        self.faults: list[tuple[tuple[int | str, ...], str]] = [
            ((), fault) if isinstance(fault, str) else fault for fault in faults
        ]
        super().__init__("; ".join(text for _, text in self.faults))


@attrs.frozen
class Kind:
    """A kind of value: `wants` names it in documentation and errors, `parse` reads it."""

    wants: str
    parse: Callable[[object], Any]


@attrs.frozen(order=True)
class Endpoint:
    """An IP address in canonical text and a TCP port."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether `host` is an IPv6 address."""
        return ":" in self.host

    @property
    def is_wildcard(self) -> bool:
        """Whether `host` stands for every address of its version."""
        return self.host in ALL_ADDRESSES

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def shown(value: object) -> str:
    """Return a value as the operator wrote it, shortened, for an error text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = '"' + value.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    elif isinstance(value, dict):
        return "a table"
    elif isinstance(value, list):
        return "a list"
    elif isinstance(value, int) and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"  # str() refuses thousands of digits
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _want(value: object, wants: str) -> BadValue:
    return BadValue(f"{shown(value)} does not fit; want {wants}")


def _boolean() -> Kind:
    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise _want(value, "true or false")
        return value

    return Kind("true or false", parse)


def integer(low: int, high: int, unit: str = "", *, zero: bool = False) -> Kind:
    """Return the kind of a whole number of `low` to `high`, and 0 as well where `zero` is set."""
    wants = f"{'0 or ' if zero else ''}{low} to {high}{' ' + unit if unit else ''}"

    def parse(value: object) -> int:
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or not (low <= value <= high or (zero and value == 0))
        ):
            raise _want(value, wants)
        return value

    return Kind(wants, parse)


def text(wants: str, max_len: int, pattern: str = "[^\x00-\x1f\x7f]*") -> Kind:
    """Return the kind of one line of text of at most `max_len` octets that matches `pattern`."""
    matches = re.compile(pattern).fullmatch
    wants = f"{wants} of at most {max_len} octets"

    def parse(value: object) -> str:
        if not isinstance(value, str) or not matches(value):
            raise _want(value, wants)
        if len(value.encode()) > max_len:
            raise BadValue(f"{shown(value)} has {len(value.encode())} octets; want {wants}")
        return value

    return Kind(wants, parse)


def choice(options: type[StrEnum]) -> Kind:
    """Return the kind of one word out of an enum's values."""
    words = " or ".join(f'"{option.value}"' for option in options)

    def parse(value: object) -> StrEnum:
        if isinstance(value, str):
            for option in options:
                if option.value == value:
                    return option
        raise _want(value, words)

    return Kind(words, parse)


def list_of(item: Kind, *, empty: bool = False) -> Kind:
    """Return the kind of a list without repetition; a fault names the item by its index."""
    wants = f"a list of {item.wants}"

    def parse(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _want(value, wants)
        if not value and not empty:
            raise BadValue(f"the list is empty; want {wants}")
        found: list[Any] = []
        faults: list[tuple[tuple[int | str, ...], str]] = []
        for index, one in enumerate(value):
            try:
                parsed = item.parse(one)
            except BadValue as bad:
                faults += [((index, *path), words) for path, words in bad.faults]
                continue
            if parsed in found:
                faults.append(((index,), f"{shown(one)} is in the list twice; name it once"))
            found.append(parsed)
        if faults:
            raise BadValue(*faults)
        return tuple(found)

    return Kind(wants, parse)


@attrs.frozen
class ByFamily(Generic[T]):
    """A value for each family, where they differ."""

    values: tuple[T, ...]
    """In the order of Family."""


def in_family(value: T | ByFamily[T], family: Family) -> T:
    """Return what a value that may differ by family is for one."""
    return value.values[family] if isinstance(value, ByFamily) else value


def by_family(item: Kind, default: object) -> Kind:
    """Return the kind of a value, or of a table by family where others have `default`."""
    wants = f"{item.wants}; or a table of these by family"

    def parse(value: object) -> Any:
        if not isinstance(value, dict):
            return item.parse(value)
        found: dict[Family, Any] = dict.fromkeys(Family, default)
        faults: list[tuple[tuple[int | str, ...], str]] = []
        for name, one in value.items():
            try:
                family = _family(name)
            except BadValue as bad:
                faults += [((name,), words) for _, words in bad.faults]
                continue
            try:
                found[family] = item.parse(one)
            except BadValue as bad:
                faults += [((name, *path), words) for path, words in bad.faults]
        if faults:
            raise BadValue(*faults)
        values = tuple(found[family] for family in Family)
        return ByFamily(values) if len(set(values)) > 1 else values[0]

    return Kind(wants, parse)


ASDOT = re.compile(r"(\d{1,5})\.(\d{1,5})")


def parse_asn(value: object) -> int:
    """Return an AS number given as an integer, "64500" or "1.10" (RFC 5396)."""
    wants = 'an AS number, 1 to 4294967295, or as text "64500" or "1.10"'
    if isinstance(value, float):
        raise BadValue(f"{value} is a decimal number; put an AS number with a dot in quotes")
    number = 0
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        if dotted := ASDOT.fullmatch(value):
            high, low = int(dotted[1]), int(dotted[2])
            number = (high << 16) | low if max(high, low) <= 0xFFFF else 0
        elif value.isascii() and value.isdigit() and len(value) <= 10:
            number = int(value)
    if not 1 <= number <= MAX_ASN:
        raise _want(value, wants)
    if number == AS_TRANS:
        raise BadValue(
            f"{AS_TRANS} is AS_TRANS, which stands in for 4-octet AS numbers (RFC 6793); "
            "want the neighbor's real AS number"
        )
    return number


def _asns(value: object) -> tuple[int, ...]:
    if isinstance(value, list):
        return tuple(list_of(ASN).parse(value))
    return (parse_asn(value),)


def _checked(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an address that one TCP socket may have without naming an interface."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            raise BadValue(f'"{address}" is IPv4 in IPv6; want "{address.ipv4_mapped}"')
        if address.is_link_local or address.scope_id is not None:
            raise BadValue(
                f'"{address}" is of one interface only; want a global or unique local address'
            )
    if address.is_multicast:
        raise BadValue(f'"{address}" is a multicast address; want that of one host')
    return address


def parse_host(value: object) -> str:
    """Return the address of one host, in canonical text."""
    wants = "an IPv4 or IPv6 address of one host"
    if not isinstance(value, str):
        raise _want(value, wants)
    try:
        address = ip_address(value)
    except ValueError:
        if "/" in value:
            raise BadValue(f'{shown(value)} is a prefix; want {wants}, or "range"') from None
        raise _want(value, wants) from None
    address = _checked(address)
    if address.is_unspecified or int(address) == MAX_ASN:
        raise BadValue(f"{shown(value)} is not a host's address; want {wants}")
    return str(address)


def _identifier(value: object) -> str:
    wants = 'an IPv4 address that is not 0.0.0.0, such as "10.0.0.1"'
    if not isinstance(value, str):
        raise _want(value, wants)
    try:
        address = IPv4Address(value)
    except ValueError:
        raise _want(value, wants) from None
    if address.is_unspecified:
        raise _want(value, wants)
    return str(address)


def identifier_number(identifier: str) -> int:
    """Return a router or cluster identifier as the number that it is on the wire."""
    return int(IPv4Address(identifier))


def _prefix(value: object) -> str:
    wants = 'a prefix such as "10.1.0.0/16" or "2001:db8::/32"'
    if not isinstance(value, str) or "/" not in value or "%" in value:
        raise _want(value, wants)
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise _want(value, wants) from None
    if network.network_address != ip_address(value.partition("/")[0]):
        raise BadValue(f'{shown(value)} has host bits set; want "{network}"')
    return str(network)


def parse_endpoint(value: object) -> Endpoint:
    """Return a listening address, "192.0.2.1:179" or "[2001:db8::1]:179"."""
    wants = '"IP:PORT" or "[IPv6]:PORT", such as "10.0.0.1:179" or "[2001:db8::1]:179"'
    if not isinstance(value, str):
        raise _want(value, wants)
    host, colon, port = value.rpartition(":")
    if not colon:
        raise BadValue(f"{shown(value)} has no port; want {wants}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise _want(value, wants)
    elif ":" in host:
        raise BadValue(f"{shown(value)} needs brackets around the IPv6 address; want {wants}")
    try:
        address = ip_address(host)
    except ValueError:
        raise BadValue(f"{shown(value)}: {shown(host)} is no IP address; want {wants}") from None
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
        raise BadValue(f"{shown(value)}: the port does not fit; want 1 to 65535")
    return Endpoint(str(_checked(address)), int(port))


def _secret(kind: Kind) -> Kind:
    """Return a kind whose faults do not show the value."""

    def parse(value: object) -> Any:
        try:
            return kind.parse(value)
        except BadValue:
            raise BadValue(f"the value (not shown) does not fit; want {kind.wants}") from None

    return Kind(kind.wants, parse)


def _family(value: object) -> Family:
    wants = " or ".join(f'"{family.label}"' for family in Family)
    if isinstance(value, str):
        for family in Family:
            if family.label == value:
                return family
    raise _want(value, wants)


def _multihop(value: object) -> int:
    if isinstance(value, bool):
        return 255 if value else 0
    if not isinstance(value, int) or not 1 <= value <= 255:
        raise _want(value, MULTIHOP.wants)
    return value


@lru_cache(maxsize=64)  # the same misspelling may stand in a thousand neighbors
def suggestion(name: str, names: frozenset[str]) -> str:
    """Return what may have been meant by a name that is not one of `names`."""
    import difflib  # noqa: PLC0415 - 1.4 MB that a correct file does without

    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f'did you mean "{close[0]}"?' if close else "known here: " + ", ".join(sorted(names))


_RANGE = re.compile(r"(\S+?)(?:\s+ge\s+(\d{1,3}))?(?:\s+le\s+(\d{1,3}))?")


def _prefix_range(value: object) -> tuple[str, int, int]:
    wants = f'{PREFIX_RANGE.wants}, such as "10.0.0.0/8 ge 16 le 24"'
    found = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _want(value, wants)
    prefix = _prefix(found[1])
    plen, bits = int(prefix.partition("/")[2]), 128 if ":" in prefix else 32
    low = int(found[2]) if found[2] else plen
    high = int(found[3]) if found[3] else bits if found[2] else plen
    if not plen <= low <= high <= bits:
        raise BadValue(f"{shown(value)}: lengths {low} to {high} are not within {plen} to {bits}")
    return prefix, low, high


def _asn_range(value: object) -> tuple[int, int]:
    wants = 'an AS number, or a range such as "64512-65534"'
    parts: list[object] = [value]
    if isinstance(value, str):
        parts = list(value.split("-"))
    numbers: list[int] = []
    for part in parts:
        try:
            # 0 and AS_TRANS are no neighbors, but may be looked for in paths.
            special = type(part) in {int, str} and part in {0, AS_TRANS, "0", str(AS_TRANS)}
            numbers.append(int(str(part)) if special else parse_asn(part))
        except BadValue:
            raise _want(value, wants) from None
    if len(numbers) > 2 or numbers[0] > numbers[-1]:
        raise _want(value, wants)
    return numbers[0], numbers[-1]


BOOLEAN = _boolean()
ASN = Kind("an AS number", parse_asn)
ASNS = Kind("an AS number, or for a range a list of them", _asns)
HOST = Kind("an IPv4 or IPv6 address", parse_host)
IDENTIFIER = Kind("an IPv4 address", _identifier)
PREFIX = Kind("an IPv4 or IPv6 prefix", _prefix)
PREFIX_RANGE = Kind('prefixes, each with "ge N" or "le N" or neither', _prefix_range)
ASN_RANGE = Kind("AS numbers and ranges of them", _asn_range)
SET_NAME = text("the name of a set", 255, r"[A-Za-z0-9_.:@-]+")
ENDPOINT = Kind('"IP:PORT" or "[IPv6]:PORT"', parse_endpoint)
FAMILY = Kind('"ipv4-unicast" or "ipv6-unicast"', _family)
MULTIHOP = Kind("true, false, or a TTL of 1 to 255", _multihop)
PORT = integer(1, 65535)
PATH = text("a path", 4096, "[^\x00]+")
SOCKET_PATH = text("a path", MAX_SOCKET_PATH_LEN, "[^\x00]+")
PASSWORD = _secret(text("text", MAX_PASSWORD_LEN, "[^\x00\r\n]+"))
HOSTNAME = text(
    "a host name", 253, r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*"
)


def _host_or_name(value: object) -> str:
    try:
        return parse_host(value)
    except BadValue:
        if isinstance(value, str) and re.search("[A-Za-z]", value) and ":" not in value:
            name: str = HOSTNAME.parse(value)
            return name
        raise


HOST_OR_NAME = Kind("an address or a host name", _host_or_name)
