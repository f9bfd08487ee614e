"""A small HTTP client for the API, over a Unix socket or TCP.

In: where the daemon is, paths and parameters. Out: decoded JSON, or records one by one as the
daemon sends them. ApiError says in words what went wrong, and every place that was tried. The
standard library is enough for the command line; it blocks, so it has no place in the daemon.
"""

from __future__ import annotations

import http.client
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from rs.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_SOCKET = "/run/rs/rs.sock"
DEFAULT_URL = "http://127.0.0.1:8080"
VARIABLE = "RS_API"
"""Environment variable that says where the daemon is."""
TIMEOUT = 30.0
"""Seconds that the daemon may say nothing."""
BLOCK = 65536
"""Octets a read."""
JSON = "application/json"
LINES = "application/x-ndjson"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of host and port."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def places(given: str | None) -> list[str]:
    """Return where to look for the daemon: the place given, else RS_API, else the two defaults."""
    chosen = given or os.environ.get(VARIABLE)
    return [chosen] if chosen else [DEFAULT_SOCKET, DEFAULT_URL]


def _connection(place: str) -> http.client.HTTPConnection:
    """Return a connection for a path or a URL, not connected yet; ApiError if it is neither."""
    if place.startswith("unix:"):
        return _UnixConnection(place.removeprefix("unix:"))
    if "://" not in place and "/" in place:
        return _UnixConnection(place)
    try:
        url = urlsplit(place if "://" in place else f"http://{place}")
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ApiError(f"{place}: {error}") from error
    if url.scheme != "http" or not host or url.path not in {"", "/"}:
        raise ApiError(f"{place}: neither http://HOST:PORT nor the path of a socket")
    return http.client.HTTPConnection(host, port or 80, timeout=TIMEOUT)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


class Client:
    """A connection to a daemon; connects with the first request."""

    def __init__(self, place: str | None = None) -> None:
        self._places = places(place)
        self._place = ""
        self._http: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return a decoded answer."""
        return self._decoded(self._request("GET", _target(path, query), JSON))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send JSON and return the decoded answer."""
        return self._decoded(self._request("POST", path, JSON, orjson.dumps(body)))

    def lines(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Return the records of a long answer, each as JSON, as they come."""
        return self._split(self._request("GET", _target(path, query), LINES))

    def _split(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        rest = b""
        while block := self._read(response):
            *whole, rest = (rest + block).split(b"\n")
            yield from whole

    def records(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        """Return the records of a long answer, decoded, as they come."""
        return map(orjson.loads, self.lines(path, query))

    def _request(
        self, method: str, target: str, accept: str, body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and return the response, its status checked."""
        connection = self._connected()
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = JSON
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ApiError(f"{self._place}: {_reason(error)}") from error
        if response.status != http.client.OK:
            raise self._failure(response)
        return response

    def _connected(self) -> http.client.HTTPConnection:
        if self._http is not None:
            return self._http
        tried = []
        for place in self._places:
            connection = _connection(place)
            try:
                connection.connect()
            except OSError as error:
                tried.append(f"  {place}: {_reason(error)}")
            else:
                self._http, self._place = connection, place
                return connection
        raise ApiError(
            "no daemon reached; tried\n"
            + "\n".join(tried)
            + f"\nIs it running, with [api] in its configuration? --api or {VARIABLE} say where."
        )

    def _failure(self, response: http.client.HTTPResponse) -> ApiError:
        """Return what a response with an error status says."""
        raw = self._whole(response)
        try:
            answer = orjson.loads(raw)
            problems = answer.get("problems", [])
            return ApiError("\n".join([answer["error"], *problems]), problems)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
            status = f"HTTP {response.status} {response.reason}"
            return ApiError(f"{self._place}: {status}, not an answer of rs")

    def _decoded(self, response: http.client.HTTPResponse) -> Any:
        raw = self._whole(response)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ApiError(f"{self._place}: the answer is no JSON: {error}") from error

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        return b"".join(iter(lambda: self._read(response), b""))

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            what = "broken off" if isinstance(error, http.client.IncompleteRead) else _reason(error)
            raise ApiError(f"{self._place}: the answer is not complete: {what}") from error
        if not block:
            response.close()  # before 3.12.4 the connection would take no further request
        return block


def _target(path: str, query: Mapping[str, str] | None) -> str:
    target = quote(path)
    return f"{target}?{urlencode(query)}" if query else target
