"""Uploads that were given up are removed; those under way are not."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from jettison.configuration.settings import UploadPurging
from jettison.errors import NotFoundError, StorageError
from jettison.model.names import RepoName
from jettison.server import purging as module
from jettison.server.purging import keep_purging, purge_uploads
from jettison.storage.filesystem.tree import StorageTree

if TYPE_CHECKING:
    from jettison.server.api.context import Context

DAY = 86_400.0


@pytest.fixture
def tree(tmp_path: Path) -> StorageTree:
    return StorageTree.make(tmp_path)


def upload(tree: StorageTree, repository: str, days: float, raw: bytes = b"abc") -> Path:
    """An upload that was begun and last added to so many days ago."""
    name = tree.uploading().start(RepoName(repository))
    with tree.uploading().open(RepoName(repository), name) as opened:
        opened.append([raw])
    folder = tree.root / f"docker/registry/v2/repositories/{repository}/_uploads/{name}"
    when = time.time() - days * DAY
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (when, when))
    return folder


def test_only_those_go_to_which_nothing_was_added(tree: StorageTree) -> None:
    old = [upload(tree, "a", 8), upload(tree, "a/b", 30, b"12345")]
    young = upload(tree, "a", 6)
    moving = upload(tree, "a", 8)
    os.utime(moving / "data")
    before = time.time() - 7 * DAY
    assert purge_uploads(tree, before, dry_run=True)[0] == 2
    assert all(one.exists() for one in old)
    count, size = purge_uploads(tree, before)
    assert count == 2
    assert size >= 8
    assert not any(one.exists() for one in old)
    assert young.exists()
    assert moving.exists()
    assert purge_uploads(tree, before) == (0, 0)


def test_one_that_was_purged_is_gone_for_its_client(tree: StorageTree) -> None:
    name = upload(tree, "a", 8).name
    purge_uploads(tree, time.time())
    with pytest.raises(NotFoundError):
        tree.uploading().open(RepoName("a"), name)


class Waiting:
    """What purging needs of a context."""

    def __init__(self, tree: StorageTree) -> None:
        self.storage = tree
        self.executor = ThreadPoolExecutor(1)

    async def run(
        self, client: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        assert not client  # the server itself
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, lambda: function(*args, **kwargs))


async def purged(tree: StorageTree, settings: UploadPurging, condition: Callable[[], bool]) -> None:
    task = asyncio.create_task(keep_purging(cast("Context", Waiting(tree)), settings))
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


async def test_it_goes_on_also_after_an_error(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = upload(tree, "a", 8)
    settings = UploadPurging(interval=0.01)
    with monkeypatch.context() as patch:

        def failing(*_: object, **__: object) -> tuple[int, int]:
            patch.undo()
            raise StorageError("an error of the disk")

        patch.setattr(module, "purge_uploads", failing)
        await purged(tree, settings, lambda: not old.exists())
    assert "uploads were not purged: an error of the disk" in caplog.text
    later = upload(tree, "a", 8)
    await purged(tree, settings, lambda: not later.exists())


async def test_a_dry_run_removes_nothing(
    tree: StorageTree, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    old = upload(tree, "a", 8)
    settings = UploadPurging(interval=0.01, dry_run=True)
    await purged(tree, settings, lambda: "would be purged" in caplog.text)
    assert old.exists()
