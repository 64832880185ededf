"""Credentials of an instance, a container or a web identity, which a service on loopback imitates.

The gateway knows no session tokens: that it refuses one shows that all three parts arrived.
"""

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from jettison.errors import StorageUnavailable
from jettison.storage.objects.bucket import Bucket as OpenBucket
from tests.contract.objects import open_bucket
from tests.support.authority import Authority
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, Bucket

ASSUMED = f"""\
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <Credentials>
      <AccessKeyId>{ACCESS_KEY}</AccessKeyId>
      <SecretAccessKey>{SECRET_KEY}</SecretAccessKey>
      <SessionToken>a-session-token</SessionToken>
      <Expiration>2100-01-01T00:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>
""".encode()
REFUSED = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
ROLE = "/latest/meta-data/iam/security-credentials/"
GIVEN = {
    "Code": "Success",
    "AccessKeyId": ACCESS_KEY,
    "SecretAccessKey": SECRET_KEY,
    "Token": "a-session-token",
    "Expiration": "2100-01-01T00:00:00Z",
}


class Metadata(BaseHTTPRequestHandler):
    asked: list[str]

    def _say(self, body: bytes, status: int = 200) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self._say(b"a-token-of-the-service")

    def do_POST(self) -> None:
        self._say(
            REFUSED if "refused" in self.path else ASSUMED, 403 if "refused" in self.path else 200
        )

    def do_GET(self) -> None:
        self._say(b"role" if self.path == ROLE else json.dumps(GIVEN).encode())

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(authority: Authority | None = None) -> Iterator[str]:
    Metadata.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"{'http' if authority is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def service() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def identity(tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text("of-the-pod")
    return {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/registry",
        "AWS_ROLE_SESSION_NAME": "jettison",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
    }


def read(bucket: Bucket, environment: dict[str, str]) -> None:
    known = open_bucket(bucket).settings
    settings = msgspec.structs.replace(known, access_key=None, secret_key=None)
    with pytest.raises(StorageUnavailable, match="their token is refused") as caught:
        OpenBucket(settings, environment).get("a", 10)
    assert SECRET_KEY not in caught.value.message
    assert "AWS_SESSION_TOKEN" in (caught.value.hint or "")


def test_credentials_of_the_instance(bucket: Bucket, service: str) -> None:
    read(bucket, {"AWS_METADATA_ENDPOINT": service})
    assert Metadata.asked == ["PUT /latest/api/token", f"GET {ROLE}", f"GET {ROLE}role"]


def test_credentials_of_a_container(bucket: Bucket, service: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("of the container")
    names = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    read(bucket, dict(zip(names, (f"{service}/given", str(token)), strict=True)))
    assert Metadata.asked == ["GET /given"]


def test_a_web_identity(bucket: Bucket, identity: dict[str, str], tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with serving(authority) as address:
        places = {"AWS_ENDPOINT_URL_STS": address, "AWS_CA_BUNDLE": str(authority.file)}
        read(bucket, identity | places)
    asked = parse_qs(urlsplit(Metadata.asked[0].removeprefix("POST ")).query)
    assert asked["Action"] == ["AssumeRoleWithWebIdentity"]
    assert asked["WebIdentityToken"] == ["of-the-pod"]
    assert asked["RoleArn"] == [identity["AWS_ROLE_ARN"]]


def test_a_web_identity_without_a_role(
    bucket: Bucket, identity: dict[str, str], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    known = open_bucket(bucket).settings
    settings = msgspec.structs.replace(known, access_key=None, secret_key=None)
    environment = identity | {"AWS_CA_BUNDLE": str(authority.file), "AWS_ROLE_ARN": "refused"}
    with serving(authority) as address:
        environment["AWS_ENDPOINT_URL_STS"] = address
        with pytest.raises(StorageUnavailable, match="token service answers AccessDenied"):
            OpenBucket(settings, environment).get("a", 10)
    with pytest.raises(StorageUnavailable, match="token service does not answer") as caught:
        OpenBucket(settings, environment).get("a", 10)
    assert "AWS_ROLE_ARN" in (caught.value.hint or "")
    assert "of-the-pod" not in str(caught.value)


def test_a_session_token_of_the_environment(bucket: Bucket) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    read(bucket, dict(zip(names, (ACCESS_KEY, SECRET_KEY, "over"), strict=True)))
