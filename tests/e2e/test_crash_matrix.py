"""A collection killed, or met by an error, at each of its system calls that change the disk.

Whatever happened: what was to stay is whole, and the next collection finishes the job. Counted on a
run that nothing disturbs; `make test` takes some of the points, `make soak` each of them.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.trees import NOW, OLD, Tree

FAMILIES = {
    "unlink": ("unlink", "unlinkat"),
    "rmdir": ("rmdir",),
    "rename": ("rename", "renameat", "renameat2"),
    "write": ("write", "pwrite64", "writev"),
    "fsync": ("fsync", "fdatasync"),
}
CALLS = ",".join(call for calls in FAMILIES.values() for call in calls)
MOST = {"unlink": 3, "rename": 3}
"""So many points of a family, else 2, are enough for `make test`."""
ERRORS = ("EIO", "EACCES", "ENOSPC", "EROFS")
COLLECT = ("--untagged", "0s", "--yes")
DAY = 24 * 3600.0
ENV = {"PYTHONDONTWRITEBYTECODE": "1"}


# The tree.


@dataclass(frozen=True)
class Kept:
    """What no collection may touch: tags by repository and name, and manifests without one."""

    tags: dict[tuple[str, str], str]
    untagged: tuple[tuple[str, str], ...]


def build(root: Path) -> Kept:
    """Two repositories, a week old, with all kinds of garbage between what is kept."""
    tree = Tree(root)
    tags: dict[tuple[str, str], str] = {}
    tree.image("app", "1", [b"base", b"before it was moved"])
    tags["app", "1"] = tree.image("app", "1", [b"base", b"one"])
    children = [tree.image("app", None, [b"base", name]) for name in (b"amd", b"arm")]
    tags["app", "multi"] = tree.index("app", "multi", children)
    subject = tree.image("team/web", "2", [b"base", b"two"])
    tags["team/web", "2"] = subject
    referrer = tree.image("team/web", None, [b"signature"], subject=subject)
    tree.image("team/web", None, [b"base", b"untagged"])
    deleted = tree.image("app", None, [b"base", b"deleted"])
    tree.revision_path("app", deleted).unlink()
    tree.blob(b"one", "team/web")
    tree.blob(b"linked nowhere")
    upload = tree.repository("app") / "_uploads" / "0b3c7e52-7b1c-4a5e-8f0a-2f6d1f0c9d11"
    month_ago = NOW - 30 * DAY
    tree.write(upload / "data", b"half a layer", month_ago)
    tree.write(upload / "startedat", b"2026-01-01T00:00:00Z", month_ago)
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, (OLD, OLD))
    os.utime(upload, (month_ago, month_ago))
    return Kept(tags, (("team/web", referrer),))


def copied(source: Path, target: Path) -> Path:
    """Copy a tree with the times of its files and folders."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    return target


def age(root: Path, seconds: float) -> None:
    """Let time pass."""
    for folder, _, files in os.walk(root, topdown=False):
        for path in [*(os.path.join(folder, name) for name in files), folder]:  # noqa: PTH118 - os.walk's own
            status = os.lstat(path)
            times = (status.st_atime - seconds, status.st_mtime - seconds)
            os.utime(path, times, follow_symlinks=False)


# Looking, by hand: nothing here knows Jettison's own reader.


def broken(root: Path, kept: Kept) -> list[str]:
    """Return what a client that pulls everything which is kept would miss."""
    found: list[str] = []
    base = root / "docker" / "registry" / "v2"
    for (name, tag), digest in kept.tags.items():
        link = base / "repositories" / name / "_manifests" / "tags" / tag / "current" / "link"
        if _read(link) != digest.encode():
            found.append(f"{name}:{tag} does not point to {digest}")
        found += _broken_manifest(base, name, digest)
    for name, digest in kept.untagged:
        found += _broken_manifest(base, name, digest)
    return found


def _broken_manifest(base: Path, name: str, digest: str) -> Iterator[str]:
    revisions = base / "repositories" / name / "_manifests" / "revisions"
    if _read(revisions.joinpath(*digest.split(":"), "link")) != digest.encode():
        yield f"{name}@{digest} has no link"
    raw = _blob(base, digest)
    if raw is None:
        yield f"{name}@{digest} has no data"
        return
    manifest = json.loads(raw)
    for child in manifest.get("manifests", ()):
        yield from _broken_manifest(base, name, child["digest"])
    blobs = [*manifest.get("layers", ()), *filter(None, [manifest.get("config")])]
    for wanted in (blob["digest"] for blob in blobs):
        link = (base / "repositories" / name / "_layers").joinpath(*wanted.split(":"), "link")
        if _read(link) != wanted.encode():
            yield f"{name}: {wanted} of {digest} has no link"
        if _blob(base, wanted) is None:
            yield f"{name}: {wanted} of {digest} has no data"


def _blob(base: Path, digest: str) -> bytes | None:
    algorithm, encoded = digest.split(":")
    raw = _read(base / "blobs" / algorithm / encoded[:2] / encoded / "data")
    return raw if raw is not None and hashlib.sha256(raw).hexdigest() == encoded else None


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def contents(root: Path) -> dict[str, bytes | None]:
    """Return every file and every folder, but for the journal and the lock."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        # Of our own, folders that are empty again may stay.
        ours = name.startswith("jettison/") and path.is_dir()
        if not ours and not re.fullmatch(r"jettison(/lock|/runs/[^/]+\.json)?", name):
            found[name] = _read(path)
    return found


# Running.


@dataclass(frozen=True)
class Point:
    """The `number`-th use of a system call by a process; an error to make of it, or a kill."""

    call: str
    number: int
    what: str = "SIGKILL"

    @property
    def inject(self) -> str:
        kind = "signal" if self.what == "SIGKILL" else "error"
        return f"inject={self.call}:{kind}={self.what}:when={self.number}"


@dataclass(frozen=True)
class Matrix:
    """A tree to collect, what comes of it when nothing happens, and the calls on the way."""

    jettison: Jettison
    base: Path
    kept: Kept
    calls: dict[tuple[str, int], str]
    """Each with its line of the trace."""
    collected: dict[str, bytes | None]
    """Right after an undisturbed collection."""
    finished: dict[str, bytes | None]
    """After another one, two days later."""

    def points(self, family: str) -> list[tuple[str, int]]:
        return [point for point in self.calls if point[0] in FAMILIES[family]]

    def trace(self, root: Path, *options: str) -> tuple[subprocess.Popen[str], str, str]:
        """Collect below strace; return the process, what it says on stderr, and the trace."""
        log = self.base / "strace.log"
        # On one processor there are no workers, who only read, and all calls come in one order.
        one = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
        strace = (*one, "strace", "-f", "-q", "-y", "-o", str(log), *options)
        process = self.jettison.start("gc", root, *COLLECT, prefix=strace, env=ENV)
        _, messages = process.communicate(timeout=120)
        return process, messages, log.read_text(encoding="utf-8", errors="replace")

    def failures(self, point: Point) -> Iterator[str]:
        """Disturb a collection at a point; yield what is wrong after it, and after the next."""
        root = copied(self.base / "tree", self.base / "disturbed")
        killed = point.what == "SIGKILL"
        # The quicker way to trace makes errors, but sends no signals.
        quick = [] if killed else ["--seccomp-bpf"]
        options = ("-e", f"trace={point.call}", "-e", point.inject)
        process, messages, log = self.trace(root, *quick, *options)
        if ("killed by SIGKILL" if killed else "(INJECTED)") not in log:
            yield "never happened"
        if killed:
            # A worker that dies may be one that can be done without.
            if process.returncode not in {-signal.SIGKILL, 137, 0, 1, 3}:
                yield f"exit {process.returncode}"
        else:
            yield from self._reported(process.returncode, messages, root)
        yield from (f"lost: {line}" for line in broken(root, self.kept))

        age(root, 2 * DAY)
        after = self.jettison("gc", root, *COLLECT, check=None, env=ENV)
        if after.code != 0 or "Traceback" in after.stderr:
            yield f"the next collection: exit {after.code}, {after.stderr}"
        yield from (f"lost by the next collection: {line}" for line in broken(root, self.kept))
        yield from (f"next, {line}" for line in differences(contents(root), self.finished))

    def _reported(self, code: int, messages: str, root: Path) -> Iterator[str]:
        """An error is told, unless it did not matter: then all was done nevertheless."""
        if "Traceback" in messages:
            yield f"a traceback: {messages}"
        if code == 0:
            missing = differences(contents(root), self.collected)
            yield from (f"exit 0, yet {line}" for line in missing)
        elif code not in {1, 3}:
            yield f"exit {code}: {messages}"
        elif "error: " not in messages:
            yield f"exit {code} without a word: {messages}"


def differences(found: dict[str, bytes | None], wanted: dict[str, bytes | None]) -> Iterator[str]:
    for path in sorted(found.keys() - wanted.keys()):
        yield f"left over: {path}"
    for path in sorted(wanted.keys() - found.keys()):
        yield f"missing: {path}"
    for path in sorted(wanted.keys() & found.keys()):
        if found[path] != wanted[path]:
            yield f"other content: {path}"


@pytest.fixture
def matrix(tmp_path: Path, jettison: Jettison) -> Matrix:
    need("strace")
    kept = build(tmp_path / "tree")
    assert broken(tmp_path / "tree", kept) == []
    # What the first run ever makes in the user's own folders is not to be counted.
    jettison("gc", copied(tmp_path / "tree", tmp_path / "undisturbed"), *COLLECT, env=ENV)
    draft = Matrix(jettison, tmp_path, kept, {}, {}, {})
    root = copied(tmp_path / "tree", tmp_path / "undisturbed")
    process, messages, log = draft.trace(root, "-e", f"trace={CALLS}")
    assert process.returncode == 0, messages
    assert broken(root, kept) == []
    collected = contents(root)
    assert collected.keys() < contents(tmp_path / "tree").keys()
    age(root, 2 * DAY)
    jettison("gc", root, *COLLECT, env=ENV)
    assert broken(root, kept) == []
    calls = dict(parse(log, tmp_path))
    return Matrix(jettison, tmp_path, kept, calls, collected, contents(root))


def parse(log: str, within: Path) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield each call in a trace that is about a file, with its number in its process."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        started = re.match(r"(\d+) +(\w+)\(", line)
        if started is None:
            continue
        counts[started[1], started[2]] += 1
        if str(within) in line:
            yield (started[2], counts[started[1], started[2]]), line


def some(matrix: Matrix) -> Iterator[tuple[str, int]]:
    """Yield a few points of each family, evenly, the first and the last among them."""
    for family in FAMILIES:
        points, most = matrix.points(family), MOST.get(family, 2)
        steps = {round(at * (len(points) - 1) / (most - 1)) for at in range(most)}
        yield from (points[step] for step in sorted(steps) if points)


def run(matrix: Matrix, points: Iterable[Point]) -> None:
    found = {str(point): failures for point in points if (failures := [*matrix.failures(point)])}
    assert not found, json.dumps(found, indent=1)


def test_the_matrix_covers_every_family(matrix: Matrix) -> None:
    for family in FAMILIES:
        assert matrix.points(family) or family == "rmdir", family
    # Folders may be removed by either of two calls.
    removals = [*matrix.points("unlink"), *matrix.points("rmdir")]
    assert len(removals) > 15


def test_the_checkers_see_what_is_wrong(matrix: Matrix) -> None:
    root = matrix.base / "tree"
    blobs = sorted((root / "docker/registry/v2/blobs").rglob("data"))
    links = sorted((root / "docker/registry/v2/repositories").rglob("link"))
    needed = 0
    for path in [*blobs, *links]:
        raw = path.read_bytes()
        path.write_bytes(b"damaged")
        needed += bool(broken(root, matrix.kept))
        path.write_bytes(raw)
    assert broken(root, matrix.kept) == []
    # Garbage is the rest.
    assert 20 < needed < len(blobs) + len(links) - 10
    assert list(differences({"a": b"1", "b": None}, {"b": b"2", "c": None})) == [
        "left over: a",
        "missing: c",
        "other content: b",
    ]


def test_killed_at_some_calls(matrix: Matrix) -> None:
    run(matrix, (Point(*at) for at in some(matrix)))


def test_errors_at_some_calls(matrix: Matrix) -> None:
    run(matrix, (Point(*at, ERRORS[number % 4]) for number, at in enumerate(some(matrix))))


@pytest.mark.parametrize("folder", ["_manifests/revisions", "_manifests/tags", "_layers"])
def test_what_a_link_that_could_not_be_removed_leads_to_stays(matrix: Matrix, folder: str) -> None:
    """References go first: else a manifest is linked and missing, and protects all for ever."""
    at = next(at for at, line in matrix.calls.items() if "unlink" in at[0] and folder in line)
    run(matrix, [Point(*at, "EIO")])


_BLOB = re.compile("[0-9a-f]{64}")


@pytest.mark.parametrize("family", ["unlink", "rename"])
def test_what_could_not_be_removed_is_told_with_the_reason(matrix: Matrix, family: str) -> None:
    points = [at for at in matrix.points(family) if _BLOB.search(matrix.calls[at])]
    call, number = points[len(points) // 2]
    root = copied(matrix.base / "tree", matrix.base / "disturbed")
    inject = Point(call, number, "EIO").inject
    process, messages, log = matrix.trace(root, "-e", f"trace={call}", "-e", inject)
    [injected] = [line for line in log.splitlines() if "(INJECTED)" in line]
    assert process.returncode == 3
    assert os.strerror(errno.EIO) in messages
    [digest] = set(_BLOB.findall(injected))
    assert digest in messages
    # The images are fine: to push them again is no advice here.
    assert "Push those images again" not in messages


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_at_every_call(matrix: Matrix, family: str) -> None:
    run(matrix, (Point(*at) for at in matrix.points(family)))


@pytest.mark.soak
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_error_at_every_call(matrix: Matrix, family: str, error: str) -> None:
    run(matrix, (Point(*at, error) for at in matrix.points(family)))
