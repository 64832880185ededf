"""Random storage trees: the collector against a model that is slow and plain.

The model knows nothing of folders, links or listings; it is told what the tree was made from.
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from jettison.collector import (
    AssumedRemoval,
    CollectionPlan,
    CollectOptions,
    HeldManifest,
    collect,
    plan_collection,
    sweep,
)
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import links
from tests.support.examples import examples
from tests.support.trees import NOW, OLD, Tree, image_document, index_document

YOUNG = NOW - 60
NAMES = [RepoName("a"), RepoName("a/b"), RepoName("c")]
CONTENTS = [b"", b"x", b"config", *(b"layer %d" % number * (number + 1) for number in range(5))]
BLOBS = [Digest.of(raw) for raw in CONTENTS]
NOWHERE = Digest.of(b"never pushed")


@dataclass
class Made:
    """A manifest, and what it references."""

    raw: bytes
    children: list[Digest] = field(default_factory=list)
    blobs: list[Digest] = field(default_factory=list)
    subject: Digest | None = None
    opaque: bool = False

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)


@dataclass
class Repository:
    linked: dict[Digest, float] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)
    layers: dict[Digest, float] = field(default_factory=dict)
    malformed_tags: list[Tag] = field(default_factory=list)
    malformed_revisions: list[Digest] = field(default_factory=list)


@dataclass
class World:
    manifests: dict[Digest, Made]
    stored: dict[Digest, tuple[bytes, float]]
    repositories: dict[RepoName, Repository]
    held: list[HeldManifest]
    without: AssumedRemoval
    untagged: bool


ages = st.sampled_from([OLD, OLD, OLD, YOUNG])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    # Damage in most examples would leave nothing to collect in most examples.
    sound = draw(st.booleans())
    manifests: dict[Digest, Made] = {}
    for number in range(draw(st.integers(1, 9))):
        known = list(manifests) if sound else [*manifests, NOWHERE]
        subject = draw(st.none() | st.sampled_from([*manifests, NOWHERE]))
        kind = draw(st.sampled_from(["image"] * 4 + ["index"] * 3 + ([] if sound else ["opaque"])))
        if kind == "index" and known:
            children = draw(st.lists(st.sampled_from(known), max_size=3))
            raw = json.dumps({**index_document(children), "n": number}).encode()
            made = Made(raw, children=children)
        elif kind == "opaque":
            made = Made(json.dumps({"mediaType": "a/b", "n": number}).encode(), opaque=True)
        else:
            config, *layers = draw(st.lists(st.sampled_from(BLOBS), min_size=1, max_size=4))
            document = {**image_document(config, layers, subject), "n": number}
            made = Made(json.dumps(document).encode(), blobs=[config, *layers], subject=subject)
        manifests[made.digest] = made

    digests = st.sampled_from(list(manifests))
    stored = {Digest.of(raw): (raw, draw(ages)) for raw in CONTENTS if draw(st.integers(0, 9))}
    for digest, made in manifests.items():
        state = draw(st.sampled_from(["there"] * 12 + ([] if sound else ["missing", "empty"])))
        if state != "missing":
            stored[digest] = (made.raw if state == "there" else b"", draw(ages))

    repositories = {}
    for name in NAMES:
        found = Repository(
            linked=draw(st.dictionaries(digests, ages, max_size=9)),
            tags=draw(st.dictionaries(st.sampled_from([Tag("1"), Tag("2")]), digests)),
            layers=draw(st.dictionaries(st.sampled_from(BLOBS), ages)),
        )
        if not sound and not draw(st.integers(0, 3)):
            found.malformed_tags = [Tag("broken")]
        if not sound and not draw(st.integers(0, 3)):
            found.malformed_revisions = [draw(digests)]
            found.linked.pop(found.malformed_revisions[0], None)
        repositories[name] = found

    names = st.sampled_from(NAMES)
    windows = st.tuples(names, digests, st.sampled_from([("r1", 60.0), ("r2", 90.0), ("r0", -1.0)]))
    held = [
        HeldManifest(run, NOW + left, name, digest, manifests[digest].raw)
        for name, digest, (run, left) in draw(st.lists(windows, max_size=3))
    ]
    # A plan only ever removes manifests whose links are sound.
    sound_ones = [
        (name, digest)
        for name, digest in draw(st.lists(st.tuples(names, digests), max_size=3))
        if digest not in repositories[name].malformed_revisions
    ]
    gone = AssumedRemoval(
        frozenset(draw(st.lists(st.tuples(names, st.sampled_from([Tag("1"), Tag("broken")]))))),
        frozenset(sound_ones),
    )
    without = gone if draw(st.booleans()) else AssumedRemoval()
    return World(manifests, stored, repositories, held, without, draw(st.booleans()))


def write(world: World, root: Path) -> Tree:
    tree = Tree(root)
    for digest, (raw, when) in world.stored.items():
        tree.write(tree.data(digest), raw, when)
    for name, found in world.repositories.items():
        for digest, when in found.linked.items():
            tree.write(tree.revision_path(name, digest), digest.encode(), when)
        for digest, when in found.layers.items():
            tree.write(tree.layer_path(name, digest), digest.encode(), when)
        for tag, digest in found.tags.items():
            tree.tag(name, tag, digest)
        for tag in found.malformed_tags:
            tree.write(tree.tag_path(name, tag), b"")
        for digest in found.malformed_revisions:
            tree.write(tree.revision_path(name, digest), b"sha256:")
    return tree


@dataclass
class Expected:
    """What the model says of one repository."""

    kept: set[Digest]
    held: set[Digest]
    protected: set[Digest]
    problem: bool

    def needs(self, digest: Digest) -> bool:
        return digest in self.kept or digest in self.held or self.problem


class Model:
    """One repository, followed by going round until nothing changes."""

    def __init__(self, world: World, name: RepoName) -> None:
        self.world = world
        self.found = world.repositories[name]
        self.removed = {digest for where, digest in world.without.manifests if where == name}
        self.untagged = {tag for where, tag in world.without.tags if where == name}
        held = [one for one in world.held if one.repository == name and one.until > NOW]
        self.held = {one.digest for one in held}
        self.linked = self.found.linked.keys() - self.removed
        self.malformed = set(self.found.malformed_revisions)

    def understood(self, digest: Digest) -> bool:
        made = self.world.manifests.get(digest)
        if made is None or made.opaque:
            return False
        stored, _ = self.world.stored.get(digest, (b"", 0))
        return digest in self.held or stored == made.raw

    def closure(self, roots: set[Digest], *, referrers: bool) -> set[Digest]:
        """Grow until nothing is added: children, blobs, and referrers of what is in."""
        grown: set[Digest] = set()
        more = set(roots)
        while more != grown:
            grown = set(more)
            for digest in filter(self.understood, grown):
                more.update(self.world.manifests[digest].children)
                more.update(self.world.manifests[digest].blobs)
            for digest in filter(self.understood, self.linked | self.malformed):
                if referrers and self.world.manifests[digest].subject in grown:
                    more.add(digest)
        return grown

    def expected(self) -> Expected:
        found, untagged = self.found, self.world.untagged
        tags = {tag: d for tag, d in found.tags.items() if d not in self.removed}
        roots = {d for tag, d in tags.items() if tag not in self.untagged} | self.malformed
        roots |= {d for d in self.linked if not untagged or found.linked[d] == YOUNG}
        kept = self.closure(roots, referrers=untagged)
        window = self.closure(self.held, referrers=untagged)
        looked_at = kept | window | (self.linked if untagged else set())
        understood = all(self.understood(d) for d in looked_at if d not in BLOBS)
        if understood and not self.malformed and not set(found.malformed_tags) - self.untagged:
            return Expected(kept, window, set(), problem=False)
        everything = self.closure(self.linked | self.malformed, referrers=False)
        return Expected(kept, window, everything | found.layers.keys(), problem=True)


def wanted_by_unlinked(world: World, young: set[Digest]) -> set[Digest]:
    """Grow from the young manifests whose bytes are there; whether they are linked is no matter."""

    def sound(digest: Digest) -> bool:
        made = world.manifests.get(digest)
        return made is not None and world.stored.get(digest, (b"", 0))[0] == made.raw

    more = {digest for digest in young if sound(digest)}
    grown: set[Digest] = set()
    while more != grown:
        grown = set(more)
        for digest in filter(sound, grown):
            more.update(world.manifests[digest].children)
            more.update(world.manifests[digest].blobs)
    return grown


def check_plan(world: World, plan: CollectionPlan, expected: dict[RepoName, Expected]) -> None:
    kept = {digest for one in expected.values() for digest in one.kept}
    protected = {digest for one in expected.values() for digest in one.protected} - kept
    held = {digest for one in expected.values() for digest in one.held} - kept
    fresh = {digest for digest, (_, when) in world.stored.items() if when == YOUNG}
    unused = [
        (name, digest, when)
        for name, one in expected.items()
        for digest, when in world.repositories[name].layers.items()
        if not one.needs(digest)
    ]
    young = fresh | {digest for _, digest, when in unused if when == YOUNG}
    young -= kept | held | protected
    # A young manifest that nothing reaches may be on its way to be linked, and needs its own.
    pending = wanted_by_unlinked(world, young & world.stored.keys())
    young |= pending & world.stored.keys()
    young -= kept | held | protected
    swept = world.stored.keys() - kept - held - protected - young

    def size(digests: set[Digest]) -> int:
        return sum(len(world.stored[digest][0]) for digest in digests & world.stored.keys())

    assert {blob.digest for blob in plan.blobs} == swept
    assert plan.bytes == size(swept)
    assert plan.young.bytes == size(young)
    assert plan.protected.bytes == size(protected)
    assert sum(window.bytes for window in plan.held) == size(held - protected)
    assert bool(plan.problems) == any(one.problem for one in expected.values())
    assert {(link.repository, link.digest) for link in plan.layer_links} == {
        (name, digest)
        for name, digest, when in unused
        if when == OLD and digest not in fresh and digest not in pending
    }
    assert {(link.repository, link.digest) for link in plan.revisions} == {
        (name, digest)
        for name, one in expected.items()
        for digest in world.repositories[name].linked
        if not one.needs(digest) and (name, digest) not in world.without.manifests
        if digest not in pending
    }


def check_sweep(
    world: World, tree: Tree, plan: CollectionPlan, expected: dict[RepoName, Expected]
) -> None:
    before = tree.blob_bytes()
    with patch.object(sweep, "SETTLE_SECONDS", 0.0):
        receipt = collect(tree.open(), plan)
    assert before - tree.blob_bytes() == receipt.blobs.bytes == plan.bytes
    # Nothing that a root reaches is gone, and nothing else that the plan leaves.
    assert tree.blobs().keys() == world.stored.keys() - {blob.digest for blob in plan.blobs}
    assert receipt.ok == (not plan.problems)
    for name, one in expected.items():
        found = world.repositories[name]
        for digest in filter(one.needs, found.layers):
            assert tree.layer_path(name, digest).exists()
        for digest in filter(one.needs, found.linked):
            assert tree.revision_path(name, digest).exists()
    # Once is enough.
    assert plan_collection(tree.open(), plan.options, NOW, world.held).empty


@examples(50)
@given(worlds())
def test_the_plan_is_the_models_and_the_sweep_is_the_plan(world: World) -> None:
    # A damaged link is read again a moment later; nothing here changes in a moment.
    with tempfile.TemporaryDirectory() as folder, patch.object(links, "_REREAD_SECONDS", 0.0):
        tree = write(world, Path(folder) / "registry")
        options = CollectOptions(untagged=0.0 if world.untagged else None)
        plan = plan_collection(tree.open(), options, NOW, world.held, world.without)
        expected = {name: Model(world, name).expected() for name in NAMES}
        check_plan(world, plan, expected)
        if not plan.hypothetical:
            check_sweep(world, tree, plan, expected)
