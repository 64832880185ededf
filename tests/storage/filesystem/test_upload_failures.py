"""Uploads in a tree, where something goes wrong or somebody else removes what is empty."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from jettison.errors import NotFoundError, NotSynced, StorageError
from jettison.model.digest import Digest
from jettison.storage.filesystem.layout import blob_data
from jettison.storage.filesystem.tree import StorageTree
from tests.support.trees import repo

APP = repo("team/app")


@pytest.fixture
def tree(tmp_path: Path) -> StorageTree:
    return StorageTree.make(tmp_path)


def folder(tree: StorageTree) -> Path:
    return tree.root / "docker/registry/v2/repositories/team/app/_uploads"


def test_an_upload_that_cannot_be_begun_leaves_nothing(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jettison.storage.filesystem.draft.adopt", fail)
    with pytest.raises(StorageError, match="No space left"):
        tree.uploading().start(APP)
    assert list(folder(tree).iterdir()) == []


def test_a_collection_that_removes_empty_folders_is_in_nobodys_way(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = os.mkdir
    seen: list[str] = []
    removed: list[Path] = []

    def meet(name: str, mode: int, *, dir_fd: int) -> None:
        """Let the folder be gone at the moment that something is made in it."""
        above = Path(f"/proc/self/fd/{dir_fd}").readlink()
        path = f"{above}/{name}"
        if path not in seen and above.name not in {"repositories", "blobs"}:
            seen.append(path)
            with contextlib.suppress(OSError):  # it is not empty
                above.rmdir()
                removed.append(above)
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", meet)
    with tree.uploading().open(APP, tree.uploading().start(APP)) as upload:
        upload.append([b"blob"])
        upload.commit(Digest.of(b"blob"))
    assert len(removed) > 2
    assert (tree.root / blob_data(Digest.of(b"blob"))).read_bytes() == b"blob"
    assert list(folder(tree).iterdir()) == []


@pytest.mark.parametrize("failing", ["place_blob", "link_layer"])
def test_a_commit_that_fails_can_be_repeated_or_leaves_nothing(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("no")

    name = tree.uploading().start(APP)
    with tree.uploading().open(APP, name) as upload:
        upload.append([b"blob"])
        with monkeypatch.context() as patched:
            patched.setattr(tree, failing, fail)
            with pytest.raises(StorageError):
                upload.commit(Digest.of(b"blob"))
    if failing == "link_layer":
        assert list(folder(tree).iterdir()) == []
        return
    with tree.uploading().open(APP, name) as upload:
        upload.commit(Digest.of(b"blob"))
    assert (tree.root / blob_data(Digest.of(b"blob"))).read_bytes() == b"blob"


class _FailsOnce:
    """A sync that the disk refuses once, and takes the next time, as Linux does."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._real = os.fsync
        self.failed = 0

    def __call__(self, descriptor: int) -> None:
        if not self.failed and self._path in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            self.failed += 1
            raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)


@pytest.mark.parametrize("early", [True, False])
def test_what_the_disk_refused_once_is_never_made_a_blob(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    name, digest = tree.uploading().start(APP), Digest.of(b"blob")
    with tree.uploading().open(APP, name) as upload:
        upload.append([b"blob"])
        failing = _FailsOnce("_uploads")
        monkeypatch.setattr(os, "fdatasync" if early else "fsync", failing)
        with pytest.raises(NotSynced, match="Input/output error"):
            upload.sync() if early else upload.commit(digest)
        assert failing.failed
        assert upload.size == 0
    with pytest.raises(NotFoundError):
        tree.uploading().open(APP, name)
    assert not (tree.root / blob_data(digest)).exists()
    assert list(folder(tree).iterdir()) == []


@pytest.mark.parametrize("how", ["upload", "manifest", "draft"])
def test_a_blob_that_is_there_and_cannot_be_synced_is_replaced(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    raw, digest = b"{}", Digest.of(b"{}")
    tree.put_blob(APP, digest, [raw])
    path = tree.root / blob_data(digest)
    before = path.stat().st_ino
    failing = _FailsOnce("/data")
    monkeypatch.setattr(os, "fsync", failing)
    if how == "upload":
        name = tree.uploading().start(APP)
        with tree.uploading().open(APP, name) as upload:
            upload.append([raw])
            upload.commit(digest)
    elif how == "manifest":
        tree.put_manifest(APP, digest, raw)
    else:
        tree.put_blob(APP, digest, [raw])
    assert failing.failed
    assert path.stat().st_ino != before
    assert path.read_bytes() == raw


def test_a_blob_that_could_not_be_synced_is_not_trusted_later(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digest.of(b"{}")
    tree.put_blob(APP, digest, [b"{}"])
    path = tree.root / blob_data(digest)
    before = path.stat().st_ino

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StorageError):
            tree.put_blob(APP, digest, [b"{}"])
    assert path.stat().st_ino == before
    tree.put_blob(APP, digest, [b"{}"])  # the disk says now that all is well
    assert path.stat().st_ino != before


@pytest.mark.parametrize("what", ["a link", "a hard link", "a fifo"])
def test_an_upload_is_a_file_of_its_own(tree: StorageTree, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    name = tree.uploading().start(APP)
    data = folder(tree) / name / "data"
    data.unlink()
    if what == "a link":
        data.symlink_to(outside)
    elif what == "a hard link":
        data.hardlink_to(outside)
    else:
        os.mkfifo(data)
    with pytest.raises((StorageError, OSError)):
        tree.uploading().open(APP, name)
    assert outside.read_bytes() == b"outside"
