"""The journal: one JSON document for each run, beside the data or in the user's state directory.

``<folder>/<id>.json`` is the run, replaced whole; ``<folder>/<id>.steps`` gets a line before and
after each step and is synced each time, so that a process killed at any moment leaves behind what
it did (issue: Ctrl-C and ``kill -9``). A run whose storage was at hand lies in
``<rootdirectory>/jettison/runs``, where a collection honours it; the user's own directory then
has a pointer to it.

The documents in a tree are its owner's, who may be another user than the one who reads them
(docs/security.md): a run has the id that its file is named after, its storage is the one that it
lies in, and nothing is reached through a symbolic link.
"""

import errno
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from jettison.errors import (
    InvalidDocument,
    JettisonError,
    JournalError,
    JournalNewer,
    NotFoundError,
    StorageError,
)
from jettison.model import strict_json
from jettison.model.journal import RUN_SCHEMA, UNDOABLE, JobKind, JournalEntry
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.draft import Draft, open_record, write_file
from jettison.storage.filesystem.folder import (
    BlockedError,
    Folder,
    UnusableError,
    is_disk_full,
    storage_errors,
)

if TYPE_CHECKING:
    from jettison.storage.filesystem.tree import StorageTree

__all__ = ["Journal", "StepLog", "Unreadable", "new_run_id", "state_directory", "tree_journal"]


_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DOCUMENT: Final = ".json"
_ROOM: Final = 256 * 1024

LARGEST_ENTRY: Final = 1024 * 1024 * 1024
"""Bytes of a run, or of the plan of a repair: it holds each manifest that it removed."""

MOST_PARTS: Final = 20_000_000
"""Objects, lists and commas of one: a step has some twenty. In memory each takes 64 bytes and more,
and whoever owns a tree can write as many as they like.
"""


class Unreadable(msgspec.Struct, frozen=True):
    """A journal entry that is there and cannot be used, and why."""

    id: str
    reason: str


class _Head(msgspec.Struct):
    """What every version of a document has."""

    id: str = ""
    schema_version: int = 0
    elsewhere: str | None = None


class _Line(msgspec.Struct):
    step: int
    done: bool
    at: str


def _encode_hook(value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value))


def _decode_hook(wanted: type, value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if issubclass(wanted, str):
        try:
            return wanted(value)
        except JettisonError as error:
            raise ValueError(error.message) from None  # to msgspec: this document is damaged
    raise NotImplementedError(wanted)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_hook)


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
    """A folder of runs, for which its user answers; see :meth:`in_tree` for one in a tree."""

    def __init__(self, folder: Path, *, root: Path | None = None) -> None:
        self.folder = folder
        self._root = root

    @classmethod
    def in_tree(cls, root: Path) -> Self:
        """Return the journal of the tree below ``root``, for which nobody answers."""
        return cls(root / layout.RUNS, root=root)

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Return the journal that a pointer leads to."""
        is_trees = folder.parts[-2:] == tuple(layout.RUNS.split("/"))
        return cls.in_tree(folder.parents[1]) if is_trees else cls(folder)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[Folder | None]:
        """Open the folder; None if it is not there. OSError is left to the caller."""
        folder = self._make_folder() if make else self._open_folder()
        try:
            yield folder
        finally:
            if folder is not None:
                folder.close()

    def _open_folder(self) -> Folder | None:
        if self._root is None:
            return Folder.root(self.folder) if self.folder.exists() else None
        with Folder.root(self._root) as top:
            try:
                return top.open(layout.RUNS)
            except BlockedError:
                raise top.refusal(layout.RUNS) from None

    def _make_folder(self) -> Folder:
        if self._root is None:
            return Folder.make_path(self.folder)
        ours, _, runs = layout.RUNS.partition("/")
        with Folder.root(self._root) as top, top.make(ours) as folder:
            return folder.make(runs, private=True)

    # Writing: nothing is overwritten in place, and nothing counts before it is synced.

    def write(self, run: JournalEntry) -> None:
        """Store the run, replacing an earlier state of it."""
        self._replace(run.id, self._encoded(run))

    def point(self, run: JournalEntry, to: "Journal") -> None:
        """Note that the run lies in another journal."""
        head = _Head(run.id, RUN_SCHEMA, str(to.folder.absolute()))
        self._replace(run.id, self._encoded(head))

    def _encoded(self, document: JournalEntry | _Head) -> bytes:
        try:
            raw = _ENCODER.encode(document)
        except UnicodeEncodeError:
            message = f"cannot write the journal {self.folder}: a path in it is not UTF-8"
            hint = "Rename that folder, or mount it at another path."
            raise JournalError(message, hint=hint) from None
        if len(raw) > LARGEST_ENTRY or strict_json.parts_of(raw) > MOST_PARTS:
            message = f"cannot write the journal {self.folder}: nobody could read so large a run"
            raise JournalError(message, hint="Do it in several runs.")
        return raw

    def _replace(self, run_id: str, document: bytes) -> None:
        name = self._name(run_id, _DOCUMENT)
        try:
            with self._opened(make=True) as folder:
                assert folder is not None  # noqa: S101 - it was made
                write_file(folder, name, document, private=True)
        except StorageError as error:
            message = f"cannot write the journal {self.folder}: {error.message}"
            hint = "Nothing is removed without a journal; make that folder writable."
            raise JournalError(message, hint=hint) from error

    def _name(self, run_id: str, ending: str) -> str:
        if _ID.fullmatch(run_id) is None:
            raise JournalError(f"{run_id!r} is no id of a run")
        return run_id + ending

    def has_room(self) -> bool:
        """Whether a run could be written; a disk that is full, or nearly so, has none."""
        try:
            with self._opened(make=True) as folder:
                assert folder is not None  # noqa: S101 - it was made
                with Draft(folder, "trial", private=True) as draft:
                    draft.write(bytes(_ROOM))
        except StorageError as error:
            if is_disk_full(error):
                return False
            message = f"cannot write the journal {self.folder}: {error.message}"
            raise JournalError(message) from error
        return True

    def mark(self, run_id: str, step: int, *, done: bool, at: str) -> None:
        """Note that a step begins, or that it is done; on the disk when this returns."""
        self.mark_all(run_id, [(step, done)], at=at)

    def mark_all(self, run_id: str, marks: Iterable[tuple[int, bool]], *, at: str) -> None:
        """Note several steps, each with whether it is done, synced once."""
        # A line that a crash cut short ends where the next one begins.
        lines = b"".join(
            b"\n" + msgspec.json.encode(_Line(step, done, at)) + b"\n" for step, done in marks
        )
        name = self._name(run_id, ".steps")
        path = self.folder / name
        try:
            with self._opened() as folder, storage_errors("write", path):
                if folder is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                with open_record(folder, name, private=True) as descriptor:
                    os.lseek(descriptor, 0, os.SEEK_END)
                    os.write(descriptor, lines)
                    os.fsync(descriptor)
        except StorageError as error:
            hint = error.hint or "Make room or make it writable, and go on."
            raise JournalError(error.message, hint=hint) from error

    # Reading.

    def read(self, run_id: str) -> JournalEntry:
        """Return the run with this id, following a pointer.

        Raises :class:`NotFoundError` for none, and :class:`JournalError` for one that is damaged
        or was written by a newer version.
        """
        return self._read(run_id, may_point=True)

    def _read(self, run_id: str, *, may_point: bool) -> JournalEntry:
        path = self.folder / f"{run_id}{_DOCUMENT}"
        document = self._bytes(run_id, _DOCUMENT)
        if document is None:
            message = f"there is no run {run_id}"
            raise NotFoundError(message, hint="See `jettison runs` for those there are.")
        try:
            head = strict_json.decode(document, _Head, max_bytes=LARGEST_ENTRY)
            if head.schema_version > RUN_SCHEMA:
                message = (
                    f"run {run_id} was written by a newer version of Jettison "
                    f"(journal schema {head.schema_version}, this one knows {RUN_SCHEMA})"
                )
                raise JournalNewer(message, hint="Upgrade Jettison and try again.")
            if head.id != run_id:
                message = f"run {run_id} cannot be read: {path} is the document of run {head.id!r}"
                raise JournalError(message, hint=f"Look at {path}.")
            if head.elsewhere is not None:
                if not may_point or self._root is not None:
                    message = f"run {run_id} is pointed to, and only points on: {path}"
                    raise JournalError(message)
                there = Journal.at(Path(head.elsewhere))
                return there._read(run_id, may_point=False)  # noqa: SLF001 - of the same class
            run = strict_json.decode(
                document,
                JournalEntry,
                max_bytes=LARGEST_ENTRY,
                max_parts=MOST_PARTS,
                dec_hook=_decode_hook,
            )
        except InvalidDocument as error:
            message = f"run {run_id} cannot be read: {error}"
            raise JournalError(message, hint=f"Look at {path}.") from error
        if self._root is not None and run.storage is not None:
            # Wherever the tree was when it was written, and whatever was written.
            return msgspec.structs.replace(run, storage=str(self._root))
        return run

    def _bytes(self, run_id: str, ending: str) -> bytes | None:
        """Read a document of a run; None if there is none."""
        if _ID.fullmatch(run_id) is None:
            return None
        path = self.folder / f"{run_id}{ending}"
        try:
            with self._opened() as folder:
                return None if folder is None else folder.read(path.name, LARGEST_ENTRY)
        except (StorageError, UnusableError) as error:
            message = f"{path} {error}" if isinstance(error, UnusableError) else error.message
            raise JournalError(message) from error

    def home_of(self, run_id: str) -> "Journal":
        """Return the journal that holds the run itself: this one, or the one it points to."""
        document = self._bytes(run_id, _DOCUMENT)
        if document is None or self._root is not None:
            return self
        head = strict_json.decode(document, _Head, max_bytes=LARGEST_ENTRY)
        return self if head.elsewhere is None else Journal.at(Path(head.elsewhere))

    def steps(self, run_id: str) -> StepLog:
        """Return how far a run came. A line cut short by a crash does not count."""
        text = self._bytes(run_id, ".steps")
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
            with self._opened() as folder:
                names = [] if folder is None else [entry.name for entry in folder.entries()]
        except StorageError as error:
            message = f"cannot read the journal {self.folder}: {error.message}"
            raise JournalError(message) from error
        stems = (name.removesuffix(_DOCUMENT) for name in names if name.endswith(_DOCUMENT))
        return sorted(stem for stem in stems if stem)

    def runs(self) -> Iterator[JournalEntry | Unreadable]:
        """Yield all runs, oldest first; what cannot be used is yielded as that, not raised."""
        for run_id in self.ids():
            yield self.read_quietly(run_id)

    def read_quietly(self, run_id: str) -> JournalEntry | Unreadable:
        """Return the run, or why it cannot be used."""
        try:
            return self.read(run_id)
        except (JournalError, NotFoundError) as error:
            return Unreadable(run_id, error.message)

    def find_removal(self, text: str, on: str | None = None) -> JournalEntry:
        """Return the run that ``text`` is.

        ``last`` is the latest removal, or the latest collection where nothing was removed; of
        those on the registry ``on`` if that is given.
        """
        none = "nothing was removed yet, and nothing collected"
        try:
            return self._find(text, frozenset({JobKind.RM}), none, on)
        except NotFoundError:
            return self._find(text, frozenset({JobKind.GC}), none, on)

    def find_undoable(self, text: str, on: str | None = None) -> JournalEntry:
        """Return the run that ``text`` is; ``last`` is the latest that an undo takes back."""
        return self._find(text, UNDOABLE, "nothing was removed yet, and nothing repaired", on)

    def latest(self) -> JournalEntry | None:
        """Return the latest run that can be read, whatever it did."""
        found = (self.read_quietly(run_id) for run_id in reversed(self.ids()))
        return next((run for run in found if isinstance(run, JournalEntry)), None)

    def _find(
        self, text: str, kinds: AbstractSet[JobKind], none: str, on: str | None
    ) -> JournalEntry:
        if text != "last":
            return self.read(self.find(text))
        for run_id in reversed(self.ids()):
            try:
                run = self.read(run_id)
            except JournalNewer:
                raise  # it may well be the latest of these
            except (JournalError, NotFoundError):
                continue
            if run.kind in kinds and on in {None, run.registry}:
                return run
        where = f" on {on}" if on is not None else ""
        raise NotFoundError(none, hint=f"There is no such run{where} in {self.folder}.")

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


def tree_journal(tree: "StorageTree") -> Journal:
    """Return the journal that lies in the tree itself."""
    return Journal.in_tree(tree.root)
