"""A tree that is being copied in, with the times of the originals, loses nothing that has come."""

import os
import shutil
from pathlib import Path

import pytest

from jettison.collector import CollectOptions, plan_collection
from jettison.model.digest import Digest
from jettison.storage.filesystem import reading
from jettison.storage.filesystem.reading import arrival
from tests.support.trees import NOW, Tree


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree whose files came here as the test begins, whatever they say themselves."""
    monkeypatch.setattr(reading, "arrival", arrival)
    return Tree(tmp_path / "registry")


def swept(tree: Tree, untagged: float | None = None, now: float = NOW) -> set[Digest]:
    plan = plan_collection(tree.open(), CollectOptions(untagged=untagged), now)
    return {blob.digest for blob in plan.blobs}


def test_blobs_that_came_ahead_of_their_repository_stay(tree: Tree) -> None:
    tree.image("first", "1", [b"layer of the first"])
    tree.image("second", "1", [b"layer of the second"])
    shutil.rmtree(tree.repository("second"))
    assert swept(tree) == set()
    plan = plan_collection(tree.open(), CollectOptions(), NOW)
    assert plan.young.count == 3
    # Once the hour has passed they are garbage as any other.
    assert len(swept(tree, now=NOW + 7200)) == 3


def test_layers_stay_whose_manifest_is_not_linked_yet(tree: Tree) -> None:
    tree.image("app", "1", [b"base"])
    tree.image("app", "2", [b"more"])
    shutil.rmtree(tree.revision_path("app", Digest.of(tree_manifest(tree, "2"))).parent)
    shutil.rmtree(tree.tag_path("app", "2").parents[1])
    assert swept(tree) == set()


def test_what_a_link_speaks_of_has_not_come_ahead(tree: Tree) -> None:
    tree.image("app", "1", [b"kept"])
    linked = tree.blob(b"linked and not used", "app")
    assert swept(tree) == {linked}


def test_a_manifest_whose_link_was_removed_long_ago_has_not_come_ahead(tree: Tree) -> None:
    tree.image("app", "1", [b"kept"])
    removed = tree.image("app", None, [b"removed"])
    link = tree.revision_path("app", removed)
    link.unlink()
    assert removed not in swept(tree)
    os.utime(link.parent, (NOW - 7200, NOW - 7200))
    assert removed in swept(tree)


def test_a_manifest_that_is_known_to_be_removed_has_not_come_ahead(tree: Tree) -> None:
    tree.image("app", "1", [b"kept"])
    removed = tree.image("app", None, [b"removed"])
    shutil.rmtree(tree.revision_path("app", removed).parent)
    plan = plan_collection(tree.open(), CollectOptions(), NOW, unlinked=[removed])
    assert removed in {blob.digest for blob in plan.blobs}


def tree_manifest(tree: Tree, tag: str) -> bytes:
    digest = Digest(tree.tag_path("app", tag).read_text(encoding="utf-8"))
    return tree.data(digest).read_bytes()
