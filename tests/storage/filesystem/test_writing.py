"""The lock of those who write to a repository."""

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from jettison.storage.filesystem.tree import StorageTree
from tests.support.trees import repo

APP = repo("team/app")


@pytest.fixture
def tree(tmp_path: Path) -> StorageTree:
    return StorageTree.make(tmp_path)


def test_a_lock_is_never_that_of_a_folder_which_is_gone(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = tree.root / "docker/registry/v2/repositories/team/app/_manifests"
    with tree.writing(APP):
        assert not manifests.exists()
    flock = fcntl.flock
    calls = 0

    def meet(descriptor: int, kind: int) -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            manifests.rmdir()
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", meet)
    with tree.writing(APP, make=True):
        assert manifests.exists()
        other = os.open(manifests, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    assert calls == 3


def test_where_folders_cannot_be_locked_a_file_is(
    tree: StorageTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def nfs(descriptor: int, kind: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", nfs)
    with tree.writing(APP, make=True):
        other = os.open(tree.root / "jettison" / "writing", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
