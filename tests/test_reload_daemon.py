"""Reloads of a whole daemon: files, sockets, and what a faulty file leaves as it was."""

from __future__ import annotations

import asyncio
import socket

import pytest

from rs.app import Daemon
from rs.configfile import load_config
from rs.errors import ConfigError, RsError

# --- the daemon: files and sockets ----------------------------------------------------------------


def free_ports(n):
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def write(path, ports, more="", neighbors="127.0.0.9 65009"):
    listen = ", ".join(f'"127.0.0.1:{p}"' for p in ports)
    address, asn = neighbors.split()
    path.write_text(
        f'[router]\nasn = 64500\nrouter_id = "10.0.0.1"\nlisten = [{listen}]\n'
        f'[[neighbors]]\naddress = "{address}"\nasn = {asn}\npassive = true\n{more}'
    )


def with_daemon(path, test):
    async def main():
        daemon = Daemon(load_config(path))
        await daemon.start()
        try:
            async with asyncio.timeout(20):
                await test(daemon)
        finally:
            await daemon.stop()

    asyncio.run(main())


def ports_of(daemon):
    return {port for _, port in daemon.transport.addresses}


class TestDaemon:
    def test_faulty_file_leaves_everything(self, tmp_path):
        path, (a, b) = tmp_path / "rs.toml", free_ports(2)
        write(path, [a])

        async def test(daemon):
            before = daemon.config
            write(path, [b], "hold_time = 1\nnonsense = 3\n")
            with pytest.raises(ConfigError) as caught:
                await daemon.reload()
            assert len(caught.value.problems) == 2
            assert ports_of(daemon) == {a}
            assert daemon.config is daemon.router.config is before
            assert daemon.router.peer_for("127.0.0.9").neighbor.hold_time == 90

        with_daemon(path, test)

    def test_listeners(self, tmp_path):
        path, (a, b, c) = tmp_path / "rs.toml", free_ports(3)
        write(path, [a, b])

        async def test(daemon):
            assert ports_of(daemon) == {a, b}
            write(path, [b, c])
            await daemon.reload()
            assert ports_of(daemon) == {b, c}
            loop = asyncio.get_running_loop()
            for port in (b, c):
                with socket.socket() as sock:
                    sock.setblocking(False)
                    await loop.sock_connect(sock, ("127.0.0.1", port))
            with socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(ConnectionRefusedError):
                    await loop.sock_connect(sock, ("127.0.0.1", a))

        with_daemon(path, test)

    def test_port_that_cannot_be_had_leaves_everything(self, tmp_path):
        path, (a, b) = tmp_path / "rs.toml", free_ports(2)
        write(path, [a])
        taken = socket.create_server(("127.0.0.1", 0))

        async def test(daemon):
            before = daemon.config
            write(path, [b, taken.getsockname()[1]], neighbors="127.0.0.8 65008")
            with pytest.raises(RsError, match="in use"):
                await daemon.reload()
            assert ports_of(daemon) == {a}
            assert daemon.config is daemon.router.config is before
            assert daemon.router.peer_for("127.0.0.9") is not None
            taken.close()
            await daemon.reload()
            assert len(ports_of(daemon)) == 2
            assert daemon.router.peer_for("127.0.0.8") is not None

        try:
            with_daemon(path, test)
        finally:
            taken.close()

    def test_api_that_cannot_be_had_leaves_everything(self, tmp_path):
        path, (a, b, c) = tmp_path / "rs.toml", free_ports(3)
        write(path, [a], f'[api]\nlisten = "127.0.0.1:{c}"\n')
        taken = socket.create_server(("127.0.0.1", 0))

        async def connects(port):
            with socket.socket() as sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))

        async def test(daemon):
            before = daemon.config
            api = f'[api]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n'
            write(path, [b], api, neighbors="127.0.0.8 65008")
            with pytest.raises(RsError):
                await daemon.reload()
            assert ports_of(daemon) == {a}
            assert daemon.config is daemon.router.config is before
            await connects(c)
            write(path, [b, taken.getsockname()[1]], "", neighbors="127.0.0.8 65008")
            with pytest.raises(RsError):
                await daemon.reload()
            await connects(c)

        try:
            with_daemon(path, test)
        finally:
            taken.close()

    def test_says_what_was_done(self, tmp_path):
        path, (a,) = tmp_path / "rs.toml", free_ports(1)
        write(path, [a])

        async def test(daemon):
            write(
                path, [a], 'description = "x"\n[[neighbors]]\naddress = "127.0.0.8"\nasn = 65008\n'
            )
            assert "1 added, 0 removed, 1 changed" in await daemon.reload()
            assert "0 added, 0 removed, 0 changed" in await daemon.reload()

        with_daemon(path, test)
