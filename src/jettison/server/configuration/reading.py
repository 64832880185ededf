"""From a configuration file and variables to a ServerConfiguration."""

from collections.abc import Mapping
from pathlib import Path

from jettison.errors import ConfigurationError
from jettison.server.configuration.addresses import parse_address
from jettison.server.configuration.settings import Http, ServerConfiguration, Storage
from jettison.store.configuration import read_configuration

__all__ = ["for_folder", "read_server_configuration"]


def read_server_configuration(path: Path, environment: Mapping[str, str]) -> ServerConfiguration:
    """Read a configuration file and the ``REGISTRY_…`` variables of ``environment``.

    Raises :class:`~jettison.errors.ConfigurationError` for what it cannot mean or we do not do,
    :class:`~jettison.errors.StorageError` if it cannot be read.
    """
    found = read_configuration(path, environment)
    if found.root is None:
        raise ConfigurationError(f"{path}: storage driver {found.driver!r} is not supported")
    storage = Storage(found.root, found.delete_enabled, found.readonly)
    return ServerConfiguration(storage, path, http=Http(addr=found.http_addr or ":5000"))


def for_folder(root: Path, addr: str) -> ServerConfiguration:
    """Return the configuration of ``serve --root ROOT --addr ADDR``: deletion on, no login.

    Raises :class:`~jettison.errors.ConfigurationError` if ``addr`` is no address.
    """
    parse_address(addr)
    return ServerConfiguration(Storage(root, delete_enabled=True), http=Http(addr=addr))
