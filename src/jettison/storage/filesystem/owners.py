"""Other programs that keep a part of the truth about a tree, and what gives them away.

Each has a registry of CNCF Distribution, or a fork of it, write the tree, and remembers elsewhere
which images exist. What the tree alone shows as unneeded may be needed.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from jettison.model.plausibility import CACHE, GITLAB, Owner

__all__ = ["other_layout", "owners_in_tree"]

_LOCK_FILE: Final = "docker/registry/lockfiles/database-in-use"
"""GitLab's registry writes it when it moves its metadata into a database (its documentation of the
container registry metadata database); ``filesystem-in-use`` beside it says the opposite."""

_SCHEDULE: Final = "scheduler-state.json"
"""Distribution's pull-through cache notes in it what leaves when (its ``proxyregistry.go``)."""

_TWO_DIGITS: Final = re.compile(r"[0-9a-f]{2}")
_PACKAGE: Final = re.compile(r"[0-9a-f]{64}")
_MOST_LOOKED_AT: Final = 20


def owners_in_tree(has: Callable[[str], bool]) -> Iterator[Owner]:
    """Yield whom files in a tree name; ``has`` tells whether there is one, below the root."""
    if has(_LOCK_FILE):
        yield Owner(GITLAB, f"its lock file {_LOCK_FILE}")
    if has(_SCHEDULE):
        yield Owner(CACHE, f"its schedule {_SCHEDULE}", knows=False)


def other_layout(root: Path) -> str | None:
    """Return whose storage a folder holds that has no tree of Distribution's, if that shows.

    zot and olareg keep an OCI image layout for each repository (the OCI image specification's
    ``oci-layout``), Gitea and Forgejo their packages by the first digits of the sha256.
    """
    for place in (root, *_folders(root)):
        if any((inner / "oci-layout").is_file() for inner in (place, *_folders(place))):
            return "OCI image layouts, such as zot and olareg keep"
    for first in _folders(root):
        for second in _folders(first) if _TWO_DIGITS.fullmatch(first.name) else ():
            if _TWO_DIGITS.fullmatch(second.name) and any(
                _PACKAGE.fullmatch(inner.name) for inner in _entries(second)
            ):
                return "packages of Gitea or Forgejo"
    return None


def _folders(place: Path) -> list[Path]:
    return [one for one in _entries(place) if one.is_dir() and not one.is_symlink()]


def _entries(place: Path) -> list[Path]:
    """Return some of what is in a folder: enough to tell whose it is."""
    try:
        return sorted(place.iterdir())[:_MOST_LOOKED_AT]
    except OSError:
        return []
