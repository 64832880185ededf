"""What a NAS, a desktop or a file system puts into every folder disturbs nothing."""

import os
from pathlib import Path

import pytest

from jettison.model.digest import Digest
from tests.support.cli import Jettison
from tests.support.trees import Tree

FOLDERS = ("@eaDir", "#recycle", ".snapshot", "lost+found")
FILES = (".DS_Store", "Thumbs.db", "._link", "desktop.ini")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with an index, an untagged image and garbage, and such names in every folder."""
    made = Tree(tmp_path / "registry")
    child = made.image("team/app", None, [b"child"])
    made.index("team/app", "1", [child])
    made.image("team/app", "2", [b"layer"])
    made.image("team/app", None, [b"untagged"])
    made.blob(b"garbage", "team/app")
    made.blob(b"garbage without a link")
    (made.repository("team/app") / "_uploads").mkdir()
    for folder, _, _ in os.walk(made.base):
        for name in FOLDERS:
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "link@SynoEAStream").write_bytes(b"x")
        for name in FILES:
            (Path(folder) / name).write_bytes(b"x")
    return made


@pytest.mark.parametrize("options", [(), ("--untagged",), ("--thorough",)])
def test_the_rest_is_collected(tree: Tree, jettison: Jettison, options: tuple[str, ...]) -> None:
    done = jettison.later()("gc", tree.root, *options, "--yes")
    assert "was made by no registry" in done.stderr
    assert len(tree.blobs()) == (4 + 3) + 3 * (options != ("--untagged",))
    for name in (*FOLDERS, *FILES):
        assert (tree.repository("team/app") / "_manifests" / "tags" / name).exists()


def test_nothing_is_damaged(tree: Tree, jettison: Jettison) -> None:
    jettison("fsck", tree.root)
    done = jettison("fsck", tree.root, "--repair", "-n")
    assert "nothing that could be mended" in done.stdout


def test_nothing_of_it_is_listed(tree: Tree) -> None:
    opened = tree.open()
    assert opened.repositories() == ["team/app"]
    assert {Digest.from_binary(blob.digest) for blob in opened.blobs()} == set(tree.blobs())


@pytest.mark.parametrize("inner", ["_manifests/tags/@eaDir/current", "_manifests/tags/@x/index"])
def test_half_a_tag_of_an_impossible_name_protects_all_the_same(
    tree: Tree, jettison: Jettison, inner: str
) -> None:
    (tree.repository("team/app") / inner).mkdir(parents=True)
    jettison.later()("gc", tree.root, "--untagged", "--yes", check=3)
    assert len(tree.blobs()) == 11


def test_a_link_in_a_folder_of_an_impossible_name_protects_all_the_same(
    tree: Tree, jettison: Jettison
) -> None:
    folder = tree.repository("team/app") / "_manifests" / "revisions" / "sha256"
    (folder / "@eaDir" / "link").write_bytes(b"sha256:half")
    jettison.later()("gc", tree.root, "--untagged", "--yes", check=3)
    assert len(tree.blobs()) == 11
