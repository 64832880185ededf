"""Case 6: ten minutes of pushes, pulls and deletions from 64 connections, and nothing grows.

`SOAK_SECONDS=180` in the environment makes it shorter.
"""

import http.client
import json
import os
import random
import socket
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from jettison.demo.images import Content, Image, image, index, layer, random_bytes, referrer
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, JettisonRegistry, Response

CONNECTIONS: Final = 64
SECONDS: Final = float(os.environ.get("SOAK_SECONDS", "600"))
SETTLED: Final = min(120.0, SECONDS / 3)
"""Seconds after which memory must not grow any more."""
MOST_GROWTH: Final = 1.3
REPOSITORIES: Final = [f"team{number}/app" for number in range(12)]
TAGS: Final = [f"v{number}" for number in range(20)]
SIZES: Final = [1_000, 20_000, 60_000, 70_000, 400_000, 3_000_000]

_LAYERS = [
    layer({"own": random_bytes(f"load {number}", SIZES[number % len(SIZES)])})
    for number in range(60)
]
_IMAGES = [
    image([_LAYERS[number % 7], _LAYERS[number % 60]], labels={"number": str(number)})
    for number in range(240)
]
_ABOUT = [referrer(one, "application/sbom", b"about it") for one in _IMAGES[:40]]
POOL: Final = [*_IMAGES, *_ABOUT]
INDEXES: Final = [index([_IMAGES[n], _IMAGES[n + 1]]) for n in range(0, 40, 2)]
KNOWN: Final = {one.digest for one in POOL} | {one.digest for one in INDEXES}


class Figures(NamedTuple):
    """What a process uses."""

    resident: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Figures":
        process = Path(f"/proc/{pid}")
        pages = int((process / "statm").read_text(encoding="ascii").split()[1])
        descriptors = len(list((process / "fd").iterdir()))
        threads = len(list((process / "task").iterdir()))
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads)


class Client:
    """One connection, on which one thing is done after the other."""

    def __init__(self, port: int, number: int) -> None:
        self.random = random.Random(number)
        self.port = port
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "application/octet-stream",
        **headers: str,
    ) -> Response:
        sent = {"Content-Type": kind, "Accept": ACCEPT, **headers}
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        found = Response(answer.status, answer.headers, answer.read())
        self.answers[f"{method} {found.status}"] += 1
        if found.status >= 500:
            self.wrong.append(f"{method} {path}: {found.status} {found.body!r}")
        return found

    def work(self, end: float) -> None:
        ways = [
            *[self.pull] * 8,
            *[self.push] * 6,
            *[self.delete] * 3,
            self.untag,
            self.push_index,
            self.list,
            self.give_up,
            self.mistake,
            self.vanish,
        ]
        try:
            while time.monotonic() < end and not self.wrong:
                self.random.choice(ways)(self.random.choice(REPOSITORIES))
        except Exception:  # noqa: BLE001 - whatever it is, it is to be told
            self.wrong.append(traceback.format_exc())
        finally:
            self._connection.close()

    def pull(self, repo: str) -> None:
        found = self.request("GET", f"/v2/{repo}/manifests/{self.random.choice(TAGS)}")
        if found.status != 200:
            return
        assert Digest.of(found.body) in KNOWN
        self.request("GET", f"/v2/{repo}/referrers/{Digest.of(found.body)}")
        for one in json.loads(found.body).get("layers", []):
            blob = self.request("GET", f"/v2/{repo}/blobs/{one['digest']}")
            assert blob.status == 404 or Digest.of(blob.body) == one["digest"]
        self.answers["pulls"] += 1

    def push(self, repo: str) -> None:
        self._push(repo, self.random.choice(POOL), self.random.choice(TAGS))

    def push_index(self, repo: str) -> None:
        made = self.random.choice(INDEXES)
        for one in made.members:
            assert isinstance(one, Image)
            self._push(repo, one, one.digest)
        self._put(repo, made.manifest, self.random.choice(TAGS))

    def _push(self, repo: str, made: Image, ref: str) -> None:
        for blob in made.blobs():
            if self.request("HEAD", f"/v2/{repo}/blobs/{blob.digest}").status == 404:
                self._upload(repo, blob)
        self._put(repo, made.manifest, ref)

    def _put(self, repo: str, manifest: Content, ref: str) -> None:
        path = f"/v2/{repo}/manifests/{ref}"
        answer = self.request("PUT", path, manifest.raw, manifest.media_type)
        assert answer.status in {201, 400}, answer  # 400: deleted since
        self.answers["pushes"] += answer.status == 201

    def _upload(self, repo: str, blob: Content) -> None:
        path, way = f"/v2/{repo}/blobs/uploads/", self.random.random()
        if way < 0.3:
            assert (
                self.request("POST", f"{path}?digest={quote(blob.digest)}", blob.raw).status == 201
            )
            return
        if way < 0.6:
            path = f"{path}?mount={quote(blob.digest)}"
        answer = self.request("POST", path)
        if answer.status == 201:
            return
        path = urlsplit(answer.headers["Location"]).path
        sent, step = 0, max(1, blob.size // self.random.randint(1, 4))
        while sent < blob.size and way > 0.8:
            piece = blob.raw[sent : sent + step]
            content = {"Content-Range": f"{sent}-{sent + len(piece) - 1}"}
            assert self.request("PATCH", path, piece, **content).status == 202
            sent += len(piece)
        path = f"{path}?digest={quote(blob.digest)}"
        assert self.request("PUT", path, blob.raw[sent:]).status == 201

    def delete(self, repo: str) -> None:
        found = self.request("HEAD", f"/v2/{repo}/manifests/{self.random.choice(TAGS)}")
        if found.status == 200:
            digest = found.headers["Docker-Content-Digest"]
            self.answers["deletions"] += 1
            self.request("DELETE", f"/v2/{repo}/manifests/{digest}")

    def untag(self, repo: str) -> None:
        self.request("DELETE", f"/v2/{repo}/manifests/{self.random.choice(TAGS)}")

    def list(self, repo: str) -> None:
        self.request("GET", f"/v2/{repo}/tags/list?n=5")
        self.request("GET", "/v2/_catalog?n=7")

    def give_up(self, repo: str) -> None:
        answer = self.request("POST", f"/v2/{repo}/blobs/uploads/")
        path = urlsplit(answer.headers["Location"]).path
        self.request("PATCH", path, b"x" * 50_000)
        assert self.request("GET", path).status == 204
        assert self.request("DELETE", path).status == 204

    def mistake(self, repo: str) -> None:
        for method, path in (
            ("GET", f"/v2/{repo}/manifests/..%2f"),
            ("GET", "/v2/UPPER/tags/list"),
            ("PUT", f"/v2/{repo}/manifests/v1"),
            ("PATCH", f"/v2/{repo}/blobs/uploads/nothing"),
            ("POST", f"/v2/{repo}/blobs/uploads/?digest={Digest.of(b'other')}"),
            ("POST", "/v2/"),
        ):
            # 301: a path with dots is cleaned first, as in Distribution.
            assert 301 <= self.request(method, path, b"{}").status < 500

    def vanish(self, repo: str) -> None:
        """Go away in the middle of an upload, and in the middle of a download."""
        upload = f"POST /v2/{repo}/blobs/uploads/?digest={Digest.of(b'x')} HTTP/1.1\r\n"
        blob = f"GET /v2/{repo}/blobs/{_LAYERS[5].digest} HTTP/1.1\r\n"
        for head in (f"{upload}Content-Length: 1000000\r\n", blob):
            with socket.create_connection(("127.0.0.1", self.port)) as gone:
                gone.sendall(f"{head}Host: x\r\n\r\n".encode() + b"y" * (head != blob))
                gone.settimeout(1)
                if head == blob:
                    gone.recv(1000)


def load(server: DockerRegistry, pid: int, seconds: float) -> tuple[list[Figures], Counter[str]]:
    """Let all connections do what they do; return the server's figures, two a second."""
    end = time.monotonic() + seconds
    clients = [Client(server.port, number) for number in range(CONNECTIONS)]
    threads = [threading.Thread(target=one.work, args=(end,)) for one in clients]
    for thread in threads:
        thread.start()
    figures = []
    while time.monotonic() < end and not any(client.wrong for client in clients):
        figures.append(Figures.of(pid))
        time.sleep(0.5)
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    wrong = [line for client in clients for line in client.wrong]
    assert not wrong, wrong[:3]
    return figures, sum((client.answers for client in clients), Counter())


@pytest.mark.soak
def test_nothing_grows_under_load(tmp_path: Path, jettison: Jettison) -> None:
    with JettisonRegistry(tmp_path / "registry", delete=True) as server:
        process = vars(server)["_process"]
        before = Figures.of(process.pid)
        figures, answers = load(server, process.pid, SECONDS)
        time.sleep(2)
        after = Figures.of(process.pid)
        for repo in REPOSITORIES:
            uploads = server.tree / "repositories" / repo / "_uploads"
            assert list(uploads.iterdir()) == []
    told = f"{before} {figures[:: max(1, len(figures) // 10)]} {after} {answers}"
    print(f"\n{told}")  # noqa: T201 - what `pytest -s` is asked for
    first = figures[round(SETTLED / SECONDS * len(figures)) :]
    window = max(1, len(first) // 6)
    start, end = first[:window], first[-window:]
    settled = max(one.resident for one in start)
    assert max(one.resident for one in end) <= MOST_GROWTH * settled, told
    assert max(one.threads for one in first) == first[0].threads, told
    # Connections that clients broke off are there until the server meets their end.
    most = max(one.descriptors for one in start) + CONNECTIONS
    assert max(one.descriptors for one in end) <= most, told
    assert after.descriptors <= before.descriptors + 2, told
    for what in ("pushes", "pulls", "deletions"):
        assert answers[what] > SECONDS, told
    assert jettison("fsck", server.storage, "-o", "json", check=None).json["damage"] == 0
