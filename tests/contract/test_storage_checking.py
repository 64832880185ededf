"""What is wrong in a storage itself, as every kind of storage tells it."""

from jettison.model.check_report import DefectClass, RepairAction, Severity
from jettison.model.digest import Digest
from jettison.storage.protocol import BadLink, LinkKind, Stamp
from tests.contract.content import ABSENT, APP, BLOB, DIGEST, ONE, group_name, push
from tests.contract.storages import ON_A_DISK, WEEK, Subject

EVER = Stamp(2**62)


def read_on(_: int) -> bool:
    return True


def test_nothing_is_wrong_in_what_was_pushed(subject: Subject) -> None:
    digest = push(subject.storage, ONE)
    checking = subject.storage.checking(EVER)
    groups, defects = checking.top()
    assert groups == subject.storage.blob_groups()
    assert defects == []
    assert checking.hidden() == frozenset()
    found = list(map(checking.group, groups))
    blobs = list(subject.storage.blobs())
    assert sum(one.blobs for one in found) == len(blobs)
    assert sum(one.bytes for one in found) == sum(blob.size for blob in blobs)
    assert [one.defects for one in found if one.defects] == []
    config = Digest.of(b"config")
    assert checking.repository(APP) == ({one.binary: one.binary for one in (DIGEST, config)}, [])
    assert checking.repository("absent") == ({}, [])
    for blob in blobs:
        assert checking.mismatch(blob.digest, read_on) is None
    places = subject.storage.places
    assert checking.link(places.tag(APP, ONE)) == digest.binary
    assert checking.link(places.link(LinkKind.REVISION, APP, digest)) == digest.binary
    assert checking.link(places.link(LinkKind.LAYER, APP, ABSENT)) is None


def test_content_with_another_digest_is_told_with_its_size(subject: Subject) -> None:
    subject.plant.plant_blob(ABSENT, b"damaged")
    checking = subject.storage.checking(EVER)
    told: list[int] = []

    def tell(count: int) -> bool:
        told.append(count)
        return True

    found = checking.mismatch(ABSENT.binary, tell)
    assert found == subject.storage.blob(ABSENT.binary)
    assert sum(told) == len(b"damaged")
    assert checking.mismatch(ABSENT.binary, lambda _: False) is None
    assert checking.mismatch(DIGEST.binary, read_on) is None


def test_bad_links_say_why(subject: Subject) -> None:
    push(subject.storage, ONE)
    subject.plant.plant_link(LinkKind.LAYER, APP, DIGEST, b"sha256:")
    subject.plant.plant_tag(APP, ONE, b"")
    subject.let_pass(WEEK)
    checking = subject.storage.checking(EVER)
    bad = checking.repository(APP).layers[DIGEST.binary]
    assert isinstance(bad, BadLink)
    assert not bad.unread
    assert checking.link(subject.storage.places.link(LinkKind.LAYER, APP, DIGEST)) == bad
    assert checking.link(subject.storage.places.tag(APP, ONE)) == BadLink("the link is empty")
    with subject.storage.repository(APP) as repository:
        [problem] = repository.tags().problems
    assert checking.defect_class(problem) is DefectClass.UNEXPECTED_FILE


@ON_A_DISK
def test_what_killed_processes_left_is_a_notice(subject: Subject) -> None:
    push(subject.storage)
    with subject.storage.quarantine() as aside:
        aside.put([DIGEST.binary])
    subject.plant.plant_draft(ABSENT, BLOB)
    subject.plant.plant_link_draft(LinkKind.REVISION, APP, ABSENT)
    checking = subject.storage.checking(EVER)
    found = [
        *checking.top().defects,
        *checking.group(group_name(ABSENT)).defects,
        *checking.repository(APP).defects,
    ]
    assert [one.kind for one in found] == [DefectClass.LEFTOVER] * len(found)
    assert {one.severity for one in found} == {Severity.NOTICE}
    assert [one.repository for one in found] == [None, None, APP]
    remedy = found[0].remedy
    assert remedy is not None
    assert remedy.action is RepairAction.RECOVER_BLOB
    assert remedy.path == subject.storage.places.aside_blob(DIGEST)
    young = subject.storage.checking(Stamp(0))
    assert young.group(group_name(ABSENT)).defects == []
    assert young.repository(APP).defects == []
