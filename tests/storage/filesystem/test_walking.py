"""The catalog's walk: in lexical order, from any name on, whatever the names nest in."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.reading import InnerFolders, TreeReader
from jettison.storage.filesystem.tree import StorageTree

PARTS = st.sampled_from(["a", "b", "a-a", "a--b", "a.a", "a_a", "a__b", "ab", "0", "a0", "z"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def make(root: Path, names: set[str]) -> TreeReader:
    tree = StorageTree.make(root)
    for name in names:
        (root / "docker/registry/v2/repositories" / name / "_manifests").mkdir(parents=True)
    return tree


@settings(max_examples=60)
@given(st.sets(NAMES, max_size=12), NAMES | st.text(alphabet="ab-./_0z", max_size=6))
@example({"a", "a/b", "a-b", "a.b", "a/b-c", "a/b/c", "ab"}, "a/b")
@example({"a", "a/b", "a-b"}, "a-")
@example({"a", "a/b", "a0"}, "a/")
def test_it_is_the_sorted_rest(names: set[str], after: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = make(Path(folder), names)
        ordered = sorted(names)
        assert list(tree.walk_repositories()) == ordered
        for last in {after, "", *ordered}:
            expected = [name for name in ordered if name > last]
            assert list(tree.walk_repositories(last)) == expected


def test_only_those_with_manifests_are_in_it(tmp_path: Path) -> None:
    tree = make(tmp_path, {"b", "a/b"})
    top = tmp_path / "docker/registry/v2/repositories"
    for inner in ("c/_layers", "d/_uploads", "e", "b/_manifests/not", "Upper/_manifests", "-/x"):
        (top / inner).mkdir(parents=True)
    (top / "file").write_bytes(b"")
    (top / "z").symlink_to(top / "b")
    os.mkdir(os.fsencode(top) + b"/\xff\xfe")  # noqa: PTH102 - a name that is no text
    assert list(tree.walk_repositories()) == ["a/b", "b"]


def test_no_folder_is_read_ahead_or_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make(tmp_path, {f"{letter}/{number}" for letter in "abc" for number in range(5)})
    read: list[str] = []
    inner = tree._inner_folders

    def noting(name: str, known: dict[str, InnerFolders]) -> InnerFolders:
        read.append(name)
        return inner(name, known)

    monkeypatch.setattr(tree, "_inner_folders", noting)
    walk = tree.walk_repositories("b/2")
    assert [next(walk), next(walk)] == ["b/3", "b/4"]
    assert not [name for name in read if name.startswith(("a", "c"))]


def test_what_vanishes_meanwhile_ends_nothing(tmp_path: Path) -> None:
    tree = make(tmp_path, {"a", "b", "c"})
    walk = tree.walk_repositories()
    assert next(walk) == "a"
    (tmp_path / "docker/registry/v2/repositories/b/_manifests").rmdir()
    (tmp_path / "docker/registry/v2/repositories/b").rmdir()
    assert list(walk) == ["c"]


def test_what_is_known_is_only_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make(tmp_path, {"a", "a/b", "c"})
    for folder in tmp_path.rglob("*"):
        os.utime(folder, (1, 1))
    known: dict[str, InnerFolders] = {}
    assert list(tree.walk_repositories("", known)) == ["a", "a/b", "c"]
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "folders", lambda _: pytest.fail("a folder was read"))
        assert list(tree.walk_repositories("", known)) == ["a", "a/b", "c"]
    make(tmp_path, {"a/d"})
    assert list(tree.walk_repositories("", known)) == ["a", "a/b", "a/d", "c"]
