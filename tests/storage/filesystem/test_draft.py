"""A file is written as a whole, synced, and never through what somebody put in the way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.storage.filesystem.draft import Draft, write_file
from jettison.storage.filesystem.folder import Folder


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    with Folder.root(tmp_path) as top, top.make("a", private=True) as folder:
        write_file(folder, "name", b"first", private=True)
        write_file(folder, "name", b"second", private=True)
        with pytest.raises(KeyError):
            _fail_half_way(folder)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["name"]
    assert (tmp_path / "a" / "name").read_bytes() == b"second"
    for path in (tmp_path / "a", tmp_path / "a" / "name"):
        assert path.stat().st_mode & 0o077 == 0


def _fail_half_way(folder: Folder) -> None:
    with Draft(folder) as draft:
        draft.write(b"half")
        raise KeyError


def _noted(name: str, call: Callable[..., None], done: list[str]) -> Callable[..., None]:
    def noted(*args: object, **more: object) -> None:
        done.append(name)
        call(*args, **more)

    return noted


def test_it_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("replace", "fsync"):
        monkeypatch.setattr(os, name, _noted(name, getattr(os, name), done))
    with Folder.root(tmp_path) as folder:
        write_file(folder, "name", b"content")
    assert done == ["fsync", "replace", "fsync"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    with Folder.root(tmp_path) as top, top.make("a") as folder:
        write_file(folder, "name", b"content")
    for path in (tmp_path / "a", tmp_path / "a" / "name"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_group_that_may_write_to_a_folder_may_write_to_what_is_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    with Folder.root(tmp_path) as top, top.make("a", private=True) as folder:
        write_file(folder, "name", b"content", private=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o770
    assert (tmp_path / "a" / "name").stat().st_mode & 0o777 == 0o660
