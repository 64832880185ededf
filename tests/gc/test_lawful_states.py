"""States that a registry makes by itself, or takes in: they are no damage, and hold nothing up."""

import json
from pathlib import Path

import pytest

from jettison.gc import CollectOptions, collect, plan_collection
from jettison.gc.fsck import CheckOptions, check_tree
from jettison.model import mediatypes
from jettison.model.digest import Digest
from store.trees import NOW, Tree, image_document, index_document

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def sound(tree: Tree, *, untagged: float | None = None) -> set[Digest]:
    """Collect, find nothing wrong before and after, and return what is left."""
    opened = tree.open()
    garbage = tree.blob(b"garbage", "app")
    for _ in range(2):
        plan = plan_collection(opened, CollectOptions(untagged=untagged), NOW)
        assert not plan.problems
        receipt = collect(opened, plan)
        assert receipt.ok
        assert not check_tree(opened, CheckOptions(), NOW).damage
    left = set(tree.blobs())
    assert garbage not in left
    return left


@pytest.mark.parametrize("how", ["twice", "another case"])
def test_what_another_reading_of_a_manifest_needs(tree: Tree, how: str) -> None:
    config, first, second = (tree.blob(raw, "app") for raw in (b"config", b"first", b"second"))
    raw = json.dumps(image_document(config, [first])).encode()
    name = {"twice": "layers", "another case": "Layers"}[how]
    more = json.dumps({name: [{"mediaType": LAYER, "digest": second, "size": 6}]}).encode()
    manifest = tree.put_raw("app", raw[:-1] + b", " + more[1:], "1")
    assert sound(tree) == {manifest, config, first, second}


def test_a_manifest_that_its_index_calls_a_layer(tree: Tree) -> None:
    child = tree.image("app", None, [b"layer"])
    members = [{"mediaType": LAYER, "digest": child, "size": 1}]
    index = tree.put("app", {**index_document([]), "manifests": members}, "1")
    assert sound(tree, untagged=0.0) >= {child, index, Digest.of(b"layer")}
    assert tree.revision_path("app", child).exists()


@pytest.mark.parametrize("layers", [{}, {"layers": None}, {"layers": []}])
def test_an_image_without_layers(tree: Tree, layers: dict[str, object]) -> None:
    config = tree.blob(b"{}", "app")
    document = {key: value for key, value in image_document(config, []).items() if key != "layers"}
    document["config"] = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": config,
        "size": 2,
        "data": "e30=",
    }
    manifest = tree.put("app", {**document, "artifactType": "application/x", **layers}, "1")
    assert sound(tree) == {manifest, config}


@pytest.mark.parametrize("manifests", [{}, {"manifests": None}, {"manifests": []}])
def test_an_index_without_members(tree: Tree, manifests: dict[str, object]) -> None:
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, **manifests}
    index = tree.put("app", document, "1")
    assert sound(tree) == {index}


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layers_that_are_elsewhere(tree: Tree, kind: str) -> None:
    config = tree.blob(b"config", "app")
    document = image_document(config, [])
    foreign = {
        "mediaType": kind,
        "digest": Digest.of(b"elsewhere"),
        "size": 9,
        "urls": ["http://x"],
    }
    manifest = tree.put("app", {**document, "layers": [foreign]}, "1")
    assert sound(tree) == {manifest, config}
