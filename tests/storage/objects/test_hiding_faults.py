"""What is out of sight returns whatever goes wrong: signals, a failing store, another's kill."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from jettison.collector import collect, plan_collection
from jettison.collector.sweep import recover
from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.objects import leases
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.deleting import Deleted, SignedDeletes, uptime
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.objects.hiding import Hiding
from jettison.storage.objects.versions import Versions
from jettison.storage.protocol import LinkKind, Outcome
from tests.contract.objects import open_bucket
from tests.storage.objects.test_hiding import (
    IMAGE,
    LOOSE,
    MANIFEST,
    PLACES,
    PUSHED,
    SETTLE,
    TWO,
    UNTAGGED,
    Mortal,
    bucket,
    collected,
    is_there,
    kind,
    link,
    objects,
    opened,
    push,
    versioned,
)
from tests.storage.objects.test_sweeping import filled
from tests.support.buckets import Bucket
from tests.support.memory import Killed
from tests.support.trees import NOW

__all__ = ["bucket", "kind", "versioned"]


def is_whole(bucket: Bucket) -> bool:
    """Whether the image that :func:`push` pushes can be pulled."""
    return all(is_there(bucket, one) and link(bucket, one) for one in IMAGE)


def kill_one(bucket: Bucket) -> None:
    """Let a collection be killed when all that it takes is out of sight."""
    mortal = Mortal.of(bucket, 0)

    def die() -> None:
        mortal.dead = True
        mortal.ask()

    with pytest.raises(Killed):
        collected(bucket, die, mortal)
    assert not is_there(bucket, LOOSE)
    open_bucket(bucket).remove_each(["jettison/lease"])


def test_what_another_left_after_the_plan_comes_back(bucket: Bucket) -> None:
    filled(bucket)
    storage = opened(open_bucket(bucket))
    recover(storage)
    plan = plan_collection(storage, UNTAGGED, NOW)
    kill_one(bucket)
    push(bucket)
    assert collect(storage, plan, settle=SETTLE).recovered
    assert is_whole(bucket)
    assert not any(key.startswith("jettison/") for key in objects(bucket))


def test_a_dry_run_sees_what_another_left_as_it_would_be_in_its_place(bucket: Bucket) -> None:
    filled(bucket)
    mortal = Mortal.of(bucket, 0)
    dying = opened(mortal)
    plan = plan_collection(dying, UNTAGGED, NOW)

    def die(_: float) -> None:
        mortal.dead = True
        mortal.ask()

    assert plan.revisions
    with pytest.raises(Killed):  # as soon as links of manifests are out of sight
        collect(dying, plan, settle=SETTLE, sleep=die)
    storage = opened(open_bucket(bucket))
    with storage.seeing_quarantine():
        seen = plan_collection(storage, UNTAGGED, NOW + 7200)
    assert not seen.problems
    assert len(seen.revisions) == len(plan.revisions)
    assert seen.bytes == plan.bytes


def hiding_blobs(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> None:
    """Let something happen each time when blobs were taken out of sight."""
    whole = Hiding.hide

    def hide(self: Hiding, entries: Sequence[Entry]) -> list[Outcome]:
        found = whole(self, entries)
        if any("/blobs/" in entry.key for entry in entries):
            then()
        return found

    monkeypatch.setattr(Hiding, "hide", hide)


def test_the_last_look_sees_a_manifest_that_is_stored_and_not_linked_yet(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    storage = opened(open_bucket(bucket))
    plan = plan_collection(storage, UNTAGGED, NOW)
    hiding_blobs(monkeypatch, lambda: open_bucket(bucket).put(PLACES.blob(PUSHED), MANIFEST))
    collect(storage, plan, settle=0.0)
    assert is_whole(bucket)


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signed deletes of blobs are answered to nobody, and land half a second later."""
    whole = SignedDeletes._one
    late: list[threading.Timer] = []

    async def one(self: SignedDeletes, session: Any, key: str, end: float) -> Deleted:
        if "/blobs/" not in key:
            return await whole(self, session, key, end)
        timer = threading.Timer(0.5, lambda: self._bucket.remove([key]))
        timer.start()
        late.append(timer)
        return Deleted(StorageError("whether it was removed is not known"), uptime() + 1.0)

    monkeypatch.setattr(SignedDeletes, "_one", one)
    yield
    for timer in late:
        timer.join()


@pytest.mark.usefixtures("unanswered")
def test_an_interrupt_waits_for_deletes_that_may_still_land(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    storage = opened(open_bucket(bucket))
    plan = plan_collection(storage, UNTAGGED, NOW)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            raise KeyboardInterrupt
        real(seconds)

    real = time.sleep
    monkeypatch.setattr(Hiding.__init__, "__kwdefaults__", {"sleep": sleep})
    with pytest.raises(KeyboardInterrupt):
        collect(storage, plan, settle=SETTLE)
    time.sleep(1.0)
    assert all(is_there(bucket, blob.digest) for blob in plan.blobs)


def test_what_cannot_be_looked_at_after_its_delete_returns_too(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    whole, look = SignedDeletes.delete, OpenBucket.look
    blind: set[str] = set()

    def delete(self: SignedDeletes, keys: Sequence[str], end: float) -> list[Deleted]:
        found = whole(self, keys, end)
        if not any("/blobs/" in key for key in keys):
            return found
        blind.update(keys)
        return [Deleted(StorageError("whether it was removed is not known")) for _ in keys]

    def blindly(self: OpenBucket, key: str) -> Entry | None:
        if key in blind:
            blind.discard(key)
            raise StorageError("the store fails")
        return look(self, key)

    monkeypatch.setattr(SignedDeletes, "delete", delete)
    monkeypatch.setattr(OpenBucket, "look", blindly)
    collected(bucket, lambda: push(bucket))
    assert is_whole(bucket)


@pytest.mark.parametrize("kind", ["markers"])
def test_a_delete_that_arrived_twice_is_taken_back(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(bucket)
    whole = SignedDeletes.delete

    def delete(self: SignedDeletes, keys: Sequence[str], end: float) -> list[Deleted]:
        whole(self, keys, end)
        return whole(self, keys, end)

    monkeypatch.setattr(SignedDeletes, "delete", delete)
    assert collected(bucket, lambda: push(bucket)).ok
    assert is_whole(bucket)


@pytest.mark.parametrize("kind", ["markers"])
def test_what_is_nowhere_any_more_ends_no_collection(bucket: Bucket) -> None:
    """As where a rule of the bucket has ended it below its marker."""
    filled(bucket)
    kill_one(bucket)
    versions, key = Versions(open_bucket(bucket)), PLACES.blob(LOOSE)
    for find in (versions.below, versions.marker):
        version = find(key)
        assert version is not None
        versions.remove(key, version)
    assert collected(bucket).ok
    assert not any(key.startswith("jettison/") for key in objects(bucket))


def test_a_link_that_was_written_again_is_not_taken(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the request; whoever wrote it was told that it is there."""
    filled(bucket)
    time.sleep(1.1)  # stores tell times in whole seconds
    place = PLACES.link(LinkKind.LAYER, "app", TWO)
    whole = Hiding.hide

    def hide(self: Hiding, entries: Sequence[Entry]) -> list[Outcome]:
        if place in {entry.key for entry in entries}:
            open_bucket(bucket).put(place, TWO.encode())
        return whole(self, entries)

    monkeypatch.setattr(Hiding, "hide", hide)
    seen: list[bool] = []
    assert collected(bucket, lambda: seen.append(link(bucket, TWO))).ok
    assert seen == [True]
    assert is_there(bucket, TWO)
    assert link(bucket, TWO)


def test_a_link_to_a_manifest_that_is_gone_is_not_written_again(bucket: Bucket) -> None:
    """As by a process that stood still while another has removed the manifest."""
    tree = filled(bucket)
    digest = tree.image("app", "9", [b"nine"])
    tree.tag_path("app", "9").unlink()
    place = PLACES.link(LinkKind.REVISION, "app", digest)
    storage = opened(open_bucket(bucket))
    with storage.lease("test", hiding=True):
        storage.look_again()
        group = storage.link_quarantine().group(LinkKind.REVISION, "app", "sha256")
        assert group.take([(digest, None)]) == [True]
        open_bucket(bucket).remove([PLACES.blob(digest)])
        group.put_back_each([digest])
    assert open_bucket(bucket).look(place) is None


def test_the_history_of_a_tag_that_is_gone_is_not_written_again(bucket: Bucket) -> None:
    """It would look like a tag of which the link is lost."""
    tree = filled(bucket)
    digest = tree.image("app", "9", [b"nine"])
    for meanwhile in (False, True):
        storage = opened(open_bucket(bucket))
        with storage.lease("test", hiding=True):
            group = storage.link_quarantine().history("app", "9", "sha256")
            assert group.take([(digest, None)]) == [True]
            if meanwhile:
                open_bucket(bucket).remove([PLACES.tag("app", "9")])
            group.put_back_each([digest])
        found = open_bucket(bucket).look(PLACES.history_link("app", "9", digest))
        assert (found is None) == meanwhile


def test_a_store_that_fails_is_asked_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(bucket)
    look, failing = OpenBucket.look, threading.Event()

    def fails(self: OpenBucket, key: str) -> Entry | None:
        if failing.is_set() and "/blobs/" in key:
            raise StoreFailing("the store does not answer")
        return look(self, key)

    monkeypatch.setattr(OpenBucket, "look", fails)
    monkeypatch.setattr(Hiding.__init__, "__kwdefaults__", {"sleep": lambda _: failing.clear()})

    def meanwhile() -> None:
        push(bucket)
        failing.set()

    receipt = collected(bucket, meanwhile)
    assert not failing.is_set()
    assert receipt.ok
    assert is_whole(bucket)


def test_announcements_of_others_do_not_hold_it_up(bucket: Bucket) -> None:
    """As of a collection beside our own servers that was killed a moment ago."""
    filled(bucket)
    storage = opened(open_bucket(bucket))
    storage.sweeps.announce([PLACES.link(LinkKind.LAYER, "other", LOOSE)], 300.0)
    with storage.lease("test", hiding=True):
        storage.link_layer(RepoName("other"), LOOSE)
    assert link(bucket, LOOSE, "other")


def test_long_links_are_noted_and_read_again(bucket: Bucket) -> None:
    tree = filled(bucket)
    junk = b"\x01" * 4096
    for number in range(300):
        tree.write(tree.layer_path("junk", Digest.of(str(number).encode())), junk)
    kill_one(bucket)
    recover(opened(open_bucket(bucket)))
    place = PLACES.link(LinkKind.LAYER, "junk", Digest.of(b"7"))
    assert open_bucket(bucket).get(place, 5000) == junk


def test_a_lease_that_another_has_taken_is_lost(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.4)
    store = open_bucket(bucket)
    with leases.hold(store, "jettison/lease", "test") as held:
        assert held is not None
        deadline = time.monotonic() + 20
        while not held.is_lost:
            assert time.monotonic() < deadline
            store.put("jettison/lease", b"another's")  # it may be written over just then
            time.sleep(0.05)
    assert store.get("jettison/lease", 100) == b"another's"


def test_a_tag_that_was_listed_before_its_link_was_written_is_whole(bucket: Bucket) -> None:
    """Distribution writes the history of a tag first."""
    tree = filled(bucket)
    digest = tree.image("app", "9", [b"nine"])
    tree.tag_path("app", "9").unlink()
    storage = opened(open_bucket(bucket))
    storage.scan_repositories()
    with storage.repository("app") as repository:
        assert "9" in repository.tags().broken
        open_bucket(bucket).put(PLACES.tag("app", "9"), digest.encode())
        found = repository.tags()
    assert found.current[Tag("9")] == digest.binary
    assert not found.problems
