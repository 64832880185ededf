"""What is done to many files at a time is what is done one by one, with the part in C or without.

Each test runs over both; `JETTISON_NATIVE=0` runs every other test without.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.storage.filesystem import native
from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.reading import digest_folders
from jettison.storage.filesystem.repository import RepositoryReader
from tests.support.missing import require_native
from tests.support.trees import Tree, image_document

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")


@pytest.fixture(params=["C", "Python"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Python":
        monkeypatch.setattr(native, "_library", None)
    else:
        require_native()
    return str(request.param)


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Folder]:
    inside = tmp_path / "in"
    (inside / "a").mkdir(parents=True)
    (inside / "a" / "file").write_bytes(b"inside")
    (inside / "empty").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_bytes(b"outside")
    (inside / "link").symlink_to("../out")
    (inside / "a" / "link").symlink_to("file")
    with Folder.root(inside) as folder:
        yield folder


NAMES = ("a/file", "empty", "none", "a/none", "link/file", "link", "a/link", "a", "../out/file")


def test_files_are_read(top: Folder) -> None:
    assert top.read_each([], 9) == []
    expected = [b"inside", b"", *[None] * 7]
    assert top.read_each(NAMES, 9) == expected
    assert top.read_each(["a/file"], 2) == [b"in"]
    assert top.read_each(["none\0a/file", "a/file"], 9) == [None, b"inside"]


def test_more_is_read_than_there_is_room_for_at_once(top: Folder, tmp_path: Path) -> None:
    large = bytes(range(256)) * 2000
    (tmp_path / "in" / "large").write_bytes(large)
    assert top.read_each(["large", "a/file"] * 5, len(large)) == [large, b"inside"] * 5


def test_files_are_looked_at(top: Folder) -> None:
    looks = top.look_each(NAMES)
    alone = [None if name.startswith("..") else top.look(name) for name in NAMES]
    assert [look is None for look in looks] == [one is None for one in alone]
    for look, one in zip(looks, alone, strict=True):
        if look is not None and one is not None:
            assert look == native.Look.of(one)
    kinds = [stat.S_IFMT(look.st_mode) for look in looks if look is not None]
    assert kinds == [stat.S_IFREG, stat.S_IFREG, stat.S_IFLNK, stat.S_IFLNK, stat.S_IFDIR]


def test_what_cannot_be_looked_at_is_an_error_with_its_path(top: Folder) -> None:
    with pytest.raises(StorageError, match="n" * 300):
        top.look_each(["a/file", "a/" + "n" * 300])


def test_digests_are_listed_in_the_order_of_the_folder(top: Folder, tmp_path: Path) -> None:
    for digest in (ONE, TWO):
        (tmp_path / "in" / "a" / digest.hex).mkdir()
    names = [name for name in os.listdir(tmp_path / "in" / "a") if len(name) == 64]  # noqa: PTH208
    folder = top.open("a")
    assert folder is not None
    with folder:
        digests, strange, others = digest_folders(folder, "sha256")
        assert [digest.hex() for digest in digests] == names
        assert strange == []
        assert {entry.name for entry in others} == {"file", "link"}
        (tmp_path / "in" / "a" / "file").unlink()
        (tmp_path / "in" / "a" / "link").unlink()
        digests, strange, others = digest_folders(folder, "sha256")
        assert ([digest.hex() for digest in digests], strange, others) == (names, [], [])
        (tmp_path / "in" / "a" / ONE.hex.upper()).mkdir()
        digests, strange, others = digest_folders(folder, "sha256")
        assert (len(digests), strange, others) == (2, [ONE.hex.upper()], [])


def test_thousands_of_digests_are_listed(top: Folder, tmp_path: Path) -> None:
    wanted = {Digest.of(str(number).encode()) for number in range(3000)}
    for digest in wanted:
        (tmp_path / "in" / "a" / digest.hex).mkdir()
    for name in ("file", "link"):
        (tmp_path / "in" / "a" / name).unlink()
    folder = top.open("a")
    assert folder is not None
    with folder:
        digests, _, _ = digest_folders(folder, "sha256")
    assert {Digest.from_binary(digest) for digest in digests} == wanted
    assert len(digests) == len(wanted)


def test_a_link_is_exactly_the_digest_of_its_folder(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "registry")
    whole = [tree.put("app", image_document(ONE, [])) for _ in range(1)]
    contents = [b"", b"\n", b"x", TWO.encode()]
    odd = [Digest.of(bytes([number])) for number, _ in enumerate(contents)]
    for digest, content in zip(odd, contents, strict=True):
        tree.write(tree.revision_path("app", digest), digest.encode() + content)
    absent = Digest.of(b"absent")
    tree.revision_path("app", absent).parent.mkdir()
    with RepositoryReader(tree.open(), "app") as repository:
        found = repository.revisions()
    assert found.emptied == [absent.binary]
    assert found.linked == {digest.binary for digest in (*whole, odd[0])}
    assert {digest.binary for digest in odd[1:]} <= found.damaged


def test_manifests_are_read_with_what_they_reference(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "registry")
    blob = tree.blob(b"blob", "app")
    usual = tree.put("app", image_document(blob, [blob], ONE))
    padded = tree.put("app", image_document(blob, []) | {"unknown": {"a": [1]}})
    damaged = tree.put("app", image_document(blob, [TWO]))
    tree.write(tree.data(damaged), b"{}")
    found = dict(
        tree.open().manifests(
            [one.binary for one in (usual, padded, damaged, Digest.of(b"absent"))]
        )
    )
    assert set(found) == {usual.binary, padded.binary}
    edges = found[usual.binary].edges
    assert edges is not None
    assert edges.blobs == (blob.binary, blob.binary)
    assert found[usual.binary].subject == ONE.binary


def test_sizes_and_times_of_blobs(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "registry")
    blobs = [tree.blob(b"x" * size) for size in (0, 1, 5000)]
    holes = tree.blob(b"holes")
    os.truncate(tree.data(holes), 1 << 20)
    reader = tree.open()
    raw = [one.binary for one in (*blobs, ONE, holes)]
    assert reader.blobs_each(raw) == [reader.blob(digest) for digest in raw]


def test_sizes_of_blobs_are_those_of_files_that_can_be_read(tmp_path: Path, top: Folder) -> None:
    tree = Tree(tmp_path / "registry")
    blobs = [tree.blob(b"x" * size) for size in (0, 1, 5000)]
    holes, folder, linked, behind = (
        tree.blob(name) for name in (b"holes", b"folder", b"linked", b"behind")
    )
    os.truncate(tree.data(holes), 1 << 20)
    tree.data(folder).unlink()
    tree.data(folder).mkdir()
    tree.data(linked).unlink()
    tree.data(linked).symlink_to(tree.data(blobs[2]))
    tree.data(behind).unlink()
    tree.data(behind).parent.rmdir()
    tree.data(behind).parent.symlink_to(tree.data(blobs[2]).parent)
    asked = [one.binary for one in (*blobs, ONE, holes, folder, linked, behind)]
    reader = tree.open()
    for readable in (False, True):
        found = reader.sizes_each(asked, readable=readable)
        assert found == [0, 1, 5000, None, 1 << 20, None, None, None]
