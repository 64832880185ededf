"""Push, pull, log in and delete with the clients that people have.

After each push every blob is read from the registry, over HTTP of our own: the digests are those
that the client named, and its pull into an empty store names them again.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import Image, Index, Layer, image, index, layer, random_bytes
from jettison.model.digest import Digest
from tests.support.clients import (
    CLIENTS,
    Buildah,
    Client,
    Containerd,
    Docker,
    Engine,
    Failed,
    Podman,
    Skopeo,
    engine,
)
from tests.support.registry import SERVERS, DockerRegistry, RegistryFactory

LOGIN = ("somebody", "a secret: of theirs")

pytestmark = pytest.mark.parametrize("program", SERVERS)
every_client = pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("e")) as running:
        yield running


def layers(seed: int) -> list[Layer]:
    """Too large to be sent in one packet."""
    return [layer({f"{seed}/{n}": random_bytes(f"{seed} {n}", 150_000)}) for n in range(3)]


def sample(seed: int = 1, **more: Any) -> Image:
    return image(layers(seed), **more)


def platforms() -> Index:
    return index([sample(1), sample(2, architecture="arm64", variant="v8")])


def whole(registry: DockerRegistry, repo: str, ref: str) -> list[dict[str, Any]]:
    """Read a manifest and all below it; return the documents, parents first."""
    answer = registry.manifest(repo, ref)
    assert answer.status == 200, answer.body
    assert answer.headers["Docker-Content-Digest"] == Digest.of(answer.body)
    document = json.loads(answer.body)
    assert answer.headers["Content-Type"] == document["mediaType"]
    found = [document]
    for child in document.get("manifests", ()):
        found += whole(registry, repo, child["digest"])
    blobs = [document["config"], *document["layers"]] if "config" in document else []
    for blob in blobs:
        got = registry.request("GET", f"/v2/{repo}/blobs/{blob['digest']}")
        assert (got.status, Digest.of(got.body), len(got.body)) == (
            200,
            blob["digest"],
            blob["size"],
        )
    return found


def on_registry(registry: DockerRegistry, repo: str, ref: str) -> Digest:
    whole(registry, repo, ref)
    return Digest(registry.manifest(repo, ref).headers["Docker-Content-Digest"])


def push_as(client: Client, user: str, password: str) -> None:
    """Log in and push, either of which may be refused."""
    client.login(user, password)
    client.push("team/app", "1", sample())


def exercise(client: Client, content: Image) -> Digest:
    """Push, look, pull into an empty store."""
    digest = client.push("team/app", "1", content)
    assert on_registry(client.registry, "team/app", "1") == digest
    assert client.pull("team/app", "1") == digest
    return digest


@every_client
def test_push_pull_and_delete(
    kind: type[Client], tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = kind(tmp_path / "client", registry, daemons)
    digest = exercise(client, sample())
    # Again, with a layer more: the others are there already.
    more = image([*layers(1), layer({"more": b"more"})])
    second = client.push("team/app", "2", more)
    assert on_registry(registry, "team/app", "2") == second != digest
    Skopeo(tmp_path / "deleting", registry, daemons).delete("team/app", "1")
    assert registry.tags("team/app") == ["2"]
    with pytest.raises(Failed, match=r"(?i)manifest unknown|not found"):
        client.pull("team/app", "1")
    assert client.pull("team/app", "2") == second


@every_client
def test_login(
    kind: type[Client], tmp_path: Path, daemons: Engine, registry_factory: RegistryFactory
) -> None:
    registry = registry_factory(delete=True, htpasswd=LOGIN)
    client = kind(tmp_path / "client", registry, daemons)
    refused = r"(?i)unauthorized|authentication required|no basic auth credentials|invalid username"
    with pytest.raises(Failed, match=refused):
        client.push("team/app", "1", sample())
    with pytest.raises(Failed, match=refused):
        push_as(client, LOGIN[0], "something else")
    assert registry.tags("team/app") == []
    client.login(*LOGIN)
    exercise(client, sample())


@every_client
def test_tls_with_a_private_authority(
    kind: type[Client], tmp_path: Path, daemons: Engine, registry_factory: RegistryFactory
) -> None:
    registry = registry_factory(delete=True, tls=True, htpasswd=LOGIN)
    stranger = kind(tmp_path / "stranger", registry, daemons, trusting=False)
    with pytest.raises(Failed, match="x509: certificate signed by unknown authority"):
        push_as(stranger, *LOGIN)
    client = kind(tmp_path / "client", registry, daemons)
    client.login(*LOGIN)
    exercise(client, sample())


def test_what_is_not_whole_is_noticed(
    tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    content = sample()
    registry.push("team/app", "1", content)
    lost = content.layers[1].digest
    (registry.tree / "blobs/sha256" / lost.hex[:2] / lost.hex / "data").unlink()
    with pytest.raises(AssertionError):
        whole(registry, "team/app", "1")
    with pytest.raises(Failed):
        Skopeo(tmp_path / "client", registry, daemons).pull("team/app", "1")


# What one client does, and others do not.


@pytest.mark.parametrize("flavour", ["oci", "v2s2", "zstd", "docker"])
def test_skopeo_in_every_format(
    flavour: str, tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = Skopeo(tmp_path / "client", registry, daemons)
    options = {
        "oci": ["--preserve-digests"],
        "v2s2": ["--format", "v2s2"],
        "zstd": ["--dest-compress-format", "zstd"],
        "docker": [],
    }[flavour]
    content = sample()
    if flavour == "docker":
        docker = sample(flavour="docker")
        registry.push("from", "1", docker)
        source = f"docker://{registry.host}/from:1"
        digest = client.copy(source, "app", "1", "--src-tls-verify=false", "--preserve-digests")
        assert digest == docker.digest
    else:
        digest = client.push("app", "1", content, *options)
    assert on_registry(registry, "app", "1") == digest == client.pull("app", "1")
    (document,) = whole(registry, "app", "1")
    kinds = {one["mediaType"] for one in document["layers"]}
    docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    oci_layer = "application/vnd.oci.image.layer.v1.tar"
    assert kinds == {
        {"oci": f"{oci_layer}+gzip", "zstd": f"{oci_layer}+zstd"}.get(flavour, docker_layer)
    }
    if flavour == "oci":
        assert digest == content.digest


def test_skopeo_copies_all_platforms(
    tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = Skopeo(tmp_path / "client", registry, daemons)
    content = platforms()
    assert client.push("app", "1", content, "--preserve-digests") == content.digest
    assert on_registry(registry, "app", "1") == content.digest == client.pull("app", "1")
    assert len(whole(registry, "app", "1")) == 3


def test_buildah_builds_and_pushes_all_platforms(
    tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = Buildah(tmp_path / "client", registry, daemons)
    context = tmp_path / "context"
    context.mkdir()
    (context / "content").write_bytes(random_bytes(7, 300_000))
    text = "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY content /\n"
    (context / "Containerfile").write_text(text, encoding="ascii")
    client.build(context, "--platform", "linux/amd64,linux/arm64", "--manifest", "several")
    digest = client.push_list("several", "app", "1")
    assert on_registry(registry, "app", "1") == digest
    listed, *members = whole(registry, "app", "1")
    found = {one["platform"]["architecture"] for one in listed["manifests"]}
    assert (found, len(members)) == ({"amd64", "arm64"}, 2)
    assert Skopeo(tmp_path / "other", registry, daemons).pull("app", "1") == digest
    client.pull("app", "1")


def test_podman_pushes_a_list(tmp_path: Path, daemons: Engine, registry: DockerRegistry) -> None:
    client = Podman(tmp_path / "client", registry, daemons)
    content = platforms()
    for member, tag in zip(content.members, ("amd64", "arm64"), strict=True):
        registry.push("app", tag, member)
    client("manifest", "create", "several")
    for tag in ("amd64", "arm64"):
        source = f"docker://{client.reference('app', tag)}"
        client("manifest", "add", *client.trust(""), "several", source)
    digest = client.push_list("several", "other/app", "1")
    assert on_registry(registry, "other/app", "1") == digest
    assert len(whole(registry, "other/app", "1")) == 3
    assert Skopeo(tmp_path / "other", registry, daemons).pull("other/app", "1") == digest
    client.pull("other/app", "1")


def test_containerd_pushes_and_pulls_all_platforms(
    tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = Containerd(tmp_path / "client", registry, daemons)
    content = platforms()
    assert client.push("app", "1", content) == content.digest
    assert on_registry(registry, "app", "1") == content.digest
    assert client.pull("app", "1", "--all-platforms") == content.digest
    everything = {one.digest for one in [*content.manifests(), *content.blobs()]}
    assert everything <= client.contents()


def test_dockerd_pulls_its_platform_and_mounts(
    tmp_path: Path, daemons: Engine, registry: DockerRegistry
) -> None:
    client = Docker(tmp_path / "client", registry, daemons)
    content = platforms()
    registry.push("team/app", "1", content)
    assert client.pull("team/app", "1") == content.digest
    path = f"/images/{client.reference('team/app', '1')}"
    client.call("POST", f"{path}/tag?repo={client.host}/other/app&tag=2")
    digest = client.push_again("other/app", "2")
    assert on_registry(registry, "other/app", "2") == digest
    (document,) = whole(registry, "other/app", "2")
    mine = next(
        one for one in content.members if one.platform == {"architecture": "amd64", "os": "linux"}
    )
    assert [one["digest"] for one in document["layers"]] == [one.digest for one in mine.layers]
    posts = [one for one in registry.accesses() if one.method == "POST"]
    mounts = [one.status for one in posts if "mount=" in one.path]
    assert mounts == [201] * len(mine.layers)
