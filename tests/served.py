"""The API of a Lab, served in a thread of its own so that a test may be a plain client."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any, Self

import uvloop

from rs.api import ApiServer, serve
from rs.config import Api
from rs.configvalues import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.routerkit import Lab


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
