"""The HTTP API: what it answers and refuses, that it is described, and that nothing blocks it."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import time
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest

from rs import api, metrics, show, showroutes
from rs.endpoints import ENDPOINTS
from rs.errors import ConfigError, RsError
from rs.rpki import RpkiFiles
from rs.rtr_client import CacheConfig, Publisher, RtrClient
from tests.routerkit import Lab, communities, config_text
from tests.served import A, B, C, D, Served, ask, make, post, violations


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    lab = make(folder)
    # One cache that is asked for the first time, one file that cannot be read.
    client = RtrClient(
        [CacheConfig("192.0.2.1")], Publisher(lab.router.roas, lab.router.aspas, print)
    )
    files = RpkiFiles(client.publisher)
    assert list(files.load_steps([folder / "none.json"], 0.0)) == []
    (row,), (file,) = client.status(), files.status(0.0)
    full = {"serial": 5, "updated_s": 3.5, "expires_s": 3600.0, "session_id": 7, "version": 1}
    lab.router.rpki_sources = lambda: (
        [row, {**row, **full, "name": "192.0.2.2:323"}],
        [file, {**file, "path": "/x", "age_s": 5.0, "read_s": 4.0}],
    )
    with Served(lab, folder) as server:
        yield server


@pytest.fixture
def own(tmp_path):
    """A server of the test's own, with a Lab that it may change."""
    with Served(make(tmp_path), tmp_path) as server:
        yield server


REQUESTS = {
    "/v1/nexthops": ["/v1/nexthops"],
    "/v1/status": ["/v1/status"],
    "/v1/rpki": ["/v1/rpki"],
    "/v1/neighbors": ["/v1/neighbors"],
    "/v1/neighbors/{address}": [f"/v1/neighbors/{a}" for a in (A, B, C, D)],
    "/v1/route/{prefix}": [
        "/v1/route/20.1.1.1",
        "/v1/route/20.0.0.0/8?match=exact&members=1",
        "/v1/route/20.0.0.0%2F8?match=longer&members=true",
        "/v1/route/2001:db8::1?match=longest&members=0",
        "/v1/route/99.0.0.0/8",
        f"/v1/route/20.0.0.0/8?to={A}",
        f"/v1/route/20.0.0.0/8?match=longer&to={C}",
        f"/v1/route/20.0.0.0/8?to={D}",
    ],
    "/v1/routes": [
        "/v1/routes",
        "/v1/routes?view=received",
        "/v1/routes?view=rejected&limit=1",
        f"/v1/routes?view=advertised&neighbor={C}",
        f"/v1/routes?neighbor={A}&family=ipv4-unicast&prefix=20.0.0.0%2F8&cursor=20.0.0.0/8",
    ],
    "/metrics": ["/metrics"],
    "/openapi.json": ["/openapi.json"],
}


class TestDescription:
    def test_document(self, served):
        document = ask(served, "/openapi.json").json
        assert document["openapi"] == "3.1.0"
        assert set(document["paths"]) == {endpoint.path for endpoint in ENDPOINTS}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                assert operation["summary"], (path, method)
                names = set(re.findall(r"{(\w+)}", path))
                assert names == {p["name"] for p in operation["parameters"] if p["in"] == "path"}
                assert all(p["description"] for p in operation["parameters"])
        for name, schema in document["components"]["schemas"].items():
            assert schema["description"], name
            assert set(schema.get("required", [])) <= set(schema["properties"])
        references = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
        assert references == set(document["components"]["schemas"])
        operations = [o["operationId"] for p in document["paths"].values() for o in p.values()]
        assert len(set(operations)) == len(operations)

    def test_every_path_is_asked_for(self):
        assert set(REQUESTS) == {e.path for e in ENDPOINTS if e.method == "GET"}

    @pytest.mark.parametrize(("path", "target"), [(p, t) for p, ts in REQUESTS.items() for t in ts])
    def test_answers_are_as_described(self, served, path, target):
        document = ask(served, "/openapi.json").json
        operation = document["paths"][path]["get"]
        answer = ask(served, target)
        assert answer.status == 200
        content = operation["responses"]["200"]["content"]
        kind = answer.headers["content-type"]
        value = answer.json if kind == "application/json" else answer.body.decode()
        assert violations(value, content[kind]["schema"], document) == []
        if "application/x-ndjson" in content:
            answer = ask(served, target, accept="application/x-ndjson")
            assert answer.headers["content-type"] == "application/x-ndjson"
            schema = content["application/x-ndjson"]["schema"]
            records = [json.loads(line) for line in answer.body.splitlines()]
            assert [violations(r, schema, document) for r in records] == [[] for _ in records]
            rows = value["routes"] if isinstance(value, dict) else value
            assert len(records) == len(rows)

    def test_the_check_itself(self, served):
        document = ask(served, "/openapi.json").json
        schema = {"$ref": "#/components/schemas/Status"}
        status = ask(served, "/v1/status").json
        assert violations({**status, "odd": 1}, schema, document)
        assert violations({**status, "version": 1}, schema, document)
        assert violations({**status, "role": "other"}, schema, document)
        del status["asn"]
        assert violations(status, schema, document)

    def test_errors_are_as_described(self, served):
        document = ask(served, "/openapi.json").json
        schema = {"$ref": "#/components/schemas/Error"}
        for target in ("/v1/routes?limit=0", "/v1/neighbors/10.9.9.9", "/v1/route/x"):
            answer = ask(served, target)
            path = next(e.path for e in ENDPOINTS if e.match(target.partition("?")[0]) is not None)
            assert str(answer.status) in document["paths"][path]["get"]["responses"]
            assert violations(answer.json, schema, document) == []

    def test_a_type_without_schema(self):
        from rs import openapi

        with pytest.raises(TypeError, match="no schema"):
            openapi.schema_of(bytes, {})


class TestAnswers:
    def test_headers(self, served):
        answer = ask(served, "/v1/status")
        assert answer.headers["server"].startswith("rs/")
        assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 5
        assert answer.headers["cache-control"] == "no-store"

    def test_status(self, served):
        found = ask(served, "/v1/status").json
        assert 10_000_000 < found["rss_bytes"] < 1_000_000_000
        assert found["neighbors"] == {"total": 4, "established": 3}

    def test_tcp(self, served):
        connection = http.client.HTTPConnection(served.server.addresses[0])
        for _ in range(2):  # the connection is kept
            connection.request("GET", "/v1/status")
            assert connection.getresponse().read().startswith(b'{"version"')
        connection.close()

    def test_neighbors(self, served):
        found = ask(served, "/v1/neighbors").json
        assert [n["address"] for n in found] == [A, B, C, D]
        assert {n["state"] for n in found[:3]} == {"Established"}
        assert found[0]["families"]["ipv4-unicast"]["received"] == 2
        assert "faults" not in found[0]

    def test_neighbor(self, served):
        found = ask(served, f"/v1/neighbors/{A}").json
        assert found["faults"][0]["outcome"] == "treat-as-withdraw"
        # Any form of an address will do.
        assert ask(served, "/v1/neighbors/2001:DB8:1:0::4").json["address"] == D
        assert ask(served, f"/v1/neighbors/{quote(D, safe='')}").json["address"] == D

    def test_route(self, served):
        found = ask(served, "/v1/route/20.1.1.1").json
        assert (found["query"], found["match"]) == ("20.1.1.1", "longest")
        assert [r["prefix"] for r in found["routes"]] == ["20.1.1.0/24", "20.1.0.0/16"]
        found = ask(served, "/v1/route/20.0.0.0/8?match=longer").json
        assert [r["prefix"] for r in found["routes"]] == [
            "20.0.0.0/8",
            "20.1.0.0/16",
            "20.1.1.0/24",
        ]
        assert ask(served, "/v1/route/99.0.0.1").json["routes"] == []

    def test_route_to(self, served):
        for match in ("longest", "exact", "longer"):
            found = ask(served, f"/v1/route/20.0.0.0/8?match={match}&to={C}").json["routes"][0]
            assert (found["to"]["neighbor"], found["to"]["state"]) == (C, "sent")
            best, other = (path["to"] for path in found["paths"])
            assert (best["reason"], best["community"]) == ("community", "0:65003")
            assert (other["state"], other["reason"]) == ("sent", None)
        (found,) = ask(served, f"/v1/route/20.0.0.0/8?to={D}").json["routes"]
        assert found["to"]["reason"] == "session-down"
        assert ask(served, "/v1/route/20.0.0.0/8?to=10.9.9.9").status == 404
        assert ask(served, "/v1/route/20.0.0.0/8?to=nobody").status == 400

    def test_routes(self, served):
        found = ask(served, "/v1/routes").json
        assert [r["prefix"] for r in found] == ["20.0.0.0/8", "20.1.0.0/16", "2001:db8::/32"]
        lines = ask(served, "/v1/routes", accept="application/x-ndjson").body
        assert [json.loads(line) for line in lines.splitlines()] == found
        assert lines.endswith(b"\n")
        assert ask(served, "/v1/routes?prefix=99.0.0.0/8").body == b"[]"
        assert (
            ask(served, "/v1/routes?prefix=99.0.0.0/8", accept="application/x-ndjson").body == b""
        )

    def test_head(self, served):
        for path in ("/v1/status", "/v1/routes", "/metrics"):
            answer = ask(served, path, "HEAD")
            assert (answer.status, answer.body) == (200, b"")
        assert ask(served, "/v1/nothing", "HEAD").status == 404

    @pytest.mark.parametrize(
        ("status", "path", "words"),
        [
            (404, "/", "no such path: /; see /openapi.json"),
            (404, "/v1/neighbours", "no such path"),
            (404, "/v1/status/", "no such path"),
            (404, "/v1/route/", "no such path"),
            (404, "/v1/neighbors/10.9.9.9", "no neighbor 10.9.9.9"),
            (404, "/v1/routes?neighbor=10.9.9.9", "no neighbor 10.9.9.9"),
            (400, "/v1/neighbors/ams-ix", "'ams-ix' is no address"),
            (400, "/v1/route/nonsense", "'nonsense' is neither"),
            (400, "/v1/route/10.0.0.1/8", "host bits set; the prefix is 10.0.0.0/8"),
            (400, "/v1/route/10.0.0.0/8?match=best", "'best' is not longest, exact, longer"),
            (400, "/v1/routes?view=all", "'all' is not best, received"),
            (400, "/v1/routes?view=advertised", "needs a neighbor"),
            (400, "/v1/routes?family=ipv5", "'ipv5' is not ipv4-unicast, ipv6-unicast"),
            (400, "/v1/routes?limit=0", "'0' is no number of at least 1"),
            (400, "/v1/routes?limit=-1", "'-1' is no number"),
            (400, "/v1/routes?limit=", "'' is no number"),
            (400, "/v1/routes?limit=1&limit=2", "limit: given twice"),
            (400, "/v1/routes?prefix=x", "'x' is neither"),
            (400, "/v1/routes?cursor=10.0.0.0/99", "0 to 32"),
            (400, "/v1/routes?colour=red", "unknown parameter 'colour'; there are: neighbor, view"),
            (400, "/v1/status?x=1", "unknown parameter 'x'; there are: none"),
        ],
    )
    def test_refused(self, served, status, path, words):
        answer = ask(served, path)
        assert answer.status == status
        assert list(answer.json) == ["error"]
        assert words in answer.json["error"]

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("POST", "/v1/status", "GET"),
            ("DELETE", f"/v1/neighbors/{A}", "GET"),
            ("GET", f"/v1/neighbors/{A}/reset", "POST"),
            ("PUT", "/v1/route/10.0.0.0/8", "GET"),
        ],
    )
    def test_method_not_allowed(self, served, method, path, allow):
        answer = ask(served, path, method)
        assert answer.status == 405
        assert answer.headers["allow"] == allow
        assert allow in answer.json["error"]

    def test_not_http(self, served):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(served.path)
            sock.sendall(b"\xff" * 19 + b"\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 400")
        assert ask(served, "/v1/status").status == 200

    def test_an_error_of_ours(self, own, monkeypatch, caplog):
        monkeypatch.setattr(show, "status", lambda *_: 1 / 0)
        answer = ask(own, "/v1/status")
        assert answer.status == 500
        assert "internal error" in answer.json["error"]
        assert "ZeroDivisionError" in caplog.text
        assert ask(own, "/v1/neighbors").status == 200


class TestActions:
    def test_reset(self, own):
        answer = post(own, f"/v1/neighbors/{A}/reset", b'{"communication": "maintenance"}')
        assert (answer.status, answer.json) == (200, {"ok": f"{A}: reset"})
        assert ask(own, f"/v1/neighbors/{A}").json["state"] != "Established"
        assert ask(own, f"/v1/neighbors/{B}").json["state"] == "Established"

    def test_shutdown_and_enable(self, own):
        assert post(own, f"/v1/neighbors/{A}/shutdown").status == 200
        found = ask(own, f"/v1/neighbors/{A}").json
        assert (found["state"], found["enabled"]) == ("Idle", False)
        assert post(own, f"/v1/neighbors/{A}/enable").status == 200
        assert ask(own, f"/v1/neighbors/{A}").json["enabled"] is True

    def test_refresh(self, own):
        assert post(own, f"/v1/neighbors/{B}/refresh").status == 200
        answer = post(own, f"/v1/neighbors/{D}/refresh")
        assert answer.status == 409
        assert "no session" in answer.json["error"]

    @pytest.mark.parametrize(
        ("status", "address", "body", "words"),
        [
            (404, "10.9.9.9", b"", "no neighbor"),
            (400, A, b"{", "no JSON"),
            (400, A, b"[]", "no JSON object"),
            (400, A, b'{"communication": 1}', '"communication": "text"'),
            (400, A, b'{"reason": "x"}', '"communication": "text"'),
            (400, A, b'{"communication": "' + b"x" * 256 + b'"}', "at most 255 octets"),
            (413, A, b'{"communication": "' + b"x" * 70000 + b'"}', "at most 65536 octets"),
        ],
    )
    def test_refused(self, served, status, address, body, words):
        answer = post(served, f"/v1/neighbors/{address}/reset", body)
        assert answer.status == status
        assert words in answer.json["error"]
        assert ask(served, f"/v1/neighbors/{A}").json["state"] == "Established"

    def test_a_form_of_a_web_page_does_nothing(self, served):
        kind = "application/x-www-form-urlencoded"
        answer = ask(served, f"/v1/neighbors/{A}/reset", "POST", b"a=b", content_type=kind)
        assert answer.status == 415
        assert ask(served, f"/v1/neighbors/{A}/reset", "POST").status == 415
        assert ask(served, f"/v1/neighbors/{A}").json["state"] == "Established"


class TestReload:
    @pytest.fixture
    def reload(self, own):
        """Make the router answer a reload in some way; return a function that asks for it."""

        def ask_for(what):
            async def carry_out():
                await asyncio.sleep(0)
                if isinstance(what, Exception):
                    raise what
                return what

            own.lab.router.reload = carry_out
            return post(own, "/v1/reload")

        return ask_for

    def test_done(self, reload):
        answer = reload("1 added")
        assert (answer.status, answer.json) == (200, {"ok": "1 added"})

    def test_faults(self, reload, own):
        answer = reload(ConfigError(["rs.toml:3: no", "rs.toml:4: no"]))
        assert answer.status == 422
        assert answer.json["problems"] == ["rs.toml:3: no", "rs.toml:4: no"]
        schema = {"$ref": "#/components/schemas/Error"}
        assert violations(answer.json, schema, ask(own, "/openapi.json").json) == []

    def test_cannot(self, reload):
        answer = reload(RsError("port 179: in use"))
        assert (answer.status, answer.json) == (409, {"error": "port 179: in use"})

    def test_without_a_file(self, served):
        assert post(served, "/v1/reload").status == 409

    def test_the_api_itself_moves(self, own):
        """The reload ends the server that was asked for it, and goes on."""
        done = []

        async def carry_out():
            await own.server.stop()
            done.append(True)
            return "moved"

        own.lab.router.reload = carry_out
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            post(own, "/v1/reload")
        wait_until(lambda: done)


class TestMetrics:
    @pytest.fixture
    def text(self, served):
        answer = ask(served, "/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.body.decode()

    def test_format(self, text):
        """Each metric in one block, behind its HELP and TYPE, no sample twice."""
        assert text.endswith("\n")
        kinds, seen, current = {}, set(), None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                current = line.split(" ", 3)[2]
                assert current not in kinds
                kinds[current] = None
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name == current
                kinds[name] = kind
            else:
                found = re.fullmatch(r'(\w+)(\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)', line)
                assert found, line
                name = found[1]
                if kinds[current] == "histogram":
                    name = re.sub(r"_(bucket|sum|count)$", "", name)
                assert name == current
                assert (found[1], found[2]) not in seen
                seen.add((found[1], found[2]))
                float(found[3])
        assert set(kinds) == set(metrics.METRICS)
        assert all(name.endswith("_total") for name, kind in kinds.items() if kind == "counter")

    def value(self, text, sample):
        (found,) = re.findall(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found)

    def test_values(self, text):
        who = f'neighbor="{A}",asn="65001"'
        assert self.value(text, f"rs_neighbor_state{{{who}}}") == 6
        received = f'rs_neighbor_prefixes_received{{{who},family="ipv4-unicast"}}'
        assert self.value(text, received) == 2
        assert self.value(text, 'rs_neighbors{state="Established"}') == 3
        assert self.value(text, 'rs_prefixes{family="ipv4-unicast"}') == 3
        rejects = f'rs_neighbor_rejects{{neighbor="{C}",asn="65003",reason="first-as"}}'
        assert self.value(text, rejects) == 1
        assert self.value(text, f"rs_neighbor_treat_as_withdraw_total{{{who}}}") == 1
        opened = f'rs_neighbor_messages_total{{{who},direction="received",type="open"}}'
        assert self.value(text, opened) == 1

    def test_histogram_rises(self, text):
        counts = re.findall(r'^rs_loop_slice_seconds_bucket{le="(.+)"} (\d+)$', text, re.MULTILINE)
        numbers = [int(count) for _, count in counts]
        assert numbers == sorted(numbers)
        assert counts[-1][0] == "+Inf"
        assert numbers[-1] == self.value(text, "rs_loop_slice_seconds_count")

    def test_escapes(self, text):
        assert r'description="Odd \"name\" \\ it has"' in text
        assert metrics.escaped('a"b\\c\nd') == r"a\"b\\c\nd"

    def test_steps(self, served):
        walk = metrics.MetricsWalk(served.lab.router, served.lab.time, 1)
        whole = "".join(iter_walk(walk, lambda: False))
        walk = metrics.MetricsWalk(served.lab.router, served.lab.time, 1)
        assert "".join(iter_walk(walk, lambda: True)) == whole


def iter_walk(walk, spent):
    while (more := walk.step(spent)) is not None:
        yield from more


# --- long answers -------------------------------------------------------------------------------


MANY = 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A table of 100,000 prefixes, five to an attribute set."""
    folder = tmp_path_factory.mktemp("large")
    lab = Lab(folder, config_text(f"{A} 65001", f"{B} 65002"))
    lab.up(A, B)
    for i in range(0, MANY, 500):
        for j in range(0, 500, 5):
            n = i + j
            prefixes = [f"{30 + (k >> 16)}.{k >> 8 & 255}.{k & 255}.0/24" for k in range(n, n + 5)]
            lab.announce(A, *prefixes, path=(65001, 1 + n), more=communities(f"65001:{n % 65536}"))
        lab.settle()
    with Served(lab, folder) as server:
        yield server


class TestStreams:
    def test_whole_table_in_slices(self, large):
        loop = large.lab.router.loop
        before = sum(loop.counts)
        found = ask(large, "/v1/routes").json
        assert len(found) == MANY
        assert len({r["prefix"] for r in found}) == MANY
        assert found[0]["prefix"] == "30.0.0.0/24"
        # Some hundreds of records a slice: far more slices than a table in one go.
        assert sum(loop.counts) - before > 100

    def test_others_have_their_turn(self, large):
        """While one client takes the whole table, another asks for the status many times."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(large.path)
            sock.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            sock.settimeout(10)
            octets = answers = 0
            while block := sock.recv(1 << 20):
                octets += len(block)
                if answers < 20:
                    assert ask(large, "/v1/status").status == 200
                    answers += 1
        assert octets > MANY * 200
        assert answers == 20

    def test_a_slow_client_holds_nothing_up(self, large, monkeypatch):
        """What a client does not take is not made: the walk stands still."""
        steps = []
        step = showroutes.RoutesWalk.step
        monkeypatch.setattr(
            showroutes.RoutesWalk, "step", lambda *a: steps.append(time.monotonic()) or step(*a)
        )
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(large.path)
            sock.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n")
            head = sock.recv(1000)
            assert head.startswith(b"HTTP/1.1 200")
            wait_until(lambda: steps and time.monotonic() - steps[-1] > 0.3)
            stood = len(steps)
            assert stood < 50
            for _ in range(200):
                sock.recv(65536)
            wait_until(lambda: len(steps) > stood)
        count = len(steps)
        wait_until(lambda: time.monotonic() - steps[-1] > 0.3)
        # The client has gone, so the walk has ended long before the table's end.
        assert len(steps) < count + 20

    def test_a_client_that_takes_nothing_is_cut_off(self, large, monkeypatch, caplog):
        monkeypatch.setattr(api, "STALL_TIME", 0.3)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(large.path)
            sock.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until(lambda: "cut off" in caplog.text)
            octets = 0
            with contextlib.suppress(ConnectionError):
                while block := sock.recv(65536):
                    octets += len(block)
            assert octets < MANY * 100
        assert "ERROR" not in caplog.text

    def test_a_client_that_asks_nothing_is_cut_off(self, large, monkeypatch):
        monkeypatch.setattr(api, "STALL_TIME", 0.2)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(large.path)
            assert sock.recv(10) == b""

    def test_many_streams_at_once(self, large):
        """Each gets everything, and no slice is longer for it."""
        socks = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        sizes = [0] * len(socks)
        for sock in socks:
            sock.settimeout(20)
            sock.connect(large.path)
            sock.sendall(b"GET /v1/routes?limit=5000 HTTP/1.1\r\nConnection: close\r\n\r\n")
        for i, sock in enumerate(socks):
            while block := sock.recv(1 << 20):
                sizes[i] += len(block)
            sock.close()
        assert min(sizes) > 5000 * 200

    def test_stop_during_a_stream(self, tmp_path, caplog):
        lab = make(tmp_path)
        for i in range(0, 40_000, 500):
            lab.announce(
                A, *(f"{40 + (k >> 16)}.{k >> 8 & 255}.{k & 255}.0/24" for k in range(i, i + 500))
            )
        server = Served(lab, tmp_path)
        with server, socket.socket(socket.AF_UNIX) as sock:
            sock.connect(server.path)
            sock.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(1000)
            begin = time.monotonic()
            server.stop()
            assert time.monotonic() - begin < 3
        assert "ERROR" not in caplog.text

    def test_an_error_in_a_stream_breaks_it_off(self, own, monkeypatch):
        """The client must not take half an answer for a whole one."""
        monkeypatch.setattr(showroutes.Glance, "item", lambda *_: 1 / 0)
        with pytest.raises(http.client.IncompleteRead):
            ask(own, "/v1/routes")
        assert ask(own, "/v1/status").status == 200

    def test_too_many_connections(self, own, monkeypatch):
        socks = []
        try:
            for _ in range(api.MAX_CONNECTIONS):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(own.path)
                socks.append(sock)
            assert ask(own, "/v1/status").status == 503
        finally:
            for sock in socks:
                sock.close()
        wait_until(lambda: ask(own, "/v1/status").status == 200)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
