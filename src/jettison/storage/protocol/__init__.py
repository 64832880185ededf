"""A storage one can ask: small interfaces, each what one of its users needs.

``Scanning`` tells what is in a storage (collector, fsck, listings), ``Writing`` puts and deletes
(server, undo), ``Sweeping`` takes things away beside a registry that serves (collector),
``Checking`` looks for what is wrong whatever the images are and ``Mending`` moves it (fsck), and
``Documents`` keeps the journal. ``Serving``, ``Uploading`` and ``Monitoring`` are the server's.
:class:`Storage` is all of them. A filesystem (:mod:`jettison.storage.filesystem`) and memory
(:mod:`jettison.storage.memory`) implement them, held to one suite of tests (``tests/contract/``).
The interfaces are cut at meaning: above them there is no path, no descriptor and no inode.
"""

from collections.abc import Iterator
from typing import Protocol

from jettison.model.plausibility import Owner
from jettison.storage.protocol.checking import (
    BadLink,
    Checking,
    GroupCheck,
    RepositoryCheck,
    TopCheck,
)
from jettison.storage.protocol.documents import Documents
from jettison.storage.protocol.facts import (
    STAMP_KEY,
    Absence,
    Blob,
    EmptyBlob,
    Features,
    History,
    Layers,
    Leftover,
    LinkKind,
    Named,
    Outcome,
    Place,
    Problem,
    Protects,
    Repositories,
    Revisions,
    Stamp,
    Tags,
    Upload,
    Writer,
    age,
    make_problem,
    outcomes_of,
    stamp_at,
)
from jettison.storage.protocol.mending import InTheWayError, Mending
from jettison.storage.protocol.monitoring import Capacity, Monitoring
from jettison.storage.protocol.scanning import Links, Places, RepositoryScan, Scanning
from jettison.storage.protocol.serving import ManifestContent, OpenContent, Serving, TagNames
from jettison.storage.protocol.sweeping import (
    AsideBlob,
    LinkGroup,
    LinkQuarantine,
    Quarantine,
    Sweeping,
)
from jettison.storage.protocol.uploading import OpenUpload, Uploading
from jettison.storage.protocol.writing import BlobWriter, TagsByManifest, Writing

__all__ = [
    "STAMP_KEY",
    "Absence",
    "AsideBlob",
    "BadLink",
    "Blob",
    "BlobWriter",
    "Capacity",
    "Checking",
    "Documents",
    "EmptyBlob",
    "Features",
    "GroupCheck",
    "History",
    "InTheWayError",
    "Layers",
    "Leftover",
    "LinkGroup",
    "LinkKind",
    "LinkQuarantine",
    "Links",
    "ManifestContent",
    "Mending",
    "Monitoring",
    "Named",
    "OpenContent",
    "OpenUpload",
    "Outcome",
    "Place",
    "Places",
    "Problem",
    "Protects",
    "Quarantine",
    "Repositories",
    "RepositoryCheck",
    "RepositoryScan",
    "Revisions",
    "Scanning",
    "Serving",
    "Stamp",
    "Storage",
    "Sweeping",
    "TagNames",
    "Tags",
    "TagsByManifest",
    "TopCheck",
    "Upload",
    "Uploading",
    "Writer",
    "Writing",
    "age",
    "make_problem",
    "outcomes_of",
    "stamp_at",
]


class Storage(Scanning, Writing, Sweeping, Protocol):
    """Everything that a storage can be asked."""

    def documents(self, collection: str) -> Documents:
        """Open a collection of documents of ours, such as ``runs``; made when one is written."""

    def exists(self, place: str) -> bool:
        """Whether anything is in a place."""

    def checking(self, idle: Stamp) -> Checking:
        """Begin a check; what was written after ``idle`` may still be being written."""

    def mending(self) -> Mending:
        """Begin a repair, or its undo."""

    # What a server asks, of objects that keep what one process has read.

    def serving(self) -> Serving:
        """Return what answers requests; one is enough for a process."""

    def uploading(self) -> Uploading:
        """Return what takes in blobs piece by piece."""

    def monitoring(self) -> Monitoring:
        """Return what tells how the storage is."""

    # What else there is around it.

    def owners(self) -> tuple[Owner, ...]:
        """Return the other programs that keep a part of the truth about it, as far as it shows."""

    def detached(self) -> tuple[str, ...]:
        """Return the places in which a part of it is kept apart, so that nothing moves there."""

    def writers(self, configuration: str) -> Iterator[Writer]:
        """Yield the processes here that may be writing to it, or serve the configuration."""
