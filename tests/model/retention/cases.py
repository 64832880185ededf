"""Cases of retention as files: a policy, registries to try it on, and what was decided.

A case is a YAML file. ``about`` says what a person expects. ``policy`` is the text of a policy
file; ``digest(NAME)`` in it is the digest of the image NAME. ``now`` is a time, ``held`` has
``tags`` and ``digests`` (each with who uses it) and ``immutable``. ``registry`` has repositories,
each with ``images`` and ``watching_since``. Tags with a time each were pushed then. ``removes``
says of each repository what has to go, derived by hand: tags, and ``[NAME]`` of what has none.
``original`` is the policy as its author wrote it for another system (see foreign.py).

A time is a number of days before ``now``, an age (``7d1s``), or a date and time, which is of the
policy's time zone unless it says another. An image with ``times: 5, each: 1`` stands for five, each
a day older than the one before; ``{}`` in its name and tags is its number, from 0.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from jettison.configuration.document import load_yaml
from jettison.configuration.policy_file import parse_policy
from jettison.errors import InvalidPolicy
from jettison.model.digest import Digest
from jettison.model.manifest import referenced_digest
from jettison.model.names import RepoName, Tag
from jettison.model.removal import plan_removal
from jettison.model.retention.decide import Decider, Held, RepositoryDecision
from jettison.model.retention.evidence import Moment, Times
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Policy
from jettison.model.retention.reasons import Decision
from tests.model.retention.building import NOW, Repository, digest_of

__all__ = ["Case", "read_case"]

_DIGEST = re.compile(r"digest\(([^)]*)\)")


class CaseImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image of a case; ``name`` is its first tag if it has none."""

    tags: tuple[str, ...] | Mapping[str, str] = ()
    name: str = ""
    pushed: str | None = None
    created: str | None = None
    untagged: str | None = None
    pulled: str | None = None
    children: tuple[str, ...] = ()
    subject: str | None = None
    signs: str | None = None
    config: str = "application/vnd.oci.image.config.v1+json"
    artifact_type: str | None = None
    layer: str = "application/vnd.oci.image.layer.v1.tar+gzip"
    kind: str | None = None
    size: int = 1000
    times: int = 1
    each: float = 1.0


class CaseRepository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A repository of a case."""

    images: tuple[CaseImage, ...]
    watching_since: str | None = None
    unreadable: tuple[str, ...] = ()


class CaseHeld(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is held in a case."""

    tags: Mapping[str, str] = {}
    digests: Mapping[str, str] = {}
    immutable: tuple[str, ...] = ()


class CaseOriginal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy of another system, to be imported; ``attached_to`` is what it is a policy of."""

    system: str
    text: str
    attached_to: str | None = None


class CaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case as it is written."""

    about: str
    policy: str
    registry: Mapping[str, CaseRepository]
    now: str | None = None
    held: CaseHeld = CaseHeld()
    removes: Mapping[str, tuple[str, ...]] | None = None
    original: CaseOriginal | None = None


class Case:
    """A case that can be decided."""

    def __init__(self, file: CaseFile, name: str) -> None:
        self._names: dict[Digest, str] = {}
        self.meant = file.removes
        self.original = file.original
        text = _DIGEST.sub(lambda found: digest_of(found[1]), file.policy)
        self.policy = parse_policy(text, f"{name}.yml")
        self.now = NOW
        if file.now is not None:
            self.now = self._seconds(file.now)
        self.held = Held(
            {self._tag(text): user for text, user in file.held.tags.items()},
            {digest_of(of): user for of, user in file.held.digests.items()},
            tuple(map(Pattern, file.held.immutable)),
        )
        self.repositories = [self._repository(*item) for item in file.registry.items()]

    def _tag(self, text: str) -> tuple[RepoName, Tag]:
        repository, tag = text.split(":")
        return RepoName(repository), Tag(tag)

    def _seconds(self, text: str) -> float:
        try:
            return self.now - float(text) * 86400
        except ValueError:
            pass
        try:
            return Period(text).before(self.now, UTC)
        except InvalidPolicy:
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=found.tzinfo or self.policy.zone).timestamp()

    def _moment(self, text: str | None, older: float) -> Moment | None:
        return None if text is None else Moment(self._seconds(text) - older, "told")

    def _repository(self, name: str, written: CaseRepository) -> Repository:
        repository = Repository(name)
        if written.watching_since is not None:
            repository.watching_since = self._seconds(written.watching_since)
        for image in written.images:
            for number in range(image.times):
                self._add(repository, image, number)
        for of in written.unreadable:
            repository.unreadable.add(digest_of(of))
            self._names[digest_of(of)] = of
        return repository

    def _add(self, repository: Repository, image: CaseImage, number: int) -> None:
        def numbered(text: str) -> str:
            return text.replace("{}", str(number))

        name = numbered(image.name or next(iter(image.tags), ""))
        assert name, "an image has tags or a name"
        tags = [numbered(tag) for tag in image.tags]
        if image.signs is not None:
            tags.append(f"sha256-{digest_of(numbered(image.signs)).hex}.sig")
            self._names[digest_of(numbered(image.signs))] = numbered(image.signs)
        older = timedelta(days=image.each * number).total_seconds()
        digest = repository.add(
            name,
            *tags,
            pushed=self._moment(image.pushed, older),
            created=self._moment(image.created, older),
            untagged=self._moment(image.untagged, older),
            pulled=self._moment(image.pulled, older),
            children=[numbered(child) for child in image.children],
            subject=None if image.subject is None else numbered(image.subject),
            config=image.config,
            artifact_type=image.artifact_type,
            layer=image.layer,
            kind=image.kind,
            size=image.size,
        )
        self._names[digest] = name
        if isinstance(image.tags, Mapping):
            for tag, time in image.tags.items():
                repository.tag_times[Tag(tag)] = Times(pushed=self._moment(time, older))

    def decided(
        self, policy: Policy | None = None
    ) -> Iterator[tuple[Repository, RepositoryDecision]]:
        """Yield each repository with what is decided about it, by the case's policy or another."""
        decider = Decider(policy or self.policy, self.now, self.held)
        for repository in self.repositories:
            yield repository, decider.decide(repository.snapshot, repository.evidence)

    def removed(self, policy: Policy | None = None) -> dict[str, list[str]]:
        """Return what goes of each repository, sorted, without repositories that lose nothing."""
        found = {
            str(decision.repository): sorted(self._name(d) for d in decision.decisions if d.removed)
            for _, decision in self.decided(policy)
        }
        return {repository: names for repository, names in found.items() if names}

    def name_of(self, digest: Digest) -> str:
        """Return what the case calls an image."""
        return self._names[digest]

    def text(self) -> str:
        """Return all decisions as a person reads them."""
        return "\n".join(line for found in self.decided() for line in self._lines(*found)) + "\n"

    def _lines(self, repository: Repository, found: RepositoryDecision) -> Iterator[str]:
        yield f"{found.repository}: {found.images} images, {found.removed_images} go"
        for one in found.decisions:
            verb = "remove" if one.removed else "keep  "
            yield f"  {verb} {self._name(one)}: {one.reason}: {one.sentence}"
        for sums in found.sums:
            told = f"{sums.old_and_beyond} old and beyond, {sums.old_or_beyond} old or beyond"
            yield f"  {sums.rule}: {told}"
        for groups in found.groups:
            sizes = ", ".join(f"{name} {size}" for name, size in groups.sizes.items())
            single = " (most have one)" if groups.are_single else ""
            yield f"  {groups.rule} groups: {sizes or 'none'}{single}"
        removal = plan_removal(repository.snapshot, found.tags, found.digests)
        for step in removal.steps:
            assert step.digest is not None
            what = self.name_of(step.digest)
            tags = ", ".join(self._short(tag) for tag in step.tags)
            yield f"  {step.action} {what}" + (f" ({tags})" if tags else "")

    def _name(self, decision: Decision) -> str:
        if decision.tag is None:
            return f"[{self.name_of(decision.digest)}]"
        return self._short(decision.tag)

    def _short(self, tag: Tag) -> str:
        subject = referenced_digest(tag)
        return tag if subject is None else f"sha256-({self.name_of(subject)}){tag[71:]}"


def read_case(path: Path) -> Case:
    """Read a case; every misspelt key of it is an error."""
    written = load_yaml(path.read_bytes(), path.name, as_written=True)
    return Case(msgspec.convert(written, CaseFile, strict=False), path.stem)
