"""What a removal in many repositories frees, by example."""

import pytest

from jettison.model.digest import Digest
from jettison.model.manifest import Descriptor, Manifest, ManifestKind
from jettison.model.mediatypes import OCI_MANIFEST
from jettison.model.names import RepoName
from jettison.model.retention.removed_bytes import Holder, RemovalAccounting, RemovedBytes
from tests.property.registries import (
    LAYER,
    blob,
    image,
    manifest_digest,
    manifest_size,
    opaque,
    repository,
)


def test_nothing_seen_is_nothing_removed() -> None:
    assert RemovalAccounting().counted() == (RemovedBytes(), ())


def test_a_layer_of_another_repository_stays_and_names_it() -> None:
    counting = RemovalAccounting()
    counting.add(repository("a", [image(0, 0, [1, 2])], {"t": 0}), {manifest_digest(0)})
    counting.add(repository("b", [image(1, 3, [2])], {"t": 1}), set())
    found, _ = counting.counted()
    assert found.freed_bytes == manifest_size(0) + 1 + 2
    assert (found.shared, found.shared_bytes) == (1, 4)
    assert found.holders == (Holder(RepoName("b"), 4),)
    assert found.total_bytes == manifest_size(0) + manifest_size(1) + 1 + 2 + 4 + 8


def test_what_cannot_be_understood_keeps_what_its_own_repository_references() -> None:
    counting = RemovalAccounting()
    counting.add(repository("a", [image(0, 0), opaque(1)], {"t": 0}), {manifest_digest(0)})
    counting.add(repository("b", [image(2, 1), opaque(3)], {}), {manifest_digest(2)})
    counting.add(repository("c", [image(4, 2)], {}), {manifest_digest(4)})
    found, _ = counting.counted()
    assert found.freed_bytes == manifest_size(4) + 4
    assert {holder.repository for holder in found.holders} == {"a", "b"}


def test_only_five_holders_are_named_and_all_are_counted() -> None:
    counting = RemovalAccounting()
    counting.add(repository("gone", [image(0, 3, [5, 6])], {}), {manifest_digest(0)})
    for number in range(1, 8):
        counting.add(
            repository(f"r{number}", [image(number, 3, [5] if number == 7 else [])], {}), set()
        )
    found, _ = counting.counted()
    assert found.holder_count == 7
    assert [holder.repository for holder in found.holders] == ["r7", "r1", "r2", "r3", "r4"]


def test_digests_of_both_lengths_and_sizes_of_any_length() -> None:
    long = Digest.of(b"layer", "sha512")
    huge = Manifest(
        manifest_digest(0),
        OCI_MANIFEST,
        10,
        ManifestKind.IMAGE,
        layers=(Descriptor(long, LAYER, 7), Descriptor(blob(0), LAYER, 1 << 70)),
    )
    counting = RemovalAccounting()
    counting.add(repository("a", [huge], {}), {huge.digest})
    assert counting.counted([(blob(0).binary, 5)])[0].freed_bytes == 10 + 7 + 5
    assert counting.counted()[0].freed_bytes > 1 << 63


@pytest.mark.parametrize("stored", [True, False])
def test_a_blob_that_the_storage_lacks_takes_no_room(stored: bool) -> None:
    counting = RemovalAccounting()
    counting.add(repository("a", [image(0, 1, [2])], {}), {manifest_digest(0)})
    found, _ = counting.counted(
        [(manifest_digest(0).binary, 100), (blob(1).binary, 20)], stored=stored
    )
    assert (found.freed, found.freed_bytes) == ((2, 120) if stored else (3, 124))
