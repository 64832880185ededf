"""What all buckets have in common, whichever store they are of, and how their keys are read."""

import hashlib
from typing import ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from jettison.configuration.section import Section

__all__ = ["StoreBucket", "host_of", "read_flag", "read_root"]

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
"""What Go's strconv.ParseBool takes, and so these drivers, also in quotes."""
_MISTAKEN: Final = frozenset({"", ".", ".."})


class StoreBucket(msgspec.Struct, frozen=True):
    """A bucket of some store.

    ``root`` is what all keys begin with, without a slash at either end. ``url`` is where requests
    go. ``verify`` is False where any certificate will do. No secret is in a representation.
    """

    store: ClassVar[str]
    """What it is, for people: ``S3``."""
    deleting: ClassVar[str]
    """The right that removing objects needs."""
    secrets: ClassVar[frozenset[str]] = frozenset()

    name: str
    url: str
    root: str = ""
    verify: bool = True
    user_agent: str | None = None

    @property
    def place(self) -> str:
        """The name of the bucket for people, without the root."""
        raise NotImplementedError

    @property
    def location(self) -> str:
        """The name for people: ``s3://bucket/root``."""
        return f"{self.place}/{self.root}".rstrip("/")

    @property
    def identity(self) -> str:
        """What tells it from any other bucket, and where it is to nobody: 32 hex digits."""
        text = f"{self.url}\n{self.name}\n{self.root}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __rich_repr__(self) -> list[tuple[str, object]]:
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        hidden = {name for name in self.secrets if found[name] is not None}
        return [(name, "…" if name in hidden else value) for name, value in found.items()]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


def read_root(section: Section) -> str:
    """Read ``rootdirectory``: what all keys begin with, without a slash at either end."""
    root = (section.text("rootdirectory") or "").strip("/")
    if root and (not root.isprintable() or not _MISTAKEN.isdisjoint(root.split("/"))):
        found = f"is {root[:80]!r}"
        section.bad("rootdirectory", found, "It is a path without empty parts, . or .. in it.")
        return ""
    return root


def read_flag(section: Section, key: str, *, default: bool) -> bool:
    """Read true or false, also in quotes."""
    value = section.value(key)
    if isinstance(value, str) and value in _TRUE | _FALSE:
        return value in _TRUE
    return section.flag(key, default=default)


def host_of(endpoint: str) -> str | None:
    """Return the host of an address; None if it has none, or anything that is not to be there."""
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        return None
    strange = parts.query or parts.fragment or "@" in parts.netloc or not endpoint.isprintable()
    return None if strange or " " in endpoint else parts.hostname
