"""What looks wrong is refused by all that collects, with the flag that says that it is meant."""

import fcntl
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison, Result
from tests.support.missing import need
from tests.support.registry import DockerRegistry
from tests.support.trees import Tree

CONFIG = (
    "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


@pytest.fixture
def later(jettison: Jettison) -> Jettison:
    return jettison.later()


def configuration(tree: Tree, more: str = "") -> Path:
    path = tree.root.with_name("config.yml")
    path.write_text(CONFIG.format(root=tree.root) + more, encoding="utf-8")
    return path


def options(done: Result) -> list[str]:
    """Return the options that the command at the end of a refusal has more."""
    [line] = [line for line in done.stderr.splitlines() if line.lstrip().startswith("or: ")]
    return [word for word in shlex.split(line) if word.startswith(("--allow", "--max"))]


@pytest.mark.parametrize("command", [("gc", "--yes"), ("gc", "-n"), ("garbage-collect",)])
@pytest.mark.parametrize("empty", [True, False])
def test_no_repositories(
    tree: Tree, later: Jettison, command: tuple[str, ...], *, empty: bool
) -> None:
    tree.image("app", "1", [b"layer"])
    shutil.rmtree(tree.base / "repositories")
    if empty:
        (tree.base / "repositories").mkdir()
    config, before = configuration(tree), tree.snapshot()
    done = later(*command, config, check=4)
    assert options(done) == ["--allow-empty"]
    assert tree.snapshot() == before
    later(*command, config, *options(done))
    assert bool(tree.blobs()) == ("-n" in command)


def test_repositories_that_came_back_without_their_manifests(tree: Tree, later: Jettison) -> None:
    tree.image("app", "1", [b"layer"])
    shutil.rmtree(tree.repository("app") / "_manifests")
    done = later("gc", tree.root, "--yes", check=4)
    assert options(done) == ["--allow-empty"]
    assert len(tree.blobs()) == 3


@pytest.mark.parametrize("command", [("gc", "--yes"), ("garbage-collect", "-m")])
def test_some_repositories_that_came_back_without_their_manifests(
    tree: Tree, later: Jettison, command: tuple[str, ...]
) -> None:
    for number in range(6):
        tree.image(f"app{number}", "1", [b"base", b"layer %d" % number])
    for number in range(0, 6, 2):
        shutil.rmtree(tree.repository(f"app{number}") / "_manifests")
    config, before = configuration(tree), tree.snapshot()
    done = later(*command, config, check=4)
    assert "3 of 6 repositories" in done.stderr
    assert options(done) == ["--allow-empty"]
    assert tree.snapshot() == before
    # All manifests of these were deleted, as it seems.
    for number in range(0, 6, 2):
        (tree.repository(f"app{number}") / "_manifests" / "revisions").mkdir(parents=True)
    later(*command, config)
    assert len(tree.blobs()) == 10


def test_more_than_half(tree: Tree, later: Jettison) -> None:
    for number in range(20):
        tree.image("app", f"t{number}" if number < 5 else None, [b"layer %d" % number])
    before = tree.blobs()
    done = later("gc", tree.root, "--untagged", "--yes", check=4)
    assert tree.blobs() == before
    [option] = options(done)
    assert option.startswith("--max-removal=")
    later("gc", tree.root, "--untagged", "--yes", "--max-removal", "60%", check=4)
    later("gc", tree.root, "--untagged", "--yes", option)
    assert len(tree.blobs()) == 15


def test_an_owner_is_told_everywhere(tree: Tree, later: Jettison) -> None:
    tree.image("app", "1", [b"layer"])
    tree.blob(b"garbage", "app")
    config = configuration(tree, "database: {enabled: true, host: db}\n")
    before = tree.snapshot()
    for command in (("gc", "--yes"), ("garbage-collect",)):
        done = later(*command, config, check=4)
        assert "GitLab" in done.stderr
        assert options(done) == ["--allow-foreign-owner"]
    assert "GitLab" in later("check", config, check=1).stdout
    assert "GitLab" not in later("fsck", config).stderr
    assert tree.snapshot() == before
    done = later("serve", config, check=2)
    assert "database.enabled" in done.stderr
    later("gc", config, "--yes", "--allow-foreign-owner")
    assert len(tree.blobs()) == 3


@pytest.mark.parametrize("command", ["gc", "garbage-collect", "fsck", "serve"])
def test_a_key_that_may_change_what_the_tree_means(
    tree: Tree, jettison: Jettison, command: str
) -> None:
    config = configuration(tree, "metadata: {kept: elsewhere}\n")
    done = jettison(command, config, check=2)
    assert "metadata is not known" in done.stderr
    assert "jettison.ignore: [metadata]" in done.stderr
    assert "metadata" in jettison("check", config, check=1).stdout
    if command != "serve":
        ours = "jettison: {ignore: [metadata]}\n"
        jettison(command, configuration(tree, "metadata: {kept: elsewhere}\n" + ours))


def test_the_variables_of_kubernetes_and_of_pipelines(tree: Tree, jettison: Jettison) -> None:
    found = {
        "REGISTRY_PORT": "tcp://10.96.0.12:5000",
        "REGISTRY_PORT_5000_TCP": "tcp://10.96.0.12:5000",
        "REGISTRY_PORT_5000_TCP_ADDR": "10.96.0.12",
        "REGISTRY_PORT_5000_TCP_PORT": "5000",
        "REGISTRY_PORT_5000_TCP_PROTO": "tcp",
        "REGISTRY_SERVICE_HOST": "10.96.0.12",
        "REGISTRY_SERVICE_PORT": "5000",
        "REGISTRY_SERVICE_PORT_HTTP": "5000",
        "REGISTRY_STORAGE_SERVICE_HOST": "10.96.0.13",
        "REGISTRY_STORAGE_PORT": "tcp://10.96.0.13:80",
        "REGISTRY_HTTP_PORT_80_TCP_ADDR": "10.96.0.13",
        "REGISTRY_USER": "ci",
        "REGISTRY_PASSWORD": "{secret",
    }
    tree.image("app", "1", [b"layer"])
    config = configuration(tree)
    plain = jettison("gc", config, "-n")
    assert jettison("gc", config, "-n", env=found).stderr == plain.stderr
    assert "secret" not in jettison("check", config, env=found).stdout


def test_a_removal_that_would_take_the_rest_of_a_tree_changes_nothing(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry.push("app", "1", made)
    registry.push("app", "2", image([layer({"app": random_bytes(2, 2000)})]))
    foreign = Tree(registry.root.parent / "other")
    for number in range(100):
        foreign.blob(b"nobody's %d" % number)
    shutil.copytree(foreign.base / "blobs", registry.tree / "blobs", dirs_exist_ok=True)
    removal = ("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--reclaim", "--yes")
    before = registry.snapshot()
    for more in ((), ("-n",)):
        done = jettison.later()(*removal, *more, check=4)
        assert options(done) == ["--max-removal=95%"]
    assert registry.snapshot() == before
    jettison.later()(*removal, *options(done))
    assert len(registry.blob_files()) == 3


def test_a_folder_of_the_tree_that_is_mounted_on_its_own(tree: Tree, later: Jettison) -> None:
    need("mount")
    tree.image("app", "1", [b"layer"])
    tree.blob(b"garbage", "app")
    blobs = tree.base / "blobs"
    moved = tree.root / "moved"
    shutil.copytree(blobs, moved)
    done = subprocess.run(["mount", "--bind", str(moved), str(blobs)], check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        before = tree.blobs()
        for command in (("gc", "--yes"), ("garbage-collect",)):
            refused = later(*command, configuration(tree), check=4)
            assert "docker/registry/v2/blobs mounted on its own" in refused.stderr
            assert "  or: " not in refused.stderr
        assert tree.blobs() == before
        assert "mounted on its own" in later("check", tree.root, check=1).stdout
    finally:
        subprocess.run(["umount", str(blobs)], check=True)


@pytest.mark.folder  # test_buckets.py has the same of a lease
def test_windows_are_ended_only_once_the_tree_is_locked(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry.push("app", "1", made)
    registry.age(7200)
    jettison("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--yes")
    now = ("gc", registry.storage, "--now", "--assume-quiescent", "--yes")
    descriptor = os.open(registry.root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        jettison(*now, check=12)
    finally:
        os.close(descriptor)
    jettison("gc", registry.storage, "--yes")
    assert made.layers[0].digest in registry.blob_files()
    jettison(*now)
    assert made.layers[0].digest not in registry.blob_files()


def test_the_refusal_of_a_running_registry_ends_with_the_command(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = image([layer({"app": random_bytes(1, 2000)})])
    registry.push("app", "1", made)
    registry.push("app", "stays", image([layer({"app": random_bytes(2, 2000)})]))
    stay = registry.blob_files().keys() - {made.digest, *(blob.digest for blob in made.blobs())}
    assert registry.delete("app", made.digest) == 202
    done = jettison("gc", registry.config, "--now", "--yes", check=12)
    assert made.layers[0].digest in registry.blob_files()
    [line] = [line for line in done.stderr.splitlines() if line.lstrip().startswith("or: ")]
    words = shlex.split(line.partition("or: ")[2])
    assert words[-1] == "--assume-quiescent"
    # Also what is young: the disk is full now.
    jettison(*words[words.index("gc") :])
    assert registry.blob_files().keys() == stay
