"""What the HTTP API offers: its paths, their parameters, and what each answers.

In: a request, taken apart. Out: a value for JSON, or a Stream for what may be long. The table
`ENDPOINTS` is all there is to know: the server dispatches by it, parameters are checked against
it, and the OpenAPI document is made from it. No sockets here; see `api`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import orjson

from rs import metrics, openapi, show, showroutes
from rs.errors import ConfigError, RsError
from rs.iana import Family
from rs.show_types import (
    Error,
    Match,
    Neighbor,
    NextHop,
    Ok,
    Route,
    RouteAnswer,
    RouteItem,
    RoutesView,
    Rpki,
    Status,
)
from rs.shownexthops import NextHopWalk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rs.peer import Peer
    from rs.router import Router

JSON = "application/json"
LINES = "application/x-ndjson"
MAX_COMMUNICATION = 255
"""Octets (RFC 9003 2)."""


class HttpError(RsError):
    """A request that is answered by an error status; the message is for whoever asked."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        allow: str = "",
        problems: list[str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.allow = allow
        """Value of the Allow header, for METHOD_NOT_ALLOWED."""
        self.problems = problems
        """Faults of a configuration, one line each."""

    @property
    def answer(self) -> Error:
        """What is sent."""
        if self.problems is None:
            return {"error": str(self)}
        return {"error": str(self), "problems": self.problems}


class Request(NamedTuple):
    """A request as a handler sees it."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """A long answer: records of a walk, in a JSON array between `head` and `tail`, or as text."""

    walk: show.Walk[Any]
    head: bytes = b"["
    tail: bytes = b"]"
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; `schema` is its JSON schema, of which `enum` and integers are enforced."""

    name: str
    text: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    in_path: bool = False


class Communication(TypedDict, total=False):
    """What the neighbor is told (RFC 9003)."""

    communication: str


class Stopping(TypedDict, total=False):
    """How to stop."""

    graceful: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path with one method."""

    method: str
    path: str
    handler: Callable[..., Any]
    answer: Any
    """Type of the answer, for the description."""
    params: tuple[Param, ...] = ()
    lines: Any = None
    """Type of a record where the answer may be had as one JSON value a line."""
    content_type: str = JSON
    body: Any = None
    failures: Mapping[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Summary, and description from the second line on."""
        return self.handler.__doc__ or ""

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a path, or None if the path is not this one."""
        # A prefix has a slash in it, so the last parameter takes whatever is left.
        pattern = re.escape(self.path).replace(r"\{", "{").replace(r"\}", "}")
        pattern = re.sub(r"\{(\w+)\}$", r"(?P<\1>.+)", pattern)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None


class _Listed:
    """A walk over what is there already."""

    def __init__(self, records: list[Any]) -> None:
        self._records: list[Any] | None = records

    def step(self, spent: Callable[[], bool]) -> list[Any] | None:
        """See show.Walk."""
        del spent
        records, self._records = self._records, None
        return records


class Api:
    """The handlers; `rss` returns the process's resident memory in octets."""

    def __init__(self, router: Router, rss: Callable[[], int]) -> None:
        self._router = router
        self._rss = rss

    # --- seeing

    def status(self, request: Request) -> Status:
        """Return version, uptime, memory, table sizes and loop times."""
        del request
        return show.status(self._router, self._router.now(), self._rss())

    def rpki(self, request: Request) -> Rpki:
        """Return the RPKI data in use, caches and files."""
        del request
        return show.rpki(self._router)

    def neighbors(self, request: Request) -> Stream:
        """Return every neighbor, by address."""
        del request
        router = self._router
        return Stream(show.PeerWalk(router, lambda peer: show.neighbor(router, peer, router.now())))

    def neighbor(self, request: Request) -> Neighbor:
        """Return one neighbor, with its last malformed UPDATEs."""
        peer = self._peer(request.path["address"])
        return show.neighbor(self._router, peer, self._router.now(), faults=True)

    def route(self, request: Request) -> Stream:
        """Return what is known of an address or a prefix: all paths, best first, and why.

        The longest match is the longest prefix with a usable path; longer ones that have none are
        shown before it. `longer` gives the prefix and everything inside it. A prefix is written
        with its slash, as it is or as %2F. With `to` it is said of each path why that neighbor is
        sent it, or why not.
        """
        text = request.path["prefix"]
        target = _parsed(show.parse_target, text)
        match: Match = request.query.get("match", "longest")  # type: ignore[assignment]
        names = request.query.get("members") in {"1", "true"}
        to = self._peer(request.query["to"]) if "to" in request.query else None
        head = orjson.dumps({"query": text, "match": match})[:-1] + b',"routes":['
        if match == "longer":
            return Stream(
                showroutes.LongerWalk(self._router, target, names=names, to=to), head, b"]}"
            )
        now = self._router.now()
        found = showroutes.route(self._router, target, match, now, names=names, to=to)
        return Stream(_Listed(found), head, b"]}")

    def routes(self, request: Request) -> Stream:
        """Return paths of many prefixes, in the order of the prefixes.

        The table is not copied: a prefix is shown as it is when its turn comes. With `limit` the
        answer ends with a whole prefix, so it may be a little longer than asked; the prefix of its
        last record is the `cursor` to go on with.
        """
        query = request.query
        peer = self._peer(query["neighbor"]) if "neighbor" in query else None
        view: RoutesView = query.get("view", "received" if peer else "best")  # type: ignore[assignment]
        families = tuple(Family)
        if "family" in query:
            families = (_parsed(show.parse_family, query["family"]),)
        walk = _parsed(
            partial(
                showroutes.RoutesWalk,
                self._router,
                peer=peer,
                families=families,
                below=_parsed(show.parse_target, query["prefix"]) if "prefix" in query else None,
                after=_parsed(show.parse_target, query["cursor"]) if "cursor" in query else None,
                limit=int(query["limit"]) if "limit" in query else None,
            ),
            view,
        )
        return Stream(walk)

    def next_hops(self, request: Request) -> Stream:
        """Return every next hop that paths have, by address: its metric, and by which route."""
        del request
        return Stream(NextHopWalk(self._router))

    def metrics(self, request: Request) -> Stream:
        """Return every figure in the text format of Prometheus."""
        del request
        walk = metrics.MetricsWalk(self._router, self._router.now(), self._rss())
        return Stream(walk, b"", b"", is_text=True)

    def description(self, request: Request) -> dict[str, Any]:
        """Return this description."""
        del request
        return openapi.document(ENDPOINTS)

    # --- doing

    def reset(self, request: Request) -> Ok:
        """End the session by Cease / Administrative Reset; it starts again."""
        return self._act(request, "reset")

    def refresh(self, request: Request) -> Ok:
        """Ask the neighbor for its routes again (RFC 2918)."""
        return self._act(request, "refresh")

    def measure(self, request: Request) -> Ok:
        """Measure the round-trip time anew, for the communities that go by it."""
        return self._act(request, "measure")

    def shutdown(self, request: Request) -> Ok:
        """End the session by Cease / Administrative Shutdown; it stays down."""
        return self._act(request, "shutdown")

    def enable(self, request: Request) -> Ok:
        """Start the session of a neighbor that was shut down or not enabled."""
        return self._act(request, "enable")

    async def reload(self, request: Request) -> Ok:
        """Read the configuration file again and apply what differs, as SIGHUP does.

        With faults in it nothing changes. Where the API itself moves, this answer may be lost.
        """
        del request
        if self._router.reload is None:
            raise HttpError(HTTPStatus.CONFLICT, "this router has no configuration file")
        try:
            return {"ok": await self._router.reload()}
        except ConfigError as error:
            raise HttpError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "the configuration has faults; the old one goes on",
                problems=error.problems,
            ) from error
        except RsError as error:
            raise HttpError(HTTPStatus.CONFLICT, str(error)) from error

    def stop(self, request: Request) -> Ok:
        """End the daemon; with `graceful` for a restart, so that neighbors keep our routes.

        Sessions get Cease / Administrative Shutdown, and with `graceful` only those of neighbors
        that do not keep our routes meanwhile (RFC 4724).
        """
        graceful = request.body.get("graceful", False)
        if not isinstance(graceful, bool) or set(request.body) - {"graceful"}:
            raise HttpError(HTTPStatus.BAD_REQUEST, 'the body is {"graceful": true}, or nothing')
        if self._router.ask_to_stop is None:
            raise HttpError(HTTPStatus.CONFLICT, "this router has no daemon around it")
        self._router.ask_to_stop(graceful=graceful)
        return {"ok": "stopping for a restart" if graceful else "stopping"}

    def _act(self, request: Request, action: str) -> Ok:
        peer = self._peer(request.path["address"])
        text = request.body.get("communication", "")
        if not isinstance(text, str) or set(request.body) - {"communication"}:
            raise HttpError(
                HTTPStatus.BAD_REQUEST, 'the body is {"communication": "text"}, or nothing'
            )
        if len(text.encode(errors="replace")) > MAX_COMMUNICATION:
            raise HttpError(
                HTTPStatus.BAD_REQUEST,
                f"communication: at most {MAX_COMMUNICATION} octets (RFC 9003)",
            )
        try:
            self._router.peer_action(peer.address, action, text)
        except ValueError as error:
            raise HttpError(HTTPStatus.CONFLICT, str(error)) from error
        return {"ok": f"{peer.address}: {action}"}

    def _peer(self, text: str) -> Peer:
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{text!r} is no address") from None
        peer = self._router.peer_for(address)
        if peer is None:
            raise HttpError(HTTPStatus.NOT_FOUND, f"no neighbor {address}")
        return peer


def _parsed(parse: Callable[[Any], Any], value: Any) -> Any:
    try:
        return parse(value)
    except ValueError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, str(error)) from error


_ADDRESS = Param("address", "the neighbor's address", in_path=True)
_BAD = {400: "A parameter is wrong."}
_UNKNOWN = {404: "There is no such neighbor."}
_ACTION = {**_BAD, **_UNKNOWN, 409: "The neighbor cannot do this now."}


_BODY = {413: "The body is too long.", 415: "The body is not declared as application/json."}


def _action(name: str, handler: Callable[..., Any]) -> Endpoint:
    return Endpoint(
        "POST",
        f"/v1/neighbors/{{address}}/{name}",
        handler,
        Ok,
        (_ADDRESS,),
        body=Communication,
        failures={**_ACTION, **_BODY},
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/v1/status", Api.status, Status),
    Endpoint("GET", "/v1/rpki", Api.rpki, Rpki),
    Endpoint("GET", "/v1/neighbors", Api.neighbors, list[Neighbor], lines=Neighbor),
    _action("reset", Api.reset),
    _action("refresh", Api.refresh),
    _action("measure", Api.measure),
    _action("shutdown", Api.shutdown),
    _action("enable", Api.enable),
    Endpoint(
        "GET",
        "/v1/neighbors/{address}",
        Api.neighbor,
        Neighbor,
        (_ADDRESS,),
        failures={**_BAD, **_UNKNOWN},
    ),
    Endpoint(
        "GET",
        "/v1/route/{prefix}",
        Api.route,
        RouteAnswer,
        (
            Param("prefix", "an address, or a prefix with its slash", in_path=True),
            Param(
                "match",
                "what to look for",
                {"type": "string", "enum": list(showroutes.MATCHES), "default": "longest"},
            ),
            Param(
                "members",
                "name the neighbors that each path is advertised to",
                {"type": "string", "enum": ["0", "1", "false", "true"], "default": "0"},
            ),
            Param("to", "say why this neighbor is sent each path, or why not"),
        ),
        lines=Route,
        failures={**_BAD, **_UNKNOWN},
    ),
    Endpoint(
        "GET",
        "/v1/routes",
        Api.routes,
        list[RouteItem],
        (
            Param("neighbor", "only paths of this neighbor; for advertised: to it"),
            Param(
                "view",
                "which paths; by default received, without a neighbor best",
                {"type": "string", "enum": list(showroutes.VIEWS)},
            ),
            Param("family", "only this one", {"type": "string", "enum": [f.label for f in Family]}),
            Param("prefix", "only this prefix and what is inside it"),
            Param("limit", "end after about so many records", {"type": "integer", "minimum": 1}),
            Param("cursor", "begin behind this prefix"),
        ),
        lines=RouteItem,
        failures={**_BAD, **_UNKNOWN},
    ),
    Endpoint("GET", "/v1/nexthops", Api.next_hops, list[NextHop], lines=NextHop),
    Endpoint(
        "POST",
        "/v1/reload",
        Api.reload,
        Ok,
        failures={
            **_BODY,
            409: "It cannot be applied, such as a port in use.",
            422: "The configuration has faults.",
        },
    ),
    Endpoint(
        "POST",
        "/v1/stop",
        Api.stop,
        Ok,
        body=Stopping,
        failures={**_BODY, 400: "The body is wrong.", 409: "It cannot be stopped this way."},
    ),
    Endpoint("GET", "/metrics", Api.metrics, str, content_type=metrics.CONTENT_TYPE),
    Endpoint("GET", "/openapi.json", Api.description, dict[str, Any]),
)


def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    """Return the endpoint of a request and the parameters in its path; HttpError if none."""
    allowed = []
    for endpoint in ENDPOINTS:
        values = endpoint.match(path)
        if values is None:
            continue
        if method == endpoint.method or (method == "HEAD" and endpoint.method == "GET"):
            return endpoint, values
        allowed.append(endpoint.method)
        if "{" not in endpoint.path.rsplit("/", 1)[-1]:
            break  # an exact match; a later path that ends in a parameter is another thing
    if allowed:
        methods = ", ".join(allowed)
        raise HttpError(
            HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {methods}, not {method}", allow=methods
        )
    raise HttpError(HTTPStatus.NOT_FOUND, f"no such path: {path}; see /openapi.json")


def check_query(endpoint: Endpoint, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the query parameters of a request; HttpError for one that is unknown or wrong."""
    known = {param.name: param for param in endpoint.params if not param.in_path}
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            there = ", ".join(known) or "none"
            raise HttpError(
                HTTPStatus.BAD_REQUEST, f"unknown parameter {name!r}; there are: {there}"
            )
        if name in found:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"{name}: given twice")
        schema = known[name].schema
        if "enum" in schema and value not in schema["enum"]:
            raise HttpError(
                HTTPStatus.BAD_REQUEST, f"{name}: {value!r} is not {', '.join(schema['enum'])}"
            )
        if schema["type"] == "integer":
            _check_integer(name, value, schema["minimum"])
        found[name] = value
    return found


def _check_integer(name: str, value: str, minimum: int) -> None:
    plain = value.isascii() and value.isdecimal() and len(value) < 19
    if not plain or int(value) < minimum:
        raise HttpError(
            HTTPStatus.BAD_REQUEST, f"{name}: {value!r} is no number of at least {minimum}"
        )
