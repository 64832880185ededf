"""Opens the storage that a path names: a folder, or a registry's configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.errors import ConfigurationError
from jettison.storage.filesystem.containers import require_here
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.protocol import Absence, Storage

if TYPE_CHECKING:
    from jettison.configuration import Configuration
    from jettison.configuration.buckets import StoreBucket
    from jettison.storage.protocol.probing import StoreProbe, UnfinishedUploads

__all__ = ["count_unfinished", "make_storage", "open_storage", "probe_bucket", "storage_of"]


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
    return storage_of(configuration, environment), configuration


def storage_of(
    configuration: "Configuration", environment: Mapping[str, str] | None = None
) -> Storage:
    """Open the storage that a configuration names.

    ``environment`` has the credentials for a bucket where the configuration has none. Nothing is
    asked of a bucket yet.
    """
    bucket = configuration.storage.bucket
    if bucket is not None:
        return _with_absence(_open_bucket(bucket, environment or {}), configuration)
    root = configuration.storage.root
    require_here(root, configuration.path)
    return _with_absence(StorageTree(root), configuration)


def _with_absence(storage: Storage, configuration: "Configuration") -> Storage:
    if configuration.cache_of is not None:
        storage.absence = Absence.ANYTHING
    elif configuration.sparse_indexes:
        storage.absence = Absence.CHILDREN
    return storage


def _open_bucket(
    bucket: "StoreBucket", environment: Mapping[str, str], *, live: bool = False
) -> Storage:
    # Imported here: a tree on a disk needs nothing of this.
    from jettison.manifest_cache import ManifestCache, cache_directory  # noqa: PLC0415 - see above
    from jettison.storage.objects import ObjectStorage  # noqa: PLC0415 - same
    from jettison.storage.objects.bucket import Bucket  # noqa: PLC0415 - same

    home = environment.get("HOME")
    folder = None if home is None else cache_directory(environment, Path(home))
    return ObjectStorage(Bucket(bucket, environment), ManifestCache(folder), live=live)


def probe_bucket(bucket: "StoreBucket", environment: Mapping[str, str]) -> "StoreProbe":
    """Try what the store of a bucket enforces; writes to it, and removes what it wrote.

    Raises :class:`~jettison.errors.StorageError` where the store fails.
    """
    from jettison.storage.objects.bucket import Bucket  # noqa: PLC0415 - as in `_open_bucket`
    from jettison.storage.objects.probing import probe_store  # noqa: PLC0415 - same

    return probe_store(Bucket(bucket, environment))


def count_unfinished(
    bucket: "StoreBucket", environment: Mapping[str, str]
) -> "UnfinishedUploads | None":
    """Return what uploads in parts were never ended in a bucket; None where that is not told.

    Raises :class:`~jettison.errors.ConfigurationError` for credentials that cannot be ones.
    """
    from jettison.storage.objects.bucket import Bucket  # noqa: PLC0415 - as in `_open_bucket`
    from jettison.storage.objects.unfinished import unfinished_uploads  # noqa: PLC0415 - same

    return unfinished_uploads(Bucket(bucket, environment))


def make_storage(configuration: "Configuration") -> Storage:
    """Open the storage for a server, made empty if it does not exist.

    Raises :class:`~jettison.errors.ConfigurationError` for one that cannot be served.
    """
    bucket = configuration.storage.bucket
    if bucket is not None:
        return _open_bucket(bucket, os.environ, live=True)
    if configuration.storage.driver != "filesystem":
        raise ConfigurationError(f"driver {configuration.storage.driver!r} cannot be served")
    return StorageTree.make(configuration.storage.root)
