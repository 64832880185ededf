"""Registries to decide about, in a few words."""

from collections.abc import Mapping, Sequence

import msgspec

from jettison.configuration.policy_file import parse_policy
from jettison.model.digest import Digest
from jettison.model.manifest import Descriptor, Manifest, ManifestKind
from jettison.model.mediatypes import OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, SCHEMA1_SIGNED
from jettison.model.names import RepoName, Tag
from jettison.model.retention.decide import NOTHING_HELD, Decider, Held, RepositoryDecision
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["DAY", "NOW", "Repository", "decided", "digest_of"]

DAY = 86400.0
NOW = 1_800_000_000.0
"""15 January 2027, 08:00 UTC."""

_TYPES = {
    ManifestKind.IMAGE: OCI_MANIFEST,
    ManifestKind.INDEX: OCI_INDEX,
    ManifestKind.ARTIFACT: OCI_ARTIFACT,
    ManifestKind.SCHEMA1: SCHEMA1_SIGNED,
    ManifestKind.OPAQUE: "application/vnd.example.thing",
}


def digest_of(name: str) -> Digest:
    return Digest.of(name.encode())


class Repository:
    """A repository, image by image."""

    def __init__(self, name: str = "team/app") -> None:
        self.name = RepoName(name)
        self.tags: dict[Tag, Digest] = {}
        self.manifests: dict[Digest, Manifest] = {}
        self.tag_times: dict[Tag, Times] = {}
        self.times: dict[Digest, Times] = {}
        self.unreadable: set[Digest] = set()
        self.watching_since: float | None = None
        self.unknown = ""

    def add(
        self,
        name: str,
        *tags: str,
        pushed: float | Moment | None = None,
        created: float | Moment | None = None,
        untagged: float | Moment | None = None,
        pulled: float | Moment | None = None,
        children: Sequence[str] = (),
        subject: str | None = None,
        config: str = "application/vnd.oci.image.config.v1+json",
        artifact_type: str | None = None,
        layer: str = "layer",
        kind: str | None = None,
        size: int = 1000,
    ) -> Digest:
        """Add a manifest called ``name``; times are days before now, or moments.

        ``kind`` is what it is if neither an image nor an index: ``schema1``, ``opaque``.
        """
        digest = digest_of(name)

        def descriptor(of: str, kind: str, size: int | None = 100) -> Descriptor:
            return Descriptor(digest_of(of), kind, size)

        usual = ManifestKind.INDEX if children else ManifestKind.IMAGE
        of = usual if kind is None else ManifestKind(kind)
        whole = of is ManifestKind.IMAGE
        layers: tuple[Descriptor, ...] = ()
        if whole or of is ManifestKind.SCHEMA1:
            layers = (descriptor(f"{name} layer", layer, size if whole else None),)
        self.manifests[digest] = Manifest(
            digest,
            _TYPES[of],
            500,
            of,
            descriptor(f"{name} config", config) if whole else None,
            layers,
            tuple(descriptor(child, OCI_MANIFEST) for child in children),
            None if subject is None else digest_of(subject),
            artifact_type,
        )
        times = Times(
            self._moment(pushed),
            self._moment(untagged),
            self._moment(created),
            self._moment(pulled),
        )
        self.times[digest] = times
        for tag in map(Tag, tags):
            self.tags[tag] = digest
            self.tag_times[tag] = Times(pushed=times.pushed, pulled=times.pulled)
        return digest

    def _moment(self, days: float | Moment | None) -> Moment | None:
        if days is None or isinstance(days, Moment):
            return days
        return Moment(NOW - days * DAY, "test")

    @property
    def snapshot(self) -> RepositorySnapshot:
        return RepositorySnapshot(
            self.name, self.tags, self.manifests, frozenset(self.unreadable), complete=True
        )

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.tag_times, self.times, self.watching_since, unknown=self.unknown)


def decided(
    repository: Repository, policy: str, held: Held = NOTHING_HELD, now: float = NOW
) -> RepositoryDecision:
    """Decide about a repository by a policy as YAML."""
    decider = Decider(parse_policy(policy, "policy.yml"), now, held)
    return decider.decide(repository.snapshot, repository.evidence)


def kept(found: RepositoryDecision) -> Mapping[str, str]:
    """The tags (or short digests) that stay, each with its reason."""
    return {d.tag or d.digest.short: d.reason.value for d in found.decisions if not d.removed}


def removed(found: RepositoryDecision) -> Mapping[str, str]:
    """The tags (or short digests) that go, each with its reason."""
    return {d.tag or d.digest.short: d.reason.value for d in found.decisions if d.removed}


def plain(found: RepositoryDecision) -> object:
    return msgspec.to_builtins(found, enc_hook=str)
