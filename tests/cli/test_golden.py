"""What commands print, word for word, on a registry in memory and on a tree: tests/cli/golden/.

`pytest tests/cli/test_golden.py --golden` writes the files anew; `git diff` shows what a change
does to what people read. Ids, times, sizes of disks and paths of the test are masked.
"""

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jettison.api.connection import Connection
from jettison.cli.main import main
from jettison.demo.images import image, index, layer
from jettison.model.names import RepoName
from tests.support.documents import check_printed
from tests.support.memory import MemoryRegistry
from tests.support.trees import Tree

GOLDEN = Path(__file__).with_name("golden")
APP, TOOL = RepoName("team/app"), RepoName("team/tool")
BASE = layer({"base": b"base" * 1000})
MASKS = (
    (re.compile(r"\d{8}-\d{6}-[a-z0-9]{5}"), "RUN-ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?( UTC|Z)?"), "MOMENT"),
    (re.compile(r"[\d.,]+ ([KMGT]i?)?B free on the disk"), "SIZE free on the disk"),
    (re.compile(r"[\d.,]+ [KMGT]i?B → [\d.,]+ [KMGT]i?B"), "SIZE → SIZE"),
    (re.compile(r"[\d,]+ bytes free on the disk"), "BYTES free on the disk"),
    (re.compile(r"in [\d.]+ s\b"), "in SECONDS s"),
)

Run = Callable[..., str]


@pytest.fixture
def registry() -> MemoryRegistry:
    made = MemoryRegistry()
    ones = [image([BASE, layer({"app": bytes([number])})]) for number in range(4)]
    made.push(APP, "1.0", ones[0])
    made.push(APP, "latest", ones[1])
    made.push(APP, "1.1", ones[1])
    made.push(APP, "multi", index([ones[2], ones[3]]))
    made.push(TOOL, "1", image([BASE]))
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    made.image("app", "1", [b"base", b"one"])
    made.image("app", None, [b"base", b"untagged"])
    made.blob(b"left by a deleted image")
    made.index("app", "multi", [made.image("app", None, [b"base", b"arm"])])
    return made


@pytest.fixture
def run(
    registry: MemoryRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[MemoryRegistry]:
        yield registry

    monkeypatch.setattr(Connection, "open", opened)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["jettison", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == code, told.err
        check_printed(arguments, told.out, told.err)
        text = told.out + "".join(f"2> {line}\n" for line in told.err.splitlines())
        text = f"$ jettison {' '.join(arguments)}\n{text}"
        for mask, word in MASKS:
            text = mask.sub(word, text)
        return text.replace(str(tmp_path), "/PLACE")

    return run


def compare(name: str, text: str, config: pytest.Config) -> None:
    path = GOLDEN / f"{name}.txt"
    if config.getoption("--golden"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), f"if that is meant: pytest {__file__} --golden"


HOST = "memory.test"
LOOKING = {
    "check": ("check", HOST),
    "ls": ("ls", HOST),
    "ls-repository": ("ls", f"{HOST}/team/app"),
    "ls-long": ("ls", "-l", f"{HOST}/team/app"),
    "inspect": ("inspect", f"{HOST}/team/app:1.0"),
    "rm-dry": ("rm", f"{HOST}/team/app:1.0", "-n"),
    "rm-shared-dry": ("rm", f"{HOST}/team/app:latest", "-n"),
    "rm-index-dry": ("rm", f"{HOST}/team/app:multi", "-n"),
    "rm-json": ("rm", f"{HOST}/team/app:1.0", "-n", "-o", "json"),
}


@pytest.mark.parametrize("name", LOOKING)
def test_looking(name: str, run: Run, pytestconfig: pytest.Config) -> None:
    compare(name, run(*LOOKING[name]), pytestconfig)


REFUSED = {
    "no-such-tag": (1, ("rm", f"{HOST}/team/app:1.2", "--yes")),
    "all-tags": (4, ("rm", f"{HOST}/team/app:*", "--yes")),
    "no-terminal": (4, ("rm", f"{HOST}/team/app:1.0")),
    "no-tag": (2, ("rm", f"{HOST}/team/app", "--yes")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str, run: Run, pytestconfig: pytest.Config) -> None:
    code, arguments = REFUSED[name]
    compare(name, run(*arguments, code=code), pytestconfig)


def test_a_removal_and_its_undo(run: Run, pytestconfig: pytest.Config) -> None:
    text = [run("rm", f"{HOST}/team/app:1.0", "--yes")]
    text.append(run("verify", "last"))
    text.append(run("undo", "last", "-n"))
    text.append(run("undo", "last", "--yes"))
    text.append(run("runs"))
    compare("removal-and-undo", "\n".join(text), pytestconfig)


def test_a_storage(run: Run, tree: Tree, pytestconfig: pytest.Config) -> None:
    text = [run("fsck", str(tree.root))]
    text.append(run("gc", str(tree.root), "-n", "--untagged"))
    text.append(run("gc", str(tree.root), "--yes", "--untagged", "--max-removal", "100%"))
    text.append(run("gc", str(tree.root), "--yes"))
    compare("storage", "\n".join(text), pytestconfig)


def test_a_damaged_storage(run: Run, tree: Tree, pytestconfig: pytest.Config) -> None:
    damaged = tree.image("app", "2", [b"base", b"two"])
    tree.write(tree.data(damaged), b"{}")
    text = [run("fsck", str(tree.root), code=5)]
    text.append(run("fsck", str(tree.root), "--repair", "-n", code=5))
    text.append(run("gc", str(tree.root), "-n", code=3))
    compare("damaged-storage", "\n".join(text), pytestconfig)
