"""Folders held open: nothing outside is reached, and what is odd is told apart."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jettison.errors import StorageError
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "top").mkdir()
    with Folder.root(tmp_path / "top") as opened:
        yield opened


@pytest.fixture
def path(folder: Folder) -> Path:
    return Path(folder.path)


def test_opening_follows_no_link(folder: Folder, path: Path, tmp_path: Path) -> None:
    (path / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside" / "b").mkdir(parents=True)
    (path / "link").symlink_to(tmp_path / "outside")
    (path / "file").write_bytes(b"")
    inner = folder.open("a/b")
    assert inner is not None
    with inner:
        assert inner.path == f"{path}/a/b"
    assert folder.open("a/absent/b") is None
    for name, is_link in (("link", True), ("link/b", True), ("file", False), ("file/b", False)):
        with pytest.raises(BlockedError) as caught:
            folder.open(name)
        assert (caught.value.is_link, caught.value.path) == (is_link, f"{path}/{name[:4]}")


def opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_opening_leaves_no_descriptor(folder: Folder, path: Path) -> None:
    (path / "a" / "b" / "c").mkdir(parents=True)
    before = opened()
    for name in ("a/b/c", "a/b/absent", "a/absent/c"):
        inner = folder.open(name)
        if inner is not None:
            inner.close()
    assert opened() == before


@pytest.mark.parametrize("others", [0, 2])
def test_folders_are_told_from_the_rest(folder: Folder, path: Path, others: int) -> None:
    for name in ("a", "b"):
        (path / name).mkdir()
    if others:
        (path / "file").write_bytes(b"")
        (path / "link").symlink_to(path / "a")
    names, rest = folder.folders()
    assert sorted(names) == ["a", "b"]
    assert sorted(entry.name for entry in rest) == ["file", "link"][:others]


def test_reading(folder: Folder, path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (path / "link").symlink_to(tmp_path / "secret")
    (path / "inner").mkdir()
    (path / "small").write_bytes(b"small")
    (path / "large").write_bytes(bytes(100_000))
    (path / "empty").write_bytes(b"")
    os.mkfifo(path / "pipe")
    assert folder.read("small", 4096) == b"small"
    assert folder.read("small", 4096, first=2) == b"small"
    assert folder.read("large", 100_000) == bytes(100_000)
    assert folder.read("empty", 4096) == b""
    assert folder.read("absent", 4096) is None
    for name, words in (
        ("link", "symbolic link"),
        ("inner", "directory"),
        ("pipe", "should be a file"),
        ("large", "too much"),
        ("small/below", "Not a directory"),
    ):
        with pytest.raises(UnusableError, match=words):
            folder.read(name, 4096)
    names = ["small", "absent", "link", "inner", "large"]
    assert folder.read_each(names, 8) == [b"small", None, None, None, bytes(8)]


def test_changing(folder: Folder, path: Path) -> None:
    (path / "inner").mkdir()
    (path / "inner" / "file").write_bytes(b"")
    assert not folder.remove_if_empty("inner")
    assert folder.unlink("inner/file")
    assert not folder.unlink("inner/file")
    assert folder.remove_if_empty("inner")
    assert not folder.remove_if_empty("inner")
    (path / "file").write_bytes(b"kept")
    assert folder.move("file", folder, "moved")
    assert not folder.move("file", folder, "moved")
    assert (path / "moved").read_bytes() == b"kept"
    assert not folder.remove_if_empty("moved")


def test_errors_name_the_path_and_the_next_step(
    folder: Folder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("jettison.storage.filesystem.folder.os.unlink", fail)
    with pytest.raises(StorageError, match=f"cannot remove {path}/x: Read-only") as caught:
        folder.unlink("x")
    assert "mounted read-only" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_path_is_made_for_the_owner_of_the_folder_above(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    with Folder.make_path(tmp_path / "a" / "b") as made:
        assert made.path == str(tmp_path / "a" / "b")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o077) == (12345, 23456, 0)
    with Folder.make_path(tmp_path / "a" / "b") as again:
        assert again.is_folder("../b") is False  # no step out of it


def test_a_folder_is_removed_though_another_is_always_faster(
    folder: Folder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (path / "a" / f"b{number}").mkdir(parents=True)
        (path / "a" / f"b{number}" / "c").write_bytes(b"")
    unlink, rmdir = os.unlink, os.rmdir

    def too_late(remove: Callable[..., None]) -> Callable[..., None]:
        def removed(name: str, *, dir_fd: int | None = None) -> None:
            remove(name, dir_fd=dir_fd)
            remove(name, dir_fd=dir_fd)

        return removed

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", too_late(unlink))
        patched.setattr(os, "rmdir", too_late(rmdir))
        folder.remove_all("a")
    assert not (path / "a").exists()


@pytest.mark.parametrize("what", ["unlink", "rmdir"])
def test_what_cannot_be_removed_is_said(
    folder: Folder, path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (path / "a" / "b").mkdir(parents=True)
    (path / "a" / "c").write_bytes(b"")

    def refused(name: str, *, dir_fd: int | None = None) -> None:
        raise PermissionError(errno.EACCES, "no right", name)

    with monkeypatch.context() as patched:
        patched.setattr(os, what, refused)
        with pytest.raises(StorageError, match="cannot remove"):
            folder.remove_all("a")
    assert (path / "a").exists()
