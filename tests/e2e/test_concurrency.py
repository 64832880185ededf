"""Case 5: fifty clients that push, mount, retag and delete the same things at once.

Whatever comes of it: a tag is one of the digests that were pushed to it, every image that can be
reached is whole, and nobody was answered with an error of the server's.
"""

import http.client
import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import pytest

from jettison.demo.images import Content, Image, image, layer, random_bytes
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, JettisonRegistry, Response

CLIENTS: Final = 50
BASE = layer({"base": random_bytes("concurrency", 300_000)})
IMAGES = [
    image([BASE, layer({"own": random_bytes(f"concurrency {n}", 2000)})], labels={"n": str(n)})
    for n in range(CLIENTS)
]
BY_DIGEST = {one.digest: one for one in IMAGES}


@pytest.fixture(params=[1, 3], ids=["one-worker", "three-workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DockerRegistry]:
    extra = {"jettison": {"workers": request.param}}
    with JettisonRegistry(tmp_path / "registry", delete=True, extra=extra) as registry:
        yield registry


class Client:
    """One client, with a connection that it keeps."""

    def __init__(self, registry: DockerRegistry, number: int) -> None:
        self.number = number
        self.random = random.Random(number)
        self._connection = http.client.HTTPConnection("127.0.0.1", registry.port, timeout=60)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream"
    ) -> Response:
        headers = {"Content-Type": kind, "Accept": ACCEPT}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        found = Response(answer.status, answer.headers, answer.read())
        self.answers[f"{method} {found.status}"] += 1
        if found.status >= 500:
            self.wrong.append(f"{method} {path}: {found.status} {found.body!r}")
        return found

    def close(self) -> None:
        self._connection.close()

    def upload(self, repo: str, blob: Content, *, ask: bool = False) -> bool:
        if ask and self.request("HEAD", f"/v2/{repo}/blobs/{blob.digest}").status == 200:
            return True
        answer = self.request("POST", f"/v2/{repo}/blobs/uploads/")
        if answer.status != 202:
            return False
        path = urlsplit(answer.headers["Location"]).path
        half = blob.size // 2
        if self.request("PATCH", path, blob.raw[:half]).status != 202:
            return False
        path = f"{path}?digest={quote(blob.digest)}"
        return self.request("PUT", path, blob.raw[half:]).status == 201

    def put(self, repo: str, ref: str, made: Image) -> int:
        path = f"/v2/{repo}/manifests/{ref}"
        return self.request("PUT", path, made.manifest.raw, made.manifest.media_type).status

    def push(self, repo: str, tag: str, made: Image) -> bool:
        """Push; if what was there is deleted meanwhile, again."""
        for _ in range(20):
            uploaded = [self.upload(repo, blob, ask=True) for blob in made.blobs()]
            if all(uploaded) and self.put(repo, tag, made) == 201:
                return True
        self.wrong.append(f"the push of {made.digest} to {repo} was refused again and again")
        return False


def together(server: DockerRegistry, work: Callable[[Client], None]) -> Counter[str]:
    """Let all clients do it at once; return how often each request was answered how."""
    barrier = threading.Barrier(CLIENTS)
    clients = [Client(server, number) for number in range(CLIENTS)]

    def run(client: Client) -> None:
        barrier.wait()
        try:
            work(client)
        except Exception:  # noqa: BLE001 - whatever it is, it is to be told
            client.wrong.append(traceback.format_exc())

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for client in clients:
        client.close()
    wrong = [line for client in clients for line in client.wrong]
    assert not wrong, wrong[:5]
    return sum((client.answers for client in clients), Counter())


def check(server: DockerRegistry, repo: str) -> list[str]:
    """Return the tags of a repository, each of which has its image, whole."""
    tags = server.tags(repo)
    for tag in tags:
        found = server.manifest(repo, tag)
        assert found.status == 200, (tag, found)
        digest = Digest.of(found.body)
        assert found.headers["Docker-Content-Digest"] == digest
        assert digest in BY_DIGEST, tag
        for blob in BY_DIGEST[digest].blobs():
            answer = server.request("GET", f"/v2/{repo}/blobs/{blob.digest}")
            assert answer.status == 200, (tag, blob.digest, answer)
            assert answer.body == blob.raw
        assert server.manifest(repo, digest).status == 200
    return tags


def sound(server: DockerRegistry, jettison: Jettison) -> None:
    report = jettison("fsck", server.storage, "-o", "json", check=None).json
    assert report["flaws"] == []
    for folder in (server.tree / "repositories").rglob("_uploads"):
        assert list(folder.iterdir()) == []
    ours = server.root / "jettison"
    left = [path for path in ours.rglob("*") if path.is_file() and path.parent.name != "pulls"]
    assert left == []


def test_the_same_blob_from_all(server: DockerRegistry, jettison: Jettison) -> None:
    def push(client: Client) -> None:
        assert client.upload("app", BASE)
        assert client.upload(f"other{client.number % 5}", BASE)

    answers = together(server, push)
    assert answers == {"POST 202": 100, "PATCH 202": 100, "PUT 201": 100}
    for repo in ("app", *(f"other{number}" for number in range(5))):
        assert server.request("GET", f"/v2/{repo}/blobs/{BASE.digest}").body == BASE.raw
    assert server.blob_files() == {BASE.digest: BASE.size}
    sound(server, jettison)


def test_the_same_upload_from_all(server: DockerRegistry) -> None:
    """Each piece arrives once, whoever sends it: the others hear that it is not their turn."""
    started = server.request("POST", "/v2/app/blobs/uploads/")
    path = urlsplit(started.headers["Location"]).path
    pieces = [random_bytes(f"piece {n}", 10_000) for n in range(8)]
    took: list[int] = []

    def push(client: Client) -> None:
        for number, piece in enumerate(pieces):
            first = number * len(piece)
            headers = {"Content-Range": f"{first}-{first + len(piece) - 1}"}
            answer = server.request("PATCH", path, headers, piece)
            assert answer.status in {202, 416}, answer
            if answer.status == 202:
                took.append(number)

    together(server, push)
    assert sorted(took) == list(range(len(took)))
    assert took
    raw = b"".join(pieces[: len(took)])
    assert server.request("PUT", f"{path}?digest={Digest.of(raw)}").status == 201
    assert server.request("GET", f"/v2/app/blobs/{Digest.of(raw)}").body == raw


def test_the_same_tag_with_other_images(server: DockerRegistry, jettison: Jettison) -> None:
    def push(client: Client) -> None:
        made = IMAGES[client.number]
        assert client.push("app", "latest", made)
        found = client.request("GET", "/v2/app/manifests/latest")
        assert Digest.of(found.body) in BY_DIGEST
        assert client.push("app", f"own{client.number}", made)

    answers = together(server, push)
    assert {what.split()[0] for what, _ in answers.items() if " 4" in what} <= {"HEAD"}
    assert len(check(server, "app")) == CLIENTS + 1
    sound(server, jettison)


def delete(client: Client, path: str) -> None:
    assert client.request("DELETE", path).status in {202, 404, 405}


def mount(client: Client, repo: str, other: str) -> None:
    path = f"/v2/{repo}/blobs/uploads/?mount={quote(BASE.digest)}&from={other}"
    if client.request("POST", path).status == 201:
        found = client.request("GET", f"/v2/{repo}/blobs/{BASE.digest}")
        assert found.status == 404 or found.body == BASE.raw


def pull(client: Client, repo: str, tag: str) -> None:
    client.request("GET", f"/v2/{repo}/tags/list")
    found = client.request("GET", f"/v2/{repo}/manifests/{tag}")
    assert found.status == 404 or Digest.of(found.body) in BY_DIGEST


def operate(client: Client) -> None:
    """Do any of what clients do, to a few things only."""
    choose = client.random.choice
    made, tag, repo = choose(IMAGES[:6]), choose("abcd"), choose(["app", "team/other"])
    manifests, blobs = f"/v2/{repo}/manifests", f"/v2/{repo}/blobs"
    ways: list[Callable[[], object]] = [
        lambda: client.push(repo, tag, made),
        lambda: client.push(repo, tag, made),
        lambda: client.put(repo, tag, made),
        lambda: mount(client, repo, "app" if repo != "app" else "team/other"),
        lambda: delete(client, f"{manifests}/{tag}"),
        lambda: delete(client, f"{manifests}/{made.digest}"),
        lambda: delete(client, f"{blobs}/{choose(made.blobs()).digest}"),
        lambda: pull(client, repo, tag),
    ]
    choose(ways)()


def test_everything_at_once(server: DockerRegistry, jettison: Jettison) -> None:
    end = time.monotonic() + 3

    def work(client: Client) -> None:
        while time.monotonic() < end:
            operate(client)

    answers = together(server, work)
    for seen in ("PUT 201", "DELETE 202", "DELETE 404", "DELETE 405", "POST 201", "GET 200"):
        assert answers[seen] > 0, answers
    for repo in ("app", "team/other"):
        check(server, repo)
    for path in (server.root / "jettison" / "leaving").glob("*"):
        assert not path.exists()
    assert jettison("fsck", server.storage, "-o", "json", check=None).json["damage"] == 0


def test_a_put_that_meets_a_delete_leaves_no_tag_that_leads_nowhere(
    server: DockerRegistry, jettison: Jettison
) -> None:
    made = IMAGES[0]
    server.push("app", "first", made)
    end = time.monotonic() + 1.5

    def work(client: Client) -> None:
        path = f"/v2/app/manifests/{made.digest}"
        while time.monotonic() < end:
            if client.number % 2:
                assert client.request("DELETE", path).status in {202, 404}
            else:
                assert client.put("app", f"t{client.number}", made) == 201
                found = client.request("GET", f"/v2/app/manifests/t{client.number}")
                assert found.status == 404 or found.body == made.manifest.raw

    answers = together(server, work)
    assert answers["DELETE 202"] > 5
    check(server, "app")
    report = jettison("fsck", server.storage, "-o", "json", check=None).json
    assert report["damage"] == 0, report
