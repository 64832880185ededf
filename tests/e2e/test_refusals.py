"""Case 8 and bad input: one clear line, the next step, the right exit code, nothing touched."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison, Result
from tests.support.registry import DockerRegistry, RegistryFactory, free_port

MADE = image([layer({"app": random_bytes(1, 2000)})])
ABSENT = "sha256:" + "0" * 64


def told(result: Result, *words: str) -> None:
    """There is one error, a next step follows it, and no traceback."""
    lines = result.stderr.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    rest = lines[at + 1 :]
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert any(line.startswith(" next: ") for line in rest), result.stderr


def test_a_wrong_registry(jettison: Jettison) -> None:
    told(jettison("ls", f"127.0.0.1:{free_port()}", check=10), "connection refused")
    told(jettison("ls", "registry.invalid:5000", check=10), "registry.invalid")


def test_a_wrong_repository_and_a_wrong_tag(registry: DockerRegistry, jettison: Jettison) -> None:
    registry.push("team/app", "1.0", MADE)
    before = registry.snapshot()
    told(jettison("rm", f"{registry.host}/team/ap:1.0", "--yes", check=1), "team/app")
    told(jettison("rm", f"{registry.host}/team/app:1.1", "--yes", check=1), "1.0")
    told(jettison("rm", f"{registry.host}/team/app:v*", "--yes", check=1), "v*")
    told(jettison("rm", f"{registry.host}/team/app@{ABSENT}", "--yes", check=1), ABSENT)
    told(jettison("inspect", f"{registry.host}/team/app:2", check=1), "1.0")
    assert registry.snapshot() == before


def test_a_wrong_password_and_none(registry_factory: RegistryFactory, jettison: Jettison) -> None:
    registry = registry_factory(delete=True, htpasswd=("user", "right-secret"))
    told(jettison("ls", registry.host, check=10), "needs a login", "jettison login")
    login = ("login", registry.host, "-u", "user", "--password-stdin")
    wrong = jettison(*login, stdin="wrong-secret\n", check=10)
    told(wrong, "refused")
    assert "wrong-secret" not in wrong.stderr + wrong.stdout
    jettison(*login, stdin="right-secret\n")
    jettison("ls", registry.host)
    jettison("logout", registry.host)
    jettison("ls", registry.host, check=10)


def test_tls_and_plain_http_mixed_up(registry_factory: RegistryFactory, jettison: Jettison) -> None:
    secure = registry_factory(delete=True, tls=True)
    told(jettison("ls", secure.host, "--plain-http", check=10), "TLS")
    told(jettison("ls", secure.host, "--tls", check=10), "--ca-file")
    jettison("ls", secure.host, "--ca-file", secure.ca)
    jettison("ls", secure.host, "--insecure", "--tls")
    plain = registry_factory(delete=True)
    told(jettison("ls", plain.host, "--tls", check=10), "--plain-http")


class Answers(http.server.BaseHTTPRequestHandler):
    """A registry that lets everybody look and nobody delete, or (`page`) a web page."""

    page = False

    def do_GET(self) -> None:
        if self.page:
            self._send(HTTPStatus.OK, "text/html", b"<html>welcome</html>")
        elif "tags/list" in self.path:
            self._send(HTTPStatus.OK, "application/json", b'{"name":"app","tags":["1"]}')
        else:
            self._send(HTTPStatus.OK, "application/json", b"{}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        body = b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}'
        self._send(HTTPStatus.FORBIDDEN, "application/json", body)

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        if not self.page:
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class WebPage(Answers):
    page = True


@contextmanager
def serving(handler: type[Answers]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_no_permission_to_delete(jettison: Jettison) -> None:
    with serving(Answers) as host:
        told(jettison("rm", f"{host}/app:1", "--yes", check=10), "may not delete", "app")


def test_a_web_page_is_no_registry(jettison: Jettison) -> None:
    with serving(WebPage) as host:
        for command in (["ls", host], ["check", host], ["rm", f"{host}/app:1", "--yes"]):
            told(jettison(*command, check=10), host)


@pytest.mark.parametrize(
    ("reference", "carets"),
    [
        ("localhost:5000/Team/app:1", "               ^"),
        ("localhost:5000/app:", "                  ^"),
        ("localhost:5000/app@sha256:12", "                   ^^^^^^^^^"),
        ("http://localhost:5000/app:1", "^^^^^^^"),
        ("app:1", "^^^^^"),
        ("localhost:5000/app:1@" + ABSENT, "                  ^"),
    ],
)
def test_malformed_references_are_underlined(
    jettison: Jettison, reference: str, carets: str
) -> None:
    refused = jettison("rm", reference, "--yes", check=2)
    told(refused)
    assert refused.stderr.splitlines()[2].startswith(carets)


def test_requests_that_make_no_sense(registry: DockerRegistry, jettison: Jettison) -> None:
    registry.push("app", "1", MADE)
    registry.push("app", "2", MADE)
    before = registry.snapshot()
    host = registry.host
    told(jettison("rm", f"{host}/app:1", "localhost:5000/app:1", "--yes", check=2), "localhost")
    told(jettison("rm", f"{host}/app", "--yes", check=2), "--all-tags")
    told(jettison("rm", f"{host}/app:*", "--yes", check=4), "--all-tags")
    told(jettison("rm", f"{host}/app:1", "--reclaim", "--yes", check=2), "--storage")
    told(jettison("rm", f"{host}/app:1", check=4), "--yes")
    storage = ("--storage", registry.storage)
    told(
        jettison("rm", f"{host}/app:1", "--reclaim", *storage, "--grace", "0s", "-y", check=12),
        "--assume-quiescent",
    )
    assert registry.snapshot() == before


def test_storage_that_is_not_that_registrys(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    one, other = registry_factory(delete=True), registry_factory(delete=True)
    one.push("app", "1", MADE)
    other.push("app", "1", image([layer({"x": b"y"})]))
    before = one.snapshot(), other.snapshot()
    reclaim = ("--reclaim", "--storage", other.storage, "--yes")
    told(jettison("rm", f"{one.host}/app:1", *reclaim, check=1), "not the storage")
    assert (one.snapshot(), other.snapshot()) == before


@pytest.mark.folder
def test_storage_and_configurations_that_are_none(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    told(jettison("gc", tmp_path, "--yes", check=1), "no registry's storage")
    told(jettison("gc", registry.root / "docker", "--yes", check=1), str(registry.root))
    told(jettison("gc", tmp_path / "nowhere", "--yes", check=1))
    config = tmp_path / "config.yml"
    for text, word in [
        ("just text", "configuration"),
        ("version: 0.1\n", "storage"),
        ("version: 0.9\nstorage: {filesystem: {}}\n", "version"),
        ("version: 0.1\nstorage: {floppy: {}}\n", "floppy"),
        ("version: 0.1\nstorage: {s3: {bucket: b}}\n", "s3"),
        ("version: 0.1\nstorage: {filesystem: {}, inmemory: {}}\n", "inmemory"),
    ]:
        config.write_text(text)
        told(jettison("gc", config, "--yes", check=2), word)
    assert config.read_text().startswith("version")


def test_every_command_says_the_same_of_a_configuration(jettison: Jettison, tmp_path: Path) -> None:
    config = tmp_path / "config.yml"
    config.write_text("version: 0.2\nstorage: {filesystem: {rootdirectory: 7}}\nhttp: {net: udp}\n")
    variable = {"REGISTRY_HTTP_NET": "carrier"}
    said = [
        f"{config}: 3 keys cannot be used:",
        "version is 0.2. Only 0.1 is known.",
        "storage.filesystem.rootdirectory is 7. It is the path of a folder.",
        "http.net (set by REGISTRY_HTTP_NET) is the text 'carrier'. Allowed are tcp and unix.",
    ]
    for command in (
        *(("gc", "-n"), ("fsck",), ("garbage-collect", "-d"), ("serve",), ("check",)),
        ("runs", "--storage"),
    ):
        told(jettison(*command, config, env=variable, check=2), *said, f"jettison check {config}")


def test_a_journal_of_a_newer_version(
    registry: DockerRegistry, jettison: Jettison, home: Path
) -> None:
    registry.push("app", "1", MADE)
    entry = '{"schema_version": 99, "id": "20990101-000000-aaaa", "surprise": true}'
    for folder in (home / ".local/state/jettison/runs", registry.root / "jettison/runs"):
        folder.mkdir(parents=True)
        (folder / "20990101-000000-aaaa.json").write_text(entry)
    before = registry.snapshot()
    told(jettison("undo", "20990101-000000-aaaa", check=1), "newer version")
    told(jettison("gc", registry.storage, "--yes", check=1), "newer version")
    assert "newer version" in jettison("runs").stdout
    after = registry.snapshot()
    after.pop("jettison/clock", None)  # by which the clock of a bucket was asked
    assert after == before
