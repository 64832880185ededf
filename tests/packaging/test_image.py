"""The container image, built and run without a daemon: buildah with chroot isolation."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.__main__ import SUMS
from release.image import missing, without_logins
from release.sbom import components
from release.tree import TOOLS, copy_source
from tests.support.packages import made
from tests.support.trees import Tree

OWNER = 1234


def test_the_list_of_what_is_inside_names_every_dependency_with_its_hash(tmp_path: Path) -> None:
    source = copy_source(tmp_path)
    text = components(source, {"libc6": ("2.36", "ab" * 32)})
    assert text == components(source, {"libc6": ("2.36", "ab" * 32)})
    listed = {one["name"]: one for one in json.loads(text)["components"]}
    assert {"aiohttp", "obstore", "uvicorn", "libc6"} <= set(listed)
    assert all(one["hashes"] for one in listed.values())
    assert listed["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36"


@pytest.fixture(scope="session")
def image(shared: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root can build in a chroot")
    if missing():
        pytest.skip(f"an image needs what is not here: {missing()}")
    return made(shared, "image", "--architecture", "amd64")


class Container:
    """A container of the image: no daemon, no shell in it."""

    def __init__(self, archive: Path, store: Path) -> None:
        places = ("--root", str(store / "root"), "--runroot", str(store / "run"))
        self._buildah = ("buildah", "--storage-driver", "vfs", *places)
        self.name = self.buildah("from", "--quiet", f"oci-archive:{archive}").stdout.strip()
        self.root = Path(self.buildah("mount", self.name).stdout.strip())

    def buildah(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*self._buildah, *arguments]
        return subprocess.run(
            command, env=without_logins(), check=check, capture_output=True, text=True
        )

    def run(self, *command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        chosen = ("--user", user) if user else ()
        return self.buildah(
            "run", "--isolation", "chroot", *chosen, self.name, "--", *command, check=False
        )

    def remove(self) -> None:
        self.buildah("umount", self.name)
        self.buildah("rm", self.name)


@pytest.fixture
def container(image: Path, tmp_path: Path) -> Iterator[Container]:
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed")
    (archive,) = image.glob("*.oci.tar")
    found = Container(archive, tmp_path / "store")
    yield found
    found.remove()


@pytest.mark.soak
def test_it_runs_without_root_and_without_a_shell(container: Container) -> None:
    done = container.run("/usr/bin/jettison", "--version")
    assert done.stdout.startswith("jettison "), done.stderr
    assert container.run("/bin/sh", "-c", "true").returncode != 0
    about = json.loads(container.buildah("inspect", container.name).stdout)["OCIv1"]["config"]
    assert about["User"] == "65532:65532"
    assert about["Entrypoint"] == ["/usr/bin/jettison"]
    assert about["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(about["Labels"]["org.opencontainers.image.revision"]) == 40
    assert container.run("/usr/bin/python3", "-I", "-c", "import ssl, sqlite3").returncode == 0


@pytest.mark.soak
def test_it_collects_a_volume_as_the_user_whose_it_is(container: Container) -> None:
    tree = Tree(container.root / "tmp" / "registry")
    tree.image("app", None, [b"a layer that is removed"])
    tree.image("app", "new", [b"a layer that stays"])
    before = len(tree.blobs())
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, OWNER, OWNER)
    asked = ("/tmp/registry", "--untagged", "--now", "--yes", "--assume-quiescent")  # noqa: S108
    refused = container.run("/usr/bin/jettison", "gc", *asked)
    assert refused.returncode != 0
    assert len(tree.blobs()) == before
    done = container.run("/usr/bin/jettison", "gc", *asked, user=f"{OWNER}:{OWNER}")
    assert done.returncode == 0, done.stderr
    assert len(tree.blobs()) == before - 3


@pytest.mark.soak
def test_it_has_the_same_bytes_when_it_is_made_again(image: Path, shared: Path) -> None:
    again = made(shared / "again", "image", "--architecture", "amd64")
    assert (again / SUMS).read_text() == (image / SUMS).read_text()


@pytest.mark.soak
def test_the_list_of_what_is_inside_is_of_its_format(image: Path) -> None:
    (listed,) = image.glob("*.cdx.json")
    code = (
        "import sys; from cyclonedx.schema import SchemaVersion;"
        " from cyclonedx.validation.json import JsonStrictValidator as Validator;"
        " found = Validator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read());"
        " sys.exit(str(found) if found else 0)"
    )
    command = [str(TOOLS / "python"), "-c", code, str(listed)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
