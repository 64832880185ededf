"""The contract of `jettison.registry.Registry`, held by both implementations on the same data.

A real docker-registry serves a storage tree; one implementation asks it over HTTP, the other
reads and writes the tree beside it.
"""

from collections.abc import AsyncIterator

import pytest

from jettison.client import RemoteRegistry
from jettison.demo.images import Image, image, index, layer, random_bytes, referrer
from jettison.errors import JettisonError, NotFoundError, UnexpectedResponse, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.registry import Deletion, RawManifest, Registry
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.registry import StorageRegistry
from tests.support.registry import DockerRegistry

APP, NESTED, NOWHERE = RepoName("team/app"), RepoName("team/app/sub"), RepoName("no/where")
ABSENT = Digest.of(b"nobody has this")
BASE = layer({"base": random_bytes(1, 4000)})
ONE = image([BASE, layer({"app": random_bytes(2, 3000)})])
TWO = image([BASE, layer({"app": random_bytes(3, 3000)})], flavour="docker")
BOTH = index([ONE, image([BASE], architecture="arm64")])


@pytest.fixture(params=["client", "store"])
async def subject(
    request: pytest.FixtureRequest, registry: DockerRegistry
) -> AsyncIterator[Registry]:
    registry.push(APP, "1", ONE)
    registry.push(APP, "1.0", ONE)
    registry.push(APP, "2", TWO)
    registry.push(NESTED, "multi", BOTH)
    found: Registry
    if request.param == "client":
        found = RemoteRegistry(registry.host)
    else:
        # All was pushed just now, as in a copy.
        found = StorageRegistry(StorageTree(registry.root), trust_times=True)
    yield found
    await found.aclose()


def raw(made: Image) -> RawManifest:
    return RawManifest(made.manifest.digest, made.manifest.media_type, made.manifest.raw)


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content[:10]
    yield content[10:]


async def names(subject: Registry, repository: RepoName) -> set[Tag]:
    found = [tag async for tag in subject.tags(repository) if isinstance(tag, Tag)]
    assert len(found) == len(set(found))
    return set(found)


async def test_lists_every_repository_once(subject: Registry) -> None:
    found = [name async for name in subject.repositories()]
    assert sorted(map(str, found)) == [APP, NESTED]


async def test_lists_the_tags_of_a_repository(subject: Registry) -> None:
    assert await names(subject, APP) == {"1", "1.0", "2"}
    assert await names(subject, NESTED) == {"multi"}


async def test_an_unknown_repository_is_not_an_empty_one(subject: Registry) -> None:
    with pytest.raises(NotFoundError):
        await names(subject, NOWHERE)


async def test_resolves_tags(subject: Registry) -> None:
    assert await subject.resolve(APP, Tag("1")) == ONE.manifest.digest
    assert await subject.resolve(APP, Tag("2")) == TWO.manifest.digest
    assert await subject.resolve(NESTED, Tag("multi")) == BOTH.manifest.digest
    assert await subject.resolve(APP, Tag("3")) is None


async def test_manifests_come_byte_for_byte(subject: Registry) -> None:
    assert await subject.manifest(APP, Tag("1")) == raw(ONE)
    assert await subject.manifest(APP, TWO.manifest.digest) == raw(TWO)
    by_tag = await subject.manifest(NESTED, Tag("multi"))
    assert by_tag is not None
    assert by_tag.raw == BOTH.manifest.raw
    assert await subject.manifest(APP, ABSENT) is None
    assert await subject.manifest(APP, BOTH.manifest.digest) is None
    assert await subject.manifest(NOWHERE, Tag("1")) is None


async def test_says_all_revisions_or_that_it_cannot(subject: Registry) -> None:
    found = await subject.revisions(NESTED)
    assert found is None or set(found) == {m.digest for m in BOTH.manifests()}


async def test_says_when_what_was_pushed_or_that_it_cannot(subject: Registry) -> None:
    for repository, tags in ((APP, {"1", "1.0", "2"}), (NESTED, {"multi"})):
        found = await subject.evidence(repository)
        assert found is None or found.copied or found.tags.keys() == tags
        times = [] if found is None else [*found.tags.values(), *found.manifests.values()]
        assert all(one.pushed is None or one.pushed.source for one in times)


async def test_says_who_refers_to_a_manifest_or_that_it_cannot(
    subject: Registry, registry: DockerRegistry
) -> None:
    note = referrer(ONE, "application/vnd.example.note", b"note")
    registry.push(APP, None, note)
    found = await subject.referrers(APP, ONE.manifest.digest)
    assert found is None or found == [note.manifest.digest]


async def test_reads_blobs(subject: Registry) -> None:
    assert await subject.blob_size(APP, BASE.digest) == BASE.size
    assert await subject.has_blob(APP, BASE.digest)
    assert b"".join([c async for c in subject.read_blob(APP, BASE.digest)]) == BASE.raw
    whole = subject.read_blob(APP, BASE.digest, size=BASE.size)
    assert b"".join([c async for c in whole]) == BASE.raw
    with pytest.raises(VerificationFailed):
        [c async for c in subject.read_blob(APP, BASE.digest, size=BASE.size - 1)]
    assert await subject.blob_size(APP, ABSENT) is None
    assert not await subject.has_blob(APP, ABSENT)
    with pytest.raises(NotFoundError):
        [c async for c in subject.read_blob(APP, ABSENT)]


async def test_says_all_sizes_or_that_it_cannot(
    subject: Registry, registry: DockerRegistry
) -> None:
    sizes = await subject.blob_sizes()
    assert sizes is None or sum(sizes.values()) == registry.blob_bytes()


async def test_damaged_blobs_are_not_handed_out(
    subject: Registry, registry: DockerRegistry
) -> None:
    encoded = BASE.digest.hex
    data = registry.root / "docker/registry/v2/blobs/sha256" / encoded[:2] / encoded / "data"
    data.write_bytes(b"x" * BASE.size)
    with pytest.raises(JettisonError, match=encoded[:12]):
        [c async for c in subject.read_blob(APP, BASE.digest)]


async def test_puts_blobs_and_manifests_so_that_others_see_them(
    subject: Registry, registry: DockerRegistry
) -> None:
    made = image([layer({"new": random_bytes(7, 2000)})])
    for blob in made.blobs():
        assert not await subject.has_blob(APP, blob.digest)
        await subject.put_blob(APP, blob.digest, once(blob.raw))
        assert await subject.has_blob(APP, blob.digest)
    await subject.put_manifest(APP, made.manifest.digest, raw(made))
    assert await subject.manifest(APP, made.manifest.digest) == raw(made)
    await subject.put_manifest(APP, Tag("new"), raw(made))
    assert registry.manifest(APP, "new").body == made.manifest.raw


async def test_a_wrong_digest_stores_nothing(subject: Registry, registry: DockerRegistry) -> None:
    before = registry.blob_files()
    with pytest.raises(JettisonError):
        await subject.put_blob(APP, ABSENT, once(b"something else entirely"))
    assert registry.blob_files() == before
    assert not await subject.has_blob(APP, ABSENT)


async def test_deleting_a_manifest_takes_all_its_tags(
    subject: Registry, registry: DockerRegistry
) -> None:
    assert await subject.delete_manifest(APP, ONE.manifest.digest)
    assert await names(subject, APP) == {"2"}
    assert await subject.manifest(APP, ONE.manifest.digest) is None
    assert not await subject.delete_manifest(APP, ONE.manifest.digest)
    assert await subject.resolve(NESTED, Tag("multi")) == BOTH.manifest.digest
    assert registry.manifest(APP, "2").body == TWO.manifest.raw


async def test_untagging_leaves_the_sibling_or_says_that_it_cannot(subject: Registry) -> None:
    found = await subject.capabilities(APP)
    assert found.deletion is Deletion.ENABLED
    if found.untag:
        assert await subject.untag(APP, Tag("1"))
        assert await names(subject, APP) == {"1.0", "2"}
        assert not await subject.untag(APP, Tag("1"))
    else:
        with pytest.raises(UnexpectedResponse):
            await subject.untag(APP, Tag("1"))
        assert await names(subject, APP) == {"1", "1.0", "2"}
    assert await subject.manifest(APP, Tag("1.0")) == raw(ONE)
