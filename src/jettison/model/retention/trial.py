"""A policy tried on a snapshot: the plan that a prune would have made at a moment."""

from typing import Final

import msgspec

from jettison.errors import InvalidDocument
from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Plan, Step
from jettison.model.retention.decide import NOTHING_HELD, Decider, GroupSizes, Held, Sums
from jettison.model.retention.in_use import held_together
from jettison.model.retention.mistakes import require_meant
from jettison.model.retention.policy import Policy, State
from jettison.model.retention.prune_plan import (
    Allowed,
    PrunePlan,
    RepositoryCount,
    Stay,
    added_up,
    copied_note,
    count_repository,
    find_objections,
    plan_decided,
    stays_of,
)
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.retention.removed_bytes import RemovalAccounting
from jettison.model.retention.snapshot_document import SnapshotDocument
from jettison.model.times import rfc3339

__all__ = ["Expected", "differences", "read_expected", "try_policy"]

_UNKNOWN: Final = "not all times are known, and what is not is never old"


def try_policy(
    document: SnapshotDocument,
    policy: Policy,
    *,
    at: float,
    held: Held = NOTHING_HELD,
    allowed: Allowed = Allowed(),  # noqa: B008 - it is immutable
) -> PrunePlan:
    """Return the plan of a prune at a moment (seconds since the epoch), if nothing else changes.

    Raises :class:`~jettison.errors.InvalidDocument` for a snapshot that is damaged.
    """
    require_meant(policy)
    decider = Decider(policy, at, held_together((held, Held(immutable=document.immutable))))
    accounting = RemovalAccounting()
    decisions: list[Decision] = []
    steps: list[Step] = []
    stays: list[Stay] = []
    counts: list[RepositoryCount] = []
    sums: list[Sums] = []
    groups: list[GroupSizes] = []
    copied: list[RepoName] = []
    notes = {
        f"{one.subject} could not be read, and is left alone": None for one in document.problems
    }
    for repository, evidence in document.repositories():
        if not decider.names(repository.name):
            accounting.add(repository, frozenset())
            continue
        decided, removal = plan_decided(repository, decider.decide(repository, evidence))
        accounting.add(repository, removal.manifests)
        decisions += (one for one in decided.decisions if one.removed)
        steps += removal.steps
        stays += stays_of(decided)
        counts.append(count_repository(decided, removal, repository))
        sums += decided.sums
        groups += decided.groups
        if evidence.unknown:
            notes[f"not all times are known, and what is not is never old: {evidence.unknown}"] = (
                None
            )
        if evidence.copied:
            copied.append(repository.name)
        if not repository.complete and decider.states(repository.name) - {State.TAGGED}:
            notes[_OVER_THE_API] = None
    if copied:
        notes[copied_note(copied)] = None
    sizes, freed = accounting.counted()
    return PrunePlan(
        plan=Plan(
            registry=document.registry,
            created=rfc3339(at),
            request=(),
            steps=tuple(steps),
            kept=(),
            estimate=Estimate(freed, (), sizes.freed_bytes, sizes.shared_bytes),
            seen={},
        ),
        policy=policy,
        policy_fingerprint=policy.fingerprint,
        decided=at,
        decisions=tuple(decisions),
        stays=tuple(stays),
        counts=tuple(counts),
        bytes=sizes,
        sums=added_up(sums),
        groups=tuple(sorted(groups, key=lambda one: (one.rule, one.repository))),
        objections=tuple(find_objections(counts, sizes, policy, allowed)),
        notes=tuple(notes),
    )


_OVER_THE_API: Final = (
    "the snapshot was taken over an API that does not list untagged manifests, so none is removed; "
    "take it of the storage to see them"
)


# What is expected of a policy.


class _Going(msgspec.Struct, frozen=True):
    repository: RepoName
    digest: Digest
    tag: Tag | None
    reason: Reason
    rule: str = ""

    @property
    def name(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"


class Expected(msgspec.Struct, frozen=True):
    """What is expected to go and to stay: members of the JSON that ``policy test`` prints."""

    decisions: tuple[_Going, ...]
    stays: tuple[Stay, ...]


class _ExpectedFile(msgspec.Struct, frozen=True):
    plan: Expected


def read_expected(raw: bytes, what: str) -> Expected:
    """Read what is expected; raise :class:`~jettison.errors.InvalidDocument` if it is malformed."""
    try:
        found: _ExpectedFile = codec.decode(raw, _ExpectedFile)
    except InvalidDocument as error:
        hint = "Write it with: jettison policy test … -o json > FILE"
        raise InvalidDocument(f"{what} has no expected plan: {error.message}", hint=hint) from None
    return found.plan


def differences(expected: Expected, made: PrunePlan) -> list[str]:
    """Return a sentence for each difference between what is expected and what a policy decides."""
    wanted = {(one.name, one.digest): one for one in expected.decisions}
    found = {
        (one.name, one.digest): one
        for one in (
            _Going(one.repository, one.digest, one.tag, one.reason, one.rule)
            for one in made.decisions
        )
    }
    told = [
        f"{name} is to stay, and goes: {_why(found[name, digest])}"
        for name, digest in sorted(found.keys() - wanted.keys())
    ]
    told += [f"{name} is to go, and stays" for name, _ in sorted(wanted.keys() - found.keys())]
    told += [
        f"{key[0]} goes by {_why(found[key])}, and not by {_why(wanted[key])}"
        for key in sorted(found.keys() & wanted.keys())
        if _why(found[key]) != _why(wanted[key])
    ]
    before = {(one.repository, one.reason, one.rule): one.count for one in expected.stays}
    after = {(one.repository, one.reason, one.rule): one.count for one in made.stays}
    for repository, reason, rule in sorted(before.keys() | after.keys()):
        counts = [kind.get((repository, reason, rule), 0) for kind in (before, after)]
        if counts[0] != counts[1]:
            by = f"{reason} [{rule}]" if rule else str(reason)
            told.append(f"{repository}: {counts[1]} stay by {by}, and not {counts[0]}")
    return told


def _why(one: _Going) -> str:
    return f"{one.reason} [{one.rule}]" if one.rule else str(one.reason)
