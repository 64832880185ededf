"""The process that watches over the others: its children are ended with it, and begun again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, threading, time
from pathlib import Path
from jettison.errors import JettisonError
from jettison.server.workers import watch_over

folder, count, code = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
exec(sys.argv[4])

def work(number, ready):
    ready()
    (folder / f"{number}-{os.getpid()}").touch()
    exec(code)

try:
    watch_over(count, work, lambda: (folder / "ready").touch())
except JettisonError as error:
    print(error.message)
    sys.exit(3)
print("ended")
"""
WAIT = "time.sleep(60)"


class Watching:
    """A process that watches over others, which leave a file with their number and id.

    They run `code`, it itself `first`.
    """

    def __init__(self, folder: Path, count: int, code: str, first: str = "") -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(count), code, first],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self) -> dict[int, int]:
        """Each process that was begun, with its number."""
        names = [path.name.split("-") for path in self.folder.glob("*-*")]
        return {int(process): int(number) for number, process in names}

    def wait_for(self, count: int) -> dict[int, int]:
        end = time.monotonic() + 20
        while len(found := self.workers()) < count:
            assert time.monotonic() < end, found
            time.sleep(0.01)
        return found

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[list[Watching]]:
    found: list[Watching] = []
    yield found
    for one in found:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
        for process in one.workers():
            if is_alive(process):
                os.kill(process, signal.SIGKILL)


def is_alive(process: int) -> bool:
    try:
        state = (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        )
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all(tmp_path: Path, watching: list[Watching], number: int) -> None:
    watching.append(one := Watching(tmp_path, 3, WAIT))
    found = one.wait_for(3)
    assert sorted(found.values()) == [0, 1, 2]
    assert (tmp_path / "ready").exists()
    code, out, err = one.end(number)
    assert (code, out, err) == (0, "ended\n", "")
    assert not [process for process in found if is_alive(process)]


def test_one_that_is_killed_is_begun_again(tmp_path: Path, watching: list[Watching]) -> None:
    watching.append(one := Watching(tmp_path, 2, WAIT))
    first = one.wait_for(2)
    victim = next(process for process, number in first.items() if number == 1)
    os.kill(victim, signal.SIGKILL)
    second = one.wait_for(3)
    assert sorted(second.values()) == [0, 1, 1]
    assert one.end()[0] == 0
    assert not [process for process in second if is_alive(process)]


def test_those_that_end_at_once_are_not_begun_for_ever(
    tmp_path: Path, watching: list[Watching]
) -> None:
    code = "if number: raise ValueError('broken')\ntime.sleep(60)"
    watching.append(one := Watching(tmp_path, 2, code))
    out, err = one.process.communicate(timeout=20)
    assert one.process.returncode == 3
    assert "end as soon as they begin" in out
    assert "ValueError: broken" in err
    found = one.workers()
    assert len(found) == 7
    assert not [process for process in found if is_alive(process)]


def test_a_signal_at_any_moment_of_the_start_ends_all(
    tmp_path: Path, watching: list[Watching]
) -> None:
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        watching.append(one := Watching(folder, 8, WAIT))
        one.wait_for(1 + number % 3)
        assert one.end()[0] in {0, -signal.SIGTERM}
        assert not [process for process in one.workers() if is_alive(process)]


def test_a_signal_that_interrupts_no_call_is_heeded(
    tmp_path: Path, watching: list[Watching]
) -> None:
    """As one does not that comes just before the call; here another thread gets it."""
    told = "lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)"
    watching.append(one := Watching(tmp_path, 2, WAIT, f"threading.Timer(1.0, {told}).start()"))
    out, _ = one.process.communicate(timeout=20)
    assert (one.process.returncode, out) == (0, "ended\n")
    assert not [process for process in one.workers() if is_alive(process)]
