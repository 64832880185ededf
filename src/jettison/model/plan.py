"""A plan: the full, immutable list of what a command will do.

The very same object is printed by a dry run, confirmed, executed, journaled and verified. Making
one is in :mod:`jettison.jobs.removal_plan`; what it says is decided in
:mod:`jettison.model.removal` and :mod:`jettison.model.accounting`.
"""

import enum
from typing import Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag

__all__ = [
    "PLAN_SCHEMA",
    "Broken",
    "Estimate",
    "Freed",
    "Kept",
    "Plan",
    "Shared",
    "Step",
    "StepAction",
]

PLAN_SCHEMA: Final = 1


class StepAction(enum.StrEnum):
    """What a step does."""

    UNTAG = "untag"
    DELETE = "delete"


class Step(msgspec.Struct, frozen=True):
    """One request to the registry.

    UNTAG removes ``tags`` (one) from ``digest``; DELETE removes the manifest ``digest`` and with
    it ``tags``, which are all that point to it. ``digest`` is None for a tag that is listed and
    leads to nothing that can be had: UNTAG removes it whatever it says.
    """

    action: StepAction
    repository: RepoName
    digest: Digest | None
    tags: tuple[Tag, ...]
    reason: str

    @property
    def deletes(self) -> Digest | None:
        """The manifest that goes, if one does."""
        return self.digest if self.action is StepAction.DELETE else None

    @property
    def short(self) -> str:
        """The digest as a table shows it."""
        return "-" if self.digest is None else self.digest.short


class Kept(msgspec.Struct, frozen=True):
    """Something that the removal comes close to and leaves, and why."""

    repository: RepoName
    digest: Digest
    tag: Tag | None
    reason: str


class Freed(msgspec.Struct, frozen=True):
    """Content that nothing references once the plan was applied; ``size`` in bytes."""

    digest: Digest
    size: int


class Shared(msgspec.Struct, frozen=True):
    """Content of the removed that stays, and (at most five of) those that still need it."""

    digest: Digest
    size: int
    holders: tuple[str, ...]
    holder_count: int


class Estimate(msgspec.Struct, frozen=True):
    """What a removal lets a collection free, in bytes.

    ``unknown`` says why ``freed_bytes`` is an upper bound; when it is empty the figure is exact.
    ``together_bytes`` is the part that no single one of the removed images would free alone.
    """

    freed: tuple[Freed, ...] = ()
    shared: tuple[Shared, ...] = ()
    freed_bytes: int = 0
    shared_bytes: int = 0
    together_bytes: int = 0
    unknown: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the figures are exact and not upper bounds."""
        return not self.unknown


class Broken(msgspec.Struct, frozen=True):
    """A manifest of the plan that lacked ``absent`` blobs or children before the run.

    Children that are not there are lawful; ``damaged`` says that blobs are missing, ``obsolete``
    that it is of schema 1, which no registry takes any more.
    """

    repository: RepoName
    digest: Digest
    absent: tuple[Digest, ...]
    damaged: bool = False
    obsolete: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What a run will do.

    ``created`` is RFC 3339 in UTC. ``request`` are the references as typed. ``seen`` is, for each
    repository touched, every tag and the digest it had: applying stops if that has moved.
    ``missing`` is what was not whole before; an undo brings it back no better.
    """

    registry: str
    created: str
    request: tuple[str, ...]
    steps: tuple[Step, ...]
    kept: tuple[Kept, ...]
    estimate: Estimate
    seen: dict[RepoName, dict[Tag, Digest]]
    warnings: tuple[str, ...] = ()
    missing: tuple[Broken, ...] = ()
    schema_version: int = PLAN_SCHEMA

    @property
    def tag_count(self) -> int:
        """How many tags go."""
        return sum(len(step.tags) for step in self.steps)

    @property
    def manifest_count(self) -> int:
        """How many manifests go."""
        return sum(step.deletes is not None for step in self.steps)
