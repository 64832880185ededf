"""Refuses to point an immutable tag elsewhere, and to remove it or the manifest that it points to.

``jettison.immutable`` names such tags. The answer is Harbor's, 412 ``PRECONDITION``: a client that
removes several things then knows that this one alone is refused. Each method is called with the
repository's lock held, so of two pushes of a new tag the second one finds what the first has
written.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from jettison.errors import StorageError, Unsettled
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.server.http.answers import ApiError, Code
from jettison.storage.protocol import Serving

if TYPE_CHECKING:
    from jettison.model.retention.patterns import Pattern

__all__ = ["ImmutableTags"]


class ImmutableTags:
    """The tags that any of ``patterns`` names."""

    def __init__(self, patterns: "tuple[Pattern, ...]", serving: Serving) -> None:
        self._serving = serving
        self._each: list[tuple[Callable[[str], bool], Pattern]] = []
        if patterns:
            # Imported here: a server is not to load RE2 unless a pattern asks for it.
            from jettison.model.retention.patterns import matcher  # noqa: PLC0415 - see above

            self._each = [(matcher([one]), one) for one in patterns]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._each)

    def refuse_moving(self, repository: RepoName, tags: Iterable[Tag], digest: Digest) -> None:
        """Raise for a tag that points to another manifest, or to what cannot be read."""
        for tag in tags if self._each else ():
            pattern = self._of(tag)
            if pattern is None:
                continue
            try:
                current = self._serving.tag(repository, tag)
            except Unsettled:
                raise  # it is read again
            except StorageError as error:
                where = f"what cannot be read ({error.message})"
            else:
                if current in (None, digest):
                    continue
                where = str(current)
            raise _refused(tag, pattern, f"it points to {where}, and is not pointed elsewhere")

    def refuse_removing(self, repository: RepoName, tag: Tag) -> None:
        """Raise for an immutable tag, unless there is none of that name."""
        pattern = self._of(tag)
        if pattern is None:
            return
        try:
            if self._serving.tag(repository, tag) is None:
                return
        except Unsettled:
            raise  # it is read again
        except StorageError:
            pass  # it is there
        raise _refused(tag, pattern, "it is not removed")

    def refuse_deleting(self, digest: Digest, tags: Iterable[Tag]) -> None:
        """Raise for a manifest if one of the ``tags`` that point to it is immutable."""
        for tag in tags if self._each else ():
            pattern = self._of(tag)
            if pattern is not None:
                raise _refused(tag, pattern, f"its manifest {digest} is not deleted")

    def _of(self, tag: Tag) -> "Pattern | None":
        return next((pattern for matches, pattern in self._each if matches(tag)), None)


def _refused(tag: Tag, pattern: "Pattern", what: str) -> ApiError:
    message = f"the tag {tag} is immutable (jettison.immutable: {pattern}): {what}"
    return ApiError(412, Code.PRECONDITION, message, {"tag": tag})
