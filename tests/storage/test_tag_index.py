"""Which tags point to a manifest: few reads, and never a tag too few, whoever wrote it."""

import errno
import fcntl
import os
import time
from pathlib import Path

import pytest

from jettison.errors import PlanStale, TagsAppeared
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import tree as tree_module
from jettison.storage.filesystem.repository import RepositoryReader
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.protocol import Stamp
from jettison.storage.tag_index import TagIndex
from tests.support.trees import NOW, OLD, Tree, repo

APP = repo("app")
ONE, TWO = (Digest.of(f"{number}".encode()) for number in (1, 2))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[RepoName]:
    """Every reading of all tags of a repository."""
    seen: list[RepoName] = []
    original = RepositoryReader.tags

    def tags(self: RepositoryReader) -> object:
        seen.append(RepoName(self.name))
        return original(self)

    monkeypatch.setattr(RepositoryReader, "tags", tags)
    return seen


def fill(tree: Tree) -> None:
    for digest, raw in ((ONE, b"1"), (TWO, b"2")):
        assert tree.put_raw(APP, raw) == digest
    for tag, digest in (("a", ONE), ("b", TWO), ("c", ONE)):
        tree.tag(APP, tag, digest)


def write_in_place(tree: Tree, tag: str, digest: Digest) -> None:
    """Push as Distribution 2 does: the revision's link, then the tag's, both in place."""
    tree.revision_path(APP, digest).write_bytes(digest.encode())
    path = tree.tag_path(APP, tag)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(digest.encode())


def test_all_tags_are_read_once(tree: Tree, reads: list[RepoName]) -> None:
    fill(tree)
    tagged = TagIndex(tree.open(), APP)
    for _ in range(3):
        assert tagged.tags(ONE.binary) == ["a", "c"]
        assert tagged.tags(TWO.binary) == ["b"]
    assert len(reads) == 1


def test_a_tag_that_went_or_moved_is_not_there(tree: Tree) -> None:
    fill(tree)
    opened = tree.open()
    tagged = TagIndex(opened, APP)
    assert tagged.tags(ONE.binary) == ["a", "c"]
    opened.untag(APP, Tag("a"))
    assert tagged.tags(ONE.binary) == ["c"]
    tree.tag_path(APP, "c").write_bytes(TWO.encode())
    assert tagged.tags(ONE.binary) == []


@pytest.mark.parametrize("tag", ["new", "b"])
def test_a_push_by_another_program_is_seen(tree: Tree, tag: str) -> None:
    fill(tree)
    tagged = TagIndex(tree.open(), APP)
    assert tagged.tags(ONE.binary) == ["a", "c"]
    write_in_place(tree, tag, ONE)
    assert tagged.tags(ONE.binary) == sorted(["a", "c", tag])
    # Within one tick of the file system's clock neither shows in a time.
    write_in_place(tree, "again", ONE)
    assert tagged.tags(ONE.binary) == sorted(["a", "again", "c", tag])


def test_a_manifest_is_deleted_only_with_the_tags_that_are_named(tree: Tree) -> None:
    fill(tree)
    opened = tree.open()
    with pytest.raises(TagsAppeared, match="app:c"):
        opened.delete_revision(APP, ONE, {Tag("a")})
    assert tree.tag_path(APP, "a").exists()
    with pytest.raises(TagsAppeared, match="app:b points to"):
        opened.delete_revision(APP, ONE, {Tag("a"), Tag("b"), Tag("c")})
    assert opened.delete_revision(APP, ONE, {Tag("a"), Tag("c"), Tag("gone")})
    assert not tree.revision_path(APP, ONE).exists()
    assert not tree.tag_path(APP, "a").exists()
    assert tree.tag_path(APP, "b").exists()


@pytest.mark.parametrize("moment", ["before the tags", "before the link", "after the link"])
def test_what_another_program_pushes_in_between_stays_whole(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Distribution does not wait for our lock."""
    fill(tree)
    opened = tree.open()
    original = StorageTree._take_away
    taken: list[str] = []

    def take_away(self: StorageTree, folder: str) -> str | None:
        is_link = folder.endswith("/link")
        first = not taken
        taken.append(folder)
        if moment == "before the tags" and first:
            write_in_place(tree, "new", ONE)
        if moment == "before the link" and is_link:
            write_in_place(tree, "new", ONE)
        away = original(self, folder)
        if moment == "after the link" and is_link:
            tree.revision_path(APP, ONE).parent.mkdir(exist_ok=True)
            write_in_place(tree, "new", ONE)
        return away

    monkeypatch.setattr(tree_module.StorageTree, "_take_away", take_away)
    if moment == "after the link":  # then the push has written both links itself
        opened.delete_revision(APP, ONE, {Tag("a"), Tag("c")})
    else:
        with pytest.raises(TagsAppeared, match="new"):
            opened.delete_revision(APP, ONE, {Tag("a"), Tag("c")})
    assert tree.revision_path(APP, ONE).read_bytes() == ONE.encode()
    assert tree.tag_path(APP, "new").read_bytes() == ONE.encode()


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("what", ["tag", "revision", "upload"])
def test_a_collection_does_not_clear_up_what_may_have_to_come_back(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, what: str, *, locks: bool
) -> None:
    """It removes what killed processes have taken away, and a server is none of these."""
    fill(tree)
    opened, collector = tree.open(), tree.open()
    original = StorageTree._take_away
    upload = "0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11"
    data = tree.repository(APP) / "_uploads" / upload / "data"
    tree.write(data, b"half", NOW)

    def take_away(self: StorageTree, folder: str) -> str | None:
        if folder.endswith("/link"):
            write_in_place(tree, "new", ONE)
        away = original(self, folder)
        collector.remove_remains(time.time() - 60)
        return away

    if not locks:
        monkeypatch.setattr(fcntl, "flock", lock_nothing)
    monkeypatch.setattr(tree_module.StorageTree, "_take_away", take_away)
    match what:
        case "tag":
            with pytest.raises(PlanStale):
                opened.untag(APP, Tag("b"), ONE)
            assert tree.tag_path(APP, "b").read_bytes() == TWO.encode()
        case "revision":
            with pytest.raises(TagsAppeared):
                opened.delete_revision(APP, ONE, {Tag("a"), Tag("c")})
            assert tree.revision_path(APP, ONE).read_bytes() == ONE.encode()
        case _:
            assert not opened.remove_upload(APP, upload, Stamp(1))
            assert data.read_bytes() == b"half"


def lock_nothing(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_tag_is_removed_only_where_it_points_to_what_was_seen(tree: Tree) -> None:
    fill(tree)
    opened = tree.open()
    with pytest.raises(PlanStale):
        opened.untag(APP, Tag("a"), TWO)
    assert tree.tag_path(APP, "a").read_bytes() == ONE.encode()
    assert opened.untag(APP, Tag("a"), ONE)
    assert not tree.tag_path(APP, "a").exists()
    assert not opened.untag(APP, Tag("a"), ONE)


def test_an_old_link_is_trusted_a_fresh_one_is_not(tree: Tree, reads: list[RepoName]) -> None:
    fill(tree)
    document = tree.put_raw(APP, b"3", "fresh")
    os.utime(tree.revision_path(APP, document))
    tagged = TagIndex(tree.open(), APP)
    for _ in range(2):
        assert tagged.tags(document.binary) == ["fresh"]
    assert len(reads) == 2
    os.utime(tree.revision_path(APP, document), (OLD, OLD))
    for _ in range(2):
        assert tagged.tags(document.binary) == ["fresh"]
    assert len(reads) == 3
