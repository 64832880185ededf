"""How a server comes to its storage: each worker to its own if need be, and none to a bad one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jettison.errors import Refused, StorageError
from jettison.server.workers import call_apart

PROGRAM = """
import os, sys
from pathlib import Path
from jettison.configuration import read_configuration
from jettison.errors import JettisonError, StorageError
from jettison.server.serving import serve
from tests.support.distant import DistantMonitoring, DistantStorage

folder, forks, bad = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3] == "True"

class Bad(DistantMonitoring):
    def check_health(self, *, write):
        raise StorageError("the key is not known", hint="Set another.")

def make(_):
    (folder / f"opened-{os.getpid()}").touch()
    storage = DistantStorage(forks=forks)
    if bad:
        storage.monitoring = Bad
    return storage

configuration = read_configuration(folder / "config.yml", {}, "serving")
try:
    serve(configuration, lambda url: (folder / "ready").touch(), make)
except JettisonError as error:
    print(f"{type(error).__name__}: {error.message} ({error.hint})")
"""
TOP = Path(__file__).parents[2]


@contextmanager
def serving(
    folder: Path, workers: int, *, forks: bool = False, bad: bool = False
) -> Iterator["subprocess.Popen[str]"]:
    config = (
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /nowhere}}\n"
        f"http: {{addr: '127.0.0.1:0'}}\njettison: {{workers: {workers}}}\n"
    )
    (folder / "config.yml").write_text(config, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(forks), str(bad)],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def opened(folder: Path, count: int) -> set[int]:
    """Wait until the server is ready, and so many processes have opened the storage."""
    end = time.monotonic() + 20
    while True:
        found = {int(path.name.partition("-")[2]) for path in folder.glob("opened-*")}
        if (folder / "ready").exists() and len(found) >= count:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.01)


def test_each_worker_opens_a_storage_that_a_fork_cannot_go_on_with(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as process:
        # The one that watches, the one that has looked whether the storage answers, and the two.
        found = opened(tmp_path, 4)
        assert process.pid in found
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(opened(tmp_path, 4)) == 4


@pytest.mark.parametrize(("workers", "forks"), [(1, False), (2, True)])
def test_otherwise_it_is_opened_once(tmp_path: Path, workers: int, forks: bool) -> None:
    with serving(tmp_path, workers, forks=forks) as process:
        assert opened(tmp_path, 1) == {process.pid}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_storage_that_cannot_be_used_ends_the_start_in_one_line(
    tmp_path: Path, workers: int
) -> None:
    with serving(tmp_path, workers, bad=True) as process:
        out, err = process.communicate(timeout=20)
    line = "StorageError: cannot serve distant: the key is not known (Set another.)\n"
    assert (out, err) == (line, "")
    assert not (tmp_path / "ready").exists()


# A call in a process of its own.


def test_what_is_called_apart_leaves_nothing_here(tmp_path: Path) -> None:
    here: list[int] = []
    folder = tmp_path / "apart"
    folder.mkdir()

    def call() -> None:
        here.append(1)
        (folder / str(os.getpid())).touch()

    call_apart(call)
    [found] = folder.iterdir()
    assert int(found.name) != os.getpid()
    assert not here


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (StorageError("no bucket", hint="Make one."), "no bucket", "Make one."),
        (Refused("not allowed"), "not allowed", None),
        (ValueError("broken"), "ValueError: broken", None),
    ],
    ids=["storage", "other", "fault"],
)
def test_what_it_raises_is_raised_here(error: Exception, message: str, hint: str | None) -> None:
    def call() -> None:
        raise error

    with pytest.raises(StorageError) as caught:
        call_apart(call)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_that_it_is_killed_is_an_error() -> None:
    with pytest.raises(StorageError, match="ended with -9"):
        call_apart(lambda: os.kill(os.getpid(), signal.SIGKILL))
