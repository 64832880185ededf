"""Every key of Distribution 2.8 and 3.x and of our own, and what Jettison does with it.

A name stands for everything below it, ``*`` for any name, ``[]`` for each entry of a list.
docs/configuration.md says the same, and a test compares the two.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

import msgspec

from jettison.configuration.document import described
from jettison.configuration.problems import Problems, Scope

__all__ = ["DRIVER", "KEYS", "NEEDS_KEYS", "ROOT", "Key", "State", "check_keys", "kind", "shown"]

State = Literal["supported", "needless", "ignored", "refused"]
"""``needless``: nothing to say. ``ignored``: warned of. ``refused``: the server does not start."""

_LONGEST: Final = 60
NEEDS_KEYS: Final = "It needs keys below it."
_GRAVE: Final = "is not known, and may change what the storage means"
_TELLING: Final = frozenset(
    {"", *(f"storage.{name}" for name in ("azure", "filesystem", "gcs", "s3", "s3aws"))}
)
"""Sections whose unknown keys may tell that the tree is not what it seems: a fork may keep its
metadata elsewhere, and a misspelt ``rootdirectory`` names another tree."""
_STRICT: Final = "jettison.retention"
"""The section whose unknown keys are errors for a server: what it does by itself is as meant."""
_ALIASES: Final = {"s3aws": "s3"}
"""Other names of drivers, which have the same keys."""
_FORKS: Final = frozenset({"gc", "migration", "profiling", "rate_limiter"})
"""Top-level keys of GitLab's fork that are harmless; its ``database`` is not."""
DRIVER: Final = "only the drivers azure, filesystem, gcs and s3 are supported"
_SIZES: Final = "requests have sizes of our own"
_LIMITS: Final = (
    *("body_timeout", "connections", "header_bytes", "header_timeout", "keepalive_timeout"),
    "manifest_bytes",
)


class Key(NamedTuple):
    """One key; ``reason`` completes "… is not supported: "."""

    name: str
    state: State
    reason: str = ""
    harmless: tuple[str, ...] = ()
    """Values, in lower case, that ask for nothing else than what happens anyway."""


def _table() -> Iterator[Key]:
    for name in _SUPPORTED:
        yield Key(name, "supported")
    for name, reason in _NEEDLESS.items():
        yield Key(name, "needless", reason)
    for name, reason in _IGNORED.items():
        yield Key(name, "ignored", reason)
    for name, reason in _REFUSED.items():
        harmless = ("all",) if name == "validation.manifests.indexes.platforms" else ()
        yield Key(name, "refused", reason, harmless)


_SUPPORTED: Final = (
    "version",
    "loglevel",
    *(f"log.{name}" for name in ("level", "formatter", "fields.*", "accesslog.disabled")),
    "storage.filesystem.rootdirectory",
    *(f"storage.s3.{name}" for name in ("bucket", "rootdirectory", "region", "regionendpoint")),
    *(f"storage.s3.{name}" for name in ("accesskey", "secretkey", "forcepathstyle", "secure")),
    *(f"storage.s3.{name}" for name in ("skipverify", "useragent", "v4auth", "accelerate")),
    *(f"storage.s3.{name}" for name in ("usedualstack", "usefipsendpoint", "encrypt", "keyid")),
    *(f"storage.azure.{name}" for name in ("accountname", "accountkey", "container", "realm")),
    *(f"storage.azure.{name}" for name in ("rootdirectory", "serviceurl", "skipverify")),
    *(f"storage.azure.{name}" for name in ("legacyrootprefix", "trimlegacyrootprefix")),
    *(f"storage.azure.credentials.{name}" for name in ("type", "clientid", "tenantid", "secret")),
    *(f"storage.gcs.{name}" for name in ("bucket", "rootdirectory", "keyfile", "credentials")),
    "storage.gcs.useragent",
    "storage.delete.enabled",
    "storage.redirect.disable",
    "storage.maintenance.readonly.enabled",
    *(
        f"storage.maintenance.uploadpurging.{name}"
        for name in ("enabled", "age", "interval", "dryrun")
    ),
    "auth.none",
    *(f"auth.htpasswd.{name}" for name in ("realm", "path")),
    *(f"auth.token.{name}" for name in ("realm", "service", "issuer", "rootcertbundle", "jwks")),
    *(f"auth.token.{name}" for name in ("signingalgorithms", "autoredirect", "autoredirectpath")),
    *(f"http.{name}" for name in ("addr", "net", "host", "prefix", "relativeurls")),
    *(f"http.{name}" for name in ("draintimeout", "headers.*")),
    *(f"http.tls.{name}" for name in ("certificate", "key", "clientcas", "clientauth")),
    *(f"http.tls.{name}" for name in ("minimumtls", "ciphersuites")),
    *(f"http.debug.{name}" for name in ("addr", "prometheus.enabled", "prometheus.path")),
    "notifications.events.includereferences",
    *(f"notifications.endpoints[].{name}" for name in ("name", "disabled", "url", "headers.*")),
    *(f"notifications.endpoints[].{name}" for name in ("timeout", "threshold", "backoff")),
    "notifications.endpoints[].ignoredmediatypes",
    *(f"notifications.endpoints[].ignore.{name}" for name in ("mediatypes", "actions")),
    *(f"health.storagedriver.{name}" for name in ("enabled", "interval", "threshold")),
    *(f"health.file[].{name}" for name in ("file", "interval", "threshold")),
    *(f"health.http[].{name}" for name in ("uri", "headers.*", "statuscode", "timeout")),
    *(f"health.http[].{name}" for name in ("interval", "threshold")),
    *(f"health.tcp[].{name}" for name in ("addr", "timeout", "interval", "threshold")),
    "catalog.maxentries",
    "tags.maxtags",
    "validation.disabled",
    *(f"validation.manifests.urls.{name}" for name in ("allow", "deny")),
    *(f"jettison.{name}" for name in ("protect_references", "sparse_manifests", "workers")),
    *(f"jettison.{name}" for name in ("ignore", "immutable")),
    *(f"jettison.pulls.{name}" for name in ("enabled", "ignore_agents", "ignore_users")),
    "jettison.pulls.across_restarts",
    *(f"jettison.retention.{name}" for name in ("policy", "schedule", "time_zone", "undo_window")),
    "jettison.retention.collect",
    *(f"jettison.access[].{name}" for name in ("users", "repositories", "actions")),
    *(f"jettison.limits.{name}" for name in _LIMITS),
)

_NEEDLESS: Final = {
    "http.secret": "the state of an upload is in the storage, and never with the client",
    "http.http2": "HTTP/1.1 is spoken, as with disabled: true",
    "log.reportcaller": "log lines name no place in the source",
    "proxy.cachewritetimeout": "it belongs to proxy.remoteurl",
    "proxy.exec": "it belongs to proxy.remoteurl",
    "proxy.password": "it belongs to proxy.remoteurl",
    "proxy.remotenamespace": "it belongs to proxy.remoteurl",
    "proxy.ttl": "it belongs to proxy.remoteurl",
    "proxy.username": "it belongs to proxy.remoteurl",
    "storage.azure.max_retries": "a copy is waited for as long as it goes on",
    "storage.azure.retry_delay": "a copy is waited for as long as it goes on",
    "storage.cache": "blobs are looked up in the storage, so nothing goes stale",
    "storage.filesystem.maxthreads": "the number of threads is bounded anyway",
    "storage.gcs.chunksize": _SIZES,
    "storage.gcs.maxconcurrency": "the number of requests at a time is bounded anyway",
    "storage.s3.chunksize": _SIZES,
    "storage.s3.loglevel": "the requests to the store are not logged",
    "storage.s3.multipartcopychunksize": _SIZES,
    "storage.s3.multipartcopymaxconcurrency": _SIZES,
    "storage.s3.multipartcopythresholdsize": _SIZES,
    "storage.s3.objectacl": "objects are as private as the bucket makes them",
    "storage.s3.redirectendpoint": "clients are referred to regionendpoint",
    "storage.s3.storageclass": "objects have the class that the bucket gives them",
    "storage.tag": "tags are looked up in one go",
    "validation.enabled": "only validation.disabled counts, in 2.8 too",
    "validation.manifests.indexes.platformlist": "it belongs to platforms: list",
}

_IGNORED: Final = {
    "database.*": "no database is used",
    "compatibility.schema1.signingkeyfile": "images of schema 1 are not served",
    "compatibility.schema1.trustkey": "images of schema 1 are not served",
    "http.h2c": "only HTTP/1.1 is spoken",
    "log.hooks": "no mail is sent; the log goes to standard error",
    "redis": "no Redis is used; another registry that caches in it does not hear of deletions",
    "storage.azure.connectionstring": "accountname and accountkey are what counts, in 3.1 too",
    "reporting": "no errors are sent elsewhere",
}

_REFUSED: Final = {
    "database.enabled": "which images exist is in the storage alone, and in no database",
    "auth.silly": "it lets everyone in",
    "compatibility.schema1.enabled": "images of schema 1 are not served",
    "http.tls.letsencrypt": "certificates are not ordered; name files that another program renews",
    "middleware": "there are no such extensions",
    "policy.repository.classes": "kinds of images are not told apart",
    "proxy.remoteurl": "it is no cache of another registry",
    "storage.inmemory": DRIVER,
    "storage.oss": DRIVER,
    "storage.s3goamzn": DRIVER,
    "storage.swift": DRIVER,
    "validation.manifests.indexes.platforms": "a pushed index needs all its images, as with all",
}

KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _table()}


class Node(msgspec.Struct):
    """A key's part in the tree of all keys."""

    children: dict[str, "Node"] = msgspec.field(default_factory=dict)
    key: Key | None = None

    def below(self, name: str) -> "Node | None":
        return self.children.get(name) or self.children.get("*")

    @property
    def ends(self) -> bool:
        """Whether it stands for everything below it."""
        return self.key is not None and self.key.state != "supported"


def _tree() -> Node:
    root = Node()
    for key in KEYS.values():
        node = root
        for part in key.name.replace("[]", ".[]").split("."):
            node = node.children.setdefault(part, Node())
        node.key = key
    drivers = root.children["storage"].children
    drivers.update({name: drivers[same] for name, same in _ALIASES.items()})
    return root


ROOT: Final = _tree()


def _places(node: Node, name: str) -> Iterator[tuple[str, str]]:
    """Yield each key and section below, first by its own name."""
    for part, child in node.children.items():
        full = f"{name}{part}" if part == "[]" else f"{name}.{part}".lstrip(".")
        yield part, full
        yield from _places(child, full)


_ALL: Final = tuple(_places(ROOT, ""))


def check_keys(document: Mapping[Any, Any], problems: Problems) -> None:
    """Report the keys of ``document`` that are unknown, ignored or refused.

    ``jettison.ignore`` lists unknown ones that its owner knows to be harmless.
    """
    ours = document.get("jettison")
    ignored = ours.get("ignore") if isinstance(ours, dict) else None
    names = ignored if isinstance(ignored, list) else filter(None, [ignored])
    _check(ROOT, document, "", problems, frozenset(map(str, names)))


def _check(
    node: Node, value: object, name: str, problems: Problems, ignored: frozenset[str]
) -> None:
    if value is None:
        return
    if node.ends:
        _check_unsupported(node.key, value, name, problems)
    elif "[]" in node.children:
        if not isinstance(value, list):
            problems.add(name, f"is {kind(value)}", "It is a list.", "serving")
            return
        for index, item in enumerate(value):
            _check(node.children["[]"], item, f"{name}[{index}]", problems, ignored)
    elif node.children:
        if not isinstance(value, dict):
            problems.add(name, f"is {kind(value)}", NEEDS_KEYS, "serving")
            return
        _check_section(node, value, name, problems, ignored)


def _check_section(
    node: Node, section: dict[Any, Any], name: str, problems: Problems, ignored: frozenset[str]
) -> None:
    for part, below in section.items():
        child = node.below(part) if isinstance(part, str) else None
        full = f"{name}.{shown(part)}" if name else shown(part)
        if child is not None:
            _check(child, below, full, problems, ignored)
            continue
        near = _nearest(name, part, node)
        if name in _TELLING and not _is_harmless(name, part, ignored):
            problems.add(full, f"{_GRAVE}{near}", _unknown_hint(full), "opening")
        elif name == _STRICT:
            allowed = f"Keys are {', '.join(node.children)}."
            problems.add(full, f"is not known{near}", allowed, "serving")
        else:
            problems.warn(f"{problems.subject(full)} is not known and has no effect{near}")


def _is_harmless(name: str, part: object, ignored: frozenset[str]) -> bool:
    """Whether an unknown key means nothing; YAML's anchors are kept below ``x-…`` or a dot."""
    full = f"{name}.{part}" if name else str(part)
    return full in ignored or full in _FORKS or full.startswith(("x-", "."))


def _unknown_hint(key: str) -> str:
    return f"Mend or remove it; if it is harmless, set jettison.ignore: [{key}] in that file."


def _check_unsupported(key: Key | None, value: object, name: str, problems: Problems) -> None:
    if key is None or key.state == "needless" or _is_void(value) or _harmless(key, value):
        return
    what = f"is not supported: {key.reason}"
    if key.state == "refused":
        scope: Scope = "opening" if key.reason == DRIVER else "serving"
        problems.add(name, what, "Remove it.", scope)
    else:
        problems.warn(f"{problems.subject(name)} {what}")


def kind(value: object) -> str:
    """Describe a value that may hold a secret."""
    return "a text" if isinstance(value, str) else described(value)


def _is_void(value: object) -> bool:
    """Whether a value asks for nothing: empty, false, or a section of such."""
    if isinstance(value, dict):
        return all(not isinstance(v, dict) and _is_void(v) for v in value.values())
    return value is None or value is False or value in ("", []) or value == 0


def _harmless(key: Key, value: object) -> bool:
    return isinstance(value, str) and value.lower() in key.harmless


def _nearest(name: str, part: object, node: Node) -> str:
    """Say which key was meant: one beside it that looks like it, or its namesake elsewhere."""
    if not isinstance(part, str):
        return ""
    near = get_close_matches(part.lower(), node.children, n=1, cutoff=0.7)
    meant = [f"{name}.{one}".lstrip(".") for one in near] or [
        full for namesake, full in _ALL if namesake == part.lower()
    ]
    return f"; did you mean {meant[0]}?" if len(meant) == 1 else ""


def shown(part: object) -> str:
    """Return a key as messages say it: quoted where it is odd, and not in full where it is long."""
    text = part if isinstance(part, str) else described(part)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return text if text.isprintable() and text and " " not in text else repr(text)
