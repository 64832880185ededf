import json

import pytest

from jettison.model.digest import Digest
from jettison.model.manifest import ManifestKind, parse_manifest
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.untag_placeholder import MARK, is_untag_placeholder, untag_placeholder

DIGEST = Digest.of(b"an image")


def test_it_is_an_index_that_needs_no_blob() -> None:
    manifest = parse_manifest(untag_placeholder("20240101-000000-abcd", 3, DIGEST))
    assert manifest.kind is ManifestKind.INDEX
    assert manifest.media_type == OCI_INDEX
    assert not manifest.children
    assert not list(manifest.blobs)
    assert manifest.subject is None
    assert manifest.annotations == {MARK: "20240101-000000-abcd/3", f"{MARK}.for": DIGEST}


def test_asked_again_it_is_the_same_and_every_step_has_its_own() -> None:
    # Deleting one that two tags point to would take both along.
    first = untag_placeholder("run", 1, DIGEST)
    assert first == untag_placeholder("run", 1, DIGEST)
    others = {untag_placeholder("run", 2, DIGEST), untag_placeholder("other", 1, DIGEST)}
    assert len({first, *others}) == 3


INDEX = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
CHILD = {"mediaType": "x", "digest": str(DIGEST), "size": 1}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (untag_placeholder("run", 1, DIGEST), True),
        (json.dumps({**INDEX, "annotations": {MARK: "run/1"}}).encode(), True),
        (json.dumps(INDEX).encode(), False),
        (json.dumps({**INDEX, "annotations": {"other": MARK}}).encode(), False),
        (json.dumps({**INDEX, "manifests": [CHILD], "annotations": {MARK: "x"}}).encode(), False),
        (b"", False),
        (b"not json", False),
        (b"[]", False),
    ],
)
def test_is_throwaway(raw: bytes, expected: bool) -> None:
    assert is_untag_placeholder(raw) is expected
