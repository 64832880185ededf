"""A registry over HTTP: :class:`~jettison.registry.Registry` by the OCI distribution specification.

``tests/registries/scripted.py`` has what real registries do beyond or against it. A 404 means
"does not exist" only from a server that has shown itself to be a registry. Of a manifest only the
bytes count.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Self, TypeVar

from yarl import URL

from jettison.client import capabilities, times
from jettison.client.answers import (
    content_digest,
    describe,
    error_codes,
    is_page,
    next_link,
    read_index,
    read_repositories,
    read_tags,
    type_inside,
)
from jettison.client.auth import NO_ACCESS, Access
from jettison.client.credentials import Credentials, CredentialSource, FixedCredentials
from jettison.client.failures import tidy
from jettison.client.hints import deletion_hint
from jettison.client.transport import (
    LIST_LIMIT,
    ClientOptions,
    Response,
    Timing,
    TooLong,
    Transport,
    same_origin,
)
from jettison.errors import (
    AccessDenied,
    DeletionRefused,
    InvalidDigest,
    InvalidDocument,
    InvalidManifest,
    InvalidName,
    JettisonError,
    LoginRefused,
    NotARegistry,
    NotFoundError,
    ReadOnly,
    RegistryError,
    RegistryFailing,
    TagsAppeared,
    UnexpectedResponse,
    Unreachable,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.manifest import signed_content
from jettison.model.mediatypes import ACCEPT, OCI_INDEX
from jettison.model.names import RepoName, Tag
from jettison.model.preconditions import ONLY_TAGS, TAGS_CHANGED
from jettison.model.products import UNKNOWN
from jettison.model.retention.evidence import Evidence, Times
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import Capabilities, RawManifest

__all__ = ["RemoteRegistry"]

_PAGE: Final = 1000
# Pages in a row that bring nothing new: more is a registry that turns in circles.
_IDLE_PAGES: Final = 20
# A list has an end: far beyond what any registry holds, and what fits into memory.
_PAGES: Final = 10_000
_NAMES: Final = 1_000_000
_BAD_NAMES: Final = 10_000
_ABANDON_SECONDS: Final = 5.0
_SMALL_BLOB: Final = 256 * 1024
_UNTYPED: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain"})

_CATALOG: Final = Access(None, ("*",))
_NAME = TypeVar("_NAME", RepoName, Tag)


class _EndlessList(UnexpectedResponse):
    """More names than any registry has: the names that came are useless."""


class RemoteRegistry:
    """The registry at ``host`` (``name[:port]``).

    ``credentials``: one login, or a source of logins, read only when the registry asks for one.
    The first request opens what it needs. Use it as an async context manager, or call
    :meth:`aclose`.
    """

    def __init__(
        self,
        host: str,
        options: ClientOptions | None = None,
        credentials: Credentials | CredentialSource | None = None,
        *,
        timing: Timing | None = None,
    ) -> None:
        source = (
            FixedCredentials(credentials) if isinstance(credentials, Credentials) else credentials
        )
        self.transport = Transport(host, options or ClientOptions(), source, timing)
        self._host = host
        self._confirmed: Response | None = None
        self._confirming = asyncio.Lock()
        self._product = ""
        self._patience = times.Patience()
        self._extended: str | None = None
        self._modified: dict[RepoName, dict[Tag, Times]] = {}

    def __repr__(self) -> str:
        return f"RemoteRegistry({self._host!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    @property
    def name(self) -> str:
        """The host."""
        return self._host

    @property
    def clock_difference(self) -> float | None:
        """The largest difference that the ``Date`` of its answers showed (RFC 9110, 6.6.1)."""
        return self.transport.clock_difference

    # -- is it one, and may we -----------------------------------------------------------------

    async def ping(self) -> str:
        """Check that a registry answers and accepts the login; return the kind of login.

        That is ``none``, ``basic`` or ``bearer`` (distribution specification, end-1).
        """
        await self.confirm()
        return self.transport.auth.kind

    async def confirm(self) -> Response:
        """Return the answer to ``GET /v2/``, requested once, or raise NotARegistry."""
        async with self._confirming:
            if self._confirmed is None:
                self._confirmed = await self._ask_base()
            return self._confirmed

    async def _ask_base(self) -> Response:
        try:
            response = await self.transport.request("GET", "/v2/")
        except RegistryFailing as error:
            raise Unreachable(error.message, hint=error.hint) from None
        if response.foreign:
            there = response.url
            message = (
                f"{self._host} only redirects to {there.scheme}://{there.host_port_subcomponent}"
            )
            hint = f"Use {there.host_port_subcomponent} as the host."
            if there.scheme == "https" and self.transport.origin.scheme == "http":
                hint = f"Use {there.host_port_subcomponent} without --plain-http."
            raise Unreachable(message, hint=hint)
        if response.status == HTTPStatus.FORBIDDEN:
            denied = self._denied(response, NO_ACCESS)
            if isinstance(denied, UnexpectedResponse):
                # Nothing gets through to the registry.
                raise Unreachable(denied.message, hint=denied.hint)
            raise denied
        marked = "Docker-Distribution-Api-Version" in response.headers
        # Some registries leave the mark out; then an empty or a JSON body has to do.
        plain = not response.body.strip() or response.body.lstrip()[:1] == b"{"
        if response.status == HTTPStatus.OK and (marked or (plain and not is_page(response))):
            return response
        raise self._no_registry(f"GET /v2/ is answered with {describe(response)}")

    async def capabilities(self, repository: RepoName | None = None) -> Capabilities:
        """Probe without changing anything; see :func:`jettison.client.capabilities.probe`."""
        base = await self.confirm()
        found = await capabilities.probe(self.transport, base, repository)
        self._product = found.product
        return found

    # -- listing -------------------------------------------------------------------------------

    async def repositories(self) -> AsyncIterator[RepoName | ListingProblem]:
        """Yield the catalog, page by page (a Distribution extension: ``GET /v2/_catalog``)."""
        hint = f"Name a repository: {self._host}/REPO."
        try:
            async for item in self._names("/v2/_catalog", _CATALOG, read_repositories, RepoName):
                if item is None:
                    message = f"{self._host} does not list its repositories"
                    raise NotFoundError(message, hint=hint)
                yield item
        except AccessDenied as error:
            message = f"{self._host} does not allow this login to list its repositories"
            raise AccessDenied(f"{message} ({error.message})", hint=hint) from None

    async def tags(self, repository: RepoName) -> AsyncIterator[Tag | ListingProblem]:
        """Yield the tags, page by page (distribution specification, end-8a and end-8b)."""
        path = f"/v2/{repository}/tags/list"
        async for item in self._names(path, Access(repository, ("pull",)), read_tags, Tag):
            if item is None:
                message = f"there is no repository {repository} in {self._host}"
                raise NotFoundError(message, hint=f"List them with: jettison ls {self._host}")
            yield item

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:
        """Return the manifests whose subject is ``digest`` (end-12a); None without that API."""
        path = f"/v2/{repository}/referrers/{digest}"
        access = Access(repository, ("pull",))
        found: list[Digest] = []
        async for page in self._pages(path, access, read_index, numbered=False):
            if page is None:
                return None
            try:
                found += [Digest(text) for text in page]
            except InvalidDigest as error:
                message = f"{self._host} lists a referrer of {digest.short} with an {error.message}"
                raise UnexpectedResponse(message) from None
        return found

    async def _names(
        self,
        path: str,
        access: Access,
        read: Callable[[bytes], list[str]],
        kind: type[_NAME],
    ) -> AsyncIterator[_NAME | ListingProblem | None]:
        """Yield the names of a list; invalid names and an incomplete list as problems."""
        begun = False
        bad = 0
        try:
            async for page in self._pages(path, access, read, numbered=True):
                if page is None:
                    yield None
                    return
                for text in page:
                    name = _named(kind, text)
                    bad += isinstance(name, ListingProblem)
                    if bad > _BAD_NAMES:
                        message = f"{self._host} lists more than {_BAD_NAMES:,} invalid names"
                        yield ListingProblem(ProblemCode.CUT_SHORT, "(more)", message)
                        return
                    yield name
                begun = True
        except Unreachable as error:
            # Is it the registry that is out of reach, or this list?
            if self._confirmed is not None:
                raise
            await self.confirm()
            raise RegistryFailing(error.message, hint=error.hint) from None
        except (AccessDenied, UnexpectedResponse) as error:
            # What came before is true all the same.
            if not begun or isinstance(error, _EndlessList):
                raise
            message = f"the list is incomplete: {error.message}"
            yield ListingProblem(ProblemCode.CUT_SHORT, "(more)", message)

    async def _pages(
        self,
        path: str,
        access: Access,
        read: Callable[[bytes], list[str]],
        *,
        numbered: bool,
    ) -> AsyncIterator[list[str] | None]:
        """Yield pages without repetitions, following ``Link``; None if the list does not exist."""
        headers = {"Accept": "application/json" if numbered else OCI_INDEX}
        url = self.transport.url(f"{path}?n={_PAGE}" if numbered else path)
        visited: set[URL] = set()
        seen: set[str] = set()
        idle = 0
        first = True
        while True:
            visited.add(url)
            response = await self.transport.request(
                "GET", url, access, headers=headers, limit=LIST_LIMIT
            )
            codes = error_codes(response)
            if (
                response.status == HTTPStatus.BAD_REQUEST
                and numbered
                and "PAGINATION_NUMBER_INVALID" in codes
            ):
                numbered = False
                url = self.transport.url(path)
                continue
            # One page of several that is suddenly not there is no end of the list.
            if response.status in {HTTPStatus.NOT_FOUND, 405, 501} and first:
                await self._expect_registry(response)
                yield None
                return
            if response.status != HTTPStatus.OK:
                raise await self._unexpected(response, access, f"GET {path}")
            if response.body.count(b",") > _NAMES:
                raise self._endless(path)
            try:
                page = read(response.body)
            except InvalidDocument:
                raise await self._unreadable(response, path) from None
            fresh = [text for text in dict.fromkeys(page) if text not in seen]
            seen.update(fresh)
            yield fresh
            first = False
            idle = 0 if fresh else idle + 1
            target = next_link(response.headers.getall("Link", []))
            if target is None:
                return
            url = self._next_page(path, self.transport.url(target, response.url))
            if url in visited or idle >= _IDLE_PAGES:
                message = f"the pages of {path} on {self._host} go round in circles"
                raise UnexpectedResponse(message)
            if len(visited) >= _PAGES or len(seen) > _NAMES:
                raise self._endless(path)

    def _next_page(self, path: str, url: URL) -> URL:
        """Return the URL of the next page, always at the registry.

        A registry behind a proxy may name its inner address, ``http://registry:5000/v2/…``; only
        path and query count.
        """
        if same_origin(url, self.transport.origin):
            return url
        inner = url.raw_path if url.raw_path.startswith("/v2/") else path
        return self.transport.url(f"{inner}?{url.raw_query_string}")

    def _endless(self, path: str) -> UnexpectedResponse:
        message = f"{self._host} answers GET {path} with a list that has no end"
        return _EndlessList(message)

    # -- manifests -----------------------------------------------------------------------------

    async def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return the digest of a tag: from HEAD, or by hashing if HEAD does not tell."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/manifests/{tag}"
        try:
            response = await self.transport.request(
                "HEAD", path, access, headers={"Accept": ACCEPT}
            )
        except RegistryFailing as error:
            if error.status is None:
                raise
            # GET may do better, and if not, its answer says why.
            manifest = await self.manifest(repository, tag)
            return None if manifest is None else manifest.digest
        if response.status == HTTPStatus.NOT_FOUND:
            await self._expect_registry(response)
            return None
        if response.status == HTTPStatus.OK and not is_page(response):
            digest = content_digest(response)
            if digest is not None:
                return digest
        elif response.status in {401, 403}:
            raise self._denied(response, access)
        manifest = await self.manifest(repository, tag)
        return None if manifest is None else manifest.digest

    async def revisions(self, repository: RepoName) -> list[Digest] | None:
        """Return all manifests where an API beside this one surely lists them.

        None everywhere else: the distribution specification lists tags alone.
        """
        try:
            product = await self._find_product(extensions=False)
        except JettisonError:
            return None  # what lists the tags says what is wrong
        return await times.read_revisions(self.transport, product, repository)

    async def sound_blobs(
        self,
        repository: RepoName,  # noqa: ARG002 - the protocol's
        sizes: Mapping[Digest, int | None],  # noqa: ARG002 - the protocol's
    ) -> AbstractSet[Digest]:
        """Return none: each is a request."""
        return frozenset()

    async def snapshot(self, repository: RepoName) -> RepositorySnapshot | None:  # noqa: ARG002 - the protocol's
        """Return None: a registry is asked tag by tag."""
        return None

    async def evidence(self, repository: RepoName) -> Evidence | None:
        """Return what an API beside this one tells (:mod:`jettison.client.times`).

        The distribution specification has no times. Nothing raises: a failure is said in the
        evidence.
        """
        try:
            product = await self._find_product(extensions=True)
        except JettisonError as error:
            return Evidence(unknown=error.message)
        found = await times.read_times(self.transport, product, repository, self._patience)
        modified = self._modified.get(repository)
        return Evidence(modified) if found is None and modified else found

    async def _find_product(self, *, extensions: bool) -> str:
        """Return the product as far as its answers tell, or "".

        With ``extensions``, one that its answers do not tell is asked for their list, once.
        """
        base = await self.confirm()
        async with self._confirming:
            found = "" if self._product == UNKNOWN.name else self._product
            found = found or capabilities.product_of(base, self.transport.auth.challenge) or ""
            if found or not extensions:
                return found
            if self._extended is None:
                self._extended = await times.find_zot(self.transport)
            return self._extended

    async def manifest(self, repository: RepoName, reference: Tag | Digest) -> RawManifest | None:
        """Return a manifest whose bytes agree with every digest given for them (end-3)."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/manifests/{reference}"
        response = await self.transport.request("GET", path, access, headers={"Accept": ACCEPT})
        if response.status == HTTPStatus.NOT_FOUND:
            await self._expect_registry(response)
            return None
        if response.status != HTTPStatus.OK:
            raise await self._unexpected(response, access, f"GET {path}")
        if is_page(response):
            raise await self._unreadable(response, path)
        modified = times.last_modified(response, self.transport.now)
        if isinstance(reference, Tag) and modified is not None:
            self._modified.setdefault(repository, {})[reference] = Times(pushed=modified)
        claimed = content_digest(response)
        wanted = reference if isinstance(reference, Digest) else claimed
        raw = response.body
        if wanted is not None and not wanted.matches(raw):
            raw = signed_content(raw) or raw
        for digest in (wanted, claimed):
            if digest is not None and not digest.matches(raw):
                message = (
                    f"{self._host} sends a manifest for {repository} {reference} whose digest is "
                    f"{Digest.of(response.body, digest.algorithm)}, not {digest}"
                )
                hint = "Its storage is damaged, or something in between changes the bytes."
                raise InvalidManifest(message, hint=hint)
        media_type = response.content_type
        if media_type in _UNTYPED:
            media_type = type_inside(raw) or media_type
        return RawManifest(wanted or Digest.of(raw), media_type, raw)

    async def put_manifest(
        self, repository: RepoName, reference: Tag | Digest, manifest: RawManifest
    ) -> None:
        """Store the bytes unchanged (end-7); raise if the registry changed them."""
        if not manifest.digest.matches(manifest.raw) or (
            isinstance(reference, Digest) and reference != manifest.digest
        ):
            message = f"the manifest for {repository} {reference} does not have that digest"
            raise InvalidManifest(message)
        access = Access(repository, ("pull", "push"))
        path = f"/v2/{repository}/manifests/{reference}"
        headers = {"Content-Type": manifest.media_type}
        response = await self.transport.request(
            "PUT", path, access, headers=headers, body=manifest.raw
        )
        if response.status not in {200, 201, 202}:
            raise await self._write_refused(response, access, f"PUT {path}")
        stored = content_digest(response)
        if stored is not None and not stored.matches(manifest.raw):
            message = f"{self._host} stored {stored} where {manifest.digest} was sent"
            raise VerificationFailed(message)

    async def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag alone (end-9 with a tag); Distribution 2.x cannot and answers 400.

        ``expected`` is sent as ``If-Match``, which Jettison's server heeds and others ignore.
        """
        headers = {} if expected is None else {"If-Match": f'"{expected}"'}
        return await self._delete(repository, tag, headers)

    async def delete_manifest(
        self, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None = None
    ) -> bool:
        """Remove a manifest by digest, and with it every tag that points to it (end-9).

        ``only`` is sent in a header that Jettison's server heeds and others ignore. Raises
        :class:`~jettison.errors.Refused` if the registry protects the manifest, as Jettison's
        server does while an index lists it.
        """
        headers = {} if only is None else {ONLY_TAGS: ",".join(sorted(only))}
        return await self._delete(repository, digest, headers)

    async def _delete(
        self, repository: RepoName, reference: Tag | Digest, headers: dict[str, str]
    ) -> bool:
        access = Access(repository, ("pull", "delete"))
        path = f"/v2/{repository}/manifests/{reference}"
        response = await self.transport.request("DELETE", path, access, headers=headers)
        if response.status in {200, 202, 204}:
            return True
        if response.status == HTTPStatus.NOT_FOUND:
            await self._expect_registry(response)
            # An answer was lost on the way: then the first attempt is what removed it.
            return response.uncertain
        if response.status in {405, 501}:
            await self._expect_registry(response)
            raise capabilities.refused_deletion(self._host, response, self._product)
        codes = error_codes(response)
        if response.status == HTTPStatus.PRECONDITION_FAILED and TAGS_CHANGED in codes:
            message = f"{self._host}/{repository}: {describe(response)}"
            raise TagsAppeared(message, hint="Run the command again to see the new plan.")
        denied = response.status in {401, 403} or "DENIED" in codes
        if denied or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise await self._unexpected(response, access, f"DELETE {path}")
        await self._expect_registry(response)
        message = f"{self._host} does not delete {repository} {reference}: {describe(response)}"
        hint = None
        if response.status == HTTPStatus.BAD_REQUEST and isinstance(reference, Tag):
            message = f"{self._host} cannot remove a tag by itself: {describe(response)}"
            hint = "Distribution can from version 3 on."
        raise DeletionRefused(message, codes=frozenset(codes), hint=hint)

    # -- blobs ---------------------------------------------------------------------------------

    async def blob_size(self, repository: RepoName, digest: Digest) -> int | None:
        """Return the size that HEAD claims, in bytes (end-2). A stale cache lies."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        response = await self.transport.request("HEAD", path, access)
        if response.status == HTTPStatus.NOT_FOUND:
            await self._expect_registry(response)
            return None
        if response.status != HTTPStatus.OK:
            raise await self._unexpected(response, access, f"HEAD {path}")
        return response.content_length

    async def blob_sizes(self) -> dict[Digest, int] | None:
        """Return None: no API lists blobs."""
        return None

    async def has_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> bool:
        """GET the blob and see whether its first byte comes, then drop the connection.

        An answer that announces another length than ``size`` does not count. A registry with a
        stale descriptor cache answers 200 and sends nothing, or breaks off. The request is sent
        twice, so that a network failure is not mistaken for that.
        """
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        for _ in range(2):
            async with self.transport.stream(path, access) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    await self._expect_registry(response)
                    return False
                if response.status != HTTPStatus.OK:
                    raise await self._unexpected(response, access, f"GET {path}")
                if size is not None and response.content_length not in {None, size}:
                    return False
                try:
                    async for chunk in response.chunks():
                        if chunk:
                            return True
                except Unreachable:
                    continue
                # No byte, and yet complete: right for the empty blob alone.
                if digest.matches(b""):
                    return True
        return False

    async def read_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the blob's bytes (end-2).

        Raises :class:`~jettison.errors.NotFoundError`, and
        :class:`~jettison.errors.VerificationFailed` if there are more than ``size`` bytes, or
        after the last one if the digest differs. One that ought to be small comes whole.
        """
        if size is not None and size <= _SMALL_BLOB:
            if content := await self._small_blob(repository, digest, size):
                yield content
            return
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        hasher = hashlib.new(digest.algorithm)
        async with self.transport.stream(path, access) as response:
            await self._expect_blob(response, access, repository, digest)
            read = 0
            async for chunk in response.chunks():
                read += len(chunk)
                if size is not None and read > size:
                    raise self._too_long(repository, digest, size)
                hasher.update(chunk)
                yield chunk
        if hasher.hexdigest() != digest.hex:
            raise self._other_bytes(repository, digest)

    async def _small_blob(self, repository: RepoName, digest: Digest, size: int) -> bytes:
        """Return a blob in one request, which is cheaper than a stream and can be repeated."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        try:
            response = await self.transport.request("GET", path, access, limit=size)
        except TooLong:
            raise self._too_long(repository, digest, size) from None
        await self._expect_blob(response, access, repository, digest)
        if not digest.matches(response.body):
            raise self._other_bytes(repository, digest)
        return response.body

    async def _expect_blob(
        self, response: Response, access: Access, repository: RepoName, digest: Digest
    ) -> None:
        if response.status == HTTPStatus.NOT_FOUND:
            await self._expect_registry(response)
            message = f"there is no blob {digest} in {self._host}/{repository}"
            raise NotFoundError(message)
        if response.status != HTTPStatus.OK:
            path = f"/v2/{repository}/blobs/{digest}"
            raise await self._unexpected(response, access, f"GET {path}")

    def _too_long(self, repository: RepoName, digest: Digest, size: int) -> VerificationFailed:
        message = f"{self._host} sends more than the {size:,} bytes of the blob {digest}"
        return VerificationFailed(f"{message} of {repository}")

    def _other_bytes(self, repository: RepoName, digest: Digest) -> VerificationFailed:
        message = f"{self._host} sends other bytes for the blob {digest} of {repository}"
        hint = "Its storage is damaged, or its cache is stale."
        return VerificationFailed(message, hint=hint)

    async def put_blob(
        self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> None:
        """Upload as Docker does: POST, one streamed PATCH, PUT with the digest (end-4a, 5, 6).

        Bytes with another digest raise VerificationFailed, and the upload is cancelled.
        """
        access = Access(repository, ("pull", "push"))
        path = f"/v2/{repository}/blobs/uploads/"
        response = await self.transport.request("POST", path, access, body=b"")
        if response.status != HTTPStatus.ACCEPTED:
            raise await self._write_refused(response, access, f"POST {path}")
        upload = self._upload_url(response, response.url)
        try:
            response, found = await self._send_blob(upload, access, digest, chunks)
            # The address changes with every piece; the old one cannot even be cancelled.
            upload = self._upload_url(response, upload)
            _expect_digest(digest, found)
        except BaseException:
            await self._abandon(upload, access)
            raise
        # As text: what is in the address already must stay exactly as the registry wrote it.
        sign = "&" if upload.raw_query_string else "?"
        target = self.transport.url(f"{upload}{sign}digest={digest.replace(':', '%3A')}")
        response = await self.transport.request("PUT", target, access, body=b"")
        if response.status not in {201, 204} and not (
            # An answer was lost, and the upload is finished since.
            response.uncertain and await self.blob_size(repository, digest) is not None
        ):
            raise await self._write_refused(response, access, f"PUT {path}")

    async def _send_blob(
        self, upload: URL, access: Access, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> tuple[Response, str]:
        """Send all bytes; return the answer, and the digest of the bytes sent."""
        hasher = hashlib.new(digest.algorithm)
        failed: list[Exception] = []

        async def hashed() -> AsyncIterator[bytes]:
            try:
                async for chunk in chunks:
                    hasher.update(chunk)
                    yield chunk
            except Exception as error:
                # aiohttp would turn it into a failed connection.
                failed.append(error)
                raise

        try:
            response = await self.transport.upload("PATCH", upload, access, hashed())
        except (Unreachable, RegistryFailing):
            if failed:
                raise failed[0] from None
            raise
        if response.status not in {200, 201, 202, 204}:
            raise await self._write_refused(response, access, f"PATCH {upload.path}")
        return response, f"{digest.algorithm}:{hasher.hexdigest()}"

    def _upload_url(self, response: Response, base: URL) -> URL:
        location = response.headers.get("Location")
        if not location:
            message = f"{self._host} does not say where to continue an upload"
            raise UnexpectedResponse(message)
        url = self.transport.url(location, base)
        if self.transport.origin.scheme == "https" and url.scheme == "http":
            message = f"{self._host} wants to continue an upload without TLS, at {url.origin()}"
            hint = "Set http.host, or http.relativeurls: true, in the registry's configuration."
            raise UnexpectedResponse(message, hint=hint)
        return url

    async def _abandon(self, upload: URL, access: Access) -> None:
        """Cancel an upload, without errors: the failure before matters more."""
        with suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(_ABANDON_SECONDS):
                await self.transport.request("DELETE", upload, access)

    # -- what an answer means ------------------------------------------------------------------

    async def _expect_registry(self, response: Response) -> None:
        """Accept a "no" only from a registry: a web server says 404 to everything."""
        if "Docker-Distribution-Api-Version" not in response.headers and not error_codes(response):
            await self.confirm()

    async def _unexpected(self, response: Response, access: Access, request: str) -> RegistryError:
        if response.status in {401, 403} or "DENIED" in error_codes(response):
            return self._denied(response, access)
        await self._expect_registry(response)
        message = f"{self._host} answers {request} with {describe(response)}"
        return UnexpectedResponse(message)

    async def _write_refused(
        self, response: Response, access: Access, request: str
    ) -> RegistryError:
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            await self._expect_registry(response)
            message = f"{self._host} is read-only: it does not accept a push to {access.repository}"
            message += f" ({describe(response)})"
            hint = deletion_hint(self._product, read_only=True)
            return ReadOnly(message, hint=hint)
        error = await self._unexpected(response, access, request)
        if "MANIFEST_BLOB_UNKNOWN" in error_codes(response):
            error.hint = "Something that the manifest references is not in the repository."
        return error

    async def _unreadable(self, response: Response, path: str) -> RegistryError:
        await self.confirm()
        what = "a web page" if is_page(response) else "something unreadable"
        message = f"{self.transport.speaker(response)} answers GET {path} with {what}"
        return UnexpectedResponse(message)

    def _denied(self, response: Response, access: Access) -> RegistryError:
        said = describe(response)
        who = self.transport.speaker(response)
        if who != self._host:
            # A proxy's web page, or another host: the login has nothing to do with it.
            message = f"{who} refuses {response.url.path}: {said}"
            hint = "Check the configuration of that proxy, or ask its operator."
            return UnexpectedResponse(message, hint=hint)
        if response.status == HTTPStatus.UNAUTHORIZED:
            message = f"{self._host} refuses the login for {response.url.path}: {said}"
            return LoginRefused(message, hint=f"Log in again with: jettison login {self._host}")
        login = "with this login" if self.transport.auth.given else "without a login"
        what = "access" if access is NO_ACCESS else f"it to {access}"
        message = f"{self._host} does not allow {what} {login}: {said}"
        hint = f"Use another login (jettison login {self._host}), or ask for the right to do so."
        return AccessDenied(message, hint=hint)

    def _no_registry(self, evidence: str) -> NotARegistry:
        message = f"{self._host} is not a registry: {evidence}"
        return NotARegistry(message, hint="Check host and port.")


def _named(kind: type[_NAME], text: str) -> _NAME | ListingProblem:
    try:
        return kind(text)
    except InvalidName:
        message = "an invalid name, which no request can contain"
        return ListingProblem(ProblemCode.INVALID_NAME, tidy(text) or "(no name)", message)


def _expect_digest(wanted: Digest, found: str) -> None:
    if wanted != found:
        message = f"the bytes for the blob {wanted} have the digest {found}"
        raise VerificationFailed(message)
