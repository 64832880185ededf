"""Which steps of a plan wait for which; all others may run at the same time.

An index goes before its children, and a subject before its referrers: a run that stops anywhere
leaves garbage, never a broken image. If the two contradict each other, the order of the plan
counts. Some registries refuse to delete a subject as long as it has referrers. For such a subject,
and only after the registry has refused, the second rule is reversed.
"""

from collections.abc import Iterable, Sequence

from jettison.errors import InvalidManifest
from jettison.model.digest import Digest
from jettison.model.journal import SavedManifest
from jettison.model.manifest import Manifest, parse_manifest, referenced_digest
from jettison.model.plan import Step
from jettison.model.snapshot import Node

__all__ = ["Order", "children_of"]


class Order:
    """The order of ``steps``, derived from the ``saved`` manifests."""

    def __init__(self, steps: Sequence[Step], saved: Iterable[SavedManifest]) -> None:
        manifests = dict(_parsed(saved))
        places: dict[Node, int] = {}
        for number, step in enumerate(steps):
            if step.deletes is not None:
                places[step.repository, step.deletes] = number
        self._indexes: dict[int, set[int]] = {}
        self._subjects: dict[int, set[int]] = {}
        self._referrers: dict[int, set[int]] = {}
        self._turned: dict[int, set[int]] = {}
        for node, number in places.items():
            manifest = manifests.get(node)
            for child in manifest.children if manifest is not None else ():
                below = places.get((node[0], child.digest))
                if below is not None and number < below:
                    self._indexes.setdefault(below, set()).add(number)
            for subject in _subjects(steps[number], manifest):
                above = places.get((node[0], subject))
                if above is not None and above < number:
                    self._subjects.setdefault(number, set()).add(above)
                    self._referrers.setdefault(above, set()).add(number)

    def before(self, number: int) -> set[int]:
        """Return the steps that must end before a step begins."""
        return self.needing(number) | self._turned.get(number, set())

    def needing(self, number: int) -> set[int]:
        """Return the steps that must succeed, because their manifests need what a step removes."""
        return self._indexes.get(number, set()) | self._subjects.get(number, set())

    def referrers(self, number: int) -> set[int]:
        """Return the steps that remove referrers of the manifest that a step removes."""
        return self._referrers.get(number, set())

    def turn(self, number: int) -> None:
        """Let a subject wait for its referrers."""
        for referrer in self._referrers.pop(number, ()):
            self._subjects[referrer].discard(number)
            self._turned.setdefault(number, set()).add(referrer)


def _parsed(saved: Iterable[SavedManifest]) -> Iterable[tuple[Node, Manifest]]:
    for entry in saved:
        try:
            yield (entry.repository, entry.digest), parse_manifest(entry.raw, entry.media_type)
        except InvalidManifest:
            continue  # it references nothing that is known


def children_of(saved: SavedManifest) -> list[Node]:
    """Return the children of a saved manifest; none if it cannot be understood."""
    return [
        (saved.repository, child.digest)
        for _, manifest in _parsed([saved])
        for child in manifest.children
    ]


def _subjects(step: Step, manifest: Manifest | None) -> Iterable[Digest]:
    if manifest is not None and manifest.subject is not None:
        yield manifest.subject
    for tag in step.tags:
        subject = referenced_digest(tag)
        if subject is not None:
            yield subject
