"""A backup is whole and on the disk, whoever else writes to it, and damage in it is found out."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jettison.demo.images import image, index, layer
from jettison.errors import JettisonError, StorageError, VerificationFailed
from jettison.jobs.backup import Backup
from jettison.model.digest import Digest
from jettison.model.journal import SavedManifest
from jettison.model.names import RepoName, Tag
from jettison.progress import silent
from tests.support.memory import MemoryRegistry

APP = RepoName("app")
BASE = layer({"base": b"base"})
ONE = image([BASE, layer({"app": b"1"})])
TWO = image([BASE, layer({"app": b"2"})], architecture="arm64")
BOTH = index([ONE, TWO])


@pytest.fixture
def registry() -> MemoryRegistry:
    made = MemoryRegistry()
    made.push(APP, "all", BOTH)
    made.push(APP, "one", ONE)
    return made


def saved(registry: MemoryRegistry, tag: str) -> SavedManifest:
    here = registry.found[APP]
    found = here.manifests[here.tags[Tag(tag)]]
    return SavedManifest(APP, found.digest, found.media_type, found.raw, (Tag(tag),))


async def test_what_an_index_lists_is_saved_with_it(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    backup = Backup(tmp_path / "backup")
    await backup.save(registry, [saved(registry, "all")], silent)
    again = Backup(tmp_path / "backup")
    for one in (*BOTH.manifests(), *BOTH.blobs()):
        assert again.has_whole(one.digest)
    assert again.manifest(ONE.digest) == ONE.manifest.raw


async def test_half_a_file_is_no_backup_and_is_fetched_again(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    await Backup(tmp_path).save(registry, [saved(registry, "one")], silent)
    path = tmp_path / "blobs" / "sha256" / BASE.digest.hex
    path.write_bytes(BASE.raw[:-1])
    assert not Backup(tmp_path).has_whole(BASE.digest)
    await Backup(tmp_path).save(registry, [saved(registry, "one")], silent)
    assert Backup(tmp_path).has_whole(BASE.digest)


async def test_runs_share_a_backup(registry: MemoryRegistry, tmp_path: Path) -> None:
    await asyncio.gather(
        *(Backup(tmp_path).save(registry, [saved(registry, tag)], silent) for tag in ("one", "all"))
    )
    listed = json.loads((tmp_path / "index.json").read_bytes())["manifests"]
    names = [one["annotations"]["org.opencontainers.image.ref.name"] for one in listed]
    assert sorted(names) == ["app:all", "app:one"]
    assert not any(name.endswith(".tmp") for _, _, names in os.walk(tmp_path) for name in names)


async def test_every_file_and_folder_is_synced(
    registry: MemoryRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "new" / "backup"
    await Backup(folder).save(registry, [saved(registry, "all")], silent)
    for path in (tmp_path, tmp_path / "new", folder, *folder.rglob("*")):
        assert (path.stat().st_dev, path.stat().st_ino) in synced, path


async def test_no_link_is_followed(registry: MemoryRegistry, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "blobs").symlink_to(outside)
    with pytest.raises(StorageError, match="nothing was removed"):
        await Backup(tmp_path / "backup").save(registry, [saved(registry, "one")], silent)
    assert list(outside.iterdir()) == []


async def test_a_blob_that_is_gone_ends_it(registry: MemoryRegistry, tmp_path: Path) -> None:
    del registry.found[APP].blobs[BASE.digest]
    with pytest.raises(JettisonError, match="would be incomplete"):
        await Backup(tmp_path).save(registry, [saved(registry, "one")], silent)


async def test_no_more_is_fetched_than_a_blob_has(tmp_path: Path) -> None:
    """A registry may send a blob without end, whatever its manifest says of it."""

    class Endless(MemoryRegistry):
        fetched = 0

        async def read_blob(
            self, repository: RepoName, digest: Digest, *, size: int | None = None
        ) -> AsyncIterator[bytes]:
            del repository, digest
            assert size is not None
            while self.fetched <= size:
                self.fetched += 1
                yield b"x"
            raise VerificationFailed("more bytes than it has")

    registry = Endless()
    registry.push(APP, "one", ONE)
    with pytest.raises(JettisonError, match="would be incomplete"):
        await Backup(tmp_path).save(registry, [saved(registry, "one")], silent)
    assert registry.fetched <= max(blob.size for blob in ONE.blobs()) + 1
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_other_bytes_are_not_saved(registry: MemoryRegistry, tmp_path: Path) -> None:
    registry.found[APP].blobs[BASE.digest] = b"x" * BASE.size
    with pytest.raises(JettisonError, match="would be incomplete"):
        await Backup(tmp_path).save(registry, [saved(registry, "one")], silent)
    assert not Backup(tmp_path).has_whole(BASE.digest)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("size", [1 << 60, (1 << 63) - 1])
async def test_what_has_no_room_is_not_begun(
    registry: MemoryRegistry, tmp_path: Path, size: int
) -> None:
    raw = ONE.manifest.raw.replace(f'"size":{BASE.size}'.encode(), f'"size":{size}'.encode())
    assert raw != ONE.manifest.raw
    found = Digest.of(raw)
    entry = SavedManifest(APP, found, ONE.manifest.media_type, raw, ())
    with pytest.raises(StorageError, match="there is room for"):
        await Backup(tmp_path).save(registry, [entry], silent)
