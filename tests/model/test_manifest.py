import base64
import json
from typing import Any

import pytest

from jettison.errors import InvalidManifest
from jettison.model import mediatypes
from jettison.model.digest import Digest
from jettison.model.manifest import (
    Descriptor,
    Manifest,
    ManifestKind,
    Platform,
    parse_manifest,
    referenced_digest,
    signed_content,
)
from jettison.model.manifest_references import references_of

A = Digest("sha256:" + "a" * 64)
B = Digest("sha256:" + "b" * 64)
C = Digest("sha512:" + "c" * 128)
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def descriptor(digest: str, media_type: str = LAYER, size: int = 5, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def parse(body: object, content_type: str | None = None) -> Manifest:
    return parse_manifest(json.dumps(body).encode(), content_type)


IMAGE = {"schemaVersion": 2, "config": descriptor(A, CONFIG), "layers": [descriptor(B)]}
CHILD = descriptor(A, mediatypes.OCI_MANIFEST)
INDEX = {"schemaVersion": 2, "manifests": [CHILD]}


@pytest.mark.parametrize("media_type", sorted(mediatypes.IMAGES))
def test_an_image(media_type: str) -> None:
    raw = json.dumps({**IMAGE, "mediaType": media_type}, indent=3).encode()
    manifest = parse_manifest(raw)
    assert manifest.digest == Digest.of(raw)
    assert manifest.size == len(raw)
    assert manifest.media_type == media_type
    assert manifest.kind is ManifestKind.IMAGE
    assert manifest.config == Descriptor(A, CONFIG, 5)
    assert manifest.layers == (Descriptor(B, LAYER, 5),)
    assert list(manifest.blobs) == [manifest.config, *manifest.layers]
    assert manifest.children == ()


@pytest.mark.parametrize("media_type", sorted(mediatypes.INDEXES))
def test_an_index(media_type: str) -> None:
    platform = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}
    nested = descriptor(B, mediatypes.DOCKER_LIST)
    members = [descriptor(A, mediatypes.OCI_MANIFEST, platform=platform), nested]
    manifest = parse({"mediaType": media_type, "manifests": members})
    assert manifest.kind is ManifestKind.INDEX
    assert [child.digest for child in manifest.children] == [A, B]
    assert manifest.children[0].platform == Platform("linux", "arm", "v7")
    assert str(manifest.children[0].platform) == "linux/arm/v7"
    assert manifest.children[1].platform is None
    assert list(manifest.blobs) == []


@pytest.mark.parametrize(
    ("media_type", "is_blob"),
    [
        ("application/vnd.buildkit.cacheconfig.v0", True),
        (LAYER, True),
        (CONFIG, True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        (mediatypes.OCI_MANIFEST, False),
        (mediatypes.OCI_ARTIFACT, False),
        # Following what is no manifest keeps more; not following a manifest would lose.
        ("", False),
        ("application/x.unknown", False),
    ],
)
def test_members_of_an_index_that_are_no_manifests(media_type: str, is_blob: bool) -> None:
    members = [descriptor(A, media_type)]
    manifest = parse({"mediaType": mediatypes.OCI_INDEX, "manifests": members})
    assert [blob.digest for blob in manifest.blobs] == ([A] if is_blob else [])
    assert [child.digest for child in manifest.children] == ([] if is_blob else [A])


def test_an_artifact_with_its_subject() -> None:
    manifest = parse(
        {
            "mediaType": mediatypes.OCI_ARTIFACT,
            "artifactType": "application/sbom",
            "blobs": [descriptor(A)],
            "subject": descriptor(C, mediatypes.OCI_MANIFEST),
            "annotations": {"k": "v"},
        }
    )
    assert manifest.kind is ManifestKind.ARTIFACT
    assert manifest.artifact_type == "application/sbom"
    assert [blob.digest for blob in manifest.blobs] == [A]
    assert manifest.subject == C
    assert manifest.annotations == {"k": "v"}


def test_schema_1_lists_each_layer_once_and_knows_no_size() -> None:
    sums = [{"blobSum": digest} for digest in (A, B, A)]
    manifest = parse({"schemaVersion": 1, "fsLayers": sums, "signatures": [{"protected": "x"}]})
    assert manifest.kind is ManifestKind.SCHEMA1
    assert [(blob.digest, blob.size) for blob in manifest.blobs] == [(A, None), (B, None)]


def test_foreign_layers_data_fields_and_sha512() -> None:
    layers = [descriptor(C, FOREIGN, urls=["https://elsewhere/x"]), descriptor(B, data="aGVsbG8=")]
    manifest = parse({**IMAGE, "layers": layers})
    foreign, inline = manifest.layers
    assert foreign == Descriptor(C, FOREIGN, 5, None, ("https://elsewhere/x",))
    assert not foreign.distributable
    assert inline.distributable


def test_a_blob_listed_twice_counts_once() -> None:
    manifest = parse({**IMAGE, "layers": [descriptor(B), descriptor(B), descriptor(A)]})
    assert len(list(manifest.blobs)) == 4


@pytest.mark.parametrize("kind", ["IMAGE", "INDEX"])
def test_a_subject_is_no_strong_reference(kind: str) -> None:
    body = IMAGE if kind == "IMAGE" else INDEX
    manifest = parse({**body, "subject": descriptor(C, mediatypes.OCI_MANIFEST)})
    assert manifest.subject == C
    assert C not in {d.digest for d in (*manifest.blobs, *manifest.children)}


# The type inside wins; then the one the registry told; then the members decide.
@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (IMAGE, None, mediatypes.OCI_MANIFEST),
        (IMAGE, mediatypes.DOCKER_MANIFEST, mediatypes.DOCKER_MANIFEST),
        (IMAGE, f"{mediatypes.DOCKER_MANIFEST}; charset=utf-8", mediatypes.DOCKER_MANIFEST),
        (IMAGE, "application/json", mediatypes.OCI_MANIFEST),
        (INDEX, None, mediatypes.OCI_INDEX),
        (INDEX, "text/plain", mediatypes.OCI_INDEX),
        (INDEX, mediatypes.DOCKER_LIST, mediatypes.DOCKER_LIST),
        ({**INDEX, "mediaType": mediatypes.DOCKER_LIST}, "x/y", mediatypes.DOCKER_LIST),
        (
            {**IMAGE, "mediaType": mediatypes.DOCKER_MANIFEST},
            mediatypes.OCI_INDEX,
            mediatypes.DOCKER_MANIFEST,
        ),
        ({"fsLayers": []}, None, mediatypes.SCHEMA1_SIGNED),
        ({"fsLayers": []}, mediatypes.SCHEMA1_PLAIN, mediatypes.SCHEMA1_PLAIN),
        ({**IMAGE, "mediaType": "application/x.new"}, None, "application/x.new"),
        ({"mediaType": "application/x.new", "config": 5}, "application/x.new", "application/x.new"),
        ({}, "application/x.new", "application/x.new"),
        ({}, None, ""),
    ],
)
def test_the_media_type(body: object, content_type: str | None, expected: str) -> None:
    manifest = parse(body, content_type)
    assert manifest.media_type == expected
    assert (manifest.kind is ManifestKind.OPAQUE) == (expected not in mediatypes.MANIFESTS)


def test_an_opaque_manifest_still_tells_its_subject() -> None:
    manifest = parse({"mediaType": "application/x.new", "subject": descriptor(A)})
    assert manifest.kind is ManifestKind.OPAQUE
    assert manifest.subject == A
    assert list(manifest.blobs) == []


def test_null_is_what_is_missing() -> None:
    """As for programs in Go; Distribution takes and stores such manifests."""
    layer = {**descriptor(B), "mediaType": None, "size": None, "urls": None, "platform": None}
    body = {**IMAGE, "mediaType": None, "layers": [layer], "annotations": {"a": None, "b": "c"}}
    manifest = parse(body, mediatypes.OCI_MANIFEST)
    assert manifest.media_type == mediatypes.OCI_MANIFEST
    assert manifest.layers == (Descriptor(B, "", None),)
    assert manifest.annotations == {"a": "", "b": "c"}
    assert references_of(json.dumps(body).encode()).edges is not None
    assert parse({**INDEX, "mediaType": None, "annotations": None}).kind is ManifestKind.INDEX


@pytest.mark.parametrize("more", [{}, {"layers": None}, {"layers": []}])
@pytest.mark.parametrize("kind", [{}, {"mediaType": mediatypes.OCI_MANIFEST}])
def test_an_image_may_have_no_layers(kind: dict[str, object], more: dict[str, object]) -> None:
    """As Distribution takes it: `null`, and no member at all."""
    manifest = parse({"schemaVersion": 2, "config": descriptor(A), **kind, **more})
    assert manifest.kind is ManifestKind.IMAGE
    assert [blob.digest for blob in manifest.blobs] == [A]


@pytest.mark.parametrize("more", [{}, {"manifests": None}, {"manifests": []}])
def test_an_index_may_have_no_members(more: dict[str, object]) -> None:
    manifest = parse({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, **more})
    assert manifest.kind is ManifestKind.INDEX
    assert manifest.children == ()


def text(kind: str, *members: str) -> bytes:
    joined = ", ".join(members)
    return f'{{"schemaVersion": 2, "mediaType": "{kind}", {joined}}}'.encode()


def one(name: str, digest: str, key: str = "digest") -> str:
    return f'"{name}": {{"mediaType": "application/x", "{key}": "{digest}", "size": 1}}'


def some(name: str, *digests: str) -> str:
    members = ", ".join(one("x", digest).partition(": ")[2] for digest in digests)
    return f'"{name}": [{members}]'


@pytest.mark.parametrize(
    "members",
    [
        [one("config", A), some("layers", B), some("layers", C)],
        [one("config", A), some("layers", B), some("Layers", C)],
        [one("config", A), some("LAYERS", C), some("layers", B)],
        [one("config", A), some("layers", B), some("layer\u017f", C)],
        [one("config", A), some("layers", B), some("l\\u0061yers", C)],
        [one("config", C), some("layers", B), one("config", A)],
        [one("config", A), some("layers", B), one("Config", C)],
        [one("config", A), some("layers", C), some("layers", B)],
        [one("config", A), some("layers", C), '"layers": null', some("Layers", B)],
        [one("config", A)[:-1] + f', "Digest": "{B}"}}', some("layers", C)],
        [one("config", B)[:-1] + f', "digest": "{A}"}}', some("layers", C)],
    ],
)
def test_what_any_reader_may_find_is_found(members: list[str]) -> None:
    raw = text(mediatypes.OCI_MANIFEST, *members)
    assert {blob.digest for blob in parse_manifest(raw).blobs} == {A, B, C}
    edges = references_of(raw).edges
    assert edges is not None
    assert set(edges.blobs) == {Digest(A).binary, Digest(B).binary, Digest(C).binary}


def test_members_of_an_index_in_another_case_are_children() -> None:
    raw = text(mediatypes.OCI_INDEX, some("manifests", A), some("Manifests", B))
    assert {child.digest for child in parse_manifest(raw).children} == {A, B}
    edges = references_of(raw).edges
    assert edges is not None
    assert set(edges.children) == {Digest(A).binary, Digest(B).binary}


def test_what_is_about_two_subjects_is_not_understood() -> None:
    raw = text(mediatypes.OCI_INDEX, some("manifests", A), one("subject", B), one("Subject", C))
    with pytest.raises(InvalidManifest, match="read one way"):
        references_of(raw)


def test_annotations_may_be_named_as_one_likes() -> None:
    raw = text(
        mediatypes.OCI_MANIFEST,
        one("config", A),
        some("layers", B),
        f'"annotations": {{"digest": "{C}", "Digest": "d\u00e9j\u00e0 vu \\n"}}',
    )
    assert [blob.digest for blob in parse_manifest(raw).blobs] == [A, B]


BROKEN: list[tuple[object, str | None, str]] = [
    ([], None, "Expected `object`, got `array`"),
    (None, None, "Expected `object`, got `null`"),
    ({**IMAGE, "config": None, "mediaType": mediatypes.OCI_MANIFEST}, None, "needs config"),
    (IMAGE, mediatypes.OCI_INDEX, "an index needs manifests"),
    (INDEX, mediatypes.OCI_MANIFEST, "an image manifest needs config"),
    ({"schemaVersion": 1}, None, "needs fsLayers"),
    ({**IMAGE, "layers": [descriptor("sha256:1")]}, None, "1 hex digits instead of 64"),
    ({**IMAGE, "layers": [{"size": 1}]}, None, "missing required field `digest`"),
    ({**IMAGE, "layers": [descriptor(B, size=-1)]}, None, f"descriptor of {B} has the size -1"),
    ({**IMAGE, "subject": descriptor("x")}, None, "invalid digest 'x'"),
    ({"fsLayers": [{"blobSum": "x"}]}, None, "invalid digest 'x'"),
    ({"mediaType": mediatypes.OCI_MANIFEST, "config": 5}, "application/x.new", "got `int`"),
    ({**IMAGE, "manifests": [CHILD]}, None, "an image manifest and an index at once"),
    (
        {**IMAGE, "mediaType": mediatypes.OCI_MANIFEST, "manifests": []},
        None,
        "an image manifest and an index at once",
    ),
    ({**INDEX, "layers": []}, None, "an image manifest and an index at once"),
]


@pytest.mark.parametrize(("body", "content_type", "reason"), BROKEN)
def test_a_broken_manifest_names_its_digest(
    body: object, content_type: str | None, reason: str
) -> None:
    raw = json.dumps(body).encode()
    with pytest.raises(InvalidManifest) as raised:
        parse_manifest(raw, content_type)
    assert raised.value.message.startswith(f"manifest {Digest.of(raw)} cannot be read: ")
    assert reason in raised.value.message


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"<html></html>", b'{"mediaType":"a",'])
@pytest.mark.parametrize("content_type", [None, "application/x.new", "text/html"])
def test_what_is_no_json_is_no_manifest(raw: bytes, content_type: str | None) -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(raw, content_type)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (f"sha256-{A.hex}", A),
        (f"sha256-{A.hex}.sig", A),
        (f"sha256-{A.hex}.att", A),
        (f"sha256-{A.hex}.sbom", A),
        (f"sha512-{C.hex}.sig", C),
        (f"sha512-{A.hex}.sig", None),
        (f"sha256-{C.hex}.sig", None),
        (f"sha256-{A.hex}.other", None),
        (f"sha256-{A.hex}.sig.sig", None),
        (f"sha256-{A.hex.upper()}", None),
        (f"sha256-{A.hex[:-1]}", None),
        (f"x-sha256-{A.hex}", None),
        ("latest", None),
        ("", None),
    ],
)
def test_tags_that_are_about_a_digest(tag: str, expected: Digest | None) -> None:
    assert referenced_digest(tag) == expected


def signed(payload: bytes) -> bytes:
    """Sign as Docker did: signatures before the last brace, and what was there in them."""
    at = payload.rindex(b"}") - 1  # with the line feed before it
    form = {"formatLength": at, "formatTail": base64.urlsafe_b64encode(payload[at:]).decode()}
    protected = base64.urlsafe_b64encode(json.dumps(form).encode()).decode().rstrip("=")
    signatures = json.dumps([{"header": {}, "signature": "x", "protected": protected}])
    return payload[:at] + f',\n   "signatures": {signatures}\n}}'.encode()


def test_the_digest_of_schema_1_is_that_of_what_was_signed() -> None:
    body = {"schemaVersion": 1, "name": "old", "fsLayers": [{"blobSum": A}], "history": []}
    payload = json.dumps(body, indent=3).encode()
    raw = signed(payload)
    assert raw != payload
    assert signed_content(raw) == payload
    found = parse_manifest(payload)
    assert (found.kind, [blob.digest for blob in found.blobs]) == (ManifestKind.SCHEMA1, [A])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"signatures": []}',
        b'{"signatures": [{"protected": "%"}]}',
        b'{"signatures": [{"protected": "e30"}]}',
        signed(b'{"a": 1\n}').replace(b"protected", b"PROTECTED"),
    ],
)
def test_what_is_not_signed_has_no_signed_content(raw: bytes) -> None:
    assert signed_content(raw) is None
