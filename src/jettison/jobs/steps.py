"""One step of a removal: check again, remove, and learn from the registry's answer.

Registries differ in the order that they require, and none tells it beforehand. So the order that is
right for a crash comes first, and a registry that refuses it gets its own: tags before their
manifest (Google), referrers before their subject (GitLab). The list of tags shows what a DELETE by
digest left or took beside the plan, and that is corrected.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeVar

from jettison.errors import (
    DeletionRefused,
    JettisonError,
    JournalError,
    LoginRefused,
    NotARegistry,
    PlanStale,
    StorageError,
    UnexpectedResponse,
    Unreachable,
)
from jettison.jobs.current_state import Present, list_tags
from jettison.model.digest import Digest
from jettison.model.journal import (
    Finding,
    FindingCode,
    LeftCode,
    RemovalEntry,
    SavedManifest,
    StepLeft,
)
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Step
from jettison.model.preconditions import MOST_NAMED
from jettison.model.snapshot import Node
from jettison.model.step_order import children_of
from jettison.model.traversal import postorder
from jettison.model.untag_placeholder import untag_placeholder
from jettison.registry import RawManifest, Registry

__all__ = ["Deleting", "Failed", "NotYet", "StepRemover", "ends_all", "moved", "to_the_end"]

_AGAIN: Final = "Run the command again to see the new plan."
_REFERENCED: Final = "REFERENCED"

Result = TypeVar("Result")


class Deleting(NamedTuple):
    """How a registry deletes.

    Whether it can remove a tag by itself, its product, and whether it looks and acts in one step,
    as Jettison's server does.
    """

    untag: bool
    product: str
    conditional: bool


class Failed(NamedTuple):
    """A step that was not done, or not in full."""

    left: StepLeft
    error: JettisonError


class NotYet(NamedTuple):
    """A subject that the registry deletes once it has no referrers."""

    said: str


def ends_all(error: JettisonError) -> bool:
    """Whether an error concerns the registry or the journal as a whole, not one step."""
    return isinstance(error, Unreachable | NotARegistry | LoginRefused | JournalError)


def moved(host: str, repository: RepoName, tag: Tag, was: Digest, now: Digest | None) -> PlanStale:
    """Return the error for a tag that has moved since the plan."""
    became = f"points to {now.short}" if now else "is gone"
    message = (
        f"{host}/{repository}:{tag} pointed to {was.short} when the plan was made and now {became}"
    )
    return PlanStale(message, hint=_AGAIN)


def _left(number: int, tags: tuple[Tag, ...], error: JettisonError) -> StepLeft:
    code = LeftCode.FAILED
    if isinstance(error, PlanStale):
        code = LeftCode.CHANGED
    elif isinstance(error, DeletionRefused):
        code = LeftCode.REFUSED
    return StepLeft(number, tags, code, error.message)


class StepRemover:
    """Does the steps of a run.

    ``remote`` is the registry. ``acting`` is where content is removed, ``source`` where tags are
    read: each the registry or its storage.
    """

    def __init__(
        self,
        remote: Registry,
        acting: Registry,
        source: Registry,
        deleting: Deleting,
        run: RemovalEntry,
        present: Present,
    ) -> None:
        self._remote = remote
        self._acting = acting
        self._source = source
        self._deleting = deleting
        self._run = run
        self._plan = run.plan
        self._saved = {(entry.repository, entry.digest): entry for entry in run.saved}
        self._present = present
        self._tags_first = False
        self._unsettled: set[int] = set()
        self._done_before: set[int] = set()
        self.changed = False
        """Whether anything was removed."""
        self.lost: list[Finding] = []
        """Tags that went beside the plan and could not be put back."""

    # One step.

    async def remove(self, number: int, *, can_wait: bool) -> Failed | NotYet | None:
        """Do a step; return None if its tags and manifest are gone, by whatever request."""
        step = self._plan.steps[number]
        try:
            if step.deletes is None:
                return await self._remove_tag(number, step)
            return await self._remove_manifest(number, step, step.deletes, can_wait=can_wait)
        except JettisonError as error:
            if ends_all(error):
                raise
            return Failed(_left(number, step.tags, error), error)

    async def pushed_again(self, number: int) -> StepLeft | None:
        """Return whether the manifest of a step done earlier has come back since."""
        step = self._plan.steps[number]
        if step.deletes is None:
            return None
        wanting = await self._present.wanted_by(step.repository, step.deletes)
        if wanting is None:
            return None
        reason = f"{self._named(step)} was pushed again since: {step.repository}:{wanting} needs it"
        return StepLeft(number, (), LeftCode.CHANGED, reason)

    def settle_later(self, done: AbstractSet[int]) -> None:
        """Let the next :meth:`settle` look at steps that were done before an interruption too."""
        self._done_before.update(done)
        self._unsettled.update(done)

    async def keep(self, number: int, why: str) -> Failed:
        """Leave the manifest of a step, and remove its tags, each alone."""
        step = self._plan.steps[number]
        stale = PlanStale(f"{self._named(step)}: {why}", hint=_AGAIN)
        return await self._only_untag(number, step.tags, stale)

    async def _remove_tag(self, number: int, step: Step) -> Failed | None:
        [tag] = step.tags
        if step.digest is not None:
            now = await self._source.resolve(step.repository, tag)
            if now is None:
                self._unsettled.add(number)  # if it is still listed, it leads nowhere
                return None
            if now not in {step.digest, self._dummy(number).digest}:
                error = moved(self._plan.registry, step.repository, tag, step.digest, now)
                return Failed(_left(number, (tag,), error), error)
        await self._untag(number, tag)
        self._unsettled.add(number)
        return None

    async def _remove_manifest(
        self, number: int, step: Step, digest: Digest, *, can_wait: bool
    ) -> Failed | NotYet | None:
        wanting = await self._present.wanted_by(step.repository, digest)
        if wanting is not None:
            why = f"{step.repository}:{wanting} is new since the plan was made and needs it"
            return await self.keep(number, why)
        # One that looks and acts in one step does this itself.
        by_itself = self._deleting.conditional or self._acting is not self._remote
        stale = None if by_itself else await self._stale(number, step, digest)
        if stale is not None:
            return await self._only_untag(number, step.tags, stale)
        tags = step.tags
        if self._tags_first or (self._deleting.conditional and len(tags) > MOST_NAMED):
            failed = await self._only_untag(number, tags, PlanStale("its tags went first"))
            if failed.left.tags:
                return failed
            tags = ()
        try:
            removed = await self._acting.delete_manifest(
                step.repository, digest, only=frozenset(tags)
            )
        except PlanStale as error:
            return await self._only_untag(number, tags, error)
        except DeletionRefused as error:
            if can_wait and any(_REFERENCED in code for code in error.codes):
                return NotYet(error.message)
            return await self._tags_then_manifest(number, step, digest, tags, error)
        except JettisonError as error:
            if ends_all(error):
                raise
            return await self._only_untag(number, tags, error)
        self.changed |= removed
        self._unsettled.add(number)
        return None

    async def _stale(self, number: int, step: Step, digest: Digest) -> PlanStale | None:
        """Return the error if a tag of a step points to another manifest by now."""
        for tag in step.tags:
            now = await self._source.resolve(step.repository, tag)
            if now not in {None, digest, self._dummy(number).digest}:
                return moved(self._plan.registry, step.repository, tag, digest, now)
        return None

    async def _tags_then_manifest(
        self, number: int, step: Step, digest: Digest, tags: tuple[Tag, ...], error: JettisonError
    ) -> Failed | None:
        """Remove the tags by themselves, then the manifest, as some registries require."""
        failed = await self._only_untag(number, tags, error)
        if failed.left.tags or not tags:
            return failed
        try:
            await self._acting.delete_manifest(step.repository, digest, only=frozenset())
        except JettisonError as again:
            if ends_all(again):
                raise
            return Failed(_left(number, (), again), again)
        self._tags_first = True
        return None

    async def _only_untag(self, number: int, tags: tuple[Tag, ...], cause: JettisonError) -> Failed:
        """Remove those tags that still point to the manifest, each alone."""
        stays = []
        step = self._plan.steps[number]
        for tag in tags:
            try:
                now = await self._source.resolve(step.repository, tag)
                if now in {step.digest, self._dummy(number).digest}:
                    await self._untag(number, tag)
                elif now is not None:
                    stays.append(tag)
            except JettisonError as error:
                if ends_all(error):
                    raise
                stays.append(tag)
        return Failed(_left(number, tuple(stays), cause), cause)

    # A tag alone.

    async def _untag(self, number: int, tag: Tag, *, force: bool = False) -> None:
        """Remove a tag alone; ``force`` if the registry says that it does not exist."""
        step = self._plan.steps[number]
        if self._acting is not self._remote or (self._deleting.untag and not force):
            removed = await self._acting.untag(step.repository, tag, step.digest)
            self.changed |= removed
            return
        await self._untag_by_throwaway(number, step, tag)

    def _dummy(self, number: int) -> RawManifest:
        raw = untag_placeholder(self._run.id, number, self._plan.steps[number].digest)
        return RawManifest(Digest.of(raw), OCI_INDEX, raw)

    async def _untag_by_throwaway(self, number: int, step: Step, tag: Tag) -> None:
        dummy = self._dummy(number)
        try:
            await self._remote.put_manifest(step.repository, tag, dummy)
            await self._remote.delete_manifest(step.repository, dummy.digest)
        except JettisonError as error:
            await self._put_back(step, tag, dummy.digest, error)
            raise
        self.changed = True
        if await self._remote.resolve(step.repository, tag) == dummy.digest:
            kept = UnexpectedResponse(f"{self._remote.name} kept {step.repository}:{tag}")
            await self._put_back(step, tag, dummy.digest, kept)
            raise kept

    async def _put_back(self, step: Step, tag: Tag, stand_in: Digest, cause: JettisonError) -> None:
        """Point the tag to its manifest again, if it now points to the placeholder."""
        try:
            now = await self._remote.resolve(step.repository, tag)
            saved = None if step.digest is None else self._saved.get((step.repository, step.digest))
            if saved is not None and now in {None, stand_in}:
                await self._remote.put_manifest(step.repository, tag, _raw(saved))
        except JettisonError as error:
            message = (
                f"{self._plan.registry}/{step.repository}:{tag} points to a throw-away manifest "
                f"and could not be put back: {cause.message}; then {error.message}"
            )
            hint = f"`jettison undo {self._run.id}` puts it back."
            raise StorageError(message, hint=hint) from error

    # What the registry made of it.

    async def settle(self, done: AbstractSet[int]) -> dict[int, StepLeft]:
        """List the tags; return the steps that turn out not to be done.

        Tags that outlived their manifest are removed by themselves. A tag that was pointed to a
        manifest meanwhile, and went with it beside the plan, is put back.
        """
        numbers = sorted(number for number in self._unsettled if number in done)
        self._unsettled.clear()
        left: dict[int, StepLeft] = {}
        for repository in sorted({self._plan.steps[n].repository for n in numbers}):
            mine = [n for n in numbers if self._plan.steps[n].repository == repository]
            try:
                names, gone = await self._present.vanished(repository)
            except UnexpectedResponse:
                continue  # verification looks at each
            left |= await self._remove_what_outlived(repository, mine, names)
            deleted = [n for n in mine if self._plan.steps[n].deletes is not None]
            deleted = [n for n in deleted if n not in self._done_before]
            for tag, was in sorted(gone.items()):
                found = await self._return(repository, tag, was, deleted)
                if isinstance(found, StepLeft):
                    left[found.step] = found
                elif found is not None:
                    self.lost.append(found)
        return left

    async def _remove_what_outlived(
        self, repository: RepoName, numbers: list[int], names: AbstractSet[Tag]
    ) -> dict[int, StepLeft]:
        """Remove tags of steps that are still listed and have no manifest, or the old one.

        A run that was interrupted right here left its placeholder. The old manifest of a step that
        was done before an interruption was pushed again since, and is let be.
        """
        steps = self._plan.steps
        stays: dict[int, StepLeft] = {}
        for force in (False, True):
            listed = [(n, tag) for n in numbers for tag in steps[n].tags if tag in names]
            if not listed:
                break
            for number, tag in listed:
                try:
                    now = await self._dangling(steps[number], tag)
                    old = None if number in self._done_before else steps[number].digest
                    if now in {None, old, self._dummy(number).digest}:
                        await self._untag(number, tag, force=force)
                        self._tags_first |= steps[number].deletes is not None
                except JettisonError as error:
                    if ends_all(error):
                        raise
                    stays[number] = _left(number, (tag,), error)
            names = await list_tags(self._source, repository)
        return stays

    async def _dangling(self, step: Step, tag: Tag) -> Digest | None:
        """Return the digest of a tag; None also if it cannot be read now and could not before."""
        try:
            return await self._source.resolve(step.repository, tag)
        except (StorageError, UnexpectedResponse):
            if step.digest is None:
                return None
            raise

    async def _return(
        self, repository: RepoName, tag: Tag, was: Digest | None, deleted: list[int]
    ) -> StepLeft | Finding | None:
        """Put back a tag that went beside the plan, if its manifest is known."""
        steps = self._plan.steps
        fitting = [n for n in deleted if steps[n].digest == was] or deleted
        if not fitting:
            return None  # no DELETE of ours can have taken it
        name = f"{self._plan.registry}/{repository}:{tag}"
        before = f"{was.short} before" if was is not None else "unknown before"
        if len(fitting) > 1:
            sentence = (
                f"is gone and was not to go ({before}); it may have been pushed to one of the "
                f"{len(fitting)} manifests that were removed just then"
            )
            return Finding(FindingCode.TAG_ABSENT, ok=False, subject=name, sentence=sentence)
        node = (repository, steps[fitting[0]].digest)
        saved = next((s for s in self._run.saved if (s.repository, s.digest) == node), None)
        try:
            if saved is None:
                raise StorageError("that manifest could not be saved before")
            for entry in self._below(saved):
                if await self._remote.manifest(repository, entry.digest) is None:
                    await self._remote.put_manifest(repository, entry.digest, _raw(entry))
            if await self._remote.resolve(repository, tag) is None:
                await self._remote.put_manifest(repository, tag, _raw(saved))
        except JettisonError as error:
            if ends_all(error):
                raise
            sentence = f"went with {steps[fitting[0]].short} and was not to go: {error.message}"
            return Finding(FindingCode.TAG_ABSENT, ok=False, subject=name, sentence=sentence)
        reason = (
            f"{name} was pushed to {steps[fitting[0]].short} while this ran and went with it; it "
            "is put back, and that manifest stays"
        )
        return StepLeft(fitting[0], (), LeftCode.CHANGED, reason)

    def _below(self, saved: SavedManifest) -> Iterable[SavedManifest]:
        """Return the children of a manifest, then the manifest, as far as this run saved them."""

        def below(node: Node) -> list[Node]:
            return [n for n in children_of(self._saved[node]) if n in self._saved]

        return [self._saved[node] for node in postorder([(saved.repository, saved.digest)], below)]

    def _named(self, step: Step) -> str:
        return f"{self._plan.registry}/{step.repository}@{step.short}"


def _raw(entry: SavedManifest) -> RawManifest:
    return RawManifest(entry.digest, entry.media_type, entry.raw)


async def to_the_end(work: Coroutine[None, None, Result]) -> Result:
    """Run ``work`` to its end even if this task is cancelled; raise the cancellation then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
