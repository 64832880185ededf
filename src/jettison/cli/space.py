"""Prints the space that a registry takes, for ``du`` and ``doctor``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from jettison.cli.output import counted, dim, note, size, size_exactly, table, write

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.model.plausibility import Amount
    from jettison.model.space import ClassTotals, RepositorySpace, Space

__all__ = [
    "print_classes",
    "print_repositories",
    "print_unknown",
    "space_document",
]

_CLASSES: Final = {
    "own": "live, needed by one repository alone",
    "shared": "live, needed by several repositories",
    "untagged": "needed by untagged manifests alone",
    "undo": "held for an undo",
    "young": "held: younger than the grace period",
    "protected": "held: what cannot be read may need it",
    "garbage": "garbage, which gc frees now",
}
_HIDDEN: Final = (
    "What nothing needs any more only the storage shows: --storage CONFIG|DIR where it is at hand."
)


def print_repositories(space: "Space", rows: "Sequence[RepositorySpace]", total: str) -> None:
    """Print a line for each of ``rows``, and one called ``total`` with each blob once."""
    stored = space.total.garbage is not None
    uploads = space.total.uploads is not None and space.total.uploads.bytes > 0
    columns = ["REPOSITORY", "TAGS", "OWN", "SHARED"]
    columns += ["UNTAGGED"] if space.total.untagged is not None else []
    columns += ["HELD", "GARBAGE"] if stored else []
    columns += ["UPLOADS"] if uploads else []
    mark = "" if space.exact else "≤ "

    def cells(name: str, tags: str, of: "ClassTotals") -> list[str]:
        found = {
            "REPOSITORY": name,
            "TAGS": tags,
            "OWN": (mark if of.own.bytes else "") + _bytes(of.own),
            "SHARED": _bytes(of.shared),
            "UNTAGGED": _bytes(of.untagged),
            "HELD": _bytes(of.held),
            "GARBAGE": _bytes(of.garbage),
            "UPLOADS": _bytes(of.uploads),
        }
        return [found[column] for column in columns]

    lines = [cells(row.repository, f"{row.tags:,}", row) for row in rows]
    if space.nowhere.bytes:
        lines.append(cells("(in no repository)", "", space.nowhere))
    lines.append(cells(total, f"{sum(row.tags for row in space.repositories):,}", space.total))
    table(columns, lines, right=columns[1:])


def _bytes(amount: "Amount | None") -> str:
    return "?" if amount is None else size(amount.bytes) if amount.bytes else "-"


def print_classes(space: "Space") -> None:
    """Print what becomes of the bytes: each class with its blobs, and their sum."""
    rows = []
    for name, text in _CLASSES.items():
        amount: Amount | None = getattr(space.total, name)
        if amount is not None and amount.count:
            rows.append((text, f"{amount.count:,}", size_exactly(amount.bytes)))
    blobs = space.total.blobs
    rows.append(("together", f"{blobs.count:,}", size_exactly(blobs.bytes)))
    table(["SPACE", "BLOBS", "BYTES"], rows, right=["BLOBS"])
    uploads = space.total.uploads
    if uploads is not None and uploads.count:
        files = counted(uploads.count, "file")
        write(f"Beside them: {size_exactly(uploads.bytes)} in {files} of unfinished uploads.")


def print_unknown(space: "Space") -> None:
    """Print what could not be known."""
    note(*(dim(f"≤: {sentence}") for sentence in space.unknown))
    if space.total.garbage is None:
        note(dim(_HIDDEN))


def space_document(space: "Space", repositories: "Sequence[RepositorySpace]") -> "documents.Space":
    """Return the space for programs, with some of its repositories: there may be many."""
    return {
        "place": space.place,
        "exact": space.exact,
        "unknown": space.unknown,
        "total_bytes": space.total.bytes,
        "total": space.total,
        "nowhere": space.nowhere,
        "oldest_garbage_ns": space.oldest_garbage_ns,
        "repositories": repositories,
    }
