"""A registry at one moment as a document: all that a retention policy is decided on.

It is JSON: a head, a line for each repository, and an end that says what could not be read. So it
is written while the registry is read, and one that was cut off is no JSON. What decisions do not
need is left out: annotations, addresses of layers, and whatever has to do with logins.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeVar

import msgspec

from jettison.errors import InvalidDocument
from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import Descriptor, Manifest, ManifestKind
from jettison.model.names import RepoName, Tag
from jettison.model.printable import ascii_json
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.retention.patterns import Pattern
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.times import rfc3339, seconds_of

__all__ = [
    "SNAPSHOT_SCHEMA",
    "SnapshotDocument",
    "begin_document",
    "end_document",
    "read_document",
    "repository_line",
]

SNAPSHOT_SCHEMA: Final = 1
_OTHER: Final = re.compile(r"[^\x00-\x7e]")
_FORM: Final = "jettison snapshot"
_HINT: Final = "Make one with: jettison snapshot HOST > snapshot.json"
_EARLIEST: Final = -62_000_000_000.0
_LATEST: Final = 253_000_000_000.0
"""Years 5 and 9987: each has a date in every time zone."""


_T = TypeVar("_T")
_Size = Annotated[int, msgspec.Meta(ge=0)]


class _Blob(msgspec.Struct, frozen=True, array_like=True):
    digest: Digest
    media_type: str
    size: _Size | None


class _SavedManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    digest: Digest
    media_type: str
    size: _Size
    kind: ManifestKind
    config: _Blob | None = None
    layers: tuple[_Blob, ...] = ()
    children: tuple[_Blob, ...] = ()
    subject: Digest | None = None
    artifact_type: str | None = None


class _Named(msgspec.Struct, frozen=True):
    name: RepoName


class _SavedRepository(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: a repository and what is known of its times."""

    name: RepoName
    tags: dict[Tag, Digest]
    manifests: tuple[_SavedManifest, ...]
    evidence: Evidence
    unreadable: tuple[Digest, ...] = ()
    dangling: tuple[Tag, ...] = ()
    complete: bool = False
    problems: tuple[ListingProblem, ...] = ()


class _Head(msgspec.Struct, frozen=True):
    form: str
    schema_version: int
    registry: str
    product: str
    taken: str
    immutable: tuple[Pattern, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    registry: str
    product: str
    taken: str
    repositories: list[msgspec.Raw]
    problems: tuple[ListingProblem, ...]
    """What could not be read: repositories, or the list of them."""
    immutable: tuple[Pattern, ...] = ()


class _Label(msgspec.Struct, frozen=True):
    form: str = ""
    schema_version: int = 0


class SnapshotDocument:
    """A snapshot that was read.

    ``taken`` is in seconds since the epoch. ``immutable`` are the patterns of tags that the
    registry's configuration says are immutable.
    """

    def __init__(self, document: _Document, taken: float, what: str) -> None:
        self.registry = document.registry
        self.product = document.product
        self.taken = taken
        self.problems = document.problems
        self.immutable = document.immutable
        self._repositories = document.repositories
        self._what = what

    def __len__(self) -> int:
        return len(self._repositories)

    def repositories(self) -> Iterator[tuple[RepositorySnapshot, Evidence]]:
        """Yield each repository with what is known of its times, one after the other.

        Raises :class:`~jettison.errors.InvalidDocument` for one that is damaged.
        """
        last: RepoName | None = None
        for name, raw in self._in_order():
            if name == last:
                raise _damaged(self._what, f"{name} is in it twice")
            last = name
            saved = self._decoded(raw, _SavedRepository)
            if not all(_EARLIEST <= seconds <= _LATEST for seconds in _times_of(saved.evidence)):
                raise _damaged(self._what, f"{saved.name} has a time that no calendar has")
            yield _restored(saved), saved.evidence

    def _in_order(self) -> list[tuple[RepoName, msgspec.Raw]]:
        """Return the repositories by name; they are written as they were read."""
        found = [(self._decoded(raw, _Named).name, raw) for raw in self._repositories]
        return sorted(found, key=lambda one: one[0])

    def _decoded(self, raw: msgspec.Raw, shape: type[_T]) -> _T:
        try:
            found: _T = codec.decode(bytes(raw), shape)
        except InvalidDocument as error:
            raise _damaged(self._what, error.message) from None
        return found


def begin_document(
    registry: str, product: str, taken: float, immutable: tuple[Pattern, ...] = ()
) -> str:
    """Return the first line; ``taken`` is in seconds since the epoch."""
    head = _ascii(_Head(_FORM, SNAPSHOT_SCHEMA, registry, product, rfc3339(taken), immutable))
    return head[:-1] + ',"repositories":['


def repository_line(repository: RepositorySnapshot, evidence: Evidence, *, first: bool) -> str:
    """Return the line of a repository."""
    saved = _SavedRepository(
        repository.name,
        {tag: repository.tags[tag] for tag in sorted(repository.tags)},
        tuple(_saved(repository.manifests[digest]) for digest in sorted(repository.manifests)),
        evidence,
        tuple(sorted(repository.unreadable)),
        repository.dangling,
        repository.complete,
        repository.problems,
    )
    return ("" if first else ",") + _ascii(saved)


def end_document(problems: Sequence[ListingProblem]) -> str:
    """Return the last line."""
    return f'],"problems":{_ascii(tuple(problems))}}}'


def read_document(raw: bytes, what: str) -> SnapshotDocument:
    """Read a snapshot; ``what`` names it in errors.

    Raises :class:`~jettison.errors.InvalidDocument`.
    """
    try:
        label: _Label = codec.decode(raw, _Label)
    except InvalidDocument as error:
        message = f"{what} is no snapshot of a registry, or was cut off: {error.message}"
        raise InvalidDocument(message, hint=_HINT) from None
    if label.form != _FORM:
        raise InvalidDocument(f"{what} is no snapshot of a registry", hint=_HINT)
    if label.schema_version != SNAPSHOT_SCHEMA:
        message = f"{what} is a snapshot of schema {label.schema_version}, which is not known here"
        raise InvalidDocument(message, hint="Read it with the version of Jettison that made it.")
    try:
        document: _Document = codec.decode(raw, _Document)
    except InvalidDocument as error:
        raise _damaged(what, error.message) from None
    taken = seconds_of(document.taken)
    if taken is None:
        raise _damaged(what, f"{document.taken!r} is no time")
    return SnapshotDocument(document, taken, what)


def _ascii(value: object) -> str:
    """Return JSON in ASCII: every terminal shows it and obeys none of it."""
    text = codec.encode(value).decode()
    # In JSON, other signs stand within strings alone.
    return _OTHER.sub(lambda found: ascii_json(found[0])[1:-1], text)


def _damaged(what: str, reason: str) -> InvalidDocument:
    return InvalidDocument(f"{what} is damaged: {reason}", hint=_HINT)


def _times_of(evidence: Evidence) -> Iterator[float]:
    if evidence.watching_since is not None:
        yield evidence.watching_since
    every: Iterator[Times] = iter((*evidence.tags.values(), *evidence.manifests.values()))
    for times in every:
        moments: tuple[Moment | None, ...] = msgspec.structs.astuple(times)
        yield from (moment.seconds for moment in moments if moment is not None)


def _blob(one: Descriptor) -> _Blob:
    return _Blob(one.digest, one.media_type, one.size)


def _descriptor(one: _Blob) -> Descriptor:
    return Descriptor(one.digest, one.media_type, one.size)


def _saved(manifest: Manifest) -> _SavedManifest:
    return _SavedManifest(
        manifest.digest,
        manifest.media_type,
        manifest.size,
        manifest.kind,
        None if manifest.config is None else _blob(manifest.config),
        tuple(map(_blob, manifest.layers)),
        tuple(map(_blob, manifest.children)),
        manifest.subject,
        manifest.artifact_type,
    )


def _restored(saved: _SavedRepository) -> RepositorySnapshot:
    manifests = {
        one.digest: Manifest(
            one.digest,
            one.media_type,
            one.size,
            one.kind,
            None if one.config is None else _descriptor(one.config),
            tuple(map(_descriptor, one.layers)),
            tuple(map(_descriptor, one.children)),
            one.subject,
            one.artifact_type,
        )
        for one in saved.manifests
    }
    return RepositorySnapshot(
        saved.name,
        saved.tags,
        manifests,
        frozenset(saved.unreadable),
        saved.dangling,
        saved.complete,
        saved.problems,
    )
