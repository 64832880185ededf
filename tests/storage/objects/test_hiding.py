"""A collection of a bucket beside a registry that knows nothing of us.

What goes is out of its place for a time, by copies or by delete markers, and returns if a push has
come to need it, or if the collection was killed.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.collector.sweep import CollectionReceipt, recover
from jettison.errors import StorageError
from jettison.fsck import CheckOptions, check_tree
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.objects import ObjectStorage, leases
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.deleting import Deleted, SignedDeletes, uptime
from jettison.storage.objects.versions import Versions
from jettison.storage.protocol import LinkKind, Outcome
from tests.contract.objects import open_bucket
from tests.storage.objects.test_sweeping import filled
from tests.support.buckets import Bucket, Gateway
from tests.support.memory import Killed
from tests.support.trees import NOW, image_document

UNTAGGED = CollectOptions(untagged=0.0)
SETTLE: Final = 0.2
NUMBERS = count(1)


@pytest.fixture(scope="session")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("versioned"), versions=True) as running:
        yield running


@pytest.fixture(params=["copies", "markers"])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def bucket(kind: str, gateway: Gateway, request: pytest.FixtureRequest) -> Bucket:
    running = request.getfixturevalue("versioned") if kind == "markers" else gateway
    found: Bucket = running.bucket(f"hidden-{next(NUMBERS)}")
    return found


LOOSE: Final = Digest.of(b"loose")
TWO: Final = Digest.of(b"two")
CONFIG: Final = Digest.of(b"config of base,two")
BASE: Final = Digest.of(b"base")
PLACES: Final = TreePlaces()
IMAGE: Final = (TWO, CONFIG, BASE)
MANIFEST: Final = json.dumps(
    image_document(CONFIG, [BASE, TWO]) | {"annotations": {"a": "b"}}
).encode()
PUSHED: Final = Digest.of(MANIFEST)
NEW: Final = frozenset(
    {
        *map(PLACES.blob, (PUSHED, TWO, CONFIG)),
        *(PLACES.link(LinkKind.LAYER, "app", one) for one in (TWO, CONFIG)),
        PLACES.link(LinkKind.REVISION, "app", PUSHED),
        PLACES.tag("app", "new"),
    }
)
"""The keys that are there only once it is pushed."""


def opened(bucket: OpenBucket) -> ObjectStorage:
    return ObjectStorage(bucket, ManifestCache(None))


def is_there(bucket: Bucket, digest: Digest) -> bool:
    return open_bucket(bucket).look(PLACES.blob(digest)) is not None


def collected(
    bucket: Bucket,
    meanwhile: Callable[[], None] = lambda: None,
    store: OpenBucket | None = None,
    now: float = NOW,
) -> CollectionReceipt:
    """Collect; `meanwhile` happens once, when blobs are out of sight and before the last look."""
    storage = opened(store or open_bucket(bucket))
    recover(storage)
    plan = plan_collection(storage, UNTAGGED, now)
    left = [meanwhile]

    def sleep(_: float) -> None:
        if left and not is_there(bucket, LOOSE):
            left.pop()()

    return collect(storage, plan, settle=SETTLE, sleep=sleep)


def objects(bucket: Bucket) -> set[str]:
    """All keys that the store shows but the clock, which each collection may write."""
    store = open_bucket(bucket)
    pages = (page for top in ("docker", "jettison") for page in store.pages(top))
    return {entry.key for page in pages for entry in page} - {"jettison/clock"}


def link(bucket: Bucket, digest: Digest, name: str = "app") -> bool:
    place = PLACES.link(LinkKind.LAYER, name, digest)
    return open_bucket(bucket).get(place, 100) == digest.encode()


def push(bucket: Bucket) -> None:
    """Do what Distribution does once it has seen that all layers are there."""
    store = open_bucket(bucket)
    store.put(PLACES.blob(PUSHED), MANIFEST)
    store.put(PLACES.link(LinkKind.REVISION, "app", PUSHED), PUSHED.encode())
    store.put(PLACES.tag("app", "new"), PUSHED.encode())


def test_what_goes_is_what_was_predicted(bucket: Bucket, kind: str) -> None:
    filled(bucket)
    before = objects(bucket)
    plan = plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW)
    assert plan.blobs
    assert plan.revisions
    assert plan.history
    receipt = collected(bucket)
    assert receipt.ok
    assert receipt.blobs.bytes == plan.bytes
    assert not receipt.put_back.count
    gone = before - objects(bucket)
    assert {PLACES.blob(blob.digest) for blob in plan.blobs} <= gone
    assert not any(key.startswith("jettison/") for key in objects(bucket))
    versions = Versions(open_bucket(bucket))
    assert (versions.marker(PLACES.blob(LOOSE)) is not None) == (kind == "markers")
    assert plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW).empty


def test_what_goes_is_out_of_sight_before_the_last_look(bucket: Bucket) -> None:
    filled(bucket)
    seen: list[tuple[bool, bool]] = []
    collected(bucket, lambda: seen.append((is_there(bucket, LOOSE), link(bucket, LOOSE))))
    assert seen == [(False, False)]


def test_what_a_push_needs_comes_back(bucket: Bucket) -> None:
    filled(bucket)
    receipt = collected(bucket, lambda: push(bucket))
    assert receipt.ok
    assert receipt.put_back.count == 2
    for digest in IMAGE:
        assert is_there(bucket, digest)
        assert link(bucket, digest)
    assert not is_there(bucket, LOOSE)
    assert not any(key.startswith("jettison/") for key in objects(bucket))
    storage = opened(open_bucket(bucket))
    again = plan_collection(storage, UNTAGGED, NOW)
    assert again.empty
    assert b"".join(storage.read_blob(TWO.binary)) == b"two"


def test_what_is_linked_meanwhile_comes_back(bucket: Bucket) -> None:
    """As by an upload of what was there a moment before; its manifest is still to come."""
    filled(bucket)
    place = PLACES.link(LinkKind.LAYER, "other", LOOSE)
    receipt = collected(bucket, lambda: open_bucket(bucket).put(place, LOOSE.encode()))
    assert receipt.ok
    assert receipt.put_back.count == 1
    assert is_there(bucket, LOOSE)


def test_what_is_pushed_again_stays(bucket: Bucket) -> None:
    filled(bucket)
    receipt = collected(bucket, lambda: open_bucket(bucket).put(PLACES.blob(LOOSE), b"loose"))
    assert receipt.ok
    assert is_there(bucket, LOOSE)
    assert not any(key.startswith("jettison/") for key in objects(bucket))


def refuse_versions(self: Versions, key: str, version: str) -> None:
    raise StorageError("no right to remove a version")


def test_without_the_right_to_remove_markers_blobs_are_copied(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    monkeypatch.setattr(Versions, "remove", refuse_versions)
    seen: set[str] = set()

    def meanwhile() -> None:
        seen.update(objects(bucket))
        push(bucket)

    receipt = collected(bucket, meanwhile)
    assert receipt.ok
    assert receipt.put_back.count == 2
    assert any("/copies/" in key for key in seen)
    assert all(is_there(bucket, one) and link(bucket, one) for one in IMAGE)


@pytest.mark.parametrize("lands", [False, True], ids=["lost", "landed"])
def test_a_delete_without_an_answer_is_waited_for(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, lands: bool
) -> None:
    filled(bucket)
    whole = SignedDeletes._one

    async def one(self: SignedDeletes, session: Any, key: str, end: float) -> Deleted:
        if lands or "/blobs/" not in key:
            found = await whole(self, session, key, end)
        if "/blobs/" not in key:
            return found
        error = StorageError("whether it was removed is not known")
        return Deleted(error, uptime() + 0.5)

    monkeypatch.setattr(SignedDeletes, "_one", one)
    began = time.monotonic()
    receipt = collected(bucket, lambda: push(bucket))
    assert time.monotonic() - began > 0.5
    assert receipt.ok == lands
    assert is_there(bucket, LOOSE) != lands
    if lands:
        assert all(is_there(bucket, one) and link(bucket, one) for one in IMAGE)
    assert not any("/aside/" in key for key in objects(bucket))


def test_nothing_is_deleted_once_the_lease_may_be_another_s(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    before = objects(bucket)
    monkeypatch.setattr(leases, "_SURE_SECONDS", 5.0)
    receipt = collected(bucket)
    assert not receipt.ok
    assert receipt.failures
    assert before <= objects(bucket)


def test_notes_are_not_believed(bucket: Bucket) -> None:
    filled(bucket)
    before = objects(bucket)
    store = open_bucket(bucket)
    links = {
        "jettison/runs/one/link": "text",
        "docker/registry/v2/repositories/app/_layers/../link": "text",
        "docker/registry/v2/blobs/sha256/aa/data": "text",
    }
    blobs = {"jettison/runs/one": [3, 4], "docker/registry/v2/blobs/sha256/aa/data": [3, 4]}
    store.put("jettison/links-aside", b"")
    store.put("jettison/aside/one/000000.links", json.dumps({"links": links}).encode())
    store.put("jettison/aside/one/000000.markers", json.dumps({"blobs": blobs}).encode())
    store.put("jettison/aside/one/copies/000000/sha256/aa", b"")
    assert recover(opened(store)) == []
    assert objects(bucket) == before | {"jettison/aside/one/copies/000000/sha256/aa"}
    store.put("jettison/links-aside", b"")
    store.put("jettison/aside/one/000000.links", b"{")
    with pytest.raises(StorageError, match=r"000000\.links cannot be read"):
        recover(opened(store))


class Mortal(OpenBucket):
    """A process that dies before its ``at``-th change, counted from 1, and asks nothing then."""

    at = 0
    changes = 0
    dead = False

    @classmethod
    def of(cls, bucket: Bucket, at: int) -> "Mortal":
        settings = open_bucket(bucket).settings
        found = cls(settings, {})
        found.at = at
        return found

    def change(self) -> None:
        self.ask()
        self.changes += 1
        if self.changes == self.at:
            self.dead = True
            self.ask()

    def ask(self) -> None:
        if self.dead:
            raise Killed

    def put(self, key: str, content: bytes) -> None:
        self.change()
        super().put(key, content)

    def put_new(self, key: str, content: bytes) -> bool:
        self.change()
        return super().put_new(key, content)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        self.change()
        return super().remove_each(keys)

    def copy(self, key: str, to: str, size: int) -> None:
        self.change()
        super().copy(key, to, size)

    def signed(self, method: str, key: str | None, query: Mapping[str, str]) -> str | None:
        self.ask()
        return super().signed(method, key, query)

    def look(self, key: str) -> Entry | None:
        self.ask()
        return super().look(key)

    def pages(self, prefix: str, after: str | None = None) -> Iterator[list[Entry]]:
        self.ask()
        return super().pages(prefix, after)

    def get(self, key: str, limit: int) -> bytes | None:
        self.ask()
        return super().get(key, limit)


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed deletes are two changes: the first half of them, and the second."""
    whole = SignedDeletes.delete

    def delete(self: SignedDeletes, keys: Sequence[str], end: float) -> list[Deleted]:
        found: list[Deleted] = []
        for some in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            if isinstance(self._bucket, Mortal):
                self._bucket.change()
            found += whole(self, some, end)
        return found

    monkeypatch.setattr(SignedDeletes, "delete", delete)


@pytest.mark.usefixtures("halves")
@pytest.mark.parametrize("pushes", [False, True], ids=["", "pushed"])
@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_change_it_leaves_no_broken_image(
    kind: str, gateway: Gateway, request: pytest.FixtureRequest, pushes: bool, every: int
) -> None:
    running: Gateway = request.getfixturevalue("versioned") if kind == "markers" else gateway

    def new() -> Bucket:
        found = running.bucket(f"killed-{next(NUMBERS)}")
        filled(found)
        return found

    def meanwhile(bucket: Bucket) -> Callable[[], None]:
        return lambda: push(bucket) if pushes else None

    bucket = new()
    whole = Mortal.of(bucket, 0)
    collected(bucket, meanwhile(bucket), whole)
    expected = objects(bucket)
    assert whole.changes > 20
    first = 1 + (2 * pushes + (kind == "markers")) % every
    for at in range(first, whole.changes + 1, every):
        bucket = new()
        with pytest.raises(Killed):
            collected(bucket, meanwhile(bucket), Mortal.of(bucket, at))
        open_bucket(bucket).remove_each(["jettison/lease"])
        # A dry run counts what is out of sight as if it were in its place.
        storage = opened(open_bucket(bucket))
        with storage.seeing_quarantine():
            before = plan_collection(storage, UNTAGGED, NOW)
        recover(opened(open_bucket(bucket)))
        after = plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW)
        assert before.bytes >= after.bytes, at
        was_pushed = open_bucket(bucket).look(PLACES.tag("app", "new")) is not None
        # What came back may be young, and goes when it is not.
        for now in (NOW, time.time() + 7200):
            assert expected - NEW <= objects(bucket), at
            if was_pushed:
                assert all(is_there(bucket, one) and link(bucket, one) for one in IMAGE), at
            assert collected(bucket, now=now).ok, at
        left = objects(bucket)
        assert not any(key.startswith("jettison/") for key in left), at
        assert is_there(bucket, TWO) == was_pushed, at
        assert not plan_collection(opened(open_bucket(bucket)), UNTAGGED, NOW).problems, at


def test_what_a_killed_collection_has_hidden_is_told_by_a_check(bucket: Bucket, kind: str) -> None:
    filled(bucket)
    store = Mortal.of(bucket, 0)

    def meanwhile() -> None:
        push(bucket)
        store.dead = True

    with pytest.raises(Killed):
        collected(bucket, meanwhile, store)
    open_bucket(bucket).remove_each(["jettison/lease"])
    found = check_tree(opened(open_bucket(bucket)), CheckOptions(), NOW)
    [told] = [one for one in found.defects if one.path == "jettison/aside"]
    assert "links that a collection has hidden" in told.sentence
    assert not told.is_damage
    damage = {one.path: one for one in found.defects if one.is_damage}
    assert damage.keys() >= {PLACES.blob(TWO), PLACES.blob(CONFIG)}
    for place in (PLACES.blob(TWO), PLACES.blob(CONFIG)):
        assert "`jettison gc` brings it back" in damage[place].sentence
        assert "app:new" in damage[place].tags
    # Nothing is moved aside, or linked, on account of what is only hidden.
    assert not [one for one in found.defects if one.remedy is not None]
    recover(opened(open_bucket(bucket)))
    assert not check_tree(opened(open_bucket(bucket)), CheckOptions(), NOW).defects
    open_bucket(bucket).put("jettison/aside/one/000000.links", b"{")
    [unread] = check_tree(opened(open_bucket(bucket)), CheckOptions(), NOW).defects
    assert unread.is_damage
    assert "000000.links cannot be read" in unread.sentence
