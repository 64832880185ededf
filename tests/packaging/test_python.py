"""The wheels and the source distribution: what is in them, and that they can be made again."""

import re
import subprocess
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from release.bundle import requirements
from release.python import build_sdist, build_wheel
from release.tree import ROOT, TOOLS, Source, copy_source, with_links_to
from tests.support.cli import Jettison
from tests.support.packages import PYTHONS, interpreter
from tests.support.trees import Tree


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return copy_source(tmp_path / "source")


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_links_of_the_readme_lead_to_a_site_or_nowhere() -> None:
    text = "![picture](docs/a.svg) [page](docs/a.md#b) [far](https://example.org/) [here](#top)"
    assert with_links_to(text, "") == " page [far](https://example.org/) [here](#top)"
    assert with_links_to(text, "https://x.example/1/") == (
        "![picture](https://x.example/1/docs/a.svg) [page](https://x.example/1/docs/a.md#b)"
        " [far](https://example.org/) [here](#top)"
    )


def test_a_wheel_is_made_twice_with_the_same_bytes_and_says_what_it_is(
    source: Source, tmp_path: Path
) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        wheel = build_wheel(source, tmp_path / name)
        contents.append(wheel.read_bytes())
    assert contents[0] == contents[1]
    assert wheel.name == f"jettison-{source.version}-py3-none-any.whl"
    about = metadata(wheel)
    assert about["Summary"] == source.description
    assert about["License-Expression"] == "Apache-2.0"
    assert about["Requires-Python"] == ">=3.11"
    assert about["Description-Content-Type"] == "text/markdown"
    assert "objects" in about.get_all("Provides-Extra", [])
    assert not re.search(r"\]\((?!https?:|#)", about.as_string()), "a link that leads nowhere"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "jettison/storage/filesystem/native.c" in names
    assert not [name for name in names if name.endswith(".so")]


def test_a_source_distribution_is_made_twice_with_the_same_bytes(
    source: Source, tmp_path: Path
) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made = build_sdist(source, tmp_path / name)
        contents.append(made.read_bytes())
    assert contents[0] == contents[1]
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "hatch_build.py", "src/jettison/py.typed"} <= names
    assert not [name for name in names if name.startswith((".ci", ".venv", "dist/"))]


def test_the_site_is_in_the_metadata_only_if_it_is_given(tmp_path: Path) -> None:
    at = copy_source(tmp_path / "source", "https://pages.example/jettison/0/")
    about = metadata(build_wheel(at, tmp_path))
    assert about.get_all("Project-URL") == [
        "Documentation, https://pages.example/jettison/0/docs/",
        "Changelog, https://pages.example/jettison/0/CHANGELOG.md",
    ]
    assert "https://pages.example/jettison/0/docs/install.md" in about.as_string()


def test_what_is_bundled_is_what_is_tested() -> None:
    developed = (ROOT / "requirements.txt").read_text("utf-8")
    tested = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", developed, re.MULTILINE))
    bundled = {name: re.findall(r"==(\S+)", block)[0] for name, block in requirements()}
    assert bundled
    assert bundled.items() <= tested.items()
    for _, block in requirements():
        for digest in re.findall(r"sha256:(\w+)", block):
            assert digest in developed


@pytest.mark.soak
def test_an_index_takes_what_is_made(wheels: Path) -> None:
    files = [*wheels.glob("*.whl"), *wheels.glob("*.tar.gz")]
    assert len(files) == 6
    command = [str(TOOLS / "twine"), "check", "--strict", *map(str, files)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 6


@pytest.mark.soak
def test_the_part_in_c_asks_for_no_newer_library_than_its_wheel_says(
    wheels: Path, tmp_path: Path
) -> None:
    for wheel in wheels.glob("*manylinux*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            library = archive.extract("jettison/storage/filesystem/libnative.so", tmp_path)
        asked = re.findall(rb"GLIBC_2\.(\d+)", Path(library).read_bytes())
        assert asked
        assert max(map(int, asked)) <= 17


def try_it(jettison: Jettison, folder: Path) -> None:
    """Collect a storage, and see that the image that stays is whole."""
    tree = Tree(folder)
    tree.image("app", None, [b"a layer that is removed"])
    tree.image("app", "new", [b"a layer that stays"])
    before = len(tree.blobs())
    assert jettison("--version").stdout.startswith("jettison ")
    jettison("gc", tree.root, "--untagged", "--now", "--yes", "--assume-quiescent")
    assert len(tree.blobs()) == before - 3
    assert "new" in jettison("ls", f"{tree.root}/app").stdout
    jettison("fsck", tree.root)


@pytest.mark.soak
@pytest.mark.parametrize("version", PYTHONS)
def test_pip_installs_the_wheel_for_the_machine(
    wheels: Path, tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONWARNINGS")
    python = interpreter(version)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    folder = tmp_path / "venv" / "bin"
    command = [f"{folder}/pip", "install", "-q", "--find-links", str(wheels), "jettison[objects]"]
    subprocess.run(command, check=True)
    loaded = "from jettison.storage.filesystem import native; print(native.FILE.exists())"
    done = subprocess.run([folder / "python", "-c", loaded], check=True, capture_output=True)
    assert done.stdout == b"True\n"
    try_it(Jettison(tmp_path, (str(folder / "jettison"),)), tmp_path / "tree")


@pytest.mark.soak
@pytest.mark.parametrize("tool", ["uvx", "pipx"])
def test_it_runs_without_being_installed(
    wheels: Path, tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONWARNINGS")
    (wheel,) = wheels.glob("*-any.whl")
    command = {
        "uvx": (str(ROOT / ".venv/bin/uvx"), "--from", str(wheel), "jettison"),
        "pipx": (str(TOOLS / "pipx"), "run", "--quiet", "--spec", str(wheel), "jettison"),
    }
    try_it(Jettison(tmp_path, command[tool]), tmp_path / "tree")


@pytest.mark.soak
def test_the_source_distribution_is_installed_without_a_compiler(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONWARNINGS")
    monkeypatch.setenv("CC", "no-such-compiler")
    subprocess.run([interpreter("3.11"), "-m", "venv", tmp_path / "venv"], check=True)
    (source,) = wheels.glob("*.tar.gz")
    folder = tmp_path / "venv" / "bin"
    subprocess.run([folder / "pip", "install", "--quiet", source], check=True)
    try_it(Jettison(tmp_path, (str(folder / "jettison"),)), tmp_path / "tree")
