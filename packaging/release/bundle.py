"""Jettison with its dependencies inside, for hosts without pip: one folder for every Python.

``any/`` holds what every Python from 3.11 on loads, ``cp311/`` and so on what one version does,
and ``launch.py`` starts the program. The versions are those of ``runtime.txt``, each checked by
its hash.
"""

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from release.programs import run
from release.tree import ROOT, Source

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's names of processors, which images use too, and Python's."""

LOCKED: Final = ROOT / "packaging" / "runtime.txt"

_NOT_RUN: Final = ("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.hash", ".lock", "RECORD")
_NAME: Final = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def build_bundle(source: Source, wheel: Path, folder: Path, architecture: str) -> None:
    """Fill a folder with Jettison's wheel and its dependencies for a processor."""
    oldest, *newer = PYTHONS
    blocks = dict(requirements())
    every = folder / "any"
    _install(list(blocks.values()), every, oldest, architecture)
    bound = [name for name in blocks if _bound_to_version(every, name)]
    for name in bound:
        _remove(every, name)
    chosen = [blocks[name] for name in bound]
    for python in (oldest, *newer):
        _install(chosen, folder / f"cp{python.replace('.', '')}", python, architecture)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(every)
    shutil.copyfile(source.folder / "packaging" / "launch.py", folder / "launch.py")
    _tidy(folder)
    shutil.copyfile(LOCKED, folder / "requirements.txt")


def requirements() -> Iterator[tuple[str, str]]:
    """Yield each locked dependency: its name, and its lines with the hashes."""
    for block in re.split(r"\n(?=\S)", LOCKED.read_text("utf-8")):
        found = _NAME.match(block)
        if found:
            yield found[1], block


def _install(blocks: list[str], folder: Path, python: str, architecture: str) -> None:
    wanted = folder.with_suffix(".txt")
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.write_text("\n".join(blocks), "utf-8")
    command = [
        *(str(ROOT / ".venv/bin/uv"), "pip", "install", "--quiet", "--no-deps"),
        *("--require-hashes", "--only-binary", ":all:", "--link-mode", "copy"),
        *("--python", str(ROOT / ".venv/bin/python"), "--python-version", python),
        *("--python-platform", f"{PLATFORMS[architecture]}-manylinux_2_28"),
        *("--target", str(folder), "-r", str(wanted)),
    ]
    run(command)  # with the user's own settings of certificates and index
    wanted.unlink()


def _bound_to_version(folder: Path, name: str) -> bool:
    """Whether what is installed under a name works with one version of Python only."""
    for about in _about(folder, name):  # none, if it is for another platform
        text = (about / "WHEEL").read_text("utf-8")
        tags = re.findall(r"^Tag: \w+-(\w+)-\S+$", text, re.MULTILINE)
        return not set(tags) <= {"none", "abi3"}
    return False


def _about(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"{name.replace('-', '[-_.]')}-*.dist-info"))


def _remove(folder: Path, name: str) -> None:
    (about,) = _about(folder, name)
    files = [line.rsplit(",", 2)[0] for line in (about / "RECORD").read_text("utf-8").splitlines()]
    for file in files:
        target = folder / file
        target.unlink(missing_ok=True)
        while (
            target.parent != folder and target.parent.is_dir() and not any(target.parent.iterdir())
        ):
            target = target.parent
            target.rmdir()


def _tidy(folder: Path) -> None:
    """Remove what no program reads, and give every file the modes of a package."""
    for part in folder.iterdir():
        if part.is_dir():
            shutil.rmtree(part / "bin", ignore_errors=True)
    for pattern in _NOT_RUN:
        for path in folder.rglob(pattern):
            path.unlink()
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        else:
            path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "launch.py").chmod(0o755)
