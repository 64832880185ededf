"""Credentials of an instance or a container, which a service on loopback imitates.

The gateway knows no session tokens: that it refuses one shows that all three parts arrived.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from jettison.errors import StorageUnavailable
from jettison.storage.objects.bucket import Bucket as OpenBucket
from tests.contract.objects import open_bucket
from tests.support.buckets import ACCESS_KEY, SECRET_KEY, Bucket

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

    def _say(self, body: bytes) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self._say(b"a-token-of-the-service")

    def do_GET(self) -> None:
        self._say(b"role" if self.path == ROLE else json.dumps(GIVEN).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    Metadata.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


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


def test_a_session_token_of_the_environment(bucket: Bucket) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    read(bucket, dict(zip(names, (ACCESS_KEY, SECRET_KEY, "over"), strict=True)))
