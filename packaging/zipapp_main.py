"""The start of jettison.pyz: unpacks it once into the user's cache, and runs it from there.

Parts in machine code cannot be loaded from within an archive. The folder is named after the
archive's content and appears in one step, so that commands that start together do not disturb each
other. It must be the user's own: what lies in it is run.
"""

import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

CONTENT = "@CONTENT@"
MACHINE = "@MACHINE@"
CACHE = "JETTISON_PYZ_CACHE"


def unpacked(archive: Path, version: str) -> Path:
    """Return the folder with what a version of Python needs, unpacked if it is not yet."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    cache = Path(os.environ.get(CACHE) or Path(home, "jettison", "pyz"))
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = cache.stat()
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        sys.exit(f"error: {cache} is not this user's alone; name another folder in {CACHE}")
    target = cache / f"{CONTENT}-{version}"
    if target.is_dir():
        return target
    draft = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
    try:
        with zipfile.ZipFile(archive) as members:
            wanted = [n for n in members.namelist() if n.startswith((f"{version}/", "any/"))]
            members.extractall(draft, wanted)
        draft.rename(target)
    except OSError:
        if not target.is_dir():  # unless another command was quicker
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def start(archive: Path) -> None:
    """Run the command line."""
    if sys.platform != "linux" or os.uname().machine != MACHINE:
        sys.exit(f"error: this file is for Linux on {MACHINE}; elsewhere: pip install jettison")
    from launch import launch, part  # noqa: PLC0415 - it is in the archive

    with zipfile.ZipFile(archive) as members:
        version = part({name.partition("/")[0] for name in members.namelist()})
    try:
        folder = unpacked(archive, version)
    except OSError as error:
        sys.exit(f"error: cannot unpack into {error.filename}: {error.strerror}; see {CACHE}")
    launch(folder)


if __name__ == "__main__":
    start(Path(__file__).parent)
