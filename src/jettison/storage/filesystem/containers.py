"""Paths from inside a container, which mean nothing on the machine that holds its volume.

The configuration of a registry that runs in a container names a folder of the container. Whoever
collects on the host has that configuration, or knows that path, and the data is elsewhere.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jettison.errors import StorageError
from jettison.storage.filesystem import layout

__all__ = ["ROOT_VARIABLE", "require_here"]

ROOT_VARIABLE: Final = "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"
_VOLUMES: Final = (
    "/var/lib/docker/volumes",
    "/var/lib/containers/storage/volumes",
    "~/.local/share/docker/volumes",
    "~/.local/share/containers/storage/volumes",
)
_CONFIGURATIONS: Final = frozenset({".yml", ".yaml"})
_HOST: Final = re.compile(r"[\w.-]+:\d+(?:/|$)")
_MOST_SHOWN: Final = 3


def require_here(path: Path, configuration: Path | None = None) -> None:
    """Raise :class:`~jettison.errors.StorageError`, with both ways out, for what is not here.

    ``path`` is a storage's root, named by the ``configuration`` if that is given, or what else
    somebody took for a storage or its configuration.
    """
    if (path / layout.MARKER).is_dir():
        return
    if configuration is not None:
        what = f"{path}, the storage.filesystem.rootdirectory of {configuration},"
        if path.exists():
            message = f"{what} holds no registry's storage: no {layout.MARKER} there"
        else:
            message = f"{what} does not exist on this machine"
        hint = (
            "If the registry runs in a container, that is a path inside it: give the volume's "
            f"folder on this machine instead of the configuration ({_inspect()}), or set "
            f"{ROOT_VARIABLE} to that folder and keep the configuration."
        )
        raise StorageError(message, hint=f"{hint}{_found()}")
    if path.exists() or any((parent / layout.MARKER).is_dir() for parent in path.parents):
        return
    if _HOST.match(str(path)):
        message = f"{path} is a registry, and no API gives its storage"
        hint = "Give its configuration file or its root directory, on the machine where that is."
        raise StorageError(message, hint=f"{hint}{_found()}")
    if path.suffix in _CONFIGURATIONS:
        hint = (
            "If the registry runs in a container, that is a path inside it: copy the file out "
            f"(docker cp CONTAINER:{path} .) and set {ROOT_VARIABLE} to the volume's folder on "
            f"this machine, or give that folder alone ({_inspect()})."
        )
        raise StorageError(f"there is no file {path}", hint=f"{hint}{_found()}")
    hint = (
        "Give storage.filesystem.rootdirectory of the registry's configuration. If the registry "
        "runs in a container, that is a path inside it: give the volume's folder on this machine "
        f"({_inspect()})."
    )
    raise StorageError(f"there is no folder {path}", hint=f"{hint}{_found()}")


def _inspect() -> str:
    form = "{{range .Mounts}}{{println .Source .Destination}}{{end}}"
    return f"docker inspect -f '{form}' CONTAINER shows it"


def _found() -> str:
    """Name the volumes of this machine that hold a registry's storage."""
    found = sorted(_volumes())[:_MOST_SHOWN]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _volumes() -> Iterator[str]:
    for place in _VOLUMES:
        try:
            for volume in Path(place).expanduser().iterdir():
                if os.path.isdir(volume / "_data" / layout.MARKER):  # noqa: PTH112 - False if hidden
                    yield str(volume / "_data")
        except (OSError, RuntimeError):
            continue  # not there, or not for this user
