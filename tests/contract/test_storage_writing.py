"""References come after what they lead to, and go before it, in every storage."""

import threading
from collections.abc import Iterator

import pytest

from jettison.errors import PlanStale, TagsAppeared, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.names import Tag
from jettison.storage.protocol import LinkKind, Stamp, Storage
from jettison.storage.tag_index import TagIndex
from tests.contract.content import ABSENT, APP, BLOB, DIGEST, INNER, ONE, TWO, image, push
from tests.contract.storages import ON_A_DISK, WEEK, Subject


def stamp_of(storage: Storage, digest: Digest) -> Stamp:
    found = storage.blob(digest.binary)
    assert found is not None
    return found.stamp


def is_linked(storage: Storage, kind: LinkKind, digest: Digest) -> bool:
    with storage.repository(APP) as repository, repository.links(kind) as links:
        return links.stamp(digest.binary) is not None


def tags(storage: Storage) -> dict[Tag, bytes]:
    with storage.repository(APP) as repository:
        return {**repository.tags().current}


def test_who_made_a_storage_may_write(subject: Subject) -> None:
    assert subject.storage.writable


# Putting.


def test_a_blob_is_linked_when_it_is_there_and_not_before(subject: Subject) -> None:
    storage = subject.storage

    def chunks() -> Iterator[bytes]:
        for first in range(len(BLOB)):
            assert storage.blob(DIGEST.binary) is None
            assert not is_linked(storage, LinkKind.LAYER, DIGEST)
            yield BLOB[first : first + 1]

    storage.put_blob(APP, DIGEST, chunks())
    assert b"".join(storage.read_blob(DIGEST.binary)) == BLOB
    assert is_linked(storage, LinkKind.LAYER, DIGEST)


def test_a_manifest_is_there_and_linked_before_a_tag_leads_to_it(subject: Subject) -> None:
    storage = subject.storage
    digest, raw = image()

    def wanted() -> Iterator[Tag]:
        assert storage.read_manifest(digest.binary) == raw
        assert is_linked(storage, LinkKind.REVISION, digest)
        assert tags(storage) == {}
        yield from (ONE, TWO)

    storage.put_manifest(APP, digest, raw, wanted())
    assert tags(storage) == {ONE: digest.binary, TWO: digest.binary}


def test_what_a_manifest_references_need_not_be_there(subject: Subject) -> None:
    digest, raw = image(b"absent")
    subject.storage.put_manifest(APP, digest, raw)
    assert is_linked(subject.storage, LinkKind.REVISION, digest)


def test_bytes_of_another_digest_store_nothing(subject: Subject) -> None:
    storage = subject.storage
    with pytest.raises(VerificationFailed):
        storage.put_blob(APP, ABSENT, [BLOB])
    with pytest.raises(VerificationFailed):
        storage.put_manifest(APP, ABSENT, image()[1], [ONE])
    assert list(storage.blobs()) == []
    assert not is_linked(storage, LinkKind.LAYER, ABSENT)
    assert not is_linked(storage, LinkKind.REVISION, ABSENT)
    assert tags(storage) == {}


def test_a_blob_that_is_not_committed_is_thrown_away(subject: Subject) -> None:
    storage = subject.storage
    with storage.new_blob(APP, DIGEST) as draft:
        draft.write(BLOB)
    assert storage.blob(DIGEST.binary) is None
    with storage.new_blob(APP, DIGEST) as draft:
        draft.write(BLOB[:3])
        draft.write(BLOB[3:])
        draft.commit()
    assert b"".join(storage.read_blob(DIGEST.binary)) == BLOB
    assert is_linked(storage, LinkKind.LAYER, DIGEST)


def test_a_blob_that_is_put_twice_is_there_once_and_young(subject: Subject) -> None:
    storage = subject.storage
    storage.put_blob(APP, DIGEST, [BLOB])
    subject.let_pass(WEEK)
    before = stamp_of(storage, DIGEST)
    storage.put_blob(INNER, DIGEST, [BLOB])
    assert [blob.digest for blob in storage.blobs()] == [DIGEST.binary]
    if storage.features.modification_times:
        assert stamp_of(storage, DIGEST) > before
    assert storage.repositories() == [APP, INNER]


def test_a_manifest_that_is_put_again_is_young_and_so_is_its_link(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE)
    subject.let_pass(WEEK)
    with storage.repository(APP) as repository:
        with repository.links(LinkKind.REVISION) as links:
            before, linked = stamp_of(storage, digest), links.stamp(digest.binary)
        storage.put_manifest(APP, digest, image()[1], [ONE])
        with repository.links(LinkKind.REVISION) as links:
            again = links.stamp(digest.binary)
        assert repository.tags().current == {ONE: digest.binary}
    assert linked is not None
    assert again is not None
    assert again > linked
    assert stamp_of(storage, digest) > before


@pytest.mark.parametrize("content", [b"", b"damaged", b"the same length"[: len(BLOB)]])
def test_a_damaged_blob_is_mended_when_it_is_put(subject: Subject, content: bytes) -> None:
    subject.plant.plant_blob(DIGEST, content)
    subject.storage.put_blob(APP, DIGEST, [BLOB])
    assert b"".join(subject.storage.read_blob(DIGEST.binary)) == BLOB


def test_links_alone(subject: Subject) -> None:
    storage = subject.storage
    storage.link_layer(APP, DIGEST)
    assert is_linked(storage, LinkKind.LAYER, DIGEST)
    assert not is_linked(storage, LinkKind.REVISION, DIGEST)
    storage.link_revision(APP, DIGEST)
    assert is_linked(storage, LinkKind.REVISION, DIGEST)
    assert storage.blob(DIGEST.binary) is None


@ON_A_DISK
def test_touch_renews_the_stamp_and_nothing_else(subject: Subject) -> None:
    storage = subject.storage
    assert not storage.touch(DIGEST)
    assert storage.blob(DIGEST.binary) is None
    storage.put_blob(APP, DIGEST, [BLOB])
    subject.let_pass(WEEK)
    before = stamp_of(storage, DIGEST)
    assert storage.touch(DIGEST)
    if storage.features.modification_times:
        assert stamp_of(storage, DIGEST) > before
    assert b"".join(storage.read_blob(DIGEST.binary)) == BLOB


# Removing.


def test_untagging_takes_the_tag_and_its_history_and_leaves_the_manifest(
    subject: Subject,
) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    assert storage.untag(APP, ONE)
    assert tags(storage) == {TWO: digest.binary}
    with storage.repository(APP) as repository:
        assert repository.history(ONE).digests == []
        assert repository.revisions().linked == {digest.binary}
    assert storage.blob(digest.binary) is not None
    assert not storage.untag(APP, ONE)
    assert not storage.untag(INNER, ONE)


def test_untagging_what_points_elsewhere_by_now_changes_nothing(subject: Subject) -> None:
    storage = subject.storage
    old = push(storage, ONE)
    new = push(storage, ONE, layers=[b"another"])
    with pytest.raises(PlanStale):
        storage.untag(APP, ONE, old)
    assert tags(storage) == {ONE: new.binary}
    with storage.repository(APP) as repository:
        assert {*repository.history(ONE).digests} == {old.binary, new.binary}
    assert storage.untag(APP, ONE, new)
    assert not storage.untag(APP, ONE, new)
    assert tags(storage) == {}


def test_a_revision_goes_with_its_tags(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    other = push(storage, Tag("3"), layers=[b"another"])
    assert storage.delete_revision(APP, digest)
    assert tags(storage) == {Tag("3"): other.binary}
    with storage.repository(APP) as repository:
        assert repository.revisions().linked == {other.binary}
    assert storage.blob(digest.binary) is not None
    assert not storage.delete_revision(APP, digest)
    assert not storage.delete_revision(INNER, digest)


def test_a_revision_with_only_the_tags_that_are_known(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    with pytest.raises(TagsAppeared):
        storage.delete_revision(APP, digest, frozenset({ONE}))
    with pytest.raises(TagsAppeared):
        storage.delete_revision(APP, digest, frozenset())
    assert tags(storage) == {ONE: digest.binary, TWO: digest.binary}
    # One that is gone already is none that has appeared.
    assert storage.delete_revision(APP, digest, frozenset({ONE, TWO, Tag("gone")}))
    assert tags(storage) == {}


def test_a_revision_one_of_whose_tags_was_given_away(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    moved = push(storage, TWO, layers=[b"another"])
    with pytest.raises(TagsAppeared):
        storage.delete_revision(APP, digest, frozenset({ONE, TWO}))
    assert tags(storage) == {ONE: digest.binary, TWO: moved.binary}


def test_who_knows_the_tags_by_manifest_spares_reading_all(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    other = push(storage, Tag("3"), layers=[b"another"])
    index = TagIndex(storage, APP)
    assert index.tags(digest.binary) == [ONE, TWO]
    storage.untag(APP, TWO)
    assert index.tags(digest.binary) == [ONE]
    assert index.tags(ABSENT.binary) == []
    assert storage.delete_revision(APP, digest, frozenset({ONE}), index)
    assert tags(storage) == {Tag("3"): other.binary}
    assert index.tags(digest.binary) == []


# Beside others.


@ON_A_DISK
def test_writers_of_a_repository_wait_for_each_other(subject: Subject) -> None:
    storage = subject.storage
    order: list[str] = []

    def other() -> None:
        with subject.again().writing(APP, make=True):
            order.append("second")

    thread = threading.Thread(target=other)
    with storage.writing(APP, make=True):
        thread.start()
        thread.join(0.05)
        order.append("first")
        with storage.writing(INNER, make=True):  # another repository is another matter
            pass
    thread.join()
    assert order == ["first", "second"]


def test_threads_write_side_by_side(subject: Subject) -> None:
    storage = subject.storage
    contents = [[b"%d of %d" % (number, thread) for number in range(8)] for thread in range(4)]
    failed: list[BaseException] = []

    def write(some: list[bytes]) -> None:
        try:
            for content in some:
                storage.put_blob(APP, Digest.of(content), [content])
                list(storage.blobs())
                storage.scan_repositories()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failed.append(error)

    threads = [threading.Thread(target=write, args=(some,)) for some in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    expected = {Digest.of(content).binary for some in contents for content in some}
    assert {blob.digest for blob in storage.blobs()} == expected
    with storage.repository(APP) as repository:
        assert repository.layers().named == expected


def test_what_is_written_is_no_older_than_its_clock(subject: Subject) -> None:
    before = subject.storage.now()
    subject.storage.put_blob(APP, DIGEST, [BLOB])
    found = subject.storage.blob(DIGEST.binary)
    assert found is not None
    assert before <= found.stamp / 1e9
