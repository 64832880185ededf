"""Random registries, and a naive model of one that is written from the rules alone.

Digests here are numbers, not hashes, so that there are things that honest bytes cannot make:
cycles of subjects. Children have lower numbers than their index: those are always honest.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from jettison.model.digest import Digest
from jettison.model.manifest import Descriptor, Manifest, ManifestKind
from jettison.model.mediatypes import OCI_INDEX, OCI_MANIFEST
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Step, StepAction
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
BLOBS = 7
MANIFESTS = 9
NAMES = ("aaa/app", "bbb/app", "ccc")


def digest_number(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def blob(number: int) -> Digest:
    return digest_number(0xB000 + number)


def manifest_digest(number: int) -> Digest:
    return digest_number(0xA000 + number)


def blob_size(number: int) -> int:
    """Powers of two: equal sums are equal sets."""
    return 1 << number


def manifest_size(number: int) -> int:
    return 1 << (BLOBS + number)


TRUE_SIZES = {blob(n): blob_size(n) for n in range(BLOBS)} | {
    manifest_digest(n): manifest_size(n) for n in range(MANIFESTS)
}


def image(
    number: int, config: int, layers: Iterable[int] = (), subject: int | None = None
) -> Manifest:
    return Manifest(
        manifest_digest(number),
        OCI_MANIFEST,
        manifest_size(number),
        ManifestKind.IMAGE,
        config=Descriptor(blob(config), CONFIG, blob_size(config)),
        layers=tuple(Descriptor(blob(n), LAYER, blob_size(n)) for n in layers),
        subject=None if subject is None else manifest_digest(subject),
    )


def index(number: int, children: Iterable[int], subject: int | None = None) -> Manifest:
    return Manifest(
        manifest_digest(number),
        OCI_INDEX,
        manifest_size(number),
        ManifestKind.INDEX,
        children=tuple(
            Descriptor(manifest_digest(n), OCI_MANIFEST, manifest_size(n)) for n in children
        ),
        subject=None if subject is None else manifest_digest(subject),
    )


def opaque(number: int) -> Manifest:
    return Manifest(
        manifest_digest(number), "application/x.unknown", manifest_size(number), ManifestKind.OPAQUE
    )


def weak_tag(number: int, suffix: str = ".sig") -> Tag:
    return Tag(f"sha256-{manifest_digest(number).hex}{suffix}")


def repository(
    name: str,
    manifests: Iterable[Manifest],
    tags: Mapping[str, int],
    unreadable: Iterable[int] = (),
) -> RepositorySnapshot:
    return RepositorySnapshot(
        RepoName(name),
        {Tag(tag): manifest_digest(number) for tag, number in tags.items()},
        {manifest.digest: manifest for manifest in manifests},
        frozenset(manifest_digest(number) for number in unreadable),
        complete=True,
    )


def registry(*repositories: RepositorySnapshot, stored: bool = False) -> Snapshot:
    sizes = TRUE_SIZES if stored else {}
    return Snapshot("test", {found.name: found for found in repositories}, sizes, stored=stored)


@st.composite
def manifests_of_a_world(draw: st.DrawFn, *, blind: bool) -> list[Manifest]:
    """The content that the repositories of one registry choose from."""
    found: list[Manifest] = []
    kinds = ["image", "image", "index", *(["opaque"] if blind else [])]
    for number in range(draw(st.integers(2, MANIFESTS))):
        kind = draw(st.sampled_from(kinds))
        subject = draw(st.none() | st.none() | st.integers(0, MANIFESTS - 1))
        if kind == "opaque":
            found.append(opaque(number))
        elif kind == "index" and number:
            children = draw(st.lists(st.integers(0, number - 1), max_size=3))
            found.append(index(number, children, subject))
        else:
            layers = draw(st.lists(st.integers(0, BLOBS - 1), max_size=3))
            found.append(image(number, draw(st.integers(0, BLOBS - 1)), layers, subject))
    return found


@st.composite
def snapshots(draw: st.DrawFn, *, blind: bool | None = None) -> Snapshot:
    """A registry; ``blind``: whether there are manifests that cannot be understood."""
    if blind is None:
        blind = draw(st.booleans())
    world = draw(manifests_of_a_world(blind=blind))
    repositories = []
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        # What an index lists may be missing here, and be there in the next repository.
        here = draw(st.sets(st.integers(0, len(world) - 1), min_size=1))
        numbers = st.sampled_from(sorted(here))
        damaged = draw(st.sets(numbers, max_size=1)) if blind else set()
        tags = {f"t{n}": number for n, number in enumerate(draw(st.lists(numbers, max_size=5)))}
        subjects = st.integers(0, len(world) - 1)
        weak = st.builds(weak_tag, subjects, st.sampled_from([".sig", ".att", ""]))
        tags |= draw(st.dictionaries(weak, numbers, max_size=2))
        readable = [world[number] for number in sorted(here - damaged)]
        repositories.append(repository(name, readable, tags, damaged))
    return registry(*repositories, stored=draw(st.booleans()))


@st.composite
def tags_to_remove(draw: st.DrawFn, found: RepositorySnapshot) -> frozenset[Tag]:
    if not found.tags:
        return frozenset()
    return draw(st.frozensets(st.sampled_from(sorted(found.tags)), max_size=4))


# The naive model. Sets that grow until nothing is added, and no sharing of code with the
# package beyond its plain data.


def subject_of_tag(tag: str) -> Digest | None:
    """The digest that a cosign or referrers tag is about."""
    stem = tag.removesuffix(".sig").removesuffix(".att").removesuffix(".sbom")
    return Digest(stem.replace("-", ":", 1)) if stem.startswith("sha256-") else None


def grow(start: set[Digest], more: Callable[[Digest], set[Digest]]) -> set[Digest]:
    found = set(start)
    while True:
        larger = found.union(*(more(digest) for digest in found))
        if larger == found:
            return found
        found = larger


@dataclass
class Naive:
    """A repository that can be replayed upon."""

    snapshot: RepositorySnapshot
    present: set[Digest]
    tags: dict[Tag, Digest]

    @classmethod
    def of(cls, snapshot: RepositorySnapshot) -> "Naive":
        return cls(snapshot, set(snapshot.manifests) | snapshot.unreadable, dict(snapshot.tags))

    def children(self, digest: Digest) -> set[Digest]:
        manifest = self.snapshot.manifests.get(digest)
        return {child.digest for child in manifest.children} if manifest else set()

    def blobs(self, digest: Digest) -> set[Digest]:
        manifest = self.snapshot.manifests.get(digest)
        return {blob.digest for blob in manifest.blobs} if manifest else set()

    def referrers(self, subject: Digest) -> set[Digest]:
        named = {d for d, m in self.snapshot.manifests.items() if m.subject == subject}
        tagged = {d for tag, d in self.tags.items() if subject_of_tag(tag) == subject}
        return named | tagged

    def is_blind(self, digest: Digest) -> bool:
        manifest = self.snapshot.manifests.get(digest)
        return manifest is None or manifest.kind is ManifestKind.OPAQUE

    def pulled(self, digest: Digest) -> set[Digest]:
        """What somebody who pulls this needs, as far as it is there."""
        return grow({digest}, self.children) & self.present

    def with_referrers(self, start: set[Digest]) -> set[Digest]:
        return grow(start, lambda d: self.children(d) | self.referrers(d))

    def linked(self) -> set[Digest]:
        """All content that the repository is known to link."""
        return self.present.union(*(self.blobs(digest) for digest in self.present))

    def run(self, step: Step) -> None:
        pointing = {tag for tag, digest in self.tags.items() if digest == step.digest}
        if step.action is StepAction.DELETE:
            assert step.digest in self.present
            assert set(step.tags) == pointing
            self.present.remove(step.digest)
        else:
            assert len(step.tags) == 1
            assert set(step.tags) <= pointing
        for tag in step.tags:
            del self.tags[tag]

    def surviving(self, tags: set[Tag], digests: set[Digest]) -> set[Digest]:
        """What lives when tags are untagged and digests deleted (decision 0001)."""
        going = tags | {tag for tag, digest in self.tags.items() if digest in digests}
        touched = self.with_referrers({self.tags[tag] for tag in going} | digests)
        alive = self.present - touched
        for tag, digest in self.tags.items():
            if tag not in going and subject_of_tag(tag) not in touched:
                alive.add(digest)
        staying = Naive(
            self.snapshot, self.present, {t: d for t, d in self.tags.items() if t not in going}
        )

        def keeps(digest: Digest) -> set[Digest]:
            return self.children(digest) | (staying.referrers(digest) - digests)

        return grow(alive, keeps)


def holders(snapshot: Snapshot) -> dict[Digest, set[Node]]:
    """Who needs what: a manifest itself, config and layers; the unreadable all there is."""
    found: dict[Digest, set[Node]] = {}
    for name, here in snapshot.repositories.items():
        naive = Naive.of(here)
        for digest in naive.present:
            held = naive.linked() if naive.is_blind(digest) else naive.blobs(digest) | {digest}
            for content in held:
                found.setdefault(content, set()).add((name, digest))
    return found


def size(snapshot: Snapshot, content: Digest) -> int:
    if snapshot.stored:
        return snapshot.sizes.get(content, 0)
    described = {
        digest
        for here in snapshot.repositories.values()
        for manifest in here.manifests.values()
        for digest in [manifest.digest, *(b.digest for b in manifest.blobs)]
    }
    return TRUE_SIZES[content] if content in described else 0


def freed(snapshot: Snapshot, removed: set[Node]) -> set[Digest]:
    """What is referenced now, and by nothing that remains in any repository."""
    return {content for content, nodes in holders(snapshot).items() if nodes <= removed}
