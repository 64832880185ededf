"""Servers that are told something: what their answers become."""

import contextlib
import http.client
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from jettison.configuration import Configuration
from jettison.configuration.settings import Debug, Htpasswd, Http, Storage
from jettison.demo import images
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT
from jettison.server.serving import warn_of_the_open
from tests.server.asking import (
    BLOB,
    MISSING,
    RAW,
    begin,
    chunk,
    code,
    finish,
    image,
    starting,
)
from tests.support.registry import JettisonRegistry, Response, free_port


def test_where_deletion_is_disabled(tmp_path: Path) -> None:
    with starting(tmp_path, delete=None) as server:
        one = image()
        server.push("a", "1", one)
        layer = one.blobs()[0].digest
        for rest in (
            f"manifests/{one.digest}",
            "manifests/1",
            f"blobs/{layer}",
            f"manifests/{MISSING}",
        ):
            answer = server.request("DELETE", f"/v2/a/{rest}")
            assert (answer.status, code(answer)) == (405, "UNSUPPORTED")
        assert server.tags("a") == ["1"]
        # An upload is cancelled all the same.
        assert server.request("DELETE", begin(server, "a")).status == 204


def test_read_only(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        digest = server.push("a", "1", image())
        where = begin(server, "a")
        server.reconfigure(readonly=True)
        before = server.snapshot()
        for method, rest in (
            ("PUT", "/v2/a/manifests/1"),
            ("DELETE", f"/v2/a/manifests/{digest}"),
            ("DELETE", f"/v2/a/blobs/{MISSING}"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("PATCH", where),
            ("PUT", where),
            ("DELETE", where),
            ("PUT", "/v2/UPPER/manifests/1"),
        ):
            answer = server.request(method, rest)
            assert answer.status == 405
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.headers["Allow"] == "GET, HEAD"
        for rest in ("manifests/1", "tags/list", f"referrers/{MISSING}"):
            assert server.request("GET", f"/v2/a/{rest}", {"Accept": ACCEPT}).status == 200
        assert server.snapshot() == before


def test_without_protection_anything_is_deleted(tmp_path: Path) -> None:
    with starting(tmp_path, extra={"jettison": {"protect_references": False}}) as server:
        child = image()
        server.push("a", "1", images.index([child]))
        assert server.request("DELETE", f"/v2/a/blobs/{child.blobs()[0].digest}").status == 202
        assert server.delete("a", child.digest) == 202


def test_headers_prefix_and_the_debug_address(tmp_path: Path) -> None:
    port = free_port()
    health = {"enabled": True, "interval": "20ms", "threshold": 1}
    stop = tmp_path / "stop"
    extra = {
        "http": {
            "prefix": "/registry/",
            "relativeurls": True,
            "headers": {"X-One": ["1"], "X-Two": ["a", "b"]},
            "debug": {"addr": f"127.0.0.1:{port}", "prometheus": {"enabled": True}},
        },
        "health": {
            "storagedriver": health,
            "file": [{"file": str(stop), "interval": "20ms"}],
        },
    }

    class Prefixed(JettisonRegistry):
        def _answers(self) -> bool:
            try:
                return self.request("GET", "/registry/v2/").status == 200
            except OSError:
                return False

    def debug(where: str) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", where)
        answer = connection.getresponse()
        found = Response(answer.status, answer.headers, answer.read())
        connection.close()
        return found

    with Prefixed(tmp_path / "registry", delete=True, extra=extra) as server:
        answer = server.request("GET", "/registry/v2/")
        assert (answer.status, answer.headers["X-One"]) == (200, "1")
        assert answer.headers.get_all("X-Two") == ["a", "b"]
        assert server.request("GET", "/v2/").status == 404
        assert server.request("GET", "/registryv2/").status == 404
        answer = server.request("POST", "/registry/v2/a/blobs/uploads/")
        where = answer.headers["Location"]
        assert where.startswith("/registry/v2/a/blobs/uploads/")
        answer = finish(server, where, BLOB, RAW)
        assert answer.headers["Location"] == f"/registry/v2/a/blobs/{BLOB}"
        assert debug("/debug/health").status == 200
        text = debug("/metrics").body.decode()
        assert "jettison_http_requests_total" in text
        assert 'route="upload"' in text
        stop.touch()
        end = time.monotonic() + 10
        while server.request("GET", "/registry/v2/").status != 503:
            assert time.monotonic() < end
            time.sleep(0.02)
        answer = server.request("GET", f"/registry/v2/a/blobs/{BLOB}")
        assert (answer.status, code(answer)) == (503, "UNAVAILABLE")
        assert debug("/debug/health").status == 503
        stop.unlink()
        while server.request("GET", "/registry/v2/").status != 200:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_host_of_its_own(tmp_path: Path) -> None:
    with starting(tmp_path, extra={"http": {"host": "https://registry.test:8443"}}) as server:
        answer = server.request("POST", "/v2/a/blobs/uploads/", {"X-Forwarded-Host": "other"})
        assert answer.headers["Location"].startswith("https://registry.test:8443/v2/a/blobs/")


def test_behind_a_proxy(server: JettisonRegistry, repo: str) -> None:
    for headers, origin in (
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "r.test"}, "https://r.test/"),
        ({"X-Forwarded-Proto": "https"}, f"https://{server.host}/"),
        ({"X-Forwarded-Host": "a, b"}, "http://a/"),
        ({"X-Forwarded-Host": "a b"}, "/v2/"),
    ):
        answer = server.request("POST", f"/v2/{repo}/blobs/uploads/", headers)
        assert answer.headers["Location"].startswith(origin)


def test_several_processes_serve_one_tree(tmp_path: Path) -> None:
    with starting(tmp_path, extra={"jettison": {"workers": 3}}) as server:
        assert server._process is not None
        children = Path(f"/proc/{server._process.pid}/task/{server._process.pid}/children")
        workers = [int(one) for one in children.read_text(encoding="ascii").split()]
        assert len(workers) == 3
        # Each request has a connection of its own, so they meet different processes.
        for number in range(6):
            raw = b"%d" % number * 5000
            where = begin(server, "a")
            for at in range(0, 5000, 1000):
                answer = chunk(server, where, raw[at : at + 1000], f"{at}-{at + 999}")
                assert (answer.status, answer.headers["Range"]) == (202, f"0-{at + 999}")
            assert finish(server, where, Digest.of(raw)).status == 201
            assert server.request("GET", f"/v2/a/blobs/{Digest.of(raw)}").body == raw
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if server.request("GET", "/v2/").status == 200:
                    break
            assert time.monotonic() < end
        server.push("a", "1", image())
        server.stop()
        for worker in workers:
            assert not Path(f"/proc/{worker}").exists()


# Browsers, and paths with too many slashes.

CORS = {
    "Access-Control-Allow-Origin": ["https://ui.test"],
    "Access-Control-Allow-Methods": ["HEAD", "GET", "OPTIONS", "DELETE"],
}
PREFLIGHT = {"Origin": "https://ui.test", "Access-Control-Request-Method": "DELETE"}


def test_a_browser_is_told_without_a_login_what_pages_may_do(tmp_path: Path) -> None:
    """It sends none along with this request, and takes 401 for a no."""
    with starting(tmp_path, htpasswd=("user", "pass"), extra={"http": {"headers": CORS}}) as server:
        server.authorization = None
        for rest in ("", "app/manifests/1", f"app/manifests/{MISSING}", "UPPER/tags/list"):
            answer = server.request("OPTIONS", f"/v2/{rest}", PREFLIGHT)
            assert (answer.status, answer.body) == (200, b"")
            assert answer.headers["Access-Control-Allow-Origin"] == "https://ui.test"
            assert answer.headers.get_all("Access-Control-Allow-Methods") == [
                *("HEAD", "GET", "OPTIONS", "DELETE")
            ]
            assert "OPTIONS" in answer.headers["Allow"]
        for asked in ({}, {"Origin": "https://ui.test"}):
            assert server.request("OPTIONS", "/v2/app/manifests/1", asked).status == 405
        denied = server.request("DELETE", "/v2/app/manifests/1", PREFLIGHT)
        assert denied.status == 401  # what is asked about is not done
        assert denied.headers["Access-Control-Allow-Origin"] == "https://ui.test"


def test_without_logins_everybody_may_ask_for_the_methods(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        answer = server.request("OPTIONS", "/v2/app/manifests/1")
        assert (answer.status, answer.headers["Allow"]) == (200, "DELETE, GET, HEAD, OPTIONS, PUT")
        assert server.request("OPTIONS", "/v3/").status == 404


def test_too_many_slashes_lead_to_the_right_path(tmp_path: Path) -> None:
    with starting(tmp_path, htpasswd=("user", "pass")) as server:
        for path, right in (
            ("/v2/app/tags/list/?n=3", "/v2/app/tags/list?n=3"),
            ("//v2//_catalog", "/v2/_catalog"),
            ("/v2/app//blobs/uploads/", "/v2/app/blobs/uploads/"),
        ):
            method = "POST" if "uploads" in path else "GET"
            answer = server.request(method, path)
            assert (answer.status, answer.headers["Location"]) == (301, right)
        login, server.authorization = server.authorization, None
        assert server.request("GET", "/v2/app//tags/list").status == 401
        server.authorization = login


# Who may do what to whom.


def test_overwriting_a_tag_takes_a_right_of_its_own(tmp_path: Path) -> None:
    rules = [
        {"users": ["*"], "repositories": ["*"], "actions": ["pull", "push"]},
        {"users": ["*"], "repositories": ["moving/*"], "actions": ["overwrite"]},
    ]
    one, two = image("one"), image("two")
    with starting(tmp_path, extra={"jettison": {"access": rules}}) as server:
        for repo in ("fixed/a", "moving/a"):
            server.push(repo, "1", one)
            server.push(repo, "2", two)
            server.push(repo, "1", one)  # the same again is no change
        server.push("moving/a", "1", two)
        raw, kind = two.manifest.raw, {"Content-Type": two.manifest.media_type}
        answer = server.request("PUT", "/v2/fixed/a/manifests/1", kind, raw)
        assert (answer.status, code(answer)) == (403, "DENIED")
        assert answer.json["errors"][0]["detail"] == {"tag": "1"}
        path = f"/v2/fixed/a/manifests/{two.digest}"
        assert server.request("PUT", f"{path}?tag=new&tag=1", kind, raw).status == 403
        assert server.tags("fixed/a") == ["1", "2"]  # of several tags none is set
        assert server.request("PUT", f"{path}?tag=new&tag=2", kind, raw).status == 201
        assert server.request("GET", "/v2/fixed/a/manifests/1", {"Accept": ACCEPT}).body == (
            one.manifest.raw
        )
        link = server.tree / "repositories/fixed/a/_manifests/tags/1/current/link"
        link.write_text("damaged")
        answer = server.request("PUT", "/v2/fixed/a/manifests/1", kind, one.manifest.raw)
        assert answer.status == 403  # nobody knows what it was


def test_what_is_stored_is_not_for_all_users_of_the_machine(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        server.push("a/b", "1", image())
        begin(server, "a/b")
        paths = [path for path in server.tree.parent.rglob("*") if path != server.tree]
        assert any(path.name == "data" for path in paths)
        assert [path for path in paths if path.stat().st_mode & 0o027] == []


@pytest.mark.parametrize(
    ("http", "auth", "said"),
    [
        ({"addr": "127.0.0.1:0"}, False, False),
        ({"addr": "localhost:0"}, False, False),
        ({"addr": "[::1]:0"}, False, False),
        ({"addr": ":0"}, False, True),
        ({"addr": "0.0.0.0:0"}, False, True),
        ({"addr": "[::]:0"}, False, True),
        ({"addr": "registry.test:0"}, False, True),
        ({"addr": ":0"}, True, False),
        ({"addr": "registry.sock", "net": "unix"}, False, False),
    ],
)
def test_who_is_open_to_the_network_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, http: Any, auth: bool, said: bool
) -> None:
    configuration = Configuration(
        Storage(tmp_path, delete_enabled=True),
        http=Http(**http),
        auth=Htpasswd("r", tmp_path) if auth else None,
    )
    warn_of_the_open(configuration)
    assert caplog.text.count("NO LOGIN") == said
    assert ("pull, push and delete" in caplog.text) == said


def test_metrics_that_are_open_to_the_network_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for addr in ("127.0.0.1:0", ":0"):
        debug = Debug(addr, prometheus=True)
        http = Http(addr="127.0.0.1:0", debug=debug)
        warn_of_the_open(Configuration(Storage(tmp_path), http=http))
    assert caplog.text.count("NO LOGIN") == 1
    assert "health and metrics" in caplog.text
