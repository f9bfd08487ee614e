"""The HTTP server of the API, over TCP and a Unix socket, on the daemon's own event loop.

In: HTTP/1.1 requests. Out: the answers of `endpoints`, as JSON, one JSON value a line, or text.

Uvicorn does the HTTP; there is no framework, because dispatch, parameter checks and description all
come from one table of our own. A long answer is sent slice by slice: each encodes about a
millisecond's worth of records, waits until the client has taken what is before it, and lets
everything else on the loop have its turn. However many streams there are, one of them gets one
slice in a pass of the loop. A client that takes nothing for STALL_TIME is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import stat
import time
from collections.abc import Coroutine
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rs import __version__
from rs.endpoints import JSON, LINES, Api, Endpoint, HttpError, Request, Stream, check_query, find
from rs.errors import RsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from rs import config
    from rs.router import Router

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

SLICE = 0.001
"""Seconds of work on a long answer before everything else gets its turn."""
STALL_TIME = 60.0
"""Seconds that a client may take nothing of an answer, or send nothing of a request."""
MAX_CONNECTIONS = 128
"""Beyond that a request is answered by 503."""
MAX_BODY = 64 * 1024
"""Octets of a request's body."""
SOCKET_MASK = 0o117
"""The Unix socket is for owner and group."""

log = logging.getLogger("rs.api")
_PAGE = resource.getpagesize()
_SERVER = f"rs/{__version__}".encode()


def resident_memory() -> int:
    """Return the resident memory of this process in octets."""
    with Path("/proc/self/statm").open("rb") as file:
        return int(file.read().split()[1]) * _PAGE


class _Connection(HttpToolsProtocol):
    """One HTTP connection; knows how to be cut off."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            STALL_TIME, self.timeout_keep_alive_handler
        )

    def on_message_begin(self) -> None:
        """Give the application a way to cut the connection off."""
        super().on_message_begin()
        self.scope["extensions"] = {"rs.abort": {"abort": self.transport.abort}}


class _Slices:
    """Lets long answers work in slices, one slice in a pass of the loop whoever it is for."""

    def __init__(self, note: Callable[[float], None]) -> None:
        self._turn = asyncio.Lock()
        self._note = note

    async def run(self, stream: Stream, encode: Callable[[list[Any]], bytes]) -> bytes | None:
        """Return the next records of a stream, encoded; empty for none yet, None at the end."""
        async with self._turn:
            clock = time.perf_counter
            begin = clock()
            deadline = begin + SLICE
            records = stream.walk.step(lambda: clock() >= deadline)
            encoded = encode(records) if records else b""
            self._note(clock() - begin)
            await asyncio.sleep(0)
        return None if records is None else encoded


class Application:
    """The ASGI application: requests in, answers of the endpoints out."""

    def __init__(self, router: Router) -> None:
        self._api = Api(router, resident_memory)
        self._slices = _Slices(router.loop.note)
        self._note = router.loop.note
        self._sending: set[asyncio.Timeout] = set()
        self._doing: set[asyncio.Future[Any]] = set()
        self._stopped = False

    def stop(self) -> None:
        """End the streams that are under way."""
        self._stopped = True
        for timeout in list(self._sending):
            timeout.reschedule(0.0)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        head = scope["method"] == "HEAD"
        try:
            endpoint, values = find(scope["method"], scope["path"])
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            query = check_query(endpoint, pairs)
            body = await _body(scope, receive) if endpoint.method == "POST" else {}
            answer = await self._handle(endpoint, Request(values, query, body))
        except HttpError as error:
            await _send_error(send, error)
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])
            words = "internal error; see the log of the daemon"
            await _send_error(send, HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, words))
        else:
            if isinstance(answer, Stream):
                await self._stream(endpoint, answer, scope, receive, send, head=head)
            else:
                await _send(send, HTTPStatus.OK, endpoint.content_type, answer)

    async def _handle(self, endpoint: Endpoint, request: Request) -> bytes | Stream:
        """Return the answer of an endpoint, encoded if it is no stream."""
        begin = time.perf_counter()
        answer = endpoint.handler(self._api, request)
        if isinstance(answer, Coroutine):
            # It is carried out to the end, even if that ends this connection.
            doing = asyncio.ensure_future(answer)
            self._doing.add(doing)
            doing.add_done_callback(self._doing.discard)
            answer = await asyncio.shield(doing)
        else:
            self._note(time.perf_counter() - begin)
        return answer if isinstance(answer, Stream) else orjson.dumps(answer)

    async def _stream(
        self,
        endpoint: Endpoint,
        stream: Stream,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        head: bool,
    ) -> None:
        """Send a long answer, as fast as the client takes it."""
        accept = next((v for k, v in scope["headers"] if k == b"accept"), b"").decode("latin-1")
        lines = endpoint.lines is not None and LINES in accept
        content_type = LINES if lines else endpoint.content_type
        await send(_start(HTTPStatus.OK, content_type))
        if head:
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await self._send_records(stream, send, gone, lines=lines)
        except TimeoutError:
            if not self._stopped:
                log.warning("a client that takes nothing of %s is cut off", scope["path"])
            scope["extensions"]["rs.abort"]["abort"]()
            await gone
        finally:
            gone.cancel()

    async def _send_records(
        self, stream: Stream, send: Send, gone: asyncio.Task[None], *, lines: bool
    ) -> None:
        separator = b"" if lines or stream.is_text else b","
        encode = _encode_text if stream.is_text else _encode_lines if lines else _encode_array
        chunk = b"" if lines else stream.head
        first = True
        while True:
            more = await self._slices.run(stream, encode)
            if more is None:
                break
            if more:
                chunk += more if first else separator + more
                first = False
            if gone.done():
                return
            if self._stopped:
                raise TimeoutError
            if chunk:
                await self._send_some(send, chunk)
                chunk = b""
        tail = b"" if lines else stream.tail
        await self._send_some(send, chunk + tail, last=True)

    async def _send_some(self, send: Send, chunk: bytes, *, last: bool = False) -> None:
        """Hand a chunk to the connection when it has room; TimeoutError if it gets none."""
        async with asyncio.timeout(STALL_TIME) as timeout:
            self._sending.add(timeout)
            try:
                await send({"type": "http.response.body", "body": chunk, "more_body": not last})
            finally:
                self._sending.discard(timeout)


def _encode_array(records: list[Any]) -> bytes:
    return orjson.dumps(records)[1:-1]


def _encode_lines(records: list[Any]) -> bytes:
    return b"".join([orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records])


def _encode_text(records: list[str]) -> bytes:
    return "".join(records).encode()


async def _until_gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(scope: Message, receive: Receive) -> dict[str, Any]:
    """Return the object in a request's body; HttpError for anything else but nothing."""
    raw = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        raw += message.get("body", b"")
        if len(raw) > MAX_BODY:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY} octets")
        more = message.get("more_body", False)
    kind = next((v for k, v in scope["headers"] if k == b"content-type"), b"")
    # A page in a browser can send a form to any address, but not JSON, unless it is told it may.
    if kind.partition(b";")[0].strip().lower() != JSON.encode():
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send it with Content-Type: {JSON}")
    if not raw.strip():
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
    return body


def _start(status: HTTPStatus, content_type: str, *more: tuple[bytes, bytes]) -> Message:
    headers = [
        (b"server", _SERVER),
        (b"date", formatdate(usegmt=True).encode()),
        (b"content-type", content_type.encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    return {"type": "http.response.start", "status": int(status), "headers": headers}


async def _send(
    send: Send, status: HTTPStatus, content_type: str, body: bytes, *more: tuple[bytes, bytes]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send(_start(status, content_type, length, *more))
    await send({"type": "http.response.body", "body": body})


async def _send_error(send: Send, error: HttpError) -> None:
    more = ((b"allow", error.allow.encode()),) if error.allow else ()
    await _send(send, error.status, JSON, orjson.dumps(error.answer), *more)


# --- sockets ------------------------------------------------------------------------------------


def _listen_tcp(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; RsError names it if it cannot be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen()
    except OSError as error:
        sock.close()
        raise RsError(f"api.listen: {host} port {port}: {_reason(error)}") from error
    sock.setblocking(False)
    return sock


def _listen_unix(path: Path) -> socket.socket:
    """Return a socket bound to a path, in the place of one that nobody listens on any more."""
    where = f"api.socket: {path}"
    try:
        path.parent.mkdir(exist_ok=True)
        _clear(path, where)
        sock = socket.socket(socket.AF_UNIX)
    except OSError as error:
        raise RsError(f"{where}: {_reason(error)}") from error
    mask = os.umask(SOCKET_MASK)
    try:
        sock.bind(str(path))
        sock.listen()
    except OSError as error:
        sock.close()
        raise RsError(f"{where}: {_reason(error)}") from error
    finally:
        os.umask(mask)
    sock.setblocking(False)
    return sock


def _clear(path: Path, where: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise RsError(f"{where}: is there, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # left behind by a daemon that was killed
        else:
            raise RsError(f"{where}: another process listens there")


def _inode(path: str) -> int:
    return Path(path).stat().st_ino


def _remove(path: str, inode: int) -> None:
    """Remove our socket's name, unless it has become another's."""
    with contextlib.suppress(OSError):
        if _inode(path) == inode:
            Path(path).unlink()


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "already in use by another process"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface has this address"
    return error.strerror.lower() if error.strerror else str(error)


class ApiServer:
    """A running API: its sockets, its connections."""

    def __init__(self, router: Router, settings: config.Api) -> None:
        self._application = Application(router)
        self._settings = settings
        self._sockets: list[socket.socket] = []
        self._inode = 0
        self._server = Server(
            Config(
                self._application,
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )

    @property
    def addresses(self) -> list[str]:
        """Where it listens: `host:port` or a path."""
        return [_shown(sock) for sock in self._sockets]

    async def start(self) -> None:
        """Listen; RsError names the place that cannot be had."""
        listen, path = self._settings.listen, self._settings.socket
        try:
            if listen is not None:
                self._sockets.append(_listen_tcp(listen.host, listen.port))
            if path is not None:
                self._sockets.append(_listen_unix(Path(path)))
                self._inode = _inode(path)
        except RsError:
            for sock in self._sockets:
                sock.close()
            raise
        # Server.serve() would take over the process's signals and wake up ten times a second.
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=self._sockets)
        log.info("API on %s", ", ".join(self.addresses))

    async def stop(self) -> None:
        """Close everything; answers under way get a second, streams end at once."""
        path = self._settings.socket
        if path is not None and self._inode:
            _remove(path, self._inode)
        self._application.stop()
        await self._server.shutdown(sockets=self._sockets)


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    if isinstance(name, str):
        return name
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.asynccontextmanager
async def serve(router: Router, settings: config.Api) -> AsyncIterator[ApiServer]:
    """Serve the API inside the running loop, as long as the context lasts."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = ApiServer(router, settings)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
