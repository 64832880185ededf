"""A file that is read again when it changes."""

import os
import time
from pathlib import Path

import pytest

from jettison.server.access import reloaded_file as watched
from jettison.server.access.reloaded_file import Unusable, WatchedFile


class Parser:
    """Refuses what begins with "bad", and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, raw: bytes) -> list[bytes]:
        self.calls += 1
        if raw.startswith(b"bad"):
            raise ValueError("it is bad")
        return raw.split()


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture
def file(tmp_path: Path, parser: Parser) -> WatchedFile[list[bytes]]:
    path = tmp_path / "file"
    path.write_text("a b")
    return WatchedFile(path, parser)


def test_the_same_bytes_are_the_same_object(file: WatchedFile[list[bytes]], parser: Parser) -> None:
    first = file.current()
    assert first == [b"a", b"b"]
    file.path.write_text("a b")
    os.utime(file.path)
    assert file.current() is first
    assert parser.calls == 1


def test_a_settled_file_is_not_read(
    file: WatchedFile[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = file.current()
    monkeypatch.setattr(watched, "SETTLED_SECONDS", -1)
    file.current()
    reads = []
    monkeypatch.setattr(watched, "_nonblocking", lambda *args: reads.append(args))
    assert file.current() is first
    assert reads == []


def test_a_change_right_after_another_is_seen(
    file: WatchedFile[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the file system's clock stands still: the time of a young file proves nothing."""
    monkeypatch.setattr(watched, "_signature", lambda _: (1, 1))
    assert file.current() == [b"a", b"b"]
    file.path.write_text("c d")
    assert file.current() == [b"c", b"d"]
    monkeypatch.setattr(watched, "SETTLED_SECONDS", -1)
    file.current()
    file.path.write_text("e f")
    assert file.current() == [b"c", b"d"]


def test_what_cannot_be_parsed_is_parsed_once_and_logged_once(
    file: WatchedFile[list[bytes]], parser: Parser, caplog: pytest.LogCaptureFixture
) -> None:
    file.current()
    file.path.write_text("bad")
    for _ in range(3):
        with pytest.raises(Unusable, match="file cannot be used: it is bad"):
            file.current()
    assert (parser.calls, len(caplog.records)) == (2, 1)
    file.path.write_text("good")
    assert file.current() == [b"good"]
    file.path.write_text("bad")
    with pytest.raises(Unusable):
        file.current()
    assert len(caplog.records) == 2


def test_a_bad_file_stays_bad_once_it_is_old(
    file: WatchedFile[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "SETTLED_SECONDS", -1)
    file.path.write_text("bad")
    for _ in range(3):
        with pytest.raises(Unusable, match="it is bad"):
            file.current()


def test_a_file_that_comes_back_as_it_was(file: WatchedFile[list[bytes]]) -> None:
    time.sleep(watched.SETTLED_SECONDS)
    assert file.current() == [b"a", b"b"]
    aside = file.path.with_name("aside")
    file.path.rename(aside)
    os.mkfifo(file.path)
    with pytest.raises(Unusable, match="not a regular file"):
        file.current()
    file.path.unlink()
    with pytest.raises(Unusable, match="No such file"):
        file.current()
    aside.rename(file.path)
    assert file.current() == [b"a", b"b"]


def test_a_file_that_is_too_large(
    file: WatchedFile[list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "MAX_BYTES", 3)
    assert file.current() == [b"a", b"b"]
    file.path.write_text("a bc")
    with pytest.raises(Unusable, match="larger than 3 bytes"):
        file.current()
