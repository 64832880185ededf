"""The driver ``s3``: which bucket it is, and how its store is reached.

The keys are those of Distribution 2.8 and 3.x. What they mean follows its driver
(``registry/storage/driver/s3-aws``), but for ``forcepathstyle``: without that key, 2.8 addresses
a bucket by path where there is an endpoint, and 3.x by host. By path is what nearly all stores with
an endpoint of their own understand, and is taken here.
"""

from typing import ClassVar, Final

from jettison.configuration.buckets import StoreBucket, host_of, read_flag, read_root
from jettison.configuration.section import Section

__all__ = ["S3Bucket", "read_s3"]

_ANY_REGION: Final = "us-east-1"
_SCHEMES: Final = frozenset({"http", "https"})


class S3Bucket(StoreBucket, frozen=True):
    """A bucket of a store that speaks S3.

    With ``by_host`` the URL has the bucket's own host. ``access_key`` and ``secret_key`` are both
    there or neither is. ``encryption`` is how the store encrypts what is put, ``AES256`` or
    ``aws:kms`` with the key ``key_id``.
    """

    store: ClassVar[str] = "S3"
    deleting: ClassVar[str] = "s3:DeleteObject"
    secrets: ClassVar[frozenset[str]] = frozenset({"secret_key"})

    region: str = _ANY_REGION
    by_host: bool = False
    access_key: str | None = None
    secret_key: str | None = None
    encryption: str | None = None
    key_id: str | None = None

    @property
    def place(self) -> str:
        """``s3://bucket``."""
        return f"s3://{self.name}"


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
    if not read_flag(section, "v4auth", default=True):
        section.bad("v4auth", "is false", "Signatures of version 2 are not spoken; remove it.")
    url, by_host = _address(section, name)
    key_id = section.text("keyid")
    encryption = None
    if read_flag(section, "encrypt", default=False):
        encryption = "AES256" if key_id is None else "aws:kms"
    return S3Bucket(
        name,
        url,
        region=section.text("region") or _ANY_REGION,
        by_host=by_host,
        root=read_root(section),
        access_key=access_key,
        secret_key=secret_key,
        verify=not read_flag(section, "skipverify", default=False),
        user_agent=section.text("useragent"),
        encryption=encryption,
        key_id=key_id if encryption else None,
    )


def _is_bucket(name: str) -> bool:
    return not name or (name.isascii() and name.isprintable() and not {*name} & set("/\\?#@: "))


def _address(section: Section, bucket: str) -> tuple[str, bool]:
    """Return the URL to send requests to, and whether it is the bucket's own."""
    scheme = "https" if read_flag(section, "secure", default=True) else "http"
    endpoint = section.text("regionendpoint", secret=True)
    if endpoint is None:
        return _of_amazon(section, bucket, scheme)
    if "://" in endpoint:
        scheme, _, endpoint = endpoint.partition("://")
    endpoint = endpoint.rstrip("/")
    parts = host_of(f"//{endpoint}")
    if scheme not in _SCHEMES or parts is None:
        hint = "It is HOST:PORT or a URL of http or https, without a login."
        section.bad("regionendpoint", "is no address", hint)
        return "", False
    if read_flag(section, "forcepathstyle", default=True):
        return f"{scheme}://{endpoint}", False
    return f"{scheme}://{bucket}.{endpoint}", True


def _of_amazon(section: Section, bucket: str, scheme: str) -> tuple[str, bool]:
    region = section.text("region")
    if region is None:
        hint = "Name the region of the bucket, or the store's address in regionendpoint."
        section.bad("region", "is missing", hint)
        region = _ANY_REGION
    elif not region.replace("-", "").isalnum():
        section.bad("region", f"is {region[:80]!r}", "It is the name of a region.")
        region = _ANY_REGION
    fips = "-fips" if read_flag(section, "usefipsendpoint", default=False) else ""
    stack = ".dualstack" if read_flag(section, "usedualstack", default=False) else ""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if read_flag(section, "accelerate", default=False):
        return f"{scheme}://{bucket}.s3-accelerate{stack}.{domain}", True
    host = f"s3{fips}{stack}.{region}.{domain}"
    # No certificate of Amazon's is for a name with more dots.
    dotted = "." in bucket and scheme == "https"
    if dotted or read_flag(section, "forcepathstyle", default=False):
        return f"{scheme}://{host}", False
    return f"{scheme}://{bucket}.{host}", True
