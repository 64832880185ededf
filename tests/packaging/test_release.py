"""What `make dist` leaves in its folder, and what it says, where it does not come to its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from release import __main__ as program
from release.programs import ReleaseError
from release.python import build_sdist
from release.tree import ROOT, copy_source


def start(folder: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "release", *arguments, "--folder", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "packaging"), "PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which something was made before."""
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "older.deb").write_text("whole")
    return tmp_path / "dist"


def unchanged(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["older.deb"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_the_folder_as_it_was(folder: Path, number: signal.Signals) -> None:
    started = start(folder, "wheels")
    until = time.monotonic() + 60
    while not list(folder.glob(".unfinished-*/*")) and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(number)
    said = started.communicate(timeout=60)[1].splitlines()
    assert said[-2:] == ["release: stopped", f"release: nothing in {folder} has changed"]
    assert started.returncode == 128 + number
    assert unchanged(folder)


def test_failing_it_leaves_the_folder_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_source: object, draft: Path, *_: object) -> Iterator[Path]:
        path = draft / "new.deb"
        path.write_text("new")
        yield path
        raise ReleaseError("the disk is full")

    monkeypatch.setattr(program, "make", make)
    with pytest.raises(ReleaseError):
        program.release(folder, {"deb"}, ["amd64"], "")
    assert unchanged(folder)


def test_what_is_made_stands_in_the_list_beside_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(_source: object, draft: Path, *_: object) -> Iterator[Path]:
        (draft / "new.deb").write_text("new")
        yield draft / "new.deb"

    monkeypatch.setattr(program, "make", make)
    for _ in range(2):
        assert program.release(folder, {"deb"}, ["amd64"], "") == [folder / "new.deb"]
    command = ["sha256sum", "--check", program.SUMS]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout == "new.deb: OK\nolder.deb: OK\n"
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("kind", "lacking"), [("deb", "dpkg-deb"), ("image", "apt-get, buildah, dpkg-deb")]
)
def test_what_a_kind_lacks_is_told_in_one_line(folder: Path, kind: str, lacking: str) -> None:
    started = start(folder, kind, path="/nonexistent")
    assert started.communicate(timeout=60)[1] == (
        f"release: no {kind}: it needs what is not here: {lacking}\n"
    )
    assert started.returncode == 1
    assert unchanged(folder)


def test_a_program_that_all_need_is_named(folder: Path) -> None:
    started = start(folder, "wheels", path="/nonexistent")
    said = started.communicate(timeout=60)[1].splitlines()
    assert said == [
        "release: git is not here, and it is needed",
        f"release: nothing in {folder} has changed",
    ]
    assert started.returncode == 1
    assert unchanged(folder)


def test_it_is_made_again_over_what_was_made(tmp_path: Path) -> None:
    source = copy_source(tmp_path / "source")
    first = build_sdist(source, tmp_path)
    content = first.read_bytes()
    assert build_sdist(source, tmp_path) == first
    assert first.read_bytes() == content
