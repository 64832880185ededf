"""One repository of a bucket, as a listing shows it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Self

from jettison.errors import InvalidName, StorageError, StorageUnavailable
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.layout import MalformedLinkError, digests_in, parse_link
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.objects.bucket import Bucket, Entry
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.objects.listing import SOUND, Listing, RepositoryListing
from jettison.storage.objects.tags import TagListing
from jettison.storage.objects.unfinished import Arrived, Begun
from jettison.storage.protocol import (
    History,
    Layers,
    Leftover,
    LinkKind,
    Place,
    Problem,
    Revisions,
    Stamp,
    Tags,
    Upload,
    make_problem,
)

__all__ = ["LONGEST_LINK", "ObjectLinks", "ObjectRepository", "is_unread"]

LONGEST_LINK: Final = 4096
"""In bytes; what is longer is no link."""

_NEVER: Final = RepositoryListing()
_LEFTOVER: Final = ".tmp"
_PLACES: Final = TreePlaces()
InParts = Mapping[str, Sequence[tuple[Begun, Arrived]]]
"""What has arrived of uploads in parts, by upload; nothing of one that cannot be looked at."""

_NO_DIGEST: Final = "is named after something that is no digest"
_UNREAD: Final = "cannot be read"
_FOREIGN: Final = "was made by no registry, and is left alone"


class ObjectLinks:
    """The links of one kind in a repository, in a ``with`` block."""

    def __init__(self, found: RepositoryListing, kind: LinkKind) -> None:
        self._links = found.links[kind]
        self._emptied = found.emptied[kind]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stamp(self, digest: BinaryDigest) -> Stamp | None:
        """Return when a link was written, or None if there is none."""
        found = self._links.get(digest)
        return None if found is None else found.stamp

    def stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was written."""
        return list(map(self.stamp, digests))

    def place_stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was written, or something else in its place."""
        return [self.stamp(digest) or self._emptied.get(digest) for digest in digests]


class ObjectRepository:
    """The repository ``name`` in the last listing, which ``listing`` returns, in a ``with`` block.

    One that is not in it has nothing in it. ``in_parts`` are the uploads that no listing shows.
    """

    def __init__(
        self,
        bucket: Bucket,
        name: str,
        listing: Callable[[], Listing],
        in_parts: Callable[[], InParts] = dict,
    ) -> None:
        self._bucket = bucket
        self._listing = listing
        self._in_parts = in_parts
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def _found(self) -> RepositoryListing:
        return self._listing().repositories.get(self.name, _NEVER)

    def _problem(self, key: str, message: str) -> Problem:
        return make_problem(self.name, key, message)

    # Tags.

    def tags(self) -> Tags:
        """Return what each tag points to; only a link that the listing does not tell is read."""
        found = Tags({}, {}, [], [], [])
        unread: dict[str, Tag] = {}
        for name, one in self._found.tags.items():
            try:
                tag = Tag(name)
            except InvalidName:
                self._add_strange(name, one, found)
                continue
            if one.target is not None:
                found.current[tag] = one.target
            else:
                # Also one without a link: registries write that after the history.
                unread[layout.current_link(self.name, name)] = tag
        for key, link in self._read_links(unread):
            tag = unread[key]
            if isinstance(link, Problem):
                self._add_broken(tag, link, found)
            elif link is not None:
                found.current[tag] = link
            elif self._found.tags[tag].stamp is None:
                self._add_broken(tag, self._missing(tag), found)
        return found

    def _add_strange(self, name: str, one: TagListing, found: Tags) -> None:
        key = layout.tag_folder(self.name, name)
        if layout.is_foreign(name) and one.stamp is None and not one.history:
            found.foreign.append(self._problem(key, _FOREIGN))
            return
        message = "is a tag whose name the specification does not allow"
        found.problems.append(self._problem(key, message))
        found.strange.append(name)

    def _add_broken(self, tag: Tag, problem: Problem, found: Tags) -> None:
        found.broken[tag] = problem
        found.problems.append(problem)

    def _missing(self, name: str) -> Problem:
        message = "is missing, so nobody knows what the tag points to"
        return self._problem(layout.current_link(self.name, name), message)

    def tag(self, tag: Tag) -> BinaryDigest | Problem | None:
        """Return what a tag points to; None if there is no such tag."""
        one = self._found.tags.get(tag)
        if one is None:
            return None
        if one.stamp is None:
            return self._missing(tag)
        link = layout.current_link(self.name, tag)
        return one.target if one.target is not None else self._read_link(link)

    def meant_by_tag(self, name: str) -> set[BinaryDigest]:
        """Return what a tag's link and history name, whatever else is in them."""
        one = self._found.tags.get(name)
        if one is None:
            return set()
        found = {digest for digest, _ in one.history}
        for key in one.strange:
            found |= digests_in(key)
        return found | self._meant(layout.current_link(self.name, name))

    def _meant(self, key: str) -> set[BinaryDigest]:
        raw = self._raw(key)
        return set() if raw is None else digests_in(raw.decode("latin-1"))

    def had_others(self, tag: Tag) -> bool:
        """Whether a tag may ever have pointed to anything else."""
        one = self._found.tags.get(tag)
        return one is not None and (len(one.history) != 1 or bool(one.strange))

    def history(self, tag: str) -> History:
        """Return what the tag's history names, and what in it could not be understood."""
        one = self._found.tags.get(tag)
        if one is None:
            return History([], [])
        problems = [self._problem(key, _NO_DIGEST) for key in one.strange]
        return History([digest for digest, _ in one.history], problems)

    def tag_stamps(self, tags: Sequence[Tag]) -> list[Stamp | None]:
        """Return when each tag was last pushed; None for one without a link."""
        found = map(self._found.tags.get, tags)
        return [None if one is None else one.stamp for one in found]

    def history_stamps(self, tag: Tag, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when a tag was last pushed to point to each digest; None where it is not noted."""
        one = self._found.tags.get(tag)
        history: dict[BinaryDigest, Stamp] = {} if one is None else dict(one.history)
        return list(map(history.get, digests))

    def tags_stamp(self) -> Stamp | None:
        """Return when the bucket was listed: a tag that went before has left no trace.

        None where there are neither manifests nor tags.
        """
        return self._listing().made if self.has_manifests() else None

    # Links.

    def revisions(self) -> Revisions:
        """Return the manifests linked into the repository; only an unusual link is read."""
        found = Revisions([], set(), [], set(), [], set(), [])
        unread: dict[str, BinaryDigest] = {}
        for digest, row in self._found.links[LinkKind.REVISION].items():
            found.folders.append(digest)
            if row.number == SOUND:
                found.linked.add(digest)
            else:
                unread[self._key(LinkKind.REVISION, digest)] = digest
        emptied = self._found.emptied[LinkKind.REVISION]
        found.folders.extend(emptied)
        found.emptied.extend(emptied)
        for entry in self._found.misnamed[LinkKind.REVISION]:
            found.problems.append(self._problem(entry.key, _NO_DIGEST))
            found.meant.update(digests_in(entry.key), self._meant(entry.key))
        for key, link in self._read_links(unread):
            self._add_revision(unread[key], key, link, found)
        return found

    def _add_revision(
        self, digest: BinaryDigest, key: str, link: BinaryDigest | Problem | None, found: Revisions
    ) -> None:
        if isinstance(link, Problem):
            found.damaged.add(digest)
            found.problems.append(link)
            found.meant.update(self._meant(key))
        elif link is None:
            found.emptied.append(digest)
        elif link == digest:
            found.linked.add(digest)
        else:
            found.damaged.update((digest, link))
            message = f"points to {Digest.from_binary(link)} instead of what it is named after"
            found.problems.append(self._problem(key, message))

    def revision_names(self) -> list[BinaryDigest]:
        """Return the digests that have a place among the revisions, linked or not."""
        return [*self._found.links[LinkKind.REVISION], *self._found.emptied[LinkKind.REVISION]]

    def layers(self) -> Layers:
        """Return the blobs that have a place among the layers."""
        named = {*self._found.links[LinkKind.LAYER], *self._found.emptied[LinkKind.LAYER]}
        return Layers(named, [])

    def has_layers(self) -> bool:
        """Whether there is anything of a layer."""
        return "_layers" in self._found.parts

    def has_manifests(self) -> bool:
        """Whether there is anything of a manifest, or of a tag."""
        return "_manifests" in self._found.parts

    def layer_target(self, digest: BinaryDigest) -> BinaryDigest | Problem | None:
        """Return the blob that a layer's link leads to, or what is wrong with it; None: no link."""
        row = self._found.links[LinkKind.LAYER].get(digest)
        if row is None:
            return None
        return digest if row.number == SOUND else self._read_link(self._key(LinkKind.LAYER, digest))

    def layer_targets(self) -> Iterator[tuple[BinaryDigest, BinaryDigest | Problem | None]]:
        """Yield each layer with what :meth:`layer_target` says, many at once."""
        unread: dict[str, BinaryDigest] = {}
        for digest, row in self._found.links[LinkKind.LAYER].items():
            if row.number == SOUND:
                yield digest, digest
            else:
                unread[self._key(LinkKind.LAYER, digest)] = digest
        for key, link in self._read_links(unread):
            yield unread[key], link

    def sound_links(self, kind: LinkKind, digests: Sequence[BinaryDigest]) -> set[BinaryDigest]:
        """Return those digests that have a link of that kind which leads just to them."""
        rows = {digest: self._found.links[kind].get(digest) for digest in digests}
        found = {digest for digest, row in rows.items() if row and row.number == SOUND}
        unread = {self._key(kind, d): d for d, row in rows.items() if row and row.number != SOUND}
        links = self._read_links(unread)
        return found.union(unread[key] for key, link in links if link == unread[key])

    def links(self, kind: LinkKind) -> ObjectLinks:
        """Open the links of a kind."""
        return ObjectLinks(self._found, kind)

    def changes(self, kind: LinkKind) -> tuple[Stamp, ...]:  # noqa: ARG002 - of none it can be told
        """Return nothing: a bucket does not tell that something went."""
        return ()

    # Everything else.

    @property
    def strays(self) -> Sequence[Entry]:
        """The objects in the repository that are nothing of a registry's."""
        return self._found.strays

    def unread_history(self) -> Iterator[tuple[str, BinaryDigest, BinaryDigest | Problem | None]]:
        """Yield links of histories whose ETags tell nothing: key, the digest called for, theirs."""
        unread = {
            layout.history_link(self.name, name, Digest.from_binary(digest)): digest
            for name, one in self._found.tags.items()
            for digest in one.unread
        }
        for key, link in self._read_links(unread):
            yield key, unread[key], link

    def uploads(self) -> list[Upload]:
        """Return the unfinished uploads, with the parts that have arrived; those are asked for.

        One whose parts cannot be looked at is left out: it may be moving.
        """
        objects, parts = self._found.uploads, self._in_parts()
        return [
            _upload(name, objects.get(name, ()), parts.get(name, ()))
            for name in sorted(objects.keys() | parts.keys())
            if name not in parts or parts[name]
        ]

    def uploads_stamp(self) -> Stamp | None:
        """Return when the repository was last written to, None if it is not there.

        An upload that ended has left no trace but what it wrote.
        """
        return self._found.newest if self._found.parts else None

    def is_being_linked(self, digest: BinaryDigest) -> bool:
        """Whether anything but a link is in the place of a revision's."""
        return digest in self._found.emptied[LinkKind.REVISION]

    def leftovers(self, before: Stamp) -> list[Leftover]:
        """Return the temporary objects in the repository that are idle since ``before``."""
        return leftovers_among(self._found.strays, before)

    def is_idle(self, before: Stamp) -> bool:
        """Whether nothing was written in the repository since ``before``, and all of it is seen."""
        unseen = any(not found for found in self._in_parts().values())
        return self._found.newest <= before and not unseen

    def has_others(self, going: Collection[Place]) -> bool:
        """Whether an object is in it that is no link and no upload, but for those ``going``."""
        return any(Place(entry.key) not in going for entry in self._found.strays)

    # Reading single links.

    def _key(self, kind: LinkKind, digest: BinaryDigest) -> str:
        return _PLACES.link(kind, self.name, Digest.from_binary(digest))

    def _raw(self, key: str) -> bytes | None:
        try:
            return self._bucket.get(key, LONGEST_LINK)
        except StorageError:
            return None

    def _read_link(self, key: str) -> BinaryDigest | Problem | None:
        [(_, link)] = self._read_links([key])
        return link

    def _read_links(
        self, keys: Iterable[str]
    ) -> Iterator[tuple[str, BinaryDigest | Problem | None]]:
        for key, raw in self._bucket.get_each(list(keys), LONGEST_LINK):
            if isinstance(raw, StoreFailing | StorageUnavailable):
                raise raw
            if isinstance(raw, StorageError):
                yield key, self._problem(key, f"{_UNREAD}: {raw.message}")
            elif raw is None:
                yield key, None
            else:
                try:
                    yield key, parse_link(raw).binary
                except MalformedLinkError as error:
                    yield key, self._problem(key, str(error))


def _upload(name: str, objects: Sequence[Entry], parts: Sequence[tuple[Begun, Arrived]]) -> Upload:
    """Return an upload of some objects, and of parts that are to be further ones."""
    written = [one.stamp for one in objects]
    return Upload(
        name,
        min([*written, *(begun.began for begun, _ in parts)]),
        max([*written, *(arrived.moved for _, arrived in parts)]),
        len(objects) + len(parts),
        sum(one.size for one in objects) + sum(arrived.bytes for _, arrived in parts),
    )


def is_unread(problem: Problem) -> bool:
    """Whether a link could not be read, so that nobody knows what it leads to."""
    return problem.message.startswith(_UNREAD)


def leftovers_among(entries: Iterable[Entry], before: Stamp) -> list[Leftover]:
    """Return those of some objects that are temporary and idle since ``before``."""
    return [
        Leftover(Place(entry.key), entry.size, entry.stamp)
        for entry in entries
        if entry.key.endswith(_LEFTOVER) and entry.stamp <= before
    ]
