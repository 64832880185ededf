"""Who is about whom, and who lists whom: also when another program writes to the tree."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage import recent
from jettison.storage import referrers_index as module
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.referrers_index import ReferrersIndex, ReferrersIndexes
from tests.support.trees import Tree, image_document, index_document, repo

APP = repo("app")
SUBJECT = Digest.of(b"what the others are about")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def settle(tree: Tree, name: str = "app") -> None:
    """As if the folders had last changed long ago."""
    top = tree.repository(name) / "_manifests" / "revisions"
    for folder in top.iterdir() if top.exists() else ():
        before = folder.stat().st_mtime_ns
        os.utime(folder, ns=(before - 10**12, before - 10**12))


def referrers(relations: ReferrersIndex, subject: Digest = SUBJECT) -> set[Digest]:
    return {Digest.from_binary(one) for one in relations.referrers(subject.binary)}


def indexes(relations: ReferrersIndex, child: Digest) -> set[Digest]:
    return {Digest.from_binary(one) for one in relations.indexes_with(child.binary)}


class Counting(StorageTree):
    """Counts the manifests that are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads = 0

    def read_manifest(self, digest: bytes) -> bytes | None:
        self.reads += 1
        return super().read_manifest(digest)  # type: ignore[arg-type]


def test_of_a_repository_that_is_not_there_nothing_is_known(tree: Tree) -> None:
    found = ReferrersIndexes(tree.open()).of(APP)
    assert referrers(found) == set()
    assert indexes(found, SUBJECT) == set()
    assert not tree.repository("app").exists()


def test_a_subject_need_not_exist(tree: Tree) -> None:
    first = tree.image("app", None, [b"1"], subject=SUBJECT)
    second = tree.image("app", "t", [b"2"], subject=SUBJECT)
    tree.image("app", "other", [b"3"])
    tree.image("elsewhere", None, [b"4"], subject=SUBJECT)
    assert referrers(ReferrersIndexes(tree.open()).of(APP)) == {first, second}


def test_an_index_lists_its_children(tree: Tree) -> None:
    child = tree.image("app", None, [b"1"])
    inner = tree.index("app", None, [child])
    outer = tree.index("app", "t", [inner, child])
    found = ReferrersIndexes(tree.open()).of(APP)
    assert indexes(found, child) == {inner, outer}
    assert indexes(found, inner) == {outer}
    assert indexes(found, outer) == set()


@pytest.mark.parametrize("settled", [False, True])
def test_what_another_program_writes_is_seen(tree: Tree, settled: bool) -> None:
    relations = ReferrersIndexes(tree.open())
    expected = set()
    for number in range(4):
        expected.add(tree.image("app", None, [b"%d" % number], subject=SUBJECT))
        if settled:
            settle(tree)
        assert referrers(relations.of(APP)) == expected
        assert referrers(relations.of(APP)) == expected


def test_the_first_manifest_of_an_algorithm_is_seen(tree: Tree) -> None:
    relations = ReferrersIndexes(tree.open())
    first = tree.image("app", None, [b"1"], subject=SUBJECT)
    settle(tree)
    assert referrers(relations.of(APP)) == {first}
    raw = json.dumps(image_document(SUBJECT, [], SUBJECT)).encode()
    long = Digest.of(raw, "sha512")
    tree.write(tree.data(long), raw)
    tree.write(tree.revision_path("app", long), long.encode())
    settle(tree)
    assert referrers(relations.of(APP)) == {first, long}


def test_a_deleted_one_is_gone_and_put_again_is_back(tree: Tree) -> None:
    relations = ReferrersIndexes(tree.open())
    digest = tree.image("app", None, [b"1"], subject=SUBJECT)
    link = tree.revision_path("app", digest)
    settle(tree)
    assert referrers(relations.of(APP)) == {digest}
    link.unlink()  # Distribution leaves the folder
    assert referrers(relations.of(APP)) == set()
    tree.write(link, digest.encode())
    assert referrers(relations.of(APP)) == {digest}
    shutil.rmtree(link.parent)  # so does a collection's cleaning up not
    assert referrers(relations.of(APP)) == set()
    tree.write(link, digest.encode())
    assert referrers(relations.of(APP)) == {digest}


def test_one_whose_bytes_come_later_is_seen_then(tree: Tree) -> None:
    relations = ReferrersIndexes(tree.open())
    digest = tree.image("app", None, [b"1"], subject=SUBJECT)
    raw = tree.data(digest).read_bytes()
    tree.data(digest).unlink()
    settle(tree)
    assert referrers(relations.of(APP)) == set()
    tree.write(tree.data(digest), raw)
    assert referrers(relations.of(APP)) == {digest}


def test_what_is_damaged_says_nothing_until_it_is_repaired(tree: Tree) -> None:
    relations = ReferrersIndexes(tree.open())
    digest = tree.image("app", None, [b"1"], subject=SUBJECT)
    raw = tree.data(digest).read_bytes()
    for damaged in (b"", b"no JSON", json.dumps(image_document(SUBJECT, [])).encode()):
        tree.data(digest).write_bytes(damaged)
        settle(tree)
        assert referrers(relations.of(APP)) == set()
    tree.data(digest).write_bytes(raw)
    assert referrers(relations.of(APP)) == {digest}


def test_an_index_that_seems_to_list_itself_is_damaged(tree: Tree) -> None:
    """No bytes can hold their own digest; a hand that writes to the tree can put such there."""
    digest = Digest.of(b"x")
    tree.write(tree.data(digest), json.dumps(index_document([digest])).encode())
    tree.write(tree.revision_path("app", digest), digest.encode())
    assert indexes(ReferrersIndexes(tree.open()).of(APP), digest) == set()


def test_what_is_no_manifest_is_read_once(tree: Tree) -> None:
    tree.put_raw("app", b"no manifest at all")
    digest = tree.image("app", None, [b"1"], subject=SUBJECT)
    settle(tree)
    storage = Counting(tree.root)
    relations = ReferrersIndexes(storage).of(APP)
    assert referrers(relations) == {digest}
    reads = storage.reads
    assert referrers(relations) == {digest}
    assert storage.reads == reads == 2


def test_an_unreadable_one_does_not_hide_the_others(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tree.open()
    bad = tree.image("app", None, [b"1"], subject=SUBJECT)
    good = tree.image("app", None, [b"2"], subject=SUBJECT)
    settle(tree)
    relations = ReferrersIndexes(storage).of(APP)
    read = storage.read_manifest

    def failing(digest: bytes) -> bytes | None:
        if digest == bad.binary:
            raise StorageError("an error of the disk")
        return read(digest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_manifest", failing)
        assert referrers(relations) == {good}
    assert referrers(relations) == {good, bad}


def test_nested_repositories_are_kept_apart(tree: Tree) -> None:
    names = ["a", "a/b", "a/b/c", "a-b"]
    found = {name: tree.image(name, None, [name.encode()], subject=SUBJECT) for name in names}
    relations = ReferrersIndexes(tree.open())
    for name in names:
        assert referrers(relations.of(repo(name))) == {found[name]}


def test_several_threads_may_ask(tree: Tree) -> None:
    expected = {tree.image("app", None, [b"%d" % n], subject=SUBJECT) for n in range(20)}
    relations = ReferrersIndexes(tree.open())
    answers: list[set[Digest]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(referrers(relations.of(APP))))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == [expected] * 8


def test_only_so_many_are_kept(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_MOST_REPOSITORIES", 2)
    relations = ReferrersIndexes(tree.open())
    first = relations.of(repo("a"))
    relations.of(repo("b"))
    assert relations.of(repo("a")) is first
    relations.of(repo("c"))
    assert relations.of(repo("a")) is first
    second = relations.of(repo("b"))
    relations.of(repo("a"))
    assert relations.of(repo("b")) is second


# The snapshot.


@pytest.fixture
def every(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a snapshot after each two manifests."""
    monkeypatch.setattr(module, "SNAPSHOT_EVERY", 2)


def snapshot(tree: Tree, name: str = "app") -> Path:
    return tree.root / "jettison/relations" / name / "_snapshot"


def filled(tree: Tree, name: str = "app") -> tuple[set[Digest], Digest, Digest]:
    found = {tree.image(name, None, [b"%d" % n], subject=SUBJECT) for n in range(3)}
    child = next(iter(found))
    index = tree.index(name, None, [child])
    settle(tree, name)
    assert referrers(ReferrersIndexes(tree.open()).of(RepoName(name))) == found
    assert snapshot(tree, name).exists()
    return found, index, child


@pytest.mark.parametrize("name", ["app", "app/nested", "app/nested/more"])
def test_after_a_restart_nothing_is_read_again(tree: Tree, every: None, name: str) -> None:
    found, index, child = filled(tree, name)
    storage = Counting(tree.root)
    relations = ReferrersIndexes(storage).of(RepoName(name))
    assert referrers(relations) == found
    assert indexes(relations, child) == {index}
    assert storage.reads == 0


def test_what_came_after_the_snapshot_is_read(tree: Tree, every: None) -> None:
    found, _, _ = filled(tree)
    found.add(tree.image("app", None, [b"new"], subject=SUBJECT))
    storage = Counting(tree.root)
    assert referrers(ReferrersIndexes(storage).of(APP)) == found
    assert storage.reads == 1


def test_what_went_after_the_snapshot_is_not_believed(tree: Tree, every: None) -> None:
    found, _, _ = filled(tree)
    gone = found.pop()
    tree.revision_path("app", gone).unlink()
    assert referrers(ReferrersIndexes(tree.open()).of(APP)) == found


def _packed(**changes: object) -> Callable[[bytes], bytes]:
    def damage(raw: bytes) -> bytes:
        packed = msgspec.msgpack.encode(msgspec.msgpack.decode(raw[32:]) | changes)
        return (hashlib.sha256(packed).digest() if "version" in changes else raw[:32]) + packed

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:0],
        lambda raw: raw[:32],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"\xff" * len(raw),
        lambda raw: raw + b"more",
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        _packed(version=2),
        _packed(known="text"),
        _packed(known=[b"short"]),
        _packed(subjects={SUBJECT.binary: [b"short"]}),
        _packed(subjects={b"": [SUBJECT.binary]}),
        _packed(listed={SUBJECT.binary: [b""]}),
    ],
)
def test_a_damaged_snapshot_is_read_anew(
    tree: Tree, every: None, damage: Callable[[bytes], bytes]
) -> None:
    found, index, child = filled(tree)
    snapshot(tree).write_bytes(damage(snapshot(tree).read_bytes()))
    relations = ReferrersIndexes(tree.open()).of(APP)
    assert referrers(relations) == found
    assert indexes(relations, child) == {index}


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_snapshot_that_is_no_file_is_left_alone(
    tree: Tree, every: None, tmp_path: Path, kind: str
) -> None:
    found, _, _ = filled(tree)
    snapshot(tree).unlink()
    if kind == "link":
        (tmp_path / "outside").write_bytes(b"precious")
        snapshot(tree).symlink_to(tmp_path / "outside")
    else:
        snapshot(tree).mkdir()
    assert referrers(ReferrersIndexes(tree.open()).of(APP)) == found
    if kind == "link":
        assert (tmp_path / "outside").read_bytes() == b"precious"


def test_where_nothing_can_be_written_it_goes_without(
    tree: Tree, every: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _, _ = filled(tree)
    shutil.rmtree(tree.root / "jettison")
    storage = tree.open()

    def failing(relative: str, raw: bytes) -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(storage, "write", failing)
    assert referrers(ReferrersIndexes(storage).of(APP)) == found
