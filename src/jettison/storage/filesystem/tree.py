"""The storage tree of a registry on a disk: whatever the protocol of storages asks."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from jettison.errors import StorageError
from jettison.model.digest import BinaryDigest
from jettison.model.plausibility import Owner
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.documents import FolderDocuments
from jettison.storage.filesystem.folder import Folder, storage_errors
from jettison.storage.filesystem.lock import StorageLock
from jettison.storage.filesystem.monitoring import TreeMonitor
from jettison.storage.filesystem.mounts import inner_mounts
from jettison.storage.filesystem.owners import other_layout, owners_in_tree
from jettison.storage.filesystem.processes import writers
from jettison.storage.filesystem.quarantine import LinkQuarantine, Quarantine, seeing_quarantine
from jettison.storage.filesystem.removing import TreeRemover
from jettison.storage.filesystem.writing import make_below
from jettison.storage.protocol import Stamp, Writer

if TYPE_CHECKING:
    from jettison.storage.filesystem.checking import TreeCheck
    from jettison.storage.filesystem.serving import TreeServing
    from jettison.storage.filesystem.tree_mover import TreeMover
    from jettison.storage.filesystem.uploads import TreeUploads

__all__ = ["StorageTree"]

_FOLDERS: Final = ("docker", "docker/registry", layout.MARKER, layout.BLOBS, layout.REPOSITORIES)


class StorageTree(TreeRemover):
    """The storage tree below ``root``, the ``rootdirectory`` of a registry's configuration.

    Raises :class:`~jettison.errors.StorageError` if no registry is there; the hint says which
    path to give where that can be told.
    """

    def __init__(self, root: Path) -> None:
        with storage_errors("open", root):
            _check_root(root.resolve())
            super().__init__(root.resolve())

    @classmethod
    def make(cls, root: Path) -> Self:
        """Open the tree below ``root``, made with nothing in it where there is none yet."""
        with storage_errors("make", root):
            root.mkdir(parents=True, exist_ok=True)
        with Folder.root(root.resolve()) as top:
            for folder in (layout.BLOBS, layout.REPOSITORIES):
                make_below(top, folder).close()
        return cls(root)

    # What else there is.

    def documents(self, collection: str) -> FolderDocuments:
        """Open a collection of documents of ours, such as ``runs``."""
        return FolderDocuments.in_tree(self.root, collection)

    def exists(self, place: str) -> bool:
        """Whether anything is at a path."""
        return self.root_folder.look(place) is not None

    def owners(self) -> tuple[Owner, ...]:
        """Return the other programs that files in the tree name."""
        return tuple(owners_in_tree(lambda place: self.root_folder.look(place) is not None))

    def detached(self) -> tuple[str, ...]:
        """Return what of the tree is on another file system or mount than its root."""
        return inner_mounts(self.root_folder)

    def writers(self, configuration: str) -> Iterator[Writer]:
        """Yield the processes of this machine that write to the tree."""
        return writers(self.root, Path(configuration))

    # Serving and checking: what a collection does not load, which is to start at once.

    def serving(self) -> "TreeServing":
        """Return what answers requests; one for each process, since it keeps what it has read."""
        from jettison.storage.filesystem.serving import TreeServing  # noqa: PLC0415 - see above

        return TreeServing(self)

    def uploading(self) -> "TreeUploads":
        """Return what takes in blobs."""
        from jettison.storage.filesystem.uploads import TreeUploads  # noqa: PLC0415 - see above

        return TreeUploads(self)

    def monitoring(self) -> TreeMonitor:
        """Return what tells how the file system is."""
        return TreeMonitor(self.root)

    def checking(self, idle: Stamp) -> "TreeCheck":
        """Begin a check of the tree."""
        from jettison.storage.filesystem.checking import TreeCheck  # noqa: PLC0415 - see above

        return TreeCheck(self, idle)

    def mending(self) -> "TreeMover":
        """Begin a repair of the tree, or its undo."""
        from jettison.storage.filesystem.tree_mover import TreeMover  # noqa: PLC0415 - see above

        return TreeMover(self)

    # Taking aside.

    def now(self) -> float:
        """Return the time of this machine, which is that of its disks (seconds)."""
        return time.time()

    def lease(
        self,
        purpose: str,
        *,
        quiescent: bool = False,  # noqa: ARG002 - what is aside is hidden
        hiding: bool = False,  # noqa: ARG002 - as above
    ) -> contextlib.AbstractContextManager[object]:
        """Hold the tree's lock: one collection or repair at a time."""
        return StorageLock(self, purpose)

    def quarantine(self) -> Quarantine:
        """Open where blobs lie aside."""
        return Quarantine(self)

    def link_quarantine(self) -> LinkQuarantine:
        """Open where links lie aside."""
        return LinkQuarantine(self)

    def seeing_quarantine(self) -> contextlib.AbstractContextManager[frozenset[BinaryDigest]]:
        """See what lies aside in its place meanwhile; yields the blobs of it."""
        return seeing_quarantine(self)

    def is_blob_gone(self, digest: BinaryDigest) -> bool:
        """Whether a blob is neither in its place nor aside."""
        if self.blob(digest) is not None:
            return False
        return all(self.mtime(name) is None for name in layout.set_aside_names(digest))


def _check_root(root: Path) -> None:
    """Raise unless a registry's tree is really below ``root``, and all of it on this side."""
    if (root / layout.MARKER).is_dir():
        for folder in _FOLDERS:
            if (root / folder).is_symlink():
                target = (root / folder).resolve()
                hint = "Mount it there instead, or give the folder that really holds docker/."
                raise StorageError(
                    f"{root / folder} is a symbolic link to {target}, which is not followed",
                    hint=hint,
                )
        return
    if not root.exists():
        raise StorageError(f"there is no folder {root}", hint=_hint(root))
    if not root.is_dir():
        raise StorageError(f"{root} is not a folder", hint=_hint(root))
    raise StorageError(
        f"no registry's storage in {root}: no {layout.MARKER} there", hint=_hint(root)
    )


def _hint(root: Path) -> str:
    for parent in root.parents:
        if (parent / layout.MARKER).is_dir():
            return f"Give {parent}, the folder that docker/ lies in."
    if root.is_dir():
        for inside in sorted(root.iterdir()):
            if (inside / layout.MARKER).is_dir():
                return f"Did you mean {inside}?"
    other = other_layout(root)
    if other is not None:
        return f"It holds {other}: collect it with the registry that it belongs to."
    return "Give storage.filesystem.rootdirectory of the registry's configuration."
