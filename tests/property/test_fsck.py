"""``fsck`` and pulling everything agree on any tree, however it is damaged; so after a repair."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.errors import JettisonError
from jettison.fsck import CheckOptions, check_again, check_tree, plan_repair
from jettison.jobs.repair import RepairJob, RepairUndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.manifest import parse_manifest
from jettison.model.names import RepoName, Tag
from jettison.storage.registry import StorageRegistry
from tests.support.examples import examples
from tests.support.trees import NOW, OLD, Tree

REPOSITORIES = ("a", "a/b")
HARMS = ("remove", "empty", "garble", "newline")


async def _pull(registry: StorageRegistry, repository: RepoName, reference: Tag | Digest) -> bool:
    try:
        found = await registry.manifest(repository, reference)
        if found is None:
            return False
        # Distribution opens the link, this registry only looks whether there is one.
        with registry.storage.repository(repository) as reader:
            if found.digest.binary not in reader.revisions().linked:
                return False
        manifest = parse_manifest(found.raw)
        for child in manifest.children:
            if not await _pull(registry, repository, child.digest):
                return False
        for blob in manifest.blobs:
            async for _ in registry.read_blob(repository, blob.digest):
                pass
            if not await registry.has_blob(repository, blob.digest):
                return False
    except JettisonError:
        return False
    return True


async def _unpullable(registry: StorageRegistry) -> list[str]:
    return sorted(
        [
            f"{repository}:{tag}"
            async for repository in registry.repositories()
            async for tag in registry.tags(repository)
            if not await _pull(registry, repository, tag)
        ]
    )


def unpullable(tree: Tree) -> list[str]:
    return asyncio.run(_unpullable(StorageRegistry(tree.open())))


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[tuple[int, str]]]:
    """Numbers of the layers of some images, and which file, counted off, comes to which harm."""
    layers = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)
    images = draw(st.lists(layers, min_size=1, max_size=4))
    harm = st.tuples(st.integers(0, 1000), st.sampled_from(HARMS))
    return images, draw(st.lists(harm, max_size=4))


def build(root: Path, images: list[tuple[int, ...]]) -> Tree:
    tree = Tree(root)
    for number, layers in enumerate(images):
        repository = REPOSITORIES[number % 2]
        contents = [b"layer %d" % layer for layer in layers]
        tree.image(repository, f"t{number}", contents)
        child = tree.image(repository, None, [b"arm", *contents])
        tree.index(repository, f"i{number % 3}", [child])
    return tree


def harm(tree: Tree, harms: list[tuple[int, str]]) -> None:
    for number, how in harms:
        files = sorted(path for path in tree.base.rglob("*") if path.is_file())
        path = files[number % len(files)]
        if how == "remove":
            path.unlink()
        else:
            raw = path.read_bytes()
            spoilt = {"empty": b"", "garble": raw[:-1] + b"?", "newline": raw + b"\n"}[how]
            tree.write(path, spoilt)
    for folder in (tree.root, *tree.root.rglob("*")):
        os.utime(folder, (OLD, OLD))


@settings(examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees())
def test_fsck_names_exactly_what_cannot_be_pulled(
    monkeypatch: pytest.MonkeyPatch,
    made: tuple[list[tuple[int, ...]], list[tuple[int, str]]],
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        tree = build(Path(folder) / "registry", made[0])
        assert unpullable(tree) == []
        assert check_tree(tree.open(), CheckOptions(), NOW).defects == ()
        harm(tree, made[1])
        before = tree.snapshot()
        report = check_tree(tree.open(), CheckOptions(), NOW)
        broken = unpullable(tree)
        assert [tag.name for tag in report.unpullable] == broken

        plan = plan_repair(tree.open(), report, "r", NOW, 3600.0)
        assert not plan.skipped
        if not plan.steps:
            return
        run = RepairJob(Workspace(storage=tree.open(), clock=lambda: NOW), CheckOptions()).apply(
            plan, ()
        )
        assert run.receipt is not None
        assert run.receipt.ok
        # A repair harms nobody, and what it leaves is told as it is.
        after = unpullable(tree)
        assert set(after) <= set(broken)
        again = check_tree(tree.open(), CheckOptions(), NOW)
        assert [tag.name for tag in again.unpullable] == after
        remembered = check_again(tree.open(), CheckOptions(), NOW, report)
        assert remembered.defects == again.defects

        undone = RepairUndoJob(Workspace(storage=tree.open(), clock=lambda: NOW), run).apply()
        assert undone.receipt is not None
        assert undone.receipt.ok
        now = {path: raw for path, raw in tree.snapshot().items() if path.startswith("docker/")}
        assert now == before
