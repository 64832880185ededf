"""A plan: the full, immutable list of what a command will do.

A dry run prints the same object that is confirmed, executed, journaled and verified.
:mod:`jettison.jobs.removal_plan` makes it; :mod:`jettison.model.removal` and
:mod:`jettison.model.accounting` decide its content.
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
    "KeptCode",
    "Plan",
    "PlanSummary",
    "Prediction",
    "Shared",
    "Step",
    "StepAction",
    "StepCode",
]

PLAN_SCHEMA: Final = 1


class StepAction(enum.StrEnum):
    """What a step does."""

    UNTAG = "untag"
    DELETE = "delete"


class StepCode(enum.StrEnum):
    """Why a step is in the plan."""

    NAMED = "named"
    """The request names it."""
    POLICY = "policy"
    """A retention policy decided it."""
    LAST_TAG = "last-tag"
    """The last tag of the manifest goes."""
    REFERRER = "referrer"
    """It refers to a manifest that goes."""
    CHILD = "child"
    """An index that goes lists it, and no other does."""
    NO_MANIFEST = "no-manifest"
    """The tag leads to no manifest that can be read."""
    UNCODED = "uncoded"
    """An earlier version planned it, and gave no code."""


class KeptCode(enum.StrEnum):
    """Why something stays."""

    TAGGED = "tagged"
    """It has a tag of its own."""
    LISTED = "listed"
    """An index that stays lists it."""
    REFERRER = "referrer"
    """It refers to a manifest that stays."""
    PROTECTED = "protected"
    """Something that cannot be read may need it."""
    UNCODED = "uncoded"
    """An earlier version planned it, and gave no code."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """One request to the registry.

    ``untag`` removes ``tags`` (one) from ``digest``; ``delete`` removes the manifest ``digest`` and
    with it ``tags``, which are all that point to it. ``digest`` is None for a listed tag without a
    readable manifest: ``untag`` then removes the tag wherever it points.
    """

    action: StepAction
    repository: RepoName
    digest: Digest | None
    tags: tuple[Tag, ...]
    reason: str
    code: StepCode = StepCode.UNCODED

    @property
    def deletes(self) -> Digest | None:
        """The manifest that the step deletes, or None."""
        return self.digest if self.action is StepAction.DELETE else None

    @property
    def short(self) -> str:
        """The digest as tables show it."""
        return "-" if self.digest is None else self.digest.short


class Kept(msgspec.Struct, frozen=True):
    """A manifest or tag near the removal that stays, and the reason."""

    repository: RepoName
    digest: Digest
    tag: Tag | None
    reason: str
    code: KeptCode = KeptCode.UNCODED


class Freed(msgspec.Struct, frozen=True, gc=False):
    """Content that nothing references after the plan; ``size`` in bytes."""

    digest: Digest
    size: int


class Shared(msgspec.Struct, frozen=True):
    """Content of removed manifests that stays, and at most five of those that still need it."""

    digest: Digest
    size: int
    holders: tuple[str, ...]
    holder_count: int


class Estimate(msgspec.Struct, frozen=True):
    """The bytes that a collection can free after a removal.

    ``unknown`` says why ``freed_bytes`` is an upper bound; when it is empty the figure is exact.
    ``together_bytes`` is the part that no removed image would free alone.
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


class Prediction(msgspec.Struct, frozen=True):
    """What a collection right after the removal frees, in bytes, and what it leaves for later.

    ``removal`` is freed on account of the removal, ``garbage`` lay there before. ``later`` is what
    the removal leaves unreferenced and that is not idle yet, or held by another run's window.
    ``until`` is when the last of it is idle (seconds since the epoch), None if all of it is.
    """

    removal: int
    garbage: int
    later: int
    problems: tuple[str, ...] = ()
    until: float | None = None

    @property
    def total(self) -> int:
        """Everything that the collection frees."""
        return self.removal + self.garbage


class Broken(msgspec.Struct, frozen=True):
    """A manifest of the plan that lacked ``absent`` blobs or children before the run.

    Missing children are lawful. ``damaged`` says that blobs are missing, ``obsolete`` that the
    manifest has schema 1, which registries no longer accept.
    """

    repository: RepoName
    digest: Digest
    absent: tuple[Digest, ...]
    damaged: bool = False
    obsolete: bool = False


class PlanSummary(msgspec.Struct, frozen=True):
    """What an undo of a plan depends on, counted.

    ``images`` lose a tag or their manifest, ``manifests`` go, and ``lost_tags`` lead to none. Of
    the images ``broken`` lack blobs already, ``obsolete`` are of schema 1, ``sparse`` lack children
    only. ``freed_bytes`` is that of the estimate.
    """

    images: int = 0
    manifests: int = 0
    lost_tags: int = 0
    broken: int = 0
    obsolete: int = 0
    sparse: int = 0
    freed_bytes: int = 0


class Plan(msgspec.Struct, frozen=True):
    """The steps of a run, and everything that it keeps and why.

    ``created`` is RFC 3339 in UTC. ``request`` are the references as typed. ``seen`` has, for each
    repository concerned, every tag and its digest; what has changed since is not removed.
    ``missing`` are manifests that were incomplete before; an undo restores them as they were.
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

    @property
    def summary(self) -> PlanSummary:
        """What an undo depends on."""
        going = {(step.repository, step.digest) for step in self.steps if step.digest is not None}
        found = [one for one in self.missing if (one.repository, one.digest) in going]
        broken = sum(one.damaged for one in found)
        obsolete = sum(one.obsolete and not one.damaged for one in found)
        return PlanSummary(
            images=len(going),
            manifests=self.manifest_count,
            lost_tags=sum(len(step.tags) for step in self.steps if step.digest is None),
            broken=broken,
            obsolete=obsolete,
            sparse=len(found) - broken - obsolete,
            freed_bytes=self.estimate.freed_bytes,
        )
