"""Planting what no orderly writer makes: damage, drafts of killed processes, uploads.

Each is as old as the storage's clock says at that moment.
"""

from jettison.model.digest import Digest
from jettison.storage.memory.state import UPLOADS, Memory, UploadState, locked
from jettison.storage.protocol import LinkKind, Problem

__all__ = ["Planting"]

_DRAFT = "draft.tmp"


class Planting:
    """What a test can do to a storage in memory besides using it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @locked
    def plant_blob(self, digest: Digest, content: bytes) -> None:
        """Put a blob that no repository links, whatever digest its content has."""
        self.memory.put_blob(digest.binary, self.memory.file(content))

    @locked
    def plant_draft(self, digest: Digest, content: bytes) -> None:
        """Leave the temporary file of a killed writer beside a blob, be that there or not."""
        slot = self.memory.blob_slot(digest.binary)
        slot.put(_DRAFT, self.memory.file(content), self.memory.now())

    @locked
    def plant_link(
        self, kind: LinkKind, repository: str, digest: Digest, content: bytes | None = None
    ) -> None:
        """Write a link, of any content (None: the digest), in a repository of any name."""
        link = digest.encode() if content is None else content
        self.memory.put_link(kind, repository, digest.binary, link)

    @locked
    def plant_link_draft(self, kind: LinkKind, repository: str, digest: Digest) -> None:
        """Leave the temporary file of a killed writer beside a link, be that there or not."""
        self.memory.put_in_link(kind, repository, digest.binary, _DRAFT, digest.encode())

    @locked
    def plant_tag(self, repository: str, tag: str, content: bytes | None) -> None:
        """Write a tag of any name, without a history, with any content; None: without a link."""
        self.memory.put_tag(repository, tag, content)

    @locked
    def plant_upload(self, repository: str, upload: str, content: bytes) -> None:
        """Begin an upload, or go on with one: its content is then this."""
        state = self.memory.repository(repository)
        now = self.memory.now()
        before = state.uploads.get(upload)
        started = now if before is None else before.started
        state.uploads[upload] = UploadState(bytearray(content), started, now)
        if before is None:
            state.note(UPLOADS, now)

    @locked
    def plant_name(self, name: str) -> None:
        """Make a name under which there is nothing at all."""
        self.memory.repository(name)

    @locked
    def plant_problem(self, problem: Problem) -> None:
        """Let every scan of the repositories meet a problem."""
        self.memory.problems.append(problem)
