import hashlib
import io
import json
import subprocess
import tarfile
import zlib
from pathlib import Path

import pytest

from jettison.demo.images import (
    EMPTY,
    Content,
    Flavour,
    Image,
    Index,
    cosign_tag,
    fallback_index,
    image,
    index,
    layer,
    random_bytes,
    referrer,
    referrers_tag,
    signature,
    write_layout,
)
from jettison.model.digest import Digest
from jettison.model.mediatypes import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.support.missing import need
from tests.support.registry import DockerRegistry

BASE = layer({"etc/os-release": b"ID=sample\n"})
OWN = layer({"app/bin/run": random_bytes("own", 500)})


def document(content: Content) -> dict[str, object]:
    parsed = json.loads(content.raw)
    assert isinstance(parsed, dict)
    return parsed


def unpacked(raw: bytes) -> bytes:
    return zlib.decompress(raw, zlib.MAX_WBITS | 16)


def two_platforms(flavour: Flavour = "oci") -> Index:
    amd64 = image([BASE, OWN], flavour=flavour)
    arm64 = image([BASE], architecture="arm64", variant="v8", flavour=flavour)
    return index([amd64, arm64], flavour=flavour)


def test_random_bytes_depend_on_the_seed_alone() -> None:
    assert random_bytes(1, 100_000) == random_bytes(1, 100_000)
    assert random_bytes(1, 100)[:50] == random_bytes(1, 50)
    assert random_bytes(1, 100) != random_bytes(2, 100)
    assert len(zlib.compress(random_bytes(1, 100_000))) >= 100_000


def test_a_layer_is_the_same_every_time() -> None:
    one = layer({"b/c": b"2", "a": b"1"})
    assert one == layer({"a": b"1", "b/c": b"2"})
    assert one.digest == "sha256:" + hashlib.sha256(one.raw).hexdigest()
    assert one.diff_id == Digest.of(unpacked(one.raw))
    assert one.raw[4:8] == b"\0\0\0\0", "the gzip header carries a time"


def test_a_layer_is_a_tar_with_its_files_and_folders() -> None:
    with tarfile.open(fileobj=io.BytesIO(layer({"/x/y/z": b"zz", "x/a": b""}).raw)) as tar:
        assert [(entry.name, entry.isdir(), entry.mtime) for entry in tar] == [
            ("x", True, 0),
            ("x/y", True, 0),
            ("x/a", False, 0),
            ("x/y/z", False, 0),
        ]
        found = tar.extractfile("x/y/z")
        assert found is not None
        assert found.read() == b"zz"


def test_a_layer_can_be_zstd(tmp_path: Path) -> None:
    need("zstd")
    files = {"big": random_bytes(1, 300_000)}
    packed = layer(files, compression="zstd")
    assert packed.media_type.endswith("+zstd")
    (tmp_path / "it.zst").write_bytes(packed.raw)
    command = ["zstd", "-dc", str(tmp_path / "it.zst")]
    tarred = subprocess.run(command, check=True, capture_output=True).stdout
    assert tarred == unpacked(layer(files).raw)
    assert packed.diff_id == layer(files).diff_id


def test_the_config_describes_the_layers() -> None:
    built = image([BASE, OWN], env={"A": "1"}, labels={"b": "2"}, created="2020-01-01T00:00:00Z")
    config = json.loads(built.config.raw)
    assert config["rootfs"] == {"type": "layers", "diff_ids": [BASE.diff_id, OWN.diff_id]}
    assert len(config["history"]) == 2
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["created"] == "2020-01-01T00:00:00Z"
    assert config["config"] == {"Env": ["A=1"], "Labels": {"b": "2"}}
    assert built == image(
        [BASE, OWN], env={"A": "1"}, labels={"b": "2"}, created="2020-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("flavour", "manifest", "config", "packed", "listing"),
    [
        (
            "oci",
            OCI_MANIFEST,
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            OCI_INDEX,
        ),
        (
            "docker",
            DOCKER_MANIFEST,
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            DOCKER_LIST,
        ),
    ],
)
def test_flavours(flavour: Flavour, manifest: str, config: str, packed: str, listing: str) -> None:
    built = image([BASE], flavour=flavour)
    assert document(built.manifest) == {
        "schemaVersion": 2,
        "mediaType": manifest,
        "config": {"mediaType": config, "digest": built.config.digest, "size": built.config.size},
        "layers": [{"mediaType": packed, "digest": BASE.digest, "size": BASE.size}],
    }
    assert document(index([built], flavour=flavour).manifest) == {
        "schemaVersion": 2,
        "mediaType": listing,
        "manifests": [
            {
                "mediaType": manifest,
                "digest": built.digest,
                "size": built.manifest.size,
                "platform": {"architecture": "amd64", "os": "linux"},
            },
        ],
    }


def test_docker_images_have_only_what_docker_knows() -> None:
    with pytest.raises(ValueError, match="zstd"):
        image([layer({}, compression="zstd")], flavour="docker")
    with pytest.raises(ValueError, match="OCI flavour"):
        image([BASE], flavour="docker", annotations={"a": "b"})
    with pytest.raises(ValueError, match="OCI flavour"):
        index([], flavour="docker", annotations={"a": "b"})


def test_children_come_before_parents_and_each_thing_once() -> None:
    inner = two_platforms()
    outer = index([inner, inner.members[0]])
    assert [one.digest for one in outer.manifests()] == [
        *(one.digest for one in inner.members),
        inner.digest,
        outer.digest,
    ]
    digests = [one.digest for one in outer.blobs()]
    assert len(digests) == len(set(digests)) == 4
    assert "platform" not in json.loads(outer.manifest.raw)["manifests"][0]


def test_a_signature_names_its_subject() -> None:
    subject = image([BASE])
    signed = signature(subject)
    assert signed == signature(subject)
    (payload,) = signed.layers
    named = json.loads(payload.raw)["critical"]["image"]["docker-manifest-digest"]
    assert named == subject.digest
    assert cosign_tag(subject.digest) == f"sha256-{subject.digest.hex}.sig"
    assert cosign_tag(subject.digest, ".att").endswith(".att")


@pytest.mark.parametrize("subject", [image([BASE]), two_platforms()], ids=["image", "index"])
def test_a_referrer_has_its_subject_and_type(subject: Image | Index) -> None:
    sbom = referrer(subject, "application/spdx+json", b"{}", annotations={"by": "test"})
    manifest = json.loads(sbom.manifest.raw)
    assert manifest["subject"] == subject.manifest.descriptor()
    assert manifest["artifactType"] == "application/spdx+json"
    assert sbom.config == EMPTY
    assert sbom.platform is None
    listed = fallback_index([sbom])
    assert json.loads(listed.manifest.raw)["manifests"] == [
        sbom.manifest.descriptor(artifactType="application/spdx+json", annotations={"by": "test"}),
    ]
    assert listed.manifests() == [sbom.manifest, listed.manifest]
    assert referrers_tag(subject.digest) == f"sha256-{subject.digest.hex}"


def test_a_layout_lists_its_names(tmp_path: Path) -> None:
    content = two_platforms()
    layout = write_layout(tmp_path / "layout", {"one": content, "two": content.members[0]})
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert [entry["digest"] for entry in entries] == [content.digest, content.members[0].digest]
    files = {file.name: file.read_bytes() for file in (layout / "blobs" / "sha256").iterdir()}
    assert all(hashlib.sha256(raw).hexdigest() == name for name, raw in files.items())
    assert len(files) == len({*content.blobs(), *content.manifests()})


@pytest.mark.parametrize("flavour", ["oci", "docker"])
@pytest.mark.parametrize("many", [False, True], ids=["image", "index"])
def test_skopeo_copies_it(registry: DockerRegistry, flavour: Flavour, *, many: bool) -> None:
    content = two_platforms(flavour) if many else image([BASE, OWN], flavour=flavour)
    registry.push_skopeo("app", "1", content)
    pulled = registry.pull_skopeo("app", "1")
    assert pulled.manifest == content.manifest.raw
    assert pulled.blobs == {one.digest: one.raw for one in content.blobs()}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_pushes_a_layout(registry: DockerRegistry, compression: str) -> None:
    packed = layer({"a": b"b"}, compression="zstd" if compression == "zstd" else "gzip")
    content = index([image([packed]), image([packed], architecture="arm64")])
    registry.push_skopeo("app", "1", content)
    assert registry.manifest("app", "1").body == content.manifest.raw


def test_skopeo_converts_it_to_docker_schema_2(registry: DockerRegistry, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"it": image([BASE, OWN])})
    source, target = f"oci:{layout}:it", f"docker://{registry.host}/app:1"
    options = ["--quiet", "--format", "v2s2", "--dest-tls-verify=false"]
    subprocess.run(["skopeo", "--insecure-policy", "copy", *options, source, target], check=True)
    converted = json.loads(registry.manifest("app", "1").body)
    assert converted["mediaType"] == DOCKER_MANIFEST
    assert [one["digest"] for one in converted["layers"]] == [BASE.digest, OWN.digest]
