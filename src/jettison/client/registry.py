"""A registry over HTTP: :class:`~jettison.registry.Registry` by the OCI distribution specification.

``tests/registries/scripted.py`` has what real registries do beyond or against it. A 404 means
"does not exist" only from a server that has shown itself to be a registry. Of a manifest only the
bytes count.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Final, Self

from jettison.client import capabilities, times
from jettison.client.answers import (
    content_digest,
    describe,
    error_codes,
    is_page,
    read_index,
    read_repositories,
    read_tags,
    type_inside,
)
from jettison.client.auth import Access
from jettison.client.blobs import Blobs
from jettison.client.credentials import Credentials, CredentialSource, FixedCredentials
from jettison.client.meanings import Meanings
from jettison.client.pages import Pages
from jettison.client.transport import (
    ClientOptions,
    Response,
    Timing,
    Transport,
)
from jettison.errors import (
    AccessDenied,
    DeletionRefused,
    InvalidDigest,
    InvalidManifest,
    JettisonError,
    NotFoundError,
    RegistryFailing,
    TagsAppeared,
    UnexpectedResponse,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import signed_content
from jettison.model.mediatypes import ACCEPT
from jettison.model.names import RepoName, Tag
from jettison.model.preconditions import ONLY_TAGS, TAGS_CHANGED
from jettison.model.products import UNKNOWN
from jettison.model.retention.evidence import Evidence, Times
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import Capabilities, RawManifest

__all__ = ["RemoteRegistry"]

_UNTYPED: Final = frozenset({"", "application/json", "application/octet-stream", "text/plain"})

_CATALOG: Final = Access(None, ("*",))


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
        self._meanings = Meanings(host, self.transport)
        self._pages = Pages(host, self.transport, self._meanings)
        self._blobs = Blobs(host, self.transport, self._meanings)
        self._asking_extensions = asyncio.Lock()
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
        return await self._meanings.confirm()

    async def capabilities(self, repository: RepoName | None = None) -> Capabilities:
        """Probe without changing anything; see :func:`jettison.client.capabilities.probe`."""
        base = await self._meanings.confirm()
        found = await capabilities.probe(self.transport, base, repository)
        self._meanings.product = found.product
        return found

    # -- listing -------------------------------------------------------------------------------

    async def repositories(self) -> AsyncIterator[RepoName | ListingProblem]:
        """Yield the catalog, page by page (a Distribution extension: ``GET /v2/_catalog``)."""
        hint = f"Name a repository: {self._host}/REPO."
        try:
            async for item in self._pages.names(
                "/v2/_catalog", _CATALOG, read_repositories, RepoName
            ):
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
        async for item in self._pages.names(path, Access(repository, ("pull",)), read_tags, Tag):
            if item is None:
                message = f"there is no repository {repository} in {self._host}"
                raise NotFoundError(message, hint=f"List them with: jettison ls {self._host}")
            yield item

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:
        """Return the manifests whose subject is ``digest`` (end-12a); None without that API."""
        path = f"/v2/{repository}/referrers/{digest}"
        access = Access(repository, ("pull",))
        found: list[Digest] = []
        async for page in self._pages.pages(path, access, read_index, numbered=False):
            if page is None:
                return None
            try:
                found += [Digest(text) for text in page]
            except InvalidDigest as error:
                message = f"{self._host} lists a referrer of {digest.short} with an {error.message}"
                raise UnexpectedResponse(message) from None
        return found

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
            await self._meanings.expect_registry(response)
            return None
        if response.status == HTTPStatus.OK and not is_page(response):
            digest = content_digest(response)
            if digest is not None:
                return digest
        elif response.status in {401, 403}:
            raise self._meanings.denied(response, access)
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
        base = await self._meanings.confirm()
        async with self._asking_extensions:
            found = "" if self._meanings.product == UNKNOWN.name else self._meanings.product
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
            await self._meanings.expect_registry(response)
            return None
        if response.status != HTTPStatus.OK:
            raise await self._meanings.unexpected(response, access, f"GET {path}")
        if is_page(response):
            raise await self._meanings.unreadable(response, path)
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
            raise await self._meanings.write_refused(response, access, f"PUT {path}")
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
            await self._meanings.expect_registry(response)
            # An answer was lost on the way: then the first attempt is what removed it.
            return response.uncertain
        if response.status in {405, 501}:
            await self._meanings.expect_registry(response)
            raise capabilities.refused_deletion(self._host, response, self._meanings.product)
        codes = error_codes(response)
        if response.status == HTTPStatus.PRECONDITION_FAILED and TAGS_CHANGED in codes:
            message = f"{self._host}/{repository}: {describe(response)}"
            raise TagsAppeared(message, hint="Run the command again to see the new plan.")
        denied = response.status in {401, 403} or "DENIED" in codes
        if denied or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise await self._meanings.unexpected(response, access, f"DELETE {path}")
        await self._meanings.expect_registry(response)
        message = f"{self._host} does not delete {repository} {reference}: {describe(response)}"
        hint = None
        if response.status == HTTPStatus.BAD_REQUEST and isinstance(reference, Tag):
            message = f"{self._host} cannot remove a tag by itself: {describe(response)}"
            hint = "Distribution can from version 3 on."
        raise DeletionRefused(message, codes=frozenset(codes), hint=hint)

    # -- blobs ---------------------------------------------------------------------------------

    async def blob_size(self, repository: RepoName, digest: Digest) -> int | None:
        """Return the size that HEAD claims, in bytes (end-2). A stale cache lies."""
        return await self._blobs.size(repository, digest)

    async def blob_sizes(self) -> dict[Digest, int] | None:
        """Return None: no API lists blobs."""
        return None

    async def has_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> bool:
        """Whether the first byte of a blob comes; see :meth:`jettison.client.blobs.Blobs.has`."""
        return await self._blobs.has(repository, digest, size=size)

    def read_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the blob's bytes (end-2); see :meth:`jettison.client.blobs.Blobs.read`."""
        return self._blobs.read(repository, digest, size=size)

    async def put_blob(
        self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> None:
        """Upload a blob; see :meth:`jettison.client.blobs.Blobs.put`."""
        await self._blobs.put(repository, digest, chunks)
