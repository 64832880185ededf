"""The driver ``gcs``: which bucket of Google Cloud Storage it is, and who asks.

The keys are those of Distribution 2.8 and 3.x.
"""

import contextlib
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from jettison.configuration.buckets import StoreBucket, host_of, read_root
from jettison.configuration.section import Section
from jettison.errors import InvalidDocument
from jettison.model import strict_json

__all__ = ["GoogleBucket", "read_gcs"]

_URL: Final = "https://storage.googleapis.com"
_ITS_URL: Final = "gcs_base_url"
_PARTS: Final = ("client_email", "private_key", "private_key_id")
_LARGEST: Final = 64 * 1024


class GoogleBucket(StoreBucket, frozen=True):
    """A bucket of Google Cloud Storage; ``key`` is a service account's, as JSON.

    Without one the credentials are those of the environment.
    """

    store: ClassVar[str] = "Google Cloud Storage"
    deleting: ClassVar[str] = "storage.objects.delete"
    secrets: ClassVar[frozenset[str]] = frozenset({"key"})

    key: str | None = None

    @property
    def place(self) -> str:
        """``gs://bucket``."""
        return f"gs://{self.name}"


def read_gcs(section: Section) -> GoogleBucket:
    """Read the keys of the driver; what is wrong with one is noted in its section."""
    name = section.needed("bucket")
    if name and not (name.isascii() and name.isprintable() and not {*name} & set("/\\?#@: ")):
        section.bad("bucket", f"is {name[:80]!r}", "It is the name of a bucket, and no path.")
        name = ""
    key = _key(section)
    return GoogleBucket(
        name,
        _address(section, key),
        root=read_root(section),
        user_agent=section.text("useragent"),
        key=None if key is None else msgspec.json.encode(key).decode(),
    )


def _key(section: Section) -> dict[str, object] | None:
    """Return the service account's key; a file counts before what stands in the configuration."""
    path = section.path("keyfile")
    if path is not None:
        return _checked(section, "keyfile", _read(section, path))
    value = section.value("credentials")
    if value is None:
        return None
    return _checked(section, "credentials", value)


def _read(section: Section, path: Path) -> object:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST)
    except OSError as error:
        hint = "It is the JSON file of a service account's key."
        section.bad("keyfile", f"cannot be read: {error.strerror}", hint)
        return None
    with contextlib.suppress(InvalidDocument):
        return strict_json.decode(raw, object)
    return ""


def _checked(section: Section, key: str, value: object) -> dict[str, object] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(
        isinstance(one, str) and isinstance(value.get(one), str | None) for one in (*value, *_PARTS)
    ):
        section.bad(key, "is no service account's key", "It is what Google gives out as JSON.")
        return None
    missing = [one for one in _PARTS if not value.get(one)]
    if missing:
        found = f"has no {' and no '.join(missing)}"
        section.bad(key, found, "It is a service account's key; others do not sign URLs.")
        return None
    return dict(value)


def _address(section: Section, key: dict[str, object] | None) -> str:
    """Return where requests go: elsewhere only if the key says so, as an emulator's does."""
    found = (key or {}).get(_ITS_URL)
    if found is None:
        return _URL
    url = str(found).rstrip("/")
    if not url.startswith(("http://", "https://")) or host_of(url) is None:
        section.bad("credentials", f"has a {_ITS_URL} that is no address", "It is a URL.")
        return _URL
    return url
