import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.errors import StorageError, VerificationFailed
from jettison.model.digest import Digest
from jettison.storage.filesystem.layout import MalformedLinkError, parse_link
from jettison.storage.filesystem.repository import RepositoryReader
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.protocol import Problem
from tests.support.trees import OLD, Tree, repo, tag

APP = repo("app")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def reader(tree: Tree) -> RepositoryReader:
    return RepositoryReader(tree.open(), "app")


# Opening.


def test_only_a_registrys_root_is_opened(tree: Tree, tmp_path: Path) -> None:
    assert tree.open().root == tree.root
    for inner in ("docker", "docker/registry", "docker/registry/v2", "docker/registry/v2/blobs"):
        with pytest.raises(StorageError) as caught:
            StorageTree(tree.root / inner)
        assert caught.value.hint == f"Give {tree.root}, the folder that docker/ lies in."
    with pytest.raises(StorageError) as caught:
        StorageTree(tmp_path)
    assert caught.value.hint == f"Did you mean {tree.root}?"
    with pytest.raises(StorageError, match="there is no folder"):
        StorageTree(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="is not a folder"):
        StorageTree(tmp_path / "file")


def test_the_root_may_be_behind_a_link_but_no_part_of_the_tree(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    assert StorageTree(tmp_path / "link").root == tree.root
    (tree.base / "blobs").rename(tmp_path / "blobs")
    (tree.base / "blobs").symlink_to(tmp_path / "blobs")
    with pytest.raises(StorageError, match="is a symbolic link"):
        tree.open()


# Reading.


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_link_is_exactly_a_digest(algorithm: str) -> None:
    digest = Digest.of(b"x", algorithm)
    assert parse_link(digest.encode()) == digest
    for raw in (b"", digest.encode() + b"\n", b" " + digest.encode(), b"\xff", b"md5:00"):
        with pytest.raises(MalformedLinkError):
            parse_link(raw)
    with pytest.raises(MalformedLinkError) as caught:
        parse_link(b"root:$6$secret")
    assert "secret" not in str(caught.value)  # it may be a hard link to a file of somebody else


def test_repositories_nest(tree: Tree) -> None:
    for name in ("pg", "pg/0/p", "a/b"):
        tree.image(name, "1", [b"layer"])
    (tree.repository("pg") / "_uploads" / "x").mkdir(parents=True)
    (tree.repository("empty") / "nothing").mkdir(parents=True)
    tree.write(tree.repository("file"), b"")
    opened = tree.open()
    assert opened.repositories() == ["a/b", "pg", "pg/0/p"]
    assert opened.has_repository("pg/0/p")
    assert not opened.has_repository("pg/0")


def test_damaged_entries_are_problems_and_the_rest_is_listed(tree: Tree) -> None:
    digest = tree.image("app", "good", [b"layer"])
    tree.write(tree.tag_path("app", "empty"), b"")
    tree.write(tree.tag_path("app", "-bad-name"), digest.encode())
    tree.write(tree.history_path("app", "half", digest), digest.encode())
    found = reader(tree).tags()
    assert found.current == {"good": digest.binary}
    assert found.broken.keys() == {"empty", "half"}
    assert sorted(problem.message for problem in found.problems) == [
        "is a tag whose name the specification does not allow",
        "is missing, so nobody knows what the tag points to",
        "the link is empty",
    ]


def test_a_link_rewritten_in_place_is_read_again(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = tree.image("app", "1", [b"layer"])
    path = tree.tag_path("app", "1")
    path.write_bytes(b"")
    monkeypatch.setattr(
        "jettison.storage.filesystem.links.time.sleep",
        lambda _: path.write_bytes(digest.encode()),
    )
    assert reader(tree).tag(tag("1")) == digest.binary


def test_a_tag_that_vanishes_meanwhile_is_none(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.write(tree.history_path("app", "1", Digest.of(b"")), b"")
    folder = tree.repository("app") / "_manifests" / "tags" / "1"
    assert isinstance(reader(tree).tag(tag("1")), Problem)
    moved = tree.root / "moved"
    monkeypatch.setattr(
        "jettison.storage.filesystem.links.time.sleep", lambda _: folder.rename(moved)
    )
    assert reader(tree).tag(tag("1")) is None


def test_a_folder_that_cannot_be_listed_is_an_error(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.image("app", "1", [b"layer"])
    opened = reader(tree)

    def denied(path: str, flags: int, *, dir_fd: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    # Root is denied nothing, so it has to be pretended.
    monkeypatch.setattr("jettison.storage.filesystem.folder.os.open", denied)
    with pytest.raises(StorageError, match=r"_layers: Permission denied") as caught:
        opened.layers()
    assert "as root" in (caught.value.hint or "")


# Writing.


def test_what_is_written_is_what_distribution_writes(tree: Tree, tmp_path: Path) -> None:
    wanted = Tree(tmp_path / "wanted")
    digest = wanted.image("app", "1", [b"layer"])
    opened = tree.open()
    for raw in (b"layer", b"config of layer"):
        opened.put_blob(APP, Digest.of(raw), [raw[:3], raw[3:]])
    opened.put_manifest(APP, digest, wanted.data(digest).read_bytes(), [tag("1")])
    assert tree.snapshot() == wanted.snapshot()


def test_wrong_bytes_are_not_stored(tree: Tree) -> None:
    opened = tree.open()
    before = tree.snapshot()
    with pytest.raises(VerificationFailed):
        opened.put_blob(APP, Digest.of(b"right"), [b"wrong"])
    with pytest.raises(VerificationFailed):
        opened.put_manifest(APP, Digest.of(b"right"), b"wrong")
    assert tree.snapshot() == before


def test_putting_again_touches(tree: Tree) -> None:
    digest = tree.blob(b"layer", "app")
    tree.open().put_blob(APP, digest, [b"layer"])
    assert tree.data(digest).stat().st_mtime > OLD
    manifest = tree.image("app", "1", [b"layer"])
    tree.open().put_manifest(APP, manifest, tree.data(manifest).read_bytes())
    assert tree.data(manifest).stat().st_mtime > OLD


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_new_files_belong_to_the_trees_owner(tree: Tree) -> None:
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, 12345, 12346)
    tree.open().put_blob(APP, Digest.of(b"x"), [b"x"])
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in tree.base.rglob("*")}
    assert owners == {(12345, 12346)}


def test_deleting_does_what_distribution_does(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    tree.tag("app", "2", digest)
    other = tree.image("app", "2-too", [b"other"])
    tree.write(tree.history_path("app", "2-too", digest), digest.encode())
    opened = tree.open()
    assert opened.delete_revision(APP, digest)
    assert reader(tree).tags().current == {"2-too": other.binary}
    assert reader(tree).revisions().linked == {other.binary}
    assert not (tree.repository("app") / "_manifests" / "tags" / "1").exists()
    assert tree.history_path("app", "2-too", digest).exists()
    assert tree.data(digest).exists()
    assert not opened.delete_revision(APP, digest)
    assert opened.untag(APP, tag("2-too"))
    assert not opened.untag(APP, tag("2-too"))
    assert reader(tree).revisions().linked == {other.binary}


def test_a_deletion_cut_short_is_finished_by_the_next(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    tree.revision_path("app", digest).unlink()
    assert tree.open().delete_revision(APP, digest)
    assert reader(tree).tags().current == {}


def test_a_deletion_cut_short_leaves_no_tag_that_leads_nowhere(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = tree.image("app", "1", [b"layer"])
    tree.tag("app", "2", digest)
    opened = tree.open()
    for name in ("rename", "unlink"):

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, name, fail)
            with pytest.raises(StorageError):
                opened.delete_revision(APP, digest)
        current = reader(tree).tags().current
        assert current == ({"1": digest.binary, "2": digest.binary} if name == "rename" else {})
        assert reader(tree).revisions().linked == {digest.binary}


# Putting a tag.


def test_a_tag_appears_in_one_step(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.image("app", "0", [b"layer"])
    raw = b'{"schemaVersion": 2}'
    digest = Digest.of(raw)
    opened = tree.open()
    tags = tree.repository("app") / "_manifests" / "tags"
    for name in ("fsync", "mkdir", "open", "replace"):
        for number in range(1, 100):
            failing = _Failing(getattr(os, name), number)
            with monkeypatch.context() as patched, contextlib.suppress(StorageError):
                patched.setattr(os, name, failing)
                opened.put_manifest(APP, digest, raw, [tag("new")])
            assert sorted(path.name for path in tags.iterdir()) in (["0"], ["0", "new"])
            assert not reader(tree).tags().problems
            assert not list((tree.root / "jettison" / "drafts").glob("*"))
            if failing.left > 0:
                break
            opened.untag(APP, tag("new"))
        assert number > 1
        assert reader(tree).tags().current[tag("new")] == digest.binary
        assert tree.history_path("app", "new", digest).exists()
        opened.delete_revision(APP, digest)


class _Failing:
    """A function whose call number ``left`` fails."""

    def __init__(self, real: Callable[..., object], left: int) -> None:
        self.real = real
        self.left = left

    def __call__(self, *args: object, **more: object) -> object:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.real(*args, **more)


def test_a_tag_is_made_where_only_its_folder_is(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    raw = tree.data(digest).read_bytes()
    tags = tree.repository("app") / "_manifests" / "tags"
    for number in ("2", "3"):
        (tags / number).mkdir()
    (tags / "3" / "index").mkdir()
    tree.open().put_manifest(APP, digest, raw, [tag("2"), tag("3")])
    assert reader(tree).tags().current == dict.fromkeys(("1", "2", "3"), digest.binary)


def test_the_draft_of_a_tag_that_was_left_is_removed(tree: Tree) -> None:
    draft = tree.root / "jettison" / "drafts" / "half" / "current"
    tree.write(draft / "link", b"half")
    opened = tree.open()
    opened.remove_remains(0)
    assert draft.exists()
    opened.remove_remains(draft.parent.stat().st_mtime + 1)
    assert list(draft.parent.parent.iterdir()) == []


@pytest.mark.parametrize("damage", ["bytes", "length"])
def test_what_is_damaged_is_healed_by_putting_it_again(tree: Tree, damage: str) -> None:
    raw = b'{"schemaVersion": 2}'
    digest, opened = Digest.of(raw), tree.open()
    opened.put_manifest(APP, digest, raw)
    opened.put_blob(APP, Digest.of(b"blob"), [b"bl", b"ob"])
    for content in (raw, b"blob"):
        path = tree.data(Digest.of(content))
        before = path.stat().st_ino
        opened.put_blob(APP, Digest.of(content), [content])
        assert path.stat().st_ino == before
        path.write_bytes(b"\0" * len(content) if damage == "bytes" else content[1:])
    opened.put_manifest(APP, digest, raw)
    opened.put_blob(APP, Digest.of(b"blob"), [b"bl", b"ob"])
    assert tree.data(digest).read_bytes() == raw
    assert tree.data(Digest.of(b"blob")).read_bytes() == b"blob"


@pytest.mark.parametrize("how", ["upload", "remains", "tag"])
def test_two_may_remove_the_same_at_once(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A collection clears up what a server is still removing."""
    tree.image("app", "1", [b"layer"])
    upload = "0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11"
    for path in (
        tree.repository("app") / "_uploads" / upload,
        tree.root / "jettison" / "leaving" / "one",
    ):
        tree.write(path / "data", b"half")
        tree.write(path / "startedat", b"")
    opened, unlink = tree.open(), os.unlink
    met = 0

    def meet(path: str, *, dir_fd: int | None = None) -> None:
        nonlocal met
        met += 1
        unlink(path, dir_fd=dir_fd)
        unlink(path, dir_fd=dir_fd)  # again, as it is when somebody else was quicker

    monkeypatch.setattr(os, "unlink", meet)
    if how == "upload":
        assert opened.remove_upload(APP, upload)
    elif how == "remains":
        opened.remove_remains(0)
    else:
        assert opened.untag(APP, tag("1"))
    assert met > 1
    assert not list((tree.root / "jettison" / "leaving").glob("*")) or how != "remains"


def test_nothing_is_changed_through_a_symbolic_link(tree: Tree, tmp_path: Path) -> None:
    outside = Tree(tmp_path / "outside")
    digest = outside.image("app", "1", [b"layer"])
    tree.repository("app").symlink_to(outside.repository("app"))
    before = outside.snapshot()
    opened = tree.open()
    for change in (
        lambda: opened.untag(APP, tag("1")),
        lambda: opened.delete_revision(APP, digest),
        lambda: opened.put_blob(APP, Digest.of(b"x"), [b"x"]),
        lambda: opened.link_layer(APP, Digest.of(b"x")),
    ):
        with pytest.raises(StorageError, match="symbolic link"):
            change()
    assert outside.snapshot() == before


@pytest.mark.parametrize("what", ["tag", "revision", "layer"])
def test_a_link_with_its_old_time_may_still_be_in_the_middle_of_a_rewrite(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    digest = tree.image("app", "1", [b"layer"])
    layer = Digest.of(b"layer")
    links = {
        "tag": tree.tag_path("app", "1"),
        "revision": tree.revision_path("app", digest),
        "layer": tree.layer_path("app", layer),
    }
    link = links[what]
    whole = link.read_bytes()
    tree.write(link, b"")

    def rewrite(_: float) -> None:
        tree.write(link, whole)

    monkeypatch.setattr("jettison.storage.filesystem.links.time.sleep", rewrite)
    with reader(tree) as found:
        tags, revisions, target = found.tags(), found.revisions(), found.layer_target(layer.binary)
    assert not tags.problems
    assert tags.current == {tag("1"): digest.binary}
    assert not revisions.problems
    assert target == layer.binary
