"""The sections ``storage`` and ``redis``, and whose a storage is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, get_args

from jettison.configuration.addresses import parse_address
from jettison.configuration.azure import read_azure
from jettison.configuration.buckets import StoreBucket
from jettison.configuration.document import described
from jettison.configuration.gcs import read_gcs
from jettison.configuration.keys import DRIVER
from jettison.configuration.s3 import read_s3
from jettison.configuration.section import Section
from jettison.configuration.settings import (
    DEFAULT_ROOT,
    SUPPORTED,
    Cache,
    Deployment,
    RedisServer,
    RedisTls,
    Storage,
    UploadPurging,
    without_login,
)
from jettison.errors import ConfigurationError
from jettison.model.plausibility import CACHE, GITLAB, Owner

__all__ = ["DRIVERS", "check_version", "read_owners", "read_redis", "read_storage"]

VERSION: Final = "0.1"
DRIVERS: Final = frozenset(
    {"azure", "filesystem", "gcs", "inmemory", "oss", "s3", "s3aws", "s3goamzn", "swift"}
)
_BUCKETS: Final[Mapping[str, Callable[[Section], StoreBucket]]] = {
    "azure": read_azure,
    "gcs": read_gcs,
    "s3": read_s3,
    "s3aws": read_s3,
}
_NOT_DRIVERS: Final = frozenset({"cache", "delete", "maintenance", "redirect", "tag"})
_CACHES: Final[tuple[Cache, ...]] = get_args(Cache)
_HARBOR_REALM: Final = "harbor-registry-basic-realm"
_HARBOR_SERVICE: Final = "harbor-registry"
_HARBOR_TOKENS: Final = "/service/token"


def check_version(top: Section) -> None:
    """Report a version other than that of every configuration of Distribution."""
    value = top.value("version")
    if not top.holds("version"):
        top.bad(
            "version", "is missing", f"A registry's configuration begins with: version: {VERSION}"
        )
    elif described(value) not in {VERSION, described(VERSION)}:
        top.bad("version", f"is {described(value)}", f"Only {VERSION} is known.")


def read_storage(top: Section) -> Storage:
    """Read which storage it is, and what may be done to it."""
    section = top.section("storage")
    maintenance = section.section("maintenance")
    purging = maintenance.section("uploadpurging").only("serving")
    default = UploadPurging()
    # "layerinfo" is what it was called before.
    cache = section.only("storage").section("cache")
    key = "blobdescriptor" if cache.holds("blobdescriptor") else "layerinfo"
    driver = _driver(section)
    read_bucket = _BUCKETS.get(driver)
    return Storage(
        driver=driver,
        bucket=read_bucket(section.only("opening").section(driver)) if read_bucket else None,
        root=_root(section.section(SUPPORTED)),
        delete_enabled=section.section("delete").only("serving").flag("enabled", default=False),
        readonly=maintenance.section("readonly").only("serving").flag("enabled", default=False),
        purging=UploadPurging(
            enabled=purging.flag("enabled", default=default.enabled),
            age=purging.seconds("age", default.age),
            interval=purging.seconds("interval", default.interval, zero=False),
            dry_run=purging.flag("dryrun", default=default.dry_run),
        ),
        cache=cache.choice(key, _CACHES, None),
        redirect=not section.section("redirect").only("serving").flag("disable", default=False),
    )


def _driver(section: Section) -> str:
    drivers = [name for name in section.names() if name not in _NOT_DRIVERS]
    if len(drivers) == 1 and drivers[0] in DRIVERS:
        if drivers[0] not in {SUPPORTED, *_BUCKETS}:
            section.only("opening").bad(drivers[0], f"is not supported: {DRIVER}", "Remove it.")
        return drivers[0]
    known = ", ".join(sorted(DRIVERS))
    if not drivers:
        section.bad("", "names no driver", f"One of {known}.")
    elif len(drivers) > 1:
        names = " and ".join(section.quoted(name) for name in drivers)
        allowed = "Exactly one driver may stand there; remove the other (or its variable)."
        section.bad("", f"names {len(drivers)} drivers, {names}", allowed)
    else:
        name = section.quoted(drivers[0])
        section.bad("", f"names the unknown driver {name}", f"Known are {known}.")
    return SUPPORTED


def _root(section: Section) -> Path:
    root = section.value("rootdirectory")
    if root is None:
        return DEFAULT_ROOT
    if not isinstance(root, str) or not root or "\0" in root:
        section.bad("rootdirectory", f"is {described(root)}", "It is the path of a folder.")
        return DEFAULT_ROOT
    return Path(root)


def read_redis(section: Section) -> RedisServer | None:
    """Read what 2.x (``addr``) or 3.x (``addrs``) says; where both stand, 3.x's counts."""
    addresses = section.texts("addrs", secret=True)
    found = [_address(section, f"addrs[{index}]", text) for index, text in enumerate(addresses)]
    if not addresses:
        single = section.text("addr", secret=True)
        found = [] if single is None else [_address(section, "addr", single)]
    if not found:
        return None
    deployment: Deployment = "single"
    if section.value("mastername"):
        deployment = "sentinel"
    elif len(found) > 1 or section.value("isclustermode") is True:
        deployment = "cluster"
    host, port = found[0]
    return RedisServer(
        host,
        port,
        username=section.text("username", secret=True),
        password=section.text("password", secret=True),
        db=section.whole("db", 0),
        tls=_redis_tls(section.section("tls")),
        deployment=deployment,
    )


def _address(section: Section, key: str, text: str) -> tuple[str, int]:
    if text.startswith("/"):
        return text, 0
    with suppress(ConfigurationError):
        host, port = parse_address(text)
        if port:
            return host or "localhost", port
    login, at, rest = text.rpartition("@")
    shown = f"…@{rest}" if login or at else rest
    section.bad(key, f"is {shown[:80]!r}", "It is HOST:PORT, such as localhost:6379.")
    return "", 0


def _redis_tls(section: Section) -> RedisTls | None:
    certificate, key = section.text("certificate"), section.text("key")
    if (certificate is None) != (key is None):
        missing = "certificate" if certificate is None else "key"
        allowed = "The client's certificate and its key stand there together, or neither does."
        section.bad(missing, "is missing", allowed)
    # 3.0 called them clientcas; rootcas came later and alone ask for TLS (4668, 4770).
    roots, others = section.texts("rootcas"), section.texts("clientcas")
    if certificate is None and not roots and section.value("enabled") is not True:
        return None
    return RedisTls(certificate, key, (*roots, *others))


def read_owners(top: Section) -> Iterator[Owner]:
    """Yield the programs that keep a part of the truth elsewhere, by their marks."""
    # "prefer" and whatever comes later count as true.
    if top.section("database").value("enabled") not in (False, None, "", "false"):
        yield Owner(GITLAB, "database.enabled in the configuration")
    if remote := top.section("proxy").text("remoteurl", secret=True):
        yield Owner(CACHE, f"proxy.remoteurl is {without_login(remote)}", knows=False)
    auth = top.only("serving").section("auth")
    basic, token = auth.section("htpasswd"), auth.section("token")
    if basic.value("realm") == _HARBOR_REALM:
        yield Owner("Harbor", f"auth.htpasswd.realm is {_HARBOR_REALM}")
    elif token.value("service") == _HARBOR_SERVICE:
        yield Owner("Harbor", f"auth.token.service is {_HARBOR_SERVICE}")
    elif str(token.value("realm")).rstrip("/").endswith(_HARBOR_TOKENS):
        yield Owner("Harbor", f"auth.token.realm ends with {_HARBOR_TOKENS}")
