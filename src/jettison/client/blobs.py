"""Blobs of a registry: whether they are there, their bytes, and uploads."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from yarl import URL

from jettison.client.auth import Access
from jettison.client.meanings import Meanings
from jettison.client.transport import Response, TooLong, Transport
from jettison.errors import (
    NotFoundError,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.names import RepoName

__all__ = ["Blobs"]

_ABANDON_SECONDS: Final = 5.0
_SMALL: Final = 256 * 1024


class Blobs:
    """The blobs of the registry at ``host``."""

    def __init__(self, host: str, transport: Transport, meanings: Meanings) -> None:
        self._host = host
        self._transport = transport
        self._meanings = meanings

    async def size(self, repository: RepoName, digest: Digest) -> int | None:
        """Return the size that HEAD claims, in bytes (end-2). A stale cache lies."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        response = await self._transport.request("HEAD", path, access)
        if response.status == HTTPStatus.NOT_FOUND:
            await self._meanings.expect_registry(response)
            return None
        if response.status != HTTPStatus.OK:
            raise await self._meanings.unexpected(response, access, f"HEAD {path}")
        return response.content_length

    async def has(self, repository: RepoName, digest: Digest, *, size: int | None = None) -> bool:
        """GET the blob and see whether its first byte comes, then drop the connection.

        An answer that announces another length than ``size`` does not count. A registry with a
        stale descriptor cache answers 200 and sends nothing, or breaks off. The request is sent
        twice, so that a network failure is not mistaken for that.
        """
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        for _ in range(2):
            async with self._transport.stream(path, access) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    await self._meanings.expect_registry(response)
                    return False
                if response.status != HTTPStatus.OK:
                    raise await self._meanings.unexpected(response, access, f"GET {path}")
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

    async def read(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the blob's bytes (end-2).

        Raises :class:`~jettison.errors.NotFoundError`, and
        :class:`~jettison.errors.VerificationFailed` if there are more than ``size`` bytes, or
        after the last one if the digest differs. One that ought to be small comes whole.
        """
        if size is not None and size <= _SMALL:
            if content := await self._small(repository, digest, size):
                yield content
            return
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        hasher = hashlib.new(digest.algorithm)
        async with self._transport.stream(path, access) as response:
            await self._expect(response, access, repository, digest)
            read = 0
            async for chunk in response.chunks():
                read += len(chunk)
                if size is not None and read > size:
                    raise self._too_long(repository, digest, size)
                hasher.update(chunk)
                yield chunk
        if hasher.hexdigest() != digest.hex:
            raise self._other_bytes(repository, digest)

    async def _small(self, repository: RepoName, digest: Digest, size: int) -> bytes:
        """Return a blob in one request, which is cheaper than a stream and can be repeated."""
        access = Access(repository, ("pull",))
        path = f"/v2/{repository}/blobs/{digest}"
        try:
            response = await self._transport.request("GET", path, access, limit=size)
        except TooLong:
            raise self._too_long(repository, digest, size) from None
        await self._expect(response, access, repository, digest)
        if not digest.matches(response.body):
            raise self._other_bytes(repository, digest)
        return response.body

    async def _expect(
        self, response: Response, access: Access, repository: RepoName, digest: Digest
    ) -> None:
        if response.status == HTTPStatus.NOT_FOUND:
            await self._meanings.expect_registry(response)
            message = f"there is no blob {digest} in {self._host}/{repository}"
            raise NotFoundError(message)
        if response.status != HTTPStatus.OK:
            path = f"/v2/{repository}/blobs/{digest}"
            raise await self._meanings.unexpected(response, access, f"GET {path}")

    def _too_long(self, repository: RepoName, digest: Digest, size: int) -> VerificationFailed:
        message = f"{self._host} sends more than the {size:,} bytes of the blob {digest}"
        return VerificationFailed(f"{message} of {repository}")

    def _other_bytes(self, repository: RepoName, digest: Digest) -> VerificationFailed:
        message = f"{self._host} sends other bytes for the blob {digest} of {repository}"
        hint = "Its storage is damaged, or its cache is stale."
        return VerificationFailed(message, hint=hint)

    async def put(self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]) -> None:
        """Upload as Docker does: POST, one streamed PATCH, PUT with the digest (end-4a, 5, 6).

        Bytes with another digest raise VerificationFailed, and the upload is cancelled.
        """
        access = Access(repository, ("pull", "push"))
        path = f"/v2/{repository}/blobs/uploads/"
        response = await self._transport.request("POST", path, access, body=b"")
        if response.status != HTTPStatus.ACCEPTED:
            raise await self._meanings.write_refused(response, access, f"POST {path}")
        upload = self._upload_url(response, response.url)
        try:
            response, found = await self._send(upload, access, digest, chunks)
            # The address changes with every piece; the old one cannot even be cancelled.
            upload = self._upload_url(response, upload)
            _expect_digest(digest, found)
        except BaseException:
            await self._abandon(upload, access)
            raise
        # As text: what is in the address already must stay exactly as the registry wrote it.
        sign = "&" if upload.raw_query_string else "?"
        target = self._transport.url(f"{upload}{sign}digest={digest.replace(':', '%3A')}")
        response = await self._transport.request("PUT", target, access, body=b"")
        if response.status not in {201, 204} and not (
            # An answer was lost, and the upload is finished since.
            response.uncertain and await self.size(repository, digest) is not None
        ):
            raise await self._meanings.write_refused(response, access, f"PUT {path}")

    async def _send(
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
            response = await self._transport.upload("PATCH", upload, access, hashed())
        except (Unreachable, RegistryFailing):
            if failed:
                raise failed[0] from None
            raise
        if response.status not in {200, 201, 202, 204}:
            raise await self._meanings.write_refused(response, access, f"PATCH {upload.path}")
        return response, f"{digest.algorithm}:{hasher.hexdigest()}"

    def _upload_url(self, response: Response, base: URL) -> URL:
        location = response.headers.get("Location")
        if not location:
            message = f"{self._host} does not say where to continue an upload"
            raise UnexpectedResponse(message)
        url = self._transport.url(location, base)
        if self._transport.origin.scheme == "https" and url.scheme == "http":
            message = f"{self._host} wants to continue an upload without TLS, at {url.origin()}"
            hint = "Set http.host, or http.relativeurls: true, in the registry's configuration."
            raise UnexpectedResponse(message, hint=hint)
        return url

    async def _abandon(self, upload: URL, access: Access) -> None:
        """Cancel an upload, without errors: the failure before matters more."""
        with suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(_ABANDON_SECONDS):
                await self._transport.request("DELETE", upload, access)


def _expect_digest(wanted: Digest, found: str) -> None:
    if wanted != found:
        message = f"the bytes for the blob {wanted} have the digest {found}"
        raise VerificationFailed(message)
