from collections.abc import Iterable

import pytest

from jettison.model.digest import Digest
from jettison.model.graph import Edges, edges_of, reach
from jettison.model.manifest import ManifestKind
from tests.property.registries import blob, digest_number, image, index, manifest_digest, opaque


def test_edges_of_an_image_are_its_config_and_layers() -> None:
    edges = edges_of(image(0, 1, [2, 3, 2], subject=5))
    assert edges == Edges((), (blob(1), blob(2), blob(3), blob(2)))


def test_edges_of_an_index_are_its_children_and_not_its_subject() -> None:
    assert edges_of(index(4, [0, 1], subject=5)) == Edges(
        (manifest_digest(0), manifest_digest(1)), ()
    )


def test_nothing_is_known_of_an_opaque_manifest() -> None:
    manifest = opaque(0)
    assert manifest.kind is ManifestKind.OPAQUE
    assert edges_of(manifest) is None


def one(letter: str) -> Digest:
    return digest_number(ord(letter))


def some(letters: str) -> list[Digest]:
    return [one(letter) for letter in letters]


def spelled(digests: Iterable[Digest]) -> str:
    return "".join(sorted(chr(int(digest.hex, 16)) for digest in digests))


# Capitals are blobs. A manifest without an entry is not known.
@pytest.mark.parametrize(
    ("edges", "weak", "roots", "manifests", "blobs", "lost"),
    [
        pytest.param({}, {}, "", "", "", "", id="no root"),
        pytest.param({"a": "X", "b": "Y"}, {}, "a", "a", "X", "", id="an image"),
        pytest.param({"i": "ab", "a": "XY", "b": "YZ"}, {}, "i", "abi", "XYZ", "", id="an index"),
        pytest.param({"j": "i", "i": "a", "a": "X"}, {}, "j", "aij", "X", "", id="nested"),
        pytest.param({"i": "ab", "a": "X"}, {}, "i", "abi", "X", "b", id="a child is missing"),
        pytest.param({}, {}, "a", "a", "", "a", id="an unknown root"),
        pytest.param({"a": "X", "s": "Y"}, {"a": "s"}, "a", "as", "XY", "", id="signed"),
        pytest.param({"a": "X", "s": "Y"}, {"a": "s"}, "s", "s", "Y", "", id="never upwards"),
        pytest.param(
            {"a": "X", "s": "Y", "t": "Z"}, {"a": "s", "s": "t"}, "a", "ast", "XYZ", "",
            id="a signature of a signature",
        ),
        pytest.param(
            {"i": "a", "a": "X", "s": "Y"}, {"a": "s"}, "i", "ais", "XY", "", id="a signed child"
        ),
        pytest.param(
            {"s": "Y"}, {"a": "s"}, "a", "as", "Y", "a", id="a referrer of the unknown"
        ),
        pytest.param(
            {"a": "X", "b": "Y"}, {"a": "b", "b": "a"}, "a", "ab", "XY", "", id="a cycle"
        ),
        pytest.param({"a": "X"}, {"a": "a"}, "a", "a", "X", "", id="its own subject"),
        pytest.param({"i": "a", "a": ""}, {"a": "i"}, "a", "ai", "", "", id="a mixed cycle"),
    ],
)  # fmt: skip
def test_reach(
    edges: dict[str, str], weak: dict[str, str], roots: str, manifests: str, blobs: str, lost: str
) -> None:
    asked = []

    def edges_of_letter(digest: Digest) -> Edges[Digest] | None:
        letter = spelled([digest])
        asked.append(letter)
        below = edges.get(letter)
        if below is None:
            return None
        return Edges(
            tuple(some("".join(c for c in below if c.islower()))),
            tuple(some("".join(c for c in below if c.isupper()))),
        )

    referrers = {one(letter): some(found) for letter, found in weak.items()}
    reached = reach(some(roots), edges_of_letter, referrers)
    assert spelled(reached.manifests) == manifests
    assert spelled(reached.blobs) == blobs
    assert spelled(reached.lost) == lost
    assert sorted(asked) == list(manifests)  # each once


def test_indexes_may_nest_as_deep_as_they_like() -> None:
    def edges(digest: Digest) -> Edges[Digest]:
        number = int(digest.hex, 16)
        return Edges((digest_number(number - 1),) if number else (), ())

    assert len(reach([digest_number(20_000)], edges, {}).manifests) == 20_001


def test_what_is_skipped_is_not_entered() -> None:
    a, b, c = some("abc")
    edges = {a: Edges((b,), ()), b: Edges((c,), (one("X"),)), c: Edges((), ())}
    assert reach([a], edges.get, {}, {b}) == ({a}, set(), set())
    assert reach([b], edges.get, {}, {b}) == (set(), set(), set())
