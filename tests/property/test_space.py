"""Random storage trees: whose each byte is, against a model that is slow and plain."""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.collector import (
    CollectionPlan,
    CollectOptions,
    HeldManifest,
    Tally,
    plan_collection,
)
from jettison.collector.space import SpaceCount
from jettison.model.described_space import DescribedSpace
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.plausibility import Amount
from jettison.model.snapshot import Snapshot
from jettison.model.space import ClassTotals, Space, SpaceClass
from jettison.storage.filesystem import links
from tests.property.registries import (
    TRUE_SIZES,
    Naive,
    blob,
    image,
    manifest_digest,
    size,
    snapshots,
)
from tests.property.registries import repository as repository_of
from tests.property.test_collector import Model, World, worlds, write
from tests.support.trees import NOW, OLD, Tree, image_document

LOOSE = ("undo", "young", "protected", "garbage")
KEPT = ("own", "shared", "untagged")


def sizes_on_disk(tree: Tree) -> dict[Digest, int]:
    """What the file system itself counts, found by names of files alone."""
    found: dict[Digest, int] = {}
    for folder, _, files in os.walk(tree.base / "blobs"):
        if "data" in files:
            digest = Digest(f"{Path(folder).parents[1].name}:{Path(folder).name}")
            found[digest] = (Path(folder) / "data").stat().st_size
    return found


def count(tree: Tree, held: list[HeldManifest]) -> tuple[Space, CollectionPlan]:
    counting = SpaceCount()
    with patch.object(links, "_REREAD_SECONDS", 0.0):
        plan = plan_collection(tree.open(), CollectOptions(), NOW, held, counting=counting)
    return counting.space(plan), plan


def expected_of_kept(world: World) -> dict[Digest, tuple[SpaceClass, set[RepoName]]]:
    """Each kept digest with its class, by going round until nothing changes."""
    by_tag: dict[Digest, set[RepoName]] = {}
    by_any: dict[Digest, set[RepoName]] = {}
    for name, found in world.repositories.items():
        model = Model(world, name)
        expected = model.expected()
        tagged = set(found.tags.values()) | model.malformed
        # Where something is wrong, nobody knows what no tag needs.
        alive = expected.kept if expected.problem else model.closure(tagged, referrers=True)
        for digest in alive:
            by_tag.setdefault(digest, set()).add(name)
        for digest in expected.kept | alive:
            by_any.setdefault(digest, set()).add(name)
    classes = {}
    for digest, names in by_any.items():
        kind = SpaceClass.OWN if len(names) == 1 else SpaceClass.SHARED
        classes[digest] = (kind if digest in by_tag else SpaceClass.UNTAGGED, names)
    return classes


def sums_of(totals: ClassTotals) -> dict[str, Amount]:
    return {kind: getattr(totals, kind) for kind in SpaceClass}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.data())
def test_each_byte_is_in_one_class(world: World, data: st.DataObject) -> None:
    world.untagged = False
    world.without = type(world.without)()
    uploads = data.draw(st.lists(st.sampled_from([b"", b"part", b"more" * 9]), max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        tree = write(world, Path(folder) / "registry")
        for number, raw in enumerate(uploads):
            path = tree.repository("a") / "_uploads" / f"0-{number}" / "data"
            tree.write(path, raw)
        disk = sizes_on_disk(tree)
        space, plan = count(tree, world.held)

    # Everything that the file system counts, and nothing else, each once.
    assert space.total.blobs == Amount(len(disk), sum(disk.values()))
    assert space.total.uploads == Amount(len(uploads), sum(map(len, uploads)))
    assert space.total.bytes == sum(disk.values()) + sum(map(len, uploads))

    # The classes are the plan's.
    totals = sums_of(space.total)
    assert totals["garbage"] == Amount(len(plan.blobs), sum(blob.size for blob in plan.blobs))
    assert totals["young"] == Amount(plan.young.count, plan.young.bytes)
    assert totals["protected"] == Amount(plan.protected.count, plan.protected.bytes)
    assert totals["undo"].bytes == sum(one.bytes for one in plan.held)
    kept = sum(totals[kind].count for kind in KEPT)
    assert kept == plan.kept_blobs
    assert totals["untagged"].bytes <= plan.untagged.bytes

    # What is kept is counted for whom the model says, and once in all.
    rows = {str(row.repository): row for row in space.repositories}
    wanted: dict[tuple[str, str], Counter[str]] = {}
    for digest, (kind, names) in expected_of_kept(world).items():
        if digest in disk:
            for name in (*names, "all"):
                tally = wanted.setdefault((name, kind), Counter())
                tally.update(count=1, bytes=disk[digest])
    for name in (*rows, "all"):
        found = sums_of(rows[name] if name != "all" else space.total)
        for one in KEPT:
            tally = wanted.get((name, one), Counter())
            assert found[one] == Amount(tally["count"], tally["bytes"]), (name, one)

    # What nothing reaches is counted somewhere, and nowhere beyond the total.
    each = [*map(sums_of, rows.values()), sums_of(space.nowhere)]
    for one in LOOSE:
        assert max(row[one].bytes for row in each) <= totals[one].bytes
        assert sum(row[one].bytes for row in each) >= totals[one].bytes
        assert sum(row[one].count for row in each) >= totals[one].count


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(snapshots(), st.data())
def test_what_an_api_shows_is_counted_once(snapshot: Snapshot, data: st.DataObject) -> None:
    counting = DescribedSpace()
    for drawn in data.draw(st.permutations(sorted(snapshot.repositories))):
        counting.add(snapshot.repositories[drawn], {})
    space = counting.space("test", ())
    by_tag: dict[Digest, set[str]] = {}
    by_any: dict[Digest, set[str]] = {}
    for where, here in snapshot.repositories.items():
        naive = Naive.of(here)
        tagged = naive.with_referrers(set(naive.tags.values())) & naive.present
        needed = tagged.union(*map(naive.blobs, tagged))
        if any(map(naive.is_blind, tagged)):
            needed = naive.linked()
        for digest in naive.linked():
            by_any.setdefault(digest, set()).add(where)
        for digest in needed:
            by_tag.setdefault(digest, set()).add(where)
    described = msgspec.structs.replace(snapshot, stored=False)
    wanted: dict[tuple[str, str], list[int]] = {}
    for digest, names in by_any.items():
        kind = "own" if len(names) == 1 else "shared"
        for name in (*names, "all"):
            tally = wanted.setdefault((name, kind if digest in by_tag else "untagged"), [0, 0])
            tally[0] += 1
            tally[1] += size(described, digest)
    rows = {str(row.repository): row for row in space.repositories}
    for name in (*rows, "all"):
        found = sums_of(rows[name] if name != "all" else space.total)
        for one in KEPT:
            assert found[one] == Amount(*wanted.get((name, one), (0, 0))), (name, one)
    assert space.total.garbage is None
    assert space.total.held is None
    assert space.total.blobs.count == len(by_any)


def test_what_no_api_shows_is_not_told() -> None:
    here = repository_of("a", [image(0, 0, [1])], {"1": 0})
    counting = DescribedSpace()
    counting.add(msgspec.structs.replace(here, complete=False), {blob(1): 1000})
    space = counting.space("test", ("untagged manifests are not listed",))
    assert not space.exact
    assert space.total.untagged is None
    assert space.repositories[0].untagged is None
    assert space.total.own == Amount(3, TRUE_SIZES[blob(0)] + 1000 + TRUE_SIZES[manifest_digest(0)])


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def test_a_blob_is_counted_for_whom_it_has_a_place(tree: Tree) -> None:
    left = tree.blob(b"left in two" * 9, "a", "b")
    nowhere = tree.blob(b"left in none", when=OLD - 99)
    tree.image("a", "1", [b"layer"])
    space, plan = count(tree, [])
    assert plan.bytes == sum(sizes_on_disk(tree)[digest] for digest in (left, nowhere))
    rows = {str(row.repository): row for row in space.repositories}
    assert rows["a"].garbage == rows["b"].garbage == Amount(1, 99)
    assert space.nowhere.garbage == Amount(1, 12)
    assert space.total.garbage == Amount(2, 99 + 12)
    assert space.oldest_garbage_ns == int((OLD - 99) * 1e9)
    assert rows["a"].tags == 1


def test_what_a_manifest_on_its_way_needs_is_young(tree: Tree) -> None:
    layer, config = tree.blob(b"layer" * 9, "a"), tree.blob(b"config")
    manifest = json.dumps(image_document(config, [layer])).encode()
    tree.write(tree.data(Digest.of(manifest)), manifest, NOW - 60)
    tree.blob(b"left")
    space, plan = count(tree, [])
    assert space.total.young == Amount(3, 45 + 6 + len(manifest))
    assert space.total.garbage == Amount(1, 4)
    assert plan.young == Tally(3, 45 + 6 + len(manifest))
    assert {row.repository: row.young for row in space.repositories} == {"a": Amount(1, 45)}


def test_sums_of_several_processes_are_those_of_one(tree: Tree) -> None:
    for number in range(300):
        tree.image(f"r{number % 12}", str(number), [b"base", b"layer %d" % number])
        tree.blob(b"left %d" % number, "r1")
    found = []
    for processors in ({0}, {0, 1, 2}):
        with patch("os.sched_getaffinity", lambda _, them=processors: them):
            found.append(count(tree, [])[0])
    one, several = found
    assert sums_of(one.total) == sums_of(several.total)
    assert one.repositories == several.repositories
    assert one.total.bytes == sum(sizes_on_disk(tree).values())
