"""What every registry can do, wherever it is: the one protocol that ``client`` and ``store`` share.

Everything in ``jobs`` is written once against :class:`Registry`. Both implementations are
held to the contract in ``tests/contract/``.
"""

import enum
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

import msgspec

from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["Capabilities", "ConfigFacts", "Deletion", "RawManifest", "Registry"]


class ConfigFacts(msgspec.Struct, frozen=True):
    """Facts from an image's configuration; ``created`` is RFC 3339 as written there, or None."""

    created: str | None = None
    architecture: str = ""
    os: str = ""


class RawManifest(msgspec.Struct, frozen=True):
    """A manifest as it came: the bytes, their digest (computed, not believed), and their type."""

    digest: Digest
    media_type: str
    raw: bytes


class Deletion(enum.StrEnum):
    """What a DELETE of a digest that cannot exist was answered with."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    READ_ONLY = "read-only"
    DENIED = "denied"
    NEEDS_LOGIN = "needs-login"
    """Reading is open; a DELETE asks for a login, and none was given."""
    BLOCKED = "blocked"
    """Something in front of the registry answers in its place."""
    UNKNOWN = "unknown"


class Capabilities(msgspec.Struct, frozen=True):
    """What a registry was found to be able to do; None is "not found out".

    ``login`` is ``none``, ``basic`` or ``bearer``, or ``storage`` for a tree on a disk;
    ``logged_in`` whether a login was given and taken. ``said`` is how the DELETE was answered, and
    ``catalog_said`` how the list of repositories was, in the registry's own words.
    """

    deletion: Deletion
    product: str
    login: str
    untag: bool | None = None
    referrers: bool | None = None
    paging: bool | None = None
    catalog: bool | None = None
    catalog_said: str = ""
    logged_in: bool = False
    said: str = ""
    conditional: bool = False
    """Whether a DELETE looks and acts in one step: see ``only`` and ``expected`` below."""


class Registry(Protocol):
    """A registry that can be listed, read, and removed from.

    Errors are those of :mod:`jettison.errors`. "Not there" is never guessed from an error that
    could mean something else: 401, 403, time-outs and unreadable files raise.
    """

    @property
    def name(self) -> str:
        """How messages call it: the host, or the path of the storage."""

    @property
    def clock_difference(self) -> float | None:
        """Seconds by which this machine's clock is ahead of the registry's, as seen until now.

        None if nothing has told, or if it is the same clock.
        """

    def repositories(self) -> AsyncIterator[RepoName | ListingProblem]:
        """Yield the names of all repositories, each once, in no promised order.

        What is listed and cannot be named, or a list that ends before its end, is a
        :class:`~jettison.model.listing_problems.ListingProblem` among them; a list of which
        nothing can be had raises.
        """

    def tags(self, repository: RepoName) -> AsyncIterator[Tag | ListingProblem]:
        """Yield all tags, each once, in no promised order, and problems as above.

        An unknown repository raises :class:`~jettison.errors.NotFoundError`; one without tags
        yields nothing.
        """

    async def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return the digest that the tag points to, or None if there is no such tag."""

    async def revisions(self, repository: RepoName) -> list[Digest] | None:
        """Return all manifests of the repository, untagged ones too; None: it cannot tell."""

    async def snapshot(self, repository: RepoName) -> RepositorySnapshot | None:
        """Return all that is in the repository, read in one step; None: it is asked tag by tag.

        It is what :func:`jettison.jobs.discover.discover_repository` finds otherwise.
        """

    async def evidence(self, repository: RepoName) -> Evidence | None:
        """Return when the images of a repository were pushed, untagged and pulled, with sources.

        None: it tells nothing of the kind. When images were created is not in it: their configs
        say that. Ask after the manifests were read: some registries tell only with them. A registry
        that could tell and fails says why in ``unknown``, and raises nothing.
        """

    async def manifest(self, repository: RepoName, reference: Tag | Digest) -> RawManifest | None:
        """Return a manifest, or None if the repository does not have it.

        Bytes that do not have the digest asked for raise
        :class:`~jettison.errors.InvalidManifest`.
        """

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:
        """Return the manifests whose ``subject`` is ``digest``; None: it cannot tell.

        Referrers that only a tag names (``sha256-<hex>…``) are not in it.
        """

    async def blob_size(self, repository: RepoName, digest: Digest) -> int | None:
        """Return the size in bytes that the registry claims, or None. No proof of anything."""

    async def blob_sizes(self) -> dict[Digest, int] | None:
        """Return the size in bytes of every blob there is; None: it cannot tell."""

    async def has_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> bool:
        """Whether bytes really come when the blob is read (HEAD would not prove it).

        And as many as ``size``, if that is given, as far as the answer tells beforehand.
        """

    async def sound_blobs(
        self, repository: RepoName, sizes: Mapping[Digest, int | None]
    ) -> AbstractSet[Digest]:
        """Return blobs of which :meth:`has_blob` surely says that they are there, all at once.

        ``sizes`` has a size for each, in bytes, or None. The others are to be asked for one by one;
        those are all where the registry cannot tell of many at once.
        """

    def read_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the blob's bytes; raise if it is absent or its digest turns out wrong.

        Or if it has more than ``size`` bytes, if that is given: no more than those are yielded.
        """

    async def put_blob(
        self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> None:
        """Store a blob and link it into the repository; a wrong digest raises and stores nothing.

        Whether one is there already is for the caller to ask first.
        """

    async def put_manifest(
        self, repository: RepoName, reference: Tag | Digest, manifest: RawManifest
    ) -> None:
        """Store a manifest under a tag or its digest, the very bytes."""

    async def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there.

        With ``expected``, a registry that looks and acts in one step (a storage, and ours) raises
        :class:`~jettison.errors.PlanStale` if the tag points to anything else; others do not look.
        Raises :class:`~jettison.errors.UnexpectedResponse` where the registry cannot.
        """

    async def delete_manifest(
        self, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None = None
    ) -> bool:
        """Remove a manifest, and every tag of the repository that points to it.

        With ``only``, a registry that looks and acts in one step (a storage, and ours) raises
        :class:`~jettison.errors.TagsAppeared` if any other tag points to it, or one of these to
        anything else; others do not look.
        False if it was not there. Raises :class:`~jettison.errors.DeletionDisabled`, or
        :class:`~jettison.errors.DeletionRefused` for this one manifest.
        """

    async def capabilities(self, repository: RepoName | None = None) -> Capabilities:
        """Probe, without changing anything, what can be done (in that repository)."""

    async def aclose(self) -> None:
        """Let go of connections and files."""
