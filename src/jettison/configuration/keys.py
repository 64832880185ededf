"""Every key of Distribution 2.8 and 3.x and of our own, and what Jettison does with it.

A name stands for everything below it, ``*`` for any name, ``[]`` for each entry of a list.
docs/configuration.md says the same, and a test compares the two.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple

import msgspec

from jettison.configuration.document import PREFIX, described, unknown_meaning
from jettison.configuration.problems import Problems
from jettison.configuration.storage import SUPPORTED, unknown_hint

__all__ = [
    "KEYS",
    "Key",
    "State",
    "check_keys",
    "refuse_driver",
    "split_variable",
    "unknown_variables",
]

State = Literal["supported", "needless", "ignored", "refused"]
"""``needless``: nothing to say. ``ignored``: warned of. ``refused``: the server does not start."""

_LONGEST: Final = 60
_GRAVE: Final = "is not known, and may change what the storage means"
_DRIVER: Final = "only the filesystem driver is supported"
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
    "storage.delete.enabled",
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
    "jettison.ignore",
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
    "storage.cache": "blobs are looked up in the storage, so nothing goes stale",
    "storage.filesystem.maxthreads": "the number of threads is bounded anyway",
    "storage.redirect": "clients are never sent elsewhere",
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
    "storage.azure": _DRIVER,
    "storage.gcs": _DRIVER,
    "storage.inmemory": _DRIVER,
    "storage.oss": _DRIVER,
    "storage.s3": _DRIVER,
    "storage.s3aws": _DRIVER,
    "storage.s3goamzn": _DRIVER,
    "storage.swift": _DRIVER,
    "validation.manifests.indexes.platforms": "a pushed index needs all its images, as with all",
}

KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _table()}


class _Node(msgspec.Struct):
    """A key's part in the tree of all keys."""

    children: dict[str, "_Node"] = msgspec.field(default_factory=dict)
    key: Key | None = None

    def below(self, name: str) -> "_Node | None":
        return self.children.get(name) or self.children.get("*")

    @property
    def ends(self) -> bool:
        """Whether it stands for everything below it."""
        return self.key is not None and self.key.state != "supported"


def _tree() -> _Node:
    root = _Node()
    for key in KEYS.values():
        node = root
        for part in key.name.replace("[]", ".[]").split("."):
            node = node.children.setdefault(part, _Node())
        node.key = key
    return root


_ROOT: Final = _tree()
_OURS: Final = frozenset(part for name in KEYS for part in name.split(".") if "_" in part)


def _places(node: _Node, name: str) -> Iterator[tuple[str, str]]:
    """Yield each key and section below, first by its own name."""
    for part, child in node.children.items():
        full = f"{name}{part}" if part == "[]" else f"{name}.{part}".lstrip(".")
        yield part, full
        yield from _places(child, full)


_ALL: Final = tuple(_places(_ROOT, ""))


def check_keys(document: Mapping[Any, Any], problems: Problems) -> None:
    """Report the keys of ``document`` that are unknown, ignored or refused."""
    _check(_ROOT, document, "", problems, frozenset(unknown_meaning(document)))


def _check(
    node: _Node, value: object, name: str, problems: Problems, grave: frozenset[str] = frozenset()
) -> None:
    """Check what is below a key; of unknown keys, ``grave`` ones are errors."""
    if value is None:
        return
    if node.ends:
        _check_unsupported(node.key, value, name, problems)
    elif "[]" in node.children:
        if not isinstance(value, list):
            problems.add(name, f"is {_kind(value)}", "It is a list.")
            return
        for index, item in enumerate(value):
            _check(node.children["[]"], item, f"{name}[{index}]", problems)
    elif node.children:
        if not isinstance(value, dict):
            problems.add(name, f"is {_kind(value)}", "It needs keys below it.")
            return
        _check_section(node, value, name, problems, grave)


def _check_section(
    node: _Node, section: dict[Any, Any], name: str, problems: Problems, grave: frozenset[str]
) -> None:
    for part, below in section.items():
        child = node.below(part) if isinstance(part, str) else None
        full = f"{name}.{_shown(part)}" if name else _shown(part)
        if child is not None:
            _check(child, below, full, problems, grave)
            continue
        near = _nearest(name, part, node)
        raw = f"{name}.{part}" if name else str(part)
        if raw in grave:
            problems.add(full, f"{_GRAVE}{near}", unknown_hint([full]))
        else:
            problems.warn(f"{full} is not known and has no effect{near}")


def _check_unsupported(key: Key | None, value: object, name: str, problems: Problems) -> None:
    if key is None or key.state == "needless" or _is_void(value) or _harmless(key, value):
        return
    what = f"is not supported: {key.reason}"
    if key.state == "refused":
        problems.add(name, what, "Remove it.")
    else:
        problems.warn(f"{name} {what}")


def refuse_driver(driver: str, problems: Problems) -> None:
    """Report a storage driver that is not supported, also one without any parameters."""
    if driver != SUPPORTED:
        name = f"storage.{driver}"
        problems.add(name, f"is not supported: {_DRIVER}", "Remove it.")


def _kind(value: object) -> str:
    """Describe a value that may hold a secret."""
    return "a text" if isinstance(value, str) else described(value)


def _is_void(value: object) -> bool:
    """Whether a value asks for nothing: empty, false, or a section of such."""
    if isinstance(value, dict):
        return all(not isinstance(v, dict) and _is_void(v) for v in value.values())
    return value is None or value is False or value in ("", []) or value == 0


def _harmless(key: Key, value: object) -> bool:
    return isinstance(value, str) and value.lower() in key.harmless


def _nearest(name: str, part: object, node: _Node) -> str:
    """Say which key was meant: one beside it that looks like it, or its namesake elsewhere."""
    if not isinstance(part, str):
        return ""
    near = get_close_matches(part.lower(), node.children, n=1, cutoff=0.7)
    meant = [f"{name}.{one}".lstrip(".") for one in near] or [
        full for namesake, full in _ALL if namesake == part.lower()
    ]
    return f"; did you mean {meant[0]}?" if len(meant) == 1 else ""


def _shown(part: object) -> str:
    text = part if isinstance(part, str) else described(part)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return text if text.isprintable() and text and " " not in text else repr(text)


def split_variable(name: str) -> list[str]:
    """Return the keys that a variable's name means, given in lower case and without the prefix.

    An underscore parts two keys, but where it belongs to a key below ``jettison``.
    """
    first, *rest = name.split("_")
    if first != "jettison":
        return [first, *rest]
    parts = [first]
    while rest:
        taken = next((n for n in range(len(rest), 1, -1) if "_".join(rest[:n]) in _OURS), 1)
        parts.append("_".join(rest[:taken]))
        rest = rest[taken:]
    return parts


def unknown_variables(variables: list[str], problems: Problems) -> frozenset[str]:
    """Return those ``REGISTRY_…`` variables that name no key, with a warning for each."""
    unknown = set()
    known = [f"{PREFIX}{_variable(name)}" for name in KEYS if "*" not in name]
    for variable in variables:
        if not _names_key(split_variable(variable.removeprefix(PREFIX).lower())):
            unknown.add(variable)
            near = get_close_matches(variable, known, n=1, cutoff=0.85)
            meant = f"; did you mean {near[0]}?" if near else ""
            shown = _shown(variable)
            problems.warn(f"the variable {shown} is not known and has no effect{meant}")
    return frozenset(unknown)


def _variable(name: str) -> str:
    return name.upper().replace(".", "_").replace("[]", "_0")


def _names_key(parts: list[str]) -> bool:
    node = _ROOT
    for part in parts:
        if node.ends:
            return True
        child = node.below(part)
        if child is None and part.isdecimal():
            child = node.children.get("[]", None if node.children else node)
        if child is None:
            return False
        node = child
    return True
