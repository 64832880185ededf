"""Reading one repository of a storage tree: tags, revisions, layers, uploads.

Each listing opens its folder once and reaches what is in it by name, so a repository costs three
system calls for each tag and manifest and hardly any for its layers. Digests are raw.
"""

import os
import time
from collections.abc import Collection, Sequence
from typing import Final, Self

from jettison.errors import InvalidName
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest, binary_digest
from jettison.model.names import Tag
from jettison.storage.filesystem import layout, native
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError
from jettison.storage.filesystem.links import (
    FIRST,
    LONGEST,
    Links,
    Unsettled,
    is_fresh,
    link_states,
    meant_by,
    patiently,
    plain_links,
)
from jettison.storage.filesystem.reading import SETTLED_NS, TreeReader, digest_folders, is_leftover
from jettison.storage.protocol import (
    History,
    Layers,
    Leftover,
    LinkKind,
    Place,
    Problem,
    Protects,
    Revisions,
    Stamp,
    Tags,
    Upload,
    make_problem,
)

__all__ = [
    "RepositoryReader",
    "leftovers_in",
    "read_upload",
]

_FOREIGN: Final = "was made by no registry, and is left alone"
_ONE_FOLDER: Final = 3
"""How many names a folder has that one folder is in: two of its own, and that one's `..`."""


def read_upload(name: str, folder: Folder) -> Upload:
    """Return what an upload's folder has, wherever that is now."""
    times, sizes = [folder.own_time()], []
    for entry in folder.entries():
        status = folder.look(entry.name)
        if status is not None:
            times.append(status.st_mtime_ns)
            if entry.is_file(follow_symlinks=False):
                sizes.append(status.st_size - folder.kept(entry.name, status))
    started, moved = Stamp(min(times)), Stamp(max(times))
    return Upload(name, started, moved, len(sizes), sum(sizes))


def leftovers_in(
    tree: TreeReader, folder: Folder, before: Stamp
) -> tuple[list[Leftover], list[str]]:
    """Return the temporary files in a folder that were not touched lately, and what else is in."""
    left: list[Leftover] = []
    others: list[str] = []
    for entry in folder.entries():
        status = folder.look(entry.name) if is_leftover(entry) else None
        if status is None or status.st_mtime_ns > before:
            others.append(entry.name)
        else:
            place = Place(tree.relative(f"{folder.path}/{entry.name}"))
            freed = status.st_size - folder.kept(entry.name, status)
            left.append(Leftover(place, freed, Stamp(status.st_mtime_ns)))
    return left, others


class RepositoryReader:
    """Reads the repository ``name`` of a tree, in a ``with`` block.

    A repository that is not there has nothing in it. Folders that cannot be listed raise
    :class:`~jettison.errors.StorageError`.
    """

    def __init__(self, tree: TreeReader, name: str) -> None:
        self._tree = tree
        self.name = name
        self.blocked: list[Problem] = []
        self._folder: Folder | None = None
        top = tree.repositories_folder
        if top is not None:
            self._folder = self._open_in(top, name, self.blocked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.close()

    # Tags.

    def tags(self) -> Tags:
        """Return what each tag points to; none if there is no tags folder."""
        found = Tags({}, {}, [], [], [])
        folder = self.open(layout.TAGS, found.problems)
        if folder is None:
            return found
        with folder:
            names, others = folder.folders()
            own = self._without_foreign(folder, others, found.foreign)
            self._no_folders(folder, own, found.problems)
            odd = []
            raws = folder.read_each([f"{name}/current/{layout.LINK}" for name in names], FIRST)
            for name, digest in zip(names, plain_links(raws), strict=True):
                try:
                    tag = Tag(name)
                except InvalidName:
                    if self._is_foreign(folder, name, ("current", "index")):
                        found.foreign.append(self._problem(folder, name, _FOREIGN))
                        continue
                    message = "is a tag whose name the specification does not allow"
                    found.problems.append(self._problem(folder, name, message))
                    found.strange.append(name)
                    continue
                if digest is None:
                    odd.append(tag)
                else:
                    found.current[tag] = digest
            for tag, link in patiently(odd, lambda tag: self._tag(folder, tag)):
                if isinstance(link, Problem):
                    found.broken[tag] = link
                    found.problems.append(link)
                elif link is not None:
                    found.current[tag] = link
        return found

    def tag(self, tag: Tag) -> BinaryDigest | Problem | None:
        """Return what a tag points to; None if there is no such tag."""
        problems: list[Problem] = []
        folder = self.open(layout.TAGS, problems)
        if folder is None:
            return problems[0] if problems else None
        with folder:
            [(_, link)] = patiently([tag], lambda tag: self._tag(folder, tag))
            return link

    def _tag(self, folder: Folder, tag: Tag) -> "BinaryDigest | Problem | Unsettled | None":
        name = f"{tag}/current/{layout.LINK}"
        try:
            link = self._link(folder, name)
        except UnusableError as error:
            problem = self._problem(folder, name, str(error))
            return Unsettled(problem, is_fresh(folder, name))
        if link is not None:
            return link
        if folder.look(tag) is None:
            return None
        # Being removed just now, or being made.
        message = "is missing, so nobody knows what the tag points to"
        problem = self._problem(folder, name, message)
        fresh = any(is_fresh(folder, inner) for inner in (tag, f"{tag}/current", f"{tag}/index"))
        return Unsettled(problem, fresh)

    def meant_by_tag(self, name: str) -> set[BinaryDigest]:
        """Return what an entry of the tags that is not understood may have been meant to point to.

        That is whatever its link or its history name. ``name`` may be none that a tag can have.
        """
        folder = self.open(f"{layout.TAGS}/{name}", [])
        if folder is None:
            return set()
        with folder:
            found = meant_by(folder, f"current/{layout.LINK}")
        return found.union(self.history(name).digests)

    def had_others(self, tag: Tag) -> bool:
        """Whether a tag may ever have pointed to anything else, at the cost of one look.

        Most file systems count a folder's folders; of the others nobody knows.
        """
        if self._folder is None:
            return False
        found = self._folder.look(f"{layout.TAGS}/{tag}/index/sha256")
        return found is None or found.st_nlink != _ONE_FOLDER

    def history(self, tag: str) -> History:
        """Return what the tag's history names, and what in it could not be understood."""
        found = History([], [])
        top = self.open(f"{layout.TAGS}/{tag}/index", found.problems)
        if top is None:
            return found
        with top:
            algorithms, others = top.folders()
            self._no_folders(top, others, found.problems)
            for algorithm in algorithms:
                folder = self._open_in(top, algorithm, found.problems)
                if folder is None:
                    continue
                with folder:
                    digests, strange, others = digest_folders(folder, algorithm)
                    self._no_folders(folder, others, found.problems)
                    found.digests.extend(digests)
                    for name in strange:
                        message = "is named after something that is no digest"
                        found.problems.append(self._problem(folder, name, message))
        return found

    def tag_stamps(self, tags: Sequence[Tag]) -> list[Stamp | None]:
        """Return when each tag was last pushed; None for one without a link."""
        return self._stamps(layout.TAGS, [f"{tag}/current/{layout.LINK}" for tag in tags])

    def history_stamps(self, tag: Tag, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when a tag was last pushed to point to each digest; None where it is not noted."""
        named = map(Digest.from_binary, digests)
        names = [f"{digest.algorithm}/{digest.hex}/{layout.LINK}" for digest in named]
        return self._stamps(f"{layout.TAGS}/{tag}/index", names)

    def tags_stamp(self) -> Stamp | None:
        """Return when a tag's folder, or the folder of all tags, was last made or removed."""
        if self._folder is None:
            return None
        found = self._folder.time(layout.TAGS)
        if found is None:
            found = self._folder.time("_manifests")
        return None if found is None else Stamp(found)

    def _stamps(self, inner: str, names: list[str]) -> list[Stamp | None]:
        folder = self.open(inner, [])
        if folder is None:
            return [None] * len(names)
        with folder:
            looks = folder.look_each(names)
        return [None if look is None else Stamp(look.st_mtime_ns) for look in looks]

    # Revisions.

    def revisions(self) -> Revisions:
        """Return the manifests linked into the repository, tagged or not."""
        found = Revisions([], set(), [], set(), [], set(), [])
        top = self.open(layout.REVISIONS, found.problems)
        if top is None:
            return found
        with top:
            for algorithm in self._algorithms(top, found.problems):
                folder = self._open_in(top, algorithm, found.problems)
                if folder is not None:
                    with folder:
                        self._revisions(folder, algorithm, found)
        return found

    def _revisions(self, folder: Folder, algorithm: str, found: Revisions) -> None:
        digests, strange, others = digest_folders(folder, algorithm)
        for name in strange:
            if self._is_foreign(folder, name, (layout.LINK,)):
                found.foreign.append(self._problem(folder, name, _FOREIGN))
                continue
            message = "is named after something that is no digest"
            found.problems.append(self._problem(folder, name, message))
            found.meant.update(layout.digests_in(name), meant_by(folder, f"{name}/{layout.LINK}"))
        for entry in self._without_foreign(folder, others, found.foreign):
            if not is_leftover(entry):
                digest = binary_digest(algorithm, entry.name)
                if digest is not None:
                    found.damaged.add(digest)
                found.problems.append(self._no_folder(folder, entry))
                found.meant.update(layout.digests_in(entry.name), meant_by(folder, entry.name))
        found.folders.extend(digests)
        self._linked_each(folder, algorithm, digests, found)

    def _linked_each(
        self, folder: Folder, algorithm: str, digests: list[BinaryDigest], found: Revisions
    ) -> None:
        """Note of each folder whether its link is sound, absent, or what is wrong with it."""
        odd = []
        for digest, state in zip(digests, link_states(folder, algorithm, digests), strict=True):
            if state == native.LINKED:
                found.linked.add(digest)
            elif state == native.ABSENT and not self._tree.links_aside:
                found.emptied.append(digest)
            else:
                odd.append(digest)
        for digest, link in patiently(odd, lambda one: self._linked(folder, one)):
            if isinstance(link, Problem):
                found.damaged.add(digest)
                found.problems.append(link)
                found.meant.update(meant_by(folder, f"{digest.hex()}/{layout.LINK}"))
            elif link is None:
                found.emptied.append(digest)  # DELETE leaves the folder and takes the link
            elif link == digest:
                found.linked.add(digest)
            else:
                found.damaged.update((digest, link))
                message = f"points to {Digest.from_binary(link)} instead of what its folder is "
                path = f"{digest.hex()}/{layout.LINK}"
                found.problems.append(self._problem(folder, path, message + "named after"))

    def _linked(
        self, folder: Folder, digest: BinaryDigest
    ) -> "BinaryDigest | Problem | Unsettled | None":
        name = f"{digest.hex()}/{layout.LINK}"
        try:
            if self._tree.links_aside and folder.time(name) is None:
                name = f"{digest.hex()}/{layout.ASIDE_LINK}"
            return self._link(folder, name)
        except UnusableError as error:
            problem = self._problem(folder, name, str(error))
            return Unsettled(problem, is_fresh(folder, name))

    def revision_names(self) -> list[BinaryDigest]:
        """Return the digests that have a folder among the revisions, linked or not."""
        return self._digests(layout.REVISIONS, [])[0]

    def revision_time(self, digest: BinaryDigest) -> int | None:
        """Return when a revision was linked (nanoseconds), or None if it is not."""
        return self._time(layout.REVISIONS, digest)

    # Layers and uploads.

    def layers(self) -> Layers:
        """Return the blobs that ``_layers`` names."""
        found = Layers(set(), [])
        digests, behind = self._digests(layout.LAYERS, found.problems)
        found.named.update(digests)
        for digest in behind:
            message = "is a symbolic link, which is not followed"
            path = layout.layer_link(self.name, Digest.from_binary(digest)).removesuffix("/link")
            found.problems.append(make_problem(self.name, path, message))
        return found

    def layer_target(self, digest: BinaryDigest) -> BinaryDigest | Problem | None:
        """Return the blob that a layer's link leads to, or what is wrong with it.

        It is the digest itself, but for content pushed under another algorithm: Distribution
        stores that under its sha256 and makes the other digest's link point there. None for a
        link that is absent.
        """
        folder = self._digest_folder(layout.LAYERS, digest)
        if folder is None:
            return None
        with folder:
            [(_, link)] = patiently([digest], lambda one: self._linked(folder, one))
            return link

    def layer_time(self, digest: BinaryDigest) -> int | None:
        """Return when a layer was linked (nanoseconds), or None if it is not."""
        return self._time(layout.LAYERS, digest)

    def uploads(self) -> list[Upload]:
        """Return the unfinished uploads."""
        top = self.open(layout.UPLOADS, [])
        if top is None:
            return []
        found = []
        with top:
            for name in sorted(top.folders()[0]):
                if layout.is_foreign(name):
                    continue
                folder = self._open_in(top, name, [])
                if folder is None:
                    continue
                with folder:
                    found.append(read_upload(name, folder))
        return found

    def uploads_stamp(self) -> Stamp | None:
        """Return when an upload last began or ended, None if there is no folder for them."""
        found = None if self._folder is None else self._folder.time(layout.UPLOADS)
        return None if found is None else Stamp(found)

    def links(self, kind: LinkKind) -> Links:
        """Open the folders of all links of a kind."""
        inner = layout.KINDS[kind]
        folders = {name: self.open(f"{inner}/{name}", []) for name in ALGORITHMS}
        return Links(folders, aside=self._tree.links_aside)

    def sound_links(self, kind: LinkKind, digests: Sequence[BinaryDigest]) -> set[BinaryDigest]:
        """Return those digests that have a link which is as nearly all links are."""
        found: set[BinaryDigest] = set()
        for algorithm, length in ALGORITHMS.items():
            some = [digest for digest in digests if len(digest) == length // 2]
            folder = self.open(f"{layout.KINDS[kind]}/{algorithm}", []) if some else None
            if folder is not None:
                with folder:
                    states = link_states(folder, algorithm, some)
                    pairs = zip(some, states, strict=True)
                    found.update(digest for digest, state in pairs if state == native.LINKED)
        return found

    def changes(self, kind: LinkKind) -> tuple[Stamp, ...]:
        """Return when a folder was last made or removed in each folder of links; 0 if never.

        Nothing is returned where that was so lately that it may happen again without its time
        showing it: file systems keep time in ticks.
        """
        if self._folder is None:
            return (Stamp(0),) * len(ALGORITHMS)
        inner = layout.KINDS[kind]
        times = tuple(self._folder.time(f"{inner}/{name}") or 0 for name in ALGORITHMS)
        return tuple(map(Stamp, times)) if max(times) < time.time_ns() - SETTLED_NS else ()

    # What a collection wants to know besides.

    def has_layers(self) -> bool:
        """Whether there is a folder for layers."""
        return self._has(layout.LAYERS)

    def has_manifests(self) -> bool:
        """Whether there is a folder for manifests and tags."""
        return self._has("_manifests")

    def _has(self, inner: str) -> bool:
        folder = self.open(inner, [])
        if folder is not None:
            folder.close()
        return folder is not None

    def is_being_linked(self, digest: BinaryDigest) -> bool:
        """Whether Distribution 3.x is just writing the link, which it does beside its place."""
        algorithm = Digest.from_binary(digest).algorithm
        folder = self.open(f"{layout.REVISIONS}/{algorithm}/{digest.hex()}", [])
        if folder is None:
            return False
        with folder:
            return any(is_leftover(entry) for entry in folder.entries())

    def is_idle(self, before: Stamp) -> bool:
        """Whether nothing was made or removed in the repository's own folders since ``before``."""
        for inner in ("", layout.LAYERS, "_manifests", layout.UPLOADS):
            folder = self.open(inner, [])
            if folder is not None:
                with folder:
                    if folder.own_time() > before:
                        return False
        return True

    def has_others(self, going: Collection[Place]) -> bool:
        """Whether a file is in it that is no link and no upload, but for those ``going``.

        A link that lies aside is one where the next collection puts it back (``links_aside``).
        """
        for inner in (layout.LAYERS, "_manifests", layout.UPLOADS):
            folder = self.open(inner, [])
            if folder is not None:
                with folder:
                    if self._others_below(folder, going, uploads=inner == layout.UPLOADS):
                        return True
        return False

    def _others_below(self, folder: Folder, going: Collection[Place], *, uploads: bool) -> bool:
        names, files = folder.folders()
        links = {layout.LINK, layout.ASIDE_LINK} if self._tree.links_aside else {layout.LINK}
        for entry in files:
            path = self._tree.relative(f"{folder.path}/{entry.name}")
            if entry.name not in links and path not in going:
                return True
        for name in names:
            if uploads and not layout.is_foreign(name):
                continue
            try:
                below = folder.open(name)
            except BlockedError:
                return True
            if below is not None:
                with below:
                    if self._others_below(below, going, uploads=False):
                        return True
        return False

    def leftovers(self, before: Stamp) -> list[Leftover]:
        """Return the temporary files below layers and manifests that are idle since ``before``."""
        found: list[Leftover] = []
        for inner in (layout.LAYERS, "_manifests"):
            folder = self.open(inner, [])
            if folder is not None:
                with folder:
                    self._leftovers_below(folder, before, found)
        return found

    def _leftovers_below(self, folder: Folder, before: Stamp, found: list[Leftover]) -> None:
        found += leftovers_in(self._tree, folder, before)[0]
        for name in folder.folders()[0]:
            try:
                below = folder.open(name)
            except BlockedError:
                continue
            if below is not None:
                with below:
                    self._leftovers_below(below, before, found)

    # Below: one folder, one file.

    def open(self, inner: str, problems: list[Problem]) -> Folder | None:
        """Open a folder of the repository, or itself (""), noting what stands in the way."""
        problems += self.blocked
        if self._folder is None:
            return None
        return self._open_in(self._folder, inner or ".", problems)

    def _open_in(self, folder: Folder, inner: str, problems: list[Problem]) -> Folder | None:
        try:
            return folder.open(inner)
        except BlockedError as error:
            path = self._tree.relative(error.path)
            if error.is_link:
                message = "is a symbolic link, which is not followed: what is behind it is unknown"
                problem = make_problem(self.name, path, message, Protects.EVERYTHING)
            else:
                problem = make_problem(self.name, path, "should be a folder, and is none")
            problems.append(problem)
            return None

    def _without_foreign(
        self, folder: Folder, entries: list[os.DirEntry[str]], foreign: list[Problem]
    ) -> list[os.DirEntry[str]]:
        """Note the files that no registry makes, and return the other entries."""
        found = []
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and layout.is_foreign(entry.name):
                foreign.append(self._problem(folder, entry.name, _FOREIGN))
            else:
                found.append(entry)
        return found

    def _is_foreign(self, folder: Folder, name: str, parts: Sequence[str]) -> bool:
        """Whether no registry made a folder: by its name, and nothing of a registry's is in it."""
        return layout.is_foreign(name) and not any(folder.look(f"{name}/{p}") for p in parts)

    def _algorithms(self, top: Folder, problems: list[Problem]) -> list[str]:
        names, others = top.folders()
        for entry in others:
            if entry.is_symlink():
                message = "is a symbolic link, which is not followed: what is behind it is unknown"
                path = self._tree.relative(f"{top.path}/{entry.name}")
                problems.append(make_problem(self.name, path, message, Protects.EVERYTHING))
        return [name for name in names if not layout.is_foreign(name)]

    def _digests(
        self, inner: str, problems: list[Problem]
    ) -> tuple[list[BinaryDigest], list[BinaryDigest]]:
        """Return what ``inner/<algorithm>/<hex>/`` says, and which of it are symbolic links."""
        found: list[BinaryDigest] = []
        behind: list[BinaryDigest] = []
        top = self.open(inner, problems)
        if top is None:
            return found, behind
        with top:
            for algorithm in self._algorithms(top, problems):
                folder = self._open_in(top, algorithm, problems)
                if folder is None:
                    continue
                with folder:
                    digests, _, others = digest_folders(folder, algorithm)
                found += digests
                for entry in others:
                    digest = binary_digest(algorithm, entry.name)
                    if digest is not None and entry.is_symlink():
                        behind.append(digest)
        return found + behind, behind

    def _digest_folder(self, inner: str, digest: BinaryDigest) -> Folder | None:
        return self.open(f"{inner}/{Digest.from_binary(digest).algorithm}", [])

    def _time(self, inner: str, digest: BinaryDigest) -> int | None:
        folder = self._digest_folder(inner, digest)
        if folder is None:
            return None
        with folder:
            return folder.time(f"{digest.hex()}/{layout.LINK}")

    def _link(self, folder: Folder, name: str) -> BinaryDigest | None:
        """Read a link; None if absent. Raises UnusableError."""
        raw = folder.read(name, LONGEST, FIRST)
        if raw is None:
            return None
        try:
            return layout.parse_link(raw).binary
        except layout.MalformedLinkError as error:
            raise UnusableError(str(error)) from None

    def _problem(self, folder: Folder, name: str, message: str) -> Problem:
        return make_problem(self.name, self._tree.relative(f"{folder.path}/{name}"), message)

    def _no_folders(
        self, folder: Folder, others: list[os.DirEntry[str]], problems: list[Problem]
    ) -> None:
        problems += [self._no_folder(folder, one) for one in others if not is_leftover(one)]

    def _no_folder(self, folder: Folder, entry: os.DirEntry[str]) -> Problem:
        if entry.is_symlink():
            return self._problem(folder, entry.name, "is a symbolic link, which is not followed")
        return self._problem(folder, entry.name, "should be a folder, and is none")
