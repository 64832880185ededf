"""The journal: one JSON document for each run, beside the data or in the user's state directory.

``<folder>/<id>.json`` is the run, replaced whole (:mod:`jettison.model.journal_document`);
``<folder>/<id>.steps`` gets a line before and after each step and is synced each time,
so that a process killed at any moment leaves behind what it did. A run whose storage was at hand
lies in ``<rootdirectory>/jettison/runs``, where a collection honours it; the user's own directory
then has a pointer to it.

The documents in a tree are its owner's, who may be another user than the one who reads them
(docs/security.md): a run has the id that its file is named after, its storage is the one that it
lies in, and nothing is reached through a symbolic link.
"""

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from jettison.errors import (
    InvalidDocument,
    JettisonError,
    JournalError,
    JournalInBucket,
    JournalNewer,
    JournalUnread,
    NotFoundError,
    StorageError,
)
from jettison.model import codec, strict_json
from jettison.model.journal import (
    RUN_SCHEMA,
    UNDOABLE,
    EntryHead,
    JobKind,
    JobState,
    JournalEntry,
    RemovalHead,
    RepairEntry,
)
from jettison.model.journal_document import (
    Label,
    decode_entry,
    decode_head,
    encode_entry,
    head_in,
    label_of,
)
from jettison.model.journal_leaving import candidates, is_over
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.documents import FolderDocuments
from jettison.storage.protocol import Documents, Storage
from jettison.storage.repair_plans import has_plan

__all__ = ["Journal", "StepLog", "Unreadable", "new_run_id", "state_directory", "tree_journal"]


Run = TypeVar("Run", JournalEntry, EntryHead)

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DOCUMENT: Final = ".json"
_BUCKET: Final = "://"
"""What the name of a storage in a bucket has: ``s3://images``."""
_STEPS: Final = ".steps"
_COLLECTION: Final = "runs"
_ROOM: Final = 256 * 1024

_HEAD: Final = 64 * 1024
"""Bytes to read for a head; nearly all have a few thousand."""


class Unreadable(msgspec.Struct, frozen=True):
    """A journal entry that is there and cannot be used, and why."""

    id: str
    reason: str


class _Line(msgspec.Struct):
    step: int
    done: bool
    at: str


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return where this user's runs are kept: ``$XDG_STATE_HOME/jettison``."""
    home = environment.get("XDG_STATE_HOME")
    base = Path(home) if home else Path(environment.get("HOME", "~")).expanduser() / ".local/state"
    return base / "jettison"


def new_run_id(now: float) -> str:
    """Return an id that sorts by time, to the millisecond, and is short enough to type."""
    letters = "23456789abcdefghjkmnpqrstuvwxyz"  # in the order in which they sort
    high, low = divmod(int(now % 1 * len(letters) ** 2), len(letters))
    suffix = letters[high] + letters[low] + "".join(secrets.choice(letters) for _ in range(3))
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + "-" + suffix


class StepLog(msgspec.Struct, frozen=True):
    """Which steps of a run were begun, and which of them were finished."""

    begun: frozenset[int]
    done: frozenset[int]


class Journal:
    """The runs in a collection of documents: one of a user's own, or the one of a storage.

    For those of a storage nobody answers: they are said to be of the one at ``storage`` whatever
    they say, and do not point anywhere else. ``beside`` opens another collection of it.
    """

    def __init__(
        self,
        documents: Documents,
        *,
        storage: str | None = None,
        beside: Callable[[str], Documents] | None = None,
        configuration: str | None = None,
    ) -> None:
        self.location = documents.location
        self._documents = documents
        self._storage = storage
        self._beside = beside
        self._configuration = configuration

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Return the journal in a folder of a user's own; it need not be there yet."""
        return cls(FolderDocuments.at(folder))

    @classmethod
    def pointed_to(cls, pointer: Label) -> Self:
        """Return the journal that the pointer of a run leads to.

        Raises :class:`JournalInBucket` for one in a bucket that its configuration does not open.
        """
        where = pointer.elsewhere or ""
        if _BUCKET in where:
            return cls._in_bucket(where, pointer)
        folder = Path(where)
        is_trees = folder.parts[-2:] == tuple(layout.RUNS.split("/"))
        return cls.in_tree(folder.parents[1]) if is_trees else cls.at(folder)

    @classmethod
    def _in_bucket(cls, where: str, pointer: Label) -> Self:
        # Imported here: it opens what this module is for.
        from jettison.storage.opening import open_storage  # noqa: PLC0415 - see above

        hint = "Add --storage CONFIG, its registry's configuration."
        message = f"run {pointer.id} is in the journal {where}"
        path = pointer.configuration
        if path is None:
            raise JournalInBucket(message, hint=hint)
        try:
            storage, _ = open_storage(Path(path), os.environ)
        except JettisonError as error:
            raise JournalInBucket(f"{message}: {error.message}", hint=hint) from error
        documents = storage.documents(_COLLECTION)
        if documents.location != where:
            message += f", and {path} is by now the configuration of {storage.location}"
            raise JournalInBucket(message, hint=hint)
        return cls(documents, storage=path, beside=storage.documents, configuration=path)

    @classmethod
    def in_tree(cls, root: Path) -> Self:
        """Return the journal of the tree below ``root``."""
        beside = partial(FolderDocuments.in_tree, root)
        return cls(beside(_COLLECTION), storage=str(root), beside=beside)

    # Writing: nothing is overwritten in place, and nothing counts before it is synced.

    def write(self, run: JournalEntry) -> None:
        """Store the run, replacing an earlier state of it; with a new one a few old ones leave."""
        self._replace(run, lambda: encode_entry(run))

    def point(self, run: EntryHead, to: "Journal") -> None:
        """Note that the run lies in another journal."""
        if _BUCKET in to.location:
            label = Label(run.id, RUN_SCHEMA, to.location, to._configuration)  # noqa: SLF001 - of the same class
        else:
            label = Label(run.id, RUN_SCHEMA, os.path.abspath(to.location))  # noqa: PTH100 - a text
        self._replace(run, lambda: codec.encode(label))

    def _encoded(self, encode: Callable[[], bytes]) -> bytes:
        try:
            raw = encode()
        except UnicodeEncodeError:
            message = f"cannot write the journal {self.location}: a path in it is not UTF-8"
            hint = "Rename that folder, or mount it at another path."
            raise JournalError(message, hint=hint) from None
        if not codec.is_readable(raw):
            message = f"cannot write the journal {self.location}: nobody could read so large a run"
            raise JournalError(message, hint="Do it in several runs.")
        return raw

    def _replace(self, run: EntryHead, encode: Callable[[], bytes]) -> None:
        name, document = self._name(run.id, _DOCUMENT), self._encoded(encode)
        try:
            is_new = self._documents.beginning(name, 1) is None
            self._documents.write(name, document)
        except StorageError as error:
            raise self._not_writable(error) from error
        if is_new:
            self._let_leave(run)

    def _let_leave(self, newer: EntryHead) -> None:
        """Remove a few entries that are over."""
        with suppress(JettisonError):  # the new one is written, which is what was asked for
            for run_id in candidates(self.ids(), newer):
                with suppress(JettisonError):  # one that cannot be read, or not be removed, stays
                    if self._is_over(run_id, newer):
                        # The document last: while it is there it is an entry, with a log or not.
                        self._documents.remove(run_id + _STEPS)
                        self._documents.remove(run_id + _DOCUMENT)

    def _is_over(self, run_id: str, newer: EntryHead) -> bool:
        home = self.home_of(run_id)
        if home is not self:
            return run_id not in home.ids()  # a pointer goes after what it points to
        head = self.head(run_id)
        return is_over(head, newer) and not self._can_always_be_undone(head)

    def _can_always_be_undone(self, head: EntryHead) -> bool:
        """Whether what an undo needs is where it stays for as long as one likes."""
        if head.state is JobState.UNDONE:
            return False
        if isinstance(head, RemovalHead) and head.backup is not None:
            return os.path.lexists(head.backup)
        if isinstance(head, RepairEntry) and self._beside is not None:
            return has_plan(self._beside, head.id)
        return False

    def _name(self, run_id: str, ending: str) -> str:
        if _ID.fullmatch(run_id) is None:
            raise JournalError(f"{run_id!r} is no id of a run")
        return run_id + ending

    def has_room(self) -> bool:
        """Whether a run could be written; a disk that is full, or nearly so, has none."""
        try:
            return self._documents.has_room(_ROOM)
        except StorageError as error:
            message = f"cannot write the journal {self.location}: {error.message}"
            raise JournalError(message) from error

    def mark(self, run_id: str, marks: Iterable[tuple[int, bool]], *, at: str) -> None:
        """Note steps that begin, or are done, as each says; on the disk when this returns."""
        lines = [msgspec.json.encode(_Line(step, done, at)) for step, done in marks]
        try:
            self._documents.append(self._name(run_id, _STEPS), lines)
        except StorageError as error:
            hint = error.hint or "Make room or make it writable, and go on."
            raise JournalError(error.message, hint=hint) from error

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """Hold what only one process may do at a time; False: another does."""
        with ExitStack() as held:
            try:
                taken = held.enter_context(self._documents.lease(name))
            except StorageError as error:
                raise self._not_writable(error) from error
            yield taken

    def _not_writable(self, error: StorageError) -> JournalError:
        message = f"cannot write the journal {self.location}: {error.message}"
        hint = error.hint or "Make that folder writable."
        return JournalError(message, hint=f"Nothing is removed without a journal. {hint}")

    # Reading.

    def read(self, run_id: str) -> JournalEntry:
        """Return the run with this id, following a pointer.

        Raises :class:`NotFoundError` for none, and :class:`JournalError` for one that is damaged
        or was written by a newer version.
        """
        return self._decoded(run_id, decode_entry)

    def head(self, run_id: str) -> EntryHead:
        """Return what a run tells of itself, without its plan and what it saved; raises as read."""
        return self._decoded(run_id, decode_head)

    def _decoded(
        self, run_id: str, decode: Callable[[bytes, int], Run], *, may_point: bool = True
    ) -> Run:
        path = f"{self.location}/{run_id}{_DOCUMENT}"
        document = self._head(run_id) if decode is decode_head else self._bytes(run_id, _DOCUMENT)
        if document is None:
            message = f"there is no run {run_id}"
            raise NotFoundError(message, hint="See `jettison runs` for those there are.")
        try:
            label = label_of(document)
            if label.schema_version > RUN_SCHEMA:
                message = (
                    f"run {run_id} was written by a newer version of Jettison "
                    f"(journal schema {label.schema_version}, this one knows {RUN_SCHEMA})"
                )
                raise JournalNewer(message, hint="Upgrade Jettison and try again.")
            if label.id != run_id:
                message = f"run {run_id} cannot be read: {path} is the document of run {label.id!r}"
                raise JournalError(message, hint=f"Look at {path}.")
            if label.elsewhere is not None:
                if not may_point or self._storage is not None:
                    message = f"run {run_id} is pointed to, and only points on: {path}"
                    raise JournalError(message)
                there = Journal.pointed_to(label)
                return there._decoded(run_id, decode, may_point=False)  # noqa: SLF001 - of the same class
            run = decode(document, label.schema_version)
        except InvalidDocument as error:
            message = f"run {run_id} cannot be read: {error}"
            raise JournalError(message, hint=f"Look at {path}.") from error
        # Wherever the tree was when it was written, and whatever was written.
        said = {"storage": self._storage} if self._storage and run.storage is not None else {}
        return msgspec.structs.replace(run, id=run_id, **said)

    def _head(self, run_id: str) -> bytes | None:
        """Read the head of a run, or its document where it has no line of its own; None: no run."""
        return self._bytes(run_id, _DOCUMENT, head=True)

    def _bytes(self, run_id: str, ending: str, *, head: bool = False) -> bytes | None:
        if _ID.fullmatch(run_id) is None:
            return None
        try:
            start = self._documents.beginning(run_id + ending, _HEAD) if head else None
            found = None if start is None else head_in(start)
            return found or self._documents.read(run_id + ending, codec.LARGEST)
        except StorageError as error:
            raise JournalUnread(error.message, hint=error.hint) from error

    def home_of(self, run_id: str) -> "Journal":
        """Return the journal that holds the run itself: this one, or the one it points to."""
        document = self._head(run_id) if self._storage is None else None
        label = None if document is None else label_of(document)
        return self if label is None or label.elsewhere is None else Journal.pointed_to(label)

    def steps(self, run_id: str) -> StepLog:
        """Return how far a run came. A line cut short by a crash does not count."""
        text = self._bytes(run_id, _STEPS)
        begun: set[int] = set()
        done: set[int] = set()
        for line in (text or b"").split(b"\n"):
            try:
                entry = strict_json.decode(line, _Line)
            except InvalidDocument:
                continue
            (done if entry.done else begun).add(entry.step)
        return StepLog(frozenset(begun), frozenset(done))

    def ids(self) -> list[str]:
        """Return the ids of all runs, oldest first."""
        try:
            names = self._documents.names()
        except StorageError as error:
            message = f"cannot read the journal {self.location}: {error.message}"
            raise JournalError(message, hint=error.hint) from error
        stems = (name.removesuffix(_DOCUMENT) for name in names if name.endswith(_DOCUMENT))
        return sorted(stem for stem in stems if stem)

    def runs(self) -> Iterator[JournalEntry | Unreadable]:
        """Yield all runs, oldest first; what cannot be used is yielded as that, not raised."""
        return self._each(self.read)

    def heads(self) -> Iterator[EntryHead | Unreadable]:
        """Yield the heads of all runs, as :meth:`runs` does."""
        return self._each(self.head)

    def _each(self, read: Callable[[str], Run]) -> Iterator[Run | Unreadable]:
        for run_id in self.ids():
            found = self._quietly(read, run_id)
            if not isinstance(found, Unreadable) or run_id in self.ids():  # else it has just left
                yield found

    def read_quietly(self, run_id: str) -> JournalEntry | Unreadable:
        """Return the run, or why it cannot be used."""
        return self._quietly(self.read, run_id)

    def _quietly(self, read: Callable[[str], Run], run_id: str) -> Run | Unreadable:
        try:
            return read(run_id)
        except (JournalError, NotFoundError) as error:
            return Unreadable(run_id, error.message)

    def find_removal(self, text: str, on: str | None = None) -> JournalEntry:
        """Return the run that ``text`` is.

        ``last`` is the latest removal, or the latest collection where nothing was removed; of
        those on the registry ``on`` if that is given.
        """
        none = "nothing was removed yet, and nothing collected"
        try:
            return self._find(text, frozenset({JobKind.RM, JobKind.PRUNE}), none, on)
        except NotFoundError:
            return self._find(text, frozenset({JobKind.GC}), none, on)

    def find_undoable(self, text: str, on: str | None = None) -> JournalEntry:
        """Return the run that ``text`` is; ``last`` is the latest that an undo takes back."""
        return self._find(text, UNDOABLE, "nothing was removed yet, and nothing repaired", on)

    def latest(self) -> EntryHead | None:
        """Return the latest run that can be read, whatever it did."""
        found = (self._quietly(self.head, run_id) for run_id in reversed(self.ids()))
        return next((run for run in found if not isinstance(run, Unreadable)), None)

    def _find(
        self, text: str, kinds: AbstractSet[JobKind], none: str, on: str | None
    ) -> JournalEntry:
        if text != "last":
            return self.read(self.find(text))
        for run_id in reversed(self.ids()):
            try:
                head = self.head(run_id)
                if head.kind in kinds and on in {None, head.registry}:
                    return self.read(run_id)
            except (JournalInBucket, JournalNewer, JournalUnread):
                raise  # it may well be the latest of these
            except (JournalError, NotFoundError):
                continue
        where = f" on {on}" if on is not None else ""
        raise NotFoundError(
            none, hint=f"No such run{where} is in {self.location}; see `jettison runs`."
        )

    def find(self, text: str) -> str:
        """Return the id that ``text`` is, or the only one that it begins or ends.

        ``last`` is the latest.
        """
        ids = self.ids()
        if text in ids:
            return text
        if text == "last" and ids:
            return ids[-1]
        matching = [run_id for run_id in ids if run_id.startswith(text) or run_id.endswith(text)]
        if text and len(matching) == 1:
            return matching[0]
        problem = "more than one run matches" if matching else "there is no run"
        message = f"{problem} {text!r}"
        raise NotFoundError(message, hint="See `jettison runs` for those there are.")


def tree_journal(storage: Storage, configuration: Path | None = None) -> Journal:
    """Return the journal that lies in a storage itself, which ``configuration`` opens."""
    documents = storage.documents(_COLLECTION)
    path = None if configuration is None else os.path.abspath(configuration)  # noqa: PTH100 - a text
    return Journal(
        documents, storage=storage.location, beside=storage.documents, configuration=path
    )
