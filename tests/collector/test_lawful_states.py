"""States that a registry makes by itself, or takes in: they are no damage, and hold nothing up."""

import json
from pathlib import Path

import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.fsck import CheckOptions, check_tree, plan_repair
from jettison.jobs.repair import RepairJob, RepairUndoJob
from jettison.jobs.workspace import Workspace
from jettison.model import mediatypes
from jettison.model.digest import Digest
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.opening import open_storage
from tests.support.trees import NOW, Tree, image_document, index_document

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


# What may be absent, by what the configuration says.

PLATFORMS = "validation: {manifests: {indexes: {platforms: %s}}}"
CACHE = "proxy: {remoteurl: https://registry-1.docker.io}"
SPARSE = ["jettison: {sparse_manifests: true}", PLATFORMS % "none", PLATFORMS % "list", CACHE]


def opened(tree: Tree, more: str) -> StorageTree:
    path = tree.root.parent / "config.yml"
    path.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tree.root}}}}}\n{more}\n"
    )
    found = open_storage(path, {})[0]
    assert isinstance(found, StorageTree)
    return found


@pytest.mark.parametrize("more", SPARSE)
def test_members_of_an_index_that_were_never_here(tree: Tree, more: str) -> None:
    child = tree.image("app", None, [b"amd64"])
    index = tree.index("app", "1", [child, Digest.of(b"never here")])
    garbage = tree.blob(b"garbage", "app")
    plain, sparse = tree.open(), opened(tree, more)
    assert plan_collection(plain, CollectOptions(), NOW).problems
    assert check_tree(plain, CheckOptions(), NOW).damage
    plan = plan_collection(sparse, CollectOptions(untagged=0.0), NOW)
    assert not plan.problems
    assert [blob.digest for blob in plan.blobs] == [garbage]
    report = check_tree(sparse, CheckOptions(), NOW)
    assert not report.damage
    assert report.may_lack
    # One whose link is here was here, and is damage.
    tree.data(child).unlink()
    for spoilt in (plain, sparse):
        assert plan_collection(spoilt, CollectOptions(), NOW).problems
        assert check_tree(spoilt, CheckOptions(), NOW).damage
    assert index in tree.blobs()


def test_a_cache_has_only_what_was_asked_for(tree: Tree) -> None:
    """Layers that nobody has pulled; a tag whose manifest's time was over."""
    tree.image("app", "1", [b"layer"])
    tree.data(Digest.of(b"layer")).unlink()
    tree.layer_path("app", Digest.of(b"layer")).unlink()
    gone = tree.image("app", "2", [b"gone"])
    for path in (tree.data(gone), tree.revision_path("app", gone)):
        path.unlink()
    for more, lawful in ((CACHE, True), (SPARSE[0], False)):
        found = opened(tree, more)
        assert bool(plan_collection(found, CollectOptions(), NOW).problems) is not lawful
        assert bool(check_tree(found, CheckOptions(), NOW).damage) is not lawful


# No dead ends: what leads nowhere can be moved aside.


@pytest.mark.parametrize("link", [False, True], ids=["without link", "with link"])
def test_a_tag_that_leads_nowhere_is_moved_aside(tree: Tree, link: bool) -> None:
    gone = tree.image("app", "gone", [b"gone"])
    tree.tag("app", "too", gone)
    kept = tree.image("app", "kept", [b"kept"])
    garbage = tree.blob(b"garbage", "app")
    tree.data(gone).unlink()
    if not link:
        tree.revision_path("app", gone).unlink()
    opened = tree.open()
    report = check_tree(opened, CheckOptions(), NOW)
    assert {one.name for one in report.unpullable} == {"app:gone", "app:too"}
    before = tree.snapshot()
    plan = plan_repair(opened, report, "20260101-000000-aaaaa", NOW + 7200, 3600.0)
    assert sorted(plan.moved_tags) == ["app:gone", "app:too"]
    run = RepairJob(Workspace(storage=opened, clock=lambda: NOW), CheckOptions()).apply(plan, ())
    assert not check_tree(opened, CheckOptions(), NOW).damage
    found = plan_collection(opened, CollectOptions(), NOW)
    assert not found.problems
    assert garbage in {blob.digest for blob in found.blobs}
    RepairUndoJob(Workspace(storage=opened, clock=lambda: NOW), run).apply()
    after = tree.snapshot()
    assert {path for path in before if "docker" in path} <= after.keys()
    assert kept in tree.blobs()
