"""Trees and surroundings that wish a collection ill: it says so, goes on if it can, loses nothing.

The last test is the other way round: a collection that is wished for, and a change of mind.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
import typer

import jettison as jettison_package
from jettison.demo.images import image, layer, random_bytes
from jettison.model.digest import Digest
from tests.support.cli import Jettison, Result
from tests.support.missing import need
from tests.support.registry import DockerRegistry
from tests.support.trees import NOW, OLD, Tree

COLLECT = ("--untagged", "0s", "--yes")
FOREIGNER = 12345
HEX = "ab" * 32


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


class Sample:
    """In every tree: an image that stays, and garbage that nothing about it is in doubt."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        manifest = tree.image("app", "1", [b"base", b"one"])
        config = Digest.of(b"config of base,one")
        self.kept = {manifest, config, Digest.of(b"base"), Digest.of(b"one")}
        self.garbage = tree.blob(b"garbage", "unrelated")
        self.manifest = manifest

    @property
    def whole(self) -> bool:
        """Whether the image is there with all its links."""
        tree = self.tree
        links = [tree.revision_path("app", self.manifest), tree.tag_path("app", "1")]
        links += [tree.layer_path("app", digest) for digest in self.kept - {self.manifest}]
        found = tree.data(self.manifest).is_file() and self.kept <= _blobs(tree)
        return found and all(link.is_file() for link in links)

    @property
    def collected(self) -> bool:
        return self.garbage not in _blobs(self.tree)


@pytest.fixture
def sample(tree: Tree) -> Sample:
    return Sample(tree)


def _blobs(tree: Tree) -> set[Digest]:
    """What lies where a blob of that name belongs; a tree may hold other things here."""
    found = (tree.base / "blobs" / "sha256").glob("??/*/data")
    named = [file.parent.name for file in found]
    return {Digest(f"sha256:{name}") for name in named if re.fullmatch("[0-9a-f]{64}", name)}


def told(result: Result, *words: str) -> None:
    """It is said in words, on lines of their own, and not by a traceback."""
    assert "Traceback" not in result.stderr
    assert "Traceback" not in result.stdout
    assert any(line.startswith(("error: ", "warning: ")) for line in result.stderr.splitlines())
    for word in words:
        assert word in result.stderr, result.stderr


def state(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder: kind and rights, time, content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        else:
            content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found


# Two at once.


def test_the_second_collection_says_who_holds_the_lock_and_since_when(
    sample: Sample, jettison: Jettison, tmp_path: Path
) -> None:
    need("strace")
    root = sample.tree.root
    log = tmp_path / "strace.log"
    slow = "inject=unlink,unlinkat:delay_enter=60000000:when=1"
    strace = ("strace", "-f", "-qq", "-o", str(log), "-e", "trace=unlink,unlinkat", "-e", slow)
    first = jettison.start("gc", root, *COLLECT, prefix=strace)
    try:
        lock = root / "jettison" / "lock"
        deadline = time.monotonic() + 30
        while not (lock.exists() and lock.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        holder = json.loads(lock.read_text(encoding="utf-8"))["pid"]
        before = state(root / "docker")
        second = jettison("gc", root, *COLLECT, check=12)
        told(second, f"process {holder} ", "collection")
        assert re.search(r"since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", second.stderr)
        assert re.search(r"^ next: ", second.stderr, re.MULTILINE)
        # Looking needs no lock.
        jettison("gc", root, "-n")
        assert state(root / "docker") == before
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate(timeout=30)
    # The lock's file is still there, its process is not.
    assert lock.stat().st_size
    jettison("gc", root, *COLLECT)
    assert sample.collected
    assert sample.whole


def test_a_lock_whose_holder_is_not_told_holds_too(sample: Sample, jettison: Jettison) -> None:
    root = sample.tree.root
    (root / "jettison").mkdir()
    with (root / "jettison" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = jettison("gc", root, *COLLECT, check=12)
        told(refused, "locked by another process")
        assert not sample.collected
    jettison("gc", root, *COLLECT)
    assert sample.collected


# A read-only mount.


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Sample]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        sample = Sample(Tree(disk / "registry"))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield sample
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_storage_that_is_mounted_read_only(read_only: Sample, jettison: Jettison) -> None:
    root = read_only.tree.root
    before = state(root)
    plan = jettison("gc", root, "-n", "-o", "json").json["plan"]
    assert plan["bytes"] == len(b"garbage")
    told(jettison("gc", root, *COLLECT, check=1), "mounted read-only", str(root))
    assert state(root) == before


# Whose tree it is.


@pytest.fixture
def place(home: Path) -> Iterator[Path]:
    """A folder that another user can get at, which pytest's own is not."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - for all to come in
        yield Path(folder)


@pytest.fixture
def foreigner(place: Path) -> Jettison:
    """The command line as the user who a registry may run as."""
    need("setpriv")
    own = place / "home"
    own.mkdir()
    os.chown(own, FOREIGNER, FOREIGNER)
    modules = [Path(found).parents[1] for found in (jettison_package.__file__, typer.__file__)]
    become = ("setpriv", f"--reuid={FOREIGNER}", f"--regid={FOREIGNER}", "--clear-groups", "env")
    variables = {
        "HOME": own,
        "XDG_STATE_HOME": own / "state",
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    prefix = (*become, *(f"{name}={value}" for name, value in variables.items()))
    # The one that runs the tests may lie in a folder that is closed to others.
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        probe = [*prefix, python, "-c", "import jettison, msgspec, typer"]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(probe, cwd=place, capture_output=True, check=False).returncode == 0:
                return Jettison(place, (*prefix, python, "-m", "jettison"))
    pytest.skip("another user can run no Python that has what is needed")


def give(root: Path) -> None:
    """Make it the foreigner's, with everything in it."""
    for path in [root, *root.rglob("*")]:
        os.chown(path, FOREIGNER, FOREIGNER, follow_symlinks=False)


def test_what_root_makes_in_a_tree_belongs_to_the_registrys_user(
    place: Path, jettison: Jettison
) -> None:
    sample = Sample(Tree(place / "registry"))
    root = sample.tree.root
    give(root)
    jettison("gc", root, *COLLECT)
    assert sample.collected
    assert list((root / "jettison" / "runs").glob("*.json"))
    owners = {str(path.relative_to(root)): path.lstat() for path in [root, *root.rglob("*")]}
    not_theirs = [
        name for name, it in owners.items() if (it.st_uid, it.st_gid) != (FOREIGNER, FOREIGNER)
    ]
    assert not_theirs == []


def test_after_root_the_registrys_user_can_collect(
    place: Path, jettison: Jettison, foreigner: Jettison
) -> None:
    sample = Sample(Tree(place / "registry"))
    root = sample.tree.root
    give(root)
    jettison("gc", root, *COLLECT)
    sample.tree.blob(b"garbage", "unrelated")
    give(root / "docker")
    foreigner("gc", root, *COLLECT)
    assert sample.collected
    assert sample.whole
    assert len(list((root / "jettison" / "runs").glob("*.json"))) == 2


def test_without_permission_nothing_is_removed(place: Path, foreigner: Jettison) -> None:
    sample = Sample(Tree(place / "registry"))
    root = sample.tree.root
    before = state(root)
    foreigner("gc", root, "-n")
    refused = foreigner("gc", root, *COLLECT, check=1)
    told(refused, "Permission denied", str(root), "as the user that the registry runs as")
    assert state(root) == before
    root.chmod(0o700)
    named = place / "config.yml"
    named.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n")
    for closed in (root, named):
        told(foreigner("gc", closed, "-n", check=1), "Permission denied", "the registry runs as")


@pytest.mark.parametrize("hidden", ["repositories/secret", "repositories/secret/_layers", "blobs"])
def test_what_may_not_be_read_hides_nothing_from_view(
    place: Path, foreigner: Jettison, hidden: str
) -> None:
    sample = Sample(Tree(place / "registry"))
    tree = sample.tree
    tree.image("secret", "1", [b"precious"])
    give(tree.root)
    (tree.base / hidden).chmod(0)
    before = state(tree.root / "docker")
    refused = foreigner("gc", tree.root, *COLLECT, check=None)
    told(refused, str(tree.base / hidden), "Permission denied")
    assert refused.code in {1, 3}
    if refused.code == 1:
        assert state(tree.root / "docker") == before
    (tree.base / hidden).chmod(0o755)
    assert sample.whole
    assert Digest.of(b"precious") in _blobs(tree)
    assert tree.layer_path("secret", Digest.of(b"precious")).is_file()


# Symbolic links out of the tree.

GARBAGE = Digest.of(b"outside")
Place = Callable[[Tree], Path]
LINKED: dict[str, Place] = {
    "a repository": lambda tree: tree.repository("far"),
    "a nested repository": lambda tree: tree.repository("team"),
    "revisions": lambda tree: tree.repository("far") / "_manifests" / "revisions" / "sha256",
    "a revision": lambda tree: _only(tree.repository("far") / "_manifests/revisions/sha256"),
    "manifests": lambda tree: tree.repository("far") / "_manifests",
    "layers": lambda tree: tree.repository("far") / "_layers",
    "a blob": lambda tree: tree.data(GARBAGE).parent,
    "a prefix of blobs": lambda tree: tree.data(GARBAGE).parents[1],
    "a file of data": lambda tree: tree.data(GARBAGE),
    "a tag": lambda tree: tree.tag_path("far", "old").parents[1],
    "a tag's history": lambda tree: tree.tag_path("far", "old").parents[1] / "index" / "sha256",
    "a layer": lambda tree: tree.layer_path("far", GARBAGE).parent,
    "a layer's link": lambda tree: tree.layer_path("far", GARBAGE),
    "uploads": lambda tree: tree.repository("far") / "_uploads",
    "an upload": lambda tree: tree.repository("far") / "_uploads" / "0b3c",
}


def _only(folder: Path) -> Path:
    return min(folder.iterdir())


@pytest.mark.parametrize("what", LINKED)
def test_nothing_is_removed_behind_a_symbolic_link(
    sample: Sample, jettison: Jettison, tmp_path: Path, what: str
) -> None:
    tree = sample.tree
    month_ago = NOW - 30 * 86400
    tree.image("far", None, [b"untagged"])
    tree.image("far", "old", [b"before"])
    tree.image("far", "old", [b"after"])
    tree.image("team/far", None, [b"untagged"])
    tree.blob(b"outside", "far")
    upload = tree.repository("far") / "_uploads" / "0b3c"
    tree.write(upload / "data", b"half", month_ago)
    tree.write(upload / "startedat", b"2026-01-01T00:00:00Z", month_ago)
    for folder, _, _ in os.walk(tree.root, topdown=False):
        os.utime(folder, (month_ago, month_ago))

    path = LINKED[what](tree)
    outside = tmp_path / "outside"
    outside.mkdir()
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)
    before = state(outside)
    done = jettison("gc", tree.root, *COLLECT, check=None)
    assert done.code in {0, 3}, done.stderr
    assert "Traceback" not in done.stderr
    if done.code == 3:
        told(done, path.name)
    assert state(outside) == before
    assert sample.whole
    # What is behind a whole repository may need anything; the rest is collected.
    assert sample.collected or done.code == 3


def test_a_folder_of_ours_that_leads_away_is_refused(
    sample: Sample, jettison: Jettison, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (sample.tree.root / "jettison").symlink_to(outside)
    told(jettison("gc", sample.tree.root, *COLLECT, check=1), "symbolic link", "jettison")
    assert not sample.collected
    assert list(outside.iterdir()) == []


# Documents in a tree whose owner is hostile.

RUN = "20260101-000000-aaaaa"


def keep_documents(root: Path, steps: list[dict[str, object]], **more: object) -> None:
    """Write the journal entry of a repair that never was, and its plan."""
    folder = f"jettison/fsck/{RUN}"
    (root / folder).mkdir(parents=True)
    (root / "jettison" / "runs").mkdir()
    run: dict[str, object] = {"id": RUN, "kind": "fsck", "state": "done"}
    run |= {"started": "2026-01-01T00:00:00Z"}
    run |= {"registry": "", "request": [], "details": {"folder": folder}, "schema_version": 1}
    (root / "jettison" / "runs" / f"{RUN}.json").write_text(json.dumps(run | more))
    plan = {"id": RUN, "root": "/", "folder": folder, "started": 0.0, "steps": steps}
    (root / folder / "manifest.json").write_text(json.dumps(plan | {"schema_version": 1}))


def moved(path: str, to: str) -> dict[str, object]:
    step: dict[str, object] = {"type": "move", "action": "move link aside", "path": path}
    return step | {"to": to, "reason": "", "seen": []}


def written(path: str, victim: Path) -> dict[str, object]:
    """A link that the repair "wrote": an undo would write the old one again."""
    found = victim.stat()
    step: dict[str, object] = {"type": "write", "action": "link layer", "path": path}
    step |= {"content": victim.read_text(), "old": "ZXZpbA==", "old_mtime_ns": 0, "reason": ""}
    return step | {"mtime_ns": found.st_mtime_ns, "folders": [], "needs": [], "seen": []}


@pytest.mark.parametrize(
    ("what", "out"),
    [
        ("written", "../victim"),
        ("moved out", "../victim"),
        ("moved out", "{victim}"),
        ("moved out", "docker/link"),
        ("moved in", "a/../../victim"),
        ("moved in", "docker/link"),
    ],
)
def test_a_repairs_plan_leads_nowhere_outside(
    sample: Sample, jettison: Jettison, tmp_path: Path, what: str, out: str
) -> None:
    root = sample.tree.root
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("root's")
    (root / "docker" / "link").symlink_to(victim)
    (root / "evil").write_text("evil")
    path = f"{out.format(victim=victim)}/file"
    step = {
        "written": lambda: written(path, victim / "file"),
        "moved out": lambda: moved(path.replace("/file", "/new"), "evil"),
        "moved in": lambda: moved("stolen", path),
    }[what]()
    keep_documents(root, [step])
    before = state(victim)
    for command in (("undo", RUN, "-n"), ("undo", RUN)):
        done = jettison(*command, "--storage", root, check=None)
        assert "Traceback" not in done.stderr
        assert done.code or command[-1] == "-n" or out == "docker/link"
        assert state(victim) == before
        assert not (root / "stolen").exists()
    if out != "docker/link":
        told(done, "leads out of the tree")
    assert jettison("gc", root, *COLLECT, check=None).code in {0, 1}
    assert state(victim) == before


@pytest.mark.parametrize("what", ["the id of another", "a path", "a link", "another storage"])
def test_a_journal_entry_is_what_its_file_is_named_after(
    sample: Sample, jettison: Jettison, tmp_path: Path, what: str
) -> None:
    root = sample.tree.root
    other = Tree(tmp_path / "other")
    (tmp_path / "victim.json").write_text("root's")
    more: dict[str, object] = {"storage": str(other.root)}
    if what == "the id of another":
        more["id"] = "20260101-000000-bbbbb"
    elif what == "a path":
        more["id"] = "../../../victim"
    keep_documents(root, [moved("docker/back", "evil")], **more)
    (root / "evil").write_text("evil")
    entry = root / "jettison" / "runs" / f"{RUN}.json"
    if what == "a link":
        entry.rename(tmp_path / "entry.json")
        entry.symlink_to(tmp_path / "entry.json")
    before = state(other.root)
    done = jettison("undo", RUN, "--storage", root, check=None)
    assert "Traceback" not in done.stderr
    assert (done.code == 0) == (what == "another storage"), done.stderr
    assert (root / "docker" / "back").exists() == (what == "another storage")
    assert state(other.root) == before
    assert (tmp_path / "victim.json").read_text() == "root's"


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, "a link") for name in ("runs", "drafts", "aside", "leaving", "lock")),
        ("links-aside", "a link"),
        ("lock", "a link to nothing"),
        ("lock", "a hard link"),
        ("links-aside", "a hard link"),
    ],
)
def test_nothing_is_written_through_what_lies_where_ours_belongs(
    sample: Sample, jettison: Jettison, tmp_path: Path, name: str, how: str
) -> None:
    root = sample.tree.root
    sample.tree.image("app", None, [b"untagged"])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("root's")
    (root / "jettison").mkdir()
    place = root / "jettison" / name
    is_file = name in {"lock", "links-aside"}
    if how == "a hard link":
        place.hardlink_to(outside / "file")
    elif how == "a link":
        place.symlink_to(outside / "file" if is_file else outside)
    else:
        place.symlink_to(outside / "new")
    before = state(outside)
    done = jettison("gc", root, *COLLECT, check=None)
    assert "Traceback" not in done.stderr
    assert done.code in {0, 1, 3}, done.stderr
    assert state(outside) == before
    assert sample.whole


# Names that are none.

ODD = {
    "upper case": "UPPER",
    "space": "with space",
    "no text": os.fsdecode(b"\xff\xfe"),
    "dots": "..foo",
    "two lines": "two\nerror: lines",
    "a colour": "\x1b[31mred",
    "a dash": "-rf",
}


def clean(result: Result) -> None:
    """No name has made its way to the terminal as it is."""
    for text in (result.stdout, result.stderr):
        assert "Traceback" not in text
        assert "\x1b" not in text
        assert not any(line.startswith("error: lines") for line in text.splitlines())


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_folder_with_no_repositorys_name_is_told_and_kept(
    sample: Sample, jettison: Jettison, name: str
) -> None:
    tree = sample.tree
    tree.image(f"team/{name}", None, [b"perhaps wanted"])
    loose = tree.blob(b"perhaps wanted too", f"team/{name}")
    before = state(tree.repository("team"))
    planned = jettison("gc", tree.root, "-n", "-o", "json", check=None)
    clean(planned)
    assert planned.code == 3
    assert planned.json["plan"]["problems"]
    done = jettison("gc", tree.root, *COLLECT, check=None)
    clean(done)
    assert done.code == 3
    told(done)
    assert state(tree.repository("team")) == before
    assert {loose, Digest.of(b"perhaps wanted")} <= _blobs(tree)
    assert sample.whole
    assert sample.collected


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_folder_with_no_tags_name_is_told_and_what_it_may_point_to_kept(
    sample: Sample, jettison: Jettison, name: str
) -> None:
    tree = sample.tree
    pointed = tree.image("far", name, [b"perhaps wanted"])
    loose = tree.blob(b"perhaps wanted too", "far")
    done = jettison("gc", tree.root, *COLLECT, check=None)
    clean(done)
    assert {pointed, Digest.of(b"perhaps wanted")} <= _blobs(tree)
    assert tree.tag_path("far", name).is_file()
    assert sample.whole
    assert sample.collected
    if name == "UPPER":  # a tag like any other
        assert done.code == 0
    else:
        assert done.code == 3
        told(done)
        assert loose in _blobs(tree)


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_folder_with_no_blobs_name_is_left_alone(
    sample: Sample, jettison: Jettison, name: str
) -> None:
    blobs = sample.tree.base / "blobs"
    odd = [
        blobs / name / "ab" / HEX / "data",
        blobs / "sha256" / name / HEX / "data",
        blobs / "sha256" / "ab" / name / "data",
        # Where no registry would look for it.
        blobs / "sha256" / "cd" / HEX / "data",
    ]
    for path in odd:
        sample.tree.write(path, b"who knows")
    done = jettison("gc", sample.tree.root, *COLLECT, check=None)
    assert done.code in {0, 3}, done.stderr
    clean(done)
    assert [path for path in odd if not path.is_file()] == []
    assert sample.whole
    assert sample.collected


# Very many folders, of which none holds anything.


def empty_folders(tree: Tree, number: int) -> None:
    """What deletions by digest and collections by others leave, where they leave it."""
    places = [
        tree.repository("app") / "_layers" / "sha256",
        tree.repository("app") / "_manifests" / "revisions" / "sha256",
        tree.repository("left/alone") / "_manifests" / "revisions" / "sha256",
        tree.base / "blobs" / "sha256",
        tree.base / "repositories" / "nothing",
    ]
    for count in range(number // len(places)):
        digest = Digest.of(b"%d" % count).hex
        for place in places:
            parts = [digest[:2], digest] if place.parent.name == "blobs" else [digest]
            folder = place.joinpath(*parts)
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder where making and removing very many is quick, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
    usable = memory.is_dir() and os.access(memory, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(100_000, 120), pytest.param(1_000_000, 900, marks=pytest.mark.soak)],
)
def test_very_many_empty_folders(
    in_memory: Path, jettison: Jettison, number: int, seconds: float
) -> None:
    sample = Sample(Tree(in_memory / "registry"))
    empty_folders(sample.tree, number)
    jettison("gc", sample.tree.root, *COLLECT, timeout=seconds)
    assert sample.whole
    assert sample.collected


def test_very_many_broken_tags(sample: Sample, jettison: Jettison) -> None:
    """One is read again in case somebody is just writing it; not each of a thousand in turn."""
    tags = sample.tree.repository("far") / "_manifests" / "tags"
    for number in range(1000):
        (tags / str(number) / "current").mkdir(parents=True)
    done = jettison("gc", sample.tree.root, *COLLECT, check=3, timeout=60)
    told(done, "far")
    assert sample.whole
    assert sample.collected


# Manifests that nobody can read.

UNREADABLE = {
    "deep lists": b"[" * 900 + b"]" * 900,
    "deeper than any stack": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 950 + b"1" + b"}" * 950,
    "never closed": b"[" * 200_000,
    "no UTF-8": b'"\xff"',
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_manifest_stops_nothing_but_its_own_repository(
    sample: Sample, jettison: Jettison, what: str
) -> None:
    tree = sample.tree
    document = b'{"schemaVersion":2,"mediaType":"%s","manifests":[],"annotations":%s}'
    raw = document % (b"application/vnd.oci.image.index.v1+json", UNREADABLE[what])
    deep = tree.put_raw("far", raw, "1")
    loose = tree.blob(b"perhaps wanted", "far")
    done = jettison("gc", tree.root, *COLLECT, check=3)
    told(done, str(deep))
    assert loose in _blobs(tree)
    assert sample.whole
    assert sample.collected
    checked = jettison("fsck", tree.root, check=5)
    told(checked)
    assert str(deep) in checked.stdout
    config = tree.root / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tree.root}}}}}\n")
    collected = jettison("garbage-collect", config, check=None)
    assert "Traceback" not in collected.stderr
    assert loose in _blobs(tree)


# A file where a folder should be.

IN_THE_WAY: dict[str, Place] = {
    "a prefix of blobs": lambda tree: tree.base / "blobs" / "sha256" / "ab",
    "a blob": lambda tree: tree.base / "blobs" / "sha256" / "ab" / HEX,
    "an algorithm": lambda tree: tree.base / "blobs" / "sha512",
    "manifests": lambda tree: tree.repository("far") / "_manifests",
    "revisions": lambda tree: tree.repository("far") / "_manifests" / "revisions",
    "tags": lambda tree: tree.repository("far") / "_manifests" / "tags",
    "a tag": lambda tree: tree.repository("far") / "_manifests" / "tags" / "1",
    "a revision": lambda tree: tree.repository("far") / "_manifests/revisions/sha256" / HEX,
    "layers": lambda tree: tree.repository("far") / "_layers",
    "a layer": lambda tree: tree.repository("far") / "_layers" / "sha256" / HEX,
    "uploads": lambda tree: tree.repository("far") / "_uploads",
    "a repository": lambda tree: tree.repository("x"),
}
HIDES_WHAT_IS_NEEDED = {"manifests", "revisions", "tags", "a tag", "layers"}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_a_file_where_a_folder_should_be(sample: Sample, jettison: Jettison, what: str) -> None:
    tree = sample.tree
    loose = set()
    if what != "layers":
        loose = {tree.blob(b"perhaps wanted", "far")}
    path = IN_THE_WAY[what](tree)
    if path.is_dir():
        shutil.rmtree(path)  # garbage whose digest begins with the same two letters
    tree.write(path, b"who put this here?")
    done = jettison("gc", tree.root, *COLLECT, check=None)
    assert done.code in {0, 3}, done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == b"who put this here?"
    assert sample.whole
    assert sample.collected
    if what in HIDES_WHAT_IS_NEEDED:
        assert done.code == 3
        assert loose <= _blobs(tree)
        told(done, str(path.relative_to(tree.root)))


# Clocks.


def test_a_file_from_the_future_is_young(sample: Sample, jettison: Jettison) -> None:
    tree = sample.tree
    tomorrow = NOW + 86400
    blob = tree.blob(b"written tomorrow", when=tomorrow)
    linked = tree.blob(b"linked tomorrow")
    tree.write(tree.layer_path("app", linked), linked.encode(), tomorrow)
    untagged = tree.image("app", None, [b"pushed tomorrow"], when=tomorrow)
    plan = jettison("gc", tree.root, "--untagged", "0s", "-n", "-o", "json").json["plan"]
    assert plan["young"]["count"] == 2
    jettison("gc", tree.root, *COLLECT)
    assert {blob, linked, untagged, Digest.of(b"pushed tomorrow")} <= _blobs(tree)
    assert tree.layer_path("app", linked).is_file()
    assert sample.whole
    assert sample.collected


def test_a_whole_tree_from_the_future_is_left_alone(sample: Sample, jettison: Jettison) -> None:
    """It was written while the clock was wrong, or it is wrong now."""
    tree = sample.tree
    tree.image("app", None, [b"untagged"])
    for file in tree.base.rglob("*"):
        os.utime(file, (NOW + 365 * 86400, NOW + 365 * 86400))
    before = state(tree.base)
    done = jettison("gc", tree.root, *COLLECT)
    assert "younger than the grace period" in done.stdout
    assert state(tree.base) == before
    assert OLD < NOW


# Deleted yesterday, collected today, missed tomorrow.


def test_what_was_removed_yesterday_survives_todays_collection(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    base = layer({"base": random_bytes(1, 5000)})
    stays = image([base, layer({"app": random_bytes(2, 3000)})])
    goes = image([base, layer({"app": random_bytes(3, 3000)})])
    registry.push("app", "1", stays)
    registry.push("app", "2", goes)
    registry.age(2 * 86400)
    own = goes.manifest.size + goes.config.size + goes.layers[1].size
    everything = registry.blob_files()

    remove = ("rm", f"{registry.host}/app:2", "--yes", "--storage", registry.config)
    jettison(*remove)
    assert registry.tags("app") == ["1"]
    held = jettison("gc", registry.config, "-n", "-o", "json").json["plan"]["held"]
    assert [one["bytes"] for one in held] == [own]
    ends = datetime.fromisoformat(held[0]["until"]).timestamp()
    assert ends > time.time() + 3600
    done = jettison("gc", registry.config, "--yes")
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ends))
    assert f"held until {until}" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if "held until" in line]
    assert f"{own:,}" in line
    assert registry.blob_files() == everything

    jettison("undo", "last")
    assert registry.tags("app") == ["1", "2"]
    for tag, made in (("1", stays), ("2", goes)):
        pulled = registry.pull_skopeo("app", tag)
        assert pulled.manifest == made.manifest.raw
        assert pulled.blobs.keys() == {blob.digest for blob in made.blobs()}

    registry.age(2 * 86400)
    jettison(*remove)
    jettison("gc", registry.config, "--now", "--yes", check=12)
    assert registry.blob_files() == everything
    registry.age(2 * 86400)  # our own server touches what it is asked about
    jettison("gc", registry.config, "--now", "--assume-quiescent", "--yes")
    gone = everything.keys() - registry.blob_files().keys()
    assert gone == {goes.digest, goes.config.digest, goes.layers[1].digest}
    assert registry.pull_skopeo("app", "1").manifest == stays.manifest.raw
