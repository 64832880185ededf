"""Asking a storage what is in it: the interface of the collector, of fsck and of listings."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol, Self

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest_references import References
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol.facts import (
    Absence,
    Blob,
    EmptyBlob,
    Features,
    History,
    Layers,
    Leftover,
    LinkKind,
    Named,
    Place,
    Problem,
    Repositories,
    Revisions,
    Stamp,
    Tags,
    Upload,
)

__all__ = ["Links", "Places", "RepositoryScan", "Scanning"]


class Places(Protocol):
    """The names of places, for messages and for plans. Nothing is looked at."""

    top: Place
    """The whole registry."""
    ours: Place
    """What is no part of the registry but ours: locks, drafts, what lies aside."""
    journal: Place
    aside: Place
    """Where blobs lie aside."""

    def blob(self, digest: Digest) -> Place:
        """Return where a blob's content is."""

    def aside_blob(self, digest: Digest) -> Place:
        """Return where a blob lies aside."""

    def blob_group(self, group: str) -> Place:
        """Return where the blobs of a group are."""

    def repository(self, name: str) -> Place:
        """Return where a repository is; "" is where all are."""

    def tag(self, repository: str, tag: str) -> Place:
        """Return where a tag's link is."""

    def whole_tag(self, repository: str, tag: str) -> Place:
        """Return where a tag is, its link and its history."""

    def links(self, kind: LinkKind, repository: str, algorithm: str) -> Place:
        """Return where the links of a kind and algorithm are."""

    def link(self, kind: LinkKind, repository: str, digest: Digest) -> Place:
        """Return where a link is."""

    def history(self, repository: str, tag: str, algorithm: str) -> Place:
        """Return where a tag's history of an algorithm is."""

    def history_link(self, repository: str, tag: str, digest: Digest) -> Place:
        """Return where it is noted that a tag once pointed to a digest."""

    def upload(self, repository: str, upload: str) -> Place:
        """Return where an unfinished upload is."""

    def named(self, place: str) -> Named | None:
        """Return what a place of :meth:`blob` or :meth:`link` is; None for any other."""


class Links(Protocol):
    """The links of one kind in one repository, in a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def stamp(self, digest: BinaryDigest) -> Stamp | None:
        """Return when a link was written, or None if there is none."""

    def stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was written, quicker than one by one."""

    def place_stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was last made or removed, None if never."""


class RepositoryScan(Protocol):
    """What is in one repository, in a ``with`` block.

    A repository that is not there has nothing in it. What cannot be listed raises
    :class:`~jettison.errors.StorageError`: what it hides is not known.
    """

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def tags(self) -> Tags:
        """Return what each tag points to."""

    def tag(self, tag: Tag) -> BinaryDigest | Problem | None:
        """Return what a tag points to; None if there is no such tag."""

    def meant_by_tag(self, name: str) -> set[BinaryDigest]:
        """Return what an entry of the tags that is not understood may have been meant to name."""

    def had_others(self, tag: Tag) -> bool:
        """Whether a tag may ever have pointed to anything else; True where that is not known."""

    def history(self, tag: str) -> History:
        """Return what the tag's history names, and what in it could not be understood."""

    def tag_stamps(self, tags: Sequence[Tag]) -> list[Stamp | None]:
        """Return when each tag was last pushed; None for one without a link."""

    def history_stamps(self, tag: Tag, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when a tag was last pushed to point to each digest; None where that is not noted.

        A tag's history is removed with the tag.
        """

    def tags_stamp(self) -> Stamp | None:
        """Return a stamp not older than when a tag was last removed; None if there is none.

        It is that of the last tag that was new, or was removed.
        """

    def revisions(self) -> Revisions:
        """Return the manifests linked into the repository, tagged or not."""

    def revision_names(self) -> list[BinaryDigest]:
        """Return the digests that have a place among the revisions, linked or not."""

    def layers(self) -> Layers:
        """Return the blobs that have a place among the layers."""

    def has_layers(self) -> bool:
        """Whether there ever was a layer."""

    def has_manifests(self) -> bool:
        """Whether there ever was a manifest, or a tag."""

    def layer_target(self, digest: BinaryDigest) -> BinaryDigest | Problem | None:
        """Return the blob that a layer's link leads to, or what is wrong with it; None: no link.

        It is the digest itself, but for content pushed under another algorithm, which Distribution
        stores under its sha256.
        """

    def links(self, kind: LinkKind) -> Links:
        """Open the links of a kind."""

    def sound_links(self, kind: LinkKind, digests: Sequence[BinaryDigest]) -> set[BinaryDigest]:
        """Return those digests that have a link of that kind which leads just to them.

        What the others have :meth:`layer_target` and :meth:`revisions` tell.
        """

    def changes(self, kind: LinkKind) -> tuple[Stamp, ...]:
        """Return stamps that change when a place for a link of that kind is made or removed.

        Nothing is returned where that cannot be told, as for what changed a moment ago.
        """

    def uploads(self) -> list[Upload]:
        """Return the unfinished uploads."""

    def uploads_stamp(self) -> Stamp | None:
        """Return when an upload last began or ended, None if there never was one."""

    def is_being_linked(self, digest: BinaryDigest) -> bool:
        """Whether a revision's link is just being written beside its place."""

    def leftovers(self, before: Stamp) -> list[Leftover]:
        """Return the temporary files anywhere in the repository that are idle since ``before``."""

    def is_idle(self, before: Stamp) -> bool:
        """Whether nothing was made or removed in the repository itself since ``before``.

        Layers, manifests and tags as such are parts of it, and each upload. Single places of links
        and single tags are not.
        """

    def has_others(self, going: Collection[Place]) -> bool:
        """Whether something is in the repository that is no link and no upload, but for ``going``.

        Nothing removes it, so the repository stays.
        """


class Scanning(Protocol):
    """What is in a storage.

    ``location`` is its name for people, and what opens it again. ``absence`` says what may lawfully
    be absent. Blobs come in groups, of which each is listed by itself. A group is called
    ``<algorithm>/<first two digits>``.
    """

    absence: Absence

    @property
    def location(self) -> str:
        """The name of the storage."""

    @property
    def features(self) -> Features:
        """What it can do."""

    @property
    def places(self) -> Places:
        """The names of places in it."""

    def look_again(self) -> None:
        """Answer what is asked from now on as things are by then, not as they were listed before.

        Whoever looks before it acts, or after somebody else has acted, begins with this.
        """

    def scan_repositories(self) -> Repositories:
        """Return all repositories; nothing in them is read."""

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""

    def repository(self, name: str) -> RepositoryScan:
        """Look into a repository."""

    def unseen_uploads(self) -> str | None:
        """Return why there may be more unfinished uploads than repositories tell; else None.

        The answer is about what they have told so far.
        """

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of this name."""

    def name_stamp(self, name: str) -> Stamp | None:
        """Return when something was last made or removed under a name of repositories."""

    def changes_each(self, names: Sequence[str], kind: LinkKind) -> list[tuple[Stamp, ...]]:
        """Return what :meth:`RepositoryScan.changes` says of each repository."""

    def are_linked(self, kind: LinkKind, pairs: Sequence[tuple[str, BinaryDigest]]) -> list[bool]:
        """Tell of each repository and digest whether there is a link of that kind."""

    def blob_groups(self, problems: list[Problem] | None = None) -> list[str]:
        """Return the groups of blobs, sorted. What is none is noted in ``problems``."""

    def blobs_in(self, group: str, problems: list[Problem] | None = None) -> list[BinaryDigest]:
        """Return the blobs that have a place in a group, sorted. None is looked at."""

    def group_change(self, group: str) -> int:
        """Return what :meth:`changed_blob_groups` is told of a group that is listed right after."""

    def changed_blob_groups(self, seen: dict[str, int]) -> Iterator[tuple[str, list[BinaryDigest]]]:
        """Yield the groups in which a blob was made or removed since the last call, with all blobs.

        ``seen`` is what the last call left there, or :meth:`group_change` said; it is brought up to
        date. One that may have changed is yielded too.
        """

    def blob(self, digest: BinaryDigest) -> Blob | None:
        """Return a blob's size and time, or None if there is none."""

    def blobs_each(self, digests: Sequence[BinaryDigest]) -> list[Blob | None]:
        """Return the size and time of each blob, quicker than one by one."""

    def sizes_each(
        self, digests: Sequence[BinaryDigest], *, readable: bool = False
    ) -> list[int | None]:
        """Return the size of each blob in bytes, quicker yet; None for one that is not there.

        With ``readable`` also None for one whose first bytes cannot be read.
        """

    def blobs(self) -> Iterator[Blob]:
        """Yield every blob with its size and time."""

    def empty_blob(self, digest: BinaryDigest, before: Stamp) -> EmptyBlob | None:
        """Look at the place of a blob: temporary files, and whether it can go (idle ``before``).

        None if there is no such place.
        """

    def manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, References]]:
        """Yield what manifests reference, each with its digest, in any order.

        Only those that are as manifests are: whole, of usual size, understood. What is the matter
        with the others :meth:`read_manifest` tells.
        """

    def whole_manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, bytes]]:
        """Yield the bytes of manifests that have the digest asked for, in any order.

        Not of those that are of unusual size, nor of such as cannot be read: :meth:`read_manifest`
        tells of each.
        """

    def read_manifest(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, whatever they are, or None if there is no such blob.

        Also of one that a sweep has taken aside. Raises :class:`~jettison.errors.StorageError` for
        what cannot be read, or is too large for any manifest.
        """

    def read_blob(self, digest: BinaryDigest, chunk: int = 256 * 1024) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces of ``chunk`` bytes; nothing if there is no such blob."""

    def free_bytes(self) -> int | None:
        """Return how much room is left, in bytes; None where that is not known."""

    def keeps_removed(self) -> bool:
        """Whether what is removed stays, hidden and not freed: a bucket that keeps versions."""
