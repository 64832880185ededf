"""The driver ``azure``: which container it is, and how its store is reached.

The keys are those of Distribution 2.8 and 3.x. Without ``credentials.type`` an account key counts,
as in 2.8; 3.1 asks for the type. Distribution 2.8 began all names with a slash, which 3.x does not;
what lies so is not reached (:mod:`jettison.storage.objects.azure`). GitLab's fork has two keys that
say which it is.
"""

import base64
import binascii
import re
from typing import ClassVar, Final, Literal
from urllib.parse import quote, urlsplit

from jettison.configuration.buckets import StoreBucket, host_of, read_flag, read_root
from jettison.configuration.section import Section

__all__ = ["AzureContainer", "read_azure"]

Credentials = Literal["shared_key", "client_secret", "default_credentials"]

_TYPES: Final[tuple[Credentials, ...]] = ("shared_key", "client_secret", "default_credentials")
_REALM: Final = "core.windows.net"
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_HOST: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_SECONDARY: Final = "-secondary"


class AzureContainer(StoreBucket, frozen=True):
    """A container of Azure Blob Storage.

    ``account_key`` is there with the credentials ``shared_key``, ``tenant``, ``client`` and
    ``client_secret`` are with ``client_secret``; all others are those of the environment.
    """

    store: ClassVar[str] = "Azure Blob Storage"
    deleting: ClassVar[str] = "to delete blobs, as the role Storage Blob Data Contributor has it"
    secrets: ClassVar[frozenset[str]] = frozenset({"account_key", "client_secret"})

    account: str = ""
    credentials: Credentials = "shared_key"
    account_key: str | None = None
    tenant: str | None = None
    client: str | None = None
    client_secret: str | None = None

    @property
    def place(self) -> str:
        """``azure://account/container``."""
        return f"azure://{self.account}/{self.name}"


def read_azure(section: Section) -> AzureContainer:
    """Read the keys of the driver; what is wrong with one is noted in its section."""
    account = _name(section, "accountname", _ACCOUNT, "the name of a storage account")
    container = _name(section, "container", _CONTAINER, "the name of a container, and no path")
    below = section.section("credentials")
    key = section.text("accountkey", secret=True)
    kind = below.choice("type", _TYPES, None) or "shared_key"
    _check_names(section)
    tenant = client = secret = None
    if kind == "shared_key":
        _check_key(section, key)
    elif kind == "client_secret":
        tenant, client = below.needed("tenantid"), below.needed("clientid")
        secret = below.needed("secret", secret=True)
    root = read_root(section)
    if kind != "shared_key" and quote(root) != root:
        hint = "Name one of letters, digits, -, _, . and /; or give accountkey."
        section.bad(
            "rootdirectory", "has characters that are signed with an account key only", hint
        )
    return AzureContainer(
        container,
        _address(section, account),
        root=root,
        verify=not read_flag(section, "skipverify", default=False),
        account=account,
        credentials=kind,
        account_key=key if kind == "shared_key" else None,
        tenant=tenant,
        client=client,
        client_secret=secret,
    )


def _name(section: Section, key: str, pattern: re.Pattern[str], what: str) -> str:
    name = section.needed(key)
    if name and pattern.fullmatch(name) is None:
        section.bad(key, f"is {name[:80]!r}", f"It is {what}.")
        return ""
    return name


def _check_names(section: Section) -> None:
    hint = "Copy what is in the container into another one, with names that do not."
    if read_flag(section, "legacyrootprefix", default=False):
        section.bad("legacyrootprefix", "is true: all names begin with a slash", hint)
    if not read_flag(section, "trimlegacyrootprefix", default=True):
        section.bad("trimlegacyrootprefix", "is false: all names begin with a slash", hint)


def _check_key(section: Section, key: str | None) -> None:
    if key is None:
        hint = (
            "Give it, or set credentials.type to client_secret or default_credentials to do "
            "without."
        )
        section.bad("accountkey", "is missing", hint)
        return
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        section.bad("accountkey", "is no account key", "It is a text in base64.")


def _address(section: Section, account: str) -> str:
    realm = section.text("realm") or _REALM
    if _HOST.fullmatch(realm) is None:
        section.bad("realm", f"is {realm[:80]!r}", f"It is the end of a host, such as {_REALM}.")
    found = section.text("serviceurl", secret=True)
    if found is None:
        return f"https://{account}.blob.{realm}"
    url = found.rstrip("/")
    host = host_of(url)
    if host is None or urlsplit(url).scheme not in {"http", "https"}:
        section.bad("serviceurl", "is no address", "It is a URL of http or https, without a login.")
        return ""
    if host.partition(".")[0].endswith(_SECONDARY):
        hint = "What is written is seen there later; name the primary one."
        section.bad("serviceurl", "is a secondary endpoint", hint)
    return url
