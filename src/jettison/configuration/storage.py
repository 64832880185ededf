"""The configuration of a Distribution registry, as far as its storage is concerned.

Unknown keys are told where they may change what the storage means. Every error names the key,
what was found, and what is allowed; of a secret, only its key.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from jettison.configuration.document import (
    Document,
    described,
    load_yaml,
    read_document,
    unknown_meaning,
)
from jettison.errors import ConfigurationError
from jettison.model.plausibility import Owner
from jettison.storage.filesystem.containers import require_here
from jettison.storage.filesystem.owners import owners_in_configuration
from jettison.storage.filesystem.reading import Absence
from jettison.storage.filesystem.tree import StorageTree

__all__ = [
    "DELETE_VARIABLE",
    "DRIVERS",
    "LOG_LEVELS",
    "SUPPORTED",
    "Configuration",
    "Finding",
    "RedisServer",
    "RedisTls",
    "findings",
    "load_yaml",
    "open_storage",
    "read_configuration",
    "storage_root",
    "unknown_hint",
]

VERSION: Final = "0.1"
DEFAULT_ROOT: Final = "/var/lib/registry"
DELETE_VARIABLE: Final = "REGISTRY_STORAGE_DELETE_ENABLED"
SUPPORTED: Final = "filesystem"
DRIVERS: Final = frozenset(
    {"azure", "filesystem", "gcs", "inmemory", "oss", "s3", "s3aws", "s3goamzn", "swift"}
)
NOT_DRIVERS: Final = frozenset({"cache", "delete", "maintenance", "redirect", "tag"})
CACHES: Final = ("inmemory", "redis")
LOG_LEVELS: Final = ("error", "warn", "info", "debug")
DEFAULT_REDIS_HOST: Final = "localhost"
_ADDRESS: Final = re.compile(r"(?P<host>[^\s:/@\[\]]*|\[[0-9A-Fa-f:.%]+\]):(?P<port>[0-9]{1,5})")
_MAX_PORT: Final = 65535
Cache = Literal["inmemory", "redis"]
Level = Literal["error", "warning", "info"]
Deployment = Literal["single", "sentinel", "cluster"]


class RedisTls(msgspec.Struct, frozen=True):
    """How Redis is spoken to over TLS: paths of PEM files.

    ``certificate`` and ``key`` are the client's own, both or neither; ``authorities`` are trusted
    beside those of the system.
    """

    certificate: str | None = None
    key: str | None = None
    authorities: tuple[str, ...] = ()


class RedisServer(msgspec.Struct, frozen=True):
    """Where the registry keeps its descriptors: the ``redis`` section of its configuration.

    ``host`` may also be the absolute path of a socket, and then ``port`` is 0. Of a ``sentinel``
    or a ``cluster`` it is the first address that the section names. The password is in no
    representation of it.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    db: int = 0
    tls: RedisTls | None = None
    deployment: Deployment = "single"

    @property
    def address(self) -> str:
        """``host:port``, as messages say it."""
        if self.host.startswith("/"):
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"RedisServer({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(n, "…" if n == "password" and v is not None else v) for n, v in fields]


class Configuration(msgspec.Struct, frozen=True):
    """What a configuration says, environment included.

    ``root`` is the storage's root directory, None for a driver that Jettison cannot open yet.
    ``cache`` is ``storage.cache.blobdescriptor``; ``redis`` is set wherever the section names a
    server, used or not. ``auth`` is the kind of login asked for.
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
    redis: RedisServer | None = None
    log_level: str = "info"
    unknown: tuple[str, ...] = ()
    """Keys that are not known and may change what the storage means."""
    sparse: bool = False
    """Whether indexes are taken whose members are not all there."""
    cache_of: str | None = None
    """The registry that it is a pull-through cache of."""
    owners: tuple[Owner, ...] = ()
    """Other programs that the configuration names, which keep a part of the truth elsewhere."""

    @property
    def absence(self) -> Absence:
        """What may lawfully be absent from the storage."""
        if self.cache_of is not None:
            return Absence.ANYTHING
        return Absence.CHILDREN if self.sparse else Absence.NOTHING


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
    return _Reader(read_document(path, environment)).read()


def storage_root(document: Document) -> tuple[str, Path | None]:
    """Return the storage driver, and its root directory if the driver is the filesystem's.

    Raises :class:`~jettison.errors.ConfigurationError` if it is no Distribution configuration.
    """
    reader = _Reader(document)
    reader.check_version()
    storage = reader.storage()
    driver = reader.driver(storage)
    return driver, reader.root(storage[driver]) if driver == SUPPORTED else None


def open_storage(
    path: Path, environment: Mapping[str, str]
) -> tuple[StorageTree, Configuration | None]:
    """Open the storage that ``path`` names: a storage's root directory, or a configuration.

    Raises :class:`~jettison.errors.ConfigurationError` for a driver that is not supported, and
    :class:`~jettison.errors.StorageError` where no storage is.
    """
    if path.is_dir():
        return StorageTree(path), None
    if not path.exists():
        require_here(path)
    configuration = read_configuration(path, environment)
    if configuration.unknown:
        keys = ", ".join(configuration.unknown)
        message = f"{path}: {keys} is not known, and may change what the storage means"
        raise ConfigurationError(message, hint=unknown_hint(configuration.unknown))
    if configuration.root is None:
        message = f"{path}: storage driver {configuration.driver!r} is not supported yet"
        raise ConfigurationError(message, hint=f"Supported is {SUPPORTED}.")
    require_here(configuration.root, path)
    tree = StorageTree(configuration.root)
    tree.absence = configuration.absence
    return tree, configuration


def unknown_hint(unknown: Sequence[str]) -> str:
    """Return what to do about keys that may change what the storage means."""
    listed = ", ".join(unknown)
    return f"Mend or remove it; if it is harmless, set jettison.ignore: [{listed}] in that file."


def findings(configuration: Configuration, environment: Mapping[str, str]) -> list[Finding]:
    """Say what stands in the way of deleting and collecting, the worst first."""
    found: list[Finding] = []
    key = "storage.delete.enabled"
    level: Level = "warning" if configuration.delete_enabled else "error"
    variable = environment.get(DELETE_VARIABLE)
    if variable is not None:
        message = f"the variable {DELETE_VARIABLE}={variable} overrides the file here"
        fix = "Change the variable where the registry is started, or remove it there."
        found.append(Finding(level, key, message, fix))
    if not configuration.delete_enabled:
        message = "deletion is not enabled: the registry answers 405 to every DELETE"
        if configuration.delete_found is not None:
            message += f" (found {configuration.delete_found}, only true enables it)"
        fix = (
            f"Set {key}: true (check --fix does it), or {DELETE_VARIABLE}=true where the registry "
            "is started, and restart it."
        )
        found.append(Finding("error", key, message, fix))
    if configuration.cache_of is not None:
        message = (
            f"the registry is a pull-through cache of {configuration.cache_of}: it answers 405 to "
            f"every DELETE, whatever {key} says"
        )
        fix = "Images leave it after proxy.ttl. To delete now, remove proxy meanwhile, and restart."
        found.append(Finding("error", "proxy.remoteurl", message, fix))
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
    found += _doubts(configuration)
    if configuration.root is None:
        message = f"driver {configuration.driver!r}: its storage cannot be reached from here yet"
        found.append(Finding("info", "storage", message))
    return sorted(found, key=lambda finding: ("error", "warning", "info").index(finding.level))


def _doubts(configuration: Configuration) -> Iterator[Finding]:
    """Yield what makes it doubtful that the storage is what it seems."""
    for key in configuration.unknown:
        message = "is not known, and may change what the storage means: gc and serve refuse it"
        yield Finding("error", key, message, unknown_hint([key]))
    for owner in configuration.owners:
        message = (
            f"it belongs to {owner.name} ({owner.clue}): which images exist is not in it alone, "
            "and gc refuses it"
        )
        yield Finding("error", "storage", message, f"Let {owner.name} collect it.")


class _Reader:
    """Takes a parsed document apart; knows the file's name for its errors."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def check_version(self) -> None:
        document = self._document.keys
        if "version" not in document:
            hint = f"A registry's configuration begins with: version: {VERSION}"
            raise self._error("version", "is missing", hint)
        if described(document["version"]) not in {VERSION, described(VERSION)}:
            found = f"is {described(document['version'])}"
            raise self._error("version", found, f"Only {VERSION} is known.")

    def storage(self) -> dict[Any, Any]:
        return self._section(self._document.keys, "storage")

    def read(self) -> Configuration:
        self.check_version()
        document = self._document.keys
        storage = self.storage()
        driver = self.driver(storage)
        http = self._section(document, "http")
        delete = self._section(storage, "delete", "storage").get("enabled")
        maintenance = self._section(storage, "maintenance", "storage")
        readonly = self._section(maintenance, "readonly", "storage.maintenance")
        purging = self._section(maintenance, "uploadpurging", "storage.maintenance")
        tls = self._section(http, "tls", "http")
        return Configuration(
            path=self._document.path,
            root=self.root(storage[driver]) if driver == SUPPORTED else None,
            driver=driver,
            delete_enabled=delete is True,
            readonly=readonly.get("enabled") is True,
            cache=self._cache(storage),
            http_addr=self._text(http, "addr", "http"),
            http_net=self._text(http, "net", "http") or "tcp",
            http_prefix=self._text(http, "prefix", "http") or "/",
            tls=bool(tls.get("certificate") or tls.get("letsencrypt")),
            auth=self._auth(document),
            delete_found=None if delete is None or isinstance(delete, bool) else _quoted(delete),
            purge_uploads=purging.get("enabled") is not False,
            redis=self._redis(document),
            log_level=_log_level(document),
            sparse=self._sparse(document),
            cache_of=self._text(self._section(document, "proxy"), "remoteurl", "proxy"),
            unknown=tuple(unknown_meaning(document)),
            owners=tuple(owners_in_configuration(document)),
        )

    def _sparse(self, document: dict[Any, Any]) -> bool:
        """Whether either program is told to take sparse indexes; what is odd is left to others."""
        manifests = self._section(self._section(document, "validation"), "manifests")
        platforms = self._section(manifests, "indexes").get("platforms")
        return platforms in {"none", "list"} or (
            self._section(document, "jettison").get("sparse_manifests") is True
        )

    def driver(self, storage: dict[str, Any]) -> str:
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

    def root(self, parameters: object) -> Path:
        if parameters is None:
            return Path(DEFAULT_ROOT)
        key = "storage.filesystem.rootdirectory"
        if not isinstance(parameters, dict):
            found = f"is {described(parameters)}"
            raise self._error("storage.filesystem", found, "It needs keys below it.")
        root = parameters.get("rootdirectory")
        if root is None:
            return Path(DEFAULT_ROOT)
        if not isinstance(root, str) or not root or "\0" in root:
            raise self._error(key, f"is {described(root)}", "It is the path of a folder.")
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
        raise self._error("storage.cache.blobdescriptor", f"is {described(value)}", hint)

    def _auth(self, document: dict[str, Any]) -> str | None:
        kinds = [str(kind) for kind in self._section(document, "auth")]
        if len(kinds) > 1:
            names = " and ".join(kinds)
            raise self._error("auth", f"names {names}", "Exactly one kind may stand there.")
        return kinds[0] if kinds else None

    def _redis(self, document: dict[str, Any]) -> RedisServer | None:
        """Read what 2.x (``addr``) or 3.x (``addrs``) says; where both stand, 3.x's counts."""
        section = document.get("redis")
        if section is not None and not isinstance(section, dict):
            # Its text is not shown: people write URLs with passwords there.
            raise self._error("redis", "has no keys below it", "It needs addr, or addrs.")
        section = section or {}
        addresses = self._texts(section, "addrs", "redis", "HOST:PORT")
        name = "redis.addrs"
        if not addresses:
            single = self._text(section, "addr", "redis")
            name, addresses = "redis.addr", () if single is None else (single,)
        if not addresses:
            return None
        [(host, port), *_] = [self._address(name, text) for text in addresses]
        deployment: Deployment = "single"
        if section.get("mastername"):
            deployment = "sentinel"
        elif len(addresses) > 1 or section.get("isclustermode") is True:
            deployment = "cluster"
        return RedisServer(
            host,
            port,
            username=self._secret(section, "username"),
            password=self._secret(section, "password"),
            db=self._db(section),
            tls=self._redis_tls(section),
            deployment=deployment,
        )

    def _address(self, key: str, text: str) -> tuple[str, int]:
        if text.startswith("/"):
            return text, 0
        found = _ADDRESS.fullmatch(text)
        if found is None or not 0 < int(found["port"]) <= _MAX_PORT:
            login, at, rest = text.rpartition("@")
            shown = f"…@{rest}" if login or at else rest
            raise self._error(key, f"is {shown!r}", "It is HOST:PORT, such as localhost:6379.")
        return found["host"].strip("[]") or DEFAULT_REDIS_HOST, int(found["port"])

    def _secret(self, section: dict[str, Any], key: str) -> str | None:
        """Return a text as it is written, numbers too; it is in no error."""
        value = section.get(key)
        if value is not None and not isinstance(value, str | list | dict):
            value = self._document.as_written.get("redis", {}).get(key)
        if value is None or isinstance(value, str):
            return value or None
        hint = "It is a text; put it in quotes."
        raise self._error(f"redis.{key}", "is something else than a text", hint)

    def _db(self, section: dict[str, Any]) -> int:
        value = section.get("db")
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._error(
                "redis.db", f"is {_quoted(value)}", "It is a whole number, 0 or more."
            )
        return value

    def _redis_tls(self, section: dict[str, Any]) -> RedisTls | None:
        tls = self._section(section, "tls", "redis")
        certificate = self._text(tls, "certificate", "redis.tls")
        key = self._text(tls, "key", "redis.tls")
        if (certificate is None) != (key is None):
            missing = "certificate" if certificate is None else "key"
            hint = "The client's certificate and its key stand there together, or neither does."
            raise self._error(f"redis.tls.{missing}", "is missing", hint)
        # 3.0 called them clientcas; rootcas came later and alone ask for TLS (4668, 4770).
        roots = self._texts(tls, "rootcas", "redis.tls", "paths")
        others = self._texts(tls, "clientcas", "redis.tls", "paths")
        if certificate is None and not roots and tls.get("enabled") is not True:
            return None
        return RedisTls(certificate, key, (*roots, *others))

    def _texts(self, mapping: dict[Any, Any], key: str, above: str, what: str) -> tuple[str, ...]:
        value = mapping.get(key)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        kind = "a list of other things" if isinstance(value, list) else "no list"
        raise self._error(f"{above}.{key}", f"is {kind}", f"It is a list of {what}.")

    def _section(self, mapping: dict[Any, Any], key: str, above: str = "") -> dict[Any, Any]:
        value = mapping.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            name = f"{above}.{key}" if above else key
            raise self._error(name, f"is {described(value)}", "It needs keys below it.")
        return value

    def _text(self, mapping: dict[Any, Any], key: str, above: str) -> str | None:
        value = mapping.get(key)
        if value is None or isinstance(value, str):
            return value or None
        raise self._error(f"{above}.{key}", f"is {described(value)}", "It is a text.")

    def _error(self, key: str, found: str, hint: str) -> ConfigurationError:
        return ConfigurationError(f"{os.fspath(self._document.path)}: {key} {found}", hint=hint)


def _log_level(document: dict[str, Any]) -> str:
    """Return the least level that is logged; ``loglevel`` is what 2.x still takes beside it."""
    log = document.get("log")
    found = log.get("level") if isinstance(log, dict) else None
    level = str(found or document.get("loglevel")).lower()
    return level if level in LOG_LEVELS else "info"


def _quoted(value: object) -> str:
    return described(value).removeprefix("the text ")
