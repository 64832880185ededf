"""Lists of images in use, from files and from standard input."""

import io
import sys
from pathlib import Path

import pytest

from jettison.cli.in_use import read_held
from jettison.errors import InvalidDocument, Refused, StorageError, UsageError
from jettison.model.names import RepoName, Tag
from jettison.model.retention.decide import NOTHING_HELD


class _Input:
    def __init__(self, raw: bytes, *, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(raw)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_several_lists_hold_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list"
    file.write_text("team/app:1\n")
    monkeypatch.setattr(sys, "stdin", _Input(b"team/tool:1\n"))
    held = read_held([str(file), "-"])
    assert set(held.tags) == {(RepoName("team/app"), Tag("1")), (RepoName("team/tool"), Tag("1"))}
    assert read_held(None) == read_held([]) == NOTHING_HELD


def test_one_list_that_is_empty_refuses_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "list"
    file.write_text("team/app:1\n")
    monkeypatch.setattr(sys, "stdin", _Input(b""))
    with pytest.raises(Refused, match="standard input names no image"):
        read_held([str(file), "-"])
    assert read_held([str(file), "-"], may_be_empty=True).tags


def test_wrong_sources_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b"", terminal=True))
    with pytest.raises(UsageError, match="terminal"):
        read_held(["-"])
    with pytest.raises(UsageError, match="twice"):
        read_held(["-", "-"])
    with pytest.raises(StorageError, match="absent"):
        read_held([str(tmp_path / "absent")])
    file = tmp_path / "list"
    file.write_text("NAME READY\n")
    with pytest.raises(InvalidDocument, match=r"list is not understood\nline 1"):
        read_held([str(file)])
