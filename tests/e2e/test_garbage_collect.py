"""`garbage-collect` beside the real one: the same lines, and the same files left."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.model.digest import Digest
from tests.support.cli import Jettison, Result
from tests.support.missing import need
from tests.support.trees import NOW, Tree, image_document

Builder = Callable[[Tree], None]
COMMAND = "garbage-collect"


@pytest.fixture
def jettison(jettison: Jettison) -> Jettison:
    """Some hours from now, when also what these tests write by hand has been there for long."""
    return jettison.later()


def plain(tree: Tree) -> None:
    """Tagged, untagged, shared, moved tags, repositories within others, garbage."""
    tree.image("aaa/app", "1", [b"one", b"shared"])
    tree.image("aaa/app", "2", [b"two", b"shared"])
    tree.tag("aaa/app", "latest", tree.image("aaa/app", "2", [b"two", b"shared"]))
    tree.image("aaa/app", None, [b"untagged", b"shared"])
    tree.image("aaa/app", "dup", [b"twice", b"twice"])
    tree.image("moved", "v", [b"before"])
    tree.image("moved", "v", [b"after"])
    for name in ("pg", "pg/0/p", "pg/x", "pg-x"):
        tree.image(name, "1", [b"postgres"])
    tree.blob(b"garbage of a repository", "aaa/app")
    tree.blob(b"garbage of nobody")
    tree.blob(b"a layer", "layers/alone")
    tree.write(tree.repository("upload/alone") / "_uploads" / "x" / "startedat", b"")
    # Every manifest is untagged; the tags are gone, their folder is there.
    tree.image("all/untagged", None, [b"no tag"])
    (tree.repository("all/untagged") / "_manifests" / "tags").mkdir()


def foreign(tree: Tree) -> None:
    """A layer that is somewhere else, a referrer with a tag, a Docker manifest."""
    subject = tree.image("app", "1", [b"layer"])
    tree.image("app", "signature", [b"signature"], subject=subject)
    document = image_document(tree.blob(b"config", "app"), [tree.blob(b"layer", "app")])
    config, layers = document["config"], document["layers"]
    assert isinstance(config, dict)
    assert isinstance(layers, list)
    document["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    config["mediaType"] = "application/vnd.docker.container.image.v1+json"
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    elsewhere = {"mediaType": kind, "digest": Digest.of(b"elsewhere"), "size": 9}
    layers.append(elsewhere | {"urls": ["http://localhost/layer"]})
    tree.put("app", document, "foreign")
    tree.blob(b"garbage", "app")


def indexes(tree: Tree) -> None:
    """Indexes with children that have no tag, an index in an index, and an untagged index."""
    arm, amd = (tree.image("app", None, [layer]) for layer in (b"arm", b"amd"))
    inner = tree.index("app", None, [arm])
    tree.index("app", "1", [inner, amd])
    tree.tag("app", "amd", amd)
    tree.index("app", None, [tree.image("app", None, [b"old"])])
    tree.blob(b"garbage")


class Storage:
    """One tree twice, for either program."""

    def __init__(self, base: Path, build: Builder) -> None:
        need("docker-registry")
        self.mine, self.theirs = base / "mine", base / "theirs"
        build(Tree(self.mine))
        shutil.copytree(self.mine, self.theirs)
        self.config = self.write_config(self.mine)

    @staticmethod
    def write_config(root: Path, more: str = "") -> Path:
        config = root.with_suffix(".yml")
        config.write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}\n"
            f"http:\n  addr: 127.0.0.1:0\n{more}"
        )
        return config

    def real(self, *flags: str) -> Result:
        """Run Distribution's own."""
        env = {key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"}
        done = subprocess.run(
            ["docker-registry", COMMAND, *flags, str(self.write_config(self.theirs))],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Result(done.stdout, done.stderr, done.returncode)


def blobs(root: Path) -> set[str]:
    return {file.parent.name for file in root.rglob("data")}


def messages(log: str) -> list[str]:
    return sorted(re.findall(r'msg="([^"]*)"', log))


def lines(result: Result) -> Counter[str]:
    return Counter(result.stdout.split("\n"))


@pytest.mark.parametrize(
    ("build", "flags"),
    [(plain, ()), (plain, ("-m",)), (foreign, ()), (foreign, ("-m",)), (indexes, ())],
)
def test_it_prints_and_leaves_what_the_real_one_does(
    tmp_path: Path, jettison: Jettison, build: Builder, flags: tuple[str, ...]
) -> None:
    storage = Storage(tmp_path, build)
    before = blobs(storage.mine)
    theirs = storage.real("--dry-run", *flags)
    mine = jettison(COMMAND, storage.config, "--dry-run", *flags)
    assert theirs.code == 0
    # In the same order, but for the last part: theirs is a different one each time.
    assert mine.stdout.partition("\n\n")[0] == theirs.stdout.partition("\n\n")[0]
    assert lines(mine) == lines(theirs)
    assert mine.stderr == theirs.stderr == ""
    assert blobs(storage.mine) == before

    theirs = storage.real(*flags)
    mine = jettison(COMMAND, storage.config, *flags)
    assert lines(mine) == lines(theirs)
    assert blobs(storage.mine) == blobs(storage.theirs) != before
    # What was freed is said in one line more.
    *removals, freed = messages(mine.stderr)
    assert removals == messages(theirs.stderr)
    assert freed.startswith("freed ")


def test_children_of_tagged_indexes_stay(tmp_path: Path, jettison: Jettison) -> None:
    storage = Storage(tmp_path, indexes)
    theirs, mine = lines(storage.real("-d", "-m")), lines(jettison(COMMAND, storage.config, "-dm"))
    tree = Tree(tmp_path / "digests")
    arm = tree.image("app", None, [b"arm"])
    inner = tree.index("app", None, [arm])
    children = {f"manifest eligible for deletion: {child}" for child in (arm, inner)}
    assert children <= set(theirs - mine)
    kept = {f"app: marking manifest {child} " for child in (arm, inner)}
    assert kept <= set(mine - theirs)
    old = tree.image("app", None, [b"old"])
    gone = {f"manifest eligible for deletion: {one}" for one in (old, tree.index("x", None, [old]))}
    assert gone <= set(mine & theirs)

    storage.real("-m")
    jettison(COMMAND, storage.config, "-m")
    assert blobs(storage.theirs) < blobs(storage.mine)
    lost = {arm, Digest.of(b"arm"), Digest.of(b"config of arm")}
    assert blobs(storage.mine) - blobs(storage.theirs) == {digest.hex for digest in lost}


def test_a_repository_without_tags_does_not_end_it(tmp_path: Path, jettison: Jettison) -> None:
    def build(tree: Tree) -> None:
        tree.image("app", None, [b"untagged"])
        tree.image("web", "1", [b"tagged"])

    storage = Storage(tmp_path, build)
    theirs = storage.real("-m")
    assert theirs.code == 1
    assert "failed to retrieve tags" in theirs.stderr
    mine = jettison(COMMAND, storage.config, "-m")
    assert "3 blobs marked, 3 blobs and 1 manifests eligible for deletion\n" in mine.stdout
    assert len(blobs(storage.mine)) == 3


def test_a_missing_manifest_protects_its_layers(tmp_path: Path, jettison: Jettison) -> None:
    """Among more repositories than one process surveys."""

    def build(tree: Tree) -> None:
        for number in range(12):
            tree.image(f"app{number:02}", "1", [b"%d" % number])
        tree.data(tree.image("app05", "lost", [b"of a lost manifest"])).unlink()
        tree.blob(b"garbage")

    storage = Storage(tmp_path, build)
    layer = Digest.of(b"of a lost manifest")
    assert f"blob eligible for deletion: {layer}\n" in storage.real("-d").stdout
    mine = jettison(COMMAND, storage.config, check=3)
    assert f"app05: marking blob {layer}\n" in mine.stdout
    assert f"blob eligible for deletion: {Digest.of(b'garbage')}\n" in mine.stdout
    assert "is missing" in mine.stderr
    assert layer.hex in blobs(storage.mine)
    assert Digest.of(b"garbage").hex not in blobs(storage.mine)


def test_from_cron(tmp_path: Path, jettison: Jettison) -> None:
    """No terminal, no home, nearly no environment; the configuration's path is in it."""
    storage = Storage(tmp_path, plain)
    [program, *options] = jettison.command
    env = {"PATH": "/usr/bin:/bin", "REGISTRY_CONFIGURATION_PATH": str(storage.config)}
    done = subprocess.run(
        [program, *options, COMMAND, "--delete-untagged=true", "--dry-run=false"],
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert lines(Result(done.stdout, "", 0)) == lines(storage.real("-d", "-m"))
    storage.real("-m")
    assert blobs(storage.mine) == blobs(storage.theirs)


def test_variables_override_the_file(
    tmp_path: Path, jettison: Jettison, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path, plain)
    other = Storage.write_config(tmp_path / "nowhere")
    monkeypatch.setenv("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", str(storage.mine))
    expected = lines(storage.real("-d"))
    assert lines(jettison(COMMAND, "-d", other)) == expected


def test_quiet(tmp_path: Path, jettison: Jettison) -> None:
    storage = Storage(tmp_path, plain)
    Storage.write_config(storage.mine, "log:\n  level: error\n")
    loud = jettison(COMMAND, "-q", storage.config, env={"REGISTRY_LOG_LEVEL": "info"})
    assert loud.stdout == ""
    assert "Deleting blob: /docker/registry/v2/blobs/sha256/" in loud.stderr
    silent = jettison(COMMAND, "-q", storage.config, "-m")
    assert silent.stdout == silent.stderr == ""
    storage.real("-m")
    assert blobs(storage.mine) == blobs(storage.theirs)


def test_what_is_young_stays(tmp_path: Path, jettison: Jettison) -> None:
    def build(tree: Tree) -> None:
        tree.image("app", "1", [b"layer"])
        tree.blob(b"just uploaded", "app", when=NOW + 7200)

    storage = Storage(tmp_path, build)
    mine = jettison(COMMAND, storage.config)
    assert "3 blobs marked, 0 blobs and 0 manifests eligible for deletion\n" in mine.stdout
    assert "kept 1 blob, 13 bytes: younger than the grace period of 1 h" in mine.stderr
    assert "3 blobs marked, 1 blobs" in storage.real("-d").stdout
    none = ("--grace", "0s", "--assume-quiescent")
    assert jettison(COMMAND, storage.config, *none).stdout == storage.real("-d").stdout
    assert len(blobs(storage.mine)) == 3


def test_exit_codes(tmp_path: Path, jettison: Jettison) -> None:
    storage = Storage(tmp_path, plain)
    before = blobs(storage.mine)
    assert "REGISTRY_CONFIGURATION_PATH" in jettison(COMMAND, check=2).stderr
    jettison(COMMAND, tmp_path / "nowhere.yml", check=1)
    jettison(COMMAND, storage.config, "--dry-run=no", check=2)
    running = {"REGISTRY_HTTP_NET": "unix"}  # or so it seems: it cannot be asked
    jettison(COMMAND, storage.config, "--grace", "0s", env=running, check=12)
    assert blobs(storage.mine) == before
