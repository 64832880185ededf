"""The layers of `src/jettison`, and which room imports which.

`test_layers.py` holds the code to this table; `docs/architecture.py` draws it.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["LAYERS", "PACKAGE", "SOURCE", "Layer", "dotted", "imported", "room_of", "unit_of"]

PACKAGE: Final = "jettison"
SOURCE: Final = Path(__file__).parents[1] / "src" / PACKAGE


class Layer(NamedTuple):
    """Rooms of one level: each top-level module or package, with what it holds in a few words.

    A room imports rooms of its own layer and of those below. `strangers` never import each other.
    A room with a slash in its name is a part of another that is drawn by itself.
    """

    title: str
    rooms: dict[str, str]
    strangers: bool = False


# From the top. "" is jettison/__init__.py.
LAYERS: Final = (
    Layer("entry point", {"__main__": "python -m jettison"}),
    Layer(
        "faces",
        {
            "demo": "the story on sample images",
            "cli": "commands: parse, call, render",
            "server": "the registry over HTTP",
            "web": "the dashboard",
        },
    ),
    Layer("library", {"": "import jettison", "api": "sessions, for Python"}),
    Layer("jobs", {"jobs": "request, plan, steps, proof"}),
    Layer("checks", {"fsck": "what is wrong in a storage"}),
    Layer("collection", {"collector": "what a storage needs no more"}),
    Layer(
        "where a registry is",
        {
            "client": "a registry over HTTP",
            "storage": "journal, indexes, a Registry",
            "storage/filesystem": "Distribution's tree on a disk",
            "storage/objects": "the same tree in a bucket",
            "storage/memory": "a storage for tests",
            "storage/protocol": "what any storage can do",
        },
        strangers=True,
    ),
    Layer("configuration", {"configuration": "one reader, for all commands"}),
    Layer(
        "protocol",
        {
            "registry": "what any registry can do",
            "manifest_cache": "manifests kept by digest",
            "interrupts": "finishing despite signals",
        },
    ),
    Layer(
        "pure",
        {
            "model": "names, manifests, plans, rules",
            "errors": "each with its exit code",
            "progress": "how work reports",
        },
    ),
)


def dotted(path: Path, root: Path) -> list[str]:
    """The module that a file holds, without the package's own name; [] is the package itself."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(tree: ast.AST, module: list[str], *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Every absolute dotted name that an import statement may load, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = [PACKAGE, *module] if is_package else [PACKAGE, *module][:-1]
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def unit_of(name: str, units: set[str]) -> str | None:
    """The top-level part of jettison that an imported name belongs to; None: not jettison's."""
    first, _, rest = name.partition(".")
    if first != PACKAGE:
        return None
    head = rest.partition(".")[0]
    return head if head in units else ""


def room_of(module: Sequence[str]) -> str:
    """The room of the table that a module is in; a part of a room comes before the whole."""
    rooms = {room for layer in LAYERS for room in layer.rooms}
    names = ("/".join(module[:length]) for length in range(len(module), 0, -1))
    return next((name for name in names if name in rooms), "")
