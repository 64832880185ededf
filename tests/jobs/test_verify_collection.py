from collections.abc import AsyncIterator

import pytest

from jettison.client import ClientOptions, RemoteRegistry
from jettison.demo.images import image, layer, random_bytes
from jettison.errors import Unreachable
from jettison.jobs.verify_collection import SAMPLE, sample, verify_collected
from jettison.model.digest import Digest
from jettison.model.journal import Finding, FindingCode
from jettison.model.names import RepoName
from jettison.storage.filesystem.layout import layer_link
from jettison.storage.filesystem.tree import StorageTree
from tests.client.scripted import Answer, Scripted
from tests.support.registry import DockerRegistry, RegistryFactory

APP, OTHER = RepoName("team/app"), RepoName("other")
BASE = layer({"base": random_bytes(1, 3000)})
GOES, STAYS = (image([BASE, layer({"app": random_bytes(seed, 2000)})]) for seed in (2, 3))
OWN = sorted(blob.digest for blob in GOES.blobs() if blob != BASE)
REMOVED = [(APP, blob.digest) for blob in GOES.blobs()]


# Only Distribution remembers blobs.
pytestmark = pytest.mark.distribution


@pytest.fixture
def stale(registry_factory: RegistryFactory) -> DockerRegistry:
    """A registry that remembers all blobs of an image which a collection has removed.

    The base layer stays for another repository.
    """
    registry = registry_factory(cache="inmemory", delete=True)
    registry.push(APP, "1", GOES)
    registry.push(OTHER, "1", STAYS)
    for blob in GOES.blobs():
        assert registry.request("HEAD", f"/v2/{APP}/blobs/{blob.digest}").status == 200
    assert registry.delete(APP, GOES.digest) == 202
    tree = StorageTree(registry.root)
    for blob in GOES.blobs():
        assert tree.unlink(layer_link(APP, blob.digest))
    for digest in (GOES.digest, *OWN):
        (registry.tree / "blobs/sha256" / digest.hex[:2] / digest.hex / "data").unlink()
    return registry


@pytest.fixture
async def remote(stale: DockerRegistry) -> AsyncIterator[RemoteRegistry]:
    registry = RemoteRegistry(stale.host)
    yield registry
    await registry.aclose()


async def test_blobs_without_bytes(remote: RemoteRegistry) -> None:
    found = await verify_collected(remote, REMOVED)
    assert found == [
        Finding(
            FindingCode.BLOB_PROMISED,
            ok=False,
            subject=f"2 blobs ({APP}@{OWN[0]}, …):",
            sentence="HEAD answers 200 but no bytes come; its descriptor cache is stale: "
            "restart the registry, or empty its Redis database",
        ),
        # Its bytes come, and there is no telling why.
        Finding(FindingCode.BLOB_SERVED, ok=True, subject="1 removed blob", sentence="served"),
    ]


async def test_a_blob_that_another_repository_keeps(
    stale: DockerRegistry, remote: RemoteRegistry
) -> None:
    tree = StorageTree(stale.root)
    [finding] = await verify_collected(remote, [(APP, BASE.digest)], storage=tree)
    assert not finding.ok
    assert finding.subject == f"1 blob ({APP}@{BASE.digest}):"
    assert "no link" in finding.sentence
    assert "restart the registry" in finding.sentence
    # That is a failure: a push believes it, and after a restart the image is broken.
    stale.push(APP, "1", image([BASE]))
    stale.restart()
    assert stale.request("GET", f"/v2/{APP}/blobs/{BASE.digest}").status == 404


async def test_after_a_restart_all_is_well(stale: DockerRegistry, remote: RemoteRegistry) -> None:
    stale.restart()
    tree = StorageTree(stale.root)
    sentence = "not served any more"
    gone = [Finding(FindingCode.BLOB_GONE, ok=True, subject="3 removed blobs", sentence=sentence)]
    assert await verify_collected(remote, REMOVED) == gone
    assert await verify_collected(remote, REMOVED, storage=tree) == gone
    stale.push(APP, "1", GOES)
    [again] = await verify_collected(remote, REMOVED, storage=tree)
    assert again == Finding(
        FindingCode.BLOB_SERVED,
        ok=True,
        subject="3 removed blobs",
        sentence="linked and served again, after it was removed",
    )


async def test_nothing_was_removed(remote: RemoteRegistry) -> None:
    assert await verify_collected(remote, []) == []


async def test_many_aresampled_from_end_to_end(remote: RemoteRegistry) -> None:
    count = 10 * SAMPLE
    many = [(RepoName(f"r{n // 100}"), Digest.of(b"%d" % n)) for n in range(count)]
    seen: list[tuple[int, int | None]] = []
    [finding] = await verify_collected(
        remote, many, lambda _, done, total=None: seen.append((done, total))
    )
    assert finding.ok
    assert finding.subject == f"{SAMPLE} removed blobs (a sample of {count:,})"
    assert seen == [(done, SAMPLE) for done in range(SAMPLE)]
    asked = sample(many)
    assert asked == sorted(set(asked), key=many.index)
    assert {repository for repository, _ in asked} == {repository for repository, _ in many}


async def test_errors_say_what_was_asked_for(stale: DockerRegistry, remote: RemoteRegistry) -> None:
    stale.stop()
    with pytest.raises(Unreachable, match=f"while verifying {APP}@sha256:"):
        await verify_collected(remote, REMOVED[:1])


async def test_a_blob_that_answers_500_does_not_keep_the_others_from_it() -> None:
    gone, bad = Digest.of(b"gone"), Digest.of(b"bad")
    async with Scripted() as server:
        server.on("GET", f"/v2/{APP}/blobs/{bad}", Answer(500))
        async with RemoteRegistry(server.host, ClientOptions(retries=0)) as registry:
            await registry.ping()
            failed, rest = await verify_collected(registry, [(APP, gone), (APP, bad)])
    assert (failed.ok, failed.subject) == (False, "1 blob")
    assert "500" in failed.sentence
    assert (rest.ok, rest.subject) == (True, "1 removed blob")
