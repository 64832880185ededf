"""What moves in a bucket is copied, looked at, then removed: killed anywhere, nothing is lost."""

from collections.abc import Sequence

import pytest

from jettison.errors import StorageError
from jettison.fsck import CheckOptions, check_tree
from jettison.jobs.repair import RepairJob, RepairUndoJob
from jettison.jobs.workspace import Workspace
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.journal import JobState, RepairEntry
from jettison.storage.journal import tree_journal
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.mending import ObjectMending
from jettison.storage.protocol import InTheWayError, LinkKind, Outcome, Stamp, stamp_at
from tests.contract.content import ABSENT, APP, DIGEST, ONE, TWO, push
from tests.contract.objects import ObjectPlanter, in_bucket, open_bucket, open_objects
from tests.support.buckets import Bucket

PLACE, TO = "docker/registry/v2/thing", "jettison/fsck/r/moved/thing"


class KilledError(BaseException):
    """What a test throws where a process would be killed."""


class Dying(OpenBucket):
    """A bucket whose user is killed after so many changes; ``left`` of them are still to come."""

    left = 0

    def _change(self) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1

    def copy(self, key: str, to: str, size: int) -> None:
        self._change()
        super().copy(key, to, size)

    def put(self, key: str, content: bytes) -> None:
        self._change()
        super().put(key, content)

    def put_noted(self, key: str, content: bytes, stamp: Stamp) -> bool:
        self._change()
        return super().put_noted(key, content, stamp)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        if [key for key in keys if key.endswith("lease")]:
            return super().remove_each(keys)
        found: list[Outcome] = []
        for key in keys:  # a store may come half-way
            self._change()
            found += super().remove_each([key])
        return found


@pytest.fixture
def store(bucket: Bucket) -> OpenBucket:
    return open_bucket(bucket)


@pytest.fixture
def mending(bucket: Bucket) -> ObjectMending:
    return open_objects(bucket).mending()


def test_a_place_may_have_many_objects(store: OpenBucket, mending: ObjectMending) -> None:
    for name in ("a", "b/c", "b/d"):
        store.put(f"{PLACE}/{name}", name.encode())
    store.put(f"{PLACE}-2", b"another")
    found = mending.fingerprint(PLACE)
    assert (found.exists, found.size) == (True, 7)
    assert mending.take(PLACE, TO, (found,))
    assert not mending.fingerprint(PLACE).exists
    assert {key: store.get(f"{TO}/{key}", 9) for key in ("a", "b/c", "b/d")} == {
        "a": b"a",
        "b/c": b"b/c",
        "b/d": b"b/d",
    }
    assert store.get(f"{PLACE}-2", 9) == b"another"


def test_what_changes_while_it_is_copied_stays(store: OpenBucket, bucket: Bucket) -> None:
    class Pushed(OpenBucket):
        def copy(self, key: str, to: str, size: int) -> None:
            super().copy(key, to, size)
            store.put(key, b"newer")

    storage = ObjectStorage(Pushed(store.settings, {}), ManifestCache(None))
    for name in ("1", "2"):
        store.put(f"{PLACE}/{name}", b"older")
    mending = storage.mending()
    with pytest.raises(InTheWayError, match="has changed just now"):
        mending.take(PLACE, TO, ())
    assert [store.get(f"{PLACE}/{name}", 9) for name in ("1", "2")] == [b"newer", b"newer"]
    assert not mending.fingerprint(TO).exists


def test_a_copy_that_is_not_whole_costs_nothing(store: OpenBucket) -> None:
    class Cutting(OpenBucket):
        def copy(self, key: str, to: str, size: int) -> None:
            self.put(to, (self.get(key, size) or b"")[:4])

    storage = ObjectStorage(Cutting(store.settings, {}), ManifestCache(None))
    store.put(PLACE, b"all of it")
    with pytest.raises(StorageError, match="is not whole"):
        storage.mending().take(PLACE, TO, ())
    assert store.get(PLACE, 9) == b"all of it"
    assert store.look(TO) is None


def test_a_move_that_was_killed_comes_to_its_end(store: OpenBucket, mending: ObjectMending) -> None:
    store.put(f"{PLACE}/1", b"one")
    store.put(f"{PLACE}/2", b"two")
    store.put(f"{TO}/1", b"one")
    assert mending.move(TO, PLACE)  # copied in part: all of it is where it was
    assert not mending.fingerprint(TO).exists
    store.put(f"{TO}/1", b"one")
    store.put(f"{TO}/2", b"two")
    store.remove_each([f"{PLACE}/1"])
    assert mending.move(TO, PLACE)  # removed in part
    assert store.get(f"{PLACE}/1", 9) == b"one"
    store.put(f"{TO}/1", b"one")
    store.put(f"{TO}/2", b"TWO")
    with pytest.raises(InTheWayError):
        mending.move(TO, PLACE)
    store.put(f"{TO}/2", b"two")
    store.put(f"{TO}/3", b"three")
    store.put(f"{PLACE}/4", b"four")  # somebody's, who has written this place since
    with pytest.raises(InTheWayError):
        mending.move(TO, PLACE)
    assert store.look(f"{PLACE}/3") is None


def test_content_is_compared_where_an_etag_tells_nothing(
    store: OpenBucket, bucket: Bucket, mending: ObjectMending
) -> None:
    for key in (PLACE, TO):
        path = bucket.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"planted")  # without an ETag
    assert mending.move(TO, PLACE)
    assert store.get(PLACE, 9) == b"planted"


def test_a_noted_time_is_gone_with_the_next_write(
    store: OpenBucket, mending: ObjectMending
) -> None:
    mending.write(PLACE, b"ours", stamp_at(1000))
    assert mending.fingerprint(PLACE).stamp == stamp_at(1000)
    assert mending.move(PLACE, TO)
    assert mending.fingerprint(TO).stamp == stamp_at(1000)
    store.put(TO, b"ours")
    assert mending.fingerprint(TO).stamp > stamp_at(1000)


def test_what_is_large_or_absent_is_not_read(store: OpenBucket, mending: ObjectMending) -> None:
    store.put(PLACE, bytes(100_000))
    assert mending.read(PLACE) is None
    assert mending.read(TO) is None
    assert mending.has_digest(PLACE, Digest.of(bytes(100_000)).binary)
    assert not mending.has_digest(TO, Digest.of(b"").binary)


def test_killed_at_any_change_a_repair_can_be_undone(bucket: Bucket) -> None:
    subject = in_bucket(bucket)
    storage = subject.storage
    digest = push(storage, ONE)
    push(storage, TWO, layers=(b"second",))
    assert isinstance(subject.plant, ObjectPlanter)
    storage.unlink_layer(APP, DIGEST)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, b"")
    subject.plant.plant_blob(Digest.of(b"other"), b"damaged")
    subject.plant.plant_tag(APP, "lost", ABSENT.encode())
    subject.plant.plant_tag(APP, "lost", None)
    subject.let_pass(7200.0)
    before = images_of(bucket)
    now = subject.now()
    dying = Dying(open_bucket(bucket).settings, {})
    changes = 0
    while True:
        dying.left = changes
        job = RepairJob(workspace(dying, now), CheckOptions())
        try:
            entry = job.apply(
                job.plan(check_tree(job_storage(dying), CheckOptions(), now)),
                (),
                assume_quiescent=True,
            )
        except KilledError:
            entry = None
        if entry is not None:
            break
        changes += 1
        for run in tree_journal(storage).runs():
            if isinstance(run, RepairEntry) and run.state is JobState.APPLYING:
                undo(bucket, run, now)
        assert images_of(bucket) == before, changes
        subject.let_pass(7200.0)
    assert changes > 10


def job_storage(bucket: OpenBucket) -> ObjectStorage:
    return ObjectStorage(bucket, ManifestCache(None))


def workspace(bucket: OpenBucket, now: float) -> Workspace:
    return Workspace(storage=job_storage(bucket), clock=lambda: now)


def undo(bucket: Bucket, entry: RepairEntry, now: float) -> None:
    """Undo a repair, killed at each change of that too, until it comes to its end."""
    dying = Dying(open_bucket(bucket).settings, {})
    for changes in range(1000):
        dying.left = changes
        try:
            RepairUndoJob(workspace(dying, now), entry).apply(assume_quiescent=True)
        except KilledError:
            continue
        return
    pytest.fail("an undo makes fewer changes")


def images_of(bucket: Bucket) -> dict[str, bytes]:
    return {key: raw for key, raw in bucket.objects().items() if key.startswith("docker/")}
