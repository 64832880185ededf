"""What a storage tells of what is in it, whatever kind it is."""

import time

import pytest

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol import Absence, Blob, LinkKind, Named, Problem, Protects, Stamp
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
    index,
    push,
)
from tests.contract.storages import WEEK, Subject

EVER = Stamp(2**62)
"""After everything that is written here."""


def blob_of(subject: Subject, digest: Digest) -> Blob:
    found = subject.storage.blob(digest.binary)
    assert found is not None
    return found


def test_a_new_storage_is_empty(subject: Subject) -> None:
    storage = subject.storage
    assert storage.absence is Absence.NOTHING
    assert storage.location
    assert storage.scan_repositories() == ([], [], [], [])
    assert storage.repositories() == []
    assert list(storage.blobs()) == []
    assert storage.blob_groups() == []
    assert bool(storage.free_bytes()) == storage.features.capacity
    assert not storage.keeps_removed()
    assert storage.unseen_uploads() is None


def test_places_have_names_of_their_own(subject: Subject) -> None:
    places = subject.storage.places
    found = [
        *(places.top, places.ours, places.journal, places.aside),
        places.blob(DIGEST),
        places.blob(ABSENT),
        places.aside_blob(DIGEST),
        places.blob_group(group_name(DIGEST)),
        places.repository(""),
        places.repository(APP),
        places.tag(APP, ONE),
        places.whole_tag(APP, ONE),
        places.history(APP, ONE, "sha256"),
        places.history_link(APP, ONE, DIGEST),
        places.upload(APP, "0b3c"),
        *(places.links(kind, APP, "sha256") for kind in LinkKind),
        *(places.link(kind, APP, DIGEST) for kind in LinkKind),
    ]
    assert len({*found}) == len(found)
    long = Digest.of(BLOB, "sha512")
    named = {places.blob(digest): Named(digest) for digest in (DIGEST, long)}
    for kind in LinkKind:
        for digest in (DIGEST, long):
            named[places.link(kind, INNER, digest)] = Named(digest, kind, INNER)
    assert {place: places.named(place) for place in named} == named
    others = {*found}.difference(named, (places.link(kind, APP, DIGEST) for kind in LinkKind))
    assert [place for place in others if places.named(place) not in {None, Named(ABSENT)}] == []


# Repositories.


def test_repositories_lie_in_each_other(subject: Subject) -> None:
    storage = subject.storage
    push(storage, ONE, repository=INNER)
    assert storage.repositories() == [INNER]
    assert storage.has_repository(INNER)
    assert not storage.has_repository(APP)
    push(storage, repository=RepoName("app-2"))
    push(storage)
    assert storage.repositories() == ["app", "app-2", "app/inner"]
    assert storage.has_repository(APP)


def test_what_another_process_did_shows_after_a_second_look(subject: Subject) -> None:
    """Whoever acts looks again first: a listing may be as old as the plan."""
    storage, other = subject.storage, subject.again()
    before = push(storage, ONE)
    assert [*storage.scan_repositories().names] == [APP]
    after = push(other, ONE, TWO, layers=(b"another layer",))
    other.untag(APP, TWO)
    storage.look_again()
    with storage.repository(APP) as repository:
        assert repository.tags().current == {ONE: after.binary}
        assert repository.tag(ONE) == after.binary
        assert {one.binary for one in (before, after)} == set(repository.revision_names())
    assert storage.blob(Digest.of(b"another layer").binary) is not None
    assert None not in storage.blobs_each([after.binary])


def test_names_without_anything_and_names_that_are_none(subject: Subject) -> None:
    storage = subject.storage
    push(storage, ONE)
    subject.plant.plant_name("left/over")
    subject.plant.plant_link(LinkKind.LAYER, "Upper", DIGEST)
    found = storage.scan_repositories()
    assert (found.names, found.misnamed, found.empty) == ([APP], ["Upper"], ["left/over"])
    assert found.problems == []


def test_a_name_tells_when_something_came_under_it(subject: Subject) -> None:
    storage = subject.storage
    assert storage.name_stamp("team") is None
    subject.plant.plant_name("team/one")
    subject.let_pass(WEEK)
    before = storage.name_stamp("team")
    assert before is not None
    subject.plant.plant_name("team/two")
    after = storage.name_stamp("team")
    assert after is not None
    assert after > before


def test_a_repository_that_is_not_there_has_nothing_in_it(subject: Subject) -> None:
    with subject.storage.repository("absent") as repository:
        assert repository.name == "absent"
        assert repository.tags() == ({}, {}, [], [], [])
        assert repository.tag(ONE) is None
        assert repository.meant_by_tag(ONE) == set()
        assert not repository.had_others(ONE)
        assert repository.history(ONE) == ([], [])
        assert repository.tag_stamps([ONE]) == [None]
        assert repository.history_stamps(ONE, [DIGEST.binary]) == [None]
        assert repository.tags_stamp() is None
        assert repository.sound_links(LinkKind.LAYER, [DIGEST.binary]) == set()
        assert repository.revisions() == ([], set(), [], set(), [], set(), [])
        assert repository.revision_names() == []
        assert repository.layers() == (set(), [])
        assert not repository.has_layers()
        assert not repository.has_manifests()
        assert repository.layer_target(DIGEST.binary) is None
        assert repository.uploads() == []
        assert repository.uploads_stamp() is None
        assert not repository.is_being_linked(DIGEST.binary)
        assert repository.leftovers(EVER) == []
        assert repository.is_idle(Stamp(0))
        assert not repository.has_others(())
        with repository.links(LinkKind.LAYER) as links:
            assert links.stamp(DIGEST.binary) is None
            assert links.stamps([DIGEST.binary]) == [None]
            assert links.place_stamps([DIGEST.binary]) == [None]


# Tags.


def test_tags_and_their_history(subject: Subject) -> None:
    first = push(subject.storage, ONE, TWO)
    second = push(subject.storage, ONE, layers=[b"another"])
    with subject.storage.repository(APP) as repository:
        assert repository.tags().current == {ONE: second.binary, TWO: first.binary}
        assert repository.tags().problems == []
        assert repository.tag(ONE) == second.binary
        assert repository.tag(Tag("absent")) is None
        assert {*repository.history(ONE).digests} == {first.binary, second.binary}
        assert repository.history(TWO) == ([first.binary], [])
        assert repository.history("absent") == ([], [])
        assert repository.had_others(ONE)


def since(began: float, stamps: list[Stamp | None]) -> list[int | None]:
    """How many seconds after the beginning, rounded to minutes; None where there is no stamp."""
    return [None if one is None else round((one / 1e9 - began) / 60) * 60 for one in stamps]


def test_tags_tell_when_they_were_pushed_and_to_what(subject: Subject) -> None:
    storage = subject.storage
    first = push(storage, ONE, TWO)
    subject.let_pass(120.0)
    second = push(storage, ONE, layers=[b"another"])
    subject.let_pass(120.0)
    push(storage, TWO)
    began = subject.now() - 240.0
    digests = [first.binary, second.binary, ABSENT.binary]
    with storage.repository(APP) as repository:
        assert since(began, repository.tag_stamps([ONE, Tag("absent"), TWO])) == [120, None, 240]
        assert repository.tag_stamps([]) == []
        assert since(began, repository.history_stamps(ONE, digests)) == [0, 120, None]
        assert since(began, repository.history_stamps(TWO, digests)) == [240, None, None]
        assert repository.history_stamps(Tag("absent"), digests) == [None] * 3


def test_a_tag_that_is_new_or_removed_is_noted_and_one_that_moves_is_not(subject: Subject) -> None:
    storage = subject.storage
    push(storage, ONE)
    subject.let_pass(120.0)
    push(storage, ONE, layers=[b"another"])
    if not storage.features.change_detection:
        with storage.repository(APP) as repository:  # it was removed no later than now
            assert since(subject.now(), [repository.tags_stamp()]) == [0]
        return
    with storage.repository(APP) as repository:
        assert since(subject.now(), [repository.tags_stamp()]) == [-120]
    push(storage, TWO)
    subject.let_pass(120.0)
    with storage.repository(APP) as repository:
        assert since(subject.now(), [repository.tags_stamp()]) == [-120]
    storage.untag(APP, TWO)
    with storage.repository(APP) as repository:
        assert since(subject.now(), [repository.tags_stamp()]) == [0]
    push(storage, repository=INNER)
    with storage.repository(INNER) as repository:
        assert since(subject.now(), [repository.tags_stamp()]) == [0]


@pytest.mark.parametrize("content", [b"", b" " + DIGEST.encode(), DIGEST.upper().encode(), None])
def test_a_broken_tag_is_a_problem_and_says_what_it_may_mean(
    subject: Subject, content: bytes | None
) -> None:
    kept = push(subject.storage, ONE, TWO)
    subject.plant.plant_tag(APP, ONE, content)
    if content is None:
        subject.plant.plant_tag(APP, "half", None)
    subject.let_pass(WEEK)
    broken = Tag("half") if content is None else ONE
    with subject.storage.repository(APP) as repository:
        found = repository.tags()
        link = repository.tag(broken)
        meant = repository.meant_by_tag(broken)
    assert found.current.get(TWO) == kept.binary
    assert broken not in found.current
    assert isinstance(link, Problem)
    assert link.protects is Protects.REPOSITORY
    assert found.broken == {broken: link}
    assert found.problems == [link]
    assert link.repository == APP
    assert (DIGEST.binary in meant) == bool(content)
    assert (kept.binary in meant) == (broken == ONE)


def test_an_entry_with_no_tags_name_is_strange(subject: Subject) -> None:
    subject.plant.plant_tag(APP, "a" * 200, DIGEST.encode())
    with subject.storage.repository(APP) as repository:
        found = repository.tags()
        assert (found.current, found.broken, found.strange) == ({}, {}, ["a" * 200])
        assert len(found.problems) == 1
        assert repository.meant_by_tag("a" * 200) == {DIGEST.binary}


# Revisions and layers.


def test_revisions_and_layers_are_what_was_linked(subject: Subject) -> None:
    digest = push(subject.storage, layers=[BLOB, b"another"])
    with subject.storage.repository(APP) as repository:
        assert repository.revisions() == (
            [digest.binary],
            {digest.binary},
            [],
            set(),
            [],
            set(),
            [],
        )
        assert repository.revision_names() == [digest.binary]
        named = {DIGEST.binary, Digest.of(b"another").binary, Digest.of(b"config").binary}
        assert repository.layers() == (named, [])
        assert repository.layer_target(DIGEST.binary) == DIGEST.binary
        assert repository.layer_target(ABSENT.binary) is None
        assert repository.has_layers()
        assert repository.has_manifests()
    with subject.storage.repository("app/other") as nested:
        assert nested.layers().named == set()


def test_what_a_delete_leaves_is_a_place_without_a_link(subject: Subject) -> None:
    digest = push(subject.storage, ONE)
    assert subject.storage.delete_revision(APP, digest)
    with subject.storage.repository(APP) as repository:
        found = repository.revisions()
        if not subject.storage.features.change_detection:
            assert found.folders == []  # what went has left no trace
            return
        assert (found.folders, found.linked, found.emptied) == (
            [digest.binary],
            set(),
            [digest.binary],
        )
        with repository.links(LinkKind.REVISION) as links:
            assert links.stamp(digest.binary) is None
            assert links.place_stamps([digest.binary]) != [None]


@pytest.mark.parametrize("content", [b"", b"sha256:", ABSENT.encode() + b"\n"])
def test_a_damaged_revision_is_no_link_and_is_not_overlooked(
    subject: Subject, content: bytes
) -> None:
    digest = push(subject.storage, ONE)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, content)
    subject.let_pass(WEEK)
    with subject.storage.repository(APP) as repository:
        found = repository.revisions()
    assert (found.linked, found.damaged) == (set(), {digest.binary})
    assert found.meant == ({ABSENT.binary} if len(content) > 64 else set())
    [problem] = found.problems
    assert (problem.repository, problem.protects) == (APP, Protects.REPOSITORY)


def test_a_revision_that_leads_elsewhere_damages_both(subject: Subject) -> None:
    digest = push(subject.storage)
    subject.plant.plant_link(LinkKind.REVISION, APP, digest, ABSENT.encode())
    subject.plant.plant_link(LinkKind.LAYER, APP, DIGEST, ABSENT.encode())
    with subject.storage.repository(APP) as repository:
        found = repository.revisions()
        assert found.damaged == {digest.binary, ABSENT.binary}
        assert len(found.problems) == 1
        assert repository.layer_target(DIGEST.binary) == ABSENT.binary


def test_links_tell_when_they_were_written(subject: Subject) -> None:
    subject.storage.link_layer(APP, DIGEST)
    subject.let_pass(WEEK)
    with subject.storage.repository(APP) as repository:
        with repository.links(LinkKind.LAYER) as links:
            old, place = links.stamp(DIGEST.binary), links.place_stamps([DIGEST.binary])
            assert links.stamps([ABSENT.binary, DIGEST.binary]) == [None, old]
        subject.storage.link_layer(APP, DIGEST)
        with repository.links(LinkKind.LAYER) as links:
            new = links.stamp(DIGEST.binary)
            assert links.stamps([DIGEST.binary]) == [new]
            assert links.place_stamps([DIGEST.binary]) >= place
    assert old is not None
    assert new is not None
    assert new > old


@pytest.mark.parametrize("kind", LinkKind)
def test_sound_links_lead_to_what_they_are_named_after(subject: Subject, kind: LinkKind) -> None:
    long = Digest.of(BLOB, "sha512")
    broken, elsewhere = Digest.of(b"broken"), Digest.of(b"elsewhere")
    for digest in (DIGEST, long):
        subject.plant.plant_link(kind, APP, digest)
    subject.plant.plant_link(kind, APP, broken, b"")
    subject.plant.plant_link(kind, APP, elsewhere, DIGEST.encode())
    asked = [one.binary for one in (DIGEST, ABSENT, broken, long, elsewhere)]
    with subject.storage.repository(APP) as repository:
        assert repository.sound_links(kind, asked) == {DIGEST.binary, long.binary}
        assert repository.sound_links(kind, []) == set()
    with subject.storage.repository("absent") as repository:
        assert repository.sound_links(kind, asked) == set()


# What has changed.


@pytest.mark.parametrize("kind", LinkKind)
def test_changes_tell_of_a_new_place_for_a_link(subject: Subject, kind: LinkKind) -> None:
    if not subject.storage.features.change_detection:
        return
    subject.plant.plant_link(kind, APP, DIGEST)
    subject.let_pass(WEEK)
    with subject.storage.repository(APP) as repository:
        before = repository.changes(kind)
        assert before
        assert repository.changes(kind) == before
        subject.plant.plant_link(kind, APP, DIGEST)
        assert repository.changes(kind) == before
        subject.plant.plant_link(kind, APP, ABSENT)
        # Nothing at all is returned for what has changed a moment ago.
        assert repository.changes(kind) != before
    subject.let_pass(WEEK)
    with subject.storage.repository(APP) as repository:
        own = repository.changes(kind)
    with subject.storage.repository("absent") as repository:
        none = repository.changes(kind)
    assert subject.storage.changes_each([APP, "absent"], kind) == [own, none]


@pytest.mark.parametrize("kind", LinkKind)
def test_many_links_are_looked_for_at_once(subject: Subject, kind: LinkKind) -> None:
    long = Digest.of(BLOB, "sha512")
    for digest in (DIGEST, long):
        subject.plant.plant_link(kind, APP, digest)
    subject.plant.plant_link_draft(kind, APP, ABSENT)
    pairs = [(APP, DIGEST.binary), (APP, ABSENT.binary), (APP, long.binary), (INNER, DIGEST.binary)]
    assert subject.storage.are_linked(kind, pairs) == [True, False, True, False]
    assert subject.storage.are_linked(kind, []) == []


def test_groups_that_have_changed_are_listed_again(subject: Subject) -> None:
    storage = subject.storage
    push(storage)
    subject.let_pass(WEEK)
    seen: dict[str, int] = {}
    found = dict(storage.changed_blob_groups(seen))
    assert found == {group: storage.blobs_in(group) for group in storage.blob_groups()}
    if storage.features.change_detection:
        assert list(storage.changed_blob_groups(seen)) == []
    group = group_name(ABSENT)
    known = {one: storage.group_change(one) for one in seen}
    assert known == seen
    subject.plant.plant_blob(ABSENT, b"new")
    assert ABSENT.binary in dict(storage.changed_blob_groups(seen))[group]


def test_a_repository_is_idle_when_nothing_came_lately(subject: Subject) -> None:
    push(subject.storage, ONE)
    subject.let_pass(WEEK)
    with subject.storage.repository(APP) as repository:
        assert repository.is_idle(EVER)
        assert not repository.is_idle(Stamp(0))


# Blobs.


def test_blobs_come_in_groups(subject: Subject) -> None:
    storage = subject.storage
    manifest = push(storage, layers=[b"1", b"2", b"3"])
    contents = [b"config", b"1", b"2", b"3", image(b"1", b"2", b"3")[1]]
    problems: list[Problem] = []
    groups = storage.blob_groups(problems)
    assert groups == sorted(groups)
    listed = [digest for group in groups for digest in storage.blobs_in(group, problems)]
    assert sorted(listed) == sorted(Digest.of(content).binary for content in contents)
    assert problems == []
    assert group_name(manifest) in groups
    assert {group_name(Digest.from_binary(one)) for one in listed} == {*groups}
    assert {blob.digest for blob in storage.blobs()} == {*listed}
    each = storage.blobs_each([*listed, ABSENT.binary])
    assert each == [*map(storage.blob, listed), None]
    sizes = {Digest.of(content).binary: len(content) for content in contents}
    assert {blob.digest: blob.size for blob in each if blob is not None} == sizes


def test_a_blob_tells_its_size_and_time(subject: Subject) -> None:
    began = time.time_ns()
    subject.storage.put_blob(APP, DIGEST, [BLOB])
    found = blob_of(subject, DIGEST)
    assert (found.digest, found.size, found.kept) == (DIGEST.binary, len(BLOB), 0)
    assert found.stamp > began - 10**9
    assert found.arrived >= found.stamp
    assert subject.storage.blob(ABSENT.binary) is None


def test_sizes_of_blobs_are_told_at_once(subject: Subject) -> None:
    storage = subject.storage
    empty, long = Digest.of(b""), Digest.of(BLOB, "sha512")
    assert storage.sizes_each([DIGEST.binary]) == [None]
    assert storage.sizes_each([DIGEST.binary], readable=True) == [None]
    for digest, content in ((DIGEST, BLOB), (empty, b""), (long, BLOB)):
        storage.put_blob(APP, digest, [content])
    asked = [DIGEST.binary, ABSENT.binary, empty.binary, long.binary]
    for some, sizes in ((asked, [7, None, 0, 7]), (asked[:3], [7, None, 0]), ([], [])):
        assert storage.sizes_each(some) == sizes
        assert storage.sizes_each(some, readable=True) == sizes
    found = {blob.digest: blob for blob in storage.blobs()}
    assert found == {one: storage.blob(one) for one in asked if one != ABSENT.binary}


def test_a_blob_of_sha512(subject: Subject) -> None:
    digest = Digest.of(BLOB, "sha512")
    subject.storage.put_blob(APP, digest, [BLOB])
    assert blob_of(subject, digest).size == len(BLOB)
    assert subject.storage.blobs_in(group_name(digest)) == [digest.binary]
    with subject.storage.repository(APP) as repository:
        assert repository.layers().named == {digest.binary}


def test_a_blob_is_read_in_pieces(subject: Subject) -> None:
    subject.storage.put_blob(APP, DIGEST, [BLOB])
    assert list(subject.storage.read_blob(DIGEST.binary, 3)) == [b"a l", b"aye", b"r"]
    assert b"".join(subject.storage.read_blob(DIGEST.binary)) == BLOB
    assert list(subject.storage.read_blob(ABSENT.binary)) == []


def test_a_place_without_a_blob_tells_what_is_being_written(subject: Subject) -> None:
    storage = subject.storage
    assert storage.empty_blob(DIGEST.binary, EVER) is None
    subject.plant.plant_draft(DIGEST, BLOB)
    assert storage.blob(DIGEST.binary) is None
    assert storage.blobs_in(group_name(DIGEST)) == [DIGEST.binary]
    young = storage.empty_blob(DIGEST.binary, Stamp(0))
    assert young == ([], False, [BLOB])
    old = storage.empty_blob(DIGEST.binary, EVER)
    assert old is not None
    assert [one.size for one in old.leftovers] == [len(BLOB)]
    assert old.removable
    storage.put_blob(APP, DIGEST, [BLOB])
    beside = storage.empty_blob(DIGEST.binary, EVER)
    assert beside is not None
    assert not beside.removable
    assert len(beside.leftovers) == 1


# Manifests.


def test_manifests_tell_what_they_reference(subject: Subject) -> None:
    storage = subject.storage
    digest = push(storage)
    parent, raw = index(digest)
    storage.put_manifest(APP, parent, raw)
    subject.plant.plant_blob(ABSENT, image(b"other")[1])  # damaged: it has another digest
    found = dict(storage.manifests([digest.binary, parent.binary, DIGEST.binary, ABSENT.binary]))
    assert found.keys() == {digest.binary, parent.binary}
    assert found[digest.binary].edges == references_of(image()[1]).edges
    assert found[parent.binary].edges == references_of(raw).edges


def test_many_manifests_are_read_at_once(subject: Subject) -> None:
    storage = subject.storage
    many = [image(b"%d" % number) for number in range(300)]
    for digest, raw in many:
        storage.put_manifest(APP, digest, raw)
    subject.plant.plant_blob(ABSENT, image(b"other")[1])  # damaged: it has another digest
    never = Digest.of(b"neither put").binary
    asked = [*(digest.binary for digest, _ in many), ABSENT.binary, never]
    assert dict(storage.whole_manifests(asked)) == {one.binary: raw for one, raw in many}
    assert list(storage.whole_manifests([])) == []


def test_a_manifest_is_read_whatever_it_is(subject: Subject) -> None:
    digest = push(subject.storage)
    assert subject.storage.read_manifest(digest.binary) == image()[1]
    subject.plant.plant_blob(digest, b"damaged")
    assert subject.storage.read_manifest(digest.binary) == b"damaged"
    assert subject.storage.read_manifest(ABSENT.binary) is None
    subject.plant.plant_blob(ABSENT, bytes(64 * 1024 * 1024 + 1))
    with pytest.raises(StorageError):
        subject.storage.read_manifest(ABSENT.binary)


# Uploads, and what killed processes left.


def test_uploads_are_what_is_not_finished(subject: Subject) -> None:
    push(subject.storage)
    subject.plant.plant_upload(APP, "0b3c", b"half")
    with subject.storage.repository(APP) as repository:
        [found] = repository.uploads()
        assert (found.id, found.files, found.bytes) == ("0b3c", 1, 4)
        assert found.moved >= found.started
        began = repository.uploads_stamp()
        assert began is not None
        subject.let_pass(WEEK)
        older = repository.uploads_stamp()
        subject.plant.plant_upload(APP, "1d4e", b"another")
        newer = repository.uploads_stamp()
        assert older is not None
        assert newer is not None
        assert newer > older


def test_a_link_that_is_being_written_shows(subject: Subject) -> None:
    push(subject.storage)
    subject.plant.plant_link_draft(LinkKind.REVISION, APP, ABSENT)
    with subject.storage.repository(APP) as repository:
        assert repository.is_being_linked(ABSENT.binary)
        assert not repository.is_being_linked(DIGEST.binary)
        assert repository.revisions().emptied == [ABSENT.binary]
        assert repository.leftovers(Stamp(0)) == []
        [left] = repository.leftovers(EVER)
        assert repository.has_others(())
        assert not repository.has_others({left.path})
        assert left.size == len(ABSENT)
