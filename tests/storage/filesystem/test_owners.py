"""Who keeps a part of the truth elsewhere, and what of a tree is mounted on its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.errors import StorageError
from jettison.storage.filesystem.mounts import inner_mounts, mount_points
from jettison.storage.filesystem.tree import StorageTree
from tests.support.missing import need
from tests.support.trees import Tree

TABLE = rb"""22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw
40 22 0:40 / /srv/with\040blank rw - tmpfs none rw
41 22 0:41 /a /srv/data/docker/registry/v2/blobs rw shared:2 - ext4 /dev/vdb rw
broken
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def test_gitlabs_lock_file(tree: Tree) -> None:
    locks = tree.root / "docker" / "registry" / "lockfiles"
    locks.mkdir()
    (locks / "filesystem-in-use").write_text("{}")
    opened = tree.open()
    assert opened.owners() == ()
    (locks / "database-in-use").write_text("{}")
    [owner] = opened.owners()
    assert "GitLab" in owner.name


def test_mount_points_are_read() -> None:
    assert list(mount_points(TABLE)) == [
        "/",
        "/srv/with blank",
        "/srv/data/docker/registry/v2/blobs",
    ]


@pytest.fixture(params=["tmpfs", "bind"])
def mounted(tree: Tree, request: pytest.FixtureRequest) -> Iterator[str]:
    need("mount")
    place = tree.root / "docker" / "registry" / "v2" / "blobs"
    kind = ["-t", "tmpfs", "none"] if request.param == "tmpfs" else ["--bind", str(place)]
    done = subprocess.run(["mount", *kind, str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield "docker/registry/v2/blobs"
    subprocess.run(["umount", str(place)], check=True)


def test_a_folder_that_is_mounted_on_its_own(tree: Tree, mounted: str) -> None:
    opened = tree.open()
    assert inner_mounts(opened.root_folder) == (mounted,)


def test_a_tree_in_one_file_system(tree: Tree) -> None:
    opened = tree.open()
    assert inner_mounts(opened.root_folder) == ()


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("team/app/oci-layout", "zot"),
        ("oci-layout", "OCI image layouts"),
        (f"ab/cd/abcd{'0' * 60}", "Gitea"),
    ],
)
def test_the_storage_of_other_programs(tmp_path: Path, path: str, word: str) -> None:
    file = tmp_path / "data" / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"{}")
    with pytest.raises(StorageError, match="no registry's storage") as caught:
        StorageTree(tmp_path / "data")
    assert word in (caught.value.hint or "")
