"""Moving and writing for a repair, as every kind of storage does it; and a repair of each."""

import pytest

from jettison.fsck import CheckOptions, check_tree
from jettison.jobs.repair import RepairJob, RepairUndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.check_report import CheckReport, DefectClass
from jettison.model.digest import Digest
from jettison.storage.protocol import InTheWayError, LinkKind, Storage, stamp_at
from tests.contract.content import ABSENT, APP, BLOB, DIGEST, ONE, TWO, image, push
from tests.contract.storages import ON_A_DISK, WEEK, Subject

FOLDER = "jettison/fsck/r"


def now_of(subject: Subject) -> float:
    """A moment at which all that was made so far is older than a day."""
    subject.let_pass(WEEK)
    storage = subject.storage
    storage.put_blob(APP, Digest.of(b"clock"), [b"clock"])
    blob = storage.blob(Digest.of(b"clock").binary)
    assert blob is not None
    return blob.stamp / 1e9


def test_what_is_in_a_place_is_told_apart(subject: Subject) -> None:
    digest = push(subject.storage, ONE)
    places, mending = subject.storage.places, subject.storage.mending()
    link = places.tag(APP, ONE)
    found = mending.fingerprint(link)
    assert found.exists
    assert found == subject.storage.mending().fingerprint(link)
    assert mending.read(link) == digest.encode()
    assert mending.has_digest(places.blob(DIGEST), DIGEST.binary)
    assert not mending.has_digest(places.blob(DIGEST), ABSENT.binary)
    for absent in (places.blob(ABSENT), places.tag(APP, TWO)):
        assert not mending.fingerprint(absent).exists
        assert mending.read(absent) is None
        assert not mending.has_digest(absent, ABSENT.binary)
    subject.let_pass(5.0)
    found = mending.fingerprint(link)
    push(subject.storage, ONE)
    assert mending.fingerprint(link) != found


def test_what_is_taken_is_what_was_seen(subject: Subject) -> None:
    push(subject.storage, ONE)
    places, mending = subject.storage.places, subject.storage.mending()
    place, to = places.tag(APP, ONE), f"{FOLDER}/moved/tag"
    subject.let_pass(5.0)
    seen = mending.fingerprint(place)
    push(subject.storage, ONE)
    with pytest.raises(InTheWayError):
        mending.take(place, to, (seen,))
    assert mending.fingerprint(place).exists
    assert mending.take(place, to, (mending.fingerprint(place),))
    assert not subject.storage.exists(place)
    assert subject.storage.exists(to)
    assert not mending.take(place, to, ())


def test_nothing_is_moved_or_written_over(subject: Subject) -> None:
    push(subject.storage, ONE)
    subject.storage.put_blob(APP, Digest.of(b"other"), [b"other"])
    places, mending = subject.storage.places, subject.storage.mending()
    place, other, to = places.blob(DIGEST), places.blob(Digest.of(b"other")), f"{FOLDER}/moved/blob"
    with pytest.raises(InTheWayError):
        mending.move(place, other)
    with pytest.raises(InTheWayError):
        mending.write(place, b"new", stamp_at(0))
    assert mending.has_digest(place, DIGEST.binary)
    assert mending.move(place, to)
    assert not mending.move(place, to)
    assert subject.storage.blob(DIGEST.binary) is None
    assert mending.read(to) == BLOB
    assert mending.move(to, place)
    assert subject.storage.blob(DIGEST.binary) is not None


def test_what_is_written_has_its_stamp_until_it_is_removed(subject: Subject) -> None:
    push(subject.storage)
    places, mending = subject.storage.places, subject.storage.mending()
    place = places.link(LinkKind.LAYER, APP, ABSENT)
    missing = mending.missing(place)
    mending.write(place, ABSENT.encode(), stamp_at(1000))
    assert mending.missing(place) == ()
    assert mending.fingerprint(place).stamp == stamp_at(1000)
    with subject.storage.repository(APP) as repository:
        assert repository.layer_target(ABSENT.binary) == ABSENT.binary
    assert not any(mending.remove_empty(one) for one in missing)
    mending.remove(place)
    assert not subject.storage.exists(place)
    assert all(mending.remove_empty(one) for one in missing)
    assert mending.missing(place) == missing


def test_a_whole_tag_goes_and_comes_back(subject: Subject) -> None:
    push(subject.storage, ONE, TWO)
    places, mending = subject.storage.places, subject.storage.mending()
    whole, to = places.whole_tag(APP, ONE), f"{FOLDER}/moved/one"
    seen = tuple(map(mending.fingerprint, (whole, places.tag(APP, ONE))))
    with subject.storage.repository(APP) as repository:
        before = repository.tags()
        assert mending.take(whole, to, seen)
        assert repository.tags().current.keys() == {TWO}
        assert mending.move(to, whole)
        assert repository.tags() == before


def check(storage: Storage, now: float) -> CheckReport:
    return check_tree(storage, CheckOptions(), now)


@ON_A_DISK
def test_a_repair_mends_what_it_can_and_is_undone(subject: Subject) -> None:
    storage, places = subject.storage, subject.storage.places
    digest = push(storage, ONE)
    push(storage, TWO, layers=(b"gone",))
    bad, _ = image(b"gone")
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, b"")
    subject.plant.plant_blob(Digest.of(b"other"), b"damaged")
    with storage.quarantine() as aside:
        aside.put([Digest.of(b"gone").binary])
    links = storage.link_quarantine().group(LinkKind.REVISION, APP, "sha256")
    assert links is not None
    with links:
        links.take([(bad, None)])
        links.remove([bad])
    subject.plant.plant_tag(APP, "lost", ABSENT.encode())
    now = now_of(subject)
    before = check(storage, now)
    wrong = {defect.kind for defect in before.defects if defect.is_damage}
    assert wrong >= {
        DefectClass.DAMAGED_BLOB,
        DefectClass.ABSENT_BLOB,
        DefectClass.MALFORMED_LINK,
        DefectClass.TAG_WITHOUT_REVISION,
    }
    place = Workspace(storage=storage, clock=lambda: now)
    job = RepairJob(place, CheckOptions())
    entry = job.apply(job.plan(before), ("here",), assume_quiescent=True)
    assert entry.receipt is not None
    assert entry.receipt.ok, entry.receipt
    assert job.verify(before).damage == 0
    assert not storage.exists(places.whole_tag(APP, "lost"))
    undone = RepairUndoJob(place, entry).apply(assume_quiescent=True)
    assert undone.receipt is not None
    assert undone.receipt.ok, undone.receipt
    # What a sweep had left aside stays where it belongs.
    after = {defect.key for defect in check(storage, now).defects if defect.is_damage}
    gone = (DefectClass.ABSENT_BLOB, APP, places.blob(Digest.of(b"gone")))
    assert after == {one.key for one in before.defects if one.is_damage} - {gone}


def test_a_repair_of_what_any_storage_may_have(subject: Subject) -> None:
    storage, places = subject.storage, subject.storage.places
    digest = push(storage, ONE)
    storage.unlink_layer(APP, DIGEST)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, b"")
    subject.plant.plant_blob(Digest.of(b"other"), b"damaged")
    subject.plant.plant_tag(APP, "lost", ABSENT.encode())
    now = now_of(subject)
    before = check(storage, now)
    place = Workspace(storage=storage, clock=lambda: now)
    job = RepairJob(place, CheckOptions())
    entry = job.apply(job.plan(before), ("here",), assume_quiescent=True)
    assert entry.receipt is not None
    assert entry.receipt.ok, entry.receipt
    assert job.verify(before).damage == 0
    assert not storage.exists(places.whole_tag(APP, "lost"))
    assert storage.blob(Digest.of(b"other").binary) is None
    mending = storage.mending()
    written = places.link(LinkKind.REVISION, APP, digest)
    assert mending.read(written) == digest.encode()
    undone = RepairUndoJob(place, entry).apply(assume_quiescent=True)
    assert undone.receipt is not None
    assert undone.receipt.ok, undone.receipt
    assert mending.read(written) == b""
    assert not mending.fingerprint(places.link(LinkKind.LAYER, APP, DIGEST)).exists
    subject.let_pass(WEEK)  # where things are copied to move them, they are new
    after = {defect.key for defect in check(storage, now).defects if defect.is_damage}
    assert after == {one.key for one in before.defects if one.is_damage}


def test_what_was_written_since_a_repair_stays(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, b"")
    now = now_of(subject) - 60.0  # so that no time of what is written later is the repair's
    place = Workspace(storage=storage, clock=lambda: now)
    job = RepairJob(place, CheckOptions())
    entry = job.apply(job.plan(check(storage, now)), ("here",), assume_quiescent=True)
    subject.let_pass(5.0)
    storage.link_revision(APP, digest)  # the same bytes, as a push of the same image writes them
    undone = RepairUndoJob(place, entry).apply(assume_quiescent=True)
    assert undone.receipt is not None
    assert not undone.receipt.ok
    assert check(storage, now).damage == 0
