"""Where the API listens: ports and Unix sockets, taken, stale, of nobody, and moved by reloads."""

import http.client
import re
import socket
import stat
from pathlib import Path

import pytest

from rs import api, endpoints, metrics, show, showroutes
from rs.api import ApiServer
from rs.config import Api
from rs.configvalues import Endpoint
from rs.endpoints import ENDPOINTS
from rs.errors import RsError
from rs.iana import Decided, RejectReason
from tests.routerkit import Lab, config_text
from tests.served import A, Served, ask, make

# --- sockets ------------------------------------------------------------------------------------


class TestSockets:
    @pytest.fixture
    def lab(self, tmp_path):
        return Lab(tmp_path, config_text(f"{A} 65001"))

    def test_port_in_use(self, lab, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            server = Served(lab, tmp_path)
            server.settings = Api(listen=Endpoint("127.0.0.1", port), socket=server.path)
            with pytest.raises(RsError, match=f"api.listen: 127.0.0.1 port {port}: already in use"):
                server.__enter__()
        assert not Path(server.path).exists()

    def test_address_of_nobody(self, lab, tmp_path):
        server = Served(lab, tmp_path)
        server.settings = Api(listen=Endpoint("192.0.2.1", 8080))
        with pytest.raises(RsError, match=r"api.listen: 192.0.2.1 port 8080: no interface"):
            server.__enter__()

    def test_mode_and_removal(self, lab, tmp_path):
        with Served(lab, tmp_path) as server:
            mode = Path(server.path).stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o660
        assert not Path(server.path).exists()

    def test_left_behind_socket_is_replaced(self, lab, tmp_path):
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(tmp_path / "rs.sock"))
        with Served(lab, tmp_path) as server:
            assert ask(server, "/v1/status").status == 200

    def test_another_daemon(self, lab, tmp_path):
        with Served(lab, tmp_path) as server:
            with pytest.raises(RsError, match=r"rs\.sock: another process listens there"):
                Served(lab, tmp_path).__enter__()
            assert ask(server, "/v1/status").status == 200

    def test_no_socket(self, lab, tmp_path):
        (tmp_path / "rs.sock").write_text("precious")
        with pytest.raises(RsError, match=r"rs\.sock: is there, and is no socket"):
            Served(lab, tmp_path).__enter__()
        assert (tmp_path / "rs.sock").read_text() == "precious"

    def test_folder(self, lab, tmp_path):
        with Served(lab, tmp_path / "run") as server:
            assert ask(server, "/v1/status").status == 200
        with pytest.raises(RsError, match="no such file or directory"):
            Served(lab, tmp_path / "no" / "such").__enter__()

    def test_too_long_a_path(self, lab, tmp_path):
        with pytest.raises(RsError, match=r"api.socket: .*too long"):
            Served(lab, tmp_path / ("x" * 120)).__enter__()

    def test_socket_that_became_anothers_stays(self, lab, tmp_path):
        with Served(lab, tmp_path) as server:
            Path(server.path).rename(tmp_path / "old")
            Path(server.path).write_text("new")
        assert Path(server.path).read_text() == "new"

    def test_tcp_ipv6_only(self, lab, tmp_path):
        server = Served(lab, tmp_path)
        server.settings = Api(listen=Endpoint("::1", 0))
        with server:
            (address,) = server.server.addresses
            assert address.startswith("[::1]:")
            port = int(address.rpartition(":")[2])
            connection = http.client.HTTPConnection("::1", port)
            connection.request("GET", "/v1/status")
            assert connection.getresponse().status == 200
            connection.close()

    def test_signals_stay_the_daemons(self, tmp_path):
        import signal

        handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        with Served(make(tmp_path), tmp_path) as own:
            assert isinstance(own.server, ApiServer)
            now = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        assert now == handlers


def test_rss():
    assert 5_000_000 < api.resident_memory() < 4_000_000_000


def test_paths_do_not_shadow_each_other():
    for endpoint in ENDPOINTS:
        sample = re.sub(r"{\w+}", "10.0.0.1", endpoint.path)
        found, _ = endpoints.find(endpoint.method, sample)
        assert found is endpoint


def test_the_documentation_names_everything():
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
    for endpoint in ENDPOINTS:
        assert f"`{endpoint.method} {endpoint.path}`" in text
        for param in endpoint.params:
            assert param.in_path or f"`{param.name}`" in text, param.name
    for name in metrics.METRICS:
        assert f"`{name}`" in text, name
    for step in list(Decided)[1:]:
        assert f"`{show.label(step)}`" in text, step
    for reason in list(RejectReason)[1:]:
        assert f"`{show.label(reason)}`" in text, reason
    for view in showroutes.VIEWS:
        assert f"`{view}`" in text
