"""One repository of a storage tree, checked: what cannot be pulled from it, and why.

Every tag and every linked manifest is followed to any depth, also through what is not linked: a
registry answers 404 for that, and a repair can link it again. It changes nothing.
"""

import enum
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from jettison.errors import InvalidManifest, InvalidName, StorageError
from jettison.model.check_report import Defect, DefectClass, Remedy, RepairAction, Severity
from jettison.model.digest import Digest, RawDigest
from jettison.model.graph import Edges
from jettison.model.manifest import parse_manifest
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName, Tag
from jettison.model.traversal import postorder
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import UnreadableError, UnusableError
from jettison.storage.filesystem.reading import TreeReader
from jettison.storage.filesystem.repository import RepositoryReader
from jettison.storage.filesystem.tree_shape import EntryKind, Owner, Unread, Walker, make_defect
from jettison.storage.protocol import Absence, Problem, Revisions, Tags

__all__ = ["RepositoryChecker", "damaged_blob", "unreadable_blob"]

_AGAIN_SECONDS: Final = 0.05
_NAMED: Final = 3
"""So many manifests are named in a sentence."""
_LONGEST: Final = 4096


class RepositoryChecker:
    """Checks repositories of a tree.

    ``idle_ns`` is the end of what is at rest, ``uploads_ns`` of uploads that were given up (both
    in nanoseconds since the epoch). ``damaged`` are the blobs known to be so, with their sizes,
    ``unreadable`` those that could not be read, with a sentence.
    """

    def __init__(
        self,
        tree: TreeReader,
        idle_ns: int,
        uploads_ns: int,
        owner: Owner,
        damaged: Mapping[RawDigest, int],
        unreadable: Mapping[RawDigest, str],
    ) -> None:
        self.tree = tree
        self.idle_ns = idle_ns
        self.uploads_ns = uploads_ns
        self.owner = owner
        self.damaged = damaged
        self.unreadable = unreadable

    def check(self, name: str) -> list[Defect]:
        """Return what is wrong in a repository.

        Damage is looked for twice: what a push or a deletion that goes on beside shows for a
        moment is none.
        """
        found = self._check(name)
        if any(defect.is_damage for defect in found):
            time.sleep(_AGAIN_SECONDS)
            before = {defect.key for defect in found}
            found = [defect for defect in self._check(name) if defect.key in before]
        return found

    def _check(self, name: str) -> list[Defect]:
        walker = Walker(self.tree, self.idle_ns, self.owner, name)
        defects = list(_stray(name))
        try:
            with RepositoryReader(self.tree, name) as reader:
                # Tags before revisions, and all before what they need is looked at: what is
                # pushed in between is then seen whole or not at all.
                tags = reader.tags()
                revisions = reader.revisions()
                for inner, kind in _INSIDE.items():
                    walker.walk(f"{layout.repository(name)}/{inner}", kind)
                defects += _Repository(self, reader, tags, revisions, walker.layers).defects()
                defects += self._uploads(reader)
        except StorageError as error:
            sentence = f"cannot be read here: {error.message}"
            path = layout.repository(name)
            what, severity = DefectClass.UNREADABLE, Severity.DAMAGE
            defects.append(make_defect(what, severity, path, sentence, repository=name))
        told = {defect.path for defect in defects}
        return defects + [defect for defect in walker.defects if defect.path not in told]

    def _uploads(self, reader: RepositoryReader) -> Iterator[Defect]:
        for upload in reader.uploads():
            if upload.moved <= self.uploads_ns:
                path = f"{layout.uploads(reader.name)}/{upload.id}"
                sentence = (
                    f"is an upload of {upload.bytes:,} bytes that was given up; "
                    "the next gc removes it"
                )
                kind, severity = DefectClass.LEFTOVER, Severity.NOTICE
                yield make_defect(kind, severity, path, sentence, repository=reader.name)


_INSIDE: Final = {
    "_layers": EntryKind.LAYERS,
    "_manifests": EntryKind.MANIFESTS,
    "_uploads": EntryKind.UPLOADS,
}


class _State(enum.Enum):
    SOUND = enum.auto()
    UNKNOWN = enum.auto()
    """The bytes are those of the digest, and cannot be understood."""
    UNREADABLE = enum.auto()
    ABSENT = enum.auto()
    DAMAGED = enum.auto()
    UNSETTLED = enum.auto()


class _Manifest(NamedTuple):
    state: _State
    edges: Edges[RawDigest]
    reason: str = ""
    pullable: bool = True
    """Whether clients can make something of it, though we cannot."""

    @property
    def is_whole(self) -> bool:
        """Whether its bytes are those that were pushed."""
        return self.state in {_State.SOUND, _State.UNKNOWN}

    @property
    def is_open(self) -> bool:
        """Whether nobody can say what its bytes are, so that nothing may be done about it."""
        return self.state in {_State.UNREADABLE, _State.UNSETTLED}

    @property
    def is_there(self) -> bool:
        """Whether it may be what was pushed."""
        return self.is_whole or self.is_open


_NO_EDGES: Final[Edges[RawDigest]] = Edges((), ())


class _Repository:
    def __init__(
        self,
        checker: RepositoryChecker,
        reader: RepositoryReader,
        tags: Tags,
        revisions: Revisions,
        layers: dict[RawDigest, RawDigest | str],
    ) -> None:
        self._checker = checker
        self._tree = checker.tree
        self._reader = reader
        self._name = reader.name
        self._tags = tags
        self._revisions = revisions
        self._linked = revisions.linked
        self._malformed = revisions.damaged.intersection(revisions.folders) - revisions.linked
        self._layers = layers
        self._manifests: dict[RawDigest, _Manifest] = {}
        self._present: dict[RawDigest, bool] = {}
        self._defects: dict[tuple[DefectClass, str], Defect] = {}
        # Which manifests suffer from a defect; the tags above them cannot be pulled.
        self._sufferers: dict[tuple[DefectClass, str], set[RawDigest]] = {}
        self._above: dict[RawDigest, list[RawDigest]] = {}
        self._rank: dict[RawDigest, int] = {}
        self._tagged: dict[RawDigest, list[Tag]] = {}
        for tag, digest in tags.current.items():
            self._tagged.setdefault(digest, []).append(tag)

    def defects(self) -> list[Defect]:
        roots = sorted({*self._tags.current.values(), *self._linked, *self._malformed})
        order = postorder(roots, lambda digest: self._manifest(digest).edges.children)
        self._rank = {digest: rank for rank, digest in enumerate(order)}
        needed: dict[RawDigest, list[RawDigest]] = {}
        for digest in order:
            edges = self._manifest(digest).edges
            for child in edges.children:
                self._above.setdefault(child, []).append(digest)
            for blob in edges.blobs:
                needed.setdefault(blob, []).append(digest)
        for blob, manifests in needed.items():
            self._blob(blob, manifests)
        self._loose_layers(needed)
        for digest in order:
            self._revision(digest)
        self._problems()
        if self._sufferers:
            self._name_tags()
        return list(self._defects.values())

    # Manifests.

    def _manifest(self, digest: RawDigest) -> _Manifest:
        found = self._manifests.get(digest)
        if found is None:
            found = self._manifests[digest] = self._read(digest)
        return found

    def _read(self, digest: RawDigest) -> _Manifest:
        try:
            raw = self._tree.read_manifest(digest)
        except StorageError as error:
            return _Manifest(_State.UNREADABLE, _NO_EDGES, error.message)
        if raw is None:
            return _Manifest(_State.ABSENT, _NO_EDGES)
        if not Digest.from_raw(digest).matches(raw):
            blob = self._tree.blob(digest)
            young = blob is not None and blob.stamp > self._checker.idle_ns
            state = _State.UNSETTLED if young else _State.DAMAGED
            return _Manifest(state, _NO_EDGES, f"{len(raw):,} bytes")
        try:
            references = references_of(raw)
        except InvalidManifest as error:
            return _Manifest(_State.UNKNOWN, _NO_EDGES, error.message, pullable=False)
        if references.edges is None:
            kind = references.media_type or "no known type"
            return _Manifest(_State.UNKNOWN, _NO_EDGES, f"it is of {kind}")
        return _Manifest(_State.SOUND, references.edges)

    def _revision(self, digest: RawDigest) -> None:
        """Look at one manifest itself: its link, and its blob."""
        manifest = self._manifest(digest)
        long = Digest.from_raw(digest)
        blob_path = layout.blob_data(long)
        path = layout.revision_link(self._name, long)
        if digest not in self._linked and digest not in self._malformed:
            self._unlinked(digest, manifest, path)
        elif manifest.state is _State.ABSENT and digest in self._linked:
            sentence = f"links manifest {long}, whose blob is absent"
            kind = DefectClass.ABSENT_MANIFEST
            # As long as an index lists it, nothing is gained: the index has to go first.
            remedy = None if digest in self._above else Remedy(RepairAction.MOVE_LINK, path)
            self._note(kind, path, sentence, sufferers=[digest], remedy=remedy)
            self._dangling(kind, digest, "whose blob is absent")
        if manifest.state is _State.DAMAGED:
            self._damaged(digest, manifest.reason, [digest])
        elif manifest.state is _State.UNSETTLED:
            sentence = f"({manifest.reason}) does not hash to its name; still being written?"
            self._note(DefectClass.UNSETTLED_BLOB, blob_path, sentence, Severity.NOTICE)
        elif manifest.state is _State.UNREADABLE:
            sentence = f"is manifest {long.short}, which cannot be read here: {manifest.reason}"
            self._note(DefectClass.UNREADABLE, blob_path, sentence, sufferers=[digest])
        elif manifest.state is _State.UNKNOWN:
            sentence = (
                f"links manifest {long.short}, which is not understood, so that the collector "
                f"keeps all that is linked in its repository: {manifest.reason}"
            )
            sufferers = [] if manifest.pullable else [digest]
            self._note(DefectClass.UNKNOWN_MANIFEST, path, sentence, sufferers=sufferers)

    def _unlinked(self, digest: RawDigest, manifest: _Manifest, path: str) -> None:
        tags = sorted(self._tagged.get(digest, ()))
        lawful = Absence.ANYTHING if tags else Absence.CHILDREN
        if manifest.state is _State.ABSENT and self._tree.absence >= lawful:
            return
        if tags and manifest.state is _State.ABSENT:
            self._dangling(
                DefectClass.TAG_WITHOUT_REVISION, digest, "which is absent, link and blob"
            )
            tags = []
            if digest not in self._above:
                return
        what = f"manifest {Digest.from_raw(digest)}"
        if tags:
            kind = DefectClass.TAG_WITHOUT_REVISION
            watched = tuple(layout.current_link(self._name, tag) for tag in tags[:_NAMED])
            sentence = f"is absent, and needed by {_listed('tag', tags)}: {what}"
        else:
            kind, watched = DefectClass.CHILD_WITHOUT_REVISION, ()
            indexes = _named("index", self._above.get(digest, []), "es")
            sentence = f"is absent, and needed by {indexes}: {what}"
        remedy = None
        if manifest.is_whole:
            remedy = self._link(RepairAction.WRITE_REVISION, path, digest, watched)
            sentence += ", whose blob is there"
        elif manifest.state is _State.ABSENT:
            sentence += ", whose blob is absent too"
        elif manifest.is_open:
            sentence += f", of which nothing is known: {_why_open(manifest)}"
        self._note(kind, path, sentence, sufferers=[digest], remedy=remedy)

    def _dangling(self, kind: DefectClass, digest: RawDigest, why: str) -> None:
        """Note the tags that lead to a manifest that is gone: they hold up the collector for ever.

        Nothing that is there can mend them, so a repair moves them aside.
        """
        for tag in self._tagged.get(digest, ()):
            path = layout.current_link(self._name, tag)
            folder = layout.tag_folder(self._name, tag)
            remedy = Remedy(RepairAction.MOVE_TAG, folder, watched=(path,))
            sentence = f"leads to manifest {Digest.from_raw(digest)}, {why}"
            self._note(kind, path, sentence, remedy=remedy, tags=(tag,))

    def _link(
        self, action: RepairAction, path: str, digest: RawDigest, watched: tuple[str, ...] = ()
    ) -> Remedy:
        long = Digest.from_raw(digest)
        rank = self._rank.get(digest, 0)
        return Remedy(action, path, str(long), (layout.blob_data(long),), watched, rank)

    # Blobs.

    def _blob(self, digest: RawDigest, manifests: list[RawDigest]) -> None:
        """Look at a config or layer that manifests need."""
        if self._tree.absence >= Absence.ANYTHING and self._layers.get(digest) is None:
            return  # nobody has asked this cache for it yet
        link = self._layers.get(digest)
        target = link if isinstance(link, bytes) else digest
        if not self._exists(target):
            absent = self._wanting(digest, manifests)
            if absent:
                sentence = f"is absent, and needed by {_named('manifest', absent)} of {self._name}"
                path = layout.blob_data(Digest.from_raw(target))
                self._note(DefectClass.ABSENT_BLOB, path, sentence, sufferers=absent)
        elif target in self._checker.damaged:
            size = self._checker.damaged[target]
            self._damaged(target, f"{size:,} bytes", manifests)
        elif target in self._checker.unreadable:
            path = layout.blob_data(Digest.from_raw(target))
            sentence = self._checker.unreadable[target]
            self._note(DefectClass.UNREADABLE, path, sentence, sufferers=manifests)
        # What an index calls a layer may be a manifest, and has a manifest's link.
        if link is None and digest not in self._linked and self._exists(target):
            unlinked = self._wanting(digest, manifests)
            if unlinked:
                path = layout.layer_link(self._name, Digest.from_raw(digest))
                sentence = (
                    f"is absent, and needed by {_named('manifest', unlinked)}; its blob is there"
                )
                remedy = self._link(RepairAction.WRITE_LAYER, path, digest)
                self._note(
                    DefectClass.BLOB_WITHOUT_LINK, path, sentence, sufferers=unlinked, remedy=remedy
                )

    def _wanting(self, digest: RawDigest, manifests: list[RawDigest]) -> list[RawDigest]:
        """Return the manifests that cannot do without a blob; some layers need not be here."""
        return [manifest for manifest in manifests if not self._is_foreign(manifest, digest)]

    def _is_foreign(self, manifest: RawDigest, digest: RawDigest) -> bool:
        try:
            raw = self._tree.read_manifest(manifest)
            parsed = None if raw is None else parse_manifest(raw)
        except (InvalidManifest, StorageError):
            return False
        same = [one for one in parsed.blobs if one.digest.raw == digest] if parsed else []
        return bool(same) and not any(one.distributable for one in same)

    def _exists(self, digest: RawDigest) -> bool:
        found = self._present.get(digest)
        if found is None:
            found = self._present[digest] = self._tree.blob(digest) is not None
        return found

    def _damaged(self, digest: RawDigest, size: str, manifests: list[RawDigest]) -> None:
        defect = damaged_blob(digest, size)
        key = defect.kind, defect.path
        self._defects.setdefault(key, defect)
        self._sufferers.setdefault(key, set()).update(manifests)

    def _loose_layers(self, needed: Mapping[RawDigest, list[RawDigest]]) -> None:
        """Look at the layer links themselves, needed or not."""
        # What cannot be read may need any of them.
        blind = any(manifest.is_open for manifest in self._manifests.values())
        unneeded = "that nothing here needs"
        if blind:
            unneeded = "that only what cannot be read here may need"
        for digest, target in self._layers.items():
            long = Digest.from_raw(digest)
            path = layout.layer_link(self._name, long)
            if isinstance(target, Unread):
                sufferers = self._wanting(digest, needed.get(digest, []))
                self._note(DefectClass.UNREADABLE, path, target, sufferers=sufferers)
            elif isinstance(target, str):
                remedy = None if blind else Remedy(RepairAction.MOVE_LINK, path)
                if self._exists(digest):
                    remedy = self._link(RepairAction.WRITE_LAYER, path, digest)
                sufferers = self._wanting(digest, needed.get(digest, []))
                self._note(
                    DefectClass.MALFORMED_LINK,
                    path,
                    f"is malformed: {target}",
                    Severity.DAMAGE if sufferers else Severity.NOTICE,
                    sufferers=sufferers,
                    remedy=remedy,
                )
            elif digest not in needed and not self._exists(target):
                sentence = f"links a blob that is absent, and {unneeded}"
                self._note(
                    DefectClass.DANGLING_LINK,
                    path,
                    sentence,
                    Severity.NOTICE,
                    remedy=None if blind else Remedy(RepairAction.MOVE_LINK, path),
                )

    # What the reader could not make sense of.

    def _problems(self) -> None:
        by_path = {layout.revision_link(self._name, Digest.from_raw(d)): d for d in self._malformed}
        broken = {id(problem): tag for tag, problem in self._tags.broken.items()}
        for problem in (*self._tags.problems, *self._revisions.problems):
            found = self._tree.root_folder.look(problem.path)
            mode = 0 if found is None else found.st_mode
            tag = broken.get(id(problem))
            digest = by_path.get(problem.path)
            if stat.S_ISLNK(mode):
                kind, remedy = DefectClass.SYMBOLIC_LINK, None
            elif tag is not None:
                self._broken_tag(tag, problem)
                continue
            elif digest is not None:
                self._broken_revision(digest, problem)
                continue
            else:
                kind, remedy = DefectClass.UNEXPECTED_FILE, None
            self._note(
                kind,
                problem.path,
                f"holds up the collector: it {problem.message}",
                sufferers=[] if digest is None else [digest],
                remedy=remedy,
                tags=() if tag is None else (tag,),
            )

    def _broken_revision(self, digest: RawDigest, problem: Problem) -> None:
        """Link a manifest again if it is whole; else move the link aside if nothing hangs on it."""
        kind, remedy = DefectClass.MALFORMED_LINK, None
        sentence = f"is malformed: {problem.message}"
        manifest = self._manifest(digest)
        named = self._named_by(problem.path)
        if isinstance(named, Unread):
            kind, sentence = DefectClass.UNREADABLE, f"holds up the collector: it {named}"
        elif manifest.is_whole:
            remedy = self._link(RepairAction.WRITE_REVISION, problem.path, digest)
        elif manifest.is_open:
            sentence += f"; nothing is known of its manifest: {_why_open(manifest)}"
        elif named is not None and self._manifest(named).is_there:
            sentence += ", which is there, so that the link is left"
        else:
            remedy = Remedy(RepairAction.MOVE_LINK, problem.path)
        self._note(kind, problem.path, sentence, sufferers=[digest], remedy=remedy)

    def _broken_tag(self, tag: Tag, problem: Problem) -> None:
        """Look whether a tag's history says what it pointed to.

        A tag is moved aside only if its history, all of it, leads to nothing that is there: as
        long as it lies there, it keeps the collector from its repository (decision 0002).
        """
        path = layout.current_link(self._name, tag)
        named = self._named_by(path)
        if isinstance(named, Unread):
            sentence = f"holds up the collector: it {named}"
            self._note(DefectClass.UNREADABLE, problem.path, sentence, tags=(tag,))
            return
        sentence, remedy = self._from_history(tag, path)
        self._note(
            DefectClass.MALFORMED_LINK,
            problem.path,
            f"{problem.message}; {sentence}",
            remedy=remedy,
            tags=(tag,),
        )

    def _from_history(self, tag: Tag, path: str) -> tuple[str, Remedy | None]:
        """Return what a tag's history says, as half a sentence, and what can be done about it."""
        try:
            digests, problems = self._reader.history(tag)
        except StorageError as error:
            return f"nothing is done, since its history cannot be read: {error.message}", None
        if problems:
            why = f"{problems[0].path} {problems[0].message}"
            return f"nothing is done, since its history is not understood: {why}", None
        manifests = {digest: self._manifest(digest) for digest in digests}
        for digest, manifest in manifests.items():
            if manifest.is_open:
                short = Digest.from_raw(digest).short
                why = f"nothing is known of {short}: {_why_open(manifest)}"
                return f"nothing is done, since of its history {why}", None
        there = [digest for digest, manifest in manifests.items() if manifest.is_there]
        if not there:
            folder = layout.tag_folder(self._name, tag)
            sentence = "its history leads to nothing that is there"
            return sentence, Remedy(RepairAction.MOVE_TAG, folder, watched=(path,))
        newest = max(there, key=lambda digest: self._history_time(tag, digest))
        linked = newest in self._linked or newest in self._malformed
        if len(digests) == 1 and linked and manifests[newest].state is _State.SOUND:
            sentence = f"its history names only {Digest.from_raw(newest)}"
            return sentence, self._link(RepairAction.WRITE_TAG, path, newest)
        sentence = (
            f"the newest in its history is {Digest.from_raw(newest)}: "
            "push the tag again, or delete it; until then it protects its repository"
        )
        return sentence, None

    def _named_by(self, path: str) -> RawDigest | Unread | None:
        """Return the digest in a link, None for none, or why it cannot be read."""
        above, _, name = path.rpartition("/")
        try:
            folder = self._tree.folder(above)
            if folder is None:
                return None
            with folder:
                raw = folder.read(name, _LONGEST)
            return None if raw is None else layout.parse_link(raw).raw
        except UnreadableError as error:
            return Unread(error)
        except StorageError as error:
            return Unread(f"cannot be read: {error.message}")
        except (UnusableError, layout.MalformedLinkError):
            return None

    def _history_time(self, tag: Tag, digest: RawDigest) -> int:
        path = layout.history_link(self._name, tag, Digest.from_raw(digest))
        return self._tree.mtime(path) or 0

    # Who suffers.

    def _note(
        self,
        kind: DefectClass,
        path: str,
        sentence: str,
        severity: Severity = Severity.DAMAGE,
        *,
        sufferers: list[RawDigest] | None = None,
        remedy: Remedy | None = None,
        tags: tuple[Tag, ...] = (),
    ) -> None:
        names = tuple(f"{self._name}:{tag}" for tag in tags)
        # A blob is nobody's own, and is told of once.
        shared = {DefectClass.UNSETTLED_BLOB, DefectClass.UNREADABLE}
        of_blob = kind in shared and path.startswith(f"{layout.BLOBS}/")
        repository = None if of_blob else self._name
        defect = make_defect(
            kind, severity, path, sentence, repository=repository, tags=names, remedy=remedy
        )
        self._defects[kind, path] = defect
        if sufferers:
            self._sufferers.setdefault((kind, path), set()).update(sufferers)

    def _name_tags(self) -> None:
        for key, sufferers in self._sufferers.items():
            reached = postorder(sorted(sufferers), lambda digest: self._above.get(digest, ()))
            tags = sorted(tag for digest in reached for tag in self._tagged.get(digest, ()))
            if tags:
                defect = self._defects[key]
                names = {*defect.tags, *(f"{self._name}:{tag}" for tag in tags)}
                self._defects[key] = _with_tags(defect, names)


def damaged_blob(digest: RawDigest, size: str) -> Defect:
    """Return the defect of a blob whose content is not what it is named after."""
    path = layout.blob_data(Digest.from_raw(digest))
    remedy = Remedy(RepairAction.MOVE_BLOB, path)
    sentence = f"({size}) does not hash to its name"
    return make_defect(DefectClass.DAMAGED_BLOB, Severity.DAMAGE, path, sentence, remedy=remedy)


def unreadable_blob(digest: RawDigest, sentence: str) -> Defect:
    """Return the defect of a blob whose content nobody knows."""
    path = layout.blob_data(Digest.from_raw(digest))
    return make_defect(DefectClass.UNREADABLE, Severity.DAMAGE, path, sentence)


def _why_open(manifest: _Manifest) -> str:
    if manifest.state is _State.UNREADABLE:
        return f"it cannot be read here ({manifest.reason})"
    return "it may still be being written"


def _with_tags(defect: Defect, names: set[str]) -> Defect:
    return make_defect(
        defect.kind,
        defect.severity,
        defect.path,
        defect.sentence,
        repository=defect.repository,
        tags=tuple(sorted(names)),
        remedy=defect.remedy,
    )


def _stray(name: str) -> Iterator[Defect]:
    try:
        RepoName(name)
    except InvalidName:
        sentence = (
            "holds up the collector: it is a repository whose name the specification does not allow"
        )
        path = layout.repository(name)
        kind, severity = DefectClass.UNEXPECTED_FILE, Severity.DAMAGE
        yield make_defect(kind, severity, path, sentence, repository=name)


def _listed(noun: str, names: list[Tag]) -> str:
    shown = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}{more}"


def _named(noun: str, digests: list[RawDigest], plural: str = "s") -> str:
    shown = ", ".join(Digest.from_raw(digest).short for digest in digests[:_NAMED])
    more = f" and {len(digests) - _NAMED} more" if len(digests) > _NAMED else ""
    return f"{noun}{'' if len(digests) == 1 else plural} {shown}{more}"
