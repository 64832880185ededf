"""The configuration of a Distribution registry, as far as its storage is concerned.

The file is Distribution's YAML; variables ``REGISTRY_A_B`` override the key ``a.b``, also one that
the file does not have, their values parsed as YAML. Unknown keys are nobody's business here.
Every error names the key, what was found, and what is allowed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from jettison.errors import ConfigurationError
from jettison.store.folder import storage_errors
from jettison.store.tree import StorageTree

__all__ = [
    "Configuration",
    "Finding",
    "findings",
    "load_yaml",
    "open_storage",
    "read_configuration",
]

VERSION: Final = "0.1"
DEFAULT_ROOT: Final = "/var/lib/registry"
SUPPORTED: Final = "filesystem"
DRIVERS: Final = frozenset(
    {"azure", "filesystem", "gcs", "inmemory", "oss", "s3", "s3aws", "s3goamzn", "swift"}
)
NOT_DRIVERS: Final = frozenset({"cache", "delete", "maintenance", "redirect", "tag"})
CACHES: Final = ("inmemory", "redis")
_NOT_OVERRIDES: Final = frozenset({"REGISTRY_CONFIGURATION_PATH", "REGISTRY_AUTH_FILE"})
"""The configuration's own path, and the containers tools' variable for their logins."""

Cache = Literal["inmemory", "redis"]
Level = Literal["error", "warning", "info"]


class Configuration(msgspec.Struct, frozen=True):
    """What a configuration says, environment included.

    ``root`` is the storage's root directory, None for a driver that Jettison cannot open yet.
    ``cache`` is ``storage.cache.blobdescriptor``. ``auth`` is the kind of login asked for.
    """

    path: Path
    root: Path | None
    driver: str
    delete_enabled: bool = False
    readonly: bool = False
    cache: Cache | None = None
    http_addr: str | None = None
    http_net: str = "tcp"
    http_prefix: str = "/"
    tls: bool = False
    auth: str | None = None
    delete_found: str | None = None
    """What ``storage.delete.enabled`` really is, where it is neither true nor false."""
    purge_uploads: bool = True


class Finding(msgspec.Struct, frozen=True):
    """Something about a configuration that its owner should know.

    An ``error`` keeps images from being deleted or space from being freed; a ``warning`` has
    consequences that the message names; an ``info`` has none. ``fix`` is in the imperative.
    """

    level: Level
    key: str
    message: str
    fix: str | None = None


def read_configuration(path: Path, environment: Mapping[str, str]) -> Configuration:
    """Read a configuration file and the ``REGISTRY_…`` variables of ``environment``.

    Raises :class:`~jettison.errors.ConfigurationError` if it is no Distribution configuration,
    :class:`~jettison.errors.StorageError` if it cannot be read.
    """
    with storage_errors("read", path):
        content = path.read_bytes()
    document = load_yaml(content, str(path))
    if not isinstance(document, dict):
        message = f"{path} is no registry configuration: it holds {_kind(document)}, not keys"
        raise ConfigurationError(message, hint="It begins with: version: 0.1")
    _override(document, environment)
    return _Reader(path).read(document)


def open_storage(
    path: Path, environment: Mapping[str, str]
) -> tuple[StorageTree, Configuration | None]:
    """Open the storage that ``path`` names: a storage's root directory, or a configuration.

    Raises :class:`~jettison.errors.ConfigurationError` for a driver that is not supported, and
    :class:`~jettison.errors.StorageError` where no storage is.
    """
    if path.is_dir() or not path.exists():
        return StorageTree(path), None
    configuration = read_configuration(path, environment)
    if configuration.root is None:
        message = f"{path}: storage driver {configuration.driver!r} is not supported yet"
        raise ConfigurationError(message, hint=f"Supported is {SUPPORTED}.")
    return StorageTree(configuration.root), configuration


def findings(configuration: Configuration, environment: Mapping[str, str]) -> list[Finding]:
    """Say what stands in the way of deleting and collecting, the worst first."""
    found: list[Finding] = []
    key = "storage.delete.enabled"
    level: Level = "warning" if configuration.delete_enabled else "error"
    variable = environment.get("REGISTRY_STORAGE_DELETE_ENABLED")
    if variable is not None:
        message = f"the variable REGISTRY_STORAGE_DELETE_ENABLED={variable} overrides the file here"
        fix = "Change the variable where the registry is started, or remove it there."
        found.append(Finding(level, key, message, fix))
    if not configuration.delete_enabled:
        message = "deletion is not enabled: the registry answers 405 to every DELETE"
        if configuration.delete_found is not None:
            message += f" (found {configuration.delete_found}, only true enables it)"
        fix = f"Set {key}: true (check --fix does it), and restart the registry."
        found.append(Finding("error", key, message, fix))
    if configuration.readonly:
        found.append(
            Finding(
                "warning",
                "storage.maintenance.readonly.enabled",
                "the registry is read-only: it takes no push and no DELETE; collecting is safe",
                "Set it to false when the maintenance is over, and restart the registry.",
            )
        )
    if configuration.cache is not None:
        lasting = "until it is restarted" if configuration.cache == "inmemory" else "and restarts"
        message = (
            f"the registry remembers blobs ({configuration.cache}) {lasting}: after a collection "
            "it may say that a removed blob is there, and a push that skips it makes a broken image"
        )
        fix = "Restart the registry after each collection, or remove this key."
        if configuration.cache == "redis":
            fix = "Empty the Redis database after each collection, or remove this key."
        found.append(Finding("warning", "storage.cache.blobdescriptor", message, fix))
    if not configuration.purge_uploads:
        found.append(
            Finding(
                "info",
                "storage.maintenance.uploadpurging.enabled",
                "the registry never removes uploads that were given up",
                "Set it to true, or remove the key.",
            )
        )
    if configuration.root is None:
        message = f"driver {configuration.driver!r}: its storage cannot be reached from here yet"
        found.append(Finding("info", "storage", message))
    return sorted(found, key=lambda finding: ("error", "warning", "info").index(finding.level))


def load_yaml(content: bytes | str, what: str) -> Any:  # noqa: ANN401 - YAML may be anything
    """Parse one YAML document; raise ConfigurationError that says where in ``what`` it ends."""
    try:
        return YAML(typ="safe", pure=True).load(content)
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigurationError(f"{what} is not YAML{place}: {reason}") from None


def _override(document: dict[Any, Any], environment: Mapping[str, str]) -> None:
    """Apply the variables in the order of their names, as Distribution does."""
    for variable in sorted(environment):
        if not variable.startswith("REGISTRY_") or variable in _NOT_OVERRIDES:
            continue
        *parents, last = variable.removeprefix("REGISTRY_").lower().split("_")
        value = load_yaml(environment[variable], f"the variable {variable}")
        inner = document
        for part in parents:
            name = _name_in(inner, part)
            below = inner.get(name)
            if isinstance(below, str) and inner is document:
                below = {below: {}}  # storage: filesystem
            if not isinstance(below, dict):
                below = {}
            inner[name] = below
            inner = below
        inner[_name_in(inner, last)] = value


def _name_in(mapping: dict[Any, Any], part: str) -> str:
    """Return the key that a part of a variable's name means, in the file's own spelling."""
    for key in mapping:
        if isinstance(key, str) and key.lower() == part:
            return key
    return part


class _Reader:
    """Takes a parsed document apart; knows the file's name for its errors."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, document: dict[Any, Any]) -> Configuration:
        if "version" not in document:
            hint = f"A registry's configuration begins with: version: {VERSION}"
            raise self._error("version", "is missing", hint)
        if str(document["version"]) != VERSION:
            raise self._error("version", f"is {document['version']!r}", f"Only {VERSION} is known.")
        storage = document.get("storage")
        if isinstance(storage, str):
            storage = {storage: {}}
        storage = self._section({"storage": storage}, "storage")
        driver = self._driver(storage)
        http = self._section(document, "http")
        delete = self._section(storage, "delete", "storage").get("enabled")
        maintenance = self._section(storage, "maintenance", "storage")
        readonly = self._section(maintenance, "readonly", "storage.maintenance")
        purging = self._section(maintenance, "uploadpurging", "storage.maintenance")
        tls = self._section(http, "tls", "http")
        return Configuration(
            path=self._path,
            root=self._root(storage[driver]) if driver == SUPPORTED else None,
            driver=driver,
            delete_enabled=delete is True,
            readonly=readonly.get("enabled") is True,
            cache=self._cache(storage),
            http_addr=self._text(http, "addr", "http"),
            http_net=self._text(http, "net", "http") or "tcp",
            http_prefix=self._text(http, "prefix", "http") or "/",
            tls=bool(tls.get("certificate") or tls.get("letsencrypt")),
            auth=self._auth(document),
            delete_found=None if delete is None or isinstance(delete, bool) else repr(delete),
            purge_uploads=purging.get("enabled") is not False,
        )

    def _driver(self, storage: dict[str, Any]) -> str:
        drivers = [str(key) for key in storage if key not in NOT_DRIVERS]
        if not drivers:
            known = ", ".join(sorted(DRIVERS))
            raise self._error("storage", "names no driver", f"One of {known}.")
        if len(drivers) > 1:
            names = " and ".join(repr(name) for name in drivers)
            hint = "Exactly one driver may stand there; remove the other (or its variable)."
            raise self._error("storage", f"names {len(drivers)} drivers, {names}", hint)
        if drivers[0] not in DRIVERS:
            known = ", ".join(sorted(DRIVERS))
            what = f"names the unknown driver {drivers[0]!r}"
            raise self._error("storage", what, f"Known are {known}; supported is {SUPPORTED}.")
        return drivers[0]

    def _root(self, parameters: object) -> Path:
        if parameters is None:
            return Path(DEFAULT_ROOT)
        key = "storage.filesystem.rootdirectory"
        if not isinstance(parameters, dict):
            raise self._error("storage.filesystem", f"is {_kind(parameters)}", "It needs keys.")
        root = parameters.get("rootdirectory")
        if root is None:
            return Path(DEFAULT_ROOT)
        if not isinstance(root, str) or not root:
            raise self._error(key, f"is {root!r}", "It is the path of a folder.")
        return Path(root)

    def _cache(self, storage: dict[str, Any]) -> Cache | None:
        section = self._section(storage, "cache", "storage")
        # "layerinfo" is what it was called before.
        value = section.get("blobdescriptor", section.get("layerinfo"))
        if value is None or value == "":
            return None
        if value == "inmemory":
            return "inmemory"
        if value == "redis":
            return "redis"
        hint = f"Allowed are {' and '.join(CACHES)}; without the key there is no cache."
        raise self._error("storage.cache.blobdescriptor", f"is {value!r}", hint)

    def _auth(self, document: dict[str, Any]) -> str | None:
        auth = document.get("auth")
        if isinstance(auth, str):
            return auth
        kinds = [str(kind) for kind in self._section(document, "auth")]
        if len(kinds) > 1:
            names = " and ".join(kinds)
            raise self._error("auth", f"names {names}", "Exactly one kind may stand there.")
        return kinds[0] if kinds else None

    def _section(self, mapping: dict[Any, Any], key: str, above: str = "") -> dict[Any, Any]:
        value = mapping.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            name = f"{above}.{key}" if above else key
            raise self._error(name, f"is {_kind(value)}", "It needs keys below it.")
        return value

    def _text(self, mapping: dict[Any, Any], key: str, above: str) -> str | None:
        value = mapping.get(key)
        if value is None or isinstance(value, str):
            return value or None
        raise self._error(f"{above}.{key}", f"is {value!r}", "It is a text.")

    def _error(self, key: str, found: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"{os.fspath(self._path)}: {key} {found}", hint=hint)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return repr(value)
