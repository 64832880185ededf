"""Links and names that are damaged: what they may have been meant to be stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.fsck import CheckOptions, check_tree
from jettison.model.digest import Digest
from jettison.storage.filesystem import links
from tests.support.trees import NOW, OLD, Tree, image_document

Damage = Callable[[Tree, Digest], None]


def rename_revision(tree: Tree, digest: Digest, new: str) -> Path:
    folder = tree.revision_path("app", digest).parent
    folder.parent.joinpath(new).parent.mkdir(parents=True, exist_ok=True)
    return folder.rename(folder.parent / new)


def rewrite(tree: Tree, folder: Path, raw: bytes) -> None:
    tree.write(folder / "link", raw)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PATIENCE_SECONDS", 0.0)


def void(_: object) -> None:
    pass


def file_for_folder(tree: Tree, digest: Digest) -> None:
    folder = tree.revision_path("app", digest).parent
    shutil.rmtree(folder)
    tree.write(folder, b"")


def tagged_alone(tree: Tree, digest: Digest, raw: bytes | None, name: str = "1") -> None:
    """Only a tag knows of it: its revision is not linked."""
    shutil.rmtree(tree.revision_path("app", digest).parent)
    tree.tag("app", name, digest)
    if raw is None:
        tree.tag_path("app", name).unlink()
    else:
        tree.write(tree.tag_path("app", name), raw)


DAMAGES: dict[str, Damage] = {
    "a folder in upper case": lambda t, d: void(rename_revision(t, d, d.hex.upper())),
    "a folder with a line feed": lambda t, d: void(rename_revision(t, d, f"{d.hex}\n")),
    "a folder that is cut short": lambda t, d: void(rename_revision(t, d, d.hex[:40])),
    "a folder with bytes behind it": lambda t, d: void(rename_revision(t, d, f"{d.hex}ab")),
    "a folder of another name": lambda t, d: void(rename_revision(t, d, "copy")),
    "a folder of another algorithm": lambda t, d: void(rename_revision(t, d, f"../md5/{d.hex}")),
    "a file in the folder's place": file_for_folder,
    "both damaged": lambda t, d: rewrite(t, rename_revision(t, d, d.hex[:40]), f"{d}\n".encode()),
    "a link that names another": lambda t, d: rewrite(
        t, rename_revision(t, d, "0" * 64), d.upper().encode()
    ),
    "a tag's link with a line feed": lambda t, d: tagged_alone(t, d, f"{d}\n".encode()),
    "a tag's link in upper case": lambda t, d: tagged_alone(t, d, d.upper().encode()),
    "a tag's link with bytes behind it": lambda t, d: tagged_alone(t, d, f"{d}00".encode()),
    "a tag's link that is empty": lambda t, d: tagged_alone(t, d, b""),
    "a tag's link that is cut short": lambda t, d: tagged_alone(t, d, d.encode()[:40]),
    "a tag's link that is gone": lambda t, d: tagged_alone(t, d, None),
    "a tag whose name is none": lambda t, d: tagged_alone(t, d, d.encode(), "-v 1"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_a_damaged_link_may_mean_stays(tmp_path: Path, damage: Damage) -> None:
    tree = Tree(tmp_path / "registry")
    tree.image("app", "kept", [b"kept"])
    digest = tree.image("app", None, [b"layer"])
    # Layers that no link protects, as after a collection by Distribution.
    shutil.rmtree(tree.layer_path("app", Digest.of(b"layer")).parent)
    garbage = tree.blob(b"garbage", "other")
    damage(tree, digest)
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(untagged=0.0), NOW)
    assert plan.problems
    collect(opened, plan)
    assert {digest, Digest.of(b"layer"), Digest.of(b"config of layer")} <= tree.blobs().keys()
    assert garbage not in tree.blobs()


@pytest.mark.parametrize("raw", [b"", b"sha256:12", None], ids=["empty", "cut short", "no file"])
def test_an_alias_that_is_damaged_protects_its_repository(
    tmp_path: Path, raw: bytes | None
) -> None:
    tree = Tree(tmp_path / "registry")
    config, layer = tree.blob(b"config", "app"), tree.blob(b"layer", "app")
    alias = Digest.of(b"layer", "sha512")
    link = tree.layer_path("app", alias)
    tree.write(link, layer.encode())
    tree.put("app", image_document(config, [alias]), "1")
    assert not plan_collection(tree.open(), CollectOptions(), NOW).blobs
    if raw is None:
        link.unlink()
        link.mkdir()
    else:
        tree.write(link, raw, OLD)
    plan = plan_collection(tree.open(), CollectOptions(), NOW)
    assert [problem.repository for problem in plan.problems] == ["app"]
    assert not plan.blobs
    assert not plan.layer_links


def test_a_tag_that_is_removed_protects_nothing_it_once_meant(tmp_path: Path) -> None:
    """Of a history alone nothing is kept."""
    tree = Tree(tmp_path / "registry")
    old = tree.put("app", image_document(*layers(tree)), "1")
    shutil.rmtree(tree.revision_path("app", old).parent)
    tree.image("app", "1", [b"newer"])
    plan = plan_collection(tree.open(), CollectOptions(), NOW)
    assert not plan.problems
    assert old in {blob.digest for blob in plan.blobs}


def layers(tree: Tree) -> tuple[Digest, list[Digest]]:
    return tree.blob(b"config", "app"), [tree.blob(b"older", "app")]


@pytest.mark.parametrize(
    "more",
    [
        b'"x": ' + b"[" * 5000 + b"]" * 5000,
        b'"x": ' + b'{"a":' * 300 + b"1" + b"}" * 300,
        b'"x": [' + b"[]," * 400_000 + b'[]], "y": "\\n"',
        b'"x": "\xff\xfe"',
        b'"x": NaN',
        b'"x": ' + b"9" * 5000 + b', "y": "\\n"',
    ],
    ids=["deep lists", "deep objects", "many parts", "no UTF-8", "no number", "a large number"],
)
def test_a_manifest_beyond_all_limits_holds_up_its_repository_alone(
    tmp_path: Path, more: bytes
) -> None:
    tree = Tree(tmp_path / "registry")
    needed = tree.blob(b"needed", "evil")
    config = tree.blob(b"config", "evil")
    raw = json.dumps(image_document(config, [needed])).encode()
    tree.put_raw("evil", raw[:-1] + b", " + more + b"}", "1")
    tree.image("good", "1", [b"layer"])
    garbage = tree.blob(b"garbage", "good")
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert {problem.repository for problem in plan.problems} <= {"evil"}
    collect(opened, plan)
    assert garbage not in tree.blobs()
    assert {needed, config} <= tree.blobs().keys()
    check_tree(opened, CheckOptions(), NOW)
