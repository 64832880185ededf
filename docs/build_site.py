"""Build the documentation site from the documents of the repository: `make docs`.

The documents link to each other by their places in the repository, as they are read there. A site
has other places, and a few other rules: the pages are laid out anew in a folder, with every link
turned, and mkdocs builds that strictly. A link to a file that is no document leads to a page that
shows it.
"""

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["build", "documents", "lay_out", "place"]

ROOT: Final = Path(__file__).parents[1]
CONFIGURATION: Final = Path(__file__).with_name("mkdocs.yml")
OUTSIDE: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "bench/RESULTS.md": "benchmarks.md",
}
"""Documents outside of docs/, and what they are called on the site."""

_FENCE: Final = re.compile(r"^ *(`{3,})[^`\n]*\n.*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"^ *<!--.*?--> *\n", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
_CODE_IN_ROW: Final = re.compile(r"`[^`\n]+`")
_LANGUAGES: Final = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".json": "json"}


def documents(root: Path = ROOT) -> list[Path]:
    """Return every document of the site, as paths below ``root``."""
    below = sorted((root / "docs").rglob("*.md"))
    return [*(Path(name) for name in OUTSIDE), *(path.relative_to(root) for path in below)]


def place(path: str) -> str:
    """Return where a file of the repository is on the site; both are relative, with slashes."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if path.endswith(".svg") or (path.startswith("docs/") and path.endswith(".md")):
        return path.removeprefix("docs/")
    return f"source/{path}.md"


def lay_out(root: Path, target: Path) -> None:
    """Write the pages of ``root``, pictures, and files that they link to, below ``target``."""
    linked = set[str]()
    for page in documents(root):
        text = (root / page).read_text("utf-8")
        linked |= set(_targets(page, text))
        _write(target / place(page.as_posix()), _for_site(page, text))
    _write(target / "site.css", (root / "docs" / "site.css").read_text("utf-8"))
    known = {page.as_posix() for page in documents(root)}
    for name in sorted(linked - known):
        if (root / name).is_file():
            _write(target / place(name), _shown(name, (root / name).read_text("utf-8")))


def build(target: Path, work: Path, root: Path = ROOT) -> None:
    """Build the site into ``target``; ``work`` is emptied, and has the pages as they were laid out.

    Raises CalledProcessError if mkdocs finds fault with anything; it has said so by then.
    """
    shutil.rmtree(work, ignore_errors=True)
    lay_out(root, work / "pages")
    settings = work / "mkdocs.yml"
    lines = (f"INHERIT: {CONFIGURATION}", "docs_dir: pages", f"site_dir: {target.absolute()}")
    settings.write_text("\n".join(lines) + "\n", "utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(settings)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, check=True, env=environment)


def _targets(page: Path, text: str) -> Iterator[str]:
    """Yield the files that a page links to, by their places in the repository."""
    for match in _LINK.finditer(_FENCE.sub("", text)):
        yield posixpath.normpath(posixpath.join(page.parent.as_posix(), match[2]))


def _for_site(page: Path, text: str) -> str:
    """Turn the links of a page, and what GitHub and mkdocs read differently."""
    here = posixpath.dirname(place(page.as_posix()))
    done, end = list[str](), 0
    for fence in _FENCE.finditer(text):
        done += [_prose(page, here, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*done, _prose(page, here, text[end:])])


def _prose(page: Path, here: str, text: str) -> str:
    def turned(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(page.parent.as_posix(), match[2]))
        return f"{match[1]}{posixpath.relpath(place(path), here or '.')}{match[3]}"

    lines = [
        # In a table GitHub takes the backslash away from a bar within code; mkdocs shows it.
        _CODE_IN_ROW.sub(lambda code: code[0].replace("\\|", "|"), line)
        if line.startswith("|")
        else line
        for line in _LINK.sub(turned, _COMMENT.sub("", text)).splitlines(keepends=True)
    ]
    return "".join(lines)


def _shown(name: str, text: str) -> str:
    """Return a page that shows a file; a picture stays what it is."""
    if name.endswith(".svg"):
        return text
    language = _LANGUAGES.get(Path(name).suffix, "text")
    return f"# {name}\n\n`````{language}\n{text.rstrip()}\n`````\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def main() -> None:
    """Build the site where the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "site-pages")
    options = parser.parse_args()
    try:
        build(options.target, options.work)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
