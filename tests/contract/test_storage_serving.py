"""What a server asks of a storage: links, contents, what is wanted, lists."""

import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_MANIFEST
from jettison.model.names import RepoName
from jettison.storage.protocol import LinkKind, Stamp, Storage
from tests.contract.content import ABSENT, APP, BLOB, DIGEST, INNER, ONE, TWO, image, push
from tests.contract.storages import ON_A_DISK, WEEK, Subject

LARGE = b"0123456789" * 20_000
LARGE_DIGEST = Digest.of(LARGE)


def stamp_of(storage: Storage, digest: Digest) -> Stamp:
    found = storage.blob(digest.binary)
    assert found is not None
    return found.stamp


def link_stamp(storage: Storage, kind: LinkKind, digest: Digest) -> Stamp:
    with storage.repository(APP) as repository, repository.links(kind) as links:
        found = links.stamp(digest.binary)
    assert found is not None
    return found


def large_manifest() -> tuple[Digest, bytes]:
    """A manifest of so many layers that few are as large."""
    return image(*(b"%d" % number for number in range(1000)))


# Links.


def test_a_tag_leads_to_what_was_put_last(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    assert serving.tag(APP, ONE) is None
    first = push(storage, ONE)
    assert serving.tag(APP, ONE) == first
    second = push(storage, ONE, layers=[b"another"])
    assert serving.tag(APP, ONE) == second
    assert serving.tag(INNER, ONE) is None
    storage.untag(APP, ONE)
    assert serving.tag(APP, ONE) is None


def test_a_tag_resolves_to_a_manifest_of_its_repository(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    assert serving.resolve(APP, ONE) is None
    digest = push(storage, ONE)
    assert serving.resolve(APP, ONE) == digest
    assert serving.resolve(APP, TWO) is None
    assert serving.resolve(INNER, ONE) is None
    storage.delete_revision(APP, digest)
    assert serving.resolve(APP, ONE) is None


def test_a_tag_of_a_manifest_that_is_no_part_of_the_repository_resolves_to_none(
    subject: Subject,
) -> None:
    if not subject.storage.features.local:
        pytest.skip("there a manifest goes after its tags, so what a tag names is not looked for")
    subject.plant.plant_tag(APP, ONE, ABSENT.encode())
    serving = subject.storage.serving()
    assert serving.tag(APP, ONE) == ABSENT
    assert serving.resolve(APP, ONE) is None


def test_a_damaged_tag_is_an_error(subject: Subject) -> None:
    push(subject.storage, ONE)
    subject.plant.plant_tag(APP, TWO, b"sha256:12")
    subject.let_pass(WEEK)
    serving = subject.storage.serving()
    with pytest.raises(StorageError):
        serving.tag(APP, TWO)
    with pytest.raises(StorageError):
        serving.resolve(APP, TWO)
    assert serving.tag(APP, ONE) is not None


def test_a_blob_and_a_manifest_are_those_of_their_repository(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    digest = push(storage, ONE)
    assert serving.layer(APP, DIGEST) == DIGEST
    assert serving.has_revision(APP, digest)
    for name, one in ((INNER, digest), (APP, DIGEST), (APP, ABSENT)):
        assert not serving.has_revision(name, one)
    assert serving.layer(INNER, DIGEST) is None
    storage.delete_revision(APP, digest)
    assert not serving.has_revision(APP, digest)
    assert storage.unlink_layer(APP, DIGEST)
    assert serving.layer(APP, DIGEST) is None
    assert not storage.unlink_layer(APP, DIGEST)
    assert serving.size(DIGEST) == len(BLOB)


def test_a_link_to_another_blob_is_followed(subject: Subject) -> None:
    subject.plant.plant_blob(DIGEST, BLOB)
    other = Digest.of(BLOB, "sha512")
    subject.plant.plant_link(LinkKind.LAYER, APP, other, DIGEST.encode())
    assert subject.storage.serving().layer(APP, other) == DIGEST


def test_a_repository_with_blobs_alone_has_no_manifests(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    storage.put_blob(APP, DIGEST, [BLOB])
    assert not serving.has_manifests(APP)
    push(storage)
    assert serving.has_manifests(APP)
    assert not serving.has_manifests(INNER)


# Contents.


def test_a_small_blob_is_read_at_once_and_a_large_one_is_opened(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    storage.put_blob(APP, DIGEST, [BLOB])
    storage.put_blob(APP, LARGE_DIGEST, [LARGE])
    assert serving.small(DIGEST) == BLOB
    assert serving.small(LARGE_DIGEST) is None
    assert serving.size(LARGE_DIGEST) == len(LARGE)
    assert (serving.size(ABSENT), serving.small(ABSENT), serving.open(ABSENT)) == (None,) * 3


def test_what_is_near_is_sent_by_the_server(subject: Subject) -> None:
    storage = subject.storage
    storage.put_blob(APP, DIGEST, [BLOB])
    assert (storage.serving().url(DIGEST) is None) == storage.features.local


def test_any_part_of_an_open_blob_can_be_read(subject: Subject) -> None:
    storage = subject.storage
    storage.put_blob(APP, LARGE_DIGEST, [LARGE])
    opened = storage.serving().open(LARGE_DIGEST)
    assert opened is not None
    assert opened.size == len(LARGE)
    for first, length in ((0, 10), (12_345, 70_000), (len(LARGE) - 5, 100)):
        wanted = LARGE[first : first + length]
        assert opened.read(first, length) == wanted
        assert wanted.startswith(opened.ready(first, length) or b"")
    assert opened.read(len(LARGE), 10) == b""
    opened.close()


@ON_A_DISK
def test_what_is_open_can_be_read_also_when_it_is_taken_away(subject: Subject) -> None:
    storage = subject.storage
    storage.put_blob(APP, DIGEST, [BLOB])
    serving = storage.serving()
    opened = serving.open(DIGEST)
    assert opened is not None
    with storage.lease("a test"), storage.quarantine() as quarantine:
        assert quarantine.put([DIGEST.binary]) == [True]
        assert serving.size(DIGEST) is None
        assert serving.small(DIGEST) is None
        assert serving.is_aside(DIGEST)
        assert not serving.is_aside(ABSENT)
        assert not serving.touch_layer(APP, DIGEST)
        assert quarantine.put_back(DIGEST.binary)
    assert not serving.is_aside(DIGEST)
    assert opened.read(0, len(BLOB)) == BLOB
    opened.close()


def test_a_manifest_comes_with_its_type(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    digest, raw = image()
    storage.put_manifest(APP, digest, raw)
    for _ in range(2):
        found = serving.manifest(digest)
        assert found == (raw, OCI_MANIFEST)
    assert serving.manifest(ABSENT) is None
    storage.put_blob(APP, DIGEST, [BLOB])
    assert serving.manifest(DIGEST) == (BLOB, "")


def test_a_large_manifest_has_to_be_examined(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    digest, raw = large_manifest()
    storage.put_manifest(APP, digest, raw)
    assert serving.manifest(digest) is None
    assert serving.large_type(digest) is None
    assert serving.examine(digest) == OCI_MANIFEST
    assert serving.large_type(digest) == OCI_MANIFEST
    assert serving.examine(ABSENT) is None
    assert serving.large_type(ABSENT) is None


def test_a_manifest_with_other_bytes_is_an_error(subject: Subject) -> None:
    digest, _ = image()
    subject.plant.plant_blob(digest, b"{}")
    large, _ = large_manifest()
    subject.plant.plant_blob(large, LARGE)
    serving = subject.storage.serving()
    with pytest.raises(StorageError):
        serving.manifest(digest)
    with pytest.raises(StorageError):
        serving.examine(large)


# Saying that somebody wants something.


@ON_A_DISK
def test_what_is_wanted_is_young_and_so_is_its_link(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    digest = push(storage, ONE)
    subject.let_pass(WEEK)
    before = [stamp_of(storage, one) for one in (DIGEST, digest)]
    before.append(link_stamp(storage, LinkKind.LAYER, DIGEST))
    before.append(link_stamp(storage, LinkKind.REVISION, digest))
    assert serving.touch_layer(APP, DIGEST, len(BLOB))
    assert serving.touch_revision(APP, digest)
    after = [stamp_of(storage, one) for one in (DIGEST, digest)]
    after.append(link_stamp(storage, LinkKind.LAYER, DIGEST))
    after.append(link_stamp(storage, LinkKind.REVISION, digest))
    if storage.features.modification_times:
        assert all(old < new for old, new in zip(before, after, strict=True))


def test_what_is_not_there_cannot_be_wanted(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    digest = push(storage, ONE)
    assert not serving.touch_layer(INNER, DIGEST)
    assert not serving.touch_layer(APP, ABSENT)
    assert not serving.touch_layer(APP, DIGEST, len(BLOB) + 1)
    assert not serving.touch_revision(INNER, digest)
    subject.plant.plant_link(LinkKind.LAYER, APP, ABSENT)
    subject.plant.plant_link(LinkKind.REVISION, APP, ABSENT)
    assert not serving.touch_layer(APP, ABSENT)
    assert not serving.touch_revision(APP, ABSENT)


def test_an_empty_blob_that_should_not_be_empty_has_to_be_pushed_again(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    empty = Digest.of(b"")
    storage.put_blob(APP, empty, [])
    subject.plant.plant_blob(ABSENT, b"")
    subject.plant.plant_link(LinkKind.LAYER, APP, ABSENT)
    assert serving.touch_layer(APP, empty)
    assert not serving.touch_layer(APP, ABSENT)


# Lists.


@ON_A_DISK
def test_tags_are_sorted_and_their_stamp_tells_of_a_change(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    assert serving.tags(APP) is None
    assert serving.tags_stamp(APP) is None
    push(storage, TWO, ONE)
    subject.let_pass(WEEK)
    found = serving.tags(APP)
    assert found is not None
    assert found.names == [ONE, TWO]
    assert found.stamp is not None
    assert found.stamp == serving.tags_stamp(APP)
    push(storage, ONE, layers=[b"another"])
    assert found.stamp == serving.tags_stamp(APP)
    storage.untag(APP, ONE)
    assert found.stamp != serving.tags_stamp(APP)
    after = serving.tags(APP)
    assert after is not None
    assert after.names == [TWO]


def test_a_repository_without_tags_has_none(subject: Subject) -> None:
    push(subject.storage)
    found = subject.storage.serving().tags(APP)
    assert found is not None
    assert found.names == []


def test_what_is_no_tag_is_not_listed(subject: Subject) -> None:
    push(subject.storage, ONE)
    subject.plant.plant_tag(APP, ".hidden", b"")
    subject.plant.plant_tag(APP, "broken", b"")
    found = subject.storage.serving().tags(APP)
    assert found is not None
    assert found.names == [ONE, "broken"]


def test_repositories_come_in_lexical_order_from_any_name_on(subject: Subject) -> None:
    storage, serving = subject.storage, subject.storage.serving()
    names = ["app", "app-2", "app/inner", "app/web/x", "b"]
    for name in reversed(names):
        push(storage, repository=RepoName(name))
    storage.put_blob(RepoName("blobs/alone"), DIGEST, [BLOB])
    subject.plant.plant_name("only/a/name")
    assert list(serving.repositories_after("")) == names
    for number, name in enumerate(names):
        assert list(serving.repositories_after(name)) == names[number + 1 :]
    assert list(serving.repositories_after("app/x")) == ["b"]


# How it is.


@ON_A_DISK
def test_a_storage_that_is_there_is_well(subject: Subject) -> None:
    monitoring = subject.storage.monitoring()
    assert monitoring.check_health(write=True)
    assert monitoring.check_health(write=False)
    capacity = monitoring.capacity()
    assert (capacity is not None) == subject.storage.features.capacity
    if capacity is not None:
        assert 0 < capacity.free <= capacity.size
