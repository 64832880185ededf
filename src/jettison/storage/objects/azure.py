"""What Azure Blob Storage does otherwise than S3.

- A blob has a type for as long as it lives. What Distribution 3.1 writes are append blobs, and what
  everybody else writes are block blobs; neither can be put over the other (409
  ``InvalidBlobType``). So what is there with the same content is touched, by setting its metadata
  to what they are; and what has another is deleted first. It is absent for a moment then.
- A copy may go on when it was answered for, and its target is not whole until then.
- A signed URL (SAS) has a beginning, where obstore makes it. A store whose clock is a second behind
  refuses it until then, so with an account key it is made here, without one.
- A listing cannot be trusted to begin behind a key.
- Distribution 2.8 began all names with a slash. obstore can name no such blob, so a container with
  nothing else is refused, as 3.x would find nothing in it either.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from jettison.configuration.azure import AzureContainer
from jettison.errors import StorageError
from jettison.storage.objects.clients import Client, client_options, named_in, retries
from jettison.storage.objects.direct import Answer, request

if TYPE_CHECKING:
    from obstore import HTTP_METHOD, GetResult, ObjectMeta
    from obstore.store import AzureConfig

__all__ = ["AzureClient", "sign"]

_ENVIRONMENT: Final = {
    "AZURE_CLIENT_ID": "client_id",
    "AZURE_CLIENT_SECRET": "client_secret",
    "AZURE_TENANT_ID": "tenant_id",
    "AZURE_FEDERATED_TOKEN_FILE": "federated_token_file",
    "AZURE_AUTHORITY_HOST": "authority_host",
    "IDENTITY_ENDPOINT": "msi_endpoint",
}
"""Where Microsoft's own programs look for credentials, too; instances are asked last."""

_VERSION: Final = "2021-12-02"
_RIGHTS: Final = {"GET": "r", "HEAD": "r", "PUT": "w", "DELETE": "d"}
_PIECE: Final = 4 * 1024 * 1024
_OTHER_TYPE: Final = "<Code>InvalidBlobType</Code>"
_TOUCH: Final = "comp=metadata"
_SECONDS: Final = 60.0
_COPY_SECONDS: Final = 3600.0
_COPY_PAUSE: Final = 0.2
_READ: Final = 200
_PENDING: Final = "pending"
_COPIED: Final = "success"
_NOTED: Final = "x-ms-meta-"
_CHANGED: Final = frozenset({200, 202})
_ANOTHER: Final = frozenset({404, 412})
_TRIES: Final = 5
_DENIED: Final = 403
_BEGINNING: Final = (0.5, 1.0, 2.0)


def sign(settings: AzureContainer, rights: str, path: str, until: float) -> str:
    """Return a URL of a blob with its signature, which ends at ``until`` (Unix seconds)."""
    end = datetime.fromtimestamp(int(until), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    protocol = "https" if settings.url.startswith("https:") else "https,http"
    fields = [
        *(rights, "", end, f"/blob/{settings.account}/{settings.name}/{path}"),
        *("", "", protocol, _VERSION, "b", *[""] * 7),
    ]
    key = base64.b64decode(settings.account_key or "")
    signed = hmac.new(key, "\n".join(fields).encode(), hashlib.sha256).digest()
    values = (_VERSION, "b", rights, end, protocol, base64.b64encode(signed).decode())
    names = ("sv", "sr", "sp", "se", "spr", "sig")
    query = zip(names, (quote(value, safe="") for value in values), strict=True)
    shown = "&".join(map("=".join, query))
    return f"{settings.url}/{settings.name}/{quote(path)}?{shown}"


class AzureClient(Client):
    """A client of Azure Blob Storage."""

    begins_anywhere = False
    parts_over = False
    largest_copy: int | None = None

    def __init__(
        self, settings: AzureContainer, environment: Mapping[str, str], besides: bytes | None
    ) -> None:
        from obstore.store import AzureStore  # noqa: PLC0415 - see open_client

        self._settings = settings
        config: AzureConfig = {
            "account_name": settings.account,
            "container_name": settings.name,
            # Its own variables would count before what the configuration says.
            "endpoint": settings.url,
            "use_emulator": False,
            "use_fabric_endpoint": False,
        }
        if settings.account_key is not None:
            config["credential_type"] = "access_key"
            config["account_key"] = settings.account_key
        elif settings.tenant and settings.client and settings.client_secret:
            config["credential_type"] = "client_secret"
            config["tenant_id"] = settings.tenant
            config["client_id"] = settings.client
            config["client_secret"] = settings.client_secret
        else:
            config.update(cast("AzureConfig", named_in(environment, _ENVIRONMENT)))
        options = client_options(settings, besides)
        store = AzureStore(config=config, client_options=options, retry_config=retries())
        super().__init__(store, settings, besides)

    def url(self, method: "HTTP_METHOD", path: str, seconds: float) -> str:
        """Return a URL that lets whoever has it do one thing to a blob, for so long."""
        if self._settings.account_key is None:
            # obstore gives a URL for HEAD no right at all; one for GET has it.
            return super().url("GET" if method == "HEAD" else method, path, seconds)
        return sign(self._settings, _RIGHTS[method], path, time.time() + seconds)

    def put(self, path: str, content: bytes) -> None:
        """Store a blob in place of whatever may be there, of another type too."""

        def is_same(found: "ObjectMeta") -> bool:
            if found["size"] != len(content):
                return False
            there = self._get(path)
            return there is not None and bytes(there.bytes()) == content

        self._replace(path, lambda: self.store.put(path, content, use_multipart=False), is_same)

    def copy(self, path: str, to: str) -> None:
        """Copy; what is the same is only touched: a copy that breaks off would leave less of it."""

        def is_same(found: "ObjectMeta") -> bool:
            if found["size"] != self.store.head(path)["size"]:
                return False
            there = self._get(to)
            return there is not None and _digest(there) == _digest(self.store.get(path))

        there = self._head(to)
        if there is not None and is_same(there) and self._touch(to, there):
            return
        if self._replace(to, lambda: self.store.copy(path, to), is_same):
            self._wait_for_copy(to)

    def _replace(
        self, path: str, write: Callable[[], object], is_same: "Callable[[ObjectMeta], bool]"
    ) -> bool:
        """Write a blob; False: it is there, of another type and with the same content, touched."""
        from obstore.exceptions import BaseError  # noqa: PLC0415 - see open_client

        for _ in range(_TRIES):
            try:
                write()
            except BaseError as error:
                if _OTHER_TYPE not in str(error):
                    raise
            else:
                return True
            there = self._head(path)
            if there is None:
                continue
            # Whatever is done is done to this one alone: another may write the same name.
            if not is_same(there):
                self._change("DELETE", path, there)
            elif self._touch(path, there):
                return False
        write()
        return True

    def _get(self, path: str) -> "GetResult | None":
        try:
            return self.store.get(path)
        except FileNotFoundError:
            return None

    def _head(self, path: str) -> "ObjectMeta | None":
        try:
            return self.store.head(path)
        except FileNotFoundError:
            return None

    def _touch(self, path: str, there: "ObjectMeta") -> bool:
        """Give a blob the time of now, by setting its metadata to what they are.

        False if it is another by now, or gone.
        """
        now = self._ask("HEAD", path)
        if now.status != _READ:
            return False
        kept = {name: value for name, value in now.headers.items() if name.startswith(_NOTED)}
        return self._change("PUT", path, there, _TOUCH, kept)

    def _change(
        self,
        method: "HTTP_METHOD",
        path: str,
        there: "ObjectMeta",
        query: str = "",
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Change just this blob; False if it is another by now, or gone."""
        answer = self._ask(method, path, query, {"If-Match": there["e_tag"] or "", **more})
        if answer.status not in _CHANGED | _ANOTHER:
            raise OSError(f"status code: {answer.status}: {answer.body.decode(errors='replace')}")
        return answer.status in _CHANGED

    def _ask(
        self,
        method: "HTTP_METHOD",
        path: str,
        query: str = "",
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Make a request that obstore does not."""
        url = "&".join(filter(None, (self.url(method, path, _SECONDS), query)))
        headers = {"x-ms-version": _VERSION, "Content-Length": "0", **more}
        pauses = _BEGINNING if self._settings.account_key is None else ()
        for pause in pauses:
            answer = request(self.tls, method, url, headers)
            if answer.status != _DENIED:
                return answer
            time.sleep(pause)  # until the same URL has begun, by the store's clock
        return request(self.tls, method, url, headers)

    def _wait_for_copy(self, to: str) -> None:
        end = time.monotonic() + _COPY_SECONDS
        while (said := self._copied(to)) == _PENDING and time.monotonic() < end:
            time.sleep(_COPY_PAUSE)
        if said != _COPIED:
            message = f"{self._settings.location}: the store did not copy a blob: {said}"
            raise StorageError(message, hint="Try again.")

    def _copied(self, to: str) -> str:
        """Return how far the last copy to a blob has come, as the store says it."""
        answer = self._ask("HEAD", to)
        if answer.status != _READ:
            return f"status {answer.status}"
        return answer.headers.get("x-ms-copy-status", _COPIED)

    def misplaced(self) -> str | None:
        """Return that all names begin with a slash, if they do."""
        if self._settings.root:
            return None  # 2.8 has none
        above = self.store.list_with_delimiter("")["common_prefixes"]
        if "" not in above or "docker" in above:
            return None
        return (
            "all names in it begin with a slash, as Distribution 2.8 wrote them; 3.x does not find "
            "them either"
        )


def _digest(found: "GetResult") -> bytes:
    hasher = hashlib.sha256()
    for piece in found.stream(min_chunk_size=_PIECE):
        hasher.update(piece)
    return hasher.digest()
