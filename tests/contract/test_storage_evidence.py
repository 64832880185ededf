"""What any kind of storage tells of the times of pushes."""

import json
from collections.abc import Sequence
from typing import Final

import pytest

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence, Moment
from jettison.model.times import rfc3339
from jettison.storage.evidence import OF_MANIFEST, OF_TAG, OF_TAGS, SEEN, read_evidence
from jettison.storage.protocol import LinkKind
from jettison.storage.untagged_seen import note_untagged, seen_untagged
from tests.contract.content import ABSENT, APP, INNER, ONE, TWO, image, index, push
from tests.contract.storages import ON_A_DISK, Subject
from tests.support.trees import image_document

DAY: Final = 24 * 3600.0
HOUR: Final = 3600.0


def told(subject: Subject, repository: RepoName = APP) -> Evidence:
    return read_evidence(subject.storage, repository, trust_times=True)


def days(subject: Subject, moment: Moment | None) -> int | None:
    """How many days ago something was."""
    return None if moment is None else round((subject.now() - moment.seconds) / DAY)


def untagged(subject: Subject, digest: Digest) -> tuple[int | None, str]:
    found = told(subject).manifests[digest].untagged
    return days(subject, found), "" if found is None else found.source


def test_what_is_not_there_has_no_times(subject: Subject) -> None:
    assert read_evidence(subject.storage, APP) == Evidence()


def test_tags_and_manifests_have_the_times_of_their_links(subject: Subject) -> None:
    digest = push(subject.storage, ONE, TWO)
    subject.let_pass(5 * DAY)
    push(subject.storage, TWO)
    subject.let_pass(2 * DAY)
    found = told(subject)
    assert {tag: days(subject, one.pushed) for tag, one in found.tags.items()} == {ONE: 7, TWO: 2}
    assert days(subject, found.manifests[digest].pushed) == 2
    assert found.manifests[digest].untagged is None
    assert found.watching_since is None
    sources = {one.pushed.source for one in found.tags.values() if one.pushed is not None}
    pushed = found.manifests[digest].pushed
    assert sources == {OF_TAG}
    assert pushed is not None
    assert pushed.source == OF_MANIFEST


def test_layers_and_blobs_tell_nothing(subject: Subject) -> None:
    digest = push(subject.storage, ONE)
    subject.let_pass(5 * DAY)
    before = told(subject)
    for content in (b"a layer", b"config"):
        subject.storage.link_layer(APP, Digest.of(content))
        subject.storage.touch(Digest.of(content))
    subject.storage.touch(digest)
    assert told(subject) == before


@ON_A_DISK
def test_a_replaced_manifest_lost_its_tag_with_the_next_push(subject: Subject) -> None:
    first = push(subject.storage, ONE)
    subject.let_pass(10 * DAY)
    second = push(subject.storage, ONE, layers=[b"2"])
    subject.let_pass(10 * DAY)
    push(subject.storage, ONE, layers=[b"3"])
    subject.let_pass(10 * DAY)
    assert untagged(subject, first) == (20, "next push of the tag 1")
    assert untagged(subject, second) == (10, "next push of the tag 1")
    # The tag has pointed to it once more meanwhile.
    push(subject.storage, ONE)
    subject.let_pass(DAY)
    push(subject.storage, ONE, layers=[b"3"])
    subject.let_pass(DAY)
    assert untagged(subject, first)[0] == 1
    assert untagged(subject, second)[0] == 2


@ON_A_DISK
def test_the_last_of_several_tags_counts(subject: Subject) -> None:
    digest = push(subject.storage, ONE, TWO)
    subject.let_pass(10 * DAY)
    push(subject.storage, ONE, layers=[b"2"])
    subject.let_pass(5 * DAY)
    assert told(subject).manifests[digest].untagged is None
    push(subject.storage, TWO, layers=[b"2"])
    subject.let_pass(3 * DAY)
    assert untagged(subject, digest) == (3, "next push of the tag 2")


@ON_A_DISK
def test_a_removed_tag_counts_though_its_history_is_gone(subject: Subject) -> None:
    digest = push(subject.storage, ONE, TWO)
    subject.let_pass(10 * DAY)
    push(subject.storage, ONE, layers=[b"2"])
    subject.let_pass(5 * DAY)
    subject.storage.untag(APP, TWO)
    subject.let_pass(3 * DAY)
    assert untagged(subject, digest) == (3, OF_TAGS)
    # Whenever a tag is new, one may have been removed just before.
    push(subject.storage, Tag("new"), layers=[b"3"])
    assert untagged(subject, digest) == (0, OF_TAGS)


def test_what_was_seen_without_a_tag_keeps_that_time(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage, ONE, TWO)
    storage.untag(APP, ONE)
    storage.untag(APP, TWO)
    subject.let_pass(10 * DAY)
    push(storage, Tag("new"), layers=[b"3"])
    assert untagged(subject, digest) == (0, OF_TAGS)
    began = subject.now() - 5 * DAY
    note_untagged(storage, APP, lambda: began)
    assert seen_untagged(storage, APP) == {digest.binary: began}
    assert untagged(subject, digest) == (5, SEEN)
    # Seen again it keeps its time. A push counts in any case, and what has a tag is forgotten.
    note_untagged(storage, APP, subject.now)
    assert untagged(subject, digest) == (5, SEEN)
    push(storage, ONE)
    storage.untag(APP, ONE)
    assert untagged(subject, digest) == (0, OF_MANIFEST)
    push(storage, ONE)
    note_untagged(storage, APP, subject.now)
    assert seen_untagged(storage, APP) == {}
    assert storage.documents(f"untagged/{APP}").names() == []


@ON_A_DISK
def test_a_note_is_no_younger_than_a_tag_that_is_known_to_be_replaced(subject: Subject) -> None:
    digest = push(subject.storage, ONE)
    push(subject.storage, ONE, layers=[b"2"])
    subject.let_pass(10 * DAY)
    note_untagged(subject.storage, APP, subject.now)
    assert untagged(subject, digest)[0] == 10


def test_notes_of_repositories_within_each_other(subject: Subject) -> None:
    for number, name in enumerate((APP, INNER)):
        push(subject.storage, repository=name)
        note_untagged(subject.storage, name, lambda time=number: 100.0 + time)  # type: ignore[misc]
    times = [[*seen_untagged(subject.storage, name).values()] for name in (APP, INNER)]
    assert times == [[100.0], [101.0]]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema_version": 2, "untagged": {}}',
        b'{"schema_version": 1, "untagged": {"latest": 1}}',
        b'{"schema_version": 1, "untagged": {"sha256:00": 1}}',
        b'{"schema_version": 1, "untagged": {"%s": "1"}}' % ABSENT.encode(),
        b'{"schema_version": 1, "untagged": {"%s": null}}' % ABSENT.encode(),
    ],
)
def test_a_damaged_note_is_none_and_is_written_again(subject: Subject, raw: bytes) -> None:
    digest = push(subject.storage)
    subject.storage.documents(f"untagged/{APP}").write("_seen.json", raw)
    assert seen_untagged(subject.storage, APP) == {}
    note_untagged(subject.storage, APP, lambda: 5.0)
    assert seen_untagged(subject.storage, APP) == {digest.binary: 5.0}


def test_a_damaged_tag_may_point_to_anything(subject: Subject) -> None:
    digest = push(subject.storage)
    note_untagged(subject.storage, APP, subject.now)
    assert told(subject).manifests[digest].untagged is not None
    subject.plant.plant_tag(APP, ONE, b"")
    subject.let_pass(DAY)
    found = told(subject)
    assert found.tags == {}
    assert found.manifests[digest].untagged is None
    assert found.manifests[digest].pushed is not None
    note_untagged(subject.storage, APP, subject.now)
    assert seen_untagged(subject.storage, APP) == {}


def test_a_damaged_link_of_a_manifest_has_no_time(subject: Subject) -> None:
    digest = push(subject.storage)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, b"")
    subject.let_pass(DAY)
    assert told(subject).manifests == {}


# Copies.


def push_dated(subject: Subject, tag: str, created: float | None, text: str = "") -> Digest:
    """Push an image with this time in its config."""
    storage = subject.storage
    said = {} if created is None else {"created": rfc3339(created)}
    config = json.dumps({**said, "of": tag + text}).encode()
    document = image_document(Digest.of(config), [Digest.of(b"a layer")])
    raw = json.dumps(document).encode()
    for content in (config, b"a layer"):
        storage.put_blob(APP, Digest.of(content), [content])
    storage.put_manifest(APP, Digest.of(raw), raw, [Tag(tag)])
    return Digest.of(raw)


def push_each(subject: Subject, created: Sequence[float | None]) -> None:
    for number, when in enumerate(created):
        push_dated(subject, f"v{number}", when)


def is_copied(subject: Subject) -> bool:
    found = read_evidence(subject.storage, APP)
    if found.copied:
        assert (found.tags, found.manifests) == ({}, {})
        trusted = told(subject)
        assert not trusted.copied
        assert trusted.tags
    else:
        assert found.tags
    return found.copied


@pytest.mark.parametrize("count", [2, 3, 30])
def test_images_of_many_days_that_came_within_an_hour_are_copied(
    subject: Subject, count: int
) -> None:
    now = subject.now()
    push_each(subject, [now - 3 * DAY * number for number in range(1, count + 1)])
    assert is_copied(subject)


def test_images_that_were_built_and_pushed_within_an_hour_are_pushed(subject: Subject) -> None:
    now = subject.now()
    push_each(subject, [now - 60.0 * number for number in range(30)])
    assert not is_copied(subject)


def test_images_that_came_on_many_days_are_pushed(subject: Subject) -> None:
    for number in range(4):
        push_dated(subject, f"v{number}", 0.0)
        subject.let_pass(DAY)
    assert not is_copied(subject)


def test_images_that_say_no_time_count_as_copied(subject: Subject) -> None:
    push_each(subject, [None, 0.0, None])
    assert is_copied(subject)


def test_one_image_is_no_copy(subject: Subject) -> None:
    push(subject.storage, ONE, TWO)
    assert not is_copied(subject)


def test_an_index_and_its_children_are_one_image(subject: Subject) -> None:
    children = [image(bytes([number])) for number in range(5)]
    for digest, raw in children:
        subject.storage.put_manifest(APP, digest, raw)
    digest, raw = index(*(digest for digest, _ in children))
    subject.storage.put_manifest(APP, digest, raw, [ONE])
    assert not is_copied(subject)
    subject.let_pass(DAY)
    push(subject.storage, TWO)
    assert not is_copied(subject)


def test_signatures_are_no_images_of_their_own(subject: Subject) -> None:
    signed = push_dated(subject, "v1", 0.0)
    push_dated(subject, f"sha256-{signed.hex}.sig", 0.0)
    push_dated(subject, f"sha256-{signed.hex}.att", 0.0)
    assert not is_copied(subject)


def test_an_index_was_created_with_its_newest_child(subject: Subject) -> None:
    now = subject.now()
    for number in range(3):
        old = push_dated(subject, "old", now - 400 * DAY, str(number))
        new = push_dated(subject, "new", now - HOUR, str(number))
        digest, raw = index(old, new)
        subject.storage.put_manifest(APP, digest, raw, [Tag(f"v{number}")])
        subject.storage.untag(APP, Tag("old"))
        subject.storage.untag(APP, Tag("new"))
    assert not is_copied(subject)


def test_a_copy_ends_when_most_images_were_pushed_since(subject: Subject) -> None:
    now = subject.now()
    push_each(subject, [now - 30 * DAY * number for number in range(1, 6)])
    assert is_copied(subject)
    for number in range(6):
        subject.let_pass(DAY)
        push_dated(subject, f"new{number}", subject.now())
    assert not is_copied(subject)
