"""The endpoint of a path: the distribution specification's, Distribution's catalog, one of ours.

A repository's name may contain words such as ``manifests`` or ``blobs``, so paths are read from
their end. Handlers check names and references: a path with the form of an endpoint is one, and a
wrong name in it is an error of its own.
"""

import enum
import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Endpoint", "Route", "clean_path", "find_route"]

_LONGEST_CACHED: Final = 256
_CACHED: Final = 4096
_WITH_SLASH: Final = frozenset({"/", "/v2/"})


class Endpoint(enum.StrEnum):
    """The endpoints; the values are their names in logs and metrics."""

    ROOT = "root"
    BASE = "base"
    CATALOG = "catalog"
    TAGS = "tags"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    REFERRERS = "referrers"
    IMAGES = "images"
    OTHER = "other"


class Route(NamedTuple):
    """An endpoint, with the repository and the last part (tag, digest, upload) as sent."""

    endpoint: Endpoint
    repository: str = ""
    reference: str = ""


_ROOT: Final = Route(Endpoint.ROOT)
_BASE: Final = Route(Endpoint.BASE)
_CATALOG: Final = Route(Endpoint.CATALOG)
_OTHER: Final = Route(Endpoint.OTHER)
_BY_WORD: Final = {
    "manifests": Endpoint.MANIFEST,
    "blobs": Endpoint.BLOB,
    "referrers": Endpoint.REFERRERS,
}


_SLASHES: Final = re.compile(r"//+")


def clean_path(path: str) -> str | None:
    """Return the path without superfluous slashes; None if it has none.

    Distribution redirects the client there.
    """
    if "//" not in path and (not path.endswith("/") or path in _WITH_SLASH):
        return None
    clean = _SLASHES.sub("/", path)
    if clean not in _WITH_SLASH and not clean.endswith("/blobs/uploads/"):
        clean = clean.rstrip("/")
    return None if clean == path or find_route(clean).endpoint is Endpoint.OTHER else clean


def find_route(path: str) -> Route:
    """Return the route of a path that begins with ``/`` and is unescaped."""
    # Clients ask for the same again and again; what a hostile one makes up is not worth keeping.
    return _known(path) if len(path) <= _LONGEST_CACHED else _find(path)


def _find(path: str) -> Route:
    if not path.startswith("/v2/"):
        return {"/": _ROOT, "/v2": _BASE}.get(path, _OTHER)
    rest = path[4:]
    if rest in {"", "_catalog"}:
        return _CATALOG if rest else _BASE
    if rest.endswith(("/blobs/uploads/", "/blobs/uploads")):
        name = rest.removesuffix("/").removesuffix("/blobs/uploads")
        return Route(Endpoint.UPLOADS, name)
    name, _, last = rest.rpartition("/")
    name, _, word = name.rpartition("/")
    if not name or not last:
        return _OTHER
    if word == "tags" and last == "list":
        return Route(Endpoint.TAGS, name)
    if word == "_jettison" and last == "images":
        return Route(Endpoint.IMAGES, name)
    if word == "uploads" and name.endswith("/blobs"):
        return Route(Endpoint.UPLOAD, name.removesuffix("/blobs"), last)
    endpoint = _BY_WORD.get(word)
    return _OTHER if endpoint is None else Route(endpoint, name, last)


_known: Final = lru_cache(_CACHED)(_find)
