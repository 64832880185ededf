"""What `prune` and `apply` print, word for word, on a small storage, as in test_golden.py."""

from pathlib import Path

import pytest

from jettison.demo.images import Image, Index, image, index, layer
from tests.cli.test_golden import BASE, Run, compare, registry, run
from tests.support.trees import NOW, Tree

__all__ = ["registry", "run"]

POLICY = """
protect: {tags: ["v*"]}
max_removal: 70%
rules:
- {name: builds, repositories: [shop/web], tags: ["b*"], keep: {last: 2}, remove: {older_than: 7d}}
- name: branches
  repositories: [shop/api]
  tags: ["*"]
  group_by: "re:(?P<branch>.+)-[0-9]+"
  remove: {older_than: 7d, and_beyond: 1}
- {name: rubbish, state: untagged, remove: {older_than: 7d}}
"""


def ago(days: float) -> float:
    return NOW - days * 86400


def build(content: bytes) -> Image:
    return image([BASE, layer({"app": content * 1000})])


def put(tree: Tree, name: str, tag: str | None, made: Image | Index, days: float) -> None:
    for content in made.blobs():
        tree.blob(content.raw, name, when=ago(days))
    for content in made.manifests():
        tree.put_raw(name, content.raw, when=ago(days))
    if tag is not None:
        tree.tag(name, tag, made.digest, ago(days))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Five builds, one of them a release and one an index; two branches; one without a tag."""
    made = Tree(tmp_path / "registry")
    for number, days in ((1, 1), (2, 5), (3, 12), (4, 20)):
        put(made, "shop/web", f"b{number}", build(b"build %d" % number), days)
    made.tag("shop/web", "v1.0", build(b"build 4").digest, ago(20))
    put(made, "shop/web", "b5", index([build(b"amd64"), build(b"arm64")]), 40)
    for name, days in (("main-2", 9), ("main-1", 10), ("fix-1", 90)):
        put(made, "shop/api", name, build(name.encode()), days)
    put(made, "shop/old", None, build(b"left over"), 60)
    put(made, "shop/old", "1", build(b"kept"), 50)
    return made


@pytest.fixture
def place(tree: Tree) -> str:
    return str(tree.root)


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "retention.yml"
    path.write_text(POLICY)
    return str(path)


def test_dry_runs(run: Run, place: str, policy: str, pytestconfig: pytest.Config) -> None:
    prune = ("prune", place, "--policy", policy, "-n")
    text = [run(*prune), run(*prune, "--summary"), run(*prune, "--exit-code", code=3)]
    text.append(run("prune", place, "--match", "none-*", "--keep-last", "1", "-n", "--exit-code"))
    compare("prune-dry", "\n".join(text), pytestconfig)


def test_dry_run_for_programs(
    run: Run, place: str, policy: str, pytestconfig: pytest.Config
) -> None:
    text = run("prune", place, "--policy", policy, "-n", "-o", "json")
    compare("prune-json", text, pytestconfig)


def test_a_prune_and_its_undo(
    run: Run, place: str, policy: str, pytestconfig: pytest.Config
) -> None:
    text = [run("prune", place, "--policy", policy, "--yes")]
    text.append(run("prune", place, "--policy", policy, "--yes"))
    text.append(run("undo", "last", "--storage", place, "--yes"))
    compare("prune-and-undo", "\n".join(text), pytestconfig)


def test_a_prune_that_frees_the_disk(
    run: Run, place: str, policy: str, pytestconfig: pytest.Config
) -> None:
    text = run("prune", place, "--policy", policy, "--yes", "--reclaim", "--summary")
    compare("prune-reclaim", text, pytestconfig)


def test_refusals(run: Run, place: str, policy: str, pytestconfig: pytest.Config) -> None:
    misspelt = Path(policy).with_name("misspelt.yml")
    misspelt.write_text('rules:\n- tags: ["b*"]\n  keep: {lats: 2}\n  remove: rest\n')
    text = [
        run("prune", place, "--policy", policy, code=4),
        run("prune", place, "--match", "b*", "--keep-last", "1", "--yes", code=4),
        run("prune", place, "--match", "*", "--older-than", "1h", "--yes", code=4),
        run("prune", place, "--policy", str(misspelt), "--yes", code=2),
        run("prune", place, "--yes", code=4),
        run("prune", place, "--policy", policy, "--match", "b*", code=2),
    ]
    compare("prune-refused", "\n".join(text), pytestconfig)


def test_a_plan_and_its_application(
    run: Run, place: str, policy: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    plan = str(tmp_path / "plan.json")
    text = [run("prune", place, "--policy", policy, "--out", plan)]
    text.append(run("apply", plan, "-n"))
    text.append(run("apply", plan, "--summary", "--yes"))
    text.append(run("apply", plan, "--yes"))
    compare("apply", "\n".join(text), pytestconfig)


def test_a_plan_of_what_moved(
    run: Run, place: str, tree: Tree, policy: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    plan = str(tmp_path / "plan.json")
    run("prune", place, "--policy", policy, "--out", plan)
    put(tree, "shop/web", "b3", build(b"built again"), 0)
    text = [run("apply", plan, "--yes", code=13)]
    text.append(run("apply", plan, "--yes", "--skip-moved", code=3))
    text.append(run("apply", str(tmp_path / "none.json"), "--yes", code=1))
    text.append(run("apply", policy, "--yes", code=2))
    compare("apply-moved", "\n".join(text), pytestconfig)
