"""Below an open folder no link is followed and nothing outside is reached, with any kernel."""

import contextlib
import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jettison.errors import StorageError
from jettison.storage.filesystem.beneath import look_beneath, open_beneath
from jettison.storage.filesystem.draft import Draft, open_record, write_file
from jettison.storage.filesystem.folder import Folder, UnusableError


@pytest.fixture(params=["openat2", "no openat2", "openat2 not allowed"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    number = {"no openat2": errno.ENOSYS, "openat2 not allowed": errno.EPERM}.get(request.param)
    if number is None:
        return

    def refuse(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr("jettison.storage.filesystem.beneath._syscall", refuse)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Folder]:
    inside = tmp_path / "in"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "b" / "file").write_text("inside")
    (inside / "file").write_text("inside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("outside")
    (inside / "link").symlink_to("../out")
    (inside / "a" / "link").symlink_to("b")
    (inside / "a" / "absolute").symlink_to(tmp_path / "out")
    (inside / "a" / "b" / "last").symlink_to("file")
    os.mkfifo(inside / "a" / "fifo")
    with Folder.root(inside) as folder:
        yield folder


STRAY = ["../out/file", "a/../../out/file", "..", "a/../..", "/etc/passwd"]
BEHIND = ["link/file", "a/link/file", "a/absolute/file", "a/b/last"]


@pytest.mark.usefixtures("kernel")
def test_what_is_inside_is_opened(top: Folder) -> None:
    for path in ("file", "a/b/file", "./a/./b/file"):
        descriptor = open_beneath(top.descriptor, path, os.O_RDONLY)
        assert os.read(descriptor, 10) == b"inside"
        assert os.path.samestat(look_beneath(top.descriptor, path), os.fstat(descriptor))
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
    for path in ("nothing", "a/nothing", "nothing/file", "a/b\0c", "file\0"):
        with pytest.raises(FileNotFoundError):
            open_beneath(top.descriptor, path, os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        open_beneath(top.descriptor, "file/x", os.O_RDONLY)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("path", STRAY + BEHIND)
def test_nothing_outside_and_nothing_behind_a_link_is_opened(top: Folder, path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    # A link that leads out may be told as either.
    with pytest.raises(OSError, match=r"Invalid cross-device link|Too many levels"):
        open_beneath(top.descriptor, path, os.O_RDONLY)
    with pytest.raises(UnusableError):
        top.read(path, 100)
    assert top.read_each([path], 100) == [None]
    if path != "a/b/last":
        assert top.look(path) is None
        assert top.time(path) is None
        assert not top.unlink(path)
        assert not top.touch(path)
        assert not top.move(path, top, "stolen")
    assert not top.move("file", top, f"{path}/new")
    assert not top.remove_if_empty(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.usefixtures("kernel")
def test_a_link_at_the_end_is_looked_at_itself_and_can_be_moved(top: Folder) -> None:
    found = top.look("a/b/last")
    assert found is not None
    assert found.st_size == len("file")
    assert top.move("a/b/last", top, "moved")
    assert os.readlink(f"{top.path}/moved") == "file"  # noqa: PTH115
    assert top.unlink("moved")
    assert top.read("a/b/file", 100) == b"inside"


def test_no_fifo_is_waited_for(top: Folder) -> None:
    with pytest.raises(UnusableError):
        top.read("a/fifo", 100)


def test_a_folder_is_removed_with_all_in_it_and_no_link_is_followed(top: Folder) -> None:
    top.remove_all("a")
    top.remove_all("a")
    top.remove_all("link")
    assert sorted(entry.name for entry in top.entries()) == ["file"]
    assert Path(top.path, "../out/file").read_text() == "outside"


def test_links_that_come_and_go_are_never_followed(top: Folder, tmp_path: Path) -> None:
    """The owner of a tree swaps a folder for a link, as fast as it goes, while root works there."""
    place, spare = Path(top.path, "a/b"), Path(top.path, "a/spare")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            place.rename(spare)
            place.symlink_to(tmp_path / "out")
            place.unlink()
            spare.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(2000):
            with contextlib.suppress(UnusableError):
                assert top.read("a/b/file", 100) in {None, b"inside"}
            try:
                folder = top.open("a/b")
            except Exception:  # noqa: BLE001, S112 - blocked just now
                continue
            if folder is not None:
                with folder:
                    write_file(folder, f"{number % 7}", b"new")
            top.unlink("a/b/new")
    finally:
        over.set()
        thread.join()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["file"]
    assert (tmp_path / "out" / "file").read_text() == "outside"


MOVE = """
import os, sys
while True:
    os.rename("a/b", "../out/b")
    os.rename("../out/b", "a/b")
"""


@pytest.fixture
def moved(top: Folder) -> Iterator[None]:
    """Another process moves a folder out of the tree and back, as fast as it goes."""
    with subprocess.Popen([sys.executable, "-c", MOVE], cwd=top.path) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.usefixtures("moved")
def test_what_is_moved_out_and_back_is_there_or_is_not(top: Folder) -> None:
    """A removed tag is moved out of where it is read; the kernel says EXDEV of that moment."""
    found: set[bytes | int | None] = set()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        found.update(top.read_each(["a/b/file"] * 100, 100))
        with contextlib.suppress(FileNotFoundError):
            found.add(look_beneath(top.descriptor, "a/b/file").st_size)
        with (
            contextlib.suppress(FileNotFoundError),
            open(
                "a/b/file",
                "rb",
                opener=lambda path, flags: open_beneath(top.descriptor, path, flags),
            ) as file,
        ):
            found.add(file.read())
    assert found == {None, b"inside", len(b"inside")}


# Whole files.


def test_a_file_appears_whole_and_leaves_nothing(top: Folder) -> None:
    write_file(top, "file", b"new")
    assert top.read("file", 100) == b"new"
    with Draft(top) as draft, Draft(top) as other:
        draft.write(b"half")
        assert draft.name != other.name
    assert not [entry for entry in top.entries() if entry.name.endswith(".tmp")]


def test_a_link_in_a_files_place_is_replaced_and_not_followed(top: Folder) -> None:
    Path(top.path, "entry").symlink_to("../out/file")
    write_file(top, "entry", b"new")
    assert not Path(top.path, "entry").is_symlink()
    assert Path(top.path, "../out/file").read_text() == "outside"


Strange = Callable[[Path], None]
STRANGE: dict[str, Strange] = {
    "a link": lambda path: path.symlink_to("../out/file"),
    "a dangling link": lambda path: path.symlink_to("../out/new"),
    "a hard link": lambda path: path.hardlink_to(path.parent.parent / "out" / "file"),
    "a fifo": os.mkfifo,
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_written_in_place_is_a_file_of_our_own(top: Folder, what: str) -> None:
    STRANGE[what](Path(top.path, "lock"))
    with pytest.raises(StorageError), open_record(top, "lock"):
        pass
    assert Path(top.path, "../out/file").read_text() == "outside"
    assert not Path(top.path, "../out/new").exists()


def test_a_draft_that_cannot_be_synced_is_thrown_away(
    top: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        write_file(top, "file", b"new")
    assert top.read("file", 100) == b"inside"
    assert not [entry for entry in top.entries() if entry.name.endswith(".tmp")]
