"""A path or a configuration from inside a container is recognised, and both ways out are named."""

from pathlib import Path

import pytest

from tests.support.cli import Jettison
from tests.support.trees import Tree

VARIABLE = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"
CONFIG = """\
version: 0.1
storage: {filesystem: {rootdirectory: /nowhere/lib/registry}, delete: {enabled: true}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "command", [("check",), ("gc", "-n"), ("fsck",), ("garbage-collect", "-d")]
)
def test_a_configuration_whose_storage_is_elsewhere(
    jettison: Jettison, config: Path, command: tuple[str, ...]
) -> None:
    done = jettison(*command, config, check=1)
    assert "/nowhere/lib/registry" in done.stderr
    for word in ("container", VARIABLE, "docker inspect"):
        assert word in done.stderr


def test_both_ways_work(jettison: Jettison, config: Path, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "volume")
    tree.image("app", "1", [b"layer"])
    for target, variables in ((tree.root, {}), (config, {VARIABLE: str(tree.root)})):
        assert "1 repository" in jettison("gc", target, "-n", env=variables).stdout


@pytest.mark.parametrize("path", ["/nowhere/docker/registry/config.yml", "/nowhere/lib/registry"])
def test_a_path_that_is_not_here(jettison: Jettison, path: str) -> None:
    for command in (("gc", "-n"), ("fsck",), ("check",)):
        done = jettison(*command, path, check=1)
        assert f"no {'file' if path.endswith('yml') else 'folder'} {path}" in done.stderr
        assert "container" in done.stderr


def test_deletion_that_is_off_is_enabled_by_key_or_variable(
    jettison: Jettison, config: Path, tmp_path: Path
) -> None:
    tree = Tree(tmp_path / "volume")
    text = CONFIG.replace("true", "false").replace("/nowhere/lib/registry", str(tree.root))
    config.write_text(text, encoding="utf-8")
    done = jettison("check", config, check=11)
    for told in (done.stdout, done.stderr):
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in told
    assert "storage.delete.enabled" in done.stdout


def test_check_takes_the_name_of_an_absent_configuration_for_a_file(jettison: Jettison) -> None:
    result = jettison("check", "nope.yml", check=1)
    assert "there is no file nope.yml" in result.stderr
