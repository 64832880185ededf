"""Opens the storage that a path names: a folder, or a registry's configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import StorageError
from jettison.storage.filesystem.containers import require_here
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.protocol import Absence, Storage

if TYPE_CHECKING:
    from jettison.configuration import Configuration

__all__ = ["make_storage", "open_storage", "storage_of"]


def open_storage(
    path: Path, environment: Mapping[str, str]
) -> tuple[Storage, "Configuration | None"]:
    """Open the storage that ``path`` names: a storage's root directory, or a configuration.

    Raises :class:`~jettison.errors.ConfigurationError` for a configuration that cannot be used,
    and :class:`~jettison.errors.StorageError` if there is no storage.
    """
    if path.is_dir():
        return StorageTree(path), None
    if not path.exists():
        require_here(path)
    # Imported here: a collection of a folder reads no configuration, and is to start at once.
    from jettison.configuration import read_configuration  # noqa: PLC0415 - see above

    configuration = read_configuration(path, environment)
    return storage_of(configuration), configuration


def storage_of(configuration: "Configuration") -> Storage:
    """Open the storage that a configuration names."""
    if not configuration.storage.is_reachable or configuration.storage.bucket is not None:
        raise StorageError(f"driver {configuration.storage.driver!r}: its storage is out of reach")
    root = configuration.storage.root
    require_here(root, configuration.path)
    tree = StorageTree(root)
    if configuration.cache_of is not None:
        tree.absence = Absence.ANYTHING
    elif configuration.sparse_indexes:
        tree.absence = Absence.CHILDREN
    return tree


def make_storage(configuration: "Configuration") -> Storage:
    """Open the storage for a server, made empty if it does not exist."""
    return StorageTree.make(configuration.storage.root)
