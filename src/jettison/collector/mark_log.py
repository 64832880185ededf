"""What a collection marked, repository by repository, for those who print it.

A trace is made only when somebody asks for it: it is many times larger than what a plan needs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from jettison.model.digest import BinaryDigest

if TYPE_CHECKING:
    from jettison.collector.scan import RepositoryScanned

__all__ = ["RepositoryMarks", "Tracing", "by_folders", "traced"]


_LAYERS: Final = "_layers"
"""What Distribution calls the folder of layers, which counts in the order of its walk."""


class RepositoryMarks(msgspec.Struct, array_like=True):
    """What was marked in one repository. Digests are raw, and sorted unless said otherwise.

    ``marked`` are the manifests that are kept and what each references, in the manifest's own
    order. ``going`` are the manifests to be unlinked, ``protected`` what is kept only because a
    problem might need it. ``has_layers``: the repository has a folder for layers, be it empty.
    """

    marked: list[tuple[BinaryDigest, list[BinaryDigest]]]
    going: list[BinaryDigest]
    protected: list[BinaryDigest]
    has_layers: bool


Tracing = Callable[[str, RepositoryMarks], None]
"""Called with the name of each repository and its trace, in the order of the names."""


def by_folders(names: Iterable[str]) -> list[str]:
    """Return the names in the order in which a walk comes to their folders of layers.

    That is Distribution's order: ``pg/0``, ``pg``, ``pg/tools``, ``pg-old``.
    """
    return sorted(names, key=lambda name: [*name.split("/"), _LAYERS])


def traced(
    names: Sequence[str],
    scans: "Iterable[tuple[str, RepositoryScanned]]",
    tracing: Tracing,
) -> "Iterator[tuple[str, RepositoryScanned]]":
    """Pass scans on as they come, and tell their traces in the order of ``names``.

    Only the traces that came before their turn are held.
    """
    waiting: dict[str, RepositoryMarks | None] = {}
    turn = 0
    for name, scan in scans:
        waiting[name], scan.trace = scan.trace, None
        while turn < len(names) and names[turn] in waiting:
            trace = waiting.pop(names[turn])
            if trace is not None:
                tracing(names[turn], trace)
            turn += 1
        yield name, scan
