"""What is taken away is aside first, can come back, and is looked at in between."""

import pytest

from jettison.errors import Locked
from jettison.model.digest import Digest
from jettison.storage.protocol import Leftover, LinkGroup, LinkKind, Place, Stamp, Storage
from tests.contract.content import (
    ABSENT,
    APP,
    BLOB,
    DIGEST,
    INNER,
    ONE,
    TWO,
    group_name,
    image,
    push,
)
from tests.contract.storages import ON_A_DISK, WEEK, Subject

pytestmark = ON_A_DISK

EVER = Stamp(2**62)


def linked(storage: Storage, kind: LinkKind, digest: Digest) -> Stamp | None:
    with storage.repository(APP) as repository, repository.links(kind) as links:
        return links.stamp(digest.binary)


def group_of(storage: Storage, kind: LinkKind) -> LinkGroup:
    found = storage.link_quarantine().group(kind, APP, "sha256")
    assert found is not None
    return found


def test_a_lease_keeps_others_out_until_it_ends(subject: Subject) -> None:
    other = subject.again()
    with subject.storage.lease("collection"):
        with pytest.raises(Locked, match="collection"), other.lease("repair"):
            pass
        push(other, ONE)  # it is for those who take away
    with other.lease("repair"):
        pass


def test_a_lease_ends_with_an_error(subject: Subject) -> None:
    with pytest.raises(KeyError), subject.storage.lease("collection"):
        raise KeyError
    with subject.storage.lease("collection"):
        pass


# Blobs.


def test_a_blob_that_lies_aside_is_out_of_sight_and_comes_back(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage)
    subject.let_pass(WEEK)
    before = storage.blob(digest.binary)
    assert before is not None
    with storage.quarantine() as aside:
        assert aside.has_room()
        assert aside.put([ABSENT.binary]) == [False]
        assert aside.look([digest.binary]) == [None]
        assert aside.put([digest.binary]) == [True]
        assert aside.put([digest.binary]) == [False]
        assert storage.blob(digest.binary) is None
        assert list(storage.read_blob(digest.binary)) == []
        assert not storage.touch(digest)
        assert storage.read_manifest(digest.binary) == image()[1]
        assert not storage.is_blob_gone(digest.binary)
        [found] = aside.look([digest.binary])
        assert found is not None
        assert (found.stamp, found.shared) == (before.stamp, False)
        assert list(aside.digests()) == [digest.binary]
        assert aside.put_back(digest.binary)
        assert not aside.put_back(digest.binary)
        assert list(aside.digests()) == []
    after = storage.blob(digest.binary)
    assert after is not None
    assert after.stamp == before.stamp
    assert after.arrived > before.stamp


def test_a_blob_that_is_removed_is_gone_with_its_place(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage)
    with storage.quarantine() as aside:
        assert aside.remove([DIGEST.binary]) == [False]
        assert storage.blob(DIGEST.binary) is not None
        assert aside.put([DIGEST.binary]) == [True]
        assert aside.remove_places([digest.binary, DIGEST.binary]) == [False, True]
        assert aside.remove([ABSENT.binary, DIGEST.binary]) == [False, True]
        assert aside.look([DIGEST.binary]) == [None]
        assert not aside.put_back(DIGEST.binary)
    assert storage.is_blob_gone(DIGEST.binary)
    assert storage.empty_blob(DIGEST.binary, EVER) is None
    assert DIGEST.binary not in storage.blobs_in(group_name(DIGEST))


def test_a_blob_that_is_brought_again_stays(subject: Subject) -> None:
    storage = subject.storage
    push(storage)
    with storage.quarantine() as aside:
        assert aside.put([DIGEST.binary]) == [True]
        storage.put_blob(INNER, DIGEST, [BLOB])
        assert not aside.put_back(DIGEST.binary)
        assert list(aside.digests()) == []
    assert b"".join(storage.read_blob(DIGEST.binary)) == BLOB


def test_many_are_put_back_at_a_time(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage)
    links = storage.link_quarantine()
    links.begin()
    with group_of(storage, LinkKind.LAYER) as group:
        assert group.take([(DIGEST, None)]) == [True]
        assert group.put_back_each([ABSENT, DIGEST]) == [False, True]
    links.end()
    with storage.quarantine() as aside:
        assert aside.put([digest.binary, DIGEST.binary]) == [True, True]
        found = aside.put_back_each([digest.binary, ABSENT.binary, DIGEST.binary])
        assert found == [True, False, True]
    assert storage.blob(DIGEST.binary) is not None
    assert linked(storage, LinkKind.LAYER, DIGEST) is not None


def test_what_a_killed_sweep_left_is_seen_and_can_be_put_back(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage)
    with storage.quarantine() as aside:
        aside.put([DIGEST.binary])
    links = storage.link_quarantine()
    links.begin([DIGEST])
    for kind, link in ((LinkKind.LAYER, DIGEST), (LinkKind.REVISION, digest)):
        with group_of(storage, kind) as group:
            assert group.take([(link, None)]) == [True]

    after = subject.again()
    assert linked(after, LinkKind.LAYER, DIGEST) is None
    with after.seeing_quarantine() as seen:
        assert seen == {DIGEST.binary}
        assert [one is not None for one in after.blobs_each([DIGEST.binary])] == [True]
        assert DIGEST.binary in {blob.digest for blob in after.blobs()}
        assert linked(after, LinkKind.LAYER, DIGEST) is not None
        with after.repository(APP) as repository:
            assert repository.revisions().linked == {digest.binary}
            assert repository.layer_target(DIGEST.binary) == DIGEST.binary
    assert after.blob(DIGEST.binary) is None
    assert after.link_quarantine().any_left
    assert after.link_quarantine().unlinked() == [DIGEST]
    after.link_quarantine().recover()
    assert not after.link_quarantine().any_left
    assert after.link_quarantine().unlinked() == []
    assert linked(after, LinkKind.LAYER, DIGEST) is not None
    assert linked(after, LinkKind.REVISION, digest) is not None
    with after.quarantine() as aside:
        assert [aside.put_back(one) for one in list(aside.digests())] == [True]
    assert after.blob(DIGEST.binary) is not None
    with after.seeing_quarantine() as seen:
        assert seen == frozenset()


def test_cleaning_up_leaves_what_lies_aside(subject: Subject) -> None:
    storage = subject.storage
    push(storage, ONE)
    with storage.quarantine() as aside:
        aside.put([DIGEST.binary])
        subject.let_pass(WEEK)
        storage.remove_remains(EVER / 1e9)
        assert aside.put_back(DIGEST.binary)
    assert storage.blob(DIGEST.binary) is not None


# Links.


def test_a_link_that_lies_aside_is_out_of_sight_and_comes_back(subject: Subject) -> None:
    storage = subject.storage
    storage.link_layer(APP, DIGEST)
    before = linked(storage, LinkKind.LAYER, DIGEST)
    with group_of(storage, LinkKind.LAYER) as group:
        assert group.place(DIGEST) == storage.places.link(LinkKind.LAYER, APP, DIGEST)
        assert group.stamp(DIGEST) == before
        assert group.stamp(ABSENT) is None
        assert group.take([(ABSENT, None)]) == [False]
        assert not group.put_back(DIGEST)
        assert group.taken([DIGEST]) == [None]
        assert group.take([(DIGEST, before)]) == [True]
        assert group.stamp(DIGEST) is None
        assert group.taken([DIGEST]) == [before]
        assert linked(storage, LinkKind.LAYER, DIGEST) is None
        with storage.repository(APP) as repository:
            assert repository.layers().named == {DIGEST.binary}
            assert repository.layer_target(DIGEST.binary) is None
        assert group.remove_places([DIGEST]) == [False]
        assert group.put_back(DIGEST)
        assert group.taken([DIGEST]) == [None]
    assert linked(storage, LinkKind.LAYER, DIGEST) == before


def test_a_link_that_was_written_since_is_not_taken(subject: Subject) -> None:
    storage = subject.storage
    storage.link_layer(APP, DIGEST)
    subject.let_pass(WEEK)
    before = linked(storage, LinkKind.LAYER, DIGEST)
    storage.link_layer(APP, DIGEST)
    with group_of(storage, LinkKind.LAYER) as group:
        assert group.take([(DIGEST, before)]) == [False]
        assert group.stamp(DIGEST) != before
        assert group.taken([DIGEST]) == [None]
    assert linked(storage, LinkKind.LAYER, DIGEST) is not None


def test_a_link_that_is_written_again_stays_where_it_is(subject: Subject) -> None:
    storage = subject.storage
    storage.link_layer(APP, DIGEST)
    with group_of(storage, LinkKind.LAYER) as group:
        assert group.take([(DIGEST, None)]) == [True]
        storage.link_layer(APP, DIGEST)
        again = group.stamp(DIGEST)
        assert not group.put_back(DIGEST)
        assert group.taken([DIGEST]) == [None]
        assert group.stamp(DIGEST) == again


def test_many_are_taken_and_each_has_its_outcome(subject: Subject) -> None:
    storage = subject.storage
    long = Digest.of(BLOB, "sha512")
    push(storage)
    storage.put_blob(APP, long, [BLOB])
    config = Digest.of(b"config")
    with group_of(storage, LinkKind.LAYER) as group:
        old = group.stamp(DIGEST)
        assert old is not None
        wanted = [(ABSENT, None), (DIGEST, Stamp(old - 1)), (config, group.stamp(config))]
        assert group.take(wanted) == [False, False, True]
        assert [one is None for one in group.taken([DIGEST, config])] == [True, False]
        assert group.remove([DIGEST, config]) == [False, True]
        assert group.remove_places([DIGEST, config, ABSENT]) == [False, True, False]
    digests = [ABSENT.binary, long.binary, DIGEST.binary, config.binary]
    with storage.quarantine() as aside:
        assert aside.put(digests) == [False, True, True, True]
        assert [one is None for one in aside.look(digests)] == [True, False, False, False]
        assert {*aside.digests()} == {*digests[1:]}
        assert aside.remove(digests[:3]) == [False, True, True]
        assert aside.remove_places(digests) == [False, True, True, True]
        assert aside.put_back(config.binary)
    assert storage.blob(config.binary) is not None


def test_a_link_is_removed_and_then_its_place(subject: Subject) -> None:
    storage = subject.storage
    push(storage)
    subject.let_pass(WEEK)
    with storage.repository(APP) as repository:
        before = repository.changes(LinkKind.LAYER)
        with group_of(storage, LinkKind.LAYER) as group:
            assert group.remove([DIGEST]) == [False]
            assert group.remove_places([DIGEST]) == [False]
            assert group.take([(DIGEST, None)]) == [True]
            assert group.remove([DIGEST]) == [True]
            assert repository.layers().named == {DIGEST.binary, Digest.of(b"config").binary}
            assert group.remove_places([DIGEST]) == [True]
        assert repository.layers().named == {Digest.of(b"config").binary}
        if storage.features.change_detection:
            assert repository.changes(LinkKind.LAYER) != before


def test_a_tags_history_is_taken_entry_by_entry(subject: Subject) -> None:
    storage = subject.storage
    old = push(storage, ONE)
    new = push(storage, ONE, layers=[b"another"])
    links = storage.link_quarantine()
    assert links.history(APP, TWO, "sha256") is None
    assert links.history(INNER, ONE, "sha256") is None
    group = links.history(APP, ONE, "sha256")
    assert group is not None
    with group:
        assert group.stamp(old) is not None
        assert group.take([(old, None)]) == [True]
        assert group.put_back(old)
        assert group.take([(old, None)]) == [True]
        assert group.remove([old]) == [True]
        assert group.remove_places([old]) == [True]
    with storage.repository(APP) as repository:
        assert repository.history(ONE).digests == [new.binary]
        assert repository.tag(ONE) == new.binary


def test_groups_without_a_link_are_none(subject: Subject) -> None:
    links = subject.storage.link_quarantine()
    assert links.group(LinkKind.LAYER, APP, "sha256") is None
    subject.storage.link_layer(APP, DIGEST)
    assert links.group(LinkKind.REVISION, APP, "sha256") is None
    assert links.group(LinkKind.LAYER, APP, "sha512") is None


def test_the_word_that_links_are_taken_is_kept_until_it_is_taken_back(subject: Subject) -> None:
    links = subject.storage.link_quarantine()
    assert not links.any_left
    links.begin()
    assert subject.again().link_quarantine().any_left
    assert links.unlinked() == []
    links.begin([DIGEST, ABSENT])
    assert subject.again().link_quarantine().unlinked() == [DIGEST, ABSENT]
    links.end()
    links.end()
    assert not subject.again().link_quarantine().any_left


# Everything else.


def test_an_upload_goes_unless_it_moves(subject: Subject) -> None:
    storage = subject.storage
    subject.plant.plant_upload(APP, "0b3c", b"half")
    subject.let_pass(WEEK)
    with storage.repository(APP) as repository:
        [found] = repository.uploads()
        subject.plant.plant_upload(APP, "0b3c", b"half and more")
        assert not storage.remove_upload(APP, "0b3c", found.moved)
        [moved] = repository.uploads()
        assert moved.bytes == 13
        assert storage.remove_upload(APP, "0b3c", moved.moved)
        assert repository.uploads() == []
        assert not storage.remove_upload(APP, "0b3c")
        subject.plant.plant_upload(APP, "0b3c", b"")
        assert storage.remove_upload(APP, "0b3c")


@pytest.mark.parametrize("kind", [None, *LinkKind])
def test_a_leftover_goes_unless_it_is_written_to(subject: Subject, kind: LinkKind | None) -> None:
    storage = subject.storage

    def plant() -> None:
        if kind is None:
            subject.plant.plant_draft(DIGEST, BLOB)
        else:
            subject.plant.plant_link_draft(kind, APP, DIGEST)

    def found() -> Leftover:
        if kind is None:
            empty = storage.empty_blob(DIGEST.binary, EVER)
            assert empty is not None
            [left] = empty.leftovers
        else:
            with storage.repository(APP) as repository:
                [left] = repository.leftovers(EVER)
        return left

    plant()
    subject.let_pass(WEEK)
    before = found()
    plant()
    assert not storage.remove_leftover(before)
    assert storage.remove_leftover(found())
    assert not storage.remove_leftover(before)


def test_only_places_in_which_nothing_is_are_removed(subject: Subject) -> None:
    storage, places = subject.storage, subject.storage.places
    digest = push(storage)
    gone = push(storage, layers=[b"another"])
    storage.delete_revision(APP, gone)
    place = places.links(LinkKind.REVISION, APP, "sha256")
    names = [digest.hex, gone.hex, ABSENT.hex]
    assert list(storage.remove_empty(place, names)) == [gone.hex]
    assert list(storage.remove_empty(place, names)) == []
    with storage.repository(APP) as repository:
        assert repository.revision_names() == [digest.binary]

    subject.plant.plant_draft(ABSENT, BLOB)
    group = places.blob_group(group_name(ABSENT))
    assert list(storage.remove_empty(group, [ABSENT.hex])) == []
    left = storage.empty_blob(ABSENT.binary, EVER)
    assert left is not None
    assert storage.remove_leftover(left.leftovers[0])
    assert list(storage.remove_empty(group, [ABSENT.hex])) == [ABSENT.hex]
    assert storage.empty_blob(ABSENT.binary, EVER) is None

    subject.plant.plant_name("team/one")
    assert list(storage.remove_empty(places.repository("team"), ["one"])) == ["one"]
    assert storage.scan_repositories().empty == ["team"]
    assert list(storage.remove_empty(places.repository(""), ["team", "app"])) == ["team"]
    assert list(storage.remove_empty(Place("nowhere"), ["app"])) == []
    assert storage.scan_repositories().empty == []


def test_a_repository_goes_when_nothing_is_in_it(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, repository=INNER)
    push(storage, repository=APP)
    assert not storage.remove_repository(INNER)
    assert storage.delete_revision(INNER, digest)
    assert not storage.remove_repository(INNER)
    group = storage.link_quarantine().group(LinkKind.LAYER, INNER, "sha256")
    assert group is not None
    with group:
        for layer in (DIGEST, Digest.of(b"config")):
            assert group.take([(layer, None)]) == [True]
            assert group.remove([layer]) == [True]
    assert storage.remove_repository(INNER)
    assert storage.scan_repositories() == ([APP], [], [], [])


def test_parents_go_with_the_last_repository_below(subject: Subject) -> None:
    storage = subject.storage
    digest, raw = image()
    storage.put_manifest(INNER, digest, raw, [ONE])
    storage.delete_revision(INNER, digest)
    assert storage.remove_repository(INNER)
    assert storage.scan_repositories() == ([], [], [], [])
    assert storage.name_stamp(APP) is None


def test_it_is_tried_whether_listings_are_behind_and_nothing_is_left(subject: Subject) -> None:
    storage = subject.storage
    push(storage, ONE)
    before = storage.scan_repositories()
    storage.require_strong_listing()
    assert storage.scan_repositories() == before
    assert not storage.exists("jettison/probe")
