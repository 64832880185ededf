"""The tree that everything is made of: the files that git knows, as they are, and nothing else."""

import os
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from release.programs import run

ROOT: Final = Path(__file__).parents[2]
TOOLS: Final = ROOT / ".venv" / "tools" / "bin"

_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


@dataclass(frozen=True)
class Source:
    """A copy of the tracked files, and what all that is made of it says of itself."""

    folder: Path
    version: str
    description: str
    epoch: int
    """Seconds since 1970 of the last commit: the time of every file that is made."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that builds; it sees no setting of the user's."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return kept | {"SOURCE_DATE_EPOCH": str(self.epoch), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def copy_source(folder: Path, site: str = "") -> Source:
    """Copy the tracked files into a new folder.

    ``site`` is where the files of this version can be read, ending with a slash. Without it, links
    in the README to other pages are plain text: an index of packages has no such pages.
    """
    for name in filter(None, run(["git", "ls-files", "-z"], ROOT).split("\0")):
        if not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        target.chmod(0o755 if os.access(ROOT / name, os.X_OK) else 0o644)
    readme = folder / "README.md"
    readme.write_text(with_links_to(readme.read_text("utf-8"), site), "utf-8")
    project_file = folder / "pyproject.toml"
    text = project_file.read_text("utf-8")
    if site:
        table = f'[project.urls]\nDocumentation = "{site}docs/"\nChangelog = "{site}CHANGELOG.md"\n'
        text = text.replace("[project.scripts]", f"{table}\n[project.scripts]")
        project_file.write_text(text, "utf-8")
    project = tomllib.loads(text)["project"]
    return Source(folder, project["version"], project["description"], last_commit())


def last_commit() -> int:
    """Return the time of the last commit, in seconds since 1970."""
    return int(run(["git", "log", "-1", "--format=%ct"], ROOT))


def with_links_to(text: str, site: str) -> str:
    """Return Markdown whose relative links lead to a site, or nowhere if there is none."""

    def link(found: re.Match[str]) -> str:
        mark, label, path = found.groups()
        if site:
            return f"{mark}[{label}]({site}{path})"
        return "" if mark else label

    return _LINK.sub(link, text)
