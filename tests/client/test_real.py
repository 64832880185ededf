"""Against Debian's docker-registry: what the scripted server was told to imitate, and more."""

from collections.abc import AsyncIterator

import pytest

from jettison.client import ClientOptions, Credentials
from jettison.demo import images
from jettison.errors import (
    AccessDenied,
    DeletionDisabled,
    LoginRefused,
    NotFoundError,
    UnexpectedResponse,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.names import RepoName, Tag
from jettison.registry import RawManifest
from tests.client.conftest import Connect
from tests.support.registry import DockerRegistry, Options, RegistryFactory

REPO = RepoName("team/app")
ONE = images.image([images.layer({"base": b"b" * 10_000}), images.layer({"app": b"1"})])
TWO = images.image([images.layer({"base": b"b" * 10_000}), images.layer({"app": b"2"})])


async def chunks(raw: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


async def test_lists(registry: DockerRegistry, connect: Connect) -> None:
    client = connect(registry.host)
    assert [name async for name in client.repositories()] == []
    for repository in ("pg", "pg/0/p", "team/app"):
        registry.push(repository, "1", ONE)
    assert sorted([str(name) async for name in client.repositories()]) == [
        "pg",
        "pg/0/p",
        "team/app",
    ]
    for number in range(30):
        registry.put_manifest("pg", f"v{number}", ONE.manifest.raw, ONE.manifest.media_type)
    assert len([tag async for tag in client.tags(RepoName("pg"))]) == 31
    registry.delete("pg", ONE.digest)
    assert [tag async for tag in client.tags(RepoName("pg"))] == []
    with pytest.raises(NotFoundError, match="no repository absent in"):
        _ = [tag async for tag in client.tags(RepoName("absent"))]


async def test_a_catalog_of_many_pages(registry: DockerRegistry, connect: Connect) -> None:
    """The tree is made by hand: the registry lists folders."""
    names = {f"r{number:04}" for number in range(2500)}
    for name in names:
        for part in ("_layers", "_manifests", "_uploads"):
            (registry.tree / "repositories" / name / part).mkdir(parents=True)
    client = connect(registry.host)
    assert {name async for name in client.repositories()} == names
    catalog = [access for access in registry.accesses() if "_catalog" in access.path]
    assert len(catalog) == 3


@pytest.mark.parametrize("flavour", ["oci", "docker"])
async def test_manifests_of_every_kind(
    registry: DockerRegistry, connect: Connect, flavour: images.Flavour
) -> None:
    lists_referrers = registry.program == "jettison"
    single = images.image([images.layer({"a": b"a"})], flavour=flavour)
    arm = images.image([images.layer({"a": b"arm"})], architecture="arm64", flavour=flavour)
    both = images.index([single, arm], flavour=flavour)
    registry.push("team/app", "single", single)
    registry.push("team/app", "both", both)
    client = connect(registry.host)
    for tag, content in (("single", single), ("both", both)):
        assert await client.resolve(REPO, Tag(tag)) == content.digest
        found = await client.manifest(REPO, Tag(tag))
        assert found == await client.manifest(REPO, content.digest)
        assert found == RawManifest(
            content.digest, content.manifest.media_type, content.manifest.raw
        )
    assert await client.resolve(REPO, Tag("absent")) is None
    assert await client.manifest(REPO, Tag("absent")) is None
    assert await client.manifest(REPO, Digest.of(b"absent")) is None
    assert await client.manifest(RepoName("no/such"), Tag("1")) is None
    assert await client.referrers(REPO, single.digest) == ([] if lists_referrers else None)


async def test_delete_and_put_back(registry: DockerRegistry, connect: Connect) -> None:
    registry.push("team/app", "1", ONE)
    registry.push("team/app", "latest", ONE)
    client = connect(registry.host)
    saved = await client.manifest(REPO, Tag("1"))
    assert saved is not None
    if registry.program == "docker-registry":
        with pytest.raises(UnexpectedResponse, match="cannot remove a tag by itself"):
            await client.untag(REPO, Tag("1"))
    else:
        assert await client.untag(REPO, Tag("1")) is True
        assert registry.tags("team/app") == ["latest"]
    assert await client.delete_manifest(REPO, saved.digest) is True
    assert await client.delete_manifest(REPO, saved.digest) is False
    assert [tag async for tag in client.tags(REPO)] == []
    assert await client.manifest(REPO, saved.digest) is None

    await client.put_manifest(REPO, saved.digest, saved)
    await client.put_manifest(REPO, Tag("1"), saved)
    assert registry.tags("team/app") == ["1"]
    assert registry.pull_skopeo("team/app", "1").manifest == ONE.manifest.raw


async def test_a_manifest_whose_blobs_are_not_there(
    registry: DockerRegistry, connect: Connect
) -> None:
    client = connect(registry.host)
    manifest = RawManifest(ONE.digest, ONE.manifest.media_type, ONE.manifest.raw)
    with pytest.raises(UnexpectedResponse, match="MANIFEST_BLOB_UNKNOWN") as caught:
        await client.put_manifest(REPO, Tag("1"), manifest)
    assert "references is not in the repository" in (caught.value.hint or "")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
async def test_blobs(registry: DockerRegistry, connect: Connect, size: int) -> None:
    raw = images.random_bytes(size, size)
    digest = Digest.of(raw)
    client = connect(registry.host)
    assert await client.has_blob(REPO, digest) is False
    assert await client.blob_size(REPO, digest) is None
    with pytest.raises(NotFoundError):
        _ = [chunk async for chunk in client.read_blob(REPO, digest)]
    await client.put_blob(REPO, digest, chunks(raw))
    assert await client.has_blob(REPO, digest) is True
    assert await client.blob_size(REPO, digest) == size
    assert b"".join([chunk async for chunk in client.read_blob(REPO, digest)]) == raw
    assert registry.blob_files() == {digest: size}


async def test_a_blob_with_a_wrong_digest_leaves_nothing(
    registry: DockerRegistry, connect: Connect
) -> None:
    client = connect(registry.host)
    with pytest.raises(VerificationFailed):
        await client.put_blob(REPO, Digest.of(b"other"), chunks(b"bytes"))
    # Its own cancellation forgets one small file.
    assert [path for path in registry.snapshot() if "/hashstates/" not in path] == []

    async def broken() -> AsyncIterator[bytes]:
        yield b"bytes" * 100_000
        message = "the source is gone"
        raise NotFoundError(message)

    with pytest.raises(NotFoundError, match="the source is gone"):
        await client.put_blob(REPO, Digest.of(b"other"), broken())
    assert registry.blob_files() == {}


async def test_a_copy_from_one_registry_to_another(
    registry_factory: RegistryFactory, connect: Connect
) -> None:
    source, target = registry_factory(), registry_factory()
    source.push("team/app", "1", ONE)
    reader, writer = connect(source.host), connect(target.host, ClientOptions(jobs=1))
    for blob in ONE.blobs():
        digest = Digest.of(blob.raw)
        await writer.put_blob(REPO, digest, reader.read_blob(REPO, digest))
    manifest = await reader.manifest(REPO, Tag("1"))
    assert manifest is not None
    await writer.put_manifest(REPO, Tag("1"), manifest)
    assert target.pull_skopeo("team/app", "1").manifest == ONE.manifest.raw


async def test_bytes_that_changed_on_the_disk(registry: DockerRegistry, connect: Connect) -> None:
    registry.push("team/app", "1", ONE)
    digest = Digest.of(ONE.blobs()[0].raw)
    data = registry.tree / "blobs" / "sha256" / digest.hex[:2] / digest.hex / "data"
    data.write_bytes(b"x" * data.stat().st_size)
    client = connect(registry.host)
    with pytest.raises(VerificationFailed, match="other bytes"):
        _ = [chunk async for chunk in client.read_blob(REPO, digest)]


@pytest.mark.distribution
async def test_a_stale_cache_is_seen_through(
    registry_factory: RegistryFactory, connect: Connect
) -> None:
    real = registry_factory(delete=True, cache="inmemory")
    real.push("team/app", "1", ONE)
    client = connect(real.host)
    blobs = [Digest.of(blob.raw) for blob in ONE.blobs()]
    for digest in blobs:
        assert await client.has_blob(REPO, digest)
        (real.tree / "blobs" / "sha256" / digest.hex[:2] / digest.hex / "data").unlink()
    for digest in blobs:
        assert await client.blob_size(REPO, digest) is not None
        assert await client.has_blob(REPO, digest) is False
    real.restart()
    for digest in blobs:
        assert await client.blob_size(REPO, digest) is None
        assert await client.has_blob(REPO, digest) is False


async def test_deletion_disabled(registry_factory: RegistryFactory, connect: Connect) -> None:
    real = registry_factory(delete=False)
    real.push("team/app", "1", ONE)
    before = real.snapshot()
    client = connect(real.host)
    cases: list[tuple[Options, str]] = [
        ({"delete": False}, "not enabled"),
        ({"delete": None}, "not enabled"),
        ({"delete": True, "readonly": True}, "is read-only"),
    ]
    for options, message in cases:
        real.reconfigure(**options)
        with pytest.raises(DeletionDisabled, match=message):
            await client.delete_manifest(REPO, ONE.digest)
        with pytest.raises(DeletionDisabled, match=message):
            await client.untag(REPO, Tag("1"))
    manifest = RawManifest(ONE.digest, OCI_INDEX, ONE.manifest.raw)
    with pytest.raises(AccessDenied, match="read-only"):
        await client.put_manifest(REPO, Tag("2"), manifest)
    with pytest.raises(AccessDenied, match="read-only"):
        await client.put_blob(REPO, Digest.of(b"x"), chunks(b"x"))
    assert real.snapshot() == before


async def test_htpasswd(registry_factory: RegistryFactory, connect: Connect) -> None:
    real = registry_factory(delete=True, htpasswd=("me", "pass:wörd"))
    real.push("team/app", "1", ONE)
    client = connect(real.host, None, Credentials("me", "pass:wörd"))
    assert await client.ping() == "basic"
    assert await client.resolve(REPO, Tag("1")) == ONE.digest
    assert (await client.capabilities(REPO)).login == "basic"
    for wrong in (Credentials("me", "no"), Credentials("you", "pass:wörd")):
        with pytest.raises(LoginRefused, match=f"login to {real.host} refused"):
            await connect(real.host, None, wrong).resolve(REPO, Tag("1"))
    with pytest.raises(LoginRefused, match=f"{real.host} needs a login"):
        _ = [name async for name in connect(real.host).repositories()]


async def test_everything_over_tls(registry_factory: RegistryFactory, connect: Connect) -> None:
    real = registry_factory(delete=True, tls=True)
    client = connect(real.host, ClientOptions(ca_file=real.ca))
    raw = images.random_bytes("tls", 1_000_000)
    digest = Digest.of(raw)
    await client.put_blob(REPO, digest, chunks(raw))
    assert await client.has_blob(REPO, digest)
    real.push("team/app", "1", TWO)
    assert await client.delete_manifest(REPO, TWO.digest)
