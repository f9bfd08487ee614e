"""The API of a Lab, served in a thread of its own so that a test may be a plain client."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, Self

import uvloop

from rs.api import ApiServer, serve
from rs.client import _UnixConnection
from rs.config import Api
from rs.configvalues import Endpoint
from tests.routerkit import Lab, communities, config_text

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable
    from pathlib import Path


class Served:
    """A running API on a free port and on a socket in a folder; a context manager."""

    def __init__(self, lab: Lab, folder: Path, *, tcp: bool = True) -> None:
        self.lab = lab
        self.path = str(folder / "rs.sock")
        self.settings = Api(listen=Endpoint("127.0.0.1", 0) if tcp else None, socket=self.path)
        self.server: ApiServer | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()), daemon=True)
        self._failure: BaseException | None = None

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with serve(self.lab.router, self.settings) as self.server:
                self._ready.set()
                await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - for the thread of the test
            self._failure = error
        finally:
            self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop, within ten seconds."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
            assert not self._thread.is_alive()

    def call(self, function: Callable[[], Any]) -> Any:
        """Call something in the thread of the loop."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    @property
    def url(self) -> str:
        return f"http://{self.server.addresses[0]}"


def violations(value: Any, schema: dict, document: dict, where: str = "") -> list[str]:
    """Return in what a value differs from its schema in an OpenAPI document; strict about keys."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return violations(value, document["components"]["schemas"][name], document, where)
    if "anyOf" in schema:
        found = [violations(value, choice, document, where) for choice in schema["anyOf"]]
        return [] if [] in found else min(found, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} not in {schema['enum']}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{where}: {json.dumps(value)[:60]} is not {kinds}"]
    found = []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{where}: no {n}" for n in schema.get("required", []) if n not in value]
        found += [f"{where}: unknown {n}" for n in value if n not in schema["properties"]]
        for name, item in value.items():
            if name in schema["properties"]:
                kind = schema["properties"][name]
                found += violations(item, kind, document, f"{where}.{name}")
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for name, item in value.items():
            found += violations(item, schema["additionalProperties"], document, f"{where}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += violations(item, schema["items"], document, f"{where}[{i}]")
    return found


def _is(value: Any, kind: str) -> bool:
    number = isinstance(value, int) and not isinstance(value, bool)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "integer": number,
        "number": number or isinstance(value, float),
        "boolean": isinstance(value, bool),
        "null": value is None,
    }[kind]


# --- what tests of the API ask, and whom

A, B, C, D = "10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8:1::4"
NEIGHBORS = (
    f"{A} 65001",
    f'address = "{B}"\nasn = 65002\ndescription = "Odd \\"name\\" \\\\ it has"',
    f"{C} 65003",
    f"{D} 65004",
)


def make(folder) -> Lab:
    """A router with three members, a few routes, and an UPDATE with a fault."""
    lab = Lab(folder, config_text(*NEIGHBORS))
    lab.up(A, B, C)
    lab.announce(A, "20.0.0.0/8", "20.1.0.0/16", more=communities("0:65003", "65001:7"))
    lab.announce(B, "20.0.0.0/8", path=(65002, 1, 2))
    lab.announce(C, "20.1.1.0/24", path=(65009, 1))
    lab.announce(C, "2001:db8::/32", hop="2001:db8::3")
    # An ORIGIN of two octets: treat-as-withdraw (RFC 7606 7.1).
    lab.feed(A, bytes.fromhex("000000054001020000080b"))
    lab.settle()
    return lab


class Answer:
    """What came back, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


def ask(served, path, method="GET", body=None, **headers) -> Answer:
    connection = _UnixConnection(served.path)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def post(served, path, body=b"") -> Answer:
    return ask(served, path, "POST", body, content_type="application/json")
