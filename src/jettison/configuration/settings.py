"""What a server is told: plain frozen values, decoded already.

Times are in seconds, sizes in bytes. The defaults are Distribution's wherever it has one. What may
hold a password is in no representation: header values, and the login within a URL.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from jettison.configuration.buckets import StoreBucket
from jettison.configuration.ciphers import openssl_names
from jettison.model.plausibility import Owner

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.schedule import Schedule

__all__ = [
    "ALGORITHMS",
    "AccessRule",
    "ActionName",
    "Cache",
    "ClientAuth",
    "Configuration",
    "Debug",
    "Endpoint",
    "FileCheck",
    "Health",
    "Htpasswd",
    "Http",
    "HttpCheck",
    "Limits",
    "Log",
    "Notifications",
    "PullRecords",
    "RedisServer",
    "RedisTls",
    "ScheduledRetention",
    "Storage",
    "StorageHealth",
    "TcpCheck",
    "Tls",
    "Token",
    "UploadPurging",
    "UrlRules",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB

DEFAULT_ROOT: Final = Path("/var/lib/registry")
SUPPORTED: Final = "filesystem"
"""The one driver whose storage can be served and changed."""

ActionName = Literal["pull", "push", "overwrite", "delete", "admin"]
Cache = Literal["inmemory", "redis"]
ClientAuth = Literal[
    "request-client-cert", "verify-client-cert-if-given", "require-and-verify-client-cert"
]
Deployment = Literal["single", "sentinel", "cluster"]
Formatter = Literal["text", "json", "logstash"]
LogLevel = Literal["error", "warn", "info", "debug"]
Net = Literal["tcp", "unix"]
TlsVersion = Literal["tls1.2", "tls1.3"]

ALGORITHMS: Final = (
    *("EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"),
)
"""The signatures that a token may carry; those with a shared secret are never among them."""


class _Discreet(msgspec.Struct, frozen=True):
    """Shows no password, of its headers only the names, and of its URL no login."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, _discreet(name, getattr(self, name))) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class AccessRule(msgspec.Struct, frozen=True):
    """What some users may do in some repositories.

    ``users`` are names or globs, ``*`` is everyone who is let in, ``anonymous`` who has no login.
    ``repositories`` are globs.
    """

    users: tuple[str, ...]
    repositories: tuple[str, ...]
    actions: frozenset[ActionName]


class Htpasswd(msgspec.Struct, frozen=True):
    """Logins from a password file; only its bcrypt lines count."""

    realm: str
    path: Path


class Token(msgspec.Struct, frozen=True):
    """Logins by tokens that another service signs.

    ``rootcertbundle`` is a PEM file with certificates, ``jwks`` a JSON file with keys; at least one
    of them is set. With ``autoredirect`` the clients are sent to ``autoredirect_path`` of the host
    that they asked, and not to ``realm``.
    """

    realm: str
    service: str
    issuer: str
    rootcertbundle: Path | None = None
    jwks: Path | None = None
    signing_algorithms: tuple[str, ...] = ALGORITHMS
    autoredirect: bool = False
    autoredirect_path: str = "/auth/token/"


class Tls(msgspec.Struct, frozen=True):
    """PEM files and terms of TLS.

    ``client_auth`` is None as long as there are no ``client_cas``: clients then need no
    certificate. ``cipher_suites`` are Go's names, for TLS 1.2 only; empty: the usual ones.
    """

    certificate: Path
    key: Path
    client_cas: tuple[Path, ...] = ()
    client_auth: ClientAuth | None = None
    minimum_version: TlsVersion = "tls1.2"
    cipher_suites: tuple[str, ...] = ()

    @property
    def openssl_ciphers(self) -> str | None:
        """The suites as ``SSLContext.set_ciphers`` takes them; None to leave OpenSSL's choice."""
        return ":".join(openssl_names(self.cipher_suites)) or None


class Debug(msgspec.Struct, frozen=True):
    """A second address, for health and metrics: nothing there asks for a login."""

    addr: str
    prometheus: bool = False
    prometheus_path: str = "/metrics"


class Http(msgspec.Struct, frozen=True):
    """Where and how clients are answered.

    ``addr`` is HOST:PORT, or with ``net`` ``unix`` the path of a socket. ``host`` is the URL that
    clients know the registry by, None to take it from each request. ``prefix`` begins and ends
    with a slash. ``headers`` go into each answer. ``drain_timeout`` is how long requests may take
    to end when the server stops.
    """

    addr: str = ":5000"
    net: Net = "tcp"
    host: str | None = None
    prefix: str = "/"
    relative_urls: bool = False
    drain_timeout: float = 10.0
    headers: dict[str, tuple[str, ...]] = {}
    tls: Tls | None = None
    debug: Debug | None = None


class Log(msgspec.Struct, frozen=True):
    """What is logged and how; ``fields`` are added to each line."""

    level: LogLevel = "info"
    formatter: Formatter = "text"
    fields: dict[str, str] = {}
    access_disabled: bool = False


class UploadPurging(msgspec.Struct, frozen=True):
    """Removal of uploads that were given up: those older than ``age``, every ``interval``."""

    enabled: bool = True
    age: float = 604_800.0
    interval: float = 86_400.0
    dry_run: bool = False


class Storage(msgspec.Struct, frozen=True):
    """The tree, and what may be done to it.

    ``root`` is that of the filesystem's ``driver``, ``bucket`` the one in which the tree lies
    instead. ``cache`` is where a registry of Distribution remembers which blobs there are.
    ``redirect``: whether clients may be sent to a store that they can fetch blobs from themselves.
    """

    root: Path
    delete_enabled: bool = False
    readonly: bool = False
    purging: UploadPurging = UploadPurging()
    cache: Cache | None = None
    driver: str = SUPPORTED
    bucket: StoreBucket | None = None
    redirect: bool = True

    @property
    def is_reachable(self) -> bool:
        """Whether there is a way to the storage of this driver."""
        return self.driver == SUPPORTED or self.bucket is not None


class RedisTls(msgspec.Struct, frozen=True):
    """How Redis is spoken to over TLS: paths of PEM files.

    ``certificate`` and ``key`` are the client's own, both or neither; ``authorities`` are trusted
    beside those of the system.
    """

    certificate: str | None = None
    key: str | None = None
    authorities: tuple[str, ...] = ()


class RedisServer(_Discreet, frozen=True):
    """Where a registry of Distribution keeps its descriptors.

    ``host`` may also be the absolute path of a socket, and then ``port`` is 0. Of a ``sentinel``
    or a ``cluster`` it is the first address that the section names.
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


class Endpoint(_Discreet, frozen=True):
    """Somebody to notify.

    After ``threshold`` failures in a row nothing is sent for ``backoff``. Events about a media
    type or an action that is ignored are not sent.
    """

    name: str
    url: str
    disabled: bool = False
    headers: dict[str, tuple[str, ...]] = {}
    timeout: float = 1.0
    threshold: int = 10
    backoff: float = 1.0
    ignored_media_types: tuple[str, ...] = ()
    ignored_actions: tuple[str, ...] = ()


class Notifications(msgspec.Struct, frozen=True):
    """Who is notified of pushes, pulls, mounts and deletes.

    With ``include_references`` the event of a manifest lists what it references.
    """

    endpoints: tuple[Endpoint, ...] = ()
    include_references: bool = False


class UrlRules(msgspec.Struct, frozen=True):
    """Which URLs the layers of a pushed manifest may name: regular expressions, found anywhere."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    enabled: bool = True

    def permits(self, url: str) -> bool:
        """Whether a manifest may name ``url``.

        Without ``allow`` and ``deny`` none may be named; with ``deny`` alone any other.
        """
        if not self.enabled:
            return True
        if not self.allow and not self.deny:
            return False
        if any(re.search(pattern, url, re.ASCII) for pattern in self.deny):
            return False
        return not self.allow or any(re.search(pattern, url, re.ASCII) for pattern in self.allow)


class StorageHealth(msgspec.Struct, frozen=True):
    """Whether the storage is probed; it is unhealthy after ``threshold`` failures in a row."""

    enabled: bool = False
    interval: float = 10.0
    threshold: int = 0


class FileCheck(msgspec.Struct, frozen=True):
    """Unhealthy as long as ``file`` exists."""

    file: Path
    interval: float = 10.0
    threshold: int = 0


class HttpCheck(_Discreet, frozen=True):
    """Unhealthy unless HEAD of ``uri`` is answered with ``status``; ``timeout`` 0 is none."""

    uri: str
    status: int = 200
    headers: dict[str, tuple[str, ...]] = {}
    timeout: float = 0.0
    interval: float = 10.0
    threshold: int = 0


class TcpCheck(msgspec.Struct, frozen=True):
    """Unhealthy unless ``addr`` takes a connection; ``timeout`` 0 is none."""

    addr: str
    timeout: float = 0.0
    interval: float = 10.0
    threshold: int = 0


class Health(msgspec.Struct, frozen=True):
    """The checks that run in the background."""

    storage: StorageHealth = StorageHealth()
    files: tuple[FileCheck, ...] = ()
    http: tuple[HttpCheck, ...] = ()
    tcp: tuple[TcpCheck, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """Bounds on what a client may take up.

    ``header_timeout`` is for all headers of a request, ``body_timeout`` for a silence within its
    body, ``keepalive_timeout`` for the pause between two requests.
    """

    manifest_bytes: int = 4 * MIB
    header_bytes: int = 64 * KIB
    header_timeout: float = 30.0
    body_timeout: float = 60.0
    keepalive_timeout: float = 75.0
    connections: int = 4096


class PullRecords(msgspec.Struct, frozen=True):
    """Whether pulls are written down, and which of them do not count.

    ``ignore_agents`` are patterns of user agents, ``ignore_users`` of users.
    ``across_restarts``: no other program serves the storage while this server is down.
    """

    enabled: bool = True
    ignore_agents: tuple["Pattern", ...] = ()
    ignore_users: tuple["Pattern", ...] = ()
    across_restarts: bool = False


class ScheduledRetention(msgspec.Struct, frozen=True):
    """A policy that the server prunes its storage by, and when.

    ``file`` is what ``policy`` was read from. ``undo_window`` is in seconds. ``collect``: a
    collection follows.
    """

    file: Path
    policy: "Policy"
    schedule: "Schedule"
    undo_window: float
    collect: bool = False


class Configuration(msgspec.Struct, frozen=True):
    """Everything that a configuration says, variables included.

    ``path`` is None without a file. ``catalog_max`` and ``tags_max`` are the most entries of one
    page. With ``protect_references`` nothing is deleted that a manifest still needs. ``access``
    empty: whoever is admitted may do everything. ``sparse_indexes``: either program takes indexes
    whose members are not all there. ``immutable`` are patterns of tags that are never pointed to
    another manifest, nor removed. ``warnings`` are sentences for the log.

    Of Distribution, where that runs on it: ``address`` is where it listens, None where that is not
    said, and ``secure`` whether it speaks TLS there. ``cache_of`` is the registry that it fetches
    images from, ``redis`` where it remembers blobs, and ``owners`` are programs that keep a part
    of the truth elsewhere.
    """

    storage: Storage
    path: Path | None = None
    http: Http = Http()
    log: Log = Log()
    auth: Htpasswd | Token | None = None
    notifications: Notifications = Notifications()
    health: Health = Health()
    urls: UrlRules = UrlRules()
    catalog_max: int = 1000
    tags_max: int = 1000
    protect_references: bool = True
    sparse_manifests: bool = False
    sparse_indexes: bool = False
    access: tuple[AccessRule, ...] = ()
    limits: Limits = Limits()
    workers: int = 1
    pulls: PullRecords = PullRecords()
    immutable: tuple["Pattern", ...] = ()
    retention: ScheduledRetention | None = None
    address: str | None = None
    secure: bool = False
    cache_of: str | None = None
    redis: RedisServer | None = None
    owners: tuple[Owner, ...] = ()
    warnings: tuple[str, ...] = ()


def _discreet(name: str, value: object) -> object:
    if name == "headers" and isinstance(value, dict):
        return dict.fromkeys(value, "…")
    if name == "password" and value is not None:
        return "…"
    if name in {"uri", "url"} and isinstance(value, str):
        return without_login(value)
    return value


def without_login(url: str) -> str:
    """Return ``url`` with ``…`` in place of a user name, password, query and fragment."""
    before, at, after = url.rpartition("@")
    if at:
        scheme, separator, _ = before.partition("://")
        url = f"{scheme}://…@{after}" if separator else f"…@{after}"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return url.partition("?")[0].partition("#")[0] + ("?…" if parts.query else "")
