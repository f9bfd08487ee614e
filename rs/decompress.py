"""Decompression by content: gzip, bzip2, xz, zstd or nothing.

In: an open binary file. Out: its decompressed octets in pieces of bounded size. What is cut off
or damaged is told after everything that could be had before it.

RFC 1952 (gzip); the other formats by their magic numbers.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

try:  # Python 3.14
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    zstd = None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

READ_LEN = 1 << 18
"""Octets read from the file at a time."""
PIECE_LEN = 1 << 20
"""Octets decompressed at a time: what bounds memory when a small file holds a huge one."""


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common, and _Gzip with them."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _DamagedError(Exception):
    """Compressed data that make no sense; `partial` is what had been decompressed before them."""

    def __init__(self, partial: bytes, why: str) -> None:
        super().__init__(why)
        self.partial = partial


class _Gzip:
    """zlib with the interface of the other decompressors; one member."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self._tail = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        data = self._tail + data
        before = self._zlib.copy()
        try:
            piece = self._zlib.decompress(data, max_length)
        except zlib.error as e:
            # zlib throws away what the failing call had done so far: get that octet by octet.
            partial = bytearray()
            with suppress(zlib.error):
                for i in range(len(data)):
                    partial += before.decompress(data[i : i + 1])
            raise _DamagedError(bytes(partial), str(e)) from e
        self._tail = self._zlib.unconsumed_tail
        self.needs_input = not self._tail and len(piece) < max_length
        return piece


def _zstd() -> _Decompressor:
    if zstd is None:
        raise OSError("compressed with zstd, which needs Python 3.14; decompress it with zstd -d")
    return zstd.ZstdDecompressor()  # type: ignore[no-any-return]


_FORMATS: dict[str, tuple[bytes, Callable[[], _Decompressor]]] = {
    "gzip": (b"\x1f\x8b", _Gzip),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
    "zstd": (b"\x28\xb5\x2f\xfd", _zstd),
}


class Decompressed:
    """The decompressed octets of an open file, in pieces of at most PIECE_LEN.

    After the last piece `fault` says what is wrong with the compressed data, None if nothing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = file.read(6)
        self.fault: str | None = None
        self.compression = "none"
        for name, (magic, _) in _FORMATS.items():
            if self._head.startswith(magic):
                self.compression = name

    def __iter__(self) -> Iterator[bytes]:
        if self.compression == "none":
            return iter(self._read, b"")
        return self._members(*_FORMATS[self.compression])

    def _read(self) -> bytes:
        data, self._head = self._head, b""
        return data or self._file.read(READ_LEN)

    def _members(self, magic: bytes, make: Callable[[], _Decompressor]) -> Iterator[bytes]:
        """Decompress one member or stream after the other (RFC 1952 2.2; bzip2 and xz likewise)."""
        member = make()
        silent = 0  # compressed octets taken since the last decompressed one
        while True:
            data = b""
            if member.eof:
                data = member.unused_data.lstrip(b"\0")
                while len(data) < len(magic) and (more := self._read()):
                    data = (data + more).lstrip(b"\0")
                if not data:
                    return
                if not data.startswith(magic):
                    self.fault = f"something else follows the {self.compression} data"
                    return
                member = make()
            elif member.needs_input:
                data = self._read()
                if not data:
                    self.fault = f"the {self.compression} data are cut off"
                    if silent:
                        self.fault += f"; their last {silent:,} octets could not be decompressed"
                    return
            silent += len(data)
            try:
                piece = member.decompress(data, PIECE_LEN)
            except _DamagedError as e:
                piece = e.partial
                self.fault = f"the {self.compression} data are damaged: {e}"
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as e:
                self.fault = f"the {self.compression} data are damaged: {e}"
                return
            if piece:
                silent = 0
                yield piece
            if self.fault:
                return
