"""Uploads in a tree, where something goes wrong or somebody else removes what is empty."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.store.layout import blob_data
from jettison.store.tree import StorageTree
from jettison.store.uploads import UploadFile, start_upload
from store.trees import repo

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

    monkeypatch.setattr("jettison.store.draft.adopt", fail)
    with pytest.raises(StorageError, match="No space left"):
        start_upload(tree, APP)
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
    with UploadFile.open(tree, APP, start_upload(tree, APP)) as upload:
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

    name = start_upload(tree, APP)
    with UploadFile.open(tree, APP, name) as upload:
        upload.append([b"blob"])
        with monkeypatch.context() as patched:
            patched.setattr(tree, failing, fail)
            with pytest.raises(StorageError):
                upload.commit(Digest.of(b"blob"))
    if failing == "link_layer":
        assert list(folder(tree).iterdir()) == []
        return
    with UploadFile.open(tree, APP, name) as upload:
        upload.commit(Digest.of(b"blob"))
    assert (tree.root / blob_data(Digest.of(b"blob"))).read_bytes() == b"blob"
