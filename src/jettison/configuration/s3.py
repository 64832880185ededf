"""The driver ``s3``: which bucket it is, and how its store is reached.

The keys are those of Distribution 2.8 and 3.x. What they mean follows its driver
(``registry/storage/driver/s3-aws``), but for ``forcepathstyle``: without that key, 2.8 addresses
a bucket by path where there is an endpoint, and 3.x by host. By path is what nearly all stores with
an endpoint of their own understand, and is taken here.
"""

import hashlib
from typing import Final
from urllib.parse import urlsplit

import msgspec

from jettison.configuration.section import Section

__all__ = ["S3Bucket", "read_s3"]

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
"""What Go's strconv.ParseBool takes, and so this driver, also in quotes."""
_ANY_REGION: Final = "us-east-1"
_SCHEMES: Final = frozenset({"http", "https"})
_MISTAKEN: Final = frozenset({"", ".", ".."})


class S3Bucket(msgspec.Struct, frozen=True):
    """A bucket of a store that speaks S3.

    ``root`` is what all keys begin with, without a slash at either end. ``url`` is where requests
    go: with ``by_host`` the bucket's own host. ``access_key`` and ``secret_key`` are both there or
    neither is. ``verify`` is False where any certificate will do. ``encryption`` is how the store
    encrypts what is put, ``AES256`` or ``aws:kms`` with the key ``key_id``. The secret is in no
    representation.
    """

    name: str
    url: str
    region: str = _ANY_REGION
    by_host: bool = False
    root: str = ""
    access_key: str | None = None
    secret_key: str | None = None
    verify: bool = True
    user_agent: str | None = None
    encryption: str | None = None
    key_id: str | None = None

    @property
    def location(self) -> str:
        """The name for people: ``s3://bucket/root``."""
        return f"s3://{self.name}/{self.root}".rstrip("/")

    @property
    def identity(self) -> str:
        """What tells it from any other bucket, and where it is to nobody: 32 hex digits."""
        text = f"{self.url}\n{self.name}\n{self.root}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __rich_repr__(self) -> list[tuple[str, object]]:
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return [(name, "…" if name == "secret_key" else found[name]) for name in found]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


def read_s3(section: Section) -> S3Bucket:
    """Read the keys of the driver; what is wrong with one is noted in its section."""
    name = section.needed("bucket")
    if not _is_bucket(name):
        section.bad("bucket", f"is {name[:80]!r}", "It is the name of a bucket, and no path.")
        name = ""
    access_key = section.text("accesskey", secret=True)
    secret_key = section.text("secretkey", secret=True)
    if (access_key is None) != (secret_key is None):
        missing = "accesskey" if access_key is None else "secretkey"
        hint = "Give both keys, or neither to take the credentials of the environment."
        section.bad(missing, "is missing", hint)
    if not _flag(section, "v4auth", default=True):
        section.bad("v4auth", "is false", "Signatures of version 2 are not spoken; remove it.")
    url, by_host = _address(section, name)
    key_id = section.text("keyid")
    encryption = None
    if _flag(section, "encrypt", default=False):
        encryption = "AES256" if key_id is None else "aws:kms"
    return S3Bucket(
        name,
        url,
        region=section.text("region") or _ANY_REGION,
        by_host=by_host,
        root=_root(section),
        access_key=access_key,
        secret_key=secret_key,
        verify=not _flag(section, "skipverify", default=False),
        user_agent=section.text("useragent"),
        encryption=encryption,
        key_id=key_id if encryption else None,
    )


def _is_bucket(name: str) -> bool:
    return not name or (name.isascii() and name.isprintable() and not {*name} & set("/\\?#@: "))


def _root(section: Section) -> str:
    root = (section.text("rootdirectory") or "").strip("/")
    if root and (not root.isprintable() or not _MISTAKEN.isdisjoint(root.split("/"))):
        found = f"is {root[:80]!r}"
        section.bad("rootdirectory", found, "It is a path without empty parts, . or .. in it.")
        return ""
    return root


def _address(section: Section, bucket: str) -> tuple[str, bool]:
    """Return the URL to send requests to, and whether it is the bucket's own."""
    scheme = "https" if _flag(section, "secure", default=True) else "http"
    endpoint = section.text("regionendpoint", secret=True)
    if endpoint is None:
        return _of_amazon(section, bucket, scheme)
    if "://" in endpoint:
        scheme, _, endpoint = endpoint.partition("://")
    endpoint = endpoint.rstrip("/")
    parts = _split(f"//{endpoint}")
    if scheme not in _SCHEMES or parts is None:
        hint = "It is HOST:PORT or a URL of http or https, without a login."
        section.bad("regionendpoint", "is no address", hint)
        return "", False
    if _flag(section, "forcepathstyle", default=True):
        return f"{scheme}://{endpoint}", False
    return f"{scheme}://{bucket}.{endpoint}", True


def _split(endpoint: str) -> str | None:
    """Return the host of an address; None if it has none, or anything that is not to be there."""
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        return None
    strange = parts.query or parts.fragment or "@" in parts.netloc or not endpoint.isprintable()
    return None if strange or " " in endpoint else parts.hostname


def _of_amazon(section: Section, bucket: str, scheme: str) -> tuple[str, bool]:
    region = section.text("region")
    if region is None:
        hint = "Name the region of the bucket, or the store's address in regionendpoint."
        section.bad("region", "is missing", hint)
        region = _ANY_REGION
    elif not region.replace("-", "").isalnum():
        section.bad("region", f"is {region[:80]!r}", "It is the name of a region.")
        region = _ANY_REGION
    fips = "-fips" if _flag(section, "usefipsendpoint", default=False) else ""
    stack = ".dualstack" if _flag(section, "usedualstack", default=False) else ""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if _flag(section, "accelerate", default=False):
        return f"{scheme}://{bucket}.s3-accelerate{stack}.{domain}", True
    host = f"s3{fips}{stack}.{region}.{domain}"
    # No certificate of Amazon's is for a name with more dots.
    dotted = "." in bucket and scheme == "https"
    if dotted or _flag(section, "forcepathstyle", default=False):
        return f"{scheme}://{host}", False
    return f"{scheme}://{bucket}.{host}", True


def _flag(section: Section, key: str, *, default: bool) -> bool:
    value = section.value(key)
    if isinstance(value, str) and value in _TRUE | _FALSE:
        return value in _TRUE
    return section.flag(key, default=default)
