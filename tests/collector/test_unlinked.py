"""Manifests whose registry has looked at their blobs, and has not linked them yet."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jettison.collector import CollectOptions, collect, plan_collection, sweep
from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.filesystem.quarantine import Quarantine
from jettison.storage.protocol import Outcome
from tests.support.trees import NOW, Tree, image_document, index_document

LAYERS = [Digest.of(b"config"), Digest.of(b"layer")]
RAW = json.dumps(image_document(LAYERS[0], LAYERS[1:])).encode()
DIGEST = Digest.of(RAW)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    for raw in (b"config", b"layer", b"garbage"):
        made.blob(raw, "app")
    made.image("other", "1", [b"kept"])
    return made


def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do it once, when the links are gone and the first blob is about to be set aside."""
    put = Quarantine.put
    done: list[BinaryDigest] = []

    def act(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        if not done:
            done.extend(digests)
            do()
        return put(aside, digests)

    monkeypatch.setattr(Quarantine, "put", act)


def check_kept(tree: Tree) -> None:
    opened = tree.open()
    receipt = collect(opened, plan_collection(opened, CollectOptions(), NOW))
    assert receipt.ok
    assert {*LAYERS} <= tree.blobs().keys()
    assert Digest.of(b"garbage") not in tree.blobs()
    for layer in LAYERS:
        assert tree.layer_path("app", layer).exists()


def test_one_that_was_stored_before_the_plan(tree: Tree) -> None:
    tree.write(tree.data(DIGEST), RAW, NOW - 5)
    check_kept(tree)


def test_an_index_whose_children_are_old(tree: Tree) -> None:
    tree.write(tree.data(DIGEST), RAW)
    index = json.dumps(index_document([DIGEST])).encode()
    tree.write(tree.data(Digest.of(index)), index, NOW - 5)
    check_kept(tree)
    assert DIGEST in tree.blobs()


def test_one_that_is_stored_during_the_sweep(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: tree.write(tree.data(DIGEST), RAW, NOW + 1))
    check_kept(tree)


@pytest.mark.parametrize("stored", [True, False])
def test_one_that_is_being_linked(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """Its folder among the revisions is there already; its blob may lie aside by then."""
    if stored:
        tree.write(tree.data(DIGEST), RAW)
    folder = tree.revision_path("app", DIGEST).parent

    def link() -> None:
        folder.mkdir(parents=True)
        tree.write(tree.data(DIGEST), RAW)

    meanwhile(monkeypatch, link)
    check_kept(tree)


def test_one_that_is_linked_a_little_later(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing at all showed when the blobs were set aside."""
    tree.write(tree.data(DIGEST), RAW)
    looks = []

    def sleep(seconds: float) -> None:
        assert 0 <= seconds <= sweep.POLL_SECONDS
        looks.append(seconds)
        if len(looks) == 3:
            tree.write(tree.revision_path("app", DIGEST), DIGEST.encode(), NOW)

    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    receipt = collect(opened, plan, sleep=sleep)
    assert len(looks) > 3
    assert receipt.put_back.count == 3
    assert {DIGEST, *LAYERS} <= tree.blobs().keys()
    assert tree.layer_path("app", LAYERS[1]).exists()
    assert Digest.of(b"garbage") not in tree.blobs()


def test_what_only_begins_like_a_manifest_holds_nothing(tree: Tree) -> None:
    tree.write(tree.data(Digest.of(b"{half")), b"{half", NOW - 5)
    tree.write(tree.data(Digest.of(b"a layer")), b"a layer", NOW - 5)
    big = b"{" + b" " * (4 * 1024 * 1024)
    tree.write(tree.data(Digest.of(big)), big, NOW - 5)
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert len(plan.blobs) == 3
    assert plan.young.count == 3


@pytest.mark.parametrize("touched", [True, False])
def test_an_untagged_manifest_pushed_again_since_the_plan_keeps_its_layers(
    tree: Tree, touched: bool
) -> None:
    """Its link is written again in place, so no folder changes; neither does its tag's."""
    digest = tree.image("app", None, [b"its layer"])
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(untagged=0.0), NOW)
    assert [link.digest for link in plan.revisions] == [digest]
    if touched:
        os.utime(tree.revision_path("app", digest), (NOW, NOW))
    collect(opened, plan)
    assert (digest in tree.blobs()) == touched
    assert (Digest.of(b"its layer") in tree.blobs()) == touched
    assert tree.layer_path("app", Digest.of(b"its layer")).exists() == touched
    assert tree.revision_path("app", digest).exists() == touched
