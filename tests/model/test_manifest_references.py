"""The short way of reading manifests agrees with the long one."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jettison.errors import InvalidManifest
from jettison.model import manifest_references as references
from jettison.model import mediatypes
from jettison.model.digest import Digest
from jettison.model.graph import edges_of
from jettison.model.manifest import parse_manifest
from jettison.model.manifest_references import references_of
from jettison.storage.filesystem import native
from tests.support.missing import require_native
from tests.support.trees import image_document, index_document

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
LONG = Digest.of(b"one", "sha512")

digests = st.sampled_from(
    [
        ONE,
        TWO,
        LONG,
        ONE.upper(),
        ONE + "0",
        ONE[:-1],
        ONE[:-1] + " ",
        ONE[8:] + "sha256:0",
        "md5:" + "0" * 67,
        "",
    ]
)
types = st.sampled_from([*sorted(mediatypes.MANIFESTS), "", "a/b.layer.v1", "a/b"])
descriptors = st.fixed_dictionaries(
    {"digest": digests},
    optional={
        "mediaType": types,
        "size": st.sampled_from([0, 7, -1, "7", None]),
        "urls": st.sampled_from([[], ["a"], "a", None]),
        "platform": st.sampled_from([{}, {"os": "linux"}, "linux", None]),
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.sampled_from([1, 2, "2", None]),
        "mediaType": types,
        "config": st.none() | descriptors,
        "layers": st.none() | st.lists(descriptors, max_size=3),
        "manifests": st.none() | st.lists(descriptors, max_size=3),
        "blobs": st.none() | st.lists(descriptors, max_size=1),
        "subject": st.none() | descriptors,
        "fsLayers": st.sampled_from([[], [{"blobSum": ONE}], None]),
        "annotations": st.sampled_from([{}, {"a": "b"}, {"a": 1}, None]),
        "artifactType": st.sampled_from(["a/b", 1, None]),
    },
)


def check(raw: bytes) -> None:
    check_native(raw)
    try:
        manifest = parse_manifest(raw)
    except InvalidManifest:
        with pytest.raises(InvalidManifest):
            references_of(raw)
        return
    found = references_of(raw)
    edges = edges_of(manifest)
    assert (found.edges is None) == (edges is None)
    if found.edges is not None and edges is not None:
        assert found.edges.children == tuple(digest.binary for digest in edges.children)
        assert found.edges.blobs == tuple(digest.binary for digest in edges.blobs)
    assert found.subject == (None if manifest.subject is None else manifest.subject.binary)


def check_native(raw: bytes) -> None:
    """Whatever the part in C says is what `references_of` says; it may say nothing."""
    for usual in native.references_each([raw]) or []:
        if usual is not None:
            assert usual[:2] == references_of(raw)[:2]


@given(documents)
@example(image_document(ONE, [TWO]))
@example(image_document(ONE, [TWO], TWO))
@example(index_document([ONE, TWO]))
@example({"schemaVersion": 2, "config": {"digest": ONE}, "layers": []})
# Each is no digest, and together they look like two.
@example({"schemaVersion": 2, "config": {"digest": ONE + "sha"}, "layers": [{"digest": TWO[3:]}]})
def test_both_ways_agree(document: dict[str, Any]) -> None:
    check(json.dumps(document).encode())


WHOLE = [
    json.dumps(document, indent=indent).encode()
    for document in (
        image_document(ONE, [TWO, ONE], TWO),
        index_document([ONE, TWO]),
        image_document(ONE, []) | {"annotations": {"a": "b"}, "artifactType": "a/b"},
    )
    for indent in (None, 3)
]
PIECES = [
    *(b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\0", b"\xc3\xa9", b"\xff"),
    *(b"0", b"null", b"-1", b"1.5", b"1e3", b"007", b'"digest"', b'"Digest":', b'"blobSum"'),
    *(f'"digest":"{TWO}",'.encode(), b'"layers":[],', b'"urls":[],', b'"platform":{},'),
    *(b'"size":1,', b'"x":1,'),
]


@given(
    st.sampled_from(WHOLE),
    st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 9), st.sampled_from(PIECES)), max_size=3
    ),
)
def test_the_part_in_c_takes_nothing_that_is_understood_otherwise(
    raw: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    for at, length, piece in changes:
        raw = raw[:at] + piece + raw[at + length :]
    check_native(raw)


@given(st.binary(max_size=40) | st.sampled_from([b"[]", b"null", b"{", b"1"]))
def test_both_ways_agree_on_what_is_no_manifest(raw: bytes) -> None:
    check(raw)


@pytest.mark.parametrize(
    "document", [image_document(ONE, [TWO, TWO], ONE), index_document([ONE, TWO])]
)
def test_the_usual_manifests_take_the_short_way(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(raw: bytes) -> None:
        raise AssertionError(raw)

    require_native()
    [usual] = native.references_each([json.dumps(document).encode()]) or [None]
    assert usual is not None
    monkeypatch.setattr(references, "parse_manifest", refuse)
    assert references_of(json.dumps(document).encode()).edges is not None
