"""A small body costs one call of a thread, and one that comes slowly does not stay in memory."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.model.digest import Digest
from jettison.storage.filesystem.tree import StorageTree
from tests.server.application import Application

RAW = b"some bytes"
BLOB = Digest.of(RAW)


class Registry(Application):
    """The application on a tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(StorageTree.make(root))

    def uploaded(self) -> bytes:
        """Return what the only upload under way has on the disk."""
        [found] = self.root.glob("docker/registry/v2/repositories/app/_uploads/*/data")
        return found.read_bytes()

    async def until_uploaded(self, raw: bytes, held: int = 0) -> None:
        """Wait until that is what :meth:`uploaded` returns, and so many bytes count as held."""
        async with asyncio.timeout(10):
            while (self.uploaded(), self.buffers.used) != (raw, held):  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)  # tells nobody that it grows


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    made = Registry(tmp_path)
    yield made
    made.placement.let_go()


async def test_each_request_of_a_push_takes_one_call_of_a_thread(registry: Registry) -> None:
    image = images.image([images.layer({"file": b"x"})])
    for blob in image.blobs():
        target = await registry.begin()
        assert registry.threads.calls == 1
        status, _, _ = await registry.ask("PUT", f"{target}&digest={blob.digest}", [blob.raw])
        assert (status, registry.threads.calls) == (201, 2)
        registry.threads.calls = 0
    kind = {"Content-Type": image.manifest.media_type}
    status, _, _ = await registry.ask("PUT", "/v2/app/manifests/1", [image.manifest.raw], kind)
    assert (status, registry.threads.calls) == (201, 1)
    assert (await registry.ask("GET", "/v2/app/manifests/1"))[0] == 404  # it is of OCI's type
    accept = {"Accept": "*/*"}
    status, _, body = await registry.ask("GET", "/v2/app/manifests/1", headers=accept)
    assert (status, body) == (200, image.manifest.raw)
    assert registry.threads.calls == 1


async def test_so_do_a_chunk_and_a_blob_in_one_request(registry: Registry) -> None:
    target = await registry.begin()
    assert (await registry.ask("PATCH", target, [RAW[:3], RAW[3:]]))[0] == 202
    assert registry.threads.calls == 2
    assert (await registry.ask("PUT", f"{target}&digest={BLOB}"))[0] == 201
    assert registry.threads.calls == 3
    other = Digest.of(b"other")
    whole = f"/v2/app/blobs/uploads/?digest={other}"
    assert (await registry.ask("POST", whole, [b"oth", b"er"]))[0] == 201
    assert registry.threads.calls == 4
    assert (await registry.ask("GET", f"/v2/app/blobs/{other}"))[2] == b"other"
    assert (await registry.ask("POST", whole, [b"otter"]))[0] == 400


@pytest.mark.parametrize("end", [b"last", None])
async def test_what_comes_slowly_is_on_the_disk_before_the_rest(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, end: bytes | None
) -> None:
    monkeypatch.setattr("jettison.server.api.uploads._SOON", 0.01)
    first = bytes(20_000)
    target, go_on = await registry.begin(), asyncio.Event()
    asked = asyncio.create_task(registry.ask("PATCH", target, [first, go_on, end]))
    await registry.until_uploaded(first)
    go_on.set()
    assert (await asked)[0] == (202 if end else 499)
    assert registry.uploaded() == first + (end or b"")


async def test_what_came_of_a_client_that_went_away_is_kept(registry: Registry) -> None:
    target = await registry.begin()
    assert (await registry.ask("PATCH", target, [RAW, None]))[0] == 499
    assert registry.uploaded() == RAW
    assert registry.buffers.used == 0
    assert (await registry.ask("PUT", f"{target}&digest={BLOB}"))[0] == 201


async def test_nothing_is_held_back_where_much_is_held_already(registry: Registry) -> None:
    registry.buffers.take(400_000)
    target, go_on = await registry.begin(), asyncio.Event()
    first = bytes(20_000)
    asked = asyncio.create_task(registry.ask("PATCH", target, [first, go_on, b"last"]))
    await registry.until_uploaded(first, held=400_000)
    go_on.set()
    assert (await asked)[0] == 202
    assert registry.buffers.used == 400_000


async def test_what_could_not_be_written_is_not_in_the_digest(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, lost, other = bytes(20_000), b"a" * 20_000, b"b" * 20_000
    target = await registry.begin()
    monkeypatch.setattr("jettison.server.api.uploads._SMALL", 0)
    assert (await registry.ask("PATCH", target, [good, b""]))[0] == 202

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", fail)
        assert (await registry.ask("PATCH", target, [lost, b""]))[0] == 500
    assert registry.uploaded() == good
    assert (await registry.ask("PATCH", target, [other, b""]))[0] == 202
    wrong = Digest.of(good + lost)
    status, _, body = await registry.ask("PUT", f"{target}&digest={wrong}")
    assert (status, str(Digest.of(good + other)) in body.decode()) == (400, True)
    assert registry.buffers.used == 0
