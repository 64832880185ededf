"""Output: a stream that is slow, stuck, broken or non-blocking, and never anybody's problem."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator

import pytest

from jettison.server.observing.output import PIPE_BYTES, Output, _pieces


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        os.close(end)


def notice(count: int) -> str:
    return f"lost {count}\n"


def put(output: Output, *lines: str) -> None:
    output.put(list(lines), sum(map(len, lines)))


def read_all(fd: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += os.read(fd, size - len(found))
    return found


def read_until(fd: int, end: bytes) -> list[bytes]:
    found = b""
    while not found.endswith(end):
        found += os.read(fd, 65536)
    return found.splitlines(keepends=True)


def test_lines_come_out_in_order(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], notice)
    put(output, "one\n", "two\n")
    put(output, "three\n")
    assert output.drain(5)
    assert os.read(pipe[0], 100) == b"one\ntwo\nthree\n"
    assert output.dropped == 0


def test_a_stuck_pipe_holds_up_nobody_and_loses_what_it_must(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], notice, most_waiting=200_000)
    began = time.monotonic()
    for number in range(100):
        put(output, *[f"{number:0999}\n"] * 10)
    assert time.monotonic() - began < 1
    assert not output.drain(0.05)
    # The pipe holds some of it, too.
    assert 700 < output.dropped <= 800
    # The reader comes back: the rest is there, and where lines are missing it says how many.
    dropped = output.dropped
    reader = threading.Thread(target=lambda: found.extend(read_until(pipe[0], b"again\n")))
    found: list[bytes] = []
    reader.start()
    assert output.drain(5)
    put(output, "again\n")
    reader.join(5)
    told = [line for line in found if line.startswith(b"lost ")]
    assert sum(int(line.split()[1]) for line in told) == dropped
    assert found[-2:] == [told[-1], b"again\n"]
    assert len(found) == 1000 - dropped + len(told) + 1


def test_a_broken_pipe_is_counted_and_tried_again() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(writing, notice)
    put(output, "one\n", "two\n")
    assert output.drain(5)
    assert output.dropped == 2
    put(output, "three\n")
    assert output.drain(5)
    assert output.dropped == 4  # the line about those that were lost is lost, too
    os.close(writing)


def test_a_closed_stream_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    output = Output(writing, notice)
    put(output, "one\n")
    assert output.drain(5)
    assert output.dropped == 1


def test_a_full_disk_is_no_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    output = Output(full, notice)
    put(output, "one\n")
    assert output.drain(5)
    assert output.dropped == 1
    os.close(full)


def test_a_stream_that_somebody_made_non_blocking(pipe: tuple[int, int]) -> None:
    flags = fcntl.fcntl(pipe[1], fcntl.F_GETFL)
    fcntl.fcntl(pipe[1], fcntl.F_SETFL, flags | os.O_NONBLOCK)
    output = Output(pipe[1], notice)
    lines = [f"{number:0999}\n" for number in range(300)]
    put(output, *lines)
    time.sleep(0.05)
    assert read_all(pipe[0], 300_000) == "".join(lines).encode()
    assert output.drain(5)
    assert output.dropped == 0


def test_what_is_not_ascii_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], notice)
    put(output, "é\udc80\n")
    assert output.drain(5)
    assert os.read(pipe[0], 100) == b"\\xe9\\udc80\n"


def test_its_thread_does_not_keep_the_program_alive(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1], notice)
    put(output, "one\n")
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "access-log")


def test_pieces_are_whole_lines() -> None:
    lines = ["a" * 2000 + "\n", "b" * 2000 + "\n", "c" * 2000 + "\n", "d" * 9000 + "\n", "e\n"]
    pieces = _pieces(lines, PIPE_BYTES)
    assert [count for count, _ in pieces] == [2, 1, 1, 1]
    assert "".join(text for _, text in pieces) == "".join(lines)
    assert all(text.endswith("\n") for _, text in pieces)
