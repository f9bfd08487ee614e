"""The floor as a daemon: `python -m bench.wire.floor ADDRESS:PORT`, until SIGTERM."""

from __future__ import annotations

import signal
import socket
import sys

from bench.tables import RS_ASN
from rs._fastpath.splice import Splice


def main() -> None:
    host, port = sys.argv[1].rsplit(":", 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(4096)
    listener.setblocking(False)
    splice = Splice(listener.fileno(), RS_ASN, int.from_bytes(socket.inet_aton(host)))
    while True:
        splice.run(0.5)


if __name__ == "__main__":
    main()
