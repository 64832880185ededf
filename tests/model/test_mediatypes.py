import pytest

from jettison.model import mediatypes


def test_every_known_manifest_is_asked_for_and_then_whatever_there_is() -> None:
    ranges = [item.strip() for item in mediatypes.ACCEPT.split(",")]
    asked = [item.partition(";")[0] for item in ranges]
    assert set(asked) == mediatypes.MANIFESTS | {"*/*"}
    assert len(set(asked)) == len(asked)
    assert asked[-1] == "*/*"


def test_schema_1_and_anything_come_last() -> None:
    # A registry that has both converts to the one that weighs more: another digest.
    weights = {}
    for item in mediatypes.ACCEPT.split(", "):
        name, _, quality = item.partition(";q=")
        weights[name] = float(quality or 1)
    for name in mediatypes.IMAGES | mediatypes.INDEXES | {mediatypes.OCI_ARTIFACT}:
        assert weights[name] == 1
    assert weights["*/*"] < min(weights[name] for name in mediatypes.SCHEMA1) < 1


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.oci.image.manifest.v1+json", True),
        ("application/vnd.oci.image.index.v1+json", True),
        ("application/vnd.docker.distribution.manifest.v2+json", True),
        ("application/vnd.docker.distribution.manifest.list.v2+json", True),
        ("application/vnd.docker.distribution.manifest.v1+json", True),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", True),
        ("application/vnd.oci.artifact.manifest.v1+json", True),
        ("application/vnd.oci.image.config.v1+json", False),
        ("application/vnd.oci.image.layer.v1.tar+gzip", False),
        ("application/vnd.OCI.image.manifest.v1+json", False),
        ("", False),
    ],
)
def test_is_manifest(media_type: str, expected: bool) -> None:
    assert mediatypes.is_manifest(media_type) is expected


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True),
        ("application/octet-stream", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False),
    ],
)
def test_is_distributable(media_type: str, expected: bool) -> None:
    assert mediatypes.is_distributable(media_type) is expected
