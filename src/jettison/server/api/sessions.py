"""The uploads in progress that a process knows: their digests so far.

An upload itself is in the storage (:mod:`jettison.storage.protocol.uploading`). If the digest so
far is unknown, after a restart or in another process, it is read again at the end.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jettison.model.digest import Digest
from jettison.storage.protocol import OpenUpload

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Session", "Sessions"]

_PIECE: Final = 1024 * 1024
_MOST: Final = 10_000


class Session:
    """The digest of the first ``offset`` bytes of an upload; a writer holds ``lock``.

    ``ended``: the upload is finished or cancelled.
    """

    __slots__ = ("_hash", "ended", "lock", "offset")

    def __init__(self, algorithm: str) -> None:
        self._hash: _Hash = hashlib.new(algorithm)
        self.offset = 0
        self.ended = False
        self.lock = asyncio.Lock()

    def update(self, pieces: Sequence[bytes]) -> None:
        """Add bytes that were written at the end to the digest."""
        for piece in pieces:
            self._hash.update(piece)
        self.offset += sum(map(len, pieces))

    def forget(self) -> None:
        """Note that the upload has changed, so its digest must be computed anew."""
        self.offset = -1

    def knows(self, upload: OpenUpload, algorithm: str) -> bool:
        """Whether the digest of all bytes is known without reading it."""
        return self.offset == upload.size and self._hash.name == algorithm

    def written(self, digest: Digest) -> int | None:
        """Return how many bytes were hashed, if they have a digest; None if not."""
        known = self.offset > 0 and self._hash.name == digest.algorithm
        return self.offset if known and self._hash.hexdigest() == digest.hex else None

    def digest(self, upload: OpenUpload, algorithm: str) -> Digest:
        """Return the digest of all bytes, reading the upload if necessary."""
        found = self._hash
        if not self.knows(upload, algorithm):
            found = hashlib.new(algorithm)
            offset = 0
            while piece := upload.read(offset, _PIECE):
                found.update(piece)
                offset += len(piece)
        return Digest(f"{algorithm}:{found.hexdigest()}")


class Sessions:
    """The sessions of this process; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Session] = OrderedDict()

    def add(self, name: str, algorithm: str = "sha256") -> Session:
        """Note a new upload."""
        session = self._known[name] = Session(algorithm)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return session

    def get(self, name: str) -> Session:
        """Return the session of an upload, a new one if it is unknown."""
        found = self._known.get(name)
        if found is None:
            return self.add(name)
        self._known.move_to_end(name)
        return found

    def count(self) -> int:
        """Return the number of uploads in progress."""
        return len(self._known)

    def remove(self, name: str) -> None:
        """Forget an upload that is finished or cancelled."""
        self._known.pop(name, None)
