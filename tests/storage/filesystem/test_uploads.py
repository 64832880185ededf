"""Unfinished uploads: begun, added to, finished, given up, by one or by several."""

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jettison.errors import Locked, NotFoundError, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.filesystem.uploads import UploadFile

REPO = RepoName("team/app")
RAW = b"some bytes"
DIGEST = Digest.of(RAW)


@pytest.fixture
def tree(tmp_path: Path) -> StorageTree:
    return StorageTree.make(tmp_path / "root")


def folder(tree: StorageTree, name: str) -> Path:
    return tree.root / "docker/registry/v2/repositories/team/app/_uploads" / name


def data(tree: StorageTree, digest: Digest = DIGEST) -> Path:
    return tree.root / f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"


def link(tree: StorageTree, digest: Digest = DIGEST) -> Path:
    top = tree.root / "docker/registry/v2/repositories/team/app/_layers/sha256"
    return top / digest.hex / "link"


def opened(tree: StorageTree, name: str, patience: float = 0.0) -> UploadFile:
    end = time.monotonic() + patience
    while True:
        try:
            return tree.uploading().open(REPO, name)
        except Locked:
            if time.monotonic() >= end:
                raise
        time.sleep(0.01)


def test_it_lies_where_distribution_keeps_its_own(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    assert sorted(path.name for path in folder(tree, name).iterdir()) == ["data", "startedat"]
    started = datetime.fromisoformat((folder(tree, name) / "startedat").read_text())
    assert abs((datetime.now(UTC) - started).total_seconds()) < 5
    assert (folder(tree, name) / "data").read_bytes() == b""


def test_it_is_added_to_by_one_after_the_other(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW[:3]])
        upload.append([RAW[3:4], b"", RAW[4:5]])
        assert upload.size == 5
    with opened(tree, name) as upload:
        assert upload.size == 5
        upload.append([RAW[5:]])
        assert upload.read(2, 4) == RAW[2:6]
        assert upload.read(8, 100) == RAW[8:]


def test_finished_it_is_a_blob_of_the_repository_and_gone(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.commit(DIGEST)
    assert data(tree).read_bytes() == RAW
    assert link(tree).read_text() == DIGEST
    assert not folder(tree, name).exists()
    assert folder(tree, name).parent.exists()


def test_a_blob_that_is_there_is_touched_and_kept(tree: StorageTree) -> None:
    tree.put_blob(RepoName("other"), DIGEST, [RAW])
    os.utime(data(tree), (0, 0))
    inode = data(tree).stat().st_ino
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.commit(DIGEST)
    assert data(tree).stat().st_ino == inode
    assert data(tree).stat().st_mtime > time.time() - 60
    assert not folder(tree, name).exists()


def test_a_blob_of_another_length_is_replaced(tree: StorageTree) -> None:
    tree.put_blob(REPO, DIGEST, [RAW])
    data(tree).write_bytes(b"")
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.commit(DIGEST)
    assert data(tree).read_bytes() == RAW


def test_only_one_may_write(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name):
        began = time.monotonic()
        with pytest.raises(Locked, match=name):
            opened(tree, name, 0.1)
        assert 0.1 <= time.monotonic() - began < 5
    with opened(tree, name):
        pass


def test_who_waits_comes_next(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    sizes = []

    def wait() -> None:
        with opened(tree, name, 10) as upload:
            sizes.append(upload.size)

    with opened(tree, name) as upload:
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        upload.append([RAW])
        assert not sizes
    waiting.join(10)
    assert sizes == [len(RAW)]


@pytest.mark.parametrize("end", ["commit", "remove"])
def test_who_waited_for_one_that_ended_finds_nothing(tree: StorageTree, end: str) -> None:
    name = tree.uploading().start(REPO)
    found: list[BaseException] = []

    def wait() -> None:
        try:
            with opened(tree, name, 10) as late:
                late.append([b"this must not get into the blob"])
        except NotFoundError as error:
            found.append(error)

    with opened(tree, name) as upload:
        upload.append([RAW])
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.15)
        if end == "commit":
            upload.commit(DIGEST)
        else:
            upload.discard()
    waiting.join(10)
    assert [type(one) for one in found] == [NotFoundError]
    if end == "commit":
        assert data(tree).read_bytes() == RAW


def test_who_waited_does_not_write_to_a_file_of_the_same_name(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        (folder(tree, name) / "data").rename(folder(tree, name) / "moved")
        (folder(tree, name) / "data").write_bytes(b"another")
        with opened(tree, name) as second:
            assert second.size == len(b"another")
        upload.append([RAW])
    assert (folder(tree, name) / "moved").read_bytes() == RAW


def test_what_came_too_much_is_taken_back(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.truncate(4)
        assert upload.size == 4
        upload.append([b"!"])
    assert (folder(tree, name) / "data").read_bytes() == RAW[:4] + b"!"


def test_of_a_piece_that_does_not_fit_nothing_stays(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        real = os.writev

        def stop_short(descriptor: int, pieces: list[bytes]) -> int:
            return real(descriptor, [b"".join(pieces)[:3]])

        def fail(descriptor: int, raw: bytes) -> int:
            raise OSError(28, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "writev", stop_short)
            patch.setattr(os, "write", fail)
            with pytest.raises(StorageError, match="No space left") as caught:
                upload.append([b"01234", b"56789"])
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == 28
        assert upload.size == len(RAW)
        upload.append([b"x"])
    assert (folder(tree, name) / "data").read_bytes() == RAW + b"x"


def test_given_up_nothing_stays(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.discard()
        upload.discard()
    assert not folder(tree, name).exists()
    assert not data(tree).exists()
    with pytest.raises(NotFoundError):
        opened(tree, name)


def test_what_distribution_keeps_beside_it_goes_too(tree: StorageTree) -> None:
    name = tree.uploading().start(REPO)
    state = folder(tree, name) / "hashstates" / "sha256" / "10"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"state")
    with opened(tree, name) as upload:
        upload.append([RAW])
        upload.commit(DIGEST)
    assert not folder(tree, name).exists()
    assert data(tree).read_bytes() == RAW


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "x", "../../_layers", "a" * 300, "a/b", "a\0b", "%2e%2e"),
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000000/",
        "00000000-0000-0000-0000-00000000000G",
        "00000000-0000-0000-0000-000000000000\n",
    ],
)
def test_another_name_is_no_upload(tree: StorageTree, name: str) -> None:
    tree.uploading().start(REPO)
    with pytest.raises(NotFoundError):
        opened(tree, name)


def test_the_upload_of_another_repository_is_none(tree: StorageTree) -> None:
    name = tree.uploading().start(RepoName("team"))
    with pytest.raises(NotFoundError):
        opened(tree, name)


def test_no_link_is_followed_to_its_data(tree: StorageTree, tmp_path: Path) -> None:
    name = tree.uploading().start(REPO)
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (folder(tree, name) / "data").unlink()
    (folder(tree, name) / "data").symlink_to(outside)
    with pytest.raises((StorageError, OSError)):
        opened(tree, name)
    assert outside.read_bytes() == b"precious"


@pytest.mark.parametrize("which", ["_uploads", "the upload"])
def test_no_link_on_the_way_is_followed(tree: StorageTree, tmp_path: Path, which: str) -> None:
    name = tree.uploading().start(REPO)
    real = folder(tree, name) if which == "the upload" else folder(tree, name).parent
    outside = tmp_path / "outside"
    real.rename(outside)
    real.symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match="symbolic link"):
        opened(tree, name)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
