"""examples/proxies/: an image is pushed and pulled through each real proxy that is here.

Of a configuration only the addresses and the names of files are changed.
"""

import base64
import http.client
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML

from jettison.demo.images import image, layer, random_bytes
from tests.support.missing import lack, need
from tests.support.registry import PEERS, START_SECONDS, Remote, Response, free_port

PROXIES = Path(__file__).parents[2] / "examples" / "proxies"
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/nginx.conf;
}}
"""

CADDY = """{{
	admin off
	auto_https off
	persist_config off
}}
https://127.0.0.1:{port} {{
	tls {tls}/server.pem {tls}/server.key
"""


class Behind(Remote):
    """A registry behind a proxy that speaks TLS, below a path."""

    def __init__(self, port: int, prefix: str) -> None:
        self.port = port
        self.prefix = prefix

    def _connect(self) -> http.client.HTTPConnection:
        context = ssl._create_unverified_context()  # noqa: S323 - the proxy's is made for the test
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """`path` is one below /v2/, or one that the registry told, which has the prefix."""
        whole = path if path.startswith(f"{self.prefix}/") else self.prefix + path
        return super().request(method, whole, headers, body)


@contextmanager
def running(command: list[str], folder: Path, at: Remote) -> Iterator[None]:
    """A process until `at` answers, and until the end of the block."""
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            said = (folder / "output").read_text("utf-8", errors="replace")
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            try:
                at.request("GET", "/v2/")
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(START_SECONDS)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    need("openssl")
    folder = tmp_path / "tls"
    folder.mkdir()
    pem, key = folder / "server.pem", folder / "server.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subject = ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*made, *subject, "-out", pem, "-keyout", key], check=True, capture_output=True)
    (folder / "both.pem").write_bytes(pem.read_bytes() + key.read_bytes())
    return folder


def proxy(name: str, prefix: str, ports: tuple[int, int], folder: Path, tls: Path) -> list[str]:
    """The command of a proxy at the first port in front of the second, from its example."""
    front, back = ports
    suffix = "-prefix" if prefix else ""
    source = {
        "nginx": f"nginx{suffix}.conf",
        "haproxy": f"haproxy{suffix}.cfg",
        "caddy": f"Caddyfile{suffix}",
    }[name]
    text = (PROXIES / source).read_text("utf-8")
    for before, after in (
        ("/etc/registry-tls", str(tls)),
        ("registry:5000", f"127.0.0.1:{back}"),
        ("listen 443", f"listen 127.0.0.1:{front}"),
        ("bind :443", f"bind 127.0.0.1:{front}"),
        ("REGISTRY.EXAMPLE {", CADDY.format(port=front, tls=tls)),
    ):
        text = text.replace(before, after)
    if name == "caddy":
        (folder / "Caddyfile").write_text(text, "utf-8")
        caddy = [str(PEERS / "caddy"), "run", "--adapter", "caddyfile"]
        return [*caddy, "--config", str(folder / "Caddyfile")]
    if name == "haproxy":
        (folder / "haproxy.cfg").write_text(text, "utf-8")
        return ["/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
    (folder / "nginx.conf").write_text(text, "utf-8")
    (folder / "main.conf").write_text(NGINX.format(folder=folder), "utf-8")
    return ["/usr/sbin/nginx", "-c", str(folder / "main.conf"), "-p", str(folder)]


@pytest.mark.parametrize("prefix", ["", "/registry"])
@pytest.mark.parametrize("name", ["nginx", "haproxy", "caddy"])
def test_an_image_goes_through(name: str, prefix: str, tmp_path: Path, certificate: Path) -> None:
    if name == "caddy" and not (PEERS / "caddy").exists():
        pytest.skip("caddy not found; `make charts` builds it where there is Go")
    if name != "caddy" and not Path(f"/usr/sbin/{name}").exists():
        lack(f"{name} not found; `make setup` as root on Debian installs it")
    front, back = free_port(), free_port()
    config = "config-prefix.yml" if prefix else "config.yml"
    text = (PROXIES / config).read_text("utf-8")
    text = text.replace("/var/lib/registry", str(tmp_path / "data"))
    (tmp_path / "config.yml").write_text(
        text.replace("addr: :5000", f"addr: 127.0.0.1:{back}"), "utf-8"
    )
    (tmp_path / "data").mkdir()
    behind, direct = Behind(front, prefix), Remote()
    direct.port = back
    serve = [sys.executable, "-m", "jettison", "serve", str(tmp_path / "config.yml")]
    pushed = image([layer({"app": random_bytes(1, 2_000_000)})])  # more than nginx takes by itself
    folder = tmp_path / "proxy"
    folder.mkdir()
    command = proxy(name, prefix, (front, back), folder, certificate)
    with running(serve, tmp_path, direct), running(command, folder, behind):
        assert behind.request("GET", "/v2/").status == 200
        begun = behind.request("POST", "/v2/team/app/blobs/uploads/")
        where = urlsplit(begun.headers["Location"])
        # What clients go to next: by the scheme, the host and the path that they know.
        assert (where.scheme, where.netloc) == ("https", f"127.0.0.1:{front}")
        assert where.path.startswith(f"{prefix}/v2/team/app/blobs/uploads/")
        digest = behind.push("team/app", "1", pushed)
        assert digest == pushed.digest
        assert behind.manifest("team/app", "1").status == 200
        for blob in pushed.blobs():
            got = behind.request("GET", f"/v2/team/app/blobs/{blob.digest}")
            assert got.body == blob.raw
        pages = behind.request("GET", "/v2/_catalog?n=1").headers["Link"]
        assert pages is None or f"{prefix}/v2/_catalog" in pages
        assert behind.delete("team/app", str(digest)) == 202


def test_login_and_tls(tmp_path: Path, certificate: Path) -> None:
    """The configuration and the policy of that example, served with a certificate and a login."""
    need("htpasswd")
    example = PROXIES.parent / "login-and-tls"
    made = ["htpasswd", "-Bbc", str(certificate / "htpasswd"), "ann", "secret"]
    subprocess.run(made, check=True, capture_output=True)
    front = free_port()
    text = (example / "config.yml").read_text("utf-8")
    for before, after in (
        ("/etc/jettison/secrets", str(certificate)),
        ("/etc/jettison/retention.yml", str(example / "retention.yml")),
        ("/var/lib/registry", str(tmp_path / "data")),
        ("addr: :5000", f"addr: 127.0.0.1:{front}"),
    ):
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "data").mkdir()
    (tmp_path / "config.yml").write_text(text, "utf-8")
    served = Behind(front, "")
    serve = [sys.executable, "-m", "jettison", "serve", str(tmp_path / "config.yml")]
    with running(serve, tmp_path, served):
        assert served.request("GET", "/v2/").status == 401
        served.authorization = "Basic " + base64.b64encode(b"ann:secret").decode()
        served.push("app", "1", image([layer({"app": b"1"})]))
        assert served.tags("app") == ["1"]
        assert "retention.yml runs next at" in (tmp_path / "output").read_text("utf-8")


def test_traefik_says_the_same() -> None:
    """Traefik is not here to be run; its file is read."""
    routes = YAML(typ="safe").load((PROXIES / "traefik.yml").read_text("utf-8"))["http"]
    rules = {name: router["rule"] for name, router in routes["routers"].items()}
    assert "PathPrefix(`/v2/`)" in rules["registry"]
    assert "PathPrefix(`/registry/v2/`)" in rules["registry-prefix"]
    assert {router["service"] for router in routes["routers"].values()} == routes["services"].keys()
