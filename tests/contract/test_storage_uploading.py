"""Blobs that come in piece by piece, in every storage."""

import pytest

from jettison.errors import Locked, NotFoundError, StorageError
from jettison.model.digest import Digest
from jettison.storage.protocol import LinkKind, Storage
from tests.contract.content import APP, BLOB, DIGEST, INNER
from tests.contract.storages import ON_A_DISK, WEEK, Subject


def uploads(storage: Storage) -> list[str]:
    with storage.repository(APP) as repository:
        return [one.id for one in repository.uploads()]


def test_what_is_appended_becomes_a_blob(subject: Subject) -> None:
    storage, uploading = subject.storage, subject.storage.uploading()
    name = uploading.start(APP)
    assert uploads(storage) == [name]
    with uploading.open(APP, name) as upload:
        upload.append([BLOB[:2], BLOB[2:4]])
        upload.sync()
        upload.append([BLOB[4:]])
        assert upload.size == len(BLOB)
        assert storage.blob(DIGEST.binary) is None
        upload.commit(DIGEST)
    assert b"".join(storage.read_blob(DIGEST.binary)) == BLOB
    with storage.repository(APP) as repository, repository.links(LinkKind.LAYER) as links:
        assert links.stamp(DIGEST.binary) is not None
    assert uploads(storage) == []
    assert uploading.size(APP, name) is None


def test_it_is_continued_by_whoever_opens_it_next(subject: Subject) -> None:
    name = subject.storage.uploading().start(APP)
    with subject.storage.uploading().open(APP, name) as upload:
        upload.append([BLOB[:3]])
    uploading = subject.again().uploading()
    assert uploading.size(APP, name) == 3
    with uploading.open(APP, name) as upload:
        assert upload.size == 3
        assert upload.read(1, 10) == BLOB[1:3]
        upload.append([BLOB[3:]])
        upload.commit(DIGEST)
    assert b"".join(subject.storage.read_blob(DIGEST.binary)) == BLOB


def test_what_is_flushed_is_seen_by_everybody(subject: Subject) -> None:
    uploading = subject.storage.uploading()
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        assert not upload.elsewhere
        upload.append([BLOB[:3]])
        upload.flush()
        assert subject.again().uploading().size(APP, name) == 3
        upload.flush()
    with uploading.open(APP, name) as upload:
        assert (upload.size, upload.elsewhere) == (3, False)


def test_what_came_too_much_is_taken_back(subject: Subject) -> None:
    uploading = subject.storage.uploading()
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        upload.append([b"0123456789"])
        assert uploading.size(APP, name) == 10
        upload.truncate(4)
        assert upload.size == 4
        upload.append([b"!"])
        assert upload.read(0, 100) == b"0123!"
        assert upload.read(5, 100) == b""
    assert uploading.size(APP, name) == 5


@ON_A_DISK
def test_it_is_open_for_one_alone(subject: Subject) -> None:
    uploading = subject.storage.uploading()
    name, other = uploading.start(APP), uploading.start(APP)
    with uploading.open(APP, name), uploading.open(APP, other), pytest.raises(Locked):
        subject.again().uploading().open(APP, name)
    with uploading.open(APP, name):
        pass


def test_one_that_is_discarded_is_gone(subject: Subject) -> None:
    storage, uploading = subject.storage, subject.storage.uploading()
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        upload.append([BLOB])
        upload.discard()
    assert uploads(storage) == []
    assert storage.blob(DIGEST.binary) is None
    with pytest.raises(NotFoundError):
        uploading.open(APP, name)


@pytest.mark.parametrize("name", ["", "x", "..", "../../app", "a\0b", "Ä" * 300])
def test_any_other_text_names_none(subject: Subject, name: str) -> None:
    uploading = subject.storage.uploading()
    there = uploading.start(APP)
    assert uploading.size(APP, name) is None
    assert uploading.size(INNER, there) is None
    for repository, upload in ((APP, name), (INNER, there)):
        with pytest.raises(NotFoundError):
            uploading.open(repository, upload)


def test_a_blob_that_is_there_already_is_young_again(subject: Subject) -> None:
    storage, uploading = subject.storage, subject.storage.uploading()
    storage.put_blob(INNER, DIGEST, [BLOB])
    subject.let_pass(WEEK)
    before = storage.blob(DIGEST.binary)
    with uploading.open(APP, uploading.start(APP)) as upload:
        upload.append([BLOB])
        upload.commit(DIGEST)
    after = storage.blob(DIGEST.binary)
    assert before is not None
    assert after is not None
    if storage.features.modification_times:
        assert after.stamp > before.stamp
    assert storage.serving().layer(APP, DIGEST) == DIGEST


def test_an_upload_that_moves_is_not_idle(subject: Subject) -> None:
    storage, uploading = subject.storage, subject.storage.uploading()
    name = uploading.start(APP)
    subject.let_pass(WEEK)
    with storage.repository(APP) as repository:
        [before] = repository.uploads()
    with uploading.open(APP, name) as upload:
        upload.append([BLOB])
    with storage.repository(APP) as repository:
        [after] = repository.uploads()
    assert after.started == before.started
    assert after.moved > before.moved
    assert not storage.remove_upload(APP, name, before.moved)
    assert storage.remove_upload(APP, name, after.moved)


@ON_A_DISK
def test_one_that_was_purged_meanwhile_becomes_no_blob(subject: Subject) -> None:
    storage, uploading = subject.storage, subject.storage.uploading()
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        upload.append([BLOB])
        assert storage.remove_upload(APP, name)
        with pytest.raises(StorageError):
            upload.commit(DIGEST)
    assert storage.blob(DIGEST.binary) is None
    assert storage.serving().layer(APP, DIGEST) is None


def test_an_empty_one_is_the_empty_blob(subject: Subject) -> None:
    uploading = subject.storage.uploading()
    empty = Digest.of(b"")
    with uploading.open(APP, uploading.start(APP)) as upload:
        upload.commit(empty)
    assert subject.storage.serving().small(empty) == b""
