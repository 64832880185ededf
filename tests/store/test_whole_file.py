"""A file is written as a whole, synced, and never through what somebody put in the way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.store.whole_file import make_folders, open_folder, write_whole, written_whole


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    folder = make_folders(tmp_path / "a" / "b")
    write_whole(folder, "name", b"first")
    write_whole(folder, "name", b"second")
    with pytest.raises(KeyError):
        _fail_half_way(folder, "name")
    os.close(folder)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["name"]
    assert (tmp_path / "a" / "b" / "name").read_bytes() == b"second"
    assert (tmp_path / "a" / "b" / "name").stat().st_mode & 0o077 == 0


def _fail_half_way(folder: int, name: str) -> None:
    with written_whole(folder, name) as file:
        file.write(b"half")
        raise KeyError


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"others'")
    folder = make_folders(tmp_path / "in")
    (tmp_path / "in" / "name").symlink_to(tmp_path / "outside")
    write_whole(folder, "name", b"mine")
    assert (tmp_path / "outside").read_bytes() == b"others'"
    (tmp_path / "in" / "linked").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        open_folder("linked", folder)
    os.close(folder)


def _noted(name: str, call: Callable[..., None], done: list[str]) -> Callable[..., None]:
    def noted(*args: object, **more: object) -> None:
        done.append(name)
        call(*args, **more)

    return noted


def test_it_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("rename", "fsync"):
        monkeypatch.setattr(os, name, _noted(name, getattr(os, name), done))
    folder = open_folder(str(tmp_path))
    write_whole(folder, "name", b"content")
    os.close(folder)
    assert done == ["fsync", "rename", "fsync"]


def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(tmp_path, 12345, 23456)
    folder = make_folders(tmp_path / "a" / "b")
    write_whole(folder, "name", b"content")
    os.close(folder)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "name"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
