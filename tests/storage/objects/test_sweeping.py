"""A collection of a bucket: exact, whole after a kill at each request, and never of what is new."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.collector.sweep import CollectionReceipt, recover
from jettison.errors import Locked, NotQuiescent, StorageError
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.leases import LEASE_SECONDS
from jettison.storage.protocol import LinkKind, Outcome
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket
from tests.support.memory import Killed
from tests.support.trees import NOW, Tree

UNTAGGED = CollectOptions(untagged=0.0)


def filled(bucket: Bucket) -> Tree:
    """One image that stays, one that lost its tag, and a blob of nobody."""
    tree = Tree(bucket.folder)
    tree.image("app", "1", [b"base", b"one"])
    tree.image("app", "2", [b"base", b"two"])
    tree.tag("app", "2", tree.image("other", "2", [b"base"]))
    tree.image("app", "2", [b"base", b"three"])
    tree.blob(b"loose", "app")
    tree.blob(b"linked nowhere")
    return tree


def opened(bucket: OpenBucket) -> ObjectStorage:
    return ObjectStorage(bucket, ManifestCache(None))


def collected(storage: ObjectStorage, options: CollectOptions = UNTAGGED) -> CollectionReceipt:
    recover(storage)
    plan = plan_collection(storage, options, NOW)
    return collect(storage, plan, quiescent=True)


def objects(bucket: Bucket) -> set[str]:
    """All keys but those of the journal's home."""
    return set(bucket.objects())


def test_what_goes_is_what_was_predicted(bucket: Bucket) -> None:
    tree = filled(bucket)
    storage = opened(open_bucket(bucket))
    before = tree.blob_bytes()
    plan = plan_collection(storage, UNTAGGED, NOW)
    assert plan.blobs
    assert plan.revisions
    assert plan.layer_links
    receipt = collect(storage, plan, quiescent=True)
    assert receipt.ok
    assert receipt.blobs.bytes == plan.bytes == before - tree.blob_bytes()
    assert storage.aside == {}
    assert not any(key.startswith("jettison/") for key in objects(bucket))
    again = plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW)
    assert again.empty


def test_what_a_repository_loses_altogether_goes_too(bucket: Bucket) -> None:
    """Nothing of it is in a listing that leaves out what is taken."""
    tree = filled(bucket)
    tree.blob(b"left behind", "abandoned")
    gone = tree.image("untagged", "1", [b"base", b"lost"])
    tree.tag_path("untagged", "1").unlink()
    tree.history_path("untagged", "1", gone).unlink()
    long = Digest.of(b"long", "sha512")
    tree.write(tree.data(long), b"long")
    tree.write(tree.layer_path("abandoned", long), long.encode())
    assert collected(opened(open_bucket(bucket))).ok
    left = objects(bucket)
    assert not [key for key in left if "/abandoned/" in key or "/untagged/" in key]
    assert plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW).empty


def test_a_registry_that_takes_pushes_keeps_all(bucket: Bucket) -> None:
    filled(bucket)
    storage = opened(open_bucket(bucket))
    plan = plan_collection(storage, UNTAGGED, NOW)
    before = objects(bucket)
    with pytest.raises(NotQuiescent, match="nothing can be hidden in s3://"):
        collect(storage, plan)
    assert objects(bucket) == before


class Met(OpenBucket):
    """Something happens before its ``at``-th change, counted from 1."""

    at: int
    changes = 0
    layers_at = 0
    """The change that is the first to remove layer links."""
    what: Callable[[], None]

    @classmethod
    def of(cls, bucket: Bucket, at: int, what: Callable[[], None]) -> "Met":
        open_one = open_bucket(bucket)
        found = cls(open_one.settings, {})
        found.at, found.what = at, what
        return found

    def _count(self) -> None:
        self.changes += 1
        if self.changes == self.at:
            self.what()

    def put(self, key: str, content: bytes) -> None:
        self._count()
        super().put(key, content)

    def put_new(self, key: str, content: bytes) -> bool:
        self._count()
        return super().put_new(key, content)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        self._count()
        if any("/_layers/" in key for key in keys):
            self.layers_at = self.layers_at or self.changes
        return super().remove_each(keys)


def die() -> None:
    raise Killed


def nothing() -> None:
    pass


@pytest.fixture
def left(bucket: Bucket) -> tuple[set[str], Met]:
    """What a whole collection leaves, and the changes that it makes."""
    filled(bucket)
    met = Met.of(bucket, 0, nothing)
    collected(opened(met))
    found = objects(bucket)
    empty(bucket)
    return found, met


def empty(bucket: Bucket) -> None:
    storage = open_bucket(bucket)
    assert set(storage.remove_each(sorted(objects(bucket)))) == {True}


def test_killed_at_each_change_it_leaves_no_broken_image(
    bucket: Bucket, left: tuple[set[str], Met]
) -> None:
    expected, whole = left
    assert whole.changes > 5
    for at in range(1, whole.changes + 1):
        filled(bucket)
        with pytest.raises(Killed):
            collected(opened(Met.of(bucket, at, die)))
        assert expected <= objects(bucket), at
        # The lease of a killed process is over half a minute later.
        open_bucket(bucket).remove_each(["jettison/lease"])
        assert collected(opened(open_bucket(bucket))).ok, at
        assert objects(bucket) == expected, at
        empty(bucket)


def test_what_is_written_before_layers_are_removed_stays(
    bucket: Bucket, left: tuple[set[str], Met]
) -> None:
    """It is not promised, as the registry is to be stopped; but each look is used."""
    expected, whole = left
    assert whole.layers_at > 3
    for at in range(1, whole.layers_at):
        tree = filled(bucket)
        pushed: set[str] = set()

        def push(tree: Tree = tree, pushed: set[str] = pushed) -> None:
            image = tree.image("app", "new", [b"base", b"two"], when=NOW)
            assert tree.data(image).exists()
            pushed.update(
                str(path.relative_to(bucket.folder))
                for digest in (image, Digest.of(b"two"), Digest.of(b"config of base,two"))
                for path in (tree.data(digest),)
            )

        collected(opened(Met.of(bucket, at, push)))
        assert expected | pushed <= objects(bucket), at
        empty(bucket)


def test_what_cannot_be_removed_is_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(bucket)
    whole = open_bucket(bucket)
    remove = OpenBucket.remove_each
    stuck = Digest.of(b"loose").hex

    def refuse(self: OpenBucket, keys: Sequence[str]) -> list[Outcome]:
        rest = [key for key in keys if stuck not in key or "/blobs/" not in f"/{key}"]
        done: dict[str, Outcome] = dict(zip(rest, remove(self, rest), strict=True))
        error = StorageError("the credentials have no right to do that")
        return [done.get(key, error) for key in keys]

    monkeypatch.setattr(OpenBucket, "remove_each", refuse)
    receipt = collected(opened(whole))
    assert not receipt.ok
    assert receipt.failures == 1
    assert any("no right to do that" in problem.message for problem in receipt.problems)
    assert any(stuck in key for key in objects(bucket))
    monkeypatch.undo()
    collected(opened(open_bucket(bucket)))
    assert not any(stuck in key for key in objects(bucket))


# Leases and documents.


def test_a_lease_that_its_holder_keeps_is_respected(bucket: Bucket) -> None:
    one, two = opened(open_bucket(bucket)), opened(open_bucket(bucket))
    with one.lease("collection"):
        with pytest.raises(Locked, match="collection by process"), two.lease("repair"):
            pass
        bucket.age(LEASE_SECONDS / 2)
        with pytest.raises(Locked), two.lease("repair"):
            pass
    with two.lease("repair"):
        bucket.age(1000)  # it was killed, say
        with one.lease("collection"):
            pass
    assert "jettison/lease" not in objects(bucket)


def test_documents_are_kept(bucket: Bucket) -> None:
    documents = opened(open_bucket(bucket)).documents("runs")
    assert documents.names() == []
    assert documents.read("one", 100) is None
    assert not documents.remove("one")
    with pytest.raises(StorageError, match="no such collection"):
        documents.append("one.steps", [b"1"])
    documents.write("one", b"content")
    documents.append("one.steps", [b"1", b"2"])
    documents.append("one.steps", [b"3"])
    assert sorted(documents.names()) == ["one", "one.steps"]
    assert (documents.read("one", 100) or b"").split() == [b"content"]
    assert (documents.read("one.steps", 100) or b"").split() == [b"1", b"2", b"3"]
    assert documents.beginning("one", 3) == b"con"
    with documents.lease("prune") as held, documents.lease("prune") as again:
        assert (held, again) == (True, False)
        assert sorted(documents.names()) == ["one", "one.steps"]
    assert documents.remove("one")
    assert documents.names() == ["one.steps"]


def test_links_that_are_taken_are_out_of_sight_until_they_are_written_again(
    bucket: Bucket,
) -> None:
    tree = filled(bucket)
    storage = opened(open_bucket(bucket))
    loose = Digest.of(b"loose")

    def seen() -> Any:
        storage.look_again()
        with storage.repository("app") as repository:
            return repository.layer_target(loose.binary) is not None

    assert seen()
    group = storage.link_quarantine().group(LinkKind.LAYER, "app", "sha256")
    assert group is not None
    with group:
        stamp = group.stamp(loose)
        assert group.take([(loose, stamp)]) == [True]
        assert group.take([(loose, stamp)]) == [False]
        assert group.stamp(loose) is None
        assert group.taken([loose]) == [stamp]
        assert not seen()
        assert group.taken([loose]) == [stamp]
        tree.write(tree.layer_path("app", loose), loose.encode(), when=NOW)
        assert seen()
        assert group.taken([loose]) != [stamp]
        assert group.put_back(loose)
        assert group.taken([loose]) == [None]
        assert group.remove([loose]) == [False]
