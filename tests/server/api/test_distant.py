"""A storage whose answers take a round trip: threads ask it, and clients fetch blobs there."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from jettison.configuration.settings import Endpoint, Notifications, Storage
from jettison.demo import images
from jettison.errors import NotFoundError, StorageError, SweptMeanwhile
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from tests.server.application import Application
from tests.server.asking import LARGE
from tests.server.observing.sinks import Sink, serving
from tests.support.distant import DistantServing, DistantStorage, DistantUpload

APP = RepoName("app")
RAW = b"some bytes"
BLOB = Digest.of(RAW)
ACCEPT = {"accept": "*/*"}
ORIGIN = "https://store.example"
IMAGE = images.image([images.layer({"file": b"x"})])


class SweptServing(DistantServing):
    """What is asked of that one."""

    def __init__(self, storage: "Sweeping") -> None:
        super().__init__(storage.memory, None)
        self._storage = storage

    def touch_layer(self, repository: RepoName, digest: Digest, size: int | None = None) -> bool:
        self._storage.sweep()
        return super().touch_layer(repository, digest, size)


class Sweeping(DistantStorage):
    """In which a collection takes what the next pushes rely on, so often."""

    swept = 0

    def serving(self) -> SweptServing:
        return SweptServing(self)

    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        self.sweep()
        super().put_manifest(repository, digest, raw, tags)

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        self.sweep()
        super().link_layer(repository, digest)

    def sweep(self) -> None:
        if self.swept:
            self.swept -= 1
            raise SweptMeanwhile("a collection has taken what is relied on")


@pytest.fixture
async def storage() -> Sweeping:
    return Sweeping()


@pytest.fixture
async def app(storage: Sweeping) -> AsyncIterator[Application]:
    made = Application(storage)
    yield made
    made.placement.let_go()


async def push(app: Application, tag: str = "1") -> int:
    for blob in IMAGE.blobs():
        target = await app.begin()
        status, _, _ = await app.ask("PUT", f"{target}&digest={blob.digest}", [blob.raw])
        assert status == 201
    kind = {"content-type": IMAGE.manifest.media_type}
    status, _, _ = await app.ask("PUT", f"/v2/app/manifests/{tag}", [IMAGE.manifest.raw], kind)
    return status


async def test_each_request_of_a_pull_takes_one_call_of_a_thread(app: Application) -> None:
    assert await push(app) == 201
    wanted = ["manifests/1", f"manifests/{IMAGE.digest}"]
    wanted += [f"blobs/{blob.digest}" for blob in IMAGE.blobs()]
    for path in (*wanted, "tags/list"):
        for method in ("HEAD", "GET"):
            before = app.threads.calls
            status, _, _ = await app.ask(method, f"/v2/app/{path}", headers=ACCEPT)
            assert (status, app.threads.calls - before) == (200, 1), (method, path)


async def test_a_large_blob_is_read_by_threads(app: Application) -> None:
    digest = Digest.of(LARGE)
    target = await app.begin()
    pieces = [LARGE[start : start + 50_000] for start in range(0, len(LARGE), 50_000)]
    status, _, _ = await app.ask("PATCH", target, pieces)
    assert status == 202
    status, _, _ = await app.ask("PUT", f"{target}&digest={digest}")
    assert status == 201
    status, _, body = await app.ask("GET", f"/v2/app/blobs/{digest}")
    assert (status, body) == (200, LARGE)
    status, _, body = await app.ask("GET", f"/v2/app/blobs/{digest}", headers={"range": "bytes=5-"})
    assert (status, body) == (206, LARGE[5:])


# Pushes and collections.


async def test_a_manifest_and_a_mount_are_done_again_after_a_collection(
    app: Application, storage: Sweeping
) -> None:
    storage.swept = 10
    assert await push(app) == 201
    assert storage.swept == 0
    storage.swept = 10
    digest = IMAGE.blobs()[0].digest
    status, _, _ = await app.ask("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=app")
    assert (status, storage.swept) == (201, 0)


async def test_so_is_the_question_whether_a_blob_is_there(
    app: Application, storage: Sweeping
) -> None:
    assert await push(app) == 201
    storage.swept = 10
    status, _, _ = await app.ask("HEAD", f"/v2/app/blobs/{IMAGE.blobs()[0].digest}")
    assert (status, storage.swept) == (200, 0)


async def test_a_push_that_is_swept_again_and_again_fails(
    app: Application, storage: Sweeping
) -> None:
    storage.swept = 1000
    assert await push(app) == 500


# Uploads.


async def test_what_came_before_the_client_went_away_can_be_gone_on_from(
    app: Application,
) -> None:
    target = await app.begin()
    many = b"x" * 100_000
    status, _, _ = await app.ask("PATCH", target, [many, None])
    assert status == 499
    status, headers, _ = await app.ask("GET", target)
    assert (status, headers[b"range"]) == (204, b"0-99999")


async def test_the_digest_of_what_another_server_wrote_is_read(
    app: Application, storage: Sweeping
) -> None:
    target = await app.begin()
    status, _, _ = await app.ask("PATCH", target, [b"other byte"])
    assert status == 202
    name = target.partition("?")[0].rpartition("/")[2]

    def rewrite() -> None:
        with storage.uploading().open(APP, name) as upload:
            upload.truncate(0)
            upload.append([RAW])
            upload.flush()

    await asyncio.to_thread(rewrite)
    status, _, _ = await app.ask("PUT", f"{target}&digest={BLOB}")
    assert status == 201


@pytest.mark.parametrize(("asked", "expected"), [(b"first", 400), (b"other", 201)])
async def test_the_digest_of_what_could_not_be_written_is_forgotten(
    app: Application, monkeypatch: pytest.MonkeyPatch, asked: bytes, expected: int
) -> None:
    def fail(upload: DistantUpload) -> None:
        upload.truncate(0)
        raise StorageError("the store fails")

    target = await app.begin()
    with monkeypatch.context() as failing:
        failing.setattr(DistantUpload, "flush", fail)
        status, _, _ = await app.ask("PATCH", target, [b"first"])
        assert status == 500
    status, _, _ = await app.ask("PATCH", target, [b"other"])
    assert status == 202
    status, _, _ = await app.ask("PUT", f"{target}&digest={Digest.of(asked)}")
    assert status == expected


async def test_the_end_of_an_upload_that_another_server_removed_is_told(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: DistantUpload, digest: Digest) -> None:
        raise NotFoundError(f"app has no upload of {digest}")

    target = await app.begin()
    status, _, _ = await app.ask("PATCH", target, [RAW])
    assert status == 202
    with monkeypatch.context() as failing:
        failing.setattr(DistantUpload, "commit", gone)
        status, _, _ = await app.ask("PUT", f"{target}&digest={BLOB}")
    assert status == 404


# Redirects.


@pytest.mark.parametrize("content", [RAW, LARGE], ids=["small", "large"])
async def test_a_client_fetches_a_blob_from_the_store(content: bytes) -> None:
    digest = Digest.of(content)
    storage = DistantStorage(ORIGIN)
    await asyncio.to_thread(storage.put_blob, APP, digest, [content])
    app = Application(storage)
    status, headers, body = await app.ask("GET", f"/v2/app/blobs/{digest}")
    assert (status, body) == (307, b"")
    assert headers[b"location"] == f"{ORIGIN}/{digest.hex}?signature=1".encode()
    status, headers, _ = await app.ask("HEAD", f"/v2/app/blobs/{digest}")
    assert (status, headers[b"content-length"]) == (200, b"%d" % len(content))
    status, _, _ = await app.ask("GET", f"/v2/other/blobs/{digest}")
    assert status == 404


async def test_a_manifest_comes_from_the_server() -> None:
    app = Application(DistantStorage(ORIGIN))
    assert await push(app) == 201
    status, _, body = await app.ask("GET", "/v2/app/manifests/1", headers=ACCEPT)
    assert (status, body) == (200, IMAGE.manifest.raw)


async def test_an_event_tells_the_size_of_a_blob_that_the_store_sends() -> None:
    storage = DistantStorage(ORIGIN)
    await asyncio.to_thread(storage.put_blob, APP, BLOB, [RAW])
    async with serving(Sink()) as found:
        notifications = Notifications((Endpoint("sink", found.url),))
        app = Application(storage, notifications=notifications)
        await app.notifier.start()
        try:
            status, _, _ = await app.ask("GET", f"/v2/app/blobs/{BLOB}")
            [event] = await found.wait_for(1)
        finally:
            await app.notifier.stop(1)
    assert status == 307
    assert event["action"] == "pull"
    assert (event["target"]["digest"], event["target"]["size"]) == (BLOB, len(RAW))


async def test_no_client_is_sent_elsewhere_where_that_is_disabled() -> None:
    storage = DistantStorage(ORIGIN)
    await asyncio.to_thread(storage.put_blob, APP, BLOB, [RAW])
    app = Application(storage, Storage(Path("nowhere"), redirect=False))
    status, _, body = await app.ask("GET", f"/v2/app/blobs/{BLOB}")
    assert (status, body) == (200, RAW)
