"""A lower layer never imports a higher one, the model is pure, and JSON has one reader."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layers import LAYERS, SOURCE, dotted, imported, unit_of

LEVELS = {room: -level for level, layer in enumerate(LAYERS) for room in layer.rooms}
"""Each top-level module or package; a higher number is a higher layer."""

STRANGERS = [set(layer.rooms) for layer in LAYERS if layer.strangers]

# What reaches the outside: files, network, processes, clock, chance, environment, logs, terminal.
# fmt: off
IMPURE_MODULES = frozenset({
    "aiohttp", "asyncio", "concurrent", "ctypes", "curses", "fcntl", "fileinput", "getpass",
    "glob", "http", "io", "locale", "logging", "mmap", "multiprocessing", "obstore", "os",
    "pathlib", "platform", "pwd", "random", "resource", "rich", "ruamel", "secrets", "select",
    "selectors", "shelve", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl",
    "subprocess", "sys", "syslog", "tempfile", "threading", "time", "typer", "urllib", "uuid",
    "uvicorn", "warnings",
})
# fmt: on
# Whoever reads JSON without limits can be stopped by one deep document (decision 0012).
STRICT_READER = "model/strict_json.py"
READERS = frozenset({"json", "msgspec.json", "msgspec.msgpack"})
READING = frozenset({"Decoder", "JSONDecoder", "decode", "load", "loads"})
# Below a tree's root only these step from folder to folder, and past no link (docs/security.md).
STEPPING = frozenset(
    {
        "jobs/backup.py",  # a backup's folder is the user's own
        "storage/filesystem/monitoring.py",  # the root directory itself, as its user gives it
        "storage/filesystem/serving.py",  # only where it came past no link before
        *(f"storage/filesystem/{name}.py" for name in ("beneath", "draft", "folder")),
    }
)
STEPS = frozenset(
    {
        "chmod",
        "chown",
        "lchown",
        "link",
        "listdir",
        "lstat",
        "makedirs",
        "mkdir",
        "open",
        "remove",
        "removedirs",
        "rename",
        "renames",
        "replace",
        "rmdir",
        "scandir",
        "stat",
        "symlink",
        "truncate",
        "unlink",
        "utime",
        "walk",
    }
)
# These ask a storage, whatever it is: `jettison.storage.protocol`, and what is built on it.
ASKING = frozenset({"collector", "fsck", "jobs", "server", "api", "cli"})
# Files of the user's own, and paths that a user gave; they hold no storage.
OWN_FILES = frozenset({"jobs/backup.py", "jobs/textfile.py", "cli/check.py"})
# What a storage is made of, where it is a file system; whoever names these does not ask it.
PHYSICAL = frozenset({"mtime_ns", "st_mtime_ns", "st_ino", "st_nlink", "statvfs", "fstatvfs",
    "flock", "layout", "Folder", "root_folder", "open_beneath", "dir_fd"})  # fmt: skip
IMPLEMENTATIONS = ("jettison.storage.filesystem", "jettison.storage.memory")
IMPURE_METHODS = frozenset({"now", "today", "utcnow"})
IMPURE_FUNCTIONS = frozenset({"breakpoint", "input", "open", "print"})


def impurities(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in IMPURE_FUNCTIONS:
            yield node.lineno, f"calls {node.func.id}()"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_METHODS:
            yield node.lineno, f"calls .{node.func.attr}()"


def lax_readers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each place that reads JSON or MessagePack by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in READING:
            if ast.unparse(node.value) in READERS:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module in READERS:
            for alias in node.names:
                if alias.name in READING:
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.ImportFrom) and node.module == "msgspec":
            for alias in node.names:
                if f"msgspec.{alias.name}" in READERS:
                    yield node.lineno, f"msgspec.{alias.name}"


def stray_steps(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each call that takes a path, past what opens folders of a tree one by one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            module, _, function = name.rpartition(".")
            if module == "shutil" or (module in {"os", "os.path"} and function in STEPS):
                yield node.lineno, f"{name}()"


def physical_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each name of what a storage on a disk is made of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in PHYSICAL:
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and node.attr in PHYSICAL:
            yield node.lineno, node.attr
        elif isinstance(node, ast.keyword) and node.arg in PHYSICAL:
            yield node.value.lineno, node.arg


def are_strangers(unit: str, target: str, name: str, where: str) -> bool:
    if unit in ASKING and where not in OWN_FILES and name.startswith(IMPLEMENTATIONS):
        return True
    return unit != target and any({unit, target} <= strangers for strangers in STRANGERS)


def forbidden(tree: ast.AST, unit: str, where: str) -> Iterator[str]:
    """Each thing that a module does and its room does not do, as one line of text."""
    if unit in {"collector", "fsck", "jobs"} and where not in OWN_FILES:
        for line, what in physical_names(tree):
            yield f"{where}:{line}: {unit} names {what}, which is for the storage to know"
    if unit == "model":
        for line, what in impurities(tree):
            yield f"{where}:{line}: model {what}"
    if unit in {"collector", "fsck", "jobs", "storage"} and where not in STEPPING:
        advice = "use jettison.storage.filesystem.folder"
        for line, what in stray_steps(tree):
            yield f"{where}:{line}: {what} may follow a link; {advice}"
    if where != STRICT_READER and unit != "demo":
        for line, what in lax_readers(tree):
            yield f"{where}:{line}: {what} reads without limits; use jettison.model.strict_json"


def violations(root: Path) -> list[str]:
    """Each breach of the layering under the package folder `root`, as one line of text."""
    found = []
    files = sorted(root.rglob("*.py"))
    units = {(dotted(path, root) or [""])[0] for path in files}
    found += [f"{unit}: no layer is set for it" for unit in sorted(units - LEVELS.keys())]
    for path in files:
        module = dotted(path, root)
        unit = (module or [""])[0]
        where = path.relative_to(root)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, name in imported(tree, module, is_package=path.name == "__init__.py"):
            target = unit_of(name, units | LEVELS.keys())
            if target is None:
                if unit == "model" and name.partition(".")[0] in IMPURE_MODULES:
                    found.append(f"{where}:{line}: model imports {name}, which is not pure")
            elif LEVELS.get(target, 0) > LEVELS.get(unit, 0):
                found.append(f"{where}:{line}: {unit} imports {name}, which is above it")
            elif are_strangers(unit, target, name, str(where)):
                found.append(f"{where}:{line}: {unit} must not know {name}")
        found += forbidden(tree, unit, str(where))
    return found


def test_jettison_keeps_its_layers() -> None:
    assert any(SOURCE.rglob("*.py"))
    assert violations(SOURCE) == []


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        ("model/a.py", "import os", "model imports os, which is not pure"),
        ("model/a.py", "from pathlib import Path", "model imports pathlib.Path"),
        ("model/a.py", "from datetime import datetime\ndatetime.now()", "model calls .now()"),
        ("model/a.py", "open('x')", "model calls open()"),
        ("model/a.py", "from jettison.client import x", "which is above it"),
        ("model/a.py", "from jettison import registry", "jettison.registry, which is above it"),
        ("model/deep/a.py", "from ...storage import x", "imports jettison.storage.x"),
        ("model/deep/__init__.py", "from ...storage import x", "imports jettison.storage.x"),
        ("errors.py", "import jettison.cli.main", "which is above it"),
        ("registry.py", "def f():\n    from jettison.storage import x", "registry.py:2:"),
        ("client/a.py", "from jettison import storage", "client must not know jettison.storage"),
        ("client/a.py", "from jettison import __version__", "which is above it"),
        ("storage/a.py", "from ..client import x", "storage must not know jettison.client.x"),
        ("storage/a.py", "import jettison.collector.mark", "which is above it"),
        ("collector/a.py", "from jettison.jobs.plan import x", "which is above it"),
        ("jobs/a.py", "import jettison.cli.render", "which is above it"),
        (
            "server/a.py",
            "from jettison.storage.filesystem.tree import StorageTree",
            "server must not know jettison.storage.filesystem.tree",
        ),
        ("collector/a.py", "from ..storage import memory", "must not know jettison.storage.memory"),
        ("fsck/a.py", "import jettison.storage.filesystem.tree", "must not know"),
        ("jobs/a.py", "from jettison.storage import memory", "must not know"),
        ("collector/a.py", "blob.mtime_ns", "names mtime_ns, which is for the storage to know"),
        ("jobs/a.py", "f(dir_fd=1)", "names dir_fd, which is for the storage to know"),
        ("novel/a.py", "", "novel: no layer is set for it"),
        (
            "storage/a.py",
            "import json\njson.loads(b'1')",
            "a.py:2: json.loads reads without limits",
        ),
        ("client/a.py", "import msgspec\nf = msgspec.json.Decoder(int).decode", "a.py:2: msgspec"),
        (
            "collector/a.py",
            "import msgspec\nf = msgspec.msgpack.decode",
            "msgspec.msgpack.decode reads",
        ),
        ("cli/a.py", "from json import load", "json.load reads without limits"),
        ("server/a.py", "from msgspec import json", "msgspec.json reads without limits"),
        (
            "collector/a.py",
            "import os\nos.rename('a', 'b')",
            "a.py:2: os.rename() may follow a link",
        ),
        ("storage/a.py", "import shutil\nshutil.rmtree('a')", "shutil.rmtree() may follow a link"),
    ],
)
def test_the_checker_sees(tmp_path: Path, path: str, code: str, expected: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")
    assert len(violations(tmp_path)) == 1
    assert expected in violations(tmp_path)[0]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("model/a.py", "import json, hashlib, datetime\nfrom jettison import errors"),
        ("registry.py", "from jettison.model.digest import Digest\nimport jettison.errors"),
        ("client/a.py", "import aiohttp, os\nfrom jettison.registry import Registry"),
        ("jobs/a.py", "from jettison import collector\nfrom ..storage import x\nfrom . import y"),
        ("server/a.py", "from jettison.storage.protocol import Serving"),
        ("cli/a.py", "from jettison import __version__, jobs"),
        ("__init__.py", "from jettison.jobs import plan"),
        ("__main__.py", "from jettison.cli.main import main"),
        ("model/strict_json.py", "import json, msgspec\njson.loads(b'1')\nmsgspec.json.decode"),
        ("client/a.py", "import json, msgspec\njson.dumps(1)\nmsgspec.json.encode(1)"),
        ("storage/filesystem/folder.py", "import os\nos.rename('a', 'b')"),
        ("collector/a.py", "import os\nos.read(1, 2)\nos.close(1)"),
    ],
)
def test_the_checker_allows(tmp_path: Path, path: str, code: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code, encoding="utf-8")
    assert violations(tmp_path) == []
