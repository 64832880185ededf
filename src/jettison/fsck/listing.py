"""The content of one repository, listed for a check."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from jettison.model.check_report import Defect
from jettison.model.digest import BinaryDigest
from jettison.model.names import Tag
from jettison.storage.protocol import BadLink, Checking, Problem, RepositoryScan, Tags

__all__ = ["Listing"]


class Listing(NamedTuple):
    """The content of the repository ``name``.

    ``linked`` and ``malformed`` are the manifests with sound and with broken links. ``tagged`` are
    the tags of each manifest, ``layers`` the target of each layer link. ``defects`` do not depend
    on the images.
    """

    name: str
    tags: Tags
    tagged: Mapping[BinaryDigest, list[Tag]]
    linked: set[BinaryDigest]
    malformed: set[BinaryDigest]
    problems: list[Problem]
    layers: Mapping[BinaryDigest, BinaryDigest | BadLink]
    defects: list[Defect]

    @classmethod
    def of(cls, scan: RepositoryScan, checking: Checking) -> Self:
        """List a repository. Raises :class:`~jettison.errors.StorageError` if that fails."""
        # Tags before revisions, and all before what they need is looked at: what is pushed in
        # between is then seen whole or not at all.
        tags = scan.tags()
        revisions = scan.revisions()
        layers, defects = checking.repository(scan.name)
        tagged: dict[BinaryDigest, list[Tag]] = {}
        for tag, digest in tags.current.items():
            tagged.setdefault(digest, []).append(tag)
        malformed = revisions.damaged.intersection(revisions.folders) - revisions.linked
        problems = [*tags.problems, *revisions.problems]
        linked = revisions.linked
        return cls(scan.name, tags, tagged, linked, malformed, problems, layers, defects)
