from pathlib import Path

import pytest

from jettison.errors import ConfigurationError, StorageError
from jettison.storage.opening import open_storage
from jettison.storage.protocol import Absence
from tests.configuration.reader import MINIMAL
from tests.support.trees import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


@pytest.fixture
def config(tmp_path: Path, tree: Tree) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(MINIMAL.replace("/data", str(tree.root)), encoding="utf-8")
    return path


def test_storage_is_opened_by_folder_or_by_configuration(tree: Tree, config: Path) -> None:
    opened, configuration = open_storage(tree.root, {})
    assert (opened.location, configuration) == (str(tree.root), None)
    opened, configuration = open_storage(config, {})
    assert opened.location == str(tree.root)
    assert configuration is not None
    assert configuration.path == config


@pytest.mark.parametrize(
    ("variable", "value", "absence"),
    [
        ("REGISTRY_LOG_LEVEL", "info", Absence.NOTHING),
        ("REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS", "list", Absence.CHILDREN),
        ("REGISTRY_JETTISON_SPARSE_MANIFESTS", "true", Absence.CHILDREN),
        ("REGISTRY_PROXY_REMOTEURL", "https://hub.example", Absence.ANYTHING),
    ],
)
def test_what_may_be_absent(config: Path, variable: str, value: str, absence: Absence) -> None:
    tree, _ = open_storage(config, {variable: value})
    assert tree.absence is absence


def test_other_drivers_are_not_supported_yet(config: Path) -> None:
    config.write_text("version: 0.1\nstorage: {swift: {container: images}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"storage\.swift is not supported: only the d"):
        open_storage(config, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        open_storage(tmp_path / "nowhere", {})
